//! Where each value of a configuration comes from.

use super::keys::{self, KEYS};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    /// A line of the file.
    Line(usize),
    /// An argument.
    Argument(&'static str),
    /// Adapted to another key that the file sets.
    Follows(&'static str),
}

/// The origin of each key's value, in the order of the table of keys.
#[derive(Clone, Debug)]
pub(super) struct Origins(Vec<Origin>);

impl Default for Origins {
    fn default() -> Self {
        Self(vec![Origin::Default; KEYS.len()])
    }
}

impl Origins {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }

    /// The line of a key that the file has, and 0 for another.
    pub(super) fn line_of(&self, section: &str, key: &str) -> usize {
        self.line_at(keys::index(section, key)).unwrap_or(0)
    }

    /// Whether the file has the key.
    pub(super) fn is_written(&self, section: &str, key: &str) -> bool {
        self.line_at(keys::index(section, key)).is_some()
    }

    /// The line of the key with this index, if the file has it.
    pub(super) fn line_at(&self, index: usize) -> Option<usize> {
        match self.0[index] {
            Origin::Line(line) => Some(line),
            Origin::Default | Origin::Argument(_) | Origin::Follows(_) => None,
        }
    }

    pub(super) fn set_at(&mut self, index: usize, origin: Origin) {
        self.0[index] = origin;
    }

    pub(super) fn set(&mut self, section: &str, key: &str, origin: Origin) {
        self.set_at(keys::index(section, key), origin);
    }
}
