//! The real world: `mio`, the system's sockets and signals, and the only clock.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event as MioEvent;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::fs::OFlags;
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
    SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals as Queue;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};

use super::process::{DescriptorLimit, Piped};
use super::world::{Event, ProcessEnd, ProcessKey, World};
use crate::config::Module;
use crate::hub::Time;
use crate::logging::{self, Logged};

/// Events taken from the system at once; more wait for the next turn.
const EVENTS_PER_POLL: usize = 1_024;

/// Connections that the system may hold for us between two turns; it cuts this to its own
/// limit (`net.core.somaxconn`, 4,096 on Linux).
const LISTEN_BACKLOG: i32 = 4_096;

/// Between two checks of a silent peer, and how many go unanswered before it counts as gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Signals by which a server is asked to end.
const ENDING: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];

/// Signals that mean nothing to a server and would end it. Those that tell of a bug (`SIGSEGV`
/// and its like), those that stop and continue a process, and `SIGPIPE`, which std ignores, are
/// not among them. `SIGXFSZ` comes when a log file is as large as it may be: the write fails then.
const MEANINGLESS: [i32; 9] =
    [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXCPU, SIGXFSZ, POWER];

#[cfg(target_os = "linux")]
const POWER: i32 = rustix::process::Signal::POWER.as_raw();
#[cfg(not(target_os = "linux"))]
const POWER: i32 = SIGUSR2;

/// The same for the signals that only Linux has: that of a coprocessor's stack, and those of real
/// time, without the two that the C library keeps for itself.
#[cfg(target_os = "linux")]
fn meaningless_on_linux() -> impl Iterator<Item = i32> {
    core::iter::once(rustix::process::Signal::STKFLT.as_raw()).chain(34..=64)
}

#[cfg(not(target_os = "linux"))]
fn meaningless_on_linux() -> impl Iterator<Item = i32> {
    core::iter::empty()
}

/// The signals that a server obeys. They have handlers, which no process inherits that the server
/// starts; a signal that was ignored would be ignored by plugins as well.
pub struct Signals {
    queue: Queue,
    /// Whether a signal that asks for the end ends the process at once: there is nobody yet to
    /// say good-bye to.
    at_once: Arc<AtomicBool>,
    /// Whether a hangup tells that the terminal is gone, and the server is to end as well.
    hangup_ends: bool,
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("hangup_ends", &self.hangup_ends).finish_non_exhaustive()
    }
}

impl Signals {
    /// Takes the signals. Until [`Signals::wait_for_the_loop`] is called, those that ask for the
    /// end end the process, with exit code 0; a hangup waits for the loop.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn take() -> io::Result<Self> {
        // Before a handler takes its place.
        let hangup_ends = has_terminal() && !is_ignored(SIGHUP);
        let at_once = Arc::new(AtomicBool::new(true));
        // Those that are sent on purpose come first.
        let queue = Queue::new([SIGHUP].into_iter().chain(ENDING).chain([SIGCHLD]))?;
        for signal in ENDING {
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&at_once))?;
        }
        let nobody_looks = Arc::new(AtomicBool::new(false));
        for signal in MEANINGLESS {
            flag::register(signal, Arc::clone(&nobody_looks))?;
        }
        for signal in meaningless_on_linux() {
            // A C library may keep more of them to itself.
            let _ = flag::register(signal, Arc::clone(&nobody_looks));
        }
        Ok(Self { queue, at_once, hangup_ends })
    }

    /// The process has left its terminal: a hangup is a request to read the configuration again.
    pub const fn leave_terminal(&mut self) {
        self.hangup_ends = false;
    }

    /// From now on a signal waits until the loop looks at it: there is something to clear away.
    /// Dropping what it gives ends that: the loop is over, or will never be.
    pub fn wait_for_the_loop(&self) -> SignalsHeld {
        self.at_once.store(false, Ordering::Release);
        SignalsHeld(Arc::clone(&self.at_once))
    }
}

/// As long as it is there, signals that ask for the end wait for the loop.
#[derive(Debug)]
pub struct SignalsHeld(Arc<AtomicBool>);

