//! A console, a pipe, a FIFO or a disk that takes no more output holds no server up: it serves, and
//! it ends when it is asked to.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Child;

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};

use crate::built::{Built, ended, lines_of, until};
use crate::house::{House, Talk, Terminal, addresses, announced, gentle, read_until};

/// A pipe that takes nothing more, and its unread end.
fn full_pipe() -> (OwnedFd, File) {
    // Closed in programs that other tests start meanwhile.
    let (unread, write) = io::pipe().unwrap();
    let (unread, write) = (OwnedFd::from(unread), OwnedFd::from(write));
    fcntl_setpipe_size(&write, 4_096).unwrap();
    let mut write = File::from(write);
    fcntl_setfl(&write, OFlags::NONBLOCK).unwrap();
    while write.write(&[b'.'; 512]).is_ok() {}
    fcntl_setfl(&write, OFlags::empty()).unwrap();
    (unread, write)
}

/// Where the server listens, by its log file.
fn address_in(house: &House, log: &str) -> String {
    until("it listens", || {
        let log = house.read(log);
        let (_, rest) = log.split_once(" listens on ")?;
        Some(rest.split_once(' ')?.0.to_owned())
    })
}

/// Whether it serves. The nick is free again when the end is seen.
fn greets(address: &str, nick: &str) {
    let mut talk = Talk::to(address);
    let answer = talk.ask(&format!("<connect nickname=\"{nick}\" />"));
    assert!(answer.contains("isok='1'"), "{answer}");
    assert_eq!(talk.ask("<quit />"), "");
}

fn end(child: &mut Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
    let status = ended(child);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_pipe_that_nobody_reads_holds_no_server_up() {
    let house = House::new();
    let (unread, full) = full_pipe();
    let mut command = house.command(&["run", "--listen", "127.0.0.1:0"]);
    // Nobody knows where it listens but by the console, which then goes unread as well.
    let mut child = command.stderr(full).spawn().unwrap();
    let mut console = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("listening on ") {
        said.clear();
        console.read_line(&mut said).unwrap();
    }
    let address = said.trim_end().strip_prefix("listening on ").unwrap();
    for nick in 0..20 {
        greets(address, &nick.to_string());
    }
    // What waited comes when it is read, and is whole.
    let log = lines_of(File::from(unread));
    let read = read_until(&log, "\"19\" from 127.0.0.1 logged in").join("\n");
    assert!(read.contains("palabre 1.0.0 listens on") && read.contains("\"0\" from"), "{read}");
    end(&mut child);
}

#[test]
fn a_server_whose_consoles_are_full_starts_serves_and_ends() {
    let house = House::with(
        "[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = l.txt\n[limits]\nsessions = 1000000000\n",
    );
    let (_unread, full) = full_pipe();
    let (_unread_too, full_too) = full_pipe();
    let mut command = house.command(&["run"]);
    let mut child = command.stdout(full).stderr(full_too).spawn().unwrap();
    greets(&address_in(&house, "l.txt"), "a");
    end(&mut child);
}

#[test]
fn the_reader_of_a_log_may_go() {
    let house = House::new();
    let mut server = house.serve(&["run", "--listen", "127.0.0.1:0"]);
    let address = addresses(&announced(&server)).remove(0);
    server.log = std::sync::mpsc::channel().1;
    until("lines are lost", || {
        greets(&address, "a");
        Some(()).filter(|()| metric(&address, "palabre_log_lines_lost_total") > 0)
    });
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}

fn metric(address: &str, name: &str) -> u64 {
    let mut talk = Talk::to(address);
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    talk.0.get_mut().write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    talk.0.read_to_string(&mut page).unwrap();
    let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.rsplit_once(' ')).unwrap().1.parse().unwrap()
}

#[test]
fn a_terminal_that_is_stopped_holds_no_server_up() {
    let house = House::new();
    let mut terminal = Terminal::new(&house, &[], &["run", "--listen", "127.0.0.1:0"]);
    let address = terminal.address();
    // Ctrl-S, and what was typed behind it has arrived when the terminal has echoed it; it echoes
    // nothing any more, so the next session proves it as little: many do.
    terminal.keyboard.write_all(b"\x13").unwrap();
    for nick in 0..100 {
        greets(&address, &nick.to_string());
    }
    end(&mut terminal.child);
}

#[test]
fn a_server_ends_with_its_terminal() {
    let house = House::new();
    let terminal = Terminal::new(&house, &[], &["run", "--listen", "127.0.0.1:0"]);
    terminal.address();
    let Terminal { keyboard, screen, mut child, .. } = terminal;
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    drop(keyboard);
    let status = ended(&mut child);
    assert_eq!(status.code(), Some(0));
    drop(screen);
}

#[test]
fn a_server_that_is_to_outlive_its_terminal_reads_its_configuration_at_a_hangup() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = l.txt\n");
    let mut terminal = Terminal::new(&house, &["nohup"], &["run"]);
    // nohup(1) sends the console to a file.
    let address = address_in(&house, "l.txt");
    kill_process(Pid::from_child(&terminal.child), Signal::HUP).unwrap();
    let read = || house.read("l.txt").contains("configuration read again").then_some(());
    until("it is read again", read);
    greets(&address, "a");
    end(&mut terminal.child);
}

