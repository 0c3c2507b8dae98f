//! The shell's side of `hub::Outlet`: it queues the stanzas that the hub sends, begins closes, and
//! turns notes into log lines, counters and events for plugins, which are in `hooks`.

mod hooks;
mod order;

use std::fmt::Arguments;
use std::net::IpAddr;

use log::Level;
use log::Level::{Debug, Info, Warn};
use slab::Slab;

use super::backlog::Backlog;
use super::connection::{Connection, ConnectionPhase, Hold};
use super::deliveries::Deliveries;
use super::log_budget::LogBudget;
use super::plugins::{Hook, Plugins};
use super::timers::{TimerKind, Timers};
use crate::hub::{
    CloseReason, ConnId, LoginRefusal, Note, Outlet, PeerFacts, PermissionQuestion, Question,
    QuestionId, RefusalReason, Roster, Span, Time,
};
use crate::limits::{
    DRAIN_TIME_S, EARLY_BYTES_MAX, EARLY_MORE_BYTES_MAX, RECEIVER_WORK_NS, RECEIVERS_PER_TURN,
    REFUSED_DRAIN_TIME_S, REFUSED_DRAINING_MAX, STANZA_BYTE_WORK_NS, TURN_BYTES_MAX, TURN_WORK_NS,
    WRITING_WORK_NS,
};
use crate::logging::Escaped;
use crate::metrics::Metrics;
use crate::wire::write::plugin;

/// Bytes of a refused nick that the log shows; any nick in use fits the default limit.
const REFUSED_NICK_BYTES_LOGGED: usize = 64;

/// Refused logins of one connection that are logged above debug: enough to see what somebody
/// mistypes, and nothing to fill a disk with.
const REFUSED_LOGINS_LOGGED: u8 = 3;

/// Everything that the hub's answers touch.
#[derive(Debug)]
pub(super) struct Desk<S> {
    pub(super) connections: Slab<Connection<S>>,
    /// What this turn has encoded, and for whom.
    pub(super) deliveries: Deliveries,
    /// Bytes that this turn's encoding costs beyond those of its deliveries.
    spent_bytes: usize,
    /// What this turn's stanzas took to be read and looked at, in nanoseconds.
    handled_ns: u64,
    /// The work of earlier turns that is not all written yet, in nanoseconds.
    earlier_ns: u64,
    /// How much more this turn may have, when there is such work.
    part_ns: Option<u64>,
    pub(super) timers: Timers,
    pub(super) plugins: Plugins,
    pub(super) metrics: Metrics,
    /// The time of this turn.
    pub(super) now: Time,
    /// Bytes waiting in all outboxes from earlier turns.
    pub(super) backlog: Backlog,
    pub(super) log_budget: LogBudget,
    /// Root or a signal asked for the end.
    pub(super) shutdown_asked: bool,
    /// Whose login has its turn now.
    pub(super) called: Vec<ConnId>,
    /// Connections that were refused because there are too many, and that are not closed yet.
    refused_draining: usize,
    /// Bytes beyond [`EARLY_BYTES_MAX`] that are held of those who have not logged in.
    early_more_bytes: usize,
    /// Who has just been logged out, for the line that tells of the close.
    last_nick: Option<(ConnId, Box<str>)>,
    generation: u32,
}

impl<S> Desk<S> {
    pub(super) fn new() -> Self {
        Self {
            connections: Slab::new(),
            deliveries: Deliveries::default(),
            spent_bytes: 0,
            handled_ns: 0,
            earlier_ns: 0,
            part_ns: None,
            timers: Timers::default(),
            plugins: Plugins::default(),
            metrics: Metrics::default(),
            now: Time::default(),
            backlog: Backlog::default(),
            log_budget: LogBudget::default(),
            shutdown_asked: false,
            called: Vec::new(),
            refused_draining: 0,
            early_more_bytes: 0,
            last_nick: None,
            generation: 0,
        }
    }

    /// The connection of this very id.
    pub(super) fn find(&mut self, id: ConnId) -> Option<&mut Connection<S>> {
        self.connections.get_mut(id.slot as usize).filter(|connection| connection.id == id)
    }

