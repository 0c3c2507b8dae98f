//! Runs the hub and the model side by side through what one seed makes up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use palabre::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Permission, Progress, QuestionId, Time,
    Verdict,
};
use palabre::limits::Limits;

use super::generator::{self, Generator, Shape};
use super::model::{Frame, HELP, Login, Model};
use super::orders::{self, Wish};
use super::random::Random;
use super::recorder::{Done, Hook, Recorder, To};

/// Inputs that a failure shows.
const INPUTS_SHOWN: usize = 16;

/// A frame that the hub did not take yet.
#[derive(Clone, Debug)]
struct Held {
    frame: Frame,
    written: Vec<u8>,
    /// When it is to be offered again; `None` after the verdict.
    at: Option<Time>,
}

/// One run.
pub(crate) struct Run {
    seed: u64,
    step: usize,
    shape: Shape,
    random: Random,
    hub: Hub,
    model: Model,
    recorder: Recorder,
    now: Time,
    /// How often each slot has been used.
    generations: Vec<u32>,
    /// Connections that are over, so that late inputs can name them.
    gone: VecDeque<ConnId>,
    held: BTreeMap<ConnId, Held>,
    /// Whose turn to log in has come.
    called: VecDeque<ConnId>,
    /// Connections that send as fast as they are read.
    hasty: BTreeSet<ConnId>,
    /// Those who owe frames, until when.
    vain_until: BTreeMap<ConnId, Time>,
    inputs: VecDeque<String>,
    record: Record,
    keep_lines: bool,
    /// The hub's tables are looked through after every input, not after some.
    check_always: bool,
    ended: bool,
}

/// What a run did, for those who want to look at it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Every input and what came of it.
    pub(crate) lines: String,
    /// How often each kind of answer was met, numbers and names left out.
    pub(crate) met: BTreeMap<String, usize>,
    /// The most sessions and the most members of a room at a time.
    pub(crate) sessions_max: usize,
    pub(crate) members_max: usize,
}

impl Record {
    pub(crate) fn merge(&mut self, other: Self) {
        self.lines += &other.lines;
        for (kind, times) in other.met {
            *self.met.entry(kind).or_default() += times;
        }
        self.sessions_max = self.sessions_max.max(other.sessions_max);
        self.members_max = self.members_max.max(other.members_max);
    }

    fn add(&mut self, done: &Done) {
        *self.met.entry(kind(done)).or_default() += 1;
    }
}

fn kind(done: &Done) -> String {
    match done {
        Done::Closed(reason) => format!("closed: {reason:?}"),
        Done::Asked(asked) if asked.root_password.is_some() => "asked about root".to_owned(),
        Done::Asked(_) => "asked".to_owned(),
        Done::Cancelled(_) => "cancelled".to_owned(),
        Done::Called => "called".to_owned(),
        Done::Hook(Hook::Joined(..)) => "hook: joined".to_owned(),
        Done::Hook(Hook::Left(..)) => "hook: left".to_owned(),
        Done::Hook(Hook::Message(_, To::Room(_), _)) => "hook: to a room".to_owned(),
        Done::Hook(Hook::Message(_, To::Client(_), _)) => "hook: to a client".to_owned(),
        Done::Hook(Hook::Message(_, To::Everybody, _)) => "hook: to everybody".to_owned(),
        Done::Registered(..) => "registered".to_owned(),
        Done::Text(text) => match text.strip_prefix("<error>") {
            Some(error) => {
                let error = error.split(['<', ':']).next().unwrap_or_default();
                error.replace(|character: char| character.is_ascii_digit(), "")
            }
            None => text.split([' ', '>']).next().unwrap_or_default().to_owned(),
        },
    }
}

/// Names the seed when anything fails, the hub's own assertions too.
struct Replay(u64);

#[expect(clippy::print_stderr, reason = "the hub's own panics don't know the seed")]
impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("to replay: PALABRE_SEED={seed} cargo test --test simulation");
        }
    }
}

