//! What may stand on the command line: the commands, their options, and how words are read as them.

use core::str::FromStr;
use std::path::PathBuf;

use argh::{FromArgs, TopLevelCommand};

use super::{Failure, client, mistakes, passwd, plugin_test, ruffle, store, with_directory};
use crate::config::{self, ListenPlace, Misfit, nearest_told};
use crate::logging::Level;

/// `--listen`: an address with its port.
pub(super) struct ListenAddress(ListenPlace);

impl FromStr for ListenAddress {
    type Err = Misfit;

    fn from_str(text: &str) -> Result<Self, Misfit> {
        ListenPlace::with_port(text).map(Self)
    }
}

/// `--log-level`.
pub(super) struct LogLevel(Level);

impl FromStr for LogLevel {
    type Err = Misfit;

    fn from_str(text: &str) -> Result<Self, Misfit> {
        let near = || nearest_told(text, Level::NAMES.iter().map(|(name, _)| *name));
        let level = text.parse::<Level>();
        level.map(Self).map_err(|error| Misfit::quoted(text, format!("{error}{}", near())))
    }
}

/// What options say about the configuration.
#[derive(Default)]
pub(super) struct ConfigOptions {
    pub(super) config: Option<PathBuf>,
    listen: Vec<ListenAddress>,
    log_level: Option<LogLevel>,
}

