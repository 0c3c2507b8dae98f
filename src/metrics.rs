//! Plain counters; the loop is the only one that writes them.

use std::fmt;

/// What the server has done since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Connections accepted.
    pub accepted: u64,
    /// Times that accepting failed, by lack of descriptors or otherwise.
    pub accept_errors: u64,
    /// Connections closed, in all.
    pub closed: u64,
    /// Connections closed because a limit was reached.
    pub closed_by_limit: u64,
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
    /// Requests answered with an `<error>`.
    pub refusals: u64,
    /// Turns of the loop.
    pub turns: u64,
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sessions, {} logins, {} stanzas in, {} deliveries, {} refusals, \
             {} closed by a limit",
            self.accepted,
            self.logins,
            self.frames_in,
            self.deliveries,
            self.refusals,
            self.closed_by_limit
        )
    }
}
