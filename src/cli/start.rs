//! `palabre start` and `restart`: a server that outlives its terminal.
//!
//! The server is this binary again, `run --detached`, in a session of its own. It says on its
//! standard output where it listens and then that it serves; what is wrong it says on the
//! terminal's standard error, which it keeps until then.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::findings::Purpose;
use super::pid_file::{self, State};
use super::{Exit, Failure, findings, program, say, sought, stop, wanted_pid_file};
use crate::config::{self, Arguments, Config};

/// The line by which the server tells that it serves: ACK, which no other line is.
pub(super) const READY: &str = "\u{6}";

/// Starts a server. That one is running is no failure.
///
/// # Errors
/// Whatever keeps it from serving.
pub(super) fn start(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = config::load(arguments)?;
    if let Some(path) = wanted_pid_file(&config)
        && let State::Running(pid) = pid_file::state(&path)?
    {
        let (pid, path) = (pid.as_raw_nonzero(), path.display());
        say(format_args!("palabre is already running, pid {pid} (pid file {path})"));
        return Ok(Exit::Success);
    }
    launch(arguments, &config)
}

/// Stops the server, if one is running, and starts one.
///
/// # Errors
/// When anything would keep the new one from starting: then nothing is stopped. Else as `stop` and
/// `start`.
pub(super) fn restart(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut config = config::load(arguments)?;
    let sought = sought::sought_by(&config);
    let state =
        sought.as_ref().map_or(Ok(State::Absent), |sought| pid_file::state(&sought.path))?;
    // What it warns of is told by the new server.
    super::run::take_defaults(&mut config);
    let failures = findings::look(&config, Purpose::Start).failures;
    if let Some(first) = failures.first() {
        let exit = first.exit;
        let mut text: Vec<String> = failures.into_iter().map(|failure| failure.text).collect();
        if let State::Running(pid) = state {
            let pid = pid.as_raw_nonzero();
            text.push(format!("palabre: nothing was stopped, pid {pid} serves on"));
        } else if let Some(sought) = &sought
            && state == State::Absent
            && let Some(doubt) = sought::doubt(sought, "stop")
        {
            let file = sought.path.display();
            text.push(format!("palabre: there is no pid file {file}, but {doubt}"));
        }
        return Err(Failure { exit, text: text.join("\n") });
    }
    if let Some(sought) = sought
        && let State::Running(pid) = stop::stop_holder(&sought.path)?
    {
        say(format_args!("palabre stopped, pid {}", pid.as_raw_nonzero()));
    }
    launch(arguments, &config)
}

fn launch(arguments: &Arguments, config: &Config) -> Result<Exit, Failure> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::system(&error, format_args!("{what}: {error}"))
    };
    let program = env::current_exe().map_err(|error| failed("can't find this program", error))?;
    let mut child = command(program, arguments, config)
        .spawn()
        .map_err(|error| failed("can't start the server", error))?;
    if relay_until_ready(&mut child) {
        say(format_args!("palabre started, pid {}", child.id()));
        return Ok(Exit::Success);
    }
    let status = child.wait().map_err(|error| failed("lost the server", error))?;
    // It has said why.
    let exit = match status.code() {
        Some(4) => Exit::NotPermitted,
        Some(6) => Exit::NotConfigured,
        Some(0) => return Err(Failure::new(Exit::Failed, "the server was told to end")),
        Some(_) => Exit::Failed,
        None => {
            return Err(Failure::new(
                Exit::Failed,
                format_args!("the server ended early, {status}"),
            ));
        }
    };
    Err(Failure { exit, text: String::new() })
}

fn command(program: PathBuf, arguments: &Arguments, config: &Config) -> Command {
    let called = self::program();
    let mut command = Command::new(program);
    // A path would lead nowhere from where the server stands.
    if !called.contains('/') {
        command.arg0(called);
    }
    command.arg("run").arg("--detached").arg("--directory").arg(&arguments.directory);
    if let Some(source) = &config.source {
        command.arg("--config").arg(source);
    }
    for place in &arguments.listen {
        command.arg("--listen").arg(place.to_string());
    }
    if let Some(level) = arguments.log_level {
        command.arg("--log-level").arg(level.to_string());
    }
    // No directory is kept from being unmounted.
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Prints what the server says; whether it came to serve.
fn relay_until_ready(child: &mut Child) -> bool {
    let Some(output) = child.stdout.take() else { return false };
    for line in BufReader::new(output).lines() {
        match line {
            Ok(line) if line == READY => return true,
            Ok(line) => say(line),
            Err(_) => break,
        }
    }
    false
}
