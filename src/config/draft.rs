//! A configuration file that is being read: what it says, line by line, and what follows from that
//! for what it leaves open. Whether all of it goes together is looked at by `checks`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::database;
use super::doubts::{Written, doubts};
use super::ini::{self, Content, IniFault, Tail};
use super::keys::{self, KEYS, SECTIONS};
use super::modules::{self, Module};
use super::origins::{Origin, Origins};
use super::problem::{Misfit, Problem, nearest};
use super::rooms;
use super::values::Values;
use crate::limits::Limits;

/// A file that is being read.
pub(super) struct ConfigDraft {
    /// As it was named.
    pub(super) file: PathBuf,
    /// The same from the root on.
    pub(super) source: PathBuf,
    pub(super) values: Values,
    pub(super) origins: Origins,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    /// `[room NAME]`, by name.
    pub(super) room_sections: BTreeMap<String, rooms::RoomSection>,
    /// `[module NAME]`, by name.
    pub(super) module_sections: BTreeMap<String, modules::Section>,
    pub(super) modules: Vec<Module>,
}

/// Where in the file something stands.
struct KeyPlace<'a> {
    file: &'a Path,
    line: usize,
    section: &'a str,
    key: &'a str,
}

impl KeyPlace<'_> {
    fn problem(&self, misfit: Misfit) -> Problem {
        Problem::at(self.file, self.line, self.section, self.key, misfit)
    }

    /// Why a value may be meant otherwise than it is read.
    fn doubts(&self, written: Written, value: &str, tail: &Tail) -> Vec<String> {
        let Self { file, line, section, key } = self;
        let place = format!("{}:{line}: [{section}] {key}", file.display());
        let told = doubts(written, value, tail).into_iter();
        told.map(|doubt| format!("{place}: {doubt}")).collect()
    }
}

fn second_time(first: usize) -> Misfit {
    Misfit::new("the key a second time", format!("it once; the first is in line {first}"))
}

impl ConfigDraft {
    /// Reads what the file says.
    pub(super) fn read(file: PathBuf, source: PathBuf, text: &[u8]) -> Self {
        let mut draft = Self {
            source,
            file: file.clone(),
            values: Values::default(),
            origins: Origins::default(),
            problems: Vec::new(),
            warnings: Vec::new(),
            module_sections: BTreeMap::new(),
            room_sections: BTreeMap::new(),
            modules: Vec::new(),
        };
        draft.read_lines(&file, text);
        draft
    }

    fn read_lines(&mut self, file: &Path, text: &[u8]) {
        let mut section = String::new();
        let mut known = true;
        for item in ini::read(text) {
            let place = KeyPlace { file, line: item.line, section: &section, key: "" };
            match item.content {
                Content::Section(name) => {
                    known = self.enter(&KeyPlace { section: &name, ..place });
                    section = name;
                }
                // An unknown section has been told; its keys would only be noise.
                Content::Entry { .. } | Content::Fault(_) if !known => {}
                Content::Entry { key, .. } if section.is_empty() => {
                    let misfit = Misfit::new(
                        "a key before the first section",
                        "a line \"[section]\" above it",
                    );
                    let problem = KeyPlace { key: &key, ..place }.problem(misfit);
                    self.problems.push(Problem { nearest: elsewhere(&key), ..problem });
                }
                Content::Entry { key, value, tail } => {
                    self.entry(&KeyPlace { key: &key, ..place }, &value, &tail);
                }
                Content::Fault(fault) => {
                    let (found, needs) = fault.found_and_needed();
                    let place = KeyPlace { key: known_key_of(&fault), ..place };
                    self.problems.push(place.problem(Misfit::new(found, needs)));
                }
            }
        }
    }

    /// Whether the section is a known one.
    fn enter(&mut self, place: &KeyPlace<'_>) -> bool {
        let name = place.section;
        if SECTIONS.iter().any(|section| section.eq_ignore_ascii_case(name)) {
            return true;
        }
        if let Some(module) = modules::named(name) {
            let section = modules::Section::at(place.line);
            self.module_sections.entry(module.to_owned()).or_insert(section);
            return true;
        }
        if let Some(room) = rooms::named(name) {
            let section = rooms::RoomSection::at(place.line);
            self.room_sections.entry(room.to_owned()).or_insert(section);
            return true;
        }
        let needs = format!("one of [{}], [module NAME], [room NAME]", SECTIONS.join("], ["));
        let problem = place.problem(Misfit::new("an unknown section", needs));
        let nearest = nearest(name, SECTIONS.iter().copied()).map(|section| format!("[{section}]"));
        self.problems.push(Problem { nearest, ..problem });
        false
    }

