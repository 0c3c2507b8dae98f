//! Frame → [`Stanza`]: borrowed, strictly checked (manual: protocol, 'What counts as a stanza').
//!
//! The check is the guarantee that no client can hand another client XML that a strict parser
//! refuses or reads as something else. It knows nothing of what a stanza means.
//!
//! quick-xml's tokenisers say where a start tag or a declaration ends; what is in between is
//! read by grammars of ours, since quick-xml checks next to nothing of it. Its `Reader` is left
//! aside: it copies the name of every open element to the heap, while the check has to keep
//! these names anyway, as offsets.

mod characters;
mod declaration;
mod names;
mod namespaces;
mod tag;
mod uri;

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr3, memmem};

use crate::limits::{Limits, exceeds};

use characters::{Text, reference, skip_space};
use namespaces::Namespaces;
use tag::Tag;

/// The strict parser; it holds the scratch memory that a parse needs, so that parsing a
/// stanza allocates nothing once the scratch has grown.
#[derive(Debug, Default)]
pub struct Parser {
    /// The root's attributes, and behind them those of the element being read.
    attributes: Vec<AttributeSpan>,
    /// The elements that are open, the root first.
    open: Vec<OpenElement>,
    /// For [`tag::distinct`].
    order: Vec<u32>,
    namespaces: Namespaces,
    /// The start tag that was read last. It is read where it lies: to hand it on would copy it
    /// faster than its parts have arrived.
    tag: Tag,
    root: Root,
}

/// One well-formed element, borrowed from its frame and from the parser's scratch.
#[derive(Clone, Copy, Debug)]
pub struct Stanza<'a> {
    frame: &'a [u8],
    /// What it was read with; the attributes that it still holds are the root's.
    parser: &'a Parser,
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
    /// Not exactly one well-formed element.
    NotXml {
        /// What was met instead, in words.
        met: &'static str,
        /// Where, in bytes from the beginning of the frame.
        at: u32,
    },
    /// Nested deeper than `limits.depth` allows; the limit.
    TooDeep(usize),
    /// More attributes on one element than `limits.attributes` allows; the limit.
    TooManyAttributes(usize),
}

/// Offsets into the frame. They are half the size of a `usize`; longer frames are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FrameSpan {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct AttributeSpan {
    name: FrameSpan,
    value: FrameSpan,
}

#[derive(Clone, Copy, Debug)]
struct OpenElement {
    name: FrameSpan,
    /// Whether it declares a prefix.
    declares: bool,
}

/// Where the root element is in its frame.
#[derive(Clone, Copy, Debug, Default)]
struct Root {
    element: FrameSpan,
    name: FrameSpan,
    inner: FrameSpan,
}

impl fmt::Display for Refusal {
    /// The text of the `<error>` that the sender gets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotXml { .. } => f.write_str("This is not a valid XML string"),
            Self::TooDeep(max) => write!(f, "Stanza nested too deep (limit {max} levels)"),
            Self::TooManyAttributes(max) => {
                write!(f, "Too many attributes (limit {max} on one element)")
            }
        }
    }
}

