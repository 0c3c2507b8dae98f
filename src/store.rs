//! What outlives the process: a file of SQLite, who may use it, and the process that writes it.
//!
//! The server reads the file before it opens its port and never waits for it later: it hands
//! changes to a process of this binary's own, which writes them in batches ([`worker`]). The tables
//! are plain ones, so that an SQLite shell reads them while the server runs; [`dump`] has the same
//! as text. One server has a file for its life ([`Lock`]), and so has the process that writes for
//! it: another server waits until what was handed over is written.

use core::fmt;
use std::error::Error as StdError;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

pub mod dump;
#[cfg(not(feature = "sqlite"))]
mod none;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod worker;

#[cfg(not(feature = "sqlite"))]
pub use none::NoStore as StoreFile;
#[cfg(feature = "sqlite")]
pub use sqlite::StoreFile;

/// Why a store can't be used; its text says what to do.
#[derive(Debug)]
pub enum Error {
    /// This binary was built without it.
    NotBuiltIn,
    /// Another server has it, or something that writes it.
    InUse(PathBuf),
    /// It is none, or not a whole one.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// A newer version of the program has written it.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: i64,
    },
    /// It is a database of something else.
    Foreign(PathBuf),
    /// Another file stands in its place since it was opened.
    Replaced(PathBuf),
    /// The system or SQLite refused something.
    System {
        /// The file.
        path: PathBuf,
        /// What was said.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn => f.write_str(
                "this palabre was built without the feature \"sqlite\", which [store] file needs",
            ),
            Self::InUse(path) => write!(
                f,
                "{}: another server has this store: stop it, or give this one a [store] file of \
                 its own",
                path.display()
            ),
            Self::Damaged { path, found } => write!(
                f,
                "{}: the store is damaged ({found}): put a backup in its place, or move it and \
                 its -wal file away to begin with nothing",
                path.display()
            ),
            Self::Newer { path, version } => write!(
                f,
                "{}: a newer palabre has written this store (version {version} of its tables): \
                 run that one, or put a backup of before in its place",
                path.display()
            ),
            Self::Foreign(path) => write!(
                f,
                "{}: this is a database, and no store of palabre's: name another file",
                path.display()
            ),
            Self::Replaced(path) => write!(
                f,
                "{}: another file stands in the place of the store, or none",
                path.display()
            ),
            Self::System { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::System { source, .. } => Some(&**source),
            Self::NotBuiltIn
            | Self::InUse(_)
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Foreign(_)
            | Self::Replaced(_) => None,
        }
    }
}

impl Error {
    fn system(path: &Path, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::System { path: path.to_owned(), source: source.into() }
    }
}

/// A store that nobody else begins to use: the server has it for its life. It stands beside the
/// file and stays there, for a file that is removed could be locked twice.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// How long a lock rests that could not be had.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

impl Lock {
    /// Takes a store for a server that begins; waits so long for one that ends.
    ///
    /// # Errors
    /// [`Error::InUse`].
    pub fn take(path: &Path, wait: Duration) -> Result<Self, Error> {
        let lock = Self::open(path)?;
        let until = Instant::now() + wait;
        loop {
            match flock(&lock.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(error) => return Err(lock.refused(error)),
            }
        }
    }

    /// Lets the process that writes for this server use it as well.
    ///
    /// # Errors
    /// [`Error::InUse`] when another server was there meanwhile.
    pub fn share(&self) -> Result<(), Error> {
        flock(&self.file, FlockOperation::NonBlockingLockShared)
            .map_err(|error| self.refused(error))
    }

    /// Joins the server that has shared it.
    ///
    /// # Errors
    /// [`Error::InUse`] while a server begins.
    pub fn join(path: &Path) -> Result<Self, Error> {
        let lock = Self::open(path)?;
        lock.share()?;
        Ok(lock)
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let mut name: OsString = path.into();
        name.push(".lock");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&name)
            .map_err(|error| Error::system(Path::new(&name), error))?;
        Ok(Self { file, path: path.to_owned() })
    }

    fn refused(&self, error: rustix::io::Errno) -> Error {
        if error == rustix::io::Errno::WOULDBLOCK {
            return Error::InUse(self.path.clone());
        }
        Error::system(&self.path, io::Error::from(error))
    }
}
