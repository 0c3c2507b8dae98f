//! Lists that a small request has the server write to many: children, clients, parents, params,
//! all rooms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bench::error::Fault;
use crate::bench::names::join;
use crate::bench::rude::mob::{Mob, MobReading, batch};
use crate::bench::rude::stage::{AttackOutcome, AttackStage};

/// Params of one room or client, as many as a list takes: 60 KB.
const PARAMS: usize = 15;

/// How fast members read that are to be still there at the end: two megabytes a second.
const MEMBER_BYTES_PER_S: f64 = 2e6;

/// How long a polite join may take.
const JOIN_TIME: Duration = Duration::from_secs(10);

fn value() -> String {
    "v".repeat(4_000)
}

fn leave(room: &str) -> String {
    format!("<leave room=\"{room}\" />")
}

/// A room has all the params that it may, by one who is its operator.
fn fill(mob: &mut Mob, who: usize, room: &str) {
    for number in 0..PARAMS {
        let value = value();
        mob.say(
            who,
            &[format!("<setparam room=\"{room}\" name=\"k{number}\" value=\"{value}\"/>")],
        );
    }
}

fn fill_client(mob: &mut Mob, who: usize) {
    for number in 0..PARAMS {
        mob.say(who, &[format!("<clientparam name=\"k{number}\" value=\"{}\"/>", value())]);
    }
}

/// Says the same over and over, as fast as it is taken.
fn repeat(
    mob: &mut Mob,
    stage: &AttackStage<'_>,
    members: &[usize],
    stanzas: &Arc<[u8]>,
) -> Result<(), Fault> {
    while !stage.is_over() {
        for &who in members {
            if mob.waiting(who) == 0 {
                mob.raw(who, stanzas);
            }
        }
        mob.turn()?;
    }
    Ok(())
}

/// What became of the polite among the attackers.
fn harmed(mob: &Mob, members: &[usize], what: &str) -> AttackOutcome {
    let cut_off = members.iter().filter(|who| mob.heard(**who).ended).count();
    let harmed = (cut_off > 0).then(|| format!("{cut_off} of {} {what} cut off", members.len()));
    AttackOutcome { harmed: harmed.into_iter().collect(), broken: Vec::new() }
}

/// The rooms of some polite ones who read as over a network.
fn slow_members(mob: &mut Mob, stage: &AttackStage<'_>, room: &str) -> Result<Vec<usize>, Fault> {
    let mut members = Vec::new();
    for number in 0..10 {
        let who = stage.enter_polite(mob, number, MobReading::Slow(MEMBER_BYTES_PER_S))?;
        mob.say(who, &[join(room)]);
        members.push(who);
    }
    stage.settle(mob, &members)?;
    Ok(members)
}

/// Child rooms whose params make the list of their parent as long as can be.
fn costly_children(
    mob: &mut Mob,
    stage: &AttackStage<'_>,
    owners: &[usize],
    parent: &str,
) -> Result<(), Fault> {
    for number in 0..16 {
        let who = owners[number % owners.len()];
        let room = stage.name("child", number);
        mob.say(who, &[format!("<addchild parentroom=\"{parent}\" childroom=\"{room}\"/>")]);
        fill(mob, who, &room);
    }
    stage.settle(mob, owners)
}

pub(super) fn child_lists(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let lobby = stage.name("lobby", 0);
    let owners = stage.enter(mob, "owner", 2)?;
    for &who in &owners {
        mob.say(who, &[join(&lobby)]);
    }
    stage.settle(mob, &owners)?;
    let members = slow_members(mob, stage, &lobby)?;
    costly_children(mob, stage, &owners, &lobby)?;
    let child = stage.name("child", 0);
    let set = format!("<setparam room=\"{child}\" name=\"k0\" value=\"x\"/>");
    stage.begin();
    repeat(mob, stage, &owners[..1], &batch(&vec![set; 20]))?;
    Ok(harmed(mob, &members, "members who read 2 MB/s"))
}

pub(super) fn client_lists(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let room = stage.name("lobby", 0);
    let others = stage.enter(mob, "member", 125)?;
    let costly = stage.enter(mob, "costly", 15)?;
    for &who in others.iter().chain(&costly) {
        mob.say(who, &[join(&room)]);
    }
    stage.settle(mob, &others)?;
    let members = slow_members(mob, stage, &room)?;
    for &who in &costly {
        fill_client(mob, who);
    }
    stage.settle(mob, &costly)?;
    let restless = stage.enter(mob, "restless", 1)?;
    stage.begin();
    let both = [join(&room), leave(&room)];
    repeat(mob, stage, &restless, &batch(&vec![both; 10].concat()))?;
    Ok(harmed(mob, &members, "members who read 2 MB/s"))
}

