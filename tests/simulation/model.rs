//! The reference model: what PROTOCOL.md and its decisions say, written down plainly.
//!
//! It shares nothing with the hub but the types of the hub's door. It takes requests as their
//! sender means them, keeps everything in strings, lists and ordered maps, and says what each
//! connection must receive. It knows no bytes to parse and no speed to keep.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use palabre::hub::{CloseReason, ConnId, Door, Progress, Registered, Settings, Time, Verdict};

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
    /// Not a stanza by PROTOCOL.md section 2.
    Invalid,
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    New,
    /// Somebody else decides whether this nick may log in.
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
    pub(crate) door: Door,
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
    parts: u128,
    at: Time,
}

impl Bucket {
    const fn full(tokens: u64, period_ns: u64, now: Time) -> Self {
        Self { parts: tokens as u128 * period_ns as u128, at: now }
    }

    fn refill(&mut self, rate: u64, tokens_max: u64, period_ns: u64, now: Time) {
        let more = now.since(self.at).as_nanos() * u128::from(rate);
        self.parts = (self.parts + more).min(u128::from(tokens_max) * u128::from(period_ns));
        self.at = now;
    }
}

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;

/// The server as its protocol describes it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) settings: Settings,
    pub(crate) registered: Registered,
    /// The largest `nickbytes` so far: whoever has such a nick keeps it.
    nick_bytes_allowed: usize,
    /// Questions about logins so far.
    asks: u64,
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
            asks: 0,
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
        if self.sessions.get(&to).is_none_or(|session| session.door == Door::Main) {
            self.say(to, text::error(what));
        }
    }

    pub(crate) fn reload(&mut self, settings: Settings) {
        self.nick_bytes_allowed = self.nick_bytes_allowed.max(settings.limits.nick_bytes_max);
        self.settings = settings;
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

    /// Whether a session has such a nick, or waits for leave to have it.
    fn is_taken(&self, nick: &str) -> bool {
        let wanted = nicks::identity(nick);
        let mut named = self.sessions.values().filter(|session| session.login != Login::New);
        named.any(|session| Some(&session.identity) == wanted.as_ref())
    }

    // What comes in.

    pub(crate) fn opened(&mut self, conn: ConnId, address: IpAddr, door: Door) {
        let limits = &self.settings.limits;
        let address = address.to_canonical();
        let same = self.connections_from(address);
        let (all_max, same_max) = (limits.sessions_max, limits.sessions_per_address_max);
        if all_max != 0 && self.sessions.len() + self.closing.len() >= all_max {
            if door == Door::Main {
                self.refuse(conn, &format!("Too many sessions (limit {all_max})"));
            }
            self.said.push((conn, Done::Closed(CloseReason::TooManySessions)));
            return;
        }
        if same_max != 0 && same >= same_max && !self.may_have_any_number(address) {
            let what = format!("Too many sessions from your address (limit {same_max})");
            if door == Door::Main {
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
            door,
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
        if matches!(session.login, Login::Asked(_)) {
            return Progress::Wait;
        }
        let waits = self.has_to_wait(conn).or_else(|| self.too_fast(conn));
        if let Some(progress) = waits {
            return progress;
        }
        self.send_pending_before(conn);
        self.caused_bytes = 0;
        self.handle(conn, frame);
        self.frame_done(conn, bytes)
    }

    fn handle(&mut self, conn: ConnId, frame: &Frame) {
        let session = &self.sessions[&conn];
        match frame {
            Frame::Stanza(stanza) if is_policy_request(stanza) => self.policy(conn),
            _ if session.door == Door::Policy => self.close(conn, CloseReason::PolicyOnly),
            Frame::Invalid => self.refuse(conn, "This is not a valid XML string"),
            Frame::Stanza(stanza) if session.login == Login::New => {
                self.before_login(conn, stanza);
            }
            Frame::Stanza(stanza) => self.after_login(conn, stanza),
        }
    }

    pub(crate) fn frame_too_large(&mut self, conn: ConnId) {
        if self.sessions.contains_key(&conn) {
            let limit = self.settings.limits.stanza_bytes_max;
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

    pub(crate) fn verdict(&mut self, conn: ConnId, ask: u64, verdict: Verdict) {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        let asked = match &session.login {
            Login::Asked(asked) if asked.ask == ask => asked.clone(),
            Login::Asked(_) | Login::New | Login::Done => return,
        };
        session.login = Login::New;
        let root = verdict == Verdict::Root && asked.root_password.is_some();
        if asked.root_password.is_some() && !root {
            self.count_failed_login(conn);
        }
        if root || verdict == Verdict::Allowed {
            self.log_in(conn, &asked.nick, root);
        } else {
            self.count_failed_login(conn);
            self.refuse_login(conn, "Authentication Error");
        }
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
        let Some(nick) = stanza.attribute("nickname") else {
            self.refuse_login(conn, "No NickName Attribute");
            return;
        };
        // Old movies send the field of their form when it is empty, too.
        let password = stanza.attribute("rootpass").filter(|password| !password.is_empty());
        let limit = self.settings.limits.failed_logins_per_minute;
        let guarded = password.is_some() || self.registered.logins;
        if guarded && self.failed_logins_left(conn) == Some(0) {
            self.refuse(conn, &format!("Too many failed logins (limit {limit} per minute)"));
            self.close(conn, CloseReason::FailedLogins);
            return;
        }
        let bytes_max = self.settings.limits.nick_bytes_max;
        if nick.len() > bytes_max {
            let why = format!("Nickname empty or already taken (limit {bytes_max} bytes)");
            self.refuse_login(conn, &why);
            return;
        }
        let odd = nicks::identity(nick).is_none();
        if odd || self.is_taken(nick) {
            self.refuse_login(conn, "Nickname empty or already taken");
            return;
        }
        self.session(conn).asked_capabilities = stanza.attribute("caps").is_some();
        let hashed = self.settings.root_password_hashed && self.settings.root_password.is_some();
        let root =
            !hashed && password.is_some() && password == self.settings.root_password.as_deref();
        if password.is_some() && !root && !hashed {
            self.count_failed_login(conn);
        }
        if !root && (self.registered.logins || hashed && password.is_some()) {
            self.asks += 1;
            let asked = Asked {
                ask: self.asks,
                nick: nick.to_owned(),
                element: stanza.element.clone(),
                login: self.registered.logins,
                root_password: password.filter(|_| hashed).map(str::to_owned),
            };
            self.said.push((conn, Done::Asked(asked.clone())));
            let identity = nicks::identity(nick).expect("it is not odd");
            let session = self.session(conn);
            session.login = Login::Asked(asked);
            session.identity = identity;
        } else {
            self.log_in(conn, nick, root);
        }
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

    /// How many failed logins the session's address has left; `None` when they are not counted.
    fn failed_logins_left(&mut self, conn: ConnId) -> Option<u128> {
        let limit = self.settings.limits.failed_logins_per_minute;
        let address = self.sessions[&conn].address;
        let now = self.now;
        let full = || Bucket::full(limit, MINUTE_NS, now);
        let bucket = self.failed_logins.entry(counted_as(address)).or_insert_with(full);
        bucket.refill(limit, limit, MINUTE_NS, now);
        (limit != 0).then(|| bucket.parts / u128::from(MINUTE_NS))
    }

    fn count_failed_login(&mut self, conn: ConnId) {
        let left = self.failed_logins_left(conn);
        let address = self.sessions[&conn].address;
        let bucket = self.failed_logins.get_mut(&counted_as(address)).expect("just looked at");
        if left > Some(0) {
            bucket.parts -= u128::from(MINUTE_NS);
        }
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
    }

    // Limits.

    pub(crate) fn session(&mut self, conn: ConnId) -> &mut Session {
        self.sessions.get_mut(&conn).expect("the caller knows it")
    }

    /// Gives a session back what the request at hand has taken of its `stanzarate`.
    pub(crate) fn give_token_back(&mut self, conn: ConnId) {
        if self.settings.limits.stanza_rate_per_s != 0 {
            self.session(conn).stanzas.parts += u128::from(SECOND_NS);
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
        let token = u128::from(SECOND_NS);
        if session.stanzas.parts >= token {
            session.stanzas.parts -= token;
            return None;
        }
        let missing = token - session.stanzas.parts;
        let wait_ns = u64::try_from(missing.div_ceil(u128::from(rate))).expect("about a second");
        // Two seconds of calm end it.
        let since =
            session.over.filter(|(_, last)| last.plus_secs(2) >= now).map(|(since, _)| since);
        session.over = Some((since.unwrap_or(now), now));
        if since.is_none() {
            self.refuse(conn, &format!("Too many stanzas (limit {rate} per second)"));
        } else if since.is_some_and(|since| since.plus_secs(10) <= now) {
            self.close(conn, CloseReason::TooFast);
            return Some(Progress::Done);
        }
        Some(Progress::Later(Time(now.0 + wait_ns)))
    }
}

pub(crate) fn is_policy_request(stanza: &Stanza) -> bool {
    matches!(stanza.name.as_str(), "policy-file-request" | "cross-domain-request")
}
