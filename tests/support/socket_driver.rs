//! Holds a conversation with the built server over loopback.
//!
//! Nothing here waits for time to pass. That a client gets nothing more is known by a barrier:
//! a `<help />` that every session may send at any time, and whose answer comes after all that
//! the server had for that client. The acting client's barrier comes first, so the server has
//! handled what it sent; the others' barriers then find what came of it already queued. The
//! barriers are not part of the transcript. Where plugins have a say, what is wanted is waited for
//! before the barrier: what they add comes later, and what is too much is found in the next step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::built::Built;
use super::checker::{self, Closed, Driver, Heard, HeardByClient, Wanted};
use super::format::{Act, Scene, Setting, What, configuration};

/// A guard: whoever waits this long waits for something that will not come.
const GUARD: Duration = Duration::from_secs(10);

const BARRIER: &[u8] = b"<help />\0";
const BARRIER_ANSWER: &[u8] = b"<help";

/// Runs a scene with a fresh server; what clients send goes out in writes of at most `piece`
/// bytes.
///
/// # Errors
/// The first difference, with file and line.
pub(crate) fn run(file: &str, scene: &Scene, piece: usize) -> Result<(), String> {
    let mut driver = SocketDriver::new(&scene.settings, piece)?;
    checker::run(file, scene, &mut driver).map_err(|error| driver.with_log(&error))?;
    let mut expected = scene.steps.iter().flat_map(|step| &step.expected);
    if expected.any(|expected| matches!(&expected.what, What::Closed(why) if why == "shutdown")) {
        return driver.server_exits().map_err(|error| format!("{file}: {error}"));
    }
    Ok(())
}

/// A server process and its clients.
pub(crate) struct SocketDriver {
    server: Server,
    clients: BTreeMap<String, Client>,
    /// How many bytes at most are sent in one write.
    piece: usize,
    /// Plugins run.
    plugins: bool,
}

struct Client {
    stream: BufReader<TcpStream>,
    /// It has sent a part of a frame: a barrier would become a part of it.
    within_frame: bool,
    /// It has ended its side.
    ended: bool,
}

impl SocketDriver {
    /// Starts a fresh server under these settings. What clients send goes out in writes of at
    /// most `piece` bytes.
    ///
    /// # Errors
    /// When it doesn't say on its console where it listens.
    pub(crate) fn new(settings: &[Setting], piece: usize) -> Result<Self, String> {
        let plugins = settings.iter().any(|(key, _)| key == "modules.list");
        Ok(Self { clients: BTreeMap::new(), server: Server::start(settings)?, piece, plugins })
    }

    /// What went wrong, and what the server's log says: not every difference comes a second time.
    fn with_log(&mut self, error: &str) -> String {
        self.server.log.extend(self.server.built.log.try_iter());
        format!("{error}\n  log: {}", self.server.log.join("\n       "))
    }

    /// Waits for the server's own end, after a `<shutdown />`.
    ///
    /// # Errors
    /// When it doesn't come, or isn't a success.
    pub(crate) fn server_exits(mut self) -> Result<(), String> {
        self.server.exits()
    }

    fn act(&mut self, acts: &[Act]) -> Result<(), String> {
        let mut one_write: Vec<u8> = Vec::new();
        for act in acts {
            match act {
                Act::Open { client, from: None, policy: false } => {
                    let stream = self.server.connect()?;
                    let client_of = Client {
                        stream: BufReader::new(stream),
                        within_frame: false,
                        ended: false,
                    };
                    self.clients.insert(client.clone(), client_of);
                }
                Act::Send { client, bytes } => {
                    one_write.extend(bytes);
                    let client = self.client(client)?;
                    client.within_frame = bytes.last().is_some_and(|&byte| byte != 0)
                        || (client.within_frame && bytes.is_empty());
                }
                Act::End { client } => {
                    let client = self.client(client)?;
                    client.ended = true;
                }
                Act::Open { .. } => return Err("only loopback is served; hub only?".to_owned()),
                Act::Verdict { .. } | Act::Permission { .. } => {
                    return Err("nobody decides here; hub only?".to_owned());
                }
                Act::Order(_) => return Err("no plugin runs here; hub only?".to_owned()),
                Act::Wait(_) => return Err("there is no virtual clock; hub only?".to_owned()),
            }
        }
        let actors: BTreeSet<&str> = acts.iter().filter_map(Act::client).collect();
        if actors.len() > 1 {
            return Err("two clients can't be made to share a turn; hub only?".to_owned());
        }
        let piece = self.piece;
        for name in actors {
            let client = self.client(name)?;
            for bytes in one_write.chunks(piece) {
                client.write(bytes);
            }
            if client.ended {
                // The server may have closed it meanwhile: reading will show.
                let _ = client.stream.get_ref().shutdown(Shutdown::Write);
            }
        }
        Ok(())
    }

    fn client(&mut self, name: &str) -> Result<&mut Client, String> {
        self.clients.get_mut(name).ok_or_else(|| format!("{name} is not connected"))
    }
}

