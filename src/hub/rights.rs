//! Rights in a room: who may do what. This table is all that says so; the manual prints it
//! (manual: protocol, 'Rights').

use super::Hub;
use super::outlet::Outlet;
use super::room::{Room, RoomKey};
use crate::reason::{RefusalReason, Refused};
use crate::session_id::ConnId;

/// What there is to be done in a room, for which not everybody has the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Messages, elements of one's own, one's own params.
    Talk,
    /// `setparam`, `removeparam`.
    SetParams,
    /// The same of `openParams` and `locked`.
    SetSwitches,
    /// `mode` without a mode.
    AskModes,
    /// `mode`.
    SetModes,
    /// `role`.
    GiveRoles,
    /// `kick`.
    Kick,
    /// `ban`, `unban`, `getbans`.
    Ban,
    /// `mute`, `unmute`.
    Mute,
    /// `invite`.
    Invite,
}

/// What a session is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is root, inside or not.
    Root,
    /// A member that is an operator.
    Operator,
    /// A member that has a voice.
    Voice,
    /// Any other member.
    Member,
    /// It is not in the room.
    Outside,
}

/// Whether an act is somebody's to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Always.
    Yes,
    /// Never.
    No,
    /// While the room's param `openParams` says so.
    WhileOpen,
    /// While the room is not moderated.
    UnlessModerated,
    /// While the params are open and the room is not moderated.
    WhileOpenUnlessModerated,
}

/// A row of the table of rights.
#[derive(Debug)]
pub struct Right {
    /// What is to be done.
    pub act: Act,
    /// The same in words.
    pub meaning: &'static str,
    /// Whether root may, by [`Standing`] and so forth.
    pub root: Allowed,
    /// Operators.
    pub operator: Allowed,
    /// Those who have a voice.
    pub voice: Allowed,
    /// Other members.
    pub member: Allowed,
    /// Members who are muted, whatever else they are; those of the other columns are not.
    pub muted: Allowed,
}

/// All rights in rooms. Nobody outside has any but root.
pub static RIGHTS: &[Right] = {
    use Allowed::{No, UnlessModerated, WhileOpen, WhileOpenUnlessModerated, Yes};
    const fn of_operators(act: Act, meaning: &'static str) -> Right {
        Right { act, meaning, root: Yes, operator: Yes, voice: No, member: No, muted: Yes }
    }
    &[
        Right {
            act: Act::Talk,
            meaning: "talk: messages, elements of one's own, `clientparam`",
            root: Yes,
            operator: Yes,
            voice: Yes,
            member: UnlessModerated,
            muted: No,
        },
        Right {
            act: Act::SetParams,
            meaning: "`setparam`, `removeparam`",
            root: Yes,
            operator: Yes,
            voice: WhileOpen,
            member: WhileOpenUnlessModerated,
            muted: No,
        },
        of_operators(Act::SetSwitches, "the same of `openParams` and `locked`"),
        Right {
            act: Act::AskModes,
            meaning: "`mode` without a mode",
            root: Yes,
            operator: Yes,
            voice: Yes,
            member: Yes,
            muted: Yes,
        },
        of_operators(Act::SetModes, "`mode`"),
        of_operators(Act::GiveRoles, "`role`"),
        of_operators(Act::Kick, "`kick`"),
        of_operators(Act::Ban, "`ban`, `unban`, `getbans`"),
        of_operators(Act::Mute, "`mute`, `unmute`"),
        of_operators(Act::Invite, "`invite`"),
    ]
};

impl Allowed {
    fn is(self, room: &Room) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
            Self::WhileOpen => room.open_params(),
            Self::UnlessModerated => !room.is_moderated(),
            Self::WhileOpenUnlessModerated => room.open_params() && !room.is_moderated(),
        }
    }

    /// What stands in the manual's table.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::WhileOpen => "while `openParams` is on",
            Self::UnlessModerated => "unless moderated",
            Self::WhileOpenUnlessModerated => "while `openParams` is on, unless moderated",
        }
    }
}

impl Hub {
    /// The room of this name, if the session may do this in it.
    ///
    /// # Errors
    /// What the session is to be told.
    pub(super) fn room_for(&self, conn: ConnId, name: &str, act: Act) -> Result<RoomKey, Refused> {
        let root = self.sessions.find(conn).is_some_and(|session| session.root);
        let key = if root { self.rooms.find(name) } else { self.own_room(conn, name) };
        let unknown = || Refused::new(RefusalReason::UnknownTarget, "No room by that name");
        let key = key.ok_or_else(unknown)?;
        self.check_right(conn, key, act)?;
        Ok(key)
    }

    /// Whether a session may do this in a room.
    ///
    /// # Errors
    /// What the session is to be told.
    pub(super) fn check_right(&self, conn: ConnId, key: RoomKey, act: Act) -> Result<(), Refused> {
        let (Some(room), Some(right)) =
            (self.rooms.room(key), RIGHTS.iter().find(|right| right.act == act))
        else {
            return Ok(());
        };
        let standing = self.standing(conn, key);
        let allowed = match standing {
            Standing::Root => right.root,
            Standing::Operator => right.operator,
            Standing::Voice => right.voice,
            Standing::Member => right.member,
            Standing::Outside => Allowed::No,
        };
        if standing != Standing::Root && !right.muted.is(room) && self.is_muted_in(conn, room) {
            let error = format!("You are muted in room {}", room.name);
            return Err(Refused::told(RefusalReason::Rights, error));
        }
        if allowed.is(room) {
            return Ok(());
        }
        if room.is_moderated()
            && matches!(allowed, Allowed::UnlessModerated | Allowed::WhileOpenUnlessModerated)
            && (act == Act::Talk || room.open_params())
        {
            let error = format!("Room {} is moderated", room.name);
            return Err(Refused::told(RefusalReason::Rights, error));
        }
        Err(Refused::new(RefusalReason::Rights, "You must be an operator of this room"))
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
}
