//! MySQL and MariaDB, without TLS: beside the server, over a Unix socket or in a network of its
//! own.

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use mysql::{Conn, Error, OptsBuilder, Params, Statement, Value};

use super::{ConnectError, DatabaseConnection, DatabaseTrouble, Fate};
use crate::accounts::Database;
use crate::accounts::request::Placeholder;
use crate::limits::{DATABASE_CONNECT_TIME_S, DATABASE_REQUEST_TIME_S};

/// Errors of the server after which another connection may do better: it is shutting down, the
/// statement is not known or has to be prepared anew, it was killed.
const PASSING: [u16; 4] = [1053, 1243, 1615, 1927];

struct MysqlConnection {
    connection: Conn,
    statement: Statement,
    places: Vec<Placeholder>,
}

/// Connects and prepares the request.
pub(super) fn connect(database: &Database) -> Result<Box<dyn DatabaseConnection>, ConnectError> {
    let socket = database.host.starts_with('/');
    let request_time = Some(Duration::from_secs(DATABASE_REQUEST_TIME_S));
    let options = OptsBuilder::new()
        .ip_or_hostname((!socket).then_some(&*database.host))
        .socket(socket.then_some(&*database.host))
        .prefer_socket(false)
        .tcp_port(database.port.unwrap_or(3306))
        .user(Some(&*database.user))
        .pass(Some(database.password.text()))
        .db_name(Some(&*database.database))
        .tcp_connect_timeout(Some(Duration::from_secs(DATABASE_CONNECT_TIME_S)))
        .read_timeout(request_time)
        .write_timeout(request_time);
    let told =
        |error: Error| ConnectError::Server { text: error.to_string(), source: error.into() };
    let mut connection = Conn::new(options).map_err(told)?;
    // Nothing of a client is in it yet, so whatever is wrong can be told.
    let statement = connection.prep(&database.request.sql).map_err(told)?;
    Ok(Box::new(MysqlConnection { connection, statement, places: database.request.places.clone() }))
}

impl DatabaseConnection for MysqlConnection {
    fn has_row(
        &mut self,
        login: &str,
        password: &str,
        _: Instant,
    ) -> Result<bool, DatabaseTrouble> {
        let value = |place: &Placeholder| {
            Value::from(match place {
                Placeholder::Login => login,
                Placeholder::Password => password,
            })
        };
        let params = Params::Positional(self.places.iter().map(value).collect());
        let mut rows = self.connection.exec_iter(&self.statement, params).map_err(trouble)?;
        let row = rows.next().transpose().map_err(trouble)?;
        Ok(row.is_some())
    }
}

/// An error without what it quotes.
fn trouble(error: Error) -> DatabaseTrouble {
    let (text, fate) = match &error {
        Error::MySqlError(error) => {
            let fate = if PASSING.contains(&error.code) { Fate::Lost } else { Fate::Kept };
            (format!("ERROR {} ({})", error.code, error.state), fate)
        }
        Error::IoError(error) => system(error),
        Error::CodecError(error) => {
            let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
            // What the client library itself says names types, not values.
            source.map_or_else(|| (error.to_string(), Fate::Lost), system)
        }
        Error::DriverError(error) => (error.to_string(), Fate::Lost),
        Error::UrlError(_) | Error::FromValueError(_) | Error::FromRowError(_) => {
            ("it gave something unexpected".to_owned(), Fate::Lost)
        }
    };
    DatabaseTrouble { text, fate }
}

fn system(error: &io::Error) -> (String, Fate) {
    // The end of `read_timeout` comes as either.
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        return (format!("it took too long (limit {DATABASE_REQUEST_TIME_S} s)"), Fate::Stuck);
    }
    (error.to_string(), Fate::Lost)
}
