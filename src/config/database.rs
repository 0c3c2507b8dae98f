//! `[database]`: the old server's keys → what the worker needs to ask one.

use std::path::Path;

use super::keys::Values;
use crate::accounts::request::Request;
use crate::accounts::{Database, DatabaseKind};

/// What is wrong with a key of `[database]`.
pub(super) struct Fault {
    pub(super) key: &'static str,
    pub(super) found: String,
    pub(super) needs: String,
}

fn fault(key: &'static str, found: impl Into<String>, needs: impl Into<String>) -> Fault {
    Fault { key, found: found.into(), needs: needs.into() }
}

/// The database in which logins are checked; `None` when none is asked.
///
/// # Errors
/// Everything that is wrong with it. A key that is missing is a fault of `usedatabase`.
pub(super) fn read(values: &Values) -> Result<Option<Database>, Vec<Fault>> {
    if !(values.use_database && values.check_password) {
        return Ok(None);
    }
    let mut faults = Vec::new();
    let kind = kind(&values.db_type).map_err(|fault| faults.push(fault));
    let sqlite = kind == Ok(DatabaseKind::Sqlite);
    let (host, port) = address(&values.db_host).unwrap_or_else(|fault| {
        faults.push(fault);
        Default::default()
    });
    let missing = |name: &str, what: &str| {
        let needs = format!("[database] {name} as well, {what}");
        fault("usedatabase", format!("true, without {name}"), needs)
    };
    if values.db_user.is_empty() && kind.is_ok() && !sqlite {
        faults.push(missing("dbUser", "the user of the database"));
    }
    if values.db_database.is_empty() {
        let what = if sqlite { "the file of the database" } else { "the name of the database" };
        faults.push(missing("dbDatabase", what));
    }
    let mut request = None;
    if values.db_request.is_empty() {
        faults.push(missing("dbRequest", "which has a row when the login is allowed"));
    } else if let Ok(kind) = kind {
        match Request::parse(&values.db_request, kind) {
            Ok(parsed) => request = Some(parsed),
            Err(error) => {
                let (found, needs) = error.found_and_needed();
                faults.push(fault("dbRequest", found, needs));
            }
        }
    }
    match (kind, request) {
        (Ok(kind), Some(request)) if faults.is_empty() => Ok(Some(Database {
            kind,
            host,
            port,
            user: values.db_user.clone(),
            password: values.db_password.0.clone(),
            database: values.db_database.clone(),
            request,
        })),
        _ => Err(faults),
    }
}

/// The file of SQLite is found from where the configuration was looked for.
pub(super) fn make_absolute(values: &mut Values, directory: &Path) {
    let database = &mut values.db_database;
    if DatabaseKind::named(&values.db_type) == Some(DatabaseKind::Sqlite) && !database.is_empty() {
        *database = directory.join(&database).display().to_string();
    }
}

fn kind(name: &str) -> Result<DatabaseKind, Fault> {
    let built_in: Vec<&str> = DatabaseKind::built_in().map(DatabaseKind::name).collect();
    let one_of = match built_in.as_slice() {
        [] => "a palabre with one in it: cargo build --release --features sqlite".to_owned(),
        names => format!("one of those that this palabre has in it: {}", names.join(", ")),
    };
    match DatabaseKind::named(name) {
        Some(kind) if kind.is_built_in() => Ok(kind),
        Some(kind) => Err(fault(
            "dbType",
            format!("{name:?}"),
            format!(
                "a palabre with {kind} in it (cargo build --release --features {kind}), or {one_of}"
            ),
        )),
        None if name.is_empty() => {
            let needs = format!("[database] dbType as well, {one_of}");
            Err(fault("usedatabase", "true, without dbType", needs))
        }
        None => Err(fault("dbType", format!("{name:?}"), one_of)),
    }
}

/// Splits a port off, if there is one.
fn address(host: &str) -> Result<(String, Option<u16>), Fault> {
    let host = if host.is_empty() { "localhost" } else { host };
    let wrong = || {
        let needs = "a host, HOST:PORT, [ADDRESS]:PORT, or the path of a Unix socket";
        fault("dbHost", format!("{host:?}"), needs)
    };
    if host.starts_with('/') || host.parse::<core::net::IpAddr>().is_ok() {
        return Ok((host.to_owned(), None));
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse::<u16>().map_err(|_| wrong())?)),
        None => (host, None),
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let plain = |c: char| c.is_alphanumeric() || "-_.:".contains(c);
    if name.is_empty() || port == Some(0) || !name.chars().all(plain) {
        return Err(wrong());
    }
    Ok((name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_a_port() {
        for (text, host, port) in [
            ("", "localhost", None),
            ("db.example", "db.example", None),
            ("db.example:5433", "db.example", Some(5433)),
            ("192.0.2.4:3306", "192.0.2.4", Some(3306)),
            ("::1", "::1", None),
            ("[::1]:5433", "::1", Some(5433)),
            ("/run/postgresql", "/run/postgresql", None),
        ] {
            assert_eq!(address(text).ok(), Some((host.to_owned(), port)), "{text}");
        }
        for text in [":5432", "db.example:", "db.example:x", "db.example:0", "a b", "[::1]:"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
