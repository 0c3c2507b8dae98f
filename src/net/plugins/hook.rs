//! What plugins can ask to be told, and to be asked.

/// A hook, under the old server's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Hook {
    Startup,
    Shutdown,
    ClientInit,
    ClientConnect,
    ClientUnauthorized,
    ClientBadnick,
    ClientJoinRoom,
    ClientLeaveRoom,
    ClientQuit,
    ClientClose,
    RemoveClient,
    RoomInit,
    RoomRemove,
    Message,
    IsAuthorized,
    IsRoot,
}

impl Hook {
    pub(in crate::net) const ALL: [Self; 16] = [
        Self::Startup,
        Self::Shutdown,
        Self::ClientInit,
        Self::ClientConnect,
        Self::ClientUnauthorized,
        Self::ClientBadnick,
        Self::ClientJoinRoom,
        Self::ClientLeaveRoom,
        Self::ClientQuit,
        Self::ClientClose,
        Self::RemoveClient,
        Self::RoomInit,
        Self::RoomRemove,
        Self::Message,
        Self::IsAuthorized,
        Self::IsRoot,
    ];

    /// As plugins write it.
    pub(in crate::net) const fn name(self) -> &'static str {
        match self {
            Self::Startup => "onStartup",
            Self::Shutdown => "onShutdown",
            Self::ClientInit => "onClientInit",
            Self::ClientConnect => "onClientConnect",
            Self::ClientUnauthorized => "onClientUnauthorized",
            Self::ClientBadnick => "onClientBadnick",
            Self::ClientJoinRoom => "onClientJoinRoom",
            Self::ClientLeaveRoom => "onClientLeaveRoom",
            Self::ClientQuit => "onClientQuit",
            Self::ClientClose => "onClientClose",
            Self::RemoveClient => "onRemoveClient",
            Self::RoomInit => "onRoomInit",
            Self::RoomRemove => "onRoomRemove",
            Self::Message => "onMessage",
            Self::IsAuthorized => "isAuthorized",
            Self::IsRoot => "isRoot",
        }
    }

    pub(in crate::net) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }
}

/// Some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::net) struct HookSet(u32);

impl HookSet {
    pub(in crate::net) const fn has(self, hook: Hook) -> bool {
        self.0 & (1 << hook as u32) != 0
    }

    /// Adds one; whether it was not among them.
    pub(in crate::net) const fn add(&mut self, hook: Hook) -> bool {
        let new = !self.has(hook);
        self.0 |= 1 << hook as u32;
        new
    }

    /// Adds those of another set.
    pub(in crate::net) const fn add_all(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
