//! The turn: who is read, handled, flushed, closed and admitted, in which order.
//!
//! 1. poll: events set flags, nothing else
//! 2. read and handle, each connection at most one read, those who cause little work first and
//!    the others round robin, until the turn has enough to do; `ready` has who is next
//! 3. timers: connections whose time has come, so many in a turn
//! 4. plugins: their processes are started, read and ended, their verdicts told
//! 5. the connections that the last turn's flush gave up; what the turn's changes share is encoded;
//!    closes are settled, and a stop begins
//! 6. the log is written: who is told something finds it there
//! 7. flush: one system call for each connection that has something to send; what crowds are told
//!    is gathered in some turns and written in the next ones, so many receivers in each; then
//!    plugins
//! 8. sockets of finished connections are closed
//! 9. new connections are admitted; then the slots are free again
//!
//! Work left over makes the next poll return at once. No connection's error leaves the turn.
//!
//! The turn itself is here, with its flags and deadlines; `reading`, `flushing`, `closing` and
//! `admission` have its parts, `transports` and `plugins` what they are named for; `store` hands
//! over what outlives the process.

mod admission;
mod closing;
mod flushing;
mod plugins;
mod reading;
mod store;
mod transports;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use log::info;

use super::connection::{ConnectionPhase, Hold};
use super::desk::{Desk, slow_deadline};
use super::ready::{Greeters, Ready};
use super::speech;
use super::timers::TimerKind;
use super::transport::{Framed, Front, Inbound};
use super::world::{Event, World};
use crate::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Permission, QuestionId, Settings, Time,
    Verdict,
};
use crate::limits::{
    CONNECTIONS_PER_TURN, EARLY_MORE_BYTES_MAX, ENDS_PER_TURN, LOG_RETRY_TIME_MS,
    READ_BYTES_PER_TURN,
};
use crate::metrics::Metrics;
use crate::metrics::prometheus::Gauges;
use crate::wire::stanza::Parser;

/// The server, running in some world.
#[derive(Debug)]
pub struct Server<W: World> {
    world: W,
    hub: Hub,
    desk: Desk<W::Socket>,
    /// Those with something to read or to handle.
    ready: Ready,
    /// Who has connected over TLS of late.
    greeters: Greeters,
    /// The work of this turn when the present go began, in nanoseconds.
    go_began_ns: u64,
    /// Connections that were given up while they were flushed; the hub is told in the next turn.
    given_up: VecDeque<(ConnId, CloseReason)>,
    /// How many members of crowds are still to be written to; when none, more is queued for them
    /// first.
    to_write: usize,
    /// The work whose outcome had been queued when the last of them was written to, in nanoseconds.
    gathered_from_ns: u64,
    /// Connections whose next stanza is for a crowd, and waits until these have been written to.
    held_for_crowds: Vec<ConnId>,
    /// Slots whose connections are gone, not to be given out in this turn.
    gone: Vec<usize>,
    listeners: Vec<Listener>,
    /// What the listeners take.
    front: Front,
    scratch: Box<[u8]>,
    /// What a read has brought through a transport.
    inbound: Inbound,
    /// What a transport is about to send.
    wire: Vec<u8>,
    framed: Framed,
    plugin_parser: Parser,
    /// For the elements that they send to clients.
    element_parser: Parser,
    /// Where pieces of one flush are put together.
    joined: Vec<u8>,
    events: Vec<Event>,
    /// Accepting rests until then, for want of descriptors.
    starved_until: Option<Time>,
    /// The log has been told of it.
    starved_told: bool,
    /// The log is not told of the next time before this.
    starved_quiet_until: Time,
    /// Lines of the log wait for a reader.
    log_waits: bool,
    stopping: bool,
    /// The log has been told that logins are to be checked and no plugin does it.
    unchecked_told: bool,
    /// For the metrics.
    unix_start_us: u64,
    /// The time of this turn, since 1970.
    unix_s: u64,
    /// Connections from this slot on are still to be told of another idle time.
    idle_time_from: Option<usize>,
    /// What operators have been told of requests.
    advised: transports::Advised,
    storing: store::Storing,
}

#[derive(Debug)]
struct Listener {
    kind: ListenerKind,
    acceptable: bool,
}

/// What a turn leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The next turn.
    Again,
    /// The configuration is to be read again; then the next turn.
    Reload,
    /// The end: everything is closed.
    Stop,
}

