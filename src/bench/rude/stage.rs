//! What an attack is given: where the server is, when to begin and to end; and what it gives back.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::mob::{Mob, MobReading};
use crate::bench::error::Fault;
use crate::bench::interrupt::is_interrupted;

/// How long it may take until everybody of an attack is in and all is laid out for it.
const PREPARATION: Duration = Duration::from_secs(30);

/// What an attack is given.
#[derive(Debug)]
pub(super) struct AttackStage<'a> {
    pub(super) target: SocketAddr,
    /// The attack is to end.
    pub(super) stop: &'a AtomicBool,
    /// Everything is laid out: from now on it counts what the polite feel.
    pub(super) ready: &'a AtomicBool,
    /// Names that no other round has.
    pub(super) tag: String,
    /// What a client in TLS says first, where the server speaks it.
    pub(super) hello: Vec<u8>,
    /// The server's log.
    pub(super) log: Option<PathBuf>,
}

/// What has come of an attack.
#[derive(Clone, Debug, Default)]
pub(super) struct AttackOutcome {
    /// Polite ones that it met and that had to suffer, in words.
    pub(super) harmed: Vec<String>,
    /// What else the server had promised, in words.
    pub(super) broken: Vec<String>,
}

impl AttackStage<'_> {
    /// Everything is laid out.
    pub(super) fn begin(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Whether the attack is to end.
    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || is_interrupted()
    }

    /// A name of this round.
    pub(super) fn name(&self, what: &str, number: usize) -> String {
        format!("{what}{number}.{}", self.tag)
    }

    /// So many of the attackers' address, logged in.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn enter(
        &self,
        mob: &mut Mob,
        what: &str,
        count: usize,
    ) -> Result<Vec<usize>, Fault> {
        let mut members = Vec::new();
        for number in 0..count {
            let who = mob.open()?;
            mob.say(who, &[login(&self.name(what, number))]);
            members.push(who);
        }
        self.settle(mob, &members)?;
        Ok(members)
    }

    /// Somebody who is none of them, from an address of its own, logged in.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn enter_polite(
        &self,
        mob: &mut Mob,
        number: usize,
        reading: MobReading,
    ) -> Result<usize, Fault> {
        // TEST-NET-3 of RFC 5737.
        let last = u8::try_from(number % 250).unwrap_or(0);
        let who = mob.open_as(Ipv4Addr::new(203, 0, 113, last), reading)?;
        mob.say(who, &[login(&self.name("guest", number))]);
        self.settle(mob, &[who])?;
        Ok(who)
    }

    /// Waits until all that these have said is answered: each asks for a pong, which comes last.
    /// Those that are cut off are not waited for, and an attack whose preparation the server does
    /// not allow begins all the same.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn settle(&self, mob: &mut Mob, members: &[usize]) -> Result<(), Fault> {
        let begin = Instant::now();
        let mut wanted = Vec::new();
        for &who in members {
            wanted.push((who, mob.heard(who).pongs + 1));
            mob.say(who, &["<ping />".to_owned()]);
        }
        while !self.is_over() && begin.elapsed() < PREPARATION {
            wanted.retain(|&(who, pongs)| {
                let heard = mob.heard(who);
                !heard.ended && heard.pongs < pongs
            });
            if wanted.is_empty() {
                return Ok(());
            }
            mob.turn()?;
        }
        Ok(())
    }

    /// Bytes in the server's log.
    pub(super) fn log_bytes(&self) -> u64 {
        let file = self.log.as_ref().and_then(|path| std::fs::metadata(path).ok());
        file.map_or(0, |file| file.len())
    }
}

/// The stanza that logs in.
pub(super) fn login(nick: &str) -> String {
    crate::bench::names::login(nick)
}
