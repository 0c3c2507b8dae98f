//! What waits to be written to one connection.
//!
//! What a turn has queued for it stands in the turn's [`Deliveries`](super::deliveries) and is
//! written from there; what the system does not take is copied out behind what was left over
//! before. An outbox in which nothing waits holds no memory.

use std::io::{self, IoSlice};

use super::deliveries::Pieces;
use crate::limits::{OUTBOX_JOINED_BYTES_MAX, OUTBOX_SLICES_MAX};

/// Capacity is doubled below this and grows by it above, so that a backlog's memory stays
/// close to its bytes.
const BACKLOG_STEP_BYTES: usize = 65_536;

/// What earlier turns have left over for one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox(Option<Box<Leftover>>);

#[derive(Debug, Default)]
struct Leftover {
    bytes: Vec<u8>,
    /// Those before are sent.
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
    /// Bytes left over from earlier turns.
    pub(super) fn backlog_bytes(&self) -> usize {
        self.waiting().len()
    }

    /// Whether nothing is left over.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Writes as much as the socket takes in one system call and keeps the rest, at most
    /// `max` bytes. With `writable` false nothing is tried. `joined` is scratch memory.
    pub(super) fn flush(
        &mut self,
        pieces: Pieces<'_>,
        joined: &mut Vec<u8>,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
        writable: bool,
        max: usize,
    ) -> Flush {
        if self.is_empty() && pieces.is_empty() {
            return Flush::Done(0);
        }
        if !writable {
            return self.keep_after(0, pieces, max);
        }
        if self.is_empty() {
            if let Some(piece) = pieces.single() {
                return self.written(send(&mut write, piece), pieces, max);
            }
            if pieces.clone().map(<[u8]>::len).sum::<usize>() <= OUTBOX_JOINED_BYTES_MAX {
                joined.clear();
                pieces.clone().for_each(|piece| joined.extend_from_slice(piece));
                return self.written(send(&mut write, joined), pieces, max);
            }
        }
        if pieces.clone().nth(OUTBOX_SLICES_MAX - 2).is_some() {
            if !self.keep(pieces, 0, usize::MAX) {
                return Flush::TooMuch;
            }
            return self.written(send(&mut write, self.waiting()), Pieces::none(), max);
        }
        self.written(self.send_slices(pieces.clone(), &mut write), pieces, max)
    }

    fn written(&mut self, written: io::Result<usize>, pieces: Pieces<'_>, max: usize) -> Flush {
        match written {
            Ok(bytes) => self.keep_after(bytes, pieces, max),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.keep_after(0, pieces, max)
            }
            Err(error) => Flush::Broken(error),
        }
    }

    fn keep_after(&mut self, sent: usize, pieces: Pieces<'_>, max: usize) -> Flush {
        if !self.keep(pieces, sent, max) {
            Flush::TooMuch
        } else if self.is_empty() {
            Flush::Done(sent)
        } else {
            Flush::Blocked(sent)
        }
    }

    fn waiting(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |waiting| &waiting.bytes[waiting.head..])
    }

    fn send_slices(
        &self,
        pieces: Pieces<'_>,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); OUTBOX_SLICES_MAX];
        let mut count = 0;
        let backlog = Some(self.waiting()).filter(|waiting| !waiting.is_empty());
        for (slot, bytes) in slices.iter_mut().zip(backlog.into_iter().chain(pieces)) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        write_once(write, &slices[..count])
    }

    /// Drops `sent` bytes from the front and copies what is left of the pieces out of the turn;
    /// `false`, and nothing is copied, when more than `max` bytes would wait.
    fn keep(&mut self, pieces: Pieces<'_>, sent: usize, max: usize) -> bool {
        let queued: usize = pieces.clone().map(<[u8]>::len).sum();
        let from_backlog = sent.min(self.backlog_bytes());
        let mut skip = sent - from_backlog;
        let left = queued - skip;
        if let Some(waiting) = &mut self.0 {
            waiting.head += from_backlog;
        } else if left == 0 {
            return true;
        }
        if self.backlog_bytes() + left > max {
            return false;
        }
        let waiting = self.0.get_or_insert_default();
        if left > 0 {
            waiting.reserve(left);
            for piece in pieces {
                let from = skip.min(piece.len());
                waiting.bytes.extend_from_slice(&piece[from..]);
                skip -= from;
            }
        }
        waiting.compact();
        if waiting.bytes.is_empty() {
            self.0 = None;
        }
        true
    }
}

