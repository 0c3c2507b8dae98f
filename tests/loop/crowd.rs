//! Clients of every kind at once, by seed, in a world where everything goes wrong that can; and
//! what must have held when they are done.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use palabre::hub::{Settings, Time};
use palabre::limits::{Limits, RECEIVERS_PER_TURN};
use palabre::net::world::Event;

use crate::client::{Client, Ear, Heard, Role};
use crate::company::{Company, TELLER};
use crate::house::House;
use crate::pipe::{Faults, Received, Room};
use crate::rng::Rng;
use crate::secure::{self, Secure};
use crate::speech::Speech;
use crate::world::Network;

/// Seeds that are run when none is asked for; they take some seconds without optimisation. The
/// check of a commit runs more.
const SEEDS: u64 = 8;

/// By then everybody has said what it has to say.
const SAID: Time = Time::from_secs(300);

/// And this long after it, all that was to be closed for its sake is closed.
const QUIET_S: u64 = 16;

const ROOMS: [&str; 2] = ["R0", "R1"];

/// Members of the first room for every eighth seed, beside the rest: more than a turn writes to.
const MANY: usize = 2 * RECEIVERS_PER_TURN + 16;
const STANZA_BYTES_MAX: usize = 4_096;
const GOING_DOWN: &str = "<error>### Server is now going down ... ###</error>";

/// Everybody, and when they do something next: between the server's turns the world lets those act
/// whose time has come.
pub(crate) struct Everybody {
    rng: Rng,
    clients: Vec<Client>,
    next: Vec<Time>,
    /// From when to when there is no descriptor.
    starved: (Time, Time),
    /// How fast the world is: the room of the connections.
    rooms: Vec<Room>,
}

/// Whether a seed's crowd has these as well.
const fn is_large(seed: u64) -> bool {
    seed % 8 == 1
}

