//! Which `xmlns` values are plain URI references: RFC 3986, less what libxml2 reads otherwise.
//!
//! An ampersand is left out, since libxml2 keeps it as `&#38;` in the namespace's name while
//! others resolve it; brackets (IPv6 hosts) and ports of more than five digits, since parsers
//! differ about them. No client needs these in a name.

use core::net::Ipv4Addr;

/// Whether `uri` is a URI reference; relative ones are.
pub(super) fn is_reference(uri: &str) -> bool {
    if !has_only_uri_characters(uri.as_bytes()) {
        return false;
    }
    let (uri, fragment) = uri.split_once('#').unwrap_or((uri, ""));
    if fragment.contains('#') {
        return false;
    }
    let hierarchy = uri.split_once('?').map_or(uri, |(hierarchy, _query)| hierarchy);
    let first_segment = hierarchy.split('/').next().unwrap_or_default();
    let hierarchy = match first_segment.split_once(':') {
        Some((scheme, _)) if is_scheme(scheme) => &hierarchy[scheme.len() + 1..],
        Some(_) => return false,
        None => hierarchy,
    };
    match hierarchy.strip_prefix("//") {
        Some(rest) => is_authority(rest.split('/').next().unwrap_or_default()),
        None => true,
    }
}

/// Whether every byte is one of RFC 3986, less `&` and brackets, and every `%` has two digits.
fn has_only_uri_characters(uri: &[u8]) -> bool {
    uri.iter().enumerate().all(|(at, &byte)| match byte {
        b'%' => matches!(uri.get(at + 1..at + 3), Some(digits)
            if digits.iter().all(u8::is_ascii_hexdigit)),
        b'-' | b'.' | b'_' | b'~' => true,
        b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
        b':' | b'/' | b'?' | b'#' | b'@' => true,
        _ => byte.is_ascii_alphanumeric(),
    })
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// `[userinfo@]host[:port]`.
fn is_authority(authority: &str) -> bool {
    let host_port = authority.split_once('@').map_or(authority, |(_userinfo, rest)| rest);
    if host_port.contains('@') {
        return false;
    }
    let Some((host, port)) = host_port.split_once(':') else {
        return is_host(host_port);
    };
    is_host(host) && (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name, or an address of four numbers. What only begins like an address is neither to
/// libxml2.
fn is_host(host: &str) -> bool {
    let begins_with_digit = |part: &str| part.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let numbers = host.split('.').take(4).filter(|part| begins_with_digit(part)).count();
    numbers < 4 || host.parse::<Ipv4Addr>().is_ok()
}
