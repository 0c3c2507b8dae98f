//! Which certificates the programs of this package take when they are the client: `palabre client`
//! and the load generator.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Which certificates of a server are taken.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Any.
    Any,
    /// This one, whatever is in it, and no other.
    #[cfg(feature = "bench")]
    Only(CertificateDer<'static>),
    /// These, whatever is in them, and those that the authorities have signed.
    Signed {
        /// Taken as they are.
        own: Vec<CertificateDer<'static>>,
        /// Whose signatures count.
        authorities: RootCertStore,
    },
}

/// What connections of a client begin with that trusts so.
///
/// # Errors
/// When there are no authorities where they are to be, and what the library finds wrong.
pub(crate) fn client_config(trust: Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let (own, others) = match trust {
        Trust::Any => (Vec::new(), Others::Taken),
        #[cfg(feature = "bench")]
        Trust::Only(own) => (vec![own], Others::Refused),
        Trust::Signed { own, authorities } => {
            let roots = Arc::new(authorities);
            let built =
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            (own, Others::By(built.map_err(|error| Error::General(error.to_string()))?))
        }
    };
    let verifier = Verifier { own, others, provider: Arc::clone(&provider) };
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let custom = versions.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(custom.with_no_client_auth())
}

#[derive(Debug)]
struct Verifier {
    /// Certificates that are taken as they are.
    own: Vec<CertificateDer<'static>>,
    others: Others,
    provider: Arc<CryptoProvider>,
}

/// What becomes of certificates that are not one's own.
#[derive(Debug)]
enum Others {
    Taken,
    #[cfg(feature = "bench")]
    Refused,
    By(Arc<WebPkiServerVerifier>),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.own.contains(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.others {
            Others::Taken => Ok(ServerCertVerified::assertion()),
            #[cfg(feature = "bench")]
            Others::Refused => Err(rustls::CertificateError::UnknownIssuer.into()),
            Others::By(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
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
