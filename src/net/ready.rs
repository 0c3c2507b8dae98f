//! Which connections have something to be read or handled, and in which order they have their go.
//!
//! Flow queues as in FQ-CoDel (RFC 8290): a connection that has caused little work lately has its
//! go before all that have caused much, and those take turns, each for so much work at a time
//! (deficit round robin). So a polite client waits for no more than the work of one turn, however
//! many want more than there is time for; and while no other wants anything, one alone gets all.
//!
//! What a stanza will cost is not known before it is handled, and many connections that have caused
//! little can each do something dear at once. When they are more than a turn has time for, those
//! that come last have their go before those that are left (adaptive LIFO): a crowd waits for
//! itself, and one of its number for as many turns as it takes. The first of those that are left
//! has its go in each turn whatever comes, so that none waits for ever. Connections that are
//! about to end are in no hurry, and a long stanza is saved up for.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use slab::Slab;

use super::connection::Connection;
use crate::hub::{ConnId, Time};
use crate::limits::{
    GREETER_WAITS_NS_MAX, GREETERS_MAX, SHARE_OWED_NS_MAX, SHARE_RECOVERY_CROWD,
    SHARE_RECOVERY_FACTOR, SHARE_WORK_NS,
};
use crate::networks::household;

/// What a connection has had of the loop's time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// Nanoseconds of work that it may still cause in this go; below zero it has caused more.
    credit_ns: i64,
    /// What it has paid of this for a long stanza that has still to be handled.
    prepaid_ns: u64,
    /// When the credit last recovered: it does with time.
    recovered_at: Time,
}

impl Share {
    /// When it last had something to be done.
    pub(super) const fn worked_at(&self) -> Time {
        self.recovered_at
    }

    /// Whether it may go on in this go, in which it has caused so much work.
    pub(super) const fn may_go_on(&self, work_ns: u64) -> bool {
        self.credit_ns > 0 && self.credit_ns as u64 > work_ns
    }

    /// Whether a stanza of so much work has to wait, after so much in this go: a long one is paid
    /// for before it is handled, as deficit round robin has it.
    pub(super) fn has_to_save_up(&mut self, stanza_ns: u64, work_ns: u64) -> bool {
        if self.prepaid_ns > 0 || self.may_go_on(stanza_ns.saturating_add(work_ns)) {
            return false;
        }
        self.spend(stanza_ns);
        self.prepaid_ns = stanza_ns;
        true
    }

    /// What was paid for the stanza that has been handled now.
    pub(super) const fn take_prepaid(&mut self) -> u64 {
        std::mem::replace(&mut self.prepaid_ns, 0)
    }

    /// Takes note of work that it has caused.
    pub(super) fn spend(&mut self, work_ns: u64) {
        let work_ns = i64::try_from(work_ns).unwrap_or(i64::MAX);
        self.credit_ns = self.credit_ns.saturating_sub(work_ns).max(-SHARE_OWED_NS_MAX);
    }

    /// Recovers for the time gone by, of which it gains no more than its part where many wait.
    fn recover(&mut self, now: Time, waiting: usize) {
        let factor = SHARE_RECOVERY_FACTOR.max(SHARE_RECOVERY_CROWD * waiting as u128);
        let gained_ns = now.since(self.recovered_at).as_nanos() / factor;
        self.add(i64::try_from(gained_ns).unwrap_or(i64::MAX));
        self.recovered_at = now;
    }

    fn add(&mut self, work_ns: i64) {
        self.credit_ns = self.credit_ns.saturating_add(work_ns).min(SHARE_WORK_NS);
    }
}

/// Those who wait for their go.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Those who have caused little work lately, and came in this turn.
    light: VecDeque<ConnId>,
    /// Those who have caused little work lately, and came in a turn that had no time for them.
    waited: VecDeque<ConnId>,
    /// One of these has had its go in this turn.
    waited_served: bool,
    /// Those who have used up their share, and take turns.
    heavy: VecDeque<ConnId>,
    /// Those who can do nothing more in this turn.
    later: Vec<ConnId>,
}

