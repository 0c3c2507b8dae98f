//! Sessions: which connections have one, their nicks and rooms, and what their addresses may still
//! do.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use smallvec::SmallVec;

use super::caps::Caps;
use super::input::{HashKey, ListenerKind};
use super::keyed_table::{KeyedState, Table};
use super::plugin::QuestionId;
use super::rate::{Bucket, ByteRate, Rate};
use super::room::{Params, RoomKey};
use super::time::Time;
use crate::limits::{
    ADDRESSES_REMEMBERED_MAX, FORGIVEN_AT_ONCE, LIST_BURST_S, Limits, STANZA_RATE_CALM_S,
    STANZA_RATE_TIME_S, exceeds,
};
use crate::networks::household;
use crate::nick::{InTheWay, Likenesses, with_comparison_key};
use crate::reason::CloseReason;
use crate::session_id::ConnId;

/// Sessions for which there is room without asking the system.
const SLOTS_KEPT: usize = 1_024;

/// Rooms of one session that need no memory of their own; few are in more.
const ROOMS_INLINE: usize = 4;

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// It has no nick yet.
    New,
    /// Its `connect` waits for its turn, at this place of its household's line.
    InLine(u64),
    /// Its turn has come: its `connect` is offered again.
    Called,
    /// This question about it is open. The nick that it asked for is not taken by that.
    Asked(QuestionId),
    /// It has logged in.
    Done,
}

/// One connection, from accept to close.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) conn: ConnId,
    pub(super) address: IpAddr,
    /// What its address is counted as.
    pub(super) household: IpAddr,
    pub(super) listener: ListenerKind,
    pub(super) login: Login,
    pub(super) root: bool,
    /// Its nick was proven by a password.
    pub(super) account: bool,
    /// It may not talk anywhere, as far as is known.
    pub(super) muted: bool,
    /// What its `connect` asked for beyond version 1.
    pub(super) caps: Caps,
    /// As it was given; the one that it asked for while [`Login::Asked`], empty before.
    pub(super) nick: Box<str>,
    /// The rooms it is in, in the order in which it joined them.
    pub(super) rooms: SmallVec<[RoomKey; ROOMS_INLINE]>,
    params: Option<Box<Params>>,
    /// The round of due lists in which it last caused one.
    pub(super) caused_round: u64,
    opened_at: Time,
    stanzas: Bucket,
    excess: Option<Box<Excess>>,
    /// What it may still send, in bytes.
    pub(super) bytes: Bucket,
    /// What it may still ask for in lists, in bytes.
    pub(super) asked: Bucket,
    /// What holds its stream up; few sessions are ever held up.
    flow: Option<Box<Flow>>,
}

/// What holds the stream of a session up, in either direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) reader: ReaderState,
    /// The session is among those that are looked at for being waited for too long.
    pub(super) reader_watched: bool,
    /// The session waits until the receivers of what it says keep up.
    pub(super) held_back: Option<HeldBack>,
    /// Params of it that are still to be told to some of its rooms.
    pub(super) untold: Untold,
    /// When it was last over its rate of bytes; it is told so once.
    bytes_excess_at: Option<Time>,
}

/// Names of params, each with the rooms that have not been told of it yet.
pub(super) type Untold = VecDeque<(Box<str>, Box<[RoomKey]>)>;

/// How the reader of a session takes what it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReaderState {
    #[default]
    KeepsUp,
    /// It has not kept up since then, and sessions that talk to it wait.
    Behind(Time),
    /// It does not keep up, and has been waited for long enough.
    GivenUp,
}

/// A stanza that waits until most of its receivers keep up with reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBack {
    pub(super) room: RoomKey,
    pub(super) serial: u64,
    pub(super) since: Time,
}

/// A time during which a session sends more than its rate.
#[derive(Clone, Copy, Debug)]
struct Excess {
    since: Time,
    last: Time,
}

/// Whether a frame may be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Now,
    /// There will be a token at this time.
    Later(Time),
    /// As `Later`, and this is how it begins.
    LaterFrom(Time),
    /// It has gone on for too long.
    Never,
}

impl Session {
    /// Whether its errors have a code, and tell the request that they answer.
    pub(super) fn tells_codes(&self) -> bool {
        self.caps.errors && self.login == Login::Done
    }

