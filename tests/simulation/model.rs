//! The reference model: what the protocol says (manual: protocol), written down plainly.
//!
//! It shares nothing with the hub but the types of the hub's inputs and answers. It takes requests
//! as their sender means them, keeps everything in strings, lists and ordered maps, and says what
//! each connection must receive. It knows no bytes to parse and no speed to keep.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use palabre::hub::{
    CloseReason, ConnId, ListenerKind, Lookalikes, Progress, QuestionId, Registered, RootPassword,
    Settings, Time, Verdict,
};

use super::nicks;
use super::rates::{Allowance, Late};
use super::recorder::{Asked, Done, Hook};
use super::rooms::{Pending, Room};
use super::stanza::Stanza;
use super::text;

/// What a frame holds.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Stanza(Stanza),
    /// Not a stanza by manual: protocol, 'What counts as a stanza'.
    Invalid,
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    New,
    /// It waits for its turn to be asked about.
    InLine,
    /// It has its turn.
    Called,
    /// Somebody else decides whether it may log in, under a nick that is still everybody's.
    Asked(Asked),
    Done,
}

/// A connection, from its acceptance to its end.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) login: Login,
    pub(crate) nick: String,
    /// What its nick has in common with those that equal it.
    identity: String,
    pub(crate) root: bool,
    /// Its `connect` had `caps`.
    asked_capabilities: bool,
    pub(crate) params: Vec<(String, String)>,
    /// In the order in which it joined them.
    pub(crate) rooms: Vec<u64>,
    pub(crate) address: IpAddr,
    pub(crate) listener: ListenerKind,
    opened: Time,
    stanzas: Bucket,
    /// Since when it has been over `stanzarate`, and when it was so last.
    over: Option<(Time, Time)>,
    /// What it may still send, and when it was last told that this is too much.
    pub(crate) bytes: Allowance,
    pub(crate) bytes_over: Option<Time>,
    /// What it may still ask for.
    pub(crate) asked: Allowance,
    /// Its reader does not keep up, since when, and whether those who talk wait for it.
    pub(crate) behind: bool,
    pub(crate) behind_since: Time,
    pub(crate) waited_for: bool,
    /// For which room what it says waits, and since when.
    pub(crate) held: Option<(u64, Time)>,
    /// Params that are still to be told to some of its rooms.
    pub(crate) untold: Option<VecDeque<(String, VecDeque<u64>)>>,
}

/// A token bucket in whole numbers: a token is as many parts as the bucket's period has
/// nanoseconds, so that each nanosecond adds as many parts as a period adds tokens.
#[derive(Clone, Debug)]
struct Bucket {
    /// Less than nothing when tokens are owed.
    parts: i128,
    at: Time,
}

impl Bucket {
    const fn full(tokens: u64, period_ns: u64, now: Time) -> Self {
        Self { parts: tokens as i128 * period_ns as i128, at: now }
    }

    fn refill(&mut self, rate: u64, tokens_max: u64, period_ns: u64, now: Time) {
        let elapsed = i128::try_from(now.since(self.at).as_nanos()).expect("no eternity");
        let more = elapsed * i128::from(rate);
        self.parts = (self.parts + more).min(i128::from(tokens_max) * i128::from(period_ns));
        self.at = now;
    }
}

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;

/// Logins of one address that are asked about at a time, and the bytes of their stanzas.
const ASKED_MAX: usize = 64;
const ASKED_BYTES_MAX: usize = 131_072;

/// A login that may turn out to be a failed one.
#[derive(Clone, Debug)]
struct Try {
    conn: ConnId,
    /// What its address is counted as.
    counted: String,
    /// The passwords in it.
    guesses: u64,
    bytes: usize,
}