    fn entry(&mut self, place: &KeyPlace<'_>, value: &str, tail: &Tail) {
        if let Some(module) = modules::named(place.section) {
            let written =
                if modules::is_of_words(place.key) { Written::AsWords } else { Written::Exactly };
            self.warnings.extend(place.doubts(written, value, tail));
            return self.module_entry(module, place, value);
        }
        if let Some(room) = rooms::named(place.section) {
            let written = if rooms::is_free(place.key) {
                Written::Freely
            } else if rooms::is_secret(place.key) {
                Written::Secretly
            } else {
                Written::Exactly
            };
            self.warnings.extend(place.doubts(written, value, tail));
            return self.room_entry(room, place, value);
        }
        let Some(index) = keys::find(place.section, place.key) else {
            self.problems.push(unknown_key(place));
            return;
        };
        if let Some(first) = self.origins.line_at(index) {
            self.problems.push(place.problem(second_time(first)));
            return;
        }
        self.origins.set_at(index, Origin::Line(place.line));
        let kind = KEYS[index].kind;
        self.warnings.extend(place.doubts(kind.written(), value, tail));
        if let Err(misfit) = kind.read(&mut self.values, value) {
            self.problems.push(place.problem(misfit));
        }
    }

    /// A line of a `[module NAME]` section.
    fn module_entry(&mut self, module: &str, place: &KeyPlace<'_>, value: &str) {
        let names = modules::key_names();
        if !names.iter().any(|key| key.eq_ignore_ascii_case(place.key)) {
            let misfit = Misfit::new("an unknown key", format!("one of {}", names.join(", ")));
            let nearest = nearest(place.key, names.into_iter()).map(str::to_owned);
            self.problems.push(Problem { nearest, ..place.problem(misfit) });
            return;
        }
        let value = ini::unescape(value).unwrap_or_else(|_| value.into());
        let Some(section) = self.module_sections.get_mut(module) else { return };
        match section.read(place.key, &value, place.line) {
            Ok(None) => {}
            Ok(Some(first)) => self.problems.push(place.problem(second_time(first))),
            Err(misfit) => self.problems.push(place.problem(misfit)),
        }
    }

    /// A line of a `[room NAME]` section.
    fn room_entry(&mut self, room: &str, place: &KeyPlace<'_>, value: &str) {
        let names = rooms::KEYS.map(|key| key.name);
        let known = names.iter().find(|key| key.eq_ignore_ascii_case(place.key));
        let Some(&key) = known else {
            let misfit = Misfit::new("an unknown key", format!("one of {}", names.join(", ")));
            let nearest = nearest(place.key, names.into_iter()).map(str::to_owned);
            self.problems.push(Problem { nearest, ..place.problem(misfit) });
            return;
        };
        let value = ini::unescape(value).unwrap_or_else(|_| value.into());
        let Some(section) = self.room_sections.get_mut(room) else { return };
        match section.read(key, &value, place.line) {
            Ok(None) => {}
            Ok(Some(first)) => self.problems.push(place.problem(second_time(first))),
            Err(misfit) => self.problems.push(place.problem(misfit)),
        }
    }

    /// Finds out what keeps the `[room NAME]` sections from being rooms.
    pub(super) fn check_rooms(&mut self) {
        for (name, room) in &self.room_sections {
            if let Some((key, misfit)) = room.fault(name, &self.values.limits) {
                let section = format!("room {name}");
                let line = room.line_of(key);
                let place = KeyPlace { file: &self.file, line, section: &section, key };
                self.problems.push(place.problem(misfit));
            }
        }
    }

    /// Has every path begin at the root, since later the process may stand in another directory.
    pub(super) fn make_absolute(&mut self, directory: &Path) {
        let values = &mut self.values;
        let paths = [
            &mut values.pid_file,
            &mut values.log_file,
            &mut values.accounts_file,
            &mut values.store_file,
            &mut values.certificate,
            &mut values.key,
        ];
        for path in paths.into_iter().flatten() {
            *path = directory.join(&path);
        }
        database::make_absolute(values, directory);
    }

