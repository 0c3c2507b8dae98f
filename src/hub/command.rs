//! The verb table: for each stanza that the server itself understands its name, who may send
//! it, which attributes it needs and what handles it. `<help />` and the tables of requests are
//! printed from it.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::mode::MODES;
use super::note::LoginRefusal;
use super::outlet::Outlet;
use super::sanction::SanctionKind;
use super::{Hub, Login};
use crate::reason::RefusalReason;
use crate::session_id::ConnId;
use crate::wire::stanza::Stanza;
use crate::wire::write::HelpLine;

/// A stanza that the server understands.
#[derive(Debug)]
pub struct Verb {
    /// The element's name.
    pub name: &'static str,
    /// When it may be sent.
    pub state: VerbState,
    /// Whether only root may send it.
    pub root: bool,
    /// The attributes it must have.
    pub attributes: &'static [Required],
    /// The attributes it may have besides.
    pub optional: &'static [&'static str],
    /// How many stanzas it counts for in `limits.stanzarate`.
    pub cost: u64,
    /// Whether it goes beyond version 1: then a plugin's name comes first, and one with a recipient
    /// is relayed as it always was.
    pub extension: bool,
    /// How it is written.
    pub usage: &'static str,
    /// What it does.
    pub meaning: &'static str,
    action: Action,
}

/// When a stanza may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerbState {
    /// Only before the login.
    New,
    /// Only after the login.
    LoggedIn,
    /// At any time.
    Any,
}

/// An attribute that a stanza must have.
#[derive(Debug)]
pub struct Required {
    /// Its spellings; of several the first counts.
    pub names: &'static [&'static str],
    /// Whether it may be empty.
    pub may_be_empty: bool,
    /// What its sender is told when it is missing.
    pub error: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    AddChild,
    ClientParam,
    Connect,
    GetBans,
    GetInfo,
    GetRooms,
    Help,
    Invite,
    Join,
    Kick,
    Leave,
    Message,
    Mode,
    Ping,
    Policy,
    Quit,
    RemoveParam,
    RemoveUser,
    Role,
    Sanction(SanctionKind),
    SetParam,
    Shutdown,
    Who,
}

const ROOM: Required =
    Required { names: &["room", "r"], may_be_empty: false, error: "No room specified" };
const LONG_ROOM: Required =
    Required { names: &["room"], may_be_empty: false, error: "No room specified" };
const PARENT_ROOM: Required =
    Required { names: &["parentroom"], may_be_empty: false, error: "No room specified" };
const CHILD_ROOM: Required =
    Required { names: &["childroom"], may_be_empty: false, error: "No room specified" };
const NAME: Required =
    Required { names: &["name"], may_be_empty: false, error: "No name specified" };
const VALUE: Required =
    Required { names: &["value"], may_be_empty: true, error: "No value specified" };
const LOGIN_NICK: Required =
    Required { names: &["nickname"], may_be_empty: true, error: "No NickName Attribute" };
const NICK: Required = Required {
    names: &["nickName", "nickname"],
    may_be_empty: true,
    error: "No NickName Attribute",
};

const MEMBER: Required =
    Required { names: &["nick"], may_be_empty: false, error: "No nick specified" };
const ROLE: Required =
    Required { names: &["role"], may_be_empty: false, error: "No role specified" };

const fn verb(
    name: &'static str,
    state: VerbState,
    action: Action,
    attributes: &'static [Required],
    usage: &'static str,
    meaning: &'static str,
) -> Verb {
    Verb {
        name,
        state,
        root: false,
        attributes,
        optional: &[],
        cost: 1,
        extension: false,
        usage,
        meaning,
        action,
    }
}

const fn root_verb(
    name: &'static str,
    action: Action,
    attributes: &'static [Required],
    usage: &'static str,
    meaning: &'static str,
) -> Verb {
    Verb { root: true, ..verb(name, VerbState::LoggedIn, action, attributes, usage, meaning) }
}

impl Verb {
    /// The same with attributes that it may have.
    const fn with(self, optional: &'static [&'static str]) -> Self {
        Self { optional, ..self }
    }
}