    /// Its params; most sessions have none.
    pub(super) fn params(&self) -> &Params {
        static NONE: Params = Params::none();
        self.params.as_deref().unwrap_or(&NONE)
    }

    pub(super) fn params_mut(&mut self) -> &mut Params {
        self.params.get_or_insert_default()
    }

    /// Removes a param; whether there was one. `total` as for [`Params::set`].
    pub(super) fn remove_param(&mut self, name: &str, total: &mut usize) -> bool {
        self.params.as_mut().is_some_and(|params| params.remove(name, total))
    }

    /// When it was accepted.
    pub(super) const fn opened_at(&self) -> Time {
        self.opened_at
    }

    pub(super) fn logged_in(&self) -> bool {
        self.login == Login::Done
    }

    /// Whether there is a reason to look whether it has to wait; as a rule there is none.
    pub(super) fn may_have_to_wait(
        &self,
        byte_rate: Option<ByteRate>,
        list_rate: Option<ByteRate>,
        now: Time,
    ) -> bool {
        let is_free = |bucket: Bucket, rate: Option<ByteRate>| {
            rate.is_none_or(|rate| bucket.check_bytes(rate, now).is_ok())
        };
        self.flow.is_some() || !is_free(self.bytes, byte_rate) || !is_free(self.asked, list_rate)
    }

    /// Takes note of bytes that it has sent, or has had others told.
    pub(super) fn charge_bytes(&mut self, rate: Option<ByteRate>, bytes: usize, now: Time) {
        if let Some(rate) = rate {
            self.bytes.take_bytes(rate, bytes, now);
        }
    }

    /// What holds its stream up, if anything ever has.
    pub(super) fn flow(&self) -> Option<&Flow> {
        self.flow.as_deref()
    }

    /// What holds its stream up.
    pub(super) fn flow_mut(&mut self) -> &mut Flow {
        self.flow.get_or_insert_default()
    }

    /// For which stanza's receivers it waits.
    pub(super) fn held_back(&self) -> Option<HeldBack> {
        self.flow()?.held_back
    }

    /// Whether some of its rooms are still to be told of its params.
    pub(super) fn has_untold(&self) -> bool {
        self.flow().is_some_and(|flow| !flow.untold.is_empty())
    }

    /// Whether sessions that talk to it wait.
    pub(super) fn is_waited_for(&self) -> bool {
        self.flow().is_some_and(|flow| matches!(flow.reader, ReaderState::Behind(_)))
    }

    /// Whether a time begins in which it sends more bytes than its rate.
    pub(super) fn begins_byte_excess(&mut self, now: Time) -> bool {
        let last = self.flow_mut().bytes_excess_at.replace(now);
        last.is_none_or(|last| last.plus_secs(STANZA_RATE_CALM_S) < now)
    }

    /// Gives back what [`Session::admit`] has just taken.
    pub(super) fn take_back(&mut self, rate: Option<Rate>) {
        if let Some(rate) = rate {
            self.stanzas.give_back(rate);
        }
    }

    /// Takes a token for one frame at the [`stanza_rate`].
    pub(super) fn admit(&mut self, rate: Option<Rate>, now: Time) -> Admission {
        let Some(rate) = rate else {
            return Admission::Now;
        };
        match self.stanzas.take(rate, now) {
            Ok(()) => Admission::Now,
            Err(there_at) => self.exceed(there_at, now, now),
        }
    }

    /// Takes tokens for frames that have been read, whether there are so many or not.
    pub(super) fn charge_frames(&mut self, rate: Option<Rate>, count: u64, now: Time) -> Admission {
        let Some(rate) = rate else {
            return Admission::Now;
        };
        let left = self.stanzas.left(rate, now);
        self.stanzas.owe(rate, count, now);
        match self.stanzas.check(rate, now) {
            Err(there_at) if left < count => self.exceed(there_at, there_at, now),
            Ok(()) | Err(_) => Admission::Now,
        }
    }

    /// Takes tokens for what a stanza counts for besides itself.
    pub(super) fn owe_stanzas(&mut self, rate: Option<Rate>, count: u64, now: Time) {
        if let Some(rate) = rate {
            self.stanzas.owe(rate, count, now);
        }
    }

