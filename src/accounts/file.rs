//! The accounts file: one account a line, `nick:$argon2id$…`.
//!
//! A nick may hold colons, so it is all before the last `:$argon2` of its line; a hash holds
//! none. Blank lines and lines that begin with `#` are no accounts and are kept as they are: a
//! `#` before an account switches it off, and a nick that begins with it can't have one. Which
//! nicks are the same account is the server's own rule for nicks.
//!
//! Whoever changes the file locks it and puts a new one in its place, so that a reader sees the
//! old one or the new one, and two writers don't lose each other's change.

use core::fmt;
use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, fchown};
use tempfile::Builder;

use super::hash::{self, HashError, PasswordHash};
use crate::hub::comparison_key;
use crate::limits::ACCOUNTS_FILE_BYTES_MAX;

/// What an accounts file holds.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    lines: Vec<Line>,
    /// Where each account stands in `lines`, by the [`comparison_key`] of its nick.
    places: HashMap<Box<str>, usize>,
}

#[derive(Clone)]
enum Line {
    /// A comment, or blank; an old one may be in any encoding.
    Kept(Vec<u8>),
    /// An account as it is written; its nick has so many bytes.
    Account(String, usize),
}

/// A hash is not shown.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(text) => write!(f, "Kept({:?})", String::from_utf8_lossy(text)),
            Self::Account(text, nick) => write!(f, "Account({:?})", &text[..*nick]),
        }
    }
}

/// What is wrong with a line. Of what stands there only a nick is in it, since the rest could
/// be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// No `:$argon2` in it.
    NoHash,
    /// What stands before the hash can't be a nick.
    Nick,
    /// What begins like a hash is none.
    Hash(HashError),
    /// The same nick has an account above.
    Twice {
        /// The nick as it stands here.
        nick: String,
        /// The line of the first one, from 1.
        first: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => {
                f.write_str("found bytes that are no UTF-8, needs a file saved as UTF-8")
            }
            Self::NoHash => f.write_str(
                "found a line without a hash, needs nick:$argon2id$… as palabre passwd writes it, \
                 or # before a comment",
            ),
            Self::Nick => f.write_str(
                "found a nick that nobody can have, needs one without control characters and \
                 without white space at its ends",
            ),
            Self::Hash(error) => write!(f, "found something other after the nick, needs {error}"),
            Self::Twice { nick, first } => write!(
                f,
                "found {nick:?} a second time, needs one line for what is the same nick; the \
                 first is in line {first}"
            ),
        }
    }
}

/// Why an accounts file can't be read or written.
#[derive(Debug)]
pub enum Error {
    /// The system refused.
    System {
        /// The file.
        path: PathBuf,
        /// What was to be done with it.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is larger than [`ACCOUNTS_FILE_BYTES_MAX`].
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Something in it is wrong.
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong, each with its line, from 1.
        faults: Vec<(usize, Fault)>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { path, what, source } => {
                write!(f, "{}: can't {what} the accounts file: {source}", path.display())
            }
            Self::TooLarge { path } => write!(
                f,
                "{}: the accounts file is too large (limit {ACCOUNTS_FILE_BYTES_MAX} bytes)",
                path.display()
            ),
            Self::Invalid { path, faults } => {
                for (index, (line, fault)) in faults.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{}:{line}: {fault}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    fn system(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::System { path, what, source }
    }
}

impl Accounts {
    /// Reads what a file holds.
    ///
    /// # Errors
    /// Everything that is wrong, with its line, from 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<(usize, Fault)>> {
        let mut accounts = Self::default();
        let mut faults = Vec::new();
        if bytes.is_empty() {
            return Ok(accounts);
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if let Err(fault) = accounts.read_line(line) {
                faults.push((index + 1, fault));
                // So that places stay lines.
                accounts.lines.push(Line::Kept(Vec::new()));
            }
        }
        if faults.is_empty() { Ok(accounts) } else { Err(faults) }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let trimmed = line.trim_ascii();
        if trimmed.is_empty() || trimmed.starts_with(b"#") {
            self.lines.push(Line::Kept(line.to_owned()));
            return Ok(());
        }
        let line = str::from_utf8(line).map_err(|_| Fault::NotUtf8)?;
        // The end of a line may be one of another system.
        let line = line.trim_ascii_end();
        let colon = line.rfind(&format!(":{}", hash::PREFIX)).ok_or(Fault::NoHash)?;
        let nick = &line[..colon];
        let key = comparison_key(nick).ok_or(Fault::Nick)?;
        PasswordHash::parse(&line[colon + 1..]).map_err(Fault::Hash)?;
        if let Some(first) = self.places.get(&key) {
            return Err(Fault::Twice { nick: nick.to_owned(), first: first + 1 });
        }
        self.places.insert(key, self.lines.len());
        self.lines.push(Line::Account(line.to_owned(), colon));
        Ok(())
    }

    /// The hash of the account of a nick, or of one that is the same nick.
    #[must_use]
    pub fn hash_of(&self, nick: &str) -> Option<PasswordHash> {
        let (line, nick) = self.account(nick)?;
        PasswordHash::parse(&line[nick + 1..]).ok()
    }

    /// The nick as the account has it.
    #[must_use]
    pub fn nick_of(&self, nick: &str) -> Option<&str> {
        let (line, nick) = self.account(nick)?;
        Some(&line[..nick])
    }

    fn account(&self, nick: &str) -> Option<(&str, usize)> {
        let key = comparison_key(nick)?;
        match &self.lines[*self.places.get(&key)?] {
            Line::Account(line, nick) => Some((line, *nick)),
            Line::Kept(_) => None,
        }
    }

    /// The nicks in the order of their lines.
    pub fn nicks(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| match line {
            Line::Account(line, nick) => Some(&line[..*nick]),
            Line::Kept(_) => None,
        })
    }

