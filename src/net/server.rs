//! The turn: who is read, handled, flushed, closed and admitted, in which order.
//!
//! 1. poll: events set flags, nothing else
//! 2. read and handle, round robin, each connection at most one read and
//!    [`STANZAS_PER_TURN`] stanzas
//! 3. timers, and the connections that the last turn's flush gave up
//! 4. what the turn's changes share is encoded; closes are settled
//! 5. flush: one system call for each connection that has something to send
//! 6. sockets of finished connections are closed
//! 7. new connections are admitted; then the slots are free again
//!
//! Work left over makes the next poll return at once. No connection's error leaves the turn.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::{debug, error, info, warn};

use super::connection::{Connection, Hold, State};
use super::desk::{Desk, slow_deadline};
use super::outbox::Flush;
use super::timers::Kind;
use super::world::{Event, Socket, World};
use crate::hub::{CloseReason, ConnId, Door, HashKey, Hub, Input, Progress, Settings, Time};
use crate::limits::{ACCEPTS_PER_TURN, READ_BYTES_PER_TURN, STANZAS_PER_TURN, TURN_BYTES_MAX};
use crate::metrics::Metrics;

/// How long accepting rests when descriptors have run out and none of ours has been freed.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// The server, running in some world.
#[derive(Debug)]
pub struct Server<W: World> {
    world: W,
    hub: Hub,
    desk: Desk<W::Socket>,
    /// Those with something to read or to handle, in the order in which they have their go.
    /// Some may be over before it comes.
    ready: VecDeque<ConnId>,
    /// Connections that were given up while they were flushed; the hub is told in the next turn.
    given_up: Vec<(ConnId, CloseReason)>,
    /// Slots whose connections are gone, not to be given out in this turn.
    gone: Vec<usize>,
    listeners: Vec<Listener>,
    scratch: Box<[u8]>,
    events: Vec<Event>,
    /// Accepting rests until then, for want of descriptors.
    starved_until: Option<Time>,
    /// The log has been told of it.
    starved_told: bool,
    stopping: bool,
}

