//! Characters and references: what XML 1.0 allows in a document, and what a value means.

use std::borrow::Cow;

use super::{Refusal, not_xml};

/// A frame that is UTF-8; every character in it is one that XML 1.0 allows.
///
/// It stays bytes: most of it is passed on and never taken for text, and a `str` would cost a
/// second look at frames that are known to be ASCII.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether all of it is ASCII.
    pub(super) ascii: bool,
}

/// Eight bytes at a time, in one integer.
type EightBytes = [u8; 8];

/// Checks that a frame is UTF-8 and holds no character that XML 1.0 forbids.
pub(super) fn check(frame: &[u8]) -> Result<Text<'_>, Refusal> {
    let (low, ascii) = survey(frame);
    if low && has_forbidden_control(frame) {
        return Err(not_xml("a control character", forbidden_control(frame)));
    }
    if !ascii {
        if has_noncharacter(frame) {
            return Err(not_xml("U+FFFE or U+FFFF", noncharacter(frame)));
        }
        if let Err(error) = std::str::from_utf8(frame) {
            return Err(not_xml("not UTF-8", error.valid_up_to()));
        }
    }
    Ok(Text { bytes: frame, ascii })
}

/// Where the first control character other than tab, LF and CR is.
#[cold]
fn forbidden_control(bytes: &[u8]) -> usize {
    let forbidden = |&byte: &u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    bytes.iter().position(forbidden).unwrap_or(bytes.len())
}

/// Where the first U+FFFE or U+FFFF is.
#[cold]
fn noncharacter(bytes: &[u8]) -> usize {
    let noncharacter = |three: &[u8]| matches!(three, [0xef, 0xbf, 0xbe | 0xbf]);
    bytes.windows(3).position(noncharacter).unwrap_or(bytes.len())
}

/// Whether any byte is below the blank, and whether all are ASCII.
///
/// One walk without branches; most frames hold no white space but blanks, and need no other.
fn survey(bytes: &[u8]) -> (bool, bool) {
    let (mut low, mut high) = (0, 0);
    let mut add = |word: &EightBytes| {
        let word = u64::from_ne_bytes(*word);
        // The top bit of a lane that is below the blank, and maybe of lanes above such a one.
        low |= word.wrapping_sub(lanes(b' ')) & !word;
        high |= word;
    };
    let (words, _) = bytes.as_chunks();
    words.iter().for_each(&mut add);
    add(&last_word(bytes));
    (low & lanes(0x80) != 0, high & lanes(0x80) == 0)
}

/// Whether a control character other than tab, LF and CR is among the bytes.
fn has_forbidden_control(bytes: &[u8]) -> bool {
    let forbidden = |word: &EightBytes| {
        let word = u64::from_ne_bytes(*word);
        // With the top bits cleared no lane carries into the next: a top bit comes back in the
        // lanes that are a blank or more, and in those that differ from what they are compared to.
        let bits = word & lanes(0x7f);
        let above = bits + lanes(0x80 - b' ');
        let differs = |byte: u8| (bits ^ lanes(byte)) + lanes(0x7f);
        !above & !word & differs(b'\t') & differs(b'\n') & differs(b'\r') & lanes(0x80)
    };
    let (words, _) = bytes.as_chunks();
    words.iter().fold(forbidden(&last_word(bytes)), |seen, word| seen | forbidden(word)) != 0
}

/// A word with the same byte in each of its eight lanes.
const fn lanes(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The last eight bytes; fewer are filled up with blanks. Where the words before end among
/// them, bytes are looked at again, which is less than putting the rest together is.
#[inline]
fn last_word(bytes: &[u8]) -> EightBytes {
    if let Some(word) = bytes.last_chunk() {
        return *word;
    }
    let mut word = [b' '; 8];
    for (lane, &byte) in word.iter_mut().zip(bytes) {
        *lane = byte;
    }
    word
}

/// Whether U+FFFE or U+FFFF is in UTF-8 text: `EF BF BE` or `EF BF BF`.
fn has_noncharacter(frame: &[u8]) -> bool {
    memchr::memchr_iter(0xef, frame)
        .any(|at| matches!(frame.get(at + 1..at + 3), Some([0xbf, 0xbe | 0xbf])))
}

/// White space of XML: production 3.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The offset of the first byte from `at` on that is no white space.
#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| is_space(byte)) {
        at += 1;
    }
    at
}

/// Reads the reference whose `&` is at `at`: its character and the offset after its `;`.
///
/// Known are the five entities that need no declaration, and references to characters that
/// XML 1.0 allows.
pub(super) fn reference(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    match bytes.get(at + 1..)? {
        [b'#', ..] => character_reference(bytes, at + 2),
        [b'l', b't', b';', ..] => Some(('<', at + 4)),
        [b'g', b't', b';', ..] => Some(('>', at + 4)),
        [b'a', b'm', b'p', b';', ..] => Some(('&', at + 5)),
        [b'q', b'u', b'o', b't', b';', ..] => Some(('"', at + 6)),
        [b'a', b'p', b'o', b's', b';', ..] => Some(('\'', at + 6)),
        _ => None,
    }
}

/// Reads what follows `&#`.
fn character_reference(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let (radix, first) = if bytes.get(at) == Some(&b'x') { (16, at + 1) } else { (10, at) };
    let mut end = first;
    let mut point: u32 = 0;
    while let Some(digit) = bytes.get(end).and_then(|&byte| char::from(byte).to_digit(radix)) {
        point = point.saturating_mul(radix).saturating_add(digit);
        end += 1;
    }
    if end == first || bytes.get(end) != Some(&b';') {
        return None;
    }
    let char = char::from_u32(point)?;
    let allowed = matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    allowed.then_some((char, end + 1))
}

/// Whether a byte of an attribute value means something else than itself.
const fn changes(byte: u8) -> bool {
    matches!(byte, b'&' | b'\t' | b'\n' | b'\r')
}

/// Whether a checked attribute value means what stands there, byte for byte.
#[inline]
pub(super) fn is_plain(raw: &[u8]) -> bool {
    !raw.iter().any(|&byte| changes(byte))
}

/// What a checked attribute value means: references resolved, white space normalised (XML 1.0
/// sections 2.11 and 3.3.3). Borrowed when nothing had to change.
pub(super) fn resolve(raw: &str) -> Cow<'_, str> {
    let Some(first) = raw.bytes().position(changes) else {
        return Cow::Borrowed(raw);
    };
    let bytes = raw.as_bytes();
    let mut value = String::with_capacity(raw.len());
    value.push_str(&raw[..first]);
    let mut at = first;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'&' => {
                // The value was checked; were it not, its ampersand would stay as it is.
                let (char, end) = reference(bytes, at).unwrap_or(('&', at + 1));
                value.push(char);
                at = end;
            }
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => at += 1,
            b'\t' | b'\n' | b'\r' => {
                value.push(' ');
                at += 1;
            }
            _ => {
                let rest = &bytes[at..];
                let end = at + rest.iter().position(|&byte| changes(byte)).unwrap_or(rest.len());
                value.push_str(&raw[at..end]);
                at = end;
            }
        }
    }
    Cow::Owned(value)
}
