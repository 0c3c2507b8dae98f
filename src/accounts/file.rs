//! The accounts file: one account a line, `nick:$argon2id$…`.
//!
//! A nick may hold colons, so it is all before the last `:$argon2` of its line; a hash holds
//! none. Blank lines and lines that begin with `#` are no accounts and are kept as they are: a
//! `#` before an account switches it off, so that its nick is nobody's, and a nick that begins with
//! it can't have one. What may be meant so is taken so, or is an error: a nick is freed by no
//! doubt. Which nicks are the same account is the server's own rule for nicks.
//!
//! Whoever changes the file locks it and puts a new one in its place, so that a reader sees the
//! old one or the new one, and two writers don't lose each other's change. An editor may write it
//! in place all the same: [`Followed`] takes care that a half is not taken for the whole.

use core::cell::OnceCell;
use core::fmt;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, CWD, Gid, Uid, fchown};
use sha2::{Digest as _, Sha256};

use super::hash::{self, HashError, PasswordHash};
use crate::limits::{ACCOUNTS_FILE_BYTES_MAX, ACCOUNTS_SETTLE_TIME_S, NICKS_RESERVED_MAX};
use crate::nick::{InTheWay, Likenesses, comparison_key};

/// What an accounts file holds.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    lines: Vec<Line>,
    /// Where each account stands in `lines`, by the [`comparison_key`] of its nick.
    places: HashMap<Box<str>, usize>,
    /// The keys of the nicks whose accounts are switched off.
    off: HashSet<Box<str>>,
    /// A short word for each nick that was read, in the order of the lines.
    marks: Vec<u64>,
}

