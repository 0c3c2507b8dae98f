//! What the hub is told, and what has become of it.

use core::net::IpAddr;

use super::plugin::{Permission, QuestionId, Registered, Verdict};
use super::settings::Settings;
use super::time::Time;
use crate::reason::CloseReason;
use crate::session_id::ConnId;

/// The secret that keys the hub's hash tables; random in the server, fixed in a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKey(pub u64, pub u64);

/// Which listener accepted a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerKind {
    /// That of the main port: everything is answered.
    #[default]
    Main,
    /// That of `[crossdomain] policyport`: policy requests are answered, and nothing else.
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
        /// The listener that accepted it.
        listener: ListenerKind,
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
        /// So much it may have, in bytes: `limits.stanzabytes`, or less while
        /// the sessions that have not logged in hold all that they may together.
        max: usize,
    },
    /// Frames of a WebSocket came in which no stanza ended: pings, empty ones, parts of messages.
    /// Each counts for `limits.stanzarate` as a stanza does. They have been read: what they go over
    /// the rate is owed, at most `limits.stanzaburst` of them, and nothing more is to be read
    /// before it is paid off.
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
    /// A client does not keep up with reading what it is sent, or does again. While most members
    /// of a room don't keep up, those who talk in it are held back; a client that has not kept up
    /// for five seconds is waited for no longer.
    Behind {
        /// The client's connection.
        conn: ConnId,
        /// Whether it does not keep up.
        behind: bool,
    },
    /// The members of rooms with more than [`CROWD`](crate::limits::CROWD) members are being
    /// written to, or that is done. Meanwhile nothing more that clients say in such a room is taken
    /// ([`Progress::CrowdWaits`]): it would only wait behind what is not written yet.
    CrowdsWait(bool),
    /// The connection of a session that was ended or closed is closed itself: until then it
    /// counts for `limits.sessions` and `limits.sessionsperaddress`, because it still holds what
    /// a connection holds.
    Gone {
        /// Which one; one that never had a session is passed over.
        conn: ConnId,
    },
    /// The answer to `Outlet::ask`, however late: one that does not belong to the question
    /// that its session waits for does nothing.
    Verdict {
        /// Whose login was asked about.
        conn: ConnId,
        /// The question that it answers.
        question: QuestionId,
        /// What was decided.
        verdict: Verdict,
    },
    /// The answer to `Outlet::ask_permission`, however late: one that does not belong to the
    /// question that its session waits for does nothing. The session's frame is to be offered
    /// again.
    Permission {
        /// Whose stanza was asked about.
        conn: ConnId,
        /// The question that it answers.
        question: QuestionId,
        /// What was decided.
        permission: Permission<'a>,
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
    /// The frame was not taken, it is for a crowd that is being written to: offer it again after
    /// [`Input::CrowdsWait`] has told that this is done, and read no more of this sender until
    /// then.
    CrowdWaits,
    /// The frame was taken, and its sender's login is being decided: offer no other before the
    /// [`Input::Verdict`].
    Asked,
    /// The frame was not taken, its sender's login or the frame itself is being decided on or has
    /// to wait for its turn: offer it again after the [`Input::Verdict`] or [`Input::Permission`],
    /// or after `Outlet::go_on`.
    Wait,
}
