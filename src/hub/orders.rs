//! What plugins order and ask for: each of it is one of the things that clients can ask for,
//! done for another session.
//!
//! What had become due is sent first where those concerned could see that it comes late: the
//! session that an order is about, the members of its room, or everybody.

use super::Hub;
use super::input::ListenerKind;
use super::keeping_order::Terms;
use super::long_lists::Fits;
use super::mode::Entry;
use super::note::Note;
use super::outlet::Outlet;
use super::plugin::{Order, OrderError, Query, Receivers, RoomOrder, ServerOrder, Who};
use super::room::{Params, RoomKey};
use super::seen::Viewer;
use super::session::Session;
use crate::reason::{CloseReason, Refused};
use crate::session_id::ConnId;
use crate::wire::write::plugin::answers;

impl Hub {
    /// Carries an order out, or says why not.
    pub(super) fn obey(
        &mut self,
        order: Order<'_>,
        out: &mut impl Outlet,
    ) -> Result<(), OrderError> {
        match order {
            Order::Deliver { to, element } => self.deliver(to, element, out),
            Order::Kick { who, reason } => self.kick(who, reason, out),
            Order::Join { who, room } => {
                let conn = self.client_to_change(who, out)?;
                named(room, "room")?;
                let joined = self.let_in(conn, room, Entry::Brought, out);
                joined.map_err(|refused| self.refused_for(conn, refused))
            }
            Order::Leave { who, room } => {
                let conn = self.client_to_change(who, out)?;
                let left = self.let_out(conn, room, false, out);
                left.map_err(|refused| self.refused_for(conn, refused))
            }
            Order::SetRoomParam { room, name, value } => {
                let key = self.room_to_order(room, out)?;
                named(name, "name")?;
                Ok(self.set_room_param(key, name, value, None, out)?)
            }
            Order::RemoveRoomParam { room, name } => {
                let key = self.room_to_order(room, out)?;
                named(name, "name")?;
                Ok(self.remove_room_param(key, name, None, out)?)
            }
            Order::SetClientParam { who, name, value } => {
                let conn = self.client_to_change(who, out)?;
                named(name, "name")?;
                Ok(self.set_client_param(conn, name, value, out)?)
            }
            Order::RemoveClientParam { who, name } => {
                let conn = self.client_to_change(who, out)?;
                self.remove_client_param(conn, name, out);
                Ok(())
            }
            Order::InRoom { room, order } => self.keep_order_in(room, order, out),
            Order::OnServer(order) => Ok(self.keep_order(order, out)?),
        }
    }

    /// Does in a room what its operators and root may do.
    fn keep_order_in(
        &mut self,
        room: &str,
        order: RoomOrder<'_>,
        out: &mut impl Outlet,
    ) -> Result<(), OrderError> {
        let key = self.room_to_order(room, out)?;
        match order {
            RoomOrder::GiveRole { who, role } => {
                let nick = self.client(who)?.nick.clone();
                Ok(self.set_role(key, &nick, role, None, out)?)
            }
            RoomOrder::SetModes(values) => {
                if values.iter().next().is_none() {
                    return Err(OrderError::Refused("No mode specified".into()));
                }
                let values = values.iter().map(|(name, value)| (name, value.into()));
                let modes = self.modes_with(key, values)?;
                self.set_modes(key, modes, None, out)?;
                Ok(())
            }
            RoomOrder::Remove { who, reason } => {
                let nick = self.client(who)?.nick.clone();
                let terms = Terms { time_s: None, reason };
                Ok(self.kick_member(key, &nick, terms, None, out)?)
            }
            RoomOrder::Ban { nick, terms } => Ok(self.ban_from_room(key, nick, terms, None, out)?),
            RoomOrder::Unban { nick } => Ok(self.unban_in_room(key, nick, None, out)?),
            RoomOrder::Mute { nick, terms } => Ok(self.mute_in_room(key, nick, terms, None, out)?),
            RoomOrder::Unmute { nick } => Ok(self.unmute_in_room(key, nick, None, out)?),
            RoomOrder::Invite { who } => {
                let nick = self.client(who)?.nick.clone();
                Ok(self.invite_to_room(key, &nick, None, out)?)
            }
        }
    }

