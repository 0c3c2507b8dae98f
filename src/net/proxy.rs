//! What a proxy tells of the client behind it: the header of the PROXY protocol, before the first
//! byte, and `X-Forwarded-For`, in a request.
//!
//! Whether a peer is one whose word counts is decided elsewhere. The PROXY protocol is read here
//! by its specification (haproxy.org, proxy-protocol.txt), because a header may arrive in pieces
//! and the crate for it, `ppp`, takes one that ends before its last port for a wrong one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use ipnet::IpNet;

use crate::limits::PROXY_HEADER_BYTES_MAX;
use crate::networks;

/// How a header of version 1 begins.
const TEXT_START: &[u8] = b"PROXY ";

/// The longest header of version 1, its end included (section 2.1).
const TEXT_BYTES_MAX: usize = 107;

/// How a header of version 2 begins (section 2.2).
const BINARY_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of a header of version 2 before its addresses.
const BINARY_BYTES_MIN: usize = 16;

/// What the first bytes of a connection from a proxy are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// That can't be told before more have come.
    Incomplete,
    /// Something else than a header.
    Missing,
    /// A header.
    Header {
        /// Its bytes; behind it the client's own begin.
        length: usize,
        /// The client's address; `None` where the proxy speaks for itself or does not know.
        address: Option<IpAddr>,
    },
    /// A header that breaks the protocol, or is longer than it may be.
    Invalid,
}

/// Reads the header of the PROXY protocol, version 1 or 2, that a connection may begin with.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let begins = |start: &[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    if bytes.is_empty() {
        Parsed::Incomplete
    } else if begins(TEXT_START) {
        parse_text(bytes)
    } else if begins(BINARY_START) {
        parse_binary(bytes)
    } else {
        Parsed::Missing
    }
}

/// The client's own address by `X-Forwarded-For`: the last one that is not a trusted proxy's,
/// because what stands before it is only the word of a peer that is not trusted. Ports and
/// brackets may stand with an address. `None` when there is no such address, or something else
/// in its place.
pub(crate) fn forwarded_for<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let hops = values.flat_map(|value| value.split(|&byte| byte == b','));
    let mut client = None;
    // Empty elements of a list mean nothing (RFC 9110 section 5.6.1.2).
    for hop in hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
        match address(hop) {
            Some(address) if networks::contains(trusted, address) => {}
            other => client = other,
        }
    }
    client
}

/// Section 2.1: one line.
fn parse_text(bytes: &[u8]) -> Parsed {
    let within = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        let more = bytes.len() < TEXT_BYTES_MAX;
        return if more { Parsed::Incomplete } else { Parsed::Invalid };
    };
    let line = within[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(TEXT_START));
    let Some(line) = line.and_then(|line| core::str::from_utf8(line).ok()) else {
        return Parsed::Invalid;
    };
    let mut words = line.split(' ');
    let address = match words.next() {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => Some(None),
        Some("TCP4") => source::<Ipv4Addr>(words).map(|address| Some(address.into())),
        Some("TCP6") => source::<Ipv6Addr>(words).map(|address| Some(address.into())),
        Some(_) | None => None,
    };
    match address {
        Some(address) => Parsed::Header { length: end + 1, address },
        None => Parsed::Invalid,
    }
}

/// The first of two addresses, when two ports and nothing else follow them.
fn source<'a, Address: FromStr>(mut words: impl Iterator<Item = &'a str>) -> Option<Address> {
    let source = words.next()?.parse().ok()?;
    words.next()?.parse::<Address>().ok()?;
    for _ in 0..2 {
        let port = words.next()?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let number: u16 = port.parse().ok().filter(|_| digits)?;
        // Without leading zeros.
        (number.to_string() == port).then_some(())?;
    }
    words.next().is_none().then_some(source)
}

