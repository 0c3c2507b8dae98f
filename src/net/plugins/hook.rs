//! What plugins can ask to be told, and to be asked: a table, of which the names are read and the
//! manual's table is printed.

/// What the manual says of a hook.
#[derive(Debug)]
pub struct Described {
    /// As plugins write it.
    pub name: &'static str,
    /// When plugins hear of it; nothing when it is for the server's own worker alone.
    pub when: &'static str,
    /// What its event has besides the session.
    pub adds: &'static str,
}

/// The enum, all of it and the table, out of one row for each hook.
macro_rules! hooks {
    ($($hook:ident, $name:literal, $when:literal, $adds:literal;)*) => {
        /// A hook, under the old server's name for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::net) enum Hook {
            $(#[doc = $name] $hook,)*
        }

        /// Every hook, in the manual's order.
        pub const HOOKS: &[Described] =
            &[$(Described { name: $name, when: $when, adds: $adds },)*];

        impl Hook {
            const ALL: &[Self] = &[$(Self::$hook,)*];
        }
    };
}

hooks! {
    Startup, "onStartup",
        "it has registered this hook; also when it was started again", "no session";
    Shutdown, "onShutdown", "the server stops; then the plugin's input ends", "no session";
    ClientInit, "onClientInit", "a connection was accepted", "";
    ClientConnect, "onClientConnect", "a client has logged in", "";
    ClientUnauthorized, "onClientUnauthorized",
        "a login was refused by `isAuthorized`", "`nick`: the one asked for";
    ClientBadnick, "onClientBadnick",
        "a nick was refused", "`nick`: the one asked for; `reason`";
    RoomInit, "onRoomInit", "a room was created, by this session", "`room`";
    ClientJoinRoom, "onClientJoinRoom", "a client has joined a room", "`room`";
    Message, "onMessage",
        "a message, or an element of a client's own, was delivered",
        "`room`, `to='N'` or `all='1'`; the element as it was delivered, in the event";
    ClientLeaveRoom, "onClientLeaveRoom",
        "a client has left a room, or is over while in it", "`room`";
    RoomRemove, "onRoomRemove", "a room is gone", "`room`; no session";
    Role, "onRole",
        "a member of a room got a role, or lost it",
        "`room`; `role`: `operator`, `voice` or `none`; `by`: the session that gave it, none where \
         a plugin or the server did";
    Mode, "onMode",
        "modes of a room were set",
        "`room`, `by`; `<mode … />` with all of them, in the event; no session";
    Kick, "onKick",
        "a client was removed, from a room or from the server",
        "`by`; `room`, where it was a room";
    Ban, "onBan",
        "a ban was set or lifted",
        "`whom`: a nick or a network; `by`; `room`, where it is a room's; `lifted='1'`; no session";
    Mute, "onMute",
        "somebody may not talk any more, or again",
        "`whom`: the nick; `by`, `room`, `lifted='1'` as above; no session";
    ClientQuit, "onClientQuit", "a session ends by `<quit />`", "";
    ClientClose, "onClientClose", "a session ends in any other way", "`reason`";
    RemoveClient, "onRemoveClient",
        "a client that had logged in is gone, however; after the other two", "";
    IsAuthorized, "isAuthorized", "it is asked about logins, by `<ask>`", "";
    MayJoin, "mayJoin",
        "it is asked before a client enters a room, by `join` or `addchild`",
        "`room`; `new='1'`, where the room is not there yet; the element, without the room's \
         `password`";
    MayTalk, "mayTalk",
        "it is asked before a client says something: a message, an element of its own, a param",
        "`room`, where it is one; the element";
    IsRoot, "isRoot", "", "";
}

impl Hook {
    /// As plugins write it.
    pub(in crate::net) const fn name(self) -> &'static str {
        HOOKS[self as usize].name
    }

    pub(in crate::net) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|hook| hook.name() == name)
    }

    /// Whether it is asked before something is done, where it is for each plugin to say no.
    pub(in crate::net) const fn is_permission(self) -> bool {
        matches!(self, Self::MayJoin | Self::MayTalk)
    }

    /// What plugins are asked about by it.
    pub(in crate::net) const fn subject(self) -> &'static str {
        if matches!(self, Self::MayJoin) {
            "a join"
        } else if matches!(self, Self::MayTalk) {
            "a message"
        } else {
            "a login"
        }
    }

    /// Whether it is for the server's own worker alone.
    pub(in crate::net) const fn is_the_workers(self) -> bool {
        HOOKS[self as usize].when.is_empty()
    }
}

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::net) struct HookSet(u32);

const _: () = assert!(HOOKS.len() <= u32::BITS as usize, "a bit for each hook");

impl HookSet {
    pub(in crate::net) const fn has(self, hook: Hook) -> bool {
        self.0 & (1 << hook as u32) != 0
    }

    /// Adds a hook; whether it was not in the set.
    pub(in crate::net) const fn add(&mut self, hook: Hook) -> bool {
        let new = !self.has(hook);
        self.0 |= 1 << hook as u32;
        new
    }

    /// Adds the hooks of another set.
    pub(in crate::net) const fn add_all(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