#[derive(Debug)]
struct Listener {
    door: Door,
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
    /// A server without connections; `doors` are its listeners, by index.
    #[must_use]
    pub fn new(
        mut world: W,
        doors: &[Door],
        settings: Settings,
        hash_key: HashKey,
        unix_start_us: u64,
    ) -> Self {
        let mut desk = Desk::new();
        desk.now = world.now();
        Self {
            world,
            hub: Hub::new(settings, hash_key, unix_start_us),
            desk,
            ready: VecDeque::new(),
            given_up: Vec::new(),
            gone: Vec::new(),
            listeners: doors.iter().map(|&door| Listener { door, acceptable: true }).collect(),
            scratch: vec![0; READ_BYTES_PER_TURN].into_boxed_slice(),
            events: Vec::new(),
            starved_until: None,
            starved_told: false,
            stopping: false,
        }
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// When the poll itself fails; no connection's error comes this far.
    pub fn turn(&mut self) -> io::Result<Turn> {
        let timeout = self.timeout();
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        self.world.poll(timeout, &mut events)?;
        self.desk.now = self.world.now();
        self.desk.metrics.turns += 1;
        let reload = self.mark_ready(&events);
        self.events = events;
        self.serve_ready();
        self.run_timers();
        self.tell_given_up();
        self.hub.handle(Input::TurnEnd, self.desk.now, &mut self.desk);
        if self.desk.shutdown_asked {
            self.begin_stopping();
        }
        self.flush();
        self.close_sockets();
        self.admit();
        self.free_slots();
        if self.stopping && self.desk.connections.is_empty() {
            info!("stopped: {}", self.desk.metrics);
            return Ok(Turn::Stop);
        }
        Ok(if reload { Turn::Reload } else { Turn::Again })
    }

    /// Puts new settings in force, for connections that are open, too.
    pub fn reload(&mut self, settings: Settings) {
        let idle_time_s = settings.limits.idle_time_s;
        for (_, connection) in &mut self.desk.connections {
            if let Some(socket) = &mut connection.socket {
                socket.set_idle_time(idle_time_s);
            }
        }
        let now = self.desk.now;
        self.hub.handle(Input::Reload(Box::new(settings)), now, &mut self.desk);
    }

    /// Tells the hub what was decided about a login, now or late; the session goes on.
    pub fn decide(&mut self, conn: ConnId, allowed: bool) {
        let now = self.desk.now;
        self.hub.handle(Input::Verdict { conn, allowed }, now, &mut self.desk);
        if let Some(connection) = self.desk.find(conn)
            && connection.hold == Hold::Verdict
        {
            connection.hold = Hold::Nothing;
            self.make_ready(conn.slot as usize);
        }
    }

    /// What it has done so far.
    pub const fn metrics(&self) -> &Metrics {
        &self.desk.metrics
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

    /// Checks what must hold between two turns: whoever has work is queued for it, every deadline
    /// has its timer, and the hub has a session for each open connection and no other.
    ///
    /// # Panics
    /// When something does not hold, which is a bug in the loop or in the hub.
    pub fn check_invariants(&self) {
        self.hub.check_invariants();
        let mut open = 0;
        let mut timers = 0;
        let mut backlog_bytes = 0;
        for (slot, connection) in &self.desk.connections {
            let id = connection.id;
            assert_eq!(id.slot as usize, slot, "{id} sits in another's slot");
            assert_eq!(self.ready.contains(&id), connection.in_ready, "{id} in the queue");
            assert_eq!(self.desk.dirty.contains(&slot), connection.in_dirty, "{id} to flush");
            assert!(connection.in_ready || !connection.has_work(), "{id} is forgotten");
            let sendable = connection.writable && !connection.outbox.is_empty();
            assert!(connection.in_dirty || !sendable, "{id} has something to send");
            backlog_bytes += connection.outbox.backlog_bytes();
            let mut due = |time, kind| {
                assert!(self.desk.timers.is_set(time, id, kind), "{kind:?} of {id} is not set");
                timers += 1;
            };
            if let Some(since) = connection.slow_since {
                due(slow_deadline(since), Kind::SlowReader);
            }
            if let Hold::Rate(time) = connection.hold {
                due(time, Kind::Resume);
            }
            match connection.state {
                State::Open => {
                    open += 1;
                    assert!(self.hub.has_session(id), "{id} has no session");
                }
                State::Draining { deadline, .. } => due(deadline, Kind::Drain),
                State::Gone => assert!(connection.in_dirty, "{id} is not cleared away"),
            }
        }
        assert_eq!(self.hub.sessions(), open, "sessions without a connection");
        assert_eq!(self.desk.timers.len(), timers, "timers without a reason");
        assert_eq!(self.desk.backlog.bytes(), backlog_bytes, "the sum of what waits");
    }

    fn timeout(&self) -> Option<Duration> {
        let work = !self.ready.is_empty()
            || !self.desk.dirty.is_empty()
            || !self.given_up.is_empty()
            || (self.starved_until.is_none()
                && !self.stopping
                && self.listeners.iter().any(|listener| listener.acceptable));
        if work {
            return Some(Duration::ZERO);
        }
        [self.desk.timers.next(), self.hub.poll_timeout(), self.starved_until]
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
                Event::Ready { slot, readable, writable, read_closed } => {
                    let Some(connection) = self.desk.connections.get_mut(slot) else {
                        continue;
                    };
                    connection.readable |= readable;
                    connection.read_closed |= read_closed;
                    if writable && !connection.writable {
                        connection.writable = true;
                        self.desk.mark_dirty(slot);
                    }
                    self.make_ready(slot);
                }
                Event::Stop => self.begin_stopping(),
                Event::Reload => reload = true,
            }
        }
        reload
    }

    fn make_ready(&mut self, slot: usize) {
        if let Some(connection) = self.desk.connections.get_mut(slot)
            && !connection.in_ready
            && connection.has_work()
        {
            connection.in_ready = true;
            self.ready.push_back(connection.id);
        }
    }

