//! Connections that do not simply send stanzas: what they speak is found out, and their bytes go
//! through a transport on both ways.

use std::collections::BTreeSet;
use std::fmt::Arguments;
use std::time::Duration;

use log::Level::{self, Debug, Info, Warn};

use super::{Server, is_open};
use crate::hub::{CloseReason, ConnId, Outlet as _, Time};
use crate::limits::{ADVICE_MAX, ADVICE_TIME_S, PING_ANSWER_TIME_S};
use crate::logging::Escaped;
use crate::net::connection::ConnectionPhase;
use crate::net::pages;
use crate::net::timers::TimerKind;
use crate::net::transport::{Advice, Arrival, Page, Received, Reply, Transport};
use crate::net::world::World;
use crate::wire::write;

/// What the log has been told of late: whoever asks a thousand times is told of once.
#[derive(Debug, Default)]
pub(super) struct Advised {
    about: BTreeSet<String>,
    /// Until then it counts.
    until: Time,
}

impl Advised {
    /// Whether this is to be told.
    fn is_news(&mut self, advice: &Advice, now: Time) -> bool {
        if now >= self.until {
            self.about.clear();
            self.until = now + Duration::from_secs(ADVICE_TIME_S);
        }
        self.about.len() < ADVICE_MAX && self.about.insert(advice.about.clone())
    }
}

impl<W: World> Server<W> {
    /// Takes in bytes of a connection that does not simply send stanzas, or has said nothing yet.
    /// With `may_keep_greeting` a TLS handshake waits for its turn when it has to.
    pub(super) fn take_in(&mut self, id: ConnId, bytes: &mut [u8], may_keep_greeting: bool) {
        let now = self.desk.now;
        let Some(connection) = self.desk.find(id) else {
            return;
        };
        let (peer, secret) = (connection.address, connection.secret);
        let max = self.hub.settings().limits.stanza_bytes_max;
        let keep_greeting = may_keep_greeting && self.greeters.wait(peer, now);
        let (front, unix_s) = (&self.front, self.unix_s);
        let arrival = Arrival { front, peer, secret, keep_greeting, max, unix_s };
        // Lent out, because what it brings changes the rest of the server.
        let mut inbound = std::mem::take(&mut self.inbound);
        connection.speech.receive(bytes, arrival, &mut inbound);
        if let Some(transport) = connection.speech.transport_mut() {
            transport.heard_at = now;
            transport.pinged = false;
            if transport.wants_to_send() {
                self.desk.mark_dirty(id.slot as usize);
            }
        }
        self.desk.worked(inbound.work_ns + inbound.greeting_ns);
        if inbound.greeting_ns > 0 {
            // It is held against the address: what the newcomer says next is not to wait behind
            // the handshakes of others.
            self.greeters.greeted(peer, inbound.greeting_ns, now);
            self.go_began_ns += inbound.greeting_ns;
        }
        for event in inbound.events.drain(..) {
            self.handle_received(id, event, &inbound.stanzas);
        }
        inbound.clear(secret);
        self.inbound = inbound;
    }

    fn handle_received(&mut self, id: ConnId, event: Received, stanzas: &[u8]) {
        match event {
            Received::Address(address) => {
                let line = format_args!("client {id} is {address}, its proxy says");
                self.desk.log(Debug, Some(address), line);
                self.client_address(id, address);
            }
            Received::Trouble(trouble) => {
                let trouble = Escaped(&trouble);
                self.log_with_address(Info, id, format_args!("{trouble}"));
            }
            Received::Advice(advice) => {
                if self.advised.is_news(&advice, self.desk.now) {
                    self.log_with_address(Warn, id, format_args!("{advice}"));
                }
            }
            // It may be over by what came before: there may be too many from its address.
            _ if !is_open(&self.desk, id) => {}
            Received::WebSocket => {
                self.desk.log_of(Debug, id, format_args!("client {id} opened a WebSocket"));
                self.check_later(id);
            }
            Received::Stanzas(range) => self.handle_frames(id, &stanzas[range]),
            Received::FramesInVain(count) => self.count_frames_in_vain(id, count),
            Received::Page(page, reply) => self.answer(id, page, reply),
            Received::Refused(error) => {
                let message = self.desk.encode(|buffer| write::error(buffer, error));
                self.desk.push(id, message);
            }
        }
    }

    fn log_with_address(&mut self, level: Level, id: ConnId, text: Arguments<'_>) {
        if let Some(peer) = self.desk.find(id).map(|connection| connection.address) {
            self.desk.log(level, Some(peer), format_args!("client {id} from {peer}: {text}"));
        }
    }

    fn answer(&mut self, id: ConnId, page: Page, reply: Reply) {
        let answer = pages::answer(page, reply, &self.desk.metrics, || self.gauges());
        // The metrics look at every connection.
        let looked_at = if page == Page::Metrics { self.connections() } else { 0 };
        self.desk.spent(answer.len() + 2 * looked_at);
        if let Some(transport) = self.transport(id) {
            transport.answer(answer);
        }
        self.desk.mark_dirty(id.slot as usize);
    }

    fn transport(&mut self, id: ConnId) -> Option<&mut Transport> {
        self.desk.find(id)?.speech.transport_mut()
    }

    /// Sets when a WebSocket is checked that will have been silent by then.
    pub(super) fn check_later(&mut self, id: ConnId) {
        let idle_time_s = self.hub.settings().limits.idle_time_s;
        let Some(transport) = self.transport(id) else {
            return;
        };
        let wait_s = if transport.pinged { PING_ANSWER_TIME_S } else { idle_time_s };
        if idle_time_s == 0 || transport.check_at.is_some() || !transport.is_web_socket() {
            return;
        }
        let check_at = transport.heard_at.plus_secs(wait_s);
        transport.check_at = Some(check_at);
        self.desk.timers.set(check_at, id, TimerKind::Check);
    }

    /// The time of a check has come: whoever has been silent is sent a ping, and whoever has not
    /// answered one is gone.
    pub(super) fn check(&mut self, id: ConnId) {
        let idle_time_s = self.hub.settings().limits.idle_time_s;
        let now = self.desk.now;
        let Some(connection) =
            self.desk.find(id).filter(|found| found.state == ConnectionPhase::Open)
        else {
            return;
        };
        let unread = connection.readable;
        let Some(transport) = connection.speech.transport_mut() else {
            return;
        };
        transport.check_at = None;
        if unread {
            // Whatever it is, it was sent.
            transport.heard_at = now;
            transport.pinged = false;
        }
        if transport.pinged {
            return self.end(id, CloseReason::Idle);
        }
        if idle_time_s != 0 && transport.heard_at.plus_secs(idle_time_s) <= now {
            transport.ping();
            transport.heard_at = now;
            self.desk.mark_dirty(id.slot as usize);
        }
        self.check_later(id);
    }
}
