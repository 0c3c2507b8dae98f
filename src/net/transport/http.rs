//! HTTP, as far as the port serves it: the head of one request, and its answer.
//!
//! `httparse` reads the head. A connection is one request long: a page and its few neighbours
//! need no more, and what a WebSocket begins with is a request like any other. What must hold of
//! any request stands in RFC 9110 and RFC 9112, of the one that opens a WebSocket in RFC 6455.

use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use httparse::{EMPTY_HEADER, Header, Request as Parsed, Status};
use tungstenite::handshake::derive_accept_key;

use super::Front;
use super::target::Target;
use crate::config::{self, Authority, Host};
use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use crate::logging::Escaped;
use crate::net::proxy;
use crate::networks;

/// Methods that are known and not served (RFC 9110 section 9.3, RFC 5789). One that is not known
/// is answered otherwise.
const METHODS_REFUSED: [&str; 7] =
    ["POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Headers that a request has when a proxy has passed it on. Without a proxy that is trusted
/// nobody knows from whom it came.
const FORWARDED: [&str; 12] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-envoy-external-address",
    "true-client-ip",
    "client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// How all the others begin: `X-Forwarded-For`, `-Host`, `-Proto`, `-Port`, `-Server`.
const FORWARDED_START: &str = "x-forwarded";

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
pub(super) enum HttpVerdict {
    /// Its head is not whole yet.
    Partial,
    /// It gets this page.
    Page {
        /// Which.
        page: Page,
        /// How it is answered.
        reply: Reply,
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
        advice: Option<Advice>,
    },
}

/// What an operator could mend, fit to stand in the log as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) struct Advice {
    /// What it is about: of one thing it is given once.
    pub(in crate::net) about: String,
    /// What was refused, and the line of the configuration that lets it in.
    pub(in crate::net) text: String,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A request, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: HttpVerdict,
    /// The client's own address, when a trusted proxy names it.
    pub(super) address: Option<IpAddr>,
}

/// Where a request comes from, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// The address of the peer, or the one that the PROXY protocol gives.
    pub(super) peer: IpAddr,
    /// Whether it came over TLS.
    pub(super) secure: bool,
    /// Seconds since 1970.
    pub(super) unix_s: u64,
}

/// Judges what has come of a request.
pub(super) fn judge(bytes: &[u8], front: &Front, caller: Caller) -> Judged {
    let mut headers = [EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut parsed = Parsed::new(&mut headers);
    let reply = Reply::to(bytes, caller.unix_s);
    let nobody = |verdict| Judged { verdict, address: None };
    match parsed.parse(looked_at(bytes)) {
        Ok(Status::Complete(head_bytes)) => {
            let request = HttpRequest {
                method: parsed.method.unwrap_or_default(),
                target: parsed.path.unwrap_or_default(),
                minor_version: parsed.version.unwrap_or_default(),
                headers: parsed.headers,
                head_bytes,
                front,
                caller,
                reply,
            };
            let address = request.forwarded_for();
            Judged { verdict: request.judge().unwrap_or_else(|refused| refused), address }
        }
        Ok(Status::Partial) if bytes.len() <= HTTP_HEAD_BYTES_MAX => nobody(HttpVerdict::Partial),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => nobody(reply.refused(
            "431 Request Header Fields Too Large",
            "the head of a request is over 16 KiB or 64 headers",
        )),
        Err(httparse::Error::Version) => match version(bytes) {
            Version::Later(digit) => {
                // All that came after 1.1 within version 1 is to be read as 1.1 (RFC 9110 section
                // 2.5).
                let mut bytes = bytes.to_vec();
                bytes[digit] = b'1';
                judge(&bytes, front, caller)
            }
            Version::Other => {
                let why = "this server speaks HTTP/1.1";
                nobody(reply.refused("505 HTTP Version Not Supported", why))
            }
            Version::None => nobody(reply.refused("400 Bad Request", NO_REQUEST)),
        },
        Err(_) => nobody(reply.refused("400 Bad Request", NO_REQUEST)),
    }
}

/// The lines that have come as a whole: what is wrong is seen at the end of its line, however the
/// bytes are cut. What stands behind the longest head is not looked at, so that it is refused for
/// its length however much of it has come.
fn looked_at(bytes: &[u8]) -> &[u8] {
    if bytes.len() > HTTP_HEAD_BYTES_MAX {
        return &bytes[..HTTP_HEAD_BYTES_MAX];
    }
    &bytes[..memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1)]
}

