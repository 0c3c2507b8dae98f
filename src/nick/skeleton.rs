//! The skeletons of UTS 39 (section 4): texts that have the same one are taken for each other.
//!
//! `unicode-security` has them, with a slice of its own for each character: those tables were a
//! tenth of the smallest binary. Here they are one text; a test compares it with that crate.

use memchr::{memchr, memrchr};
use unicode_normalization::UnicodeNormalization as _;

use super::unseen::is_default_ignorable;

/// Characters with what stands for each in a skeleton, a line for each, in their order. Only those
/// are in it that a decomposed text can have.
const PROTOTYPES: &str = include_str!("prototypes.txt");

/// The skeleton of a text.
pub(super) fn skeleton(text: &str) -> impl Iterator<Item = char> {
    let seen = text.chars().nfd().filter(|character| !is_default_ignorable(*character));
    let prototypes = seen.flat_map(|character| {
        let prototype = prototype(character);
        let own = prototype.is_none().then_some(character);
        own.into_iter().chain(prototype.unwrap_or_default().chars())
    });
    prototypes.nfd()
}

/// What stands for a character in a skeleton, if it is not the character itself.
fn prototype(character: char) -> Option<&'static str> {
    let mut lines = PROTOTYPES;
    while !lines.is_empty() {
        let bytes = lines.as_bytes();
        let start = memrchr(b'\n', &bytes[..bytes.len() / 2]).map_or(0, |end| end + 1);
        let end = start + memchr(b'\n', &bytes[start..])?;
        let line = &lines[start..end];
        let of = line.chars().next()?;
        if character == of {
            return Some(&line[of.len_utf8()..]);
        }
        lines = if character < of { &lines[..start] } else { &lines[end + 1..] };
    }
    None
}

#[cfg(test)]
mod tests {
    use unicode_security::confusable_detection;

    use super::*;

    /// The table as it is made from that of the crate, when its Unicode is another one.
    fn expected() -> String {
        let mut text = String::new();
        for character in '\0'..=char::MAX {
            let own = character.to_string();
            let skeleton: String = confusable_detection::skeleton(&own).collect();
            let is_decomposed = own.nfd().eq([character]);
            if is_decomposed && skeleton != own && !is_default_ignorable(character) {
                text.extend([&own, &skeleton, "\n"]);
            }
        }
        text
    }

    #[test]
    fn skeletons_are_those_of_the_crate() {
        // The planes that the table knows, and what is decomposed in the next one.
        let mut all = ('\0'..='\u{1FFFF}').chain('\u{2F800}'..='\u{2FA1F}');
        let other = all.find(|character| {
            let text = character.to_string();
            !skeleton(&text).eq(confusable_detection::skeleton(&text))
        });
        if let Some(character) = other {
            let path = std::env::temp_dir().join("prototypes.txt");
            std::fs::write(&path, expected()).unwrap();
            panic!("{character:?}: the table should be {}", path.display());
        }
        let characters = PROTOTYPES.lines().map(|line| line.chars().next());
        assert!(characters.is_sorted_by(|one, next| one < next), "they are in their order");
        for text in ["", "pаypаl", "ﷺ Ångström", "e\u{301}\u{323}", "\u{1F3F4}\u{200D}☠"] {
            assert!(skeleton(text).eq(confusable_detection::skeleton(text)), "{text:?}");
        }
    }
}
