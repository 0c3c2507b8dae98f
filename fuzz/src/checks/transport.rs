//! A whole server and whatever three clients send it, as stanzas, requests, frames, in TLS or
//! behind a proxy: nothing breaks its invariants, all that it says can be read strictly, nothing
//! follows an end, and how the bytes are cut makes no difference.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Once;
use std::time::Duration;

use ipnet::IpNet;
use palabre::config::{Authority, KnownHost, Tls, Web};
use palabre::hub::{HashKey, ListenerKind, RootPassword, Settings};
use palabre::net::server::{Server, Turn};
use palabre::net::transport::Front;
use palabre::net::world::Event;

#[allow(dead_code, reason = "other tests mask their frames")]
#[path = "../../../tests/support/frames.rs"]
mod frames;

use super::tls;
use super::told::ToldConnection;
use super::world::{LinkKey, Network};

/// What stands between two steps; no text holds it.
const STEP_END: [u8; 2] = [0xfe, 0xff];

/// Turns within which whatever a step starts has settled.
const TURNS_MAX: u32 = 10_000;

/// How many bytes of a text go into a record where everything is cut.
const RECORD_BYTES: usize = 16;

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Takes a script. Before its first step stand letters that say how the server is set up:
///
/// - `s` `w` `h` `p`: without stanzas, WebSocket, HTTP, the page
/// - `t` `r`: with TLS; TLS demanded
/// - `x`: client 0 is a trusted proxy; `o`: pages of one more origin
/// - `l`: stanzas of 100 bytes; `f`: one stanza a second; `n`: two sessions; `b`: little room for
///   what a client does not read
///
/// A step begins with what happens, and the client to whom:
///
/// - `0` `1` `2`: that client sends the rest
/// - `t` `b` and a digit: it sends the rest in a frame, as a text or as bytes
/// - `h` and a digit: it asks for a WebSocket; `s` and a digit: it speaks TLS from its first byte
///   on
/// - `e` `k` `r` and a digit: it ends its stream, and before that TLS; it resets the connection
/// - `p` and a digit: it reads no more, or reads again
/// - `v`: the server takes what the letters that follow say; `w`, `m`: a second, a minute passes;
///   `q`: the server is stopped
///
/// A client that is not there connects first.
///
/// # Panics
/// When the check fails.
pub fn check(script: &[u8]) {
    listen_to_the_log();
    let whole = play(script, false);
    let cut = play(script, true);
    let options = steps(script).next().unwrap_or_default();
    // What waits and what comes later depends on when something was read.
    if options.iter().any(|letter| b"fb".contains(letter)) {
        return;
    }
    assert_eq!(whole.len(), cut.len(), "connections");
    for (whole, cut) in whole.into_iter().zip(cut) {
        let (mut whole, mut cut) = (whole.lasting(), cut.lasting());
        // Pongs overtake what is to be said in the same turn, and come behind the stanza that
        // closes the session where they were asked for in the same bytes.
        let (many, few) = (std::mem::take(&mut whole.pongs), std::mem::take(&mut cut.pongs));
        assert!(many.starts_with(&few), "{many:?} and cut {few:?}");
        assert!(many.len() == few.len() || whole.close.is_some(), "{many:?} and cut {few:?}");
        assert_eq!(whole, cut, "the same bytes, cut");
    }
}

/// Everything that each connection was told, in the order in which they were opened. Each byte
/// has a turn of its own if `cut`.
fn play(script: &[u8], cut: bool) -> Vec<ToldConnection> {
    let mut steps = steps(script);
    let mut play = TransportPlay::new(steps.next().unwrap_or_default(), cut);
    for step in steps {
        if !play.stopped {
            play.step(step);
        }
    }
    play.finish();
    play.told
}

