//! Whole lines on their way to a stream that may not take them now: so many bytes are held, what
//! goes beyond is counted, and the count is told where the lines are missing.

use std::io;

use super::stream::Stream;
use crate::limits::LOG_BYTES_MAX;

/// Memory that is kept for the next lines when all are written.
const BYTES_KEPT: usize = 4_096;

/// Lines, and where they go.
#[derive(Debug, Default)]
pub(super) struct Lines {
    stream: Option<Stream>,
    held: Vec<u8>,
    /// So many bytes of the first line are written: a short write has torn it.
    written: usize,
    /// Lines lost since it was last told.
    lost: u64,
    /// Lines lost in all.
    lost_total: u64,
    /// Held lines that tell of lost ones, and of how many they tell.
    notices: u64,
    told: u64,
}

impl Lines {
    /// None yet, and nowhere to go.
    pub(super) const fn new() -> Self {
        Self {
            stream: None,
            held: Vec::new(),
            written: 0,
            lost: 0,
            lost_total: 0,
            notices: 0,
            told: 0,
        }
    }

    /// Where lines go from now on, with those that are held. What is half written in the old
    /// stream is written whole; `torn` is whether the new one ends within a line.
    pub(super) fn go_to(&mut self, stream: Option<Stream>, torn: bool) {
        self.stream = stream;
        self.written = 0;
        if torn {
            self.held.insert(0, b'\n');
        }
    }

    /// Takes lines in; `notice` says that so many have been lost.
    pub(super) fn push(&mut self, lines: &str, notice: impl Fn(u64) -> String) {
        let lost = if self.lost > 0 { notice(self.lost) } else { String::new() };
        if self.held.len() + lost.len() + lines.len() > LOG_BYTES_MAX {
            let count = count(lines.as_bytes());
            self.lost += count;
            self.lost_total += count;
            return;
        }
        self.tell_lost(&lost);
        self.held.extend_from_slice(lines.as_bytes());
    }

    fn tell_lost(&mut self, notice: &str) {
        if !notice.is_empty() {
            self.held.extend_from_slice(notice.as_bytes());
            self.notices += 1;
            self.told += std::mem::take(&mut self.lost);
        }
    }

    /// Writes what is taken at once.
    pub(super) fn flush(&mut self, notice: impl Fn(u64) -> String) {
        while !self.held.is_empty() {
            let Some(stream) = &mut self.stream else { return self.lose() };
            match stream.write(&self.held[self.written..]) {
                Ok(0) => break,
                Ok(count) => {
                    self.written += count;
                    if self.written == self.held.len() {
                        self.forget_written();
                        if self.lost > 0 {
                            let lost = notice(self.lost);
                            self.tell_lost(&lost);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_for_good(&error) => return self.lose(),
                // A reader that rests, or a disk that is full: both may take it later.
                Err(_) => break,
            }
        }
        self.forget_written();
    }

    /// Drops the lines that are written. The rest of a torn line is the next to be written, and
    /// all of it where that is another stream.
    fn forget_written(&mut self) {
        if self.written == self.held.len() {
            self.held.clear();
            self.held.shrink_to(BYTES_KEPT);
            (self.written, self.notices, self.told) = (0, 0, 0);
        } else if let Some(end) = memchr::memrchr(b'\n', &self.held[..self.written]) {
            self.held.drain(..=end);
            self.written -= end + 1;
        }
    }

    /// Nobody will ever read what is held.
    fn lose(&mut self) {
        let lines = count(&self.held).saturating_sub(self.notices);
        self.lost += lines + self.told;
        self.lost_total += lines;
        self.held = Vec::new();
        (self.written, self.notices, self.told) = (0, 0, 0);
    }

    /// Whether lines are held.
    pub(super) const fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    /// Bytes that are held.
    pub(super) const fn bytes(&self) -> usize {
        self.held.len()
    }

    /// Lines lost in all.
    pub(super) const fn lost_total(&self) -> u64 {
        self.lost_total
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// Whether nothing will ever be taken: the reader of a pipe or a socket is gone, a terminal hung
/// up.
fn is_for_good(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [Errno::PIPE, Errno::IO, Errno::NXIO, Errno::BADF, Errno::CONNRESET, Errno::NOTCONN];
    error.raw_os_error().is_some_and(|code| gone.iter().any(|gone| gone.raw_os_error() == code))
}
