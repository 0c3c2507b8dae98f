//! What comes all at once is done some at a time: nobody else waits for it.

use palabre::hub::{CloseReason, RefusalReason, Settings, Time};
use palabre::limits::{CONNECTIONS_PER_TURN, ENDS_PER_TURN, Limits};

use crate::house::{House, Peer, ROOM};
use crate::pipe::Room;
use crate::plugins::{asked, module};

/// More than a turn ends, and not a multiple of that.
const MANY: usize = 2 * ENDS_PER_TURN + 88;

/// Little, so that many cost nothing.
const LITTLE: Room = Room { up: 1_000, down: 1_000 };

fn connect_many(house: &mut House, count: usize) -> Vec<Peer> {
    let peers = (0..count).map(|_| house.connect_with(LITTLE)).collect();
    house.settle();
    assert!(house.server.connections() >= count);
    peers
}

/// How many connections were closed for this in each turn in which some were, until so many are.
fn closes_by_turn(house: &mut House, reason: CloseReason, count: usize) -> Vec<u64> {
    let mut turns = Vec::new();
    while turns.iter().sum::<u64>() < count as u64 {
        let before = house.server.metrics().closes(reason);
        house.turn();
        let closed = house.server.metrics().closes(reason) - before;
        if closed > 0 {
            turns.push(closed);
        }
    }
    turns
}

#[test]
fn logins_that_take_too_long_together_end_some_at_a_time() {
    let mut house = House::with_limits(Limits { login_time_s: 5, ..Limits::default() });
    house.checked_every = 1_000;
    let mut polite = house.member("A", ROOM);
    let _silent = connect_many(&mut house, MANY);
    polite.frames();
    polite.send("<ping/>");
    let turns = closes_by_turn(&mut house, CloseReason::LoginTimeout, MANY);
    let most = ENDS_PER_TURN as u64;
    assert_eq!(turns, [most, most, 88]);
    assert_eq!(polite.frames(), ["<pong />"]);
}

#[test]
fn closes_that_have_had_their_time_together_end_some_at_a_time() {
    let mut house = House::with_limits(Limits::default());
    house.checked_every = 1_000;
    let peers = connect_many(&mut house, MANY);
    for peer in &peers {
        peer.send("<quit/>");
    }
    // None of them ends its side.
    house.settle();
    assert_eq!(house.server.connections(), MANY);
    let mut left = Vec::new();
    while house.server.connections() > 0 {
        let before = house.server.connections();
        house.turn();
        let gone = before - house.server.connections();
        if gone > 0 {
            left.push(gone);
        }
    }
    assert_eq!(left, [ENDS_PER_TURN, ENDS_PER_TURN, 88]);
}

#[test]
fn verdicts_that_are_there_together_are_told_some_at_a_time() {
    let mut house = House::with_limits(Limits::default());
    house.checked_every = 1_000;
    house.server.set_plugins(vec![module("one")]);
    house.settle();
    let plugin = house.process(0);
    house.told(&plugin, &["<register hooks='isAuthorized' />"]);
    let peers = connect_many(&mut house, MANY);
    for (n, peer) in peers.iter().enumerate() {
        peer.send(&format!("<connect nickname='N{n}' password='p' />"));
    }
    house.settle();
    // It answers none of them in time.
    let mut turns = Vec::new();
    while turns.iter().sum::<u64>() < MANY as u64 {
        let before = house.server.metrics().refusals(RefusalReason::LoginUndecided);
        house.turn();
        let told = house.server.metrics().refusals(RefusalReason::LoginUndecided) - before;
        if told > 0 {
            turns.push(told);
        }
    }
    assert!(turns.iter().all(|&told| told <= ENDS_PER_TURN as u64), "{turns:?}");
}

#[test]
fn another_idle_time_reaches_many_connections_some_at_a_time() {
    let mut house = House::with_limits(Limits::default());
    house.checked_every = 1_000;
    let peers = connect_many(&mut house, CONNECTIONS_PER_TURN + 10);
    let limits = Limits { idle_time_s: 7, ..Limits::default() };
    house.server.reload(Settings { limits: limits.clone(), ..Settings::default() });
    let told = |peers: &[Peer]| {
        peers.iter().filter(|peer| peer.pipe.borrow().idle_time_s == Some(7)).count()
    };
    assert_eq!(told(&peers), CONNECTIONS_PER_TURN);
    // Whoever comes meanwhile has it from the beginning.
    let late = house.connect_with(LITTLE);
    house.settle();
    assert_eq!(told(&peers), CONNECTIONS_PER_TURN + 10);
    assert_eq!(told(&[late]), 1);
    // The same again is nothing to tell.
    peers[0].pipe.borrow_mut().idle_time_s = None;
    house.server.reload(Settings { limits, ..Settings::default() });
    house.settle();
    assert_eq!(peers[0].pipe.borrow().idle_time_s, None);
}

