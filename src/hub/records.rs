//! What outlives the process: what of it the store does not have yet, how it is made into records,
//! and how it is taken in again (manual: operating, 'The store').
//!
//! What is not stored is a set of names. A record is made of the state when it is handed over, so
//! changes of the same room are one, and what waits for a store that is slow or gone takes no more
//! memory than the names of what is kept.

use std::collections::{BTreeMap, BTreeSet};

use super::Hub;
use super::kept::Nobody;
use super::param::{LOCKED, OPEN_PARAMS, is_on};
use super::role::{RememberedRole, Role};
use super::room::{Room, RoomKey};
use super::room_rules::{Modes, Mute, RoomBan, RoomPassword, RoomRules, is_over};
use crate::limits::{
    HISTORY_MESSAGES_MAX, REMEMBERED_ROLES_MAX, ROOM_BANS_MAX, ROOM_MUTES_MAX,
    ROOM_PASSWORD_BYTES_MAX,
};
use crate::nick::comparison_key;
use crate::record::{Change, ModesRecord, NickRecord, Record, RecordKey, RoleRecord, RoomRecord};
use crate::secret::HiddenText;

/// The title, which every room begins with and may do without.
const TITLE: &str = "title";

/// What is kept, as far as the store does not have it. Without a store nothing is in it.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    /// There is a store.
    on: bool,
    /// What has changed since it was handed over last.
    changed: BTreeSet<RecordKey>,
    /// What was handed over and is not confirmed, by number.
    handed: BTreeMap<u64, Vec<RecordKey>>,
    /// What the store has, or may have.
    stored: BTreeSet<RecordKey>,
    /// The last number.
    number: u64,
}

/// Changes that are handed over to the store.
#[derive(Debug)]
pub struct Handed {
    /// What they are confirmed by: 1 and up, without a gap.
    pub number: u64,
    /// At least one.
    pub changes: Vec<Change>,
}

/// What became of records that were taken in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Rooms that are there again.
    pub rooms: usize,
    /// Bans and mutes of the server that hold again.
    pub sanctions: usize,
    /// What could not be taken in as it was, and why; the store keeps it until it changes.
    pub left_out: Vec<String>,
}

impl Hub {
    /// Takes in what the store has, before anybody is there, and keeps track of changes from then
    /// on. What is over by now is forgotten.
    pub fn restore(&mut self, records: &[Record]) -> Restored {
        let mut restored = Restored::default();
        let unix_s = self.unix_now_s();
        let mut rooms: Vec<&RoomRecord> = Vec::new();
        let mut gone = Vec::new();
        for record in records {
            let until = match record {
                Record::Room(room) => {
                    rooms.push(room);
                    continue;
                }
                Record::NickBan(found) | Record::Mute(found) => found.until_unix_s,
                Record::NetworkBan(found) => found.until_unix_s,
            };
            match self.order.restore(record) {
                Some(key) => {
                    self.keeping.stored.insert(key.clone());
                    restored.sanctions += usize::from(!is_over(until, unix_s));
                }
                None => restored
                    .left_out
                    .push(format!("{}: no such nick or network, or too many", named(record))),
            }
        }
        rooms.sort_by(|one, other| {
            let order = |room: &RoomRecord| (room.created_unix_us, room.place);
            order(one).cmp(&order(other))
        });
        for record in &rooms {
            match self.restore_room(record, &mut restored.left_out) {
                Ok(true) => restored.rooms += 1,
                // It was of the configuration, and is not any more.
                Ok(false) => gone.push(RecordKey::Room((*record.name).into())),
                Err(why) => {
                    restored.left_out.push(format!("room {}: {why}", record.name));
                    continue;
                }
            }
            self.keeping.stored.insert(RecordKey::Room((*record.name).into()));
        }
        for record in &rooms {
            self.restore_place(record);
        }
        self.declare_rooms(&mut Nobody::default());
        self.keeping.on = true;
        gone.into_iter().for_each(|key| self.note_for_store(key));
        for key in self.order.forget_over(unix_s) {
            self.note_for_store(key);
        }
        restored
    }

