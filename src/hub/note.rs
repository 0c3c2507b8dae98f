//! What has happened in the hub, told by value: the log, the metrics and plugins hear of it.

use super::outlet::Span;
use crate::reason::RefusalReason;
use crate::session_id::ConnId;
use crate::wire::write::extension::ModeAttributes;

/// What happened, for the log and the metrics. Nothing in it is a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note<'a> {
    /// A session logged in.
    LoggedIn {
        /// Which one.
        conn: ConnId,
        /// Its nick.
        nick: &'a str,
        /// Whether it is root.
        root: bool,
    },
    /// A login was refused.
    LoginRefused {
        /// Whose.
        conn: ConnId,
        /// The nick it asked for.
        nick: &'a str,
        /// The text it got.
        reason: &'a str,
        /// What kind of reason that is.
        why: LoginRefusal,
    },
    /// A root password was wrong; the login goes on.
    RootRefused {
        /// Whose.
        conn: ConnId,
        /// The nick it asked for.
        nick: &'a str,
    },
    /// A request was refused with an `<error>`.
    Refused {
        /// Whose.
        conn: ConnId,
        /// Its nick, empty before the login.
        nick: &'a str,
        /// The text of the error.
        error: &'a str,
        /// Why; a limit has the log name the client.
        reason: RefusalReason,
    },
    /// A room was created.
    RoomCreated {
        /// Its name.
        room: &'a str,
        /// The session that created it.
        conn: ConnId,
    },
    /// A room is gone; the server's end is told as a whole.
    RoomRemoved {
        /// Its name.
        room: &'a str,
    },
    /// A list for a room's members would have been larger than `limits.listbytes`; they got it
    /// without params or, when that did not help, an error.
    ListTooLarge {
        /// The room.
        room: &'a str,
    },
    /// Root or a plugin removed a client.
    Kicked {
        /// Root; `None` for a plugin.
        by: Option<ConnId>,
        /// The session that was removed.
        conn: ConnId,
        /// Its nick, empty before the login.
        nick: &'a str,
    },
    /// An operator, root or a plugin removed a member from a room.
    RemovedFromRoom {
        /// The room.
        room: &'a str,
        /// Who was removed.
        conn: ConnId,
        /// The nick.
        nick: &'a str,
        /// Who did it; `None` for a plugin.
        by: Option<ConnId>,
    },
    /// A nick or a network was banned.
    Banned {
        /// The room; `None` for the whole server.
        room: Option<&'a str>,
        /// The nick or the network.
        whom: &'a str,
        /// Who did it; `None` for a plugin.
        by: Option<ConnId>,
    },
    /// A ban was lifted.
    Unbanned {
        /// The room; `None` for the whole server.
        room: Option<&'a str>,
        /// The nick or the network.
        whom: &'a str,
        /// Who did it; `None` for a plugin.
        by: Option<ConnId>,
    },
    /// A nick may not talk any more.
    Muted {
        /// The room; `None` for the whole server.
        room: Option<&'a str>,
        /// The nick.
        nick: &'a str,
        /// Who did it; `None` for a plugin.
        by: Option<ConnId>,
    },
    /// A nick may talk again.
    Unmuted {
        /// The room; `None` for the whole server.
        room: Option<&'a str>,
        /// The nick.
        nick: &'a str,
        /// Who did it; `None` for a plugin.
        by: Option<ConnId>,
    },
    /// A client was invited into a room.
    Invited {
        /// The room.
        room: &'a str,
        /// The nick.
        nick: &'a str,
        /// Who did it; `None` for a plugin.
        by: Option<ConnId>,
    },
    /// A member of a room has another role.
    RoleGiven {
        /// The room.
        room: &'a str,
        /// The member.
        conn: ConnId,
        /// The nick.
        nick: &'a str,
        /// The role as it is written, `none` where it was taken.
        role: &'static str,
        /// Who did it; `None` for a plugin, and where it was inherited or restored.
        by: Option<ConnId>,
    },
    /// The modes of a room are others.
    ModesSet {
        /// The room.
        room: &'a str,
        /// What they are.
        modes: ModeAttributes,
        /// Who did it; `None` for a plugin and for the configuration.
        by: Option<ConnId>,
    },
    /// Root asked for information about a room.
    InfoTold {
        /// Root.
        by: ConnId,
        /// The room.
        room: &'a str,
    },
    /// Root broadcast a message.
    Broadcast {
        /// Root.
        by: ConnId,
    },
    /// Root stopped the server: the shell drains and ends.
    ShutdownAsked {
        /// Root.
        by: ConnId,
    },
    /// A session that had logged in is over; its nick is free.
    LoggedOut {
        /// Which one.
        conn: ConnId,
        /// The nick it had.
        nick: &'a str,
    },
    /// A session joined a room; only while `Registered::joins` is set. It comes after
    /// [`Note::RoomCreated`].
    Joined {
        /// The session.
        conn: ConnId,
        /// Its nick.
        nick: &'a str,
        /// The room.
        room: &'a str,
    },
    /// A session left a room, or ended while it was in it; only while `Registered::leaves` is set.
    /// It comes before [`Note::LoggedOut`] and [`Note::RoomRemoved`].
    Left {
        /// The session.
        conn: ConnId,
        /// Its nick.
        nick: &'a str,
        /// The room.
        room: &'a str,
    },
    /// A client's message, or stanza of another name, was delivered; only while
    /// `Registered::messages` is set. What a plugin sends is none.
    Message {
        /// The sender.
        conn: ConnId,
        /// Its nick.
        nick: &'a str,
        /// The receivers.
        to: MessageTo<'a>,
        /// The stanza as it was delivered, with its NUL.
        message: Span,
    },
}

/// The receivers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageTo<'a> {
    /// The members of this room, the sender perhaps not.
    Room(&'a str),
    /// The client of this nick, as it was given at its login.
    Client(&'a str),
    /// All who have logged in; root sent it.
    Everybody,
}

/// What kind of reason a login is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefusal {
    /// It named no nick.
    NoNick,
    /// The nick is empty, taken, too long or against the rules.
    BadNick,
    /// It was asked about, and the answer was no.
    Unauthorised,
    /// It was asked about, and no plugin could find out.
    Undecided,
    /// The nick is banned.
    Banned,
}
