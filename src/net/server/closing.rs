//! Closing: how a connection comes to its end, and the whole server to its.

use std::io;

use log::Level::Debug;

use super::{Server, is_open};
use crate::hub::{CloseReason, ConnId, Input};
use crate::limits::ENDS_PER_TURN;
use crate::net::connection::ConnectionPhase;
use crate::net::world::World;

/// Connections for which there is room without asking the system.
const CONNECTIONS_KEPT: usize = 1_024;

impl<W: World> Server<W> {
    /// Bids all clients farewell; the rest of the work is the closes' own.
    pub(super) fn begin_stopping(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.world.stop_listening();
            self.hand_over_the_last_changes();
            let now = self.desk.now;
            self.hub.handle(Input::Shutdown, now, &mut self.desk);
            self.stop_plugins();
        }
    }

    /// A connection ends for a reason that the hub did not give.
    pub(super) fn end(&mut self, id: ConnId, reason: CloseReason) {
        if is_open(&self.desk, id) {
            let now = self.desk.now;
            self.hub.handle(Input::Ended { conn: id, reason }, now, &mut self.desk);
            self.desk.drain(id, reason);
        }
    }

    /// A connection is broken: nothing can be sent to it any more.
    pub(super) fn lose(&mut self, id: ConnId, error: &io::Error) {
        self.desk.log_of(Debug, id, format_args!("client {id}: {error}"));
        self.end(id, reason_of(error));
        self.desk.finish(id.slot as usize);
    }

    /// Ends a connection whose reader is too slow; what waits for it is dropped.
    pub(super) fn cut_off(&mut self, id: ConnId, reason: CloseReason) {
        self.end(id, reason);
        self.desk.finish(id.slot as usize);
    }

    /// Tells the hub of the connections that the last flush gave up.
    pub(super) fn tell_given_up(&mut self) {
        for _ in 0..ENDS_PER_TURN {
            let Some(&(id, reason)) = self.given_up.front().filter(|_| !self.desk.has_enough())
            else {
                break;
            };
            self.given_up.pop_front();
            if self.desk.find(id).is_some() {
                self.cut_off(id, reason);
            }
        }
    }

    /// A closing connection whose farewell is out ends its stream, and is gone when the peer
    /// has ended its own.
    pub(super) fn go_on_closing(&mut self, slot: usize) {
        let Some(connection) = self.desk.connections.get_mut(slot) else {
            return;
        };
        if !matches!(connection.state, ConnectionPhase::Draining { .. })
            || !connection.outbox.is_empty()
            || !self.desk.deliveries.pieces(slot).is_empty()
        {
            return;
        }
        if !connection.shut {
            connection.shut = true;
            let socket = connection.socket.as_mut();
            let shut = socket.map_or(Ok(()), |socket| self.world.shutdown_write(socket));
            connection.ended |= shut.is_err();
        }
        if connection.ended {
            self.desk.finish(slot);
        } else {
            self.make_ready(slot);
        }
    }

    /// Closes the sockets of the connections that are over; these count for no limit any more.
    pub(super) fn close_sockets(&mut self) {
        for index in 0..self.gone.len() {
            let Some(connection) = self.desk.connections.get_mut(self.gone[index]) else {
                continue;
            };
            if let Some(socket) = connection.socket.take() {
                self.world.close(socket);
            }
            self.starved_until = None;
            let (conn, now) = (connection.id, self.desk.now);
            self.hub.handle(Input::Gone { conn }, now, &mut self.desk);
        }
    }

    /// Gives the slots of closed connections back; no connection has got one of them in this turn.
    pub(super) fn free_slots(&mut self) {
        for slot in self.gone.drain(..) {
            self.desk.connections.try_remove(slot);
            self.desk.deliveries.release(slot);
        }
        // The memory of a crowd goes when most of it has gone.
        let connections = &mut self.desk.connections;
        if connections.capacity() > 4 * connections.len().max(CONNECTIONS_KEPT) {
            connections.shrink_to_fit();
        }
    }
}

/// Why a connection ends that failed with this.
pub(super) fn reason_of(error: &io::Error) -> CloseReason {
    if error.kind() == io::ErrorKind::TimedOut { CloseReason::Idle } else { CloseReason::Broken }
}
