//! `palabre passwd` at the command line, and what `check` and `run` say of the accounts.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[path = "support/built.rs"]
mod built;
#[path = "support/manual.rs"]
mod manual;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use palabre::accounts::hash::PasswordHash;
use tempfile::TempDir;

/// A directory of its own, with the commands that are run in it.
struct House(TempDir);

/// What a command left.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl House {
    fn with(config: &str) -> Self {
        let house = Self(TempDir::new().unwrap());
        fs::write(house.path("palabre.conf"), config).unwrap();
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file that nobody is writing any more.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        let file = fs::File::options().write(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palabre"));
        command.args(arguments);
        self.ran(command, input)
    }

    fn ran(&self, mut command: Command, input: &[u8]) -> Ran {
        command.current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its input may end first.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn done(&self, arguments: &[&str], input: &[u8]) -> String {
        let ran = self.run(arguments, input);
        // What root is told of a new file has a test of its own.
        let odd = ran.err.lines().any(|line| !line.contains("can be read by root alone"));
        assert!(ran.code == Some(0) && !odd, "{arguments:?}: {ran:?}");
        ran.out
    }

    fn failed(&self, arguments: &[&str], input: &[u8], code: i32) -> String {
        let ran = self.run(arguments, input);
        assert!(ran.code == Some(code) && ran.out.is_empty(), "{arguments:?}: {ran:?}");
        ran.err
    }
}

#[test]
fn accounts_are_added_listed_checked_and_removed() {
    let house = House::with("[accounts]\nfile = people\n");
    assert_eq!(house.done(&["passwd", "add", "Ann"], b"hunter2\n"), "Ann has an account\n");
    assert_eq!(
        house.done(&["passwd", "add", "B:ob"], "h\u{fc}nter\r\n".as_bytes()),
        "B:ob has an account\n"
    );
    let mode = fs::metadata(house.path("people")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(house.done(&["passwd", "list"], b""), "Ann\nB:ob\n");
    assert_eq!(house.done(&["passwd", "check", "ANN"], b"hunter2"), "the password is right\n");
    house.done(&["passwd", "check", "b:ob"], "hu\u{308}nter\nmore".as_bytes());
    for wrong in [&b"hunter3\n"[..], b"", b"hunter2 \n", b"\xff\n"] {
        house.failed(&["passwd", "check", "Ann"], wrong, 1);
    }
    let changed = house.done(&["passwd", "add", "ann"], b"hunter3\n");
    assert_eq!(changed, "ann, until now Ann, has a new password\n");
    house.done(&["passwd", "check", "Ann"], b"hunter3\n");
    house.failed(&["passwd", "check", "Ann"], b"hunter2\n", 1);
    assert_eq!(house.done(&["passwd", "remove", "ANN"], b""), "ann has no account any more\n");
    assert_eq!(house.done(&["passwd", "list"], b""), "B:ob\n");
    let text = fs::read_to_string(house.path("people")).unwrap();
    assert!(text.starts_with("B:ob:$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    assert!(!text.contains("hunter"), "{text}");
}

#[test]
fn an_account_that_looks_like_another_is_told_of() {
    let house = House::with("[accounts]\nfile = people\n");
    for nick in ["Bob", "b0b", "Zoë"] {
        house.done(&["passwd", "add", nick], b"x\n");
    }
    // With a Cyrillic letter.
    let ran = house.run(&["passwd", "add", "B\u{43E}b"], b"x\n");
    assert_eq!((ran.code, &*ran.out), (Some(0), "B\u{43E}b has an account\n"));
    assert!(ran.err.contains("\"B\u{43E}b\" looks like \"Bob\""), "{ran:?}");
    house.done(&["passwd", "add", "zoë"], b"x\n");
}

/// Root makes the file for whoever runs the server, as far as it can know who that is.
#[test]
fn a_file_that_root_makes_is_not_for_root_alone_or_the_console_says_so() {
    let house = House::with("");
    let is_root = rustix::process::geteuid().is_root();
    let ran = house.run(&["passwd", "add", "Ann", "--file", "people"], b"x\n");
    let told = ran.err.contains("people can be read by root alone") && ran.err.contains("chgrp ");
    assert_eq!((ran.code, told), (Some(0), is_root), "{ran:?}");
    let again = house.run(&["passwd", "add", "Bob", "--file", "people"], b"x\n");
    assert_eq!((again.code, &*again.err), (Some(0), ""), "it is told once");
    if is_root {
        let state = house.path("state");
        fs::create_dir(&state).unwrap();
        std::os::unix::fs::chown(&state, Some(12_345), Some(23_456)).unwrap();
        let ran = house.run(&["passwd", "add", "Ann", "--file", "state/people"], b"x\n");
        assert_eq!((ran.code, &*ran.err), (Some(0), ""));
        let made = fs::metadata(state.join("people")).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (12_345, 23_456, 0o600));
        // One that is there stays whose it is.
        std::os::unix::fs::chown(state.join("people"), Some(54_321), None).unwrap();
        house.done(&["passwd", "add", "Bob", "--file", "state/people"], b"x\n");
        assert_eq!(fs::metadata(state.join("people")).unwrap().uid(), 54_321);
    }
}

#[test]
fn a_switched_off_account_can_be_removed_and_is_not_in_the_list() {
    let house = House::with("[accounts]\nfile = people\n");
    house.done(&["passwd", "add", "Ann"], b"hunter2\n");
    let text = fs::read_to_string(house.path("people")).unwrap();
    house.write("people", &format!("# ours\n#{text}"));
    assert_eq!(house.done(&["passwd", "list"], b""), "");
    assert_eq!(house.done(&["passwd", "remove", "Ann"], b""), "Ann has no account any more\n");
    assert_eq!(fs::read_to_string(house.path("people")).unwrap(), "# ours\n");
    house.failed(&["passwd", "remove", "Ann"], b"", 1);
}

/// Whether the directory has told of so many things that were done in it by the time that the
/// command ends. Then the command is killed at once.
#[cfg(target_os = "linux")]
fn killed_behind(events: usize, seen: &std::os::fd::OwnedFd, mut command: Command) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::Reader;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // One that does not read its input may end first.
    let _ = child.stdin.take().unwrap().write_all(b"hunter2\n");
    let output = child.stdout.take().unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4_096];
    let mut reader = Reader::new(seen, &mut buffer);
    let patience = Timespec::try_from(built::PATIENCE).unwrap();
    let mut left = events;
    while left > 0 {
        let mut ready = [PollFd::new(seen, PollFlags::IN), PollFd::new(&output, PollFlags::IN)];
        assert!(poll(&mut ready, Some(&patience)).unwrap() > 0, "it neither works nor ends");
        let [told, ended] = ready.map(|fd| !fd.revents().is_empty());
        if told {
            reader.next().unwrap();
            left -= 1;
        } else if ended {
            break;
        }
    }
    let _ = child.kill();
    child.wait().unwrap();
    left == 0
}

/// It is killed behind each thing that its directory tells of; what is there then is whole.
#[cfg(target_os = "linux")]
#[test]
fn a_command_that_is_killed_leaves_no_hashes_behind() {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let house = House::with("[accounts]\nfile = people\n");
    house.done(&["passwd", "add", "Ann"], b"hunter2\n");
    let mut events = 0;
    loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palabre"));
        command.args(["passwd", "add", "Bob"]).current_dir(house.0.path());
        let seen = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        add_watch(&seen, house.0.path(), WatchFlags::ALL_EVENTS).unwrap();
        let killed = killed_behind(events, &seen, command);
        let listed = house.done(&["passwd", "list"], b"");
        assert!(listed == "Ann\n" || listed == "Ann\nBob\n", "{listed}");
        if !killed {
            break;
        }
        events += 1;
    }
    assert!(events > 5, "the directory tells of the configuration and of two files");
    // A name is there for the moment between two system calls at most; the next one clears it away.
    house.done(&["passwd", "add", "Cid"], b"hunter2\n");
    let mut names: Vec<_> = fs::read_dir(house.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["palabre.conf", "people"]);
}

