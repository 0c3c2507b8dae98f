//! Joining and leaving: rooms, child rooms, and which members are told
//! (manual: protocol, 'Rooms' and 'Child rooms').

use super::Hub;
use super::command::Request;
use super::long_lists::Fits;
use super::mode::Entry;
use super::note::Note;
use super::outlet::Outlet;
use super::role::Role;
use super::room::{Entangled, Room, RoomKey};
use super::seen::Viewer;
use super::session::Session;
use crate::limits::{LISTERS_MAX, LISTS_LOOKED_AT_MAX, exceeds};
use crate::nick::{self, Lookalikes, Seen};
use crate::reason::{RefusalReason, Refused};
use crate::session_id::ConnId;
use crate::wire::write;

impl Hub {
    /// `<join room="R" />`.
    pub(super) fn join(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let (name, password) = (request.attribute(0), request.stanza.value("password"));
        let entry = Entry::Asking(password.as_deref());
        if self.asks_joins() && self.lacks_permission_to_join(request, None, name, entry, out) {
            return;
        }
        let joined = self.let_in(request.conn, name, entry, out);
        self.refuse_if(request.conn, joined, out);
    }

    /// `<leave room="R" />`; answered in the form in which it was asked.
    pub(super) fn leave(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let short = request.spelling(0) == "r";
        let left = self.let_out(request.conn, request.attribute(0), short, out);
        self.refuse_if(request.conn, left, out);
    }

    /// `<addchild parentroom="P" childroom="C" />`.
    pub(super) fn add_child(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let (parent, child) = (request.attribute(0), request.attribute(1));
        let password = request.stanza.value("password");
        let entry = Entry::Asking(password.as_deref());
        if self.asks_joins()
            && self.lacks_permission_to_join(request, Some(parent), child, entry, out)
        {
            return;
        }
        let added = self.let_in_below(request.conn, parent, child, entry, out);
        self.refuse_if(request.conn, added, out);
    }

    /// Whether a session may enter a room, below another one if it is to be listed there, as far as
    /// can be told without doing it.
    pub(super) fn could_enter(
        &self,
        conn: ConnId,
        parent: Option<&str>,
        name: &str,
        entry: Entry<'_>,
    ) -> bool {
        let named = self.check_room_name(name);
        let Ok(existing) = named.and_then(|()| self.room_to_enter(conn, name)) else {
            return false;
        };
        let open = match existing {
            Some(key) => self.check_entry(conn, key, entry).is_ok(),
            None => self.check_likeness(name).is_ok(),
        };
        open && match parent {
            Some(parent) => self
                .own_room(conn, parent)
                .is_some_and(|parent| self.check_place(conn, parent, existing).is_ok()),
            None => self.check_room_counts(conn, existing.is_none()).is_ok(),
        }
    }

    /// Lets a session into a room, which is created if need be.
    ///
    /// # Errors
    /// What is to be told to the session, or to the plugin that ordered it to join.
    pub(super) fn let_in(
        &mut self,
        conn: ConnId,
        name: &str,
        entry: Entry<'_>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        self.check_room_name(name)?;
        let existing = self.room_to_enter(conn, name)?;
        if let Some(key) = existing
            && !self.may_enter(conn, key, entry, out)?
        {
            return Ok(());
        }
        self.check_room_counts(conn, existing.is_none())?;
        match existing {
            Some(key) => self.enter(conn, key, out),
            None => self.create_room(conn, name, None, out)?,
        }
        Ok(())
    }

    /// Lets a session out of a room, and tells it so in one of two forms.
    ///
    /// # Errors
    /// What is to be told to the session, or to the plugin that ordered it to leave.
    pub(super) fn let_out(
        &mut self,
        conn: ConnId,
        name: &str,
        short: bool,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let unknown = Refused::new(RefusalReason::UnknownTarget, "Not a known room");
        let key = self.own_room(conn, name).ok_or(unknown)?;
        self.depart(conn, key, out);
        self.send_due_to(conn, out);
        self.answer(conn, out, |buffer| write::left(buffer, name, short));
        Ok(())
    }

