//! Random clients: what they might send, and the settings that they might meet.

use std::net::IpAddr;

use palabre::hub::{
    ConnId, KeepRight, Lookalikes, Registered, RelayNames, RootPassword, Settings, Succession,
    Watch,
};
use palabre::limits::Limits;

use super::model::{Frame, Login, Model};
use super::nicks;
use super::random::Random;
use super::stanza::Stanza;

/// What a run is like; the seed alone decides it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Connections that may be open at a time.
    pub(crate) clients: usize,
    pub(crate) steps: usize,
    /// Rooms and nicks beside those that are spelt out here.
    pub(crate) plain_names: usize,
    /// A turn ends after so many inputs, about.
    pub(crate) turn: usize,
}

pub(crate) const ROOT_PASSWORD: &str = "open & \"sesame\"";

pub(crate) const ROOMS: &[&str] = &[
    "lobby",
    "Lobby",
    "a&b",
    "<x>",
    "it's \"q\"",
    "caf\u{E9} two",
    "\u{65E5}\u{672C}",
    "\u{FF21}",
    "0",
    "l\u{43E}bby",
    "CAF\u{C9} two",
];

/// Rooms that look alike. Those that differ by case alone don't.
pub(crate) const ALIKE_ROOMS: &[&[&str]] = &[&["lobby", "l\u{43E}bby"], &["Lobby", "l\u{43E}bby"]];

/// Names of rooms with something in them that nobody sees.
pub(crate) const UNSEEN_ROOMS: &[&str] = &[
    "lob\u{200B}by",
    "0\u{2800}",
    "\u{E0020}",
    "\u{202E}x",
    "a\u{2028}b",
    "\u{F8FF}",
    "0\u{200C}0",
];

/// Names of rooms that are not in normal form C.
pub(crate) const DECOMPOSED_ROOMS: &[&str] = &["cafe\u{301} two", "\u{212A}"];

/// Names that no room may have, or only with other limits.
const ODD_ROOMS: &[&str] = &[
    " ",
    " lead",
    "trail ",
    "\u{A0}nb",
    "\u{3000}",
    "tab\there",
    "new\nline",
    "c1\u{85}",
    "del\u{7F}",
    "twenty bytes, no more",
    "twenty bytes no more",
    "\u{20AC}\u{20AC}\u{20AC}",
];

const ODD_NICKS: &[&str] = &[
    "",
    " ",
    " lead",
    "trail ",
    "\u{3000}x",
    "a\tb",
    "x\u{85}",
    "sixteen bytes, 1",
    "seventeen bytes 2",
    "\u{1F600} smile",
];

pub(crate) const PARAM_NAMES: &[&str] =
    &["title", "openParams", "colour", "x", "na'me", "k&<\">", "\u{E9}t\u{E9}"];

pub(crate) const PARAM_VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "true",
    "True",
    "red",
    "it's \"quoted\" & <b>",
    "two\nlines\tand\r",
    "]]>",
    "a value of more than 24 bytes",
    "exactly twenty-four char",
];

const BODIES: &[&str] = &[
    "",
    "",
    "hello",
    " a &lt; b &amp;&amp; c > d ",
    "<b>bold<i/></b >",
    "<!-- a note: & < \" -->",
    "<![CDATA[<raw> & ]] >]]>",
    "\u{E9}t\u{E9} \u{2603} &#x1F600;&#10;",
    "\r\n\t",
    "<x:y xmlns:x='urn:x' x:z=\"1\"/>",
    "<a xmlns='urn:a' b='&quot;'>it's</a>",
    "'\"",
];

const INVALID: &[&str] = &[
    "",
    " \r\n",
    "hello",
    "<ping",
    "<m><b></m>",
    "<m></b></m>",
    "<ping a=1/>",
    "<ping a='1'b='2'/>",
    "<ping a='1' a='1'/>",
    "<ping a='<'/>",
    "<ping a='&'/>",
    "<ping/><ping/>",
    "<ping/>x",
    "x<ping/>",
    "<!DOCTYPE ping><ping/>",
    "<?xml-stylesheet href='x'?><ping/>",
    "<ping><?p i?></ping>",
    "\u{FEFF}<ping/>",
    "<m>&nbsp;</m>",
    "<m>&#0;</m>",
    "<m>&#xD800;</m>",
    "<m>]]></m>",
    "<m><!-- -- --></m>",
    "<x:m toroom='lobby'/>",
    "<ping xml:id='a'/>",
    "<m>\u{1}</m>",
    "<m>\u{FFFE}</m>",
];

