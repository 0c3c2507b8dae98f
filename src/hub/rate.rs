//! Token buckets on the hub's virtual clock.

use super::Time;

/// A token bucket, kept as the time at which it will be full again (the generic cell rate
/// algorithm, ITU-T I.371): one number a bucket, and exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: Time,
}

/// How a kind of bucket fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Nanoseconds for one token.
    interval_ns: u64,
    /// Nanoseconds for all tokens but one.
    tolerance_ns: u64,
}

impl Rate {
    /// `tokens` every `period_s` seconds, at most `burst` saved up; `None` when lifted.
    pub(super) const fn new(tokens: u64, period_s: u64, burst: u64) -> Option<Self> {
        if tokens == 0 || burst == 0 {
            return None;
        }
        let interval_ns = period_s.saturating_mul(1_000_000_000) / tokens;
        Some(Self { interval_ns, tolerance_ns: interval_ns.saturating_mul(burst - 1) })
    }
}

impl Bucket {
    /// Takes a token; when there is none, tells when there will be one.
    pub(super) fn take(&mut self, rate: Rate, now: Time) -> Result<(), Time> {
        self.check(rate, now)?;
        self.full_at = Time(self.full_at.0.max(now.0).saturating_add(rate.interval_ns));
        Ok(())
    }

    /// Whether there is a token; when there is none, tells when there will be one.
    pub(super) const fn check(self, rate: Rate, now: Time) -> Result<(), Time> {
        let there_at = self.full_at.0.saturating_sub(rate.tolerance_ns);
        if there_at <= now.0 { Ok(()) } else { Err(Time(there_at)) }
    }

    /// When the bucket is as good as new.
    pub(super) const fn full_at(self) -> Time {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let rate = Rate::new(200, 1, 3).unwrap();
        let mut bucket = Bucket::default();
        let now = Time::from_secs(7);
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, now), Ok(()));
        }
        let next = Time(now.0 + 5_000_000);
        assert_eq!(bucket.take(rate, now), Err(next));
        assert_eq!(bucket.take(rate, Time(next.0 - 1)), Err(next));
        assert_eq!(bucket.take(rate, next), Ok(()));
        assert_eq!(bucket.take(rate, next), Err(Time(next.0 + 5_000_000)));
    }

    #[test]
    fn a_rate_or_a_burst_of_zero_is_no_limit() {
        assert!(Rate::new(0, 1, 5).is_none());
        assert!(Rate::new(5, 1, 0).is_none());
    }
}