    /// Does on the server what root may do.
    fn keep_order(&mut self, order: ServerOrder<'_>, out: &mut impl Outlet) -> Result<(), Refused> {
        match order {
            ServerOrder::Ban { target, terms } => self.ban(target, terms, None, out),
            ServerOrder::Unban { target } => self.unban(target, None, out),
            ServerOrder::Mute { nick, terms } => self.mute(nick, terms, None, out),
            ServerOrder::Unmute { nick } => self.unmute(nick, None, out),
        }
    }

    /// Appends the answer to a question, or says why not.
    pub(super) fn answer_query(
        &self,
        query: Query<'_>,
        bytes_max: usize,
        out: &impl Outlet,
        buffer: &mut Vec<u8>,
    ) -> Result<(), OrderError> {
        let start = buffer.len();
        let fits = |buffer: &Vec<u8>| buffer.len() - start <= bytes_max;
        match query {
            Query::Rooms => self.write_rooms(buffer, Viewer::All, true, &fits),
            Query::Clients { room: Some(room) } => {
                let key = self.rooms.find(room).ok_or(OrderError::NoRoom)?;
                self.write_members(buffer, key, &fits);
            }
            Query::Clients { room: None } => self.write_everybody(buffer, &fits),
            Query::RoomParams { room } => {
                let key = self.rooms.find(room).ok_or(OrderError::NoRoom)?;
                if let Some(found) = self.rooms.room(key) {
                    answers::room_params_begin(buffer, room);
                    write_params(buffer, &found.params, &fits);
                }
            }
            Query::ClientParams { who } => {
                let session = self.client(who)?;
                answers::client_params_begin(buffer, &session.nick, session.conn);
                write_params(buffer, session.params(), &fits);
            }
            Query::Sessions { nick, room, after } => {
                let found = self.sessions_asked(nick, room, after)?;
                self.write_sessions(buffer, &found, out);
            }
        }
        if fits(buffer) {
            return Ok(());
        }
        buffer.truncate(start);
        Err(OrderError::TooLarge(bytes_max))
    }

    // Orders.

    fn deliver(
        &mut self,
        to: Receivers<'_>,
        element: &str,
        out: &mut impl Outlet,
    ) -> Result<(), OrderError> {
        let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(element.as_bytes());
        match to {
            Receivers::Client(who) => {
                let conn = self.session(who)?.conn;
                self.send_due_before(conn, out);
                self.answer(conn, out, write);
            }
            Receivers::Room { name, except } => {
                let key = self.room_to_order(name, out)?;
                if let Some(room) = self.rooms.room_mut(key) {
                    room.messages += 1;
                    let message = out.encode_for_room(key, write);
                    out.push_all(room.roster(), except, message);
                    self.said_in(key, message.bytes());
                }
            }
            Receivers::Everybody { except } => {
                self.send_due(out);
                let message = out.encode(write);
                for session in self.sessions.iter().filter(|session| session.logged_in()) {
                    if Some(session.conn) != except {
                        out.push(session.conn, message);
                    }
                }
            }
        }
        Ok(())
    }

    fn kick(
        &mut self,
        who: Who<'_>,
        reason: Option<&str>,
        out: &mut impl Outlet,
    ) -> Result<(), OrderError> {
        let conn = self.session(who)?.conn;
        self.send_due_before(conn, out);
        let session = self.sessions.find(conn).filter(|session| session.logged_in());
        let nick = session.map_or("", |session| &session.nick);
        out.note(Note::Kicked { by: None, conn, nick });
        let farewell = reason.unwrap_or(super::root::KICKED);
        self.error_and_close(conn, farewell, CloseReason::Kicked, out);
        Ok(())
    }

