//! How important a line of the log is, by the names of the old server.

use core::fmt;
use core::str::FromStr;

use log::LevelFilter;

/// The old server's names for how important a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// What clients send, as well.
    Debug,
    /// Connects, logins, closes.
    #[default]
    Info,
    /// What an operator should look at.
    Warning,
    /// What does not work.
    Error,
    /// As `Error`: this server makes no difference between them.
    Critical,
}

impl Level {
    /// Each with its name.
    pub(crate) const NAMES: [(&'static str, Self); 5] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("critical", Self::Critical),
    ];

    /// The `log` crate's word for it.
    #[must_use]
    pub const fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::Debug,
            Self::Info => LevelFilter::Info,
            Self::Warning => LevelFilter::Warn,
            Self::Error | Self::Critical => LevelFilter::Error,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, level)| level == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A word that names no [`Level`]; its text is what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelError;

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of debug, info, warning, error, critical")
    }
}

impl std::error::Error for LevelError {}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let named = Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map(|(_, level)| *level).ok_or(LevelError)
    }
}
