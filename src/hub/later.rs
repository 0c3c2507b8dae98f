//! What is told later, because it costs much: in the order in which it has its time.
//!
//! The parts of slow lists ([`super::slow_lists`]) are, and a param of a client that is in many
//! rooms: it is told to some of them at a time, as its client may send (`byterate`; manual:
//! protocol, 'Limits').

use std::collections::BTreeSet;

use super::Hub;
use super::outlet::Outlet;
use super::room::RoomKey;
use super::slow_lists::ListKind;
use super::time::Time;
use crate::session_id::ConnId;

/// The parts of a second's rate in which what costs much is told.
pub(super) const PARTS_PER_S: usize = 4;

/// Something that is told later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Nothing is told: it is looked whether a reader has been waited for long enough.
    Reader { conn: ConnId },
    /// A part of a room's list; the serial tells a reused key from its predecessor.
    List { room: RoomKey, serial: u64, kind: ListKind },
    /// Params of a client, in some more of its rooms.
    Params { conn: ConnId },
}

/// What is told later: by its time, readers before all others, and then in the order in which it
/// came to wait.
#[derive(Debug, Default)]
pub(super) struct Later {
    waiting: BTreeSet<(Time, u64, What)>,
    numbers: u64,
}

impl Later {
    /// When something is to be told.
    pub(super) fn next(&self) -> Option<Time> {
        self.waiting.first().map(|&(time, _, _)| time)
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn add(&mut self, time: Time, what: What) {
        let number = match what {
            What::Reader { .. } => 0,
            What::List { .. } | What::Params { .. } => {
                self.numbers += 1;
                self.numbers
            }
        };
        self.waiting.insert((time, number, what));
    }

    /// What could not be told yet waits until then, and keeps its place.
    pub(super) fn put_off(&mut self, time: Time, number: u64, what: What) {
        self.waiting.insert((time, number, what));
    }

    fn take_due(&mut self, now: Time) -> Option<(u64, What)> {
        let &(time, _, _) = self.waiting.first()?;
        if time > now {
            return None;
        }
        self.waiting.pop_first().map(|(_, number, what)| (number, what))
    }
}

impl Hub {
    /// Tells what waits and has its time: one thing at least, and more while there is room.
    #[cold]
    pub(super) fn tell_later(&mut self, out: &mut impl Outlet) {
        while let Some((number, what)) = self.later.take_due(self.now) {
            match what {
                What::List { room, serial, kind } => {
                    if let Err(time) = self.send_part(room, serial, kind, out) {
                        self.later.put_off(time, number, what);
                    }
                }
                What::Params { conn } => self.tell_more_params(conn, out),
                What::Reader { conn } => self.look_at_reader(conn),
            }
            if out.has_enough() {
                break;
            }
        }
    }

    /// Tells rooms of a client what a param of it is by now: as many as may be told at once, the
    /// others later.
    pub(super) fn tell_param_in(
        &mut self,
        conn: ConnId,
        name: &str,
        rooms: &[RoomKey],
        out: &mut impl Outlet,
    ) {
        let at_once = self.byte_rate.map_or(usize::MAX, |rate| rate.bytes_per_s() / PARTS_PER_S);
        let mut told_bytes = 0;
        for (index, &key) in rooms.iter().enumerate() {
            told_bytes += self.tell_param_in_one(conn, name, key, out);
            let rest = &rooms[index + 1..];
            if told_bytes > at_once && !rest.is_empty() {
                self.tell_params_later(conn, name, rest);
                break;
            }
        }
        self.caused_bytes += told_bytes;
    }

    fn tell_params_later(&mut self, conn: ConnId, name: &str, rooms: &[RoomKey]) {
        let Some(session) = self.sessions.find_mut(conn) else {
            return;
        };
        let waits = session.has_untold();
        let untold = &mut session.flow_mut().untold;
        untold.retain(|(other, _)| **other != *name);
        untold.push_back((name.into(), rooms.into()));
        if !waits {
            self.later.add(self.now, What::Params { conn });
        }
    }

    /// Goes on with what a client's rooms have not been told yet, if it may go on by now.
    fn tell_more_params(&mut self, conn: ConnId, out: &mut impl Outlet) {
        if let Err(time) = self.check_bytes(conn) {
            return self.later.add(time, What::Params { conn });
        }
        let Some(session) = self.sessions.find_mut(conn) else {
            return;
        };
        let untold = &mut session.flow_mut().untold;
        if let Some((name, rooms)) = untold.pop_front() {
            if !untold.is_empty() {
                self.later.add(self.now, What::Params { conn });
            }
            self.caused_bytes = 0;
            self.tell_param_in(conn, &name, &rooms, out);
            self.charge_bytes(conn, self.caused_bytes);
        }
    }
}
