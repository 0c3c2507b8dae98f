//! Holds a conversation with a bare hub: no socket, and time goes on when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use tempfile::NamedTempFile;

use palabre::config::{Arguments, load};
use palabre::hub::{
    CloseReason, ConnId, HashKey, Hub, Input, ListenerKind, Note, Outlet, Permission,
    PermissionQuestion, Progress, Question, QuestionId, Registered, RootPassword, Settings, Span,
    Time, Verdict, Watch,
};
use palabre::wire::framer::Framer;
use palabre::wire::write;

use super::checker::{Closed, Driver, Heard, HeardByClient, Wanted};
use super::format::{Act, PLUGIN, Permitted, Setting, configuration};
use super::orders::{self, Wish};
use super::stored::Stored;

/// 23 November 2026, 22:39:17.123456 UTC: the wall clock at the start of every conversation.
const UNIX_START_US: u64 = 1_795_473_557_123_456;

/// A hub and its clients.
pub(crate) struct HubDriver {
    hub: Hub,
    settings: Settings,
    registered: Registered,
    /// What a store would have.
    stored: Stored,
    now: Time,
    port: String,
    stanza_bytes_max: usize,
    clients: BTreeMap<String, Client>,
    opened: u32,
    said: Said,
    /// What the plugin got.
    answers: Vec<Vec<u8>>,
}

struct Client {
    conn: ConnId,
    framer: Framer,
    /// When the hub takes this client's next frame, if it is over its rate.
    later: Option<Time>,
    /// Its login is being decided, or waits for its turn; the hub takes no frame of it.
    waiting: bool,
}

/// An outlet that keeps what it is given, by connection.
#[derive(Default)]
struct Said {
    turn: Vec<u8>,
    open: BTreeSet<ConnId>,
    queues: BTreeMap<ConnId, Vec<Vec<u8>>>,
    closed: BTreeMap<ConnId, CloseReason>,
    /// Whose login is being decided, and the number of the question.
    asked: BTreeMap<ConnId, QuestionId>,
    /// Who waits for a permission, and the number of the question.
    pending: BTreeMap<ConnId, QuestionId>,
    /// Whose turn has come, to log in or to be asked about.
    called: Vec<ConnId>,
}

impl Outlet for Said {
    fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.turn.len();
        write(&mut self.turn);
        assert!(!self.turn[start..].contains(&0), "a NUL inside a stanza");
        self.turn.push(0);
        Span { log: 0, start, end: self.turn.len() }
    }

    fn push(&mut self, to: ConnId, message: Span) {
        assert!(self.open.contains(&to), "{to} is not open and was sent something");
        let stanza = self.turn[message.start..message.end - 1].to_vec();
        self.queues.entry(to).or_default().push(stanza);
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        assert!(self.open.remove(&conn), "{conn} is not open and was closed");
        self.closed.insert(conn, reason);
    }

    fn note(&mut self, note: Note<'_>) {
        let _ = note;
    }

    fn ask(&mut self, question: Question<'_>) {
        let conn = question.conn;
        let before = self.asked.insert(conn, question.id);
        assert_eq!(before, None, "{conn} was asked about already");
    }

    fn ask_permission(&mut self, question: PermissionQuestion<'_>) {
        let before = self.pending.insert(question.conn, question.id);
        assert_eq!(before, None, "{} was asked about already", question.conn);
    }

    fn cancel(&mut self, question: QuestionId) {
        self.pending.retain(|_, own| *own != question);
    }

    fn go_on(&mut self, conn: ConnId) {
        self.called.push(conn);
    }
}

impl HubDriver {
    /// A fresh server under these settings.
    ///
    /// # Errors
    /// Names the setting that isn't one.
    pub(crate) fn new(settings: &[Setting]) -> Result<Self, String> {
        let (settings, registered) = settings_of(settings)?;
        let mut driver = Self {
            port: settings.policy_ports.clone(),
            stanza_bytes_max: settings.limits.stanza_bytes_max,
            hub: Hub::new(settings.clone(), HashKey(1, 2), UNIX_START_US),
            settings,
            registered: registered.clone(),
            stored: Stored::default(),
            now: Time::default(),
            clients: BTreeMap::new(),
            opened: 0,
            said: Said::default(),
            answers: Vec::new(),
        };
        driver.hub.restore(&[]);
        driver.tell(Input::Registered(Box::new(registered)));
        Ok(driver)
    }

    #[allow(dead_code, reason = "not every test has the server restarted")]
    /// The server is killed and started again: the clients are gone, what is stored is there.
    pub(crate) fn restart(&mut self) {
        self.stored.follow(&mut self.hub);
        let unix_us = UNIX_START_US + self.now.0 / 1_000;
        self.hub = Hub::new(self.settings.clone(), HashKey(5, 6), unix_us - self.now.0 / 1_000);
        self.hub.handle(Input::Tick, self.now, &mut self.said);
        let restored = self.hub.restore(&self.stored.records());
        assert_eq!(restored.left_out, [""; 0], "what can't be restored");
        self.clients.clear();
        self.said = Said::default();
        self.tell(Input::Registered(Box::new(self.registered.clone())));
    }

