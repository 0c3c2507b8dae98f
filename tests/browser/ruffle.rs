//! Old Flash movies, played by Ruffle in a real Chromium, on the port that everybody uses.
//!
//! A movie stands in a page as it did in 2003; above it stands what `palabre ruffle` prints.
//! What the movie sends is seen by a raw TCP client in the same room, and what happens to it the
//! movie tells the page. Ruffle itself comes from outside: `PALABRE_RUFFLE` names its folder.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::built::{Built, PATIENCE, read_until};
use crate::movie::{self, LISTENER, MOVES, Part};
use crate::webdriver::{Browser, Driver, Look};

#[test]
fn a_movie_under_ruffle_logs_in_and_says_again_what_it_hears() {
    let mut server = Server::start("");
    let port = server.port;
    let part = Part { host: Some("127.0.0.1"), port, nick: "Movie", room: "tea" };
    let site = Site::new();
    site.show(&server.block(&["--port", &port.to_string()]), movie::parrot(part));
    let driver = Driver::start();
    let browser = driver.open(Look::default());
    browser.visit(&site.address("127.0.0.1"));
    wait_until_said(&browser, "in");

    let mut ann = Talk::to(port);
    ann.join("Ann");
    let long = "0123456789 ".repeat(3_000);
    for body in [
        "hello",
        "",
        "a &amp; b &lt;c&gt; &quot;d&quot; &#233; &#x1F375;",
        "<b class='x'>good <i>morning</i></b><br />",
        "<![CDATA[<not> & parsed]]><!-- nor this -->",
        "  white\tspace \r\n at both ends\n",
        "déjà vu, 茶, 🍵",
        &long,
    ] {
        ann.send(&format!("<m toroom=\"tea\">{body}</m>"));
        assert_eq!(ann.next(), format!("<m echo=\"1\" f=\"Movie\" r=\"tea\">{body}</m>"));
    }
    // Many in one piece are many events, in their order.
    let said: Vec<String> = (0..100).map(|n| format!("<m r=\"tea\">{n}</m>")).collect();
    ann.send(&said.join("\0"));
    for n in 0..100 {
        assert_eq!(ann.next(), format!("<m echo=\"1\" f=\"Movie\" r=\"tea\">{n}</m>"));
    }

    server.stop();
    assert_eq!(ann.next(), "<error>### Server is now going down ... ###</error>");
    wait_until_said(&browser, "closed");
    assert_eq!(browser.run("return said.join(' ');", &[]), "connected in closed");
}

/// The movie asks for a host and a port of long ago, at which nobody is.
#[test]
fn a_mouse_of_fifty_stanzas_a_second_gets_each_of_them_back() {
    let server = Server::start("");
    let (host, port) = ("chat.example.org", 2468);
    let url = format!("ws://127.0.0.1:{}/", server.port);
    let site = Site::new();
    site.show(
        &server.block(&["--host", host, "--port", &port.to_string(), "--url", &url]),
        movie::mouse(Part { host: Some(host), port, nick: "Movie", room: "tea" }),
    );
    let mut ann = Talk::to(server.port);
    ann.join("Ann");

    let driver = Driver::start();
    let browser = driver.open(Look::default());
    browser.visit(&site.address("127.0.0.1"));
    assert_eq!(ann.next(), "<client name='Movie' joined='tea' />");
    assert!(ann.next().starts_with("<clients room='tea' nb='2'>"));
    for n in 1..=MOVES {
        assert_eq!(ann.next(), format!("<mouse n=\"{n}\" f=\"Movie\" r=\"tea\"></mouse>"));
    }
    wait_until_said(&browser, "returned");
}

/// The movie names no host, and asks for the one that the page comes from.
#[test]
fn a_page_from_another_host_is_let_in_when_the_configuration_names_it() {
    let site = Site::new();
    let address = site.address("localhost");
    let origin = address.trim_end_matches('/');
    let driver = Driver::start();
    let visit = |server: &Server| {
        let url = format!("ws://127.0.0.1:{}/", server.port);
        site.show(
            &server.block(&["--port", "2468", "--url", &url]),
            movie::parrot(Part { host: None, port: 2468, nick: "Movie", room: "tea" }),
        );
        let browser = driver.open(Look::default());
        browser.visit(&address);
        browser
    };

    let refusing = Server::start("");
    let browser = visit(&refusing);
    wait_until_said(&browser, "closed");
    // Ruffle says that it is connected before it knows.
    assert_eq!(browser.run("return said.join(' ');", &[]), "connected closed");
    let line = refusing.wait_for_log("origins = ");
    let (_, advice) = line.split_once("origins = ").expect("it was waited for");
    assert_eq!(advice, origin);

    let server = Server::start(&format!("[web]\norigins = {advice}\n"));
    let browser = visit(&server);
    wait_until_said(&browser, "in");
}

