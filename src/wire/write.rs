//! The only place that spells XML out: version 1, byte for byte
//! (manual: protocol, 'What the server sends').
//!
//! Everything is appended to a buffer; the NUL behind a stanza is the outlet's. Whatever comes
//! from a client is escaped here, except a relayed stanza's own attributes and body, which the
//! strict parser has vouched for.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use super::stanza::Stanza;

/// A room as `<room>` tells it.
#[derive(Clone, Copy, Debug)]
pub struct RoomHead<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many members it has.
    pub clients: usize,
    /// The room it was created under.
    pub parent: Option<&'a str>,
}

/// An attribute that addresses a message; those are the server's (manual: protocol, 'Messages').
/// Where several have a say in the same thing, the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Routing {
    /// `toclient`
    ToClient,
    /// `c`
    ShortClient,
    /// `toroom`
    ToRoom,
    /// `r`
    ShortRoom,
    /// `broadcast`
    Broadcast,
    /// `back`
    Back,
    /// `b`
    ShortBack,
    /// `f`
    From,
}

impl Routing {
    /// The attribute of this name, if it is one of them.
    #[must_use]
    #[inline]
    pub fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"toclient" => Some(Self::ToClient),
            b"c" => Some(Self::ShortClient),
            b"toroom" => Some(Self::ToRoom),
            b"r" => Some(Self::ShortRoom),
            b"broadcast" => Some(Self::Broadcast),
            b"back" => Some(Self::Back),
            b"b" => Some(Self::ShortBack),
            b"f" => Some(Self::From),
            _ => None,
        }
    }
}

/// Appends `text` so that it means itself between either kind of quotes.
pub fn attribute_value(buffer: &mut Vec<u8>, text: &str) {
    escape(buffer, text, attribute_reference);
}

/// What stands for a byte between quotes, where it can't stand for itself.
const fn attribute_reference(byte: u8) -> Option<&'static str> {
    match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'\'' => Some("&apos;"),
        b'"' => Some("&quot;"),
        // Literal ones would be normalised to blanks by the reader.
        b'\t' => Some("&#9;"),
        b'\n' => Some("&#10;"),
        b'\r' => Some("&#13;"),
        _ => None,
    }
}

/// By byte, whether it has a reference.
static NEEDS_REFERENCE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = attribute_reference(byte as u8).is_some();
        byte += 1;
    }
    table
};

/// How many bytes [`attribute_value`] appends.
#[must_use]
pub fn attribute_value_bytes(text: &str) -> usize {
    text.bytes().map(|byte| attribute_reference(byte).map_or(1, str::len)).sum()
}

/// Appends `value` so that it means itself between tags.
pub fn text(buffer: &mut Vec<u8>, value: &str) {
    escape(buffer, value, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'\r' => Some("&#13;"),
        _ => None,
    });
}

fn escape(buffer: &mut Vec<u8>, value: &str, replacement: impl Fn(u8) -> Option<&'static str>) {
    let bytes = value.as_bytes();
    let mut plain = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if let Some(reference) = replacement(byte) {
            buffer.extend_from_slice(&bytes[plain..index]);
            buffer.extend_from_slice(reference.as_bytes());
            plain = index + 1;
        }
    }
    buffer.extend_from_slice(&bytes[plain..]);
}

/// `literal` parts as they are, `{…}` parts escaped for an attribute.
macro_rules! put {
    ($buffer:expr, $($part:expr),+ $(,)?) => {
        $( Part::put($part, $buffer); )+
    };
}

// Behind the macro, which it uses.
pub mod extension;
pub mod plugin;

trait Part {
    fn put(self, buffer: &mut Vec<u8>);
}

/// Markup, as it is.
impl Part for &[u8] {
    fn put(self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self);
    }
}

impl<const N: usize> Part for &[u8; N] {
    fn put(self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self);
    }
}

/// A value, escaped for an attribute.
impl Part for &str {
    fn put(self, buffer: &mut Vec<u8>) {
        // Most names are short and hold nothing to escape: a look into a table for each byte is
        // cheaper than any search that has to be set up, and than to ask each time whether to stop.
        let bytes = self.as_bytes();
        let needs_reference =
            bytes.iter().fold(false, |seen, &byte| seen | NEEDS_REFERENCE[usize::from(byte)]);
        if needs_reference {
            attribute_value(buffer, self);
        } else {
            buffer.extend_from_slice(bytes);
        }
    }
}

