//! What waits to be written to one connection.
//!
//! During a turn it is a list of spans in the turn's arena, merged where they touch, so that a
//! turn's messages are written with one system call and copied nowhere. What the system does
//! not take is copied out behind what was left over before. An empty outbox holds no memory.

use std::io::{self, IoSlice};

use super::world::Socket;
use crate::hub::Span;

/// Slices of one system call. More spans than this are copied together first.
const SLICES_MAX: usize = 64;

/// Capacity is doubled below this and grows by it above, so that a backlog's memory stays
/// close to its bytes.
const BACKLOG_STEP_BYTES: usize = 65_536;

/// One connection's queue.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The first span of this turn; empty when there is none.
    first: Span,
    /// The spans after it.
    more: Vec<Span>,
    /// Bytes of earlier turns; those before `head` are sent.
    backlog: Vec<u8>,
    head: usize,
}

/// What became of a flush.
#[derive(Debug)]
pub(super) enum Flush {
    /// Everything was written; so many bytes.
    Done(usize),
    /// So many bytes were written, the rest waits for room.
    Blocked(usize),
    /// It would leave more waiting than is allowed.
    TooMuch,
    /// The connection is broken.
    Broken(io::Error),
}

impl Outbox {
    /// Queues a span of the turn's arena.
    pub(super) fn push(&mut self, span: Span) {
        let last = self.more.last_mut().unwrap_or(&mut self.first);
        if last.end == span.start && last.end > last.start {
            last.end = span.end;
        } else if last.end == last.start {
            *last = span;
        } else {
            self.more.push(span);
        }
    }

    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.first.end == self.first.start && self.backlog_bytes() == 0
    }

    /// Bytes left over from earlier turns.
    pub(super) const fn backlog_bytes(&self) -> usize {
        self.backlog.len() - self.head
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes as much as the socket takes in one system call and keeps the rest, at most
    /// `max` bytes. With `writable` false nothing is tried.
    pub(super) fn flush(
        &mut self,
        arena: &[u8],
        socket: &mut impl Socket,
        writable: bool,
        max: usize,
    ) -> Flush {
        if self.is_empty() {
            return Flush::Done(0);
        }
        if self.more.len() + 2 > SLICES_MAX && !self.keep(arena, 0, usize::MAX) {
            return Flush::TooMuch;
        }
        let written = if writable { self.write(arena, socket) } else { Ok(0) };
        match written {
            Ok(bytes) => {
                if !self.keep(arena, bytes, max) {
                    return Flush::TooMuch;
                }
                if self.is_empty() { Flush::Done(bytes) } else { Flush::Blocked(bytes) }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.keep(arena, 0, max) {
                    Flush::Blocked(0)
                } else {
                    Flush::TooMuch
                }
            }
            Err(error) => Flush::Broken(error),
        }
    }

    fn spans(&self) -> impl Iterator<Item = Span> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }

    fn write(&self, arena: &[u8], socket: &mut impl Socket) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let backlog = &self.backlog[self.head..];
        let spans = self.spans().map(|span| &arena[span.start..span.end]);
        for (slot, bytes) in
            slices.iter_mut().zip(std::iter::once(backlog).chain(spans).filter(|b| !b.is_empty()))
        {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        loop {
            match socket.write(&slices[..count]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                result => return result,
            }
        }
    }

    /// Drops `sent` bytes from the front and copies what is left of the spans out of the arena;
    /// `false`, and nothing is copied, when more than `max` bytes would wait.
    fn keep(&mut self, arena: &[u8], sent: usize, max: usize) -> bool {
        let from_backlog = sent.min(self.backlog_bytes());
        self.head += from_backlog;
        let mut skip = sent - from_backlog;
        let left = self.spans().map(|span| span.end - span.start).sum::<usize>() - skip;
        if self.backlog_bytes() + left > max {
            return false;
        }
        if left > 0 {
            self.reserve(left);
            let spans = std::iter::once(self.first).chain(self.more.iter().copied());
            for span in spans {
                let bytes = &arena[span.start..span.end];
                let from = skip.min(bytes.len());
                self.backlog.extend_from_slice(&bytes[from..]);
                skip -= from;
            }
        }
        self.first = Span::default();
        if !self.more.is_empty() {
            self.more = Vec::new();
        }
        self.compact();
        true
    }

    fn reserve(&mut self, extra: usize) {
        if self.backlog.len() + extra > self.backlog.capacity() {
            if self.head > 0 {
                self.backlog.drain(..self.head);
                self.head = 0;
            }
            if self.backlog.len() < BACKLOG_STEP_BYTES {
                self.backlog.reserve(extra);
            } else {
                self.backlog.reserve_exact(extra.max(BACKLOG_STEP_BYTES));
            }
        }
    }

    fn compact(&mut self) {
        if self.head == self.backlog.len() {
            self.backlog = Vec::new();
            self.head = 0;
        } else if self.head > self.backlog.len() / 2 {
            self.backlog.drain(..self.head);
            self.head = 0;
            self.backlog.shrink_to(self.backlog.len().max(BACKLOG_STEP_BYTES));
        }
    }
}
