//! Namespaces in XML 1.0: the path that only stanzas with a colon or an `xmlns` in a tag take.
//!
//! While the tags are read, [`Namespaces::open`] and [`Namespaces::close`] keep a log of what
//! is declared and used. When all is read, prefixes and URIs are numbered by sorting them, and
//! the log is played back over a table indexed by these numbers. So neither many declarations
//! nor deep nesting costs more than a sort, and no hash has to be guarded against chosen keys.

use std::borrow::Cow;

use super::characters::resolve;
use super::{AttributeSpan, Refusal, Span, uri};

/// The URI of the prefix `xml`, which is declared everywhere.
const XML_URI: &str = "http://www.w3.org/XML/1998/namespace";
/// The URI of the prefix `xmlns`, which nobody may use.
const XMLNS_URI: &str = "http://www.w3.org/2000/xmlns/";

/// A prefix is bound to the URI of this number; no frame has so many.
const XML_NUMBER: u32 = u32::MAX;

/// The log of one frame's namespaces.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug)]
enum Mark {
    /// A start tag; what follows belongs to it.
    Open { depth: u32 },
    /// It declares a prefix.
    Declaration { prefix: Span, value: Span },
    /// Its name has a prefix.
    Element { prefix: Span },
    /// It has an attribute with a prefix.
    Attribute { prefix: Span, local: Span },
    /// An element that declared a prefix is over.
    Close { depth: u32 },
}

impl Namespaces {
    /// Forgets the last frame.
    pub(super) fn clear(&mut self) {
        self.marks.clear();
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
        name: Span,
        attributes: &[AttributeSpan],
    ) -> Result<bool, Refusal> {
        self.marks.push(Mark::Open { depth: depth as u32 });
        if let Some((prefix, _)) = split(bytes, name) {
            if prefix.of(bytes) == b"xmlns" {
                return Err(Refusal::NotXml("an element with the prefix xmlns"));
            }
            self.marks.push(Mark::Element { prefix });
        }
        let mut declares = false;
        for attribute in attributes {
            let Some((prefix, local)) = split(bytes, attribute.name) else {
                if attribute.name.of(bytes) == b"xmlns" {
                    check_uri(&resolve(attribute.value.text(bytes)))?;
                }
                continue;
            };
            if prefix.of(bytes) == b"xmlns" {
                check_declaration(local.of(bytes), attribute.value.text(bytes))?;
                declares = true;
                self.marks.push(Mark::Declaration { prefix: local, value: attribute.value });
            } else if attribute.name.of(bytes) == b"xml:id" {
                return Err(Refusal::NotXml("an xml:id"));
            } else {
                self.marks.push(Mark::Attribute { prefix, local });
            }
        }
        Ok(declares)
    }

    /// Logs that an element that declared a prefix is over.
    pub(super) fn close(&mut self, depth: usize) {
        self.marks.push(Mark::Close { depth: depth as u32 });
    }