impl ConfigOptions {
    /// Those that name a configuration and nothing else.
    pub(super) fn of_file(config: Option<PathBuf>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Both; these count first.
    pub(super) fn over(self, others: Self) -> Self {
        Self {
            config: self.config.or(others.config),
            listen: if self.listen.is_empty() { others.listen } else { self.listen },
            log_level: self.log_level.or(others.log_level),
        }
    }

    /// The same for whoever reads a configuration, with what its paths are relative to: the
    /// current directory where no other is given.
    ///
    /// # Errors
    /// When there is no current directory.
    pub(super) fn arguments(
        self,
        directory: Option<PathBuf>,
    ) -> Result<config::Arguments, Failure> {
        let arguments = config::Arguments {
            file: self.config,
            listen: self.listen.into_iter().map(|address| address.0).collect(),
            log_level: self.log_level.map(|level| level.0),
            directory: PathBuf::new(),
        };
        with_directory(arguments, directory)
    }
}

/// A command by a configuration: the options that say which, between its other ones.
macro_rules! with_options {
    (
        $(#[$($about:tt)*])*
        pub(super) struct $name:ident
        $(before { $($before:tt)* })? $(behind { $($behind:tt)* })?
    ) => {
        #[derive(FromArgs)]
        $(#[$($about)*])*
        pub(super) struct $name {
            $($($before)*)?
            /// the configuration file
            #[argh(option, arg_name = "file")]
            config: Option<PathBuf>,
            /// an address to listen on instead of the configured ones, ADDR:PORT or :PORT; may be
            /// repeated, port 0 takes a free one
            #[argh(option, arg_name = "addr:port")]
            listen: Vec<ListenAddress>,
            /// debug, info, warning, error or critical, instead of the configured one
            #[argh(option, arg_name = "level")]
            log_level: Option<LogLevel>,
            $($($behind)*)?
        }

        impl $name {
            /// Takes what its options say about the configuration.
            pub(super) fn options(&mut self) -> ConfigOptions {
                ConfigOptions {
                    config: self.config.take(),
                    listen: core::mem::take(&mut self.listen),
                    log_level: self.log_level.take(),
                }
            }
        }
    };
}

/// A command about a server that runs: the options that say which.
macro_rules! with_pid_file {
    ($(#[$($about:tt)*])* pub(super) struct $name:ident) => {
        #[derive(FromArgs)]
        $(#[$($about)*])*
        pub(super) struct $name {
            /// the configuration file
            #[argh(option, arg_name = "file")]
            config: Option<PathBuf>,
            /// the first address that it listens on, when it runs without a configuration
            #[argh(option, arg_name = "addr:port")]
            listen: Vec<ListenAddress>,
            /// the pid file that it holds, when another user or another session started it
            #[argh(option, arg_name = "file")]
            pub(super) pidfile: Option<PathBuf>,
        }

        impl $name {
            /// Takes what its options say about the configuration.
            pub(super) fn options(&mut self) -> ConfigOptions {
                let (config, listen) = (self.config.take(), core::mem::take(&mut self.listen));
                ConfigOptions { config, listen, log_level: None }
            }
        }
    };
}

with_options! {
    /// A small, single-threaded XML socket server for Flash, Ruffle and raw TCP clients. Without a
    /// command it serves in the foreground, as `run` does.
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
        error_code(6, "the configuration is wrong or missing")
    )]
    pub(super) struct Palabre before {
        /// print the version
        #[argh(switch, short = 'V')]
        pub(super) version: bool,
    } behind {
        #[argh(subcommand)]
        pub(super) command: Option<Command>,
    }
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub(super) enum Command {
    Run(Run),
    Start(Start),
    Stop(Stop),
    Restart(Restart),
    Status(Status),
    Check(Check),
    Client(client::Client),
    Ruffle(ruffle::Ruffle),
    Passwd(passwd::Passwd),
    Store(store::Store),
    PluginTest(plugin_test::PluginTest),
}

with_options! {
    /// serve in the foreground, until Ctrl-C
    #[argh(subcommand, name = "run", help_triggers("-h", "--help", "help"))]
    pub(super) struct Run behind {
        /// leave the terminal: what `start` starts
        #[argh(switch, hidden_help)]
        pub(super) detached: bool,
        /// what relative paths are relative to
        #[argh(option, hidden_help)]
        pub(super) directory: Option<PathBuf>,
    }
}

with_options! {
    /// serve in the background; returns when it serves, or says why it doesn't
    #[argh(subcommand, name = "start", help_triggers("-h", "--help", "help"))]
    pub(super) struct Start
}

with_options! {
    /// stop the server that the pid file names, and start it anew
    #[argh(subcommand, name = "restart", help_triggers("-h", "--help", "help"))]
    pub(super) struct Restart
}

with_pid_file! {
    /// stop the server that the pid file names; returns when it is gone
    #[argh(subcommand, name = "stop", help_triggers("-h", "--help", "help"))]
    pub(super) struct Stop
}

with_pid_file! {
    /// say whether the server that the pid file names is running
    #[argh(subcommand, name = "status", help_triggers("-h", "--help", "help"))]
    pub(super) struct Status
}

with_options! {
    /// read the configuration, say what is wrong with it, and print what would be in force
    #[argh(subcommand, name = "check", help_triggers("-h", "--help", "help"))]
    pub(super) struct Check behind {
        /// print a table of all keys instead
        #[argh(switch)]
        pub(super) keys: bool,
    }
}

/// Why words are no arguments to act by.
pub(super) enum Unparsed {
    /// Help was asked for; this is it.
    Help(String),
    /// They are wrong; what is told of them.
    Wrong(String),
}

/// Reads words as arguments.
///
/// # Errors
/// What is to be told instead.
pub(super) fn parse<Arguments: TopLevelCommand>(
    program: &str,
    words: &[&str],
) -> Result<Arguments, Unparsed> {
    Arguments::from_args(&[program], words).map_err(|early| match early.status {
        Ok(()) => Unparsed::Help(early.output),
        Err(()) => {
            let complaint = early.output.trim();
            let help = |command: &[&str]| help_of::<Arguments>(program, command);
            Unparsed::Wrong(mistakes::explain(program, words, complaint, help))
        }
    })
}

/// The help of a command, by its name and those of the commands above it.
pub(super) fn help_of<Arguments: TopLevelCommand>(program: &str, command: &[&str]) -> String {
    let words = [command, &["--help"]].concat();
    let early = Arguments::from_args(&[program], &words).err();
    early.map_or_else(String::new, |early| early.output)
}
