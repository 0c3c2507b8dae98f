//! What waits for slow readers, all of them together, and who has most of it.

use std::collections::BTreeSet;

use crate::hub::ConnId;

/// The bytes that wait, by connection. Who has nothing waiting costs nothing here.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: usize,
    by_bytes: BTreeSet<(usize, ConnId)>,
}

impl Backlog {
    /// Bytes waiting for all together.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What waits for a connection has become more or less.
    pub(super) fn change(&mut self, conn: ConnId, before: usize, after: usize) {
        if before == after {
            return;
        }
        if before > 0 {
            self.by_bytes.remove(&(before, conn));
        }
        if after > 0 {
            self.by_bytes.insert((after, conn));
        }
        self.bytes = self.bytes - before + after;
    }

    /// The connection for which most is waiting.
    pub(super) fn fullest(&self) -> Option<ConnId> {
        self.by_bytes.last().map(|&(_, conn)| conn)
    }
}