/// A verb beyond version 1. `cost` is in stanzas.
const fn extension(
    name: &'static str,
    action: Action,
    attributes: &'static [Required],
    optional: &'static [&'static str],
    cost: u64,
    usage: &'static str,
    meaning: &'static str,
) -> Verb {
    let verb = verb(name, VerbState::LoggedIn, action, attributes, usage, meaning);
    Verb { optional, cost, extension: true, ..verb }
}

/// Every verb; the most frequent ones first, because it is searched from the front.
pub static VERBS: &[Verb] = &[
    verb(
        "m",
        VerbState::LoggedIn,
        Action::Message,
        &[],
        r#"<m toroom="R" [back="1"]>text</m>  <m toclient="N">text</m>"#,
        "a message to a room you are in, or to one client",
    ),
    verb("msg", VerbState::LoggedIn, Action::Message, &[], r#"<msg …>text</msg>"#, "the same as m"),
    verb("ping", VerbState::LoggedIn, Action::Ping, &[], "<ping />", "is answered with <pong />"),
    verb(
        "join",
        VerbState::LoggedIn,
        Action::Join,
        &[ROOM],
        r#"<join room="R" [password="P"] />"#,
        "enters a room; creates it, with you as its operator, when there is none",
    )
    .with(&["password"]),
    verb(
        "leave",
        VerbState::LoggedIn,
        Action::Leave,
        &[ROOM],
        r#"<leave room="R" />"#,
        "leaves a room",
    ),
    verb("getrooms", VerbState::LoggedIn, Action::GetRooms, &[], "<getrooms />", "lists all rooms"),
    verb(
        "clientparam",
        VerbState::LoggedIn,
        Action::ClientParam,
        &[NAME],
        r#"<clientparam name="K" [value="V"] />"#,
        "sets a param of yours; your rooms are told, without a value once more what it is",
    )
    .with(&["value"]),
    verb(
        "setparam",
        VerbState::LoggedIn,
        Action::SetParam,
        &[LONG_ROOM, NAME, VALUE],
        r#"<setparam room="R" name="K" value="V" />"#,
        "sets a param of a room; for operators, or for all members while openParams is 1",
    ),
    verb(
        "removeparam",
        VerbState::LoggedIn,
        Action::RemoveParam,
        &[LONG_ROOM, NAME],
        r#"<removeparam room="R" name="K" />"#,
        "removes a param of a room; the same rights",
    ),
    verb(
        "addchild",
        VerbState::LoggedIn,
        Action::AddChild,
        &[PARENT_ROOM, CHILD_ROOM],
        r#"<addchild parentroom="P" childroom="C" [password="…"] />"#,
        "enters room C, created if need be, and lists it under room P",
    )
    .with(&["password"]),
    verb(
        "connect",
        VerbState::New,
        Action::Connect,
        &[LOGIN_NICK],
        r#"<connect nickname="N" [password="P"] [rootpass="R"] />"#,
        "logs in under a nick",
    )
    .with(&["password", "rootpass", "caps"]),
    verb("help", VerbState::Any, Action::Help, &[], "<help />", "this list"),
    verb("quit", VerbState::Any, Action::Quit, &[], "<quit />", "ends the session"),
    verb(
        "policy-file-request",
        VerbState::Any,
        Action::Policy,
        &[],
        "<policy-file-request/>",
        "the Flash policy; the connection is closed after it",
    ),
    verb(
        "cross-domain-request",
        VerbState::Any,
        Action::Policy,
        &[],
        "<cross-domain-request/>",
        "the same as policy-file-request",
    ),
    root_verb(
        "rmuser",
        Action::RemoveUser,
        &[NICK],
        r#"<rmuser nickName="N" [reason="…"] />"#,
        "removes a client from the server",
    )
    .with(&["reason"]),
    root_verb(
        "getinfo",
        Action::GetInfo,
        &[LONG_ROOM],
        r#"<getinfo room="R" />"#,
        "tells all about a room",
    ),
    root_verb("shutdown", Action::Shutdown, &[], "<shutdown />", "stops the server"),
    extension(
        "role",
        Action::Role,
        &[LONG_ROOM, MEMBER, ROLE],
        &[],
        1,
        r#"<role room="R" nick="N" role="voice" />"#,
        "gives a member a role: operator, voice or none; for operators",
    ),
    extension(
        "mode",
        Action::Mode,
        &[LONG_ROOM],
        &MODES,
        1,
        r#"<mode room="R" [locked="1"] [password="P"] [limit="20"] [moderated="1"] [hidden="1"] [keep="1"] />"#,
        "sets modes of a room, for operators; without any tells them",
    ),
    extension(
        "kick",
        Action::Kick,
        &[LONG_ROOM, MEMBER],
        &["reason"],
        1,
        r#"<kick room="R" nick="N" [reason="…"] />"#,
        "removes a member from a room; for operators",
    ),
    extension(
        "ban",
        Action::Sanction(SanctionKind::Ban),
        &[],
        &["room", "nick", "address", "time", "reason"],
        5,
        r#"<ban room="R" nick="N" [time="600"] [reason="…"] />"#,
        "keeps somebody out of a room, for so many seconds or for ever; for operators. Without \
         room, and with nick or address: out of the server; for root",
    ),
    extension(
        "unban",
        Action::Sanction(SanctionKind::Unban),
        &[],
        &["room", "nick", "address"],
        5,
        r#"<unban room="R" nick="N" />"#,
        "lifts a ban",
    ),
    extension(
        "getbans",
        Action::GetBans,
        &[],
        &["room"],
        5,
        r#"<getbans [room="R"] />"#,
        "lists the bans of a room, for operators, or of the server, for root",
    ),
    extension(
        "mute",
        Action::Sanction(SanctionKind::Mute),
        &[],
        &["room", "nick", "time"],
        5,
        r#"<mute room="R" nick="N" [time="600"] />"#,
        "keeps somebody from talking in a room, for operators; without room anywhere, for root",
    ),
    extension(
        "unmute",
        Action::Sanction(SanctionKind::Unmute),
        &[],
        &["room", "nick"],
        5,
        r#"<unmute room="R" nick="N" />"#,
        "lets somebody talk again",
    ),
    extension(
        "invite",
        Action::Invite,
        &[LONG_ROOM, MEMBER],
        &[],
        5,
        r#"<invite room="R" nick="N" />"#,
        "lets a client in once within 10 minutes, past lock, password and limit; for operators",
    ),
    Verb {
        root: true,
        ..extension(
            "who",
            Action::Who,
            &[],
            &["nick", "room", "after"],
            20,
            r#"<who [nick="N"] [room="R"] [after="S"] />"#,
            "lists sessions, 200 at a time",
        )
    },
];

/// Whether a name is that of a verb of version 1: those are never relayed and nobody can register
/// them.
#[must_use]
pub fn is_verb(name: &str) -> bool {
    VERBS.iter().any(|verb| verb.name == name && !verb.extension)
}

/// Whether a stanza of this name asks for the Flash policy.
pub(super) fn asks_for_policy(name: &str) -> bool {
    VERBS.iter().any(|verb| verb.name == name && verb.action == Action::Policy)
}

impl Verb {
    /// Whether a session of this standing may send it.
    const fn is_for(&self, logged_in: bool, root: bool) -> bool {
        let in_time = match self.state {
            VerbState::New => !logged_in,
            VerbState::LoggedIn => logged_in,
            VerbState::Any => true,
        };
        in_time && (root || !self.root)
    }
}

/// The lines of `<help />` for a session of this standing.
pub(super) fn help_lines(logged_in: bool, root: bool) -> impl Iterator<Item = HelpLine<'static>> {
    let own = VERBS.iter().filter(move |verb| verb.is_for(logged_in, root));
    let lines = own.map(|verb| HelpLine { usage: verb.usage, meaning: verb.meaning });
    let relayed = HelpLine {
        usage: r#"<anything toroom="R">…</anything>"#,
        meaning: "any other element that carries toroom, r, toclient or c is relayed as m is",
    };
    let broadcast =
        HelpLine { usage: r#"<m broadcast="1">text</m>"#, meaning: "a message to everybody" };
    lines.chain(logged_in.then_some(relayed)).chain(root.then_some(broadcast))
}

/// A verb's stanza with the attributes that the table asks for.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) conn: ConnId,
    pub(super) stanza: &'a Stanza<'a>,
    /// Spelling and value, as many as the verb requires. A message requires none: nothing is
    /// laid out for it.
    values: SmallVec<[(&'static str, Cow<'a, str>); 3]>,
}

