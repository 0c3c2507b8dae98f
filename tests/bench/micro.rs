//! Micro-benchmarks of framing, parsing, encoding and the hub.
//!
//! `cargo bench --bench micro` times every operation; `-- --help` tells how to pick some and for
//! how long. `-- names` lists them, and `-- once NAME COUNT` sets one up and runs it so many
//! times without a clock: `tests/bench/instructions.sh` has callgrind count that.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to a person")]

use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Duration;

use palabre::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Note, Outlet, Progress, Registered,
    RootPassword, Settings, Span, Time,
};
use palabre::limits::{FULL_ROSTER_MEMBERS, Limits, READ_BYTES_PER_TURN};
use palabre::wire::framer::{FRAME_END, Framer};
use palabre::wire::stanza::Parser;
use palabre::wire::write::{self, Relayed};

/// 100 bytes of what people write.
const LINE: &str = "Good evening, everybody! Isn't it strange how quiet this room has become \
                    since the others went home?";
const _: () = assert!(LINE.len() == 100);

/// A small segment. It has no divisor in common with the 101 bytes of [`LINE`] and its NUL, so
/// that frames are torn at every place.
const TORN_CHUNK_BYTES: usize = 37;

/// Stanzas of a session come so far apart, which keeps it below the default rate: the limits are
/// in force while nobody is held up by them.
const BETWEEN_STANZAS: Duration = Duration::from_millis(10);

/// One prepared operation; gives how much came of it: bytes, or receivers.
type Run = Box<dyn FnMut() -> usize>;

/// Something to measure.
struct Operation {
    name: &'static str,
    prepare: fn() -> Run,
}

/// Everything that is measured, whether by a clock or by counting instructions.
const OPERATIONS: [Operation; 20] = [
    operation("frame-whole", || framing(READ_BYTES_PER_TURN)),
    operation("frame-torn", || framing(TORN_CHUNK_BYTES)),
    operation("parse-ping", || parsing("<ping />".to_owned())),
    operation("parse-message", || parsing(message("toroom", "lobby"))),
    operation("parse-attributes", || parsing(many_attributes())),
    operation("parse-markup", || parsing(markup())),
    operation("parse-prefixes", || parsing(prefixes())),
    operation("parse-4-kib", || parsing(format!("<m r='lobby'>{}</m>", LINE.repeat(41)))),
    operation("encode-message", encoding_of_a_message),
    operation("encode-list-100", || encoding_of_a_list(100)),
    operation("hub-ping", ping),
    operation("hub-private", message_to_one),
    operation("hub-message-10", || message_to_a_room(10)),
    operation("hub-message-1000", || message_to_a_room(1_000)),
    operation("hub-message-10000", || message_to_a_room(10_000)),
    operation("hub-accept", || accept(0)),
    operation("hub-accept-65536-bans", || accept(65_536)),
    operation("hub-join-leave-10", || join_and_leave(10)),
    operation("hub-join-leave-1000", || join_and_leave(1_000)),
    operation("hub-join-leave-10000", || join_and_leave(10_000)),
];

const fn operation(name: &'static str, prepare: fn() -> Run) -> Operation {
    Operation { name, prepare }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["names"] => OPERATIONS.iter().for_each(|operation| println!("{operation}")),
        ["once", name, count] => return once(name, count),
        _ => divan::main(),
    }
    ExitCode::SUCCESS
}

#[divan::bench(args = &OPERATIONS)]
fn operations(bencher: divan::Bencher<'_, '_>, operation: &Operation) {
    bencher.bench_local((operation.prepare)());
}

/// Runs one operation so many times, with nothing else that an instruction counter would count.
fn once(name: &str, count: &str) -> ExitCode {
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == name) else {
        eprintln!("no operation named {name}; `names` lists them");
        return ExitCode::from(2);
    };
    let Ok(count) = count.parse::<u32>() else {
        eprintln!("{count} is no number of runs");
        return ExitCode::from(2);
    };
    let mut run = (operation.prepare)();
    for _ in 0..count {
        black_box(run());
    }
    ExitCode::SUCCESS
}

/// Makes sure that an operation does what it is named for, and warms its buffers.
fn checked(mut run: impl FnMut() -> usize + 'static, expected: usize) -> Run {
    for _ in 0..2 {
        assert_eq!(run(), expected, "bytes or receivers of one run");
    }
    Box::new(run)
}