impl<W: World> Server<W> {
    /// A server without connections; `listeners` are its listeners, by index.
    #[must_use]
    pub fn new(
        mut world: W,
        listeners: &[ListenerKind],
        settings: Settings,
        hash_key: HashKey,
        unix_start_us: u64,
    ) -> Self {
        let mut desk = Desk::new();
        desk.now = world.now();
        desk.deliveries.set_share(settings.limits.share_bytes_max());
        world.set_idle_time(settings.limits.idle_time_s);
        Self {
            world,
            hub: Hub::new(settings, hash_key, unix_start_us),
            unix_start_us,
            desk,
            ready: Ready::default(),
            greeters: Greeters::default(),
            go_began_ns: 0,
            given_up: VecDeque::new(),
            to_write: 0,
            gathered_from_ns: 0,
            held_for_crowds: Vec::new(),
            gone: Vec::new(),
            listeners: listeners.iter().map(|&kind| Listener { kind, acceptable: true }).collect(),
            front: Front::default(),
            inbound: Inbound::default(),
            wire: Vec::new(),
            framed: Framed::default(),
            plugin_parser: Parser::new(),
            element_parser: Parser::new(),
            scratch: vec![0; READ_BYTES_PER_TURN].into_boxed_slice(),
            joined: Vec::new(),
            events: Vec::new(),
            starved_until: None,
            starved_told: false,
            starved_quiet_until: Time::default(),
            log_waits: false,
            stopping: false,
            unchecked_told: false,
            unix_s: 0,
            idle_time_from: None,
            advised: transports::Advised::default(),
            storing: store::Storing::default(),
        }
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// When the poll itself fails; no connection's error comes this far.
    pub fn turn(&mut self) -> io::Result<Turn> {
        // What was said at the last turn's end, and while the configuration was read.
        self.flush_log();
        let timeout = self.timeout();
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        self.world.poll(timeout, &mut events)?;
        self.desk.now = self.world.now();
        self.unix_s = self.world.unix_time().as_secs();
        self.desk.metrics.turns += 1;
        let reload = self.mark_ready(&events);
        self.events = events;
        self.serve_ready();
        self.run_timers();
        self.tell_idle_time();
        self.serve_plugins();
        self.tell_given_up();
        self.hub.handle(Input::TurnEnd, self.desk.now, &mut self.desk);
        self.let_the_called_go_on();
        self.hand_over_changes();
        if self.desk.shutdown_asked {
            self.begin_stopping();
        }
        // The log is written before the sockets: a client that has its answer must find the line on
        // disk.
        self.flush_log();
        self.flush();
        self.flush_plugins();
        self.close_sockets();
        self.admit();
        self.free_slots();
        let turn_time = self.world.now().since(self.desk.now);
        self.desk.metrics.turn_time.observe(turn_time.as_nanos() as u64);
        self.end_inputs();
        if self.stopping && self.desk.connections.is_empty() && !self.desk.plugins.has_processes() {
            self.desk.log_left_out(true);
            info!("stopped: {}", self.desk.metrics);
            return Ok(Turn::Stop);
        }
        Ok(if reload { Turn::Reload } else { Turn::Again })
    }

    /// Sets what the listeners take from now on. Connections that have told what they speak go
    /// on.
    pub fn set_front(&mut self, front: Front) {
        self.front = front;
        self.advised = transports::Advised::default();
    }

    /// Puts new settings in force, for connections that are open, too.
    pub fn reload(&mut self, settings: Settings) {
        let before = self.hub.settings().limits.idle_time_s;
        if settings.limits.idle_time_s != before {
            self.world.set_idle_time(settings.limits.idle_time_s);
            self.idle_time_from = Some(0);
        }
        let now = self.desk.now;
        self.desk.deliveries.set_share(settings.limits.share_bytes_max());
        self.hub.handle(Input::Reload(Box::new(settings)), now, &mut self.desk);
        self.tell_idle_time();
        self.let_the_called_go_on();
    }

    /// Tells connections that were open before that there is another idle time: so many in a turn,
    /// for each takes calls of the system.
    fn tell_idle_time(&mut self) {
        let Some(from) = self.idle_time_from else {
            return;
        };
        let idle_time_s = self.hub.settings().limits.idle_time_s;
        let to = from + CONNECTIONS_PER_TURN;
        for slot in from..to {
            let Some(connection) = self.desk.connections.get_mut(slot) else {
                continue;
            };
            if let Some(socket) = &mut connection.socket {
                self.world.check_silence(socket, idle_time_s);
            }
            if connection.state == ConnectionPhase::Open && connection.speech.transport().is_some()
            {
                let id = connection.id;
                self.check_later(id);
            }
        }
        self.idle_time_from = (to < self.desk.connections.capacity()).then_some(to);
    }

    /// Tells the hub what was decided about a login, now or late; the session goes on.
    pub fn decide(&mut self, conn: ConnId, question: QuestionId, verdict: Verdict) {
        let now = self.desk.now;
        self.hub.handle(Input::Verdict { conn, question, verdict }, now, &mut self.desk);
        self.go_on_after_verdict(conn);
    }

    /// Hands the hub the answer to an `Outlet::ask_permission`; the session goes on with what it
    /// has sent.
    pub fn permit(&mut self, conn: ConnId, question: QuestionId, permission: Permission<'_>) {
        let now = self.desk.now;
        self.hub.handle(Input::Permission { conn, question, permission }, now, &mut self.desk);
        self.go_on_after_verdict(conn);
    }

    /// Those whose turn has come are offered to the hub again.
    fn let_the_called_go_on(&mut self) {
        for conn in std::mem::take(&mut self.desk.called) {
            self.go_on_after_verdict(conn);
        }
    }

    fn go_on_after_verdict(&mut self, conn: ConnId) {
        if let Some(connection) = self.desk.find(conn)
            && connection.hold == Hold::Verdict
        {
            connection.hold = Hold::Nothing;
            self.make_ready(conn.slot as usize);
        }
    }

    /// Takes a proxy's word for a client's own address: limits and log go by it from then on.
    pub fn client_address(&mut self, conn: ConnId, address: IpAddr) {
        self.desk.set_address(conn, address);
        let now = self.desk.now;
        self.hub.handle(Input::ClientAddress { conn, address }, now, &mut self.desk);
    }

    /// What it has done so far.
    pub const fn metrics(&self) -> &Metrics {
        &self.desk.metrics
    }

    /// What is so at the moment, for the metrics page.
    fn gauges(&self) -> Gauges<'_> {
        let all = self.desk.connections.iter().map(|(_, connection)| connection);
        let open = all.filter(|connection| connection.state == ConnectionPhase::Open);
        Gauges {
            version: env!("CARGO_PKG_VERSION"),
            start_unix_us: self.unix_start_us,
            sessions: speech::count(open.map(|connection| &connection.speech)),
            rooms: self.hub.rooms(),
            connections: self.connections(),
            backlog_bytes: self.backlog_bytes(),
        }
    }

