//! Logins checked in real database servers, which the test starts in directories of its own.
//!
//! It needs PostgreSQL or MariaDB on the host, so it runs when it is named:
//! `cargo test --features postgres,mysql --test database`.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[path = "support/built.rs"]
mod built;
#[cfg(feature = "mysql")]
#[path = "database/mariadb.rs"]
mod mariadb;
#[cfg(feature = "postgres")]
#[path = "database/postgresql.rs"]
mod postgresql;
#[path = "support/worker.rs"]
mod worker;

use std::net::Ipv4Addr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use worker::{House, Worker};

/// Who runs a database server when the test is root's: it refuses to be.
const NOBODY: &str = "nobody";

/// A database server that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().unwrap())
    }

    /// Ends it in good order, as its service does.
    fn stop(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        built::ended(&mut self.0);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives a directory to whoever runs the server.
fn give_away(path: &Path) {
    if is_root() {
        let id = |option: &str| {
            let output = Command::new("id").args([option, NOBODY]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
        };
        chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
    }
}

/// A program by its name, or in one of the directories of a package that keeps it out of the way.
fn program(name: &str, directories: &[PathBuf]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(directories.iter().cloned())
        .map(|directory| directory.join(name))
        .find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Where a database server of these tests listens.
const PORT: u16 = 3_307;

/// An address of this host for one server alone, so that its port is taken by nobody else: by this
/// process and by how many it has had.
fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Tries again and again, bounded.
fn until<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let mut last = None;
    let done = built::soon(|| attempt().map_err(|error| last = Some(error)).ok());
    done.unwrap_or_else(|| panic!("in vain: {last:?}"))
}

/// A house whose logins are checked by `request` in a database of this kind, at this host.
fn house(kind: &str, host: &str, request: &str) -> House {
    House::new(&format!(
        "[database]\nusedatabase = true\ncheckpassword = true\ndbType = {kind}\ndbHost = {host}\n\
         dbUser = palabre\ndbPassword = p'w\"d\ndbDatabase = chat\ndbRequest = {request}\n"
    ))
}

/// That the request finds the table `people` with Ann, whose password is `hunter2`, and o'x,
/// whose password is `a'b"c\`, and nobody else, whatever is sent.
fn check_logins(worker: &mut Worker) {
    assert!(worker.may("Ann", "hunter2"), "{:?}", worker.log);
    assert!(worker.may("o'x", "a'b\"c\\"));
    for attack in [
        "' OR '1'='1",
        "\" OR \"1\"=\"1",
        "' OR 1=1 #",
        "\\' OR 1=1 -- ",
        "Ann' --",
        "Ann'; DROP TABLE people; --",
        "' UNION SELECT 'a', 'b' --",
        "[LOGIN]",
        "[PASSWORD]",
        "$1",
        "?",
        "nick",
        "%",
        "",
    ] {
        assert!(worker.refuses(attack, attack), "{attack}");
        assert!(worker.refuses("Ann", attack), "{attack}");
        assert!(worker.refuses(attack, "hunter2"), "{attack}");
    }
    assert!(worker.may("Ann", "hunter2"), "the table is still there: {:?}", worker.log);
    assert_eq!(worker.log.len(), 1, "{:?}", worker.log);
}

/// Asks until the answer is this one.
fn ask_until(worker: &mut Worker, allowed: bool) {
    let found = built::soon(|| (worker.may("Ann", "hunter2") == allowed).then_some(()));
    assert!(found.is_some(), "{:?}", worker.log);
}

/// That a request which fails on the values of a client lets nobody in and tells only a code.
fn check_silence(worker: &mut Worker, code: &str) {
    assert!(worker.is_unsure("Ann", "hunter2"));
    let log = worker.log.join("\n");
    assert!(log.contains(code) && log.contains("can't do [database] dbRequest"), "{log}");
    assert!(!log.contains("hunter"), "{log}");
}
