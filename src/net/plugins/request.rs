//! What plugins say, read from the elements that they send.

use std::borrow::Cow;

use super::asks::Answer;
use super::hook::Hook;
use crate::session_id::{ConnId, NotSpelled};
use crate::wire::stanza::Stanza;

/// A client, as a plugin names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) enum Who<'a> {
    /// By the session's id.
    Session(ConnId),
    /// By its nick.
    Nick(Cow<'a, str>),
}

/// Who is to get something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) enum To<'a> {
    /// One client.
    One(Who<'a>),
    /// The members of a room, all or all but one.
    Room(Cow<'a, str>, Option<ConnId>),
    /// Everybody who has logged in, or all but one.
    All(Option<ConnId>),
}

/// What a plugin wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) enum What<'a> {
    Rooms,
    /// Of a room, or all.
    Clients(Option<Cow<'a, str>>),
    RoomParams(Cow<'a, str>),
    ClientParams(Who<'a>),
}

/// What a plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) enum Request<'a> {
    Register {
        names: Vec<String>,
        hooks: Vec<Result<Hook, String>>,
    },
    Send {
        to: To<'a>,
        inner: &'a str,
    },
    Verdict {
        ask: u64,
        answer: Answer,
        /// Why the plugin could not find out.
        error: Option<Cow<'a, str>>,
    },
    Kick {
        who: Who<'a>,
        reason: Option<Cow<'a, str>>,
    },
    Join {
        who: Who<'a>,
        room: Cow<'a, str>,
    },
    Leave {
        who: Who<'a>,
        room: Cow<'a, str>,
    },
    SetParam {
        room: Cow<'a, str>,
        name: Cow<'a, str>,
        value: Cow<'a, str>,
    },
    RemoveParam {
        room: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    ClientParam {
        who: Who<'a>,
        name: Cow<'a, str>,
        value: Cow<'a, str>,
    },
    RemoveClientParam {
        who: Who<'a>,
        name: Cow<'a, str>,
    },
    Get {
        what: What<'a>,
        ask: Cow<'a, str>,
    },
    Log {
        level: log::Level,
        text: Cow<'a, str>,
    },
    /// What the next process of the server's own worker is to be told.
    Keep {
        state: Cow<'a, str>,
    },
    /// In so many milliseconds; `None` cancels it.
    Timer {
        name: Cow<'a, str>,
        after_ms: Option<u64>,
    },
}

impl<'a> Request<'a> {
    /// Reads an element.
    ///
    /// # Errors
    /// What is wrong with it, for the plugin.
    pub(in crate::net) fn read(stanza: &Stanza<'a>) -> Result<Self, String> {
        let reader = Reader(stanza);
        Ok(match stanza.name() {
            "register" => Self::Register {
                names: words(stanza.value("names")),
                hooks: words(stanza.value("hooks"))
                    .into_iter()
                    .map(|word| Hook::of(&word).ok_or(word))
                    .collect(),
            },
            "send" => Self::Send { to: reader.to()?, inner: stanza.inner() },
            "verdict" => {
                let error = stanza.value("error");
                let answer = reader.answer(error.is_some())?;
                Self::Verdict { ask: reader.number("ask")?, answer, error }
            }
            "kick" => Self::Kick { who: reader.who()?, reason: stanza.value("reason") },
            "join" => Self::Join { who: reader.who()?, room: reader.need("room")? },
            "leave" => Self::Leave { who: reader.who()?, room: reader.need("room")? },
            "setparam" => Self::SetParam {
                room: reader.need("room")?,
                name: reader.need("name")?,
                value: reader.need("value")?,
            },
            "removeparam" => {
                Self::RemoveParam { room: reader.need("room")?, name: reader.need("name")? }
            }
            "clientparam" => Self::ClientParam {
                who: reader.who()?,
                name: reader.need("name")?,
                value: reader.need("value")?,
            },
            "removeclientparam" => {
                Self::RemoveClientParam { who: reader.who()?, name: reader.need("name")? }
            }
            "get" => Self::Get { what: reader.what()?, ask: reader.need("ask")? },
            "log" => Self::Log { level: reader.level()?, text: stanza.inner_text() },
            "keep" => Self::Keep { state: reader.need("state")? },
            "timer" => Self::Timer {
                name: reader.need("name")?,
                after_ms: stanza.value("after").map(|_| reader.number("after")).transpose()?,
            },
            other => return Err(format!("<{other}> is nothing that a plugin can send")),
        })
    }
}

struct Reader<'s, 'a>(&'s Stanza<'a>);

impl<'a> Reader<'_, 'a> {
    fn need(&self, name: &str) -> Result<Cow<'a, str>, String> {
        let stanza = self.0;
        stanza.value(name).ok_or_else(|| format!("<{}> needs {name}='…'", stanza.name()))
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        let text = self.need(name)?;
        text.parse().map_err(|_| format!("{name}='{text}' is no number"))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match &*self.need(name)? {
            "1" | "yes" | "true" => Ok(true),
            "0" | "no" | "false" => Ok(false),
            other => Err(format!("{name}='{other}' is neither 1 nor 0")),
        }
    }

    /// With an error that of a plugin that could not find out, which may still have said no.
    fn answer(&self, error: bool) -> Result<Answer, String> {
        if error && self.0.value("allowed").is_none() {
            return Ok(Answer::Unknown { denied: false });
        }
        Ok(match (self.flag("allowed")?, error) {
            (false, true) => Answer::Unknown { denied: true },
            (false, false) => Answer::No,
            (true, _) => Answer::Yes,
        })
    }

    fn session(&self, name: &str) -> Result<Option<ConnId>, String> {
        let Some(text) = self.0.value(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|NotSpelled| format!("{name}='{text}' is no session"))
    }

    fn who(&self) -> Result<Who<'a>, String> {
        if let Some(session) = self.session("session")? {
            return Ok(Who::Session(session));
        }
        let nick = self.0.value("nick").map(Who::Nick);
        nick.ok_or_else(|| format!("<{}> needs session='…' or nick='…'", self.0.name()))
    }

    fn to(&self) -> Result<To<'a>, String> {
        let stanza = self.0;
        if stanza.value("session").is_some() || stanza.value("nick").is_some() {
            return self.who().map(To::One);
        }
        let except = self.session("except")?;
        match (stanza.value("room"), stanza.value("all")) {
            (Some(room), _) => Ok(To::Room(room, except)),
            (None, Some(_)) => Ok(To::All(except)),
            (None, None) => {
                Err("<send> needs session='…', nick='…', room='…' or all='1'".to_owned())
            }
        }
    }

    fn what(&self) -> Result<What<'a>, String> {
        let room = self.0.value("room");
        Ok(match (&*self.need("what")?, room) {
            ("rooms", _) => What::Rooms,
            ("clients", room) => What::Clients(room),
            ("params", Some(room)) => What::RoomParams(room),
            ("params", None) => What::ClientParams(self.who()?),
            (other, _) => return Err(format!("what='{other}' is none of rooms, clients, params")),
        })
    }

    fn level(&self) -> Result<log::Level, String> {
        match self.0.value("level").as_deref() {
            Some("debug") => Ok(log::Level::Debug),
            None | Some("info") => Ok(log::Level::Info),
            Some("warning") => Ok(log::Level::Warn),
            Some("error") => Ok(log::Level::Error),
            Some(other) => Err(format!("level='{other}' is none of debug, info, warning, error")),
        }
    }
}

fn words(value: Option<Cow<'_, str>>) -> Vec<String> {
    let value = value.unwrap_or_default();
    let words = value.split(|c: char| c == ',' || c.is_whitespace());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
