//! Roles: who keeps order in a room (manual: protocol, 'Roles').
//!
//! The member who creates a room is its operator; operators and root give and take roles. Where the
//! last operator leaves, the member who has been there longest follows, if `[rooms] succession`
//! says so. A role of a nick that was proven by a password is remembered while the room exists.

use smallvec::SmallVec;

use super::Hub;
use super::command::Request;
use super::note::Note;
use super::outlet::Outlet;
use super::rights::{Act, Standing};
use super::room::{Room, RoomKey};
use super::settings::Succession;
use crate::limits::{REMEMBERED_ROLES_MAX, ROLES_MAX};
use crate::nick::comparison_key;
use crate::reason::{RefusalReason, Refused};
use crate::session_id::ConnId;
use crate::wire::write::extension as write;

/// What a member of a room is besides a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It keeps order in the room.
    Operator,
    /// It may talk while the room is moderated.
    Voice,
}

/// What `<role>` calls to have no role.
const NONE: &str = "none";

impl Role {
    /// Its name in a stanza.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Voice => "voice",
        }
    }

    /// The role of this name, if it is one.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Operator, Self::Voice].into_iter().find(|role| role.label() == name)
    }
}

/// The members of a room that have a role, in the order in which they got it.
#[derive(Debug, Default)]
pub(super) struct Roles(SmallVec<[(ConnId, Role); 1]>);

impl Roles {
    pub(super) fn get(&self, conn: ConnId) -> Option<Role> {
        self.0.iter().find(|(member, _)| *member == conn).map(|&(_, role)| role)
    }

    pub(super) fn is_operator(&self, conn: ConnId) -> bool {
        self.get(conn) == Some(Role::Operator)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, Role)> {
        self.0.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has_operator(&self) -> bool {
        self.0.iter().any(|(_, role)| *role == Role::Operator)
    }

    /// Gives a member a role, or takes the one that it has.
    pub(super) fn set(&mut self, conn: ConnId, role: Option<Role>) {
        let place = self.0.iter().position(|(member, _)| *member == conn);
        match (place, role) {
            (Some(place), Some(role)) => self.0[place].1 = role,
            (Some(place), None) => _ = self.0.remove(place),
            (None, Some(role)) => self.0.push((conn, role)),
            (None, None) => {}
        }
    }
}

/// A role that a nick has again when it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RememberedRole {
    /// The comparison key of the nick.
    pub(super) key: Box<str>,
    pub(super) nick: Box<str>,
    pub(super) role: Role,
}

impl Hub {
    /// `<role room="R" nick="N" role="operator|voice|none" />`.
    pub(super) fn give_role(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let given = self.role_given(request, out);
        self.refuse_if(request.conn, given, out);
    }

    fn role_given(&mut self, request: &Request<'_>, out: &mut impl Outlet) -> Result<(), Refused> {
        let (by, name) = (request.conn, request.attribute(2));
        let role = Role::of(name);
        if role.is_none() && name != NONE {
            let error = format!("Not a role: {name} (operator, voice or none)");
            return Err(Refused::told(RefusalReason::Incomplete, error));
        }
        let key = self.room_for(by, request.attribute(0), Act::GiveRoles)?;
        self.set_role(key, request.attribute(1), role, Some(by), out)
    }

    /// Gives a member of this nick a role, or takes the one that it has; those who understand it
    /// are told, and whoever wanted it is answered.
    pub(super) fn set_role(
        &mut self,
        key: RoomKey,
        nick: &str,
        role: Option<Role>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let conn = self.member_of_nick(key, nick)?;
        let Some(room) = self.rooms.room_mut(key) else {
            return Ok(());
        };
        let before = room.roles.get(conn);
        if before.is_none() && role.is_some() && room.roles.len() >= ROLES_MAX {
            return Err(Refused::for_limit(format!("Too many roles (limit {ROLES_MAX})")));
        }
        room.roles.set(conn, role);
        if role.is_none()
            && let Some(session) = self.sessions.find(conn)
        {
            let found = comparison_key(&session.nick);
            if let (Some(found), Some(rules)) = (found, room.rules.as_mut()) {
                rules.remembered.retain(|remembered| remembered.key != found);
            }
        }
        if before == role {
            self.answer_role(key, conn, role, by, out);
        } else {
            self.kept_room_changed(key);
            self.tell_role(key, conn, role, by, out);
        }
        Ok(())
    }

    fn answer_role(
        &self,
        key: RoomKey,
        conn: ConnId,
        role: Option<Role>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        if let (Some(by), Some(room), Some(session)) =
            (by, self.rooms.room(key), self.sessions.find(conn))
        {
            let role = role.map_or(NONE, Role::label);
            let giver = self.nick_of(Some(by));
            self.answer(by, out, |buffer| {
                write::role(buffer, &room.name, &session.nick, role, giver);
            });
        }
    }

