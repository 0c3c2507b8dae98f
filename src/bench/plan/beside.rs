//! The workloads that hold a chat against the same chat with something beside it that the server
//! does in other processes: accounts that log in, plugins that misbehave.

use std::time::Duration;

use serde_json::json;

use super::{BACKLOG_GROWTH, Place, Plan, dealt, described, figures, lag, named, quotients, shape};
use crate::bench::Fault;
use crate::bench::entrance::{Tag, password};
use crate::bench::host::{Host, Kind, need_descriptors};
use crate::bench::measure::{Sample, histogram, is_interrupted, measure};
use crate::bench::options::Options;
use crate::bench::report::{Figures, Side, span, whole};
use crate::bench::workload::logins::{Logins, Outcome, nicks};
use crate::bench::workload::rooms::{Pacing, Rooms, Shape};

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

/// What has come of the logins of all rounds.
#[derive(Debug, Default)]
struct Logged {
    outcomes: Vec<Outcome>,
    /// Processor time of the process that checks them.
    worker: Duration,
}

impl Plan<'_> {
    pub(super) fn logins(&self, options: &Options) -> Result<Figures, Fault> {
        let members = options.members.unwrap_or(10).max(2);
        let sessions = options.connections.or(dealt(options, 1)).unwrap_or(1_000);
        let rooms = options.rooms.unwrap_or(sessions.div_ceil(members)).max(1);
        let shape = Shape { rooms, members, body_bytes: options.body.unwrap_or(100) };
        let rate = options.rate.unwrap_or(500).max(1);
        let sessions = rooms * members;
        // Besides, those that are logging in.
        need_descriptors(sessions + usize::try_from(options.logins()).unwrap_or(usize::MAX))?;
        let tag = Tag::new(0, true);
        let accounts = (0..sessions).map(|who| tag.nick(who)).chain(nicks(options.logins()));
        let accounts = accounts.map(|nick| {
            let password = password(&nick);
            (nick, password)
        });
        let accounts = Kind::Accounts(accounts.collect());
        let host = Host::start(accounts, &options.over, options.server.as_deref())?;
        let mut place = Place::new(host, &options.over)?;
        let Place { host, swarm } = &mut place;
        swarm.say_passwords();
        let mut talk = Rooms::enter(swarm, shape, Pacing::Interval(1_000_000_000 / rate))?;
        let on_one_core = host.is_on_one_core();
        let span = Duration::from_secs_f64(options.seconds());
        let mut sides = [named("alone"), named("beside")];
        let mut logged = Logged::default();
        for _ in 0..options.rounds() {
            sides[0].samples.push(measure(host, swarm, &mut talk, span)?);
            let before = host.children_time();
            let mut logins = Logins::beside(&mut talk, options.logins());
            sides[1].samples.push(measure(host, swarm, &mut logins, span)?);
            logged.outcomes.push(logins.outcome());
            logged.worker += host.children_time().saturating_sub(before);
            self.bar.inc(1);
            if is_interrupted() {
                break;
            }
        }
        let mut notes = compared(&sides);
        notes.extend(logged.notes());
        notes.push(cores_note(on_one_core, "the process that checks passwords"));
        notes.extend(lag(&sides));
        let logins = logged.json();
        // A server that stops waits for those who don't go.
        swarm.close_all();
        let shape = format!(
            "{}, {rate} messages a second in all, {} logins a second beside",
            described(shape),
            whole(options.logins() as f64)
        );
        let more = vec![("logins", logins), ("one_core", on_one_core.into())];
        let figures = figures(sides.to_vec(), "deliveries");
        Ok(Figures { workload: "logins", shape, notes, more, compares: false, ..figures })
    }

    pub(super) fn plugins(&self, options: &Options) -> Result<Figures, Fault> {
        let shape = shape(options, 10, 10, 100);
        let rate = options.rate.unwrap_or(500).max(1);
        need_descriptors(2 * shape.rooms * shape.members)?;
        let (over, server) = (&options.over, options.server.as_deref());
        let start = |kind| Place::new(Host::start(kind, over, server)?, over);
        let mut places =
            [start(Kind::Server { unlimited: false })?, start(Kind::Plugins(&PLUGINS))?];
        let mut sides = [named("alone"), named("beside")];
        let mut talks = Vec::new();
        let mut before = Vec::new();
        for Place { host, swarm } in &mut places {
            talks.push(Rooms::enter(swarm, shape, Pacing::Interval(1_000_000_000 / rate))?);
            before.push(host.resident_bytes());
        }
        let on_one_core = places[1].host.is_on_one_core();
        let span = Duration::from_secs_f64(options.seconds());
        for _ in 0..options.rounds() {
            for ((place, talk), side) in places.iter_mut().zip(&mut talks).zip(&mut sides) {
                side.samples.push(measure(&place.host, &mut place.swarm, talk, span)?);
            }
            self.bar.inc(1);
            if is_interrupted() {
                break;
            }
        }
        let mut notes = compared(&sides);
        let grown: Option<Vec<u64>> = places
            .iter()
            .zip(before)
            .map(|(place, before)| Some(place.host.peak_bytes()?.saturating_sub(before?)))
            .collect();
        if let Some([alone, beside]) = grown.as_deref() {
            notes.push(format!(
                "memory grew by {} bytes at most, without plugins by {}",
                whole(*beside as f64),
                whole(*alone as f64)
            ));
            let backlog = crate::limits::Limits::default().backlog_bytes_max as f64;
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
        for place in &mut places {
            place.swarm.close_all();
        }
        let shape = format!("{}, {rate} messages a second in all", described(shape));
        let figures = figures(sides.to_vec(), "deliveries");
        Ok(Figures { workload: "plugins", shape, notes, more, compares: false, ..figures })
    }
}

