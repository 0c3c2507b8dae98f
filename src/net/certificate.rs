//! Certificate and key: from the two files that `[tls]` names to what TLS connections are made
//! with.
//!
//! `chain` knows what stands in certificates, `problem` says what is wrong with the files. All
//! of it is read at the start, at SIGHUP and by `palabre check`; no connection is here. `trust` is
//! the other side: which certificates a client takes.

mod chain;
mod problem;
pub(crate) mod trust;

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, Ticketer};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use crate::config::{KnownHost, Tls};
use crate::files;
use crate::limits::{PEM_FILE_BYTES_MAX, SIGNATURE_NS_MAX};
use chain::Chain;
pub(crate) use problem::Error;
use problem::{CertificateFault, CertificateProblem, TlsFile};

/// What TLS connections are made with, and what the operator should know.
#[derive(Debug)]
pub(crate) struct LoadedFiles {
    /// For every new connection.
    pub(crate) server: Arc<ServerConfig>,
    /// How long a signature with the key takes, in nanoseconds.
    pub(crate) signature_ns: u64,
    /// The hosts that the certificate is for.
    pub(crate) hosts: Vec<KnownHost>,
    /// What is wrong with the dates, and what is accepted but will trouble clients.
    pub(crate) warnings: Vec<String>,
}

/// What `palabre check` tells of files that are in order.
#[derive(Debug)]
pub(crate) struct CheckedFiles {
    /// What each certificate is, until when it is valid, and what the first one is for.
    pub(crate) certificates: Vec<String>,
    /// How long a signature with the key takes, in nanoseconds.
    pub(crate) signature_ns: u64,
    /// What will trouble clients.
    pub(crate) warnings: Vec<String>,
}

/// Reads certificate and key; `hosts` are those of `[web] hosts`. A certificate that has expired is
/// only warned of: a server that does not come back after its restart is worse than one that its
/// clients complain about.
///
/// # Errors
/// Everything that is wrong with the files, and rustls without random numbers.
pub(crate) fn load(
    files: &Tls,
    hosts: &[KnownHost],
    now: SystemTime,
) -> Result<LoadedFiles, Error> {
    let Found { chain, key, signature_ns, problems, dates, mut warnings } = look(files, hosts, now);
    let (Some(chain), Some(key), true) = (chain, key, problems.is_empty()) else {
        return Err(Error::Files(problems));
    };
    warnings.splice(0..0, dates.iter().map(CertificateProblem::to_string));
    let hosts = chain.hosts();
    let certified = CertifiedKey::new(chain.into_certificates(), key);
    Ok(LoadedFiles { server: Arc::new(server_config(certified)?), signature_ns, hosts, warnings })
}

/// Reads certificate and key as [`load`] does, for an operator who can still mend them: dates that
/// are over or yet to come are errors.
///
/// # Errors
/// As [`load`].
pub(crate) fn check(
    files: &Tls,
    hosts: &[KnownHost],
    now: SystemTime,
) -> Result<CheckedFiles, Error> {
    let Found { chain, signature_ns, mut problems, dates, warnings, .. } = look(files, hosts, now);
    problems.extend(dates);
    match chain {
        Some(chain) if problems.is_empty() => {
            let certificates = chain.described(now).collect();
            Ok(CheckedFiles { certificates, signature_ns, warnings })
        }
        Some(_) | None => Err(Error::Files(problems)),
    }
}

/// TLS 1.2 and 1.3, no client certificates, HTTP/1.1 where a client asks.
fn server_config(certified: CertifiedKey) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // A client that comes back shows a ticket and costs no signature, the dearest step of a
    // handshake. The state is in the ticket, so the server holds the keys of tickets and nothing
    // for a client, however many there are. The cache that rustls has by default holds 256
    // sessions, and a crowd drives each other out of it. One ticket each: a client comes back with
    // one connection.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What the files hold, as far as it could be read.
struct Found {
    chain: Option<Chain>,
    key: Option<Arc<dyn SigningKey>>,
    signature_ns: u64,
    problems: Vec<CertificateProblem>,
    /// Dates that are over or yet to come.
    dates: Vec<CertificateProblem>,
    warnings: Vec<String>,
}

