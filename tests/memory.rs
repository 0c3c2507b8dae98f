//! Passwords that were given are not in the memory of the server, of its worker or of a client any
//! more when their sessions are over: the built binary is looked through.
//!
//! What the system keeps (buffers of sockets and pipes) is not the process' own and can't be seen
//! here. What stands in the configuration is meant to be there.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[path = "support/built.rs"]
mod built;
#[path = "support/frames.rs"]
mod frames;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use built::{Built, PATIENCE};
use frames::masked;
use palabre::accounts::hash::PasswordHash;
use tempfile::TempDir;

/// What every password here begins with. It is put together where it is used, so that no program
/// has it in it as a constant.
fn mark() -> String {
    ["Zq", "7Xw", "9Kp"].concat()
}

struct Server {
    built: Built,
    address: String,
    directory: TempDir,
}

impl Server {
    fn new(config: &str, accounts: &str) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("accounts"), accounts).unwrap();
        Self::started(directory, config)
    }

    fn started(directory: TempDir, config: &str) -> Self {
        fs::write(directory.path().join("palabre.conf"), config).unwrap();
        let built = Built::start(
            Command::new(env!("CARGO_BIN_EXE_palabre"))
                .args(["--config", "palabre.conf", "--listen", "127.0.0.1:0"])
                .current_dir(directory.path()),
        );
        let address = built.address();
        Self { built, address, directory }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends a login, in pieces where they are wanted, and waits for the answer; then quits.
    fn talk(&self, stream: &mut (impl Read + Write), login: &str, pieces: usize, answer: &str) {
        let bytes = format!("{login}\0").into_bytes();
        for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
            stream.write_all(piece).unwrap();
            stream.flush().unwrap();
            if pieces > 1 {
                // Each piece is read by itself: the server answers another client meanwhile.
                let mut other = self.connect();
                other.write_all(b"<help />\0").unwrap();
                hear(&mut other, "\0");
            }
        }
        hear(stream, answer);
        quit(stream);
    }

    fn worker(&self) -> u32 {
        let pid = self.built.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().parse().expect("one worker")
    }

    /// That no password is in the memory of the server and of its worker.
    fn check(&self, what: &str) {
        let control = format!("{}/palabre.conf", self.directory.path().display());
        for (name, pid) in [("server", self.built.child.id()), ("worker", self.worker())] {
            assert!(find(pid, control.as_bytes()).is_some(), "{name}: what is there is not found");
            check(pid, &format!("{what}: in the memory of the {name}"));
        }
    }
}

/// That no password is in a process, as soon as it has had the time to go on.
fn check(pid: u32, what: &str) {
    let mut found = None;
    let gone = built::soon(|| {
        found = find(pid, mark().as_bytes());
        found.is_none().then_some(())
    });
    assert!(gone.is_some(), "{what}: {found:?}");
}

/// Looks through what a process may write to; gives what stands around what was found.
fn find(pid: u32, wanted: &[u8]) -> Option<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let name = words.nth(3).unwrap_or_default();
        if !rights.starts_with("rw") || name.starts_with("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        // A page that was never touched can't be read, and the rest can.
        for (page, chunk) in bytes.chunks_mut(1 << 16).enumerate() {
            let _ = memory.read_exact_at(chunk, start + (page << 16) as u64);
        }
        if let Some(place) = memchr::memmem::find(&bytes, wanted) {
            let around = &bytes[place.saturating_sub(64)..(place + 96).min(bytes.len())];
            return Some(format!("{range} {name}: {:?}", String::from_utf8_lossy(around)));
        }
    }
    None
}

fn hear(stream: &mut impl Read, answer: &str) {
    let mut heard = Vec::new();
    while !contains(&heard, answer.as_bytes()) {
        let mut buffer = [0; 512];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "no {answer} in {:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buffer[..count]);
    }
}

