//! The worker: the process that says who may log in.
//!
//! It speaks the protocol of plugins (version 1) on its standard input and output. It registers
//! `isAuthorized` when there are accounts or a database, and `isRoot`, which is for it alone,
//! when root's password is a hash; then it answers each `<ask>` with a `<verdict>`. Passwords are
//! hashed by a few threads and the database is asked by one; what waits for them is bounded and
//! shared fairly by address. What it can't find out it says so of, and why: that is no no. Its log
//! goes to the server, and never a password in it; what held one is overwritten. [`launch`] has
//! how it is started.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use zeroize::{Zeroize as _, Zeroizing};

use super::database::{self, DatabaseFailure, Keeper};
use super::file::{Followed, Look, NickStanding};
use super::hash::{self, Checked, PasswordHash};
use super::{Database, LoginSettings};
use crate::limits::{DATABASE_REQUEST_TIME_S, HASH_THREADS_MAX, Limits, PASSWORD_BYTES_MAX};
use crate::nick::Lookalikes;
use crate::secret;
use crate::wire::stanza::{Parser, Stanza};
use crate::worker_input::read_frames;

mod fair;
pub mod launch;
mod voice;

use fair::Fair;
use voice::{LineLevel, Topic, Voice, WorkerAnswer};

/// The version of the plugin protocol that it speaks.
const PROTOCOL: &str = "1";

