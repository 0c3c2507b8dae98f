//! Logins checked in real database servers, which the test starts in directories of its own.
//!
//! It needs PostgreSQL or MariaDB on the host, so it runs when it is named:
//! `cargo test --features postgres,mysql --test database`.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[cfg(feature = "mysql")]
#[path = "database/mariadb.rs"]
mod mariadb;
#[cfg(feature = "postgres")]
#[path = "database/postgresql.rs"]
mod postgresql;
#[path = "support/worker.rs"]
mod worker;

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use worker::{House, PATIENCE, Worker};

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
        let deadline = Instant::now() + PATIENCE;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the database server goes on");
            thread::yield_now();
        }
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

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Tries again and again, bounded.
fn until<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "in vain: {error:?}"),
        }
        thread::yield_now();
    }
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
    let deadline = Instant::now() + PATIENCE;
    while worker.may("Ann", "hunter2") != allowed {
        assert!(Instant::now() < deadline, "{:?}", worker.log);
        thread::yield_now();
    }
}

/// That a request which fails on the values of a client lets nobody in and tells only a code.
fn check_silence(worker: &mut Worker, code: &str) {
    assert!(worker.is_unsure("Ann", "hunter2"));
    let log = worker.log.join("\n");
    assert!(log.contains(code) && log.contains("can't do [database] dbRequest"), "{log}");
    assert!(!log.contains("hunter"), "{log}");
}