    fn let_in_below(
        &mut self,
        conn: ConnId,
        parent: &str,
        name: &str,
        entry: Entry<'_>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        self.check_room_name(name)?;
        let unknown = Refused::new(RefusalReason::UnknownTarget, "No room by that name");
        let parent = self.own_room(conn, parent).ok_or(unknown)?;
        let existing = self.room_to_enter(conn, name)?;
        if let Some(key) = existing
            && !self.may_enter(conn, key, entry, out)?
        {
            return Ok(());
        }
        self.check_place(conn, parent, existing)?;
        match existing {
            Some(key) => {
                self.enter(conn, key, out);
                self.rooms.list(parent, key);
            }
            None => self.create_room(conn, name, Some(parent), out)?,
        }
        self.child_rooms_due(parent, Some(conn), out);
        Ok(())
    }

    /// Whether a room, if there is one already, may be listed under this one.
    fn check_place(
        &self,
        conn: ConnId,
        parent: RoomKey,
        child: Option<RoomKey>,
    ) -> Result<(), Refused> {
        let entangled = |_: Entangled| {
            let max = LISTS_LOOKED_AT_MAX;
            Refused::for_limit(format!("Child rooms listed in too many ways (limit {max})"))
        };
        let (above, cycle) =
            self.rooms.above(parent, child.unwrap_or(RoomKey::MAX)).map_err(entangled)?;
        if cycle {
            let error = "A room can't be listed under one of its own descendants";
            return Err(Refused::new(RefusalReason::WrongState, error));
        }
        self.check_room_counts(conn, child.is_none())?;
        let below = child.map_or(Ok(0), |key| self.rooms.below(key)).map_err(entangled)?;
        let depth_max = self.settings.limits.room_depth_max;
        if exceeds(above + 1 + below, depth_max) {
            let error = format!("Child rooms nested too deep (limit {depth_max})");
            return Err(Refused::for_limit(error));
        }
        let listers = child.and_then(|key| self.rooms.room(key)).map(|room| &room.listers);
        if listers.is_some_and(|found| found.len() >= LISTERS_MAX && !found.contains(&parent)) {
            let error = format!("Room listed under too many rooms (limit {LISTERS_MAX})");
            return Err(Refused::for_limit(error));
        }
        Ok(())
    }

    /// `<getrooms />`.
    pub(super) fn tell_rooms(&mut self, request: &Request<'_>, out: &mut impl Outlet) {
        let conn = request.conn;
        let viewer = Viewer::One(conn);
        let bytes = self.answer_bounded(
            conn,
            self.rooms.names_bytes(),
            out,
            |buffer, with_params, fits| {
                self.write_rooms(buffer, viewer, with_params, fits);
            },
        );
        self.charge_asked(conn, bytes);
    }

    /// Writes the answer to `getrooms`: what this session sees, or all.
    pub(super) fn write_rooms(
        &self,
        buffer: &mut Vec<u8>,
        viewer: Viewer,
        with_params: bool,
        fits: Fits<'_>,
    ) {
        let rooms = || self.rooms.iter().filter(|room| self.sees(viewer, room));
        write::rooms_begin(buffer, rooms().count());
        for room in rooms() {
            write::newline(buffer);
            write::room(buffer, self.rooms.head(room), room.params.iter_if(with_params));
            if !fits(buffer) {
                return;
            }
        }
        write::rooms_end(buffer);
    }

    /// Takes a session out of every room, in the order in which it joined them.
    pub(super) fn depart_all(&mut self, conn: ConnId, out: &mut impl Outlet) {
        while let Some(&key) = self.sessions.find(conn).and_then(|session| session.rooms.first()) {
            self.depart(conn, key, out);
        }
    }

    /// The room of this name, if the connection's session is in it.
    pub(super) fn own_room(&self, conn: ConnId, name: &str) -> Option<RoomKey> {
        self.room_of(self.sessions.find(conn)?, name.as_bytes())
    }