impl Drop for SignalsHeld {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Whether the process has a controlling terminal whose end is meant for it. The first process of
/// a container has nobody's: that is where hangups are sent to have it read its configuration.
fn has_terminal() -> bool {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open("/dev/tty");
    opened.is_ok() && std::process::id() != 1
}

/// Whether whoever started the process has it ignore a signal, as nohup(1) does with hangups.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Listeners and signals of the process.
pub(crate) struct Os {
    poll: Poll,
    events: Events,
    listeners: Vec<TcpListener>,
    signals: Queue,
    hangup_ends: bool,
    signal_token: usize,
    /// Under so many indices processes may be started; their tokens follow.
    tokens: usize,
    /// Those that are not forgotten.
    processes: BTreeMap<ProcessKey, Piped>,
    /// How many have been started.
    started: u64,
    /// What they may have open.
    descriptors: DescriptorLimit,
    start: Instant,
}

impl Os {
    /// Takes over bound listeners and the signals; so many processes may be started, with so many
    /// open files.
    pub(crate) fn new(
        listeners: Vec<std::net::TcpListener>,
        signals: Signals,
        processes: usize,
        descriptors: DescriptorLimit,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (index, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(index), Interest::READABLE)?;
        }
        let signal_token = listeners.len();
        let Signals { queue: mut signals, hangup_ends, at_once } = signals;
        at_once.store(false, Ordering::Release);
        poll.registry().register(&mut signals, Token(signal_token), Interest::READABLE)?;
        let events = Events::with_capacity(EVENTS_PER_POLL);
        let start = Instant::now();
        Ok(Self {
            poll,
            events,
            listeners,
            signals,
            hangup_ends,
            signal_token,
            tokens: processes,
            processes: BTreeMap::new(),
            started: 0,
            descriptors,
            start,
        })
    }

    /// The token of the first connection's slot.
    const fn first_token(&self) -> usize {
        self.signal_token + 1 + self.tokens
    }

