//! Whom the client trusts: the authorities of the system, those of a file, the server's own
//! certificate when the file holds it, or anybody.

use core::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error, RootCertStore};

use super::super::{Exit, Failure};
use super::Client;
use crate::files;
use crate::limits::PEM_FILE_BYTES_MAX;
use crate::net::certificate::trust::{Trust, client_config};

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
    let trust = trust(arguments).map_err(|error| Failure::new(Exit::Failed, error))?;
    let config = client_config(trust).map_err(|error| failed(error.to_string()))?;
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
        }
    }
}

impl std::error::Error for TrustError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Pem { source, .. } => Some(source),
            Self::NoCertificate { .. } | Self::NoAuthority => None,
        }
    }
}

/// Which certificates are taken.
fn trust(arguments: &Client) -> Result<Trust, TrustError> {
    if arguments.insecure {
        return Ok(Trust::Any);
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
    let mut authorities = RootCertStore::empty();
    if authorities.add_parsable_certificates(certificates).0 == 0 {
        return Err(TrustError::NoAuthority);
    }
    Ok(Trust::Signed { own, authorities })
}
