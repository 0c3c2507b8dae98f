//! What goes beyond version 1 of the protocol: roles, modes, and how order is kept
//! (manual: protocol, 'Roles', 'Modes', 'Keeping order in a room').

use core::fmt;
use core::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use super::Part;
use crate::session_id::ConnId;

/// The last second that RFC 3339 can name.
const YEAR_9999_UNIX_S: u64 = 253_402_300_799;

/// ` name='value'`, where there is a value.
fn attribute(buffer: &mut Vec<u8>, name: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        put!(buffer, b" ", name, b"='", value, b"'");
    }
}

/// ` name='1'`, where it is so.
fn flag(buffer: &mut Vec<u8>, name: &[u8], set: bool) {
    attribute(buffer, name, set.then_some("1"));
}

/// A time as all of these stanzas tell it: RFC 3339, UTC, seconds.
#[must_use]
pub fn time(unix_s: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(unix_s.min(YEAR_9999_UNIX_S));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// `<role room='R' name='N' role='voice' by='A' />`; nobody gave it where it was restored or
/// inherited.
pub fn role(buffer: &mut Vec<u8>, room: &str, nick: &str, role: &str, by: Option<&str>) {
    put!(buffer, b"<role room='", room, b"' name='", nick, b"' role='", role, b"'");
    attribute(buffer, b"by", by);
    put!(buffer, b" />");
}

/// The beginning of a list of roles; [`roles_client`]s and [`roles_end`] follow.
pub fn roles_begin(buffer: &mut Vec<u8>, room: &str) {
    put!(buffer, b"<roles room='", room, b"'>");
}

/// One member that has a role.
pub fn roles_client(buffer: &mut Vec<u8>, nick: &str, role: &str) {
    put!(buffer, b"<client name='", nick, b"' role='", role, b"' />");
}

/// The end of a list of roles.
pub fn roles_end(buffer: &mut Vec<u8>) {
    put!(buffer, b"</roles>");
}

/// The modes of a room, as [`mode`] tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeAttributes {
    /// Only who is invited comes in.
    pub locked: bool,
    /// There is a password; which one is told nobody.
    pub password: bool,
    /// So many members it may have; 0 for no limit.
    pub limit: u32,
    /// Only operators and voices talk.
    pub moderated: bool,
    /// It stands in no list for those outside.
    pub hidden: bool,
    /// It outlives its members.
    pub keep: bool,
    /// So many messages are kept.
    pub history: u32,
}

/// As the log has them.
impl fmt::Display for ModeAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { locked, password, limit, moderated, hidden, keep, history } = *self;
        let switches = [
            ("locked", locked),
            ("password", password),
            ("moderated", moderated),
            ("hidden", hidden),
            ("keep", keep),
        ];
        for (name, _) in switches.iter().filter(|(_, on)| *on) {
            write!(f, "{name} ")?;
        }
        write!(f, "limit={limit} history={history}")
    }
}

/// `<mode room='R' locked='0' … />`.
pub fn mode(buffer: &mut Vec<u8>, room: &str, modes: ModeAttributes) {
    let switch = |on: bool| usize::from(on);
    put!(buffer, b"<mode room='", room, b"' locked='", switch(modes.locked));
    put!(buffer, b"' password='", switch(modes.password), b"' limit='", modes.limit as usize);
    put!(buffer, b"' moderated='", switch(modes.moderated), b"' hidden='", switch(modes.hidden));
    put!(buffer, b"' keep='", switch(modes.keep), b"' history='", modes.history as usize);
    put!(buffer, b"' />");
}

/// A ban or a mute: whom it holds for, who gave it, until when and why.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sanction<'a> {
    /// The room it holds in; none for all of the server.
    pub room: Option<&'a str>,
    /// Whose nick.
    pub nick: Option<&'a str>,
    /// Which network, as it was written.
    pub address: Option<&'a str>,
    /// Who gave it.
    pub by: Option<&'a str>,
    /// Seconds since 1970; none where it holds until it is lifted.
    pub until_unix_s: Option<u64>,
    /// Why.
    pub reason: Option<&'a str>,
}

