//! A connection: its flags, the chain of what the turn has for it, and its writes.
//!
//! A chain names pieces of the turn's logs, so that nothing is copied for a receiver. What the
//! system does not take is copied out behind what was left over before.

use std::io::{self, IoSlice, Write as _};
use std::net::Shutdown;
use std::ops::Range;
use std::rc::Rc;

use mio::net::TcpStream;

/// No index.
pub(super) const NONE: usize = usize::MAX;

/// Slices of one system call, as the server has them. What needs more is copied together.
const SLICES_MAX: usize = 64;

/// A connection. One that has sent nothing holds nothing but this.
pub(super) struct RelayPeer {
    pub(super) socket: TcpStream,
    /// Counts the uses of slots, so that a route is not taken for its successor.
    pub(super) generation: u32,
    pub(super) nick: Option<Rc<str>>,
    /// A frame of which only the beginning has arrived.
    pub(super) tail: Vec<u8>,
    /// The rooms it is in, in the order in which it joined them.
    pub(super) rooms: Vec<Membership>,
    pub(super) route: Route,
    /// What it has said in this turn, in the log of its route's room: it is read once a turn,
    /// so it is one range.
    pub(super) own: Range<usize>,
    /// What it gets in this turn; everything but what its rooms have said since.
    pub(super) chain: PieceChain,
    /// What earlier turns could not write, the first `sent` bytes written since.
    backlog: Vec<u8>,
    sent: usize,
    /// Cleared by `WouldBlock`, by a read that came up short and by the end.
    pub(super) readable: bool,
    /// Cleared by `WouldBlock` and by a write that came up short.
    pub(super) writable: bool,
    /// The peer has ended its side, so a short read proves nothing.
    pub(super) read_closed: bool,
    /// The end of the peer's stream has been read.
    pub(super) ended: bool,
    /// Nothing more can be written.
    pub(super) broken: bool,
    /// It has not quit and its end has not been handled.
    pub(super) open: bool,
    /// Our side of the stream is ended.
    shut: bool,
    /// It is in one room, so that room's log is all that others' talk makes for it.
    pub(super) one_room: bool,
    pub(super) in_ready: bool,
    pub(super) in_dirty: bool,
}

/// Where a connection is in a room's table of members.
#[derive(Clone, Copy)]
pub(super) struct Membership {
    pub(super) room: usize,
    pub(super) index: usize,
}

/// Where a connection's messages go; found at the first one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Unknown,
    Peer { slot: usize, generation: u32 },
    Room(usize),
}

/// Pieces of logs, linked.
#[derive(Clone, Copy)]
pub(super) struct PieceChain {
    pub(super) first: usize,
    last: usize,
}

impl PieceChain {
    const EMPTY: Self = Self { first: NONE, last: NONE };
}

pub(super) struct Piece {
    log: usize,
    start: usize,
    end: usize,
    next: usize,
}

impl RelayPeer {
    pub(super) const fn new(socket: TcpStream, generation: u32) -> Self {
        Self {
            socket,
            generation,
            nick: None,
            tail: Vec::new(),
            rooms: Vec::new(),
            route: Route::Unknown,
            own: 0..0,
            chain: PieceChain::EMPTY,
            backlog: Vec::new(),
            sent: 0,
            readable: false,
            writable: true,
            read_closed: false,
            ended: false,
            broken: false,
            open: true,
            shut: false,
            one_room: false,
            in_ready: false,
            in_dirty: false,
        }
    }

    /// Whether there is nothing more to be read, ever.
    pub(super) const fn is_over(&self) -> bool {
        self.ended || (self.broken && !self.readable)
    }

    /// Writes a room's log around its own part; for one that waits for nothing else.
    pub(super) fn write_log(&mut self, before: &[u8], after: &[u8]) {
        let slices = [IoSlice::new(before), IoSlice::new(after)];
        let slices = match (before.is_empty(), after.is_empty()) {
            (true, true) => return,
            (true, false) => &slices[1..],
            (false, true) => &slices[..1],
            (false, false) => &slices[..],
        };
        let result = write_once(&mut self.socket, slices);
        let sent = self.note_written(result, before.len() + after.len());
        if !self.writable {
            self.keep([before, after].into_iter(), sent);
        }
    }

