//! One TCP connection in memory, as Linux and an edge-triggered epoll have it.
//!
//! - A read comes up short only when it has emptied the receive buffer.
//! - A write comes up short, or blocks, only when the send buffer is full for now; then, and
//!   only then, an edge follows once a third of it is free.
//! - Whatever arrives (bytes, the end, a reset) makes an edge; the poll then tells the whole
//!   readiness of that moment, which may be less or more than what made the edge.
//! - A socket that is closed with unread bytes, or is sent bytes after its close, resets the
//!   connection, and what the peer has not yet read is lost.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

use palabre::hub::Time;
use palabre::net::world::Event;

use crate::rng::{Rng, mix};

/// What every part of the world shares.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) now: Cell<Time>,
    /// Polls so far; what happens between two of them is one turn.
    pub(crate) turn: Cell<u64>,
    /// The time of the turn before this one.
    pub(crate) turn_before: Cell<Time>,
    /// Sockets that the server holds.
    pub(crate) descriptors: Cell<usize>,
    /// Writes of the server so far.
    pub(crate) writes: Cell<u64>,
    /// Counts what the server got done.
    pub(crate) activity: Cell<u64>,
    /// A digest of everything that happened, in order.
    pub(crate) record: Cell<u64>,
}

impl Shared {
    /// Adds to the record.
    pub(crate) fn note(&self, what: &str, pipe: usize, number: usize) {
        let mut digest = self.record.get();
        for part in [mix(what.len() as u64 ^ u64::from(what.as_bytes()[0])), pipe as u64] {
            digest = mix(digest ^ part);
        }
        self.record.set(mix(digest ^ number as u64 ^ self.now.get().0.rotate_left(32)));
    }

    fn note_bytes(&self, bytes: &[u8]) {
        let mut digest = self.record.get();
        for part in bytes.chunks(8) {
            let number = part.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
            digest = (digest ^ number).rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        self.record.set(digest);
    }

    fn act(&self) {
        self.activity.set(self.activity.get() + 1);
    }
}

/// What may go wrong, in percent unless said otherwise. By default nothing does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Of what is under way only a part arrives.
    pub(crate) torn: u32,
    /// A write takes less than fits.
    pub(crate) short_write: u32,
    /// A call is interrupted.
    pub(crate) interrupted: u32,
    /// Events are told in any order, and some only by the next poll.
    pub(crate) disordered: u32,
    /// An event is told for which there is no reason.
    pub(crate) spurious: u32,
    /// The process sleeps for too long, by up to two seconds.
    pub(crate) overslept: u32,
    /// The head of the listen queue is gone when it is accepted.
    pub(crate) accept_aborted: u32,
    /// The poll refuses to watch a socket.
    pub(crate) unwatchable: u32,
    /// Nanoseconds, at most, that a turn takes.
    pub(crate) turn_ns: usize,
}

/// What a client reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(Vec<u8>),
    /// Nothing for now.
    Nothing,
    /// The server has ended the stream, and all of it was read.
    End,
    /// The connection was reset; what had not been read is lost.
    Reset,
}

/// Both directions of a connection and what either side did to it.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) id: usize,
    /// What goes through it no seed determines.
    pub(crate) is_secret: bool,
    shared: Rc<Shared>,
    faults: Faults,
    rng: Rng,
    /// Sent by the client and under way.
    flight: VecDeque<u8>,
    end_in_flight: bool,
    /// In the server's receive buffer.
    arrived: VecDeque<u8>,
    /// The client's end has arrived.
    ended: bool,
    up_room: usize,
    /// Sent by the server and not read by the client.
    down: VecDeque<u8>,
    down_room: usize,
    /// A write came up short since the last time there was room.
    no_space: bool,
    /// What the next call of the server fails with.
    error: Option<ErrorKind>,
    /// Reset: nothing goes either way.
    dead: bool,
    client_closed: bool,
    client_reset: bool,
    /// An edge the poll has not told yet.
    woken: bool,
    pub(crate) slot: Option<usize>,
    /// When the server ended its stream, and when it closed its socket.
    pub(crate) shut_at: Option<Time>,
    pub(crate) dropped_at: Option<Time>,
    pub(crate) dropped_in: Option<u64>,
    pub(crate) idle_time_s: Option<u64>,
    read_in: u64,
    written_in: u64,
    /// Which of all the server's writes the last one was.
    pub(crate) written_as: u64,
    /// Writes and bytes written, in all.
    pub(crate) writes: usize,
    pub(crate) bytes_down: usize,
    /// Reads and bytes read, in all.
    pub(crate) reads: usize,
    pub(crate) bytes_up: usize,
}

/// A connection as its client and the world see it.
pub(crate) type Handle = Rc<RefCell<Pipe>>;

/// The server's end of a connection.
#[derive(Debug)]
pub(crate) struct FakeSocket {
    pub(crate) pipe: Handle,
}

/// The room of either direction, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) up: usize,
    pub(crate) down: usize,
}

