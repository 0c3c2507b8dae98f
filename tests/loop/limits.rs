//! Each limit that the loop keeps: at the bound, and one past it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use palabre::hub::{ConnId, Settings, Time};
use palabre::limits::{EARLY_BYTES_MAX, EARLY_MORE_BYTES_MAX, Limits, REFUSED_DRAINING_MAX};

use crate::house::{House, Peer, ROOM, heard, logged};
use crate::pipe::{Faults, Received, Room};

/// A client with little room, so that what waits for it waits in the server.
const NARROW: Room = Room { up: 1 << 20, down: 1_000 };

/// Sends a message to `to` that takes so many bytes where it arrives.
fn send_sized(from: &Peer, to: &str, bytes: usize) {
    let frame = bytes - "<m f=\"A\"></m>\0".len();
    from.send(&format!("<m c='{to}'>{}</m>", "x".repeat(frame)));
}

/// Fills what the system holds for a narrow client, and then so much in the server.
fn fill(house: &mut House, from: &Peer, to: &str, bytes: usize) {
    send_sized(from, to, NARROW.down);
    house.settle();
    let before = house.server.backlog_bytes();
    send_sized(from, to, bytes);
    house.settle();
    assert_eq!(house.server.backlog_bytes(), before + bytes);
}

#[test]
fn those_who_have_not_logged_in_share_what_their_stanzas_have_beyond_32_kib() {
    let mut house = House::with_limits(Limits::default());
    let half = "x".repeat(30_000);
    let more = 2 * half.len() - EARLY_BYTES_MAX;
    let fit = EARLY_MORE_BYTES_MAX / more;
    let mut early: Vec<Peer> = (0..fit).map(|_| house.connect()).collect();
    for _ in 0..2 {
        early.iter().for_each(|peer| peer.send_bytes(half.as_bytes()));
        house.settle();
    }
    assert!(early.iter_mut().all(|peer| peer.frames().is_empty() && !peer.is_dropped()));
    let refused = |house: &mut House| {
        let mut late = house.connect();
        for _ in 0..2 {
            late.send_bytes(half.as_bytes());
            house.settle();
        }
        late.frames() == ["<error>Stanza too large (limit 32768 bytes)</error>"]
    };
    assert!(refused(&mut house), "no more than these have room");
    // A short one has, and so has whoever is logged in.
    let mut a = house.member("A", ROOM);
    for text in ["<m c='A'>", &half, &half, "</m>\0"] {
        a.send_bytes(text.as_bytes());
        house.settle();
    }
    assert_eq!(a.frames().pop(), Some(format!("<m f=\"A\">{half}{half}</m>")));
    assert!(refused(&mut house));
    // There is room again when one has said all, ends or is gone.
    early[0].send("");
    house.settle();
    assert_eq!(early[0].frames().len(), 1);
    assert!(!refused(&mut house));
    assert!(refused(&mut house));
    for resets in [false, true] {
        let pipe = early.pop().expect("there are some").pipe;
        if resets {
            pipe.borrow_mut().reset(std::io::ErrorKind::ConnectionReset);
        } else {
            pipe.borrow_mut().close();
        }
        house.settle();
        assert!(!refused(&mut house));
        assert!(refused(&mut house));
    }
}

