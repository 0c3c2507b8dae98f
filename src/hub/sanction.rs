//! Keeping order on the server: bans of nicks and networks, and mutes
//! (manual: protocol, 'Keeping order on the server').

use core::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use super::Hub;
use super::command::Request;
use super::keeping_order::Terms;
use super::note::Note;
use super::outlet::Outlet;
use super::rights::Act;
use super::room_rules::{giver, is_over};
use super::server_rules::{NickBan, ServerBan, ServerMute, as_ipv6, shown};
use super::session::Session;
use crate::limits::{ENDS_PER_TURN, SERVER_BANS_MAX, SERVER_MUTES_MAX};
use crate::networks;
use crate::nick::comparison_key;
use crate::reason::{CloseReason, RefusalReason, Refused};
use crate::record::RecordKey;
use crate::session_id::ConnId;
use crate::wire::write::extension as write;

/// Whom a ban of the server is to hold for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanTarget<'a> {
    /// Whoever has a nick equal to this one.
    Nick(&'a str),
    /// Whoever comes from this network, as it is written.
    Address(&'a str),
}

impl Hub {
    /// `<ban …/>`, `<unban …/>`, `<mute …/>` and `<unmute …/>`: in a room where they name one, on
    /// the server otherwise.
    pub(super) fn sanction(
        &mut self,
        request: &Request<'_>,
        sanction: SanctionKind,
        out: &mut impl Outlet,
    ) {
        let done = self.do_sanction(request, sanction, out);
        self.refuse_if(request.conn, done, out);
    }

    fn do_sanction(
        &mut self,
        request: &Request<'_>,
        sanction: SanctionKind,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let (conn, by, stanza) = (request.conn, Some(request.conn), request.stanza);
        let owned = self.terms_of(stanza)?;
        let terms = owned.terms();
        let value = |name| stanza.value(name).filter(|value| !value.is_empty());
        let (nick, address) = (value("nick"), value("address"));
        let missing = |error| Err(Refused::new(RefusalReason::Incomplete, error));
        let Some(room) = value("room") else {
            if !self.sessions.find(conn).is_some_and(|session| session.root) {
                return Err(Refused::new(RefusalReason::Rights, "You must be root"));
            }
            let bans = matches!(sanction, SanctionKind::Ban | SanctionKind::Unban);
            let target = match (&nick, &address) {
                (Some(nick), None) => BanTarget::Nick(nick),
                (None, Some(address)) if bans => BanTarget::Address(address),
                (Some(_), Some(_)) => return missing("Either nick or address"),
                (None, _) if bans => return missing("No nick or address specified"),
                (None, _) => return missing("No nick specified"),
            };
            return match (sanction, target) {
                (SanctionKind::Ban, target) => self.ban(target, terms, by, out),
                (SanctionKind::Unban, target) => self.unban(target, by, out),
                (SanctionKind::Mute, BanTarget::Nick(nick)) => self.mute(nick, terms, by, out),
                (SanctionKind::Unmute, BanTarget::Nick(nick)) => self.unmute(nick, by, out),
                (SanctionKind::Mute | SanctionKind::Unmute, BanTarget::Address(_)) => Ok(()),
            };
        };
        let Some(nick) = nick else {
            return missing("No nick specified");
        };
        let key = self.room_for(conn, &room, sanction.act())?;
        match sanction {
            SanctionKind::Ban => self.ban_from_room(key, &nick, terms, by, out),
            SanctionKind::Unban => self.unban_in_room(key, &nick, by, out),
            SanctionKind::Mute => self.mute_in_room(key, &nick, terms, by, out),
            SanctionKind::Unmute => self.unmute_in_room(key, &nick, by, out),
        }
    }

    /// `<getbans [room="R"] />`.
    pub(super) fn get_bans(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let conn = request.conn;
        let room = request.stanza.value("room").filter(|room| !room.is_empty());
        if let Some(room) = room {
            match self.room_for(conn, &room, Act::Ban) {
                Ok(key) => self.tell_room_bans(conn, key, out),
                Err(refused) => self.refuse_if(conn, Err(refused), out),
            }
        } else if self.sessions.find(conn).is_some_and(|session| session.root) {
            self.tell_bans(conn, out);
        } else {
            self.refuse(conn, RefusalReason::Rights, "You must be root", out);
        }
    }

    fn forget_server_rules_over(&mut self, unix_s: u64) {
        for key in self.order.forget_over(unix_s) {
            self.note_for_store(key);
        }
    }

    fn tell_bans(&mut self, conn: ConnId, out: &mut impl Outlet) {
        let unix_s = self.unix_now_s();
        self.forget_server_rules_over(unix_s);
        let bytes = self.answer_bounded(conn, 0, out, |buffer, _, fits| {
            write::bans_begin(buffer, None, self.order.bans());
            for NickBan { nick, ban } in self.order.nicks.values() {
                let sanction = write::Sanction { nick: Some(nick), ..ban.sanction() };
                write::sanction(buffer, "ban", sanction);
                if !fits(buffer) {
                    return;
                }
            }
            for (network, ban) in &self.order.networks {
                let address = shown(network);
                let sanction = write::Sanction { address: Some(&address), ..ban.sanction() };
                write::sanction(buffer, "ban", sanction);
                if !fits(buffer) {
                    return;
                }
            }
            write::bans_end(buffer);
        });
        self.charge_asked(conn, bytes);
    }

    /// Bans a nick or a network from the server, and ends the sessions that it fits.
    pub(super) fn ban(
        &mut self,
        target: BanTarget<'_>,
        terms: Terms<'_>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let unix_s = self.unix_now_s();
        if self.order.bans() >= SERVER_BANS_MAX {
            self.forget_server_rules_over(unix_s);
        }
        let reason = self.check_reason(terms.reason)?.map(Into::into);
        let ban = ServerBan { by: self.giver(by), until_unix_s: self.until(terms)?, reason };
        let full = || Refused::for_limit(format!("Too many bans (limit {SERVER_BANS_MAX})"));
        let is_full = self.order.bans() >= SERVER_BANS_MAX;
        let whom: Box<str> = match target {
            BanTarget::Nick(nick) => {
                let wanted = self.wanted(nick, terms)?;
                if let Some(conn) = wanted.conn {
                    self.check_no_root(conn)?;
                }
                if is_full && !self.order.nicks.contains_key(&wanted.key) {
                    return Err(full());
                }
                let found = NickBan { nick: wanted.nick.clone(), ban: ban.clone() };
                self.order.nicks.insert(wanted.key.clone(), found);
                self.note_for_store(RecordKey::NickBan(wanted.key));
                self.order.ending.extend(wanted.conn);
                wanted.nick
            }
            BanTarget::Address(text) => {
                let network = self.network_to_ban(text, by)?;
                if is_full && !self.order.networks.contains_key(&network) {
                    return Err(full());
                }
                self.order.networks.insert(network, ban.clone());
                self.note_for_store(RecordKey::NetworkBan(shown(network).into()));
                let fits = |session: &&Session| {
                    !session.root && self.is_counted(session.address) && {
                        network.contains(&as_ipv6(IpNet::from(session.address)))
                    }
                };
                let ending: Vec<ConnId> =
                    self.sessions.iter().filter(fits).map(|session| session.conn).collect();
                self.order.ending.extend(ending);
                shown(network).into()
            }
        };
        let (nick, address) = match target {
            BanTarget::Nick(_) => (Some(&*whom), None),
            BanTarget::Address(_) => (None, Some(&*whom)),
        };
        if let Some(by) = by {
            self.answer(by, out, |buffer| {
                let sanction = write::Sanction { nick, address, ..ban.sanction() };
                write::sanction(buffer, "ban", sanction);
            });
        }
        out.note(Note::Banned { room: None, whom: &whom, by });
        self.end_the_banned(out);
        Ok(())
    }

    /// The network that is written there, if it may be banned: not with whoever bans it.
    fn network_to_ban(&self, text: &str, by: Option<ConnId>) -> Result<Ipv6Net, Refused> {
        let network = networks::parse(text).map_err(|error| {
            Refused::told(RefusalReason::Incomplete, format!("address: {text}: {error}"))
        })?;
        let network = as_ipv6(network);
        if networks::loopback().into_iter().any(|own| as_ipv6(own).contains(&network)) {
            let error = "This host's own addresses are never banned";
            return Err(Refused::new(RefusalReason::WrongState, error));
        }
        let own = by.and_then(|by| self.sessions.find(by)).map(|session| session.address);
        let has = |address: IpAddr| network.contains(&as_ipv6(IpNet::from(address)));
        if own.is_some_and(|address| self.is_counted(address) && has(address)) {
            let error = "Your own address is among these";
            return Err(Refused::new(RefusalReason::WrongState, error));
        }
        Ok(network)
    }

    /// Ends sessions that a ban fits: so many at a time, the others in the next turns.
    pub(super) fn end_the_banned(&mut self, out: &mut impl Outlet) {
        let unix_s = self.unix_now_s();
        for _ in 0..ENDS_PER_TURN {
            let Some(conn) = self.order.ending.pop() else {
                return;
            };
            let Some(session) = self.sessions.find(conn).filter(|session| !session.root) else {
                continue;
            };
            let own = comparison_key(&session.nick).unwrap_or_default();
            let of_nick = || self.order.ban_of_nick(&own, unix_s).filter(|_| session.logged_in());
            let found = self.order.ban_of_address(session.address, unix_s).or_else(of_nick);
            if let Some(error) = found.map(ServerBan::told) {
                self.send_due_before(conn, out);
                self.error_and_close(conn, &error, CloseReason::Banned, out);
            }
        }
    }

    /// Whether sessions are still to be ended.
    pub(super) const fn has_banned_to_end(&self) -> bool {
        !self.order.ending.is_empty()
    }

    /// Lifts a ban of the server.
    pub(super) fn unban(
        &mut self,
        target: BanTarget<'_>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let unix_s = self.unix_now_s();
        let (lifted, whom) = match target {
            BanTarget::Nick(nick) => {
                let key = self.key_of(nick)?;
                let found = self.order.nicks.remove(&key);
                self.note_for_store(RecordKey::NickBan(key));
                let holds = |found: &NickBan| !is_over(found.ban.until_unix_s, unix_s);
                let lifted = found.as_ref().is_some_and(holds);
                (lifted, found.map_or_else(|| nick.into(), |found| found.nick))
            }
            BanTarget::Address(text) => {
                let network = networks::parse(text).map_err(|error| {
                    Refused::told(RefusalReason::Incomplete, format!("address: {text}: {error}"))
                })?;
                let network = as_ipv6(network);
                let holds = |ban: ServerBan| !is_over(ban.until_unix_s, unix_s);
                let lifted = self.order.networks.remove(&network).is_some_and(holds);
                self.note_for_store(RecordKey::NetworkBan(shown(network).into()));
                (lifted, shown(network).into())
            }
        };
        if !lifted {
            let error = format!("{whom} is not banned");
            return Err(Refused::told(RefusalReason::UnknownTarget, error));
        }
        let (nick, address) = match target {
            BanTarget::Nick(_) => (Some(&*whom), None),
            BanTarget::Address(_) => (None, Some(&*whom)),
        };
        self.answer_server_sanction("unban", (nick, address), by, by, out);
        out.note(Note::Unbanned { room: None, whom: &whom, by });
        Ok(())
    }

    /// Keeps whoever has a nick from talking anywhere.
    pub(super) fn mute(
        &mut self,
        nick: &str,
        terms: Terms<'_>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let unix_s = self.unix_now_s();
        if self.order.mutes.len() >= SERVER_MUTES_MAX {
            self.forget_server_rules_over(unix_s);
        }
        let wanted = self.wanted(nick, terms)?;
        if let Some(conn) = wanted.conn {
            self.check_no_root(conn)?;
        }
        let mutes = &self.order.mutes;
        if mutes.len() >= SERVER_MUTES_MAX && !mutes.contains_key(&wanted.key) {
            return Err(Refused::for_limit(format!("Too many mutes (limit {SERVER_MUTES_MAX})")));
        }
        let mute = ServerMute {
            nick: wanted.nick.clone(),
            by: self.giver(by),
            until_unix_s: wanted.until_unix_s,
        };
        self.order.mutes.insert(wanted.key.clone(), mute.clone());
        self.note_for_store(RecordKey::Mute(wanted.key));
        if let Some(session) = wanted.conn.and_then(|conn| self.sessions.find_mut(conn)) {
            session.muted = true;
        }
        let capable = |conn: &ConnId| self.sessions.find(*conn).is_some_and(|it| it.caps.rooms);
        let whom = wanted.conn.filter(capable).filter(|conn| by != Some(*conn));
        for to in [by, whom].into_iter().flatten() {
            self.answer(to, out, |buffer| {
                let sanction = write::Sanction {
                    nick: Some(&mute.nick),
                    by: giver(&mute.by),
                    until_unix_s: mute.until_unix_s,
                    ..write::Sanction::default()
                };
                write::sanction(buffer, "mute", sanction);
            });
        }
        out.note(Note::Muted { room: None, nick: &mute.nick, by });
        Ok(())
    }

    /// Lets whoever has a nick talk again.
    pub(super) fn unmute(
        &mut self,
        nick: &str,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let unix_s = self.unix_now_s();
        let key = self.key_of(nick)?;
        let removed = self.order.mutes.remove(&key);
        self.note_for_store(RecordKey::Mute(key));
        let Some(mute) = removed.filter(|mute| !is_over(mute.until_unix_s, unix_s)) else {
            let error = format!("{nick} is not muted");
            return Err(Refused::told(RefusalReason::UnknownTarget, error));
        };
        let conn = self.sessions.find_nick(nick).map(|session| session.conn);
        if let Some(session) = conn.and_then(|conn| self.sessions.find_mut(conn)) {
            session.muted = false;
        }
        let capable = |conn: &ConnId| self.sessions.find(*conn).is_some_and(|it| it.caps.rooms);
        for to in [by, conn.filter(capable).filter(|conn| by != Some(*conn))] {
            self.answer_server_sanction("unmute", (Some(&mute.nick), None), by, to, out);
        }
        out.note(Note::Unmuted { room: None, nick: &mute.nick, by });
        Ok(())
    }

    fn answer_server_sanction(
        &self,
        name: &str,
        (nick, address): (Option<&str>, Option<&str>),
        by: Option<ConnId>,
        to: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        if let Some(to) = to {
            let by = self.nick_of(by);
            self.answer(to, out, |buffer| {
                let sanction = write::Sanction { nick, address, by, ..write::Sanction::default() };
                write::sanction(buffer, name, sanction);
            });
        }
    }

    /// Whether whoever logs in under a nick may not talk, by its comparison key.
    pub(super) fn is_muted_nick(&self, key: &str) -> bool {
        self.order.mutes(key, self.unix_now_s())
    }

    /// Whether a session that was muted everywhere still is; it isn't when its time is over.
    #[cold]
    pub(super) fn is_muted(&mut self, conn: ConnId) -> bool {
        let Some(session) = self.sessions.find(conn).filter(|session| session.muted) else {
            return false;
        };
        let own = comparison_key(&session.nick).unwrap_or_default();
        let muted = self.order.mutes(&own, self.unix_now_s());
        if let Some(session) = self.sessions.find_mut(conn).filter(|_| !muted) {
            session.muted = false;
        }
        muted
    }

    /// What a login under a nick is told that is banned, by its comparison key.
    pub(super) fn refusal_of_banned_nick(&self, key: &str) -> Option<String> {
        let ban = self.order.ban_of_nick(key, self.unix_now_s())?;
        Some(ban.told())
    }

    /// Whether bans hold for an address: behind loopback and trusted proxies there may be anybody.
    pub(super) fn is_counted(&self, address: IpAddr) -> bool {
        self.counted(address).1
    }

    /// The household to ban with a client, if it is one client's at all.
    pub(super) fn household_to_ban(&self, conn: ConnId) -> Option<IpAddr> {
        let session = self.sessions.find(conn)?;
        self.is_counted(session.address).then_some(session.household)
    }

    /// Whether nobody who connects from an address is let in.
    pub(super) fn is_banned_address(&self, address: IpAddr) -> bool {
        !self.order.networks.is_empty()
            && self.is_counted(address)
            && self.order.ban_of_address(address, self.unix_now_s()).is_some()
    }
}

/// What is given or lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SanctionKind {
    Ban,
    Unban,
    Mute,
    Unmute,
}

impl SanctionKind {
    const fn act(self) -> Act {
        match self {
            Self::Ban | Self::Unban => Act::Ban,
            Self::Mute | Self::Unmute => Act::Mute,
        }
    }
}
