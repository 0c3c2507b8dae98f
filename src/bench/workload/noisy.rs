//! Clients that misbehave while others are measured: one sends as fast as it can, one never
//! reads, one trickles a byte at a time, one joins and leaves in a loop. Whoever of them is cut
//! off comes again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::rooms::{Pacing, Shape, TalkingRooms};
use crate::bench::comparison::{Comparison, Subject};
use crate::bench::entrance::is_departure;
use crate::bench::error::Fault;
use crate::bench::interrupt::is_interrupted;
use crate::bench::measure::measure;
use crate::bench::names::{RunNames, join, login};
use crate::bench::notes::{lag, quotients};
use crate::bench::over::Mix;
use crate::bench::report::{Figures, Heading, Side};
use crate::bench::swarm::{FrameSink, Sends, Swarm};
use crate::bench::transport::Approach;

/// Bytes that the fastest keeps waiting to be written.
const FLOOD_BYTES: usize = 65_536;

/// Between two bytes of the one that trickles.
const TRICKLE: Duration = Duration::from_millis(5);

/// Measures the others, alone and among them.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn noisy(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let shape = Shape::asked(options, Shape { rooms: 10, members: 10, body_bytes: 100 });
    let rate = options.rate.unwrap_or(500).max(1);
    let Subject { host, mut swarm } = comparison.guarded(shape.sessions())?;
    let mut rooms = TalkingRooms::enter(&mut swarm, shape, Pacing::a_second(rate))?;
    let span = Duration::from_secs_f64(options.seconds());
    let (way, tag) = (swarm.way(), swarm.tag());
    let mut sides = [Side::named("alone"), Side::named("among")];
    let mut cut_off = 0;
    for _ in 0..options.rounds() {
        sides[0].samples.push(measure(&host, &mut swarm, &mut rooms, span)?);
        let stop = AtomicBool::new(false);
        let (among, rude) = std::thread::scope(|scope| {
            let (way, mix) = (way.clone(), options.over.clone());
            let rude = scope.spawn(|| misbehave(way, mix, &tag, &stop));
            let among = measure(&host, &mut swarm, &mut rooms, span);
            stop.store(true, Ordering::Relaxed);
            (among, rude.join())
        });
        sides[1].samples.push(among?);
        cut_off += rude.unwrap_or(Ok(0))?;
        comparison.bar.inc(1);
        if is_interrupted() {
            break;
        }
    }
    let mut notes = Vec::from_iter(quotients(&sides[0], &sides[1]));
    notes.push(format!("{cut_off} times one of the rude was cut off and came again"));
    notes.extend(lag(&sides));
    let heading = Heading::deliveries(format!("{shape}, {rate} messages a second in all"));
    let figures = Figures::of(options, heading, sides.to_vec());
    Ok(Figures { notes, compares: false, ..figures })
}

/// What a rude client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Floods,
    NeverReads,
    Trickles,
    ComesAndGoes,
}

const MANNERS: [Manner; 4] =
    [Manner::Floods, Manner::NeverReads, Manner::Trickles, Manner::ComesAndGoes];

#[derive(Debug)]
struct Rude {
    /// The connection of each manner, while it has one.
    lines: [Option<usize>; MANNERS.len()],
    logged_in: [bool; MANNERS.len()],
    /// Times that one of them had to come again.
    cut_off: u64,
    /// The one that never reads was cut off.
    unseen_end: bool,
    /// The room of the polite that the restless one visits, and the one where the flood goes.
    visited: String,
    own: String,
}

