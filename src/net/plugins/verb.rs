//! The verb table of plugins: for each stanza that a plugin can send its name, the attributes that
//! it must and may have, and what it does. Stanzas are read by it, and the manual's table is
//! printed from it.
//!
//! What a plugin wants done or known is read straight into the hub's [`Order`] or [`Query`], which
//! borrow from the stanza. A new order is a row here and an arm where the hub obeys.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::asks::{Answer, AskId};
use super::mistake::Mistake;
use crate::hub::mode::MODES;
use crate::hub::{
    BanTarget, ModeValues, Order, Query, Receivers, Role, RoomOrder, ServerOrder, Terms, Who,
};
use crate::session_id::{ConnId, NotSpelled};
use crate::wire::stanza::Stanza;

/// A stanza that plugins can send.
#[derive(Debug)]
pub struct PluginVerb {
    /// The element's name.
    pub name: &'static str,
    /// What it must have: of each group of attributes one.
    pub required: &'static [&'static [&'static str]],
    /// The attributes that it may have besides.
    pub optional: &'static [&'static str],
    /// How it can be written. One without a form is for the server's own worker, and the manual
    /// does not show it.
    pub forms: &'static [Form],
    /// What is done about it.
    pub(in crate::net) action: PluginAction,
}

/// One way of writing a stanza.
#[derive(Debug)]
pub struct Form {
    /// How it is written.
    pub usage: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// What is done about a plugin's stanza.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) enum PluginAction {
    /// It takes names and hooks.
    Register,
    /// It answers what it was asked.
    Verdict,
    /// It is answered out of what the hub knows.
    Get(ReadQuery),
    /// A line in the log.
    Log,
    /// The worker has its state kept.
    Keep,
    /// The process that writes the store tells what became of a batch.
    Stored,
    /// Its timer is set.
    Timer,
    /// The hub is told to do something.
    Order(ReadOrder),
}

/// Reads an order out of its stanza.
type ReadOrder = for<'s> fn(&'s Said<'_, '_>) -> Result<Order<'s>, Mistake>;

/// Reads a question out of its stanza.
type ReadQuery = for<'s> fn(&'s Said<'_, '_>) -> Result<Query<'s>, Mistake>;

/// A client, by its session's id or by its nick; the id counts.
const WHO: &[&str] = &["session", "nick"];
/// Who gets an element.
const RECEIVERS: &[&str] = &["session", "nick", "room", "all"];
/// Whom a ban holds for.
const BANNED: &[&str] = &["nick", "address"];
const NICK: &[&str] = &["nick"];
const ROOM: &[&str] = &["room"];
const ROLE: &[&str] = &["role"];
const NAME: &[&str] = &["name"];
const VALUE: &[&str] = &["value"];
const ASK: &[&str] = &["ask"];

const fn form(usage: &'static str, meaning: &'static str) -> Form {
    Form { usage, meaning }
}

const fn verb(
    name: &'static str,
    action: PluginAction,
    required: &'static [&'static [&'static str]],
    optional: &'static [&'static str],
    forms: &'static [Form],
) -> PluginVerb {
    PluginVerb { name, required, optional, forms, action }
}

const fn order(
    name: &'static str,
    read: ReadOrder,
    required: &'static [&'static [&'static str]],
    optional: &'static [&'static str],
    forms: &'static [Form],
) -> PluginVerb {
    verb(name, PluginAction::Order(read), required, optional, forms)
}

