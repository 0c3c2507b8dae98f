//! How a client of the crowd speaks: stanzas as they are, or in a WebSocket, as bytes or texts.

use crate::frames::masked_by;
use crate::rng::Rng;

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a request is told as well, in its own words.
const GOING_DOWN: &str = "<error>### Server is now going down ... ###</error>\0";

/// The way it speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Speech {
    #[default]
    Stanzas,
    /// As Ruffle does: a stream in binary frames, cut anywhere.
    Binary,
    /// As a page does: a stanza in each text.
    Text,
}

impl Speech {
    /// What comes before the first stanza.
    pub(crate) fn hello(self) -> Vec<u8> {
        match self {
            Self::Stanzas => Vec::new(),
            Self::Binary | Self::Text => HANDSHAKE.as_bytes().to_vec(),
        }
    }

    /// The bytes that say these stanzas, with pings in between.
    pub(crate) fn wrap(self, stanzas: &[u8], rng: &mut Rng) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Stanzas => out.extend_from_slice(stanzas),
            Self::Binary => {
                let mut rest = stanzas;
                while !rest.is_empty() {
                    let (part, behind) = rest.split_at(rng.between(1, rest.len()));
                    put_frame(&mut out, 0x82, part, rng);
                    rest = behind;
                }
            }
            Self::Text => {
                for stanza in stanzas.split(|&byte| byte == 0).filter(|part| !part.is_empty()) {
                    let (first, second) = stanza.split_at(rng.below(stanza.len()));
                    if rng.chance(30) {
                        put_frame(&mut out, 0x01, first, rng);
                        if rng.chance(30) {
                            put_frame(&mut out, 0x89, b"there?", rng);
                        }
                        put_frame(&mut out, 0x80, second, rng);
                    } else {
                        put_frame(&mut out, 0x81, stanza, rng);
                    }
                }
            }
        }
        out
    }
}

/// A frame as a client sends it, under a mask that nobody foresees.
fn put_frame(out: &mut Vec<u8>, first: u8, payload: &[u8], rng: &mut Rng) {
    out.extend(masked_by((rng.next() as u32).to_be_bytes(), first, payload));
}

/// Takes stanzas out of what the server sends in a WebSocket.
#[derive(Debug, Default)]
pub(crate) struct Unwrap {
    bytes: Vec<u8>,
    begun: bool,
    /// The end came before the server knew what is spoken here.
    unasked: bool,
    closed: bool,
    /// The request was refused; what comes are the reasons.
    refused: bool,
}

impl Unwrap {
    /// The stanzas that these bytes complete, each with a NUL behind.
    pub(crate) fn take(&mut self, speech: Speech, bytes: &[u8]) -> Vec<u8> {
        if self.refused {
            return Vec::new();
        }
        self.bytes.extend_from_slice(bytes);
        if !self.begun {
            self.unasked |= self.bytes.starts_with(b"<");
            if self.unasked {
                return std::mem::take(&mut self.bytes);
            }
            let end = memchr::memmem::find(&self.bytes, b"\r\n\r\n");
            let Some(end) = end else { return Vec::new() };
            let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
            if head.starts_with(b"HTTP/1.1 503 ") {
                // It came before the request was whole.
                self.bytes.clear();
                self.refused = true;
                return GOING_DOWN.as_bytes().to_vec();
            }
            assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
            self.begun = true;
        }
        let mut stanzas = Vec::new();
        while let Some((first, payload, rest)) = split_frame(&self.bytes) {
            assert!(!self.closed, "nothing follows a close");
            match (first, speech) {
                (0x81, Speech::Text) => {
                    assert!(!payload.contains(&0), "a text has no NUL");
                    stanzas.extend_from_slice(payload);
                    stanzas.push(0);
                }
                (0x82, _) => {
                    let end = payload.iter().position(|&byte| byte == 0);
                    assert_eq!(end, Some(payload.len() - 1), "a stanza to each frame");
                    stanzas.extend_from_slice(payload);
                }
                (0x8a, Speech::Text) => assert_eq!(payload, b"there?"),
                (0x88, _) => self.closed = true,
                other => panic!("{other:?} was not expected"),
            }
            let used = self.bytes.len() - rest;
            self.bytes.drain(..used);
        }
        stanzas
    }

    /// Whether the server has said all of what it has begun to say.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A frame's first byte and payload, and how many bytes follow it.
fn split_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (length, rest) = match bytes {
        [_, 126, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [_, 127, length @ ..] => {
            let (length, rest) = length.split_first_chunk()?;
            (u64::from_be_bytes(*length) as usize, rest)
        }
        [_, length, rest @ ..] if *length < 126 => (usize::from(*length), rest),
        _ => return None,
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((bytes[0], payload, rest.len()))
}
