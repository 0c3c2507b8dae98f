//! Many in common rooms: what they say, when they go, what they keep.

use super::SESSIONS;
use crate::bench::error::Fault;
use crate::bench::names::join;
use crate::bench::rude::mob::{Mob, batch};
use crate::bench::rude::stage::{AttackOutcome, AttackStage};

/// Rooms that all of those are in who go at once.
const COMMON_ROOMS: usize = 16;

/// Small messages, as many as one may say at once, by turns in two rooms: their deliveries lie
/// together nowhere.
pub(super) fn deliveries(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let rooms = [stage.name("even", 0), stage.name("odd", 0)];
    let members = stage.enter(mob, "member", SESSIONS)?;
    for &who in &members {
        mob.say(who, &rooms.each_ref().map(|room| join(room)));
    }
    stage.settle(mob, &members)?;
    let messages: Vec<String> =
        (0..64).map(|number| format!("<m r=\"{}\"/>", rooms[number % 2])).collect();
    let messages = batch(&messages);
    stage.begin();
    while !stage.is_over() {
        for &who in &members {
            if mob.waiting(who) == 0 {
                mob.raw(who, &messages);
            }
        }
        mob.turn()?;
    }
    Ok(AttackOutcome::default())
}

/// All of them go in the same moment, and come again.
pub(super) fn departures(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let rooms: Vec<String> = (0..COMMON_ROOMS).map(|number| stage.name("room", number)).collect();
    let joins: Vec<String> = rooms.iter().map(|room| join(room)).collect();
    let mut times = 0;
    while !stage.is_over() {
        let members = stage.enter(mob, &format!("member{times}."), SESSIONS)?;
        for &who in &members {
            mob.say(who, &joins);
        }
        stage.settle(mob, &members)?;
        stage.begin();
        for &who in &members {
            mob.close(who);
        }
        times += 1;
    }
    Ok(AttackOutcome::default())
}

/// Params of clients and of rooms, until no more are taken.
pub(super) fn params(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let members = stage.enter(mob, "member", SESSIONS)?;
    for (number, &who) in members.iter().enumerate() {
        mob.say(who, &[join(&stage.name("own", number))]);
    }
    stage.settle(mob, &members)?;
    stage.begin();
    let mut next = 0;
    while !stage.is_over() {
        for (number, &who) in members.iter().enumerate() {
            if mob.waiting(who) == 0 {
                let (room, value) = (stage.name("own", number), "v".repeat(4_096));
                mob.say(
                    who,
                    &[
                        format!("<clientparam name=\"k{}\" value=\"{value}\"/>", next % 64),
                        format!(
                            "<setparam room=\"{room}\" name=\"k{}\" value=\"{value}\"/>",
                            next % 64
                        ),
                    ],
                );
            }
        }
        next += 1;
        mob.turn()?;
    }
    Ok(AttackOutcome::default())
}
