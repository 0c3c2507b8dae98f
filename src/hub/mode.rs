//! Modes of rooms: who comes in, who talks, who sees them, and whether they stay
//! (manual: protocol, 'Modes').

use std::borrow::Cow;

use super::Hub;
use super::command::Request;
use super::note::Note;
use super::outlet::Outlet;
use super::param::{LOCKED, is_on};
use super::rights::{Act, Standing};
use super::role::Role;
use super::room::RoomKey;
use super::room_rules::{Modes, RoomPassword, is_over};
use super::settings::KeepRight;
use crate::limits::{HISTORY_MESSAGES_MAX, ROOM_PASSWORD_BYTES_MAX};
use crate::nick::comparison_key;
use crate::reason::{RefusalReason, Refused};
use crate::session_id::ConnId;
use crate::wire::stanza::Stanza;
use crate::wire::write::extension as write;

/// The modes, as attributes of `<mode>`.
pub const MODES: [&str; 7] =
    ["locked", "password", "limit", "moderated", "hidden", "keep", "history"];

/// How somebody comes into a room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'a> {
    /// As its members do; with this password, if any.
    Asking(Option<&'a str>),
    /// A plugin has it come in: past everything but a ban.
    Brought,
}

impl Hub {
    /// `<mode room="R" … />`.
    pub(super) fn mode(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let done = self.mode_asked(request, out);
        self.refuse_if(request.conn, done, out);
    }

    fn mode_asked(&mut self, request: &Request<'_>, out: &mut impl Outlet) -> Result<(), Refused> {
        let (conn, stanza, name) = (request.conn, request.stanza, request.attribute(0));
        let others = || stanza.attributes().filter(|attribute| attribute.name != "room");
        if others().next().is_none() {
            let key = self.room_for(conn, name, Act::AskModes)?;
            self.answer_modes(conn, key, out);
            return Ok(());
        }
        let key = self.room_for(conn, name, Act::SetModes)?;
        let modes = self.modes_wanted(key, stanza)?;
        self.check_keep(conn, key, &modes)?;
        if !self.set_modes(key, modes, Some(conn), out)? {
            self.answer_modes(conn, key, out);
        }
        Ok(())
    }

    fn answer_modes(&self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        if let Some(room) = self.rooms.room(key) {
            self.answer(conn, out, |buffer| {
                write::mode(buffer, &room.name, room.modes().attributes());
            });
        }
    }

    /// What the modes of a room are to be by a stanza.
    fn modes_wanted(&self, key: RoomKey, stanza: &Stanza<'_>) -> Result<Modes, Refused> {
        let names = stanza.attributes().map(|attribute| attribute.name);
        let is_mode =
            |name: &&str| *name != "room" && *name != "xmlns" && !name.starts_with("xmlns:");
        let value = |name| (name, stanza.value(name).unwrap_or_default());
        self.modes_with(key, names.filter(is_mode).map(value))
    }

