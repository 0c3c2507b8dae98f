//! Lists that may become long, and what is done about it: one that is longer than
//! `limits.listbytes` is written without its params, and if that is not enough an error stands
//! in for it: one client's large params must not cost the others the list.

use super::Hub;
use super::note::Note;
use super::outlet::{Outlet, Span};
use super::room::{Params, Room, RoomKey};
use super::seen::Viewer;
use super::slow_lists::ListKind;
use crate::reason::RefusalReason;
use crate::session_id::ConnId;
use crate::wire::write;

/// Says whether what a buffer holds may still become longer.
pub(super) type Fits<'a> = &'a dyn Fn(&Vec<u8>) -> bool;

/// Writes a list into a buffer, with or without params, and stops when the check it is given
/// says that it has become too long.
trait Writer: Fn(&mut Vec<u8>, bool, Fits<'_>) {}

impl<F: Fn(&mut Vec<u8>, bool, Fits<'_>)> Writer for F {}

/// What has become of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WrittenList {
    /// The forms of it that were too long: with its params, and without them.
    forms_cut: usize,
    /// Bytes that were written in vain.
    discarded_bytes: usize,
}

/// The forms that a list has: with params and without.
const FORMS: usize = 2;

/// A list that has been written, and how it is charged for.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncodedList {
    pub(super) message: Span,
    /// Bytes that were in vain, as they are charged for: `limits.listbytes` for each form that was
    /// too long, because so much of it was written.
    pub(super) vain_bytes: usize,
}

impl EncodedList {
    pub(super) const fn bytes(self) -> usize {
        self.message.bytes()
    }
}

impl Hub {
    /// Sends a room's client list to its members, or in a large room to those who joined. What
    /// costs much goes to the others later.
    pub(super) fn send_clients(&mut self, key: RoomKey, joiners: &[ConnId], out: &mut impl Outlet) {
        let Some(room) = self.rooms.room(key).filter(|room| !room.members.is_empty()) else {
            return;
        };
        let is_large = room.members.len() > self.settings.full_roster_members;
        let for_joiners = is_large || self.has_to_wait(key, ListKind::Clients, out);
        let inside: Vec<ConnId> =
            joiners.iter().filter(|&&conn| self.is_in(conn, key)).copied().collect();
        if for_joiners && inside.is_empty() {
            return;
        }
        let list = self.encode_list(key, ListKind::Clients, out);
        if for_joiners || !self.send_at_once(key, ListKind::Clients, list, out) {
            out.push_some(&inside, list.message);
        }
        self.tell_roles(key, &inside, out);
        for conn in inside {
            self.charge_asked(conn, list.bytes() + list.vain_bytes);
        }
    }

    /// Sends a room's list of child rooms to its members; what costs much later.
    pub(super) fn send_child_rooms(&mut self, key: RoomKey, out: &mut impl Outlet) {
        let is_empty = self.rooms.room(key).is_none_or(|room| room.members.is_empty());
        if !is_empty && !self.has_to_wait(key, ListKind::ChildRooms, out) {
            let list = self.encode_list(key, ListKind::ChildRooms, out);
            self.send_at_once(key, ListKind::ChildRooms, list, out);
        }
    }

    /// Encodes a list for a room's members.
    pub(super) fn encode_list(
        &mut self,
        key: RoomKey,
        kind: ListKind,
        out: &mut impl Outlet,
    ) -> EncodedList {
        let mut written = WrittenList::default();
        let message = out.encode_for_room(key, |buffer| {
            let start = buffer.len();
            written = match kind {
                ListKind::Clients => self.write_clients(buffer, key),
                ListKind::ChildRooms => self.write_child_rooms(buffer, key, Viewer::Anybody),
            };
            let (bytes, counted) =
                (buffer.len() - start + 1, || self.list_bytes(key, kind, Viewer::Anybody));
            debug_assert!(written.forms_cut == FORMS || bytes == counted(), "{bytes} in a list");
            self.stand_in(buffer, written, None);
        });
        self.note_cut(key, kind, written, out);
        EncodedList { message, vain_bytes: self.vain_bytes(written) }
    }

    /// Sends one session a room's list of child rooms.
    pub(super) fn tell_child_rooms(&mut self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        let bytes = self.push_child_rooms(conn, key, out);
        self.charge_asked(conn, bytes);
    }

