//! WebSocket frames of one connection (RFC 6455), the server's side of them.
//!
//! The headers are read and written by `tungstenite`; here is what a server must hold them to:
//! masks, fragments, control frames between them, UTF-8, closes. Payload is unmasked where it
//! lies and lent on as it comes, so that a frame of any length needs no memory.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::utf8::Utf8;

/// The longest header of a frame: two bytes, eight of length, four of mask (RFC 6455 section 5.2).
const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What the payload of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub enum WebSocketEvent<'a> {
    /// A frame of a message begins.
    Frame {
        /// What the message is.
        payload: Payload,
        /// Bytes that the frame announces.
        announced_bytes: u64,
    },
    /// The next bytes of a message, unmasked; of a text sound characters, of which the last may
    /// go on in the next.
    Data {
        /// What the message is.
        payload: Payload,
        /// The bytes; may be none.
        bytes: &'a [u8],
        /// Whether the message ends here.
        end: bool,
    },
    /// A ping, to be answered by a pong with the same bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// The peer closes, with this code; to be answered by a close, and nothing follows.
    Close(Option<u16>),
}

/// Why the stream can't be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketError {
    /// It breaks RFC 6455; what it breaks.
    Protocol(&'static str),
    /// A text that is not UTF-8.
    NotUtf8,
}

impl WebSocketError {
    /// The code of the close that answers it (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
        }
    }

    /// What is wrong, in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Protocol(what) => what,
            Self::NotUtf8 => "a text that is not UTF-8",
        }
    }
}