    /// The room of this name, if the session is in it.
    pub(super) fn room_of(&self, session: &Session, name: &[u8]) -> Option<RoomKey> {
        /// Up to so many names are compared; that is less work than one hash.
        const COMPARED_MAX: usize = 4;
        if session.rooms.len() > COMPARED_MAX {
            let found = std::str::from_utf8(name).ok().and_then(|name| self.rooms.find(name));
            return found.filter(|key| session.rooms.contains(key));
        }
        let named = |&&key: &&RoomKey| {
            self.rooms.room(key).is_some_and(|room| room.name.as_bytes() == name)
        };
        session.rooms.iter().find(named).copied()
    }

    /// Whether a session is in a room.
    pub(super) fn is_in(&self, conn: ConnId, key: RoomKey) -> bool {
        self.sessions.find(conn).is_some_and(|session| session.rooms.contains(&key))
    }

    /// The room of this name, if there is one; the session must not be in it.
    fn room_to_enter(&self, conn: ConnId, name: &str) -> Result<Option<RoomKey>, Refused> {
        let existing = self.rooms.find(name);
        if existing.is_some_and(|key| self.is_in(conn, key)) {
            return Err(Refused::new(RefusalReason::WrongState, "You are already in this room"));
        }
        Ok(existing)
    }

    pub(super) fn check_room_name(&self, name: &str) -> Result<(), Refused> {
        let max = self.settings.limits.room_bytes_max;
        if name.len() > max {
            return Err(Refused::for_limit(format!("Room name too long (limit {max} bytes)")));
        }
        // What is a room's name has been looked at.
        if self.rooms.find(name).is_some() {
            return Ok(());
        }
        let Some(error) = nick::room_name_fault(name) else {
            return Ok(());
        };
        Err(Refused::new(RefusalReason::BadName, error))
    }

    /// What the name of a new room looks like, unless it looks like that of a room that is there.
    fn check_likeness(&self, name: &str) -> Result<Seen, Refused> {
        let seen = self.rooms.look_at(name);
        let refused = match self.settings.lookalikes {
            Lookalikes::Refuse => self.rooms.looks_taken(&seen),
            Lookalikes::Allow => false,
        };
        if refused {
            let error = "Room name that looks like the name of another room";
            return Err(Refused::new(RefusalReason::BadName, error));
        }
        Ok(seen)
    }

    fn check_room_counts(&self, conn: ConnId, new: bool) -> Result<(), Refused> {
        let limits = &self.settings.limits;
        let mine = self.sessions.find(conn).map_or(0, |session| session.rooms.len());
        if exceeds(mine + 1, limits.rooms_per_client_max) {
            let max = limits.rooms_per_client_max;
            return Err(Refused::for_limit(format!("You are in too many rooms (limit {max})")));
        }
        if new && exceeds(self.rooms.len() + 1, limits.rooms_max) {
            let max = limits.rooms_max;
            return Err(Refused::for_limit(format!("Too many rooms (limit {max})")));
        }
        Ok(())
    }

    /// Creates a room with its first member, who becomes its operator. This is the one place where
    /// a room begins.
    ///
    /// # Errors
    /// When its name looks like that of another one.
    fn create_room(
        &mut self,
        conn: ConnId,
        name: &str,
        parent: Option<RoomKey>,
        out: &mut impl Outlet,
    ) -> Result<(), Refused> {
        let seen = self.check_likeness(name)?;
        let key = self.rooms.create(name, seen, self.unix_now_us());
        if let Some(parent) = parent {
            self.rooms.list(parent, key);
        }
        if let Some(room) = self.rooms.room_mut(key) {
            room.parent = parent;
            room.roles.set(conn, Some(Role::Operator));
            self.params_total_bytes += room.params.counted_bytes();
        }
        out.note(Note::RoomCreated { room: name, conn });
        self.admit(conn, key, out);
        Ok(())
    }

