//! What the listener takes, and from whom: `[web]`, `[tls]` and two keys of `[daemon]`.

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

/// Reads one of `[web] origins`, and spells it as a browser does (RFC 6454 section 6.1).
///
/// # Errors
/// What would be right.
pub(crate) fn origin(word: &str) -> Result<String, String> {
    if word == "*" {
        return Ok(word.to_owned());
    }
    let text = word.to_ascii_lowercase();
    if text == "null" {
        return Err("\"*\" if every page may connect: any page can send the origin null".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("the scheme as well, such as https://{text}"));
    };
    let well_formed_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !well_formed_scheme {
        return Err(EXAMPLE.to_owned());
    }
    if scheme == "ws" || scheme == "wss" {
        let page = if scheme == "ws" { "http" } else { "https" };
        return Err(format!("the address of the page that connects, such as {page}://{rest}"));
    }
    if let Some(end) = rest.find(['/', '?', '#']) {
        return Err(format!("{scheme}://{} alone: an origin has no path", &rest[..end]));
    }
    let (host, port) = spelled(rest)?;
    let by_default = DEFAULT_PORTS.iter().any(|known| known.0 == scheme && Some(known.1) == port);
    Ok(match port.filter(|_| !by_default) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

const EXAMPLE: &str =
    "scheme://host or scheme://host:port, such as https://example.org or http://localhost:8000";

/// Whether a text is a host, or a host and a port, as browsers take them.
pub(crate) fn is_authority(text: &str) -> bool {
    Authority::parse(text).is_some() && !text.ends_with(':')
}

/// Host and port of an origin, the host as a browser spells it: a dot at its end makes another
/// origin of it.
fn spelled(text: &str) -> Result<(String, Option<u16>), String> {
    if text.contains('*') {
        return Err("each host by its name, or \"*\" alone for every page".to_owned());
    }
    if !text.is_ascii() {
        return Err("the host's name in ASCII, as it begins with xn-- in a certificate".to_owned());
    }
    let Authority { host, port } =
        Authority::parse(text).filter(|_| !text.ends_with(':')).ok_or(EXAMPLE)?;
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
            let needs = origin(word).unwrap_err();
            assert!(needs.contains(hint), "{word}: {needs}");
        }
    }
}
