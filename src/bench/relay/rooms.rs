//! What the stanzas do: login, rooms, client lists, and the route of messages.
//!
//! Whatever is not on a message's way is spelled by [`write`], as the server spells it. Names
//! are taken as they stand between the first double quotes.

use std::iter;
use std::rc::Rc;

use memchr::{memchr, memmem};

use super::peer::Route;
use super::state::{RelayRoom, RelayState};
use crate::limits::{FULL_ROSTER_MEMBERS, READ_BYTES_PER_TURN};
use crate::wire::framer::FRAME_END;
use crate::wire::write;

/// The params of a room that nobody has changed.
const DEFAULT_PARAMS: [(&str, &str); 2] = [("title", ""), ("openParams", "0")];

impl RelayState {
    /// Takes in what was read from a connection. Messages that lie side by side are one range.
    pub(super) fn take_in(&mut self, slot: usize, chunk: &[u8]) {
        let mut rest = self.complete_tail(slot, chunk);
        while self.connections[slot].open {
            let messages = messages_bytes(rest);
            if messages > 0 {
                self.relay(slot, &rest[..messages]);
                rest = &rest[messages..];
            }
            let Some(end) = memchr(FRAME_END, rest) else {
                return self.keep_tail(slot, rest);
            };
            self.obey(slot, &rest[..end]);
            rest = &rest[end + 1..];
        }
    }

