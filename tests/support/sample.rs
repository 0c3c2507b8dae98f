//! Holds the conversation of a sample plugin, which lies beside it in tests/plugins.

use std::fs;
use std::path::Path;

use super::format::parse;
use super::socket_driver::run;

/// Runs every scene of the file with the built server and the sample as it stands.
///
/// # Panics
/// With all differences, the first of each scene.
pub(crate) fn hold(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins").join(name);
    let text = fs::read_to_string(path).expect("a sample's conversation can be read");
    let file = format!("tests/plugins/{name}");
    let transcript = parse(&file, &text).unwrap_or_else(|error| panic!("{error}"));
    let scenes = &transcript.scenes;
    let differences: Vec<String> =
        scenes.iter().filter_map(|scene| run(&file, scene, usize::MAX).err()).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(!scenes.is_empty(), "{file} has no scene");
}