/// The server as its protocol describes it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) settings: Settings,
    pub(crate) registered: Registered,
    /// The largest `nickbytes` so far: whoever has such a nick keeps it.
    nick_bytes_allowed: usize,
    /// Questions about logins so far.
    asks: QuestionId,
    pub(crate) sessions: BTreeMap<ConnId, Session>,
    /// Connections whose session is over and which are not closed yet, with what they count as.
    closing: BTreeMap<ConnId, IpAddr>,
    /// By the order of their creation.
    pub(crate) rooms: BTreeMap<u64, Room>,
    pub(crate) rooms_created: u64,
    /// What is shared and not sent yet, in its order.
    pub(crate) pending: Vec<Pending>,
    /// What is told later, by its time and in the order in which it was put there; what is behind
    /// that keeps readers apart.
    pub(crate) later: BTreeMap<(Time, u64, u32), Late>,
    pub(crate) lates: u64,
    /// Bytes that the request at hand has had others told, each message counted once.
    pub(crate) caused_bytes: usize,
    /// The request at hand has done nothing yet and is to come again then.
    pub(crate) held_until: Option<Time>,
    /// Who put something in there.
    pub(crate) causers: BTreeSet<ConnId>,
    pub(crate) now: Time,
    pub(crate) unix_start_us: u64,
    /// By what an address is counted as.
    failed_logins: BTreeMap<String, Bucket>,
    /// Logins that are asked about, by the number of the question; their sessions may be over.
    asked: BTreeMap<QuestionId, Try>,
    /// Which of them are about root's password, too.
    asked_about_root: BTreeSet<QuestionId>,
    /// Those that have their turn and have not come back yet.
    called: BTreeMap<ConnId, Try>,
    /// Those that wait for their turn, each address's in their order.
    lines: BTreeMap<String, Vec<Try>>,
    said: Vec<(ConnId, Done)>,
}

/// The text of a `help` that the model leaves to the server.
pub(crate) const HELP: &str = "<help>";

pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// What is counted as one: an IPv4 address, or the /64 of an IPv6 address.
fn counted_as(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:?}", &address.segments()[..4]),
    }
}

impl Model {
    pub(crate) fn new(settings: Settings, unix_start_us: u64) -> Self {
        Self {
            nick_bytes_allowed: settings.limits.nick_bytes_max,
            settings,
            registered: Registered::default(),
            asks: QuestionId(0),
            sessions: BTreeMap::new(),
            closing: BTreeMap::new(),
            rooms: BTreeMap::new(),
            rooms_created: 0,
            pending: Vec::new(),
            later: BTreeMap::new(),
            lates: 0,
            caused_bytes: 0,
            held_until: None,
            causers: BTreeSet::new(),
            now: Time(0),
            unix_start_us,
            failed_logins: BTreeMap::new(),
            asked: BTreeMap::new(),
            called: BTreeMap::new(),
            lines: BTreeMap::new(),
            asked_about_root: BTreeSet::new(),
            said: Vec::new(),
        }
    }

    /// What has been said since it was last asked for.
    pub(crate) fn take(&mut self) -> Vec<(ConnId, Done)> {
        std::mem::take(&mut self.said)
    }

    pub(crate) fn say(&mut self, to: ConnId, what: String) {
        self.said.push((to, Done::Text(what)));
    }

    /// What plugins hear of a session.
    pub(crate) fn hook(&mut self, of: ConnId, hook: Hook) {
        self.said.push((of, Done::Hook(hook)));
    }

    /// The policy port says nothing but policies.
    pub(crate) fn refuse(&mut self, to: ConnId, what: &str) {
        if self.sessions.get(&to).is_none_or(|session| session.listener == ListenerKind::Main) {
            self.say(to, text::error(what));
        }
    }

    pub(crate) fn reload(&mut self, settings: Settings) {
        self.nick_bytes_allowed = self.nick_bytes_allowed.max(settings.limits.nick_bytes_max);
        self.settings = settings;
    }

    /// Questions about sessions that are over.
    pub(crate) fn asked_and_gone(&self) -> Vec<(QuestionId, ConnId)> {
        let gone = |asked: &&Try| !self.sessions.contains_key(&asked.conn);
        let asked = self.asked.iter().filter(|(_, asked)| gone(asked));
        asked.map(|(ask, asked)| (*ask, asked.conn)).collect()
    }

    /// Who is logged in, with the nick.
    pub(crate) fn logged_in(&self) -> BTreeMap<ConnId, String> {
        let inside = self.sessions.iter().filter(|(_, session)| session.login == Login::Done);
        inside.map(|(conn, session)| (*conn, session.nick.clone())).collect()
    }

