//! What stands between a connection's bytes and its stanzas: PROXY headers, TLS, HTTP,
//! WebSocket, told apart by the first bytes. No socket and no clock is known here.
//!
//! What the first bytes are is decided in `Transport::begin`; a connection that begins with a
//! stanza then has none of this. For all others bytes go through `Transport::receive` on their way
//! in, where they become events (`Received`), and the turn's stanzas, which are encoded once for
//! everybody, through `Transport::send` on their way out: as they are, or each in a frame, and
//! all that in records of TLS.
//!
//! `detect` tells by the first bytes what a connection speaks, `http` judges requests and writes
//! answers, `target` takes apart what requests ask for, [`websocket`] reads and writes frames,
//! `frame_cache` keeps the messages that a turn has framed for many, `tls_records` is TLS.

mod detect;
mod frame_cache;
mod http;
mod target;
mod tls_records;
mod utf8;
pub mod websocket;

use std::net::IpAddr;
use std::ops::Range;

use self::detect::{First, Word, first};
pub(super) use self::frame_cache::Framed;
pub(super) use self::http::{Advice, Page, Reply, TEXT};
use self::http::{Caller, HttpVerdict, judge};
pub use self::http::{Handshake, handshake};
use self::tls_records::Secure;
pub use self::tls_records::TlsConfig;
use self::websocket::{Payload, WebSocketEvent};
use super::deliveries::Pieces;
use super::proxy::{self, Parsed};
use super::speech::Protocol;
use crate::config::{KnownHost, Web};
use crate::hub::{CloseReason, Time};
use crate::limits::{FRAME_WORK_NS, HEAD_BYTE_WORK_NS, HTTP_HEAD_BYTES_MAX, READ_BYTES_PER_TURN};
use crate::secret;
use crate::wire::framer::FRAME_END;

/// What the listener takes, as it is in force.
#[derive(Clone, Debug, Default)]
pub struct Front {
    /// `[web]` and its neighbours.
    pub web: Web,
    /// The certificate and all that belongs to it, when there is one.
    pub tls: Option<TlsConfig>,
    /// The hosts that the certificate names.
    pub certificate_hosts: Vec<KnownHost>,
    /// The addresses that are listened on.
    pub addresses: Vec<IpAddr>,
}

impl Front {
    /// Whether whoever comes without TLS is refused.
    fn demands_tls(&self) -> bool {
        self.web.tls.as_ref().is_some_and(|tls| tls.required)
    }
}

/// How far a connection has told what it speaks.
#[derive(Debug)]
enum Stage {
    /// Its first bytes leave that open.
    First,
    /// It has begun with a long word, which is handed on.
    Word(Word),
    /// It has begun a request.
    Http,
    /// It sends frames.
    WebSocket(Box<WebSocket>),
    /// It sends stanzas.
    Stanzas,
    /// It has been told all that it will be; what it still sends is dropped.
    Over,
}

#[derive(Debug, Default)]
struct WebSocket {
    reader: websocket::WebSocketReader,
    /// What its first message was; nobody knows before.
    payload: Option<Payload>,
    /// The last byte of the text that is under way.
    last_byte: Option<u8>,
    /// What the peer's close said.
    peer_close: Option<Option<u16>>,
    /// Bytes of the data frame under way that have not come.
    left_bytes: u64,
    /// A stanza has ended in it.
    has_stanza: bool,
}

/// What came in, one event after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A trusted proxy names the client's own address.
    Address(IpAddr),
    /// The connection has become a WebSocket.
    WebSocket,
    /// The stream of stanzas goes on with these bytes of [`Inbound::stanzas`].
    Stanzas(Range<usize>),
    /// Frames of a WebSocket have come, so many, in which no stanza ended.
    FramesInVain(u64),
    /// This page is asked for, to be answered like this.
    Page(Page, Reply),
    /// No stanzas are taken here; an `<error>` says so before the end.
    Refused(&'static str),
    /// The peer breaks a protocol, says the log.
    Trouble(String),
    /// A request is refused for what the operator could mend.
    Advice(Advice),
}

