//! What the first bytes of a connection say that it speaks.

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// There are too few bytes to tell.
    Undecided,
    /// Stanzas, or whatever else is answered as no stanza.
    Stanzas,
    /// A request of HTTP.
    Http,
    /// A record of TLS: the type of a handshake (RFC 8446 section 5.1).
    Tls,
}

/// Methods that nothing but HTTP begins with; `PRI` is how HTTP/2 begins (RFC 9113 section 3.4).
const METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"PRI",
];

/// A longer word is no method that anybody uses.
const METHOD_BYTES_MAX: usize = 20;

/// Tells by the first bytes. A web page can have a browser send a form or a request of its own
/// to any port, with stanzas in it: whatever looks like a request line is HTTP.
pub(super) fn first(bytes: &[u8]) -> First {
    match bytes.first() {
        None => return First::Undecided,
        Some(0x16) => return First::Tls,
        Some(b'A'..=b'Z') => {}
        Some(_) => return First::Stanzas,
    }
    let word = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let Some(end) = bytes.iter().position(|byte| !word(byte)) else {
        let undecided = bytes.len() <= METHOD_BYTES_MAX;
        return if undecided { First::Undecided } else { First::Stanzas };
    };
    let (method, rest) = bytes.split_at(end);
    match rest {
        [b' ', ..] if METHODS.contains(&method) => First::Http,
        // A method of somebody's own, before a path or a URL.
        [b' '] => First::Undecided,
        [b' ', b'/' | b'*' | b'h', ..] => First::Http,
        _ => First::Stanzas,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_from_its_first_bytes() {
        for (bytes, expected) in [
            (&b""[..], First::Undecided),
            (b"<", First::Stanzas),
            (b"\r\n<connect", First::Stanzas),
            (b"\xef\xbb\xbf<a/>", First::Stanzas),
            (b"\x16\x03\x01", First::Tls),
            (b"\x16", First::Tls),
            (b"G", First::Undecided),
            (b"GET", First::Undecided),
            (b"GET ", First::Http),
            (b"GETTER", First::Undecided),
            (b"GETTER\0", First::Stanzas),
            (b"POST /", First::Http),
            (b"OPTIONS * HTTP/1.1", First::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", First::Http),
            (b"M-SEARCH * HTTP/1.1", First::Http),
            (b"BREW ", First::Undecided),
            (b"BREW /pot", First::Http),
            (b"BREW http://pot", First::Http),
            (b"HELLO WORLD\0", First::Stanzas),
            (b"Hello", First::Stanzas),
            (b"hello", First::Stanzas),
            (b"ABCDEFGHIJKLMNOPQRST", First::Undecided),
            (b"ABCDEFGHIJKLMNOPQRSTU", First::Stanzas),
        ] {
            assert_eq!(first(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
