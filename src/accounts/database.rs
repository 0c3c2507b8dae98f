//! One connection to the configured database: kept, made anew when it is lost, and not tried
//! again too soon when it can't be.
//!
//! Nobody may log in through a database that does not answer: that is no no, nobody knows. What a
//! database says of a request with a client's values in it may repeat these values, so only its
//! codes are told.

use core::fmt;
use std::error::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Database, DatabaseKind};
use crate::limits::{
    DATABASE_PAUSE_MAX_S, DATABASE_PAUSE_S, DATABASE_PROOF_TIME_S, DATABASE_REQUEST_TIME_S,
};

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

/// A connection on which the request has been prepared.
pub trait DatabaseConnection {
    /// Whether the request has a row for this nick and password. What is in its way is waited for
    /// until then, where that can be done.
    ///
    /// # Errors
    /// What went wrong; no value of a client is in it.
    fn has_row(
        &mut self,
        login: &str,
        password: &str,
        until: Instant,
    ) -> Result<bool, DatabaseTrouble>;
}

/// Why there is no connection to a database. Neither its password nor a value of a client is in it.
#[derive(Debug)]
pub enum ConnectError {
    /// This program can't ask databases of this kind.
    NotBuiltIn(DatabaseKind),
    /// The file of SQLite is no file, or can't be opened.
    File {
        /// The file.
        path: PathBuf,
        /// What the system or the library says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The database says no, or does not answer.
    Server {
        /// All that is told of it.
        text: String,
        /// What the library says.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn(kind) => write!(f, "this palabre has no {kind} in it"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Server { text, .. } => f.write_str(text),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotBuiltIn(_) => None,
            Self::File { source, .. } | Self::Server { source, .. } => Some(&**source),
        }
    }
}

/// What went wrong on a connection. Its text names no value of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseTrouble {
    /// What the database or the system says.
    pub text: String,
    /// What has become of the connection.
    pub fate: Fate,
}

/// What becomes of a connection after a [`DatabaseTrouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It can be asked again.
    Kept,
    /// It is of no use any more; another could do better at once.
    Lost,
    /// It is of no use any more, and another would be stuck as well.
    Stuck,
}

/// Connects to a database and prepares its request there.
///
/// # Errors
/// Why that is not possible; the password of the database is not in it.
pub fn connect(database: &Database) -> Result<Box<dyn DatabaseConnection>, ConnectError> {
    match database.kind {
        #[cfg(feature = "sqlite")]
        DatabaseKind::Sqlite => sqlite::connect(database),
        #[cfg(not(feature = "sqlite"))]
        kind @ DatabaseKind::Sqlite => Err(ConnectError::NotBuiltIn(kind)),
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => postgres::connect(database),
        #[cfg(not(feature = "postgres"))]
        kind @ DatabaseKind::Postgres => Err(ConnectError::NotBuiltIn(kind)),
        #[cfg(feature = "mysql")]
        DatabaseKind::Mysql => mysql::connect(database),
        #[cfg(not(feature = "mysql"))]
        kind @ DatabaseKind::Mysql => Err(ConnectError::NotBuiltIn(kind)),
    }
}

/// Why a database can't say who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseRefusal {
    /// It can't be reached, or can't do what it is asked.
    Down(String),
    /// It lets everybody in.
    Open,
}

/// Looks whether a database can be asked who may log in: somebody whom nobody knows may not.
///
/// # Errors
/// Why it can't.
pub fn look(database: &Database) -> Result<(), DatabaseRefusal> {
    let mut connection =
        connect(database).map_err(|error| DatabaseRefusal::Down(error.to_string()))?;
    let until = Instant::now() + Duration::from_secs(DATABASE_REQUEST_TIME_S);
    match knows_a_stranger(connection.as_mut(), until) {
        Ok(false) => Ok(()),
        Ok(true) => Err(DatabaseRefusal::Open),
        Err(trouble) => Err(DatabaseRefusal::Down(trouble.text)),
    }
}

