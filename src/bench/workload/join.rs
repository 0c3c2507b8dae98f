//! One room fills: so many join at once, then the next ones, and everybody inside hears of
//! each.

use std::time::Duration;

use crate::bench::comparison::{Comparison, Subject, round};
use crate::bench::entrance::{enter, refused, settle};
use crate::bench::error::Fault;
use crate::bench::host::MeasuredHost;
use crate::bench::interrupt::is_interrupted;
use crate::bench::measure::{Arrivals, Sample};
use crate::bench::names;
use crate::bench::report::{Figures, Heading, Side, whole};
use crate::bench::swarm::{FrameSink, Sends, Swarm};

/// How long a join may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures it.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn join(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let members = options.members.or(options.dealt(1)).unwrap_or(100);
    let at_once = options.at_once.unwrap_or(1);
    let mut subjects = comparison.subjects(members)?;
    let mut sides: Vec<Side> = subjects.iter().map(Subject::side).collect();
    for _ in 0..options.rounds() {
        let more = round(&mut sides, subjects.iter_mut(), |subject, side| {
            side.samples.push(fill(&subject.host, &mut subject.swarm, members, at_once)?);
            subject.swarm.close_all();
            subject.host.wait_until_calm();
            comparison.bar.inc(1);
            Ok(())
        })?;
        if !more {
            break;
        }
    }
    let shape = format!("a room fills with {members}, {at_once} at once");
    let mut figures = Figures::of(options, Heading { unit: "joins", shape }, sides);
    let bytes = figures.sides[0].median(|sample| Some(sample.bytes_in as f64));
    if let Some(bytes) = bytes {
        figures.notes.push(format!("{} bytes of presence", whole(bytes)));
    }
    Ok(figures)
}

struct Filling {
    first: usize,
    /// When each joined, and whether it has seen the list since.
    joins: Vec<Join>,
    /// Joins that are not answered.
    waiting: usize,
    /// `<client … joined>` seen, by all together.
    heard: u64,
    tally: Arrivals,
}

#[derive(Clone, Copy, Debug, Default)]
struct Join {
    sent_at: u64,
    joined: bool,
    listed: bool,
}

impl FrameSink for Filling {
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
fn fill(
    host: &MeasuredHost,
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
        tally: Arrivals::new(),
    };
    let (begin, processor, bytes_in) = (swarm.now(), host.processor_time(), swarm.bytes_in());
    let frame = names::join(&swarm.tag().room(0));
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
