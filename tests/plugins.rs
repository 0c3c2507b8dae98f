//! Plugins as real processes that misbehave in every way: the clients go on, and the memory of
//! the server stays bounded. They are written for `sh`, which every machine has.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's")]

#[path = "support/built.rs"]
mod built;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use built::{Built, PATIENCE};
use tempfile::TempDir;

/// A server with the plugins of a test, by name and script.
struct House {
    built: Built,
    address: String,
    directory: TempDir,
}

impl House {
    fn with(modules: &[(&str, &str)]) -> Self {
        Self::of(modules, Command::new(env!("CARGO_BIN_EXE_palabre")))
    }

    /// The same with so many open files, softly.
    fn with_limit(modules: &[(&str, &str)], descriptors: u64) -> Self {
        let mut command = Command::new("sh");
        let limited = format!("ulimit -Sn {descriptors}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_palabre")]);
        Self::of(modules, command)
    }

    fn of(modules: &[(&str, &str)], mut command: Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::create_dir(path.join("modules")).unwrap();
        for (name, script) in modules {
            let file = path.join("modules").join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let names: Vec<&str> = modules.iter().map(|(name, _)| *name).collect();
        let configuration = format!(
            "[daemon]\nip = 127.0.0.1\nport = 0\npidfile = p.pid\n[logging]\nlogfile = log\n\
             [modules]\nlist = {}\n[limits]\nstanzarate = 0\nbyterate = 0\n",
            names.join(",")
        );
        fs::write(path.join("palabre.conf"), configuration).unwrap();
        let mut built = Built::start(command.arg("run").current_dir(path));
        // It ends its plugins, which a killed one could not.
        built.ends_by_itself = true;
        let address = built.address();
        Self { built, address, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Waits until the log has this, asking the server meanwhile, which writes it in its turns.
    fn wait_for_log(&self, talk: &mut Talk, wanted: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.log().contains(wanted) {
            talk.ask("<ping />");
            assert!(std::time::Instant::now() < deadline, "in vain: {wanted}\n{}", self.log());
        }
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.built.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

struct Talk(BufReader<TcpStream>);

impl Talk {
    fn log_in(house: &House, nick: &str) -> Self {
        let stream = TcpStream::connect(&house.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut talk = Self(BufReader::new(stream));
        let answer = talk.ask(&format!("<connect nickname=\"{nick}\" />"));
        assert!(answer.starts_with("<connect isok='1'"), "{answer}\n{}", house.log());
        talk
    }

    fn send(&mut self, stanza: &str) {
        self.0.get_mut().write_all(format!("{stanza}\0").as_bytes()).unwrap();
    }

    fn ask(&mut self, stanza: &str) -> String {
        self.send(stanza);
        self.next()
    }

    fn next(&mut self) -> String {
        let mut text = Vec::new();
        self.0.read_until(0, &mut text).unwrap();
        assert_eq!(text.pop(), Some(0), "the session goes on");
        String::from_utf8(text).unwrap()
    }
}

/// Two clients write to each other; each message is the answer to the one before.
fn converse(one: &mut Talk, other: &mut Talk, messages: usize) {
    for number in 0..messages {
        one.send(&format!("<m c=\"two\">{number}</m>"));
        assert_eq!(other.next(), format!("<m f=\"one\">{number}</m>"));
        other.send(&format!("<m c=\"one\">{number}</m>"));
        assert_eq!(one.next(), format!("<m f=\"two\">{number}</m>"));
    }
}

const REGISTER: &str = "printf '<register names=\"tick\" hooks=\"onMessage\" />\\000'";

#[test]
fn clients_talk_beside_plugins_that_misbehave_in_every_way() {
    let script = |what: &str| format!("{REGISTER}\n{what}");
    let modules = [
        ("sleeps", script("exec sleep 1000")),
        ("spins", script("while :; do :; done")),
        ("floods", script("while :; do printf '<log level=\"debug\">%s</log>\\000' x; done")),
        ("deaf", script("exec sleep 1000 </dev/null")),
        ("dies", script("exit 3")),
        ("dies_within", script("printf '<send all=\"1\"><half'; kill -9 $$")),
        (
            "garbage",
            script("head -c 20000 /dev/urandom | tr '\\000' x; printf '\\000'; exec sleep 1000"),
        ),
        ("endless", script("yes | tr -d '\\n'")),
        (
            "liar",
            script(
                "for ask in 1 2 3 99; do printf '<verdict ask=\"%s\" allowed=\"1\" />\\000' $ask; done; exec cat >/dev/null",
            ),
        ),
        ("mute", script("exec >&-; exec sleep 1000")),
        ("shouts", script("yes shout >&2")),
    ];
    let modules: Vec<(&str, &str)> =
        modules.iter().map(|(name, script)| (*name, script.as_str())).collect();
    let house = House::with(&modules);
    let mut one = Talk::log_in(&house, "one");
    let mut two = Talk::log_in(&house, "two");
    converse(&mut one, &mut two, 200);
    let before = house.resident_kib();
    // Each of these is an event for those who don't read.
    for _ in 0..20 {
        for _ in 0..100 {
            one.send(&format!("<m c=\"one\">{}</m>", "x".repeat(1_000)));
        }
        for _ in 0..100 {
            one.next();
        }
        converse(&mut one, &mut two, 5);
    }
    // 2 MB for each of eleven, of which each may have one waiting, and the log's buffers.
    let grown = house.resident_kib().saturating_sub(before);
    assert!(grown < 24 * 1_024, "it has grown by {grown} KiB");
    house.wait_for_log(&mut one, "plugin dies: it ended with exit code 3");
    house.wait_for_log(&mut one, "plugin dies_within: signal 9 ended it");
    house.wait_for_log(&mut one, "plugin liar made a mistake: nobody asked you ask='99'");
    house.wait_for_log(&mut one, "plugin endless made a mistake: a stanza over 65536 bytes");
    house.wait_for_log(&mut one, "plugin mute: signal 9 ended it");
    house.wait_for_log(&mut one, "plugin shouts says: shout");
    converse(&mut one, &mut two, 10);
}

#[test]
fn a_login_waits_while_the_plugin_that_decides_is_broken_and_is_decided_when_it_is_back() {
    let house = House::with(&[(
        "bouncer",
        // The first one dies with the first question, the second one answers that and all others.
        "printf '<register hooks=\"isAuthorized\" />\\000'
         [ -e seen ] || { touch seen; head -c 200 >/dev/null; exit 1; }
         exec sed -unz \"s/.*<ask ask='\\([0-9]*\\)'.*/<verdict ask='\\1' allowed='1' \\/>/p\"",
    )]);
    let connect = |nick: &str| {
        let stream = TcpStream::connect(&house.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut talk = Talk(BufReader::new(stream));
        talk.ask(&format!("<connect nickname=\"{nick}\" password=\"{}\" />", "p".repeat(200)))
    };
    assert!(connect("first").contains("isok='1'"), "{}", house.log());
    assert!(connect("second").contains("isok='1'"), "{}", house.log());
    assert!(house.log().contains("plugin bouncer: it ended with exit code 1"), "{}", house.log());
}

/// The server raises its own limit of open files. A plugin has the one that the server was started
/// with, also when it is started while more files than that are open.
#[cfg(target_os = "linux")]
#[test]
fn a_plugin_has_the_limit_of_open_files_that_the_server_was_started_with() {
    use rustix::process::{Resource, getrlimit};
    const SOFT: u64 = 64;
    let script = format!(
        "{REGISTER}\nprintf '<log>may open %s</log>\\000' $(ulimit -n)\ncat >/dev/null; exit 3"
    );
    let house = House::with_limit(&[("opens", &script)], SOFT);
    let mut talk = Talk::log_in(&house, "one");
    house.wait_for_log(&mut talk, &format!("plugin opens: may open {SOFT}"));
    let own = fs::read_to_string(format!("/proc/{}/limits", house.built.child.id())).unwrap();
    let own = own.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard =
        getrlimit(Resource::Nofile).maximum.map_or("unlimited".to_owned(), |n| n.to_string());
    let mut words = own.split_whitespace().skip(3);
    assert_eq!((words.next(), words.next()), (Some(&*hard), Some(&*hard)), "{own}");
    // More than a plugin may have are open when it is started again.
    let others: Vec<_> =
        (0..2 * SOFT).map(|_| TcpStream::connect(&house.address).unwrap()).collect();
    talk.ask("<ping />");
    let plugin =
        fs::read_to_string(format!("/proc/{0}/task/{0}/children", house.built.child.id())).unwrap();
    let plugin = rustix::process::Pid::from_raw(plugin.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(plugin, rustix::process::Signal::KILL).unwrap();
    house.wait_for_log(&mut talk, "plugin opens is started again");
    let deadline = std::time::Instant::now() + PATIENCE;
    while house.log().matches(&format!("may open {SOFT}")).count() < 2 {
        talk.ask("<ping />");
        assert!(std::time::Instant::now() < deadline, "{}", house.log());
    }
    drop(others);
}

#[test]
fn what_a_plugin_has_started_ends_with_it() {
    let flood = "yes '<log level=\"debug\">x</log>' | tr '\\n' '\\000'";
    let (leaves, stays) =
        (format!("{REGISTER}\n{flood} &\nexit 3"), format!("{REGISTER}\n{flood}"));
    let mut house = House::with(&[("leaves", &leaves), ("stays", &stays)]);
    let mut talk = Talk::log_in(&house, "one");
    // Whoever goes and leaves others at its output is noticed and started again.
    house.wait_for_log(&mut talk, "plugin leaves: it ended with exit code 3");
    house.wait_for_log(&mut talk, "plugin leaves is started again in 1 s");
    drop(talk);
    let pid = rustix::process::Pid::from_child(&house.built.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let child = &mut house.built.child;
        scope.spawn(move || ended.send(child.wait().is_ok()));
        let in_time = end.recv_timeout(PATIENCE);
        if in_time.is_err() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        assert_eq!(in_time, Ok(true), "the server does not wait for them");
    });
}