/// Whether the request has a row for a nick and a password that nobody has: one that counts, that
/// ends in `OR 1` or that joins to the left has a row whoever asks.
fn knows_a_stranger(
    connection: &mut dyn DatabaseConnection,
    until: Instant,
) -> Result<bool, DatabaseTrouble> {
    let random = || RandomState::new().hash_one(0_u8);
    let login = format!("stranger-{:016x}", random());
    let password = format!("{:016x}{:016x}", random(), random());
    connection.has_row(&login, &password, until)
}

/// Why a database gives no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseFailure {
    /// It can't be reached.
    Down(String),
    /// It could not be reached, and is not tried again yet.
    Pause,
    /// It was reached and could not do what was asked.
    Request(String),
    /// It lets everybody in, so nobody gets in by it.
    Open,
}

impl fmt::Display for DatabaseFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(text) => write!(f, "can't reach the database: {text}"),
            Self::Pause => f.write_str("the database is not tried again yet"),
            Self::Request(text) => write!(f, "the database can't do [database] dbRequest: {text}"),
            Self::Open => f.write_str(
                "[database] dbRequest has a row for a nick and a password that nobody has: \
                 everybody would get in, so nobody does",
            ),
        }
    }
}

impl Error for DatabaseFailure {}

impl DatabaseFailure {
    /// The same in a few words, without what the database says.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Down(_) | Self::Pause => "the database can't be reached",
            Self::Request(_) => "the database can't do what it is asked",
            Self::Open => "the database would let everybody in",
        }
    }
}

/// A kept connection; `Connect` makes one.
pub struct Keeper<Connect> {
    connect: Connect,
    connection: Option<Box<dyn DatabaseConnection>>,
    /// When it last had no row for a stranger.
    proven_at: Option<Instant>,
    /// No attempt before.
    next_try: Option<Instant>,
    /// How long the next pause is.
    pause_s: u64,
}

impl<Connect> fmt::Debug for Keeper<Connect> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("connected", &self.connection.is_some())
            .field("next_try", &self.next_try)
            .field("pause_s", &self.pause_s)
            .finish_non_exhaustive()
    }
}

impl<E: Error, Connect: FnMut() -> Result<Box<dyn DatabaseConnection>, E>> Keeper<Connect> {
    /// A keeper that has not connected yet.
    pub const fn new(connect: Connect) -> Self {
        Self {
            connect,
            connection: None,
            proven_at: None,
            next_try: None,
            pause_s: DATABASE_PAUSE_S,
        }
    }

    /// Connects when there is no connection and it is time.
    ///
    /// # Errors
    /// Why there is none.
    pub fn ready(&mut self, now: Instant) -> Result<&mut dyn DatabaseConnection, DatabaseFailure> {
        if self.connection.is_none() {
            if self.next_try.is_some_and(|next_try| now < next_try) {
                return Err(DatabaseFailure::Pause);
            }
            match (self.connect)() {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => return Err(self.pause(error.to_string(), now)),
            }
        }
        match &mut self.connection {
            Some(connection) => Ok(connection.as_mut()),
            None => Err(DatabaseFailure::Pause),
        }
    }

    /// How long to wait for the next attempt to connect, where it is worth it: a question that has
    /// time until then would be answered.
    #[must_use]
    pub fn wait(&self, now: Instant, until: Instant) -> Option<Duration> {
        let next_try = self.next_try.filter(|_| self.connection.is_none())?;
        (now < next_try && next_try < until).then(|| next_try - now)
    }

