//! One measurement: a workload runs for a while, and the server's processor time, the
//! deliveries and their latencies are taken between two points of it. Nothing may be missing
//! at the end.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::error::Fault;
use super::host::MeasuredHost;
use super::interrupt::is_interrupted;
use super::over::Spoken;
use super::swarm::{FrameSink, Sends, Swarm, nanoseconds};

/// How long a workload runs before it counts: caches, buffers and the window settle.
const WARM_UP: Duration = Duration::from_millis(200);

/// How long the rest of a workload may stay away when nothing new is sent.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The poll counts milliseconds: what is due sooner than this is waited for without it.
const SPIN_BELOW: Duration = Duration::from_millis(2);

/// The longest latency that is told apart: ten minutes, in nanoseconds.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Digits of a latency: 1 % is finer than any machine repeats.
const LATENCY_DIGITS: u8 = 2;

/// What has arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    /// Deliveries, or whatever the workload counts.
    pub(super) count: u64,
    /// Nanoseconds from the time at which each was sent or meant to be sent.
    pub(super) latency: Histogram<u64>,
    /// The same by what the receiver speaks, where receivers speak several things.
    pub(super) by_over: Vec<(Spoken, Histogram<u64>)>,
    /// How late the generator itself was at most, in nanoseconds, where it sends by the clock.
    pub(super) lag_ns: u64,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self { count: 0, latency: histogram(), by_over: Vec::new(), lag_ns: 0 }
    }

    pub(super) fn delivered(&mut self, latency_ns: u64) {
        self.count += 1;
        self.latency.saturating_record(latency_ns);
    }

    /// The same delivery, to one who speaks this, among others who speak something else.
    #[inline(never)] // Where all speak the same the loop stays as small as it is without.
    pub(super) fn delivered_over(&mut self, over: Spoken, latency_ns: u64) {
        let found = self.by_over.iter().position(|(other, _)| *other == over);
        let index = found.unwrap_or_else(|| {
            self.by_over.push((over, histogram()));
            self.by_over.len() - 1
        });
        self.by_over[index].1.saturating_record(latency_ns);
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new())
    }
}

/// An empty histogram of latencies in nanoseconds.
pub(super) fn histogram() -> Histogram<u64> {
    // The bounds are constants that the crate accepts.
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS)
        .unwrap_or_else(|error| unreachable!("bounds of the histogram: {error}"))
}

/// Something that makes work for a server and counts what comes of it.
pub(super) trait Load: FrameSink {
    /// Sends what starts it; it goes on by what arrives until it is stopped.
    fn begin(&mut self, now: u64, sends: &mut Sends);

    /// Sends what is due by the clock, and tells when to come again.
    fn due(&mut self, now: u64, sends: &mut Sends) -> Option<u64> {
        let _ = (now, sends);
        None
    }

    /// Whether it is waited for what is due without sleeping, so that it is sent in time. Others
    /// on the same core have none of it then.
    fn is_punctual(&self) -> bool {
        true
    }

    /// Nothing new is sent from now on.
    fn stop(&mut self);

    /// How much is still to arrive.
    fn on_the_way(&self) -> u64;

    /// The counts so far.
    fn tally(&mut self) -> &mut Arrivals;

    /// Does what needs connections of its own, between two turns.
    ///
    /// # Errors
    /// When one can't be opened.
    fn between_turns(&mut self, swarm: &mut Swarm) -> Result<(), Fault> {
        let _ = swarm;
        Ok(())
    }
}

/// What one measurement found.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) tally: Arrivals,
    /// How long it took.
    pub(super) span: Duration,
    /// What of it the server computed, if its process is known.
    pub(super) processor: Option<Duration>,
    /// Bytes that arrived.
    pub(super) bytes_in: u64,
}

impl Sample {
    /// Deliveries a second of the server's processor time.
    pub(super) fn per_processor_second(&self) -> Option<f64> {
        let seconds = self.processor?.as_secs_f64();
        (seconds > 0.0).then(|| self.tally.count as f64 / seconds)
    }

    /// Deliveries a second of time.
    pub(super) fn per_second(&self) -> f64 {
        self.tally.count as f64 / self.span.as_secs_f64().max(1e-9)
    }
}

/// Runs a workload for `span` after warming up, and then waits for all that is on the way.
///
/// # Errors
/// What the workload found wrong, and [`Fault::Missing`] when something does not arrive.
pub(super) fn measure(
    host: &MeasuredHost,
    swarm: &mut Swarm,
    workload: &mut impl Load,
    span: Duration,
) -> Result<Sample, Fault> {
    let now = swarm.now();
    workload.begin(now, swarm.sends());
    run_until(swarm, workload, now + nanoseconds(WARM_UP.min(span)))?;
    workload.tally().take();
    let (begin, processor, bytes_in) = (swarm.now(), host.processor_time(), swarm.bytes_in());
    run_until(swarm, workload, begin + nanoseconds(span))?;
    // A measurement in which nothing came about says nothing: it lasts until something does.
    let longest = begin + nanoseconds(span + DRAIN_TIMEOUT);
    while workload.tally().count == 0 && swarm.now() < longest && !is_interrupted() {
        let soon = swarm.now() + nanoseconds(WARM_UP.min(span));
        run_until(swarm, workload, soon)?;
    }
    let sample = Sample {
        span: Duration::from_nanos(swarm.now() - begin),
        processor: host.processor_time().zip(processor).map(|(after, before)| after - before),
        bytes_in: swarm.bytes_in() - bytes_in,
        tally: workload.tally().take(),
    };
    finish(swarm, workload)?;
    Ok(sample)
}

/// Stops a workload and waits for all that is on the way.
///
/// # Errors
/// [`Fault::Missing`] when something does not arrive.
pub(super) fn finish(swarm: &mut Swarm, workload: &mut impl Load) -> Result<(), Fault> {
    workload.stop();
    let mut left = workload.on_the_way();
    let mut deadline = swarm.now() + nanoseconds(DRAIN_TIMEOUT);
    while left > 0 {
        swarm.turn(Some(Duration::from_millis(100)), workload)?;
        let now = workload.on_the_way();
        if now != left {
            deadline = swarm.now() + nanoseconds(DRAIN_TIMEOUT);
        } else if swarm.now() > deadline {
            return Err(Fault::Missing { count: left });
        }
        left = now;
    }
    Ok(())
}

/// Lets a workload go on until then, or until Ctrl-C.
///
/// # Errors
/// What the workload found wrong.
pub(super) fn run_until(
    swarm: &mut Swarm,
    workload: &mut impl Load,
    end: u64,
) -> Result<(), Fault> {
    loop {
        let now = swarm.now();
        if now >= end || is_interrupted() {
            return Ok(());
        }
        workload.between_turns(swarm)?;
        let next = workload.due(now, swarm.sends()).unwrap_or(end).min(end);
        let wait = Duration::from_nanos(next.saturating_sub(now));
        let timeout = match workload.is_punctual() {
            true if wait < SPIN_BELOW => Duration::ZERO,
            true => wait - SPIN_BELOW / 2,
            false => wait,
        };
        swarm.turn(Some(timeout), workload)?;
    }
}
