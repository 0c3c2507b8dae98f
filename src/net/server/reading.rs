//! Reading: each of those with work has its go, one read and so much work long.

use std::io;

use super::{Server, is_open};
use crate::hub::{ConnId, Input, Progress};
use crate::limits::{
    CONNECTIONS_PER_TURN, EARLY_BYTES_MAX, READ_WORK_NS, SHARE_WORK_NS, STANZA_BYTE_WORK_NS,
    STANZA_WORK_NS,
};
use crate::net::connection::{Connection, ConnectionPhase, Hold};
use crate::net::speech::Speech;
use crate::net::timers::TimerKind;
use crate::net::world::World;
use crate::secret;
use crate::wire::framer::{Cut, Framer};

impl<W: World> Server<W> {
    /// Each of those with work has its go, and those with more of it several, until the turn has
    /// enough to do.
    pub(super) fn serve_ready(&mut self) {
        let now = self.desk.now;
        self.ready.begin_turn(&mut self.desk.connections, now);
        // What the others cause would only wait behind what is not written yet.
        let light_alone = self.to_write > 0;
        for _ in 0..CONNECTIONS_PER_TURN {
            if self.desk.has_enough() {
                break;
            }
            let Some(id) = self.ready.next(&mut self.desk.connections, light_alone) else {
                break;
            };
            let slot = id.slot as usize;
            self.go_began_ns = self.desk.work_ns();
            match self.desk.connections[slot].state {
                ConnectionPhase::Open => self.serve(slot),
                ConnectionPhase::Draining { .. } => self.read_and_drop(slot),
                ConnectionPhase::Gone => {}
            }
            self.wait_again(id);
        }
        self.ready.end_turn();
    }

    /// A connection has had its go: where it has more work it waits for another one, in this turn
    /// or, when it would have to be read a second time, in the next.
    fn wait_again(&mut self, id: ConnId) {
        let (now, turn) = (self.desk.now, self.desk.metrics.turns);
        let work_ns = self.desk.work_ns() - self.go_began_ns;
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        connection.share.spend(work_ns);
        if !connection.has_work() {
            return;
        }
        if connection.frames_held || connection.keeps_greeting() || connection.read_in != turn {
            self.ready.add(connection, now);
        } else {
            self.ready.add_later(connection);
        }
    }

    /// Handles what a connection has sent: first what was left over, then one read.
    fn serve(&mut self, slot: usize) {
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        let id = connection.id;
        if connection.waits_for_nobody() {
            return self.lose(id, &io::ErrorKind::ConnectionReset.into());
        }
        let secret = connection.secret;
        let frames_before = self.desk.metrics.frames_in;
        if connection.keeps_greeting() {
            self.take_in(id, &mut [], false);
        } else if connection.frames_held {
            self.handle_frames(id, &[]);
        }
        let turn = self.desk.metrics.turns;
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        let free = connection.state == ConnectionPhase::Open
            && connection.hold == Hold::Nothing
            && !connection.stuffed
            && connection.over().is_none_or(|_| connection.broken.is_some())
            && !connection.frames_held
            && !connection.keeps_greeting();
        if free && connection.readable && connection.read_in != turn {
            connection.read_in = turn;
            // Lent out, because what the hub answers changes the rest of the server.
            let mut scratch = std::mem::take(&mut self.scratch);
            let room = connection.room_to_read();
            match read_once(&mut self.world, connection, &mut scratch[..room]) {
                Ok(0) => {}
                Ok(count) => {
                    let only_stanzas = matches!(connection.speech, Speech::Stanzas);
                    self.desk.metrics.bytes_in += count as u64;
                    if only_stanzas {
                        self.handle_frames(id, &scratch[..count]);
                    } else {
                        self.take_in(id, &mut scratch[..count], true);
                    }
                    if secret {
                        secret::wipe(&mut scratch[..count]);
                    }
                    if self.desk.metrics.frames_in == frames_before {
                        self.desk.took_in(count);
                    }
                }
                Err(error) => self.lose(id, &error),
            }
            self.scratch = scratch;
        }
        if secret {
            secret::wipe_stack();
        }
        // What the last stanzas made due is sent before the end is told: it has its own turn.
        if self.desk.metrics.frames_in == frames_before {
            self.desk.worked(READ_WORK_NS);
            self.end_if_read_to_the_end(id);
        }
    }

