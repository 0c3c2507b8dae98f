//! What goes through the pipes of a plugin that is tried, printed, and what is wrong with it.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

use memchr::memchr;

use super::super::client::shown::Shown;
use super::super::say;
use crate::hub::is_reserved_name;
use crate::limits::{Limits, READ_BYTES_PER_TURN};
use crate::net::world::{Process, ProcessEnd, Socket};
use crate::wire::framer::FRAME_END;
use crate::wire::stanza::{Parser, Refusal, is_name};

/// What server and plugin have said to each other.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// The begin of a stanza of the server's, of one of the plugin's, and of a line of errors.
    to_plugin: Vec<u8>,
    from_plugin: Vec<u8>,
    error_line: Vec<u8>,
    parser: Parser,
    limits: Limits,
    /// The greeting has been sent.
    greeted: bool,
    /// Just now: what it has said before can be read.
    pub(super) greeted_now: bool,
    pub(super) registered: bool,
    names: Vec<String>,
    /// It has sent what has no end; it is not listened to any more.
    given_up: bool,
    /// Something was said since it was last silent.
    pub(super) busy: bool,
    /// The server stops.
    pub(super) stopping: bool,
    /// How it ended, and whether it did so by itself after the server had begun to stop.
    pub(super) ended: Option<(ProcessEnd, bool)>,
    /// It had to be ended.
    killed: bool,
    wrong: bool,
}

impl Talk {
    pub(super) fn complain(&mut self, what: &str) {
        say(format_args!("! {}", Shown(what.as_bytes())));
        self.wrong = true;
    }

    fn heard_by_plugin(&mut self, bytes: &[u8]) {
        self.busy = true;
        let mut rest = bytes;
        while let Some(end) = memchr(FRAME_END, rest) {
            self.to_plugin.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let stanza = std::mem::take(&mut self.to_plugin);
            let wrong = stanza.starts_with(b"<error>");
            self.wrong |= wrong;
            self.greet();
            say(format_args!("{} {}", if wrong { '!' } else { '>' }, Shown(&stanza)));
        }
        self.to_plugin.extend_from_slice(rest);
    }

    /// The greeting is sent, or nobody is there to read it.
    const fn greet(&mut self) {
        self.greeted_now |= !self.greeted;
        self.greeted = true;
    }

    /// Takes at most one stanza and the NUL behind it.
    fn said_by_plugin(&mut self, bytes: &[u8]) {
        self.busy = true;
        if self.given_up {
            return;
        }
        self.from_plugin.extend_from_slice(bytes);
        let max = self.limits.stanza_bytes_max;
        if self.from_plugin.last() == Some(&FRAME_END) {
            let mut stanza = std::mem::take(&mut self.from_plugin);
            stanza.pop();
            if !stanza.iter().all(u8::is_ascii_whitespace) {
                say(format_args!("< {}", Shown(&stanza)));
                self.look_into(&stanza);
            }
        } else if self.from_plugin.len() > max {
            self.from_plugin.clear();
            self.given_up = true;
            self.complain(&format!("a stanza over {max} bytes: the server ends whoever sends it"));
        }
    }

    /// The server says to a plugin that something is no XML; here is what it met.
    fn look_into(&mut self, stanza: &[u8]) {
        let met = match self.parser.parse(stanza, &self.limits) {
            Ok(stanza) if stanza.name() == "register" => {
                self.registered = true;
                let names = stanza.value("names").unwrap_or_default();
                let names = names.split(|c: char| c == ',' || c.is_whitespace());
                let names = names.filter(|name| is_name(name) && !is_reserved_name(name));
                self.names.extend(names.map(str::to_owned));
                return;
            }
            Ok(_) | Err(Refusal::TooDeep(_) | Refusal::TooManyAttributes(_)) => return,
            Err(Refusal::NotXml { met, at }) => format!("{met}, at byte {at}"),
        };
        self.complain(&format!("no XML: {met}"));
    }

