//! `byterate`, `byteburst`, `listbytes` and `listrate`, and senders who are held back for those who
//! don't keep up: at the bound, and one past it.

use std::time::Duration;

use palabre::hub::{Order, Who};

use super::*;

impl Server {
    fn after_ms(&self, ms: u64) -> Time {
        self.now + Duration::from_millis(ms)
    }

    /// Lets everything that waits have its time, tick by tick, until `until`.
    fn tick_until(&mut self, until: Time) {
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.handle(Input::Tick);
        }
        self.now = until;
    }

    /// Who was told texts that begin like this since it was last asked, and how many bytes each
    /// has, its NUL among them.
    fn told_of(&mut self, beginning: &str) -> Vec<(u32, usize)> {
        self.recorder.limits_named.clear();
        let done = self.recorder.take().into_iter();
        let texts = done.filter_map(|(conn, done)| Some((conn.slot, text_of(done)?)));
        let found = texts.filter(|(_, text)| text.starts_with(beginning));
        found.map(|(slot, text)| (slot, text.len() + 1)).collect()
    }
}

fn texts(told: Vec<Done>) -> Vec<String> {
    told.into_iter().filter_map(text_of).collect()
}

fn text_of(done: Done) -> Option<String> {
    if let Done::Text(text) = done { Some(text) } else { None }
}

// Frames that are no stanzas.

