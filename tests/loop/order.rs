//! The turn's own promises: how much of whom, in which order, by how many calls.

use palabre::hub::{Settings, Time};
use palabre::limits::{
    ACCEPTS_PER_TURN, Limits, READ_BYTES_PER_TURN, STANZA_BYTE_WORK_NS, STANZA_WORK_NS,
    TURN_WORK_NS,
};

use crate::house::{House, Peer, ROOM, heard};
use crate::pipe::{Faults, Received, Room};
use crate::rng::Rng;

/// Limits under which nobody is too fast.
fn without_rate() -> Limits {
    Limits { stanza_rate_per_s: 0, byte_rate_per_s: 0, list_rate_per_s: 0, ..Limits::default() }
}

/// One turn that does not wait for anything.
fn turn(house: &mut House) {
    let now = house.now();
    house.world().alarm = Some(now);
    house.turn();
}

#[test]
fn a_conversation_is_the_same_however_its_bytes_are_cut() {
    let conversation = "\r\n<connect nickname='A'/>\0<ping />\0<join room='R'/>\r\n\0nonsense\0\0\
                        <m r='R' b='1'>h\u{e9} &amp; h\u{1f600}</m>\0<leave r='R'/>\0<quit/>\0<ping/>\0";
    let mut outcomes = Vec::new();
    let mut rng = Rng::new(3);
    for size in [usize::MAX, 1, 2, 3, 7, 0, 0, 0, 0] {
        let mut house = House::with_limits(Limits::default());
        let mut a = house.connect();
        let mut rest = conversation.as_bytes();
        while !rest.is_empty() {
            let size = if size == 0 { rng.between(1, 30) } else { size };
            let (now, later) = rest.split_at(size.min(rest.len()));
            a.send_bytes(now);
            house.settle();
            rest = later;
        }
        // The list that a turn's changes share comes as early as anybody could tell.
        outcomes.push(a.frames().join("\n"));
        a.assert_then(Received::End);
    }
    assert!(outcomes[0].contains("<m f=\"A\" r=\"R\">h\u{e9} &amp; h\u{1f600}</m>"));
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:#?}");
}

#[test]
fn a_turn_does_so_much_for_one_client_and_reads_it_once() {
    let mut house = House::with_limits(without_rate());
    let mut a = house.member("A", ROOM);
    let pings = 2_000;
    a.send_bytes("<ping/>\0".repeat(pings).as_bytes());
    let reads = a.pipe.borrow().reads;
    let mut answers = Vec::new();
    while answers.iter().sum::<usize>() < pings {
        turn(&mut house);
        answers.push(a.frames().len());
    }
    let most = (TURN_WORK_NS / STANZA_WORK_NS) as usize;
    assert!(answers.iter().all(|&count| count <= most), "{answers:?}");
    assert!(answers[0] > most / 2, "nobody else wants anything: {answers:?}");
    assert_eq!(a.pipe.borrow().reads, reads + 1);
    a.send_bytes(&[b"<ping/>\0<ping>", &[b'x'; 60_000][..]].concat());
    a.send_bytes(&vec![b'x'; 50_000]);
    let bytes = a.pipe.borrow().bytes_up;
    turn(&mut house);
    assert_eq!(a.pipe.borrow().bytes_up, bytes + READ_BYTES_PER_TURN);
}

#[test]
fn a_client_is_heard_in_its_turn_while_another_sends_as_fast_as_it_can() {
    let mut house = House::with_limits(without_rate());
    let flooders: Vec<_> = (0..5).map(|n| house.member(&format!("F{n}"), ROOM)).collect();
    let mut a = house.member("A", ROOM);
    house.settle();
    let flood = "<ping/>\0".repeat(2_000);
    for round in 0..50 {
        for flooder in &flooders {
            let _ = flooder.pipe.borrow_mut().send(flood.as_bytes());
            flooder.pipe.borrow_mut().receive(usize::MAX);
        }
        a.frames();
        a.send(&format!("<m c='A'>{round}</m>"));
        turn(&mut house);
        assert_eq!(a.said(), [format!("<m f=\"A\">{round}</m>")]);
    }
}

