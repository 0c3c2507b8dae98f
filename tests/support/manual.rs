//! The README and the topics of the manual, and what is marked in them.
//!
//! A line `<!-- NAME -->` marks what follows it: a fenced block, or everything up to
//! `<!-- end -->`. Each name stands in one document.

#![allow(dead_code, reason = "each test takes what it needs of it")]

use std::fs;
use std::path::Path;

/// The README and the files of `src/manual`, each with its path from the root.
pub(crate) fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let topics = fs::read_dir(root.join("src/manual")).expect("src/manual is there");
    let mut paths: Vec<String> = topics
        .map(|entry| entry.expect("src/manual can be listed").file_name())
        .map(|name| format!("src/manual/{}", name.to_string_lossy()))
        .collect();
    paths.push("README.md".to_owned());
    paths.sort();
    let read = |path: String| {
        let text = fs::read_to_string(root.join(&path)).expect("a document can be read");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// Everything behind the mark of this name, and the document that it stands in.
fn behind(name: &str) -> (String, String) {
    let mark = format!("<!-- {name} -->\n");
    let mut found = documents()
        .into_iter()
        .filter_map(|(path, text)| text.split_once(&mark).map(|(_, rest)| (path, rest.to_owned())));
    let first = found.next().unwrap_or_else(|| panic!("no document has the mark {name}"));
    assert!(found.next().is_none(), "two documents have the mark {name}");
    first
}

/// The document that has the mark of this name, up to the mark.
pub(crate) fn before(name: &str) -> String {
    let (path, _) = behind(name);
    let (_, text) = documents().into_iter().find(|(found, _)| *found == path).expect("found");
    text.split_once(&format!("<!-- {name} -->\n")).expect("the mark").0.to_owned()
}

/// The fenced block behind the mark.
pub(crate) fn block(name: &str) -> String {
    blocks(name).into_iter().next().unwrap_or_else(|| panic!("no block behind the mark {name}"))
}

/// All fenced blocks behind the mark, to the end of the document.
pub(crate) fn blocks(name: &str) -> Vec<String> {
    let (_, rest) = behind(name);
    let mut blocks = Vec::new();
    let mut lines = rest.lines();
    while lines.any(|line| line.starts_with("```")) {
        let block = lines.by_ref().take_while(|line| !line.starts_with("```"));
        blocks.push(block.flat_map(|line| [line, "\n"]).collect());
    }
    blocks
}

/// What stands between the mark and `<!-- end -->`.
pub(crate) fn part(name: &str) -> String {
    let (path, rest) = behind(name);
    let (part, _) =
        rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{path}: {name} has no end"));
    part.to_owned()
}
