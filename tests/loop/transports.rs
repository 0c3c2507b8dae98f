//! Connections that do not simply send stanzas: WebSockets, requests and what is refused, and how
//! each of them ends.

use std::net::{IpAddr, Ipv4Addr};

use palabre::config::Web;
use palabre::hub::Time;
use palabre::limits::{Limits, PING_ANSWER_TIME_S, TRANSPORT_READ_BYTES_PER_TURN};
use palabre::net::transport::Front;

use crate::frames::masked;
use crate::house::{House, Peer, ROOM, checked, logged};
use crate::pipe::{Received, Room};
use crate::requests::hosts;

const HEAD: &str = "GET /any HTTP/1.1\r\nHost: chat.example:2468\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The answer to the key above (RFC 6455 section 1.3), behind its date.
const ACCEPTED: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What stands behind the answer that accepts a WebSocket.
#[track_caller]
fn behind_accepted(answer: &[u8]) -> &[u8] {
    let dated = answer
        .strip_prefix(b"HTTP/1.1 101 Switching Protocols\r\nDate: Thu, 01 Jan 1970 00:0")
        .and_then(|rest| rest.get("0:00 GMT\r\n".len()..));
    let behind = dated.and_then(|rest| rest.strip_prefix(ACCEPTED.as_bytes()));
    behind.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(answer)))
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// All that has come for a client, as it came.
fn raw(peer: &Peer) -> Vec<u8> {
    match peer.pipe.borrow_mut().receive(usize::MAX) {
        Received::Bytes(bytes) => bytes,
        Received::Nothing | Received::End | Received::Reset => Vec::new(),
    }
}

/// Frames of a server: the first byte and the payload.
fn unframed(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            0..126 => (usize::from(*length), rest),
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            _ => panic!("no frame here is so long, and none is masked"),
        };
        frames.push((*first, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "half a frame");
    frames
}

/// A client that has opened a WebSocket.
struct Browser {
    peer: Peer,
}

impl Browser {
    fn open(house: &mut House) -> Self {
        Self::open_with(house, ROOM)
    }

    fn open_with(house: &mut House, room: Room) -> Self {
        let peer = house.connect_with(room);
        peer.send_bytes(format!("{HEAD}\r\n").as_bytes());
        house.settle();
        assert_eq!(behind_accepted(&raw(&peer)), b"");
        Self { peer }
    }

    fn send(&self, first: u8, payload: &[u8]) {
        self.peer.send_bytes(&masked(first, payload));
    }

    fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        unframed(&raw(&self.peer))
    }

    /// The stanzas of texts, checked by a strict parser.
    fn texts(&self) -> Vec<String> {
        let text = |(first, payload): (u8, Vec<u8>)| {
            assert_eq!(first, TEXT);
            checked(&payload)
        };
        self.frames().into_iter().map(text).collect()
    }

    fn log_in(&self, house: &mut House, nick: &str) {
        self.send(TEXT, format!("<connect nickname='{nick}'/>").as_bytes());
        house.settle();
        assert_eq!(
            self.texts(),
            [format!("<connect isok='1' msg='Your nickname is now : {nick}'/>")]
        );
    }

    /// What came last is a close with this code, and the end of the stream.
    #[track_caller]
    fn assert_closed(&self, code: u16) -> Vec<(u8, Vec<u8>)> {
        let mut frames = self.frames();
        assert_eq!(frames.pop(), Some((CLOSE, code.to_be_bytes().to_vec())));
        assert_eq!(self.peer.pipe.borrow_mut().receive(1), Received::End);
        frames
    }
}

fn house() -> House {
    house_of(Limits::default())
}

fn house_of(limits: Limits) -> House {
    let mut house = House::with_limits(limits);
    house.server.set_front(front(Web::default()));
    house
}

fn house_with(web: Web) -> House {
    let mut house = house();
    house.server.set_front(front(web));
    house
}

/// What a listener on all addresses takes that is known as `chat.example` besides.
fn front(web: Web) -> Front {
    let certificate_hosts = hosts("chat.example");
    let addresses = vec![Ipv4Addr::UNSPECIFIED.into()];
    Front { web, certificate_hosts, addresses, ..Front::default() }
}