/// Why the worker ended before its input did.
#[derive(Debug)]
pub enum Error {
    /// The system refused something.
    System(io::Error),
    /// The input does not begin with the greeting of a server that speaks this protocol.
    Greeting,
    /// A stanza that is longer than any that the server sends.
    TooLarge,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Greeting => write!(
                f,
                "no greeting of a server with plugins='{PROTOCOL}' on the standard input: the \
                 worker is started by the server"
            ),
            Self::TooLarge => f.write_str("a stanza that is too large for the server's limits"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// What the server says is held to its length alone: its own limits are for clients.
const OF_THE_SERVER: Limits = Limits { depth_max: 0, attributes_max: 0, ..Limits::usual() };

/// Answers what comes in on `input` until it ends. `limits` are the server's: they say how large
/// what it sends can be.
///
/// # Errors
/// Why it can't go on.
pub fn run(
    settings: &LoginSettings,
    limits: &Limits,
    input: impl Read,
    output: impl Write + Send + 'static,
) -> Result<(), Error> {
    let voice = Arc::new(Voice::new(output));
    // A nick and a few short attributes around a client's stanza, with everything escaped.
    let frame_bytes_max = limits.stanza_bytes_max + 6 * limits.nick_bytes_max + 1_024;
    // Root's password comes by itself, whatever a client's stanza may have.
    let frame_bytes_max = frame_bytes_max.max(8 * PASSWORD_BYTES_MAX);
    let mut desk: Option<LoginWorker> = None;
    read_frames(
        input,
        frame_bytes_max,
        || Error::TooLarge,
        |frame| {
            match &mut desk {
                Some(desk) => desk.handle(frame),
                None => {
                    let kept = check_greeting(frame)?;
                    desk = Some(LoginWorker::open(settings, Arc::clone(&voice), kept.as_deref())?);
                }
            }
            Ok(())
        },
    )
}

/// Whether it is the server that greets; gives what the worker before this one has had it keep.
fn check_greeting(frame: &[u8]) -> Result<Option<String>, Error> {
    let mut parser = Parser::new();
    let stanza = parser.parse(frame, &OF_THE_SERVER).map_err(|_| Error::Greeting)?;
    let plugins = stanza.value("plugins");
    if stanza.name() == "palabre" && plugins.as_deref() == Some(PROTOCOL) {
        Ok(stanza.value("kept").map(Cow::into_owned))
    } else {
        Err(Error::Greeting)
    }
}

/// A question of the server, as far as it concerns anybody behind the desk.
struct WorkerQuestion {
    /// What the answer has to carry.
    ask: String,
    nick: String,
    password: Zeroizing<String>,
    /// Whose it is.
    address: IpAddr,
    came: Instant,
    /// What was found out so far: that the password is not that of an account, and what could not
    /// be asked.
    denied: bool,
    unknown: Option<&'static str>,
}

/// A password to be hashed.
struct Hashing {
    question: WorkerQuestion,
    /// What it is compared with; `None` when there is no account and the time is to pass.
    hash: Option<PasswordHash>,
    /// Whether the database is asked when it is wrong, where there is one.
    goes_on: bool,
}

/// What the threads share: what waits for them, and the way out.
struct Behind {
    voice: Arc<Voice>,
    hashing: Fair<Hashing>,
    /// What waits for the database, where there is one.
    database: Option<Fair<WorkerQuestion>>,
}

impl Behind {
    /// The last word on a question. Whoever hears it finds no password here any more.
    fn answer(&self, mut question: WorkerQuestion, allowed: bool) {
        question.password.zeroize();
        let answer = match question.unknown {
            _ if allowed => WorkerAnswer::Yes { account: true },
            Some(why) => WorkerAnswer::Unknown { why, denied: question.denied },
            None => WorkerAnswer::No,
        };
        self.voice.verdict(&question.ask, answer);
    }

    /// A nick that is nobody's is a guest's.
    fn let_guest_in(&self, mut question: WorkerQuestion) {
        question.password.zeroize();
        self.voice.verdict(&question.ask, WorkerAnswer::Yes { account: false });
    }

    /// That a question can't be answered, and why.
    fn give_up(&self, mut question: WorkerQuestion, why: &'static str) {
        question.password.zeroize();
        let answer = WorkerAnswer::Unknown { why, denied: question.denied };
        self.voice.verdict(&question.ask, answer);
    }

    /// Has a password hashed in its turn.
    fn hash(&self, hashing: Hashing) {
        if let Err(hashing) = self.hashing.push(hashing.question.address, hashing) {
            let why = "too many passwords wait to be hashed";
            self.give_up(hashing.question, why);
            self.voice.complain(Topic::Hashing, &format!("logins are put off: {why}"));
        }
    }

    /// Asks the database, where there is one.
    fn hand_on(&self, question: WorkerQuestion) {
        let Some(database) = &self.database else {
            return self.answer(question, false);
        };
        if let Err(question) = database.push(question.address, question) {
            let why = "too many logins wait for the database";
            self.give_up(question, why);
            self.voice.complain(Topic::Queue, &format!("logins are put off: {why}"));
        }
    }
}

/// Where questions come in.
struct LoginWorker {
    behind: Arc<Behind>,
    guests: bool,
    lookalikes: Lookalikes,
    accounts: Option<Followed>,
    root: Option<PasswordHash>,
    /// For what the server sends, and for the client's stanza in it.
    parsers: (Parser, Parser),
}

impl Drop for LoginWorker {
    fn drop(&mut self) {
        self.behind.hashing.close();
        if let Some(database) = &self.behind.database {
            database.close();
        }
    }
}

impl LoginWorker {
    /// Registers with the server, and starts the threads. `kept` is what the worker before this one
    /// has left.
    fn open(settings: &LoginSettings, voice: Arc<Voice>, kept: Option<&str>) -> io::Result<Self> {
        let hooks = match (settings.asks_logins(), settings.root.is_some()) {
            (true, true) => "isAuthorized isRoot",
            (true, false) => "isAuthorized",
            (false, true) => "isRoot",
            (false, false) => "",
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(HASH_THREADS_MAX);
        let database = settings.database.as_ref().map(|_| Fair::new());
        let behind = Arc::new(Behind { voice, hashing: Fair::new(), database });
        for _ in 0..threads {
            let behind = Arc::clone(&behind);
            spawn("hash", move || hash_passwords(&behind))?;
        }
        behind.voice.register(hooks);
        if let Some(database) = settings.database.clone() {
            let behind = Arc::clone(&behind);
            spawn("database", move || ask_database(&database, &behind))?;
        }
        let mut desk = Self {
            behind,
            guests: settings.guests,
            lookalikes: settings.lookalikes,
            accounts: settings.file.clone().map(|path| Followed::new(path).after(kept)),
            root: settings.root.clone(),
            parsers: (Parser::new(), Parser::new()),
        };
        desk.look_at_accounts();
        Ok(desk)
    }

    fn complain(&self, topic: Topic, text: &str) {
        self.behind.voice.complain(topic, text);
    }

    /// Reads one stanza of the server.
    fn handle(&mut self, frame: &[u8]) {
        let (mut outer, mut inner) = core::mem::take(&mut self.parsers);
        match outer.parse(frame, &OF_THE_SERVER) {
            Ok(stanza) if stanza.name() == "ask" => self.answer(&stanza, &mut inner),
            Ok(stanza) if stanza.name() == "error" => {
                let text = format!("the server refused what the worker sent: {}", stanza.inner());
                self.complain(Topic::Server, &text);
            }
            // Of all else there is nothing to be done about.
            Ok(_) => {}
            Err(_) => self.complain(Topic::Server, "the server sent what is no stanza"),
        }
        self.parsers = (outer, inner);
    }

    fn answer(&mut self, stanza: &Stanza<'_>, parser: &mut Parser) {
        let value = |name| stanza.value(name).unwrap_or_default().into_owned();
        let hook = value("hook");
        let password_name = if hook == "isRoot" { "rootpass" } else { "password" };
        let connect = parser.parse(stanza.inner().as_bytes(), &OF_THE_SERVER).ok();
        let given = connect.and_then(|connect| connect.value(password_name));
        let question = WorkerQuestion {
            ask: value("ask"),
            nick: value("nick"),
            password: Zeroizing::new(given.unwrap_or_default().into_owned()),
            // Whoever has none is asked about with all others that have none.
            address: value("address").parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            came: Instant::now(),
            denied: false,
            unknown: None,
        };
        match hook.as_str() {
            "isAuthorized" => self.is_authorized(question),
            "isRoot" => self.is_root(question),
            _ => {
                self.behind.give_up(question, "an unknown hook");
                self.complain(Topic::Server, "the server asked for an unknown hook");
            }
        }
    }

    fn is_root(&self, question: WorkerQuestion) {
        match &self.root {
            Some(hash) if hash::is_usable(&question.password) => {
                let hash = Some(hash.clone());
                self.behind.hash(Hashing { question, hash, goes_on: false });
            }
            Some(_) => self.behind.answer(question, false),
            None => self.behind.give_up(question, "root's password is not known to be a hash"),
        }
    }

    fn is_authorized(&mut self, question: WorkerQuestion) {
        if question.password.len() > PASSWORD_BYTES_MAX {
            return self.behind.answer(question, false);
        }
        self.look_at_accounts();
        let standing = self.accounts.as_ref().map(|accounts| accounts.standing(&question.nick));
        let (hash, goes_on) = match standing {
            None => return self.behind.hand_on(question),
            Some(None) => {
                let was_read = self.accounts.as_ref().is_some_and(|file| file.accounts().is_some());
                let why = if was_read {
                    "the accounts file may lack accounts"
                } else {
                    "the accounts file can't be read"
                };
                self.complain(Topic::Accounts, &format!("logins are put off: {why}"));
                // Whatever a database says, the account may be switched off.
                return self.behind.give_up(question, why);
            }
            Some(Some(NickStanding::Free)) if self.guests && self.is_imitation(&question.nick) => {
                (None, false)
            }
            Some(Some(NickStanding::Free)) if self.guests => {
                return self.behind.let_guest_in(question);
            }
            // The time it takes is not to tell who has an account.
            Some(Some(NickStanding::Free)) => (None, true),
            Some(Some(NickStanding::Nobodys)) => (None, false),
            Some(Some(NickStanding::Account(hash))) => (Some(hash), true),
        };
        if hash::is_usable(&question.password) {
            self.behind.hash(Hashing { question, hash, goes_on });
        } else if goes_on {
            self.behind.hand_on(question);
        } else {
            self.behind.answer(question, false);
        }
    }

    /// Whether a guest's nick looks like one that is not for guests, and may not.
    fn is_imitation(&self, nick: &str) -> bool {
        match self.lookalikes {
            Lookalikes::Refuse => {
                self.accounts.as_ref().is_some_and(|accounts| accounts.has_like(nick))
            }
            Lookalikes::Allow => false,
        }
    }

    /// Whatever has changed in the accounts file counts for the next question, unless it may be
    /// half of a change.
    fn look_at_accounts(&mut self) {
        let Some(accounts) = &mut self.accounts else { return };
        let voice = &self.behind.voice;
        match accounts.look() {
            Ok(Look::Same) => {}
            Ok(Look::Read) => {
                let count = accounts.accounts().map_or(0, |accounts| accounts.len());
                voice.log(LineLevel::Info, &format!("accounts read: {count}"));
                if let Some(kept) = accounts.kept() {
                    voice.keep(&kept);
                }
            }
            Ok(Look::Doubted) => voice.log(
                LineLevel::Error,
                "the accounts file may lack nicks that it had before this worker was started, as \
                 one that is being written: those that it names can log in, and nobody else until \
                 a whole file is put in its place (bring back what it lacks, then palabre passwd or \
                 mv)",
            ),
            Ok(Look::Lost(lost)) => {
                let count = accounts.accounts().map_or(0, |accounts| accounts.len());
                voice.log(
                    LineLevel::Warning,
                    &format!(
                        "accounts read: {count}; the file was written where it is and lacks {lost} \
                         nicks that it had before: nobody gets in under them until a whole file is \
                         put in its place (bring back what it should have, then palabre passwd or mv)"
                    ),
                );
            }
            Err(error) => {
                voice.log(LineLevel::Error, &error.to_string());
                voice.log(
                    LineLevel::Error,
                    if accounts.accounts().is_some() {
                        "the accounts that were read before stay in force"
                    } else {
                        "no account is known, and no guest is let in, until the file can be read"
                    },
                );
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Hashes passwords, one after the other, until the desk is closed.
fn hash_passwords(behind: &Behind) {
    while let Some(Hashing { mut question, hash, goes_on }) = behind.hashing.pop() {
        let has_account = hash.is_some();
        let checked = match hash {
            Some(hash) => hash.check(&question.password),
            None => hash::pretend(&question.password),
        };
        match checked {
            Checked::Right => {
                behind.answer(question, true);
                continue;
            }
            Checked::Wrong => question.denied |= has_account,
            Checked::NoMemory => {
                let why = "there is no memory to hash a password";
                behind.voice.complain(Topic::Memory, &format!("logins are put off: {why}"));
                question.unknown = Some(why);
            }
        }
        if goes_on {
            behind.hand_on(question);
        } else {
            behind.answer(question, false);
        }
    }
}

/// Asks the database, one question after the other, until the desk is closed. A question waits for
/// a database that is locked or gone, and no longer than for one that answers slowly.
fn ask_database(database: &Database, behind: &Behind) {
    let Some(questions) = &behind.database else { return };
    let voice = &behind.voice;
    let mut keeper = Keeper::new(|| database::connect(database));
    let mut works = true;
    match keeper.ready(Instant::now()) {
        Ok(_) => voice.log(LineLevel::Info, &format!("logins are checked in {database}")),
        Err(failure) => {
            works = false;
            voice.complain(Topic::Database, &failure.to_string());
        }
    }
    while let Some(question) = questions.pop() {
        let until = question.came + Duration::from_secs(DATABASE_REQUEST_TIME_S);
        if let Some(wait) = keeper.wait(Instant::now(), until) {
            thread::sleep(wait);
        }
        let now = Instant::now();
        let allowed = keeper.allows(&question.nick, &question.password, now, until);
        secret::wipe_stack();
        match allowed {
            Ok(allowed) => {
                if !works {
                    voice.settled(
                        Topic::Database,
                        &format!("logins are checked in {database} again"),
                    );
                }
                works = true;
                behind.answer(question, allowed);
            }
            Err(failure) => {
                works = false;
                if failure != DatabaseFailure::Pause {
                    voice.complain(Topic::Database, &failure.to_string());
                }
                behind.give_up(question, failure.why());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::HASHED;
    use super::voice::tests::Heard;
    use super::*;

    /// Whoever has no account is found out to be wrong by as many hashes as a wrong password is.
    #[test]
    fn a_password_is_hashed_whether_there_is_an_account_or_not() {
        let hash = PasswordHash::of("right").unwrap();
        for (hash, password, hashes) in
            [(Some(hash.clone()), "right", 1), (Some(hash), "wrong", 1), (None, "wrong", 1)]
        {
            let heard = Heard::default();
            let voice = Arc::new(Voice::new(heard));
            let behind = Behind { voice, hashing: Fair::new(), database: None };
            let question = WorkerQuestion {
                ask: "1".to_owned(),
                nick: "Ann".to_owned(),
                password: Zeroizing::new(password.to_owned()),
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                came: Instant::now(),
                denied: false,
                unknown: None,
            };
            behind.hash(Hashing { question, hash, goes_on: true });
            behind.hashing.close();
            let before = HASHED.get();
            hash_passwords(&behind);
            assert_eq!(HASHED.get() - before, hashes, "{password}");
        }
    }
}
