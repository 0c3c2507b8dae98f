//! Lists that cost much are not sent at once (`listrate`; manual: protocol, 'Limits').
//!
//! A room's list to its members costs its bytes once for each of them. Lists that cost more than a
//! second of `limits.listrate`, those of a room that has used up what it had, and those of a room
//! with members that don't keep up with reading are sent later, to some of the members at a time,
//! as the list is by then: whatever changes meanwhile is merged. Members that don't keep up get it
//! last.

use super::Hub;
use super::later::{PARTS_PER_S, What};
use super::long_lists::EncodedList;
use super::outlet::Outlet;
use super::rate::ByteRate;
use super::room::{Room, RoomKey};
use super::time::Time;
use crate::session_id::ConnId;

/// A list that costs no more than this part of a second's rate is sent at once whatever else is
/// to be done.
const SMALL_PART: usize = 64;

/// Bytes of a part where there is no rate any more.
const PART_BYTES_UNLIMITED: usize = 1_048_576;

/// How soon members that did not keep up are looked at again.
const LATE_LOOK_NS: u64 = 250_000_000;

/// Which of a room's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListKind {
    Clients,
    ChildRooms,
}

/// The lists of a room that are sent in parts.
#[derive(Debug, Default)]
pub(super) struct SlowLists {
    clients: Option<Pass>,
    child_rooms: Option<Pass>,
}

/// How far a list has come on its way through the members.
#[derive(Debug, Default)]
struct Pass {
    /// The next member that gets it, by the order of joining.
    next: usize,
    /// Members before the next one that did not keep up when it was their turn.
    late: Vec<ConnId>,
    /// It has changed since it was begun: all members get it once more.
    again: bool,
}

impl SlowLists {
    /// A member leaves; the one that comes next stays the next.
    pub(super) fn member_leaves(&mut self, index: usize, conn: ConnId) {
        for pass in [&mut self.clients, &mut self.child_rooms].into_iter().flatten() {
            pass.next -= usize::from(index < pass.next);
            pass.late.retain(|&late| late != conn);
        }
    }

    const fn pass(&mut self, kind: ListKind) -> &mut Option<Pass> {
        match kind {
            ListKind::Clients => &mut self.clients,
            ListKind::ChildRooms => &mut self.child_rooms,
        }
    }
}

impl Hub {
    /// Whether a list that is due goes the slow way, whatever it costs: the room has such a list
    /// under way, has used up what it had or has been told much in this turn, some of its members
    /// don't keep up, or the turn has no time left to encode what costs much.
    pub(super) fn has_to_wait(&mut self, key: RoomKey, kind: ListKind, out: &impl Outlet) -> bool {
        let Some(room) = self.rooms.room_mut(key) else {
            return false;
        };
        if let Some(slow) = &mut room.slow
            && let Some(pass) = slow.pass(kind)
        {
            pass.again = pass.next > 0;
            return true;
        }
        let lists = room.lists;
        let has_to_wait = room.behind > 0
            || self.list_rate.is_some_and(|rate| lists.check_bytes(rate, self.now).is_err())
            || self.is_full_this_turn(key)
            || (out.has_enough() && self.costs_much(key, kind));
        if has_to_wait {
            self.go_slowly(key, kind);
        }
        has_to_wait
    }

    /// Whether a list costs more than what is sent at once in a turn that has enough to do.
    fn costs_much(&self, key: RoomKey, kind: ListKind) -> bool {
        let members = self.rooms.room(key).map_or(0, |room| room.members.len());
        let cost = || self.most_list_bytes(key, kind).saturating_mul(members);
        self.list_rate.is_some_and(|rate| cost() > at_once(rate, true))
    }

    /// Sends a list to all of a room's members, if it costs no more than what is sent at once;
    /// otherwise it goes the slow way. Gives which.
    pub(super) fn send_at_once(
        &mut self,
        key: RoomKey,
        kind: ListKind,
        list: EncodedList,
        out: &mut impl Outlet,
    ) -> bool {
        let Some(room) = self.rooms.room(key) else {
            return false;
        };
        let hidden = kind == ListKind::ChildRooms && self.has_hidden_children(key);
        let most = if hidden { self.most_list_bytes(key, kind) } else { list.bytes() };
        let cost = most.saturating_mul(room.members.len());
        if self.list_rate.is_some_and(|rate| cost > at_once(rate, out.has_enough())) {
            self.go_slowly(key, kind);
            return false;
        }
        if hidden {
            let to = room.members.clone();
            self.push_list(key, kind, &to, list, out);
        } else {
            out.push_all(room.roster(), None, list.message);
        }
        self.charge_room(key, list, cost);
        true
    }

    /// Has a list go the slow way from its beginning.
    fn go_slowly(&mut self, key: RoomKey, kind: ListKind) {
        if let Some(room) = self.rooms.room_mut(key) {
            *room.slow.get_or_insert_default().pass(kind) = Some(Pass::default());
            let serial = room.serial;
            self.go_on_later(key, serial, kind);
        }
    }

