//! Keeping order on the server: bans of nicks and networks, mutes, and who is there
//! (manual: protocol, 'Keeping order on the server').

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv6Net};
use prefix_trie::PrefixMap;

use super::Hub;
use super::command::Request;
use super::keeping_order::Terms;
use super::note::Note;
use super::outlet::{Outlet, PeerFacts};
use super::records::nick_record;
use super::rights::Act;
use super::room::RoomKey;
use super::room_rules::{giver, is_over};
use super::session::Session;
use crate::limits::{ENDS_PER_TURN, SERVER_BANS_MAX, SERVER_MUTES_MAX, WHO_SESSIONS_MAX};
use crate::networks;
use crate::nick::comparison_key;
use crate::reason::{CloseReason, RefusalReason, Refused};
use crate::record::{NetworkRecord, NickRecord, Record, RecordKey};
use crate::session_id::ConnId;
use crate::wire::write::extension as write;

/// A ban of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerBan {
    pub(super) by: Box<str>,
    pub(super) until_unix_s: Option<u64>,
    pub(super) reason: Option<Box<str>>,
}

/// Bans of a nick, or of a network of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NickBan {
    pub(super) nick: Box<str>,
    pub(super) ban: ServerBan,
}

/// Who is muted everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerMute {
    pub(super) nick: Box<str>,
    pub(super) by: Box<str>,
    pub(super) until_unix_s: Option<u64>,
}

/// What keeps order on the server.
#[derive(Debug, Default)]
pub(super) struct ServerRules {
    /// By the comparison key of the nick.
    nicks: BTreeMap<Box<str>, NickBan>,
    /// IPv4 networks stand in it as those of the IPv6 addresses that stand for them.
    networks: PrefixMap<Ipv6Net, ServerBan>,
    /// By the comparison key of the nick.
    mutes: BTreeMap<Box<str>, ServerMute>,
    /// Sessions that a ban fits, and which are still to be ended.
    ending: Vec<ConnId>,
}

impl ServerRules {
    /// How many bans there are.
    pub(super) fn bans(&self) -> usize {
        self.nicks.len() + self.networks.len()
    }

    /// The ban that an address is in. Of several the widest tells.
    pub(super) fn ban_of_address(&self, address: IpAddr, unix_s: u64) -> Option<&ServerBan> {
        if self.networks.is_empty() {
            return None;
        }
        let host = as_ipv6(IpNet::from(address));
        self.networks.cover_values(&host).find(|ban| !is_over(ban.until_unix_s, unix_s))
    }

    /// The ban of a nick, by its comparison key.
    pub(super) fn ban_of_nick(&self, key: &str, unix_s: u64) -> Option<&ServerBan> {
        let found = self.nicks.get(key).map(|found| &found.ban);
        found.filter(|ban| !is_over(ban.until_unix_s, unix_s))
    }

    /// Whether a nick is muted, by its comparison key.
    fn mutes(&self, key: &str, unix_s: u64) -> bool {
        self.mutes.get(key).is_some_and(|mute| !is_over(mute.until_unix_s, unix_s))
    }

    /// Forgets what is over, and gives it.
    pub(super) fn forget_over(&mut self, unix_s: u64) -> Vec<RecordKey> {
        let mut over = Vec::new();
        self.nicks.retain(|key, found| {
            let holds = !is_over(found.ban.until_unix_s, unix_s);
            if !holds {
                over.push(RecordKey::NickBan(key.clone()));
            }
            holds
        });
        self.networks.retain(|network, ban| {
            let holds = !is_over(ban.until_unix_s, unix_s);
            if !holds {
                over.push(RecordKey::NetworkBan(shown(*network).into()));
            }
            holds
        });
        self.mutes.retain(|key, mute| {
            let holds = !is_over(mute.until_unix_s, unix_s);
            if !holds {
                over.push(RecordKey::Mute(key.clone()));
            }
            holds
        });
        over
    }

    /// What names the records of all bans and mutes.
    pub(super) fn keys(&self) -> impl Iterator<Item = RecordKey> {
        let nicks = self.nicks.keys().cloned().map(RecordKey::NickBan);
        let networks = self.networks.iter();
        let networks = networks.map(|(network, _)| RecordKey::NetworkBan(shown(network).into()));
        let mutes = self.mutes.keys().cloned().map(RecordKey::Mute);
        nicks.chain(networks).chain(mutes)
    }

    /// The record of a ban or mute, while it is there.
    pub(super) fn record(&self, key: &RecordKey) -> Option<Record> {
        match key {
            RecordKey::NickBan(key) => {
                let NickBan { nick, ban } = self.nicks.get(key)?;
                Some(Record::NickBan(NickRecord {
                    reason: ban.reason.as_deref().map(Into::into),
                    ..nick_record(nick, &ban.by, ban.until_unix_s)
                }))
            }
            RecordKey::NetworkBan(network) => {
                let ban = self.networks.get(&as_ipv6(networks::parse(network).ok()?))?;
                Some(Record::NetworkBan(NetworkRecord {
                    network: (**network).into(),
                    by: (*ban.by).into(),
                    until_unix_s: ban.until_unix_s,
                    reason: ban.reason.as_deref().map(Into::into),
                }))
            }
            RecordKey::Mute(key) => {
                let ServerMute { nick, by, until_unix_s } = self.mutes.get(key)?;
                Some(Record::Mute(nick_record(nick, by, *until_unix_s)))
            }
            RecordKey::Room(_) => None,
        }
    }

