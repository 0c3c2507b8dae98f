//! What a message costs: one encoding and one queue entry for each receiver, and no memory
//! beyond that, however many receive it.

#[path = "cost/world.rs"]
mod world;

use palabre::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Note, Outlet, Settings, Span, Time,
};
use palabre::limits::{Limits, RECEIVERS_PER_TURN};
use palabre::net::server::Server;

use world::Calm;

/// Counts what the hub hands out; its buffer has room for all of it beforehand.
#[derive(Default)]
struct Counter {
    buffer: Vec<u8>,
    encodings: usize,
    pushes: usize,
}

impl Outlet for Counter {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        self.encodings += 1;
        self.buffer.clear();
        write(&mut self.buffer);
        Span { log: 0, start: 0, end: self.buffer.len() }
    }

    fn push(&mut self, _: ConnId, _: Span) {
        self.pushes += 1;
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        panic!("{conn} closed: {reason}");
    }

    fn note(&mut self, _: Note<'_>) {}
}

/// Nobody is held back.
fn settings() -> Settings {
    let limits = Limits { sessions_per_address_max: 0, stanza_rate_per_s: 0, ..Limits::default() };
    Settings { limits, ..Settings::default() }
}

/// A hub with one room of so many members.
fn room_of(members: u32, out: &mut Counter) -> Hub {
    let mut hub = Hub::new(settings(), HashKey(1, 2), 0);
    for slot in 0..members {
        let conn = ConnId { slot, generation: 1 };
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        hub.handle(Input::Opened { conn, address, listener: ListenerKind::Main }, Time(0), out);
        for frame in [format!("<connect nickname='N{slot}'/>"), "<join room='R'/>".to_owned()] {
            hub.handle(Input::Frame { conn, frame: frame.as_bytes() }, Time(0), out);
        }
    }
    hub.handle(Input::TurnEnd, Time(0), out);
    hub
}

#[test]
fn a_message_is_encoded_once_and_allocates_nothing_however_many_receive_it() {
    for members in [2, 100, 5_000] {
        let mut out = Counter::default();
        let mut hub = room_of(members, &mut out);
        let conn = ConnId { slot: 0, generation: 1 };
        let mut say = |out: &mut Counter| {
            let frame = b"<m toroom='R'>good morning, everybody</m>";
            hub.handle(Input::Frame { conn, frame }, Time(0), out);
        };
        say(&mut out);
        (out.encodings, out.pushes) = (0, 0);
        let memory = allocation_counter::measure(|| say(&mut out));
        assert_eq!(out.encodings, 1, "encodings for {members} members");
        assert_eq!(out.pushes, members as usize - 1, "pushes for {members} members");
        assert_eq!(memory.count_total, 0, "allocations for {members} members");
    }
}

#[test]
fn joins_of_one_turn_share_one_client_list() {
    let mut out = Counter::default();
    let mut hub = room_of(100, &mut out);
    (out.encodings, out.pushes) = (0, 0);
    for slot in 100..132 {
        let conn = ConnId { slot, generation: 1 };
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        hub.handle(
            Input::Opened { conn, address, listener: ListenerKind::Main },
            Time(0),
            &mut out,
        );
        let frame = format!("<connect nickname='N{slot}'/>");
        hub.handle(Input::Frame { conn, frame: frame.as_bytes() }, Time(0), &mut out);
        hub.handle(Input::Frame { conn, frame: b"<join room='R'/>" }, Time(0), &mut out);
    }
    let before_lists = (out.encodings, out.pushes);
    hub.handle(Input::TurnEnd, Time(0), &mut out);
    assert_eq!(out.encodings - before_lists.0, 1, "client lists");
    assert_eq!(out.pushes - before_lists.1, 132, "receivers of it");
}

/// A whole server with one room of so many members.
struct House(Server<Calm>);

impl House {
    fn of(members: usize) -> Self {
        let mut house = Self(Server::new(
            Calm::new(members),
            &[ListenerKind::Main],
            settings(),
            HashKey(1, 2),
            0,
        ));
        while house.0.connections() < members {
            house.turn();
        }
        for member in 0..members {
            house.says(member, &format!("<connect nickname='N{member}'/>\0<join room='R'/>\0"));
        }
        while house.0.metrics().frames_in < 2 * members as u64 {
            house.turn();
        }
        // What they were told of each other takes some turns to be written.
        let mut before = 0;
        while std::mem::replace(&mut before, house.calls().1) != house.calls().1 {
            house.turn();
        }
        house
    }

    fn says(&mut self, member: usize, bytes: &str) {
        self.0.world_mut().sent[member].extend_from_slice(bytes.as_bytes());
    }

    fn turn(&mut self) {
        self.0.turn().expect("this poll does not fail");
    }

    /// System calls for reading and for writing so far.
    fn calls(&mut self) -> (usize, usize) {
        let world = self.0.world_mut();
        (world.reads, world.writes)
    }
}

#[test]
fn the_turns_of_the_whole_server_allocate_nothing_and_write_once_to_each_receiver() {
    for members in [100, 5_000] {
        let mut house = House::of(members);
        // A crowd is first told what all have said, then written to, some in each turn.
        let turns = 1 + if members > 100 { members / RECEIVERS_PER_TURN + 20 } else { 0 };
        let message = "<m toroom='R'>good morning, everybody</m>\0";
        // What one of many says beyond its share is kept for its next go, in memory of its own.
        for (speakers, message) in [(1, message.repeat(2)), (64, message.to_owned())] {
            // The first turn of its size may ask for memory, later ones have it.
            for round in 0..3 {
                for speaker in 0..speakers {
                    house.says(speaker, &message);
                }
                let before = house.calls();
                let memory = allocation_counter::measure(|| (0..turns).for_each(|_| house.turn()));
                let after = house.calls();
                let receivers = if speakers == 1 { members - 1 } else { members };
                assert_eq!(after.0 - before.0, speakers, "reads");
                assert_eq!(after.1 - before.1, receivers, "writes");
                if round > 0 {
                    assert_eq!(memory.count_total, 0, "{members} members, {speakers} speak");
                }
            }
        }
    }
}