/// Each departure is told to those who stay, not to those who are broken as well and wait to be
/// told of.
#[test]
fn those_who_break_together_are_not_told_of_each_other() {
    const GOING: usize = 40;
    let mut house = House::with_limits(Limits::default());
    let mut stays = house.member("A", ROOM);
    let going: Vec<Peer> = (0..GOING).map(|n| house.member(&format!("N{n}"), ROOM)).collect();
    stays.frames();
    let before = house.server.metrics().deliveries;
    for peer in &going {
        peer.pipe.borrow_mut().reset(std::io::ErrorKind::ConnectionReset);
    }
    house.settle();
    let left = stays.frames().iter().filter(|frame| frame.contains(" left='R'")).count();
    assert_eq!(left, GOING);
    // And one list for each turn that it took.
    let deliveries = house.server.metrics().deliveries - before;
    assert!(deliveries <= 2 * GOING as u64, "{deliveries} deliveries");
    assert_eq!(house.server.connections(), 1);
    house.run_until(Time::from_secs(1));
}

/// Each of them alone would have its go before those who have caused much.
#[test]
fn a_crowd_that_does_something_dear_at_once_waits_for_itself() {
    const CROWD: usize = 250;
    const ROOMS: usize = 8;
    let mut house = House::with_limits(Limits::default());
    house.checked_every = 1_000;
    let crowd = connect_many(&mut house, CROWD);
    for (number, peer) in crowd.iter().enumerate() {
        peer.send(&format!("<connect nickname='N{number}'/>"));
        (0..ROOMS).for_each(|room| peer.send(&format!("<join room='R{room}'/>")));
    }
    let mut polite = [house.member("A", ROOM), house.member("B", ROOM)];
    // They have recovered from that.
    house.run_until(Time::from_secs(10));
    polite.iter_mut().for_each(|peer| drop(peer.frames()));
    crowd.iter().for_each(|peer| peer.send("<quit/>"));
    polite[0].send("<ping/>");
    house.turn();
    polite[1].send("<ping/>");
    house.turn();
    let open = |house: &House| house.server.metrics().closes(CloseReason::Quit);
    assert!(open(&house) < CROWD as u64 / 4, "a turn has no time for all of them");
    for peer in &mut polite {
        assert_eq!(peer.frames(), ["<pong />"]);
    }
    house.settle();
    assert_eq!(open(&house), CROWD as u64);
}

/// What the polite tell each other is written before what the crowd tells itself.
#[test]
fn a_crowd_is_written_to_after_the_others() {
    const CROWD: usize = 250;
    const FLOOD: usize = 4;
    for (crowd, later) in [(CROWD, true), (5, false)] {
        let mut house = House::with_limits(Limits::default());
        house.checked_every = 1_000;
        let mut loud: Vec<Peer> =
            (0..crowd).map(|n| house.member(&format!("N{n}"), ROOM)).collect();
        let polite = connect_many(&mut house, 1).remove(0);
        polite.send("<connect nickname='A'/>");
        house.run_until(Time::from_secs(10));
        loud.iter_mut().for_each(|peer| drop(peer.said()));
        let flood = "<m toroom='R'>!</m>\0".repeat(FLOOD);
        loud.iter().for_each(|peer| peer.send_bytes(flood.as_bytes()));
        // One of the crowd is heard first, so that its room is told something first.
        let written = |peer: &Peer| peer.pipe.borrow().written_as;
        let before: Vec<u64> = loud.iter().map(written).collect();
        house.turn();
        polite.send("<ping/>");
        let answered = written(&polite);
        house.turn();
        assert!(written(&polite) > answered, "{crowd}");
        let waits = loud.iter().zip(&before).any(|(peer, before)| written(peer) == *before);
        assert_eq!(waits, later, "{crowd}");
        // Each of the crowd is told all of it in the end, by a few calls for many stanzas.
        house.run_until(Time::from_secs(20));
        assert!(loud.iter_mut().all(|peer| peer.said().len() == FLOOD * (crowd - 1)), "{crowd}");
    }
}

/// What is said to a crowd while crowds are written to would only wait behind that: it waits with
/// whoever says it, and what is said elsewhere doesn't.
#[test]
fn what_is_said_to_a_crowd_waits_until_it_has_been_written_to() {
    const CROWD: usize = 300;
    let mut house = House::with_limits(Limits::default());
    house.checked_every = 1;
    let mut crowd: Vec<Peer> = (0..CROWD).map(|n| house.member(&format!("N{n}"), ROOM)).collect();
    let mut few = connect_many(&mut house, 2);
    for (number, peer) in few.iter().enumerate() {
        peer.send(&format!("<connect nickname='F{number}'/>"));
        peer.send("<join room='few'/>");
    }
    house.run_until(Time::from_secs(10));
    crowd.iter_mut().chain(&mut few).for_each(|peer| drop(peer.said()));
    crowd[0].send("<m toroom='R'>first</m>");
    house.turn();
    let handled = |house: &House| house.server.metrics().frames_in;
    let before = handled(&house);
    crowd[1].send("<m toroom='R'>second</m>");
    crowd[2].send("<setparam room='R' name='k' value='v'/>");
    few[0].send("<m toroom='few'>third</m>");
    house.turn();
    assert_eq!(few[1].said(), ["<m f=\"F0\" r=\"few\">third</m>"]);
    assert_eq!(handled(&house), before + 2, "the refused setparam and what is said to few");
    house.run_until(Time::from_secs(20));
    let heard = ["<m f=\"N0\" r=\"R\">first</m>", "<m f=\"N1\" r=\"R\">second</m>"];
    assert!(crowd[3..].iter_mut().all(|peer| peer.said() == heard));
}