/// Runs one seed for its number of steps, or another; gives the whole record if it is wanted.
pub(crate) fn run(seed: u64, steps: Option<usize>, key: HashKey, keep_lines: bool) -> Record {
    let _replay = Replay(seed);
    let shape = generator::shape(seed);
    let mut random = Random::new(seed);
    let settings = generator::settings(shape, &mut random);
    let unix_start_us = random.next() % 4_000_000_000_000_000;
    let mut run = Run {
        seed,
        step: 0,
        shape,
        hub: Hub::new(settings.clone(), key, unix_start_us),
        model: Model::new(settings, unix_start_us),
        recorder: Recorder::default(),
        now: Time(0),
        generations: vec![0; shape.clients],
        gone: VecDeque::new(),
        held: BTreeMap::new(),
        called: VecDeque::new(),
        hasty: BTreeSet::new(),
        vain_until: BTreeMap::new(),
        inputs: VecDeque::new(),
        record: Record::default(),
        keep_lines,
        check_always: std::env::var_os("PALABRE_SEED").is_some(),
        ended: false,
        random,
    };
    run.register();
    while run.step < steps.unwrap_or(shape.steps) && !run.ended {
        run.step += 1;
        run.step();
    }
    run.finish();
    run.record
}

impl Run {
    fn step(&mut self) {
        // As a rule at once, but much may happen before.
        if self.random.chance(3, 4) {
            self.offer_the_called();
        }
        let open = self.model.sessions.len();
        match self.random.below(1_000) {
            0..40 => self.open(),
            40..140 if open * 2 < self.shape.clients => self.open(),
            40..300 if open * 4 < self.shape.clients * 3 && self.shape.clients > 100 => self.open(),
            140..149 => self.end(),
            149..153 => self.too_large(),
            206..210 => self.frames_in_vain(),
            153..160 => self.client_address(),
            160..196 => self.verdict(),
            196..200 => self.some_are_gone(),
            200..203 => self.reload(),
            203..206 => self.register(),
            210..220 => self.speak_for_the_gone(),
            280..320 => self.order(),
            320..330 => self.ask(),
            330..336 => self.let_many_try_one_nick(),
            220..260 => self.let_time_pass(),
            260..268 => self.offer_early(),
            268..272 => self.readers_change(),
            272..280 => self.tick(),
            _ if self.random.chance(1, self.shape.turn + 1) => self.turn_end(),
            _ => self.frame(),
        }
    }

    /// The turn ends, everybody is told that the server stops, and nobody is left.
    fn finish(&mut self) {
        self.turn_end();
        self.ended = true;
        self.note(|| "Shutdown".to_owned());
        self.hub.handle(Input::Shutdown, self.now, &mut self.recorder);
        self.model.shutdown();
        self.compare();
        assert_eq!(self.recorder.open.len(), 0, "seed {}: nobody is left", self.seed);
        self.speak_for_the_gone();
    }

    // The inputs.

    fn open(&mut self) {
        let slot = self.random.below(self.shape.clients);
        let name = u32::try_from(slot).expect("few slots");
        let conn = ConnId { slot: name, generation: self.generations[slot] };
        if self.recorder.open.contains(&conn) {
            return;
        }
        // A slot is given out again when its connection is closed.
        self.is_closed(conn);
        let conn = ConnId { generation: conn.generation + 1, ..conn };
        self.generations[slot] = conn.generation;
        let address = generator::address(&mut self.random);
        let listener =
            if self.random.chance(1, 24) { ListenerKind::Policy } else { ListenerKind::Main };
        self.note(|| format!("Opened {conn} from {address} by {listener:?}"));
        self.recorder.open.insert(conn);
        // So many stanzas a second as the usual limit allows are too many for a test.
        let limited = (1..100).contains(&self.model.settings.limits.stanza_rate_per_s);
        if limited && self.random.chance(1, 12) {
            self.hasty.insert(conn);
        }
        let input = Input::Opened { conn, address, listener };
        self.hub.handle(input, self.now, &mut self.recorder);
        self.model.opened(conn, address, listener);
        self.compare();
    }

    /// Connections whose sessions are over are closed, sooner or later.
    fn some_are_gone(&mut self) {
        for conn in self.model.closing() {
            if self.random.chance(1, 2) {
                self.is_closed(conn);
            }
        }
    }