    /// Whether something is not handed over to the store yet.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.keeping.changed.is_empty()
    }

    /// Has all that is kept be handed over, as to a store that has nothing.
    pub fn change_all(&mut self) {
        let rooms = self.rooms.iter().filter(|room| room.is_kept());
        let rooms = rooms.map(|room| RecordKey::Room(room.name.clone()));
        let keys: Vec<RecordKey> = rooms.chain(self.order.keys()).collect();
        keys.into_iter().for_each(|key| self.note_for_store(key));
    }

    /// Hands over what has changed: so much that it takes about so many bytes to write it down, and
    /// at least one thing. `None` when there is nothing.
    pub fn changes(&mut self, bytes_max: usize) -> Option<Handed> {
        let (mut keys, mut changes, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < bytes_max
            && let Some(key) = self.keeping.changed.pop_first()
        {
            let change = match self.record(&key) {
                Some(record) => Change::Put(record),
                None if self.keeping.stored.contains(&key) => Change::Remove(key.clone()),
                None => continue,
            };
            bytes += change.bytes();
            changes.push(change);
            self.keeping.stored.insert(key.clone());
            keys.push(key);
        }
        if changes.is_empty() {
            return None;
        }
        self.keeping.number += 1;
        self.keeping.handed.insert(self.keeping.number, keys);
        Some(Handed { number: self.keeping.number, changes })
    }

    /// The store has what was handed over by this number.
    pub fn changes_stored(&mut self, number: u64) {
        for key in self.keeping.handed.remove(&number).unwrap_or_default() {
            let waits = |keys: &Vec<RecordKey>| keys.contains(&key);
            if !self.is_kept(&key)
                && !self.keeping.changed.contains(&key)
                && !self.keeping.handed.values().any(waits)
            {
                self.keeping.stored.remove(&key);
            }
        }
    }

    /// What was handed over and is not confirmed may be lost: it has to be handed over again.
    pub fn changes_lost(&mut self) {
        let lost = std::mem::take(&mut self.keeping.handed);
        self.keeping.changed.extend(lost.into_values().flatten());
    }

    /// Something of a room changed that is to outlive the process, if the room does.
    pub(super) fn kept_room_changed(&mut self, key: RoomKey) {
        if self.keeping.on
            && let Some(room) = self.rooms.room(key)
        {
            let (kept, key) = (room.is_kept(), RecordKey::Room(room.name.clone()));
            if kept || self.keeping.stored.contains(&key) {
                self.keeping.changed.insert(key);
            }
        }
    }

    /// A room is kept or is not any more: where the rooms stand that were created under it is kept
    /// as long as it is.
    pub(super) fn places_changed(&mut self, key: RoomKey) {
        let children = self.rooms.room(key).map(|room| room.children.clone());
        for child in children.unwrap_or_default() {
            self.kept_room_changed(child);
        }
    }

    /// A room is gone.
    pub(super) fn kept_room_removed(&mut self, room: &Room) {
        self.note_for_store(RecordKey::Room(room.name.clone()));
    }

    /// Something changed that is to outlive the process, or to be forgotten by the store.
    pub(super) fn note_for_store(&mut self, key: RecordKey) {
        if !self.keeping.on {
            return;
        }
        if self.keeping.stored.contains(&key) || self.is_kept(&key) {
            self.keeping.changed.insert(key);
        } else {
            self.keeping.changed.remove(&key);
        }
    }

    /// Nothing of what changes from now on outlives the process: the rooms go with it.
    pub(super) fn stop_keeping(&mut self) {
        self.keeping = Unstored::default();
    }

    /// Whether something is kept under this name now.
    fn is_kept(&self, key: &RecordKey) -> bool {
        match key {
            RecordKey::Room(name) => {
                let room = self.rooms.find(name).and_then(|key| self.rooms.room(key));
                room.is_some_and(Room::is_kept)
            }
            RecordKey::NickBan(_) | RecordKey::NetworkBan(_) | RecordKey::Mute(_) => {
                self.order.record(key).is_some()
            }
        }
    }

    /// What is kept under this name now.
    fn record(&self, key: &RecordKey) -> Option<Record> {
        let RecordKey::Room(name) = key else {
            return self.order.record(key);
        };
        let room = self.rooms.find(name).and_then(|key| self.rooms.room(key));
        room.filter(|room| room.is_kept())
            .map(|room| Record::Room(Box::new(self.room_record(room))))
    }

    fn room_record(&self, room: &Room) -> RoomRecord {
        let unix_s = self.unix_now_s();
        let parent = room.parent.and_then(|key| self.rooms.room(key));
        let modes = room.modes();
        let mut record = RoomRecord {
            name: (*room.name).into(),
            created_unix_us: room.created_unix_us,
            place: room.serial,
            parent: parent.filter(|room| room.is_kept()).map(|room| (*room.name).into()),
            modes: ModesRecord {
                locked: modes.locked,
                password: HiddenText::new(modes.password.as_ref().map_or("", RoomPassword::expose)),
                limit: modes.limit,
                moderated: modes.moderated,
                hidden: modes.hidden,
                keep: modes.keep,
                history: modes.history,
            },
            params: room.params.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            roles: self.roles_to_remember(room),
            ..RoomRecord::default()
        };
        if let Some(rules) = &room.rules {
            let bans = rules.bans.iter().filter(|ban| !is_over(ban.until_unix_s, unix_s));
            record.bans = bans
                .map(|ban| NickRecord {
                    household: ban.household,
                    reason: ban.reason.as_deref().map(Into::into),
                    ..nick_record(&ban.nick, &ban.by, ban.until_unix_s)
                })
                .collect();
            let mutes = rules.mutes.iter().filter(|mute| !is_over(mute.until_unix_s, unix_s));
            record.mutes =
                mutes.map(|mute| nick_record(&mute.nick, &mute.by, mute.until_unix_s)).collect();
        }
        record
    }

    /// The roles that those have whose nick was proven: of members, and of those who have left.
    fn roles_to_remember(&self, room: &Room) -> Vec<RoleRecord> {
        let remembered = room.rules.as_ref().map_or(&[][..], |rules| &rules.remembered);
        let proven = |conn| self.sessions.find(conn).filter(|session| session.account);
        let inside: Vec<_> = room
            .roles
            .iter()
            .filter_map(|(conn, role)| {
                let session = proven(conn)?;
                Some((comparison_key(&session.nick)?, &*session.nick, role))
            })
            .collect();
        let is_inside = |key: &str| inside.iter().any(|(own, ..)| **own == *key);
        let away = remembered.iter().filter(|found| !is_inside(&found.key));
        let away = away.map(|found| (&*found.nick, found.role));
        let roles = away.chain(inside.iter().map(|(_, nick, role)| (*nick, *role)));
        roles
            .map(|(nick, role)| RoleRecord { nick: nick.into(), role: role.label().into() })
            .collect()
    }

    /// Has a room be there again; `false` where nothing says any more that it stays.
    ///
    /// # Errors
    /// Why there can't be such a room.
    fn restore_room(
        &mut self,
        record: &RoomRecord,
        left_out: &mut Vec<String>,
    ) -> Result<bool, String> {
        let found = self.rooms.find(&record.name);
        if found.is_none() && !record.modes.keep {
            return Ok(false);
        }
        self.check_room_name(&record.name).map_err(|refused| refused.error.into_owned())?;
        let key = found.unwrap_or_else(|| {
            let seen = self.rooms.look_at(&record.name);
            let key = self.rooms.create(&record.name, seen, record.created_unix_us);
            if let Some(room) = self.rooms.room(key) {
                self.params_total_bytes += room.params.counted_bytes();
            }
            key
        });
        let mut out_of = |what: &str, error: &str| {
            left_out.push(format!("room {}: {what}: {error}", record.name));
        };
        if let Some(room) = self.rooms.room_mut(key) {
            room.created_unix_us = record.created_unix_us;
            // They come in the order in which they were.
            room.params.remove(TITLE, &mut self.params_total_bytes);
            room.params.remove(OPEN_PARAMS, &mut self.params_total_bytes);
        }
        for (name, value) in &record.params {
            if let Err(refused) = self.put_room_param(key, name, value) {
                out_of(&format!("param {name}"), &refused.error);
            }
        }
        if self.rooms.room(key).is_some_and(|room| room.params.value(OPEN_PARAMS).is_none()) {
            let _ = self.put_room_param(key, OPEN_PARAMS, "0");
        }
        let locked =
            self.rooms.room(key).is_some_and(|room| room.params.value(LOCKED).is_some_and(is_on));
        let unix_s = self.unix_now_s();
        self.rooms.set_modes(key, modes_of(&record.modes, locked, &mut out_of));
        let rules = self.rooms.rules_mut(key);
        let before = std::mem::take(rules);
        *rules = RoomRules {
            modes: before.modes,
            declared: before.declared,
            operators: before.operators,
            ..RoomRules::default()
        };
        take_in_rules(rules, record, unix_s, &mut out_of);
        self.drop_empty_rules(key);
        Ok(true)
    }

    /// Lists a room under the one that it was created under, as it was.
    fn restore_place(&mut self, record: &RoomRecord) {
        let parent = record.parent.as_deref().and_then(|name| self.rooms.find(name));
        let (Some(parent), Some(child)) = (parent, self.rooms.find(&record.name)) else {
            return;
        };
        // What was made by hand may say what can't be.
        let fits = matches!(self.rooms.above(parent, child), Ok((_, false)));
        if fits && self.rooms.room(child).is_some_and(|room| room.parent.is_none()) {
            self.rooms.list(parent, child);
            if let Some(room) = self.rooms.room_mut(child) {
                room.parent = Some(parent);
            }
        }
    }
}

