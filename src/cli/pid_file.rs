//! The pid file: which process serves, proven by a lock.
//!
//! The server holds a POSIX record lock on the file for its life. The kernel drops it when the
//! process ends, however it ends, so a file without a lock is stale; and the kernel names the
//! process that holds it, so that no other one is ever signalled, whatever the file says. (With
//! the locks of `File::try_lock` the number in the file would have to be believed.) Such a lock
//! goes as well when the process closes any other descriptor of the file: the server opens it
//! once.

use core::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD, FlockOperation, OFlags, accessat, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk, geteuid};
use sha2::{Digest as _, Sha256};

use crate::config::LOOKED_FOR;
use crate::files;

/// The port of a server without a configuration.
const PORT: u16 = 2468;

/// How often a waiting command looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What a pid file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// This process holds it.
    Running(Pid),
    /// Nobody holds it: its process ended without removing it.
    Stale,
    /// There is none.
    Absent,
}

/// Why a pid file can't be used.
#[derive(Debug)]
pub(super) enum Error {
    /// Another server holds it.
    Held { path: PathBuf, pid: Option<Pid> },
    /// Something else is in it, which is not ours to overwrite.
    NoPidFile { path: PathBuf },
    /// The system refuses.
    System { path: PathBuf, source: io::Error },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid: Some(pid) } => write!(
                f,
                "already running, pid {} (pid file {})",
                pid.as_raw_nonzero(),
                path.display()
            ),
            Self::Held { path, pid: None } => {
                write!(f, "already running (pid file {})", path.display())
            }
            Self::NoPidFile { path } => write!(
                f,
                "[daemon] pidfile: {} holds something other than a process number and is left alone",
                path.display()
            ),
            Self::System { path, source } => {
                write!(f, "[daemon] pidfile: can't use {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for super::Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::System { source, .. } => Self::system(source, &error),
            Error::Held { .. } | Error::NoPidFile { .. } => Self::new(super::Exit::Failed, &error),
        }
    }
}

/// Where the pid file is when none is configured: each configuration has one of its own, and
/// without a configuration each port.
pub(super) fn default_path(source: Option<&Path>, port: u16) -> PathBuf {
    let which = which(source, port);
    let user = geteuid();
    if user.is_root() {
        return PathBuf::from(format!("/run/palabre{which}.pid"));
    }
    match runtime_directory() {
        Some(directory) => directory.join(format!("palabre{which}.pid")),
        None => std::env::temp_dir().join(format!("palabre-{}{which}.pid", user.as_raw())),
    }
}

/// Where the same server's would be, had another user started it, or the same one in another
/// session: those that are there.
pub(super) fn paths_elsewhere(source: Option<&Path>, port: u16) -> Vec<PathBuf> {
    let which = which(source, port);
    let name = format!("palabre{which}.pid");
    let own = default_path(source, port);
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    let sessions = entries(Path::new("/run/user")).map(|entry| entry.path());
    let directories =
        [PathBuf::from("/run")].into_iter().chain(runtime_directory()).chain(sessions);
    let mut paths: Vec<PathBuf> = directories.map(|directory| directory.join(&name)).collect();
    let is_of_a_user = |file: &str| {
        let rest = file.strip_prefix("palabre-").and_then(|rest| rest.strip_suffix(".pid"));
        let user = rest.and_then(|rest| rest.strip_suffix(&*which)).unwrap_or_default();
        !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit())
    };
    let temporary = entries(&std::env::temp_dir()).map(|entry| entry.path());
    paths.extend(
        temporary.filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(is_of_a_user)
        }),
    );
    paths.retain(|path| *path != own && path.symlink_metadata().is_ok());
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// What tells one server's file from another's in the same directory.
fn which(source: Option<&Path>, port: u16) -> String {
    match source {
        Some(source) => {
            let source = canonical(source);
            let usual = Path::new(LOOKED_FOR[1]);
            if source == canonical(usual) { String::new() } else { format!("-{}", digest(&source)) }
        }
        None if port == PORT => String::new(),
        None => format!("-{port}"),
    }
}

