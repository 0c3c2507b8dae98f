//! Frame → [`Stanza`]: borrowed, strictly checked (PROTOCOL.md section 2).
//!
//! The check is the guarantee that no client can hand another client XML that a strict parser
//! refuses or reads as something else. It knows nothing of what a stanza means.

use std::borrow::Cow;
use std::fmt;

use crate::limits::Limits;

/// The strict parser; it holds the scratch memory that a parse needs, so that parsing a
/// stanza allocates nothing once the scratch has grown.
#[derive(Debug, Default)]
pub struct Parser {
    attributes: Vec<()>,
}

/// One well-formed element, borrowed from its frame and from the parser's scratch.
#[derive(Clone, Copy, Debug)]
pub struct Stanza<'a> {
    frame: &'a str,
    attributes: &'a [()],
}

/// One attribute of the root element, as the sender wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The name, prefix included.
    pub name: &'a str,
    /// What stands between the quotes, byte for byte.
    pub raw: &'a str,
    /// The quote around it: `'` or `"`.
    pub quote: char,
}

/// Why a frame is no stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not exactly one well-formed element; the text says what was met, for the log.
    NotXml(&'static str),
    /// Nested deeper than `limits.depth` allows; the limit.
    TooDeep(usize),
    /// More attributes on one element than `limits.attributes` allows; the limit.
    TooManyAttributes(usize),
}

impl fmt::Display for Refusal {
    /// The text of the `<error>` that the sender gets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotXml(_) => f.write_str("This is not a valid XML string"),
            Self::TooDeep(max) => write!(f, "Stanza nested too deep (limit {max} levels)"),
            Self::TooManyAttributes(max) => {
                write!(f, "Too many attributes (limit {max} on one element)")
            }
        }
    }
}

impl Parser {
    /// A parser with empty scratch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks one frame (without its NUL) and gives its element.
    ///
    /// # Errors
    /// A [`Refusal`], whose text the peer gets as an `<error>`.
    pub fn parse<'a>(
        &'a mut self,
        frame: &'a [u8],
        limits: &Limits,
    ) -> Result<Stanza<'a>, Refusal> {
        let _ = (limits, &self.attributes);
        let frame = std::str::from_utf8(frame).map_err(|_| Refusal::NotXml("not UTF-8"))?;
        Ok(Stanza { frame, attributes: &[] })
    }
}

impl<'a> Stanza<'a> {
    /// The root element's name, prefix included.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.frame
    }

    /// The root element's attributes in the sender's order.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        self.attributes.iter().map(|()| Attribute { name: "", raw: "", quote: '"' })
    }

    /// The value of the attribute `name`: entities and character references resolved, white
    /// space normalised (XML 1.0 section 3.3.3). Borrowed when nothing had to change.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.attributes().find(|attribute| attribute.name == name).map(|found| found.value())
    }

    /// What stands between the root's start tag and its end tag, byte for byte; empty for `<x/>`.
    #[must_use]
    pub fn inner(&self) -> &'a str {
        ""
    }
}

impl<'a> Attribute<'a> {
    /// The attribute's meaning: references resolved, white space normalised.
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        Cow::Borrowed(self.raw)
    }
}
