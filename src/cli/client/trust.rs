//! Whom the client trusts: the authorities of the system, those of a file, the server's own
//! certificate when the file holds it, or anybody.

use core::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::super::{Exit, Failure};
use super::Client;
use crate::files;
use crate::limits::PEM_FILE_BYTES_MAX;

/// The client's side of a handshake.
///
/// # Errors
/// When there is nobody to trust, or the name is none.
pub(super) fn connection(arguments: &Client) -> Result<ClientConnection, Failure> {
    let failed = |text: String| Failure::new(Exit::Failed, text);
    let name = match &arguments.tls_name {
        Some(name) => name.as_str(),
        None => host(&arguments.connect),
    };
    let name = ServerName::try_from(name.to_owned()).map_err(|_| {
        Failure::new(Exit::Usage, format_args!("found {name:?}, needs the name of a host"))
    })?;
    let provider = Arc::new(ring::default_provider());
    let verifier =
        Trust::of(arguments, &provider).map_err(|error| Failure::new(Exit::Failed, error))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), name).map_err(|error| failed(error.to_string()))
}

/// The host of `HOST:PORT`.
fn host(place: &str) -> &str {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// What mends a handshake that failed for this.
pub(super) fn advice(error: &Error) -> &'static str {
    let other_name = matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    );
    if other_name {
        "\n  --tls-name NAME expects another name than that of --connect"
    } else if matches!(error, Error::InvalidCertificate(_)) {
        "\n  --ca FILE trusts an authority of your own, or the server's certificate itself; \
         --insecure trusts anybody"
    } else if matches!(error, Error::InvalidMessage(_)) {
        "\n  what listens there speaks no TLS: without --tls it may answer"
    } else {
        ""
    }
}

/// Why there is nobody to trust.
#[derive(Debug)]
enum TrustError {
    /// The file of `--ca` can't be read.
    Unreadable { file: PathBuf, source: io::Error },
    /// What is in it is broken.
    Pem { file: PathBuf, source: pem::Error },
    /// Nothing is in it.
    NoCertificate { file: PathBuf },
    /// Nothing that could be used is in it, or this system has none.
    NoAuthority,
    /// The library takes none of them.
    Unusable(VerifierBuilderError),
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => write!(f, "--ca {}: {source}", file.display()),
            Self::Pem { file, source } => write!(f, "--ca {}: {source}", file.display()),
            Self::NoCertificate { file } => {
                write!(f, "--ca {}: there is no certificate in it", file.display())
            }
            Self::NoAuthority => {
                f.write_str("this system has no certificates of authorities: --ca FILE names one")
            }
            Self::Unusable(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for TrustError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Pem { source, .. } => Some(source),
            Self::NoCertificate { .. } | Self::NoAuthority => None,
            Self::Unusable(source) => Some(source),
        }
    }
}

#[derive(Debug)]
struct Trust {
    /// Certificates that are trusted as they are, whatever is in them.
    own: Vec<CertificateDer<'static>>,
    /// `None`: anybody.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    fn of(arguments: &Client, provider: &Arc<CryptoProvider>) -> Result<Self, TrustError> {
        let provider = Arc::clone(provider);
        if arguments.insecure {
            return Ok(Self { own: Vec::new(), authorities: None, provider });
        }
        let (own, certificates) = match &arguments.ca {
            Some(path) => {
                let file = || path.clone();
                let text = files::read_or_pipe(path, PEM_FILE_BYTES_MAX)
                    .map_err(|source| TrustError::Unreadable { file: file(), source })?;
                let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
                let own = read.map_err(|source| TrustError::Pem { file: file(), source })?;
                if own.is_empty() {
                    return Err(TrustError::NoCertificate { file: file() });
                }
                (own.clone(), own)
            }
            None => (Vec::new(), rustls_native_certs::load_native_certs().certs),
        };
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(TrustError::NoAuthority);
        }
        let built =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let authorities = Some(built.build().map_err(TrustError::Unusable)?);
        Ok(Self { own, authorities, provider })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.authorities {
            Some(authorities) if !self.own.contains(end_entity) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
