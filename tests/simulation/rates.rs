//! The reference model's rates of bytes, and what waits for them (`byterate` and `listrate`;
//! manual: protocol, 'Limits'), and senders who are held back for those who don't keep up.

use std::collections::VecDeque;

use palabre::hub::{ConnId, Progress, Time};

use super::model::Model;

const SECOND_NS: i128 = 1_000_000_000;

/// Bytes that may be taken, and how many have been taken too many. In parts: a byte is as many as
/// a second has nanoseconds, so that each nanosecond adds as many parts as a second adds bytes.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    parts: i128,
    at: Time,
}

impl Allowance {
    pub(crate) fn full(bytes: u64, now: Time) -> Self {
        Self { parts: i128::from(bytes) * SECOND_NS, at: now }
    }

    fn refill(&mut self, rate: u64, bytes_max: u64, now: Time) {
        let more = now.since(self.at).as_nanos().cast_signed() * i128::from(rate);
        self.parts = (self.parts + more).min(i128::from(bytes_max) * SECOND_NS);
        self.at = now;
    }

    /// When there is no debt any more, if there is one.
    fn wait(&mut self, rate: u64, bytes_max: u64, now: Time) -> Option<Time> {
        self.refill(rate, bytes_max, now);
        let debt = self.parts.min(0).unsigned_abs();
        let wait_ns = u64::try_from(debt.div_ceil(u128::from(rate))).expect("some seconds");
        (debt > 0).then_some(Time(now.0 + wait_ns))
    }

    fn take(&mut self, bytes: usize, rate: u64, bytes_max: u64, now: Time) {
        self.refill(rate, bytes_max, now);
        self.parts -= i128::try_from(bytes).expect("few bytes") * SECOND_NS;
    }
}

/// One of a room's two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    Clients,
    ChildRooms,
}

/// A list on its way through the members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass {
    told: usize,
    /// Those among them who did not keep up then and are still to be told.
    late: Vec<ConnId>,
    /// All are to get it once more.
    again: bool,
}

/// What is told later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Late {
    List(u64, List),
    Params(ConnId),
    /// Nothing is told: a reader may have been waited for long enough.
    Reader(ConnId),
}

/// The text of a list, and what one that did not fit has cost.
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) vain_bytes: usize,
}

impl Told {
    /// With its NUL.
    const fn bytes(&self) -> usize {
        self.text.len() + 1
    }
}

impl Model {
    // Lists.

    /// Four seconds' worth.
    const fn list_burst(&self) -> u64 {
        4 * self.settings.limits.list_rate_per_s
    }

    pub(crate) fn list_allowance(&self) -> Allowance {
        Allowance::full(self.list_burst(), self.now)
    }

    /// Takes note of a list that a session has asked for.
    pub(crate) fn charge_asked(&mut self, conn: ConnId, bytes: usize) {
        let (rate, burst, now) =
            (self.settings.limits.list_rate_per_s, self.list_burst(), self.now);
        if let Some(session) = self.sessions.get_mut(&conn)
            && rate != 0
        {
            session.asked.take(bytes, rate, burst, now);
        }
    }

    fn charge_room(&mut self, room: u64, bytes: usize) {
        let (rate, burst, now) =
            (self.settings.limits.list_rate_per_s, self.list_burst(), self.now);
        if rate != 0 {
            self.room(room).lists.take(bytes, rate, burst, now);
        }
    }

    /// When a room may be told lists again, if it has to wait.
    fn list_wait(&mut self, room: u64) -> Option<Time> {
        let (rate, burst, now) =
            (self.settings.limits.list_rate_per_s, self.list_burst(), self.now);
        if rate == 0 { None } else { self.room(room).lists.wait(rate, burst, now) }
    }

    fn list_told(&self, room: u64, list: List) -> Told {
        match list {
            List::Clients => self.client_list_told(room),
            List::ChildRooms => self.child_rooms_told(room),
        }
    }

    fn pass(&mut self, room: u64, list: List) -> &mut Option<Pass> {
        let room = self.room(room);
        match list {
            List::Clients => &mut room.clients_pass,
            List::ChildRooms => &mut room.children_pass,
        }
    }

