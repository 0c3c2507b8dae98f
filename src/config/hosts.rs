//! Hosts as URLs and requests name them, and which of them are this server's own: `[web] hosts`
//! and the names of a certificate.
//!
//! A page of any name may have its browser find this server under that name, for whoever holds the
//! name says where it leads (DNS rebinding). So a name counts only when somebody here has written
//! it down. An address can't be bent like that.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name of a host (RFC 1035 section 2.3.4), in bytes.
const NAME_BYTES_MAX: usize = 253;

/// Ports that URLs leave out.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// A host as a URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address; an IPv4-mapped IPv6 address is the IPv4 one.
    Address(IpAddr),
    /// A name, in lower case and without the dot of the root at its end.
    Name(String),
}

impl Host {
    /// Reads a host: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(bare) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address: Ipv6Addr = bare.parse().ok()?;
            return Some(Self::Address(IpAddr::from(address).to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| !label.is_empty() && label.bytes().all(is_name_byte);
        if name.len() > NAME_BYTES_MAX || !name.split('.').all(label) {
            return None;
        }
        // What ends in a number is an IPv4 address to a browser (URL standard, host parsing).
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Address(name.parse::<Ipv4Addr>().ok()?.into()));
        }
        Some(Self::Name(name))
    }

    /// Whether it is this machine to whoever asks for it: a loopback address, `localhost`, and
    /// what is below that, which is nobody's to register (RFC 6761 section 6.3).
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// Whether it is a name of one label. Such a name is looked up in the host's own tables and
    /// network; the root of the DNS has none that leads to an address.
    #[must_use]
    pub fn is_one_label(&self) -> bool {
        matches!(self, Self::Name(name) if !name.contains('.'))
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host and perhaps a port: what stands in `Host` and between `//` and the path of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, where it is named.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `HOST`, `HOST:PORT` or, as RFC 3986 section 3.2.3 has it, `HOST:`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((_, port)) if port.ends_with(']') => (text, None),
            Some((host, "")) => (host, None),
            Some((host, port)) => {
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                (host, Some(port.parse().ok().filter(|port| digits && *port != 0)?))
            }
            None => (text, None),
        };
        Some(Self { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Hosts that are this server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownHost {
    /// `*`: whatever a request names.
    Any,
    /// This one, with any port where none is named.
    One(Authority),
    /// `*.NAME`: each name that is NAME and one label before it, as in certificates (RFC 6125
    /// section 6.4.3).
    Below(Authority),
}

/// Why a word is no [`KnownHost`]; its text is what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostError {
    /// A URL; the host in it.
    Scheme(String),
    /// A host with a path behind it; the host.
    Path(String),
    /// A name that is not written as the DNS has it.
    NotAscii,
    /// Neither a name nor an address.
    Unknown,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(host) => write!(f, "the host alone, without a scheme: {host}"),
            Self::Path(host) => write!(f, "the host alone, without a path: {host}"),
            Self::NotAscii => {
                f.write_str("the host's name in ASCII, as it begins with xn-- in a certificate")
            }
            Self::Unknown => f.write_str(
                "names or addresses of this server separated by blanks, each with a port if need \
                 be, such as chat.example.org, *.example.org or 192.0.2.1:8080; * for any",
            ),
        }
    }
}

impl std::error::Error for HostError {}

impl KnownHost {
    /// Reads one of `[web] hosts`.
    ///
    /// # Errors
    /// What would be right.
    pub(super) fn parse(word: &str) -> Result<Self, HostError> {
        if word == "*" {
            return Ok(Self::Any);
        }
        if let Some((_, rest)) = word.split_once("://") {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            return Err(HostError::Scheme(rest[..end].to_owned()));
        }
        if let Some(end) = word.find(['/', '?', '#']) {
            return Err(HostError::Path(word[..end].to_owned()));
        }
        if !word.is_ascii() {
            return Err(HostError::NotAscii);
        }
        if let Ok(address) = word.parse::<Ipv6Addr>() {
            let host = Host::Address(IpAddr::from(address).to_canonical());
            return Ok(Self::One(Authority { host, port: None }));
        }
        let (name, below) = word.strip_prefix("*.").map_or((word, false), |name| (name, true));
        match Authority::parse(name) {
            Some(authority @ Authority { host: Host::Name(_), .. }) if below => {
                Ok(Self::Below(authority))
            }
            Some(authority) if !below => Ok(Self::One(authority)),
            Some(_) | None => Err(HostError::Unknown),
        }
    }

    /// A name of a certificate: a host or `*.NAME`, never with a port.
    #[cfg(feature = "tls")]
    pub(crate) fn of_certificate(name: &str) -> Option<Self> {
        match Self::parse(name).ok()? {
            Self::Any => None,
            Self::One(Authority { port, .. }) | Self::Below(Authority { port, .. })
                if port.is_some() =>
            {
                None
            }
            known @ (Self::One(_) | Self::Below(_)) => Some(known),
        }
    }

    /// Whether all that `other` covers is covered, whatever the port. `*` says nothing about
    /// which hosts there are.
    #[cfg(feature = "tls")]
    pub(crate) fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) => true,
            (_, Self::One(other)) => {
                self.covers(&Authority { host: other.host.clone(), port: None })
            }
            (Self::Below(own), Self::Below(other)) => own.host == other.host,
            (Self::Any, Self::Below(_)) => true,
            (Self::One(_), Self::Below(_)) => false,
        }
    }

    /// Whether a request for `asked` is for this server. A URL without a port means one of those
    /// that schemes have anyway.
    #[must_use]
    pub fn covers(&self, asked: &Authority) -> bool {
        let port_is = |port: Option<u16>| match (port, asked.port) {
            (None, _) => true,
            (Some(port), None) => DEFAULT_PORTS.contains(&port),
            (Some(port), Some(asked)) => port == asked,
        };
        match (self, &asked.host) {
            (Self::Any, _) => true,
            (Self::One(own), host) => own.host == *host && port_is(own.port),
            (Self::Below(own), Host::Name(name)) => {
                let parent = name.split_once('.').map(|(_, parent)| parent);
                matches!(&own.host, Host::Name(own) if parent == Some(own)) && port_is(own.port)
            }
            (Self::Below(_), Host::Address(_)) => false,
        }
    }
}