/// Cuts as many messages as one read brings, lent in chunks of so many bytes.
fn framing(chunk_bytes: usize) -> Run {
    let message = [LINE.as_bytes(), &[FRAME_END]].concat();
    let frames = READ_BYTES_PER_TURN / message.len();
    let stream = message.repeat(frames);
    let max = Limits::default().stanza_bytes_max;
    let mut framer = Framer::new();
    let run = move || {
        let mut bytes = 0;
        for chunk in black_box(&stream).chunks(chunk_bytes) {
            let mut cut = framer.cut(chunk, max);
            while let Ok(Some(frame)) = cut.next_frame() {
                bytes += black_box(frame).len();
            }
        }
        bytes
    };
    checked(run, frames * LINE.len())
}

/// A message of [`LINE`], addressed by one attribute.
fn message(attribute: &str, recipient: &str) -> String {
    format!("<m {attribute}=\"{recipient}\">{LINE}</m>")
}

fn many_attributes() -> String {
    let own: String = (0..32).map(|number| format!(" x{number}='{}'", number * 37)).collect();
    format!("<move toroom=\"lobby\" who='J&#233;r&#244;me &amp; co'{own}>hop</move>")
}

fn markup() -> String {
    "<m toroom='lobby'><font color='#336699' size=\"12\">well, <b>really</b> &lt;no&gt;</font>\
     <!-- from the old client --><br/><img src='a.png' alt=''/><![CDATA[1 < 2]]></m>"
        .to_owned()
}

/// A stanza full of names with prefixes, as long as one may be by default.
fn prefixes() -> String {
    format!("<m xmlns:p='urn:p' xmlns:q='urn:q'>{}</m>", "<p:x/><q:x/>".repeat(5_400))
}

fn parsing(frame: String) -> Run {
    let limits = Limits::default();
    let mut parser = Parser::new();
    let element_bytes = frame.len();
    let run = move || match parser.parse(black_box(frame.as_bytes()), &limits) {
        Ok(stanza) => black_box(stanza).element().len(),
        Err(refusal) => panic!("{frame}: {refusal:?}"),
    };
    checked(run, element_bytes)
}

/// A message as everybody in its room gets it, written from the parsed stanza.
fn encoding_of_a_message() -> Run {
    // A stanza borrows from both; they last as long as the process.
    let parser = Box::leak(Box::new(Parser::new()));
    let frame = message("toroom", "lobby").leak();
    let parsed = parser.parse(frame.as_bytes(), &Limits::default());
    let stanza = parsed.expect("a message is well-formed");
    let mut buffer = Vec::new();
    let run = move || {
        buffer.clear();
        let relayed = Relayed {
            name: "m",
            stanza: black_box(&stanza),
            own_attributes: false,
            nick: "visitor7",
            room: Some("lobby"),
        };
        write::relayed(&mut buffer, &relayed);
        black_box(&buffer).len()
    };
    let written = format!("<m f=\"visitor7\" r=\"lobby\">{LINE}</m>");
    checked(run, written.len())
}

/// A client list without params.
fn encoding_of_a_list(members: u32) -> Run {
    let nicks: Vec<String> = (0..members).map(nick).collect();
    let written: String =
        nicks.iter().map(|nick| format!("\n  <client name='{nick}' />")).collect();
    let written = format!("<clients room='lobby' nb='{members}'>{written}\n</clients>");
    let mut buffer = Vec::new();
    let run = move || {
        buffer.clear();
        write::roster_begin(&mut buffer, "lobby", nicks.len());
        for nick in black_box(&nicks) {
            write::roster_client(&mut buffer, nick, std::iter::empty());
        }
        write::roster_end(&mut buffer);
        black_box(&buffer).len()
    };
    checked(run, written.len())
}

fn ping() -> Run {
    let mut house = House::with_a_room_of(1_000);
    checked(move || house.receivers_of(House::MEMBER, "<ping />"), 1)
}

fn message_to_one() -> Run {
    let mut house = House::with_a_room_of(1_000);
    let frame = message("toclient", &nick(500));
    checked(move || house.receivers_of(House::MEMBER, &frame), 1)
}

fn message_to_a_room(members: u32) -> Run {
    let mut house = House::with_a_room_of(members);
    let frame = message("toroom", "lobby");
    checked(move || house.receivers_of(House::MEMBER, &frame), members as usize - 1)
}