    /// How many accounts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no account.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Gives a nick a hash, in the place of the one that it or one that is the same nick has.
    ///
    /// # Errors
    /// When there can be no account under this nick.
    pub fn set(&mut self, nick: &str, hash: &PasswordHash) -> Result<(), NickError> {
        let key = check_nick(nick)?;
        let line = Line::Account(format!("{nick}:{}", hash.as_str()), nick.len());
        match self.places.get(&key) {
            Some(place) => self.lines[*place] = line,
            None => {
                self.places.insert(key, self.lines.len());
                self.lines.push(line);
            }
        }
        Ok(())
    }

    /// Removes the account of a nick; gives the nick as it stood there.
    pub fn remove(&mut self, nick: &str) -> Option<String> {
        let nick = self.nick_of(nick)?.to_owned();
        let place = self.places.remove(&comparison_key(&nick)?)?;
        self.lines.remove(place);
        for later in self.places.values_mut().filter(|later| **later > place) {
            *later -= 1;
        }
        Some(nick)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            bytes.extend_from_slice(match line {
                Line::Kept(line) => line,
                Line::Account(line, _) => line.as_bytes(),
            });
            bytes.push(b'\n');
        }
        bytes
    }
}

/// A nick that can't have an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NickError;

impl fmt::Display for NickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "needs a nick that does not begin with #, without control characters and without \
             white space at its ends",
        )
    }
}

impl std::error::Error for NickError {}

/// Whether there can be an account under this nick; gives what the same nicks have in common.
///
/// # Errors
/// When there can't.
pub fn check_nick(nick: &str) -> Result<Box<str>, NickError> {
    comparison_key(nick).filter(|_| !nick.starts_with('#')).ok_or(NickError)
}

/// Reads an accounts file.
///
/// # Errors
/// When there is none, when it can't be read, or with everything that is wrong in it.
pub fn read(path: &Path) -> Result<Accounts, Error> {
    read_stamped(path).map(|(accounts, _)| accounts)
}

/// Whether others than the owner and its group may read it; nothing when that can't be told.
#[must_use]
pub fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o007 != 0)
}

fn read_stamped(path: &Path) -> Result<(Accounts, Stamp), Error> {
    // A pipe would keep whoever opens it waiting.
    let metadata = fs::metadata(path).map_err(Error::system(path, "read"))?;
    if !metadata.is_file() {
        let source = io::Error::other("it is no file");
        return Err(Error::System { path: path.to_owned(), what: "read", source });
    }
    let file = File::open(path).map_err(Error::system(path, "read"))?;
    let accounts = read_open(path, &file)?;
    Ok((accounts, Stamp::of(&metadata)))
}

fn read_open(path: &Path, file: &File) -> Result<Accounts, Error> {
    let mut bytes = Vec::new();
    file.take(ACCOUNTS_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::system(path, "read"))?;
    if bytes.len() as u64 > ACCOUNTS_FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    Accounts::parse(&bytes).map_err(|faults| Error::Invalid { path: path.to_owned(), faults })
}