/// What a request gets that is not a WebSocket's: the status line and the body.
fn request(house: &mut House, request: &str) -> (String, String) {
    let peer = house.connect();
    peer.send_bytes(request.as_bytes());
    house.settle();
    let answer = String::from_utf8(raw(&peer)).expect("answers are text");
    assert_eq!(peer.pipe.borrow_mut().receive(1), Received::End, "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let length = format!("Content-Length: {}\r\n", body.len());
    let head_only = request.starts_with("HEAD");
    assert!(if head_only { body.is_empty() } else { head.contains(&length) }, "{answer}");
    assert!(head.contains("\r\nDate: Thu, 01 Jan 1970 00:00:0"), "{answer}");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[track_caller]
fn assert_status(house: &mut House, text: &str, status: &str) {
    let (line, _) = request(house, text);
    assert_eq!(line, format!("HTTP/1.1 {status}"), "{text}");
}

#[test]
fn a_text_session_has_a_stanza_in_each_text_and_no_nul() {
    let mut house = house();
    let mut raw_peer = house.member("Raw", ROOM);
    let web = Browser::open(&mut house);
    web.log_in(&mut house, "Web");
    web.send(TEXT, b"<join room='R'/>");
    house.settle();
    assert_eq!(web.texts().len(), 4);
    raw_peer.frames();
    // A NUL at the end is none too many, two stanzas in a text are two.
    web.send(TEXT, b"<m r='R'>one</m>\0");
    web.send(TEXT, b"<m r='R'>two</m>\0<m r='R'>three</m>");
    raw_peer.send("<m r='R'>four</m>");
    raw_peer.send("<m r='R'>five</m>");
    house.settle();
    assert_eq!(
        raw_peer.frames(),
        ["one", "two", "three"].map(|text| format!("<m f=\"Web\" r=\"R\">{text}</m>"))
    );
    assert_eq!(
        web.texts(),
        ["four", "five"].map(|text| format!("<m f=\"Raw\" r=\"R\">{text}</m>"))
    );
}

#[test]
fn binary_frames_are_a_stream_of_bytes_and_each_stanza_comes_in_one_with_its_nul() {
    let mut house = house();
    let web = Browser::open(&mut house);
    // As Ruffle sends: the edges of frames mean nothing.
    web.send(BINARY, b"<connect nickn");
    web.send(BINARY, b"ame='Movie'/>\0<join room='R'/>\0<m r='R' b='1'>");
    web.send(0x02, b"a");
    web.send(0x80, b"</m>\0");
    house.settle();
    let frames = web.frames();
    assert_eq!(frames.len(), 6);
    for (first, payload) in &frames {
        assert_eq!(*first, BINARY);
        assert_eq!(payload.iter().position(|&byte| byte == 0), Some(payload.len() - 1));
    }
    assert_eq!(frames[5].1, b"<m f=\"Movie\" r=\"R\">a</m>\0");
}

#[test]
fn a_handshake_may_come_byte_by_byte_and_frames_right_behind_it() {
    let mut house = house();
    let bytes = [format!("{HEAD}\r\n").as_bytes(), &masked(TEXT, b"<ping/>")].concat();
    for chunk in [1, 7, bytes.len()] {
        let peer = house.connect();
        for part in bytes.chunks(chunk) {
            peer.send_bytes(part);
            house.settle();
        }
        let received = raw(&peer);
        let frames = behind_accepted(&received);
        let error = b"<error>You must login first</error>".to_vec();
        assert_eq!(unframed(frames), [(TEXT, error)]);
    }
}

#[test]
fn pings_are_answered_and_a_quit_ends_with_1000() {
    let mut house = house();
    let web = Browser::open(&mut house);
    web.send(PING, b"there?");
    web.send(PONG, b"unasked");
    house.settle();
    assert_eq!(web.frames(), [(PONG, b"there?".to_vec())]);
    web.send(TEXT, b"<quit/>");
    web.send(TEXT, b"<ping/>");
    house.settle();
    assert_eq!(web.assert_closed(1000), []);
    web.send(CLOSE, &1000_u16.to_be_bytes());
    web.peer.pipe.borrow_mut().close();
    house.settle();
    assert_eq!(house.server.connections(), 0);
}

#[test]
fn what_stands_behind_a_quit_in_the_same_bytes_does_not_change_its_code() {
    let mut house = house();
    for behind in [masked(CLOSE, &4321_u16.to_be_bytes()), masked(0x83, b"x")] {
        let web = Browser::open(&mut house);
        web.peer.send_bytes(&[masked(TEXT, b"<quit/>"), behind].concat());
        house.settle();
        assert_eq!(web.assert_closed(1000), []);
    }
}

#[test]
fn a_close_is_answered_with_its_code_after_what_came_before_it() {
    let mut house = house();
    let mut other = house.member("B", ROOM);
    let web = Browser::open(&mut house);
    web.log_in(&mut house, "Web");
    web.send(TEXT, b"<m c='B'>last words</m>");
    web.send(CLOSE, &4321_u16.to_be_bytes());
    web.send(TEXT, b"<m c='B'>too late</m>");
    house.settle();
    assert_eq!(web.assert_closed(4321), []);
    assert_eq!(other.frames(), ["<m f=\"Web\">last words</m>"]);
    assert_eq!(logged("closed: it closed the connection").len(), 1);
}

#[test]
fn what_came_before_a_text_that_is_too_long_is_answered_first() {
    let limits = Limits { stanza_bytes_max: 100, ..Limits::default() };
    let mut house = house_of(limits);
    let web = Browser::open(&mut house);
    let bytes = [masked(TEXT, b"<connect nickname='A'/>"), masked(TEXT, b"<ping/>")];
    web.peer.send_bytes(&[&bytes.concat(), &masked(TEXT, &[b'x'; 102])[..]].concat());
    house.settle();
    assert_eq!(
        web.assert_closed(1009)
            .into_iter()
            .map(|(_, payload)| checked(&payload))
            .collect::<Vec<_>>(),
        [
            "<connect isok='1' msg='Your nickname is now : A'/>",
            "<pong />",
            "<error>Stanza too large (limit 100 bytes)</error>"
        ]
    );
}

#[test]
fn a_text_that_ends_in_a_nul_needs_no_other_wherever_its_last_fragment_ends() {
    let mut house = house();
    let web = Browser::open(&mut house);
    web.log_in(&mut house, "Web");
    web.send(0x01, b"<ping/>\0");
    web.send(0x80, b"");
    web.send(0x01, b"<ping/>");
    web.send(0x80, b"\0");
    web.send(0x01, b"<ping/>");
    web.send(0x80, b"");
    house.settle();
    assert_eq!(web.texts(), ["<pong />"; 3]);
}

#[test]
fn what_came_before_a_byte_that_is_no_utf8_is_answered_first() {
    let mut house = house();
    let web = Browser::open(&mut house);
    web.log_in(&mut house, "Web");
    web.send(TEXT, b"<ping/>\0gr\xc3\xbc\xc3");
    house.settle();
    assert_eq!(web.assert_closed(1007), [(TEXT, b"<pong />".to_vec())]);
}

#[test]
fn each_refusal_after_the_upgrade_has_its_error_and_its_code() {
    let limits = Limits { login_time_s: 3, stanza_bytes_max: 100, ..Limits::default() };
    let error = |text: &str| (TEXT, format!("<error>{text}</error>").into_bytes());
    let mut house = house_of(limits);

    let late = Browser::open(&mut house);
    house.run_until(Time::from_secs(3));
    let login = "<error>Login timed out (limit 3 s)</error>\0".as_bytes().to_vec();
    assert_eq!(late.assert_closed(1008), [(BINARY, login)]);

    let too_large = Browser::open(&mut house);
    too_large.send(TEXT, &[b'x'; 102]);
    house.settle();
    let limit = error("Stanza too large (limit 100 bytes)");
    assert_eq!(too_large.assert_closed(1009), std::slice::from_ref(&limit));

    // It is known from the header, and no byte of it has to come.
    let announced = Browser::open(&mut house);
    announced.peer.send_bytes(&[TEXT, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    house.settle();
    assert_eq!(announced.assert_closed(1009), [limit]);

    for (bytes, code, reason) in [
        (&[BINARY, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4][..], 1002, "longer than there"),
        (&[TEXT, 1, b'x'], 1002, "without a mask"),
        (&masked(0xc1, b"x"), 1002, "reserved bit"),
        (&masked(TEXT, b"\xff"), 1007, "not UTF-8"),
    ] {
        let web = Browser::open(&mut house);
        web.peer.send_bytes(bytes);
        house.settle();
        assert_eq!(web.assert_closed(code), [], "{reason}");
        assert_eq!(logged(reason).len(), 1, "{reason}");
    }

    let stopped = Browser::open(&mut house);
    stopped.send(TEXT, b"<ping/>");
    house.settle();
    stopped.texts();
    house.stop();
    house.settle();
    let down = error("### Server is now going down ... ###");
    assert_eq!(stopped.assert_closed(1001), [down]);
}

#[test]
fn a_silent_websocket_is_asked_and_closed_when_it_does_not_answer() {
    let limits = Limits { idle_time_s: 60, login_time_s: 0, ..Limits::default() };
    let mut house = house_of(limits);
    let web = Browser::open(&mut house);
    let mut plain = house.connect();
    plain.send("<help/>");
    house.run_until(Time::from_secs(40));
    plain.frames();
    web.send(TEXT, b"<quit");
    web.send(PONG, b"");
    house.run_until(Time(Time::from_secs(100).0 - 1));
    assert_eq!(web.frames(), [(TEXT, b"<error>This is not a valid XML string</error>".to_vec())]);
    house.run_until(Time::from_secs(100));
    assert_eq!(web.frames(), [(PING, vec![])]);
    web.send(PONG, b"");
    house.run_until(Time::from_secs(159));
    assert_eq!(web.frames(), []);
    house.run_until(Time::from_secs(161));
    assert_eq!(web.frames(), [(PING, vec![])]);
    house.run_until(Time::from_secs(160 + PING_ANSWER_TIME_S));
    assert_eq!(web.assert_closed(1008), []);
    assert_eq!(logged("closed: nobody answered the check").len(), 1);
    // A session of stanzas is never sent anything that it did not ask for.
    assert_eq!(plain.frames(), Vec::<String>::new());
}

#[test]
fn each_request_gets_its_status() {
    let mut house = house();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (status, body) = request(&mut house, &get("/"));
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.starts_with("<!doctype html>"), "{body}");
    let (_, body) = request(&mut house, &get("/?again"));
    assert!(body.starts_with("<!doctype html>"), "{body}");
    let (_, body) = request(&mut house, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(body, "");
    let (status, body) = request(&mut house, &get("/healthz"));
    assert_eq!((&*status, &*body), ("HTTP/1.1 200 OK", "palabre 1.0.0\n"));
    assert_status(&mut house, &get("/palabre.js"), "200 OK");
    assert_status(&mut house, &get("/favicon.ico"), "404 Not Found");
    for (method, status) in [
        ("POST", "405 Method Not Allowed"),
        ("PUT", "405 Method Not Allowed"),
        ("OPTIONS", "405 Method Not Allowed"),
        ("BREW", "501 Not Implemented"),
        // As a page may spell it in what it sends to its own host.
        ("patch", "501 Not Implemented"),
        ("x", "501 Not Implemented"),
        (&*"x".repeat(60), "501 Not Implemented"),
    ] {
        let text = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n<quit/>\0<help/>\0");
        assert_status(&mut house, &text, status);
    }
    assert_status(&mut house, "GET /\0 HTTP/1.1\r\n\r\n", "400 Bad Request");
    assert_status(&mut house, "PRI * HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported");
    let fields = "431 Request Header Fields Too Large";
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(65_000));
    assert_status(&mut house, &long, fields);
    assert_status(&mut house, &long[..40_000], fields);
    // Whatever stands so far behind is not looked at.
    assert_status(&mut house, &long.replace("\r\n\r\n", "\0"), fields);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    assert_status(&mut house, &many, fields);
    // Not from loopback.
    assert_status(&mut house, &get("/metrics"), "403 Forbidden");
}

#[test]
fn each_bad_handshake_gets_its_status() {
    let mut house = house();
    let with = |from: &str, to: &str| {
        assert!(HEAD.contains(from));
        format!("{}\r\n", HEAD.replacen(from, to, 1))
    };
    let bad = "400 Bad Request";
    for (text, status) in [
        (with("Host: chat.example:2468\r\n", ""), bad),
        (with("keep-alive, Upgrade", "keep-alive"), bad),
        (with("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"), "426 Upgrade Required"),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "short"), bad),
        // There it means nothing (RFC 9110 section 7.8).
        (with("HTTP/1.1", "HTTP/1.0"), "404 Not Found"),
        (with("GET", "HEAD"), "404 Not Found"),
        (with("Version: 13", "Version: 13, 8"), "426 Upgrade Required"),
        (with("Upgrade: websocket", "Upgrade: websocket\r\nContent-Length: 1"), bad),
        (with("Upgrade: websocket", "Upgrade: websocket\r\nTransfer-Encoding: chunked"), bad),
        (with("GET", "POST"), "405 Method Not Allowed"),
    ] {
        assert_status(&mut house, &text, status);
    }
}

#[test]
fn a_request_that_does_not_come_in_time_is_told_so() {
    let limits = Limits { login_time_s: 3, ..Limits::default() };
    let mut house = house_of(limits);
    let half = house.connect();
    half.send_bytes(b"GET / HT");
    let silent = house.connect();
    house.run_until(Time::from_secs(3));
    let answer = String::from_utf8(raw(&half)).expect("text");
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    // Nobody knows what it would have spoken.
    assert_eq!(raw(&silent), b"<error>Login timed out (limit 3 s)</error>\0");
    let half = house.connect();
    half.send_bytes(b"GET / HT");
    house.settle();
    house.stop();
    house.settle();
    let answer = String::from_utf8(raw(&half)).expect("text");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
}

#[test]
fn a_subprotocol_is_answered_only_when_one_was_offered() {
    let mut house = house();
    let peer = house.connect();
    peer.send_bytes(format!("{HEAD}Sec-WebSocket-Protocol: binary, other\r\n\r\n").as_bytes());
    house.settle();
    let answer = String::from_utf8(raw(&peer)).expect("text");
    assert!(answer.ends_with("\r\nSec-WebSocket-Protocol: binary\r\n\r\n"), "{answer}");
}

#[test]
fn pages_of_the_own_host_and_of_listed_origins_may_connect() {
    let web = Web { origins: vec!["https://games.example".to_owned()], ..Web::default() };
    let mut house = house_with(web);
    for (origin, allowed) in [
        ("http://chat.example", true),
        ("https://CHAT.example:8443", true),
        ("https://games.example", true),
        ("https://games.example:444", false),
        ("https://evil.example", false),
        ("https://chat.example.evil.example", false),
        ("null", false),
    ] {
        let peer = house.connect();
        peer.send_bytes(format!("{HEAD}Origin: {origin}\r\n\r\n").as_bytes());
        house.settle();
        let answer = String::from_utf8(raw(&peer)).expect("text");
        let status = if allowed { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
        assert!(answer.starts_with(status), "{origin}: {answer}");
    }
    let advice = "write under [web]: origins = https://games.example https://evil.example";
    assert_eq!(logged(advice).len(), 1);
    let any = Web { origins: vec!["*".to_owned()], ..Web::default() };
    house.server.set_front(front(any));
    let peer = house.connect();
    peer.send_bytes(format!("{HEAD}Origin: null\r\n\r\n").as_bytes());
    house.settle();
    assert_eq!(behind_accepted(&raw(&peer)), b"");
}

#[test]
fn each_kind_can_be_switched_off() {
    let get = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut house = house_with(Web { page: false, ..Web::default() });
    assert_status(&mut house, get, "404 Not Found");
    assert_status(&mut house, health, "200 OK");
    Browser::open(&mut house);

    let mut house = house_with(Web { websocket: false, ..Web::default() });
    assert_status(&mut house, get, "404 Not Found");
    assert_status(&mut house, health, "200 OK");
    assert_status(&mut house, &format!("{HEAD}\r\n"), "403 Forbidden");

    let mut house = house_with(Web { http: false, ..Web::default() });
    assert_status(&mut house, get, "403 Forbidden");
    assert_status(&mut house, &format!("{HEAD}\r\n"), "403 Forbidden");
    house.member("A", ROOM);

    let mut house = house_with(Web { stanzas: false, ..Web::default() });
    Browser::open(&mut house).log_in(&mut house, "Web");
    let mut plain = house.connect();
    plain.send("<connect nickname='Plain'/>");
    house.settle();
    assert_eq!(
        plain.frames(),
        ["<error>Stanzas outside a WebSocket are switched off here</error>"]
    );
    plain.assert_then(Received::End);
}

#[test]
fn tls_without_a_certificate_is_an_alert() {
    let mut house = house();
    let peer = house.connect();
    peer.send_bytes(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    house.settle();
    assert_eq!(raw(&peer), [0x15, 3, 3, 0, 2, 2, 40]);
    assert_eq!(peer.pipe.borrow_mut().receive(1), Received::End);
    assert_eq!(logged("TLS without a certificate").len(), 1);
}

#[test]
fn a_connection_with_a_transport_is_read_so_much_in_a_turn() {
    let mut house = house();
    let web = Browser::open(&mut house);
    let before = house.server.metrics().bytes_in;
    web.send(TEXT, format!("<ping>{}</ping>", "x".repeat(40_000)).as_bytes());
    let mut read = Vec::new();
    while read.iter().sum::<u64>() < 40_000 {
        let before = house.server.metrics().bytes_in;
        house.turn();
        read.extend(Some(house.server.metrics().bytes_in - before).filter(|&bytes| bytes > 0));
    }
    let most = TRANSPORT_READ_BYTES_PER_TURN as u64;
    assert_eq!(read[..2], [most, most]);
    house.settle();
    assert!(house.server.metrics().bytes_in - before > 40_000);
}

#[test]
fn a_slow_websocket_is_cut_off_as_any_slow_reader_and_others_get_their_frames() {
    let limits = Limits {
        backlog_bytes_max: 10_000,
        backlog_soft_bytes_max: 10_000,
        stanza_rate_per_s: 0,
        ..Limits::default()
    };
    let mut house = house_of(limits);
    let deaf = Browser::open_with(&mut house, Room { up: 1 << 20, down: 1_000 });
    deaf.log_in(&mut house, "Deaf");
    deaf.send(TEXT, b"<join room='R'/>");
    let web = Browser::open(&mut house);
    web.log_in(&mut house, "Web");
    web.send(TEXT, b"<join room='R'/>");
    house.settle();
    web.texts();
    let mut a = house.member("A", ROOM);
    a.frames();
    for number in 0..600 {
        a.send(&format!("<m r='R'>{number}</m>"));
    }
    house.settle();
    let said: Vec<String> =
        web.texts().into_iter().filter(|text| text.starts_with("<m ")).collect();
    let expected: Vec<String> =
        (0..600).map(|number| format!("<m f=\"A\" r=\"R\">{number}</m>")).collect();
    assert_eq!(said, expected);
    assert_eq!(logged("\"Deaf\" from 10.0.0.1 closed: slow reader").len(), 1);
}

/// Frames in which no stanza ends, of each kind, as often as somebody likes.
fn frames_in_vain() -> [(&'static str, Vec<u8>); 6] {
    let many = |first: u8, payload: &[u8]| masked(first, payload).repeat(50_000);
    [
        ("pings", many(PING, b"")),
        ("pings that say something", many(PING, b"are you there?")),
        ("pongs", many(PONG, b"")),
        ("empty frames of bytes", many(BINARY, b"")),
        ("bytes one by one", many(BINARY, b"x")),
        ("parts of a text", [masked(0x01, b"<"), many(0x00, b"")].concat()),
    ]
}

#[test]
fn frames_that_are_no_stanzas_are_read_at_the_rate_of_stanzas_and_hold_nobody_up() {
    for (what, frames) in frames_in_vain() {
        let mut house = house();
        let mut polite = house.member("Polite", ROOM);
        let web = Browser::open(&mut house);
        house.run_until(Time::from_secs(60));
        let starts_at = house.now();
        web.peer.send_bytes(&frames);
        let mut told = Vec::new();
        for turn in 0.. {
            if web.peer.pipe.borrow().shut_at.is_some() {
                break;
            }
            let asks = turn % 20 == 0;
            if asks {
                polite.send("<ping/>");
            }
            house.turn();
            let answer = if asks { &["<pong />"][..] } else { &[] };
            assert_eq!(polite.frames(), answer, "{what}: in the turn in which it asks");
            told.extend(web.frames().into_iter().filter(|frame| frame.0 != PONG));
        }
        let lasted = house.now().since(starts_at).as_secs();
        assert!((10..20).contains(&lasted), "{what}: {lasted} s");
        let error = "<error>Too many stanzas (limit 200 per second)</error>";
        let texts = told.iter().map(|(_, payload)| String::from_utf8_lossy(payload));
        assert_eq!(texts.filter(|text| text.starts_with(error)).count(), 1, "{what}: {told:?}");
        assert_eq!(told.last(), Some(&(CLOSE, 1008_u16.to_be_bytes().to_vec())), "{what}");
        assert_eq!(logged("closed: over limits.stanzarate for too long").len(), 1, "{what}");
    }
}

#[test]
fn pings_and_parts_at_a_polite_rate_are_free() {
    let mut house = house();
    let web = Browser::open(&mut house);
    web.log_in(&mut house, "Web");
    for second in 0..30 {
        house.run_until(Time::from_secs(second));
        for _ in 0..30 {
            web.send(PING, b"");
            web.send(0x01, b"<pi");
            web.send(0x00, b"n");
            web.send(0x80, b"g/>");
        }
        house.settle();
        let pongs = web.frames().into_iter().filter(|(first, _)| *first == PONG).count();
        assert_eq!(pongs, 30);
    }
}

#[test]
fn metrics_tell_what_is_and_what_has_been() {
    let mut house = house();
    let member = house.member("A", ROOM);
    Browser::open(&mut house).log_in(&mut house, "Web");
    let _silent = house.connect();
    member.send("<nothing/>");
    member.send("<m toclient='Nobody'/>");
    house.member("B", ROOM).send("<quit/>");
    house.settle();
    let scraper = house.connect_to(0, IpAddr::V4(Ipv4Addr::LOCALHOST), ROOM);
    scraper.send_bytes(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    house.settle();
    let answer = String::from_utf8(raw(&scraper)).expect("it is text");
    assert!(answer.contains("\r\nContent-Type: text/plain; version=0.0.4"), "{answer}");
    for line in [
        "palabre_sessions{transport=\"stanzas\"} 1",
        "palabre_sessions{transport=\"websocket\"} 1",
        // One that has said nothing, and the request itself.
        "palabre_sessions{transport=\"undecided\"} 2",
        "palabre_sessions{transport=\"websocket_tls\"} 0",
        "palabre_rooms 1",
        "palabre_logins_total 3",
        "palabre_refusals_total{reason=\"unknown_stanza\"} 1",
        "palabre_refusals_total{reason=\"unknown_target\"} 1",
        "palabre_closes_total{reason=\"quit\"} 1",
    ] {
        assert!(answer.lines().any(|found| found == line), "{line} is not in\n{answer}");
    }
    let turns = house.server.metrics().turns;
    let counted = house.server.metrics().turn_time.count();
    assert_eq!(turns, counted, "each turn has its time");
}

#[test]
fn the_address_of_a_peer_that_is_no_proxy_is_its_own() {
    let mut house = house();
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let peer = house.connect_to(0, address, ROOM);
    peer.send_bytes(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    house.settle();
    assert!(raw(&peer).starts_with(b"HTTP/1.1 200 OK\r\n"));
    let forger = house.connect();
    forger.send_bytes(
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n",
    );
    house.settle();
    assert!(raw(&forger).starts_with(b"HTTP/1.1 403 Forbidden\r\n"));
    // A header of the PROXY protocol is no stanza.
    let mut forger = house.connect();
    forger.send("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n<help/>");
    house.settle();
    assert_eq!(forger.frames(), ["<error>This is not a valid XML string</error>"]);
}

/// The header of the PROXY protocol, version 2, of 192.0.2.2.
const BINARY_HEADER: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x02\x0a\0\0\x01\xdc\x04\x09\xa4";

#[test]
fn a_trusted_proxy_tells_whose_connection_it_is_in_any_pieces_and_before_anything() {
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
    let trusted_proxies = vec!["10.9.9.9/32".parse().expect("a network")];
    let mut house = house_with(Web { trusted_proxies, ..Web::default() });
    let text_header = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 2468\r\n";
    for (header, nick, address) in
        [(&text_header[..], "A", "192.0.2.1"), (BINARY_HEADER, "B", "192.0.2.2")]
    {
        let mut peer = house.connect_to(0, proxy, ROOM);
        for byte in header {
            peer.send_bytes(&[*byte]);
            house.settle();
        }
        peer.send(&format!("<connect nickname='{nick}'/>"));
        house.settle();
        assert_eq!(
            peer.frames(),
            [format!("<connect isok='1' msg='Your nickname is now : {nick}'/>")]
        );
        let logged_in = format!("\"{nick}\" from {address} logged in");
        assert_eq!(logged(&logged_in).len(), 1, "{logged_in}");
    }
    // Without a header the address is the proxy's, and a request has a header of its own.
    for (head, status) in [
        ("X-Forwarded-For: 203.0.113.9, 127.0.0.1\r\n", "200 OK"),
        ("X-Forwarded-For: 127.0.0.1, 192.0.2.1, 10.9.9.9\r\n", "403 Forbidden"),
        ("X-Forwarded-For: 127.0.0.1, nobody\r\n", "403 Forbidden"),
        ("", "403 Forbidden"),
    ] {
        let peer = house.connect_to(0, proxy, ROOM);
        peer.send_bytes(
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{head}\r\n").as_bytes(),
        );
        house.settle();
        let answer = String::from_utf8(raw(&peer)).expect("it is text");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}: {answer}");
    }
    let mut broken = house.connect_to(0, proxy, ROOM);
    broken.send("PROXY TCP4 nobody 10.0.0.1 56324 2468\r\n<help/>");
    house.settle();
    assert_eq!(broken.frames(), Vec::<String>::new());
    broken.assert_then(Received::End);
    assert_eq!(logged("no PROXY header where one began").len(), 1);
}

#[test]
fn a_trusted_proxy_names_the_client_and_nobody_else_can() {
    let proxy = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let trusted = vec![palabre::networks::parse("192.0.2.1").expect("an address")];
    let metrics = vec![palabre::networks::parse("198.51.100.7").expect("an address")];
    let web = Web { trusted_proxies: trusted, metrics, ..Web::default() };
    let mut house = house_with(web);
    let mut status = |bytes: &[u8]| {
        let peer = house.connect_to(0, proxy, ROOM);
        for byte in bytes {
            peer.send_bytes(&[*byte]);
        }
        house.settle();
        String::from_utf8_lossy(&raw(&peer)).lines().next().map(str::to_owned)
    };
    let get = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n";
    let (yes, no) = (Some("HTTP/1.1 200 OK".to_owned()), Some("HTTP/1.1 403 Forbidden".to_owned()));
    for (head, expected) in [
        ("\r\n", &no),
        ("X-Forwarded-For: 198.51.100.7\r\n\r\n", &yes),
        ("X-Forwarded-For: 198.51.100.7, 203.0.113.9\r\n\r\n", &no),
        ("X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n\r\n", &yes),
    ] {
        assert_eq!(status(format!("{get}{head}").as_bytes()), *expected, "{head}");
    }
    let v1 = "PROXY TCP4 198.51.100.7 192.0.2.9 4000 2468\r\n";
    assert_eq!(status(format!("{v1}{get}\r\n").as_bytes()), yes);
    let forged = format!("{v1}{get}X-Forwarded-For: 198.51.100.7\r\n\r\n");
    assert_eq!(status(forged.replace("TCP4 198", "TCP4 199").as_bytes()), no, "it is no proxy");
    let v2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[198, 51, 100, 7, 192, 0, 2, 9, 15, 160, 9, 164],
    ];
    assert_eq!(status(&[&v2.concat(), format!("{get}\r\n").as_bytes()].concat()), yes);

    // The log, and stanzas behind the header.
    let mut peer = house.connect_to(0, proxy, ROOM);
    peer.send_bytes(v1.as_bytes());
    peer.send("<connect nickname='A'/>");
    house.settle();
    assert_eq!(peer.frames(), ["<connect isok='1' msg='Your nickname is now : A'/>"]);
    assert_eq!(logged("\"A\" from 198.51.100.7 logged in").len(), 1);
    let broken = house.connect_to(0, proxy, ROOM);
    broken.send_bytes(b"PROXY TCP9 nobody\r\n");
    house.settle();
    assert_eq!(broken.pipe.borrow_mut().receive(1), Received::End);
    assert_eq!(logged("closed: no PROXY header where one began").len(), 1);
}

#[test]
fn a_websocket_from_an_address_with_too_many_is_refused_and_nothing_is_left_of_it() {
    let trusted = vec![palabre::networks::parse("192.0.2.1").expect("an address")];
    let limits = Limits { sessions_per_address_max: 1, ..Limits::default() };
    let mut house = House::with_limits(limits);
    let web = Web { trusted_proxies: trusted, ..Web::default() };
    house.server.set_front(front(web));
    let client = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
    let _first = house.connect_to(0, client, ROOM);
    let peer = house.connect_to(0, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), ROOM);
    peer.send_bytes(format!("{HEAD}X-Forwarded-For: {client}\r\n\r\n").as_bytes());
    // Each turn's invariants would find a deadline of nobody's.
    house.settle();
    let received = raw(&peer);
    let frames = behind_accepted(&received);
    let error = b"<error>Too many sessions from your address (limit 1)</error>\0".to_vec();
    let close = 1008_u16.to_be_bytes().to_vec();
    assert_eq!(unframed(frames), [(BINARY, error), (CLOSE, close)]);
}
