//! Long names wherever one is looked up, and elements that cost much to be checked.

use super::SESSIONS;
use crate::bench::error::Fault;
use crate::bench::rude::mob::{Mob, batch};
use crate::bench::rude::stage::{AttackOutcome, AttackStage};

/// A character that is eighteen others when it is normalised: what fits a stanza with what is
/// around it.
fn long_name() -> String {
    "\u{fdfa}".repeat(21_800)
}

/// Everything that looks a name up is said with a long one.
pub(super) fn long_names(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let name = long_name();
    let stanzas = [
        format!("<m c='{name}'>x</m>"),
        format!("<x toclient='{name}'>x</x>"),
        format!("<m r='{name}'>x</m>"),
        format!("<join room='{name}'/>"),
        format!("<leave room='{name}'/>"),
        format!("<addchild parentroom='{name}' childroom='x'/>"),
        format!("<addchild parentroom='x' childroom='{name}'/>"),
        format!("<setparam room='{name}' name='x' value='x'/>"),
        format!("<setparam room='x' name='{name}' value='x'/>"),
        format!("<removeparam room='x' name='{name}'/>"),
        format!("<clientparam name='{name}' value='x'/>"),
        format!("<rmuser nickname='{name}'/>"),
        format!("<getinfo room='{name}'/>"),
    ]
    .map(|stanza| batch(&[stanza]));
    let members = stage.enter(mob, "name", SESSIONS / 2)?;
    let outside: Vec<usize> = (0..SESSIONS / 2).map(|_| mob.open()).collect::<Result<_, _>>()?;
    let logins = batch(&[format!("<connect nickname='{name}' password='x'/>")]);
    stage.begin();
    let mut next = 0;
    while !stage.is_over() {
        for &who in &members {
            if mob.waiting(who) == 0 {
                mob.raw(who, &stanzas[next % stanzas.len()]);
                next += 1;
            }
        }
        for &who in outside.iter().filter(|who| mob.waiting(**who) == 0).collect::<Vec<_>>() {
            mob.raw(who, &logins);
        }
        mob.turn()?;
    }
    Ok(AttackOutcome::default())
}

/// Elements with a prefix, nothing else, from those that have not logged in. Who is cut off comes
/// again.
pub(super) fn namespaces(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let stanza = format!("<a xmlns:p=\"u\">{}</a>", "<p:x/>".repeat(10_900));
    let stanza = batch(&[stanza]);
    let mut outside: Vec<usize> = (0..SESSIONS).map(|_| mob.open()).collect::<Result<_, _>>()?;
    stage.begin();
    while !stage.is_over() {
        for who in &mut outside {
            if mob.heard(*who).ended {
                mob.close(*who);
                *who = mob.open()?;
            }
            if mob.waiting(*who) == 0 {
                mob.raw(*who, &stanza);
            }
        }
        mob.turn()?;
    }
    Ok(AttackOutcome::default())
}
