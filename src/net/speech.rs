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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::net::transport::Front;

    /// What is spoken after these bytes, which come in two reads, and the stanzas in them.
    fn told(text: &str, cut: usize, front: &Front) -> (Speech, Vec<u8>) {
        let peer = IpAddr::from([192, 0, 2, 1]);
        let (secret, keep_greeting, max, unix_s) = (true, false, 1_000, 0);
        let (mut speech, mut inbound) = (Speech::default(), Inbound::default());
        let mut bytes = text.as_bytes().to_vec();
        let (first, second) = bytes.split_at_mut(cut);
        for read in [first, second] {
            let arrival = Arrival { front, peer, secret, keep_greeting, max, unix_s };
            speech.receive(read, arrival, &mut inbound);
        }
        (speech, inbound.stanzas)
    }

    #[test]
    fn stanzas_as_they_are_keep_no_transport() {
        let (direct, mut proxied) = (Front::default(), Front::default());
        proxied.web.trusted_proxies = vec!["192.0.2.1/32".parse().unwrap()];
        for (text, front) in [
            ("<a/>\0", &direct),
            ("<a/>\0", &proxied),
            ("PROXY TCP4 192.0.2.2 192.0.2.1 1 2\r\n<a/>\0", &proxied),
        ] {
            for cut in 0..=text.len() {
                let (speech, stanzas) = told(text, cut, front);
                assert!(matches!(speech, Speech::Stanzas), "{text:?}, {cut}: {speech:?}");
                assert_eq!(stanzas, b"<a/>\0", "{text:?}, {cut}");
            }
        }
    }

    #[test]
    fn whatever_else_is_spoken_keeps_one() {
        let mut strict = Front::default();
        strict.web.stanzas = false;
        for (text, front) in [
            ("GET / HTTP/1.1\r\n", &Front::default()),
            ("\x16\x03\x01", &Front::default()),
            ("<a/>\0", &strict),
        ] {
            let (speech, stanzas) = told(text, 0, front);
            assert!(speech.transport().is_some() && stanzas.is_empty(), "{text:?}: {speech:?}");
        }
    }
}