    /// Writes the backlog and the chain behind it, and keeps what is not taken.
    pub(super) fn write_queued(
        &mut self,
        logs: &[Vec<u8>],
        pieces: &[Piece],
        gathered: &mut Vec<u8>,
    ) {
        let chain = std::mem::replace(&mut self.chain, PieceChain::EMPTY);
        let mut result = Ok(0);
        let mut total = 0;
        if self.writable && !self.broken {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let backlog = [&self.backlog[self.sent..]].into_iter().filter(|b| !b.is_empty());
            let mut count = 0;
            for bytes in backlog.clone().chain(walk(logs, pieces, chain)) {
                if let Some(slice) = slices.get_mut(count) {
                    *slice = IoSlice::new(bytes);
                }
                count += 1;
                total += bytes.len();
            }
            if count > SLICES_MAX {
                gathered.clear();
                for bytes in backlog.chain(walk(logs, pieces, chain)) {
                    gathered.extend_from_slice(bytes);
                }
                slices[0] = IoSlice::new(gathered);
                count = 1;
            }
            if count == 0 {
                return;
            }
            result = write_once(&mut self.socket, &slices[..count]);
        }
        let sent = self.note_written(result, total);
        self.keep(walk(logs, pieces, chain), sent);
    }

    /// Notes what became of a write; how many bytes were taken.
    fn note_written(&mut self, result: io::Result<usize>, total: usize) -> usize {
        match result {
            Ok(count) => {
                self.writable &= count == total;
                count
            }
            Err(error) => {
                self.writable = false;
                if error.kind() != io::ErrorKind::WouldBlock {
                    // What it had sent before is still read; the read tells of the end.
                    self.broken = true;
                    self.readable = true;
                }
                0
            }
        }
    }

    /// Takes `sent` bytes off the backlog and what is queued behind it, and keeps the rest.
    fn keep<'a>(&mut self, queued: impl Iterator<Item = &'a [u8]>, sent: usize) {
        if self.broken {
            self.backlog = Vec::new();
            self.sent = 0;
            return;
        }
        let of_backlog = sent.min(self.backlog.len() - self.sent);
        self.sent += of_backlog;
        let mut skip = sent - of_backlog;
        if self.sent == self.backlog.len() {
            self.backlog.clear();
            self.sent = 0;
        } else if self.sent > self.backlog.len() / 2 {
            self.backlog.drain(..self.sent);
            self.sent = 0;
        }
        for bytes in queued {
            let from = skip.min(bytes.len());
            self.backlog.extend_from_slice(&bytes[from..]);
            skip -= from;
        }
        if self.backlog.is_empty() && self.backlog.capacity() > 0 {
            self.backlog = Vec::new();
        }
    }

    /// Ends our side when all is written; whether the connection is gone.
    pub(super) fn go_on_closing(&mut self) -> bool {
        if self.open {
            return false;
        }
        if self.broken {
            return true;
        }
        if !self.backlog.is_empty() {
            return false;
        }
        if !std::mem::replace(&mut self.shut, true) {
            self.ended |= self.socket.shutdown(Shutdown::Write).is_err();
        }
        self.ended
    }
}

/// Puts a piece behind a chain, as one with the last where they touch.
pub(super) fn append(
    pieces: &mut Vec<Piece>,
    chain: &mut PieceChain,
    log: usize,
    range: Range<usize>,
) {
    let Range { start, end } = range;
    if start == end {
        return;
    }
    let index = pieces.len();
    match pieces.get_mut(chain.last) {
        Some(last) if last.log == log && last.end == start => {
            last.end = end;
            return;
        }
        Some(last) => last.next = index,
        None => chain.first = index,
    }
    chain.last = index;
    pieces.push(Piece { log, start, end, next: NONE });
}

/// The bytes of a chain, piece by piece.
fn walk<'a>(
    logs: &'a [Vec<u8>],
    pieces: &'a [Piece],
    chain: PieceChain,
) -> impl Iterator<Item = &'a [u8]> {
    std::iter::successors(pieces.get(chain.first), |piece| pieces.get(piece.next))
        .map(|piece| &logs[piece.log][piece.start..piece.end])
}

/// One system call: `send` for one slice, `writev` for several.
fn write_once(socket: &mut TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        let result = match slices {
            [one] => socket.write(one),
            many => socket.write_vectored(many),
        };
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
