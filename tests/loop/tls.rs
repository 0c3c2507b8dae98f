//! TLS on the port: stanzas, requests and WebSockets in it, and what is refused.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::sync::Arc;

use palabre::config::{Authority, KnownHost, Tls, Web};
use palabre::hub::Time;
use palabre::limits::{EARLY_BYTES_MAX, Limits};
use palabre::net::transport::{Front, TlsConfig};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::crypto::ring;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

use crate::house::{House, Peer, ROOM, checked, logged};
use crate::pipe::{Received, Room};

/// What a signature is reckoned to take: as with RSA 2048.
const SIGNATURE_NS: u64 = 1_000_000;

/// Both sides of a certificate that is made for one test.
pub(crate) struct Certificate {
    server: Arc<ServerConfig>,
    roots: RootCertStore,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("TLS has what it needs");
        let params = CertificateParams::new(["chat.example".to_owned()]);
        let made = params.and_then(|params| params.self_signed(&pair));
        let chain = vec![made.expect("TLS has what it needs").der().clone()];
        let key = PrivatePkcs8KeyDer::from(pair.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).expect("TLS has what it needs");
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS has what it needs")
            .with_no_client_auth()
            .with_single_cert(chain, key.into())
            .expect("TLS has what it needs");
        Self { server: Arc::new(server), roots }
    }

    pub(crate) fn front(&self, required: bool) -> Front {
        let files = Tls { certificate: "c.pem".into(), key: "k.pem".into(), required };
        let web = Web { tls: Some(files), ..Web::default() };
        Front {
            web,
            tls: Some(TlsConfig { server: Arc::clone(&self.server), signature_ns: SIGNATURE_NS }),
            addresses: vec![Ipv4Addr::UNSPECIFIED.into()],
            certificate_hosts: vec![KnownHost::One(
                Authority::parse("chat.example").expect("a host"),
            )],
        }
    }

    fn house(&self, limits: Limits, required: bool) -> House {
        let mut house = House::with_limits(limits);
        house.server.set_front(self.front(required));
        house
    }

    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConnection {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("TLS has what it needs")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from("chat.example").expect("TLS has what it needs");
        ClientConnection::new(Arc::new(config), name).expect("TLS has what it needs")
    }
}

/// A client over TLS.
struct Client {
    peer: Peer,
    tls: ClientConnection,
    plain: Vec<u8>,
    ended: bool,
}

impl Client {
    fn connect(house: &mut House, certificate: &Certificate) -> Self {
        Self::connect_with(house, certificate.client(rustls::ALL_VERSIONS), ROOM)
    }

    fn connect_with(house: &mut House, tls: ClientConnection, room: Room) -> Self {
        let peer = house.connect_with(room);
        Self { peer, tls, plain: Vec::new(), ended: false }
    }

    /// Exchanges records until nothing moves.
    fn settle(&mut self, house: &mut House) {
        for _ in 0..20 {
            let mut out = Vec::new();
            while self.tls.wants_write() {
                self.tls.write_tls(&mut out).expect("TLS has what it needs");
            }
            if !out.is_empty() {
                self.peer.send_bytes(&out);
            }
            house.settle();
            let received = self.peer.pipe.borrow_mut().receive(usize::MAX);
            match received {
                Received::Bytes(bytes) => self.hear(&bytes),
                Received::Nothing | Received::End | Received::Reset if out.is_empty() => return,
                Received::Nothing | Received::End | Received::Reset => {}
            }
        }
        panic!("it does not come to rest");
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).expect("TLS has what it needs");
            let state = self.tls.process_new_packets().expect("TLS has what it needs");
            let start = self.plain.len();
            self.plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut self.plain[start..]).expect("TLS has what it needs");
            self.ended |= state.peer_has_closed();
        }
    }

    fn send(&mut self, text: &str) {
        self.tls.writer().write_all(text.as_bytes()).expect("TLS has what it needs");
    }

    fn stanzas(&mut self) -> Vec<String> {
        let bytes = std::mem::take(&mut self.plain);
        assert!(bytes.is_empty() || bytes.ends_with(b"\0"));
        bytes.split(|&byte| byte == 0).filter(|part| !part.is_empty()).map(checked).collect()
    }
}

