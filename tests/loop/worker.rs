//! The server's own worker in the loop: what it is told and others are not, that a login waits for
//! it as long as it may, and that another one takes its place without one being lost.

use std::rc::Rc;

use palabre::config::Module;
use palabre::hub::{RootPassword, Settings};
use palabre::limits::{
    Limits, WORKER_RETIRE_TIME_S, WORKER_SILENCE_S, WORKER_STATE_BYTES_MAX, WORKERS_RETIRED_MAX,
};
use palabre::net::world::ProcessEnd;

use crate::house::{House, Peer, logged};
use crate::pipe::Faults;
use crate::plugins::{NOT_NOW, asked, connected, module};
use crate::process::Handle;

/// The worker's name is nobody else's.
fn worker() -> Module {
    module("accounts")
}

const REGISTER: &str = "<register hooks='isAuthorized isRoot' />";

fn house_with(modules: Vec<Module>) -> House {
    let limits = Limits { failed_logins_per_minute: 0, ..Limits::default() };
    let settings = Settings {
        limits,
        root_password: RootPassword::Hash,
        logins_checked: true,
        ..Settings::default()
    };
    let mut house = House::new(settings, Faults::default(), 1);
    house.server.set_plugins(modules);
    house.server.set_worker(Some(worker()), false);
    house.settle();
    house
}

/// A house with a worker that has registered, and that worker.
fn house_with_worker() -> (House, Handle) {
    let mut house = house_with(Vec::new());
    let worker = house.process(0);
    worker.borrow_mut().heard();
    house.told(&worker, &[REGISTER]);
    (house, worker)
}

fn try_root(house: &mut House, nick: &str, password: &str) -> Peer {
    let peer = house.connect();
    peer.send(&format!("<connect nickname='{nick}' password='p' rootpass='{password}'/>"));
    house.settle();
    peer
}

fn answer(ask: u64, answer: &str) -> String {
    format!("<verdict ask='{ask}' {answer} />")
}

#[test]
fn roots_password_is_for_the_worker_alone() {
    let mut house = house_with(vec![module("spy")]);
    let (spy, worker) = (house.process(0), house.process(1));
    spy.borrow_mut().heard();
    let heard = house.told(&spy, &["<register hooks='isRoot isAuthorized' />"]);
    assert_eq!(
        heard,
        ["<error>isRoot is for the server&apos;s own accounts</error>".replace("&apos;", "'")]
    );
    worker.borrow_mut().heard();
    // It waits for the worker, and is nowhere else meanwhile.
    let mut boss = try_root(&mut house, "Boss", "T0pSecret");
    let seen = spy.borrow_mut().heard();
    house.told(&worker, &[REGISTER]);
    assert!(seen[0].contains("<connect nickname='Boss' password='p'/>"), "{seen:?}");
    for stanza in seen.iter().chain(&spy.borrow_mut().heard()) {
        assert!(!stanza.contains("T0pSecret") && !stanza.contains("isRoot"), "{stanza}");
    }
    house.told(&worker, &[&answer(1, "allowed='1'")]);
    assert_eq!(boss.frames(), [connected("Boss")]);
}

#[test]
fn the_worker_is_told_which_password_is_which() {
    let (mut house, worker) = house_with_worker();
    let _boss = try_root(&mut house, "Boss", "T0p&amp;Secret");
    let heard = worker.borrow_mut().heard();
    let who = "session='0.1' nick='Boss' address='10.0.0.1' transport='stanzas'";
    assert_eq!(
        heard,
        [
            format!("<ask ask='1' hook='isRoot' {who}><connect rootpass='T0p&amp;Secret' /></ask>"),
            format!(
                "<ask ask='2' hook='isAuthorized' {who}><connect nickname='Boss' password='p'/></ask>"
            ),
        ]
    );
}

#[test]
fn what_the_answers_about_root_and_login_come_to() {
    let (mut house, worker) = house_with_worker();
    let (yes, no, error) = ("allowed='1'", "allowed='0'", "error='no memory'");
    let mut number = 0;
    for (root, login, is_in) in [
        (no, yes, Some(true)),
        (no, no, None),
        (error, yes, Some(false)),
        (error, no, Some(false)),
        (no, error, Some(false)),
        (error, error, Some(false)),
    ] {
        number += 1;
        let nick = format!("N{number}");
        let mut peer = try_root(&mut house, &nick, "guess");
        let ask = asked(&worker.borrow_mut().heard()[..1]);
        house.told(&worker, &[&answer(ask, root), &answer(ask + 1, login)]);
        let frames = peer.frames();
        match is_in {
            Some(true) => assert_eq!(frames, [connected(&nick)]),
            Some(false) => assert_eq!(frames, NOT_NOW, "{root} {login}"),
            None => assert!(frames[0].contains("Authentication Error"), "{frames:?}"),
        }
    }
}

