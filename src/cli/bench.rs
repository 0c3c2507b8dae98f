//! `palabre bench`: what a host carries.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use argh::FromArgs;

use super::{Exit, Failure, say};
use crate::bench::{self, Fault, Mix, Options, Workload};

/// make work for a server and measure it: throughput, processor time, latency, memory
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "bench",
    help_triggers("-h", "--help", "help"),
    note = "The workloads:
  suite    all of the comparisons with the floor, one after the other
  fanout   members of rooms talk, so many messages in flight
  rate     members of rooms talk, so many messages a second by the clock
  private  pairs of clients, a message from one to the other
  ping     a ping in flight on each connection
  idle     sessions in rooms of ten that do nothing: memory, processor
  join     one room fills
  churn    connect, log in, join, leave, quit
  slow     one member never reads while 10 kB messages flow
  noisy    polite clients beside four that misbehave
  logins   a crowd talks, and accounts of a database log in beside it
  plugins  polite clients beside four plugins that misbehave

Without --connect it starts a server of its own on a free port, with a certificate of its
own where --over asks for TLS. With --connect any certificate is taken: it measures, and
does not judge. Every workload fails when a delivery is missing, doubled or out of order.",
    example = "What a room of 100 costs beside the least that the system charges for it:
  $ palabre bench fanout --members 100 --floor --rounds 5"
)]
pub(super) struct Bench {
    /// what to measure (default: fanout)
    #[argh(positional, default = "Workload::Fanout")]
    workload: Workload,
    /// a server that runs already; its limits have to allow for the load
    #[argh(option, arg_name = "host:port")]
    connect: Option<String>,
    /// that server's process, when it can't be found by its port
    #[argh(option, arg_name = "pid")]
    pid: Option<u32>,
    /// measure another build of the server alternately
    #[argh(option, arg_name = "program")]
    against: Option<PathBuf>,
    /// measure the floor alternately: a relay that only finds NULs and writes
    #[argh(switch)]
    floor: bool,
    /// what the connections speak (default: stanzas): stanzas, websocket, tls, wss, or several
    /// at once, so many of each: websocket:5000,tls:1000
    #[argh(option, arg_name = "transport", default = "Mix::default()")]
    over: Mix,
    /// measure the same over stanzas alternately
    #[argh(switch)]
    beside_stanzas: bool,
    /// how often each is measured; the medians are shown (default: 1)
    #[argh(option, arg_name = "n", default = "1")]
    rounds: usize,
    /// how long a measurement takes (default: 2)
    #[argh(option, arg_name = "s", default = "2.0", from_str_fn(seconds))]
    seconds: f64,
    /// rooms (fanout, rate, noisy, plugins)
    #[argh(option, arg_name = "n")]
    rooms: Option<usize>,
    /// members of each room (all in which there are rooms)
    #[argh(option, arg_name = "n")]
    members: Option<usize>,
    /// bytes of a message's body
    #[argh(option, arg_name = "bytes")]
    body: Option<usize>,
    /// messages in flight in each room (fanout; default: 64)
    #[argh(option, arg_name = "n")]
    window: Option<usize>,
    /// messages a second in all (rate, slow, noisy, logins, plugins)
    #[argh(option, arg_name = "n")]
    rate: Option<u64>,
    /// logins a second (logins; default: 200)
    #[argh(option, arg_name = "n", default = "200", from_str_fn(logins))]
    logins: u64,
    /// connections (ping), pairs (private), sessions (idle, churn, logins)
    #[argh(option, arg_name = "n")]
    connections: Option<usize>,
    /// joins at once (join; default: 1)
    #[argh(option, arg_name = "n", default = "1")]
    at_once: usize,
    /// write everything to this file, too
    #[argh(option, arg_name = "file")]
    json: Option<PathBuf>,
    /// count the server's system calls with strace, in a measurement of its own
    #[argh(switch)]
    syscalls: bool,
    /// plot the latencies, also when nobody watches a terminal
    #[argh(switch)]
    plot: bool,
    /// be the relay
    #[argh(switch, hidden_help)]
    serve_floor: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3_600.0 => Ok(seconds),
        _ => Err(format!("found {text:?}, needs seconds above 0 and up to 3600")),
    }
}

fn logins(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(logins) if (1..=100_000).contains(&logins) => Ok(logins),
        _ => Err(format!("found {text:?}, needs a number from 1 to 100000")),
    }
}

/// Measures.
///
/// # Errors
/// When something can't be measured, or a delivery went wrong.
pub(super) fn bench(arguments: Bench) -> Result<Exit, Failure> {
    if arguments.serve_floor {
        return serve_floor();
    }
    let options = Options {
        workload: arguments.workload,
        connect: arguments.connect,
        pid: arguments.pid,
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
    };
    bench::run(&options, &mut io::stdout()).map_err(|fault| {
        let wrong_arguments =
            matches!(fault, Fault::FloorSpeaksStanzas { .. } | Fault::NeedsOwnServer);
        let exit = if wrong_arguments { Exit::Usage } else { Exit::Failed };
        Failure::new(exit, format_args!("bench: {fault}"))
    })?;
    Ok(Exit::Success)
}

fn serve_floor() -> Result<Exit, Failure> {
    let failed = |error: io::Error| Failure::system(&error, format_args!("the relay: {error}"));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    crate::net::raise_descriptor_limit();
    let listener = crate::net::listen(any).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    say(format_args!("listening on {address}"));
    bench::serve_floor(listener).map_err(failed)?;
    Ok(Exit::Success)
}
