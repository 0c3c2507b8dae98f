//! How many lines of the log one address may cause: as many as it takes to see what it does, and
//! none to fill a disk with. What is left out is counted by address, and told every few seconds.
//!
//! Warnings have a budget of their own, so that an address that connects over and over does not
//! hide which of its clients went over a limit. An address that can't be remembered, because too
//! many are, shares the budget of all such.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use log::Level;

use crate::hub::Time;
use crate::limits::{
    LOG_ADDRESSES_MAX, LOG_ADDRESSES_NAMED_MAX, LOG_LEFT_OUT_TIME_S, LOG_LINES, LOG_LINES_IN_ALL,
    LOG_WARNINGS, LOG_WARNINGS_IN_ALL, LineRate,
};
use crate::networks::household;

/// The budgets of all addresses, and their sum's.
#[derive(Debug, Default)]
pub(super) struct LogBudget {
    addresses: BTreeMap<IpAddr, Account>,
    /// Of those that are not remembered, and of lines about no address.
    others: Account,
    in_all: Account,
    /// When it is told what was left out, if anything was.
    report_at: Option<Time>,
    /// No room is looked for among those that are remembered before.
    full_until: Time,
}

/// What one address has left.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    lines: LineBucket,
    warnings: LineBucket,
    left_out: u64,
}

/// A token bucket, kept as the time at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
struct LineBucket(Time);

impl LineBucket {
    fn has(self, rate: LineRate, now: Time) -> bool {
        self.0.since(now).as_nanos() <= u128::from(interval_ns(rate)) * u128::from(rate.burst - 1)
    }

    fn take(&mut self, rate: LineRate, now: Time) {
        self.0 = self.0.max(now) + core::time::Duration::from_nanos(interval_ns(rate));
    }
}

const fn interval_ns(rate: LineRate) -> u64 {
    1_000_000_000 / rate.per_s
}

impl Account {
    /// Whether it is as good as a new one.
    fn is_at_rest(&self, now: Time) -> bool {
        self.left_out == 0 && self.lines.0 <= now && self.warnings.0 <= now
    }

    const fn bucket(&mut self, level: Level) -> &mut LineBucket {
        if is_warning(level) { &mut self.warnings } else { &mut self.lines }
    }
}

const fn is_warning(level: Level) -> bool {
    matches!(level, Level::Error | Level::Warn)
}

impl LogBudget {
    /// Whether a line about this address may be written; else it is counted.
    pub(super) fn takes(&mut self, level: Level, address: Option<IpAddr>, now: Time) -> bool {
        let (rate, rate_in_all) = if is_warning(level) {
            (LOG_WARNINGS, LOG_WARNINGS_IN_ALL)
        } else {
            (LOG_LINES, LOG_LINES_IN_ALL)
        };
        let in_all = *self.in_all.bucket(level);
        let account = self.account(address, now);
        let bucket = account.bucket(level);
        if bucket.has(rate, now) && in_all.has(rate_in_all, now) {
            bucket.take(rate, now);
            self.in_all.bucket(level).take(rate_in_all, now);
            return true;
        }
        account.left_out += 1;
        let report_at = now.plus_secs(LOG_LEFT_OUT_TIME_S);
        self.report_at.get_or_insert(report_at);
        false
    }

    fn account(&mut self, address: Option<IpAddr>, now: Time) -> &mut Account {
        let Some(address) = address.map(household) else { return &mut self.others };
        let is_known = self.addresses.contains_key(&address);
        if !is_known && self.addresses.len() >= LOG_ADDRESSES_MAX && now >= self.full_until {
            self.addresses.retain(|_, account| !account.is_at_rest(now));
            self.full_until = now.plus_secs(1);
        }
        if !is_known && self.addresses.len() >= LOG_ADDRESSES_MAX {
            return &mut self.others;
        }
        self.addresses.entry(address).or_default()
    }

    /// When there is something to tell.
    pub(super) const fn report_at(&self) -> Option<Time> {
        self.report_at
    }

    /// What was left out since it was last told, once that is due, or at the `end`.
    pub(super) fn report(&mut self, now: Time, end: bool) -> Option<String> {
        self.report_at.filter(|time| *time <= now || end)?;
        self.report_at = None;
        let mut counts: Vec<(u64, IpAddr)> = self
            .addresses
            .iter_mut()
            .map(|(address, account)| (std::mem::take(&mut account.left_out), *address))
            .filter(|(count, _)| *count > 0)
            .collect();
        self.addresses.retain(|_, account| !account.is_at_rest(now));
        counts.sort_by_key(|(count, address)| (std::cmp::Reverse(*count), *address));
        let others = std::mem::take(&mut self.others.left_out);
        let sum: u64 = counts.iter().map(|(count, _)| count).sum::<u64>() + others;
        let mut text = format!("left out of the log: {sum} lines");
        let named = counts.len().min(LOG_ADDRESSES_NAMED_MAX);
        let mut separator = ", ";
        for (count, address) in &counts[..named] {
            // Writing to a string can't fail.
            let _ = write!(text, "{separator}{count} about {}", ShownAddress(*address));
            separator = ", ";
        }
        let rest = others + counts[named..].iter().map(|(count, _)| count).sum::<u64>();
        if rest > 0 {
            let _ = write!(text, "{separator}{rest} about others");
        }
        Some(text)
    }
}

