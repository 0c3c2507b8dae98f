//! The relay over real sockets, on a free port, held against the hub where it says the same.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::hub::{CloseReason, ConnId, HashKey, Hub, Input, ListenerKind};
use crate::hub::{Note, Outlet, Settings, Span, Time};
use crate::limits::FULL_ROSTER_MEMBERS;

/// A listener for one test, and where it listens.
fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Serves until the tests are over.
fn start(listener: TcpListener) {
    thread::spawn(move || super::serve(listener).expect("it serves"));
}

/// A relay for one test.
fn relay() -> SocketAddr {
    let (listener, address) = bind();
    start(listener);
    address
}

/// A client that waits for what it reads; a test that hangs fails by this time.
struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    /// How much of `unread` has been taken.
    taken: usize,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        Self { stream, unread: Vec::new(), taken: 0 }
    }

    /// Connects and logs in.
    fn login(address: SocketAddr, nick: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(&[&format!("<connect nickname=\"{nick}\" />")]);
        client.until("<connect isok='1'");
        client
    }

    /// Joins a room and waits until it is said that so many are in it.
    fn join(&mut self, room: &str, members: usize) {
        self.send(&[&format!("<join room=\"{room}\" />")]);
        self.until(&format!("<clients room='{room}' nb='{members}'>"));
    }

    fn send(&mut self, stanzas: &[&str]) {
        let bytes = stanzas.iter().flat_map(|stanza| stanza.bytes().chain([0])).collect::<Vec<_>>();
        self.stream.write_all(&bytes).expect("it is connected");
    }

    /// The next stanza, or `None` at the end of the stream.
    fn next(&mut self) -> Option<String> {
        loop {
            let rest = &self.unread[self.taken..];
            if let Some(end) = rest.iter().position(|&byte| byte == 0) {
                let frame = rest[..end].to_vec();
                self.taken += end + 1;
                return Some(String::from_utf8(frame).expect("the relay writes UTF-8"));
            }
            self.unread.drain(..self.taken);
            self.taken = 0;
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer).expect("no reset and no timeout") {
                0 => {
                    assert!(self.unread.is_empty(), "the stream ends within a stanza");
                    return None;
                }
                count => self.unread.extend_from_slice(&buffer[..count]),
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

    /// What comes before the answer to a ping.
    fn pending(&mut self) -> Vec<String> {
        self.send(&["<ping />"]);
        let mut pending = Vec::new();
        loop {
            let stanza = self.next().expect("the stream goes on");
            if stanza == "<pong />" {
                return pending;
            }
            pending.push(stanza);
        }
    }
}

/// What the hub says, by connection.
#[derive(Default)]
struct Said {
    arena: Vec<u8>,
    to: Vec<Vec<u8>>,
}

impl Outlet for Said {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.arena.len();
        write(&mut self.arena);
        self.arena.push(0);
        Span { log: 0, start, end: self.arena.len() }
    }

    fn push(&mut self, to: ConnId, message: Span) {
        self.to[to.slot as usize].extend_from_slice(&self.arena[message.start..message.end]);
    }

    fn close(&mut self, _: ConnId, _: CloseReason) {}

    fn note(&mut self, _: Note<'_>) {}
}

const fn conn(slot: u32) -> ConnId {
    ConnId { slot, generation: 1 }
}

/// Who sends what; everybody reads what follows before the next one.
const CONVERSATION: [(u32, &str); 31] = [
    (0, "<ping />"),
    (0, "<connect nickname=\"Ann\" />"),
    (1, "<connect nickname=\"Ann\" />"),
    (1, "<connect nickname=\"Bob\" />"),
    (2, "<connect nickname=\"Cid\" />"),
    (0, "<connect nickname=\"Dan\" />"),
    (0, "<ping />"),
    (0, "<join room=\"tea\" />"),
    (1, "<join room=\"tea\" />"),
    (2, "<join room=\"tea\" />"),
    (2, "<join room=\"tea\" />"),
    (2, "<join room=\"rum\" />"),
    (0, "<ping />"),
    (0, "<m c=\"Eve\">x</m>"),
    (0, "<m toroom=\"rum\">x</m>"),
    (0, "<m>x</m>"),
    (0, "<leave room=\"tea\" />"),
    (0, "<leave room=\"tea\" />"),
    (0, "<leave room=\"gin\" />"),
    (0, "<join room=\"tea\" />"),
    (0, "<join room=\"rum\" />"),
    (0, "<leave room=\"rum\" />"),
    (2, "<leave room=\"rum\" />"),
    (2, "<quit />"),
    (1, "<ping />"),
    (1, "<leave room=\"tea\" />"),
    (0, "<leave room=\"tea\" />"),
    (1, "<join room=\"tea\" />"),
    (1, "<garbage />"),
    (0, "<ping />"),
    (1, "<ping />"),
];

#[test]
fn what_is_no_message_is_answered_as_the_hub_answers_it() {
    let address = relay();
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(address)).collect();
    let mut hub = Hub::new(Settings::default(), HashKey::default(), 0);
    let mut said = Said { to: vec![Vec::new(); 3], ..Said::default() };
    let now = Time::default();
    for slot in 0..3 {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        hub.handle(
            Input::Opened { conn: conn(slot), address, listener: ListenerKind::Main },
            now,
            &mut said,
        );
    }
    for (slot, stanza) in CONVERSATION {
        let frame = stanza.as_bytes();
        hub.handle(Input::Frame { conn: conn(slot), frame }, now, &mut said);
        hub.handle(Input::TurnEnd, now, &mut said);
        clients[slot as usize].send(&[stanza]);
        for (slot, client) in clients.iter_mut().enumerate() {
            let expected = String::from_utf8(std::mem::take(&mut said.to[slot])).expect("UTF-8");
            for expected in expected.split_terminator('\0') {
                assert_eq!(client.next().as_deref(), Some(expected), "{slot} after {stanza}");
            }
        }
    }
    assert_eq!(clients[2].next(), None, "the one who quit");
}

