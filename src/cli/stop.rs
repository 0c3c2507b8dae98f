//! `palabre stop`: ends the server that the pid file names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::pid_file::{self, PidFile, State};
use super::{Exit, Failure, command_line, complain, say, wanted_pid_file};
use crate::config::{self, Arguments};

/// Longer than a server takes to say good-bye to everybody.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops the server and waits until it is gone. That none is running is no failure.
///
/// # Errors
/// When it may not be signalled or does not end in time.
pub(super) fn stop(arguments: &Arguments) -> Result<Exit, Failure> {
    let path = path_of(arguments)?.ok_or_else(which_one)?;
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

/// The pid file of the configuration, also when it has errors elsewhere or is gone: whoever broke
/// the file can still stop the server. `None` when nothing tells which server is meant.
///
/// # Errors
/// When the configuration can't be read, and no server runs by it.
pub(super) fn path_of(arguments: &Arguments) -> Result<Option<PathBuf>, Failure> {
    match config::load(arguments) {
        Ok(config) => Ok(wanted_pid_file(&config)),
        Err(config::Error::Invalid { pid_file, source, .. }) => {
            complain(format_args!(
                "palabre: the configuration has errors, see {}",
                command_line(["check", "--config"].into_iter().chain(source.to_str()))
            ));
            Ok(Some(pid_file.unwrap_or_else(|| pid_file::default_path(Some(&source), 0))))
        }
        Err(error @ config::Error::Unreadable { .. }) => {
            let named = arguments.file.as_ref().map(|file| arguments.directory.join(file));
            let path = named.map(|source| pid_file::default_path(Some(&source), 0));
            match path {
                Some(path) if matches!(pid_file::state(&path), Ok(State::Running(_))) => {
                    complain(format_args!("palabre: {error}"));
                    Ok(Some(path))
                }
                Some(_) | None => Err(error.into()),
            }
        }
    }
}

/// What is said where a port would have to tell which server is meant.
pub(super) fn which_one() -> Failure {
    let text = "a server without a configuration on port 0 is known by the port it got: \
                --listen ADDR:PORT";
    Failure::new(Exit::Usage, text)
}