#[test]
fn parts_of_stanzas_are_work_before_any_is_whole() {
    let mut house = House::with_limits(without_rate());
    let senders: Vec<_> = (0..30).map(|n| house.member(&format!("S{n}"), ROOM)).collect();
    house.settle();
    let part = 40_000;
    let read = |senders: &[Peer]| -> usize {
        senders.iter().map(|sender| sender.pipe.borrow().bytes_up).sum()
    };
    let before = read(&senders);
    for sender in &senders {
        sender.send_bytes(&vec![b'x'; part]);
    }
    let mut turns = 0;
    let mut seen = before;
    while seen < before + senders.len() * part {
        turn(&mut house);
        let now = read(&senders);
        let most = (TURN_WORK_NS / STANZA_BYTE_WORK_NS) as usize + part;
        assert!(now - seen <= most, "{} of {most} bytes in a turn", now - seen);
        seen = now;
        turns += 1;
    }
    assert!(turns > 5, "{turns}");
}

#[test]
fn many_messages_of_a_turn_are_one_write_for_each_receiver() {
    let mut house = House::with_limits(without_rate());
    let mut peers: Vec<_> = (0..4).map(|n| house.member(&format!("P{n}"), ROOM)).collect();
    let senders: Vec<_> = (0..4).map(|n| house.member(&format!("S{n}"), ROOM)).collect();
    house.settle();
    for peer in &mut peers {
        peer.frames();
    }
    // Each receiver's stanzas lie scattered in what the turn has encoded, more than fit one call.
    let messages = 64;
    for (n, sender) in (0..messages).flat_map(|n| senders.iter().map(move |s| (n, s))) {
        sender.send(&format!("<m c='P{}'>{n}</m>", n % 4));
        sender.send(&format!("<m c='P{}'>{n}</m>", (n + 1) % 4));
    }
    let writes: Vec<_> = peers.iter().map(|peer| peer.pipe.borrow().writes).collect();
    turn(&mut house);
    for (peer, writes) in peers.iter_mut().zip(writes) {
        assert_eq!(peer.pipe.borrow().writes, writes + 1);
        let frames = peer.frames();
        assert_eq!(frames.len(), 2 * messages);
        for sender in 0..4 {
            let from = format!("<m f=\"S{sender}\">");
            let numbers: Vec<usize> = frames
                .iter()
                .filter_map(|frame| frame.strip_prefix(&from)?.strip_suffix("</m>")?.parse().ok())
                .collect();
            assert!(numbers.is_sorted(), "{numbers:?}");
            assert_eq!(numbers.len(), messages / 2);
        }
    }
}

#[test]
fn an_idle_session_costs_no_turn() {
    let mut house = House::with_limits(Limits::default());
    for n in 0..20 {
        house.member(&format!("A{n}"), ROOM);
    }
    house.settle();
    let turns = house.server.metrics().turns;
    house.run_until(Time::from_secs(86_400));
    assert_eq!(house.world().last_timeout, None, "it would sleep for ever");
    assert!(house.server.metrics().turns - turns < 5);
}

#[test]
fn a_burst_of_connects_is_taken_in_portions() {
    let mut house = House::with_limits(Limits::default());
    let mut a = house.member("A", ROOM);
    a.frames();
    let mut peers: Vec<_> = (0..ACCEPTS_PER_TURN * 3 + 7).map(|_| house.connect()).collect();
    for portion in 1..=3 {
        a.send("<ping/>");
        turn(&mut house);
        assert_eq!(a.frames(), ["<pong />"]);
        assert_eq!(house.server.connections(), 1 + portion * ACCEPTS_PER_TURN);
    }
    house.settle();
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.send(&format!("<connect nickname='N{n}'/>"));
    }
    house.settle();
    assert!(peers.iter_mut().all(|peer| peer.frames().len() == 1));
}

#[test]
fn an_accept_that_fails_for_its_client_is_followed_by_the_next_one() {
    let faults = Faults { accept_aborted: 50, interrupted: 30, ..Faults::default() };
    let mut house = House::new(Settings::default(), faults, 5);
    let mut peers: Vec<_> = (0..100).map(|_| house.connect()).collect();
    house.settle();
    assert_eq!(house.world().network.waiting(), 0);
    assert_eq!(house.server.metrics().accept_errors, 0);
    let refused = peers
        .iter_mut()
        .filter(|peer| peer.pipe.borrow_mut().receive(1) == Received::Reset)
        .count();
    assert_eq!(house.server.connections(), 100 - refused);
    assert!((20..80).contains(&refused));
}

