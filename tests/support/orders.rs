//! A plugin's stanzas as what they ask the hub for: only those that reach it.

use palabre::hub::mode::MODES;
use palabre::hub::{
    BanTarget, ConnId, ModeValues, Order, Query, Receivers, Role, RoomOrder, ServerOrder, Terms,
    Who,
};
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
        "kick" if stanza.has_attribute("room") => Order::InRoom {
            room: named("room"),
            order: RoomOrder::Remove { who: who(stanza), reason: stanza.attribute("reason") },
        },
        "kick" => Order::Kick { who: who(stanza), reason: stanza.attribute("reason") },
        "role" => {
            let role = Role::of(named("role"));
            in_room(stanza, RoomOrder::GiveRole { who: who(stanza), role })
        }
        "mode" => {
            let modes = ModeValues(MODES.map(|name| stanza.attribute(name)));
            in_room(stanza, RoomOrder::SetModes(modes))
        }
        "invite" => in_room(stanza, RoomOrder::Invite { who: who(stanza) }),
        "ban" | "unban" | "mute" | "unmute" => sanction(stanza),
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
        "get" | "who" => {
            let max = stanza.attribute("max").map(|max| max.parse().expect("max is a number"));
            return Wish::Query(query(stanza), max.unwrap_or(usize::MAX));
        }
        other => panic!("no order: {other}"),
    })
}

fn in_room<'a>(stanza: Node<'a, 'a>, order: RoomOrder<'a>) -> Order<'a> {
    Order::InRoom { room: stanza.attribute("room").expect("a room"), order }
}

fn sanction<'a>(stanza: Node<'a, 'a>) -> Order<'a> {
    let terms = Terms {
        time_s: stanza.attribute("time").map(|time| time.parse().expect("a number")),
        reason: stanza.attribute("reason"),
    };
    let nick = stanza.attribute("nick");
    let target = match (nick, stanza.attribute("address")) {
        (Some(nick), None) => BanTarget::Nick(nick),
        (None, Some(address)) => BanTarget::Address(address),
        other => panic!("nick or address: {other:?}"),
    };
    let nick = nick.unwrap_or_default();
    match (stanza.tag_name().name(), stanza.has_attribute("room")) {
        ("ban", true) => in_room(stanza, RoomOrder::Ban { nick, terms }),
        ("ban", false) => Order::OnServer(ServerOrder::Ban { target, terms }),
        ("unban", true) => in_room(stanza, RoomOrder::Unban { nick }),
        ("unban", false) => Order::OnServer(ServerOrder::Unban { target }),
        ("mute", true) => in_room(stanza, RoomOrder::Mute { nick, terms }),
        ("mute", false) => Order::OnServer(ServerOrder::Mute { nick, terms }),
        (_, true) => in_room(stanza, RoomOrder::Unmute { nick }),
        (_, false) => Order::OnServer(ServerOrder::Unmute { nick }),
    }
}

fn query<'a>(stanza: Node<'a, 'a>) -> Query<'a> {
    let room = stanza.attribute("room");
    if stanza.has_tag_name("who") {
        let after = stanza.attribute("after").map(session);
        return Query::Sessions { nick: stanza.attribute("nick"), room, after };
    }
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