impl Everybody {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xc0_ffee);
        let mut this = Self {
            starved: (Time::from_millis(rng.between(1_000, 6_000) as u64), Time::default()),
            rng,
            clients: Vec::new(),
            next: Vec::new(),
            rooms: Vec::new(),
        };
        let starved_for = Duration::from_millis(this.rng.below(4_000) as u64);
        this.starved.1 = this.starved.0 + starved_for;
        for room in ROOMS {
            this.add(Role::Anchor, room, Time::default());
        }
        let kinds = [
            (Role::Talker, 6, 12),
            (Role::Quitter, 2, 5),
            (Role::HalfCloser, 2, 5),
            (Role::Flooder, 0, 2),
            (Role::Vanisher, 1, 4),
            (Role::Resetter, 1, 4),
            (Role::Deaf, 1, 3),
            (Role::Endless, 0, 2),
            (Role::Idler, 0, 4),
            (Role::Garbler, 1, 2),
            (Role::PolicyAsker, 1, 3),
            (Role::PolicyLost, 0, 2),
        ];
        for (role, least, most) in kinds {
            for _ in 0..this.rng.between(least, most) {
                let room = this.rng.pick(&ROOMS);
                let start = Time::from_millis(this.rng.below(8_000) as u64);
                this.add(role, room, start);
            }
        }
        // To write to so many takes several turns.
        if is_large(seed) {
            for _ in 0..MANY {
                let start = Time::from_millis(this.rng.below(8_000) as u64);
                this.add(Role::Talker, ROOMS[0], start);
                let to_say = this.rng.between(1, 2);
                if let Some(added) = this.clients.last_mut() {
                    (added.chunk, added.pause_ms) = (usize::MAX, 300);
                    added.to_say = u32::try_from(to_say).expect("it is small");
                }
            }
        }
        // A burst of connections that are gone as soon as they are there.
        let burst = Time::from_millis(this.rng.below(8_000) as u64);
        for _ in 0..this.rng.below(30) {
            this.add(Role::Vanisher, ROOMS[0], burst);
        }
        this
    }

    fn add(&mut self, role: Role, room: &str, start: Time) {
        let secure_percent = if self.clients.len() < MANY { 40 } else { 5 };
        let rng = &mut self.rng;
        let count = self.clients.len();
        let nick = match role {
            Role::Anchor => format!("Anchor{room}"),
            _ => format!("{role:?}{count}"),
        };
        let to_say = match role {
            Role::Talker | Role::Garbler => rng.between(5, 60),
            Role::Quitter | Role::HalfCloser => rng.between(1, 100),
            Role::Flooder => rng.between(600, 1_000),
            Role::Vanisher | Role::Resetter => rng.below(20),
            Role::Deaf => rng.below(5),
            _ => 0,
        };
        let speech = match role {
            Role::Endless | Role::Idler | Role::PolicyAsker | Role::PolicyLost => Speech::Stanzas,
            _ => rng.pick(&[Speech::Stanzas, Speech::Binary, Speech::Text]),
        };
        // Who does not read could not be greeted.
        let secure = match role {
            Role::Deaf | Role::Endless | Role::Idler | Role::PolicyAsker | Role::PolicyLost => None,
            _ if rng.chance(secure_percent) => Secure::new(rng.chance(50)),
            _ => None,
        };
        let narrow = rng.chance(30);
        let chunk = if role == Role::Flooder || role == Role::Endless {
            usize::MAX
        } else {
            rng.pick(&[1, 2, 7, 64, 500, usize::MAX])
        };
        // Who sends byte by byte has less to say, to be done in time.
        let to_say = if chunk < 7 { to_say.min(15) } else { to_say };
        self.rooms.push(Room {
            up: if narrow { rng.between(100, 1_000) } else { 100_000 },
            down: match role {
                Role::Deaf => rng.between(500, 4_000),
                _ if narrow => rng.between(4_000, 8_000),
                _ => 100_000,
            },
        });
        self.clients.push(Client {
            nick,
            role,
            speech,
            secure,
            room: room.to_owned(),
            pipe: None,
            ear: Ear::default(),
            outgoing: Vec::new(),
            chunk,
            gulp: if rng.chance(30) { 2_000 } else { 100_000 },
            said: 0,
            to_say: u32::try_from(to_say).expect("it is small"),
            pause_ms: if chunk < 64 { 4 } else { rng.pick(&[1, 20, 300]) },
            nonsense: 0,
            silent: false,
            whole: false,
            end: None,
            restarts: 0,
        });
        self.next.push(start);
    }

    /// Whether the anchors are there.
    fn is_open(&self) -> bool {
        self.clients[..ROOMS.len()].iter().all(|client| client.ear.welcomed)
    }

    /// How many take part: at first the anchors only.
    fn active(&self) -> usize {
        if self.is_open() { self.clients.len() } else { ROOMS.len() }
    }

    fn has_said_all(&self) -> bool {
        let over =
            |client: &Client| client.end.is_some() || (client.silent && client.outgoing.is_empty());
        self.clients.iter().all(over)
    }

    fn has_heard_all(&self) -> bool {
        let readable = |client: &Client| {
            let pipe = client.pipe.as_ref().filter(|_| client.end.is_none());
            client.role != Role::Deaf && pipe.is_some_and(|pipe| pipe.borrow().is_readable())
        };
        !self.clients.iter().any(readable) && self.has_said_all()
    }

    fn connect(&mut self, index: usize, network: &mut Network) {
        let client = &mut self.clients[index];
        let number = 0x0a00_0000 + u32::try_from(index).expect("they are few");
        let address = IpAddr::V4(Ipv4Addr::from(number));
        let pipe = network.connect(client.role.listener(), address, self.rooms[index]);
        pipe.borrow_mut().is_secret = client.secure.is_some();
        client.pipe = Some(pipe);
        let hello = match client.role {
            Role::Idler => String::new(),
            Role::PolicyAsker => "<policy-file-request/>\0".to_owned(),
            Role::PolicyLost => "<connect nickname='Lost'/>\0".to_owned(),
            Role::Endless => format!("<connect nickname='{}'/>\0<m r='", client.nick),
            _ => format!(
                "<connect nickname='{}'/>\0\r\n<join room='{}'/>\0",
                client.nick, client.room
            ),
        };
        client.outgoing.clear();
        client.send_later(&client.speech.hello());
        client.say(hello.as_bytes(), &mut self.rng);
    }

    /// A connection that was never taken in is tried again.
    fn restart(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.pipe = None;
        client.ear = Ear::default();
        client.secure = client.secure.take().and_then(|_| Secure::new(self.rng.chance(50)));
        client.outgoing.clear();
        client.said = 0;
        client.nonsense = 0;
        client.silent = false;
        client.whole = false;
        client.end = None;
        client.restarts += 1;
    }

    /// When somebody wants to act next.
    pub(crate) fn next_act(&self) -> Option<Time> {
        let next = self.next[..self.active()].iter().copied().min();
        next.filter(|time| time.0 < u64::MAX)
    }

    /// Lets those act whose time has come, or who have something to read.
    pub(crate) fn act(&mut self, network: &mut Network) {
        let now = network.now();
        let (from, to) = self.starved;
        network.descriptors_max = if from <= now && now < to { 0 } else { usize::MAX };
        for index in 0..self.active() {
            self.act_one(index, now, network);
        }
    }

    fn act_one(&mut self, index: usize, now: Time, network: &mut Network) {
        let soon = Duration::from_millis(1);
        let client = &mut self.clients[index];
        if client.read(&mut self.rng) {
            self.next[index] = self.next[index].min(now + soon);
        }
        let rejected = client.end.as_ref().is_some_and(|end| *end != Received::Nothing)
            && client.pipe.as_ref().is_some_and(|pipe| pipe.borrow().slot.is_none());
        if rejected {
            self.restart(index);
            self.next[index] = now + soon;
            return;
        }
        if self.next[index] > now {
            return;
        }
        if client.pipe.is_none() {
            self.connect(index, network);
        }
        let client = &mut self.clients[index];
        let pause = self.rng.between(1, client.pause_ms * 1_000) as u64;
        self.next[index] = now + Duration::from_micros(pause);
        if client.end.is_some() || (client.silent && client.outgoing.is_empty()) {
            self.next[index] = Time(u64::MAX);
        } else if client.outgoing.is_empty() && client.is_greeting() {
            // What it hears goes on with it.
        } else if client.outgoing.is_empty() {
            client.think(&mut self.rng);
        } else {
            client.send(&mut self.rng);
        }
    }
}

