//! One file description that lines are written to, without ever waiting for its reader.
//!
//! The description of the standard error is shared with the shell and with whatever else writes
//! there, so it is not made non-blocking: a pipe or a terminal is opened anew, a socket takes a
//! flag with each write, and what can't be opened anew, because it belongs to another user, is
//! asked before each write whether it takes some bytes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::net::SendFlags;
use rustix::termios::{LocalModes, isatty, tcgetattr, tcgetpgrp};

use crate::files;
use crate::limits::LOG_SHARED_BYTES_MAX;

/// The rights of a new log file, less the process's mask: names and addresses of people stand in
/// it, which are not for everybody on the host.
const LOG_MODE: u32 = 0o640;

/// A description to write to.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    way: Way,
    terminal: bool,
}

/// How a write is kept from waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By itself: the description is non-blocking, or that of a regular file.
    Plain,
    /// By a flag of each write.
    Socket,
    /// By asking before each write.
    Shared,
}

impl Stream {
    /// The standard output or the standard error.
    ///
    /// # Errors
    /// When it is no descriptor.
    pub(super) fn of(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        let shared = File::from(descriptor.try_clone_to_owned()?);
        let kind = shared.metadata()?.file_type();
        let terminal = isatty(&shared);
        if kind.is_file() {
            // Another description would have an offset of its own.
            return Ok(Self { file: shared, way: Way::Plain, terminal });
        }
        if kind.is_socket() {
            return Ok(Self { file: shared, way: Way::Socket, terminal });
        }
        let own = format!("/proc/self/fd/{}", shared.as_raw_fd());
        if let Ok(file) = File::options().write(true).custom_flags(without_waiting()).open(own) {
            return Ok(Self { file, way: Way::Plain, terminal });
        }
        Ok(Self { file: shared, way: Way::Shared, terminal })
    }

    /// A log file, made if need be; lines go to its end. The second value tells whether it ends
    /// within a line. A FIFO is taken whether it has a reader or not.
    ///
    /// # Errors
    /// When it can't be opened, or holds what a log would overwrite.
    pub(super) fn open(path: &Path) -> io::Result<(Self, bool)> {
        check_kind(path)?;
        let mut options = File::options();
        options.append(true).create(true).mode(LOG_MODE).custom_flags(without_waiting());
        // To read it is to see its last byte, and has a FIFO be there without a reader.
        let file = match options.clone().read(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options.open(path)?,
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let mut last = [b'\n'];
        if let Some(place) = metadata.len().checked_sub(1).filter(|_| metadata.is_file()) {
            // A file that can't be read is taken to be whole.
            let _ = file.read_at(&mut last, place);
        }
        let terminal = isatty(&file);
        Ok((Self { file, way: Way::Plain, terminal }, last != [b'\n']))
    }

    /// Writes as much as is taken at once.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is taken now; others as write(2).
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.terminal && self.would_stop_us() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.way {
            Way::Plain => self.file.write(bytes),
            Way::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(rustix::net::send(&self.file, bytes, flags)?)
            }
            Way::Shared => {
                let mut wanted = [PollFd::new(&self.file, PollFlags::OUT)];
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                if poll(&mut wanted, Some(&now))? == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                self.file.write(&bytes[..bytes.len().min(LOG_SHARED_BYTES_MAX)])
            }
        }
    }

    /// Whether the terminal stops those that write to it from the background (`stty tostop`), and
    /// this process is there.
    fn would_stop_us(&self) -> bool {
        let stops =
            tcgetattr(&self.file).is_ok_and(|modes| modes.local_modes.contains(LocalModes::TOSTOP));
        // No group is told of a terminal that is not ours, and that one stops nobody.
        stops
            && tcgetpgrp(self.file.as_fd())
                .is_ok_and(|foreground| foreground != rustix::process::getpgrp())
    }
}

fn without_waiting() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

/// Refuses what is no file to append to; what is not there yet is fine.
fn check_kind(path: &Path) -> io::Result<()> {
    files::check_place(path)?;
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let refused = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if kind.is_block_device() {
        return refused("it is a block device");
    }
    if kind.is_socket() {
        return refused("it is a socket");
    }
    Ok(())
}

/// Whether [`Stream::open`] would have a file at `path`; nothing is made and nothing waits.
///
/// # Errors
/// Why it would not.
pub(super) fn check(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    check_kind(path)?;
    let access = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS);
    match access(path, Access::WRITE_OK) {
        // A link that leads nowhere would be followed, and a file made at its end.
        Err(rustix::io::Errno::NOENT) if fs::symlink_metadata(path).is_err() => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = directory.unwrap_or(Path::new("."));
            if !fs::metadata(directory)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(rustix::io::Errno::NOENT) => {
            check(&fs::canonicalize(path.parent().unwrap_or(path))?.join(fs::read_link(path)?))
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_and_can_not_be_opened_anew_is_asked_before_each_write() {
        let (_unread, write) = rustix::pipe::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&write, 4_096).unwrap();
        let mut stream = Stream { file: File::from(write), way: Way::Shared, terminal: false };
        let written = stream.write(&[b'.'; LOG_SHARED_BYTES_MAX + 1]).unwrap();
        assert_eq!(written, LOG_SHARED_BYTES_MAX);
        // It would wait for ever.
        let error = loop {
            if let Err(error) = stream.write(&[b'.'; 4_096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_log_file_can_be_had_where_it_could_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "").unwrap();
        std::os::unix::fs::symlink(path("made"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("no/such"), path("astray")).unwrap();
        for (name, good) in [
            ("file", true),
            ("new", true),
            ("link", true),
            ("", false),
            ("no/such", false),
            ("file/below", false),
            ("file/", false),
            ("new/", false),
            ("new/.", false),
            ("astray", false),
        ] {
            assert_eq!(check(&path(name)).is_ok(), good, "{name}");
            assert_eq!(Stream::open(&path(name)).is_ok(), good, "{name}");
            let _ = fs::remove_file(path("new")).and(fs::remove_file(path("made")));
        }
    }
}
