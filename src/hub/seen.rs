//! Hidden rooms, and who sees them: their members and root (manual: protocol, 'Modes').

use super::Hub;
use super::long_lists::EncodedList;
use super::outlet::Outlet;
use super::room::{Room, RoomKey};
use super::slow_lists::ListKind;
use crate::session_id::ConnId;

/// For whom a list of rooms is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Viewer {
    /// Whoever it may be: no hidden room stands in it.
    Anybody,
    /// One that sees every room: root, a plugin.
    All,
    /// This session.
    One(ConnId),
}

impl Hub {
    /// Whether a viewer sees a room in lists.
    pub(super) fn sees(&self, viewer: Viewer, room: &Room) -> bool {
        !room.is_hidden()
            || match viewer {
                Viewer::Anybody => false,
                Viewer::All => true,
                Viewer::One(conn) => self.sees_hidden(conn, room),
            }
    }

    /// A session is in few rooms, while a room may have thousands of members.
    fn sees_hidden(&self, conn: ConnId, room: &Room) -> bool {
        self.sessions.find(conn).is_some_and(|session| {
            let is_it = |key| self.rooms.room(key).is_some_and(|own| own.serial == room.serial);
            session.root || session.rooms.iter().any(|&key| is_it(key))
        })
    }

    /// The rooms that are listed under a room, as a viewer sees them.
    pub(super) fn listed_children<'a>(
        &'a self,
        room: &'a Room,
        viewer: Viewer,
    ) -> impl Iterator<Item = &'a Room> {
        let children = room.children.iter().filter_map(|&key| self.rooms.room(key));
        children.filter(move |child| self.sees(viewer, child))
    }

    /// Whether some of the rooms that are listed under a room are hidden.
    pub(super) fn has_hidden_children(&self, key: RoomKey) -> bool {
        let children = self.rooms.room(key).map_or(&[][..], |room| &room.children);
        children.iter().filter_map(|&key| self.rooms.room(key)).any(Room::is_hidden)
    }

    /// What a room's list has for the member that gets most, in bytes: it is reckoned with that,
    /// since those who see hidden rooms get a list of their own.
    pub(super) fn most_list_bytes(&self, key: RoomKey, kind: ListKind) -> usize {
        let viewer = match kind {
            ListKind::ChildRooms if self.has_hidden_children(key) => Viewer::All,
            ListKind::ChildRooms | ListKind::Clients => Viewer::Anybody,
        };
        match self.list_bytes(key, kind, viewer) {
            // It is too long in every form: so much of it is written before that is clear.
            0 if viewer == Viewer::All => self.settings.limits.list_bytes_max,
            bytes => bytes,
        }
    }

    /// Sends members of a room a list of it: those who see hidden child rooms get one of their own.
    pub(super) fn push_list(
        &mut self,
        key: RoomKey,
        kind: ListKind,
        to: &[ConnId],
        list: EncodedList,
        out: &mut impl Outlet,
    ) {
        if kind != ListKind::ChildRooms || !self.has_hidden_children(key) {
            return out.push_some(to, list.message);
        }
        // Those of a member's rooms that are hidden and stand in the list.
        let sees_more = |conn: &&ConnId| {
            self.sessions.find(**conn).is_some_and(|session| {
                let own = session.rooms.iter().filter_map(|&own| self.rooms.room(own));
                let mut hidden = own.filter(|own| own.is_hidden());
                session.root || hidden.any(|own| own.listers.contains(&key))
            })
        };
        let (own, shared): (Vec<ConnId>, Vec<ConnId>) = to.iter().partition(sees_more);
        out.push_some(&shared, list.message);
        for conn in own {
            self.push_child_rooms(conn, key, out);
        }
    }

    /// The lists of child rooms in which a room stands are due: others see it now.
    pub(super) fn listers_due(&mut self, key: RoomKey, by: Option<ConnId>, out: &mut impl Outlet) {
        let listers = self.rooms.room(key).map(|room| room.listers.clone());
        for lister in listers.unwrap_or_default() {
            self.child_rooms_due(lister, by, out);
        }
    }
}
