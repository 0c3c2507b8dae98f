//! Namespaces in XML 1.0: the path that only stanzas with a colon or an `xmlns` in a tag take.
//!
//! While the tags are read, [`Namespaces::open`] and [`Namespaces::close`] keep a log of what
//! is declared and used. When all is read, the prefixes that are declared are numbered by sorting
//! them, and the log is played back over a table indexed by these numbers; what is used is looked
//! up among the sorted ones. So neither many declarations nor deep nesting costs more than a
//! sort, and no hash has to be guarded against chosen keys. URIs are numbered only where two
//! attributes of one element have the same local name.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::characters::resolve;
use super::{AttributeSpan, FrameSpan, Refusal, not_xml, uri};

/// The URI of the prefix `xml`, which is declared everywhere.
const XML_URI: &str = "http://www.w3.org/XML/1998/namespace";
/// The URI of the prefix `xmlns`, which nobody may use.
const XMLNS_URI: &str = "http://www.w3.org/2000/xmlns/";

/// The mark of the declaration of `xml`, and the number of its URI; no frame has so many.
const XML: u32 = u32::MAX;

/// The log of one frame's namespaces, and scratch memory to play it back.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    marks: Vec<Mark>,
    /// The declarations, by their marks.
    declared: Vec<Declared>,
    /// The prefixes that are declared, each once, in the order of [`Prefix::compare`].
    prefixes: Vec<Prefix>,
    /// What is in force at one place of the frame.
    scopes: Scopes,
    /// The prefixed attributes of one element.
    attributes: Vec<PrefixedName>,
    /// The declarations know the numbers of their URIs.
    uris_numbered: bool,
}

#[derive(Clone, Copy, Debug)]
enum Mark {
    /// A start tag that declares a prefix or has an attribute with one; what follows belongs to it.
    Tag { depth: u32 },
    /// It declares a prefix; `prefix` is the number of that, once there are numbers.
    Declaration { prefix: u32 },
    /// Its name has a prefix.
    Element { prefix: FrameSpan },
    /// It has an attribute with a prefix.
    Attribute { prefix: FrameSpan, local: FrameSpan },
    /// A start tag of which nothing else is to be known than the prefix of its name.
    Alone { prefix: FrameSpan },
    /// An element that declared a prefix is over.
    Close { depth: u32 },
}

/// A prefix, with its first bytes at hand: most comparisons look no further.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    start: u64,
    span: FrameSpan,
}

impl Prefix {
    fn of(bytes: &[u8], span: FrameSpan) -> Self {
        let mut start = [0; 8];
        let name = span.of(bytes);
        let length = name.len().min(start.len());
        start[..length].copy_from_slice(&name[..length]);
        Self { start: u64::from_be_bytes(start), span }
    }

    fn compare(&self, other: &Self, bytes: &[u8]) -> Ordering {
        // No name holds a NUL, so that the bytes that are missing tell the lengths apart.
        let by_start = self.start.cmp(&other.start);
        by_start.then_with(|| self.span.of(bytes).cmp(other.span.of(bytes)))
    }
}

/// A declaration.
#[derive(Clone, Copy, Debug)]
struct Declared {
    prefix: Prefix,
    value: FrameSpan,
    mark: u32,
    /// Equal URIs have the same number, once there are numbers.
    uri: u32,
}

/// An attribute with a prefix.
#[derive(Clone, Copy, Debug)]
struct PrefixedName {
    local: FrameSpan,
    /// The declaration of its prefix, by its mark; [`XML`] for the one of `xml`.
    declared: u32,
}

impl Namespaces {
    /// Forgets the last frame.
    pub(super) fn clear(&mut self) {
        self.marks.clear();
        self.declared.clear();
    }

    /// Whether a tag was logged.
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Logs a start tag and checks what can be said of it alone. Gives whether it declares a
    /// prefix, so that [`Namespaces::close`] must follow.
    pub(super) fn open(
        &mut self,
        bytes: &[u8],
        depth: usize,
        name: FrameSpan,
        attributes: &[AttributeSpan],
    ) -> Result<bool, Refusal> {
        let prefix = split(bytes, name).map(|(prefix, _)| prefix);
        if prefix.is_some_and(|prefix| prefix.of(bytes) == b"xmlns") {
            return Err(not_xml("an element with the prefix xmlns", name.start()));
        }
        let first = self.marks.len();
        let mut declares = false;
        for attribute in attributes {
            let Some((prefix, local)) = split(bytes, attribute.name) else {
                if attribute.name.of(bytes) == b"xmlns" {
                    check_uri(&resolve(attribute.value.text(bytes)), attribute.value.start())?;
                }
                continue;
            };
            if self.marks.len() == first {
                self.marks.push(Mark::Tag { depth: depth as u32 });
            }
            if prefix.of(bytes) == b"xmlns" {
                check_declaration(bytes, local, attribute.value)?;
                declares = true;
                self.declare(bytes, local, attribute.value);
            } else if attribute.name.of(bytes) == b"xml:id" {
                return Err(not_xml("an xml:id", prefix.start()));
            } else {
                self.marks.push(Mark::Attribute { prefix, local });
            }
        }
        if let Some(prefix) = prefix {
            let alone = self.marks.len() == first;
            self.marks.push(if alone { Mark::Alone { prefix } } else { Mark::Element { prefix } });
        }
        Ok(declares)
    }