    /// What the modes of a room are to be, where these have other values.
    pub(super) fn modes_with<'v>(
        &self,
        key: RoomKey,
        values: impl Iterator<Item = (&'v str, Cow<'v, str>)>,
    ) -> Result<Modes, Refused> {
        let mut modes = self.rooms.room(key).map(|room| room.modes().clone()).unwrap_or_default();
        for (name, value) in values {
            set_mode(&mut modes, name, &value)
                .map_err(|error| Refused::told(RefusalReason::Incomplete, error))?;
        }
        check_bounds(&modes).map_err(Refused::for_limit)?;
        Ok(modes)
    }

    /// Whether a session may change whether a room is kept, if it wants to.
    fn check_keep(&self, conn: ConnId, key: RoomKey, modes: &Modes) -> Result<(), Refused> {
        let Some(room) = self.rooms.room(key).filter(|room| room.modes().keep != modes.keep) else {
            return Ok(());
        };
        let account = self.sessions.find(conn).is_some_and(|session| session.account);
        let may = self.standing(conn, key) == Standing::Root
            || match self.settings.keep_right {
                KeepRight::Root => false,
                KeepRight::Accounts => account,
                KeepRight::Operators => true,
            };
        if !may {
            return Err(Refused::new(RefusalReason::Rights, "You may not keep rooms"));
        }
        if room.is_declared() {
            let error = format!("Room {} is of the configuration", room.name);
            return Err(Refused::told(RefusalReason::Rights, error));
        }
        Ok(())
    }

    /// Sets the modes of a room; those who understand it are told, and whoever wanted it. Gives
    /// whether any of them is another one now.
    pub(super) fn set_modes(
        &mut self,
        key: RoomKey,
        modes: Modes,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<bool, Refused> {
        let Some(room) = self.rooms.room(key) else {
            return Ok(false);
        };
        if *room.modes() == modes {
            return Ok(false);
        }
        let (locked, hidden) =
            (room.modes().locked != modes.locked, room.modes().hidden != modes.hidden);
        let kept = room.modes().keep;
        if locked {
            // The param can be refused: then nothing has changed.
            let value = if modes.locked { "1" } else { "0" };
            self.put_room_param(key, LOCKED, value)?;
        }
        let keeps = modes.keep;
        self.rooms.set_modes(key, modes);
        if locked {
            let value = if self.is_locked(key) { "1" } else { "0" };
            self.tell_params(key, Some((LOCKED, value)), out);
        }
        self.tell_modes(key, by, out);
        if hidden {
            self.listers_due(key, by, out);
        }
        self.kept_room_changed(key);
        if keeps != kept {
            self.places_changed(key);
        }
        if !keeps {
            self.remove_if_empty(key, by, out);
        }
        Ok(true)
    }

    fn is_locked(&self, key: RoomKey) -> bool {
        self.rooms.room(key).is_some_and(|room| room.modes().locked)
    }

    /// The param `locked` was set or removed by an operator: the mode goes with it.
    pub(super) fn follow_locked_param(
        &mut self,
        key: RoomKey,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        let Some(room) = self.rooms.room_mut(key) else {
            return;
        };
        let locked = room.params.value(LOCKED).is_some_and(is_on);
        if room.modes().locked == locked {
            return;
        }
        room.rules.get_or_insert_default().modes.locked = locked;
        self.tell_modes(key, by, out);
        self.kept_room_changed(key);
    }

    fn tell_modes(&mut self, key: RoomKey, by: Option<ConnId>, out: &mut impl Outlet) {
        let bytes = self.tell_capable(key, by, out, |_, room, buffer| {
            write::mode(buffer, &room.name, room.modes().attributes());
        });
        self.caused_bytes += bytes;
        if let Some(room) = self.rooms.room(key) {
            let modes = room.modes().attributes();
            out.note(Note::ModesSet { room: &room.name, modes, by });
        }
    }

    /// Whether a session may come into a room that is there. A wrong password is a failed login:
    /// where there were too many of them the session is closed.
    ///
    /// # Errors
    /// What the session is to be told.
    pub(super) fn may_enter(
        &mut self,
        conn: ConnId,
        key: RoomKey,
        entry: Entry<'_>,
        out: &mut impl Outlet,
    ) -> Result<bool, Refused> {
        let Some(room) = self.rooms.room(key).filter(|room| room.rules.is_some()) else {
            return Ok(true);
        };
        let guesses = room.modes().password.is_some()
            && matches!(entry, Entry::Asking(Some(given)) if !given.is_empty());
        if guesses && self.may_not_try(conn, out) {
            return Ok(false);
        }
        let error = match self.check_entry(conn, key, entry) {
            Ok(()) => return Ok(true),
            Err(EntryRefused::Told(error)) => error,
            Err(EntryRefused::Guessed) => {
                self.count_failure(conn);
                let name = self.rooms.room(key).map_or("", |room| &room.name);
                format!("Wrong password for room {name}")
            }
        };
        Err(Refused::told(RefusalReason::Rights, error))
    }

    pub(super) fn check_entry(
        &self,
        conn: ConnId,
        key: RoomKey,
        entry: Entry<'_>,
    ) -> Result<(), EntryRefused> {
        let unix_s = self.unix_now_s();
        let (Some(session), Some(room)) = (self.sessions.find(conn), self.rooms.room(key)) else {
            return Ok(());
        };
        let Some(rules) = room.rules.as_deref().filter(|_| !session.root) else {
            return Ok(());
        };
        let own = comparison_key(&session.nick).unwrap_or_default();
        let banned = rules.bans.iter().any(|ban| {
            !is_over(ban.until_unix_s, unix_s)
                && (ban.key == own || ban.household == Some(session.household))
        });
        if banned {
            return Err(EntryRefused::Told(format!("You are banned from room {}", room.name)));
        }
        let Entry::Asking(password) = entry else {
            return Ok(());
        };
        let operates = self.role_to_restore(conn, key) == Some(Role::Operator);
        let invited = rules
            .invitations
            .iter()
            .any(|found| found.key == own && !is_over(Some(found.until_unix_s), unix_s));
        if operates || invited {
            return Ok(());
        }
        let modes = &rules.modes;
        let error = if modes.locked {
            format!("Room {} is locked", room.name)
        } else if modes.password.as_ref().is_some_and(|right| !right.is(password.unwrap_or(""))) {
            if password.is_some_and(|given| !given.is_empty()) {
                return Err(EntryRefused::Guessed);
            }
            format!("Wrong password for room {}", room.name)
        } else if modes.limit > 0 && room.members.len() >= modes.limit as usize {
            format!("Room {} is full (limit {})", room.name, modes.limit)
        } else {
            return Ok(());
        };
        Err(EntryRefused::Told(error))
    }
}

/// Why a session may not come into a room.
pub(super) enum EntryRefused {
    /// For this reason, in words.
    Told(String),
    /// The password that it gave is wrong.
    Guessed,
}

/// Whether a mode can have a value, as the configuration has it.
///
/// # Errors
/// What would be right.
pub fn check_mode(name: &str, value: &str) -> Result<(), String> {
    let mut modes = Modes::default();
    set_mode(&mut modes, name, value)?;
    check_bounds(&modes)
}

fn check_bounds(modes: &Modes) -> Result<(), String> {
    if modes.history > HISTORY_MESSAGES_MAX {
        return Err(format!("History too long (limit {HISTORY_MESSAGES_MAX})"));
    }
    let long = |password: &RoomPassword| password.expose().len() > ROOM_PASSWORD_BYTES_MAX;
    if modes.password.as_ref().is_some_and(long) {
        return Err(format!("Room password too long (limit {ROOM_PASSWORD_BYTES_MAX} bytes)"));
    }
    Ok(())
}

/// Sets one mode as it is written.
///
/// # Errors
/// What its sender is told.
pub(super) fn set_mode(modes: &mut Modes, name: &str, value: &str) -> Result<(), String> {
    let switch = || match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(format!("{name} must be 0 or 1")),
    };
    let number = || value.parse().map_err(|_| format!("{name} must be a number"));
    match name {
        "locked" => modes.locked = switch()?,
        "password" => modes.password = RoomPassword::of(value),
        "limit" => modes.limit = number()?,
        "moderated" => modes.moderated = switch()?,
        "hidden" => modes.hidden = switch()?,
        "keep" => modes.keep = switch()?,
        "history" => modes.history = number()?,
        _ => return Err(format!("Not a mode: {name} ({})", MODES.join(", "))),
    }
    Ok(())
}
