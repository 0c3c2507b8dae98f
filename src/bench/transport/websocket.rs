//! The client's side of a WebSocket (RFC 6455), as far as a load generator needs it: a stream of
//! stanzas in binary messages, a frame for each that it sends.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Cursor;
use std::net::SocketAddr;
use std::ops::Range;

use httparse::{EMPTY_HEADER, Response, Status};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::net::transport::websocket::unmask;
use crate::wire::framer::FRAME_END;

/// The longest header of a frame without a mask (RFC 6455 section 5.2).
const HEADER_BYTES_MAX: usize = 10;

/// Headers of a server's answer.
const HEADERS_MAX: usize = 32;

/// The longest head of an answer that is waited for.
const HEAD_BYTES_MAX: usize = 16_384;

/// One connection's.
#[derive(Debug)]
pub(super) struct ClientWebSocket {
    stage: HandshakeStage,
    /// Makes masks: RFC 6455 section 5.3 wants them hard to guess, which concerns proxies that
    /// none of this goes through; the server's work is the same.
    masks: u32,
    /// Answers to control frames, and the request at the start.
    out: Vec<u8>,
}

#[derive(Debug)]
enum HandshakeStage {
    /// The answer to the request, as far as it has come, and the key that it has to prove that
    /// it has read.
    Opening {
        key: String,
        answer: Vec<u8>,
    },
    Open(FrameReader),
}

/// How far the frames are read.
#[derive(Debug, Default)]
struct FrameReader {
    header: Vec<u8>,
    frame: Option<FrameRest>,
    /// The payload of a control frame that came in parts.
    control: Vec<u8>,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct FrameRest {
    /// `None`: data.
    control: Option<Control>,
    left_bytes: usize,
}

impl ClientWebSocket {
    pub(super) fn new(target: SocketAddr) -> Self {
        // A hasher's keys are the randomness that the standard library lends.
        let random = RandomState::new();
        let nonce = u128::from(random.hash_one(0)) << 64 | u128::from(random.hash_one(1));
        let key = data_encoding::BASE64.encode(&nonce.to_be_bytes());
        let mut request = String::new();
        // Writing to a string can't fail.
        let _ = write!(
            request,
            "GET / HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        let stage = HandshakeStage::Opening { key, answer: Vec::new() };
        let masks = (random.hash_one(2) as u32) | 1;
        Self { stage, masks, out: request.into_bytes() }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, HandshakeStage::Open(_))
    }

    pub(super) const fn wants_to_send(&self) -> bool {
        !self.out.is_empty()
    }

    /// Takes bytes in, and leaves the payload of messages in them: where it lies now.
    ///
    /// # Errors
    /// What the server did that none may do, in words.
    pub(super) fn receive(&mut self, bytes: &mut [u8]) -> Result<Range<usize>, String> {
        let mut start = 0;
        if let HandshakeStage::Opening { key, answer } = &mut self.stage {
            let before = answer.len();
            answer.extend_from_slice(bytes);
            let Some(head_bytes) = opened(answer, key)? else {
                return Ok(0..0);
            };
            start = head_bytes.saturating_sub(before).min(bytes.len());
            self.stage = HandshakeStage::Open(FrameReader::default());
        }
        let HandshakeStage::Open(reader) = &mut self.stage else {
            return Ok(0..0);
        };
        let count = reader.unframe(&mut bytes[start..], &mut |control, payload| {
            answer_control(&mut self.out, &mut self.masks, control, payload);
        })?;
        Ok(start..start + count)
    }

    /// Takes the stanzas, when the handshake is done, and appends their frames; before them what
    /// is to be sent besides.
    pub(super) fn send(&mut self, stanzas: &mut Vec<u8>, wire: &mut Vec<u8>) {
        wire.append(&mut self.out);
        if !self.is_open() {
            return;
        }
        let mut rest = &stanzas[..];
        while !rest.is_empty() {
            // What has no NUL is what a trickling client has by now.
            let end = memchr::memchr(FRAME_END, rest).map_or(rest.len(), |at| at + 1);
            let (stanza, behind) = rest.split_at(end);
            write_frame(wire, &mut self.masks, OpCode::Data(Data::Binary), stanza);
            rest = behind;
        }
        stanzas.clear();
    }
}

/// The length of a head that opens the WebSocket, once it is there.
fn opened(answer: &[u8], key: &str) -> Result<Option<usize>, String> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let head_bytes = match response.parse(answer) {
        Ok(Status::Complete(head_bytes)) => head_bytes,
        Ok(Status::Partial) if answer.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(Status::Partial) => return Err("the head of its answer has no end".to_owned()),
        Err(error) => return Err(format!("its answer to an upgrade is no HTTP: {error}")),
    };
    if response.code != Some(101) {
        let code = response.code.unwrap_or_default();
        let body = String::from_utf8_lossy(&answer[head_bytes..]);
        let reason = response.reason.unwrap_or_default();
        return Err(format!("it refused a WebSocket: {code} {reason}, {}", body.trim()));
    }
    let accept = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    if accept.map(|header| header.value) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err("its answer to an upgrade belongs to another key".to_owned());
    }
    Ok(Some(head_bytes))
}

