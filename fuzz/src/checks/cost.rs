//! What inputs may cost: an allowance that grows by their own bytes and by what the limits let them
//! cause, and what was really spent of it.
//!
//! Counted are bytes encoded, those in vain among them, bytes delivered and memory asked for: the
//! same on every machine and in every run, unlike time. Lists have an allowance of their own, that
//! of `limits.listrate`; what sessions say and hear otherwise has another one.

use palabre::limits::{LIST_BURST_S, Limits};

/// Bytes that each byte of a stanza may come to where it is written, escaped, twice: once to its
/// sender, and once to others.
const WRITTEN_PER_BYTE: usize = 12;

/// The longest that an answer is besides what the stanza has itself: `help`.
const WRITTEN_AT_LEAST: usize = 3_072;

/// Bytes that each byte of a stanza may come to for each of those who hear it.
const HEARD_PER_BYTE: usize = 6;

/// The longest line about a member, where every byte of a nick and of a room's name is escaped.
const LINE_BYTES: usize = 1_280;

/// A buffer that grows has at most twice what it holds.
pub(super) const GROWTH: usize = 2;

/// Memory for each byte of a stanza: copies of its values, a nick in the forms that are compared.
/// A nick of the length of a stanza took 18 before its length was looked at first.
const MEMORY_PER_BYTE: usize = 6;

/// Memory that any input may ask for: tables that grow.
const MEMORY_AT_LEAST: usize = 65_536;

/// Bytes of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes {
    /// The memory of the buffers in which they were encoded.
    pub(super) encoded: usize,
    /// As they were queued, once for each receiver.
    pub(super) delivered: usize,
}

/// What was spent, or may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Lists, and what sessions have asked for themselves.
    pub(super) lists: Bytes,
    /// Everything else.
    pub(super) told: Bytes,
}

/// Who and what there is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct House {
    pub(super) sessions: usize,
    pub(super) rooms: usize,
    pub(super) memberships: usize,
}

/// What may have been spent since all buckets were full the last time.
#[derive(Debug)]
pub(super) struct Allowance {
    limits: Limits,
    allowed: Spent,
    nanos: u128,
}

impl Allowance {
    pub(super) const fn new(limits: Limits) -> Self {
        let none = Bytes { encoded: 0, delivered: 0 };
        Self { limits, allowed: Spent { lists: none, told: none }, nanos: 0 }
    }

    /// All buckets are full: what was saved up before counts no more.
    pub(super) fn begin(&mut self, house: House) {
        (self.allowed, self.nanos) = (Spent::default(), 0);
        for _ in 0..house.sessions {
            self.opened(house);
        }
        for _ in 0..house.rooms {
            self.room_created();
        }
        // The line that tells of a member's end is paid for by its beginning.
        self.allow_told(house.memberships * LINE_BYTES, house);
    }

    /// A session is there: what it may cause at once, and ask for.
    pub(super) fn opened(&mut self, house: House) {
        // One param more than the bucket has.
        let burst = self.limits.byte_burst + self.limits.byte_rate_per_s;
        self.allow_told(burst as usize + HEARD_PER_BYTE * self.limits.param_bytes_max, house);
        self.room_created();
    }

    /// A room, or another one that may have lists, is there: what a bucket of `listrate` gives away
    /// at once, and the lists that go over it.
    pub(super) const fn room_created(&mut self) {
        let burst = (LIST_BURST_S + 1) * self.limits.list_rate_per_s;
        self.allow_lists(burst as usize + 4 * self.limits.list_bytes_max);
    }

    /// A stanza of so many bytes was taken, or something without any.
    pub(super) const fn taken(&mut self, bytes: usize, house: House) {
        self.allowed.told.encoded += stanza(bytes);
        // Its sender is answered.
        self.allowed.told.delivered += stanza(bytes);
        self.allow_told(HEARD_PER_BYTE * bytes + 2 * LINE_BYTES, house);
    }

    /// So much time goes by.
    pub(super) fn passed(&mut self, nanos: u128, house: House) {
        self.nanos += nanos;
        let seconds = (self.nanos / 1_000_000_000) as usize;
        self.nanos %= 1_000_000_000;
        let told = seconds * house.sessions * self.limits.byte_rate_per_s as usize;
        self.allow_told(told, house);
        let buckets = house.sessions + house.rooms;
        self.allow_lists(seconds * buckets * self.limits.list_rate_per_s as usize);
    }

    /// Of a list each receiver counts.
    const fn allow_lists(&mut self, bytes: usize) {
        self.allowed.lists.encoded += bytes;
        self.allowed.lists.delivered += bytes;
    }

    const fn allow_told(&mut self, bytes: usize, house: House) {
        self.allowed.told.encoded += bytes;
        self.allowed.told.delivered += bytes * house.sessions;
    }

    /// # Panics
    /// When more was spent by now.
    pub(super) fn assert_covers(&self, spent: Spent) {
        let Spent { lists, told } = self.allowed;
        for (spent, allowed, what) in [
            (spent.lists.encoded, GROWTH * lists.encoded, "of lists were encoded"),
            (spent.lists.delivered, lists.delivered, "of lists were delivered"),
            (spent.told.encoded, GROWTH * told.encoded, "were encoded"),
            (spent.told.delivered, told.delivered, "were delivered"),
        ] {
            assert!(spent <= allowed, "{spent} bytes {what}, and {allowed} are allowed");
        }
    }
}

/// Bytes that a stanza of so many may have written, but for lists.
pub(super) const fn stanza(bytes: usize) -> usize {
    WRITTEN_PER_BYTE * bytes + WRITTEN_AT_LEAST
}

/// One input of so many bytes has had no more encoded than itself, what its turn may have, and the
/// lists that its own sender is answered; and has asked for no more memory than all that takes.
///
/// # Panics
/// When it has.
pub(super) fn assert_input(bytes: usize, encoded: usize, memory: u64, turn_max: usize) {
    let max = GROWTH * (stanza(bytes) + turn_max);
    assert!(encoded <= max, "{bytes} bytes had {encoded} encoded at once, and {max} are allowed");
    // A buffer that grows is asked for at every size that it had.
    let memory_max = (2 * encoded + MEMORY_PER_BYTE * bytes + MEMORY_AT_LEAST) as u64;
    assert!(
        memory <= memory_max,
        "{bytes} bytes took {memory} bytes of memory, and {memory_max} are allowed"
    );
}
