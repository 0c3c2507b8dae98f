//! Lists that the changes of one turn share (PROTOCOL.md section 12).
//!
//! A join or a leave makes the room's client list and the parent's list of child rooms due.
//! They are sent at the end of the turn, or earlier where somebody could see the difference:
//! before anything further is done for a session that caused one or that would receive one.

use super::room::RoomKey;
use super::types::{ConnId, Note, Outlet};
use super::{Hub, session::Session};
use crate::wire::write;

/// The lists that are due, in the order in which they became so.
#[derive(Debug)]
pub(super) struct Pending {
    due: Vec<Due>,
    /// Counts the times the lists were sent; a session that caused one carries the number.
    round: u64,
}

#[derive(Debug)]
struct Due {
    room: RoomKey,
    /// A key may be given to another room before the list is sent.
    serial: u64,
    list: List,
}

#[derive(Debug)]
enum List {
    /// The client list, and who has joined since it became due.
    Clients(Vec<ConnId>),
    ChildRooms,
}

impl Pending {
    pub(super) const fn new() -> Self {
        Self { due: Vec::new(), round: 1 }
    }

    /// Forgets what is due.
    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.round += 1;
    }
}

impl Hub {
    /// Makes a room's client list due: somebody joined it or left it.
    pub(super) fn clients_due(&mut self, key: RoomKey, joined: bool, by: ConnId) {
        let Some(room) = self.rooms.room_mut(key) else {
            return;
        };
        let pending = &mut self.pending;
        let index = *room.roster_due.get_or_insert_with(|| {
            let list = List::Clients(Vec::new());
            pending.due.push(Due { room: key, serial: room.serial, list });
            pending.due.len() - 1
        });
        if joined && let Some(Due { list: List::Clients(joiners), .. }) = pending.due.get_mut(index)
        {
            joiners.push(by);
        }
        self.note_cause(by);
    }

    /// Makes a room's list of child rooms due: one of them changed.
    pub(super) fn child_rooms_due(&mut self, key: RoomKey, by: ConnId) {
        let Some(room) = self.rooms.room_mut(key) else {
            return;
        };
        if !room.children_due {
            room.children_due = true;
            self.pending.due.push(Due { room: key, serial: room.serial, list: List::ChildRooms });
        }
        self.note_cause(by);
    }

    fn note_cause(&mut self, by: ConnId) {
        if let Some(session) = self.sessions.find_mut(by) {
            session.caused_round = self.pending.round;
        }
    }

    /// Sends what is due if this session could see that it comes late.
    pub(super) fn send_due_before(&mut self, conn: ConnId, out: &mut impl Outlet) {
        if self.pending.due.is_empty() {
            return;
        }
        let Some(session) = self.sessions.find(conn) else {
            return;
        };
        if session.caused_round == self.pending.round || self.receives_due(session) {
            self.send_due(out);
        }
    }

    /// Sends what is due if this session is among those who receive it.
    pub(super) fn send_due_to(&mut self, conn: ConnId, out: &mut impl Outlet) {
        if self.sessions.find(conn).is_some_and(|session| self.receives_due(session)) {
            self.send_due(out);
        }
    }

    fn receives_due(&self, session: &Session) -> bool {
        session
            .rooms
            .iter()
            .filter_map(|&key| self.rooms.room(key))
            .any(|room| room.roster_due.is_some() || room.children_due)
    }

    /// Sends every list that is due.
    pub(super) fn send_due(&mut self, out: &mut impl Outlet) {
        if self.pending.due.is_empty() {
            return;
        }
        self.pending.round += 1;
        let mut due = std::mem::take(&mut self.pending.due);
        for Due { room: key, serial, list } in due.drain(..) {
            let Some(room) = self.rooms.room_mut(key).filter(|room| room.serial == serial) else {
                continue;
            };
            match list {
                List::Clients(joiners) => {
                    room.roster_due = None;
                    self.send_clients(key, &joiners, out);
                }
                List::ChildRooms => {
                    room.children_due = false;
                    self.send_child_rooms(key, out);
                }
            }
        }
        // The emptied vector goes back, so that a quiet room costs no allocation a turn.
        self.pending.due = due;
    }

