//! What is wrong with a configuration, and what would be right.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A value that can't be taken: what was found, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What was found.
    pub found: String,
    /// What would be right.
    pub needs: String,
}

impl Misfit {
    /// What was found, in words of its own.
    pub(crate) fn new(found: impl Into<String>, needs: impl Into<String>) -> Self {
        Self { found: found.into(), needs: needs.into() }
    }

    /// A text that was found, quoted.
    pub(crate) fn quoted(text: &str, needs: impl Into<String>) -> Self {
        Self::new(format!("{text:?}"), needs)
    }

    /// The same of a value, which may be missing.
    pub(super) fn of(text: &str, needs: impl Into<String>) -> Self {
        if text.is_empty() { Self::new("nothing", needs) } else { Self::quoted(text, needs) }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, needs {}", self.found, self.needs)
    }
}

impl std::error::Error for Misfit {}

/// Why there is no configuration.
#[derive(Debug)]
pub enum Error {
    /// The file can't be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something in the file is wrong.
    Invalid {
        /// Everything that is wrong, in the order of the lines.
        problems: Vec<Problem>,
        /// The file, as an absolute path.
        source: PathBuf,
        /// `[daemon] pidfile`, so that a server can be stopped by a file with errors elsewhere.
        pid_file: Option<PathBuf>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "can't read the configuration {}: {source}", path.display())
            }
            Self::Invalid { problems, .. } => {
                for (index, problem) in problems.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Invalid { .. } => None,
        }
    }
}

/// One thing that is wrong in a file. No password is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The section; empty before the first one.
    pub section: String,
    /// The key; empty when the line has none.
    pub key: String,
    /// What was found.
    pub found: String,
    /// What would be right.
    pub needs: String,
    /// The nearest known name, for an unknown one.
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.section.is_empty() {
            write!(f, "[{}] ", self.section.escape_debug())?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key.escape_debug())?;
        }
        write!(f, "found {}, needs {}", self.found, self.needs)?;
        self.nearest.as_ref().map_or(Ok(()), |name| write!(f, "; the nearest name is {name}"))
    }
}

impl Problem {
    /// What is wrong at a place of a file.
    pub(super) fn at(file: &Path, line: usize, section: &str, key: &str, misfit: Misfit) -> Self {
        let (file, section, key) = (file.to_owned(), section.to_owned(), key.to_owned());
        let Misfit { found, needs } = misfit;
        Self { file, line, section, key, found, needs, nearest: None }
    }
}

/// What is told of the candidate that may be meant behind a message that `name` is none of them;
/// nothing when none is near.
pub(crate) fn nearest_told<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|near| format!("; the nearest is {near}")).unwrap_or_default()
}

/// The candidate that is spelled nearly as `name`, if one is.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&name, &candidate.to_ascii_lowercase());
    let near = candidates
        .map(|candidate| (distance(candidate), candidate))
        .min_by_key(|(distance, _)| *distance);
    // One letter in three may be wrong: beyond that a proposal misleads.
    near.filter(|(distance, candidate)| *distance <= (name.len().max(candidate.len()) / 3).max(1))
        .map(|(_, candidate)| candidate)
}
