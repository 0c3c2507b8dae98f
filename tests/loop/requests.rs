//! Requests of HTTP: which hosts are the server's own, what RFC 9110 and RFC 9112 ask of every
//! answer, and what the operator is advised of.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palabre::config::{self, Arguments, KnownHost, Web};
use palabre::hub::Time;
use palabre::limits::{ADVICE_MAX, ADVICE_TIME_S, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, Limits};
use palabre::net::transport::Front;

use crate::house::{House, Peer, ROOM, logged};
use crate::pipe::Received;

const WEB_SOCKET: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a configuration with this line under `[web]` says.
#[track_caller]
pub(crate) fn configured(line: &str) -> Web {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(file, "[web]\n{line}\n").expect("a file");
    let arguments = Arguments { file: Some(file.path().to_owned()), ..Arguments::default() };
    config::load(&arguments).unwrap_or_else(|error| panic!("{line}: {error}")).web
}

/// These hosts, as `[web] hosts` names them.
pub(crate) fn hosts(text: &str) -> Vec<KnownHost> {
    configured(&format!("hosts = {text}")).hosts
}

/// A house that takes this.
fn house(front: Front) -> House {
    let mut house = House::with_limits(Limits::default());
    house.server.set_front(front);
    house
}

/// A house on loopback alone, as without a configuration.
fn plain_house() -> House {
    house(Front { addresses: vec![LOOPBACK], ..Front::default() })
}

fn received(peer: &Peer) -> String {
    match peer.pipe.borrow_mut().receive(usize::MAX) {
        Received::Bytes(bytes) => String::from_utf8(bytes).expect("answers are text"),
        Received::Nothing | Received::End | Received::Reset => String::new(),
    }
}

/// What this request gets, whole.
fn ask_from(house: &mut House, address: IpAddr, request: &str) -> String {
    let peer = house.connect_to(0, address, ROOM);
    peer.send_bytes(request.as_bytes());
    house.settle();
    let answer = received(&peer);
    peer.pipe.borrow_mut().close();
    answer
}

fn ask(house: &mut House, request: &str) -> String {
    ask_from(house, LOOPBACK, request)
}

/// The number of an answer's status.
#[track_caller]
fn status(answer: &str) -> u16 {
    let rest = answer.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    rest[..3].parse().expect("a number")
}

#[test]
fn a_host_that_nobody_has_written_down_is_refused_whatever_is_asked() {
    let web =
        Web { hosts: hosts("known.example *.wild.example port.example:8080"), ..Web::default() };
    let addresses = vec![
        LOOPBACK,
        Ipv4Addr::new(10, 1, 2, 3).into(),
        "2001:db8::1".parse::<Ipv6Addr>().expect("an address").into(),
    ];
    let certificate_hosts = hosts("cert.example *.cert.example");
    let mut house = house(Front { web, addresses, certificate_hosts, ..Front::default() });
    let known = [
        "127.0.0.1",
        "127.0.0.1:2468",
        "127.0.0.2",
        "[::1]:99",
        "localhost",
        "LocalHost:1",
        "localhost.",
        "a.localhost",
        "10.1.2.3",
        "10.1.2.3:80",
        "[::ffff:10.1.2.3]",
        "[2001:DB8:0::1]",
        "known.example",
        "KNOWN.Example:2468",
        "known.example.:1",
        "a.wild.example",
        "port.example:8080",
        "cert.example",
        "x.cert.example:1",
    ];
    let foreign = [
        "rebound.example",
        "rebound.example:2468",
        "10.1.2.4",
        "8.8.8.8",
        "[2001:db8::2]",
        "0.0.0.0",
        "shelf",
        "localhost.evil",
        "a.known.example",
        "known.example.evil",
        "wild.example",
        "a.b.wild.example",
        "port.example",
        "port.example:80",
        "xcert.example",
        "a.b.cert.example",
    ];
    for host in known {
        assert_known(&mut house, host, true);
    }
    for host in foreign {
        assert_known(&mut house, host, false);
    }
}

