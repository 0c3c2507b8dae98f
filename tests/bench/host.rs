//! What the benchmarks of the built binary share: a server process that is measured from
//! outside, and blocking clients.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The server under test; it is ended when this goes.
pub(crate) struct Host {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From its start until its console named the address.
    pub(crate) started_in: Duration,
    directory: tempfile::TempDir,
}

impl Host {
    /// Starts the built binary on a free port with this configuration text.
    pub(crate) fn start(configuration: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the benchmark");
        let file = directory.path().join("palabre.conf");
        let log = directory.path().join("palabre.log");
        let text = format!(
            "[daemon]\npidfile = palabre.pid\n[logging]\nlogfile = {}\n{configuration}",
            log.display()
        );
        std::fs::write(&file, text).expect("a configuration");
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_palabre"))
            .args(["run", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let console = BufReader::new(child.stdout.take().expect("its console is a pipe"));
        let address = console
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let from = line.find("127.0.0.1:")?;
                let text = line[from..].split(|c: char| c.is_whitespace()).next()?;
                text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
            })
            .expect("the console names the address");
        let host = Self { child, address, started_in: start.elapsed(), directory };
        host.wait_until_it_answers();
        host
    }

    fn wait_until_it_answers(&self) {
        let mut client = Client::connect(self.address);
        client.send("<help/>");
        client.read_until("</help>");
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.directory.path().join("palabre.log")
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("KiB");
        kib * 1024
    }

    /// Processor time used so far, in clock ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = self.proc_file("stat");
        let fields = stat.rsplit(')').next().expect("fields behind the name");
        fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(Path::new(&path)).map(Iterator::count).unwrap_or(0)
    }

    /// Whether the process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id()))
            .expect("the server is running")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A blocking client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Self { stream, unread: Vec::new() }
    }

    /// Connects and logs in.
    pub(crate) fn login(address: SocketAddr, nick: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(&format!("<connect nickname='{nick}'/>"));
        client.read_until("isok='1'");
        client
    }

    pub(crate) fn join(&mut self, room: &str) {
        self.send(&format!("<join room='{room}'/>"));
        self.read_until("</clients>");
    }

    pub(crate) fn send(&mut self, stanza: &str) {
        self.stream.write_all(stanza.as_bytes()).expect("the server reads");
        self.stream.write_all(&[0]).expect("the server reads");
    }

    /// Reads stanzas up to the first that contains `text`, which is returned.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        loop {
            let stanza = self.read_stanza().expect("the server answers");
            if stanza.contains(text) {
                return stanza;
            }
        }
    }

    /// The next stanza; `None` at the end of the stream.
    pub(crate) fn read_stanza(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == 0) {
                let rest = self.unread.split_off(end + 1);
                let mut frame = std::mem::replace(&mut self.unread, rest);
                frame.pop();
                return Some(String::from_utf8(frame).expect("UTF-8"));
            }
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

/// The numeric argument after `name`, or the default.
pub(crate) fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args();
    arguments
        .find(|argument| argument == name)
        .and_then(|_| arguments.next())
        .map_or(default, |value| value.parse().expect("a number"))
}