/// It takes several turns to write to a crowd, and those who have caused much are not read in them.
/// That there is always more to tell it does not keep them waiting.
#[test]
fn those_who_have_said_much_have_their_go_while_a_crowd_is_told_something_in_each_turn() {
    const CROWD: usize = 300;
    const FLOOD: usize = 30;
    let mut house = House::with_limits(Limits::default());
    house.checked_every = 1_000;
    let mut crowd: Vec<Peer> = (0..CROWD).map(|n| house.member(&format!("N{n}"), ROOM)).collect();
    let loud = house.member("Loud", ROOM);
    house.run_until(Time::from_secs(10));
    for (turn, peer) in crowd[..CROWD / 3].iter().enumerate() {
        if turn == 3 {
            loud.send_bytes("<m toroom='R'>!</m>\0".repeat(FLOOD).as_bytes());
        }
        peer.send("<m toroom='R'>.</m>");
        house.turn();
    }
    let heard = crowd[CROWD - 1].said();
    assert_eq!(heard.iter().filter(|said| said.contains("f=\"Loud\"")).count(), FLOOD);
}

/// What a plugin asks for is work as what a client asks for is: long answers leave less to a turn.
#[test]
fn what_a_plugin_asks_for_in_a_row_is_answered_some_at_a_time() {
    const ASKED: u64 = 60;
    for (clients, turns) in [(2, 1), (1_000, 3)] {
        let mut house = House::with_limits(Limits::default());
        house.checked_every = 1_000;
        house.server.set_plugins(vec![module("one")]);
        house.settle();
        let plugin = house.process(0);
        house.told(&plugin, &["<register />"]);
        for (number, peer) in connect_many(&mut house, clients).iter().enumerate() {
            peer.send(&format!("<connect nickname='N{number}'/>"));
        }
        house.settle();
        let before = house.server.metrics().plugin_frames_in;
        let stanzas: Vec<&str> = (0..ASKED).map(|_| "<get what='clients' ask='1'/>").collect();
        plugin.borrow_mut().say(&stanzas);
        let mut by_turn = Vec::new();
        while by_turn.iter().sum::<u64>() < ASKED {
            let begun = house.server.metrics().plugin_frames_in;
            house.turn();
            by_turn.push(house.server.metrics().plugin_frames_in - begun);
        }
        assert_eq!(house.server.metrics().plugin_frames_in - before, ASKED);
        by_turn.retain(|count| *count > 0);
        assert!(by_turn.len() >= turns && (turns > 1 || by_turn.len() == 1), "{by_turn:?}");
    }
}

/// A crowd that gives every turn enough to do does not keep verdicts about others' logins waiting,
/// nor does a room that does not take what a plugin tells it.
#[test]
fn whoever_is_asked_about_gets_in_while_a_crowd_floods_and_a_room_does_not_read() {
    const CROWD: usize = 250;
    let mut house = House::with_limits(Limits::default());
    house.checked_every = 1_000;
    house.server.set_plugins(vec![module("one")]);
    house.settle();
    let plugin = house.process(0);
    house.told(&plugin, &["<register />"]);
    let loud: Vec<Peer> = (0..CROWD).map(|n| house.member(&format!("N{n}"), ROOM)).collect();
    let deaf = house.connect_with(LITTLE);
    deaf.send("<connect nickname='D'/>");
    deaf.send("<join room='own'/>");
    house.settle();
    house.told(&plugin, &["<register hooks='isAuthorized'/>"]);
    let newcomer = house.connect();
    newcomer.send("<connect nickname='Z' password='p'/>");
    house.settle();
    let number = asked(&plugin.borrow_mut().heard());
    let flood = "<m toroom='R'>!</m>\0".repeat(30);
    loud.iter().for_each(|peer| peer.send_bytes(flood.as_bytes()));
    house.turn();
    let told = format!("<send room='own'><m>{}</m></send>", "x".repeat(60_000));
    let mut said = vec![told.as_str()];
    let verdict = format!("<verdict ask='{number}' allowed='1' />");
    said.push(&verdict);
    plugin.borrow_mut().say(&said);
    let logins = house.server.metrics().logins;
    let turns = (0..100).take_while(|_| {
        house.turn();
        house.server.metrics().logins == logins
    });
    let turns = turns.count();
    assert!(turns < 12, "{turns} turns");
    assert!(house.server.metrics().frames_in < (CROWD * 30) as u64, "the crowd is not done");
}