/// A run of one seed.
struct Run {
    seed: u64,
    house: House,
    company: Company,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults {
            torn: rng.pick(&[0, 20, 70]),
            short_write: rng.pick(&[0, 20, 60]),
            interrupted: rng.pick(&[0, 5, 20]),
            disordered: rng.pick(&[0, 50, 100]),
            spurious: rng.pick(&[0, 5]),
            overslept: rng.pick(&[0, 0, 1]),
            accept_aborted: rng.pick(&[0, 5]),
            unwatchable: rng.pick(&[0, 3]),
            turn_ns: rng.pick(&[0, 200_000]),
        };
        let limits = Limits {
            stanza_bytes_max: STANZA_BYTES_MAX,
            login_time_s: 8,
            stanza_rate_per_s: 400,
            stanza_burst: 600,
            backlog_bytes_max: 200_000,
            backlog_soft_bytes_max: 10_000,
            // What one says that floods waits for so many.
            backlog_total_bytes_max: match is_large(seed) {
                true => 40_000_000,
                false => rng.pick(&[600_000, 4_000_000]),
            },
            ..Limits::default()
        };
        let settings = Settings {
            limits,
            full_roster_members: rng.pick(&[0, 5, 200]),
            domains: vec!["*".to_owned()],
            ..Settings::default()
        };
        let mut house = House::new(settings, faults, seed);
        house.checked_every = 31;
        house.server.set_front(secure::front());
        house.world().crowd = Some(Everybody::new(seed));
        let company = Company::new(seed, ROOMS[0]);
        house.server.set_plugins(company.modules());
        Self { seed, house, company }
    }

    fn everybody(&mut self) -> &mut Everybody {
        self.house.world().crowd.as_mut().expect("it is there from the start on")
    }

    /// Turns until this time, or until the server has stopped.
    fn run_until(&mut self, time: Time) {
        while !self.house.stopped && self.house.now() < time {
            self.house.world().alarm = Some(time.min(self.company.next()));
            let reloads = self.house.reloads;
            self.house.turn();
            if self.house.reloads > reloads {
                self.house.server.reload(self.house.settings.clone());
            }
            self.check_the_closing();
            let there = self.everybody().is_open();
            self.company.act(self.house.world(), there);
        }
    }

    /// Turns until everybody has said what it has to say, and what follows has happened.
    fn run_until_all_is_said(&mut self) {
        while !self.everybody().has_said_all() || !self.company.has_told_all() {
            let later = self.house.now().plus_secs(1);
            assert!(later < SAID, "somebody waits for ever");
            self.run_until(later);
        }
        let quiet = self.house.now().plus_secs(QUIET_S);
        self.run_until(quiet);
        while !self.everybody().has_heard_all() {
            let later = self.house.now() + Duration::from_millis(10);
            self.run_until(later);
        }
    }

    /// Nobody is kept for more than the time it has to read its farewell.
    fn check_the_closing(&mut self) {
        let network = &self.house.world().network;
        let drained = Duration::from_secs(5);
        for pipe in &network.connections {
            let pipe = pipe.borrow();
            let Some(shut_at) = pipe.shut_at else {
                continue;
            };
            let due = pipe.dropped_at.is_none() && shut_at + drained <= network.now();
            assert!(!due, "connection {} is kept for too long", pipe.id);
        }
    }

    /// What everybody heard is what was said.
    fn check_what_was_heard(&mut self) {
        let stopped = self.house.stopped;
        let Self { house, company, .. } = self;
        let everybody = house.world().crowd.as_mut().expect("it is there from the start on");
        let (anchors, others) = everybody.clients.split_at(ROOMS.len());
        for client in others.iter().filter(|client| client.role.joins()) {
            let anchor = anchors.iter().find(|anchor| anchor.room == client.room);
            let anchor = anchor.expect("every room has one");
            // Who is gone when it is let in has said nothing.
            let whole = client.whole && !(client.role == Role::Vanisher && company.judges());
            check_numbers(client, anchor, whole);
            check_room(client, anchor);
        }
        let told = numbers_of(TELLER, &anchors[0]);
        assert!(told.iter().copied().eq(1..=told.len() as u32), "what a plugin says: {told:?}");
        if anchors[0].end.is_none() && !stopped {
            assert_eq!(company.refused, [""; 0]);
            assert_eq!(told.len(), company.told as usize, "all that a plugin says is heard");
        }
        for client in everybody.clients.iter().filter(|client| client.role.stays()) {
            if !stopped {
                assert_eq!(client.end, None, "{} notices nothing", client.nick);
                let errors = &client.ear.errors;
                if client.role == Role::Flooder {
                    // It is told so once for each time in which it is too fast. Where it is asked
                    // about or held back for those who don't keep up, it is calm in between.
                    let too_fast = |error: &String| error.starts_with("Too many ");
                    assert!(errors.iter().all(too_fast), "{}: {errors:?}", client.nick);
                } else {
                    assert_eq!(
                        errors.len(),
                        client.errors_expected(),
                        "{}: {errors:?}",
                        client.nick
                    );
                }
            }
        }
        for client in others {
            client.check_its_end(stopped);
        }
    }

    /// Who is in the rooms in the end.
    fn check_who_is_there(&mut self) {
        let everybody = self.everybody();
        for anchor in &everybody.clients[..ROOMS.len()] {
            let Some(members) = &anchor.ear.members else {
                continue;
            };
            for member in members {
                let client = everybody.clients.iter().find(|client| client.nick == *member);
                let role = client.expect("it is one of them").role;
                assert!(role.stays() || role == Role::Deaf, "{member} is gone");
            }
            let staying = |client: &&Client| client.role.stays() && client.room == anchor.room;
            for client in everybody.clients.iter().filter(staying) {
                assert!(members.contains(&client.nick), "{} is there", client.nick);
            }
        }
    }

    /// A digest of everything that happened.
    fn record(&mut self) -> (u64, u64, String) {
        let metrics = format!("{:?}", self.house.server.metrics());
        let shared = &self.house.world().network.shared;
        (shared.record.get(), shared.now.get().0, metrics)
    }
}

