//! The house rules that a compiler does not check.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its files has failed")]

#[path = "tidy/citations.rs"]
mod citations;
#[path = "support/manual.rs"]
mod manual;
#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the project; what a build or an editor leaves behind is not among them.
fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    assert!(!files.is_empty(), "{folder} has Rust files");
    files.sort();
    files
}

/// The code of a file: without its tests and without comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn wire_and_hub_know_no_socket_clock_thread_log_or_randomness() {
    let forbidden = [
        "std::net",
        "mio::",
        "socket2",
        "rustix",
        "Instant",
        "SystemTime",
        "::now()",
        "std::thread",
        "std::sync",
        "log::",
        "debug!",
        "info!",
        "warn!",
        "error!(",
        "println",
        "RandomState",
        "rand::",
        "std::fs",
        "std::env",
        "std::process",
        // `crate::networks` is a list of addresses, and what stands in braces is hard to find.
        "crate::net::",
        "crate::net;",
        "crate::{",
        "crate::config",
        "crate::logging",
        "crate::metrics",
    ];
    let own = [rust_files("src/wire"), rust_files("src/hub"), rust_files("src/nick")].concat();
    let roots = rust_files("src")
        .into_iter()
        .filter(|(path, _)| path.ends_with("src/wire.rs") || path.ends_with("src/hub.rs"));
    for (path, text) in own.into_iter().chain(roots) {
        for word in forbidden {
            assert!(!code(&text).contains(word), "{} uses {word}", path.display());
        }
    }
}

