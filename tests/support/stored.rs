//! What a store would have of a hub, and the test that a hub made of it is the same.

use std::collections::{BTreeMap, BTreeSet};

use palabre::hub::{HashKey, Hub, Settings, comparison_key};
use palabre::record::{Change, Record, RecordKey};

/// What was handed over, record by record.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    records: BTreeMap<RecordKey, Record>,
    batches: usize,
}

/// So many batches, and one is lost after it was written.
const LOST_IN: usize = 3;

impl Stored {
    /// The records, as a store would give them.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.values().cloned().collect()
    }

    /// Takes what the hub hands over, one change at a time; now and then the confirmation is lost.
    pub(crate) fn follow(&mut self, hub: &mut Hub) {
        while let Some(handed) = hub.changes(1) {
            assert_eq!(handed.changes.len(), 1, "so much was asked for");
            for change in handed.changes {
                take(&mut self.records, change);
            }
            self.batches += 1;
            if self.batches.is_multiple_of(LOST_IN) {
                hub.changes_lost();
            } else {
                hub.changes_stored(handed.number);
            }
        }
    }

    /// Makes another hub of the records, which must have the same ones again.
    pub(crate) fn check(&mut self, hub: &mut Hub, settings: &Settings, unix_us: u64) {
        self.follow(hub);
        let mut again = Hub::new(settings.clone(), HashKey(3, 4), unix_us);
        let restored = again.restore(&self.records());
        assert_eq!(restored.left_out, [""; 0], "what can't be restored");
        again.check_invariants();
        let unix_s = unix_us / 1_000_000;
        // A room of the configuration is stored when it is another one than that says, and is what
        // that says again as soon as the configuration is read.
        let declared: BTreeSet<RecordKey> = settings
            .declared_rooms
            .iter()
            .map(|room| RecordKey::Room((*room.name).into()))
            .collect();
        let of_others = |records: BTreeMap<RecordKey, Record>| -> BTreeMap<RecordKey, Record> {
            records.into_iter().filter(|(key, _)| !declared.contains(key)).collect()
        };
        let here = of_others(all(hub, unix_s));
        assert_eq!(of_others(all(&mut again, unix_s)), here, "what is restored is as it was");
        let stored = self.records.clone().into_iter().filter(|(_, record)| holds(record, unix_s));
        let stored = of_others(stored.map(|(key, record)| (key, of_now(record, unix_s))).collect());
        assert_eq!(stored, here, "the store has what is there");
    }
}

/// Everything that a hub keeps.
fn all(hub: &mut Hub, unix_s: u64) -> BTreeMap<RecordKey, Record> {
    hub.change_all();
    let mut records = BTreeMap::new();
    while let Some(handed) = hub.changes(usize::MAX) {
        handed.changes.into_iter().for_each(|change| take(&mut records, change));
        hub.changes_stored(handed.number);
    }
    let records = records.into_iter().filter(|(_, record)| holds(record, unix_s));
    records.map(|(key, record)| (key, of_now(record, unix_s))).collect()
}

fn holds(record: &Record, unix_s: u64) -> bool {
    let until = match record {
        Record::Room(_) => None,
        Record::NickBan(found) | Record::Mute(found) => found.until_unix_s,
        Record::NetworkBan(found) => found.until_unix_s,
    };
    until.is_none_or(|until| until > unix_s)
}

/// A record without what is over in it, and without its place, which is another one each time.
fn of_now(mut record: Record, unix_s: u64) -> Record {
    if let Record::Room(room) = &mut record {
        room.place = 0;
        room.bans.retain(|ban| ban.until_unix_s.is_none_or(|until| until > unix_s));
        room.mutes.retain(|mute| mute.until_unix_s.is_none_or(|until| until > unix_s));
    }
    record
}

fn take(records: &mut BTreeMap<RecordKey, Record>, change: Change) {
    match change {
        Change::Put(record) => _ = records.insert(key_of(&record), record),
        Change::Remove(key) => _ = records.remove(&key),
    }
}

fn key_of(record: &Record) -> RecordKey {
    let nick = |nick: &str| comparison_key(nick).expect("a nick");
    match record {
        Record::Room(room) => RecordKey::Room((*room.name).into()),
        Record::NickBan(found) => RecordKey::NickBan(nick(&found.nick)),
        Record::NetworkBan(found) => RecordKey::NetworkBan((*found.network).into()),
        Record::Mute(found) => RecordKey::Mute(nick(&found.nick)),
    }
}
