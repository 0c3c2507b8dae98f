//! Following an accounts file that others write, an editor in place as well: what it holds is in
//! force when it is the whole file, and no nick that it has lost is free.

use core::cell::OnceCell;
use core::{fmt, mem};
use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::hash::RandomState;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::{Accounts, Error, NickStanding, Read, read_stamped};
use crate::limits::{
    ACCOUNTS_ONE_GO_SETTLE_TIME_S, ACCOUNTS_ONE_GO_TIME_MS, ACCOUNTS_SETTLE_TIME_S,
    NICKS_RESERVED_MAX,
};
use crate::nick::{InTheWay, Likenesses, comparison_key};

/// By what a changed file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: Identity,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Device, number and, where the file system knows it, the birth of a file: the number may be that
/// of a file which is gone.
type Identity = (u64, u64, Option<SystemTime>);

impl Stamp {
    /// Whether the last that happened to the file was something other than a write, which sets both
    /// times alike: it was given its name, or its rights, when it was whole. The clock of the file
    /// system may be too coarse to tell.
    pub(super) fn is_finished(self) -> bool {
        self.modified != self.changed
    }

    /// How long nothing has happened to the file, by the clock of the system.
    pub(super) fn unchanged_for(self, clock: SystemTime) -> Duration {
        let nanoseconds = u32::try_from(self.changed.1).unwrap_or(0);
        let changed = u64::try_from(self.changed.0).ok().and_then(|seconds| {
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
        });
        changed.and_then(|changed| clock.duration_since(changed).ok()).unwrap_or_default()
    }

    /// Whether it has been written as soon as it was there, and never since.
    fn is_of_one_go(self) -> bool {
        let (_, _, birth) = self.file;
        let birth = birth.and_then(|birth| birth.duration_since(SystemTime::UNIX_EPOCH).ok());
        let (seconds, nanoseconds) = self.modified;
        birth.is_some_and(|birth| {
            let modified_ns = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
            let birth_ns = i128::try_from(birth.as_nanos()).unwrap_or(0);
            let most_ns = i128::from(ACCOUNTS_ONE_GO_TIME_MS) * 1_000_000;
            (0..=most_ns).contains(&(modified_ns - birth_ns))
        })
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
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
struct KnownFile {
    file: String,
    count: usize,
    digest: String,
}

impl KnownFile {
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

impl fmt::Display for KnownFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.file, self.count, self.digest)
    }
}

/// An accounts file that is read again whenever it has changed.
///
/// A whole file in its place counts at once, as `palabre passwd` and most editors put it there. One
/// that is written where it is may be half a file at any moment, be it the old one or a new one: it
/// counts at once when it knows all nicks that were known, otherwise when it has not changed for
/// [`ACCOUNTS_SETTLE_TIME_S`]; and of the nicks that it has lost then nobody knows, until a whole
/// file is put in its place. A new one that was written as soon as it was there, by a program that
/// is faster than the clock of the file system, is taken for whole after
/// [`ACCOUNTS_ONE_GO_SETTLE_TIME_S`].
///
/// Whoever follows it may be killed while it is half a file. What the next one is told of it
/// ([`Followed::kept`]) does not name the nicks, so where it may lack some nobody gets in whom it
/// does not name, until a whole file is put in its place or this one knows them again.
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
    /// When it is looked at again although it has not changed, while it may be a half, or when it
    /// could not be read.
    look_again_at: Option<Instant>,
    /// The system has refused to read it when it was last tried.
    failed: bool,
    /// The keys of nicks that it has lost by being written in place.
    reserved: HashSet<Box<str>>,
    /// What whoever followed it before knew, until the file is known to know as much.
    before: Option<KnownFile>,
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
    /// It was read, written where it is, and does not know so many nicks that it knew before.
    Lost(usize),
    /// It was read, and may lack nicks that somebody knew who followed it before.
    Doubted,
}

