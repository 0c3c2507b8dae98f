//! What the sources, the tests and the documents cite is there: parts of the manual, files, symbols
//! and tests. Who follows a citation is not to end before nothing.
//!
//! A part of the manual is cited by its topic and its headings, `manual: protocol, 'Names'`; within
//! the manual a heading in quotes is of the same topic. A symbol is cited as a path in backticks,
//! or as a link of rustdoc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use palabre::manual::TOPICS;

use super::{all_rust_files, root, rust_files};

/// What paths begin with that lead out of the house.
const ELSEWHERE: [&str; 5] = ["core", "std", "mio", "ErrorKind", "File"];

/// Files that a command of the manual makes.
const MADE: [&str; 1] = ["fuzz/corpus"];

/// A text that cites, and where it stands.
struct Prose {
    path: String,
    text: String,
}

/// All that is written for readers: documents without their fenced blocks, and comments, each
/// paragraph in one line.
fn prose() -> Vec<Prose> {
    let documents = super::manual::documents();
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let mut found: Vec<Prose> = documents
        .into_iter()
        .chain([("CHANGELOG.md".to_owned(), changelog)])
        .map(|(path, text)| Prose { path, text: unfenced(&text) })
        .collect();
    for (path, text) in all_rust_files() {
        found.push(Prose { text: comments(&text, &["///", "//!", "//"]), path });
    }
    for path in listed(&["tests", ".ci", "fuzz/dictionary.txt", "Cargo.toml", "fuzz/Cargo.toml"]) {
        let is_text = |name: &str| {
            [".txt", ".py", ".sh", ".toml", "/run"].iter().any(|end| name.ends_with(end))
        };
        if is_text(&path) && !path.starts_with("tests/data/") && !path.starts_with("tests/stanza/")
        {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            found.push(Prose { text: comments(&text, &["#"]), path });
        }
    }
    assert!(found.len() > 200, "all of the house");
    found
}

/// The files of these folders, as git or the disk has them.
fn listed(folders: &[&str]) -> Vec<String> {
    let output =
        Command::new("find").args(folders).args(["-type", "f"]).current_dir(root()).output();
    let lines = String::from_utf8(output.unwrap().stdout).unwrap();
    lines.lines().filter(|path| !path.contains("/target/")).map(str::to_owned).collect()
}

fn unfenced(text: &str) -> String {
    let mut outside = true;
    let mut lines = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            outside = !outside;
        } else if outside {
            // A paragraph is one line, as a citation may be broken at a blank.
            lines += if line.is_empty() { "\n" } else { " " };
            lines += line.trim();
        }
    }
    lines
}

fn comments(text: &str, marks: &[&str]) -> String {
    let mut lines = String::new();
    for line in text.lines().map(str::trim_start) {
        match marks.iter().find_map(|mark| line.strip_prefix(mark)) {
            Some(comment) => lines = lines + " " + comment.trim(),
            None => lines.push('\n'),
        }
    }
    lines
}

fn headings(topic: &str) -> Option<BTreeSet<&'static str>> {
    let topic = TOPICS.iter().find(|found| found.name == topic)?;
    let titles = topic.text.lines().filter(|line| line.starts_with('#'));
    Some(titles.map(|line| line.trim_start_matches('#').trim()).collect())
}

/// The headings in quotes that stand at the beginning of a text, with commas and `and` between.
fn quoted(mut text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    while let Some(rest) = text.strip_prefix('\'') {
        // An apostrophe within a heading stands before a letter.
        let ends = |&(place, _): &(usize, &str)| {
            !rest[place + 1..].starts_with(|next: char| next.is_alphanumeric())
        };
        let Some((end, _)) = rest.match_indices('\'').find(ends) else { break };
        found.push(&rest[..end]);
        let behind = &rest[end + 1..];
        let next = [", ", " and "].iter().find_map(|between| behind.strip_prefix(between));
        text = next.unwrap_or("");
    }
    found
}

