//! `[modules]` and the `[module NAME]` sections: which programs are run as plugins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::problem::Misfit;
use super::program::{self, in_path, is_executable};
use super::readers::{flag, words};
use crate::accounts::worker::launch;
use crate::limits::PLUGIN_TIMEOUT_S_MAX;
use crate::secret::Secret;
use crate::store;

/// Where modules are looked for.
pub(super) const PATH: [&str; 2] = ["/usr/lib/palabre/modules", "modules"];

/// Seconds that a plugin has to register and to answer.
const TIMEOUT_S: u64 = 5;

/// A program that is run as a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// What it is told behind its name.
    pub arguments: Vec<String>,
    /// Where it stands: beside the configuration.
    pub directory: PathBuf,
    /// What its environment has besides the server's own.
    pub environment: Vec<(String, String)>,
    /// Whether it is started again when it ends.
    pub restart: bool,
    /// Seconds within which it has to register and to answer.
    pub timeout_s: u64,
    /// What each of its processes reads before anything else; nothing but for the server's own
    /// worker.
    pub input: Secret,
}

impl Module {
    /// What keeps it from being run: found, and what would be right.
    ///
    /// # Errors
    /// When there is no such program, or it can't be run.
    pub fn check(&self) -> Result<(), Misfit> {
        let name = &self.program;
        let program = if name.components().count() > 1 {
            name.clone()
        } else {
            in_path(name).ok_or_else(|| {
                let found = format!("{:?}, and no such program in PATH", name.display());
                Misfit::new(found, "a program, or its path with a \"/\" in it")
            })?
        };
        let shown = program.display();
        let unusable = |found: String, needs: &str| Err(Misfit::new(found, needs));
        match program.metadata() {
            Err(error) => unusable(format!("{shown}: {error}"), "a program that is there"),
            Ok(found) if !found.is_file() => {
                unusable(format!("{shown}, which is no file"), "a program")
            }
            Ok(_) if !is_executable(&program) => {
                unusable(format!("{shown}, which is not executable"), "a program (chmod +x)")
            }
            Ok(_) => match program::fault(&program, &self.directory) {
                Some(fault) => {
                    let (found, needs) = fault.found_and_needed();
                    unusable(format!("{shown}, {found}"), needs)
                }
                None => Ok(()),
            },
        }
    }

    /// Whether it is the server's own worker: its name is nobody else's.
    #[must_use]
    pub(crate) fn is_worker(&self) -> bool {
        self.name == launch::NAME
    }

    /// Whether it is the process that writes the store: its name is nobody else's.
    #[must_use]
    pub(crate) fn is_store(&self) -> bool {
        self.name == store::worker::NAME
    }
}

/// What a `[module NAME]` section says.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// The line of its header.
    pub(super) line: usize,
    command: Vec<String>,
    restart: bool,
    timeout_s: u64,
    environment: Vec<(String, String)>,
    /// Keys that it has, and where.
    seen: BTreeMap<String, usize>,
}

/// A key of such a section, as the table of keys shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModuleKey {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) unit: &'static str,
    pub(super) meaning: &'static str,
}

/// The keys of such a section.
pub(super) const KEYS: [ModuleKey; 4] = [
    ModuleKey {
        name: "command",
        default: "",
        unit: "program, arguments",
        meaning: "what is run, as a shell would split it, instead of the program of that name; relative to this file",
    },
    ModuleKey {
        name: "restart",
        default: "true",
        unit: "true, false",
        meaning: "whether it is started again when it has ended",
    },
    ModuleKey {
        name: "timeout",
        default: "5",
        unit: "seconds",
        meaning: "the time it has to register, and to answer a question",
    },
    ModuleKey {
        name: "environment",
        default: "",
        unit: "NAME=value",
        meaning: "what its environment has besides the server's own and `PALABRE_PLUGIN`, separated by blanks",
    },
];

/// Their names.
pub(super) fn key_names() -> [&'static str; KEYS.len()] {
    KEYS.map(|key| key.name)
}

/// Whether a key's value is split into words.
pub(super) fn is_of_words(key: &str) -> bool {
    ["command", "environment"].iter().any(|known| known.eq_ignore_ascii_case(key))
}

impl Default for Section {
    fn default() -> Self {
        Self {
            line: 0,
            command: Vec::new(),
            restart: true,
            timeout_s: TIMEOUT_S,
            environment: Vec::new(),
            seen: BTreeMap::new(),
        }
    }
}

/// The plugins that `[modules] list` names, each once.
pub(super) fn names(text: &str) -> Result<Vec<String>, Misfit> {
    let mut modules: Vec<String> = Vec::new();
    for word in words(text) {
        if [launch::NAME, store::worker::NAME].contains(&word) {
            return Err(Misfit::of(word, "another name: this one is the server's own"));
        }
        if modules.iter().any(|known| known == word) {
            return Err(Misfit::of(word, "each module once"));
        }
        modules.push(module(word)?);
    }
    Ok(modules)
}

fn module(word: &str) -> Result<String, Misfit> {
    if word.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        return Ok(word.to_owned());
    }
    Err(Misfit::of(word, "names of modules separated by commas"))
}

