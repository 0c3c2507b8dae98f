//! The attackers' connections: bytes go out as they are, what comes in is read fast or
//! slowly, and of it no more is kept than how often the server said yes, no and pong. What an
//! attacker does with them stands elsewhere.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use crate::bench::error::Fault;
use crate::bench::transport::proxy_header;

/// The one address that most attackers have: TEST-NET-1 of RFC 5737.
pub(super) const ATTACKER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// How long a connect may take: somebody who is not let in at all is not waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

const READ_BYTES: usize = 65_536;

/// One connection is read no more than this in a turn.
const READS_PER_TURN: usize = 4;

/// What is counted of what the server says; none is longer than [`TAIL_BYTES`] and one.
const NEEDLES: [&[u8]; 3] = [b"isok='1'", b"isok='0'", b"<pong />"];

/// An end of what was read that may be the beginning of a needle.
const TAIL_BYTES: usize = 7;

/// How a connection reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum MobReading {
    /// Everything, at once.
    All,
    /// So many bytes a second.
    Slow(f64),
}

/// What the server has said on a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MobHeard {
    /// Logins that it allowed.
    pub(super) welcomes: u64,
    /// Logins that it refused.
    pub(super) refusals: u64,
    pub(super) pongs: u64,
    pub(super) bytes: u64,
    /// The stream has ended.
    pub(super) ended: bool,
}

#[derive(Debug)]
struct MobLine {
    stream: TcpStream,
    /// What waits to be written; of the first so many bytes are gone.
    out: VecDeque<Arc<[u8]>>,
    written: usize,
    waiting: usize,
    reading: MobReading,
    since: Instant,
    readable: bool,
    writable: bool,
    tail: Vec<u8>,
    heard: MobHeard,
}

/// All connections of an attack.
#[derive(Debug)]
pub(super) struct Mob {
    target: SocketAddr,
    poll: Poll,
    events: Events,
    lines: Slab<MobLine>,
    scratch: Vec<u8>,
}

impl Mob {
    /// Nobody, who will connect there.
    ///
    /// # Errors
    /// When the system has no poll.
    pub(super) fn new(target: SocketAddr) -> Result<Self, Fault> {
        let poll = Poll::new().map_err(|source| Fault::system("set up the poll", source))?;
        let (events, lines) = (Events::with_capacity(1_024), Slab::new());
        Ok(Self { target, poll, events, lines, scratch: vec![0; TAIL_BYTES + READ_BYTES] })
    }

    /// One more connection, of the address that attackers have.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(super) fn open(&mut self) -> Result<usize, Fault> {
        self.open_as(ATTACKER, MobReading::All)
    }

    /// One more, of this address.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(super) fn open_as(
        &mut self,
        address: Ipv4Addr,
        reading: MobReading,
    ) -> Result<usize, Fault> {
        let connected = self.connect(address, reading);
        let mut stream = connected.map_err(|source| Fault::system("connect", source))?;
        let entry = self.lines.vacant_entry();
        let who = entry.key();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut stream, Token(who), both);
        registered.map_err(|source| Fault::system("watch a connection", source))?;
        entry.insert(MobLine {
            stream,
            out: VecDeque::new(),
            written: 0,
            waiting: 0,
            reading,
            since: Instant::now(),
            readable: true,
            writable: true,
            tail: Vec::new(),
            heard: MobHeard::default(),
        });
        Ok(who)
    }

    fn connect(&self, address: Ipv4Addr, reading: MobReading) -> io::Result<TcpStream> {
        let domain = Domain::for_address(self.target);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        // Who comes and goes thousands of times must not run out of ports.
        socket.set_linger(Some(Duration::ZERO))?;
        if let MobReading::Slow(_) = reading {
            // A far reader has not the megabytes that the system keeps for one on loopback.
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        }
        socket.connect_timeout(&self.target.into(), CONNECT_TIMEOUT)?;
        (&socket).write_all(proxy_header(address).as_bytes())?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        Ok(TcpStream::from_std(socket.into()))
    }

    /// Closes one, with a reset.
    pub(super) fn close(&mut self, who: usize) {
        self.lines.try_remove(who);
    }

    /// Queues bytes as they are.
    pub(super) fn raw(&mut self, who: usize, bytes: &Arc<[u8]>) {
        if let Some(line) = self.lines.get_mut(who).filter(|line| !line.heard.ended) {
            line.waiting += bytes.len();
            line.out.push_back(Arc::clone(bytes));
        }
    }

    /// Queues stanzas, a NUL behind each.
    pub(super) fn say(&mut self, who: usize, stanzas: &[String]) {
        self.raw(who, &batch(stanzas));
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self, who: usize) -> usize {
        self.lines.get(who).map_or(0, |line| line.waiting)
    }

    /// What a connection has heard; one that is closed has heard its end.
    pub(super) fn heard(&self, who: usize) -> MobHeard {
        let gone = MobHeard { ended: true, ..MobHeard::default() };
        self.lines.get(who).map_or(gone, |line| line.heard)
    }

    /// Waits a little, reads and writes.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn turn(&mut self) -> Result<(), Fault> {
        const WAIT: Duration = Duration::from_millis(1);
        match self.poll.poll(&mut self.events, Some(WAIT)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result.map_err(|source| Fault::system("poll", source))?,
        }
        for event in &self.events {
            let Token(who) = event.token();
            let Some(line) = self.lines.get_mut(who) else { continue };
            line.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            line.writable |= event.is_writable();
        }
        for (_, line) in &mut self.lines {
            line.write();
            line.read(&mut self.scratch);
        }
        Ok(())
    }
}

