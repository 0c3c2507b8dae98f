//! Who is there, for root and for plugins (manual: protocol, 'Keeping order on the server').

use super::Hub;
use super::command::Request;
use super::outlet::{Outlet, PeerFacts};
use super::session::Session;
use crate::limits::WHO_SESSIONS_MAX;
use crate::reason::{RefusalReason, Refused};
use crate::session_id::ConnId;
use crate::wire::write::extension as write;

impl Hub {
    /// `<who [nick="N"] [room="R"] [after="S"] />`.
    pub(super) fn who(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let (conn, stanza) = (request.conn, request.stanza);
        let [nick, room, after] = ["nick", "room", "after"].map(|name| stanza.value(name));
        let after = after.as_deref().map(|text| {
            text.parse::<ConnId>().map_err(|_| {
                Refused::told(RefusalReason::Incomplete, format!("Not a session: {text}"))
            })
        });
        let found = after
            .transpose()
            .and_then(|after| self.sessions_asked(nick.as_deref(), room.as_deref(), after));
        match found {
            Ok(found) => {
                let mut answer = Vec::new();
                self.write_sessions(&mut answer, &found, out);
                let bytes = self.answer(conn, out, |buffer| buffer.extend_from_slice(&answer));
                self.charge_asked(conn, bytes);
            }
            Err(refused) => self.refuse_if(conn, Err(refused), out),
        }
    }

    /// Writes the answer to `who`.
    pub(super) fn write_sessions(&self, buffer: &mut Vec<u8>, found: &[ConnId], out: &impl Outlet) {
        let shown = &found[..found.len().min(WHO_SESSIONS_MAX)];
        let more = shown.last().copied().filter(|_| found.len() > shown.len());
        write::sessions_begin(buffer, shown.len(), more);
        for session in shown.iter().filter_map(|&conn| self.sessions.find(conn)) {
            let facts = out.peer(session.conn);
            write::session(buffer, &self.who_attributes(session, &facts));
        }
        write::sessions_end(buffer);
    }

    /// Sessions that fit, behind one of them: one more than is shown, where there are so many.
    pub(super) fn sessions_asked(
        &self,
        nick: Option<&str>,
        room: Option<&str>,
        after: Option<ConnId>,
    ) -> Result<Vec<ConnId>, Refused> {
        let unknown = || Refused::new(RefusalReason::UnknownTarget, "No room by that name");
        let key = match room {
            None => None,
            Some(name) => Some(self.rooms.find(name).ok_or_else(unknown)?),
        };
        let own = nick.map(|nick| self.sessions.find_nick(nick).map(|session| session.conn));
        let fits = |session: &&Session| {
            session.logged_in()
                && after.is_none_or(|after| session.conn.slot > after.slot)
                && key.is_none_or(|key| session.rooms.contains(&key))
                && own.is_none_or(|own| own == Some(session.conn))
        };
        let found = self.sessions.iter().filter(fits).map(|session| session.conn);
        Ok(found.take(WHO_SESSIONS_MAX + 1).collect())
    }

    fn who_attributes<'a>(
        &self,
        session: &'a Session,
        facts: &PeerFacts,
    ) -> write::WhoAttributes<'a> {
        let opened_us = self.unix_start_us.saturating_add(session.opened_at().0 / 1_000);
        write::WhoAttributes {
            id: session.conn,
            nick: &session.nick,
            address: session.address,
            transport: facts.transport,
            rooms: session.rooms.len(),
            since_unix_s: opened_us / 1_000_000,
            idle_s: facts.idle_s,
            account: session.account,
            root: session.root,
        }
    }
}
