//! Logins that are asked about: how many at a time, and whose turn comes when there are more.
//!
//! A password that is asked about may be a guess, which is not known before the answer. So it
//! counts as a failed one of its household's until then, and a login for which nothing is left
//! waits in its household's line: the right passwords before it give back what they counted for.
//! Besides, so many questions are open at a time and no more, of one household and in all, so that
//! what plugins and their queues hold is bounded. Households in line have their turns in a round.
//!
//! The passwords themselves are not here: a session that waits is held back with its `connect`,
//! which is offered again when its turn has come.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use super::input::HashKey;
use super::keyed_table::{KeyedState, Table};
use super::plugin::QuestionId;
use crate::limits::{
    LOGIN_BYTES_MAX, LOGIN_BYTES_PER_ADDRESS_MAX, LOGINS_ASKED_MAX, LOGINS_ASKED_PER_ADDRESS_MAX,
};
use crate::session_id::ConnId;

/// What a login that is asked about takes of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuestionCost {
    /// Whose it is.
    pub(super) household: IpAddr,
    /// How many failed logins it may turn out to be: one for each password in it.
    pub(super) guesses: u64,
    /// Bytes of its element.
    pub(super) bytes: usize,
}

/// A question that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) conn: ConnId,
    pub(super) cost: QuestionCost,
    /// Whether a root password was asked about.
    pub(super) root: bool,
}

/// All questions, and the lines before them.
#[derive(Debug)]
pub(super) struct Questions {
    /// Those that are open, by their numbers. Their sessions may be over.
    open: BTreeMap<QuestionId, Asked>,
    /// What has been called and is not asked about yet.
    called: BTreeMap<ConnId, QuestionCost>,
    households: Table<IpAddr, Household>,
    /// Whose line each place is in.
    places: BTreeMap<u64, IpAddr>,
    /// Households whose lines may go on.
    round: VecDeque<IpAddr>,
    /// How many are asked about or called, and their bytes.
    count: usize,
    bytes: usize,
    /// The number of the last question; they begin with 1.
    last: QuestionId,
    /// The last place in a line.
    last_place: u64,
}

/// One household's share of the questions, and its line.
#[derive(Debug, Default)]
struct Household {
    count: usize,
    guesses: u64,
    bytes: usize,
    /// By the places, the first one first.
    line: BTreeMap<u64, (ConnId, QuestionCost)>,
    in_round: bool,
}

/// What becomes of a household's line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextInLine {
    /// This login has its turn.
    Call(ConnId),
    /// Every password that was asked about was wrong, as many as may be: none of these, in the
    /// order of the line, is asked about any more.
    TooMany(IpAddr, Vec<ConnId>),
}

impl Questions {
    pub(super) fn new(key: HashKey) -> Self {
        Self::behind(QuestionId(0), key)
    }

    /// The same with numbers behind this one.
    pub(super) fn behind(last: QuestionId, key: HashKey) -> Self {
        Self {
            open: BTreeMap::new(),
            called: BTreeMap::new(),
            households: KeyedState::table(key),
            places: BTreeMap::new(),
            round: VecDeque::new(),
            count: 0,
            bytes: 0,
            last,
            last_place: 0,
        }
    }

    /// Whether a login may be asked about at once; `left` is how many failed logins its household
    /// has left. One that was not `called` waits behind others of its household that wait.
    pub(super) fn may_ask(&self, cost: QuestionCost, left: u64, called: bool) -> bool {
        let has_room =
            |found: &Household| (called || found.line.is_empty()) && found.has_room(cost, left);
        self.has_room(cost.bytes) && self.households.get(&cost.household).is_none_or(has_room)
    }

    fn has_room(&self, bytes: usize) -> bool {
        let more = self.bytes.saturating_add(bytes);
        self.count == 0 || self.count < LOGINS_ASKED_MAX && more <= LOGIN_BYTES_MAX
    }

    /// Puts a login at the end of its household's line; gives its place.
    pub(super) fn line_up(&mut self, conn: ConnId, cost: QuestionCost) -> u64 {
        self.last_place += 1;
        let household = self.households.entry(cost.household).or_default();
        household.line.insert(self.last_place, (conn, cost));
        self.places.insert(self.last_place, cost.household);
        // Where it is not the household's own questions that are in the way.
        self.go_round(cost.household);
        self.last_place
    }

    /// Takes a login out of the line whose session is over.
    pub(super) fn leave(&mut self, place: u64) {
        let Some(household) = self.places.remove(&place) else {
            return;
        };
        if let Some(found) = self.households.get_mut(&household) {
            found.line.remove(&place);
            self.forget_if_idle(household);
        }
    }

    /// A login is asked about: the number of the question.
    pub(super) fn open(&mut self, conn: ConnId, cost: QuestionCost, root: bool) -> QuestionId {
        self.take(cost);
        self.last.0 += 1;
        self.open.insert(self.last, Asked { conn, cost, root });
        self.last
    }

    /// A question is answered: what it was about. What it has taken is free again.
    pub(super) fn answered(&mut self, question: QuestionId, conn: ConnId) -> Option<Asked> {
        let asked = *self.open.get(&question).filter(|asked| asked.conn == conn)?;
        self.open.remove(&question);
        self.give_back(asked.cost);
        Some(asked)
    }

    /// A login that was called is here, or its session is over: what was kept for it is free.
    pub(super) fn came(&mut self, conn: ConnId) -> Option<QuestionCost> {
        let cost = self.called.remove(&conn)?;
        self.give_back(cost);
        Some(cost)
    }

