//! What plugins hear of what the hub says, and what it asks them.

use smallvec::SmallVec;

use super::Desk;
use crate::hub::{
    ConnId, LoginRefusal, MessageTo, Note, PermissionKind, PermissionQuestion, Question, Span,
};
use crate::net::plugins::{AskId, Hook};
use crate::wire::write::{extension, plugin as write};

impl<S> Desk<S> {
    /// Puts a question of the hub's to the plugins.
    pub(super) fn ask_plugins(&mut self, question: Question<'_>) {
        let root = question.root_password.is_some().then_some(Hook::IsRoot);
        let login = question.login.then_some(Hook::IsAuthorized);
        let hooks: SmallVec<[Hook; 2]> = root.into_iter().chain(login).collect();
        let session = self.as_plugins_know(question.conn, question.nick);
        let Question { id, conn, element, root_password, checked, .. } = question;
        let write = |ask: AskId, hook: Hook| match (hook, root_password) {
            // The worker needs no more of the `connect`, and no other plugin is told.
            (Hook::IsRoot, Some(password)) => {
                write::ask_root(ask.0, hook.name(), session, password)
            }
            _ => write::ask(ask.0, hook.name(), session, element),
        };
        self.plugins.ask(id, conn, &hooks, checked, self.now, write);
    }

    /// Asks the plugins whether something may be done.
    pub(super) fn ask_plugins_to_permit(&mut self, question: &PermissionQuestion<'_>) {
        let (hook, new) = match question.kind {
            PermissionKind::Join { new } => (Hook::MayJoin, new),
            PermissionKind::Talk => (Hook::MayTalk, false),
        };
        let session = self.as_plugins_know(question.conn, question.nick);
        let room = match question.rooms {
            [room] => Some(*room),
            _ => None,
        };
        let (now, element) = (self.now, question.element);
        self.plugins.ask_permission(question, hook, now, |ask: AskId| {
            write::ask_permission(ask.0, hook.name(), session, (room, new), element)
        });
    }