/// An accounts file that is being changed: locked until it is saved or dropped.
#[derive(Debug)]
pub struct Draft {
    /// What it holds, to be changed.
    pub accounts: Accounts,
    /// Where the file itself is, should the name be a link.
    path: PathBuf,
    locked: File,
}

impl Draft {
    /// Opens the file to change it; waits while somebody else does. A file that is missing is
    /// made when `create` says so, for nobody but its owner to read.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(path: &Path, create: bool) -> Result<Self, Error> {
        let what = if create { "write" } else { "read" };
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(create).truncate(false).mode(0o600);
            let locked = options.open(path).map_err(Error::system(path, what))?;
            let resolved = path.canonicalize().map_err(Error::system(path, what))?;
            locked.lock().map_err(Error::system(path, "lock"))?;
            let own = locked.metadata().map_err(Error::system(path, what))?;
            // Whoever had the lock has put another file in this one's place.
            let same = fs::metadata(&resolved)
                .is_ok_and(|there| there.dev() == own.dev() && there.ino() == own.ino());
            if same {
                let accounts = read_open(path, &locked)?;
                return Ok(Self { accounts, path: resolved, locked });
            }
        }
    }

    /// Puts a file with these accounts in the place of the old one, with the same owner and the
    /// same rights.
    ///
    /// # Errors
    /// When that can't be done; then the old one is still there.
    pub fn save(self) -> Result<(), Error> {
        self.replace().map_err(Error::system(&self.path, "write"))
    }

    fn replace(&self) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let old = self.locked.metadata()?;
        let mut new = Builder::new().prefix(".palabre-accounts-").tempfile_in(directory)?;
        new.write_all(&self.accounts.to_bytes())?;
        let file = new.as_file();
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(file, Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())))?;
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        file.sync_all()?;
        new.persist(&self.path)?;
        // It is in force; a file system that can't keep a directory's change at once keeps it
        // later.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

/// By what a changed file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// An accounts file that is read again whenever it has changed.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    /// What it was when it was last looked at; `None` inside for a file that is missing.
    seen: Option<Option<Stamp>>,
    accounts: Option<Accounts>,
}