    /// The earliest time at which a login times out.
    pub(crate) fn login_deadline(&self) -> Option<Time> {
        let waiting = self.sessions.values().filter(|session| session.login != Login::Done);
        let limit = self.settings.limits.login_time_s;
        waiting.map(|session| session.opened.plus_secs(limit)).filter(|_| limit != 0).min()
    }

    /// The logged-in session with a nick that equals this one.
    pub(crate) fn find_nick(&self, nick: &str) -> Option<ConnId> {
        if nick.len() > self.nick_bytes_allowed {
            return None;
        }
        let wanted = nicks::identity(nick)?;
        let mut inside = self.sessions.iter().filter(|(_, session)| session.login == Login::Done);
        inside.find(|(_, session)| session.identity == wanted).map(|(conn, _)| *conn)
    }

    /// Whether a session has such a nick. One that waits for leave to have it has not.
    fn is_taken(&self, nick: &str) -> bool {
        let wanted = nicks::identity(nick);
        let mut named = self.sessions.values().filter(|session| session.login == Login::Done);
        named.any(|session| Some(&session.identity) == wanted.as_ref())
    }

    /// Whether a nick looks like that of a session, and may not.
    fn is_imitation(&self, nick: &str) -> bool {
        let mut named = self.sessions.values().filter(|session| session.login == Login::Done);
        self.settings.lookalikes == Lookalikes::Refuse
            && named.any(|session| nicks::look_alike(nick, &session.nick))
    }

    // What comes in.

    pub(crate) fn opened(&mut self, conn: ConnId, address: IpAddr, listener: ListenerKind) {
        let limits = &self.settings.limits;
        let address = address.to_canonical();
        let same = self.connections_from(address);
        let (all_max, same_max) = (limits.sessions_max, limits.sessions_per_address_max);
        if all_max != 0 && self.sessions.len() + self.closing.len() >= all_max {
            if listener == ListenerKind::Main {
                self.refuse(conn, &format!("Too many sessions (limit {all_max})"));
            }
            self.said.push((conn, Done::Closed(CloseReason::TooManySessions)));
            return;
        }
        if same_max != 0 && same >= same_max && !self.may_have_any_number(address) {
            let what = format!("Too many sessions from your address (limit {same_max})");
            if listener == ListenerKind::Main {
                self.refuse(conn, &what);
            }
            self.said.push((conn, Done::Closed(CloseReason::TooManyFromAddress)));
            return;
        }
        let session = Session {
            login: Login::New,
            nick: String::new(),
            identity: String::new(),
            root: false,
            asked_capabilities: false,
            params: Vec::new(),
            rooms: Vec::new(),
            address,
            listener,
            opened: self.now,
            stanzas: Bucket::full(limits.stanza_burst, SECOND_NS, self.now),
            over: None,
            bytes: self.byte_allowance(),
            bytes_over: None,
            asked: self.list_allowance(),
            behind: false,
            behind_since: self.now,
            waited_for: false,
            held: None,
            untold: None,
        };
        assert!(self.sessions.insert(conn, session).is_none(), "{conn} opened twice");
    }

    /// Open connections and closing ones.
    fn connections_from(&self, address: IpAddr) -> usize {
        let open = self.sessions.values().map(|session| &session.address);
        let all = open.chain(self.closing.values());
        all.filter(|other| counted_as(**other) == counted_as(address)).count()
    }

    /// The connection of a session that is over is closed.
    pub(crate) fn gone(&mut self, conn: ConnId) {
        self.closing.remove(&conn);
    }

    /// Connections that are closing.
    pub(crate) fn closing(&self) -> Vec<ConnId> {
        self.closing.keys().copied().collect()
    }

    /// Loopback and trusted proxies, behind whom there are others.
    fn may_have_any_number(&self, address: IpAddr) -> bool {
        let mut proxies = self.settings.trusted_proxies.iter();
        is_loopback(address) || proxies.any(|proxy| proxy.contains(&address))
    }

