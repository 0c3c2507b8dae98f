//! What the loop asks of the world: sockets, readiness and the time.
//!
//! The server itself is written against these traits. `super::os` has the real ones; a test
//! has ones that tear, block, reset and jump in time.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Module;
use crate::hub::Time;
use crate::logging::Logged;

/// A process of our own, by the number that [`World::start`] gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessKey(pub u64);

/// How a process ended; its text is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// It ended itself, with this exit code.
    Exit(i32),
    /// A signal ended it.
    Signal(i32),
    /// The system does not say.
    Unknown,
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "it ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal} ended it"),
            Self::Unknown => f.write_str("it ended"),
        }
    }
}

/// Something that happened; it only sets flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Connections wait at a listener.
    Acceptable {
        /// The listener's index.
        listener: usize,
    },
    /// A connection's readiness changed.
    Ready {
        /// The connection's slot.
        slot: usize,
        /// There is something to read, or an end or an error to be seen by reading.
        readable: bool,
        /// There is room to write, or an error to be seen by writing.
        writable: bool,
        /// The peer has ended its side; a short read does not prove that all was read.
        read_closed: bool,
        /// The connection is broken, not only at its end: nothing can be sent to its peer.
        failed: bool,
    },
    /// A process can be read, on either of its outputs, or written to.
    ProcessReady {
        /// The index under which it was started.
        index: usize,
    },
    /// A process has ended; the system does not say which.
    ProcessEnded,
    /// The server was asked to stop.
    Stop,
    /// The server was asked to read its configuration again.
    Reload,
}

/// Everything outside the loop. Sockets and processes are read and written through it, so that
/// those of a test can be numbers.
pub trait World {
    /// Its connections: sockets that never block.
    type Socket: fmt::Debug;

    /// The time since the server's start.
    fn now(&mut self) -> Time;

    /// The time since 1970. The host's clock may be set forward and back: what is to wait goes by
    /// [`World::now`].
    fn unix_time(&mut self) -> Duration {
        Duration::from_nanos(self.now().0)
    }

    /// Waits until something happens or the timeout is over (`None`: for ever) and appends what
    /// happened. Readiness is told at its edges: once, when it comes.
    ///
    /// # Errors
    /// When the system can't wait any more.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Writes what waits of the log, without waiting for a reader. A world without a log has
    /// nothing to write.
    fn flush_log(&mut self) -> Logged {
        Logged::default()
    }

    // Connections.

    /// Sets the idle time of every connection that is accepted from now on, as
    /// [`World::check_silence`] does.
    fn set_idle_time(&mut self, seconds: u64);

    /// Takes a connection from a listener.
    ///
    /// # Errors
    /// `WouldBlock` when none waits. Others tell of the connection or of the system.
    fn accept(&mut self, listener: usize) -> io::Result<(Self::Socket, SocketAddr)>;

    /// Stops listening; connections that wait are refused by the system.
    fn stop_listening(&mut self);

    /// Asks for the events of a connection under its slot, once, for reading and writing.
    ///
    /// # Errors
    /// When the system refuses.
    fn register(&mut self, socket: &mut Self::Socket, slot: usize) -> io::Result<()>;

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; anything else breaks the connection. `Ok(0)` is the
    /// end of the stream.
    fn read(&mut self, socket: &mut Self::Socket, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits, in one system call.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; anything else breaks the connection.
    fn write(&mut self, socket: &mut Self::Socket, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the stream to the peer.
    ///
    /// # Errors
    /// When the connection is broken already.
    fn shutdown_write(&mut self, socket: &mut Self::Socket) -> io::Result<()>;

    /// Sets after how many seconds of silence the system checks that the peer is there; `0`
    /// turns it off. An accepted socket has what [`World::set_idle_time`] set.
    fn check_silence(&mut self, socket: &mut Self::Socket, seconds: u64);

    /// Closes a connection.
    fn close(&mut self, socket: Self::Socket);

    // Processes of our own; a world need not have any.

    /// Starts a process whose events come under this index.
    ///
    /// # Errors
    /// When there is no such program, or the system refuses.
    fn start(&mut self, index: usize, module: &Module) -> io::Result<ProcessKey> {
        let _ = (index, module);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads what a process has said on its standard output.
    ///
    /// # Errors
    /// As [`World::read`].
    fn read_output(&mut self, process: ProcessKey, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = (process, buffer);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads what a process has said on its standard error.
    ///
    /// # Errors
    /// As [`World::read`].
    fn read_errors(&mut self, process: ProcessKey, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = (process, buffer);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes what fits to the standard input of a process, in one system call.
    ///
    /// # Errors
    /// As [`World::write`].
    fn write_input(&mut self, process: ProcessKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let _ = (process, slices);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends the standard input of a process.
    fn end_input(&mut self, process: ProcessKey) {
        let _ = process;
    }

    /// How a process ended, once it has; it is asked after [`Event::ProcessEnded`].
    fn ended(&mut self, process: ProcessKey) -> Option<ProcessEnd> {
        let _ = process;
        None
    }

    /// Asks a process to end, or with `force` ends it.
    fn kill(&mut self, process: ProcessKey, force: bool) {
        let _ = (process, force);
    }

    /// A process that has ended is not asked for any more.
    fn forget(&mut self, process: ProcessKey) {
        let _ = process;
    }
}