    fn process(&mut self, process: ProcessKey) -> io::Result<&mut Piped> {
        self.processes.get_mut(&process).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl World for Os {
    type Socket = TcpStream;

    fn now(&mut self) -> Time {
        Time::default() + self.start.elapsed()
    }

    fn unix_time(&mut self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let first = self.first_token();
        for event in &self.events {
            let Token(token) = event.token();
            if token >= first {
                events.push(ready(event, token - first));
            } else if token < self.signal_token {
                events.push(Event::Acceptable { listener: token });
            } else if token > self.signal_token {
                events.push(Event::ProcessReady { index: token - self.signal_token - 1 });
            } else {
                events.extend(self.signals.pending().map(|signal| match signal {
                    SIGHUP if !self.hangup_ends => Event::Reload,
                    SIGCHLD => Event::ProcessEnded,
                    _ => Event::Stop,
                }));
            }
        }
        Ok(())
    }

    fn set_idle_time(&mut self, seconds: u64) {
        // Whoever is accepted has the listener's options: six system calls less a connection.
        for listener in &self.listeners {
            check_silence(&SockRef::from(listener), seconds);
        }
    }

    fn accept(&mut self, listener: usize) -> io::Result<(TcpStream, SocketAddr)> {
        let Some(listener) = self.listeners.get(listener) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        listener.accept()
    }

    fn register(&mut self, socket: &mut TcpStream, slot: usize) -> io::Result<()> {
        let token = Token(self.first_token() + slot);
        self.poll.registry().register(socket, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn flush_log(&mut self) -> Logged {
        logging::flush()
    }

    fn stop_listening(&mut self) {
        // Closing a descriptor takes it out of the poll as well.
        self.listeners.clear();
    }

    fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        socket.read(buffer)
    }

    fn write(&mut self, socket: &mut TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => socket.write(one),
            many => socket.write_vectored(many),
        }
    }

    fn shutdown_write(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        socket.shutdown(Shutdown::Write)
    }

    fn check_silence(&mut self, socket: &mut TcpStream, seconds: u64) {
        check_silence(&SockRef::from(&*socket), seconds);
    }

    fn close(&mut self, socket: TcpStream) {
        drop(socket);
    }

    fn start(&mut self, index: usize, module: &Module) -> io::Result<ProcessKey> {
        debug_assert!(index < self.tokens, "there is a token for each");
        let token = Token(self.signal_token + 1 + index);
        let registry = self.poll.registry();
        let process = Piped::start(module, &mut self.descriptors, registry, token)?;
        self.started += 1;
        self.processes.insert(ProcessKey(self.started), process);
        Ok(ProcessKey(self.started))
    }

    fn read_output(&mut self, process: ProcessKey, buffer: &mut [u8]) -> io::Result<usize> {
        self.process(process)?.read_output(buffer)
    }

    fn read_errors(&mut self, process: ProcessKey, buffer: &mut [u8]) -> io::Result<usize> {
        self.process(process)?.read_errors(buffer)
    }

    fn write_input(&mut self, process: ProcessKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.process(process)?.write_input(slices)
    }

    fn end_input(&mut self, process: ProcessKey) {
        if let Ok(process) = self.process(process) {
            process.end_input();
        }
    }

    fn ended(&mut self, process: ProcessKey) -> Option<ProcessEnd> {
        self.process(process).ok()?.ended()
    }

    fn kill(&mut self, process: ProcessKey, force: bool) {
        if let Ok(process) = self.process(process) {
            process.kill(force);
        }
    }

    fn forget(&mut self, process: ProcessKey) {
        self.processes.remove(&process);
    }
}

fn ready(event: &MioEvent, slot: usize) -> Event {
    let read_closed = event.is_read_closed() || event.is_error();
    Event::Ready {
        slot,
        readable: event.is_readable() || read_closed,
        writable: event.is_writable() || event.is_write_closed() || event.is_error(),
        read_closed,
        failed: event.is_error(),
    }
}

/// Has the system check after so much silence that the peer is there; `0` has it rest.
fn check_silence(socket: &SockRef<'_>, seconds: u64) {
    let silence = Duration::from_secs(seconds);
    let unanswered = KEEPALIVE_INTERVAL * KEEPALIVE_RETRIES;
    // No check is sent while something is on its way; then it is the answer to that which has
    // to come in the same time.
    let timeout = (seconds != 0).then_some(silence + unanswered);
    // A failure means that the connection is broken, which a read will tell.
    let _ = socket.set_tcp_user_timeout(timeout);
    let _ = if seconds == 0 {
        socket.set_keepalive(false)
    } else {
        let keepalive = TcpKeepalive::new()
            .with_time(silence)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES);
        socket.set_tcp_keepalive(&keepalive)
    };
}

/// A listener that may take an address over from a server that has just ended; IPv6 addresses
/// stand for themselves only.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = bound(address)?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// A socket that has its address and does not listen yet: it takes nobody's connection, and shows
/// whether a listener could have the address.
pub(crate) fn bound(address: SocketAddr) -> io::Result<RawSocket> {
    let domain = Domain::for_address(address);
    let socket = RawSocket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // A chat line is not to wait for the next one; whoever is accepted inherits it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Raises the limit of open files as far as the system lets us, and tells how many there may be.
#[cfg(feature = "bench")]
pub(crate) fn raise_descriptor_limit() -> usize {
    raise_own_descriptor_limit().0
}

/// The same for a process that starts others, and what they get.
pub(super) fn raise_own_descriptor_limit() -> (usize, DescriptorLimit) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let mut limit = DescriptorLimit::unraised();
    let wanted = Rlimit { current: limit.before.maximum, maximum: limit.before.maximum };
    let raised = wanted != limit.before && setrlimit(Resource::Nofile, wanted).is_ok();
    limit.own = raised.then_some(wanted);
    limit.keep();
    let current = limit.own.as_ref().unwrap_or(&limit.before).current;
    // `None` is no limit at all.
    (current.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_connection_has_no_delay_and_is_checked_after_silence() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let unraised = DescriptorLimit::unraised();
        let mut world = Os::new(vec![listener], Signals::take().unwrap(), 0, unraised).unwrap();
        for (seconds, timeout) in [(300, Some(Duration::from_secs(330))), (0, None)] {
            world.set_idle_time(seconds);
            let _client = std::net::TcpStream::connect(address).unwrap();
            let (stream, _) = world.accept(0).unwrap();
            let socket = SockRef::from(&stream);
            assert!(socket.tcp_nodelay().unwrap());
            assert_eq!(socket.keepalive().unwrap(), seconds != 0);
            assert_eq!(socket.tcp_user_timeout().unwrap(), timeout);
            if seconds != 0 {
                let silence = Duration::from_secs(seconds);
                assert_eq!(socket.tcp_keepalive_time().unwrap(), silence);
            }
        }
    }
}
