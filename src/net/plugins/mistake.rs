//! What is wrong with what a plugin has said, in the words that it is told in its `<error>`.

use std::fmt;

use crate::hub::OrderError;
use crate::limits::{
    PLUGIN_NAME_BYTES_MAX, PLUGIN_NAMES_MAX, PLUGIN_TIMERS_MAX, REASON_BYTES_MAX,
    WORKER_STATE_BYTES_MAX,
};
use crate::wire::stanza::Refusal;

/// Why a stanza of a plugin was not done.
#[derive(Debug)]
pub(in crate::net) enum Mistake {
    /// It is no stanza.
    NoStanza(Refusal),
    /// It is longer than so many bytes.
    TooLarge(usize),
    /// No stanza of plugins has this name.
    NoVerb(Box<str>),
    /// The stanza of this name has none of these attributes.
    Missing(&'static str, &'static [&'static str]),
    /// The value of this attribute is no number.
    NoNumber(&'static str, Box<str>),
    /// The value of this attribute is neither true nor false.
    NoFlag(&'static str, Box<str>),
    /// The value of this attribute is spelled as no session's id is.
    NoSession(&'static str, Box<str>),
    /// The value of this attribute is none of these words.
    NoneOf(&'static str, Box<str>, &'static str),
    /// A `<send>` has not exactly one element in it.
    NoElement,
    /// The element in a `<send>` has more than clients' own stanzas may have.
    ElementRefused(Refusal),
    /// The element in a `<send>` is longer than so many bytes, which is what clients' own may have.
    LargeElement(usize),
    /// Some of what a `<register>` has in it was not registered.
    NotRegistered(Vec<Unregistered>),
    /// The reason in a `<verdict>` is too long; the verdict counts without it.
    LongReason,
    /// A `<timer>` has too long a name.
    LongName,
    /// A plugin has too many timers.
    ManyTimers,
    /// The plugin was never asked under this number.
    NotAsked(u64),
    /// A `<keep>` that does not come from the server's own worker.
    NotTheWorker,
    /// A `<keep>` of the worker that is too long.
    LongState,
    /// The process has been replaced by another one of its plugin.
    Replaced,
    /// The hub has not done what it was told, or does not know what it was asked.
    Order(OrderError),
}

/// Why a name or a hook was not registered.
#[derive(Debug)]
pub(in crate::net) enum Unregistered {
    /// The server itself has stanzas of this name.
    ServersOwn(Box<str>),
    /// An element without a prefix can't have this name.
    NoName(Box<str>),
    /// No hook has this name.
    NoHook(Box<str>),
    /// The hook is for the server's own worker alone.
    WorkersOwn(&'static str),
    /// A room or names of stanzas for hooks that ask about neither.
    NoWatch,
    /// The name is too long.
    LongName,
    /// The plugin has too many names.
    ManyNames,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStanza(refusal) => refusal.fmt(f),
            Self::TooLarge(max) => write!(f, "a stanza over {max} bytes"),
            Self::NoVerb(name) => write!(f, "<{name}> is nothing that a plugin can send"),
            Self::Missing(verb, names) => {
                write!(f, "<{verb}> needs ")?;
                for (place, name) in names.iter().enumerate() {
                    f.write_str(match names.len() - place {
                        _ if place == 0 => "",
                        1 => " or ",
                        _ => ", ",
                    })?;
                    // Whatever else its value may be, it is to be there.
                    let value = if *name == "all" { "1" } else { "…" };
                    write!(f, "{name}='{value}'")?;
                }
                Ok(())
            }
            Self::NoNumber(name, text) => write!(f, "{name}='{text}' is no number"),
            Self::NoFlag(name, text) => write!(f, "{name}='{text}' is neither 1 nor 0"),
            Self::NoSession(name, text) => write!(f, "{name}='{text}' is no session"),
            Self::NoneOf(name, text, words) => write!(f, "{name}='{text}' is none of {words}"),
            Self::NoElement => f.write_str("<send> needs exactly one element in it"),
            Self::ElementRefused(refusal) => write!(f, "the element in <send>: {refusal}"),
            Self::LargeElement(max) => write!(f, "an element over {max} bytes in <send>"),
            Self::NotRegistered(all) => {
                for (place, one) in all.iter().enumerate() {
                    let between = if place == 0 { "" } else { "; " };
                    write!(f, "{between}{one}")?;
                }
                Ok(())
            }
            Self::LongReason => write!(f, "too long a reason (limit {REASON_BYTES_MAX} bytes)"),
            Self::LongName => Unregistered::LongName.fmt(f),
            Self::ManyTimers => write!(f, "too many timers (limit {PLUGIN_TIMERS_MAX})"),
            Self::NotAsked(ask) => write!(f, "nobody asked you ask='{ask}'"),
            Self::NotTheWorker => f.write_str("<keep> is for the server's own accounts"),
            Self::LongState => {
                write!(f, "too long a state (limit {WORKER_STATE_BYTES_MAX} bytes)")
            }
            Self::Replaced => f.write_str("another process has taken its place"),
            Self::Order(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Unregistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServersOwn(name) => write!(f, "{name} is the server's own"),
            Self::NoName(name) => {
                write!(f, "{name} is no name of an element without a prefix")
            }
            Self::NoHook(name) => write!(f, "{name} is no hook"),
            Self::WorkersOwn(hook) => write!(f, "{hook} is for the server's own accounts"),
            Self::NoWatch => f.write_str("room and stanzas are for mayJoin and mayTalk"),
            Self::LongName => write!(f, "too long a name (limit {PLUGIN_NAME_BYTES_MAX} bytes)"),
            Self::ManyNames => write!(f, "too many names (limit {PLUGIN_NAMES_MAX})"),
        }
    }
}
