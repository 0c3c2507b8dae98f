//! The world in which a plugin is tried: its process is a real one, its clients follow a script.
//!
//! The next step of the script is done when nothing has been said for a while, at once when
//! nothing was said because of the last one. The clock is the system's, put forward when only a
//! timer is waited for.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use memchr::memmem;

use super::tap::{Talk, joined};
use crate::config::Module;
use crate::hub::Time;
use crate::net::DescriptorLimit;
use crate::net::os::{Os, Signals};
use crate::net::world::{Event, ProcessEnd, ProcessKey, World};
use crate::wire::framer::FRAME_END;

/// Seconds that the plugin has to register and to answer: the default of `[module NAME] timeout`.
pub(super) const TIMEOUT_S: u64 = 5;

/// A plugin that has not fallen silent in this time never will.
const STEP_TIME: Duration = Duration::from_secs(10);

/// Something that a client does.
#[derive(Debug)]
pub(super) struct Step {
    /// Which of the two.
    pub(super) client: usize,
    pub(super) act: ClientAct,
}

#[derive(Debug)]
pub(super) enum ClientAct {
    Connect,
    Say(String),
    /// Says this and waits for the answer, until the server has one.
    LogIn(String),
    /// The same, unless it has logged in.
    LogInAnyway(String),
    /// Says these or, when there are none, an empty stanza of each name that is registered.
    SendRegistered(Vec<String>),
    /// Its connection ends without a word.
    Break,
}

/// The world.
pub(super) struct ScriptedWorld {
    os: Os,
    /// How far the clock is put forward.
    skipped: Duration,
    /// The silence after which nothing more is expected.
    wait: Duration,
    script: VecDeque<Step>,
    /// Every connection of a client so far, by its number.
    connections: Vec<ScriptedClient>,
    /// Which of them the two have now.
    clients: [usize; 2],
    /// Those that wait to be accepted.
    arrivals: VecDeque<usize>,
    talk: Talk,
    cannot_start: Option<io::Error>,
    /// It has registered something: the script has begun.
    begun: bool,
    /// By then it has to have registered, or to have become silent.
    until: Time,
    /// It has left a question without an answer.
    late: bool,
    /// A timer has been fired in this step.
    fired: bool,
}

impl ScriptedWorld {
    pub(super) fn new(wait_ms: u64, script: Vec<Step>) -> io::Result<Self> {
        Ok(Self {
            os: Os::new(Vec::new(), Signals::take()?, 1, DescriptorLimit::unraised())?,
            skipped: Duration::ZERO,
            wait: Duration::from_millis(wait_ms),
            script: script.into(),
            connections: vec![ScriptedClient::default(), ScriptedClient::default()],
            clients: [0, 1],
            arrivals: VecDeque::new(),
            talk: Talk::default(),
            cannot_start: None,
            begun: false,
            until: Time::from_secs(TIMEOUT_S),
            late: false,
            fired: false,
        })
    }

    /// Whether nothing was wrong, once the server has stopped.
    ///
    /// # Errors
    /// Why the program could not be started.
    pub(super) fn outcome(&mut self) -> io::Result<bool> {
        match self.cannot_start.take() {
            Some(error) => Err(error),
            None => Ok(self.talk.judge()),
        }
    }

    /// What has become of the clients' connections since the last time.
    fn tell_edges(&mut self, events: &mut Vec<Event>) {
        for client in self.clients {
            let client = &mut self.connections[client];
            if let Some(slot) = client.slot.filter(|_| client.edge) {
                client.edge = false;
                events.push(Event::Ready {
                    slot,
                    readable: true,
                    writable: true,
                    read_closed: client.ended,
                    failed: false,
                });
            }
        }
    }