    fn is_closed(&mut self, conn: ConnId) {
        self.note(|| format!("Gone {conn}"));
        self.hub.handle(Input::Gone { conn }, self.now, &mut self.recorder);
        self.model.gone(conn);
        self.compare();
    }

    /// A proxy tells whose connection it is: at once, as a rule, but the hub does not mind.
    fn client_address(&mut self) {
        let new = |conn: &ConnId| self.model.sessions[conn].login == Login::New;
        let before_login: Vec<ConnId> = self.model.sessions.keys().copied().filter(new).collect();
        let conn = if before_login.is_empty() || self.random.chance(1, 4) {
            self.anybody()
        } else {
            Some(self.random.one_of(&before_login))
        };
        let Some(conn) = conn else { return };
        let address = generator::address(&mut self.random);
        self.note(|| format!("ClientAddress {conn} {address}"));
        self.hub.handle(Input::ClientAddress { conn, address }, self.now, &mut self.recorder);
        self.model.client_address(conn, address);
        self.compare();
    }

    fn anybody(&mut self) -> Option<ConnId> {
        let open = self.model.sessions.len();
        let nth = (open > 0).then(|| self.random.below(open))?;
        self.model.sessions.keys().nth(nth).copied()
    }

    fn frame(&mut self) {
        if let Some(conn) = self.anybody() {
            self.frame_of(conn);
        }
    }

    /// Some that have not logged in ask for one nick.
    fn let_many_try_one_nick(&mut self) {
        let new = |conn: &ConnId| self.model.sessions[conn].login == Login::New;
        let new: Vec<ConnId> = self.model.sessions.keys().copied().filter(new).collect();
        if new.is_empty() {
            return;
        }
        let nick = self.random.pick(&["Anna", "bob", "ANNA"]);
        for _ in 0..6 {
            let conn = self.random.one_of(&new);
            let there = self.model.sessions.contains_key(&conn);
            if there && !self.held.contains_key(&conn) {
                let random = &mut self.random;
                let mut generator =
                    Generator { shape: self.shape, model: &self.model, conn, random };
                let (frame, written) = generator.login_as(nick);
                self.offer(conn, frame, written);
            }
        }
    }

    fn frame_of(&mut self, conn: ConnId) {
        if self.held.contains_key(&conn) {
            return;
        }
        let random = &mut self.random;
        let mut generator = Generator { shape: self.shape, model: &self.model, conn, random };
        let (frame, written) = generator.frame();
        // The end of everything waits until something has happened.
        let early = self.step * 4 < self.shape.steps * 3;
        let ends = matches!(&frame, Frame::Stanza(stanza) if stanza.name == "shutdown");
        if !(early && ends && self.model.sessions[&conn].root) {
            self.offer(conn, frame, written);
        }
    }

    fn offer(&mut self, conn: ConnId, frame: Frame, written: Vec<u8>) {
        self.note(|| format!("Frame {conn} {:?}", String::from_utf8_lossy(&written)));
        let offered = |hub: &mut Hub, now, recorder: &mut Recorder| {
            hub.handle(Input::Frame { conn, frame: &written }, now, recorder)
        };
        let mut got = offered(&mut self.hub, self.now, &mut self.recorder);
        // What is permitted at once is as if nobody had been asked.
        if let Some((_, question)) = self.recorder.wanted.take() {
            assert_eq!(got, Progress::Wait, "seed {}: it needs a permission", self.seed);
            *self.record.met.entry("waits for a permission".to_owned()).or_default() += 1;
            let permission = Permission::Granted;
            let input = Input::Permission { conn, question, permission };
            self.hub.handle(input, self.now, &mut self.recorder);
            got = offered(&mut self.hub, self.now, &mut self.recorder);
        }
        let expected = self.model.frame(conn, &frame, written.len());
        if got != expected {
            self.fail(conn, &format!("{expected:?}"), &format!("{got:?}"));
        }
        match got {
            Progress::Done => {}
            Progress::Later(at) => {
                self.held.insert(conn, Held { frame, written, at: Some(at) });
            }
            Progress::Asked => {
                *self.record.met.entry("waits for a verdict".to_owned()).or_default() += 1
            }
            Progress::Wait | Progress::CrowdWaits => {
                self.held.insert(conn, Held { frame, written, at: None });
            }
        }
        self.compare();
    }

