//! A stand-in.
use ipnet::IpNet;
use std::net::IpAddr;
pub(crate) enum Parsed {
    Incomplete,
    Missing,
    Header { length: usize, address: Option<IpAddr> },
    Invalid,
}
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    if bytes.is_empty() {
        Parsed::Incomplete
    } else if bytes[0] == 1 {
        Parsed::Invalid
    } else if bytes[0] == 2 {
        Parsed::Header { length: 1, address: None }
    } else {
        Parsed::Missing
    }
}
pub(crate) fn forwarded_for<'a>(
    _v: impl Iterator<Item = &'a [u8]>,
    _t: &[IpNet],
) -> Option<IpAddr> {
    None
}
