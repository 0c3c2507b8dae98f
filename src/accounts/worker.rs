//! The worker: the process that says who may log in.
//!
//! It speaks the protocol of plugins (version 1) on its standard input and output. It registers
//! `isAuthorized` when there are accounts or a database, and `isRoot`, which is for it alone,
//! when root's password is a hash; then it answers each `<ask>` with a `<verdict>`. Passwords are
//! hashed by a few threads and the database is asked by one; what waits for them is bounded, and
//! what has waited so long that nobody wants the answer any more is not done. Its log goes to the
//! server, and never a password in it.

use core::fmt;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::database::{self, Failure, Keeper};
use super::file::Followed;
use super::hash::{self, PasswordHash};
use super::{Database, Settings};
use crate::limits::{
    ASK_TIME_S, DATABASE_QUEUE, HASH_QUEUE_PER_THREAD, HASH_THREADS_MAX, Limits,
    PASSWORD_BYTES_MAX, READ_BYTES_PER_TURN,
};
use crate::wire::framer::Framer;
use crate::wire::stanza::{Parser, Stanza};

mod voice;

use voice::{Level, Topic, Voice};

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

/// Answers what comes in on `input` until it ends. `limits` are the server's: they say how large
/// what it sends can be.
///
/// # Errors
/// Why it can't go on.
pub fn run(
    settings: &Settings,
    limits: &Limits,
    mut input: impl Read,
    output: impl Write + Send + 'static,
) -> Result<(), Error> {
    let voice = Arc::new(Voice::new(output));
    // A nick and a few short attributes around a client's stanza, with everything escaped.
    let frame_bytes_max = limits.stanza_bytes_max + 6 * limits.nick_bytes_max + 1_024;
    let mut desk: Option<Desk> = None;
    let mut framer = Framer::new();
    let mut chunk = vec![0; READ_BYTES_PER_TURN];
    loop {
        let length = match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let mut cut = framer.cut(&chunk[..length], frame_bytes_max);
        while let Some(frame) = cut.next_frame().map_err(|_| Error::TooLarge)? {
            match &mut desk {
                Some(desk) => desk.handle(frame),
                None => {
                    check_greeting(frame, limits)?;
                    desk = Some(Desk::open(settings, limits, Arc::clone(&voice))?);
                }
            }
        }
    }
}

fn check_greeting(frame: &[u8], limits: &Limits) -> Result<(), Error> {
    let mut parser = Parser::new();
    let stanza = parser.parse(frame, limits).map_err(|_| Error::Greeting)?;
    let plugins = stanza.value("plugins");
    if stanza.name() == "palabre" && plugins.as_deref() == Some(PROTOCOL) {
        Ok(())
    } else {
        Err(Error::Greeting)
    }
}

/// A question of the server, as far as it concerns anybody behind the desk.
struct Question {
    /// What the answer has to carry.
    ask: String,
    nick: String,
    password: String,
    came: Instant,
}

impl Question {
    /// Whether nobody waits for the answer any more.
    fn is_late(&self) -> bool {
        self.came.elapsed() >= Duration::from_secs(ASK_TIME_S)
    }
}

/// A password to be hashed.
struct Hashing {
    question: Question,
    /// What it is compared with; `None` when there is no account and the time is to pass.
    hash: Option<PasswordHash>,
    /// Who is asked when it is wrong.
    then: Option<SyncSender<Question>>,
}

/// Where questions come in.
struct Desk {
    voice: Arc<Voice>,
    guests: bool,
    accounts: Option<Followed>,
    root: Option<PasswordHash>,
    hashing: SyncSender<Hashing>,
    database: Option<SyncSender<Question>>,
    limits: Limits,
    /// For what the server sends, and for the client's stanza in it.
    parsers: (Parser, Parser),
}

