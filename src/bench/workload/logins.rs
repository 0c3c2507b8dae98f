//! Accounts log in and quit by the clock while the members of rooms talk: one generator does
//! both, so that neither waits for the other's turn. Now and then a password is wrong.

use std::collections::BTreeMap;

use super::rooms::Rooms;
use crate::bench::Fault;
use crate::bench::entrance::{login_with, password, refused};
use crate::bench::measure::{Tally, Workload};
use crate::bench::swarm::{Crowd, Sends, Swarm};

/// One login in so many has a wrong password.
const WRONG_EVERY: usize = 50;

/// Accounts that log in, at least; with more a second there are more, so that none comes again
/// while it may still be there.
const ACCOUNTS: usize = 1_000;
const COMES_AGAIN_S: usize = 5;

/// The accounts that log in at this rate.
fn accounts_for(rate: u64) -> usize {
    usize::try_from(rate).unwrap_or(ACCOUNTS).saturating_mul(COMES_AGAIN_S).max(ACCOUNTS)
}

fn nick(number: usize) -> String {
    format!("account{number}")
}

/// The nicks of those that log in so often a second.
pub(in crate::bench) fn nicks(rate: u64) -> impl Iterator<Item = String> {
    (0..accounts_for(rate)).map(nick)
}

/// One that has not gone yet.
#[derive(Clone, Copy, Debug)]
struct Login {
    /// When it was meant to begin.
    due_at: u64,
    is_wrong: bool,
    answered: bool,
}

/// What has come of the logins.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Outcome {
    /// Those that were let in, with the time from when each was meant to begin.
    pub(in crate::bench) tally: Tally,
    /// Wrong passwords, all of them refused.
    pub(in crate::bench) refused: u64,
    /// Nanoseconds in which they began.
    pub(in crate::bench) span_ns: u64,
}

/// Members of rooms who talk, and logins beside them.
#[derive(Debug)]
pub(in crate::bench) struct Logins<'a> {
    rooms: &'a mut Rooms,
    /// Between two of them.
    interval: u64,
    accounts: usize,
    begun: usize,
    due_at: u64,
    began_at: u64,
    under_way: BTreeMap<usize, Login>,
    tally: Tally,
    refused: u64,
    span_ns: u64,
    running: bool,
}

impl<'a> Logins<'a> {
    /// So many a second beside these rooms.
    pub(in crate::bench) fn beside(rooms: &'a mut Rooms, rate: u64) -> Self {
        Self {
            rooms,
            interval: 1_000_000_000 / rate.max(1),
            accounts: accounts_for(rate),
            begun: 0,
            due_at: 0,
            began_at: 0,
            under_way: BTreeMap::new(),
            tally: Tally::new(),
            refused: 0,
            span_ns: 0,
            running: false,
        }
    }

    /// What has come of them.
    pub(in crate::bench) fn outcome(self) -> Outcome {
        Outcome { tally: self.tally, refused: self.refused, span_ns: self.span_ns }
    }
}

impl Crowd for Logins<'_> {
    fn frame(
        &mut self,
        who: usize,
        frame: &[u8],
        now: u64,
        sends: &mut Sends,
    ) -> Result<(), Fault> {
        let Some(login) = self.under_way.get_mut(&who) else {
            return self.rooms.frame(who, frame, now, sends);
        };
        let allowed = frame.starts_with(b"<connect isok='1'");
        if !allowed && !frame.starts_with(b"<connect isok='0'") {
            // Behind a no the server says why.
            return if login.is_wrong { Ok(()) } else { refused(frame) };
        }
        if allowed == login.is_wrong {
            let which = if login.is_wrong { "a wrong" } else { "a right" };
            let what = format!("{which} password: {}", String::from_utf8_lossy(frame));
            return Err(Fault::Broken { what });
        }
        if allowed {
            self.tally.delivered(now.saturating_sub(login.due_at));
        } else {
            self.refused += 1;
        }
        login.answered = true;
        sends.text(who, "<quit />");
        Ok(())
    }

    fn ended(&mut self, who: usize, _: u64) -> Result<(), Fault> {
        match self.under_way.remove(&who) {
            Some(login) if login.answered => Ok(()),
            Some(_) | None => Err(Fault::Closed { who }),
        }
    }
}

impl Workload for Logins<'_> {
    fn begin(&mut self, now: u64, sends: &mut Sends) {
        self.running = true;
        self.due_at = now;
        self.began_at = now;
        self.rooms.begin(now, sends);
    }

    fn due(&mut self, now: u64, sends: &mut Sends) -> Option<u64> {
        self.span_ns = now - self.began_at;
        let talk = self.rooms.due(now, sends).unwrap_or(u64::MAX);
        Some(if self.running { talk.min(self.due_at) } else { talk })
    }

    fn stop(&mut self) {
        self.running = false;
        self.rooms.stop();
    }

    fn on_the_way(&self) -> u64 {
        self.rooms.on_the_way() + self.under_way.len() as u64
    }

    fn tally(&mut self) -> &mut Tally {
        self.rooms.tally()
    }

    fn between_turns(&mut self, swarm: &mut Swarm) -> Result<(), Fault> {
        // One at a time: what has arrived meanwhile is read before the next.
        if !self.running || self.due_at > swarm.now() {
            return Ok(());
        }
        let nick = nick(self.begun % self.accounts);
        let is_wrong = self.begun % WRONG_EVERY == WRONG_EVERY - 1;
        let password = if is_wrong { "a guess".to_owned() } else { password(&nick) };
        let who = swarm.open()?;
        self.under_way.insert(who, Login { due_at: self.due_at, is_wrong, answered: false });
        swarm.sends().text(who, &login_with(&nick, &password));
        self.begun += 1;
        self.due_at += self.interval;
        Ok(())
    }
}