    /// Takes in a new connection.
    pub(super) fn add(&mut self, address: IpAddr, socket: S) -> ConnId {
        // 0 is no connection's.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let entry = self.connections.vacant_entry();
        // The descriptor limit keeps slots far below what fits.
        let slot = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let id = ConnId { slot, generation: self.generation };
        entry.insert(Connection::new(id, address, socket));
        self.deliveries.open(id);
        self.metrics.accepted += 1;
        id
    }

    /// A proxy told a connection's own address: the log names it by that. The hub is told after
    /// this, so that what it says of the connection goes by the same name.
    pub(super) fn set_address(&mut self, id: ConnId, address: IpAddr) {
        if let Some(connection) = self.find(id) {
            connection.address = address.to_canonical();
        }
    }

    /// Puts a connection on the list of those to flush or to finish.
    pub(super) fn mark_dirty(&mut self, slot: usize) {
        self.deliveries.mark_dirty(slot);
    }

    /// The one place where a connection begins to close. The hub has forgotten the connection.
    pub(super) fn drain(&mut self, id: ConnId, reason: CloseReason) {
        let refused = is_one_too_many(reason);
        let time_s = if refused { REFUSED_DRAIN_TIME_S } else { DRAIN_TIME_S };
        let deadline = self.now.plus_secs(time_s);
        let Some(connection) = self.find(id).filter(|found| found.state == ConnectionPhase::Open)
        else {
            return;
        };
        connection.state = ConnectionPhase::Draining { reason, deadline };
        connection.framer = None;
        let early_more_bytes = std::mem::take(&mut connection.early_more_bytes);
        let check = connection.speech.transport_mut().and_then(|found| found.check_at.take());
        let hold = std::mem::replace(&mut connection.hold, Hold::Nothing);
        if let Hold::Rate(time) = hold {
            self.timers.cancel(time, id, TimerKind::Resume);
        }
        if let Some(time) = check {
            self.timers.cancel(time, id, TimerKind::Check);
        }
        self.early_more_bytes -= early_more_bytes;
        self.deliveries.refuse(id.slot as usize);
        self.timers.set(deadline, id, TimerKind::Drain);
        self.mark_dirty(id.slot as usize);
        self.log_close(id, reason);
        self.refused_draining += usize::from(refused);
        if refused && self.refused_draining > REFUSED_DRAINING_MAX {
            self.finish(id.slot as usize);
        }
    }

    /// A connection is over: nothing more is read or written. Its slot is freed at the turn's end.
    pub(super) fn finish(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if let ConnectionPhase::Draining { deadline, reason } = connection.state {
            self.timers.cancel(deadline, connection.id, TimerKind::Drain);
            self.refused_draining -= usize::from(is_one_too_many(reason));
        }
        if let Some(since) = connection.slow_since.take() {
            self.timers.cancel(slow_deadline(since), connection.id, TimerKind::SlowReader);
        }
        connection.framer = None;
        self.early_more_bytes -= std::mem::take(&mut connection.early_more_bytes);
        connection.state = ConnectionPhase::Gone;
        self.empty_outbox(slot);
        self.mark_dirty(slot);
    }