#[test]
fn stanzas_in_tls_are_stanzas_in_both_versions() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), false);
    let mut plain = house.member("Plain", ROOM);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = Client::connect_with(&mut house, certificate.client(&[version]), ROOM);
        client.send("<connect nickname='Tls'/>\0<m c='Plain'>hello</m>\0<qui");
        client.settle(&mut house);
        assert_eq!(client.tls.protocol_version(), Some(version.version));
        assert_eq!(client.stanzas(), ["<connect isok='1' msg='Your nickname is now : Tls'/>"]);
        assert_eq!(plain.frames(), ["<m f=\"Tls\">hello</m>"]);
        client.send("t />\0");
        client.settle(&mut house);
        assert_eq!(client.stanzas(), Vec::<String>::new());
        assert!(client.ended, "the end is told by TLS as well");
        assert_eq!(client.peer.pipe.borrow_mut().receive(1), Received::End);
    }
    assert_eq!(logged("closed: it quit").len(), 2);
}

#[test]
fn a_stanza_of_many_records_comes_whole_both_ways() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), false);
    let mut client = Client::connect(&mut house, &certificate);
    client.send("<connect nickname='T'/>\0");
    client.settle(&mut house);
    client.stanzas();
    let body = "y".repeat(65_000);
    client.send(&format!("<m c='T'>{body}</m>\0"));
    client.settle(&mut house);
    assert_eq!(client.stanzas(), [format!("<m f=\"T\">{body}</m>")]);
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), false);
    let mut client = Client::connect(&mut house, &certificate);
    let mut hello = Vec::new();
    while client.tls.wants_write() {
        client.tls.write_tls(&mut hello).expect("TLS has what it needs");
    }
    for byte in hello {
        client.peer.send_bytes(&[byte]);
        house.settle();
    }
    client.send("<ping/>\0");
    client.settle(&mut house);
    assert_eq!(client.stanzas(), ["<error>You must login first</error>"]);
}

#[test]
fn requests_and_websockets_are_taken_in_tls() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), true);
    let mut client = Client::connect(&mut house, &certificate);
    client.send("GET /healthz HTTP/1.1\r\nHost: chat.example\r\n\r\n");
    client.settle(&mut house);
    let answer = String::from_utf8(client.plain.clone()).expect("TLS has what it needs");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(client.ended);

    let mut client = Client::connect(&mut house, &certificate);
    client.send(
        "GET / HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Origin: https://chat.example\r\n\r\n",
    );
    client.settle(&mut house);
    let answer =
        String::from_utf8(std::mem::take(&mut client.plain)).expect("TLS has what it needs");
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    // Under a mask of zeros, as which a text goes through: a ping and a quit.
    client
        .tls
        .writer()
        .write_all(b"\x89\x82\0\0\0\0hi\x81\x87\0\0\0\0<quit/>")
        .expect("TLS has what it needs");
    client.settle(&mut house);
    assert_eq!(client.plain, b"\x8a\x02hi\x88\x02\x03\xe8");
    assert!(client.ended);
}

#[test]
fn whoever_comes_without_tls_is_refused_where_it_is_required() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), true);
    let mut plain = house.connect();
    plain.send("<connect nickname='Plain' rootpass='secret'/>");
    house.settle();
    assert_eq!(plain.frames(), ["<error>TLS is required here</error>"]);
    plain.assert_then(Received::End);
    for (request, expected) in [
        ("GET /x HTTP/1.1\r\nHost: chat.example:2468\r\n\r\n", "HTTP/1.1 308 Permanent Redirect"),
        (
            "GET / HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 403 Forbidden",
        ),
        ("GET /x HTTP/1.0\r\n\r\n", "HTTP/1.1 403 Forbidden"),
        ("GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n", "HTTP/1.1 421 Misdirected Request"),
    ] {
        let peer = house.connect();
        peer.send_bytes(request.as_bytes());
        house.settle();
        let Received::Bytes(answer) = peer.pipe.borrow_mut().receive(usize::MAX) else {
            panic!("no answer to {request}");
        };
        let answer = String::from_utf8(answer).expect("TLS has what it needs");
        assert!(answer.starts_with(expected), "{answer}");
        let place = "\r\nLocation: https://chat.example:2468/x\r\n";
        assert_eq!(answer.contains(place), expected.contains("308"), "{answer}");
    }
}

