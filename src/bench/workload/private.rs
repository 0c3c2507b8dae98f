//! Pairs: one of each sends the other a private message, and the next one when it has arrived.

use crate::bench::comparison::Comparison;
use crate::bench::entrance::{enter, refused};
use crate::bench::error::Fault;
use crate::bench::ledger::{Ledger, read_message, write_message};
use crate::bench::measure::{Arrivals, Load};
use crate::bench::names::RunNames;
use crate::bench::report::{Figures, Heading};
use crate::bench::swarm::{FrameSink, Sends, Swarm};

/// Measures them.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn private(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let options = comparison.options;
    let pairs = options.connections.or(options.dealt(2)).unwrap_or(100);
    let body = options.body.unwrap_or(100);
    let shape = format!("{pairs} pairs, bodies of {body} bytes, 1 in flight in each");
    let make = |swarm: &mut Swarm| Private::enter(swarm, pairs, body);
    comparison.compare(Heading::deliveries(shape), pairs * 2, make)
}

/// Pairs of connections.
#[derive(Debug)]
pub(in crate::bench) struct Private {
    tag: RunNames,
    first: usize,
    body_bytes: usize,
    /// The number that each second of a pair wants next.
    expected: Vec<u32>,
    ledger: Ledger,
    tally: Arrivals,
    running: bool,
}

impl Private {
    /// Logs the pairs in.
    ///
    /// # Errors
    /// What the system or the server refuses.
    pub(in crate::bench) fn enter(
        swarm: &mut Swarm,
        pairs: usize,
        body_bytes: usize,
    ) -> Result<Self, Fault> {
        let first = enter(swarm, pairs * 2, |_| None)?;
        Ok(Self {
            tag: swarm.tag(),
            first,
            body_bytes,
            expected: vec![0; pairs],
            ledger: Ledger::new(pairs),
            tally: Arrivals::new(),
            running: false,
        })
    }

    fn send(&mut self, pair: usize, now: u64, sends: &mut Sends) {
        let number = self.ledger.sent(pair, 1, now);
        let bytes = self.body_bytes;
        let from = self.first + pair * 2;
        let to = self.tag.nick(from + 1);
        sends.frame(from, |buffer| {
            write_message(buffer, ("c", &to), pair, number, bytes);
        });
    }
}

impl FrameSink for Private {
    fn frame(
        &mut self,
        who: usize,
        frame: &[u8],
        now: u64,
        sends: &mut Sends,
    ) -> Result<(), Fault> {
        if !frame.starts_with(b"<m ") {
            return refused(frame);
        }
        let message = read_message(frame)?;
        if self.first + message.stream * 2 + 1 != who {
            return Err(Fault::Stray { who, stream: message.stream });
        }
        let arrival = self.ledger.arrived(message, &mut self.expected[message.stream], now)?;
        self.tally.delivered(arrival.latency_ns);
        if self.running {
            self.send(message.stream, now, sends);
        }
        Ok(())
    }
}

impl Load for Private {
    fn begin(&mut self, now: u64, sends: &mut Sends) {
        self.running = true;
        for pair in 0..self.expected.len() {
            self.send(pair, now, sends);
        }
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn on_the_way(&self) -> u64 {
        self.ledger.on_the_way()
    }

    fn tally(&mut self) -> &mut Arrivals {
        &mut self.tally
    }
}
