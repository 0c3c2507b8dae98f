//! The worker as the server sees it: this program once more, as a plugin, where a configuration
//! needs logins to be checked.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use crate::accounts;
use crate::accounts::worker::launch;
use crate::config::{Config, Module};
use crate::limits::ASK_TIME_S;

/// What the worker reads of a configuration: it is started anew when that has changed.
pub(super) type JudgedBy = (accounts::LoginSettings, usize, usize);

pub(super) fn judged_by(config: &Config) -> JudgedBy {
    let limits = &config.settings.limits;
    (config.accounts.clone(), limits.stanza_bytes_max, limits.nick_bytes_max)
}

/// The worker of this configuration, if it needs one. Without it a server that has to ask must not
/// start: it would let all clients in.
pub(super) fn module(config: &Config) -> Result<Option<Module>, Error> {
    let fault = |source| Error::System { what: "start the process that checks logins", source };
    // Only a file asks for it.
    let Some(file) = config.source.as_ref().filter(|_| config.accounts.needs_worker()) else {
        return Ok(None);
    };
    let arguments = launch::arguments(file, &config.directory)
        .ok_or_else(|| fault(io::ErrorKind::InvalidFilename.into()))?;
    Ok(Some(Module {
        name: launch::NAME.to_owned(),
        program: this_program().map_err(fault)?,
        arguments,
        directory: file.parent().map(Path::to_owned).unwrap_or_default(),
        environment: Vec::new(),
        restart: true,
        timeout_s: ASK_TIME_S,
        input: launch::input(config.text()),
    }))
}

/// The program that runs, wherever it was started from.
pub(super) fn this_program() -> io::Result<PathBuf> {
    // On Linux it is there, and the same, when an upgrade has put another one in its place.
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}