    /// Lets a session into a room that exists: the members hear of it first.
    fn enter(&mut self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        if let (Some(room), Some(session)) = (self.rooms.room(key), self.sessions.find(conn))
            && !room.members.is_empty()
        {
            let message = out.encode_for_room(key, |buffer| {
                write::client_joined(buffer, &session.nick, &room.name)
            });
            out.push_all(room.roster(), None, message);
        }
        self.admit(conn, key, out);
        if let Some(parent) = self.rooms.room(key).and_then(|room| room.parent) {
            self.child_rooms_due(parent, Some(conn), out);
        }
    }

    /// Makes a session a member and tells it all about the room.
    fn admit(&mut self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        let Some(session) = self.sessions.find_mut(conn) else {
            return;
        };
        session.rooms.push(key);
        let behind = session.is_waited_for();
        if let Some(room) = self.rooms.change_members(key) {
            room.members.push(conn);
            room.behind += usize::from(behind);
        }
        if let Some(room) = self.rooms.room(key) {
            self.answer(conn, out, |buffer| write::joined(buffer, &room.name));
        }
        self.tell_child_rooms(conn, key, out);
        if let Some(room) = self.rooms.room(key) {
            let bytes = self.answer(conn, out, |buffer| {
                write::room(buffer, self.rooms.head(room), room.params.iter());
            });
            self.charge_asked(conn, bytes);
        }
        if self.registered.joins
            && let (Some(room), Some(session)) = (self.rooms.room(key), self.sessions.find(conn))
        {
            out.note(Note::Joined { conn, nick: &session.nick, room: &room.name });
        }
        self.settle_in(conn, key);
        self.restore_role(conn, key, out);
        self.clients_due(key, true, Some(conn), out);
    }

    /// Takes a session out of a room it is in and tells those who stay.
    pub(super) fn depart(&mut self, conn: ConnId, key: RoomKey, out: &mut impl Outlet) {
        let (Some(session), Some(room)) =
            (self.sessions.find_mut(conn), self.rooms.change_members(key))
        else {
            return;
        };
        session.rooms.retain(|room| *room != key);
        if let Some(index) = room.members.iter().position(|&member| member == conn) {
            room.members.remove(index);
            if let Some(slow) = &mut room.slow {
                slow.member_leaves(index, conn);
            }
        }
        room.behind -= usize::from(session.is_waited_for());
        let parent = room.parent;
        let has_rules = room.rules.is_some();
        if let Some(rules) = &mut room.rules {
            rules.mutes.iter_mut().filter(|mute| mute.conn == Some(conn)).for_each(|mute| {
                mute.conn = None;
            });
        }
        if self.registered.leaves {
            out.note(Note::Left { conn, nick: &session.nick, room: &room.name });
        }
        if !room.members.is_empty() {
            let message = out.encode_for_room(key, |buffer| {
                write::client_left(buffer, &session.nick, &room.name)
            });
            out.push_all(room.roster(), None, message);
            self.clients_due(key, false, Some(conn), out);
        }
        let has_role = self.rooms.room(key).is_some_and(|room| room.roles.get(conn).is_some());
        if has_role {
            self.give_up_role(conn, key, out);
        }
        if has_rules || has_role {
            self.drop_empty_rules(key);
        }
        if let Some(parent) = parent {
            self.child_rooms_due(parent, Some(conn), out);
        }
        self.remove_if_empty(key, Some(conn), out);
    }

    /// Removes a room without members and child rooms, and what that leaves empty above it.
    pub(super) fn remove_if_empty(
        &mut self,
        key: RoomKey,
        by: Option<ConnId>,
        out: &mut impl Outlet,
    ) {
        let mut candidates = vec![key];
        while let Some(key) = candidates.pop() {
            let empty = |room: &Room| {
                room.members.is_empty() && room.children.is_empty() && !room.is_kept()
            };
            if !self.rooms.room(key).is_some_and(empty) {
                continue;
            }
            let Some(room) = self.rooms.remove(key) else {
                continue;
            };
            self.params_total_bytes -= room.params.counted_bytes();
            out.note(Note::RoomRemoved { room: &room.name });
            for &lister in &room.listers {
                self.child_rooms_due(lister, by, out);
            }
            self.kept_room_removed(&room);
            candidates.extend(room.listers.iter().rev());
        }
    }
}
