//! Messages and relayed stanzas: from one sender to a client, a room or everybody
//! (manual: protocol, 'Messages').

use std::borrow::Cow;

use super::command::{Request, is_verb};
use super::note::MessageTo;
use super::outlet::Outlet;
use super::rights::Act;
use super::settings::RelayNames;
use super::{Hub, Note};
use crate::reason::RefusalReason;
use crate::wire::stanza::Stanza;
use crate::wire::write::{self, Relayed, Routing};

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

/// Whether the server itself sends stanzas of this name. The prefix of a namespace does not make
/// it another one: many a client looks at what stands behind it.
pub(super) fn is_server_name(name: &str) -> bool {
    let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
    SERVER_NAMES.contains(&local)
}

/// Where a stanza wants to go.
#[derive(Debug, PartialEq, Eq)]
enum Recipient<'a> {
    Client(Cow<'a, str>),
    /// Bytes, because they are only compared.
    Room(Cow<'a, [u8]>),
    Everybody,
    Nobody,
}

/// What the attributes of a stanza say about its way.
#[derive(Debug)]
struct RoutingAttributes<'a> {
    recipient: Recipient<'a>,
    /// Whether the sender of a room message wants it, too.
    back: bool,
    /// Whether it has other attributes, which go along.
    own_attributes: bool,
}

impl<'a> RoutingAttributes<'a> {
    fn of(stanza: &Stanza<'a>) -> Self {
        let (mut to, mut back) = (None, None);
        let mut own_attributes = false;
        for (place, name) in stanza.attribute_names().enumerate() {
            match Routing::of(name) {
                Some(
                    routing @ (Routing::ToClient
                    | Routing::ShortClient
                    | Routing::ToRoom
                    | Routing::ShortRoom
                    | Routing::Broadcast),
                ) => to = Some(first((routing, place), to)),
                Some(routing @ (Routing::Back | Routing::ShortBack)) => {
                    back = Some(first((routing, place), back));
                }
                Some(Routing::From) => {}
                None => own_attributes = true,
            }
        }
        let value = |place| stanza.value_bytes_at(place).unwrap_or_default();
        Self {
            recipient: to.map_or(Recipient::Nobody, |to| Recipient::of(stanza, to)),
            back: back.is_some_and(|(_, place)| *value(place) != *b"0"),
            own_attributes,
        }
    }
}

impl<'a> Recipient<'a> {
    /// The recipient that the attribute at this place names.
    fn of(stanza: &Stanza<'a>, (routing, place): (Routing, usize)) -> Self {
        match routing {
            Routing::ToClient | Routing::ShortClient => {
                Self::Client(stanza.value_at(place).unwrap_or_default())
            }
            Routing::ToRoom | Routing::ShortRoom => {
                Self::Room(stanza.value_bytes_at(place).unwrap_or_default())
            }
            Routing::Broadcast => Self::Everybody,
            Routing::Back | Routing::ShortBack | Routing::From => Self::Nobody,
        }
    }
}

/// Of two attributes the one that counts.
fn first(new: (Routing, usize), seen: Option<(Routing, usize)>) -> (Routing, usize) {
    seen.map_or(new, |seen| seen.min(new))
}

impl Hub {
    /// `<m …>` and `<msg …>`.
    pub(super) fn message(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let address = RoutingAttributes::of(request.stanza);
        if self.asks_talk() && self.lacks_permission_to_say(request, &address.recipient, out) {
            return;
        }
        match &address.recipient {
            Recipient::Client(nick) => {
                self.relay_to_client(request, "m", &address, nick, false, out)
            }
            Recipient::Room(room) if self.waits_to_talk(request.conn, room) => {}
            Recipient::Room(room) => self.relay_to_room(request, "m", &address, room, false, out),
            Recipient::Everybody => self.broadcast(request, out),
            Recipient::Nobody => {
                self.refuse(request.conn, RefusalReason::Incomplete, "No recipient given", out);
            }
        }
    }

