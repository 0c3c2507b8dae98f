//! `palabre store`: what outlives the server, to be checked, printed and taken in, and the process
//! that writes it for the server.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use argh::FromArgs;
use signal_hook::consts::SIGXFSZ;

use super::{Exit, Failure, say, with_directory};
use crate::config::{self, Arguments};
use crate::record::{Change, Record};
use crate::store::{Error, Lock, StoreFile, dump, worker};

/// A command about the store: the options that say where it is.
macro_rules! with_store {
    ($(#[$($about:tt)*])* $seen:vis struct $name:ident { $($fields:tt)* }) => {
        #[derive(FromArgs)]
        $(#[$($about)*])*
        $seen struct $name {
            /// the store
            #[argh(option, arg_name = "file")]
            file: Option<PathBuf>,
            /// the configuration file
            #[argh(option, arg_name = "file")]
            config: Option<PathBuf>,
            $($fields)*
        }
    };
}

with_store! {
    /// look through the store, print it, or take in what was printed elsewhere
    #[argh(
        subcommand,
        name = "store",
        help_triggers("-h", "--help", "help"),
        note = "The file is the one that --file names, else [store] file of the configuration.
check and dump can be used while a server runs, import can't.",
        example = "Move what is kept to another host:
  $ palabre store dump | ssh other palabre store import"
    )]
    pub(super) struct Store {
        #[argh(subcommand)]
        command: StoreCommand,
    }
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum StoreCommand {
    Check(CheckStore),
    Dump(Dump),
    Import(Import),
}

with_store! {
    /// look through the whole file, and count what is in it
    #[argh(subcommand, name = "check", help_triggers("-h", "--help", "help"))]
    struct CheckStore {}
}

with_store! {
    /// print what is kept, a room, ban or mute a line, as JSON; passwords of rooms are in it
    #[argh(subcommand, name = "dump", help_triggers("-h", "--help", "help"))]
    struct Dump {}
}

with_store! {
    /// take in what `dump` printed, from the standard input; what is there already is replaced
    #[argh(subcommand, name = "import", help_triggers("-h", "--help", "help"))]
    struct Import {}
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::NotConfigured, error)
    }
}

/// Does what was asked for. `config` is a configuration named before the command.
///
/// # Errors
/// When the store can't be used, or what comes is no dump.
pub(super) fn store(store: Store, config: Option<PathBuf>) -> Result<Exit, Failure> {
    let Store { file, config: own, command } = store;
    let (their_file, their_config) = match &command {
        StoreCommand::Check(CheckStore { file, config })
        | StoreCommand::Dump(Dump { file, config })
        | StoreCommand::Import(Import { file, config }) => (file.clone(), config.clone()),
    };
    let path = path_of(their_file.or(file), their_config.or(own).or(config))?;
    match command {
        StoreCommand::Check(_) => {
            StoreFile::open_to_read(&path)?.check()?;
            say(about(&path)?);
        }
        StoreCommand::Dump(_) => {
            let records = StoreFile::open_to_read(&path)?.read()?;
            match dump::write(&records, BufWriter::new(io::stdout().lock())) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written.map_err(|error| {
                    Failure::system(&error, format_args!("can't write: {error}"))
                })?,
            }
        }
        StoreCommand::Import(_) => {
            let records = dump::read(io::stdin().lock())
                .map_err(|error| Failure::new(Exit::Failed, error))?;
            let _lock = Lock::take(&path, Duration::ZERO)?;
            let changes: Vec<Change> = records.into_iter().map(Change::Put).collect();
            StoreFile::open(&path)?.apply(&changes)?;
            say(format_args!("{}: {} taken in", path.display(), changes.len()));
        }
    }
    Ok(Exit::Success)
}

/// How much is in a store.
///
/// # Errors
/// Why it can't be used.
pub(super) fn about(path: &Path) -> Result<String, Error> {
    let records = StoreFile::open_to_read(path)?.read()?;
    let rooms = records.iter().filter(|record| matches!(record, Record::Room(_))).count();
    let others = records.len() - rooms;
    Ok(format!("{}: rooms: {rooms}, bans and mutes: {others}", path.display()))
}

fn path_of(file: Option<PathBuf>, config: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let arguments = with_directory(Arguments { file: config, ..Arguments::default() }, None)?;
    if let Some(file) = file {
        return Ok(arguments.directory.join(file));
    }
    let none = "there is no [store] file in the configuration: name one with --file";
    config::load(&arguments)?.store.ok_or_else(|| Failure::new(Exit::NotConfigured, none))
}

/// Writes the store for a server. The server starts it.
#[derive(FromArgs)]
pub(super) struct StoreWorker {
    /// the store
    #[argh(option, arg_name = "file")]
    file: PathBuf,
}

/// Writes until its input ends.
///
/// # Errors
/// When what speaks to it is no server.
pub(super) fn store_worker(arguments: StoreWorker) -> Result<Exit, Failure> {
    let failed = |error: worker::Error| Failure::new(Exit::Failed, error);
    // Without it what would be larger than files may be ends the process, as if it were to blame.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))
        .map_err(|error| failed(error.into()))?;
    // std's own standard input would keep passwords in a buffer that nobody overwrites.
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(|error| failed(error.into()))?;
    worker::run(arguments.file, File::from(input), io::stdout().lock()).map_err(failed)?;
    Ok(Exit::Success)
}