    /// How long it may be silent.
    fn patience(&mut self, timeout: Option<Duration>) -> Duration {
        let talk = &self.talk;
        if talk.stopping {
            timeout.unwrap_or(self.wait)
        } else if talk.ended.is_some() || self.cannot_start.is_some() {
            Duration::ZERO
        } else if !self.begun {
            self.until.since(self.os.now())
        } else if !self.late && self.waiting().is_some() {
            timeout.unwrap_or(self.wait)
        } else if talk.busy || self.late {
            self.wait
        } else {
            Duration::ZERO
        }
    }

    /// Nothing more is said for now.
    fn go_on(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) {
        self.talk.busy = false;
        if let Some(client) = self.waiting() {
            self.connections[client].waits = false;
            // Nobody waits so long twice.
            if std::mem::replace(&mut self.late, true) {
                self.skipped += timeout.unwrap_or_default();
            }
            let late = format!("it has not answered within {TIMEOUT_S} s: that is a no");
            self.talk.complain(&late);
        } else if let Some(rest) = timeout.filter(|_| !self.fired) {
            self.fired = true;
            self.skipped += rest;
        } else {
            self.fired = false;
            self.set_until();
            match self.script.pop_front() {
                Some(step) => self.act(step, events),
                None => self.stop(events),
            }
        }
    }

    /// A connection that waits for the answer to a login.
    fn waiting(&self) -> Option<usize> {
        self.clients.into_iter().find(|&client| self.connections[client].waits)
    }

    fn set_until(&mut self) {
        self.until = self.os.now() + STEP_TIME + self.wait;
    }

    fn act(&mut self, step: Step, events: &mut Vec<Event>) {
        let index = step.client;
        let client = &mut self.connections[self.clients[index]];
        match step.act {
            ClientAct::Connect => {
                self.clients[index] = self.connections.len();
                self.arrivals.push_back(self.connections.len());
                self.connections.push(ScriptedClient::default());
                events.push(Event::Acceptable { listener: 0 });
            }
            ClientAct::Say(stanza) => client.say(&stanza),
            ClientAct::LogIn(stanza) => client.log_in(&stanza),
            ClientAct::LogInAnyway(stanza) => {
                if !client.logged_in {
                    client.log_in(&stanza);
                }
            }
            ClientAct::SendRegistered(stanzas) => {
                for stanza in self.talk.wanted_stanzas(stanzas).into_iter().rev() {
                    self.script.push_front(Step { client: index, act: ClientAct::Say(stanza) });
                }
            }
            ClientAct::Break => client.end(),
        }
        self.tell_edges(events);
    }

    fn stop(&mut self, events: &mut Vec<Event>) {
        self.talk.stopping = true;
        events.push(Event::Stop);
    }
}

impl World for ScriptedWorld {
    type Socket = ScriptedSocket;

    fn now(&mut self) -> Time {
        self.os.now() + self.skipped
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        if !self.begun && self.talk.registered {
            self.begun = true;
            self.set_until();
        }
        if std::mem::take(&mut self.talk.greeted_now) {
            events.push(Event::ProcessReady { index: 0 });
        }
        self.tell_edges(events);
        let busy = timeout == Some(Duration::ZERO) || !events.is_empty();
        let patience = if busy { Duration::ZERO } else { self.patience(timeout) };
        let since = self.os.now();
        self.os.poll(Some(patience), events)?;
        let now = self.os.now();
        let talk = &mut self.talk;
        // Ctrl-C.
        talk.stopping |= events.contains(&Event::Stop);
        if talk.stopping {
            return Ok(());
        }
        let is_over = talk.ended.is_some() || self.cannot_start.is_some();
        let silent = !busy && events.is_empty() && now.since(since) >= patience;
        if is_over && silent {
            self.stop(events);
        } else if !is_over && now >= self.until {
            let why = if self.begun {
                format!("it was never silent for {} ms", self.wait.as_millis())
            } else {
                format!(
                    "it has not registered anything within {TIMEOUT_S} s: until it does, nobody \
                     can log in"
                )
            };
            talk.complain(&why);
            self.stop(events);
        } else if silent {
            self.go_on(timeout, events);
        }
        Ok(())
    }

