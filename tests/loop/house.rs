//! The server in its simulated world, and what holds after each of its turns.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Once;

use palabre::hub::{HashKey, ListenerKind, Settings, Time};
use palabre::limits::Limits;
use palabre::metrics::{Histogram, Metrics};
use palabre::net::server::{Server, Turn};
use palabre::net::world::Event;
use palabre::wire::stanza::Parser;

use crate::pipe::{Faults, Handle, Received, Room};
use crate::world::Simulated;

/// Turns that may follow one another at once without getting anything done: a listener is
/// looked at, a deadline passes, a connection that is over is cleared away.
const IDLE_TURNS_MAX: u32 = 3;

/// Turns within which anything a test starts has settled.
const TURNS_MAX: u32 = 100_000;

/// Bytes that fit between a client and the server where a test does not care.
pub(crate) const ROOM: Room = Room { up: 1 << 20, down: 1 << 20 };

/// The server and everything around it.
pub(crate) struct House {
    pub(crate) server: Server<Simulated>,
    pub(crate) settings: Settings,
    pub(crate) stopped: bool,
    pub(crate) reloads: u32,
    /// In how many turns the invariants are checked once.
    pub(crate) checked_every: u64,
    idle_turns: u32,
    seen: (Metrics, u64),
    clients: u32,
}

impl House {
    pub(crate) fn new(settings: Settings, faults: Faults, seed: u64) -> Self {
        LOG.with_borrow_mut(Vec::clear);
        listen_to_the_log();
        let listeners = [ListenerKind::Main, ListenerKind::Policy];
        let world = Simulated::new(seed, faults, listeners.len());
        let server = Server::new(world, &listeners, settings.clone(), HashKey(seed, 7), 0);
        let seen = (server.metrics().clone(), 0);
        Self {
            server,
            settings,
            stopped: false,
            reloads: 0,
            checked_every: 1,
            idle_turns: 0,
            seen,
            clients: 0,
        }
    }

    /// A quiet world and these limits.
    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::new(Settings { limits, ..Settings::default() }, Faults::default(), 1)
    }

    pub(crate) fn world(&mut self) -> &mut Simulated {
        self.server.world_mut()
    }

    pub(crate) fn now(&mut self) -> Time {
        self.world().network.now()
    }

    /// One turn, and what must hold after it.
    pub(crate) fn turn(&mut self) {
        assert!(!self.stopped, "a turn after the last one");
        match self.server.turn().expect("this poll does not fail") {
            Turn::Again => {}
            Turn::Reload => self.reloads += 1,
            Turn::Stop => self.stopped = true,
        }
        if self.server.metrics().turns.is_multiple_of(self.checked_every) {
            self.server.check_invariants();
        }
        self.check_that_it_does_not_spin();
        let total = self.settings.limits.backlog_total_bytes_max;
        assert!(self.server.backlog_bytes() <= total, "more waits than limits.backlogtotal");
        let held = self.world().network.shared.descriptors.get();
        assert!(held <= self.server.connections(), "a socket outlives its connection");
    }

    fn check_that_it_does_not_spin(&mut self) {
        let mut metrics = self.server.metrics().clone();
        metrics.turns = 0;
        metrics.turn_time = Histogram::default();
        metrics.accept_errors = 0;
        let world = self.server.world_mut();
        let seen = (metrics, world.network.shared.activity.get());
        let idle = world.hurried && seen == self.seen;
        self.idle_turns = if idle { self.idle_turns + 1 } else { 0 };
        self.seen = seen;
        assert!(self.idle_turns <= IDLE_TURNS_MAX, "the loop spins");
    }

    /// Turns until the loop sleeps, without letting time pass.
    pub(crate) fn settle(&mut self) {
        let now = self.now();
        self.world().alarm = Some(now);
        for _ in 0..TURNS_MAX {
            self.turn();
            if self.stopped || self.world().slept {
                self.world().alarm = None;
                return;
            }
        }
        panic!("the loop does not come to rest");
    }

    /// Lets time pass, to this very moment.
    pub(crate) fn run_until(&mut self, time: Time) {
        self.settle();
        for _ in 0..TURNS_MAX {
            if self.stopped || self.now() >= time {
                break;
            }
            self.world().alarm = Some(time);
            self.turn();
        }
        if !self.stopped {
            self.settle();
        }
    }

    pub(crate) fn connect(&mut self) -> Peer {
        self.connect_with(ROOM)
    }

    pub(crate) fn connect_with(&mut self, room: Room) -> Peer {
        self.clients += 1;
        let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + self.clients));
        self.connect_to(0, address, room)
    }

    pub(crate) fn connect_to(&mut self, listener: usize, address: IpAddr, room: Room) -> Peer {
        let pipe = self.world().network.connect(listener, address, room);
        Peer { pipe, tail: Vec::new() }
    }

    /// Connects, logs in and joins the room `R`; everything said so far is read by it.
    pub(crate) fn member(&mut self, nick: &str, room: Room) -> Peer {
        let mut peer = self.connect_with(room);
        peer.send(&format!("<connect nickname='{nick}'/>"));
        peer.send("<join room='R'/>");
        self.settle();
        let frames = peer.frames();
        assert!(frames.iter().any(|frame| frame == "<joined room='R' />"), "{frames:?}");
        peer
    }

    pub(crate) fn stop(&mut self) {
        self.world().signals.push(Event::Stop);
    }
}

