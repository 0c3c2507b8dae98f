//! What plugins and the hub say to each other, by value: what is registered, which logins are
//! asked about, what a plugin orders and what it may know.
//!
//! The hub knows no plugin. The shell that runs them tells it in [`Input::Registered`] what all of
//! them together want, answers an [`Outlet::ask`] with an [`Input::Verdict`] and an
//! [`Outlet::ask_permission`] with an [`Input::Permission`], and hands their wishes on to
//! [`Hub::order`] and [`Hub::tell`].
//!
//! [`Input::Registered`]: super::Input::Registered
//! [`Input::Verdict`]: super::Input::Verdict
//! [`Input::Permission`]: super::Input::Permission
//! [`Outlet::ask`]: super::Outlet::ask
//! [`Outlet::ask_permission`]: super::Outlet::ask_permission
//! [`Hub::order`]: super::Hub::order
//! [`Hub::tell`]: super::Hub::tell

use std::collections::BTreeSet;
use std::fmt;

use super::command;
use super::keeping_order::Terms;
use super::message::is_server_name;
use super::mode::MODES;
use super::role::Role;
use super::sanction::BanTarget;
use crate::session_id::ConnId;

/// What all plugins together have registered. It changes at run time and has nothing to do with
/// the configuration: a reload leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Stanza names: their stanzas go to [`Outlet::registered`](super::Outlet::registered).
    /// None that [`is_reserved_name`] knows belongs here.
    pub names: BTreeSet<String>,
    /// Whether each login is asked about through [`Outlet::ask`](super::Outlet::ask). Logins
    /// that wait go on waiting when it is taken back: each still needs its verdict.
    pub logins: bool,
    /// Whether each [`Note::Joined`](super::Note::Joined) is given.
    pub joins: bool,
    /// Whether each [`Note::Left`](super::Note::Left) is given.
    pub leaves: bool,
    /// Whether each [`Note::Message`](super::Note::Message) is given.
    pub messages: bool,
    /// Which joins are asked about through
    /// [`Outlet::ask_permission`](super::Outlet::ask_permission): those that fit one of these.
    pub joins_asked: Vec<Watch>,
    /// Which messages, elements of a client's own and params are asked about.
    pub talk_asked: Vec<Watch>,
}

/// Of which rooms and which stanzas a plugin is asked before they are done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// These rooms alone; without any all, and what is said in none.
    pub rooms: Option<BTreeSet<Box<str>>>,
    /// Stanzas of these names alone; without any all.
    pub stanzas: Option<BTreeSet<Box<str>>>,
}

impl Watch {
    /// Whether a stanza of this name, in one of these rooms or in none, is asked about.
    #[must_use]
    pub fn fits(&self, rooms: &[&str], stanza: &str) -> bool {
        let has = |own: &BTreeSet<Box<str>>| rooms.iter().any(|room| own.contains(*room));
        self.rooms.as_ref().is_none_or(has)
            && self.stanzas.as_ref().is_none_or(|own| own.contains(stanza))
    }
}

/// Whether a stanza name is the server's own, a verb or something that it sends itself: no
/// plugin can register it.
#[must_use]
pub fn is_reserved_name(name: &str) -> bool {
    command::is_verb(name) || is_server_name(name)
}

/// The number of a question about a login, or about something that needs a permission: what the
/// hub knows it by. Plugins see numbers of their own, one for each thing that they are asked about
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuestionId(pub u64);

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A login that plugins decide on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// Counts the questions; the verdict carries it. Never used twice in a hub's life.
    pub id: QuestionId,
    /// Whose login.
    pub conn: ConnId,
    /// The nick it asked for. No session has it before the verdict: others may ask for it
    /// meanwhile, and the one that is let in first has it.
    pub nick: &'a str,
    /// The `connect` element as it was written, its password too, without what stood around it and
    /// without its `rootpass`: what stands before that, and what stands behind it.
    pub element: [&'a str; 2],
    /// Whether the login itself is asked about. If it isn't, [`Verdict::Allowed`] is all that a
    /// wrong root password can come to.
    pub login: bool,
    /// Whether it needs a plugin's yes even where no plugin has registered to give it
    /// ([`Settings::logins_checked`](super::Settings::logins_checked)).
    pub checked: bool,
    /// The root password that it gave, when the server's own is a
    /// [`RootPassword::Hash`](super::RootPassword::Hash), which the hub can't compare with it. It
    /// is for the server's own worker alone.
    pub root_password: Option<&'a str>,
}

