//! Flushing: one system call for each connection that has something to send, and what becomes
//! of those who don't take it.

use std::io::{self, IoSlice};

use log::Level::Debug;

use super::Server;
use super::closing::reason_of;
use crate::hub::{CloseReason, ConnId, Input};
use crate::limits::{RECEIVER_WORK_NS, RECEIVERS_PER_TURN, WRITTEN_BYTES_PER_TURN};
use crate::net::connection::{ConnectionPhase, Hold};
use crate::net::desk::{Desk, slow_deadline};
use crate::net::outbox::Flush;
use crate::net::timers::TimerKind;
use crate::net::world::World;

impl<W: World> Server<W> {
    /// One system call for each connection that has something to send. What crowds are told takes
    /// several turns: first some in which more is queued for them, as much as is worth so many
    /// calls, then some in which they are written to and only connections that have caused little
    /// are read. Whatever else is told is written in each of these turns.
    pub(super) fn flush(&mut self) {
        let was_writing = self.to_write > 0;
        self.write_some();
        if was_writing != (self.to_write > 0) {
            self.tell_crowds_wait(!was_writing);
        }
    }

    fn write_some(&mut self) {
        let dirty = self.desk.deliveries.take_dirty();
        for (index, &slot) in dirty.iter().enumerate() {
            if index < 2 * RECEIVERS_PER_TURN || self.is_gone(slot) {
                self.desk.deliveries.visited(slot);
                self.write_to(slot);
            } else {
                self.desk.deliveries.put_off(slot);
            }
        }
        self.write_to_crowds();
        self.clear_away_the_finished();
        // Those who broke in this flush wait for the next turn, which comes at once.
        self.desk.deliveries.restore_dirty(dirty);
        if self.desk.deliveries.crowded() > 0 {
            return self.desk.begin_part(self.to_write > 0);
        }
        (self.to_write, self.gathered_from_ns) = (0, 0);
        self.desk.clear_deliveries();
        self.framed.forget();
        self.wire.clear();
        self.wire.shrink_to(crate::limits::READ_BYTES_PER_TURN);
    }

    /// While crowds are written to, what more is said to them waits with those who say it.
    fn tell_crowds_wait(&mut self, wait: bool) {
        self.hub.handle(Input::CrowdsWait(wait), self.desk.now, &mut self.desk);
        if wait {
            return;
        }
        let mut held = std::mem::take(&mut self.held_for_crowds);
        for id in held.drain(..) {
            if let Some(connection) = self.desk.find(id)
                && connection.hold == Hold::Crowd
            {
                connection.hold = Hold::Nothing;
                self.make_ready(id.slot as usize);
            }
        }
        self.held_for_crowds = held;
    }

    /// Writes to the members of crowds: to all of them when they are few, otherwise to some when it
    /// is worth it. Members that are told something meanwhile are written to the next time, so
    /// that the writing ends and all connections are read again.
    fn write_to_crowds(&mut self) {
        let waiting = self.desk.deliveries.crowded();
        let few = waiting <= 2 * RECEIVERS_PER_TURN;
        let most = if few && self.to_write == 0 { waiting } else { RECEIVERS_PER_TURN };
        if self.to_write == 0 && (few || self.is_worth_writing(waiting)) {
            self.to_write = waiting;
        }
        let enough = self.desk.metrics.bytes_out + WRITTEN_BYTES_PER_TURN;
        for _ in 0..most.min(self.to_write) {
            if self.desk.metrics.bytes_out >= enough {
                break;
            }
            self.to_write -= 1;
            if let Some(slot) = self.desk.deliveries.next_of_crowd() {
                self.write_to(slot);
            }
            if self.to_write == 0 {
                self.gathered_from_ns = self.desk.work_ns();
            }
        }
    }

    /// Whether as much is queued as is worth a call of the system for so many, or as there is.
    fn is_worth_writing(&self, receivers: usize) -> bool {
        let gathered_ns = self.desk.work_ns() - self.gathered_from_ns;
        !self.ready.has_next()
            || self.desk.is_full()
            || gathered_ns >= 2 * receivers as u64 * RECEIVER_WORK_NS
    }

    fn write_to(&mut self, slot: usize) {
        self.flush_one(slot);
        self.cut_off_the_fullest();
    }

    /// Connections that came to their end in this flush are closed in this turn: a client that
    /// connects next finds their places free.
    fn clear_away_the_finished(&mut self) {
        let dirty = self.desk.deliveries.take_dirty();
        for &slot in &dirty {
            self.desk.deliveries.visited(slot);
            if self.is_gone(slot) {
                self.flush_one(slot);
            } else {
                self.desk.mark_dirty(slot);
            }
        }
        // What is left stands in the new list.
        self.desk.deliveries.restore_dirty(dirty);
    }

    fn is_gone(&self, slot: usize) -> bool {
        let connection = self.desk.connections.get(slot);
        connection.is_some_and(|connection| connection.state == ConnectionPhase::Gone)
    }