    fn set_idle_time(&mut self, _: u64) {}

    fn accept(&mut self, _: usize) -> io::Result<(ScriptedSocket, SocketAddr)> {
        let client = self.arrivals.pop_front().ok_or(ErrorKind::WouldBlock)?;
        Ok((ScriptedSocket(client), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
    }

    fn register(&mut self, socket: &mut ScriptedSocket, slot: usize) -> io::Result<()> {
        let client = &mut self.connections[socket.0];
        client.slot = Some(slot);
        client.edge = true;
        Ok(())
    }

    fn read(&mut self, socket: &mut ScriptedSocket, buffer: &mut [u8]) -> io::Result<usize> {
        let client = &mut self.connections[socket.0];
        let count = client.said.len().min(buffer.len());
        if count == 0 && !client.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffer[..count].copy_from_slice(&client.said[..count]);
        client.said.drain(..count);
        Ok(count)
    }

    fn write(&mut self, socket: &mut ScriptedSocket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = joined(slices);
        self.connections[socket.0].hear(&bytes);
        Ok(bytes.len())
    }

    fn shutdown_write(&mut self, socket: &mut ScriptedSocket) -> io::Result<()> {
        self.connections[socket.0].end();
        Ok(())
    }

    fn check_silence(&mut self, _: &mut ScriptedSocket, _: u64) {}

    fn close(&mut self, _: ScriptedSocket) {}

    fn start(&mut self, index: usize, module: &Module) -> io::Result<ProcessKey> {
        self.os.start(index, module).inspect_err(|error| {
            self.cannot_start = Some(io::Error::new(error.kind(), error.to_string()));
        })
    }

    fn read_output(&mut self, process: ProcessKey, buffer: &mut [u8]) -> io::Result<usize> {
        self.talk.read_output(&mut self.os, process, buffer)
    }

    fn read_errors(&mut self, process: ProcessKey, buffer: &mut [u8]) -> io::Result<usize> {
        self.talk.read_errors(&mut self.os, process, buffer)
    }

    fn write_input(&mut self, process: ProcessKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.talk.write_input(&mut self.os, process, slices)
    }

    fn end_input(&mut self, process: ProcessKey) {
        self.os.end_input(process);
    }

    fn ended(&mut self, process: ProcessKey) -> Option<ProcessEnd> {
        self.talk.look_for_end(&mut self.os, process)
    }

    fn kill(&mut self, process: ProcessKey, force: bool) {
        self.talk.kill(&mut self.os, process, force);
    }

    fn forget(&mut self, process: ProcessKey) {
        self.os.forget(process);
    }

    fn stop_listening(&mut self) {}
}

/// A connection of a client of the script.
#[derive(Debug, Default)]
struct ScriptedClient {
    slot: Option<usize>,
    /// What it has said and the server has not read.
    said: Vec<u8>,
    /// The server has to look at it.
    edge: bool,
    ended: bool,
    /// It waits for the answer to a login.
    waits: bool,
    logged_in: bool,
}

impl ScriptedClient {
    fn say(&mut self, stanza: &str) {
        self.said.extend_from_slice(stanza.as_bytes());
        self.said.push(FRAME_END);
        self.edge = true;
    }

    fn log_in(&mut self, stanza: &str) {
        self.waits = true;
        self.say(stanza);
    }

    fn end(&mut self) {
        self.ended = true;
        // Whoever is gone waits for nothing.
        self.waits = false;
        self.edge = true;
    }

    fn hear(&mut self, bytes: &[u8]) {
        let holds = |answer: &[u8]| memmem::find(bytes, answer).is_some();
        self.logged_in |= holds(b"<connect isok='1'");
        self.waits &= !holds(b"<connect isok=");
    }
}

/// The number of a connection, which the server has for a socket.
#[derive(Debug)]
pub(super) struct ScriptedSocket(usize);