    fn declare(&mut self, bytes: &[u8], prefix: FrameSpan, value: FrameSpan) {
        let mark = self.marks.len() as u32;
        self.marks.push(Mark::Declaration { prefix: 0 });
        let prefix = Prefix::of(bytes, prefix);
        self.declared.push(Declared { prefix, value, mark, uri: 0 });
    }

    /// Logs that an element that declared a prefix is over.
    pub(super) fn close(&mut self, depth: usize) {
        self.marks.push(Mark::Close { depth: depth as u32 });
    }

    /// Plays the log back: every prefix must be declared where it is used, and no two
    /// attributes of an element may be the same name in the same namespace.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.number_prefixes(bytes);
        let mut at = 0;
        while let Some(&mark) = self.marks.get(at) {
            at += 1;
            match mark {
                Mark::Alone { prefix } => _ = self.declaration_of(bytes, prefix)?,
                Mark::Close { depth } => self.scopes.leave(depth),
                Mark::Tag { depth } => {
                    let length =
                        self.marks[at..].iter().take_while(|mark| mark.is_of_tag()).count();
                    self.check_tag(bytes, depth, at, at + length)?;
                    at += length;
                }
                // They stand behind their tag.
                Mark::Declaration { .. } | Mark::Element { .. } | Mark::Attribute { .. } => {}
            }
        }
        Ok(())
    }

    /// Checks the tag whose marks stand there.
    fn check_tag(
        &mut self,
        bytes: &[u8],
        depth: u32,
        start: usize,
        end: usize,
    ) -> Result<(), Refusal> {
        for mark in start..end {
            if let Mark::Declaration { prefix } = self.marks[mark] {
                self.scopes.declare(depth, prefix, mark as u32);
            }
        }
        self.attributes.clear();
        for mark in start..end {
            match self.marks[mark] {
                Mark::Element { prefix } => _ = self.declaration_of(bytes, prefix)?,
                Mark::Attribute { prefix, local } => {
                    let declared = self.declaration_of(bytes, prefix)?;
                    self.attributes.push(PrefixedName { local, declared });
                }
                Mark::Declaration { .. }
                | Mark::Tag { .. }
                | Mark::Alone { .. }
                | Mark::Close { .. } => {}
            }
        }
        if self.has_attribute_twice(bytes) {
            let attributes = self.attributes.iter().map(|named| named.local.start());
            let at = attributes.min().unwrap_or_default();
            return Err(not_xml("an attribute twice, under two prefixes", at));
        }
        Ok(())
    }

    /// Whether two of the element's attributes are the same name in the same namespace.
    fn has_attribute_twice(&mut self, bytes: &[u8]) -> bool {
        if self.attributes.len() < 2 {
            return false;
        }
        self.attributes.sort_unstable_by_key(|named| named.local.of(bytes));
        let same_local = |pair: &[PrefixedName]| pair[0].local.of(bytes) == pair[1].local.of(bytes);
        if !self.attributes.windows(2).any(same_local) {
            return false;
        }
        self.number_uris(bytes);
        let declared = &self.declared;
        let uri = |named: &PrefixedName| {
            let place = declared.binary_search_by_key(&named.declared, |one| one.mark);
            place.map_or(XML, |place| declared[place].uri)
        };
        let name = |named: &PrefixedName| (named.local.of(bytes), uri(named));
        self.attributes.sort_unstable_by_key(name);
        self.attributes.windows(2).any(|pair| name(&pair[0]) == name(&pair[1]))
    }

    /// Numbers the prefixes that are declared, in their order, and has each declaration know its
    /// own.
    fn number_prefixes(&mut self, bytes: &[u8]) {
        self.prefixes.clear();
        self.declared.sort_unstable_by(|one, other| one.prefix.compare(&other.prefix, bytes));
        for declared in &self.declared {
            let last = self.prefixes.last();
            if last.is_none_or(|last| last.compare(&declared.prefix, bytes).is_ne()) {
                self.prefixes.push(declared.prefix);
            }
            let prefix = self.prefixes.len() as u32 - 1;
            self.marks[declared.mark as usize] = Mark::Declaration { prefix };
        }
        self.scopes.begin(self.prefixes.len());
        // From now on they are looked for by their marks.
        self.declared.sort_unstable_by_key(|declared| declared.mark);
        self.uris_numbered = false;
    }

    /// Numbers the URIs that are declared, unless that is done.
    fn number_uris(&mut self, bytes: &[u8]) {
        if std::mem::replace(&mut self.uris_numbered, true) {
            return;
        }
        let uris: Vec<Cow<'_, str>> =
            self.declared.iter().map(|declared| resolve(declared.value.text(bytes))).collect();
        let mut order: Vec<usize> = (0..uris.len()).collect();
        order.sort_unstable_by_key(|&place| &uris[place]);
        let mut number = 0;
        for (index, &place) in order.iter().enumerate() {
            number += u32::from(index > 0 && uris[order[index - 1]] != uris[place]);
            self.declared[place].uri = number;
        }
    }

    /// The declaration of a prefix that is in force, by its mark.
    fn declaration_of(&mut self, bytes: &[u8], prefix: FrameSpan) -> Result<u32, Refusal> {
        let wanted = Prefix::of(bytes, prefix);
        // Most elements have the prefix of the one before.
        let last = self.scopes.last.and_then(|last| Some((last, self.prefixes.get(last)?)));
        let place = match last {
            Some((place, last)) if last.compare(&wanted, bytes).is_eq() => Some(place),
            _ => self.prefixes.binary_search_by(|known| known.compare(&wanted, bytes)).ok(),
        };
        self.scopes.last = place;
        let in_force = place.and_then(|place| self.scopes.bindings[place]);
        in_force
            .or_else(|| (prefix.of(bytes) == b"xml").then_some(XML))
            .ok_or(not_xml("a prefix that is not declared", prefix.start()))
    }
}

