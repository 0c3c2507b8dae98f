//! The reference model's rooms, child rooms and params (manual: protocol, 'Rooms',
//! 'Child rooms' and 'Params').

use palabre::hub::{ConnId, Lookalikes, Succession, Time};

use super::generator::{ALIKE_ROOMS, DECOMPOSED_ROOMS, UNSEEN_ROOMS};
use super::model::Model;
use super::rates::{Allowance, List, Pass, Told};
use super::recorder::Hook;
use super::stanza::Stanza;
use super::text;

/// A room. Rooms are told apart by a number that is never used again, not by their names.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) name: String,
    /// In the order in which they joined.
    pub(crate) members: Vec<ConnId>,
    pub(crate) operator: Option<ConnId>,
    pub(crate) params: Vec<(String, String)>,
    /// In the order in which they were listed.
    pub(crate) children: Vec<u64>,
    /// The rooms that list it, in the order in which they did.
    pub(crate) listed_in: Vec<u64>,
    pub(crate) parent: Option<u64>,
    pub(crate) created: Time,
    pub(crate) messages: u64,
    /// What its lists may still cost.
    pub(crate) lists: Allowance,
    pub(crate) clients_pass: Option<Pass>,
    pub(crate) children_pass: Option<Pass>,
    /// Bytes that it has been told in this turn, each message counted once.
    pub(crate) turn_bytes: usize,
}

/// A list that several changes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// A room's client list, and who has joined since it was put in.
    Roster(u64, Vec<ConnId>),
    ChildRooms(u64),
}

impl Pending {
    pub(crate) const fn room(&self) -> u64 {
        match self {
            Self::Roster(room, _) | Self::ChildRooms(room) => *room,
        }
    }
}

/// The value of an attribute that has to be there and to hold something.
fn filled<'a>(stanza: &'a Stanza, name: &str) -> Option<&'a str> {
    stanza.attribute(name).filter(|value| !value.is_empty())
}

impl Model {
    pub(crate) fn find_room(&self, name: &str) -> Option<u64> {
        self.rooms.iter().find(|(_, room)| room.name == name).map(|(id, _)| *id)
    }

    /// The room of that name, if the session is in it.
    pub(crate) fn room_inside(&self, conn: ConnId, name: &str) -> Option<u64> {
        self.find_room(name).filter(|room| self.rooms[room].members.contains(&conn))
    }

    pub(crate) fn room(&mut self, id: u64) -> &mut Room {
        self.rooms.get_mut(&id).expect("the caller knows it")
    }

    /// Tells all members of a room something, except perhaps one of them.
    pub(crate) fn say_to_room(&mut self, room: u64, except: Option<ConnId>, what: &str) {
        for member in self.rooms[&room].members.clone() {
            if Some(member) != except {
                self.say(member, what.to_owned());
            }
        }
    }

    fn room_text(&self, id: u64, params: &[(String, String)]) -> String {
        let room = &self.rooms[&id];
        let parent = room.parent.map(|parent| self.rooms[&parent].name.as_str());
        text::room(&room.name, room.members.len(), parent, params)
    }

    pub(crate) fn full_room_text(&self, id: u64) -> String {
        self.room_text(id, &self.rooms[&id].params)
    }

    /// A room in a list, which may have to leave the params out.
    fn listed_room_text(&self, id: u64, with_params: bool) -> String {
        if with_params { self.full_room_text(id) } else { self.room_text(id, &[]) }
    }

    pub(crate) fn child_rooms_told(&self, id: u64) -> Told {
        let room = &self.rooms[&id];
        self.bounded(|with_params| {
            let text = |child: &u64| self.listed_room_text(*child, with_params);
            let children: Vec<String> = room.children.iter().map(text).collect();
            text::child_rooms(&room.name, &children)
        })
    }

    pub(crate) fn client_list_told(&self, id: u64) -> Told {
        let room = &self.rooms[&id];
        self.bounded(|with_params| {
            let client = |member| {
                let session = &self.sessions[member];
                let params = if with_params { session.params.clone() } else { Vec::new() };
                (session.nick.clone(), params)
            };
            let clients: Vec<_> = room.members.iter().map(client).collect();
            text::clients(&room.name, &clients)
        })
    }

    // What is shared.

