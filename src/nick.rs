//! What may be a nick or a room's name, and which nicks are the same nick.

use precis_core::profile::PrecisFastInvocation as _;
use precis_core::{DerivedPropertyValue, FreeformClass, StringClass as _};
use precis_profiles::Nickname;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

mod likeness;
mod skeleton;
mod unseen;

pub(crate) use self::likeness::{InTheWay, Likenesses, Seen};
pub(crate) use self::unseen::has_unseen;
use self::unseen::with_stand_ins;

/// What `[rooms] lookalikes` says of a new nick or room that looks like one that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lookalikes {
    /// `refuse`: nobody can have it.
    #[default]
    Refuse,
    /// `allow`: it is a name like any other.
    Allow,
}

/// Whether a name has no control character and no white space at its ends.
pub(crate) fn is_tidy(name: &str) -> bool {
    !name.starts_with(char::is_whitespace)
        && !name.ends_with(char::is_whitespace)
        && !name.chars().any(char::is_control)
}

/// Why no room can have a name, if so; its length is another matter.
pub(crate) fn room_name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("No room specified")
    } else if !is_tidy(name) {
        Some("Room name with control characters or white space at its ends")
    } else if has_unseen(name) {
        Some("Room name with characters that are invisible or not assigned")
    } else if !is_nfc(name) {
        Some("Room name that is not in normal form C")
    } else {
        None
    }
}

/// Nicks up to so many bytes are looked up without memory of their own: the default limit.
const SHORT_NICK_BYTES: usize = 64;

/// A nick's key has at most four times its bytes and so many more. Those of no language grow so
/// much; a ligature of Arabic by itself, the longest of all mappings, has 33 bytes.
const KEY_BYTES_MORE: usize = 64;

/// Hands the [`comparison_key`] of a nick on, if it has one; that of a short ASCII nick is not
/// copied to the heap, for it is wanted for each private message.
pub(crate) fn with_comparison_key<T>(
    nick: &str,
    found: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let bytes = nick.as_bytes();
    let mut short = [0; SHORT_NICK_BYTES];
    let Some(key) = short.get_mut(..bytes.len()) else {
        return found(&lookup_key(nick)?);
    };
    for (lower, &byte) in key.iter_mut().zip(bytes) {
        *lower = byte.to_ascii_lowercase();
    }
    // Blanks are for the long way: which of them count depends on where they stand.
    let plain = !key.is_empty() && key.iter().all(u8::is_ascii_graphic);
    match str::from_utf8(key) {
        Ok(key) if plain => found(key),
        Ok(_) | Err(_) => found(&lookup_key(nick)?),
    }
}

/// The [`comparison_key`] of a nick that somebody may have: one that the profile refuses is in no
/// table, so that need not be found out.
fn lookup_key(nick: &str) -> Option<Box<str>> {
    if nick.is_ascii() {
        return comparison_key(nick);
    }
    if is_tidy(nick) { mapped(nick) } else { None }
}

/// What two equal nicks have in common: the comparison of the Nickname profile (RFC 8266
/// section 2.4). `None` when the nick is empty, untidy, refused by the profile or holds what nobody
/// can see.
///
/// The profile's tables end with Unicode 6.3, as IANA's registry does. A younger character
/// (many emoji) is unassigned to them; it passes when the current Unicode knows it as one that can
/// be seen, and only the profile's mappings apply to it.
pub fn comparison_key(nick: &str) -> Option<Box<str>> {
    if nick.is_empty() || !is_tidy(nick) {
        return None;
    }
    if nick.is_ascii() {
        // The mappings' result, in one go: ASCII is its own normal form.
        let mut key = one_space(nick);
        key.make_ascii_lowercase();
        return Some(key.into_boxed_str());
    }
    let key = mapped(nick)?;
    if has_unseen(nick) || Nickname::enforce(with_stand_ins(nick, is_assigned)).is_err() {
        return None;
    }
    Some(key)
}

fn is_assigned(character: &char) -> bool {
    let class = FreeformClass::default();
    class.get_value_from_char(*character) != DerivedPropertyValue::Unassigned
}

