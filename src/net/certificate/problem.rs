//! What can be wrong with the files of `[tls]`, and what would be right.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem;

/// Why there is no TLS.
#[derive(Debug)]
pub(crate) enum Error {
    /// Everything that is wrong with the files.
    Files(Vec<CertificateProblem>),
    /// rustls got no random numbers.
    Library(rustls::Error),
}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        Self::Library(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{problem}")?;
                }
                Ok(())
            }
            Self::Library(error) => write!(f, "can't set up TLS: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// One thing that is wrong with a file. No key is in it.
#[derive(Debug)]
pub(crate) struct CertificateProblem {
    role: TlsFile,
    path: PathBuf,
    fault: CertificateFault,
}

/// Which file it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum TlsFile {
    /// `[tls] certificate`.
    Certificate,
    /// `[tls] key`.
    Key,
}

impl CertificateProblem {
    pub(super) fn new(role: TlsFile, path: &Path, fault: CertificateFault) -> Self {
        Self { role, path: path.to_owned(), fault }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.role {
            TlsFile::Certificate => "certificate",
            TlsFile::Key => "key",
        };
        let (found, needs) = self.fault.found_and_needed();
        write!(f, "{}: [tls] {key}: found {found}, needs {needs}", self.path.display())
    }
}

/// What is wrong with it. Certificates are named by their place and their subject.
#[derive(Debug)]
pub(super) enum CertificateFault {
    /// The system does not let us read it.
    Unreadable(io::Error),
    /// A section that begins and is broken.
    Pem(pem::Error),
    /// No certificate, and no key either.
    NoCertificate,
    /// The key in the place of the certificate.
    KeyForCertificate,
    /// A certificate that can't be read; its place, from 1.
    Malformed(usize),
    /// The server's own certificate does not stand first.
    NotFirst { own: String, first: String },
    /// A certificate is followed by one that did not issue it.
    OtherIssuer { name: String, next: String, issuer: String },
    /// A certificate is followed by one of the right name and with another key.
    OtherSignature { name: String, next: String },
    /// No key, and no certificate either.
    NoKey,
    /// The certificate in the place of the key.
    CertificateForKey,
    /// More than one key.
    SeveralKeys(usize),
    /// A key that needs a passphrase.
    Encrypted,
    /// A kind of key, or a size, that is not served.
    UnusableKey,
    /// A key that belongs to none of the certificates.
    OtherKey { first: String },
    /// A certificate's last day is over.
    Expired { name: String, day: String },
    /// A certificate's first day is to come.
    NotYet { name: String, day: String },
}

impl CertificateFault {
    /// What was found and what would be right.
    fn found_and_needed(&self) -> (String, String) {
        let (found, needs): (String, &str) = match self {
            Self::Unreadable(error) => {
                (format!("nothing readable ({error})"), "a file that the server may read")
            }
            Self::Pem(error) => {
                (format!("broken PEM ({error})"), "the whole file, as it was issued")
            }
            Self::NoCertificate => (
                "no certificate".to_owned(),
                "PEM text with -----BEGIN CERTIFICATE-----; \
                 openssl x509 -inform der -in FILE makes it of binary",
            ),
            Self::KeyForCertificate => (
                "a private key and no certificate".to_owned(),
                "the certificate; the key belongs into the file of [tls] key",
            ),
            Self::Malformed(place) => {
                (format!("certificate {place}, which can't be read"), "an X.509 certificate")
            }
            Self::NotFirst { own, first } => (
                format!("{first} before {own}, to which the key belongs"),
                "the server's own certificate first, then the one that issued it, and so on",
            ),
            Self::OtherIssuer { name, next, issuer } => {
                let found = format!("{name} before {next}, which did not issue it");
                return (found, format!("its issuer ({issuer}) right behind it, or nothing"));
            }
            Self::OtherSignature { name, next } => (
                format!("{name} before {next}, which has the issuer's name and did not sign it"),
                "the chain that came with the certificate; this one is older or newer",
            ),
            Self::NoKey => (
                "no private key".to_owned(),
                "PEM text with -----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY; \
                 openssl pkey -inform der -in FILE makes it of binary",
            ),
            Self::CertificateForKey => (
                "a certificate and no private key".to_owned(),
                "the key; the certificate belongs into the file of [tls] certificate",
            ),
            Self::SeveralKeys(count) => {
                (format!("{count} private keys"), "the certificate's key alone")
            }
            Self::Encrypted => (
                "an encrypted key".to_owned(),
                "one without a passphrase, because nobody is there to type it; \
                 openssl pkey -in FILE -out NEWFILE makes it",
            ),
            Self::UnusableKey => (
                "a key that can't be used".to_owned(),
                "an ECDSA key on P-256 or P-384, an RSA key of 2048 to 8192 bits, or an \
                 Ed25519 key",
            ),
            Self::OtherKey { first } => {
                return ("another certificate's key".to_owned(), format!("the key of {first}"));
            }
            Self::Expired { name, day } => {
                (format!("{name}, which expired on {day}"), "a renewed one: clients refuse this")
            }
            Self::NotYet { name, day } => (
                format!("{name}, which is valid from {day} on"),
                "one that is valid today, or the clock of this host set right",
            ),
        };
        (found, needs.to_owned())
    }
}