/// What holds for a nick, as a record.
pub(super) fn nick_record(nick: &str, by: &str, until_unix_s: Option<u64>) -> NickRecord {
    NickRecord { nick: nick.into(), by: by.into(), until_unix_s, ..NickRecord::default() }
}

/// A record, by what it is of.
fn named(record: &Record) -> String {
    match record {
        Record::Room(room) => format!("room {}", room.name),
        Record::NickBan(found) => format!("ban of {}", found.nick),
        Record::NetworkBan(found) => format!("ban of {}", found.network),
        Record::Mute(found) => format!("mute of {}", found.nick),
    }
}

/// The modes of a record, as far as they can be. The param of the same name says whether the room
/// is locked.
fn modes_of(record: &ModesRecord, locked: bool, out_of: &mut impl FnMut(&str, &str)) -> Modes {
    let mut password = record.password.text();
    if password.len() > ROOM_PASSWORD_BYTES_MAX {
        out_of("password", "too long");
        password = "";
    }
    Modes {
        locked,
        password: RoomPassword::of(password),
        limit: record.limit,
        moderated: record.moderated,
        hidden: record.hidden,
        keep: record.keep,
        // There is no history yet: what a record of another version asks for is none.
        history: HISTORY_MESSAGES_MAX,
    }
}

