//! HTTP, as far as the port serves it: the head of one request, and its answer.
//!
//! `httparse` reads the head. A connection is one request long: a page and its few neighbours
//! need no more, and what a WebSocket begins with is a request like any other.

use std::fmt::Write as _;
use std::net::IpAddr;

use httparse::{EMPTY_HEADER, Header, Request as Parsed, Status};
use tungstenite::handshake::derive_accept_key;

use super::Front;
use crate::net::proxy;
use crate::networks;

/// The longest head of a request; what browsers send with cookies of their own is below 8 KiB.
pub(super) const HEAD_BYTES_MAX: usize = 16_384;

/// Headers of one request.
const HEADERS_MAX: usize = 64;

/// What a browser may load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Page {
    /// `/`: the chat.
    Chat,
    /// `/palabre.js`: the client library.
    Script,
    /// `/healthz`: whether it serves.
    Health,
    /// `/metrics`: for Prometheus.
    Metrics,
}

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its head is not whole yet.
    Partial,
    /// It gets this page, or only its head.
    Page {
        /// Which.
        page: Page,
        /// Whether the method was `HEAD`.
        head_only: bool,
    },
    /// It becomes a WebSocket; the answer, and where frames begin.
    Upgrade {
        /// The answer.
        answer: Vec<u8>,
        /// Bytes of the head.
        head_bytes: usize,
    },
    /// It gets this answer and nothing else.
    Refused {
        /// The answer.
        answer: Vec<u8>,
        /// What the operator should know.
        advice: Option<String>,
    },
}

/// A request, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// The client's own address, when a trusted proxy names it.
    pub(super) address: Option<IpAddr>,
}

/// Judges what has come of a request from `peer`, over TLS if `secure`.
pub(super) fn judge(bytes: &[u8], front: &Front, peer: IpAddr, secure: bool) -> Judged {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = Parsed::new(&mut headers);
    let nobody = |verdict| Judged { verdict, address: None };
    // What stands behind the longest head is not looked at, so that it is refused for its length
    // however much of it has come.
    match parsed.parse(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]) {
        Ok(Status::Complete(head_bytes)) => {
            let request = Request {
                method: parsed.method.unwrap_or_default(),
                path: parsed.path.unwrap_or_default(),
                minor_version: parsed.version.unwrap_or_default(),
                headers: parsed.headers,
                head_bytes,
                front,
                peer,
                secure,
            };
            let address = request.forwarded_for();
            Judged { verdict: request.judge(), address }
        }
        Ok(Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => nobody(Verdict::Partial),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => nobody(refused(
            "431 Request Header Fields Too Large",
            "the head of a request is over 16 KiB or 64 headers",
        )),
        Err(httparse::Error::Version) => {
            nobody(refused("505 HTTP Version Not Supported", "this server speaks HTTP/1.1"))
        }
        Err(_) => nobody(refused("400 Bad Request", "this is not a request of HTTP")),
    }
}

/// What has come of the handshake that opens a WebSocket (RFC 6455 section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The head of the request is not whole yet.
    Partial,
    /// The WebSocket is open.
    Accepted {
        /// The answer to be sent.
        answer: Vec<u8>,
        /// Bytes of the head; frames begin behind it.
        head_bytes: usize,
    },
    /// It is none, or none that is taken here.
    Refused {
        /// The answer to be sent; nothing follows.
        answer: Vec<u8>,
    },
}

/// The handshake by itself, of a client at `peer` without TLS: `bytes` is all that it has sent.
#[must_use]
pub fn handshake(bytes: &[u8], front: &Front, peer: IpAddr) -> Handshake {
    match judge(bytes, front, peer, false).verdict {
        Verdict::Partial => Handshake::Partial,
        Verdict::Upgrade { answer, head_bytes } => Handshake::Accepted { answer, head_bytes },
        Verdict::Refused { answer, .. } => Handshake::Refused { answer },
        Verdict::Page { head_only, .. } => {
            let why = b"a WebSocket may be opened here\n";
            let answer = answer("426 Upgrade Required", &[], TEXT, why, head_only);
            Handshake::Refused { answer }
        }
    }
}

