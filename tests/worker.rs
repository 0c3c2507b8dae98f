//! The worker, asked by a test that plays the server: accounts, guests, root, SQLite.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[path = "support/built.rs"]
mod built;
#[path = "support/worker.rs"]
mod worker;

use std::fs;
use std::io::Write as _;

use palabre::accounts::hash::PasswordHash;
use worker::{House, question};

/// The hash of `hunter2`, cheap to check.
const HUNTER2: &str =
    "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHlzYWx0$85yfauD48H6oCqXbtRb4FaiAZ3ovzFEmMdlN/XEkibQ";

#[test]
fn it_registers_what_the_configuration_needs_it_for() {
    let root = format!("[admin]\npassword = {HUNTER2}\n");
    let accounts = "[accounts]\nfile = accounts\n";
    for (config, hooks) in [
        (accounts.to_owned(), "isAuthorized"),
        (root.clone(), "isRoot"),
        (root + accounts, "isAuthorized isRoot"),
        ("[admin]\npassword = plain\n".to_owned(), ""),
    ] {
        House::new(&config).worker(hooks);
    }
}

#[test]
fn an_account_lets_in_by_its_password_alone() {
    let house = House::new("[accounts]\nfile = accounts\n");
    let odd = "it's <\"&\n é\u{1F914}";
    let hash = PasswordHash::of(odd).unwrap();
    house.write("accounts", &format!("# ours\nAnn:{HUNTER2}\nB:'&<b:{}\n", hash.as_str()));
    let mut worker = house.worker("isAuthorized");
    assert!(worker.may("Ann", "hunter2"));
    assert!(worker.may("ＡＮＮ", "hunter2"), "it is the same nick");
    assert!(worker.may("B:'&<b", odd));
    for (nick, password) in [
        ("Ann", "hunter3"),
        ("Ann", "Hunter2"),
        ("Ann", ""),
        ("Ann", odd),
        ("Ann", &"x".repeat(1_025)),
        ("Bob", "hunter2"),
        ("Bob", ""),
        ("# ours", "hunter2"),
        ("", "hunter2"),
    ] {
        assert!(worker.refuses(nick, password), "{nick:?}");
    }
    assert_eq!(worker.answer("isAuthorized", "Ann", &[]), Some(false));
    assert_eq!(worker.answer("isAuthorized", "Ann", &[("rootpass", "hunter2")]), Some(false));
    assert_eq!(worker.log, ["info'>accounts read: 2"]);
    assert_eq!(worker.end(), (Some(0), String::new()));
}

/// As a file of another kind that somebody has put there is; the server ends who says too much.
#[test]
fn of_a_file_that_is_wrong_in_each_line_no_more_is_told_than_can_be_read() {
    let house = House::new("[accounts]\nfile = accounts\n");
    house.write("accounts", &format!("Ann:{HUNTER2}\n"));
    let mut worker = house.worker("isAuthorized");
    assert!(worker.may("Ann", "hunter2"));
    house.write("accounts", &"Ann:hunter3\n".repeat(2_000));
    assert!(worker.may("Ann", "hunter2"));
    let log = worker.log.join("\n");
    assert!(log.contains("/accounts:20: ") && !log.contains("/accounts:21: "), "{log}");
    assert!(log.contains("lines after these may be wrong as well"), "{log}");
    assert!(log.contains("stay in force") && !log.contains("hunter"), "{log}");
}

#[test]
fn guests_are_those_without_an_account() {
    let house = House::new("[accounts]\nfile = accounts\nguests = yes\n");
    house.write("accounts", &format!("Ann:{HUNTER2}\n"));
    let mut worker = house.worker("isAuthorized");
    assert!(worker.ask("isAuthorized", "Bob", &[]));
    assert!(worker.may("Bob", "whatever") && !worker.account, "a guest proves nothing");
    assert!(worker.may("ann", "hunter2") && worker.account, "the password is the account's");
    assert!(worker.refuses("ann", "whatever"));
    assert!(!worker.ask("isAuthorized", "ann", &[]));
}

