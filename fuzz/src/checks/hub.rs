//! A hub with eight sessions that do whatever clients can do: what each input costs is bounded by
//! its own bytes and by the limits, and what a turn costs by what a turn may.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use palabre::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Note, Outlet, Progress, Question,
    QuestionId, Registered, RootPassword, Settings, Span, Time, Verdict,
};
use palabre::limits::{LIST_BURST_S, LISTERS_MAX, Limits};

use super::cost::{Allowance, Bytes, GROWTH, House, Spent, assert_input, stanza};
use super::long::written_out;

const SESSIONS: usize = 8;

/// Bytes encoded in a turn after which nothing more is read.
const TURN_BYTES: usize = 65_536;

/// Bytes of frames that a script comes to when all repetitions are written out, and its steps.
const SCRIPT_BYTES_MAX: usize = 524_288;
const STEPS_MAX: usize = 4_000;

/// In how many inputs the hub's own invariants are checked once: that looks at everything.
const CHECKED_EVERY: usize = 32;

/// About what a step without bytes is worth.
const STEP_BYTES: usize = 100;

/// Takes a script of steps that NUL bytes part. A step's first byte says what happens: a digit
/// sends the rest as a frame of that session, which is opened and logged in first when it is not
/// there; it may have repetitions ([`written_out`]). `o` and a digit open that session anew and
/// don't log it in, `e` ends it, `l` has it send too large a frame, `b` has its reader fall behind
/// and `k` keep up again. `a` has logins asked about, or not any more; `y`, `n` and `u` answer all
/// that are. `*` and a byte repeat the step before so often. `t` ends the turn, `s` lets a second
/// pass and `m` a minute. Gives how many bytes the frames had, each step counted as some.
///
/// # Panics
/// When the check fails.
pub fn check(script: &[u8]) -> usize {
    let mut play = HubPlay::new();
    play.register();
    let mut before: &[u8] = &[];
    for step in script.split(|&byte| byte == 0) {
        if let [b'*', times, ..] = step {
            for _ in 0..*times {
                play.step(before);
            }
        } else {
            play.step(step);
            before = step;
        }
    }
    for slot in 0..SESSIONS {
        play.end(slot);
    }
    play.end_turn();
    play.hub.check_invariants();
    assert_eq!(play.hub.rooms(), 0, "rooms without anybody in them");
    play.bytes + STEP_BYTES * play.steps
}

struct HubPlay {
    hub: Hub,
    out: Meter,
    now: Time,
    allowance: Allowance,
    conns: [Option<ConnId>; SESSIONS],
    /// Frames that wait for the turn of their login.
    waiting: BTreeMap<ConnId, Vec<u8>>,
    logins_asked: bool,
    /// Bytes of the longest frame of this turn.
    longest_taken: usize,
    inputs: usize,
    steps: usize,
    bytes: usize,
}

/// Limits that a short script reaches, in about the proportions of the default ones.
fn limits() -> Limits {
    Limits {
        stanza_bytes_max: 65_536,
        params_max: 64,
        param_bytes_max: 4_096,
        params_total_bytes_max: 1_048_576,
        rooms_per_client_max: 64,
        rooms_max: 256,
        room_depth_max: 3,
        sessions_per_address_max: 0,
        byte_rate_per_s: 4_096,
        byte_burst: 16_384,
        list_bytes_max: 16_384,
        list_rate_per_s: 16_384,
        failed_logins_per_minute: 5,
        ..Limits::default()
    }
}

impl HubPlay {
    fn new() -> Self {
        let settings = Settings {
            limits: limits(),
            root_password: RootPassword::clear("p"),
            full_roster_members: 5,
            ..Settings::default()
        };
        Self {
            hub: Hub::new(settings, HashKey(1, 2), 0),
            out: Meter::default(),
            now: Time::default(),
            allowance: Allowance::new(limits()),
            conns: [None; SESSIONS],
            waiting: BTreeMap::new(),
            logins_asked: false,
            longest_taken: 0,
            inputs: 0,
            steps: 0,
            bytes: 0,
        }
    }

