//! The Python samples among the plugins hold their conversations as they stand, and so does the
//! client of the manual. Needs python3, so it runs only when it is named: `cargo test --test
//! samples`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

#[path = "support/built.rs"]
mod built;
#[expect(dead_code, reason = "a part of it is for the bare hub")]
#[path = "support/checker.rs"]
mod checker;
#[expect(dead_code, reason = "a part of it is for the bare hub")]
#[path = "support/format.rs"]
mod format;
#[path = "support/manual.rs"]
mod manual;
#[path = "support/sample.rs"]
mod sample;
#[path = "support/socket_driver.rs"]
mod socket_driver;

#[test]
fn helloworld_holds_its_conversation() {
    sample::hold("helloworld.txt");
}

/// The client of the manual, with its lines of output and the lines that are typed.
struct PythonClient {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl PythonClient {
    fn start(port: &str, nick: &str) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", &manual::block("client.py"), "127.0.0.1", port, nick, "<tea>"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("python3 can be run");
        let said = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        Self { process, said }
    }

    fn types(&mut self, line: &str) {
        let input = self.process.stdin.as_mut().expect("its input is open");
        writeln!(input, "{line}").expect("it reads what is typed");
    }

    fn says(&mut self, wanted: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("its output is text");
        assert_eq!(line.trim_end(), wanted);
    }

    /// Its exit code and its errors, when nothing more is typed.
    fn ends(mut self) -> (Option<i32>, String) {
        drop(self.process.stdin.take());
        let output = self.process.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8(output.stderr).expect("errors are text"))
    }
}

#[test]
fn the_client_of_the_manual_talks_with_another_one() {
    let server = socket_driver::SocketDriver::new(&[], usize::MAX).expect("a server");
    let port = checker::Driver::port(&server);
    let mut ann = PythonClient::start(&port, "Ann");
    ann.says("here: Ann");
    let mut bob = PythonClient::start(&port, "Bob & \"Co\"");
    bob.says("here: Ann, Bob & \"Co\"");
    ann.says("here: Ann, Bob & \"Co\"");
    bob.types("Hello <b>Ann</b> & all");
    bob.says("Bob & \"Co\": Hello <b>Ann</b> & all");
    ann.says("Bob & \"Co\": Hello <b>Ann</b> & all");
    ann.types("\u{1}");
    ann.types("Hello");
    bob.says("Ann: Hello");
    ann.says("Ann: Hello");
    assert_eq!(bob.ends(), (Some(0), String::new()));
    ann.says("here: Ann");
    let twin = PythonClient::start(&port, "ann");
    assert_eq!(twin.ends(), (Some(1), "Nickname empty or already taken\n".to_owned()));
    let told = "malformed: This is not a valid XML string\n";
    assert_eq!(ann.ends(), (Some(0), told.to_owned()));
}

#[test]
fn the_client_of_the_manual_has_forty_lines() {
    let client = manual::block("client.py");
    assert!(client.lines().filter(|line| !line.is_empty()).count() <= 40, "{client}");
}

#[test]
fn word_filter_holds_its_conversation() {
    sample::hold("wordFilter.txt");
}

#[test]
fn paid_room_holds_its_conversation() {
    sample::hold("paidRoom.txt");
}

#[test]
fn simple_login_holds_its_conversation() {
    sample::hold("simpleLogin.txt");
}
