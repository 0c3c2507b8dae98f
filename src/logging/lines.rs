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
    /// Why nothing was taken, when it was last tried.
    refused: Option<io::ErrorKind>,
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
            refused: None,
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
                    self.refused = None;
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
                Err(error) => {
                    self.refused = Some(error.kind());
                    break;
                }
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

    /// Why nothing is taken, unless its reader only rests.
    pub(super) fn refused(&self) -> Option<io::ErrorKind> {
        self.refused.filter(|kind| *kind != io::ErrorKind::WouldBlock)
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use rustix::pipe::{fcntl_setpipe_size, pipe};

    use super::*;

    fn notice(lost: u64) -> String {
        format!("{lost} lost\n")
    }

    /// A pipe of one page, and lines into it.
    fn narrow() -> (File, Lines) {
        let (read, write) = pipe().unwrap();
        fcntl_setpipe_size(&write, 4_096).unwrap();
        let mut lines = Lines::new();
        lines.go_to(Some(Stream::of(write.as_fd()).unwrap()), false);
        (File::from(read), lines)
    }

    fn line(number: usize) -> String {
        format!("{number:0100}\n")
    }

    /// What is there, page by page, until the lines are out.
    fn drain(read: &mut File, lines: &mut Lines) -> String {
        let mut text = Vec::new();
        while lines.waits() {
            let mut page = [0; 4_096];
            lines.flush(notice);
            let count = read.read(&mut page).unwrap();
            text.extend_from_slice(&page[..count]);
        }
        lines.go_to(None, false);
        read.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_a_pipe_does_not_take_waits_and_comes_whole_and_in_order() {
        let (mut read, mut lines) = narrow();
        let expected: String = (0..200).map(line).collect();
        for number in 0..200 {
            lines.push(&line(number), notice);
            lines.flush(notice);
        }
        assert!(lines.waits());
        assert_eq!(drain(&mut read, &mut lines), expected);
        assert_eq!(lines.lost_total(), 0);
    }

    #[test]
    fn lines_beyond_the_bound_are_counted_and_the_count_stands_where_they_are_missing() {
        let (mut read, mut lines) = narrow();
        let fit = LOG_BYTES_MAX / line(0).len();
        for number in 0..fit + 7 {
            lines.push(&line(number), notice);
        }
        assert!(lines.bytes() <= LOG_BYTES_MAX && lines.bytes() + line(0).len() > LOG_BYTES_MAX);
        assert_eq!(lines.lost_total(), 7);
        // There is room for the next one, and for the count before it.
        lines.flush(notice);
        lines.push(&line(1), notice);
        let text = drain(&mut read, &mut lines);
        let end = format!("{}7 lost\n{}", line(fit - 1), line(1));
        assert!(text.ends_with(&end), "{}", &text[text.len() - 400..]);
        assert_eq!(text.len(), (fit + 1) * line(0).len() + "7 lost\n".len());

        // Where nothing follows, the count comes by itself.
        let (mut read, mut lines) = narrow();
        for number in 0..fit + 7 {
            lines.push(&line(number), notice);
        }
        assert!(drain(&mut read, &mut lines).ends_with("\n7 lost\n"));
    }

    #[test]
    fn lines_for_a_reader_that_is_gone_are_counted_until_another_comes() {
        let (read, mut lines) = narrow();
        drop(read);
        for number in 0..3 {
            lines.push(&line(number), notice);
            lines.flush(notice);
        }
        assert!(!lines.waits());
        assert_eq!(lines.lost_total(), 3);
        let (mut own, other) = UnixStream::pair().unwrap();
        lines.go_to(Some(Stream::of(other.as_fd()).unwrap()), false);
        drop(other);
        lines.push(&line(3), notice);
        lines.flush(notice);
        lines.go_to(None, false);
        let mut text = String::new();
        own.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("3 lost\n{}", line(3)));
    }

    #[test]
    fn a_socket_takes_what_it_has_room_for() {
        let (mut own, other) = UnixStream::pair().unwrap();
        let mut lines = Lines::new();
        lines.go_to(Some(Stream::of(other.as_fd()).unwrap()), false);
        let mut pushed = 0;
        while !lines.waits() {
            lines.push(&line(pushed), notice);
            lines.flush(notice);
            pushed += 1;
        }
        // The description itself, which others share, still waits.
        let flags = rustix::fs::fcntl_getfl(&other).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        let mut text = vec![0; pushed * line(0).len()];
        let mut read = 0;
        while read < text.len() {
            lines.flush(notice);
            read += own.read(&mut text[read..]).unwrap();
        }
        assert_eq!(String::from_utf8(text).unwrap(), (0..pushed).map(line).collect::<String>());
    }

    #[test]
    fn a_line_that_was_torn_is_whole_in_the_next_file() {
        let (_read, mut lines) = narrow();
        for number in 0..50 {
            lines.push(&line(number), notice);
        }
        lines.flush(notice);
        // 4,096 is no multiple of a line.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"torn").unwrap();
        let (stream, torn) = Stream::open(file.path()).unwrap();
        assert!(torn);
        lines.go_to(Some(stream), torn);
        lines.flush(notice);
        let text = std::fs::read_to_string(file.path()).unwrap();
        let rest: String = (4_096 / line(0).len()..50).map(line).collect();
        assert_eq!(text, format!("torn\n{rest}"));
    }
}
