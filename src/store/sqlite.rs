//! The store's file, with SQLite: its tables, their versions, and how records stand in them.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, params};

use super::Error;
use crate::files;
use crate::limits::{STORE_BUSY_TIME_S, STORE_WAL_BYTES_KEPT};
use crate::nick::comparison_key;
use crate::record::{
    Change, ModesRecord, NetworkRecord, NickRecord, Record, RecordKey, RoleRecord, RoomRecord,
};
use crate::secret::HiddenText;

/// `palb`: what says in the head of the file whose it is.
const APPLICATION_ID: i64 = 0x7061_6c62;

/// What makes the tables of each version of those of the one before; the first one makes them of
/// nothing. What is here has been written by somebody's server: it never changes, another one
/// comes behind it.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE rooms (
        name TEXT PRIMARY KEY, created_us INTEGER NOT NULL, place INTEGER NOT NULL, parent TEXT,
        locked INTEGER NOT NULL, password TEXT, member_limit INTEGER NOT NULL,
        moderated INTEGER NOT NULL, hidden INTEGER NOT NULL, keep INTEGER NOT NULL,
        history INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE room_params (
        room TEXT NOT NULL REFERENCES rooms (name) ON DELETE CASCADE, place INTEGER NOT NULL,
        name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (room, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE room_bans (
        room TEXT NOT NULL REFERENCES rooms (name) ON DELETE CASCADE, place INTEGER NOT NULL,
        nick TEXT NOT NULL, household TEXT, given_by TEXT NOT NULL, until_s INTEGER, reason TEXT,
        PRIMARY KEY (room, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE room_mutes (
        room TEXT NOT NULL REFERENCES rooms (name) ON DELETE CASCADE, place INTEGER NOT NULL,
        nick TEXT NOT NULL, household TEXT, given_by TEXT NOT NULL, until_s INTEGER, reason TEXT,
        PRIMARY KEY (room, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE room_roles (
        room TEXT NOT NULL REFERENCES rooms (name) ON DELETE CASCADE, place INTEGER NOT NULL,
        nick TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (room, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE nick_bans (
        key TEXT PRIMARY KEY, nick TEXT NOT NULL, given_by TEXT NOT NULL, until_s INTEGER,
        reason TEXT
    ) STRICT;
    CREATE TABLE network_bans (
        network TEXT PRIMARY KEY, given_by TEXT NOT NULL, until_s INTEGER, reason TEXT
    ) STRICT;
    CREATE TABLE mutes (
        key TEXT PRIMARY KEY, nick TEXT NOT NULL, given_by TEXT NOT NULL, until_s INTEGER,
        reason TEXT
    ) STRICT;
"];

/// An open store.
#[derive(Debug)]
pub struct StoreFile {
    sqlite: Connection,
    path: PathBuf,
    /// Device and number of the file that is open.
    file: (u64, u64),
    is_new: bool,
}

impl StoreFile {
    /// Opens a store to read and write it; one that is not there is made, for its owner alone. Its
    /// tables are brought to the present version.
    ///
    /// # Errors
    /// Why it can't be used, and what to do.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_new = make(path)?;
        let store = Self::open_as(path, OpenFlags::SQLITE_OPEN_READ_WRITE, is_new)?;
        // Batches are on the disk when they are confirmed: a host that loses its power has what a
        // killed process has. It is a write to the disk for a batch, and in a process that nobody
        // waits for.
        store.say("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
        store.say(&format!("PRAGMA journal_size_limit = {STORE_WAL_BYTES_KEPT}"))?;
        store.migrate(MIGRATIONS)?;
        Ok(store)
    }

    /// Opens a store that is there to read it, while a server may be writing it.
    ///
    /// # Errors
    /// As [`StoreFile::open`].
    pub fn open_to_read(path: &Path) -> Result<Self, Error> {
        let store = Self::open_as(path, OpenFlags::SQLITE_OPEN_READ_ONLY, false)?;
        match store.version()? {
            0 => Err(Error::Foreign(path.to_owned())),
            _ => Ok(store),
        }
    }

    /// Whether it was made, and has nothing.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    fn open_as(path: &Path, flags: OpenFlags, is_new: bool) -> Result<Self, Error> {
        let metadata = fs::metadata(path).map_err(|error| Error::system(path, error))?;
        files::check(metadata.file_type()).map_err(|error| Error::system(path, error))?;
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let told = |error| told(path, error);
        let sqlite = Connection::open_with_flags(path, flags).map_err(told)?;
        sqlite.busy_timeout(Duration::from_secs(STORE_BUSY_TIME_S)).map_err(told)?;
        let file = (metadata.dev(), metadata.ino());
        let store = Self { sqlite, path: path.to_owned(), file, is_new };
        store.say("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF")?;
        let newest = MIGRATIONS.len() as i64;
        let version = store.version()?;
        if version > newest {
            return Err(Error::Newer { path: path.to_owned(), version });
        }
        store.check_by("quick_check")?;
        Ok(store)
    }

    /// The version of its tables; 0 where there are none.
    fn version(&self) -> Result<i64, Error> {
        let number = |sql: &str| {
            self.sqlite
                .query_row(sql, [], |row| row.get::<_, i64>(0))
                .map_err(|error| self.told(error))
        };
        let version = number("PRAGMA user_version")?;
        let owner = number("PRAGMA application_id")?;
        let is_empty = || Ok(number("SELECT count(*) FROM sqlite_schema")? == 0);
        if owner == APPLICATION_ID || (owner == 0 && version == 0 && is_empty()?) {
            return Ok(version);
        }
        Err(Error::Foreign(self.path.clone()))
    }

    fn migrate(&self, migrations: &[&str]) -> Result<(), Error> {
        let version = usize::try_from(self.version()?).unwrap_or(0);
        for (done, migration) in migrations.iter().enumerate().skip(version) {
            let next = done + 1;
            self.say(&format!(
                "BEGIN IMMEDIATE; {migration}; PRAGMA application_id = {APPLICATION_ID};
                 PRAGMA user_version = {next}; COMMIT"
            ))?;
        }
        Ok(())
    }

    /// Looks through the whole file.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn check(&self) -> Result<(), Error> {
        self.check_by("integrity_check")
    }

    fn check_by(&self, check: &str) -> Result<(), Error> {
        let found: String = self
            .sqlite
            .query_row(&format!("PRAGMA {check}(1)"), [], |row| row.get(0))
            .map_err(|error| self.told(error))?;
        if found == "ok" {
            return Ok(());
        }
        Err(Error::Damaged { path: self.path.clone(), found })
    }

    /// Everything that it has: rooms in the order of their creation, then bans and mutes.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&self) -> Result<Vec<Record>, Error> {
        self.read_all().map_err(|error| self.told(error))
    }

    fn read_all(&self) -> Result<Vec<Record>, rusqlite::Error> {
        // All of it as it is at one time.
        let reading = self.sqlite.unchecked_transaction()?;
        let mut rooms = reading.prepare("SELECT * FROM rooms ORDER BY created_us, place, name")?;
        let rooms: Vec<RoomRecord> = rooms.query_map([], room_of)?.collect::<Result<_, _>>()?;
        let mut records = Vec::new();
        for mut room in rooms {
            let name = room.name.clone();
            let mut asked = reading.prepare_cached(
                "SELECT name, value FROM room_params WHERE room = ? ORDER BY place",
            )?;
            room.params = asked
                .query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let nicks = |table: &str| -> Result<Vec<NickRecord>, rusqlite::Error> {
                let sql = format!("SELECT * FROM {table} WHERE room = ? ORDER BY place");
                let mut asked = reading.prepare_cached(&sql)?;
                let found = asked.query_map([&name], |row| {
                    let household: Option<String> = row.get("household")?;
                    let household = household.and_then(|text| text.parse().ok());
                    Ok(NickRecord { household, ..nick_of(row)? })
                })?;
                found.collect()
            };
            room.bans = nicks("room_bans")?;
            room.mutes = nicks("room_mutes")?;
            let mut asked = reading.prepare_cached(
                "SELECT nick, role FROM room_roles WHERE room = ? ORDER BY place",
            )?;
            room.roles = asked
                .query_map([&name], |row| Ok(RoleRecord { nick: row.get(0)?, role: row.get(1)? }))?
                .collect::<Result<_, _>>()?;
            records.push(Record::Room(Box::new(room)));
        }
        let mut asked = reading.prepare("SELECT * FROM nick_bans ORDER BY key")?;
        let found = asked.query_map([], |row| Ok(Record::NickBan(nick_of(row)?)))?;
        records.extend(found.collect::<Result<Vec<_>, _>>()?);
        let mut asked = reading.prepare("SELECT * FROM network_bans ORDER BY network")?;
        let found = asked.query_map([], |row| {
            Ok(Record::NetworkBan(NetworkRecord {
                network: row.get("network")?,
                by: row.get("given_by")?,
                until_unix_s: row.get::<_, Option<i64>>("until_s")?.map(i64::cast_unsigned),
                reason: row.get("reason")?,
            }))
        })?;
        records.extend(found.collect::<Result<Vec<_>, _>>()?);
        let mut asked = reading.prepare("SELECT * FROM mutes ORDER BY key")?;
        let found = asked.query_map([], |row| Ok(Record::Mute(nick_of(row)?)))?;
        records.extend(found.collect::<Result<Vec<_>, _>>()?);
        Ok(records)
    }

    /// Writes changes, all or none; they are on the disk then.
    ///
    /// # Errors
    /// Why they are not.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), Error> {
        let there = fs::metadata(&self.path).ok().map(|found| (found.dev(), found.ino()));
        if there != Some(self.file) {
            return Err(Error::Replaced(self.path.clone()));
        }
        let path = self.path.clone();
        let mut write = || {
            let writing = self.sqlite.transaction()?;
            for change in changes {
                match change {
                    Change::Put(record) => put(&writing, record)?,
                    Change::Remove(key) => remove(&writing, key)?,
                }
            }
            writing.commit()
        };
        write().map_err(|error| told(&path, error))
    }

    fn say(&self, sql: &str) -> Result<(), Error> {
        self.sqlite.execute_batch(sql).map_err(|error| {
            // One that began and could not go on.
            let _ = self.sqlite.execute_batch("ROLLBACK");
            self.told(error)
        })
    }

    fn told(&self, error: rusqlite::Error) -> Error {
        told(&self.path, error)
    }
}

/// Makes an empty file for its owner alone where there is none; whether it did.
fn make(path: &Path) -> Result<bool, Error> {
    files::check_place(path).map_err(|error| Error::system(path, error))?;
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::system(path, error)),
    }
}

fn told(path: &Path, error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::Damaged { path: path.to_owned(), found: error.to_string() }
        }
        Some(_) | None => Error::system(path, error),
    }
}