/// How far the reading of one connection's frames has come.
#[derive(Debug, Default)]
pub struct WebSocketReader {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message that is not at its end yet.
    message: Option<Payload>,
    /// The payload of a control frame that came in parts.
    control: Vec<u8>,
    utf8: Utf8,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: FrameKind,
    is_final: bool,
    mask: [u8; 4],
    left_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameKind {
    Data(Payload),
    Ping,
    Pong,
    Close,
}

impl WebSocketReader {
    /// Reads on, and tells what came in. What stands behind a close is dropped.
    ///
    /// # Errors
    /// [`WebSocketError`], after which nothing can be read.
    pub fn read(
        &mut self,
        mut input: &mut [u8],
        mut tell: impl FnMut(WebSocketEvent<'_>),
    ) -> Result<(), WebSocketError> {
        while !self.closed {
            let frame = match self.frame {
                Some(frame) => frame,
                None => {
                    let Some(frame) = self.read_header(&mut input)? else {
                        break;
                    };
                    if let FrameKind::Data(payload) = frame.kind {
                        tell(WebSocketEvent::Frame { payload, announced_bytes: frame.left_bytes });
                    }
                    frame
                }
            };
            if input.is_empty() && frame.left_bytes > 0 {
                break;
            }
            let count =
                usize::try_from(frame.left_bytes).map_or(input.len(), |left| left.min(input.len()));
            let (bytes, rest) = std::mem::take(&mut input).split_at_mut(count);
            input = rest;
            self.take_payload(frame, bytes, &mut tell)?;
        }
        Ok(())
    }

    /// The next frame's header, checked, when it is there as a whole.
    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Frame>, WebSocketError> {
        // A header may come byte by byte: it is put together in a place of its own.
        let before = usize::from(self.header_bytes);
        let fresh = (HEADER_BYTES_MAX - before).min(input.len());
        self.header[before..before + fresh].copy_from_slice(&input[..fresh]);
        let mut cursor = Cursor::new(&self.header[..before + fresh]);
        let parsed = FrameHeader::parse(&mut cursor)
            .map_err(|_| WebSocketError::Protocol("a frame of a reserved kind"))?;
        let used = parsed.as_ref().map_or(fresh, |_| cursor.position() as usize - before);
        *input = &mut std::mem::take(input)[used..];
        let Some((header, length)) = parsed else {
            self.header_bytes = (before + fresh) as u8;
            return Ok(None);
        };
        self.header_bytes = 0;
        let frame = self.checked(&header, length)?;
        self.frame = Some(frame);
        Ok(Some(frame))
    }

    fn checked(&mut self, header: &FrameHeader, length: u64) -> Result<Frame, WebSocketError> {
        let broken = |what| Err(WebSocketError::Protocol(what));
        let Some(mask) = header.mask else {
            return broken("a frame without a mask");
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return broken("a reserved bit in a frame");
        }
        if length > i64::MAX as u64 {
            return broken("a frame longer than there can be");
        }
        let kind = match header.opcode {
            OpCode::Data(data) => FrameKind::Data(self.begin_data(data)?),
            OpCode::Control(_) if !header.is_final => return broken("a control frame in parts"),
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => {
                return broken("a control frame over 125 bytes");
            }
            OpCode::Control(Control::Ping) => FrameKind::Ping,
            OpCode::Control(Control::Pong) => FrameKind::Pong,
            OpCode::Control(Control::Close) => FrameKind::Close,
            OpCode::Control(Control::Reserved(_)) => return broken("a frame of a reserved kind"),
        };
        Ok(Frame { kind, is_final: header.is_final, mask, left_bytes: length })
    }

    fn begin_data(&mut self, data: Data) -> Result<Payload, WebSocketError> {
        let payload = match (data, self.message) {
            (Data::Continue, Some(payload)) => payload,
            (Data::Text, None) => Payload::Text,
            (Data::Binary, None) => Payload::Binary,
            (Data::Continue, None) => {
                return Err(WebSocketError::Protocol("a continuation of no message"));
            }
            (Data::Text | Data::Binary, Some(_)) => {
                return Err(WebSocketError::Protocol("a message within a message"));
            }
            (Data::Reserved(_), _) => {
                return Err(WebSocketError::Protocol("a frame of a reserved kind"));
            }
        };
        self.message = Some(payload);
        Ok(payload)
    }

    /// Takes the next bytes of a frame's payload: all of it, or as far as it has come.
    fn take_payload(
        &mut self,
        mut frame: Frame,
        bytes: &mut [u8],
        tell: &mut impl FnMut(WebSocketEvent<'_>),
    ) -> Result<(), WebSocketError> {
        unmask(bytes, frame.mask);
        // The mask goes on where these bytes end.
        frame.mask.rotate_left(bytes.len() % 4);
        frame.left_bytes -= bytes.len() as u64;
        let whole = frame.left_bytes == 0;
        self.frame = (!whole).then_some(frame);
        if let FrameKind::Data(payload) = frame.kind {
            let end = whole && frame.is_final;
            if payload == Payload::Text {
                let sound = self.utf8.push(bytes);
                let sound_bytes = sound.err().unwrap_or(bytes.len());
                if sound.is_err() || (end && !self.utf8.is_whole()) {
                    // What was said before counts, however the bytes are cut.
                    tell(WebSocketEvent::Data {
                        payload,
                        bytes: &bytes[..sound_bytes],
                        end: false,
                    });
                    return Err(WebSocketError::NotUtf8);
                }
            }
            if end {
                self.message = None;
            }
            tell(WebSocketEvent::Data { payload, bytes, end });
        } else if whole && self.control.is_empty() {
            self.take_control(frame.kind, bytes, tell)?;
        } else {
            self.control.extend_from_slice(bytes);
            if whole {
                let payload = std::mem::take(&mut self.control);
                self.take_control(frame.kind, &payload, tell)?;
            }
        }
        Ok(())
    }

    fn take_control(
        &mut self,
        kind: FrameKind,
        payload: &[u8],
        tell: &mut impl FnMut(WebSocketEvent<'_>),
    ) -> Result<(), WebSocketError> {
        match kind {
            FrameKind::Ping => tell(WebSocketEvent::Ping(payload)),
            FrameKind::Pong => tell(WebSocketEvent::Pong),
            FrameKind::Close => {
                self.closed = true;
                tell(WebSocketEvent::Close(close_code(payload)?));
            }
            FrameKind::Data(_) => {}
        }
        Ok(())
    }
}

/// The code of a close's payload, which may be empty (RFC 6455 section 5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<u16>, WebSocketError> {
    match payload {
        [] => Ok(None),
        [_] => Err(WebSocketError::Protocol("a close with half a code")),
        &[high, low, ref reason @ ..] => {
            let code = u16::from_be_bytes([high, low]);
            if !may_be_sent(code) {
                return Err(WebSocketError::Protocol("a close with a code that nobody may send"));
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(WebSocketError::NotUtf8);
            }
            Ok(Some(code))
        }
    }
}

/// Whether a close may carry this code: those of RFC 6455 section 7.4.1, those that were registered
/// since (1012 to 1014, IANA's WebSocket Close Code Number Registry), and those of libraries and
/// applications.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Masks bytes, or takes the mask off them (RFC 6455 section 5.3).
pub(crate) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    // Eight bytes at a time, of which the compiler makes wider steps still.
    let [a, b, c, d] = mask;
    let twice = [a, b, c, d, a, b, c, d];
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(twice)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(twice) {
        *byte ^= mask;
    }
}

/// Appends a whole message in one frame.
pub fn write_message(out: &mut Vec<u8>, payload: Payload, bytes: &[u8]) {
    let data = match payload {
        Payload::Text => Data::Text,
        Payload::Binary => Data::Binary,
    };
    write_frame(out, OpCode::Data(data), bytes);
}

/// Appends a ping without payload.
pub fn write_ping(out: &mut Vec<u8>) {
    write_frame(out, OpCode::Control(Control::Ping), &[]);
}

/// Appends the answer to a ping.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_frame(out, OpCode::Control(Control::Pong), payload);
}

/// Appends a close with this code, or with none.
pub fn write_close(out: &mut Vec<u8>, code: Option<u16>) {
    let code = code.map(u16::to_be_bytes);
    write_frame(out, OpCode::Control(Control::Close), code.as_ref().map_or(&[], |code| &code[..]));
}

fn write_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing to a vector does not fail.
    let _ = header.format(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
#[path = "../../../tests/support/frames.rs"]
mod frames;

#[cfg(test)]
mod tests {
    use super::frames::masked as frame;
    use super::*;

    /// What a stream tells that comes in these chunks: data joined to whole messages.
    fn told(chunks: &[&[u8]]) -> (Vec<String>, Result<(), WebSocketError>) {
        let mut reader = WebSocketReader::default();
        let (mut told, mut message) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let result = reader.read(&mut chunk.to_vec(), |event| match event {
                WebSocketEvent::Frame { .. } => {}
                WebSocketEvent::Data { payload, bytes, end } => {
                    message.extend_from_slice(bytes);
                    if end {
                        let text =
                            String::from_utf8_lossy(&std::mem::take(&mut message)).into_owned();
                        told.push(format!("{payload:?} {text}"));
                    }
                }
                WebSocketEvent::Ping(payload) => {
                    told.push(format!("Ping {}", String::from_utf8_lossy(payload)));
                }
                WebSocketEvent::Pong => told.push("Pong".to_owned()),
                WebSocketEvent::Close(code) => told.push(format!("Close {code:?}")),
            });
            if result.is_err() {
                return (told, result);
            }
        }
        (told, Ok(()))
    }

    #[test]
    fn a_stream_tells_the_same_however_it_is_cut() {
        let stream = [
            frame(0x82, b"<a/>\0<b/>\0"),
            frame(0x01, "gr\u{fc}\u{df}".as_bytes()),
            frame(0x89, b"are you there?"),
            frame(0x00, &"\u{1f375}".as_bytes()[..2]),
            frame(0x8a, b""),
            frame(0x80, &"\u{1f375}".as_bytes()[2..]),
            frame(0x81, b""),
            frame(0x82, &[b'x'; 300]),
            frame(0x88, b"\x03\xe8bye"),
            frame(0x82, b"dropped"),
        ]
        .concat();
        let whole = told(&[&stream]);
        assert_eq!(whole.1, Ok(()));
        assert_eq!(
            whole.0[..5],
            [
                "Binary <a/>\0<b/>\0".to_owned(),
                "Ping are you there?".to_owned(),
                "Pong".to_owned(),
                "Text gr\u{fc}\u{df}\u{1f375}".to_owned(),
                "Text ".to_owned(),
            ]
        );
        assert_eq!(whole.0[6..], ["Close Some(1000)".to_owned()]);
        for cut in 0..=stream.len() {
            assert_eq!(told(&[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(told(&bytes), whole);
    }

    #[test]
    fn what_breaks_the_standard_is_refused() {
        let protocol = |bytes: &[u8]| match told(&[bytes]).1 {
            Err(WebSocketError::Protocol(what)) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(protocol(&[0x81, 0x01, b'x']), "a frame without a mask");
        assert_eq!(protocol(&frame(0xc1, b"x")), "a reserved bit in a frame");
        assert_eq!(protocol(&frame(0x83, b"x")), "a frame of a reserved kind");
        assert_eq!(protocol(&frame(0x8b, b"x")), "a frame of a reserved kind");
        assert_eq!(protocol(&frame(0x80, b"x")), "a continuation of no message");
        let within = [frame(0x01, b"x"), frame(0x81, b"x")].concat();
        assert_eq!(protocol(&within), "a message within a message");
        assert_eq!(protocol(&frame(0x09, b"x")), "a control frame in parts");
        assert_eq!(protocol(&frame(0x89, &[b'x'; 126])), "a control frame over 125 bytes");
        assert_eq!(protocol(&frame(0x88, b"x")), "a close with half a code");
        let code = "a close with a code that nobody may send";
        for wrong in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            assert_eq!(protocol(&frame(0x88, &wrong.to_be_bytes())), code, "{wrong}");
        }
        for right in [1000_u16, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999] {
            let close = told(&[&frame(0x88, &right.to_be_bytes())]);
            assert_eq!(close, (vec![format!("Close Some({right})")], Ok(())));
        }
        let endless = [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(protocol(&endless), "a frame longer than there can be");
    }

    #[test]
    fn a_text_that_is_no_utf8_is_refused_as_soon_as_it_is_seen() {
        for wrong in [&b"\xc0\xaf"[..], b"\xed\xa0\x80", b"\xf4\x90", b"ok \xff"] {
            assert_eq!(told(&[&frame(0x01, wrong)]).1, Err(WebSocketError::NotUtf8), "{wrong:x?}");
        }
        // Half a character at the end.
        assert_eq!(told(&[&frame(0x81, b"\xf0\x9f\x8d")]).1, Err(WebSocketError::NotUtf8));
        assert_eq!(told(&[&frame(0x88, b"\x03\xe8\xff")]).1, Err(WebSocketError::NotUtf8));
        // Bytes are bytes.
        assert_eq!(told(&[&frame(0x82, b"\xff")]).1, Ok(()));
    }

    #[test]
    fn what_is_written_is_read_by_another_implementation() {
        use tungstenite::protocol::{Message, Role, WebSocket};
        let mut bytes = Vec::new();
        write_message(&mut bytes, Payload::Text, b"<a/>");
        write_message(&mut bytes, Payload::Binary, &[7; 70_000]);
        write_ping(&mut bytes);
        write_pong(&mut bytes, b"x");
        write_close(&mut bytes, Some(1008));
        let stream = Stream(Cursor::new(bytes));
        let mut client = WebSocket::from_raw_socket(stream, Role::Client, None);
        let mut read = || client.read().unwrap();
        assert_eq!(read(), Message::text("<a/>"));
        assert_eq!(read(), Message::binary(vec![7; 70_000]));
        assert_eq!(read(), Message::Ping([].as_slice().into()));
        assert_eq!(read(), Message::Pong(b"x".as_slice().into()));
        assert!(matches!(read(), Message::Close(Some(close)) if u16::from(close.code) == 1008));
    }

    /// What is read is prepared, what is written goes nowhere.
    struct Stream(Cursor<Vec<u8>>);

    impl std::io::Read for Stream {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl std::io::Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
