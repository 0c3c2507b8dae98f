//! Lists that may become long, and what is done about it: one that is longer than
//! `limits.listbytes` is written without its params, and if that is not enough an error stands
//! in for it. Nobody's params take a list from everybody.

use super::Hub;
use super::reason::RefusalReason;
use super::room::RoomKey;
use super::slow::ListKind;
use super::types::{ConnId, Note, Outlet, Span};
use crate::wire::write;

/// Says whether what a buffer holds may still become longer.
pub(super) type Fits<'a> = &'a dyn Fn(&Vec<u8>) -> bool;

/// Writes a list into a buffer, with or without params, and stops when the check it is given
/// says that it has become too long.
trait Writer: Fn(&mut Vec<u8>, bool, Fits<'_>) {}

impl<F: Fn(&mut Vec<u8>, bool, Fits<'_>)> Writer for F {}

/// What has become of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The forms of it that were too long: with its params, and without them.
    forms_cut: usize,
    /// Bytes that were written in vain.
    discarded_bytes: usize,
}

/// The forms that a list has: with params and without.
const FORMS: usize = 2;

/// A list that has been written, and how it is charged for.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) message: Span,
    /// Bytes that were in vain, as they are charged for: `limits.listbytes` for each form that was
    /// too long, because so much of it was written.
    pub(super) vain_bytes: usize,
}

impl List {
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
        let for_joiners = is_large || self.has_to_wait(key, ListKind::Clients);
        let inside: Vec<ConnId> =
            joiners.iter().filter(|&&conn| self.is_in(conn, key)).copied().collect();
        if for_joiners && inside.is_empty() {
            return;
        }
        let list = self.encode_list(key, ListKind::Clients, out);
        if for_joiners || !self.send_at_once(key, ListKind::Clients, list, out) {
            out.push_some(&inside, list.message);
        }
        for conn in inside {
            self.charge_asked(conn, list.bytes() + list.vain_bytes);
        }
    }

    /// Sends a room's list of child rooms to its members; what costs much later.
    pub(super) fn send_child_rooms(&mut self, key: RoomKey, out: &mut impl Outlet) {
        let is_empty = self.rooms.room(key).is_none_or(|room| room.members.is_empty());
        if !is_empty && !self.has_to_wait(key, ListKind::ChildRooms) {
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
    ) -> List {
        let mut written = Written::default();
        let message = out.encode_for_room(key, |buffer| {
            written = match kind {
                ListKind::Clients => self.write_clients(buffer, key),
                ListKind::ChildRooms => self.write_child_rooms(buffer, key),
            };
            self.stand_in(buffer, written, None);
        });
        self.note_cut(key, written, out);
        List { message, vain_bytes: self.vain_bytes(written) }
    }

    /// Sends one session a room's list of child rooms.
    pub(super) fn tell_child_rooms(&mut self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        let mut written = Written::default();
        let bytes = self.answer(conn, out, |buffer| {
            written = self.write_child_rooms(buffer, key);
            self.stand_in(buffer, written, Some(conn));
        });
        self.note_cut(key, written, out);
        self.charge_asked(conn, bytes + self.vain_bytes(written));
    }

    const fn vain_bytes(&self, written: Written) -> usize {
        self.settings.limits.list_bytes_max.saturating_mul(written.forms_cut)
    }

    /// Tells of a list that was not sent as it is.
    fn note_cut(&mut self, key: RoomKey, written: Written, out: &mut impl Outlet) {
        out.spent(written.discarded_bytes);
        if let Some(room) = self.rooms.room_mut(key) {
            room.cut = written.forms_cut > 0;
            if room.cut {
                out.note(Note::ListTooLarge { room: &room.name });
            }
        }
    }

    fn write_clients(&self, buffer: &mut Vec<u8>, key: RoomKey) -> Written {
        let Some(room) = self.rooms.room(key) else {
            return Written::default();
        };
        let clients = || room.members.iter().filter_map(|&conn| self.sessions.find(conn));
        let names = clients().map(|session| &*session.nick);
        let least = if room.cut { self.bytes_least(names) } else { 0 };
        self.bounded(buffer, least, |buffer, with_params, fits| {
            write::roster_begin(buffer, &room.name, room.members.len());
            for session in clients() {
                write::roster_client(buffer, &session.nick, session.params().iter_if(with_params));
                if !fits(buffer) {
                    return;
                }
            }
            write::roster_end(buffer);
        })
    }

    fn write_child_rooms(&self, buffer: &mut Vec<u8>, key: RoomKey) -> Written {
        let Some(room) = self.rooms.room(key) else {
            return Written::default();
        };
        let children = || room.children.iter().filter_map(|&key| self.rooms.room(key));
        let names = children().map(|child| &*child.name);
        let least = if room.cut { self.bytes_least(names) } else { 0 };
        self.bounded(buffer, least, |buffer, with_params, fits| {
            write::child_rooms_begin(buffer, &room.name);
            for child in children() {
                write::room(buffer, self.rooms.head(child), child.params.iter_if(with_params));
                if !fits(buffer) {
                    return;
                }
            }
            write::child_rooms_end(buffer);
        })
    }

    /// What these names have in a list at least, in bytes; they are counted until it is clear that
    /// it has too many.
    fn bytes_least<'a>(&self, names: impl Iterator<Item = &'a str>) -> usize {
        let max = self.settings.limits.list_bytes_max;
        let mut bytes = 0;
        for name in names {
            bytes += write::attribute_value_bytes(name) + write::LISTED_BYTES_LEAST;
            if bytes >= max {
                break;
            }
        }
        bytes
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
        let mut written = Written::default();
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

    /// Writes a list of so many bytes at least, or nothing where it is too long.
    fn bounded(&self, buffer: &mut Vec<u8>, least: usize, write: impl Writer) -> Written {
        let max = self.settings.limits.list_bytes_max;
        let start = buffer.len();
        // The NUL counts as well.
        let fits = |buffer: &Vec<u8>| buffer.len() - start < max;
        let mut written = Written::default();
        for with_params in [true, false] {
            if least < max {
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
    fn stand_in(&self, buffer: &mut Vec<u8>, written: Written, conn: Option<ConnId>) {
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
