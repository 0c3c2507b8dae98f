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

/// How a bucket of bytes fills. What is taken may be more than there is: then the bucket is in
/// debt, and nothing is taken before that is paid off.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByteRate {
    bytes_per_s: u64,
    /// Nanoseconds for a whole bucket.
    tolerance_ns: u64,
}

impl ByteRate {
    /// So many bytes a second, at most `burst` of them saved up; `None` when lifted.
    pub(super) const fn new(bytes_per_s: u64, burst: u64) -> Option<Self> {
        if bytes_per_s == 0 || burst == 0 {
            return None;
        }
        Some(Self { bytes_per_s, tolerance_ns: nanoseconds(burst, bytes_per_s) })
    }

    /// So many bytes a second, at most those of so many seconds saved up; `None` when lifted.
    pub(super) const fn with_seconds(bytes_per_s: u64, seconds: u64) -> Option<Self> {
        Self::new(bytes_per_s, bytes_per_s.saturating_mul(seconds))
    }

    /// The bytes of one second.
    pub(super) const fn bytes_per_s(self) -> usize {
        if self.bytes_per_s > usize::MAX as u64 { usize::MAX } else { self.bytes_per_s as usize }
    }
}

/// How long so many bytes take.
const fn nanoseconds(bytes: u64, bytes_per_s: u64) -> u64 {
    // Of all that a stanza can have, this is done in one word.
    if let Some(bytes_ns) = bytes.checked_mul(1_000_000_000) {
        return bytes_ns.div_ceil(bytes_per_s);
    }
    let nanoseconds = (bytes as u128 * 1_000_000_000).div_ceil(bytes_per_s as u128);
    if nanoseconds > u64::MAX as u128 { u64::MAX } else { nanoseconds as u64 }
}

impl Bucket {
    /// Whether bytes may be taken; when they may not, tells when.
    pub(super) const fn check_bytes(self, rate: ByteRate, now: Time) -> Result<(), Time> {
        let there_at = self.full_at.0.saturating_sub(rate.tolerance_ns);
        if there_at <= now.0 { Ok(()) } else { Err(Time(there_at)) }
    }

    /// Takes so many bytes, whether they are there or not.
    pub(super) fn take_bytes(&mut self, rate: ByteRate, bytes: usize, now: Time) {
        let cost_ns = nanoseconds(bytes as u64, rate.bytes_per_s);
        self.full_at = Time(self.full_at.0.max(now.0).saturating_add(cost_ns));
    }

    /// Gives a token back that was just taken.
    pub(super) const fn give_back(&mut self, rate: Rate) {
        self.full_at = Time(self.full_at.0.saturating_sub(rate.interval_ns));
    }

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

    /// How many tokens there are.
    pub(super) const fn left(self, rate: Rate, now: Time) -> u64 {
        let all_ns = rate.tolerance_ns.saturating_add(rate.interval_ns);
        let missing_ns = self.full_at.0.saturating_sub(now.0);
        // An interval of nothing is that of more tokens than there are nanoseconds.
        match all_ns.saturating_sub(missing_ns).checked_div(rate.interval_ns) {
            Some(tokens) => tokens,
            None => u64::MAX,
        }
    }

    /// Takes so many tokens whether they are there or not: those that are missing are owed, at most
    /// a bucket of them.
    pub(super) fn owe(&mut self, rate: Rate, tokens: u64, now: Time) {
        let all_ns = rate.tolerance_ns.saturating_add(rate.interval_ns);
        let most = now.0.saturating_add(all_ns.saturating_mul(2));
        let more_ns = rate.interval_ns.saturating_mul(tokens);
        self.full_at = Time(self.full_at.0.max(now.0).saturating_add(more_ns).min(most));
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
    fn tokens_are_counted_and_owed() {
        let rate = Rate::new(20, 60, 20).unwrap();
        let mut bucket = Bucket::default();
        let now = Time::from_secs(7);
        for left in (0..20).rev() {
            bucket.take(rate, now).unwrap();
            assert_eq!(bucket.left(rate, now), left);
        }
        assert_eq!(bucket.left(rate, Time(now.plus_secs(3).0 - 1)), 0);
        assert_eq!(bucket.left(rate, now.plus_secs(3)), 1);
        assert_eq!(bucket.left(rate, now.plus_secs(600)), 20);
        bucket.owe(rate, 2, now);
        assert_eq!(bucket.check(rate, now), Err(now.plus_secs(9)));
        bucket.owe(rate, 1_000, now);
        assert_eq!(bucket.check(rate, now), Err(now.plus_secs(63)), "at most a bucket");
        assert_eq!(bucket.left(rate, now.plus_secs(63)), 1);
    }

    #[test]
    fn a_rate_or_a_burst_of_zero_is_no_limit() {
        assert!(Rate::new(0, 1, 5).is_none());
        assert!(Rate::new(5, 1, 0).is_none());
        assert!(ByteRate::new(0, 5).is_none());
        assert!(ByteRate::new(5, 0).is_none());
    }

    #[test]
    fn bytes_are_taken_into_debt_and_then_paid_off() {
        let rate = ByteRate::new(1_000, 5_000).unwrap();
        let mut bucket = Bucket::default();
        let now = Time::from_secs(7);
        // An empty bucket still gives; what is over that is debt.
        for _ in 0..5 {
            assert_eq!(bucket.check_bytes(rate, now), Ok(()));
            bucket.take_bytes(rate, 1_000, now);
        }
        assert_eq!(bucket.check_bytes(rate, now), Ok(()));
        bucket.take_bytes(rate, 2_000, now);
        let paid_at = now.plus_secs(2);
        assert_eq!(bucket.check_bytes(rate, now), Err(paid_at));
        assert_eq!(bucket.check_bytes(rate, Time(paid_at.0 - 1)), Err(paid_at));
        assert_eq!(bucket.check_bytes(rate, paid_at), Ok(()));
    }

    #[test]
    fn rates_of_bytes_keep_their_precision() {
        let rate = ByteRate::with_seconds(3, 4).unwrap();
        let mut bucket = Bucket::default();
        bucket.take_bytes(rate, 13, Time(0));
        // 4,333,333,334 ns less the four seconds of a whole bucket.
        assert_eq!(bucket.check_bytes(rate, Time(0)), Err(Time(333_333_334)));
        assert!(ByteRate::with_seconds(u64::MAX, 4).is_some());
        assert_eq!(nanoseconds(u64::MAX, 1), u64::MAX);
        assert_eq!(nanoseconds(1, u64::MAX), 1);
    }
}
