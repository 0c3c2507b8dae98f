//! The whole behaviour of the server, without a socket, a clock or a thread.
//!
//! [`Hub::handle`] takes one [`Input`] and the time, and says what follows through an
//! [`Outlet`]: messages to queue, connections to close, notes to log. What it needs is handed
//! in, so a whole server runs in a test on a virtual clock and replays from one seed.
//!
//! A stanza's way: [`Hub::handle`] admits it (rate, login state), the strict parser reads it,
//! [`command`] finds its verb, and one of `login`, `membership`, `param`, `message` and `root` does
//! what it asks. What plugins want comes by [`Hub::order`] and [`Hub::tell`]: `plugin` has the
//! words for it, `orders` does it. `room` and `session` hold the tables, by the hash of
//! `keyed_table`. `due_lists` has the lists that the changes of a turn share, `long_lists` how they
//! are written when they become long, `slow_lists` how they are sent when they cost much, `later`
//! what is told later, `throttle` which sessions have to wait before more of what they send is
//! done, `permission` which have to wait for plugins, `rate` the token buckets. Inputs are in
//! `input` and `time`, outputs in `outlet` and `note`, the settings in `settings`. What outlives
//! the process is named in `kept`, made into records and taken in again by `records`.

pub mod caps;
pub mod command;
mod due_lists;
mod input;
mod keeping_order;
mod kept;
mod keyed_table;
mod later;
mod login;
mod long_lists;
mod membership;
mod message;
pub mod mode;
mod note;
mod orders;
mod outlet;
mod param;
mod permission;
mod plugin;
mod questions;
mod rate;
mod records;
pub mod rights;
pub mod role;
mod room;
mod room_rules;
mod root;
mod sanction;
mod seen;
mod server_rules;
mod session;
mod settings;
mod slow_lists;
mod throttle;
mod time;
mod who;

use core::net::IpAddr;

use self::due_lists::DueLists;
pub use self::input::{HashKey, Input, ListenerKind, Progress};
pub use self::keeping_order::Terms;
use self::later::Later;
pub use self::note::{LoginRefusal, MessageTo, Note};
pub use self::outlet::{Outlet, PeerFacts, Roster, Span};
use self::permission::Permissions;
pub use self::plugin::{
    ModeValues, Order, OrderError, Permission, PermissionKind, PermissionQuestion, Query, Question,
    QuestionId, Receivers, Registered, RoomOrder, ServerOrder, Verdict, Watch, Who,
    is_reserved_name,
};
use self::questions::Questions;
use self::rate::{ByteRate, Rate};
use self::records::Unstored;
pub use self::records::{Handed, Restored};
pub use self::role::Role;
use self::room::{Room, RoomKey, Rooms};
pub use self::room_rules::{Modes, RoomPassword};
pub use self::sanction::BanTarget;
use self::server_rules::ServerRules;
use self::session::{Admission, Login, Session, Sessions, byte_rate, list_rate, stanza_rate};
pub use self::settings::{DeclaredRoom, KeepRight, RelayNames, RootPassword, Settings, Succession};
pub use self::time::Time;
use crate::networks;
pub use crate::nick::{Lookalikes, comparison_key};
use crate::reason::Refused;
pub use crate::reason::{CloseReason, RefusalReason};
pub use crate::session_id::ConnId;
use crate::wire::stanza::{Parser, Refusal};
use crate::wire::write;

/// The server's state: sessions and rooms.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    registered: Registered,
    questions: Questions,
    permissions: Permissions,
    /// What the settings allow each session; found out once, for it takes a division.
    stanza_rate: Option<Rate>,
    byte_rate: Option<ByteRate>,
    list_rate: Option<ByteRate>,
    /// Boxed, so that lending it to a stanza moves a pointer; `None` only meanwhile.
    parser: Option<Box<Parser>>,
    sessions: Sessions,
    rooms: Rooms,
    /// What the params of all rooms and sessions count for in `limits.paramstotal`.
    params_total_bytes: usize,
    /// Bans and mutes of the whole server.
    order: ServerRules,
    /// What is to outlive the process, as far as the store does not have it.
    keeping: Unstored,
    due_lists: DueLists,
    /// What is told later, because it costs much.
    later: Later,
    /// Bytes that the stanza at hand has had others told, each message counted once.
    caused_bytes: usize,
    /// The sender of the stanza at hand and the stanza's name, where the sender's errors tell it.
    request: Option<(ConnId, Box<str>)>,
    /// The stanza at hand has done nothing, and is to be offered again.
    held: Option<Progress>,
    /// Crowds are being written to: more of what they are to be told waits until that is done.
    crowds_wait: bool,
    /// Sessions whose reader does not keep up.
    readers_behind: usize,
    /// Counts the turns.
    turn: u64,
    /// Some room has been told so much in this turn that the rest waits for the next one.
    some_room_is_full: bool,
    /// The time of the input at hand.
    now: Time,
    unix_start_us: u64,
}

