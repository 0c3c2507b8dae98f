//! Every transcript under `tests/transcripts`, held with the hub and over real sockets, and the
//! README's conversation.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "support/manual.rs"]
mod manual;
mod support;

use support::checker::run;
use support::format::{Act, Permitted, Scene, Transcript, What, parse};
use support::hub_driver::HubDriver;
use support::{sample, socket_driver};

/// All transcripts, in the order of their names. `TRANSCRIPT=rooms` takes those whose names
/// hold this.
fn transcripts() -> Vec<Transcript> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let only = std::env::var("TRANSCRIPT").unwrap_or_default();
    let mut names: Vec<String> = fs::read_dir(&directory)
        .expect("tests/transcripts can be read")
        .map(|entry| entry.expect("tests/transcripts can be read").file_name())
        .map(|name| name.into_string().expect("a transcript's name is text"))
        .filter(|name| name.contains(&only))
        .collect();
    names.sort();
    names.iter().map(|name| read(&directory.join(name), name)).collect()
}

fn read(path: &Path, name: &str) -> Transcript {
    let text = fs::read_to_string(path).expect("a transcript can be read");
    parse(&format!("tests/transcripts/{name}"), &text).unwrap_or_else(|error| panic!("{error}"))
}

fn run_on_the_hub(file: &str, scene: &Scene) -> Result<(), String> {
    run(file, scene, &mut HubDriver::new(&scene.settings)?)
}

fn run_over_sockets(file: &str, scene: &Scene) -> Result<(), String> {
    socket_driver::run(file, scene, usize::MAX)
}

/// Every few bytes in a write of their own: the server reads what has come by then.
fn run_over_sockets_in_pieces(file: &str, scene: &Scene) -> Result<(), String> {
    socket_driver::run(file, scene, 5)
}

/// Runs every scene and fails with all differences, the first of each scene.
fn run_all(run: fn(&str, &Scene) -> Result<(), String>, take: fn(&Scene) -> bool) {
    let mut differences = Vec::new();
    let mut scenes = 0;
    for transcript in transcripts() {
        for scene in transcript.scenes.iter().filter(|scene| take(scene)) {
            scenes += 1;
            differences.extend(run(&transcript.file, scene).err());
        }
    }
    let failed = differences.len();
    assert!(failed == 0, "{failed} of {scenes} scenes differ:\n{}", differences.join("\n"));
    assert!(scenes > 0, "no transcript was run");
}

#[test]
fn every_transcript_holds_with_the_hub() {
    run_all(run_on_the_hub, |_| true);
}

#[test]
fn every_transcript_holds_over_sockets() {
    run_all(run_over_sockets, |scene| scene.hub_only.is_none());
}

#[test]
fn every_transcript_holds_over_sockets_in_pieces() {
    run_all(run_over_sockets_in_pieces, |scene| scene.hub_only.is_none());
}

#[test]
fn the_shell_sample_holds_its_conversation() {
    sample::hold("dice.txt");
}

#[test]
fn every_transcript_names_its_section_and_has_scenes() {
    for transcript in transcripts() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&transcript.file);
        let text = fs::read_to_string(path).expect("a transcript can be read");
        let header = text.split("\n== ").next().unwrap_or_default();
        assert!(header.contains("manual: protocol, "), "{}: no section is named", transcript.file);
        assert!(!transcript.scenes.is_empty(), "{}: no scene", transcript.file);
        for scene in &transcript.scenes {
            assert!(!scene.steps.is_empty(), "{}: \"{}\"", transcript.file, scene.title);
        }
    }
}

#[test]
fn the_readme_holds_its_conversation_with_the_built_server() {
    let shown = manual::block("conversation");
    let transcript = parse("README.md (conversation)", &format!("== README\n{shown}"))
        .unwrap_or_else(|error| panic!("{error}"));
    let [scene] = transcript.scenes.as_slice() else { panic!("one conversation") };
    run_over_sockets(&transcript.file, scene).unwrap_or_else(|error| panic!("{error}"));
    let listing = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/readme.txt");
    let text = fs::read_to_string(listing).expect("readme.txt can be read");
    assert!(text.ends_with(&shown), "the README doesn't show tests/transcripts/readme.txt");
    assert!(scene.steps.len() > 10, "too short to learn from");
}