impl<'a> Request<'a> {
    fn bare(conn: ConnId, stanza: &'a Stanza<'a>) -> Self {
        Self { conn, stanza, values: SmallVec::new() }
    }

    /// Reads the required attributes, or gives the error for the first that is missing.
    fn read(&mut self, verb: &Verb) -> Result<(), &'static str> {
        for required in verb.attributes {
            let found = required
                .names
                .iter()
                .find_map(|&name| self.stanza.value(name).map(|value| (name, value)));
            match found {
                Some((name, value)) if required.may_be_empty || !value.is_empty() => {
                    self.values.push((name, value));
                }
                _ => return Err(required.error),
            }
        }
        Ok(())
    }

    /// The value of the verb's n-th required attribute.
    pub(super) fn attribute(&self, index: usize) -> &str {
        &self.values[index].1
    }

    /// How the sender spelled the name of the n-th required attribute.
    pub(super) fn spelling(&self, index: usize) -> &'static str {
        self.values[index].0
    }
}

impl Hub {
    /// Finds out what a stanza asks for, whether its sender may, and has it done.
    pub(super) fn dispatch(&mut self, conn: ConnId, stanza: &Stanza<'_>, out: &mut impl Outlet) {
        let Some(session) = self.sessions.find(conn) else {
            return;
        };
        let logged_in = session.login == Login::Done;
        let root = session.root;
        let mut request = Request::bare(conn, stanza);
        let found = VERBS.iter().find(|verb| stanza.is_named(verb.name));
        let found = found.filter(|verb| !verb.extension || !self.is_anothers(stanza));
        match found {
            Some(verb) if verb.is_for(logged_in, true) => {
                if verb.cost > 1 {
                    self.charge_stanzas(conn, verb.cost - 1);
                }
                if verb.root && !root {
                    return self.refuse(conn, RefusalReason::Rights, "You must be root", out);
                }
                match request.read(verb) {
                    Ok(()) => self.perform(verb.action, &request, out),
                    Err(error) if verb.action == Action::Connect => {
                        self.refuse_login(conn, "", error, LoginRefusal::NoNick, out);
                    }
                    Err(error) => self.refuse(conn, RefusalReason::Incomplete, error, out),
                }
            }
            _ if !logged_in => {
                self.refuse(conn, RefusalReason::NotLoggedIn, "You must login first", out);
            }
            Some(_) => self.refuse(conn, RefusalReason::WrongState, "Not a known node", out),
            None => self.relay(&request, out),
        }
    }