impl Hub {
    /// An empty hub. `hash_key` seeds the hash tables; `unix_start_us` is the wall clock at
    /// [`Time`] zero in microseconds since 1970, for the creation times that `getinfo` tells.
    #[must_use]
    pub fn new(settings: Settings, hash_key: HashKey, unix_start_us: u64) -> Self {
        let mut sessions = Sessions::new(hash_key);
        sessions.allow_nick_bytes(settings.limits.nick_bytes_max);
        let mut hub = Self {
            stanza_rate: stanza_rate(&settings.limits),
            byte_rate: byte_rate(&settings.limits),
            list_rate: list_rate(&settings.limits),
            settings,
            registered: Registered::default(),
            questions: Questions::new(hash_key),
            permissions: Permissions::new(hash_key),
            parser: Some(Box::default()),
            sessions,
            rooms: Rooms::new(hash_key),
            params_total_bytes: 0,
            order: ServerRules::default(),
            keeping: Unstored::default(),
            due_lists: DueLists::new(),
            later: Later::default(),
            caused_bytes: 0,
            request: None,
            held: None,
            crowds_wait: false,
            readers_behind: 0,
            turn: 0,
            some_room_is_full: false,
            now: Time::default(),
            unix_start_us,
        };
        hub.declare_first_rooms();
        hub
    }

    /// Takes one input at `now`, which never goes back, and gives what follows to `out`.
    pub fn handle(&mut self, input: Input<'_>, now: Time, out: &mut impl Outlet) -> Progress {
        self.go_on_to(now);
        match input {
            Input::Frame { conn, frame } => return self.frame(conn, frame, out),
            Input::Opened { conn, address, listener } => self.open(conn, address, listener, out),
            Input::ClientAddress { conn, address } => self.move_to(conn, address, out),
            Input::FrameTooLarge { conn, max } => self.frame_too_large(conn, max, out),
            Input::FramesInVain { conn, count } => return self.frames_in_vain(conn, count, out),
            Input::Ended { conn, reason: _ } => self.forget(conn, out),
            Input::Gone { conn } => self.sessions.connection_gone(conn),
            Input::Behind { conn, behind } => self.set_behind(conn, behind),
            Input::CrowdsWait(wait) => self.crowds_wait = wait,
            Input::Verdict { conn, question, verdict } => self.decide(conn, question, verdict, out),
            Input::Permission { conn, question, permission } => {
                self.permit(conn, question, permission, out);
            }
            Input::Tick => {
                self.close_late_logins(out);
                self.tell_later(out);
            }
            Input::TurnEnd => {
                self.send_due(out);
                self.end_the_banned(out);
                self.turn += 1;
                self.some_room_is_full = false;
            }
            Input::Reload(settings) => self.reload(*settings, out),
            Input::Registered(registered) => self.registered = *registered,
            Input::Shutdown => self.shut_down(out),
        }
        Progress::Done
    }

    /// Carries out what a plugin orders at `now`, which never goes back. What had become due is
    /// sent before it where a client could see the difference; what the order makes due is
    /// shared with the turn's other changes.
    ///
    /// # Errors
    /// Why it was not carried out; then nothing has changed, and no client was told anything but
    /// what was due.
    pub fn order(
        &mut self,
        order: Order<'_>,
        now: Time,
        out: &mut impl Outlet,
    ) -> Result<(), OrderError> {
        self.go_on_to(now);
        self.obey(order, out)
    }

    /// Appends the answer to a plugin's question: one element of at most `bytes_max` bytes. `out`
    /// is asked what the shell knows of a connection.
    ///
    /// # Errors
    /// Why there is no answer; then the buffer is as it was.
    pub fn tell(
        &self,
        query: Query<'_>,
        bytes_max: usize,
        out: &impl Outlet,
        buffer: &mut Vec<u8>,
    ) -> Result<(), OrderError> {
        self.answer_query(query, bytes_max, out, buffer)
    }