#[test]
fn a_file_that_would_be_too_large_is_told_and_the_old_one_kept() {
    let house = House::with("[accounts]\nfile = people\n");
    house.done(&["passwd", "add", "Ann"], b"hunter2\n");
    let before = fs::read(house.path("people")).unwrap();
    // Of blocks of 512 or 1,024 bytes, none.
    for (nick, file) in [("Bob", "people"), ("Cid", "others")] {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -f 0; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_palabre")]);
        command.args(["passwd", "add", nick, "--file", file]);
        let ran = house.ran(command, b"hunter2\n");
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let told = format!("{file}: can't write the accounts file: File too large");
        assert!(ran.err.contains(&told), "{ran:?}");
    }
    assert_eq!(fs::read(house.path("people")).unwrap(), before);
    assert!(!house.path("others").exists());
}

#[test]
fn the_file_can_be_named_before_and_behind_the_command() {
    let house = House::with("[accounts]\nfile = people\n");
    fs::write(house.path("other.conf"), "[accounts]\nfile = others\n").unwrap();
    house.done(&["passwd", "add", "Ann", "--file", "a"], b"x\n");
    house.done(&["passwd", "--file=b", "add", "Bob"], b"x\n");
    house.done(&["passwd", "--config", "other.conf", "add", "Cid"], b"x\n");
    house.done(&["--config", "other.conf", "passwd", "add", "Dan"], b"x\n");
    assert_eq!(house.done(&["passwd", "list", "--file", "a"], b""), "Ann\n");
    assert_eq!(house.done(&["passwd", "--file", "a", "list", "--file", "b"], b""), "Bob\n");
    assert_eq!(house.done(&["passwd", "list", "--config", "other.conf"], b""), "Cid\nDan\n");
    assert!(!house.path("people").exists());
}

