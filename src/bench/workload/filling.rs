//! One room fills: so many join at once, then the next ones, and everybody inside hears of
//! each.

use std::time::Duration;

use crate::bench::Fault;
use crate::bench::entrance::{enter, join, refused, settle};
use crate::bench::host::Host;
use crate::bench::measure::{Sample, Tally, is_interrupted};
use crate::bench::swarm::{Crowd, Sends, Swarm};

/// How long a join may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Filling {
    first: usize,
    /// When each joined, and whether it has seen the list since.
    joins: Vec<Join>,
    /// Joins that are not answered.
    waiting: usize,
    /// `<client … joined>` seen, by all together.
    heard: u64,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, Default)]
struct Join {
    sent_at: u64,
    joined: bool,
    listed: bool,
}

impl Crowd for Filling {
    fn frame(&mut self, who: usize, frame: &[u8], now: u64, _: &mut Sends) -> Result<(), Fault> {
        let join = &mut self.joins[who - self.first];
        if frame.starts_with(b"<client ") {
            self.heard += 1;
        } else if frame.starts_with(b"<joined ") {
            join.joined = true;
        } else if frame.starts_with(b"<clients ") && join.joined && !join.listed {
            join.listed = true;
            self.waiting -= 1;
            self.tally.delivered(now.saturating_sub(join.sent_at));
        }
        refused(frame)
    }
}

/// Lets `members` connections log in and then fill a room, `at_once` at a time. What is counted
/// is joins; a latency is that from a join to its client list.
///
/// # Errors
/// What the server refuses, and [`Fault::Presence`] when not everybody heard of everybody who
/// came later.
pub(in crate::bench) fn fill(
    host: &Host,
    swarm: &mut Swarm,
    members: usize,
    at_once: usize,
) -> Result<Sample, Fault> {
    let first = enter(swarm, members, |_| None)?;
    let mut filling = Filling {
        first,
        joins: vec![Join::default(); members],
        waiting: 0,
        heard: 0,
        tally: Tally::new(),
    };
    let (begin, processor, bytes_in) = (swarm.now(), host.processor_time(), swarm.bytes_in());
    let frame = join(&swarm.tag().room(0));
    let everybody: Vec<usize> = (first..first + members).collect();
    for batch in everybody.chunks(at_once.max(1)) {
        for &who in batch {
            filling.joins[who - first].sent_at = swarm.now();
            swarm.sends().text(who, &frame);
        }
        filling.waiting = batch.len();
        wait(swarm, &mut filling)?;
    }
    // The last ones' arrival is still on its way to the others.
    let wanted = (members * members.saturating_sub(1) / 2) as u64;
    let patience = swarm.now() + PATIENCE.as_nanos() as u64;
    while filling.heard < wanted && swarm.now() < patience && !is_interrupted() {
        swarm.turn(Some(PATIENCE), &mut filling)?;
    }
    let sample = Sample {
        span: Duration::from_nanos(swarm.now() - begin),
        processor: host.processor_time().zip(processor).map(|(after, before)| after - before),
        bytes_in: swarm.bytes_in() - bytes_in,
        tally: filling.tally,
    };
    settle(swarm, first..first + members)?;
    if filling.heard != wanted && !is_interrupted() {
        return Err(Fault::Presence { heard: filling.heard, wanted });
    }
    Ok(sample)
}

fn wait(swarm: &mut Swarm, filling: &mut Filling) -> Result<(), Fault> {
    let patience = swarm.now() + PATIENCE.as_nanos() as u64;
    while filling.waiting > 0 {
        swarm.turn(Some(PATIENCE), filling)?;
        if is_interrupted() {
            return Err(Fault::Interrupted);
        }
        if swarm.now() > patience {
            return Err(Fault::Missing { count: filling.waiting as u64 });
        }
    }
    Ok(())
}