    /// Does one act, without ending the turn.
    pub(crate) fn act(&mut self, act: &Act) {
        match act {
            Act::Order(bytes) => self.order(bytes),
            Act::Open { client, from, policy } => self.open(client, *from, *policy),
            Act::Send { client, bytes } => self.feed(client, bytes),
            Act::End { client } => self.end(client),
            Act::Verdict { client, verdict } => self.decide(client, *verdict),
            Act::Permission { client, permission } => self.permit(client, permission),
            Act::Wait(time) => self.advance(self.now + *time),
        }
        self.offer_the_called();
    }

    /// Those whose turn has come offer their frames again.
    fn offer_the_called(&mut self) {
        while let Some(conn) = self.said.called.pop() {
            let mut clients = self.clients.iter_mut().filter(|(_, client)| client.conn == conn);
            let Some((name, client)) = clients.next() else { continue };
            client.waiting = false;
            let name = name.clone();
            self.feed(&name, b"");
        }
    }

    /// Ends the turn.
    pub(crate) fn end_turn(&mut self) {
        self.tell(Input::TurnEnd);
        self.said.turn.clear();
    }

    /// Lets the hub check its tables.
    pub(crate) fn check_invariants(&self) {
        self.hub.check_invariants();
    }

    /// Everything that the clients got since it was asked last.
    pub(crate) fn heard(&mut self) -> HeardByClient {
        let mut all = HeardByClient::new();
        for (name, client) in &self.clients {
            let stanzas = self.said.queues.remove(&client.conn).unwrap_or_default();
            let closed = self.said.closed.remove(&client.conn);
            if closed.is_some() {
                let gone = Input::Gone { conn: client.conn };
                self.hub.handle(gone, self.now, &mut self.said);
            }
            let closed = closed.map(|reason| Closed::For(words(reason)));
            all.insert(name.clone(), Heard { stanzas, closed });
        }
        let answers = std::mem::take(&mut self.answers);
        all.insert(PLUGIN.to_owned(), Heard { stanzas: answers, closed: None });
        self.clients.retain(|_, client| self.said.open.contains(&client.conn));
        all
    }

    fn tell(&mut self, input: Input<'_>) -> Progress {
        self.hub.handle(input, self.now, &mut self.said)
    }

    /// Does what a plugin's stanza asks for; there is one whole stanza in the bytes.
    fn order(&mut self, bytes: &[u8]) {
        let stanza = bytes.strip_suffix(b"\0").expect("a plugin sends whole stanzas");
        let stanza = std::str::from_utf8(stanza).expect("a plugin sends text");
        let document = roxmltree::Document::parse(stanza).expect("a plugin sends stanzas");
        let mut answer = Vec::new();
        let done = match orders::read(&document) {
            Wish::Order(order) => self.hub.order(order, self.now, &mut self.said),
            Wish::Query(query, bytes_max) => {
                self.hub.tell(query, bytes_max, &self.said, &mut answer)
            }
        };
        if let Err(error) = done {
            assert_eq!(answer, b"", "an answer and an error");
            write::error(&mut answer, &error.to_string());
        }
        self.answers.extend(Some(answer).filter(|answer| !answer.is_empty()));
    }

    fn open(&mut self, name: &str, from: Option<IpAddr>, policy: bool) {
        let conn = ConnId { slot: self.opened, generation: self.opened + 1 };
        self.opened += 1;
        self.said.open.insert(conn);
        let address = from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let listener = if policy { ListenerKind::Policy } else { ListenerKind::Main };
        self.tell(Input::Opened { conn, address, listener });
        self.clients.insert(
            name.to_owned(),
            Client { conn, framer: Framer::new(), later: None, waiting: false },
        );
    }

