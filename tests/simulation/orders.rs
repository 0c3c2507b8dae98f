//! What plugins might order and ask for, and what the reference model makes of it.

use palabre::hub::{ConnId, ListenerKind, Order, Query, Receivers, Who};

use super::generator::Shape;
use super::model::{Login, Model};
use super::random::Random;
use super::rooms::set;
use super::text;

/// Whom it is about.
#[derive(Clone, Debug)]
enum Whom {
    Nick(String),
    Session(ConnId),
}

impl Whom {
    fn who(&self) -> Who<'_> {
        match self {
            Self::Nick(nick) => Who::Nick(nick),
            Self::Session(conn) => Who::Session(*conn),
        }
    }
}

/// All that an order may need.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    kind: usize,
    whom: Whom,
    except: Option<ConnId>,
    room: String,
    name: &'static str,
    value: &'static str,
    reason: Option<&'static str>,
    element: &'static str,
    /// The bytes that an answer may have.
    pub(crate) bytes_max: usize,
}

/// The model's rooms have neither modes nor bans.
const NOT_MODELLED: &str = "how order is kept is not modelled";

const ORDERS: usize = 10;
const QUERIES: usize = 5;

const ELEMENTS: &[&str] =
    &["<hi/>", "<m f='the \"server\"'>a &amp; b</m>", "<x:y xmlns:x='urn:x'><!-- c --></x:y>"];

const REASONS: &[&str] = &["", "enough", "a < b & 'c'\r"];

impl Wish {
    /// What a plugin might want that knows some of the sessions, `gone` among them.
    pub(crate) fn random(
        shape: Shape,
        model: &Model,
        gone: Option<ConnId>,
        random: &mut Random,
    ) -> Self {
        let session = Self::session(model, gone, random);
        let nick = session.and_then(|conn| model.sessions.get(&conn)).map(|found| &found.nick);
        let whom = match (session, nick) {
            (Some(conn), _) if random.chance(1, 2) => Whom::Session(conn),
            (_, Some(nick)) if random.chance(15, 16) => Whom::Nick(nick.clone()),
            _ => Whom::Nick(random.pick(&["", "Nobody", " x", "user1"]).to_owned()),
        };
        let rooms = model.rooms.values().map(|room| &room.name);
        let nth = random.below(model.rooms.len().max(1));
        let room = match rooms.clone().nth(nth) {
            Some(room) if random.chance(3, 4) => room.clone(),
            _ => random_room(shape, random),
        };
        Self {
            // Nobody would be left if plugins removed as readily as they send.
            kind: if random.chance(1, 30) { 0 } else { random.below(ORDERS - 1) + 1 },
            whom,
            except: Self::session(model, gone, random).filter(|_| random.chance(1, 2)),
            room,
            name: random.pick(super::generator::PARAM_NAMES),
            value: random.pick(super::generator::PARAM_VALUES),
            reason: random.chance(1, 2).then(|| random.pick(REASONS)),
            element: random.pick(ELEMENTS),
            bytes_max: random.one_of(&[20, 60, 200, 1_000, 1_048_576]),
        }
        .with_slips(random)
    }

    /// Now and then something is left empty.
    fn with_slips(mut self, random: &mut Random) -> Self {
        match random.below(40) {
            0 => self.room.clear(),
            1 => self.name = "",
            _ => {}
        }
        self
    }

    fn session(model: &Model, gone: Option<ConnId>, random: &mut Random) -> Option<ConnId> {
        if gone.is_some() && random.chance(1, 12) {
            return gone;
        }
        let nth = random.below(model.sessions.len().max(1));
        model.sessions.keys().nth(nth).copied()
    }

    pub(crate) fn order(&self) -> Order<'_> {
        let (who, room, name) = (self.whom.who(), self.room.as_str(), self.name);
        let (value, element) = (self.value, self.element);
        match self.kind {
            0 => Order::Kick { who, reason: self.reason },
            1 => Order::Deliver { to: Receivers::Client(who), element },
            2 => {
                Order::Deliver { to: Receivers::Room { name: room, except: self.except }, element }
            }
            3 => Order::Deliver { to: Receivers::Everybody { except: self.except }, element },
            4 => Order::Leave { who, room },
            5 => Order::SetRoomParam { room, name, value },
            6 => Order::RemoveRoomParam { room, name },
            7 => Order::SetClientParam { who, name, value },
            8 => Order::RemoveClientParam { who, name },
            _ => Order::Join { who, room },
        }
    }

    pub(crate) fn query(&self) -> Query<'_> {
        match self.kind % QUERIES {
            0 => Query::Rooms,
            1 => Query::Clients { room: None },
            2 => Query::Clients { room: Some(&self.room) },
            3 => Query::RoomParams { room: &self.room },
            _ => Query::ClientParams { who: self.whom.who() },
        }
    }
}

