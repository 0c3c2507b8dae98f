//! What goes into the hub and what comes out of it.

use core::net::IpAddr;
use std::fmt;
use std::ops::Add;
use std::time::Duration;

use ipnet::IpNet;

use super::plugin::{Question, Registered, Verdict};
use crate::limits::{FULL_ROSTER_MEMBERS, Limits};
use crate::nick::Lookalikes;
use crate::reason::{CloseReason, RefusalReason};

/// A point in time: nanoseconds since the server's start. The hub has no clock; it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// This many seconds after the start.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// This many milliseconds after the start.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1_000_000))
    }

    /// The time from `earlier` to this one; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This time and `seconds` more.
    #[must_use]
    pub const fn plus_secs(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000_000)))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A connection, named so that a reused slot can't be mistaken for its predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// The index in the shell's slab and in the hub's table.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot, self.generation)
    }
}

/// The secret that keys the hub's hash tables; random in the server, fixed in a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKey(pub u64, pub u64);

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// The main port: everything.
    #[default]
    Main,
    /// `[crossdomain] policyport`: answers policy requests and nothing else.
    Policy,
}

/// What the hub can be told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection was accepted.
    Opened {
        /// The new connection; its slot is free in the hub.
        conn: ConnId,
        /// The peer's address.
        address: IpAddr,
        /// The port it came in by.
        door: Door,
    },
    /// A proxy told whose connection this is; before any frame. The session counts for that
    /// address from then on, or is closed when there are too many from it.
    ClientAddress {
        /// Whose.
        conn: ConnId,
        /// The client's own address.
        address: IpAddr,
    },
    /// A frame arrived, without its NUL.
    Frame {
        /// Who sent it.
        conn: ConnId,
        /// Its bytes.
        frame: &'a [u8],
    },
    /// More arrived without a NUL, or before it, than a stanza may have.
    FrameTooLarge {
        /// Who sent it.
        conn: ConnId,
        /// So much it may have, in bytes: `limits.stanzabytes`, or less while there is no room for
        /// more of those who have not logged in.
        max: usize,
    },
    /// Frames of a WebSocket came in which no stanza ended: pings, empty ones, parts of messages.
    /// Each counts for `limits.stanzarate` as a stanza does. They have been read: what they go over
    /// the rate is owed, at most `limits.stanzaburst` of them, and nothing more is to be read before
    /// it is paid off.
    FramesInVain {
        /// Who sent them.
        conn: ConnId,
        /// How many.
        count: u64,
    },
    /// The connection is over, for a reason that the hub did not give. What is already queued
    /// for it may still be flushed; the hub says nothing more to it.
    Ended {
        /// Which one.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// A connection's reader does not keep up, or does again: while most members of a room do
    /// not, those who talk in it are held back. A reader that does not for five seconds is waited
    /// for no longer.
    Behind {
        /// Whose reader.
        conn: ConnId,
        /// Whether it does not keep up.
        behind: bool,
    },
    /// The connection of a session that was ended or closed is closed itself: until then it
    /// counts for `limits.sessions` and `limits.sessionsperaddress`, because it still holds what
    /// a connection holds.
    Gone {
        /// Which one; one that never had a session is passed over.
        conn: ConnId,
    },
    /// The answer to [`Outlet::ask`], however late: one that does not belong to the question
    /// that its session waits for does nothing.
    Verdict {
        /// Whose login was asked about.
        conn: ConnId,
        /// The number of the question.
        ask: u64,
        /// What was decided.
        verdict: Verdict,
    },
    /// A time that [`Hub::poll_timeout`](super::Hub::poll_timeout) named has come.
    Tick,
    /// The turn's inputs are all in: what they share (client lists) is sent now.
    TurnEnd,
    /// The configuration was read again.
    Reload(Box<Settings>),
    /// What plugins have registered changed; this is all of it.
    Registered(Box<Registered>),
    /// The shell was told to stop: everyone gets the farewell of `<shutdown />`.
    Shutdown,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was taken.
    Done,
    /// The frame was not taken, its sender is over `limits.stanzarate`: offer it again at the
    /// time given, and read no more of this sender until then.
    Later(Time),
    /// The frame was taken, and its sender's login is being decided: offer no other before the
    /// [`Input::Verdict`].
    Asked,
    /// The frame was not taken, its sender's login is being decided or has to wait for its turn:
    /// offer it again after the [`Input::Verdict`], or after [`Outlet::go_on`].
    Wait,
}

/// A stanza that the outlet has encoded, ready to be queued; valid until the turn's flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Which of the turn's logs it stands in.
    pub log: u32,
    /// The offset of its first byte in that log.
    pub start: usize,
    /// The offset after its NUL.
    pub end: usize,
}

impl Span {
    /// How many bytes it has, its NUL among them.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.end - self.start
    }
}

/// The members of a room, as they are at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Roster<'a> {
    /// Equal numbers are equal lists: each change of members gives a list a number of its own.
    pub number: u64,
    /// Who is in, in the order of joining.
    pub members: &'a [ConnId],
}

/// Where the hub puts what it has to say.
pub trait Outlet {
    /// Encodes one stanza: `write` appends its text, the outlet the NUL.
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span;

    /// Encodes one stanza that is for members of this room: an outlet may lay these down side by
    /// side, so that what they all get is one piece. `room` is a small number that a removed room leaves to another.
    fn encode_for_room(&mut self, room: u32, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let _ = room;
        self.encode(write)
    }

    /// Queues an encoded stanza for one connection.
    fn push(&mut self, to: ConnId, message: Span);

