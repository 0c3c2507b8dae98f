//! The client's side of TLS, and the certificate of a server that the bench starts itself.
//!
//! The generator measures and does not judge: it takes that one certificate, or any where the
//! server runs already. Without the Cargo feature `tls` there is a stand-in that no connection
//! can have.

#[cfg(feature = "tls")]
pub(super) use with_rustls::ClientRecords;
#[cfg(feature = "tls")]
pub(in crate::bench) use with_rustls::{OwnCertificate, TlsClient};
#[cfg(not(feature = "tls"))]
pub(super) use without::ClientRecords;
#[cfg(not(feature = "tls"))]
pub(in crate::bench) use without::{OwnCertificate, TlsClient};

#[cfg(feature = "tls")]
mod with_rustls {
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;

    use rustls::client::{ClientConfig, ClientConnection, Resumption};
    use rustls::pki_types::{CertificateDer, ServerName};

    use crate::bench::transport::Approach;
    use crate::net::certificate::trust::{Trust, client_config};

    /// A certificate that nobody else has, and its key.
    #[derive(Clone, Debug)]
    pub(in crate::bench) struct OwnCertificate {
        /// The certificate as a PEM file has it.
        pub(in crate::bench) certificate_pem: String,
        /// The key as a PEM file has it.
        pub(in crate::bench) key_pem: String,
        certificate: CertificateDer<'static>,
    }

    impl OwnCertificate {
        /// A new one, signed by itself: ECDSA on P-256, as most servers have.
        ///
        /// # Errors
        /// What is wrong, in words.
        pub(in crate::bench) fn new() -> Result<Self, String> {
            Self::of(&rcgen::KeyPair::generate().map_err(|error| unmade(&error))?)
        }

        /// A new one of an RSA key of 2,048 bits, whose signatures cost a server most of all that
        /// are usual. Ring makes no such keys: this one is in the source, and secures nothing.
        ///
        /// # Errors
        /// What is wrong, in words.
        pub(in crate::bench) fn rsa() -> Result<Self, String> {
            Self::of(&rcgen::KeyPair::from_pem(RSA_KEY).map_err(|error| unmade(&error))?)
        }

        fn of(key: &rcgen::KeyPair) -> Result<Self, String> {
            let parameters = rcgen::CertificateParams::new(["localhost".to_owned()]);
            let made = parameters.and_then(|parameters| parameters.self_signed(key));
            let certificate = made.map_err(|error| unmade(&error))?;
            Ok(Self {
                certificate_pem: certificate.pem(),
                key_pem: key.serialize_pem(),
                certificate: certificate.der().clone(),
            })
        }
    }

    const RSA_KEY: &str = include_str!("rsa.pem");

    fn unmade(error: &rcgen::Error) -> String {
        format!("can't make a certificate: {error}")
    }

    /// What all connections to one server have in common.
    #[derive(Clone, Debug)]
    pub(in crate::bench) struct TlsClient {
        stanzas: Arc<ClientConfig>,
        web_socket: Arc<ClientConfig>,
    }

