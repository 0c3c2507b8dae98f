//! Params of rooms and of sessions (manual: protocol, 'Params').

use super::Hub;
use super::command::Request;
use super::outlet::Outlet;
use super::rights::Act;
use super::room::{ParamsFull, RoomKey};
use crate::reason::{RefusalReason, Refused};
use crate::session_id::ConnId;
use crate::wire::write;

/// The param that says who may set the others; only an operator may set it.
pub(super) const OPEN_PARAMS: &str = "openParams";

/// The param that is the mode of the same name; only an operator may set it.
pub(super) const LOCKED: &str = "locked";

/// Whether the value of a switch is on.
pub(super) fn is_on(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

/// What it is to set a param of this name.
fn act_to_set(param: &str) -> Act {
    let switch = param == OPEN_PARAMS || param == LOCKED;
    if switch { Act::SetSwitches } else { Act::SetParams }
}

impl Hub {
    /// `<setparam room="R" name="K" value="V" />`.
    pub(super) fn set_param(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let (name, value) = (request.attribute(1), request.attribute(2));
        let set = match self.room_to_change(request.conn, request.attribute(0), name) {
            Ok(key) if self.hold_back(request.conn, &[key]) => return,
            Ok(key) if self.may_not_set(request, key, name, out) => return,
            Ok(key) => self.set_room_param(key, name, value, Some(request.conn), out),
            Err(refused) => Err(refused),
        };
        self.refuse_if(request.conn, set, out);
    }

    /// `<removeparam room="R" name="K" />`.
    pub(super) fn remove_param(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let name = request.attribute(1);
        let removed = match self.room_to_change(request.conn, request.attribute(0), name) {
            Ok(key) if self.hold_back(request.conn, &[key]) => return,
            Ok(key) if self.may_not_set(request, key, name, out) => return,
            Ok(key) => self.remove_room_param(key, name, Some(request.conn), out),
            Err(refused) => Err(refused),
        };
        self.refuse_if(request.conn, removed, out);
    }

    /// `<clientparam name="K" [value="V"] />`.
    pub(super) fn client_param(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let (conn, name) = (request.conn, request.attribute(0));
        if self.waits_to_tell_rooms(conn) {
            return;
        }
        if !self.may_talk_in_all(conn, out) {
            return;
        }
        if self.asks_talk() {
            let rooms = self.sessions.find(conn).map(|session| session.rooms.clone());
            let rooms = rooms.unwrap_or_default();
            if self.lacks_permission_to_talk(request, &rooms, Act::Talk, out) {
                return;
            }
        }
        let told = match request.stanza.value("value") {
            Some(value) => self.set_client_param(conn, name, &value, out),
            None => self.tell_client_param_again(conn, name, out),
        };
        self.refuse_if(conn, told, out);
    }

    /// Whether a param of a room has to wait for a permission, or was refused it.
    fn may_not_set(
        &mut self,
        request: &Request<'_>,
        key: RoomKey,
        name: &str,
        out: &mut impl Outlet,
    ) -> bool {
        self.asks_talk() && self.lacks_permission_to_talk(request, &[key], act_to_set(name), out)
    }

    /// Sets a param of a room, for a client or a plugin.
    pub(super) fn set_room_param(
        &mut self,
        key: RoomKey,
        name: &str,
        value: &str,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        self.put_room_param(key, name, value)?;
        self.tell_params(key, Some((name, value)), out);
        if name == LOCKED {
            self.follow_locked_param(key, by, out);
        }
        Ok(())
    }

    /// Sets a param of a room and tells nobody.
    pub(super) fn put_room_param(
        &mut self,
        key: RoomKey,
        name: &str,
        value: &str,
    ) -> Result<(), Refused> {
        self.check_param(name, value)?;
        if let Some(room) = self.rooms.room_mut(key) {
            let (limits, total) = (&self.settings.limits, &mut self.params_total_bytes);
            room.params.set(name, value, limits, total).map_err(for_limit)?;
        }
        self.kept_room_changed(key);
        Ok(())
    }

    /// Removes a param of a room, for a client or a plugin.
    pub(super) fn remove_room_param(
        &mut self,
        key: RoomKey,
        name: &str,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        if name == OPEN_PARAMS {
            return Err(Refused::new(RefusalReason::Rights, "openParams can't be removed"));
        }
        if let Some(room) = self.rooms.room_mut(key) {
            room.params.remove(name, &mut self.params_total_bytes);
        }
        self.kept_room_changed(key);
        self.tell_params(key, None, out);
        if name == LOCKED {
            self.follow_locked_param(key, by, out);
        }
        Ok(())
    }

    /// Sets a param of a session and tells its rooms.
    pub(super) fn set_client_param(
        &mut self,
        conn: ConnId,
        name: &str,
        value: &str,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        self.check_param(name, value)?;
        let Some(session) = self.sessions.find_mut(conn) else {
            return Ok(());
        };
        let (limits, total) = (&self.settings.limits, &mut self.params_total_bytes);
        session.params_mut().set(name, value, limits, total).map_err(for_limit)?;
        self.tell_client_param(conn, name, out);
        Ok(())
    }

    /// Tells the rooms of a session once more what a param of it is.
    fn tell_client_param_again(
        &mut self,
        conn: ConnId,
        name: &str,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let session = self.sessions.find(conn);
        if session.is_none_or(|session| session.params().value(name).is_none()) {
            return Err(Refused::new(RefusalReason::Incomplete, "No value specified"));
        }
        self.tell_client_param(conn, name, out);
        Ok(())
    }

    /// Tells the rooms of a session what a param of it is.
    fn tell_client_param(&mut self, conn: ConnId, name: &str, out: &mut impl Outlet) {
        let rooms = self.sessions.find(conn).map(|session| session.rooms.clone());
        self.tell_param_in(conn, name, &rooms.unwrap_or_default(), out);
    }

    /// Tells one room of a session what a param of it is; gives how many bytes that are.
    pub(super) fn tell_param_in_one(
        &mut self,
        conn: ConnId,
        name: &str,
        key: RoomKey,
        out: &mut impl Outlet,
    ) -> usize {
        // It may have left meanwhile, or have no such param any more.
        let session = self.sessions.find(conn).filter(|session| session.rooms.contains(&key));
        let found = session.and_then(|session| Some((session, session.params().value(name)?)));
        let (Some((session, value)), Some(room)) = (found, self.rooms.room_mut(key)) else {
            return 0;
        };
        room.messages += 1;
        let message = out.encode_for_room(key, |buffer| {
            write::client_param(buffer, name, value, &session.nick, &room.name);
        });
        out.push_all(room.roster(), None, message);
        self.said_in(key, message.bytes());
        message.bytes()
    }

    /// The room whose params a session wants to change, if it may.
    fn room_to_change(
        &self,
        conn: ConnId,
        room_name: &str,
        param: &str,
    ) -> Result<RoomKey, Refused> {
        self.room_for(conn, room_name, act_to_set(param))
    }

    fn check_param(&self, name: &str, value: &str) -> Result<(), Refused> {
        let max = self.settings.limits.param_bytes_max;
        if name.len() > max || value.len() > max {
            return Err(Refused::for_limit(format!("Param too long (limit {max} bytes)")));
        }
        Ok(())
    }

    /// Tells the members one param, or all, and the parent's members their child rooms.
    pub(super) fn tell_params(
        &mut self,
        key: RoomKey,
        one: Option<(&str, &str)>,
        out: &mut impl Outlet,
    ) {
        let Some(room) = self.rooms.room(key) else {
            return;
        };
        let parent = room.parent;
        let message = out.encode_for_room(key, |buffer| {
            let head = self.rooms.head(room);
            match one {
                Some(param) => write::room(buffer, head, std::iter::once(param)),
                None => write::room(buffer, head, room.params.iter()),
            }
        });
        out.push_all(room.roster(), None, message);
        self.said_in(key, message.bytes());
        self.caused_bytes += message.bytes();
        if let Some(parent) = parent {
            self.send_child_rooms(parent, out);
        }
    }
}

fn for_limit(full: ParamsFull) -> Refused {
    Refused::for_limit(full.to_string())
}
