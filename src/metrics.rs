//! Plain counters; the loop is the only one that writes them.
//!
//! Counting is an addition to a number that has its place: nothing is looked up and nothing is
//! allocated. It knows of the house only what reasons there are.

pub mod prometheus;

use std::fmt;
use std::ops::AddAssign as _;

use crate::reason::{CloseReason, RefusalReason};

/// What the server has done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Connections accepted.
    pub accepted: u64,
    /// Times that accepting failed, by lack of descriptors or otherwise.
    pub accept_errors: u64,
    /// Logins.
    pub logins: u64,
    /// Frames handled.
    pub frames_in: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Stanzas queued, one for each receiver.
    pub deliveries: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Stanzas that plugins have sent.
    pub plugin_frames_in: u64,
    /// Stanzas that plugins were not sent because they did not read.
    pub plugin_drops: u64,
    /// Lines of the log that could not be written.
    pub log_lines_lost: u64,
    /// Lines of the log left out, because one address caused too many.
    pub log_lines_left_out: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// How long they took, the waiting for events left out.
    pub turn_time: Histogram,
    closes: Tally<{ CloseReason::ALL.len() }>,
    refusals: Tally<{ RefusalReason::ALL.len() }>,
}

impl Metrics {
    /// Counts a connection that is closed.
    pub fn close(&mut self, reason: CloseReason) {
        self.closes.add(reason as usize);
    }

    /// Counts a request that is answered with an `<error>`.
    pub fn refuse(&mut self, reason: RefusalReason) {
        self.refusals.add(reason as usize);
    }

    /// Connections closed for this reason.
    #[must_use]
    pub fn closes(&self, reason: CloseReason) -> u64 {
        self.closes.count(reason as usize)
    }

    /// Requests refused for this reason.
    #[must_use]
    pub fn refusals(&self, reason: RefusalReason) -> u64 {
        self.refusals.count(reason as usize)
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusals: u64 = RefusalReason::ALL.iter().map(|&reason| self.refusals(reason)).sum();
        let limits = CloseReason::ALL.iter().filter(|reason| reason.is_limit());
        let closed_by_limit: u64 = limits.map(|&reason| self.closes(reason)).sum();
        write!(
            f,
            "{} sessions, {} logins, {} stanzas in, {} deliveries, {refusals} refusals, \
             {closed_by_limit} closed by a limit",
            self.accepted, self.logins, self.frames_in, self.deliveries,
        )
    }
}

/// A counter for each of so many reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tally<const REASONS: usize>([u64; REASONS]);

impl<const REASONS: usize> Default for Tally<REASONS> {
    fn default() -> Self {
        Self([0; REASONS])
    }
}

impl<const REASONS: usize> Tally<REASONS> {
    fn add(&mut self, reason: usize) {
        if let Some(count) = self.0.get_mut(reason) {
            count.add_assign(1);
        }
    }

    fn count(&self, reason: usize) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }
}

/// How many durations were at most so long. Its bounds go from a turn that had hardly anything to
/// do to one that everybody notices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bound, each without those of the smaller ones; the last is for what is longer.
    counts: [u64; Self::BOUNDS_US.len() + 1],
    sum_ns: u64,
}

impl Histogram {
    /// Upper bounds of the buckets, in microseconds, each within its bucket.
    pub const BOUNDS_US: [u32; 16] = [
        10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
        500_000, 1_000_000,
    ];

    /// Takes in a duration.
    pub fn observe(&mut self, nanoseconds: u64) {
        let bucket =
            Self::BOUNDS_US.partition_point(|&bound| u64::from(bound) * 1_000 < nanoseconds);
        self.counts[bucket] += 1;
        self.sum_ns = self.sum_ns.saturating_add(nanoseconds);
    }

    /// For each of [`Histogram::BOUNDS_US`] how many durations were at most so long.
    pub fn cumulative(&self) -> impl Iterator<Item = (u32, u64)> {
        Self::BOUNDS_US.iter().zip(&self.counts).scan(0, |sum, (&bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }

    /// How many durations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations together, in nanoseconds.
    #[must_use]
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_by_itself_under_a_label_of_its_own() {
        let mut metrics = Metrics::default();
        let mut labels = std::collections::BTreeSet::new();
        for (times, reason) in (1..).zip(CloseReason::ALL) {
            (0..times).for_each(|_| metrics.close(reason));
            assert_eq!(metrics.closes(reason), times, "{reason:?}");
            assert!(labels.insert(reason.label()), "{reason:?}");
        }
        labels.clear();
        for (times, reason) in (1..).zip(RefusalReason::ALL) {
            (0..times).for_each(|_| metrics.refuse(reason));
            assert_eq!(metrics.refusals(reason), times, "{reason:?}");
            assert!(labels.insert(reason.label()), "{reason:?}");
        }
    }

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_pass() {
        let mut histogram = Histogram::default();
        for nanoseconds in [0, 10_000, 10_001, 25_000, 1_000_000_000, 1_000_000_001, u64::MAX] {
            histogram.observe(nanoseconds);
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative[..3], [(10, 2), (25, 4), (50, 4)]);
        assert_eq!(cumulative[15], (1_000_000, 5));
        assert_eq!((histogram.count(), histogram.sum_ns()), (7, u64::MAX));
    }

    #[test]
    fn bounds_go_up() {
        assert!(Histogram::BOUNDS_US.is_sorted_by(|a, b| a < b));
    }
}
