//! Signals at any moment: none but those that ask for the end ends a server, and each of those
//! ends it at once while it starts.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};

use rustix::process::Signal;

use crate::built::{Built, until};
use crate::house::{House, Talk, addresses, announced, gentle, read_until};

/// A server that waits for its configuration, and the other end of it: so far it has come, and no
/// further.
fn starting(house: &House) -> (Built, ChildStdin) {
    let binary = env!("CARGO_BIN_EXE_palabre");
    let words = [binary, "run", "--config", "/dev/stdin", "--listen", "127.0.0.1:0"];
    let mut child = house.program("setsid", &words).stdin(Stdio::piped()).spawn().unwrap();
    let config = child.stdin.take().unwrap();
    let descriptors = format!("/proc/{}/fd", child.id());
    let link = |place: PathBuf| fs::read_link(place).ok();
    // It has opened what it has as its standard input once more.
    until("it reads its configuration", || {
        let pipe = link(PathBuf::from(&descriptors).join("0"))?;
        let open = fs::read_dir(&descriptors).ok()?.filter_map(|entry| link(entry.ok()?.path()));
        (open.filter(|other| *other == pipe).count() > 1).then_some(())
    });
    (gentle(Built::of(child)), config)
}

/// Those that mean nothing to a server, the first and the last of real time among them.
fn meaningless() -> Vec<i32> {
    let named = [
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::POWER,
        Signal::STKFLT,
        Signal::WINCH,
        Signal::URG,
        Signal::PIPE,
        Signal::XCPU,
        Signal::XFSZ,
        Signal::CONT,
        Signal::CHILD,
    ];
    named.iter().map(|signal| signal.as_raw()).chain([35, 64]).collect()
}

/// By its number, since those of real time have no names.
fn send(house: &House, server: &Built, signal: i32) {
    let arguments = [format!("-{signal}"), server.child.id().to_string()];
    let arguments = arguments.each_ref().map(String::as_str);
    assert!(house.program("kill", &arguments).status().unwrap().success(), "{signal}");
}

#[test]
fn a_signal_without_a_meaning_ends_no_server_and_a_hangup_at_its_start_waits() {
    let house = House::new();
    let (mut server, mut config) = starting(&house);
    for signal in meaningless() {
        send(&house, &server, signal);
    }
    server.signal(Signal::HUP);
    config.write_all(b"[daemon]\nip = 127.0.0.1\n").unwrap();
    drop(config);
    let address = addresses(&announced(&server)).remove(0);
    // It was read from a pipe, which has nothing more.
    let log = read_until(&server.log, "the old one stays in force").join("\n");
    assert!(log.contains("/dev/stdin is no file that could be read again"), "{log}");
    for signal in meaningless() {
        send(&house, &server, signal);
    }
    let mut talk = Talk::to(&address);
    assert!(talk.ask("<connect nickname=\"a\" />").contains("isok='1'"));
    server.signal(Signal::QUIT);
    assert_eq!(talk.next(), "<error>### Server is now going down ... ###</error>");
    drop(talk);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_server_that_starts_ends_at_once_when_it_is_asked_to() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let house = House::new();
        let (mut server, _config) = starting(&house);
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0), "{signal:?}");
    }
}

#[test]
fn plugins_ignore_no_signal_that_the_server_ignores() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[modules]\nlist = told\n");
    fs::create_dir(house.path("modules")).unwrap();
    house.executable(
        "modules/told",
        "#!/bin/sh\ngrep SigIgn /proc/self/status >&2\ncat >/dev/null\n",
    );
    // nohup(1) has SIGHUP ignored.
    let words = ["nohup", env!("CARGO_BIN_EXE_palabre"), "run"];
    let mut server = gentle(Built::start(&mut house.program("setsid", &words)));
    let log = read_until(&server.log, "SigIgn");
    let mask = log.last().unwrap().rsplit_once("\\t").unwrap().1;
    // Two of real time are the C library's own.
    let mask = u64::from_str_radix(mask, 16).unwrap() & !(0b11 << 31);
    assert_eq!(mask, 0, "{log:#?}");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}
