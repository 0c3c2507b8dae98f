//! What stands between a connection of the generator and its stanzas, the client's side of it:
//! a WebSocket, TLS, or one in the other. A connection that speaks stanzas has none of this.
//!
//! `websocket` has the opening handshake and the frames, `secure` has TLS. No socket is known
//! here.

mod secure;
mod websocket;

use std::net::{Ipv4Addr, SocketAddr};

use self::secure::ClientRecords;
pub(super) use self::secure::{OwnCertificate, TlsClient};
use self::websocket::ClientWebSocket;
use super::over::Spoken;

/// How transports of one server begin.
#[derive(Clone, Debug)]
pub(super) struct Approach {
    /// Where to.
    pub(super) target: SocketAddr,
    /// What connections in TLS accept; `None` where there is none to be.
    pub(super) client: Option<TlsClient>,
    /// The server takes this host for a proxy: it is told that each connection is from an address
    /// of its own, so that the limits of an address count.
    pub(super) proxied: bool,
}

impl Approach {
    /// What a client in TLS says first.
    ///
    /// # Errors
    /// What TLS finds wrong, in words.
    pub(super) fn client_hello(&self) -> Result<Vec<u8>, String> {
        let transport = ClientTransport::new(Spoken::Tls, self)?;
        Ok(transport.map_or_else(Vec::new, |mut transport| std::mem::take(transport.out())))
    }
}

/// The header of the PROXY protocol, version 1, of a connection from this address.
pub(super) fn proxy_header(address: Ipv4Addr) -> String {
    format!("PROXY TCP4 {address} 192.0.2.255 1 1\r\n")
}

/// The transport of one connection.
#[derive(Debug)]
pub(super) struct ClientTransport {
    secure: Option<ClientRecords>,
    socket: Option<ClientWebSocket>,
    /// Bytes that can be written as they are.
    out: Vec<u8>,
}

impl ClientTransport {
    /// One that has not begun; `None` where stanzas are spoken as they are.
    ///
    /// # Errors
    /// What TLS finds wrong, in words.
    pub(super) fn new(over: Spoken, way: &Approach) -> Result<Option<Box<Self>>, String> {
        if over == Spoken::Stanzas {
            return Ok(None);
        }
        let secure = over.is_secure().then(|| ClientRecords::new(way, over.is_web_socket()));
        let socket = over.is_web_socket().then(|| ClientWebSocket::new(way.target));
        let mut transport = Self { secure: secure.transpose()?, socket, out: Vec::new() };
        transport.send(&mut Vec::new());
        Ok(Some(Box::new(transport)))
    }

    /// Takes bytes of the wire, which it may change, and lends the stream of stanzas in them
    /// from there or from `plain`, which is scratch memory. Something may then be to be sent.
    ///
    /// # Errors
    /// What the server did that no server may do, in words.
    #[inline(never)] // The loop that reads stanzas as they are stays as small as it is without.
    pub(super) fn receive<'a>(
        &mut self,
        bytes: &'a mut [u8],
        plain: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], String> {
        let bytes = if let Some(secure) = &mut self.secure {
            plain.clear();
            secure.receive(bytes, plain)?;
            &mut plain[..]
        } else {
            bytes
        };
        let Some(socket) = &mut self.socket else {
            return Ok(bytes);
        };
        let stanzas = socket.receive(bytes)?;
        Ok(&bytes[stanzas])
    }

    /// Takes what waits to be sent, as far as the other side is ready for it, and makes bytes
    /// for the wire of it.
    pub(super) fn send(&mut self, stanzas: &mut Vec<u8>) {
        let Some(socket) = &mut self.socket else {
            if let Some(secure) = &mut self.secure {
                if secure.is_open() {
                    secure.write(stanzas);
                    stanzas.clear();
                }
                secure.take_records(&mut self.out);
            }
            return;
        };
        let Some(secure) = &mut self.secure else {
            return socket.send(stanzas, &mut self.out);
        };
        if secure.is_open() {
            let mut frames = Vec::new();
            socket.send(stanzas, &mut frames);
            secure.write(&frames);
        }
        secure.take_records(&mut self.out);
    }

    /// Bytes for the wire; what is written is to be taken from their front.
    pub(super) const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether something is to be sent besides stanzas, or the other side has become ready for
    /// them.
    pub(super) fn wants_to_send(&self) -> bool {
        !self.out.is_empty()
            || self.socket.as_ref().is_some_and(ClientWebSocket::wants_to_send)
            || self.secure.as_ref().is_some_and(ClientRecords::wants_to_send)
    }

    /// Whether stanzas can be sent.
    pub(super) fn is_open(&self) -> bool {
        self.secure.as_ref().is_none_or(ClientRecords::is_open)
            && self.socket.as_ref().is_none_or(ClientWebSocket::is_open)
    }
}