/// The profile's rules in their order (spaces, case, normalisation), until nothing changes any
/// more: RFC 8266 section 2.3 wants the whole applied again, as NFKC may bring forth what the
/// earlier rules map, and names four times as enough. `None` when nothing stays, or so much that
/// to look at it would cost out of all proportion: one U+FDFA becomes 18 letters.
fn mapped(nick: &str) -> Option<Box<str>> {
    let bytes_max = KEY_BYTES_MORE + 4 * nick.len();
    let mut text = nick.to_owned();
    for _ in 0..4 {
        let mut next = String::with_capacity(text.len());
        for character in one_space(&text).to_lowercase().nfkc() {
            next.push(character);
            if next.len() > bytes_max {
                return None;
            }
        }
        if next == text {
            break;
        }
        text = next;
    }
    Some(text.into_boxed_str()).filter(|key| !key.is_empty())
}

/// Every run of space separators becomes one blank, none stays at the ends.
fn one_space(text: &str) -> String {
    let mut words = text.split(char::is_whitespace).filter(|word| !word.is_empty());
    let mut joined = String::with_capacity(text.len());
    if let Some(first) = words.next() {
        joined.push_str(first);
    }
    for word in words {
        joined.push(' ');
        joined.push_str(word);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let one = comparison_key(one);
        one.is_some() && one == comparison_key(other)
    }

    #[test]
    fn nicks_that_rfc_8266_calls_equal_are_the_same() {
        // RFC 8266 table 1: 1 and 2 are the same nick, 3 and 4, 5 and 6.
        assert!(same("Foo", "foo"));
        assert!(same("Foo Bar", "foo bar"));
        assert!(same("foo  bar", "Foo Bar"));
        assert!(same("Σ", "σ"));
        assert!(!same("ς", "σ"));
        assert!(same("Ⅸ", "ix"));
        assert!(same("ＡＢＣ", "abc"));
        assert!(same("e\u{301}", "é"));
        assert!(!same("a", "b"));
        assert!(comparison_key("♚").is_some());
    }

    #[test]
    fn the_short_way_of_ascii_leads_where_the_long_one_does() {
        for nick in ["Foo  Bar", "x", "A!  ~ b\"c"] {
            assert_eq!(comparison_key(nick), mapped(nick), "{nick}");
        }
    }

    #[test]
    fn a_nick_is_looked_up_by_the_key_it_has() {
        let long = "N".repeat(SHORT_NICK_BYTES);
        let longer = "N".repeat(SHORT_NICK_BYTES + 1);
        for nick in [
            "Foo", "x", "A b", "A  b", " a", "a ", "", "É", "a\tb", "a\u{7f}", "~!", &long, &longer,
        ] {
            let key = with_comparison_key(nick, |key| Some(Box::from(key)));
            assert_eq!(key, comparison_key(nick), "{nick:?}");
        }
    }

    #[test]
    fn a_nick_that_becomes_far_longer_than_it_is_written_is_none() {
        let ligature = "\u{fdfa}";
        assert!(same(ligature, &ligature.nfkc().collect::<String>()));
        assert!(comparison_key(&ligature.repeat(3)).is_some());
        assert_eq!(comparison_key(&ligature.repeat(4)), None);
        let found = with_comparison_key(&ligature.repeat(4), |key| Some(key.to_owned()));
        assert_eq!(found, None);
    }

    #[test]
    fn characters_younger_than_the_tables_are_no_obstacle() {
        assert!(same("Bob🤔", "bob🤔"));
        assert!(comparison_key("🫠").is_some());
    }

    #[test]
    fn nicks_that_are_shown_as_others_are_none() {
        // Unassigned in Unicode 6.3, shown as nothing today; blank without being ignorable.
        for unseen in [
            '\u{2065}',
            '\u{FFF0}',
            '\u{FFF8}',
            '\u{E0000}',
            '\u{E0002}',
            '\u{E0080}',
            '\u{E01F0}',
            '\u{180F}',
            '\u{1BCA0}',
            '\u{2800}',
            '\u{1D159}',
            '\u{13441}',
            '\u{FFFC}',
            '\u{FE0F}',
            '\u{202E}',
            '\u{2066}',
            '\u{FDD0}',
            '\u{2FFFE}',
            '\u{F0000}',
            '\u{378}',
            '\u{110CD}',
        ] {
            for nick in [format!("Bob{unseen}"), format!("B{unseen}ob"), unseen.to_string()] {
                assert_eq!(comparison_key(&nick), None, "{nick:?}");
            }
        }
    }

    #[test]
    fn untidy_nicks_are_none() {
        for nick in
            ["", " a", "a ", "a\u{a0}", "\u{3000}a", "a\nb", "a\u{85}b", "a\u{7f}", "\u{200b}"]
        {
            assert_eq!(comparison_key(nick), None, "{nick:?}");
        }
    }
}