/// Takes in whom a room keeps out, whom it keeps silent and whose role it remembers.
fn take_in_rules(
    rules: &mut RoomRules,
    record: &RoomRecord,
    unix_s: u64,
    out_of: &mut impl FnMut(&str, &str),
) {
    let mut key_of = |what: &str, nick: &str, fits: bool| {
        let key = comparison_key(nick).filter(|_| fits);
        if key.is_none() {
            let error = if fits { "nobody can have this nick" } else { "too many" };
            out_of(&format!("{what} {nick}"), error);
        }
        key
    };
    for ban in record.bans.iter().filter(|ban| !is_over(ban.until_unix_s, unix_s)) {
        if let Some(key) = key_of("ban of", &ban.nick, rules.bans.len() < ROOM_BANS_MAX) {
            rules.bans.push(RoomBan {
                key,
                nick: (*ban.nick).into(),
                household: ban.household,
                by: (*ban.by).into(),
                until_unix_s: ban.until_unix_s,
                reason: ban.reason.as_deref().map(Into::into),
            });
        }
    }
    for mute in record.mutes.iter().filter(|mute| !is_over(mute.until_unix_s, unix_s)) {
        if let Some(key) = key_of("mute of", &mute.nick, rules.mutes.len() < ROOM_MUTES_MAX) {
            rules.mutes.push(Mute {
                key,
                nick: (*mute.nick).into(),
                conn: None,
                by: (*mute.by).into(),
                until_unix_s: mute.until_unix_s,
            });
        }
    }
    for found in &record.roles {
        let fits = rules.remembered.len() < REMEMBERED_ROLES_MAX;
        if let Some(key) = key_of("role of", &found.nick, fits)
            && let Some(role) = Role::of(&found.role)
        {
            rules.remembered.push(RememberedRole { key, nick: (*found.nick).into(), role });
        }
    }
}