/// A room stands in the lists of as many others as it may, beside rooms that make these lists long.
pub(super) fn many_parents(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let child = |parent: &str, room: &str| {
        [format!("<addchild parentroom=\"{parent}\" childroom=\"{room}\"/>"), leave(room)]
    };
    let owner = stage.enter(mob, "owner", 1)?[0];
    let keeper = stage.enter(mob, "keeper", 1)?[0];
    let large: Vec<String> = (0..4).map(|number| stage.name("large", number)).collect();
    let listed = stage.name("listed", 0);
    mob.say(keeper, &[join(&listed)]);
    for room in &large {
        mob.say(owner, &[join(room)]);
    }
    stage.settle(mob, &[owner, keeper])?;
    let builders = stage.enter(mob, "builder", 8)?;
    for (number, &who) in builders.iter().cycle().take(64).enumerate() {
        let parent = stage.name("parent", number);
        mob.say(who, &[join(&parent)]);
        for room in large.iter().chain([&listed]) {
            mob.say(who, &child(&parent, room));
        }
    }
    stage.settle(mob, &builders)?;
    for room in &large {
        fill(mob, owner, room);
    }
    stage.settle(mob, &[owner])?;
    let restless = stage.enter(mob, "restless", 1)?;
    stage.begin();
    let both = [join(&listed), leave(&listed)];
    repeat(mob, stage, &restless, &batch(&vec![both; 10].concat()))?;
    Ok(AttackOutcome::default())
}

/// Each param of theirs is told to all members of all their rooms.
pub(super) fn own_params(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let members = stage.enter(mob, "member", 40)?;
    for number in 0..64 {
        let room = stage.name("room", number);
        for &who in &members {
            mob.say(who, &[join(&room)]);
        }
        // All of them at once would be another attack.
        mob.turn()?;
    }
    stage.settle(mob, &members)?;
    let set = format!("<clientparam name=\"p\" value=\"{}\"/>", "'".repeat(4_090));
    stage.begin();
    repeat(mob, stage, &members[..4], &batch(&vec![set; 5]))?;
    Ok(AttackOutcome::default())
}

/// A list that is too long for anybody is asked for by many.
pub(super) fn getrooms(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let keepers = stage.enter(mob, "keeper", 26)?;
    let quotes = "&quot;".repeat(100);
    for (index, &who) in keepers.iter().enumerate() {
        let rooms = (0..64).map(|number| {
            let name = stage.name("q", index * 64 + number);
            format!("<join room=\"{quotes}{name}\"/>")
        });
        mob.say(who, &rooms.collect::<Vec<_>>());
    }
    stage.settle(mob, &keepers)?;
    let askers = stage.enter(mob, "asker", 100)?;
    stage.begin();
    repeat(mob, stage, &askers, &batch(&vec!["<getrooms />".to_owned(); 20]))?;
    Ok(AttackOutcome::default())
}

/// Nobody attacks here any more; it is the room itself that must not cut off who enters it.
pub(super) fn costly_joins(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let lobby = stage.name("lobby", 0);
    let owners = stage.enter(mob, "owner", 4)?;
    for &who in &owners {
        mob.say(who, &[join(&lobby)]);
        fill_client(mob, who);
    }
    stage.settle(mob, &owners)?;
    costly_children(mob, stage, &owners[1..], &lobby)?;
    let mut members = Vec::new();
    for number in 0..10 {
        members.push(stage.enter_polite(
            mob,
            number,
            MobReading::Slow(20.0 * MEMBER_BYTES_PER_S),
        )?);
    }
    stage.begin();
    let mut outcome = AttackOutcome::default();
    while !stage.is_over() && outcome.harmed.is_empty() {
        let begin = Instant::now();
        for &who in &members {
            mob.say(who, &[join(&lobby), leave(&lobby)]);
        }
        stage.settle(mob, &members)?;
        outcome = harmed(mob, &members, "who joined were");
        if begin.elapsed() > JOIN_TIME {
            outcome.harmed.push(format!("a join took {:.1} s", begin.elapsed().as_secs_f64()));
        }
    }
    Ok(outcome)
}