    fn remove_client_param(&mut self, conn: ConnId, name: &str, out: &mut impl Outlet) {
        let Some(session) = self.sessions.find_mut(conn) else {
            return;
        };
        if session.remove_param(name, &mut self.params_total_bytes) {
            for key in session.rooms.clone() {
                self.clients_due(key, false, Some(conn), out);
            }
        }
    }

    // The sessions and rooms that an order is about.

    /// The session; those of the policy port can't be talked to.
    fn session(&self, who: Who<'_>) -> Result<&Session, OrderError> {
        match who {
            Who::Nick(nick) => {
                self.sessions.find_nick(nick).ok_or_else(|| OrderError::NoNick(nick.into()))
            }
            Who::Session(conn) => {
                let session = self.sessions.find(conn);
                let session = session.filter(|session| session.listener == ListenerKind::Main);
                session.ok_or(OrderError::NoSession(conn))
            }
        }
    }

    /// The session, which must have logged in.
    fn client(&self, who: Who<'_>) -> Result<&Session, OrderError> {
        let session = self.session(who)?;
        if session.logged_in() { Ok(session) } else { Err(OrderError::NotLoggedIn(session.conn)) }
    }

    /// The session, once it has been sent what is due.
    fn client_to_change(
        &mut self,
        who: Who<'_>,
        out: &mut impl Outlet,
    ) -> Result<ConnId, OrderError> {
        let conn = self.client(who)?.conn;
        self.send_due_before(conn, out);
        Ok(conn)
    }

    /// The room, once its members have been sent what is due.
    fn room_to_order(&mut self, name: &str, out: &mut impl Outlet) -> Result<RoomKey, OrderError> {
        let key = self.rooms.find(name).ok_or(OrderError::NoRoom)?;
        if self.rooms.room(key).is_some_and(|room| room.roster_due.is_some() || room.children_due) {
            self.send_due(out);
        }
        Ok(key)
    }

    /// What the client would have been told, with its name.
    fn refused_for(&self, conn: ConnId, refused: Refused) -> OrderError {
        let nick = self.sessions.find(conn).map_or("", |session| &session.nick);
        OrderError::Refused(format!("{nick}: {}", refused.error).into())
    }

    // Answers.

    fn write_members(&self, buffer: &mut Vec<u8>, key: RoomKey, fits: Fits<'_>) {
        let Some(room) = self.rooms.room(key) else {
            return;
        };
        answers::clients_begin(buffer, Some(&room.name), room.members.len());
        for session in room.members.iter().filter_map(|&conn| self.sessions.find(conn)) {
            write_client(buffer, session, room.roles.is_operator(session.conn));
            if !fits(buffer) {
                return;
            }
        }
        answers::clients_end(buffer);
    }

    fn write_everybody(&self, buffer: &mut Vec<u8>, fits: Fits<'_>) {
        let everybody = || self.sessions.iter().filter(|session| session.logged_in());
        answers::clients_begin(buffer, None, everybody().count());
        for session in everybody() {
            write_client(buffer, session, false);
            if !fits(buffer) {
                return;
            }
        }
        answers::clients_end(buffer);
    }
}

impl From<Refused> for OrderError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused.error.into())
    }
}

/// A client's request can't have an empty name, and neither can an order.
fn named(name: &str, what: &str) -> Result<(), OrderError> {
    if name.is_empty() {
        return Err(OrderError::Refused(format!("No {what} specified").into()));
    }
    Ok(())
}

fn write_client(buffer: &mut Vec<u8>, session: &Session, operator: bool) {
    let client = answers::ClientEntry {
        nick: &session.nick,
        session: session.conn,
        address: session.address,
        operator,
    };
    answers::client(buffer, client);
}

fn write_params(buffer: &mut Vec<u8>, params: &Params, fits: Fits<'_>) {
    for (name, value) in params.iter() {
        answers::param(buffer, name, value);
        if !fits(buffer) {
            return;
        }
    }
    answers::params_end(buffer);
}
