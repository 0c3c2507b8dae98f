//! The built binary at the command line: what it prints, its exit codes, and a server's life
//! from start to stop. Nothing sleeps and no port is fixed; whatever is waited for is bounded.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

use std::cell::Cell;
use std::fs;
#[cfg(feature = "tls")]
use std::io::Write as _;
#[cfg(feature = "tls")]
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
#[cfg(feature = "tls")]
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::channel;

use rustix::process::{Pid, Signal, kill_process};

#[path = "support/built.rs"]
mod built;
#[path = "cli/checked_first.rs"]
mod checked_first;
#[path = "cli/client.rs"]
mod client;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/house.rs"]
mod house;
#[path = "support/manual.rs"]
mod manual;
#[path = "cli/one_of_several.rs"]
mod one_of_several;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/waits_for_nobody.rs"]
mod waits_for_nobody;

#[cfg(feature = "tls")]
use built::PATIENCE;
use built::{ended, until};
use house::{House, Talk, addresses, announced, read_until};

#[test]
fn help_and_version_are_printed() {
    let house = House::new();
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let ran = house.run(arguments);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{arguments:?}");
        for word in
            ["Examples:", "palabre client --nick me", "start", "--listen", "/etc/palabre.conf"]
        {
            assert!(ran.out.contains(word), "{word}: {}", ran.out);
        }
        assert!(!ran.out.contains("--detached"), "{}", ran.out);
    }
    for command in
        ["run", "start", "stop", "restart", "status", "check", "client", "passwd", "ruffle"]
    {
        let ran = house.run(&[command, "--help"]);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{command}");
        assert!(ran.out.starts_with(&format!("Usage: palabre {command}")), "{}", ran.out);
    }
    for arguments in [["--version"], ["-V"]] {
        let ran = house.run(&arguments);
        assert_eq!(ran.out, concat!("palabre ", env!("CARGO_PKG_VERSION"), "\n"));
        assert_eq!(ran.code, 0);
    }
}