    /// Sends a room's client list to its members, or in a large room to those who joined.
    fn send_clients(&self, key: RoomKey, joiners: &[ConnId], out: &mut impl Outlet) {
        let Some(room) = self.rooms.room(key) else {
            return;
        };
        let receivers = if room.members.len() > self.settings.full_roster_members {
            joiners
        } else {
            &room.members[..]
        };
        let inside = |conn: &&ConnId| {
            self.sessions.find(**conn).is_some_and(|session| session.rooms.contains(&key))
        };
        if !receivers.iter().any(|conn| inside(&conn)) {
            return;
        }
        let max = self.settings.limits.backlog_bytes_max;
        let mut whole = true;
        let message = out.encode(|buffer| {
            whole = bounded(buffer, max, |buffer, fits| {
                write::roster_begin(buffer, &room.name, room.members.len());
                for session in room.members.iter().filter_map(|&conn| self.sessions.find(conn)) {
                    write::roster_client(buffer, &session.nick, session.params.iter());
                    if !fits(buffer) {
                        return;
                    }
                }
                write::roster_end(buffer);
            });
        });
        for conn in receivers.iter().filter(inside) {
            out.push(*conn, message);
        }
        if !whole {
            out.note(Note::ListTooLarge { room: &room.name });
        }
    }

    /// Sends a room's list of child rooms to its members.
    pub(super) fn send_child_rooms(&self, key: RoomKey, out: &mut impl Outlet) {
        let Some(room) = self.rooms.room(key).filter(|room| !room.members.is_empty()) else {
            return;
        };
        let mut whole = true;
        let message = out.encode(|buffer| whole = self.write_child_rooms(buffer, key));
        for &member in &room.members {
            out.push(member, message);
        }
        if !whole {
            out.note(Note::ListTooLarge { room: &room.name });
        }
    }

    /// A room's list of child rooms; whether it was short enough.
    pub(super) fn write_child_rooms(&self, buffer: &mut Vec<u8>, key: RoomKey) -> bool {
        let Some(room) = self.rooms.room(key) else {
            return true;
        };
        bounded(buffer, self.settings.limits.backlog_bytes_max, |buffer, fits| {
            write::child_rooms_begin(buffer, &room.name);
            for child in room.children.iter().filter_map(|&key| self.rooms.room(key)) {
                write::room(buffer, self.rooms.head(child), child.params.iter());
                if !fits(buffer) {
                    return;
                }
            }
            write::child_rooms_end(buffer);
        })
    }

    /// Sends one session an answer of its own that may be too long to be sent.
    pub(super) fn answer_bounded(
        &self,
        conn: ConnId,
        out: &mut impl Outlet,
        write: impl FnOnce(&mut Vec<u8>, &dyn Fn(&Vec<u8>) -> bool),
    ) {
        let max = self.settings.limits.backlog_bytes_max;
        let mut whole = true;
        self.answer(conn, out, |buffer| whole = bounded(buffer, max, write));
        if !whole {
            let nick = self.sessions.find(conn).map_or("", |session| &session.nick);
            out.note(Note::Refused { conn, nick, error: &too_large(max), limit: true });
        }
    }
}

/// Writes an answer that may become long; one that would by itself fill its reader's backlog
/// is replaced by an error, and `false` is returned. `write` stops when the check it is given says that it must.
fn bounded(
    buffer: &mut Vec<u8>,
    max: usize,
    write: impl FnOnce(&mut Vec<u8>, &dyn Fn(&Vec<u8>) -> bool),
) -> bool {
    let start = buffer.len();
    write(buffer, &|buffer| buffer.len() - start < max);
    // The NUL counts as well.
    let fits = buffer.len() - start < max;
    if !fits {
        buffer.truncate(start);
        write::error(buffer, &too_large(max));
    }
    fits
}

/// What stands in for an answer that is too large.
fn too_large(max: usize) -> String {
    format!("Answer too large (limit {max} bytes)")
}