fn room_of(row: &Row<'_>) -> Result<RoomRecord, rusqlite::Error> {
    let password: Option<String> = row.get("password")?;
    Ok(RoomRecord {
        name: row.get("name")?,
        created_unix_us: row.get::<_, i64>("created_us")?.cast_unsigned(),
        place: row.get::<_, i64>("place")?.cast_unsigned(),
        parent: row.get("parent")?,
        modes: ModesRecord {
            locked: row.get("locked")?,
            password: HiddenText::new(&password.unwrap_or_default()),
            limit: row.get("member_limit")?,
            moderated: row.get("moderated")?,
            hidden: row.get("hidden")?,
            keep: row.get("keep")?,
            history: row.get("history")?,
        },
        ..RoomRecord::default()
    })
}

fn nick_of(row: &Row<'_>) -> Result<NickRecord, rusqlite::Error> {
    Ok(NickRecord {
        nick: row.get("nick")?,
        household: None,
        by: row.get("given_by")?,
        until_unix_s: row.get::<_, Option<i64>>("until_s")?.map(i64::cast_unsigned),
        reason: row.get("reason")?,
    })
}

fn put(writing: &Transaction<'_>, record: &Record) -> Result<(), rusqlite::Error> {
    let key = |nick: &str| comparison_key(nick).unwrap_or_else(|| nick.into());
    let put_nick = |table: &str, found: &NickRecord| {
        let sql = format!("INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?)");
        let until_s = found.until_unix_s.map(u64::cast_signed);
        let values = params![&*key(&found.nick), found.nick, found.by, until_s, found.reason];
        writing.prepare_cached(&sql)?.execute(values).map(|_| ())
    };
    match record {
        Record::Room(room) => put_room(writing, room),
        Record::NickBan(found) => put_nick("nick_bans", found),
        Record::Mute(found) => put_nick("mutes", found),
        Record::NetworkBan(found) => {
            let sql = "INSERT OR REPLACE INTO network_bans VALUES (?, ?, ?, ?)";
            let until_s = found.until_unix_s.map(u64::cast_signed);
            let values = params![found.network, found.by, until_s, found.reason];
            writing.prepare_cached(sql)?.execute(values).map(|_| ())
        }
    }
}

