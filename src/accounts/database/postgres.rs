//! PostgreSQL, without TLS: beside the server, over a Unix socket or in a network of its own.

use std::error::Error as _;
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::types::ToSql;
use postgres::{Client, Config, Error, NoTls, Statement};

use super::{ConnectError, DatabaseConnection, DatabaseTrouble, Fate};
use crate::accounts::Database;
use crate::limits::{DATABASE_CONNECT_TIME_S, DATABASE_REQUEST_TIME_S};

struct PostgresConnection {
    client: Client,
    statement: Statement,
}

/// Connects and prepares the request.
pub(super) fn connect(database: &Database) -> Result<Box<dyn DatabaseConnection>, ConnectError> {
    let mut config = Config::new();
    config
        .host(&database.host)
        .user(&database.user)
        .password(database.password.text())
        .dbname(&database.database)
        .application_name("palabre")
        .connect_timeout(Duration::from_secs(DATABASE_CONNECT_TIME_S))
        .tcp_user_timeout(Duration::from_secs(DATABASE_REQUEST_TIME_S))
        .keepalives_idle(Duration::from_secs(DATABASE_REQUEST_TIME_S))
        .keepalives_interval(Duration::from_secs(1))
        .keepalives_retries(3)
        .options(&format!("-c statement_timeout={DATABASE_REQUEST_TIME_S}s"));
    if let Some(port) = database.port {
        config.port(port);
    }
    let told = |error: Error| ConnectError::Server { text: whole(&error), source: error.into() };
    let mut client = config.connect(NoTls).map_err(told)?;
    // Nothing of a client is in it yet, so whatever is wrong can be told.
    let statement = client.prepare(&database.request.sql).map_err(told)?;
    Ok(Box::new(PostgresConnection { client, statement }))
}

impl DatabaseConnection for PostgresConnection {
    fn has_row(
        &mut self,
        login: &str,
        password: &str,
        _: Instant,
    ) -> Result<bool, DatabaseTrouble> {
        // `$1` and `$2`; the request may be one that the server sees no use for the second in.
        let params: [&(dyn ToSql + Sync); 2] = [&login, &password];
        let rows = self.client.query_raw(&self.statement, params);
        let row = rows.and_then(|mut rows| rows.next());
        row.map(|row| row.is_some()).map_err(|error| {
            let lost = self.client.is_closed() || wants_another_connection(&error);
            DatabaseTrouble { text: code(&error), fate: if lost { Fate::Lost } else { Fate::Kept } }
        })
    }
}

/// Whether the prepared statement is of no use any more, or the server about to end.
fn wants_another_connection(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        *code == SqlState::FEATURE_NOT_SUPPORTED
            || *code == SqlState::INVALID_SQL_STATEMENT_NAME
            || *code == SqlState::ADMIN_SHUTDOWN
            || *code == SqlState::CRASH_SHUTDOWN
            || *code == SqlState::CANNOT_CONNECT_NOW
    })
}

/// An error without what it quotes.
fn code(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(error), _) if *error.code() == SqlState::QUERY_CANCELED => {
            format!("it took too long (limit {DATABASE_REQUEST_TIME_S} s)")
        }
        (Some(error), _) => format!("{} {}", error.severity(), error.code().code()),
        // What the client library says names types, not values.
        (None, _) => whole(error),
    }
}

fn whole(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} {}: {}", error.severity(), error.code().code(), error.message());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
