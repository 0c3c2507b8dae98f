//! Flushing: one system call for each connection that has something to send, and what becomes
//! of those who don't take it.

use std::io;

use log::Level::Debug;

use super::Server;
use super::closing::reason_of;
use crate::hub::{CloseReason, ConnId, Input};
use crate::limits::{LITTLE_PART, LONG_TURN_NS};
use crate::net::connection::State;
use crate::net::desk::{Desk, slow_deadline};
use crate::net::outbox::Flush;
use crate::net::timers::Kind;
use crate::net::world::World;

impl<W: World> Server<W> {
    /// One system call for each connection that has something to send.
    pub(super) fn flush(&mut self) {
        let is_long = self.desk.whole_work_ns() > LONG_TURN_NS;
        let mut dirty = self.desk.deliveries.take_dirty();
        if is_long {
            self.put_little_first(&mut dirty);
        }
        for &slot in &dirty {
            self.flush_one(slot);
            self.cut_off_the_fullest();
        }
        self.clear_away_the_finished();
        // Those who broke in this flush wait for the next turn, which comes at once.
        self.desk.deliveries.restore_dirty(dirty);
        self.desk.clear_deliveries();
        self.framed.forget();
        self.wire.clear();
        self.wire.shrink_to(crate::limits::READ_BYTES_PER_TURN);
    }

    /// Where writing takes long, whoever was told little comes first: what the polite tell each
    /// other does not wait until a crowd has been told what the crowd says.
    fn put_little_first(&self, dirty: &mut [usize]) {
        let deliveries = &self.desk.deliveries;
        let little = deliveries.mean_share_bytes(dirty.len()) / LITTLE_PART;
        dirty.sort_unstable_by_key(|&slot| !(1..=little).contains(&deliveries.share_bytes(slot)));
    }

    /// Connections that came to their end in this flush are closed in this turn: whoever connects
    /// next finds their places free.
    fn clear_away_the_finished(&mut self) {
        let dirty = self.desk.deliveries.take_dirty();
        for &slot in &dirty {
            let connection = self.desk.connections.get(slot);
            if connection.is_some_and(|connection| connection.state == State::Gone) {
                self.flush_one(slot);
            } else {
                self.desk.deliveries.visited(slot);
                self.desk.mark_dirty(slot);
            }
        }
        // What is left stands in the new list.
        self.desk.deliveries.restore_dirty(dirty);
    }

    fn flush_one(&mut self, slot: usize) {
        let unix_s = self.unix_s;
        let Desk { connections, deliveries, metrics, backlog, .. } = &mut self.desk;
        let Some(connection) = connections.get_mut(slot) else {
            return;
        };
        deliveries.visited(slot);
        let Some(socket) = &mut connection.socket else {
            return;
        };
        if connection.state == State::Gone {
            self.gone.push(slot);
            return;
        }
        let before = connection.outbox.backlog_bytes();
        let max = self.hub.settings().limits.backlog_bytes_max;
        let (mut pieces, writable) = (deliveries.pieces(slot), connection.writable);
        if let Some(transport) = &mut connection.transport {
            let end = match connection.state {
                State::Draining { reason, .. } => Some((reason, unix_s)),
                State::Open | State::Gone => None,
            };
            pieces = transport.send(pieces, end, &mut self.framed, &mut self.wire);
        }
        let flushed = connection.outbox.flush(pieces, &mut self.joined, socket, writable, max);
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
            Some(connection) if connection.state == State::Open => {
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
                self.desk.timers.set(slow_deadline(now), connection.id, Kind::SlowReader);
            }
            Some(since) if !slow => {
                connection.slow_since = None;
                self.desk.timers.cancel(slow_deadline(since), connection.id, Kind::SlowReader);
            }
            _ => {}
        }
    }

    /// Cuts off whoever has most waiting, until all together are within the limit. It is seen to
    /// after each connection, for one turn can fill as many outboxes as there are.
    fn cut_off_the_fullest(&mut self) {
        let max = self.hub.settings().limits.backlog_total_bytes_max;
        while self.desk.backlog.bytes() > max
            && let Some(id) = self.desk.backlog.fullest()
        {
            self.give_up(id, CloseReason::BacklogTotal);
        }
    }
}
