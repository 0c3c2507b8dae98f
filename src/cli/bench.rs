//! The command line of `palabre-bench`, the load generator: what a host carries.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::{EarlyExit, FromArgs, TopLevelCommand};

use super::{Exit, Failure, note_unsaid, parse_words, run_program, said_by, say};
use crate::bench::{self, Fault, Mix, Options, Workload};

/// What the load generator calls itself.
const PROGRAM: &str = "palabre-bench";

/// What `--version` says.
const VERSION: &str = concat!("palabre-bench ", env!("CARGO_PKG_VERSION"));

/// Make work for a server and measure it: throughput, processor time, latency, memory.
#[derive(FromArgs)]
#[argh(
    help_triggers("-h", "--help", "help"),
    note = "The workloads:
  {{workloads}}

Without --connect it starts a server of its own on a free port, with a certificate of its
own where --over asks for TLS: the palabre beside this program, or the one that --server
names. With --connect any certificate is taken: it measures, and does not judge. Every
workload fails when a delivery is missing, doubled or out of order.
An option that a workload has no use for is refused; each says which take it. Ctrl-C ends
it early and prints what there is.",
    example = "What a room of 100 costs beside the least that the system charges for it:
  $ {command_name} fanout --members 100 --floor --rounds 5",
    error_code(1, "it failed: a delivery was wrong or missing, an attack was felt"),
    error_code(2, "wrong arguments")
)]
struct Bench {
    /// print the version
    #[argh(switch, short = 'V')]
    version: bool,
    /// what to measure (default: fanout)
    #[argh(positional, default = "Workload::Fanout")]
    workload: Workload,
    /// a server that runs already; its limits have to allow for the load (all but logins, plugins
    /// and rude)
    #[argh(option, arg_name = "host:port")]
    connect: Option<String>,
    /// that server's process, when it can't be found by its port (with --connect)
    #[argh(option, arg_name = "pid", from_str_fn(pid))]
    pid: Option<u32>,
    /// the program of the server that is started, instead of the palabre beside this program
    /// (without --connect)
    #[argh(option, arg_name = "program")]
    server: Option<PathBuf>,
    /// measure another build of the server alternately (suite, fanout, rate, private, ping,
    /// idle, join, churn)
    #[argh(option, arg_name = "program")]
    against: Option<PathBuf>,
    /// measure the floor alternately: a relay that only finds NULs and writes (suite, fanout,
    /// rate, private, ping, idle, join, churn)
    #[argh(switch)]
    floor: bool,
    /// what the connections speak (default: stanzas): stanzas, websocket, tls, wss, or several
    /// at once, so many of each: websocket:5000,tls:1000
    #[argh(option, arg_name = "transport", default = "Mix::default()")]
    over: Mix,
    /// measure the same over stanzas alternately (suite, fanout, rate, private, ping, idle, join,
    /// churn)
    #[argh(switch)]
    beside_stanzas: bool,
    /// how often each is measured; the medians are shown (all but idle and slow; default: 1)
    #[argh(option, arg_name = "n", from_str_fn(rounds))]
    rounds: Option<usize>,
    /// how long a measurement takes (all but join; default: 2)
    #[argh(option, arg_name = "s", from_str_fn(seconds))]
    seconds: Option<f64>,
    /// rooms (suite, fanout, rate, noisy, logins, plugins)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    rooms: Option<usize>,
    /// members of each room (suite, fanout, rate, idle, join, slow, noisy, logins, plugins)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    members: Option<usize>,
    /// bytes of a message's body (suite, fanout, rate, private, slow, noisy, logins, plugins)
    #[argh(option, arg_name = "bytes", from_str_fn(body))]
    body: Option<usize>,
    /// messages in flight in each room (suite, fanout; default: 64)
    #[argh(option, arg_name = "n", from_str_fn(window))]
    window: Option<usize>,
    /// messages a second in all (suite, rate, slow, noisy, logins, plugins)
    #[argh(option, arg_name = "n", from_str_fn(rate))]
    rate: Option<u64>,
    /// logins a second (logins; default: 200)
    #[argh(option, arg_name = "n", from_str_fn(logins))]
    logins: Option<u64>,
    /// connections, pairs or sessions (suite, private, ping, idle, churn, logins)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    connections: Option<usize>,
    /// joins at once (join; default: 1)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    at_once: Option<usize>,
    /// write everything to this file, too
    #[argh(option, arg_name = "file")]
    json: Option<PathBuf>,
    /// count the server's system calls with strace, in a measurement of its own (suite, fanout,
    /// rate, private, ping, churn)
    #[argh(switch)]
    syscalls: bool,
    /// plot the latencies, also when nobody watches a terminal (all but suite, idle and rude)
    #[argh(switch)]
    plot: bool,
    /// run this attack, or several, instead of all (rude)
    #[argh(option, arg_name = "name", from_str_fn(attack))]
    attack: Vec<&'static str>,
    /// tell which attacks there are (rude)
    #[argh(switch)]
    list: bool,
    /// be the relay
    #[argh(switch, hidden_help)]
    serve_floor: bool,
}

