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

mod draft;
mod followed;

use core::fmt;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

pub use self::draft::Draft;
use self::followed::Stamp;
pub use self::followed::{Followed, Look};
use super::hash::{self, HashError, PasswordHash};
use crate::files;
use crate::limits::{
    ACCOUNTS_FAULTS_MAX, ACCOUNTS_FILE_BYTES_MAX, ACCOUNTS_LINES_MAX, NICKS_RESERVED_MAX,
};
use crate::nick::{InTheWay, Likenesses, comparison_key};

/// What an accounts file holds.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    lines: Vec<AccountLine>,
    /// Where each account stands in `lines`, by the [`comparison_key`] of its nick.
    places: HashMap<Box<str>, usize>,
    /// The keys of the nicks whose accounts are switched off.
    off: HashSet<Box<str>>,
    /// A short word for each nick that was read, in the order of the lines.
    marks: Vec<u64>,
}

/// What an accounts file says of a nick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NickStanding {
    /// It has an account, with this hash.
    Account(PasswordHash),
    /// Its account is switched off: it is nobody's.
    Nobodys,
    /// The file does not know it.
    Free,
}

#[derive(Clone)]
enum AccountLine {
    /// A comment, or blank; an old one may be in any encoding.
    Kept(Vec<u8>),
    /// An account as it is written; its nick has so many bytes.
    Account(String, usize),
}

/// A hash is not shown.
impl fmt::Debug for AccountLine {
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
pub enum AccountFault {
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
    /// It is one more than the file may have.
    TooMany,
    /// The same nick has an account above.
    Twice {
        /// The nick as it stands here.
        nick: String,
        /// The line of the first one, from 1.
        first: usize,
    },
}

impl fmt::Display for AccountFault {
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
            Self::TooMany => {
                write!(f, "found more than {ACCOUNTS_LINES_MAX} lines, needs fewer of them")
            }
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
    /// It was written where it is and lacks more nicks than can be kept from everybody.
    Lost {
        /// The file.
        path: PathBuf,
        /// How many.
        nicks: usize,
    },
    /// Something in it is wrong.
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, each with its line, from 1; up to [`ACCOUNTS_FAULTS_MAX`].
        faults: Vec<(usize, AccountFault)>,
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
            Self::Lost { path, nicks } => write!(
                f,
                "{}: the accounts file was written where it is and lacks {nicks} nicks that it had \
                 before (limit {NICKS_RESERVED_MAX}), as after a write that has failed",
                path.display()
            ),
            Self::Invalid { path, faults } => {
                for (index, (line, fault)) in faults.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{}:{line}: {fault}", path.display())?;
                }
                if faults.len() == ACCOUNTS_FAULTS_MAX {
                    write!(f, "\n{}: lines after these may be wrong as well", path.display())?;
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
    /// What is wrong, with its line, from 1; not more than [`ACCOUNTS_FAULTS_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<(usize, AccountFault)>> {
        let mut accounts = Self::default();
        let mut faults = Vec::new();
        if bytes.is_empty() {
            return Ok(accounts);
        }
        for (index, line) in lines(bytes).enumerate() {
            if faults.len() == ACCOUNTS_FAULTS_MAX {
                break;
            }
            if index == ACCOUNTS_LINES_MAX {
                faults.push((index + 1, AccountFault::TooMany));
                break;
            }
            if let Err(fault) = accounts.read_line(line) {
                faults.push((index + 1, fault));
                // So that places stay lines.
                accounts.lines.push(AccountLine::Kept(Vec::new()));
            }
        }
        if faults.is_empty() { Ok(accounts) } else { Err(faults) }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), AccountFault> {
        let trimmed = line.trim_ascii();
        if trimmed.is_empty() || trimmed.starts_with(b"#") {
            for key in switched_off(line)? {
                self.marks.push(mark(&key));
                self.off.insert(key);
            }
            self.lines.push(AccountLine::Kept(line.to_owned()));
            return Ok(());
        }
        let line = str::from_utf8(line).map_err(|_| AccountFault::NotUtf8)?;
        let line = line.trim_ascii_end();
        let colon = line.rfind(&format!(":{}", hash::PREFIX)).ok_or(AccountFault::NoHash)?;
        let nick = &line[..colon];
        let key = comparison_key(nick).ok_or(AccountFault::Nick)?;
        check_key(&key)?;
        PasswordHash::parse(&line[colon + 1..]).map_err(AccountFault::Hash)?;
        if let Some(first) = self.places.get(&key) {
            return Err(AccountFault::Twice { nick: nick.to_owned(), first: first + 1 });
        }
        self.off.extend(behind_sign(nick));
        self.marks.push(mark(&key));
        self.places.insert(key, self.lines.len());
        self.lines.push(AccountLine::Account(line.to_owned(), colon));
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
    pub fn standing(&self, nick: &str) -> NickStanding {
        if let Some(hash) = self.hash_of(nick) {
            return NickStanding::Account(hash);
        }
        let off = comparison_key(nick).is_some_and(|key| self.off.contains(&key));
        if off { NickStanding::Nobodys } else { NickStanding::Free }
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
            AccountLine::Account(line, nick) => Some((line, *nick)),
            AccountLine::Kept(_) => None,
        }
    }

