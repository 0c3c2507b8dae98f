//! What the log has of the order that is kept in rooms and on the server.

use std::fmt;

use log::Level::{Debug, Info, Warn};

use super::Desk;
use crate::hub::{ConnId, Note};
use crate::logging::Escaped;

/// A room, or the whole server.
struct Where<'a>(Option<&'a str>);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(room) => write!(f, "room \"{}\"", Escaped(room)),
            None => f.write_str("the server"),
        }
    }
}

impl<S> Desk<S> {
    /// Who did something: a client, or a plugin or the server by itself.
    fn doer(&self, by: Option<ConnId>) -> String {
        by.map_or_else(|| "the server".to_owned(), |by| self.who(by, "").to_string())
    }

    /// Logs who was removed, banned, muted or invited, and what became of roles and modes. What
    /// concerns the whole server is a warning.
    pub(super) fn log_order(&mut self, note: Note<'_>) {
        let level = |room: Option<&str>| if room.is_none() { Warn } else { Info };
        let (level, line) = match note {
            Note::RemovedFromRoom { room, conn, nick, by } => {
                let who = self.who(conn, nick);
                (Info, format!("{who} removed from {} by {}", Where(Some(room)), self.doer(by)))
            }
            Note::Banned { room, whom, by } => {
                let whom = Escaped(whom);
                let by = self.doer(by);
                (level(room), format!("\"{whom}\" banned from {} by {by}", Where(room)))
            }
            Note::Unbanned { room, whom, by } => {
                let (whom, by) = (Escaped(whom), self.doer(by));
                (level(room), format!("the ban of \"{whom}\" from {} lifted by {by}", Where(room)))
            }
            Note::Muted { room, nick, by } => {
                let (nick, by) = (Escaped(nick), self.doer(by));
                (level(room), format!("\"{nick}\" muted in {} by {by}", Where(room)))
            }
            Note::Unmuted { room, nick, by } => {
                let (nick, by) = (Escaped(nick), self.doer(by));
                (level(room), format!("\"{nick}\" may talk again in {}, by {by}", Where(room)))
            }
            Note::Invited { room, nick, by } => {
                let (nick, by) = (Escaped(nick), self.doer(by));
                (Debug, format!("\"{nick}\" invited into {} by {by}", Where(Some(room))))
            }
            Note::RoleGiven { room, nick, role, by, .. } => {
                let (nick, by) = (Escaped(nick), self.doer(by));
                (Info, format!("\"{nick}\" is {role} of {} by {by}", Where(Some(room))))
            }
            Note::ModesSet { room, modes, by } => {
                let by = self.doer(by);
                (Info, format!("modes of {} set by {by}: {modes}", Where(Some(room))))
            }
            Note::LoggedIn { .. }
            | Note::LoginRefused { .. }
            | Note::RootRefused { .. }
            | Note::Refused { .. }
            | Note::RoomCreated { .. }
            | Note::RoomRemoved { .. }
            | Note::ListTooLarge { .. }
            | Note::Kicked { .. }
            | Note::InfoTold { .. }
            | Note::Broadcast { .. }
            | Note::ShutdownAsked { .. }
            | Note::LoggedOut { .. }
            | Note::Joined { .. }
            | Note::Left { .. }
            | Note::Message { .. } => return,
        };
        self.log(level, None, format_args!("{line}"));
    }
}