#[test]
fn all_hear_a_room_in_one_order_and_nobody_hears_itself() {
    const MESSAGES: usize = 2_000;
    let address = relay();
    let mut clients: Vec<_> = (0..5).map(|n| Client::login(address, &format!("N{n}"))).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.join("R", n + 1);
    }
    let senders: Vec<_> = clients[..3]
        .iter()
        .enumerate()
        .map(|(n, client)| {
            let mut stream = client.stream.try_clone().expect("a second handle");
            thread::spawn(move || {
                // Uneven chunks, so that frames are cut and turns hold several senders'.
                let bytes: Vec<u8> = (0..MESSAGES)
                    .flat_map(|k| format!("<m toroom=\"R\">{n}:{k}</m>\0").into_bytes())
                    .collect();
                for chunk in bytes.chunks(1_009 + n) {
                    stream.write_all(chunk).expect("it is connected");
                }
            })
        })
        .collect();
    let heard: Vec<Vec<String>> = clients
        .iter_mut()
        .enumerate()
        .map(|(n, client)| {
            let count = if n < 3 { 2 * MESSAGES } else { 3 * MESSAGES };
            (0..count).map(|_| client.until("<m ")).collect()
        })
        .collect();
    for sender in senders {
        sender.join().expect("it wrote everything");
    }
    let of = |n: usize| format!("<m toroom=\"R\">{n}:");
    let all = &heard[3];
    for (n, heard_by_it) in heard.iter().take(3).enumerate() {
        let own: Vec<_> = (0..MESSAGES).map(|k| format!("{}{k}</m>", of(n))).collect();
        let (its, others): (Vec<_>, Vec<_>) = all.iter().partition(|said| said.starts_with(&of(n)));
        assert!(its.into_iter().eq(&own), "what {n} said is in its order");
        assert!(heard_by_it.iter().eq(others), "{n} hears the others in the room's order");
    }
    assert_eq!(&heard[4], all);
    for client in &mut clients {
        assert_eq!(client.pending(), Vec::<String>::new(), "nothing comes twice");
    }
}

#[test]
fn a_joiner_hears_what_is_said_after_it_and_a_leaver_what_was_said_before() {
    let address = relay();
    let [mut ann, mut bob] = ["Ann", "Bob"].map(|nick| Client::login(address, nick));
    ann.join("R", 1);
    ann.send(&["<m toroom=\"R\">before</m>"]);
    assert_eq!(ann.pending(), Vec::<String>::new());
    bob.send(&["<join room=\"R\" />", "<m toroom=\"R\">1</m>", "<leave room=\"R\" />"]);
    bob.send(&["<join room=\"S\" />", "<m toroom=\"S\">nobody</m>", "<ping />"]);
    let joined = ann.next();
    assert_eq!(joined.as_deref(), Some("<client name='Bob' joined='R' />"));
    ann.until("<m toroom=\"R\">1</m>");
    ann.until("<client name='Bob' left='R' />");
    assert_eq!(bob.next().as_deref(), Some("<joined room='R' />"));
    bob.until("<leaved room='R' />");
    bob.until("<joined room='S' />");
    bob.until("<pong />");
}