#[test]
fn a_login_waits_for_the_worker_as_long_as_it_may_take() {
    let (mut house, worker) = house_with_worker();
    let start = house.now();
    let mut patient = house.try_login("Patient");
    let ask = asked(&worker.borrow_mut().heard());
    // It has so much to do that this one has to wait, and goes on with other things.
    for second in 1..Limits::default().login_time_s {
        house.run_until(start.plus_secs(second));
        if second % 10 == 0 {
            let mut other = house.try_login(&format!("N{second}"));
            let ask = asked(&worker.borrow_mut().heard());
            house.told(&worker, &[&answer(ask, "allowed='1'")]);
            assert_eq!(other.frames().len(), 1);
        }
    }
    assert_eq!(patient.frames(), Vec::<String>::new());
    house.told(&worker, &[&answer(ask, "allowed='1'")]);
    assert_eq!(patient.frames(), [connected("Patient")]);
}

#[test]
fn a_worker_that_is_asked_and_says_nothing_is_started_anew() {
    let (mut house, worker) = house_with_worker();
    let start = house.now();
    house.run_until(start.plus_secs(10 * WORKER_SILENCE_S));
    assert!(!worker.borrow().killed, "it is not asked anything");
    let start = house.now();
    let mut waiting = house.try_login("Waiting");
    house.run_until(start.plus_secs(WORKER_SILENCE_S - 1));
    assert!(!worker.borrow().killed);
    house.run_until(start.plus_secs(WORKER_SILENCE_S));
    assert!(worker.borrow().killed);
    assert_eq!(logged("it has said nothing for").len(), 1);
    let later = house.now().plus_secs(1);
    house.run_until(later);
    let next = house.process(0);
    next.borrow_mut().heard();
    let heard = house.told(&next, &[REGISTER]);
    house.told(&next, &[&answer(asked(&heard), "allowed='1'")]);
    assert_eq!(waiting.frames(), [connected("Waiting")]);
}

#[test]
fn a_worker_is_told_what_the_one_before_it_has_left() {
    let (mut house, first) = house_with_worker();
    let greeting = |worker: &Handle| worker.borrow_mut().heard().remove(0);
    house.told(&first, &["<keep state='a' />", "<keep state='b&quot;' />"]);
    let longest = format!("<keep state='{}' />", "x".repeat(WORKER_STATE_BYTES_MAX));
    assert_eq!(house.told(&first, &[&longest, "<keep state='b&quot;' />"]), Vec::<String>::new());
    let long = "x".repeat(WORKER_STATE_BYTES_MAX + 1);
    let heard = house.told(&first, &[&format!("<keep state='{long}' />")]);
    assert!(heard[0].contains("too long a state (limit 256 bytes)"), "{heard:?}");
    // One that is replaced has no news.
    house.server.set_worker(Some(worker()), true);
    let _waiting = house.try_login("Waiting");
    let second = house.process(0);
    assert!(greeting(&second).contains("kept='b&quot;'"));
    house.told(&first, &["<keep state='c' />"]);
    second.borrow_mut().end(ProcessEnd::Signal(9));
    let later = house.now().plus_secs(2);
    house.run_until(later);
    let third = house.process(0);
    assert!(greeting(&third).contains("kept='b&quot;'"));
}

#[test]
fn no_other_plugin_has_anything_kept() {
    let mut house = house_with(vec![module("spy")]);
    let spy = house.process(0);
    assert!(!spy.borrow_mut().heard()[0].contains("kept"));
    let heard = house.told(&spy, &["<keep state='a' />"]);
    assert_eq!(heard, ["<error>&lt;keep&gt; is for the server's own accounts</error>"]);
}

#[test]
fn another_worker_takes_its_place_and_no_login_is_lost() {
    let (mut house, old) = house_with_worker();
    let mut asked_before = house.try_login("Before");
    let first = asked(&old.borrow_mut().heard());
    // One that it has not read is for the next one.
    old.borrow_mut().room = 0;
    let mut unread = house.try_login("Unread");
    house.server.set_worker(Some(worker()), true);
    let mut asked_after = house.try_login("After");
    let next = house.process(0);
    next.borrow_mut().heard();
    assert!(!old.borrow().input_ended, "it has something to answer");
    let heard = house.told(&next, &[REGISTER]);
    assert_eq!(heard.len(), 2, "{heard:?}");
    for ask in heard {
        house.told(&next, &[&answer(asked(&[ask]), "allowed='1'")]);
    }
    assert_eq!(unread.frames(), [connected("Unread")]);
    assert_eq!(asked_after.frames(), [connected("After")]);
    assert_eq!(asked_before.frames(), Vec::<String>::new());
    // What the old one says besides is not heard.
    let heard = house.told(&old, &["<send all='1'><x/></send>", &answer(first, "allowed='1'")]);
    assert_eq!(heard, Vec::<String>::new());
    assert_eq!(asked_before.frames(), [connected("Before")]);
    assert!(old.borrow().input_ended && !old.borrow().killed, "it ends by itself");
    assert!(logged("ERROR").is_empty() && logged("is started again").is_empty());
}

