//! The connections, what the turn has logged for them, and the flush.
//!
//! What is said in a room is appended to one log for the room and turn, and whoever is in it is
//! written the log as it lies there, its own part left out. Answers and private messages lie in
//! a log of their own, and a chain of pieces tells what of it is whose, and what of a room's log
//! stands before it. Whoever is in two rooms gets the one's log before the other's. Logs and
//! pieces are used again in the next turn.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use mio::net::TcpStream;
use slab::Slab;

use super::peer::{Membership, NONE, Piece, RelayPeer, Route, append};
use crate::limits::{READ_BYTES_PER_TURN, TURN_BYTES_MAX};

/// The log of answers and private messages.
const ANSWERS: usize = 0;

/// The capacity of a log that is kept from turn to turn; what a storm added is given back.
const LOG_KEPT_BYTES: usize = 1_048_576;

/// Emptied buffers of unfinished frames that are kept for the next ones.
const SPARE_MAX: usize = 64;

/// A room; one that is silent in a turn holds no log.
pub(super) struct RelayRoom {
    pub(super) name: Rc<str>,
    pub(super) members: Vec<Member>,
    /// The members' entries as the client list has them.
    pub(super) roster: Vec<u8>,
    /// The client list is to be sent at the end of the turn.
    pub(super) due: bool,
    /// The client list for this turn's joiners alone, in the log of answers.
    pub(super) list: Range<usize>,
    /// Which of the turn's logs is its own.
    log: usize,
}

impl RelayRoom {
    pub(super) const fn new(name: Rc<str>) -> Self {
        Self { name, members: Vec::new(), roster: Vec::new(), due: false, list: 0..0, log: NONE }
    }
}

pub(super) struct Member {
    pub(super) slot: usize,
    /// What stands before this in the room's log is not for it, or queued for it already.
    pub(super) from: usize,
}

/// Everything that frames touch.
pub(super) struct RelayState {
    pub(super) connections: Slab<RelayPeer>,
    pub(super) rooms: Slab<RelayRoom>,
    /// Nick to slot, and room name to room.
    pub(super) nicks: HashMap<Rc<str>, usize>,
    pub(super) names: HashMap<Rc<str>, usize>,
    /// Slots of those to read, in the order in which they have their go.
    pub(super) ready: VecDeque<usize>,
    /// Rooms whose client list is due, and who joined which room in this turn.
    pub(super) due: Vec<usize>,
    pub(super) joiners: Vec<(usize, usize)>,
    /// Rooms that were left by the last one in this turn.
    pub(super) emptied: Vec<usize>,
    /// An entry of a roster that is looked for.
    pub(super) entry: Vec<u8>,
    /// The turn's logs; those from `logs_used` on wait to be used.
    logs: Vec<Vec<u8>>,
    logs_used: usize,
    logged_bytes: usize,
    pieces: Vec<Piece>,
    dirty: Vec<usize>,
    dirty_rooms: Vec<usize>,
    gone: Vec<usize>,
    spare: Vec<Vec<u8>>,
    /// Where more than [`SLICES_MAX`] pieces are copied together.
    gathered: Vec<u8>,
    generation: u32,
}

impl RelayState {
    pub(super) fn new() -> Self {
        Self {
            connections: Slab::new(),
            rooms: Slab::new(),
            nicks: HashMap::new(),
            names: HashMap::new(),
            ready: VecDeque::new(),
            due: Vec::new(),
            joiners: Vec::new(),
            emptied: Vec::new(),
            entry: Vec::new(),
            logs: vec![Vec::new()],
            logs_used: ANSWERS + 1,
            logged_bytes: 0,
            pieces: Vec::new(),
            dirty: Vec::new(),
            dirty_rooms: Vec::new(),
            gone: Vec::new(),
            spare: Vec::new(),
            gathered: Vec::new(),
            generation: 0,
        }
    }

    /// Takes in a new connection; its slot, and its socket to be registered.
    pub(super) fn add(&mut self, socket: TcpStream) -> (usize, &mut TcpStream) {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.connections.insert(RelayPeer::new(socket, self.generation));
        (slot, &mut self.connections[slot].socket)
    }