    /// Drops everything that waits for a connection; nothing more is queued for it.
    pub(super) fn empty_outbox(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot) {
            self.deliveries.refuse(slot);
            self.deliveries.forget(slot);
            let waiting = connection.outbox.backlog_bytes();
            connection.outbox.clear();
            self.backlog.change(connection.id, waiting, 0);
        }
    }

    /// Whether this turn has so much to do already that the rest is for the next one.
    pub(super) fn has_enough(&self) -> bool {
        self.is_full() || self.work_ns() - self.earlier_ns >= self.enough_ns()
    }

    /// Whether nothing more is done before what is queued is written.
    pub(super) fn is_full(&self) -> bool {
        let bytes = self.deliveries.encoded_bytes().saturating_add(self.spent_bytes);
        self.deliveries.is_full() || bytes >= TURN_BYTES_MAX
    }

    /// The work of a turn: where there are some to write to, so much that it is worth the calls of
    /// the system. Where there are many, it is several turns' work that is worth it.
    fn enough_ns(&self) -> u64 {
        let few = self.deliveries.receivers() <= 2 * RECEIVERS_PER_TURN;
        match self.part_ns {
            Some(part_ns) => part_ns,
            None if few && 2 * self.writing_ns() > TURN_WORK_NS => 2 * self.writing_ns(),
            None => TURN_WORK_NS,
        }
    }

    fn writing_ns(&self) -> u64 {
        self.deliveries.receivers() as u64 * RECEIVER_WORK_NS
    }

    /// The work of this turn so far, in nanoseconds as it is reckoned, but for what it takes to
    /// write to each receiver: that is the same however much is written.
    pub(super) const fn work_ns(&self) -> u64 {
        self.handled_ns + self.deliveries.work_ns() + (self.spent_bytes / 2) as u64
    }

    /// Takes note of work, in nanoseconds as it is reckoned.
    pub(super) const fn worked(&mut self, work_ns: u64) {
        self.handled_ns += work_ns;
    }

    /// Counts what is held of a connection that has not logged in. Whether it is more than there
    /// is room for.
    pub(super) fn holds_too_much_early(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.find(id) else {
            return false;
        };
        let held = connection.framer.as_ref().map_or(0, |framer| framer.len());
        let more = if connection.secret { held.saturating_sub(EARLY_BYTES_MAX) } else { 0 };
        let before = std::mem::replace(&mut connection.early_more_bytes, more);
        self.early_more_bytes = self.early_more_bytes - before + more;
        more > 0 && self.early_more_bytes > EARLY_MORE_BYTES_MAX
    }

    /// Bytes that are held of those who have not logged in beyond what each of them may have.
    pub(super) const fn early_more_bytes(&self) -> usize {
        self.early_more_bytes
    }

    /// Takes note of bytes that have come and complete no stanza: many connections that send long
    /// ones piece by piece would otherwise seem to have caused nothing.
    pub(super) const fn took_in(&mut self, bytes: usize) {
        self.handled_ns += bytes as u64 * STANZA_BYTE_WORK_NS;
    }

    /// Not all of what is queued was written in this turn: the next one has its own work, of which
    /// there is less while the rest is being written.
    pub(super) const fn begin_part(&mut self, writing: bool) {
        self.earlier_ns = self.work_ns();
        self.part_ns = Some(if writing { WRITING_WORK_NS } else { TURN_WORK_NS });
    }

    /// Forgets the stanzas of this turn, and of those before it whose writing was not ended; they
    /// are written or copied out.
    pub(super) fn clear_deliveries(&mut self) {
        self.spent_bytes = 0;
        self.handled_ns = 0;
        (self.earlier_ns, self.part_ns) = (0, None);
        self.deliveries.clear();
    }

    fn log_close(&mut self, id: ConnId, reason: CloseReason) {
        self.metrics.close(reason);
        let nick = self.last_nick.take().filter(|(conn, _)| *conn == id).map(|(_, nick)| nick);
        let named = nick.as_deref().unwrap_or_default();
        if reason == CloseReason::Quit {
            self.tell_hook(Hook::ClientQuit, id, named, &[]);
        } else {
            self.tell_hook(Hook::ClientClose, id, named, &[("reason", &reason.to_string())]);
        }
        if nick.is_some() {
            self.tell_hook(Hook::RemoveClient, id, named, &[]);
        }
        let who = NamedPeer { id, address: self.address(id), nick: nick.as_deref() };
        let level = if reason.is_limit() { Warn } else { Info };
        self.log(level, who.address, format_args!("{who} closed: {reason}"));
    }

    /// Logs a line that a connection causes, as far as its address's budget goes.
    pub(super) fn log(&mut self, level: Level, address: Option<IpAddr>, line: Arguments<'_>) {
        if level > log::max_level() {
            return;
        }
        if self.log_budget.takes(level, address, self.now) {
            log::log!(level, "{line}");
        } else {
            self.metrics.log_lines_left_out += 1;
        }
    }

    /// Logs a line about a connection.
    pub(super) fn log_of(&mut self, level: Level, id: ConnId, line: Arguments<'_>) {
        let address = self.address(id);
        self.log(level, address, line);
    }

    /// Tells which lines were left out, when it is time or at the `end`.
    pub(super) fn log_left_out(&mut self, end: bool) {
        if let Some(text) = self.log_budget.report(self.now, end) {
            log::warn!("{text}");
        }
    }

    /// Whether a login of this connection is refused for one of the first times.
    fn is_first_refused_login(&mut self, id: ConnId) -> bool {
        self.find(id).is_some_and(|found| {
            found.refused_logins = found.refused_logins.saturating_add(1);
            found.refused_logins <= REFUSED_LOGINS_LOGGED
        })
    }

    /// Whether a connection goes over a limit for the first time: the log names it once, so
    /// that a client can't fill a disk by asking for too much over and over.
    fn is_first_limit(&mut self, id: ConnId) -> bool {
        self.find(id).is_some_and(|found| !std::mem::replace(&mut found.limit_told, true))
    }

    fn address(&self, id: ConnId) -> Option<IpAddr> {
        self.connections.get(id.slot as usize).map(|connection| connection.address)
    }

    /// A session has logged in: it may hold more of what it sends and of what it is sent.
    fn note_login(&mut self, conn: ConnId, nick: &str, root: bool) {
        if let Some(connection) = self.find(conn) {
            connection.secret = false;
            let stuffed = connection.stuffed;
            self.holds_too_much_early(conn);
            if stuffed {
                // More may wait for it now.
                self.mark_dirty(conn.slot as usize);
            }
        }
        self.metrics.logins += 1;
        let as_root = if root { " as root" } else { "" };
        let who = self.who(conn, nick);
        self.log(Info, who.address, format_args!("{who} logged in{as_root}"));
    }

    fn note_refused_login(&mut self, conn: ConnId, nick: &str, reason: &str, why: LoginRefusal) {
        self.metrics.refuse(match why {
            LoginRefusal::Undecided => RefusalReason::LoginUndecided,
            LoginRefusal::NoNick
            | LoginRefusal::BadNick
            | LoginRefusal::Unauthorised
            | LoginRefusal::Banned => RefusalReason::Login,
        });
        // A nick is as long as a stanza when it is refused for its length.
        let mut end = nick.len().min(REFUSED_NICK_BYTES_LOGGED);
        while !nick.is_char_boundary(end) {
            end -= 1;
        }
        let who = self.who(conn, &nick[..end]);
        let level = if self.is_first_refused_login(conn) { Info } else { Debug };
        self.log(level, who.address, format_args!("{who} not logged in: {reason}"));
    }

    fn note_refused(&mut self, conn: ConnId, nick: &str, error: &str, reason: RefusalReason) {
        self.metrics.refuse(reason);
        let who = self.who(conn, nick);
        if reason == RefusalReason::Limit && self.is_first_limit(conn) {
            self.log(Warn, who.address, format_args!("{who} refused: {error}"));
        } else {
            // The text may repeat what the client sent.
            let error = Escaped(error);
            self.log(Debug, who.address, format_args!("{who} refused: {error}"));
        }
    }

    fn who<'a>(&self, id: ConnId, nick: &'a str) -> NamedPeer<'a> {
        NamedPeer {
            id,
            address: self.address(id),
            nick: Some(nick).filter(|nick| !nick.is_empty()),
        }
    }
}

