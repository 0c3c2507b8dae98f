//! Who may log in: a file of accounts, a database, and the worker process that asks them.
//!
//! Hashing a password takes tens of milliseconds and a database as long as it likes, so neither
//! happens in the server. The worker is this binary once more, a plugin like any other: it is asked
//! on its standard input and answers on its standard output. [`mod@file`] is the file of accounts
//! and [`hash`] what stands in it, [`request`] the configured request to a database, [`database`]
//! the connection to one, [`worker`] the process.
//!
//! File and database may be on at once: a login is allowed when either says yes. Whatever can't
//! be asked says no.

use core::fmt;
use std::path::PathBuf;

pub mod database;
pub mod file;
pub mod hash;
pub mod request;
pub mod worker;

use hash::PasswordHash;
use request::DatabaseRequest;

use crate::nick::Lookalikes;
use crate::secret::HiddenText;

/// What the configuration says about logins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginSettings {
    /// `[accounts] file`, absolute.
    pub file: Option<PathBuf>,
    /// `[accounts] guests`: nicks that have no account in the file may log in.
    pub guests: bool,
    /// `[rooms] lookalikes`: whether a guest's nick may look like that of an account.
    pub lookalikes: Lookalikes,
    /// `[database]`, when logins are checked in one.
    pub database: Option<Database>,
    /// `[admin] password`, when it is a hash.
    pub root: Option<PasswordHash>,
}

impl LoginSettings {
    /// Whether each login has to be asked about.
    #[must_use]
    pub const fn asks_logins(&self) -> bool {
        self.file.is_some() || self.database.is_some()
    }

    /// Whether there is anything that the worker is needed for.
    #[must_use]
    pub const fn needs_worker(&self) -> bool {
        self.asks_logins() || self.root.is_some()
    }
}

/// A database, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `dbType`.
    pub kind: DatabaseKind,
    /// `dbHost` without its port: a name or an address; what begins with `/` is where a Unix
    /// socket is, for PostgreSQL its directory, for MySQL the socket itself.
    pub host: String,
    /// The port of `dbHost`; `None` for the usual one.
    pub port: Option<u16>,
    /// `dbUser`.
    pub user: String,
    /// `dbPassword`.
    pub password: HiddenText,
    /// `dbDatabase`: a name; for SQLite the file, absolute.
    pub database: String,
    /// `dbRequest`.
    pub request: DatabaseRequest,
}

/// For the log: which database this is.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, host, database, .. } = self;
        match kind {
            DatabaseKind::Sqlite => write!(f, "{kind} {database:?}"),
            DatabaseKind::Postgres | DatabaseKind::Mysql => {
                write!(f, "{kind} {database:?} on {host:?}")
            }
        }
    }
}

/// What `[database] dbType` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// `sqlite`.
    Sqlite,
    /// `postgres`.
    Postgres,
    /// `mysql`, and MariaDB.
    Mysql,
}

impl DatabaseKind {
    /// Each with the name that it is shown by and its other names.
    const NAMES: [(Self, &[&str]); 3] = [
        (Self::Sqlite, &["sqlite", "sqlite3"]),
        (Self::Postgres, &["postgres", "postgresql", "pgsql"]),
        (Self::Mysql, &["mysql", "mysqli", "mariadb"]),
    ];

    /// The kind of this name, in any case; whether it is built in or not.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let same = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        Self::NAMES.iter().find(|(_, names)| same(names)).map(|(kind, _)| *kind)
    }

    /// Its name, which is that of its Cargo feature as well.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, names)| names[0])
    }

    /// Whether this binary can ask it.
    #[must_use]
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Sqlite => cfg!(feature = "sqlite"),
            Self::Postgres => cfg!(feature = "postgres"),
            Self::Mysql => cfg!(feature = "mysql"),
        }
    }

    /// Those that this binary can ask.
    pub fn built_in() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().map(|(kind, _)| kind).filter(|kind| kind.is_built_in())
    }
}

impl fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
