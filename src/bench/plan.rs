//! What a run measures, and in which order.

mod beside;

use std::fs::File;
use std::io::{IsTerminal as _, Seek as _, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

use super::Fault;
use super::host::{Host, Kind, need_descriptors, pin};
use super::measure::{
    INTERRUPTED, Sample, Workload as Work, finish, is_interrupted, measure, nanoseconds, run_until,
};
use super::options::{Options, Workload};
use super::over::Mix;
use super::report::{Figures, Side, span, whole};
use super::rude;
use super::swarm::Swarm;
use super::syscalls::{Calls, Counting, describe};
use super::workload::churn::Churn;
use super::workload::filling::fill;
use super::workload::idle::rest;
use super::workload::ping::Ping;
use super::workload::private::Private;
use super::workload::rooms::{Pacing, Rooms, Shape};
use super::workload::rude::misbehave;
use crate::net::is_ignored;

/// Above so many connections the two servers of a comparison are not filled at the same time:
/// common limits of open files are 20,000.
const CONNECTIONS_AT_ONCE: usize = 16_000;

/// What one that never reads may cost, in parts of `limits.backlog`.
const BACKLOG_GROWTH: f64 = 1.1;

/// Measures what the options ask for and prints it to `out`.
///
/// # Errors
/// The first thing that went wrong; what was measured before it has been printed.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), Fault> {
    options.check()?;
    let json_file = options.json.as_deref().map(open_json).transpose()?;
    take_signals()?;
    pin(0);
    let mut plan = Plan { options, bar: bar(options), out, found: Vec::new() };
    let result = match plan.run() {
        // What there was is printed.
        Err(Fault::Interrupted) if !plan.found.is_empty() => Ok(()),
        result => result,
    };
    plan.bar.finish_and_clear();
    let found: Vec<Value> = plan.found;
    if let Some(mut file) = json_file {
        let all = json!({ "version": env!("CARGO_PKG_VERSION"), "workloads": found });
        empty(&mut file)
            .and_then(|()| file.write_all(format!("{all:#}\n").as_bytes()))
            .map_err(|source| Fault::system("write the --json file", source))?;
    }
    result
}

/// Opens the file of the figures before anything is measured in vain. What is in it stays until
/// there are others.
fn open_json(path: &Path) -> Result<File, Fault> {
    let opened = File::options().write(true).create(true).truncate(false).open(path);
    opened.map_err(|source| Fault::Usage { text: format!("--json {}: {source}", path.display()) })
}

/// A pipe or a device has nothing to be emptied of.
fn empty(file: &mut File) -> std::io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    file.rewind()?;
    file.set_len(0)
}

/// What ends a run early: what there is is printed, and the servers are ended. Who types Ctrl-C
/// again does not want to wait for that. What was ignored from the start stays so, as under nohup.
fn take_signals() -> Result<(), Fault> {
    let fault = |source| Fault::system("take signals", source);
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|own| !is_ignored(*own)) {
        let interrupted = || Arc::clone(&INTERRUPTED);
        if signal == SIGINT {
            flag::register_conditional_shutdown(signal, 128 + signal, interrupted())
                .map_err(fault)?;
        }
        flag::register(signal, interrupted()).map_err(fault)?;
    }
    Ok(())
}

/// How many servers are measured.
fn servers(options: &Options) -> usize {
    let others = [options.against.is_some(), options.beside_stanzas, options.floor];
    1 + others.into_iter().filter(|&other| other).count()
}

/// A bar on a terminal, none in a pipe.
fn bar(options: &Options) -> ProgressBar {
    let sides = servers(options);
    let rows = if options.workload == Workload::Suite { SUITE.len() } else { 1 };
    let bar = ProgressBar::new((rows * sides * options.rounds()) as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// A line of the suite.
type Row = (Workload, &'static [(&'static str, usize)]);

/// The comparisons that the manual has figures of.
const SUITE: [Row; 12] = [
    (Workload::Fanout, &[("rooms", 10), ("members", 10)]),
    (Workload::Fanout, &[("rooms", 1), ("members", 100)]),
    (Workload::Fanout, &[("rooms", 1), ("members", 1_000)]),
    (Workload::Fanout, &[("rooms", 1), ("members", 5_000)]),
    (Workload::Fanout, &[("rooms", 100), ("members", 100)]),
    (Workload::Fanout, &[("rooms", 1), ("members", 100), ("window", 1)]),
    (Workload::Rate, &[("rooms", 1), ("members", 100), ("rate", 1_000)]),
    (Workload::Private, &[("connections", 100)]),
    (Workload::Private, &[("connections", 1_000)]),
    (Workload::Ping, &[("connections", 1)]),
    (Workload::Ping, &[("connections", 100)]),
    (Workload::Churn, &[]),
];