#[test]
fn a_worker_that_does_not_end_in_its_time_is_ended_and_what_it_was_asked_is_put_to_the_next() {
    let (mut house, old) = house_with_worker();
    let mut waiting = house.try_login("Waiting");
    old.borrow_mut().heard();
    house.server.set_worker(Some(worker()), true);
    house.settle();
    let next = house.process(0);
    next.borrow_mut().heard();
    house.told(&next, &[REGISTER]);
    let start = house.now();
    house.run_until(start.plus_secs(WORKER_RETIRE_TIME_S - 1));
    assert_eq!(next.borrow_mut().heard(), Vec::<String>::new());
    house.run_until(start.plus_secs(WORKER_RETIRE_TIME_S));
    assert!(old.borrow().killed);
    let heard = next.borrow_mut().heard();
    house.told(&next, &[&answer(asked(&heard), "allowed='1'")]);
    assert_eq!(waiting.frames(), [connected("Waiting")]);
}

#[test]
fn however_often_it_is_started_anew_there_are_only_so_many() {
    let (mut house, first) = house_with_worker();
    let mut waiting = Vec::new();
    for number in 0..WORKERS_RETIRED_MAX + 3 {
        waiting.push(house.try_login(&format!("N{number}")));
        house.server.set_worker(Some(worker()), true);
        house.settle();
        let next = house.process(0);
        next.borrow_mut().heard();
        house.told(&next, &[REGISTER]);
    }
    assert!(first.borrow().killed);
    let last = house.process(0);
    let alive = house.world().processes.iter().filter(|(_, found)| found.borrow().is_alive());
    assert_eq!(alive.count(), WORKERS_RETIRED_MAX + 1);
    // Each is answered once, by whoever has it now.
    let all: Vec<Handle> = house.world().processes.iter().map(|(_, found)| found.clone()).collect();
    assert!(all.len() > WORKERS_RETIRED_MAX);
    for ask in 1..=waiting.len() as u64 {
        house.told(&last, &[&answer(ask, "allowed='1'")]);
        for found in all.iter().filter(|found| found.borrow().is_alive()) {
            house.told(found, &[&answer(ask, "allowed='1'")]);
        }
    }
    for (number, peer) in waiting.iter_mut().enumerate() {
        assert_eq!(peer.frames(), [connected(&format!("N{number}"))]);
    }
}

#[test]
fn a_worker_may_be_wanted_later_and_not_any_more() {
    let mut house = House::with_limits(Limits::default());
    house.server.set_plugins(vec![module("one")]);
    house.server.set_worker(None, false);
    house.settle();
    let one = house.process(0);
    house.told(&one, &["<register />"]);
    assert_eq!(house.try_login("Free").frames(), [connected("Free")]);
    house.server.set_worker(Some(worker()), true);
    let mut checked = house.try_login("Checked");
    assert_eq!(checked.frames(), Vec::<String>::new());
    let process = house.process(1);
    process.borrow_mut().heard();
    let heard = house.told(&process, &["<register hooks='isAuthorized' />"]);
    house.told(&process, &[&answer(asked(&heard), "allowed='1'")]);
    assert_eq!(checked.frames(), [connected("Checked")]);
    house.server.set_worker(None, true);
    house.settle();
    assert!(process.borrow().input_ended);
    assert_eq!(house.try_login("Free2").frames(), [connected("Free2")]);
    house.server.set_worker(Some(worker()), true);
    house.settle();
    assert!(!Rc::ptr_eq(&process, &house.process(1)));
}

/// What kept it from running may be what the configuration that was just read has mended.
#[test]
fn a_worker_that_waits_to_be_started_again_is_started_when_the_configuration_is_read() {
    let (mut house, first) = house_with_worker();
    first.borrow_mut().end(ProcessEnd::Signal(9));
    house.settle();
    let mut waiting = house.try_login("Waiting");
    assert_eq!(waiting.frames(), Vec::<String>::new());
    assert!(Rc::ptr_eq(&first, &house.process(0)), "it waits before it does it again");
    house.server.set_worker(Some(worker()), false);
    house.settle();
    let next = house.process(0);
    assert!(!Rc::ptr_eq(&first, &next));
    next.borrow_mut().heard();
    let heard = house.told(&next, &[REGISTER]);
    house.told(&next, &[&answer(asked(&heard), "allowed='1'")]);
    assert_eq!(waiting.frames(), [connected("Waiting")]);
}

#[test]
fn the_server_ends_while_a_worker_is_being_replaced() {
    let (mut house, old) = house_with_worker();
    let _waiting = house.try_login("Waiting");
    old.borrow_mut().stubborn = true;
    house.server.set_worker(Some(worker()), true);
    house.settle();
    let start = house.now();
    house.stop();
    house.run_until(start.plus_secs(12));
    assert!(house.stopped && old.borrow().killed);
}