    /// Completes and handles the frame that earlier chunks have begun; what stands behind it.
    fn complete_tail<'a>(&mut self, slot: usize, chunk: &'a [u8]) -> &'a [u8] {
        let tail = &mut self.connections[slot].tail;
        let Some(end) = memchr(FRAME_END, chunk).filter(|_| !tail.is_empty()) else {
            return chunk;
        };
        let mut frame = std::mem::take(tail);
        frame.extend_from_slice(&chunk[..=end]);
        if frame.starts_with(b"<m") {
            self.relay(slot, &frame);
        } else {
            self.obey(slot, &frame[..frame.len() - 1]);
        }
        self.give_back(frame);
        &chunk[end + 1..]
    }

    fn keep_tail(&mut self, slot: usize, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        if self.connections[slot].tail.is_empty() {
            self.connections[slot].tail = self.take_spare();
        }
        let tail = &mut self.connections[slot].tail;
        tail.extend_from_slice(rest);
        if tail.len() > READ_BYTES_PER_TURN {
            self.refuse(slot, "Stanza too large");
            self.end(slot);
        }
    }

    /// Passes on messages, each with its NUL, by the route that the first one had. When there
    /// is none they get one error together.
    fn relay(&mut self, slot: usize, frames: &[u8]) {
        let known = self.connections[slot].route;
        let route =
            if self.leads_anywhere(known) { Ok(known) } else { self.find_route(slot, frames) };
        match route {
            Ok(route) => {
                self.connections[slot].route = route;
                self.follow(slot, route, frames);
            }
            Err(error) => self.refuse(slot, &error),
        }
    }

    /// Whether a route is known and its peer still there; a room's is, while the sender is in it.
    fn leads_anywhere(&self, route: Route) -> bool {
        match route {
            Route::Unknown => false,
            Route::Room(_) => true,
            Route::Peer { slot, generation } => self
                .connections
                .get(slot)
                .is_some_and(|peer| peer.open && peer.generation == generation),
        }
    }

    fn follow(&mut self, slot: usize, route: Route, frames: &[u8]) {
        match route {
            Route::Unknown => {}
            Route::Room(key) => self.say(slot, key, frames),
            Route::Peer { slot: peer, .. } => {
                let message = self.lay_down(|log| log.extend_from_slice(frames));
                self.push(peer, message);
            }
        }
    }

    /// Where a message wants to go, by its first attribute.
    fn find_route(&self, slot: usize, frame: &[u8]) -> Result<Route, String> {
        if self.connections[slot].nick.is_none() {
            return Err("You must login first".to_owned());
        }
        let attribute = frame.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        let name = attribute.split(|&byte| byte == b'=').next().unwrap_or_default();
        let value = value(frame);
        match name {
            b"c" | b"toclient" => self
                .nicks
                .get(value)
                .map(|&peer| Route::Peer {
                    slot: peer,
                    generation: self.connections[peer].generation,
                })
                .ok_or_else(|| format!("No user connected with nickname: {value}")),
            b"r" | b"toroom" => self
                .names
                .get(value)
                .filter(|&&key| self.is_in(slot, key))
                .map(|&key| Route::Room(key))
                .ok_or_else(|| "No room by that name".to_owned()),
            _ => Err("No recipient given".to_owned()),
        }
    }

    /// Does what a frame, without its NUL, asks for.
    fn obey(&mut self, slot: usize, frame: &[u8]) {
        let nick = self.connections[slot].nick.clone();
        match (frame.get(1), nick) {
            (Some(b'q'), _) => self.end(slot),
            (Some(b'c'), None) => self.connect(slot, value(frame)),
            (_, None) => self.refuse(slot, "You must login first"),
            (Some(b'p'), _) => self.answer(slot, write::pong),
            (Some(b'j'), Some(nick)) => self.join(slot, &nick, value(frame)),
            (Some(b'l'), Some(nick)) => self.leave_room(slot, &nick, value(frame)),
            _ => self.refuse(slot, "Not a known node"),
        }
    }

    fn connect(&mut self, slot: usize, nick: &str) {
        if nick.is_empty() || self.nicks.contains_key(nick) {
            let reason = "Nickname empty or already taken";
            self.answer(slot, |log| write::not_connected(log, reason));
            return self.refuse(slot, reason);
        }
        let shared: Rc<str> = nick.into();
        self.connections[slot].nick = Some(Rc::clone(&shared));
        self.nicks.insert(shared, slot);
        self.answer(slot, |log| write::connected(log, nick, None));
    }

    fn join(&mut self, slot: usize, nick: &str, name: &str) {
        if name.is_empty() {
            return self.refuse(slot, "No room specified");
        }
        let key = match self.names.get(name) {
            Some(&key) => key,
            None => {
                let shared: Rc<str> = name.into();
                let key = self.rooms.insert(RelayRoom::new(Rc::clone(&shared)));
                self.names.insert(shared, key);
                key
            }
        };
        if self.is_in(slot, key) {
            return self.refuse(slot, "You are already in this room");
        }
        if !self.rooms[key].members.is_empty() {
            self.tell(key, |log| frame_of(log, |log| write::client_joined(log, nick, name)));
        }
        self.enter(slot, key);
        let room = &mut self.rooms[key];
        roster_entry(&mut room.roster, nick);
        let clients = room.members.len();
        self.answer(slot, |log| {
            frame_of(log, |log| write::joined(log, name));
            frame_of(log, |log| {
                write::child_rooms_begin(log, name);
                write::child_rooms_end(log);
            });
            let head = write::RoomHead { name, clients, parent: None };
            write::room(log, head, DEFAULT_PARAMS.into_iter());
        });
        self.list_due(key);
        self.joiners.push((key, slot));
    }

    fn leave_room(&mut self, slot: usize, nick: &str, name: &str) {
        match self.names.get(name) {
            Some(&key) if self.is_in(slot, key) => {
                self.depart(slot, nick, key);
                self.answer(slot, |log| write::left(log, name, false));
            }
            _ => self.refuse(slot, "Not a known room"),
        }
    }

    /// Takes a connection out of a room and tells those who stay.
    fn depart(&mut self, slot: usize, nick: &str, key: usize) {
        self.leave(slot, key);
        self.entry.clear();
        roster_entry(&mut self.entry, nick);
        let room = &mut self.rooms[key];
        if let Some(start) = memmem::find(&room.roster, &self.entry) {
            room.roster.drain(start..start + self.entry.len());
        }
        if room.members.is_empty() {
            self.emptied.push(key);
        } else {
            let name = Rc::clone(&room.name);
            self.tell(key, |log| frame_of(log, |log| write::client_left(log, nick, &name)));
            self.list_due(key);
        }
    }

    /// A connection has quit or is at its end: it leaves every room, and its nick is free.
    pub(super) fn end(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if !std::mem::take(&mut connection.open) {
            return;
        }
        let tail = std::mem::take(&mut connection.tail);
        if let Some(nick) = connection.nick.take() {
            while let Some(place) = self.connections[slot].rooms.first() {
                self.depart(slot, &nick, place.room);
            }
            self.nicks.remove(&nick);
        }
        self.give_back(tail);
        self.mark_dirty(slot);
    }

    /// Makes a room's client list due at the end of the turn.
    fn list_due(&mut self, key: usize) {
        let room = &mut self.rooms[key];
        if !std::mem::replace(&mut room.due, true) {
            let bytes = room.roster.len();
            self.due.push(key);
            self.spend(bytes);
        }
    }

    /// Lays down the client lists that are due: for everybody in a room, or in a large one for
    /// those who joined in this turn.
    pub(super) fn finish_lists(&mut self) {
        let due = std::mem::take(&mut self.due);
        for &key in &due {
            let room = &mut self.rooms[key];
            room.due = false;
            let members = room.members.len();
            let name = Rc::clone(&room.name);
            let roster = std::mem::take(&mut room.roster);
            let list = |log: &mut Vec<u8>| {
                frame_of(log, |log| {
                    write::roster_begin(log, &name, members);
                    log.extend_from_slice(&roster);
                    write::roster_end(log);
                });
            };
            if members > FULL_ROSTER_MEMBERS {
                self.rooms[key].list = self.lay_down(list);
            } else if members > 0 {
                self.tell(key, list);
            }
            self.rooms[key].roster = roster;
        }
        let joiners = std::mem::take(&mut self.joiners);
        for &(key, slot) in &joiners {
            let list = self.rooms[key].list.clone();
            if !list.is_empty() && self.is_in(slot, key) {
                self.push(slot, list);
            }
        }
        for &key in &due {
            self.rooms[key].list = 0..0;
        }
        self.due = due;
        self.due.clear();
        self.joiners = joiners;
        self.joiners.clear();
    }

    fn is_in(&self, slot: usize, key: usize) -> bool {
        self.connections[slot].rooms.iter().any(|place| place.room == key)
    }

    /// Answers a connection; `write` leaves the last NUL out.
    fn answer(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let answer = self.lay_down(|log| frame_of(log, write));
        self.push(slot, answer);
    }

    /// Answers what the generator should not have sent.
    fn refuse(&mut self, slot: usize, reason: &str) {
        self.answer(slot, |log| write::error(log, reason));
    }
}

/// How many bytes of whole messages stand first.
fn messages_bytes(chunk: &[u8]) -> usize {
    let mut bytes = 0;
    while chunk[bytes..].starts_with(b"<m")
        && let Some(end) = memchr(FRAME_END, &chunk[bytes..])
    {
        bytes += end + 1;
    }
    bytes
}

/// What stands between the first double quotes; empty when nothing does or when it is no text.
fn value(frame: &[u8]) -> &str {
    let value = frame.split(|&byte| byte == b'"').nth(1).unwrap_or_default();
    std::str::from_utf8(value).unwrap_or_default()
}

fn frame_of(log: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    write(log);
    log.push(FRAME_END);
}

fn roster_entry(buffer: &mut Vec<u8>, nick: &str) {
    write::roster_client(buffer, nick, iter::empty());
}