fn runtime_directory() -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.filter(|directory| directory.is_absolute())
}

/// The one path of a file, however it was named; also of one that has been removed.
fn canonical(path: &Path) -> PathBuf {
    let there = fs::canonicalize(path);
    there.unwrap_or_else(|_| match (path.parent().map(fs::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    })
}

/// A short name for a path.
fn digest(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    data_encoding::HEXLOWER.encode(&digest[..6])
}

/// Looks whether a server could take this pid file, without changing anything.
///
/// # Errors
/// As [`PidFile::take`], but for one that a server holds.
pub(super) fn check(path: &Path) -> Result<State, Error> {
    let system = |source| Error::System { path: path.to_owned(), source };
    files::check_place(path).map_err(system)?;
    let state = state(path)?;
    let may = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut usable = may(directory, Access::WRITE_OK | Access::EXEC_OK);
    if state != State::Absent {
        usable = usable.and_then(|()| may(path, Access::READ_OK | Access::WRITE_OK));
    }
    usable.map_err(|error| system(error.into()))?;
    if fs::metadata(directory).map_err(system)?.is_dir() {
        Ok(state)
    } else {
        Err(system(io::ErrorKind::NotADirectory.into()))
    }
}

/// Looks at a pid file without changing it.
///
/// # Errors
/// [`Error::NoPidFile`] and [`Error::System`].
pub(super) fn state(path: &Path) -> Result<State, Error> {
    let system = |source| Error::System { path: path.to_owned(), source };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Absent),
        Err(error) => return Err(system(error)),
    };
    match holder(&file).map_err(system)? {
        Some(pid) => Ok(State::Running(pid)),
        None if is_pid_file(&file).map_err(system)? => Ok(State::Stale),
        None => Err(Error::NoPidFile { path: path.to_owned() }),
    }
}

/// The process that holds the lock.
fn holder(file: &File) -> io::Result<Option<Pid>> {
    Ok(fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?.and_then(|lock| lock.pid))
}

/// Whether a file holds a number and nothing else, or nothing at all.
fn is_pid_file(file: &File) -> io::Result<bool> {
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut text = Vec::new();
    // No process number is longer.
    file.take(32).read_to_end(&mut text)?;
    Ok(text.trim_ascii().iter().all(u8::is_ascii_digit))
}

/// Waits until `pid` no longer holds the file; whether it let go in time.
///
/// # Errors
/// As [`state`].
pub(super) fn wait_until_free(path: &Path, pid: Pid, patience: Duration) -> Result<bool, Error> {
    let deadline = Instant::now() + patience;
    while state(path)? == State::Running(pid) {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(true)
}

/// The pid file of this process, locked; removed when dropped.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    /// Its lock is the proof that the process lives.
    file: File,
}

impl PidFile {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the file or takes a stale one over, locks it and writes this process into it.
    ///
    /// # Errors
    /// When another process holds it, when it is something else, or when the system refuses.
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        let system = |source| Error::System { path: path.to_owned(), source };
        files::check_place(path).map_err(system)?;
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
                .open(path)
                .map_err(system)?;
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    let pid = holder(&file).map_err(system)?;
                    return Err(Error::Held { path: path.to_owned(), pid });
                }
                Err(error) => return Err(system(error.into())),
            }
            // A server that ended just now has removed the file that was opened: try again.
            if !is_still_there(path, &file) {
                continue;
            }
            if !is_pid_file(&file).map_err(system)? {
                return Err(Error::NoPidFile { path: path.to_owned() });
            }
            // Should there be no room for the number, the file goes with this.
            let mut taken = Self { path: path.to_owned(), file };
            write_pid(&mut taken.file).map_err(system)?;
            return Ok(taken);
        }
    }
}

fn is_still_there(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        _ => false,
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    use std::io::Seek as _;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it, and another server may have made its own.
        if !is_still_there(&self.path, &self.file) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("can't remove the pid file {}: {error}", self.path.display());
        }
    }
}
