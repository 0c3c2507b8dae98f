//! `palabre status`: whether the server that the pid file names is running.

use std::path::PathBuf;

use super::pid_file::{self, State};
use super::sought::{doubt, seek};
use super::{Exit, Failure, say};
use crate::config::Arguments;

/// Says it, and tells it by the exit code as init scripts do. `pid_file` is one that was named.
///
/// # Errors
/// When it can't be known.
pub(super) fn status(arguments: &Arguments, pid_file: Option<PathBuf>) -> Result<Exit, Failure> {
    let unknown = |failure: Failure| Failure { exit: Exit::NotPermitted, ..failure };
    let sought = seek(arguments, pid_file)
        .map_err(|failure| if failure.exit == Exit::Usage { failure } else { unknown(failure) })?;
    let state = pid_file::state(&sought.path).map_err(|error| unknown(error.into()))?;
    let file = sought.path.display();
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
            if let Some(doubt) = doubt(&sought, "status") {
                let text = format_args!("there is no pid file {file}, but {doubt}");
                return Err(Failure::new(Exit::NotPermitted, text));
            }
            say(format_args!("palabre is not running (no pid file {file})"));
            Exit::NotRunning
        }
    })
}