/// From the ground up: each module of the crate, and the others that it may name. `cli` and `bench`
/// may name all.
const MAY_USE: [(&str, &[&str]); 18] = [
    ("manual", &[]),
    ("limits", &[]),
    ("files", &[]),
    ("networks", &[]),
    ("nick", &[]),
    ("reason", &[]),
    // A room's password is among them.
    ("record", &["secret"]),
    ("secret", &[]),
    ("session_id", &[]),
    ("wire", &["limits", "secret", "session_id"]),
    ("hub", &["limits", "networks", "nick", "reason", "record", "secret", "session_id", "wire"]),
    // Its worker speaks in stanzas, as plugins do.
    ("accounts", &["files", "limits", "networks", "nick", "secret", "wire", "worker_input"]),
    // The process that writes it speaks as plugins do.
    ("store", &["files", "limits", "nick", "record", "secret", "wire", "worker_input"]),
    ("worker_input", &["limits", "secret", "wire"]),
    ("logging", &["files", "limits"]),
    ("metrics", &["reason"]),
    // What it makes of the file are the settings that the hub lives by.
    (
        "config",
        &["accounts", "files", "hub", "limits", "logging", "networks", "nick", "secret", "store"],
    ),
    (
        "net",
        &[
            "accounts",
            "config",
            "files",
            "hub",
            "limits",
            "logging",
            "metrics",
            "networks",
            "record",
            "secret",
            "session_id",
            "store",
            "wire",
        ],
    ),
];
#[test]
fn each_module_uses_only_what_stands_below_it() {
    let mut named = BTreeSet::new();
    let mut wrong = Vec::new();
    for (path, text) in rust_files("src") {
        let file = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        let module = file.split(['/', '.']).next().unwrap().to_owned();
        let Some((name, may_use)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        for found in crate_modules(&code(&text)) {
            if found != *name && !may_use.contains(&&*found) {
                wrong.push(format!("src/{file} uses {found}"));
            }
            named.insert((*name, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (name, may_use) in MAY_USE {
        for used in may_use {
            assert!(named.contains(&(name, (*used).to_owned())), "{name} does not use {used}");
        }
    }
}

/// The modules that stand behind `crate::` in this code, in braces as well.
fn crate_modules(code: &str) -> BTreeSet<String> {
    let first_word = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let mut found = BTreeSet::new();
    for behind in code.split("crate::").skip(1) {
        match behind.strip_prefix('{') {
            Some(list) => {
                let list = list.split("};").next().unwrap_or_default();
                found.extend(list.split(',').map(|part| first_word(part.trim())));
            }
            None => {
                found.insert(first_word(behind));
            }
        }
    }
    found.remove("");
    found
}

/// What a peer, a plugin or the log may cost at most is looked up in one file. Elsewhere stand the
/// sizes that a standard fixes, and the ranges of values of keys and options.
#[test]
fn bounds_stand_in_limits() {
    const FIXED: [(&str, &str); 8] = [
        ("src/net/transport/websocket.rs", "HEADER_BYTES_MAX"),
        ("src/net/transport/websocket.rs", "CONTROL_BYTES_MAX"),
        ("src/net/transport/http.rs", "UNIX_S_MAX"),
        ("src/net/proxy.rs", "TEXT_BYTES_MAX"),
        ("src/config/hosts.rs", "NAME_BYTES_MAX"),
        ("src/config/keys.rs", "COUNT_MAX"),
        ("src/config/keys.rs", "IDLE_TIME_MAX_S"),
        ("src/config/keys.rs", "BYTES_MAX"),
    ];
    let mut found = Vec::new();
    for (path, text) in rust_files("src") {
        let file = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if file == "src/limits.rs" || file.starts_with("src/bench") || file == "src/cli/bench.rs" {
            continue;
        }
        for line in code(&text).lines().filter(|line| !line.starts_with(' ')) {
            let words = line.split([' ', ':']).skip_while(|word| *word != "const");
            if let Some(name) = words.skip(1).find(|word| !word.is_empty())
                && (name.ends_with("_MAX") || name.contains("_MAX_"))
            {
                found.push((file.clone(), name.to_owned()));
            }
        }
    }
    let is_fixed = |(file, name): &(String, String)| FIXED.contains(&(file, name));
    let stray: Vec<_> = found.iter().filter(|bound| !is_fixed(bound)).collect();
    assert!(stray.is_empty(), "bounds outside src/limits.rs: {stray:?}");
    assert_eq!(found.len(), FIXED.len(), "one of the exceptions is gone: {found:?}");
}

/// All Rust files of the project, each by its path.
fn all_rust_files() -> Vec<(String, String)> {
    let files = [rust_files("src"), rust_files("tests"), rust_files("fuzz")].concat();
    let below = |path: PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    files.into_iter().map(|(path, text)| (below(path), text)).collect()
}

/// Private types, too: who reads a name in a file need not look which of several it is. `Error` is
/// a layer's, and two of a name in one file are those with a Cargo feature and without it.
#[test]
fn a_type_has_a_name_of_its_own() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in all_rust_files() {
        if path.starts_with("tests/") || path.ends_with("/tests.rs") {
            continue;
        }
        for name in source::types(&source::code_alone(&text)) {
            files.entry(name.to_owned()).or_default().insert(path.clone());
        }
    }
    assert!(files.len() > 300, "{} types", files.len());
    let twice: Vec<_> =
        files.iter().filter(|(name, files)| files.len() > 1 && *name != "Error").collect();
    assert!(
        twice.is_empty(),
        "of the types of one name, let that one keep it which the name means first, and name the \
         others for what they are (SqliteConnection, VerbState), or make them one: {twice:#?}"
    );
}

#[test]
fn functions_have_at_most_70_lines() {
    const LINES_MAX: usize = 70;
    let mut long = Vec::new();
    for (path, text) in all_rust_files() {
        for (name, lines) in source::functions(&source::code_alone(&text)) {
            if lines > LINES_MAX {
                long.push(format!("{path}: {name} has {lines} lines"));
            }
        }
    }
    assert!(long.is_empty(), "split them by what they do: {long:#?}");
}

/// rustfmt leaves comments and what stands in macros as they are. A text in quotes is not counted:
/// it may be easier to read and to find in one piece.
#[test]
fn no_line_is_over_100_columns() {
    const COLUMNS_MAX: usize = 100;
    let mut long = Vec::new();
    for (path, text) in all_rust_files() {
        for (line, text) in source::untexted(&text).lines().enumerate() {
            if text.chars().count() > COLUMNS_MAX {
                long.push(format!("{path}:{}: {}", line + 1, text.trim_start()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_manual_uses_nothing() {
    let manual = fs::read_to_string(root().join("src/manual.rs")).unwrap();
    for word in ["use ", "crate::", "super::"] {
        assert!(!code(&manual).contains(word), "src/manual.rs has {word}");
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for (path, text) in [rust_files("src"), rust_files("tests")].concat() {
        assert!(text.starts_with("//! "), "{} begins without its sentence", path.display());
    }
}

#[test]
fn nothing_is_left_to_be_done_in_the_code() {
    for (path, text) in [rust_files("src"), rust_files("tests")].concat() {
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore")] {
            assert!(!text.contains(word), "{} holds a {word}", path.display());
        }
    }
}

/// Everything has one owner. In the fake world of `tests/loop` alone a connection and a process
/// have a second one: the client or the plugin that a test has speak, some five hundred times,
/// without naming the world.
#[test]
fn nothing_is_changed_through_a_shared_handle() {
    let shared = concat!("Rc<Ref", "Cell<");
    let files = [rust_files("src"), rust_files("tests"), rust_files("fuzz")].concat();
    let found: Vec<_> = files
        .iter()
        .filter(|(_, text)| text.contains(shared))
        .map(|(path, _)| path.strip_prefix(root()).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(found, ["tests/loop/pipe.rs", "tests/loop/process.rs"]);
}

#[test]
fn every_module_is_named_in_the_crate_documentation() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for module in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let name = module.trim_end_matches(';');
        // One that is behind a Cargo feature can't be linked to from a page that is always there.
        let link = format!("[`{name}`]");
        let entry = format!("//! - `{name}`: ");
        let named = |line: &str| line.contains(&link) || line.starts_with(&entry);
        assert!(
            lib.lines().any(|line| line.starts_with("//!") && named(line)),
            "the map in src/lib.rs does not name {name}"
        );
    }
}

#[test]
fn the_top_level_holds_what_the_card_names() {
    let allowed: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "tests",
        "fuzz",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
    ]
    .into();
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    // Without git, as in a packed crate, the folder itself is looked at.
    let names: BTreeSet<String> = match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .filter_map(|path| path.split('/').next().map(str::to_owned))
                .collect()
        }
        _ => fs::read_dir(root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "target")
            .collect(),
    };
    for name in names {
        assert!(name.starts_with('.') || allowed.contains(&*name), "{name} at the top level");
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for section in ["[dependencies]", "[dev-dependencies]"] {
        let lines = manifest.split(section).nth(1).unwrap().lines().skip(1);
        let mut explained = false;
        for line in lines.take_while(|line| !line.starts_with('[')) {
            if line.starts_with('#') {
                explained = true;
            } else if line.is_empty() {
                explained = false;
            } else {
                assert!(explained, "no reason above {line}");
            }
        }
    }
}

#[test]
fn quick_xml_is_newer_than_its_advisory() {
    // RUSTSEC-2026-0194 was mended in 0.41.
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let after = lock.split("name = \"quick-xml\"\nversion = \"0.").nth(1).unwrap();
    let minor: u32 = after.split('.').next().unwrap().parse().unwrap();
    assert!(minor >= 41, "quick-xml 0.{minor}");
}

#[test]
fn the_readme_and_the_manual_have_the_table_of_stanzas_as_it_is() {
    use palabre::hub::command::{VERBS, VerbState};
    let mut table = String::from("| stanza | who may send it | what it does |\n|---|---|---|\n");
    for verb in VERBS {
        let who = match verb.state {
            VerbState::New => "before login",
            VerbState::LoggedIn if verb.root => "root",
            VerbState::LoggedIn => "after login",
            VerbState::Any => "anybody",
        };
        let usage = verb.usage.replace("  ", "`, `");
        let meaning = verb.meaning.replace('<', "`<").replace('>', ">`");
        table.push_str(&format!("| `{usage}` | {who} | {meaning} |\n"));
    }
    // The README has it for those who look around, the manual for those who write a client.
    for name in ["stanzas", "requests"] {
        let shown = manual::part(name);
        assert_eq!(
            shown, table,
            "the manual between <!-- {name} --> and <!-- end --> should be:\n{table}"
        );
    }
}

#[test]
fn the_manual_has_the_tables_of_rights_capabilities_and_costs_as_they_are() {
    use palabre::hub::{caps::CAPS, command::VERBS, rights::RIGHTS};
    let mut rights = String::from(
        "| what | root | operator | voice | other member | who is muted |\n|---|---|---|---|---|---|\n",
    );
    for right in RIGHTS {
        let who = [right.root, right.operator, right.voice, right.member, right.muted];
        let who = who.map(|allowed| allowed.words()).join(" | ");
        rights.push_str(&format!("| {} | {who} |\n", right.meaning));
    }
    let mut caps = String::from("| capability | what a session gets that has it |\n|---|---|\n");
    for cap in CAPS {
        caps.push_str(&format!("| `{}` | {} |\n", cap.name, cap.meaning));
    }
    let mut costs = String::from("| stanza | counts for |\n|---|---|\n");
    for verb in VERBS.iter().filter(|verb| verb.cost > 1) {
        costs.push_str(&format!("| `{}` | {} |\n", verb.name, verb.cost));
    }
    for (name, table) in [("rights", rights), ("caps", caps), ("costs", costs)] {
        assert_eq!(
            manual::part(name),
            table,
            "the manual between <!-- {name} --> and <!-- end --> should be:\n{table}"
        );
    }
}

#[test]
fn the_manual_has_every_stanza_that_the_server_sends() {
    let source = fs::read_to_string(root().join("src/hub/message.rs")).unwrap();
    let (_, list) = source.split_once("const SERVER_NAMES: ").unwrap();
    let (_, list) = list.split_once(" = [").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    let names: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(between(&first_columns("server names"), "| `<", "`"), names);
}

#[test]
fn the_manual_has_every_code_that_a_websocket_is_closed_with() {
    let mut codes = BTreeSet::new();
    for path in ["src/net/transport.rs", "src/net/transport/websocket.rs"] {
        let source = fs::read_to_string(root().join(path)).unwrap();
        let (_, function) = source.split_once("const fn close_code(").unwrap();
        let (function, _) = function.split_once("\n    }\n").unwrap();
        let arms = function.split("=> ").skip(1);
        codes.extend(arms.map(|arm| arm.split([',', '\n']).next().unwrap().to_owned()));
    }
    let shown = first_columns("close codes");
    let shown = shown.split(['|', ',', '\n', ' ']).filter(|code| !code.is_empty());
    assert_eq!(shown.map(str::to_owned).collect::<BTreeSet<_>>(), codes);
}

#[test]
fn the_manual_has_the_reasons_of_closes_and_refusals_as_they_are() {
    use palabre::hub::{CloseReason, RefusalReason};
    let mut table = String::from("| `reason` | why a connection was closed |\n|---|---|\n");
    for reason in CloseReason::ALL {
        table.push_str(&format!("| `{}` | `{reason}` |\n", reason.label()));
    }
    assert_eq!(
        manual::part("close reasons"),
        table,
        "the manual between <!-- close reasons --> and <!-- end --> should be:\n{table}"
    );
    let shown = first_columns("refusal reasons");
    let shown: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
    assert_eq!(shown, RefusalReason::ALL.map(RefusalReason::label));
}

#[test]
fn the_manual_has_the_table_of_keys_as_it_is() {
    let table = palabre::config::key_tables();
    let shown = manual::part("keys");
    assert_eq!(
        shown, table,
        "the manual between <!-- keys --> and <!-- end --> should be:\n{table}"
    );
}

#[test]
fn the_manual_has_the_table_of_metrics_as_it_is() {
    use palabre::metrics::{Metrics, prometheus};
    let mut page = String::new();
    prometheus::write(&mut page, &Metrics::default(), &prometheus::Gauges::default());
    let mut table = String::from("| metric | type | meaning |\n|---|---|---|\n");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        let kind = lines.next().and_then(|line| line.rsplit_once(' ')).unwrap().1;
        let help = help.trim_end_matches('.');
        table.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
    }
    let shown = manual::part("metrics");
    assert_eq!(
        shown, table,
        "the manual between <!-- metrics --> and <!-- end --> should be:\n{table}"
    );
}

#[test]
fn the_manual_shows_the_smallest_sample_whole_and_what_the_python_ones_share() {
    let files = fs::read_dir(root().join("tests/plugins")).unwrap();
    let mut samples: Vec<String> = files
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .filter(|text| text.starts_with("#!"))
        .collect();
    samples.sort_by_key(|text| text.len());
    assert_eq!(manual::block("sample"), samples[0]);
    let frame = manual::block("frame");
    let functions = &frame[frame.find("def ").expect("functions")..];
    let python: Vec<&String> = samples.iter().filter(|text| text.contains("python3")).collect();
    assert_eq!(python.len(), 4, "four samples in Python");
    for sample in python {
        assert!(sample.contains(functions), "the manual's frame is not in\n{sample}");
    }
}

/// What stands between two words, for every pair of them.
fn between<'a>(text: &'a str, before: &str, after: &str) -> BTreeSet<&'a str> {
    let found = text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap());
    found.map(|word| word.split([' ', '>', '"']).next().unwrap()).collect()
}

/// The first columns of a table between marks.
fn first_columns(name: &str) -> String {
    let table = manual::part(name);
    let rows = table.lines().skip(2).map(|row| row.split(" | ").next().unwrap());
    rows.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_manual_has_the_tables_of_what_plugins_say_and_hear_as_they_are() {
    use palabre::net::plugins::{hook::HOOKS, verb::VERBS};
    let mut says = String::from("| stanza | what it does |\n|---|---|\n");
    for form in VERBS.iter().flat_map(|verb| verb.forms) {
        says.push_str(&format!("| `{}` | {} |\n", form.usage, form.meaning));
    }
    let mut hooks = String::from("| hook | when | adds |\n|---|---|---|\n");
    for hook in HOOKS.iter().filter(|hook| !hook.when.is_empty()) {
        let adds = if hook.adds.is_empty() { String::new() } else { format!(" {}", hook.adds) };
        hooks.push_str(&format!("| `{}` | {} |{adds} |\n", hook.name, hook.when));
    }
    for (name, table) in [("plugin says", says), ("hooks", hooks)] {
        assert_eq!(
            manual::part(name),
            table,
            "the manual between <!-- {name} --> and <!-- end --> should be:\n{table}"
        );
    }
}

#[test]
fn the_manual_has_every_stanza_that_plugins_hear() {
    let written = fs::read_to_string(root().join("src/wire/write/plugin.rs")).unwrap();
    let written = code(&written);
    let mut written = between(&written, "b\"<", "\"");
    written.retain(|name| !name.starts_with('/'));
    assert_eq!(between(&first_columns("plugin hears"), "`<", "`"), written);
}

/// The words in quotes of a list in the client library.
fn library_list<'a>(library: &'a str, name: &str) -> Vec<&'a str> {
    let (_, list) = library.split_once(&format!("const {name} = ")).unwrap();
    let (list, _) = list.split_once(';').unwrap();
    list.split('\'').skip(1).step_by(2).collect()
}

#[test]
fn the_readme_has_every_event_and_every_code_of_the_client_library() {
    let library = fs::read_to_string(root().join("src/web/palabre.js")).unwrap();
    let events = manual::part("library events");
    let events: Vec<&str> = events.trim_matches(['`', '\n', ' ']).split_whitespace().collect();
    assert_eq!(events, library_list(&library, "EVENTS"));
    let codes = library_list(&library, "CODES");
    let shown = first_columns("library codes");
    let shown: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
    assert_eq!(shown, codes);
    // Errors with no other code are made.
    for (place, _) in library.match_indices("code: '") {
        let code = library[place + 7..].split('\'').next().unwrap();
        assert!(codes.contains(&code), "{code}");
    }
}
