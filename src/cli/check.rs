//! `palabre check`: reads the configuration, and the accounts and the certificate that it names,
//! and tells what would be in force.

#[cfg(feature = "tls")]
use std::time::SystemTime;

use super::{Exit, Failure, check_accounts, complain, say};
use crate::accounts::database;
#[cfg(feature = "tls")]
use crate::config::Config;
use crate::config::{self, Arguments};
#[cfg(feature = "tls")]
use crate::net::tls;

/// Prints the effective configuration, or with `keys` a table of all keys.
///
/// # Errors
/// Everything that is wrong with the file or, when nothing is, with the accounts or with the
/// files of `[tls]`. A database that can't be reached is no error of the configuration.
pub(super) fn check(arguments: &Arguments, keys: bool) -> Result<Exit, Failure> {
    if keys {
        say(config::key_tables().trim_end());
        return Ok(Exit::Success);
    }
    let config = config::load(arguments)?;
    for warning in &config.warnings {
        complain(format_args!("warning: {warning}"));
    }
    for warning in check_accounts(&config.accounts)? {
        complain(format_args!("warning: {warning}"));
    }
    if let Some(database) = &config.accounts.database
        && let Err(error) = database::connect(database)
    {
        complain(format_args!("warning: logins can't be checked in {database}: {error}"));
    }
    #[cfg(feature = "tls")]
    let certificates = check_tls(&config)?;
    #[cfg(not(feature = "tls"))]
    let certificates = Vec::<String>::new();
    say(config.to_ini().trim_end());
    for certificate in certificates {
        say(format_args!("# [tls] certificate: {certificate}"));
    }
    Ok(Exit::Success)
}

/// What the certificates are.
#[cfg(feature = "tls")]
fn check_tls(config: &Config) -> Result<Vec<String>, Failure> {
    let Some(files) = &config.web.tls else { return Ok(Vec::new()) };
    let checked = tls::check(files, &config.web.hosts, SystemTime::now())?;
    for warning in checked.warnings {
        complain(format_args!("warning: {warning}"));
    }
    Ok(checked.certificates)
}