    /// Whether a login is allowed: whether the request has a row, and none for a stranger. A
    /// connection that was lost since it was last used, as an idle one is by and by, is made anew
    /// at once, and asked once more.
    ///
    /// # Errors
    /// Why it can't be asked; then nobody knows.
    pub fn allows(
        &mut self,
        login: &str,
        password: &str,
        now: Instant,
        until: Instant,
    ) -> Result<bool, DatabaseFailure> {
        let kept = self.connection.is_some();
        let mut answer = self.ready(now)?.has_row(login, password, until);
        if kept && answer.as_ref().is_err_and(|trouble| trouble.fate == Fate::Lost) {
            self.connection = None;
            self.proven_at = None;
            answer = self.ready(now)?.has_row(login, password, until);
        }
        let proof_time = Duration::from_secs(DATABASE_PROOF_TIME_S);
        let is_proven = self.proven_at.is_some_and(|at| now.duration_since(at) < proof_time);
        if answer == Ok(true) && !is_proven {
            match knows_a_stranger(self.ready(now)?, until) {
                Ok(true) => return Err(DatabaseFailure::Open),
                Ok(false) => self.proven_at = Some(now),
                Err(trouble) => answer = Err(trouble),
            }
        }
        match answer {
            Ok(allowed) => {
                self.next_try = None;
                self.pause_s = DATABASE_PAUSE_S;
                Ok(allowed)
            }
            Err(DatabaseTrouble { text, fate: Fate::Kept }) => Err(DatabaseFailure::Request(text)),
            Err(DatabaseTrouble { text, fate: Fate::Lost | Fate::Stuck }) => {
                Err(self.pause(text, now))
            }
        }
    }

    fn pause(&mut self, text: String, now: Instant) -> DatabaseFailure {
        self.connection = None;
        self.proven_at = None;
        self.next_try = Some(now + Duration::from_secs(self.pause_s));
        self.pause_s = (2 * self.pause_s).min(DATABASE_PAUSE_MAX_S);
        DatabaseFailure::Down(text)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::rc::Rc;

    use super::*;

    /// A database that does what the script says, step by step.
    #[derive(Clone)]
    struct Scripted(Rc<Cell<&'static [&'static str]>>);