    /// Adapts what the file leaves open to what it says.
    pub(super) fn fill_in(&mut self) {
        self.fill_in_limits();
        if !self.values.takes_websocket() {
            if self.values.websocket && self.follows("web", "websocket", "http") {
                self.values.websocket = false;
            }
            if self.values.page && self.follows("web", "page", "websocket") {
                self.values.page = false;
            }
        }
    }

    /// Bounds of what waits follow the largest stanza, and each other.
    fn fill_in_limits(&mut self) {
        let backlog = self.values.backlog_wanted();
        let Limits { backlog_bytes_max, .. } = self.values.limits;
        if backlog_bytes_max < backlog && self.follows("limits", "backlog", "stanzabytes") {
            self.values.limits.backlog_bytes_max = backlog;
        }
        if self.values.limits.backlog_soft_bytes_max > backlog
            && self.follows("limits", "backlogsoft", "backlog")
        {
            self.values.limits.backlog_soft_bytes_max = backlog;
        }
        if self.values.limits.backlog_total_bytes_max < backlog
            && self.follows("limits", "backlogtotal", "backlog")
        {
            self.values.limits.backlog_total_bytes_max = backlog;
        }
        let quarter = backlog / 4;
        if self.values.limits.list_bytes_max != quarter
            && self.follows("limits", "listbytes", "backlog")
        {
            self.values.limits.list_bytes_max = quarter;
        }
    }

    /// Whether the file leaves a key open, which then follows `to`.
    fn follows(&mut self, section: &str, key: &str, to: &'static str) -> bool {
        let is_open = !self.origins.is_written(section, key);
        if is_open {
            self.origins.set(section, key, Origin::Follows(to));
        }
        is_open
    }

    /// Finds the programs of `[modules] list`.
    pub(super) fn find_modules(&mut self, directory: &Path) {
        let none = modules::Section::default();
        let line = self.origins.line_of("modules", "list");
        for name in &self.values.modules {
            let section = self.module_sections.get(name).unwrap_or(&none);
            match section.module(name, &self.values.module_path, directory) {
                Ok(module) => self.modules.push(module),
                Err(misfit) => {
                    let place =
                        KeyPlace { file: &self.file, line, section: "modules", key: "list" };
                    self.problems.push(place.problem(misfit));
                }
            }
        }
        for (name, section) in &self.module_sections {
            if !self.values.modules.contains(name) {
                self.warnings.push(format!(
                    "{}:{}: [module {name}]: [modules] list does not name it, so it is not run",
                    self.file.display(),
                    section.line
                ));
            }
        }
    }
}

/// The key that a faulty line seems to set; nothing that could be a part of a password.
fn known_key_of(fault: &IniFault) -> &str {
    match fault {
        IniFault::NoEquals(word) | IniFault::CommentForValue(word)
            if KEYS.iter().any(|key| key.name.eq_ignore_ascii_case(word)) =>
        {
            word
        }
        IniFault::NoEquals(_)
        | IniFault::CommentForValue(_)
        | IniFault::NoKey
        | IniFault::Header
        | IniFault::Indented
        | IniFault::NotUtf8
        | IniFault::Control => "",
    }
}

/// What is told of a key that its section does not have.
fn unknown_key(place: &KeyPlace<'_>) -> Problem {
    let of_section = |key: &&keys::Key| key.section.eq_ignore_ascii_case(place.section);
    let names: Vec<&str> = KEYS.iter().filter(of_section).map(|key| key.name).collect();
    let near = nearest(place.key, names.iter().copied()).map(str::to_owned);
    let misfit = Misfit::new("an unknown key", format!("one of {}", names.join(", ")));
    Problem { nearest: near.or_else(|| elsewhere(place.key)), ..place.problem(misfit) }
}

/// A key of this name, or nearly, in whichever section.
fn elsewhere(name: &str) -> Option<String> {
    let same = |key: &&keys::Key| key.name.eq_ignore_ascii_case(name);
    let key = KEYS.iter().find(same).or_else(|| {
        let near = nearest(name, KEYS.iter().map(|key| key.name))?;
        KEYS.iter().find(|key| key.name == near)
    })?;
    Some(format!("[{}] {}", key.section, key.name))
}