/// What one read brought; its memory serves for the next one.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// In the order in which it came.
    pub(super) events: Vec<Received>,
    /// The bytes of stanzas, without what they were wrapped in.
    pub(super) stanzas: Vec<u8>,
    /// What making flights of a TLS handshake took, in nanoseconds as it is reckoned.
    pub(super) greeting_ns: u64,
    /// What the rest took.
    pub(super) work_ns: u64,
}

impl Inbound {
    /// Adds stanzas as they are.
    pub(super) fn take_stanzas(&mut self, bytes: &[u8]) {
        let start = self.stanzas.len();
        secret::append(&mut self.stanzas, bytes);
        self.end_stanzas(start);
    }

    /// The stanzas from here on are one event.
    fn end_stanzas(&mut self, start: usize) {
        if self.stanzas.len() > start {
            self.events.push(Received::Stanzas(start..self.stanzas.len()));
        }
    }

    /// Only the last of those who tell the address has a say.
    fn take_address(&mut self, address: IpAddr) {
        self.events.retain(|event| !matches!(event, Received::Address(_)));
        self.events.push(Received::Address(address));
    }

    /// Makes it ready for the next read; what may hold a password is overwritten.
    pub(super) fn clear(&mut self, secret: bool) {
        if secret {
            secret::clear(&mut self.stanzas);
        }
        self.stanzas.clear();
        self.stanzas.shrink_to(READ_BYTES_PER_TURN);
        self.events.clear();
        (self.greeting_ns, self.work_ns) = (0, 0);
    }
}

/// The transport of one connection that does not simply send stanzas, or has not told yet.
#[derive(Debug)]
pub(super) struct Transport {
    stage: Stage,
    /// A PROXY header may still come.
    proxied: bool,
    secure: Option<Secure>,
    /// A TLS handshake waits: it is to be gone on with, by [`Transport::receive`], when its turn
    /// has come.
    greeting_kept: bool,
    /// Bytes that can't be read before more have come.
    held: Vec<u8>,
    /// Bytes to be sent before anything else: answers, pongs.
    out: Vec<u8>,
    /// Why it ends, once it does by itself.
    over: Option<CloseReason>,
    /// The code of the close that is its end, where the reason has no code of its own.
    close_code: Option<u16>,
    /// The end has been written.
    ended: bool,
    /// When something was last heard, for the check of a silent WebSocket.
    pub(super) heard_at: Time,
    /// When it is checked.
    pub(super) check_at: Option<Time>,
    /// A ping is on its way.
    pub(super) pinged: bool,
}

impl Transport {
    /// For a connection of which nothing is known; `proxied` when it comes from a trusted proxy.
    pub(super) fn new(proxied: bool) -> Self {
        Self {
            stage: Stage::First,
            proxied,
            secure: None,
            greeting_kept: false,
            held: Vec::new(),
            out: Vec::new(),
            over: None,
            close_code: None,
            ended: false,
            heard_at: Time::default(),
            check_at: None,
            pinged: false,
        }
    }

    /// Whether frames are spoken.
    pub(super) const fn is_web_socket(&self) -> bool {
        matches!(self.stage, Stage::WebSocket(_))
    }

    /// Why it ends by itself, once that is so; what was received before is still handled.
    pub(super) const fn over(&self) -> Option<CloseReason> {
        self.over
    }

    /// What it speaks, and whether over TLS.
    pub(super) const fn protocol(&self) -> (Protocol, bool) {
        let protocol = match self.stage {
            Stage::First | Stage::Word(_) | Stage::Http | Stage::Over => Protocol::Undecided,
            Stage::Stanzas => Protocol::Stanzas,
            Stage::WebSocket(_) => Protocol::WebSocket,
        };
        (protocol, self.secure.is_some())
    }

    /// Whether there is nothing for it to do any more: the bytes are stanzas as they come.
    pub(super) const fn is_needless(&self) -> bool {
        matches!(self.stage, Stage::Stanzas)
            && self.secure.is_none()
            && self.over.is_none()
            && self.out.is_empty()
    }