    /// The world it runs in.
    pub const fn world_mut(&mut self) -> &mut W {
        &mut self.world
    }

    /// How many connections are open or closing.
    pub fn connections(&self) -> usize {
        self.desk.connections.len()
    }

    /// Bytes waiting for slow readers.
    pub const fn backlog_bytes(&self) -> usize {
        self.desk.backlog.bytes()
    }

    /// Checks what must hold between two turns: a connection with work is queued for it, every
    /// deadline has its timer, and the hub has a session for each open connection and no other.
    ///
    /// # Panics
    /// When something does not hold, which is a bug in the loop or in the hub.
    pub fn check_invariants(&self) {
        self.hub.check_invariants();
        self.desk.plugins.check_invariants();
        let mut open = 0;
        let mut timers = 0;
        let mut backlog_bytes = 0;
        let mut early_more_bytes = 0;
        for (slot, connection) in &self.desk.connections {
            let id = connection.id;
            assert_eq!(id.slot as usize, slot, "{id} sits in another's slot");
            let waits = connection.queued;
            assert_eq!(self.ready.contains(id), waits, "{id} in the queue");
            assert!(waits || !connection.has_work(), "{id} is forgotten");
            let unread = connection.outbox.backlog_bytes();
            let unread_max = connection.unread_bytes_max(&self.hub.settings().limits);
            let stuffed = connection.state == ConnectionPhase::Open && connection.stuffed;
            assert!(!stuffed || unread > unread_max, "{id} is held for nothing");
            let in_dirty = self.desk.deliveries.is_dirty(slot);
            let queued = !self.desk.deliveries.pieces(slot).is_empty();
            let sendable = connection.writable && !connection.outbox.is_empty();
            assert!(in_dirty || !(queued || sendable), "{id} has something to send");
            backlog_bytes += connection.outbox.backlog_bytes();
            early_more_bytes += connection.early_more_bytes;
            let mut due = |time, kind| {
                assert!(self.desk.timers.is_set(time, id, kind), "{kind:?} of {id} is not set");
                timers += 1;
            };
            if let Some(since) = connection.slow_since {
                due(slow_deadline(since), TimerKind::SlowReader);
            }
            if let Some(time) = connection.speech.transport().and_then(|found| found.check_at) {
                due(time, TimerKind::Check);
            }
            if let Hold::Rate(time) = connection.hold {
                due(time, TimerKind::Resume);
            }
            let held = self.held_for_crowds.contains(&id);
            assert!(held || connection.hold != Hold::Crowd, "{id} waits for no crowd");
            match connection.state {
                ConnectionPhase::Open => {
                    open += 1;
                    assert!(self.hub.has_session(id), "{id} has no session");
                }
                ConnectionPhase::Draining { deadline, .. } => due(deadline, TimerKind::Drain),
                ConnectionPhase::Gone => assert!(in_dirty, "{id} is not cleared away"),
            }
        }
        assert!(self.to_write <= self.desk.deliveries.crowded(), "crowds have fewer members");
        let writing = self.to_write > 0;
        assert!(writing || self.held_for_crowds.is_empty(), "no crowd is written to");
        assert_eq!(self.hub.sessions(), open, "sessions without a connection");
        assert_eq!(self.desk.timers.len(), timers, "timers without a reason");
        assert_eq!(self.desk.backlog.bytes(), backlog_bytes, "the sum of what waits");
        assert_eq!(self.desk.early_more_bytes(), early_more_bytes, "the sum of what is early");
        assert!(early_more_bytes <= EARLY_MORE_BYTES_MAX, "{early_more_bytes} bytes are early");
    }