fn answer_control(out: &mut Vec<u8>, masks: &mut u32, control: Control, payload: &[u8]) {
    match control {
        Control::Ping => write_frame(out, masks, OpCode::Control(Control::Pong), payload),
        Control::Close => write_frame(out, masks, OpCode::Control(Control::Close), payload),
        Control::Pong | Control::Reserved(_) => {}
    }
}

impl FrameReader {
    /// Moves the payload of messages to the front and tells how long it is; `tell` takes control
    /// frames.
    fn unframe(
        &mut self,
        bytes: &mut [u8],
        tell: &mut impl FnMut(Control, &[u8]),
    ) -> Result<usize, String> {
        let (mut at, mut kept) = (0, 0);
        while !self.closed {
            let Some(mut frame) = self.frame.take() else {
                at += self.read_header(&bytes[at..])?;
                if self.frame.is_none() {
                    break;
                }
                continue;
            };
            let count = frame.left_bytes.min(bytes.len() - at);
            let part = at..at + count;
            at += count;
            frame.left_bytes -= count;
            match frame.control {
                None => {
                    bytes.copy_within(part, kept);
                    kept += count;
                }
                Some(control) => {
                    self.control.extend_from_slice(&bytes[part]);
                    if frame.left_bytes == 0 {
                        tell(control, &self.control);
                        self.control.clear();
                        self.closed = control == Control::Close;
                    }
                }
            }
            if frame.left_bytes > 0 {
                self.frame = Some(frame);
                break;
            }
        }
        Ok(kept)
    }

    /// Reads a header, or as much of it as there is; tells how many bytes that took.
    fn read_header(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let before = self.header.len();
        let fresh = (HEADER_BYTES_MAX - before).min(bytes.len());
        let found = if before == 0 {
            parse(&bytes[..fresh])?
        } else {
            self.header.extend_from_slice(&bytes[..fresh]);
            parse(&self.header)?
        };
        let Some((frame, used)) = found else {
            if before == 0 {
                self.header.extend_from_slice(&bytes[..fresh]);
            }
            return Ok(fresh);
        };
        self.header.clear();
        self.frame = Some(frame);
        Ok(used - before)
    }
}

/// A frame's header that a server may send, and its length.
fn parse(bytes: &[u8]) -> Result<Option<(FrameRest, usize)>, String> {
    let wrong = |what: &str| Err(format!("a frame that no server may send: {what}"));
    let mut cursor = Cursor::new(bytes);
    let Ok(parsed) = FrameHeader::parse(&mut cursor) else {
        return wrong("of a reserved kind");
    };
    let Some((header, length)) = parsed else {
        return Ok(None);
    };
    if header.mask.is_some() {
        return wrong("with a mask");
    }
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return wrong("with a reserved bit");
    }
    let control = match header.opcode {
        OpCode::Data(Data::Binary | Data::Continue) => None,
        OpCode::Data(Data::Text) => return wrong("a text to one who sends bytes"),
        OpCode::Control(control) => Some(control),
        OpCode::Data(Data::Reserved(_)) => return wrong("of a reserved kind"),
    };
    let Ok(left_bytes) = usize::try_from(length) else {
        return wrong("longer than there can be");
    };
    Ok(Some((FrameRest { control, left_bytes }, cursor.position() as usize)))
}

fn write_frame(out: &mut Vec<u8>, masks: &mut u32, opcode: OpCode, payload: &[u8]) {
    let mask = next_mask(masks);
    let header = FrameHeader { opcode, mask: Some(mask), ..FrameHeader::default() };
    // Writing to a vector does not fail.
    let _ = header.format(payload.len() as u64, out);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask);
}