/// The same, with the workloads in the help: they are listed in one place.
struct Told(Bench);

impl TopLevelCommand for Told {}

impl FromArgs for Told {
    fn from_args(command_name: &[&str], args: &[&str]) -> Result<Self, EarlyExit> {
        Bench::from_args(command_name, args).map(Self).map_err(|early| EarlyExit {
            output: early.output.replace("{workloads}", workloads().trim()),
            ..early
        })
    }
}

/// The workloads, a line each, as the help has them.
fn workloads() -> String {
    let lines = Workload::ALL.iter().map(|(name, _, meaning)| format!("    {name:<9}{meaning}\n"));
    lines.collect()
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3_600.0 => Ok(seconds),
        _ => Err(format!("found {text:?}, needs seconds above 0 and up to 3600")),
    }
}

/// More of anything than a host has room for, and little enough to be multiplied.
const COUNT_MAX: u64 = 10_000_000;

/// The largest body of a message that, with what is around it, is a stanza of a server's default
/// size.
const BODY_BYTES_MAX: u64 = 65_000;

fn number<N: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    let number = number.and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| format!("found {text:?}, needs a number from {min} to {max}"))
}

fn count(text: &str) -> Result<usize, String> {
    number(text, 1, COUNT_MAX)
}

/// What is in flight waits in the server, and in the generator.
fn window(text: &str) -> Result<usize, String> {
    number(text, 1, 100_000)
}

fn rounds(text: &str) -> Result<usize, String> {
    number(text, 1, 10_000)
}

fn body(text: &str) -> Result<usize, String> {
    number(text, 0, BODY_BYTES_MAX)
}

fn rate(text: &str) -> Result<u64, String> {
    number(text, 1, COUNT_MAX)
}

fn logins(text: &str) -> Result<u64, String> {
    number(text, 1, 100_000)
}

fn attack(text: &str) -> Result<&'static str, String> {
    bench::attack(text)
}

fn pid(text: &str) -> Result<u32, String> {
    number(text, 1, i32::MAX as u64)
}

/// Measures what the process was started to measure.
#[must_use]
pub fn main() -> ExitCode {
    run_program(PROGRAM, |words| match words.split_first() {
        // The parser of arguments has no such command: the generator gives it to itself.
        Some((&"leashed", words)) => leashed(words),
        Some(_) | None => bench(parse_words::<Told>(PROGRAM, words)?.0),
    })
}