struct Plan<'a> {
    options: &'a Options,
    bar: ProgressBar,
    out: &'a mut dyn Write,
    found: Vec<Value>,
}

/// One server with the connections to it.
struct Place {
    host: Host,
    swarm: Swarm,
}

impl Place {
    fn new(host: Host, mix: &Mix) -> Result<Self, Fault> {
        let swarm = Swarm::new(host.way(mix)?, mix.clone())?;
        Ok(Self { host, swarm })
    }
}

impl Plan<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        if self.options.workload == Workload::Rude {
            let (bar, out) = (&self.bar, &mut self.out);
            return rude::run(self.options, &mut self.found, |line| {
                bar.suspend(|| {
                    // That nobody reads any more is no error of ours.
                    let _ = writeln!(out, "{line}");
                    let _ = out.flush();
                });
            });
        }
        if self.options.workload != Workload::Suite {
            let figures = self.one(self.options)?;
            return self.tell(&figures, true);
        }
        for (workload, sizes) in SUITE {
            let mut options = Options { workload, ..self.options.clone() };
            for &(name, value) in sizes {
                match name {
                    "rooms" => options.rooms = options.rooms.or(Some(value)),
                    "members" => options.members = options.members.or(Some(value)),
                    "window" => options.window = options.window.or(Some(value)),
                    "rate" => options.rate = options.rate.or(Some(value as u64)),
                    _ => options.connections = options.connections.or(Some(value)),
                }
            }
            let figures = self.one(&options)?;
            self.tell(&figures, false)?;
            if is_interrupted() {
                break;
            }
        }
        Ok(())
    }

    fn tell(&mut self, figures: &Figures, alone: bool) -> Result<(), Fault> {
        let mut text = figures.table();
        if alone && (self.options.plot || std::io::stdout().is_terminal()) {
            text.extend(figures.plot());
        }
        self.found.push(figures.json());
        let out = &mut self.out;
        self.bar.suspend(|| {
            // That nobody reads any more is no error of ours.
            let _ = writeln!(out, "{text}");
            let _ = out.flush();
        });
        Ok(())
    }

    fn one(&self, options: &Options) -> Result<Figures, Fault> {
        self.bar.set_message(format!("{:?}", options.workload).to_lowercase());
        let mut figures = match options.workload {
            // Those that attack are no comparison of servers: `run` has them.
            Workload::Suite | Workload::Rude | Workload::Fanout => self.fanout(options),
            Workload::Rate => self.rate(options),
            Workload::Private => self.private(options),
            Workload::Ping => self.ping(options),
            Workload::Churn => self.churn(options),
            Workload::Join => self.join(options),
            Workload::Idle => self.idle(options),
            Workload::Slow => self.slow(options),
            Workload::Noisy => self.noisy(options),
            Workload::Logins => self.logins(options),
            Workload::Plugins => self.plugins(options),
        }?;
        if !options.over.is_plain() {
            figures.shape += &format!(", over {}", options.over);
        }
        figures.more.push(("over", options.over.to_string().into()));
        Ok(figures)
    }

    fn fanout(&self, options: &Options) -> Result<Figures, Fault> {
        let shape = shape(options, 1, 100, 100);
        let window = options.window.unwrap_or(64);
        let make = |swarm: &mut Swarm| Rooms::enter(swarm, shape, Pacing::Window(window));
        let mut figures = self.compare(options, shape.rooms * shape.members, make)?;
        figures.workload = "fanout";
        figures.shape = format!("{}, {window} in flight in each", described(shape));
        Ok(figures)
    }

    fn rate(&self, options: &Options) -> Result<Figures, Fault> {
        let shape = shape(options, 1, 100, 100);
        let rate = options.rate.unwrap_or(1_000).max(1);
        let pacing = Pacing::Interval(1_000_000_000 / rate);
        let make = |swarm: &mut Swarm| Rooms::enter(swarm, shape, pacing);
        let mut figures = self.compare(options, shape.rooms * shape.members, make)?;
        figures.workload = "rate";
        figures.shape = format!("{}, {} messages a second", described(shape), whole(rate as f64));
        figures.notes.extend(lag(&figures.sides));
        Ok(figures)
    }

    fn private(&self, options: &Options) -> Result<Figures, Fault> {
        let pairs = options.connections.or(dealt(options, 2)).unwrap_or(100);
        let body = options.body.unwrap_or(100);
        let make = |swarm: &mut Swarm| Private::enter(swarm, pairs, body);
        let mut figures = self.compare(options, pairs * 2, make)?;
        figures.workload = "private";
        figures.shape = format!("{pairs} pairs, bodies of {body} bytes, 1 in flight in each");
        Ok(figures)
    }

    fn ping(&self, options: &Options) -> Result<Figures, Fault> {
        let connections = options.connections.or(dealt(options, 1)).unwrap_or(100);
        let mut figures =
            self.compare(options, connections, |swarm| Ping::enter(swarm, connections))?;
        figures.workload = "ping";
        figures.unit = "pongs";
        figures.shape = format!("{connections} connections, 1 in flight on each");
        Ok(figures)
    }

    fn churn(&self, options: &Options) -> Result<Figures, Fault> {
        let sessions = options.connections.or(dealt(options, 1)).unwrap_or(32);
        let mut figures =
            self.compare(options, sessions, |swarm| Ok(Churn::new(swarm, sessions)))?;
        figures.workload = "churn";
        figures.unit = "sessions";
        figures.shape = format!("connect, log in, join, leave, quit; {sessions} sessions at once");
        // Nobody stays whose memory could be told.
        for side in &mut figures.sides {
            side.resident_bytes = None;
        }
        Ok(figures)
    }

    /// The servers of a run, each on its core.
    fn places(&self, options: &Options, connections: usize) -> Result<Vec<Place>, Fault> {
        let at_once = connections * servers(options);
        let needed = if at_once > CONNECTIONS_AT_ONCE { connections } else { at_once };
        need_descriptors(needed)?;
        let program = options.server.as_deref();
        let server = |mix: &Mix| match &options.connect {
            Some(place) => Host::running(place, options.pid),
            None => Host::start(Kind::Server { unlimited: true }, mix, program),
        };
        let (over, plain) = (&options.over, Mix::default());
        let mut places = vec![Place::new(server(over)?, over)?];
        if let Some(path) = &options.against {
            let build = Kind::Build(path.clone());
            places.push(Place::new(Host::start(build, over, program)?, over)?);
        }
        if options.beside_stanzas {
            let mut host = server(&plain)?;
            host.name = "stanzas";
            places.push(Place::new(host, &plain)?);
        }
        if options.floor {
            places.push(Place::new(Host::start(Kind::Floor, &plain, program)?, &plain)?);
        }
        Ok(places)
    }

    /// Measures a workload on the server and, alternately, on the floor.
    fn compare<W: Work>(
        &self,
        options: &Options,
        connections: usize,
        make: impl Fn(&mut Swarm) -> Result<W, Fault>,
    ) -> Result<Figures, Fault> {
        let mut places = self.places(options, connections)?;
        let fresh = connections * places.len() > CONNECTIONS_AT_ONCE;
        let mut sides: Vec<Side> = places.iter().map(|place| side(&place.host)).collect();
        let mut works: Vec<Option<W>> = places.iter().map(|_| None).collect();
        let span = Duration::from_secs_f64(options.seconds());
        for _ in 0..options.rounds() {
            let all = places.iter_mut().zip(&mut works);
            let more = round(&mut sides, all, |(place, work), side| {
                if work.is_none() {
                    let empty = place.host.resident_bytes();
                    *work = Some(make(&mut place.swarm)?);
                    let full = place.host.resident_bytes();
                    side.resident_bytes = empty.zip(full).map(|(empty, full)| {
                        full.saturating_sub(empty) / (connections as u64).max(1)
                    });
                }
                if let Some(at_work) = work {
                    side.samples.push(measure(&place.host, &mut place.swarm, at_work, span)?);
                }
                if fresh {
                    *work = None;
                    place.swarm.close_all();
                    place.host.wait_until_calm();
                }
                self.bar.inc(1);
                Ok(())
            })?;
            if !more {
                break;
            }
        }
        let mut figures = figures(sides, "deliveries");
        if options.syscalls && !is_interrupted() {
            for (place, work) in places.iter_mut().zip(&mut works) {
                let work = match work {
                    Some(work) => work,
                    None => work.insert(make(&mut place.swarm)?),
                };
                let (calls, count) = count_calls(place, work, options.seconds())?;
                figures.notes.push(format!("{}: {}", place.host.name, describe(&calls, count)));
                figures.more.push(("system_calls", json!({ "calls": calls, "count": count })));
            }
        }
        Ok(figures)
    }

    fn join(&self, options: &Options) -> Result<Figures, Fault> {
        let members = options.members.or(dealt(options, 1)).unwrap_or(100);
        let at_once = options.at_once.unwrap_or(1);
        let mut places = self.places(options, members)?;
        let mut sides: Vec<Side> = places.iter().map(|place| side(&place.host)).collect();
        for _ in 0..options.rounds() {
            let more = round(&mut sides, places.iter_mut(), |place, side| {
                side.samples.push(fill(&place.host, &mut place.swarm, members, at_once)?);
                place.swarm.close_all();
                place.host.wait_until_calm();
                self.bar.inc(1);
                Ok(())
            })?;
            if !more {
                break;
            }
        }
        let mut figures = figures(sides, "joins");
        figures.workload = "join";
        figures.shape = format!("a room fills with {members}, {at_once} at once");
        let bytes = figures.sides[0].median(|sample| Some(sample.bytes_in as f64));
        if let Some(bytes) = bytes {
            figures.notes.push(format!("{} bytes of presence", whole(bytes)));
        }
        Ok(figures)
    }

    fn idle(&self, options: &Options) -> Result<Figures, Fault> {
        let sessions = options.connections.or(dealt(options, 1)).unwrap_or(1_000);
        let members = options.members.unwrap_or(10);
        let mut places = self.places(options, sessions)?;
        let mut sides = Vec::new();
        let mut notes = Vec::new();
        let mut more = Vec::new();
        for place in &mut places {
            let span = Duration::from_secs_f64(options.seconds());
            let idle = match rest(&place.host, &mut place.swarm, sessions, members, span) {
                // What there is is printed.
                Err(Fault::Interrupted) if !sides.is_empty() => break,
                result => result?,
            };
            place.swarm.close_all();
            place.host.wait_until_calm();
            let after = place.host.resident_bytes();
            sides.push(Side { resident_bytes: idle.bytes_per_session(), ..side(&place.host) });
            notes.extend(
                idle_notes(&idle, after).map(|note| format!("{}: {note}", place.host.name)),
            );
            more.push((
                "resident_bytes",
                json!({
                    "empty_and_full": idle.resident_bytes,
                    "after": after,
                    "added": idle.shares.iter().map(|&(over, sessions, bytes)| json!({
                        "over": over.name(), "sessions": sessions, "bytes": bytes,
                    })).collect::<Vec<_>>(),
                }),
            ));
            self.bar.inc(1);
        }
        let figures = figures(sides, "messages");
        let shape = format!("{sessions} sessions in rooms of {members}");
        Ok(Figures { workload: "idle", shape, notes, more, ..figures })
    }

    fn slow(&self, options: &Options) -> Result<Figures, Fault> {
        let shape = Shape { rooms: 1, ..shape(options, 1, 100, 10_000) };
        let rate = options.rate.unwrap_or(200).max(1);
        let mut place = self.guarded(options, shape.members)?;
        let Place { host, swarm } = &mut place;
        let mut rooms = Rooms::enter(swarm, shape, Pacing::Interval(1_000_000_000 / rate))?;
        let span_s = Duration::from_secs_f64(options.seconds());
        let mut sides = [named("alone"), named("among")];
        sides[0].samples.push(measure(host, swarm, &mut rooms, span_s)?);
        let before = host.resident_bytes();
        let nick = swarm.tag().nick(rooms.deafen_one(swarm));
        sides[1].samples.push(measure(host, swarm, &mut rooms, span_s)?);
        self.bar.inc(1);
        wait_until_cut_off(swarm, &mut rooms)?;
        let cut_off = rooms.departures() > 0;
        let told = if cut_off { "it was cut off" } else { "it was not cut off by then" };
        let mut notes = Vec::from_iter(quotients(&sides[0], &sides[1]));
        notes.push(told.to_owned());
        if let Some(log) = host.log().filter(|_| cut_off) {
            let line =
                log.lines().find(|line| line.contains("slow reader") && line.contains(&nick));
            let Some(line) = line else {
                return Err(Fault::Broken { what: format!("the log does not name {nick}") });
            };
            notes.push(format!("the log: {line}"));
        }
        if let Some((before, peak)) = before.zip(host.peak_bytes()) {
            let grown = peak.saturating_sub(before);
            notes.push(format!("memory grew by {} bytes at most", whole(grown as f64)));
            let max = crate::limits::Limits::default().backlog_bytes_max as f64 * BACKLOG_GROWTH;
            if options.connect.is_none() && grown as f64 > max {
                let what = format!("memory grew by {grown} bytes, may by {}", whole(max));
                return Err(Fault::Broken { what });
            }
        }
        let sides = sides.to_vec();
        let shape = format!("{}, {rate} a second, one never reads", described(shape));
        Ok(Figures {
            workload: "slow",
            shape,
            notes,
            compares: false,
            ..figures(sides, "deliveries")
        })
    }

    fn noisy(&self, options: &Options) -> Result<Figures, Fault> {
        let shape = shape(options, 10, 10, 100);
        let rate = options.rate.unwrap_or(500).max(1);
        let mut place = self.guarded(options, shape.rooms * shape.members)?;
        let Place { host, swarm } = &mut place;
        let mut rooms = Rooms::enter(swarm, shape, Pacing::Interval(1_000_000_000 / rate))?;
        let span_s = Duration::from_secs_f64(options.seconds());
        let (way, tag) = (swarm.way(), swarm.tag());
        let mut sides = [named("alone"), named("among")];
        let mut cut_off = 0;
        for _ in 0..options.rounds() {
            sides[0].samples.push(measure(host, swarm, &mut rooms, span_s)?);
            let stop = AtomicBool::new(false);
            let (among, rude) = std::thread::scope(|scope| {
                let (way, mix) = (way.clone(), options.over.clone());
                let rude = scope.spawn(|| misbehave(way, mix, &tag, &stop));
                let among = measure(host, swarm, &mut rooms, span_s);
                stop.store(true, Ordering::Relaxed);
                (among, rude.join())
            });
            sides[1].samples.push(among?);
            cut_off += rude.unwrap_or(Ok(0))?;
            self.bar.inc(1);
            if is_interrupted() {
                break;
            }
        }
        let mut notes = Vec::from_iter(quotients(&sides[0], &sides[1]));
        notes.push(format!("{cut_off} times one of the rude was cut off and came again"));
        let sides = sides.to_vec();
        notes.extend(lag(&sides));
        let shape = format!("{}, {rate} messages a second in all", described(shape));
        Ok(Figures {
            workload: "noisy",
            shape,
            notes,
            compares: false,
            ..figures(sides, "deliveries")
        })
    }

    /// One server with the limits that it has by default: they are what protects the polite.
    fn guarded(&self, options: &Options, connections: usize) -> Result<Place, Fault> {
        need_descriptors(connections)?;
        let host = match &options.connect {
            Some(place) => Host::running(place, options.pid)?,
            None => {
                let server = Kind::Server { unlimited: false };
                Host::start(server, &options.over, options.server.as_deref())?
            }
        };
        Place::new(host, &options.over)
    }
}