impl Ready {
    /// Whether no connection waits.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_next() && self.later.is_empty()
    }

    /// Whether a connection waits that can have a go in this turn.
    pub(super) fn has_next(&self) -> bool {
        !self.light.is_empty() || !self.waited.is_empty() || !self.heavy.is_empty()
    }

    /// Whether this one waits, for checks.
    pub(super) fn contains(&self, id: ConnId) -> bool {
        let queues = [&self.light, &self.waited, &self.heavy];
        queues.iter().any(|queue| queue.contains(&id)) || self.later.contains(&id)
    }

    /// Has a connection wait that has work, once.
    pub(super) fn add<S>(&mut self, connection: &mut Connection<S>, now: Time) {
        if std::mem::replace(&mut connection.queued, true) {
            return;
        }
        let (id, share) = (connection.id, &mut connection.share);
        let waiting = self.light.len() + self.waited.len() + self.heavy.len() + self.later.len();
        share.recover(now, waiting);
        let saves_up = share.prepaid_ns > 0;
        let hurries = !saves_up && !connection.keeps_greeting() && !connection.is_ending();
        let light = hurries && connection.share.may_go_on(0);
        let queue = if light { &mut self.light } else { &mut self.heavy };
        queue.push_back(id);
    }

    /// Has a connection wait for the next turn.
    pub(super) fn add_later<S>(&mut self, connection: &mut Connection<S>) {
        if !std::mem::replace(&mut connection.queued, true) {
            self.later.push(connection.id);
        }
    }

    /// A turn begins: those who could do nothing more in the last one have their go again.
    pub(super) fn begin_turn<S>(&mut self, connections: &mut Slab<Connection<S>>, now: Time) {
        self.waited_served = false;
        let mut later = std::mem::take(&mut self.later);
        for id in later.drain(..) {
            if let Some(connection) = find(connections, id) {
                connection.queued = false;
                self.add(connection, now);
            }
        }
        self.later = later;
    }

    /// A turn has had enough to do: those who came in it wait behind those who come in the next.
    pub(super) fn end_turn(&mut self) {
        self.waited.append(&mut self.light);
    }

    fn next_light(&mut self) -> Option<ConnId> {
        let first = if self.waited_served { None } else { self.waited.pop_front() };
        first.or_else(|| self.light.pop_front()).or_else(|| self.waited.pop_back())
    }

    /// Whose go it is; that of those who have caused much lately only if it is not `light_alone`
    /// who have theirs in this turn.
    pub(super) fn next<S>(
        &mut self,
        connections: &mut Slab<Connection<S>>,
        light_alone: bool,
    ) -> Option<ConnId> {
        while let Some(id) = self.next_light() {
            if let Some(connection) = find(connections, id) {
                connection.queued = false;
                self.waited_served = true;
                return Some(id);
            }
        }
        while !light_alone && let Some(id) = self.heavy.pop_front() {
            let Some(connection) = find(connections, id) else {
                continue;
            };
            connection.share.add(SHARE_WORK_NS);
            if connection.share.may_go_on(0) {
                connection.queued = false;
                return Some(id);
            }
            self.heavy.push_back(id);
        }
        None
    }
}

/// Who has had the server greet connections over TLS of late. A handshake costs so much and comes
/// so early that connections alone are no measure of who causes it: addresses are, IPv6 by /64.
/// The first handshake of an address is made at once, the others by and by, in the turns of those
/// who have caused much work.
#[derive(Debug, Default)]
pub(super) struct Greeters {
    /// Until when each is not a newcomer.
    until: BTreeMap<IpAddr, Time>,
}

impl Greeters {
    /// Whether a handshake for this address has to wait for its turn.
    pub(super) fn wait(&self, address: IpAddr, now: Time) -> bool {
        !self.until.is_empty() && self.until.get(&household(address)).is_some_and(|at| *at > now)
    }

