//! Keeping order in a room: who is removed, banned, muted, invited
//! (manual: protocol, 'Keeping order in a room').

use super::Hub;
use super::command::Request;
use super::note::Note;
use super::outlet::Outlet;
use super::rights::Act;
use super::room::{Room, RoomKey};
use super::room_rules::{Invitation, Mute, RoomBan, RoomRules, is_over};
use crate::limits::{
    INVITATION_TIME_S, REASON_BYTES_MAX, ROOM_BANS_MAX, ROOM_INVITATIONS_MAX, ROOM_MUTES_MAX,
    SANCTION_TIME_S_MAX,
};
use crate::nick::comparison_key;
use crate::reason::{CloseReason, RefusalReason, Refused};
use crate::session_id::ConnId;
use crate::wire::stanza::Stanza;
use crate::wire::write::{self as answers, extension as write};

/// Whom a sanction is to hold for, until when and why.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The comparison key of the nick.
    pub(super) key: Box<str>,
    /// As the client has it, or as it was written.
    pub(super) nick: Box<str>,
    /// The client of this nick, if there is one.
    pub(super) conn: Option<ConnId>,
    pub(super) until_unix_s: Option<u64>,
    pub(super) reason: Option<Box<str>>,
}

/// What a sanction is given besides a nick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms<'a> {
    /// Seconds; none where it holds until it is lifted.
    pub time_s: Option<u64>,
    /// Why; a text that is shown to whoever it holds for.
    pub reason: Option<&'a str>,
}

/// What whoever wants a sanction for no time is told.
const NO_TIME: &str = "time must be a number of seconds";

impl Hub {
    /// `<kick room="R" nick="N" [reason="…"] />`.
    pub(super) fn kick_from_room(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let by = request.conn;
        let done = self.terms_of(request.stanza).and_then(|owned| {
            let key = self.room_for(by, request.attribute(0), Act::Kick)?;
            self.kick_member(key, request.attribute(1), owned.terms(), Some(by), out)
        });
        self.refuse_if(by, done, out);
    }

    /// Removes a member from a room.
    pub(super) fn kick_member(
        &mut self,
        key: RoomKey,
        nick: &str,
        terms: Terms<'_>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let reason = self.check_reason(terms.reason)?;
        let conn = self.member_of_nick(key, nick)?;
        self.check_no_root(conn)?;
        if let (Some(by), Some(room), Some(session)) =
            (by, self.rooms.room(key), self.sessions.find(conn))
        {
            self.answer(by, out, |buffer| write::kicked(buffer, &room.name, &session.nick));
        }
        self.remove_member(conn, key, reason, by, out);
        Ok(())
    }

    /// Takes a member out of a room and tells it so: as it understands it, and why.
    fn remove_member(
        &mut self,
        conn: ConnId,
        key: RoomKey,
        reason: Option<&str>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        let (Some(room), Some(session)) = (self.rooms.room(key), self.sessions.find(conn)) else {
            return;
        };
        let (name, capable) = (room.name.clone(), session.caps.rooms);
        let nick = session.nick.clone();
        self.send_due_before(conn, out);
        self.depart(conn, key, out);
        self.send_due_to(conn, out);
        let giver = self.nick_of(by).map(ToOwned::to_owned);
        if capable {
            self.answer(conn, out, |buffer| {
                write::removed(buffer, &name, giver.as_deref(), reason);
            });
        } else {
            self.answer(conn, out, |buffer| answers::left(buffer, &name, false));
            let error = match reason {
                Some(reason) => format!("You were removed from room {name}: {reason}"),
                None => format!("You were removed from room {name}"),
            };
            let code = CloseReason::Kicked.label();
            self.answer(conn, out, |buffer| self.write_error(buffer, conn, code, &error));
        }
        out.note(Note::RemovedFromRoom { room: &name, conn, nick: &nick, by });
    }

