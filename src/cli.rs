//! The command line: arguments, what the console says, exit codes.
//!
//! One file a subcommand. What goes wrong comes here as a `Failure`, which knows its exit
//! code; the codes are those of init scripts in the Linux Standard Base.

use core::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use argh::{FromArgs, TopLevelCommand};
use rustix::io::Errno;

use crate::accounts::file;
use crate::config::{self, Config, Place, in_path, is_executable};
use crate::logging::Level;
#[cfg(feature = "tls")]
use crate::net::tls;

#[cfg(feature = "bench")]
mod bench;
mod check;
mod client;
mod findings;
mod help;
mod mistakes;
mod passwd;
mod pid_file;
mod plugin_test;
mod ports;
mod ruffle;
mod run;
mod start;
mod status;
mod stop;
mod terminal;
mod worker;

/// What `--version` says.
const VERSION: &str = concat!("palabre ", env!("CARGO_PKG_VERSION"));

/// A small, single-threaded XML socket server for Flash, Ruffle and raw TCP clients. Without a
/// command it serves in the foreground, as `run` does.
#[derive(FromArgs)]
#[argh(
    help_triggers("-h", "--help", "help"),
    note = "The configuration is the file that --config names, else ./palabre.conf, else
/etc/palabre.conf, else built-in defaults: {command_name} listens on 127.0.0.1:2468.",
    note = "The manual has these topics, for {command_name} help TOPIC:

  protocol        what clients and the server say to each other
  configuration   the file, all keys, certificate, accounts, database
  plugins         programs that extend the server, and what they hear and say
  operating       running, signals, exit codes, log, metrics, old movies, security
  measuring       what a host carries, and the commands that measure it
  developing      tests, fuzzing, benchmarks",
    example = "Serve, and talk to it from another terminal:
  $ {command_name}
  $ {command_name} client --nick me",
    example = "Serve in the background by a configuration, look whether it runs, stop it:
  $ {command_name} start --config /etc/palabre.conf
  $ {command_name} status
  $ {command_name} stop",
    error_code(1, "it failed; status: dead, and the pid file is still there"),
    error_code(2, "wrong arguments"),
    error_code(3, "status: not running"),
    error_code(4, "not permitted; status: unknown; client: the login was refused"),
    error_code(5, "client: a request was refused, or a line was not sent"),
    error_code(6, "the configuration has errors")
)]
struct Palabre {
    /// print the version
    #[argh(switch, short = 'V')]
    version: bool,
    /// the configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// an address to listen on instead of the configured ones, ADDR:PORT or :PORT; may be
    /// repeated, port 0 takes a free one
    #[argh(option, arg_name = "addr:port", from_str_fn(place))]
    listen: Vec<Place>,
    /// debug, info, warning, error or critical, instead of the configured one
    #[argh(option, arg_name = "level", from_str_fn(level))]
    log_level: Option<Level>,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Run(Run),
    Start(Start),
    Stop(Stop),
    Restart(Restart),
    Status(Status),
    Check(Check),
    Client(client::Client),
    Ruffle(ruffle::Ruffle),
    Passwd(passwd::Passwd),
    PluginTest(plugin_test::PluginTest),
    #[cfg(feature = "bench")]
    Bench(bench::Bench),
}

/// serve in the foreground, until Ctrl-C
#[derive(FromArgs)]
#[argh(subcommand, name = "run", help_triggers("-h", "--help", "help"))]
struct Run {
    /// the configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// an address to listen on instead of the configured ones, ADDR:PORT or :PORT; may be
    /// repeated, port 0 takes a free one
    #[argh(option, arg_name = "addr:port", from_str_fn(place))]
    listen: Vec<Place>,
    /// debug, info, warning, error or critical, instead of the configured one
    #[argh(option, arg_name = "level", from_str_fn(level))]
    log_level: Option<Level>,
    /// leave the terminal: what `start` starts
    #[argh(switch, hidden_help)]
    detached: bool,
    /// what relative paths are relative to
    #[argh(option, hidden_help)]
    directory: Option<PathBuf>,
}

/// serve in the background; returns when it serves, or says why it doesn't
#[derive(FromArgs)]
#[argh(subcommand, name = "start", help_triggers("-h", "--help", "help"))]
struct Start {
    /// the configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// an address to listen on instead of the configured ones, ADDR:PORT or :PORT; may be
    /// repeated, port 0 takes a free one
    #[argh(option, arg_name = "addr:port", from_str_fn(place))]
    listen: Vec<Place>,
    /// debug, info, warning, error or critical, instead of the configured one
    #[argh(option, arg_name = "level", from_str_fn(level))]
    log_level: Option<Level>,
}