    fn end(&mut self) {
        let Some(conn) = self.anybody() else { return };
        let reason = self.random.one_of(&[
            CloseReason::PeerClosed,
            CloseReason::PeerClosed,
            CloseReason::Broken,
            CloseReason::Idle,
            CloseReason::SlowReader,
            CloseReason::BacklogTotal,
        ]);
        self.note(|| format!("Ended {conn} {reason:?}"));
        self.hub.handle(Input::Ended { conn, reason }, self.now, &mut self.recorder);
        self.recorder.open.remove(&conn);
        self.model.ended(conn);
        self.is_gone(conn);
        self.compare();
    }

    fn too_large(&mut self) {
        let Some(conn) = self.anybody() else { return };
        let usual = self.model.settings.limits.stanza_bytes_max;
        let max = self.random.one_of(&[usual, 32_768]);
        self.note(|| format!("FrameTooLarge {conn} {max}"));
        self.hub.handle(Input::FrameTooLarge { conn, max }, self.now, &mut self.recorder);
        self.model.frame_too_large(conn, max);
        self.compare();
    }

    /// Frames of a WebSocket that are no stanzas; nothing is read of those who have to wait.
    fn frames_in_vain(&mut self) {
        let Some(conn) = self.anybody() else { return };
        if self.held.contains_key(&conn) || self.vain_until.get(&conn) > Some(&self.now) {
            return;
        }
        let count = self.random.one_of(&[1, 1, 3, 20, 2_700]);
        self.note(|| format!("FramesInVain {conn} {count}"));
        let input = Input::FramesInVain { conn, count };
        let got = self.hub.handle(input, self.now, &mut self.recorder);
        let expected = self.model.frames_in_vain(conn, count);
        if got != expected {
            self.fail(conn, &format!("{expected:?}"), &format!("{got:?}"));
        }
        if let Progress::Later(until) = got {
            self.vain_until.insert(conn, until);
        }
        self.compare();
    }

    /// A verdict: for one who waits for it, or for anybody; sometimes for many, one after another.
    fn verdict(&mut self) {
        for _ in 0..self.random.one_of(&[1, 1, 1, 4]) {
            let waits = |conn: &ConnId| matches!(self.model.sessions[conn].login, Login::Asked(_));
            let asked: Vec<ConnId> = self.model.sessions.keys().copied().filter(waits).collect();
            let conn = if asked.is_empty() || self.random.chance(1, 8) {
                self.anybody()
            } else {
                Some(self.random.one_of(&asked))
            };
            let Some(conn) = conn else { return };
            self.give_verdict(conn);
            self.offer_after_the_verdict(conn);
        }
        self.verdict_for_the_gone();
    }

    /// What stood behind a login goes on when it is decided.
    fn offer_after_the_verdict(&mut self, conn: ConnId) {
        let waits = self.model.sessions.get(&conn).is_some_and(|session| {
            matches!(session.login, Login::Asked(_) | Login::InLine | Login::Called)
        });
        if waits {
            return;
        }
        if let Some(held) = self.held.remove(&conn) {
            match held.at {
                Some(_) => {
                    self.held.insert(conn, held);
                }
                None => self.offer(conn, held.frame, held.written),
            }
        }
    }

    /// An answer to what the session was asked, or to another question.
    fn give_verdict(&mut self, conn: ConnId) {
        let verdict = self.random_verdict();
        let own = match &self.model.sessions[&conn].login {
            Login::Asked(asked) if !self.random.chance(1, 8) => Some(asked.ask),
            Login::Asked(_) | Login::InLine | Login::Called | Login::New | Login::Done => None,
        };
        let ask = own.unwrap_or_else(|| QuestionId(self.random.next() % 8));
        // Whoever answers may do so twice.
        for _ in 0..=self.random.below(2) {
            self.tell_verdict(conn, ask, verdict);
        }
    }

