//! The store with the real processes: what is kept outlives the server and the process that writes
//! it, however they end, and is told of, printed and moved by `palabre store`.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that can't do this has failed")]

#[path = "support/built.rs"]
mod built;
#[allow(dead_code, reason = "others use all of it")]
#[path = "cli/house.rs"]
mod house;

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit};

use built::{Built, until};
use house::{House, Talk};

const CONFIG: &str = "[daemon]\nip = 127.0.0.1\nport = 0\npidfile = p.pid\n[admin]\npassword = secret\n\
                      [store]\nfile = kept.db\n[limits]\nstanzarate = 0\nbyterate = 0\n";

/// A server, and root in the room Class, which is kept.
fn lesson(house: &House) -> (Built, Talk) {
    let server = house.serve(&[]);
    let mut root = Talk::to(&server.address());
    root.ask("<connect nickname=\"Z\" rootpass=\"secret\" />");
    root.ask("<join room=\"Class\" />");
    root.ask("<mode room=\"Class\" keep=\"1\" password=\"pw\" />");
    // What comes before is done when this is answered.
    settle(&mut root);
    (server, root)
}

/// Reads on until everything that was sent is done.
fn settle(talk: &mut Talk) {
    let mut said = talk.ask("<ping />");
    while !said.contains("pong") {
        said = talk.next();
    }
}