impl Desk {
    /// Registers with the server, and starts the threads.
    fn open(settings: &Settings, limits: &Limits, voice: Arc<Voice>) -> io::Result<Self> {
        let hooks = match (settings.asks_logins(), settings.root.is_some()) {
            (true, true) => "isAuthorized isRoot",
            (true, false) => "isAuthorized",
            (false, true) => "isRoot",
            (false, false) => "",
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(HASH_THREADS_MAX);
        let (hashing, passwords) = sync_channel(threads * HASH_QUEUE_PER_THREAD);
        let passwords = Arc::new(Mutex::new(passwords));
        for _ in 0..threads {
            let (passwords, voice) = (Arc::clone(&passwords), Arc::clone(&voice));
            spawn("hash", move || hash_passwords(&passwords, &voice))?;
        }
        voice.register(hooks);
        let database = match settings.database.clone() {
            Some(database) => {
                let (sender, questions) = sync_channel(DATABASE_QUEUE);
                let voice = Arc::clone(&voice);
                spawn("database", move || ask_database(&database, &questions, &voice))?;
                Some(sender)
            }
            None => None,
        };
        let mut limits = limits.clone();
        // The client's stanza has one more element around it.
        limits.depth_max += usize::from(limits.depth_max != 0);
        let mut desk = Self {
            voice,
            guests: settings.guests,
            accounts: settings.file.clone().map(Followed::new),
            root: settings.root.clone(),
            hashing,
            database,
            limits,
            parsers: (Parser::new(), Parser::new()),
        };
        desk.look_at_accounts();
        Ok(desk)
    }

    /// Reads one stanza of the server.
    fn handle(&mut self, frame: &[u8]) {
        let (mut outer, mut inner) = core::mem::take(&mut self.parsers);
        match outer.parse(frame, &self.limits) {
            Ok(stanza) if stanza.name() == "ask" => self.answer(&stanza, &mut inner),
            Ok(stanza) if stanza.name() == "error" => {
                let text = format!("the server refused what the worker sent: {}", stanza.inner());
                self.voice.complain(Topic::Server, &text);
            }
            // Of all else there is nothing to be done about.
            Ok(_) => {}
            Err(_) => self.voice.complain(Topic::Server, "the server sent what is no stanza"),
        }
        self.parsers = (outer, inner);
    }

    fn answer(&mut self, stanza: &Stanza<'_>, parser: &mut Parser) {
        let value = |name| stanza.value(name).unwrap_or_default().into_owned();
        let hook = value("hook");
        let password_name = if hook == "isRoot" { "rootpass" } else { "password" };
        let password = parser
            .parse(stanza.inner().as_bytes(), &self.limits)
            .ok()
            .and_then(|connect| connect.value(password_name).map(|value| value.into_owned()));
        let question = Question {
            ask: value("ask"),
            nick: value("nick"),
            password: password.unwrap_or_default(),
            came: Instant::now(),
        };
        match hook.as_str() {
            "isAuthorized" => self.is_authorized(question),
            "isRoot" => self.is_root(question),
            _ => {
                self.voice.verdict(&question.ask, false);
                self.voice.complain(Topic::Server, "the server asked for an unknown hook");
            }
        }
    }

    fn is_root(&self, question: Question) {
        match &self.root {
            Some(hash) if hash::is_usable(&question.password) => {
                self.hash(Hashing { question, hash: Some(hash.clone()), then: None });
            }
            Some(_) | None => self.voice.verdict(&question.ask, false),
        }
    }

    fn is_authorized(&mut self, question: Question) {
        if question.password.len() > PASSWORD_BYTES_MAX {
            return self.voice.verdict(&question.ask, false);
        }
        self.look_at_accounts();
        let accounts = self.accounts.as_ref().and_then(Followed::accounts);
        let hash = accounts.map(|accounts| accounts.hash_of(&question.nick));
        match hash {
            Some(None) if self.guests => self.voice.verdict(&question.ask, true),
            Some(hash) if hash::is_usable(&question.password) => {
                self.hash(Hashing { question, hash, then: self.database.clone() });
            }
            Some(_) | None => hand_on(question, self.database.as_ref(), &self.voice),
        }
    }

    /// Whatever has changed in the accounts file counts for the next question.
    fn look_at_accounts(&mut self) {
        let Some(accounts) = &mut self.accounts else { return };
        match accounts.look() {
            Ok(false) => {}
            Ok(true) => {
                let count = accounts.accounts().map_or(0, |accounts| accounts.len());
                self.voice.log(Level::Info, &format!("accounts read: {count}"));
            }
            Err(error) => {
                for line in error.to_string().lines() {
                    self.voice.log(Level::Error, line);
                }
                let in_force = accounts.accounts().is_some();
                self.voice.log(
                    Level::Error,
                    if in_force {
                        "the accounts were not read again, the old ones stay in force"
                    } else {
                        "no account is known, and no guest is let in, until the file can be read"
                    },
                );
            }
        }
    }

    fn hash(&self, hashing: Hashing) {
        if let Err(TrySendError::Full(hashing) | TrySendError::Disconnected(hashing)) =
            self.hashing.try_send(hashing)
        {
            self.voice.verdict(&hashing.question.ask, false);
            self.voice.complain(Topic::Hashing, "logins are refused: too many at once to hash");
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Asks the database, where there is one.
fn hand_on(question: Question, database: Option<&SyncSender<Question>>, voice: &Voice) {
    let Some(database) = database else {
        return voice.verdict(&question.ask, false);
    };
    if let Err(TrySendError::Full(question) | TrySendError::Disconnected(question)) =
        database.try_send(question)
    {
        voice.verdict(&question.ask, false);
        voice.complain(Topic::Queue, "logins are refused: too many at once for the database");
    }
}

/// Hashes passwords, one after the other, until the desk is closed.
fn hash_passwords(passwords: &Mutex<Receiver<Hashing>>, voice: &Voice) {
    loop {
        let next = passwords.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Hashing { question, hash, then }) = next else { return };
        if question.is_late() {
            refuse_late(&question, voice);
            continue;
        }
        let right = match hash {
            Some(hash) => hash.is_of(&question.password),
            None => {
                hash::pretend(&question.password);
                false
            }
        };
        if right {
            voice.verdict(&question.ask, true);
        } else {
            hand_on(question, then.as_ref(), voice);
        }
    }
}

fn refuse_late(question: &Question, voice: &Voice) {
    voice.verdict(&question.ask, false);
    voice.complain(Topic::Late, "logins are refused: they have waited too long for their turn");
}

/// Asks the database, one question after the other, until the desk is closed.
fn ask_database(database: &Database, questions: &Receiver<Question>, voice: &Voice) {
    let mut keeper = Keeper::new(|| database::connect(database));
    let mut works = true;
    match keeper.ready(Instant::now()) {
        Ok(_) => voice.log(Level::Info, &format!("logins are checked in {database}")),
        Err(failure) => {
            works = false;
            voice.complain(Topic::Database, &failure.to_string());
        }
    }
    for question in questions {
        if question.is_late() {
            refuse_late(&question, voice);
            continue;
        }
        let allowed = match keeper.allows(&question.nick, &question.password, Instant::now()) {
            Ok(allowed) => {
                if !works {
                    voice.settled(
                        Topic::Database,
                        &format!("logins are checked in {database} again"),
                    );
                }
                works = true;
                allowed
            }
            Err(failure) => {
                works = false;
                if failure != Failure::Pause {
                    voice.complain(Topic::Database, &failure.to_string());
                }
                false
            }
        };
        voice.verdict(&question.ask, allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voice::tests::heard;

    fn question(ask: &str, age: Duration) -> Question {
        Question {
            ask: ask.to_owned(),
            nick: "Ann".to_owned(),
            password: "hunter2".to_owned(),
            came: Instant::now().checked_sub(age).expect("the clock has run that long"),
        }
    }

    #[test]
    fn nothing_is_hashed_that_nobody_waits_for_any_more() {
        let said = heard(|voice| {
            let (sender, passwords) = sync_channel(2);
            let hash = PasswordHash::of("hunter2").ok();
            for (ask, age) in [("1", ASK_TIME_S), ("2", 0)] {
                let question = question(ask, Duration::from_secs(age));
                assert!(sender.send(Hashing { question, hash: hash.clone(), then: None }).is_ok());
            }
            drop(sender);
            hash_passwords(&Mutex::new(passwords), voice);
        });
        let expected = [
            "<verdict ask='1' allowed='0' />",
            "<log level='warning'>logins are refused: they have waited too long for their turn</log>",
            "<verdict ask='2' allowed='1' />",
        ];
        assert_eq!(said, expected);
    }
}