    fn random_verdict(&mut self) -> Verdict {
        self.random.one_of(&[
            Verdict::Allowed { account: false },
            Verdict::Allowed { account: false },
            Verdict::Allowed { account: false },
            Verdict::Refused,
            Verdict::Root { account: false },
            Verdict::Undecided { root_refused: false, login_refused: false },
            Verdict::Undecided { root_refused: true, login_refused: false },
            Verdict::Undecided { root_refused: false, login_refused: true },
        ])
    }

    fn tell_verdict(&mut self, conn: ConnId, ask: QuestionId, verdict: Verdict) {
        self.note(|| format!("Verdict {conn} {ask} {verdict:?}"));
        let input = Input::Verdict { conn, question: ask, verdict };
        self.hub.handle(input, self.now, &mut self.recorder);
        self.model.verdict(conn, ask, verdict);
        self.compare();
    }

    /// Whoever was asked about a session that is over answers by and by.
    fn verdict_for_the_gone(&mut self) {
        let gone = self.model.asked_and_gone();
        if !gone.is_empty() && self.random.chance(1, 2) {
            let (ask, conn) = self.random.one_of(&gone);
            let verdict = self.random_verdict();
            self.tell_verdict(conn, ask, verdict);
        }
    }

    /// Those whose turn has come offer their frames again.
    fn offer_the_called(&mut self) {
        while let Some(conn) = self.called.pop_front() {
            let called = |login: &Login| *login == Login::Called;
            if self.model.sessions.get(&conn).is_some_and(|session| called(&session.login)) {
                let held = self.held.remove(&conn).expect("whoever is called waits");
                self.offer(conn, held.frame, held.written);
            }
        }
    }

    /// A plugin wants something done.
    fn order(&mut self) {
        let wish = self.wish();
        let order = wish.order();
        self.note(|| format!("{order:?}"));
        let got = self.hub.order(order, self.now, &mut self.recorder);
        let expected = self.model.order(&order);
        self.compare_results(orders::kind(&order), &expected, &got.map_err(|e| e.to_string()));
        self.compare();
    }

    /// A plugin wants to know something.
    fn ask(&mut self) {
        let wish = self.wish();
        let (query, bytes_max) = (wish.query(), wish.bytes_max);
        self.note(|| format!("{query:?} in {bytes_max} bytes"));
        let mut buffer = b"<answer>".to_vec();
        let got = self
            .hub
            .tell(query, bytes_max, &self.recorder, &mut buffer)
            .map_err(|error| error.to_string());
        let text = String::from_utf8(buffer.split_off(8)).expect("an answer is UTF-8");
        assert_eq!(buffer, b"<answer>", "what stood there stays");
        assert!(got.is_ok() || text.is_empty(), "an error and {text}");
        let expected = self.model.query(&query, bytes_max);
        self.compare_results("query", &expected, &got.map(|()| text));
        self.compare();
    }

    fn wish(&mut self) -> Wish {
        let gone = self.gone.back().copied();
        Wish::random(self.shape, &self.model, gone, &mut self.random)
    }