/// What is met at this place of a frame makes it no XML. The place is a `u32` in all frames that
/// are looked at.
const fn not_xml(met: &'static str, at: usize) -> Refusal {
    Refusal::NotXml { met, at: at as u32 }
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
    #[inline]
    pub fn parse<'a>(
        &'a mut self,
        frame: &'a [u8],
        limits: &Limits,
    ) -> Result<Stanza<'a>, Refusal> {
        self.read(frame, limits)?;
        Ok(Stanza { frame, parser: self })
    }

    fn read(&mut self, frame: &[u8], limits: &Limits) -> Result<(), Refusal> {
        if u32::try_from(frame.len()).is_err() {
            return Err(not_xml("longer than offsets reach", u32::MAX as usize));
        }
        self.attributes.clear();
        self.open.clear();
        self.namespaces.clear();
        let frame = characters::check(frame)?;
        let start = read_prolog(frame)?;
        let end = self.read_element(frame.bytes, start, limits)?;
        if end != frame.bytes.len() {
            let behind = read_misc(frame.bytes, end)?;
            if behind != frame.bytes.len() {
                return Err(not_xml("something after the element", behind));
            }
        }
        if !self.namespaces.is_empty() {
            self.namespaces.check(frame.bytes)?;
        }
        Ok(())
    }

    /// Reads the element whose `<` is at `start` as the root: the offset after it.
    fn read_element(
        &mut self,
        bytes: &[u8],
        start: usize,
        limits: &Limits,
    ) -> Result<usize, Refusal> {
        self.read_start_tag(bytes, start, limits)?;
        let (name, inner_start) = (self.tag.name, self.tag.end);
        let attributes = self.attributes.len();
        let mut at = inner_start;
        let mut inner_end = at;
        while let Some(&OpenElement { name, declares }) = self.open.last() {
            let markup = read_text(bytes, at)?;
            match bytes.get(markup + 1) {
                Some(b'/') => {
                    at = tag::read_end(bytes, markup, name.of(bytes))?;
                    if declares {
                        self.namespaces.close(self.open.len());
                    }
                    self.open.pop();
                    inner_end = markup;
                }
                Some(b'!') => at = read_comment_or_cdata(bytes, markup)?,
                Some(b'?') => return Err(not_xml("a processing instruction", markup)),
                _ => {
                    self.read_start_tag(bytes, markup, limits)?;
                    at = self.tag.end;
                    self.attributes.truncate(attributes);
                }
            }
        }
        let inner = FrameSpan::new(inner_start, inner_end);
        self.root = Root { element: FrameSpan::new(start, at), name, inner };
        Ok(at)
    }

    /// Reads the start tag whose `<` is at `start` into `tag`, and opens its element unless it is
    /// `<x/>`.
    fn read_start_tag(
        &mut self,
        bytes: &[u8],
        start: usize,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let depth = self.open.len() + 1;
        if exceeds(depth, limits.depth_max) {
            return Err(Refusal::TooDeep(limits.depth_max));
        }
        let first = self.attributes.len();
        let tag = tag::read(bytes, start, limits.attributes_max, &mut self.attributes)?;
        let attributes = &self.attributes[first..];
        if tag.suspect && !tag::distinct(bytes, attributes, &mut self.order) {
            return Err(not_xml("an attribute twice", start));
        }
        let mut declares = false;
        if tag.namespaced {
            declares = self.namespaces.open(bytes, depth, tag.name, attributes)?;
            if declares && tag.empty {
                self.namespaces.close(depth);
            }
        }
        if !tag.empty {
            self.open.push(OpenElement { name: tag.name, declares });
        }
        self.tag = tag;
        Ok(())
    }
}

/// Whether an element can have this name, without a prefix.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let whole = |name: names::Name| name.end == text.len() && name.colon.is_none();
    names::read(text.as_bytes(), 0).is_ok_and(whole)
}

/// Reads what may stand before the root: the offset of the root's `<`.
fn read_prolog(frame: Text<'_>) -> Result<usize, Refusal> {
    let bytes = frame.bytes;
    // As a rule nothing does.
    if let [b'<', next, ..] = bytes
        && !matches!(next, b'?' | b'!')
    {
        return Ok(0);
    }
    let start = read_misc(bytes, declaration::read(frame)?)?;
    match bytes.get(start..) {
        Some([b'<', b'?', ..]) => Err(not_xml("a processing instruction", start)),
        Some([b'<', b'!', ..]) => Err(not_xml("a document type or CDATA before the root", start)),
        Some([b'<', ..]) => Ok(start),
        Some([_, ..]) => Err(not_xml("text before the root", start)),
        Some([]) | None => Err(not_xml("no element", start)),
    }
}

