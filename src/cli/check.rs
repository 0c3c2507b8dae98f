//! `palabre check`: reads the configuration, looks at everything that a server by it would need,
//! and tells what would be in force.

use super::findings::{self, Findings, Purpose};
use super::{Exit, Failure, complain, say};
use crate::config::{self, Arguments};

/// Prints the effective configuration, or with `keys` a table of all keys.
///
/// # Errors
/// Everything that is wrong with the file or, when nothing is, with what it names.
pub(super) fn check(arguments: &Arguments, keys: bool) -> Result<Exit, Failure> {
    if keys {
        say(config::key_tables().trim_end());
        return Ok(Exit::Success);
    }
    let config = config::load(arguments)?;
    let Findings { failures, warnings, about_tls, about_store } =
        findings::look(&config, Purpose::Check);
    for warning in warnings {
        complain(format_args!("warning: {warning}"));
    }
    if !failures.is_empty() {
        let text: Vec<String> = failures.into_iter().map(|failure| failure.text).collect();
        return Err(Failure { exit: Exit::NotConfigured, text: text.join("\n") });
    }
    say(config.to_ini().trim_end());
    for line in about_tls {
        say(format_args!("# [tls] {line}"));
    }
    if let Some(about) = about_store {
        say(format_args!("# [store] {about}"));
    }
    if let Some(note) = super::run::listens_to_all(&config) {
        say(format_args!("\n# {}", note.replace('\n', "\n# ")));
    }
    let memory = config.memory(crate::net::sessions_possible()).to_string();
    say(format_args!("\n# {}", memory.replace('\n', "\n# ")));
    Ok(Exit::Success)
}
