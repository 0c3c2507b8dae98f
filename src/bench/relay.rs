//! The floor: a relay that finds NULs and writes once for each receiver and turn.
//!
//! It meets the system as [`net`](crate::net) does: one edge-triggered poll, each socket
//! registered once, one read of each ready connection in a turn, one write for each receiver.
//! What the server costs above it is the server's own work: strict parsing, rewriting, limits,
//! logging. It speaks as much of version 1 as a load generator needs and trusts it: a stanza is
//! known by its second byte, nothing is checked, and a message is passed on as it came.
//!
//! The turn is here. `rooms` has what the stanzas do, `state` the turn's logs and the flush,
//! `peer` the writes. It refuses to know of XML, rates, backlog limits, signals and the clock.

mod peer;
mod rooms;
mod state;
#[cfg(test)]
mod tests;

use std::io::{self, Read as _};
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use self::peer::RelayPeer;
use self::state::RelayState;
use crate::limits::{ACCEPTS_PER_TURN, READ_BYTES_PER_TURN};

/// Events taken from the system at once, as many as the server takes.
const EVENTS_PER_POLL: usize = 1_024;

/// Why an accept fails that another one may follow.
const OF_THE_PEER: [io::ErrorKind; 3] =
    [io::ErrorKind::Interrupted, io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];

const LISTENER: Token = Token(0);

/// The token of the first connection's slot.
const FIRST_TOKEN: usize = 1;

/// Serves until the process ends. Connections have the listener's options, `TCP_NODELAY` with
/// them, as in [`net`](crate::net).
///
/// # Errors
/// When the poll fails, or a connection can't be accepted for want of descriptors: a floor
/// measured with fewer connections than were asked for would be none.
pub(crate) fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let mut relay = Relay::new(listener)?;
    loop {
        relay.turn()?;
    }
}

struct Relay {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    acceptable: bool,
    scratch: Box<[u8]>,
    state: RelayState,
}

impl Relay {
    fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL),
            listener,
            acceptable: true,
            scratch: vec![0; READ_BYTES_PER_TURN].into_boxed_slice(),
            state: RelayState::new(),
        })
    }

    /// Poll, read and handle, flush, close, accept.
    fn turn(&mut self) -> io::Result<()> {
        let work = self.acceptable || !self.state.ready.is_empty();
        match self.poll.poll(&mut self.events, work.then_some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            if event.token() == LISTENER {
                self.acceptable = true;
            } else {
                mark_ready(&mut self.state, event);
            }
        }
        self.serve_ready();
        self.state.finish_lists();
        self.state.flush();
        self.state.close_sockets();
        self.accept()
    }

    /// Each of those with something to read has its go, until the turn has logged enough.
    fn serve_ready(&mut self) {
        for _ in 0..self.state.ready.len() {
            if self.state.has_enough() {
                break;
            }
            let Some(slot) = self.state.ready.pop_front() else {
                break;
            };
            // The slot may have been given to another since it was queued.
            if let Some(connection) = self.state.connections.get_mut(slot)
                && std::mem::take(&mut connection.in_ready)
            {
                self.serve_one(slot);
            }
        }
    }

    fn serve_one(&mut self, slot: usize) {
        let connection = &mut self.state.connections[slot];
        let count = read_once(connection, &mut self.scratch);
        let (open, over) = (connection.open, connection.is_over());
        if open && count > 0 {
            self.state.take_in(slot, &self.scratch[..count]);
        }
        if over {
            // Closing goes on behind what is still to be written.
            self.state.end(slot);
            self.state.mark_dirty(slot);
        } else if self.state.connections[slot].readable {
            self.state.make_ready(slot);
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.acceptable {
                break;
            }
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let (slot, socket) = self.state.add(stream);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(socket, Token(slot + FIRST_TOKEN), interest)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.acceptable = false,
                // The one at the head of the queue has gone; the next one may be fine.
                Err(error) if OF_THE_PEER.contains(&error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Events set flags, nothing else.
fn mark_ready(state: &mut RelayState, event: &Event) {
    let slot = event.token().0 - FIRST_TOKEN;
    let Some(connection) = state.connections.get_mut(slot) else {
        return;
    };
    let read_closed = event.is_read_closed() || event.is_error();
    let writable = event.is_writable() || event.is_write_closed() || event.is_error();
    connection.read_closed |= read_closed;
    connection.readable |= event.is_readable() || read_closed;
    let readable = connection.readable;
    if writable && !connection.writable {
        connection.writable = true;
        state.mark_dirty(slot);
    }
    if readable {
        state.make_ready(slot);
    }
}

/// Reads once; 0 when nothing came, for now or, with `ended` or `broken` set, for ever.
fn read_once(connection: &mut RelayPeer, scratch: &mut [u8]) -> usize {
    match connection.socket.read(scratch) {
        Ok(0) => {
            connection.readable = false;
            connection.ended = true;
            0
        }
        Ok(count) => {
            // A short read has emptied the socket, unless an end stands behind the bytes.
            if count < scratch.len() && !connection.read_closed {
                connection.readable = false;
            }
            count
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        Err(error) => {
            connection.readable = false;
            connection.broken |= error.kind() != io::ErrorKind::WouldBlock;
            0
        }
    }
}
