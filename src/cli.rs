//! The command line: arguments, what the console says, exit codes.
//!
//! `arguments` has the commands; each has a file or a folder. What goes wrong comes here as a
//! `Failure`, which knows its exit code; the codes are those of init scripts in the Linux
//! Standard Base.

use core::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use argh::TopLevelCommand;
use rustix::io::Errno;

use crate::accounts::file;
use crate::accounts::worker::launch;
use crate::config::{self, Config, in_path, is_executable};
#[cfg(feature = "tls")]
use crate::net::certificate;
use crate::store::worker as store_worker;

mod arguments;
#[cfg(feature = "bench")]
pub mod bench;
mod check;
mod client;
mod findings;
mod help;
mod mistakes;
mod needs;
mod passwd;
mod pid_file;
mod plugin_test;
mod ports;
mod ruffle;
mod run;
mod sought;
mod start;
mod status;
mod stop;
mod store;
mod terminal;
mod worker;

use arguments::{Command, ConfigOptions, Palabre, Unparsed, parse};

/// What the server calls itself.
const PROGRAM: &str = "palabre";

/// What `--version` says.
const VERSION: &str = concat!("palabre ", env!("CARGO_PKG_VERSION"));

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Success = 0,
    /// Also, for `status`: dead, and the pid file is still there.
    Failed = 1,
    Usage = 2,
    /// Only for `status`.
    NotRunning = 3,
    /// Also, for `status`: unknown; for `client`: the login was refused.
    NotPermitted = 4,
    /// Only for `client`: a request was refused, or a line was not sent.
    Refused = 5,
    NotConfigured = 6,
}

impl Exit {
    fn of(kind: io::ErrorKind) -> Self {
        if kind == io::ErrorKind::PermissionDenied { Self::NotPermitted } else { Self::Failed }
    }
}

/// Why a command failed.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    /// What is told; empty when it has been told already.
    text: String,
}

impl Failure {
    fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Self::of(PROGRAM, exit, text)
    }

    /// A failure of the program of this name.
    fn of(program: &str, exit: Exit, text: impl fmt::Display) -> Self {
        Self { exit, text: format!("{program}: {text}") }
    }

    /// Something that the system refused, with the exit code for its kind.
    fn system(error: &io::Error, text: impl fmt::Display) -> Self {
        Self::new(Exit::of(error.kind()), text)
    }
}

/// What there is to tell has been told.
impl From<Exit> for Failure {
    fn from(exit: Exit) -> Self {
        Self { exit, text: String::new() }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        match error {
            config::Error::Unreadable { .. } => Self::new(Exit::NotConfigured, error),
            // `FILE:LINE: …` stands first in a line, where editors look for it.
            config::Error::Invalid { .. } => {
                Self { exit: Exit::NotConfigured, text: error.to_string() }
            }
        }
    }
}

impl From<file::Error> for Failure {
    fn from(error: file::Error) -> Self {
        match &error {
            file::Error::System { source, .. } => Self::system(source, &error),
            file::Error::TooLarge { .. }
            | file::Error::Emptied { .. }
            | file::Error::Lost { .. } => Self::new(Exit::NotConfigured, error),
            // `FILE:LINE: …` stands first in a line, as above.
            file::Error::Invalid { .. } => {
                Self { exit: Exit::NotConfigured, text: error.to_string() }
            }
        }
    }
}

