//! What goes through the pipes of a plugin that is tried, printed, and what is wrong with it.

use std::io::{self, ErrorKind, IoSlice};

use memchr::memchr;

use super::super::client::shown::Shown;
use super::super::say;
use crate::hub::is_reserved_name;
use crate::limits::{Limits, READ_BYTES_PER_TURN};
use crate::net::os::Os;
use crate::net::world::{ProcessEnd, ProcessKey, World as _};
use crate::wire::framer::FRAME_END;
use crate::wire::stanza::{Parser, Refusal, is_name};

/// What server and plugin have said to each other.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// The begin of a stanza of the server's, of one of the plugin's, and of a line of errors.
    to_plugin: Vec<u8>,
    from_plugin: Vec<u8>,
    /// What it has said and the server has not been given.
    held: Vec<u8>,
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

    // What the server does to the plugin's process, with somebody who listens.

    /// Nothing before the greeting is sent, and then one stanza at a time, so that what the
    /// server says to it is printed behind it.
    pub(super) fn read_output(
        &mut self,
        os: &mut Os,
        process: ProcessKey,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        if !self.greeted {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.held.is_empty() {
            let mut chunk = vec![0; READ_BYTES_PER_TURN];
            let count = os.read_output(process, &mut chunk)?;
            chunk.truncate(count);
            self.held = chunk;
        }
        let whole = memchr(FRAME_END, &self.held).map_or(self.held.len(), |end| end + 1);
        let count = whole.min(buffer.len());
        buffer[..count].copy_from_slice(&self.held[..count]);
        self.held.drain(..count);
        self.said_by_plugin(&buffer[..count]);
        Ok(count)
    }

    pub(super) fn read_errors(
        &mut self,
        os: &mut Os,
        process: ProcessKey,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let count = os.read_errors(process, buffer)?;
        self.complained(&buffer[..count]);
        Ok(count)
    }

    pub(super) fn write_input(
        &mut self,
        os: &mut Os,
        process: ProcessKey,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let written = os.write_input(process, slices);
        if written.as_ref().is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            self.greet();
        }
        let count = written?;
        let bytes = joined(slices);
        self.heard_by_plugin(&bytes[..count.min(bytes.len())]);
        Ok(count)
    }

    pub(super) fn look_for_end(&mut self, os: &mut Os, process: ProcessKey) -> Option<ProcessEnd> {
        let end = os.ended(process);
        if let Some(end) = end {
            self.ended = Some((end, self.stopping));
        }
        end
    }

    pub(super) fn kill(&mut self, os: &mut Os, process: ProcessKey, force: bool) {
        self.killed = true;
        os.kill(process, force);
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

/// The bytes of all slices.
pub(super) fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}
