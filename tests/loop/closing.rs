//! Every way in which a connection ends: what is still handled, what still arrives, and when the
//! socket is closed.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use palabre::hub::{RootPassword, Settings, Time};
use palabre::limits::Limits;
use palabre::net::world::Event;

use crate::house::{House, Peer, ROOM, heard, logged};
use crate::pipe::{Faults, Received, Room};

const GOING_DOWN: &str = "<error>### Server is now going down ... ###</error>";

/// A client with little room, so that what waits for it waits in the server.
const NARROW: Room = Room { up: 1 << 20, down: 1_000 };

/// Reads until the end, turn by turn; everything that came.
fn read_to_the_end(house: &mut House, peer: &mut Peer) -> Vec<String> {
    let mut frames = Vec::new();
    for _ in 0..10_000 {
        house.settle();
        let more = peer.frames_of(300);
        if more.is_empty() && peer.pipe.borrow_mut().receive(0) == Received::End {
            peer.assert_then(Received::End);
            return frames;
        }
        frames.extend(more);
    }
    panic!("no end after {frames:?}");
}

#[test]
fn the_farewell_arrives_whole_although_the_client_goes_on_sending() {
    let mut house = House::with_limits(Limits { stanza_bytes_max: 1_000, ..Limits::default() });
    let mut a = house.member("A", NARROW);
    let megabyte = vec![b'x'; 1 << 20];
    let mut sent = 0;
    for _ in 0..8 {
        sent += a.pipe.borrow_mut().send(&megabyte).expect("it is not reset");
        house.settle();
    }
    assert!(sent > 7 << 20, "all that it sends is read");
    assert_eq!(a.frames(), ["<error>Stanza too large (limit 1000 bytes)</error>"]);
    a.assert_then(Received::End);
    assert_eq!(a.pipe.borrow().shut_at, Some(house.now()));
    a.pipe.borrow_mut().close();
    house.settle();
    assert!(a.is_dropped());
    assert_eq!(house.server.connections(), 0);
}

#[test]
fn a_client_that_does_not_end_its_side_is_closed_after_five_seconds() {
    let mut house = House::with_limits(Limits::default());
    let mut a = house.member("A", ROOM);
    house.run_until(Time::from_secs(3));
    a.send("<quit/>");
    house.run_until(Time(Time::from_secs(8).0 - 1));
    a.assert_then(Received::End);
    assert!(!a.is_dropped());
    house.run_until(Time::from_secs(8));
    assert!(a.is_dropped());
    assert_eq!(house.server.connections(), 0);
}

#[test]
fn a_client_that_does_not_read_its_farewell_is_closed_after_five_seconds() {
    let mut house = House::with_limits(Limits::default());
    let a = house.member("A", NARROW);
    house.run_until(Time::from_secs(3));
    for _ in 0..900 {
        a.send("<ping/>");
    }
    a.send("<quit/>");
    house.run_until(Time(Time::from_secs(8).0 - 1));
    assert!(!a.is_dropped());
    assert_eq!(house.server.backlog_bytes(), 900 * "<pong />\0".len() - NARROW.down);
    house.run_until(Time::from_secs(8));
    assert!(a.is_dropped());
    assert_eq!(house.server.backlog_bytes(), 0);
    assert_eq!(house.server.connections(), 0);
    assert_eq!(a.pipe.borrow().shut_at, None, "the end would have come before what it misses");
}

#[test]
fn a_quit_sends_what_is_queued_and_drops_what_stands_behind_it() {
    let mut house = House::with_limits(Limits::default());
    let mut a = house.member("A", Room { up: 1 << 20, down: 100 });
    let mut b = house.member("B", ROOM);
    read_a_while(&mut house, &mut a);
    let bytes = "<ping/>\0".repeat(200) + "<quit/>\0<m r='R'>behind</m>\0<m r='R'>half";
    a.send_bytes(bytes.as_bytes());
    house.settle();
    a.send_bytes(b"way</m>\0<quit/>\0");
    assert_eq!(read_to_the_end(&mut house, &mut a), vec!["<pong />"; 200]);
    assert_eq!(b.said(), Vec::<String>::new());
    assert_eq!(logged("closed: it quit").len(), 1);
}