    /// Takes note of what a list has cost its room, to so many members as make this cost.
    fn charge_room(&mut self, key: RoomKey, list: EncodedList, cost: usize) {
        if let (Some(rate), Some(room)) = (self.list_rate, self.rooms.room_mut(key)) {
            room.lists.take_bytes(rate, cost.saturating_add(list.vain_bytes), self.now);
        }
        self.said_in(key, list.bytes());
    }

    /// A list goes on as soon as its room may be told lists again.
    fn go_on_later(&mut self, key: RoomKey, serial: u64, kind: ListKind) {
        let lists = self.rooms.room(key).map(|room| room.lists).unwrap_or_default();
        let ready = self.list_rate.map_or(Ok(()), |rate| lists.check_bytes(rate, self.now));
        let time = ready.err().unwrap_or(self.now);
        self.later.add(time, What::List { room: key, serial, kind });
    }

    /// Sends a slow list to the next of the members, as it is by now; tells when it can, if not
    /// yet.
    pub(super) fn send_part(
        &mut self,
        key: RoomKey,
        serial: u64,
        kind: ListKind,
        out: &mut impl Outlet,
    ) -> Result<(), Time> {
        let full_roster_members = self.settings.full_roster_members;
        let Some(room) = self.rooms.room_mut(key).filter(|room| room.serial == serial) else {
            return Ok(());
        };
        let Some(mut pass) = take_pass(room, kind) else {
            return Ok(());
        };
        if pass.next >= room.members.len() && pass.again {
            pass = Pass::default();
        }
        // In a large room joiners alone get the client list.
        if kind == ListKind::Clients && room.members.len() > full_roster_members {
            return Ok(());
        }
        if let Some(rate) = self.list_rate
            && let Err(time) = room.lists.check_bytes(rate, self.now)
        {
            set_pass(room, kind, pass);
            return Err(time);
        }
        if self.may_tell_somebody(key, &pass) {
            let list = self.encode_list(key, kind, out);
            let part_bytes = self
                .list_rate
                .map_or(PART_BYTES_UNLIMITED, |rate| rate.bytes_per_s() / PARTS_PER_S);
            let hidden = kind == ListKind::ChildRooms && self.has_hidden_children(key);
            let most = if hidden { self.most_list_bytes(key, kind) } else { list.bytes() };
            let to = self.next_members(key, &mut pass, (part_bytes / most).max(1));
            self.push_list(key, kind, &to, list, out);
            self.charge_room(key, list, most.saturating_mul(to.len()));
        } else {
            self.next_members(key, &mut pass, 0);
        }
        let Some(room) = self.rooms.room_mut(key) else {
            return Ok(());
        };
        let only_late = pass.next >= room.members.len() && !pass.again;
        if !only_late {
            set_pass(room, kind, pass);
            self.go_on_later(key, serial, kind);
        } else if !pass.late.is_empty() {
            set_pass(room, kind, pass);
            let time = Time(self.now.0.saturating_add(LATE_LOOK_NS));
            self.later.add(time, What::List { room: key, serial, kind });
        }
        Ok(())
    }

    /// Whether a member is left that keeps up.
    fn may_tell_somebody(&self, key: RoomKey, pass: &Pass) -> bool {
        let members = self.rooms.room(key).map_or(&[][..], |room| &room.members);
        let rest = members.get(pass.next..).unwrap_or_default();
        rest.iter().chain(&pass.late).any(|&conn| !self.waits_for(conn))
    }

    /// Takes the next members out of a pass, at most so many; those who don't keep up are late.
    fn next_members(&self, key: RoomKey, pass: &mut Pass, max: usize) -> Vec<ConnId> {
        let members = self.rooms.room(key).map_or(&[][..], |room| &room.members);
        let mut to = Vec::new();
        while let Some(&conn) = members.get(pass.next) {
            if self.waits_for(conn) {
                pass.late.push(conn);
            } else if to.len() < max {
                to.push(conn);
            } else {
                break;
            }
            pass.next += 1;
        }
        pass.late.retain(|&conn| {
            let stays = self.waits_for(conn) || to.len() >= max;
            if !stays {
                to.push(conn);
            }
            stays
        });
        to
    }

    /// Whether a session's reader does not keep up and is waited for.
    fn waits_for(&self, conn: ConnId) -> bool {
        self.sessions.find(conn).is_some_and(|session| session.is_waited_for())
    }
}

/// What a list may cost that is sent at once, in bytes.
const fn at_once(rate: ByteRate, turn_is_full: bool) -> usize {
    if turn_is_full { rate.bytes_per_s() / SMALL_PART } else { rate.bytes_per_s() }
}

fn set_pass(room: &mut Room, kind: ListKind, pass: Pass) {
    *room.slow.get_or_insert_default().pass(kind) = Some(pass);
}

fn take_pass(room: &mut Room, kind: ListKind) -> Option<Pass> {
    let slow = room.slow.as_mut()?;
    let pass = slow.pass(kind).take();
    if slow.clients.is_none() && slow.child_rooms.is_none() {
        room.slow = None;
    }
    pass
}
