//! How connections of the generator come in: connect, log in, join, until all of it is
//! answered and nothing of it is on the way any more.

use std::time::Duration;

use super::error::Fault;
use super::interrupt::is_interrupted;
use super::names::join;
use super::swarm::{FrameSink, Sends, Swarm, nanoseconds};

/// Logins and joins that are under way at once.
const AT_ONCE: usize = 64;

/// How long the server may say nothing before the entrance is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Opens `count` connections that are logged in under [`RunNames::nick`]; gives the number of the
/// first. `room_of` tells the room each is to join.
///
/// # Errors
/// What the system or the server refuses.
pub(super) fn enter(
    swarm: &mut Swarm,
    count: usize,
    room_of: impl Fn(usize) -> Option<usize>,
) -> Result<usize, Fault> {
    let tag = swarm.tag();
    let mut first = None;
    let mut at = 0;
    while at < count {
        if is_interrupted() {
            return Err(Fault::Interrupted);
        }
        let batch = AT_ONCE.min(count - at);
        for _ in 0..batch {
            let who = swarm.open()?;
            first.get_or_insert(who);
            let frame = tag.login(who);
            swarm.sends().text(who, &frame);
        }
        wait(swarm, "<connect isok='1'", batch)?;
        at += batch;
    }
    let first = first.unwrap_or(0);
    let joins: Vec<(usize, usize)> =
        (first..first + at).filter_map(|who| Some((who, room_of(who - first)?))).collect();
    for batch in joins.chunks(AT_ONCE) {
        for &(who, number) in batch {
            let frame = join(&tag.room(number));
            swarm.sends().text(who, &frame);
        }
        wait(swarm, "<joined ", batch.len())?;
    }
    settle(swarm, first..first + at)?;
    Ok(first)
}

/// Waits until everything that the server had to say to these has arrived: each asks for a
/// pong, which comes last.
///
/// # Errors
/// What the server refuses, and [`Fault::Silent`].
pub(super) fn settle(swarm: &mut Swarm, who: std::ops::Range<usize>) -> Result<(), Fault> {
    let members: Vec<usize> = who.collect();
    for batch in members.chunks(1_024) {
        for &who in batch {
            swarm.sends().text(who, "<ping />");
        }
        wait(swarm, "<pong ", batch.len())?;
    }
    Ok(())
}

/// Waits until `count` frames have come that begin like this.
///
/// # Errors
/// What the server refuses, and [`Fault::Silent`].
pub(super) fn wait(swarm: &mut Swarm, begins: &'static str, count: usize) -> Result<(), Fault> {
    let mut answers = Answers { begins, seen: 0, heard: swarm.now() };
    while answers.seen < count {
        swarm.turn(Some(SILENCE), &mut answers)?;
        if is_interrupted() {
            return Err(Fault::Interrupted);
        }
        if swarm.now() - answers.heard > nanoseconds(SILENCE) {
            return Err(Fault::Silent { wanted: begins, seen: answers.seen, count });
        }
    }
    Ok(())
}

struct Answers {
    begins: &'static str,
    seen: usize,
    /// When the last frame came.
    heard: u64,
}

impl FrameSink for Answers {
    fn frame(&mut self, _: usize, frame: &[u8], now: u64, _: &mut Sends) -> Result<(), Fault> {
        self.heard = now;
        if frame.starts_with(self.begins.as_bytes()) {
            self.seen += 1;
        }
        refused(frame)
    }
}

/// An `<error>` of the server ends the run.
///
/// # Errors
/// [`Fault::Refused`] for an `<error>`.
pub(super) fn refused(frame: &[u8]) -> Result<(), Fault> {
    if frame.starts_with(b"<error>") {
        return Err(Fault::Refused { text: String::from_utf8_lossy(frame).into_owned() });
    }
    Ok(())
}

/// Whether a frame tells that somebody left a room.
pub(super) fn is_departure(frame: &[u8]) -> bool {
    frame.starts_with(b"<client ") && memchr::memmem::find(frame, b" left='").is_some()
}
