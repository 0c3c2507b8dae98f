//! Certificate files, right and wrong, made anew for each test.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SanType,
    date_time_ymd,
};
use rsa::Generate as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::der::pem;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding, PrivateKeyInfoRef};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection,
    SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::*;

/// 2026-11-24, at noon.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_521_600)
}

/// A certificate, signed or not, and its key.
struct Own {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Own {
    fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(["chat.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

fn ec_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn issue(params: CertificateParams, key: KeyPair, by: &Own) -> Own {
    let pem = params.signed_by(&key, &by.issuer).unwrap().pem();
    Own { issuer: Issuer::new(params, key), pem }
}

fn root(name: &str) -> Own {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = ec_key();
    let pem = params.self_signed(&key).unwrap().pem();
    Own { issuer: Issuer::new(params, key), pem }
}

fn intermediate(name: &str, by: &Own) -> Own {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    issue(params, ec_key(), by)
}

fn leaf(by: &Own) -> Own {
    issue(named("chat.example"), ec_key(), by)
}

/// The two files, in a directory of their own.
struct Files {
    directory: TempDir,
    tls: Tls,
}

impl Files {
    fn new(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| -> PathBuf { directory.path().join(name) };
        let tls = Tls { certificate: path("chain.pem"), key: path("key.pem"), required: false };
        fs::write(&tls.certificate, certificate).unwrap();
        fs::write(&tls.key, key).unwrap();
        Self { directory, tls }
    }

    /// Paths are cut down to names.
    fn short(&self, text: &str) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        text.lines().map(|line| line.replace(&directory, "")).collect()
    }

    /// What is warned of, but for the time that a signature takes, which is the machine's.
    fn warnings(&self) -> Vec<String> {
        let checked = check(&self.tls, &[], now()).unwrap_or_else(|error| panic!("{error}"));
        let lasting = |mut warnings: Vec<String>| {
            warnings.retain(|warning| !warning.contains("everybody waits"));
            warnings
        };
        let warnings = lasting(checked.warnings);
        assert_eq!(lasting(load(&self.tls, &[], now()).unwrap().warnings), warnings);
        self.short(&warnings.join("\n"))
    }

    /// What is wrong, by `check` and by a server alike.
    fn errors(&self) -> Vec<String> {
        let error = load(&self.tls, &[], now()).unwrap_err().to_string();
        assert_eq!(check(&self.tls, &[], now()).unwrap_err().to_string(), error);
        self.short(&error)
    }
}

fn errors(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Vec<String> {
    Files::new(certificate, key).errors()
}

/// A client that trusts `root` and speaks this version.
fn client(root: &Own, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for section in sections(root.pem.as_bytes()).unwrap() {
        roots.add(section.1.into()).unwrap();
    }
    let provider = Arc::new(ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    client
}

/// Says hello over a connection in memory; gives how the handshake went.
fn greet(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> HandshakeKind {
    let name = ServerName::try_from("chat.example").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    client.writer().write_all(b"hello").unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets().unwrap();
    }
    let mut heard = [0; 5];
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    assert_eq!(server.alpn_protocol(), Some(&b"http/1.1"[..]));
    server.handshake_kind().unwrap()
}

/// Generating one takes longer than anything else here.
static RSA_KEY: LazyLock<rsa::PrivateKey> = LazyLock::new(rsa::PrivateKey::generate);

fn rsa_pair() -> KeyPair {
    let pem = RSA_KEY.to_pkcs8_pem(LineEnding::LF).unwrap();
    KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256).unwrap()
}

/// The inside of a PKCS #8 key on a curve is the same key by SEC 1 (RFC 5958, RFC 5915).
fn sec1(key: &KeyPair) -> String {
    let outside = PrivateKeyInfoRef::try_from(key.serialized_der()).unwrap();
    let inside = outside.private_key.as_bytes();
    pem::encode_string("EC PRIVATE KEY", LineEnding::LF, inside).unwrap()
}

#[test]
fn every_kind_of_key_serves_both_versions() {
    let root = root("Root");
    let between = intermediate("Between", &root);
    let by_curve = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let (small, large) = (by_curve(&PKCS_ECDSA_P256_SHA256), by_curve(&PKCS_ECDSA_P384_SHA384));
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let small_sec1 = format!("{parameters}{}", sec1(&small));
    let edwards = by_curve(&PKCS_ED25519);
    let rsa_pkcs1 = RSA_KEY.to_pkcs1_pem(LineEnding::CRLF).unwrap();
    for (what, text, pair) in [
        ("P-256, PKCS #8", small.serialize_pem(), &small),
        ("P-256, SEC 1", small_sec1, &small),
        ("P-384, PKCS #8", large.serialize_pem(), &large),
        ("P-384, SEC 1", sec1(&large), &large),
        ("Ed25519, PKCS #8", edwards.serialize_pem(), &edwards),
        ("RSA, PKCS #8", rsa_pair().serialize_pem(), &rsa_pair()),
        ("RSA, PKCS #1", (*rsa_pkcs1).clone(), &rsa_pair()),
    ] {
        let own = named("chat.example").signed_by(pair, &between.issuer).unwrap().pem();
        let files = Files::new(format!("{own}{}{}", between.pem, root.pem), text);
        assert_eq!(files.warnings(), Vec::<String>::new(), "{what}");
        let LoadedFiles { server, signature_ns, .. } = load(&files.tls, &[], now()).unwrap();
        assert!(signature_ns > 0, "{what}");
        for version in [&TLS12, &TLS13] {
            let client = Arc::new(client(&root, version));
            assert_eq!(greet(&server, &client), HandshakeKind::Full, "{what} {version:?}");
        }
    }
}

#[test]
fn certificates_and_keys_have_a_largest_size() {
    let longest = usize::try_from(PEM_FILE_BYTES_MAX).unwrap();
    let padded = |text: &str, bytes: usize| text.to_owned() + &"\n".repeat(bytes - text.len());
    let root = root("Root");
    let own = leaf(&root);
    let chain = format!("{}{}", own.pem, root.pem);
    for (more_chain, more_key) in [(0, 0), (1, 0), (0, 1)] {
        let files = Files::new(
            padded(&chain, longest + more_chain),
            padded(&own.key(), longest + more_key),
        );
        if more_chain + more_key == 0 {
            assert_eq!(files.warnings(), Vec::<String>::new());
        } else {
            let told = files.errors();
            assert!(told[0].contains("it is too long (limit 4194304 bytes)"), "{told:?}");
        }
    }
}

#[test]
fn a_key_that_holds_everybody_up_is_warned_of() {
    assert_eq!(holds_up(SIGNATURE_NS_MAX), None);
    let warning = holds_up(SIGNATURE_NS_MAX + 1_000_000).unwrap();
    assert!(warning.contains("everybody waits 11 ms"), "{warning}");
}

#[test]
fn who_comes_back_is_known_by_a_ticket() {
    let root = root("Root");
    let own = leaf(&root);
    let files = Files::new(format!("{}{}", own.pem, root.pem), own.key());
    let server = load(&files.tls, &[], now()).unwrap().server;
    assert!(!server.session_storage.can_cache());
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(client(&root, version));
        assert_eq!(greet(&server, &client), HandshakeKind::Full, "{version:?}");
        assert_eq!(greet(&server, &client), HandshakeKind::Resumed, "{version:?}");
    }
}

#[test]
fn one_file_may_hold_both() {
    let root = root("Root");
    let own = leaf(&root);
    let both = format!("# for the chat\n{}{}{}", own.key(), own.pem, root.pem);
    assert_eq!(Files::new(&both, &both).warnings(), Vec::<String>::new());
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_told_what_would_be_right() {
    let root = root("Root");
    let own = leaf(&root);
    let good = format!("{}{}", own.pem, root.pem);
    let half = &own.key()[..100];
    let other = ec_key().serialize_pem();
    let public = own.issuer.key().public_key_pem();
    let junk = pem::encode_string("CERTIFICATE", LineEnding::LF, b"junk").unwrap();
    for (certificate, key, expected) in [
        (
            own.key(),
            good.clone(),
            &[
                "chain.pem: [tls] certificate: found a private key and no certificate, needs the certificate; the key belongs into the file of [tls] key",
                "key.pem: [tls] key: found a certificate and no private key, needs the key; the certificate belongs into the file of [tls] certificate",
            ][..],
        ),
        (
            "not PEM at all".to_owned(),
            public,
            &[
                "chain.pem: [tls] certificate: found no certificate, needs PEM text with -----BEGIN CERTIFICATE-----",
                "key.pem: [tls] key: found no private key, needs PEM text with -----BEGIN PRIVATE KEY-----",
            ],
        ),
        (
            good.replace("END CERT", "END CART"),
            half.to_owned(),
            &[
                "chain.pem: [tls] certificate: found broken PEM (",
                "key.pem: [tls] key: found broken PEM (",
            ],
        ),
        (
            format!("{}{junk}", own.pem),
            own.key() + &other,
            &[
                "chain.pem: [tls] certificate: found certificate 2, which can't be read, needs an X.509 certificate",
                "key.pem: [tls] key: found 2 private keys, needs the certificate's key alone",
            ],
        ),
    ] {
        assert_errors(certificate, key, expected);
    }
}

#[test]
fn a_key_that_the_server_can_not_use_is_told_what_would_be_right() {
    let root = root("Root");
    let own = leaf(&root);
    let good = format!("{}{}", own.pem, root.pem);
    let other = ec_key().serialize_pem();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
        DEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (certificate, key, expected) in [
        (
            encrypted.to_owned(),
            encrypted.to_owned(),
            &[
                "chain.pem: [tls] certificate: found a private key and no certificate",
                "key.pem: [tls] key: found an encrypted key, needs one without a passphrase",
            ][..],
        ),
        (
            good.clone(),
            old_encrypted.to_owned(),
            &["key.pem: [tls] key: found an encrypted key, needs one without a passphrase"],
        ),
        (
            good.clone(),
            pem::encode_string("PRIVATE KEY", LineEnding::LF, b"junk").unwrap(),
            &[
                "key.pem: [tls] key: found a key that can't be used, needs an ECDSA key on P-256 or P-384, an RSA key of 2048 to 8192 bits, or an Ed25519 key",
            ],
        ),
        (
            good,
            other,
            &[
                "key.pem: [tls] key: found another certificate's key, needs the key of certificate 1 (CN=chat.example)",
            ],
        ),
    ] {
        assert_errors(certificate, key, expected);
    }
}

/// Checks that what is wrong with these files begins so.
fn assert_errors(certificate: String, key: String, expected: &[&str]) {
    let found = errors(certificate, key);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn both_files_that_are_missing_are_named() {
    let files = Files::new("", "");
    fs::remove_file(&files.tls.certificate).unwrap();
    fs::remove_file(&files.tls.key).unwrap();
    let found = files.errors();
    assert_eq!(found.len(), 2, "{found:#?}");
    for (found, name) in found.iter().zip(["chain.pem: [tls] certificate", "key.pem: [tls] key"]) {
        let start = format!("{name}: found nothing readable (No such file or directory");
        assert!(found.starts_with(&start), "{found}");
        assert!(found.ends_with("needs a file that the server may read"), "{found}");
    }
}

#[test]
fn each_certificate_is_issued_by_the_next() {
    let root = root("Root");
    let upper = intermediate("Upper", &root);
    let lower = intermediate("Lower", &upper);
    let own = leaf(&lower);
    let chain = |parts: &[&Own]| parts.iter().map(|part| &*part.pem).collect::<String>();
    for good in [
        chain(&[&own, &lower]),
        chain(&[&own, &lower, &upper]),
        chain(&[&own, &lower, &upper, &root]),
    ] {
        assert_eq!(Files::new(good, own.key()).warnings(), Vec::<String>::new());
    }
    let first = "needs the server's own certificate first, then the one that issued it, and so on";
    for (wrong, expected) in [
        (
            chain(&[&upper, &lower, &own]),
            format!(
                "found certificate 1 (CN=Upper) before certificate 3 (CN=chat.example), to which the key belongs, {first}"
            ),
        ),
        (
            chain(&[&own, &upper, &lower]),
            "found certificate 1 (CN=chat.example) before certificate 2 (CN=Upper), which did not issue it, needs its issuer (CN=Lower) right behind it, or nothing".to_owned(),
        ),
        (
            chain(&[&own, &lower, &root]),
            "found certificate 2 (CN=Lower) before certificate 3 (CN=Root), which did not issue it, needs its issuer (CN=Upper) right behind it, or nothing".to_owned(),
        ),
        (
            chain(&[&own, &own, &lower]),
            "found certificate 1 (CN=chat.example) before certificate 2 (CN=chat.example), which did not issue it, needs its issuer (CN=Lower) right behind it, or nothing".to_owned(),
        ),
        (
            chain(&[&own, &intermediate("Lower", &upper)]),
            "found certificate 1 (CN=chat.example) before certificate 2 (CN=Lower), which has the issuer's name and did not sign it, needs the chain that came with the certificate; this one is older or newer".to_owned(),
        ),
    ] {
        let expected = format!("chain.pem: [tls] certificate: {expected}");
        assert_eq!(errors(wrong, own.key()), [expected]);
    }
    // The order is seen without a key as well.
    let found = errors(chain(&[&own, &upper]), "");
    assert!(found[1].contains("which did not issue it") && found.len() == 2, "{found:#?}");
}

#[test]
fn a_certificate_without_its_chain_is_warned_of() {
    let root = root("Root");
    let own = leaf(&root);
    assert_eq!(
        Files::new(&own.pem, own.key()).warnings(),
        [
            "chain.pem: [tls] certificate: certificate 1 (CN=chat.example) stands alone: clients that don't know its issuer (CN=Root) refuse it; an authority gives the chain as well, often as fullchain.pem"
        ]
    );
    // One that issued itself has no chain.
    assert_eq!(Files::new(&root.pem, root.key()).warnings(), Vec::<String>::new());
}

#[test]
fn dates_are_errors_to_check_and_warnings_to_a_server() {
    let root = root("Root");
    let valid = |from, until| {
        let mut params = named("chat.example");
        (params.not_before, params.not_after) = (from, until);
        let own = issue(params, ec_key(), &root);
        Files::new(format!("{}{}", own.pem, root.pem), own.key())
    };
    let (before, after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2030, 1, 1));
    for (files, expected) in [
        (
            valid(before, date_time_ymd(2026, 11, 23)),
            "chain.pem: [tls] certificate: found certificate 1 (CN=chat.example), which expired on 2026-11-23, needs a renewed one: clients refuse this",
        ),
        (
            valid(date_time_ymd(2026, 11, 25), after),
            "chain.pem: [tls] certificate: found certificate 1 (CN=chat.example), which is valid from 2026-11-25 on, needs one that is valid today, or the clock of this host set right",
        ),
    ] {
        let error = check(&files.tls, &[], now()).unwrap_err().to_string();
        assert_eq!(files.short(&error), [expected]);
        let warnings = load(&files.tls, &[], now()).unwrap().warnings;
        assert_eq!(files.short(&warnings.join("\n")), [expected]);
    }
}

/// Two weeks before the certificate ends, to the second.
#[test]
fn a_certificate_is_warned_of_from_fourteen_days_before_its_end_on() {
    const DAYS: Duration = Duration::from_secs(14 * 24 * 60 * 60);
    const SECOND: Duration = Duration::from_secs(1);
    let root = root("Root");
    // One for twenty days is no other.
    for begin in [date_time_ymd(2026, 1, 1), date_time_ymd(2026, 11, 10)] {
        for (left, is_told) in [
            (DAYS + SECOND, false),
            (DAYS, true),
            (DAYS - SECOND, true),
            (SECOND, true),
            (Duration::ZERO, true),
        ] {
            let mut params = named("chat.example");
            (params.not_before, params.not_after) = (begin, date_time_ymd(2026, 11, 30));
            let end = UNIX_EPOCH + Duration::from_secs(1_795_996_800);
            let own = issue(params, ec_key(), &root);
            let files = Files::new(format!("{}{}", own.pem, root.pem), own.key());
            // What the clock counts beside seconds is nothing to a certificate.
            for now in [end - left, end - left + SECOND / 2] {
                let warnings = check(&files.tls, &[], now).unwrap().warnings;
                let told = "chain.pem: [tls] certificate: certificate 1 (CN=chat.example) expires \
                     on 2026-11-30 and has to be renewed";
                let expected: &[&str] = if is_told { &[told] } else { &[] };
                assert_eq!(files.short(&warnings.join("\n")), expected, "{left:?} before");
            }
            let after = check(&files.tls, &[], end + SECOND).unwrap_err().to_string();
            assert!(after.contains("which expired on 2026-11-30"), "{after}");
        }
    }
}

#[test]
fn a_check_shows_until_when_each_certificate_is_valid_and_what_the_first_is_for() {
    let mut root = named("Root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.not_after = date_time_ymd(2026, 11, 25);
    let key = ec_key();
    let pem = root.self_signed(&key).unwrap().pem();
    let root = Own { issuer: Issuer::new(root, key), pem };
    let mut params = named("chat.example");
    let names = ["Chat.Example.org", "*.example.net", "192.0.2.1", "2001:db8::1"];
    params.subject_alt_names =
        CertificateParams::new(names.map(str::to_owned)).unwrap().subject_alt_names;
    params.not_after = date_time_ymd(2026, 12, 25) + Duration::from_secs(3_661);
    let own = issue(params, ec_key(), &root);
    let files = Files::new(format!("{}{}", own.pem, root.pem), own.key());
    let expected = [
        "certificate 1 (CN=chat.example) expires on 2026-12-25 at 01:01:01 UTC, in 30 days, \
         for chat.example.org, *.example.net, 192.0.2.1, [2001:db8::1]",
        "certificate 2 (CN=Root) expires on 2026-11-25 at 00:00:00 UTC, within a day",
    ];
    assert_eq!(check(&files.tls, &[], now()).unwrap().certificates, expected);
    let hosts = load(&files.tls, &[], now()).unwrap().hosts;
    assert_eq!(
        hosts.iter().map(KnownHost::to_string).collect::<Vec<_>>(),
        ["chat.example.org", "*.example.net", "192.0.2.1", "[2001:db8::1]"]
    );
}

#[test]
fn a_certificate_that_names_no_host_or_not_the_servers_is_warned_of() {
    let root = root("Root");
    let warnings = |names: Vec<SanType>, hosts: &[&str]| {
        let mut params = named("chat.example");
        params.subject_alt_names = names;
        let own = issue(params, ec_key(), &root);
        let files = Files::new(format!("{}{}", own.pem, root.pem), own.key());
        let hosts: Vec<KnownHost> =
            hosts.iter().map(|host| KnownHost::of_certificate(host).unwrap()).collect();
        let checked = check(&files.tls, &hosts, now()).unwrap();
        let (warnings, described) = (checked.warnings, &checked.certificates[0]);
        let is_named = !warnings.iter().any(|warning| warning.contains("no subjectAltName"));
        assert_eq!(described.contains(", for "), is_named, "{described}");
        let loaded = load(&files.tls, &hosts, now()).unwrap();
        assert_eq!(loaded.warnings, warnings);
        let of_it: Vec<String> = loaded.hosts.iter().map(KnownHost::to_string).collect();
        (files.short(&warnings.join("\n")), of_it)
    };
    let start = "chain.pem: [tls] certificate: certificate 1 (CN=chat.example)";
    let nameless = format!("{start} has no subjectAltName that names a host: browsers refuse it");
    let mail = SanType::Rfc822Name("me@chat.example".try_into().unwrap());
    for names in [vec![], vec![mail]] {
        let (told, hosts) = warnings(names, &["other.example"]);
        assert_eq!((told, hosts), (vec![nameless.clone()], vec!["chat.example".to_owned()]));
    }
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let names = || vec![dns("chat.example"), dns("*.chat.example")];
    let fitting = ["chat.example", "a.chat.example", "*.chat.example"];
    assert_eq!(warnings(names(), &fitting).0, Vec::<String>::new());
    let others = ["a.b.chat.example", "*.example", "192.0.2.1"];
    let told = others.map(|host| {
        format!("{start} is not for {host}, which [web] hosts names: browsers refuse it there")
    });
    assert_eq!(warnings(names(), &others).0, told);
}