    /// A stanza that is no verb: handed out when its name is registered, and relayed under its own
    /// name when it says where to.
    pub(super) fn relay(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let name = request.stanza.name();
        debug_assert!(!is_verb(name), "verbs are never relayed");
        let address = RoutingAttributes::of(request.stanza);
        if self.asks_talk()
            && !self.is_reserved(name)
            && self.lacks_permission_to_say(request, &address.recipient, out)
        {
            return;
        }
        if let Recipient::Room(room) = &address.recipient
            && self.waits_to_talk(request.conn, room)
        {
            return;
        }
        let registered = self.registered.names.contains(name);
        if registered && let Some(session) = self.sessions.find(request.conn) {
            out.registered(request.conn, &session.nick, name, request.stanza.element());
        }
        let addressed = matches!(address.recipient, Recipient::Client(_) | Recipient::Room(_));
        if addressed && self.is_reserved(name) {
            let error = format!("Stanzas named {name} are the server's own and can't be relayed");
            return self.refuse(request.conn, RefusalReason::BadName, &error, out);
        }
        match &address.recipient {
            Recipient::Client(nick) => {
                self.relay_to_client(request, name, &address, nick, false, out)
            }
            Recipient::Room(room) => self.relay_to_room(request, name, &address, room, false, out),
            Recipient::Everybody | Recipient::Nobody if registered => {}
            Recipient::Everybody | Recipient::Nobody => {
                self.refuse(request.conn, RefusalReason::UnknownStanza, "Not a known node", out);
            }
        }
    }

    /// Whether what a session says has to wait for a permission, or was refused it.
    #[cold]
    fn lacks_permission_to_say(
        &mut self,
        request: &Request<'_>,
        recipient: &Recipient<'_>,
        out: &mut impl Outlet,
    ) -> bool {
        let Some(sender) = self.sessions.find(request.conn) else {
            return false;
        };
        let room = match recipient {
            Recipient::Room(name) => match self.room_of(sender, name) {
                Some(key) => Some(key),
                None => return false,
            },
            Recipient::Client(nick) if self.sessions.find_nick(nick).is_some() => None,
            // Nobody hears it, or it is root that speaks.
            Recipient::Client(_) | Recipient::Everybody | Recipient::Nobody => return false,
        };
        self.lacks_permission_to_talk(request, room.as_slice(), Act::Talk, out)
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.settings.relay_names == RelayNames::Safe && is_server_name(name)
    }

    fn relay_to_client(
        &mut self,
        request: &Request<'_>,
        name: &str,
        address: &RoutingAttributes<'_>,
        nick: &str,
        checked: bool,
        out: &mut impl Outlet,
    ) {
        let Some(receiver) = self.sessions.find_nick(nick) else {
            let error = format!("No user connected with nickname: {nick}");
            return self.refuse(request.conn, RefusalReason::UnknownTarget, &error, out);
        };
        let Some(sender) = self.sessions.find(request.conn) else {
            return;
        };
        if !checked && sender.muted {
            if self.may_talk(request.conn, None, out) {
                self.relay_to_client(request, name, address, nick, true, out);
            }
            return;
        }
        // The sender may name a room it is in, so that the receiver sees where it was said.
        let room = request.stanza.value("r");
        let room = room.filter(|room| self.room_of(sender, room.as_bytes()).is_some());
        let relayed = Relayed {
            name,
            stanza: request.stanza,
            own_attributes: address.own_attributes,
            nick: &sender.nick,
            room: room.as_deref(),
        };
        let message = out.encode(|buffer| write::relayed(buffer, &relayed));
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
        address: &RoutingAttributes<'_>,
        room_name: &[u8],
        checked: bool,
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
        if !checked && (room.rules.is_some() || sender.muted) {
            if self.may_talk(conn, Some(key), out) {
                self.relay_to_room(request, name, address, room_name, true, out);
            }
            return;
        }
        room.messages += 1;
        let relayed = Relayed {
            name,
            stanza: request.stanza,
            own_attributes: address.own_attributes,
            nick: &sender.nick,
            room: Some(&room.name),
        };
        let message = out.encode_for_room(key, |buffer| write::relayed(buffer, &relayed));
        out.push_all(room.roster(), (!address.back).then_some(conn), message);
        if self.registered.messages {
            let to = MessageTo::Room(&room.name);
            out.note(Note::Message { conn, nick: &sender.nick, to, message });
        }
        self.said_in(key, message.bytes());
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