impl Logged {
    fn latency(&self) -> hdrhistogram::Histogram<u64> {
        let mut all = histogram();
        for outcome in &self.outcomes {
            // The bounds are the same.
            let _ = all.add(&outcome.tally.latency);
        }
        all
    }

    fn allowed(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.tally.count).sum()
    }

    fn refused(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.refused).sum()
    }

    fn per_second(&self) -> f64 {
        let span_ns: u64 = self.outcomes.iter().map(|outcome| outcome.span_ns).sum();
        (self.allowed() + self.refused()) as f64 / (span_ns as f64 / 1e9).max(1e-9)
    }

    fn notes(&self) -> [String; 2] {
        let latency = self.latency();
        let at = |percent| span(Duration::from_nanos(latency.value_at_percentile(percent)));
        let logins = self.allowed() + self.refused();
        let each = self.worker.checked_div(u32::try_from(logins).unwrap_or(u32::MAX));
        [
            format!(
                "{:.1} logins a second: {} were let in, p50 {}, p99 {}, p99.9 {}; {} with a wrong \
                 password were refused",
                self.per_second(),
                whole(self.allowed() as f64),
                at(50.0),
                at(99.0),
                at(99.9),
                whole(self.refused() as f64)
            ),
            format!(
                "the process that checks passwords computed {} for each of them",
                span(each.unwrap_or_default())
            ),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let latency = self.latency();
        let us = |percent| latency.value_at_percentile(percent) as f64 / 1e3;
        json!({
            "per_second": self.per_second(),
            "allowed": self.allowed(),
            "refused": self.refused(),
            "latency_us": { "p50": us(50.0), "p99": us(99.0), "p99.9": us(99.9) },
            "worker_processor_seconds": self.worker.as_secs_f64(),
        })
    }
}

/// How the chat's latency compares, and how much it differs between the rounds by itself.
fn compared(sides: &[Side; 2]) -> Vec<String> {
    let mut notes = Vec::from_iter(quotients(&sides[0], &sides[1]));
    let p99 = |sample: &Sample| sample.tally.latency.value_at_percentile(99.0);
    let range = |side: &Side| {
        let values = || side.samples.iter().map(p99);
        let shown = |value: Option<u64>| span(Duration::from_nanos(value.unwrap_or_default()));
        format!("{} to {}", shown(values().min()), shown(values().max()))
    };
    if sides[0].samples.len() > 1 {
        let [alone, beside] = [range(&sides[0]), range(&sides[1])];
        notes.push(format!("p99 in the rounds: alone {alone}, beside {beside}"));
    }
    notes
}

fn cores_note(on_one_core: bool, others: &str) -> String {
    if on_one_core {
        format!("the server and {others} had one core together")
    } else {
        format!("the server and {others} had several cores")
    }
}
