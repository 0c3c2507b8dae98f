//! The terminal that somebody types at, and the passwords that are typed there. What is changed in
//! it, by typing unseen or by an editor of lines, is put back when a signal ends the process in
//! between.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr,
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

use super::{Exit, Failure};
use crate::limits::PASSWORD_BYTES_MAX;
use crate::net::is_ignored;

/// Those that end a process that is not asked about them.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// What a signal has to put back.
static KEPT: Mutex<Option<SavedTerminal>> = Mutex::new(None);

struct SavedTerminal {
    terminal: OwnedFd,
    before: Termios,
    /// How it is while nothing that is typed is seen: a shell that had the process stopped gives
    /// the terminal back as it likes it itself.
    unseen: Option<Termios>,
}

/// As long as it is there, the terminal will be put back; so it is at its end.
pub(super) struct Keeping(());

impl Keeping {
    /// Remembers how the terminal is, before an editor changes it.
    ///
    /// # Errors
    /// When it is no terminal, or the system refuses to tell of signals.
    #[cfg(feature = "editor")]
    pub(super) fn of(terminal: impl AsFd) -> io::Result<Self> {
        Self::with(terminal, None)
    }

    /// Has it show nothing of what is typed but the end of the line.
    ///
    /// # Errors
    /// When it is no terminal, or the system refuses to tell of signals.
    fn unseen(terminal: impl AsFd) -> io::Result<Self> {
        let mut unseen = tcgetattr(&terminal)?;
        unseen.local_modes.remove(LocalModes::ECHO);
        unseen.local_modes.insert(LocalModes::ECHONL);
        Self::with(terminal, Some(unseen))
    }

    fn with(terminal: impl AsFd, unseen: Option<Termios>) -> io::Result<Self> {
        watch_signals()?;
        let before = tcgetattr(&terminal)?;
        let own = terminal.as_fd().try_clone_to_owned()?;
        // No signal comes between the change and the memory of what was before.
        let mut kept = kept();
        if let Some(unseen) = &unseen {
            tcsetattr(&terminal, OptionalActions::Now, unseen)?;
        }
        *kept = Some(SavedTerminal { terminal: own, before, unseen });
        Ok(Self(()))
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(SavedTerminal { terminal, before, .. }) = kept().take() {
            // One that has gone has no state.
            let _ = tcsetattr(terminal, OptionalActions::Now, &before);
        }
    }
}

fn kept() -> MutexGuard<'static, Option<SavedTerminal>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has signals put the terminal back from now on, and then do what they do otherwise. What was
/// ignored from the start stays so, as under nohup(1).
fn watch_signals() -> io::Result<()> {
    static WATCHED: OnceLock<()> = OnceLock::new();
    if WATCHED.get().is_some() {
        return Ok(());
    }
    let ending = ENDING.into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new(ending.chain([SIGCONT]))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let kept = kept();
            if let Some(SavedTerminal { terminal, before, unseen }) = &*kept {
                let wanted = if signal == SIGCONT { unseen.as_ref() } else { Some(before) };
                let _ = wanted.map(|wanted| tcsetattr(terminal, OptionalActions::Now, wanted));
            }
            // Nobody changes the terminal any more when it ends the process.
            let _ = emulate_default_handler(signal);
            drop(kept);
        }
    });
    let _ = WATCHED.set(());
    Ok(())
}

/// Asks for a password at the terminal, unseen; without one, takes a line of the input.
///
/// # Errors
/// When there is nothing to read, no UTF-8, more than a password can have, or what no stanza can
/// hold.
pub(super) fn password(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let unread = |error: io::Error| {
        Failure::system(&error, format_args!("can't read the password: {error}"))
    };
    // One byte more than the longest, and the end of the line.
    let mut line = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX + 3));
    if io::stdin().is_terminal() {
        ask_unseen(prompt, &mut line).map_err(unread)?;
    } else {
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(unread)?;
        read_line(&mut File::from(stdin), &mut line).map_err(unread)?;
    }
    let wrong = |what: &str| Failure::new(Exit::Failed, format_args!("the password {what}"));
    if line.is_empty() {
        return Err(wrong("is missing: the input has ended"));
    }
    line.pop_if(|last| *last == b'\n');
    line.pop_if(|last| *last == b'\r');
    if line.len() > PASSWORD_BYTES_MAX {
        return Err(wrong(&format!("is too long (limit {PASSWORD_BYTES_MAX} bytes)")));
    }
    let line = std::str::from_utf8(&line).map_err(|_| wrong("is not UTF-8"))?;
    // A key that was meant for something else, or the wrong file: nobody types that twice.
    if let Some(control) = line.chars().find(|character| character.is_control()) {
        let code = u32::from(control);
        return Err(wrong(&format!("holds a control character (U+{code:04X})")));
    }
    // The only others that XML 1.0 forbids (section 2.2).
    if let Some(forbidden) = line.chars().find(|c| matches!(c, '\u{fffe}' | '\u{ffff}')) {
        let code = u32::from(forbidden);
        return Err(wrong(&format!("holds a character that XML forbids (U+{code:04X})")));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Asks for a line at the terminal of the process and takes it unseen, into what room a buffer
/// has.
///
/// # Errors
/// When there is no terminal, or none of its lines.
fn ask_unseen(prompt: &str, line: &mut Zeroizing<Vec<u8>>) -> io::Result<()> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let keeping = Keeping::unseen(&terminal)?;
    terminal.write_all(prompt.as_bytes())?;
    let read = read_line(&mut terminal, line);
    if line.len() == line.capacity() {
        // What is left of the line is not for the shell.
        let _ = tcflush(&terminal, QueueSelector::IFlush);
    }
    drop(keeping);
    read
}

/// Reads a line into what room a buffer has, byte by byte: a reader of its own would keep it, and
/// more than the line.
fn read_line(input: &mut impl Read, line: &mut Vec<u8>) -> io::Result<()> {
    while line.len() < line.capacity() {
        let mut byte = [0];
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if byte == *b"\n" {
            break;
        }
    }
    Ok(())
}
