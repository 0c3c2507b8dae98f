//! Which sessions have to wait before more of what they send is done: those that have sent or
//! asked for more than their rate, and those that talk to clients that don't keep up with reading.
//!
//! Nothing is lost by it. The shell offers the stanza again at the time that it is told, and reads
//! no more of its sender until then.

use super::Hub;
use super::input::Progress;
use super::later::What;
use super::outlet::Outlet;
use super::room::RoomKey;
use super::session::{HeldBack, ReaderState, Session};
use super::time::Time;
use crate::limits::{CROWD, HELD_BACK_LOOK_MS, HELD_BACK_TIME_S};
use crate::session_id::ConnId;

/// How soon it is looked again whether a client's rooms have been told everything.
const UNTOLD_LOOK_NS: u64 = 1_000_000;

impl Hub {
    /// Until when nothing more of a session is done, if it has to wait at all; a client that begins
    /// to send more bytes than it may is told so.
    #[cold]
    pub(super) fn held_back_until(&mut self, conn: ConnId, out: &mut impl Outlet) -> Option<Time> {
        let session = self.sessions.find(conn)?;
        if session.has_untold() {
            let soon = Time(self.now.0.saturating_add(UNTOLD_LOOK_NS));
            return Some(self.check_bytes(conn).err().unwrap_or(soon));
        }
        if let Some(held) = session.held_back()
            && !self.has_waited(held)
            && self.is_crowded(session, held.room, held.serial)
        {
            return Some(self.next_look());
        }
        if let Some(rate) = self.list_rate
            && let Err(time) = session.asked.check_bytes(rate, self.now)
        {
            return Some(time);
        }
        let time = self.check_bytes(conn).err()?;
        let now = self.now;
        if self.sessions.find_mut(conn).is_some_and(|session| session.begins_byte_excess(now)) {
            let rate = self.settings.limits.byte_rate_per_s;
            self.refuse_for_limit(conn, &format!("Too many bytes (limit {rate} per second)"), out);
        }
        Some(time)
    }