impl fmt::Display for KnownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(authority) => write!(f, "{authority}"),
            Self::Below(authority) => write!(f, "*.{authority}"),
        }
    }
}

/// Whether a host is the server's own: an address that it listens on, this machine to those on it,
/// or a host that is known, by the configuration or by the certificate.
pub(crate) fn is_own<'a>(
    asked: &Authority,
    addresses: &[IpAddr],
    mut known: impl Iterator<Item = &'a KnownHost>,
) -> bool {
    let is_address = |own: &IpAddr| match &asked.host {
        // Whoever listens on all addresses has some that only a router knows; and an address, other
        // than a name, leads nowhere else than to itself.
        Host::Address(address) => own.is_unspecified() || own.to_canonical() == *address,
        Host::Name(_) => false,
    };
    asked.host.is_local()
        || addresses.iter().any(is_address)
        || known.any(|known| known.covers(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    #[test]
    fn a_host_is_the_same_however_it_is_spelled() {
        for (text, spelled) in [
            ("Chat.Example.ORG", "chat.example.org"),
            ("chat.example.org.", "chat.example.org"),
            ("chat.example.org.:2468", "chat.example.org:2468"),
            ("chat.example.org:", "chat.example.org"),
            ("chat.example.org:02468", "chat.example.org:2468"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("under_score", "under_score"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1.", "192.0.2.1"),
            ("[2001:DB8::0:1]:1", "[2001:db8::1]:1"),
            ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ] {
            assert_eq!(authority(text).to_string(), spelled, "{text}");
        }
    }

    #[test]
    fn what_no_browser_asks_for_is_no_host() {
        let long = "a.".repeat(128);
        for text in [
            "",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            ":80",
            "a:b",
            "a:0",
            "a:65536",
            "a:+80",
            "a:80:80",
            "a b",
            "a,b",
            "a, b",
            "a/b",
            "a@b",
            "a%20b",
            "*",
            "*.a",
            "b\u{fc}cher",
            "a\\b",
            "[::1",
            "::1",
            "[::1]a",
            "[::g]",
            "[fe80::1%eth0]",
            "127.1",
            "1.2.3.256",
            "0x7f.1:80:1",
            "1",
            "01.2.3.4",
            "[127.0.0.1]",
            "a\0",
            "a\"",
            "'a'",
            &long[..255],
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
        assert!(Authority::parse(&long[..253]).is_some());
    }

    #[test]
    fn known_hosts_cover_what_they_name_and_nothing_else() {
        for (word, covered, others) in [
            (
                "chat.example",
                &["chat.example", "CHAT.example.", "chat.example:1"][..],
                &["a.chat.example", "chat.example.evil", "chat", "example", "xchat.example"][..],
            ),
            ("Chat.Example.:8080", &["chat.example:8080"], &["chat.example", "chat.example:80"]),
            ("a.b:443", &["a.b", "a.b:443"], &["a.b:80", "a.b:444"]),
            ("a.b:80", &["a.b", "a.b:80"], &["a.b:443"]),
            (
                "*.example",
                &["a.example", "A.EXAMPLE.:1"],
                &["example", "b.a.example", "a.example.c", "192.0.2.1", "xexample"],
            ),
            ("*.a.b:81", &["x.a.b:81"], &["x.a.b", "a.b:81"]),
            ("192.0.2.1", &["192.0.2.1", "192.0.2.1:8", "[::ffff:192.0.2.1]"], &["192.0.2.2"]),
            ("::1", &["[::1]", "[0::1]:5"], &["[::2]", "127.0.0.1"]),
            ("[::1]:5", &["[::1]:5"], &["[::1]"]),
            ("*", &["a", "192.0.2.1", "[::1]:5"], &[]),
        ] {
            let known = KnownHost::parse(word).unwrap();
            let read_back = KnownHost::parse(&known.to_string());
            assert_eq!(read_back.as_ref(), Ok(&known), "{word}");
            for text in covered {
                assert!(known.covers(&authority(text)), "{word} and {text}");
            }
            for text in others {
                assert!(!known.covers(&authority(text)), "{word} and {text}");
            }
        }
    }

    #[test]
    fn what_is_no_known_host_is_told_what_would_be_right() {
        for (word, hint) in [
            ("https://chat.example:1/a", "without a scheme: chat.example:1"),
            ("chat.example/", "without a path: chat.example"),
            ("b\u{fc}cher.example", "xn--"),
            ("a.*.b", "such as chat.example.org"),
            ("**", "such as chat.example.org"),
            ("*.192.0.2.1", "such as chat.example.org"),
            ("*:80", "such as chat.example.org"),
            ("127.1", "such as chat.example.org"),
            ("a:b", "such as chat.example.org"),
        ] {
            let needs = KnownHost::parse(word).unwrap_err().to_string();
            assert!(needs.contains(hint), "{word}: {needs}");
        }
    }

    #[test]
    fn this_machine_has_its_own_names() {
        for text in ["localhost", "LOCALHOST.:1", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"]
        {
            assert!(authority(text).host.is_local(), "{text}");
        }
        for text in ["localhost.evil", "xlocalhost", "128.0.0.1", "[::2]", "0.0.0.0"] {
            assert!(!authority(text).host.is_local(), "{text}");
        }
    }
}