fn quit(stream: &mut (impl Read + Write)) {
    stream.write_all(b"<quit />\0").unwrap();
    stream.flush().unwrap();
    while stream.read(&mut [0; 512]).is_ok_and(|count| count > 0) {}
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

/// Right and wrong passwords of all kinds, and what they are answered with.
fn logins() -> Vec<(String, &'static str)> {
    let mark = mark();
    let yes = "isok='1'";
    let no = "Authentication Error";
    let long = "x".repeat(900);
    vec![
        (format!("<connect nickname='Ann' password='{mark}-right' />"), yes),
        (format!("<connect nickname='Ann' password='{mark}-&#119;rong&amp;' />"), no),
        (format!("<connect nickname='Nobody' password='{mark}-none' />"), no),
        (format!("<connect nickname='Ann' password='{mark}-e\u{301}\u{1F600}' />"), no),
        (format!("<connect nickname='Ann' password='{mark}-{long}' />"), no),
        (format!("<connect nickname='Ann' password='{mark}-{long}{long}' />"), no),
        (format!("<connect nickname='Ann' password='{mark}-right' rootpass='{mark}-root' />"), yes),
        (
            format!("<connect nickname='Ann' rootpass='{mark}-gu&#101;ss' password='{mark}-x' />"),
            no,
        ),
        (
            format!(
                "<connect nickname='Ann' pad='{}' password='{mark}-padded' />",
                "p".repeat(20_000)
            ),
            no,
        ),
    ]
}

/// Accounts and a root password that are hashes of them, and no limit for wrong ones.
fn config_and_accounts() -> (String, String) {
    let hash = |end: &str| PasswordHash::of(&format!("{}-{end}", mark())).unwrap();
    let config = format!(
        "[accounts]\nfile = accounts\n[admin]\npassword = {}\n[limits]\nfailedlogins = 0\n",
        hash("root").as_str()
    );
    (config, format!("Ann:{}\n", hash("right").as_str()))
}

#[test]
fn passwords_over_stanzas() {
    let (config, accounts) = config_and_accounts();
    let server = Server::new(&config, &accounts);
    for pieces in [1, 7] {
        for (login, answer) in logins() {
            server.talk(&mut server.connect(), &login, pieces, answer);
            server.check(&login[..60.min(login.len())]);
        }
    }
    // Some that come together, wait for one another, and go before they are answered.
    let streams: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut stream = server.connect();
            let login = format!("<connect nickname='Ann' password='{}-{number}' />\0", mark());
            stream.write_all(login.as_bytes()).unwrap();
            stream
        })
        .collect();
    drop(streams);
    // What was sent before is answered before this.
    server.talk(&mut server.connect(), &logins()[1].0, 1, logins()[1].1);
    server.talk(&mut server.connect(), &logins()[2].0, 1, logins()[2].1);
    server.check("many together");
    // One that never ends, and one that is broken off in the middle.
    for login in [format!("<connect password='{}-half", mark()), format!("<a>{}-b\0", mark())] {
        let mut stream = server.connect();
        stream.write_all(login.as_bytes()).unwrap();
        drop(stream);
    }
    server.talk(&mut server.connect(), &logins()[0].0, 1, logins()[0].1);
    server.check("broken off");
}

/// Everything that is written is a frame.
struct Frames<S>(S);

impl<S: Read + Write> Frames<S> {
    fn open(mut stream: S, address: &str, first: &str) -> Self {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        // A client in a hurry sends its login with the head.
        let first = if first.is_empty() { Vec::new() } else { masked(0x81, first.as_bytes()) };
        stream.write_all(&[head.as_bytes(), &first].concat()).unwrap();
        stream.flush().unwrap();
        Self(stream)
    }
}

