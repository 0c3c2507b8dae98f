//! The loop's own deadlines, in order.

use std::collections::BTreeSet;

use crate::hub::{ConnId, Time};

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKind {
    /// A reader that was held back may go on.
    Resume,
    /// A reader has had too much waiting for too long.
    SlowReader,
    /// A closing connection has had its time.
    Drain,
    /// A silent WebSocket is to be checked.
    Check,
}

/// Deadlines; each is removed exactly when it is no longer wanted, so there are never more
/// than four a connection.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Time, ConnId, TimerKind)>);

impl Timers {
    pub(super) fn set(&mut self, time: Time, conn: ConnId, kind: TimerKind) {
        self.0.insert((time, conn, kind));
    }

    pub(super) fn cancel(&mut self, time: Time, conn: ConnId, kind: TimerKind) {
        self.0.remove(&(time, conn, kind));
    }

    pub(super) fn is_set(&self, time: Time, conn: ConnId, kind: TimerKind) -> bool {
        self.0.contains(&(time, conn, kind))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.0.first().map(|&(time, _, _)| time)
    }

    /// Takes a deadline that has come.
    pub(super) fn take_due(&mut self, now: Time) -> Option<(ConnId, TimerKind)> {
        let &(time, conn, kind) = self.0.first()?;
        if time > now {
            return None;
        }
        self.0.pop_first();
        Some((conn, kind))
    }
}
