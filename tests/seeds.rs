//! Replays the fuzzer's seeds on a stable compiler, through the checks of its targets.

use std::path::Path;

#[path = "../fuzz/src/checks/mod.rs"]
pub mod checks;
#[expect(unexpected_cfgs, reason = "the parsers in C are built with the fuzzer alone")]
#[path = "../fuzz/src/oracle.rs"]
pub mod oracle;

/// Every file in `fuzz/seeds/<target>`.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let Ok(entries) = std::fs::read_dir(&folder) else { panic!("no {}", folder.display()) };
    let seeds: Vec<(String, Vec<u8>)> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap_or_default()))
        .collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds
}

/// A seed's name says what the parser makes of it: `accepted-…` or `refused-…`. What it accepts
/// another parser reads in the same way.
#[test]
fn stanza() {
    for (path, frame) in seeds("stanza") {
        let accepted = checks::stanza::check(&frame);
        assert_eq!(accepted.is_some(), !path.contains("refused-"), "{path}");
        if let Some(accepted) = accepted {
            println!("{path}");
            oracle::agree(&frame, &accepted);
        }
    }
}

#[test]
fn framer() {
    for (path, data) in seeds("framer") {
        println!("{path}");
        checks::framer::check(&data);
    }
}

#[test]
fn relay() {
    for (path, frame) in seeds("relay") {
        println!("{path}");
        checks::relay::check(&frame);
    }
}

#[test]
fn session() {
    for (path, script) in seeds("session") {
        println!("{path}");
        checks::session::check(&script);
    }
}

#[test]
fn hub() {
    for (path, script) in seeds("hub") {
        println!("{path}");
        checks::hub::check(&script);
    }
}

#[test]
fn frames() {
    for (path, data) in seeds("frames") {
        println!("{path}");
        checks::frames::check(&data);
    }
}

#[cfg(feature = "tls")]
#[test]
fn transport() {
    for (path, script) in seeds("transport") {
        println!("{path}");
        checks::transport::check(&script);
    }
}
