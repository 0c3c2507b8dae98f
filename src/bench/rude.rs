//! `palabre-bench rude`: 100 polite clients who talk, first alone and then beside an attack, one
//! attack after the other, each on a server of its own that has the limits it comes with.
//!
//! The polite say 500 messages a second in rooms of ten, and what is measured is how long a message
//! takes to each of the nine others: from when the generator has sent it, so that a generator that
//! was late itself says nothing of the server. The attackers have a thread of their own, which
//! steps back (`nice` 19) wherever the polite want the core that they share, for an attack that
//! takes the polite their processor instead of the server's says nothing either. The server has a
//! core of its own where there are two. It is told by the PROXY protocol that the attackers are at
//! one address and each of the polite at another, so that all its limits are in force, those of an
//! address too, from which loopback is exempt.
//!
//! `attacks` has what the attackers do, `mob` their connections, `stage` what they are given, and
//! `verdict` what the figures mean.

mod attacks;
mod mob;
mod stage;
mod verdict;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::attacks::{ATTACKS, Attack};
use self::mob::Mob;
use self::stage::{AttackOutcome, AttackStage};
use self::verdict::{AttackFindings, JUDGED_ROUNDS_MIN, Round};
use super::cores::{need_descriptors, pin_aside};
use super::error::{Fault, needs_one_of};
use super::host::{MeasuredHost, ServerKind};
use super::interrupt::is_interrupted;
use super::measure::{Sample, finish, measure, run_until};
use super::options::Options;
use super::over::{Mix, Spoken};
use super::processes::own_waiting_time;
use super::swarm::{Swarm, nanoseconds};
use super::workload::rooms::{Pacing, Shape, TalkingRooms};
use crate::config::{self, Arguments};

/// The polite: so many.
const POLITE: Shape = Shape { rooms: 10, members: 10, body_bytes: 100 };

/// Between two of their messages, in nanoseconds.
const BEAT_NS: u64 = 2_000_000;

/// Connections of the attackers, at most, those that are closing too.
const ATTACKERS_MAX: usize = 600;

/// Looks whether an attack is laid out.
const LOOK: Duration = Duration::from_millis(20);

/// The name of an attack, if there is one of that name.
///
/// # Errors
/// The names that there are.
pub(crate) fn attack(name: &str) -> Result<&'static str, String> {
    possible().map(|attack| attack.name).find(|known| *known == name).ok_or_else(|| {
        let names: Vec<&str> = possible().map(|attack| attack.name).collect();
        needs_one_of(name, &names)
    })
}

/// The attacks on what is built in.
fn possible() -> impl Iterator<Item = &'static Attack> {
    ATTACKS.iter().filter(|attack| cfg!(feature = "tls") || !attack.house.certificate)
}

/// The names of all attacks, with what each does.
fn list() -> String {
    let lines = possible().map(|attack| format!("{:<16}{}\n", attack.name, attack.meaning));
    lines.collect()
}

/// Runs the attacks that are asked for and tells of each as it ends.
///
/// # Errors
/// [`Fault::Broken`] when the polite felt one of them, and what the system refuses.
pub(super) fn run(
    options: &Options,
    found: &mut Vec<Value>,
    mut tell: impl FnMut(&str),
) -> Result<(), Fault> {
    if options.list {
        tell(list().trim_end());
        return Ok(());
    }
    need_descriptors(POLITE.rooms * POLITE.members + ATTACKERS_MAX)?;
    let chosen =
        |attack: &&Attack| options.attacks.is_empty() || options.attacks.contains(&attack.name);
    tell(&format!("rude: {}", described(options)));
    tell(&AttackFindings::head());
    let mut all = Vec::new();
    for attack in possible().filter(chosen) {
        match meet(attack, options) {
            Err(Fault::Interrupted) => break,
            findings => {
                let findings = findings?;
                tell(&findings.row());
                all.push(findings);
            }
        }
    }
    let felt: Vec<&str> =
        all.iter().filter(|found| !found.faults().is_empty()).map(|found| found.name).collect();
    found.push(json!({
        "workload": "rude",
        "shape": described(options),
        "judged": options.rounds() >= JUDGED_ROUNDS_MIN,
        "attacks": all.iter().map(AttackFindings::json).collect::<Vec<_>>(),
    }));
    if options.rounds() < JUDGED_ROUNDS_MIN {
        tell(&format!("latencies are judged from --rounds {JUDGED_ROUNDS_MIN} on"));
    }
    if all.is_empty() {
        return Err(Fault::Interrupted);
    }
    if felt.is_empty() {
        return Ok(());
    }
    let what = format!("{} of {} attacks are felt: {}", felt.len(), all.len(), felt.join(", "));
    Err(Fault::Broken { what })
}