    pub(crate) fn put_roster(&mut self, room: u64, by: ConnId) {
        let there =
            self.pending.iter().any(|entry| matches!(entry, Pending::Roster(id, _) if *id == room));
        if !there {
            self.pending.push(Pending::Roster(room, Vec::new()));
        }
        self.causers.insert(by);
    }

    fn put_child_rooms(&mut self, room: u64, by: ConnId) {
        if !self.pending.contains(&Pending::ChildRooms(room)) {
            self.pending.push(Pending::ChildRooms(room));
        }
        self.causers.insert(by);
    }

    /// Members of a child room's own parent are to learn of a change in it.
    fn put_parent(&mut self, room: u64, by: ConnId) {
        if let Some(parent) = self.rooms[&room].parent {
            self.put_child_rooms(parent, by);
        }
    }

    pub(crate) fn send_pending(&mut self) {
        self.causers.clear();
        for entry in std::mem::take(&mut self.pending) {
            match entry {
                _ if !self.rooms.contains_key(&entry.room()) => {}
                Pending::ChildRooms(id) => self.tell_list(id, List::ChildRooms, &[]),
                Pending::Roster(id, joined) => self.tell_list(id, List::Clients, &joined),
            }
        }
    }

    fn pending_concerns(&self, conn: ConnId) -> bool {
        let inside = |entry: &Pending| {
            self.rooms.get(&entry.room()).is_some_and(|room| room.members.contains(&conn))
        };
        self.pending.iter().any(inside)
    }

    pub(crate) fn send_pending_before(&mut self, conn: ConnId) {
        if self.pending_concerns(conn) || self.causers.contains(&conn) {
            self.send_pending();
        }
    }

    // Going in.

    pub(crate) fn join(&mut self, conn: ConnId, stanza: &Stanza) {
        let name = stanza.attribute("room").or(stanza.attribute("r")).unwrap_or_default();
        if name.is_empty() {
            self.refuse(conn, "No room specified");
        } else if let Some(why) = self.why_not_in(conn, name) {
            self.refuse(conn, &why);
        } else {
            self.go_in(conn, name, None);
        }
    }

    pub(crate) fn why_not_in(&self, conn: ConnId, name: &str) -> Option<String> {
        if let Some(why) = self.why_no_room_name(name) {
            return Some(why);
        }
        if self.room_inside(conn, name).is_some() {
            return Some("You are already in this room".to_owned());
        }
        self.why_not_one_more(conn, name).or_else(|| self.why_no_new_room(name))
    }

    fn why_no_room_name(&self, name: &str) -> Option<String> {
        let bytes_max = self.settings.limits.room_bytes_max;
        if name.len() > bytes_max {
            return Some(format!("Room name too long (limit {bytes_max} bytes)"));
        }
        if name.trim() != name || name.chars().any(char::is_control) {
            let why = "Room name with control characters or white space at its ends";
            return Some(why.to_owned());
        }
        if UNSEEN_ROOMS.contains(&name) {
            return Some("Room name with characters that are invisible or not assigned".to_owned());
        }
        let decomposed = DECOMPOSED_ROOMS.contains(&name);
        decomposed.then(|| "Room name that is not in normal form C".to_owned())
    }

    /// Whether a room of that name is new and looks like another one, and may not.
    fn why_no_new_room(&self, name: &str) -> Option<String> {
        let is_alike = |room: &Room| {
            let both = |names: &&[&str]| names.contains(&name) && names.contains(&&*room.name);
            // Whatever is ASCII can be had beside what is not.
            !name.is_ascii() && ALIKE_ROOMS.iter().any(both)
        };
        let refused = self.settings.lookalikes == Lookalikes::Refuse
            && self.find_room(name).is_none()
            && self.rooms.values().any(is_alike);
        refused.then(|| "Room name that looks like the name of another room".to_owned())
    }

    fn why_not_one_more(&self, conn: ConnId, name: &str) -> Option<String> {
        let limits = &self.settings.limits;
        let (mine_max, all_max) = (limits.rooms_per_client_max, limits.rooms_max);
        if mine_max != 0 && self.sessions[&conn].rooms.len() >= mine_max {
            return Some(format!("You are in too many rooms (limit {mine_max})"));
        }
        let full = all_max != 0 && self.rooms.len() >= all_max && self.find_room(name).is_none();
        full.then(|| format!("Too many rooms (limit {all_max})"))
    }

