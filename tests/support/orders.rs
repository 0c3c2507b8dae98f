//! A plugin's stanzas as what they ask the hub for: only those that reach it.

use palabre::hub::{ConnId, Order, Query, Receivers, Who};
use roxmltree::{Document, Node};

/// What a stanza asks for.
pub(crate) enum Wish<'a> {
    Order(Order<'a>),
    /// A question, and the bytes that the answer may have.
    Query(Query<'a>, usize),
}

/// Reads a plugin's stanza.
///
/// # Panics
/// When it is none that the hub is told of.
pub(crate) fn read<'a>(document: &'a Document<'a>) -> Wish<'a> {
    let stanza = document.root_element();
    let named = |name| stanza.attribute(name).unwrap_or_else(|| panic!("{name} is missing"));
    Wish::Order(match stanza.tag_name().name() {
        "send" => Order::Deliver { to: receivers(stanza), element: element(document) },
        "kick" => Order::Kick { who: who(stanza), reason: stanza.attribute("reason") },
        "join" => Order::Join { who: who(stanza), room: named("room") },
        "leave" => Order::Leave { who: who(stanza), room: named("room") },
        "setparam" => {
            Order::SetRoomParam { room: named("room"), name: named("name"), value: named("value") }
        }
        "removeparam" => Order::RemoveRoomParam { room: named("room"), name: named("name") },
        "clientparam" => {
            Order::SetClientParam { who: who(stanza), name: named("name"), value: named("value") }
        }
        "removeclientparam" => Order::RemoveClientParam { who: who(stanza), name: named("name") },
        "get" => {
            let max = stanza.attribute("max").map(|max| max.parse().expect("max is a number"));
            return Wish::Query(query(stanza), max.unwrap_or(usize::MAX));
        }
        other => panic!("no order: {other}"),
    })
}

fn query<'a>(stanza: Node<'a, 'a>) -> Query<'a> {
    let room = stanza.attribute("room");
    match (stanza.attribute("what"), room) {
        (Some("rooms"), None) => Query::Rooms,
        (Some("clients"), room) => Query::Clients { room },
        (Some("params"), Some(room)) => Query::RoomParams { room },
        (Some("params"), None) => Query::ClientParams { who: who(stanza) },
        other => panic!("no question: {other:?}"),
    }
}

fn receivers<'a>(stanza: Node<'a, 'a>) -> Receivers<'a> {
    let except = stanza.attribute("except").map(session);
    if stanza.has_attribute("all") {
        return Receivers::Everybody { except };
    }
    match stanza.attribute("room") {
        Some(name) => Receivers::Room { name, except },
        None => Receivers::Client(who(stanza)),
    }
}

fn who<'a>(stanza: Node<'a, 'a>) -> Who<'a> {
    match (stanza.attribute("nick"), stanza.attribute("session")) {
        (Some(nick), None) => Who::Nick(nick),
        (None, Some(id)) => Who::Session(session(id)),
        other => panic!("nick or session: {other:?}"),
    }
}

/// `SLOT.GENERATION`.
fn session(text: &str) -> ConnId {
    let parts = text.split_once('.').map(|(slot, generation)| (slot.parse(), generation.parse()));
    match parts {
        Some((Ok(slot), Ok(generation))) => ConnId { slot, generation },
        other => panic!("no session: {text} ({other:?})"),
    }
}

/// The element that is to be sent, as it is written.
fn element<'a>(document: &'a Document<'a>) -> &'a str {
    let stanza = document.input_text();
    let inner = stanza.split_once('>').and_then(|(_, rest)| rest.strip_suffix("</send>"));
    inner.expect("something to send")
}