fn wait_until_said(browser: &Browser<'_>, word: &str) {
    browser.wait_for("a word of the movie", "said.includes(args[0])", &[word.into()]);
}

/// The built server on a free port, in a directory of its own.
struct Server {
    built: Built,
    port: u16,
    directory: TempDir,
}

impl Server {
    fn start(config: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("palabre.conf"), config).expect("a configuration");
        let built = Built::start(&mut palabre(&directory, &["--listen", "127.0.0.1:0"]));
        let port = built.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        Self { port: port.expect("an address with its port"), built, directory }
    }

    /// What `palabre ruffle` prints.
    fn block(&self, arguments: &[&str]) -> String {
        let output = palabre(&self.directory, &[&["ruffle"], arguments].concat())
            .output()
            .expect("the command runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("the block is text")
    }

    /// Ends it as an operator does.
    fn stop(&mut self) {
        self.built.signal(Signal::TERM);
        assert_eq!(self.built.ended().code(), Some(0));
    }

    /// The next line of the log that holds `words`.
    fn wait_for_log(&self, words: &str) -> String {
        let read = read_until(&self.built.log, words);
        read.expect("the log has it").pop().expect("the line that was wanted")
    }
}

fn palabre(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palabre"));
    command.args(arguments).current_dir(directory.path()).stdin(Stdio::null());
    command
}

/// A raw TCP client.
struct Talk(BufReader<TcpStream>);

impl Talk {
    fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, stanza: &str) {
        let stream = self.0.get_mut();
        stream.write_all(format!("{stanza}\0").as_bytes()).expect("the server reads");
    }

    fn next(&mut self) -> String {
        let mut stanza = Vec::new();
        self.0.read_until(0, &mut stanza).expect("a stanza in time");
        assert_eq!(stanza.pop(), Some(0), "a whole stanza");
        String::from_utf8(stanza).expect("a stanza is text")
    }

    /// Logs in, joins the room of the movies and reads all that is said to that.
    fn join(&mut self, nick: &str) {
        self.send(&format!("<connect nickname=\"{nick}\" />"));
        self.send("<join room=\"tea\" />");
        while !self.next().starts_with("<clients ") {}
    }
}

/// A web server for one page with one movie, and for Ruffle's own files.
struct Site {
    port: u16,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Default)]
struct Shown {
    page: String,
    movie: Vec<u8>,
}

impl Site {
    /// # Panics
    /// When there is no Ruffle.
    fn new() -> Self {
        let ruffle = env::var_os("PALABRE_RUFFLE").map(PathBuf::from).unwrap_or_default();
        assert!(
            ruffle.join("ruffle.js").is_file(),
            "PALABRE_RUFFLE is {ruffle:?}, needs to be the folder of the npm package \
             @ruffle-rs/ruffle, with ruffle.js in it; palabre help operating says how to get it"
        );
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let shown = Arc::new(Mutex::new(Shown::default()));
        let site = Self { port, shown: Arc::clone(&shown) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (ruffle, shown) = (ruffle.clone(), Arc::clone(&shown));
                // A browser opens more connections than it uses, and may be gone before the end.
                thread::spawn(move || answer(&stream, &ruffle, &shown));
            }
        });
        site
    }

    fn address(&self, host: &str) -> String {
        format!("http://{host}:{}/", self.port)
    }

    /// From now on the page is this movie, below what `palabre ruffle` printed.
    fn show(&self, block: &str, movie: Vec<u8>) {
        let page = format!(
            "<!DOCTYPE html>
<title>A movie</title>
<script>window.said = []; function {LISTENER}(word) {{ said.push(word); }}</script>
{block}
<script>window.RufflePlayer.config.autoplay = 'on'; // nobody clicks here</script>
<object type='application/x-shockwave-flash' data='movie.swf' width='100' height='100'>
<param name='allowScriptAccess' value='always'>
</object>
"
        );
        *self.shown.lock().expect("nobody panics with it") = Shown { page, movie };
    }
}

/// Answers one request for a file and ends the connection.
fn answer(mut stream: &TcpStream, ruffle: &Path, shown: &Mutex<Shown>) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let found = match path {
        "/" => Some(shown.lock().expect("nobody panics with it").page.clone().into_bytes()),
        "/movie.swf" => Some(shown.lock().expect("nobody panics with it").movie.clone()),
        _ => match path.strip_prefix("/ruffle/") {
            Some(name) if !name.contains('/') => fs::read(ruffle.join(name)).ok(),
            Some(_) | None => None,
        },
    };
    let kind = match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        Some("swf") => "application/x-shockwave-flash",
        Some(_) | None => "text/html; charset=utf-8",
    };
    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}