    /// Takes note of a handshake that was made, and the work of it.
    pub(super) fn greeted(&mut self, address: IpAddr, work_ns: u64, now: Time) {
        let address = household(address);
        if self.until.len() >= GREETERS_MAX {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < GREETERS_MAX || self.until.contains_key(&address) {
            let waits_ns = work_ns.saturating_mul(SHARE_RECOVERY_FACTOR as u64);
            let until = now.0.saturating_add(waits_ns.min(GREETER_WAITS_NS_MAX));
            self.until.insert(address, Time(until));
        }
    }
}

/// The connection of this very id; some that wait are gone before their go comes.
fn find<S>(connections: &mut Slab<Connection<S>>, id: ConnId) -> Option<&mut Connection<S>> {
    connections.get_mut(id.slot as usize).filter(|connection| connection.id == id)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const START: Time = Time::from_secs(1_000);

    struct Crowd {
        connections: Slab<Connection<()>>,
        ready: Ready,
    }

    impl Crowd {
        fn of(count: u32) -> Self {
            let mut connections = Slab::new();
            for slot in 0..count {
                let id = ConnId { slot, generation: 1 };
                let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
                connections.insert(Connection::new(id, address, ()));
            }
            Self { connections, ready: Ready::default() }
        }

        fn add(&mut self, slot: usize, now: Time) {
            self.ready.add(&mut self.connections[slot], now);
        }

        fn next(&mut self) -> Option<usize> {
            self.ready.next(&mut self.connections, false).map(|id| id.slot as usize)
        }

        /// The next one has its go and causes so much work; whose go it was.
        fn go(&mut self, work_ns: i64) -> usize {
            let slot = self.next().expect("somebody waits");
            self.connections[slot].share.spend(work_ns.unsigned_abs());
            slot
        }
    }

    #[test]
    fn whoever_has_caused_little_work_comes_before_those_who_have_caused_much() {
        let mut crowd = Crowd::of(4);
        for slot in 0..3 {
            crowd.add(slot, START);
        }
        for slot in 0..3 {
            assert_eq!(crowd.go(SHARE_WORK_NS), slot);
            crowd.add(slot, START);
        }
        crowd.add(3, START);
        assert_eq!(crowd.go(1_000), 3);
        for slot in [0, 1, 2] {
            assert_eq!(crowd.go(SHARE_WORK_NS), slot);
        }
        assert_eq!(crowd.next(), None);
    }

    #[test]
    fn those_a_turn_has_no_time_for_wait_behind_those_who_come_last_but_for_the_first_of_them() {
        let mut crowd = Crowd::of(6);
        (0..4).for_each(|slot| crowd.add(slot, START));
        assert_eq!(crowd.go(SHARE_WORK_NS), 0);
        crowd.ready.end_turn();
        crowd.ready.begin_turn(&mut crowd.connections, START);
        (4..6).for_each(|slot| crowd.add(slot, START));
        let order: Vec<usize> = std::iter::from_fn(|| crowd.next()).collect();
        assert_eq!(order, [1, 4, 5, 3, 2]);
    }

    #[test]
    fn those_who_are_gone_take_nobodys_place_among_those_who_have_waited() {
        let mut crowd = Crowd::of(4);
        (0..3).for_each(|slot| crowd.add(slot, START));
        crowd.ready.end_turn();
        (0..2).for_each(|slot| drop(crowd.connections.remove(slot)));
        crowd.ready.begin_turn(&mut crowd.connections, START);
        crowd.add(3, START);
        assert_eq!([crowd.next(), crowd.next()], [Some(2), Some(3)]);
    }

    #[test]
    fn whoever_is_about_to_end_lets_the_others_go_first() {
        let mut crowd = Crowd::of(3);
        crowd.connections[0].read_closed = true;
        crowd.connections[1].ended = true;
        (0..3).for_each(|slot| crowd.add(slot, START));
        let order: Vec<usize> = std::iter::from_fn(|| crowd.next()).collect();
        assert_eq!(order, [2, 0, 1]);
    }

    #[test]
    fn a_long_stanza_is_paid_for_before_it_is_handled() {
        let long_ns = 10 * SHARE_WORK_NS.unsigned_abs();
        let mut crowd = Crowd::of(2);
        (0..2).for_each(|slot| crowd.add(slot, START));
        assert_eq!(crowd.next(), Some(0));
        assert!(crowd.connections[0].share.has_to_save_up(long_ns, 0));
        crowd.add(0, START);
        // The other has ten goes of its own until then.
        let others = std::iter::repeat_with(|| {
            let slot = crowd.go(SHARE_WORK_NS);
            (slot == 1).then(|| crowd.add(1, START))
        });
        assert_eq!(others.take_while(Option::is_some).count(), 10);
        // However long it is held back then, those who do not send long ones have their go first.
        let later = START.plus_secs(60);
        (0..2).for_each(|slot| crowd.connections[slot].queued = false);
        crowd.ready = Ready::default();
        (0..2).for_each(|slot| crowd.add(slot, later));
        assert_eq!(crowd.next(), Some(1));
        let share = &mut crowd.connections[0].share;
        assert!(!share.has_to_save_up(long_ns, 0), "it is paid for");
        assert_eq!(share.take_prepaid(), long_ns);
        assert!(share.has_to_save_up(long_ns, 0), "the next one is not");
    }

    #[test]
    fn those_who_cause_much_work_get_equal_parts_of_it() {
        let mut crowd = Crowd::of(2);
        let mut work = [0; 2];
        // The one's stanzas cost five times what the other's do.
        for _ in 0..600 {
            (0..2).for_each(|slot| crowd.add(slot, START));
            let slot = crowd.next().unwrap();
            let cost = [SHARE_WORK_NS, 5 * SHARE_WORK_NS][slot];
            crowd.connections[slot].share.spend(cost.unsigned_abs());
            work[slot] += cost;
        }
        let ratio = work[0] as f64 / work[1] as f64;
        assert!((0.95..1.05).contains(&ratio), "{work:?}");
    }

    #[test]
    fn more_than_so_much_is_not_held_against_anybody() {
        let owed_ns = SHARE_OWED_NS_MAX.unsigned_abs();
        let most = Share { credit_ns: -SHARE_OWED_NS_MAX, ..Share::default() };
        for (work_ns, credit_ns) in [
            (owed_ns - 1, 1 - SHARE_OWED_NS_MAX),
            (owed_ns, most.credit_ns),
            (owed_ns + 1, most.credit_ns),
        ] {
            let mut share = Share { credit_ns: 0, ..Share::default() };
            share.spend(work_ns);
            assert_eq!(share.credit_ns, credit_ns);
        }
    }

    #[test]
    fn nobody_is_known_to_have_been_greeted_for_longer_than_so_long() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let factor = SHARE_RECOVERY_FACTOR as u64;
        let most_ns = GREETER_WAITS_NS_MAX / factor;
        for (work_ns, waits_ns) in [
            (most_ns - 1, GREETER_WAITS_NS_MAX - factor),
            (most_ns, GREETER_WAITS_NS_MAX),
            (most_ns + 1, GREETER_WAITS_NS_MAX),
        ] {
            let mut greeters = Greeters::default();
            greeters.greeted(address, work_ns, START);
            assert!(greeters.wait(address, Time(START.0 + waits_ns - 1)), "{work_ns}");
            assert!(!greeters.wait(address, Time(START.0 + waits_ns)), "{work_ns}");
        }
    }

