//! `palabre stop`: ends the server that the pid file names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::pid_file::{self, PidFile, State};
use super::{Exit, Failure, complain, pid_path, say};
use crate::config::{self, Arguments};

/// Longer than a server takes to say good-bye to everybody.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops the server and waits until it is gone. That none is running is no failure.
///
/// # Errors
/// When it may not be signalled or does not end in time.
pub(super) fn stop(arguments: &Arguments) -> Result<Exit, Failure> {
    let path = path_of(arguments)?;
    let file = path.display();
    match stop_holder(&path)? {
        State::Running(pid) => say(format_args!("palabre stopped, pid {}", pid.as_raw_nonzero())),
        State::Stale => {
            say(format_args!("palabre was not running; removed its stale pid file {file}"))
        }
        State::Absent => say(format_args!("palabre was not running (no pid file {file})")),
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

/// The pid file of the configuration, also when it has errors elsewhere: whoever broke the
/// file can still stop the server.
///
/// # Errors
/// When the configuration can't be read.
pub(super) fn path_of(arguments: &Arguments) -> Result<PathBuf, Failure> {
    match config::load(arguments) {
        Ok(config) => Ok(pid_path(&config)),
        Err(config::Error::Invalid { pid_file, .. }) => {
            complain("palabre: the configuration has errors, see palabre check");
            Ok(pid_file.unwrap_or_else(pid_file::default_path))
        }
        Err(error @ config::Error::Unreadable { .. }) => Err(error.into()),
    }
}