impl<S: Read> Read for Frames<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Write> Write for Frames<S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(&masked(0x82, bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn passwords_over_web_sockets() {
    let (config, accounts) = config_and_accounts();
    let server = Server::new(&config, &accounts);
    for pieces in [1, 5] {
        for (login, answer) in logins() {
            let mut frames = Frames::open(server.connect(), &server.address, "");
            server.talk(&mut frames, &login, pieces, answer);
            server.check(&login[..60.min(login.len())]);
        }
    }
    for (login, answer) in &logins()[..4] {
        let mut frames = Frames::open(server.connect(), &server.address, login);
        hear(&mut frames, answer);
        quit(&mut frames);
        server.check("with the head");
    }
}

/// rustls keeps the text of each record in memory of its own and frees it as it is; the server
/// overwrites that when the allocator gives it back, which is not certain of a stanza in several
/// records. They are of this length at most (RFC 8446 section 5.1).
#[cfg(feature = "tls")]
const RECORD_BYTES_MAX: usize = 16_384;

#[cfg(feature = "tls")]
#[test]
fn passwords_over_tls() {
    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (mut config, accounts) = config_and_accounts();
    config += "[tls]\ncertificate = c.pem\nkey = k.pem\n";
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("accounts", &accounts);
    write("c.pem", &made.cert.pem());
    write("k.pem", &made.signing_key.serialize_pem());
    let server = Server::started(directory, &config);
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    for version in rustls::ALL_VERSIONS {
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[*version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let client = Arc::new(client);
        let open = || {
            let name = ServerName::try_from("localhost").unwrap();
            StreamOwned::new(
                ClientConnection::new(Arc::clone(&client), name).unwrap(),
                server.connect(),
            )
        };
        for (login, answer) in logins() {
            if login.len() > RECORD_BYTES_MAX {
                continue;
            }
            server.talk(&mut open(), &login, 3, answer);
            server.check(&login[..60.min(login.len())]);
            let mut frames = Frames::open(open(), &server.address, "");
            server.talk(&mut frames, &login, 1, answer);
            server.check("a WebSocket over TLS");
        }
    }
}

/// Plugins that are slow, deaf or dead hold up logins; what waits for them goes when they are over.
#[test]
fn passwords_that_wait_for_plugins() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().unwrap();
    let write = |name: &str, script: &str| {
        let file = directory.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let register = "printf '<register hooks=\"isAuthorized\" />\\000'";
    write("deaf", &format!("{register}\nexec sleep 1000 </dev/null"));
    write("dies", &format!("{register}\nhead -c 150 >/dev/null\nexit 1"));
    write("late", "exec sleep 1000");
    let config = "[modules]\nlist = deaf, dies, late\npath = .\n[module deaf]\ntimeout = 2\n\
                  [module late]\ntimeout = 1\n[limits]\nfailedlogins = 0\n";
    let server = Server::started(directory, config);
    for _ in 0..3 {
        let streams: Vec<TcpStream> = (0..40)
            .map(|number| {
                let mut stream = server.connect();
                let login =
                    format!("<connect nickname='N{number}' password='{}-{number}' />\0", mark());
                stream.write_all(login.as_bytes()).unwrap();
                stream
            })
            .collect();
        for mut stream in streams {
            let mut heard = String::new();
            let mut reader = BufReader::new(&mut stream);
            let mut part = Vec::new();
            while !heard.contains("<error>") {
                part.clear();
                assert!(reader.read_until(0, &mut part).unwrap() > 0, "{heard}");
                heard += std::str::from_utf8(&part).unwrap();
            }
            assert!(heard.contains("not possible right now"), "{heard}");
        }
    }
    check(server.built.child.id(), "in the memory of the server");
}

#[test]
fn passwords_at_the_command_line() {
    let (config, accounts) = config_and_accounts();
    let server = Server::new(&config, &accounts);
    let mut client = Command::new(env!("CARGO_BIN_EXE_palabre"))
        .args(["client", "--nick", "Ann", "--password", "--connect", &server.address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(format!("{}-right\n", mark()).as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("isok='1'"), "{line}");
    check(client.id(), "in the memory of the client");
    drop(input);
    let _ = client.kill();
    client.wait().unwrap();
}
