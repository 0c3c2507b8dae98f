//! Lines of an INI file → sections and entries, with their line numbers.
//!
//! It knows the habits of the files that Python's `ConfigParser` read for the old server, and
//! nothing about which keys exist. The crates don't: `ini_core` counts lines but takes one
//! comment character, no `:` and no continuation; the others give no line numbers. The habits:
//! `#`, `;` and `rem` comments on lines of their own, ` ;` behind a value begins a comment,
//! `key = value` and `key: value`, `""` for an empty value, an indented line continues the
//! value above it, `%%` for `%`. A byte order mark, any line ending and comments that are not
//! UTF-8 pass.

use std::fmt;

/// What stands on one line, or on several when a value goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// The number of its (first) line, from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) content: Content,
}

/// What a line can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// `[name]`.
    Section(String),
    /// `key = value`; a continued value has newlines in it.
    Entry {
        /// The key as it is written.
        key: String,
        /// The value, without white space at its ends.
        value: String,
        /// What a ` ;` has taken off it.
        tail: Tail,
    },
    /// None of these.
    Fault(IniFault),
}

/// What stands behind a ` ;` that ends a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// There is none.
    Nothing,
    /// Nothing stands behind it.
    Bare,
    /// `; text`.
    Comment(String),
    /// `;text`, which may be no comment.
    Glued(String),
}

/// What is wrong with a line. Nothing of a value is in it, because it could be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IniFault {
    /// A line without `=`; its first word.
    NoEquals(String),
    /// A line that begins with `=`.
    NoKey,
    /// `[` without `]`, or something behind it.
    Header,
    /// An indented line with no value above it to go on.
    Indented,
    /// The value begins with `;`, and a comment stands on its own line.
    CommentForValue(String),
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// A control character.
    Control,
}

impl IniFault {
    /// What was found and what would be right.
    pub(super) fn found_and_needed(&self) -> (String, &'static str) {
        let entry = "a line \"key = value\"";
        match self {
            Self::NoEquals(_) => ("a line without \"=\"".to_owned(), entry),
            Self::NoKey => ("no key before \"=\"".to_owned(), entry),
            Self::Header => {
                ("a section that does not end in \"]\"".to_owned(), "a line \"[section]\"")
            }
            Self::Indented => (
                "an indented line, and no value above it goes on".to_owned(),
                "no white space at the start of the line",
            ),
            Self::CommentForValue(_) => (
                "a value that begins with \";\"".to_owned(),
                "an empty value, and the comment on a line of its own",
            ),
            Self::NotUtf8 => ("bytes that are no UTF-8".to_owned(), "a file saved as UTF-8"),
            Self::Control => ("a control character".to_owned(), "plain text"),
        }
    }
}

/// Reads a whole file. Every line that means something gives an item, in order.
pub(super) fn read(bytes: &[u8]) -> Vec<Item> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut items: Vec<Item> = Vec::new();
    for (index, line) in lines(bytes).into_iter().enumerate() {
        let Some(content) = read_line(line) else {
            continue;
        };
        match (content, items.last_mut()) {
            (IniLine::Own(content), _) => items.push(Item { line: index + 1, content }),
            (
                IniLine::Continued(more),
                Some(Item { content: Content::Entry { value, .. }, .. }),
            ) => {
                if !value.is_empty() {
                    value.push('\n');
                }
                value.push_str(&more);
            }
            (IniLine::Continued(_), _) => {
                items.push(Item { line: index + 1, content: Content::Fault(IniFault::Indented) });
            }
        }
    }
    items
}

/// Doubles every `%`, as [`unescape`] wants it.
pub(super) fn escape(value: &str) -> String {
    value.replace('%', "%%").replace('\n', "\n    ")
}

/// Takes `%%` for `%`, as `ConfigParser` does.
///
/// # Errors
/// What was found, for a `%` that stands alone or begins a reference to another value.
pub(super) fn unescape(value: &str) -> Result<String, Percent> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character == '%' {
            match characters.next() {
                Some('%') => {}
                Some('(') => return Err(Percent::Reference),
                Some(_) | None => return Err(Percent::Alone),
            }
        }
        plain.push(character);
    }
    Ok(plain)
}

/// A `%` that [`unescape`] does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Percent {
    /// `%` and something other than `%`.
    Alone,
    /// `%(name)s`.
    Reference,
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alone => "a single \"%\"",
            Self::Reference => "\"%(\", a reference to another value",
        })
    }
}

/// A line that means something.
enum IniLine {
    Own(Content),
    Continued(String),
}

/// Splits at `\n`, `\r\n` and `\r`.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        lines.push(&rest[..end]);
        let ending = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + ending..];
    }
    lines.push(rest);
    lines
}

fn read_line(line: &[u8]) -> Option<IniLine> {
    let trimmed = line.trim_ascii();
    if trimmed.is_empty() || matches!(trimmed[0], b'#' | b';') {
        return None;
    }
    let fault = |fault| Some(IniLine::Own(Content::Fault(fault)));
    let Ok(line) = core::str::from_utf8(line) else {
        return fault(IniFault::NotUtf8);
    };
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return fault(IniFault::Control);
    }
    let indented = line.starts_with(char::is_whitespace);
    let line = line.trim();
    if line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("rem")) {
        return None;
    }
    if indented {
        // A whole section header is not meant to be a part of the value above it.
        let header = line.starts_with('[') && line.ends_with(']');
        return if header {
            fault(IniFault::Indented)
        } else {
            Some(IniLine::Continued(line.to_owned()))
        };
    }
    Some(IniLine::Own(line.strip_prefix('[').map_or_else(|| entry(line), header)))
}