/// The parts between the ends of steps.
fn steps(script: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(script);
    std::iter::from_fn(move || {
        let script = rest?;
        let end = script.windows(STEP_END.len()).position(|part| part == STEP_END);
        rest = end.map(|end| &script[end + STEP_END.len()..]);
        Some(&script[..end.unwrap_or(script.len())])
    })
}

struct TransportPlay {
    server: Server<Network>,
    cut: bool,
    room_bytes: usize,
    stopped: bool,
    lines: [Option<PeerLine>; 3],
    /// What those were told who are gone.
    told: Vec<ToldConnection>,
}

/// A client's connection.
struct PeerLine {
    link: LinkKey,
    /// Which of all connections it is.
    number: usize,
    tls: Option<tls::TlsPeer>,
    /// What it has said, in clear.
    said: Vec<u8>,
    /// What it has received as it came, and in clear.
    raw: Vec<u8>,
    plain: Vec<u8>,
    /// TLS has failed.
    failed: bool,
    ended: bool,
    paused: bool,
    broken: bool,
}

impl TransportPlay {
    fn new(options: &[u8], cut: bool) -> Self {
        let on = |letter| options.contains(&letter);
        let mut settings =
            Settings { root_password: RootPassword::clear("p"), ..Settings::default() };
        settings.domains = vec!["*".to_owned()];
        let limits = &mut settings.limits;
        limits.sessions_per_address_max = 1;
        if on(b'l') {
            limits.stanza_bytes_max = 100;
        }
        if on(b'f') {
            limits.stanza_burst = 2;
            limits.stanza_rate_per_s = 1;
        }
        if on(b'n') {
            limits.sessions_max = 2;
        }
        if on(b'b') {
            limits.backlog_bytes_max = 1_000;
            limits.backlog_soft_bytes_max = 500;
            limits.backlog_total_bytes_max = 1_500;
        }
        if on(b'x') {
            settings.trusted_proxies = vec![proxy()];
        }
        let mut server =
            Server::new(Network::new(), &[ListenerKind::Main], settings, HashKey(1, 2), 0);
        server.set_front(front(options));
        Self {
            server,
            cut,
            room_bytes: if on(b'b') { 300 } else { usize::MAX },
            stopped: false,
            lines: [None, None, None],
            told: Vec::new(),
        }
    }

    fn step(&mut self, step: &[u8]) {
        let Some((&what, rest)) = step.split_first() else { return };
        if let b'0'..=b'2' = what {
            return self.send(usize::from(what - b'0'), rest);
        }
        let who = rest.first().map_or(0, |digit| usize::from(digit % 3));
        let payload = rest.get(1..).unwrap_or_default();
        match what {
            b't' => self.send(who, &frame(0x81, payload)),
            b'b' => self.send(who, &frame(0x82, payload)),
            b'h' => self.send(who, HANDSHAKE),
            b's' => self.begin_tls(who),
            b'e' | b'k' => self.end(who, what == b'k'),
            b'r' => self.reset(who),
            b'p' => self.pause(who),
            b'v' => self.server.set_front(front(rest)),
            b'q' => {
                self.server.world_mut().signals.push(Event::Stop);
                self.settle();
            }
            b'm' => self.pass(Duration::from_secs(60)),
            _ => self.pass(Duration::from_secs(1)),
        }
    }

    /// The client's connection, opened when there is none.
    fn line(&mut self, who: usize) -> &mut PeerLine {
        let link = self.lines[who].as_ref().map(|line| line.link);
        let gone = link.is_none_or(|link| self.server.world_mut().link(link).dropped);
        if gone {
            self.hang_up(who);
            let link = self.server.world_mut().connect(address(who), self.room_bytes);
            self.told.push(ToldConnection::default());
            self.lines[who] = Some(PeerLine::new(link, self.told.len() - 1));
            self.settle();
        }
        self.lines[who].as_mut().expect("it has just been opened")
    }