#[cfg(feature = "tls")]
impl From<certificate::Error> for Failure {
    fn from(error: certificate::Error) -> Self {
        match error {
            // `FILE: …` stands first in a line, as above.
            certificate::Error::Files(_) => {
                Self { exit: Exit::NotConfigured, text: error.to_string() }
            }
            certificate::Error::Library(_) => Self::new(Exit::Failed, error),
        }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    crate::logging::end_at_panics();
    run_program(PROGRAM, |words| match words.split_first() {
        // The server starts these, and they are in no help.
        Some((&launch::COMMAND, words)) => worker::worker(parse_words(PROGRAM, words)?),
        Some((&store_worker::COMMAND, words)) => store::store_worker(parse_words(PROGRAM, words)?),
        // The parser of arguments has no such command.
        Some((&"help", words)) => help::help(words),
        Some(_) | None => dispatch(parse_words(PROGRAM, words)?),
    })
}

/// Runs what the words of the command line ask for, and tells of its failure.
fn run_program(program: &str, run: impl FnOnce(&[&str]) -> Result<Exit, Failure>) -> ExitCode {
    let exit = words(program).and_then(|words| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(&words).map_err(|failure| {
            if !failure.text.is_empty() {
                complain(&failure.text);
            }
            failure.exit
        })
    });
    ExitCode::from(exit.unwrap_or_else(|exit| exit) as u8)
}

fn words(program: &str) -> Result<Vec<String>, Exit> {
    let mut words = Vec::new();
    // What stands behind it is for somebody else.
    let mut options = true;
    for word in std::env::args_os().skip(1) {
        let Ok(word) = word.into_string() else {
            complain(format_args!("{program}: an argument is not UTF-8"));
            return Err(Exit::Usage);
        };
        options &= word != "--";
        // argh knows `--name value` only.
        match word.split_once('=') {
            Some((name, value)) if options && name.starts_with("--") => {
                words.extend([name.to_owned(), value.to_owned()])
            }
            Some(_) | None => words.push(word),
        }
    }
    Ok(words)
}

fn parse_words<Arguments: TopLevelCommand>(
    program: &str,
    words: &[&str],
) -> Result<Arguments, Exit> {
    parse(program, words).map_err(|unparsed| match unparsed {
        Unparsed::Help(text) => {
            say(text.trim_end());
            said_by(program).unwrap_or_else(|failure| {
                complain(failure.text);
                failure.exit
            })
        }
        Unparsed::Wrong(text) => {
            complain(text);
            Exit::Usage
        }
    })
}

fn dispatch(top: Palabre) -> Result<Exit, Failure> {
    if top.version {
        say(VERSION);
        return said();
    }
    // These have done what they did, and say it by their exit code.
    let asks_for_text = match &top.command {
        Some(Command::Passwd(passwd)) => passwd.asks_for_text(),
        command => !matches!(
            command,
            None | Some(
                Command::Run(_)
                    | Command::Start(_)
                    | Command::Stop(_)
                    | Command::Restart(_)
                    | Command::Status(_)
            )
        ),
    };
    let exit = run_command(top)?;
    if asks_for_text && exit == Exit::Success { said() } else { Ok(exit) }
}

/// Options may stand before the command as well; those behind it count first.
fn run_command(mut top: Palabre) -> Result<Exit, Failure> {
    let before = top.options();
    let chosen = |own: ConfigOptions| own.over(before);
    match top.command {
        None => run::run(chosen(ConfigOptions::default()).arguments(None)?, false),
        Some(Command::Run(mut run)) => {
            run::run(chosen(run.options()).arguments(run.directory)?, run.detached)
        }
        Some(Command::Start(mut start)) => start::start(&chosen(start.options()).arguments(None)?),
        Some(Command::Restart(mut restart)) => {
            start::restart(&chosen(restart.options()).arguments(None)?)
        }
        Some(Command::Stop(mut stop)) => {
            stop::stop(&chosen(stop.options()).arguments(None)?, stop.pidfile)
        }
        Some(Command::Status(mut status)) => {
            status::status(&chosen(status.options()).arguments(None)?, status.pidfile)
        }
        Some(Command::Check(mut check)) => {
            check::check(&chosen(check.options()).arguments(None)?, check.keys)
        }
        Some(Command::Client(client)) => client::client(&client),
        Some(Command::Ruffle(mut ruffle)) => {
            let options = chosen(ConfigOptions::of_file(ruffle.config.take()));
            ruffle::ruffle(&options.arguments(None)?, ruffle)
        }
        Some(Command::Passwd(passwd)) => {
            passwd::passwd(passwd, chosen(ConfigOptions::default()).config)
        }
        Some(Command::Store(store)) => store::store(store, chosen(ConfigOptions::default()).config),
        Some(Command::PluginTest(arguments)) => plugin_test::plugin_test(&arguments),
    }
}

