//! `palabre worker`: the process that the server asks who may log in.
//!
//! The server hands it the configuration that is in force on its standard input, so that no
//! password is an argument, where everybody could see it, or in an environment that processes hand
//! on.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, Failure, with_directory};
use crate::accounts::worker::{self, Error, launch};
use crate::config::{self, Arguments};

/// What hashing is put back by, so that it gets the time that the chat leaves: half of what nice
/// values go to, and the default of nice(1).
const NICENESS: i32 = 10;

/// Says who may log in. The server starts it; it speaks the protocol of plugins on its standard
/// input and output.
#[derive(FromArgs)]
pub(super) struct Worker {
    /// the path of the configuration file, for what is relative to it
    #[argh(option, arg_name = "file")]
    config: PathBuf,
    /// what relative paths are relative to
    #[argh(option, arg_name = "path")]
    directory: Option<PathBuf>,
}

/// Answers until its input ends.
///
/// # Errors
/// When what speaks to it is no server, or the configuration has errors.
pub(super) fn worker(worker: Worker) -> Result<Exit, Failure> {
    let failed = |error: Error| Failure::new(Exit::Failed, error);
    // std's own standard input would keep passwords in a buffer that nobody overwrites.
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(|error| failed(error.into()))?;
    let mut input = File::from(input);
    let text = launch::read_input(&mut input).map_err(|_| failed(Error::Greeting))?;
    let arguments = with_directory(Arguments::default(), worker.directory)?;
    let config = config::load_text(&arguments, worker.config, &text)?;
    drop(text);
    // Where that is not allowed, it works as well.
    let _ = rustix::process::nice(NICENESS);
    worker::run(&config.accounts, &config.settings.limits, input, io::stdout()).map_err(failed)?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
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
        assert_eq!(parsed.config, file);
        assert_eq!(parsed.directory.as_deref(), Some(directory));
    }
}