#[test]
fn a_slot_is_not_given_out_in_the_turn_that_frees_it_nor_with_anything_in_it() {
    let mut house = House::with_limits(Limits::default());
    let mut a = house.member("A", ROOM);
    for round in 0..20 {
        let nick = format!("B{round}");
        let b = house.member(&nick, Room { up: 1 << 20, down: 100 });
        // Something waits for it, some of its stanzas are not handled, one is not finished.
        for n in 0..3 {
            a.send(&format!("<m c='{nick}'>{n}{}</m>", "x".repeat(200)));
        }
        b.send_bytes("<ping/>\0".repeat(100).as_bytes());
        b.send_bytes(b"<m r='R'>unfinished");
        if round % 2 == 0 {
            turn(&mut house);
        }
        b.pipe.borrow_mut().reset(std::io::ErrorKind::ConnectionReset);
        // The world refuses a slot that is given out too early.
        let mut successor = house.connect();
        successor.send("</m>");
        successor.send(&format!("<connect nickname='{nick}'/>"));
        house.settle();
        let expected = [
            "<error>This is not a valid XML string</error>".to_owned(),
            format!("<connect isok='1' msg='Your nickname is now : {nick}'/>"),
        ];
        assert_eq!(successor.frames(), expected);
        assert!(b.pipe.borrow().slot.is_some());
        successor.pipe.borrow_mut().close();
        a.frames();
        house.settle();
    }
    let slots = house.world().network.connections.iter().filter_map(|pipe| pipe.borrow().slot);
    assert!(slots.max() < Some(5), "slots are used again");
}

/// A room whose description is long, so that little that is asked makes much to encode.
fn room_to_tell(house: &mut House) -> Peer {
    let mut a = house.member("A", ROOM);
    for n in 0..50 {
        a.send(&format!("<setparam room='R' name='k{n}' value='{}'/>", "x".repeat(4_000)));
    }
    house.settle();
    a.frames();
    a
}

#[test]
fn a_turn_encodes_only_so_much_and_those_who_want_much_take_turns() {
    // All params of a room together are held to the size of a stanza.
    let limits = Limits { stanza_bytes_max: 1 << 20, ..without_rate() };
    let mut house = House::with_limits(limits);
    room_to_tell(&mut house);
    let room = Room { up: 1 << 20, down: 100 << 20 };
    let mut peers: Vec<_> = (0..6).map(|n| house.member(&format!("B{n}"), room)).collect();
    for peer in &mut peers {
        peer.frames();
        peer.send_bytes("<getrooms/>\0".repeat(10).as_bytes());
    }
    let answers_to = |peer: &Peer| match peer.pipe.borrow_mut().receive(usize::MAX) {
        Received::Bytes(bytes) => memchr::memchr_iter(0, &bytes).count(),
        Received::Nothing | Received::End | Received::Reset => 0,
    };
    let mut answers = Vec::new();
    for _ in 0..60 {
        turn(&mut house);
        answers.push(peers.iter().map(answers_to).collect::<Vec<_>>());
    }
    // An answer has 200 KB.
    let most = (TURN_WORK_NS / 100_000) as usize;
    assert!(answers.iter().all(|turn| turn.iter().sum::<usize>() <= most), "{answers:?}");
    for so_far in 1..answers.len() {
        let sums = (0..6).map(|n| answers[..so_far].iter().map(|turn| turn[n]).sum::<usize>());
        let (least, most) = (sums.clone().min(), sums.max());
        assert!(most <= least.map(|least| least + 1), "{:?}", &answers[..so_far]);
    }
    let sums: Vec<usize> = (0..6).map(|n| answers.iter().map(|turn| turn[n]).sum()).collect();
    assert_eq!(sums, [10; 6]);
}

#[test]
fn a_message_to_a_room_reaches_all_in_one_order() {
    let faults = Faults { torn: 50, short_write: 50, disordered: 50, ..Faults::default() };
    let settings = Settings { limits: without_rate(), ..Settings::default() };
    let mut house = House::new(settings, faults, 11);
    let mut peers: Vec<_> = (0..5).map(|n| house.member(&format!("P{n}"), ROOM)).collect();
    let mut logs = vec![Vec::new(); peers.len()];
    for n in 0..40 {
        for peer in &peers {
            peer.send(&format!("<m r='R' b='1'>{n}</m>"));
        }
        if n % 3 == 0 {
            house.settle();
        }
    }
    for _ in 0..100 {
        house.settle();
        for (peer, log) in peers.iter_mut().zip(&mut logs) {
            log.extend(peer.said());
        }
    }
    assert_eq!(logs[0].len(), 200);
    assert!(logs.iter().all(|log| *log == logs[0]));
    for sender in 0..5 {
        let own: Vec<_> =
            logs[0].iter().filter(|m| m.contains(&format!("\"P{sender}\""))).collect();
        let expected: Vec<_> =
            (0..40).map(|n| heard(&format!("P{sender}"), &n.to_string())).collect();
        assert!(own.into_iter().eq(&expected));
    }
}