/// Measures.
///
/// # Errors
/// When something can't be measured, or a delivery went wrong.
fn bench(arguments: Bench) -> Result<Exit, Failure> {
    if arguments.version {
        say(VERSION);
        return said_by(PROGRAM);
    }
    if arguments.serve_floor {
        return serve_floor();
    }
    let options = Options {
        workload: arguments.workload,
        connect: arguments.connect,
        pid: arguments.pid,
        server: arguments.server,
        against: arguments.against,
        floor: arguments.floor,
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        rooms: arguments.rooms,
        members: arguments.members,
        body: arguments.body,
        window: arguments.window,
        rate: arguments.rate,
        logins: arguments.logins,
        connections: arguments.connections,
        at_once: arguments.at_once,
        over: arguments.over,
        beside_stanzas: arguments.beside_stanzas,
        json: arguments.json,
        syscalls: arguments.syscalls,
        plot: arguments.plot,
        attacks: arguments.attack,
        list: arguments.list,
    };
    bench::run(&options, &mut Console).map_err(|fault| {
        let wrong_arguments = matches!(fault, Fault::Usage { .. });
        let exit = if wrong_arguments { Exit::Usage } else { Exit::Failed };
        Failure::of(PROGRAM, exit, fault)
    })?;
    said_by(PROGRAM)
}

/// What is measured is printed as it comes; that it could not be is told at the end.
struct Console;

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        note_unsaid(io::stdout().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        note_unsaid(io::stdout().flush());
        Ok(())
    }
}

fn serve_floor() -> Result<Exit, Failure> {
    let failed = |error: io::Error| failure(&error, format_args!("the relay: {error}"));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    crate::net::raise_descriptor_limit();
    let listener = crate::net::listen(any).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    say(format_args!("listening on {address}"));
    bench::serve_floor(listener).map_err(failed)?;
    Ok(Exit::Success)
}

/// Something that the system refused, with the exit code for its kind.
fn failure(error: &io::Error, text: impl fmt::Display) -> Failure {
    Failure::of(PROGRAM, Exit::of(error.kind()), text)
}

/// What a server is started by that is to be measured: it becomes the program behind `PID --`,
/// which is ended when the process PID ends that started it, however that comes about. Nobody else
/// ends it then.
///
/// # Errors
/// When there is no such program.
fn leashed(words: &[&str]) -> Result<Exit, Failure> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let [parent, "--", program, arguments @ ..] = words else {
        return Err(Failure::of(PROGRAM, Exit::Usage, "leashed: needs PID -- PROGRAM ARGUMENTS"));
    };
    // Where that can't be had, the server is ended by what its parent does at its own end.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let is_own = |pid: rustix::process::Pid| pid.as_raw_nonzero().to_string() == *parent;
    if !getppid().is_some_and(is_own) {
        let text = "leashed: the process that started this one has ended";
        return Err(Failure::of(PROGRAM, Exit::Failed, text));
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(failure(&error, format_args!("can't run {program}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Setting;

    /// What the help says that takes an option: the workloads in its parentheses.
    fn named(help: &str, option: &str) -> Vec<&'static str> {
        let start = help.find(&format!("\n  {option} ")).unwrap() + 3;
        let text = &help[start..];
        let end = text.find("\n  -").or_else(|| text.find("\n\n")).unwrap();
        let text = text[..end].split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, named) = text.split_once('(').unwrap_or_else(|| panic!("{text}"));
        let is_named =
            |name: &str| named.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name);
        let but = named.starts_with("all but ");
        let names = Workload::ALL.iter().map(|(name, _, _)| *name);
        names.filter(|name| is_named(name) != but).collect()
    }

    #[test]
    fn the_help_says_which_workload_takes_which_option() {
        let help = match Told::from_args(&[PROGRAM], &["--help"]) {
            Ok(_) => panic!("no help"),
            Err(early) => early.output,
        };
        // These depend on --connect instead, and the help says so.
        let by_connect = |setting: &Setting| matches!(setting, Setting::Pid | Setting::Server);
        for setting in Setting::ALL.into_iter().filter(|setting| !by_connect(setting)) {
            let taking = Workload::ALL.iter().filter(|(_, own, _)| setting.is_taken_by(*own));
            let taking: Vec<&str> = taking.map(|(name, _, _)| *name).collect();
            assert_eq!(named(&help, &setting.to_string()), taking, "{setting}");
        }
        for (name, _, meaning) in Workload::ALL {
            assert!(help.contains(&format!("\n    {name:<9}{meaning}\n")), "{help}");
        }
    }
}