    /// The nicks in the order of their lines.
    pub fn nicks(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| match line {
            AccountLine::Account(line, nick) => Some(&line[..*nick]),
            AccountLine::Kept(_) => None,
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
        let line = AccountLine::Account(format!("{nick}:{}", hash.as_str()), nick.len());
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
                AccountLine::Kept(line) => {
                    off && switched_off(line).is_ok_and(|off| off.contains(&key))
                }
                AccountLine::Account(..) => Some(at) == place,
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
                AccountLine::Kept(line) => line,
                AccountLine::Account(line, _) => line.as_bytes(),
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
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    core::iter::from_fn(move || {
        let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
            return Some(core::mem::take(&mut rest)).filter(|line| !line.is_empty());
        };
        let line = &rest[..end];
        let ending = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + ending..];
        Some(line)
    })
}

/// The keys of the nicks whose account may be switched off in this comment: all before a hash or
/// before what stands in its place, or the only word. Prose is about no account.
fn switched_off(line: &[u8]) -> Result<Vec<Box<str>>, AccountFault> {
    let is_sign = |byte: &u8| *byte == b'#' || byte.is_ascii_whitespace();
    let start = line.iter().position(|byte| !is_sign(byte)).unwrap_or(line.len());
    let rest = line[start..].trim_ascii_end();
    let Ok(text) = str::from_utf8(rest) else {
        // Of which nick it is depends on an encoding that nobody knows.
        let colon = memchr::memchr(b':', rest);
        let is_prose = colon.is_none_or(|at| rest.get(at + 1).is_none_or(u8::is_ascii_whitespace));
        return if is_prose { Ok(Vec::new()) } else { Err(AccountFault::NotUtf8) };
    };
    let text = text.trim();
    if let Some(colon) = text.rfind(&format!(":{}", hash::PREFIX)) {
        let nick = &text[..colon];
        let key = comparison_key(nick);
        // One that could not be read would not be known.
        return if key.is_none() && !nick.is_empty() {
            Err(AccountFault::Nick)
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
fn check_key(key: &str) -> Result<(), AccountFault> {
    if key.starts_with('#') {
        // One of another width.
        return Err(AccountFault::Mark("#"));
    }
    if let Some(mark) = MARKS.into_iter().find(|mark| key.starts_with(mark)) {
        return Err(AccountFault::Mark(mark));
    }
    let is_quoted = |quote| {
        let inner = key.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(quote))
    };
    if is_quoted('"') || is_quoted('\'') { Err(AccountFault::Quoted) } else { Ok(()) }
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
    let file = files::open(path).map_err(Error::system(path, "read"))?;
    let stamp = Stamp::of(&file.metadata().map_err(Error::system(path, "read"))?);
    let (accounts, is_whole) = read_open(path, &file)?;
    Ok(Read { accounts, stamp, is_whole })
}

/// Gives what the file holds, and whether it ends with the end of a line.
fn read_open(path: &Path, file: &File) -> Result<(Accounts, bool), Error> {
    let bytes = files::to_the_end(file, ACCOUNTS_FILE_BYTES_MAX).map_err(|error| {
        if error.kind() == io::ErrorKind::FileTooLarge {
            return Error::TooLarge { path: path.to_owned() };
        }
        Error::system(path, "read")(error)
    })?;
    let accounts = Accounts::parse(&bytes);
    let accounts = accounts.map_err(|faults| Error::Invalid { path: path.to_owned(), faults })?;
    Ok((accounts, bytes.ends_with(b"\n") || bytes.ends_with(b"\r")))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const HASH: &str =
        "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHlzYWx0$85yfauD48H6oCqXbtRb4FaiAZ3ovzFEmMdlN/XEkibQ";

    pub(super) fn parse(text: &str) -> Accounts {
        Accounts::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_file_has_so_many_lines_and_so_many_faults_are_told() {
        let lines = "\n".repeat(ACCOUNTS_LINES_MAX);
        assert!(Accounts::parse(lines.as_bytes()).is_ok());
        let faults = Accounts::parse(format!("{lines}#\n").as_bytes()).unwrap_err();
        assert_eq!(faults, [(ACCOUNTS_LINES_MAX + 1, AccountFault::TooMany)]);
        for (count, told) in [(ACCOUNTS_FAULTS_MAX - 1, false), (ACCOUNTS_FAULTS_MAX + 1, true)] {
            let faults = Accounts::parse("x\n".repeat(count).as_bytes()).unwrap_err();
            assert_eq!(faults.len(), count.min(ACCOUNTS_FAULTS_MAX));
            let error = Error::Invalid { path: PathBuf::from("a"), faults }.to_string();
            assert_eq!(error.contains("after these may be wrong"), told, "{error}");
        }
    }

    pub(super) fn text(accounts: &Accounts) -> String {
        String::from_utf8(accounts.to_bytes()).unwrap()
    }

    pub(super) fn hash() -> PasswordHash {
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
            (2, AccountFault::NoHash),
            (3, AccountFault::Nick),
            (4, AccountFault::Nick),
            (5, AccountFault::Hash(HashError::NotArgon2id)),
            (7, AccountFault::Twice { nick: "ANN".to_owned(), first: 1 }),
            (8, AccountFault::NoHash),
        ];
        assert_eq!(faults, expected);
        let error = Error::Invalid { path: "a/b".into(), faults }.to_string();
        assert!(error.starts_with("a/b:2: found a line without a hash, needs "), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(Accounts::parse(b"#\xff\nB\xff:").unwrap_err(), [(2, AccountFault::NotUtf8)]);
    }

    #[test]
    fn a_file_has_a_largest_size() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("accounts");
        let file = File::create(&path).unwrap();
        file.set_len(ACCOUNTS_FILE_BYTES_MAX).unwrap();
        assert!(matches!(read(&path), Err(Error::Invalid { .. })), "it is read");
        file.set_len(ACCOUNTS_FILE_BYTES_MAX + 1).unwrap();
        assert!(matches!(read(&path), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn what_is_switched_off_is_known_and_can_be_removed() {
        let before =
            format!("#Ann:{HASH}\n ## # b:ob :x:{HASH}\nCid:{HASH}\n# cid:{HASH}\n#:{HASH}\n");
        let mut accounts = parse(&before);
        let standing = |accounts: &Accounts, nick: &str| accounts.standing(nick);
        assert_eq!(standing(&accounts, "ann"), NickStanding::Nobodys);
        assert_eq!(standing(&accounts, "B:OB :x"), NickStanding::Nobodys);
        assert_eq!(standing(&accounts, "Cid"), NickStanding::Account(hash()), "one is on");
        assert_eq!(standing(&accounts, "Dan"), NickStanding::Free);
        assert_eq!(text(&accounts), before);

        assert_eq!(accounts.remove("ANN"), Some("ANN".to_owned()));
        assert_eq!(standing(&accounts, "ann"), NickStanding::Free);
        assert_eq!(accounts.remove("CID"), Some("Cid".to_owned()), "both of them");
        assert_eq!(standing(&accounts, "cid"), NickStanding::Free);
        assert_eq!(text(&accounts), format!(" ## # b:ob :x:{HASH}\n#:{HASH}\n"));
        let mut accounts = parse(&format!("#Ann:{HASH}\nBob:{HASH}\n#ann:{HASH}\nCid:{HASH}\n"));
        assert!(accounts.remove("Ann").is_some() && accounts.remove("Ann").is_none());
        assert_eq!((accounts.nick_of("bob"), accounts.nick_of("cid")), (Some("Bob"), Some("Cid")));
    }

    /// What a line does to the nicks Ann and René, and to one that stands in no file: a doubt frees
    /// none of them.
    #[test]
    fn a_line_that_may_switch_an_account_off_frees_no_nick() {
        let off = |nick: &str| Ok(vec![(nick.to_owned(), NickStanding::Nobodys)]);
        let on = |nick: &str| Ok(vec![(nick.to_owned(), NickStanding::Account(hash()))]);
        let free = |nick: &str| Ok(vec![(nick.to_owned(), NickStanding::Free)]);
        let mark = |mark| Err((1, AccountFault::Mark(mark)));
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
            (" ; Ann:HASH", Err((1, AccountFault::Nick))),
            ("//Ann:HASH", mark("//")),
            ("// Ann:HASH", mark("//")),
            ("/*Ann:HASH*/", mark("/*")),
            ("--Ann:HASH", mark("--")),
            ("＃Ann:HASH", mark("#")),
            ("；Ann:HASH", mark(";")),
            ("\"Ann\":HASH", Err((1, AccountFault::Quoted))),
            ("'Ann':HASH", Err((1, AccountFault::Quoted))),
            ("rem Ann:HASH", off("Ann")),
            ("REM  Ann:HASH", off("Ann")),
            ("!Ann:HASH", off("Ann")),
            ("%Ann:HASH", off("Ann")),
            ("*Ann:HASH", off("Ann")),
            ("Ann:*", Err((1, AccountFault::NoHash))),
            ("Ann:!HASH", Err((1, AccountFault::NoHash))),
            ("#A\u{200b}nn:HASH", Err((1, AccountFault::Nick))),
            ("#x\u{b}Ann:HASH", Err((1, AccountFault::Nick))),
            ("\u{a0}#Ann:HASH", Err((1, AccountFault::Nick))),
        ] {
            for end in ["", "\n", "\r\n", "\r"] {
                let text = line.replace("HASH", HASH) + end;
                let seen = Accounts::parse(text.as_bytes()).map(|accounts| {
                    let standing =
                        |nick: &(String, _)| (nick.0.clone(), accounts.standing(&nick.0));
                    expected.iter().flatten().map(standing).collect::<Vec<_>>()
                });
                // An account with its hash behind a comment may not be one.
                let seen = seen.map_err(|faults: Vec<(usize, AccountFault)>| faults[0].clone());
                assert_eq!(seen, expected, "{line:?} {end:?}");
            }
        }
    }

    #[test]
    fn a_line_in_an_unknown_encoding_switches_nothing_off() {
        for line in [&b"#Ren\xE9:$argon2id$v=19"[..], b"# Ren\xE9:*", b"#\x82\xa0:x"] {
            assert_eq!(
                Accounts::parse(line).unwrap_err(),
                [(1, AccountFault::NotUtf8)],
                "{line:?}"
            );
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
            assert_eq!(accounts.standing("Ann"), NickStanding::Nobodys, "{end:?}");
            assert_eq!(accounts.nick_of("Bob"), Some("Bob"), "{end:?}");
            assert_eq!(text(&accounts), lines.join("\n") + "\n", "{end:?}");
            let wrong = Accounts::parse((lines.join(end) + end + "Cid").as_bytes()).unwrap_err();
            assert_eq!(wrong, [(4, AccountFault::NoHash)], "{end:?}");
        }
    }

    #[test]
    fn a_nick_that_is_nobodys_for_the_sake_of_another_is_not_removed() {
        let mut accounts = parse(&format!("!Ann:{HASH}\n"));
        assert_eq!(accounts.standing("Ann"), NickStanding::Nobodys);
        assert_eq!(accounts.remove("Ann"), None);
        assert_eq!(accounts.remove("!Ann"), Some("!Ann".to_owned()));
    }
}