/// Every stanza of plugins, in the manual's order.
pub static VERBS: &[PluginVerb] = &[
    verb(
        "register",
        PluginAction::Register,
        &[],
        &["names", "hooks", "room", "stanzas"],
        &[
            form(
                "<register names='dice roll' hooks='onClientConnect' />",
                "takes stanza names, without a prefix, and hooks, besides what it has; separated by \
             blanks or commas, either may be missing. Several plugins may have one name; the \
             requests (manual: protocol, 'Requests') and what the server itself sends can't be \
             registered. 256 names at most, each of 128 bytes. The first one says that the plugin \
             is ready",
            ),
            form(
                "<register hooks='mayTalk' [room='R'] [stanzas='m clientparam'] />",
                "has it asked about one room alone, about stanzas of these names alone (`m` is `msg`, \
             too), and without either about all; what several of these stanzas name is added \
                 up, 256 rooms and names at most",
            ),
        ],
    ),
    order(
        "send",
        |said| Ok(Order::Deliver { to: said.receivers()?, element: said.stanza.inner() }),
        &[RECEIVERS],
        &["except"],
        &[
            form(
                "<send WHO>ELEMENT</send>",
                "sends one element, as it is written, to a client, logged in or not",
            ),
            form("<send room='R' [except='S']>ELEMENT</send>", "to the members of a room"),
            form("<send all='1' [except='S']>ELEMENT</send>", "to all who have logged in"),
        ],
    ),
    verb(
        "verdict",
        PluginAction::Verdict,
        &[&["allowed", "error"], ASK],
        &["account", "reason"],
        &[
            form(
                "<verdict ask='17' allowed='1' [account='1'] />",
                "answers an `<ask>`: `1`, `yes`, `true` or `0`, `no`, `false`. What comes late, \
                 or twice, does nothing. `account='1'` says that the nick was proven by its \
                 password: the roles that it has in rooms are remembered",
            ),
            form(
                "<verdict ask='17' allowed='0' reason='text' />",
                "to `mayJoin` and `mayTalk`: the client is told this `<error>`, instead of what \
                 it is told as a rule; 256 bytes at most",
            ),
            form(
                "<verdict ask='17' error='why' />",
                "the plugin could not find out: what it was asked about is not possible right \
                 now, a login unless another plugin says yes. The log has `why`. With `allowed='0'` beside it a \
                 password was found to be wrong all the same, which is a failed login",
            ),
        ],
    ),
    order(
        "kick",
        |said| {
            let (who, reason) = (said.who()?, said.value("reason"));
            Ok(match said.value("room") {
                Some(room) => Order::InRoom { room, order: RoomOrder::Remove { who, reason } },
                None => Order::Kick { who, reason },
            })
        },
        &[WHO],
        &["room", "reason"],
        &[
            form(
                "<kick WHO [reason='text'] />",
                "ends a session, with `<error>text</error>` before",
            ),
            form(
                "<kick WHO room='R' [reason='text'] />",
                "removes a member from a room, as an operator would",
            ),
        ],
    ),
    order(
        "role",
        |said| {
            let (room, who, role) = (said.need(ROOM)?, said.who()?, said.role()?);
            Ok(Order::InRoom { room, order: RoomOrder::GiveRole { who, role } })
        },
        &[ROOM, WHO, ROLE],
        &[],
        &[form(
            "<role WHO room='R' role='voice' />",
            "gives a member of a room a role, `operator` or `voice`, or with `none` takes it",
        )],
    ),
    order(
        "mode",
        |said| {
            let order = RoomOrder::SetModes(ModeValues(MODES.map(|name| said.value(name))));
            Ok(Order::InRoom { room: said.need(ROOM)?, order })
        },
        &[ROOM],
        &MODES,
        &[form(
            "<mode room='R' [locked='1'] [password='P'] [limit='20'] [moderated='1'] \
             [hidden='1'] [keep='1'] [history='50'] />",
            "sets modes of a room, one at least",
        )],
    ),
    order(
        "ban",
        |said| {
            let terms = said.terms()?;
            Ok(match said.value("room") {
                Some(room) => {
                    let order = RoomOrder::Ban { nick: said.need(NICK)?, terms };
                    Order::InRoom { room, order }
                }
                None => Order::OnServer(ServerOrder::Ban { target: said.ban_target()?, terms }),
            })
        },
        &[BANNED],
        &["room", "time", "reason"],
        &[
            form(
                "<ban nick='N' [room='R'] [time='600'] [reason='text'] />",
                "keeps a nick and its address out of a room, or out of the server, for so many \
                 seconds or until it is lifted; whoever has it is removed",
            ),
            form(
                "<ban address='192.0.2.0/24' [time='600'] [reason='text'] />",
                "keeps a network out of the server",
            ),
        ],
    ),
    order(
        "unban",
        |said| {
            Ok(match said.value("room") {
                Some(room) => {
                    Order::InRoom { room, order: RoomOrder::Unban { nick: said.need(NICK)? } }
                }
                None => Order::OnServer(ServerOrder::Unban { target: said.ban_target()? }),
            })
        },
        &[BANNED],
        &["room"],
        &[
            form("<unban nick='N' [room='R'] />", "lifts a ban"),
            form("<unban address='192.0.2.0/24' />", "likewise"),
        ],
    ),
    order(
        "mute",
        |said| {
            let (nick, terms) = (said.need(NICK)?, said.terms()?);
            Ok(match said.value("room") {
                Some(room) => Order::InRoom { room, order: RoomOrder::Mute { nick, terms } },
                None => Order::OnServer(ServerOrder::Mute { nick, terms }),
            })
        },
        &[NICK],
        &["room", "time"],
        &[form(
            "<mute nick='N' [room='R'] [time='600'] />",
            "keeps a nick from talking in a room, or anywhere",
        )],
    ),
    order(
        "unmute",
        |said| {
            let nick = said.need(NICK)?;
            Ok(match said.value("room") {
                Some(room) => Order::InRoom { room, order: RoomOrder::Unmute { nick } },
                None => Order::OnServer(ServerOrder::Unmute { nick }),
            })
        },
        &[NICK],
        &["room"],
        &[form("<unmute nick='N' [room='R'] />", "lets a nick talk again")],
    ),
    order(
        "invite",
        |said| {
            let order = RoomOrder::Invite { who: said.who()? };
            Ok(Order::InRoom { room: said.need(ROOM)?, order })
        },
        &[WHO, ROOM],
        &[],
        &[form(
            "<invite WHO room='R' />",
            "lets a client into a room once within 10 minutes, past lock, password and limit",
        )],
    ),
    order(
        "join",
        |said| Ok(Order::Join { who: said.who()?, room: said.need(ROOM)? }),
        &[WHO, ROOM],
        &[],
        &[form(
            "<join WHO room='R' />",
            "has a client enter a room as if it had asked, within its limits; it is told what it \
             is always told",
        )],
    ),
    order(
        "leave",
        |said| Ok(Order::Leave { who: said.who()?, room: said.need(ROOM)? }),
        &[WHO, ROOM],
        &[],
        &[form("<leave WHO room='R' />", "has a client leave a room in the same way")],
    ),
    order(
        "setparam",
        |said| {
            let (room, name) = (said.need(ROOM)?, said.need(NAME)?);
            Ok(Order::SetRoomParam { room, name, value: said.need(VALUE)? })
        },
        &[ROOM, NAME, VALUE],
        &[],
        &[form(
            "<setparam room='R' name='K' value='V' />",
            "sets a param of a room, whoever may else; the members are told",
        )],
    ),
    order(
        "removeparam",
        |said| Ok(Order::RemoveRoomParam { room: said.need(ROOM)?, name: said.need(NAME)? }),
        &[ROOM, NAME],
        &[],
        &[form("<removeparam room='R' name='K' />", "removes a param of a room in the same way")],
    ),
    order(
        "clientparam",
        |said| {
            let (who, name) = (said.who()?, said.need(NAME)?);
            Ok(Order::SetClientParam { who, name, value: said.need(VALUE)? })
        },
        &[WHO, NAME, VALUE],
        &[],
        &[form(
            "<clientparam WHO name='K' value='V' />",
            "sets a param of a client; its rooms are told",
        )],
    ),
    order(
        "removeclientparam",
        |said| Ok(Order::RemoveClientParam { who: said.who()?, name: said.need(NAME)? }),
        &[WHO, NAME],
        &[],
        &[form(
            "<removeclientparam WHO name='K' />",
            "removes a param of a client; its rooms are told by their client lists",
        )],
    ),
    verb(
        "get",
        PluginAction::Get(|said| said.query()),
        &[&["what"], ASK],
        &["room", "session", "nick"],
        &[
            form("<get what='rooms' ask='X' />", "asks for what `<getrooms />` tells"),
            form(
                "<get what='clients' [room='R'] ask='X' />",
                "for those in a room, or all who have logged in: `<clients nb='1'><client \
                 name='Ann' session='12.345' address='127.0.0.1' /></clients>`, with `room='R'` \
                 and, where it is so, `operator='1'`",
            ),
            form(
                "<get what='params' room='R' ask='X' />",
                "for the params of a room: `<params …><param name='K' value='V' /></params>`",
            ),
            form("<get what='params' WHO ask='X' />", "for the params of a client, likewise"),
        ],
    ),
    verb(
        "who",
        PluginAction::Get(|said| {
            let (nick, room) = (said.value("nick"), said.value("room"));
            Ok(Query::Sessions { nick, room, after: said.session("after")? })
        }),
        &[ASK],
        &["nick", "room", "after"],
        &[form(
            "<who [nick='N'] [room='R'] [after='S'] ask='X' />",
            "asks for what `<who />` tells root: sessions, 200 at most, with where they come from \
             and for how long they have been silent",
        )],
    ),
    verb(
        "timer",
        PluginAction::Timer,
        &[NAME],
        &["after"],
        &[form(
            "<timer name='t' [after='1500'] />",
            "has a `<timer>` come in so many milliseconds, once, instead of an older one of that \
             name; without `after` not at all. 64 at most, their names of 128 bytes",
        )],
    ),
    verb(
        "log",
        PluginAction::Log,
        &[],
        &["level"],
        &[form(
            "<log level='info'>text</log>",
            "a line in the server's log: `debug`, `info`, `warning` or `error`",
        )],
    ),
    verb("keep", PluginAction::Keep, &[&["state"]], &[], &[]),
    verb("stored", PluginAction::Stored, &[&["n"]], &["error", "new"], &[]),
];