    /// The session goes into a room; one that does not exist is created, under `parent`.
    pub(crate) fn go_in(&mut self, conn: ConnId, name: &str, parent: Option<u64>) {
        let nick = text::value(&self.sessions[&conn].nick);
        let shown = text::value(name);
        let room = self.find_room(name).unwrap_or_else(|| self.create(conn, name, parent));
        self.say_to_room(room, None, &format!("<client name='{nick}' joined='{shown}' />"));
        self.room(room).members.push(conn);
        self.session(conn).rooms.push(room);
        self.say(conn, format!("<joined room='{shown}' />"));
        let children = self.child_rooms_told(room);
        self.answer_with(conn, children);
        let itself = Told { text: self.full_room_text(room), vain_bytes: 0 };
        self.answer_with(conn, itself);
        if self.registered.joins {
            let nick = self.sessions[&conn].nick.clone();
            self.hook(conn, Hook::Joined(nick, name.to_owned()));
        }
        self.put_roster(room, conn);
        for entry in &mut self.pending {
            if let Pending::Roster(id, joined) = entry
                && *id == room
            {
                joined.push(conn);
            }
        }
        self.put_parent(room, conn);
    }

    fn create(&mut self, conn: ConnId, name: &str, parent: Option<u64>) -> u64 {
        let room = Room {
            name: name.to_owned(),
            members: Vec::new(),
            operator: Some(conn),
            params: vec![
                ("title".to_owned(), String::new()),
                ("openParams".to_owned(), "0".to_owned()),
            ],
            children: Vec::new(),
            listed_in: Vec::new(),
            parent,
            created: self.now,
            messages: 0,
            lists: self.list_allowance(),
            clients_pass: None,
            children_pass: None,
            turn_bytes: 0,
        };
        self.rooms_created += 1;
        self.rooms.insert(self.rooms_created, room);
        self.rooms_created
    }

    pub(crate) fn add_child(&mut self, conn: ConnId, stanza: &Stanza) {
        let (Some(parent), Some(child)) =
            (filled(stanza, "parentroom"), filled(stanza, "childroom"))
        else {
            self.refuse(conn, "No room specified");
            return;
        };
        match self.why_no_child(conn, parent, child) {
            Some(why) => self.refuse(conn, &why),
            None => {
                let parent = self.find_room(parent).expect("just looked at");
                self.go_in_below(conn, parent, child);
            }
        }
    }

    fn why_no_child(&self, conn: ConnId, parent: &str, child: &str) -> Option<String> {
        if let Some(why) = self.why_no_room_name(child) {
            return Some(why);
        }
        let Some(parent) = self.room_inside(conn, parent) else {
            return Some("No room by that name".to_owned());
        };
        if self.room_inside(conn, child).is_some() {
            return Some("You are already in this room".to_owned());
        }
        let existing = self.find_room(child);
        if existing.is_some_and(|child| self.is_below(child, parent)) {
            return Some("A room can't be listed under one of its own descendants".to_owned());
        }
        if let Some(why) = self.why_not_one_more(conn, child) {
            return Some(why);
        }
        let depth_max = self.settings.limits.room_depth_max;
        let depth = self.depth(parent) + 1 + existing.map_or(0, |child| self.height(child));
        let too_deep = depth_max != 0 && depth > depth_max;
        if too_deep {
            return Some(format!("Child rooms nested too deep (limit {depth_max})"));
        }
        self.why_no_new_room(child)
    }

    /// Whether `below` is listed under `above`, however far down.
    fn is_below(&self, above: u64, below: u64) -> bool {
        let children = &self.rooms[&above].children;
        children.iter().any(|child| *child == below || self.is_below(*child, below))
    }

    /// Rooms above this one, on the longest way up through the lists.
    fn depth(&self, room: u64) -> usize {
        let above = self.rooms[&room].listed_in.iter().map(|above| self.depth(*above) + 1);
        above.max().unwrap_or(0)
    }

    /// Levels of child rooms below this one.
    fn height(&self, room: u64) -> usize {
        let below = self.rooms[&room].children.iter().map(|below| self.height(*below) + 1);
        below.max().unwrap_or(0)
    }