impl Part for u64 {
    fn put(self, buffer: &mut Vec<u8>) {
        // Writing into a vector can't fail.
        let _ = write!(buffer, "{self}");
    }
}

impl Part for usize {
    fn put(self, buffer: &mut Vec<u8>) {
        (self as u64).put(buffer);
    }
}

/// `<error>…</error>`.
pub fn error(buffer: &mut Vec<u8>, message: &str) {
    put!(buffer, b"<error>");
    text(buffer, message);
    put!(buffer, b"</error>");
}

/// The same for clients that asked for codes: `code` and, where it answers one, the name of the
/// request.
pub fn error_with_code(buffer: &mut Vec<u8>, code: &str, request: Option<&str>, message: &str) {
    put!(buffer, b"<error code='", code, b"'");
    if let Some(request) = request {
        put!(buffer, b" for='", request, b"'");
    }
    put!(buffer, b">");
    text(buffer, message);
    put!(buffer, b"</error>");
}

/// The same for what is no stanza: what was met, and at which byte.
pub fn error_of_frame(buffer: &mut Vec<u8>, code: &str, met: &str, at: u32, message: &str) {
    put!(buffer, b"<error code='", code, b"' reason='", met, b"' at='", at as usize, b"'>");
    text(buffer, message);
    put!(buffer, b"</error>");
}

/// `<info>…</info>`.
pub fn info(buffer: &mut Vec<u8>, message: &str) {
    put!(buffer, b"<info>");
    text(buffer, message);
    put!(buffer, b"</info>");
}

/// The answer to a login that succeeded; a client that asked for capabilities is told which
/// of them it has been granted.
pub fn connected(buffer: &mut Vec<u8>, nick: &str, granted: Option<&str>) {
    put!(buffer, b"<connect isok='1' msg='Your nickname is now : ", nick, b"'");
    if let Some(granted) = granted {
        put!(buffer, b" caps='", granted, b"'");
    }
    put!(buffer, b"/>");
}

/// The first answer to a login that was refused.
pub fn not_connected(buffer: &mut Vec<u8>, reason: &str) {
    put!(buffer, b"<connect isok='0' msg='", reason, b"'/>");
}

/// `<pong />`.
pub fn pong(buffer: &mut Vec<u8>) {
    put!(buffer, b"<pong />");
}

/// `<joined room='R' />`.
pub fn joined(buffer: &mut Vec<u8>, room: &str) {
    put!(buffer, b"<joined room='", room, b"' />");
}

/// The answer to `leave`, in the form in which it was asked.
pub fn left(buffer: &mut Vec<u8>, room: &str, short: bool) {
    if short {
        put!(buffer, b"<leave r='", room, b"' />");
    } else {
        put!(buffer, b"<leaved room='", room, b"' />");
    }
}

/// `<client name='N' joined='R' />`.
pub fn client_joined(buffer: &mut Vec<u8>, nick: &str, room: &str) {
    put!(buffer, b"<client name='", nick, b"' joined='", room, b"' />");
}

/// `<client name='N' left='R' />`.
pub fn client_left(buffer: &mut Vec<u8>, nick: &str, room: &str) {
    put!(buffer, b"<client name='", nick, b"' left='", room, b"' />");
}

/// The beginning of a client list; [`roster_client`]s and [`roster_end`] follow.
pub fn roster_begin(buffer: &mut Vec<u8>, room: &str, members: usize) {
    put!(buffer, b"<clients room='", room, b"' nb='", members, b"'>");
}

/// One member of a client list with its params.
pub fn roster_client<'a>(
    buffer: &mut Vec<u8>,
    nick: &str,
    params: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) {
    if params.len() == 0 {
        put!(buffer, b"\n  <client name='", nick, b"' />");
        return;
    }
    put!(buffer, b"\n  <client name='", nick, b"' >");
    for (name, value) in params {
        put!(buffer, b"\n<param name='", name, b"' value='", value, b"' />");
    }
    put!(buffer, b"\n  </client>");
}

/// The end of a client list.
pub fn roster_end(buffer: &mut Vec<u8>) {
    put!(buffer, b"\n</clients>");
}

/// Bytes of a param in a client list besides its name and its value.
pub const ROSTER_PARAM_BYTES: usize = "\n<param name='' value='' />".len();