#[test]
fn what_one_turn_has_for_somebody_comes_in_the_order_in_which_it_was_read() {
    // All of it waits when the relay starts, so that it is read in one turn.
    let (listener, address) = bind();
    let [mut bob, mut ann, mut cid] = [(); 3].map(|()| Client::connect(address));
    let connect = ["Bob", "Ann", "Cid"].map(|nick| format!("<connect nickname=\"{nick}\" />"));
    let join = "<join room=\"R\" />";
    let [one, two] = [1, 2].map(|k| format!("<m toroom=\"R\">{k}</m>"));
    let aside = "<m c=\"Bob\">aside</m>";
    bob.send(&[&connect[0], join]);
    ann.send(&[&connect[1], join, &one, "<ping />", &two]);
    cid.send(&[&connect[2], aside, "<join room=\"R\" />"]);
    start(listener);
    let list = "<clients room='R' nb='3'>\n  <client name='Bob' />\n  <client name='Ann' />\n  \
                <client name='Cid' />\n</clients>";
    bob.until("<room name='R' clients='1' >");
    for expected in [
        "<client name='Ann' joined='R' />",
        &one,
        &two,
        aside,
        "<client name='Cid' joined='R' />",
        list,
    ] {
        assert_eq!(bob.next().as_deref(), Some(expected));
    }
    ann.until("<room name='R' clients='2' >");
    for expected in ["<pong />", "<client name='Cid' joined='R' />", list] {
        assert_eq!(ann.next().as_deref(), Some(expected));
    }
    cid.until("<room name='R' clients='3' >");
    assert_eq!(cid.next().as_deref(), Some(list));
}

#[test]
fn a_private_message_reaches_its_nick_as_it_came() {
    let address = relay();
    let [mut ann, mut bob, mut cid] =
        ["Ann", "Bob", "Cid"].map(|nick| Client::login(address, nick));
    ann.send(&["<m c=\"Bob\">one &amp; <b>two</b></m>", "<m c=\"Bob\">three</m>"]);
    bob.send(&["<m c=\"Ann\">back</m>"]);
    assert_eq!(bob.next().as_deref(), Some("<m c=\"Bob\">one &amp; <b>two</b></m>"));
    assert_eq!(bob.next().as_deref(), Some("<m c=\"Bob\">three</m>"));
    assert_eq!(ann.next().as_deref(), Some("<m c=\"Ann\">back</m>"));
    assert_eq!(cid.pending(), Vec::<String>::new());
    bob.send(&["<quit />"]);
    assert_eq!(bob.next(), None);
    drop(bob);
    // Whoever takes the slot gets nothing by the old route.
    let mut eve = Client::login(address, "Eve");
    ann.send(&["<m c=\"Bob\">gone?</m>"]);
    assert_eq!(ann.next().as_deref(), Some("<error>No user connected with nickname: Bob</error>"));
    assert_eq!(eve.pending(), Vec::<String>::new());
}

#[test]
fn more_pieces_than_slices_come_in_their_order() {
    const MESSAGES: usize = 500;
    let address = relay();
    let [mut ann, mut bob] = ["Ann", "Bob"].map(|nick| Client::login(address, nick));
    // Each answer lies between two messages, so that neither receiver's pieces touch.
    let said: Vec<_> = (0..MESSAGES).map(|k| format!("<m c=\"Bob\">{k}</m>")).collect();
    let stanzas: Vec<_> = said.iter().flat_map(|said| [said.as_str(), "<ping />"]).collect();
    ann.send(&stanzas);
    for said in &said {
        assert_eq!(bob.next().as_ref(), Some(said));
        assert_eq!(ann.next().as_deref(), Some("<pong />"));
    }
}

