//! Where the hub puts what it has to say.

use super::note::Note;
use super::plugin::{PermissionQuestion, Question, QuestionId};
use crate::reason::CloseReason;
use crate::session_id::ConnId;

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
    /// The members, in the order of joining.
    pub members: &'a [ConnId],
}

/// What the shell knows of a connection, for `who`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerFacts {
    /// What it speaks; empty where that is not known.
    pub transport: &'static str,
    /// Seconds since something came of it.
    pub idle_s: u64,
}

/// Where the hub puts what it has to say.
pub trait Outlet {
    /// Encodes one stanza: `write` appends its text, the outlet the NUL.
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span;

    /// Encodes one stanza that is for members of this room: an outlet may lay these down side by
    /// side, so that what they all get is one piece. `room` is a small number that a removed room
    /// leaves to another.
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

    /// What is known of a connection.
    fn peer(&self, conn: ConnId) -> PeerFacts {
        let _ = conn;
        PeerFacts::default()
    }

    /// Closes a connection once what is queued for it has been sent. The hub has forgotten it.
    fn close(&mut self, conn: ConnId, reason: CloseReason);

    /// Tells what happened, to be logged and counted.
    fn note(&mut self, note: Note<'_>);

    /// Tells of bytes that were or will be encoded in this turn besides those of
    /// `Outlet::encode`: a list that is due, one that was too long. An outlet that bounds
    /// a turn's work counts them.
    fn spent(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Asks whether a login may happen; each question needs its `Input::Verdict`, once the
    /// hub has come back, now or late, and when its session is over as well. The session's frames
    /// wait for it, and its login timeout runs on. Only asked when `Registered::logins` or
    /// `Settings::logins_checked` says so, or when the root password is a `RootPassword::Hash`.
    fn ask(&mut self, question: Question<'_>) {
        let _ = question;
    }

    /// Asks whether a stanza may be done; each question needs its `Input::Permission`, once the
    /// hub has come back, now or late, unless it is cancelled. Only asked where
    /// `Registered::joins_asked` or `Registered::talk_asked` says so.
    fn ask_permission(&mut self, question: PermissionQuestion<'_>) {
        let _ = question;
    }

    /// The session of this question is over. A plugin that was not asked yet need not be. The
    /// verdict on a login is still wanted, a permission is not.
    fn cancel(&mut self, question: QuestionId) {
        let _ = question;
    }

    /// The turn of a login, or of another frame that was told to `Progress::Wait`, has come: the
    /// frame is to be offered again, once the hub has come back. This may be told before that
    /// `Progress::Wait` is.
    fn go_on(&mut self, conn: ConnId) {
        let _ = conn;
    }

    /// Hands out a stanza whose name is in `Registered::names`: the sender and its nick, the
    /// name, and the element as it was written, without what stood around it. It is relayed
    /// after this, when it carries a recipient.
    fn registered(&mut self, conn: ConnId, nick: &str, name: &str, element: &str) {
        let _ = (conn, nick, name, element);
    }
}
