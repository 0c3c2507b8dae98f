//! `palabre stop`: ends the server that the pid file names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::pid_file::{self, PidFile, State};
use super::sought::{doubt, seek};
use super::{Exit, Failure, say};
use crate::config::Arguments;

/// Longer than a server takes to say good-bye to everybody.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops the server and waits until it is gone. That none is running is no failure. `pid_file` is
/// one that was named.
///
/// # Errors
/// When it may not be signalled or does not end in time, and when one may run that holds another
/// pid file.
pub(super) fn stop(arguments: &Arguments, pid_file: Option<PathBuf>) -> Result<Exit, Failure> {
    let sought = seek(arguments, pid_file)?;
    let file = sought.path.display();
    match stop_holder(&sought.path)? {
        State::Running(pid) => say(format_args!("palabre stopped, pid {}", pid.as_raw_nonzero())),
        State::Stale => {
            say(format_args!("palabre was not running; removed its stale pid file {file}"))
        }
        State::Absent => match doubt(&sought, "stop") {
            Some(doubt) => {
                let text = format_args!("there is no pid file {file}, but {doubt}");
                return Err(Failure::new(Exit::Failed, text));
            }
            None => say(format_args!("palabre was not running (no pid file {file})")),
        },
    }
    Ok(Exit::Success)
}

/// Ends whoever holds the pid file, or removes a stale one; gives the state that it found.
///
/// # Errors
/// As [`stop`].
pub(super) fn stop_holder(path: &Path) -> Result<State, Failure> {
    let state = pid_file::state(path)?;
    match state {
        State::Running(pid) => {
            let number = pid.as_raw_nonzero();
            if let Err(error) = kill_process(pid, Signal::TERM) {
                // It ended by itself in the meantime: what follows finds that out.
                if error != rustix::io::Errno::SRCH {
                    let error = error.into();
                    return Err(Failure::system(
                        &error,
                        format_args!("can't stop pid {number}: {error}"),
                    ));
                }
            }
            if !pid_file::wait_until_free(path, pid, PATIENCE)? {
                let text =
                    format_args!("pid {number} is still running after {} s", PATIENCE.as_secs());
                return Err(Failure::new(Exit::Failed, text));
            }
        }
        // To take it and let go removes it, unless another server was quicker.
        State::Stale => drop(PidFile::take(path)?),
        State::Absent => {}
    }
    Ok(state)
}