#[test]
fn what_can_not_be_is_refused_and_changes_nothing() {
    let house = House::with("[limits]\nnickbytes = 8\n[accounts]\nfile = people\n");
    for (nick, needs) in [
        ("#Ann", "needs a nick that does not begin as a comment does (#"),
        (";Ann", "needs a nick that does not begin as a comment does (#"),
        (" Ann", "needs a nick"),
        ("", "needs a nick"),
        ("Anneliese", "too long for a nick (limit 8 bytes)"),
    ] {
        let told = house.failed(&["passwd", "add", nick], b"hunter2\n", 1);
        assert!(told.contains(needs), "{told}");
    }
    for password in [&b""[..], b"\n", &[b'x'; 1_025], &[b'x'; 9_000]] {
        house.failed(&["passwd", "add", "Ann"], password, 1);
    }
    // The second is a lone surrogate, as some programs write it.
    for password in [&b"\xff\n"[..], b"\xed\xa0\x80\n"] {
        let told = house.failed(&["passwd", "add", "Ann"], password, 1);
        assert_eq!(told, "palabre: the password is not UTF-8\n");
    }
    assert!(!house.path("people").exists());
    let told = house.failed(&["passwd", "remove", "Ann"], b"", 1);
    assert!(told.contains("people: can't read the accounts file: "), "{told}");
    house.done(&["passwd", "add", "Ann"], &[b'x'; 1_024]);
    for command in ["remove", "check"] {
        let told = house.failed(&["passwd", command, "Bob"], b"x\n", 1);
        assert_eq!(told, "palabre: \"Bob\" has no account\n");
    }
    for arguments in [&["passwd"][..], &["passwd", "add"], &["passwd", "dance"]] {
        house.failed(arguments, b"", 2);
    }
}

#[test]
fn a_file_with_errors_is_told_line_by_line_and_left_alone() {
    let house = House::with("[accounts]\nfile = people\n");
    fs::write(house.path("people"), "# ours\nAnn:hunter2\nBob\n").unwrap();
    for arguments in [&["passwd", "add", "Cid"][..], &["passwd", "list"], &["check"], &["run"]] {
        let told = house.failed(arguments, b"x\n", 6);
        let lines: Vec<&str> = told.lines().filter(|line| line.contains("people:")).collect();
        assert_eq!(lines.len(), 2, "{arguments:?}: {told}");
        assert!(lines[0].contains("people:2: found a line without a hash, needs "), "{told}");
        assert!(!told.contains("hunter"), "{told}");
    }
    let text = fs::read_to_string(house.path("people")).unwrap();
    assert_eq!(text, "# ours\nAnn:hunter2\nBob\n");
}