#[test]
fn wrong_arguments_are_explained() {
    let house = House::new();
    for (arguments, hint) in [
        (&["--bogus"][..], "--bogus"),
        (&["dance"], "dance"),
        (&["run", "--listen", "2468"], "127.0.0.1:2468"),
        (&["--listen", "example.org:1"], "not looked up"),
        (&["--listen", "127.0.0.1"], "127.0.0.1:2468"),
        (&["check", "--log-level", "loud"], "one of debug, info, warning, error, critical"),
        (&["run", "--log-level", "worning"], "; the nearest is warning"),
        (&["stop", "--pidfile", "a", "--config", "b"], "leave out --config"),
        (&["--config"], "--config"),
        (&["ruffle", "--port", "0"], "a port from 1 to 65535"),
        (&["ruffle", "--port", "65536"], "a port from 1 to 65535"),
        (&["ruffle", "--host", "a.example:1"], "--host a.example --port 1"),
        (&["ruffle", "--host", "http://a.example"], "such as 127.0.0.1"),
        (&["ruffle", "--host", "a\"b"], "such as 127.0.0.1"),
        (&["ruffle", "--url", "https://a.example/x"], "needs wss://a.example/x"),
        (&["ruffle", "--url", "http://a.example"], "needs ws://a.example"),
        (&["ruffle", "--url", "a.example"], "wss://a.example"),
        (&["ruffle", "--url", "tcp://a.example"], "ws:// or wss://"),
        (&["ruffle", "--url", "wss://"], "a host"),
        (&["ruffle", "--url", "wss://a.example:x/"], "a host"),
        (&["ruffle", "--url", "wss://a.example/#b"], "without a \"#\""),
        (&["ruffle", "--url", "wss://a.example/</script>"], "%XX"),
    ] {
        let ran = house.run(arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{arguments:?}");
        assert!(ran.err.starts_with("palabre: "), "{}", ran.err);
        assert!(ran.err.contains(hint), "{}", ran.err);
        assert!(ran.err.contains("--help") || hint.contains("leave out"), "{}", ran.err);
    }
}

#[test]
fn the_command_bench_tells_in_one_line_where_it_is() {
    let house = House::new();
    for arguments in [
        &["bench"][..],
        &["bench", "--help"],
        &["bench", "fanout", "--floor", "--rounds=5"],
        &["bench", "rude", "--list"],
        &["--config", "palabre.conf", "bench", "ping"],
        &["help", "bench"],
    ] {
        let ran = house.run(arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        assert!(ran.err.contains("palabre-bench"), "{}", ran.err);
        assert!(ran.err.contains("cargo build --release --features bench"), "{}", ran.err);
    }
    // It is no command any more.
    assert!(!house.run(&["--help"]).out.contains("\n  bench "));
}

#[test]
fn what_was_asked_for_and_could_not_be_written_is_no_success() {
    let house = House::new();
    for (arguments, code) in [
        (&["--help"][..], 1),
        (&["help"], 1),
        (&["help", "protocol"], 1),
        (&["help", "run"], 1),
        (&["--version"], 1),
        (&["check"], 1),
        (&["check", "--keys"], 1),
        (&["ruffle"], 1),
        (&["passwd", "hash"], 1),
        // It is done.
        (&["passwd", "add", "Ann", "--file", "accounts"], 0),
        // The answer is the exit code.
        (&["passwd", "check", "Ann", "--file", "accounts"], 0),
        (&["status", "--pidfile", "none.pid"], 3),
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = house.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(full).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"secret\n")
            .unwrap_or_default();
        let ran = child.wait_with_output().unwrap();
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {ran:?}");
        let told =
            String::from_utf8_lossy(&ran.stderr).contains("can't write the output: No space");
        assert_eq!(told, code == 1, "{arguments:?}: {ran:?}");
    }
}

#[test]
fn check_prints_a_configuration_that_checks_again() {
    let house = House::with(
        "[daemon]\nip = 127.0.0.1\n[admin]\npassword = hunter2\n[module m1]\ntimeout = 7\n",
    );
    let ran = house.run(&["check", "--listen=:7", "--log-level", "error"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("\nip = *:7\n"), "{}", ran.out);
    assert!(ran.out.contains("\nloglevel = error\n"), "{}", ran.out);
    assert!(
        ran.err.contains("warning: palabre.conf:5: [module m1]: [modules] list does not name it"),
        "{}",
        ran.err
    );
    assert!(!format!("{ran:?}").contains("hunter2"));
    house.write("again.conf", &ran.out);
    let again = house.run(&["check", "--config", "again.conf"]);
    assert_eq!(again.code, 0, "{again:?}");
    let values = |text: &str| -> Vec<String> {
        // The password that is not shown is the one value that is missing.
        let shown = |line: &&str| !line.starts_with('#') && !line.starts_with("password");
        text.lines().filter(shown).map(str::to_owned).collect()
    };
    assert_eq!(values(&again.out), values(&ran.out));
}

#[test]
fn check_tells_how_much_memory_a_server_can_take() {
    let house = House::with("[daemon]\nip = 127.0.0.1\n");
    let told = |house: &House| {
        let ran = house.run(&["check"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let (_, sum) = ran.out.split_once("\n# memory: ").expect("a number");
        let number: usize =
            sum.split(" MiB at most, the sum of\n#").next().unwrap().parse().unwrap();
        let parts: Vec<usize> = sum
            .lines()
            .skip(1)
            .map(|line| line[1..].trim().split(" MiB").next().unwrap().parse().unwrap())
            .collect();
        // Each is rounded up.
        let parts_sum: usize = parts.iter().sum();
        assert!(number <= parts_sum && parts_sum < number + parts.len(), "{sum}");
        assert!(parts.is_sorted_by(|one, other| one >= other), "{sum}");
        (number, sum.to_owned())
    };
    let (usual, _) = told(&house);
    house.write(
        "palabre.conf",
        "[daemon]\nip = 127.0.0.1\n[limits]\nsessions = 100\nrooms = 100\nparamstotal = 1048576\n\
         backlogtotal = 4194304\n",
    );
    let (small, sum) = told(&house);
    assert!(small < 100 && small < usual, "{sum}");
    assert!(
        sum.contains(
            "\n#          1 MiB  params of rooms and clients; less by [limits] paramstotal\n"
        ),
        "{sum}"
    );
    assert!(sum.contains(" 100 sessions, "), "{sum}");
}

#[test]
fn the_manual_has_the_memory_of_a_small_host_as_check_prints_it() {
    let before = manual::before("small host");
    let number = before.trim_end().rsplit("It is ").next().unwrap();
    let number = number.strip_suffix(" with").expect("the number stands before the lines");
    let house = House::with(&manual::block("small host"));
    let ran = house.run(&["check"]);
    assert!(ran.out.contains(&format!("\n# memory: {number} at most, ")), "{}", ran.out);
}

#[test]
fn check_names_every_error() {
    let house = House::with("[daemon]\nprot = 1\nport = x\n");
    let ran = house.run(&["check"]);
    assert_eq!((ran.code, &*ran.out), (6, ""), "{ran:?}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines[0].starts_with("palabre.conf:2: [daemon] prot: found an unknown key"), "{ran:?}");
    assert!(lines[1].starts_with("palabre.conf:3: [daemon] port: found \"x\""), "{ran:?}");
    // Where an option stands makes no difference.
    for arguments in [["check", "--config", "no.conf"], ["--config", "no.conf", "check"]] {
        let ran = house.run(&arguments);
        assert_eq!(ran.code, 6);
        assert!(ran.err.contains("can't read the configuration no.conf"), "{ran:?}");
    }
}

#[test]
fn check_prints_the_table_of_keys() {
    let ran = House::new().run(&["check", "--keys"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("| `[daemon] port` | `2468` | port |"), "{}", ran.out);
}

#[test]
fn the_block_for_ruffle_is_a_piece_of_a_page() {
    let ran = House::new().run(&["ruffle"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    let (comment, code) = ran.out.split_once(" -->\n").unwrap();
    let comment = comment.strip_prefix("<!-- ").unwrap();
    assert!(!comment.contains("--"), "HTML allows no -- in a comment: {comment}");
    for word in ["XMLSocket", "wss", "[web]\n     hosts", "[web] origins"] {
        assert!(comment.contains(word), "{word}: {comment}");
    }
    assert_eq!(
        code,
        r#"<script>
window.RufflePlayer = window.RufflePlayer || {};
window.RufflePlayer.config = {
  ...window.RufflePlayer.config,
  socketProxy: [
    { host: "127.0.0.1", port: 2468, proxyUrl: "ws://127.0.0.1:2468/" },
    { host: "localhost", port: 2468, proxyUrl: "ws://localhost:2468/" },
  ],
};
</script>
<script src="ruffle/ruffle.js"></script>
"#
    );
}

#[test]
fn the_manual_shows_the_block_for_ruffle_as_it_is() {
    let blocks = manual::blocks("ruffle block");
    let [command, shown, ..] = blocks.as_slice() else { panic!("a command, and what it prints") };
    let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    let ran = House::new().run(&arguments);
    assert!(ran.out.ends_with(&format!(" -->\n{shown}")), "{}", ran.out);
}

#[test]
fn ruffle_is_told_of_each_host_the_port_and_the_address() {
    let entries = |config: &str, arguments: &[&str]| {
        let ran = House::with(config).run(&[&["ruffle"], arguments].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        let entries = ran.out.lines().filter(|line| line.contains("host: \""));
        (entries.map(str::trim).collect::<Vec<_>>().join("\n"), ran.err)
    };
    for (config, arguments, wanted) in [
        (
            "[daemon]\nport = 9339\n[web]\nhosts = chat.example.org\n",
            &["--host", "Chat.example.org"][..],
            r#"{ host: "Chat.example.org", port: 9339, proxyUrl: "ws://Chat.example.org:9339/" },"#,
        ),
        (
            "[web]\nhosts = *.example b.example\n",
            &["--host=a.example", "--host", "::1", "--port", "80", "--url", "wss://b.example/x?y"],
            r#"{ host: "a.example", port: 80, proxyUrl: "wss://b.example/x?y" },
{ host: "::1", port: 80, proxyUrl: "wss://b.example/x?y" },"#,
        ),
        (
            "[tls]\ncertificate = c.pem\nkey = k.pem\n",
            &["--host", "a.example", "--host", "::1"],
            r#"{ host: "a.example", port: 2468, proxyUrl: "wss://a.example:2468/" },
{ host: "::1", port: 2468, proxyUrl: "wss://[::1]:2468/" },"#,
        ),
    ] {
        assert_eq!(entries(config, arguments), (wanted.to_owned(), String::new()));
    }
    // Hosts that the server would refuse, with the line that mends it.
    let hosts = "[web]\nhosts = c.example\n";
    let asks = ["--host", "A.example", "--host", "b.example", "--host", "c.example"];
    let (_, warning) = entries(hosts, &asks);
    let (_, line) = warning.trim_end().split_once("write under [web]: ").unwrap();
    assert_eq!(line, "hosts = c.example a.example b.example");
    assert_eq!(entries(&format!("[web]\n{line}\n"), &asks).1, "");
    let (_, warning) = entries("[web]\nwebsocket = false\n", &[]);
    assert!(warning.contains("[web] websocket = false"), "{warning}");
    let tls = "[tls]\ncertificate = c.pem\nkey = k.pem\nrequired = true\n";
    let (_, warning) = entries(tls, &["--url", "ws://a.example/"]);
    assert!(warning.contains("wss://"), "{warning}");
    assert_eq!(entries(tls, &["--url", "wss://a.example/"]).1, "");
    // A free port is no port that a movie could know.
    let ran = House::with("[daemon]\nport = 0\n").run(&["ruffle"]);
    assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
    assert!(ran.err.contains("--port"), "{ran:?}");
}

#[test]
fn a_closed_output_is_no_panic() {
    let house = House::new();
    for arguments in
        [&["--help"][..], &["check"], &["check", "--keys"], &["--bogus"], &["--version"]]
    {
        let mut child = house.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        drop(child.stderr.take());
        let status = ended(&mut child);
        assert!(matches!(status.code(), Some(0 | 2)), "{arguments:?}: {status}");
    }
    let mut server = house.serve(&["--listen", "127.0.0.1:0"]);
    let address = addresses(&announced(&server)).remove(0);
    // Nobody reads its log any more: the reading thread ends at the next line.
    server.log = channel().1;
    assert!(Talk::to(&address).ask("<connect nickname=\"a\" />").contains("isok='1'"));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn the_foreground_server_tells_where_it_listens_and_how_to_try_it() {
    let house = House::new();
    house.write("my.conf", "");
    let mut server = house.serve(&["run", "--config", "my.conf", "--listen", "127.0.0.1:0"]);
    let said = announced(&server);
    assert_eq!(said[0], concat!("palabre ", env!("CARGO_PKG_VERSION")));
    assert_eq!(said[1], format!("configuration: {}", house.path("my.conf").display()));
    let address = &addresses(&said)[0];
    assert!(!address.ends_with(":0"), "{address}");
    let client = format!("client --connect {address} --nick me");
    assert!(
        said.contains(&format!("try it:  {} {client}", env!("CARGO_BIN_EXE_palabre"))),
        "{said:#?}"
    );
    assert_eq!(said.last().unwrap(), "stop it with Ctrl-C");
    let mut talk = Talk::to(address);
    assert_eq!(
        talk.ask("<connect nickname=\"a\" />"),
        "<connect isok='1' msg='Your nickname is now : a'/>"
    );
    server.signal(Signal::INT);
    assert_eq!(talk.next(), "<error>### Server is now going down ... ###</error>");
    drop(talk);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn without_a_free_address_it_says_how_to_mend_it() {
    let house = House::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    house.write("palabre.conf", "[daemon]\npidfile = p.pid\n[logging]\nlogfile = l.txt\n");
    for command in ["run", "start", "restart"] {
        let ran = house.run(&[command, "--listen", &address]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains(&format!("can't listen on {address}")), "{ran:?}");
        assert!(ran.err.contains("--listen 127.0.0.1:0"), "{ran:?}");
        assert!(!house.path("p.pid").exists());
    }
}

const DETACHED: &str =
    "[daemon]\nip = 127.0.0.1\nport = 0\npidfile = p.pid\n[logging]\nlogfile = l.txt\n";

#[test]
fn a_detached_server_starts_runs_restarts_and_stops() {
    let house = House::with(&format!("{DETACHED}[module m1]\n"));
    assert_eq!(house.run(&["status"]).code, 3);
    assert_eq!(house.run(&["stop"]).code, 0);

    let started = house.run(&["start"]);
    assert_eq!(started.code, 0, "{started:?}");
    // What it warned of before it had a log reached the console, and the log too.
    assert!(started.err.contains("[module m1]: [modules] list does"), "{started:?}");
    assert!(house.read("l.txt").contains("[module m1]: [modules] list does"));
    let said: Vec<String> = started.out.lines().map(str::to_owned).collect();
    let pid = house.read("p.pid").trim().to_owned();
    assert_eq!(said.last().unwrap(), &format!("palabre started, pid {pid}"));
    let config = house.path("palabre.conf");
    let program = env!("CARGO_BIN_EXE_palabre");
    let stop = format!("stop it with {program} stop --config {}", config.display());
    assert!(said.contains(&stop), "{said:#?}");
    let address = addresses(&said).remove(0);
    assert!(Talk::to(&address).ask("<connect nickname=\"a\" />").contains("isok='1'"));

    let again = house.run(&["start"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.out.contains(&format!("already running, pid {pid}")), "{again:?}");
    let second = house.run(&["run"]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.err.contains(&format!("already running, pid {pid}")), "{second:?}");

    let status = house.run(&["status"]);
    assert_eq!(status.code, 0);
    assert!(status.out.contains(&format!("palabre is running, pid {pid}")), "{status:?}");

    let restarted = house.run(&["restart"]);
    assert_eq!(restarted.code, 0, "{restarted:?}");
    assert!(restarted.out.contains(&format!("stopped, pid {pid}")), "{restarted:?}");
    let new_pid = house.read("p.pid").trim().to_owned();
    assert_ne!(pid, new_pid);
    let said: Vec<String> = restarted.out.lines().map(str::to_owned).collect();
    assert!(Talk::to(&addresses(&said)[0]).ask("<connect nickname=\"a\" />").contains("isok='1'"));

    let stopped = house.run(&["stop"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(stopped.out.contains(&format!("stopped, pid {new_pid}")), "{stopped:?}");
    assert!(!house.path("p.pid").exists());
    assert_eq!(house.run(&["status"]).code, 3);
}

#[test]
fn start_says_why_it_does_not_serve() {
    let house = House::with("[daemon]\nport = x\n");
    let ran = house.run(&["start"]);
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.contains("[daemon] port: found \"x\""), "{ran:?}");

    house.write("palabre.conf", "[daemon]\npidfile = p.pid\n[logging]\nlogfile = no/such/log\n");
    let ran = house.run(&["start", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let place = house.path("no/such/log");
    assert!(
        ran.err.contains(&format!("[logging] logfile: can't write {}", place.display())),
        "{ran:?}"
    );

    house.write("palabre.conf", "[daemon]\npidfile = no/p.pid\n[logging]\nlogfile = l.txt\n");
    let ran = house.run(&["start", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("[daemon] pidfile: can't use"), "{ran:?}");
}

/// A house whose server has a certificate, valid until that year.
#[cfg(feature = "tls")]
fn certified(until: i32) -> House {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let house = House::with(&format!("{DETACHED}[tls]\ncertificate = c.pem\nkey = k.pem\n"));
    house.write("c.pem", &params.self_signed(&key).unwrap().pem());
    house.write("k.pem", &key.serialize_pem());
    house
}

#[cfg(feature = "tls")]
#[test]
fn a_certificate_that_can_not_be_served_is_told_by_check_and_keeps_a_server_from_starting() {
    let house = certified(2100);
    assert_eq!(house.run(&["check"]).code, 0);

    house.write("k.pem", &house.read("c.pem"));
    fs::remove_file(house.path("c.pem")).unwrap();
    let check = house.run(&["check"]);
    let place = |name| house.directory.path().join(name).display().to_string();
    let expected =
        [place("c.pem") + ": [tls] certificate: found ", place("k.pem") + ": [tls] key: found "];
    let told: Vec<&str> = check.err.lines().collect();
    assert_eq!(told.len(), 2, "{check:?}");
    assert!(told.iter().zip(&expected).all(|(told, start)| told.starts_with(start)), "{check:?}");
    for command in ["check", "run", "start"] {
        let ran = house.run(&[command]);
        assert_eq!(ran.code, 6, "{ran:?}");
        assert!(ran.err.contains(&check.err), "{command}: {ran:?}\n{check:?}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_certificate_that_has_expired_is_an_error_to_check_and_a_warning_to_a_server() {
    let house = certified(2001);
    let check = house.run(&["check"]);
    assert_eq!(check.code, 6, "{check:?}");
    assert!(check.err.contains("expired on 2001-01-01"), "{check:?}");
    assert_eq!(house.run(&["start"]).code, 0);
    let log = house.read("l.txt");
    assert!(log.contains(check.err.trim()), "{log}");
}

#[test]
fn a_pid_file_left_behind_is_recognised() {
    let house = House::with(DETACHED);
    assert_eq!(house.run(&["start"]).code, 0);
    let pid: i32 = house.read("p.pid").trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let status = until("it is dead", || Some(house.run(&["status"])).filter(|ran| ran.code != 0));
    assert_eq!(status.code, 1, "{status:?}");
    assert!(status.out.contains("not running"), "{status:?}");

    // It is taken over, or removed.
    assert_eq!(house.run(&["start"]).code, 0);
    assert_ne!(house.read("p.pid").trim(), pid.to_string());
    assert_eq!(house.run(&["stop"]).code, 0);
    house.write("p.pid", "1\n");
    let stop = house.run(&["stop"]);
    assert_eq!(stop.code, 0, "{stop:?}");
    assert!(stop.out.contains("stale"), "{stop:?}");
    assert!(!house.path("p.pid").exists());
}

#[test]
fn nothing_but_the_holder_of_the_lock_is_signalled() {
    let house = House::with(DETACHED);
    let mut bystander =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    house.write("p.pid", &format!("{}\n", bystander.id()));
    assert_eq!(house.run(&["stop"]).code, 0);
    assert!(bystander.try_wait().unwrap().is_none());

    // Whatever the file says, the holder is the one that is stopped.
    assert_eq!(house.run(&["start"]).code, 0);
    house.write("p.pid", &format!("{}\n", bystander.id()));
    let stop = house.run(&["stop"]);
    assert_eq!(stop.code, 0);
    assert!(!stop.out.contains(&bystander.id().to_string()), "{stop:?}");
    // It lives until its input ends.
    let input: Option<ChildStdin> = bystander.stdin.take();
    drop(input);
    assert!(bystander.wait().unwrap().success());
}

#[test]
fn a_file_that_is_no_pid_file_is_left_alone() {
    let house = House::with(DETACHED);
    house.write("p.pid", "dear diary\n");
    for command in ["start", "stop", "run", "restart"] {
        let ran = house.run(&[command]);
        assert_eq!(ran.code, 1, "{command}: {ran:?}");
        assert!(ran.err.contains("left alone"), "{command}: {ran:?}");
    }
    assert_eq!(house.run(&["status"]).code, 4);
    assert_eq!(house.read("p.pid"), "dear diary\n");
}

#[test]
fn a_broken_configuration_stops_no_server_by_itself() {
    let house = House::with(DETACHED);
    assert_eq!(house.run(&["start"]).code, 0);
    house.write("palabre.conf", &format!("{DETACHED}level = loud\n"));
    assert_eq!(house.run(&["restart"]).code, 6);
    assert_eq!(house.run(&["status"]).code, 0);
    let stop = house.run(&["stop"]);
    assert_eq!(stop.code, 0, "{stop:?}");
    assert!(stop.err.contains("palabre check"), "{stop:?}");
}

#[test]
fn a_hangup_reads_the_configuration_again() {
    let house = House::with("[daemon]\nport = 0\nip = 127.0.0.1\n[admin]\npassword = old\n");
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let logins = Cell::new(0);
    let root = |password: &str| {
        let mut talk = Talk::to(&address);
        // Each login has a nick of its own: a process that another test is just starting may hold
        // a copy of the last connection, whose nick is taken for as long.
        let nick = format!("r{}", logins.replace(logins.get() + 1));
        let connect = format!("<connect nickname=\"{nick}\" rootpass=\"{password}\" />");
        assert!(talk.ask(&connect).contains("isok='1'"));
        talk.ask("<getinfo room=\"none\" />") == "<error>No room by that name</error>"
    };
    assert!(root("old") && !root("new"));

    house
        .write("palabre.conf", "[daemon]\nport = 0\nip = 127.0.0.1 ::1\n[admin]\npassword = new\n");
    server.signal(Signal::HUP);
    let log = read_until(&server.log, "configuration read again").join("\n");
    assert!(log.contains("[daemon] ip and port: changed, and counts after a restart"), "{log}");
    assert!(root("new") && !root("old"));

    house.write("palabre.conf", "[admin]\npasword = newer\n");
    server.signal(Signal::HUP);
    let log = read_until(&server.log, "the old one stays in force").join("\n");
    assert!(log.contains("palabre.conf:2: [admin] pasword: found an unknown key"), "{log}");
    assert!(root("new") && !root("newer"));
}

/// What an editor leaves for a moment, or for good on a full disk, opens nothing.
#[test]
fn a_configuration_that_is_cut_short_opens_no_server() {
    const HASH: &str =
        "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHlzYWx0$85yfauD48H6oCqXbtRb4FaiAZ3ovzFEmMdlN/XEkibQ";
    let open = "[daemon]\nport = 0\nip = 127.0.0.1\n";
    let house = House::with(&format!("{open}[accounts]\nfile = people\n"));
    house.write("people", &format!("Ann:{HASH}\n"));
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let gets_in = || Talk::to(&address).ask("<connect nickname=\"Zed\" />").contains("isok='1'");
    assert!(!gets_in());
    for cut in [open, ""] {
        house.write("palabre.conf", cut);
        server.signal(Signal::HUP);
        let log = read_until(&server.log, "the old one stays in force").join("\n");
        assert!(log.contains("nobody would check them any more"), "{log}");
        assert!(!gets_in());
    }
}

/// A session over TLS that knows this certificate and no other.
#[cfg(feature = "tls")]
struct SecureTalk(BufReader<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>);

#[cfg(feature = "tls")]
impl SecureTalk {
    fn to(address: &str, certificate: &rcgen::Certificate) -> Self {
        use std::sync::Arc;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "chat.example".try_into().unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(rustls::StreamOwned::new(connection, stream)))
    }

    fn ask(&mut self, stanza: &str) -> String {
        self.0.get_mut().write_all(format!("{stanza}\0").as_bytes()).unwrap();
        let mut text = Vec::new();
        self.0.read_until(0, &mut text).unwrap();
        text.pop_if(|last| *last == 0);
        String::from_utf8(text).unwrap()
    }
}

/// The same of TLS where nothing is taken without it, whatever is left of the section.
#[cfg(feature = "tls")]
#[test]
fn a_configuration_that_is_cut_short_demands_tls_as_before() {
    let open = "[daemon]\nport = 0\nip = 127.0.0.1\n";
    let files = format!("{open}[tls]\ncertificate = c.pem\nkey = k.pem\n");
    let whole = format!("{files}required = yes\n");
    let house = House::with(&whole);
    let made = rcgen::generate_simple_self_signed(["chat.example".to_owned()]).unwrap();
    house.write("c.pem", &made.cert.pem());
    house.write("k.pem", &made.signing_key.serialize_pem());
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let is_closed = || {
        let plain = Talk::to(&address).ask("<help />");
        let secure = SecureTalk::to(&address, &made.cert).ask("<help />");
        !plain.contains("<help>") && secure.starts_with("<help>")
    };
    assert!(is_closed());
    let off = whole.replace("yes", "no");
    for (cut, told) in [
        (open, "TLS is required, and by this configuration it would not be any more"),
        (&files, "TLS is required, and by this configuration it would not be any more"),
        (&off, "TLS is required, and by this configuration it would not be any more"),
        ("", "TLS is required, and by this configuration it would not be any more"),
        (&files.replace("k.pem", ""), "[tls] key: found nothing"),
    ] {
        house.write("palabre.conf", cut);
        server.signal(Signal::HUP);
        let log = read_until(&server.log, "the old one stays in force").join("\n");
        assert!(log.contains(told), "{cut:?}: {log}");
        assert!(is_closed(), "{cut:?}");
    }
    house.write("palabre.conf", &whole);
    server.signal(Signal::HUP);
    read_until(&server.log, "configuration read again");
    assert!(is_closed());
}

#[cfg(feature = "tls")]
#[test]
fn a_hangup_reads_the_certificate_again_and_ends_no_session() {
    let house = House::with(
        "[daemon]\nport = 0\nip = 127.0.0.1\n[tls]\ncertificate = c.pem\nkey = k.pem\n",
    );
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["chat.example".to_owned()]).unwrap();
        house.write("c.pem", &made.cert.pem());
        house.write("k.pem", &made.signing_key.serialize_pem());
        made.cert
    };
    let first = renew();
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let mut old = SecureTalk::to(&address, &first);
    assert!(old.ask("<connect nickname=\"old\" />").contains("isok='1'"));

    house.write("k.pem", "nothing");
    server.signal(Signal::HUP);
    let log = read_until(&server.log, "the old one stays in force").join("\n");
    assert!(log.contains("[tls] key: found "), "{log}");
    assert!(SecureTalk::to(&address, &first).ask("<help />").starts_with("<help>"));

    let second = renew();
    server.signal(Signal::HUP);
    read_until(&server.log, "configuration read again");
    let mut new = SecureTalk::to(&address, &second);
    assert!(new.ask("<connect nickname=\"new\" />").contains("isok='1'"));
    assert_eq!(old.ask("<m c=\"old\">still here</m>"), "<m f=\"old\">still here</m>");
}

#[test]
fn a_hangup_reopens_the_log_and_changes_its_level() {
    let house = House::with(DETACHED);
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    // Each round trip is a turn of the server.
    let mut talk = Talk::to(&address);
    let mut turn = || drop(talk.ask("<ping />"));
    turn();
    fs::rename(house.path("l.txt"), house.path("l.old")).unwrap();
    server.signal(Signal::HUP);
    until("the log is opened anew", || {
        turn();
        Some(()).filter(|()| house.read("l.txt").contains("configuration read again"))
    });
    assert!(house.read("l.old").contains("listens on"));

    house.write("palabre.conf", &DETACHED.replace("l.txt", "m.txt\nloglevel = debug"));
    server.signal(Signal::HUP);
    until("the log moves", || {
        turn();
        Some(()).filter(|()| house.read("m.txt").contains("configuration read again"))
    });
}

#[test]
fn passwords_are_not_logged() {
    let house = House::with("[daemon]\nport = 0\nip = 127.0.0.1\n[admin]\npassword = hunter2\n");
    let mut server = house.serve(&["run", "--log-level", "debug"]);
    let address = addresses(&announced(&server)).remove(0);
    for (nick, secret) in [("a", "hunter2"), ("b", "hunter3")] {
        let mut talk = Talk::to(&address);
        talk.ask(&format!(
            "<connect nickname=\"{nick}\" password=\"hunter4\" rootpass=\"{secret}\" />"
        ));
        talk.ask("<quit />");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    let log: Vec<String> = server.log.iter().collect();
    assert!(log.iter().any(|line| line.contains("logged in")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("hunter")), "{log:#?}");
}

#[test]
fn who_goes_over_a_limit_is_named_in_the_log() {
    let house = House::with(&format!("{DETACHED}[limits]\nroombytes = 8\n"));
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    // The first one does nothing wrong.
    let mut talks = ["Ann", "Bob"].map(|nick| {
        let mut talk = Talk::to(&address);
        let connect = format!("<connect nickname=\"{nick}\" />");
        assert!(talk.ask(&connect).contains("isok='1'"));
        talk
    });
    let refusal = talks[1].ask("<join room=\"ninebytes\" />");
    assert_eq!(refusal, "<error>Room name too long (limit 8 bytes)</error>");

    // A line is logged before its answer is sent.
    let log = house.read("l.txt");
    let words = |needle: &str| -> Vec<&str> {
        let mut found = log.lines().filter(|line| line.contains(needle));
        let line = found.next().unwrap_or_else(|| panic!("no line with {needle:?}: {log}"));
        assert_eq!(found.next(), None, "{log}");
        line.split_whitespace().collect()
    };
    let (login, refused) = (words("\"Bob\" from 127.0.0.1 logged in"), words("limit 8 bytes"));
    assert_eq!(refused[1], "warning", "{log}");
    assert_eq!(refused[2..4], login[2..4], "{log}");
    assert_eq!(refused[2], "client", "{log}");
    assert!(refused.join(" ").contains("from 127.0.0.1 refused: "), "{log}");
}

#[test]
fn nicks_are_escaped_in_the_log() {
    let house = House::with(DETACHED);
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let mut talk = Talk::to(&address);
    // RFC 8266 refuses what turns the direction of the text, and the refusal is logged.
    let refusal = talk.ask("<connect nickname='A&quot;\u{202e}nn' />");
    assert!(refusal.contains("isok='0'"), "{refusal}");
    assert!(talk.next().starts_with("<error>"));
    let answer = talk.ask("<connect nickname='Bo&quot;b' />");
    assert!(answer.contains("isok='1'"), "{answer}");

    let log = house.read("l.txt");
    assert!(log.contains(r#" "A\"\u{202e}nn" from 127.0.0.1 not logged in: "#), "{log}");
    assert!(log.contains(r#" "Bo\"b" from 127.0.0.1 logged in"#), "{log}");
    assert!(!log.contains('\u{202e}'), "{log}");
    assert!(!log.contains("A\"") && !log.contains("o\""), "{log}");
}

#[test]
fn a_long_bad_nick_does_not_fill_the_log() {
    let house = House::with(DETACHED);
    let server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    // Escaped, the second one is three times as long.
    for nick in ["n".repeat(5_000), "\u{ad}".repeat(2_500)] {
        assert_eq!(nick.len(), 5_000);
        let before = house.read("l.txt").len();
        let mut talk = Talk::to(&address);
        let refusal = talk.ask(&format!("<connect nickname=\"{nick}\" />"));
        assert!(refusal.contains("isok='0'"), "{refusal}");
        assert!(talk.next().starts_with("<error>"));
        let log = house.read("l.txt");
        assert!(log[before..].contains("not logged in"), "{log}");
        let grown = log.len() - before;
        assert!(grown <= 1_000, "{grown} bytes more for one nick");
    }
}

#[test]
fn old_files_run_as_they_are_once_their_modules_are_programs() {
    let house = House::with(include_str!("data/old_server.conf"));
    let ran = house.run(&["check"]);
    assert_eq!(ran.code, 6, "{ran:?}");
    fs::create_dir(house.path("modules")).unwrap();
    for (name, mode) in [("dbQueries", 0o755), ("helloworld.sh", 0o755), ("simpleLogin", 0o644)] {
        let module = house.path("modules").join(name);
        fs::write(&module, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&module, fs::Permissions::from_mode(mode)).unwrap();
    }
    let ran = house.run(&["check"]);
    assert_eq!(ran.code, 6, "{ran:?}");
    let hint = "[modules] list: found simpleLogin, whose file";
    assert!(ran.err.contains(hint) && ran.err.contains("is not executable"), "{ran:?}");
    let module = house.path("modules/simpleLogin");
    fs::set_permissions(&module, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = house.run(&["check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("\nip = 127.0.0.1\n"), "{}", ran.out);
    assert!(!ran.out.contains("hunter2"), "{}", ran.out);
}
