//! A server that sends every message of a WebSocket back: the server's own handshake and its own
//! reader of frames, for the conformance suite to try. `run.sh` beside it does that.
//!
//! It prints the address that it listens on, and serves until it is killed.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use palabre::limits::READ_BYTES_PER_TURN;
use palabre::net::transport::websocket::{
    Payload, WebSocketEvent, WebSocketReader, write_close, write_message, write_pong,
};
use palabre::net::transport::{Front, Handshake, handshake};

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || match serve(stream) {
            Ok(()) => {}
            // A client may go without a word.
            Err(error) => _ = writeln!(io::stderr(), "{error}"),
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut chunk = vec![0; READ_BYTES_PER_TURN];
    let Some(mut bytes) = open(&mut stream, &mut chunk)? else {
        return end(stream, &mut chunk);
    };
    let mut reader = WebSocketReader::default();
    let mut echo = Echo::default();
    loop {
        let result = reader.read(&mut bytes, |event| echo.take(event));
        if let Err(failure) = result {
            write_close(&mut echo.out, Some(failure.close_code()));
        }
        stream.write_all(&echo.out)?;
        echo.out.clear();
        if echo.closed || result.is_err() {
            return end(stream, &mut chunk);
        }
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        bytes.clear();
        bytes.extend_from_slice(&chunk[..count]);
    }
}

/// The opening handshake; what came behind it, or nothing when it is refused.
fn open(stream: &mut TcpStream, chunk: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
    let front = Front::default();
    let peer = stream.peer_addr()?.ip();
    let mut head = Vec::new();
    loop {
        match handshake(&head, &front, peer, 0) {
            Handshake::Partial => {}
            Handshake::Accepted { answer, head_bytes } => {
                stream.write_all(&answer)?;
                return Ok(Some(head.split_off(head_bytes)));
            }
            Handshake::Refused { answer } => {
                stream.write_all(&answer)?;
                return Ok(None);
            }
        }
        let count = stream.read(chunk)?;
        if count == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&chunk[..count]);
    }
}

/// Ends our side and reads to the end of the peer's, so that no reset eats what was sent.
fn end(mut stream: TcpStream, chunk: &mut [u8]) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    while stream.read(chunk)? > 0 {}
    Ok(())
}

/// What was said, on its way back.
#[derive(Default)]
struct Echo {
    message: Vec<u8>,
    out: Vec<u8>,
    closed: bool,
}

impl Echo {
    fn take(&mut self, event: WebSocketEvent<'_>) {
        match event {
            WebSocketEvent::Frame { .. } => {}
            WebSocketEvent::Data { payload, bytes, end } => self.take_data(payload, bytes, end),
            WebSocketEvent::Ping(payload) => write_pong(&mut self.out, payload),
            WebSocketEvent::Pong => {}
            WebSocketEvent::Close(code) => {
                write_close(&mut self.out, code);
                self.closed = true;
            }
        }
    }

    fn take_data(&mut self, payload: Payload, bytes: &[u8], end: bool) {
        self.message.extend_from_slice(bytes);
        if end {
            write_message(&mut self.out, payload, &self.message);
            self.message.clear();
        }
    }
}