    /// Everybody farewell; the rest of the work is the closes' own.
    fn begin_stopping(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.world.stop_listening();
            let now = self.desk.now;
            self.hub.handle(Input::Shutdown, now, &mut self.desk);
        }
    }

    /// Each of those with work has its go, until the turn has encoded enough.
    fn serve_ready(&mut self) {
        for _ in 0..self.ready.len() {
            if self.desk.arena.len() >= TURN_BYTES_MAX {
                break;
            }
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            if let Some(connection) = self.desk.find(id) {
                let slot = id.slot as usize;
                connection.in_ready = false;
                match connection.state {
                    State::Open => self.serve(slot),
                    State::Draining { .. } => self.read_and_drop(slot),
                    State::Gone => {}
                }
                self.make_ready(slot);
            }
        }
    }

    /// Handles what a connection has sent: first what was left over, then one read.
    fn serve(&mut self, slot: usize) {
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        let id = connection.id;
        let mut budget = STANZAS_PER_TURN;
        if connection.frames_held {
            self.handle_frames(id, 0, &mut budget);
        }
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        let free = connection.state == State::Open
            && connection.hold == Hold::Nothing
            && !connection.frames_held;
        if free && connection.readable {
            match read_once(connection, &mut self.scratch) {
                Ok(0) => {}
                Ok(count) => {
                    self.desk.metrics.bytes_in += count as u64;
                    self.handle_frames(id, count, &mut budget);
                }
                Err(error) => self.lose(id, &error),
            }
        }
        // What the last stanzas made due is sent before the end is told: it has its own turn.
        if budget == STANZAS_PER_TURN {
            self.end_if_read_to_the_end(id);
        }
    }

    /// Handles the frames that the first `count` bytes of the scratch buffer complete, as far
    /// as the budget and the hub allow. The rest is kept.
    fn handle_frames(&mut self, id: ConnId, count: usize, budget: &mut usize) {
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        // The frames borrow from the framer while the hub's answers change the connections.
        let mut framer = std::mem::take(&mut connection.framer);
        let max = self.hub.settings().limits.stanza_bytes_max;
        let now = self.desk.now;
        let mut cut = framer.cut(&self.scratch[..count], max);
        let mut hold = Hold::Nothing;
        let mut frames_held = false;
        loop {
            let frame = match cut.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => {
                    self.hub.handle(Input::FrameTooLarge { conn: id }, now, &mut self.desk);
                    break;
                }
            };
            if *budget == 0 || self.desk.arena.len() >= TURN_BYTES_MAX {
                cut.retract();
                frames_held = true;
                break;
            }
            match self.hub.handle(Input::Frame { conn: id, frame }, now, &mut self.desk) {
                Progress::Done => {
                    *budget -= 1;
                    self.desk.metrics.frames_in += 1;
                    if !is_open(&self.desk, id) {
                        break;
                    }
                }
                Progress::Later(time) => hold = Hold::Rate(time),
                Progress::Wait => hold = Hold::Verdict,
            }
            if hold != Hold::Nothing {
                cut.retract();
                frames_held = true;
                break;
            }
        }
        if is_open(&self.desk, id) {
            drop(cut);
        } else {
            cut.discard();
        }
        if let Some(connection) = self.desk.find(id) {
            connection.framer = framer;
            connection.frames_held = frames_held;
            connection.hold = hold;
            if let Hold::Rate(time) = hold {
                self.desk.timers.set(time, id, Kind::Resume);
            }
        }
    }

    /// The peer's stream is at its end, or can't be answered any more, and everything before
    /// that is handled.
    fn end_if_read_to_the_end(&mut self, id: ConnId) {
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        let over = connection.ended || (connection.broken.is_some() && !connection.readable);
        if over && !connection.frames_held {
            let reason = connection.broken.unwrap_or(CloseReason::PeerClosed);
            self.end(id, reason);
        }
    }

    /// A connection ends for a reason that the hub did not give.
    fn end(&mut self, id: ConnId, reason: CloseReason) {
        if is_open(&self.desk, id) {
            let now = self.desk.now;
            self.hub.handle(Input::Ended { conn: id, reason }, now, &mut self.desk);
            self.desk.drain(id, reason);
        }
    }

    /// A connection is broken: nothing can be sent to it any more.
    fn lose(&mut self, id: ConnId, error: &io::Error) {
        debug!("client {id}: {error}");
        self.end(id, reason_of(error));
        self.desk.finish(id.slot as usize);
    }

    /// Reads what still comes on a closing connection, so that no reset eats the farewell.
    fn read_and_drop(&mut self, slot: usize) {
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        match read_once(connection, &mut self.scratch) {
            Ok(_) if connection.ended => self.desk.mark_dirty(slot),
            Ok(count) => self.desk.metrics.bytes_in += count as u64,
            Err(_) => self.desk.finish(slot),
        }
    }

    fn run_timers(&mut self) {
        let now = self.desk.now;
        while let Some((id, kind)) = self.desk.timers.take_due(now) {
            match kind {
                Kind::Resume => {
                    if let Some(connection) = self.desk.find(id) {
                        connection.hold = Hold::Nothing;
                        self.make_ready(id.slot as usize);
                    }
                }
                Kind::SlowReader => {
                    if let Some(connection) = self.desk.find(id) {
                        connection.slow_since = None;
                        self.cut_off(id, CloseReason::SlowReaderSoft);
                    }
                }
                Kind::Drain => {
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
    }

    /// Ends a connection whose reader is too slow; what waits for it is dropped.
    fn cut_off(&mut self, id: ConnId, reason: CloseReason) {
        self.end(id, reason);
        self.desk.finish(id.slot as usize);
    }

    /// Tells the hub of the connections that the last flush gave up.
    fn tell_given_up(&mut self) {
        for (id, reason) in std::mem::take(&mut self.given_up) {
            if self.desk.find(id).is_some() {
                self.cut_off(id, reason);
            }
        }
    }

    /// One system call for each connection that has something to send.
    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.desk.dirty);
        for slot in dirty.drain(..) {
            self.flush_one(slot);
            self.cut_off_the_fullest();
        }
        // Those who broke in this flush wait for the next turn, which comes at once.
        dirty.append(&mut self.desk.dirty);
        self.desk.dirty = dirty;
        self.desk.clear_arena();
    }

    fn flush_one(&mut self, slot: usize) {
        let Desk { connections, arena, metrics, backlog, .. } = &mut self.desk;
        let Some(connection) = connections.get_mut(slot) else {
            return;
        };
        connection.in_dirty = false;
        let Some(socket) = &mut connection.socket else {
            return;
        };
        if connection.state == State::Gone {
            self.gone.push(slot);
            return;
        }
        let before = connection.outbox.backlog_bytes();
        let max = self.hub.settings().limits.backlog_bytes_max;
        let flushed = connection.outbox.flush(arena, socket, connection.writable, max);
        let id = connection.id;
        backlog.change(id, before, connection.outbox.backlog_bytes());
        match flushed {
            Flush::Done(bytes) => metrics.bytes_out += bytes as u64,
            Flush::Blocked(bytes) => {
                metrics.bytes_out += bytes as u64;
                connection.writable = false;
            }
            Flush::TooMuch => return self.give_up(id, CloseReason::SlowReader),
            Flush::Broken(error) => return self.stop_writing(id, &error),
        }
        self.watch_slowness(slot);
        self.go_on_closing(slot);
    }

    /// Nothing more can be written to a connection. What it had sent before is still handled:
    /// it ends when that is read.
    fn stop_writing(&mut self, id: ConnId, error: &io::Error) {
        debug!("client {id}: {error}");
        let slot = id.slot as usize;
        self.desk.empty_outbox(slot);
        match self.desk.find(id) {
            Some(connection) if connection.state == State::Open => {
                connection.broken = Some(reason_of(error));
                connection.readable = true;
                self.watch_slowness(slot);
                self.make_ready(slot);
            }
            _ => self.desk.finish(slot),
        }
    }

    /// A connection's reader is too slow. The hub hears of it in the next turn: its answers would
    /// come too late for this flush.
    fn give_up(&mut self, id: ConnId, reason: CloseReason) {
        self.desk.empty_outbox(id.slot as usize);
        self.given_up.push((id, reason));
    }

    /// Starts or stops the time that a reader may stay above `limits.backlogsoft`.
    fn watch_slowness(&mut self, slot: usize) {
        let max = self.hub.settings().limits.backlog_soft_bytes_max;
        let now = self.desk.now;
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        let slow = connection.outbox.backlog_bytes() > max;
        match connection.slow_since {
            None if slow => {
                connection.slow_since = Some(now);
                self.desk.timers.set(slow_deadline(now), connection.id, Kind::SlowReader);
            }
            Some(since) if !slow => {
                connection.slow_since = None;
                self.desk.timers.cancel(slow_deadline(since), connection.id, Kind::SlowReader);
            }
            _ => {}
        }
    }

    /// A closing connection whose farewell is out ends its stream, and is gone when the peer
    /// has ended its own.
    fn go_on_closing(&mut self, slot: usize) {
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        if !matches!(connection.state, State::Draining { .. }) || !connection.outbox.is_empty() {
            return;
        }
        if !connection.shut {
            connection.shut = true;
            let shut = connection.socket.as_mut().map_or(Ok(()), Socket::shutdown_write);
            connection.ended |= shut.is_err();
        }
        if connection.ended {
            self.desk.finish(slot);
        } else {
            self.make_ready(slot);
        }
    }

    /// Cuts off whoever has most waiting, until all together are within the limit. It is seen to
    /// after each connection, for one turn can fill as many outboxes as there are.
    fn cut_off_the_fullest(&mut self) {
        let max = self.hub.settings().limits.backlog_total_bytes_max;
        while self.desk.backlog.bytes() > max
            && let Some(id) = self.desk.backlog.fullest()
        {
            self.give_up(id, CloseReason::BacklogTotal);
        }
    }

    /// Closes the sockets of the connections that are over.
    fn close_sockets(&mut self) {
        for &slot in &self.gone {
            if let Some(connection) = self.desk.connections.get_mut(slot) {
                connection.socket = None;
                self.starved_until = None;
            }
        }
    }

    /// Gives the slots of closed connections back; nobody has got one of them in this turn.
    fn free_slots(&mut self) {
        for slot in self.gone.drain(..) {
            self.desk.connections.try_remove(slot);
        }
    }

    /// Takes in new connections, so many from each listener.
    fn admit(&mut self) {
        if self.stopping || self.starved_until.is_some() {
            return;
        }
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                if !self.listeners[index].acceptable {
                    break;
                }
                match self.world.accept(index) {
                    Ok((socket, address)) => self.admit_one(index, socket, address),
                    Err(error) => self.accept_failed(index, &error),
                }
                if self.starved_until.is_some() {
                    return;
                }
            }
        }
    }

    fn admit_one(&mut self, listener: usize, mut socket: W::Socket, address: SocketAddr) {
        if std::mem::take(&mut self.starved_told) {
            info!("a descriptor was free: accepting connections again");
        }
        socket.set_idle_time(self.hub.settings().limits.idle_time_s);
        let address = address.ip().to_canonical();
        let id = self.desk.add(address, socket);
        let connection = self.desk.connections.get_mut(id.slot as usize);
        let registered = match connection.and_then(|connection| connection.socket.as_mut()) {
            Some(socket) => self.world.register(socket, id.slot as usize),
            None => Ok(()),
        };
        if let Err(error) = registered {
            warn!("a connection from {address} can't be watched: {error}");
            self.desk.finish(id.slot as usize);
            return;
        }
        info!("client {id} from {address} connected");
        let door = self.listeners[listener].door;
        let now = self.desk.now;
        self.hub.handle(Input::Opened { conn: id, address, door }, now, &mut self.desk);
    }

    fn accept_failed(&mut self, listener: usize, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.listeners[listener].acceptable = false;
            return;
        }
        let of_the_peer = [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::Interrupted,
        ];
        if of_the_peer.contains(&error.kind()) {
            // The one at the head of the queue is gone; the next one may be fine.
            return;
        }
        self.desk.metrics.accept_errors += 1;
        self.starved_until = Some(self.desk.now + ACCEPT_REST);
        if !std::mem::replace(&mut self.starved_told, true) {
            error!(
                "can't accept connections: {error}; going on when a descriptor is free \
                 ({} connections open)",
                self.desk.connections.len()
            );
        }
    }
}

/// Why a connection ends that failed with this.
fn reason_of(error: &io::Error) -> CloseReason {
    if error.kind() == io::ErrorKind::TimedOut { CloseReason::Idle } else { CloseReason::Broken }
}

fn is_open<S>(desk: &Desk<S>, id: ConnId) -> bool {
    desk.connections
        .get(id.slot as usize)
        .is_some_and(|connection| connection.id == id && connection.state == State::Open)
}

/// Reads once; `Ok(0)` when nothing came, for now or, with `ended` set, for ever.
fn read_once<S: Socket>(connection: &mut Connection<S>, scratch: &mut [u8]) -> io::Result<usize> {
    let Some(socket) = &mut connection.socket else {
        return Ok(0);
    };
    match socket.read(scratch) {
        Ok(0) => {
            connection.readable = false;
            connection.ended = true;
            Ok(0)
        }
        Ok(count) => {
            // A short read has emptied the socket, unless an end stands behind the bytes.
            if count < scratch.len() && !connection.read_closed {
                connection.readable = false;
            }
            Ok(count)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            connection.readable = false;
            Ok(0)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}