/// What an accounts file says of a nick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has an account, with this hash.
    Account(PasswordHash),
    /// Its account is switched off, or was there before the file was written in place: it is
    /// nobody's.
    Nobodys,
    /// The file does not know it.
    Free,
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
    /// The nick begins as comments of other files do.
    Mark(&'static str),
    /// The nick stands in quotes.
    Quoted,
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
                "found a nick that nobody can have, needs one without control or invisible \
                 characters and without white space at its ends",
            ),
            Self::Mark(mark) => write!(
                f,
                "found {mark} before a nick, needs # to switch an account off; no nick with an \
                 account begins with {mark}"
            ),
            Self::Quoted => f.write_str("found a nick in quotes, needs it without them"),
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
    /// It had accounts and has none, and was not replaced by a whole one: a write that has failed.
    Emptied {
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
            Self::Emptied { path } => write!(
                f,
                "{}: the accounts file had accounts and is empty now, as after a write that has \
                 failed; palabre passwd remove takes accounts away",
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
        for (index, line) in lines(bytes).into_iter().enumerate() {
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
            for key in switched_off(line)? {
                self.marks.push(mark(&key));
                self.off.insert(key);
            }
            self.lines.push(Line::Kept(line.to_owned()));
            return Ok(());
        }
        let line = str::from_utf8(line).map_err(|_| Fault::NotUtf8)?;
        let line = line.trim_ascii_end();
        let colon = line.rfind(&format!(":{}", hash::PREFIX)).ok_or(Fault::NoHash)?;
        let nick = &line[..colon];
        let key = comparison_key(nick).ok_or(Fault::Nick)?;
        check_key(&key)?;
        PasswordHash::parse(&line[colon + 1..]).map_err(Fault::Hash)?;
        if let Some(first) = self.places.get(&key) {
            return Err(Fault::Twice { nick: nick.to_owned(), first: first + 1 });
        }
        self.off.extend(behind_sign(nick));
        self.marks.push(mark(&key));
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

    /// What the file says of a nick.
    #[must_use]
    pub fn standing(&self, nick: &str) -> Standing {
        if let Some(hash) = self.hash_of(nick) {
            return Standing::Account(hash);
        }
        let off = comparison_key(nick).is_some_and(|key| self.off.contains(&key));
        if off { Standing::Nobodys } else { Standing::Free }
    }

    /// Whether the file knows a nick of this key, be its account on or off.
    fn knows(&self, key: &str) -> bool {
        self.places.contains_key(key) || self.off.contains(key)
    }

    /// What the first so many nicks come to; nothing when there are not so many.
    fn digest(&self, count: usize) -> Option<String> {
        let mut digest = Sha256::new();
        for mark in self.marks.get(..count)? {
            digest.update(mark.to_le_bytes());
        }
        Some(data_encoding::HEXLOWER.encode(&digest.finalize()[..16]))
    }

    /// The keys of all nicks that the file knows.
    fn known(&self) -> impl Iterator<Item = &Box<str>> {
        self.places.keys().chain(&self.off)
    }

    /// The nick as the account has it.
    #[must_use]
    pub fn nick_of(&self, nick: &str) -> Option<&str> {
        let (line, nick) = self.account(nick)?;
        Some(&line[..nick])
    }

    /// The first other nick with an account that this one can be taken for.
    #[must_use]
    pub fn looks_like(&self, nick: &str) -> Option<&str> {
        let mut own = Likenesses::new(RandomState::new());
        let seen = own.look_at(nick);
        own.add(&seen);
        let key = comparison_key(nick);
        let is_other = |other: &&str| comparison_key(other) != key;
        self.nicks().filter(is_other).find(|other| own.has_like(other, InTheWay::All))
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

    /// Removes the account of a nick, and what is switched off of it, so that the nick is free;
    /// gives the nick as it stood there.
    pub fn remove(&mut self, nick: &str) -> Option<String> {
        let key = comparison_key(nick)?;
        let shown = self.nick_of(nick).map(str::to_owned);
        let place = self.places.remove(&key);
        let off = self.off.remove(&key);
        if !off && place.is_none() {
            return None;
        }
        let (mut at, mut removed) = (0, Vec::new());
        self.lines.retain(|line| {
            let own = match line {
                Line::Kept(line) => off && switched_off(line).is_ok_and(|off| off.contains(&key)),
                Line::Account(..) => Some(at) == place,
            };
            removed.extend(own.then_some(at));
            at += 1;
            !own
        });
        if removed.is_empty() {
            // It is nobody's for the sake of another account.
            return None;
        }
        for later in self.places.values_mut() {
            *later -= removed.partition_point(|gone| gone < later);
        }
        Some(shown.unwrap_or_else(|| nick.to_owned()))
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
        if bytes.is_empty() {
            // That nobody has an account is no file that somebody has begun to write.
            bytes.push(b'\n');
        }
        bytes
    }
}

/// A short word for a nick, the same in every process of this program.
fn mark(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Splits at the ends of lines of all systems; a mark of UTF-8 at the start is none of the text.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut lines = Vec::new();
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        lines.push(&rest[..end]);
        let ending = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + ending..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// The keys of the nicks whose account may be switched off in this comment: all before a hash or
/// before what stands in its place, or the only word. Prose is about no account.
fn switched_off(line: &[u8]) -> Result<Vec<Box<str>>, Fault> {
    let is_sign = |byte: &u8| *byte == b'#' || byte.is_ascii_whitespace();
    let start = line.iter().position(|byte| !is_sign(byte)).unwrap_or(line.len());
    let rest = line[start..].trim_ascii_end();
    let Ok(text) = str::from_utf8(rest) else {
        // Of which nick it is depends on an encoding that nobody knows.
        let colon = memchr::memchr(b':', rest);
        let is_prose = colon.is_none_or(|at| rest.get(at + 1).is_none_or(u8::is_ascii_whitespace));
        return if is_prose { Ok(Vec::new()) } else { Err(Fault::NotUtf8) };
    };
    let text = text.trim();
    if let Some(colon) = text.rfind(&format!(":{}", hash::PREFIX)) {
        let nick = &text[..colon];
        let key = comparison_key(nick);
        // One that could not be read would not be known.
        return if key.is_none() && !nick.is_empty() {
            Err(Fault::Nick)
        } else {
            Ok(key.into_iter().collect())
        };
    }
    let is_word = |text: &str| !text.trim().contains(char::is_whitespace);
    let nicks = match (text.split_once(':'), text.rsplit_once(':')) {
        (Some((first, behind)), Some((last, _)))
            if is_word(behind) || !behind.starts_with(char::is_whitespace) =>
        {
            vec![first, last]
        }
        (None, None) if is_word(text) => vec![text],
        _ => Vec::new(),
    };
    Ok(nicks.into_iter().filter_map(|nick| comparison_key(nick.trim())).collect())
}

/// How comments begin in other files.
const MARKS: [&str; 4] = [";", "//", "/*", "--"];

/// How something is switched off in other files, but nicks begin as well.
const SIGNS: [&str; 6] = ["rem ", "!", "%", "*", "-", "'"];

/// Whether an account may have a nick of this key.
fn check_key(key: &str) -> Result<(), Fault> {
    if key.starts_with('#') {
        // One of another width.
        return Err(Fault::Mark("#"));
    }
    if let Some(mark) = MARKS.into_iter().find(|mark| key.starts_with(mark)) {
        return Err(Fault::Mark(mark));
    }
    let is_quoted = |quote| {
        let inner = key.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(quote))
    };
    if is_quoted('"') || is_quoted('\'') { Err(Fault::Quoted) } else { Ok(()) }
}

/// The key of the nick that is meant, should the sign before it have switched its account off.
fn behind_sign(nick: &str) -> Option<Box<str>> {
    let lower = nick.to_ascii_lowercase();
    let sign = SIGNS.into_iter().find(|sign| lower.starts_with(sign))?;
    comparison_key(nick[sign.len()..].trim_start())
}

/// A nick that can't have an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NickError;

impl fmt::Display for NickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "needs a nick that does not begin as a comment does (#, ;, //, /*, --) and stands in \
             no quotes, without control or invisible characters and without white space at its ends",
        )
    }
}

impl std::error::Error for NickError {}

/// Whether there can be an account under this nick; gives what the same nicks have in common.
///
/// # Errors
/// When there can't.
pub fn check_nick(nick: &str) -> Result<Box<str>, NickError> {
    comparison_key(nick).filter(|key| check_key(key).is_ok()).ok_or(NickError)
}