/// The answer to a request whose head did not come in time.
pub(super) fn timed_out() -> Vec<u8> {
    answer("408 Request Timeout", &[], TEXT, b"the request did not come in time\n", false)
}

/// The answer to a request that comes too late or to too many.
pub(super) fn unavailable(why: &str) -> Vec<u8> {
    let body = format!("{why}\n");
    answer("503 Service Unavailable", &[("Retry-After", "5")], TEXT, body.as_bytes(), false)
}

/// Plain text.
pub(in crate::net) const TEXT: &str = "text/plain; charset=utf-8";

/// A whole answer; without its body when only the head was asked for.
pub(in crate::net) fn answer(
    status: &str,
    headers: &[(&str, &str)],
    content_type: &str,
    body: &[u8],
    head_only: bool,
) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    let mut answer = head.into_bytes();
    if !head_only {
        answer.extend_from_slice(body);
    }
    answer
}

fn refused(status: &str, why: &str) -> Verdict {
    refused_with(status, &[], why)
}

fn refused_with(status: &str, headers: &[(&str, &str)], why: &str) -> Verdict {
    let body = format!("{why}\n");
    Verdict::Refused { answer: answer(status, headers, TEXT, body.as_bytes(), false), advice: None }
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    minor_version: u8,
    headers: &'a [Header<'a>],
    head_bytes: usize,
    front: &'a Front,
    peer: IpAddr,
    secure: bool,
}

impl<'a> Request<'a> {
    fn judge(&self) -> Verdict {
        let head_only = self.method == "HEAD";
        if self.method != "GET" && !head_only {
            let allow = [("Allow", "GET, HEAD")];
            return refused_with(
                "405 Method Not Allowed",
                &allow,
                "only GET and HEAD are served here",
            );
        }
        if !self.front.web.http {
            return refused("403 Forbidden", "HTTP is switched off here ([web] http)");
        }
        let upgrade = self.has_token("upgrade", "websocket");
        if self.front.demands_tls() && !self.secure {
            return self.refuse_plain(upgrade);
        }
        if upgrade {
            return self.upgrade(head_only);
        }
        let page = match self.path.split('?').next().unwrap_or_default() {
            "/" if self.has_page() => Page::Chat,
            "/palabre.js" if self.has_page() => Page::Script,
            "/healthz" => Page::Health,
            "/metrics" if self.may_read_metrics() => Page::Metrics,
            "/metrics" => {
                let why = "your address is not among those of [web] metrics";
                return refused("403 Forbidden", why);
            }
            _ => {
                return refused(
                    "404 Not Found",
                    "there is nothing here; a WebSocket may be opened",
                );
            }
        };
        Verdict::Page { page, head_only }
    }

    /// The page can do nothing without a WebSocket.
    fn has_page(&self) -> bool {
        self.front.web.page && self.front.web.websocket
    }

    /// A proxy that does not say for whom it asks may ask for anybody.
    fn may_read_metrics(&self) -> bool {
        let proxied = networks::contains(&self.front.web.trusted_proxies, self.peer);
        let address = if proxied { self.forwarded_for() } else { Some(self.peer) };
        address.is_some_and(|address| networks::contains(&self.front.web.metrics, address))
    }

    fn forwarded_for(&self) -> Option<IpAddr> {
        let trusted = &self.front.web.trusted_proxies;
        if !networks::contains(trusted, self.peer) {
            return None;
        }
        proxy::forwarded_for(self.values("x-forwarded-for"), trusted)
    }

    /// TLS is demanded and this came without.
    fn refuse_plain(&self, upgrade: bool) -> Verdict {
        match self.value("host") {
            Some(host) if !upgrade && self.path.starts_with('/') && is_authority(host) => {
                let location = format!("https://{host}{}", self.path);
                let headers = [("Location", &*location)];
                refused_with("308 Permanent Redirect", &headers, "TLS is required here")
            }
            _ => refused("403 Forbidden", "TLS is required here: use https:// or wss://"),
        }
    }