    /// When the hub wants an [`Input::Tick`], if it waits for a time at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let ending = self.has_banned_to_end().then_some(self.now);
        [self.login_deadline(), self.later.next(), ending].into_iter().flatten().min()
    }

    /// What plugins have registered, as it was told last.
    #[must_use]
    pub const fn registered(&self) -> &Registered {
        &self.registered
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many sessions are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.iter().count()
    }

    /// Whether this connection has a session.
    #[must_use]
    pub fn has_session(&self, conn: ConnId) -> bool {
        self.sessions.find(conn).is_some()
    }

    /// How many rooms there are.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    fn go_on_to(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    fn reload(&mut self, settings: Settings, out: &mut impl Outlet) {
        self.stanza_rate = stanza_rate(&settings.limits);
        self.byte_rate = byte_rate(&settings.limits);
        self.list_rate = list_rate(&settings.limits);
        self.sessions.allow_nick_bytes(settings.limits.nick_bytes_max);
        self.settings = settings;
        self.declare_rooms(out);
    }

    /// The wall clock's time of the input at hand, in microseconds since 1970.
    const fn unix_now_us(&self) -> u64 {
        self.unix_start_us.saturating_add(self.now.0 / 1_000)
    }

    /// The same in whole seconds.
    const fn unix_now_s(&self) -> u64 {
        self.unix_now_us() / 1_000_000
    }

    fn open(
        &mut self,
        conn: ConnId,
        address: IpAddr,
        listener: ListenerKind,
        out: &mut impl Outlet,
    ) {
        if self.is_banned_address(address) {
            return out.close(conn, CloseReason::Banned);
        }
        let limits = &self.settings.limits;
        let opened = self.sessions.open(conn, self.counted(address), listener, limits, self.now);
        let Err((reason, max)) = opened else {
            return;
        };
        let error = if reason == CloseReason::TooManySessions {
            format!("Too many sessions (limit {max})")
        } else {
            too_many_from_address(max)
        };
        // The policy port says nothing but policies.
        if listener == ListenerKind::Main {
            let message = out.encode(|buffer| write::error(buffer, &error));
            out.push(conn, message);
        }
        out.note(Note::Refused { conn, nick: "", error: &error, reason: RefusalReason::Limit });
        out.close(conn, reason);
    }

    /// A proxy told a session's own address.
    fn move_to(&mut self, conn: ConnId, address: IpAddr, out: &mut impl Outlet) {
        if self.is_banned_address(address) {
            return self.close(conn, CloseReason::Banned, out);
        }
        let limits = &self.settings.limits;
        if self.sessions.move_to(conn, self.counted(address), limits) {
            return;
        }
        let error = too_many_from_address(limits.sessions_per_address_max);
        self.send_due_before(conn, out);
        if !self.is_policy_only(conn) {
            self.answer(conn, out, |buffer| write::error(buffer, &error));
        }
        out.note(Note::Refused { conn, nick: "", error: &error, reason: RefusalReason::Limit });
        self.close(conn, CloseReason::TooManyFromAddress, out);
    }

    /// The canonical address (an IPv4-mapped one becomes IPv4), and whether
    /// `limits.sessionsperaddress` holds for it: behind loopback and trusted proxies there may be
    /// any number of clients.
    fn counted(&self, address: IpAddr) -> (IpAddr, bool) {
        let address = address.to_canonical();
        let trusted = || networks::contains(&self.settings.trusted_proxies, address);
        (address, !address.is_loopback() && !trusted())
    }

    fn frame(&mut self, conn: ConnId, frame: &[u8], out: &mut impl Outlet) -> Progress {
        if self.permissions.waits(conn) {
            return Progress::Wait;
        }
        // Stanzas behind the one that closed a session are dropped.
        let Some(session) = self.sessions.find_mut(conn) else {
            return Progress::Done;
        };
        // A login whose turn has come was admitted when it was put in line.
        let (before_login, called) = match session.login {
            Login::InLine(_) | Login::Asked(_) => return Progress::Wait,
            Login::New => (true, false),
            Login::Called => (true, true),
            Login::Done => (false, false),
        };
        if !called
            && session.may_have_to_wait(self.byte_rate, self.list_rate, self.now)
            && let Some(time) = self.held_back_until(conn, out)
        {
            return Progress::Later(time);
        }
        let Some(session) = self.sessions.find_mut(conn) else {
            return Progress::Done;
        };
        let admission =
            if called { Admission::Now } else { session.admit(self.stanza_rate, self.now) };
        if admission != Admission::Now {
            return self.put_off(conn, admission, out);
        }
        let policy_only = session.listener == ListenerKind::Policy;
        let tells_codes = session.tells_codes();
        let (before, has_waited) = (session.bytes, session.held_back().is_some());
        if !called {
            session.charge_bytes(self.byte_rate, frame.len() + 1, self.now);
        }
        self.send_due_before(conn, out);
        self.caused_bytes = 0;
        // The stanza borrows the parser while the hub changes.
        let mut parser = self.parser.take().unwrap_or_default();
        match &parser.parse(frame, &self.settings.limits) {
            Ok(stanza) if !policy_only || command::asks_for_policy(stanza.name()) => {
                if tells_codes {
                    self.request = Some((conn, stanza.name().into()));
                }
                self.dispatch(conn, stanza, out);
                if tells_codes {
                    self.request = None;
                }
            }
            Err(refusal) if !policy_only => self.refuse_frame(conn, *refusal, out),
            Ok(_) | Err(_) => self.close(conn, CloseReason::PolicyOnly, out),
        }
        self.parser = Some(parser);
        if let Some(held) = self.held.take() {
            if let Some(session) = self.sessions.find_mut(conn) {
                session.take_back(self.stanza_rate);
                session.bytes = before;
            }
            return held;
        }
        self.forget_permission(conn, out);
        if self.caused_bytes > frame.len() {
            self.charge_bytes(conn, self.caused_bytes - frame.len() - 1);
        }
        if has_waited && let Some(session) = self.sessions.find_mut(conn) {
            session.flow_mut().held_back = None;
        }
        if before_login { self.progress_of_login(conn, called, out) } else { Progress::Done }
    }

    fn frames_in_vain(&mut self, conn: ConnId, count: u64, out: &mut impl Outlet) -> Progress {
        let Some(session) = self.sessions.find_mut(conn) else {
            return Progress::Done;
        };
        let admission = session.charge_frames(self.stanza_rate, count, self.now);
        self.put_off(conn, admission, out)
    }

    /// What there is to do where something may not be admitted now; the client is told once, or its
    /// session is closed.
    fn put_off(&mut self, conn: ConnId, admission: Admission, out: &mut impl Outlet) -> Progress {
        match admission {
            Admission::Now => Progress::Done,
            Admission::Later(time) => Progress::Later(time),
            Admission::LaterFrom(time) => {
                let rate = self.settings.limits.stanza_rate_per_s;
                let error = format!("Too many stanzas (limit {rate} per second)");
                self.refuse_for_limit(conn, &error, out);
                Progress::Later(time)
            }
            Admission::Never => {
                self.close(conn, CloseReason::TooFast, out);
                Progress::Done
            }
        }
    }

    /// Tells those members of a room something who understand it, and whoever it answers. Gives how
    /// many bytes it has.
    fn tell_capable(
        &mut self,
        key: RoomKey,
        by: Option<ConnId>,
        out: &mut impl Outlet,
        write: impl Fn(&Self, &Room, &mut Vec<u8>),
    ) -> usize {
        let Some(room) = self.rooms.room(key) else {
            return 0;
        };
        let capable =
            |conn: &&ConnId| self.sessions.find(**conn).is_some_and(|session| session.caps.rooms);
        let mut to: Vec<ConnId> = room.members.iter().filter(capable).copied().collect();
        to.extend(by.filter(|by| !to.contains(by)));
        if to.is_empty() {
            return 0;
        }
        let message = out.encode_for_room(key, |buffer| write(self, room, buffer));
        out.push_some(&to, message);
        self.said_in(key, message.bytes());
        message.bytes()
    }

    fn is_policy_only(&self, conn: ConnId) -> bool {
        self.sessions.find(conn).is_some_and(|session| session.listener == ListenerKind::Policy)
    }

    fn frame_too_large(&mut self, conn: ConnId, max: usize, out: &mut impl Outlet) {
        self.send_due_before(conn, out);
        self.error_and_close(
            conn,
            &format!("Stanza too large (limit {max} bytes)"),
            CloseReason::StanzaTooLarge,
            out,
        );
    }

    /// Sends one session an answer of its own; gives how many bytes it has.
    fn answer(
        &self,
        conn: ConnId,
        out: &mut impl Outlet,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        if self.sessions.find(conn).is_none() {
            return 0;
        }
        let message = out.encode(write);
        out.push(conn, message);
        message.bytes()
    }

    fn refuse(&self, conn: ConnId, reason: RefusalReason, error: &str, out: &mut impl Outlet) {
        self.answer(conn, out, |buffer| self.write_error(buffer, conn, reason.label(), error));
        let nick = self.sessions.find(conn).map_or("", |session| &session.nick);
        out.note(Note::Refused { conn, nick, error, reason });
    }

    /// Refuses what is no stanza. What was met, and where, is for the log and for those whose
    /// errors tell more.
    fn refuse_frame(&self, conn: ConnId, refusal: Refusal, out: &mut impl Outlet) {
        let error = refusal.to_string();
        let Refusal::NotXml { met, at } = refusal else {
            return self.refuse_for_limit(conn, &error, out);
        };
        let reason = RefusalReason::Malformed;
        self.answer(conn, out, |buffer| {
            if self.tells_codes(conn) {
                write::error_of_frame(buffer, reason.label(), met, at, &error);
            } else {
                write::error(buffer, &error);
            }
        });
        let nick = self.sessions.find(conn).map_or("", |session| &session.nick);
        let error = &format!("{error}: {met}, at byte {at}");
        out.note(Note::Refused { conn, nick, error, reason });
    }

    /// Whether a session's errors have a code, and tell the request that they answer.
    fn tells_codes(&self, conn: ConnId) -> bool {
        self.sessions.find(conn).is_some_and(Session::tells_codes)
    }

    /// Writes an `<error>` as a session wants it. `code` is the label of a [`RefusalReason`] or of
    /// a [`CloseReason`].
    fn write_error(&self, buffer: &mut Vec<u8>, conn: ConnId, code: &str, error: &str) {
        if !self.tells_codes(conn) {
            return write::error(buffer, error);
        }
        let own = self.request.as_ref().filter(|(asker, _)| *asker == conn);
        write::error_with_code(buffer, code, own.map(|(_, name)| &**name), error);
    }

    fn refuse_if(&self, conn: ConnId, done: Result<(), Refused>, out: &mut impl Outlet) {
        if let Err(refused) = done {
            self.refuse(conn, refused.reason, &refused.error, out);
        }
    }

    fn refuse_for_limit(&self, conn: ConnId, error: &str, out: &mut impl Outlet) {
        self.refuse(conn, RefusalReason::Limit, error, out);
    }

    fn error_and_close(
        &mut self,
        conn: ConnId,
        error: &str,
        reason: CloseReason,
        out: &mut impl Outlet,
    ) {
        if !self.is_policy_only(conn) {
            self.answer(conn, out, |buffer| self.write_error(buffer, conn, reason.label(), error));
        }
        self.close(conn, reason, out);
    }

    /// Ends a session from the server's side.
    fn close(&mut self, conn: ConnId, reason: CloseReason, out: &mut impl Outlet) {
        if self.sessions.find(conn).is_some() {
            self.forget(conn, out);
            out.close(conn, reason);
        }
    }

    /// The end of a session, however it came: it leaves every room and frees its nick.
    fn forget(&mut self, conn: ConnId, out: &mut impl Outlet) {
        self.depart_all(conn, out);
        let Some(session) = self.sessions.remove(conn) else {
            return;
        };
        self.params_total_bytes -= session.params().counted_bytes();
        self.readers_behind -= usize::from(session.is_waited_for());
        if session.login == Login::Done {
            out.note(Note::LoggedOut { conn, nick: &session.nick });
        }
        self.forget_permission(conn, out);
        self.forget_login(&session, out);
    }

    /// Checks every invariant of the hub's own tables.
    ///
    /// # Panics
    /// When one does not hold, which is a bug in the hub.
    pub fn check_invariants(&self) {
        self.sessions.check_invariants();
        self.check_questions();
        self.check_permissions();
        self.rooms.check_invariants();
        let mut memberships = 0;
        for room in self.rooms.iter() {
            memberships += room.members.len();
            for &conn in &room.members {
                let session = self.sessions.find(conn);
                assert!(
                    session.is_some_and(|session| {
                        session.rooms.iter().any(|&key| {
                            self.rooms.room(key).is_some_and(|found| found.serial == room.serial)
                        })
                    }),
                    "{conn} is in the list of {} and does not know it",
                    room.name
                );
            }
        }
        let known: usize = self.sessions.iter().map(|session| session.rooms.len()).sum();
        assert_eq!(memberships, known, "memberships");
        let of_rooms = self.rooms.iter().map(|room| room.params.counted_bytes());
        let of_sessions = self.sessions.iter().map(|session| session.params().counted_bytes());
        let total: usize = of_rooms.chain(of_sessions).sum();
        assert_eq!(self.params_total_bytes, total, "params in all");
        let is_behind = |conn: &&ConnId| {
            self.sessions.find(**conn).is_some_and(|session| session.is_waited_for())
        };
        for room in self.rooms.iter() {
            let behind = room.members.iter().filter(is_behind).count();
            assert_eq!(room.behind, behind, "members of {} who don't keep up", room.name);
        }
        let behind = self.sessions.iter().filter(|session| session.is_waited_for()).count();
        assert_eq!(self.readers_behind, behind, "those who don't keep up");
    }
}

fn too_many_from_address(max: usize) -> String {
    format!("Too many sessions from your address (limit {max})")
}
