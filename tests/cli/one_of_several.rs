//! Which server is meant: each configuration has its own, wherever the command is called, and one
//! in the foreground is known as well.

use std::fs;

use crate::house::{House, Talk, addresses, announced};

fn greets(address: &str) {
    assert!(Talk::to(address).ask("<connect nickname=\"a\" />").contains("isok='1'"));
}

fn address_of(out: &str) -> String {
    let said: Vec<String> = out.lines().map(str::to_owned).collect();
    addresses(&said).remove(0)
}

/// A house with two configurations that name no pid file.
fn two() -> House {
    let house = House::new();
    for place in ["one", "two words"] {
        fs::create_dir(house.path(place)).unwrap();
        let text = "[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = l.txt\n";
        house.write(&format!("{place}/my.conf"), text);
    }
    house
}

#[test]
fn two_servers_without_a_pid_file_are_two_servers() {
    let house = two();
    let started = ["one/my.conf", "two words/my.conf"].map(|config| {
        let started = house.run(&["start", "--config", config]);
        assert_eq!(started.code, 0, "{started:?}");
        address_of(&started.out)
    });
    // The log is the file's, too.
    assert!(house.path("one/l.txt").exists() && house.path("two words/l.txt").exists());
    let again = house.run(&["start", "--config", "./one/../one/my.conf"]);
    assert!(again.out.contains("already running"), "{again:?}");
    // From anywhere, and through a link.
    std::os::unix::fs::symlink(house.path("one/my.conf"), house.path("link.conf")).unwrap();
    let link = house.path("link.conf").display().to_string();
    for (arguments, code) in [
        (["status", "--config", &link], 0),
        (["stop", "--config", &link], 0),
        (["status", "--config", "one/my.conf"], 3),
        (["status", "--config", "two words/my.conf"], 0),
    ] {
        let mut command = house.command(&arguments);
        if arguments[2].starts_with('/') {
            command.current_dir("/");
        }
        assert_eq!(command.status().unwrap().code(), Some(code), "{arguments:?}");
    }
    greets(&started[1]);
    assert!(std::net::TcpStream::connect(&started[0]).is_err());
    assert_eq!(house.run(&["stop", "--config", "two words/my.conf"]).code, 0);
}

#[test]
fn a_server_in_the_foreground_is_known_and_can_be_stopped() {
    let house = two();
    let mut server = house.serve(&["run", "--config", "one/my.conf"]);
    greets(&addresses(&announced(&server))[0]);
    let status = house.run(&["status", "--config", "one/my.conf"]);
    let pid = format!("palabre is running, pid {} ", server.child.id());
    assert!(status.code == 0 && status.out.contains(&pid), "{status:?}");
    // A second one by the same file is served as well, and only the first is known.
    let mut second = house.serve(&["run", "--config", "one/my.conf"]);
    greets(&addresses(&announced(&second))[0]);
    let stop = house.run(&["stop", "--config", "one/my.conf"]);
    assert!(stop.out.contains(&server.child.id().to_string()), "{stop:?}");
    assert_eq!(server.ended().code(), Some(0));
    assert!(second.child.try_wait().unwrap().is_none());
    second.signal(rustix::process::Signal::TERM);
    assert_eq!(second.ended().code(), Some(0));
}

#[test]
fn a_server_whose_configuration_is_broken_or_gone_can_be_stopped() {
    let house = two();
    for command in ["rm", "breaks"] {
        let mut server = house.serve(&["run", "--config", "one/my.conf"]);
        announced(&server);
        let text = house.read("one/my.conf");
        match command {
            "rm" => fs::remove_file(house.path("one/my.conf")).unwrap(),
            _ => house.write("one/my.conf", "[daemon]\nbogus = 1\n"),
        }
        let stop = house.run(&["stop", "--config", "one/my.conf"]);
        assert_eq!(stop.code, 0, "{stop:?}");
        assert_eq!(server.ended().code(), Some(0));
        house.write("one/my.conf", &text);
    }
    assert_eq!(house.run(&["stop", "--config", "one/none.conf"]).code, 6);
}