    /// A list is to be told: to all members at once, or to those who joined, and to all later.
    pub(crate) fn tell_list(&mut self, room: u64, list: List, joined: &[ConnId]) {
        let members = self.rooms[&room].members.clone();
        if members.is_empty() {
            return;
        }
        let everybody = list == List::ChildRooms || !self.is_large(room);
        let told = self.list_told(room, list);
        let all =
            everybody && !self.is_under_way(room, list) && !self.goes_slowly(room, list, &told);
        for member in members {
            let joined = joined.contains(&member);
            if all || joined {
                self.say(member, told.text.clone());
            }
            if joined {
                self.charge_asked(member, told.bytes() + told.vain_bytes);
            }
        }
        if all {
            let bytes = told.bytes() * self.rooms[&room].members.len() + told.vain_bytes;
            self.charge_room(room, bytes);
            self.said_in(room, told.bytes());
        }
    }

    fn is_large(&self, room: u64) -> bool {
        self.rooms[&room].members.len() > self.settings.full_roster_members
    }

    /// Whether a list is being told already; then it is told once more.
    fn is_under_way(&mut self, room: u64, list: List) -> bool {
        let pass = self.pass(room, list);
        if let Some(pass) = pass {
            pass.again = pass.told > 0;
        }
        pass.is_some()
    }

    /// A list that costs more than a second's rate, or for which the room has nothing left, is
    /// told later, and so is one for which somebody does not keep up.
    fn goes_slowly(&mut self, room: u64, list: List, told: &Told) -> bool {
        let rate = self.settings.limits.list_rate_per_s;
        let members = self.rooms[&room].members.clone();
        let cost = u64::try_from(told.bytes() * members.len()).expect("few bytes");
        let slowly = rate != 0 && (self.list_wait(room).is_some() || cost > rate)
            || members.iter().any(|member| self.sessions[member].waited_for)
            || self.is_full(room);
        if slowly {
            *self.pass(room, list) = Some(Pass::default());
            self.put_list_later(room, list);
        }
        slowly
    }

    fn put_list_later(&mut self, room: u64, list: List) {
        let at = self.list_wait(room).unwrap_or(self.now);
        self.put_later(at, Late::List(room, list));
    }

    fn put_later(&mut self, at: Time, late: Late) {
        self.lates += 1;
        self.later.insert((at, self.lates, 0), late);
    }

    /// A member leaves: who comes next in a list that is being told stays so.
    pub(crate) fn member_goes(&mut self, room: u64, conn: ConnId) {
        let place = self.rooms[&room].members.iter().position(|member| *member == conn);
        for list in [List::Clients, List::ChildRooms] {
            if let (Some(place), Some(pass)) = (place, self.pass(room, list)) {
                pass.told -= usize::from(place < pass.told);
                pass.late.retain(|late| *late != conn);
            }
        }
    }