/// Reads an accounts file.
///
/// # Errors
/// When there is none, when it can't be read, or with everything that is wrong in it.
pub fn read(path: &Path) -> Result<Accounts, Error> {
    read_stamped(path).map(|read| read.accounts)
}

/// Whether others than the owner and its group may read it; nothing when that can't be told.
#[must_use]
pub fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o007 != 0)
}

/// Whether root owns the file and nobody else may read it.
#[must_use]
pub fn is_for_root_alone(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.uid() == 0 && metadata.mode() & 0o077 == 0)
}

/// What was read of a file.
struct Read {
    accounts: Accounts,
    stamp: Stamp,
    /// It ends as a text does: with the end of a line.
    is_whole: bool,
}

fn read_stamped(path: &Path) -> Result<Read, Error> {
    // A pipe would keep whoever opens it waiting.
    let metadata = fs::metadata(path).map_err(Error::system(path, "read"))?;
    check_file(path, &metadata, "read")?;
    let file = File::open(path).map_err(Error::system(path, "read"))?;
    let (accounts, is_whole) = read_open(path, &file)?;
    Ok(Read { accounts, stamp: Stamp::of(&metadata), is_whole })
}

/// Whether it is a file at all: a device would be replaced by one, a pipe waits for somebody.
fn check_file(path: &Path, metadata: &Metadata, what: &'static str) -> Result<(), Error> {
    if metadata.is_file() {
        return Ok(());
    }
    let source = io::Error::other("it is no file");
    Err(Error::System { path: path.to_owned(), what, source })
}

/// Gives what the file holds, and whether it ends with the end of a line.
fn read_open(path: &Path, file: &File) -> Result<(Accounts, bool), Error> {
    let mut bytes = Vec::new();
    file.take(ACCOUNTS_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::system(path, "read"))?;
    if bytes.len() as u64 > ACCOUNTS_FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    let accounts = Accounts::parse(&bytes);
    let accounts = accounts.map_err(|faults| Error::Invalid { path: path.to_owned(), faults })?;
    Ok((accounts, bytes.ends_with(b"\n") || bytes.ends_with(b"\r")))
}

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
    /// Opens the file to change it; waits while somebody else does. A file that is missing is
    /// made when `create` says so, for nobody but its owner to read.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(path: &Path, create: bool) -> Result<Self, Error> {
        let what = if create { "write" } else { "read" };
        if let Ok(metadata) = fs::metadata(path) {
            check_file(path, &metadata, what)?;
        }
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).mode(0o600);
            let there = options.open(path);
            let is_new =
                create && there.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
            let opened = if is_new { options.create_new(true).open(path) } else { there };
            let locked = match opened {
                // Somebody else has just made it.
                Err(error) if is_new && error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(Error::system(path, what))?,
            };
            let resolved = path.canonicalize().map_err(Error::system(path, what))?;
            locked.lock().map_err(Error::system(path, "lock"))?;
            let own = locked.metadata().map_err(Error::system(path, what))?;
            // Whoever had the lock has put another file in this one's place.
            let same = fs::metadata(&resolved)
                .is_ok_and(|there| there.dev() == own.dev() && there.ino() == own.ino());
            if same {
                // What somebody has left who was killed in the middle: whoever has the lock is the
                // only one who writes there.
                let _ = fs::remove_file(beside(&resolved));
                let (accounts, _) = read_open(path, &locked)?;
                return Ok(Self { accounts, is_new, path: resolved, locked });
            }
        }
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

/// By what a changed file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: Identity,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Device, number and, where the file system knows it, the birth of a file: the number may be that
/// of a file which is gone.
type Identity = (u64, u64, Option<SystemTime>);

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino(), metadata.created().ok()),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What is to be known of a file to whoever follows it next: which one it is, how many nicks it
/// knew and what they came to. A file that knows more behind them has lost none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    file: String,
    count: usize,
    digest: String,
}

impl Kept {
    fn of((device, number, birth): Identity, accounts: &Accounts) -> Option<Self> {
        let birth = birth.and_then(|birth| birth.duration_since(SystemTime::UNIX_EPOCH).ok());
        let birth = birth.map_or(0, |birth| birth.as_nanos());
        let count = accounts.marks.len();
        let digest = accounts.digest(count)?;
        Some(Self { file: format!("{device:x}.{number:x}.{birth:x}"), count, digest })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, '.');
        let (digest, count, file) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { file: file.to_owned(), count: count.parse().ok()?, digest: digest.to_owned() })
    }

    fn is_in(&self, accounts: &Accounts) -> bool {
        accounts.digest(self.count).is_some_and(|digest| digest == self.digest)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.file, self.count, self.digest)
    }
}

