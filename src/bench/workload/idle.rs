//! Sessions that do nothing: what each costs in memory, and whether the server rests.

use std::time::Duration;

use crate::bench::Fault;
use crate::bench::entrance::enter;
use crate::bench::host::Host;
use crate::bench::measure::sleep;
use crate::bench::over::{Mix, Over};
use crate::bench::swarm::Swarm;

/// What idle sessions cost.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Idle {
    pub(in crate::bench) sessions: usize,
    /// Resident bytes of the server without sessions and with them.
    pub(in crate::bench) resident_bytes: Option<(u64, u64)>,
    /// What sessions speak, how many do, and the resident bytes that they have added.
    pub(in crate::bench) shares: Vec<(Over, usize, u64)>,
    /// Processor time while nothing happened.
    pub(in crate::bench) processor: Option<Duration>,
    /// How long that was.
    pub(in crate::bench) span: Duration,
    /// How long the entrance took.
    pub(in crate::bench) entrance: Duration,
}

impl Idle {
    /// Resident bytes of a session, beyond the empty server.
    pub(in crate::bench) fn bytes_per_session(&self) -> Option<u64> {
        let (empty, full) = self.resident_bytes?;
        Some(full.saturating_sub(empty) / (self.sessions as u64).max(1))
    }
}

/// Lets so many sessions into rooms of `members`, one transport after the other, and watches the
/// server for `span`.
///
/// # Errors
/// What the system or the server refuses.
pub(in crate::bench) fn rest(
    host: &Host,
    swarm: &mut Swarm,
    sessions: usize,
    members: usize,
    span: Duration,
) -> Result<Idle, Fault> {
    let mix = swarm.mix().clone();
    let dealt = mix.dealt(sessions);
    // The first session of a kind touches what the server needs once.
    for &(over, _) in &dealt {
        swarm.speak(Mix::of(over));
        enter(swarm, 1, |_| Some(0))?;
    }
    swarm.close_all();
    host.wait_until_calm();
    let empty = host.resident_bytes();
    let begin = swarm.now();
    let (mut entered, mut shares, mut before) = (0, Vec::new(), empty.unwrap_or(0));
    for (over, count) in dealt {
        swarm.speak(Mix::of(over));
        enter(swarm, count, |index| Some(1 + (entered + index) / members.max(1)))?;
        entered += count;
        let after = host.resident_bytes().unwrap_or(0);
        shares.push((over, count, after.saturating_sub(before)));
        before = after;
    }
    swarm.speak(mix);
    let entrance = Duration::from_nanos(swarm.now() - begin);
    let full = host.resident_bytes();
    let processor = host.processor_time();
    let rested = sleep(span);
    Ok(Idle {
        sessions,
        resident_bytes: empty.zip(full),
        shares,
        processor: host.processor_time().zip(processor).map(|(after, before)| after - before),
        span: rested,
        entrance,
    })
}