    /// What happens next in the lines, if anything does; `left` as in [`Questions::may_ask`], of
    /// the household that is asked for.
    pub(super) fn next_turn(&mut self, left: impl Fn(IpAddr) -> u64) -> Option<NextInLine> {
        while let Some(&household) = self.round.front() {
            let found = self.households.get(&household)?;
            let first = found.line.first_key_value();
            let Some((place, (conn, cost))) = first.map(|(place, login)| (*place, *login)) else {
                self.leave_round();
                continue;
            };
            let left = left(household);
            if found.count == 0 && left == 0 {
                let line = std::mem::take(&mut self.households.get_mut(&household)?.line);
                self.leave_round();
                for place in line.keys() {
                    self.places.remove(place);
                }
                let line = line.into_values().map(|(conn, _)| conn).collect();
                return Some(NextInLine::TooMany(household, line));
            }
            if !found.has_room(cost, left) {
                // One of its own questions is in the way, and brings it back into the round.
                self.leave_round();
                continue;
            }
            if !self.has_room(cost.bytes) {
                return None;
            }
            self.leave(place);
            self.take(cost);
            self.called.insert(conn, cost);
            self.leave_round();
            self.go_round(household);
            return Some(NextInLine::Call(conn));
        }
        None
    }

    /// Forgets everything; numbers go on.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.called.clear();
        self.households.clear();
        self.places.clear();
        self.round.clear();
        (self.count, self.bytes) = (0, 0);
    }

    /// Whether a login waits for this place in its line.
    pub(super) fn is_in_line(&self, place: u64, conn: ConnId) -> bool {
        let household = self.places.get(&place).and_then(|found| self.households.get(found));
        let login = household.and_then(|found| found.line.get(&place));
        login.is_some_and(|(own, _)| *own == conn)
    }

    /// Whether a login has been called.
    pub(super) fn is_called(&self, conn: ConnId) -> bool {
        self.called.contains_key(&conn)
    }

    /// Whether this question of this session is open.
    pub(super) fn is_open(&self, question: QuestionId, conn: ConnId) -> bool {
        self.open.get(&question).is_some_and(|asked| asked.conn == conn)
    }

    fn take(&mut self, cost: QuestionCost) {
        let household = self.households.entry(cost.household).or_default();
        household.count += 1;
        household.guesses += cost.guesses;
        household.bytes += cost.bytes;
        self.count += 1;
        self.bytes += cost.bytes;
    }

    fn give_back(&mut self, cost: QuestionCost) {
        if let Some(household) = self.households.get_mut(&cost.household) {
            household.count -= 1;
            household.guesses -= cost.guesses;
            household.bytes -= cost.bytes;
            self.count -= 1;
            self.bytes -= cost.bytes;
        }
        self.go_round(cost.household);
        self.forget_if_idle(cost.household);
    }

    /// Puts a household with a line into the round, at its end.
    fn go_round(&mut self, household: IpAddr) {
        if let Some(found) = self.households.get_mut(&household)
            && !found.in_round
            && !found.line.is_empty()
        {
            found.in_round = true;
            self.round.push_back(household);
        }
    }

    /// Takes the first household out of the round.
    fn leave_round(&mut self) {
        if let Some(household) = self.round.pop_front() {
            if let Some(found) = self.households.get_mut(&household) {
                found.in_round = false;
            }
            self.forget_if_idle(household);
        }
    }

    fn forget_if_idle(&mut self, household: IpAddr) {
        let idle = |found: &Household| found.count == 0 && found.line.is_empty();
        if self.households.get(&household).is_some_and(|found| idle(found) && !found.in_round) {
            self.households.remove(&household);
        }
    }

    /// Checks that the sums are those of what there is, and that every line waits for something.
    pub(super) fn check_invariants(&self) {
        let mut sums: BTreeMap<IpAddr, (usize, u64, usize)> = BTreeMap::new();
        let costs = self.open.values().map(|asked| asked.cost).chain(self.called.values().copied());
        for cost in costs {
            let sum = sums.entry(cost.household).or_default();
            *sum = (sum.0 + 1, sum.1 + cost.guesses, sum.2 + cost.bytes);
        }
        let (count, bytes) = sums.values().fold((0, 0), |(c, b), sum| (c + sum.0, b + sum.2));
        assert_eq!((self.count, self.bytes), (count, bytes), "questions in all");
        assert!(count <= LOGINS_ASKED_MAX, "{count} questions are open");
        for (household, found) in &self.households {
            let sum = sums.remove(household).unwrap_or_default();
            assert_eq!((found.count, found.guesses, found.bytes), sum, "questions of {household}");
            assert!(found.count <= LOGINS_ASKED_PER_ADDRESS_MAX, "too many of {household}");
            assert!(
                found.count > 0 || !found.line.is_empty() || found.in_round,
                "{household} is kept for nothing"
            );
            let waits = found.line.is_empty() || found.in_round || found.count > 0;
            assert!(waits, "the line of {household} waits for nothing");
            assert_eq!(found.in_round, self.round.contains(household), "{household} in the round");
        }
        assert!(sums.is_empty(), "questions of nobody: {sums:?}");
        let in_line: usize = self.households.values().map(|found| found.line.len()).sum();
        assert_eq!(in_line, self.places.len(), "places in all lines");
    }
}

impl Household {
    /// Whether one more may be asked about, as far as its own questions go. The first one may in
    /// any case: were it too much, it would never have its turn.
    fn has_room(&self, cost: QuestionCost, left: u64) -> bool {
        let guesses = self.guesses.saturating_add(cost.guesses);
        let bytes = self.bytes.saturating_add(cost.bytes);
        left > 0
            && (self.count == 0
                || self.count < LOGINS_ASKED_PER_ADDRESS_MAX
                    && guesses <= left
                    && bytes <= LOGIN_BYTES_PER_ADDRESS_MAX)
    }
}
