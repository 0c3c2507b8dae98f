//! What the listener takes, and from whom: `[web]`, `[tls]` and two keys of `[daemon]`.

use core::fmt;
use core::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::hosts::{Authority, Host, KnownHost};

/// What the listener takes, and from whom. All of it can change at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// `[daemon] stanzas`: stanzas as they are, without HTTP around them, bare or in TLS.
    pub stanzas: bool,
    /// `[web] http`: any HTTP at all. Without it none of the next two.
    pub http: bool,
    /// `[web] websocket`.
    pub websocket: bool,
    /// `[web] page`: the chat page and its script.
    pub page: bool,
    /// `[web] hosts`: the hosts that are this server's own, besides those that it knows without.
    pub hosts: Vec<KnownHost>,
    /// `[web] origins`: `scheme://host[:port]` in lower case, without the port that the scheme
    /// has anyway, as a browser sends it; or `*`. The server's own host is not among them.
    pub origins: Vec<String>,
    /// `[web] metrics`: who may read `/metrics`.
    pub metrics: Vec<IpNet>,
    /// `[daemon] trustedproxies`: whose word about a client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// `[tls]`; `None` without a certificate.
    pub tls: Option<Tls>,
}

/// `[tls]`: where certificate and key stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM, the server's own certificate first, then its chain; absolute.
    pub certificate: PathBuf,
    /// PEM, the private key of that certificate; absolute.
    pub key: PathBuf,
    /// Whether nothing is taken without TLS.
    pub required: bool,
}

/// Ports that browsers leave out of an origin.
const DEFAULT_PORTS: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// Why a word is no origin; its text is what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OriginError {
    /// `null`, which stands for every page that has no origin.
    Null,
    /// No scheme before it.
    NoScheme(String),
    /// The address of a WebSocket; the origin of a page there.
    WebSocket(String),
    /// A path behind it; the origin without it.
    Path(String),
    /// `*` within it.
    Pattern,
    /// A name that is not written as the DNS has it.
    NotAscii,
    /// None of these, and no origin.
    Unknown,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => {
                f.write_str("\"*\" if every page may connect: any page can send the origin null")
            }
            Self::NoScheme(host) => write!(f, "the scheme as well, such as https://{host}"),
            Self::WebSocket(page) => {
                write!(f, "the address of the page that connects, such as {page}")
            }
            Self::Path(origin) => write!(f, "{origin} alone: an origin has no path"),
            Self::Pattern => f.write_str("each host by its name, or \"*\" alone for every page"),
            Self::NotAscii => {
                f.write_str("the host's name in ASCII, as it begins with xn-- in a certificate")
            }
            Self::Unknown => f.write_str(
                "scheme://host or scheme://host:port, such as https://example.org or \
                 http://localhost:8000",
            ),
        }
    }
}

impl std::error::Error for OriginError {}

/// Reads one of `[web] origins`, and spells it as a browser does (RFC 6454 section 6.1).
///
/// # Errors
/// What would be right.
pub(crate) fn origin(word: &str) -> Result<String, OriginError> {
    if word == "*" {
        return Ok(word.to_owned());
    }
    let text = word.to_ascii_lowercase();
    if text == "null" {
        return Err(OriginError::Null);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(OriginError::NoScheme(text));
    };
    let well_formed_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !well_formed_scheme {
        return Err(OriginError::Unknown);
    }
    if scheme == "ws" || scheme == "wss" {
        let page = if scheme == "ws" { "http" } else { "https" };
        return Err(OriginError::WebSocket(format!("{page}://{rest}")));
    }
    if let Some(end) = rest.find(['/', '?', '#']) {
        return Err(OriginError::Path(format!("{scheme}://{}", &rest[..end])));
    }
    let (host, port) = spelled(rest)?;
    let by_default = DEFAULT_PORTS.iter().any(|known| known.0 == scheme && Some(known.1) == port);
    Ok(match port.filter(|_| !by_default) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Whether a text is a host, or a host and a port, as browsers take them.
pub(crate) fn is_authority(text: &str) -> bool {
    Authority::parse(text).is_some() && !text.ends_with(':')
}

/// Host and port of an origin, the host as a browser spells it: a dot at its end makes another
/// origin of it.
fn spelled(text: &str) -> Result<(String, Option<u16>), OriginError> {
    if text.contains('*') {
        return Err(OriginError::Pattern);
    }
    if !text.is_ascii() {
        return Err(OriginError::NotAscii);
    }
    let Authority { host, port } =
        Authority::parse(text).filter(|_| !text.ends_with(':')).ok_or(OriginError::Unknown)?;
    let named = text.rsplit_once(':').map_or(text, |(named, _)| named);
    let host = match host {
        Host::Name(name) if named.ends_with('.') => format!("{name}."),
        Host::Name(name) => name,
        Host::Address(IpAddr::V4(address)) if text.starts_with('[') => {
            format!("[{}]", address.to_ipv6_mapped())
        }
        Host::Address(address) => Host::Address(address).to_string(),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_spelled_as_a_browser_does() {
        for (word, spelled) in [
            ("*", "*"),
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG", "https://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("http://localhost:08000", "http://localhost:8000"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[0:0::1]:8000", "http://[::1]:8000"),
            ("moz-extension://0f1e", "moz-extension://0f1e"),
        ] {
            assert_eq!(origin(word).as_deref(), Ok(spelled), "{word}");
        }
    }

    #[test]
    fn what_is_no_origin_is_told_what_would_be_right() {
        for (word, hint) in [
            ("example.org", "such as https://example.org"),
            ("https://example.org/", "https://example.org alone"),
            ("https://example.org/chat?a", "https://example.org alone"),
            ("wss://example.org:8000", "https://example.org:8000"),
            ("ws://example.org", "http://example.org"),
            ("null", "\"*\""),
            ("https://*.example.org", "each host by its name"),
            ("https://bücher.example", "xn--"),
            ("https://", "scheme://host"),
            ("://example.org", "scheme://host"),
            ("https://example.org:", "scheme://host"),
            ("https://example.org:0", "scheme://host"),
            ("https://example.org:+80", "scheme://host"),
            ("https://example.org:65536", "scheme://host"),
            ("https://me@example.org", "scheme://host"),
            ("https://::1", "scheme://host"),
            ("https://[::g]", "scheme://host"),
            ("https://300.0.0.1", "scheme://host"),
        ] {
            let needs = origin(word).unwrap_err().to_string();
            assert!(needs.contains(hint), "{word}: {needs}");
        }
    }
}