impl Client {
    fn errors_expected(&self) -> usize {
        match self.role {
            Role::Garbler => self.nonsense,
            _ => 0,
        }
    }

    /// Whether it has read all that there was before an end that the server brought about.
    fn read_all(&self) -> bool {
        let shut = self.pipe.as_ref().is_some_and(|pipe| pipe.borrow().shut_at.is_some());
        self.end == Some(Received::End) && shut
    }

    fn check_its_end(&self, server_stopped: bool) {
        let stopped = self.ear.last == GOING_DOWN;
        if stopped || !self.read_all() {
            return;
        }
        let farewell = match self.role {
            Role::Endless => Some(format!("Stanza too large (limit {STANZA_BYTES_MAX} bytes)")),
            Role::Idler => Some("Login timed out (limit 8 s)".to_owned()),
            _ => None,
        };
        assert_eq!(self.ear.errors.last(), farewell.as_ref(), "{}", self.nick);
        match self.role {
            // It may have come too late to ask.
            Role::PolicyAsker if server_stopped && self.ear.frames == 0 => {}
            Role::PolicyAsker => assert_eq!((self.ear.policies, self.ear.frames), (1, 1)),
            Role::PolicyLost => assert_eq!(self.ear.frames, 0),
            _ => {}
        }
    }
}

