//! TLS of one connection: records in, records out. `rustls` has the protocol.
//!
//! Without the Cargo feature `tls` there is a stand-in that no connection can have.

/// The alert of a server that has no certificate: fatal, `handshake_failure` (RFC 8446 section 6).
pub(super) const HANDSHAKE_FAILURE: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];

#[cfg(feature = "tls")]
pub(super) use with_rustls::Secure;
#[cfg(feature = "tls")]
pub use with_rustls::TlsConfig;
#[cfg(not(feature = "tls"))]
pub(super) use without::Secure;
#[cfg(not(feature = "tls"))]
pub use without::TlsConfig;

#[cfg(feature = "tls")]
mod with_rustls {
    use std::fmt;
    use std::sync::Arc;

    use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
    use rustls::unbuffered::{
        ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
    };
    use rustls::{HandshakeKind, NamedGroup, ServerConfig};

    use smallvec::SmallVec;

    use crate::limits::{EARLY_BYTES_MAX, HANDSHAKE_WORK_NS, P384_WORK_NS, RECORD_WORK_NS};
    use crate::secret;

    /// What a record has beside its plain bytes, at most: its header, the nonce of TLS 1.2, the
    /// type of its content in TLS 1.3 and the tag (RFC 8446 section 5.2, RFC 5288 section 3).
    const RECORD_BYTES_MORE: usize = 5 + 8 + 1 + 16;

    /// The most plain bytes of a record (RFC 8446 section 5.1).
    const RECORD_BYTES_MAX: usize = 16_384;

    /// The alert that ends a stream before there are any keys: a warning, `close_notify`
    /// (RFC 8446 section 6.1).
    const CLOSE_NOTIFY: [u8; 7] = [0x15, 3, 3, 0, 2, 1, 0];

