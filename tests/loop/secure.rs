//! How a client of the crowd speaks over TLS.
//!
//! The keys of a connection are the library's own chance, so its bytes differ from run to run;
//! their number does not, since an Ed25519 signature is always as long.

use std::io::{Read as _, Write as _};
use std::mem;
use std::sync::LazyLock;

use palabre::net::transport::Front;
use rustls::version::TLS12;
use rustls::{ALL_VERSIONS, ClientConnection};

use crate::tls::Certificate;

static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(Certificate::new);

/// A listener that takes TLS beside everything else.
pub(crate) fn front() -> Front {
    CERTIFICATE.front(false)
}

/// The client's side of a connection over TLS.
#[derive(Debug)]
pub(crate) struct Secure {
    tls: ClientConnection,
    /// The server has said something.
    begun: bool,
    /// It was the farewell of a server that did not know yet what is spoken here.
    is_plain: bool,
    /// The client's end is told.
    ended: bool,
}

impl Secure {
    /// A client that speaks TLS 1.2 alone, or what both speak best.
    pub(crate) fn new(old: bool) -> Option<Self> {
        let versions = if old { &[&TLS12][..] } else { ALL_VERSIONS };
        let mut tls = CERTIFICATE.client(versions);
        tls.set_buffer_limit(None);
        Some(Self { tls, begun: false, is_plain: false, ended: false })
    }

    /// What the client says waits until this is over.
    pub(crate) fn is_greeting(&self) -> bool {
        self.tls.is_handshaking() && !self.is_plain
    }

    /// Says this; the records for it, and for what waited to be sent.
    pub(crate) fn wrap(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(bytes).expect("there is no limit");
        self.records()
    }

    /// Tells the end; nothing when it has been told.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        if !mem::replace(&mut self.ended, true) {
            self.tls.send_close_notify();
        }
        self.records()
    }

    /// What is in the records that these bytes complete.
    pub(crate) fn unwrap(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        self.is_plain |= !mem::replace(&mut self.begun, true) && bytes.starts_with(b"<");
        if self.is_plain {
            return bytes.to_vec();
        }
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            let count = self.tls.read_tls(&mut bytes).expect("a slice can be read");
            assert!(count > 0 || bytes.is_empty(), "something stands behind the server's end");
            let state = self.tls.process_new_packets().expect("the server speaks TLS");
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut plain[start..]).expect("so much is there");
        }
        plain
    }

    /// Records that are to be sent.
    pub(crate) fn records(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.tls.wants_write() && !self.is_plain {
            self.tls.write_tls(&mut out).expect("a vector takes everything");
        }
        out
    }
}