#[test]
fn a_server_whose_accounts_are_missing_does_not_start() {
    let house = House::with("[accounts]\nfile = people\nguests = yes\n");
    for command in ["check", "run"] {
        let told = house.failed(&[command], b"", 6);
        assert!(told.contains("palabre passwd add NICK makes it"), "{told}");
    }
    house.done(&["passwd", "add", "Ann"], b"x\n");
    assert_eq!(house.run(&["check"], b"").err, "");
}

#[test]
fn check_warns_of_accounts_that_are_of_no_use_or_open_to_all() {
    let house = House::with("[accounts]\nfile = people\n");
    fs::write(house.path("people"), "").unwrap();
    fs::set_permissions(house.path("people"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = house.run(&["check"], b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines[0].contains("nobody can log in") && lines[1].contains("can read it"), "{ran:?}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_that_can_not_be_asked_is_an_error_to_check() {
    let house = House::with(
        "[database]\nusedatabase = yes\ndbType = sqlite\ndbDatabase = people.db\ndbPassword = hunter2\n\
         dbRequest = SELECT 1 FROM people WHERE nick = [LOGIN] AND secret = [PASSWORD]\n",
    );
    let ran = house.run(&["check"], b"");
    assert_eq!(ran.code, Some(6), "{ran:?}");
    let told = "palabre: logins can't be checked in sqlite ";
    assert!(ran.err.starts_with(told) && ran.err.lines().count() == 1, "{ran:?}");
    assert!(!format!("{ran:?}").contains("hunter"), "{ran:?}");
}

#[test]
fn without_a_file_to_work_on_it_says_how_to_name_one() {
    let told = House::with("").failed(&["passwd", "list"], b"", 6);
    assert!(told.contains("palabre.conf names no [accounts] file; --file names one"), "{told}");
    let told = House::with("[accounts]\nfiles = a\n").failed(&["passwd", "list"], b"", 6);
    assert!(told.contains("palabre.conf:2: [accounts] files: found an unknown key"), "{told}");
}

#[test]
fn the_hash_of_a_password_is_one_line_for_the_configuration() {
    let house = House::with("");
    let printed = house.done(&["passwd", "hash"], b"hunter2\n");
    let hash = PasswordHash::parse(printed.strip_suffix('\n').unwrap()).unwrap();
    assert!(hash.is_of("hunter2"));
    fs::write(house.path("palabre.conf"), format!("[admin]\npassword = {printed}")).unwrap();
    let shown = house.done(&["check"], b"");
    assert!(shown.contains("# password = (set, not shown)") && !shown.contains("argon2id$"));
}

#[test]
fn the_commands_of_the_manual_do_what_it_says() {
    let house = House::with(&manual::block("accounts-conf"));
    let directory = PathBuf::from(env!("CARGO_BIN_EXE_palabre")).parent().unwrap().to_owned();
    let others = std::env::var_os("PATH").unwrap();
    let path = [directory].into_iter().chain(std::env::split_paths(&others));
    let mut shell = Command::new("sh");
    shell.args(["-euc", &manual::block("accounts")]).current_dir(house.0.path());
    shell.env("PATH", std::env::join_paths(path).unwrap());
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"sesame\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let expected = "Ann has an account\nBob has an account\nAnn\nBob\nthe password is right\n\
                    Bob has no account any more\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    house.done(&["passwd", "check", "Ann"], b"sesame\n");
    assert_eq!(house.run(&["check"], b"").err, "");
}

#[cfg(feature = "sqlite")]
#[test]
fn the_database_of_the_manual_can_be_asked() {
    let house = House::with(&manual::block("database-conf"));
    let database = rusqlite::Connection::open(house.path("people.db")).unwrap();
    database.execute("CREATE TABLE people (nick TEXT, password TEXT)", []).unwrap();
    assert_eq!(house.run(&["check"], b"").err, "");
}