fn look(files: &Tls, hosts: &[KnownHost], now: SystemTime) -> Found {
    let provider = ring::default_provider();
    let mut found = Found {
        chain: None,
        key: None,
        signature_ns: 0,
        problems: Vec::new(),
        dates: Vec::new(),
        warnings: Vec::new(),
    };
    let of_certificate =
        |fault| CertificateProblem::new(TlsFile::Certificate, &files.certificate, fault);
    let of_key = |fault| CertificateProblem::new(TlsFile::Key, &files.key, fault);
    match read_chain(&files.certificate) {
        Ok(chain) => found.chain = Some(chain),
        Err(fault) => found.problems.push(of_certificate(fault)),
    }
    match read_key(&files.key, &provider) {
        Ok(key) => found.key = Some(key),
        Err(fault) => found.problems.push(of_key(fault)),
    }
    if let Some(key) = &found.key {
        found.signature_ns = signature_ns(key.as_ref());
        let warning = holds_up(found.signature_ns);
        let file = files.key.display();
        found.warnings.extend(warning.map(|text| format!("{file}: [tls] key: {text}")));
    }
    let Some(chain) = &found.chain else { return found };
    // Without a key it is not known which certificate has to stand first.
    let place = found.key.as_ref().and_then(|key| key.public_key()).map(|key| chain.place_of(&key));
    let algorithms = provider.signature_verification_algorithms.all;
    match place {
        Some(None) => {
            found.problems.push(of_key(CertificateFault::OtherKey { first: chain.name(0) }))
        }
        Some(Some(place)) if place > 0 => {
            let own = chain.name(place);
            found
                .problems
                .push(of_certificate(CertificateFault::NotFirst { own, first: chain.name(0) }));
        }
        Some(Some(_)) | None => {
            found.problems.extend(chain.check_order(algorithms).map(of_certificate));
        }
    }
    found.dates.extend(chain.check_dates(now).map(of_certificate));
    let warnings = chain.expiring(now).chain(chain.lonely()).chain(chain.misnamed(hosts));
    let file = files.certificate.display();
    found.warnings.extend(warnings.map(|text| format!("{file}: [tls] certificate: {text}")));
    found
}

fn read_chain(path: &Path) -> Result<Chain, CertificateFault> {
    let text = files::read(path, PEM_FILE_BYTES_MAX).map_err(CertificateFault::Unreadable)?;
    let (certificates, others): (Vec<_>, Vec<_>) =
        sections(&text)?.into_iter().partition(|(kind, _)| *kind == SectionKind::Certificate);
    if certificates.is_empty() {
        let key = others.iter().any(|(kind, _)| is_key(*kind)) || is_encrypted(&text);
        return Err(if key {
            CertificateFault::KeyForCertificate
        } else {
            CertificateFault::NoCertificate
        });
    }
    Chain::read(certificates.into_iter().map(|(_, der)| der))
}

fn read_key(
    path: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, CertificateFault> {
    let text = files::read(path, PEM_FILE_BYTES_MAX).map_err(CertificateFault::Unreadable)?;
    // In the old form of an encrypted key headers stand before the base64, which then is none.
    if is_encrypted(&text) {
        return Err(CertificateFault::Encrypted);
    }
    let (mut keys, others): (Vec<_>, Vec<_>) =
        sections(&text)?.into_iter().partition(|(kind, _)| is_key(*kind));
    if keys.len() > 1 {
        return Err(CertificateFault::SeveralKeys(keys.len()));
    }
    let key = keys.pop().and_then(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    let Some(key) = key else {
        let certificate = others.iter().any(|(kind, _)| *kind == SectionKind::Certificate);
        return Err(if certificate {
            CertificateFault::CertificateForKey
        } else {
            CertificateFault::NoKey
        });
    };
    provider.key_provider.load_private_key(key).map_err(|_| CertificateFault::UnusableKey)
}

/// How long this machine takes for a signature with a key, in nanoseconds: the dearest step of a
/// handshake, during which no other client is served.
fn signature_ns(key: &dyn SigningKey) -> u64 {
    // What is signed in TLS 1.3 has so many bytes before it is hashed (RFC 8446 section 4.4.3).
    let message = [0x20; 64 + 34 + 32];
    let mut least = u64::MAX;
    for _ in 0..SIGNATURES_TRIED {
        let Some(signer) = key.choose_scheme(&SIGNATURE_SCHEMES) else {
            return 0;
        };
        let begin = Instant::now();
        // Whether it can sign, a handshake tells.
        _ = std::hint::black_box(signer.sign(&message));
        least = least.min(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        if least <= SIGNATURE_NS_MAX {
            break;
        }
    }
    least
}

/// What is to be said of a key whose signatures take so long.
fn holds_up(signature_ns: u64) -> Option<String> {
    (signature_ns > SIGNATURE_NS_MAX).then(|| {
        let ms = signature_ns / 1_000_000;
        format!(
            "whenever somebody connects over TLS, everybody waits {ms} ms for a signature with this \
             key; one of ECDSA P-256 takes less than 1"
        )
    })
}

/// A machine that does something else meanwhile is asked again.
const SIGNATURES_TRIED: usize = 3;

/// One for each kind of key.
const SIGNATURE_SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, CertificateFault> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(CertificateFault::Pem)
}

fn is_key(kind: SectionKind) -> bool {
    [SectionKind::PrivateKey, SectionKind::RsaPrivateKey, SectionKind::EcPrivateKey].contains(&kind)
}

/// By PKCS #8, and by RFC 1421 section 4.6.1.1 as OpenSSL once wrote keys.
fn is_encrypted(text: &[u8]) -> bool {
    [&b"-----BEGIN ENCRYPTED PRIVATE KEY-----"[..], b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| memchr::memmem::find(text, mark).is_some())
}

#[cfg(test)]
mod tests;
