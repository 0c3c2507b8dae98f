//! How a session and its connection are named: by slot and generation, spelled and read here alone.

use core::fmt;
use core::str::FromStr;

/// A connection, named so that a reused slot can't be mistaken for its predecessor.
///
/// ```
/// use palabre::session_id::ConnId;
/// let id: ConnId = "3.1".parse().unwrap();
/// assert_eq!((id.slot, id.generation), (3, 1));
/// assert_eq!((id.spelled().to_string(), id.to_string()), ("3.1".into(), "#3.1".into()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// The index in the shell's slab and in the hub's table.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

impl ConnId {
    /// `SLOT.GENERATION`, as plugins know it.
    #[must_use]
    pub const fn spelled(self) -> Spelled {
        Spelled(self)
    }
}

/// As the log has it.
impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.spelled())
    }
}

/// A [`ConnId`] as `SLOT.GENERATION`.
#[derive(Clone, Copy, Debug)]
pub struct Spelled(ConnId);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.slot, self.0.generation)
    }
}

/// A text that spells no [`ConnId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSpelled;

impl FromStr for ConnId {
    type Err = NotSpelled;

    /// Takes what [`ConnId::spelled`] gives, and nothing else.
    fn from_str(text: &str) -> Result<Self, NotSpelled> {
        let (slot, generation) = text.split_once('.').ok_or(NotSpelled)?;
        Ok(Self { slot: number(slot)?, generation: number(generation)? })
    }
}

/// A number without a sign and without zeros before it.
fn number(text: &str) -> Result<u32, NotSpelled> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().map_err(|_| NotSpelled) } else { Err(NotSpelled) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spelled_is_read_and_nothing_else_is() {
        for id in [(0, 1), (3, 12), (u32::MAX, u32::MAX)] {
            let id = ConnId { slot: id.0, generation: id.1 };
            assert_eq!(id.spelled().to_string().parse(), Ok(id));
        }
        for text in
            ["", ".", "3", "3.", ".1", "#3.1", "+3.1", "3.+1", "03.1", "3.1.2", " 3.1", "-3.1"]
        {
            assert_eq!(text.parse::<ConnId>(), Err(NotSpelled), "{text}");
        }
        assert_eq!("4294967296.1".parse::<ConnId>(), Err(NotSpelled));
    }
}