    /// Plays the log back: every prefix must be declared where it is used, and no two
    /// attributes of an element may be the same name in the same namespace.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let prefixes: Vec<&[u8]> = self.marks.iter().map(|mark| mark.prefix().of(bytes)).collect();
        let uris: Vec<Cow<'_, str>> = self.marks.iter().map(|mark| mark.uri(bytes)).collect();
        let prefix_numbers = number(&prefixes);
        let uri_numbers = number(&uris);
        let mut scopes = Scopes { bindings: vec![None; self.marks.len()], shadowed: Vec::new() };
        if let Some(at) = prefixes.iter().position(|&prefix| prefix == b"xml") {
            scopes.bindings[prefix_numbers[at] as usize] = Some(XML_NUMBER);
        }
        let mut names = Vec::new();
        let mut start = 0;
        while let Some(&first) = self.marks.get(start) {
            let length = self.marks[start + 1..]
                .iter()
                .take_while(|mark| !matches!(mark, Mark::Open { .. } | Mark::Close { .. }))
                .count();
            let tag = start + 1..start + 1 + length;
            start = tag.end;
            let depth = match first {
                Mark::Close { depth } => {
                    scopes.leave(depth);
                    continue;
                }
                Mark::Open { depth } => depth,
                Mark::Declaration { .. } | Mark::Element { .. } | Mark::Attribute { .. } => {
                    continue;
                }
            };
            for at in tag.clone() {
                if matches!(self.marks[at], Mark::Declaration { .. }) {
                    scopes.declare(depth, prefix_numbers[at], uri_numbers[at]);
                }
            }
            names.clear();
            for at in tag {
                match self.marks[at] {
                    Mark::Element { .. } => {
                        scopes.uri(prefix_numbers[at])?;
                    }
                    Mark::Attribute { local, .. } => {
                        names.push((scopes.uri(prefix_numbers[at])?, local.of(bytes)));
                    }
                    Mark::Open { .. } | Mark::Close { .. } | Mark::Declaration { .. } => {}
                }
            }
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Refusal::NotXml("an attribute twice, under two prefixes"));
            }
        }
        Ok(())
    }
}

impl Mark {
    /// The prefix it is about; empty where there is none.
    fn prefix(self) -> Span {
        match self {
            Self::Declaration { prefix, .. }
            | Self::Element { prefix }
            | Self::Attribute { prefix, .. } => prefix,
            Self::Open { .. } | Self::Close { .. } => Span::default(),
        }
    }

    /// The URI it declares; empty where there is none.
    fn uri(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Declaration { value, .. } => resolve(value.text(bytes)),
            Self::Element { .. }
            | Self::Attribute { .. }
            | Self::Open { .. }
            | Self::Close { .. } => Cow::Borrowed(""),
        }
    }
}

/// What each prefix means at one place of the frame, by numbers.
struct Scopes {
    /// The URI of each prefix.
    bindings: Vec<Option<u32>>,
    /// What the declarations in force have replaced: depth, prefix, its URI before.
    shadowed: Vec<(u32, u32, Option<u32>)>,
}

impl Scopes {
    fn declare(&mut self, depth: u32, prefix: u32, uri: u32) {
        let before = self.bindings[prefix as usize].replace(uri);
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

    fn uri(&self, prefix: u32) -> Result<u32, Refusal> {
        self.bindings[prefix as usize].ok_or(Refusal::NotXml("a prefix that is not declared"))
    }
}

/// The prefix and the local part of a name that has a colon.
fn split(bytes: &[u8], name: Span) -> Option<(Span, Span)> {
    let colon = name.start() + memchr::memchr(b':', name.of(bytes))?;
    Some((Span::new(name.start(), colon), Span::new(colon + 1, name.end())))
}

/// Checks `xmlns:prefix="raw"`.
fn check_declaration(prefix: &[u8], raw: &str) -> Result<(), Refusal> {
    if prefix.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"xml")) {
        return Err(Refusal::NotXml("a reserved prefix is declared"));
    }
    if raw.is_empty() {
        return Err(Refusal::NotXml("a prefix is bound to nothing"));
    }
    check_uri(&resolve(raw))
}

fn check_uri(value: &str) -> Result<(), Refusal> {
    if value == XML_URI || value == XMLNS_URI {
        return Err(Refusal::NotXml("a reserved namespace is declared"));
    }
    if !uri::is_reference(value) {
        return Err(Refusal::NotXml("a namespace that is no plain URI"));
    }
    Ok(())
}

/// Numbers the keys so that equal ones have the same number; all are below their count.
fn number<K: Ord>(keys: &[K]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_unstable_by_key(|&index| &keys[index as usize]);
    let mut numbers = vec![0; keys.len()];
    let mut last = 0;
    for pair in order.windows(2) {
        let (before, this) = (pair[0] as usize, pair[1] as usize);
        last += u32::from(keys[before] != keys[this]);
        numbers[this] = last;
    }
    numbers
}