/// Section 2.2: a head of fixed size, addresses, and whatever else the proxy tells.
fn parse_binary(bytes: &[u8]) -> Parsed {
    let Some((head, rest)) = bytes.split_at_checked(BINARY_BYTES_MIN) else {
        return Parsed::Incomplete;
    };
    let (version_and_command, family) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if BINARY_BYTES_MIN + length > PROXY_HEADER_BYTES_MAX {
        return Parsed::Invalid;
    }
    let address = match (version_and_command, family) {
        // LOCAL: the proxy itself, which looks whether the server is there.
        (0x20, _) => None,
        (0x21, 0x11) if length >= 12 => rest.first_chunk::<4>().map(|&octets| IpAddr::from(octets)),
        (0x21, 0x21) if length >= 36 => {
            rest.first_chunk::<16>().map(|&octets| IpAddr::from(octets))
        }
        // Unknown, datagrams, sockets of Unix.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Parsed::Invalid,
    };
    if rest.len() < length {
        return Parsed::Incomplete;
    }
    Parsed::Header { length: BINARY_BYTES_MIN + length, address }
}

/// An address, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok()?.into(),
        None => text.parse::<IpAddr>().ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: usize, address: &str) -> Parsed {
        Parsed::Header { length, address: Some(address.parse().unwrap()) }
    }

    /// A header of version 2.
    fn binary(version_and_command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [BINARY_START, &[version_and_command, family], &length, content].concat()
    }

    fn four() -> Vec<u8> {
        binary(0x21, 0x11, &[192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 0x09, 0xa4])
    }

    /// With a NOOP of three bytes behind the addresses.
    fn six() -> Vec<u8> {
        let mut content = Vec::from("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        content.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        content.extend([0xdc, 0x04, 0x09, 0xa4, 0x04, 0, 0]);
        binary(0x21, 0x21, &content)
    }

    #[test]
    fn a_header_is_read_whole_and_no_cut_of_it_is_taken_for_something_else() {
        let text = |line: &str| format!("{line}\r\n").into_bytes();
        let none = |length| Parsed::Header { length, address: None };
        for (bytes, expected) in [
            (text("PROXY TCP4 192.0.2.1 10.0.0.1 56324 2468"), header(42, "192.0.2.1")),
            (
                text("PROXY TCP4 255.255.255.255 255.255.255.255 65535 0"),
                header(52, "255.255.255.255"),
            ),
            (text("PROXY TCP6 2001:db8::1 ::1 56324 2468"), header(39, "2001:db8::1")),
            (text("PROXY UNKNOWN"), none(15)),
            (text("PROXY UNKNOWN ffff::1 a b 65536 c d e"), none(39)),
            (four(), header(28, "192.0.2.1")),
            (six(), header(55, "2001:db8::1")),
            (binary(0x20, 0x00, &[]), none(16)),
            (binary(0x20, 0x11, &[1, 2, 3]), none(19)),
            (binary(0x21, 0x00, &[1, 2, 3]), none(19)),
            (binary(0x21, 0x31, &[0; 216]), none(232)),
            (binary(0x21, 0x12, &[0; 12]), none(28)),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Parsed::Incomplete, "{cut} bytes of {bytes:?}");
            }
            assert_eq!(parse(&bytes), expected, "{bytes:?}");
            for behind in [&b"<connect"[..], b"\r\n", b"PROXY ", b"\0", BINARY_START] {
                assert_eq!(parse(&[&bytes, behind].concat()), expected, "{bytes:?} {behind:?}");
            }
        }
    }

    #[test]
    fn what_begins_otherwise_is_no_header() {
        for bytes in [
            "<connect nickname='a'/>\0",
            "GET / HTTP/1.1",
            "POST / HTTP/1.1",
            "PROPFIND / HTTP/1.1",
            "PRI * HTTP/2.0",
            "PROXY\r\n",
            "proxy TCP4",
            "\r\n<ping/>",
            "\r\n\r\n<ping/>",
            "\r\n\r\n\0<ping/>",
            "\r\n\r\n\0\r\nQUIT ",
            "\u{16}\u{3}\u{1}",
            " ",
        ] {
            assert_eq!(parse(bytes.as_bytes()), Parsed::Missing, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_that_breaks_the_protocol_is_invalid() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY tcp4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 \r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
            "PROXY TCP4 2001:db8::1 10.0.0.1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 chat.example 1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWN\r\r\n\n",
            "PROXY UNKNOWNS\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Parsed::Invalid, "{line:?}");
        }
        assert_eq!(parse(b"PROXY TCP4 \xff\r\n"), Parsed::Invalid);
    }

    #[test]
    fn a_line_has_its_longest_length_and_no_more() {
        let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
        assert_eq!(parse(line(107).as_bytes()), Parsed::Header { length: 107, address: None });
        assert_eq!(parse(line(108).as_bytes()), Parsed::Invalid);
        assert_eq!(parse(&line(200).as_bytes()[..106]), Parsed::Incomplete);
        assert_eq!(parse(&line(200).as_bytes()[..107]), Parsed::Invalid);
    }

    #[test]
    fn a_binary_header_that_breaks_the_protocol_is_invalid_as_soon_as_that_is_seen() {
        for bytes in [
            binary(0x11, 0x11, &[0; 12]),
            binary(0x31, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x10, &[0; 12]),
            binary(0x21, 0x13, &[0; 12]),
            binary(0x21, 0x41, &[0; 12]),
            binary(0x21, 0x01, &[0; 12]),
        ] {
            assert_eq!(parse(&bytes[..16]), Parsed::Invalid, "{bytes:?}");
            assert_eq!(parse(&bytes), Parsed::Invalid, "{bytes:?}");
        }
    }

    #[test]
    fn a_binary_header_has_its_longest_length_and_no_more() {
        let longest = binary(0x21, 0x00, &[0; PROXY_HEADER_BYTES_MAX - BINARY_BYTES_MIN]);
        let length = PROXY_HEADER_BYTES_MAX;
        assert_eq!(parse(&longest), Parsed::Header { length, address: None });
        let longer = binary(0x20, 0x00, &[0; PROXY_HEADER_BYTES_MAX - BINARY_BYTES_MIN + 1]);
        assert_eq!(parse(&longer[..16]), Parsed::Invalid);
    }

    fn client(values: &[&str]) -> Option<String> {
        let trusted = ["10.0.0.0/8", "127.0.0.1", "fd00::/8"];
        let trusted: Vec<IpNet> =
            trusted.iter().map(|text| networks::parse(text).unwrap()).collect();
        let values = values.iter().map(|value| value.as_bytes());
        forwarded_for(values, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_clients() {
        for (values, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["198.51.100.7, 192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, 10.0.0.1,127.0.0.1"], "192.0.2.1"),
            (&["198.51.100.7", "192.0.2.1, 10.0.0.1", "10.0.0.2"], "192.0.2.1"),
            (&["forged, 192.0.2.1"], "192.0.2.1"),
            (&[" , 192.0.2.1 ,, "], "192.0.2.1"),
            (&["192.0.2.1:56324"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:56324, [fd00::1]:80"], "2001:db8::1"),
            (&["::ffff:192.0.2.1, ::ffff:10.0.0.1"], "192.0.2.1"),
        ] {
            assert_eq!(client(values).as_deref(), Some(expected), "{values:?}");
        }
    }

    #[test]
    fn without_an_address_in_its_place_nobody_knows_the_client() {
        for values in [
            &[][..],
            &[""],
            &["10.0.0.1"],
            &["192.0.2.1, unknown"],
            &["192.0.2.1, _hidden, 10.0.0.1"],
            &["192.0.2.1, 192.0.2.256"],
            &["192.0.2.1:65536"],
            &["192.0.2.1:"],
            &["[192.0.2.1]"],
            &["[::1"],
            &["192.0.2.1;10.0.0.1"],
        ] {
            assert_eq!(client(values), None, "{values:?}");
        }
        assert_eq!(forwarded_for([&b"\xff"[..]].into_iter(), &[]), None);
    }
}
