//! What a turn has put into frames: once for all who receive the same.

use super::websocket::{Payload, write_message};
use crate::hub::Span;
use crate::net::deliveries::Pieces;
use crate::wire::framer::FRAME_END;

/// Memory that is kept for the next turn; a saturated room of 100 needs some 10 KB.
const KEPT_BYTES: usize = 65_536;

/// The pieces that were framed last, for texts and for bytes.
#[derive(Debug, Default)]
pub(in crate::net) struct Framed {
    text: Last,
    binary: Last,
}

#[derive(Debug, Default)]
struct Last {
    /// Where they stood; `None` where they were many, or are of another turn.
    span: Option<Span>,
    bytes: Vec<u8>,
}

impl Framed {
    /// The stanzas in these pieces, each in a frame of its own: as a text without its NUL, or as
    /// bytes with it. What the last receiver got as well is not framed again.
    pub(super) fn of(&mut self, payload: Payload, pieces: Pieces<'_>) -> &Vec<u8> {
        let last = match payload {
            Payload::Text => &mut self.text,
            Payload::Binary => &mut self.binary,
        };
        let span = pieces.single_span();
        if span.is_none() || span != last.span {
            last.span = span;
            last.bytes.clear();
            for piece in pieces {
                frame_all(&mut last.bytes, payload, piece);
            }
        }
        &last.bytes
    }

    /// The turn's stanzas are gone.
    pub(in crate::net) fn forget(&mut self) {
        for last in [&mut self.text, &mut self.binary] {
            if last.span.take().is_some() || last.bytes.capacity() > KEPT_BYTES {
                last.bytes.clear();
                last.bytes.shrink_to(KEPT_BYTES);
            }
        }
    }
}

fn frame_all(out: &mut Vec<u8>, payload: Payload, mut stanzas: &[u8]) {
    while let Some(end) = memchr::memchr(FRAME_END, stanzas) {
        let (stanza, rest) = stanzas.split_at(end + 1);
        stanzas = rest;
        match payload {
            Payload::Text => write_message(out, payload, &stanza[..end]),
            Payload::Binary => write_message(out, payload, stanza),
        }
    }
}