    pub(crate) fn client_address(&mut self, conn: ConnId, address: IpAddr) {
        let address = address.to_canonical();
        let Some(session) = self.sessions.get(&conn) else {
            return;
        };
        let moves = counted_as(session.address) != counted_as(address);
        let max = self.settings.limits.sessions_per_address_max;
        let same = self.connections_from(address);
        if moves && max != 0 && same >= max && !self.may_have_any_number(address) {
            self.send_pending_before(conn);
            self.refuse(conn, &format!("Too many sessions from your address (limit {max})"));
            self.close(conn, CloseReason::TooManyFromAddress);
        } else {
            self.session(conn).address = address;
        }
    }

    pub(crate) fn frame(&mut self, conn: ConnId, frame: &Frame, bytes: usize) -> Progress {
        let Some(session) = self.sessions.get(&conn) else {
            return Progress::Done;
        };
        if matches!(session.login, Login::Asked(_) | Login::InLine) {
            return Progress::Wait;
        }
        // What is offered again was counted when it was offered first.
        let called = session.login == Login::Called;
        let before_login = session.login != Login::Done;
        if !called && let Some(progress) = self.has_to_wait(conn).or_else(|| self.too_fast(conn)) {
            return progress;
        }
        self.send_pending_before(conn);
        self.caused_bytes = 0;
        self.handle(conn, frame);
        let progress = self.frame_done(conn, (!called).then_some(bytes));
        let login = self.sessions.get(&conn).map(|session| &session.login);
        match login.filter(|_| before_login) {
            Some(Login::InLine | Login::Called) => Progress::Wait,
            Some(Login::Asked(_)) => Progress::Asked,
            Some(Login::New | Login::Done) | None => progress,
        }
    }

    fn handle(&mut self, conn: ConnId, frame: &Frame) {
        let session = &self.sessions[&conn];
        match frame {
            Frame::Stanza(stanza) if is_policy_request(stanza) => self.policy(conn),
            _ if session.listener == ListenerKind::Policy => {
                self.close(conn, CloseReason::PolicyOnly)
            }
            Frame::Invalid => self.refuse(conn, "This is not a valid XML string"),
            Frame::Stanza(stanza) if session.login == Login::Done => {
                self.after_login(conn, stanza);
            }
            Frame::Stanza(stanza) => self.before_login(conn, stanza),
        }
    }

    pub(crate) fn frame_too_large(&mut self, conn: ConnId, limit: usize) {
        if self.sessions.contains_key(&conn) {
            self.send_pending_before(conn);
            self.refuse(conn, &format!("Stanza too large (limit {limit} bytes)"));
            self.close(conn, CloseReason::StanzaTooLarge);
        }
    }

    pub(crate) fn ended(&mut self, conn: ConnId) {
        if self.sessions.contains_key(&conn) {
            self.forget(conn);
        }
    }

    pub(crate) fn verdict(&mut self, conn: ConnId, ask: QuestionId, verdict: Verdict) {
        if self.asked.get(&ask).is_none_or(|asked| asked.conn != conn) {
            return;
        }
        let asked = self.asked.remove(&ask).expect("just seen");
        let about_root = self.asked_about_root.remove(&ask);
        // Whether root's password was found to be wrong, and whether the login was refused.
        let (root, login) = match verdict {
            Verdict::Root { .. } if about_root => (false, false),
            Verdict::Root { .. } | Verdict::Refused => (about_root, true),
            Verdict::Allowed { .. } => (about_root, false),
            Verdict::Undecided { root_refused, login_refused } => {
                (root_refused && about_root, login_refused)
            }
        };
        for _ in 0..u8::from(root) + u8::from(login) {
            self.count_failed_login(&asked.counted);
        }
        if let Some(session) = self.sessions.get_mut(&conn) {
            let Login::Asked(own) = std::mem::replace(&mut session.login, Login::New) else {
                panic!("{conn} does not wait for {ask}");
            };
            let root = matches!(verdict, Verdict::Root { .. });
            let allowed = matches!(verdict, Verdict::Allowed { .. }) || root && about_root;
            let bytes_max = self.settings.limits.nick_bytes_max;
            if let Verdict::Undecided { .. } = verdict {
                self.refuse_login(conn, "Login not possible right now, please try again");
            } else if !allowed {
                self.refuse_login(conn, "Authentication Error");
            } else if own.nick.len() > bytes_max {
                let why = format!("Nickname empty or already taken (limit {bytes_max} bytes)");
                self.refuse_login(conn, &why);
            } else if self.is_taken(&own.nick) || self.is_imitation(&own.nick) {
                self.refuse_login(conn, "Nickname empty or already taken");
            } else {
                self.log_in(conn, &own.nick, root);
            }
        }
        self.call_next(&asked.counted);
    }

