//! What would keep a new server from starting is found before the old one is ended, and `check`
//! finds it as well.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::built::Built;
use crate::house::{House, Talk, addresses, announced, gentle};

/// A configuration whose server has this port, and lines more.
fn config(address: &str, more: &str) -> String {
    format!(
        "[daemon]\nip = {address}\npidfile = p.pid\n[logging]\nlogfile = l.txt\n# pidfile = p.pid\n{more}"
    )
}

/// Starts a server, breaks its configuration in each way, and wants it to serve on.
fn serves_on(breaks: &[(&str, String, &str)], prepare: impl Fn(&House)) {
    let house = House::with(&config("127.0.0.1:0", ""));
    prepare(&house);
    let started = house.run(&["start"]);
    assert_eq!(started.code, 0, "{started:?}");
    let said: Vec<String> = started.out.lines().map(str::to_owned).collect();
    let address = addresses(&said).remove(0);
    // By its own port, so that it is in nobody's way but its own.
    house.write("palabre.conf", &config(&address, ""));
    let check = house.run(&["check"]);
    assert_eq!((check.code, &*check.err), (0, ""), "{check:?}");
    for (name, text, told) in breaks {
        house.write("palabre.conf", &text.replace("ADDRESS", &address));
        let check = house.run(&["check"]);
        assert_eq!((check.code, &*check.out), (6, ""), "{name}: {check:?}");
        assert!(check.err.contains(told), "{name}: {check:?}");
        let restart = house.run(&["restart"]);
        assert!([1, 6].contains(&restart.code), "{name}: {restart:?}");
        assert!(restart.err.contains(told), "{name}: {restart:?}");
        assert!(!restart.out.contains("stopped"), "{name}: {restart:?}");
        let greeting = Talk::to(&address).ask("<help />");
        assert!(greeting.starts_with("<help>"), "{name}: {greeting}");
    }
    house.write("palabre.conf", &config(&address, ""));
    let restart = house.run(&["restart"]);
    assert_eq!(restart.code, 0, "{restart:?}");
    assert!(restart.out.contains("palabre stopped"), "{restart:?}");
    assert_eq!(house.run(&["stop"]).code, 0);
}

#[test]
fn a_restart_ends_no_server_that_could_not_come_back() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let with = |more: &str| config("ADDRESS", more);
    let log = |place: &str| config("ADDRESS", "").replace("l.txt", place);
    let breaks = [
        ("unknown key", with("[limits]\nbogus = 1\n"), "bogus"),
        ("no accounts", with("[accounts]\nfile = none\n"), "can't read the accounts file"),
        ("bad accounts", with("[accounts]\nfile = bad\n"), "without a hash"),
        ("no log directory", log("no/such/l.txt"), "[logging] logfile: can't write"),
        ("log is a directory", log("place"), "[logging] logfile: can't write"),
        ("port taken", config(&taken.to_string(), ""), "can't listen on"),
        ("half of the ports taken", config(&format!("ADDRESS {taken}"), ""), "can't listen on"),
        ("no such address", config("192.0.2.1:7777", ""), "can't listen on 192.0.2.1:7777"),
        (
            "policy port taken",
            with(&format!("[crossdomain]\npolicyport = {}\n", taken.port())),
            "can't listen on",
        ),
        ("no such module", with("[modules]\nlist = none\n"), "[modules] list: found none"),
        (
            "no such command",
            with("[modules]\nlist = m\n[module m]\ncommand = ./none\n"),
            ":10: [module m] command: found ",
        ),
        (
            "nowhere in PATH",
            with("[modules]\nlist = m\n[module m]\ncommand = no-such-program-at-all\n"),
            "no such program in PATH",
        ),
        (
            "not executable",
            with("[modules]\nlist = m\n[module m]\ncommand = ./bad\n"),
            "which is not executable",
        ),
        ("a directory", with("[modules]\nlist = m\n[module m]\ncommand = ./place\n"), "is no file"),
        (
            "no interpreter",
            with("[modules]\nlist = m\n[module m]\ncommand = ./script\n"),
            "/no/such/interpreter, which can't be run",
        ),
        (
            "no program",
            with("[modules]\nlist = m\n[module m]\ncommand = ./garbage\n"),
            "which is no program, needs a first line such as #!/bin/sh",
        ),
    ];
    serves_on(&breaks, |house| {
        house.write("bad", "ann:plain\n");
        fs::create_dir(house.path("place")).unwrap();
        house.executable("script", "#!/no/such/interpreter -x\n");
        house.executable("garbage", "cat >/dev/null\n");
    });
}

