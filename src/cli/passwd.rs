//! `palabre passwd`: the accounts file, and the hash of root's password.
//!
//! A password is typed unseen, twice where it is a new one; where the standard input is no
//! terminal, its first line is the password.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use argh::FromArgs;
use signal_hook::consts::SIGXFSZ;

use super::terminal::password;
use super::{Exit, Failure, complain, say, with_directory};
use crate::accounts::file::{self, Draft, NickError};
use crate::accounts::hash::{Checked, PasswordHash};
use crate::config::{self, Arguments};
use crate::limits::Limits;

/// A command about accounts: the options that say where they are, and its own.
macro_rules! with_accounts {
    ($(#[$($about:tt)*])* $seen:vis struct $name:ident { $($fields:tt)* }) => {
        #[derive(FromArgs)]
        $(#[$($about)*])*
        $seen struct $name {
            /// the accounts file
            #[argh(option, arg_name = "file")]
            file: Option<PathBuf>,
            /// the configuration file
            #[argh(option, arg_name = "file")]
            config: Option<PathBuf>,
            $($fields)*
        }
    };
}

with_accounts! {
    /// change and read the file of accounts; a running server takes a change at once
    #[argh(
        subcommand,
        name = "passwd",
        help_triggers("-h", "--help", "help"),
        note = "The file is the one that --file names, else [accounts] file of the configuration.
A password is asked for; where the standard input is no terminal, its first line is one.",
        example = "Give Ann an account, or a new password:
  $ palabre passwd add Ann --file accounts",
        example = "The same in a script:
  $ printf '%s\\n' \"$password\" | palabre passwd add Ann --file accounts"
    )]
    pub(super) struct Passwd {
        #[argh(subcommand)]
        command: PasswdCommand,
    }
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum PasswdCommand {
    Add(Add),
    Remove(Remove),
    List(List),
    Check(CheckPassword),
    Hash(Hash),
}

impl Passwd {
    /// Whether it is asked for what it prints; the others have done something, or say by their exit
    /// code what is so.
    pub(super) const fn asks_for_text(&self) -> bool {
        matches!(self.command, PasswdCommand::List(_) | PasswdCommand::Hash(_))
    }
}

with_accounts! {
    /// give a nick an account, or its account a new password
    #[argh(subcommand, name = "add", help_triggers("-h", "--help", "help"))]
    struct Add {
        /// the nick
        #[argh(positional)]
        nick: String,
    }
}

with_accounts! {
    /// take a nick's account away
    #[argh(subcommand, name = "remove", help_triggers("-h", "--help", "help"))]
    struct Remove {
        /// the nick
        #[argh(positional)]
        nick: String,
    }
}

with_accounts! {
    /// print the nicks that have an account, one a line
    #[argh(subcommand, name = "list", help_triggers("-h", "--help", "help"))]
    struct List {}
}

with_accounts! {
    /// say whether a password is that of a nick's account; exit code 1 when it is not
    #[argh(subcommand, name = "check", help_triggers("-h", "--help", "help"))]
    struct CheckPassword {
        /// the nick
        #[argh(positional)]
        nick: String,
    }
}

/// print the hash of a password, for [admin] password
#[derive(FromArgs)]
#[argh(subcommand, name = "hash", help_triggers("-h", "--help", "help"))]
struct Hash {}

/// Does what was asked for. `config` is a configuration named before the command.
///
/// # Errors
/// When the file can't be read or written, has errors, or does not hold what is asked for.
pub(super) fn passwd(passwd: Passwd, config: Option<PathBuf>) -> Result<Exit, Failure> {
    // What is named behind the command counts first.
    let place = |file: Option<PathBuf>, own: Option<PathBuf>| {
        AccountsPlace::find(file.or(passwd.file), own.or(passwd.config).or(config))
    };
    // A file that would be larger than files may be is a write that fails, and told. Where there
    // can be no handler, the signal ends the command, and the old file is still there.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    match passwd.command {
        PasswdCommand::Add(Add { nick, file, config }) => add(&nick, &place(file, config)?),
        PasswdCommand::Remove(Remove { nick, file, config }) => {
            remove(&nick, &place(file, config)?)
        }
        PasswdCommand::List(List { file, config }) => list(&place(file, config)?),
        PasswdCommand::Check(CheckPassword { nick, file, config }) => {
            check(&nick, &place(file, config)?)
        }
        PasswdCommand::Hash(Hash {}) => hash(),
    }
}

