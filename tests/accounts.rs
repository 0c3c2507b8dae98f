//! Logins at the built server, with the worker that it starts: from the client's side all of it
//! is one answer. Nothing sleeps and no port is fixed; whatever is waited for is bounded.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[path = "support/built.rs"]
mod built;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use built::{Built, PATIENCE};
use palabre::accounts::hash::PasswordHash;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const YES: &str = "<connect isok='1' msg='Your nickname is now : ";
const NO: &str = "<connect isok='0' msg='Authentication Error'/>";

struct Server {
    built: Built,
    address: String,
    heard: Vec<String>,
    directory: TempDir,
}

impl Server {
    fn new(config: &str, accounts: &str) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_palabre")), "palabre.conf", config, accounts)
    }

    /// This program by this configuration.
    fn of(program: &Path, name: &str, config: &str, accounts: &str) -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("accounts"), accounts).unwrap();
        // A server that is killed leaves no pid file behind outside its directory.
        let config = format!("{config}\n[daemon]\npidfile = p.pid\n");
        fs::write(directory.path().join(name), config).unwrap();
        // A terminal that the tests are run in is not its, so that a hangup is not its end.
        let built = Built::start(
            Command::new("setsid")
                .arg(program)
                .args(["--config", name, "--listen", "127.0.0.1:0", "--log-level", "debug"])
                .current_dir(directory.path()),
        );
        let address = built.address();
        Self { built, address, heard: Vec::new(), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The first answer to a login.
    fn login(&self, attributes: &str) -> String {
        let mut talk = Talk::to(self);
        let answer = talk.ask(&format!("<connect {attributes} />"));
        // The nick is free again when the end is seen; a closed socket alone says nothing of when.
        talk.0.get_mut().write_all(b"<quit />\0").unwrap();
        let mut rest = Vec::new();
        talk.0.read_to_end(&mut rest).unwrap();
        answer
    }

    /// Reads the log until a line holds this.
    fn hear(&mut self, wanted: &str) {
        let read = built::read_until(&self.built.log, wanted);
        let found = read.is_ok();
        self.heard.extend(read.unwrap_or_else(|lines| lines));
        assert!(found, "no {wanted:?} in {:#?}", self.heard);
    }
}

struct Talk(BufReader<TcpStream>);

impl Talk {
    fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, stanza: &str) -> String {
        self.0.get_mut().write_all(format!("{stanza}\0").as_bytes()).unwrap();
        self.next()
    }

    fn next(&mut self) -> String {
        let mut text = Vec::new();
        self.0.read_until(0, &mut text).unwrap();
        text.pop_if(|last| *last == 0);
        String::from_utf8(text).unwrap()
    }
}

fn hash(password: &str) -> String {
    PasswordHash::of(password).unwrap().as_str().to_owned()
}

#[test]
fn a_nick_with_an_account_wants_its_password() {
    let accounts = format!("Ann:{}\n", hash("hunter2"));
    let mut server = Server::new("[accounts]\nfile = accounts\n", &accounts);
    // The first logins come before the worker has said what it is, and wait for it.
    let yes = server.login("nickname='Ann' password='hunter2'");
    assert!(yes.starts_with(YES), "{yes}");
    assert!(server.login("nickname='ａｎｎ' password='hunter2'").starts_with(YES));
    for refused in [
        "nickname='Ann' password='hunter3'",
        "nickname='Ann'",
        "nickname='Bob' password='hunter2'",
        "nickname='Ann' rootpass='hunter2'",
    ] {
        assert_eq!(server.login(refused), NO, "{refused}");
    }
    // What was sent behind the login is answered after it.
    let mut talk = Talk::to(&server);
    let answer = talk.ask("<connect nickname='Ann' password='hunter3' />\0<ping />");
    assert_eq!(answer, NO);
    assert_eq!(talk.next(), "<error>Authentication Error</error>");
    assert_eq!(talk.next(), "<error>You must login first</error>");

    server.built.signal(Signal::TERM);
    server.hear("stopped: ");
    let log = server.heard.join("\n");
    assert!(!log.contains("hunter"), "{log}");
}

#[test]
fn guests_may_take_what_nick_is_free() {
    let accounts = format!("Ann:{}\n", hash("hunter2"));
    let server = Server::new("[accounts]\nfile = accounts\nguests = yes\n", &accounts);
    assert!(server.login("nickname='Bob'").starts_with(YES));
    assert_eq!(server.login("nickname='ANN'"), NO);
}

#[test]
fn a_guest_does_not_look_like_an_account() {
    let accounts = format!("Ann:{}\n#Bob:{}\n", hash("hunter2"), hash("hunter2"));
    let config = "[accounts]\nfile = accounts\nguests = yes\n";
    let server = Server::new(config, &accounts);
    // Cyrillic and Greek letters.
    for imitation in ["Аnn", "ΑΝΝ", "аnn", "Bоb"] {
        assert_eq!(server.login(&format!("nickname='{imitation}'")), NO, "{imitation}");
        let login = format!("nickname='{imitation}' password='hunter2'");
        assert_eq!(server.login(&login), NO, "{imitation}");
    }
    assert!(server.login("nickname='Ann' password='hunter2'").starts_with(YES));
    assert!(server.login("nickname='Анна'").starts_with(YES));

    let server = Server::new(&format!("{config}[rooms]\nlookalikes = allow\n"), &accounts);
    assert!(server.login("nickname='Аnn'").starts_with(YES));
}