const NO_REQUEST: &str = "this is not a request of HTTP";

/// What the first line ends with, where it is not a version that is served.
enum Version {
    /// HTTP/1.2 to 1.9; where its last digit stands.
    Later(usize),
    /// Another one.
    Other,
    /// None.
    None,
}

fn version(bytes: &[u8]) -> Version {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let start = memchr::memrchr(b' ', line).map_or(0, |blank| blank + 1);
    match &line[start..] {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Version::Later(line.len() - 1),
        [b'H', b'T', b'T', b'P', b'/', version @ ..]
            if version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') =>
        {
            Version::Other
        }
        _ => Version::None,
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

/// The handshake by itself, of a client at `peer` without TLS, `unix_s` seconds after 1970:
/// `bytes` is all that it has sent.
#[must_use]
pub fn handshake(bytes: &[u8], front: &Front, peer: IpAddr, unix_s: u64) -> Handshake {
    match judge(bytes, front, Caller { peer, secure: false, unix_s }).verdict {
        HttpVerdict::Partial => Handshake::Partial,
        HttpVerdict::Upgrade { answer, head_bytes } => Handshake::Accepted { answer, head_bytes },
        HttpVerdict::Refused { answer, .. } => Handshake::Refused { answer },
        HttpVerdict::Page { reply, .. } => {
            let why = b"a WebSocket may be opened here\n";
            let answer = reply.answer(UPGRADE_REQUIRED, &[("Upgrade", "websocket")], TEXT, why);
            Handshake::Refused { answer }
        }
    }
}

const UPGRADE_REQUIRED: &str = "426 Upgrade Required";

/// Plain text.
pub(in crate::net) const TEXT: &str = "text/plain; charset=utf-8";

/// The last second that HTTP can date, at the end of the year 9999.
const UNIX_S_MAX: u64 = 253_402_300_799;

/// How a request is answered, whatever it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Reply {
    /// Seconds since 1970.
    unix_s: u64,
    /// Only the head was asked for: no answer to it has a body (RFC 9110 section 9.3.2).
    head_only: bool,
}

impl Reply {
    /// To a request that begins with these bytes.
    pub(super) fn to(bytes: &[u8], unix_s: u64) -> Self {
        Self { unix_s, head_only: bytes.starts_with(b"HEAD ") }
    }

    /// To what is no request.
    pub(super) fn no_request(self) -> Vec<u8> {
        self.answer("400 Bad Request", &[], TEXT, format!("{NO_REQUEST}\n").as_bytes())
    }

    /// To a request whose head did not come in time.
    pub(super) fn timed_out(self) -> Vec<u8> {
        self.answer("408 Request Timeout", &[], TEXT, b"the request did not come in time\n")
    }

    /// To a request that comes too late or to too many.
    pub(super) fn unavailable(self, why: &str) -> Vec<u8> {
        let body = format!("{why}\n");
        self.answer("503 Service Unavailable", &[("Retry-After", "5")], TEXT, body.as_bytes())
    }

    /// A whole answer.
    pub(in crate::net) fn answer(
        self,
        status: &str,
        headers: &[(&str, &str)],
        content_type: &str,
        body: &[u8],
    ) -> Vec<u8> {
        let mut head = self.head(status);
        // Whoever is told of a protocol is told that the header is for this connection alone.
        let upgrade = headers.iter().any(|(name, _)| *name == "Upgrade");
        let connection = if upgrade { "close, Upgrade" } else { "close" };
        let _ = write!(
            head,
            "Content-Type: {content_type}\r\nContent-Length: {}\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: {connection}\r\n",
            body.len()
        );
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut answer = head.into_bytes();
        if !self.head_only {
            answer.extend_from_slice(body);
        }
        answer
    }

    /// The status line and the date (RFC 9110 section 6.6.1).
    fn head(self, status: &str) -> String {
        let time = UNIX_EPOCH + Duration::from_secs(self.unix_s.min(UNIX_S_MAX));
        format!("HTTP/1.1 {status}\r\nDate: {}\r\n", httpdate::fmt_http_date(time))
    }

    fn refused(self, status: &str, why: &str) -> HttpVerdict {
        self.refused_with(status, &[], why)
    }

    /// Nobody is to remember a refusal: what is refused today may be switched on tomorrow.
    fn refused_with(self, status: &str, headers: &[(&str, &str)], why: &str) -> HttpVerdict {
        let headers = [&[("Cache-Control", "no-store")], headers].concat();
        let answer = self.answer(status, &headers, TEXT, format!("{why}\n").as_bytes());
        HttpVerdict::Refused { answer, advice: None }
    }
}

struct HttpRequest<'a> {
    method: &'a str,
    target: &'a str,
    minor_version: u8,
    headers: &'a [Header<'a>],
    head_bytes: usize,
    front: &'a Front,
    caller: Caller,
    reply: Reply,
}

