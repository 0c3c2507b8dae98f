//! Cuts a byte stream into frames at NUL bytes, never looking at a byte twice.
//!
//! Bytes are lent in chunks; a frame that lies whole in its chunk is lent on without a copy.
//! Only what a chunk leaves over is copied out: an unfinished tail, or frames that were not taken
//! yet. A connection with nothing left over owns no memory here.

use std::fmt;

use memchr::memchr;

use crate::secret;

/// The end of a frame on the wire (manual: protocol, 'Framing').
pub const FRAME_END: u8 = 0;

/// What one connection's chunks have left over.
#[derive(Debug, Default)]
pub struct Framer {
    /// Bytes left over; those before `head` are consumed.
    held: Vec<u8>,
    /// Where the first frame that was not taken begins.
    head: usize,
    /// No NUL stands between `head` and here.
    searched: usize,
    /// A password may be in it: memory that it leaves is overwritten.
    secret: bool,
    /// Those before are consumed and overwritten.
    wiped: usize,
}

/// A frame is longer than the limit; the stream can't be cut any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("frame longer than the limit")
    }
}

impl std::error::Error for TooLarge {}

impl Framer {
    /// A framer at the beginning of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { held: Vec::new(), head: 0, searched: 0, secret: false, wiped: 0 }
    }

    /// The same for a stream with passwords in it: what was kept of it is overwritten in memory.
    #[must_use]
    pub const fn for_secrets() -> Self {
        Self { held: Vec::new(), head: 0, searched: 0, secret: true, wiped: 0 }
    }

    /// There are no passwords in what follows.
    pub const fn forget_secrecy(&mut self) {
        self.secret = false;
    }

    /// Goes on with the stream's next bytes, which may be none. What is not taken from the
    /// [`Cut`] is kept when it is dropped. `max` is the longest frame, in bytes, its NUL not
    /// counted.
    pub const fn cut<'a>(&'a mut self, chunk: &'a [u8], max: usize) -> Cut<'a> {
        Cut { framer: self, chunk, last: Last::None, max }
    }

    /// How many bytes are kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.held.len() - self.head
    }

    /// Whether nothing is kept: the stream stands at the beginning of a frame.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything that is kept.
    pub fn clear(&mut self) {
        if self.secret {
            secret::clear(&mut self.held);
        }
        self.held = Vec::new();
        (self.head, self.searched, self.wiped) = (0, 0, 0);
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.secret {
            secret::append(&mut self.held, bytes);
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Gives the memory of consumed bytes back. What is left is moved only when it is the smaller
    /// part: a caller that takes a few frames at a time does not pay for the many behind them.
    fn compact(&mut self) {
        if self.head == self.held.len() {
            self.clear();
        } else if self.head > self.held.len() / 2 {
            if self.secret {
                secret::remove_front(&mut self.held, self.head);
            } else {
                self.held.drain(..self.head);
            }
            self.wiped = 0;
            self.searched -= self.head;
            self.head = 0;
        } else if self.secret {
            secret::wipe(&mut self.held[self.wiped..self.head]);
            self.wiped = self.head;
        }
    }
}

/// The frames of one chunk, together with what earlier chunks left over.
#[derive(Debug)]
pub struct Cut<'a> {
    framer: &'a mut Framer,
    chunk: &'a [u8],
    last: Last<'a>,
    max: usize,
}

/// Where the last frame came from, so that it can be taken back.
#[derive(Clone, Copy, Debug)]
enum Last<'a> {
    None,
    /// From the chunk, which was this before.
    Chunk(&'a [u8]),
    /// From the bytes kept, where `head` was this before.
    Held(usize),
}

impl Cut<'_> {
    /// The next whole frame, without its NUL; `None` when there is none yet.
    ///
    /// # Errors
    /// [`TooLarge`] as soon as the limit is crossed, whether or not the NUL has arrived.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, TooLarge> {
        if self.framer.is_empty() { self.next_of_chunk() } else { self.next_of_held() }
    }

    /// Takes the last frame back: it will be the next one again.
    pub const fn retract(&mut self) {
        match self.last {
            Last::None => {}
            Last::Chunk(before) => self.chunk = before,
            Last::Held(head) => {
                // The frame's NUL is the byte before the present head: it is found at once.
                self.framer.searched = self.framer.head - 1;
                self.framer.head = head;
            }
        }
        self.last = Last::None;
    }

    /// Drops everything behind the last frame, in this chunk and kept.
    pub fn discard(self) {
        let mut this = self;
        this.chunk = &[];
        this.framer.clear();
    }

    fn next_of_chunk(&mut self) -> Result<Option<&[u8]>, TooLarge> {
        let before = self.chunk;
        let length = memchr(FRAME_END, before).unwrap_or(before.len());
        if length > self.max {
            return Err(TooLarge);
        }
        if length == before.len() {
            return Ok(None);
        }
        self.last = Last::Chunk(before);
        self.chunk = &before[length + 1..];
        Ok(Some(&before[..length]))
    }

    fn next_of_held(&mut self) -> Result<Option<&[u8]>, TooLarge> {
        let framer = &mut *self.framer;
        let end = match memchr(FRAME_END, &framer.held[framer.searched..]) {
            Some(offset) => framer.searched + offset,
            None => {
                framer.searched = framer.held.len();
                let found = memchr(FRAME_END, self.chunk);
                if framer.len() + found.unwrap_or(self.chunk.len()) > self.max {
                    return Err(TooLarge);
                }
                let Some(offset) = found else {
                    return Ok(None);
                };
                framer.compact();
                framer.append(&self.chunk[..=offset]);
                self.chunk = &self.chunk[offset + 1..];
                framer.held.len() - 1
            }
        };
        let head = framer.head;
        if end - head > self.max {
            return Err(TooLarge);
        }
        self.last = Last::Held(head);
        framer.head = end + 1;
        framer.searched = framer.head;
        Ok(Some(&framer.held[head..end]))
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.framer.compact();
        self.framer.append(self.chunk);
    }
}