    /// Handles the frames that these bytes complete, as far as the connection's share of the turn,
    /// its own reading and the hub allow. The rest is kept.
    pub(super) fn handle_frames(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        // The frames borrow from the framer while the hub's answers change the connections.
        let secret = connection.secret;
        let mut framer = connection.framer.take();
        let mut fresh = if secret { Framer::for_secrets() } else { Framer::new() };
        let framing = framer.as_deref_mut().unwrap_or(&mut fresh);
        if !secret {
            framing.forget_secrecy();
        }
        let max = self.hub.settings().limits.stanza_bytes_max;
        let mut cut = framing.cut(bytes, max);
        let (hold, frames_held) = self.handle_cut(id, &mut cut, max);
        if is_open(&self.desk, id) {
            drop(cut);
        } else {
            cut.discard();
        }
        let framer = match framer {
            Some(framer) if !framer.is_empty() => Some(framer),
            None if !fresh.is_empty() => Some(Box::new(fresh)),
            Some(_) | None => None,
        };
        self.keep_unhandled(id, framer, hold, frames_held);
        if self.desk.holds_too_much_early(id) {
            let input = Input::FrameTooLarge { conn: id, max: EARLY_BYTES_MAX };
            self.hub.handle(input, self.desk.now, &mut self.desk);
        }
    }