impl<'a> HttpRequest<'a> {
    /// What it gets; refusals come as errors.
    fn judge(&self) -> Result<HttpVerdict, HttpVerdict> {
        if !self.front.web.http {
            return Err(self.forbidden("HTTP is switched off here ([web] http)"));
        }
        self.check_framing()?;
        let target = Target::read(self.method, self.target).map_err(|why| self.bad(why))?;
        let asked = self.asked(&target)?;
        // In HTTP/1.0 it means nothing (RFC 9110 section 7.8), and with HEAD nothing is opened.
        let upgrade = self.minor_version > 0
            && self.method == "GET"
            && self.has_token("upgrade", "websocket");
        let free = |asked: &&Authority| !upgrade && self.may_be_asked_of(&target, asked);
        self.check_host(&target, asked.as_ref().filter(|asked| !free(asked)))?;
        self.check_method()?;
        if self.front.demands_tls() && !self.caller.secure {
            return Err(self.refuse_plain(&target, asked.as_ref(), upgrade));
        }
        if let (true, Some(asked)) = (upgrade, &asked) {
            return self.upgrade(&asked.host);
        }
        let page = self.page(&target)?;
        Ok(HttpVerdict::Page { page, reply: self.reply })
    }

    fn page(&self, target: &Target<'_>) -> Result<Page, HttpVerdict> {
        // The page can do nothing without a WebSocket.
        let has_page = self.front.web.page && self.front.web.websocket;
        if has_page && target.is("/") {
            Ok(Page::Chat)
        } else if has_page && target.is("/palabre.js") {
            Ok(Page::Script)
        } else if target.is("/healthz") {
            Ok(Page::Health)
        } else if target.is("/metrics") {
            self.check_reader_of_metrics()?;
            Ok(Page::Metrics)
        } else {
            let why = "there is nothing here; a WebSocket may be opened";
            Err(self.reply.refused("404 Not Found", why))
        }
    }

    fn bad(&self, why: &str) -> HttpVerdict {
        self.reply.refused("400 Bad Request", why)
    }

    fn forbidden(&self, why: &str) -> HttpVerdict {
        self.reply.refused("403 Forbidden", why)
    }

    /// The content that a request says it has is never read, but what it says must make sense
    /// (RFC 9112 section 6): who reads it otherwise than a proxy did answers somebody else.
    fn check_framing(&self) -> Result<(), HttpVerdict> {
        let mut lengths = self.values("content-length").map(<[u8]>::trim_ascii);
        let length = lengths.next();
        let number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if length.is_some_and(|length| !number(length) || lengths.any(|other| other != length)) {
            return Err(self.bad("this is not a Content-Length"));
        }
        let codings: Vec<&[u8]> = self.list("transfer-encoding").collect();
        let Some(last) = codings.last() else { return Ok(()) };
        if self.minor_version == 0 || !last.eq_ignore_ascii_case(b"chunked") {
            return Err(self.bad("nobody knows where the content of this request ends"));
        }
        if codings.len() > 1 {
            let why = "no Transfer-Encoding but chunked is known here";
            return Err(self.reply.refused("501 Not Implemented", why));
        }
        Ok(())
    }

    /// The host that is asked for. A request of HTTP/1.1 names one, once (RFC 9112 section 3.2),
    /// but that of the target counts (section 3.2.2).
    fn asked(&self, target: &Target<'_>) -> Result<Option<Authority>, HttpVerdict> {
        let mut values = self.values("host");
        let named = match (values.next(), values.next()) {
            (None, _) if self.minor_version == 0 => None,
            (None, _) => return Err(self.bad("a request of HTTP/1.1 needs a Host")),
            (Some(value), None) => {
                let named = std::str::from_utf8(value).ok();
                let named = named.and_then(|named| Authority::parse(named.trim_ascii()));
                Some(named.ok_or_else(|| self.bad("this Host is none"))?)
            }
            (Some(_), Some(_)) => return Err(self.bad("a request has one Host")),
        };
        Ok(target.authority.clone().or(named))
    }