    pub(crate) fn tick(&mut self) {
        self.close_late_logins();
        self.tell_later();
    }

    fn close_late_logins(&mut self) {
        let limit = self.settings.limits.login_time_s;
        if limit == 0 {
            return;
        }
        let late = |session: &&Session| {
            session.login != Login::Done && session.opened.plus_secs(limit) <= self.now
        };
        let late: Vec<ConnId> = self
            .sessions
            .iter()
            .filter(|(_, session)| late(session))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in late {
            self.refuse(conn, &format!("Login timed out (limit {limit} s)"));
            self.close(conn, CloseReason::LoginTimeout);
        }
    }

    pub(crate) fn shutdown(&mut self) {
        self.send_pending();
        let everybody: Vec<ConnId> = self.sessions.keys().copied().collect();
        for conn in everybody {
            self.refuse(conn, "### Server is now going down ... ###");
            for room in self.sessions[&conn].rooms.clone() {
                self.tell_of_leave(conn, room);
            }
            self.said.push((conn, Done::Closed(CloseReason::Shutdown)));
        }
        self.sessions.clear();
        self.closing.clear();
        self.rooms.clear();
        self.pending.clear();
        self.later.clear();
        self.causers.clear();
    }

    // Before the login.

    fn before_login(&mut self, conn: ConnId, stanza: &Stanza) {
        match stanza.name.as_str() {
            "connect" => self.connect(conn, stanza),
            "help" => self.say(conn, HELP.to_owned()),
            "quit" => self.close(conn, CloseReason::Quit),
            _ => self.refuse(conn, "You must login first"),
        }
    }

    fn connect(&mut self, conn: ConnId, stanza: &Stanza) {
        let counted = counted_as(self.sessions[&conn].address);
        let called = self.called.remove(&conn);
        if called.is_some() {
            self.session(conn).login = Login::New;
        }
        self.try_login(conn, stanza, &counted, called.is_some());
        let waits = self.sessions.get(&conn).is_some_and(|session| session.login == Login::InLine);
        if waits {
            self.call_next(&counted);
        }
        if let Some(called) = called {
            self.call_next(&called.counted);
        }
    }

    fn try_login(&mut self, conn: ConnId, stanza: &Stanza, counted: &str, called: bool) {
        let Some(nick) = stanza.attribute("nickname") else {
            self.refuse_login(conn, "No NickName Attribute");
            return;
        };
        // Old movies send the field of their form when it is empty, too.
        let password = stanza.attribute("rootpass").filter(|password| !password.is_empty());
        let login = self.registered.logins || self.settings.logins_checked;
        let guesses = u64::from(password.is_some()) + u64::from(login);
        if guesses > 0 && self.failed_logins_left(counted) == 0 {
            self.close_for_failures(conn);
            return;
        }
        let bytes_max = self.settings.limits.nick_bytes_max;
        if nick.len() > bytes_max {
            let why = format!("Nickname empty or already taken (limit {bytes_max} bytes)");
            self.refuse_login(conn, &why);
            return;
        }
        let odd = nicks::identity(nick).is_none();
        if odd || self.is_taken(nick) || self.is_imitation(nick) {
            self.refuse_login(conn, "Nickname empty or already taken");
            return;
        }
        let bytes = stanza.element.len();
        let attempt = Try { conn, counted: counted.to_owned(), guesses, bytes };
        let others = self.lines.get(counted).is_some_and(|line| !line.is_empty());
        if guesses > 0 && (others && !called || !self.has_room(&attempt)) {
            self.lines.entry(counted.to_owned()).or_default().push(attempt);
            self.session(conn).login = Login::InLine;
            return;
        }
        let hashed = self.settings.root_password.is_hash();
        let root = match &self.settings.root_password {
            RootPassword::Clear(own) => password == Some(own.as_str()),
            RootPassword::None | RootPassword::Hash => false,
        };
        if password.is_some() && !root && !hashed {
            self.count_failed_login(counted);
        }
        self.session(conn).asked_capabilities = stanza.attribute("caps").is_some();
        let about_root = hashed && password.is_some();
        if root || !(login || about_root) {
            self.log_in(conn, nick, root);
            return;
        }
        self.asks.0 += 1;
        let asked = Asked {
            ask: self.asks,
            nick: nick.to_owned(),
            element: stanza.element_without_root_password.clone(),
            login,
            checked: self.settings.logins_checked,
            root_password: password.filter(|_| hashed).map(str::to_owned),
        };
        let guesses = u64::from(login) + u64::from(about_root);
        self.asked.insert(self.asks, Try { guesses, ..attempt });
        if about_root {
            self.asked_about_root.insert(self.asks);
        }
        self.said.push((conn, Done::Asked(asked.clone())));
        self.session(conn).login = Login::Asked(asked);
    }

