//! Sessions that come and go: connect, log in, join, leave, quit, and again when the server has
//! closed. What is counted is whole sessions.

use crate::bench::comparison::Comparison;
use crate::bench::entrance::refused;
use crate::bench::error::Fault;
use crate::bench::measure::{Arrivals, Load};
use crate::bench::names::{RunNames, join, login};
use crate::bench::report::{Figures, Heading};
use crate::bench::swarm::{FrameSink, Sends, Swarm};

/// Measures them.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn churn(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let sessions = options.connections.or(options.dealt(1)).unwrap_or(32);
    let shape = format!("connect, log in, join, leave, quit; {sessions} sessions at once");
    let heading = Heading { unit: "sessions", shape };
    let mut figures =
        comparison.compare(heading, sessions, |swarm| Ok(Churn::new(swarm, sessions)))?;
    // Nobody stays whose memory could be told.
    for side in &mut figures.sides {
        side.resident_bytes = None;
    }
    Ok(figures)
}

/// So many sessions at a time.
#[derive(Debug)]
pub(in crate::bench) struct Churn {
    tag: RunNames,
    sessions: usize,
    /// When each session began, by connection; `None` where there is none.
    begun_at: Vec<Option<u64>>,
    open: usize,
    tally: Arrivals,
    running: bool,
}

impl Churn {
    pub(in crate::bench) fn new(swarm: &Swarm, sessions: usize) -> Self {
        Self {
            tag: swarm.tag(),
            sessions,
            begun_at: Vec::new(),
            open: 0,
            tally: Arrivals::new(),
            running: false,
        }
    }
}

impl FrameSink for Churn {
    fn frame(&mut self, who: usize, frame: &[u8], _: u64, sends: &mut Sends) -> Result<(), Fault> {
        if frame.starts_with(b"<connect isok='1'") {
            sends.text(who, &join(&self.tag.room(who)));
        } else if frame.starts_with(b"<clients ") {
            sends.text(who, &format!("<leave room=\"{}\" />", self.tag.room(who)));
        } else if frame.starts_with(b"<leaved ") {
            sends.text(who, "<quit />");
        }
        refused(frame)
    }

    fn ended(&mut self, who: usize, now: u64) -> Result<(), Fault> {
        let Some(begun_at) = self.begun_at.get_mut(who).and_then(Option::take) else {
            return Err(Fault::Closed { who });
        };
        self.open -= 1;
        self.tally.delivered(now.saturating_sub(begun_at));
        Ok(())
    }
}

impl Load for Churn {
    fn begin(&mut self, _: u64, _: &mut Sends) {
        self.running = true;
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn on_the_way(&self) -> u64 {
        self.open as u64
    }

    fn tally(&mut self) -> &mut Arrivals {
        &mut self.tally
    }

    fn between_turns(&mut self, swarm: &mut Swarm) -> Result<(), Fault> {
        while self.running && self.open < self.sessions {
            let begun_at = swarm.now();
            let who = swarm.open()?;
            if who >= self.begun_at.len() {
                self.begun_at.resize(who + 1, None);
            }
            self.begun_at[who] = Some(begun_at);
            self.open += 1;
            let frame = login(&self.tag.nick(who));
            swarm.sends().text(who, &frame);
        }
        Ok(())
    }
}