#[test]
fn records_that_are_none_get_an_alert_and_a_handshake_that_stops_is_closed_in_time() {
    let certificate = Certificate::new();
    let limits = Limits { login_time_s: 3, ..Limits::default() };
    let mut house = certificate.house(limits, false);
    let garbage = house.connect();
    garbage.send_bytes(b"\x16\x03\x01\x00\x10garbage garbage ");
    house.settle();
    let Received::Bytes(alert) = garbage.pipe.borrow_mut().receive(usize::MAX) else {
        panic!("no alert");
    };
    assert_eq!((alert[0], alert.len()), (0x15, 7), "{alert:x?}");
    assert_eq!(garbage.pipe.borrow_mut().receive(1), Received::End);
    assert_eq!(logged("closed: TLS could not go on").len(), 1);

    let mut half = Client::connect(&mut house, &certificate);
    let mut hello = Vec::new();
    half.tls.write_tls(&mut hello).expect("TLS has what it needs");
    half.peer.send_bytes(&hello[..hello.len() / 2]);
    house.run_until(Time::from_secs(3));
    let Received::Bytes(alert) = half.peer.pipe.borrow_mut().receive(usize::MAX) else {
        panic!("no end of TLS");
    };
    assert_eq!(alert[0], 0x15, "no stanza goes out in the clear: {alert:x?}");
    assert_eq!(half.peer.pipe.borrow_mut().receive(1), Received::End);
    assert_eq!(logged("closed: no login within limits.logintime").len(), 1);
}

#[test]
fn a_new_certificate_is_for_new_connections_and_disturbs_nobody() {
    let old = Certificate::new();
    let new = Certificate::new();
    let mut house = old.house(Limits::default(), false);
    let mut before = Client::connect(&mut house, &old);
    before.send("<connect nickname='Before'/>\0");
    before.settle(&mut house);
    house.server.set_front(new.front(false));
    let settings = house.settings.clone();
    house.server.reload(settings);
    let mut after = Client::connect(&mut house, &new);
    after.send("<connect nickname='After'/>\0<m c='Before'>hello</m>\0");
    after.settle(&mut house);
    before.settle(&mut house);
    assert_eq!(before.stanzas()[1..], ["<m f=\"After\">hello</m>"]);
    assert_eq!(after.stanzas().len(), 1);
}

#[test]
fn a_reader_over_tls_that_is_slow_is_cut_off() {
    let certificate = Certificate::new();
    let limits = Limits {
        backlog_bytes_max: 20_000,
        backlog_soft_bytes_max: 20_000,
        stanza_bytes_max: 8_000,
        ..Limits::default()
    };
    let mut house = certificate.house(limits, false);
    let room = Room { up: 1 << 20, down: 4_000 };
    let mut deaf = Client::connect_with(&mut house, certificate.client(rustls::ALL_VERSIONS), room);
    deaf.send("<connect nickname='Deaf'/>\0<join room='R'/>\0");
    deaf.settle(&mut house);
    deaf.settle(&mut house);
    let a = house.member("A", ROOM);
    for _ in 0..6 {
        a.send(&format!("<m c='Deaf'>{}</m>", "z".repeat(5_000)));
        house.settle();
    }
    assert_eq!(logged("\"Deaf\" from 10.0.0.1 closed: slow reader").len(), 1);
}

/// The first flight of a client, as it is sent.
fn hello(certificate: &Certificate) -> Vec<u8> {
    let mut hello = Vec::new();
    let mut tls = certificate.client(rustls::ALL_VERSIONS);
    tls.write_tls(&mut hello).expect("TLS has what it needs");
    hello
}

fn is_greeted(peer: &Peer) -> bool {
    matches!(peer.pipe.borrow_mut().receive(usize::MAX), Received::Bytes(_))
}

/// A crowd of one address that says hello, and how many of it were greeted in the next turn.
struct Flood(Vec<Peer>);

impl Flood {
    fn connect(house: &mut House, count: usize) -> Self {
        let connect = || house.connect_to(0, [192, 0, 2, 1].into(), ROOM);
        let flood = Self(std::iter::repeat_with(connect).take(count).collect());
        house.settle();
        flood
    }

    fn greeted(&mut self) -> usize {
        let before = self.0.len();
        self.0.retain(|peer| !is_greeted(peer));
        before - self.0.len()
    }
}

#[test]
fn a_turn_makes_one_signature_and_those_of_one_address_keep_nobody_else_waiting() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), false);
    let mut polite = house.member("Polite", ROOM);
    let mut flood = Flood::connect(&mut house, 100);
    let stranger = house.connect();
    house.run_until(Time::from_secs(1));
    for peer in &flood.0 {
        peer.send_bytes(&hello(&certificate));
    }
    polite.send("<ping/>");
    house.turn();
    assert_eq!(polite.frames().pop().as_deref(), Some("<pong />"));
    assert!(flood.greeted() <= 1);
    // Each turn one of the flood is greeted; whoever else comes is, too, and comes first.
    let mut left = flood.0.len();
    for turn in 0..20 {
        polite.send("<ping/>");
        if turn == 10 {
            stranger.send_bytes(&hello(&certificate));
        }
        house.turn();
        assert_eq!(polite.frames(), ["<pong />"], "turn {turn}");
        assert_eq!(is_greeted(&stranger), turn == 10, "turn {turn}");
        let greeted = flood.greeted();
        assert!(greeted <= 1, "{greeted} in turn {turn}");
        left -= greeted;
    }
    assert!(left <= 82, "{left} of 100 are left");
    house.settle();
    assert_eq!(flood.greeted(), left, "in the end everybody is");
}