    /// Whether one more login of its address may be asked about. One may in any case.
    fn has_room(&mut self, attempt: &Try) -> bool {
        let left = self.failed_logins_left(&attempt.counted);
        let others = self.asked.values().chain(self.called.values());
        let others: Vec<Try> =
            others.filter(|other| other.counted == attempt.counted).cloned().collect();
        let guesses = others.iter().map(|other| other.guesses).sum::<u64>() + attempt.guesses;
        let bytes = others.iter().map(|other| other.bytes).sum::<usize>() + attempt.bytes;
        let few = others.len() < ASKED_MAX && bytes <= ASKED_BYTES_MAX;
        left > 0 && (others.is_empty() || few && guesses <= left)
    }

    /// Who waits has its turn, as far as may be; or never, when all that were asked about before
    /// were wrong.
    fn call_next(&mut self, counted: &str) {
        while let Some(first) = self.lines.get(counted).and_then(|line| line.first()).cloned() {
            let mut others = self.asked.values().chain(self.called.values());
            let alone = !others.any(|other| other.counted == counted);
            if alone && self.failed_logins_left(counted) == 0 {
                let line = self.lines.remove(counted).expect("just seen");
                self.owe_failed_logins(counted, line.len());
                for waiting in line {
                    self.session(waiting.conn).login = Login::New;
                    self.close_for_failures(waiting.conn);
                }
                return;
            }
            if !self.has_room(&first) {
                return;
            }
            self.lines.get_mut(counted).expect("just seen").remove(0);
            self.session(first.conn).login = Login::Called;
            self.said.push((first.conn, Done::Called));
            self.called.insert(first.conn, first);
        }
    }

    fn close_for_failures(&mut self, conn: ConnId) {
        let limit = self.settings.limits.failed_logins_per_minute;
        self.refuse(conn, &format!("Too many failed logins (limit {limit} per minute)"));
        self.close(conn, CloseReason::FailedLogins);
    }

    fn log_in(&mut self, conn: ConnId, nick: &str, root: bool) {
        let session = self.session(conn);
        session.login = Login::Done;
        session.nick = nick.to_owned();
        session.identity = nicks::identity(nick).expect("checked at the request");
        session.root = root;
        // There is nothing to grant yet.
        let granted = if session.asked_capabilities { " caps=''" } else { "" };
        let nick = text::value(nick);
        self.say(conn, format!("<connect isok='1' msg='Your nickname is now : {nick}'{granted}/>"));
    }

    fn refuse_login(&mut self, conn: ConnId, why: &str) {
        self.say(conn, format!("<connect isok='0' msg='{}'/>", text::value(why)));
        self.refuse(conn, why);
    }

    /// How many failed logins an address has left.
    fn failed_logins_left(&mut self, counted: &str) -> u64 {
        let limit = self.settings.limits.failed_logins_per_minute;
        let now = self.now;
        let full = || Bucket::full(limit, MINUTE_NS, now);
        let bucket = self.failed_logins.entry(counted.to_owned()).or_insert_with(full);
        bucket.refill(limit, limit, MINUTE_NS, now);
        let tokens = bucket.parts.max(0) / i128::from(MINUTE_NS);
        if limit == 0 { u64::MAX } else { u64::try_from(tokens).expect("at most the limit") }
    }