#[test]
fn whoever_has_not_logged_in_and_does_not_read_its_answers_is_not_read() {
    let limits = Limits { stanza_rate_per_s: 0, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let mut early = house.connect_with(NARROW);
    let asked = 5_000;
    early.send_bytes(&b"<nothing/>\0".repeat(asked));
    house.settle();
    let waiting = house.server.backlog_bytes();
    assert!((EARLY_BYTES_MAX..EARLY_BYTES_MAX + 4_096).contains(&waiting), "{waiting} bytes");
    // Who reads gets all of it.
    let mut answers = 0;
    loop {
        let frames = early.frames().len();
        answers += frames;
        house.settle();
        if frames == 0 {
            break;
        }
    }
    assert_eq!(answers, asked);
}

#[test]
fn a_reader_with_the_whole_backlog_waiting_stays_and_one_byte_more_cuts_it_off() {
    let mut house = House::with_limits(Limits { backlog_bytes_max: 10_000, ..Limits::default() });
    let mut a = house.member("A", ROOM);
    let mut b = house.member("B", NARROW);
    fill(&mut house, &a, "B", 9_000);
    send_sized(&a, "B", 1_000);
    house.settle();
    assert_eq!(house.server.backlog_bytes(), 10_000);
    house.run_until(Time::from_secs(100));
    assert!(!b.is_dropped());
    b.frames_of(400);
    house.settle();
    assert_eq!(house.server.backlog_bytes(), 9_600, "what the system took is not waiting");
    send_sized(&a, "B", 401);
    a.frames();
    house.settle();
    assert!(b.is_dropped());
    assert_eq!(house.server.backlog_bytes(), 0);
    assert_eq!(house.server.connections(), 1);
    assert_eq!(a.frames()[0], "<client name='B' left='R' />");
    assert_eq!(logged("slow reader, over limits.backlog").len(), 1);
    b.frames_of(usize::MAX);
    assert_eq!(b.pipe.borrow_mut().receive(1), Received::End);
}

#[test]
fn a_reader_may_stay_above_the_soft_backlog_for_ten_seconds_and_no_longer() {
    let limits = Limits { backlog_soft_bytes_max: 5_000, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let a = house.member("A", ROOM);
    let b = house.member("B", NARROW);
    house.run_until(Time::from_secs(7));
    fill(&mut house, &a, "B", 5_000);
    house.run_until(Time::from_secs(100));
    assert!(!b.is_dropped(), "at the bound it is not slow");
    send_sized(&a, "B", 20);
    house.run_until(Time(Time::from_secs(110).0 - 1));
    assert!(!b.is_dropped());
    house.run_until(Time::from_secs(110));
    assert!(b.is_dropped());
    assert_eq!(house.server.backlog_bytes(), 0);
    assert_eq!(logged("over limits.backlogsoft for too long").len(), 1);
}

#[test]
fn a_reader_that_falls_below_the_soft_backlog_in_between_has_ten_seconds_again() {
    let limits = Limits { backlog_soft_bytes_max: 5_000, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let a = house.member("A", ROOM);
    let mut b = house.member("B", NARROW);
    fill(&mut house, &a, "B", 5_500);
    house.run_until(Time::from_secs(9));
    b.frames_of(501);
    house.settle();
    assert_eq!(house.server.backlog_bytes(), 4_999);
    house.run_until(Time::from_secs(19));
    assert!(!b.is_dropped());
    send_sized(&a, "B", 500);
    house.settle();
    // It is told once more within the ten seconds; they still count from their beginning.
    house.run_until(Time::from_secs(25));
    send_sized(&a, "B", 500);
    house.run_until(Time(Time::from_secs(29).0 - 1));
    assert!(!b.is_dropped());
    house.run_until(Time::from_secs(29));
    assert!(b.is_dropped());
}

#[test]
fn the_fullest_is_cut_off_when_too_much_waits_for_all_together() {
    let mut house =
        House::with_limits(Limits { backlog_total_bytes_max: 20_000, ..Limits::default() });
    let a = house.member("A", ROOM);
    let mut peers = ["B", "C", "D"].map(|nick| house.member(nick, NARROW));
    for peer in &mut peers {
        peer.frames();
    }
    fill(&mut house, &a, "B", 6_000);
    fill(&mut house, &a, "C", 9_000);
    fill(&mut house, &a, "D", 5_000);
    house.run_until(Time::from_secs(60));
    assert!(peers.iter().all(|peer| !peer.is_dropped()), "at the bound everybody stays");
    send_sized(&a, "D", 20);
    house.settle();
    assert_eq!(peers.each_ref().map(Peer::is_dropped), [false, true, false]);
    // Those who stay are told that it left.
    let notice = "<client name='C' left='R' />\0".len();
    let list = "<clients room='R' nb='3'>\n  <client name='A' />\n  <client name='B' />\n  \
                <client name='D' />\n</clients>\0"
        .len();
    assert_eq!(house.server.backlog_bytes(), 11_020 + 2 * (notice + list));
    assert_eq!(logged("the fullest when limits.backlogtotal was reached").len(), 1);
}

/// A connection beside so many others from its address.
fn one_too_many(house: &mut House) -> Peer {
    house.connect_to(0, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), ROOM)
}

#[test]
fn a_closing_connection_counts_until_it_is_closed() {
    let limits = Limits { sessions_per_address_max: 2, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let mut first = one_too_many(&mut house);
    let mut second = one_too_many(&mut house);
    first.send("<quit/>");
    house.settle();
    first.assert_then(Received::End);
    let mut third = one_too_many(&mut house);
    house.settle();
    let error = "<error>Too many sessions from your address (limit 2)</error>";
    assert_eq!(third.frames(), [error], "the first has not ended its side");
    first.pipe.borrow_mut().close();
    let mut fourth = one_too_many(&mut house);
    house.settle();
    assert!(first.is_dropped());
    fourth.assert_then(Received::Nothing);
    second.assert_then(Received::Nothing);
}

#[test]
fn a_connection_that_is_one_too_many_is_closed_after_a_second() {
    let mut house = House::with_limits(Limits { sessions_per_address_max: 1, ..Limits::default() });
    let _first = one_too_many(&mut house);
    let mut second = one_too_many(&mut house);
    house.settle();
    assert_eq!(second.frames().len(), 1);
    house.run_until(Time(Time::from_secs(1).0 - 1));
    assert!(!second.is_dropped());
    house.run_until(Time::from_secs(1));
    assert!(second.is_dropped());
}

#[test]
fn of_those_who_are_too_many_only_some_hold_a_descriptor() {
    let mut house = House::with_limits(Limits { sessions_per_address_max: 1, ..Limits::default() });
    let mut crowd: Vec<_> = (0..200).map(|_| one_too_many(&mut house)).collect();
    house.settle();
    assert_eq!(house.server.connections(), 1 + REFUSED_DRAINING_MAX);
    let told = crowd.iter_mut().filter_map(|peer| peer.frames().pop()).count();
    assert_eq!(told, REFUSED_DRAINING_MAX, "the others are closed without a word");
    house.run_until(Time::from_secs(1));
    assert_eq!(house.server.connections(), 1);
}

#[test]
fn what_waits_for_all_stays_within_its_limit_while_a_turn_is_being_written() {
    // Fifty readers who never read get a hundred kilobytes each, in one turn.
    let limits = Limits {
        backlog_total_bytes_max: 1_000_000,
        stanza_bytes_max: 200_000,
        ..Limits::default()
    };
    let mut house = House::with_limits(limits);
    let mut a = house.member("A", ROOM);
    let peers: Vec<_> = (0..50).map(|n| house.member(&format!("B{n}"), NARROW)).collect();
    a.frames();
    a.send(&format!("<m r='R'>{}</m>", "x".repeat(100_000)));
    let memory = allocation_counter::measure(|| house.settle());
    assert!(memory.bytes_max < 2_500_000, "{memory:?}");
    let left = peers.iter().filter(|peer| !peer.is_dropped()).count();
    assert!((5..10).contains(&left), "{left} have room within the limit");
    assert_eq!(house.server.connections(), left + 1);
}

#[test]
fn a_fast_client_is_read_later_in_order_and_told_once() {
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
    let mut next = 0;
    let mut expect = |b: &mut Peer, count: usize| {
        let expected: Vec<_> = (next..next + count).map(|n| heard("A", &n.to_string())).collect();
        assert_eq!(b.frames(), expected);
        next += count;
    };
    house.settle();
    expect(&mut b, 10);
    for step in 1..=20 {
        let time = Time::from_millis(10_000 + 200 * step);
        house.run_until(Time(time.0 - 1));
        expect(&mut b, 0);
        house.run_until(time);
        expect(&mut b, 1);
    }
    assert_eq!(a.frames(), ["<error>Too many stanzas (limit 5 per second)</error>"]);
    assert!(!a.is_dropped());
}

#[test]
fn a_client_that_is_too_fast_for_ten_seconds_is_cut_off() {
    let limits = Limits { stanza_rate_per_s: 5, stanza_burst: 10, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let mut a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    house.run_until(Time::from_secs(10));
    a.frames();
    b.frames();
    for n in 0..500 {
        a.send(&format!("<m r='R'>{n}</m>"));
    }
    house.run_until(Time(Time::from_secs(20).0 - 1));
    a.frames();
    assert_eq!(b.frames().len(), 59);
    assert_eq!(a.pipe.borrow_mut().receive(1), Received::Nothing);
    house.run_until(Time::from_secs(20));
    assert_eq!(b.said(), [heard("A", "59")]);
    a.assert_then(Received::End);
    assert_eq!(logged("over limits.stanzarate for too long").len(), 1);
}

#[test]
fn who_does_not_log_in_is_told_so_and_closed() {
    let mut house = House::with_limits(Limits { login_time_s: 5, ..Limits::default() });
    house.run_until(Time::from_secs(1));
    let mut late = house.connect();
    let mut busy = house.connect();
    busy.send("<help/>");
    house.run_until(Time(Time::from_secs(6).0 - 1));
    assert_eq!(busy.frames().len(), 1);
    late.assert_then(Received::Nothing);
    house.run_until(Time::from_secs(6));
    for peer in [&mut late, &mut busy] {
        assert_eq!(peer.frames(), ["<error>Login timed out (limit 5 s)</error>"]);
        peer.assert_then(Received::End);
        peer.pipe.borrow_mut().close();
    }
    house.settle();
    assert_eq!(house.server.connections(), 0);
}

#[test]
fn a_stanza_at_the_limit_passes_and_one_byte_more_ends_the_session() {
    let mut house = House::with_limits(Limits { stanza_bytes_max: 100, ..Limits::default() });
    let mut a = house.member("A", ROOM);
    a.send(&format!("<ping>{}</ping>", "x".repeat(87)));
    house.settle();
    assert_eq!(a.said(), ["<pong />"]);
    // It ends when the limit is crossed, without a NUL.
    a.send_bytes(format!("<ping>{}</ping>", "x".repeat(87)).as_bytes());
    house.settle();
    a.assert_then(Received::Nothing);
    a.send_bytes(b"x");
    house.settle();
    assert_eq!(a.frames(), ["<error>Stanza too large (limit 100 bytes)</error>"]);
    a.assert_then(Received::End);
    assert_eq!(logged("closed: a stanza over limits.stanzabytes").len(), 1);
}

#[test]
fn sessions_over_their_number_are_told_so_and_closed() {
    let limits = Limits { sessions_max: 3, sessions_per_address_max: 2, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let address = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut peers = [address, address, address, loopback, loopback]
        .map(|address| house.connect_to(0, address, ROOM));
    house.settle();
    let texts = peers.each_mut().map(|peer| peer.frames().join(""));
    assert_eq!(texts[2], "<error>Too many sessions from your address (limit 2)</error>");
    assert_eq!(texts[4], "<error>Too many sessions (limit 3)</error>");
    assert_eq!([&texts[0], &texts[1], &texts[3]], ["", "", ""]);
    peers[2].assert_then(Received::End);
    peers[4].assert_then(Received::End);
    assert_eq!(house.server.connections(), 5, "they have time to read it");
    house.run_until(Time::from_secs(5));
    assert_eq!(house.server.connections(), 3);
}

#[test]
fn without_descriptors_accepting_rests_is_told_once_and_goes_on_when_one_is_free() {
    let mut house = House::with_limits(Limits::default());
    house.world().network.descriptors_max = 3;
    let a = house.member("A", ROOM);
    let mut b = house.member("B", ROOM);
    let c = house.member("C", ROOM);
    let mut waiting = [house.connect(), house.connect()];
    for peer in &waiting {
        peer.send("<help/>");
    }
    house.settle();
    let second = Some(Duration::from_secs(1));
    assert_eq!(house.world().last_timeout, second, "it looks again, but not at once");
    assert_eq!(house.server.metrics().accept_errors, 1);
    house.run_until(Time(10_500_000_000));
    assert_eq!(house.server.metrics().accept_errors, 11, "once a second");
    assert_eq!(logged("can't accept connections").len(), 1);
    b.frames();
    a.send("<m r='R'>all is well</m>");
    house.settle();
    assert_eq!(b.frames(), [heard("A", "all is well")]);
    // The very turn that frees one gives it to the first who waits.
    c.pipe.borrow_mut().close();
    house.settle();
    assert_eq!(waiting[0].frames().len(), 1);
    assert_eq!(waiting[1].frames().len(), 0);
    assert_eq!(house.world().network.waiting(), 1);
    assert_eq!(logged("accepting connections again").len(), 1);
    house.world().network.descriptors_max = 4;
    house.run_until(Time::from_secs(12));
    assert_eq!(waiting[1].frames().len(), 1);
    assert_eq!(house.world().network.waiting(), 0);
}

#[test]
fn behind_a_proxy_limits_and_log_go_by_the_address_that_it_tells() {
    let settings = Settings {
        limits: Limits { sessions_per_address_max: 1, ..Limits::default() },
        trusted_proxies: vec!["10.9.9.9/32".parse().expect("a network")],
        ..Settings::default()
    };
    let mut house = House::new(settings, Faults::default(), 1);
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
    let own = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let mut peers = [(); 2].map(|()| house.connect_to(0, proxy, ROOM));
    house.settle();
    let [first, second] = [0, 1].map(|slot| ConnId { slot, generation: slot + 1 });
    house.server.client_address(first, own);
    house.settle();
    house.server.client_address(second, own);
    house.settle();
    assert_eq!(peers[0].frames(), Vec::<String>::new());
    let error = "Too many sessions from your address (limit 1)";
    assert_eq!(peers[1].frames(), [format!("<error>{error}</error>")]);
    peers[1].assert_then(Received::End);
    assert_eq!(
        logged("from 192.0.2.1 closed"),
        ["WARN client #1.2 from 192.0.2.1 closed: limits.sessionsperaddress reached"]
    );
    peers[0].send("<connect nickname='A'/>");
    house.settle();
    assert_eq!(logged("logged in"), ["INFO client #0.1 \"A\" from 192.0.2.1 logged in"]);
}