    fn send(&mut self, who: usize, bytes: &[u8]) {
        let cut = self.cut;
        let line = self.line(who);
        if line.ended || line.failed {
            return;
        }
        line.said.extend_from_slice(bytes);
        let Some(tls) = &mut line.tls else {
            return self.deliver(who, bytes);
        };
        let records = if cut { RECORD_BYTES } else { bytes.len().max(1) };
        let mut wire = Vec::new();
        for part in bytes.chunks(records) {
            tls.put(part);
            wire.append(&mut tls.take());
        }
        self.deliver(who, &wire);
    }

    /// Gives the server bytes of a client, and the client what the server has to say.
    fn deliver(&mut self, who: usize, bytes: &[u8]) {
        let Some(line) = &self.lines[who] else { return };
        let link = line.link;
        let size = if self.cut { 1 } else { bytes.len().max(1) };
        for part in bytes.chunks(size) {
            self.server.world_mut().link(link).send(part);
            self.settle();
        }
        // A handshake goes back and forth.
        let due =
            self.lines[who].as_mut().and_then(|line| line.tls.as_mut()).map(tls::TlsPeer::take);
        if let Some(due) = due.filter(|due| !due.is_empty()) {
            self.deliver(who, &due);
        }
    }

    fn begin_tls(&mut self, who: usize) {
        let line = self.line(who);
        if line.said.is_empty() && line.tls.is_none() && !line.ended {
            line.tls = Some(tls::TlsPeer::new());
            self.deliver(who, &[]);
        }
    }

    fn end(&mut self, who: usize, tls_first: bool) {
        let line = self.line(who);
        if line.ended {
            return;
        }
        line.ended = true;
        if let Some(tls) = line.tls.as_mut().filter(|_| tls_first) {
            tls.end();
            let wire = tls.take();
            self.deliver(who, &wire);
        }
        if let Some(line) = &self.lines[who] {
            self.server.world_mut().link(line.link).end();
        }
        self.settle();
    }

    fn reset(&mut self, who: usize) {
        let line = self.line(who);
        line.ended = true;
        line.broken = true;
        let link = line.link;
        self.server.world_mut().link(link).reset();
        self.settle();
    }

    fn pause(&mut self, who: usize) {
        let line = self.line(who);
        line.paused = !line.paused;
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.server.world_mut().now() + time;
        self.settle();
        for _ in 0..TURNS_MAX {
            if self.stopped || self.server.world_mut().now() >= end {
                return;
            }
            self.server.world_mut().pass(end);
            self.settle();
        }
        panic!("time does not pass");
    }

    /// Turns until the server sleeps; the clients read meanwhile.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.stopped {
                return;
            }
            self.stopped = self.server.turn().expect("this poll does not fail") == Turn::Stop;
            self.server.check_invariants();
            let mut heard = false;
            for line in self.lines.iter_mut().flatten() {
                heard |= line.hear(self.server.world_mut());
            }
            if self.server.world_mut().asleep && !heard {
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    /// Takes down what a connection was told that is over.
    fn hang_up(&mut self, who: usize) {
        if let Some(mut line) = self.lines[who].take() {
            line.paused = false;
            line.hear(self.server.world_mut());
            let number = line.number;
            // A slow reader is cut off in the middle.
            let slow = self.room_bytes < usize::MAX;
            let whole = self.server.world_mut().link(line.link).shut && !line.broken && !slow;
            self.told[number] = line.told(whole);
        }
    }

    /// Everybody ends; the server is then without connections.
    fn finish(&mut self) {
        for who in 0..self.lines.len() {
            if let Some(line) = &mut self.lines[who] {
                line.paused = false;
                self.end(who, true);
            }
        }
        self.settle();
        self.pass(Duration::from_secs(60));
        assert_eq!(self.server.connections(), 0, "connections that nobody has any more");
        for who in 0..self.lines.len() {
            self.hang_up(who);
        }
    }
}

