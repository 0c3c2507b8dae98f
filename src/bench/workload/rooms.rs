//! Members of rooms talk: so many messages in flight all the time, or so many a second by the
//! clock, whether or not the server keeps up.

use std::fmt;

use crate::bench::comparison::Comparison;
use crate::bench::entrance::{enter, is_departure, refused};
use crate::bench::error::Fault;
use crate::bench::ledger::{Ledger, read_message, write_message};
use crate::bench::measure::{Arrivals, Load};
use crate::bench::notes::lag;
use crate::bench::options::Options;
use crate::bench::over::Spoken;
use crate::bench::report::{Figures, Heading, whole};
use crate::bench::swarm::{FrameSink, Sends, Swarm};

/// Who is there and what they say.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Shape {
    pub(in crate::bench) rooms: usize,
    /// Of each room.
    pub(in crate::bench) members: usize,
    pub(in crate::bench) body_bytes: usize,
}

impl Shape {
    /// What the options ask for, and else these defaults.
    pub(in crate::bench) fn asked(options: &Options, default: Self) -> Self {
        let rooms = options.rooms.unwrap_or(default.rooms).max(1);
        let members = options.members.or(options.dealt(rooms)).unwrap_or(default.members);
        let body_bytes = options.body.unwrap_or(default.body_bytes);
        Self { rooms, members: members.max(2), body_bytes }
    }

    /// Members of all rooms together.
    pub(in crate::bench) const fn sessions(self) -> usize {
        self.rooms * self.members
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rooms, members, body_bytes } = self;
        write!(f, "{rooms} × {members} members, bodies of {body_bytes} bytes")
    }
}

/// A room of a hundred.
const HUNDRED: Shape = Shape { rooms: 1, members: 100, body_bytes: 100 };

/// Measures rooms in which so many messages are in flight.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn fanout(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let shape = Shape::asked(comparison.options, HUNDRED);
    let window = comparison.options.window.unwrap_or(64);
    let heading = Heading::deliveries(format!("{shape}, {window} in flight in each"));
    let make = |swarm: &mut Swarm| TalkingRooms::enter(swarm, shape, Pacing::Window(window));
    comparison.compare(heading, shape.sessions(), make)
}

/// Measures rooms in which messages come by the clock.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::bench) fn rate(comparison: &Comparison<'_>) -> Result<Figures, Fault> {
    let shape = Shape::asked(comparison.options, HUNDRED);
    let rate = comparison.options.rate.unwrap_or(1_000).max(1);
    let heading = Heading::deliveries(format!("{shape}, {} messages a second", whole(rate as f64)));
    let make = |swarm: &mut Swarm| TalkingRooms::enter(swarm, shape, Pacing::a_second(rate));
    let mut figures = comparison.compare(heading, shape.sessions(), make)?;
    figures.notes.extend(lag(&figures.sides));
    Ok(figures)
}

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) enum Pacing {
    /// So many of each room are in flight; the next one is sent when one has arrived everywhere.
    Window(usize),
    /// One every so many nanoseconds, counted from when it was meant to be sent.
    Interval(u64),
    /// The same as nearly as a process comes to it that leaves its core to others meanwhile, and
    /// counted from when it was sent: that the generator was late is not the server's doing.
    Beat(u64),
}

impl Pacing {
    /// So many a second by the clock.
    pub(in crate::bench) const fn a_second(rate: u64) -> Self {
        Self::Interval(1_000_000_000 / rate)
    }
}

/// Rooms full of members.
#[derive(Debug)]
pub(in crate::bench) struct TalkingRooms {
    shape: Shape,
    pacing: Pacing,
    first: usize,
    /// Of each room; each is a stream of the ledger.
    senders: usize,
    names: Vec<String>,
    /// For each receiver, the number that it wants next from each sender of its room.
    expected: Vec<u32>,
    /// What each receiver speaks, where they differ.
    overs: Vec<Spoken>,
    ledger: Ledger,
    tally: Arrivals,
    running: bool,
    /// A member that never reads; it is nobody's receiver.
    deaf: Option<usize>,
    /// How often anybody heard that a member had left.
    departures: u64,
    due_at: u64,
    due_stream: usize,
}