/// Skips white space and comments: the offset of the first thing that is neither.
fn read_misc(bytes: &[u8], start: usize) -> Result<usize, Refusal> {
    let mut at = skip_space(bytes, start);
    while bytes[at..].starts_with(b"<!--") {
        at = skip_space(bytes, read_comment(bytes, at)?);
    }
    Ok(at)
}

/// Reads text and references inside an element: the offset of the `<` after them.
#[inline]
fn read_text(bytes: &[u8], start: usize) -> Result<usize, Refusal> {
    let mut at = start;
    loop {
        let Some(found) = memchr3(b'<', b'&', b']', &bytes[at..]) else {
            return Err(not_xml("an element that is not closed", bytes.len()));
        };
        at += found;
        match bytes[at] {
            b'<' => return Ok(at),
            b'&' => {
                (_, at) = reference(bytes, at).ok_or(not_xml("no reference after a &", at))?;
            }
            _ => {
                let run = bytes[at..].iter().take_while(|&&byte| byte == b']').count();
                at += run;
                if run >= 2 && bytes.get(at) == Some(&b'>') {
                    return Err(not_xml("a ]]> in text", at - 2));
                }
            }
        }
    }
}

/// Reads the comment or the CDATA section whose `<!` is at `start`: the offset after it.
fn read_comment_or_cdata(bytes: &[u8], start: usize) -> Result<usize, Refusal> {
    const CDATA: &[u8] = b"<![CDATA[";
    if bytes[start..].starts_with(b"<!--") {
        return read_comment(bytes, start);
    }
    if !bytes[start..].starts_with(CDATA) {
        return Err(not_xml("a <! that is neither comment nor CDATA", start));
    }
    let content = start + CDATA.len();
    match memmem::find(&bytes[content..], b"]]>") {
        Some(length) => Ok(content + length + 3),
        None => Err(not_xml("a CDATA section that does not end", start)),
    }
}

/// Reads the comment whose `<!--` is at `start`: the offset after it.
fn read_comment(bytes: &[u8], start: usize) -> Result<usize, Refusal> {
    let content = start + 4;
    let Some(length) = memmem::find(&bytes[content..], b"--") else {
        return Err(not_xml("a comment that does not end", start));
    };
    // The first two hyphens must be those of the end, which also keeps `--->` out.
    let close = content + length + 2;
    if bytes.get(close) != Some(&b'>') {
        return Err(not_xml("two hyphens in a comment", content + length));
    }
    Ok(close + 1)
}

impl FrameSpan {
    /// The offsets of a frame that is known to be no longer than a `u32` counts.
    #[inline]
    const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    const fn start(self) -> usize {
        self.start as usize
    }

    const fn end(self) -> usize {
        self.end as usize
    }

    /// What is there.
    #[inline]
    fn of(self, frame: &[u8]) -> &[u8] {
        &frame[self.start()..self.end()]
    }

    /// What is there, as text.
    #[inline]
    fn text(self, frame: &[u8]) -> &str {
        text(self.of(frame))
    }
}

/// A piece of a frame that was checked, as text. Pieces begin and end beside an ASCII character
/// or a name's.
#[inline]
fn text(piece: &[u8]) -> &str {
    // Were it no text, which would be a bug, its peer had said nothing.
    std::str::from_utf8(piece).unwrap_or_default()
}

