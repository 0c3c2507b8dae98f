//! MariaDB, which speaks MySQL's protocol.

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder};
use tempfile::TempDir;

use super::*;

struct Server {
    directory: TempDir,
    address: Ipv4Addr,
    running: Option<Running>,
}

impl Server {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        give_away(directory.path());
        let mut server = Self { directory, address: own_address(), running: None };
        run(server
            .command("mariadb-install-db")
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"]));
        server.start();
        let mut root = server.root();
        for statement in [
            "CREATE DATABASE chat CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "CREATE USER palabre IDENTIFIED BY 'p\\'w\"d'",
            "GRANT SELECT ON chat.* TO palabre",
            "CREATE TABLE chat.people (nick VARCHAR(40), secret TEXT, digest CHAR(32))",
            "INSERT INTO chat.people VALUES ('Ann', 'hunter2', MD5('hunter2')), \
             ('o''x', 'a''b\"c\\\\', MD5('a''b\"c\\\\'))",
        ] {
            root.query_drop(statement).unwrap();
        }
        server
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name, &["/usr/sbin".into()]));
        let data = self.directory.path().join("data");
        command.current_dir(self.directory.path()).arg("--no-defaults");
        command.arg(format!("--datadir={}", data.display()));
        // Two that are installed at once are in each other's way in the common one.
        command.arg(format!("--tmpdir={}", self.directory.path().display()));
        if is_root() {
            command.arg(format!("--user={NOBODY}"));
        }
        command
    }

    fn start(&mut self) {
        let mut command = self.command("mariadbd");
        command.arg(format!("--socket={}", self.socket()));
        command.arg(format!("--port={PORT}"));
        command.arg(format!("--bind-address={}", self.address));
        self.running = Some(Running::start(&mut command));
        drop(self.root());
    }

    fn socket(&self) -> String {
        self.directory.path().join("socket").display().to_string()
    }

    fn root(&self) -> Conn {
        let options = OptsBuilder::new().socket(Some(self.socket())).user(Some("root"));
        until(|| Conn::new(options.clone()))
    }
}

#[test]
fn a_row_lets_in_and_what_a_client_sends_is_never_sql() {
    let server = Server::new();
    let address = format!("{}:{PORT}", server.address);
    for (host, request) in [
        (server.socket(), "SELECT * FROM people WHERE nick = [LOGIN] AND digest = MD5([PASSWORD])"),
        (
            server.socket(),
            "SELECT 1 FROM people WHERE nick = '[LOGIN]' AND secret = \"[PASSWORD]\"",
        ),
        (
            address,
            "SELECT NULL FROM people WHERE [PASSWORD] = secret AND [LOGIN] = nick AND [LOGIN] <> ''",
        ),
    ] {
        let house = house("mysql", &host, request);
        let mut worker = house.worker("isAuthorized");
        check_logins(&mut worker);
        assert_eq!(worker.end(), (Some(0), String::new()));
    }
}

#[test]
fn a_server_that_is_down_lets_nobody_in_until_it_is_back() {
    let mut server = Server::new();
    let request = "SELECT 1 FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]";
    let house = house("MariaDB", &server.socket(), request);
    let mut worker = house.worker("isAuthorized");
    assert!(worker.may("Ann", "hunter2"));
    server.running.take().unwrap().stop(Signal::TERM);
    assert!(worker.is_unsure("Ann", "hunter2"));
    assert!(worker.is_unsure("Ann", "hunter2"));
    server.start();
    ask_until(&mut worker, true);
    let log = worker.log.join("\n");
    assert!(
        log.contains("warning'>can't reach the database: ") && log.ends_with(" again"),
        "{log}"
    );

    // A connection that the server has dropped meanwhile costs nobody a login.
    let mut root = server.root();
    let of_worker = "SELECT id FROM information_schema.processlist WHERE user = 'palabre'";
    let connections: Vec<u64> = root.query(of_worker).unwrap();
    assert_eq!(connections.len(), 1, "one connection is kept");
    root.query_drop(format!("KILL {}", connections[0])).unwrap();
    assert!(worker.may("Ann", "hunter2"), "{:?}", worker.log);
    // Nor does a table that has changed.
    root.query_drop("ALTER TABLE chat.people DROP COLUMN digest").unwrap();
    assert!(worker.may("Ann", "hunter2"), "{:?}", worker.log);
}

#[test]
fn what_it_says_of_a_password_is_not_logged() {
    let server = Server::new();
    let request = "SELECT 1 FROM people WHERE nick = [LOGIN] AND ST_GeomFromText([PASSWORD]) = 1";
    let house = house("mysql", &server.socket(), request);
    let mut worker = house.worker("isAuthorized");
    assert!(worker.is_unsure("Ann", "hunter2"));
    assert!(!worker.log.join("\n").contains("hunter"), "{:?}", worker.log);
    let request =
        "SELECT 1 FROM people WHERE nick = [LOGIN] AND secret REGEXP CONCAT('(', [PASSWORD])";
    let house = super::house("mysql", &server.socket(), request);
    check_silence(&mut house.worker("isAuthorized"), "ERROR 1139");
    let request = "SELECT SLEEP(60) FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]";
    let house = super::house("mysql", &server.socket(), request);
    let mut worker = house.worker("isAuthorized");
    assert!(worker.is_unsure("Ann", "hunter2"));
    let log = worker.log.join("\n");
    assert!(log.contains("it took too long (limit 4 s)"), "{log}");
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    let server = Server::new();
    let told = |host: &str, request| {
        let house = house("mysql", host, request);
        let mut worker = house.worker("isAuthorized");
        assert!(worker.is_unsure("Ann", "hunter2"));
        worker.log.join("\n")
    };
    let good = "SELECT 1 FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]";
    let log = told(&server.socket(), "SELECT 1 FROM persons WHERE n = [LOGIN] AND s = [PASSWORD]");
    assert!(log.contains("1146") && log.contains("persons"), "{log}");
    server.root().query_drop("ALTER USER palabre IDENTIFIED BY 'another'").unwrap();
    let log = told(&server.socket(), good);
    assert!(log.contains("Access denied for user") && !log.contains("p'w"), "{log}");
    let log = told("127.0.0.1:1", good);
    assert!(log.contains("refused"), "{log}");
}
