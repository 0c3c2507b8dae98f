//! Lists that the changes of one turn share (manual: protocol, 'What the server sends').
//!
//! A join or a leave makes the room's client list and the parent's list of child rooms due.
//! They are sent at the end of the turn, or earlier where a client could see the difference:
//! before anything further is done for a session that caused one or that would receive one.

use super::outlet::Outlet;
use super::room::RoomKey;
use super::slow_lists::ListKind;
use super::{Hub, session::Session};
use crate::session_id::ConnId;

/// The lists that are due, in the order in which they became so.
#[derive(Debug)]
pub(super) struct DueLists {
    due: Vec<DueList>,
    /// Counts the times the lists were sent; a session that caused one carries the number.
    round: u64,
}

#[derive(Debug)]
struct DueList {
    room: RoomKey,
    /// A key may be given to another room before the list is sent.
    serial: u64,
    list: DueContent,
}

#[derive(Debug)]
enum DueContent {
    /// The client list, and the sessions that have joined since it became due.
    Clients(Vec<ConnId>),
    ChildRooms,
}

impl DueLists {
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
    /// Makes a room's client list due: a session joined it or left it.
    pub(super) fn clients_due(
        &mut self,
        key: RoomKey,
        joined: bool,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        let full_roster_members = self.settings.full_roster_members;
        let Some(room) = self.rooms.room_mut(key) else {
            return;
        };
        let is_large = room.members.len() > full_roster_members;
        let index = match room.roster_due {
            Some(index) => index,
            None => {
                let index = self.due_lists.due.len();
                room.roster_due = Some(index);
                let list = DueContent::Clients(Vec::new());
                self.due_lists.due.push(DueList { room: key, serial: room.serial, list });
                // In a large room the others get no client list when a member leaves.
                if joined || !is_large {
                    out.spent(self.about_list_bytes(key, ListKind::Clients));
                }
                index
            }
        };
        if joined
            && let Some(DueList { list: DueContent::Clients(joiners), .. }) =
                self.due_lists.due.get_mut(index)
        {
            joiners.extend(by);
        }
        self.note_cause(by);
    }

    /// Makes a room's list of child rooms due: one of them changed.
    pub(super) fn child_rooms_due(
        &mut self,
        key: RoomKey,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        let Some(room) = self.rooms.room_mut(key) else {
            return;
        };
        if !room.children_due {
            room.children_due = true;
            self.due_lists.due.push(DueList {
                room: key,
                serial: room.serial,
                list: DueContent::ChildRooms,
            });
            out.spent(self.about_list_bytes(key, ListKind::ChildRooms));
        }
        self.note_cause(by);
    }

    fn note_cause(&mut self, by: Option<ConnId>) {
        if let Some(session) = by.and_then(|by| self.sessions.find_mut(by)) {
            session.caused_round = self.due_lists.round;
        }
    }

    /// Sends what is due if this session could see that it comes late.
    pub(super) fn send_due_before(&mut self, conn: ConnId, out: &mut impl Outlet) {
        if self.due_lists.due.is_empty() {
            return;
        }
        let Some(session) = self.sessions.find(conn) else {
            return;
        };
        if session.caused_round == self.due_lists.round || self.receives_due(session) {
            self.send_due(out);
        }
    }

    /// Sends what is due if this session is among its receivers.
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
        if self.due_lists.due.is_empty() {
            return;
        }
        self.due_lists.round += 1;
        let mut due = std::mem::take(&mut self.due_lists.due);
        for DueList { room: key, serial, list } in due.drain(..) {
            let Some(room) = self.rooms.room_mut(key).filter(|room| room.serial == serial) else {
                continue;
            };
            match list {
                DueContent::Clients(joiners) => {
                    room.roster_due = None;
                    self.send_clients(key, &joiners, out);
                }
                DueContent::ChildRooms => {
                    room.children_due = false;
                    self.send_child_rooms(key, out);
                }
            }
        }
        // The emptied vector goes back, so that a quiet room costs no allocation a turn.
        self.due_lists.due = due;
    }
}