    fn step(&mut self, step: &[u8]) {
        let Some((&what, rest)) = step.split_first() else { return };
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return;
        }
        let who = rest.first().map_or(0, |digit| usize::from(*digit) % SESSIONS);
        match what {
            b'0'..=b'7' => self
                .say(usize::from(what - b'0'), &written_out(rest, limits().stanza_bytes_max + 1)),
            b'o' => {
                self.end(who);
                self.open(who);
            }
            b'e' => self.end(who),
            b'l' => {
                let conn = self.session(who);
                self.handle(Input::FrameTooLarge { conn, max: 65_536 }, 0);
            }
            b'b' | b'k' => {
                let conn = self.session(who);
                self.handle(Input::Behind { conn, behind: what == b'b' }, 0);
            }
            b'a' => {
                self.logins_asked = !self.logins_asked;
                self.register();
            }
            b'y' => self.answer(Verdict::Allowed { account: false }),
            b'n' => self.answer(Verdict::Refused),
            b'u' => self.answer(Verdict::Undecided { root_refused: false, login_refused: false }),
            b's' => self.pass(Duration::from_secs(1)),
            b'm' => self.pass(Duration::from_secs(60)),
            _ => self.end_turn(),
        }
    }

    fn register(&mut self) {
        let logins = self.logins_asked;
        let registered = Registered { logins, joins: true, leaves: true, ..Registered::default() };
        self.handle(Input::Registered(Box::new(registered)), 0);
    }

    fn open(&mut self, slot: usize) -> ConnId {
        // A slot is not given out in the turn in which it was freed.
        self.end_turn();
        let generation = self.conns[slot].map_or(1, |conn| conn.generation + 1);
        let conn = ConnId { slot: slot as u32, generation };
        self.conns[slot] = Some(conn);
        self.out.open.insert(conn);
        self.allowance.opened(self.house());
        // Two households.
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, (slot % 2) as u8));
        self.handle(Input::Opened { conn, address, listener: ListenerKind::Main }, 0);
        conn
    }

    /// The session in a slot, opened and logged in if there is none.
    fn session(&mut self, slot: usize) -> ConnId {
        if let Some(conn) = self.conns[slot].filter(|conn| self.out.open.contains(conn)) {
            return conn;
        }
        let conn = self.open(slot);
        self.frame(conn, format!("<connect nickname='{slot}'/>").as_bytes());
        conn
    }

    fn say(&mut self, slot: usize, frame: &[u8]) {
        self.bytes += frame.len();
        if self.bytes > SCRIPT_BYTES_MAX {
            return;
        }
        let conn = self.session(slot);
        if frame.len() > limits().stanza_bytes_max {
            self.handle(Input::FrameTooLarge { conn, max: 65_536 }, 0);
        } else if self.out.has_enough() {
            self.end_turn();
            self.frame(conn, frame);
        } else {
            self.frame(conn, frame);
        }
    }

    /// Offers a frame until it is taken; one that has to wait for the turn of its login stays.
    fn frame(&mut self, conn: ConnId, frame: &[u8]) {
        if self.waiting.contains_key(&conn) || self.out.asked.values().any(|asked| *asked == conn) {
            return;
        }
        loop {
            if !self.out.open.contains(&conn) {
                return;
            }
            match self.handle(Input::Frame { conn, frame }, frame.len() + 1) {
                Progress::Done | Progress::Asked => break,
                Progress::Later(time) => self.wait_until(time),
                Progress::Wait | Progress::CrowdWaits => {
                    self.waiting.insert(conn, frame.to_vec());
                    break;
                }
            }
        }
    }

    fn answer(&mut self, verdict: Verdict) {
        for (question, conn) in std::mem::take(&mut self.out.asked) {
            self.handle(Input::Verdict { conn, question, verdict }, 0);
        }
    }

    fn end(&mut self, slot: usize) {
        if let Some(conn) = self.conns[slot].filter(|conn| self.out.open.remove(conn)) {
            self.out.closed.push(conn);
            self.handle(Input::Ended { conn, reason: CloseReason::PeerClosed }, 0);
        }
    }

    /// What a turn may be told to do again happens in the next one.
    fn wait_until(&mut self, time: Time) {
        self.end_turn();
        self.pass(time.since(self.now));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.allowance.passed(time.as_nanos(), self.house());
        // Each tick does a part, and the shell comes back until nothing is due.
        for round in 0.. {
            if self.hub.poll_timeout().is_none_or(|time| time > self.now) {
                break;
            }
            assert!(round < 10_000, "ticks for ever");
            self.handle(Input::Tick, 0);
            self.end_turn();
        }
        // By then every bucket is full again.
        if time > Duration::from_secs(2 * LIST_BURST_S) && self.hub.poll_timeout().is_none() {
            self.allowance.begin(self.house());
            self.out.spent = Spent::default();
        }
    }

    fn end_turn(&mut self) {
        self.handle(Input::TurnEnd, 0);
        let max = GROWTH * (TURN_BYTES + lists() + stanza(self.longest_taken));
        let encoded = std::mem::take(&mut self.out.turn_encoded);
        assert!(encoded <= max, "a turn had {encoded} bytes encoded, and {max} are allowed");
        (self.out.told_bytes, self.longest_taken) = (0, 0);
        for conn in std::mem::take(&mut self.out.closed) {
            self.handle(Input::Gone { conn }, 0);
        }
        for conn in std::mem::take(&mut self.out.called) {
            if let Some(frame) = self.waiting.remove(&conn) {
                self.frame(conn, &frame);
            }
        }
        let open = &self.out.open;
        self.waiting.retain(|conn, _| open.contains(conn));
    }

    fn handle(&mut self, input: Input<'_>, bytes: usize) -> Progress {
        self.longest_taken = self.longest_taken.max(bytes);
        let before = self.out.turn_encoded;
        self.out.sender = if let Input::Frame { conn, .. } = input { Some(conn) } else { None };
        let mut progress = Progress::Done;
        let Self { hub, out, now, .. } = self;
        let memory = allocation_counter::measure(|| progress = hub.handle(input, *now, out));
        let encoded = self.out.turn_encoded - before;
        assert_input(bytes, encoded, memory.bytes_total, TURN_BYTES + lists());
        if bytes > 0 {
            self.allowance.taken(bytes, self.house());
        }
        for _ in 0..std::mem::take(&mut self.out.rooms_created) {
            self.allowance.room_created();
        }
        self.allowance.assert_covers(self.out.spent);
        self.inputs += 1;
        if self.inputs.is_multiple_of(CHECKED_EVERY) {
            self.hub.check_invariants();
        }
        progress
    }

    fn house(&self) -> House {
        House {
            sessions: self.out.open.len(),
            rooms: self.hub.rooms(),
            memberships: self.out.memberships,
        }
    }
}

