//! Those who read more slowly than they are told: who talks to them waits, and so do they
//! themselves.

use palabre::hub::Time;
use palabre::limits::Limits;

use crate::house::{House, Peer, ROOM, heard, logged};
use crate::pipe::Room;

/// A client with little room, so that what waits for it waits in the server.
const NARROW: Room = Room { up: 1 << 20, down: 1_000 };

/// Sends so many messages to the room, each of so many bytes where it arrives.
fn talk(from: &Peer, messages: usize, bytes: usize) -> Vec<String> {
    let padding = "x".repeat(bytes - heard("A", "000").len() - 1);
    let bodies = (0..messages).map(|number| format!("{number:03}{padding}"));
    bodies
        .map(|body| {
            from.send(&format!("<m r='R'>{body}</m>"));
            heard("A", &body)
        })
        .collect()
}

#[test]
fn who_talks_to_one_that_does_not_keep_up_waits_and_nothing_is_lost() {
    let limits = Limits { backlog_soft_bytes_max: 200_000, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let mut a = house.member("A", ROOM);
    let mut b = house.member("B", NARROW);
    a.frames();
    let sent = talk(&a, 500, 1_000);
    a.send("<ping/>");
    house.settle();
    // Up to half of backlogsoft, and what was read at once.
    let waiting = house.server.backlog_bytes();
    assert!((100_001..180_000).contains(&waiting), "{waiting} bytes");
    assert_eq!(a.frames(), Vec::<String>::new(), "what A says behind it waits as well");
    // B reads a little again and again; when less than a quarter waits, A is heard again.
    let mut got = Vec::new();
    let mut now = house.now();
    while got.len() < 500 {
        got.extend(b.frames_of(1_000));
        now = Time(now.0 + 10_000_000);
        house.run_until(now);
        assert!(house.server.backlog_bytes() < 180_000);
    }
    assert_eq!(got, sent);
    assert_eq!(a.frames(), ["<pong />"]);
    assert!(logged("slow reader").is_empty());
}

#[test]
fn one_that_never_reads_is_cut_off_all_the_same() {
    let limits = Limits { backlog_soft_bytes_max: 200_000, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let mut a = house.member("A", ROOM);
    let b = house.member("B", NARROW);
    let _sent = talk(&a, 500, 1_000);
    // It is waited for five seconds, and then it may be over its soft bound for ten.
    house.run_until(Time::from_secs(4));
    assert!(house.server.backlog_bytes() < 180_000);
    house.run_until(Time::from_secs(6));
    assert!(house.server.backlog_bytes() > 200_000);
    house.run_until(Time::from_secs(14));
    assert!(!b.is_dropped());
    house.run_until(Time::from_secs(16));
    assert!(b.is_dropped());
    assert_eq!(logged("\"B\" from 10.0.0.2 closed: slow reader").len(), 1);
    a.send("<ping/>");
    house.settle();
    assert!(a.frames().contains(&"<pong />".to_owned()), "A waits for nobody any more");
}

/// Most keep up, so nobody waits for the one who does not.
#[test]
fn one_of_three_holds_nobody_back() {
    let limits = Limits { backlog_soft_bytes_max: 100_000, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let a = house.member("A", ROOM);
    let mut readers = [house.member("B", NARROW), house.member("C", ROOM), house.member("D", ROOM)];
    let sent = talk(&a, 200, 1_000);
    house.settle();
    for reader in &mut readers[1..] {
        let said = reader.said();
        assert_eq!(said, sent);
    }
}

#[test]
fn one_that_asks_and_does_not_read_is_read_no_more_at_half_of_its_backlog() {
    let limits = Limits {
        backlog_bytes_max: 20_000,
        backlog_soft_bytes_max: 20_000,
        stanza_bytes_max: 1_000,
        stanza_rate_per_s: 0,
        ..Limits::default()
    };
    let unread = limits.unread_bytes_max();
    assert_eq!(unread, 9_000, "half of it, but for a stanza");
    let mut house = House::with_limits(limits);
    let mut b = house.member("B", NARROW);
    for _ in 0..5_000 {
        b.send("<ping/>");
    }
    house.settle();
    let waiting = house.server.backlog_bytes();
    assert!((9_000..=10_000).contains(&waiting), "{waiting} bytes");
    house.run_until(Time::from_secs(200));
    assert_eq!(house.server.backlog_bytes(), waiting, "nothing happens meanwhile");
    assert!(!b.is_dropped());
    let mut pongs = 0;
    while pongs < 5_000 {
        let frames = b.frames();
        assert!(!frames.is_empty(), "it goes on: {pongs}");
        pongs += frames.len();
        house.settle();
        assert!(house.server.backlog_bytes() <= 10_000);
    }
}