/// Whether a connection is refused because there are too many.
const fn is_one_too_many(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::TooManySessions | CloseReason::TooManyFromAddress)
}

/// When a reader that has been slow since then is closed.
pub(super) const fn slow_deadline(since: Time) -> Time {
    since.plus_secs(crate::limits::BACKLOG_SOFT_TIME_S)
}

/// A client as the log names it.
struct NamedPeer<'a> {
    id: ConnId,
    address: Option<IpAddr>,
    nick: Option<&'a str>,
}

impl std::fmt::Display for NamedPeer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "client {}", self.id)?;
        if let Some(nick) = self.nick {
            write!(f, " \"{}\"", Escaped(nick))?;
        }
        match self.address {
            Some(address) => write!(f, " from {address}"),
            None => Ok(()),
        }
    }
}

impl<S> Outlet for Desk<S> {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        self.deliveries.encode(write)
    }

    fn encode_for_room(&mut self, room: u32, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        self.deliveries.encode_for_room(room, write)
    }

    fn spent(&mut self, bytes: usize) {
        self.spent_bytes = self.spent_bytes.saturating_add(bytes);
    }

    fn push(&mut self, to: ConnId, message: Span) {
        self.metrics.deliveries += self.deliveries.push(to, message) as u64;
    }

    fn push_all(&mut self, to: Roster<'_>, except: Option<ConnId>, message: Span) {
        self.metrics.deliveries += self.deliveries.push_all(to, except, message) as u64;
    }

    fn push_some(&mut self, to: &[ConnId], message: Span) {
        self.metrics.deliveries += self.deliveries.push_some(to, message) as u64;
    }

    fn has_enough(&self) -> bool {
        Self::has_enough(self)
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.drain(conn, reason);
    }

    fn peer(&self, conn: ConnId) -> PeerFacts {
        let found = self.connections.get(conn.slot as usize).filter(|found| found.id == conn);
        found.map_or_else(PeerFacts::default, |connection| PeerFacts {
            transport: connection.speech.name(),
            idle_s: self.now.since(connection.share.worked_at()).as_secs(),
        })
    }

    fn ask(&mut self, question: Question<'_>) {
        self.ask_plugins(question);
    }

    fn ask_permission(&mut self, question: PermissionQuestion<'_>) {
        self.ask_plugins_to_permit(&question);
    }

    fn cancel(&mut self, question: QuestionId) {
        self.plugins.cancel(question);
    }

    fn go_on(&mut self, conn: ConnId) {
        self.called.push(conn);
    }

    fn registered(&mut self, conn: ConnId, nick: &str, name: &str, element: &str) {
        let session = self.as_plugins_know(conn, nick);
        self.plugins.tell_registered(name, |buffer| plugin::stanza(buffer, session, element));
    }

    fn note(&mut self, note: Note<'_>) {
        if self.plugins.len() > 0 {
            self.tell_plugins(&note);
        }
        match note {
            Note::LoggedIn { conn, nick, root } => self.note_login(conn, nick, root),
            Note::LoginRefused { conn, nick, reason, why } => {
                self.note_refused_login(conn, nick, reason, why);
            }
            Note::RootRefused { conn, nick } => {
                let who = self.who(conn, nick);
                self.log(Warn, who.address, format_args!("{who} gave a wrong root password"));
            }
            Note::Refused { conn, nick, error, reason } => {
                self.note_refused(conn, nick, error, reason);
            }
            Note::RoomCreated { room, conn } => {
                let (who, room) = (self.who(conn, ""), Escaped(room));
                self.log(Debug, who.address, format_args!("{who} created room \"{room}\""));
            }
            Note::RoomRemoved { room } => {
                self.log(Debug, None, format_args!("room \"{}\" removed", Escaped(room)));
            }
            Note::ListTooLarge { room } => {
                let room = Escaped(room);
                let line = format_args!("the list for room \"{room}\" is over limits.listbytes");
                self.log(Debug, None, line);
            }
            Note::Kicked { by, conn, nick } => {
                let who = self.who(conn, nick);
                let line = match by {
                    Some(by) => format!("{who} kicked by root, {}", self.who(by, "")),
                    None => format!("{who} kicked by a plugin"),
                };
                self.log(Warn, who.address, format_args!("{line}"));
            }
            Note::RemovedFromRoom { .. }
            | Note::Banned { .. }
            | Note::Unbanned { .. }
            | Note::Muted { .. }
            | Note::Unmuted { .. }
            | Note::Invited { .. }
            | Note::RoleGiven { .. }
            | Note::ModesSet { .. } => self.log_order(note),
            Note::InfoTold { by, room } => {
                let (who, room) = (self.who(by, ""), Escaped(room));
                self.log(
                    Info,
                    who.address,
                    format_args!("root, {who}, asked about room \"{room}\""),
                );
            }
            Note::Broadcast { by } => {
                let who = self.who(by, "");
                self.log(Info, who.address, format_args!("root, {who}, sent a broadcast"));
            }
            Note::ShutdownAsked { by } => {
                log::warn!("root, {}, asked for the shutdown", self.who(by, ""));
                self.shutdown_asked = true;
            }
            Note::LoggedOut { conn, nick } => self.last_nick = Some((conn, nick.into())),
            // For plugins alone.
            Note::Joined { .. } | Note::Left { .. } | Note::Message { .. } => {}
        }
    }
}
