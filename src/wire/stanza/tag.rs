//! The grammar of one start tag.
//!
//! quick-xml's element parser says where the tag ends, by its quotes; the grammar here goes over
//! everything in between and must come out at that same byte. Most tags end at their first `>`:
//! what the grammar takes up to there needs no other look, for its quotes are closed.

use memchr::{memchr, memchr3};
use quick_xml::parser::{ElementParser, Parser as _};

use super::characters::{is_space, reference, skip_space};
use super::{AttributeSpan, FrameSpan, Refusal, names, not_xml};
use crate::limits::{ATTRIBUTES_PAIRWISE_MAX, exceeds};

/// Bytes of a value that are looked at one by one before a vector search takes over: what
/// most values have, and less than the search costs to start.
const SHORT_VALUE_BYTES: usize = 24;

/// A start tag that was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tag {
    /// Its name, prefix included.
    pub(super) name: FrameSpan,
    /// The offset after its `>`.
    pub(super) end: usize,
    /// Whether it is `<x/>`.
    pub(super) empty: bool,
    /// Whether namespaces have a say in it: a colon or an `xmlns` was seen.
    pub(super) namespaced: bool,
    /// Whether two attributes may have the same name, so that [`distinct`] has to be asked.
    pub(super) suspect: bool,
}

/// Reads the start tag whose `<` is at `start`, and puts its attributes behind those that
/// `attributes` holds.
#[inline]
pub(super) fn read(
    bytes: &[u8],
    start: usize,
    attributes_max: usize,
    attributes: &mut Vec<AttributeSpan>,
) -> Result<Tag, Refusal> {
    let first = attributes.len();
    if let Some(length) = memchr(b'>', &bytes[start + 1..]) {
        let tag = read_up_to(bytes, start, start + 1 + length, attributes_max, attributes);
        if tag.is_ok() {
            return tag;
        }
        attributes.truncate(first);
    }
    read_by_quotes(bytes, start, attributes_max, attributes)
}

/// [`read`] for tags with a `>` in a value, and for what is no tag.
#[cold]
fn read_by_quotes(
    bytes: &[u8],
    start: usize,
    attributes_max: usize,
    attributes: &mut Vec<AttributeSpan>,
) -> Result<Tag, Refusal> {
    let Some(length) = ElementParser::default().feed(&bytes[start + 1..]) else {
        return Err(not_xml("a tag that does not end", start));
    };
    read_up_to(bytes, start, start + 1 + length, attributes_max, attributes)
}

/// Reads the start tag between the `<` at `start` and the `>` at `close`.
///
/// It is part of [`read`] for the sake of speed: what it gives is more than registers hold.
#[inline(always)]
fn read_up_to(
    bytes: &[u8],
    start: usize,
    close: usize,
    attributes_max: usize,
    attributes: &mut Vec<AttributeSpan>,
) -> Result<Tag, Refusal> {
    let empty = bytes[close - 1] == b'/';
    let bytes = &bytes[..close - usize::from(empty)];
    let first = attributes.len();
    let name = names::read(bytes, start + 1)?;
    let mut namespaced = name.colon.is_some();
    let (mut traits_seen, mut suspect) = (0, false);
    let mut at = name.end;
    while at < bytes.len() {
        let next = skip_space(bytes, at);
        if next == bytes.len() {
            break;
        }
        if next == at {
            return Err(not_xml("no white space before an attribute", at));
        }
        if exceeds(attributes.len() - first + 1, attributes_max) {
            return Err(Refusal::TooManyAttributes(attributes_max));
        }
        let name = names::read(bytes, next)?;
        let value = read_value(bytes, name.end)?;
        namespaced |= name.colon.is_some() || &bytes[next..name.end] == b"xmlns";
        let traits = traits(&bytes[next..name.end]);
        suspect |= traits_seen & traits != 0;
        traits_seen |= traits;
        attributes.push(AttributeSpan { name: FrameSpan::new(next, name.end), value });
        at = value.end() + 1;
    }
    Ok(Tag {
        name: FrameSpan::new(start + 1, name.end),
        end: close + 1,
        empty,
        namespaced,
        suspect,
    })
}

/// Reads `= "value"` from `at` on: what stands between the quotes.
fn read_value(bytes: &[u8], at: usize) -> Result<FrameSpan, Refusal> {
    let equals = if bytes.get(at) == Some(&b'=') { at } else { skip_space(bytes, at) };
    if bytes.get(equals) != Some(&b'=') {
        return Err(not_xml("an attribute without a value", equals));
    }
    let open = skip_space(bytes, equals + 1);
    let Some(&quote @ (b'"' | b'\'')) = bytes.get(open) else {
        return Err(not_xml("a value without quotes", open));
    };
    let start = open + 1;
    let mut at = start;
    loop {
        at = next_in_value(bytes, at, quote)?;
        match bytes[at] {
            b'<' => return Err(not_xml("a < in a value", at)),
            b'&' => {
                (_, at) = reference(bytes, at).ok_or(not_xml("no reference after a &", at))?;
            }
            _ => return Ok(FrameSpan::new(start, at)),
        }
    }
}

/// The offset of the first quote, `<` or `&` from `at` on.
#[inline]
fn next_in_value(bytes: &[u8], mut at: usize, quote: u8) -> Result<usize, Refusal> {
    let short_end = bytes.len().min(at + SHORT_VALUE_BYTES);
    while at < short_end {
        let byte = bytes[at];
        if byte == quote || byte == b'<' || byte == b'&' {
            return Ok(at);
        }
        at += 1;
    }
    match memchr3(quote, b'<', b'&', &bytes[at..]) {
        Some(found) => Ok(at + found),
        None => Err(not_xml("a value that does not end", at)),
    }
}

/// One bit of 64 that equal names share, by their length and ends; few others do.
#[inline]
fn traits(name: &[u8]) -> u64 {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else {
        return 0;
    };
    1 << ((first ^ last.rotate_left(3)).wrapping_add(name.len() as u8) & 63)
}

/// Whether no two of one element's attributes have the same name. `order` is scratch.
pub(super) fn distinct(bytes: &[u8], attributes: &[AttributeSpan], order: &mut Vec<u32>) -> bool {
    let name = |index: usize| attributes[index].name.of(bytes);
    if attributes.len() <= ATTRIBUTES_PAIRWISE_MAX {
        return (1..attributes.len()).all(|late| (0..late).all(|early| name(early) != name(late)));
    }
    order.clear();
    order.extend(0..attributes.len() as u32);
    order.sort_unstable_by_key(|&index| name(index as usize));
    order.windows(2).all(|pair| name(pair[0] as usize) != name(pair[1] as usize))
}

/// Reads the end tag whose `<` is at `start` and that must close `name`: the offset after it.
#[inline]
pub(super) fn read_end(bytes: &[u8], start: usize, name: &[u8]) -> Result<usize, Refusal> {
    if !bytes[start + 2..].starts_with(name) {
        return Err(not_xml("an end tag that closes another element", start));
    }
    let mut at = start + 2 + name.len();
    if bytes.get(at).is_some_and(|&byte| is_space(byte)) {
        at = skip_space(bytes, at);
    }
    if bytes.get(at) != Some(&b'>') {
        return Err(not_xml("an end tag with more than its name", at));
    }
    Ok(at + 1)
}
