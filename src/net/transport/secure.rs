//! TLS of one connection: records in, records out. `rustls` has the protocol.
//!
//! Without the Cargo feature `tls` there is a stand-in that no connection can have.

/// The alert of a server that has no certificate: fatal, `handshake_failure` (RFC 8446 section 6).
pub(super) const HANDSHAKE_FAILURE: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];

#[cfg(feature = "tls")]
pub use with_rustls::Config;
#[cfg(feature = "tls")]
pub(super) use with_rustls::Secure;
#[cfg(not(feature = "tls"))]
pub use without::Config;
#[cfg(not(feature = "tls"))]
pub(super) use without::Secure;

#[cfg(feature = "tls")]
mod with_rustls {
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;

    use rustls::{ServerConfig, ServerConnection};

    /// A certificate and all that belongs to it.
    pub type Config = Arc<ServerConfig>;

    /// The server's side of one connection.
    #[derive(Debug)]
    pub(in crate::net::transport) struct Secure(Box<ServerConnection>);

    impl Secure {
        pub(in crate::net::transport) fn new(config: &Config) -> Option<Self> {
            let mut connection = ServerConnection::new(Arc::clone(config)).ok()?;
            // All that is written is taken away at once; what waits is bounded elsewhere.
            connection.set_buffer_limit(None);
            Some(Self(Box::new(connection)))
        }

        /// Takes records and appends what is in them; whether the peer has ended its side.
        ///
        /// # Errors
        /// What is wrong, in words. The alert for it is to be sent.
        pub(in crate::net::transport) fn receive(
            &mut self,
            mut records: &[u8],
            plain: &mut Vec<u8>,
        ) -> Result<bool, String> {
            while !records.is_empty() {
                let taken = self.0.read_tls(&mut records).map_err(|error| error.to_string())?;
                let state = self.0.process_new_packets().map_err(|error| error.to_string())?;
                let fresh = state.plaintext_bytes_to_read();
                if fresh > 0 {
                    let before = plain.len();
                    plain.resize(before + fresh, 0);
                    let read = self.0.reader().read_exact(&mut plain[before..]);
                    read.map_err(|error| error.to_string())?;
                }
                if state.peer_has_closed() {
                    return Ok(true);
                }
                if taken == 0 {
                    break;
                }
            }
            Ok(false)
        }

        /// Appends the records of these bytes, and the end of the stream with `end`.
        pub(in crate::net::transport) fn send(
            &mut self,
            plain: &[u8],
            end: bool,
            records: &mut Vec<u8>,
        ) {
            // Neither writing to memory without a bound nor to a vector fails.
            let _ = self.0.writer().write_all(plain);
            if end {
                self.0.send_close_notify();
            }
            while self.0.wants_write() && self.0.write_tls(records).is_ok_and(|bytes| bytes > 0) {}
        }

        /// Whether the handshake is done.
        pub(in crate::net::transport) fn is_open(&self) -> bool {
            !self.0.is_handshaking()
        }

        pub(in crate::net::transport) fn wants_to_send(&self) -> bool {
            self.0.wants_write()
        }
    }
}

#[cfg(not(feature = "tls"))]
mod without {
    /// No certificate can be read.
    #[derive(Clone, Debug)]
    pub enum Config {}

    /// No connection has it.
    #[derive(Debug)]
    pub(in crate::net::transport) enum Secure {}

    impl Secure {
        pub(in crate::net::transport) fn new(config: &Config) -> Option<Self> {
            match *config {}
        }

        pub(in crate::net::transport) fn receive(
            &self,
            _records: &[u8],
            _plain: &mut Vec<u8>,
        ) -> Result<bool, String> {
            match *self {}
        }

        pub(in crate::net::transport) fn send(
            &self,
            _plain: &[u8],
            _end: bool,
            _records: &mut Vec<u8>,
        ) {
            match *self {}
        }

        pub(in crate::net::transport) fn is_open(&self) -> bool {
            match *self {}
        }

        pub(in crate::net::transport) fn wants_to_send(&self) -> bool {
            match *self {}
        }
    }
}
