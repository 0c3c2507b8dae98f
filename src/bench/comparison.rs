//! Measures servers in turns, with the same workload: the server, and whatever it is compared with.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;

use super::cores::need_descriptors;
use super::error::Fault;
use super::host::{MeasuredHost, ServerKind};
use super::interrupt::is_interrupted;
use super::measure::{Load, finish, measure, run_until};
use super::options::Options;
use super::over::Mix;
use super::report::{Figures, Heading, Side};
use super::swarm::{Swarm, nanoseconds};
use super::syscalls::{Calls, Counting, describe};

/// Above so many connections the two servers of a comparison are not filled at the same time:
/// common limits of open files are 20,000.
const CONNECTIONS_AT_ONCE: usize = 16_000;

/// One server with the connections to it.
pub(super) struct Subject {
    pub(super) host: MeasuredHost,
    pub(super) swarm: Swarm,
}

impl Subject {
    /// Its row of the table, with nothing measured yet.
    pub(super) fn side(&self) -> Side {
        Side::named(self.host.name)
    }

    /// A server, and a swarm that speaks to it what `mix` says.
    ///
    /// # Errors
    /// When the system has no poll for us, or there is no TLS for those that want it.
    pub(super) fn new(host: MeasuredHost, mix: &Mix) -> Result<Self, Fault> {
        let swarm = Swarm::new(host.way(mix)?, mix.clone())?;
        Ok(Self { host, swarm })
    }
}

/// One measurement of a run: what is asked for, and where it is told how far it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison<'a> {
    pub(super) options: &'a Options,
    pub(super) bar: &'a ProgressBar,
}

impl Comparison<'_> {
    /// The servers of a run, each on its core.
    ///
    /// # Errors
    /// When one does not start, or can't have so many connections.
    pub(super) fn subjects(&self, connections: usize) -> Result<Vec<Subject>, Fault> {
        let options = self.options;
        let at_once = connections * self.options.servers();
        let needed = if at_once > CONNECTIONS_AT_ONCE { connections } else { at_once };
        need_descriptors(needed)?;
        let program = options.server.as_deref();
        let server = |mix: &Mix| match &options.connect {
            Some(place) => MeasuredHost::running(place, options.pid),
            None => MeasuredHost::start(ServerKind::Server { unlimited: true }, mix, program),
        };
        let (over, plain) = (&options.over, Mix::default());
        let mut subjects = vec![Subject::new(server(over)?, over)?];
        if let Some(path) = &options.against {
            let build = ServerKind::Build(path.clone());
            subjects.push(Subject::new(MeasuredHost::start(build, over, program)?, over)?);
        }
        if options.beside_stanzas {
            let mut host = server(&plain)?;
            host.name = "stanzas";
            subjects.push(Subject::new(host, &plain)?);
        }
        if options.floor {
            subjects.push(Subject::new(
                MeasuredHost::start(ServerKind::Floor, &plain, program)?,
                &plain,
            )?);
        }
        Ok(subjects)
    }

    /// Measures a workload on the server and, alternately, on the floor.
    /// `make` lets so many `connections` in.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub(super) fn compare<W: Load>(
        &self,
        heading: Heading,
        connections: usize,
        make: impl Fn(&mut Swarm) -> Result<W, Fault>,
    ) -> Result<Figures, Fault> {
        let options = self.options;
        let mut subjects = self.subjects(connections)?;
        let fresh = connections * subjects.len() > CONNECTIONS_AT_ONCE;
        let mut sides: Vec<Side> = subjects.iter().map(|subject| subject.side()).collect();
        let mut works: Vec<Option<W>> = subjects.iter().map(|_| None).collect();
        let span = Duration::from_secs_f64(options.seconds());
        for _ in 0..options.rounds() {
            let all = subjects.iter_mut().zip(&mut works);
            let more = round(&mut sides, all, |(subject, work), side| {
                if work.is_none() {
                    let empty = subject.host.resident_bytes();
                    *work = Some(make(&mut subject.swarm)?);
                    let full = subject.host.resident_bytes();
                    side.resident_bytes = empty.zip(full).map(|(empty, full)| {
                        full.saturating_sub(empty) / (connections as u64).max(1)
                    });
                }
                if let Some(at_work) = work {
                    side.samples.push(measure(&subject.host, &mut subject.swarm, at_work, span)?);
                }
                if fresh {
                    *work = None;
                    subject.swarm.close_all();
                    subject.host.wait_until_calm();
                }
                self.bar.inc(1);
                Ok(())
            })?;
            if !more {
                break;
            }
        }
        let mut figures = Figures::of(options, heading, sides);
        if options.syscalls && !is_interrupted() {
            for (subject, work) in subjects.iter_mut().zip(&mut works) {
                let work = match work {
                    Some(work) => work,
                    None => work.insert(make(&mut subject.swarm)?),
                };
                let (calls, count) = count_calls(subject, work, options.seconds())?;
                figures.notes.push(format!("{}: {}", subject.host.name, describe(&calls, count)));
                figures.more.push(("system_calls", json!({ "calls": calls, "count": count })));
            }
        }
        Ok(figures)
    }

    /// One server with the limits that it has by default: they are what protects the polite.
    ///
    /// # Errors
    /// When it does not start, or can't have so many connections.
    pub(super) fn guarded(&self, connections: usize) -> Result<Subject, Fault> {
        let options = self.options;
        need_descriptors(connections)?;
        let host = match &options.connect {
            Some(place) => MeasuredHost::running(place, options.pid)?,
            None => {
                let server = ServerKind::Server { unlimited: false };
                MeasuredHost::start(server, &options.over, options.server.as_deref())?
            }
        };
        Subject::new(host, &options.over)
    }
}

/// Measures each side once; whether there is to be another round. An end that comes before its time
/// leaves what there is.
///
/// # Errors
/// What a measurement found wrong.
pub(super) fn round<Subject>(
    sides: &mut [Side],
    subjects: impl Iterator<Item = Subject>,
    mut measure: impl FnMut(Subject, &mut Side) -> Result<(), Fault>,
) -> Result<bool, Fault> {
    for (index, subject) in subjects.enumerate() {
        match measure(subject, &mut sides[index]) {
            Err(Fault::Interrupted) if !sides[0].samples.is_empty() => return Ok(false),
            result => result?,
        }
    }
    Ok(!is_interrupted())
}

/// Runs a workload from its start to its end under strace.
fn count_calls(
    subject: &mut Subject,
    work: &mut impl Load,
    seconds: f64,
) -> Result<(Calls, u64), Fault> {
    let Some(pid) = subject.host.pid() else {
        let what = "whose system calls? --pid names the server's process".to_owned();
        return Err(Fault::Broken { what });
    };
    let before = work.tally().count;
    let counting = Counting::begin(pid)?;
    let now = subject.swarm.now();
    work.begin(now, subject.swarm.sends());
    let span = nanoseconds(Duration::from_secs_f64(seconds));
    run_until(&mut subject.swarm, work, now + span)?;
    finish(&mut subject.swarm, work)?;
    Ok((counting.end()?, work.tally().count - before))
}