/// A connection comes and goes, from an address that none of so many bans holds for: of hosts and
/// of networks of each length, IPv4 and IPv6 by turns.
fn accept(bans: u32) -> Run {
    let settings = Settings {
        root_password: RootPassword::clear("secret"),
        limits: Limits { stanza_rate_per_s: 0, byte_rate_per_s: 0, ..Limits::default() },
        ..Settings::default()
    };
    let hub = Hub::new(settings, HashKey(1, 2), 0);
    let mut house = House { hub, out: Counter::default(), now: Time::default() };
    let root = ConnId { slot: 0, generation: 1 };
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    house.input(Input::Opened { conn: root, address, listener: ListenerKind::Main });
    house.receivers_of(root, "<connect nickname='root' rootpass='secret' />");
    for number in 0..bans {
        let spread = number.wrapping_mul(0x9E37_79B1);
        let network = if number % 2 == 0 {
            let length = 24 + number / 2 % 9;
            let bits = (spread | 0x8000_0000) >> (32 - length) << (32 - length);
            format!("{}/{length}", Ipv4Addr::from(bits))
        } else {
            format!("2001:db8:{:x}:{:x}::/64", spread >> 16, spread & 0xFFFF)
        };
        house.receivers_of(root, &format!("<ban address='{network}' />"));
    }
    let mut generation = 1;
    let run = move || {
        generation += 1;
        let conn = ConnId { slot: 1, generation };
        let address = IpAddr::from(Ipv4Addr::new(100, 64, 1, 2));
        house.input(Input::Opened { conn, address, listener: ListenerKind::Main });
        house.input(Input::Ended { conn, reason: CloseReason::PeerClosed });
        house.input(Input::Gone { conn });
        std::mem::take(&mut house.out.pushes)
    };
    checked(run, 0)
}

/// A visitor comes in and goes again, each in a turn of its own: lists are sent at a turn's end.
fn join_and_leave(members: u32) -> Run {
    let mut house = House::with_a_room_of(members);
    let visitor = house.log_in(members);
    let run = move || {
        let mut receivers = 0;
        for frame in ["<join room='lobby' />", "<leave room='lobby' />"] {
            receivers += house.receivers_of(visitor, frame);
            house.input(Input::TurnEnd);
            receivers += std::mem::take(&mut house.out.pushes);
        }
        receivers
    };
    let members = members as usize;
    // Those inside hear of both; the visitor gets joined, childrooms, room, the list and leaved.
    let told = 2 * members + 5;
    let lists = if members < FULL_ROSTER_MEMBERS { 2 * members } else { 0 };
    checked(run, told + lists)
}

fn nick(slot: u32) -> String {
    format!("visitor{slot}")
}

/// A hub under the default settings, and the time of its world.
struct House {
    hub: Hub,
    out: Counter,
    now: Time,
}

impl House {
    /// One of those in the room.
    const MEMBER: ConnId = ConnId { slot: 0, generation: 1 };

    fn with_a_room_of(members: u32) -> Self {
        // A key that is always the same, so that instructions are.
        let hub = Hub::new(Settings::default(), HashKey(1, 2), 0);
        let mut house = Self { hub, out: Counter::default(), now: Time::default() };
        // Nobody registers anything, but the compiler is not to know.
        house.input(Input::Registered(Box::new(black_box(Registered::default()))));
        for slot in 0..members {
            let conn = house.log_in(slot);
            house.receivers_of(conn, "<join room='lobby' />");
        }
        house.input(Input::TurnEnd);
        house.out.pushes = 0;
        house
    }

    fn log_in(&mut self, slot: u32) -> ConnId {
        let conn = ConnId { slot, generation: 1 };
        // Sessions from loopback are not counted by address.
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        self.input(Input::Opened { conn, address, listener: ListenerKind::Main });
        self.receivers_of(conn, &format!("<connect nickname='{}' />", nick(slot)));
        conn
    }

    fn input(&mut self, input: Input<'_>) {
        let progress = self.hub.handle(input, self.now, &mut self.out);
        assert_eq!(progress, Progress::Done, "an input was held up");
    }

    /// How many receive something because of this stanza.
    fn receivers_of(&mut self, conn: ConnId, frame: &str) -> usize {
        self.now = self.now + BETWEEN_STANZAS;
        self.input(Input::Frame { conn, frame: black_box(frame.as_bytes()) });
        std::mem::take(&mut self.out.pushes)
    }
}

/// An outlet with next to nothing to do, so that what is measured is the hub.
#[derive(Default)]
struct Counter {
    buffer: Vec<u8>,
    pushes: usize,
}

impl Outlet for Counter {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        self.buffer.clear();
        write(&mut self.buffer);
        self.buffer.push(FRAME_END);
        Span { log: 0, start: 0, end: self.buffer.len() }
    }

    fn push(&mut self, to: ConnId, _: Span) {
        // Without it the compiler makes one addition of a whole room's deliveries.
        black_box(to);
        self.pushes += 1;
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        panic!("{conn} closed: {reason}");
    }

    fn spent(&mut self, bytes: usize) {
        // The server adds it up; unused, the hub's estimate of a list would be compiled away.
        black_box(bytes);
    }

    fn note(&mut self, note: Note<'_>) {
        // What is never looked at is compiled away, together with the question whether to tell it.
        black_box(&note);
        if let Note::Refused { error, .. } | Note::LoginRefused { reason: error, .. } = note {
            panic!("refused: {error}");
        }
    }
}