/// stop the server that the pid file names, and start it anew
#[derive(FromArgs)]
#[argh(subcommand, name = "restart", help_triggers("-h", "--help", "help"))]
struct Restart {
    /// the configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// an address to listen on instead of the configured ones, ADDR:PORT or :PORT; may be
    /// repeated, port 0 takes a free one
    #[argh(option, arg_name = "addr:port", from_str_fn(place))]
    listen: Vec<Place>,
    /// debug, info, warning, error or critical, instead of the configured one
    #[argh(option, arg_name = "level", from_str_fn(level))]
    log_level: Option<Level>,
}

/// stop the server that the pid file names; returns when it is gone
#[derive(FromArgs)]
#[argh(subcommand, name = "stop", help_triggers("-h", "--help", "help"))]
struct Stop {
    /// the configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// the first address that it listens on, when it runs without a configuration
    #[argh(option, arg_name = "addr:port", from_str_fn(place))]
    listen: Vec<Place>,
    /// the pid file that it holds, when another user or another session started it
    #[argh(option, arg_name = "file")]
    pidfile: Option<PathBuf>,
}

/// say whether the server that the pid file names is running
#[derive(FromArgs)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help", "help"))]
struct Status {
    /// the configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// the first address that it listens on, when it runs without a configuration
    #[argh(option, arg_name = "addr:port", from_str_fn(place))]
    listen: Vec<Place>,
    /// the pid file that it holds, when another user or another session started it
    #[argh(option, arg_name = "file")]
    pidfile: Option<PathBuf>,
}

/// read the configuration, say what is wrong with it, and print what would be in force
#[derive(FromArgs)]
#[argh(subcommand, name = "check", help_triggers("-h", "--help", "help"))]
struct Check {
    /// the configuration file
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// an address to listen on instead of the configured ones
    #[argh(option, arg_name = "addr:port", from_str_fn(place))]
    listen: Vec<Place>,
    /// debug, info, warning, error or critical, instead of the configured one
    #[argh(option, arg_name = "level", from_str_fn(level))]
    log_level: Option<Level>,
    /// print a table of all keys instead
    #[argh(switch)]
    keys: bool,
}

fn place(text: &str) -> Result<Place, String> {
    Place::with_port(text).map_err(|misfit| misfit.to_string())
}

fn level(text: &str) -> Result<Level, String> {
    let near = || config::nearest_told(text, Level::NAMES.iter().map(|(name, _)| *name));
    text.parse().map_err(|error| format!("found {text:?}, needs {error}{}", near()))
}

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Success = 0,
    /// Also, for `status`: dead, and the pid file is still there.
    Failed = 1,
    Usage = 2,
    /// Only for `status`.
    NotRunning = 3,
    /// Also, for `status`: unknown.
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
        Self { exit, text: format!("palabre: {text}") }
    }

    /// Something that the system refused, with the exit code for its kind.
    fn system(error: &io::Error, text: impl fmt::Display) -> Self {
        Self::new(Exit::of(error.kind()), text)
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
            file::Error::TooLarge { .. } | file::Error::Emptied { .. } => {
                Self::new(Exit::NotConfigured, error)
            }
            // `FILE:LINE: …` stands first in a line, as above.
            file::Error::Invalid { .. } => {
                Self { exit: Exit::NotConfigured, text: error.to_string() }
            }
        }
    }
}

#[cfg(feature = "tls")]
impl From<tls::Error> for Failure {
    fn from(error: tls::Error) -> Self {
        match error {
            // `FILE: …` stands first in a line, as above.
            tls::Error::Files(_) => Self { exit: Exit::NotConfigured, text: error.to_string() },
            tls::Error::Library(_) => Self::new(Exit::Failed, error),
        }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let exit = words().and_then(|words| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = match words.split_first() {
            // The server starts it; in no help is it of use to anybody.
            Some((&"worker", words)) => worker::worker(parse_words(words)?),
            // The parser of arguments has no such command.
            Some((&"help", words)) => help::help(words),
            #[cfg(feature = "bench")]
            Some((&"leashed", words)) => bench::leashed(words),
            Some(_) | None => dispatch(parse_words(&words)?),
        };
        done.map_err(|failure| {
            if !failure.text.is_empty() {
                complain(&failure.text);
            }
            failure.exit
        })
    });
    ExitCode::from(exit.unwrap_or_else(|exit| exit) as u8)
}

