//! Changing an accounts file: whoever changes it locks it, and puts a new one in its place.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Gid, Uid, fchown};

use super::followed::Stamp;
use super::{Accounts, Error, read_open};
use crate::files;
use crate::limits::ACCOUNTS_SETTLE_TIME_S;

/// An accounts file that is being changed: locked until it is saved or dropped.
#[derive(Debug)]
pub struct Draft {
    /// What it holds, to be changed.
    pub accounts: Accounts,
    /// Whether there was none before.
    pub is_new: bool,
    /// Where the file itself is, should the name be a link.
    path: PathBuf,
    locked: File,
}

impl Draft {
    /// Opens the file to change it; waits while somebody else does, and until one that is being
    /// written where it is has been left alone for [`ACCOUNTS_SETTLE_TIME_S`]: a half that is saved
    /// would be taken for the whole. A file that is missing is made when `create` says so, for
    /// nobody but its owner to read.
    ///
    /// # Errors
    /// As [`super::read`].
    pub fn open(path: &Path, create: bool) -> Result<Self, Error> {
        Self::open_by(thread::sleep, path, create)
    }

    /// The same, with what waits.
    fn open_by(mut wait: impl FnMut(Duration), path: &Path, create: bool) -> Result<Self, Error> {
        let what = if create { "write" } else { "read" };
        if let Ok(metadata) = fs::metadata(path) {
            // A device would be replaced by a file, a pipe waits for somebody.
            files::check(metadata.file_type()).map_err(Error::system(path, what))?;
        }
        let mut waited_for = None;
        loop {
            let Some(draft) = Self::lock(path, create, what)? else { continue };
            let stamp = || draft.locked.metadata().map(|found| Stamp::of(&found));
            let before = stamp().map_err(Error::system(path, what))?;
            let (accounts, _) = read_open(path, &draft.locked)?;
            let after = stamp().map_err(Error::system(path, what))?;
            let settle = Duration::from_secs(ACCOUNTS_SETTLE_TIME_S);
            let unchanged = after.unchanged_for(SystemTime::now());
            let is_left_alone =
                after.is_finished() || unchanged >= settle || waited_for == Some(after);
            if draft.is_new || before == after && is_left_alone {
                return Ok(Self { accounts, ..draft });
            }
            waited_for = Some(after);
            // Nobody else has to wait behind this one.
            drop(draft);
            wait(settle.saturating_sub(unchanged));
        }
    }

    /// Opens and locks the file, which is not read yet; nothing when another one has taken its
    /// place meanwhile.
    fn lock(path: &Path, create: bool, what: &'static str) -> Result<Option<Self>, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let there = options.open(path);
        let is_new = create && there.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        let opened = if is_new { options.create_new(true).open(path) } else { there };
        let locked = match opened {
            // Somebody else has just made it.
            Err(error) if is_new && error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(None);
            }
            opened => opened.map_err(Error::system(path, what))?,
        };
        let resolved = path.canonicalize().map_err(Error::system(path, what))?;
        locked.lock().map_err(Error::system(path, "lock"))?;
        let own = locked.metadata().map_err(Error::system(path, what))?;
        // Whoever had the lock has put another file in this one's place.
        let same = fs::metadata(&resolved)
            .is_ok_and(|there| there.dev() == own.dev() && there.ino() == own.ino());
        if !same {
            return Ok(None);
        }
        // What somebody has left who was killed in the middle: whoever has the lock is the only one
        // who writes there.
        let _ = fs::remove_file(beside(&resolved));
        Ok(Some(Self { accounts: Accounts::default(), is_new, path: resolved, locked }))
    }

    /// Puts a file with these accounts in the place of the old one, with the same owner and the
    /// same rights. A new one that root makes belongs to whom its directory belongs to.
    ///
    /// # Errors
    /// When that can't be done; then the old one is still there, and where there was none, none.
    pub fn save(self) -> Result<(), Error> {
        self.replace().map_err(|error| {
            // One that was made for it and has nothing in it would say that nobody has an account.
            if self.is_new && fs::metadata(&self.path).is_ok_and(|there| there.len() == 0) {
                let _ = fs::remove_file(&self.path);
            }
            Error::system(&self.path, "write")(error)
        })
    }

    fn replace(&self) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let old = self.locked.metadata()?;
        let owner = if self.is_new && rustix::process::geteuid().is_root() {
            fs::metadata(directory)?
        } else {
            old.clone()
        };
        let new_path = beside(&self.path);
        let new = Unfinished::in_directory(directory, &new_path)?;
        let mut file = &new.file;
        file.write_all(&self.accounts.to_bytes())?;
        let made = file.metadata()?;
        // That it was whole when it got its name is seen by that, however coarse the clock is.
        // Where only the owner may set times, it is seen after a while.
        let _ = file.set_modified(made.modified()? - Duration::from_secs(1));
        if (made.uid(), made.gid()) != (owner.uid(), owner.gid()) {
            fchown(file, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))?;
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        file.sync_all()?;
        new.name(&new_path)?;
        fs::rename(&new_path, &self.path)?;
        // It is in force; a file system that can't keep a directory's change at once keeps it
        // later.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

