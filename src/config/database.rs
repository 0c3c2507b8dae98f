//! `[database]`: the old server's keys → what the worker needs to ask one.

use std::path::Path;

use super::problem::Misfit;
use super::values::Values;
use crate::accounts::request::DatabaseRequest;
use crate::accounts::{Database, DatabaseKind};

/// A key of `[database]`, and what is wrong with it.
pub(super) type KeyMisfit = (&'static str, Misfit);

fn fault(key: &'static str, found: impl Into<String>, needs: impl Into<String>) -> KeyMisfit {
    (key, Misfit::new(found, needs))
}

/// The database in which logins are checked; `None` when none is asked.
///
/// # Errors
/// Everything that is wrong with it. A key that is missing is a fault of `usedatabase`.
pub(super) fn read(values: &Values) -> Result<Option<Database>, Vec<KeyMisfit>> {
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
        match DatabaseRequest::parse(&values.db_request, kind) {
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
            password: values.db_password.clone(),
            database: values.db_database.clone(),
            request,
        })),
        _ => Err(faults),
    }
}

/// Whether a request is a single `SELECT`, whatever stands before it (`WITH …`), and changes
/// nothing by what stands in it. It knows quotes, comments and parentheses, and no grammar.
pub(super) fn is_one_select(sql: &str) -> bool {
    // The last is a function as well, and behind "(" nothing else.
    const CHANGING: [&str; 5] = ["insert", "update", "delete", "merge", "replace"];
    let mut depth = 0_usize;
    let mut verb = None;
    let mut opened = false;
    for token in tokens(sql) {
        let word = token.to_ascii_lowercase();
        match word.as_str() {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            // Another statement would stand behind it.
            ";" => verb = verb.map(|verb| if verb == "select" { "end" } else { verb }),
            _ if verb == Some("end") => return false,
            _ if opened && CHANGING[..4].contains(&&*word) => return false,
            "into" if depth == 0 => return false,
            "with" | "recursive" if verb.is_none() => verb = Some("with"),
            "select" if verb.is_none() || (verb == Some("with") && depth == 0) => {
                verb = Some("select");
            }
            _ if verb.is_none()
                || (depth == 0 && CHANGING.contains(&&*word) && verb == Some("with")) =>
            {
                return false;
            }
            _ => {}
        }
        opened = word == "(";
    }
    matches!(verb, Some("select" | "end"))
}

/// The words and the single signs of a request, without its comments; what stands in quotes is one
/// sign.
fn tokens(sql: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (length, counts) = if rest.starts_with("--") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), false)
        } else if matches!(first, '\'' | '"' | '`') {
            let end = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
            (end, true)
        } else if is_word(first) {
            (rest.find(|c| !is_word(c)).unwrap_or(rest.len()), true)
        } else {
            (first.len_utf8(), true)
        };
        let (token, after) = rest.split_at(length);
        if counts {
            tokens.push(token);
        }
        rest = after.trim_start();
    }
    tokens
}

/// The file of SQLite is found from where the configuration is.
pub(super) fn make_absolute(values: &mut Values, directory: &Path) {
    let database = &mut values.db_database;
    if DatabaseKind::named(&values.db_type) == Some(DatabaseKind::Sqlite) && !database.is_empty() {
        *database = directory.join(&database).display().to_string();
    }
}

fn kind(name: &str) -> Result<DatabaseKind, KeyMisfit> {
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
fn address(host: &str) -> Result<(String, Option<u16>), KeyMisfit> {
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
    fn a_request_is_one_select_and_changes_nothing() {
        for good in [
            "SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD]",
            "select * from t where nick='[LOGIN]' and password='[PASSWORD]';",
            "-- who\n/* ; */ SELECT update FROM t WHERE a = ';' AND b = 'DELETE'",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "WITH RECURSIVE a AS (SELECT 1), b AS (SELECT 2) SELECT * FROM a FOR UPDATE",
            "(SELECT 1) UNION (SELECT 2)",
            "SELECT 1 FROM t WHERE p = MD5(REPLACE([PASSWORD], ' ', ''))",
        ] {
            assert!(is_one_select(good), "{good}");
        }
        for bad in [
            "",
            "UPDATE t SET seen = 1 WHERE n = [LOGIN] AND p = [PASSWORD]",
            "DELETE FROM t WHERE n = [LOGIN] OR p = [PASSWORD]",
            "INSERT INTO t SELECT [LOGIN], [PASSWORD]",
            "SELECT 1; DROP TABLE t",
            "SELECT 1 FROM t; -- and\n SELECT 2",
            "WITH a AS (SELECT 1) DELETE FROM t",
            "WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a",
            "SELECT 1 INTO OUTFILE '/tmp/x'",
            "PRAGMA user_version",
            "CALL f([LOGIN], [PASSWORD])",
            "selected [LOGIN] [PASSWORD]",
        ] {
            assert!(!is_one_select(bad), "{bad}");
        }
    }

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