    #[test]
    fn a_share_recovers_with_time() {
        let mut crowd = Crowd::of(2);
        crowd.add(0, START);
        crowd.go(3 * SHARE_WORK_NS);
        // Two shares are owed, and one nanosecond more is credit.
        let owed_ns = 2 * SHARE_WORK_NS.unsigned_abs() * SHARE_RECOVERY_FACTOR as u64;
        for (after_ns, first) in [(owed_ns, 1), (owed_ns + SHARE_RECOVERY_FACTOR as u64, 0)] {
            let mut crowd = Crowd::of(2);
            crowd.add(0, START);
            crowd.go(3 * SHARE_WORK_NS);
            let now = Time(START.0 + after_ns);
            crowd.add(0, now);
            crowd.add(1, now);
            assert_eq!(crowd.next(), Some(first));
        }
    }

    #[test]
    fn an_address_that_was_greeted_waits_and_its_neighbours_of_ipv6_do() {
        let mut greeters = Greeters::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        greeters.greeted(address("2001:db8::1"), 1_000_000, START);
        let until = Time(START.0 + 1_000_000 * SHARE_RECOVERY_FACTOR as u64);
        for (who, waits) in [("2001:db8::2", true), ("2001:db8:0:1::1", false), ("::1", false)] {
            assert_eq!(greeters.wait(address(who), START), waits, "{who}");
            assert_eq!(greeters.wait(address(who), Time(until.0 - 1)), waits, "{who}");
            assert!(!greeters.wait(address(who), until), "{who}");
        }
    }