/// An accounts file that is read again whenever it has changed.
///
/// Another file in its place counts at once, as `palabre passwd` and most editors put it there. One
/// that is written in place may be half a file at any moment: it counts at once when it knows all
/// nicks that were known, otherwise when it has not changed for [`ACCOUNTS_SETTLE_TIME_S`]; and the
/// nicks that it has lost then are nobody's, until another file is put in its place.
///
/// Whoever follows it may be killed while it is half a file. What the next one is told of it
/// ([`Followed::kept`]) does not name the nicks, so where it may lack some nobody gets in whom it
/// does not name, until another file is put in its place or this one knows them again.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    /// What it was when it was last looked at; `None` inside for a file that is missing.
    seen: Option<Option<Stamp>>,
    accounts: Option<Accounts>,
    /// Which file it was when it was last there.
    file: Option<Identity>,
    /// Another file than that whose accounts are in force has been put in its place.
    replaced: bool,
    /// Since when it has looked as it was last seen, while that may be a half.
    doubtful_since: Option<Instant>,
    /// The keys of nicks that it has lost by being written in place.
    reserved: HashSet<Box<str>>,
    /// What whoever followed it before knew, until the file is known to know as much.
    before: Option<Kept>,
    /// What all nicks that are not for guests look like, once it was asked for.
    likenesses: OnceCell<Likenesses<RandomState>>,
}

/// What has come of looking at a followed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What was in force is.
    Same,
    /// It was read.
    Read,
    /// It was read, written in place, and does not know so many nicks that it knew before.
    Lost(usize),
    /// It was read, and may lack nicks that somebody knew who followed it before.
    Doubted,
}