/// What is seen of a file that has changed, beside what it holds.
#[derive(Clone, Copy, Debug)]
struct FileSeen {
    /// It was looked at before, as it is, and then it was waited.
    waited: bool,
    /// It has not changed for [`ACCOUNTS_SETTLE_TIME_S`].
    left_alone: bool,
    /// It is no half of a new file, as far as can be seen.
    is_no_half: bool,
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
            look_again_at: None,
            failed: false,
            reserved: HashSet::new(),
            before: None,
            likenesses: OnceCell::new(),
        }
    }

    /// The same, after somebody who followed it and left this ([`Followed::kept`]).
    #[must_use]
    pub fn after(self, kept: Option<&str>) -> Self {
        Self { before: kept.and_then(KnownFile::parse), ..self }
    }

    /// What is to be told to whoever follows it next; nothing new as long as it lacks nicks.
    #[must_use]
    pub fn kept(&self) -> Option<String> {
        let whole = self.before.is_none() && self.reserved.is_empty();
        let accounts = self.accounts.as_ref().filter(|_| whole)?;
        Some(KnownFile::of(self.file?, accounts)?.to_string())
    }

    /// Looks whether the file has changed, and reads it if so.
    ///
    /// # Errors
    /// Why it can't be read, told once for each change; what it held before stays in force. What
    /// the system refused is tried again.
    pub fn look(&mut self) -> Result<Look, Error> {
        self.look_at(Instant::now(), SystemTime::now())
    }

    fn look_at(&mut self, now: Instant, clock: SystemTime) -> Result<Look, Error> {
        self.look_by(read_stamped, now, clock)
    }

    /// The same, with what reads the file.
    fn look_by(
        &mut self,
        read: impl FnOnce(&Path) -> Result<Read, Error>,
        now: Instant,
        clock: SystemTime,
    ) -> Result<Look, Error> {
        let there = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        let waited = self.seen == Some(there);
        if waited && self.look_again_at.is_none_or(|time| now < time) {
            return Ok(Look::Same);
        }
        self.look_again_at = None;
        self.see(there);
        let settle = Duration::from_secs(ACCOUNTS_SETTLE_TIME_S);
        let had_failed = mem::take(&mut self.failed);
        let read = match read(&self.path) {
            Ok(read) => read,
            // What is in the way may pass without a change of the file: it is told once.
            Err(error @ Error::System { .. }) => {
                self.failed = true;
                self.look_again_at = Some(now + settle);
                return if waited && had_failed { Ok(Look::Same) } else { Err(error) };
            }
            Err(error) => return Err(error),
        };
        let waited = waited && !had_failed && self.seen == Some(Some(read.stamp));
        self.see(Some(read.stamp));
        let unchanged = read.stamp.unchanged_for(clock);
        let whole_after = Duration::from_secs(ACCOUNTS_ONE_GO_SETTLE_TIME_S);
        let is_of_one_go = read.is_whole && read.stamp.is_of_one_go();
        let seen = FileSeen {
            waited,
            left_alone: waited || unchanged >= settle,
            is_no_half: read.stamp.is_finished() || is_of_one_go && unchanged >= whole_after,
        };
        if !seen.left_alone {
            self.look_again_at = Some(now + settle);
        } else if is_of_one_go && !seen.is_no_half {
            self.look_again_at = Some(now + whole_after.saturating_sub(unchanged));
        }
        self.take(read, seen)
    }

    /// Notes what the file is, and whether it is another one than before.
    fn see(&mut self, there: Option<Stamp>) {
        self.seen = Some(there);
        if let Some(Stamp { file, .. }) = there {
            self.replaced |= self.file != Some(file);
            self.file = Some(file);
        }
    }

    /// Takes in what was read, unless it may be a half.
    fn take(&mut self, read: Read, seen: FileSeen) -> Result<Look, Error> {
        if let Some(before) = &self.before {
            let same_file = KnownFile::of(read.stamp.file, &read.accounts)
                .is_none_or(|present| present.file == before.file);
            let knows_all = before.is_in(&read.accounts);
            let is_new = !same_file && seen.is_no_half;
            if !(knows_all || is_new && (read.is_whole || seen.left_alone)) {
                self.put_in_force(read, HashSet::new());
                return Ok(if seen.waited { Look::Same } else { Look::Doubted });
            }
            self.look_again_at = None;
            self.before = None;
            return Ok(self.put_in_force(read, HashSet::new()));
        }
        let Some(old) = &self.accounts else {
            self.look_again_at = None;
            return Ok(self.put_in_force(read, HashSet::new()));
        };
        let is_new = self.replaced && seen.is_no_half;
        let known = old.known().chain(&self.reserved);
        let lost: HashSet<Box<str>> =
            known.filter(|key| !read.accounts.knows(key)).cloned().collect();
        if read.is_whole && (is_new || lost.is_empty()) {
            self.look_again_at = None;
            return Ok(self.put_in_force(read, HashSet::new()));
        }
        if !seen.left_alone {
            return Ok(Look::Same);
        }
        let emptied = read.accounts.is_empty() && !old.is_empty();
        let count = lost.len();
        self.check_loss(emptied, count)?;
        if is_new || count == 0 {
            return Ok(self.put_in_force(read, HashSet::new()));
        }
        self.put_in_force(read, lost);
        Ok(Look::Lost(count))
    }

    /// Whether a file that was written in place, and lacks so many nicks that it had, is taken.
    fn check_loss(&self, emptied: bool, nicks: usize) -> Result<(), Error> {
        if emptied {
            return Err(Error::Emptied { path: self.path.clone() });
        }
        if nicks > NICKS_RESERVED_MAX {
            return Err(Error::Lost { path: self.path.clone(), nicks });
        }
        Ok(())
    }

    fn put_in_force(&mut self, read: Read, reserved: HashSet<Box<str>>) -> Look {
        // The half of a new file is new still when it has become whole.
        self.replaced &= !reserved.is_empty();
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

    /// What it says of a nick; `None` as long as it could not be read, or may lack it: whether a
    /// password is right for a nick that it has lost, nobody can tell any more.
    #[must_use]
    pub fn standing(&self, nick: &str) -> Option<NickStanding> {
        let standing = self.accounts.as_ref()?.standing(nick);
        let lost = || comparison_key(nick).is_some_and(|key| self.reserved.contains(&key));
        let is_lacking = standing == NickStanding::Free && (self.before.is_some() || lost());
        (!is_lacking).then_some(standing)
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
    use std::fs::File;
    use std::io;

    use tempfile::TempDir;

    use super::super::draft::Draft;
    use super::super::tests::{HASH, hash};
    use super::*;

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
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let mut draft = Draft::open(&path, false).unwrap();
        draft.accounts = Accounts::parse(format!("Zoe:{HASH}\n").as_bytes()).unwrap();
        draft.save().unwrap();
        followed.look().unwrap();
        assert!(followed.has_like("Zоe") && !followed.has_like("Bоb"));
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
            // However coarse the clock is, that was before it got its name.
            let file = File::options().write(true).open(&new).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            fs::rename(new, &self.followed.path).unwrap();
        }

        fn look(&mut self, second: u64) -> Result<Look, String> {
            self.look_when(second, 0)
        }

        /// Looks when so many seconds have gone by, before which the file was made so many.
        fn look_when(&mut self, second: u64, earlier: u64) -> Result<Look, String> {
            let now = self.start + Duration::from_secs(second);
            let clock = SystemTime::now() + Duration::from_secs(earlier);
            self.followed.look_at(now, clock).map_err(|error| error.to_string())
        }

        fn standing(&self, nick: &str) -> NickStanding {
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
            assert!(bob.is_none_or(|bob| bob == NickStanding::Nobodys), "{half:?}");
            let ann = next.followed.standing("Ann");
            assert!(ann.is_none_or(|ann| ann == NickStanding::Account(hash())), "{half:?}");
            assert_eq!(next.followed.kept(), None, "what was kept before is kept");
            assert_eq!(next.look(QUIET), Ok(Look::Same));
            assert!(next.followed.standing("Zoe").is_none(), "{half:?}: however long it is so");
            next.write(&format!("{whole}Cid:{HASH}\n"));
            assert_eq!(next.look(QUIET), Ok(Look::Read));
            assert_eq!(next.standing("Zoe"), NickStanding::Free);
            assert!(next.followed.kept().is_some());
        }
        // What was left out is lost for the next one as well.
        follower.write(&format!("Cid:{HASH}\n"));
        let (next, _) = follower.next(&kept);
        assert!(next.followed.standing("Zoe").is_none());
        // A whole file that is put in its place is in force at once.
        follower.replace(&format!("Cid:{HASH}\n"));
        let (next, look) = follower.next(&kept);
        assert_eq!((look, next.standing("Ann")), (Look::Read, NickStanding::Free));
        // One that nobody has written to the end may still be written.
        follower.replace("");
        let (mut next, look) = follower.next(&kept);
        assert_eq!(look, Look::Doubted);
        assert_eq!(next.look(QUIET), Ok(Look::Read));
        assert_eq!(next.standing("Ann"), NickStanding::Free);
        // Nothing that could be read was kept.
        assert_eq!(follower.next("what").1, Look::Read);
    }

    /// As `rm` and an upload by its name make it, or an editor that has put the old one aside.
    #[test]
    fn a_new_file_that_is_still_being_written_frees_no_nick() {
        let old = format!("Ann:{HASH}\nBob:{HASH}\n");
        let half = format!("Ann:{HASH}\n");
        let mut follower = Follower::of(&old);
        let kept = follower.followed.kept().unwrap();
        let write_anew = |follower: &Follower| {
            fs::rename(&follower.followed.path, follower.directory.path().join("aside")).unwrap();
            follower.write(&half);
        };
        write_anew(&follower);
        assert_eq!(follower.look(0), Ok(Look::Same));
        assert_eq!(follower.standing("Bob"), NickStanding::Account(hash()));
        let (mut next, look) = follower.next(&kept);
        assert_eq!((look, next.followed.standing("Bob")), (Look::Doubted, None));
        assert_eq!(next.look(QUIET), Ok(Look::Same));
        assert_eq!(next.followed.standing("Bob"), None);
        // An upload may stop for a while.
        assert_eq!(follower.look(QUIET), Ok(Look::Lost(1)));
        assert_eq!(follower.followed.standing("Bob"), None);
        follower.write(&format!("{half}Bob:{HASH}\nCid:{HASH}\n"));
        for (follower, second) in [(&mut follower, QUIET), (&mut next, QUIET)] {
            assert_eq!(follower.look(second), Ok(Look::Read));
            for nick in ["Bob", "Cid"] {
                assert_eq!(follower.standing(nick), NickStanding::Account(hash()), "{nick}");
            }
            assert_eq!(follower.standing("Zoe"), NickStanding::Free);
        }
    }

    #[test]
    fn what_last_happened_to_a_file_is_seen_by_its_times() {
        let one_go_ns = i64::from(ACCOUNTS_ONE_GO_TIME_MS) * 1_000_000;
        let birth = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let stamp =
            |modified, changed| Stamp { file: (1, 2, Some(birth)), bytes: 3, modified, changed };
        for (modified, changed, finished, of_one_go) in [
            ((100, 0), (100, 0), false, true),
            ((100, one_go_ns), (100, one_go_ns), false, true),
            ((100, one_go_ns + 1), (100, one_go_ns + 1), false, false),
            ((101, 0), (101, 0), false, false),
            // The clock was put back.
            ((99, 0), (99, 0), false, false),
            ((100, 0), (100, 1), true, true),
            // What was copied with its time from a host whose clock is ahead.
            ((900, 0), (100, 1), true, false),
        ] {
            let stamp = stamp(modified, changed);
            assert_eq!(
                (stamp.is_finished(), stamp.is_of_one_go()),
                (finished, of_one_go),
                "{modified:?} {changed:?}"
            );
        }
        let unchanged = |seconds| {
            stamp((1, 0), (100, 500_000_000))
                .unchanged_for(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        assert_eq!(unchanged(102), Duration::from_millis(1_500));
        assert_eq!(unchanged(99), Duration::ZERO, "the clock was put back");
    }

    /// As a program writes and names it that is faster than the clock of the file system.
    #[test]
    fn a_new_file_of_which_the_clock_does_not_tell_counts_when_it_is_left_alone() {
        let mut follower = Follower::of(&format!("Ann:{HASH}\n"));
        fs::remove_file(&follower.followed.path).unwrap();
        follower.write(&format!("Bob:{HASH}\n"));
        let there = fs::metadata(&follower.followed.path).unwrap();
        if there.created().is_err() {
            // A file system that does not know when a file was made.
            return;
        }
        assert_eq!(follower.look(0), Ok(Look::Same));
        assert_eq!(follower.standing("Ann"), NickStanding::Account(hash()));
        // An upload of which the first block came at once may have stopped as well.
        assert_eq!(follower.look(QUIET), Ok(Look::Lost(1)));
        assert_eq!(follower.followed.standing("Ann"), None);
        assert_eq!(follower.look_when(WHOLE - 1, WHOLE - 1), Ok(Look::Same));
        assert_eq!(follower.look_when(WHOLE + QUIET, WHOLE + QUIET), Ok(Look::Read));
        assert_eq!(follower.standing("Ann"), NickStanding::Free);
    }

    /// The file is looked at when somebody logs in, which may be long after it was written.
    #[test]
    fn what_was_written_long_ago_counts_at_the_first_look() {
        for (text, in_place, found) in [
            (format!("Bob:{HASH}\n"), true, Look::Lost(1)),
            (format!("Bob:{HASH}\n"), false, Look::Read),
            (format!("Bob:{HASH}"), false, Look::Lost(1)),
        ] {
            let mut follower = Follower::of(&format!("Ann:{HASH}\n"));
            if !in_place {
                fs::remove_file(&follower.followed.path).unwrap();
            }
            follower.write(&text);
            if fs::metadata(&follower.followed.path).unwrap().created().is_err() {
                return;
            }
            assert_eq!(follower.look_when(0, WHOLE), Ok(found), "{text:?}, in place: {in_place}");
            assert_ne!(follower.followed.standing("Ann"), Some(NickStanding::Account(hash())));
        }
    }

    /// As `scp -p` and editors do that write a new file under its name.
    #[test]
    fn a_new_file_counts_when_it_is_given_its_rights_after_a_rest_in_the_middle() {
        let mut follower = Follower::of(&format!("Ann:{HASH}\nBob:{HASH}\n"));
        fs::rename(&follower.followed.path, follower.directory.path().join("aside")).unwrap();
        follower.write(&format!("Cid:{HASH}"));
        assert_eq!(follower.look(0), Ok(Look::Same));
        assert_eq!(follower.look(QUIET), Ok(Look::Lost(2)));
        follower.write(&format!("Cid:{HASH}\nBob:{HASH}\n"));
        let file = File::options().write(true).open(&follower.followed.path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(follower.look(QUIET), Ok(Look::Read));
        assert_eq!(follower.standing("Ann"), NickStanding::Free);
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
    const WHOLE: u64 = ACCOUNTS_ONE_GO_SETTLE_TIME_S;

    #[test]
    fn what_is_written_in_place_counts_at_once_when_nothing_is_missing() {
        let text = format!("Ann:{HASH}\n#Bob:{HASH}\n");
        let mut follower = Follower::of(&text);
        follower.write(&format!("{text}Cid:{HASH}\n"));
        assert_eq!(follower.look(0), Ok(Look::Read));
        assert_eq!(follower.standing("Cid"), NickStanding::Account(hash()));
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
            assert_eq!(follower.standing("Ann"), NickStanding::Account(hash()));
            assert_eq!(follower.standing("Cid"), NickStanding::Free);
        }
        // It was not left alone.
        follower.write(&format!("Cid:{HASH}\n\n"));
        assert_eq!(follower.look(QUIET), Ok(Look::Same));
        assert_eq!(follower.look(2 * QUIET - 1), Ok(Look::Same));
        assert_eq!(follower.look(2 * QUIET), Ok(Look::Lost(2)));
        assert_eq!(follower.standing("Cid"), NickStanding::Account(hash()));
        for nick in ["Ann", "bob"] {
            assert_eq!(follower.followed.standing(nick), None, "{nick}");
        }
        assert_eq!(follower.look(9 * QUIET), Ok(Look::Same), "it is told once");
        // They stay so, whatever is written in place, until they are back,
        follower.write(&format!("Ann:{HASH}\nCid:{HASH}\n"));
        assert_eq!(follower.look(10 * QUIET), Ok(Look::Same));
        assert_eq!(follower.look(11 * QUIET), Ok(Look::Lost(1)));
        assert_eq!(follower.standing("Ann"), NickStanding::Account(hash()));
        assert_eq!(follower.followed.standing("Bob"), None);
        // or until a whole file says otherwise.
        follower.replace(&format!("Cid:{HASH}\n"));
        assert_eq!(follower.look(11 * QUIET), Ok(Look::Read));
        for nick in ["Ann", "Bob"] {
            assert_eq!(follower.standing(nick), NickStanding::Free, "{nick}");
        }
    }

    #[test]
    fn what_the_system_refused_is_tried_again_and_told_once() {
        let mut follower = Follower::of(&format!("Ann:{HASH}\n"));
        let mut refused = |second: u64, write: Option<&str>| {
            if let Some(text) = write {
                follower.write(text);
            }
            let now = follower.start + Duration::from_secs(second);
            let refuse = |path: &Path| Err(Error::system(path, "read")(io::Error::other("EIO")));
            follower.followed.look_by(refuse, now, SystemTime::now()).map_err(|_| "refused")
        };
        let both = format!("Ann:{HASH}\nBob:{HASH}\n");
        assert_eq!(refused(0, Some(&both)), Err("refused"));
        assert_eq!(refused(QUIET - 1, None), Ok(Look::Same), "not in every turn");
        assert_eq!(refused(QUIET, None), Ok(Look::Same), "tried, and told before");
        assert_eq!(follower.standing("Bob"), NickStanding::Free);
        assert_eq!(follower.look(2 * QUIET - 1), Ok(Look::Same));
        assert_eq!(follower.look(2 * QUIET), Ok(Look::Read));
        assert_eq!(follower.standing("Bob"), NickStanding::Account(hash()));
        assert_eq!(follower.look(9 * QUIET), Ok(Look::Same));
    }

    #[test]
    fn so_many_nicks_may_be_lost_and_a_file_with_none_is_told_to_be_empty() {
        let followed = Followed::new(PathBuf::from("accounts"));
        let told = |emptied, nicks| followed.check_loss(emptied, nicks).map_err(|e| e.to_string());
        assert_eq!(told(false, NICKS_RESERVED_MAX), Ok(()));
        let error = told(false, NICKS_RESERVED_MAX + 1).unwrap_err();
        assert!(error.contains("lacks 600001 nicks") && !error.contains("empty"), "{error}");
        let error = told(true, NICKS_RESERVED_MAX + 1).unwrap_err();
        assert!(error.contains("is empty now"), "{error}");
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
            assert_eq!(follower.standing("Ann"), NickStanding::Account(hash()));
        }
        // One that is put in its place is not, unless nobody has written to it yet.
        let mut follower = Follower::of(&format!("Ann:{HASH}\n"));
        follower.replace("");
        assert_eq!(follower.look(0), Ok(Look::Same));
        assert!(follower.look(QUIET).is_err());
        follower.replace("\n");
        assert_eq!(follower.look(QUIET), Ok(Look::Read));
        assert_eq!(follower.standing("Ann"), NickStanding::Free);
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
        assert_eq!(followed.standing("Cid"), Some(NickStanding::Free));
    }
}
