//! The process of a plugin that does what its test says.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

use palabre::net::world::{Process, ProcessEnd, Socket};

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

/// A process as the server has it.
#[derive(Debug)]
pub(crate) struct FakeProcess(pub(crate) Handle);

impl FakeProcess {
    fn took(&self, count: usize) {
        let shared = &self.0.borrow().shared;
        shared.activity.set(shared.activity.get() + count as u64);
    }
}

fn read(from: &mut Vec<u8>, ended: bool, buffer: &mut [u8]) -> io::Result<usize> {
    let count = from.len().min(buffer.len());
    buffer[..count].copy_from_slice(&from[..count]);
    from.drain(..count);
    if count == 0 && !ended { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
}

impl Socket for FakeProcess {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipes = self.0.borrow_mut();
        let ended = pipes.output_ended;
        let result = read(&mut pipes.output, ended, buffer);
        drop(pipes);
        self.took(1);
        result
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.took(1);
        let mut pipes = self.0.borrow_mut();
        if pipes.input_ended || pipes.ended.is_some() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut left = pipes.room.saturating_sub(pipes.input.len());
        let mut count = 0;
        for slice in slices {
            let part = slice.len().min(left);
            pipes.input.extend_from_slice(&slice[..part]);
            left -= part;
            count += part;
        }
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut pipes = self.0.borrow_mut();
        pipes.input_ended = true;
        if !pipes.stubborn && pipes.ended.is_none() {
            pipes.end(ProcessEnd::Exit(0));
        }
        Ok(())
    }

    fn set_idle_time(&mut self, _: u64) {}
}

impl Process for FakeProcess {
    fn read_error(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipes = self.0.borrow_mut();
        let ended = pipes.ended.is_some();
        read(&mut pipes.errors, ended, buffer)
    }

    fn ended(&mut self) -> Option<ProcessEnd> {
        self.took(1);
        self.0.borrow().ended
    }

    fn kill(&mut self, force: bool) {
        let mut pipes = self.0.borrow_mut();
        pipes.killed |= force;
        if pipes.ended.is_none() && (force || !pipes.stubborn) {
            pipes.end(ProcessEnd::Signal(9));
        }
    }
}
