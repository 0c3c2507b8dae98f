//! Rooms: their members, params and child rooms.

use std::collections::BTreeMap;
use std::fmt;

use slab::Slab;

use super::input::HashKey;
use super::keyed_table::{KeyedState, Table};
use super::outlet::Roster;
use super::param::{LOCKED, OPEN_PARAMS, is_on};
use super::rate::Bucket;
use super::role::Roles;
use super::room_rules::{Modes, RoomRules};
use super::slow_lists::SlowLists;
use crate::limits::{LISTS_LOOKED_AT_MAX, Limits, PARAM_BYTES_MORE, exceeds};
use crate::nick::{InTheWay, Likenesses, Seen};
use crate::session_id::ConnId;
use crate::wire::write::{RoomHead, attribute_value_bytes};

/// A room's place in the table.
pub(super) type RoomKey = u32;

/// Why a param can't be set; its text is what the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamsFull {
    /// It is one too many of this owner.
    Count { max: usize },
    /// All of this owner are too long together.
    Bytes { max: usize },
    /// All of the server are.
    ServerBytes { max: usize },
}

impl fmt::Display for ParamsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { max } => write!(f, "Too many params (limit {max})"),
            Self::Bytes { max } => write!(f, "Params too long together (limit {max} bytes)"),
            Self::ServerBytes { max } => {
                write!(f, "Too many params on this server (limit {max} bytes)")
            }
        }
    }
}

impl std::error::Error for ParamsFull {}

/// Named values of a room or a session, in the order in which they were first set.
#[derive(Debug, Default)]
pub(super) struct Params {
    entries: Vec<(Box<str>, Box<str>)>,
    /// Bytes of all names and values as they are written.
    bytes: usize,
}

impl Params {
    pub(super) const fn none() -> Self {
        Self { entries: Vec::new(), bytes: 0 }
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|param| &*param.0 == name).map(|param| &*param.1)
    }

    /// What they count for in `limits.paramstotal`.
    pub(super) const fn counted_bytes(&self) -> usize {
        self.bytes + self.entries.len() * PARAM_BYTES_MORE
    }

    /// What they take in a list in which each has so many bytes more.
    pub(super) const fn listed_bytes(&self, more: usize) -> usize {
        self.bytes + self.entries.len() * more
    }

    /// Sets a param; `total` is what the params of all owners count for together.
    ///
    /// # Errors
    /// The error for its sender, when it is one too many, when all of this owner or all of the
    /// server together are too long. Those of one owner are held to the size of a stanza, because
    /// they are told in one: 64 values of 4 KiB, each escaped, would be 1.5 MB to each receiver at
    /// each change.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: &str,
        limits: &Limits,
        total: &mut usize,
    ) -> Result<(), ParamsFull> {
        let place = self.entries.iter().position(|param| &*param.0 == name);
        if place.is_none() && exceeds(self.entries.len() + 1, limits.params_max) {
            return Err(ParamsFull::Count { max: limits.params_max });
        }
        let before = place.map_or(0, |place| written_bytes(&self.entries[place]));
        let param = (name.into(), value.into());
        let bytes = self.bytes - before + written_bytes(&param);
        if bytes > limits.stanza_bytes_max {
            return Err(ParamsFull::Bytes { max: limits.stanza_bytes_max });
        }
        let more = if place.is_none() { PARAM_BYTES_MORE } else { 0 };
        let total_bytes = *total - self.bytes + bytes + more;
        if total_bytes > *total && total_bytes > limits.params_total_bytes_max {
            return Err(ParamsFull::ServerBytes { max: limits.params_total_bytes_max });
        }
        *total = total_bytes;
        self.bytes = bytes;
        match place {
            Some(place) => self.entries[place] = param,
            None => self.entries.push(param),
        }
        Ok(())
    }

    /// Removes a param; whether there was one. `total` as for [`Params::set`].
    pub(super) fn remove(&mut self, name: &str, total: &mut usize) -> bool {
        let place = self.entries.iter().position(|param| &*param.0 == name);
        if let Some(place) = place {
            let bytes = written_bytes(&self.entries.remove(place));
            self.bytes -= bytes;
            *total -= bytes + PARAM_BYTES_MORE;
        }
        place.is_some()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries.iter().map(|param| (&*param.0, &*param.1))
    }

    /// All of them or, where they are not wanted, none.
    pub(super) fn iter_if(&self, wanted: bool) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let entries = if wanted { &self.entries[..] } else { &[] };
        entries.iter().map(|param| (&*param.0, &*param.1))
    }
}

