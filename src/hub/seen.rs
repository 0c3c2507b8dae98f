//! Hidden rooms, and who sees them: their members and root (manual: protocol, 'Modes').

use super::Hub;
use super::long_lists::EncodedList;
use super::outlet::Outlet;
use super::room::{Room, RoomKey};
use crate::session_id::ConnId;

impl Hub {
    /// Whether a session sees a room in lists; without one, whether everybody does. A plugin, which
    /// sees all, asks for everything by itself.
    pub(super) fn sees(&self, viewer: Option<ConnId>, room: &Room) -> bool {
        if !room.is_hidden() {
            return true;
        }
        let session = viewer.and_then(|conn| self.sessions.find(conn));
        session.is_some_and(|session| session.root || room.members.contains(&session.conn))
    }

    /// The rooms that are listed under a room, for this session or for everybody.
    pub(super) fn listed_children<'a>(
        &'a self,
        room: &'a Room,
        viewer: Option<ConnId>,
    ) -> impl Iterator<Item = &'a Room> {
        let children = room.children.iter().filter_map(|&key| self.rooms.room(key));
        children.filter(move |child| self.sees(viewer, child))
    }

    /// Whether some of the rooms that are listed under a room are hidden.
    pub(super) fn has_hidden_children(&self, room: &Room) -> bool {
        let mut children = room.children.iter().filter_map(|&key| self.rooms.room(key));
        children.any(Room::is_hidden)
    }

    /// Sends members of a room its list of child rooms: those who see hidden ones get one of their
    /// own. Gives how many bytes that takes besides.
    pub(super) fn push_child_rooms(
        &mut self,
        key: RoomKey,
        to: &[ConnId],
        list: EncodedList,
        out: &mut impl Outlet,
    ) -> usize {
        let Some(room) = self.rooms.room(key) else {
            return 0;
        };
        let mut hidden = room.children.iter().filter_map(|&child| self.rooms.room(child));
        let sees_more = |conn: &ConnId| {
            let root = self.sessions.find(*conn).is_some_and(|session| session.root);
            root || hidden.clone().any(|child| child.is_hidden() && child.members.contains(conn))
        };
        let (own, shared): (Vec<ConnId>, Vec<ConnId>) = to.iter().partition(|conn| sees_more(conn));
        hidden.next();
        out.push_some(&shared, list.message);
        for &conn in &own {
            self.tell_child_rooms(conn, key, out);
        }
        own.len().saturating_mul(list.bytes())
    }

    /// The lists of child rooms in which a room stands are due: it is seen by others now.
    pub(super) fn listers_due(&mut self, key: RoomKey, by: Option<ConnId>, out: &mut impl Outlet) {
        let listers = self.rooms.room(key).map(|room| room.listers.clone());
        for lister in listers.unwrap_or_default() {
            self.child_rooms_due(lister, by, out);
        }
    }
}
