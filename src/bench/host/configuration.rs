//! What a server is that the bench starts: its kind, its configuration, and the files that this
//! names.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::accounts::hash::PasswordHash;
use crate::bench::error::Fault;
use crate::bench::transport::OwnCertificate;

/// Which server is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bench) enum ServerKind {
    /// The server of this package, with the limits of rate lifted, or as it comes.
    Server {
        /// Whether one client may send as much as it can.
        unlimited: bool,
    },
    /// Another build of it, likewise with the limits of rate lifted.
    Build(PathBuf),
    /// The same with these nicks and passwords in a SQLite database.
    Accounts(Vec<(String, String)>),
    /// The same with plugins: name and script for `sh`.
    Plugins(&'static [(&'static str, &'static str)]),
    /// The same as it comes, for those who attack it.
    Attacked(Extras),
    /// The relay, for the floor.
    Floor,
}

/// What a server that is attacked has besides its defaults. It takes this host for a proxy, so that
/// its limits of an address count for those who say that they come from one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::bench) struct Extras {
    /// Accounts, a file of them, with their passwords; others are guests.
    pub(in crate::bench) accounts: &'static [(&'static str, &'static str)],
    /// It has a certificate, of an RSA key.
    pub(in crate::bench) certificate: bool,
    /// Its log goes to a pipe that nobody reads.
    pub(in crate::bench) deaf_console: bool,
    /// It may open so many files.
    pub(in crate::bench) descriptors: Option<usize>,
}

/// What a server of ours is told stands in this file.
pub(super) const CONFIGURATION: &str = "palabre.conf";

/// What lifts the limits that a load would meet: it sends as fast as it can, and joins rooms of
/// thousands, whose lists are long.
pub(super) const UNLIMITED: &str = "stanzarate = 0\nbyterate = 0\nlistrate = 0\nbacklog = 4194304\n\
                         listbytes = 1048576\n";

/// What lifted them before there were the others.
pub(super) const ONCE_UNLIMITED: &str = "stanzarate = 0\nbacklog = 4194304\n";

/// The text of the configuration, which stands in this folder; the files that it names are
/// written.
///
/// # Errors
/// When one can't be written.
pub(super) fn configuration(
    folder: &Path,
    (kind, unlimited): (&ServerKind, &str),
    identity: Option<&OwnCertificate>,
) -> Result<String, Fault> {
    let fault = |source| Fault::system("write what the server is to read", source);
    let limits = match kind {
        ServerKind::Server { unlimited: true } | ServerKind::Build(_) => unlimited,
        // A wrong password now and then is part of the load.
        ServerKind::Accounts(_) => "failedlogins = 0\n",
        ServerKind::Server { unlimited: false }
        | ServerKind::Plugins(_)
        | ServerKind::Attacked(_)
        | ServerKind::Floor => "",
    };
    let path = |name: &str| folder.join(name).display().to_string();
    let has_file = !matches!(kind, ServerKind::Attacked(Extras { deaf_console: true, .. }));
    let log = if has_file { path("palabre.log") } else { String::new() };
    let mut text = format!(
        "[logging]\nlogfile = {log}\n[limits]\n{limits}[daemon]\npidfile = {}\n",
        path("palabre.pid"),
    );
    if let ServerKind::Attacked(_) = kind {
        text += "trustedproxies = 127.0.0.1\n";
    }
    if let Some(identity) = identity {
        fs::write(folder.join("certificate"), &identity.certificate_pem).map_err(fault)?;
        fs::write(folder.join("key"), &identity.key_pem).map_err(fault)?;
        text += &format!("[tls]\ncertificate = {}\nkey = {}\n", path("certificate"), path("key"));
    }
    match kind {
        ServerKind::Accounts(accounts) => {
            write_accounts(&folder.join("users.db"), accounts)?;
            text += &format!(
                "[database]\nusedatabase = true\ndbType = sqlite\ndbDatabase = {}\n\
                 dbRequest = SELECT 1 FROM users WHERE login = [LOGIN] AND password = [PASSWORD]\n",
                path("users.db")
            );
        }
        ServerKind::Plugins(plugins) => {
            let modules = folder.join("modules");
            fs::create_dir(&modules).map_err(fault)?;
            for (name, script) in *plugins {
                let file = modules.join(name);
                fs::write(&file, format!("#!/bin/sh\n{script}\n")).map_err(fault)?;
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(fault)?;
            }
            let names: Vec<&str> = plugins.iter().map(|(name, _)| *name).collect();
            text += &format!("[modules]\npath = {}\nlist = {}\n", path("modules"), names.join(","));
        }
        ServerKind::Attacked(house) => {
            if !house.accounts.is_empty() {
                let file = folder.join("accounts");
                write_account_file(&file, house.accounts)?;
                text += &format!("[accounts]\nfile = {}\nguests = yes\n", path("accounts"));
            }
        }
        ServerKind::Server { .. } | ServerKind::Build(_) | ServerKind::Floor => {}
    }
    Ok(text)
}

/// Writes an accounts file with these nicks and passwords.
///
/// # Errors
/// When it can't be written, or a password not be hashed.
fn write_account_file(file: &Path, accounts: &[(&str, &str)]) -> Result<(), Fault> {
    let mut text = String::new();
    for (nick, password) in accounts {
        let hash = PasswordHash::of(password)
            .map_err(|error| Fault::Broken { what: error.to_string() })?;
        text += &format!("{nick}:{}\n", hash.as_str());
    }
    fs::write(file, text).map_err(|source| Fault::system("write the accounts", source))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
        .map_err(|source| Fault::system("write the accounts", source))
}

/// Writes a SQLite database with these nicks and passwords.
///
/// # Errors
/// When it can't be written, or SQLite is not built in.
#[cfg(feature = "sqlite")]
fn write_accounts(file: &Path, accounts: &[(String, String)]) -> Result<(), Fault> {
    let write = || {
        let mut database = rusqlite::Connection::open(file)?;
        database.execute_batch("CREATE TABLE users (login TEXT PRIMARY KEY, password TEXT)")?;
        let transaction = database.transaction()?;
        for account in accounts {
            transaction.execute("INSERT INTO users VALUES (?1, ?2)", (&account.0, &account.1))?;
        }
        transaction.commit()
    };
    let what = |error: rusqlite::Error| format!("can't write the accounts: {error}");
    write().map_err(|error| Fault::Broken { what: what(error) })
}

/// See above.
#[cfg(not(feature = "sqlite"))]
fn write_accounts(_: &Path, _: &[(String, String)]) -> Result<(), Fault> {
    let what = "no SQLite: this palabre was built without the Cargo feature sqlite".to_owned();
    Err(Fault::Broken { what })
}
