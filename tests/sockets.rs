//! The server over real sockets: bound to a free port, served in a thread, stopped by root.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use palabre::config::{Config, Listen};
use palabre::hub::{RootPassword, Settings};
use palabre::net;
use palabre::net::transport::Front;

const CLIENTS: usize = 200;
const MESSAGES: usize = 5;
const GOING_DOWN: &str = "<error>### Server is now going down ... ###</error>";

/// A client that waits for what it reads; a test that hangs fails by this time.
struct Client {
    stream: TcpStream,
    tail: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        Self { stream, tail: Vec::new() }
    }

    fn send(&mut self, stanzas: &[String]) {
        let bytes = stanzas.iter().flat_map(|stanza| stanza.bytes().chain([0])).collect::<Vec<_>>();
        self.stream.write_all(&bytes).expect("it is connected");
    }

    /// The next stanza, or `None` at the end of the stream.
    fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.tail.iter().position(|&byte| byte == 0) {
                let frame = self.tail.drain(..=end).take(end).collect();
                return Some(String::from_utf8(frame).expect("the server writes UTF-8"));
            }
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer).expect("no reset and no timeout") {
                0 => {
                    assert!(self.tail.is_empty(), "the stream ends within a stanza");
                    return None;
                }
                count => self.tail.extend(&buffer[..count]),
            }
        }
    }

    /// Reads until a stanza that begins like this.
    fn until(&mut self, beginning: &str) -> String {
        loop {
            let stanza = self.next().expect("the stream goes on");
            if stanza.starts_with(beginning) {
                return stanza;
            }
        }
    }
}

#[test]
fn two_hundred_clients_chat_and_root_sends_them_home() {
    let mut config = Config::default();
    config.listen =
        vec![Listen { address: SocketAddr::from(([127, 0, 0, 1], 0)), optional: false }];
    config.settings = Settings { root_password: RootPassword::clear("secret"), ..config.settings };
    let listening = net::bind(&config, net::Signals::take().unwrap()).expect("a port is free");
    let address = listening.addresses()[0];
    let server = thread::spawn(move || listening.serve(Front::default(), &mut || None));

    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(address)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let room = n / 10;
        client.send(&[format!("<connect nickname='N{n}'/>"), format!("<join room='R{room}'/>")]);
        client.until(&format!("<joined room='R{room}' />"));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let said: Vec<_> =
            (0..MESSAGES).map(|k| format!("<m r='R{}' b='1'>{k}</m>", n / 10)).collect();
        client.send(&said);
    }
    let mut rooms: Vec<Vec<String>> = Vec::new();
    for (n, client) in clients.iter_mut().enumerate() {
        let heard: Vec<_> = (0..10 * MESSAGES).map(|_| client.until("<m ")).collect();
        if n % 10 == 0 {
            rooms.push(heard.clone());
        }
        assert_eq!(heard, rooms[n / 10], "one order for the whole room");
        let own: Vec<_> =
            (0..MESSAGES).map(|k| format!("<m f=\"N{n}\" r=\"R{}\">{k}</m>", n / 10)).collect();
        let from = format!("f=\"N{n}\"");
        assert_eq!(heard.into_iter().filter(|m| m.contains(&from)).collect::<Vec<_>>(), own);
    }

    let mut root = Client::connect(address);
    root.send(&[
        "<connect nickname='root' rootpass='secret'/>".to_owned(),
        "<shutdown/>".to_owned(),
    ]);
    for client in clients.iter_mut().chain([&mut root]) {
        client.until(GOING_DOWN);
        assert_eq!(client.next(), None, "nothing comes after the farewell");
    }
    drop(clients);
    drop(root);
    server.join().expect("it does not panic").expect("it stops as asked");
}