    /// Tells the members who understand it of a role that was given or taken, and whoever did it.
    fn tell_role(
        &mut self,
        key: RoomKey,
        conn: ConnId,
        role: Option<Role>,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        let label = role.map_or(NONE, Role::label);
        let bytes = self.tell_capable(key, by, out, |hub, room, buffer| {
            let nick = hub.nick_of(Some(conn)).unwrap_or_default();
            write::role(buffer, &room.name, nick, label, hub.nick_of(by));
        });
        self.caused_bytes += bytes;
        if let (Some(room), Some(session)) = (self.rooms.room(key), self.sessions.find(conn)) {
            let (room, nick) = (&room.name, &session.nick);
            out.note(Note::RoleGiven { room, conn, nick, role: label, by });
        }
    }

    /// Tells members who have just come in, and understand it, who has a role.
    pub(super) fn tell_roles(&mut self, key: RoomKey, joiners: &[ConnId], out: &mut impl Outlet) {
        let capable =
            |conn: &&ConnId| self.sessions.find(**conn).is_some_and(|found| found.caps.rooms);
        let to: Vec<ConnId> = joiners.iter().filter(capable).copied().collect();
        let Some(room) = self.rooms.room(key).filter(|_| !to.is_empty()) else {
            return;
        };
        let message = out.encode_for_room(key, |buffer| {
            write::roles_begin(buffer, &room.name);
            for (conn, role) in room.roles.iter() {
                if let Some(session) = self.sessions.find(conn) {
                    write::roles_client(buffer, &session.nick, role.label());
                }
            }
            write::roles_end(buffer);
        });
        out.push_some(&to, message);
        for conn in to {
            self.charge_asked(conn, message.bytes());
        }
    }

    /// A member who has just come in has the role that is remembered for it, or that the
    /// configuration gives it.
    pub(super) fn restore_role(&mut self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        let Some(role) = self.role_to_restore(conn, key) else {
            return;
        };
        if let Some(room) = self.rooms.room_mut(key)
            && (room.roles.len() < ROLES_MAX || room.roles.get(conn).is_some())
            && room.roles.get(conn) != Some(role)
        {
            room.roles.set(conn, Some(role));
            self.kept_room_changed(key);
            self.tell_role(key, conn, Some(role), None, out);
        }
    }

    /// The role that a session has in a room as soon as it is in.
    pub(super) fn role_to_restore(&self, conn: ConnId, key: RoomKey) -> Option<Role> {
        let session = self.sessions.find(conn).filter(|session| session.account)?;
        let rules = self.rooms.room(key)?.rules.as_deref()?;
        if rules.remembered.is_empty() && rules.operators.is_empty() {
            return None;
        }
        let own = comparison_key(&session.nick)?;
        if rules.operators.contains(&own) {
            return Some(Role::Operator);
        }
        rules.remembered.iter().find(|remembered| remembered.key == own).map(|found| found.role)
    }

    /// A member leaves: its role is remembered where its nick was proven, and where it was the last
    /// operator somebody follows.
    pub(super) fn give_up_role(&mut self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        let Some(room) = self.rooms.room_mut(key) else {
            return;
        };
        let Some(role) = room.roles.get(conn) else {
            return;
        };
        room.roles.set(conn, None);
        if let Some(session) = self.sessions.find(conn).filter(|session| session.account)
            && let Some(own) = comparison_key(&session.nick)
        {
            remember(room, own, &session.nick, role);
        }
        if role == Role::Operator
            && !room.roles.has_operator()
            && self.settings.succession == Succession::Oldest
            && let Some(heir) = heir(room)
        {
            room.roles.set(heir, Some(Role::Operator));
            self.tell_role(key, heir, Some(Role::Operator), None, out);
        }
        self.kept_room_changed(key);
    }

    /// The standing of a session in a room.
    pub(super) fn standing(&self, conn: ConnId, key: RoomKey) -> Standing {
        let Some(session) = self.sessions.find(conn) else {
            return Standing::Outside;
        };
        let inside = session.rooms.contains(&key);
        let role = self.rooms.room(key).filter(|_| inside).and_then(|room| room.roles.get(conn));
        match role {
            _ if session.root => Standing::Root,
            Some(Role::Operator) => Standing::Operator,
            Some(Role::Voice) => Standing::Voice,
            None if inside => Standing::Member,
            None => Standing::Outside,
        }
    }
}

fn remember(room: &mut Room, key: Box<str>, nick: &str, role: Role) {
    let remembered = &mut room.rules.get_or_insert_default().remembered;
    remembered.retain(|other| other.key != key);
    if remembered.len() >= REMEMBERED_ROLES_MAX {
        remembered.remove(0);
    }
    remembered.push(RememberedRole { key, nick: nick.into(), role });
}

/// Who has been in a room longest, but for those who are muted there.
fn heir(room: &Room) -> Option<ConnId> {
    let muted = |conn: ConnId| {
        let mutes = room.rules.as_ref().map_or(&[][..], |rules| &rules.mutes);
        mutes.iter().any(|mute| mute.conn == Some(conn))
    };
    room.members.iter().copied().find(|&conn| !muted(conn)).or(room.members.first().copied())
}