#[test]
fn root_has_a_hash_for_a_password_and_another_after_a_hangup() {
    let config = |password| format!("[admin]\npassword = {}\n", hash(password));
    let mut server = Server::new(&config("sesame"), "");
    let is_root = |server: &Server, password: &str| {
        let mut talk = Talk::to(server);
        let login = format!("<connect nickname='Ann' rootpass='{password}' />");
        assert!(talk.ask(&login).starts_with(YES), "a wrong one keeps nobody out");
        talk.ask("<getinfo room='none' />") == "<error>No room by that name</error>"
    };
    assert!(is_root(&server, "sesame"));
    assert!(!is_root(&server, "sesame2"));
    assert!(server.login("nickname='Bob'").starts_with(YES), "nobody else is asked");

    fs::write(server.path("palabre.conf"), config("sesame2")).unwrap();
    server.built.signal(Signal::HUP);
    server.hear("configuration read again");
    server.hear("plugin accounts started");
    assert!(is_root(&server, "sesame2"));
    assert!(!is_root(&server, "sesame"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_was_killed_comes_back_and_logins_wait_for_it() {
    let accounts = format!("Ann:{}\n", hash("hunter2"));
    let config = "[accounts]\nfile = accounts\n[limits]\nfailedlogins = 0\n";
    let mut server = Server::new(config, &accounts);
    assert!(server.login("nickname='Ann' password='hunter2'").starts_with(YES));
    let worker = children_of(&server.built.child).pop().expect("a worker");
    kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
    server.hear("plugin accounts is started again");
    assert!(server.login("nickname='Ann' password='hunter2'").starts_with(YES));
    assert_eq!(server.login("nickname='Ann' password='hunter3'"), NO);
}

/// What the file says by then may be a change that was refused, or was not read yet.
#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_comes_back_goes_by_the_configuration_in_force() {
    let accounts = format!("Ann:{}\n", hash("hunter2"));
    let mut server = Server::new("[accounts]\nfile = accounts\n", &accounts);
    fs::write(server.path("others"), format!("Bob:{}\n", hash("hunter2"))).unwrap();
    for (text, is_read) in
        [("[accounts]\nfile = others\n", false), ("[accounts]\nfiles = others\n", true)]
    {
        fs::write(server.path("palabre.conf"), text).unwrap();
        if is_read {
            server.built.signal(Signal::HUP);
            server.hear("the old one stays in force");
        }
        let worker = children_of(&server.built.child).pop().expect("a worker");
        kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
        server.hear("plugin accounts: accounts read: 1");
        assert!(server.login("nickname='Ann' password='hunter2'").starts_with(YES), "{text}");
        assert_eq!(server.login("nickname='Bob' password='hunter2'"), NO, "{text}");
    }
}

/// A configuration that stands elsewhere names files from where the server was started.
#[test]
fn server_and_worker_find_the_same_accounts() {
    let accounts = format!("Ann:{}\n", hash("hunter2"));
    let program = Path::new(env!("CARGO_BIN_EXE_palabre"));
    // It is the file's own.
    let config = "[accounts]\nfile = ../accounts\n";
    let server = Server::of(program, "etc/palabre.conf", config, &accounts);
    assert!(server.login("nickname='Ann' password='hunter2'").starts_with(YES));
}

#[cfg(target_os = "linux")]
#[test]
fn the_worker_comes_back_when_an_upgrade_has_removed_the_program() {
    let own = TempDir::new().unwrap();
    let program = own.path().join("palabre");
    fs::copy(env!("CARGO_BIN_EXE_palabre"), &program).unwrap();
    let accounts = format!("Ann:{}\n", hash("hunter2"));
    let config = "[accounts]\nfile = accounts\n";
    let mut server = Server::of(&program, "palabre.conf", config, &accounts);
    server.hear("plugin accounts: accounts read: 1");
    fs::remove_file(&program).unwrap();
    let worker = children_of(&server.built.child).pop().expect("a worker");
    kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
    server.hear("plugin accounts: accounts read: 1");
    assert!(server.login("nickname='Ann' password='hunter2'").starts_with(YES));
}

/// The processes that this one has started.
#[cfg(target_os = "linux")]
fn children_of(child: &Child) -> Vec<i32> {
    let pid = child.id();
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[cfg(feature = "sqlite")]
#[test]
fn a_row_in_a_database_lets_in() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("people.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database.execute("CREATE TABLE people (nick TEXT, secret TEXT)", []).unwrap();
    database.execute("INSERT INTO people VALUES ('Ann', 'it''s')", []).unwrap();
    let server = Server::new(
        &format!(
            "[database]\nusedatabase = true\ndbType = sqlite\ndbDatabase = {}\n\
             dbRequest = SELECT * FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]\n",
            file.display()
        ),
        "",
    );
    assert!(server.login("nickname='Ann' password=\"it's\"").starts_with(YES));
    assert_eq!(server.login("nickname='Ann' password=\"' OR '1'='1\""), NO);
    assert_eq!(server.login("nickname=\"' OR '1'='1\" password=\"it's\""), NO);
}
