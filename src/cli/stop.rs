//! `palabre stop`: ends the server that the pid file names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::pid_file::{self, PidFile, State};
use super::{Exit, Failure, command_line, complain, ports, say, wanted_pid_file};
use crate::config::{self, Arguments, Config};

/// Longer than a server takes to say good-bye to everybody.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server is looked for.
pub(super) struct Sought {
    /// The pid file that it would hold.
    pub(super) path: PathBuf,
    /// Those that it would hold had somebody else started it.
    elsewhere: Vec<PathBuf>,
    /// Where it would listen.
    addresses: Vec<SocketAddr>,
}

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

/// Why it is not sure that no server runs, when its pid file is not there; and what `command` has
/// to be given.
pub(super) fn doubt(sought: &Sought, command: &str) -> Option<String> {
    let running = sought.elsewhere.iter().find_map(|path| match pid_file::state(path) {
        Ok(State::Running(pid)) => Some((pid.as_raw_nonzero(), path)),
        Ok(State::Stale | State::Absent) | Err(_) => None,
    });
    if let Some((pid, path)) = running {
        let named = command_line([command, "--pidfile"].into_iter().chain(path.to_str()));
        return Some(format!("pid {pid} holds {}: {named}", path.display()));
    }
    let taken = sought.addresses.iter().find(|address| ports::is_taken(**address))?;
    let named = command_line([command, "--pidfile"]);
    Some(format!(
        "something listens on {taken}: another program, or a server of another configuration, user \
         or XDG_RUNTIME_DIR, which has its pid file elsewhere and said at its start where: {named} FILE"
    ))
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

/// The pid file that was named, or else that of the configuration, also when it has errors elsewhere
/// or is gone: whoever broke the file can still stop the server.
///
/// # Errors
/// When nothing tells which server is meant, or two things do; when the configuration can't be
/// read, and no server runs by it.
pub(super) fn seek(arguments: &Arguments, pid_file: Option<PathBuf>) -> Result<Sought, Failure> {
    let only = |path| Sought { path, elsewhere: Vec::new(), addresses: Vec::new() };
    if let Some(path) = pid_file {
        if arguments.file.is_some() || !arguments.listen.is_empty() {
            let text = "--pidfile tells which server is meant: leave out --config and --listen";
            return Err(Failure::new(Exit::Usage, text));
        }
        return Ok(only(arguments.directory.join(path)));
    }
    match config::load(arguments) {
        Ok(config) => sought_by(&config).ok_or_else(which_one),
        Err(config::Error::Invalid { pid_file, source, .. }) => {
            complain(format_args!(
                "palabre: the configuration has errors, see {}",
                command_line(["check", "--config"].into_iter().chain(source.to_str()))
            ));
            Ok(pid_file.map_or_else(
                || Sought {
                    elsewhere: pid_file::paths_elsewhere(Some(&source), 0),
                    ..only(pid_file::default_path(Some(&source), 0))
                },
                only,
            ))
        }
        Err(error @ config::Error::Unreadable { .. }) => {
            let named = arguments.file.as_ref().map(|file| arguments.directory.join(file));
            let path = named.map(|source| pid_file::default_path(Some(&source), 0));
            match path {
                Some(path) if matches!(pid_file::state(&path), Ok(State::Running(_))) => {
                    complain(format_args!("palabre: {error}"));
                    Ok(only(path))
                }
                Some(_) | None => Err(error.into()),
            }
        }
    }
}

/// Where the server of a configuration is looked for. `None` when nothing tells which one is meant.
pub(super) fn sought_by(config: &Config) -> Option<Sought> {
    let path = wanted_pid_file(config)?;
    let addresses = config.listen.iter().map(|listen| listen.address);
    let addresses: Vec<_> = addresses.filter(|address| address.port() != 0).collect();
    let elsewhere = if config.pid_file.is_some() {
        Vec::new()
    } else {
        let port = config.listen.first().map_or(0, |listen| listen.address.port());
        pid_file::paths_elsewhere(config.source.as_deref(), port)
    };
    Some(Sought { path, elsewhere, addresses })
}

/// What is said where a port would have to tell which server is meant.
fn which_one() -> Failure {
    let text = "a server without a configuration on port 0 is known by the port it got: \
                --listen ADDR:PORT";
    Failure::new(Exit::Usage, text)
}