impl TalkingRooms {
    /// Fills the rooms.
    ///
    /// # Errors
    /// What the system or the server refuses.
    pub(in crate::bench) fn enter(
        swarm: &mut Swarm,
        shape: Shape,
        pacing: Pacing,
    ) -> Result<Self, Fault> {
        let Shape { rooms, members, body_bytes: _ } = shape;
        let tag = swarm.tag();
        let first = enter(swarm, rooms * members, |index| Some(index / members))?;
        let senders = match pacing {
            Pacing::Window(window) => window.clamp(1, members),
            Pacing::Interval(_) | Pacing::Beat(_) => members,
        };
        let mut overs: Vec<Spoken> =
            (first..first + rooms * members).filter_map(|who| swarm.over(who)).collect();
        if overs.windows(2).all(|pair| pair[0] == pair[1]) {
            overs.clear();
        }
        Ok(Self {
            shape,
            pacing,
            first,
            senders,
            names: (0..rooms).map(|room| tag.room(room)).collect(),
            expected: vec![0; rooms * members * senders],
            overs,
            ledger: Ledger::new(rooms * senders),
            tally: Arrivals::new(),
            running: false,
            deaf: None,
            departures: 0,
            due_at: 0,
            due_stream: 0,
        })
    }

    /// The last member of the last room reads nothing from now on; gives its number.
    pub(in crate::bench) fn deafen_one(&mut self, swarm: &mut Swarm) -> usize {
        let who = self.first + self.shape.rooms * self.shape.members - 1;
        swarm.deafen(who);
        self.deaf = Some(who);
        who
    }

    /// How often anybody heard that a member had left.
    pub(in crate::bench) const fn departures(&self) -> u64 {
        self.departures
    }

    fn sender(&self, stream: usize) -> usize {
        self.first + stream / self.senders * self.shape.members + stream % self.senders
    }

    fn send(&mut self, stream: usize, at: u64, sends: &mut Sends) {
        let (room, who) = (stream / self.senders, self.sender(stream));
        if self.deaf == Some(who) {
            return;
        }
        let deaf_here = self.deaf.is_some() && room == self.shape.rooms - 1;
        let receivers = self.shape.members - 1 - usize::from(deaf_here);
        let receivers = u32::try_from(receivers).unwrap_or(u32::MAX);
        if receivers == 0 {
            return;
        }
        let number = self.ledger.sent(stream, receivers, at);
        let (name, bytes) = (&self.names[room], self.shape.body_bytes);
        sends.frame(who, |buffer| {
            write_message(buffer, ("toroom", name), stream, number, bytes);
        });
    }
}

impl FrameSink for TalkingRooms {
    fn frame(
        &mut self,
        who: usize,
        frame: &[u8],
        now: u64,
        sends: &mut Sends,
    ) -> Result<(), Fault> {
        if !frame.starts_with(b"<m ") {
            self.departures += u64::from(is_departure(frame));
            return refused(frame);
        }
        let message = read_message(frame)?;
        let receiver = who - self.first;
        let stray = message.stream / self.senders != receiver / self.shape.members
            || self.sender(message.stream) == who;
        if stray {
            return Err(Fault::Stray { who, stream: message.stream });
        }
        let bytes = self.shape.body_bytes;
        if message.body_bytes != bytes && message.body_bytes > bytes.max(24) {
            return Err(Fault::Garbled { frame: String::from_utf8_lossy(frame).into_owned() });
        }
        let index = receiver * self.senders + message.stream % self.senders;
        let arrival = self.ledger.arrived(message, &mut self.expected[index], now)?;
        self.tally.delivered(arrival.latency_ns);
        if let Some(&over) = self.overs.get(receiver) {
            self.tally.delivered_over(over, arrival.latency_ns);
        }
        if arrival.complete && self.running && matches!(self.pacing, Pacing::Window(_)) {
            self.send(message.stream, now, sends);
        }
        Ok(())
    }
}

impl Load for TalkingRooms {
    fn begin(&mut self, now: u64, sends: &mut Sends) {
        self.running = true;
        self.due_at = now;
        if let Pacing::Window(window) = self.pacing {
            for room in 0..self.shape.rooms {
                for index in 0..window.max(1) {
                    self.send(room * self.senders + index % self.senders, now, sends);
                }
            }
        }
    }

    fn due(&mut self, now: u64, sends: &mut Sends) -> Option<u64> {
        let (interval, from_sending) = match self.pacing {
            Pacing::Window(_) => return None,
            Pacing::Interval(interval) => (interval, false),
            Pacing::Beat(interval) => (interval, true),
        };
        while self.running && self.due_at <= now {
            self.tally.lag_ns = self.tally.lag_ns.max(now - self.due_at);
            // From room to room, and within each from member to member.
            let (room, member) =
                (self.due_stream % self.shape.rooms, self.due_stream / self.shape.rooms);
            let at = if from_sending { now } else { self.due_at };
            self.send(room * self.senders + member, at, sends);
            self.due_stream = (self.due_stream + 1) % (self.shape.rooms * self.senders);
            // Those that are late are not made up for: they would come all at once.
            self.due_at = at + interval;
        }
        Some(self.due_at)
    }

    fn is_punctual(&self) -> bool {
        !matches!(self.pacing, Pacing::Beat(_))
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
