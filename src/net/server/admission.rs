//! Admission: new connections, so many in a turn, as long as there are descriptors.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level::{Info, Warn};
use log::{error, info};

use super::Server;
use crate::hub::{CloseReason, Input, ListenerKind};
use crate::limits::ACCEPTS_PER_TURN;
use crate::net::plugins::Hook;
use crate::net::speech::Speech;
use crate::net::world::World;

/// How long accepting rests when descriptors have run out and none of ours has been freed.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// How long the log then says nothing more of it.
const STARVED_QUIET: Duration = Duration::from_secs(60);

impl<W: World> Server<W> {
    /// Takes in new connections, so many from each listener.
    pub(super) fn admit(&mut self) {
        if self.stopping || self.starved_until.is_some() {
            return;
        }
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                if !self.listeners[index].acceptable {
                    break;
                }
                match self.world.accept(index) {
                    Ok((socket, address)) => self.admit_one(index, socket, address),
                    Err(error) => self.accept_failed(index, &error),
                }
                if self.starved_until.is_some() {
                    return;
                }
            }
        }
    }

    fn admit_one(&mut self, listener: usize, socket: W::Socket, address: SocketAddr) {
        if std::mem::take(&mut self.starved_told) {
            info!("a descriptor was free: accepting connections again");
            // At the limit each end of a session frees a descriptor that is taken at once: that
            // is told once a while, not once a session.
            self.starved_quiet_until = self.desk.now + STARVED_QUIET;
        }
        let address = address.ip().to_canonical();
        let id = self.desk.add(address, socket);
        let line = format_args!("client {id} from {address} connected");
        self.desk.log(Info, Some(address), line);
        self.desk.tell_hook(Hook::ClientInit, id, "", &[]);
        let connection = self.desk.connections.get_mut(id.slot as usize);
        let registered = match connection.and_then(|connection| connection.socket.as_mut()) {
            Some(socket) => self.world.register(socket, id.slot as usize),
            None => Ok(()),
        };
        if let Err(error) = registered {
            let line = format_args!("client {id} from {address} can't be watched: {error}");
            self.desk.log(Warn, Some(address), line);
            self.desk.drain(id, CloseReason::Broken);
            self.desk.finish(id.slot as usize);
            return;
        }
        let kind = self.listeners[listener].kind;
        if kind == ListenerKind::Policy
            && let Some(connection) = self.desk.find(id)
        {
            // The policy port knows nothing else.
            connection.speech = Speech::Stanzas;
        }
        let now = self.desk.now;
        self.hub.handle(Input::Opened { conn: id, address, listener: kind }, now, &mut self.desk);
    }

    fn accept_failed(&mut self, listener: usize, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.listeners[listener].acceptable = false;
            return;
        }
        let of_the_peer = [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::Interrupted,
        ];
        if of_the_peer.contains(&error.kind()) {
            // The one at the head of the queue is gone; the next one may be fine.
            return;
        }
        self.desk.metrics.accept_errors += 1;
        self.starved_until = Some(self.desk.now + ACCEPT_REST);
        if !self.starved_told && self.desk.now >= self.starved_quiet_until {
            self.starved_told = true;
            error!(
                "can't accept connections: {error}; going on when a descriptor is free \
                 ({} connections open)",
                self.desk.connections.len()
            );
        }
    }
}
