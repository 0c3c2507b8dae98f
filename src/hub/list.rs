//! Lists that may become long, and what is done about it: one that would by itself fill its
//! reader's backlog is written without its params, and if that is not enough an error stands
//! in for it. Nobody's params take a list from everybody.

use super::Hub;
use super::reason::RefusalReason;
use super::room::RoomKey;
use super::types::{ConnId, Note, Outlet};
use crate::wire::write;

/// About what a name and its markup come to in a list.
const ENTRY_BYTES: usize = 64;

/// Says whether what a buffer holds may still become longer.
pub(super) type Fits<'a> = &'a dyn Fn(&Vec<u8>) -> bool;

/// Writes a list into a buffer, with or without params, and stops when the check it is given
/// says that it has become too long.
trait Writer: Fn(&mut Vec<u8>, bool, Fits<'_>) {}

impl<F: Fn(&mut Vec<u8>, bool, Fits<'_>)> Writer for F {}

/// What has become of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Not even its names fit.
    too_large: bool,
    /// Bytes that were written in vain.
    discarded_bytes: usize,
}

impl Hub {
    /// About how many bytes a room's client list has.
    pub(super) fn client_list_bytes(&self, key: RoomKey) -> usize {
        let members = self.rooms.room(key).into_iter().flat_map(|room| &room.members);
        members
            .filter_map(|&conn| self.sessions.find(conn))
            .map(|session| ENTRY_BYTES + session.params().bytes())
            .sum()
    }

    /// About how many bytes a room's list of child rooms has.
    pub(super) fn child_list_bytes(&self, key: RoomKey) -> usize {
        let children = self.rooms.room(key).into_iter().flat_map(|room| &room.children);
        children
            .filter_map(|&key| self.rooms.room(key))
            .map(|child| ENTRY_BYTES + child.params.bytes())
            .sum()
    }

    /// Sends a room's client list to its members, or in a large room to those who joined.
    pub(super) fn send_clients(&self, key: RoomKey, joiners: &[ConnId], out: &mut impl Outlet) {
        let Some(room) = self.rooms.room(key) else {
            return;
        };
        let for_joiners = room.members.len() > self.settings.full_roster_members;
        let inside = |conn: &&ConnId| {
            self.sessions.find(**conn).is_some_and(|session| session.rooms.contains(&key))
        };
        if for_joiners && !joiners.iter().any(|conn| inside(&conn)) {
            return;
        }
        let mut written = Written::default();
        let message = out.encode_for_room(key, |buffer| {
            written = self.bounded(buffer, |buffer, with_params, fits| {
                write::roster_begin(buffer, &room.name, room.members.len());
                for session in room.members.iter().filter_map(|&conn| self.sessions.find(conn)) {
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
            });
        });
        if for_joiners {
            for conn in joiners.iter().filter(inside) {
                out.push(*conn, message);
            }
        } else {
            out.push_all(room.roster(), None, message);
        }
        note_cut(&room.name, written, out);
    }

    /// Sends a room's list of child rooms to its members.
    pub(super) fn send_child_rooms(&self, key: RoomKey, out: &mut impl Outlet) {
        let Some(room) = self.rooms.room(key).filter(|room| !room.members.is_empty()) else {
            return;
        };
        let mut written = Written::default();
        let message =
            out.encode_for_room(key, |buffer| written = self.write_child_rooms(buffer, key));
        out.push_all(room.roster(), None, message);
        note_cut(&room.name, written, out);
    }

    /// Sends one session a room's list of child rooms.
    pub(super) fn tell_child_rooms(&self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        let mut written = Written::default();
        self.answer(conn, out, |buffer| written = self.write_child_rooms(buffer, key));
        if let Some(room) = self.rooms.room(key) {
            note_cut(&room.name, written, out);
        }
    }

    fn write_child_rooms(&self, buffer: &mut Vec<u8>, key: RoomKey) -> Written {
        let Some(room) = self.rooms.room(key) else {
            return Written::default();
        };
        self.bounded(buffer, |buffer, with_params, fits| {
            write::child_rooms_begin(buffer, &room.name);
            for child in room.children.iter().filter_map(|&key| self.rooms.room(key)) {
                write::room(buffer, self.rooms.head(child), child.params.iter_if(with_params));
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
        write: impl Fn(&mut Vec<u8>, bool, Fits<'_>),
    ) {
        let mut written = Written::default();
        self.answer(conn, out, |buffer| written = self.bounded(buffer, write));
        out.spent(written.discarded_bytes);
        if written.too_large {
            let nick = self.sessions.find(conn).map_or("", |session| &session.nick);
            let reason = RefusalReason::Limit;
            out.note(Note::Refused { conn, nick, error: &self.too_large(), reason });
        }
    }

    fn bounded(&self, buffer: &mut Vec<u8>, write: impl Writer) -> Written {
        let max = self.settings.limits.backlog_bytes_max;
        let start = buffer.len();
        // The NUL counts as well.
        let fits = |buffer: &Vec<u8>| buffer.len() - start < max;
        let mut discarded_bytes = 0;
        for with_params in [true, false] {
            write(buffer, with_params, &fits);
            if fits(buffer) {
                return Written { too_large: false, discarded_bytes };
            }
            discarded_bytes += buffer.len() - start;
            buffer.truncate(start);
        }
        write::error(buffer, &self.too_large());
        Written { too_large: true, discarded_bytes }
    }

    /// What stands in for a list that is too large.
    fn too_large(&self) -> String {
        format!("Answer too large (limit {} bytes)", self.settings.limits.backlog_bytes_max)
    }
}

/// Tells of a list that was not sent as it is.
fn note_cut(room: &str, written: Written, out: &mut impl Outlet) {
    out.spent(written.discarded_bytes);
    if written.discarded_bytes > 0 {
        out.note(Note::ListTooLarge { room });
    }
}
