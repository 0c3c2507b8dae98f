//! `palabre-bench`: the load generator as it is built, small. What it measures is no matter
//! here; that it measures, counts right and fails when it should is.

#[path = "support/built.rs"]
mod built;
#[path = "support/manual.rs"]
mod manual;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use built::{Built, PATIENCE, read_until, until};
use rustix::process::{Pid, Signal, kill_process};

use serde_json::Value;

const SERVER: &str = env!("CARGO_BIN_EXE_palabre");

const GENERATOR: &str = env!("CARGO_BIN_EXE_palabre-bench");

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

fn bench(arguments: &[&str]) -> Output {
    command(GENERATOR).args(arguments).output().expect("the built binary runs")
}

/// What a run found, by its `--json` file and what it printed.
fn found(arguments: &[&str]) -> (Value, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path of UTF-8");
    // A room is full when it is full.
    let seconds: &[&str] = if arguments[0] == "join" { &[] } else { &["--seconds", "0.05"] };
    let output = bench(&[arguments, seconds, &["--json", path]].concat());
    let (printed, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {printed}{told}");
    assert_eq!(told, "", "no progress bar in a pipe");
    let text = std::fs::read_to_string(path).expect("the file was written");
    let mut json: Value = serde_json::from_str(&text).expect("it is JSON");
    (json["workloads"][0].take(), printed.into_owned())
}

#[test]
fn a_run_that_finds_nothing_leaves_the_figures_of_the_one_before() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"before").expect("it is written");
    let path = file.path().to_str().expect("a path of UTF-8");
    // Nobody listens on port 1.
    let output = bench(&["ping", "--connect", "127.0.0.1:1", "--json", path]);
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(std::fs::read_to_string(path).expect("it is there"), "before");
}

/// A server with this configuration; ended when it goes.
struct Server {
    built: Built,
    address: String,
}

impl Server {
    fn start(configuration: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let pid_file = file.path().with_extension("pid");
        let text = format!("{configuration}\n[daemon]\npidfile = {}\n", pid_file.display());
        std::fs::write(file.path(), text).expect("a configuration");
        let run = ["run", "--listen", "127.0.0.1:0", "--config"];
        let mut built = Built::start(command(SERVER).args(run).arg(file.path()));
        // It removes its pid file.
        built.ends_by_itself = true;
        let address = built.address();
        Self { built, address }
    }
}

#[test]
fn each_workload_counts_on_the_server_and_on_the_floor() {
    for (workload, sizes) in [
        ("fanout", &["--rooms", "2", "--members", "5", "--window", "8", "--rounds", "2"][..]),
        ("rate", &["--members", "5", "--rate", "2000"]),
        ("private", &["--connections", "3"]),
        ("ping", &["--connections", "3"]),
        ("churn", &["--connections", "3"]),
        ("join", &["--members", "20", "--at-once", "4"]),
    ] {
        let (json, printed) = found(&[&[workload, "--floor"], sizes].concat());
        assert_eq!(json["workload"], workload);
        assert!(printed.contains("times floor, per CPU second"), "{printed}");
        for (index, name) in ["palabre", "floor"].iter().enumerate() {
            let server = &json["servers"][index];
            assert_eq!(server["server"], *name, "{workload}");
            for round in server["rounds"].as_array().expect("rounds") {
                assert!(round["count"].as_u64() > Some(0), "{workload} of {name}: {round}");
            }
        }
    }
}

/// Every workload over this transport, or this mix of several.
fn counts_over(over: &str) {
    for (workload, sizes) in [
        ("fanout", &["--rooms", "2", "--members", "5", "--window", "8"][..]),
        ("rate", &["--members", "5", "--rate", "2000"]),
        ("private", &["--connections", "3"]),
        ("ping", &["--connections", "3"]),
        ("churn", &["--connections", "3"]),
        ("join", &["--members", "20", "--at-once", "4"]),
        ("noisy", &["--rooms", "2", "--members", "5"]),
        #[cfg(feature = "sqlite")]
        ("logins", &["--connections", "10", "--members", "5"]),
    ] {
        let (json, printed) = found(&[&[workload, "--over", over], sizes].concat());
        let count = &json["servers"][0]["rounds"][0]["count"];
        assert!(count.as_u64() > Some(0), "{workload} over {over}: {count}");
        assert!(printed.contains(&format!(", over {over}\n")), "{printed}");
    }
}

