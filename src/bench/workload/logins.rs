//! Accounts log in and quit by the clock while the members of rooms talk: one generator does
//! both, so that neither waits for the other's turn. Now and then a password is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::rooms::{Pacing, Shape, TalkingRooms};
use crate::bench::comparison::{Comparison, Subject};
use crate::bench::cores::need_descriptors;
use crate::bench::entrance::refused;
use crate::bench::error::Fault;
use crate::bench::host::{MeasuredHost, ServerKind};
use crate::bench::interrupt::is_interrupted;
use crate::bench::measure::{Arrivals, Load, histogram, measure};
use crate::bench::names::{RunNames, login_with, password};
use crate::bench::notes::{compared, cores_note, lag};
use crate::bench::report::{Figures, Heading, Side, span, whole};
use crate::bench::swarm::{FrameSink, Sends, Swarm};

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
fn nicks(rate: u64) -> impl Iterator<Item = String> {
    (0..accounts_for(rate)).map(nick)
}

/// Measures the rooms, alone and beside the logins.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn logins(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let members = options.members.unwrap_or(10).max(2);
    let sessions = options.connections.or(options.dealt(1)).unwrap_or(1_000);
    let rooms = options.rooms.unwrap_or(sessions.div_ceil(members)).max(1);
    let shape = Shape { rooms, members, body_bytes: options.body.unwrap_or(100) };
    let rate = options.rate.unwrap_or(500).max(1);
    let sessions = rooms * members;
    // Besides, those that are logging in.
    need_descriptors(sessions + usize::try_from(options.logins()).unwrap_or(usize::MAX))?;
    let tag = RunNames::new(0, true);
    let accounts = (0..sessions).map(|who| tag.nick(who)).chain(nicks(options.logins()));
    let accounts = accounts.map(|nick| {
        let password = password(&nick);
        (nick, password)
    });
    let accounts = ServerKind::Accounts(accounts.collect());
    let host = MeasuredHost::start(accounts, &options.over, options.server.as_deref())?;
    let mut subject = Subject::new(host, &options.over)?;
    let Subject { host, swarm } = &mut subject;
    swarm.say_passwords();
    let mut talk = TalkingRooms::enter(swarm, shape, Pacing::a_second(rate))?;
    let on_one_core = host.is_on_one_core();
    let span = Duration::from_secs_f64(options.seconds());
    let mut sides = [Side::named("alone"), Side::named("beside")];
    let mut logged = LoginRounds::default();
    for _ in 0..options.rounds() {
        sides[0].samples.push(measure(host, swarm, &mut talk, span)?);
        let before = host.children_time();
        let mut logins = Logins::beside(&mut talk, options.logins());
        sides[1].samples.push(measure(host, swarm, &mut logins, span)?);
        logged.outcomes.push(logins.outcome());
        logged.worker += host.children_time().saturating_sub(before);
        comparison.bar.inc(1);
        if is_interrupted() {
            break;
        }
    }
    let mut notes = compared(&sides);
    notes.extend(logged.notes());
    notes.push(cores_note(on_one_core, "the process that checks passwords"));
    notes.extend(lag(&sides));
    let logins = logged.json();
    // A server that stops waits for those who don't go.
    swarm.close_all();
    let shape = format!(
        "{}, {rate} messages a second in all, {} logins a second beside",
        shape,
        whole(options.logins() as f64)
    );
    let more = vec![("logins", logins), ("one_core", on_one_core.into())];
    let figures = Figures::of(options, Heading::deliveries(shape), sides.to_vec());
    Ok(Figures { notes, more, compares: false, ..figures })
}

/// What has come of the logins of all rounds.
#[derive(Debug, Default)]
struct LoginRounds {
    outcomes: Vec<LoginOutcomes>,
    /// Processor time of the process that checks them.
    worker: Duration,
}

impl LoginRounds {
    fn latency(&self) -> hdrhistogram::Histogram<u64> {
        let mut all = histogram();
        for outcome in &self.outcomes {
            // The bounds are the same.
            let _ = all.add(&outcome.tally.latency);
        }
        all
    }

    fn allowed(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.tally.count).sum()
    }

    fn refused(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.refused).sum()
    }

    fn per_second(&self) -> f64 {
        let span_ns: u64 = self.outcomes.iter().map(|outcome| outcome.span_ns).sum();
        (self.allowed() + self.refused()) as f64 / (span_ns as f64 / 1e9).max(1e-9)
    }

    fn notes(&self) -> [String; 2] {
        let latency = self.latency();
        let at = |percent| span(Duration::from_nanos(latency.value_at_percentile(percent)));
        let logins = self.allowed() + self.refused();
        let each = self.worker.checked_div(u32::try_from(logins).unwrap_or(u32::MAX));
        [
            format!(
                "{:.1} logins a second: {} were let in, p50 {}, p99 {}, p99.9 {}; {} with a wrong \
                 password were refused",
                self.per_second(),
                whole(self.allowed() as f64),
                at(50.0),
                at(99.0),
                at(99.9),
                whole(self.refused() as f64)
            ),
            format!(
                "the process that checks passwords computed {} for each of them",
                span(each.unwrap_or_default())
            ),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let latency = self.latency();
        let us = |percent| latency.value_at_percentile(percent) as f64 / 1e3;
        json!({
            "per_second": self.per_second(),
            "allowed": self.allowed(),
            "refused": self.refused(),
            "latency_us": { "p50": us(50.0), "p99": us(99.0), "p99.9": us(99.9) },
            "worker_processor_seconds": self.worker.as_secs_f64(),
        })
    }
}

/// One that has not gone yet.
#[derive(Clone, Copy, Debug)]
struct OpenLogin {
    /// When it was meant to begin.
    due_at: u64,
    is_wrong: bool,
    answered: bool,
}

/// What has come of the logins.
#[derive(Clone, Debug)]
struct LoginOutcomes {
    /// Those that were let in, with the time from when each was meant to begin.
    tally: Arrivals,
    /// Wrong passwords, all of them refused.
    refused: u64,
    /// Nanoseconds in which they began.
    span_ns: u64,
}

/// Members of rooms who talk, and logins beside them.
#[derive(Debug)]
struct Logins<'a> {
    rooms: &'a mut TalkingRooms,
    /// Between two of them.
    interval: u64,
    accounts: usize,
    begun: usize,
    due_at: u64,
    began_at: u64,
    under_way: BTreeMap<usize, OpenLogin>,
    tally: Arrivals,
    refused: u64,
    span_ns: u64,
    running: bool,
}

impl<'a> Logins<'a> {
    /// So many a second beside these rooms.
    fn beside(rooms: &'a mut TalkingRooms, rate: u64) -> Self {
        Self {
            rooms,
            interval: 1_000_000_000 / rate.max(1),
            accounts: accounts_for(rate),
            begun: 0,
            due_at: 0,
            began_at: 0,
            under_way: BTreeMap::new(),
            tally: Arrivals::new(),
            refused: 0,
            span_ns: 0,
            running: false,
        }
    }

    /// What has come of them.
    fn outcome(self) -> LoginOutcomes {
        LoginOutcomes { tally: self.tally, refused: self.refused, span_ns: self.span_ns }
    }
}

impl FrameSink for Logins<'_> {
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

impl Load for Logins<'_> {
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

    fn tally(&mut self) -> &mut Arrivals {
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
        self.under_way.insert(who, OpenLogin { due_at: self.due_at, is_wrong, answered: false });
        swarm.sends().text(who, &login_with(&nick, &password));
        self.begun += 1;
        self.due_at += self.interval;
        Ok(())
    }
}