    fn go_in_below(&mut self, conn: ConnId, parent: u64, child: &str) {
        self.go_in(conn, child, Some(parent));
        let child = self.find_room(child).expect("it exists now");
        if !self.rooms[&parent].children.contains(&child) {
            self.room(parent).children.push(child);
            self.room(child).listed_in.push(parent);
        }
        self.put_child_rooms(parent, conn);
    }

    // Going out.

    pub(crate) fn leave(&mut self, conn: ConnId, stanza: &Stanza) {
        let long = stanza.attribute("room");
        let name = long.or(stanza.attribute("r")).unwrap_or_default();
        if name.is_empty() {
            self.refuse(conn, "No room specified");
            return;
        }
        let Some(room) = self.room_inside(conn, name) else {
            self.refuse(conn, "Not a known room");
            return;
        };
        self.take_out(conn, room);
        let name = text::value(name);
        let short = format!("<leave r='{name}' />");
        self.say(conn, if long.is_some() { format!("<leaved room='{name}' />") } else { short });
    }

    /// A member leaves a room; what is pending for it is sent.
    pub(crate) fn take_out(&mut self, conn: ConnId, room: u64) {
        self.session(conn).rooms.retain(|other| *other != room);
        self.go_out(conn, room);
        if self.pending_concerns(conn) {
            self.send_pending();
        }
    }

    /// A member is gone from a room; the others learn of it.
    pub(crate) fn go_out(&mut self, conn: ConnId, id: u64) {
        self.tell_of_leave(conn, id);
        self.member_goes(id, conn);
        let nick = text::value(&self.sessions[&conn].nick);
        let succession = self.settings.succession;
        let room = self.room(id);
        room.members.retain(|member| *member != conn);
        if room.operator == Some(conn) {
            room.operator = match succession {
                Succession::Oldest => room.members.first().copied(),
                Succession::None => None,
            };
        }
        let name = text::value(&room.name);
        for entry in &mut self.pending {
            if let Pending::Roster(room, joined) = entry
                && *room == id
            {
                joined.retain(|member| *member != conn);
            }
        }
        self.say_to_room(id, None, &format!("<client name='{nick}' left='{name}' />"));
        if !self.rooms[&id].members.is_empty() {
            self.put_roster(id, conn);
        }
        self.put_parent(id, conn);
        self.remove_if_deserted(id, conn);
    }

    /// Plugins that asked for it hear of a leave.
    pub(crate) fn tell_of_leave(&mut self, conn: ConnId, id: u64) {
        if self.registered.leaves {
            let nick = self.sessions[&conn].nick.clone();
            let room = self.rooms[&id].name.clone();
            self.hook(conn, Hook::Left(nick, room));
        }
    }

    /// A room without members and child rooms goes, and so may the rooms that listed it.
    fn remove_if_deserted(&mut self, id: u64, by: ConnId) {
        // One that is listed in two ways may have gone by the other.
        let Some(room) = self.rooms.get(&id) else { return };
        if !room.members.is_empty() || !room.children.is_empty() {
            return;
        }
        let listing = room.listed_in.clone();
        self.rooms.remove(&id);
        for listing in &listing {
            self.room(*listing).children.retain(|child| *child != id);
            self.put_child_rooms(*listing, by);
        }
        for listing in listing {
            self.remove_if_deserted(listing, by);
        }
    }

    // Params and lists.

    fn is_open(&self, room: u64) -> bool {
        // The old server did not look at the case.
        let is_open = |(name, content): &(String, String)| {
            name == "openParams" && (content == "1" || content.eq_ignore_ascii_case("true"))
        };
        self.rooms[&room].params.iter().any(is_open)
    }

    pub(crate) fn set_param(&mut self, conn: ConnId, stanza: &Stanza) {
        let Some(room) = filled(stanza, "room") else {
            return self.refuse(conn, "No room specified");
        };
        let Some(name) = filled(stanza, "name") else {
            return self.refuse(conn, "No name specified");
        };
        let Some(content) = stanza.attribute("value") else {
            return self.refuse(conn, "No value specified");
        };
        let root = self.sessions[&conn].root;
        let found = if root { self.find_room(room) } else { self.room_inside(conn, room) };
        let Some(room) = found else {
            return self.refuse(conn, "No room by that name");
        };
        let operator = root || self.rooms[&room].operator == Some(conn);
        if !operator && (!self.is_open(room) || ["openParams", "locked"].contains(&name)) {
            return self.refuse(conn, "You must be an operator of this room");
        }
        if self.is_held_back(conn, &[room]) {
            return;
        }
        if let Err(why) = self.change_param(room, name, content) {
            self.refuse(conn, &why);
        }
    }