/// Measures each side once; whether there is to be another round. An end that comes before its time
/// leaves what there is.
fn round<Place>(
    sides: &mut [Side],
    places: impl Iterator<Item = Place>,
    mut measure: impl FnMut(Place, &mut Side) -> Result<(), Fault>,
) -> Result<bool, Fault> {
    for (index, place) in places.enumerate() {
        match measure(place, &mut sides[index]) {
            Err(Fault::Interrupted) if !sides[0].samples.is_empty() => return Ok(false),
            result => result?,
        }
    }
    Ok(!is_interrupted())
}

/// Lets the members talk until they hear that one has left. The one that never reads does not
/// hear of its own end: that stands behind what it does not read.
fn wait_until_cut_off(swarm: &mut Swarm, work: &mut Rooms) -> Result<(), Fault> {
    let seconds = crate::limits::BACKLOG_SOFT_TIME_S + 5;
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

/// Runs a workload from its start to its end under strace.
fn count_calls(
    place: &mut Place,
    work: &mut impl Work,
    seconds: f64,
) -> Result<(Calls, u64), Fault> {
    let Some(pid) = place.host.pid() else {
        let what = "whose system calls? --pid names the server's process".to_owned();
        return Err(Fault::Broken { what });
    };
    let before = work.tally().count;
    let counting = Counting::begin(pid)?;
    let now = place.swarm.now();
    work.begin(now, place.swarm.sends());
    let span = nanoseconds(Duration::from_secs_f64(seconds));
    run_until(&mut place.swarm, work, now + span)?;
    finish(&mut place.swarm, work)?;
    Ok((counting.end()?, work.tally().count - before))
}

fn figures(sides: Vec<Side>, unit: &'static str) -> Figures {
    let (shape, notes, more) = (String::new(), Vec::new(), Vec::new());
    Figures { workload: "", shape, unit, sides, compares: true, notes, more }
}

fn side(host: &Host) -> Side {
    Side { name: host.name.to_owned(), samples: Vec::new(), resident_bytes: None }
}

fn named(name: &str) -> Side {
    Side { name: name.to_owned(), samples: Vec::new(), resident_bytes: None }
}

/// The connections that `--over` counts, by so many, if it counts any.
fn dealt(options: &Options, by: usize) -> Option<usize> {
    options.over.connections().map(|count| count.div_ceil(by))
}

fn shape(options: &Options, rooms: usize, members: usize, body_bytes: usize) -> Shape {
    let rooms = options.rooms.unwrap_or(rooms).max(1);
    Shape {
        rooms,
        members: options.members.or(dealt(options, rooms)).unwrap_or(members).max(2),
        body_bytes: options.body.unwrap_or(body_bytes),
    }
}

fn described(shape: Shape) -> String {
    let Shape { rooms, members, body_bytes } = shape;
    format!("{rooms} × {members} members, bodies of {body_bytes} bytes")
}

/// How late the generator was itself: a latency below that says nothing of the server.
fn lag(sides: &[Side]) -> Option<String> {
    let lag =
        sides.iter().flat_map(|side| &side.samples).map(|sample| sample.tally.lag_ns).max()?;
    Some(format!("the generator sent at most {} late", span(Duration::from_nanos(lag))))
}

/// How much longer the polite wait among the rude, by the medians of the rounds: the last
/// thousandth of a single one is the machine's mood.
fn quotients(alone: &Side, among: &Side) -> Option<String> {
    // An early end can leave nothing to compare.
    if alone.latency().is_empty() || among.latency().is_empty() {
        return None;
    }
    let quotient = |percent: f64| {
        let value = |side: &Side| {
            let at = |sample: &Sample| sample.tally.latency.value_at_percentile(percent) as f64;
            side.median(|sample| Some(at(sample))).unwrap_or_default()
        };
        value(among) / value(alone).max(1.0)
    };
    Some(format!(
        "p99 is {:.2} times, p99.9 {:.2} times what it is alone",
        quotient(99.0),
        quotient(99.9)
    ))
}

fn idle_notes(
    idle: &super::workload::idle::Idle,
    after: Option<u64>,
) -> impl Iterator<Item = String> + use<> {
    let mib = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let memory = idle.resident_bytes.zip(idle.bytes_per_session()).zip(after).map(
        |(((empty, full), each), after)| {
            format!(
                "{each} resident bytes a session; {} empty, {} full, {} when they had gone",
                mib(empty),
                mib(full),
                mib(after)
            )
        },
    );
    let processor = idle
        .processor
        .map(|time| format!("{} of processor time in {} of rest", span(time), span(idle.span)));
    let entrance = Some(format!("they came in within {}", span(idle.entrance)));
    // One alone has its figure above.
    let shares = if idle.shares.len() > 1 { &idle.shares[..] } else { &[] };
    let shares: Vec<String> = shares
        .iter()
        .map(|&(over, sessions, bytes)| {
            let each = whole(bytes as f64 / (sessions as f64).max(1.0));
            format!("{each} resident bytes a session of {sessions} over {}", over.name())
        })
        .collect();
    [memory, processor, entrance].into_iter().flatten().chain(shares)
}
