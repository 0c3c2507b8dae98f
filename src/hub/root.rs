//! What only root may do (manual: protocol, 'Root').

use super::command::Request;
use super::input::ListenerKind;
use super::note::Note;
use super::outlet::Outlet;
use super::{Hub, Login};
use crate::reason::{CloseReason, RefusalReason};
use crate::wire::write;

/// What all clients are told when the server ends.
const GOING_DOWN: &str = "### Server is now going down ... ###";

/// What a client is told that is removed.
pub(super) const KICKED: &str = "You have been kicked from the server by an administrator";

impl Hub {
    /// `<rmuser nickName="N" />`.
    pub(super) fn remove_user(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let by = request.conn;
        let asked = request.attribute(0);
        let Some(session) = self.sessions.find_nick(asked) else {
            let error = format!("No user connected with nickname: {asked}");
            return self.refuse(by, RefusalReason::UnknownTarget, &error, out);
        };
        let (conn, nick) = (session.conn, session.nick.clone());
        let reason = request.stanza.value("reason");
        let reason = match self.check_reason(reason.as_deref()) {
            Ok(reason) => reason.map(|reason| format!("{KICKED}: {reason}")),
            Err(refused) => return self.refuse_if(by, Err(refused), out),
        };
        out.note(Note::Kicked { by: Some(by), conn, nick: &nick });
        let farewell = reason.as_deref().unwrap_or(KICKED);
        self.error_and_close(conn, farewell, CloseReason::Kicked, out);
        self.answer(by, out, |buffer| write::info(buffer, &format!("Client {nick} kicked")));
    }

    /// `<getinfo room="R" />`.
    pub(super) fn tell_info(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let by = request.conn;
        let found = self.rooms.find(request.attribute(0)).and_then(|key| self.rooms.room(key));
        let Some(room) = found else {
            return self.refuse(by, RefusalReason::UnknownTarget, "No room by that name", out);
        };
        out.note(Note::InfoTold { by, room: &room.name });
        let info =
            write::RoomInfo { created_unix_us: room.created_unix_us, messages: room.messages };
        let bytes = self.answer_bounded(by, 0, out, |buffer, with_params, fits| {
            let clients = room.members.iter().filter_map(|&conn| self.sessions.find(conn));
            let children = room.children.iter().filter_map(|&key| self.rooms.room(key));
            write::room_info(
                buffer,
                &room.name,
                room.params.iter_if(with_params),
                clients.map(|session| &*session.nick),
                children.map(|room| &*room.name),
                info,
                fits,
            );
        });
        self.charge_asked(by, bytes);
    }

    /// `<shutdown />`.
    pub(super) fn shutdown_asked(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        out.note(Note::ShutdownAsked { by: request.conn });
        self.shut_down(out);
    }

    /// Says farewell to every connection, logged in or not, and forgets everything.
    pub(super) fn shut_down(&mut self, out: &mut impl Outlet) {
        self.send_due(out);
        let farewell = out.encode(|buffer| write::error(buffer, GOING_DOWN));
        let code = CloseReason::Shutdown.label();
        let mut coded = None;
        for session in self.sessions.take_all() {
            if session.listener == ListenerKind::Main {
                let farewell = if session.tells_codes() {
                    *coded.get_or_insert_with(|| {
                        out.encode(|buffer| {
                            write::error_with_code(buffer, code, None, GOING_DOWN);
                        })
                    })
                } else {
                    farewell
                };
                out.push(session.conn, farewell);
            }
            let rooms = session.rooms.iter().filter_map(|&key| self.rooms.room(key));
            for room in rooms.filter(|_| self.registered.leaves) {
                out.note(Note::Left { conn: session.conn, nick: &session.nick, room: &room.name });
            }
            if session.login == Login::Done {
                out.note(Note::LoggedOut { conn: session.conn, nick: &session.nick });
            }
            out.close(session.conn, CloseReason::Shutdown);
        }
        self.questions.clear();
        self.permissions.clear();
        self.stop_keeping();
        self.rooms.clear();
        self.params_total_bytes = 0;
        self.readers_behind = 0;
        self.due_lists.clear();
        self.later.clear();
    }
}