#[test]
fn a_transport_is_measured_beside_stanzas() {
    let over = ["fanout", "--members", "5", "--over", "websocket", "--beside-stanzas"];
    let (json, printed) = found(&over);
    assert!(printed.contains("times stanzas, per CPU second"), "{printed}");
    for (index, name) in ["palabre", "stanzas"].iter().enumerate() {
        let server = &json["servers"][index];
        assert_eq!(server["server"], *name);
        assert!(server["rounds"][0]["count"].as_u64() > Some(0), "{server}");
    }
}

#[test]
fn each_workload_counts_in_web_sockets() {
    counts_over("websocket");
}

#[cfg(feature = "tls")]
#[test]
fn each_workload_counts_in_tls() {
    counts_over("tls");
}

#[cfg(feature = "tls")]
#[test]
fn each_workload_counts_in_web_sockets_in_tls() {
    counts_over("wss");
}

#[cfg(feature = "tls")]
#[test]
fn one_room_holds_what_speaks_differently() {
    let over = "websocket:5,tls:3,wss:2,stanzas:1";
    counts_over(over);
    let (json, printed) = found(&["rate", "--over", over, "--rate", "2000"]);
    let round = &json["servers"][0]["rounds"][0];
    assert!(printed.contains("1 × 11 members"), "{printed}");
    for name in ["websocket", "tls", "wss", "stanzas"] {
        let latency = &round["latency_us_by_transport"][name];
        assert!(latency["p99"].as_f64() > Some(0.0), "{name}: {round}");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn accounts_log_in_beside_a_chat_and_a_wrong_password_is_refused() {
    let (json, printed) = found(&["logins", "--connections", "20", "--logins", "2000"]);
    assert!(printed.contains("2 × 10 members"), "{printed}");
    assert!(printed.contains("with a wrong password were refused"), "{printed}");
    let logins = &json["logins"];
    for name in ["allowed", "refused", "per_second"] {
        assert!(logins[name].as_f64() > Some(0.0), "{name}: {logins}");
    }
    for (index, name) in ["alone", "beside"].iter().enumerate() {
        let server = &json["servers"][index];
        assert_eq!(server["server"], *name);
        assert!(server["rounds"][0]["count"].as_u64() > Some(0), "{name}: {server}");
    }
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn logins_need_sqlite() {
    let output = bench(&["logins", "--connections", "20"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("built without the Cargo feature sqlite"), "{told}");
}

#[test]
fn rude_plugins_are_held_against_none() {
    let (json, printed) = found(&["plugins", "--rooms", "2", "--members", "5"]);
    assert!(printed.contains("memory grew by "), "{printed}");
    assert_eq!(json["plugins"].as_array().map(Vec::len), Some(4), "{json}");
    for server in json["servers"].as_array().expect("two of them") {
        assert!(server["rounds"][0]["count"].as_u64() > Some(0), "{server}");
    }
}

#[test]
fn the_polite_are_held_against_attacks_one_after_the_other() {
    let attacks = ["large-messages", "last-seconds", "guesses", "deaf-console"];
    let chosen = attacks.iter().rev().flat_map(|attack| ["--attack", attack]);
    let (json, printed) = found(&[vec!["rude"], chosen.collect()].concat());
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[1].starts_with("attack ") && lines[1].ends_with(" verdict"), "{printed}");
    // In the order of the list, whatever the order of the options.
    for (index, name) in attacks.iter().enumerate() {
        let line = lines[2 + index];
        assert!(line.starts_with(&format!("{name} ")) && line.ends_with("  ok"), "{printed}");
        let attack = &json["attacks"][index];
        assert_eq!(attack["attack"], *name, "{json}");
        assert!(attack["p99_beside_us"].as_f64() > Some(0.0), "{attack}");
        let [peak, max] = ["memory_peak_bytes", "memory_bytes_max"].map(|key| attack[key].as_u64());
        assert!(peak > Some(0) && peak < max, "{attack}");
    }
    // One round has no median.
    assert_eq!((&json["judged"], lines.len()), (&Value::Bool(false), 7), "{printed}");
    assert!(lines[6].contains("--rounds 3"), "{printed}");
}

#[cfg(feature = "tls")]
#[test]
fn the_polite_are_attacked_over_what_they_speak() {
    let arguments = ["rude", "--attack", "tls-records", "--over", "websocket:50,tls:50"];
    let (json, printed) = found(&arguments);
    assert!(printed.contains("in rooms of ten, over websocket:50,tls:50;"), "{printed}");
    assert_eq!(json["attacks"].as_array().map(Vec::len), Some(1), "{json}");
}

#[test]
fn attacks_are_listed() {
    let output = bench(&["rude", "--list"]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    let names: Vec<&str> = printed.lines().filter_map(|line| line.split(' ').next()).collect();
    let table = manual::part("attacks");
    let rows = table.lines().skip(2).map(|row| row.split('`').nth(1).unwrap_or_default());
    assert_eq!(names, rows.collect::<Vec<_>>(), "the manual's table of attacks");
}

#[test]
fn idle_sessions_are_weighed() {
    let (json, _) = found(&["idle", "--connections", "200"]);
    // Two pages at least hold two hundred sessions, and no session has a buffer of its own.
    let bytes = json["servers"][0]["resident_bytes_per_session"].as_u64().expect("a number");
    assert!((40..32_768).contains(&bytes), "{json}");
}

#[test]
fn idle_sessions_are_weighed_by_what_they_speak() {
    let (json, printed) = found(&["idle", "--over", "websocket:40,stanzas:20"]);
    assert!(printed.contains("60 sessions in rooms of 10"), "{printed}");
    for text in ["a session of 40 over websocket", "a session of 20 over stanzas"] {
        assert!(printed.contains(text), "{printed}");
    }
    let added = json["resident_bytes"]["added"].as_array().expect("a list");
    assert_eq!(added[0]["sessions"], 40, "{json}");
}

#[test]
fn the_latencies_are_plotted_where_asked_for() {
    let (_, printed) = found(&["ping", "--connections", "1", "--plot"]);
    assert!(printed.contains("latency: up") && printed.contains('⠀'), "{printed}");
}

#[test]
fn a_server_that_runs_already_is_measured_with_its_processor_time() {
    let server = Server::start("[limits]\nstanzarate = 0\nbyterate = 0\n");
    let (json, _) = found(&["fanout", "--members", "3", "--connect", &server.address]);
    assert!(json["servers"][0]["rounds"][0]["processor_seconds"].is_number(), "{json}");
}

#[cfg(feature = "tls")]
#[test]
fn any_certificate_of_a_server_that_runs_already_is_taken() {
    let folder = tempfile::tempdir().expect("a directory");
    let own = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("certificate"), folder.path().join("key"));
    std::fs::write(&certificate, own.cert.pem()).expect("a file");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("a file");
    let server = Server::start(&format!(
        "[limits]\nstanzarate = 0\nbyterate = 0\n[tls]\ncertificate = {}\nkey = {}\n",
        certificate.display(),
        key.display()
    ));
    let over = "tls:2,wss:2";
    let (json, _) = found(&["fanout", "--over", over, "--connect", &server.address]);
    assert!(json["servers"][0]["rounds"][0]["count"].as_u64() > Some(0), "{json}");
}

#[test]
fn a_server_that_does_not_speak_it_is_told_on() {
    let server = Server::start("[web]\nwebsocket = no\n");
    for (over, text) in [
        ("websocket", "over websocket: it refused a WebSocket: 403 Forbidden"),
        #[cfg(feature = "tls")]
        ("tls", "over tls: TLS: received fatal alert: HandshakeFailure"),
        #[cfg(not(feature = "tls"))]
        ("tls", "built without the Cargo feature tls"),
    ] {
        let output = bench(&["ping", "--over", over, "--connect", &server.address]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{over}: {told}");
        assert!(told.contains(text), "{over}: {told}");
    }
}

#[test]
fn a_limit_in_the_way_is_named() {
    let server = Server::start("[limits]\nstanzarate = 10\nstanzaburst = 20\n");
    let output = bench(&["ping", "--connections", "1", "--connect", &server.address]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("Too many stanzas (limit 10 per second)"), "{told}");
    assert!(told.contains("stanzarate = 0"), "{told}");
}

#[test]
fn wrong_arguments_are_explained() {
    for (arguments, code, text) in [
        (&["fan"][..], 2, "needs one of suite, fanout"),
        (&["ping", "--seconds", "0"], 2, "needs seconds above 0"),
        (&["ping", "--over", "ssl"], 2, "needs one of stanzas, websocket, tls, wss"),
        (&["ping", "--over", "websocket", "--floor"], 2, "the relay knows no transports"),
        (&["logins", "--connect", "127.0.0.1:1"], 2, "leave out --connect"),
        (&["plugins", "--connect", "127.0.0.1:1"], 2, "leave out --connect"),
        (&["rude", "--connect", "127.0.0.1:1"], 2, "leave out --connect"),
        (&["rude", "--attack", "long"], 2, "needs one of long-names, namespaces, "),
        (&["fanout", "--attack", "params"], 2, "leave out --attack"),
        (&["noisy", "--list"], 2, "leave out --list"),
        (&["logins", "--logins", "0"], 2, "needs a number from 1 to 100000"),
        // What a workload would pass over.
        (&["idle", "--rounds", "3", "--plot"], 2, "idle does not take --rounds and --plot"),
        (&["idle", "--rounds", "3"], 2, "--seconds, --members, --connections"),
        (&["join", "--seconds", "1"], 2, "leave out --seconds"),
        (&["fanout", "--rate", "5"], 2, "leave out --rate"),
        (&["ping", "--body", "5"], 2, "leave out --body"),
        (&["slow", "--floor"], 2, "leave out --floor"),
        (&["suite", "--at-once", "2"], 2, "leave out --at-once"),
        (&["fanout", "--pid", "1"], 2, "--pid needs --connect"),
        (&["fanout", "--beside-stanzas"], 2, "needs --over"),
        (&["logins", "--rooms", "2", "--connections", "9"], 2, "needs one of them"),
        // What is out of range.
        (&["fanout", "--rounds", "0"], 2, "needs a number from 1 to 10000"),
        (&["fanout", "--rooms", "0"], 2, "needs a number from 1 to 10000000"),
        (&["fanout", "--rooms", "-1"], 2, "needs a number from 1 to 10000000"),
        (&["fanout", "--members", "1"], 2, "fanout needs at least 2"),
        (&["fanout", "--window", "100001"], 2, "needs a number from 1 to 100000"),
        (&["fanout", "--body", "65001"], 2, "needs a number from 0 to 65000"),
        (&["rate", "--rate", "0"], 2, "needs a number from 1 to 10000000"),
        (&["join", "--at-once", "x"], 2, "needs a number from 1 to 10000000"),
        (&["fanout", "--seconds", "nan"], 2, "up to 3600"),
        (&["fanout", "--against", "/no/such/program"], 2, "needs a program"),
        (&["fanout", "--server", "/no/such/program"], 2, "--server /no/such/program: needs a"),
        (&["ping", "--server", SERVER, "--connect", "127.0.0.1:1"], 2, "needs one of them"),
        (&["fanuot"], 2, "; the nearest is fanout\n"),
        (&["rude", "--attack", "long-nmaes"], 2, "; the nearest is long-names\n"),
        (&["ping", "--over", "websokcet:2"], 2, "; the nearest is websocket\n"),
        (&["ping", "--json", "none/x"], 2, "--json none/x: No such file"),
        (&["ping", "--json", "."], 2, "--json .: Is a directory"),
        (&["--fanout"], 2, "unknown option --fanout"),
        (&["ping", "--connect", "127.0.0.1:1", "--pid", "2147483647"], 2, "no such process"),
        (&["ping", "--connect", "nowhere"], 1, "needs HOST:PORT"),
        (&["ping", "--connect", "127.0.0.1:1"], 1, "can't connect"),
        (&["idle", "--connections", "10000000"], 1, "ulimit -n"),
    ] {
        let output = bench(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.starts_with("palabre-bench: "), "{arguments:?}: {told}");
        assert!(told.contains(text), "{arguments:?}: {told}");
    }
}

#[test]
fn help_and_version_are_the_load_generators() {
    for (option, text) in [
        ("--help", "Usage: palabre-bench "),
        ("-V", concat!("palabre-bench ", env!("CARGO_PKG_VERSION"), "\n")),
    ] {
        let output = bench(&[option]);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{printed}");
        assert!(printed.starts_with(text), "{printed}");
    }
}

#[test]
fn a_list_that_can_not_be_written_is_no_success() {
    let full = File::options().write(true).open("/dev/full").expect("a full disk");
    let ran = command(GENERATOR).args(["rude", "--list"]).stdout(full).output();
    let ran = ran.expect("the built binary runs");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{told}");
    assert!(told.starts_with("palabre-bench: can't write the output: No space"), "{told}");
}

#[test]
fn the_server_is_the_one_beside_the_generator_or_the_one_that_is_named() {
    let folder = tempfile::tempdir().expect("a directory");
    let alone = folder.path().join("palabre-bench");
    std::fs::copy(GENERATOR, &alone).expect("a copy");
    let run = |arguments: &[&str]| {
        let mut command = command(alone.to_str().expect("a path of UTF-8"));
        command.args(["ping", "--connections", "1", "--seconds", "0.05"]).args(arguments);
        command.output().expect("the copy runs")
    };
    let output = run(&[]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let wanted = folder.path().join("palabre");
    assert!(told.contains(&format!("needs {}, or --server", wanted.display())), "{told}");
    let output = run(&["--server", SERVER]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A run of the load generator.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = command(GENERATOR);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the built binary runs"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    /// Its exit code and what it has printed, when it has ended.
    fn end(mut self) -> (Option<i32>, String) {
        let (sender, receiver) = mpsc::channel();
        let mut printed = self.0.stdout.take().expect("its output");
        thread::spawn(move || {
            let mut text = String::new();
            printed.read_to_string(&mut text).expect("it is text");
            sender.send(text).expect("somebody waits");
        });
        let text = receiver.recv_timeout(PATIENCE);
        let _ = self.0.kill();
        let status = self.0.wait().expect("it was started");
        (status.code(), text.expect("it ended in time"))
    }
}

/// The server of a run is a script that opens a pipe and becomes the server, which then has the
/// pipe open as long as it lives.
#[test]
fn the_server_of_a_run_ends_with_it_however_that_ends() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (pipe, script) = (path("pipe"), path("server"));
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let text = format!("#!/bin/sh\nexec 9>'{pipe}'\necho up >&9\nexec '{SERVER}' \"$@\"\n");
    std::fs::write(&script, text).expect("a file");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a program");
    // As one that says nothing, too: its address is waited for.
    let silent = path("silent");
    let text = format!("#!/bin/sh\nexec 9>'{pipe}'\necho up >&9\nexec sleep 1000000\n");
    std::fs::write(&silent, text).expect("a file");
    std::fs::set_permissions(&silent, std::fs::Permissions::from_mode(0o755)).expect("a program");
    for (server, signal) in [
        (&script, Signal::TERM),
        (&script, Signal::HUP),
        (&script, Signal::INT),
        (&script, Signal::QUIT),
        (&script, Signal::KILL),
        (&silent, Signal::INT),
        (&silent, Signal::KILL),
    ] {
        let arguments = ["idle", "--connections", "3", "--seconds", "3600", "--against", server];
        let run = Running::start(&arguments);
        let (sender, receiver) = mpsc::channel();
        let pipe = pipe.clone();
        thread::spawn(move || {
            let mut lines = BufReader::new(File::open(pipe).expect("the pipe")).lines();
            sender.send(lines.next().expect("a line").expect("text")).expect("somebody waits");
            sender.send(format!("{} more lines", lines.count())).expect("somebody waits");
        });
        assert_eq!(receiver.recv_timeout(PATIENCE).as_deref(), Ok("up"), "{server} {signal:?}");
        run.signal(signal);
        let (code, _) = run.end();
        assert_eq!(code.is_none(), signal == Signal::KILL, "{server} {signal:?}: {code:?}");
        let gone = receiver.recv_timeout(PATIENCE);
        assert_eq!(gone.as_deref(), Ok("0 more lines"), "{server} {signal:?} leaves its server");
    }
}

#[test]
fn idle_sessions_are_left_at_once_when_asked_to() {
    let server = Server::start("[limits]\nstanzarate = 0\n[logging]\nloglevel = debug\n");
    let address = &server.address;
    let run =
        Running::start(&["idle", "--connections", "3", "--seconds", "3600", "--connect", address]);
    // One session comes and goes, then three come.
    for _ in 0..2 {
        read_until(&server.built.log, "created room").expect("the sessions come");
    }
    // Three stanzas each, and then they rest.
    let all = "\npalabre_stanzas_received_total 12\n";
    until("each session has sent three stanzas", || {
        let mut stream = TcpStream::connect(address).expect("it serves");
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).expect("it answers");
        metrics.contains(all).then_some(())
    });
    run.signal(Signal::INT);
    let (code, printed) = run.end();
    // It may not have heard the last answer yet; then there is nothing to print.
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    assert_eq!(code == Some(0), printed.contains("3 sessions in rooms of 10"), "{printed}");
}
