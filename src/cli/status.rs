//! `palabre status`: whether the server that the pid file names is running.

use super::pid_file::{self, State};
use super::stop::{path_of, which_one};
use super::{Exit, Failure, say};
use crate::config::Arguments;

/// Says it, and tells it by the exit code as init scripts do.
///
/// # Errors
/// When it can't be known.
pub(super) fn status(arguments: &Arguments) -> Result<Exit, Failure> {
    let unknown = |failure: Failure| Failure { exit: Exit::NotPermitted, ..failure };
    let path = path_of(arguments).map_err(unknown)?.ok_or_else(which_one)?;
    let state = pid_file::state(&path).map_err(|error| unknown(error.into()))?;
    let file = path.display();
    Ok(match state {
        State::Running(pid) => {
            say(format_args!("palabre is running, pid {} (pid file {file})", pid.as_raw_nonzero()));
            Exit::Success
        }
        State::Stale => {
            say(format_args!(
                "palabre is not running; it ended without removing the pid file {file}"
            ));
            Exit::Failed
        }
        State::Absent => {
            say(format_args!("palabre is not running (no pid file {file})"));
            Exit::NotRunning
        }
    })
}
