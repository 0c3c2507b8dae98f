//! The built server for the browser tests, and a client on raw TCP beside the browsers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::built::Built;

/// A guard: whoever waits this long waits for something that will not come.
const GUARD: Duration = Duration::from_secs(30);

/// What makes a session root in these tests.
pub(crate) const ROOT_PASSWORD: &str = "\"root\" & more";

/// A server that can be ended and started again on the port it had.
pub(crate) struct Server {
    directory: TempDir,
    port: u16,
    running: Option<Built>,
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
        let running = Built::start(
            Command::new(env!("CARGO_BIN_EXE_palabre"))
                .args(["--config", "palabre.conf", "--listen", &listen])
                .current_dir(self.directory.path()),
        );
        let address = running.address();
        let (_, port) = address.rsplit_once(':').expect("an address with a port");
        self.port = port.parse().expect("a port");
        self.running = Some(running);
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let mut running = self.running.take().expect("it runs");
        let status = running.ended();
        assert!(status.success(), "{status}");
    }

    /// Ends it without a word to anybody.
    pub(crate) fn kill(&mut self) {
        drop(self.running.take().expect("it runs"));
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
        self.running.as_ref().expect("it runs").signal(signal);
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