    /// Whether a TLS handshake waits until [`Transport::receive`] goes on with it.
    pub(super) const fn keeps_greeting(&self) -> bool {
        self.greeting_kept
    }

    /// Takes bytes of the wire, which it may change, and adds what they bring to `inbound`.
    /// Something may then be to be sent.
    pub(super) fn receive(
        &mut self,
        bytes: &mut [u8],
        arrival: Arrival<'_>,
        inbound: &mut Inbound,
    ) {
        let Arrival { front, peer, secret, keep_greeting, max, unix_s } = arrival;
        let mut reading = Reading { front, peer, secret, keep_greeting, max, unix_s, inbound };
        self.greeting_kept = false;
        if self.secure.is_some() {
            self.decrypt(bytes, &mut reading);
        } else {
            self.read(bytes, &mut reading);
        }
    }

    /// Appends what is to be sent by now, as it goes over the wire: what was due besides
    /// stanzas, the stanzas in `pieces`, and with `end` the end of the stream, for this reason and
    /// so many seconds after 1970. `wire` is scratch memory; what is to be sent is lent from it or
    /// from `framed`.
    pub(super) fn send<'a>(
        &mut self,
        pieces: Pieces<'a>,
        end: Option<(CloseReason, u64)>,
        framed: &'a mut Framed,
        wire: &'a mut Vec<u8>,
    ) -> Pieces<'a> {
        let payload = match &self.stage {
            Stage::WebSocket(socket) => Some(socket.payload.unwrap_or(Payload::Binary)),
            Stage::First | Stage::Word(_) | Stage::Http | Stage::Stanzas | Stage::Over => None,
        };
        let end = end.filter(|_| !self.ended);
        self.ended |= end.is_some();
        if let Some(payload) = payload
            && self.secure.is_none()
            && self.out.is_empty()
            && end.is_none()
        {
            return framed.of(payload, pieces);
        }
        wire.clear();
        let stanzas = match &self.stage {
            Stage::WebSocket(_) => framed.of(payload.unwrap_or(Payload::Binary), pieces),
            Stage::Stanzas | Stage::Word(_) => framed.joined(pieces),
            // Whoever has not told what it speaks is taken for an old client.
            Stage::First if self.secure.as_ref().is_none_or(Secure::is_open) => {
                framed.joined(pieces)
            }
            Stage::First | Stage::Http | Stage::Over => Pieces::none(),
        };
        if let Some(secure) = &mut self.secure
            && self.out.is_empty()
            && end.is_none()
        {
            secure.send(stanzas.single().unwrap_or_default(), false, wire);
            return Pieces::of(wire);
        }
        let mut plain = std::mem::take(&mut self.out);
        stanzas.for_each(|piece| plain.extend_from_slice(piece));
        if let Some((reason, unix_s)) = end {
            self.write_end(reason, unix_s, &mut plain);
        }
        match &mut self.secure {
            Some(secure) => secure.send(&plain, end.is_some(), wire),
            None => wire.append(&mut plain),
        }
        Pieces::of(wire)
    }

    /// Whether something is to be sent that no delivery tells of.
    pub(super) fn wants_to_send(&self) -> bool {
        !self.out.is_empty() || self.secure.as_ref().is_some_and(Secure::wants_to_send)
    }

    /// Sends this page, and ends.
    pub(super) fn answer(&mut self, mut answer: Vec<u8>) {
        self.out.append(&mut answer);
        self.finish(CloseReason::RequestAnswered);
    }

    /// Asks the other side of a WebSocket whether it is there.
    pub(super) fn ping(&mut self) {
        if matches!(self.stage, Stage::WebSocket(_)) {
            websocket::write_ping(&mut self.out);
            self.pinged = true;
        }
    }

    fn finish(&mut self, reason: CloseReason) {
        self.over.get_or_insert(reason);
        if !matches!(self.stage, Stage::WebSocket(_)) {
            self.stage = Stage::Over;
        }
        secret::clear(&mut self.held);
        self.held = Vec::new();
    }

    /// The last bytes of what is spoken.
    fn write_end(&self, reason: CloseReason, unix_s: u64, plain: &mut Vec<u8>) {
        match &self.stage {
            Stage::WebSocket(socket) => {
                let own = Some(close_code(reason));
                // Whatever stood behind the stanza that ended the session has no say.
                let code = if reason == CloseReason::PeerClosed {
                    socket.peer_close.unwrap_or(own)
                } else if reason == CloseReason::BadFrame {
                    self.close_code.or(own)
                } else {
                    own
                };
                websocket::write_close(plain, code);
            }
            Stage::Http if reason == CloseReason::LoginTimeout => {
                plain.append(&mut Reply::to(&self.held, unix_s).timed_out());
            }
            Stage::Http if matches!(reason, CloseReason::PeerClosed | CloseReason::Broken) => {
                plain.append(&mut Reply::to(&self.held, unix_s).no_request());
            }
            Stage::Http => {
                let why = "the server stops, or there are too many of you";
                plain.append(&mut Reply::to(&self.held, unix_s).unavailable(why));
            }
            Stage::First | Stage::Word(_) | Stage::Stanzas | Stage::Over => {}
        }
    }

    /// The first bytes; as long as they leave open what is spoken they are held.
    fn read_first(&mut self, bytes: &mut [u8], reading: &mut Reading<'_>) {
        if self.held.is_empty() {
            return self.begin(bytes, reading);
        }
        let mut held = std::mem::take(&mut self.held);
        secret::append(&mut held, bytes);
        self.begin(&mut held, reading);
        secret::clear(&mut held);
    }

    /// Decides by all the bytes that have come what is spoken.
    fn begin(&mut self, mut bytes: &mut [u8], reading: &mut Reading<'_>) {
        if self.proxied {
            match proxy::parse(bytes) {
                Parsed::Incomplete => return secret::append(&mut self.held, bytes),
                Parsed::Invalid => return self.finish(CloseReason::BadProxyHeader),
                Parsed::Missing => {}
                Parsed::Header { length, address } => {
                    bytes = &mut bytes[length..];
                    if let Some(address) = address {
                        reading.peer = address;
                        reading.inbound.take_address(address);
                    }
                }
            }
            self.proxied = false;
        }
        match first(bytes) {
            First::Undecided => return secret::append(&mut self.held, bytes),
            First::Tls if self.secure.is_none() => return self.begin_tls(bytes, reading),
            First::Http => {
                self.stage = Stage::Http;
                secret::append(&mut self.held, bytes);
                return self.read_request(reading);
            }
            First::Word => self.stage = Stage::Word(Word::default()),
            First::Tls | First::Stanzas => self.begin_stanzas(reading),
        }
        self.read(bytes, reading);
    }

    /// Stanzas come, unless they are not taken.
    fn begin_stanzas(&mut self, reading: &mut Reading<'_>) {
        self.stage = Stage::Stanzas;
        if let Some((error, reason)) = self.refusal(reading) {
            reading.inbound.events.push(Received::Refused(error));
            self.finish_with_error(reason);
        }
    }

    /// Why stanzas are not taken as they are, where they are not.
    fn refusal(&self, reading: &Reading<'_>) -> Option<(&'static str, CloseReason)> {
        if !reading.front.web.stanzas {
            let error = "Stanzas outside a WebSocket are switched off here";
            Some((error, CloseReason::SwitchedOff))
        } else if self.secure.is_none() && reading.front.demands_tls() {
            Some(("TLS is required here", CloseReason::TlsRequired))
        } else {
            None
        }
    }

    /// Ends as one who speaks stanzas, so that the error is told.
    fn finish_with_error(&mut self, reason: CloseReason) {
        self.over.get_or_insert(reason);
        secret::clear(&mut self.held);
        self.held = Vec::new();
    }

    fn begin_tls(&mut self, records: &mut [u8], reading: &mut Reading<'_>) {
        let Some(secure) = reading.front.tls.as_ref().and_then(Secure::new) else {
            self.out.extend_from_slice(&tls_records::HANDSHAKE_FAILURE);
            return self.finish(CloseReason::NoTls);
        };
        self.secure = Some(secure);
        self.decrypt(records, reading);
    }

    fn decrypt(&mut self, bytes: &mut [u8], reading: &mut Reading<'_>) {
        let Some(secure) = &mut self.secure else {
            return;
        };
        if reading.keep_greeting && secure.may_cost_a_signature() {
            secure.keep(bytes);
            self.greeting_kept = true;
            return;
        }
        let mut plain = Vec::new();
        let end = secure.receive(bytes, &mut plain, reading.secret);
        let (records_ns, greeting_ns) = secure.take_work_ns();
        reading.inbound.work_ns += records_ns;
        reading.inbound.greeting_ns += greeting_ns;
        self.read(&mut plain, reading);
        if reading.secret {
            secret::clear(&mut plain);
        }
        match end {
            Ok(false) => {}
            Ok(true) => _ = self.over.get_or_insert(CloseReason::PeerClosed),
            Err(error) => {
                reading.inbound.events.push(Received::Trouble(error.to_string()));
                self.finish(CloseReason::TlsBroken);
            }
        }
    }

    /// Plain bytes of a connection that has told what it speaks.
    fn read(&mut self, bytes: &mut [u8], reading: &mut Reading<'_>) {
        if self.over.is_some() {
            return;
        }
        match &mut self.stage {
            Stage::First => self.read_first(bytes, reading),
            Stage::Over => {}
            Stage::Word(word) => match word.read(bytes) {
                First::Http => {
                    self.out.append(&mut Reply::to(&[], reading.unix_s).no_request());
                    self.finish(CloseReason::RequestRefused);
                }
                First::Stanzas => {
                    self.begin_stanzas(reading);
                    self.read(bytes, reading);
                }
                First::Word | First::Undecided | First::Tls => {
                    // Where no stanzas are taken, how long it is is nobody's concern.
                    if self.refusal(reading).is_none() {
                        reading.inbound.take_stanzas(bytes);
                    }
                }
            },
            Stage::Stanzas => reading.inbound.take_stanzas(bytes),
            Stage::WebSocket(_) => self.read_frames(bytes, reading),
            Stage::Http => {
                // A head is whole only with the end of a line. To look at it after every byte
                // would cost the square of its length.
                let is_line = memchr::memchr(b'\n', bytes).is_some();
                secret::append(&mut self.held, bytes);
                if is_line || self.held.len() > HTTP_HEAD_BYTES_MAX {
                    self.read_request(reading);
                }
            }
        }
    }

    fn read_request(&mut self, reading: &mut Reading<'_>) {
        let &mut Reading { front, peer, unix_s, .. } = reading;
        let caller = Caller { peer, secure: self.secure.is_some(), unix_s };
        let judged = judge(&self.held, front, caller);
        // A head that comes line by line is looked at as often.
        reading.inbound.work_ns += self.held.len() as u64 * HEAD_BYTE_WORK_NS;
        if let Some(address) = judged.address {
            reading.inbound.take_address(address);
        }
        match judged.verdict {
            HttpVerdict::Partial => {}
            HttpVerdict::Page { page, reply } => {
                reading.inbound.events.push(Received::Page(page, reply));
                secret::clear(&mut self.held);
                self.held = Vec::new();
            }
            HttpVerdict::Refused { mut answer, advice } => {
                reading.inbound.events.extend(advice.map(Received::Advice));
                self.out.append(&mut answer);
                self.finish(CloseReason::RequestRefused);
            }
            HttpVerdict::Upgrade { mut answer, head_bytes } => {
                self.out.append(&mut answer);
                self.stage = Stage::WebSocket(Box::default());
                reading.inbound.events.push(Received::WebSocket);
                let mut held = std::mem::take(&mut self.held);
                self.read_frames(&mut held[head_bytes..], reading);
                secret::clear(&mut held);
            }
        }
    }

    fn read_frames(&mut self, bytes: &mut [u8], reading: &mut Reading<'_>) {
        let Stage::WebSocket(socket) = &mut self.stage else {
            return;
        };
        let WebSocket { reader, payload: speaks, last_byte, peer_close, left_bytes, has_stanza } =
            &mut **socket;
        let (out, max) = (&mut self.out, reading.max);
        let stanzas = &mut reading.inbound.stanzas;
        let start = stanzas.len();
        let (mut frames, mut in_vain) = (0, 0);
        let result = reader.read(bytes, |event| match event {
            WebSocketEvent::Frame { payload, announced_bytes } => {
                frames += 1;
                (*left_bytes, *has_stanza) = (announced_bytes, false);
                speaks.get_or_insert(payload);
                // A text is a stanza: it is known before it has come how long it will be. As much
                // as is too long stands for it, behind what was said before.
                if payload == Payload::Text && announced_bytes > max as u64 + 1 {
                    stanzas.resize(stanzas.len() + max + 1, b' ');
                }
            }
            WebSocketEvent::Data { payload, bytes, end } => {
                secret::append(stanzas, bytes);
                if payload == Payload::Text {
                    *last_byte = bytes.last().copied().or(*last_byte);
                    if end && last_byte.take() != Some(FRAME_END) {
                        stanzas.push(FRAME_END);
                    }
                }
                *has_stanza |= payload == Payload::Text && end
                    || bytes.last() == Some(&FRAME_END)
                    || memchr::memchr(FRAME_END, bytes).is_some();
                *left_bytes -= bytes.len() as u64;
                in_vain += u64::from(*left_bytes == 0 && !*has_stanza);
            }
            WebSocketEvent::Ping(payload) => {
                in_vain += 1;
                websocket::write_pong(out, payload);
            }
            WebSocketEvent::Pong => in_vain += 1,
            WebSocketEvent::Close(code) => *peer_close = Some(code),
        });
        reading.inbound.end_stanzas(start);
        if in_vain > 0 {
            reading.inbound.events.push(Received::FramesInVain(in_vain));
        }
        reading.inbound.work_ns += (frames + in_vain) * FRAME_WORK_NS;
        if peer_close.is_some() {
            self.over.get_or_insert(CloseReason::PeerClosed);
        }
        if let Err(failure) = result {
            reading.inbound.events.push(Received::Trouble(failure.text().to_owned()));
            self.close_code = Some(failure.close_code());
            self.finish(CloseReason::BadFrame);
        }
    }
}