/// What the system keeps for one who reads slowly.
const SLOW_BUFFER_BYTES: usize = 262_144;

/// Stanzas in one piece, a NUL behind each.
pub(super) fn batch(stanzas: &[String]) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(stanzas.iter().map(|stanza| stanza.len() + 1).sum());
    for stanza in stanzas {
        bytes.extend_from_slice(stanza.as_bytes());
        bytes.push(0);
    }
    bytes.into()
}

impl MobLine {
    fn write(&mut self) {
        while self.writable
            && !self.heard.ended
            && let Some(first) = self.out.front()
        {
            match self.stream.write(&first[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.waiting -= count;
                    if self.written == first.len() {
                        self.out.pop_front();
                        self.written = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                // A read tells of the end, and of what was said before it.
                Err(_) => self.forget(),
            }
        }
    }

    /// Nothing more is written.
    fn forget(&mut self) {
        self.out.clear();
        (self.written, self.waiting, self.writable) = (0, 0, false);
    }

    fn read(&mut self, scratch: &mut [u8]) {
        for _ in 0..READS_PER_TURN {
            let most = self.allowance();
            if !self.readable || self.heard.ended || most == 0 {
                return;
            }
            let kept = self.tail.len();
            scratch[..kept].copy_from_slice(&self.tail);
            match self.stream.read(&mut scratch[kept..kept + most]) {
                Ok(0) => self.end(),
                Ok(count) => self.hear(&scratch[..kept + count], count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(_) => self.end(),
            }
        }
    }

    fn end(&mut self) {
        self.heard.ended = true;
        self.forget();
    }

    /// Bytes that it may read now.
    fn allowance(&self) -> usize {
        match self.reading {
            MobReading::All => READ_BYTES,
            MobReading::Slow(per_s) => {
                let due = (self.since.elapsed().as_secs_f64() * per_s) as u64;
                let left = due.saturating_sub(self.heard.bytes);
                // In pieces as a network brings them.
                if left < 1_460 { 0 } else { READ_BYTES.min(left as usize) }
            }
        }
    }

    /// Takes what is there: the tail of what was there before, and `count` bytes.
    fn hear(&mut self, bytes: &[u8], count: usize) {
        self.heard.bytes += count as u64;
        let [welcomes, refusals, pongs] =
            NEEDLES.map(|needle| memmem::find_iter(bytes, needle).count() as u64);
        self.heard.welcomes += welcomes;
        self.heard.refusals += refusals;
        self.heard.pongs += pongs;
        let tail = bytes[bytes.len().saturating_sub(TAIL_BYTES)..].to_vec();
        self.tail = tail;
    }
}