    /// It is over its rate, which it will not be any more at `there_at`; it is calm from `calm_at`
    /// on.
    fn exceed(&mut self, there_at: Time, calm_at: Time, now: Time) -> Admission {
        match &mut self.excess {
            Some(excess) if excess.last.plus_secs(STANZA_RATE_CALM_S) >= now => {
                excess.last = calm_at;
                if excess.since.plus_secs(STANZA_RATE_TIME_S) <= now {
                    Admission::Never
                } else {
                    Admission::Later(there_at)
                }
            }
            excess => {
                *excess = Some(Box::new(Excess { since: now, last: calm_at }));
                Admission::LaterFrom(there_at)
            }
        }
    }
}

/// All sessions, by slot and by nick.
#[derive(Debug)]
pub(super) struct Sessions {
    slots: Vec<Option<Session>>,
    count: usize,
    /// Connections whose session is over and which are not closed yet, and what their addresses
    /// are counted as.
    closing: Table<ConnId, IpAddr>,
    /// Comparison key → session that has logged in.
    nicks: Table<Box<str>, ConnId>,
    /// What these nicks look like.
    likenesses: Likenesses<KeyedState>,
    /// The largest `limits.nickbytes` that has been in force: a longer nick is no session's,
    /// unread.
    nick_bytes_max: usize,
    /// By what an address is counted as.
    addresses: Table<IpAddr, AddressRecord>,
    /// Addresses with failed logins, in the order in which they will be forgotten.
    failed: VecDeque<(Time, IpAddr)>,
    /// Those that have not logged in, by the time of their accept.
    logging_in: BTreeSet<(Time, ConnId)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct AddressRecord {
    /// Those that are open and the closing ones.
    connections: usize,
    failures: Bucket,
}

impl Sessions {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            slots: Vec::new(),
            count: 0,
            closing: KeyedState::table(key),
            nicks: KeyedState::table(key),
            likenesses: Likenesses::new(KeyedState::new(key)),
            nick_bytes_max: 0,
            addresses: KeyedState::table(key),
            failed: VecDeque::new(),
            logging_in: BTreeSet::new(),
        }
    }

    /// The session of this very connection.
    pub(super) fn find(&self, conn: ConnId) -> Option<&Session> {
        self.slots
            .get(conn.slot as usize)?
            .as_ref()
            .filter(|session| session.conn.generation == conn.generation)
    }

    /// The session of this very connection.
    pub(super) fn find_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.slots
            .get_mut(conn.slot as usize)?
            .as_mut()
            .filter(|session| session.conn.generation == conn.generation)
    }

    /// Nicks up to so many bytes are looked up, and whatever was allowed before: those who have
    /// such a nick keep it.
    pub(super) fn allow_nick_bytes(&mut self, max: usize) {
        self.nick_bytes_max = self.nick_bytes_max.max(max);
    }

    /// The session that has logged in under a nick equal to this one.
    pub(super) fn find_nick(&self, nick: &str) -> Option<&Session> {
        if nick.len() > self.nick_bytes_max {
            return None;
        }
        let conn = with_comparison_key(nick, |key| self.nicks.get(key).copied())?;
        let session = self.find(conn)?;
        session.logged_in().then_some(session)
    }

    /// Every session, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }

    /// Takes in a new connection, or tells which limit is in the way and its value. `address` is
    /// canonical; `counted` says whether it is held to `limits.sessionsperaddress`.
    pub(super) fn open(
        &mut self,
        conn: ConnId,
        (address, counted): (IpAddr, bool),
        listener: ListenerKind,
        limits: &Limits,
        now: Time,
    ) -> Result<(), (CloseReason, usize)> {
        self.forget_failures(limits, now);
        if exceeds(self.count + self.closing.len() + 1, limits.sessions_max) {
            return Err((CloseReason::TooManySessions, limits.sessions_max));
        }
        let household = household(address);
        if counted && self.is_full(household, limits) {
            return Err((CloseReason::TooManyFromAddress, limits.sessions_per_address_max));
        }
        let slot = conn.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "slot {slot} is given out twice");
        self.addresses.entry(household).or_default().connections += 1;
        self.count += 1;
        self.logging_in.insert((now, conn));
        self.slots[slot] = Some(Session {
            conn,
            address,
            household,
            listener,
            login: Login::New,
            root: false,
            account: false,
            muted: false,
            caps: Caps::default(),
            nick: Box::default(),
            rooms: SmallVec::new(),
            params: None,
            caused_round: 0,
            opened_at: now,
            stanzas: Bucket::default(),
            excess: None,
            bytes: Bucket::default(),
            asked: Bucket::default(),
            flow: None,
        });
        Ok(())
    }

    /// Lets a session count for another address; `false` when there are too many from it, and
    /// then nothing has changed.
    pub(super) fn move_to(
        &mut self,
        conn: ConnId,
        (address, counted): (IpAddr, bool),
        limits: &Limits,
    ) -> bool {
        let Some(before) = self.find(conn).map(|session| session.household) else {
            return true;
        };
        let household = household(address);
        if before != household {
            if counted && self.is_full(household, limits) {
                return false;
            }
            self.addresses.entry(household).or_default().connections += 1;
            self.leave_address(before);
        }
        if let Some(session) = self.find_mut(conn) {
            (session.address, session.household) = (address, household);
        }
        true
    }

    /// Whether this household has as many connections as it may have.
    fn is_full(&self, household: IpAddr, limits: &Limits) -> bool {
        let from_here = self.addresses.get(&household).map_or(0, |entry| entry.connections);
        exceeds(from_here + 1, limits.sessions_per_address_max)
    }

    /// A household has one connection less.
    fn leave_address(&mut self, household: IpAddr) {
        if let Some(entry) = self.addresses.get_mut(&household) {
            entry.connections -= 1;
            if entry.connections == 0 && entry.failures == Bucket::default() {
                self.addresses.remove(&household);
            }
        }
    }

    /// A connection whose session is over is closed: it does not count any more.
    pub(super) fn connection_gone(&mut self, conn: ConnId) {
        if let Some(household) = self.closing.remove(&conn) {
            self.leave_address(household);
            if self.closing.capacity() > 4 * self.closing.len().max(SLOTS_KEPT) {
                self.closing.shrink_to(2 * self.closing.len());
            }
        }
    }

    /// Forgets a session and frees its nick; its connection counts until it is closed.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Session> {
        self.find(conn)?;
        let session = self.slots.get_mut(conn.slot as usize)?.take()?;
        self.count -= 1;
        self.give_back_slots();
        self.logging_in.remove(&(session.opened_at, conn));
        if session.logged_in() {
            self.free_nick(&session.nick);
        }
        self.closing.insert(conn, session.household);
        Some(session)
    }

    /// The memory of a crowd goes when most of it has gone.
    fn give_back_slots(&mut self) {
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
        if self.slots.capacity() > 4 * self.slots.len().max(SLOTS_KEPT) {
            self.slots.shrink_to(2 * self.slots.len());
        }
        if self.nicks.capacity() > 4 * self.nicks.len().max(SLOTS_KEPT) {
            self.nicks.shrink_to(2 * self.nicks.len());
        }
    }

    /// Whether an equal nick is taken.
    pub(super) fn is_taken(&self, key: &str) -> bool {
        self.nicks.contains_key(key)
    }

    /// Whether a nick that no session has looks like one that is taken.
    pub(super) fn looks_taken(&self, nick: &str) -> bool {
        self.likenesses.has_like(nick, InTheWay::All)
    }

    /// A session's login comes to this, without a decision.
    pub(super) fn set_login(&mut self, conn: ConnId, login: Login) {
        if let Some(session) = self.find_mut(conn) {
            session.login = login;
        }
    }

    /// A session's login under this nick is asked about.
    pub(super) fn ask(&mut self, conn: ConnId, question: QuestionId, nick: &str, caps: Caps) {
        if let Some(session) = self.find_mut(conn) {
            session.login = Login::Asked(question);
            session.nick = nick.into();
            session.caps = caps;
        }
    }

    /// A session logs in under a nick that is free; `false` when an equal one is taken.
    pub(super) fn log_in(&mut self, conn: ConnId, key: Box<str>, nick: &str, root: bool) -> bool {
        if self.is_taken(&key) {
            return false;
        }
        let Some(session) = self.find_mut(conn) else {
            return false;
        };
        session.login = Login::Done;
        session.nick = nick.into();
        session.root = root;
        let opened_at = session.opened_at;
        self.logging_in.remove(&(opened_at, conn));
        self.nicks.insert(key, conn);
        let seen = self.likenesses.look_at(nick);
        self.likenesses.add(&seen);
        true
    }

    /// Notes what a login asks for beyond version 1.
    pub(super) fn ask_caps(&mut self, conn: ConnId, caps: Caps) {
        if let Some(session) = self.find_mut(conn) {
            session.caps = caps;
        }
    }

    /// A login that was asked about came to nothing: the session may try again.
    pub(super) fn refuse(&mut self, conn: ConnId) {
        if let Some(session) = self.find_mut(conn) {
            session.login = Login::New;
            session.caps = Caps::default();
            session.nick = Box::default();
        }
    }

    fn free_nick(&mut self, nick: &str) {
        with_comparison_key(nick, |key| self.nicks.remove(key));
        let seen = self.likenesses.look_at(nick);
        self.likenesses.remove(&seen);
    }

    /// How many failed logins this household has left before it is not listened to.
    pub(super) fn guesses_left(&self, household: IpAddr, limits: &Limits, now: Time) -> u64 {
        let Some(rate) = failure_rate(limits) else {
            return u64::MAX;
        };
        let failures = self.addresses.get(&household).map(|entry| entry.failures);
        failures.unwrap_or_default().left(rate, now)
    }

    /// Counts a failed login of this household.
    pub(super) fn count_failure(&mut self, household: IpAddr, limits: &Limits, now: Time) {
        let Some(rate) = failure_rate(limits) else {
            return;
        };
        let entry = self.addresses.entry(household).or_default();
        // With the bucket empty nothing is listened to, so there is nothing to take.
        let _ = entry.failures.take(rate, now);
        self.remember_failures(household);
    }

    /// Counts so many passwords that came together with wrong ones, and were not asked about
    /// because of these: they may cost as much again.
    pub(super) fn count_unasked(
        &mut self,
        household: IpAddr,
        count: u64,
        limits: &Limits,
        now: Time,
    ) {
        if let Some(rate) = failure_rate(limits) {
            self.addresses.entry(household).or_default().failures.owe(rate, count, now);
            self.remember_failures(household);
        }
    }

    /// A household's failures are remembered until they are forgiven, or too many others have some.
    fn remember_failures(&mut self, household: IpAddr) {
        let failures = self.addresses.get(&household).map(|entry| entry.failures);
        self.failed.push_back((failures.unwrap_or_default().full_at(), household));
        if self.failed.len() > ADDRESSES_REMEMBERED_MAX
            && let Some((full_at, oldest)) = self.failed.pop_front()
        {
            self.forget_address(oldest, full_at);
        }
    }

    /// Forgets failures that no longer count, some at a time: they are of no effect meanwhile.
    fn forget_failures(&mut self, limits: &Limits, now: Time) {
        let lifted = failure_rate(limits).is_none();
        for _ in 0..FORGIVEN_AT_ONCE {
            let Some(&(full_at, address)) = self.failed.front() else {
                break;
            };
            if full_at > now && !lifted {
                break;
            }
            self.failed.pop_front();
            self.forget_address(address, full_at);
        }
    }

    /// Forgets an address's failures, unless a later one stands further back in the queue.
    fn forget_address(&mut self, address: IpAddr, full_at: Time) {
        if let Some(entry) = self.addresses.get_mut(&address)
            && entry.failures.full_at() <= full_at
        {
            entry.failures = Bucket::default();
            if entry.connections == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// The session that has waited longest to log in, and since when.
    pub(super) fn first_logging_in(&self) -> Option<(Time, ConnId)> {
        self.logging_in.first().copied()
    }

    /// Takes out all sessions, in the order of their slots.
    pub(super) fn take_all(&mut self) -> Vec<Session> {
        let all = self.slots.iter_mut().filter_map(Option::take).collect();
        self.count = 0;
        self.closing.clear();
        self.nicks.clear();
        self.likenesses.clear();
        self.addresses.clear();
        self.failed.clear();
        self.logging_in.clear();
        all
    }

    pub(super) fn check_invariants(&self) {
        let mut seen = 0;
        for session in self.iter() {
            seen += 1;
            assert_eq!(
                self.slots[session.conn.slot as usize].as_ref().map(|found| found.conn),
                Some(session.conn),
                "a session sits in another's slot"
            );
            assert_eq!(
                self.logging_in.contains(&(session.opened_at, session.conn)),
                session.login != Login::Done,
                "login deadline of {}",
                session.conn
            );
            match session.login {
                Login::New | Login::InLine(_) | Login::Called => {
                    assert!(session.nick.is_empty() && session.rooms.is_empty());
                }
                Login::Asked(_) => assert!(session.rooms.is_empty() && !session.root),
                Login::Done => {
                    let key = crate::nick::comparison_key(&session.nick);
                    let owner = key.and_then(|key| self.nicks.get(&key));
                    assert_eq!(owner, Some(&session.conn), "nick of {}", session.conn);
                }
            }
        }
        assert_eq!(seen, self.count, "session count");
        let named = self.iter().filter(|session| session.logged_in()).count();
        assert_eq!(named, self.nicks.len(), "nick count");
        self.likenesses.check_invariants(named);
        let mut by_address: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for session in self.iter() {
            *by_address.entry(session.household).or_default() += 1;
        }
        for &household in self.closing.values() {
            *by_address.entry(household).or_default() += 1;
        }
        for (address, entry) in &self.addresses {
            let own = by_address.remove(address).unwrap_or(0);
            assert_eq!(entry.connections, own, "connections from {address}");
            assert!(
                own > 0 || entry.failures != Bucket::default(),
                "{address} is kept for nothing"
            );
        }
        assert!(by_address.is_empty(), "connections from nowhere: {by_address:?}");
    }
}

/// How many bytes each session may send; `None` when that is lifted.
pub(super) const fn byte_rate(limits: &Limits) -> Option<ByteRate> {
    ByteRate::new(limits.byte_rate_per_s, limits.byte_burst)
}

/// How many bytes of lists a room may send and a session ask for; `None` when that is lifted.
pub(super) const fn list_rate(limits: &Limits) -> Option<ByteRate> {
    ByteRate::with_seconds(limits.list_rate_per_s, LIST_BURST_S)
}

/// How many stanzas each session may send; `None` when that is lifted.
pub(super) const fn stanza_rate(limits: &Limits) -> Option<Rate> {
    Rate::new(limits.stanza_rate_per_s, 1, limits.stanza_burst)
}

const fn failure_rate(limits: &Limits) -> Option<Rate> {
    Rate::new(limits.failed_logins_per_minute, 60, limits.failed_logins_per_minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_failures_are_forgotten_when_too_many_addresses_have_some() {
        let limits = Limits { failed_logins_per_minute: 2, ..Limits::default() };
        let mut sessions = Sessions::new(HashKey(1, 2));
        let address = |n: usize| IpAddr::from((n as u32).to_be_bytes());
        let now = Time::from_secs(1);
        for n in 0..ADDRESSES_REMEMBERED_MAX {
            sessions.count_failure(address(n), &limits, now);
        }
        let left = |sessions: &Sessions, n| sessions.guesses_left(address(n), &limits, now);
        assert_eq!((left(&sessions, 0), left(&sessions, 1)), (1, 1), "at the bound all are known");
        sessions.count_failure(address(ADDRESSES_REMEMBERED_MAX), &limits, now);
        assert_eq!((left(&sessions, 0), left(&sessions, 1)), (2, 1));
        assert_eq!(left(&sessions, ADDRESSES_REMEMBERED_MAX), 1);
        assert_eq!(sessions.addresses.len(), ADDRESSES_REMEMBERED_MAX);
        sessions.check_invariants();
        // Forgiven ones are forgotten some at a time, as connections come.
        let later = now.plus_secs(3_600);
        sessions.forget_failures(&limits, later);
        assert_eq!(sessions.addresses.len(), ADDRESSES_REMEMBERED_MAX - FORGIVEN_AT_ONCE);
    }
}
