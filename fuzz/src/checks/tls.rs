//! The client's side of TLS, and a certificate that is made once.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use palabre::net::transport::TlsConfig;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig};

const NAME: &str = "chat.example";
const ALL_IS_THERE: &str = "TLS has what it needs";

/// The server's certificate and key.
pub(super) fn server() -> TlsConfig {
    TlsConfig { server: Arc::clone(&both().0), signature_ns: 1_000_000 }
}

fn both() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static BOTH: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    BOTH.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect(ALL_IS_THERE);
        let chain = vec![made.cert.der().clone()];
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).expect(ALL_IS_THERE);
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect(ALL_IS_THERE)
            .with_no_client_auth()
            .with_single_cert(chain, key.into())
            .expect(ALL_IS_THERE);
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect(ALL_IS_THERE)
            .with_root_certificates(roots)
            .with_no_client_auth();
        // No connection is to depend on an earlier one.
        client.resumption = Resumption::disabled();
        (Arc::new(server), Arc::new(client))
    })
}

/// The client's side of a connection.
#[derive(Debug)]
pub(super) struct TlsPeer(ClientConnection);

impl TlsPeer {
    pub(super) fn new() -> Self {
        let name = ServerName::try_from(NAME).expect(ALL_IS_THERE);
        let mut client = ClientConnection::new(Arc::clone(&both().1), name).expect(ALL_IS_THERE);
        client.set_buffer_limit(None);
        Self(client)
    }

    /// Puts this into records, as soon as the handshake allows.
    pub(super) fn put(&mut self, plain: &[u8]) {
        self.0.writer().write_all(plain).expect("memory has no bound here");
    }

    /// Ends the stream.
    pub(super) fn end(&mut self) {
        self.0.send_close_notify();
    }

    /// The records that are due.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut records).expect("a vector takes all");
        }
        records
    }

    /// Takes records, and appends what is in them.
    ///
    /// # Errors
    /// What is wrong with them, or with us.
    pub(super) fn receive(&mut self, mut records: &[u8], plain: &mut Vec<u8>) -> Result<(), Error> {
        while !records.is_empty() {
            let count = self.0.read_tls(&mut records).expect("a slice can be read");
            let state = self.0.process_new_packets()?;
            let before = plain.len();
            plain.resize(before + state.plaintext_bytes_to_read(), 0);
            self.0.reader().read_exact(&mut plain[before..]).expect("that much is there");
            if count == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Whether the server has ended its stream; `None` when the handshake has not come so far.
    pub(super) fn ended(&mut self) -> Option<bool> {
        let state = self.0.process_new_packets().ok()?;
        (!self.0.is_handshaking()).then_some(state.peer_has_closed())
    }
}
