//! Reading: each of those with work has its go, one read and so many stanzas long.

use std::io;

use super::{Server, is_open};
use crate::hub::{ConnId, Input, Progress};
use crate::limits::{READ_BYTES_PER_TURN, STANZAS_PER_TURN, TRANSPORT_READ_BYTES_PER_TURN};
use crate::net::connection::{Connection, Hold, State};
use crate::net::timers::Kind;
use crate::net::world::{Socket, World};
use crate::wire::framer::Framer;

impl<W: World> Server<W> {
    /// Each of those with work has its go, until the turn has encoded enough.
    pub(super) fn serve_ready(&mut self) {
        for _ in 0..self.ready.len() {
            if self.desk.has_enough() {
                break;
            }
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            if let Some(connection) = self.desk.find(id) {
                let slot = id.slot as usize;
                connection.in_ready = false;
                match connection.state {
                    State::Open => self.serve(slot),
                    State::Draining { .. } => self.read_and_drop(slot),
                    State::Gone => {}
                }
                self.make_ready(slot);
            }
        }
    }

    /// Handles what a connection has sent: first what was left over, then one read.
    fn serve(&mut self, slot: usize) {
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        let id = connection.id;
        let mut budget = STANZAS_PER_TURN;
        if connection.frames_held {
            self.handle_frames(id, &[], &mut budget);
        }
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        let free = connection.state == State::Open
            && connection.hold == Hold::Nothing
            && connection.over().is_none_or(|_| connection.broken.is_some())
            && !connection.frames_held;
        if free && connection.readable {
            // Lent out, because what the hub answers changes the rest of the server.
            let mut scratch = std::mem::take(&mut self.scratch);
            let room = if connection.transport.is_some() {
                TRANSPORT_READ_BYTES_PER_TURN
            } else {
                READ_BYTES_PER_TURN
            };
            match read_once(connection, &mut scratch[..room]) {
                Ok(0) => {}
                Ok(count) => {
                    let plain = connection.plain;
                    self.desk.metrics.bytes_in += count as u64;
                    if plain {
                        self.handle_frames(id, &scratch[..count], &mut budget);
                    } else {
                        self.take_in(id, &mut scratch[..count], &mut budget);
                    }
                }
                Err(error) => self.lose(id, &error),
            }
            self.scratch = scratch;
        }
        // What the last stanzas made due is sent before the end is told: it has its own turn.
        if budget == STANZAS_PER_TURN {
            self.end_if_read_to_the_end(id);
        }
    }

    /// Handles the frames that these bytes complete, as far as the budget and the hub allow.
    /// The rest is kept.
    pub(super) fn handle_frames(&mut self, id: ConnId, bytes: &[u8], budget: &mut usize) {
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        // The frames borrow from the framer while the hub's answers change the connections.
        let mut framer = connection.framer.take();
        let mut fresh = Framer::new();
        let framing = framer.as_deref_mut().unwrap_or(&mut fresh);
        let max = self.hub.settings().limits.stanza_bytes_max;
        let now = self.desk.now;
        let mut cut = framing.cut(bytes, max);
        let mut hold = Hold::Nothing;
        let mut frames_held = false;
        loop {
            let frame = match cut.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => {
                    self.hub.handle(Input::FrameTooLarge { conn: id }, now, &mut self.desk);
                    break;
                }
            };
            if *budget == 0 || self.desk.has_enough() {
                cut.retract();
                frames_held = true;
                break;
            }
            match self.hub.handle(Input::Frame { conn: id, frame }, now, &mut self.desk) {
                Progress::Done => {
                    *budget -= 1;
                    self.desk.metrics.frames_in += 1;
                    if !is_open(&self.desk, id) {
                        break;
                    }
                }
                Progress::Later(time) => hold = Hold::Rate(time),
                Progress::Wait => hold = Hold::Verdict,
            }
            if hold != Hold::Nothing {
                cut.retract();
                frames_held = true;
                break;
            }
        }
        if is_open(&self.desk, id) {
            drop(cut);
        } else {
            cut.discard();
        }
        if let Some(connection) = self.desk.find(id) {
            connection.framer = match framer {
                Some(framer) if !framer.is_empty() => Some(framer),
                None if !fresh.is_empty() => Some(Box::new(fresh)),
                Some(_) | None => None,
            };
            connection.frames_held = frames_held;
            connection.hold = hold;
            if let Hold::Rate(time) = hold {
                self.desk.timers.set(time, id, Kind::Resume);
            }
        }
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
        {
            self.end(id, reason);
        }
    }

    /// Reads what still comes on a closing connection, so that no reset eats the farewell.
    fn read_and_drop(&mut self, slot: usize) {
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        match read_once(connection, &mut self.scratch) {
            Ok(_) if connection.ended => self.desk.mark_dirty(slot),
            Ok(count) => self.desk.metrics.bytes_in += count as u64,
            Err(_) => self.desk.finish(slot),
        }
    }
}

/// Reads once; `Ok(0)` when nothing came, for now or, with `ended` set, for ever.
fn read_once<S: Socket>(connection: &mut Connection<S>, scratch: &mut [u8]) -> io::Result<usize> {
    let Some(socket) = &mut connection.socket else {
        return Ok(0);
    };
    match socket.read(scratch) {
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
