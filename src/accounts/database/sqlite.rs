//! SQLite: a file, opened for reading only.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection as Sqlite, Error, ErrorCode, OpenFlags};

use super::{ConnectError, DatabaseConnection, DatabaseTrouble, Fate};
use crate::accounts::Database;
use crate::files;
use crate::limits::DATABASE_REQUEST_TIME_S;

/// How many steps of its machine are made between two looks at the clock: some microseconds'
/// worth.
const STEPS: i32 = 1_000;

struct SqliteConnection {
    sqlite: Sqlite,
    sql: String,
    path: PathBuf,
    /// Device and number of the file that is open.
    file: Option<(u64, u64)>,
    /// When the present request has taken too long.
    deadline: Arc<Mutex<Option<Instant>>>,
}

/// Opens the file and looks whether the request can be made.
pub(super) fn connect(database: &Database) -> Result<Box<dyn DatabaseConnection>, ConnectError> {
    let path = PathBuf::from(&database.database);
    let told = |source: Box<dyn std::error::Error + Send + Sync>| ConnectError::File {
        path: path.clone(),
        source,
    };
    let refused = |error: Error| told(error.into());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = file_at(&path);
    // SQLite would wait for somebody to write to a FIFO; what is not there it says itself.
    if let Ok(metadata) = fs::metadata(&path) {
        files::check(metadata.file_type()).map_err(|error| told(error.into()))?;
    }
    let mut sqlite = Sqlite::open_with_flags(&path, flags).map_err(refused)?;
    // A login that wants to know whether a file can be asked waits as long as one that asks it.
    sqlite.busy_timeout(Duration::from_secs(DATABASE_REQUEST_TIME_S)).map_err(refused)?;
    let deadline = Arc::new(Mutex::new(None::<Instant>));
    let own = Arc::clone(&deadline);
    let is_late = move || {
        let deadline = *own.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    };
    sqlite.progress_handler(STEPS, Some(is_late)).map_err(refused)?;
    let sql = database.request.sql.clone();
    sqlite.prepare(&sql).map_err(refused)?;
    Ok(Box::new(SqliteConnection { sqlite, sql, path, file, deadline }))
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl SqliteConnection {
    fn ask(&self, login: &str, password: &str) -> Result<bool, Error> {
        self.sqlite.prepare(&self.sql)?.exists([login, password])
    }
}

impl DatabaseConnection for SqliteConnection {
    fn has_row(
        &mut self,
        login: &str,
        password: &str,
        until: Instant,
    ) -> Result<bool, DatabaseTrouble> {
        if file_at(&self.path) != self.file {
            let text = format!("{}: it is another file now", self.path.display());
            return Err(DatabaseTrouble { text, fate: Fate::Lost });
        }
        let set = |deadline| {
            *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        };
        let now = Instant::now();
        set(Some(now + Duration::from_secs(DATABASE_REQUEST_TIME_S)));
        // Whoever writes to it is soon done, as a rule.
        let answer = self
            .sqlite
            .busy_timeout(until.saturating_duration_since(now))
            .and_then(|()| self.ask(login, password));
        set(None);
        answer.map_err(|error| DatabaseTrouble {
            text: format!("{}: {}", self.path.display(), code(&error)),
            fate: Fate::Kept,
        })
    }
}

/// An error without what it quotes.
fn code(error: &Error) -> String {
    match error.sqlite_error() {
        Some(error) if error.code == ErrorCode::OperationInterrupted => {
            format!("it took too long (limit {DATABASE_REQUEST_TIME_S} s)")
        }
        Some(error) if error.code == ErrorCode::DatabaseBusy => {
            format!("it was locked all the time (limit {DATABASE_REQUEST_TIME_S} s)")
        }
        Some(error) => format!("{error}"),
        None => "it gave something unexpected".to_owned(),
    }
}