#[cfg(feature = "tls")]
#[test]
fn a_restart_ends_no_server_whose_certificate_is_no_good() {
    let with = |more: &str| config("ADDRESS", more);
    let breaks = [
        ("none", with("[tls]\ncertificate = none\nkey = none\n"), "[tls] certificate: found"),
        ("garbage", with("[tls]\ncertificate = bad\nkey = bad\n"), "[tls] certificate: found"),
    ];
    serves_on(&breaks, |house| house.write("bad", "no certificate\n"));
}

/// A FIFO waits for somebody to write to it, and a device may have no end.
#[test]
fn nothing_waits_for_what_is_no_file() {
    let tls = cfg!(feature = "tls").then(|| {
        let text = |certificate, key| {
            config("127.0.0.1:0", &format!("[tls]\ncertificate = {certificate}\nkey = {key}\n"))
        };
        [text("PLACE", "bad"), text("bad", "PLACE")]
    });
    let database = cfg!(feature = "sqlite").then(|| {
        let request = "SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD]";
        let database = format!("usedatabase = yes\ndbType = sqlite\ndbRequest = {request}\n");
        config("127.0.0.1:0", &format!("[database]\ndbDatabase = PLACE\n{database}"))
    });
    let accounts = config("127.0.0.1:0", "[accounts]\nfile = PLACE\n");
    let texts = [accounts].into_iter().chain(tls.into_iter().flatten()).chain(database);
    for text in texts {
        for (place, told) in [("fifo", "no file"), ("/dev/zero", "no file"), ("place", "irectory")]
        {
            let house = House::with(&text.replace("PLACE", place));
            mknodat(CWD, house.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            fs::create_dir(house.path("place")).unwrap();
            house.write("bad", "no certificate\n");
            // A start whose database is down serves.
            let commands = if text.contains("dbType") {
                &["check", "restart"][..]
            } else {
                &["check", "run", "start", "restart"]
            };
            for command in commands {
                let ran = house.run(&[command]);
                assert_eq!(ran.code, 6, "{command}: {place}: {ran:?}");
                let is_no_file = ran.err.contains(told) || ran.err.contains("no file");
                assert!(is_no_file, "{command}: {place}: {ran:?}");
            }
        }
    }
    let house = House::new();
    mknodat(CWD, house.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for (place, told) in [
        ("fifo", "it is a FIFO, and no file"),
        ("/dev/zero", "it is a device, and no file"),
        ("/dev/null", "it is a device, and no file"),
    ] {
        for command in ["check", "run", "start", "restart", "stop", "status"] {
            let ran = house.run(&[command, "--config", place]);
            assert_eq!(ran.code, if command == "status" { 4 } else { 6 }, "{command}: {ran:?}");
            assert!(ran.err.contains(told), "{command}: {ran:?}");
        }
    }
}

/// What makes a configuration can be asked to check it; the server hands it on to its worker.
#[test]
fn a_configuration_may_come_from_a_pipe_where_nobody_reads_it_again() {
    let house = House::new();
    let check = house.run_with(&["check", "--config", "/dev/stdin"], "[limits]\nrooms = 7\n");
    assert!(check.code == 0 && check.out.contains("rooms = 7"), "{check:?}");
    house.write("accounts", "\n");
    let accounts = format!(
        "[daemon]\nip = 127.0.0.1\nport = 0\n[accounts]\nfile = {}\n",
        house.path("accounts").display()
    );
    let (config, mut write) = std::io::pipe().unwrap();
    write.write_all(accounts.as_bytes()).unwrap();
    drop(write);
    let words = [env!("CARGO_BIN_EXE_palabre"), "run", "--config", "/dev/stdin"];
    let child = house.program("setsid", &words).stdin(config).spawn().unwrap();
    let mut server = gentle(Built::of(child));
    let address = addresses(&announced(&server)).remove(0);
    let answer = Talk::to(&address).ask("<connect nickname=\"Ann\" />");
    assert_eq!(answer, "<connect isok='0' msg='Authentication Error'/>");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    // The server would read another standard input.
    let start = house.run_with(&["start", "--config", "/dev/stdin"], "[daemon]\nport = 0\n");
    assert!(start.code == 6 && start.err.contains("it is a device"), "{start:?}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_restart_ends_no_server_whose_database_is_no_good() {
    let with = |file: &str, request: &str| {
        let more = format!(
            "[database]\nusedatabase = yes\ndbType = sqlite\ndbDatabase = {file}\ndbRequest = {request}\n"
        );
        config("ADDRESS", &more)
    };
    let good = "SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD]";
    let breaks = [
        ("none", with("none.db", good), "logins can't be checked in sqlite"),
        ("no such table", with("d.db", &good.replace("FROM t", "FROM u")), "no such table"),
        ("no select", with("d.db", "UPDATE t SET n = [LOGIN] WHERE p = [PASSWORD]"), "no SELECT"),
        ("two of them", with("d.db", &good.replace(" AND", "; SELECT 1 WHERE")), "more than one"),
        ("a comment", with("d.db", &good.replace("AND", "-- AND")), "[PASSWORD] within a comment"),
    ];
    serves_on(&breaks, with_people);
}

#[cfg(feature = "sqlite")]
fn with_people(house: &House) {
    let database = rusqlite::Connection::open(house.path("d.db")).unwrap();
    database.execute("CREATE TABLE t (n TEXT, p TEXT)", []).unwrap();
    database.execute("INSERT INTO t VALUES ('Ann', 'hunter2')", []).unwrap();
}

#[cfg(feature = "sqlite")]
fn asks(request: &str) -> String {
    let more = format!(
        "[database]\nusedatabase = yes\ndbType = sqlite\ndbDatabase = d.db\ndbRequest = {request}\n"
    );
    config("127.0.0.1:0", &more)
}

/// What has a row whoever asks.
#[cfg(feature = "sqlite")]
#[test]
fn a_request_that_lets_everybody_in_starts_no_server() {
    for request in [
        "SELECT count(*) FROM t WHERE n = [LOGIN] AND p = [PASSWORD]",
        "SELECT max(p) FROM t WHERE n = [LOGIN] AND p = [PASSWORD]",
        "SELECT EXISTS(SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD])",
        "SELECT n = [LOGIN] AND p = [PASSWORD] FROM t",
        "SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD] OR 1",
        "SELECT 1 FROM t WHERE n <> [LOGIN] AND p <> [PASSWORD]",
        "SELECT 1 FROM t LEFT JOIN t AS u ON u.n = [LOGIN] AND u.p = [PASSWORD]",
        "SELECT 1 WHERE [LOGIN] = [LOGIN] AND [PASSWORD] = [PASSWORD]",
    ] {
        let house = House::with(&asks(request));
        with_people(&house);
        for command in ["check", "run", "start", "restart"] {
            let ran = house.run(&[command]);
            assert_eq!((ran.code, &*ran.out), (6, ""), "{command}: {request}: {ran:?}");
            let told = "palabre.conf:11: [database] dbRequest: found a request that has a row for";
            assert!(ran.err.contains(told), "{command}: {request}: {ran:?}");
        }
    }
}

/// A database may come up after the server: until then nobody gets in by it, and the console says
/// what `check` says.
#[cfg(feature = "sqlite")]
#[test]
fn a_server_whose_database_is_not_ready_says_so_and_lets_nobody_in() {
    let house = House::with(&asks("SELECT 1 FROM t WHERE n = [LOGIN] AND p = [PASSWORD]"));
    rusqlite::Connection::open(house.path("d.db")).unwrap().execute("VACUUM", []).unwrap();
    let check = house.run(&["check"]);
    assert!(check.code == 6 && check.err.contains("no such table: t"), "{check:?}");
    let started = house.run(&["start"]);
    assert_eq!(started.code, 0, "{started:?}");
    for told in [started.err, house.read("l.txt")] {
        let told = told.lines().find(|line| line.contains("can't be checked in sqlite")).unwrap();
        assert!(told.contains("no such table: t") && told.ends_with("until they can"), "{told}");
    }
    let said: Vec<String> = started.out.lines().map(str::to_owned).collect();
    let connect = "<connect nickname=\"Ann\" password=\"hunter2\" />";
    let answer = Talk::to(&addresses(&said)[0]).ask(connect);
    assert!(answer.contains("isok='0'"), "{answer}");
}

#[test]
fn a_pid_file_that_can_not_be_had_is_found_by_check() {
    for (pid_file, told) in [
        ("no/such/p.pid", "[daemon] pidfile: can't use"),
        ("diary", "left alone"),
        ("place", "[daemon] pidfile:"),
        ("new/", "[daemon] pidfile: can't use"),
        ("/proc/p.pid", "file system of the kernel's"),
    ] {
        let house =
            House::with(&format!("[daemon]\nip = 127.0.0.1\nport = 0\npidfile = {pid_file}\n"));
        house.write("diary", "dear diary\n");
        fs::create_dir(house.path("place")).unwrap();
        let check = house.run(&["check"]);
        assert_eq!(check.code, 6, "{check:?}");
        assert!(check.err.contains(told), "{check:?}");
        assert_eq!(house.run(&["restart"]).code, 1);
        // Nothing was made on the way.
        assert!(!house.path("no").exists());
    }
}

#[test]
fn check_makes_nothing() {
    let house = House::with(&config("127.0.0.1:0", ""));
    assert_eq!(house.run(&["check"]).code, 0);
    assert!(!house.path("l.txt").exists() && !house.path("p.pid").exists());
}

#[test]
fn check_warns_of_plain_passwords_that_everybody_can_read() {
    for (text, what) in [
        ("[admin]\npassword = hunter2\n", "[admin] password"),
        ("[database]\ndbPassword = hunter2\n", "[database] dbPassword"),
        ("[modules]\n[module m]\nenvironment = DB_PASS=hunter2\n", "[module m] environment"),
        ("[admin]\npassword =\n[module m]\nenvironment = COLOUR=blue\n", ""),
        (
            "[admin]\npassword = $argon2id$v=19$m=4096,t=3,p=1$c2FsdHlzYWx0$85yfauD48H6oCqXbtRb4FaiAZ3ovzFEmMdlN/XEkibQ\n",
            "",
        ),
    ] {
        let house = House::with(text);
        let warns = |mode: u32| {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(house.path("palabre.conf"), permissions).unwrap();
            let ran = house.run(&["check"]);
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(!format!("{ran:?}").contains("hunter"), "{ran:?}");
            let wanted = format!("palabre.conf: everybody on this host can read {what}: chmod o=");
            !what.is_empty() && ran.err.contains(&wanted) || ran.err.contains("everybody on this")
        };
        assert_eq!(warns(0o644), !what.is_empty(), "{text}");
        assert!(!warns(0o640), "{text}");
    }
}