/// The anchor hears each sender's numbers one after the other, and all of them when the sender
/// gave the server the chance to read them.
fn check_numbers(client: &Client, anchor: &Client, whole: bool) {
    let numbers = numbers_of(&client.nick, anchor);
    let count = numbers.len() as u32;
    assert!(
        numbers.iter().copied().eq(1..=count),
        "{} is heard in order, nothing missing or doubled: {numbers:?}",
        client.nick
    );
    assert!(count <= client.said, "{} has not said that", client.nick);
    let taken_in = client.pipe.as_ref().is_some_and(|pipe| pipe.borrow().slot.is_some());
    if whole && taken_in && client.outgoing.is_empty() && anchor.end.is_none() {
        assert_eq!(count, client.said, "all of {} is heard", client.nick);
    }
}

/// The numbers of the messages that an anchor has heard of somebody.
fn numbers_of(wanted: &str, anchor: &Client) -> Vec<u32> {
    let number = |heard: &Heard| match heard {
        Heard::Said { nick, number, .. } if nick == wanted => Some(*number),
        _ => None,
    };
    anchor.ear.log.iter().filter_map(number).collect()
}

/// A member hears what the anchor hears from its joining on, to its leaving.
fn check_room(client: &Client, anchor: &Client) {
    let log = &anchor.ear.log;
    let at = |wanted: &Heard| log.iter().position(|heard| heard == wanted);
    let Some(joined) = at(&Heard::Joined(client.nick.clone())) else {
        assert!(client.ear.log.is_empty() || anchor.end.is_some(), "{}", client.nick);
        return;
    };
    let left = at(&Heard::Left(client.nick.clone())).unwrap_or(log.len());
    let public: Vec<&Heard> = log[joined + 1..left]
        .iter()
        .filter(|heard| !matches!(heard, Heard::Said { private: true, .. }))
        .collect();
    let own: Vec<&Heard> = client.ear.log.iter().collect();
    let shared = own.iter().zip(&public).take_while(|(own, public)| own == public).count();
    let differ = (own.get(shared), public.get(shared));
    let whole = client.role != Role::Deaf && (client.end.is_none() || client.read_all());
    let cut = (!whole && differ.0.is_none()) || (anchor.end.is_some() && differ.1.is_none());
    assert!(
        differ == (None, None) || cut,
        "{} and its room differ in what they hear after {shared} stanzas: {differ:?}",
        client.nick
    );
}

/// Tells which seed failed, and at which step.
struct Told {
    seed: u64,
    turn: Rc<crate::pipe::Shared>,
}

