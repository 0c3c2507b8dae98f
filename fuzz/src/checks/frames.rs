//! The reader of WebSocket frames: any cutting of a stream tells the same, and it is what
//! tungstenite's own WebSocket reads, or both refuse it.

use std::io::{self, ErrorKind, Read, Write};

use palabre::net::transport::websocket::{Payload, WebSocketEvent, WebSocketReader};
use tungstenite::error::Error;
use tungstenite::protocol::{Message, Role, WebSocket, WebSocketConfig};

/// A frame that announces more is not compared: the other would make room for it at once.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Bad Gateway: registered with IANA, and tungstenite 0.30 does not know it.
const UNKNOWN_THERE: u16 = 1014;

/// What a refusal of tungstenite's is made of, and what a client may send as well, with the same
/// reason.
const PROTOCOL_ERROR: u16 = 1002;

/// Takes the cuts from the first byte; the rest is the stream.
///
/// # Panics
/// When the check fails.
pub fn check(data: &[u8]) {
    let [cuts, stream @ ..] = data else { return };
    let told = read(stream, stream.len().max(1));
    for size in [1, 2 + usize::from(*cuts)] {
        assert_eq!(read(stream, size), told, "in chunks of {size}");
    }
    let (theirs, how) = read_by_tungstenite(stream);
    let (ours, refused) = told;
    match how {
        How::Waits => assert_eq!(theirs, ours),
        How::Refuses => {
            assert!(refused, "we take what tungstenite refuses: {ours:?}");
            assert_eq!(theirs, ours);
        }
        How::GivesUp => assert!(ours.starts_with(&theirs), "{ours:?} and {theirs:?}"),
        How::RefusesCode => {
            let (close, before) = match ours.split_last() {
                Some((ToldFrame::Close(code), before)) => (*code, before),
                _ => (None, &ours[..]),
            };
            let as_well = matches!(close, Some(UNKNOWN_THERE | PROTOCOL_ERROR));
            assert!(refused || as_well, "we take what tungstenite refuses: {ours:?}");
            assert_eq!(theirs, before);
        }
    }
    // What the other reads to its end before it looks at it, we may refuse at its beginning.
}

/// What was told.
#[derive(Debug, PartialEq, Eq)]
enum ToldFrame {
    Message(Payload, Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// By our reader; whether it refuses the rest.
fn read(stream: &[u8], size: usize) -> (Vec<ToldFrame>, bool) {
    let mut reader = WebSocketReader::default();
    let (mut told, mut message) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(size) {
        let result = reader.read(&mut chunk.to_vec(), |event| {
            told.push(match event {
                WebSocketEvent::Frame { .. } => return,
                WebSocketEvent::Data { payload, bytes, end } => {
                    message.extend_from_slice(bytes);
                    if !end {
                        return;
                    }
                    ToldFrame::Message(payload, std::mem::take(&mut message))
                }
                WebSocketEvent::Ping(payload) => ToldFrame::Ping(payload.to_vec()),
                WebSocketEvent::Pong => ToldFrame::Pong,
                WebSocketEvent::Close(code) => ToldFrame::Close(code),
            });
        });
        if result.is_err() {
            return (told, true);
        }
    }
    (told, false)
}

/// How the other goes on.
enum How {
    /// It waits for more, or for nothing more.
    Waits,
    Refuses,
    /// It refuses the code of a close frame, or says what looks like it: it tells both alike.
    RefusesCode,
    GivesUp,
}

fn read_by_tungstenite(stream: &[u8]) -> (Vec<ToldFrame>, How) {
    let config =
        WebSocketConfig::default().max_frame_size(Some(FRAME_BYTES_MAX)).max_message_size(None);
    let mut socket = WebSocket::from_raw_socket(InputOnly(stream), Role::Server, Some(config));
    let mut told = Vec::new();
    loop {
        told.push(match socket.read() {
            Ok(Message::Text(text)) => ToldFrame::Message(Payload::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => ToldFrame::Message(Payload::Binary, bytes.to_vec()),
            Ok(Message::Ping(payload)) => ToldFrame::Ping(payload.to_vec()),
            Ok(Message::Pong(_)) => ToldFrame::Pong,
            Ok(Message::Close(close)) => {
                let close = close.as_ref();
                // This is how it tells of a code that nobody may send.
                if close.is_some_and(|close| close.reason.as_str() == "Protocol violation") {
                    return (told, How::RefusesCode);
                }
                told.push(ToldFrame::Close(close.map(|close| close.code.into())));
                return (told, How::Waits);
            }
            Ok(Message::Frame(_)) => unreachable!("reading gives no bare frames"),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                return (told, How::Waits);
            }
            Err(Error::Capacity(_)) => return (told, How::GivesUp),
            Err(_) => return (told, How::Refuses),
        });
    }
}

/// What is read stands there, what is written goes nowhere.
struct InputOnly<'a>(&'a [u8]);

impl Read for InputOnly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for InputOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