/// Errors of the manual's table that take more stanzas than a transcript is to have;
/// `tests/limits.rs` has their bounds.
const BEYOND_TRANSCRIPTS: [&str; 10] = [
    "address: X: what would be right",
    "Child rooms listed in too many ways (limit N)",
    "Room listed under too many rooms (limit N)",
    "Room password too long (limit N bytes)",
    "Too many roles (limit N)",
    "Too many bans (limit N)",
    "Too many mutes (limit N)",
    "Too many invitations (limit N)",
    "Reason too long (limit N bytes)",
    "Nick too long (limit N bytes)",
];

/// An error as the manual's table spells it: N for a number, X for a name.
fn spelled(error: &str) -> String {
    let error = match error.split_once("(limit ") {
        Some((before, limit)) => {
            format!("{before}(limit N{}", limit.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => error.to_owned(),
    };
    if let Some(error) = spelled_of_order(&error) {
        return error;
    }
    let named = [("with nickname: ", ""), ("Stanzas named ", " are the server's own")];
    for (before, after) in named {
        if let Some((start, rest)) = error.split_once(before)
            && let Some(place) = rest.find(after)
        {
            let end = if after.is_empty() { "" } else { &rest[place..] };
            return format!("{start}{before}X{end}");
        }
    }
    error
}

/// The same for what is said of roles, modes, bans and mutes: `N` and `R` stand for names, `M` for
/// a mode.
fn spelled_of_order(error: &str) -> Option<String> {
    let reason = |error: &str| if error.contains(": ") { ": reason" } else { "" };
    let of_nicks = ["not in this room", "in this room", "root", "not banned", "not muted"];
    for end in of_nicks.map(|what| format!(" is {what}")) {
        if error.ends_with(&end) {
            return Some(format!("N{end}"));
        }
    }
    for end in [" must be 0 or 1", " must be a number"] {
        if error.ends_with(end) {
            return Some(format!("M{end}"));
        }
    }
    let of_room = error.strip_prefix("Room ").filter(|rest| !rest.starts_with("name "));
    if let Some((_, is)) = of_room.and_then(|rest| rest.split_once(" is ")) {
        return Some(format!("Room R is {is}"));
    }
    for start in ["Wrong password for room ", "You are banned from room ", "You are muted in room "]
    {
        if error.starts_with(start) {
            return Some(format!("{start}R"));
        }
    }
    for (start, place) in [
        ("You were removed from room ", "R"),
        ("You are banned until ", "TIME"),
        ("You are banned", ""),
        ("You have been kicked from the server by an administrator", ""),
    ] {
        if error.starts_with(start) {
            let time = if place == "TIME" { error.rsplit_once("Z: ").is_some() } else { true };
            return Some(format!("{start}{place}{}", if time { reason(error) } else { "" }));
        }
    }
    for start in ["Not a role: ", "Not a mode: ", "Not a session: "] {
        if let Some(rest) = error.strip_prefix(start) {
            let list = rest.find(" (").map_or("", |place| &rest[place..]);
            return Some(format!("{start}X{list}"));
        }
    }
    None
}

fn is_in_a_plugins_words(act: &Act) -> bool {
    let forbids = |permission: &Permitted| matches!(permission, Permitted::No(Some(_)));
    matches!(act, Act::Order(_))
        || matches!(act, Act::Permission { permission, .. } if forbids(permission))
}

/// Every error that a client gets in a transcript, spelled as the manual does, with its code and
/// whether the session is closed behind it.
fn errors_met() -> BTreeSet<(String, Option<String>, bool)> {
    let mut met = BTreeSet::new();
    let scenes = transcripts().into_iter().flat_map(|transcript| transcript.scenes);
    // What a plugin says is its own.
    let steps = scenes
        .flat_map(|scene| scene.steps)
        .filter(|step| !step.acts.iter().any(is_in_a_plugins_words));
    for step in steps {
        for (place, expected) in step.expected.iter().enumerate() {
            let What::Stanza(stanza) = &expected.what else { continue };
            let text = str::from_utf8(stanza).expect("a stanza is UTF-8");
            if !text.starts_with("<error") {
                continue;
            }
            let document = roxmltree::Document::parse(text).expect("a stanza is XML");
            let error = document.root_element();
            if error.has_attribute("f") {
                // Another client said it, where that is allowed.
                continue;
            }
            let mut later = step.expected[place + 1..].iter();
            let closed = later.find(|later| later.client == expected.client);
            let closed = closed.is_some_and(|next| matches!(next.what, What::Closed(_)));
            let code = error.attribute("code").map(str::to_owned);
            met.insert((spelled(error.text().unwrap_or_default()), code, closed));
        }
    }
    met
}

#[test]
fn the_manual_has_every_error_with_its_code_and_what_becomes_of_the_session() {
    let mut rows = BTreeSet::new();
    for row in manual::part("errors").lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let ["", error, code, _, session, ""] = cells[..] else { panic!("four cells: {row}") };
        let code = Some(code.trim_matches('`')).filter(|code| !code.is_empty());
        let closed = match session {
            "is closed" => true,
            "stays" => false,
            _ => panic!("the session stays or is closed: {row}"),
        };
        rows.insert((error.trim_matches('`').to_owned(), code.map(str::to_owned), closed));
    }
    let met = errors_met();
    for (error, code, closed) in &met {
        let known = rows.iter().any(|(row, row_code, row_closed)| {
            row == error && row_closed == closed && (code.is_none() || row_code == code)
        });
        assert!(known, "the manual has no error {error:?}, {code:?}, closed: {closed}");
    }
    for row in &rows {
        let (error, ..) = row;
        assert!(
            met.contains(row) || BEYOND_TRANSCRIPTS.contains(&&**error),
            "no transcript meets {row:?}"
        );
    }
}

/// Transcripts that are wrong, and what the checker says of each.
const WRONG: [(&str, &str); 8] = [
    ("A> <ping />", "A got, unnamed: <pong />"),
    ("A> <ping />\nA< <pong />\nA< <pong />", "A got nothing more; missing: <pong />"),
    ("A> <ping />\nA< <pong/>", "wanted: <pong/>"),
    ("A> <m c=\"B\">x</m>", "B got, unnamed: <m f=\"A\">x</m>"),
    ("A> <ping />\nA< <pong />\nB< <pong />", "B got nothing more; missing: <pong />"),
    (
        "A>> <ping />\\x00<getrooms />\\x00\nA< <rooms nb='0'>\nA| </rooms>\nA< <pong />",
        "got: <pong />",
    ),
    ("A> <quit />", "A was closed"),
    ("A> <help />\nA? help shutdown", "A got a help without shutdown"),
];

fn assert_all_wrong(run: fn(&str, &Scene) -> Result<(), String>) {
    for (steps, complaint) in WRONG {
        let transcript = parse("wrong", &format!("== Wrong\n= login A B\n{steps}"))
            .unwrap_or_else(|error| panic!("{error}"));
        let error = run("wrong", &transcript.scenes[0]).expect_err(steps);
        assert!(error.starts_with("wrong:"), "{error}");
        assert!(error.contains(complaint), "{error}\ndoes not say: {complaint}");
    }
}

#[test]
fn what_differs_is_found_with_the_hub() {
    assert_all_wrong(run_on_the_hub);
}

#[test]
fn what_differs_is_found_over_sockets() {
    assert_all_wrong(run_over_sockets);
}

fn refusal(text: &str) -> String {
    parse("t", text).err().expect("it is not spelled as the module says")
}

#[test]
fn misspelled_transcripts_are_refused_with_file_and_line() {
    assert_eq!(refusal("A> <ping />"), "t:1: a step stands in a scene (`== Title`)");
    assert!(refusal("== S\nA> <ping /> ").starts_with("t:2: a blank at the end"));
    assert!(refusal("== S\nA> <q />\nA! closed quit\nA> x").contains("A is closed"));
    assert!(refusal("== S\nA> \\q").contains("no escape"));
    assert!(refusal("== S\n= together\nA> x\nA< y").contains("after `= turn`"));
    assert!(refusal("== S\nA> x\nA+").contains("connected already"));
    assert!(refusal("== S\nA> x\nB| y").contains("nothing of this client's"));
}

#[test]
fn a_continued_line_holds_its_newlines_and_blanks() {
    let transcript = parse("t", "== S\nA> <a>\nA|  b</a>\nA< <c>\nA|  d\nA| </c>").unwrap();
    let step = &transcript.scenes[0].steps[0];
    let [Act::Open { .. }, Act::Send { bytes, .. }] = step.acts.as_slice() else {
        panic!("opened, then sent")
    };
    assert_eq!(bytes, b"<a>\n b</a>\0");
    let What::Stanza(stanza) = &step.expected[0].what else { panic!("a stanza") };
    assert_eq!(stanza, b"<c>\n d\n</c>");
}
