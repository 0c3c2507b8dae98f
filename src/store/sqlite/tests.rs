//! Tests of the store's file by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::Lock;
use super::*;

fn room(name: &str) -> Record {
    Record::Room(Box::new(RoomRecord {
        name: name.to_owned(),
        created_unix_us: 1,
        place: 2,
        parent: Some("Zoo".to_owned()),
        modes: ModesRecord {
            password: HiddenText::new("pw"),
            limit: 3,
            keep: true,
            ..ModesRecord::default()
        },
        params: vec![("title".to_owned(), "a".to_owned()), ("a".to_owned(), String::new())],
        bans: vec![NickRecord {
            household: Some([192, 0, 2, 1].into()),
            reason: Some("spam".to_owned()),
            ..nick("Eve")
        }],
        mutes: vec![nick("Tim"), nick("Tom")],
        roles: vec![RoleRecord { nick: "Ann".to_owned(), role: "operator".to_owned() }],
    }))
}

fn nick(nick: &str) -> NickRecord {
    NickRecord {
        nick: nick.to_owned(),
        by: "Ann".to_owned(),
        until_unix_s: Some(9),
        ..NickRecord::default()
    }
}

fn put(records: &[Record]) -> Vec<Change> {
    records.iter().cloned().map(Change::Put).collect()
}

#[test]
fn what_is_written_is_read_and_what_is_removed_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut store = StoreFile::open(&path).unwrap();
    assert!(store.is_new());
    let network = NetworkRecord { network: "192.0.2.0/24".to_owned(), ..NetworkRecord::default() };
    let records = [
        room("Class"),
        Record::NickBan(nick("Eve")),
        Record::NetworkBan(network),
        Record::Mute(nick("Tim")),
    ];
    store.apply(&put(&records)).unwrap();
    store.apply(&put(&records)).unwrap();
    // Somebody else reads it meanwhile.
    let reader = StoreFile::open_to_read(&path).unwrap();
    assert_eq!(reader.read().unwrap(), records);
    reader.check().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(store);
    let mut store = StoreFile::open(&path).unwrap();
    assert!(!store.is_new());
    let keys = [
        RecordKey::Room("Class".into()),
        RecordKey::NickBan("eve".into()),
        RecordKey::NetworkBan("192.0.2.0/24".into()),
        RecordKey::Mute("tim".into()),
    ];
    store.apply(&keys.map(Change::Remove)).unwrap();
    assert_eq!(reader.read().unwrap(), []);
    let left: i64 =
        store.sqlite.query_row("SELECT count(*) FROM room_params", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "nothing of a room stays behind");
}

#[test]
fn a_store_that_cannot_be_used_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let refused = |path: &Path| StoreFile::open(path).unwrap_err().to_string();

    fs::write(at("text"), "this is no database, however long it is ".repeat(100)).unwrap();
    assert!(refused(&at("text")).contains("is damaged"), "{}", refused(&at("text")));

    drop(StoreFile::open(&at("newer")).unwrap());
    Connection::open(at("newer")).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(refused(&at("newer")).contains("a newer palabre"), "{}", refused(&at("newer")));

    Connection::open(at("other")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(refused(&at("other")).contains("no store of palabre"), "{}", refused(&at("other")));

    let mut store = StoreFile::open(&at("cut")).unwrap();
    store.apply(&put(&[room("A"), room("B")])).unwrap();
    drop(store);
    let bytes = fs::read(at("cut")).unwrap();
    fs::write(at("cut"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(&at("cut")).contains("is damaged"), "{}", refused(&at("cut")));
    assert!(StoreFile::open_to_read(&at("absent")).is_err(), "nothing is made to be read");
    assert!(!at("absent").exists());
}

#[test]
fn tables_of_an_older_version_become_those_of_the_present_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    make(&path).unwrap();
    let store = StoreFile::open_as(&path, OpenFlags::SQLITE_OPEN_READ_WRITE, true).unwrap();
    store.migrate(&["CREATE TABLE t (a)"]).unwrap();
    let both = ["CREATE TABLE t (a)", "ALTER TABLE t ADD COLUMN b"];
    store.migrate(&both).unwrap();
    assert_eq!(store.version().unwrap(), 2);
    store.sqlite.execute("INSERT INTO t VALUES (1, 2)", []).unwrap();
    // One that fails leaves nothing behind.
    assert!(store.migrate(&[both[0], both[1], "CREATE TABLE u (a); nonsense"]).is_err());
    assert_eq!(store.version().unwrap(), 2);
    assert!(store.sqlite.prepare("SELECT a FROM u").is_err());
}

#[test]
fn a_batch_is_written_as_a_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut store = StoreFile::open(&path).unwrap();
    store.sqlite.pragma_update(None, "max_page_count", 24).unwrap();
    let full = (0..512).map(|number| room(&number.to_string())).collect::<Vec<_>>();
    store.apply(&put(&full[..1])).unwrap();
    let error = store.apply(&put(&full)).unwrap_err().to_string();
    assert!(error.contains("full"), "{error}");
    assert_eq!(store.read().unwrap(), full[..1], "the disk is full, and what was there is there");
    store.sqlite.pragma_update(None, "max_page_count", 4096).unwrap();
    store.apply(&put(&full)).unwrap();
    assert_eq!(store.read().unwrap().len(), 512);
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.apply(&[]), Err(Error::Replaced(_))));
}

#[test]
fn one_server_has_a_store_and_its_process_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let take = || Lock::take(&path, Duration::ZERO);
    let server = take().unwrap();
    assert!(matches!(take(), Err(Error::InUse(_))));
    assert!(matches!(Lock::join(&path), Err(Error::InUse(_))), "it begins");
    server.share().unwrap();
    let writer = Lock::join(&path).unwrap();
    assert!(matches!(take(), Err(Error::InUse(_))));
    drop(server);
    assert!(matches!(take(), Err(Error::InUse(_))), "its process still writes");
    drop(writer);
    take().unwrap();
}