#[test]
fn a_change_of_the_accounts_counts_for_the_next_login() {
    let house = House::new("[accounts]\nfile = accounts\n");
    house.write("accounts", "");
    let mut worker = house.worker("isAuthorized");
    assert!(worker.refuses("Ann", "sesame"));
    let passwd = |arguments: &[&str], input: &[u8]| {
        let mut child = house.command(&[&["passwd"], arguments].concat()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        assert!(child.wait().unwrap().success());
    };
    passwd(&["add", "Ann"], b"sesame\n");
    assert!(worker.may("Ann", "sesame"));
    passwd(&["add", "Ann"], b"sesame2\n");
    assert!(worker.refuses("Ann", "sesame"));
    assert!(worker.may("Ann", "sesame2"));
    passwd(&["remove", "Ann"], b"");
    assert!(worker.refuses("Ann", "sesame2"));
}

#[test]
fn accounts_that_can_not_be_read_again_stay_as_they_were() {
    let house = House::new("[accounts]\nfile = accounts\nguests = yes\n");
    house.write("accounts", &format!("Ann:{HUNTER2}\n"));
    let mut worker = house.worker("isAuthorized");
    assert!(worker.may("Ann", "hunter2"));
    house.write("accounts", "Ann:hunter3\n");
    assert!(worker.may("Ann", "hunter2"));
    assert!(worker.refuses("Ann", "hunter3"));
    let log = worker.log.join("\n");
    assert!(log.contains("/accounts:1: found a line without a hash"), "{log}");
    assert!(log.contains("stay in force") && !log.contains("hunter"), "{log}");
}

#[test]
fn without_the_accounts_nobody_is_let_in_not_even_guests() {
    let house = House::new("[accounts]\nfile = accounts\nguests = yes\n");
    let mut worker = house.worker("isAuthorized");
    assert_eq!(worker.answer("isAuthorized", "Bob", &[]), None);
    assert_eq!(worker.why, "the accounts file can&apos;t be read");
    assert!(worker.is_unsure("Ann", "hunter2") && !worker.denied);
    assert!(worker.log.join("\n").contains("can't read the accounts file"), "{:?}", worker.log);
    house.write("accounts", "");
    assert!(worker.ask("isAuthorized", "Bob", &[]));
}

#[test]
fn root_is_who_knows_the_password_of_the_hash() {
    let house = House::new(&format!("[admin]\npassword = {HUNTER2}\n"));
    let mut worker = house.worker("isRoot");
    assert!(worker.ask("isRoot", "Ann", &[("rootpass", "hunter2")]));
    for attributes in [&[("rootpass", "hunter3")], &[("rootpass", "")], &[("password", "hunter2")]]
    {
        assert_eq!(worker.answer("isRoot", "Ann", attributes), Some(false), "{attributes:?}");
    }
    assert!(worker.refuses("Ann", "hunter2"));
    assert_eq!(worker.answer("isCaptain", "Ann", &[("rootpass", "hunter2")]), None);
}

#[test]
fn what_it_does_not_know_it_leaves_alone() {
    let house = House::new(&format!(
        "[admin]\npassword = {HUNTER2}\n[limits]\ndepth = 2\nattributes = 1\n"
    ));
    let mut worker = house.worker("isRoot");
    for stanza in [
        "<event hook='onShutdown' />",
        "<dropped count='3' />",
        "<error>no</error>",
        "no stanza",
        "<ask ask='7' hook='isRoot' nick='Ann' />",
    ] {
        worker.send(stanza);
    }
    assert_eq!(worker.verdict(), (7, Some(false)));
    // What clients are held to is not held against what the server sends.
    let deep = "<ask ask='9' hook='isRoot' a='' b='' c=''><connect rootpass='hunter2' d='' e=''>\
                <a><b><c/></b></a></connect></ask>";
    worker.send(deep);
    assert_eq!(worker.verdict(), (9, Some(true)));
}

#[test]
fn the_largest_stanza_of_a_client_is_no_obstacle() {
    let house = House::new("[accounts]\nfile = accounts\n[limits]\nstanzabytes = 2000\n");
    let nick = "'".repeat(64);
    house.write("accounts", &format!("{nick}:{HUNTER2}\n"));
    let mut worker = house.worker("isAuthorized");
    let rest = 2_000 - "<connect password='hunter2' x=''/>".len();
    let connect = format!("<connect password='hunter2' x='{}'/>", "x".repeat(rest));
    let nick = "&apos;".repeat(64);
    let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    worker.send(&format!(
        "<ask ask='18446744073' hook='isAuthorized' session='4294967295.4294967295' \
         nick='{nick}' address='{address}' transport='websocket'>{connect}</ask>"
    ));
    let stanza = loop {
        let stanza = worker.next();
        if !stanza.starts_with("<log") && !stanza.starts_with("<keep") {
            break stanza;
        }
    };
    assert_eq!(stanza, "<verdict ask='18446744073' allowed='1' account='1' />");
}

#[test]
fn each_question_of_a_flood_is_answered_once_and_what_is_too_much_is_put_off() {
    const ASKS: u32 = 2_000;
    let house = House::new("[accounts]\nfile = accounts\n");
    house.write("accounts", &format!("Ann:{HUNTER2}\n"));
    let mut worker = house.worker("isAuthorized");
    let mut flood: String = (0..ASKS)
        .map(|ask| question(ask, "isAuthorized", "Ann", &[("password", "hunter2")]) + "\0")
        .collect();
    // Who comes from elsewhere has his turn, however many there are.
    let one = question(ASKS, "isAuthorized", "Ann", &[("password", "hunter2")]);
    flood += &one.replace("address='127.0.0.1'", "address='192.0.2.1'");
    flood.push('\0');
    worker.input.as_mut().unwrap().write_all(flood.as_bytes()).unwrap();
    let mut answers: Vec<_> = (0..=ASKS).map(|_| worker.verdict()).collect();
    let place = answers.iter().position(|answer| *answer == (ASKS, Some(true))).unwrap();
    let last = answers.iter().rposition(|answer| answer.1.is_some()).unwrap();
    assert!(place + 60 < last, "it had its turn: {place} of {last}");
    answers.sort_unstable();
    assert!(answers.iter().map(|answer| answer.0).eq(0..=ASKS));
    assert!(answers.iter().any(|answer| answer.1 == Some(true)));
    assert!(answers.iter().any(|answer| answer.1.is_none()));
    assert!(answers.iter().all(|answer| answer.1 != Some(false)), "none of it is a no");
    assert_eq!(worker.why, "too many passwords wait to be hashed");
    let complaints = worker.log.iter().filter(|line| line.contains("too many passwords")).count();
    assert_eq!(complaints, 1, "{:?}", worker.log);
    assert!(worker.may("Ann", "hunter2"), "afterwards it is as before");
}

/// What the file says in place of an account, and what it says of its nick then.
#[test]
fn an_account_that_is_switched_off_is_nobodys() {
    let house = House::new("[accounts]\nfile = accounts\nguests = yes\n");
    house.write("accounts", &format!("#Ann:{HUNTER2}\n #  # Bob:{HUNTER2}\n# Cid: a guest\n"));
    let mut worker = house.worker("isAuthorized");
    for nick in ["Ann", "ann", "Bob"] {
        assert!(worker.refuses(nick, "hunter2"), "{nick}");
        assert_eq!(worker.answer("isAuthorized", nick, &[]), Some(false), "{nick}");
    }
    assert!(worker.ask("isAuthorized", "Cid", &[]));
    let passwd = |command: &str| {
        let child = house.command(&["passwd", command, "Ann"]).spawn().unwrap();
        assert!(child.wait_with_output().unwrap().status.success());
    };
    passwd("remove");
    assert!(worker.ask("isAuthorized", "ann", &[]), "there is no such account any more");
    assert_eq!(worker.answer("isAuthorized", "Bob", &[]), Some(false));
}

#[test]
fn a_file_that_is_being_written_in_place_frees_no_nick() {
    let house = House::new("[accounts]\nfile = accounts\nguests = yes\n");
    let text = format!("Ann:{HUNTER2}\nBob:{HUNTER2}\n");
    house.write("accounts", &text);
    let mut worker = house.worker("isAuthorized");
    assert!(worker.may("Ann", "hunter2"));
    // Every state that a writer may leave behind for a moment, or for good.
    for length in 0..text.len() {
        fs::write(house.path("accounts"), &text[..length]).unwrap();
        for nick in ["Ann", "Bob"] {
            assert_eq!(worker.answer("isAuthorized", nick, &[]), Some(false), "{length} {nick}");
        }
    }
    fs::write(house.path("accounts"), format!("{text}Cid:{HUNTER2}\n")).unwrap();
    assert!(worker.may("Cid", "hunter2"), "what has all that was there counts at once");
    assert!(worker.may("Ann", "hunter2"));
    // One that is put in its place counts as it is.
    house.write("accounts", &format!("Cid:{HUNTER2}\n"));
    assert!(worker.ask("isAuthorized", "Ann", &[]));
}

/// What a worker knew goes with it when it is killed: the next one is told by the server.
#[test]
fn a_worker_that_is_started_anew_frees_no_nick() {
    let house = House::new("[accounts]\nfile = accounts\nguests = yes\n");
    let text = format!("Ann:{HUNTER2}\nBob:{HUNTER2}\n");
    house.write("accounts", &text);
    let mut worker = house.worker("isAuthorized");
    assert!(worker.may("Cid", ""));
    let half = text.find("Bob").unwrap();
    fs::write(house.path("accounts"), &text[..half]).unwrap();
    // Of those that may be lacking nobody knows; it is no wrong password.
    let kept = worker.kept.pop().unwrap();
    for _ in 0..2 {
        drop(worker);
        worker = house.worker_after(&kept, "isAuthorized");
        for nick in ["Bob", "Cid"] {
            assert!(worker.is_unsure(nick, "hunter2"), "{nick}");
            assert_eq!(worker.why, "the accounts file may lack accounts");
        }
        assert!(worker.may("Ann", "hunter2"));
        assert!(worker.log.join("\n").contains("may lack nicks"), "{:?}", worker.log);
        assert_eq!(worker.kept, [""; 0], "it has nothing better to leave");
    }
    fs::write(house.path("accounts"), format!("{text}Dan:{HUNTER2}\n")).unwrap();
    assert!(worker.may("Bob", "hunter2") && worker.may("Cid", ""));
    let kept = worker.kept.pop().unwrap();
    drop(worker);
    let mut worker = house.worker_after(&kept, "isAuthorized");
    assert!(worker.may("Dan", "hunter2") && worker.may("Cid", ""));
    drop(worker);
    // A whole file in its place counts.
    house.write("accounts", &format!("Ann:{HUNTER2}\n"));
    assert!(house.worker_after(&kept, "isAuthorized").may("Bob", ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_password_that_can_not_be_hashed_for_want_of_memory_is_not_wrong() {
    // More than the allocator could have in store.
    let dear = HUNTER2.replace("m=4096,t=3", "m=65536,t=1");
    let house = House::new(&format!("[accounts]\nfile = accounts\n[admin]\npassword = {dear}\n"));
    house.write("accounts", &format!("Ann:{HUNTER2}\nDeirdre:{dear}\n"));
    let mut worker = house.worker("isAuthorized isRoot");
    assert!(worker.may("Ann", "hunter2") && worker.refuses("Deirdre", "hunter2"));
    let statm = fs::read_to_string(format!("/proc/{}/statm", worker.child.id())).unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let current = Some(pages * 4_096 + 8 * 1_048_576);
    let limit = rustix::process::Rlimit { current, maximum: current };
    let pid = rustix::process::Pid::from_child(&worker.child);
    rustix::process::prlimit(Some(pid), rustix::process::Resource::As, limit).unwrap();
    assert!(worker.is_unsure("Deirdre", "hunter2") && !worker.denied);
    assert_eq!(worker.why, "there is no memory to hash a password");
    assert_eq!(worker.answer("isRoot", "Ann", &[("rootpass", "hunter2")]), None);
    let told = worker.log.iter().filter(|line| line.contains("no memory")).count();
    assert_eq!(told, 1, "{:?}", worker.log);
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_hashing_goes_back() {
    let house = House::new("[accounts]\nfile = accounts\n");
    house.write("accounts", "");
    let mut worker = house.worker("isAuthorized");
    for _ in 0..40 {
        assert!(worker.refuses("Ann", "hunter2"));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", worker.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(kib < 19 * 1_024, "less than one password takes, but {kib} KiB");
}

#[test]
fn it_ends_with_its_input_and_without_a_server() {
    let config = "[admin]\npassword = plain\n";
    assert_eq!(House::new(config).silent_worker().end(), (Some(0), String::new()));
    for stanza in ["<connect />", "<palabre version='1.0.0' plugins='2' />", "hello"] {
        let house = House::new(config);
        let mut worker = house.silent_worker();
        worker.send(stanza);
        let (code, console) = worker.end();
        assert_eq!(code, Some(1), "{stanza}");
        assert!(console.starts_with("palabre: no greeting of a server"), "{console}");
    }
    let (code, console) = House::new("[admin]\npasword = hunter2\n").silent_worker().end();
    assert_eq!(code, Some(6));
    assert!(console.contains("palabre.conf:2: [admin] pasword: ") && !console.contains("hunter"));
}

/// Logins checked in a real SQLite file.
#[cfg(feature = "sqlite")]
mod sqlite {
    use std::time::Instant;

    use palabre::limits::DATABASE_REQUEST_TIME_S;
    use rusqlite::Connection;

    use super::built::{PATIENCE, until};
    use super::*;

    fn config(request: &str) -> String {
        format!(
            "[database]\nusedatabase = true\ndbType = sqlite\ndbDatabase = people.db\n\
             dbRequest = {request}\n"
        )
    }

    const REQUEST: &str = "SELECT * FROM people WHERE nick = '[LOGIN]' AND secret = [PASSWORD]";

    fn people(house: &House, name: &str, rows: &[(&str, &str)]) {
        let database = Connection::open(house.path(name)).unwrap();
        database.execute("CREATE TABLE people (nick TEXT, secret TEXT)", []).unwrap();
        for row in rows {
            database.execute("INSERT INTO people VALUES (?1, ?2)", [row.0, row.1]).unwrap();
        }
    }

    #[test]
    fn a_row_lets_in() {
        let house = House::new(&config(REQUEST));
        people(&house, "people.db", &[("Ann", "hunter2"), ("Bob", ""), ("o'x", "a'b\"c\\")]);
        let mut worker = house.worker("isAuthorized");
        assert!(worker.may("Ann", "hunter2"));
        assert!(worker.may("o'x", "a'b\"c\\"));
        assert!(worker.ask("isAuthorized", "Bob", &[]), "the database may think so");
        for (nick, password) in [("Ann", "hunter3"), ("ann", "hunter2"), ("Cid", "hunter2")] {
            assert!(worker.refuses(nick, password), "{nick}");
        }
        assert_eq!(worker.log.len(), 1, "{:?}", worker.log);
        assert!(worker.log[0].starts_with("info'>logins are checked in sqlite "));
    }

    #[test]
    fn what_a_client_sends_is_never_sql() {
        for request in [
            REQUEST,
            "SELECT 1 FROM people WHERE nick = [LOGIN] AND secret = '[PASSWORD]'",
            "SELECT 1 FROM people WHERE nick=\"[LOGIN]\" AND secret=[PASSWORD]",
        ] {
            let house = House::new(&config(request));
            people(&house, "people.db", &[("Ann", "hunter2")]);
            let mut worker = house.worker("isAuthorized");
            for attack in [
                "' OR '1'='1",
                "\" OR \"1\"=\"1",
                "Ann' --",
                "Ann'; DROP TABLE people; --",
                "' UNION SELECT 1 --",
                "[LOGIN]",
                "[PASSWORD]",
                "?1",
                "nick",
                "%",
            ] {
                assert!(worker.refuses(attack, attack), "{request}: {attack}");
                assert!(worker.refuses("Ann", attack), "{request}: {attack}");
                assert!(worker.refuses(attack, "hunter2"), "{request}: {attack}");
            }
            assert!(worker.may("Ann", "hunter2"), "{request}: the table is still there");
        }
    }

    #[test]
    fn a_database_that_is_not_there_lets_nobody_in_until_it_is() {
        let house = House::new(&config(REQUEST));
        let mut worker = house.worker("isAuthorized");
        assert!(worker.is_unsure("Ann", "hunter2"));
        assert_eq!(worker.why, "the database can&apos;t be reached");
        assert!(!house.path("people.db").exists(), "it is not made");
        people(&house, "people.db", &[("Ann", "hunter2")]);
        until("the database is found", || worker.may("Ann", "hunter2").then_some(()));
        assert_eq!(worker.log.len(), 2, "{:?}", worker.log);
        assert!(worker.log[0].starts_with("warning'>can't reach the database: "));
        assert!(worker.log[1].ends_with(" again"), "{:?}", worker.log);
    }

    #[test]
    fn nobody_gets_in_by_a_request_that_lets_everybody_in() {
        for request in [
            "SELECT count(*) FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]",
            "SELECT 1 FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD] OR 1",
        ] {
            let house = House::new(&config(request));
            people(&house, "people.db", &[("Ann", "hunter2")]);
            let mut worker = house.worker("isAuthorized");
            for (nick, password) in [("Ann", "hunter2"), ("Bob", "")] {
                assert!(worker.is_unsure(nick, password), "{request}: {nick}");
            }
            assert_eq!(worker.why, "the database would let everybody in");
            let log = worker.log.join("\n");
            assert!(log.contains("a row for a nick and a password that nobody has"), "{log}");
        }
    }

    #[test]
    fn a_file_that_is_put_in_its_place_counts_at_once() {
        let house = House::new(&config(REQUEST));
        people(&house, "people.db", &[("Ann", "hunter2")]);
        let mut worker = house.worker("isAuthorized");
        assert!(worker.may("Ann", "hunter2"));
        people(&house, "other.db", &[("Ann", "hunter3")]);
        fs::rename(house.path("other.db"), house.path("people.db")).unwrap();
        assert!(worker.may("Ann", "hunter3"));
        assert!(worker.refuses("Ann", "hunter2"));
    }

    #[test]
    fn a_request_that_does_not_fit_is_told_and_lets_nobody_in() {
        for (request, told) in [
            (
                "SELECT 1 FROM persons WHERE n = [LOGIN] AND p = [PASSWORD]",
                "no such table: persons",
            ),
            ("SELECT 1 WHERE [LOGIN] = 'Ann' AND [PASSWORD]; SELECT 1", "Multiple statements"),
            ("DELETE FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]", "readonly"),
        ] {
            let house = House::new(&config(request));
            people(&house, "people.db", &[("Ann", "hunter2")]);
            let mut worker = house.worker("isAuthorized");
            assert!(worker.is_unsure("Ann", "hunter2"), "{request}");
            let log = worker.log.join("\n");
            assert!(log.contains(told), "{request}: {log}");
        }
    }

    #[test]
    fn what_the_database_says_of_a_password_is_not_logged() {
        let request = "SELECT 1 FROM people WHERE nick = [LOGIN] AND json([PASSWORD]) = 1";
        let house = House::new(&config(request));
        people(&house, "people.db", &[("Ann", "")]);
        let mut worker = house.worker("isAuthorized");
        assert!(worker.is_unsure("Ann", "hunter2{"));
        let log = worker.log.join("\n");
        assert!(log.contains("can't do [database] dbRequest") && !log.contains("hunter"), "{log}");
    }

    #[test]
    fn a_request_that_takes_too_long_is_given_up() {
        let request = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT 1 FROM n WHERE i < 0 AND [LOGIN] <> [PASSWORD]";
        let house = House::new(&config(request));
        people(&house, "people.db", &[]);
        let mut worker = house.worker("isAuthorized");
        assert!(worker.is_unsure("Ann", "hunter2"));
        let log = worker.log.join("\n");
        assert!(log.contains("it took too long (limit 4 s)"), "{log}");
    }

    #[test]
    fn a_database_that_is_locked_is_waited_for_and_then_nobody_knows() {
        let house = House::new(&config(REQUEST));
        people(&house, "people.db", &[("Ann", "hunter2")]);
        let mut worker = house.worker("isAuthorized");
        assert!(worker.may("Ann", "hunter2"));
        let writer = Connection::open(house.path("people.db")).unwrap();
        writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
        // They wait together; one after the other they would take longer than anything may here.
        let asks = PATIENCE.as_secs().div_ceil(DATABASE_REQUEST_TIME_S) as u32 + 1;
        let deadline = Instant::now() + PATIENCE;
        for ask in 100..100 + asks {
            worker.send(&question(ask, "isAuthorized", "Ann", &[("password", "hunter2")]));
        }
        for ask in 100..100 + asks {
            assert_eq!(worker.verdict(), (ask, None));
        }
        assert!(Instant::now() < deadline, "one waits for the other");
        let log = worker.log.join("\n");
        assert!(log.contains("it was locked all the time (limit 4 s)"), "{log}");
        worker.send(&question(1, "isAuthorized", "Ann", &[("password", "hunter2")]));
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(worker.verdict(), (1, Some(true)), "as soon as it can be asked");
    }

    #[test]
    fn a_wrong_password_of_an_account_is_a_guess_whatever_the_database_does() {
        let house = House::new(&(config(REQUEST) + "[accounts]\nfile = accounts\n"));
        house.write("accounts", &format!("Ann:{HUNTER2}\n"));
        let mut worker = house.worker("isAuthorized");
        assert!(worker.may("Ann", "hunter2"), "the account is enough");
        assert!(worker.is_unsure("Ann", "hunter3") && worker.denied);
        assert!(worker.is_unsure("Bob", "hunter3") && !worker.denied);
    }

    #[test]
    fn either_the_accounts_or_the_database_may_say_yes() {
        let house = House::new(&(config(REQUEST) + "[accounts]\nfile = accounts\n"));
        people(&house, "people.db", &[("Ann", "of the database"), ("Bob", "of the database")]);
        house.write("accounts", &format!("Ann:{HUNTER2}\n"));
        let mut worker = house.worker("isAuthorized");
        assert!(worker.may("Ann", "hunter2"));
        assert!(worker.may("Ann", "of the database"));
        assert!(worker.may("Bob", "of the database"));
        assert!(worker.refuses("Bob", "hunter2"));
        assert!(worker.refuses("Cid", "hunter2"));
        // Nobody knows whether the account is switched off that the file may have had.
        let kept = worker.kept.pop().unwrap();
        drop(worker);
        fs::write(house.path("accounts"), format!("Cid:{HUNTER2}\n")).unwrap();
        let mut worker = house.worker_after(&kept, "isAuthorized");
        assert!(worker.is_unsure("Bob", "of the database") && worker.may("Cid", "hunter2"));
    }
}
