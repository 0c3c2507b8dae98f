//! The whole behaviour of the server, without a socket, a clock or a thread.
//!
//! [`Hub::handle`] takes one [`Input`] and the time, and says what follows through an
//! [`Outlet`]: messages to queue, connections to close, notes to log. What it needs is handed
//! in, so a whole server runs in a test on a virtual clock and replays from one seed.

mod types;

pub use types::{
    CloseReason, ConnId, Door, HashKey, Input, Note, Outlet, Progress, RelayNames, Settings, Span,
    Time,
};

/// The server's state: sessions and rooms.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
}

impl Hub {
    /// An empty hub. `hash_key` seeds the hash tables; `unix_start_us` is the wall clock at
    /// [`Time`] zero in microseconds since 1970, for the creation times that `getinfo` tells.
    #[must_use]
    pub fn new(settings: Settings, hash_key: HashKey, unix_start_us: u64) -> Self {
        let _ = (hash_key, unix_start_us);
        Self { settings }
    }

    /// Takes one input at `now` and gives what follows to `out`.
    pub fn handle(&mut self, input: Input<'_>, now: Time, out: &mut impl Outlet) -> Progress {
        let _ = (input, now, out, &self.settings);
        Progress::Done
    }

    /// When the hub wants an [`Input::Tick`], if it waits for a time at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// Checks every invariant of the hub's own tables.
    ///
    /// # Panics
    /// When one does not hold, which is a bug in the hub.
    pub fn check_invariants(&self) {}
}
