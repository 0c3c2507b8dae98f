//! Sessions that do nothing: what each costs in memory, and whether the server rests.

use std::time::Duration;

use serde_json::json;

use crate::bench::comparison::Comparison;
use crate::bench::entrance::enter;
use crate::bench::error::Fault;
use crate::bench::host::MeasuredHost;
use crate::bench::interrupt::sleep;
use crate::bench::over::{Mix, Spoken};
use crate::bench::report::{Figures, Heading, Side, span, whole};
use crate::bench::swarm::Swarm;

/// Measures them: each server by itself, for there is nothing to take turns with.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn idle(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let sessions = options.connections.or(options.dealt(1)).unwrap_or(1_000);
    let members = options.members.unwrap_or(10);
    let mut subjects = comparison.subjects(sessions)?;
    let mut sides = Vec::new();
    let mut notes = Vec::new();
    let mut more = Vec::new();
    for subject in &mut subjects {
        let span = Duration::from_secs_f64(options.seconds());
        let idle = match rest(&subject.host, &mut subject.swarm, sessions, members, span) {
            // What there is is printed.
            Err(Fault::Interrupted) if !sides.is_empty() => break,
            result => result?,
        };
        subject.swarm.close_all();
        subject.host.wait_until_calm();
        let after = subject.host.resident_bytes();
        sides.push(Side { resident_bytes: idle.bytes_per_session(), ..subject.side() });
        let name = subject.host.name;
        notes.extend(idle_notes(&idle, after).map(|note| format!("{name}: {note}")));
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
        comparison.bar.inc(1);
    }
    let shape = format!("{sessions} sessions in rooms of {members}");
    let figures = Figures::of(options, Heading { unit: "messages", shape }, sides);
    Ok(Figures { notes, more, ..figures })
}

/// What idle sessions cost.
#[derive(Clone, Debug)]
struct Idle {
    sessions: usize,
    /// Resident bytes of the server without sessions and with them.
    resident_bytes: Option<(u64, u64)>,
    /// What sessions speak, how many do, and the resident bytes that they have added.
    shares: Vec<(Spoken, usize, u64)>,
    /// Processor time while nothing happened.
    processor: Option<Duration>,
    /// How long that was.
    span: Duration,
    /// How long the entrance took.
    entrance: Duration,
}

impl Idle {
    /// Resident bytes of a session, beyond the empty server.
    fn bytes_per_session(&self) -> Option<u64> {
        let (empty, full) = self.resident_bytes?;
        Some(full.saturating_sub(empty) / (self.sessions as u64).max(1))
    }
}

/// Lets so many sessions into rooms of `members`, one transport after the other, and watches the
/// server for `span`.
///
/// # Errors
/// What the system or the server refuses.
fn rest(
    host: &MeasuredHost,
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

/// What stands under the table.
fn idle_notes(idle: &Idle, after: Option<u64>) -> impl Iterator<Item = String> + use<> {
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
