//! The reference model's messages (manual: protocol, 'Messages').

use palabre::hub::{ConnId, RelayNames};

use super::model::Model;
use super::recorder::{Hook, To};
use super::stanza::Stanza;
use super::text;

const ROUTING: &[&str] = &["c", "toclient", "r", "toroom", "b", "back", "broadcast", "f"];

const NAMES_OF_THE_SERVER: &[&str] = &[
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

/// What is delivered: the sender's own attributes, then the server's word, then the body.
fn delivered(name: &str, stanza: &Stanza, nick: &str, room: Option<&str>) -> String {
    let mut out = format!("<{name}");
    for attribute in &stanza.attributes {
        if !ROUTING.contains(&attribute.name.as_str()) {
            out += &format!(" {0}={1}{2}{1}", attribute.name, attribute.quote, attribute.raw);
        }
    }
    out += &format!(" f=\"{}\"", text::value(nick));
    if let Some(room) = room {
        out += &format!(" r=\"{}\"", text::value(room));
    }
    out + &format!(">{}</{name}>", stanza.body)
}

impl Model {
    pub(crate) fn message(&mut self, conn: ConnId, stanza: &Stanza) {
        if self.waits_to_talk(conn, stanza) {
            return;
        }
        self.relay("m", conn, stanza, true);
    }

    /// A stanza of any other name that carries a recipient.
    pub(crate) fn relay_other(&mut self, conn: ConnId, stanza: &Stanza) {
        let name = stanza.name.as_str();
        let safe = self.settings.relay_names == RelayNames::Safe;
        let local = name.split(':').next_back().unwrap_or_default();
        if safe && NAMES_OF_THE_SERVER.contains(&local) {
            let why = format!("Stanzas named {name} are the server's own and can't be relayed");
            self.refuse(conn, &why);
        } else {
            self.relay(name, conn, stanza, false);
        }
    }

    /// Whether what is said to a room waits until its members keep up.
    pub(crate) fn waits_to_talk(&mut self, conn: ConnId, stanza: &Stanza) -> bool {
        let client = stanza.attribute("toclient").or(stanza.attribute("c"));
        let room = stanza.attribute("toroom").or(stanza.attribute("r"));
        let room = room.filter(|_| client.is_none());
        let room = room.and_then(|room| self.room_inside(conn, room));
        room.is_some_and(|room| self.is_held_back(conn, &[room]))
    }

    fn relay(&mut self, name: &str, conn: ConnId, stanza: &Stanza, may_broadcast: bool) {
        let client = stanza.attribute("toclient").or(stanza.attribute("c"));
        let room = stanza.attribute("toroom").or(stanza.attribute("r"));
        let broadcast = may_broadcast && stanza.attribute("broadcast").is_some();
        match (client, room) {
            (Some(nick), _) => self.private_message(name, conn, stanza, nick),
            (None, Some(room)) => self.room_message(name, conn, stanza, room),
            (None, None) if broadcast => self.broadcast(conn, stanza),
            (None, None) => self.refuse(conn, "No recipient given"),
        }
    }

    fn private_message(&mut self, name: &str, conn: ConnId, stanza: &Stanza, nick: &str) {
        let Some(to) = self.find_nick(nick) else {
            self.refuse(conn, &format!("No user connected with nickname: {nick}"));
            return;
        };
        let sender = self.sessions[&conn].nick.clone();
        let room = stanza.attribute("r").filter(|room| self.room_inside(conn, room).is_some());
        let what = delivered(name, stanza, &sender, room);
        self.say(to, what.clone());
        let receiver = self.sessions[&to].nick.clone();
        self.tell_of_message(conn, To::Client(receiver), what);
    }

    fn room_message(&mut self, name: &str, conn: ConnId, stanza: &Stanza, room: &str) {
        let Some(id) = self.room_inside(conn, room) else {
            self.refuse(conn, "No room by that name");
            return;
        };
        let sender = self.sessions[&conn].nick.clone();
        let back = stanza.attribute("back").or(stanza.attribute("b")).unwrap_or("0") != "0";
        self.room(id).messages += 1;
        let what = delivered(name, stanza, &sender, Some(room));
        self.say_to_room(id, (!back).then_some(conn), &what);
        self.said_in(id, what.len() + 1);
        self.tell_of_message(conn, To::Room(room.to_owned()), what);
    }

    /// Plugins that asked for it hear what was delivered.
    fn tell_of_message(&mut self, conn: ConnId, to: To, what: String) {
        if self.registered.messages {
            let nick = self.sessions[&conn].nick.clone();
            self.hook(conn, Hook::Message(nick, to, what));
        }
    }

    fn broadcast(&mut self, conn: ConnId, stanza: &Stanza) {
        if !self.sessions[&conn].root {
            self.refuse(conn, "You must be root");
            return;
        }
        let nick = text::value(&self.sessions[&conn].nick);
        // As old programs look for it: the sender right behind the name.
        let mut out = format!("<m f='{nick}'");
        for attribute in &stanza.attributes {
            if attribute.name == "xmlns" || attribute.name.starts_with("xmlns:") {
                out += &format!(" {0}={1}{2}{1}", attribute.name, attribute.quote, attribute.raw);
            }
        }
        out += &format!(">{}</m>", stanza.body);
        for everybody in self.logged_in().into_keys() {
            self.say(everybody, out.clone());
        }
        self.tell_of_message(conn, To::Everybody, out);
    }
}
