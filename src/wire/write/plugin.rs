//! What plugins are sent, byte for byte (manual: plugins, 'What a plugin hears').

pub mod answers;

use super::{attribute_value, text};
use crate::secret::Secret;
use crate::session_id::ConnId;
use crate::wire::framer::FRAME_END;

/// Bytes that one byte of a value becomes at most.
const ESCAPE_BYTES: usize = "&quot;".len();

/// The version of what plugins and server say to each other.
pub const VERSION: u32 = 1;

/// A session, as plugins know it.
#[derive(Clone, Copy, Debug)]
pub struct SessionAttributes<'a> {
    /// `SLOT.GENERATION`; never used twice.
    pub id: ConnId,
    /// Its nick, or the one it asks for; empty when there is none.
    pub nick: &'a str,
    /// Where it comes from.
    pub address: Option<core::net::IpAddr>,
    /// What it speaks; empty while that is not known.
    pub transport: &'a str,
}

/// `<palabre … />`: what a plugin hears first. `kept` is what the process before this one has had
/// the server keep.
pub fn greeting(buffer: &mut Vec<u8>, server_version: &str, name: &str, kept: Option<&str>) {
    buffer.extend_from_slice(b"<palabre");
    attribute(buffer, "version", server_version);
    attribute(buffer, "plugins", &VERSION.to_string());
    attribute(buffer, "name", name);
    if let Some(kept) = kept {
        attribute(buffer, "kept", kept);
    }
    buffer.extend_from_slice(b" />");
}

/// `<event … />`: something has happened. `more` are attributes that the hook adds; `element` is
/// what was said, if that is what happened.
pub fn event(
    buffer: &mut Vec<u8>,
    hook: &str,
    session: Option<SessionAttributes<'_>>,
    more: &[(&str, &str)],
    element: Option<&str>,
) {
    buffer.extend_from_slice(b"<event");
    attribute(buffer, "hook", hook);
    if let Some(session) = session {
        self::session(buffer, session);
    }
    for (name, value) in more {
        attribute(buffer, name, value);
    }
    match element {
        Some(element) => {
            buffer.push(b'>');
            buffer.extend_from_slice(element.as_bytes());
            buffer.extend_from_slice(b"</event>");
        }
        None => buffer.extend_from_slice(b" />"),
    }
}

/// `<stanza …>`: a client has sent an element of a registered name.
pub fn stanza(buffer: &mut Vec<u8>, session: SessionAttributes<'_>, element: &str) {
    buffer.extend_from_slice(b"<stanza");
    self::session(buffer, session);
    buffer.push(b'>');
    buffer.extend_from_slice(element.as_bytes());
    buffer.extend_from_slice(b"</stanza>");
}

/// What the attributes of a session and of a question take at most, but for the nick.
const ASK_BYTES: usize = 512;

/// `<ask …>` with its NUL: may this login be? `element` is the client's `connect`, in two pieces.
#[must_use]
pub fn ask(ask: u64, hook: &str, session: SessionAttributes<'_>, element: [&str; 2]) -> Secret {
    let [before, behind] = element.map(str::as_bytes);
    written(ask, hook, session, before.len() + behind.len(), |buffer| {
        buffer.push(b'>');
        buffer.extend_from_slice(before);
        buffer.extend_from_slice(behind);
    })
}

/// `<ask …>` with its NUL: is this root's password? A `connect` holds it.
#[must_use]
pub fn ask_root(ask: u64, hook: &str, session: SessionAttributes<'_>, password: &str) -> Secret {
    written(ask, hook, session, 32 + ESCAPE_BYTES * password.len(), |buffer| {
        buffer.push(b'>');
        buffer.push(b'<');
        buffer.extend_from_slice(b"connect");
        attribute(buffer, "rootpass", password);
        buffer.extend_from_slice(b" />");
    })
}

/// `<ask …>` with its NUL: may this be done? `place` is the room, if it is one, and whether it is
/// still to be created; `element` is the client's, in two pieces.
#[must_use]
pub fn ask_permission(
    ask: u64,
    hook: &str,
    session: SessionAttributes<'_>,
    (room, new): (Option<&str>, bool),
    element: [&str; 2],
) -> Secret {
    let [before, behind] = element.map(str::as_bytes);
    let room_bytes = ESCAPE_BYTES * room.map_or(0, str::len);
    written(ask, hook, session, room_bytes + before.len() + behind.len(), |buffer| {
        if let Some(room) = room {
            attribute(buffer, "room", room);
        }
        if new {
            attribute(buffer, "new", "1");
        }
        buffer.push(b'>');
        buffer.extend_from_slice(before);
        buffer.extend_from_slice(behind);
    })
}

/// `rest` is what stands behind the attributes of every question, of at most so many bytes.
fn written(
    ask: u64,
    hook: &str,
    session: SessionAttributes<'_>,
    rest_bytes: usize,
    rest: impl FnOnce(&mut Vec<u8>),
) -> Secret {
    let room_bytes = ASK_BYTES + ESCAPE_BYTES * session.nick.len() + rest_bytes;
    Secret::written(room_bytes, |buffer| {
        buffer.extend_from_slice(b"<ask");
        attribute(buffer, "ask", &ask.to_string());
        attribute(buffer, "hook", hook);
        self::session(buffer, session);
        rest(buffer);
        buffer.extend_from_slice(b"</ask>");
        buffer.push(FRAME_END);
    })
}

/// `<answer …>` before its content.
pub fn answer_begin(buffer: &mut Vec<u8>, ask: &str) {
    buffer.extend_from_slice(b"<answer");
    attribute(buffer, "ask", ask);
    buffer.push(b'>');
}

/// `</answer>`.
pub fn answer_end(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(b"</answer>");
}

/// `<timer … />`: its time has come.
pub fn timer(buffer: &mut Vec<u8>, name: &str) {
    buffer.extend_from_slice(b"<timer");
    attribute(buffer, "name", name);
    buffer.extend_from_slice(b" />");
}

/// `<dropped … />`: so many were not sent.
pub fn dropped(buffer: &mut Vec<u8>, count: u64) {
    buffer.extend_from_slice(b"<dropped");
    attribute(buffer, "count", &count.to_string());
    buffer.extend_from_slice(b" />");
}

/// `<error>`: what the plugin sent was wrong.
pub fn error(buffer: &mut Vec<u8>, why: &str) {
    buffer.extend_from_slice(b"<error>");
    text(buffer, why);
    buffer.extend_from_slice(b"</error>");
}

fn session(buffer: &mut Vec<u8>, session: SessionAttributes<'_>) {
    attribute(buffer, "session", &session.id.spelled().to_string());
    if !session.nick.is_empty() {
        attribute(buffer, "nick", session.nick);
    }
    if let Some(address) = session.address {
        attribute(buffer, "address", &address.to_string());
    }
    if !session.transport.is_empty() {
        attribute(buffer, "transport", session.transport);
    }
}

fn attribute(buffer: &mut Vec<u8>, name: &str, value: &str) {
    buffer.push(b' ');
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b"='");
    attribute_value(buffer, value);
    buffer.push(b'\'');
}
