//! The XML declaration, the one thing before the root that is neither white space nor comment.

use memchr::memchr;
use quick_xml::parser::{Parser as _, PiParser};

use super::characters::{Text, is_space, skip_space};
use super::{Refusal, not_xml};

/// What every declaration begins with.
const OPENING: &[u8] = b"<?xml";

/// Reads an XML declaration at the very start: the offset after it, `0` when there is none.
///
/// Only version 1.0 is XML 1.0 to every parser, and only UTF-8 and its subset US-ASCII say what
/// the wire carries.
pub(super) fn read(frame: Text<'_>) -> Result<usize, Refusal> {
    let bytes = frame.bytes;
    if !bytes.starts_with(OPENING) || !bytes.get(OPENING.len()).is_some_and(|&byte| is_space(byte))
    {
        return Ok(0);
    }
    let Some(close) = PiParser(false).feed(&bytes[OPENING.len()..]) else {
        return Err(not_xml("an XML declaration that does not end", 0));
    };
    let close = OPENING.len() + close;
    let mut fields = Fields { bytes: &bytes[OPENING.len()..close - 1], at: 0 };
    let plain = fields.next("version")? == Some(b"1.0")
        && match fields.next("encoding")? {
            None => true,
            Some(encoding) if encoding.eq_ignore_ascii_case(b"UTF-8") => true,
            Some(encoding) => frame.ascii && encoding.eq_ignore_ascii_case(b"US-ASCII"),
        }
        && matches!(fields.next("standalone")?, None | Some(b"yes" | b"no"))
        && fields.is_over();
    if !plain {
        return Err(not_xml("an XML declaration for something else", OPENING.len() + fields.at));
    }
    Ok(close + 1)
}

/// The `name="value"` pairs of a declaration.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The value of the next field, when it is the one called `name`.
    fn next(&mut self, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
        let bytes = self.bytes;
        let start = skip_space(bytes, self.at);
        if start == self.at || !bytes[start..].starts_with(name.as_bytes()) {
            return Ok(None);
        }
        let malformed = not_xml("an XML declaration with a malformed field", OPENING.len() + start);
        let equals = skip_space(bytes, start + name.len());
        if bytes.get(equals) != Some(&b'=') {
            return Err(malformed);
        }
        let open = skip_space(bytes, equals + 1);
        let Some(&quote @ (b'"' | b'\'')) = bytes.get(open) else {
            return Err(malformed);
        };
        let length = memchr(quote, &bytes[open + 1..]).ok_or(malformed)?;
        let close = open + 1 + length;
        self.at = close + 1;
        Ok(Some(&bytes[open + 1..close]))
    }

    /// Whether nothing but white space is left.
    fn is_over(&self) -> bool {
        skip_space(self.bytes, self.at) == self.bytes.len()
    }
}
