//! What keeps order in a room: its modes, who is banned, muted and invited, and whose role is
//! remembered. Most rooms have none of it.

use core::net::IpAddr;
use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::role::RememberedRole;
use crate::session_id::ConnId;
use crate::wire::write::extension::{ModeAttributes, Sanction};

/// The modes of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Only who is invited, and root, comes in.
    pub locked: bool,
    /// Who joins has to say it.
    pub password: Option<RoomPassword>,
    /// So many members it may have; 0 for no limit.
    pub limit: u32,
    /// Only operators and voices talk.
    pub moderated: bool,
    /// It stands in the lists of its members and root alone.
    pub hidden: bool,
    /// It outlives its members.
    pub keep: bool,
    /// So many messages are kept.
    pub history: u32,
}

/// The password of a room, never empty. It is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomPassword(Zeroizing<Box<str>>);

impl RoomPassword {
    /// A password; an empty text is none.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.into())))
    }

    /// Whether it is this one. It takes the same time whatever the difference is, but for that of
    /// the lengths.
    #[must_use]
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The password, for the store.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The password stays out of it.
impl fmt::Debug for RoomPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomPassword(not shown)")
    }
}

impl Modes {
    /// Those of a room of which nobody has said anything.
    pub(super) const fn none() -> Self {
        Self {
            locked: false,
            password: None,
            limit: 0,
            moderated: false,
            hidden: false,
            keep: false,
            history: 0,
        }
    }

    /// As `<mode>` tells them.
    pub(super) const fn attributes(&self) -> ModeAttributes {
        ModeAttributes {
            locked: self.locked,
            password: self.password.is_some(),
            limit: self.limit,
            moderated: self.moderated,
            hidden: self.hidden,
            keep: self.keep,
            history: self.history,
        }
    }
}

/// Somebody who may not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoomBan {
    /// The comparison key of the nick.
    pub(super) key: Box<str>,
    pub(super) nick: Box<str>,
    /// The household that the banned client had then, if it is one client's at all.
    pub(super) household: Option<IpAddr>,
    pub(super) by: Box<str>,
    pub(super) until_unix_s: Option<u64>,
    pub(super) reason: Option<Box<str>>,
}

/// Somebody who may not talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mute {
    pub(super) key: Box<str>,
    pub(super) nick: Box<str>,
    /// The member of this nick, while it is in.
    pub(super) conn: Option<ConnId>,
    pub(super) by: Box<str>,
    pub(super) until_unix_s: Option<u64>,
}

/// Somebody who may come in once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invitation {
    pub(super) key: Box<str>,
    pub(super) until_unix_s: u64,
}

/// What keeps order in a room.
#[derive(Debug, Default)]
pub(super) struct RoomRules {
    pub(super) modes: Modes,
    pub(super) bans: Vec<RoomBan>,
    pub(super) mutes: Vec<Mute>,
    pub(super) invitations: Vec<Invitation>,
    pub(super) remembered: Vec<RememberedRole>,
    /// The configuration has the room: it can't be removed.
    pub(super) declared: bool,
    /// Comparison keys of those who are operators by the configuration.
    pub(super) operators: Vec<Box<str>>,
}

/// Whether what holds until then is over.
pub(super) fn is_over(until_unix_s: Option<u64>, unix_s: u64) -> bool {
    until_unix_s.is_some_and(|until| until <= unix_s)
}

impl RoomRules {
    /// Whether they say nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.modes == Modes::none()
            && self.bans.is_empty()
            && self.mutes.is_empty()
            && self.invitations.is_empty()
            && self.remembered.is_empty()
            && !self.declared
    }

    /// Forgets what is over.
    pub(super) fn forget_over(&mut self, unix_s: u64) {
        self.bans.retain(|ban| !is_over(ban.until_unix_s, unix_s));
        self.mutes.retain(|mute| !is_over(mute.until_unix_s, unix_s));
        self.invitations.retain(|invitation| !is_over(Some(invitation.until_unix_s), unix_s));
    }
}

/// Who gave a sanction, as it is told; a plugin is not named.
pub(super) const fn giver(by: &str) -> Option<&str> {
    if by.is_empty() { None } else { Some(by) }
}

impl RoomBan {
    pub(super) fn sanction<'a>(&'a self, room: Option<&'a str>) -> Sanction<'a> {
        Sanction {
            room,
            nick: Some(&self.nick),
            address: None,
            by: giver(&self.by),
            until_unix_s: self.until_unix_s,
            reason: self.reason.as_deref(),
        }
    }
}

impl Mute {
    pub(super) fn sanction<'a>(&'a self, room: Option<&'a str>) -> Sanction<'a> {
        Sanction {
            room,
            nick: Some(&self.nick),
            by: giver(&self.by),
            until_unix_s: self.until_unix_s,
            ..Sanction::default()
        }
    }
}