    /// A session as plugins know it.
    pub(super) fn as_plugins_know<'a>(
        &self,
        id: ConnId,
        nick: &'a str,
    ) -> write::SessionAttributes<'a> {
        let connection = self.connections.get(id.slot as usize).filter(|found| found.id == id);
        write::SessionAttributes {
            id,
            nick,
            address: connection.map(|connection| connection.address),
            transport: connection.map_or("", |connection| connection.speech.name()),
        }
    }

    /// Tells the plugins that hear of it what has happened to a session.
    pub(in crate::net) fn tell_hook(
        &mut self,
        hook: Hook,
        id: ConnId,
        nick: &str,
        more: &[(&str, &str)],
    ) {
        if self.plugins.hears(hook) {
            let session = self.as_plugins_know(id, nick);
            self.plugins.tell_all(hook, |buffer| {
                write::event(buffer, hook.name(), Some(session), more, None);
            });
        }
    }

    /// What the hub notes and plugins may want to hear.
    pub(super) fn tell_plugins(&mut self, note: &Note<'_>) {
        match *note {
            Note::LoggedIn { conn, nick, .. } => {
                self.tell_hook(Hook::ClientConnect, conn, nick, &[]);
            }
            Note::LoginRefused { conn, nick, reason, why } => match why {
                LoginRefusal::Unauthorised => {
                    self.tell_hook(Hook::ClientUnauthorized, conn, nick, &[]);
                }
                // Plugins hear of no login that was not decided: the client will try again.
                LoginRefusal::Undecided => {}
                LoginRefusal::NoNick | LoginRefusal::BadNick | LoginRefusal::Banned => {
                    let more = [("reason", reason)];
                    self.tell_hook(Hook::ClientBadnick, conn, nick, &more);
                }
            },
            Note::Joined { conn, nick, room } => {
                self.tell_hook(Hook::ClientJoinRoom, conn, nick, &[("room", room)]);
            }
            Note::Left { conn, nick, room } => {
                self.tell_hook(Hook::ClientLeaveRoom, conn, nick, &[("room", room)]);
            }
            Note::RoomCreated { room, conn } => {
                self.tell_hook(Hook::RoomInit, conn, "", &[("room", room)]);
            }
            Note::RoomRemoved { room } if self.plugins.hears(Hook::RoomRemove) => {
                self.plugins.tell_all(Hook::RoomRemove, |buffer| {
                    let more = [("room", room)];
                    write::event(buffer, Hook::RoomRemove.name(), None, &more, None);
                });
            }
            Note::Message { conn, nick, to, message } => {
                self.tell_message(conn, nick, to, message);
            }
            Note::Kicked { .. }
            | Note::RemovedFromRoom { .. }
            | Note::Banned { .. }
            | Note::Unbanned { .. }
            | Note::Muted { .. }
            | Note::Unmuted { .. }
            | Note::RoleGiven { .. }
            | Note::ModesSet { .. } => self.tell_order(note),
            Note::RoomRemoved { .. }
            | Note::RootRefused { .. }
            | Note::Refused { .. }
            | Note::ListTooLarge { .. }
            | Note::Invited { .. }
            | Note::InfoTold { .. }
            | Note::Broadcast { .. }
            | Note::ShutdownAsked { .. }
            | Note::LoggedOut { .. } => {}
        }
    }

    /// Tells how order is kept, in a room or on the server.
    fn tell_order(&mut self, note: &Note<'_>) {
        match *note {
            Note::Kicked { by, conn, nick } => self.tell_done(Hook::Kick, conn, nick, by, &[]),
            Note::RemovedFromRoom { room, conn, nick, by } => {
                self.tell_done(Hook::Kick, conn, nick, by, &[("room", room)]);
            }
            Note::RoleGiven { room, conn, nick, role, by } => {
                self.tell_done(Hook::Role, conn, nick, by, &[("room", room), ("role", role)]);
            }
            Note::Banned { room, whom, by } => {
                self.tell_sanction(Hook::Ban, room, whom, by, false);
            }
            Note::Unbanned { room, whom, by } => {
                self.tell_sanction(Hook::Ban, room, whom, by, true);
            }
            Note::Muted { room, nick, by } => {
                self.tell_sanction(Hook::Mute, room, nick, by, false);
            }
            Note::Unmuted { room, nick, by } => {
                self.tell_sanction(Hook::Mute, room, nick, by, true);
            }
            Note::ModesSet { room, modes, by } if self.plugins.hears(Hook::Mode) => {
                let mut element = Vec::new();
                extension::mode(&mut element, room, modes);
                // What is written here is text.
                let element = String::from_utf8(element).unwrap_or_default();
                self.tell_without_session(Hook::Mode, by, &[("room", room)], Some(&element));
            }
            Note::ModesSet { .. }
            | Note::LoggedIn { .. }
            | Note::LoginRefused { .. }
            | Note::RootRefused { .. }
            | Note::Refused { .. }
            | Note::RoomCreated { .. }
            | Note::RoomRemoved { .. }
            | Note::ListTooLarge { .. }
            | Note::Invited { .. }
            | Note::InfoTold { .. }
            | Note::Broadcast { .. }
            | Note::ShutdownAsked { .. }
            | Note::LoggedOut { .. }
            | Note::Joined { .. }
            | Note::Left { .. }
            | Note::Message { .. } => {}
        }
    }

    /// Tells what was done to a session.
    fn tell_done(
        &mut self,
        hook: Hook,
        conn: ConnId,
        nick: &str,
        by: Option<ConnId>,
        more: &[(&str, &str)],
    ) {
        if self.plugins.hears(hook) {
            let by = by.map(|by| by.spelled().to_string());
            let mut more = more.to_vec();
            more.extend(by.as_deref().map(|by| ("by", by)));
            self.tell_hook(hook, conn, nick, &more);
        }
    }

    /// Tells of a ban or a mute that is set or lifted.
    fn tell_sanction(
        &mut self,
        hook: Hook,
        room: Option<&str>,
        whom: &str,
        by: Option<ConnId>,
        lifted: bool,
    ) {
        let mut more = vec![("whom", whom)];
        more.extend(room.map(|room| ("room", room)));
        more.extend(lifted.then_some(("lifted", "1")));
        self.tell_without_session(hook, by, &more, None);
    }

    /// Tells what was done to no session in particular.
    fn tell_without_session(
        &mut self,
        hook: Hook,
        by: Option<ConnId>,
        more: &[(&str, &str)],
        element: Option<&str>,
    ) {
        if self.plugins.hears(hook) {
            let by = by.map(|by| by.spelled().to_string());
            let mut more = more.to_vec();
            more.extend(by.as_deref().map(|by| ("by", by)));
            self.plugins.tell_all(hook, |buffer| {
                write::event(buffer, hook.name(), None, &more, element);
            });
        }
    }

    fn tell_message(&mut self, conn: ConnId, nick: &str, to: MessageTo<'_>, message: Span) {
        let session = self.as_plugins_know(conn, nick);
        let to = match to {
            MessageTo::Room(room) => ("room", room),
            MessageTo::Client(nick) => ("to", nick),
            MessageTo::Everybody => ("all", "1"),
        };
        // What the hub encodes is text.
        let element = std::str::from_utf8(self.deliveries.stanza(message)).unwrap_or_default();
        self.plugins.tell_all(Hook::Message, |buffer| {
            write::event(buffer, Hook::Message.name(), Some(session), &[to], Some(element));
        });
    }
}