    /// The same for a session that has not asked for it; gives how many bytes it is charged for.
    pub(super) fn push_child_rooms(
        &mut self,
        conn: ConnId,
        key: RoomKey,
        out: &mut impl Outlet,
    ) -> usize {
        let mut written = WrittenList::default();
        let bytes = self.answer(conn, out, |buffer| {
            written = self.write_child_rooms(buffer, key, Viewer::One(conn));
            self.stand_in(buffer, written, Some(conn));
        });
        self.note_cut(key, ListKind::ChildRooms, written, out);
        bytes + self.vain_bytes(written)
    }

    const fn vain_bytes(&self, written: WrittenList) -> usize {
        self.settings.limits.list_bytes_max.saturating_mul(written.forms_cut)
    }

    /// Tells of a list that was not sent as it is.
    fn note_cut(
        &mut self,
        key: RoomKey,
        kind: ListKind,
        written: WrittenList,
        out: &mut impl Outlet,
    ) {
        out.spent(written.discarded_bytes);
        if let Some(room) = self.rooms.room_mut(key) {
            let cut = written.forms_cut > 0;
            room.cut[kind as usize] = cut;
            if cut {
                out.note(Note::ListTooLarge { room: &room.name });
            }
        }
    }

    fn write_clients(&self, buffer: &mut Vec<u8>, key: RoomKey) -> WrittenList {
        let Some(room) = self.rooms.room(key) else {
            return WrittenList::default();
        };
        let clients = || room.members.iter().filter_map(|&conn| self.sessions.find(conn));
        self.bounded(
            buffer,
            self.forms(room, key, ListKind::Clients),
            |buffer, with_params, fits| {
                write::roster_begin(buffer, &room.name, room.members.len());
                for session in clients() {
                    write::roster_client(
                        buffer,
                        &session.nick,
                        session.params().iter_if(with_params),
                    );
                    if !fits(buffer) {
                        return;
                    }
                }
                write::roster_end(buffer);
            },
        )
    }

    fn write_child_rooms(&self, buffer: &mut Vec<u8>, key: RoomKey, viewer: Viewer) -> WrittenList {
        let Some(room) = self.rooms.room(key) else {
            return WrittenList::default();
        };
        let children = || self.listed_children(room, viewer);
        self.bounded(
            buffer,
            self.forms(room, key, ListKind::ChildRooms),
            |buffer, with_params, fits| {
                write::child_rooms_begin(buffer, &room.name);
                for child in children() {
                    write::room(buffer, self.rooms.head(child), child.params.iter_if(with_params));
                    if !fits(buffer) {
                        return;
                    }
                }
                write::child_rooms_end(buffer);
            },
        )
    }

    /// What each form of a room's list has at least, in bytes: it is counted where one was too long
    /// the last time.
    fn forms(&self, room: &Room, key: RoomKey, kind: ListKind) -> [usize; FORMS] {
        if room.cut[kind as usize] {
            [true, false].map(|params| self.form_bytes(key, kind, Viewer::Anybody, params))
        } else {
            [0; FORMS]
        }
    }

    /// What a room's list has with its params or without them, in bytes, its NUL included. They are
    /// counted until it is clear that there are too many.
    fn form_bytes(&self, key: RoomKey, kind: ListKind, viewer: Viewer, with_params: bool) -> usize {
        let Some(room) = self.rooms.room(key) else {
            return 0;
        };
        let params_bytes = |params: &Params, more| {
            if with_params { params.listed_bytes(more) } else { 0 }
        };
        let max = self.settings.limits.list_bytes_max;
        match kind {
            ListKind::Clients => {
                let clients = room.members.iter().filter_map(|&conn| self.sessions.find(conn));
                let entries = clients.map(|session| {
                    let params = params_bytes(session.params(), write::ROSTER_PARAM_BYTES);
                    write::roster_client_bytes(&session.nick, params)
                });
                sum_up_to(max, write::roster_bytes(&room.name, room.members.len()) + 1, entries)
            }
            ListKind::ChildRooms => {
                let children = self.listed_children(room, viewer);
                let entries = children.map(|child| {
                    let params = params_bytes(&child.params, write::ROOM_PARAM_BYTES);
                    write::room_bytes(self.rooms.head(child), params)
                });
                sum_up_to(max, write::child_rooms_bytes(&room.name) + 1, entries)
            }
        }
    }