/// Where received bytes come from, and what holds for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    /// What the listener takes.
    pub(super) front: &'a Front,
    /// Who sends.
    pub(super) peer: IpAddr,
    /// Whether there may be passwords in it: then what is kept of it on the way is overwritten.
    pub(super) secret: bool,
    /// A TLS handshake that may cost a signature is kept for a later turn.
    pub(super) keep_greeting: bool,
    /// The longest stanza in bytes.
    pub(super) max: usize,
    /// Seconds since 1970.
    pub(super) unix_s: u64,
}

struct Reading<'a> {
    front: &'a Front,
    peer: IpAddr,
    secret: bool,
    keep_greeting: bool,
    max: usize,
    unix_s: u64,
    inbound: &'a mut Inbound,
}

/// The code of a WebSocket's close (RFC 6455 section 7.4.1).
const fn close_code(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::Quit
        | CloseReason::PeerClosed
        | CloseReason::Broken
        | CloseReason::PolicyServed
        | CloseReason::RequestAnswered => 1000,
        CloseReason::Shutdown => 1001,
        CloseReason::BadFrame => 1002,
        CloseReason::StanzaTooLarge => 1009,
        CloseReason::Idle
        | CloseReason::TooManySessions
        | CloseReason::TooManyFromAddress
        | CloseReason::LoginTimeout
        | CloseReason::TooFast
        | CloseReason::FailedLogins
        | CloseReason::SlowReader
        | CloseReason::SlowReaderSoft
        | CloseReason::BacklogTotal
        | CloseReason::Kicked
        | CloseReason::Banned
        | CloseReason::PolicyOnly
        | CloseReason::RequestRefused
        | CloseReason::TlsBroken
        | CloseReason::NoTls
        | CloseReason::TlsRequired
        | CloseReason::SwitchedOff
        | CloseReason::BadProxyHeader => 1008,
    }
}
