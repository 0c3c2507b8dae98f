//! What stands in certificates: names, dates and signatures.
//!
//! Here is found how certificates belong together, not whether clients trust them: that is the
//! clients' affair.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use x509_cert::certificate::{CertificateInner, Raw, TbsCertificateInner};
use x509_cert::der::{self, Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use super::problem::CertificateFault;
use crate::config::{Authority, Host, KnownHost};

/// The operator is told so long before a certificate expires.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The certificates of a file, in their order; at least one.
#[derive(Debug)]
pub(super) struct Chain(Vec<Certificate>);

#[derive(Debug)]
struct Certificate {
    der: CertificateDer<'static>,
    /// Raw: how a certificate numbers itself and spells its dates is no matter of ours.
    parsed: CertificateInner<Raw>,
}

impl Certificate {
    fn content(&self) -> &TbsCertificateInner<Raw> {
        self.parsed.tbs_certificate()
    }

    /// The hosts that it names, if it names any (RFC 5280 section 4.2.1.6).
    fn hosts(&self) -> Option<Vec<KnownHost>> {
        let names = self.content().get_extension::<SubjectAltName>().ok().flatten();
        let (_, SubjectAltName(names)) = names?;
        let hosts: Vec<KnownHost> = names.iter().filter_map(known_host).collect();
        (!hosts.is_empty()).then_some(hosts)
    }

    fn is_issued_by(&self, other: &Self) -> bool {
        self.content().issuer() == other.content().subject()
    }

    /// Whether this one's signature is by the key of `issuer`; `true` when the kind of
    /// signature is an unknown one.
    fn is_signed_by(
        &self,
        issuer: &Self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let key = issuer.content().subject_public_key_info();
        let (Some(of_key), Some(of_signature), Ok(signed)) = (
            identifier(&key.algorithm),
            identifier(self.parsed.signature_algorithm()),
            signed_part(&self.der),
        ) else {
            return true;
        };
        let (key, signature) = (key.subject_public_key.raw_bytes(), self.parsed.signature());
        let mut known = algorithms.iter().filter(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == of_key
                && algorithm.signature_alg_id().as_ref() == of_signature
        });
        known
            .all(|algorithm| algorithm.verify_signature(key, signed, signature.raw_bytes()).is_ok())
    }
}

impl Chain {
    /// Reads certificates.
    pub(super) fn read(all: impl Iterator<Item = Vec<u8>>) -> Result<Self, CertificateFault> {
        let read = |(index, der): (usize, Vec<u8>)| {
            let parsed = CertificateInner::from_der(&der)
                .map_err(|_| CertificateFault::Malformed(index + 1))?;
            Ok(Certificate { der: der.into(), parsed })
        };
        all.enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn into_certificates(self) -> Vec<CertificateDer<'static>> {
        self.0.into_iter().map(|certificate| certificate.der).collect()
    }

    /// How an operator finds a certificate: by its place, from 1, and its subject.
    pub(super) fn name(&self, index: usize) -> String {
        let subject = self.0[index].content().subject();
        if subject.is_empty() {
            format!("certificate {}", index + 1)
        } else {
            format!("certificate {} ({subject})", index + 1)
        }
    }

    /// The index of the certificate that has this public key.
    pub(super) fn place_of(&self, key: &SubjectPublicKeyInfoDer<'_>) -> Option<usize> {
        let has_it = |certificate: &Certificate| {
            let own = certificate.content().subject_public_key_info().to_der();
            own.is_ok_and(|own| own == key.as_ref())
        };
        self.0.iter().position(has_it)
    }

