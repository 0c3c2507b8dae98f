//! What arrives, so that it can be looked at: one line a stanza, without loss, and nothing in it
//! that a terminal obeys or an eye can't see.

use core::fmt;

use unicode_normalization::char::is_combining_mark;

/// A stanza as one line: newlines are `\n` and `\r`, a backslash is doubled, whatever could command
/// a terminal, turns the direction of text or is shown as nothing is `\u{…}`, and bytes that are no
/// UTF-8 are `\x…`.
pub(in crate::cli) struct Shown<'a>(pub(in crate::cli) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character == '\\' || is_unseen(character) {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    fmt::Write::write_char(f, character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character is a control or is shown as nothing. Marks over letters are seen, and a
/// space is a space; other blanks pass for it, or for nothing.
pub(super) fn is_unseen(character: char) -> bool {
    // Default ignorable or blank, and printable all the same to std (DerivedCoreProperties.txt).
    let blank = matches!(
        character,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    // std escapes what is no letter, sign or mark, and marks that would stand alone.
    let escaped = character.escape_debug().len() > 1 && !"\"'\t".contains(character);
    blank || (escaped && !is_combining_mark(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_utf8_are_not_lost() {
        assert_eq!(Shown(b"<a>\xff\xc3</a>").to_string(), "<a>\\xff\\xc3</a>");
    }

    #[test]
    fn what_is_seen_is_shown_and_what_is_not_is_escaped() {
        for plain in ["it's \"so\" & <b>\t1</b>", "é e\u{301} ö 日本 क्षि 🙂", "ا\u{651}"]
        {
            assert_eq!(Shown(plain.as_bytes()).to_string(), plain);
        }
        for unseen in [
            "\u{202e}",
            "\u{2066}",
            "\u{200f}",
            "\u{61c}",
            "\u{200b}",
            "\u{200d}",
            "\u{feff}",
            "\u{ad}",
            "\u{2028}",
            "\u{a0}",
            "\u{3000}",
            "\u{1b}",
            "\u{9b}",
            "\u{7f}",
            "\u{e0041}",
            "\u{3164}",
            "\u{2800}",
            "\u{180e}",
            "\u{fe0f}",
            "\u{fffe}",
            "\u{e000}",
            "\u{2065}",
            "\u{34f}",
            "\u{fff9}",
        ] {
            let escaped = unseen.escape_default().to_string();
            assert_eq!(Shown(unseen.as_bytes()).to_string(), escaped, "{escaped}");
        }
    }
}