    /// A name that leads here and is not known as the server's own is somebody else's: a page of
    /// that name would have its browser take this server for its own.
    fn check_host(
        &self,
        target: &Target<'_>,
        asked: Option<&Authority>,
    ) -> Result<(), HttpVerdict> {
        const MISDIRECTED: &str = "421 Misdirected Request";
        if target.is_secure && !self.caller.secure && !self.comes_from_proxy() {
            let why = "this is asked for over TLS, and came without";
            return Err(self.reply.refused(MISDIRECTED, why));
        }
        let Some(asked) = asked.filter(|asked| !self.is_own(asked)) else { return Ok(()) };
        let host = &asked.host;
        let known = self.front.web.hosts.iter().map(|known| format!("{known} "));
        let why = format!(
            "{host} is not known here as a name of this server. If it is one, write it into the\n\
             configuration, beside other hosts that it names, and have that read again (palabre\n\
             restart, or SIGHUP):\n\n[web]\nhosts = {host}"
        );
        let mut verdict = self.reply.refused(MISDIRECTED, &why);
        if let HttpVerdict::Refused { advice, .. } = &mut verdict {
            *advice = Some(Advice {
                about: format!("the host {host}"),
                text: format!(
                    "a request for the host {host} was refused; if it is a name of this server, \
                     write under [web]: hosts = {}{host}",
                    known.collect::<String>()
                ),
            });
        }
        Err(verdict)
    }

    /// What may be asked of a host that is not known here. Whoever looks whether the server serves
    /// names it as it likes, and to a page of another name the answer tells nothing. Whoever may
    /// read the metrics may call the host by a name without a dot: that is how hosts call
    /// themselves, and no page of the internet has such a name.
    fn may_be_asked_of(&self, target: &Target<'_>, asked: &Authority) -> bool {
        let plain = matches!(self.method, "GET" | "HEAD");
        plain && (target.is("/healthz") || target.is("/metrics") && asked.host.is_one_label())
    }

    fn is_own(&self, asked: &Authority) -> bool {
        let Front { web, certificate_hosts, addresses, .. } = self.front;
        config::is_own(asked, addresses, web.hosts.iter().chain(certificate_hosts))
    }

    fn check_method(&self) -> Result<(), HttpVerdict> {
        let expected: Vec<&[u8]> = self.list("expect").collect();
        if self.minor_version > 0
            && expected.iter().any(|word| !word.eq_ignore_ascii_case(b"100-continue"))
        {
            let why = "nothing but 100-continue can be expected here";
            return Err(self.reply.refused("417 Expectation Failed", why));
        }
        if matches!(self.method, "GET" | "HEAD") {
            return Ok(());
        }
        let why = "only GET and HEAD are served here";
        if METHODS_REFUSED.contains(&self.method) {
            let allow = [("Allow", "GET, HEAD")];
            return Err(self.reply.refused_with("405 Method Not Allowed", &allow, why));
        }
        Err(self.reply.refused("501 Not Implemented", why))
    }

    /// A proxy that does not say for whom it asks may ask for anybody, and what one says that is
    /// not trusted is nobody's word.
    fn check_reader_of_metrics(&self) -> Result<(), HttpVerdict> {
        let peer = self.caller.peer;
        if !self.comes_from_proxy() && self.is_forwarded() {
            return Err(self.forbidden(&format!(
                "this request was passed on by a proxy, and nobody knows for whom. If the proxy is\n\
                 to be trusted, write into the configuration, beside those that it has already:\n\n\
                 [daemon]\ntrustedproxies = {peer}"
            )));
        }
        let address = if self.comes_from_proxy() { self.forwarded_for() } else { Some(peer) };
        if address.is_some_and(|address| networks::contains(&self.front.web.metrics, address)) {
            return Ok(());
        }
        Err(self.forbidden("your address is not among those of [web] metrics"))
    }

    fn comes_from_proxy(&self) -> bool {
        networks::contains(&self.front.web.trusted_proxies, self.caller.peer)
    }

    fn is_forwarded(&self) -> bool {
        self.headers.iter().any(|header| {
            let name = header.name.to_ascii_lowercase();
            FORWARDED.contains(&&*name) || name.starts_with(FORWARDED_START)
        })
    }

    fn forwarded_for(&self) -> Option<IpAddr> {
        if !self.comes_from_proxy() {
            return None;
        }
        proxy::forwarded_for(self.values("x-forwarded-for"), &self.front.web.trusted_proxies)
    }

