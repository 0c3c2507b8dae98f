//! The log: fern in front of a sink of our own, which waits for nobody.
//!
//! Fern's own outputs can't change their file at run time (its `reopen` features bring another
//! crate and a signal handler thread), they wait for whoever reads them, and they panic when
//! neither the file nor stderr can be written. The sink is one file or stderr, exchanged under its
//! lock. `stream` writes without waiting; `lines` holds what is not taken at once, bounded, and
//! counts what is lost. What a server says on its console goes the same way.

use core::fmt::{self, Write as _};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::{Level as LogLevel, LevelFilter, Record};

use crate::limits::{LOG_FAREWELL_TIME_MS, LOG_FLUSH_BYTES};

mod level;
mod lines;
mod stream;

pub use level::{Level, LevelError};
use lines::Lines;
use stream::Stream;

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
    /// To the log file; to stderr without one.
    log: Lines,
    /// Warnings and errors, to stderr as well when there is a file: while the server starts,
    /// somebody watches the console.
    echo: Option<Lines>,
    /// What the server says on its standard output.
    console: Lines,
    /// Whether lines wait for [`flush`].
    holds: bool,
    /// Whether the log is no stderr.
    log_is_file: bool,
}

/// What became of the lines of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// Whether lines wait, because nothing takes them.
    pub waits: bool,
    /// Lines lost since the start, because too many waited or their reader was gone.
    pub lost: u64,
}

static SINK: Mutex<Sink> = Mutex::new(Sink {
    log: Lines::new(),
    echo: None,
    console: Lines::new(),
    holds: false,
    log_is_file: false,
});

/// The exit code of a program that has panicked.
const PANICKED: i32 = 101;

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
    let (stream, torn) = open(path)?;
    {
        let mut sink = sink();
        sink.log_is_file = path.is_some();
        sink.log.go_to(stream, torn);
        sink.echo = path.map(|_| {
            let mut echo = Lines::new();
            echo.go_to(stderr(), false);
            echo
        });
        sink.console.go_to(Stream::of(io::stdout().as_fd()).ok(), false);
    }
    // A second call, in a test, finds the logger in place.
    if fern::Dispatch::new().chain(fern::Output::call(write_record)).apply().is_ok() {
        log_panics();
    }
    log::set_max_level(level.filter());
    Ok(())
}

/// Says something on the server's standard output, without waiting for a reader.
pub fn say(text: impl fmt::Display) {
    let mut sink = sink();
    sink.console.push(&format!("{text}\n"), |_| String::new());
    sink.console.flush(|_| String::new());
}

/// Says something on the server's standard error, without waiting for a reader.
pub fn complain(text: impl fmt::Display) {
    if let Some(mut stderr) = stderr() {
        let _ = stderr.write(format!("{text}\n").as_bytes());
    }
}

/// Why the log takes nothing, if it has refused what was last to be written: a disk may be full.
#[must_use]
pub fn refused() -> Option<io::ErrorKind> {
    sink().log.refused()
}

/// The server serves: from now on only the log file is written, if there is one.
pub fn started() {
    sink().echo = None;
}

/// Lets go of the console: whoever reads it has an end.
pub fn leave_console() {
    let mut sink = sink();
    sink.echo = None;
    sink.console = Lines::new();
}

/// From now on lines wait for a [`flush`], which whoever serves calls once a turn: a burst of
/// connects costs one write to the log, not one a line.
pub fn hold() {
    sink().holds = true;
}

/// Writes the lines that wait, as far as they are taken at once.
pub fn flush() -> Logged {
    let mut sink = sink();
    sink.flush();
    Logged { waits: sink.waits(), lost: sink.log.lost_total() }
}

/// Writes the lines that wait, for the last time: for a moment it waits for a reader. From now on
/// each line is written at once.
pub fn release() {
    let deadline = Instant::now() + Duration::from_millis(LOG_FAREWELL_TIME_MS);
    sink().holds = false;
    while flush().waits && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Changes the level, and opens the file anew: after a rotation, or another one.
///
/// # Errors
/// When the file can't be opened; then nothing has changed.
pub fn reopen(level: Level, path: Option<&Path>) -> Result<(), Error> {
    let (stream, torn) = open(path)?;
    let mut sink = sink();
    sink.log.flush(lost_notice);
    sink.log_is_file = path.is_some();
    sink.log.go_to(stream, torn);
    log::set_max_level(level.filter());
    Ok(())
}

/// The level that is in force.
#[must_use]
pub fn level() -> LevelFilter {
    log::max_level()
}

/// Whether a log file could be opened. None is made.
///
/// # Errors
/// Why it could not.
pub fn check(path: &Path) -> Result<(), Error> {
    stream::check(path).map_err(|source| Error { path: path.to_owned(), source })
}

/// The stream, and whether it ends within a line.
fn open(path: Option<&Path>) -> Result<(Option<Stream>, bool), Error> {
    let Some(path) = path else { return Ok((stderr(), false)) };
    match Stream::open(path) {
        Ok((stream, torn)) => Ok((Some(stream), torn)),
        Err(source) => Err(Error { path: path.to_owned(), source }),
    }
}

fn stderr() -> Option<Stream> {
    Stream::of(io::stderr().as_fd()).ok()
}

/// A panic is logged; when the log is a file, the console shows it as well. std's own hook would
/// wait for the console.
fn log_panics() {
    std::panic::set_hook(Box::new(move |panic| {
        log::error!("panic, which is a bug: {panic}");
        flush();
        if sink().log_is_file {
            complain(panic);
        }
    }));
    end_at_panics();
}

/// Ends the process at a panic, with the exit code that std has for it, when the panic has been
/// told. The release build unwinds nothing: the system would end it by a signal, and might write
/// its memory, with passwords in it, to a core file.
pub fn end_at_panics() {
    if cfg!(panic = "abort") {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            tell(panic);
            std::process::exit(PANICKED);
        }));
    }
}

fn write_record(record: &Record<'_>) {
    // Before the lock is taken: the values that are formatted are anybody's code, and a panic
    // in it is logged too.
    let line = line(SystemTime::now(), record.level(), record.args());
    let mut sink = sink();
    if record.level() <= LogLevel::Warn
        && let Some(echo) = &mut sink.echo
    {
        echo.push(&line, lost_notice);
        echo.flush(lost_notice);
    }
    sink.log.push(&line, lost_notice);
    if !sink.holds || sink.log.bytes() > LOG_FLUSH_BYTES {
        sink.log.flush(lost_notice);
    }
}

impl Sink {
    fn flush(&mut self) {
        self.log.flush(lost_notice);
        self.console.flush(|_| String::new());
    }

    const fn waits(&self) -> bool {
        self.log.waits() || self.console.waits()
    }
}

/// The line that stands where lines are missing.
fn lost_notice(lost: u64) -> String {
    let lines = if lost == 1 { "line" } else { "lines" };
    let message = format_args!("{lost} {lines} of the log could not be written");
    line(SystemTime::now(), LogLevel::Warn, &message)
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
