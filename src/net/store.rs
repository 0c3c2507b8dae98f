//! The store as the server sees it: what it had when the server began, the lock, and this program
//! once more, as a plugin that writes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{error, info};

use super::worker::this_program;
use crate::config::Module;
use crate::limits::{STORE_LOCK_TIME_S, STORE_OPEN_TIME_S};
use crate::record::{Change, Record};
use crate::secret::Secret;
use crate::store::{self, Lock, StoreFile, worker};

/// A store that has been read, and is this server's.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(super) records: Vec<Record>,
    pub(super) path: PathBuf,
    pub(super) module: Module,
    /// Held as long as the server serves.
    pub(super) lock: Lock,
}

/// Reads a store before the port is opened, and keeps other servers from it.
///
/// # Errors
/// Why there is nothing to begin with. A server that went on would lose what is in the store.
pub(crate) fn take(path: &Path) -> Result<Taken, store::Error> {
    let lock = Lock::take(path, Duration::from_secs(STORE_LOCK_TIME_S))?;
    // It is closed before the lock is shared.
    let records = StoreFile::open(path)?.read()?;
    lock.share()?;
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| store::Error::System {
        path: path.to_owned(),
        source,
    };
    let arguments =
        worker::arguments(path).ok_or_else(|| refused("a path that is no text".into()))?;
    let program = this_program().map_err(|error| refused(error.into()))?;
    let module = Module {
        name: worker::NAME.to_owned(),
        program,
        arguments,
        directory: path.parent().map(Path::to_owned).unwrap_or_default(),
        environment: Vec::new(),
        restart: true,
        timeout_s: STORE_OPEN_TIME_S,
        input: Secret::default(),
    };
    Ok(Taken { records, path: path.to_owned(), module, lock })
}

/// Writes what the store's process has not, when both are over and nobody waits.
pub(super) fn write_the_rest(path: &Path, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    match StoreFile::open(path).and_then(|mut opened| opened.apply(changes)) {
        Ok(()) => info!("the store: the server has written the last changes by itself"),
        Err(error) => error!("the store: the last changes are not stored: {error}"),
    }
}