/// Misbehaves until `stop` is set; gives how often somebody was cut off.
///
/// # Errors
/// When no connection can be opened.
fn misbehave(way: Approach, mix: Mix, polite: &RunNames, stop: &AtomicBool) -> Result<u64, Fault> {
    // The polite generator is to have its core when it needs it; without the right to step
    // back nothing is lost but calm.
    let _ = rustix::process::nice(19);
    let mut swarm = Swarm::new(way, mix)?;
    let mut rude = Rude {
        lines: [None; MANNERS.len()],
        logged_in: [false; MANNERS.len()],
        cut_off: 0,
        unseen_end: false,
        visited: polite.room(0),
        own: format!("{}.rude", polite.room(0)),
    };
    let mut trickled_at = 0;
    while !stop.load(Ordering::Relaxed) && !is_interrupted() {
        rude.come_again(&mut swarm)?;
        rude.flood(swarm.sends());
        let now = swarm.now();
        if now - trickled_at > TRICKLE.as_nanos() as u64 {
            trickled_at = now;
            rude.trickle(swarm.sends());
        }
        swarm.turn(Some(Duration::from_millis(1)), &mut rude)?;
    }
    Ok(rude.cut_off)
}

impl Rude {
    fn line(&self, manner: Manner) -> Option<usize> {
        self.lines[manner as usize].filter(|_| self.logged_in[manner as usize])
    }

    fn come_again(&mut self, swarm: &mut Swarm) -> Result<(), Fault> {
        for manner in MANNERS {
            let index = manner as usize;
            let is_deaf = manner == Manner::NeverReads;
            if is_deaf
                && let Some(who) = self.lines[index]
                && std::mem::take(&mut self.unseen_end)
            {
                swarm.close(who);
                self.gone(index);
            }
            if self.lines[index].is_none() {
                let who = swarm.open()?;
                self.lines[index] = Some(who);
                let nick = format!("rude{index}.{}.{}", std::process::id(), self.cut_off);
                swarm.sends().text(who, &login(&nick));
            }
            if is_deaf && let Some(who) = self.line(manner) {
                swarm.deafen(who);
            }
        }
        Ok(())
    }

    fn gone(&mut self, index: usize) {
        self.lines[index] = None;
        self.logged_in[index] = false;
        self.cut_off += 1;
    }

    /// As fast as it can: whatever the socket takes.
    fn flood(&self, sends: &mut Sends) {
        let Some(who) = self.line(Manner::Floods) else {
            return;
        };
        while sends.waiting(who) < FLOOD_BYTES {
            let own = &self.own;
            sends.text(who, &format!("<m toroom=\"{own}\" back=\"1\">out of my way</m>"));
        }
    }

    /// A stanza that takes for ever.
    fn trickle(&self, sends: &mut Sends) {
        if let Some(who) = self.line(Manner::Trickles) {
            sends.raw(who, b" ");
        }
    }
}

impl FrameSink for Rude {
    fn frame(&mut self, who: usize, frame: &[u8], _: u64, sends: &mut Sends) -> Result<(), Fault> {
        let Some(index) = self.lines.iter().position(|&line| line == Some(who)) else {
            return Ok(());
        };
        let manner = MANNERS[index];
        if frame.starts_with(b"<connect isok='1'") {
            self.logged_in[index] = true;
            match manner {
                Manner::Floods | Manner::NeverReads => sends.text(who, &join(&self.own)),
                Manner::ComesAndGoes => sends.text(who, &join(&self.visited)),
                Manner::Trickles => {}
            }
        } else if manner == Manner::Floods && is_departure(frame) {
            // The one that never reads does not see its end: that stands behind what it does
            // not read.
            self.unseen_end = true;
        } else if manner == Manner::ComesAndGoes && frame.starts_with(b"<joined ") {
            sends.text(who, &format!("<leave room=\"{}\" />", self.visited));
        } else if manner == Manner::ComesAndGoes && frame.starts_with(b"<leaved ") {
            sends.text(who, &join(&self.visited));
        }
        Ok(())
    }

    fn ended(&mut self, who: usize, _: u64) -> Result<(), Fault> {
        if let Some(index) = self.lines.iter().position(|&line| line == Some(who)) {
            self.gone(index);
        }
        Ok(())
    }
}