#[test]
fn a_log_may_be_a_fifo_with_and_without_a_reader() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = fifo\n");
    let fifo = house.path("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    greets(&address, "early");
    let log = lines_of(File::open(&fifo).unwrap());
    read_until(&log, "\"early\" from 127.0.0.1 logged in");
    greets(&address, "late");
    read_until(&log, "\"late\" from 127.0.0.1 logged in");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_log_that_is_no_file_to_append_to_is_refused() {
    for (place, told) in [
        ("place", "directory"),
        ("new/", "directory"),
        ("/proc/palabre.log", "file system of the kernel's"),
        ("/sys/palabre.log", "file system of the kernel's"),
        ("/proc/self/comm", "file system of the kernel's"),
    ] {
        let text = "[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = ";
        let house = House::with(&format!("{text}{place}\n"));
        fs::create_dir(house.path("place")).unwrap();
        for (command, code) in [("check", 6), ("run", 1), ("start", 1), ("restart", 1)] {
            let ran = house.run(&[command]);
            assert_eq!(ran.code, code, "{place}: {command}: {ran:?}");
            let start = "[logging] logfile: can't write";
            assert!(ran.err.contains(start) && ran.err.contains(told), "{place}: {ran:?}");
        }
    }
}

#[test]
fn a_log_file_that_may_not_grow_holds_no_server_up_and_ends_with_whole_lines() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = l.txt\n");
    // Blocks of 512 bytes: two of them hold some ten lines. Beyond them comes SIGXFSZ.
    let script = format!("ulimit -f 2; exec {} run", env!("CARGO_BIN_EXE_palabre"));
    let mut server = gentle(Built::start(&mut house.program("sh", &["-c", &script])));
    let address = addresses(&announced(&server)).remove(0);
    for nick in 0..40 {
        greets(&address, &nick.to_string());
    }
    assert!(house.read("l.txt").len() <= 1_024);
    // It is moved, and the next one has room for what waits.
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    let torn = house.read("l.txt");
    assert!(!torn.ends_with('\n'), "{torn}");
    let mut server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    greets(&address, "next");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    let log = house.read("l.txt");
    let (before, after) = log.split_at(torn.len());
    assert_eq!(before, torn);
    assert!(after.starts_with("\n20"), "{after}");
}

#[test]
fn a_full_disk_ends_no_server() {
    let house = House::new();
    let mut command = house.command(&["run", "--listen", "127.0.0.1:0"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command.stderr(full).spawn().unwrap();
    let said = read_until(&lines_of(child.stdout.take().unwrap()), "stop it with");
    let address = addresses(&said).remove(0);
    for nick in 0..20 {
        greets(&address, &nick.to_string());
    }
    end(&mut child);
}

/// What can be had of a full disk without one: nothing may grow.
#[test]
fn a_start_without_room_leaves_nothing_behind_and_says_why() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\npidfile = pid\n");
    let run = |command: &str| {
        // SIGXFSZ is no part of a full disk.
        let limits = "trap '' XFSZ; ulimit -f 0; echo secret";
        let script = format!("{limits} | {} {command}", env!("CARGO_BIN_EXE_palabre"));
        let ran = house.program("sh", &["-c", &script]).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let (_, said) = run("start");
    assert!(said.contains("[daemon] pidfile: can't use") && said.contains("too large"), "{said}");
    assert!(!house.path("pid").exists(), "an empty one is of no use");
    house.write("pid", "");
    assert_eq!(run("start").0, Some(1));
    assert!(!house.path("pid").exists());
    // By a file that could not be written nobody has an account.
    let (code, said) = run("passwd add Ann --file new");
    assert!(code == Some(1) && said.contains("can't write the accounts file"), "{said}");
    assert!(!house.path("new").exists());
}

#[test]
fn a_log_that_takes_nothing_is_told_on_the_console() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = /dev/full\n");
    let mut server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    let told = read_until(&server.log, "/dev/full").join("\n");
    assert!(told.contains("[logging] logfile: can't write /dev/full: no storage space"), "{told}");
    greets(&address, "a");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_server_runs_without_standard_input_output_and_error() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = l.txt\n");
    let script = format!("exec {} run <&- >&- 2>&-", env!("CARGO_BIN_EXE_palabre"));
    let mut child = house.program("sh", &["-c", &script]).spawn().unwrap();
    greets(&address_in(&house, "l.txt"), "a");
    end(&mut child);
}

#[test]
fn a_new_log_is_not_for_everybody() {
    let house = House::with("[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = l.txt\n");
    let server = house.serve(&["run"]);
    announced(&server);
    let mode = fs::metadata(house.path("l.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

#[test]
fn one_address_fills_no_log_and_hides_no_warning() {
    let house = House::with(
        "[daemon]\nip = 127.0.0.1\nport = 0\n[logging]\nlogfile = l.txt\n[limits]\nstanzabytes = 64\n",
    );
    let mut server = house.serve(&["run"]);
    let address = addresses(&announced(&server)).remove(0);
    for _ in 0..1_000 {
        Talk::to(&address).ask("<quit/>");
    }
    let left_out = metric(&address, "palabre_log_lines_left_out_total");
    assert!(left_out > 0);
    let large = Talk::to(&address).ask(&"x".repeat(100));
    assert!(large.contains("limit 64 bytes"), "{large}");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    let log = house.read("l.txt");
    let told: u64 = log
        .lines()
        .filter_map(|line| line.split_once("left out of the log: ")?.1.split(' ').next())
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    let written = log.lines().filter(|line| line.contains(" client #")).count() as u64;
    // Those of the two last clients are among them, or not.
    assert!((1_990..=2_010).contains(&(told + written)), "{told} and {written}: {log}");
    assert!(written < 1_500, "{written}");
    assert!(log.contains("about 127.0.0.1"), "{log}");
    let warning = log.lines().find(|line| line.contains("stanza")).unwrap_or_default();
    assert!(warning.contains("warning client #"), "{log}");
}