/// What is stored when a server was killed: its process has written all that it had.
fn dump(house: &House) -> String {
    // It has let go of the store then.
    until("the store is free", || (house.run(&["store", "import"]).code == 0).then_some(()));
    let ran = house.run(&["store", "dump"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    ran.out
}

/// What is stored when it says this.
fn stored(house: &House, text: &str) {
    until("it is stored", || house.run(&["store", "dump"]).out.contains(text).then_some(()));
}

#[cfg(target_os = "linux")]
fn process_of_the_store(server: &Built) -> Pid {
    let pid = server.child.id();
    let children = format!("/proc/{pid}/task/{pid}/children");
    until("the store has a process", || {
        let children = std::fs::read_to_string(&children).unwrap();
        Pid::from_raw(children.trim().parse().ok()?)
    })
}

#[test]
fn a_room_and_a_ban_are_there_when_the_server_was_killed() {
    let house = House::with(CONFIG);
    let (mut server, mut root) = lesson(&house);
    root.ask("<ban nick=\"Eve\" time=\"600\" reason=\"spam\" />");
    stored(&house, "Eve");
    server.signal(Signal::KILL);
    server.ended();
    let server = house.serve(&[]);
    let mut eve = Talk::to(&server.address());
    let told = eve.ask("<connect nickname=\"Eve\" />");
    assert!(told.contains("You are banned until"), "{told}");
    let mut ann = Talk::to(&format!("127.0.0.1:{}", port_of(&eve)));
    ann.ask("<connect nickname=\"Ann\" />");
    assert_eq!(ann.ask("<join room=\"Class\" />"), "<error>Wrong password for room Class</error>");
}

fn port_of(talk: &Talk) -> u16 {
    talk.0.get_ref().peer_addr().unwrap().port()
}

#[test]
fn a_second_server_on_the_same_store_is_refused() {
    let house = House::with(CONFIG);
    let (_server, _root) = lesson(&house);
    house.write("other.conf", &CONFIG.replace("p.pid", "q.pid"));
    let ran = house.run(&["run", "--config", "other.conf"]);
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.contains("another server has this store"), "{ran:?}");
    let ran = house.run(&["store", "import"]);
    assert!(ran.code == 6 && ran.err.contains("another server has this store"), "{ran:?}");
    assert_eq!(house.run(&["store", "check"]).code, 0, "it can be looked at");
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_is_killed_loses_nothing() {
    let house = House::with(CONFIG);
    let (server, mut root) = lesson(&house);
    for round in 0..2 {
        let process = process_of_the_store(&server);
        root.ask(&format!("<setparam room=\"Class\" name=\"n\" value=\"before {round}\" />"));
        kill_process(process, Signal::KILL).unwrap();
        root.ask(&format!("<setparam room=\"Class\" name=\"m\" value=\"behind {round}\" />"));
        stored(&house, &format!("before {round}"));
        stored(&house, &format!("behind {round}"));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_once_and_what_changed_is_stored_when_there_is_room() {
    let house = House::with(CONFIG);
    let (server, mut root) = lesson(&house);
    stored(&house, "Class");
    let process = process_of_the_store(&server);
    let limit = |current| {
        let limit = Rlimit { current, maximum: None };
        rustix::process::prlimit(Some(process), Resource::Fsize, limit).unwrap();
    };
    limit(Some(4_096));
    root.ask("<setparam room=\"Class\" name=\"n\" value=\"1\" />");
    let log = house::read_until(&server.log, "the store can't be written");
    root.ask("<setparam room=\"Class\" name=\"n\" value=\"2\" />");
    limit(None);
    let log = [log, house::read_until(&server.log, "the store takes changes again")].concat();
    let told = log.iter().filter(|line| line.contains(" error ")).count();
    assert_eq!(told, 1, "{log:#?}");
    stored(&house, "[\"n\",\"2\"]");
    assert_eq!(process_of_the_store(&server), process, "it is still the same process");
}

#[test]
fn the_last_change_is_stored_when_the_server_stops() {
    let house = House::with(CONFIG);
    let (mut server, mut root) = lesson(&house);
    root.ask("<setparam room=\"Class\" name=\"n\" value=\"the last one\" />");
    server.signal(Signal::TERM);
    drop(root);
    server.ended();
    assert!(dump(&house).contains("the last one"));
}

/// The process is down, and would be started again in a second: the server stops before.
#[test]
#[cfg(target_os = "linux")]
fn what_changes_while_the_process_is_down_is_stored_when_the_server_stops() {
    let house = House::with(CONFIG);
    let (mut server, mut root) = lesson(&house);
    stored(&house, "Class");
    kill_process(process_of_the_store(&server), Signal::KILL).unwrap();
    house::read_until(&server.log, "store");
    root.ask("<setparam room=\"Class\" name=\"n\" value=\"at the end\" />");
    server.signal(Signal::TERM);
    drop(root);
    server.ended();
    assert!(dump(&house).contains("at the end"));
}

#[test]
fn what_is_printed_is_taken_in_elsewhere() {
    let house = House::with(CONFIG);
    let (server, _root) = lesson(&house);
    stored(&house, "Class");
    drop(server);
    let text = dump(&house);
    let ran = house.run_with(&["store", "import", "--file", "other.db"], &text);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(house.run(&["store", "dump", "--file", "other.db"]).out, text);
    let ran = house.run_with(&["store", "import", "--file", "other.db"], "nonsense\n");
    assert!(ran.code == 1 && ran.err.contains("line 1 is no record"), "{ran:?}");
    let ran = house.run(&["check"]);
    assert!(ran.out.contains("kept.db: rooms: 1, bans and mutes: 0"), "{ran:?}");
    house.write("kept.db", &"no store at all ".repeat(500));
    for command in [&["check"][..], &["run"], &["store", "check"]] {
        let ran = house.run(command);
        assert!(ran.code == 6 && ran.err.contains("the store is damaged"), "{ran:?}");
    }
}

/// `PALABRE_STORE_KILLS=200 PALABRE_STORE_LOSS_MS=200 cargo test --test store` holds it to the
/// promise on a host that has nothing else to do.
#[test]
fn a_server_that_is_killed_at_any_moment_loses_what_has_just_changed_at_most() {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
    };
    let kills = number("PALABRE_STORE_KILLS", 3);
    // On a busy one each of the processes may wait for its go.
    let loss = Duration::from_millis(number("PALABRE_STORE_LOSS_MS", 2_000));
    let mut random = fastrand::Rng::with_seed(number("PALABRE_SEED", 1));
    let house = House::with(CONFIG);
    let mut value = 0_u64;
    for _ in 0..kills {
        let (mut server, mut root) = lesson(&house);
        let lives = Duration::from_millis(random.u64(1..400));
        let (begun, mut done) = (Instant::now(), Vec::new());
        while begun.elapsed() < lives {
            value += 1;
            root.ask(&format!("<setparam room=\"Class\" name=\"n\" value=\"{value}\" />"));
            done.push((Instant::now(), value));
            thread::yield_now();
        }
        server.signal(Signal::KILL);
        let killed = Instant::now();
        server.ended();
        let text = dump(&house);
        let found = text.split("[\"n\",\"").nth(1).and_then(|rest| rest.split('"').next());
        let found: u64 = found.map_or(0, |text| text.parse().unwrap());
        let old = done.iter().filter(|(at, _)| killed.duration_since(*at) > loss);
        let old = old.map(|(_, value)| *value).max().unwrap_or(0);
        assert!(found >= old, "{found} is stored, and {old} is older than {loss:?}");
        assert!(found <= value, "what was never said");
    }
}
