//! What a turn has put into frames: each stanza once, however many receive it and whatever else
//! they receive.
//!
//! Beside each log of stanzas there grows one of frames, and the stanzas that lie together in
//! the one have frames that lie together in the other: a room's members, each of whom gets all
//! but its own messages, share it.

use super::websocket::{Payload, write_message};
use crate::hub::Span;
use crate::limits::FRAMED_GAP_BYTES_MAX;
use crate::net::deliveries::Pieces;
use crate::wire::framer::FRAME_END;

/// Memory of a log that is kept for the next turn; a saturated room of 100 needs some 10 KB.
const LOG_KEPT_BYTES: usize = 16_384;

/// Stanzas of a log whose places are kept.
const MARKS_KEPT: usize = 256;

/// Logs that are kept at all.
const LOGS_KEPT: usize = 128;

/// What a turn has framed, for texts and for bytes.
#[derive(Debug, Default)]
pub(in crate::net) struct Framed {
    text: Logs,
    binary: Logs,
    /// Several pieces in one.
    joined: Vec<u8>,
}

impl Framed {
    /// The stanzas in these pieces, each in a frame of its own: as a text without its NUL, or as
    /// bytes with it.
    pub(super) fn of<'a>(&'a mut self, payload: Payload, mut pieces: Pieces<'a>) -> Pieces<'a> {
        let logs = match payload {
            Payload::Text => &mut self.text,
            Payload::Binary => &mut self.binary,
        };
        if let Some(span) = pieces.single_span() {
            let (log, start, end) = logs.frame(payload, span, pieces.log(span));
            return Pieces::within(&log.frames, start, end);
        }
        self.joined.clear();
        while let Some(span) = pieces.next_span() {
            let (log, start, end) = logs.frame(payload, span, pieces.log(span));
            self.joined.extend_from_slice(&log.frames[start..end]);
        }
        Pieces::of(&self.joined)
    }

    /// The same pieces in one.
    pub(super) fn joined<'a>(&'a mut self, pieces: Pieces<'a>) -> Pieces<'a> {
        if pieces.single().is_some() {
            return pieces;
        }
        self.joined.clear();
        pieces.for_each(|piece| self.joined.extend_from_slice(piece));
        Pieces::of(&self.joined)
    }

    /// The turn's stanzas are gone.
    pub(in crate::net) fn forget(&mut self) {
        self.text.forget();
        self.binary.forget();
        self.joined.clear();
        self.joined.shrink_to(LOG_KEPT_BYTES);
    }
}

/// Frames by log of stanzas.
#[derive(Debug, Default)]
struct Logs {
    logs: Vec<Log>,
    /// Those that have any in this turn.
    used: Vec<usize>,
}

/// The frames of stanzas that lie together.
#[derive(Debug, Default)]
struct Log {
    /// From where to where the stanzas lie.
    start: usize,
    end: usize,
    frames: Vec<u8>,
    /// Where each stanza begins, and where its frame does.
    marks: Vec<(usize, usize)>,
}

impl Logs {
    /// Where the frames of these stanzas lie; `stanzas` is the whole log.
    fn frame(&mut self, payload: Payload, span: Span, stanzas: &[u8]) -> (&Log, usize, usize) {
        let index = span.log as usize;
        if index >= self.logs.len() {
            self.logs.resize_with(index + 1, Log::default);
        }
        let log = &mut self.logs[index];
        if log.marks.is_empty() {
            self.used.push(index);
        }
        log.reach(payload, span, stanzas);
        (log, log.place(span.start), log.place(span.end))
    }

    fn forget(&mut self) {
        for index in self.used.drain(..) {
            let log = &mut self.logs[index];
            log.begin(0);
            log.frames.shrink_to(LOG_KEPT_BYTES);
            log.marks.shrink_to(MARKS_KEPT);
        }
        self.used.shrink_to(LOGS_KEPT);
        self.logs.truncate(LOGS_KEPT);
        self.logs.shrink_to(LOGS_KEPT);
    }
}

impl Log {
    /// Frames what is missing of these stanzas.
    fn reach(&mut self, payload: Payload, span: Span, stanzas: &[u8]) {
        if span.start < self.start
            || span.start > self.end + FRAMED_GAP_BYTES_MAX
            || self.marks.is_empty()
        {
            self.begin(span.start);
        }
        while self.end < span.end {
            let rest = &stanzas[self.end..span.end];
            // A stanza ends where its NUL stands.
            let length = memchr::memchr(FRAME_END, rest).map_or(rest.len(), |at| at + 1);
            self.marks.push((self.end, self.frames.len()));
            let text_bytes = length - usize::from(payload == Payload::Text);
            write_message(&mut self.frames, payload, &rest[..text_bytes]);
            self.end += length;
        }
    }

    fn begin(&mut self, start: usize) {
        (self.start, self.end) = (start, start);
        self.frames.clear();
        self.marks.clear();
    }

