//! PostgreSQL.

use std::fs;
use std::os::unix::fs::symlink;

use postgres::{Client, Config, NoTls};
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
        fs::write(directory.path().join("password"), "p'w\"d").unwrap();
        give_away(&directory.path().join("password"));
        let mut server = Self { directory, address: own_address(), running: None };
        run(server
            .command("initdb")
            .args(["--username=palabre", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"])
            .args(["--locale=C", "--pwfile=password", "--pgdata=data"]));
        server.start();
        // Where it is looked for when no port is named.
        symlink(format!(".s.PGSQL.{PORT}"), server.path(".s.PGSQL.5432")).unwrap();
        server.client("postgres").batch_execute("CREATE DATABASE chat").unwrap();
        server
            .client("chat")
            .batch_execute(
                "CREATE TABLE people (nick varchar(40), secret text, digest char(32), age int);
                 INSERT INTO people (nick, secret, digest) VALUES
                 ('Ann', 'hunter2', MD5('hunter2')), ('o''x', 'a''b\"c\\', MD5('a''b\"c\\'))",
            )
            .unwrap();
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program of PostgreSQL, run by somebody who may; Debian keeps them by version.
    fn command(&self, name: &str) -> Command {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let directories: Vec<PathBuf> =
            versions.map(|version| version.unwrap().path().join("bin")).collect();
        let program = program(name, &directories);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", NOBODY, "--regid", "nogroup", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.directory.path());
        command
    }

    fn start(&mut self) {
        let set = [
            format!("port={PORT}"),
            format!("listen_addresses={}", self.address),
            format!("unix_socket_directories={}", self.directory.path().display()),
            "fsync=off".to_owned(),
        ];
        let mut command = self.command("postgres");
        command.args(["-D", "data"]);
        for set in set {
            command.args(["-c", &set]);
        }
        self.running = Some(Running::start(&mut command));
        drop(self.client("postgres"));
    }

    fn client(&self, database: &str) -> Client {
        let mut config = Config::new();
        config.host_path(self.directory.path()).port(PORT);
        config.user("palabre").password("p'w\"d").dbname(database);
        until(|| config.connect(NoTls))
    }

    fn socket(&self) -> String {
        self.directory.path().display().to_string()
    }
}

#[test]
fn a_row_lets_in_and_what_a_client_sends_is_never_sql() {
    let server = Server::new();
    let address = format!("{}:{PORT}", server.address);
    for (host, request) in [
        (server.socket(), "SELECT * FROM people WHERE nick = [LOGIN] AND digest = MD5([PASSWORD])"),
        (server.socket(), "SELECT 1 FROM people WHERE nick = '[LOGIN]' AND secret = '[PASSWORD]'"),
        (
            address,
            "SELECT NULL FROM people WHERE [PASSWORD] = secret AND [LOGIN] = nick AND [LOGIN] <> ''",
        ),
    ] {
        let house = house("postgres", &host, request);
        let mut worker = house.worker("isAuthorized");
        check_logins(&mut worker);
        assert_eq!(worker.end(), (Some(0), String::new()));
    }
}

#[test]
fn a_server_that_is_down_lets_nobody_in_until_it_is_back() {
    let mut server = Server::new();
    let request = "SELECT 1 FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]";
    let house = house("PostgreSQL", &server.socket(), request);
    let mut worker = house.worker("isAuthorized");
    assert!(worker.may("Ann", "hunter2"));
    server.running.take().unwrap().stop(Signal::INT);
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
    server.client("postgres")
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'palabre'",
        )
        .unwrap();
    assert!(worker.may("Ann", "hunter2"), "{:?}", worker.log);
    // Nor does a table that has changed.
    server.client("chat").batch_execute("ALTER TABLE people DROP COLUMN age").unwrap();
    assert!(worker.may("Ann", "hunter2"), "{:?}", worker.log);
}

#[test]
fn what_it_says_of_a_password_is_not_logged() {
    let server = Server::new();
    let request =
        "SELECT 1 FROM people WHERE nick = [LOGIN] AND age = CAST([PASSWORD] AS text)::int";
    let house_of = |request| house("postgres", &server.socket(), request);
    check_silence(&mut house_of(request).worker("isAuthorized"), "ERROR 22P02");
    // A parameter that is no text.
    let request = "SELECT 1 FROM people WHERE nick = [LOGIN] AND age = [PASSWORD]";
    check_silence(&mut house_of(request).worker("isAuthorized"), "int4");
    let request = "SELECT pg_sleep(60) FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]";
    check_silence(&mut house_of(request).worker("isAuthorized"), "it took too long (limit 4 s)");
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    let server = Server::new();
    let told = |host: &str, request| {
        let house = house("postgres", host, request);
        let mut worker = house.worker("isAuthorized");
        assert!(worker.is_unsure("Ann", "hunter2"));
        worker.log.join("\n")
    };
    let good = "SELECT 1 FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]";
    let log = told(&server.socket(), "SELECT 1 FROM persons WHERE n = [LOGIN] AND s = [PASSWORD]");
    assert!(log.contains("42P01: relation \"persons\" does not exist"), "{log}");
    server.client("postgres").batch_execute("ALTER USER palabre PASSWORD 'another'").unwrap();
    let log = told(&server.socket(), good);
    assert!(log.contains("password authentication failed for user \"palabre\""), "{log}");
    assert!(!log.contains("p'w"), "{log}");
    let log = told("127.0.0.1:1", good);
    assert!(log.contains("refused"), "{log}");
}