/// A household, as people write it.
struct ShownAddress(IpAddr);

impl core::fmt::Display for ShownAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut LogBudget, level: Level, address: &str, now: Time) -> u64 {
        let address = Some(address.parse().unwrap());
        (0..2 * LOG_LINES.burst).filter(|_| budget.takes(level, address, now)).count() as u64
    }

    #[test]
    fn an_address_has_a_burst_then_a_rate_and_what_is_left_out_is_told() {
        let mut budget = LogBudget::default();
        let now = Time::from_secs(1);
        assert_eq!(taken(&mut budget, Level::Info, "192.0.2.1", now), LOG_LINES.burst);
        // Another has its own, and so have warnings.
        assert_eq!(taken(&mut budget, Level::Info, "192.0.2.2", now), LOG_LINES.burst);
        assert_eq!(taken(&mut budget, Level::Warn, "192.0.2.1", now), LOG_WARNINGS.burst);
        let later = Time::from_secs(2);
        assert_eq!(taken(&mut budget, Level::Info, "192.0.2.1", later), LOG_LINES.per_s);
        assert_eq!(budget.report(later, false), None);
        let due = budget.report_at().unwrap();
        assert_eq!(due, now.plus_secs(LOG_LEFT_OUT_TIME_S));
        let one = 5 * LOG_LINES.burst + LOG_LINES.burst
            - LOG_WARNINGS.burst
            - LOG_LINES.per_s
            - LOG_LINES.burst;
        let other = LOG_LINES.burst;
        let sum = one + other;
        assert_eq!(
            budget.report(due, false).unwrap(),
            format!(
                "left out of the log: {sum} lines, {one} about 192.0.2.1, {other} about 192.0.2.2"
            )
        );
        assert_eq!((budget.report(due, true), budget.report_at()), (None, None));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_an_ipv4_one_within_it_is_itself() {
        let mut budget = LogBudget::default();
        let now = Time::default();
        assert_eq!(taken(&mut budget, Level::Info, "2001:db8::1", now), LOG_LINES.burst);
        assert_eq!(taken(&mut budget, Level::Info, "2001:db8::ffff:2", now), 0);
        assert_eq!(taken(&mut budget, Level::Info, "2001:db8:0:1::1", now), LOG_LINES.burst);
        assert_eq!(taken(&mut budget, Level::Info, "::ffff:192.0.2.1", now), LOG_LINES.burst);
        assert_eq!(taken(&mut budget, Level::Info, "192.0.2.1", now), 0);
        let told = budget.report(now, true).unwrap();
        assert!(told.contains(" about 2001:db8::/64, "), "{told}");
    }

    #[test]
    fn the_addresses_that_are_remembered_are_bounded_and_those_beyond_share_a_budget() {
        let mut budget = LogBudget::default();
        let mut now = Time::from_secs(9);
        let address = |n: usize| Some(IpAddr::from((n as u32).to_be_bytes()));
        let mut written = 0;
        for n in 0..LOG_ADDRESSES_MAX + 2 * LOG_LINES.burst as usize {
            written += u64::from(budget.takes(Level::Info, address(n), now));
        }
        assert_eq!(budget.addresses.len(), LOG_ADDRESSES_MAX);
        assert_eq!(written, LOG_ADDRESSES_MAX as u64 + LOG_LINES.burst);
        assert!(budget.report(now, true).unwrap().ends_with(" about others"));
        // Those that rest are forgotten, and there is room again.
        now = now.plus_secs(60);
        assert!(budget.takes(Level::Info, address(1 << 30), now));
        assert_eq!(budget.addresses.len(), 1);
    }

    #[test]
    fn all_addresses_together_have_a_budget() {
        for (level, rate) in [(Level::Info, LOG_LINES_IN_ALL), (Level::Warn, LOG_WARNINGS_IN_ALL)] {
            let mut budget = LogBudget::default();
            let now = Time::default();
            let mut written = 0;
            for n in 0..rate.burst as usize * 2 {
                let address = IpAddr::from(((n % 1_000) as u32).to_be_bytes());
                written += u64::from(budget.takes(level, Some(address), now));
            }
            assert_eq!(written, rate.burst);
        }
    }

    #[test]
    fn so_many_addresses_are_named_of_which_lines_were_left_out() {
        for (addresses, named, others) in [
            (LOG_ADDRESSES_NAMED_MAX, LOG_ADDRESSES_NAMED_MAX, false),
            (LOG_ADDRESSES_NAMED_MAX + 1, LOG_ADDRESSES_NAMED_MAX, true),
        ] {
            let mut budget = LogBudget::default();
            let now = Time::default();
            for n in 0..addresses {
                taken(&mut budget, Level::Info, &format!("192.0.2.{n}"), now);
            }
            let told = budget.report(now, true).unwrap();
            assert_eq!(told.matches(" about 192.0.2.").count(), named, "{told}");
            assert_eq!(told.ends_with(" about others"), others, "{told}");
        }
    }
}