    /// Sets a param, whoever may.
    pub(crate) fn change_param(
        &mut self,
        room: u64,
        name: &str,
        content: &str,
    ) -> Result<(), String> {
        if let Some(why) = self.why_no_param(&self.rooms[&room].params, name, content) {
            return Err(why);
        }
        set(&mut self.room(room).params, name, content);
        let what = self.room_text(room, &[(name.to_owned(), content.to_owned())]);
        self.caused_bytes += what.len() + 1;
        self.said_in(room, what.len() + 1);
        self.say_to_room(room, None, &what);
        self.tell_parent(room);
        Ok(())
    }

    pub(crate) fn remove_param(&mut self, conn: ConnId, stanza: &Stanza) {
        let Some(room) = filled(stanza, "room") else {
            return self.refuse(conn, "No room specified");
        };
        let Some(name) = filled(stanza, "name") else {
            return self.refuse(conn, "No name specified");
        };
        let root = self.sessions[&conn].root;
        let found = if root { self.find_room(room) } else { self.room_inside(conn, room) };
        let Some(room) = found else {
            return self.refuse(conn, "No room by that name");
        };
        let operator = root || self.rooms[&room].operator == Some(conn);
        if !operator && (!self.is_open(room) || ["openParams", "locked"].contains(&name)) {
            return self.refuse(conn, "You must be an operator of this room");
        }
        if self.is_held_back(conn, &[room]) {
            return;
        }
        if let Err(why) = self.drop_param(room, name) {
            self.refuse(conn, &why);
        }
    }

    /// Removes a param, whoever may.
    pub(crate) fn drop_param(&mut self, room: u64, name: &str) -> Result<(), String> {
        if name == "openParams" {
            return Err("openParams can't be removed".to_owned());
        }
        self.room(room).params.retain(|(there, _)| there != name);
        let what = self.full_room_text(room);
        self.caused_bytes += what.len() + 1;
        self.said_in(room, what.len() + 1);
        self.say_to_room(room, None, &what);
        self.tell_parent(room);
        Ok(())
    }

    /// A param has changed: members of the parent get its child rooms at once.
    fn tell_parent(&mut self, room: u64) {
        if let Some(parent) = self.rooms[&room].parent {
            self.tell_list(parent, List::ChildRooms, &[]);
        }
    }

    pub(crate) fn client_param(&mut self, conn: ConnId, stanza: &Stanza) {
        let Some(name) = filled(stanza, "name") else {
            return self.refuse(conn, "No name specified");
        };
        if self.is_held_back(conn, &self.sessions[&conn].rooms.clone()) {
            return;
        }
        let known = self.sessions[&conn].params.iter().any(|(there, _)| there == name);
        let told = match stanza.attribute("value") {
            Some(content) => self.change_client_param(conn, name, content),
            None if known => {
                self.tell_client_param(conn, name);
                Ok(())
            }
            None => Err("No value specified".to_owned()),
        };
        if let Err(why) = told {
            self.refuse(conn, &why);
        }
    }

    /// Tells a room what a param of a client is by now, if both are still there; gives how many
    /// bytes it is told.
    pub(crate) fn tell_param_in_one(&mut self, conn: ConnId, name: &str, room: u64) -> usize {
        let session = &self.sessions[&conn];
        let content = session.params.iter().find(|(there, _)| there == name);
        let Some((_, content)) = content.filter(|_| session.rooms.contains(&room)) else {
            return 0;
        };
        let what = format!(
            "<clientparam name=\"{}\" value=\"{}\" f=\"{}\" r=\"{}\"></clientparam>",
            text::value(name),
            text::value(content),
            text::value(&session.nick),
            text::value(&self.rooms[&room].name),
        );
        self.room(room).messages += 1;
        self.say_to_room(room, None, &what);
        self.said_in(room, what.len() + 1);
        what.len() + 1
    }