#[test]
fn every_part_of_the_manual_that_is_cited_is_there() {
    let mut cited = 0;
    for Prose { path, text } in prose() {
        for (place, _) in text.match_indices("manual: ") {
            let rest = &text[place + "manual: ".len()..];
            let topic = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            let known = headings(topic);
            let in_words =
                !text[..place].ends_with('(') && !rest.starts_with(&format!("{topic}, '"));
            if known.is_none() && in_words {
                continue;
            }
            let known = known.unwrap_or_else(|| panic!("{path} cites a topic {topic:?}"));
            let parts = rest[topic.len()..].strip_prefix(", ").unwrap_or("");
            for part in quoted(parts) {
                assert!(known.contains(part), "{path} cites {part:?} of the topic {topic}");
                cited += 1;
            }
        }
    }
    for topic in TOPICS {
        let known = headings(topic.name).unwrap();
        let text = unfenced(topic.text);
        let text: String = text.split('`').step_by(2).collect();
        for (place, _) in text.match_indices(" '") {
            let before = &text[..place];
            // With the name of another topic it has been looked at above.
            let other = before.rsplit("manual: ").next().unwrap();
            if before.contains("manual: ") && !other.contains(['.', ';', ')']) {
                continue;
            }
            for part in quoted(&text[place + 1..]) {
                assert!(known.contains(part), "{} cites {part:?}", topic.name);
                cited += 1;
            }
        }
    }
    assert!(cited > 60, "{cited} citations were found");
}

#[test]
fn every_file_that_is_cited_is_there() {
    let mut cited = 0;
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || "_-./*".contains(c);
    for Prose { path, text } in prose() {
        for word in text.split(|c| !is_of_path(c)) {
            let word = word.trim_end_matches(['.', '-', '/']);
            let below = ["src/", "tests/", "fuzz/", ".ci/"].iter().any(|top| word.starts_with(top));
            let document = word.ends_with(".md");
            if word.contains('*') || MADE.iter().any(|made| word.starts_with(made)) {
                continue;
            }
            if below || document {
                let own = root().join(word).exists();
                assert!(own, "{path} cites {word}, and there is no such file");
                cited += 1;
            }
        }
    }
    assert!(cited > 20, "{cited} citations were found");
}

#[test]
fn every_test_that_is_to_be_run_is_there() {
    let mut cited = 0;
    let mut texts: Vec<(String, String)> = super::manual::documents();
    for path in listed(&[".ci", "Cargo.toml", "src", "tests", "fuzz/src"]) {
        if let Ok(text) = fs::read_to_string(root().join(&path)) {
            texts.push((path, text));
        }
    }
    for (path, text) in texts {
        for (kind, folder) in [("--test ", "tests"), ("--bench ", "tests/bench")] {
            for (place, _) in text.match_indices(kind) {
                let rest = &text[place + kind.len()..];
                let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
                let name = rest.split(|c| !is_name(c)).next().unwrap();
                if !name.is_empty() {
                    let file = root().join(folder).join(name).with_extension("rs");
                    assert!(file.exists(), "{path} runs {kind}{name}");
                    cited += 1;
                }
            }
        }
    }
    assert!(cited > 10, "{cited} citations were found");
}

#[test]
fn every_mark_of_the_documents_is_looked_for() {
    let mut looking = fs::read_to_string(root().join(".ci/run")).unwrap().replace(' ', "\n");
    for (_, text) in rust_files("tests") {
        looking += &text;
    }
    let mut marks = 0;
    for (path, text) in super::manual::documents() {
        let lines = text.lines().filter_map(|line| line.strip_prefix("<!-- "));
        for mark in lines.filter_map(|line| line.strip_suffix(" -->")).filter(|mark| *mark != "end")
        {
            let found = [format!("\"{mark}\""), format!("\n{mark}\n")];
            let used = found.iter().any(|words| looking.contains(words));
            assert!(used, "{path}: no test looks for the mark {mark}");
            marks += 1;
        }
    }
    assert!(marks > 20, "{marks} marks were found");
}