fn described(options: &Options) -> String {
    let over = match options.over.is_plain() {
        true => String::new(),
        false => format!(", over {}", options.over),
    };
    let rounds = options.rounds();
    format!("100 polite clients, 500 messages a second in rooms of ten{over}; rounds: {rounds}")
}

/// One attack, in all its rounds.
fn meet(attack: &Attack, options: &Options) -> Result<AttackFindings, Fault> {
    let attacked = ServerKind::Attacked(attack.house.clone());
    let host = MeasuredHost::start(attacked, &options.over, options.server.as_deref())?;
    let mut swarm = Swarm::new(host.way(&options.over)?, options.over.clone())?;
    let mut talk = TalkingRooms::enter(&mut swarm, POLITE, Pacing::Beat(BEAT_NS))?;
    let before = host.resident_bytes();
    let mut findings = AttackFindings {
        name: attack.name,
        memory_bytes_max: memory_bytes_max(&host)?,
        ..AttackFindings::default()
    };
    let span = Duration::from_secs_f64(options.seconds());
    let rounds = options.rounds();
    // What it starts itself may take its core.
    let again = if attack.house.accounts.is_empty() && rounds >= JUDGED_ROUNDS_MIN { 2 } else { 1 };
    for number in 0..rounds * again {
        if findings.calm() == rounds || (number >= rounds && again == 1) {
            break;
        }
        let waited = Waited::now(&host);
        let alone = measure(&host, &mut swarm, &mut talk, span)?;
        let waited_alone = waited.part(&host, true);
        let stop = (AtomicBool::new(false), AtomicBool::new(false));
        let stage = stage(attack, &host, number, &stop)?;
        let (beside, outcome) = beside((&host, &mut swarm, &mut talk), attack, &stage, span);
        findings.add(outcome);
        match beside {
            Err(Fault::Interrupted) => return Err(Fault::Interrupted),
            Err(fault) => {
                findings.outcome.harmed.push(format!("among the polite: {fault}"));
                break;
            }
            Ok((beside, waited_beside)) => findings.rounds.push(Round {
                alone_ns: p99(&alone),
                beside_ns: p99(&beside),
                waited_part: waited_alone.max(waited_beside),
            }),
        }
        if is_interrupted() {
            return Err(Fault::Interrupted);
        }
        host.wait_until_calm();
    }
    if !host.is_running() {
        findings.outcome.broken.push("the server has ended".to_owned());
    }
    findings.peak_bytes = host.peak_bytes();
    findings.grown_bytes =
        findings.peak_bytes.zip(before).map(|(peak, before)| peak.saturating_sub(before));
    // A server that stops waits for those who don't go.
    swarm.close_all();
    Ok(findings)
}

fn stage<'a>(
    attack: &Attack,
    host: &MeasuredHost,
    number: usize,
    (stop, ready): &'a (AtomicBool, AtomicBool),
) -> Result<AttackStage<'a>, Fault> {
    let hello = match attack.house.certificate {
        true => host.way(&Mix::of(Spoken::Tls))?.client_hello(),
        false => Ok(Vec::new()),
    };
    let hello = hello.map_err(|what| Fault::NoCertificate { what })?;
    let log = host.log_file().filter(|_| !attack.house.deaf_console);
    Ok(AttackStage { target: host.address, stop, ready, tag: number.to_string(), hello, log })
}