    pub(crate) fn why_no_param(
        &self,
        there: &[(String, String)],
        name: &str,
        content: &str,
    ) -> Option<String> {
        let limits = &self.settings.limits;
        let (count_max, bytes_max) = (limits.params_max, limits.param_bytes_max);
        if name.len() > bytes_max || content.len() > bytes_max {
            return Some(format!("Param too long (limit {bytes_max} bytes)"));
        }
        let known = there.iter().any(|(other, _)| other == name);
        let full = count_max != 0 && there.len() >= count_max && !known;
        if full {
            return Some(format!("Too many params (limit {count_max})"));
        }
        // All together, as they are written, are held to the size of a stanza.
        let written =
            |name: &str, content: &str| text::value(name).len() + text::value(content).len();
        let others = there.iter().filter(|(other, _)| other != name);
        let together = others.map(|(other, old)| written(other, old)).sum::<usize>();
        let together_max = limits.stanza_bytes_max;
        if together + written(name, content) > together_max {
            return Some(format!("Params too long together (limit {together_max} bytes)"));
        }
        // Those of everybody are held to a limit as well, as long as they become more.
        let before = there.iter().find(|(other, _)| other == name);
        let before = before.map_or(0, |(other, old)| written(other, old) + 96);
        let more = written(name, content) + 96;
        let all_max = limits.params_total_bytes_max;
        (more > before && self.params_count() - before + more > all_max)
            .then(|| format!("Too many params on this server (limit {all_max} bytes)"))
    }

    /// What all params count for: as they are written, and 96 bytes each.
    fn params_count(&self) -> usize {
        let of_rooms = self.rooms.values().flat_map(|room| &room.params);
        let of_sessions = self.sessions.values().flat_map(|session| &session.params);
        let counted = |(name, content): &(String, String)| {
            text::value(name).len() + text::value(content).len() + 96
        };
        of_rooms.chain(of_sessions).map(counted).sum()
    }

    /// A list, without its params if it would with its NUL else be too large, or what stands for
    /// one that is too large without them as well.
    fn bounded(&self, what: impl Fn(bool) -> String) -> Told {
        let bytes_max = self.settings.limits.list_bytes_max;
        for (vain_bytes, with_params) in [(0, true), (bytes_max, false)] {
            let text = what(with_params);
            if text.len() < bytes_max {
                return Told { text, vain_bytes };
            }
        }
        let text = text::error(&format!("Answer too large (limit {bytes_max} bytes)"));
        Told { text, vain_bytes: 2 * bytes_max }
    }

    /// Tells somebody a list that it has asked for.
    fn answer_with(&mut self, conn: ConnId, told: Told) {
        self.charge_asked(conn, told.text.len() + 1 + told.vain_bytes);
        self.say(conn, told.text);
    }

    pub(crate) fn get_rooms(&mut self, conn: ConnId) {
        let what = self.bounded(|with_params| {
            let text = |id: &u64| self.listed_room_text(*id, with_params);
            let rooms: Vec<String> = self.rooms.keys().map(text).collect();
            text::rooms(&rooms)
        });
        self.answer_with(conn, what);
    }

    pub(crate) fn get_info(&mut self, conn: ConnId, stanza: &Stanza) {
        let Some(name) = filled(stanza, "room") else {
            return self.refuse(conn, "No room specified");
        };
        let Some(id) = self.find_room(name) else {
            return self.refuse(conn, "No room by that name");
        };
        let room = &self.rooms[&id];
        let nick = |member| self.sessions[member].nick.clone();
        let nicks: Vec<String> = room.members.iter().map(nick).collect();
        let child = |child| self.rooms[child].name.clone();
        let children: Vec<String> = room.children.iter().map(child).collect();
        let created = text::date_time(self.unix_start_us, room.created);
        let what = self.bounded(|with_params| {
            let params = if with_params { &room.params[..] } else { &[] };
            text::room_info(name, params, &nicks, &children, &created, room.messages)
        });
        self.answer_with(conn, what);
    }
}

/// Sets a param: one that exists keeps its place, a new one goes last.
pub(crate) fn set(params: &mut Vec<(String, String)>, name: &str, content: &str) {
    match params.iter_mut().find(|(there, _)| there == name) {
        Some((_, old)) => content.clone_into(old),
        None => params.push((name.to_owned(), content.to_owned())),
    }
}