    fn count_failed_login(&mut self, counted: &str) {
        let left = self.failed_logins_left(counted);
        let bucket = self.failed_logins.get_mut(counted).expect("just looked at");
        if left > 0 {
            bucket.parts -= i128::from(MINUTE_NS);
        }
    }

    /// Counts passwords that nobody has looked at; as many again as the limit can be owed.
    fn owe_failed_logins(&mut self, counted: &str, count: usize) {
        let limit = i128::from(self.settings.limits.failed_logins_per_minute);
        self.failed_logins_left(counted);
        let bucket = self.failed_logins.get_mut(counted).expect("just looked at");
        let owed = i128::try_from(count).expect("few") * i128::from(MINUTE_NS);
        bucket.parts = (bucket.parts - owed).max(-limit * i128::from(MINUTE_NS));
    }

    // After the login.

    fn after_login(&mut self, conn: ConnId, stanza: &Stanza) {
        let must_be_root = matches!(stanza.name.as_str(), "rmuser" | "getinfo" | "shutdown");
        if must_be_root && !self.sessions[&conn].root {
            self.refuse(conn, "You must be root");
            return;
        }
        match stanza.name.as_str() {
            "ping" => self.say(conn, "<pong />".to_owned()),
            "help" => self.say(conn, HELP.to_owned()),
            "quit" => self.close(conn, CloseReason::Quit),
            "join" => self.join(conn, stanza),
            "leave" => self.leave(conn, stanza),
            "getrooms" => self.get_rooms(conn),
            "addchild" => self.add_child(conn, stanza),
            "setparam" => self.set_param(conn, stanza),
            "removeparam" => self.remove_param(conn, stanza),
            "clientparam" => self.client_param(conn, stanza),
            "m" | "msg" => self.message(conn, stanza),
            "rmuser" => self.remove_user(conn, stanza),
            "getinfo" => self.get_info(conn, stanza),
            "shutdown" => self.shutdown(),
            "connect" => self.refuse(conn, "Not a known node"),
            _ => self.other_name(conn, stanza),
        }
    }

    /// A stanza whose name is no request: a plugin's, a custom message, or nothing known.
    fn other_name(&mut self, conn: ConnId, stanza: &Stanza) {
        if self.waits_to_talk(conn, stanza) {
            return;
        }
        let registered = self.registered.names.contains(&stanza.name);
        let carries = ["toclient", "c", "toroom", "r"];
        let carries = carries.iter().any(|name| stanza.attribute(name).is_some());
        if registered {
            let nick = self.sessions[&conn].nick.clone();
            let (name, element) = (stanza.name.clone(), stanza.element.clone());
            self.said.push((conn, Done::Registered(nick, name, element)));
        }
        if carries {
            self.relay_other(conn, stanza);
        } else if !registered {
            self.refuse(conn, "Not a known node");
        }
    }

    fn policy(&mut self, conn: ConnId) {
        let ports = text::value(&self.settings.policy_ports);
        let mut out = "<cross-domain-policy>".to_owned();
        for domain in &self.settings.domains {
            let domain = text::value(domain);
            out += &format!("<allow-access-from domain='{domain}' to-ports='{ports}' />");
        }
        self.say(conn, out + "</cross-domain-policy>");
        self.close(conn, CloseReason::PolicyServed);
    }

    fn remove_user(&mut self, conn: ConnId, stanza: &Stanza) {
        let Some(wanted) = stanza.attribute("nickName").or(stanza.attribute("nickname")) else {
            self.refuse(conn, "No NickName Attribute");
            return;
        };
        let Some(target) = self.find_nick(wanted) else {
            self.refuse(conn, &format!("No user connected with nickname: {wanted}"));
            return;
        };
        let nick = self.sessions[&target].nick.clone();
        self.kick(target, None);
        if target != conn {
            self.say(conn, format!("<info>Client {} kicked</info>", text::text(&nick)));
        }
    }

    // Ends.