/// What [`roster_begin`] and [`roster_end`] write, in bytes.
#[must_use]
pub fn roster_bytes(room: &str, members: usize) -> usize {
    "<clients room='' nb=''>\n</clients>".len() + attribute_value_bytes(room) + digits(members)
}

/// What [`roster_client`] writes, in bytes, for params that take so many.
#[must_use]
pub fn roster_client_bytes(nick: &str, params_bytes: usize) -> usize {
    let frame = match params_bytes {
        0 => "\n  <client name='' />",
        _ => "\n  <client name='' >\n  </client>",
    };
    frame.len() + attribute_value_bytes(nick) + params_bytes
}

/// Bytes of a param of a room besides its name and its value.
pub const ROOM_PARAM_BYTES: usize = "\n <param name='' value='' />".len();

/// What [`room`] writes, in bytes, for params that take so many.
#[must_use]
pub fn room_bytes(head: RoomHead<'_>, params_bytes: usize) -> usize {
    let parent = |name| " parent=''".len() + attribute_value_bytes(name);
    "<room name='' clients='' >\n</room>".len()
        + attribute_value_bytes(head.name)
        + digits(head.clients)
        + head.parent.map_or(0, parent)
        + params_bytes
}

/// What [`child_rooms_begin`] and [`child_rooms_end`] write, in bytes.
#[must_use]
pub fn child_rooms_bytes(parent: &str) -> usize {
    "<childrooms name=''>\n</childrooms>".len() + attribute_value_bytes(parent)
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

/// `<room …>` with the params given.
pub fn room<'a>(
    buffer: &mut Vec<u8>,
    head: RoomHead<'_>,
    params: impl Iterator<Item = (&'a str, &'a str)>,
) {
    put!(buffer, b"<room name='", head.name, b"' clients='", head.clients, b"'");
    if let Some(parent) = head.parent {
        put!(buffer, b" parent='", parent, b"'");
    }
    put!(buffer, b" >");
    param_lines(buffer, params);
    put!(buffer, b"\n</room>");
}

fn param_lines<'a>(buffer: &mut Vec<u8>, params: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, value) in params {
        put!(buffer, b"\n <param name='", name, b"' value='", value, b"' />");
    }
}

/// The beginning of `getrooms`' answer; each [`room`] follows a [`newline`].
pub fn rooms_begin(buffer: &mut Vec<u8>, rooms: usize) {
    put!(buffer, b"<rooms nb='", rooms, b"'>");
}

/// The end of `getrooms`' answer.
pub fn rooms_end(buffer: &mut Vec<u8>) {
    put!(buffer, b"\n</rooms>");
}

/// The newline that stands before a room of `getrooms`.
pub fn newline(buffer: &mut Vec<u8>) {
    put!(buffer, b"\n");
}

/// The beginning of a list of child rooms; [`room`]s follow.
pub fn child_rooms_begin(buffer: &mut Vec<u8>, parent: &str) {
    put!(buffer, b"<childrooms name='", parent, b"'>");
}

/// The end of a list of child rooms.
pub fn child_rooms_end(buffer: &mut Vec<u8>) {
    put!(buffer, b"\n</childrooms>");
}

/// What root asked to know about a room.
#[derive(Clone, Copy, Debug)]
pub struct RoomInfo {
    /// When it was created: microseconds since 1970, UTC.
    pub created_unix_us: u64,
    /// Messages relayed in it.
    pub messages: u64,
}

/// `<roominfo …>`; ends within it once the check of what is written says that no more fits.
pub fn room_info<'a>(
    buffer: &mut Vec<u8>,
    name: &str,
    params: impl Iterator<Item = (&'a str, &'a str)>,
    clients: impl Iterator<Item = &'a str>,
    children: impl Iterator<Item = &'a str>,
    info: RoomInfo,
    fits: impl Fn(&Vec<u8>) -> bool,
) {
    put!(buffer, b"<roominfo name='", name, b"'><params>");
    param_lines(buffer, params);
    put!(buffer, b"</params><clients >");
    for nick in clients {
        put!(buffer, b"\n <client name='", nick, b"' />");
        if !fits(buffer) {
            return;
        }
    }
    put!(buffer, b"\n</clients><childrooms >");
    for child in children {
        put!(buffer, b"\n <room name='", child, b"' />");
        if !fits(buffer) {
            return;
        }
    }
    put!(buffer, b"\n</childrooms><infos><info name='createdtime' value='");
    created_time(buffer, info.created_unix_us);
    put!(buffer, b"' /><info name='nbmessages' value='", info.messages);
    put!(buffer, b"' /></infos></roominfo>");
}