#[test]
fn what_is_said_can_be_pasted_where_one_stands() {
    let house = two();
    let started = house.run(&["start", "--config", "two words/my.conf"]);
    assert_eq!(started.code, 0, "{started:?}");
    let line = |start: &str| {
        let line = started.out.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{start}: {started:?}")).to_owned()
    };
    let ran = house.program("sh", &["-c", &line("try it:  ")]).output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).contains("isok='1'"), "{ran:?}");
    let ran = house.program("sh", &["-c", &line("stop it with ")]).output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).contains("palabre stopped"), "{ran:?}");
    let wrong = house.run(&["stop", "--confi", "x"]);
    assert_eq!(wrong.code, 2);
    let help = wrong.err.lines().last().unwrap();
    let help = help.strip_prefix("Run ").unwrap().strip_suffix(" for more information.").unwrap();
    assert!(house.program("sh", &["-c", help]).status().unwrap().success(), "{help}");
}

#[test]
fn a_file_that_names_no_address_is_told_of_with_the_line_that_changes_it() {
    let house = House::with("");
    let config = "[daemon]\nport = 0\n";
    house.write("palabre.conf", config);
    let mut server = house.serve(&["run"]);
    let said = announced(&server).join("\n");
    let (_, rest) = said.split_once("everybody who reaches this host can connect").unwrap();
    let line = rest.lines().nth(1).unwrap().trim();
    server.signal(rustix::process::Signal::TERM);
    server.ended();
    assert!(house.run(&["check"]).out.contains("# everybody who reaches this host"));
    for (config, arguments) in [
        (format!("{config}{line}\n"), &["run"][..]),
        (format!("{config}ip = *\n"), &["run"]),
        (config.to_owned(), &["run", "--listen", "127.0.0.1:0"]),
    ] {
        house.write("palabre.conf", &config);
        let server = house.serve(arguments);
        let said = announced(&server).join("\n");
        assert!(!said.contains("everybody"), "{said}");
    }
}

/// The pid file that a server said it holds.
fn pid_file(said: &[String]) -> &str {
    said.iter().find_map(|line| line.strip_prefix("pid file: ")).unwrap()
}

#[test]
fn a_server_whose_pid_file_is_not_known_is_not_said_to_be_gone() {
    let house = two();
    let mut server = house.serve(&["run", "--config", "one/my.conf", "--listen", "127.0.0.1:0"]);
    let said = announced(&server);
    let address = &addresses(&said)[0];
    // It is not of this configuration, but it is where its server would be.
    let asks = ["--config", "two words/my.conf", "--listen", address];
    for (command, code) in [("stop", 1), ("status", 4), ("restart", 1)] {
        let ran = house.run(&[&[command], &asks[..]].concat());
        assert_eq!(ran.code, code, "{ran:?}");
        for word in ["there is no pid file /", address, "--pidfile FILE", "XDG_RUNTIME_DIR"] {
            assert!(ran.err.contains(word), "{word}: {ran:?}");
        }
    }
    assert_eq!(house.run(&["status", "--pidfile", pid_file(&said)]).code, 0);
    let stopped = house.run(&["stop", "--pidfile", pid_file(&said)]);
    assert!(stopped.code == 0 && stopped.out.contains("palabre stopped, pid"), "{stopped:?}");
    assert_eq!(server.ended().code(), Some(0));
    let ran = house.run(&[&["stop"], &asks[..]].concat());
    assert!(ran.code == 0 && ran.out.contains("was not running (no pid file /"), "{ran:?}");
}

#[test]
fn a_pid_file_of_another_user_is_named() {
    let house = two();
    let ran = house.run(&["status", "--config", "one/my.conf"]);
    let name = ran.out.rsplit(['/', ')']).nth(1).unwrap();
    // Where it lies depends on who asks, and its end on the configuration.
    let digest = &name[name.rfind('-').unwrap()..];
    let theirs = house.path(&format!("palabre-4242{digest}"));
    let text = format!("[daemon]\nip = 127.0.0.1\nport = 0\npidfile = {}\n", theirs.display());
    house.write("theirs.conf", &text);
    let server = house.serve(&["run", "--config", "theirs.conf"]);
    announced(&server);
    for (command, code) in [("stop", 1), ("status", 4)] {
        let mut command = house.command(&[command, "--config", "one/my.conf"]);
        let ran = command.env("TMPDIR", house.path("")).output().unwrap();
        let err = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(code), "{err}");
        let pid = format!("but pid {} holds {}: ", server.child.id(), theirs.display());
        assert!(err.contains(&pid) && err.contains("--pidfile /"), "{err}");
    }
}