    /// The alert of what can't be read, `decode_error`, likewise (RFC 8446 section 6.2).
    const DECODE_ERROR: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 50];

    /// A certificate and all that belongs to it.
    #[derive(Clone, Debug)]
    pub struct TlsConfig {
        /// What connections are made with.
        pub server: Arc<ServerConfig>,
        /// How long a signature with its key takes, in nanoseconds.
        pub signature_ns: u64,
    }

    /// The server's side of one connection. `rustls` keeps no buffers for it: with those that it
    /// has otherwise an idle connection takes twice the memory.
    #[derive(Debug)]
    pub(in crate::net::transport) struct Secure(Box<TlsSession>);

    struct TlsSession {
        connection: UnbufferedServerConnection,
        /// Records that have not come as a whole, at most [`EARLY_BYTES_MAX`]: a record, or those
        /// of one message of the handshake, for which rustls would wait until it has 64 KiB,
        /// however many records that takes.
        held: Vec<u8>,
        /// How long a signature takes, in nanoseconds.
        signature_ns: u64,
        /// Flights of the handshake that were made. The first or, when the client was asked to
        /// begin again, the second has the signature.
        flights: u8,
        /// Records that were read, and the work of flights that were made, in nanoseconds, since
        /// somebody has asked for them.
        records: u64,
        greeting_ns: u64,
        /// What the handshake has to say.
        out: Vec<u8>,
        /// Nothing more is read: the peer has ended its side, or broken what was agreed.
        over: Option<Over>,
    }

    /// What a peer did that TLS does not allow; its text is for the log.
    #[derive(Debug)]
    pub(in crate::net::transport) enum Breach {
        /// What the library says.
        Protocol(rustls::Error),
        /// A message of the handshake has more bytes than are kept.
        TooLong,
    }

    impl fmt::Display for Breach {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Protocol(error) => error.fmt(f),
                Self::TooLong => f.write_str("a message of the handshake that is too long"),
            }
        }
    }

    impl std::error::Error for Breach {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            match self {
                Self::Protocol(error) => Some(error),
                Self::TooLong => None,
            }
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Over {
        Ended,
        /// rustls is not to be asked for anything but the alert.
        Broken,
    }

    impl Secure {
        pub(in crate::net::transport) fn new(config: &TlsConfig) -> Option<Self> {
            let connection = UnbufferedServerConnection::new(Arc::clone(&config.server)).ok()?;
            Some(Self(Box::new(TlsSession {
                connection,
                held: Vec::new(),
                signature_ns: config.signature_ns,
                flights: 0,
                records: 0,
                greeting_ns: 0,
                out: Vec::new(),
                over: None,
            })))
        }

        /// Whether what comes next may cost a signature.
        pub(in crate::net::transport) fn may_cost_a_signature(&self) -> bool {
            self.0.may_cost_a_signature()
        }

        /// Keeps records to be read later, by [`Secure::receive`] with more of them or none.
        pub(in crate::net::transport) fn keep(&mut self, records: &[u8]) {
            secret::append(&mut self.0.held, records);
        }

        /// The work of reading records, and that of greeting, since this was asked last, in
        /// nanoseconds as they are reckoned.
        pub(in crate::net::transport) fn take_work_ns(&mut self) -> (u64, u64) {
            let records = std::mem::take(&mut self.0.records);
            (records * RECORD_WORK_NS, std::mem::take(&mut self.0.greeting_ns))
        }

        /// Takes records, which it may change, and appends what is in them; whether the peer has
        /// ended its side. With `secret` what is kept of them is overwritten when it has been read.
        ///
        /// # Errors
        /// What is wrong. The alert for it is to be sent.
        pub(in crate::net::transport) fn receive(
            &mut self,
            records: &mut [u8],
            plain: &mut Vec<u8>,
            secret: bool,
        ) -> Result<bool, Breach> {
            let session = &mut *self.0;
            if session.over.is_some() {
                return Ok(false);
            }
            let flights = session.flights;
            let mut held = std::mem::take(&mut session.held);
            let result = if held.is_empty() {
                let (used, result) = session.read(records, plain, secret);
                session.held = records[used..].to_vec();
                result
            } else {
                secret::append(&mut held, records);
                let (used, result) = session.read(&mut held, plain, secret);
                if secret {
                    // They were decrypted where they lie.
                    secret::wipe(&mut held[..used]);
                }
                if used < held.len() {
                    held.drain(..used);
                    session.held = held;
                }
                result
            };
            if session.flights > flights {
                session.greeting_ns += session.flight_ns();
            }
            let result = match result {
                Ok(_) if session.held.len() > EARLY_BYTES_MAX => {
                    if session.has_no_keys() {
                        session.out.extend_from_slice(&DECODE_ERROR);
                    }
                    Err(Breach::TooLong)
                }
                result => result,
            };
            session.over = match result {
                Ok(false) => None,
                Ok(true) => Some(Over::Ended),
                Err(_) => Some(Over::Broken),
            };
            if session.over.is_some() {
                session.held = Vec::new();
            }
            result
        }

        /// Appends the records of these bytes, and the end of the stream with `end`.
        pub(in crate::net::transport) fn send(
            &mut self,
            plain: &[u8],
            end: bool,
            records: &mut Vec<u8>,
        ) {
            let session = &mut *self.0;
            records.append(&mut std::mem::take(&mut session.out));
            if !plain.is_empty() {
                session.write(records, |traffic, records| encrypt(traffic, plain, records));
            }
            if end {
                session.write_end(records);
            }
        }

        /// Whether the handshake is done.
        pub(in crate::net::transport) fn is_open(&self) -> bool {
            !self.0.connection.is_handshaking()
        }

        pub(in crate::net::transport) fn wants_to_send(&self) -> bool {
            !self.0.out.is_empty()
        }
    }

    impl TlsSession {
        /// Reads what there is; tells how many bytes of it are not needed any more.
        fn read(
            &mut self,
            records: &mut [u8],
            plain: &mut Vec<u8>,
            secret: bool,
        ) -> (usize, Result<bool, Breach>) {
            let (mut used, mut ended) = (0, false);
            let mut has_flight = false;
            loop {
                self.records += 1;
                let UnbufferedStatus { discard, state } =
                    self.connection.process_tls_records(&mut records[used..]);
                used += discard;
                match state {
                    Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                        let mut lengths: SmallVec<[usize; 4]> = SmallVec::new();
                        while let Some(Ok(record)) = traffic.next_record() {
                            secret::append(plain, record.payload);
                            used += record.discard;
                            self.records += 1;
                            lengths.push(record.payload.len());
                        }
                        drop(traffic);
                        if secret {
                            secret::wipe_freed(&lengths);
                        }
                    }
                    Ok(ConnectionState::EncodeTlsData(mut data)) => {
                        encode(&mut data, &mut self.out);
                        if !std::mem::replace(&mut has_flight, true) {
                            self.flights = self.flights.saturating_add(1);
                        }
                    }
                    Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                    Ok(ConnectionState::PeerClosed) => ended = true,
                    Ok(_) => return (used, Ok(ended)),
                    Err(error) => {
                        let mut out = std::mem::take(&mut self.out);
                        self.encode_what_waits(&mut out);
                        // Not for every error does rustls have an alert.
                        if out.is_empty() && self.has_no_keys() {
                            out.extend_from_slice(&DECODE_ERROR);
                        }
                        self.out = out;
                        return (used, Err(Breach::Protocol(error)));
                    }
                }
            }
        }

        fn may_cost_a_signature(&self) -> bool {
            let retried = HandshakeKind::FullWithHelloRetryRequest;
            match self.connection.handshake_kind() {
                None => true,
                Some(kind) => kind == retried && self.flights < 2,
            }
        }

        /// What a flight of the handshake took that was just made.
        fn flight_ns(&self) -> u64 {
            let kind = self.connection.handshake_kind();
            let signed = match self.flights {
                1 => kind == Some(HandshakeKind::Full),
                2 => kind == Some(HandshakeKind::FullWithHelloRetryRequest),
                // A ticket, the end of a handshake.
                _ => return 0,
            };
            let group = self.connection.negotiated_key_exchange_group().map(|group| group.name());
            let group_ns = if group == Some(NamedGroup::secp384r1) { P384_WORK_NS } else { 0 };
            HANDSHAKE_WORK_NS + group_ns + if signed { self.signature_ns } else { 0 }
        }

        /// Has records appended, once the handshake is done.
        fn write(
            &mut self,
            records: &mut Vec<u8>,
            put: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>),
        ) {
            while self.over != Some(Over::Broken) {
                // What has come in part is looked at again, and is still not whole.
                let UnbufferedStatus { state, .. } =
                    self.connection.process_tls_records(&mut self.held);
                match state {
                    Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                        return put(&mut traffic, records);
                    }
                    Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, records),
                    Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                    Ok(_) | Err(_) => return,
                }
            }
        }

        /// Appends the alert that ends the stream. In the middle of a handshake rustls has none.
        fn write_end(&mut self, records: &mut Vec<u8>) {
            if self.has_no_keys() && self.over.is_none() {
                records.extend_from_slice(&CLOSE_NOTIFY);
            }
            self.write(records, |traffic, records| {
                let start = records.len();
                records.resize(start + CLOSE_NOTIFY.len() + RECORD_BYTES_MORE, 0);
                let written = traffic.queue_close_notify(&mut records[start..]).unwrap_or(0);
                records.truncate(start + written);
            });
        }

        /// Whether the handshake has not come so far that anything is said with keys.
        fn has_no_keys(&self) -> bool {
            self.connection.protocol_version().is_none()
        }

        /// Appends alerts and other records that are ready.
        fn encode_what_waits(&mut self, records: &mut Vec<u8>) {
            while self.connection.wants_write() {
                // As long as any are, nothing is read.
                match self.connection.process_tls_records(&mut []).state {
                    Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, records),
                    Ok(_) | Err(_) => return,
                }
            }
        }
    }

    impl fmt::Debug for TlsSession {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Session").field("over", &self.over).finish_non_exhaustive()
        }
    }

    fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, records: &mut Vec<u8>) {
        // Into nothing it tells its size.
        if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
            let start = records.len();
            records.resize(start + size.required_size, 0);
            let written = data.encode(&mut records[start..]).unwrap_or(0);
            records.truncate(start + written);
        }
    }

    fn encrypt<Data>(traffic: &mut WriteTraffic<'_, Data>, plain: &[u8], records: &mut Vec<u8>) {
        let start = records.len();
        let mut room = plain.len() + (plain.len() / RECORD_BYTES_MAX + 1) * RECORD_BYTES_MORE;
        loop {
            records.resize(start + room, 0);
            match traffic.encrypt(plain, &mut records[start..]) {
                Ok(written) => return records.truncate(start + written),
                // New keys go before.
                Err(EncryptError::InsufficientSize(size)) if size.required_size > room => {
                    room = size.required_size;
                }
                // The keys of TLS 1.2 are used up: no more can be said.
                Err(_) => return records.truncate(start),
            }
        }
    }
}

#[cfg(not(feature = "tls"))]
mod without {
    /// No certificate can be read.
    #[derive(Clone, Debug)]
    pub enum TlsConfig {}

    /// No connection has it.
    #[derive(Debug)]
    pub(in crate::net::transport) enum Secure {}

    impl Secure {
        pub(in crate::net::transport) fn new(config: &TlsConfig) -> Option<Self> {
            match *config {}
        }

        pub(in crate::net::transport) fn may_cost_a_signature(&self) -> bool {
            match *self {}
        }

        pub(in crate::net::transport) fn keep(&self, _records: &[u8]) {
            match *self {}
        }

        pub(in crate::net::transport) fn take_work_ns(&self) -> (u64, u64) {
            match *self {}
        }

        pub(in crate::net::transport) fn receive(
            &self,
            _records: &mut [u8],
            _plain: &mut Vec<u8>,
            _secret: bool,
        ) -> Result<bool, core::convert::Infallible> {
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