    /// What a room's list has in the form in which it is sent, in bytes: no more than a little
    /// where it is too long in every form.
    pub(super) fn list_bytes(&self, key: RoomKey, kind: ListKind, viewer: Viewer) -> usize {
        let max = self.settings.limits.list_bytes_max;
        let forms =
            [true, false].map(|with_params| self.form_bytes(key, kind, viewer, with_params));
        forms.into_iter().find(|&bytes| bytes <= max).unwrap_or_default()
    }

    /// What a room's list is going to cost the turn, in bytes, within a few of each entry.
    pub(super) fn about_list_bytes(&self, key: RoomKey, kind: ListKind) -> usize {
        /// About what an entry has without params, in bytes.
        const ENTRY_BYTES: usize = 32;
        let Some(room) = self.rooms.room(key) else {
            return 0;
        };
        let max = self.settings.limits.list_bytes_max;
        let bytes = match kind {
            ListKind::Clients => {
                let clients = room.members.iter().filter_map(|&conn| self.sessions.find(conn));
                sum_up_to(
                    max,
                    0,
                    clients.map(|client| ENTRY_BYTES + client.params().listed_bytes(0)),
                )
            }
            ListKind::ChildRooms => {
                let children = room.children.iter().filter_map(|&key| self.rooms.room(key));
                sum_up_to(max, 0, children.map(|child| ENTRY_BYTES + child.params.listed_bytes(0)))
            }
        };
        bytes.min(max)
    }

    /// Sends one session an answer of its own that may be too long to be sent and has so many bytes
    /// at least. Gives how many bytes it is charged for.
    pub(super) fn answer_bounded(
        &self,
        conn: ConnId,
        least: usize,
        out: &mut impl Outlet,
        write: impl Fn(&mut Vec<u8>, bool, Fits<'_>),
    ) -> usize {
        let mut written = WrittenList::default();
        let least = [least; FORMS];
        let bytes = self.answer(conn, out, |buffer| {
            written = self.bounded(buffer, least, write);
            self.stand_in(buffer, written, Some(conn));
        });
        out.spent(written.discarded_bytes);
        if written.forms_cut == FORMS {
            let nick = self.sessions.find(conn).map_or("", |session| &session.nick);
            let reason = RefusalReason::Limit;
            out.note(Note::Refused { conn, nick, error: &self.too_large(), reason });
        }
        bytes + self.vain_bytes(written)
    }

    /// Writes a list whose forms have so many bytes at least, or nothing where it is too long.
    fn bounded(
        &self,
        buffer: &mut Vec<u8>,
        least: [usize; FORMS],
        write: impl Writer,
    ) -> WrittenList {
        let max = self.settings.limits.list_bytes_max;
        let start = buffer.len();
        // The NUL counts as well.
        let fits = |buffer: &Vec<u8>| buffer.len() - start < max;
        let mut written = WrittenList::default();
        for (with_params, least) in [true, false].into_iter().zip(least) {
            if least <= max {
                write(buffer, with_params, &fits);
                if fits(buffer) {
                    return written;
                }
                written.discarded_bytes += buffer.len() - start;
                buffer.truncate(start);
            }
            written.forms_cut += 1;
        }
        written
    }

    /// Writes what stands in for a list that is too long, in an answer to one session or to all
    /// members of a room.
    fn stand_in(&self, buffer: &mut Vec<u8>, written: WrittenList, conn: Option<ConnId>) {
        if written.forms_cut < FORMS {
            return;
        }
        match conn {
            Some(conn) => {
                let code = RefusalReason::Limit.label();
                self.write_error(buffer, conn, code, &self.too_large());
            }
            None => write::error(buffer, &self.too_large()),
        }
    }

    /// What stands in for a list that is too large.
    fn too_large(&self) -> String {
        format!("Answer too large (limit {} bytes)", self.settings.limits.list_bytes_max)
    }
}

/// The sum of these, but for those behind the one that brings it over the maximum.
fn sum_up_to(max: usize, first: usize, entries: impl Iterator<Item = usize>) -> usize {
    let mut sum = first;
    for bytes in entries {
        if sum > max {
            break;
        }
        sum += bytes;
    }
    sum
}
