//! The generator's connections: a poll loop of their own that connects, cuts what arrives into
//! frames, hands each to the workload and writes what the workload queued, one system call a
//! connection and turn. It knows nothing of what the frames mean, nor of what stands between
//! them and the bytes.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use super::error::Fault;
use super::names::RunNames;
use super::over::{Dealer, Mix, Spoken};
use super::transport::{Approach, ClientTransport, proxy_header};
use crate::wire::framer::{FRAME_END, Framer};

/// Connections from one source address: of the 28,232 ephemeral ports that Linux has by default
/// it gives out every other one, and searches long when these are taken.
const CONNECTIONS_PER_SOURCE: usize = 10_000;

/// Source addresses that are taken in turn for connections that come and go.
const SOURCES: usize = 100;

/// The longest frame that a server may send: lists of ten thousand names are 300 KB.
const FRAME_BYTES_MAX: usize = 64 * 1_048_576;

/// As the server reads, so that both meet the system in the same way.
const READ_BYTES: usize = 65_536;

const EVENTS_PER_POLL: usize = 1_024;

/// The longest wait for something to come: then whoever waits looks whether it is to go on.
const WAIT: Duration = Duration::from_millis(100);

/// How long a connect may take: on loopback it is there or it is refused.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a workload does with what arrives.
pub(super) trait FrameSink {
    /// A frame arrived, without its NUL, `now` nanoseconds after the swarm's start.
    fn frame(&mut self, who: usize, frame: &[u8], now: u64, sends: &mut Sends)
    -> Result<(), Fault>;

    /// A connection's stream came to its end. It is forgotten after this.
    fn ended(&mut self, who: usize, now: u64) -> Result<(), Fault> {
        let _ = now;
        Err(Fault::Closed { who })
    }
}

/// What waits to be written, by connection.
#[derive(Debug, Default)]
pub(super) struct Sends {
    queues: Vec<Queue>,
    dirty: Vec<usize>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    in_dirty: bool,
    /// The transport has bytes that the system did not take.
    blocked: bool,
}

impl Sends {
    /// Queues one frame: `write` appends it, the NUL follows.
    pub(super) fn frame(&mut self, who: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue(who);
        write(queue);
        queue.push(FRAME_END);
    }

    /// Queues bytes that need not be a frame.
    pub(super) fn raw(&mut self, who: usize, bytes: &[u8]) {
        self.queue(who).extend_from_slice(bytes);
    }

    /// Bytes that wait for a connection.
    pub(super) fn waiting(&self, who: usize) -> usize {
        self.queues.get(who).map_or(0, |queue| queue.bytes.len())
    }

    /// Has a connection flushed that has something to say besides.
    fn touch(&mut self, who: usize) {
        self.queue(who);
    }

    fn queue(&mut self, who: usize) -> &mut Vec<u8> {
        if who >= self.queues.len() {
            self.queues.resize_with(who + 1, Queue::default);
        }
        let queue = &mut self.queues[who];
        if !queue.in_dirty {
            queue.in_dirty = true;
            self.dirty.push(who);
        }
        &mut queue.bytes
    }

    /// Queues one frame that is at hand.
    pub(super) fn text(&mut self, who: usize, frame: &str) {
        self.frame(who, |bytes| bytes.extend_from_slice(frame.as_bytes()));
    }
}

/// A connection of the generator.
#[derive(Debug)]
struct SwarmLine {
    stream: TcpStream,
    framer: Framer,
    over: Spoken,
    /// What is between the stream and the frames, where there is anything.
    transport: Option<Box<ClientTransport>>,
    /// It never reads.
    deaf: bool,
    /// The server has ended its side: what a read leaves over is not told again.
    closed: bool,
}

/// All connections of a run to one server.
#[derive(Debug)]
pub(super) struct Swarm {
    way: Approach,
    dealer: Dealer,
    poll: Poll,
    events: Events,
    lines: Slab<SwarmLine>,
    sends: Sends,
    scratch: Box<[u8]>,
    /// What was in TLS in it.
    plain: Vec<u8>,
    /// Connections whose last read filled the buffer.
    again: Vec<usize>,
    start: Instant,
    opened: usize,
    bytes_in: u64,
    /// Counts the times that everybody went.
    round: usize,
    /// The server has accounts.
    passwords: bool,
}

