//! Files that are read whole: regular ones, up to a length.
//!
//! Whoever opens a FIFO waits for somebody to write to it, and a device may have no end. Where a
//! configuration, a certificate or a program is wanted neither is, so it is refused before it is
//! read. A link to a file is fine.

use std::fs::{self, File, FileType};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a regular file of at most so many bytes.
///
/// # Errors
/// What the system says, and what it is where it is no file or too long.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    to_the_end(&open(path)?, bytes_max)
}

/// Opens a regular file for reading.
///
/// # Errors
/// What the system says, and what it is where it is no file.
pub fn open(path: &Path) -> io::Result<File> {
    check(fs::metadata(path)?.file_type())?;
    // It may have become something else meanwhile, which is not waited for.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

/// The same, and what a shell has opened for this process: `/dev/stdin` and `/dev/fd/…` may be
/// pipes, whose other end somebody has.
///
/// # Errors
/// As [`read`].
pub fn read_or_pipe(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if is_own_descriptor(path) && (kind.is_fifo() || kind.is_socket()) {
        return to_the_end(&File::open(path)?, bytes_max);
    }
    read(path, bytes_max)
}

/// Refuses what is no regular file, by what it is.
///
/// # Errors
/// `InvalidInput`; `IsADirectory` for a directory.
pub fn check(kind: FileType) -> io::Result<()> {
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let what = if kind.is_fifo() {
        "it is a FIFO, and no file"
    } else if kind.is_socket() {
        "it is a socket, and no file"
    } else if kind.is_file() {
        return Ok(());
    } else {
        "it is a device, and no file"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Refuses a place where no file can be made: a name that ends as those of directories do, and the
/// file systems by which the kernel shows itself. Whether it may be made there is another matter.
///
/// # Errors
/// `IsADirectory` and `InvalidInput`.
pub fn check_place(path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.ends_with(b"/") || bytes.ends_with(b"/.") || bytes.ends_with(b"/..") {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let place = if path.exists() { path } else { directory.unwrap_or(Path::new(".")) };
    if is_the_kernels(place) {
        let what = "it is in a file system of the kernel's, which keeps no files";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}

/// Whether a file system is one by which the kernel shows itself (statfs(2)): proc, sysfs, cgroup,
/// cgroup2, debugfs, tracefs, securityfs.
#[cfg(target_os = "linux")]
fn is_the_kernels(path: &Path) -> bool {
    const MAGICS: [u32; 7] =
        [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673];
    rustix::fs::statfs(path)
        .is_ok_and(|found| u32::try_from(found.f_type).is_ok_and(|magic| MAGICS.contains(&magic)))
}

#[cfg(not(target_os = "linux"))]
const fn is_the_kernels(_: &Path) -> bool {
    false
}

/// What is left of an open file, if it is at most so many bytes.
///
/// # Errors
/// What the system says; `FileTooLarge`.
pub fn to_the_end(file: &File, bytes_max: u64) -> io::Result<Vec<u8>> {
    // In one piece of memory: there may be passwords in it, and what grows leaves copies behind.
    let length = file.metadata()?.len().min(bytes_max);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("it is too long (limit {bytes_max} bytes)");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Whether others than the owner and its group may read a file, or change it; not when that can't
/// be told.
#[must_use]
pub fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o006 != 0)
}

fn is_own_descriptor(path: &Path) -> bool {
    let text = path.to_str().unwrap_or_default();
    let number =
        ["/dev/fd/", "/proc/self/fd/"].into_iter().find_map(|place| text.strip_prefix(place));
    text == "/dev/stdin" || number.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;

    #[test]
    fn only_files_are_read_and_only_to_their_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "12345").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, path("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert_eq!(read(&path("file"), 5).unwrap(), b"12345");
        assert_eq!(read_or_pipe(&path("link"), 5).unwrap(), b"12345");
        for (path, told) in [
            (path("file"), "it is too long (limit 4 bytes)"),
            (path("fifo"), "it is a FIFO, and no file"),
            (path("socket"), "it is a socket, and no file"),
            ("/dev/zero".into(), "it is a device, and no file"),
            ("/dev/null".into(), "it is a device, and no file"),
            (path(""), "is a directory"),
            (path("none"), "No such file"),
        ] {
            for read in [read, read_or_pipe] {
                let error = read(&path, 4).unwrap_err().to_string();
                assert!(error.contains(told), "{}: {error}", path.display());
            }
        }
    }

    #[test]
    fn a_file_can_be_made_where_it_can_be_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "").unwrap();
        for good in [path("file"), path("new"), "/proc/self/fd/0".into(), "new".into()] {
            assert!(check_place(&good).is_ok(), "{}", good.display());
        }
        for bad in [path("file/"), path("new/"), path("."), path("x/.."), "/".into()] {
            let error = check_place(&bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::IsADirectory, "{}", bad.display());
        }
        if cfg!(target_os = "linux") {
            for bad in ["/proc/new", "/proc/self/comm", "/sys/new", "/sys/kernel/mm/new"] {
                let error = check_place(Path::new(bad)).unwrap_err().to_string();
                assert!(error.contains("of the kernel's"), "{bad}: {error}");
            }
        }
    }

    #[test]
    fn the_descriptors_of_a_process_are_known() {
        for path in ["/dev/stdin", "/dev/fd/63", "/proc/self/fd/0"] {
            assert!(is_own_descriptor(Path::new(path)), "{path}");
        }
        for path in
            ["dev/stdin", "/dev/stdin/x", "/dev/fd", "/dev/fd/../x", "/proc/1/fd/0", "/tmp/fifo"]
        {
            assert!(!is_own_descriptor(Path::new(path)), "{path}");
        }
    }
}
