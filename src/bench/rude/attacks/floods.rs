//! Much of what one may have a little of: large messages, lines in the log.

use std::time::{Duration, Instant};

use super::SESSIONS;
use crate::bench::error::Fault;
use crate::bench::names::join;
use crate::bench::rude::mob::{ATTACKER, Mob, MobReading, batch};
use crate::bench::rude::stage::{AttackOutcome, AttackStage, login};
use crate::limits::{LOG_LINES, LOG_WARNINGS};

/// 10 Mbit/s.
const MEMBER_BYTES_PER_S: f64 = 1.25e6;

/// More than any line that a connection leaves in the log.
const LINE_BYTES: u64 = 400;

/// What the log may grow by for others, and for what was saved up.
const OTHER_LINES: u64 = 1_000;

/// One floods a room whose members have a line of a usual size.
pub(super) fn large_messages(
    mob: &mut Mob,
    stage: &AttackStage<'_>,
) -> Result<AttackOutcome, Fault> {
    let room = stage.name("tea", 0);
    let mut members = Vec::new();
    for number in 0..10 {
        let who = stage.enter_polite(mob, number, MobReading::Slow(MEMBER_BYTES_PER_S))?;
        mob.say(who, &[join(&room)]);
        members.push(who);
    }
    let rude = stage.enter(mob, "rude", 2)?;
    for &who in &rude {
        mob.say(who, &[join(&room)]);
    }
    stage.settle(mob, &rude)?;
    let message = batch(&[format!("<m r=\"{room}\">{}</m>", "x".repeat(65_000))]);
    stage.begin();
    while !stage.is_over() {
        for &who in &rude {
            if mob.waiting(who) == 0 {
                mob.raw(who, &message);
            }
        }
        mob.turn()?;
    }
    let cut_off = members.iter().filter(|who| mob.heard(**who).ended).count();
    let harmed = (cut_off > 0).then(|| format!("{cut_off} of 10 members at 10 Mbit/s cut off"));
    Ok(AttackOutcome { harmed: harmed.into_iter().collect(), broken: Vec::new() })
}

/// Connections that come, log in, are refused and go, as fast as they can: each is worth some lines
/// of the log.
pub(super) fn log_lines(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let (begin, before) = (Instant::now(), stage.log_bytes());
    let mut number = 0;
    let mut lines: Vec<usize> = Vec::new();
    stage.begin();
    while !stage.is_over() {
        while lines.len() < SESSIONS / 4 {
            let who = mob.open_as(ATTACKER, MobReading::All)?;
            let nick = stage.name("log", number);
            number += 1;
            let long = format!("<join room=\"{}\"/>", "r".repeat(1_000));
            let quit = "<quit />".to_owned();
            mob.say(who, &[login(&nick), login("\u{7}"), "<join>".to_owned(), long, quit]);
            lines.push(who);
        }
        mob.turn()?;
        lines.retain(|&who| {
            let ended = mob.heard(who).ended;
            if ended {
                mob.close(who);
            }
            !ended
        });
    }
    Ok(AttackOutcome { harmed: Vec::new(), broken: grown(stage, before, begin.elapsed()) })
}

/// Whether the log has grown by more than one address may have it grow.
fn grown(stage: &AttackStage<'_>, before: u64, span: Duration) -> Vec<String> {
    let seconds = span.as_secs() + 1;
    let rate = |rate: crate::limits::LineRate| rate.burst + rate.per_s * seconds;
    let max = (rate(LOG_LINES) + rate(LOG_WARNINGS) + OTHER_LINES) * LINE_BYTES;
    let grown = stage.log_bytes().saturating_sub(before);
    let broken = (grown > max).then(|| format!("the log grew by {grown} bytes, may by {max}"));
    broken.into_iter().collect()
}
