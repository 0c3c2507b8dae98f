//! A process of our own on three pipes.

use std::io::{self, IoSlice, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use mio::unix::pipe::{Receiver, Sender};
use mio::{Interest, Registry, Token};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, setpriority_process, waitid,
};

use super::world::{Process, Socket};
use crate::config::Module;

/// How far a plugin steps back behind the server (setpriority(2)): of a core that both want it gets
/// a quarter.
const NICENESS: i32 = 5;

/// A process and its pipes.
#[derive(Debug)]
pub(super) struct Piped {
    child: Child,
    /// `None` once its input is ended.
    input: Option<Sender>,
    output: Receiver,
    errors: Receiver,
}

impl Piped {
    /// Starts a process and has its pipes watched under this token.
    pub(super) fn start(module: &Module, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut child = Command::new(&module.program)
            .args(&module.arguments)
            .current_dir(&module.directory)
            .envs(module.environment.iter().map(|(name, value)| (name, value)))
            // Ctrl-C is for the server, which then says good-bye to its plugins.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        // The loop comes first when both want the same core.
        let _ = setpriority_process(Some(Pid::from_child(&child)), NICENESS);
        let mut started =
            Self { child, input: Some(input.into()), output: output.into(), errors: errors.into() };
        if let Err(error) = started.watch(registry, token) {
            started.kill(true);
            return Err(error);
        }
        Ok(started)
    }

    fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if let Some(input) = &mut self.input {
            input.set_nonblocking(true)?;
            registry.register(input, token, Interest::WRITABLE)?;
        }
        self.output.set_nonblocking(true)?;
        self.errors.set_nonblocking(true)?;
        registry.register(&mut self.output, token, Interest::READABLE)?;
        registry.register(&mut self.errors, token, Interest::READABLE)
    }
}

impl Socket for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write_vectored(slices),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.input = None;
        Ok(())
    }

    fn set_idle_time(&mut self, _: u64) {}
}

impl Process for Piped {
    fn read_error(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.errors.read(buffer)
    }

    fn ended(&mut self) -> Option<String> {
        // It is not waited for yet: as long as it is not, its id, which is its group's as well,
        // can't become another's.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.child)), options).ok()??;
        Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("it ended with exit code {code}"),
            (None, Some(signal)) => format!("signal {signal} ended it"),
            (None, None) => "it ended".to_owned(),
        })
    }

    fn kill(&mut self, force: bool) {
        let signal = if force { Signal::KILL } else { Signal::TERM };
        // What it has started itself is in its group, and goes with it.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

/// Nobody outlives the server, and nobody stays behind as a zombie.
impl Drop for Piped {
    fn drop(&mut self) {
        self.kill(true);
        let _ = self.child.wait();
    }
}