    /// Writes the lines of the log; those that the log does not take are tried again by and by.
    fn flush_log(&mut self) {
        let logged = self.world.flush_log();
        self.log_waits = logged.waits;
        self.desk.metrics.log_lines_lost = logged.lost;
    }

    fn timeout(&self) -> Option<Duration> {
        let work = !self.ready.is_empty()
            || !self.desk.deliveries.is_clean()
            || !self.given_up.is_empty()
            || self.idle_time_from.is_some()
            || (self.starved_until.is_none()
                && !self.stopping
                && self.listeners.iter().any(|listener| listener.acceptable));
        if work {
            return Some(Duration::ZERO);
        }
        let plugins = self.plugins_due();
        let log = self.log_waits.then(|| self.desk.now + Duration::from_millis(LOG_RETRY_TIME_MS));
        let left_out = self.desk.log_budget.report_at();
        [
            self.desk.timers.next(),
            self.hub.poll_timeout(),
            self.starved_until,
            plugins,
            self.store_due(),
            log,
            left_out,
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|time| time.since(self.desk.now))
    }

    /// Events only set flags. Whether the configuration is to be read again.
    fn mark_ready(&mut self, events: &[Event]) -> bool {
        let mut reload = false;
        for event in events {
            match *event {
                Event::Acceptable { listener } => {
                    if let Some(listener) = self.listeners.get_mut(listener) {
                        listener.acceptable = true;
                    }
                }
                Event::Ready { slot, readable, writable, read_closed, failed } => {
                    let Some(connection) = self.desk.connections.get_mut(slot) else {
                        continue;
                    };
                    connection.readable |= readable;
                    connection.read_closed |= read_closed;
                    connection.failed |= failed;
                    if failed {
                        // The peer does not read what others, which may be going as well, still
                        // cause.
                        self.desk.deliveries.refuse(slot);
                    }
                    if writable && !connection.writable {
                        connection.writable = true;
                        self.desk.mark_dirty(slot);
                    }
                    self.make_ready(slot);
                }
                Event::ProcessReady { index } => self.desk.plugins.mark_ready(index),
                Event::ProcessEnded => self.desk.plugins.look_for_ended_processes(&mut self.world),
                Event::Stop => self.desk.shutdown_asked = true,
                Event::Reload => reload = true,
            }
        }
        reload
    }

    fn make_ready(&mut self, slot: usize) {
        if let Some(connection) = self.desk.connections.get_mut(slot)
            && connection.has_work()
        {
            self.ready.add(connection, self.desk.now);
        }
    }

    /// Sees to the connections whose time has come, so many in a turn; the others' next turn comes
    /// at once.
    fn run_timers(&mut self) {
        let now = self.desk.now;
        for _ in 0..ENDS_PER_TURN {
            let Some((id, kind)) = self.desk.timers.take_due(now) else {
                break;
            };
            match kind {
                TimerKind::Resume => {
                    if let Some(connection) = self.desk.find(id) {
                        connection.hold = Hold::Nothing;
                        self.make_ready(id.slot as usize);
                    }
                }
                TimerKind::SlowReader => {
                    if let Some(connection) = self.desk.find(id) {
                        connection.slow_since = None;
                        self.cut_off(id, CloseReason::SlowReaderSoft);
                    }
                }
                TimerKind::Check => self.check(id),
                TimerKind::Drain => {
                    if self.desk.find(id).is_some() {
                        self.desk.finish(id.slot as usize);
                    }
                }
            }
        }
        if self.hub.poll_timeout().is_some_and(|time| time <= now) {
            self.hub.handle(Input::Tick, now, &mut self.desk);
        }
        if self.starved_until.is_some_and(|time| time <= now) {
            self.starved_until = None;
        }
        self.desk.log_left_out(false);
    }
}

fn is_open<S>(desk: &Desk<S>, id: ConnId) -> bool {
    desk.connections
        .get(id.slot as usize)
        .is_some_and(|connection| connection.id == id && connection.state == ConnectionPhase::Open)
}
