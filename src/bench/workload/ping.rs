//! Connections that send a ping each, and the next one when the pong is there.

use crate::bench::comparison::Comparison;
use crate::bench::entrance::{enter, refused};
use crate::bench::error::Fault;
use crate::bench::measure::{Arrivals, Load};
use crate::bench::report::{Figures, Heading};
use crate::bench::swarm::{FrameSink, Sends, Swarm};

/// Measures them.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn ping(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let connections = options.connections.or(options.dealt(1)).unwrap_or(100);
    let shape = format!("{connections} connections, 1 in flight on each");
    let heading = Heading { unit: "pongs", shape };
    comparison.compare(heading, connections, |swarm| Ping::enter(swarm, connections))
}

/// Connections with a ping in flight each.
#[derive(Debug)]
pub(in crate::bench) struct Ping {
    first: usize,
    /// When the ping in flight was sent.
    sent_at: Vec<Option<u64>>,
    on_the_way: u64,
    tally: Arrivals,
    running: bool,
}

impl Ping {
    /// Logs the connections in.
    ///
    /// # Errors
    /// What the system or the server refuses.
    pub(in crate::bench) fn enter(swarm: &mut Swarm, connections: usize) -> Result<Self, Fault> {
        let first = enter(swarm, connections, |_| None)?;
        let sent_at = vec![None; connections];
        Ok(Self { first, sent_at, on_the_way: 0, tally: Arrivals::new(), running: false })
    }

    fn send(&mut self, index: usize, now: u64, sends: &mut Sends) {
        self.sent_at[index] = Some(now);
        self.on_the_way += 1;
        sends.text(self.first + index, "<ping />");
    }
}

impl FrameSink for Ping {
    fn frame(
        &mut self,
        who: usize,
        frame: &[u8],
        now: u64,
        sends: &mut Sends,
    ) -> Result<(), Fault> {
        if frame != b"<pong />" {
            refused(frame)?;
            return Err(Fault::Garbled { frame: String::from_utf8_lossy(frame).into_owned() });
        }
        let index = who - self.first;
        let Some(sent_at) = self.sent_at[index].take() else {
            return Err(Fault::Doubled { stream: index, number: 0 });
        };
        self.on_the_way -= 1;
        self.tally.delivered(now.saturating_sub(sent_at));
        if self.running {
            self.send(index, now, sends);
        }
        Ok(())
    }
}

impl Load for Ping {
    fn begin(&mut self, now: u64, sends: &mut Sends) {
        self.running = true;
        for index in 0..self.sent_at.len() {
            self.send(index, now, sends);
        }
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn on_the_way(&self) -> u64 {
        self.on_the_way
    }

    fn tally(&mut self) -> &mut Arrivals {
        &mut self.tally
    }
}