    impl Scripted {
        fn next(&self) -> &'static str {
            let (next, rest) = self.0.get().split_first().expect("the script goes on");
            self.0.set(rest);
            next
        }
    }

    impl DatabaseConnection for Scripted {
        fn has_row(&mut self, _: &str, _: &str, _: Instant) -> Result<bool, DatabaseTrouble> {
            match self.next() {
                "row" => Ok(true),
                "none" => Ok(false),
                "lost" => Err(DatabaseTrouble { text: "lost".to_owned(), fate: Fate::Lost }),
                "stuck" => Err(DatabaseTrouble { text: "stuck".to_owned(), fate: Fate::Stuck }),
                text => Err(DatabaseTrouble { text: text.to_owned(), fate: Fate::Kept }),
            }
        }
    }

    /// What the keeper answers at these seconds; the script must be used up.
    fn answers(
        script: &'static [&'static str],
        seconds: &[u64],
    ) -> Vec<Result<bool, DatabaseFailure>> {
        let script = Scripted(Rc::new(Cell::new(script)));
        let connecting = script.clone();
        let mut keeper = Keeper::new(move || match connecting.next() {
            "connects" => Ok(Box::new(connecting.clone()) as Box<dyn DatabaseConnection>),
            text => Err(io::Error::other(text)),
        });
        let start = Instant::now();
        let answers = seconds
            .iter()
            .map(|second| {
                let now = start + Duration::from_secs(*second);
                keeper.allows("Ann", "secret", now, now)
            })
            .collect();
        assert_eq!(script.0.get(), [""; 0], "steps are left over");
        answers
    }

    fn down(text: &str) -> Result<bool, DatabaseFailure> {
        Err(DatabaseFailure::Down(text.to_owned()))
    }

    #[test]
    fn one_connection_is_kept() {
        let seen = answers(&["connects", "row", "none", "none", "row"], &[0, 0, 9]);
        assert_eq!(seen, [Ok(true), Ok(false), Ok(true)]);
    }

    #[test]
    fn nobody_gets_in_by_a_request_that_knows_a_stranger() {
        let open = || Err(DatabaseFailure::Open);
        let seen = answers(&["connects", "row", "row", "none", "row", "row"], &[0, 0, 0]);
        assert_eq!(seen, [open(), Ok(false), open()]);
        // What stands in the database may change, so it is looked again by and by, and on each
        // connection.
        let later = DATABASE_PROOF_TIME_S;
        let script = &["connects", "row", "none", "row", "row", "row", "row", "none", "row"];
        let seen = answers(script, &[0, later - 1, later, later, later]);
        assert_eq!(seen, [Ok(true), Ok(true), open(), Ok(true), Ok(true)]);
        let script = &["connects", "row", "none", "lost", "connects", "row", "row"];
        assert_eq!(answers(script, &[0, 0]), [Ok(true), open()]);
        let script = &["connects", "row", "wrong", "row", "lost"];
        let seen = answers(script, &[0, 0]);
        assert_eq!(seen, [Err(DatabaseFailure::Request("wrong".to_owned())), down("lost")]);
    }

    #[test]
    fn a_connection_lost_while_idle_costs_nobody_a_login() {
        let script = &["connects", "row", "none", "lost", "connects", "row", "none"];
        let seen = answers(script, &[0, 1]);
        assert_eq!(seen, [Ok(true), Ok(true)]);
    }

    #[test]
    fn a_database_that_is_down_says_nothing_and_is_tried_again_with_growing_pauses() {
        let seen = answers(
            &[
                "connects", "row", "none", "lost", "refused", "refused", "refused", "connects",
                "row", "none", "lost", "gone",
            ],
            &[0, 0, 0, 1, 1, 2, 3, 6, 7, 7],
        );
        let pause = || Err(DatabaseFailure::Pause);
        let expected = [
            Ok(true),
            down("refused"),
            pause(),
            down("refused"),
            pause(),
            pause(),
            down("refused"),
            pause(),
            Ok(true),
            down("gone"),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_request_that_hangs_is_not_made_a_second_time() {
        let seen = answers(
            &["connects", "row", "none", "stuck", "connects", "row", "none"],
            &[0, 1, 1, 2],
        );
        assert_eq!(seen, [Ok(true), down("stuck"), Err(DatabaseFailure::Pause), Ok(true)]);
    }

    #[test]
    fn pauses_grow_to_their_longest_and_shrink_when_it_answers() {
        let tries = [0, 1, 3, 7, 12, 17];
        assert_eq!(answers(&["refused"; 6], &tries).len(), 6);
        let seen = answers(&["refused", "connects", "lost", "connects", "lost"], &[0, 1, 3]);
        assert_eq!(seen, [down("refused"), down("lost"), down("lost")]);
        let script = &["refused", "connects", "row", "none", "lost", "refused", "refused"];
        let seen = answers(script, &[0, 1, 2, 3]);
        assert_eq!(seen, [down("refused"), Ok(true), down("refused"), down("refused")]);
    }

    #[test]
    fn a_question_waits_for_the_next_attempt_when_it_has_the_time() {
        let mut keeper = Keeper::new(|| Err(io::Error::other("refused")));
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(keeper.wait(start, start + 4 * second), None, "it can be tried at once");
        assert!(keeper.ready(start).is_err());
        assert_eq!(keeper.wait(start, start + 4 * second), Some(second));
        assert_eq!(keeper.wait(start + second / 2, start + 2 * second), Some(second / 2));
        assert_eq!(keeper.wait(start, start + second), None, "it would come too late");
        assert_eq!(keeper.wait(start + second, start + 4 * second), None);
    }

    #[test]
    fn a_request_that_fails_does_not_cost_the_connection() {
        let seen = answers(&["connects", "wrong", "row", "none"], &[0, 0]);
        assert_eq!(seen, [Err(DatabaseFailure::Request("wrong".to_owned())), Ok(true)]);
    }
}