/// The passwords stay out of it.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("id", &self.id)
            .field("conn", &self.conn)
            .field("nick", &self.nick)
            .field("login", &self.login)
            .field("root", &self.root_password.is_some())
            .finish_non_exhaustive()
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not log in; it counts as a failed login.
    Refused,
    /// It logs in, without root's rights. Of a question with a root password this says, as
    /// [`Verdict::Refused`] does, that the password was wrong: that counts as a failed login.
    Allowed {
        /// The nick was proven by its password: its roles are remembered.
        account: bool,
    },
    /// The root password was right: it logs in as root, which needs no other leave. Where no
    /// root password was asked about it is a [`Verdict::Refused`].
    Root {
        /// The nick was proven by its password as well.
        account: bool,
    },
    /// It could not be found out: the session does not log in, may try again, and has failed only
    /// where it says so here.
    Undecided {
        /// The root password was found to be wrong all the same; that is a failed login.
        root_refused: bool,
        /// A plugin, not all, has said no to the login; that is a failed login, too. Otherwise a
        /// client could guess without a limit while one of two plugins is out of order.
        login_refused: bool,
    },
}

/// What a session needs a permission for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionKind {
    /// To enter a room.
    Join {
        /// Whether the room is not there yet.
        new: bool,
    },
    /// To say something: a message, an element of its own, a param.
    Talk,
}

/// A stanza that plugins decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermissionQuestion<'a> {
    /// Its number, which no other question has, be it about a login.
    pub id: QuestionId,
    /// Whose it is.
    pub conn: ConnId,
    /// The nick of the session.
    pub nick: &'a str,
    /// What for.
    pub kind: PermissionKind,
    /// The rooms that it is about: one as a rule, all of the session's for a param of its own, none
    /// for what is said to one client.
    pub rooms: &'a [&'a str],
    /// The name of the stanza; `m` for `msg`.
    pub stanza: &'a str,
    /// The element as it was written, without a room's password: what stands before that, and what
    /// stands behind it.
    pub element: [&'a str; 2],
}

/// The answer to a [`PermissionQuestion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission<'a> {
    /// It is done, if nothing else is in its way.
    Granted,
    /// It is not done, and the session is told this, or what such a session is told as a rule.
    Refused(Option<&'a str>),
    /// It could not be found out: it is not done, and the session may try again.
    Undecided,
}

/// The client that an order or a query is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// The session that has logged in under a nick equal to this one.
    Nick(&'a str),
    /// This very session, logged in or not.
    Session(ConnId),
}

/// The receivers of what a plugin sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receivers<'a> {
    /// One session. It need not have logged in.
    Client(Who<'a>),
    /// The members of a room but one.
    Room {
        /// The room's name.
        name: &'a str,
        /// A session that does not get it; there need not be such a one.
        except: Option<ConnId>,
    },
    /// All who have logged in but one.
    Everybody {
        /// A session that does not get it; there need not be such a one.
        except: Option<ConnId>,
    },
}