impl PluginVerb {
    /// Whether a process may still say it that another one has taken the place of.
    pub(in crate::net) const fn is_for_the_retired(&self) -> bool {
        matches!(self.action, PluginAction::Verdict | PluginAction::Log | PluginAction::Keep)
    }

    /// The attributes that it must or may have.
    fn attributes(&self) -> impl Iterator<Item = &'static str> {
        self.required.iter().copied().flatten().chain(self.optional).copied()
    }
}

/// What a `<verdict>` says.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct VerdictSaid<'s> {
    /// What it answers.
    pub(in crate::net) ask: AskId,
    pub(in crate::net) answer: Answer,
    /// Why the plugin could not find out.
    pub(in crate::net) error: Option<&'s str>,
    /// What the client is to be told that is refused something.
    pub(in crate::net) reason: Option<&'s str>,
}

/// A plugin's stanza, with the attributes that the table names.
#[derive(Debug)]
pub(in crate::net) struct Said<'s, 'a> {
    pub(in crate::net) verb: &'static PluginVerb,
    pub(in crate::net) stanza: &'s Stanza<'a>,
    values: SmallVec<[(&'static str, Cow<'a, str>); 4]>,
}

impl<'s, 'a> Said<'s, 'a> {
    /// Finds out what a stanza is, and reads its attributes.
    ///
    /// # Errors
    /// When plugins have no stanza of this name.
    pub(in crate::net) fn read(stanza: &'s Stanza<'a>) -> Result<Self, Mistake> {
        let found = VERBS.iter().find(|verb| stanza.is_named(verb.name));
        let verb = found.ok_or_else(|| Mistake::NoVerb(stanza.name().into()))?;
        let values = verb.attributes().filter_map(|name| Some((name, stanza.value(name)?)));
        Ok(Self { verb, stanza, values: values.collect() })
    }

