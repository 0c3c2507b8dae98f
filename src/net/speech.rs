//! What a connection speaks, from its first byte on.
//!
//! Every connection begins with a transport, which tells by the first bytes what there is to be
//! done with the others. Where that is nothing, because they are stanzas as they are, the
//! transport goes before it has cost any memory.

use super::transport::{Arrival, Inbound, Transport};
use crate::networks;

/// What a connection speaks.
#[derive(Debug, Default)]
pub(super) enum Speech {
    /// Nothing has come of it yet.
    #[default]
    Unknown,
    /// Stanzas: nothing stands between its bytes and the hub.
    Stanzas,
    /// Whatever its transport makes stanzas of, or knows nothing of yet.
    Through(Box<Transport>),
}

/// What is spoken, for metrics and plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Nothing that could be told yet, or HTTP.
    Undecided,
    /// Stanzas.
    Stanzas,
    /// Frames.
    WebSocket,
}

/// Protocols, each without TLS and with it, and their names in metrics.
const PROTOCOLS: [((Protocol, bool), &str); 6] = [
    ((Protocol::Stanzas, false), "stanzas"),
    ((Protocol::Stanzas, true), "stanzas_tls"),
    ((Protocol::WebSocket, false), "websocket"),
    ((Protocol::WebSocket, true), "websocket_tls"),
    ((Protocol::Undecided, false), "undecided"),
    ((Protocol::Undecided, true), "undecided_tls"),
];

impl Speech {
    /// The transport, where there is one.
    pub(super) fn transport(&self) -> Option<&Transport> {
        match self {
            Self::Unknown | Self::Stanzas => None,
            Self::Through(transport) => Some(transport),
        }
    }

    /// The transport, to be changed.
    pub(super) fn transport_mut(&mut self) -> Option<&mut Transport> {
        match self {
            Self::Unknown | Self::Stanzas => None,
            Self::Through(transport) => Some(transport),
        }
    }

    /// Takes bytes of the wire, which it may change, and adds what they bring to `inbound`.
    /// Something may then be to be sent.
    pub(super) fn receive(
        &mut self,
        bytes: &mut [u8],
        arrival: Arrival<'_>,
        inbound: &mut Inbound,
    ) {
        match self {
            Self::Stanzas => inbound.take_stanzas(bytes),
            Self::Unknown => {
                let trusted = &arrival.front.web.trusted_proxies;
                let mut transport = Transport::new(networks::contains(trusted, arrival.peer));
                transport.receive(bytes, arrival, inbound);
                *self = if transport.is_needless() {
                    Self::Stanzas
                } else {
                    Self::Through(Box::new(transport))
                };
            }
            Self::Through(transport) => {
                transport.receive(bytes, arrival, inbound);
                if transport.is_needless() {
                    *self = Self::Stanzas;
                }
            }
        }
    }

    /// The protocol, and whether it is spoken over TLS.
    fn protocol(&self) -> (Protocol, bool) {
        match self {
            Self::Unknown => (Protocol::Undecided, false),
            Self::Stanzas => (Protocol::Stanzas, false),
            Self::Through(transport) => transport.protocol(),
        }
    }

    /// The name of the protocol for plugins; nothing while it is undecided.
    pub(super) fn name(&self) -> &'static str {
        let spoken = self.protocol();
        let named = PROTOCOLS.iter().find(|(known, _)| *known == spoken);
        named.filter(|_| spoken.0 != Protocol::Undecided).map_or("", |(_, name)| name)
    }
}

/// How often each protocol is among these, by its name.
pub(super) fn count<'a>(all: impl Iterator<Item = &'a Speech>) -> Vec<(&'static str, usize)> {
    let mut counts = PROTOCOLS.map(|(_, name)| (name, 0));
    for speech in all {
        let spoken = speech.protocol();
        if let Some(at) = PROTOCOLS.iter().position(|(known, _)| *known == spoken) {
            counts[at].1 += 1;
        }
    }
    counts.to_vec()
}
