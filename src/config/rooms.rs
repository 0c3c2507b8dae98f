//! The `[room NAME]` sections: rooms that are there from the start.

use std::collections::BTreeMap;

use super::ini;
use super::problem::Misfit;
use crate::hub::DeclaredRoom;
use crate::hub::mode::check_mode;
use crate::limits::Limits;
use crate::nick::{comparison_key, room_name_fault};

/// What a `[room NAME]` section says.
#[derive(Clone, Debug, Default)]
pub(super) struct RoomSection {
    /// The line of its header.
    pub(super) line: usize,
    title: Option<String>,
    /// Modes that it sets, with their values as they are written.
    modes: BTreeMap<&'static str, String>,
    operators: Vec<String>,
    /// Keys that it has, and where.
    seen: BTreeMap<&'static str, usize>,
}

/// A key of such a section, as the table of keys shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoomKeyRow {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) meaning: &'static str,
}

const TITLE: &str = "title";
const OPERATORS: &str = "operators";
const PASSWORD: &str = "password";

/// The keys of such a section. What a section does not have is the operators' to choose.
pub(super) const KEYS: [RoomKeyRow; 8] = [
    RoomKeyRow { name: TITLE, unit: "text", meaning: "the param `title`" },
    RoomKeyRow {
        name: OPERATORS,
        unit: "nicks",
        meaning: "who is operator as soon as it enters, if its nick was proven by a password; separated by commas",
    },
    RoomKeyRow { name: "locked", unit: "0, 1", meaning: "the mode: only who is invited enters" },
    RoomKeyRow { name: PASSWORD, unit: "text", meaning: "the mode: who enters has to say it" },
    RoomKeyRow {
        name: "limit",
        unit: "members",
        meaning: "the mode: so many may be in; 0: no limit",
    },
    RoomKeyRow {
        name: "moderated",
        unit: "0, 1",
        meaning: "the mode: only operators and those who have a voice talk",
    },
    RoomKeyRow {
        name: "hidden",
        unit: "0, 1",
        meaning: "the mode: the room stands in the lists of its members and root alone",
    },
    RoomKeyRow { name: "history", unit: "messages", meaning: "the mode: so many are kept" },
];

/// The room that a section's header names: `room NAME`.
pub(super) fn named(section: &str) -> Option<&str> {
    let (word, name) = section.split_once(char::is_whitespace)?;
    word.eq_ignore_ascii_case("room").then_some(name.trim())
}

/// Whether a key's value is a text in which anything may stand.
pub(super) fn is_free(key: &str) -> bool {
    key.eq_ignore_ascii_case(TITLE)
}

/// Whether a key's value is shown to nobody.
pub(super) fn is_secret(key: &str) -> bool {
    key.eq_ignore_ascii_case(PASSWORD)
}

impl RoomSection {
    /// An empty one, whose header stands in this line.
    pub(super) fn at(line: usize) -> Self {
        Self { line, ..Self::default() }
    }

    /// Reads one of its lines; `Ok(Some)` is the line where the key stood already.
    pub(super) fn read(
        &mut self,
        key: &'static str,
        value: &str,
        line: usize,
    ) -> Result<Option<usize>, Misfit> {
        if let Some(first) = self.seen.insert(key, line) {
            return Ok(Some(first));
        }
        match key {
            TITLE => self.title = Some(value.to_owned()),
            OPERATORS => {
                let nicks = value.split(',').map(str::trim).filter(|nick| !nick.is_empty());
                for nick in nicks {
                    if comparison_key(nick).is_none() {
                        return Err(Misfit::of(nick, "nicks separated by commas"));
                    }
                    self.operators.push(nick.to_owned());
                }
            }
            mode => {
                check_mode(mode, value).map_err(|needs| {
                    let found = if is_secret(mode) { "a value" } else { value };
                    Misfit::new(found.to_owned(), needs)
                })?;
                self.modes.insert(mode, value.to_owned());
            }
        }
        Ok(None)
    }

    /// Whether it has a password.
    pub(super) fn has_secret(&self) -> bool {
        self.modes.get(PASSWORD).is_some_and(|password| !password.is_empty())
    }

    /// Its keys, as the file could have them; `None` for a password that is set.
    pub(super) fn show(&self) -> Vec<(&'static str, Option<String>)> {
        let mut shown = Vec::new();
        shown.extend(self.title.clone().map(|title| (TITLE, Some(ini::escape(&title)))));
        if !self.operators.is_empty() {
            shown.push((OPERATORS, Some(ini::escape(&self.operators.join(", ")))));
        }
        for (&mode, value) in &self.modes {
            let hidden = is_secret(mode) && !value.is_empty();
            shown.push((mode, (!hidden).then(|| ini::escape(value))));
        }
        shown
    }

    /// What keeps it from being a room: a key of it, or none, and what is wrong.
    pub(super) fn fault(&self, name: &str, limits: &Limits) -> Option<(&'static str, Misfit)> {
        if name.len() > limits.room_bytes_max {
            let needs = format!("a name of at most {} bytes", limits.room_bytes_max);
            return Some(("", Misfit::of(name, needs)));
        }
        if let Some(fault) = room_name_fault(name) {
            return Some(("", Misfit::new(fault.to_owned(), "a name that a room can have")));
        }
        let title = self.title.as_ref()?;
        (title.len() > limits.param_bytes_max).then(|| {
            let needs = format!("a title of at most {} bytes", limits.param_bytes_max);
            (TITLE, Misfit::new(format!("a title of {} bytes", title.len()), needs))
        })
    }

    /// The line of a key, or of the header.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.seen.get(key).copied().unwrap_or(self.line)
    }

    /// Whether somebody is to be operator.
    pub(super) fn has_operators(&self) -> bool {
        !self.operators.is_empty()
    }

    /// The room of this name.
    pub(super) fn room(&self, name: &str) -> DeclaredRoom {
        DeclaredRoom {
            name: name.to_owned(),
            title: self.title.clone(),
            modes: self.modes.iter().map(|(&mode, value)| (mode, value.clone())).collect(),
            operators: self.operators.clone(),
        }
    }
}
