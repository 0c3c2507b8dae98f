//! A world in which everything fits and nothing costs: what a test counts in it is the loop's.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use palabre::hub::Time;
use palabre::net::world::{Event, World};

/// The world: so many connections wait at its one listener.
#[derive(Debug)]
pub(crate) struct Calm {
    /// By connection, what it has sent and the server has not read.
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    pub(crate) bytes: usize,
    accepted: usize,
}

/// The number of a connection, which the server has for a socket.
#[derive(Debug)]
pub(crate) struct CalmSocket(usize);

impl Calm {
    pub(crate) fn new(connections: usize) -> Self {
        Self { sent: vec![Vec::new(); connections], reads: 0, writes: 0, bytes: 0, accepted: 0 }
    }
}

impl World for Calm {
    type Socket = CalmSocket;

    fn now(&mut self) -> Time {
        Time(0)
    }

    fn poll(&mut self, _: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        // Connections are accepted in their order, so the slot is the index.
        let talking =
            self.sent.iter().take(self.accepted).enumerate().filter(|(_, s)| !s.is_empty());
        events.extend(talking.map(|(slot, _)| Event::Ready {
            slot,
            readable: true,
            writable: false,
            read_closed: false,
            failed: false,
        }));
        Ok(())
    }

    fn set_idle_time(&mut self, _: u64) {}

    fn accept(&mut self, _: usize) -> io::Result<(CalmSocket, SocketAddr)> {
        if self.accepted == self.sent.len() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let socket = CalmSocket(self.accepted);
        self.accepted += 1;
        Ok((socket, SocketAddr::from(([127, 0, 0, 1], 40_000))))
    }

    fn register(&mut self, _: &mut CalmSocket, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn stop_listening(&mut self) {}

    fn read(&mut self, socket: &mut CalmSocket, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = &mut self.sent[socket.0];
        let count = bytes.len().min(buffer.len());
        self.reads += 1;
        buffer[..count].copy_from_slice(&bytes[..count]);
        bytes.drain(..count);
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, _: &mut CalmSocket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = slices.iter().map(|slice| slice.len()).sum();
        self.writes += 1;
        self.bytes += count;
        Ok(count)
    }

    fn shutdown_write(&mut self, _: &mut CalmSocket) -> io::Result<()> {
        Ok(())
    }

    fn check_silence(&mut self, _: &mut CalmSocket, _: u64) {}

    fn close(&mut self, _: CalmSocket) {}
}