    /// Bans a nick from a room, and the address that its client has; whoever is in is removed.
    pub(super) fn ban_from_room(
        &mut self,
        key: RoomKey,
        nick: &str,
        terms: Terms<'_>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let wanted = self.wanted(nick, terms)?;
        if let Some(conn) = wanted.conn {
            self.check_no_root(conn)?;
        }
        let household = wanted.conn.and_then(|conn| self.household_to_ban(conn));
        let (unix_s, giver) = (self.unix_now_s(), self.giver(by));
        let rules = self.rules_of(key, unix_s);
        if rules.bans.iter().filter(|ban| ban.key != wanted.key).count() >= ROOM_BANS_MAX {
            return Err(Refused::for_limit(format!("Too many bans (limit {ROOM_BANS_MAX})")));
        }
        rules.bans.retain(|ban| ban.key != wanted.key);
        rules.invitations.retain(|invitation| invitation.key != wanted.key);
        let ban = RoomBan {
            key: wanted.key,
            nick: wanted.nick,
            household,
            by: giver,
            until_unix_s: wanted.until_unix_s,
            reason: wanted.reason,
        };
        rules.bans.push(ban.clone());
        self.kept_room_changed(key);
        self.answer_sanction(key, "ban", by, out, |room| ban.sanction(Some(room)));
        if let Some(room) = self.rooms.room(key) {
            out.note(Note::Banned { room: Some(&room.name), whom: &ban.nick, by });
        }
        let serial = self.rooms.room(key).map(|room| room.serial);
        if let Some(conn) = wanted.conn.filter(|&conn| self.is_in(conn, key)) {
            self.remove_member(conn, key, ban.reason.as_deref(), by, out);
        }
        // Whoever is banned has no role any more; what the configuration gives is to be changed
        // there. The room may have gone with its last member.
        let room = self.rooms.room_mut(key).filter(|room| Some(room.serial) == serial);
        if let Some(rules) = room.and_then(|room| room.rules.as_mut()) {
            rules.remembered.retain(|remembered| remembered.key != ban.key);
        }
        Ok(())
    }

    /// Lifts a ban of a room.
    pub(super) fn unban_in_room(
        &mut self,
        key: RoomKey,
        nick: &str,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let own = self.key_of(nick)?;
        let unix_s = self.unix_now_s();
        let rules = self.rules_of(key, unix_s);
        let place = rules.bans.iter().position(|ban| ban.key == own);
        let ban = place.map(|place| rules.bans.remove(place));
        self.drop_empty_rules(key);
        let Some(ban) = ban else {
            let error = format!("{nick} is not banned");
            return Err(Refused::told(RefusalReason::UnknownTarget, error));
        };
        self.kept_room_changed(key);
        let by_nick = self.nick_of(by);
        self.answer_sanction(key, "unban", by, out, |room| write::Sanction {
            room: Some(room),
            nick: Some(&ban.nick),
            by: by_nick,
            ..write::Sanction::default()
        });
        if let Some(room) = self.rooms.room(key) {
            out.note(Note::Unbanned { room: Some(&room.name), whom: &ban.nick, by });
        }
        Ok(())
    }

    /// The bans of a room, to whoever asks.
    pub(super) fn tell_room_bans(&mut self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        let unix_s = self.unix_now_s();
        let Some(room) = self.rooms.room(key) else {
            return;
        };
        let bans = || {
            let bans = room.rules.as_ref().map_or(&[][..], |rules| &rules.bans);
            bans.iter().filter(|ban| !is_over(ban.until_unix_s, unix_s))
        };
        let bytes = self.answer_bounded(conn, 0, out, |buffer, _, fits| {
            write::bans_begin(buffer, Some(&room.name), bans().count());
            for ban in bans() {
                write::sanction(buffer, "ban", ban.sanction(None));
                if !fits(buffer) {
                    return;
                }
            }
            write::bans_end(buffer);
        });
        self.charge_asked(conn, bytes);
    }

    /// `<mute …/>` in a room.
    pub(super) fn mute_in_room(
        &mut self,
        key: RoomKey,
        nick: &str,
        terms: Terms<'_>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let wanted = self.wanted(nick, terms)?;
        if let Some(conn) = wanted.conn {
            self.check_no_root(conn)?;
        }
        let inside = wanted.conn.filter(|&conn| self.is_in(conn, key));
        let (unix_s, giver) = (self.unix_now_s(), self.giver(by));
        let rules = self.rules_of(key, unix_s);
        rules.mutes.retain(|mute| mute.key != wanted.key);
        if rules.mutes.len() >= ROOM_MUTES_MAX {
            return Err(Refused::for_limit(format!("Too many mutes (limit {ROOM_MUTES_MAX})")));
        }
        let mute = Mute {
            key: wanted.key,
            nick: wanted.nick,
            conn: inside,
            by: giver,
            until_unix_s: wanted.until_unix_s,
        };
        rules.mutes.push(mute.clone());
        self.kept_room_changed(key);
        self.tell_mute(key, "mute", &mute, inside, by, out);
        if let Some(room) = self.rooms.room(key) {
            out.note(Note::Muted { room: Some(&room.name), nick: &mute.nick, by });
        }
        Ok(())
    }

    /// `<unmute …/>` in a room.
    pub(super) fn unmute_in_room(
        &mut self,
        key: RoomKey,
        nick: &str,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let own = self.key_of(nick)?;
        let unix_s = self.unix_now_s();
        let rules = self.rules_of(key, unix_s);
        let place = rules.mutes.iter().position(|mute| mute.key == own);
        let mute = place.map(|place| rules.mutes.remove(place));
        self.drop_empty_rules(key);
        let Some(mute) = mute else {
            let error = format!("{nick} is not muted");
            return Err(Refused::told(RefusalReason::UnknownTarget, error));
        };
        self.kept_room_changed(key);
        let lifted = Mute { until_unix_s: None, by: self.giver(by), ..mute };
        self.tell_mute(key, "unmute", &lifted, lifted.conn, by, out);
        if let Some(room) = self.rooms.room(key) {
            out.note(Note::Unmuted { room: Some(&room.name), nick: &lifted.nick, by });
        }
        Ok(())
    }

