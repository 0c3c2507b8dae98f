//! Lists of IP networks as people write them, and whether an address is in one.
//!
//! An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address, in a
//! list as well as where one is looked for.

use core::fmt;
use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The prefix of the addresses that stand for IPv4 ones, `::ffff:0:0/96` (RFC 4291 section
/// 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// The loopback addresses, `127.0.0.0/8` and `::1`.
#[must_use]
pub fn loopback() -> Vec<IpNet> {
    vec![
        IpNet::new_assert(IpAddr::V4(core::net::Ipv4Addr::new(127, 0, 0, 0)), 8),
        IpNet::from(IpAddr::V6(core::net::Ipv6Addr::LOCALHOST)),
    ]
}

/// Whether one of these networks has the address.
#[must_use]
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Bits of an IPv6 address that name a network of one household or one host: what providers hand
/// out to the smallest of their customers (RFC 6177 section 2).
const HOUSEHOLD_PREFIX: u32 = 64;

/// What an address counts as where addresses are counted: an IPv4 address as itself, an IPv6
/// address as the first of its /64, for a client that has one of them has 2^64.
///
/// ```
/// use palabre::networks::household;
/// let household = |text: &str| household(text.parse().unwrap()).to_string();
/// assert_eq!(household("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
/// assert_eq!(household("::ffff:192.0.2.1"), "192.0.2.1");
/// ```
#[must_use]
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - HOUSEHOLD_PREFIX);
            core::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// Why a text is no list of networks; its text is what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// Neither an address nor a network.
    Unknown,
    /// An address with the prefix of the network that it is in.
    AddressInNetwork {
        /// The network.
        network: IpNet,
        /// The address.
        address: IpAddr,
    },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str(
                "addresses or networks separated by blanks, such as 127.0.0.1, 192.168.0.0/16 or \
                 fd00::/8; all there are: 0.0.0.0/0 ::/0",
            ),
            Self::AddressInNetwork { network, address } => {
                write!(f, "{network} for the network, or {address} for the address")
            }
        }
    }
}

impl std::error::Error for NetworkError {}

/// Reads an address, which stands for itself alone, or a network with its prefix.
///
/// # Errors
/// What would be right.
pub fn parse(text: &str) -> Result<IpNet, NetworkError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network = text.parse::<IpNet>().map_err(|_| NetworkError::Unknown)?;
    let whole = network.trunc();
    if whole != network {
        let address = network.addr();
        return Err(NetworkError::AddressInNetwork { network: whole, address });
    }
    Ok(canonical(network))
}

/// The network as [`parse`] reads it: an address where it is only one.
#[must_use]
pub fn show(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network };
    let mapped = six.addr().to_ipv4_mapped();
    let prefix = six.prefix_len().checked_sub(MAPPED_PREFIX);
    match mapped.zip(prefix) {
        Some((address, prefix)) => Ipv4Net::new(address, prefix).map_or(network, IpNet::V4),
        None => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<IpNet> {
        text.split(' ').map(|word| parse(word).unwrap()).collect()
    }

    fn is_in(text: &str, address: &str) -> bool {
        contains(&list(text), address.parse().unwrap())
    }

    #[test]
    fn an_address_stands_for_itself_alone() {
        assert!(is_in("192.0.2.1", "192.0.2.1"));
        assert!(!is_in("192.0.2.1", "192.0.2.2"));
        assert!(is_in("2001:db8::1", "2001:db8::1"));
        assert!(!is_in("2001:db8::1", "2001:db8::2"));
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        let networks = "10.0.0.0/8 192.0.2.128/25 fd00::/8";
        for inside in ["10.255.0.1", "192.0.2.128", "192.0.2.255", "fdff::1"] {
            assert!(is_in(networks, inside), "{inside}");
        }
        for outside in ["11.0.0.0", "192.0.2.127", "fe00::1", "::1"] {
            assert!(!is_in(networks, outside), "{outside}");
        }
        assert!(!contains(&[], IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn an_ipv4_address_is_the_same_in_ipv6_clothes() {
        assert!(is_in("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(is_in("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(is_in("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(is_in("0.0.0.0/0", "::ffff:192.0.2.1"));
        assert!(!is_in("::/0", "::ffff:192.0.2.1"));
    }

    #[test]
    fn loopback_is_both_kinds() {
        for (address, inside) in
            [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("128.0.0.1", false)]
        {
            assert_eq!(contains(&loopback(), address.parse().unwrap()), inside, "{address}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["127.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "fd00::/8", "::/0"] {
            assert_eq!(show(&parse(text).unwrap()), text);
        }
        assert_eq!(show(&parse("192.0.2.1/32").unwrap()), "192.0.2.1");
    }

    #[test]
    fn what_is_no_network_is_told_what_would_be_right() {
        for (text, hint) in [
            ("example.org", "such as 127.0.0.1"),
            ("*", "0.0.0.0/0 ::/0"),
            ("10.0.0.0/33", "addresses or networks"),
            ("10.0.0.1:80", "addresses or networks"),
            ("10.1.2.3/8", "10.0.0.0/8 for the network, or 10.1.2.3"),
            ("fd00::1/8", "fd00::/8 for the network, or fd00::1"),
        ] {
            let needs = parse(text).unwrap_err().to_string();
            assert!(needs.contains(hint), "{text}: {needs}");
        }
    }
}