/// What a plugin wants done. Clients hear of it what they hear of a client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// Sends an element as it is. In a room it counts as a message of it.
    Deliver {
        /// The receivers.
        to: Receivers<'a>,
        /// The element, and nothing around it, that the strict parser has passed.
        element: &'a str,
    },
    /// Closes a session for [`CloseReason::Kicked`](super::CloseReason::Kicked), with an
    /// `<error>` before it.
    Kick {
        /// Whose; it need not have logged in.
        who: Who<'a>,
        /// The text of the `<error>`; without one that of `rmuser`.
        reason: Option<&'a str>,
    },
    /// Has a client join a room, as if it had asked: within its limits, and as the operator of a
    /// room that is created.
    Join {
        /// The client that joins.
        who: Who<'a>,
        /// The room's name.
        room: &'a str,
    },
    /// Has a client leave a room, as if it had asked by `room=`.
    Leave {
        /// The client that leaves.
        who: Who<'a>,
        /// The room's name.
        room: &'a str,
    },
    /// Sets a param of a room, whichever clients may set it.
    SetRoomParam {
        /// The room's name.
        room: &'a str,
        /// The param's name.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// Removes a param of a room, if there is one; `openParams` can't be removed.
    RemoveRoomParam {
        /// The room's name.
        room: &'a str,
        /// The param's name.
        name: &'a str,
    },
    /// Sets a param of a client; its rooms are told as always.
    SetClientParam {
        /// Whose.
        who: Who<'a>,
        /// The param's name.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// Removes a param of a client, if there is one; then the client lists of its rooms are due.
    RemoveClientParam {
        /// Whose.
        who: Who<'a>,
        /// The param's name.
        name: &'a str,
    },
    /// Keeps order in a room, with root's rights.
    InRoom {
        /// The room's name.
        room: &'a str,
        /// What is to be done there.
        order: RoomOrder<'a>,
    },
    /// Keeps order on the server, with root's rights.
    OnServer(ServerOrder<'a>),
}

/// What a plugin has done in a room to keep order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomOrder<'a> {
    /// Gives a member a role, or takes the one that it has.
    GiveRole {
        /// The member.
        who: Who<'a>,
        /// The role; none to take it.
        role: Option<Role>,
    },
    /// Sets modes.
    SetModes(ModeValues<'a>),
    /// Removes a member.
    Remove {
        /// The member.
        who: Who<'a>,
        /// Why, as it is told to the member.
        reason: Option<&'a str>,
    },
    /// Keeps a nick out, and the address that its client has.
    Ban {
        /// The nick; there need not be a client that has it.
        nick: &'a str,
        /// For how long, and why.
        terms: Terms<'a>,
    },
    /// Lifts a ban.
    Unban {
        /// The nick.
        nick: &'a str,
    },
    /// Keeps a nick from talking.
    Mute {
        /// The nick; there need not be a client that has it.
        nick: &'a str,
        /// For how long.
        terms: Terms<'a>,
    },
    /// Lets a nick talk again.
    Unmute {
        /// The nick.
        nick: &'a str,
    },
    /// Lets a client in once.
    Invite {
        /// The client.
        who: Who<'a>,
    },
}

/// What a plugin has done on the server to keep order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerOrder<'a> {
    /// Keeps a nick or a network out.
    Ban {
        /// Which one.
        target: BanTarget<'a>,
        /// For how long, and why.
        terms: Terms<'a>,
    },
    /// Lifts a ban.
    Unban {
        /// Of which nick or network.
        target: BanTarget<'a>,
    },
    /// Keeps a nick from talking anywhere.
    Mute {
        /// The nick; there need not be a client that has it.
        nick: &'a str,
        /// For how long.
        terms: Terms<'a>,
    },
    /// Lets a nick talk again.
    Unmute {
        /// The nick.
        nick: &'a str,
    },
}

/// Values of modes as they are written, in the order of [`MODES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeValues<'a>(pub [Option<&'a str>; MODES.len()]);

impl<'a> ModeValues<'a> {
    /// The modes that have a value, each with it.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'static str, &'a str)> {
        MODES.iter().copied().zip(self.0).filter_map(|(name, value)| Some((name, value?)))
    }
}

/// What a plugin wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query<'a> {
    /// All rooms, as `getrooms` tells them.
    Rooms,
    /// The members of a room, in the order of joining, or all who have logged in, in the order of
    /// the slots: nick, session, address and whether it is the room's operator.
    Clients {
        /// The room's name; without one all who have logged in.
        room: Option<&'a str>,
    },
    /// The params of a room.
    RoomParams {
        /// The room's name.
        room: &'a str,
    },
    /// The params of a client.
    ClientParams {
        /// Whose.
        who: Who<'a>,
    },
    /// Sessions that have logged in, as `who` tells them to root.
    Sessions {
        /// The one that has this nick.
        nick: Option<&'a str>,
        /// Those in this room.
        room: Option<&'a str>,
        /// Those behind this session.
        after: Option<ConnId>,
    },
}

/// Why an order was not carried out or a query not answered; nothing has changed then. The
/// texts are made to stand in an `<error>` for the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// No session has logged in under this nick.
    NoNick(Box<str>),
    /// There is no such session: it is over or never was. Connections of the policy port count
    /// as none.
    NoSession(ConnId),
    /// The session has not logged in.
    NotLoggedIn(ConnId),
    /// There is no room by that name.
    NoRoom,
    /// What the client would have been told, had it asked itself (its nick stands before it), or
    /// what can't be done at all.
    Refused(Box<str>),
    /// An answer would be longer than this many bytes.
    TooLarge(usize),
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNick(nick) => write!(f, "No user connected with nickname: {nick}"),
            Self::NoSession(conn) => {
                write!(f, "No session by that id: {}", conn.spelled())
            }
            Self::NotLoggedIn(conn) => {
                write!(f, "Session {} has not logged in", conn.spelled())
            }
            Self::NoRoom => f.write_str("No room by that name"),
            Self::Refused(error) => f.write_str(error),
            Self::TooLarge(max) => write!(f, "Answer too large (limit {max} bytes)"),
        }
    }
}

impl std::error::Error for OrderError {}