/// The lists that one input may have encoded beyond what its turn may have: what its sender is
/// answered, one that goes over the turn's end, and small ones of as many rooms as list another.
fn lists() -> usize {
    let small = limits().list_rate_per_s as usize / 64;
    4 * limits().list_bytes_max + LISTERS_MAX * small
}

/// A stanza that is no list.
const TOLD: u32 = 0;

/// One of the lists that `limits.listrate` is for.
const LIST: u32 = 1;

/// What its sender may have asked for itself, and a list then.
const ROOM: u32 = 2;

fn kind(stanza: &[u8]) -> u32 {
    let begins = |starts: &[&[u8]]| starts.iter().any(|start| stanza.starts_with(start));
    if begins(&[b"<clients ", b"<childrooms ", b"<rooms ", b"<roominfo ", b"<error>Answer too"]) {
        LIST
    } else if begins(&[b"<room "]) {
        ROOM
    } else {
        TOLD
    }
}

/// An outlet that keeps nothing but how much it was.
#[derive(Debug, Default)]
struct Meter {
    open: BTreeSet<ConnId>,
    /// Whose frame is handled.
    sender: Option<ConnId>,
    /// Closed by the hub in this turn.
    closed: Vec<ConnId>,
    asked: BTreeMap<QuestionId, ConnId>,
    called: Vec<ConnId>,
    rooms_created: usize,
    memberships: usize,
    spent: Spent,
    turn_encoded: usize,
    /// Bytes that the hub told of in this turn.
    told_bytes: usize,
}

impl Meter {
    const fn of_kind(&mut self, list: bool) -> &mut Bytes {
        if list { &mut self.spent.lists } else { &mut self.spent.told }
    }
}

impl Outlet for Meter {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let mut buffer = Vec::new();
        write(&mut buffer);
        let log = kind(&buffer);
        // What was written in vain has left the buffer with its memory.
        self.of_kind(log != TOLD).encoded += buffer.capacity();
        self.turn_encoded += buffer.capacity();
        Span { log, start: 0, end: buffer.len() + 1 }
    }

    fn push(&mut self, to: ConnId, message: Span) {
        assert!(self.open.contains(&to), "something for {to}, which is not there");
        let asked_for = message.log == ROOM && self.sender == Some(to);
        self.of_kind(message.log == LIST || asked_for).delivered += message.bytes();
    }

    fn has_enough(&self) -> bool {
        self.turn_encoded + self.told_bytes >= TURN_BYTES
    }

    fn spent(&mut self, bytes: usize) {
        self.told_bytes += bytes;
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        assert!(self.open.remove(&conn), "{conn} closed twice: {reason:?}");
        self.closed.push(conn);
    }

    fn note(&mut self, note: Note<'_>) {
        self.rooms_created += usize::from(matches!(note, Note::RoomCreated { .. }));
        self.memberships += usize::from(matches!(note, Note::Joined { .. }));
        self.memberships -= usize::from(matches!(note, Note::Left { .. }));
    }

    fn ask(&mut self, question: Question<'_>) {
        self.asked.insert(question.id, question.conn);
    }

    fn go_on(&mut self, conn: ConnId) {
        self.called.push(conn);
    }
}