impl Swarm {
    /// A swarm without connections.
    ///
    /// # Errors
    /// When the system has no poll for us.
    pub(super) fn new(way: Approach, mix: Mix) -> Result<Self, Fault> {
        let poll = Poll::new().map_err(|source| Fault::system("set up the poll", source))?;
        Ok(Self {
            way,
            dealer: Dealer::new(mix),
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL),
            lines: Slab::new(),
            sends: Sends::default(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            plain: Vec::new(),
            again: Vec::new(),
            start: Instant::now(),
            opened: 0,
            bytes_in: 0,
            round: 0,
            passwords: false,
        })
    }

    /// Whoever enters from now on says a password.
    pub(super) const fn say_passwords(&mut self) {
        self.passwords = true;
    }

    /// Nanoseconds since the swarm's start.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Bytes that have arrived so far.
    pub(super) const fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// What waits to be written.
    pub(super) const fn sends(&mut self) -> &mut Sends {
        &mut self.sends
    }

    /// Opens one more connection and gives its number. A number that was given back by an end
    /// comes again.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(super) fn open(&mut self) -> Result<usize, Fault> {
        let mut stream = self.connect().map_err(|source| {
            Fault::system("connect (for many connections see `ulimit -n`)", source)
        })?;
        let entry = self.lines.vacant_entry();
        let who = entry.key();
        self.poll
            .registry()
            .register(&mut stream, Token(who), Interest::READABLE | Interest::WRITABLE)
            .map_err(|source| Fault::system("watch a connection", source))?;
        let over = self.dealer.deal();
        let transport = ClientTransport::new(over, &self.way)
            .map_err(|what| Fault::transport(who, over.name(), &what))?;
        let speaks_first = transport.is_some();
        let framer = Framer::new();
        entry.insert(SwarmLine { stream, framer, over, transport, deaf: false, closed: false });
        if let Some(queue) = self.sends.queues.get_mut(who) {
            queue.bytes.clear();
            queue.blocked = false;
        }
        if speaks_first {
            self.sends.touch(who);
        }
        Ok(who)
    }

    /// What a connection speaks.
    pub(super) fn over(&self, who: usize) -> Option<Spoken> {
        self.lines.get(who).map(|line| line.over)
    }

    /// What connections speak, in which shares.
    pub(super) const fn mix(&self) -> &Mix {
        self.dealer.mix()
    }

    /// From now on connections that are opened speak this.
    pub(super) fn speak(&mut self, mix: Mix) {
        self.dealer = Dealer::new(mix);
    }

    /// How more connections to the same server begin.
    pub(super) fn way(&self) -> Approach {
        self.way.clone()
    }

    /// From now on, what arrives at this connection is not read.
    pub(super) fn deafen(&mut self, who: usize) {
        if let Some(line) = self.lines.get_mut(who) {
            line.deaf = true;
        }
    }

    /// Closes one connection.
    pub(super) fn close(&mut self, who: usize) {
        self.lines.try_remove(who);
    }

    /// Closes every connection.
    pub(super) fn close_all(&mut self) {
        self.lines.clear();
        self.again.clear();
        self.sends = Sends::default();
        self.dealer.restart();
        self.round += 1;
    }

    /// The names of this round.
    pub(super) fn tag(&self) -> RunNames {
        RunNames::new(self.round, self.passwords)
    }

    /// One turn: waits, reads each of those that have something once, and writes what was
    /// queued meanwhile.
    ///
    /// # Errors
    /// What the workload found, and what the system refuses.
    pub(super) fn turn(
        &mut self,
        timeout: Option<Duration>,
        crowd: &mut impl FrameSink,
    ) -> Result<(), Fault> {
        self.flush();
        let timeout = Some(timeout.map_or(WAIT, |timeout| timeout.min(WAIT)));
        let timeout = if self.again.is_empty() { timeout } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(|source| Fault::system("poll", source))?,
        }
        let now = self.now();
        let mut ready = std::mem::take(&mut self.again);
        for event in &self.events {
            let Token(who) = event.token();
            if event.is_read_closed()
                && let Some(line) = self.lines.get_mut(who)
            {
                line.closed = true;
            }
            if event.is_writable()
                && let Some(queue) = self.sends.queues.get_mut(who)
                && (!queue.bytes.is_empty() || queue.blocked)
                && !queue.in_dirty
            {
                queue.in_dirty = true;
                self.sends.dirty.push(who);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                ready.push(who);
            }
        }
        for &who in &ready {
            self.read(who, now, crowd)?;
        }
        ready.clear();
        // What `read` put back is kept; the emptied vector is only memory.
        ready.append(&mut self.again);
        self.again = ready;
        self.flush();
        Ok(())
    }

    fn read(&mut self, who: usize, now: u64, crowd: &mut impl FrameSink) -> Result<(), Fault> {
        let Some(line) = self.lines.get_mut(who).filter(|line| !line.deaf) else {
            return Ok(());
        };
        let count = match line.stream.read(&mut self.scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) | Ok(0) => {
                self.lines.remove(who);
                return crowd.ended(who, now);
            }
            Ok(count) => count,
        };
        self.bytes_in += count as u64;
        if count == self.scratch.len() || line.closed {
            self.again.push(who);
        }
        let stanzas = match &mut line.transport {
            None => &self.scratch[..count],
            Some(transport) => {
                let was_open = transport.is_open();
                let stanzas = transport
                    .receive(&mut self.scratch[..count], &mut self.plain)
                    .map_err(|what| Fault::transport(who, line.over.name(), &what))?;
                if transport.wants_to_send() || was_open != transport.is_open() {
                    self.sends.touch(who);
                }
                stanzas
            }
        };
        let mut cut = line.framer.cut(stanzas, FRAME_BYTES_MAX);
        loop {
            match cut.next_frame() {
                Ok(Some(frame)) => crowd.frame(who, frame, now, &mut self.sends)?,
                Ok(None) => return Ok(()),
                Err(_) => return Err(Fault::FrameTooLarge { bytes: FRAME_BYTES_MAX }),
            }
        }
    }

    fn flush(&mut self) {
        for who in self.sends.dirty.drain(..) {
            let Some(queue) = self.sends.queues.get_mut(who) else {
                continue;
            };
            queue.in_dirty = false;
            let Some(line) = self.lines.get_mut(who) else {
                continue;
            };
            match &mut line.transport {
                None => write(&mut line.stream, &mut queue.bytes),
                Some(transport) => {
                    write(&mut line.stream, transport.out());
                    // What waits is framed when it can go.
                    if transport.out().is_empty() {
                        transport.send(&mut queue.bytes);
                        write(&mut line.stream, transport.out());
                    }
                    queue.blocked = !transport.out().is_empty();
                }
            }
        }
    }

    /// A connect that blocks is the cheaper one on loopback, where it is done at once.
    fn connect(&mut self) -> io::Result<TcpStream> {
        let socket =
            Socket::new(Domain::for_address(self.way.target), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(source) = self.source() {
            socket.bind(&source.into())?;
        }
        self.opened += 1;
        socket.connect_timeout(&self.way.target.into(), CONNECT_TIMEOUT)?;
        if self.way.proxied {
            // TEST-NET-2 of RFC 5737.
            let last = u8::try_from(self.opened % 250).unwrap_or(0);
            let header = proxy_header(Ipv4Addr::new(198, 51, 100, last));
            (&socket).write_all(header.as_bytes())?;
        }
        socket.set_nonblocking(true)?;
        let stream: std::net::TcpStream = socket.into();
        stream.set_nodelay(true)?;
        Ok(TcpStream::from_std(stream))
    }

    /// Where a connection comes from, if it matters: only loopback has addresses to spare.
    fn source(&self) -> Option<SocketAddr> {
        let block = self.opened / CONNECTIONS_PER_SOURCE % SOURCES;
        if block == 0 || self.way.target.ip() != IpAddr::V4(Ipv4Addr::LOCALHOST) {
            return None;
        }
        let last = u8::try_from(block + 1).unwrap_or(1);
        Some(SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), 0))
    }
}

/// A duration as the swarm's clock counts it.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes as much as the system takes, and takes it from the front.
fn write(stream: &mut TcpStream, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    match stream.write(bytes) {
        Ok(count) => {
            bytes.drain(..count);
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        // A read tells of the end, and of what the server said before it.
        Err(_) => bytes.clear(),
    }
}