/// The last microsecond that RFC 3339 can name.
const YEAR_9999_UNIX_US: u64 = 253_402_300_799_999_999;

/// The old server printed a Python `datetime`: RFC 3339 with a blank for the `T`, no zone.
fn created_time(buffer: &mut Vec<u8>, unix_us: u64) {
    let time = UNIX_EPOCH + Duration::from_micros(unix_us.min(YEAR_9999_UNIX_US));
    let start = buffer.len();
    let _ = write!(buffer, "{}", humantime::format_rfc3339_micros(time));
    buffer.pop();
    if let Some(separator) = buffer.get_mut(start + 10) {
        *separator = b' ';
    }
}

/// A param that a session set, as its rooms hear of it.
pub fn client_param(buffer: &mut Vec<u8>, name: &str, value: &str, nick: &str, room: &str) {
    put!(buffer, b"<clientparam name=\"", name, b"\" value=\"", value);
    put!(buffer, b"\" f=\"", nick, b"\" r=\"", room, b"\"></clientparam>");
}

/// A stanza as it is relayed.
#[derive(Clone, Copy, Debug)]
pub struct Relayed<'a> {
    /// What it is called on its way.
    pub name: &'a str,
    /// As its sender wrote it.
    pub stanza: &'a Stanza<'a>,
    /// Whether it has attributes that are no [`Routing`].
    pub own_attributes: bool,
    /// Its sender.
    pub nick: &'a str,
    /// The room in which it was said.
    pub room: Option<&'a str>,
}

/// A relayed stanza: the sender's own attributes and body as it wrote them, the addressing taken
/// out, then the server's word on who sent it and, with a room, where.
pub fn relayed(buffer: &mut Vec<u8>, relayed: &Relayed<'_>) {
    let &Relayed { name, stanza, own_attributes, nick, room } = relayed;
    put!(buffer, b"<", name.as_bytes());
    if own_attributes {
        for attribute in stanza.attributes() {
            if Routing::of(attribute.name.as_bytes()).is_none() {
                own_attribute(buffer, &attribute);
            }
        }
    }
    put!(buffer, b" f=\"", nick, b"\"");
    if let Some(room) = room {
        put!(buffer, b" r=\"", room, b"\"");
    }
    put!(buffer, b">", stanza.inner_bytes(), b"</", name.as_bytes(), b">");
}

/// A broadcast: of the sender's attributes only namespace declarations stay.
pub fn broadcast(buffer: &mut Vec<u8>, stanza: &Stanza<'_>, nick: &str) {
    put!(buffer, b"<m f='", nick, b"'");
    for attribute in stanza.attributes() {
        if attribute.name == "xmlns" || attribute.name.starts_with("xmlns:") {
            own_attribute(buffer, &attribute);
        }
    }
    put!(buffer, b">", stanza.inner_bytes(), b"</m>");
}

fn own_attribute(buffer: &mut Vec<u8>, attribute: &super::stanza::Attribute<'_>) {
    let quote: &[u8] = if attribute.quote == '"' { b"\"" } else { b"'" };
    put!(buffer, b" ", attribute.name.as_bytes(), b"=", quote, attribute.raw.as_bytes(), quote);
}

/// The Flash policy: which domains' movies may connect to which ports.
pub fn policy<'a>(buffer: &mut Vec<u8>, domains: impl Iterator<Item = &'a str>, ports: &str) {
    put!(buffer, b"<cross-domain-policy>");
    for domain in domains {
        put!(buffer, b"<allow-access-from domain='", domain, b"' to-ports='", ports, b"' />");
    }
    put!(buffer, b"</cross-domain-policy>");
}

/// One line of [`help`]: a stanza as it is typed and what it does.
#[derive(Clone, Copy, Debug)]
pub struct HelpLine<'a> {
    /// The stanza.
    pub usage: &'a str,
    /// What it does.
    pub meaning: &'a str,
}

/// `<help>` with one line for each stanza.
pub fn help<'a>(buffer: &mut Vec<u8>, lines: impl Iterator<Item = HelpLine<'a>>) {
    put!(buffer, b"<help>");
    for line in lines {
        put!(buffer, b"\n");
        text(buffer, line.usage);
        put!(buffer, b"  ");
        text(buffer, line.meaning);
    }
    put!(buffer, b"\n</help>");
}