    impl TlsClient {
        /// One that accepts this certificate only, or any.
        ///
        /// # Errors
        /// What is wrong, in words.
        pub(in crate::bench) fn new(accepted: Option<&OwnCertificate>) -> Result<Self, String> {
            let trust = match accepted {
                Some(identity) => Trust::Only(identity.certificate.clone()),
                None => Trust::Any,
            };
            let mut stanzas = client_config(trust).map_err(|error| error.to_string())?;
            // Each connection stands for a client that was never there before.
            stanzas.resumption = Resumption::disabled();
            let mut web_socket = stanzas.clone();
            web_socket.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Self { stanzas: Arc::new(stanzas), web_socket: Arc::new(web_socket) })
        }
    }

    /// One connection's.
    #[derive(Debug)]
    pub(in crate::bench::transport) struct ClientRecords(Box<ClientConnection>);

    impl ClientRecords {
        /// Begins; a browser that opens a WebSocket says that it speaks HTTP.
        ///
        /// # Errors
        /// What is wrong, in words.
        pub(in crate::bench::transport) fn new(
            way: &Approach,
            web_socket: bool,
        ) -> Result<Self, String> {
            let Some(client) = &way.client else {
                return Err("TLS was not provided for".to_owned());
            };
            let config = if web_socket { &client.web_socket } else { &client.stanzas };
            let name = ServerName::IpAddress(way.target.ip().into());
            let mut connection = ClientConnection::new(Arc::clone(config), name)
                .map_err(|error| error.to_string())?;
            connection.set_buffer_limit(None);
            Ok(Self(Box::new(connection)))
        }

        pub(in crate::bench::transport) fn is_open(&self) -> bool {
            !self.0.is_handshaking()
        }

        pub(in crate::bench::transport) fn wants_to_send(&self) -> bool {
            self.0.wants_write()
        }

        /// Takes records and appends what is in them.
        ///
        /// # Errors
        /// What is wrong, in words.
        pub(in crate::bench::transport) fn receive(
            &mut self,
            mut records: &[u8],
            plain: &mut Vec<u8>,
        ) -> Result<(), String> {
            let wrong = |error: &dyn std::fmt::Display| format!("TLS: {error}");
            while !records.is_empty() {
                let taken = self.0.read_tls(&mut records).map_err(|error| wrong(&error))?;
                let state = self.0.process_new_packets().map_err(|error| wrong(&error))?;
                let before = plain.len();
                plain.resize(before + state.plaintext_bytes_to_read(), 0);
                let read = self.0.reader().read_exact(&mut plain[before..]);
                read.map_err(|error| wrong(&error))?;
                if taken == 0 || state.peer_has_closed() {
                    break;
                }
            }
            Ok(())
        }

        /// Takes plain bytes to be sent.
        pub(in crate::bench::transport) fn write(&mut self, plain: &[u8]) {
            // Writing to memory without a bound does not fail.
            let _ = self.0.writer().write_all(plain);
        }

        /// Appends the records that are to be sent.
        pub(in crate::bench::transport) fn take_records(&mut self, out: &mut Vec<u8>) {
            // Writing to a vector does not fail.
            while self.0.wants_write() && self.0.write_tls(out).is_ok_and(|bytes| bytes > 0) {}
        }
    }
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::needless_pass_by_ref_mut, reason = "it stands in for one that changes")]
mod without {
    use crate::bench::transport::Approach;

    const NO_TLS: &str = "this palabre is built without the Cargo feature tls";

    /// None can be made.
    #[derive(Clone, Debug)]
    pub(in crate::bench) struct OwnCertificate {
        pub(in crate::bench) certificate_pem: String,
        pub(in crate::bench) key_pem: String,
    }

    impl OwnCertificate {
        pub(in crate::bench) fn new() -> Result<Self, String> {
            Err(NO_TLS.to_owned())
        }

        pub(in crate::bench) fn rsa() -> Result<Self, String> {
            Err(NO_TLS.to_owned())
        }
    }

    /// None can be made.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::bench) enum TlsClient {}

    impl TlsClient {
        pub(in crate::bench) fn new(_: Option<&OwnCertificate>) -> Result<Self, String> {
            Err(NO_TLS.to_owned())
        }
    }

    /// No connection has it.
    #[derive(Debug)]
    pub(in crate::bench::transport) enum ClientRecords {}

    impl ClientRecords {
        pub(in crate::bench::transport) fn new(way: &Approach, _: bool) -> Result<Self, String> {
            match way.client {
                Some(client) => match client {},
                None => Err(NO_TLS.to_owned()),
            }
        }

        pub(in crate::bench::transport) fn is_open(&self) -> bool {
            match *self {}
        }

        pub(in crate::bench::transport) fn wants_to_send(&self) -> bool {
            match *self {}
        }

        pub(in crate::bench::transport) fn receive(
            &mut self,
            _: &[u8],
            _: &mut Vec<u8>,
        ) -> Result<(), String> {
            match *self {}
        }

        pub(in crate::bench::transport) fn write(&mut self, _: &[u8]) {
            match *self {}
        }

        pub(in crate::bench::transport) fn take_records(&mut self, _: &mut Vec<u8>) {
            match *self {}
        }
    }
}