    /// Somebody is removed.
    pub(crate) fn kick(&mut self, conn: ConnId, reason: Option<&str>) {
        let usual = "You have been kicked from the server by an administrator";
        self.refuse(conn, reason.unwrap_or(usual));
        self.close(conn, CloseReason::Kicked);
    }

    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.forget(conn);
        self.said.push((conn, Done::Closed(reason)));
    }

    /// The session is gone: a leave from every room, without the answer.
    fn forget(&mut self, conn: ConnId) {
        for room in self.sessions[&conn].rooms.clone() {
            self.go_out(conn, room);
        }
        let session = self.sessions.remove(&conn).expect("the caller knows it");
        self.closing.insert(conn, session.address);
        self.causers.remove(&conn);
        match session.login {
            Login::New | Login::Done => {}
            Login::InLine => {
                for line in self.lines.values_mut() {
                    line.retain(|waiting| waiting.conn != conn);
                }
            }
            Login::Called => {
                let called = self.called.remove(&conn).expect("it has its turn");
                self.call_next(&called.counted);
            }
            Login::Asked(asked) => self.said.push((conn, Done::Cancelled(asked.ask))),
        }
    }

    // Limits.

    pub(crate) fn session(&mut self, conn: ConnId) -> &mut Session {
        self.sessions.get_mut(&conn).expect("the caller knows it")
    }

    /// Gives a session back what the request at hand has taken of its `stanzarate`.
    pub(crate) fn give_token_back(&mut self, conn: ConnId) {
        if self.settings.limits.stanza_rate_per_s != 0 {
            self.session(conn).stanzas.parts += i128::from(SECOND_NS);
        }
    }

    /// What `stanzarate` makes of the next frame of a session; `None` when it may be handled.
    fn too_fast(&mut self, conn: ConnId) -> Option<Progress> {
        let now = self.now;
        let rate = self.settings.limits.stanza_rate_per_s;
        let burst = self.settings.limits.stanza_burst;
        if rate == 0 {
            return None;
        }
        let session = self.session(conn);
        session.stanzas.refill(rate, burst, SECOND_NS, now);
        let token = i128::from(SECOND_NS);
        if session.stanzas.parts >= token {
            session.stanzas.parts -= token;
            return None;
        }
        Some(self.is_too_fast(conn, false))
    }

    /// Frames that have been read and are no stanzas: those that are too many are owed, as many as
    /// `stanzaburst` of them.
    pub(crate) fn frames_in_vain(&mut self, conn: ConnId, count: u64) -> Progress {
        let now = self.now;
        let rate = self.settings.limits.stanza_rate_per_s;
        let burst = self.settings.limits.stanza_burst;
        if rate == 0 || burst == 0 {
            return Progress::Done;
        }
        let session = self.session(conn);
        session.stanzas.refill(rate, burst, SECOND_NS, now);
        let token = i128::from(SECOND_NS);
        let left = session.stanzas.parts.max(0) / token;
        let owed =
            (session.stanzas.parts - i128::from(count) * token).max(-i128::from(burst) * token);
        session.stanzas.parts = owed;
        if left >= i128::from(count) { Progress::Done } else { self.is_too_fast(conn, true) }
    }

    /// A session has no token: it is told so when that begins, and closed when it goes on. It goes
    /// on until it is calm, from now on or, with `owes`, from when it has a token again.
    fn is_too_fast(&mut self, conn: ConnId, owes: bool) -> Progress {
        let now = self.now;
        let rate = self.settings.limits.stanza_rate_per_s;
        let token = i128::from(SECOND_NS);
        let session = self.session(conn);
        let missing = u128::try_from(token - session.stanzas.parts).expect("some is missing");
        let wait_ns = u64::try_from(missing.div_ceil(u128::from(rate))).expect("about a second");
        let there_at = Time(now.0 + wait_ns);
        // Two seconds of calm end it.
        let since =
            session.over.filter(|(_, last)| last.plus_secs(2) >= now).map(|(since, _)| since);
        session.over = Some((since.unwrap_or(now), if owes { there_at } else { now }));
        if since.is_none() {
            self.refuse(conn, &format!("Too many stanzas (limit {rate} per second)"));
        } else if since.is_some_and(|since| since.plus_secs(10) <= now) {
            self.close(conn, CloseReason::TooFast);
            return Progress::Done;
        }
        Progress::Later(there_at)
    }
}

pub(crate) fn is_policy_request(stanza: &Stanza) -> bool {
    matches!(stanza.name.as_str(), "policy-file-request" | "cross-domain-request")
}