/// Words behind which a name is declared.
const DECLARING: [&str; 9] =
    ["fn", "struct", "enum", "trait", "mod", "const", "static", "type", "macro_rules"];

/// What the house declares.
#[derive(Default)]
struct Declared {
    /// Each name, with the files that declare it.
    names: BTreeMap<String, BTreeSet<usize>>,
    /// The words of each file's code.
    words: Vec<BTreeSet<String>>,
    /// The modules of each file: the parts of its path, and those within it.
    modules: Vec<BTreeSet<String>>,
}

impl Declared {
    fn read() -> Self {
        let mut declared = Self::default();
        for (index, (path, text)) in all_rust_files().into_iter().enumerate() {
            let mut words = BTreeSet::new();
            // A file declares its module.
            let mut modules: BTreeSet<String> = path.split(['/', '.']).map(str::to_owned).collect();
            let mut names = modules.clone();
            for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
                let mut before = "";
                for word in line.split(|c| !is_of_name(c)).filter(|word| !word.is_empty()) {
                    if DECLARING.contains(&before) {
                        names.insert(word.to_owned());
                    }
                    if before == "mod" {
                        modules.insert(word.to_owned());
                    }
                    words.insert(word.to_owned());
                    before = word;
                }
                names.extend(member(line).map(str::to_owned));
            }
            for name in names {
                declared.names.entry(name).or_default().insert(index);
            }
            declared.words.push(words);
            declared.modules.push(modules);
        }
        declared
    }

    /// Whether each part of a path is declared, in a file that knows the part before it.
    fn has(&self, path: &str) -> bool {
        let inner = |part: &&str| !["crate", "super", "self", "Self", "palabre"].contains(part);
        let parts: Vec<&str> = path.split("::").filter(inner).collect();
        let declared = |part: &&str| self.names.contains_key(*part);
        let together = |pair: &[&str]| {
            let is_type = pair[0].starts_with(char::is_uppercase);
            let known = if is_type { &self.words } else { &self.modules };
            self.names[pair[1]].iter().any(|&file| known[file].contains(pair[0]))
        };
        parts.iter().all(declared) && parts.windows(2).all(together)
    }
}

const fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A field or a variant, or a row of a table that makes them, if a line of code begins with one.
fn member(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) => rest.split_once(' ')?.1,
        None => line,
    };
    let end = line.find(|c| !is_of_name(c)).unwrap_or(line.len());
    let rest = line[end..].trim_start();
    let is_member = end > 0 && (rest.is_empty() || rest.starts_with([',', '(', '{', ':', '=']));
    is_member.then_some(&line[..end])
}

/// The paths in backticks, and the links of rustdoc.
fn symbols(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, code) in text.split('`').enumerate() {
        let is_path = |code: &str| {
            let mut parts = code.split("::");
            let of_names = |part: &str| !part.is_empty() && part.chars().all(is_of_name);
            parts.all(of_names) && !code.starts_with(|c: char| c.is_ascii_digit())
        };
        let before = text.split('`').nth(index.wrapping_sub(1)).unwrap_or_default();
        let is_link = before.ends_with('[');
        if index % 2 == 1 && is_path(code) && (is_link || code.contains("::")) {
            found.push(code.to_owned());
        }
    }
    found
}

#[test]
fn every_symbol_that_is_cited_is_declared() {
    let declared = Declared::read();
    let mut cited = 0;
    for Prose { path, text } in prose() {
        for paragraph in text.lines() {
            for symbol in symbols(paragraph) {
                let first = symbol.split("::").next().unwrap();
                if !ELSEWHERE.contains(&first) {
                    assert!(declared.has(&symbol), "{path} cites {symbol}, which is not declared");
                    cited += 1;
                }
            }
        }
    }
    assert!(cited > 200, "{cited} citations were found");
    assert!(!declared.has("Hub::no_such_function") && !declared.has("no_such_module::Hub"));
    assert!(declared.has("hub::Hub::handle") && !declared.has("wire::Hub::handle"));
}