/// Where the accounts are.
struct AccountsPlace {
    file: PathBuf,
    /// The limits that the accounts' nicks are held to.
    limits: Limits,
}

impl AccountsPlace {
    fn find(file: Option<PathBuf>, config: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(file) = file {
            return Ok(Self { file, limits: Limits::default() });
        }
        let arguments = Arguments { file: config, ..Arguments::default() };
        let config = config::load(&with_directory(arguments, None)?)?;
        let limits = config.settings.limits;
        let Some(file) = config.accounts.file else {
            let source = match &config.source {
                Some(path) => format!("{} names", path.display()),
                None => "there is no configuration to name".to_owned(),
            };
            let none = if config.source.is_some() { "no" } else { "an" };
            return Err(Failure::new(
                Exit::NotConfigured,
                format_args!("{source} {none} [accounts] file; --file names one as well"),
            ));
        };
        Ok(Self { file, limits })
    }
}

fn add(nick: &str, place: &AccountsPlace) -> Result<Exit, Failure> {
    let max = place.limits.nick_bytes_max;
    if nick.len() > max {
        let text = format_args!("{nick:?} is too long for a nick (limit {max} bytes)");
        return Err(Failure::new(Exit::Failed, text));
    }
    let refused = |error: NickError| Failure::new(Exit::Failed, format_args!("{nick:?}: {error}"));
    // Before anybody types in vain.
    file::check_nick(nick).map_err(refused)?;
    let hash = new_hash()?;
    let mut draft = Draft::open(&place.file, true)?;
    let (before, is_new) = (draft.accounts.nick_of(nick).map(str::to_owned), draft.is_new);
    draft.accounts.set(nick, &hash).map_err(refused)?;
    let like = draft.accounts.looks_like(nick).map(str::to_owned);
    draft.save()?;
    if is_new && file::is_for_root_alone(&place.file) {
        let shown = place.file.display().to_string();
        let quoted = shlex::try_quote(&shown).unwrap_or_default();
        complain(format_args!(
            "{shown} can be read by root alone; where another user runs the server: \
             chgrp GROUP {quoted} && chmod 640 {quoted}, with a group of that user"
        ));
    }
    if let Some(other) = like {
        complain(format_args!(
            "{nick:?} looks like {other:?}, who has an account as well: only one of them can be there \
             at a time, unless [rooms] lookalikes = allow"
        ));
    }
    match before {
        None => say(format_args!("{nick} has an account")),
        Some(before) if before == nick => say(format_args!("{nick} has a new password")),
        Some(before) => say(format_args!("{nick}, until now {before}, has a new password")),
    }
    Ok(Exit::Success)
}

fn remove(nick: &str, place: &AccountsPlace) -> Result<Exit, Failure> {
    let mut draft = Draft::open(&place.file, false)?;
    let Some(nick) = draft.accounts.remove(nick) else { return Err(no_account(nick)) };
    draft.save()?;
    say(format_args!("{nick} has no account any more"));
    Ok(Exit::Success)
}

fn list(place: &AccountsPlace) -> Result<Exit, Failure> {
    let accounts = file::read(&place.file)?;
    let nicks: Vec<&str> = accounts.nicks().collect();
    if !nicks.is_empty() {
        say(nicks.join("\n"));
    }
    Ok(Exit::Success)
}

fn check(nick: &str, place: &AccountsPlace) -> Result<Exit, Failure> {
    let accounts = file::read(&place.file)?;
    let Some(hash) = accounts.hash_of(nick) else { return Err(no_account(nick)) };
    match hash.check(&password("Password: ")?) {
        Checked::Right => {
            say("the password is right");
            Ok(Exit::Success)
        }
        Checked::Wrong => Err(Failure::new(Exit::Failed, "the password is wrong")),
        Checked::NoMemory => {
            Err(Failure::new(Exit::Failed, "there is no memory to find out whether it is right"))
        }
    }
}

fn hash() -> Result<Exit, Failure> {
    say(new_hash()?.as_str());
    Ok(Exit::Success)
}

fn no_account(nick: &str) -> Failure {
    Failure::new(Exit::Failed, format_args!("{nick:?} has no account"))
}

fn new_hash() -> Result<PasswordHash, Failure> {
    let new = password("New password: ")?;
    if io::stdin().is_terminal() && password("The same again: ")? != new {
        return Err(Failure::new(Exit::Failed, "the two passwords are not the same"));
    }
    PasswordHash::of(&new).map_err(|error| Failure::new(Exit::Failed, error))
}
