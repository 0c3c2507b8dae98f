//! Rust source as far as the house rules look into it: where code is and where comments and texts
//! are, how long functions are, and which types are declared.

use std::ops::Range;

/// What a stretch of source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    /// What stands in quotes, the quotes among it.
    Text,
}

/// The source with blanks in place of comments and texts, line by line as it was.
pub(crate) fn code_alone(source: &str) -> String {
    without(source, &[Part::Comment, Part::Text], Some(' '))
}

/// The source without what stands in quotes, line by line.
pub(crate) fn untexted(source: &str) -> String {
    without(source, &[Part::Text], None)
}

fn without(source: &str, parts: &[Part], instead: Option<char>) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    let mut before = ' ';
    while !rest.is_empty() {
        let (part, length) = next_part(rest, before);
        let (piece, behind) = rest.split_at(length);
        for character in piece.chars() {
            if !parts.contains(&part) || character == '\n' {
                kept.push(character);
            } else {
                kept.extend(instead);
            }
        }
        before = piece.chars().next_back().unwrap_or(' ');
        rest = behind;
    }
    kept
}

/// What the source begins with, and how many bytes of it are that. `before` is the character that
/// stands before it.
fn next_part(source: &str, before: char) -> (Part, usize) {
    if source.starts_with("//") {
        return (Part::Comment, source.find('\n').unwrap_or(source.len()));
    }
    if source.starts_with("/*") {
        return (Part::Comment, source.find("*/").map_or(source.len(), |end| end + 2));
    }
    let first = source.chars().next().map_or(1, char::len_utf8);
    if before.is_alphanumeric() || before == '_' {
        return (Part::Code, first);
    }
    let unprefixed = source.trim_start_matches(['b', 'c', 'r']);
    let prefix = &source[..source.len() - unprefixed.len()];
    if prefix.len() <= 2 && prefix.ends_with('r') {
        let marks = unprefixed.len() - unprefixed.trim_start_matches('#').len();
        if unprefixed[marks..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(marks));
            let inside = prefix.len() + marks + 1;
            let length = source[inside..].find(&end);
            return (Part::Text, length.map_or(source.len(), |length| inside + length + end.len()));
        }
    }
    if prefix.len() <= 1 && unprefixed.starts_with('"') {
        return (Part::Text, prefix.len() + quoted(unprefixed, '"'));
    }
    if prefix.len() <= 1 && unprefixed.starts_with('\'') {
        // A lifetime has no second quote behind its first character.
        let mut behind = unprefixed.chars().skip(1);
        let (inside, end) = (behind.next(), behind.next());
        if inside == Some('\\') || end == Some('\'') {
            return (Part::Text, prefix.len() + quoted(unprefixed, '\''));
        }
    }
    (Part::Code, first)
}

/// The bytes of a text in quotes, escapes among them.
fn quoted(source: &str, quote: char) -> usize {
    let mut escaped = false;
    for (place, character) in source.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return place + 1,
            _ => {}
        }
    }
    source.len()
}

/// Each function that has a body: its name, and its lines from `fn` to the last brace.
pub(crate) fn functions(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("fn ") {
        let is_word = !code[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name = first_word(&code[place + 3..]);
        if is_word
            && !name.is_empty()
            && let Some(end) = end_of_item(code, place).filter(|&end| code[..end].ends_with('}'))
        {
            found.push((name, code[place..end].lines().count()));
        }
    }
    found
}

/// The types that are declared outside tests: structs, enums, traits, and the names given to types.
pub(crate) fn types(code: &str) -> Vec<&str> {
    let tests: Vec<Range<usize>> = code
        .match_indices("#[cfg(test)]")
        .map(|(place, _)| place..end_of_item(code, place).unwrap_or(code.len()))
        .collect();
    let mut found = Vec::new();
    let mut place = 0;
    for line in code.split_inclusive('\n') {
        if !tests.iter().any(|test| test.contains(&place)) {
            found.extend(declared(line));
        }
        place += line.len();
    }
    found
}

/// The type that a line declares. A `type` that is indented is one that a trait asks for.
fn declared(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(behind) = rest.strip_prefix("pub") {
        let behind = behind.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        rest = behind.map_or(&rest[3..], |(_, behind)| behind).trim_start();
    }
    let (word, behind) = rest.split_once(' ')?;
    match word {
        "struct" | "enum" | "union" | "trait" => {}
        "type" if !line.starts_with(' ') => {}
        _ => return None,
    }
    Some(first_word(behind)).filter(|name| !name.is_empty())
}

/// The offset behind the item that begins here: behind its braces, or behind its semicolon.
fn end_of_item(code: &str, start: usize) -> Option<usize> {
    let (mut round, mut braces) = (0_usize, 0_usize);
    for (place, character) in code[start..].char_indices() {
        match character {
            '(' | '[' => round += 1,
            ')' | ']' => round = round.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return Some(start + place + 1),
            '}' => braces -= 1,
            ';' if round == 0 && braces == 0 => return Some(start + place + 1),
            _ => {}
        }
    }
    None
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[test]
fn code_is_told_from_comments_and_texts() {
    let source = concat!(
        "/// It's \"odd\" {\n",
        "fn odd<'a>(x: &'a str) -> [u8; 2] { // }\n",
        "    let _ = ('}', '\\'', \"}\\\"}\", r#\"\"}\"#, b'{', br\"\\\");\n",
        "    /* { \n } */ x.len(); fn inner() {} }\n",
        "fn without(&self) -> [u8; 2];\n",
        "type Pointer = fn(u8);\n",
    );
    let code = code_alone(source);
    assert_eq!(code.lines().count(), source.lines().count());
    assert_eq!(functions(&code), [("odd", 4), ("inner", 1)], "{code}");
    assert_eq!(types(&code), ["Pointer"]);
    assert_eq!(untexted("let a = \"long\"; // 'long'\n"), "let a = ; // 'long'\n");
}

#[test]
fn types_are_found_outside_tests() {
    let source = concat!(
        "pub(in crate::net) struct Shown<'a>(&'a str);\n",
        "pub enum Way { Up }\n",
        "    trait Inside {\n        type Socket;\n    }\n",
        "#[cfg(test)]\nmod tests {\n    struct Fake { x: u8 }\n}\n",
        "#[cfg(test)]\nconst N: [u8; 2] = [1; 2];\nstruct After;\n",
    );
    assert_eq!(types(&code_alone(source)), ["Shown", "Way", "Inside", "After"]);
}