impl Drop for Framer {
    fn drop(&mut self) {
        if self.secret {
            secret::clear(&mut self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framer: &mut Framer, chunk: &[u8], max: usize) -> Vec<Result<Vec<u8>, TooLarge>> {
        let mut cut = framer.cut(chunk, max);
        let mut frames = Vec::new();
        loop {
            match cut.next_frame() {
                Ok(Some(frame)) => frames.push(Ok(frame.to_vec())),
                Ok(None) => return frames,
                Err(error) => {
                    frames.push(Err(error));
                    return frames;
                }
            }
        }
    }

    fn whole(frames: &[&[u8]]) -> Vec<Result<Vec<u8>, TooLarge>> {
        frames.iter().map(|frame| Ok(frame.to_vec())).collect()
    }

    #[test]
    fn frames_are_the_same_however_the_bytes_are_cut() {
        let stream = b"<a/>\0\0<bb/>\0 \r\n<ccc/>\0<d";
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut framer = Framer::new();
                let mut seen = frames(&mut framer, &stream[..first], 100);
                seen.extend(frames(&mut framer, &stream[first..second], 100));
                seen.extend(frames(&mut framer, &stream[second..], 100));
                assert_eq!(seen, whole(&[b"<a/>", b"", b"<bb/>", b" \r\n<ccc/>"]));
                assert_eq!(framer.len(), 2);
            }
        }
    }

    #[test]
    fn a_frame_at_the_limit_passes_and_one_byte_more_does_not() {
        for cut_at in 0..=5 {
            let mut framer = Framer::new();
            let mut seen = frames(&mut framer, &b"12345\0"[..cut_at], 5);
            seen.extend(frames(&mut framer, &b"12345\0"[cut_at..], 5));
            assert_eq!(seen, whole(&[b"12345"]), "cut at {cut_at}");
        }
        for cut_at in 0..=5 {
            let mut framer = Framer::new();
            assert_eq!(frames(&mut framer, &b"123456"[..cut_at], 5), []);
            assert_eq!(frames(&mut framer, &b"123456"[cut_at..], 5), [Err(TooLarge)]);
        }
    }

    #[test]
    fn a_retracted_frame_comes_again() {
        let mut framer = Framer::new();
        let mut cut = framer.cut(b"one\0two\0thr", 10);
        assert_eq!(cut.next_frame(), Ok(Some(&b"one"[..])));
        assert_eq!(cut.next_frame(), Ok(Some(&b"two"[..])));
        cut.retract();
        drop(cut);
        for _ in 0..3 {
            let mut cut = framer.cut(b"", 10);
            assert_eq!(cut.next_frame(), Ok(Some(&b"two"[..])));
            cut.retract();
        }
        assert_eq!(frames(&mut framer, b"ee\0four\0", 10), whole(&[b"two", b"three", b"four"]));
        assert!(framer.is_empty());
    }

    #[test]
    fn a_tail_that_was_completed_can_be_retracted_too() {
        let mut framer = Framer::new();
        assert_eq!(frames(&mut framer, b"on", 10), []);
        let mut cut = framer.cut(b"e\0two\0", 10);
        assert_eq!(cut.next_frame(), Ok(Some(&b"one"[..])));
        cut.retract();
        drop(cut);
        assert_eq!(frames(&mut framer, b"", 10), whole(&[b"one", b"two"]));
    }

    #[test]
    fn nothing_left_over_owns_no_memory() {
        let mut framer = Framer::new();
        assert_eq!(frames(&mut framer, b"<a", 10), []);
        assert_eq!(frames(&mut framer, b"/>\0", 10), whole(&[b"<a/>"]));
        assert_eq!(framer.held.capacity(), 0);
    }

    #[test]
    fn discarding_forgets_what_stands_behind() {
        let mut framer = Framer::new();
        let mut cut = framer.cut(b"<quit/>\0<m/>\0<m", 10);
        assert_eq!(cut.next_frame(), Ok(Some(&b"<quit/>"[..])));
        cut.discard();
        assert!(framer.is_empty());
        assert_eq!(frames(&mut framer, b"x\0", 10), whole(&[b"x"]));
    }
}
