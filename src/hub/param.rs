//! Params of rooms and of sessions (PROTOCOL.md section 6).

use super::Hub;
use super::command::Request;
use super::reason::RefusalReason;
use super::room::RoomKey;
use super::types::{ConnId, Outlet};
use crate::wire::write;

/// The param that says who may set the others; only an operator may set it.
const OPEN_PARAMS: &str = "openParams";

impl Hub {
    /// `<setparam room="R" name="K" value="V" />`.
    pub(super) fn set_param(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let conn = request.conn;
        let (name, value) = (request.attribute(1), request.attribute(2));
        let Some(key) = self.room_to_change(conn, request.attribute(0), name, out) else {
            return;
        };
        if !self.param_fits(conn, name, value, out) {
            return;
        }
        let Some(room) = self.rooms.room_mut(key) else {
            return;
        };
        if let Err(error) = room.params.set(name, value, &self.settings.limits) {
            return self.refuse_for_limit(conn, &error, out);
        }
        self.tell_params(key, Some((name, value)), out);
    }

    /// `<removeparam room="R" name="K" />`.
    pub(super) fn remove_param(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let conn = request.conn;
        let name = request.attribute(1);
        let Some(key) = self.room_to_change(conn, request.attribute(0), name, out) else {
            return;
        };
        if name == OPEN_PARAMS {
            return self.refuse(conn, RefusalReason::Rights, "openParams can't be removed", out);
        }
        if let Some(room) = self.rooms.room_mut(key) {
            room.params.remove(name);
        }
        self.tell_params(key, None, out);
    }

    /// `<clientparam name="K" value="V" />`.
    pub(super) fn client_param(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let conn = request.conn;
        let (name, value) = (request.attribute(0), request.attribute(1));
        if !self.param_fits(conn, name, value, out) {
            return;
        }
        let Some(session) = self.sessions.find_mut(conn) else {
            return;
        };
        if let Err(error) = session.params_mut().set(name, value, &self.settings.limits) {
            return self.refuse_for_limit(conn, &error, out);
        }
        for &key in &session.rooms {
            let Some(room) = self.rooms.room_mut(key) else {
                continue;
            };
            room.messages += 1;
            let message = out.encode_for_room(key, |buffer| {
                write::client_param(buffer, name, value, &session.nick, &room.name);
            });
            out.push_all(room.roster(), None, message);
        }
    }

    /// The room whose params a session wants to change, if it may.
    fn room_to_change(
        &self,
        conn: ConnId,
        room_name: &str,
        param: &str,
        out: &mut impl Outlet,
    ) -> Option<RoomKey> {
        let Some(key) = self.own_room(conn, room_name) else {
            self.refuse(conn, RefusalReason::UnknownTarget, "No room by that name", out);
            return None;
        };
        let room = self.rooms.room(key)?;
        let allowed = room.operator == Some(conn) || (room.open_params() && param != OPEN_PARAMS);
        if !allowed {
            self.refuse(conn, RefusalReason::Rights, "You must be an operator of this room", out);
            return None;
        }
        Some(key)
    }

    fn param_fits(&self, conn: ConnId, name: &str, value: &str, out: &mut impl Outlet) -> bool {
        let max = self.settings.limits.param_bytes_max;
        let fits = name.len() <= max && value.len() <= max;
        if !fits {
            self.refuse_for_limit(conn, &format!("Param too long (limit {max} bytes)"), out);
        }
        fits
    }

    /// Tells the members one param, or all, and the parent's members their child rooms.
    fn tell_params(&self, key: RoomKey, one: Option<(&str, &str)>, out: &mut impl Outlet) {
        let Some(room) = self.rooms.room(key) else {
            return;
        };
        let message = out.encode_for_room(key, |buffer| {
            let head = self.rooms.head(room);
            match one {
                Some(param) => write::room(buffer, head, std::iter::once(param)),
                None => write::room(buffer, head, room.params.iter()),
            }
        });
        out.push_all(room.roster(), None, message);
        if let Some(parent) = room.parent {
            self.send_child_rooms(parent, out);
        }
    }
}