impl Followed {
    /// A file that nobody has looked at yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, seen: None, accounts: None }
    }

    /// Looks whether the file has changed, and reads it if so. `Ok(true)` says that it was read.
    ///
    /// # Errors
    /// Why it can't be read, told once for each change; what it held before stays in force.
    pub fn look(&mut self) -> Result<bool, Error> {
        let now = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if self.seen == Some(now) {
            return Ok(false);
        }
        self.seen = Some(now);
        let (accounts, stamp) = read_stamped(&self.path)?;
        self.seen = Some(Some(stamp));
        self.accounts = Some(accounts);
        Ok(true)
    }

    /// What it held when it was last read without an error; `None` before that.
    #[must_use]
    pub const fn accounts(&self) -> Option<&Accounts> {
        self.accounts.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const HASH: &str =
        "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHlzYWx0$85yfauD48H6oCqXbtRb4FaiAZ3ovzFEmMdlN/XEkibQ";

    fn parse(text: &str) -> Accounts {
        Accounts::parse(text.as_bytes()).unwrap()
    }

    fn text(accounts: &Accounts) -> String {
        String::from_utf8(accounts.to_bytes()).unwrap()
    }

    fn hash() -> PasswordHash {
        PasswordHash::parse(HASH).unwrap()
    }

    #[test]
    fn nicks_that_are_the_same_nick_have_one_account() {
        let accounts = parse(&format!("Bob:{HASH}\na b:{HASH}\n"));
        for nick in ["Bob", "bob", "ＢＯＢ"] {
            assert_eq!(accounts.hash_of(nick), Some(hash()), "{nick}");
            assert_eq!(accounts.nick_of(nick), Some("Bob"), "{nick}");
        }
        assert_eq!(accounts.nick_of("A  B"), Some("a b"));
        for nick in ["Bo", "", " bob", "Bob:"] {
            assert_eq!(accounts.hash_of(nick), None, "{nick}");
        }
    }

    #[test]
    fn a_nick_is_all_before_the_last_hash() {
        let accounts = parse(&format!("a:b:{HASH}\n::{HASH}\nx:$argon2:{HASH}\r\n"));
        assert_eq!(accounts.nicks().collect::<Vec<_>>(), ["a:b", ":", "x:$argon2"]);
        assert_eq!(accounts.hash_of("x:$argon2"), Some(hash()));
    }

    #[test]
    fn comments_and_blank_lines_stay_where_they_are() {
        let before = format!("# ours\n\nAnn:{HASH}\n  # Bob:{HASH}\nCid:{HASH}");
        let mut accounts = parse(&before);
        assert_eq!(text(&accounts), format!("{before}\n"));
        let latin = Accounts::parse(b"# caf\xE9\n").unwrap();
        assert_eq!(latin.to_bytes(), b"# caf\xE9\n");
        assert_eq!((accounts.len(), accounts.hash_of("Bob")), (2, None));

        assert_eq!(accounts.remove("ann"), Some("Ann".to_owned()));
        assert_eq!(accounts.remove("ann"), None);
        accounts.set("CID", &hash()).unwrap();
        accounts.set("Dan", &hash()).unwrap();
        let expected = format!("# ours\n\n  # Bob:{HASH}\nCID:{HASH}\nDan:{HASH}\n");
        assert_eq!(text(&accounts), expected);
        assert_eq!(accounts.nick_of("dan"), Some("Dan"));
        assert_eq!(text(&parse("")), "");
        assert_eq!(text(&parse("\n")), "\n");
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        for nick in ["", "#Bob", " Bob", "Bob\n", "a\rb"] {
            assert_eq!(Accounts::default().set(nick, &hash()), Err(NickError), "{nick:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line() {
        let other = HASH.replace("argon2id", "argon2d");
        let text = format!(
            "Ann:{HASH}\nBob:secret\n:{HASH}\n Cid:{HASH}\nDan:{other}\n\nANN:{HASH}\nsecret\n"
        );
        let faults = Accounts::parse(text.as_bytes()).unwrap_err();
        let expected = [
            (2, Fault::NoHash),
            (3, Fault::Nick),
            (4, Fault::Nick),
            (5, Fault::Hash(HashError::NotArgon2id)),
            (7, Fault::Twice { nick: "ANN".to_owned(), first: 1 }),
            (8, Fault::NoHash),
        ];
        assert_eq!(faults, expected);
        let error = Error::Invalid { path: "a/b".into(), faults }.to_string();
        assert!(error.starts_with("a/b:2: found a line without a hash, needs "), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(Accounts::parse(b"#\xff\nB\xff:").unwrap_err(), [(2, Fault::NotUtf8)]);
    }

    #[test]
    fn a_file_that_is_missing_is_an_error_and_made_only_on_demand() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        assert!(matches!(read(&path), Err(Error::System { .. })));
        assert!(matches!(Draft::open(&path, false), Err(Error::System { .. })));
        assert!(!path.exists());
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with("can't read the accounts file: it is no file"), "{error}");

        let mut draft = Draft::open(&path, true).unwrap();
        draft.accounts.set("Ann", &hash()).unwrap();
        draft.save().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("Ann:{HASH}\n"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn rights_and_links_are_kept() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        let link = directory.path().join("link");
        fs::write(&path, "# ours\n").unwrap();
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
                std::thread::spawn(move || {
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
    fn a_followed_file_is_read_when_it_has_changed_and_kept_while_it_is_wrong() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        let mut followed = Followed::new(path.clone());
        assert!(followed.look().is_err());
        assert!(!followed.look().unwrap(), "an error is told once");
        assert!(followed.accounts().is_none());

        let save = |nick: &str| {
            let mut draft = Draft::open(&path, true).unwrap();
            draft.accounts.set(nick, &hash()).unwrap();
            draft.save().unwrap();
        };
        save("Ann");
        assert!(followed.look().unwrap());
        assert!(!followed.look().unwrap());
        save("Bob");
        assert!(followed.look().unwrap());
        assert_eq!(followed.accounts().map(Accounts::len), Some(2));

        fs::write(&path, "Ann\n").unwrap();
        assert!(followed.look().is_err());
        assert!(!followed.look().unwrap());
        assert_eq!(followed.accounts().map(Accounts::len), Some(2));
        fs::remove_file(&path).unwrap();
        assert!(followed.look().is_err());
        save("Cid");
        assert!(followed.look().unwrap());
        assert_eq!(followed.accounts().map(Accounts::len), Some(1));
    }
}
