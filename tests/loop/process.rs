//! The process of a plugin that does what its test says.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

use palabre::net::world::ProcessEnd;

use crate::pipe::Shared;

/// Both ends of three pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    shared: Rc<Shared>,
    /// What the server has written and nobody has read.
    input: Vec<u8>,
    /// Bytes that fit into the input.
    pub(crate) room: usize,
    pub(crate) input_ended: bool,
    output: Vec<u8>,
    output_ended: bool,
    errors: Vec<u8>,
    ended: Option<ProcessEnd>,
    pub(crate) killed: bool,
    /// It does not end when it is told to.
    pub(crate) stubborn: bool,
    /// Something has happened that the server has not been told.
    pub(crate) woken: bool,
    pub(crate) ended_untold: bool,
    /// The server has done with it.
    pub(crate) forgotten: bool,
}

/// A process as its test has it.
pub(crate) type Handle = Rc<RefCell<Pipes>>;

impl Pipes {
    pub(crate) fn new(shared: &Rc<Shared>) -> Handle {
        Rc::new(RefCell::new(Self {
            shared: Rc::clone(shared),
            input: Vec::new(),
            room: usize::MAX,
            input_ended: false,
            output: Vec::new(),
            output_ended: false,
            errors: Vec::new(),
            ended: None,
            killed: false,
            stubborn: false,
            woken: false,
            ended_untold: false,
            forgotten: false,
        }))
    }

    /// Says stanzas.
    pub(crate) fn say(&mut self, stanzas: &[&str]) {
        for stanza in stanzas {
            self.output.extend_from_slice(stanza.as_bytes());
            self.output.push(0);
        }
        self.woken = true;
    }

    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.woken = true;
    }

    pub(crate) fn complain(&mut self, text: &str) {
        self.errors.extend_from_slice(text.as_bytes());
        self.woken = true;
    }

    /// Reads all that the server has said.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        self.woken = true;
        let bytes = std::mem::take(&mut self.input);
        assert!(bytes.is_empty() || bytes.ends_with(b"\0"), "half a stanza");
        bytes
            .split(|&byte| byte == 0)
            .filter(|stanza| !stanza.is_empty())
            .map(crate::house::checked)
            .collect()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn unread(&self) -> usize {
        self.input.len()
    }

    /// Ends, with nothing more to be read than what is there.
    pub(crate) fn end(&mut self, how: ProcessEnd) {
        self.output_ended = true;
        self.ended = Some(how);
        self.woken = true;
        self.ended_untold = true;
    }

    /// Closes its output and lives on.
    pub(crate) fn end_output(&mut self) {
        self.output_ended = true;
        self.woken = true;
    }
}

fn read(from: &mut Vec<u8>, ended: bool, buffer: &mut [u8]) -> io::Result<usize> {
    let count = from.len().min(buffer.len());
    buffer[..count].copy_from_slice(&from[..count]);
    from.drain(..count);
    if count == 0 && !ended { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
}

/// What the server does to the process, through its world.
impl Pipes {
    fn took(&self, count: usize) {
        self.shared.activity.set(self.shared.activity.get() + count as u64);
    }

    pub(crate) fn read_output(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.took(1);
        read(&mut self.output, self.output_ended, buffer)
    }

    pub(crate) fn read_errors(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read(&mut self.errors, self.ended.is_some(), buffer)
    }

    pub(crate) fn write_input(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.took(1);
        if self.input_ended || self.ended.is_some() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut left = self.room.saturating_sub(self.input.len());
        let mut count = 0;
        for slice in slices {
            let part = slice.len().min(left);
            self.input.extend_from_slice(&slice[..part]);
            left -= part;
            count += part;
        }
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    pub(crate) fn end_input(&mut self) {
        self.input_ended = true;
        if !self.stubborn && self.ended.is_none() {
            self.end(ProcessEnd::Exit(0));
        }
    }

    pub(crate) fn how_it_ended(&self) -> Option<ProcessEnd> {
        self.took(1);
        self.ended
    }

    pub(crate) fn kill(&mut self, force: bool) {
        self.killed |= force;
        if self.ended.is_none() && (force || !self.stubborn) {
            self.end(ProcessEnd::Signal(9));
        }
    }
}