impl Driver for SocketDriver {
    fn perform(
        &mut self,
        acts: &[Act],
        wanted: &BTreeMap<&str, Wanted>,
    ) -> Result<HeardByClient, String> {
        self.act(acts)?;
        let wanted_by = |name: &str| wanted.get(name).copied().unwrap_or_default();
        let mut heard = HeardByClient::new();
        let actor = acts.iter().find_map(Act::client).unwrap_or_default();
        if let Some(client) = self.clients.get_mut(actor) {
            heard.insert(actor.to_owned(), client.hear(wanted_by(actor), !self.plugins)?);
        }
        let settled =
            !self.plugins && self.clients.get(actor).is_none_or(|client| client.has_barrier());
        for (name, client) in self.clients.iter_mut().filter(|(name, _)| *name != actor) {
            let of_client = client
                .hear(wanted_by(name), settled)
                .map_err(|error| format!("{name}: {error}"))?;
            heard.insert(name.clone(), of_client);
        }
        self.clients.retain(|name, client| {
            let is_open = heard.get(name).is_none_or(|heard| heard.closed.is_none());
            if !is_open {
                // To drop the socket does not end it while another test's process is being started:
                // until that has become another program it has the same descriptors.
                let _ = client.stream.get_ref().shutdown(Shutdown::Both);
            }
            is_open
        });
        self.server.still_well()?;
        Ok(heard)
    }

    fn port(&self) -> String {
        self.server.port().to_owned()
    }
}

impl Client {
    fn has_barrier(&self) -> bool {
        !self.within_frame && !self.ended
    }

    /// A server that closes may have closed already: reading shows that, writing needn't.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Reads everything that the server has for this client. `settled` says that the server
    /// has handled what caused it; if not, what is wanted is waited for before the barrier.
    fn hear(&mut self, wanted: Wanted, settled: bool) -> Result<Heard, String> {
        let mut heard = Heard::default();
        let mut helps = 0;
        let mut barrier = false;
        let whole = self.has_barrier();
        loop {
            let awaited = !settled && heard.stanzas.len() < wanted.stanzas;
            let lasts = !awaited && !wanted.closed && !barrier;
            if lasts && whole {
                self.write(BARRIER);
                barrier = true;
            } else if lasts && !self.ended && heard.stanzas.len() >= wanted.stanzas {
                return Ok(heard);
            }
            let Some(stanza) = self.read_stanza()? else {
                heard.closed = Some(Closed::Unseen);
                return Ok(heard);
            };
            if stanza.starts_with(BARRIER_ANSWER) {
                helps += 1;
                if barrier && helps > wanted.helps {
                    return Ok(heard);
                }
            }
            heard.stanzas.push(stanza);
        }
    }

    /// The next stanza without its NUL; `None` at the end of the stream.
    fn read_stanza(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut stanza = Vec::new();
        match self.stream.read_until(0, &mut stanza) {
            Ok(0) => Ok(None),
            Ok(_) if stanza.pop() == Some(0) => Ok(Some(stanza)),
            Ok(_) => Err(format!("the end within a stanza: {}", String::from_utf8_lossy(&stanza))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(format!("nothing more and no end within {GUARD:?}"))
            }
            Err(error) => Err(format!("while reading: {error}")),
        }
    }
}

/// The server's process.
struct Server {
    built: Built,
    address: String,
    log: Vec<String>,
    /// Removed with the server.
    _directory: TempDir,
}

impl Server {
    fn start(settings: &[Setting]) -> Result<Self, String> {
        // A directory of its own, so that no configuration lies about.
        let directory = TempDir::new().map_err(|error| error.to_string())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_palabre"));
        if !settings.is_empty() {
            let file = directory.path().join("transcript.conf");
            let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugins");
            symlink(plugins, directory.path().join("modules"))
                .map_err(|error| error.to_string())?;
            // A server that is killed leaves no pid file behind outside its directory.
            let text = configuration(settings) + "\n[daemon]\npidfile = p.pid\n";
            fs::write(&file, text).map_err(|error| error.to_string())?;
            command.arg("--config").arg(file);
        }
        command
            .args(["--listen", "127.0.0.1:0", "--log-level", "debug"])
            .current_dir(directory.path());
        let built = Built::start(&mut command);
        let address = built.address();
        Ok(Self { built, address, log: Vec::new(), _directory: directory })
    }

    fn port(&self) -> &str {
        self.address.rsplit_once(':').map_or("", |(_, port)| port)
    }

    fn connect(&self) -> Result<TcpStream, String> {
        let stream = TcpStream::connect(&self.address).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(GUARD)).map_err(|error| error.to_string())?;
        Ok(stream)
    }

    fn still_well(&mut self) -> Result<(), String> {
        self.log.extend(self.built.log.try_iter());
        match self.log.iter().find(|line| line.contains("panicked at")) {
            Some(panic) => Err(format!("the server panicked: {panic}")),
            None => Ok(()),
        }
    }

    fn exits(&mut self) -> Result<(), String> {
        let status = self.built.ended();
        // Its log ends with it.
        self.log.extend(self.built.log.iter());
        self.still_well()?;
        if status.success() { Ok(()) } else { Err(format!("the server exited with {status}")) }
    }
}