impl Followed {
    /// A file that nobody has looked at yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            accounts: None,
            file: None,
            replaced: false,
            doubtful_since: None,
            reserved: HashSet::new(),
            before: None,
            likenesses: OnceCell::new(),
        }
    }

    /// The same, after somebody who followed it and left this ([`Followed::kept`]).
    #[must_use]
    pub fn after(self, kept: Option<&str>) -> Self {
        Self { before: kept.and_then(Kept::parse), ..self }
    }

    /// What is to be told to whoever follows it next; nothing new as long as it lacks nicks.
    #[must_use]
    pub fn kept(&self) -> Option<String> {
        let whole = self.before.is_none() && self.reserved.is_empty();
        let accounts = self.accounts.as_ref().filter(|_| whole)?;
        Some(Kept::of(self.file?, accounts)?.to_string())
    }

    /// Whether it may lack nicks that somebody knew who followed it before.
    #[must_use]
    pub const fn is_doubted(&self) -> bool {
        self.accounts.is_some() && self.before.is_some()
    }

    /// Looks whether the file has changed, and reads it if so.
    ///
    /// # Errors
    /// Why it can't be read, told once for each change; what it held before stays in force.
    pub fn look(&mut self) -> Result<Look, Error> {
        self.look_at(Instant::now())
    }

    fn look_at(&mut self, now: Instant) -> Result<Look, Error> {
        let there = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        let settled = |since: Instant| {
            now.duration_since(since) >= Duration::from_secs(ACCOUNTS_SETTLE_TIME_S)
        };
        if self.seen == Some(there) && !self.doubtful_since.is_some_and(settled) {
            return Ok(Look::Same);
        }
        let before = self.doubtful_since.take().filter(|_| self.seen == Some(there));
        self.see(there);
        let read = read_stamped(&self.path)?;
        let same = self.seen == Some(Some(read.stamp));
        self.see(Some(read.stamp));
        self.take(read, before.filter(|_| same), now)
    }

    /// Notes what the file is, and whether it is another one than before.
    fn see(&mut self, there: Option<Stamp>) {
        self.seen = Some(there);
        if let Some(Stamp { file, .. }) = there {
            self.replaced |= self.file != Some(file);
            self.file = Some(file);
        }
    }

    /// Takes in what was read, unless it may be a half: then since when it has been as it is counts.
    fn take(&mut self, read: Read, since: Option<Instant>, now: Instant) -> Result<Look, Error> {
        if let Some(before) = &self.before {
            let same_file = Kept::of(read.stamp.file, &read.accounts)
                .is_none_or(|present| present.file == before.file);
            let knows_all = before.is_in(&read.accounts);
            if !(knows_all || !same_file && (read.is_whole || since.is_some())) {
                self.doubtful_since = since.is_none().then_some(now);
                self.put_in_force(read, HashSet::new());
                return Ok(if since.is_none() { Look::Doubted } else { Look::Same });
            }
            self.before = None;
            return Ok(self.put_in_force(read, HashSet::new()));
        }
        let Some(old) = &self.accounts else {
            return Ok(self.put_in_force(read, HashSet::new()));
        };
        let replaced = self.replaced;
        let known = old.known().chain(&self.reserved);
        let lost: HashSet<Box<str>> =
            known.filter(|key| !read.accounts.knows(key)).cloned().collect();
        if read.is_whole && (replaced || lost.is_empty()) {
            return Ok(self.put_in_force(read, HashSet::new()));
        }
        if since.is_none() {
            self.doubtful_since = Some(now);
            return Ok(Look::Same);
        }
        let emptied = read.accounts.is_empty() && !old.is_empty();
        if emptied || lost.len() > NICKS_RESERVED_MAX {
            return Err(Error::Emptied { path: self.path.clone() });
        }
        let count = lost.len();
        if replaced || count == 0 {
            return Ok(self.put_in_force(read, HashSet::new()));
        }
        self.put_in_force(read, lost);
        Ok(Look::Lost(count))
    }

    fn put_in_force(&mut self, read: Read, reserved: HashSet<Box<str>>) -> Look {
        self.replaced = false;
        self.accounts = Some(read.accounts);
        self.reserved = reserved;
        self.likenesses = OnceCell::new();
        Look::Read
    }

    /// What it held when it was last read without an error; `None` before that.
    #[must_use]
    pub const fn accounts(&self) -> Option<&Accounts> {
        self.accounts.as_ref()
    }

    /// What it says of a nick; `None` as long as it could not be read, or may lack it.
    #[must_use]
    pub fn standing(&self, nick: &str) -> Option<Standing> {
        let standing = self.accounts.as_ref()?.standing(nick);
        if standing == Standing::Free && self.is_doubted() {
            return None;
        }
        let reserved = || comparison_key(nick).is_some_and(|key| self.reserved.contains(&key));
        Some(if standing == Standing::Free && reserved() { Standing::Nobodys } else { standing })
    }

    /// Whether a nick that is free looks like one which is not.
    #[must_use]
    pub fn has_like(&self, nick: &str) -> bool {
        let likenesses = self.likenesses.get_or_init(|| {
            let mut likenesses = Likenesses::new(RandomState::new());
            let known = self.accounts.iter().flat_map(Accounts::known).chain(&self.reserved);
            for key in known {
                let seen = likenesses.look_at(key);
                likenesses.add(&seen);
            }
            likenesses
        });
        likenesses.has_like(nick, InTheWay::All)
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
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
    fn what_looks_like_a_nick_of_the_file_is_known() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        fs::write(&path, format!("Bob:{HASH}\n#Ann:{HASH}\nВася:{HASH}\n")).unwrap();
        let mut followed = Followed::new(path.clone());
        assert!(!followed.has_like("Bоb"));
        followed.look().unwrap();
        for nick in ["Bоb", "ВОВ", "Аnn", "\u{412}ac\u{44F}"] {
            assert!(followed.has_like(nick), "{nick}");
        }
        for nick in ["b0b", "Bobby", "Анн", "Zoë"] {
            assert!(!followed.has_like(nick), "{nick}");
        }
        let other = directory.path().join("other");
        fs::write(&other, format!("Zoe:{HASH}\n")).unwrap();
        fs::rename(other, path).unwrap();
        followed.look().unwrap();
        assert!(followed.has_like("Zоe") && !followed.has_like("Bоb"));
    }

    #[test]
    fn a_nick_is_all_before_the_last_hash() {
        let accounts = parse(&format!("a:b:{HASH}\n::{HASH}\nx:$argon2:{HASH}\n"));
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
        assert_eq!(text(&parse("")), "\n");
        assert_eq!(text(&parse("\n")), "\n");
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let marked = ["#Bob", "＃Bob", ";Bob", "//Bob", "/*Bob", "--Bob", "\"Bob\"", "'Bob'"];
        for nick in ["", " Bob", "Bob\n", "a\rb"].into_iter().chain(marked) {
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
        // What waits for a reader is not waited for, and no device is replaced by a file.
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = Draft::open(&pipe, true).unwrap_err().to_string();
        assert!(error.ends_with("can't write the accounts file: it is no file"), "{error}");
        fs::remove_file(&pipe).unwrap();

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
    fn what_is_switched_off_is_known_and_can_be_removed() {
        let before =
            format!("#Ann:{HASH}\n ## # b:ob :x:{HASH}\nCid:{HASH}\n# cid:{HASH}\n#:{HASH}\n");
        let mut accounts = parse(&before);
        let standing = |accounts: &Accounts, nick: &str| accounts.standing(nick);
        assert_eq!(standing(&accounts, "ann"), Standing::Nobodys);
        assert_eq!(standing(&accounts, "B:OB :x"), Standing::Nobodys);
        assert_eq!(standing(&accounts, "Cid"), Standing::Account(hash()), "one is on");
        assert_eq!(standing(&accounts, "Dan"), Standing::Free);
        assert_eq!(text(&accounts), before);

        assert_eq!(accounts.remove("ANN"), Some("ANN".to_owned()));
        assert_eq!(standing(&accounts, "ann"), Standing::Free);
        assert_eq!(accounts.remove("CID"), Some("Cid".to_owned()), "both of them");
        assert_eq!(standing(&accounts, "cid"), Standing::Free);
        assert_eq!(text(&accounts), format!(" ## # b:ob :x:{HASH}\n#:{HASH}\n"));
        let mut accounts = parse(&format!("#Ann:{HASH}\nBob:{HASH}\n#ann:{HASH}\nCid:{HASH}\n"));
        assert!(accounts.remove("Ann").is_some() && accounts.remove("Ann").is_none());
        assert_eq!((accounts.nick_of("bob"), accounts.nick_of("cid")), (Some("Bob"), Some("Cid")));
    }

    /// What a line does to the nicks Ann and René, and to one that stands in no file: a doubt frees
    /// none of them.
    #[test]
    fn a_line_that_may_switch_an_account_off_frees_no_nick() {
        let off = |nick: &str| Ok(vec![(nick.to_owned(), Standing::Nobodys)]);
        let on = |nick: &str| Ok(vec![(nick.to_owned(), Standing::Account(hash()))]);
        let free = |nick: &str| Ok(vec![(nick.to_owned(), Standing::Free)]);
        let mark = |mark| Err((1, Fault::Mark(mark)));
        for (line, expected) in [
            ("Ann:HASH", on("Ann")),
            ("Ann:HASH  \t", on("Ann")),
            ("\u{feff}Ann:HASH", on("Ann")),
            ("#Ann:HASH", off("Ann")),
            ("\u{feff}#Ann:HASH", off("Ann")),
            ("\t ## Ann:HASH", off("Ann")),
            ("#Ann:HASH left in May", off("Ann")),
            ("#Ann:*", off("Ann")),
            ("#Ann:!", off("Ann")),
            ("#Ann: *", off("Ann")),
            ("#Ann:", off("Ann")),
            ("#Ann:* left in May", off("Ann")),
            ("#Ann:$6$salt$hash", off("Ann")),
            ("#Ann:{SSHA}abc=", off("Ann")),
            ("#Ann Lee:*", off("Ann Lee")),
            ("#a:b:*", off("a:b")),
            ("#Ann", off("Ann")),
            ("# Ann", off("Ann")),
            ("#Ren\u{e9}:HASH", off("René")),
            ("# Ann: she is away", free("Ann")),
            ("# all of Ann's accounts", free("Ann")),
            (";Ann:HASH", mark(";")),
            (" ; Ann:HASH", Err((1, Fault::Nick))),
            ("//Ann:HASH", mark("//")),
            ("// Ann:HASH", mark("//")),
            ("/*Ann:HASH*/", mark("/*")),
            ("--Ann:HASH", mark("--")),
            ("＃Ann:HASH", mark("#")),
            ("；Ann:HASH", mark(";")),
            ("\"Ann\":HASH", Err((1, Fault::Quoted))),
            ("'Ann':HASH", Err((1, Fault::Quoted))),
            ("rem Ann:HASH", off("Ann")),
            ("REM  Ann:HASH", off("Ann")),
            ("!Ann:HASH", off("Ann")),
            ("%Ann:HASH", off("Ann")),
            ("*Ann:HASH", off("Ann")),
            ("Ann:*", Err((1, Fault::NoHash))),
            ("Ann:!HASH", Err((1, Fault::NoHash))),
            ("#A\u{200b}nn:HASH", Err((1, Fault::Nick))),
            ("#x\u{b}Ann:HASH", Err((1, Fault::Nick))),
            ("\u{a0}#Ann:HASH", Err((1, Fault::Nick))),
        ] {
            for end in ["", "\n", "\r\n", "\r"] {
                let text = line.replace("HASH", HASH) + end;
                let seen = Accounts::parse(text.as_bytes()).map(|accounts| {
                    let standing =
                        |nick: &(String, _)| (nick.0.clone(), accounts.standing(&nick.0));
                    expected.iter().flatten().map(standing).collect::<Vec<_>>()
                });
                // An account with its hash behind a comment may not be one.
                let seen = seen.map_err(|faults: Vec<(usize, Fault)>| faults[0].clone());
                assert_eq!(seen, expected, "{line:?} {end:?}");
            }
        }
        // In an encoding that nobody knows.
        for line in [&b"#Ren\xE9:$argon2id$v=19"[..], b"# Ren\xE9:*", b"#\x82\xa0:x"] {
            assert_eq!(Accounts::parse(line).unwrap_err(), [(1, Fault::NotUtf8)], "{line:?}");
        }
        for line in [&b"# caf\xE9"[..], b"# Ren\xE9: away", b"#\xff:"] {
            assert!(Accounts::parse(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn the_ends_of_lines_are_those_of_any_system() {
        let lines = [format!("# ours, {HASH}"), format!("#Ann:{HASH}"), format!("Bob:{HASH}")];
        for end in ["\n", "\r\n", "\r"] {
            let accounts = parse(&(lines.join(end) + end));
            assert_eq!(accounts.standing("Ann"), Standing::Nobodys, "{end:?}");
            assert_eq!(accounts.nick_of("Bob"), Some("Bob"), "{end:?}");
            assert_eq!(text(&accounts), lines.join("\n") + "\n", "{end:?}");
            let wrong = Accounts::parse((lines.join(end) + end + "Cid").as_bytes()).unwrap_err();
            assert_eq!(wrong, [(4, Fault::NoHash)], "{end:?}");
        }
    }

    #[test]
    fn a_nick_that_is_nobodys_for_the_sake_of_another_is_not_removed() {
        let mut accounts = parse(&format!("!Ann:{HASH}\n"));
        assert_eq!(accounts.standing("Ann"), Standing::Nobodys);
        assert_eq!(accounts.remove("Ann"), None);
        assert_eq!(accounts.remove("!Ann"), Some("!Ann".to_owned()));
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

    /// A file that is followed, with seconds of its own.
    struct Follower {
        directory: TempDir,
        followed: Followed,
        start: Instant,
    }

    impl Follower {
        /// Of a file that is there.
        fn of(text: &str) -> Self {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("accounts");
            fs::write(&path, text).unwrap();
            let mut follower =
                Self { directory, followed: Followed::new(path), start: Instant::now() };
            assert_eq!(follower.look(0), Ok(Look::Read));
            follower
        }

        fn write(&self, text: &str) {
            fs::write(&self.followed.path, text).unwrap();
        }

        fn replace(&self, text: &str) {
            let new = self.directory.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, &self.followed.path).unwrap();
        }

        fn look(&mut self, second: u64) -> Result<Look, String> {
            let now = self.start + Duration::from_secs(second);
            self.followed.look_at(now).map_err(|error| error.to_string())
        }

        fn standing(&self, nick: &str) -> Standing {
            self.followed.standing(nick).unwrap()
        }
    }

    impl Follower {
        /// Whoever follows it next, with what was kept of it, and what the first look gives.
        fn next(&self, kept: &str) -> (Self, Look) {
            let followed = Followed::new(self.followed.path.clone()).after(Some(kept));
            let directory = TempDir::new().unwrap();
            let mut next = Self { directory, followed, start: self.start };
            let look = next.look(0).unwrap();
            (next, look)
        }
    }

    /// A follower may be killed at any moment, and the next one finds the file as it is then.
    #[test]
    fn whoever_follows_a_file_next_frees_no_nick_that_was_known() {
        let whole = format!("Ann:{HASH}\n#Bob:{HASH}\n");
        let follower = Follower::of(&whole);
        let kept = follower.followed.kept().unwrap();
        // Half a file, an empty one, another order; and the same again with somebody more.
        for half in ["", "\n", &format!("Ann:{HASH}\n"), &format!("Cid:{HASH}\n{whole}")] {
            follower.write(half);
            let (mut next, look) = follower.next(&kept);
            assert_eq!(look, Look::Doubted, "{half:?}");
            assert!(next.followed.standing("Zoe").is_none(), "{half:?}: nobody knows");
            let bob = next.followed.standing("Bob");
            assert!(bob.is_none_or(|bob| bob == Standing::Nobodys), "{half:?}");
            let ann = next.followed.standing("Ann");
            assert!(ann.is_none_or(|ann| ann == Standing::Account(hash())), "{half:?}");
            assert_eq!(next.followed.kept(), None, "what was kept before is kept");
            assert_eq!(next.look(QUIET), Ok(Look::Same));
            assert!(next.followed.standing("Zoe").is_none(), "{half:?}: however long it is so");
            next.write(&format!("{whole}Cid:{HASH}\n"));
            assert_eq!(next.look(QUIET), Ok(Look::Read));
            assert_eq!(next.standing("Zoe"), Standing::Free);
            assert!(next.followed.kept().is_some());
        }
        // What was left out is lost for the next one as well.
        follower.write(&format!("Cid:{HASH}\n"));
        let (next, _) = follower.next(&kept);
        assert!(next.followed.standing("Zoe").is_none());
        // A whole file that is put in its place is in force at once.
        follower.replace(&format!("Cid:{HASH}\n"));
        let (next, look) = follower.next(&kept);
        assert_eq!((look, next.standing("Ann")), (Look::Read, Standing::Free));
        // One that nobody has written to the end may still be written.
        follower.replace("");
        let (mut next, look) = follower.next(&kept);
        assert_eq!(look, Look::Doubted);
        assert_eq!(next.look(QUIET), Ok(Look::Read));
        assert_eq!(next.standing("Ann"), Standing::Free);
        // Nothing that could be read was kept.
        assert_eq!(follower.next("what").1, Look::Read);
    }

    #[test]
    fn what_is_kept_of_a_file_is_not_what_it_has_lost() {
        let mut follower = Follower::of(&format!("Ann:{HASH}\nBob:{HASH}\n"));
        let kept = follower.followed.kept().unwrap();
        follower.write(&format!("Bob:{HASH}\n"));
        assert_eq!(follower.look(0), Ok(Look::Same));
        assert_eq!(follower.look(QUIET), Ok(Look::Lost(1)));
        assert_eq!(follower.followed.kept(), None);
        assert_eq!(follower.next(&kept).1, Look::Doubted);
    }

    const QUIET: u64 = ACCOUNTS_SETTLE_TIME_S;

    #[test]
    fn what_is_written_in_place_counts_at_once_when_nothing_is_missing() {
        let text = format!("Ann:{HASH}\n#Bob:{HASH}\n");
        let mut follower = Follower::of(&text);
        follower.write(&format!("{text}Cid:{HASH}\n"));
        assert_eq!(follower.look(0), Ok(Look::Read));
        assert_eq!(follower.standing("Cid"), Standing::Account(hash()));
        // A line without its end may be a half of one.
        follower.write(&format!("{text}Cid:{HASH}"));
        assert_eq!(follower.look(0), Ok(Look::Same));
        assert_eq!(follower.look(QUIET), Ok(Look::Read));
    }

    #[test]
    fn what_is_written_in_place_and_lacks_a_nick_counts_when_it_is_left_alone() {
        let mut follower = Follower::of(&format!("Ann:{HASH}\n#Bob:{HASH}\n"));
        follower.write(&format!("Cid:{HASH}\n"));
        for second in 0..QUIET {
            assert_eq!(follower.look(second), Ok(Look::Same));
            assert_eq!(follower.standing("Ann"), Standing::Account(hash()));
            assert_eq!(follower.standing("Cid"), Standing::Free);
        }
        // It was not left alone.
        follower.write(&format!("Cid:{HASH}\n\n"));
        assert_eq!(follower.look(QUIET), Ok(Look::Same));
        assert_eq!(follower.look(2 * QUIET - 1), Ok(Look::Same));
        assert_eq!(follower.look(2 * QUIET), Ok(Look::Lost(2)));
        assert_eq!(follower.standing("Cid"), Standing::Account(hash()));
        for nick in ["Ann", "bob"] {
            assert_eq!(follower.standing(nick), Standing::Nobodys, "{nick}");
        }
        assert_eq!(follower.look(9 * QUIET), Ok(Look::Same), "it is told once");
        // They stay so, whatever is written in place, until they are back,
        follower.write(&format!("Ann:{HASH}\nCid:{HASH}\n"));
        assert_eq!(follower.look(10 * QUIET), Ok(Look::Same));
        assert_eq!(follower.look(11 * QUIET), Ok(Look::Lost(1)));
        assert_eq!(follower.standing("Ann"), Standing::Account(hash()));
        assert_eq!(follower.standing("Bob"), Standing::Nobodys);
        // or until a whole file says otherwise.
        follower.replace(&format!("Cid:{HASH}\n"));
        assert_eq!(follower.look(11 * QUIET), Ok(Look::Read));
        for nick in ["Ann", "Bob"] {
            assert_eq!(follower.standing(nick), Standing::Free, "{nick}");
        }
    }

    #[test]
    fn a_file_that_has_become_empty_is_a_write_that_has_failed() {
        for empty in ["", "# nobody\n", "\n"] {
            let mut follower = Follower::of(&format!("Ann:{HASH}\n"));
            follower.write(empty);
            assert_eq!(follower.look(0), Ok(Look::Same));
            let error = follower.look(QUIET).unwrap_err();
            assert!(error.contains("is empty now"), "{error}");
            assert_eq!(follower.look(2 * QUIET), Ok(Look::Same), "it is told once");
            assert_eq!(follower.standing("Ann"), Standing::Account(hash()));
        }
        // One that is put in its place is not, unless nobody has written to it yet.
        let mut follower = Follower::of(&format!("Ann:{HASH}\n"));
        follower.replace("");
        assert_eq!(follower.look(0), Ok(Look::Same));
        assert!(follower.look(QUIET).is_err());
        follower.replace("\n");
        assert_eq!(follower.look(QUIET), Ok(Look::Read));
        assert_eq!(follower.standing("Ann"), Standing::Free);
    }

    #[test]
    fn a_followed_file_is_read_when_it_has_changed_and_kept_while_it_is_wrong() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        let mut followed = Followed::new(path.clone());
        assert!(followed.look().is_err());
        assert_eq!(followed.look().ok(), Some(Look::Same), "an error is told once");
        assert!(followed.accounts().is_none() && followed.standing("Ann").is_none());

        let save = |nick: &str| {
            let mut draft = Draft::open(&path, true).unwrap();
            draft.accounts.set(nick, &hash()).unwrap();
            draft.save().unwrap();
        };
        save("Ann");
        assert_eq!(followed.look().ok(), Some(Look::Read));
        assert_eq!(followed.look().ok(), Some(Look::Same));
        save("Bob");
        assert_eq!(followed.look().ok(), Some(Look::Read));
        assert_eq!(followed.accounts().map(Accounts::len), Some(2));

        fs::write(&path, "Ann\n").unwrap();
        assert!(followed.look().is_err());
        assert_eq!(followed.look().ok(), Some(Look::Same));
        assert_eq!(followed.accounts().map(Accounts::len), Some(2));
        fs::remove_file(&path).unwrap();
        assert!(followed.look().is_err());
        save("Cid");
        assert_eq!(followed.look().ok(), Some(Look::Read));
        assert_eq!(followed.accounts().map(Accounts::len), Some(1));
        // The last one goes as the others do.
        let mut draft = Draft::open(&path, false).unwrap();
        draft.accounts.remove("Cid").unwrap();
        draft.save().unwrap();
        assert_eq!(followed.look().ok(), Some(Look::Read));
        assert_eq!(followed.standing("Cid"), Some(Standing::Free));
    }
}