    /// What waits and has its time is told.
    pub(crate) fn tell_later(&mut self) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let number = entry.key().1;
            match entry.remove() {
                Late::List(room, list) if self.rooms.contains_key(&room) => {
                    self.tell_part(room, list, number);
                }
                Late::List(..) => {}
                Late::Params(conn) => self.tell_more_params(conn),
                Late::Reader(conn) => self.give_reader_up(conn),
            }
        }
    }

    /// Takes note of what a room is told in this turn.
    pub(crate) fn said_in(&mut self, room: u64, bytes: usize) {
        self.room(room).turn_bytes += bytes;
    }

    /// Whether a room has been told so much in this turn that more waits for the next.
    fn is_full(&self, room: u64) -> bool {
        let max = self.settings.limits.backlog_soft_bytes_max / 2;
        self.rooms.get(&room).is_some_and(|room| room.turn_bytes > max)
    }

    pub(crate) fn next_turn(&mut self) {
        for room in self.rooms.values_mut() {
            room.turn_bytes = 0;
        }
    }

    fn tell_part(&mut self, room: u64, list: List, number: u64) {
        let Some(mut pass) = self.pass(room, list).clone() else {
            return;
        };
        let members = self.rooms[&room].members.clone();
        if pass.told >= members.len() && pass.again {
            pass = Pass::default();
            *self.pass(room, list) = Some(pass.clone());
        }
        if list == List::Clients && self.is_large(room) {
            *self.pass(room, list) = None;
            return;
        }
        if let Some(at) = self.list_wait(room) {
            // It keeps its place among those that wait.
            self.later.insert((at, number, 0), Late::List(room, list));
            return;
        }
        let told = self.list_told(room, list);
        let rate = self.settings.limits.list_rate_per_s;
        let part = if rate == 0 { 1_048_576 } else { usize::try_from(rate / 4).expect("small") };
        let max = (part / told.bytes()).max(1);
        let mut to = Vec::new();
        let keeps_up = |conn: &ConnId| !self.sessions[conn].waited_for;
        while pass.told < members.len() && (to.len() < max || !keeps_up(&members[pass.told])) {
            let member = members[pass.told];
            if keeps_up(&member) { &mut to } else { &mut pass.late }.push(member);
            pass.told += 1;
        }
        for conn in pass.late.clone() {
            if keeps_up(&conn) && to.len() < max {
                pass.late.retain(|other| *other != conn);
                to.push(conn);
            }
        }
        for conn in &to {
            self.say(*conn, told.text.clone());
        }
        if !to.is_empty() {
            self.charge_room(room, told.bytes() * to.len() + told.vain_bytes);
            self.said_in(room, told.bytes());
        }
        let goes_on = pass.told < members.len() || pass.again;
        let late = !pass.late.is_empty();
        *self.pass(room, list) = (goes_on || late).then_some(pass);
        if goes_on {
            self.put_list_later(room, list);
        } else if late {
            self.put_later(Time(self.now.0 + 250_000_000), Late::List(room, list));
        }
    }

    // Bytes of clients.

    pub(crate) fn byte_allowance(&self) -> Allowance {
        Allowance::full(self.settings.limits.byte_burst, self.now)
    }

    /// When a session may send again, if it has to wait.
    fn byte_wait(&mut self, conn: ConnId) -> Option<Time> {
        let (rate, burst) = (self.settings.limits.byte_rate_per_s, self.settings.limits.byte_burst);
        let now = self.now;
        if rate == 0 || burst == 0 {
            return None;
        }
        self.session(conn).bytes.wait(rate, burst, now)
    }

    pub(crate) fn charge_bytes(&mut self, conn: ConnId, bytes: usize) {
        let (rate, burst) = (self.settings.limits.byte_rate_per_s, self.settings.limits.byte_burst);
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(&conn)
            && rate != 0
            && burst != 0
        {
            session.bytes.take(bytes, rate, burst, now);
        }
    }

    /// Why nothing more of a session is handled for now.
    pub(crate) fn has_to_wait(&mut self, conn: ConnId) -> Option<Progress> {
        let now = self.now;
        if self.sessions[&conn].untold.is_some() {
            let soon = Time(now.0 + 1_000_000);
            return Some(Progress::Later(self.byte_wait(conn).unwrap_or(soon)));
        }
        if let Some((room, since)) = self.sessions[&conn].held
            && since.plus_secs(5) > now
            && self.is_crowded(conn, room)
        {
            return Some(Progress::Later(Time(now.0 + 10_000_000)));
        }
        let (rate, burst) = (self.settings.limits.list_rate_per_s, self.list_burst());
        if rate != 0
            && let Some(at) = self.session(conn).asked.wait(rate, burst, now)
        {
            return Some(Progress::Later(at));
        }
        let at = self.byte_wait(conn)?;
        // Two seconds of calm end it.
        let before = self.session(conn).bytes_over.replace(now);
        if before.is_none_or(|before| before.plus_secs(2) < now) {
            let rate = self.settings.limits.byte_rate_per_s;
            self.refuse(conn, &format!("Too many bytes (limit {rate} per second)"));
        }
        Some(Progress::Later(at))
    }

    /// A param of a client is told to its rooms, or to some of them now.
    pub(crate) fn tell_client_param(&mut self, conn: ConnId, name: &str) {
        let rooms = self.sessions[&conn].rooms.clone();
        self.tell_param_in(conn, name, rooms.into());
    }

    fn tell_param_in(&mut self, conn: ConnId, name: &str, mut rooms: VecDeque<u64>) {
        let rate = self.settings.limits.byte_rate_per_s;
        let limited = rate != 0 && self.settings.limits.byte_burst != 0;
        let mut told = 0;
        while let Some(room) = rooms.pop_front() {
            told += self.tell_param_in_one(conn, name, room);
            if limited && told > usize::try_from(rate / 4).expect("small") {
                break;
            }
        }
        self.caused_bytes += told;
        if rooms.is_empty() {
            return;
        }
        let waits = self.sessions[&conn].untold.is_some();
        let untold = self.session(conn).untold.get_or_insert_default();
        untold.retain(|(other, _)| other != name);
        untold.push_back((name.to_owned(), rooms));
        if !waits {
            self.put_later(self.now, Late::Params(conn));
        }
    }

    fn tell_more_params(&mut self, conn: ConnId) {
        if !self.sessions.contains_key(&conn) {
            return;
        }
        if let Some(at) = self.byte_wait(conn) {
            self.put_later(at, Late::Params(conn));
            return;
        }
        let Some(mut untold) = self.session(conn).untold.take() else {
            return;
        };
        let Some((name, rooms)) = untold.pop_front() else {
            return;
        };
        if !untold.is_empty() {
            self.session(conn).untold = Some(untold);
            self.put_later(self.now, Late::Params(conn));
        }
        self.caused_bytes = 0;
        self.tell_param_in(conn, &name, rooms);
        self.charge_bytes(conn, self.caused_bytes);
    }

    // Those who don't keep up.

    /// Whether more than half of those who would hear what a session says don't keep up.
    fn is_crowded(&self, conn: ConnId, room: u64) -> bool {
        let Some(room) = self.rooms.get(&room) else {
            return false;
        };
        let others: Vec<_> = room.members.iter().filter(|member| **member != conn).collect();
        let behind = others.iter().filter(|member| self.sessions[**member].waited_for).count();
        2 * behind > others.len()
    }

    /// Whether what a session says in these rooms waits.
    pub(crate) fn is_held_back(&mut self, conn: ConnId, rooms: &[u64]) -> bool {
        if rooms.iter().any(|room| self.is_full(*room)) {
            self.held_until = Some(self.now);
            return true;
        }
        let Some(&room) = rooms.iter().find(|room| self.is_crowded(conn, **room)) else {
            return false;
        };
        let now = self.now;
        let since = self.sessions[&conn].held.map_or(now, |(_, since)| since);
        if since.plus_secs(5) <= now {
            return false;
        }
        self.session(conn).held = Some((room, since));
        self.held_until = Some(Time(now.0 + 10_000_000));
        true
    }

    /// What a frame has come to.
    pub(crate) fn frame_done(&mut self, conn: ConnId, frame_bytes: Option<usize>) -> Progress {
        if let Some(at) = self.held_until.take() {
            self.give_token_back(conn);
            return Progress::Later(at);
        }
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.held = None;
        }
        let frame_bytes = frame_bytes.map_or(0, |bytes| bytes + 1);
        self.charge_bytes(conn, self.caused_bytes.max(frame_bytes));
        Progress::Done
    }

    /// A session's reader does not keep up, or does again.
    pub(crate) fn behind(&mut self, conn: ConnId, behind: bool) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            if behind && !session.behind {
                session.behind_since = self.now;
                session.waited_for = true;
                let at = self.now.plus_secs(5);
                // Before whatever else has its time then.
                self.later.insert((at, 0, conn.slot), Late::Reader(conn));
            } else if !behind {
                session.waited_for = false;
            }
            self.session(conn).behind = behind;
        }
    }

    fn give_reader_up(&mut self, conn: ConnId) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(&conn)
            && session.behind_since.plus_secs(5) <= now
        {
            session.waited_for = false;
        }
    }

    /// When something waits to be told.
    pub(crate) fn next_late(&self) -> Option<Time> {
        let matters = |at: &Time, late: &Late| match late {
            Late::Reader(conn) => self.sessions.get(conn).is_some_and(|session| {
                session.waited_for && session.behind_since.plus_secs(5) == *at
            }),
            Late::List(..) | Late::Params(_) => true,
        };
        self.later.iter().find(|((at, ..), late)| matters(at, late)).map(|((at, ..), _)| *at)
    }
}