    #[test]
    fn no_more_addresses_are_remembered_than_may_be() {
        let mut greeters = Greeters::default();
        let address = |number: usize| IpAddr::V4(Ipv4Addr::from_bits(number as u32));
        for number in 0..GREETERS_MAX + 10 {
            greeters.greeted(address(number), 1_000_000, START);
        }
        assert_eq!(greeters.until.len(), GREETERS_MAX);
        assert!(greeters.wait(address(0), START) && !greeters.wait(address(GREETERS_MAX), START));
        let later = START.plus_secs(1);
        greeters.greeted(address(GREETERS_MAX), 1_000_000, later);
        assert_eq!(greeters.until.len(), 1, "the others are forgotten");
    }

    #[test]
    fn many_who_want_all_there_is_have_not_caused_little_work_by_waiting() {
        const MANY: usize = 250;
        let mut crowd = Crowd::of(MANY as u32 + 1);
        (0..MANY).for_each(|slot| crowd.add(slot, START));
        // Each stanza takes four times as long as it is reckoned.
        let (cost_ns, takes_ns) = (SHARE_WORK_NS * 13, SHARE_WORK_NS.unsigned_abs() * 52);
        let mut now = START;
        for _ in 0..4 * MANY {
            let slot = crowd.go(cost_ns);
            now = Time(now.0 + takes_ns);
            crowd.add(slot, now);
        }
        crowd.add(MANY, now);
        assert_eq!(crowd.next(), Some(MANY));
    }

    #[test]
    fn one_alone_gets_all() {
        let mut crowd = Crowd::of(1);
        for _ in 0..100 {
            crowd.add(0, START);
            assert_eq!(crowd.go(i64::MAX), 0);
        }
    }

    #[test]
    fn a_successor_in_the_same_slot_has_no_go_of_its_predecessor() {
        let mut crowd = Crowd::of(1);
        for owes in [false, true] {
            if owes {
                crowd.connections[0].share.spend(u64::MAX);
            }
            crowd.add(0, START);
            let before = crowd.connections.remove(0);
            let id = ConnId { slot: 0, generation: before.id.generation + 1 };
            crowd.connections.insert(Connection::new(id, before.address, ()));
            assert_eq!(crowd.next(), None);
            crowd.add(0, START);
            assert_eq!(crowd.next(), Some(0));
            assert_eq!(crowd.next(), None);
        }
    }

    #[test]
    fn whoever_can_do_no_more_in_a_turn_waits_for_the_next() {
        let mut crowd = Crowd::of(2);
        crowd.add(0, START);
        assert_eq!(crowd.next(), Some(0));
        crowd.ready.add_later(&mut crowd.connections[0]);
        // It waits already.
        crowd.add(0, START);
        assert_eq!(crowd.next(), None);
        assert!(!crowd.ready.is_empty());
        crowd.ready.begin_turn(&mut crowd.connections, START);
        assert_eq!(crowd.next(), Some(0));
        crowd.ready.add_later(&mut crowd.connections[0]);
        crowd.connections.remove(0);
        crowd.ready.begin_turn(&mut crowd.connections, START);
        assert!(crowd.ready.is_empty());
    }
}
