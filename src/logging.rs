//! The log: fern in front of a sink of our own.
//!
//! Fern's own outputs can't change their file at run time (its `reopen` features bring another
//! crate and a signal handler thread), and they panic when neither the file nor stderr can be
//! written. The sink is one file or stderr, exchanged under its lock; a line that can't be
//! written is counted and the count is told when writing works again.

use core::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use log::{Level as LogLevel, LevelFilter, Record};

use crate::config::Level;

/// A value of somebody else's, safe to stand in a line of the log: control characters, bidi
/// overrides and other invisible ones, quotes and backslashes are escaped.
///
/// ```
/// use palabre::logging::Escaped;
/// assert_eq!(Escaped("it's\n\u{1b}[2J \"x\"").to_string(), r#"it's\n\u{1b}[2J \"x\""#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `escape_debug` escapes whatever Unicode calls unprintable, and the apostrophe as well.
        for (index, part) in self.0.split('\'').enumerate() {
            if index > 0 {
                f.write_char('\'')?;
            }
            write!(f, "{}", part.escape_debug())?;
        }
        Ok(())
    }
}

/// The log file could not be opened.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

impl Error {
    /// What the system said.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "[logging] logfile: can't write {path}: {}", self.source)
    }
}

impl std::error::Error for Error {}

/// Where lines go.
struct Sink {
    /// The log file; stderr without one.
    file: Option<File>,
    /// Whether warnings and errors also go to stderr when there is a file: while the server
    /// starts, somebody watches the console.
    echo: bool,
    /// Lines that could not be written.
    lost: u64,
    /// Whether lines wait for [`flush`].
    holds: bool,
    /// Those that wait.
    held: String,
}

/// Held lines are written when they are so many bytes, flushed or not.
const HELD_BYTES_MAX: usize = 32_768;

static SINK: Mutex<Sink> =
    Mutex::new(Sink { file: None, echo: false, lost: 0, holds: false, held: String::new() });

fn sink() -> MutexGuard<'static, Sink> {
    // Nothing in it can be half changed.
    SINK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the log up: lines of `level` and above to `path`, to stderr without one. Until
/// [`started`] is called, warnings and errors go to stderr in any case.
///
/// # Errors
/// When the file can't be opened for appending.
pub fn init(level: Level, path: Option<&Path>) -> Result<(), Error> {
    let file = path.map(open).transpose()?;
    let echo = file.is_some();
    {
        let mut sink = sink();
        sink.file = file;
        sink.echo = echo;
    }
    // A second call, in a test, finds the logger in place.
    if fern::Dispatch::new().chain(fern::Output::call(write_record)).apply().is_ok() {
        log_panics();
    }
    log::set_max_level(level.filter());
    Ok(())
}

/// The server serves: from now on only the log file is written, if there is one.
pub fn started() {
    sink().echo = false;
}

/// From now on lines wait for a [`flush`], which whoever serves calls once a turn: a burst of
/// connects costs one write to the log, not one a line.
pub fn hold() {
    sink().holds = true;
}

/// Writes the lines that wait.
pub fn flush() {
    sink().write_held();
}

/// Writes the lines that wait; from now on each is written at once.
pub fn release() {
    let mut sink = sink();
    sink.holds = false;
    sink.write_held();
}

/// Changes the level, and opens the file anew: after a rotation, or another one.
///
/// # Errors
/// When the file can't be opened; then nothing has changed.
pub fn reopen(level: Level, path: Option<&Path>) -> Result<(), Error> {
    let file = path.map(open).transpose()?;
    let mut sink = sink();
    sink.write_held();
    sink.file = file;
    log::set_max_level(level.filter());
    Ok(())
}
/// The level that is in force.
#[must_use]
pub fn level() -> LevelFilter {
    log::max_level()
}

fn open(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|source| Error { path: path.to_owned(), source })
}

/// A detached server has no console on which a panic could be seen.
fn log_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log::error!("panic, which is a bug: {panic}");
        flush();
        default(panic);
    }));
}

fn write_record(record: &Record<'_>) {
    // Before the lock is taken: the values that are formatted are anybody's code, and a panic
    // in it is logged too.
    let line = line(SystemTime::now(), record.level(), record.args());
    let mut sink = sink();
    let sink = &mut *sink;
    if sink.echo && record.level() <= LogLevel::Warn {
        let _ = io::stderr().write_all(line.as_bytes());
    }
    sink.held.push_str(&line);
    if !sink.holds || sink.held.len() > HELD_BYTES_MAX {
        sink.write_held();
    }
}

impl Sink {
    fn write_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        if self.lost > 0 {
            let lost = self.lost;
            let message = format_args!("{lost} lines of the log could not be written");
            let notice = line(SystemTime::now(), LogLevel::Warn, &message);
            if write(self.file.as_mut(), &notice).is_ok() {
                self.lost = 0;
            }
        }
        if write(self.file.as_mut(), &self.held).is_err() {
            self.lost += self.held.lines().count() as u64;
        }
        self.held.clear();
    }
}

fn write(file: Option<&mut File>, lines: &str) -> io::Result<()> {
    match file {
        Some(file) => file.write_all(lines.as_bytes()),
        None => io::stderr().write_all(lines.as_bytes()),
    }
}

/// `TIME LEVEL message` and a newline. Whatever is logged, it is one line.
fn line(time: SystemTime, level: LogLevel, message: &fmt::Arguments<'_>) -> String {
    let mut line = String::with_capacity(128);
    // Writing to a string can't fail.
    let _ = write!(line, "{} {} ", humantime::format_rfc3339_millis(time), level_name(level));
    let _ = write!(OneLine(&mut line), "{message}");
    line.push('\n');
    line
}

const fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error  ",
        LogLevel::Warn => "warning",
        LogLevel::Info => "info   ",
        LogLevel::Debug | LogLevel::Trace => "debug  ",
    }
}

/// Escapes the control characters that somebody forgot to escape.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.chars().any(char::is_control) {
            for character in text.chars() {
                if character.is_control() {
                    self.0.extend(character.escape_default());
                } else {
                    self.0.push(character);
                }
            }
        } else {
            self.0.push_str(text);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn invisible_characters_are_escaped() {
        for (value, escaped) in [
            ("plain", "plain"),
            ("héllo 日本 🙂", "héllo 日本 🙂"),
            ("a\0b\r\n\tc", r"a\0b\r\n\tc"),
            ("\u{1b}[31m", r"\u{1b}[31m"),
            ("\u{85}\u{9b}", r"\u{85}\u{9b}"),
            ("\u{202e}gnp\u{2066}", r"\u{202e}gnp\u{2066}"),
            ("\u{2028}\u{feff}\u{200b}", r"\u{2028}\u{feff}\u{200b}"),
            (r#"it's "x" \n"#, r#"it's \"x\" \\n"#),
        ] {
            assert_eq!(Escaped(value).to_string(), escaped);
        }
    }

    #[test]
    fn a_record_is_one_line_with_time_level_and_message() {
        let time = UNIX_EPOCH + Duration::from_millis(1_000_000_000_123);
        let line = line(time, LogLevel::Info, &format_args!("a\nb\u{9b}"));
        assert_eq!(line, "2001-09-09T01:46:40.123Z info    a\\nb\\u{9b}\n");
    }
}