    /// The value of an attribute that the verb's row has.
    pub(in crate::net) fn value(&self, name: &str) -> Option<&str> {
        debug_assert!(self.verb.attributes().any(|known| known == name), "{name} is in the row");
        let found = self.values.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| &**value)
    }

    /// The value of an attribute that must be there; the group has it alone.
    pub(in crate::net) fn need(&self, group: &'static [&'static str]) -> Result<&str, Mistake> {
        let value = group.iter().find_map(|name| self.value(name));
        value.ok_or(Mistake::Missing(self.verb.name, group))
    }

    /// The number in an attribute.
    pub(in crate::net) fn number(&self, group: &'static [&'static str]) -> Result<u64, Mistake> {
        let text = self.need(group)?;
        text.parse().map_err(|_| Mistake::NoNumber(group[0], text.into()))
    }

    fn session(&self, name: &'static str) -> Result<Option<ConnId>, Mistake> {
        let Some(text) = self.value(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|NotSpelled| Mistake::NoSession(name, text.into()))
    }

    fn who(&self) -> Result<Who<'_>, Mistake> {
        if let Some(session) = self.session("session")? {
            return Ok(Who::Session(session));
        }
        let nick = self.value("nick").map(Who::Nick);
        nick.ok_or(Mistake::Missing(self.verb.name, WHO))
    }

    fn receivers(&self) -> Result<Receivers<'_>, Mistake> {
        if self.value("session").is_some() || self.value("nick").is_some() {
            return self.who().map(Receivers::Client);
        }
        let except = self.session("except")?;
        match (self.value("room"), self.value("all")) {
            (Some(name), _) => Ok(Receivers::Room { name, except }),
            (None, Some(_)) => Ok(Receivers::Everybody { except }),
            (None, None) => Err(Mistake::Missing(self.verb.name, RECEIVERS)),
        }
    }

    /// The plugin's own word for what it asks.
    pub(in crate::net) fn ask(&self) -> Result<&str, Mistake> {
        self.need(ASK)
    }

    /// What a `<get>` asks for.
    fn query(&self) -> Result<Query<'_>, Mistake> {
        Ok(match (self.need(&["what"])?, self.value("room")) {
            ("rooms", _) => Query::Rooms,
            ("clients", room) => Query::Clients { room },
            ("params", Some(room)) => Query::RoomParams { room },
            ("params", None) => Query::ClientParams { who: self.who()? },
            (other, _) => {
                return Err(Mistake::NoneOf("what", other.into(), "rooms, clients, params"));
            }
        })
    }

    /// The role that a `<role>` gives; none where it is taken.
    fn role(&self) -> Result<Option<Role>, Mistake> {
        let role = self.need(ROLE)?;
        match Role::of(role) {
            None if role != "none" => {
                Err(Mistake::NoneOf("role", role.into(), "operator, voice, none"))
            }
            role => Ok(role),
        }
    }

    /// For how long a sanction is to hold, and why.
    fn terms(&self) -> Result<Terms<'_>, Mistake> {
        let time_s = self.value("time").map(|_| self.number(&["time"])).transpose()?;
        let has_reason = self.verb.optional.contains(&"reason");
        let reason = has_reason.then(|| self.value("reason")).flatten();
        Ok(Terms { time_s, reason })
    }

    /// Whom a ban of the server is to hold for.
    fn ban_target(&self) -> Result<BanTarget<'_>, Mistake> {
        match self.value("nick") {
            Some(nick) => Ok(BanTarget::Nick(nick)),
            None => self.need(BANNED).map(BanTarget::Address),
        }
    }

    /// What a `<verdict>` says. With an error it is that of a plugin that could not find out, which
    /// may still have said no.
    pub(in crate::net) fn verdict(&self) -> Result<VerdictSaid<'_>, Mistake> {
        let error = self.value("error");
        let answer = match (self.value("allowed"), error) {
            (None, Some(_)) => Answer::Unknown { denied: false },
            (None, None) => return Err(Mistake::Missing(self.verb.name, &["allowed"])),
            (Some("1" | "yes" | "true"), _) => Answer::Yes { account: self.flag("account")? },
            (Some("0" | "no" | "false"), None) => Answer::No,
            (Some("0" | "no" | "false"), Some(_)) => Answer::Unknown { denied: true },
            (Some(other), _) => return Err(Mistake::NoFlag("allowed", other.into())),
        };
        let (ask, reason) = (AskId(self.number(ASK)?), self.value("reason"));
        Ok(VerdictSaid { ask, answer, error, reason: reason.filter(|text| !text.is_empty()) })
    }

    /// Whether a switch is on; off where it is not there.
    fn flag(&self, name: &'static str) -> Result<bool, Mistake> {
        match self.value(name) {
            None | Some("0" | "no" | "false") => Ok(false),
            Some("1" | "yes" | "true") => Ok(true),
            Some(other) => Err(Mistake::NoFlag(name, other.into())),
        }
    }

    /// The name of a `<timer>`, and in how many milliseconds it is to come; `None` cancels it.
    pub(in crate::net) fn timer(&self) -> Result<(&str, Option<u64>), Mistake> {
        let name = self.need(NAME)?;
        let after = self.value("after").map(|_| self.number(&["after"]));
        Ok((name, after.transpose()?))
    }

    /// The level of a `<log>`.
    pub(in crate::net) fn level(&self) -> Result<log::Level, Mistake> {
        match self.value("level") {
            Some("debug") => Ok(log::Level::Debug),
            None | Some("info") => Ok(log::Level::Info),
            Some("warning") => Ok(log::Level::Warn),
            Some("error") => Ok(log::Level::Error),
            Some(other) => {
                Err(Mistake::NoneOf("level", other.into(), "debug, info, warning, error"))
            }
        }
    }

    /// The words of an attribute, between blanks or commas.
    pub(in crate::net) fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        let value = self.value(name).unwrap_or_default();
        let words = value.split(|c: char| c == ',' || c.is_whitespace());
        words.filter(|word| !word.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::wire::stanza::Parser;

    /// Reads a stanza to its end, as far as it can be done without a server.
    fn read(text: &str) -> Result<(), Mistake> {
        let mut parser = Parser::new();
        let stanza = parser.parse(text.as_bytes(), &Limits::usual()).expect("a stanza");
        let said = Said::read(&stanza)?;
        match said.verb.action {
            PluginAction::Register => said.words("names").chain(said.words("hooks")).for_each(drop),
            PluginAction::Verdict => drop(said.verdict()?),
            PluginAction::Get(read) => {
                read(&said)?;
                said.ask()?;
            }
            PluginAction::Log => drop(said.level()?),
            PluginAction::Keep => drop(said.need(&["state"])?),
            PluginAction::Stored => {
                said.number(&["n"])?;
                for name in ["error", "new"] {
                    let _ = said.value(name);
                }
            }
            PluginAction::Timer => drop(said.timer()?),
            PluginAction::Order(read) => drop(read(&said)?),
        }
        Ok(())
    }

    /// A stanza of this verb with these attributes.
    fn stanza(verb: &PluginVerb, names: impl Iterator<Item = &'static str>) -> String {
        let value = |name| match name {
            "what" => "rooms",
            "level" => "info",
            "role" => "voice",
            "session" | "except" => "1.1",
            "after" if verb.name == "who" => "1.1",
            _ => "1",
        };
        let attributes: String = names.map(|name| format!(" {name}='{}'", value(name))).collect();
        format!("<{}{attributes}><x/></{}>", verb.name, verb.name)
    }

    #[test]
    fn what_a_row_requires_is_required_and_what_it_allows_is_read() {
        for verb in VERBS {
            // Each member of a group is enough, and all of the row is.
            let first = || verb.required.iter().map(|group| group[0]);
            for (place, group) in verb.required.iter().enumerate() {
                let others = || first().enumerate().filter(move |(own, _)| *own != place);
                for &name in *group {
                    let text = stanza(verb, others().map(|(_, name)| name).chain([name]));
                    assert!(read(&text).is_ok(), "{text}: {:?}", read(&text));
                }
                let text = stanza(verb, others().map(|(_, name)| name));
                let missing = read(&text).expect_err(&text).to_string();
                assert!(missing.contains(&format!("<{}> needs", verb.name)), "{text}: {missing}");
                assert!(missing.contains(&format!("{}='", group[0])), "{text}: {missing}");
            }
            let text = stanza(verb, first().chain(verb.optional.iter().copied()));
            assert!(read(&text).is_ok(), "{text}: {:?}", read(&text));
        }
    }

    #[test]
    fn the_forms_of_a_row_show_its_attributes() {
        for verb in VERBS.iter().filter(|verb| !verb.forms.is_empty()) {
            let begins = |form: &Form| form.usage.starts_with(&format!("<{} ", verb.name));
            assert!(verb.forms.iter().all(begins), "{}", verb.name);
            let shown: String = verb.forms.iter().map(|form| form.usage).collect();
            let shown = shown.replace("WHO", "session='S' nick='N'");
            for name in verb.attributes() {
                assert!(shown.contains(&format!("{name}='")), "{name} of <{}>", verb.name);
            }
        }
    }
}