    /// Queues an encoded stanza for all members of a room but one.
    fn push_all(&mut self, to: Roster<'_>, except: Option<ConnId>, message: Span) {
        for &conn in to.members {
            if Some(conn) != except {
                self.push(conn, message);
            }
        }
    }

    /// Queues an encoded stanza for some of a room's members.
    fn push_some(&mut self, to: &[ConnId], message: Span) {
        for &conn in to {
            self.push(conn, message);
        }
    }

    /// Whether so much is to be done by now that what can wait is better left for another time.
    /// What is asked of the hub is done all the same.
    fn has_enough(&self) -> bool {
        false
    }

    /// Closes a connection once what is queued for it has been sent. The hub has forgotten it.
    fn close(&mut self, conn: ConnId, reason: CloseReason);

    /// Tells what happened, to be logged and counted.
    fn note(&mut self, note: Note<'_>);

    /// Tells of bytes that were or will be encoded in this turn besides those of
    /// [`Outlet::encode`]: a list that is due, one that was too long. Whoever bounds a turn's
    /// work counts them.
    fn spent(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Asks whether a login may happen; each question needs its [`Input::Verdict`], once the
    /// hub has come back, now or late, and when its session is over as well. The session's frames
    /// wait for it, and its login timeout runs on. Only asked when [`Registered::logins`],
    /// [`Settings::logins_checked`] or [`Settings::root_password_hashed`] says so.
    fn ask(&mut self, question: Question<'_>) {
        let _ = question;
    }

    /// The session of this question is over. Whom it was not put to yet need not hear of it; the
    /// verdict is still wanted.
    fn cancel(&mut self, ask: u64) {
        let _ = ask;
    }

    /// The turn of a login that was told to [`Progress::Wait`] has come: its frame is to be offered
    /// again, once the hub has come back. This may be told before that [`Progress::Wait`] is.
    fn go_on(&mut self, conn: ConnId) {
        let _ = conn;
    }

    /// Hands out a stanza whose name is in [`Registered::names`]: who sent it and its nick, the
    /// name, and the element as it was written, without what stood around it. It is relayed
    /// after this, when it carries a recipient.
    fn registered(&mut self, conn: ConnId, nick: &str, name: &str, element: &str) {
        let _ = (conn, nick, name, element);
    }
}

/// What `[rooms] relaynames` allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayNames {
    /// `safe`: names that the server itself sends are refused.
    #[default]
    Safe,
    /// `any`: as the old server had it.
    Any,
}

/// The part of the configuration that the hub lives by; all of it can change at run time.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `[limits]`.
    pub limits: Limits,
    /// `[admin] password`; `None` when nobody can become root.
    pub root_password: Option<String>,
    /// Whether the root password is a hash, which the hub can't compare with what is given: it
    /// asks through [`Outlet::ask`], if there is one at all.
    pub root_password_hashed: bool,
    /// Whether the configuration says that logins are checked: where nobody does it, nobody but
    /// root is let in.
    pub logins_checked: bool,
    /// `[daemon] trustedproxies`: their sessions are as many as they like, until each is told
    /// its client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// `[crossdomain] alloweddomains`, in their order.
    pub domains: Vec<String>,
    /// The `to-ports` of a policy: the ports that are served, comma-separated.
    pub policy_ports: String,
    /// `[rooms] relaynames`.
    pub relay_names: RelayNames,
    /// `[rooms] lookalikes`.
    pub lookalikes: Lookalikes,
    /// `[rooms] fullroster`: members.
    pub full_roster_members: usize,
}

/// The root password stays out of it.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("logins_checked", &self.logins_checked)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("domains", &self.domains)
            .field("policy_ports", &self.policy_ports)
            .field("relay_names", &self.relay_names)
            .field("lookalikes", &self.lookalikes)
            .field("full_roster_members", &self.full_roster_members)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            root_password: None,
            root_password_hashed: false,
            logins_checked: false,
            trusted_proxies: Vec::new(),
            domains: Vec::new(),
            policy_ports: "2468".to_owned(),
            relay_names: RelayNames::default(),
            lookalikes: Lookalikes::default(),
            full_roster_members: FULL_ROSTER_MEMBERS,
        }
    }
}

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
        /// Who created it.
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
        /// Who was removed.
        conn: ConnId,
        /// Its nick, empty before the login.
        nick: &'a str,
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
    /// A session joined a room; only while [`Registered::joins`] is set. It comes after
    /// [`Note::RoomCreated`].
    Joined {
        /// Who.
        conn: ConnId,
        /// Its nick.
        nick: &'a str,
        /// The room.
        room: &'a str,
    },
    /// A session left a room or is over while in it; only while [`Registered::leaves`] is set.
    /// It comes before [`Note::LoggedOut`] and [`Note::RoomRemoved`].
    Left {
        /// Who.
        conn: ConnId,
        /// Its nick.
        nick: &'a str,
        /// The room.
        room: &'a str,
    },
    /// A client's message, or stanza of another name, was delivered; only while
    /// [`Registered::messages`] is set. What a plugin sends is none.
    Message {
        /// The sender.
        conn: ConnId,
        /// Its nick.
        nick: &'a str,
        /// Who got it.
        to: MessageTo<'a>,
        /// The stanza as it was delivered, with its NUL.
        message: Span,
    },
}

/// Who got a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageTo<'a> {
    /// The members of this room, the sender perhaps not.
    Room(&'a str),
    /// The client of this nick, as it was given at its login.
    Client(&'a str),
    /// Everybody; root sent it.
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
    /// It was asked about, and nobody could find out.
    Undecided,
}
