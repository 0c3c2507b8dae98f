//! A process of our own on three pipes.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use mio::unix::pipe::{Receiver, Sender};
use mio::{Interest, Registry, Token};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group,
    setpriority_process, setrlimit, waitid,
};

use super::world::ProcessEnd;
use crate::config::Module;

/// How far a plugin steps back behind the server (setpriority(2)): of a core that both want it gets
/// a quarter.
const NICENESS: i32 = 5;

/// How many files a process that is started may have open, where the server has raised its own
/// limit: as many as the server had. A program may well close them all, one by one, or give each a
/// bit (`FD_SETSIZE`).
#[derive(Debug)]
pub(crate) struct DescriptorLimit {
    /// The server's own, raised; `None` where it could not be.
    pub(super) own: Option<Rlimit>,
    /// What it was before.
    pub(super) before: Rlimit,
    /// Descriptors that are kept for the pipes of a process: under the limit that it gets it can't
    /// be handed others.
    kept: Vec<OwnedFd>,
}

/// Standard input, output and error.
const PIPES: usize = 3;

impl DescriptorLimit {
    /// What it is now, and was before.
    pub(crate) fn unraised() -> Self {
        Self { own: None, before: getrlimit(Resource::Nofile), kept: Vec::new() }
    }

    /// Starts a process on these pipes that has the limit from its first instruction on.
    fn spawn(&mut self, command: &mut Command, pipes: [OwnedFd; PIPES]) -> io::Result<Child> {
        let Some(own) = self.own else {
            let [input, output, errors] = pipes;
            return command.stdin(input).stdout(output).stderr(errors).spawn();
        };
        let mut kept = std::mem::take(&mut self.kept).into_iter();
        let [input, output, errors] = pipes.map(|pipe| moved(pipe, kept.next()));
        command.stdin(input).stdout(output).stderr(errors);
        let lowered = Rlimit { current: self.before.current, maximum: own.maximum };
        setrlimit(Resource::Nofile, lowered)?;
        let mut child = command.spawn();
        // It is no more than it was.
        let _ = setrlimit(Resource::Nofile, own);
        // Starting may take descriptors where too many are open.
        let lack = [rustix::io::Errno::MFILE, rustix::io::Errno::BADF];
        let lack = lack.map(|error| Some(error.raw_os_error()));
        if child.as_ref().is_err_and(|error| lack.contains(&error.raw_os_error())) {
            child = command.spawn();
            if let Ok(child) = &child {
                limit(child, lowered);
            }
        }
        child
    }

    /// Keeps descriptors for the next process: the lowest that are free, as those of the last one
    /// are now.
    pub(super) fn keep(&mut self) {
        if self.own.is_some() {
            let null = || File::open("/dev/null").ok().map(OwnedFd::from);
            self.kept = (0..PIPES).filter_map(|_| null()).collect();
        }
    }
}

/// Moves a pipe to a descriptor that is kept, where that goes.
fn moved(pipe: OwnedFd, kept: Option<OwnedFd>) -> OwnedFd {
    let Some(mut low) = kept else {
        return pipe;
    };
    let moved = rustix::io::dup2(&pipe, &mut low)
        .and_then(|()| rustix::io::fcntl_setfd(&low, rustix::io::FdFlags::CLOEXEC));
    if moved.is_ok() { low } else { pipe }
}

/// Limits the open files of a process that runs.
#[cfg(target_os = "linux")]
fn limit(child: &Child, limit: Rlimit) {
    let _ = rustix::process::prlimit(Some(Pid::from_child(child)), Resource::Nofile, limit);
}

#[cfg(not(target_os = "linux"))]
const fn limit(_: &Child, _: Rlimit) {}

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
    /// Starts a process and has its pipes watched under this token. It may have as many open files
    /// as `descriptors` says.
    pub(super) fn start(
        module: &Module,
        descriptors: &mut DescriptorLimit,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let ((their_input, input), (output, their_output)) = (io::pipe()?, io::pipe()?);
        let (errors, their_errors) = io::pipe()?;
        let pipes = [their_input.into(), their_output.into(), their_errors.into()];
        let mut command = Command::new(&module.program);
        command
            .args(&module.arguments)
            .current_dir(&module.directory)
            .envs(module.environment.iter().map(|(name, value)| (name, value)))
            // Ctrl-C is for the server, which then says good-bye to its plugins.
            .process_group(0);
        let child = descriptors.spawn(&mut command, pipes);
        // The process' own ends of the pipes are closed here with it.
        drop(command);
        descriptors.keep();
        let child = child?;
        // The loop comes first when both want the same core.
        let _ = setpriority_process(Some(Pid::from_child(&child)), NICENESS);
        let mut started = Self {
            child,
            input: Some(OwnedFd::from(input).into()),
            output: OwnedFd::from(output).into(),
            errors: OwnedFd::from(errors).into(),
        };
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

/// What [`World`](super::world::World) does to a process.
impl Piped {
    pub(super) fn read_output(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }

    pub(super) fn read_errors(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.errors.read(buffer)
    }

    pub(super) fn write_input(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write_vectored(slices),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(super) fn end_input(&mut self) {
        self.input = None;
    }

    pub(super) fn ended(&self) -> Option<ProcessEnd> {
        // It is not waited for yet: as long as it is not, its id, which is its group's as well,
        // can't become another's.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.child)), options).ok()??;
        Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ProcessEnd::Exit(code),
            (None, Some(signal)) => ProcessEnd::Signal(signal),
            (None, None) => ProcessEnd::Unknown,
        })
    }

    pub(super) fn kill(&self, force: bool) {
        let signal = if force { Signal::KILL } else { Signal::TERM };
        // What it has started itself is in its group, and goes with it.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

/// No process outlives the server, and none stays behind as a zombie.
impl Drop for Piped {
    fn drop(&mut self) {
        self.kill(true);
        let _ = self.child.wait();
    }
}