impl Pipe {
    pub(crate) fn connect(
        id: usize,
        shared: &Rc<Shared>,
        faults: Faults,
        rng: Rng,
        room: Room,
    ) -> Handle {
        Rc::new(RefCell::new(Self {
            id,
            is_secret: false,
            shared: Rc::clone(shared),
            faults,
            rng,
            flight: VecDeque::new(),
            end_in_flight: false,
            arrived: VecDeque::new(),
            ended: false,
            up_room: room.up,
            down: VecDeque::new(),
            down_room: room.down,
            no_space: false,
            error: None,
            dead: false,
            client_closed: false,
            client_reset: false,
            woken: false,
            slot: None,
            shut_at: None,
            dropped_at: None,
            dropped_in: None,
            idle_time_s: None,
            read_in: 0,
            written_in: 0,
            written_as: 0,
            writes: 0,
            bytes_down: 0,
            reads: 0,
            bytes_up: 0,
        }))
    }

    // The client's calls.

    /// Sends what fits; how much that was. `None` when the connection is broken.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        assert!(
            !self.client_closed && !self.end_in_flight && !self.ended,
            "a client sends no more"
        );
        if self.client_reset || self.dead {
            return None;
        }
        if self.dropped_at.is_some() {
            self.lose_what_the_client_has_not_read();
            return None;
        }
        let free = self.up_room.saturating_sub(self.flight.len() + self.arrived.len());
        let count = bytes.len().min(free);
        self.flight.extend(&bytes[..count]);
        Some(count)
    }

    /// Reads at most `max` bytes.
    pub(crate) fn receive(&mut self, max: usize) -> Received {
        if self.client_reset {
            return Received::Reset;
        }
        if self.down.is_empty() {
            let end = self.shut_at.is_some() || self.dropped_at.is_some();
            return if end { Received::End } else { Received::Nothing };
        }
        Received::Bytes(take(&mut self.down, max))
    }

    /// Whether a client's read would tell something.
    pub(crate) fn is_readable(&self) -> bool {
        self.client_reset
            || !self.down.is_empty()
            || self.shut_at.is_some()
            || self.dropped_at.is_some()
    }

    /// How many bytes the server has sent that the client has not read.
    pub(crate) fn unread(&self) -> usize {
        self.down.len()
    }

    /// Ends the client's stream; it may still read.
    pub(crate) fn half_close(&mut self) {
        self.end_in_flight = true;
    }

    /// Closes the client's socket.
    pub(crate) fn close(&mut self) {
        if !self.down.is_empty() {
            return self.reset(ErrorKind::ConnectionReset);
        }
        self.client_closed = true;
        self.end_in_flight = true;
    }

    /// Breaks the connection; the server sees this error.
    pub(crate) fn reset(&mut self, kind: ErrorKind) {
        self.client_closed = true;
        self.client_reset = true;
        self.dead = true;
        self.error = Some(kind);
        self.down.clear();
        self.flight.clear();
        if self.rng.chance(50) {
            self.arrived.clear();
        }
        self.woken = true;
    }

    /// Makes the server's next call fail, though the stream goes on.
    pub(crate) fn fail_once(&mut self, kind: ErrorKind) {
        self.error = Some(kind);
    }

    /// The accept queue was thrown away.
    pub(crate) fn refuse(&mut self) {
        self.lose_what_the_client_has_not_read();
    }

    /// Whether the server holds its socket.
    pub(crate) fn is_held(&self) -> bool {
        self.slot.is_some() && self.dropped_at.is_none()
    }

    // The network's part.

    /// Moves what is under way, or a part of it, into the server's receive buffer.
    fn arrive(&mut self) {
        if self.flight.is_empty() && !self.end_in_flight {
            return;
        }
        let torn = self.rng.chance(self.faults.torn);
        let count = if torn { self.rng.below(self.flight.len() + 1) } else { self.flight.len() };
        if count > 0 {
            let bytes = take(&mut self.flight, count);
            self.arrived.extend(&bytes);
            self.woken = true;
        }
        if self.flight.is_empty() && self.end_in_flight && !torn {
            self.end_in_flight = false;
            self.ended = true;
            self.woken = true;
        }
    }

    fn down_free(&self) -> usize {
        self.down_room.saturating_sub(self.down.len())
    }

    /// Whether the system would call it writable.
    fn is_writable(&self) -> bool {
        self.dead || self.down_free() * 3 >= self.down_room
    }

    /// Sees to arrivals and room; whether there is an edge to tell.
    pub(crate) fn has_edge(&mut self) -> bool {
        self.arrive();
        if self.no_space && self.is_writable() {
            self.no_space = false;
            self.woken = true;
        }
        self.woken
    }

    /// Whether something will come without anybody's doing.
    pub(crate) fn is_under_way(&self) -> bool {
        self.is_held() && (!self.flight.is_empty() || self.end_in_flight)
    }

    /// Takes the edge: the readiness of this moment, if there is any.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        self.woken = false;
        let slot = self.slot?;
        let read_closed = self.ended || self.dead;
        let readable = !self.arrived.is_empty() || read_closed;
        let writable = self.is_writable();
        let failed = self.dead;
        let event = Event::Ready { slot, readable, writable, read_closed, failed };
        (readable || writable).then_some(event)
    }

    /// It is being watched now: what is already there makes an edge.
    pub(crate) fn watch(&mut self, slot: usize) {
        assert_eq!(self.slot, None, "connection {} is registered twice", self.id);
        self.slot = Some(slot);
        self.woken = true;
    }

    fn lose_what_the_client_has_not_read(&mut self) {
        self.client_reset = true;
        self.down.clear();
    }

    // The server's calls.

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arrive();
        if !self.arrived.is_empty() {
            let bytes = take(&mut self.arrived, buffer.len());
            buffer[..bytes.len()].copy_from_slice(&bytes);
            self.bytes_up += bytes.len();
            return Ok(bytes.len());
        }
        if let Some(kind) = self.error.take() {
            return Err(kind.into());
        }
        if self.ended || self.dead {
            return Ok(0);
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        assert_eq!(self.shut_at, None, "written to connection {} after its end", self.id);
        assert!(!slices.is_empty() && slices.iter().all(|slice| !slice.is_empty()));
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        if let Some(kind) = self.error.take() {
            return Err(kind.into());
        }
        if self.dead {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.client_closed {
            // The system takes it; the answer is a reset, behind what is still under way.
            self.arrived.append(&mut self.flight);
            self.dead = true;
            self.error = Some(ErrorKind::ConnectionReset);
            self.woken = true;
            return Ok(wanted);
        }
        let mut count = wanted.min(self.down_free());
        if count > 0 && self.rng.chance(self.faults.short_write) {
            count = self.rng.below(count + 1);
        }
        self.no_space |= count < wanted;
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut left = count;
        for slice in slices {
            let bytes = &slice[..left.min(slice.len())];
            self.down.extend(bytes);
            // The beginning tells writes apart well enough.
            if !self.is_secret {
                self.shared.note_bytes(&bytes[..bytes.len().min(256)]);
            }
            left -= bytes.len();
        }
        self.bytes_down += count;
        Ok(count)
    }
}