/// Lets a narrow client read what still waits for it.
fn read_a_while(house: &mut House, peer: &mut Peer) {
    for _ in 0..100 {
        peer.frames();
        house.settle();
    }
}

#[test]
fn what_was_sent_before_a_half_close_is_handled_over_any_budget_and_answered() {
    let mut house = House::with_limits(Limits::default());
    let mut a = house.member("A", NARROW);
    let mut b = house.member("B", ROOM);
    read_a_while(&mut house, &mut a);
    b.frames();
    for n in 0..500 {
        a.send(&format!("<m r='R' b='1'>{n}</m>"));
    }
    a.pipe.borrow_mut().half_close();
    let expected: Vec<_> = (0..500).map(|n| heard("A", &n.to_string())).collect();
    assert_eq!(read_to_the_end(&mut house, &mut a), expected);
    assert_eq!(b.said(), expected);
    house.settle();
    assert!(a.is_dropped(), "both sides have ended");
    assert_eq!(logged("closed: it closed the connection").len(), 1);
}

#[test]
fn what_was_sent_before_a_half_close_is_handled_at_its_rate() {
    let limits = Limits { stanza_rate_per_s: 5, stanza_burst: 10, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let mut a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    house.run_until(Time::from_secs(10));
    a.frames();
    b.frames();
    for n in 0..30 {
        a.send(&format!("<m r='R'>{n}</m>"));
    }
    a.pipe.borrow_mut().half_close();
    house.run_until(Time(Time::from_secs(14).0 - 1));
    assert_eq!(b.frames().len(), 29);
    assert_eq!(a.frames().len(), 1);
    a.assert_then(Received::Nothing);
    house.run_until(Time::from_secs(14));
    assert_eq!(b.said(), [heard("A", "29")]);
    a.assert_then(Received::End);
    assert!(a.is_dropped());
}

#[test]
fn what_was_received_before_a_connection_broke_is_handled() {
    // Its answers can't be written any more, which is noticed after a turn's stanzas.
    let mut house = House::with_limits(Limits::default());
    let mut a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    a.frames();
    b.frames();
    for n in 0..500 {
        a.send(&format!("<m r='R' b='1'>{n}</m>"));
    }
    // It leaves without reading, as a script does that only sends.
    a.pipe.borrow_mut().close();
    house.settle();
    let expected: Vec<_> = (0..500).map(|n| heard("A", &n.to_string())).collect();
    assert_eq!(b.said(), expected);
    assert!(a.is_dropped());
    assert_eq!(logged("closed: the connection broke").len(), 1);
}

#[test]
fn what_has_arrived_when_a_write_fails_is_handled_and_then_it_ends() {
    let mut house = House::with_limits(Limits::default());
    let a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    b.frames();
    a.pipe.borrow_mut().fail_once(ErrorKind::NetworkDown);
    b.send("<m c='A'>are you there</m>");
    house.turn();
    for n in 0..300 {
        a.send(&format!("<m r='R'>{n}</m>"));
    }
    house.settle();
    let expected: Vec<_> = (0..300).map(|n| heard("A", &n.to_string())).collect();
    assert_eq!(b.said(), expected);
    assert_eq!(logged("closed: the connection broke").len(), 1);
    house.run_until(Time::from_secs(5));
    assert!(a.is_dropped());
}

#[test]
fn a_reset_ends_a_connection_by_whichever_call_it_is_noticed() {
    let cases = [
        (ErrorKind::ConnectionReset, "the connection broke"),
        (ErrorKind::BrokenPipe, "the connection broke"),
        (ErrorKind::TimedOut, "nobody answered the check after limits.idletime"),
    ];
    for (kind, reason) in cases {
        for by_writing in [false, true] {
            let mut house = House::with_limits(Limits::default());
            let mut a = house.member("A", ROOM);
            let b = house.member("B", ROOM);
            a.frames();
            if by_writing {
                a.send("<m r='R'>to nobody</m>");
            }
            b.send_bytes(b"<m r='R'>unfinish");
            b.pipe.borrow_mut().reset(kind);
            house.settle();
            assert!(b.is_dropped());
            assert_eq!(house.server.connections(), 1);
            assert_eq!(a.frames()[0], "<client name='B' left='R' />", "{kind}");
            assert_eq!(logged(&format!("\"B\" from 10.0.0.2 closed: {reason}")).len(), 1);
        }
    }
}

#[test]
fn a_connection_that_breaks_while_it_is_closing_is_over_at_once() {
    for kind in [ErrorKind::ConnectionReset, ErrorKind::TimedOut] {
        let mut house = House::with_limits(Limits::default());
        let a = house.member("A", NARROW);
        for _ in 0..900 {
            a.send("<ping/>");
        }
        a.send("<quit/>");
        house.settle();
        assert!(!a.is_dropped());
        a.pipe.borrow_mut().reset(kind);
        house.settle();
        assert!(a.is_dropped());
        assert_eq!(house.server.connections(), 0);
        assert_eq!(house.server.backlog_bytes(), 0);
        assert_eq!(logged(" closed: ").len(), 1);
    }
}

#[test]
fn connections_that_are_gone_before_they_are_accepted_trouble_nobody() {
    let mut house = House::with_limits(Limits::default());
    for n in 0..10 {
        let peer = house.connect();
        match n % 3 {
            0 => peer.pipe.borrow_mut().close(),
            1 => peer.pipe.borrow_mut().reset(ErrorKind::ConnectionReset),
            _ => peer.send_bytes(b"<connect nickname='A'/>\0<quit/>\0"),
        }
        if n % 3 == 2 {
            peer.pipe.borrow_mut().close();
        }
    }
    let mut last = house.connect();
    last.send("<connect nickname='Z'/>");
    house.settle();
    assert_eq!(last.frames(), ["<connect isok='1' msg='Your nickname is now : Z'/>"]);
    assert_eq!(house.server.connections(), 1);
    assert_eq!(house.server.metrics().accepted, 11);
}

#[test]
fn a_connection_that_can_not_be_watched_is_closed_and_trouble_nobody() {
    let faults = Faults { unwatchable: 100, ..Faults::default() };
    let mut house = House::new(Settings::default(), faults, 1);
    let mut a = house.connect();
    house.settle();
    a.assert_then(Received::End);
    assert_eq!(house.server.connections(), 0);
    house.world().network.faults.unwatchable = 0;
    house.member("B", ROOM);
}

#[test]
fn the_policy_port_answers_policy_requests_and_nothing_else() {
    let settings = Settings { domains: vec!["*".to_owned()], ..Settings::default() };
    let mut house = House::new(settings, Faults::default(), 1);
    let address = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1));
    let mut asking = house.connect_to(1, address, ROOM);
    let mut lost = house.connect_to(1, address, ROOM);
    asking.send("<policy-file-request/>");
    lost.send("<connect nickname='A'/>");
    house.settle();
    let policy = "<cross-domain-policy><allow-access-from domain='*' to-ports='2468' />\
                  </cross-domain-policy>";
    assert_eq!(asking.frames(), [policy]);
    asking.assert_then(Received::End);
    lost.assert_then(Received::End);
    house.run_until(Time::from_secs(5));
    assert_eq!(house.server.connections(), 0);
}