    /// What a client sends for the plugin to answer.
    pub(super) fn wanted_stanzas(&mut self, stanzas: Vec<String>) -> Vec<String> {
        if stanzas.is_empty() {
            return self.names.iter().map(|name| format!("<{name} />")).collect();
        }
        for stanza in &stanzas {
            let name = self.parser.parse(stanza.as_bytes(), &self.limits);
            let name = name.map_or_else(|_| String::new(), |stanza| stanza.name().to_owned());
            if !is_reserved_name(&name) && !self.names.contains(&name) {
                self.complain(&format!("it has not registered <{name}>"));
            }
        }
        stanzas
    }

    fn complained(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.tell_error_line();
            } else {
                self.error_line.push(byte);
            }
        }
    }

    fn tell_error_line(&mut self) {
        let line = std::mem::take(&mut self.error_line);
        say(format_args!("# {}", Shown(line.strip_suffix(b"\r").unwrap_or(&line))));
    }

    /// Says what is wrong with how it ended; gives whether nothing was wrong at all.
    pub(super) fn judge(&mut self) -> bool {
        if !self.error_line.is_empty() {
            self.tell_error_line();
        }
        if !self.from_plugin.iter().all(u8::is_ascii_whitespace) {
            let rest = std::mem::take(&mut self.from_plugin);
            say(format_args!("< {}", Shown(&rest)));
            self.complain("this has no NUL behind it");
        }
        match self.ended.take() {
            Some((end, false)) => self.complain(&format!("{end}, before the server stopped")),
            _ if self.killed => self.complain("it did not end by itself when its input did"),
            Some((ProcessEnd::Exit(0), true)) | None => {}
            Some((end, true)) => self.complain(&end.to_string()),
        }
        !self.wrong
    }
}

/// The plugin's process, with somebody who listens.
#[derive(Debug)]
pub(super) struct Tapped {
    process: Box<dyn Process>,
    talk: Rc<RefCell<Talk>>,
    /// What it has said and the server has not been given.
    held: Vec<u8>,
}

impl Tapped {
    pub(super) fn new(process: Box<dyn Process>, talk: &Rc<RefCell<Talk>>) -> Self {
        Self { process, talk: Rc::clone(talk), held: Vec::new() }
    }
}

impl Socket for Tapped {
    /// Nothing before the greeting is sent, and then one stanza at a time, so that what the
    /// server says to it is printed behind it.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.talk.borrow().greeted {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.held.is_empty() {
            let mut chunk = vec![0; READ_BYTES_PER_TURN];
            let count = self.process.read(&mut chunk)?;
            self.held.extend_from_slice(&chunk[..count]);
        }
        let whole = memchr(FRAME_END, &self.held).map_or(self.held.len(), |end| end + 1);
        let count = whole.min(buffer.len());
        buffer[..count].copy_from_slice(&self.held[..count]);
        self.talk.borrow_mut().said_by_plugin(&self.held[..count]);
        self.held.drain(..count);
        Ok(count)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.process.write(slices);
        if written.as_ref().is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            self.talk.borrow_mut().greet();
        }
        let count = written?;
        let bytes = joined(slices);
        self.talk.borrow_mut().heard_by_plugin(&bytes[..count.min(bytes.len())]);
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.process.shutdown_write()
    }

    fn set_idle_time(&mut self, _: u64) {}
}

impl Process for Tapped {
    fn read_error(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.process.read_error(buffer)?;
        self.talk.borrow_mut().complained(&buffer[..count]);
        Ok(count)
    }

    fn ended(&mut self) -> Option<ProcessEnd> {
        let end = self.process.ended();
        let mut talk = self.talk.borrow_mut();
        let in_time = talk.stopping;
        talk.ended = end.map(|end| (end, in_time)).or_else(|| talk.ended.take());
        end
    }

    fn kill(&mut self, force: bool) {
        self.talk.borrow_mut().killed = true;
        self.process.kill(force);
    }
}

/// The bytes of all slices.
pub(super) fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}