    /// TLS is demanded and this came without.
    fn refuse_plain(
        &self,
        target: &Target<'_>,
        asked: Option<&Authority>,
        upgrade: bool,
    ) -> HttpVerdict {
        let Target { path, query, .. } = target;
        match asked {
            Some(asked) if !upgrade && path.is_ascii() && query.is_ascii() => {
                let location = format!("https://{asked}{path}{query}");
                let headers = [("Location", &*location)];
                let why = "TLS is required here";
                self.reply.refused_with("308 Permanent Redirect", &headers, why)
            }
            Some(_) | None => self.forbidden("TLS is required here: use https:// or wss://"),
        }
    }

    /// The server's side of the opening handshake (RFC 6455 section 4.2).
    fn upgrade(&self, own: &Host) -> Result<HttpVerdict, HttpVerdict> {
        if !self.front.web.websocket {
            return Err(self.forbidden("WebSocket is switched off here ([web] websocket)"));
        }
        if !self.has_token("connection", "upgrade") {
            return Err(self.bad("a WebSocket's request needs Connection: Upgrade"));
        }
        // What is content to a proxy would be frames here.
        let length = self.value("content-length").unwrap_or("0");
        if self.values("transfer-encoding").next().is_some() || length.bytes().any(|b| b != b'0') {
            return Err(self.bad("a WebSocket's request has no content"));
        }
        if self.value("sec-websocket-version") != Some("13") {
            let headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
            let why = "this server speaks version 13";
            return Err(self.reply.refused_with(UPGRADE_REQUIRED, &headers, why));
        }
        let Some(key) = self.value("sec-websocket-key").filter(|key| is_key(key)) else {
            let why = "a WebSocket's request needs a Sec-WebSocket-Key of 16 bytes in Base64";
            return Err(self.bad(why));
        };
        self.check_origin(own)?;
        let mut answer = self.reply.head("101 Switching Protocols");
        let _ = write!(
            answer,
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
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
        Ok(HttpVerdict::Upgrade { answer: answer.into_bytes(), head_bytes: self.head_bytes })
    }

    /// A page of somebody else's may not speak to this server in the name of who looks at it.
    fn check_origin(&self, own: &Host) -> Result<(), HttpVerdict> {
        // Who names no origin is no browser.
        let values: Vec<&[u8]> = self.values("origin").collect();
        let origin = match values[..] {
            [] => return Ok(()),
            [one] => std::str::from_utf8(one).unwrap_or("?").trim(),
            _ => "?",
        };
        let origins = &self.front.web.origins;
        let spelled = config::origin(origin).ok();
        let is_listed =
            |listed: &String| listed == "*" || spelled.as_ref().is_some_and(|own| own == listed);
        let authority =
            origin.split_once("://").and_then(|(_, authority)| Authority::parse(authority));
        if origins.iter().any(is_listed) || authority.is_some_and(|page| page.host == *own) {
            return Ok(());
        }
        let mut verdict =
            self.forbidden("pages of this origin may not connect here ([web] origins)");
        if let HttpVerdict::Refused { advice, .. } = &mut verdict {
            *advice = Some(origin_advice(origin, spelled.as_deref(), origins));
        }
        Err(verdict)
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

    /// The elements of a header's list (RFC 9110 section 5.6.1.2).
    fn list(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let elements = self.values(name).flat_map(|value| value.split(|&byte| byte == b','));
        elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
    }

    /// Whether a header's list has this word.
    fn has_token(&self, name: &'static str, word: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// What the log says of a page that was refused. The line in it is one that the configuration
/// takes: an origin that it would not take is only shown.
fn origin_advice(origin: &str, spelled: Option<&str>, listed: &[String]) -> Advice {
    let shown: String = origin.chars().take(ORIGIN_CHARACTERS_SHOWN).collect();
    let listed = listed.iter().map(|listed| format!("{listed} ")).collect::<String>();
    let shown = Escaped(&shown).to_string();
    let text = match spelled {
        Some(spelled) if spelled != "*" => format!(
            "a page of the origin {spelled} was refused; if it may connect, write under [web]: \
             origins = {listed}{spelled}"
        ),
        _ if origin == "null" => "a page without an origin of its own (null: a file, or a frame \
             that is shut off) was refused; if any page at all may connect, write under [web]: \
             origins = *"
            .to_owned(),
        Some(_) | None => format!("a page was refused whose origin is none: \"{shown}\""),
    };
    Advice { about: format!("the origin {}", spelled.unwrap_or(&shown)), text }
}

/// So much is shown of an origin that is none.
const ORIGIN_CHARACTERS_SHOWN: usize = 200;

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