    /// Takes in what a record says, where nobody is there yet; gives what names it. `None` where
    /// there is no room for it, or it is no ban or mute.
    pub(super) fn restore(&mut self, record: &Record) -> Option<RecordKey> {
        let has_room = self.bans() < SERVER_BANS_MAX;
        let ban = |by: &str, until_unix_s, reason: &Option<String>| ServerBan {
            by: by.into(),
            until_unix_s,
            reason: reason.as_deref().map(Into::into),
        };
        match record {
            Record::NickBan(found) if has_room => {
                let key = comparison_key(&found.nick)?;
                let ban = ban(&found.by, found.until_unix_s, &found.reason);
                self.nicks.insert(key.clone(), NickBan { nick: (*found.nick).into(), ban });
                Some(RecordKey::NickBan(key))
            }
            Record::NetworkBan(found) if has_room => {
                let network = as_ipv6(networks::parse(&found.network).ok()?);
                let ban = ban(&found.by, found.until_unix_s, &found.reason);
                self.networks.insert(network, ban);
                Some(RecordKey::NetworkBan(shown(network).into()))
            }
            Record::Mute(found) if self.mutes.len() < SERVER_MUTES_MAX => {
                let key = comparison_key(&found.nick)?;
                let mute = ServerMute {
                    nick: (*found.nick).into(),
                    by: (*found.by).into(),
                    until_unix_s: found.until_unix_s,
                };
                self.mutes.insert(key.clone(), mute);
                Some(RecordKey::Mute(key))
            }
            Record::Room(_) | Record::NickBan(_) | Record::NetworkBan(_) | Record::Mute(_) => None,
        }
    }
}

impl ServerBan {
    /// What whoever it holds for is told.
    pub(super) fn told(&self) -> String {
        let until = self.until_unix_s.map(|until| format!(" until {}", write::time(until)));
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}"));
        format!("You are banned{}{}", until.unwrap_or_default(), reason.unwrap_or_default())
    }

    const fn sanction(&self) -> write::Sanction<'_> {
        write::Sanction {
            room: None,
            nick: None,
            address: None,
            by: giver(&self.by),
            until_unix_s: self.until_unix_s,
            reason: match &self.reason {
                Some(reason) => Some(reason),
                None => None,
            },
        }
    }
}

/// A network of IPv4 as that of the IPv6 addresses that stand for its own.
fn as_ipv6(network: IpNet) -> Ipv6Net {
    const MAPPED_PREFIX: u8 = 96;
    match network {
        IpNet::V6(network) => network.trunc(),
        IpNet::V4(network) => Ipv6Net::new_assert(
            network.trunc().addr().to_ipv6_mapped(),
            MAPPED_PREFIX + network.prefix_len(),
        ),
    }
}

/// A network as it is shown: one of IPv4 as such.
fn shown(network: Ipv6Net) -> String {
    let shown = match network.addr().to_ipv4_mapped() {
        Some(address) if network.prefix_len() >= 96 => {
            ipnet::Ipv4Net::new_assert(address, network.prefix_len() - 96).into()
        }
        Some(_) | None => IpNet::V6(network),
    };
    networks::show(&shown)
}

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

    /// Whether a session may say something to a client, or in a room that it is in; it is told
    /// when it may not.
    #[cold]
    pub(super) fn may_talk(
        &mut self,
        conn: ConnId,
        room: Option<RoomKey>,
        out: &mut impl Outlet,
    ) -> bool {
        let checked = if self.is_muted(conn) {
            Err(Refused::new(RefusalReason::Rights, "You are muted"))
        } else {
            room.map_or(Ok(()), |key| self.check_right(conn, key, Act::Talk))
        };
        let may = checked.is_ok();
        self.refuse_if(conn, checked, out);
        may
    }

    /// Whether a session may say something in all of its rooms.
    pub(super) fn may_talk_in_all(&mut self, conn: ConnId, out: &mut impl Outlet) -> bool {
        let Some(session) = self.sessions.find(conn) else {
            return false;
        };
        let has_rules =
            |&key: &RoomKey| self.rooms.room(key).is_some_and(|room| room.rules.is_some());
        let guarded: Vec<RoomKey> = session.rooms.iter().copied().filter(has_rules).collect();
        let everywhere = !session.muted || self.may_talk(conn, None, out);
        everywhere && guarded.iter().all(|&key| self.may_talk(conn, Some(key), out))
    }

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