impl Mark {
    /// Whether it belongs to the tag before it.
    const fn is_of_tag(self) -> bool {
        match self {
            Self::Declaration { .. } | Self::Element { .. } | Self::Attribute { .. } => true,
            Self::Tag { .. } | Self::Alone { .. } | Self::Close { .. } => false,
        }
    }
}

/// What each prefix means at one place of the frame, by numbers.
#[derive(Debug, Default)]
struct Scopes {
    /// The declaration of each prefix, by its mark.
    bindings: Vec<Option<u32>>,
    /// What the declarations in force have replaced: depth, prefix, its declaration before.
    shadowed: Vec<(u32, u32, Option<u32>)>,
    /// The prefix that was looked up last.
    last: Option<usize>,
}

impl Scopes {
    /// So many prefixes, none of them declared.
    fn begin(&mut self, prefixes: usize) {
        self.bindings.clear();
        self.bindings.resize(prefixes, None);
        self.shadowed.clear();
        self.last = None;
    }

    fn declare(&mut self, depth: u32, prefix: u32, mark: u32) {
        let before = self.bindings[prefix as usize].replace(mark);
        self.shadowed.push((depth, prefix, before));
    }

    /// Takes back what the element at `depth` declared.
    fn leave(&mut self, depth: u32) {
        while let Some(&(declared_at, prefix, before)) = self.shadowed.last()
            && declared_at == depth
        {
            self.bindings[prefix as usize] = before;
            self.shadowed.pop();
        }
    }
}

/// The prefix and the local part of a name that has a colon.
fn split(bytes: &[u8], name: FrameSpan) -> Option<(FrameSpan, FrameSpan)> {
    let colon = name.start() + memchr::memchr(b':', name.of(bytes))?;
    Some((FrameSpan::new(name.start(), colon), FrameSpan::new(colon + 1, name.end())))
}

/// Checks `xmlns:prefix="value"`.
fn check_declaration(bytes: &[u8], prefix: FrameSpan, value: FrameSpan) -> Result<(), Refusal> {
    let raw = value.text(bytes);
    if prefix.of(bytes).get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"xml")) {
        return Err(not_xml("a reserved prefix is declared", prefix.start()));
    }
    if raw.is_empty() {
        return Err(not_xml("a prefix is bound to nothing", value.start()));
    }
    check_uri(&resolve(raw), value.start())
}

/// Checks the URI that stands at this place.
fn check_uri(value: &str, at: usize) -> Result<(), Refusal> {
    if value == XML_URI || value == XMLNS_URI {
        return Err(not_xml("a reserved namespace is declared", at));
    }
    if !uri::is_reference(value) {
        return Err(not_xml("a namespace that is no plain URI", at));
    }
    Ok(())
}
