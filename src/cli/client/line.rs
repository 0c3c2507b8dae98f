//! The connection to the server, plain or in TLS: what is queued goes out, what has come is given,
//! and waiting is for both.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
#[cfg(feature = "tls")]
use rustls::ClientConnection;

use super::super::{Exit, Failure};
use super::{Client, command_line};
use crate::secret;

const SOCKET: Token = Token(0);
const INPUT: Token = Token(1);

/// What a look at the connection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// It goes on.
    Open,
    /// The server has ended it.
    Ended,
}

/// A connection.
pub(super) struct ServerConnection {
    poll: Poll,
    events: Events,
    socket: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Box<ClientConnection>>,
    /// Stanzas that wait for the end of the handshake; there may be passwords in them.
    #[cfg(feature = "tls")]
    unencrypted: Vec<u8>,
    /// Bytes that the socket has not taken yet; the same.
    unsent: Vec<u8>,
    ending: bool,
    /// The end has been told within TLS.
    #[cfg(feature = "tls")]
    told_end: bool,
    shut: bool,
}

impl ServerConnection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there, or nothing can be trusted.
    pub(super) fn connect(arguments: &Client) -> Result<Self, Failure> {
        let server = &arguments.connect;
        #[cfg(feature = "tls")]
        let tls = arguments.tls.then(|| super::trust::connection(arguments)).transpose()?;
        let connected = std::net::TcpStream::connect(server).and_then(|stream| {
            // Lines are short, and somebody waits for each.
            let _ = stream.set_nodelay(true);
            stream.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(stream);
            let poll = Poll::new()?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, SOCKET, interest)?;
            Ok((socket, poll))
        });
        let (socket, poll) = connected.map_err(|error| unconnected(server, &error))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(8),
            socket,
            #[cfg(feature = "tls")]
            tls: tls.map(Box::new),
            #[cfg(feature = "tls")]
            unencrypted: Vec::new(),
            unsent: Vec::new(),
            ending: false,
            #[cfg(feature = "tls")]
            told_end: false,
            shut: false,
        })
    }

    /// What ends a [`ServerConnection::wait`] from another thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), INPUT)
    }

    /// Queues a stanza.
    pub(super) fn queue(&mut self, stanza: &[u8]) {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            secret::append(&mut self.unencrypted, stanza);
            secret::append(&mut self.unencrypted, &[0]);
            return;
        }
        secret::append(&mut self.unsent, stanza);
        secret::append(&mut self.unsent, &[0]);
    }

    /// Nothing more is queued: when all is sent, our side is ended.
    pub(super) const fn end(&mut self) {
        self.ending = true;
    }

    /// Sends what the socket takes, and appends what has come to `received`.
    ///
    /// # Errors
    /// When the connection breaks; what came before it is given all the same.
    pub(super) fn pump(&mut self, received: &mut Vec<u8>) -> io::Result<Pumped> {
        // What cannot be sent any more may have been answered before.
        let sent = self.send();
        let pumped = self.receive(received)?;
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            // A handshake answers what it has read.
            self.send()?;
        }
        if pumped == Pumped::Open {
            sent?;
        }
        Ok(pumped)
    }

    fn send(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            // During the handshake it would keep a copy.
            if !tls.is_handshaking() {
                tls.set_buffer_limit(None);
                // Without a limit it takes all.
                let _ = tls.writer().write_all(&self.unencrypted);
                secret::clear(&mut self.unencrypted);
            }
            // Before the handshake is done nothing queued has been sent.
            if self.ending && !self.told_end && !tls.is_handshaking() {
                self.told_end = true;
                tls.send_close_notify();
            }
            while tls.wants_write() {
                if tls.write_tls(&mut self.unsent)? == 0 {
                    break;
                }
            }
        }
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => secret::remove_front(&mut self.unsent, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.ending && !self.shut && !self.is_greeting() {
            self.shut = true;
            // A connection that is broken is found to be so by reading.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Whether nothing queued can have been sent yet.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "nothing greets"))]
    fn is_greeting(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.is_handshaking();
        }
        false
    }

    fn receive(&mut self, received: &mut Vec<u8>) -> io::Result<Pumped> {
        let mut chunk = [0; 16 * 1024];
        loop {
            let count = match self.socket.read(&mut chunk) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Pumped::Open),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            #[cfg(feature = "tls")]
            if let Some(tls) = &mut self.tls {
                match decrypt(tls, &chunk[..count], received) {
                    Ok(Pumped::Open) => continue,
                    ended => return ended,
                }
            }
            if count == 0 {
                return Ok(Pumped::Ended);
            }
            received.extend_from_slice(&chunk[..count]);
        }
    }

    /// Waits until the socket or the input has something.
    ///
    /// # Errors
    /// When the system can't wait.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        match self.poll.poll(&mut self.events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            done => done,
        }
    }
}

/// Takes bytes of the stream in; none are its end.
#[cfg(feature = "tls")]
fn decrypt(
    tls: &mut ClientConnection,
    mut bytes: &[u8],
    received: &mut Vec<u8>,
) -> io::Result<Pumped> {
    let ended = bytes.is_empty();
    loop {
        tls.read_tls(&mut bytes)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        match tls.reader().read_to_end(received) {
            Ok(_) => return Ok(Pumped::Ended),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The stream ended, and nobody said that it would: it may be cut.
            Err(error) => return Err(error),
        }
        if state.peer_has_closed() {
            return Ok(Pumped::Ended);
        }
        if bytes.is_empty() {
            break;
        }
    }
    if ended && tls.is_handshaking() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Pumped::Open)
}

fn unconnected(server: &str, error: &io::Error) -> Failure {
    let advice = if error.kind() == io::ErrorKind::ConnectionRefused {
        let start = command_line([]);
        format!(
            "\n  nobody listens there: start a server with `{start}`, or name another one with \
             --connect HOST:PORT"
        )
    } else if error.kind() == io::ErrorKind::InvalidInput {
        "\n  --connect takes HOST:PORT, such as 127.0.0.1:2468 or [::1]:2468".to_owned()
    } else {
        String::new()
    };
    Failure::new(Exit::Failed, format_args!("can't connect to {server}: {error}{advice}"))
}

/// What is told of a connection that broke.
pub(super) fn lost(server: &str, error: &io::Error, tls: bool) -> String {
    #[cfg(feature = "tls")]
    if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        return format!("no TLS with {server}: {error}{}", super::trust::advice(error));
    }
    let _ = tls;
    format!("lost {server}: {error}")
}