    /// What a plugin is told of what it wanted.
    fn compare_results<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        expected: &Result<T, String>,
        got: &Result<T, String>,
    ) {
        if expected != got {
            let (seed, step) = (self.seed, self.step);
            let inputs: Vec<&str> = self.inputs.iter().map(String::as_str).collect();
            panic!(
                "seed {seed}, step {step}: {what}\nexpected {expected:#?}\ngot {got:#?}\n\
                 the last inputs, the failing one last:\n{}",
                inputs.join("\n")
            );
        }
        let met = match got {
            Ok(_) => format!("plugin: {what}"),
            Err(error) => {
                let error = error.replace(|character: char| character.is_ascii_digit(), "");
                let (head, tail) = error.split_once(": ").unwrap_or(("", &error));
                // A nick stands before what its client would be told, and behind some errors.
                let known = head.starts_with("No ").then_some(head);
                format!("plugin's error: {}", known.unwrap_or(tail))
            }
        };
        if self.keep_lines {
            let _ = writeln!(self.record.lines, "  {met}");
        }
        *self.record.met.entry(met).or_default() += 1;
    }

    fn register(&mut self) {
        let mut registered = generator::registered(&mut self.random);
        let rate = self.model.settings.limits.list_rate_per_s;
        if rate != 0 && rate != Limits::default().list_rate_per_s {
            // What is due is sent when a stanza is offered, and lists may be used up before
            // it is offered again.
            registered.joins_asked.clear();
            registered.talk_asked.clear();
        }
        self.note(|| format!("{registered:?}"));
        let input = Input::Registered(Box::new(registered.clone()));
        self.hub.handle(input, self.now, &mut self.recorder);
        self.model.registered = registered;
        self.compare();
    }

    fn reload(&mut self) {
        let mut settings = generator::settings(self.shape, &mut self.random);
        // What half-full buckets hold when a rate changes is nobody's promise.
        let old = &self.model.settings.limits;
        settings.limits.stanza_rate_per_s = old.stanza_rate_per_s;
        settings.limits.stanza_burst = old.stanza_burst;
        settings.limits.failed_logins_per_minute = old.failed_logins_per_minute;
        settings.limits.byte_rate_per_s = old.byte_rate_per_s;
        settings.limits.byte_burst = old.byte_burst;
        settings.limits.list_rate_per_s = old.list_rate_per_s;
        // A room that was told much in this turn under the old limit is not looked at again.
        settings.limits.backlog_soft_bytes_max = old.backlog_soft_bytes_max;
        self.note(|| format!("Reload {settings:?}"));
        let input = Input::Reload(Box::new(settings.clone()));
        self.hub.handle(input, self.now, &mut self.recorder);
        self.model.reload(settings);
        self.compare();
    }

    /// Late inputs for a connection that is over, its slot perhaps in use again: nothing happens.
    fn speak_for_the_gone(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        let conn = self.gone[self.random.below(self.gone.len())];
        let frame: &[u8] = b"<ping/>";
        let reason = CloseReason::Broken;
        let address = generator::address(&mut self.random);
        let input = match self.random.below(8) {
            6 => Input::Behind { conn, behind: true },
            5 => Input::Gone { conn },
            0 => Input::Frame { conn, frame },
            1 => Input::FrameTooLarge { conn, max: 65_536 },
            7 => Input::FramesInVain { conn, count: 2_700 },
            2 => Input::Ended { conn, reason },
            3 => Input::ClientAddress { conn, address },
            _ => Input::Verdict {
                conn,
                question: QuestionId(self.random.next() % 8),
                verdict: Verdict::Allowed { account: false },
            },
        };
        self.note(|| format!("late {input:?}"));
        if matches!(input, Input::Gone { .. }) {
            self.model.gone(conn);
        }
        let progress = self.hub.handle(input, self.now, &mut self.recorder);
        assert_eq!(progress, Progress::Done, "seed {}: of a connection that is gone", self.seed);
        self.compare();
    }

    fn turn_end(&mut self) {
        self.note(|| "TurnEnd".to_owned());
        self.hub.handle(Input::TurnEnd, self.now, &mut self.recorder);
        self.recorder.flush();
        self.model.send_pending();
        self.model.next_turn();
        self.compare();
    }

    fn tick(&mut self) {
        self.note(|| "Tick".to_owned());
        self.hub.handle(Input::Tick, self.now, &mut self.recorder);
        self.model.tick();
        self.compare();
        let next = self.hub.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "the hub's timer spins: {next:?}");
    }

    /// A frame that was held back, a moment too early: as a rule it still has to wait.
    fn offer_early(&mut self) {
        let early = |(_, held): &(&ConnId, &Held)| held.at.is_some_and(|at| at > self.now);
        let Some((conn, held)) = self.held.iter().find(early) else {
            return;
        };
        let (conn, held) = (*conn, held.clone());
        self.held.remove(&conn);
        self.offer(conn, held.frame, held.written);
    }

    /// Most of a room's members don't keep up with reading, or all do again.
    fn readers_change(&mut self) {
        let behind: Vec<ConnId> =
            self.model.sessions.keys().copied().filter(|conn| self.is_behind(*conn)).collect();
        let nth = self.random.below(self.model.rooms.len().max(1));
        let (conns, change) = match self.model.rooms.values().nth(nth) {
            Some(room) if behind.is_empty() || self.random.chance(1, 3) => {
                (room.members.clone(), true)
            }
            _ => (behind, false),
        };
        for conn in conns {
            if self.random.chance(4, 5) {
                self.note(|| format!("Behind {conn} {change}"));
                let input = Input::Behind { conn, behind: change };
                self.hub.handle(input, self.now, &mut self.recorder);
                self.model.behind(conn, change);
                self.compare();
            }
        }
    }

    fn is_behind(&self, conn: ConnId) -> bool {
        self.model.sessions[&conn].behind
    }

    // Time.

    /// Time goes on to what comes next, or by a little, or by much; what falls due on the way
    /// happens at its time.
    fn let_time_pass(&mut self) {
        let by_ms = match self.random.below(16) {
            0 => 10_000,
            1 => 60_000,
            2 => 1_000,
            3 => 5_000,
            _ => self.random.next() % 500,
        };
        for conn in self.hasty.clone() {
            self.go_on_without_pause(conn);
        }
        let until = Time(self.now.0 + by_ms * 1_000_000 + self.random.next() % 3);
        while let Some((at, whose)) = self.next_due().filter(|(at, _)| *at <= until) {
            // What waits for the next turn is there in no time.
            if at <= self.now || self.random.chance(1, 4) {
                self.turn_end();
            }
            self.set_time(at.max(self.now));
            match whose.and_then(|conn| Some((conn, self.held.remove(&conn)?))) {
                Some((conn, held)) => {
                    self.offer(conn, held.frame, held.written);
                    self.go_on_without_pause(conn);
                }
                None => self.tick(),
            }
        }
        self.set_time(until);
    }

    /// A hasty client sends until it is held back.
    fn go_on_without_pause(&mut self, conn: ConnId) {
        // A frame may come to nothing, so the number of attempts is bounded.
        for _ in 0..100 {
            let there = self.model.sessions.contains_key(&conn);
            if !there || !self.hasty.contains(&conn) || self.held.contains_key(&conn) {
                return;
            }
            self.frame_of(conn);
        }
    }

    /// What falls due next: a frame that was held back, or the hub's timer.
    fn next_due(&self) -> Option<(Time, Option<ConnId>)> {
        let timer = self.hub.poll_timeout();
        let (login, late) = (self.model.login_deadline(), self.model.next_late());
        let due = [login, late].into_iter().flatten().min();
        assert!(
            due.is_none_or(|due| timer.is_some_and(|timer| timer <= due)),
            "seed {} step {}: the hub sleeps until {timer:?}, but a login times out at {login:?} \
             and something is to be told at {late:?}",
            self.seed,
            self.step
        );
        let frames = self.held.iter().filter_map(|(conn, held)| Some((held.at?, Some(*conn))));
        frames.chain(timer.map(|timer| (timer, None))).min_by_key(|(at, _)| *at)
    }

    fn set_time(&mut self, now: Time) {
        self.now = now;
        self.model.now = now;
    }

    // The comparison.

    fn compare(&mut self) {
        let got = by_connection(self.recorder.take());
        let expected = by_connection(self.model.take());
        self.log_names_who_met_a_limit(&got);
        for (conn, done) in &got {
            for done in done {
                self.record.add(done);
                if *done == Done::Called {
                    self.called.push_back(*conn);
                }
                if self.keep_lines {
                    let _ = writeln!(self.record.lines, "  {conn} {done:?}");
                }
            }
        }
        for conn in got.keys().chain(expected.keys()) {
            let none = Vec::new();
            let (expected, got) =
                (expected.get(conn).unwrap_or(&none), got.get(conn).unwrap_or(&none));
            if !self.agrees(*conn, expected, got) {
                self.fail(*conn, &format!("{expected:#?}"), &format!("{got:#?}"));
            }
        }
        for (conn, done) in &got {
            if let Some(Done::Closed(reason)) = done.last() {
                self.ended |= *reason == CloseReason::Shutdown;
                self.is_gone(*conn);
            }
        }
        // Whole tables take long to look through, and what breaks in them stays broken.
        if self.check_always || self.step.is_multiple_of(1 + self.shape.clients / 8) || self.ended {
            self.hub.check_invariants();
            self.compare_tables();
            let members = self.model.rooms.values().map(|room| room.members.len());
            let record = &mut self.record;
            record.members_max = members.max().unwrap_or(0).max(record.members_max);
            record.sessions_max = record.sessions_max.max(self.model.sessions.len());
        }
    }

    /// Whoever is refused for a limit is in the log: by a note, or by the reason of the close.
    fn log_names_who_met_a_limit(&mut self, got: &BTreeMap<ConnId, Vec<Done>>) {
        let named = std::mem::take(&mut self.recorder.limits_named);
        for (conn, done) in got {
            let closed = matches!(done.last(), Some(Done::Closed(_)));
            for done in done {
                let Done::Text(text) = done else { continue };
                let limit = text.starts_with("<error>") && text.contains("(limit ");
                // A login's refusal has a note of its own.
                let login = text.starts_with("<error>Nickname ");
                let list = text.starts_with("<error>Answer ");
                let known = |(who, error): &(ConnId, String)| who == conn && text.contains(error);
                if limit && !closed && !login && !list && !named.iter().any(known) {
                    self.fail(*conn, "a note about the limit", text);
                }
            }
        }
    }

    /// The hub's notes tell the same sessions and rooms as the model has.
    fn compare_tables(&self) {
        if self.ended {
            return;
        }
        let rooms = self.model.rooms.values().map(|room| &room.name);
        let (seed, step) = (self.seed, self.step);
        assert_eq!(self.recorder.logged_in, self.model.logged_in(), "seed {seed} step {step}");
        assert_eq!(self.recorder.rooms.len(), self.model.rooms.len(), "seed {seed} step {step}");
        for room in rooms {
            assert!(self.recorder.rooms.contains(room), "seed {seed} step {step}: room {room:?}");
        }
        let open = self.model.sessions.keys();
        assert!(open.eq(self.recorder.open.iter()), "seed {seed} step {step}: who is open");
    }

    fn agrees(&self, conn: ConnId, expected: &[Done], got: &[Done]) -> bool {
        let help = Done::Text(HELP.to_owned());
        let same = |(expected, got): (&Done, &Done)| {
            expected == got || *expected == help && self.is_help(conn, got)
        };
        expected.len() == got.len() && expected.iter().zip(got).all(same)
    }

    /// The words of a `help` are the server's; it names what the session may send.
    fn is_help(&self, conn: ConnId, got: &Done) -> bool {
        let Done::Text(help) = got else { return false };
        let session = &self.model.sessions[&conn];
        let inside = session.login == Login::Done;
        help.starts_with("<help>")
            && help.ends_with("</help>")
            && help.contains("quit")
            && help.contains("getrooms") == inside
            && help.contains("setparam") == inside
            && help.contains("rmuser") == session.root
            && help.contains("shutdown") == session.root
    }

    fn is_gone(&mut self, conn: ConnId) {
        self.held.remove(&conn);
        self.hasty.remove(&conn);
        self.vain_until.remove(&conn);
        self.gone.push_back(conn);
        if self.gone.len() > 8 {
            self.gone.pop_front();
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{:>5} {:>12} {}", self.step, self.now.0 / 1_000, what());
        if self.keep_lines {
            self.record.lines.push_str(&line);
            self.record.lines.push('\n');
        }
        self.inputs.push_back(line);
        if self.inputs.len() > INPUTS_SHOWN {
            self.inputs.pop_front();
        }
    }

    fn fail(&self, conn: ConnId, expected: &str, got: &str) -> ! {
        let (seed, step) = (self.seed, self.step);
        let inputs: Vec<&str> = self.inputs.iter().map(String::as_str).collect();
        panic!(
            "seed {seed}, step {step}: {conn} ({:?})\nexpected {expected}\ngot {got}\n\
             the last inputs (step, time in us, input), the failing one last:\n{}\n\
             replay with PALABRE_SEED={seed} cargo test --test simulation",
            self.model.sessions.get(&conn).map(|session| &session.nick),
            inputs.join("\n")
        );
    }
}

fn by_connection(done: Vec<(ConnId, Done)>) -> BTreeMap<ConnId, Vec<Done>> {
    let mut out: BTreeMap<ConnId, Vec<Done>> = BTreeMap::new();
    for (conn, done) in done {
        out.entry(conn).or_default().push(done);
    }
    out
}