fn header(after_bracket: &str) -> Content {
    match after_bracket.split_once(']') {
        Some((name, rest)) if rest.trim().is_empty() || rest.trim().starts_with(['#', ';']) => {
            Content::Section(name.trim().to_owned())
        }
        Some(_) | None => Content::Fault(IniFault::Header),
    }
}

fn entry(line: &str) -> Content {
    let Some((key, value)) = line.split_once(['=', ':']) else {
        let word = line.split_whitespace().next().unwrap_or_default();
        return Content::Fault(IniFault::NoEquals(word.to_owned()));
    };
    let key = key.trim().to_owned();
    if key.is_empty() {
        return Content::Fault(IniFault::NoKey);
    }
    if value.trim().starts_with(';') {
        return Content::Fault(IniFault::CommentForValue(key));
    }
    // Only the first `;` is looked at: that is how old files were read.
    let (value, tail) = match value.split_once(';') {
        Some((before, rest)) if before.ends_with(char::is_whitespace) => (before, tail(rest)),
        Some(_) | None => (value, Tail::Nothing),
    };
    let value = if value.trim() == "\"\"" { "" } else { value.trim() };
    Content::Entry { key, value: value.to_owned(), tail }
}

fn tail(rest: &str) -> Tail {
    let text = rest.trim();
    if text.is_empty() {
        Tail::Bare
    } else if rest.starts_with(char::is_whitespace) {
        Tail::Comment(text.to_owned())
    } else {
        Tail::Glued(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: usize, key: &str, value: &str) -> Item {
        let (key, value, tail) = (key.to_owned(), value.to_owned(), Tail::Nothing);
        Item { line, content: Content::Entry { key, value, tail } }
    }

    fn section(line: usize, name: &str) -> Item {
        Item { line, content: Content::Section(name.to_owned()) }
    }

    fn fault(line: usize, fault: IniFault) -> Item {
        Item { line, content: Content::Fault(fault) }
    }

    #[test]
    fn sections_and_entries_carry_their_lines() {
        let items =
            read(b"# hello\n\n[daemon]\nport = 2468\n; no\nip: ::1\nRem so what\n[ a b ] ; x\n");
        let expected = [
            section(3, "daemon"),
            entry(4, "port", "2468"),
            entry(6, "ip", "::1"),
            section(8, "a b"),
        ];
        assert_eq!(items, expected);
    }

    #[test]
    fn every_line_ending_counts_once() {
        let expected = [section(1, "a"), entry(3, "k", "v"), entry(4, "l", "w")];
        for text in ["[a]\n\nk=v\nl=w", "[a]\r\n\r\nk=v\r\nl=w\r\n", "[a]\r\rk=v\rl=w"] {
            assert_eq!(read(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_comments_in_latin_1_pass() {
        assert_eq!(
            read(b"\xEF\xBB\xBF[a]\n# caf\xE9\nk = v"),
            [section(1, "a"), entry(3, "k", "v")]
        );
        assert_eq!(read(b"k = caf\xE9"), [fault(1, IniFault::NotUtf8)]);
    }

    #[test]
    fn values_keep_what_belongs_to_them() {
        for (text, value) in [
            ("k =", ""),
            ("k=\"\"", ""),
            ("k = a=b:c", "a=b:c"),
            ("k = a;b", "a;b"),
            ("k = a;b ;c", "a;b ;c"),
            ("k = a # b", "a # b"),
            ("k =\t x  y \t", "x  y"),
        ] {
            assert_eq!(read(text.as_bytes()), [entry(1, "k", value)], "{text:?}");
        }
    }

    #[test]
    fn what_a_semicolon_takes_off_a_value_is_known() {
        for (text, tail) in [
            ("k = a ; b", Tail::Comment("b".to_owned())),
            ("k = a\t;\tb c ", Tail::Comment("b c".to_owned())),
            ("k = a ;b", Tail::Glued("b".to_owned())),
            ("k = a ; ", Tail::Bare),
            ("k = a ;", Tail::Bare),
            ("k = a", Tail::Nothing),
        ] {
            let content = Content::Entry { key: "k".to_owned(), value: "a".to_owned(), tail };
            assert_eq!(read(text.as_bytes()), [Item { line: 1, content }], "{text:?}");
        }
    }

    #[test]
    fn an_indented_line_goes_on_with_the_value() {
        let items = read(b"[a]\nk = one\n  two\n\t# no\n\tthree\nl =\n  four\n");
        assert_eq!(
            items,
            [section(1, "a"), entry(2, "k", "one\ntwo\nthree"), entry(6, "l", "four")]
        );
        assert_eq!(read(b"[a]\n  k = v"), [section(1, "a"), fault(2, IniFault::Indented)]);
        assert_eq!(read(b"k = v\n  [a]"), [entry(1, "k", "v"), fault(2, IniFault::Indented)]);
    }

    #[test]
    fn what_is_no_entry_is_a_fault() {
        for (text, expected) in [
            ("port 2468", IniFault::NoEquals("port".to_owned())),
            ("= 2468", IniFault::NoKey),
            ("[daemon", IniFault::Header),
            ("[daemon] port = 1", IniFault::Header),
            ("password = ; none", IniFault::CommentForValue("password".to_owned())),
            ("k = a\u{1b}b", IniFault::Control),
        ] {
            assert_eq!(read(text.as_bytes()), [fault(1, expected)], "{text:?}");
        }
    }

    #[test]
    fn percent_signs_are_doubled() {
        assert_eq!(unescape("50%% off%%"), Ok("50% off%".to_owned()));
        assert_eq!(unescape("50%"), Err(Percent::Alone));
        assert_eq!(unescape("%d"), Err(Percent::Alone));
        assert_eq!(unescape("%(ip)s"), Err(Percent::Reference));
        assert_eq!(unescape(&escape("a%%b%")), Ok("a%%b%".to_owned()));
    }
}
