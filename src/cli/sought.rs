//! Which server `stop`, `restart` and `status` mean, and where its pid file is.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::pid_file::{self, State};
use super::{Exit, Failure, command_line, complain, ports, wanted_pid_file};
use crate::config::{self, Arguments, Config};

/// Where a server is looked for.
pub(super) struct Sought {
    /// The pid file that it would hold.
    pub(super) path: PathBuf,
    /// Those that it would hold had somebody else started it.
    elsewhere: Vec<PathBuf>,
    /// Where it would listen.
    addresses: Vec<SocketAddr>,
}

/// The pid file that was named, or else that of the configuration, also when it has errors
/// elsewhere or is gone: whoever broke the file can still stop the server.
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