#[test]
fn a_slow_reader_gets_everything_later_and_in_order() {
    // Together more than the system keeps for one connection on any usual host.
    const MESSAGES: usize = 600;
    let body = "x".repeat(60_000);
    let address = relay();
    let [mut slow, mut quick, mut sender] =
        ["Slow", "Quick", "Sender"].map(|nick| Client::login(address, nick));
    slow.join("R", 1);
    quick.join("R", 2);
    sender.join("R", 3);
    let message = |k: usize| format!("<m toroom=\"R\">{k} {body}</m>");
    let reading = thread::spawn(move || {
        for k in 0..MESSAGES {
            assert!(quick.until("<m ").starts_with(&format!("<m toroom=\"R\">{k} ")));
        }
        quick
    });
    for k in 0..MESSAGES {
        sender.send(&[&message(k)]);
    }
    // The answer comes behind the messages: by now they wait for the slow one.
    assert_eq!(sender.pending(), Vec::<String>::new());
    sender.send(&["<quit />"]);
    assert_eq!(sender.next(), None);
    for k in 0..MESSAGES {
        assert!(slow.until("<m ") == message(k), "message {k}");
    }
    slow.until("<client name='Sender' left='R' />");
    let mut quick = reading.join().expect("it heard everything");
    quick.until("<client name='Sender' left='R' />");
}

#[test]
fn those_who_end_are_taken_out_of_their_rooms_and_lose_nothing() {
    let address = relay();
    let [mut ann, mut bob, mut cid] =
        ["Ann", "Bob", "Cid"].map(|nick| Client::login(address, nick));
    ann.join("R", 1);
    bob.join("R", 2);
    cid.join("R", 3);
    // What stands behind the end is not done, and its bytes cause no reset.
    bob.send(&["<m toroom=\"R\">last</m>", "<ping />", "<quit />", "<ping />", "garbage"]);
    bob.until("<pong />");
    assert_eq!(bob.next(), None);
    ann.until("<m toroom=\"R\">last</m>");
    ann.until("<client name='Bob' left='R' />");
    let list = "<clients room='R' nb='2'>\n  <client name='Ann' />\n  <client name='Cid' />\n\
                </clients>";
    assert_eq!(ann.next().as_deref(), Some(list));
    cid.send(&["<m toroom=\"R\">bye</m>", "<ping />"]);
    cid.stream.shutdown(Shutdown::Write).expect("it is connected");
    cid.until("<pong />");
    assert_eq!(cid.next(), None);
    ann.until("<m toroom=\"R\">bye</m>");
    ann.until("<client name='Cid' left='R' />");
    assert_eq!(
        ann.next().as_deref(),
        Some("<clients room='R' nb='1'>\n  <client name='Ann' />\n</clients>")
    );
    // The nick is free again.
    Client::login(address, "Bob");
}

#[test]
fn one_that_breaks_off_unread_is_taken_out_of_its_room() {
    let address = relay();
    let [mut ann, mut bob, mut cid] =
        ["Ann", "Bob", "Cid"].map(|nick| Client::login(address, nick));
    ann.join("R", 1);
    bob.join("R", 2);
    cid.join("R", 3);
    ann.send(&["<m toroom=\"R\">unread</m>"]);
    cid.until("<m ");
    // Its system answers what is unread with a reset.
    drop(bob);
    ann.until("<client name='Bob' left='R' />");
    ann.send(&["<m toroom=\"R\">on</m>"]);
    cid.until("<m toroom=\"R\">on</m>");
    cid.send(&["<m toroom=\"R\">so</m>"]);
    ann.until("<m toroom=\"R\">so</m>");
}

#[test]
fn above_two_hundred_members_only_joiners_get_the_list() {
    let address = relay();
    let mut clients: Vec<_> =
        (0..FULL_ROSTER_MEMBERS).map(|n| Client::login(address, &format!("N{n}"))).collect();
    for client in &mut clients {
        client.send(&["<join room=\"R\" />"]);
    }
    let at_the_bound = format!("<clients room='R' nb='{FULL_ROSTER_MEMBERS}'>");
    for client in &mut clients {
        client.until(&at_the_bound);
    }
    let mut late = Client::login(address, "Late");
    late.join("R", FULL_ROSTER_MEMBERS + 1);
    late.send(&["<leave room=\"R\" />"]);
    late.until("<leaved room='R' />");
    for client in &mut clients {
        assert_eq!(client.next().as_deref(), Some("<client name='Late' joined='R' />"));
        assert_eq!(client.next().as_deref(), Some("<client name='Late' left='R' />"));
        assert!(client.next().is_some_and(|list| list.starts_with(&at_the_bound)));
    }
}
