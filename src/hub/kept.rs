//! Rooms that stay: those of the configuration, and those with the mode `keep`
//! (manual: protocol, 'Modes'; manual: configuration, 'Rooms').

use super::Hub;
use super::mode::set_mode;
use super::note::Note;
use super::outlet::{Outlet, Span};
use super::room::{Room, RoomKey};
use super::settings::DeclaredRoom;
use crate::nick::comparison_key;
use crate::reason::CloseReason;
use crate::session_id::ConnId;

/// The param that is a room's title.
const TITLE: &str = "title";

/// Nobody is there yet who could be told something.
#[derive(Debug, Default)]
pub(super) struct Nobody(Vec<u8>);

impl Outlet for Nobody {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        self.0.clear();
        write(&mut self.0);
        Span::default()
    }

    fn push(&mut self, _: ConnId, _: Span) {}

    fn close(&mut self, _: ConnId, _: CloseReason) {}

    fn note(&mut self, _: Note<'_>) {}
}

impl Hub {
    /// Has the rooms of the configuration be there before anybody is.
    pub(super) fn declare_first_rooms(&mut self) {
        self.declare_rooms(&mut Nobody::default());
    }

    /// Has the rooms of the configuration be there, as it says; those that it does not have any
    /// more are rooms like any other.
    pub(super) fn declare_rooms(&mut self, out: &mut impl Outlet) {
        let declared = self.settings.declared_rooms.clone();
        let has = |room: &Room| declared.iter().any(|declared| *declared.name == *room.name);
        let dropped: Vec<RoomKey> = self
            .rooms
            .iter()
            .filter(|room| room.is_declared() && !has(room))
            .filter_map(|room| self.rooms.find(&room.name))
            .collect();
        for key in dropped {
            let rules = self.rooms.rules_mut(key);
            rules.declared = false;
            rules.operators.clear();
            self.kept_room_changed(key);
            self.drop_empty_rules(key);
            self.remove_if_empty(key, None, out);
        }
        for room in &declared {
            self.declare(room, out);
        }
    }

    fn declare(&mut self, declared: &DeclaredRoom, out: &mut impl Outlet) {
        let key = self.rooms.find(&declared.name).unwrap_or_else(|| {
            let seen = self.rooms.look_at(&declared.name);
            let key = self.rooms.create(&declared.name, seen, self.unix_now_us());
            if let Some(room) = self.rooms.room(key) {
                self.params_total_bytes += room.params.counted_bytes();
            }
            key
        });
        let rules = self.rooms.rules_mut(key);
        rules.declared = true;
        rules.operators =
            declared.operators.iter().filter_map(|nick| comparison_key(nick)).collect();
        if let Some(title) = &declared.title
            && self.rooms.room(key).is_some_and(|room| room.params.value(TITLE) != Some(title))
        {
            // The configuration's own limits hold for it: a title that is too long is none.
            let _ = self.set_room_param(key, TITLE, title, None, out);
        }
        let mut modes = self.rooms.room(key).map(|room| room.modes().clone()).unwrap_or_default();
        for (name, value) in &declared.modes {
            // The configuration was checked by the same function.
            let _ = set_mode(&mut modes, name, value);
        }
        let _ = self.set_modes(key, modes, None, out);
    }
}
