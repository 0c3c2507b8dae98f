//! What was sent and what has arrived: each message carries its stream and its number, so that
//! one that is missing, doubled or out of order is seen at its receiver.

use std::collections::VecDeque;
use std::io::Write as _;

use memchr::memchr;

use super::error::Fault;

/// A message as it is read at its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Which sender's.
    pub(super) stream: usize,
    /// Its number in the stream, from 0.
    pub(super) number: u32,
    /// Bytes of its body.
    pub(super) body_bytes: usize,
}

/// Appends a message whose `address` is written as an attribute, with a body of at least
/// `bytes` bytes that says what it is.
pub(super) fn write_message(
    buffer: &mut Vec<u8>,
    address: (&str, &str),
    stream: usize,
    number: u32,
    bytes: usize,
) {
    let (attribute, value) = address;
    // Writing to a vector can't fail.
    let _ = write!(buffer, "<m {attribute}=\"{value}\">");
    write_body(buffer, stream, number, bytes);
    buffer.extend_from_slice(b"</m>");
}

fn write_body(buffer: &mut Vec<u8>, stream: usize, number: u32, bytes: usize) {
    const FILLING: [u8; 256] = [b'x'; 256];
    let start = buffer.len();
    // Writing to a vector can't fail.
    let _ = write!(buffer, "{stream} {number} ");
    while buffer.len() - start < bytes {
        let missing = bytes - (buffer.len() - start);
        buffer.extend_from_slice(&FILLING[..missing.min(FILLING.len())]);
    }
}

/// Reads a delivered `<m …>stream number xxx</m>`.
///
/// # Errors
/// [`Fault::Garbled`] when it is none.
pub(super) fn read_message(frame: &[u8]) -> Result<Message, Fault> {
    let garbled = || Fault::Garbled { frame: String::from_utf8_lossy(frame).into_owned() };
    let body = memchr(b'>', frame).map(|at| &frame[at + 1..]);
    let body = body.and_then(|body| body.strip_suffix(b"</m>")).ok_or_else(garbled)?;
    let (stream, rest) = number(body).ok_or_else(garbled)?;
    let (number, _) = number(rest).ok_or_else(garbled)?;
    let number = u32::try_from(number).map_err(|_| garbled())?;
    Ok(Message { stream, number, body_bytes: body.len() })
}

/// A decimal number and what stands behind the blank after it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value: usize = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_add(usize::from(byte - b'0'))?,
            b' ' if index > 0 => return Some((value, &bytes[index + 1..])),
            _ => return None,
        }
    }
    None
}

/// One sender's messages that have not arrived everywhere.
#[derive(Clone, Debug, Default)]
struct SenderStream {
    /// The number of the first in flight.
    first: u32,
    in_flight: VecDeque<Flight>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    receivers_left: u32,
    sent_at: u64,
}

/// All senders' messages in flight.
#[derive(Debug)]
pub(super) struct Ledger {
    streams: Vec<SenderStream>,
    on_the_way: u64,
}

/// What an arrival means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Nanoseconds since it was sent.
    pub(super) latency_ns: u64,
    /// Whether everybody has it now.
    pub(super) complete: bool,
}

impl Ledger {
    /// A ledger of so many senders.
    pub(super) fn new(streams: usize) -> Self {
        Self { streams: vec![SenderStream::default(); streams], on_the_way: 0 }
    }

    /// Deliveries that have not arrived yet.
    pub(super) const fn on_the_way(&self) -> u64 {
        self.on_the_way
    }

    /// Notes that a stream's next message goes out to so many; gives its number.
    pub(super) fn sent(&mut self, stream: usize, receivers: u32, at: u64) -> u32 {
        let stream = &mut self.streams[stream];
        self.on_the_way += u64::from(receivers);
        stream.in_flight.push_back(Flight { receivers_left: receivers, sent_at: at });
        // As many messages as a `u32` counts don't fit into a run.
        stream.first + stream.in_flight.len() as u32 - 1
    }