/// `<ban … />`, `<mute … />` and what lifts them.
pub fn sanction(buffer: &mut Vec<u8>, name: &str, sanction: Sanction<'_>) {
    let Sanction { room, nick, address, by, until_unix_s, reason } = sanction;
    put!(buffer, b"<", name.as_bytes());
    attribute(buffer, b"room", room);
    attribute(buffer, b"nick", nick);
    attribute(buffer, b"address", address);
    attribute(buffer, b"by", by);
    attribute(buffer, b"until", until_unix_s.map(time).as_deref());
    attribute(buffer, b"reason", reason);
    put!(buffer, b" />");
}

/// The beginning of a list of bans; each [`sanction`] and [`bans_end`] follow.
pub fn bans_begin(buffer: &mut Vec<u8>, room: Option<&str>, bans: usize) {
    put!(buffer, b"<bans");
    attribute(buffer, b"room", room);
    put!(buffer, b" nb='", bans, b"'>");
}

/// The end of a list of bans.
pub fn bans_end(buffer: &mut Vec<u8>) {
    put!(buffer, b"</bans>");
}

/// `<removed room='R' by='A' reason='…' />`: the answer to whoever was removed.
pub fn removed(buffer: &mut Vec<u8>, room: &str, by: Option<&str>, reason: Option<&str>) {
    put!(buffer, b"<removed room='", room, b"'");
    attribute(buffer, b"by", by);
    attribute(buffer, b"reason", reason);
    put!(buffer, b" />");
}

/// `<kick room='R' nick='N' />`: the answer to whoever removed somebody.
pub fn kicked(buffer: &mut Vec<u8>, room: &str, nick: &str) {
    put!(buffer, b"<kick room='", room, b"' nick='", nick, b"' />");
}

/// `<invited room='R' by='A' />`: to whoever is invited.
pub fn invited(buffer: &mut Vec<u8>, room: &str, by: Option<&str>) {
    put!(buffer, b"<invited room='", room, b"'");
    attribute(buffer, b"by", by);
    put!(buffer, b" />");
}

/// `<invited room='R' name='N' told='0' />`: the answer to whoever invites.
pub fn invitation(buffer: &mut Vec<u8>, room: &str, nick: &str, told: bool) {
    put!(buffer, b"<invited room='", room, b"' name='", nick, b"' told='");
    put!(buffer, usize::from(told), b"' />");
}

/// A session as `who` tells it.
#[derive(Clone, Copy, Debug)]
pub struct WhoAttributes<'a> {
    /// Its id.
    pub id: ConnId,
    /// Its nick.
    pub nick: &'a str,
    /// Where it comes from.
    pub address: IpAddr,
    /// What it speaks; empty where that is not known.
    pub transport: &'a str,
    /// How many rooms it is in.
    pub rooms: usize,
    /// When it was accepted, in seconds since 1970.
    pub since_unix_s: u64,
    /// Seconds since it sent something.
    pub idle_s: u64,
    /// Its nick was proven by a password.
    pub account: bool,
    /// It is root.
    pub root: bool,
}

/// The beginning of the answer to `who`; [`session`]s and [`sessions_end`] follow. `more` is the
/// session behind which there are others.
pub fn sessions_begin(buffer: &mut Vec<u8>, sessions: usize, more: Option<ConnId>) {
    put!(buffer, b"<sessions nb='", sessions, b"'");
    attribute(buffer, b"more", more.map(|id| id.spelled().to_string()).as_deref());
    put!(buffer, b">");
}

/// One session of the answer to `who`.
pub fn session(buffer: &mut Vec<u8>, session: &WhoAttributes<'_>) {
    let id = session.id.spelled().to_string();
    let address = session.address.to_string();
    let since = time(session.since_unix_s);
    put!(buffer, b"<session id='", id.as_str(), b"' nick='", session.nick);
    put!(buffer, b"' address='", address.as_str());
    put!(buffer, b"' transport='", session.transport, b"' rooms='", session.rooms);
    put!(buffer, b"' since='", since.as_str(), b"' idle='", session.idle_s, b"'");
    flag(buffer, b"account", session.account);
    flag(buffer, b"root", session.root);
    put!(buffer, b" />");
}

/// The end of the answer to `who`.
pub fn sessions_end(buffer: &mut Vec<u8>) {
    put!(buffer, b"</sessions>");
}