    /// Where the frame of the stanza lies that begins here.
    fn place(&self, at: usize) -> usize {
        let found = self.marks.binary_search_by_key(&at, |&(stanza, _)| stanza);
        found.map_or(self.frames.len(), |index| self.marks[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ConnId;
    use crate::net::deliveries::Deliveries;

    const RECEIVERS: u32 = 5;

    fn conn(slot: u32) -> ConnId {
        ConnId { slot, generation: 1 }
    }

    fn with_receivers() -> Deliveries {
        let mut deliveries = Deliveries::default();
        (0..RECEIVERS).for_each(|slot| deliveries.open(conn(slot)));
        deliveries
    }

    /// Each stanza in a frame, one after the other.
    fn alone(payload: Payload, pieces: Pieces<'_>) -> Vec<u8> {
        let mut frames = Vec::new();
        for stanza in pieces.flat_map(|piece| piece.split_inclusive(|&byte| byte == FRAME_END)) {
            let stanza = match payload {
                Payload::Text => &stanza[..stanza.len() - 1],
                Payload::Binary => stanza,
            };
            write_message(&mut frames, payload, stanza);
        }
        frames
    }

    #[test]
    fn stanzas_are_framed_as_if_nobody_else_received_them() {
        let mut deliveries = with_receivers();
        let mut framed = Framed::default();
        // Marsaglia's xorshift: any sequence will do.
        let mut seed = 0x9e37_79b9_u32;
        let mut below = |bound: u32| {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed % bound
        };
        for turn in 0..300 {
            for number in 0..below(40) {
                let long = [1, 100, 200, 5_000][below(4) as usize];
                let text = format!("<m>{number} {}</m>", "x".repeat(below(long) as usize));
                let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(text.as_bytes());
                let room = below(3);
                let span = if room == 0 {
                    deliveries.encode(write)
                } else {
                    deliveries.encode_for_room(room, write)
                };
                let receivers = below(1 << RECEIVERS);
                for slot in (0..RECEIVERS).filter(|slot| receivers >> slot & 1 == 1) {
                    deliveries.push(conn(slot), span);
                }
            }
            for slot in (0..RECEIVERS).rev() {
                for payload in [Payload::Binary, Payload::Text] {
                    let pieces = || deliveries.pieces(slot as usize);
                    let together: Vec<u8> =
                        framed.of(payload, pieces()).flatten().copied().collect();
                    assert!(together == alone(payload, pieces()), "turn {turn}, {slot}");
                }
                deliveries.forget(slot as usize);
            }
            deliveries.clear();
            framed.forget();
        }
    }

    #[test]
    fn a_stanza_is_framed_once_whoever_receives_it() {
        let mut deliveries = with_receivers();
        let mut framed = Framed::default();
        for sender in 0..RECEIVERS {
            let span = deliveries.encode_for_room(1, |bytes| bytes.extend_from_slice(b"<m />"));
            let others = (0..RECEIVERS).filter(|slot| *slot != sender);
            others.for_each(|slot| _ = deliveries.push(conn(slot), span));
        }
        for slot in 0..RECEIVERS {
            let pieces = deliveries.pieces(slot as usize);
            let heard: usize = framed.of(Payload::Binary, pieces).map(<[u8]>::len).sum();
            assert_eq!(heard, 4 * 8);
        }
        let logs = &framed.binary.logs;
        let stanzas: Vec<usize> = logs.iter().map(|log| log.marks.len()).collect();
        assert_eq!(stanzas, [0, 5]);
    }

    #[test]
    fn stanzas_between_two_are_framed_as_well_where_they_are_few() {
        for (gap, framed) in [(FRAMED_GAP_BYTES_MAX, 3), (FRAMED_GAP_BYTES_MAX + 1, 1)] {
            let mut stanzas = vec![b'x'; gap + 4];
            [1, gap + 1, gap + 3].into_iter().for_each(|end| stanzas[end] = FRAME_END);
            let mut log = Log::default();
            for start in [0, gap + 2] {
                let span = Span { log: 0, start, end: start + 2 };
                log.reach(Payload::Binary, span, &stanzas);
            }
            assert_eq!(log.marks.len(), framed, "{gap}");
        }
    }

    #[test]
    fn the_memory_of_a_storm_is_given_back() {
        let mut deliveries = with_receivers();
        let mut framed = Framed::default();
        for room in 0..200 {
            let span = deliveries.encode_for_room(room, |bytes| bytes.resize(100_000, b'x'));
            deliveries.push(conn(0), span);
        }
        let heard: usize = framed.of(Payload::Binary, deliveries.pieces(0)).map(<[u8]>::len).sum();
        assert_eq!(heard, 200 * (100_001 + 10));
        framed.forget();
        let kept = |logs: &Logs| logs.logs.iter().map(|log| log.frames.capacity()).sum::<usize>();
        assert!(kept(&framed.binary) <= LOGS_KEPT * LOG_KEPT_BYTES);
        assert!(framed.binary.logs.capacity() <= LOGS_KEPT);
        assert!(framed.joined.capacity() <= LOG_KEPT_BYTES);
    }
}
