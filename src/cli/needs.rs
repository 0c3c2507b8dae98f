//! What a server by a configuration needs, each by itself: `findings` looks at all of it before
//! anything is stopped, `run` before it serves.

use std::io;
use std::net::SocketAddr;

use super::{Exit, Failure, command_line, command_line_here};
use crate::accounts::database::{self, DatabaseRefusal};
use crate::accounts::file;
use crate::config::Config;
use crate::files;
use crate::store;

/// Reads the accounts that a configuration names; gives what the operator should know of them.
/// Without them a server does not start: nobody could log in.
pub(super) fn check_accounts(config: &Config) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    let settings = &config.accounts;
    if let Some(path) = &settings.file {
        let add = command_line_here(config, &["passwd", "add", "NICK"]);
        let accounts = file::read(path).map_err(|error| {
            let missing = matches!(&error, file::Error::System { source, .. }
                if source.kind() == io::ErrorKind::NotFound);
            let failure = Failure::from(error);
            let text =
                if missing { format!("{}; {add} makes it", failure.text) } else { failure.text };
            Failure { exit: Exit::NotConfigured, text }
        })?;
        if accounts.is_empty() && !settings.guests && settings.database.is_none() {
            let text = format!("there is no account, so nobody can log in: {add}");
            warnings.push(format!("{}: {text}", path.display()));
        }
        if files::is_open_to_all(path) {
            let text = "everybody on this host can read it: chmod o= keeps them from guessing";
            warnings.push(format!("{}: {text}", path.display()));
        }
    }
    Ok(warnings)
}

/// What the store has that a configuration names, if it names one. Nothing is made.
///
/// # Errors
/// Why a server could not begin with it.
pub(super) fn look_at_store(config: &Config) -> Result<Option<String>, Failure> {
    let Some(path) = &config.store else { return Ok(None) };
    if !path.exists() {
        if !cfg!(feature = "sqlite") {
            return Err(store::Error::NotBuiltIn.into());
        }
        let directory = path.parent().unwrap_or(path);
        if let Err(error) = files::check_place(path).and_then(|()| directory.metadata().map(drop)) {
            let text = format_args!("{}: {error}", path.display());
            return Err(Failure::new(Exit::NotConfigured, text));
        }
        return Ok(Some(format!("{} is made by the first start", path.display())));
    }
    Ok(Some(super::store::about(path)?))
}

/// Why logins can't be checked in the database, if they can't now.
///
/// # Errors
/// When it lets everybody in.
pub(super) fn look_at_database(config: &Config) -> Result<Option<String>, Failure> {
    // A request that is none is not tried.
    let database = config.accounts.database.as_ref().filter(|_| config.request_fault().is_none());
    let Some(database) = database else { return Ok(None) };
    match database::look(database) {
        Ok(()) => Ok(None),
        Err(DatabaseRefusal::Down(error)) => {
            Ok(Some(format!("logins can't be checked in {database}: {error}")))
        }
        Err(DatabaseRefusal::Open) => {
            Err(Failure { exit: Exit::NotConfigured, text: config.open_request() })
        }
    }
}

/// The plugins that can't be run, and a request that is more than a question.
pub(super) fn faults(config: &Config) -> Vec<Failure> {
    let faults = config.module_faults().into_iter().chain(config.request_fault());
    faults.map(|text| Failure { exit: Exit::NotConfigured, text }).collect()
}

/// Why a server can't listen there, and what mends it.
pub(super) fn address_failure(address: SocketAddr, source: &io::Error) -> Failure {
    let kind = source.kind();
    let advice = if kind == io::ErrorKind::AddrInUse {
        let free = SocketAddr::new(address.ip(), 0);
        let status = command_line(["status"]);
        format!(
            "\n  another program listens there, perhaps another palabre: see `{status}`, or take \
             a free port with --listen {free}"
        )
    } else if kind == io::ErrorKind::PermissionDenied && address.port() < 1024 {
        "\n  ports below 1024 are for root and for programs with CAP_NET_BIND_SERVICE".to_owned()
    } else if kind == io::ErrorKind::AddrNotAvailable {
        "\n  this host has no such address; an empty [daemon] ip listens on all it has".to_owned()
    } else {
        String::new()
    };
    Failure::system(source, format_args!("can't listen on {address}: {source}{advice}"))
}