/// One round beside an attack.
fn beside(
    (host, swarm, talk): (&MeasuredHost, &mut Swarm, &mut TalkingRooms),
    attack: &Attack,
    stage: &AttackStage<'_>,
    span: Duration,
) -> (Result<(Sample, f64), Fault>, Result<AttackOutcome, Fault>) {
    std::thread::scope(|scope| {
        let rude = scope.spawn(|| {
            pin_aside();
            // Without the right to step back nothing is lost but calm.
            let _ = rustix::process::nice(19);
            let outcome = Mob::new(stage.target).and_then(|mut mob| (attack.run)(&mut mob, stage));
            // An attack that could not even begin is not to be waited for.
            stage.begin();
            outcome
        });
        let sample = wait(swarm, talk, stage).and_then(|()| {
            let waited = Waited::now(host);
            // The generator waits for its attackers here, and not for long.
            Ok((measure(host, swarm, talk, span)?, waited.part(host, false)))
        });
        stage.stop.store(true, Ordering::Relaxed);
        let what = || Fault::Broken { what: "the attack broke off".to_owned() };
        (sample, rude.join().unwrap_or_else(|_| Err(what())))
    })
}

/// How long the server and the generator had waited for their cores when a measurement began.
struct Waited {
    since: Instant,
    server: Option<Duration>,
    own: Option<Duration>,
}

impl Waited {
    fn now(host: &MeasuredHost) -> Self {
        Self { since: Instant::now(), server: host.waiting_time(), own: own_waiting_time() }
    }

    /// The part of the time since then for which the server waited, or the generator where it is
    /// looked at and waited longer.
    fn part(&self, host: &MeasuredHost, with_own: bool) -> f64 {
        let more = |after: Option<Duration>, before: Option<Duration>| {
            let span = after.unwrap_or_default().saturating_sub(before.unwrap_or_default());
            span.as_secs_f64() / self.since.elapsed().as_secs_f64().max(1e-9)
        };
        let server = more(host.waiting_time(), self.server);
        if with_own { server.max(more(own_waiting_time(), self.own)) } else { server }
    }
}

/// Has the polite talk until the attack is laid out.
fn wait(swarm: &mut Swarm, talk: &mut TalkingRooms, stage: &AttackStage<'_>) -> Result<(), Fault> {
    use super::measure::Load as _;
    let now = swarm.now();
    talk.begin(now, swarm.sends());
    while !stage.ready.load(Ordering::Relaxed) && !is_interrupted() {
        let soon = swarm.now() + nanoseconds(LOOK);
        run_until(swarm, talk, soon)?;
    }
    finish(swarm, talk)
}

impl AttackFindings {
    fn add(&mut self, outcome: Result<AttackOutcome, Fault>) {
        match outcome {
            Ok(outcome) => {
                self.outcome.harmed.extend(outcome.harmed);
                self.outcome.broken.extend(outcome.broken);
            }
            // Who attacks is to be let in as far as its limits go.
            Err(fault) => self.outcome.broken.push(format!("the attackers: {fault}")),
        }
        for list in [&mut self.outcome.harmed, &mut self.outcome.broken] {
            list.sort();
            list.dedup();
        }
    }
}

fn p99(sample: &Sample) -> u64 {
    sample.tally.latency.value_at_percentile(99.0)
}

/// What `palabre check` says that a server by this configuration has at most, with no more sessions
/// than there are in an attack.
fn memory_bytes_max(host: &MeasuredHost) -> Result<u64, Fault> {
    let file = host.configuration();
    let directory = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("/")).to_owned();
    let arguments = Arguments { file, directory, ..Arguments::default() };
    let config = config::load(&arguments)
        .map_err(|error| Fault::Broken { what: format!("the configuration: {error}") })?;
    let sessions = POLITE.rooms * POLITE.members + ATTACKERS_MAX;
    // Without a key that lifts it everything has its bound.
    Ok(config.memory(sessions).server_bytes().map_or(u64::MAX, |bytes| bytes as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_known_by_their_names_which_differ() {
        for own in possible() {
            assert_eq!(attack(own.name), Ok(own.name));
            assert!(list().contains(own.meaning));
        }
        let error = attack("nonsense").unwrap_err();
        assert!(error.contains("needs one of long-names, "), "{error}");
    }
}