#[test]
fn frames_that_are_no_stanzas_count_as_stanzas_do() {
    let limits = Limits { stanza_rate_per_s: 4, stanza_burst: 8, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    server.pass_seconds(60);
    assert_eq!(server.handle(Input::FramesInVain { conn, count: 3 }), Progress::Done);
    for _ in 0..2 {
        server.passes(conn, "<ping/>");
    }
    server.told(conn);
    assert_eq!(server.handle(Input::FramesInVain { conn, count: 3 }), Progress::Done, "the last");
    assert_eq!(server.told(conn), []);
    // They have been read: the next stanza waits until they are paid off, and for its own token.
    let there_at = server.after_ms(3 * 250);
    assert_eq!(server.handle(Input::FramesInVain { conn, count: 2 }), Progress::Later(there_at));
    let error = "<error>Too many stanzas (limit 4 per second)</error>";
    assert_eq!(texts(server.told(conn)), [error]);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
    assert_eq!(server.told(conn), [], "told once");
    server.now = there_at;
    server.passes(conn, "<ping/>");
}

#[test]
fn whoever_goes_on_with_frames_that_are_no_stanzas_is_closed() {
    let limits = Limits { stanza_rate_per_s: 4, stanza_burst: 8, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    let began = server.now;
    let (mut told, mut waits) = (Vec::new(), Vec::new());
    while server.recorder.open.contains(&conn) {
        // As many as a read may hold; no more is owed than a burst of them.
        if let Progress::Later(at) = server.handle(Input::FramesInVain { conn, count: 2_700 }) {
            waits.push(at.since(server.now));
            server.now = at;
        }
        told.extend(server.told(conn));
    }
    let error = Done::Text("<error>Too many stanzas (limit 4 per second)</error>".to_owned());
    assert_eq!(told, [error, Done::Closed(CloseReason::TooFast)]);
    assert!(waits.iter().all(|wait| *wait == Duration::from_millis(9 * 250)), "{waits:?}");
    let lasted = server.now.since(began);
    assert!((10..13).contains(&lasted.as_secs()), "{lasted:?}");
}

#[test]
fn frames_that_are_no_stanzas_are_free_where_stanzas_are() {
    let mut server = Server::new(Limits { stanza_rate_per_s: 0, ..Limits::default() });
    let conn = server.log_in("a");
    for _ in 0..100 {
        assert_eq!(server.handle(Input::FramesInVain { conn, count: 2_700 }), Progress::Done);
    }
    assert_eq!(server.told(conn), []);
}

// Bytes that a client sends.

#[test]
fn byte_rate_and_burst() {
    let limits = Limits { byte_rate_per_s: 100, byte_burst: 200, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    server.pass_seconds(60);
    // A ping has eight bytes with its NUL: 25 are there, and the one that goes beyond them passes.
    for _ in 0..26 {
        server.passes(conn, "<ping/>");
    }
    let there_at = server.after_ms(80);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
    assert_eq!(
        texts(server.told(conn)),
        ["<error>Too many bytes (limit 100 per second)</error>"],
        "told"
    );
    server.now = Time(there_at.0 - 1);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
    assert_eq!(server.told(conn), [], "told once");
    server.now = there_at;
    assert_eq!(server.send(conn, "<ping/>"), ["<pong />"], "not lost");
    // However long it goes on, it goes on at the rate, and the client is told no more of it.
    let mut pongs = 0;
    let until = server.now.plus_secs(60);
    while server.now <= until {
        match server.offer(conn, "<ping/>") {
            Progress::Later(at) => server.now = at,
            Progress::Done | Progress::Asked => pongs += 1,
            Progress::Wait | Progress::CrowdWaits => panic!("it waits for nobody"),
        }
    }
    assert_eq!(pongs, 750, "6,000 bytes in a minute");
    assert_eq!(texts(server.told(conn)).len(), pongs, "nothing but pongs");
    // After a calm it is told again.
    server.pass_seconds(3);
    for _ in 0..26 {
        server.passes(conn, "<ping/>");
    }
    assert!(matches!(server.offer(conn, "<ping/>"), Progress::Later(_)));
    assert_eq!(texts(server.told(conn)).len(), 1, "told again");
}

#[test]
fn bytes_count_that_others_are_told() {
    let limits = Limits { byte_rate_per_s: 1_000, byte_burst: 1_000, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    server.passes(conn, "<join room='R'/>");
    let long = "x".repeat(400);
    server.passes(conn, &format!("<setparam room='R' name='k' value='{long}'/>"));
    server.pass_seconds(60);
    // Its answer tells all params.
    let told = server.send(conn, "<removeparam room='R' name='none'/>");
    let bytes = told[0].len() as u64 + 1;
    assert!(bytes > 500, "{bytes}");
    server.passes(conn, "<removeparam room='R' name='none'/>");
    let there_at = server.after_ms(2 * bytes - 1_000);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
}

/// The frames of a policy client, of one that has not logged in and of nonsense count as well.
#[test]
fn bytes_count_before_the_login() {
    let limits = Limits { byte_rate_per_s: 100, byte_burst: 100, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.open();
    server.send(conn, &"x".repeat(149));
    assert_eq!(server.offer(conn, "<help/>"), Progress::Later(server.after_ms(500)));
}

/// A param of a client in many rooms is told to some of them at once and to the others at the rate.
#[test]
fn a_param_of_a_client_in_many_rooms_is_told_at_the_rate() {
    let limits = Limits { byte_rate_per_s: 1_000, byte_burst: 1_000, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    for room in 10..40 {
        server.pass_seconds(1);
        server.passes(conn, &format!("<join room='{room}'/>"));
    }
    server.pass_seconds(60);
    let value = "x".repeat(41);
    let told = server.send(conn, &format!("<clientparam name='k' value='{value}'/>"));
    let room_of = |text: &String| text.split("r=\"").nth(1).expect("a room")[..2].to_owned();
    let bytes = told[0].len() + 1;
    assert_eq!(bytes, 100, "so that this is easy to follow: {}", told[0]);
    let rooms: Vec<String> = told.iter().map(room_of).collect();
    assert_eq!(rooms, ["10", "11", "12"], "the first ones, up to a quarter of a second's rate");
    // The client itself waits, a plugin does not.
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(server.after_ms(1)));
    // 900 bytes are left of its burst, and the last that is told goes beyond it.
    let now = server.now;
    server.tick_until(now);
    let told = texts(server.told(conn));
    assert_eq!(
        told.iter().map(room_of).collect::<Vec<_>>(),
        ["13", "14", "15", "16", "17", "18", "19", "20", "21"]
    );
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(server.after_ms(200)));
    let order = Order::SetClientParam { who: Who::Session(conn), name: "k", value: "new" };
    assert_eq!(server.hub.order(order, server.now, &mut server.recorder), Ok(()));
    let told = texts(server.told(conn));
    assert_eq!(told.iter().map(room_of).collect::<Vec<_>>(), ["10", "11", "12", "13", "14"]);
    // All rooms are told the new value, each once.
    server.tick_until(now.plus_secs(10));
    let told = texts(server.told(conn));
    assert!(told.iter().all(|text| text.contains("value=\"new\"")));
    let rest: Vec<String> = (15..40).map(|room| room.to_string()).collect();
    assert_eq!(told.iter().map(room_of).collect::<Vec<_>>(), rest);
    assert_eq!(server.send(conn, "<ping/>"), ["<pong />"]);
}

#[test]
fn a_client_that_goes_takes_what_waits_with_it() {
    let limits = Limits { byte_rate_per_s: 1_000, byte_burst: 1_000, ..Limits::default() };
    let mut server = Server::new(limits);
    let (conn, other) = (server.log_in("a"), server.log_in("b"));
    for room in 10..40 {
        server.pass_seconds(1);
        server.passes(conn, &format!("<join room='{room}'/>"));
    }
    server.passes(other, "<join room='39'/>");
    server.pass_seconds(60);
    server.passes(conn, &format!("<clientparam name='k' value='{}'/>", "x".repeat(41)));
    server.handle(Input::Ended { conn, reason: CloseReason::PeerClosed });
    server.recorder.open.remove(&conn);
    server.told(other);
    let until = server.now.plus_secs(30);
    server.tick_until(until);
    assert_eq!(server.told(other), []);
}

// Lists.

/// A room with so many members, quiet for so long that it has all its allowance.
fn room_with(server: &mut Server, members: usize) -> Vec<ConnId> {
    let mut inside = Vec::new();
    for number in 0..members {
        let conn = server.log_in(&format!("member{number:04}"));
        server.passes(conn, "<join room='R'/>");
        server.handle(Input::TurnEnd);
        inside.push(conn);
    }
    server.tick_until(server.now.plus_secs(3_600));
    server.told(inside[0]);
    inside
}

/// A list whose cost is a second's rate is sent to all at once; a byte more, and it waits.
#[test]
fn a_list_that_costs_a_second_is_sent_at_once() {
    for (more, at_once) in [(0, true), (1, false)] {
        // What the list of four will have, for each of them.
        let bytes = "<clients room='R' nb='4'>\n</clients>".len()
            + 4 * "\n  <client name='member0000' />".len()
            + 1;
        let list_rate_per_s = (4 * bytes - more) as u64;
        let mut server = Server::new(Limits { list_rate_per_s, ..Limits::default() });
        let inside = room_with(&mut server, 3);
        let last = server.log_in("member0003");
        server.handle(Input::TurnEnd);
        server.told_of("");
        server.offer(last, "<join room='R'/>");
        server.told_of("");
        server.handle(Input::TurnEnd);
        let told = server.told_of("<clients ");
        let joiner = (last.slot, bytes);
        if at_once {
            let everybody: Vec<_> = inside.iter().map(|conn| (conn.slot, bytes)).collect();
            assert_eq!(told, [everybody, vec![joiner]].concat());
        } else {
            assert_eq!(told, [joiner], "whoever joined has it at once");
            let now = server.now;
            server.tick_until(now.plus_secs(30));
            let told = server.told_of("<clients ");
            assert_eq!(told.len(), 4, "and everybody within seconds: {told:?}");
        }
    }
}

/// While it comes the slow way, changes are merged: everybody has the last list in the end.
#[test]
fn slow_lists_merge_what_changes_meanwhile() {
    let mut server = Server::new(Limits { list_rate_per_s: 1_000, ..Limits::default() });
    let inside = room_with(&mut server, 20);
    let late: Vec<_> = (0..10).map(|number| server.log_in(&format!("late{number}"))).collect();
    server.told_of("");
    let began = server.now;
    for &conn in &late {
        server.offer(conn, "<join room='R'/>");
        server.handle(Input::TurnEnd);
        server.now = server.after_ms(50);
    }
    let at_joins = server.told_of("<clients ");
    assert_eq!(at_joins.len(), 10, "each who joined has its own: {at_joins:?}");
    server.tick_until(began.plus_secs(600));
    let told = server.told_of("<clients ");
    for conn in inside {
        let lists: Vec<_> = told.iter().filter(|(slot, _)| *slot == conn.slot).collect();
        assert!((1..=2).contains(&lists.len()), "{lists:?} to {conn}");
        assert!(lists.last().expect("one").1 > 30 * 24, "with all who are in: {lists:?}");
    }
    assert_eq!(server.hub.poll_timeout(), None, "nothing waits");
}

/// Over any time a room's lists cost no more than four seconds and the rate, but for one list.
#[test]
fn lists_of_a_room_keep_to_their_rate() {
    let rate = 2_000;
    let mut server = Server::new(Limits { list_rate_per_s: rate, ..Limits::default() });
    let inside = room_with(&mut server, 10);
    server.told_of("");
    let began = server.now;
    let mut bytes = 0;
    let mut longest = 0;
    for second in 0..120_u64 {
        let at = began.plus_secs(second);
        server.tick_until(at);
        // One goes in and out all the time; what it is told itself is not counted here.
        let changing = inside[9];
        server.offer(changing, "<leave room='R'/>");
        server.handle(Input::TurnEnd);
        server.offer(changing, "<join room='R'/>");
        server.handle(Input::TurnEnd);
        for (slot, list) in server.told_of("<clients ") {
            bytes += if slot == changing.slot { 0 } else { list };
            longest = longest.max(list);
        }
        let allowed = usize::try_from(rate * (4 + second)).expect("small") + 10 * longest;
        assert!(bytes <= allowed, "{bytes} bytes in {second} s");
    }
    assert!(bytes > 100 * 2_000, "the rate is used: {bytes}");
}

/// A member that goes while a list is under way takes nobody's place.
#[test]
fn nobody_is_left_out_of_a_slow_list_when_others_go() {
    let mut server = Server::new(Limits { list_rate_per_s: 1_000, ..Limits::default() });
    let inside = room_with(&mut server, 20);
    let operator = inside[0];
    server.passes(operator, "<addchild parentroom='R' childroom='C'/>");
    server.tick_until(server.now.plus_secs(3_600));
    // Params of a child room are told to all members of the parent, here in parts.
    server.passes(operator, &format!("<setparam room='C' name='k' value='{}'/>", "x".repeat(200)));
    let mut told: Vec<u32> = Vec::new();
    let mut gone = inside[1..].iter();
    for _ in 0..400 {
        server.now = server.after_ms(100);
        server.handle(Input::Tick);
        let parts = server.told_of("<childrooms ");
        if told.is_empty() && !parts.is_empty() {
            // The first who were told go.
            for conn in gone.by_ref().take(2) {
                server.offer(*conn, "<leave room='R'/>");
            }
        }
        told.extend(parts.iter().map(|(slot, _)| slot));
    }
    let everybody: Vec<u32> = inside.iter().map(|conn| conn.slot).collect();
    told.sort_unstable();
    assert!(told.iter().all(|slot| everybody.contains(slot)));
    for slot in &everybody[3..] {
        assert!(told.contains(slot), "{slot} was told: {told:?}");
    }
}

/// A turn that has enough to do leaves lists for another one, small ones excepted.
#[test]
fn a_full_turn_leaves_lists_for_later() {
    let mut server = Server::new(Limits { list_rate_per_s: 64_000, ..Limits::default() });
    room_with(&mut server, 5);
    server.recorder.is_full = true;
    let mut at_once = Vec::new();
    for number in 5..9 {
        let conn = server.log_in(&format!("member{number:04}"));
        server.told_of("");
        server.offer(conn, "<join room='R'/>");
        server.handle(Input::TurnEnd);
        let told = server.told_of("<clients ");
        let bytes: usize = told.iter().map(|(_, bytes)| bytes).sum();
        at_once.push((told.len(), bytes));
        server.tick_until(server.now.plus_secs(60));
    }
    for (number, (told, bytes)) in (6..).zip(at_once) {
        // A 64th of a second's rate are 1,000 bytes.
        let list = bytes / told;
        assert_eq!(told, if list * number > 1_000 { 1 } else { number }, "{list} bytes");
    }
}

/// What a client asks for costs it, not the room: lists that it asked for too often come later.
#[test]
fn lists_that_a_client_asks_for_keep_to_the_rate() {
    let mut server = Server::new(Limits { list_rate_per_s: 1_000, ..Limits::default() });
    let conn = server.log_in("a");
    let told = server.send(conn, "<getrooms/>");
    let bytes = told[0].len() as u64 + 1;
    let times = 4_000 / bytes + 1;
    for _ in 1..times {
        server.passes(conn, "<getrooms/>");
    }
    let there_at = server.after_ms(times * bytes - 4_000);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
    assert_eq!(server.told(conn), [], "it is told nothing of it");
    server.now = there_at;
    assert_eq!(server.send(conn, "<ping/>"), ["<pong />"]);
}

/// An answer that is too large costs what was written of it in vain.
#[test]
fn an_answer_that_is_too_large_costs_as_much_as_the_largest() {
    let limits = Limits { list_bytes_max: 500, list_rate_per_s: 1_000, ..Limits::default() };
    let mut server = Server::new(limits);
    let conn = server.log_in("a");
    for room in 0..20 {
        server.passes(conn, &format!("<join room='{room}'/>"));
        server.pass_seconds(1);
    }
    server.pass_seconds(60);
    server.handle(Input::TurnEnd);
    server.pass_seconds(60);
    let answer = "<error>Answer too large (limit 500 bytes)</error>";
    for _ in 0..4 {
        assert_eq!(server.send(conn, "<getrooms/>"), [answer]);
    }
    let there_at = server.after_ms(4 * (2 * 500 + answer.len() as u64 + 1) - 4_000);
    assert_eq!(server.offer(conn, "<ping/>"), Progress::Later(there_at));
}

// Those who don't keep up.

/// A room of a sender and so many others, of whom so many don't keep up.
fn crowded(others: usize, behind: usize) -> (Server, ConnId, Vec<ConnId>) {
    let mut server = Server::new(Limits::default());
    let sender = server.log_in("sender");
    server.passes(sender, "<join room='R'/>");
    server.passes(sender, "<setparam room='R' name='openParams' value='1'/>");
    let inside = room_with(&mut server, others);
    for &conn in &inside[..behind] {
        server.handle(Input::Behind { conn, behind: true });
    }
    (server, sender, inside)
}

#[test]
fn who_talks_is_held_back_when_most_do_not_keep_up() {
    for (others, behind, held) in [(1, 1, true), (2, 1, false), (3, 2, true), (4, 2, false)] {
        for stanza in [
            "<m r='R'/>",
            "<move toroom='R'/>",
            "<setparam room='R' name='k' value='v'/>",
            "<removeparam room='R' name='k'/>",
            "<clientparam name='k' value='v'/>",
        ] {
            let (mut server, sender, inside) = crowded(others, behind);
            let expected = if held { Progress::Later(server.after_ms(10)) } else { Progress::Done };
            assert_eq!(server.offer(sender, stanza), expected, "{stanza} {behind} of {others}");
            let told = server.told(inside[0]);
            assert_eq!(told.is_empty(), held, "{stanza} {behind} of {others}: {told:?}");
            if !held {
                continue;
            }
            // When one keeps up again it passes.
            server.handle(Input::Behind { conn: inside[0], behind: false });
            server.now = server.after_ms(10);
            assert_eq!(server.offer(sender, stanza), Progress::Done);
            assert!(!server.told(inside[0]).is_empty(), "{stanza} passes");
        }
    }
}

#[test]
fn nobody_is_held_back_for_longer_than_five_seconds() {
    let (mut server, sender, inside) = crowded(1, 1);
    let began = server.now;
    let mut looks = 0;
    while let Progress::Later(at) = server.offer(sender, "<m r='R'/>") {
        server.now = at;
        looks += 1;
    }
    assert_eq!(server.now, began.plus_secs(5));
    assert_eq!(looks, 500);
    assert_eq!(server.told(inside[0]).len(), 1);
    // While the reader has not been given up the next one waits for itself.
    assert_eq!(server.offer(sender, "<m r='R'/>"), Progress::Later(server.after_ms(10)));
    server.handle(Input::Tick);
    assert_eq!(server.offer(sender, "<m r='R'/>"), Progress::Done);
}

/// A reader that takes nothing for five seconds is waited for no longer, until it keeps up again.
#[test]
fn a_reader_is_waited_for_five_seconds() {
    let (mut server, sender, inside) = crowded(1, 1);
    let began = server.now;
    for (behind_at_ms, behind) in [(1_000, false), (2_000, true), (3_000, true), (6_999, true)] {
        server.tick_until(began + Duration::from_millis(behind_at_ms));
        server.handle(Input::Behind { conn: inside[0], behind });
        let progress = server.offer(sender, "<m r='R'/>");
        assert_eq!(progress == Progress::Done, !behind, "{behind_at_ms} ms");
    }
    server.tick_until(Time(began.plus_secs(7).0 - 1));
    assert!(matches!(server.offer(sender, "<m r='R'/>"), Progress::Later(_)));
    server.tick_until(began.plus_secs(7));
    for _ in 0..100 {
        server.handle(Input::Behind { conn: inside[0], behind: true });
        assert_eq!(server.offer(sender, "<m r='R'/>"), Progress::Done, "given up");
    }
    server.handle(Input::Behind { conn: inside[0], behind: false });
    server.handle(Input::Behind { conn: inside[0], behind: true });
    assert!(matches!(server.offer(sender, "<m r='R'/>"), Progress::Later(_)));
}

/// A room that has been told half of `backlogsoft` in a turn is told more in the next one: only
/// then is it known who does not keep up.
#[test]
fn a_room_is_told_only_so_much_in_a_turn() {
    let limits = Limits { backlog_soft_bytes_max: 2_000, ..Limits::default() };
    let mut server = Server::new(limits);
    let senders = ["a", "b", "c"].map(|nick| server.log_in(nick));
    for &conn in &senders {
        server.passes(conn, "<join room='R'/>");
    }
    server.handle(Input::TurnEnd);
    server.told(senders[0]);
    let talk = format!("<m r='R'>{}</m>", "x".repeat(250 - "<m f='a' r='R'></m>".len() - 1));
    for turn in 0..3 {
        // The bound are 1,000 bytes: four messages reach it, and the fifth goes beyond it.
        for sender in [0, 1, 2, 0, 1] {
            assert_eq!(server.offer(senders[sender], &talk), Progress::Done, "turn {turn}");
        }
        for stanza in [&*talk, "<move r='R'/>", "<clientparam name='k' value='v'/>"] {
            let now = Progress::Later(server.now);
            assert_eq!(server.offer(senders[2], stanza), now, "{stanza} in turn {turn}");
        }
        // Other rooms and other people are not concerned, and lists wait as well.
        assert_eq!(server.offer(senders[2], "<m c='a'/>"), Progress::Done);
        let joiner = server.open();
        server.offer(joiner, &format!("<connect nickname='joiner{turn}'/>"));
        server.told_of("");
        server.offer(joiner, "<join room='R'/>");
        server.handle(Input::TurnEnd);
        let told = server.told_of("<clients ");
        assert_eq!(told.len(), 1, "whoever joins has its list: {told:?}");
        server.tick_until(server.now);
        let told = server.told_of("<clients ");
        assert_eq!(told.len(), 4 + turn, "and everybody in the next turn: {told:?}");
        server.handle(Input::TurnEnd);
    }
}

/// Who does not keep up gets a list last, and takes it from nobody.
#[test]
fn a_list_waits_for_those_who_do_not_keep_up() {
    let (mut server, _, inside) = crowded(4, 2);
    let joiner = server.log_in("joiner");
    server.told_of("");
    server.offer(joiner, "<join room='R'/>");
    server.handle(Input::TurnEnd);
    server.tick_until(server.now);
    let told: Vec<u32> = server.told_of("<clients ").into_iter().map(|(slot, _)| slot).collect();
    let slots = |conns: &[ConnId]| conns.iter().map(|conn| conn.slot).collect::<Vec<_>>();
    // The joiner at once, then the sender and those who keep up.
    let (behind, others) = inside.split_at(2);
    assert_eq!(told, [vec![joiner.slot, 0], slots(others), vec![joiner.slot]].concat());
    server.tick_until(server.after_ms(1_000));
    assert_eq!(server.told_of("<clients "), []);
    server.handle(Input::Behind { conn: behind[1], behind: false });
    server.tick_until(server.after_ms(250));
    let told: Vec<u32> = server.told_of("<clients ").into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(told, slots(&behind[1..]), "in a quarter of a second");
    // The last one has been waited for long enough after five seconds.
    server.tick_until(server.after_ms(3_700));
    assert_eq!(server.told_of("<clients "), []);
    server.tick_until(server.after_ms(500));
    let told: Vec<u32> = server.told_of("<clients ").into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(told, slots(&behind[..1]));
    server.tick_until(server.after_ms(100_000));
    assert_eq!(server.told_of("<clients "), [], "once");
}

/// It waits in all its rooms together no longer than in one.
#[test]
fn a_param_of_a_client_waits_five_seconds_for_all_its_rooms() {
    let (mut server, sender, inside) = crowded(1, 1);
    server.passes(sender, "<join room='S'/>");
    server.passes(inside[0], "<join room='S'/>");
    let first = server.log_in("free");
    server.passes(first, "<join room='R'/>");
    server.passes(first, "<join room='T'/>");
    server.passes(sender, "<leave room='R'/>");
    server.passes(sender, "<join room='R'/>");
    let began = server.now;
    while let Progress::Later(at) = server.offer(sender, "<clientparam name='k' value='v'/>") {
        server.now = at;
    }
    assert_eq!(server.now, began.plus_secs(5));
}

#[test]
fn only_talk_to_the_crowded_is_held_back() {
    let (mut server, sender, inside) = crowded(1, 1);
    server.passes(sender, "<join room='S'/>");
    for stanza in
        ["<ping/>", "<m r='S'/>", "<m c='member0000'/>", "<getrooms/>", "<leave room='R'/>"]
    {
        assert_eq!(server.offer(sender, stanza), Progress::Done, "{stanza}");
    }
    // Whoever goes is not waited for.
    server.passes(sender, "<join room='R'/>");
    assert!(matches!(server.offer(sender, "<m r='R'/>"), Progress::Later(_)));
    server.handle(Input::Ended { conn: inside[0], reason: CloseReason::SlowReader });
    server.recorder.open.remove(&inside[0]);
    assert_eq!(server.offer(sender, "<m r='R'/>"), Progress::Done);
}

/// What waits takes no token of `stanzarate`, and is handed to no plugin before its time.
#[test]
fn a_stanza_that_waits_has_done_nothing() {
    let limits = Limits { stanza_rate_per_s: 1, stanza_burst: 10, ..Limits::default() };
    let mut server = Server::new(limits);
    let (sender, other) = (server.log_in("a"), server.log_in("b"));
    server.passes(sender, "<join room='R'/>");
    server.passes(other, "<join room='R'/>");
    let names = ["move".to_owned()].into();
    let registered = Registered { names, ..Registered::default() };
    server.handle(Input::Registered(Box::new(registered)));
    server.handle(Input::Behind { conn: other, behind: true });
    server.handle(Input::TurnEnd);
    server.told(sender);
    let until = server.now.plus_secs(4);
    while server.now < until {
        assert_eq!(server.offer(sender, "<move r='R'/>"), Progress::Later(server.after_ms(10)));
        assert_eq!(server.told(sender), []);
        server.now = server.after_ms(10);
    }
    server.handle(Input::Behind { conn: other, behind: false });
    assert_eq!(server.offer(sender, "<move r='R'/>"), Progress::Done);
    let told = server.told(sender);
    assert!(matches!(told[..], [Done::Registered(..)]), "{told:?}");
}

// Child rooms.

#[test]
fn a_room_is_listed_under_64_rooms_at_most() {
    let mut server = Server::new(Limits { rooms_per_client_max: 0, ..Limits::default() });
    let conn = server.log_in("a");
    for number in 0..=64 {
        server.passes(conn, &format!("<join room='{number}'/>"));
    }
    let other = server.log_in("b");
    server.passes(other, "<join room='child'/>");
    for number in 0..64 {
        let add = format!("<addchild parentroom='{number}' childroom='child'/>");
        server.passes(conn, &add);
        server.passes(conn, "<leave room='child'/>");
    }
    let error = "Room listed under too many rooms (limit 64)";
    server.is_refused(conn, "<addchild parentroom='64' childroom='child'/>", error);
    // Where it is listed already, it may be entered.
    server.passes(conn, "<addchild parentroom='63' childroom='child'/>");
}

/// Of the rooms above and below one, not all lists are looked through.
#[test]
fn the_lists_of_a_large_family_are_not_all_looked_through() {
    let limits = Limits {
        rooms_per_client_max: 0,
        list_rate_per_s: 0,
        list_bytes_max: 10_000,
        stanza_rate_per_s: 0,
        byte_rate_per_s: 0,
        ..Limits::default()
    };
    let mut server = Server::new(limits);
    server.slots = 32;
    let conn = server.log_in("a");
    server.passes(conn, "<join room='top'/>");
    server.passes(conn, "<join room='P'/>");
    // The room P lists 64, each of which lists 256, the last one less: 16,384 in all.
    let mut last = conn;
    for child in 0..64 {
        server.passes(conn, &format!("<addchild parentroom='P' childroom='{child}'/>"));
        last = server.log_in(&format!("b{child}"));
        server.passes(last, &format!("<join room='{child}'/>"));
        for number in 0..if child < 63 { 256 } else { 192 } {
            let add = format!("<addchild parentroom='{child}' childroom='{child}.{number}'/>");
            server.passes(last, &add);
        }
    }
    let add = "<addchild parentroom='top' childroom='P'/>";
    server.passes(conn, "<leave room='P'/>");
    server.passes(conn, add);
    server.passes(conn, "<leave room='P'/>");
    server.passes(last, "<addchild parentroom='63' childroom='one more'/>");
    server.is_refused(conn, add, "Child rooms listed in too many ways (limit 16384)");
}
