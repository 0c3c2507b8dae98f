//! What a connection was told, read strictly: stanzas, an answer of HTTP, a WebSocket, or records
//! of TLS.

use super::outlet::assert_stanza;

/// All that a connection was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ToldConnection {
    /// The status line and the headers.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// Stanzas as they are, or each with the kind of its frame.
    pub(super) stanzas: Vec<(Option<FramePayload>, String)>,
    pub(super) pings: usize,
    pub(super) pongs: Vec<Vec<u8>>,
    pub(super) close: Option<Option<u16>>,
    /// The types of records of TLS.
    pub(super) records: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramePayload {
    Text,
    Binary,
}

/// The headers of all answers; whatever else stood in one would be the peer's own.
const HEADERS: [&str; 16] = [
    "Access-Control-Allow-Origin",
    "Allow",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Date",
    "Location",
    "Referrer-Policy",
    "Retry-After",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Upgrade",
    "X-Content-Type-Options",
];

impl ToldConnection {
    /// Reads it; `whole` unless it was cut off in the middle, `head_only` when only the head of a
    /// page was asked for.
    ///
    /// # Panics
    /// When it is none of what a server may say.
    pub(super) fn read(bytes: &[u8], whole: bool, head_only: bool) -> Self {
        let mut told = Self::default();
        match bytes.first() {
            None => {}
            Some(b'<') => told.read_stanzas(bytes, whole),
            Some(b'H') => told.read_answer(bytes, whole, head_only),
            Some(_) => told.read_records(bytes, whole),
        }
        told
    }

    fn read_stanzas(&mut self, bytes: &[u8], whole: bool) {
        let mut frames = bytes.split(|&byte| byte == 0);
        let tail = frames.next_back().unwrap_or_default();
        assert!(tail.is_empty() || !whole, "half a stanza: {}", shown(tail));
        for frame in frames {
            assert_stanza(frame);
            self.stanzas.push((None, shown(frame)));
        }
    }

    fn read_records(&mut self, mut bytes: &[u8], whole: bool) {
        while let [kind, 3, 1..=4, high, low, rest @ ..] = bytes {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            assert!((20..=23).contains(kind), "a record of type {kind}");
            // RFC 8446 section 5.2, RFC 5246 section 6.2.3.
            assert!(length <= 16_384 + 2_048, "a record of {length} bytes");
            self.records.push(*kind);
            bytes = rest.get(length..).unwrap_or_default();
            assert!(rest.len() >= length || !whole, "half a record");
        }
        assert!(bytes.is_empty() || !whole, "no record: {}", shown(bytes));
    }

    fn read_answer(&mut self, bytes: &[u8], whole: bool, head_only: bool) {
        let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
            assert!(!whole, "half a head: {}", shown(bytes));
            return;
        };
        let (head, rest) = (shown(&bytes[..end]), &bytes[end + 4..]);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let code = status.and_then(|status| status.get(..4)).map(str::trim_end);
        assert!(code.is_some_and(|code| code.parse::<u16>().is_ok()), "{head}");
        let mut length = None;
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap_or_default();
            assert!(HEADERS.contains(&name), "{line:?} in {head}");
            let clean = |c: char| c == ' ' || c.is_ascii_graphic();
            assert!(!value.is_empty() && value.chars().all(clean), "{line:?} in {head}");
            if name == "Content-Length" {
                assert_eq!(length, None, "two lengths: {head}");
                length = value.parse::<usize>().ok();
            }
        }
        if code == Some("101") {
            assert_eq!(length, None, "{head}");
            self.head = head;
            return self.read_frames(rest, whole);
        }
        let is_whole = length == Some(rest.len()) || (head_only && rest.is_empty());
        let is_begun = length.is_some_and(|length| rest.len() < length);
        assert!(is_whole || (!whole && is_begun), "{} bytes behind {head}", rest.len());
        (self.head, self.body) = (head, rest.to_vec());
    }

    fn read_frames(&mut self, mut bytes: &[u8], whole: bool) {
        while let Some((first, payload, rest)) = split_frame(bytes) {
            assert_eq!(self.close, None, "something follows the close");
            self.take_frame(first, payload);
            bytes = rest;
        }
        assert!(bytes.is_empty() || !whole, "half a frame: {bytes:?}");
        assert!(self.close.is_some() || !whole, "an end without a close");
    }

    fn take_frame(&mut self, first: u8, payload: &[u8]) {
        match first {
            0x81 => {
                assert_stanza(payload);
                self.stanzas.push((Some(FramePayload::Text), shown(payload)));
            }
            0x82 => {
                let texts = self.stanzas.iter().any(|(kind, _)| *kind == Some(FramePayload::Text));
                assert!(!texts, "bytes for one who speaks in texts");
                let Some((0, stanza)) = payload.split_last() else {
                    panic!("no NUL behind {}", shown(payload));
                };
                assert_stanza(stanza);
                self.stanzas.push((Some(FramePayload::Binary), shown(stanza)));
            }
            0x88..=0x8a => {
                assert!(payload.len() <= 125, "a long control frame");
                match (first, payload) {
                    (0x88, []) => self.close = Some(None),
                    (0x88, &[high, low]) => {
                        self.close = Some(Some(u16::from_be_bytes([high, low])))
                    }
                    (0x89, []) => self.pings += 1,
                    (0x8a, payload) => self.pongs.push(payload.to_vec()),
                    _ => panic!("frame {first:x} with {payload:?}"),
                }
            }
            _ => panic!("a frame that begins with {first:x}"),
        }
    }

    /// The same without what differs from turn to turn.
    pub(super) fn lasting(mut self) -> Self {
        if self.head.contains("text/plain; version=0.0.4") {
            // The figures of the metrics, and with them the length.
            self.head.truncate(self.head.find('\r').unwrap_or_default());
            self.body.clear();
        }
        self
    }
}

/// A frame without a mask: its first byte, its payload, and what follows.
fn split_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length {
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length), rest)
        }
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        _ => (u64::from(length), rest),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((first, payload, rest))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