const ADDRESSES: &[&str] = &[
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "::ffff:127.0.0.1",
    "10.0.0.1",
    "::ffff:10.0.0.1",
    "10.0.0.2",
    "2001:db8::1",
    "2001:db8::2",
];

/// A name that no room may have, or only with other limits.
pub(crate) fn odd_room(random: &mut Random) -> &'static str {
    let odd = random.one_of(&[ODD_ROOMS, UNSEEN_ROOMS, DECOMPOSED_ROOMS]);
    random.pick(odd)
}

/// The kind of run that a seed stands for.
pub(crate) const fn shape(seed: u64) -> Shape {
    match seed % 16 {
        0 => Shape { clients: 3, steps: 1_500, plain_names: 0, turn: 3 },
        1 | 2 => Shape { clients: 5, steps: 1_500, plain_names: 0, turn: 1 },
        3..=8 => Shape { clients: 8, steps: 1_500, plain_names: 1, turn: 4 },
        9..=11 => Shape { clients: 16, steps: 1_500, plain_names: 2, turn: 10 },
        12 | 13 => Shape { clients: 40, steps: 2_000, plain_names: 6, turn: 6 },
        14 => Shape { clients: 100, steps: 2_500, plain_names: 12, turn: 20 },
        _ => Shape { clients: 400, steps: 6_000, plain_names: 24, turn: 50 },
    }
}

pub(crate) fn address(random: &mut Random) -> IpAddr {
    random.pick(ADDRESSES).parse().expect("the addresses above are some")
}

