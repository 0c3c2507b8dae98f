//! The built server for the browser tests, and a client on raw TCP beside the browsers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A guard: whoever waits this long waits for something that will not come.
const GUARD: Duration = Duration::from_secs(30);

/// What makes a session root in these tests.
pub(crate) const ROOT_PASSWORD: &str = "\"root\" & more";

/// A server that can be ended and started again on the port it had.
pub(crate) struct Server {
    directory: TempDir,
    port: u16,
    running: Option<Running>,
}

struct Running {
    process: Child,
    /// Kept open, so that the server can go on writing.
    _console: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it on a free port.
    pub(crate) fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let configuration =
            format!("[daemon]\npidfile = p.pid\n[admin]\npassword = {ROOT_PASSWORD}\n");
        std::fs::write(directory.path().join("palabre.conf"), configuration).expect("a file");
        let mut server = Self { directory, port: 0, running: None };
        server.start_again();
        server
    }

    /// Starts it where it listened before.
    pub(crate) fn start_again(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut process = Command::new(env!("CARGO_BIN_EXE_palabre"))
            .args(["--config", "palabre.conf", "--listen", &listen])
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut console = BufReader::new(process.stdout.take().expect("a piped output"));
        self.port = loop {
            let mut line = String::new();
            let length = console.read_line(&mut line).expect("the console is text");
            assert!(length > 0, "the server ended without saying where it listens");
            if let Some((_, address)) = line.trim_end().split_once("listening on ") {
                let (_, port) = address.rsplit_once(':').expect("an address with a port");
                break port.parse().expect("a port");
            }
        };
        self.running = Some(Running { process, _console: console });
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let mut running = self.running.take().expect("it runs");
        let status = running.process.wait().expect("its end is told");
        assert!(status.success(), "{status}");
    }

    /// Ends it without a word to anybody.
    pub(crate) fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.process.kill().expect("it is there");
        running.process.wait().expect("its end is told");
    }

    /// Has it do nothing, not even end: so is a line that is dead.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("it runs");
        let pid = i32::try_from(running.process.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("it is there");
    }

    /// The address of a page.
    pub(crate) fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// A client on raw TCP, logged in.
    pub(crate) fn raw(&self, nick: &str) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        stream.set_read_timeout(Some(GUARD)).expect("a stream takes a timeout");
        let mut raw = Raw(BufReader::new(stream));
        raw.send(&format!("<connect nickname=\"{nick}\" />"));
        raw.hears("isok='1'");
        raw
    }

    /// The same in a room.
    pub(crate) fn raw_in(&self, nick: &str, room: &str) -> Raw {
        let mut raw = self.raw(nick);
        raw.send(&format!("<join room=\"{room}\" />"));
        raw.hears("<clients ");
        raw
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.process.kill();
            let _ = running.process.wait();
        }
    }
}

/// A session on raw TCP.
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    /// Sends a stanza.
    pub(crate) fn send(&mut self, xml: &str) {
        let bytes = [xml.as_bytes(), b"\0"].concat();
        self.0.get_mut().write_all(&bytes).expect("the server takes it");
    }

    /// Reads stanzas until one holds this text; gives that one.
    pub(crate) fn hears(&mut self, wanted: &str) -> String {
        let mut others = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let read = self.0.read_until(0, &mut bytes);
            if bytes.pop() != Some(0) {
                panic!("waited for {wanted}: {read:?} after {others:#?}");
            }
            let stanza = String::from_utf8(bytes).expect("stanzas are UTF-8");
            if stanza.contains(wanted) {
                return stanza;
            }
            others.push(stanza);
        }
    }
}