    /// The first certificate that is not issued by the next one. TLS 1.2 demands that order (RFC
    /// 5246 section 7.4.2); clients of TLS 1.3 may put up with another (RFC 8446 section 4.4.2).
    pub(super) fn check_order(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Option<CertificateFault> {
        self.0.windows(2).enumerate().find_map(|(index, pair)| {
            let [this, next] = pair else { return None };
            let name = self.name(index);
            let next_name = self.name(index + 1);
            if !this.is_issued_by(next) {
                let issuer = this.content().issuer().to_string();
                return Some(CertificateFault::OtherIssuer { name, next: next_name, issuer });
            }
            (!this.is_signed_by(next, algorithms))
                .then_some(CertificateFault::OtherSignature { name, next: next_name })
        })
    }

    /// The certificates whose time is over or yet to come.
    pub(super) fn check_dates(&self, now: SystemTime) -> impl Iterator<Item = CertificateFault> {
        self.0.iter().enumerate().filter_map(move |(index, certificate)| {
            let validity = certificate.content().validity();
            let name = || self.name(index);
            // It is valid up to the end of that second (RFC 5280 section 4.1.2.5).
            if validity.not_after.to_system_time() < whole_second(now) {
                Some(CertificateFault::Expired { name: name(), day: day(&validity.not_after) })
            } else if validity.not_before.to_system_time() > now {
                Some(CertificateFault::NotYet { name: name(), day: day(&validity.not_before) })
            } else {
                None
            }
        })
    }

    /// Tells of the certificates that expire soon.
    pub(super) fn expiring(&self, now: SystemTime) -> impl Iterator<Item = String> {
        self.0.iter().enumerate().filter_map(move |(index, certificate)| {
            let validity = certificate.content().validity();
            let end = validity.not_after;
            let left = end.to_system_time().duration_since(whole_second(now)).ok()?;
            (left <= EXPIRES_SOON).then(|| {
                format!("{} expires on {} and has to be renewed", self.name(index), day(&end))
            })
        })
    }

    /// What each certificate is and until when it is valid, and what the first one is for.
    pub(super) fn described(&self, now: SystemTime) -> impl Iterator<Item = String> {
        self.0.iter().enumerate().map(move |(index, certificate)| {
            let end = certificate.content().validity().not_after;
            let left = end.to_system_time().duration_since(now).unwrap_or_default();
            let left = match left.as_secs() / (24 * 60 * 60) {
                0 => "within a day".to_owned(),
                1 => "in 1 day".to_owned(),
                days => format!("in {days} days"),
            };
            // What only its subject names, browsers don't take it for.
            let hosts = if index == 0 { certificate.hosts() } else { None };
            let hosts: Vec<String> = hosts.iter().flatten().map(KnownHost::to_string).collect();
            let names = if hosts.is_empty() {
                String::new()
            } else {
                format!(", for {}", hosts.join(", "))
            };
            let (name, day, time) = (self.name(index), day(&end), time_of_day(&end));
            format!("{name} expires on {day} at {time} UTC, {left}{names}")
        })
    }

    /// The hosts that the first certificate is for. One without any names its subject, as they
    /// once did.
    pub(super) fn hosts(&self) -> Vec<KnownHost> {
        let own = &self.0[0];
        own.hosts().unwrap_or_else(|| {
            let subject = own.content().subject().common_name().ok().flatten();
            subject.and_then(|name| KnownHost::of_certificate(&name.value())).into_iter().collect()
        })
    }

    /// Tells of a certificate that names no host, or not those that the server is known by.
    pub(super) fn misnamed(&self, known: &[KnownHost]) -> Vec<String> {
        let Some(own) = self.0[0].hosts() else {
            return vec![format!(
                "{} has no subjectAltName that names a host: browsers refuse it",
                self.name(0)
            )];
        };
        let others = known.iter().filter(|known| !own.iter().any(|own| own.includes(known)));
        let others = others.map(|known| {
            format!(
                "{} is not for {known}, which [web] hosts names: browsers refuse it there",
                self.name(0)
            )
        });
        others.collect()
    }

    /// Tells of a certificate that comes without its chain.
    pub(super) fn lonely(&self) -> Option<String> {
        let [only] = &self.0[..] else { return None };
        (!only.is_issued_by(only)).then(|| {
            format!(
                "{} stands alone: clients that don't know its issuer ({}) refuse it; an \
                 authority gives the chain as well, often as fullchain.pem",
                self.name(0),
                only.content().issuer()
            )
        })
    }
}

/// A name of a certificate, when it is a host's.
fn known_host(name: &GeneralName) -> Option<KnownHost> {
    let address = |address: IpAddr| {
        let host = Host::Address(address.to_canonical());
        KnownHost::One(Authority { host, port: None })
    };
    match name {
        GeneralName::DnsName(name) => KnownHost::of_certificate(name.as_str()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let four = <[u8; 4]>::try_from(octets).map(|four| Ipv4Addr::from(four).into());
            let sixteen = <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into());
            four.or(sixteen).ok().map(address)
        }
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

/// The part of a certificate that its signature is over, byte for byte.
fn signed_part(certificate: &[u8]) -> der::Result<&[u8]> {
    SliceReader::new(certificate)?.sequence(|fields| {
        let signed = fields.tlv_bytes()?;
        while !fields.is_finished() {
            fields.tlv_bytes()?;
        }
        Ok(signed)
    })
}

/// An algorithm as `rustls` names it: without the header of its sequence.
fn identifier(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let mut bytes = algorithm.oid.to_der().ok()?;
    if let Some(parameters) = &algorithm.parameters {
        parameters.encode_to_vec(&mut bytes).ok()?;
    }
    Some(bytes)
}

/// The day of a time, in UTC.
fn day(time: &Time) -> String {
    let date = time.to_date_time();
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

/// The time of its day, in UTC.
fn time_of_day(time: &Time) -> String {
    let date = time.to_date_time();
    format!("{:02}:{:02}:{:02}", date.hour(), date.minutes(), date.seconds())
}

/// A time without what certificates can't count.
fn whole_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