/// Settings with limits so low that they are met, some of them or nearly all.
pub(crate) fn settings(shape: Shape, random: &mut Random) -> Settings {
    let usual = Limits::default();
    let (stanza_rate_per_s, stanza_burst) =
        random.one_of(&[(0, 10), (1, 3), (2, 1), (5, 20), (8, 40), (200, 1_000), (200, 1_000)]);
    // Bytes at rates whose times are whole nanoseconds.
    let (byte_rate_per_s, byte_burst) = random.one_of(&[
        (0, 1),
        (1_000, 0),
        (200, 1_000),
        (1_000, 3_000),
        (usual.byte_rate_per_s, usual.byte_burst),
        (usual.byte_rate_per_s, usual.byte_burst),
    ]);
    let list_rate_per_s = random.one_of(&[0, 200, 1_000, 4_000, usual.list_rate_per_s]);
    // In a crowd a low limit leaves nobody to look at, so there are few of them.
    let (part, whole) = if shape.clients >= 100 { (1, 12) } else { (2, 3) };
    let mut low = |usual: usize, low: &[usize]| {
        if random.chance(part, whole) { random.one_of(low) } else { usual }
    };
    let limits = Limits {
        stanza_bytes_max: low(usual.stanza_bytes_max, &[40, 100]),
        nick_bytes_max: low(usual.nick_bytes_max, &[10, 16]),
        room_bytes_max: low(usual.room_bytes_max, &[8, 20]),
        params_max: low(usual.params_max, &[0, 2, 4]),
        param_bytes_max: low(usual.param_bytes_max, &[5, 24]),
        rooms_per_client_max: low(usual.rooms_per_client_max, &[0, 1, 3]),
        rooms_max: low(usual.rooms_max, &[0, 2, 6]),
        room_depth_max: low(usual.room_depth_max, &[0, 1, 2]),
        sessions_max: low(0, &[shape.clients / 2 + 1, shape.clients - 1]),
        sessions_per_address_max: low(256, &[0, 1, shape.clients / 8 + 1]),
        list_bytes_max: low(usual.list_bytes_max, &[400, 1_500, usual.list_bytes_max]),
        params_total_bytes_max: low(usual.params_total_bytes_max, &[0, 600, 3_000]),
        backlog_soft_bytes_max: low(usual.backlog_soft_bytes_max, &[200, 1_000]),
        login_time_s: if low(300, &[0, 1, 5]) == 1 { 1 } else { random.one_of(&[0, 5, 300]) },
        failed_logins_per_minute: random.one_of(&[0, 1, 2, 5, 20]),
        stanza_rate_per_s,
        stanza_burst,
        byte_rate_per_s,
        byte_burst,
        list_rate_per_s,
        ..usual
    };
    let domains: &[&str] = random.one_of(&[&[], &["*"], &["a.example", "b'&\".example"]]);
    let proxies: &[&str] =
        random.one_of(&[&[], &["10.0.0.1/32"], &["10.0.0.0/31", "2001:db8::1/128"]]);
    let full_roster_members = random.one_of(&[0, 2, 5, 200]);
    Settings {
        limits,
        root_password: match (random.chance(1, 8), random.chance(1, 4)) {
            (true, _) => RootPassword::None,
            (false, true) => RootPassword::Hash,
            (false, false) => RootPassword::clear(ROOT_PASSWORD),
        },
        logins_checked: random.chance(1, 12),
        trusted_proxies: proxies
            .iter()
            .map(|network| network.parse().expect("those above are networks"))
            .collect(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        policy_ports: random.pick(&["2468", "843,2468"]).to_owned(),
        lookalikes: random.one_of(&[Lookalikes::Refuse, Lookalikes::Refuse, Lookalikes::Allow]),
        relay_names: random.one_of(&[RelayNames::Safe, RelayNames::Safe, RelayNames::Any]),
        full_roster_members,
        // Nothing is drawn for it: the seeds meet what they met before there was a choice.
        succession: if full_roster_members == 2 { Succession::None } else { Succession::Oldest },
        keep_right: KeepRight::default(),
        declared_rooms: Vec::new(),
    }
}

/// What plugins might have registered.
pub(crate) fn registered(random: &mut Random) -> Registered {
    let names: &[&str] = random.one_of(&[&[], &["hello", "quote"], &["hello", "error", "ping"]]);
    let registered = Registered {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        logins: random.chance(1, 3),
        joins: random.chance(1, 2),
        leaves: random.chance(1, 2),
        messages: random.chance(1, 2),
        ..Registered::default()
    };
    // Nothing is drawn for these.
    let asked = |on: bool| on.then(Watch::default).into_iter().collect();
    Registered {
        joins_asked: asked(registered.joins == registered.messages),
        talk_asked: asked(registered.leaves == registered.messages),
        ..registered
    }
}

/// The next frame of one client; the model says what would make sense to it.
pub(crate) struct Generator<'a> {
    pub(crate) shape: Shape,
    pub(crate) model: &'a Model,
    pub(crate) conn: ConnId,
    pub(crate) random: &'a mut Random,
}