    /// The server's side of the opening handshake (RFC 6455 section 4.2).
    fn upgrade(&self, head_only: bool) -> Verdict {
        if !self.front.web.websocket {
            return refused("403 Forbidden", "WebSocket is switched off here ([web] websocket)");
        }
        let bad = |why| refused("400 Bad Request", why);
        if head_only || self.minor_version != 1 {
            return bad("a WebSocket begins with GET and HTTP/1.1");
        }
        let Some(host) = self.value("host") else {
            return bad("a WebSocket's request needs one Host");
        };
        if !self.has_token("connection", "upgrade") {
            return bad("a WebSocket's request needs Connection: Upgrade");
        }
        if self.value("sec-websocket-version") != Some("13") {
            let version = [("Sec-WebSocket-Version", "13")];
            return refused_with("426 Upgrade Required", &version, "this server speaks version 13");
        }
        let Some(key) = self.value("sec-websocket-key").filter(|key| is_key(key)) else {
            return bad("a WebSocket's request needs a Sec-WebSocket-Key of 16 bytes in Base64");
        };
        if let Some(verdict) = self.refuse_origin(host) {
            return verdict;
        }
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            derive_accept_key(key.as_bytes())
        );
        // A browser refuses an answer that names none of those that it offered, and one that
        // names any when it offered none.
        let offered = self.values("sec-websocket-protocol").next();
        let first = offered.and_then(|value| value.split(|&byte| byte == b',').next());
        if let Some(protocol) = first.and_then(token) {
            let _ = write!(answer, "Sec-WebSocket-Protocol: {protocol}\r\n");
        }
        answer.push_str("\r\n");
        Verdict::Upgrade { answer: answer.into_bytes(), head_bytes: self.head_bytes }
    }

    /// A page of somebody else's may not speak to this server in the name of who looks at it.
    fn refuse_origin(&self, host: &str) -> Option<Verdict> {
        let origins = &self.front.web.origins;
        // Who names no origin is no browser.
        let values: Vec<&[u8]> = self.values("origin").collect();
        let origin = match values[..] {
            [] => return None,
            [one] => std::str::from_utf8(one).unwrap_or("?"),
            _ => "?",
        };
        let own = host_name(host);
        let allowed =
            origins.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(origin))
                || origin.split_once("://").is_some_and(|(_, authority)| {
                    !own.is_empty() && host_name(authority).eq_ignore_ascii_case(own)
                });
        if allowed {
            return None;
        }
        let why = "pages of this origin may not connect here ([web] origins)\n";
        let shown: String = origin.chars().take(200).collect();
        let listed = origins.iter().map(|listed| format!("{listed} ")).collect::<String>();
        Some(Verdict::Refused {
            answer: answer("403 Forbidden", &[], TEXT, why.as_bytes(), false),
            advice: Some(format!(
                "a page of the origin {shown:?} was refused; if it may connect, write under [web]: \
                 origins = {listed}{}",
                shown.escape_debug()
            )),
        })
    }

    /// The values of all headers of this name, which is in lower case.
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let named =
            self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value)
    }

    /// The value of the one header of this name, when there is one and no other.
    fn value(&self, name: &'static str) -> Option<&'a str> {
        let mut values = self.values(name);
        let value = values.next().filter(|_| values.next().is_none())?;
        std::str::from_utf8(value).ok().map(str::trim)
    }

    /// Whether a header's list has this word.
    fn has_token(&self, name: &'static str, word: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .filter_map(token)
            .any(|token| token.eq_ignore_ascii_case(word))
    }
}

/// A token of HTTP (RFC 9110 section 5.6.2), without the blanks around it.
fn token(bytes: &[u8]) -> Option<&str> {
    let token = std::str::from_utf8(bytes).ok()?.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    (!token.is_empty() && token.chars().all(allowed)).then_some(token)
}

/// Sixteen bytes in Base64.
fn is_key(key: &str) -> bool {
    let symbol = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with("==") && key.as_bytes()[..22].iter().all(symbol)
}

/// The host of `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn host_name(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Whether this is a host and perhaps a port, and nothing that could be read otherwise.
fn is_authority(host: &str) -> bool {
    !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'))
}