fn words() -> Result<Vec<String>, Exit> {
    let mut words = Vec::new();
    // What stands behind it is for somebody else.
    let mut options = true;
    for word in std::env::args_os().skip(1) {
        let Ok(word) = word.into_string() else {
            complain("palabre: an argument is not UTF-8");
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

fn parse_words<Arguments: TopLevelCommand>(words: &[&str]) -> Result<Arguments, Exit> {
    Arguments::from_args(&["palabre"], words).map_err(|early| match early.status {
        Ok(()) => {
            say(early.output.trim_end());
            said().unwrap_or_else(|failure| {
                complain(failure.text);
                failure.exit
            })
        }
        Err(()) => {
            let help_of = |command: &[&str]| {
                let words = [command, &["--help"]].concat();
                Arguments::from_args(&["palabre"], &words)
                    .err()
                    .map_or_else(String::new, |early| early.output)
            };
            complain(mistakes::explain(words, early.output.trim(), help_of));
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
fn run_command(top: Palabre) -> Result<Exit, Failure> {
    let arguments =
        |config: Option<PathBuf>, listen: Vec<Place>, log_level: Option<Level>| config::Arguments {
            file: config.or(top.config),
            listen: if listen.is_empty() { top.listen } else { listen },
            log_level: log_level.or(top.log_level),
            directory: PathBuf::new(),
        };
    match top.command {
        None => run::run(with_directory(arguments(None, Vec::new(), None), None)?, false),
        Some(Command::Run(run)) => {
            let arguments = arguments(run.config, run.listen, run.log_level);
            run::run(with_directory(arguments, run.directory)?, run.detached)
        }
        Some(Command::Start(start)) => start::start(&with_directory(
            arguments(start.config, start.listen, start.log_level),
            None,
        )?),
        Some(Command::Restart(restart)) => start::restart(&with_directory(
            arguments(restart.config, restart.listen, restart.log_level),
            None,
        )?),
        Some(Command::Stop(stop)) => {
            let arguments = with_directory(arguments(stop.config, stop.listen, None), None)?;
            stop::stop(&arguments, stop.pidfile)
        }
        Some(Command::Status(status)) => {
            let arguments = with_directory(arguments(status.config, status.listen, None), None)?;
            status::status(&arguments, status.pidfile)
        }
        Some(Command::Check(check)) => {
            let arguments =
                with_directory(arguments(check.config, check.listen, check.log_level), None)?;
            check::check(&arguments, check.keys)
        }
        Some(Command::Client(client)) => client::client(&client),
        Some(Command::Ruffle(mut ruffle)) => {
            let file = ruffle.config.take();
            let arguments = with_directory(arguments(file, Vec::new(), None), None)?;
            ruffle::ruffle(&arguments, ruffle)
        }
        Some(Command::Passwd(passwd)) => {
            passwd::passwd(passwd, arguments(None, Vec::new(), None).file)
        }
        Some(Command::PluginTest(arguments)) => plugin_test::plugin_test(&arguments),
        #[cfg(feature = "bench")]
        Some(Command::Bench(arguments)) => bench::bench(arguments),
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

/// Reads the accounts that a configuration names; gives what the operator should know of them.
/// Without them a server does not start: nobody could log in.
fn check_accounts(config: &Config) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    let settings = &config.accounts;
    if let Some(path) = &settings.file {
        let add = command_line_here(config, &["passwd", "add", "NICK"]);
        let accounts = file::read(path).map_err(|error| {
            let missing = matches!(&error, file::Error::System { source, .. }
                if source.kind() == io::ErrorKind::NotFound);
            let failure = Failure::from(error);
            let text =
                if missing { format!("{}; {add} makes it", failure.text) } else { failure.text };
            Failure { exit: Exit::NotConfigured, text }
        })?;
        if accounts.is_empty() && !settings.guests && settings.database.is_none() {
            let text = format!("there is no account, so nobody can log in: {add}");
            warnings.push(format!("{}: {text}", path.display()));
        }
        if file::is_open_to_all(path) {
            let text = "everybody on this host can read it: chmod o= keeps them from guessing";
            warnings.push(format!("{}: {text}", path.display()));
        }
    }
    Ok(warnings)
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
    UNSAID.get().map_or(Ok(Exit::Success), |error| Err(unsaid(error)))
}

fn unsaid(error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format_args!("can't write the output: {error}"))
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