/// Where a new file is for the moment before it takes the place of the old one.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// A file without a name, which can be given one later.
#[cfg(target_os = "linux")]
fn without_name(directory: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    // It is named by way of /proc.
    let can_be_named = Path::new("/proc/self/fd").exists();
    let open = || rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR).ok();
    can_be_named.then(open)?.map(File::from)
}

#[cfg(not(target_os = "linux"))]
const fn without_name(_: &Path) -> Option<File> {
    None
}

/// A file that is being written. Where the system can have it so it has no name before it is
/// whole: whoever is killed leaves nothing behind.
struct Unfinished {
    file: File,
    has_name: bool,
}

impl Unfinished {
    fn in_directory(directory: &Path, path: &Path) -> io::Result<Self> {
        if let Some(file) = without_name(directory) {
            return Ok(Self { file, has_name: false });
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { file, has_name: true })
    }

    /// Gives it its name.
    fn name(&self, path: &Path) -> io::Result<()> {
        if self.has_name {
            return Ok(());
        }
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FileType, Mode, mknodat};
    use tempfile::TempDir;

    use super::super::read;
    use super::super::tests::{HASH, hash};
    use super::*;

    #[test]
    fn a_file_that_is_missing_is_an_error_and_made_only_on_demand() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        assert!(matches!(read(&path), Err(Error::System { .. })));
        assert!(matches!(Draft::open(&path, false), Err(Error::System { .. })));
        assert!(!path.exists());
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with("can't read the accounts file: is a directory"), "{error}");
        // What waits for a reader is not waited for, and no device is replaced by a file.
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = Draft::open(&pipe, true).unwrap_err().to_string();
        assert!(
            error.ends_with("can't write the accounts file: it is a FIFO, and no file"),
            "{error}"
        );
        fs::remove_file(&pipe).unwrap();

        let mut draft = Draft::open(&path, true).unwrap();
        draft.accounts.set("Ann", &hash()).unwrap();
        draft.save().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("Ann:{HASH}\n"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left over");
    }

    /// As an editor that writes it in place, or `cat > accounts`.
    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        fs::write(&path, format!("Ann:{HASH}\n")).unwrap();
        let mut waits = 0;
        let go_on = |time: Duration| {
            assert!(time <= Duration::from_secs(ACCOUNTS_SETTLE_TIME_S), "{time:?}");
            waits += 1;
            if waits == 1 {
                let mut file = File::options().append(true).open(&path).unwrap();
                file.write_all(format!("Bob:{HASH}\n").as_bytes()).unwrap();
            }
        };
        let mut draft = Draft::open_by(go_on, &path, true).unwrap();
        assert_eq!((waits, draft.accounts.len()), (2, 2), "it was left alone the second time");
        draft.accounts.set("Cid", &hash()).unwrap();
        draft.save().unwrap();
        let never = |_| panic!("what was put in its place is whole");
        assert_eq!(Draft::open_by(never, &path, true).unwrap().accounts.len(), 3);
    }

    #[test]
    fn rights_and_links_are_kept() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        let link = directory.path().join("link");
        fs::write(&path, "# ours\n").unwrap();
        // That its rights were set behind the last write is seen by its times.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("accounts", &link).unwrap();
        let mut draft = Draft::open(&link, true).unwrap();
        draft.accounts.set("Ann", &hash()).unwrap();
        draft.save().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("# ours\nAnn:{HASH}\n"));
    }

    #[test]
    fn writers_do_not_lose_each_others_changes() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let path = path.clone();
                thread::spawn(move || {
                    for account in 0..8 {
                        let mut draft = Draft::open(&path, true).unwrap();
                        draft.accounts.set(&format!("{writer}.{account}"), &hash()).unwrap();
                        draft.save().unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(read(&path).unwrap().len(), 32);
    }

    #[test]
    fn whoever_is_killed_leaves_nothing_that_the_next_one_does_not_clear_away() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        // Of another file, and of this one.
        fs::write(directory.path().join(".others.new"), "theirs").unwrap();
        fs::write(beside(&path), format!("Ann:{HASH}\n")).unwrap();
        let mut draft = Draft::open(&path, true).unwrap();
        assert!(draft.is_new && !beside(&path).exists());
        draft.accounts.set("Bob", &hash()).unwrap();
        draft.save().unwrap();
        assert!(!Draft::open(&path, true).unwrap().is_new);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("Bob:{HASH}\n"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