/// Checks that the requests for a host are served, or refused where it is not known.
fn assert_known(house: &mut House, host: &str, is_known: bool) {
    for (what, expected) in [
        ("GET /", 200),
        ("HEAD /", 200),
        ("GET /palabre.js", 200),
        ("GET /healthz", 200),
        ("GET /metrics", 200),
        ("GET /nothing", 404),
        ("POST /", 405),
    ] {
        let answer = ask(house, &format!("{what} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let looks = what == "GET /healthz" || what == "GET /metrics" && !host.contains(['.', ':']);
        let expected = if is_known || looks { expected } else { 421 };
        assert_eq!(status(&answer), expected, "{what} of {host}");
        // What the URL itself names counts, not what stands beside it.
        let (method, path) = what.split_once(' ').expect("two words");
        let answer = ask(
            house,
            &format!("{method} http://{host}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
        assert_eq!(status(&answer), expected, "{method} of http://{host}{path}");
        let answer = ask(
            house,
            &format!("{method} http://127.0.0.1{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        );
        assert_ne!(status(&answer), 421, "{host} beside the URL");
    }
    let same = format!("Origin: http://{host}\r\n");
    for (path, origin) in [("/", ""), ("/", &same), ("/healthz", ""), ("/healthz", &same)] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        let answer = ask(house, &format!("{head}{WEB_SOCKET}{origin}\r\n"));
        let expected = if is_known { 101 } else { 421 };
        assert_eq!(status(&answer), expected, "{host} {path} {origin}");
    }
}

#[test]
fn who_listens_on_all_addresses_is_found_under_any_and_under_no_name() {
    for all in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
        let mut house = house(Front { addresses: vec![all], ..Front::default() });
        for (host, expected) in [
            ("192.0.2.1:2468", 200),
            ("[2001:db8::1]", 200),
            ("rebound.example", 421),
            ("192.0.2.1.example", 421),
        ] {
            let answer = ask(&mut house, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(status(&answer), expected, "{host}");
        }
    }
    let web = Web { hosts: hosts("*"), ..Web::default() };
    let mut house = house(Front { web, ..Front::default() });
    assert_eq!(status(&ask(&mut house, "GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n")), 200);
}

#[test]
fn a_request_of_a_page_is_not_taken_for_stanzas_by_its_method() {
    // A page may send its own host any method that is a token. Its host may lead here.
    let mut house = plain_house();
    for method in
        ["x", "connect", "!#$%&'*+-.^_`|~0", &"y".repeat(64), &"z".repeat(65), &"z".repeat(3_000)]
    {
        let text = format!(
            "{method} /a HTTP/1.1\r\nHost: rebound.example\r\nContent-Length: 99\r\n\r\n\
             <connect nickname='evil' />\0<connect nickname='evil' />\0"
        );
        for size in [1, 7, text.len()] {
            let peer = house.connect_to(0, LOOPBACK, ROOM);
            for piece in text.as_bytes().chunks(size) {
                // It may be over before all has come.
                let _ = peer.pipe.borrow_mut().send(piece);
                house.settle();
            }
            let answer = received(&peer);
            assert!(matches!(status(&answer), 400 | 421), "{method}: {answer}");
            assert_eq!(peer.pipe.borrow_mut().receive(1), Received::End);
        }
    }
    assert_eq!(logged("logged in"), Vec::<String>::new());
    // And a long word that begins no request is what it was: no stanza.
    let mut peer = house.connect_to(0, LOOPBACK, ROOM);
    peer.send(&"z".repeat(3_000));
    peer.send("<ping />");
    house.settle();
    let no_stanza = "<error>This is not a valid XML string</error>";
    assert_eq!(peer.frames(), [no_stanza, "<error>You must login first</error>"]);
    let mut peer = house.connect_to(0, LOOPBACK, ROOM);
    peer.send(&"z".repeat(70_000));
    house.settle();
    assert_eq!(peer.frames(), ["<error>Stanza too large (limit 65536 bytes)</error>"]);
}

#[test]
fn metrics_are_shown_to_nobody_behind_a_proxy_that_is_not_trusted() {
    let get = |headers: &str| format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let mut house = plain_house();
    for (headers, expected) in [
        ("", 200),
        (
            "User-Agent: Prometheus/3\r\nAccept: */*\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n",
            200,
        ),
        ("X-Forwarded-For: 127.0.0.1\r\n", 403),
        ("X-Forwarded-For: \r\n", 403),
        ("x-forwarded-proto: https\r\n", 403),
        ("X-Forwarded-Host: chat.example\r\n", 403),
        ("Forwarded: for=192.0.2.1\r\n", 403),
        ("Via: 1.1 proxy\r\n", 403),
        ("X-Real-IP: 192.0.2.1\r\n", 403),
        ("CF-Connecting-IP: 192.0.2.1\r\n", 403),
        ("True-Client-IP: 192.0.2.1\r\n", 403),
        ("X-Client-IP: 192.0.2.1\r\n", 403),
    ] {
        let answer = ask(&mut house, &get(headers));
        assert_eq!(status(&answer), expected, "{headers}");
        let advised = answer.contains("\n[daemon]\ntrustedproxies = 127.0.0.1\n");
        assert_eq!(advised, expected == 403, "{answer}");
    }
    // One that is trusted says for whom it asks, and only that counts.
    let web = Web { trusted_proxies: vec!["127.0.0.1/32".parse().expect("one")], ..Web::default() };
    house.server.set_front(Front { web, ..Front::default() });
    for (headers, expected) in [
        ("X-Forwarded-For: 127.0.0.2\r\nVia: 1.1 proxy\r\n", 200),
        ("X-Forwarded-For: 192.0.2.1\r\n", 403),
        ("X-Real-IP: 127.0.0.2\r\n", 403),
        ("", 403),
    ] {
        assert_eq!(status(&ask(&mut house, &get(headers))), expected, "{headers}");
    }
    // All else is for everybody.
    let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
    assert_eq!(status(&ask(&mut plain_house(), health)), 200);
}

#[test]
fn each_rule_of_a_request_line_and_its_host_has_its_status() {
    assert_statuses(&[
        // RFC 9112 section 3.2: one Host, and one that is a host.
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nhost: other\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost, other\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost,other\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost other\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: me@localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: http://localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost/\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost:x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: \t localhost:2468 \t\r\n\r\n", 200),
        ("GET http://localhost/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nHost: rebound.example\r\n\r\n", 421),
        // Section 3.2.2: a target that names its host.
        ("GET http://127.0.0.1:2468/healthz HTTP/1.1\r\nHost: 127.0.0.1:2468\r\n\r\n", 200),
        ("GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET HTTP://localhost?a HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET http://localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET http:///healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET http://me@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        // RFC 9110 section 7.4: what is for TLS does not come without.
        ("GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
        // The other forms.
        ("GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /#a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n", 405),
        ("CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
        ("CONNECT / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /%68ealthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET //healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /./metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /healthz?a=/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    ]);
}

#[test]
fn each_rule_of_headers_and_versions_has_its_status() {
    assert_statuses(&[
        // RFC 9112 section 5: lines that some read otherwise.
        ("GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nA\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nA: b\rc\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: localhost\n\n", 200),
        // Section 2.3 and RFC 9110 section 2.5: versions.
        ("GET / HTTP/1.2\r\nHost: localhost\r\n\r\n", 200),
        ("GET / HTTP/1.9\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("GET / HTTP/0.9\r\n\r\n", 505),
        ("GET / HTTQ/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / http/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        // Section 6: content that nobody reads is still said to be of some length, once.
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 200),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            200,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        // RFC 9110 section 10.1.1.
        ("GET / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nExpect: the moon\r\n\r\n", 417),
        ("GET / HTTP/1.0\r\nExpect: the moon\r\n\r\n", 200),
        // Section 7.8: another protocol may be left unanswered.
        ("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 200),
        // Section 9.1: a method that is known to nobody, and small letters make another one.
        ("BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        ("get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        ("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    ]);
}

/// Checks that each request is answered with its status, and what goes with any answer.
fn assert_statuses(requests: &[(&str, u16)]) {
    let mut house = plain_house();
    for &(request, expected) in requests {
        let answer = ask(&mut house, request);
        assert_eq!(status(&answer), expected, "{request:?}: {answer}");
        // Each is the last one.
        assert!(answer.contains("\r\nConnection: close"), "{answer}");
        let allowed = answer.contains("\r\nAllow: GET, HEAD\r\n");
        assert_eq!(allowed, expected == 405, "RFC 9110 section 15.5.6: {answer}");
    }
}

#[test]
fn no_answer_to_head_has_a_body_and_every_answer_has_a_date() {
    let limits = Limits { login_time_s: 300, ..Limits::default() };
    let mut house = House::with_limits(limits);
    house.server.set_front(Front { addresses: vec![LOOPBACK], ..Front::default() });
    house.run_until(Time::from_secs(86_400 * 366 - 100));
    let date = "\r\nDate: Fri, 01 Jan 1971 23:58:20 GMT\r\n";
    let head =
        |path: &str, headers: &str| format!("HEAD {path} HTTP/1.1\r\nHost: {headers}\r\n\r\n");
    for (request, expected) in [
        (head("/", "localhost"), 200),
        (head("/metrics", "localhost"), 200),
        (head("/metrics", "localhost\r\nVia: 1.1 a"), 403),
        (head("/nope", "localhost"), 404),
        (head("/", "rebound.example"), 421),
        (head("/", "a b"), 400),
        (head("/", "localhost\r\n a: b"), 400),
        (head("/", &format!("localhost\r\nA: {}", "x".repeat(20_000))), 431),
        (head("/", "localhost").replace("/1.1", "/2.0"), 505),
        (head("/", "localhost\r\nExpect: a"), 417),
        (head("/", "localhost\r\nTransfer-Encoding: a, chunked"), 501),
    ] {
        let answer = ask(&mut house, &request);
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(
            answer.ends_with("\r\n\r\n") && answer.matches("\r\n\r\n").count() == 1,
            "{answer}"
        );
        assert!(answer.contains(date), "{answer}");
        // The same with GET has a body, of the length that was told.
        let whole = ask(&mut house, &request.replacen("HEAD", "GET", 1));
        let (head, body) = whole.split_once("\r\n\r\n").expect("a head");
        assert!(!body.is_empty() && whole.contains(date), "{whole}");
        // A page of figures differs from one time to the next.
        if !request.contains("/metrics") {
            assert_eq!(head, answer.trim_end(), "{request}");
        }
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{whole}");
    }
    let open = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{WEB_SOCKET}\r\n");
    assert!(ask(&mut house, &open).contains(date));
    // What ends in the middle, and may still hear of it.
    let half = house.connect_to(0, LOOPBACK, ROOM);
    half.send_bytes(b"GET / HT");
    half.pipe.borrow_mut().half_close();
    house.settle();
    let answer = received(&half);
    assert!(status(&answer) == 400 && answer.contains(date), "{answer}");
    // What comes too late, and what is left when the server stops.
    let halves = ["HEAD / HT", "GET / HT"].map(|half| {
        let peer = house.connect_to(0, LOOPBACK, ROOM);
        peer.send_bytes(half.as_bytes());
        (peer, half.starts_with("HEAD"))
    });
    house.run_until(Time::from_secs(86_400 * 366 + 200));
    let last = house.connect_to(0, LOOPBACK, ROOM);
    last.send_bytes(b"HEAD / HT");
    house.settle();
    house.stop();
    house.settle();
    let mut answers: Vec<(String, bool)> =
        halves.iter().map(|(peer, head_only)| (received(peer), *head_only)).collect();
    answers.push((received(&last), true));
    for ((answer, head_only), expected) in answers.iter().zip([408, 408, 503]) {
        assert_eq!(status(answer), expected, "{answer}");
        assert!(answer.contains("\r\nDate: Sat, 02 Jan 1971 00:03:20 GMT\r\n"), "{answer}");
        assert_eq!(answer.ends_with("\r\n\r\n"), *head_only, "{answer}");
    }
}

#[test]
fn a_426_names_what_to_speak() {
    let mut house = plain_house();
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{WEB_SOCKET}\r\n");
    let answer = ask(&mut house, &request.replace("Version: 13", "Version: 12"));
    for line in [
        "HTTP/1.1 426 Upgrade Required",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Connection: close, Upgrade",
    ] {
        assert!(answer.lines().any(|found| found == line), "{line} is not in {answer}");
    }
}

/// The line that a line of the log wants to have written, when there is one.
fn advised(line: &str) -> Option<&str> {
    line.split_once("write under [web]: ").map(|(_, advised)| advised)
}

#[test]
fn what_the_log_and_an_answer_want_written_for_a_host_is_taken_by_the_configuration() {
    let mut web = configured("hosts = own.example *.own.example\norigins = https://games.example");
    web.metrics = palabre::networks::loopback();
    let front = Front { web, ..Front::default() };
    let mut house = house(front);
    let mut refused = 0;
    for host in [
        "chat.example",
        "CHAT2.example.:2468",
        "xn--bcher-kva.example",
        "a_b",
        "-",
        "192.0.2.1",
        "[2001:db8::1]:80",
        "[::ffff:192.0.2.9]",
        &"a.".repeat(126),
    ] {
        let answer = ask(&mut house, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(status(&answer), 421, "{host}");
        refused += 1;
        // What the one who asks is shown stands by itself, below its section.
        let (_, shown) = answer.split_once("\n[web]\n").expect("what to write");
        let known = configured(shown.trim_end()).hosts;
        let line = logged("a request for the host").pop().expect("a line");
        let line = advised(&line).unwrap_or_else(|| panic!("no advice: {line}")).to_owned();
        let all = configured(&line).hosts;
        assert_eq!(all, [hosts("own.example *.own.example"), known].concat(), "{line}");
        let web = configured(&line);
        let mut house = self::house(Front { web, ..Front::default() });
        let answer = ask(&mut house, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(status(&answer), 200, "{host} by {line}");
    }
    assert_eq!(refused, 9);
}

#[test]
fn what_the_log_wants_written_for_a_page_is_taken_by_the_configuration() {
    let mut web = configured("hosts = own.example *.own.example\norigins = https://games.example");
    web.metrics = palabre::networks::loopback();
    let front = Front { web, ..Front::default() };
    let mut house = house(front.clone());
    for (origin, with_line) in [
        ("https://chat.example", true),
        ("HTTPS://CHAT.example:443", true),
        ("http://[2001:db8::1]:8000", true),
        ("http://[::ffff:192.0.2.9]:8000", true),
        ("https://chat.example.", true),
        ("moz-extension://0f1e-22", true),
        ("null", true),
        ("*", false),
        ("?", false),
        ("", false),
        ("https://", false),
        ("file://", false),
        ("https://*.example", false),
        ("https://a b", false),
        ("https://a\"b\\", false),
        ("https://a%20b", false),
        ("https://a ; b = c", false),
        ("https://chat.example/path", false),
        ("https://user@chat.example", false),
        ("https://chat.example https://evil.example", false),
        ("\"https://chat.example\"", false),
        ("https://b\u{fc}cher.example", false),
        ("https://\u{202e}chat.example", false),
        (&*format!("https://{}", "a".repeat(300)), false),
        (&*format!("https://{}:1", "a".repeat(253)), true),
    ] {
        // What has been told is told anew.
        house.server.set_front(front.clone());
        let request =
            format!("GET / HTTP/1.1\r\nHost: own.example\r\n{WEB_SOCKET}Origin: {origin}\r\n\r\n");
        assert_eq!(status(&ask(&mut house, &request)), 403, "{origin}");
        let line = logged("a page").pop().unwrap_or_else(|| panic!("no line about {origin}"));
        assert!(!line.contains(r"\\\") && !line.contains('\u{202e}'), "escaped once: {line}");
        assert_eq!(advised(&line).is_some(), with_line, "{origin}: {line}");
        if let Some(line) = advised(&line) {
            let web = Web { hosts: hosts("own.example"), ..configured(line) };
            let listed =
                web.origins.iter().any(|listed| listed == "https://games.example" || listed == "*");
            assert!(listed, "{line}");
            let mut house = self::house(Front { web, ..Front::default() });
            assert_eq!(status(&ask(&mut house, &request)), 101, "{origin} by {line}");
        }
    }
}

#[test]
fn the_log_advises_of_each_thing_once_and_of_no_more_than_it_has_room_for() {
    let mut house = plain_house();
    let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let told = || logged("a request for the host").len() + logged("a page of the origin").len();
    for port in 0..100 {
        assert_eq!(status(&ask(&mut house, &get(&format!("a.example:{}", port + 1)))), 421);
    }
    assert_eq!(told(), 1, "once");
    for number in 0..1_000 {
        ask(&mut house, &get(&format!("{number}.x")));
        let origin = format!("Origin: http://{number}.x\r\n");
        ask(&mut house, &format!("GET / HTTP/1.1\r\nHost: localhost\r\n{WEB_SOCKET}{origin}\r\n"));
    }
    assert_eq!(told(), ADVICE_MAX);
    let later = Time::from_secs(ADVICE_TIME_S + 60);
    house.run_until(later);
    ask(&mut house, &get("a.example"));
    assert_eq!(told(), ADVICE_MAX + 1, "told anew an hour later");
    house.server.set_front(Front { addresses: vec![LOOPBACK], ..Front::default() });
    ask(&mut house, &get("a.example"));
    assert_eq!(told(), ADVICE_MAX + 2, "told anew by another configuration");
}

#[test]
fn a_request_has_a_longest_head_and_so_many_headers() {
    let mut house = plain_house();
    let request = |headers: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let longer = |bytes: usize| request(&format!("A: {}\r\n", "x".repeat(bytes)));
    let most = HTTP_HEAD_BYTES_MAX - longer(0).len();
    let many = |count: usize| request(&"A: b\r\n".repeat(count - 1));
    for (request, expected) in [
        (longer(most), 200),
        (longer(most + 1), 431),
        (many(HTTP_HEADERS_MAX), 200),
        (many(HTTP_HEADERS_MAX + 1), 431),
    ] {
        assert_eq!(status(&ask(&mut house, &request)), expected, "{} bytes", request.len());
    }
}
