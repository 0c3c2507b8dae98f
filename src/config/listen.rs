//! Listen addresses as people write them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use super::problem::Misfit;

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// Where; port 0 takes a free one. An IPv6 address never takes IPv4 connections as well.
    pub address: SocketAddr,
    /// Whether the server may go without it when the host has no such address family: it was
    /// not asked for by itself, it is one half of "all addresses".
    pub optional: bool,
}

impl Listen {
    /// Whether it has another address among those that it stands for.
    fn covers(&self, one: &Self) -> bool {
        let (all, one) = (self.address, one.address);
        all.ip().is_unspecified()
            && !one.ip().is_unspecified()
            && all.is_ipv4() == one.is_ipv4()
            && all.port() == one.port()
            && all.port() != 0
    }
}

/// What is listened on, before the port of `[daemon] port` is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenPlace {
    host: ListenHost,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListenHost {
    /// Every address, IPv4 and IPv6.
    All,
    /// The loopback addresses.
    Localhost,
    One(IpAddr),
}

impl ListenPlace {
    /// Every address of the host.
    const ALL: Self = Self { host: ListenHost::All, port: None };
    /// IPv4 loopback.
    pub(super) const LOOPBACK: Self =
        Self { host: ListenHost::One(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: None };

    /// Reads `ADDR:PORT`, `[ADDR]:PORT`, `:PORT`, `*:PORT` or `localhost:PORT`.
    ///
    /// # Errors
    /// What was found and what would be right.
    pub fn with_port(text: &str) -> Result<Self, Misfit> {
        let place: Self = text.parse()?;
        let needs = match (place.port, place.host) {
            (Some(_), _) => return Ok(place),
            (None, ListenHost::One(IpAddr::V6(address))) => {
                format!("an address and a port, IPv6 in brackets: [{address}]:2468")
            }
            (None, ListenHost::All | ListenHost::Localhost | ListenHost::One(IpAddr::V4(_))) => {
                format!("an address and a port: {text}:2468")
            }
        };
        Err(Misfit::new(format!("{text:?} without a port"), needs))
    }

    /// The addresses it stands for.
    fn resolve(self, port: u16) -> impl Iterator<Item = Listen> {
        let port = self.port.unwrap_or(port);
        let (first, second) = match self.host {
            ListenHost::All => (Ipv4Addr::UNSPECIFIED.into(), Some(Ipv6Addr::UNSPECIFIED)),
            ListenHost::Localhost => (Ipv4Addr::LOCALHOST.into(), Some(Ipv6Addr::LOCALHOST)),
            ListenHost::One(address) => (address, None),
        };
        let listen =
            move |address, optional| Listen { address: SocketAddr::new(address, port), optional };
        core::iter::once(listen(first, false))
            .chain(second.map(|second| listen(second.into(), true)))
    }
}

impl FromStr for ListenPlace {
    type Err = Misfit;

    fn from_str(text: &str) -> Result<Self, Misfit> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: ListenHost::One(address.ip()), port: Some(address.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self { host: ListenHost::One(address), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = match host {
            "*" => ListenHost::All,
            "" if port.is_some() => ListenHost::All,
            host if host.eq_ignore_ascii_case("localhost") => ListenHost::Localhost,
            _ => return Err(refusal(text)),
        };
        let port = port.map(|port| port.parse().map_err(|_| refusal(text))).transpose()?;
        Ok(Self { host, port })
    }
}

/// Says what is wrong with something that is no address.
fn refusal(text: &str) -> Misfit {
    let needs = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("an address as well: 127.0.0.1:{text}, or :{text} for all addresses")
    } else if let Some((_, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_err()
    {
        "a port from 0 to 65535 behind the last \":\"".to_owned()
    } else {
        "an IPv4 or IPv6 address (names other than localhost are not looked up), \
         such as 127.0.0.1:2468 or [::1]:2468"
            .to_owned()
    };
    Misfit::quoted(text, needs)
}

/// The addresses that these places stand for, each once; all addresses when there are none. What
/// all addresses of a kind have among them is not asked for again.
pub(super) fn resolve(places: &[ListenPlace], port: u16) -> Vec<Listen> {
    let places = if places.is_empty() { &[ListenPlace::ALL] } else { places };
    let mut addresses: Vec<Listen> = Vec::new();
    for listen in places.iter().flat_map(|place| place.resolve(port)) {
        // Port 0 is another one each time.
        let same = |known: &Listen| known.address == listen.address && listen.address.port() != 0;
        match addresses.iter_mut().find(|known| same(known)) {
            Some(known) => known.optional &= listen.optional,
            None => addresses.push(listen),
        }
    }
    let all = addresses.clone();
    addresses.retain(|one| !all.iter().any(|known| known.covers(one)));
    addresses
}

impl fmt::Display for ListenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host, self.port) {
            (ListenHost::All, None) => f.write_str("*"),
            (ListenHost::All, Some(port)) => write!(f, "*:{port}"),
            (ListenHost::Localhost, None) => f.write_str("localhost"),
            (ListenHost::Localhost, Some(port)) => write!(f, "localhost:{port}"),
            (ListenHost::One(address), None) => write!(f, "{address}"),
            (ListenHost::One(address), Some(port)) => {
                write!(f, "{}", SocketAddr::new(address, port))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Vec<(String, bool)> {
        let place: ListenPlace = text.parse().unwrap();
        place.resolve(2468).map(|listen| (listen.address.to_string(), listen.optional)).collect()
    }

    #[test]
    fn every_spelling_of_an_address_is_taken() {
        let one = |text: &str| vec![(text.to_owned(), false)];
        let two = |a: &str, b: &str| vec![(a.to_owned(), false), (b.to_owned(), true)];
        assert_eq!(resolved("127.0.0.1"), one("127.0.0.1:2468"));
        assert_eq!(resolved("127.0.0.1:0"), one("127.0.0.1:0"));
        assert_eq!(resolved("::1"), one("[::1]:2468"));
        assert_eq!(resolved("[::1]"), one("[::1]:2468"));
        assert_eq!(resolved("[::1]:1"), one("[::1]:1"));
        assert_eq!(resolved(":1"), two("0.0.0.0:1", "[::]:1"));
        assert_eq!(resolved("*"), two("0.0.0.0:2468", "[::]:2468"));
        assert_eq!(resolved("*:1"), two("0.0.0.0:1", "[::]:1"));
        assert_eq!(resolved("Localhost:1"), two("127.0.0.1:1", "[::1]:1"));
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in
            ["127.0.0.1", "127.0.0.1:0", "::1", "[::1]:1", "*", "*:7", "localhost", "localhost:7"]
        {
            assert_eq!(text.parse::<ListenPlace>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_told_what_would_be_right() {
        for (text, hint) in [
            ("2468", "127.0.0.1:2468, or :2468"),
            ("localhost", "localhost:2468"),
            ("::1", "[::1]:2468"),
            ("127.0.0.1", "127.0.0.1:2468"),
            ("127.0.0.1:70000", "from 0 to 65535"),
            ("127.0.0.1:", "from 0 to 65535"),
            ("example.org:2468", "not looked up"),
            ("", "an IPv4 or IPv6 address"),
        ] {
            let error = ListenPlace::with_port(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text:?}: {error}");
        }
    }
}