#[test]
fn a_newcomer_is_let_in_while_others_are_greeted() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), false);
    let mut flood = Flood::connect(&mut house, 100);
    house.run_until(Time::from_secs(1));
    for peer in &flood.0 {
        peer.send_bytes(&hello(&certificate));
    }
    let mut newcomer = Client::connect(&mut house, &certificate);
    newcomer.send("<connect nickname='New'/>\0");
    house.turn();
    for _ in 0..5 {
        let mut out = Vec::new();
        while newcomer.tls.wants_write() {
            newcomer.tls.write_tls(&mut out).expect("TLS has what it needs");
        }
        newcomer.peer.send_bytes(&out);
        house.turn();
        let received = newcomer.peer.pipe.borrow_mut().receive(usize::MAX);
        if let Received::Bytes(bytes) = received {
            newcomer.hear(&bytes);
        }
    }
    assert_eq!(newcomer.stanzas(), ["<connect isok='1' msg='Your nickname is now : New'/>"]);
    let greeted = flood.greeted();
    assert!(greeted <= 6, "{greeted} of the others");
}

#[test]
fn who_is_asked_to_begin_again_costs_a_signature_the_second_time() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), false);
    // The server takes no secp256r1 first, so a client that offers a share of that alone begins
    // again: with rustls by an order of its own.
    let mut provider = ring::default_provider();
    provider.kx_groups.retain(|group| group.name() != rustls::NamedGroup::X25519);
    let client = |house: &mut House| {
        let config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_safe_default_protocol_versions()
            .expect("TLS has what it needs")
            .with_root_certificates(certificate.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from("chat.example").expect("TLS has what it needs");
        let tls = ClientConnection::new(Arc::new(config), name).expect("TLS has what it needs");
        let peer = house.connect_to(0, [192, 0, 2, 1].into(), ROOM);
        Client { peer, tls, plain: Vec::new(), ended: false }
    };
    let mut clients = [client(&mut house), client(&mut house), client(&mut house)];
    house.settle();
    for client in &mut clients {
        client.send("<connect nickname='X'/>\0");
        client.settle(&mut house);
        assert_eq!(client.stanzas().len().min(1), 1);
    }
}

#[test]
fn no_more_of_a_handshake_is_held_than_may_be_however_it_is_cut() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), false);
    // A ClientHello of 65,535 bytes that never ends, in records of so many.
    let begin = [1, 0, 0xff, 0xff];
    for record_bytes in [1, 16, 1_000, 16_384] {
        let peer = house.connect();
        let mut sent = 0;
        for number in 0.. {
            let mut record = vec![0x16, 3, 1];
            record.extend(u16::try_from(record_bytes).expect("it is one").to_be_bytes());
            let place = number * record_bytes;
            record.extend((place..place + record_bytes).map(|at| begin.get(at).unwrap_or(&0)));
            peer.send_bytes(&record);
            sent += record.len();
            house.settle();
            if peer.is_dropped() || is_greeted(&peer) {
                break;
            }
        }
        let over = sent.checked_sub(EARLY_BYTES_MAX).expect("so much may be held");
        assert!(over <= record_bytes + 5, "{sent} bytes in records of {record_bytes}");
    }
    assert_eq!(logged("closed: TLS could not go on").len(), 4);
}

#[test]
fn a_hello_in_records_of_one_byte_is_one() {
    let certificate = Certificate::new();
    let mut house = certificate.house(Limits::default(), false);
    let hello = hello(&certificate);
    let peer = house.connect();
    for &byte in &hello[5..] {
        peer.send_bytes(&[0x16, 3, 1, 0, 1, byte]);
        house.settle();
    }
    let Received::Bytes(answer) = peer.pipe.borrow_mut().receive(usize::MAX) else {
        panic!("no answer");
    };
    assert_eq!(answer[0], 0x16, "a handshake that goes on: {answer:x?}");
}