#[test]
fn a_stop_tells_everybody_and_ends_when_all_have_read_it() {
    let mut house = House::with_limits(Limits::default());
    let mut peers = [house.member("A", ROOM), house.member("B", ROOM), house.connect()];
    house.settle();
    house.stop();
    house.settle();
    for peer in &mut peers {
        assert_eq!(peer.frames().last().map(String::as_str), Some(GOING_DOWN));
        peer.assert_then(Received::End);
        assert!(!house.stopped);
        peer.pipe.borrow_mut().close();
        house.settle();
    }
    assert!(house.stopped);
    assert_eq!(house.now(), Time::default());
    let late = house.connect();
    assert_eq!(late.pipe.borrow_mut().receive(1), Received::Reset, "nobody listens any more");
}

#[test]
fn a_stop_takes_five_seconds_at_most() {
    let limits = Limits { stanza_rate_per_s: 5, stanza_burst: 10, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let mut deaf = house.member("A", NARROW);
    let fast = house.member("B", ROOM);
    for n in 0..100 {
        fast.send(&format!("<m c='A'>{}{n}</m>", "x".repeat(1_000)));
    }
    house.run_until(Time::from_secs(3));
    assert!(house.server.backlog_bytes() > 0);
    // One of them is closing already.
    deaf.frames_of(10);
    house.connect().send("<quit/>");
    house.settle();
    house.stop();
    house.stop();
    house.run_until(Time(Time::from_secs(8).0 - 1));
    assert!(!house.stopped);
    house.run_until(Time::from_secs(8));
    assert!(house.stopped);
    assert_eq!(house.now(), Time::from_secs(8));
    assert_eq!(house.server.backlog_bytes(), 0);
}

#[test]
fn a_server_without_connections_stops_at_once() {
    let mut house = House::with_limits(Limits::default());
    house.settle();
    house.stop();
    house.turn();
    assert!(house.stopped);
}

#[test]
fn root_stops_the_server_from_the_wire() {
    let settings = Settings { root_password: RootPassword::clear("secret"), ..Settings::default() };
    let mut house = House::new(settings, Faults::default(), 1);
    let mut a = house.member("A", ROOM);
    let mut root = house.connect();
    root.send("<connect nickname='root' rootpass='secret'/>");
    root.send("<shutdown/>");
    root.send("<m c='A'>too late</m>");
    house.settle();
    for peer in [&mut a, &mut root] {
        assert_eq!(peer.frames().last().map(String::as_str), Some(GOING_DOWN));
        peer.assert_then(Received::End);
        peer.pipe.borrow_mut().close();
    }
    house.settle();
    assert!(house.stopped);
}

#[test]
fn a_kick_sends_its_farewell_and_closes() {
    let settings = Settings { root_password: RootPassword::clear("secret"), ..Settings::default() };
    let mut house = House::new(settings, Faults::default(), 1);
    let mut a = house.member("A", ROOM);
    let mut root = house.connect();
    root.send("<connect nickname='root' rootpass='secret'/>");
    root.send("<rmuser nickname='A'/>");
    // It is kicked while it is talking.
    a.send("<ping/>");
    house.settle();
    let farewell = "<error>You have been kicked from the server by an administrator</error>";
    assert_eq!(a.frames().last().map(String::as_str), Some(farewell));
    a.assert_then(Received::End);
    assert_eq!(root.frames()[1], "<info>Client A kicked</info>");
}

#[test]
fn a_reload_reaches_the_open_connections() {
    let mut house = House::with_limits(Limits::default());
    let mut a = house.member("A", ROOM);
    assert_eq!(a.pipe.borrow().idle_time_s, Some(300));
    house.world().signals.push(Event::Reload);
    house.settle();
    assert_eq!(house.reloads, 1);
    let limits = Limits { idle_time_s: 7, stanza_bytes_max: 20, ..Limits::default() };
    house.server.reload(Settings { limits, ..Settings::default() });
    assert_eq!(a.pipe.borrow().idle_time_s, Some(7));
    a.send("<ping>0123456789</ping>");
    house.settle();
    assert_eq!(a.said(), ["<error>Stanza too large (limit 20 bytes)</error>"]);
}