    /// Tells whoever muted somebody, and the one who is muted when it understands that.
    fn tell_mute(
        &self,
        key: RoomKey,
        name: &str,
        mute: &Mute,
        whom: Option<ConnId>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        self.answer_sanction(key, name, by, out, |room| mute.sanction(Some(room)));
        let capable = |conn: &ConnId| self.sessions.find(*conn).is_some_and(|it| it.caps.rooms);
        if let Some(conn) = whom.filter(capable).filter(|conn| by != Some(*conn)) {
            self.answer_sanction(key, name, Some(conn), out, |room| mute.sanction(Some(room)));
        }
    }

    /// `<invite room="R" nick="N" />`.
    pub(super) fn invite(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let by = request.conn;
        let done = self
            .room_for(by, request.attribute(0), Act::Invite)
            .and_then(|key| self.invite_to_room(key, request.attribute(1), Some(by), out));
        self.refuse_if(by, done, out);
    }

    /// Lets a client in once within some minutes, past lock, password and limit.
    pub(super) fn invite_to_room(
        &mut self,
        key: RoomKey,
        nick: &str,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let session = self.client_of_nick(nick)?;
        let (conn, told, nick) = (session.conn, session.caps.rooms, session.nick.clone());
        if self.is_in(conn, key) {
            let error = format!("{nick} is in this room");
            return Err(Refused::told(RefusalReason::WrongState, error));
        }
        let own = self.key_of(&nick)?;
        let unix_s = self.unix_now_s();
        let rules = self.rules_of(key, unix_s);
        rules.invitations.retain(|invitation| invitation.key != own);
        if rules.invitations.len() >= ROOM_INVITATIONS_MAX {
            let error = format!("Too many invitations (limit {ROOM_INVITATIONS_MAX})");
            return Err(Refused::for_limit(error));
        }
        let until_unix_s = unix_s + INVITATION_TIME_S;
        rules.invitations.push(Invitation { key: own, until_unix_s });
        if told {
            self.send_due_before(conn, out);
        }
        let Some(room) = self.rooms.room(key) else {
            return Ok(());
        };
        let giver = self.nick_of(by);
        if told {
            self.answer(conn, out, |buffer| write::invited(buffer, &room.name, giver));
        }
        if let Some(by) = by {
            self.answer(by, out, |buffer| write::invitation(buffer, &room.name, &nick, told));
        }
        out.note(Note::Invited { room: &room.name, nick: &nick, by });
        Ok(())
    }

    /// A session has come in: its invitation is used up, and a mute of its nick holds for it.
    pub(super) fn settle_in(&mut self, conn: ConnId, key: RoomKey) {
        let Some(session) = self.sessions.find(conn) else {
            return;
        };
        let Some(rules) = self.rooms.room_mut(key).and_then(|room| room.rules.as_deref_mut())
        else {
            return;
        };
        if rules.invitations.is_empty() && rules.mutes.is_empty() {
            return;
        }
        let own = comparison_key(&session.nick).unwrap_or_default();
        rules.invitations.retain(|invitation| invitation.key != own);
        for mute in rules.mutes.iter_mut().filter(|mute| mute.key == own) {
            mute.conn = Some(conn);
        }
        self.drop_empty_rules(key);
    }

    /// Whether a session is muted in a room, or everywhere.
    pub(super) fn is_muted_in(&self, conn: ConnId, room: &Room) -> bool {
        let unix_s = self.unix_now_s();
        room.rules.as_ref().is_some_and(|rules| {
            rules
                .mutes
                .iter()
                .any(|mute| mute.conn == Some(conn) && !is_over(mute.until_unix_s, unix_s))
        })
    }

    // What these have in common.

    fn answer_sanction<'a>(
        &'a self,
        key: RoomKey,
        name: &str,
        to: Option<ConnId>,
        out: &mut impl Outlet,
        sanction: impl FnOnce(&'a str) -> write::Sanction<'a>,
    ) {
        if let (Some(to), Some(room)) = (to, self.rooms.room(key)) {
            self.answer(to, out, |buffer| {
                write::sanction(buffer, name, sanction(&room.name));
            });
        }
    }

    /// The rules of a room, begun if need be, without what is over.
    pub(super) fn rules_of(&mut self, key: RoomKey, unix_s: u64) -> &mut RoomRules {
        let rules = self.rooms.rules_mut(key);
        rules.forget_over(unix_s);
        rules
    }

