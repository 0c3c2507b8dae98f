//! What the first bytes of a connection say that it speaks.

use crate::limits::HTTP_METHOD_BYTES_MAX;

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// There are too few bytes to tell.
    Undecided,
    /// Stanzas, or whatever else is answered as no stanza.
    Stanzas,
    /// A request of HTTP.
    Http,
    /// A word of such a length that it is not looked at any longer: what comes behind it tells
    /// whether it was a method, see [`Word`].
    Word,
    /// A record of TLS: the type of a handshake (RFC 8446 section 5.1).
    Tls,
}

/// Methods that nothing but HTTP begins with; `PRI` is how HTTP/2 begins (RFC 9113 section 3.4).
const METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"PRI",
];

/// Tells by the first bytes. A web page can have a browser send a form or a request of its own
/// to any port, with stanzas in it, and to its own host (which may lead here, by DNS) with any
/// method that is a token of HTTP (RFC 9110 section 5.6.2), in small letters, too: whatever looks
/// like a request line is HTTP.
pub(super) fn first(bytes: &[u8]) -> First {
    match bytes.first() {
        None => return First::Undecided,
        Some(0x16) => return First::Tls,
        Some(_) => {}
    }
    let looked_at = &bytes[..bytes.len().min(HTTP_METHOD_BYTES_MAX + 1)];
    let Some(end) = looked_at.iter().position(|&byte| !is_token(byte)) else {
        let undecided = bytes.len() <= HTTP_METHOD_BYTES_MAX;
        return if undecided { First::Undecided } else { First::Word };
    };
    let (method, rest) = bytes.split_at(end);
    let loud = method.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'));
    match rest {
        [b' ', ..] if METHODS.contains(&method) => First::Http,
        // A method of somebody's own, before a path or, if it could not be a word in a sentence,
        // before a URL.
        [b' '] if end > 0 => First::Undecided,
        [b' ', b'/', ..] if end > 0 => First::Http,
        [b' ', b'*' | b'h' | b'H', ..] if end > 0 && loud => First::Http,
        _ => First::Stanzas,
    }
}

/// How far a long word has come. Its bytes are handed on as they come: a stanza they don't begin,
/// and a page could choose a method of any length for its request to be taken for stanzas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// The word is over, by a blank.
    blank: bool,
}

impl Word {
    /// Takes the next bytes; what they make of it all.
    pub(super) fn read(&mut self, bytes: &[u8]) -> First {
        let rest = if self.blank {
            bytes
        } else {
            let Some(end) = bytes.iter().position(|&byte| !is_token(byte)) else {
                return First::Word;
            };
            if bytes[end] != b' ' {
                return First::Stanzas;
            }
            self.blank = true;
            &bytes[end + 1..]
        };
        match rest.first() {
            None => First::Word,
            Some(b'/') => First::Http,
            Some(_) => First::Stanzas,
        }
    }
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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
            (b"get", First::Undecided),
            (b"get /", First::Http),
            (b"x / HTTP/1.1\r\n\r\n<connect nickname='x'/>\0", First::Http),
            (b"Po-St! /", First::Http),
            (b"1 / HTTP/1.1", First::Http),
            (b"'~ /", First::Http),
            (b"POST /", First::Http),
            (b"OPTIONS * HTTP/1.1", First::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", First::Http),
            (b"M-SEARCH * HTTP/1.1", First::Http),
            (b"BREW ", First::Undecided),
            (b"BREW /pot", First::Http),
            (b"BREW http://pot", First::Http),
            (b"BREW HTTP://pot", First::Http),
            (b"hello ", First::Undecided),
            (b"hello http://pot", First::Stanzas),
            (b"hello *", First::Stanzas),
            (b" /", First::Stanzas),
            (b"/ /", First::Stanzas),
            (b"\"x /", First::Stanzas),
            (b"\xc3\xa9 /", First::Stanzas),
            (b"\0x /", First::Stanzas),
            (b"HELLO WORLD\0", First::Stanzas),
            (b"Hello", First::Undecided),
            (b"Hello, / world", First::Stanzas),
            (b"hello\r\n", First::Stanzas),
            (&[b'x'; HTTP_METHOD_BYTES_MAX], First::Undecided),
            (&[b'x'; HTTP_METHOD_BYTES_MAX + 1], First::Word),
            (&[&[b'x'; HTTP_METHOD_BYTES_MAX][..], b" /"].concat(), First::Http),
            (&[&[b'x'; HTTP_METHOD_BYTES_MAX][..], b"\0"].concat(), First::Stanzas),
            (&[&[b'x'; HTTP_METHOD_BYTES_MAX + 1][..], b"\0"].concat(), First::Word),
        ] {
            assert_eq!(first(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn behind_a_long_word_a_path_makes_a_request_of_it_however_it_is_cut() {
        for (text, expected) in [
            ("xxx / HTTP/1.1", First::Http),
            ("xxx /", First::Http),
            ("xxx ", First::Word),
            ("xxx", First::Word),
            ("xxx a/", First::Stanzas),
            ("xxx  /", First::Stanzas),
            ("xxx\0", First::Stanzas),
            ("xxx\r\n /", First::Stanzas),
            ("xxx<", First::Stanzas),
        ] {
            let mut word = Word::default();
            let first_told = |word: &mut Word, pieces: &mut dyn Iterator<Item = &[u8]>| {
                let told = pieces.map(|piece| word.read(piece)).find(|told| *told != First::Word);
                told.unwrap_or(First::Word)
            };
            let whole = first_told(&mut word, &mut std::iter::once(text.as_bytes()));
            let mut word = Word::default();
            let cut = first_told(&mut word, &mut text.as_bytes().chunks(1));
            assert_eq!((whole, cut), (expected, expected), "{text:?}");
        }
    }
}
