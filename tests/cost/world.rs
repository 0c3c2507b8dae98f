//! A world in which everything fits and nothing costs: what a test counts in it is the loop's.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use palabre::hub::Time;
use palabre::net::world::{Event, Socket, World};

/// What all sockets of a world share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// By connection, what it has sent and the server has not read.
    pub(crate) sent: RefCell<Vec<Vec<u8>>>,
    pub(crate) reads: Cell<usize>,
    pub(crate) writes: Cell<usize>,
    pub(crate) bytes: Cell<usize>,
}

/// The world: so many connections wait at its one listener.
#[derive(Debug)]
pub(crate) struct Calm {
    pub(crate) shared: Rc<Shared>,
    waiting: usize,
    accepted: usize,
}

#[derive(Debug)]
pub(crate) struct CalmSocket {
    index: usize,
    shared: Rc<Shared>,
}

impl Calm {
    pub(crate) fn new(connections: usize) -> Self {
        let shared = Rc::new(Shared::default());
        shared.sent.borrow_mut().resize_with(connections, Vec::new);
        Self { shared, waiting: connections, accepted: 0 }
    }
}

impl World for Calm {
    type Socket = CalmSocket;

    fn now(&mut self) -> Time {
        Time(0)
    }

    fn poll(&mut self, _: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let sent = self.shared.sent.borrow();
        // Connections are accepted in their order, so the slot is the index.
        let talking = sent.iter().take(self.accepted).enumerate().filter(|(_, s)| !s.is_empty());
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
        if self.accepted == self.waiting {
            return Err(ErrorKind::WouldBlock.into());
        }
        let socket = CalmSocket { index: self.accepted, shared: Rc::clone(&self.shared) };
        self.accepted += 1;
        Ok((socket, SocketAddr::from(([127, 0, 0, 1], 40_000))))
    }

    fn register(&mut self, _: &mut CalmSocket, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn stop_listening(&mut self) {}
}

impl Socket for CalmSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut sent = self.shared.sent.borrow_mut();
        let bytes = &mut sent[self.index];
        let count = bytes.len().min(buffer.len());
        self.shared.reads.set(self.shared.reads.get() + 1);
        buffer[..count].copy_from_slice(&bytes[..count]);
        bytes.drain(..count);
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = slices.iter().map(|slice| slice.len()).sum();
        self.shared.writes.set(self.shared.writes.get() + 1);
        self.shared.bytes.set(self.shared.bytes.get() + count);
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_idle_time(&mut self, _: u64) {}
}
