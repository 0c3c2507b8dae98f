//! How the server starts its worker: the name it runs under as a plugin, and its command line.

use std::path::Path;

/// The plugin that the worker is; no other one can have its name.
pub const NAME: &str = "accounts";

/// The subcommand of this program that is the worker. In no help is it of use to anybody.
pub const COMMAND: &str = "worker";

/// The option with the configuration file.
const FILE: &str = "--config";

/// The option with the directory that relative paths are relative to.
const DIRECTORY: &str = "--directory";

/// What the worker is started with: the configuration that it reads for itself, so that no password
/// is an argument, where everybody could see it. `None` when a path is no text.
#[must_use]
pub fn arguments(file: &Path, directory: &Path) -> Option<Vec<String>> {
    let words = [COMMAND, FILE, file.to_str()?, DIRECTORY, directory.to_str()?];
    Some(words.map(str::to_owned).to_vec())
}