fn with_directory(
    arguments: config::Arguments,
    directory: Option<PathBuf>,
) -> Result<config::Arguments, Failure> {
    let directory = match directory {
        Some(directory) => directory,
        None => std::env::current_dir().map_err(|error| {
            Failure::system(&error, format_args!("no current directory: {error}"))
        })?,
    };
    Ok(config::Arguments { directory, ..arguments })
}

/// The pid file of a configuration: the configured one, or its own by default. `None` when that
/// goes by a port that is not known yet.
fn wanted_pid_file(config: &Config) -> Option<PathBuf> {
    let port = config.listen.first().map_or(0, |listen| listen.address.port());
    match (&config.pid_file, &config.source) {
        (Some(path), _) => Some(path.clone()),
        (None, None) if port == 0 => None,
        (None, source) => Some(pid_file::default_path(source.as_deref(), port)),
    }
}

/// A command of this program as it can be pasted into a shell, where one stands.
fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for word in core::iter::once(program()).chain(words.into_iter().map(str::to_owned)) {
        let space = if line.is_empty() { "" } else { " " };
        // No argument holds a NUL, the only thing that can't be quoted.
        line += &format!("{space}{}", shlex::try_quote(&word).unwrap_or_default());
    }
    line
}

/// The same for the configuration in use, wherever it is called.
fn command_line_for(config: &Config, words: &[&str]) -> String {
    let source = config.source.as_deref().filter(|path| *path != Path::new(config::LOOKED_FOR[1]));
    let source = source.and_then(Path::to_str);
    let named = source.into_iter().flat_map(|path| ["--config", path]);
    command_line(words.iter().copied().chain(named))
}

/// The same for the configuration in use, where one stands.
fn command_line_here(config: &Config, words: &[&str]) -> String {
    if config.was_looked_for() {
        return command_line(words.iter().copied());
    }
    command_line_for(config, words)
}

/// How this program is called here: as it was called, as long as that leads to a program.
fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from).filter(|name| {
        if name.components().count() > 1 { is_executable(name) } else { in_path(name).is_some() }
    });
    let own = || std::env::current_exe().ok().filter(|path| is_executable(path));
    let program = called.or_else(own).and_then(|path| path.into_os_string().into_string().ok());
    program.unwrap_or_else(|| "palabre".to_owned())
}

/// What kept [`say`] from saying something.
static UNSAID: OnceLock<io::Error> = OnceLock::new();

/// Prints lines for the reader of the output. That nobody reads any more is no error of ours; what
/// else is wrong [`said`] tells.
fn say(text: impl fmt::Display) {
    let mut console = io::stdout().lock();
    note_unsaid(writeln!(console, "{text}").and_then(|()| console.flush()));
}

fn note_unsaid(written: io::Result<()>) {
    if let Err(error) = written
        && !is_end_of_output(&error)
    {
        let _ = UNSAID.set(error);
    }
}

/// Whether what was asked for has been printed.
///
/// # Errors
/// When the output could not be written.
fn said() -> Result<Exit, Failure> {
    said_by(PROGRAM)
}

/// The same for the program of this name.
fn said_by(program: &str) -> Result<Exit, Failure> {
    UNSAID.get().map_or(Ok(Exit::Success), |error| Err(unsaid(program, error)))
}

fn unsaid(program: &str, error: &io::Error) -> Failure {
    Failure::of(program, Exit::Failed, format_args!("can't write the output: {error}"))
}

/// Whether nobody reads the output any more, or nobody ever did.
fn is_end_of_output(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
        || error.raw_os_error() == Some(Errno::BADF.raw_os_error())
}

/// Prints lines for whoever watches the terminal.
fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