/// Marsaglia's xorshift: another mask for each frame, at no cost.
const fn next_mask(masks: &mut u32) -> [u8; 4] {
    *masks ^= *masks << 13;
    *masks ^= *masks >> 17;
    *masks ^= *masks << 5;
    masks.to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::transport::websocket as server;

    fn socket() -> (ClientWebSocket, Vec<u8>) {
        let mut socket = ClientWebSocket::new(SocketAddr::from(([127, 0, 0, 1], 80)));
        let mut request = Vec::new();
        socket.send(&mut b"<a/>\0".to_vec(), &mut request);
        let request = String::from_utf8(request).unwrap();
        let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().trim();
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!("HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
        (socket, answer.into_bytes())
    }

    /// What comes out of a stream in these chunks.
    fn heard(socket: &mut ClientWebSocket, chunks: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut heard = Vec::new();
        for chunk in chunks {
            let mut bytes = chunk.to_vec();
            let range = socket.receive(&mut bytes)?;
            heard.extend_from_slice(&bytes[range]);
        }
        Ok(heard)
    }

    #[test]
    fn what_the_server_writes_is_read_however_it_is_cut() {
        let mut stream = Vec::new();
        server::write_message(&mut stream, server::Payload::Binary, b"<a/>\0");
        server::write_ping(&mut stream);
        server::write_message(&mut stream, server::Payload::Binary, &[b'x'; 300]);
        server::write_message(&mut stream, server::Payload::Binary, &[b'y'; 70_000]);
        server::write_message(&mut stream, server::Payload::Binary, b"");
        server::write_pong(&mut stream, b"unasked");
        server::write_close(&mut stream, Some(1000));
        stream.extend_from_slice(b"nothing counts behind a close");
        let wanted = [b"<a/>\0".as_slice(), &[b'x'; 300], &[b'y'; 70_000]].concat();
        for cut in (0..1_000).chain(stream.len() - 200..stream.len()) {
            let (mut socket, answer) = socket();
            let stream = [&answer[..], &stream].concat();
            let heard = heard(&mut socket, &[&stream[..cut], &stream[cut..]]).unwrap();
            assert!(heard == wanted, "cut at {cut}");
            let mut answers = Vec::new();
            socket.send(&mut Vec::new(), &mut answers);
            let mut told = Vec::new();
            let mut reader = server::WebSocketReader::default();
            reader.read(&mut answers, |event| told.push(format!("{event:?}"))).unwrap();
            assert_eq!(told, ["Pong", "Close(Some(1000))"], "cut at {cut}");
        }
    }

    #[test]
    fn each_stanza_goes_out_in_a_masked_frame_of_its_own_once_it_is_open() {
        let (mut socket, answer) = socket();
        let mut wire = Vec::new();
        let mut stanzas = b"<a/>\0<b/>\0 ".to_vec();
        socket.send(&mut stanzas, &mut wire);
        assert!(wire.is_empty() && !stanzas.is_empty() && !socket.is_open());
        assert_eq!(heard(&mut socket, &[&answer]), Ok(Vec::new()));
        socket.send(&mut stanzas, &mut wire);
        assert!(stanzas.is_empty());
        let (mut announced, mut messages) = (Vec::new(), Vec::new());
        let mut reader = server::WebSocketReader::default();
        reader
            .read(&mut wire, |event| match event {
                server::WebSocketEvent::Frame { announced_bytes, .. } => {
                    announced.push(announced_bytes)
                }
                server::WebSocketEvent::Data { payload, bytes, end } => {
                    messages.push((payload, bytes.to_vec(), end));
                }
                other @ (server::WebSocketEvent::Ping(_)
                | server::WebSocketEvent::Pong
                | server::WebSocketEvent::Close(_)) => {
                    panic!("{other:?}")
                }
            })
            .unwrap();
        let wanted = [&b"<a/>\0"[..], b"<b/>\0", b" "];
        assert_eq!(messages, wanted.map(|bytes| (server::Payload::Binary, bytes.to_vec(), true)));
        assert_eq!(announced, [5, 5, 1]);
    }

    #[test]
    fn a_server_that_does_otherwise_is_told_on() {
        let refused = b"HTTP/1.1 403 Forbidden\r\n\r\nnot from there\n";
        let error = heard(&mut socket().0, &[refused]).unwrap_err();
        assert_eq!(error, "it refused a WebSocket: 403 Forbidden, not from there");
        let error = heard(&mut socket().0, &[&socket().1]).unwrap_err();
        assert_eq!(error, "its answer to an upgrade belongs to another key");
        let error = heard(&mut socket().0, &[b"<error>what?</error>\0"]).unwrap_err();
        assert!(error.contains("no HTTP"), "{error}");
        for (frame, what) in [
            (&[0x82, 0x80, 1, 2, 3, 4][..], "with a mask"),
            (&[0x81, 0x00], "a text to one who sends bytes"),
            (&[0xc2, 0x00], "with a reserved bit"),
            (&[0x83, 0x00], "of a reserved kind"),
        ] {
            let (mut socket, answer) = socket();
            let error = heard(&mut socket, &[&answer, frame]).unwrap_err();
            assert!(error.ends_with(what), "{frame:x?}: {error}");
        }
    }
}