    /// Whether a stanza that is named like a verb beyond version 1 is a plugin's, or goes to a room
    /// or a client as the stanzas of old movies do.
    fn is_anothers(&self, stanza: &Stanza<'_>) -> bool {
        self.registered.names.contains(stanza.name())
            || ["toroom", "r", "toclient", "c"].iter().any(|&name| stanza.value(name).is_some())
    }

    fn perform(&mut self, action: Action, request: &Request<'_>, out: &mut impl Outlet) {
        match action {
            Action::AddChild => self.add_child(request, out),
            Action::ClientParam => self.client_param(request, out),
            Action::Connect => self.connect(request, out),
            Action::GetBans => self.get_bans(request, out),
            Action::GetInfo => self.tell_info(request, out),
            Action::GetRooms => self.tell_rooms(request, out),
            Action::Help => self.help(request, out),
            Action::Invite => self.invite(request, out),
            Action::Join => self.join(request, out),
            Action::Kick => self.kick_from_room(request, out),
            Action::Leave => self.leave(request, out),
            Action::Message => self.message(request, out),
            Action::Mode => self.mode(request, out),
            Action::Ping => self.ping(request, out),
            Action::Policy => self.tell_policy(request, out),
            Action::Quit => self.quit(request, out),
            Action::RemoveParam => self.remove_param(request, out),
            Action::RemoveUser => self.remove_user(request, out),
            Action::Role => self.give_role(request, out),
            Action::Sanction(sanction) => self.sanction(request, sanction, out),
            Action::SetParam => self.set_param(request, out),
            Action::Shutdown => self.shutdown_asked(request, out),
            Action::Who => self.who(request, out),
        }
    }
}