impl PeerLine {
    fn new(link: LinkKey, number: usize) -> Self {
        Self {
            link,
            number,
            tls: None,
            said: Vec::new(),
            raw: Vec::new(),
            plain: Vec::new(),
            failed: false,
            ended: false,
            paused: false,
            broken: false,
        }
    }

    /// Reads what is there; whether there was something.
    fn hear(&mut self, network: &mut Network) -> bool {
        if self.paused {
            return false;
        }
        let bytes = network.link(self.link).receive();
        self.raw.extend_from_slice(&bytes);
        match &mut self.tls {
            Some(tls) if !self.failed => {
                self.failed = tls.receive(&bytes, &mut self.plain).is_err();
                // Records, unless it was refused as one who speaks nothing yet.
                let refused = self.raw.starts_with(b"<") || self.raw.starts_with(&[0x15]);
                assert!(!self.failed || refused, "TLS that a client refuses");
            }
            Some(_) => {}
            None => self.plain.extend_from_slice(&bytes),
        }
        !bytes.is_empty()
    }

    /// All that it was told; `whole` unless the end may be missing.
    fn told(mut self, whole: bool) -> ToldConnection {
        let head_only = self.said.windows(5).any(|part| part == b"HEAD ");
        if self.failed {
            return ToldConnection::read(&self.raw, whole, head_only);
        }
        if let Some(ended) = self.tls.as_mut().and_then(tls::TlsPeer::ended) {
            assert!(ended || !whole, "TLS without its end");
        }
        let form = is_request(&self.said);
        // Those who are told so have not come to their path yet.
        let early = [&b"<error>Too many sessions"[..], b"<error>Login timed out"];
        let early = early.iter().any(|start| self.plain.starts_with(start));
        let is_answer = self.plain.is_empty() || self.plain.starts_with(b"HTTP/1.1 ");
        assert!(!form || is_answer || early, "a form is told {:?}", self.plain);
        ToldConnection::read(&self.plain, whole, head_only)
    }
}

/// Whether a page can have a browser say this: a method of any letters, and a path.
fn is_request(said: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
    let method = said.iter().take_while(|&byte| letter(byte)).count();
    method > 0 && said[method..].starts_with(b" /")
}

fn front(options: &[u8]) -> Front {
    let on = |letter| options.contains(&letter);
    let required = on(b'r');
    let tls = (on(b't') || required).then(tls::server);
    let files = || Tls { certificate: "c".into(), key: "k".into(), required };
    let web = Web {
        stanzas: !on(b's'),
        websocket: !on(b'w'),
        http: !on(b'h'),
        page: !on(b'p'),
        hosts: ["a", "a.example", "chat.example"]
            .into_iter()
            .filter_map(Authority::parse)
            .map(KnownHost::One)
            .collect(),
        origins: if on(b'o') { vec!["https://example.org".to_owned()] } else { Vec::new() },
        trusted_proxies: if on(b'x') { vec![proxy()] } else { Vec::new() },
        tls: tls.is_some().then(files),
        ..Web::default()
    };
    Front { web, tls, ..Front::default() }
}

/// Client 0 may be a proxy, client 1 may read the metrics, client 2 is anybody.
fn address(who: usize) -> IpAddr {
    let address = match who {
        0 => Ipv4Addr::new(192, 0, 2, 1),
        1 => Ipv4Addr::LOCALHOST,
        _ => Ipv4Addr::new(198, 51, 100, 1),
    };
    IpAddr::V4(address)
}

fn proxy() -> IpNet {
    IpNet::from(address(0))
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frames::masked_by([0; 4], first, payload)
}

/// No peer's bytes can forge a line of the log or speak to the terminal it is read on.
struct Ear;

impl log::Log for Ear {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        let of_the_house = record.target().starts_with("palabre");
        assert!(!of_the_house || !line.contains(char::is_control), "{line:?}");
    }

    fn flush(&self) {}
}

fn listen_to_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Ear).expect("nobody else does");
        log::set_max_level(log::LevelFilter::Debug);
    });
}