    /// Rules that say nothing any more go.
    pub(super) fn drop_empty_rules(&mut self, key: RoomKey) {
        if let Some(room) = self.rooms.room_mut(key)
            && room.rules.as_ref().is_some_and(|rules| rules.is_empty())
        {
            room.rules = None;
        }
    }

    /// The member of a room that has this nick.
    pub(super) fn member_of_nick(&self, key: RoomKey, nick: &str) -> Result<ConnId, Refused> {
        let session = self.client_of_nick(nick)?;
        if session.rooms.contains(&key) {
            return Ok(session.conn);
        }
        let error = format!("{nick} is not in this room");
        Err(Refused::told(RefusalReason::UnknownTarget, error))
    }

    /// The client that has this nick.
    fn client_of_nick(&self, nick: &str) -> Result<&super::Session, Refused> {
        self.sessions.find_nick(nick).ok_or_else(|| {
            let error = format!("No user connected with nickname: {nick}");
            Refused::told(RefusalReason::UnknownTarget, error)
        })
    }

    pub(super) fn check_no_root(&self, conn: ConnId) -> Result<(), Refused> {
        match self.sessions.find(conn) {
            Some(session) if session.root => {
                let error = format!("{} is root", session.nick);
                Err(Refused::told(RefusalReason::Rights, error))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The comparison key of a nick that somebody could have.
    pub(super) fn key_of(&self, nick: &str) -> Result<Box<str>, Refused> {
        let max = self.settings.limits.nick_bytes_max;
        if nick.len() > max && self.sessions.find_nick(nick).is_none() {
            return Err(Refused::for_limit(format!("Nick too long (limit {max} bytes)")));
        }
        comparison_key(nick).ok_or_else(|| {
            Refused::told(RefusalReason::BadName, "Nobody can have this nick".to_owned())
        })
    }

    /// Whom a sanction is to hold for.
    pub(super) fn wanted(&self, nick: &str, terms: Terms<'_>) -> Result<Wanted, Refused> {
        let key = self.key_of(nick)?;
        let session = self.sessions.find_nick(nick);
        let reason = self.check_reason(terms.reason)?.map(Into::into);
        Ok(Wanted {
            key,
            nick: session.map_or(nick, |session| &session.nick).into(),
            conn: session.map(|session| session.conn),
            until_unix_s: self.until(terms)?,
            reason,
        })
    }

    pub(super) fn until(&self, terms: Terms<'_>) -> Result<Option<u64>, Refused> {
        match terms.time_s {
            None => Ok(None),
            Some(0) => Err(Refused::new(RefusalReason::Incomplete, NO_TIME)),
            Some(time_s) if time_s <= SANCTION_TIME_S_MAX => {
                // Rounded up: what holds for a second does not end at once.
                Ok(Some(self.unix_now_us().div_ceil(1_000_000) + time_s))
            }
            Some(_) => {
                let max = SANCTION_TIME_S_MAX;
                Err(Refused::for_limit(format!("Time too long (limit {max} s)")))
            }
        }
    }

    pub(super) fn check_reason<'a>(
        &self,
        reason: Option<&'a str>,
    ) -> Result<Option<&'a str>, Refused> {
        let reason = reason.filter(|reason| !reason.is_empty());
        if reason.is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
            let max = REASON_BYTES_MAX;
            return Err(Refused::for_limit(format!("Reason too long (limit {max} bytes)")));
        }
        Ok(reason)
    }

    /// What `time` and `reason` of a stanza say.
    pub(super) fn terms_of(&self, stanza: &Stanza<'_>) -> Result<OwnedTerms, Refused> {
        let time_s = match stanza.value("time") {
            None => None,
            Some(value) => match value.parse() {
                Ok(0) | Err(_) => {
                    return Err(Refused::new(RefusalReason::Incomplete, NO_TIME));
                }
                Ok(time_s) => Some(time_s),
            },
        };
        let reason = stanza.value("reason").map(|value| value.into_owned().into_boxed_str());
        Ok(OwnedTerms { time_s, reason })
    }

    /// Who gave a sanction, as it is kept and told.
    pub(super) fn giver(&self, by: Option<ConnId>) -> Box<str> {
        self.nick_of(by).unwrap_or_default().into()
    }

    /// The nick of whoever did something; a plugin has none.
    pub(super) fn nick_of(&self, conn: Option<ConnId>) -> Option<&str> {
        conn.and_then(|conn| self.sessions.find(conn)).map(|session| &*session.nick)
    }
}

/// [`Terms`] that were read out of a stanza.
#[derive(Debug)]
pub(super) struct OwnedTerms {
    time_s: Option<u64>,
    reason: Option<Box<str>>,
}

impl OwnedTerms {
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms { time_s: self.time_s, reason: self.reason.as_deref() }
    }
}
