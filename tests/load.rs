//! `palabre bench`: the load generator as it is built, small. What it measures is no matter
//! here; that it measures, counts right and fails when it should is.

#![cfg(feature = "bench")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn palabre() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palabre"));
    command.stdin(Stdio::null());
    command
}

fn bench(arguments: &[&str]) -> Output {
    palabre().arg("bench").args(arguments).output().expect("the built binary runs")
}

/// What a run found, by its `--json` file and what it printed.
fn found(arguments: &[&str]) -> (Value, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path of UTF-8");
    let output = bench(&[arguments, &["--seconds", "0.05", "--json", path]].concat());
    let (printed, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {printed}{told}");
    assert_eq!(told, "", "no progress bar in a pipe");
    let text = std::fs::read_to_string(path).expect("the file was written");
    let mut json: Value = serde_json::from_str(&text).expect("it is JSON");
    (json["workloads"][0].take(), printed.into_owned())
}

/// A server with this configuration; ended when it goes.
struct Server(Child, String);

impl Server {
    fn start(configuration: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), configuration).expect("a configuration");
        let mut child = palabre()
            .args(["run", "--listen", "127.0.0.1:0", "--config"])
            .arg(file.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let console = BufReader::new(child.stdout.take().expect("its console"));
        let address = console
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
            .expect("it says where it listens");
        Self(child, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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

#[test]
fn idle_sessions_are_weighed() {
    let (json, _) = found(&["idle", "--connections", "200"]);
    assert!(json["servers"][0]["resident_bytes_per_session"].as_u64().is_some(), "{json}");
}

#[test]
fn the_latencies_are_plotted_where_asked_for() {
    let (_, printed) = found(&["ping", "--connections", "1", "--plot"]);
    assert!(printed.contains("latency: up") && printed.contains('⠀'), "{printed}");
}

#[test]
fn a_server_that_runs_already_is_measured_with_its_processor_time() {
    let server = Server::start("[limits]\nstanzarate = 0\n");
    let (json, _) = found(&["fanout", "--members", "3", "--connect", &server.1]);
    assert!(json["servers"][0]["rounds"][0]["processor_seconds"].is_number(), "{json}");
}

#[test]
fn a_limit_in_the_way_is_named() {
    let server = Server::start("[limits]\nstanzarate = 10\nstanzaburst = 20\n");
    let output = bench(&["ping", "--connections", "1", "--connect", &server.1]);
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
        (&["ping", "--connect", "nowhere"], 1, "needs HOST:PORT"),
        (&["ping", "--connect", "127.0.0.1:1"], 1, "can't connect"),
        (&["idle", "--connections", "100000000"], 1, "ulimit -n"),
    ] {
        let output = bench(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(text), "{arguments:?}: {told}");
    }
}