impl<'a> Stanza<'a> {
    /// The root element's name, prefix included.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.parser.root.name.text(self.frame)
    }

    /// Whether this is the root element's name.
    #[must_use]
    #[inline]
    pub fn is_named(&self, name: &str) -> bool {
        self.parser.root.name.of(self.frame) == name.as_bytes()
    }

    /// The root element's attributes in the sender's order.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let frame = self.frame;
        self.parser.attributes.iter().map(move |spans| spans.attribute(frame))
    }

    /// The names of the root element's attributes, prefixes included, in the sender's order.
    #[inline]
    pub fn attribute_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let frame = self.frame;
        self.parser.attributes.iter().map(move |spans| spans.name.of(frame))
    }

    /// The value of the root element's attribute at this place: as [`Stanza::value`].
    #[must_use]
    pub fn value_at(&self, place: usize) -> Option<Cow<'a, str>> {
        let spans = self.parser.attributes.get(place)?;
        Some(characters::resolve(spans.value.text(self.frame)))
    }

    /// [`Stanza::value_at`] for a caller that only compares it.
    #[must_use]
    #[inline]
    pub fn value_bytes_at(&self, place: usize) -> Option<Cow<'a, [u8]>> {
        let spans = self.parser.attributes.get(place)?;
        let raw = spans.value.of(self.frame);
        if characters::is_plain(raw) {
            return Some(Cow::Borrowed(raw));
        }
        Some(Cow::Owned(characters::resolve(text(raw)).into_owned().into_bytes()))
    }

    /// The value of the attribute `name`: entities and character references resolved, white
    /// space normalised (XML 1.0 section 3.3.3). Borrowed when nothing had to change.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.value_at(self.attribute_names().position(|own| own == name.as_bytes())?)
    }

    /// What stands between the root's start tag and its end tag, byte for byte; empty for `<x/>`.
    #[must_use]
    pub fn inner(&self) -> &'a str {
        text(self.inner_bytes())
    }

    /// [`Stanza::inner`] for a caller that only passes it on.
    #[must_use]
    #[inline]
    pub fn inner_bytes(&self) -> &'a [u8] {
        self.parser.root.inner.of(self.frame)
    }

    /// What [`Stanza::inner`] means as plain text: references resolved, white space normalised
    /// as in an attribute; tags stay tags.
    #[must_use]
    pub fn inner_text(&self) -> Cow<'a, str> {
        characters::resolve(self.inner())
    }

    /// The whole element, byte for byte, without what stood around it.
    #[must_use]
    pub fn element(&self) -> &'a str {
        self.parser.root.element.text(self.frame)
    }

    /// [`Stanza::element`] without the root element's attribute `name` and the white space before
    /// it: what stands before the attribute, and what stands behind it.
    ///
    /// ```
    /// use palabre::limits::Limits;
    /// use palabre::wire::stanza::Parser;
    /// let mut parser = Parser::new();
    /// let stanza = parser.parse(b" <a b='1' \n c = '2'>x</a>", &Limits::default()).unwrap();
    /// assert_eq!(stanza.element_without("c"), ["<a b='1'", ">x</a>"]);
    /// assert_eq!(stanza.element_without("b"), ["<a", " \n c = '2'>x</a>"]);
    /// assert_eq!(stanza.element_without("d"), ["<a b='1' \n c = '2'>x</a>", ""]);
    /// ```
    #[must_use]
    pub fn element_without(&self, name: &str) -> [&'a str; 2] {
        let element = self.parser.root.element;
        let place = self.attribute_names().position(|own| own == name.as_bytes());
        let Some(spans) = place.and_then(|place| self.parser.attributes.get(place)) else {
            return [element.text(self.frame), ""];
        };
        // The quote behind the value goes with it.
        let before = FrameSpan { start: element.start, end: spans.name.start };
        let behind = FrameSpan { start: spans.value.end + 1, end: element.end };
        let spaces = [' ', '\t', '\r', '\n'];
        [before.text(self.frame).trim_end_matches(spaces), behind.text(self.frame)]
    }
}

impl AttributeSpan {
    fn attribute(self, frame: &[u8]) -> Attribute<'_> {
        Attribute {
            name: self.name.text(frame),
            raw: self.value.text(frame),
            quote: char::from(frame[self.value.end()]),
        }
    }
}

impl<'a> Attribute<'a> {
    /// The attribute's meaning: references resolved, white space normalised.
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        characters::resolve(self.raw)
    }
}