    /// Notes that a message arrived at one of its receivers, which wants `expected` next.
    ///
    /// # Errors
    /// [`Fault::Skipped`] and [`Fault::Doubled`].
    pub(super) fn arrived(
        &mut self,
        message: Message,
        expected: &mut u32,
        now: u64,
    ) -> Result<Delivered, Fault> {
        let Message { stream, number, .. } = message;
        if number > *expected {
            return Err(Fault::Skipped { stream, expected: *expected, number });
        }
        let doubled = || Fault::Doubled { stream, number };
        if number < *expected {
            return Err(doubled());
        }
        let Some(found) = self.streams.get_mut(stream) else {
            return Err(doubled());
        };
        let index = number.checked_sub(found.first).map(|index| index as usize);
        let Some(flight) = index.and_then(|index| found.in_flight.get_mut(index)) else {
            return Err(doubled());
        };
        *expected += 1;
        flight.receivers_left -= 1;
        self.on_the_way -= 1;
        let arrival = Delivered {
            latency_ns: now.saturating_sub(flight.sent_at),
            complete: flight.receivers_left == 0,
        };
        while found.in_flight.front().is_some_and(|flight| flight.receivers_left == 0) {
            found.in_flight.pop_front();
            found.first += 1;
        }
        Ok(arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(stream: usize, number: u32) -> Message {
        Message { stream, number, body_bytes: 0 }
    }

    #[test]
    fn a_body_says_what_it_is_and_has_its_size() {
        for bytes in [0, 8, 100, 10_000] {
            let mut frame = b"<m f=\"a\" r=\"r\">".to_vec();
            write_body(&mut frame, 12, 345, bytes);
            frame.extend_from_slice(b"</m>");
            let message = read_message(&frame).unwrap();
            assert_eq!((message.stream, message.number), (12, 345));
            assert_eq!(message.body_bytes, bytes.max("12 345 ".len()));
        }
        for frame in ["<m>1 2 </m", "<m>1 2</m>", "<m>x 2 </m>", "<m> 2 </m>", "12 3 "] {
            assert!(read_message(frame.as_bytes()).is_err(), "{frame}");
        }
    }

    #[test]
    fn what_arrives_once_and_in_order_is_right() {
        let mut ledger = Ledger::new(2);
        assert_eq!(ledger.sent(1, 2, 100), 0);
        assert_eq!(ledger.sent(1, 2, 200), 1);
        let (mut ann, mut bob) = (0, 0);
        let arrival = ledger.arrived(message(1, 0), &mut ann, 110).unwrap();
        assert_eq!(arrival, Delivered { latency_ns: 10, complete: false });
        ledger.arrived(message(1, 1), &mut ann, 300).unwrap();
        let arrival = ledger.arrived(message(1, 0), &mut bob, 400).unwrap();
        assert_eq!(arrival, Delivered { latency_ns: 300, complete: true });
        assert_eq!(ledger.on_the_way(), 1);
        assert!(ledger.arrived(message(1, 1), &mut bob, 400).unwrap().complete);
        assert_eq!((ledger.on_the_way(), ledger.sent(1, 1, 0)), (0, 2));
    }

    #[test]
    fn what_is_missing_doubled_or_out_of_order_is_told() {
        let mut ledger = Ledger::new(1);
        for _ in 0..3 {
            ledger.sent(0, 1, 0);
        }
        let mut ann = 0;
        let skipped = ledger.arrived(message(0, 1), &mut ann, 0);
        assert!(matches!(skipped, Err(Fault::Skipped { expected: 0, number: 1, .. })));
        ledger.arrived(message(0, 0), &mut ann, 0).unwrap();
        let doubled = ledger.arrived(message(0, 0), &mut ann, 0);
        assert!(matches!(doubled, Err(Fault::Doubled { number: 0, .. })));
        // One that a stranger gets as well.
        let doubled = ledger.arrived(message(0, 0), &mut 0, 0);
        assert!(matches!(doubled, Err(Fault::Doubled { .. })));
        // One that nobody has sent.
        let never_sent = ledger.arrived(message(0, 9), &mut 9, 0);
        assert!(matches!(never_sent, Err(Fault::Doubled { .. })));
        let nobody = ledger.arrived(message(7, 0), &mut 0, 0);
        assert!(matches!(nobody, Err(Fault::Doubled { .. })));
    }
}