impl Leftover {
    fn reserve(&mut self, extra: usize) {
        if self.bytes.len() + extra > self.bytes.capacity() {
            if self.head > 0 {
                self.bytes.drain(..self.head);
                self.head = 0;
            }
            if self.bytes.len() < BACKLOG_STEP_BYTES {
                self.bytes.reserve(extra);
            } else {
                self.bytes.reserve_exact(extra.max(BACKLOG_STEP_BYTES));
            }
        }
    }

    fn compact(&mut self) {
        if self.head == self.bytes.len() {
            self.bytes = Vec::new();
            self.head = 0;
        } else if self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
            self.bytes.shrink_to(self.bytes.len().max(BACKLOG_STEP_BYTES));
        }
    }
}

fn send(write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>, bytes: &[u8]) -> io::Result<usize> {
    write_once(write, &[IoSlice::new(bytes)])
}

/// Writes in one call, unless it is interrupted.
fn write_once(
    mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    loop {
        match write(slices) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ConnId;
    use crate::net::deliveries::Deliveries;

    /// Takes everything, as a system does that has room, and no more slices than one takes.
    #[derive(Debug, Default)]
    struct Roomy {
        taken: Vec<u8>,
        calls: usize,
        slices: usize,
    }

    impl Roomy {
        fn take(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            assert!(slices.len() <= OUTBOX_SLICES_MAX, "{} slices", slices.len());
            self.calls += 1;
            self.slices += slices.len();
            slices.iter().for_each(|slice| self.taken.extend_from_slice(slice));
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }
    }

    const ANN: ConnId = ConnId { slot: 0, generation: 1 };
    const BOB: ConnId = ConnId { slot: 1, generation: 1 };

    /// So many pieces for Ann, each too long to be copied together, and none next to another.
    fn pieces(count: usize) -> (Deliveries, Vec<u8>) {
        let mut deliveries = Deliveries::default();
        deliveries.open(ANN);
        deliveries.open(BOB);
        let mut all = Vec::new();
        for number in 0..count {
            let text = format!("{number:05}").repeat(200);
            let span = deliveries.encode(|buffer| buffer.extend_from_slice(text.as_bytes()));
            deliveries.push(ANN, span);
            all.extend_from_slice(text.as_bytes());
            all.push(0);
            let other = deliveries.encode(|buffer| buffer.push(b'x'));
            deliveries.push(BOB, other);
        }
        assert_eq!(deliveries.pieces(0).count(), count);
        (deliveries, all)
    }

    #[test]
    fn all_pieces_go_in_one_call_however_many_there_are_and_behind_what_waits() {
        for count in OUTBOX_SLICES_MAX - 5..OUTBOX_SLICES_MAX + 5 {
            for waits in [false, true] {
                let (deliveries, mut all) = pieces(count);
                let (mut outbox, mut socket) = (Outbox::default(), Roomy::default());
                if waits {
                    let early = b"early".to_vec();
                    assert!(outbox.keep(Pieces::of(&early), 0, usize::MAX));
                    all.splice(..0, early);
                }
                let write = |slices: &[IoSlice<'_>]| socket.take(slices);
                let flushed =
                    outbox.flush(deliveries.pieces(0), &mut Vec::new(), write, true, 1 << 20);
                assert!(matches!(flushed, Flush::Done(_)), "{count} pieces: {flushed:?}");
                assert_eq!((socket.calls, socket.taken == all), (1, true), "{count} pieces");
                assert!(outbox.is_empty());
            }
        }
    }

    #[test]
    fn a_few_bytes_in_several_pieces_go_as_one_slice() {
        for (more, slices) in [(0, 1), (1, 2)] {
            let mut deliveries = Deliveries::default();
            deliveries.open(ANN);
            for room in [1, 2] {
                let length = OUTBOX_JOINED_BYTES_MAX / 2 - 1 + if room == 2 { more } else { 0 };
                let span = deliveries.encode_for_room(room, |buffer| buffer.resize(length, b'x'));
                deliveries.push(ANN, span);
            }
            let (mut outbox, mut socket) = (Outbox::default(), Roomy::default());
            let write = |slices: &[IoSlice<'_>]| socket.take(slices);
            outbox.flush(deliveries.pieces(0), &mut Vec::new(), write, true, 1 << 20);
            let taken = OUTBOX_JOINED_BYTES_MAX + more;
            assert_eq!((socket.taken.len(), socket.slices), (taken, slices));
        }
    }
}
