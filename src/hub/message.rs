//! Messages and relayed stanzas: from one sender to a client, a room or everybody
//! (PROTOCOL.md section 7).

use std::borrow::Cow;

use super::command::{Request, is_verb};
use super::reason::RefusalReason;
use super::types::{MessageTo, Outlet, RelayNames};
use super::{Hub, Note};
use crate::wire::stanza::Stanza;
use crate::wire::write;

/// Names that the server itself sends.
const SERVER_NAMES: [&str; 15] = [
    "error",
    "connect",
    "joined",
    "leaved",
    "client",
    "clients",
    "room",
    "rooms",
    "childrooms",
    "clientparam",
    "roominfo",
    "info",
    "pong",
    "help",
    "cross-domain-policy",
];

/// Whether the server itself sends stanzas of this name.
pub(super) fn is_server_name(name: &str) -> bool {
    SERVER_NAMES.contains(&name)
}

/// Where a stanza wants to go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recipient<'a> {
    Client(Cow<'a, str>),
    Room(Cow<'a, str>),
    Everybody,
    Nobody,
}

impl<'a> Recipient<'a> {
    /// Of several, the first of `toclient`, `c`, `toroom`, `r`, `broadcast` counts.
    pub(super) fn of(stanza: &Stanza<'a>) -> Self {
        let (mut best, mut best_place) = (5, 0);
        for (place, name) in stanza.attribute_names().enumerate() {
            let rank = match name {
                b"toclient" => 0,
                b"c" => 1,
                b"toroom" => 2,
                b"r" => 3,
                b"broadcast" => 4,
                _ => continue,
            };
            if rank < best {
                (best, best_place) = (rank, place);
            }
        }
        let value = || stanza.value_at(best_place).unwrap_or_default();
        match best {
            0 | 1 => Self::Client(value()),
            2 | 3 => Self::Room(value()),
            4 => Self::Everybody,
            _ => Self::Nobody,
        }
    }
}

/// Whether the sender of a room message wants it, too: `back`, and then `b`, other than `0`.
fn wants_it_back(stanza: &Stanza<'_>) -> bool {
    let (mut back, mut short) = (None, None);
    for (place, name) in stanza.attribute_names().enumerate() {
        match name {
            b"back" => back = Some(place),
            b"b" => short = Some(place),
            _ => {}
        }
    }
    let value = back.or(short).and_then(|place| stanza.value_at(place));
    value.is_some_and(|value| value != "0")
}

impl Hub {
    /// `<m …>` and `<msg …>`.
    pub(super) fn message(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        match Recipient::of(request.stanza) {
            Recipient::Client(nick) => self.relay_to_client(request, "m", &nick, out),
            Recipient::Room(room) => self.relay_to_room(request, "m", &room, out),
            Recipient::Everybody => self.broadcast(request, out),
            Recipient::Nobody => {
                self.refuse(request.conn, RefusalReason::Incomplete, "No recipient given", out);
            }
        }
    }

    /// A stanza that is no verb: relayed under its own name when it says where to.
    pub(super) fn relay(&mut self, request: &Request<'_>, registered: bool, out: &mut impl Outlet) {
        let name = request.stanza.name();
        debug_assert!(!is_verb(name), "verbs are never relayed");
        let recipient = Recipient::of(request.stanza);
        let addressed = matches!(recipient, Recipient::Client(_) | Recipient::Room(_));
        if addressed && self.is_reserved(name) {
            let error = format!("Stanzas named {name} are the server's own and can't be relayed");
            return self.refuse(request.conn, RefusalReason::BadName, &error, out);
        }
        match recipient {
            Recipient::Client(nick) => self.relay_to_client(request, name, &nick, out),
            Recipient::Room(room) => self.relay_to_room(request, name, &room, out),
            Recipient::Everybody | Recipient::Nobody if registered => {}
            Recipient::Everybody | Recipient::Nobody => {
                self.refuse(request.conn, RefusalReason::UnknownStanza, "Not a known node", out);
            }
        }
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.settings.relay_names == RelayNames::Safe && is_server_name(name)
    }

    fn relay_to_client(
        &self,
        request: &Request<'_>,
        name: &str,
        nick: &str,
        out: &mut impl Outlet,
    ) {
        let Some(receiver) = self.sessions.find_nick(nick) else {
            let error = format!("No user connected with nickname: {nick}");
            return self.refuse(request.conn, RefusalReason::UnknownTarget, &error, out);
        };
        let Some(sender) = self.sessions.find(request.conn) else {
            return;
        };
        // The sender may name a room it is in, so that the receiver sees where it was said.
        let room = request.stanza.value("r").filter(|room| self.room_of(sender, room).is_some());
        let message = out.encode(|buffer| {
            write::relayed(buffer, name, request.stanza, &sender.nick, room.as_deref());
        });
        out.push(receiver.conn, message);
        if self.registered.messages {
            let to = MessageTo::Client(&receiver.nick);
            out.note(Note::Message { conn: sender.conn, nick: &sender.nick, to, message });
        }
    }

    fn relay_to_room(
        &mut self,
        request: &Request<'_>,
        name: &str,
        room_name: &str,
        out: &mut impl Outlet,
    ) {
        let conn = request.conn;
        let Some(sender) = self.sessions.find(conn) else {
            return;
        };
        let Some(key) = self.room_of(sender, room_name) else {
            return self.refuse(conn, RefusalReason::UnknownTarget, "No room by that name", out);
        };
        let Some(room) = self.rooms.room_mut(key) else {
            return;
        };
        room.messages += 1;
        let back = wants_it_back(request.stanza);
        let message = out.encode_for_room(key, |buffer| {
            write::relayed(buffer, name, request.stanza, &sender.nick, Some(&room.name));
        });
        out.push_all(room.roster(), (!back).then_some(conn), message);
        if self.registered.messages {
            let to = MessageTo::Room(&room.name);
            out.note(Note::Message { conn, nick: &sender.nick, to, message });
        }
    }

    fn broadcast(&self, request: &Request<'_>, out: &mut impl Outlet) {
        let Some(sender) = self.sessions.find(request.conn) else {
            return;
        };
        if !sender.root {
            return self.refuse(request.conn, RefusalReason::Rights, "You must be root", out);
        }
        out.note(Note::Broadcast { by: request.conn });
        let message = out.encode(|buffer| write::broadcast(buffer, request.stanza, &sender.nick));
        for session in self.sessions.iter().filter(|session| session.logged_in()) {
            out.push(session.conn, message);
        }
        if self.registered.messages {
            let to = MessageTo::Everybody;
            out.note(Note::Message { conn: sender.conn, nick: &sender.nick, to, message });
        }
    }
}