#[expect(clippy::print_stderr, reason = "it stands beside the panic's own message")]
impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, turn) = (self.seed, self.turn.turn.get());
            eprintln!(
                "seed {seed}, turn {turn}; again: PALABRE_SEED={seed} cargo test --test loop"
            );
        }
    }
}

/// The seeds of `PALABRE_SEED`, one (`7`) or many (`0..400`).
fn seeds() -> Range<u64> {
    let Ok(wanted) = std::env::var("PALABRE_SEED") else {
        return 0..SEEDS;
    };
    let number = |text: &str| text.parse().expect("PALABRE_SEED is a number or N..M");
    match wanted.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&wanted)..number(&wanted) + 1,
    }
}

fn start(seed: u64) -> (Run, Told) {
    let mut run = Run::new(seed);
    let turn = Rc::clone(&run.house.world().network.shared);
    (run, Told { seed, turn })
}

/// The run in which everybody does what it is up to and leaves.
fn run_to_the_end(seed: u64) -> (u64, u64, String) {
    let (mut run, _told) = start(seed);
    let reload_at = Time::from_millis(Rng::new(seed ^ 1).below(9_000) as u64);
    run.run_until(reload_at);
    run.house.world().signals.push(Event::Reload);
    run.run_until_all_is_said();
    run.check_what_was_heard();
    run.check_who_is_there();
    let Everybody { rng, clients, .. } = run.everybody();
    for client in clients.iter_mut().filter(|client| client.end.is_none()) {
        if let Some(pipe) = &client.pipe {
            let mut pipe = pipe.borrow_mut();
            if rng.chance(50) { pipe.half_close() } else { pipe.close() }
        }
        client.silent = true;
        client.outgoing.clear();
    }
    let end = run.house.now().plus_secs(10);
    run.run_until(end);
    assert_eq!(run.house.server.connections(), 0, "seed {}", run.seed);
    assert_eq!(run.house.server.backlog_bytes(), 0);
    assert_eq!(run.house.world().network.shared.descriptors.get(), 0);
    run.record()
}

/// The run that is stopped while everybody is at it.
fn run_to_a_stop(seed: u64) {
    let (mut run, _told) = start(seed);
    let stop_at = Time::from_millis(Rng::new(seed ^ 2).between(100, 12_000) as u64);
    run.run_until(stop_at);
    run.house.stop();
    run.house.turn();
    let stopped_at = run.house.now();
    run.run_until(Time(u64::MAX));
    let before = run.house.world().network.shared.turn_before.get();
    // Plugins are told the end behind the last client, and end in the turn after that; the world
    // may have overslept the one before.
    let longest_s = if run.company.judges() { 7 } else { 5 };
    assert!(before < stopped_at.plus_secs(longest_s), "it stops within five seconds");
    assert_eq!(run.house.server.backlog_bytes(), 0);
    assert_eq!(run.house.world().network.shared.descriptors.get(), 0);
    // They read what the system still has for them.
    for _ in 0..1_000 {
        let world = run.house.world();
        let now = world.network.now();
        world.network.shared.now.set(now + Duration::from_millis(1));
        let Everybody { rng, clients, .. } = run.everybody();
        for client in clients {
            client.read(rng);
        }
    }
    for client in &run.everybody().clients {
        if client.ear.welcomed && client.role.stays() && client.read_all() {
            assert_eq!(client.ear.last, GOING_DOWN, "{}", client.nick);
        }
    }
    run.check_what_was_heard();
}

#[test]
fn a_crowd_by_seed_hears_what_was_said_and_leaves_nothing_behind() {
    for seed in seeds() {
        run_to_the_end(seed);
    }
}

#[test]
fn a_crowd_by_seed_is_sent_home_within_five_seconds() {
    for seed in seeds() {
        run_to_a_stop(seed);
    }
}

#[test]
fn a_seed_tells_everything_that_happens() {
    for seed in [3, 4] {
        assert_eq!(run_to_the_end(seed), run_to_the_end(seed), "seed {seed}");
    }
}
