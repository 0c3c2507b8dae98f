//! The terminal that somebody types at. What is changed in it, by typing unseen or by an editor of
//! lines, is put back when a signal ends the process in between.

use std::fs::File;
use std::io::{self, Write as _};
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

use super::passwd::read_line;
use crate::net::is_ignored;

/// Those that end a process that is not asked about them.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// What a signal has to put back.
static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

struct Kept {
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
        *kept = Some(Kept { terminal: own, before, unseen });
        Ok(Self(()))
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(Kept { terminal, before, .. }) = kept().take() {
            // One that has gone has no state.
            let _ = tcsetattr(terminal, OptionalActions::Now, &before);
        }
    }
}

fn kept() -> MutexGuard<'static, Option<Kept>> {
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
            if let Some(Kept { terminal, before, unseen }) = &*kept {
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

/// Asks for a line at the terminal of the process and takes it unseen, into what room a buffer
/// has.
///
/// # Errors
/// When there is no terminal, or none of its lines.
pub(super) fn ask_unseen(prompt: &str, line: &mut Zeroizing<Vec<u8>>) -> io::Result<()> {
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
