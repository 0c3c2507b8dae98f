//! Those who want in, while others keep the door: who has quit and stays, who guesses.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::SESSIONS;
use crate::bench::error::Fault;
use crate::bench::names::login_with;
use crate::bench::rude::mob::{Mob, MobReading};
use crate::bench::rude::stage::{AttackOutcome, AttackStage, login};

/// Whose passwords are guessed at, with the right ones. They come in turn, so that each has gone
/// before it comes again.
pub(super) const OWNERS: [(&str, &str); 4] = [
    ("Ann", "what nobody guesses"),
    ("Bob", "what nobody else guesses"),
    ("Cho", "what nobody has guessed yet"),
    ("Dov", "what nobody will guess"),
];

/// How long a polite login may take: passwords are hashed for others as well.
const LOGIN_TIME: Duration = Duration::from_secs(5);

/// Addresses of those who guess.
const GUESSING_ADDRESSES: usize = 16;

/// Somebody polite who logs in over and over, each time from another address.
#[derive(Debug, Default)]
struct Visitor {
    who: Option<usize>,
    since: Option<Instant>,
    number: usize,
    outcome: AttackOutcome,
}

impl Visitor {
    /// Looks how far it has come; says this when it connects.
    fn go_on(&mut self, mob: &mut Mob, says: impl Fn(usize) -> String) {
        let Some((who, since)) = self.who.zip(self.since) else {
            let address = Ipv4Addr::new(203, 0, 113, u8::try_from(self.number % 250).unwrap_or(0));
            self.number += 1;
            match mob.open_as(address, MobReading::All) {
                Ok(who) => {
                    mob.say(who, &[says(self.number)]);
                    (self.who, self.since) = (Some(who), Some(Instant::now()));
                }
                Err(fault) => self.outcome.harmed.push(format!("somebody polite {fault}")),
            }
            return;
        };
        let heard = mob.heard(who);
        let late = since.elapsed() > LOGIN_TIME;
        if heard.welcomes == 0 && !late && !heard.ended && heard.refusals == 0 {
            return;
        }
        if heard.welcomes == 0 {
            let how = if late { "not answered" } else { "refused" };
            self.outcome.harmed.push(format!("a polite login was {how}"));
        }
        mob.close(who);
        (self.who, self.since) = (None, None);
    }

    /// What became of the visits; the last one may have no answer yet.
    fn end(self) -> AttackOutcome {
        let mut outcome = self.outcome;
        outcome.harmed.dedup();
        outcome
    }
}

/// Connections that have quit and don't go, and one that wants in.
pub(super) fn last_seconds(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let mut lines: Vec<usize> = Vec::new();
    let mut visitor = Visitor::default();
    let mut number = 0;
    stage.begin();
    while !stage.is_over() {
        while lines.len() < 2 * SESSIONS {
            let Ok(who) = mob.open() else { break };
            number += 1;
            mob.say(who, &[login(&stage.name("quit", number)), "<quit />".to_owned()]);
            lines.push(who);
            if number % 16 == 0 {
                break;
            }
        }
        mob.turn()?;
        visitor.go_on(mob, |number| login(&stage.name("visitor", number)));
        // They hear the end, and keep their side of it until the server has had enough.
        if lines.len() == 2 * SESSIONS {
            lines.drain(..SESSIONS / 5).for_each(|who| mob.close(who));
        }
    }
    Ok(visitor.end())
}

/// Guesses from several addresses at the passwords of the owner and of nobody.
pub(super) fn guesses(mob: &mut Mob, stage: &AttackStage<'_>) -> Result<AttackOutcome, Fault> {
    let mut lines: Vec<Option<(usize, u64)>> = vec![None; SESSIONS];
    let mut owner = Visitor::default();
    let mut number = 0;
    stage.begin();
    while !stage.is_over() {
        for (index, line) in lines.iter_mut().enumerate() {
            let answered = line.is_none_or(|(who, refusals)| {
                let heard = mob.heard(who);
                heard.ended || heard.refusals > refusals
            });
            if !answered {
                continue;
            }
            number += 1;
            let nick = match index % 2 {
                0 => OWNERS[number % OWNERS.len()].0.to_owned(),
                _ => stage.name("none", number),
            };
            let who = match *line {
                Some((who, _)) if !mob.heard(who).ended => who,
                gone => {
                    gone.into_iter().for_each(|(who, _)| mob.close(who));
                    let last = u8::try_from(1 + index % GUESSING_ADDRESSES).unwrap_or(1);
                    mob.open_as(Ipv4Addr::new(192, 0, 2, last), MobReading::All)?
                }
            };
            mob.say(who, &[login_with(&nick, &format!("guess {number}"))]);
            *line = Some((who, mob.heard(who).refusals));
        }
        mob.turn()?;
        owner.go_on(mob, |number| {
            let (nick, password) = OWNERS[number % OWNERS.len()];
            login_with(nick, password)
        });
    }
    Ok(owner.end())
}