fn written_bytes((name, value): &(Box<str>, Box<str>)) -> usize {
    attribute_value_bytes(name) + attribute_value_bytes(value)
}

/// What every room begins with.
fn first_params() -> Params {
    let entries = vec![("title".into(), "".into()), ("openParams".into(), "0".into())];
    let bytes = entries.iter().map(written_bytes).sum();
    Params { entries, bytes }
}

/// Rooms are listed in each other in more ways than are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entangled;

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Box<str>,
    /// What the name looks like, when to find that out again would cost much.
    seen: Option<Box<Seen>>,
    /// Counts the rooms that ever were; orders them, and tells a reused key from its predecessor.
    pub(super) serial: u64,
    /// In the order of joining.
    pub(super) members: Vec<ConnId>,
    /// Names the members as they are, for [`Room::roster`].
    roster_number: u64,
    /// Who has a role in it.
    pub(super) roles: Roles,
    /// What keeps order in it, if anything does.
    pub(super) rules: Option<Box<RoomRules>>,
    pub(super) params: Params,
    /// The room it was created under. It can't be removed before this one.
    pub(super) parent: Option<RoomKey>,
    /// The rooms listed under it, in the order of listing.
    pub(super) children: Vec<RoomKey>,
    /// The rooms that list it.
    pub(super) listers: Vec<RoomKey>,
    pub(super) created_unix_us: u64,
    /// Messages relayed in it.
    pub(super) messages: u64,
    /// Its client list is due, at this place among the lists that are.
    pub(super) roster_due: Option<usize>,
    /// Its list of child rooms is due.
    pub(super) children_due: bool,
    /// What its lists to its members may still cost.
    pub(super) lists: Bucket,
    /// The lists that cost so much that they are sent in parts; none, as a rule.
    pub(super) slow: Option<Box<SlowLists>>,
    /// By the kind of list, whether the last one was too long with its params at least.
    pub(super) cut: [bool; 2],
    /// How many of its members don't keep up with reading.
    pub(super) behind: usize,
    /// The turn in which its members were told something last, and how many bytes it was in it.
    pub(super) turn: u64,
    pub(super) turn_bytes: usize,
}

impl Room {
    /// The members.
    pub(super) fn roster(&self) -> Roster<'_> {
        Roster { number: self.roster_number, members: &self.members }
    }

    /// Whether members who are no operators may set params.
    pub(super) fn open_params(&self) -> bool {
        self.params.value(OPEN_PARAMS).is_some_and(is_on)
    }

    /// Its modes.
    pub(super) fn modes(&self) -> &Modes {
        static NONE: Modes = Modes::none();
        self.rules.as_ref().map_or(&NONE, |rules| &rules.modes)
    }

    /// Whether only operators and those who have a voice talk.
    pub(super) fn is_moderated(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.modes.moderated)
    }

    /// Whether it stands in the lists of its members and root alone.
    pub(super) fn is_hidden(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.modes.hidden)
    }

    /// Whether the configuration has it.
    pub(super) fn is_declared(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.declared)
    }

    /// Whether it stays when nobody is in it.
    pub(super) fn is_kept(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.declared || rules.modes.keep)
    }
}

/// All rooms.
#[derive(Debug)]
pub(super) struct Rooms {
    slab: Slab<Room>,
    names: Table<Box<str>, RoomKey>,
    /// What these names look like.
    likenesses: Likenesses<KeyedState>,
    /// By serial: the order of creation.
    order: BTreeMap<u64, RoomKey>,
    created: u64,
    /// Counts the changes of members in all rooms.
    roster_changes: u64,
    /// Bytes of the longest name that a room ever had: a longer one is no room's, unread.
    longest_name_bytes: usize,
    /// Bytes of all names as they are written.
    names_bytes: usize,
}

impl Rooms {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            slab: Slab::new(),
            names: KeyedState::table(key),
            likenesses: Likenesses::new(KeyedState::new(key)),
            order: BTreeMap::new(),
            created: 0,
            roster_changes: 0,
            longest_name_bytes: 0,
            names_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<RoomKey> {
        if name.len() > self.longest_name_bytes {
            return None;
        }
        self.names.get(name).copied()
    }

