//! One member never reads while large messages flow: how the others fare, and what it costs until
//! it is cut off.

use std::time::Duration;

use super::rooms::{Pacing, Shape, TalkingRooms};
use crate::bench::comparison::{Comparison, Subject};
use crate::bench::error::Fault;
use crate::bench::host::MeasuredHost;
use crate::bench::interrupt::is_interrupted;
use crate::bench::measure::{Load as _, finish, measure, run_until};
use crate::bench::notes::quotients;
use crate::bench::report::{Figures, Heading, Side, whole};
use crate::bench::swarm::{Swarm, nanoseconds};
use crate::limits::{BACKLOG_SOFT_TIME_S, Limits};

/// What one that never reads may cost, in parts of `limits.backlog`.
pub(super) const BACKLOG_GROWTH: f64 = 1.1;

/// Measures it.
///
/// # Errors
/// The first thing that went wrong, [`Fault::NotCutOff`], and what it costs too much.
pub(in crate::bench) fn slow(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let default = Shape { rooms: 1, members: 100, body_bytes: 10_000 };
    let shape = Shape { rooms: 1, ..Shape::asked(options, default) };
    let rate = options.rate.unwrap_or(200).max(1);
    let Subject { host, mut swarm } = comparison.guarded(shape.members)?;
    let mut rooms = TalkingRooms::enter(&mut swarm, shape, Pacing::a_second(rate))?;
    let span = Duration::from_secs_f64(options.seconds());
    let mut sides = [Side::named("alone"), Side::named("among")];
    sides[0].samples.push(measure(&host, &mut swarm, &mut rooms, span)?);
    let before = host.resident_bytes();
    let nick = swarm.tag().nick(rooms.deafen_one(&mut swarm));
    sides[1].samples.push(measure(&host, &mut swarm, &mut rooms, span)?);
    comparison.bar.inc(1);
    wait_until_cut_off(&mut swarm, &mut rooms)?;
    let mut notes = Vec::from_iter(quotients(&sides[0], &sides[1]));
    notes.extend(cut_off_notes(&host, rooms.departures() > 0, &nick)?);
    if let Some((before, peak)) = before.zip(host.peak_bytes()) {
        let grown = peak.saturating_sub(before);
        notes.push(format!("memory grew by {} bytes at most", whole(grown as f64)));
        let max = Limits::default().backlog_bytes_max as f64 * BACKLOG_GROWTH;
        if options.connect.is_none() && grown as f64 > max {
            let what = format!("memory grew by {grown} bytes, may by {}", whole(max));
            return Err(Fault::Broken { what });
        }
    }
    let heading = Heading::deliveries(format!("{shape}, {rate} a second, one never reads"));
    let figures = Figures::of(options, heading, sides.to_vec());
    Ok(Figures { notes, compares: false, ..figures })
}

/// Whether it was cut off, and what the log says of it.
///
/// # Errors
/// When the log does not name it.
fn cut_off_notes(host: &MeasuredHost, cut_off: bool, nick: &str) -> Result<Vec<String>, Fault> {
    let told = if cut_off { "it was cut off" } else { "it was not cut off by then" };
    let mut notes = vec![told.to_owned()];
    if let Some(log) = host.log().filter(|_| cut_off) {
        let line = log.lines().find(|line| line.contains("slow reader") && line.contains(nick));
        let Some(line) = line else {
            return Err(Fault::Broken { what: format!("the log does not name {nick}") });
        };
        notes.push(format!("the log: {line}"));
    }
    Ok(notes)
}

/// Lets the members talk until they hear that one has left. The one that never reads does not
/// hear of its own end: that stands behind what it does not read.
fn wait_until_cut_off(swarm: &mut Swarm, work: &mut TalkingRooms) -> Result<(), Fault> {
    let seconds = BACKLOG_SOFT_TIME_S + 5;
    let end = swarm.now() + nanoseconds(Duration::from_secs(seconds));
    let now = swarm.now();
    work.begin(now, swarm.sends());
    while work.departures() == 0 && !is_interrupted() {
        let now = swarm.now();
        if now > end {
            return Err(Fault::NotCutOff { seconds });
        }
        run_until(swarm, work, now + nanoseconds(Duration::from_millis(100)))?;
    }
    finish(swarm, work)
}