    fn flush_one(&mut self, slot: usize) {
        let unix_s = self.unix_s;
        let Desk { connections, deliveries, metrics, backlog, .. } = &mut self.desk;
        let Some(connection) = connections.get_mut(slot) else {
            return;
        };
        let Some(socket) = &mut connection.socket else {
            return;
        };
        if connection.state == ConnectionPhase::Gone {
            if !std::mem::replace(&mut connection.cleared, true) {
                self.gone.push(slot);
            }
            return;
        }
        let before = connection.outbox.backlog_bytes();
        let max = self.hub.settings().limits.backlog_bytes_max;
        let (mut pieces, writable) = (deliveries.pieces(slot), connection.writable);
        if let Some(transport) = connection.speech.transport_mut() {
            let end = match connection.state {
                ConnectionPhase::Draining { reason, .. } => Some((reason, unix_s)),
                ConnectionPhase::Open | ConnectionPhase::Gone => None,
            };
            pieces = transport.send(pieces, end, &mut self.framed, &mut self.wire);
        }
        let write = |slices: &[IoSlice<'_>]| self.world.write(socket, slices);
        let flushed = connection.outbox.flush(pieces, &mut self.joined, write, writable, max);
        deliveries.forget(slot);
        let id = connection.id;
        backlog.change(id, before, connection.outbox.backlog_bytes());
        match flushed {
            Flush::Done(bytes) => metrics.bytes_out += bytes as u64,
            Flush::Blocked(bytes) => {
                metrics.bytes_out += bytes as u64;
                connection.writable = false;
            }
            Flush::TooMuch => return self.give_up(id, CloseReason::SlowReader),
            Flush::Broken(error) => return self.stop_writing(id, &error),
        }
        self.watch_slowness(slot);
        self.watch_keeping_up(slot);
        self.read_again(slot);
        self.go_on_closing(slot);
    }

    /// Tells the hub when a reader does not keep up any more, and when it does again.
    fn watch_keeping_up(&mut self, slot: usize) {
        let (behind_bytes, keeps_up_bytes) = self.hub.settings().limits.behind_bytes();
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        let waiting = connection.outbox.backlog_bytes();
        let behind = waiting > if connection.behind { keeps_up_bytes } else { behind_bytes };
        if std::mem::replace(&mut connection.behind, behind) != behind {
            let (conn, now) = (connection.id, self.desk.now);
            self.hub.handle(Input::Behind { conn, behind }, now, &mut self.desk);
        }
    }

    /// A connection for whose reading too much waited is read again when that has become less.
    fn read_again(&mut self, slot: usize) {
        let limits = &self.hub.settings().limits;
        if let Some(connection) = self.desk.connections.get_mut(slot)
            && connection.stuffed
            && connection.outbox.backlog_bytes() <= connection.unread_bytes_max(limits)
        {
            connection.stuffed = false;
            self.make_ready(slot);
        }
    }

    /// Nothing more can be written to a connection. What it had sent before is still handled:
    /// it ends when that is read.
    fn stop_writing(&mut self, id: ConnId, error: &io::Error) {
        self.desk.log_of(Debug, id, format_args!("client {id}: {error}"));
        let slot = id.slot as usize;
        self.desk.empty_outbox(slot);
        match self.desk.find(id) {
            Some(connection) if connection.state == ConnectionPhase::Open => {
                connection.broken = Some(reason_of(error));
                connection.readable = true;
                connection.stuffed = false;
                self.watch_slowness(slot);
                self.make_ready(slot);
            }
            _ => self.desk.finish(slot),
        }
    }

    /// A connection's reader is too slow. The hub hears of it in the next turn: its answers would
    /// come too late for this flush.
    fn give_up(&mut self, id: ConnId, reason: CloseReason) {
        self.desk.empty_outbox(id.slot as usize);
        self.given_up.push_back((id, reason));
    }

    /// Starts or stops the time that a reader may stay above `limits.backlogsoft`.
    fn watch_slowness(&mut self, slot: usize) {
        let max = self.hub.settings().limits.backlog_soft_bytes_max;
        let now = self.desk.now;
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        let slow = connection.outbox.backlog_bytes() > max;
        match connection.slow_since {
            None if slow => {
                connection.slow_since = Some(now);
                self.desk.timers.set(slow_deadline(now), connection.id, TimerKind::SlowReader);
            }
            Some(since) if !slow => {
                connection.slow_since = None;
                self.desk.timers.cancel(slow_deadline(since), connection.id, TimerKind::SlowReader);
            }
            _ => {}
        }
    }

    /// Cuts off the connection for which most is waiting, until all together are within the limit.
    /// This is done after each connection, for one turn can fill as many outboxes as there are.
    fn cut_off_the_fullest(&mut self) {
        let max = self.hub.settings().limits.backlog_total_bytes_max;
        while self.desk.backlog.bytes() > max
            && let Some(id) = self.desk.backlog.fullest()
        {
            self.give_up(id, CloseReason::BacklogTotal);
        }
    }
}