    /// Looks at the name of a new room, whose length has been held to its limit.
    pub(super) fn look_at(&self, name: &str) -> Seen {
        self.likenesses.look_at(name)
    }

    /// Whether a name that no room has looks like that of one, and is no plainer.
    pub(super) fn looks_taken(&self, seen: &Seen) -> bool {
        self.likenesses.is_like(seen, InTheWay::AsPlain)
    }

    pub(super) fn room(&self, key: RoomKey) -> Option<&Room> {
        self.slab.get(key as usize)
    }

    /// Sets the modes of a room.
    pub(super) fn set_modes(&mut self, key: RoomKey, modes: Modes) {
        let room = &mut self.slab[key as usize];
        let bytes = attribute_value_bytes(&room.name);
        match (room.is_hidden(), modes.hidden) {
            (false, true) => self.names_bytes -= bytes,
            (true, false) => self.names_bytes += bytes,
            (false, false) | (true, true) => {}
        }
        room.rules.get_or_insert_default().modes = modes;
    }

    /// What keeps order in a room, begun if there was nothing.
    pub(super) fn rules_mut(&mut self, key: RoomKey) -> &mut RoomRules {
        self.slab[key as usize].rules.get_or_insert_default()
    }

    pub(super) fn room_mut(&mut self, key: RoomKey) -> Option<&mut Room> {
        self.slab.get_mut(key as usize)
    }

    /// A room whose members are about to change.
    pub(super) fn change_members(&mut self, key: RoomKey) -> Option<&mut Room> {
        let room = self.slab.get_mut(key as usize)?;
        self.roster_changes += 1;
        room.roster_number = self.roster_changes;
        Some(room)
    }

