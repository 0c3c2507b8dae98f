//! `palabre worker`: the process that the server asks who may log in.
//!
//! It reads the configuration by itself, so that no password is an argument, where everybody
//! could see it, or in an environment that processes hand on.

use std::io;
use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, Failure, with_directory};
use crate::accounts::worker;
use crate::config::{self, Arguments};

/// What hashing is put back by, so that it gets the time that the chat leaves: half of what nice
/// values go to, and the default of nice(1).
const NICENESS: i32 = 10;

/// Says who may log in. The server starts it; it speaks the protocol of plugins on its standard
/// input and output.
#[derive(FromArgs)]
pub(super) struct Worker {
    /// the configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// what relative paths are relative to
    #[argh(option, arg_name = "path")]
    directory: Option<PathBuf>,
}

/// Answers until its input ends.
///
/// # Errors
/// When the configuration has errors, or what speaks to it is no server.
pub(super) fn worker(worker: Worker) -> Result<Exit, Failure> {
    let arguments = Arguments { file: worker.config, ..Arguments::default() };
    let config = config::load(&with_directory(arguments, worker.directory)?)?;
    // Where that is not allowed, it works as well.
    let _ = rustix::process::nice(NICENESS);
    worker::run(&config.accounts, &config.settings.limits, io::stdin().lock(), io::stdout())
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::accounts::worker::launch;
    use crate::cli::{PROGRAM, parse_words};

    #[test]
    fn it_is_started_as_the_server_starts_it() {
        let (file, directory) = (Path::new("/etc/a b.conf"), Path::new("/var/lib"));
        let words = launch::arguments(file, directory).expect("paths that are text");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some((&launch::COMMAND, words)) = words.split_first() else {
            panic!("the subcommand comes first: {words:?}");
        };
        let Ok(parsed) = parse_words::<Worker>(PROGRAM, words) else {
            panic!("the subcommand does not take {words:?}");
        };
        assert_eq!(parsed.config.as_deref(), Some(file));
        assert_eq!(parsed.directory.as_deref(), Some(directory));
    }
}
