//! One connection: its readiness, what holds its reader back, and how far its close has come.

use std::net::IpAddr;

use super::outbox::Outbox;
use super::ready::Share;
use super::speech::Speech;
use super::transport::Transport;
use crate::hub::{CloseReason, ConnId, Time};
use crate::limits::{EARLY_BYTES_MAX, Limits, READ_BYTES_PER_TURN, TRANSPORT_READ_BYTES_PER_TURN};
use crate::wire::framer::Framer;

/// A connection's state. It goes one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionPhase {
    /// The hub has a session for it.
    Open,
    /// The hub has forgotten it; its farewell is flushed, then the stream is ended, then what
    /// still comes is read and dropped until the peer's end or the deadline.
    Draining { reason: CloseReason, deadline: Time },
    /// Nothing more is done for it; its slot is freed at the end of the turn.
    Gone,
}

/// Why a connection is not read although there may be something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Nothing,
    /// It is over its rate until then.
    Rate(Time),
    /// Its login, or a stanza of it, is being decided on.
    Verdict,
    /// What it says is for a crowd that is being written to.
    Crowd,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) id: ConnId,
    pub(super) address: IpAddr,
    /// Closed early, so that a freed slot holds no descriptor.
    pub(super) socket: Option<S>,
    pub(super) speech: Speech,
    /// What earlier reads have left over; nothing, as a rule.
    pub(super) framer: Option<Box<Framer>>,
    /// It has not logged in: what it sends may hold a password, and is overwritten when it has been
    /// read.
    pub(super) secret: bool,
    pub(super) outbox: Outbox,
    pub(super) state: ConnectionPhase,
    pub(super) hold: Hold,
    /// So much waits for its reader that those who talk to it are held back.
    pub(super) behind: bool,
    /// Since when more than `limits.backlogsoft` has been waiting.
    pub(super) slow_since: Option<Time>,
    /// Cleared by `WouldBlock`, by a read that came up short and by the end.
    pub(super) readable: bool,
    /// Cleared by `WouldBlock` and by a write that came up short.
    pub(super) writable: bool,
    /// The peer has ended its side, so a short read proves nothing.
    pub(super) read_closed: bool,
    /// The end of the peer's stream has been read.
    pub(super) ended: bool,
    /// The system says that it is broken.
    pub(super) failed: bool,
    /// Nothing more can be written, for this reason; it ends when what it sent is handled.
    pub(super) broken: Option<CloseReason>,
    /// The framer may hold frames that nobody has taken.
    pub(super) frames_held: bool,
    /// Bytes of it that count for [`EARLY_MORE_BYTES_MAX`](crate::limits::EARLY_MORE_BYTES_MAX).
    pub(super) early_more_bytes: usize,
    /// Our side of the stream is ended.
    pub(super) shut: bool,
    /// Logins that were refused, as far as the log counts them.
    pub(super) refused_logins: u8,
    /// The log has been told that it went over a limit.
    pub(super) limit_told: bool,
    /// It is over, and its slot is on the list of those to be freed.
    pub(super) cleared: bool,
    /// What it has had of the loop's time.
    pub(super) share: Share,
    /// It waits for its go.
    pub(super) queued: bool,
    /// The turn in which it was read last.
    pub(super) read_in: u64,
    /// So much waits to be read by its peer that nothing more is read of it.
    pub(super) stuffed: bool,
}

impl<S> Connection<S> {
    pub(super) fn new(id: ConnId, address: IpAddr, socket: S) -> Self {
        Self {
            id,
            address,
            socket: Some(socket),
            speech: Speech::default(),
            framer: None,
            secret: true,
            outbox: Outbox::default(),
            state: ConnectionPhase::Open,
            hold: Hold::Nothing,
            behind: false,
            slow_since: None,
            readable: false,
            writable: true,
            read_closed: false,
            ended: false,
            failed: false,
            broken: None,
            frames_held: false,
            early_more_bytes: 0,
            shut: false,
            refused_logins: 0,
            limit_told: false,
            cleared: false,
            share: Share::default(),
            queued: false,
            read_in: 0,
            stuffed: false,
        }
    }

    /// Whether a TLS handshake of it waits for its turn.
    pub(super) fn keeps_greeting(&self) -> bool {
        self.speech.transport().is_some_and(Transport::keeps_greeting)
    }

    /// Why it is over, if all that is left is to handle what it sent before.
    pub(super) fn over(&self) -> Option<CloseReason> {
        let by_itself = self.speech.transport().and_then(Transport::over);
        self.broken.or(by_itself).or(self.ended.then_some(CloseReason::PeerClosed))
    }

    /// Whether nothing more will come of it than what has come.
    pub(super) fn is_ending(&self) -> bool {
        self.read_closed || self.over().is_some()
    }

    /// Whether it is broken while its login or a stanza of it is decided on: there is nobody left.
    /// An end of the peer's side alone is none of that, the answer may still be read.
    pub(super) fn waits_for_nobody(&self) -> bool {
        self.failed && self.hold == Hold::Verdict
    }

    /// Bytes that may wait for its own reading before nothing more is read of it.
    pub(super) fn unread_bytes_max(&self, limits: &Limits) -> usize {
        let max = limits.unread_bytes_max();
        if self.secret { max.min(EARLY_BYTES_MAX) } else { max }
    }

    /// Bytes that may be read of it at once.
    pub(super) fn room_to_read(&self) -> usize {
        let room = match self.speech {
            Speech::Unknown | Speech::Stanzas => READ_BYTES_PER_TURN,
            Speech::Through(_) => TRANSPORT_READ_BYTES_PER_TURN,
        };
        let held = self.framer.as_ref().map_or(0, |framer| framer.len());
        if !self.secret {
            room
        } else if held < EARLY_BYTES_MAX {
            room.min(EARLY_BYTES_MAX - held)
        } else {
            room.min(TRANSPORT_READ_BYTES_PER_TURN)
        }
    }

    /// Whether serving it could get anything done.
    pub(super) fn has_work(&self) -> bool {
        match self.state {
            ConnectionPhase::Open => {
                let over = self.over().is_some();
                let free = self.hold == Hold::Nothing && !self.stuffed;
                let kept = self.frames_held || self.keeps_greeting();
                free && (kept || self.readable || over) || self.waits_for_nobody()
            }
            ConnectionPhase::Draining { .. } => self.readable,
            ConnectionPhase::Gone => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // With a descriptor for its socket, as a release has it. There are as many as sessions, and
        // what a few of them need more is boxed.
        assert!(size_of::<Connection<u32>>() <= 168);
    }
}