    /// Gives the frames of a cut to the hub, one after the other, as far as they are handled now:
    /// what holds the connection's reader back then, and whether frames may be left.
    #[inline]
    fn handle_cut(&mut self, id: ConnId, cut: &mut Cut<'_>, max: usize) -> (Hold, bool) {
        let now = self.desk.now;
        loop {
            if self.has_had_its_go(id) {
                // Whether there is another frame, the next go finds out.
                return (Hold::Nothing, true);
            }
            let frame = match cut.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return (Hold::Nothing, false),
                Err(_) => {
                    self.hub.handle(Input::FrameTooLarge { conn: id, max }, now, &mut self.desk);
                    return (Hold::Nothing, false);
                }
            };
            let frame_bytes = frame.len();
            if self.has_to_save_up(id, frame_bytes) {
                cut.retract();
                return (Hold::Nothing, true);
            }
            let hold = match self.hub.handle(Input::Frame { conn: id, frame }, now, &mut self.desk)
            {
                Progress::Done => {
                    self.handled(id, frame_bytes);
                    if is_open(&self.desk, id) {
                        continue;
                    }
                    return (Hold::Nothing, false);
                }
                Progress::Asked => {
                    self.handled(id, frame_bytes);
                    // Whether another frame stands behind it is found out after the verdict.
                    return (Hold::Verdict, true);
                }
                Progress::Later(time) => Hold::Rate(time),
                Progress::Wait => Hold::Verdict,
                Progress::CrowdWaits => Hold::Crowd,
            };
            cut.retract();
            return (hold, true);
        }
    }

    /// Keeps what was not handled of a connection's bytes, and why its reader is held back.
    #[inline]
    fn keep_unhandled(
        &mut self,
        id: ConnId,
        framer: Option<Box<Framer>>,
        hold: Hold,
        frames_held: bool,
    ) {
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        connection.framer = framer;
        connection.frames_held = frames_held && connection.framer.is_some();
        connection.hold = hold;
        match hold {
            Hold::Rate(time) => self.desk.timers.set(time, id, TimerKind::Resume),
            Hold::Crowd => self.held_for_crowds.push(id),
            Hold::Nothing | Hold::Verdict => {}
        }
    }

    /// Whether a stanza of so many bytes waits until its sender has had so many goes as it is
    /// worth, because others wait.
    fn has_to_save_up(&mut self, id: ConnId, bytes: usize) -> bool {
        let work_ns = self.desk.work_ns() - self.go_began_ns;
        is_long(bytes)
            && self.ready.has_next()
            && self.desk.find(id).is_some_and(|connection| {
                connection.share.has_to_save_up(stanza_work_ns(bytes), work_ns)
            })
    }

    /// Takes note of a stanza that was handled; what was paid for it before is no work of this go.
    fn handled(&mut self, id: ConnId, bytes: usize) {
        self.desk.metrics.frames_in += 1;
        self.desk.worked(stanza_work_ns(bytes));
        if is_long(bytes)
            && let Some(connection) = self.desk.find(id)
        {
            self.go_began_ns += connection.share.take_prepaid();
        }
    }

    /// Frames of a WebSocket in which no stanza ended count for the rate of stanzas.
    pub(super) fn count_frames_in_vain(&mut self, id: ConnId, count: u64) {
        let now = self.desk.now;
        let input = Input::FramesInVain { conn: id, count };
        if let Progress::Later(time) = self.hub.handle(input, now, &mut self.desk)
            && let Some(connection) = self.desk.find(id)
            && connection.hold == Hold::Nothing
        {
            connection.hold = Hold::Rate(time);
            self.desk.timers.set(time, id, TimerKind::Resume);
        }
    }

    /// Whether nothing more of a connection is handled for now: it has used up its share while
    /// others wait, the turn has enough to do, or so much waits for its own reading that the answer
    /// to one more request might not fit.
    fn has_had_its_go(&mut self, id: ConnId) -> bool {
        let work_ns = self.desk.work_ns() - self.go_began_ns;
        let queued = self.desk.deliveries.share_bytes(id.slot as usize);
        let limits = &self.hub.settings().limits;
        let (enough, others_wait) = (self.desk.has_enough(), self.ready.has_next());
        let Some(connection) = self.desk.find(id) else {
            return true;
        };
        let unread = connection.outbox.backlog_bytes() + queued;
        connection.stuffed = unread > connection.unread_bytes_max(limits);
        connection.stuffed || enough || (others_wait && !connection.share.may_go_on(work_ns))
    }

    /// The peer's stream is at its end, or can't be answered any more, and everything before
    /// that is handled.
    fn end_if_read_to_the_end(&mut self, id: ConnId) {
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        let unread = connection.broken.is_some() && connection.readable && !connection.ended;
        if let Some(reason) = connection.over()
            && !unread
            && !connection.frames_held
            && !connection.keeps_greeting()
            && connection.hold == Hold::Nothing
        {
            self.end(id, reason);
        }
    }

    /// Reads what still comes on a closing connection, so that no reset eats the farewell.
    fn read_and_drop(&mut self, slot: usize) {
        let turn = self.desk.metrics.turns;
        let connection = self.desk.connections.get_mut(slot);
        let Some(connection) = connection.filter(|connection| connection.read_in != turn) else {
            return;
        };
        connection.read_in = turn;
        match read_once(&mut self.world, connection, &mut self.scratch) {
            Ok(_) if connection.ended => self.desk.mark_dirty(slot),
            Ok(count) => self.desk.metrics.bytes_in += count as u64,
            Err(_) => self.desk.finish(slot),
        }
    }
}

/// What handling a stanza of so many bytes takes, in nanoseconds as it is reckoned.
pub(super) const fn stanza_work_ns(bytes: usize) -> u64 {
    STANZA_WORK_NS + bytes as u64 * STANZA_BYTE_WORK_NS
}

/// Whether a stanza of so many bytes takes more than a go.
const fn is_long(bytes: usize) -> bool {
    stanza_work_ns(bytes) > SHARE_WORK_NS.unsigned_abs()
}

/// Reads once; `Ok(0)` when nothing came, for now or, with `ended` set, for ever.
fn read_once<W: World>(
    world: &mut W,
    connection: &mut Connection<W::Socket>,
    scratch: &mut [u8],
) -> io::Result<usize> {
    let Some(socket) = &mut connection.socket else {
        return Ok(0);
    };
    match world.read(socket, scratch) {
        Ok(0) => {
            connection.readable = false;
            connection.ended = true;
            Ok(0)
        }
        Ok(count) => {
            // A short read has emptied the socket, unless an end stands behind the bytes.
            if count < scratch.len() && !connection.read_closed {
                connection.readable = false;
            }
            Ok(count)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            connection.readable = false;
            Ok(0)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}