impl Generator<'_> {
    /// What the client means, and how it writes it.
    pub(crate) fn frame(&mut self) -> (Frame, Vec<u8>) {
        if self.random.chance(1, 60) {
            return (Frame::Invalid, self.invalid());
        }
        let new = self.model.sessions[&self.conn].login == Login::New;
        let mut stanza =
            if new && self.random.chance(4, 5) { self.connect() } else { self.request() };
        let written = stanza.render(self.random).into_bytes();
        (Frame::Stanza(stanza), written)
    }

    /// A login under this nick.
    pub(crate) fn login_as(&mut self, nick: &str) -> (Frame, Vec<u8>) {
        let mut stanza = Stanza::new("connect");
        stanza.put("nickname", nick, self.random);
        stanza.put("password", "secret", self.random);
        let written = stanza.render(self.random).into_bytes();
        (Frame::Stanza(stanza), written)
    }

    fn invalid(&mut self) -> Vec<u8> {
        match self.random.below(INVALID.len() + 2) {
            0 => b"<m>\xFF</m>".to_vec(),
            1 => b"<m a='\xED\xA0\x80'/>".to_vec(),
            other => INVALID[other - 2].as_bytes().to_vec(),
        }
    }

    fn request(&mut self) -> Stanza {
        match self.random.below(1_000) {
            0..130 => self.with_rooms("join", &["room", "room", "r"], false),
            130..230 => self.with_rooms("leave", &["room", "r"], true),
            230..330 => self.add_child(),
            330..400 => self.with_param("setparam"),
            400..440 => self.with_param("removeparam"),
            440..490 => self.with_param("clientparam"),
            490..660 => self.message("m"),
            660..700 => self.message("msg"),
            700..780 => {
                let name = self.random.pick(&["move", "chat", "hello", "quote", "p:note", "M"]);
                self.message(name)
            }
            780..800 => {
                let name =
                    self.random.pick(&["error", "info", "clients", "pong", "leaved", "room"]);
                self.message(name)
            }
            800..840 => Stanza::new("getrooms"),
            840..880 => self.with_odd_attributes("ping"),
            880..895 => Stanza::new("help"),
            895..905 => Stanza::new("quit"),
            905..925 => self.connect(),
            925..945 => {
                let name = self.random.pick(&["dance", "hello", "PING", "error", "Join", "x"]);
                self.with_odd_attributes(name)
            }
            945..965 => self.remove_user(),
            965..985 => self.with_rooms("getinfo", &["room", "room", "room", "r"], true),
            985..988 => Stanza::new("policy-file-request"),
            988..991 => self.with_odd_attributes("cross-domain-request"),
            // Without root it is refused; a root that means it is one in many steps.
            991..999 => self.shutdown(),
            _ => Stanza::new("shutdown"),
        }
    }

    fn shutdown(&mut self) -> Stanza {
        let root = self.model.sessions[&self.conn].root;
        if root { self.message("m") } else { Stanza::new("shutdown") }
    }

    fn connect(&mut self) -> Stanza {
        let mut stanza = Stanza::new("connect");
        if !self.random.chance(1, 20) {
            let nick = self.nick();
            stanza.put("nickname", &nick, self.random);
        }
        match self.random.below(8) {
            0 | 1 => stanza.put("rootpass", ROOT_PASSWORD, self.random),
            2 => {
                let wrong = self.random.pick(&["", "sesame", "open & 'sesame'"]);
                stanza.put("rootpass", wrong, self.random);
            }
            3 => stanza.put("password", "secret", self.random),
            _ => {}
        }
        self.odd_attributes(&mut stanza);
        stanza
    }

    fn remove_user(&mut self) -> Stanza {
        let mut stanza = Stanza::new("rmuser");
        let nick = self.nick_for_lookup();
        let name = self.random.pick(&["nickName", "nickname", "nickname", "nick"]);
        stanza.put(name, &nick, self.random);
        if self.random.chance(1, 8) {
            let other = self.nick_for_lookup();
            stanza.put("nickname", &other, self.random);
        }
        stanza
    }

    fn with_rooms(&mut self, name: &str, attributes: &[&'static str], inside: bool) -> Stanza {
        let mut stanza = self.with_odd_attributes(name);
        let attribute = self.random.pick(attributes);
        if !self.random.chance(1, 40) {
            let room = if inside { self.room_inside() } else { self.room_name() };
            stanza.put(attribute, &room, self.random);
        }
        if self.random.chance(1, 12) {
            let room = self.room_name();
            stanza.put(self.random.pick(&["room", "r"]), &room, self.random);
        }
        stanza
    }

    fn add_child(&mut self) -> Stanza {
        let mut stanza = self.with_odd_attributes("addchild");
        if !self.random.chance(1, 40) {
            let parent = self.room_inside();
            stanza.put("parentroom", &parent, self.random);
        }
        if !self.random.chance(1, 40) {
            let child = self.room_name();
            stanza.put("childroom", &child, self.random);
        }
        stanza
    }

    fn with_param(&mut self, request: &str) -> Stanza {
        let mut stanza = self.with_odd_attributes(request);
        if !self.random.chance(1, 40) {
            let room = self.room_inside();
            stanza.put("room", &room, self.random);
        }
        if !self.random.chance(1, 40) {
            let name = self.random.pick(PARAM_NAMES);
            stanza.put("name", name, self.random);
        } else if self.random.chance(1, 2) {
            stanza.put("name", "", self.random);
        }
        if !self.random.chance(1, 40) {
            let value = self.random.pick(PARAM_VALUES);
            stanza.put("value", value, self.random);
        }
        stanza
    }

    fn message(&mut self, name: &str) -> Stanza {
        let mut stanza = Stanza::new(name);
        stanza.body = format!("{}{}", self.random.pick(BODIES), self.random.pick(BODIES));
        if name.starts_with("p:") {
            stanza.put("xmlns:p", "urn:p", self.random);
        }
        let addressings = if self.random.chance(1, 8) { 2 } else { 1 };
        for _ in 0..addressings {
            match self.random.below(16) {
                0..8 => {
                    let room = self.room_inside();
                    stanza.put(self.random.pick(&["toroom", "r"]), &room, self.random);
                }
                8..14 => {
                    let nick = self.nick_for_lookup();
                    stanza.put(self.random.pick(&["toclient", "c"]), &nick, self.random);
                }
                14 => stanza.put("broadcast", self.random.pick(&["", "0", "1"]), self.random),
                _ => {}
            }
        }
        for _ in 0..self.random.below(3) {
            let name = self.random.pick(&["b", "b", "back", "f", "broadcast"]);
            stanza.put(name, self.random.pick(&["0", "1", "", "00", "true"]), self.random);
        }
        self.odd_attributes(&mut stanza);
        stanza
    }

    fn with_odd_attributes(&mut self, name: &str) -> Stanza {
        let mut stanza = Stanza::new(name);
        self.odd_attributes(&mut stanza);
        stanza
    }

    /// Attributes that mean nothing to the server and travel with what is relayed.
    fn odd_attributes(&mut self, stanza: &mut Stanza) {
        if !self.random.chance(1, 3) {
            return;
        }
        for _ in 0..=self.random.below(2) {
            match self.random.below(8) {
                0 => stanza.put("xmlns", "urn:default", self.random),
                1 => {
                    stanza.put("xmlns:p", "urn:p", self.random);
                    // A prefix that is declared may stand before names that route nothing then.
                    stanza.put(self.random.pick(&["p:r", "p:c", "p:x"]), "a&b", self.random);
                }
                2 => stanza.put("xml:lang", "eo", self.random),
                3 => stanza.put("\u{E9}tat", "\u{2603}", self.random),
                _ => {
                    let name = self.random.pick(&["x", "colour", "R", "from", "to", "id", "caps"]);
                    stanza.put(name, self.random.pick(PARAM_VALUES), self.random);
                }
            }
        }
    }

    // Names.

    fn nick(&mut self) -> String {
        let plain = self.random.below(self.shape.clients * 2);
        match self.random.below(40) {
            0 => self.random.pick(ODD_NICKS).to_owned(),
            1 => self.random.pick(nicks::NOT_NICKNAMES).to_owned(),
            2..14 if self.shape.plain_names > 2 => format!("user{plain}"),
            14..22 if self.shape.plain_names > 2 => format!("User {plain}"),
            _ => {
                let row = self.random.below(nicks::SAME.len());
                self.random.pick(nicks::SAME[row]).to_owned()
            }
        }
    }

    /// A nick that is there, as it is given or in another case, or any.
    fn nick_for_lookup(&mut self) -> String {
        let open = &self.model.sessions;
        if self.random.chance(1, 3) {
            return self.nick();
        }
        let (_, session) = open.iter().nth(self.random.below(open.len())).expect("one is open");
        let nick = session.nick.clone();
        match self.random.below(9) {
            0..3 if nick.is_ascii() => nick.to_ascii_uppercase(),
            3 => format!(" {nick} "),
            _ => nick,
        }
    }

    fn room_name(&mut self) -> String {
        match self.random.below(24) {
            0 => odd_room(self.random).to_owned(),
            1 if self.random.chance(1, 4) => String::new(),
            // Of many rooms some are crowded.
            2..8 if self.shape.plain_names > 2 => format!("room{}", self.random.below(2)),
            8..20 if self.shape.plain_names > 0 => {
                format!("room{}", self.random.below(self.shape.plain_names))
            }
            _ => self.random.pick(ROOMS).to_owned(),
        }
    }

    /// A room that the client is in, most of the time.
    fn room_inside(&mut self) -> String {
        let rooms = &self.model.sessions[&self.conn].rooms;
        if rooms.is_empty() || self.random.chance(1, 8) {
            return self.room_name();
        }
        let room = rooms[self.random.below(rooms.len())];
        self.model.rooms[&room].name.clone()
    }
}
