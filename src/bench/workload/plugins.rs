//! Members of rooms talk on a server whose plugins misbehave, and on one that has none.

use std::time::Duration;

use serde_json::json;

use super::rooms::{Pacing, Shape, TalkingRooms};
use super::slow::BACKLOG_GROWTH;
use crate::bench::comparison::{Comparison, Subject};
use crate::bench::cores::need_descriptors;
use crate::bench::error::Fault;
use crate::bench::host::{MeasuredHost, ServerKind};
use crate::bench::interrupt::is_interrupted;
use crate::bench::measure::measure;
use crate::bench::notes::{compared, cores_note, lag};
use crate::bench::report::{Figures, Heading, Side, whole};
use crate::limits::Limits;

/// What a plugin does first: it hears whatever is said and who comes and goes.
macro_rules! registered {
    ($script:literal) => {
        concat!(
            "printf '<register hooks=\"onMessage onClientJoinRoom onClientLeaveRoom\" />\\000'\n",
            $script
        )
    };
}

/// Plugins that misbehave, with their scripts.
const PLUGINS: [(&str, &str); 4] = [
    ("sleeps", registered!("while :; do sleep 1; head -c 4096 >/dev/null; done")),
    ("spins", registered!("while :; do :; done")),
    ("floods", registered!("yes '<log level=\"debug\">out of my way</log>' | tr '\\n' '\\000'")),
    ("deaf", registered!("exec sleep 1000000")),
];

/// What may wait for a plugin that does not read, in parts of `limits.backlog`: so much waits,
/// and as much again while it is put together.
const PLUGIN_BACKLOGS: f64 = 2.0;

/// Measures the rooms of a server with the plugins, beside those of one without.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn plugins(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let shape = Shape::asked(options, Shape { rooms: 10, members: 10, body_bytes: 100 });
    let rate = options.rate.unwrap_or(500).max(1);
    need_descriptors(2 * shape.rooms * shape.members)?;
    let (over, server) = (&options.over, options.server.as_deref());
    let start = |kind| Subject::new(MeasuredHost::start(kind, over, server)?, over);
    let mut subjects =
        [start(ServerKind::Server { unlimited: false })?, start(ServerKind::Plugins(&PLUGINS))?];
    let mut sides = [Side::named("alone"), Side::named("beside")];
    let mut talks = Vec::new();
    let mut before = Vec::new();
    for Subject { host, swarm } in &mut subjects {
        talks.push(TalkingRooms::enter(swarm, shape, Pacing::a_second(rate))?);
        before.push(host.resident_bytes());
    }
    let on_one_core = subjects[1].host.is_on_one_core();
    let span = Duration::from_secs_f64(options.seconds());
    for _ in 0..options.rounds() {
        for ((subject, talk), side) in subjects.iter_mut().zip(&mut talks).zip(&mut sides) {
            side.samples.push(measure(&subject.host, &mut subject.swarm, talk, span)?);
        }
        comparison.bar.inc(1);
        if is_interrupted() {
            break;
        }
    }
    let mut notes = compared(&sides);
    let grown: Option<Vec<u64>> = subjects
        .iter()
        .zip(before)
        .map(|(subject, before)| Some(subject.host.peak_bytes()?.saturating_sub(before?)))
        .collect();
    if let Some([alone, beside]) = grown.as_deref() {
        notes.push(format!(
            "memory grew by {} bytes at most, without plugins by {}",
            whole(*beside as f64),
            whole(*alone as f64)
        ));
        let backlog = Limits::default().backlog_bytes_max as f64;
        let max = backlog * PLUGIN_BACKLOGS * PLUGINS.len() as f64 * BACKLOG_GROWTH;
        if *beside as f64 > max {
            let what = format!("memory grew by {beside} bytes, may by {}", whole(max));
            return Err(Fault::Broken { what });
        }
    }
    notes.push(cores_note(on_one_core, "its plugins"));
    notes.extend(lag(&sides));
    let names: Vec<&str> = PLUGINS.iter().map(|(name, _)| *name).collect();
    let more = vec![
        ("plugins", json!(names)),
        ("one_core", on_one_core.into()),
        ("memory_grown_bytes", json!(grown)),
    ];
    // A server that stops waits for those who don't go.
    for subject in &mut subjects {
        subject.swarm.close_all();
    }
    let shape = format!("{}, {rate} messages a second in all", shape);
    let figures = Figures::of(options, Heading::deliveries(shape), sides.to_vec());
    Ok(Figures { notes, more, compares: false, ..figures })
}