    /// Whether a session may send; when it may not, tells when.
    pub(super) fn check_bytes(&self, conn: ConnId) -> Result<(), Time> {
        match (self.byte_rate, self.sessions.find(conn)) {
            (Some(rate), Some(session)) => session.bytes.check_bytes(rate, self.now),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// Takes note of bytes that a session has had others told, beyond those that it has sent.
    pub(super) fn charge_bytes(&mut self, conn: ConnId, bytes: usize) {
        if let Some(session) = self.sessions.find_mut(conn) {
            session.charge_bytes(self.byte_rate, bytes, self.now);
        }
    }

    /// Takes note of stanzas that one stanza counts for besides itself.
    pub(super) fn charge_stanzas(&mut self, conn: ConnId, count: u64) {
        if let Some(session) = self.sessions.find_mut(conn) {
            session.owe_stanzas(self.stanza_rate, count, self.now);
        }
    }

    /// Takes note of bytes of lists that a session has asked for.
    pub(super) fn charge_asked(&mut self, conn: ConnId, bytes: usize) {
        if let (Some(rate), Some(session)) = (self.list_rate, self.sessions.find_mut(conn)) {
            session.asked.take_bytes(rate, bytes, self.now);
        }
    }

    // Sessions that don't keep up with reading.

    /// A session's reader does not keep up, or does again.
    pub(super) fn set_behind(&mut self, conn: ConnId, behind: bool) {
        let Some(session) = self.sessions.find_mut(conn) else {
            return;
        };
        let flow = session.flow_mut();
        match (behind, flow.reader) {
            (true, ReaderState::KeepsUp) => {
                if !std::mem::replace(&mut flow.reader_watched, true) {
                    let at = self.now.plus_secs(HELD_BACK_TIME_S);
                    self.later.add(at, What::Reader { conn });
                }
                self.set_reader(conn, ReaderState::Behind(self.now));
            }
            (true, ReaderState::Behind(_) | ReaderState::GivenUp) => {}
            (false, _) => self.set_reader(conn, ReaderState::KeepsUp),
        }
    }

    /// Gives up a reader for which those who talk have waited for long enough; otherwise looks
    /// again when they would have.
    pub(super) fn look_at_reader(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.find_mut(conn) else {
            return;
        };
        let flow = session.flow_mut();
        flow.reader_watched = false;
        if let ReaderState::Behind(since) = flow.reader {
            let at = since.plus_secs(HELD_BACK_TIME_S);
            if at <= self.now {
                self.set_reader(conn, ReaderState::GivenUp);
            } else {
                flow.reader_watched = true;
                self.later.add(at, What::Reader { conn });
            }
        }
    }

    fn set_reader(&mut self, conn: ConnId, reader: ReaderState) {
        let Some(session) = self.sessions.find_mut(conn) else {
            return;
        };
        let before = session.is_waited_for();
        session.flow_mut().reader = reader;
        let after = session.is_waited_for();
        if before == after {
            return;
        }
        self.readers_behind = if after { self.readers_behind + 1 } else { self.readers_behind - 1 };
        for &key in &session.rooms {
            if let Some(room) = self.rooms.room_mut(key) {
                room.behind = if after { room.behind + 1 } else { room.behind - 1 };
            }
        }
    }

    /// [`Hub::hold_back`] for a stanza to the room of this name, if the session is in it.
    pub(super) fn waits_to_talk(&mut self, conn: ConnId, room_name: &[u8]) -> bool {
        if self.nobody_waits() {
            return false;
        }
        let session = self.sessions.find(conn);
        let key = session.and_then(|session| self.room_of(session, room_name));
        key.is_some_and(|key| self.hold_back(conn, &[key]))
    }

    /// [`Hub::hold_back`] for a stanza that all rooms of a session hear of.
    pub(super) fn waits_to_tell_rooms(&mut self, conn: ConnId) -> bool {
        if self.nobody_waits() {
            return false;
        }
        let rooms = self.sessions.find(conn).map(|session| session.rooms.clone());
        self.hold_back(conn, &rooms.unwrap_or_default())
    }

    /// As a rule all sessions keep up, no room has been told too much, and no crowd is written to.
    const fn nobody_waits(&self) -> bool {
        self.readers_behind == 0 && !self.some_room_is_full && !self.crowds_wait
    }

    /// Takes note of bytes that the members of a room are told, once for all of them.
    pub(super) fn said_in(&mut self, key: RoomKey, bytes: usize) {
        let (full_bytes, _) = self.settings.limits.behind_bytes();
        if let Some(room) = self.rooms.room_mut(key) {
            if std::mem::replace(&mut room.turn, self.turn) != self.turn {
                room.turn_bytes = 0;
            }
            room.turn_bytes = room.turn_bytes.saturating_add(bytes);
            self.some_room_is_full |= room.turn_bytes > full_bytes;
        }
    }

    /// Whether a room has been told so much in this turn that more waits for the next one: only
    /// then is it known which members don't keep up.
    pub(super) fn is_full_this_turn(&self, key: RoomKey) -> bool {
        let (full_bytes, _) = self.settings.limits.behind_bytes();
        self.some_room_is_full
            && self
                .rooms
                .room(key)
                .is_some_and(|room| room.turn == self.turn && room.turn_bytes > full_bytes)
    }

    /// Holds the stanza at hand back for members of these rooms, if in one of them most don't keep
    /// up and the stanza has not waited for too long, if one has been told too much in this turn,
    /// or if one is a crowd while crowds are written to; then the stanza is to have done nothing.
    pub(super) fn hold_back(&mut self, conn: ConnId, rooms: &[RoomKey]) -> bool {
        if self.crowds_wait && rooms.iter().any(|&key| self.is_crowd(key)) {
            self.held = Some(Progress::CrowdWaits);
            return true;
        }
        if rooms.iter().any(|&key| self.is_full_this_turn(key)) {
            self.held = Some(Progress::Later(self.now));
            return true;
        }
        let Some(session) = self.sessions.find(conn) else {
            return false;
        };
        let mut rooms = rooms.iter().filter_map(|&key| Some((key, self.rooms.room(key)?.serial)));
        let Some((room, serial)) =
            rooms.find(|&(room, serial)| self.is_crowded(session, room, serial))
        else {
            return false;
        };
        // It may have waited for another room already.
        let since = session.held_back().map_or(self.now, |held| held.since);
        let held = HeldBack { room, serial, since };
        if self.has_waited(held) {
            return false;
        }
        if let Some(session) = self.sessions.find_mut(conn) {
            session.flow_mut().held_back = Some(held);
        }
        self.held = Some(Progress::Later(self.next_look()));
        true
    }

    fn is_crowd(&self, key: RoomKey) -> bool {
        self.rooms.room(key).is_some_and(|room| room.members.len() > CROWD)
    }

    /// Whether most of those who would receive what a session says in a room don't keep up.
    fn is_crowded(&self, session: &Session, key: RoomKey, serial: u64) -> bool {
        let Some(room) = self.rooms.room(key).filter(|room| room.serial == serial) else {
            return false;
        };
        let inside = usize::from(session.rooms.contains(&key));
        let others = room.members.len() - inside;
        let behind = room.behind - usize::from(session.is_waited_for()) * inside;
        2 * behind > others
    }

    fn has_waited(&self, held: HeldBack) -> bool {
        held.since.plus_secs(HELD_BACK_TIME_S) <= self.now
    }

    fn next_look(&self) -> Time {
        Time(self.now.0.saturating_add(HELD_BACK_LOOK_MS * 1_000_000))
    }
}