    /// Every room in the order of creation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Room> {
        self.order.values().filter_map(|&key| self.room(key))
    }

    /// Bytes of all names as they are written: no list of all rooms is shorter.
    pub(super) const fn names_bytes(&self) -> usize {
        self.names_bytes
    }

    /// What `<room>` tells of a room besides its params. A hidden room is not named as its parent.
    pub(super) fn head<'a>(&'a self, room: &'a Room) -> RoomHead<'a> {
        RoomHead {
            name: &room.name,
            clients: room.members.len(),
            parent: room
                .parent
                .and_then(|key| self.room(key))
                .filter(|parent| !parent.is_hidden())
                .map(|parent| &*parent.name),
        }
    }

    /// Creates an empty room, whose name was looked at.
    pub(super) fn create(&mut self, name: &str, seen: Seen, created_unix_us: u64) -> RoomKey {
        self.created += 1;
        let serial = self.created;
        self.likenesses.add(&seen);
        let key = self.slab.insert(Room {
            name: name.into(),
            seen: Some(seen).filter(Seen::is_worth_keeping).map(Box::new),
            serial,
            members: Vec::new(),
            roster_number: 0,
            roles: Roles::default(),
            rules: None,
            params: first_params(),
            parent: None,
            children: Vec::new(),
            listers: Vec::new(),
            created_unix_us,
            messages: 0,
            roster_due: None,
            children_due: false,
            lists: Bucket::default(),
            slow: None,
            cut: [false; 2],
            behind: 0,
            turn: 0,
            turn_bytes: 0,
        });
        // As many rooms as a `RoomKey` can count don't fit into memory.
        let key = RoomKey::try_from(key).unwrap_or(RoomKey::MAX);
        self.names.insert(name.into(), key);
        self.longest_name_bytes = self.longest_name_bytes.max(name.len());
        self.names_bytes += attribute_value_bytes(name);
        self.order.insert(serial, key);
        key
    }

    /// Lists `child` under `parent`, once.
    pub(super) fn list(&mut self, parent: RoomKey, child: RoomKey) {
        let Some(room) = self.room_mut(parent) else {
            return;
        };
        if !room.children.contains(&child) {
            room.children.push(child);
            if let Some(child) = self.room_mut(child) {
                child.listers.push(parent);
            }
        }
    }

    /// Removes a room that has no child rooms, from every list too; gives it back.
    pub(super) fn remove(&mut self, key: RoomKey) -> Option<Room> {
        let room = self.slab.try_remove(key as usize)?;
        debug_assert!(room.children.is_empty(), "a room with child rooms stays");
        self.names.remove(&room.name);
        match &room.seen {
            Some(seen) => self.likenesses.remove(seen),
            None => {
                let seen = self.look_at(&room.name);
                self.likenesses.remove(&seen);
            }
        }
        if !room.is_hidden() {
            self.names_bytes -= attribute_value_bytes(&room.name);
        }
        self.order.remove(&room.serial);
        for &lister in &room.listers {
            if let Some(lister) = self.room_mut(lister) {
                lister.children.retain(|&child| child != key);
            }
        }
        Some(room)
    }

    /// How many rooms stand above this one on its longest chain of lists, and whether `other`
    /// is one of them (or this one itself).
    ///
    /// # Errors
    /// [`Entangled`].
    pub(super) fn above(&self, key: RoomKey, other: RoomKey) -> Result<(usize, bool), Entangled> {
        self.levels(key, other, |room| &room.listers)
    }

    /// How many levels of child rooms stand below this one.
    ///
    /// # Errors
    /// [`Entangled`].
    pub(super) fn below(&self, key: RoomKey) -> Result<usize, Entangled> {
        Ok(self.levels(key, RoomKey::MAX, |room| &room.children)?.0)
    }

    /// Goes from level to level; lists have no cycle, so it ends with the longest chain.
    fn levels(
        &self,
        key: RoomKey,
        other: RoomKey,
        next: impl Fn(&Room) -> &Vec<RoomKey>,
    ) -> Result<(usize, bool), Entangled> {
        let mut level = vec![key];
        let mut depth = 0;
        let mut met = key == other;
        let mut looked_at = 0;
        loop {
            let lists = level.iter().filter_map(|&key| self.room(key)).map(|room| next(room).len());
            looked_at += lists.sum::<usize>();
            if looked_at > LISTS_LOOKED_AT_MAX {
                return Err(Entangled);
            }
            let mut following: Vec<RoomKey> = level
                .iter()
                .filter_map(|&key| self.room(key))
                .flat_map(|room| next(room).iter().copied())
                .collect();
            if following.is_empty() {
                return Ok((depth, met));
            }
            following.sort_unstable();
            following.dedup();
            met |= following.contains(&other);
            depth += 1;
            level = following;
        }
    }

    /// Forgets every room.
    pub(super) fn clear(&mut self) {
        self.slab.clear();
        self.names.clear();
        self.likenesses.clear();
        self.names_bytes = 0;
        self.order.clear();
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.slab.len(), self.names.len(), "room names");
        self.likenesses.check_invariants(self.slab.len());
        assert_eq!(self.slab.len(), self.order.len(), "room order");
        let seen = self.iter().filter(|room| !room.is_hidden());
        let names_bytes: usize = seen.map(|room| attribute_value_bytes(&room.name)).sum();
        assert_eq!(self.names_bytes, names_bytes, "bytes of room names");
        for (key, room) in &self.slab {
            let key = RoomKey::try_from(key).expect("keys fit");
            assert_eq!(self.find(&room.name), Some(key), "room {} by name", room.name);
            assert_eq!(self.order.get(&room.serial), Some(&key), "room {} by serial", room.name);
            assert!(
                !room.members.is_empty() || !room.children.is_empty() || room.is_kept(),
                "room {} is there without members and child rooms",
                room.name
            );
            for (conn, _) in room.roles.iter() {
                assert!(room.members.contains(&conn), "{conn} has a role in {}", room.name);
            }
            let locked = room.params.value(LOCKED).is_some_and(is_on);
            assert_eq!(locked, room.modes().locked, "mode and param of {}", room.name);
            if let Some(parent) = room.parent {
                assert!(self.room(parent).is_some_and(|parent| parent.children.contains(&key)));
            }
            for &child in &room.children {
                assert!(self.room(child).is_some_and(|child| child.listers.contains(&key)));
                let cycle = self.above(key, child).is_ok_and(|(_, met)| met);
                assert!(!cycle, "child rooms of {} form a cycle", room.name);
            }
            for &lister in &room.listers {
                assert!(self.room(lister).is_some_and(|lister| lister.children.contains(&key)));
            }
        }
    }
}