    /// Whether this turn has logged so much that the rest is for the next one.
    pub(super) const fn has_enough(&self) -> bool {
        self.logged_bytes >= TURN_BYTES_MAX
    }

    pub(super) fn make_ready(&mut self, slot: usize) {
        queue_once(&mut self.ready, slot, &mut self.connections[slot].in_ready);
    }

    pub(super) fn mark_dirty(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if !std::mem::replace(&mut connection.in_dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// Passes a connection's frames on to its room; the caller knows that it is in it.
    pub(super) fn say(&mut self, slot: usize, key: usize, frames: &[u8]) {
        let start = self.log_bytes(key);
        self.tell(key, |log| log.extend_from_slice(frames));
        let own = &mut self.connections[slot].own;
        if own.start == own.end {
            own.start = start;
        } else {
            debug_assert_eq!(own.end, start, "{slot} was read twice in a turn");
        }
        own.end = start + frames.len();
    }

    /// Appends whole frames to a room's log, for everybody in it.
    pub(super) fn tell(&mut self, key: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let room = &mut self.rooms[key];
        if room.log == NONE {
            if self.logs_used == self.logs.len() {
                self.logs.push(Vec::new());
            }
            room.log = self.logs_used;
            self.logs_used += 1;
            self.dirty_rooms.push(key);
        }
        let log = &mut self.logs[room.log];
        let before = log.len();
        write(log);
        self.logged_bytes += log.len() - before;
    }

    /// Counts what will be logged at the end of the turn.
    pub(super) const fn spend(&mut self, bytes: usize) {
        self.logged_bytes += bytes;
    }

    /// How much was said in a room in this turn.
    pub(super) fn log_bytes(&self, key: usize) -> usize {
        self.logs.get(self.rooms[key].log).map_or(0, Vec::len)
    }

    /// Appends whole frames to the log of answers; [`RelayState::push`] says whose they are.
    pub(super) fn lay_down(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let log = &mut self.logs[ANSWERS];
        let start = log.len();
        write(log);
        self.logged_bytes += log.len() - start;
        start..log.len()
    }

    /// Queues what was laid down for a connection, behind what its rooms have said before.
    pub(super) fn push(&mut self, slot: usize, answer: Range<usize>) {
        if self.connections[slot].open && !self.connections[slot].broken {
            self.settle(slot);
            append(&mut self.pieces, &mut self.connections[slot].chain, ANSWERS, answer);
            self.mark_dirty(slot);
        }
    }

    /// Queues for a connection what its rooms have said so far, its own part left out.
    pub(super) fn settle(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        for place in &connection.rooms {
            let room = &mut self.rooms[place.room];
            let Some(log) = self.logs.get(room.log) else {
                continue;
            };
            let from = std::mem::replace(&mut room.members[place.index].from, log.len());
            let mut own = 0..0;
            if connection.route == Route::Room(place.room) {
                own = std::mem::take(&mut connection.own);
            }
            for part in parts(from, &own, log.len()) {
                append(&mut self.pieces, &mut connection.chain, room.log, part);
            }
        }
        if connection.chain.first != NONE {
            self.mark_dirty(slot);
        }
    }

    /// Enters a connection into a room's table; what the room has said before is not for it.
    pub(super) fn enter(&mut self, slot: usize, key: usize) {
        let from = self.log_bytes(key);
        let members = &mut self.rooms[key].members;
        let connection = &mut self.connections[slot];
        connection.rooms.push(Membership { room: key, index: members.len() });
        connection.one_room = connection.rooms.len() == 1;
        members.push(Member { slot, from });
    }

    /// Takes a connection out of a room's table; what the room has said so far is still for it.
    pub(super) fn leave(&mut self, slot: usize, key: usize) {
        self.settle(slot);
        let connection = &mut self.connections[slot];
        let Some(position) = connection.rooms.iter().position(|place| place.room == key) else {
            return;
        };
        let index = connection.rooms.remove(position).index;
        connection.one_room = connection.rooms.len() == 1;
        if connection.route == Route::Room(key) {
            connection.route = Route::Unknown;
        }
        let members = &mut self.rooms[key].members;
        members.swap_remove(index);
        if let Some(moved) = members.get(index)
            && let Some(place) =
                self.connections[moved.slot].rooms.iter_mut().find(|place| place.room == key)
        {
            place.index = index;
        }
    }

    /// Writes to everybody what the turn has for it, with one system call each.
    pub(super) fn flush(&mut self) {
        for index in 0..self.dirty_rooms.len() {
            self.flush_room(self.dirty_rooms[index]);
        }
        for index in 0..self.dirty.len() {
            self.flush_one(self.dirty[index]);
        }
        self.dirty.clear();
        self.forget_turn();
    }

    /// Writes a room's log to those who get nothing else; the others have it coming.
    fn flush_room(&mut self, key: usize) {
        let room = &mut self.rooms[key];
        let log = &self.logs[room.log];
        for member in &mut room.members {
            let connection = &mut self.connections[member.slot];
            if connection.in_dirty || !connection.one_room || !connection.writable {
                if !std::mem::replace(&mut connection.in_dirty, true) {
                    self.dirty.push(member.slot);
                }
                continue;
            }
            let from = std::mem::take(&mut member.from);
            let own = std::mem::take(&mut connection.own);
            let [before, after] = parts(from, &own, log.len()).map(|part| &log[part]);
            connection.write_log(before, after);
            if connection.broken {
                queue_once(&mut self.ready, member.slot, &mut connection.in_ready);
            }
        }
    }

    /// Writes all that waits for a connection.
    fn flush_one(&mut self, slot: usize) {
        self.settle(slot);
        let connection = &mut self.connections[slot];
        connection.in_dirty = false;
        for place in &connection.rooms {
            self.rooms[place.room].members[place.index].from = 0;
        }
        connection.write_queued(&self.logs, &self.pieces, &mut self.gathered);
        if connection.broken && connection.open {
            queue_once(&mut self.ready, slot, &mut connection.in_ready);
        }
        if connection.go_on_closing() {
            self.gone.push(slot);
        }
    }

    /// Empties what the next turn uses again, and removes the rooms in which nobody is left.
    fn forget_turn(&mut self) {
        for key in self.dirty_rooms.drain(..) {
            self.rooms[key].log = NONE;
        }
        for log in &mut self.logs[..self.logs_used] {
            log.clear();
            log.shrink_to(LOG_KEPT_BYTES);
        }
        self.logs_used = ANSWERS + 1;
        self.logged_bytes = 0;
        self.pieces.clear();
        self.gathered.clear();
        self.gathered.shrink_to(LOG_KEPT_BYTES);
        for key in self.emptied.drain(..) {
            // It may have been left twice, or joined again.
            if self.rooms.get(key).is_some_and(|room| room.members.is_empty()) {
                let room = self.rooms.remove(key);
                self.names.remove(&room.name);
            }
        }
    }

    /// Closes the sockets of the connections that are over.
    pub(super) fn close_sockets(&mut self) {
        for slot in self.gone.drain(..) {
            self.connections.try_remove(slot);
        }
    }

    /// An empty buffer for an unfinished frame.
    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps a buffer of an unfinished frame for the next one.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && self.spare.len() < SPARE_MAX {
            buffer.clear();
            buffer.shrink_to(READ_BYTES_PER_TURN);
            self.spare.push(buffer);
        }
    }
}

/// Puts a slot into a queue in which it is not yet.
fn queue_once(queue: &mut VecDeque<usize>, slot: usize, queued: &mut bool) {
    if !std::mem::replace(queued, true) {
        queue.push_back(slot);
    }
}

/// What of a log is for somebody: from an offset to the end, its own part left out.
fn parts(from: usize, own: &Range<usize>, end: usize) -> [Range<usize>; 2] {
    [from..own.start.max(from), own.end.max(from)..end]
}