fn random_room(shape: Shape, random: &mut Random) -> String {
    match random.below(3) {
        0 if shape.plain_names > 0 => format!("room{}", random.below(shape.plain_names)),
        1 => super::generator::odd_room(random).to_owned(),
        _ if random.chance(1, 3) => {
            let alike = random.one_of(super::generator::ALIKE_ROOMS);
            random.pick(alike).to_owned()
        }
        _ => random.pick(super::generator::ROOMS).to_owned(),
    }
}

/// The name of an order, for what was met.
pub(crate) fn kind(order: &Order<'_>) -> &'static str {
    match order {
        Order::Deliver { to: Receivers::Client(_), .. } => "send to a client",
        Order::Deliver { to: Receivers::Room { .. }, .. } => "send to a room",
        Order::Deliver { to: Receivers::Everybody { .. }, .. } => "send to everybody",
        Order::Kick { .. } => "kick",
        Order::Join { .. } => "join",
        Order::Leave { .. } => "leave",
        Order::SetRoomParam { .. } => "set a room's param",
        Order::RemoveRoomParam { .. } => "remove a room's param",
        Order::SetClientParam { .. } => "set a client's param",
        Order::RemoveClientParam { .. } => "remove a client's param",
        Order::InRoom { .. } | Order::OnServer(_) => "keep order",
    }
}

fn id(conn: ConnId) -> String {
    format!("{}.{}", conn.slot, conn.generation)
}

impl Model {
    pub(crate) fn order(&mut self, order: &Order<'_>) -> Result<(), String> {
        match *order {
            Order::Deliver { to, element } => self.deliver(to, element),
            Order::Kick { who, reason } => {
                let conn = self.somebody(who)?;
                self.send_pending_before(conn);
                self.kick(conn, reason);
                Ok(())
            }
            Order::InRoom { .. } | Order::OnServer(_) => panic!("{NOT_MODELLED}"),
            Order::Join { who, room } => {
                let conn = self.somebody_inside(who)?;
                if room.is_empty() {
                    return Err("No room specified".to_owned());
                }
                match self.why_not_in(conn, room) {
                    Some(why) => Err(format!("{}: {why}", self.sessions[&conn].nick)),
                    None => {
                        self.go_in(conn, room, None);
                        Ok(())
                    }
                }
            }
            Order::Leave { who, room } => {
                let conn = self.somebody_inside(who)?;
                let Some(id) = self.room_inside(conn, room) else {
                    return Err(format!("{}: Not a known room", self.sessions[&conn].nick));
                };
                self.take_out(conn, id);
                self.say(conn, format!("<leaved room='{}' />", text::value(room)));
                Ok(())
            }
            Order::SetRoomParam { room, name, value } => {
                let room = self.room_that_is_told(room)?;
                is_named(name)?;
                self.change_param(room, name, value)
            }
            Order::RemoveRoomParam { room, name } => {
                let room = self.room_that_is_told(room)?;
                is_named(name)?;
                self.drop_param(room, name)
            }
            Order::SetClientParam { who, name, value } => {
                let conn = self.somebody_inside(who)?;
                is_named(name)?;
                self.change_client_param(conn, name, value)
            }
            Order::RemoveClientParam { who, name } => {
                let conn = self.somebody_inside(who)?;
                let params = &mut self.session(conn).params;
                let before = params.len();
                params.retain(|(there, _)| there != name);
                if params.len() < before {
                    for room in self.sessions[&conn].rooms.clone() {
                        self.put_roster(room, conn);
                    }
                }
                Ok(())
            }
        }
    }

    fn deliver(&mut self, to: Receivers<'_>, element: &str) -> Result<(), String> {
        match to {
            Receivers::Client(who) => {
                let conn = self.somebody(who)?;
                self.send_pending_before(conn);
                self.say(conn, element.to_owned());
            }
            Receivers::Room { name, except } => {
                let room = self.room_that_is_told(name)?;
                self.room(room).messages += 1;
                self.say_to_room(room, except, element);
                self.said_in(room, element.len() + 1);
            }
            Receivers::Everybody { except } => {
                self.send_pending();
                for conn in self.logged_in().into_keys().filter(|conn| Some(*conn) != except) {
                    self.say(conn, element.to_owned());
                }
            }
        }
        Ok(())
    }

    pub(crate) fn query(&self, query: &Query<'_>, bytes_max: usize) -> Result<String, String> {
        let unknown = || "No room by that name".to_owned();
        let answer = match *query {
            Query::Rooms => {
                let text = |id: &u64| self.full_room_text(*id);
                text::rooms(&self.rooms.keys().map(text).collect::<Vec<_>>())
            }
            Query::Clients { room: None } => {
                let all: Vec<ConnId> = self.logged_in().into_keys().collect();
                format!("<clients nb='{}'>{}</clients>", all.len(), self.told(&all, None))
            }
            Query::Clients { room: Some(name) } => {
                let room = &self.rooms[&self.find_room(name).ok_or_else(unknown)?];
                let clients = self.told(&room.members, room.operator);
                let (name, count) = (text::value(name), room.members.len());
                format!("<clients room='{name}' nb='{count}'>{clients}</clients>")
            }
            Query::RoomParams { room } => {
                let id = self.find_room(room).ok_or_else(unknown)?;
                let params = told_params(&self.rooms[&id].params);
                format!("<params room='{}'>{params}</params>", text::value(room))
            }
            Query::ClientParams { who } => {
                let conn = self.inside(who)?;
                let session = &self.sessions[&conn];
                let (nick, params) = (text::value(&session.nick), told_params(&session.params));
                format!("<params nick='{nick}' session='{}'>{params}</params>", id(conn))
            }
            Query::Sessions { .. } => panic!("{NOT_MODELLED}"),
        };
        if answer.len() > bytes_max {
            return Err(format!("Answer too large (limit {bytes_max} bytes)"));
        }
        Ok(answer)
    }

    fn told(&self, clients: &[ConnId], operator: Option<ConnId>) -> String {
        let client = |conn: &ConnId| {
            let session = &self.sessions[conn];
            let rights = if operator == Some(*conn) { " operator='1'" } else { "" };
            let (nick, id, address) = (text::value(&session.nick), id(*conn), session.address);
            format!("<client name='{nick}' session='{id}'{rights} address='{address}' />")
        };
        clients.iter().map(client).collect()
    }

    /// Somebody whom plugins may talk to.
    fn somebody(&self, who: Who<'_>) -> Result<ConnId, String> {
        match who {
            Who::Nick(nick) => self
                .find_nick(nick)
                .ok_or_else(|| format!("No user connected with nickname: {nick}")),
            Who::Session(conn) => {
                let found =
                    self.sessions.get(&conn).filter(|found| found.listener == ListenerKind::Main);
                found.map(|_| conn).ok_or_else(|| format!("No session by that id: {}", id(conn)))
            }
        }
    }

    fn inside(&self, who: Who<'_>) -> Result<ConnId, String> {
        let conn = self.somebody(who)?;
        if self.sessions[&conn].login == Login::Done {
            return Ok(conn);
        }
        Err(format!("Session {} has not logged in", id(conn)))
    }

    /// Somebody who has logged in, and has been sent what is pending.
    fn somebody_inside(&mut self, who: Who<'_>) -> Result<ConnId, String> {
        let conn = self.inside(who)?;
        self.send_pending_before(conn);
        Ok(conn)
    }

    /// The room of that name, whose members have been sent what is pending for them.
    fn room_that_is_told(&mut self, name: &str) -> Result<u64, String> {
        let room = self.find_room(name).ok_or("No room by that name")?;
        if self.pending.iter().any(|entry| entry.room() == room) {
            self.send_pending();
        }
        Ok(room)
    }

    pub(crate) fn change_client_param(
        &mut self,
        conn: ConnId,
        name: &str,
        content: &str,
    ) -> Result<(), String> {
        if let Some(why) = self.why_no_param(&self.sessions[&conn].params, name, content) {
            return Err(why);
        }
        set(&mut self.session(conn).params, name, content);
        self.tell_client_param(conn, name);
        Ok(())
    }
}

fn is_named(name: &str) -> Result<(), String> {
    if name.is_empty() { Err("No name specified".to_owned()) } else { Ok(()) }
}

fn told_params(params: &[(String, String)]) -> String {
    let param = |(name, content): &(String, String)| {
        format!("<param name='{}' value='{}' />", text::value(name), text::value(content))
    };
    params.iter().map(param).collect()
}