    /// Gives a client's bytes to its framer and the frames to the hub, as the loop does.
    fn feed(&mut self, name: &str, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(name) else { return };
        let max = self.stanza_bytes_max;
        let mut cut = client.framer.cut(bytes, max);
        if client.later.is_some() || client.waiting {
            return;
        }
        loop {
            if !self.said.open.contains(&client.conn) {
                cut.discard();
                return;
            }
            let conn = client.conn;
            let progress = match cut.next_frame() {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    self.hub.handle(Input::Frame { conn, frame }, self.now, &mut self.said)
                }
                Err(_too_large) => {
                    let input = Input::FrameTooLarge { conn, max };
                    self.hub.handle(input, self.now, &mut self.said);
                    assert!(!self.said.open.contains(&conn), "too large and still open");
                    Progress::Done
                }
            };
            match progress {
                Progress::Done => {}
                Progress::Later(time) => {
                    assert!(time > self.now, "later is now");
                    client.later = Some(time);
                    cut.retract();
                    return;
                }
                Progress::Asked => {
                    assert!(self.said.asked.contains_key(&conn), "it waits for nothing");
                    client.waiting = true;
                    return;
                }
                Progress::Wait | Progress::CrowdWaits => {
                    client.waiting = true;
                    cut.retract();
                    return;
                }
            }
        }
    }

    fn decide(&mut self, name: &str, verdict: Verdict) {
        let Some(client) = self.clients.get_mut(name) else { return };
        let conn = client.conn;
        let Some(question) = self.said.asked.remove(&conn) else {
            panic!("nobody asked about {name}'s login");
        };
        client.waiting = false;
        self.tell(Input::Verdict { conn, question, verdict });
        self.feed(name, b"");
    }

    fn permit(&mut self, name: &str, permission: &Permitted) {
        let Some(client) = self.clients.get_mut(name) else { return };
        let conn = client.conn;
        let Some(question) = self.said.pending.remove(&conn) else {
            panic!("nobody asked about what {name} wants to do");
        };
        client.waiting = false;
        let permission = match permission {
            Permitted::Yes => Permission::Granted,
            Permitted::No(why) => Permission::Refused(why.as_deref()),
            Permitted::Unknown => Permission::Undecided,
        };
        self.tell(Input::Permission { conn, question, permission });
        self.feed(name, b"");
    }

    fn end(&mut self, name: &str) {
        let Some(conn) = self.clients.get(name).map(|client| client.conn) else { return };
        if self.said.open.contains(&conn) {
            self.tell(Input::Ended { conn, reason: CloseReason::PeerClosed });
            self.said.open.remove(&conn);
            self.said.closed.entry(conn).or_insert(CloseReason::PeerClosed);
        }
    }

    /// Lets time pass, stopping wherever the hub or a slowed client has something to do.
    fn advance(&mut self, until: Time) {
        loop {
            let slowed = self.clients.values().filter_map(|client| client.later).min();
            let due = [self.hub.poll_timeout(), slowed].into_iter().flatten().min();
            let Some(due) = due.filter(|&due| due <= until) else { break };
            self.now = self.now.max(due);
            let names: Vec<String> = self.clients.keys().cloned().collect();
            for name in names {
                if let Some(client) = self.clients.get_mut(&name)
                    && client.later.is_some_and(|later| later <= self.now)
                {
                    client.later = None;
                    self.feed(&name, b"");
                }
            }
            if self.hub.poll_timeout().is_some_and(|due| due <= self.now) {
                self.tell(Input::Tick);
                let again = self.hub.poll_timeout();
                assert!(again.is_none_or(|due| due > self.now), "a tick settles nothing");
            }
            self.end_turn();
        }
        self.now = until;
    }
}

impl Driver for HubDriver {
    fn perform(
        &mut self,
        acts: &[Act],
        _wanted: &BTreeMap<&str, Wanted>,
    ) -> Result<HeardByClient, String> {
        for act in acts {
            self.act(act);
        }
        self.end_turn();
        self.check_invariants();
        let unix_us = UNIX_START_US + self.now.0 / 1_000;
        self.stored.check(&mut self.hub, &self.settings, unix_us);
        Ok(self.heard())
    }

    fn port(&self) -> String {
        self.port.clone()
    }
}

/// `PolicyServed` as `policy served`.
fn words(reason: CloseReason) -> String {
    let mut words = String::new();
    for character in format!("{reason:?}").chars() {
        if character.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

/// The settings as the server reads them from its configuration file. `hub.asklogins`,
/// `hub.asked` and `hub.registered` are what plugins register; `hub.hashed` is what a hashed
/// password sets, and `hub.checked` what accounts do.
fn settings_of(list: &[Setting]) -> Result<(Settings, Registered), String> {
    let (of_the_hub, of_the_file): (Vec<Setting>, Vec<Setting>) =
        list.iter().cloned().partition(|(key, _)| key.starts_with("hub."));
    let mut settings = if of_the_file.is_empty() {
        Settings::default()
    } else {
        let mut file = NamedTempFile::new().map_err(|error| error.to_string())?;
        let text = configuration(&of_the_file);
        file.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        let arguments = Arguments { file: Some(file.path().to_owned()), ..Arguments::default() };
        load(&arguments).map_err(|error| error.to_string())?.settings
    };
    let mut registered = Registered::default();
    for (key, value) in of_the_hub {
        match key.as_str() {
            "hub.asklogins" => registered.logins = value == "yes",
            "hub.hashed" if value == "yes" => settings.root_password = RootPassword::Hash,
            "hub.checked" => settings.logins_checked = value == "yes",
            "hub.asked" => {
                let mut words = value.split(' ');
                let hook = words.next();
                let rooms: BTreeSet<Box<str>> = words.map(Into::into).collect();
                let watch =
                    Watch { rooms: Some(rooms).filter(|rooms| !rooms.is_empty()), stanzas: None };
                match hook {
                    Some("mayJoin") => registered.joins_asked.push(watch),
                    _ => registered.talk_asked.push(watch),
                }
            }
            "hub.registered" => {
                registered.names = value.split(' ').map(str::to_owned).collect();
            }
            _ => return Err(format!("no setting: {key}")),
        }
    }
    Ok((settings, registered))
}