/// The module that a section's header names: `module NAME`.
pub(super) fn named(section: &str) -> Option<&str> {
    let (word, name) = section.split_once(char::is_whitespace)?;
    word.eq_ignore_ascii_case("module").then_some(name.trim())
}

impl Section {
    /// An empty one, whose header stands in this line.
    pub(super) fn at(line: usize) -> Self {
        Self { line, ..Self::default() }
    }

    /// Reads one of its lines; `Ok(Some)` is the line where the key stood already.
    pub(super) fn read(
        &mut self,
        key: &str,
        value: &str,
        line: usize,
    ) -> Result<Option<usize>, Misfit> {
        let key = key.to_ascii_lowercase();
        if let Some(first) = self.seen.insert(key.clone(), line) {
            return Ok(Some(first));
        }
        let split = |needs: &str| shlex::split(value).ok_or_else(|| Misfit::of(value, needs));
        match key.as_str() {
            "command" => {
                self.command = split("a program and its arguments, quotes closed")?;
            }
            "restart" => self.restart = flag(value)?,
            "timeout" => {
                let seconds = value.parse().ok().filter(|s| (1..=PLUGIN_TIMEOUT_S_MAX).contains(s));
                let needs = || format!("seconds from 1 to {PLUGIN_TIMEOUT_S_MAX}");
                self.timeout_s = seconds.ok_or_else(|| Misfit::of(value, needs()))?;
            }
            _ => {
                let needs = "NAME=value pairs separated by blanks, quotes closed";
                for word in split(needs)? {
                    let pair = word.split_once('=').filter(|(name, _)| !name.is_empty());
                    let (name, value) = pair.ok_or_else(|| Misfit::of(&word, needs))?;
                    self.environment.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(None)
    }

    /// The line of its command, if it has one.
    pub(super) fn command(&self) -> Option<usize> {
        self.seen.get("command").copied().filter(|_| !self.command.is_empty())
    }

    /// Whether its environment has something whose name sounds like a secret.
    pub(super) fn has_secret(&self) -> bool {
        let words = ["pass", "secret", "token", "key"];
        self.environment.iter().any(|(name, value)| {
            let name = name.to_ascii_lowercase();
            !value.is_empty() && words.iter().any(|word| name.contains(word))
        })
    }

    /// Its keys, as the file could have them.
    pub(super) fn show(&self) -> Vec<(&'static str, String)> {
        // No word of a value from a file holds a NUL, the only thing that can't be quoted.
        let join = |words: Vec<&str>| shlex::try_join(words).unwrap_or_default();
        let command = self.command.iter().map(String::as_str).collect();
        let pairs: Vec<String> =
            self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            ("command", join(command)),
            ("restart", self.restart.to_string()),
            ("timeout", self.timeout_s.to_string()),
            ("environment", join(pairs.iter().map(String::as_str).collect())),
        ]
    }

    /// The module of this section, or of none.
    ///
    /// # Errors
    /// What was found and what would be right, when there is no such program.
    pub(super) fn module(
        &self,
        name: &str,
        paths: &[PathBuf],
        directory: &Path,
    ) -> Result<Module, Misfit> {
        let (program, arguments) = match self.command.split_first() {
            Some((program, arguments)) => (command(program, directory), arguments.to_vec()),
            None => (find(name, paths, directory)?, Vec::new()),
        };
        let mut environment = vec![("PALABRE_PLUGIN".to_owned(), name.to_owned())];
        environment.extend(self.environment.iter().cloned());
        Ok(Module {
            name: name.to_owned(),
            program,
            arguments,
            directory: directory.to_owned(),
            environment,
            restart: self.restart,
            timeout_s: self.timeout_s,
            input: Secret::default(),
        })
    }
}

/// A program by its path, or by its name where a shell would find it.
fn command(program: &str, directory: &Path) -> PathBuf {
    if program.contains('/') { directory.join(program) } else { PathBuf::from(program) }
}

/// The executable of this name, with or without an extension.
fn find(name: &str, paths: &[PathBuf], directory: &Path) -> Result<PathBuf, Misfit> {
    let mut unusable = None;
    for path in paths {
        let path = directory.join(path);
        let mut found: Vec<PathBuf> = std::fs::read_dir(&path)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|file| is_named(file, name))
            .collect();
        found.sort();
        if let Some(program) = found.iter().find(|file| is_executable(file)) {
            return Ok(program.clone());
        }
        unusable = unusable.or_else(|| found.into_iter().next());
    }
    let shown = |path: &PathBuf| directory.join(path).display().to_string();
    let places = paths.iter().map(shown).collect::<Vec<_>>().join(" or ");
    Err(match unusable {
        Some(file) => Misfit {
            found: format!("{name}, whose file {} is not executable", file.display()),
            needs: "a program (chmod +x); a module of the old server, a class in Python 2, has to \
                    become one: palabre help plugins says how"
                .to_owned(),
        },
        None => Misfit {
            found: format!("{name}, and there is no such file"),
            needs: format!(
                "an executable {name} or {name}.* in {places}, or a section [module {name}] with \
                 a command"
            ),
        },
    })
}

fn is_named(file: &Path, name: &str) -> bool {
    let file = file.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