fn put_room(writing: &Transaction<'_>, room: &RoomRecord) -> Result<(), rusqlite::Error> {
    writing.prepare_cached("DELETE FROM rooms WHERE name = ?")?.execute([&room.name])?;
    let modes = &room.modes;
    let password = Some(modes.password.text()).filter(|text| !text.is_empty());
    writing.prepare_cached("INSERT INTO rooms VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute(
        params![
            room.name,
            room.created_unix_us.cast_signed(),
            room.place.cast_signed(),
            room.parent,
            modes.locked,
            password,
            modes.limit,
            modes.moderated,
            modes.hidden,
            modes.keep,
            modes.history
        ],
    )?;
    let mut insert = writing.prepare_cached("INSERT INTO room_params VALUES (?, ?, ?, ?)")?;
    for (place, (name, value)) in (0_u32..).zip(&room.params) {
        insert.execute(params![room.name, place, name, value])?;
    }
    for (table, nicks) in [("room_bans", &room.bans), ("room_mutes", &room.mutes)] {
        let sql = format!("INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)");
        let mut insert = writing.prepare_cached(&sql)?;
        for (place, found) in (0_u32..).zip(nicks) {
            let household = found.household.map(|household| household.to_string());
            let until_s = found.until_unix_s.map(u64::cast_signed);
            insert.execute(params![
                room.name,
                place,
                found.nick,
                household,
                found.by,
                until_s,
                found.reason
            ])?;
        }
    }
    let mut insert = writing.prepare_cached("INSERT INTO room_roles VALUES (?, ?, ?, ?)")?;
    for (place, found) in (0_u32..).zip(&room.roles) {
        insert.execute(params![room.name, place, found.nick, found.role])?;
    }
    Ok(())
}

fn remove(writing: &Transaction<'_>, key: &RecordKey) -> Result<(), rusqlite::Error> {
    let (sql, key) = match key {
        RecordKey::Room(name) => ("DELETE FROM rooms WHERE name = ?", name),
        RecordKey::NickBan(key) => ("DELETE FROM nick_bans WHERE key = ?", key),
        RecordKey::NetworkBan(network) => ("DELETE FROM network_bans WHERE network = ?", network),
        RecordKey::Mute(key) => ("DELETE FROM mutes WHERE key = ?", key),
    };
    writing.prepare_cached(sql)?.execute([&**key]).map(|_| ())
}

#[cfg(test)]
mod tests;
