//! `palabre check`: reads the configuration and tells what would be in force.

use super::{Exit, Failure, complain, say};
use crate::config::{self, Arguments};

/// Prints the effective configuration, or with `keys` a table of all keys.
///
/// # Errors
/// Everything that is wrong with the file.
pub(super) fn check(arguments: &Arguments, keys: bool) -> Result<Exit, Failure> {
    if keys {
        say(config::key_tables().trim_end());
        return Ok(Exit::Success);
    }
    let config = config::load(arguments)?;
    for warning in &config.warnings {
        complain(format_args!("warning: {warning}"));
    }
    say(config.to_ini().trim_end());
    Ok(Exit::Success)
}
