//! The configuration as text: what `palabre check` prints, and the manual's tables.

use core::fmt::Write as _;

use super::closing::says_more_when_written;
use super::keys::{KEYS, SECTIONS};
use super::origins::Origin;
use super::values::Values;
use super::{Config, modules, rooms};

impl Config {
    /// The effective configuration as a file that loads again, each value with its origin.
    /// Passwords are left out of it.
    #[must_use]
    pub fn to_ini(&self) -> String {
        let mut text = String::new();
        match &self.source {
            Some(path) => line(&mut text, format_args!("# read from {}", path.display())),
            None => line(&mut text, format_args!("# no configuration file: built-in defaults")),
        }
        for section in SECTIONS {
            line(&mut text, format_args!("\n[{section}]"));
            let keys =
                KEYS.iter().zip(self.origins.iter()).filter(|(key, _)| key.section == section);
            for (key, origin) in keys {
                let name = key.name;
                line(&mut text, format_args!("# {} ({})", key.meaning, told(origin)));
                // Were it written, it would say that logins are checked.
                let silent = says_more_when_written(section, name) && *origin == Origin::Default;
                match key.kind.show(&self.values) {
                    Some(value) if silent => line(&mut text, format_args!("# {name} = {value}")),
                    Some(value) if value.is_empty() && key.kind.needs_a_value() => {
                        line(&mut text, format_args!("# {name} ="));
                    }
                    Some(value) if value.is_empty() => line(&mut text, format_args!("{name} =")),
                    Some(value) => line(&mut text, format_args!("{name} = {value}")),
                    None => line(&mut text, format_args!("# {name} = (set, not shown)")),
                }
            }
        }
        for (name, section) in &self.module_sections {
            line(&mut text, format_args!("\n[module {name}]"));
            for (key, value) in section.show() {
                if key == "environment" && section.has_secret() {
                    line(&mut text, format_args!("# {key} = (set, not shown)"));
                } else {
                    line(&mut text, format_args!("{key} = {}", super::ini::escape(&value)));
                }
            }
        }
        for (name, section) in &self.room_sections {
            line(&mut text, format_args!("\n[room {name}]"));
            for (key, value) in section.show() {
                match value {
                    Some(value) => line(&mut text, format_args!("{key} = {value}")),
                    None => line(&mut text, format_args!("# {key} = (set, not shown)")),
                }
            }
        }
        text
    }
}

fn line(text: &mut String, arguments: core::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{arguments}");
}

fn told(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::Line(number) => format!("line {number}"),
        Origin::Argument(name) => (*name).to_owned(),
        Origin::Follows(key) => format!("follows {key}"),
    }
}

/// Every key with its default, unit and meaning, as the Markdown tables of the manual.
#[must_use]
pub fn key_tables() -> String {
    let defaults = Values::default();
    let mut text =
        String::from("| key | default | unit or values | meaning |\n|---|---|---|---|\n");
    for section in SECTIONS {
        for key in KEYS.iter().filter(|key| key.section == section) {
            let default = key.kind.show(&defaults).unwrap_or_default();
            row(&mut text, (section, key.name), &default, key.unit, key.meaning);
        }
        if section == "rooms" {
            for key in rooms::KEYS {
                row(&mut text, ("room NAME", key.name), "", key.unit, key.meaning);
            }
        }
        if section == "modules" {
            for key in modules::KEYS {
                row(&mut text, ("module NAME", key.name), key.default, key.unit, key.meaning);
            }
        }
    }
    text
}

fn row(text: &mut String, key: (&str, &str), default: &str, unit: &str, meaning: &str) {
    let (section, name) = key;
    let default = if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") };
    line(text, format_args!("| `[{section}] {name}` | {default} | {unit} | {meaning} |"));
}