/// A client that does what its test says.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) pipe: Handle,
    tail: Vec<u8>,
}

impl Peer {
    /// Sends a stanza.
    pub(crate) fn send(&self, stanza: &str) {
        self.send_bytes(&[stanza.as_bytes(), b"\0"].concat());
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        assert_eq!(self.pipe.borrow_mut().send(bytes), Some(bytes.len()), "it has room");
    }

    /// Reads everything; the stanzas without their NULs.
    pub(crate) fn frames(&mut self) -> Vec<String> {
        self.frames_of(usize::MAX)
    }

    /// Reads at most so many bytes.
    pub(crate) fn frames_of(&mut self, max: usize) -> Vec<String> {
        if let Received::Bytes(bytes) = self.pipe.borrow_mut().receive(max) {
            self.tail.extend(bytes);
        }
        let end = self.tail.iter().rposition(|&byte| byte == 0).map_or(0, |nul| nul + 1);
        let whole: Vec<u8> = self.tail.drain(..end).collect();
        whole.split(|&byte| byte == 0).filter(|frame| !frame.is_empty()).map(checked).collect()
    }

    /// Reads everything; the stanzas without those that tell who is in the room.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let mut frames = self.frames();
        frames.retain(|frame| !frame.starts_with("<client"));
        frames
    }

    /// What is left to read is nothing, and then it is this.
    #[track_caller]
    pub(crate) fn assert_then(&mut self, end: Received) {
        assert_eq!(self.frames(), Vec::<String>::new());
        assert!(self.tail.is_empty(), "the stream ends within a stanza");
        assert_eq!(self.pipe.borrow_mut().receive(1), end);
    }

    /// Whether the server has closed its socket.
    pub(crate) fn is_dropped(&self) -> bool {
        self.pipe.borrow().dropped_at.is_some()
    }
}

/// A stanza from the server, as a strict parser takes it.
pub(crate) fn checked(frame: &[u8]) -> String {
    if let Err(refusal) = Parser::new().parse(frame, &Limits::default()) {
        panic!("{refusal:?}: {}", String::from_utf8_lossy(frame));
    }
    String::from_utf8(frame.to_vec()).expect("the parser looks at that")
}

/// How a message to the room arrives.
pub(crate) fn heard(nick: &str, body: &str) -> String {
    format!("<m f=\"{nick}\" r=\"R\">{body}</m>")
}

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Ear;

impl log::Log for Ear {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOG.with_borrow_mut(|log| log.push(format!("{} {}", record.level(), record.args())));
    }

    fn flush(&self) {}
}

fn listen_to_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Ear).expect("nobody else does");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// The lines of the log that hold this.
pub(crate) fn logged(part: &str) -> Vec<String> {
    LOG.with_borrow(|log| log.iter().filter(|line| line.contains(part)).cloned().collect())
}