/// Takes at most `max` bytes from the front.
fn take(queue: &mut VecDeque<u8>, max: usize) -> Vec<u8> {
    let count = max.min(queue.len());
    let (front, back) = queue.as_slices();
    let in_front = count.min(front.len());
    let bytes = [&front[..in_front], &back[..count - in_front]].concat();
    queue.drain(..count);
    bytes
}

impl FakeSocket {
    /// Counts a system call and refuses a second one of its kind in a turn.
    fn begin(&self, what: &str) -> io::Result<()> {
        let mut pipe = self.pipe.borrow_mut();
        let percent = pipe.faults.interrupted;
        if pipe.rng.chance(percent) {
            pipe.shared.act();
            return Err(ErrorKind::Interrupted.into());
        }
        let turn = pipe.shared.turn.get();
        let last = if what == "read" { &mut pipe.read_in } else { &mut pipe.written_in };
        let before = std::mem::replace(last, turn);
        assert_ne!(before, turn, "a second {what} of connection {} in turn {turn}", pipe.id);
        match what {
            "read" => pipe.reads += 1,
            _ => {
                pipe.writes += 1;
                pipe.shared.writes.set(pipe.shared.writes.get() + 1);
                pipe.written_as = pipe.shared.writes.get();
            }
        }
        Ok(())
    }

    fn finish(&self, what: &str, result: io::Result<usize>) -> io::Result<usize> {
        let pipe = self.pipe.borrow();
        let outcome = match &result {
            Ok(count) => *count,
            Err(error) => usize::MAX - error.kind() as usize,
        };
        pipe.shared.note(what, pipe.id, outcome);
        if !matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            pipe.shared.act();
        }
        result
    }
}

/// What the server does to its socket, through its world.
impl FakeSocket {
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.begin("read")?;
        let result = self.pipe.borrow_mut().read(buffer);
        self.finish("read", result)
    }

    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.begin("write")?;
        let result = self.pipe.borrow_mut().write(slices);
        self.finish("write", result)
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        let mut pipe = self.pipe.borrow_mut();
        assert_eq!(pipe.shut_at, None, "connection {} is ended twice", pipe.id);
        pipe.shared.act();
        pipe.shared.note("shut", pipe.id, 0);
        pipe.shut_at = Some(pipe.shared.now.get());
        if pipe.dead { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    pub(crate) fn close(self) {
        let mut pipe = self.pipe.borrow_mut();
        let shared = Rc::clone(&pipe.shared);
        shared.act();
        shared.note("close", pipe.id, 0);
        shared.descriptors.set(shared.descriptors.get() - 1);
        pipe.dropped_at = Some(shared.now.get());
        pipe.dropped_in = Some(shared.turn.get());
        if !pipe.arrived.is_empty() || !pipe.flight.is_empty() {
            pipe.lose_what_the_client_has_not_read();
        }
    }
}
