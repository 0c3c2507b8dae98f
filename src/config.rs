//! File and arguments → [`Config`].
//!
//! The old server's INI file works as it is; `keys` is the one table of what may stand in it.
//! Whatever is wrong is an error that names file, line and key, and all of a file's errors are
//! told at once. What the old server did and this one does not yet is a warning.

use core::fmt;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::accounts;
use crate::accounts::hash::{self, PasswordHash};
use crate::files;
use crate::hub::Settings;
use crate::limits::{CONFIG_FILE_BYTES_MAX, Limits};
use crate::logging::Level;

mod database;
mod doubts;
mod hosts;
mod ini;
mod keys;
mod listen;
pub mod memory;
mod modules;
mod program;
mod report;
mod web;

use doubts::{Written, doubt_about_root, doubts};
pub(crate) use hosts::is_own;
pub use hosts::{Authority, Host, KnownHost};
use ini::{Content, Fault, Tail};
use keys::{KEYS, SECTIONS, Values};
pub use listen::{Listen, Place};
pub use modules::Module;
pub(crate) use modules::{WORKER, in_path, is_executable};
pub use report::key_tables;
pub use web::{Tls, Web};
pub(crate) use web::{is_authority, origin};

/// Where a configuration is looked for when `--config` names none.
pub const LOOKED_FOR: [&str; 2] = ["palabre.conf", "/etc/palabre.conf"];

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--listen`; replaces the file's addresses when there is one.
    pub listen: Vec<Place>,
    /// `--log-level`; replaces the file's.
    pub log_level: Option<Level>,
    /// Where `palabre.conf` is looked for, and what a relative `--config` is relative to. The
    /// paths in the file are relative to the file.
    pub directory: PathBuf,
}

/// Everything the server is told before it starts.
#[derive(Clone)]
pub struct Config {
    /// The file it was read from, as an absolute path; `None` for the built-in defaults.
    pub source: Option<PathBuf>,
    /// Where a configuration was looked for.
    pub directory: PathBuf,
    /// What is listened on, each address once, never empty.
    pub listen: Vec<Listen>,
    /// `[crossdomain] policyport`; port 0 takes a free one.
    pub policy_port: Option<u16>,
    /// `[daemon] pidfile`, absolute.
    pub pid_file: Option<PathBuf>,
    /// `[logging] loglevel`.
    pub log_level: Level,
    /// `[logging] logfile`, absolute; `None` logs to the console.
    pub log_file: Option<PathBuf>,
    /// The plugins to run.
    pub modules: Vec<Module>,
    /// What the hub lives by. Its `policy_ports` holds the ports as they are configured; who
    /// binds port 0 fills in [`policy_ports`] of what it got.
    pub settings: Settings,
    /// Who may log in, and what the worker has to know for it.
    pub accounts: accounts::Settings,
    /// What the listener takes, and from whom.
    pub web: Web,
    /// What the operator should know: accepted, but not done.
    pub warnings: Vec<String>,
    /// The file as it was named, for what is told of its lines.
    file: PathBuf,
    values: Values,
    origins: Vec<Origin>,
    module_sections: BTreeMap<String, modules::Section>,
}

impl Default for Config {
    fn default() -> Self {
        let values = Values { ip: vec![Place::LOOPBACK], ..Values::default() };
        Self::assemble(None, values, vec![Origin::Default; KEYS.len()], Vec::new(), Vec::new())
    }
}

/// The root password stays out of it.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("source", &self.source)
            .field("listen", &self.listen)
            .field("values", &self.values)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The addresses of the policy port: those of [`Config::listen`], each once, with that port.
    #[must_use]
    pub fn policy_listen(&self) -> Vec<Listen> {
        let mut addresses: Vec<Listen> = Vec::new();
        for listen in &self.listen {
            let Some(port) = self.policy_port else { break };
            let address = SocketAddr::new(listen.address.ip(), port);
            if addresses.iter().all(|known| known.address != address) {
                addresses.push(Listen { address, optional: listen.optional });
            }
        }
        addresses
    }

    /// What keeps a database from being asked safely: it is to tell who may log in, and no more. It
    /// is looked for by whoever starts a server; the worker opens what can be opened for reading
    /// alone.
    #[must_use]
    pub fn request_fault(&self) -> Option<String> {
        self.accounts.database.as_ref()?;
        if database::is_one_select(&self.values.db_request) {
            return None;
        }
        let needs = "one SELECT, which has a row when the login is allowed and changes nothing";
        Some(self.request_problem("a request that is no SELECT, or more than one", needs))
    }

    /// What is told when the database has a row for a nick and a password that nobody has.
    #[must_use]
    pub fn open_request(&self) -> String {
        let found = "a request that has a row for a nick and a password that nobody has, so that \
                     everybody gets in";
        let needs = "one that has a row for the right ones alone, such as SELECT 1 FROM people \
                     WHERE nick = [LOGIN] AND password = [PASSWORD]; count(*), EXISTS, OR and LEFT \
                     JOIN give a row to everybody";
        self.request_problem(found, needs)
    }

    fn request_problem(&self, found: &str, needs: &str) -> String {
        let problem = Problem {
            file: self.file.clone(),
            line: self.line_of("database", "dbRequest"),
            section: "database".to_owned(),
            key: "dbRequest".to_owned(),
            found: found.to_owned(),
            needs: needs.to_owned(),
            nearest: None,
        };
        problem.to_string()
    }

    fn line_of(&self, section: &str, key: &str) -> usize {
        match self.origins[keys::index(section, key)] {
            Origin::Line(line) => line,
            Origin::Default | Origin::Argument(_) | Origin::Follows(_) => 0,
        }
    }

    /// The plugins that can't be run, each as file, line, key, what was found and what would be
    /// right. It is looked for by whoever starts them, not by the worker or at a reload.
    #[must_use]
    pub fn module_faults(&self) -> Vec<String> {
        let faults = self.modules.iter().filter_map(|module| Some((module, module.check().err()?)));
        let faults = faults.map(|(module, (found, needs))| {
            let command =
                self.module_sections.get(&module.name).and_then(modules::Section::command);
            let (line, section, key) = match command {
                Some(line) => (line, format!("module {}", module.name), "command"),
                None => {
                    let line = self.line_of("modules", "list");
                    (line, "modules".to_owned(), "list")
                }
            };
            let file = self.file.clone();
            let (key, nearest) = (key.to_owned(), None);
            Problem { file, line, section, key, found, needs, nearest }.to_string()
        });
        faults.collect()
    }

    /// Whether it was looked for, and is found here without being named.
    #[must_use]
    pub fn was_looked_for(&self) -> bool {
        LOOKED_FOR.iter().any(|path| self.file == Path::new(path))
    }

    /// Whether everybody's connections are taken because the file names no address.
    #[must_use]
    pub fn listens_to_all_unasked(&self) -> bool {
        self.source.is_some() && self.values.ip.is_empty()
    }

    /// What the file holds that is not for everybody on this host, when everybody can read it, and
    /// what keeps it from them.
    #[must_use]
    pub fn open_secrets(&self) -> Option<String> {
        let mut secrets = Vec::new();
        let root = &self.values.root_password.0;
        if !root.is_empty() && self.accounts.root.is_none() {
            secrets.push("[admin] password".to_owned());
        }
        if !self.values.db_password.0.is_empty() {
            secrets.push("[database] dbPassword".to_owned());
        }
        let sections = self.module_sections.iter().filter(|(_, section)| section.has_secret());
        secrets.extend(sections.map(|(name, _)| format!("[module {name}] environment")));
        let source = self.source.as_ref().filter(|path| is_open_to_all(path))?;
        if secrets.is_empty() {
            return None;
        }
        Some(format!(
            "{}: everybody on this host can read {}: chmod o= keeps it from them",
            source.display(),
            secrets.join(" and ")
        ))
    }

    /// The keys that differ from `running` and only count at the next start, for the log.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let mut names = Vec::new();
        if self.listen != running.listen {
            names.push("[daemon] ip and port");
        }
        if self.pid_file != running.pid_file {
            names.push("[daemon] pidfile");
        }
        if self.modules != running.modules {
            names.push("[modules] and [module …]");
        }
        if self.policy_port != running.policy_port {
            names.push("[crossdomain] policyport");
        }
        names
    }

    fn assemble(
        source: Option<PathBuf>,
        values: Values,
        origins: Vec<Origin>,
        warnings: Vec<String>,
        modules: Vec<Module>,
    ) -> Self {
        let listen = resolve(&values);
        let ports: Vec<SocketAddr> = listen.iter().map(|listen| listen.address).collect();
        let accounts = accounts_of(&values);
        let password = &values.root_password.0;
        let settings = Settings {
            limits: values.limits.clone(),
            root_password: Some(password.clone()).filter(|password| !password.is_empty()),
            root_password_hashed: password.starts_with(hash::PREFIX),
            logins_checked: accounts.asks_logins() || wants_logins_checked(&values, &origins),
            trusted_proxies: values.trusted_proxies.clone(),
            domains: values.domains.clone(),
            policy_ports: policy_ports(&ports),
            relay_names: values.relay_names,
            lookalikes: values.lookalikes,
            full_roster_members: values.full_roster,
        };
        Self {
            source,
            directory: PathBuf::new(),
            listen,
            policy_port: values.policy_port,
            pid_file: values.pid_file.clone(),
            log_level: values.log_level,
            log_file: values.log_file.clone(),
            settings,
            accounts,
            web: web(&values),
            modules,
            warnings,
            file: PathBuf::new(),
            values,
            origins,
            module_sections: BTreeMap::new(),
        }
    }
}

/// Whether somebody who is neither the owner nor in its group may read a file, or change it. One
/// that can't be looked at is read by nobody who could be told of it.
fn is_open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o006 != 0)
}

impl Default for Web {
    fn default() -> Self {
        web(&Values::default())
    }
}

/// Whether the file says, by a key that it has, that not everybody may log in.
fn wants_logins_checked(values: &Values, origins: &[Origin]) -> bool {
    let writes = |section, key| matches!(origins[keys::index(section, key)], Origin::Line(_));
    values.check_password && writes("database", "checkpassword")
        || !values.guests && writes("accounts", "guests")
}

/// What the cross-checks have found to be in order.
fn accounts_of(values: &Values) -> accounts::Settings {
    accounts::Settings {
        file: values.accounts_file.clone(),
        guests: values.guests,
        lookalikes: values.lookalikes,
        database: database::read(values).ok().flatten(),
        root: PasswordHash::parse(&values.root_password.0).ok(),
    }
}

fn web(values: &Values) -> Web {
    let files = values.certificate.clone().zip(values.key.clone());
    Web {
        stanzas: values.stanzas,
        http: values.http,
        websocket: values.websocket,
        page: values.page,
        hosts: values.web_hosts.clone(),
        origins: values.web_origins.clone(),
        metrics: values.metrics.clone(),
        trusted_proxies: values.trusted_proxies.clone(),
        tls: files.map(|(certificate, key)| Tls {
            certificate,
            key,
            required: values.tls_required,
        }),
    }
}

/// The `to-ports` of a policy: the distinct ports of `addresses`, comma-separated, in their order.
#[must_use]
pub fn policy_ports(addresses: &[SocketAddr]) -> String {
    let mut ports: Vec<String> = Vec::new();
    for address in addresses {
        let port = address.port().to_string();
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports.join(",")
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum Error {
    /// The file can't be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something in the file is wrong.
    Invalid {
        /// Everything that is wrong, in the order of the lines.
        problems: Vec<Problem>,
        /// The file, as an absolute path.
        source: PathBuf,
        /// `[daemon] pidfile`, so that a server can be stopped by a file with errors elsewhere.
        pid_file: Option<PathBuf>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "can't read the configuration {}: {source}", path.display())
            }
            Self::Invalid { problems, .. } => {
                for (index, problem) in problems.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

/// One thing that is wrong in a file. No password is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The section; empty before the first one.
    pub section: String,
    /// The key; empty when the line has none.
    pub key: String,
    /// What was found.
    pub found: String,
    /// What would be right.
    pub needs: String,
    /// The nearest known name, for an unknown one.
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.section.is_empty() {
            write!(f, "[{}] ", self.section.escape_debug())?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key.escape_debug())?;
        }
        write!(f, "found {}, needs {}", self.found, self.needs)?;
        self.nearest.as_ref().map_or(Ok(()), |name| write!(f, "; the nearest name is {name}"))
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    /// A line of the file.
    Line(usize),
    /// An argument.
    Argument(&'static str),
    /// Adapted to another key that the file sets.
    Follows(&'static str),
}

/// Reads the configuration: the file that `--config` names, else `palabre.conf` here, else
/// `/etc/palabre.conf`, else the built-in defaults; then the arguments over it.
///
/// # Errors
/// [`Error::Unreadable`] for a file that is there or was named and can't be read,
/// [`Error::Invalid`] with everything that is wrong in it.
pub fn load(arguments: &Arguments) -> Result<Config, Error> {
    let Some((path, text)) = find(arguments)? else {
        let mut values = Values { ip: vec![Place::LOOPBACK], ..Values::default() };
        let mut origins = vec![Origin::Default; KEYS.len()];
        override_by(arguments, &mut values, &mut origins);
        return Ok(Config::assemble(None, values, origins, Vec::new(), Vec::new()));
    };
    let source = arguments.directory.join(&path);
    let mut draft = Draft::new(path, source.clone());
    draft.read(&text);
    // Paths in a file are the file's, wherever the process stands.
    let directory = source.parent().unwrap_or(Path::new("/"));
    make_absolute(&mut draft.values, directory);
    override_by(arguments, &mut draft.values, &mut draft.origins);
    draft.cross_check();
    draft.find_modules(directory);
    if !draft.problems.is_empty() {
        draft.problems.sort_by_key(|problem| problem.line);
        let (problems, pid_file) = (draft.problems, draft.values.pid_file);
        return Err(Error::Invalid { problems, source, pid_file });
    }
    draft.warn();
    let Draft { file, values, origins, warnings, modules, module_sections, .. } = draft;
    let directory = arguments.directory.clone();
    let config = Config::assemble(Some(source), values, origins, warnings, modules);
    Ok(Config { directory, file, module_sections, ..config })
}

fn find(arguments: &Arguments) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
    let read =
        |path: &Path| files::read_or_pipe(&arguments.directory.join(path), CONFIG_FILE_BYTES_MAX);
    if let Some(path) = &arguments.file {
        let text = read(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
        return Ok(Some((path.clone(), text)));
    }
    for path in LOOKED_FOR.map(PathBuf::from) {
        match read(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Unreadable { path, source }),
        }
    }
    Ok(None)
}

/// Later the process may stand in another directory.
fn make_absolute(values: &mut Values, directory: &Path) {
    let paths = [
        &mut values.pid_file,
        &mut values.log_file,
        &mut values.accounts_file,
        &mut values.certificate,
        &mut values.key,
    ];
    for path in paths.into_iter().flatten() {
        *path = directory.join(&path);
    }
    database::make_absolute(values, directory);
}

fn override_by(arguments: &Arguments, values: &mut Values, origins: &mut [Origin]) {
    if !arguments.listen.is_empty() {
        values.ip.clone_from(&arguments.listen);
        origins[keys::index("daemon", "ip")] = Origin::Argument("--listen");
    }
    if let Some(level) = arguments.log_level {
        values.log_level = level;
        origins[keys::index("logging", "loglevel")] = Origin::Argument("--log-level");
    }
}

/// The addresses that `ip` and `port` stand for, each once. What all addresses of a kind have among
/// them is not asked for again.
fn resolve(values: &Values) -> Vec<Listen> {
    let all = [Place::ALL];
    let places = if values.ip.is_empty() { &all[..] } else { &values.ip };
    let mut addresses: Vec<Listen> = Vec::new();
    for listen in places.iter().flat_map(|place| place.resolve(values.port)) {
        // Port 0 is another one each time.
        let same = |known: &Listen| known.address == listen.address && listen.address.port() != 0;
        match addresses.iter_mut().find(|known| same(known)) {
            Some(known) => known.optional &= listen.optional,
            None => addresses.push(listen),
        }
    }
    let all = addresses.clone();
    addresses.retain(|one| !all.iter().any(|known| known.covers(one)));
    addresses
}

/// A file that is being read.
struct Draft {
    /// As it was named.
    file: PathBuf,
    /// The same from the root on.
    source: PathBuf,
    values: Values,
    origins: Vec<Origin>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    /// `[module NAME]`, by name.
    module_sections: BTreeMap<String, modules::Section>,
    modules: Vec<Module>,
}

impl Draft {
    fn new(file: PathBuf, source: PathBuf) -> Self {
        Self {
            source,
            file,
            values: Values::default(),
            origins: vec![Origin::Default; KEYS.len()],
            problems: Vec::new(),
            warnings: Vec::new(),
            module_sections: BTreeMap::new(),
            modules: Vec::new(),
        }
    }

    fn read(&mut self, text: &[u8]) {
        let mut section = String::new();
        let mut known = true;
        for item in ini::read(text) {
            let problem = self.problem(item.line, &section, "");
            match item.content {
                Content::Section(name) => {
                    known = self.enter(&name, item.line);
                    section = name;
                }
                // An unknown section has been told; its keys would only be noise.
                Content::Entry { .. } | Content::Fault(_) if !known => {}
                Content::Entry { key, .. } if section.is_empty() => self.problems.push(Problem {
                    found: "a key before the first section".to_owned(),
                    needs: "a line \"[section]\" above it".to_owned(),
                    nearest: elsewhere(&key),
                    key,
                    ..problem
                }),
                Content::Entry { key, value, tail } => {
                    self.entry(&section, key, &value, &tail, item.line);
                }
                Content::Fault(fault) => {
                    let (found, needs) = fault.found_and_needed();
                    let key = known_key_of(&fault);
                    self.problems.push(Problem { key, found, needs: needs.to_owned(), ..problem });
                }
            }
        }
    }

    /// Whether the section is a known one.
    fn enter(&mut self, name: &str, line: usize) -> bool {
        if SECTIONS.iter().any(|section| section.eq_ignore_ascii_case(name)) {
            return true;
        }
        if let Some(module) = modules::named(name) {
            let section = modules::Section::at(line);
            self.module_sections.entry(module.to_owned()).or_insert(section);
            return true;
        }
        let nearest = nearest(name, SECTIONS.iter().copied()).map(|section| format!("[{section}]"));
        let problem = self.problem(line, name, "");
        self.problems.push(Problem {
            found: "an unknown section".to_owned(),
            needs: format!("one of [{}], [module NAME]", SECTIONS.join("], [")),
            nearest,
            ..problem
        });
        false
    }

    fn entry(&mut self, section: &str, name: String, value: &str, tail: &Tail, line: usize) {
        let problem = self.problem(line, section, &name);
        if let Some(module) = modules::named(section) {
            let written =
                if modules::is_of_words(&name) { Written::AsWords } else { Written::Exactly };
            self.doubt(written, value, tail, &problem);
            return self.module_entry(module, &name, value, problem);
        }
        let Some(index) = keys::find(section, &name) else {
            self.problems.push(unknown_key(problem));
            return;
        };
        if let Origin::Line(first) = self.origins[index] {
            self.problems.push(Problem {
                found: "the key a second time".to_owned(),
                needs: format!("it once; the first is in line {first}"),
                ..problem
            });
            return;
        }
        self.origins[index] = Origin::Line(line);
        self.doubt(KEYS[index].kind.written(), value, tail, &problem);
        if let Err(refused) = KEYS[index].kind.read(&mut self.values, value) {
            self.problems.push(Problem { found: refused.found, needs: refused.needs, ..problem });
        }
    }

    /// Warns of a value that may be meant otherwise.
    fn doubt(&mut self, written: Written, value: &str, tail: &Tail, at: &Problem) {
        let Problem { file, line, section, key, .. } = at;
        let place = format!("{}:{line}: [{section}] {key}", file.display());
        let told = doubts(written, value, tail).into_iter();
        self.warnings.extend(told.map(|doubt| format!("{place}: {doubt}")));
    }

    /// A line of a `[module NAME]` section.
    fn module_entry(&mut self, module: &str, name: &str, value: &str, problem: Problem) {
        if !modules::key_names().iter().any(|key| key.eq_ignore_ascii_case(name)) {
            let nearest = nearest(name, modules::key_names().into_iter()).map(str::to_owned);
            self.problems.push(Problem {
                found: "an unknown key".to_owned(),
                needs: format!("one of {}", modules::key_names().join(", ")),
                nearest,
                ..problem
            });
            return;
        }
        let value = ini::unescape(value).unwrap_or_else(|_| value.into());
        let Some(section) = self.module_sections.get_mut(module) else { return };
        match section.read(name, &value, problem.line) {
            Ok(None) => {}
            Ok(Some(first)) => self.problems.push(Problem {
                found: "the key a second time".to_owned(),
                needs: format!("it once; the first is in line {first}"),
                ..problem
            }),
            Err(refused) => self.problems.push(Problem {
                found: refused.found,
                needs: refused.needs,
                ..problem
            }),
        }
    }

    /// Finds the programs of `[modules] list`.
    fn find_modules(&mut self, directory: &Path) {
        let none = modules::Section::default();
        for name in &self.values.modules {
            let section = self.module_sections.get(name).unwrap_or(&none);
            match section.module(name, &self.values.module_path, directory) {
                Ok(module) => self.modules.push(module),
                Err(refused) => {
                    let line = self.line_of("modules", "list");
                    let problem = self.problem(line, "modules", "list");
                    let (found, needs) = (refused.found, refused.needs);
                    self.problems.push(Problem { found, needs, ..problem });
                }
            }
        }
        for (name, section) in &self.module_sections {
            if !self.values.modules.contains(name) {
                self.warnings.push(format!(
                    "{}:{}: [module {name}]: [modules] list does not name it, so it is not run",
                    self.file.display(),
                    section.line
                ));
            }
        }
    }

    fn problem(&self, line: usize, section: &str, key: &str) -> Problem {
        Problem {
            file: self.file.clone(),
            line,
            section: section.to_owned(),
            key: key.to_owned(),
            found: String::new(),
            needs: String::new(),
            nearest: None,
        }
    }

    /// What is wrong only in company. A limit that the file does not set follows those it sets.
    fn cross_check(&mut self) {
        let Limits { stanza_bytes_max: stanza, backlog_bytes_max: backlog, .. } =
            self.values.limits;
        if backlog < stanza && !self.follow("limits", "backlog", "stanzabytes") {
            self.wrong("limits", "backlog", backlog, format!("at least stanzabytes, {stanza}"));
        }
        let limits = &mut self.values.limits;
        limits.backlog_bytes_max = limits.backlog_bytes_max.max(stanza);
        let backlog = limits.backlog_bytes_max;
        let soft = limits.backlog_soft_bytes_max;
        if soft > backlog && !self.follow("limits", "backlogsoft", "backlog") {
            self.wrong("limits", "backlogsoft", soft, format!("at most backlog, {backlog}"));
        }
        let limits = &mut self.values.limits;
        limits.backlog_soft_bytes_max = soft.min(backlog);
        let total = limits.backlog_total_bytes_max;
        if total < backlog && !self.follow("limits", "backlogtotal", "backlog") {
            self.wrong("limits", "backlogtotal", total, format!("at least backlog, {backlog}"));
        }
        self.values.limits.backlog_total_bytes_max = total.max(backlog);
        let (list, quarter) = (self.values.limits.list_bytes_max, backlog / 4);
        if list != quarter && !self.follow("limits", "listbytes", "backlog") && list > quarter {
            self.wrong(
                "limits",
                "listbytes",
                list,
                format!("at most a quarter of backlog, {quarter}"),
            );
        }
        if list > quarter || !matches!(self.origin("limits", "listbytes"), Origin::Line(_)) {
            self.values.limits.list_bytes_max = quarter;
        }

        let listen = resolve(&self.values);
        if let Some(port) = self.values.policy_port.filter(|port| *port != 0)
            && listen.iter().any(|listen| listen.address.port() == port)
        {
            let needs = "a port that nothing else uses, 843 for Flash; the main port answers policy requests too";
            self.wrong("crossdomain", "policyport", port, needs.to_owned());
        }
        self.cross_check_files();
        self.cross_check_accounts();
        self.cross_check_web();
    }

    /// What the server writes is none of the files that it reads.
    fn cross_check_files(&mut self) {
        let values = &self.values;
        let read = [
            ("the accounts file", values.accounts_file.as_deref()),
            ("the certificate", values.certificate.as_deref()),
            ("the key of the certificate", values.key.as_deref()),
            ("the configuration", Some(self.source.as_path())),
        ];
        let (log, pid) = (values.log_file.clone(), values.pid_file.clone());
        let same = |path: &Option<PathBuf>| {
            let path = path.as_deref()?;
            let (what, _) = read.iter().find(|(_, other)| *other == Some(path))?;
            Some(format!("{:?}, {what}", path.display()))
        };
        let (log_found, pid_found) = (same(&log), same(&pid));
        let is_pid = log.is_some() && log == pid;
        let log_found = log_found.or_else(|| {
            let log = log.as_deref().filter(|_| is_pid)?;
            Some(format!("{:?}, the pid file", log.display()))
        });
        for (section, key, found) in
            [("logging", "logfile", log_found), ("daemon", "pidfile", pid_found)]
        {
            if let Some(found) = found {
                self.wrong(section, key, found, "another file".to_owned());
            }
        }
    }

    /// Who may log in must be possible to find out.
    fn cross_check_accounts(&mut self) {
        let password = &self.values.root_password.0;
        if password.starts_with(hash::PREFIX)
            && let Err(error) = PasswordHash::parse(password)
        {
            self.wrong("admin", "password", "a value", error.to_string());
        }
        match database::read(&self.values) {
            Ok(Some(_)) if self.values.guests => {
                let needs = "no, or no [database]: a database can't tell which nicks are free";
                self.wrong("accounts", "guests", "yes, with a database", needs.to_owned());
            }
            Ok(_) => {}
            Err(faults) => {
                for fault in faults {
                    self.wrong("database", fault.key, fault.found, fault.needs);
                }
            }
        }
        self.cross_check_who_checks();
    }

    /// A file that says that logins are checked needs somebody to check them: the old server let
    /// nobody in then. Whether a plugin does it is seen when it has registered.
    fn cross_check_who_checks(&mut self) {
        let values = &self.values;
        // A line without the name of its file has been told.
        let checked = self.line_of("accounts", "file") != 0
            || values.use_database && values.check_password
            || !values.modules.is_empty();
        let is_right =
            |key: &str| self.problems.iter().all(|problem| !problem.key.eq_ignore_ascii_case(key));
        let says_so = values.check_password
            && self.line_of("database", "checkpassword") != 0
            && is_right("checkpassword");
        let no_guests =
            !values.guests && self.line_of("accounts", "guests") != 0 && is_right("guests");
        if says_so && !checked {
            let needs = "false, which lets everybody in, or what checks logins: [accounts] file, \
                         usedatabase = true, or a plugin in [modules] list that does";
            let found = "true, and nothing that checks a login";
            self.wrong("database", "checkpassword", found, needs.to_owned());
        }
        if no_guests && !checked {
            let needs = "yes, which lets everybody in, or [accounts] file as well: palabre passwd \
                         add NICK makes it";
            self.wrong("accounts", "guests", "no, without accounts", needs.to_owned());
        }
    }

    /// What is offered must be possible by itself and lead somewhere.
    fn cross_check_web(&mut self) {
        if !self.values.http && self.values.websocket {
            if !self.follow("web", "websocket", "http") {
                let needs = "http = true as well: a WebSocket begins as HTTP";
                self.wrong("web", "websocket", "true, with http = false", needs.to_owned());
            }
            self.values.websocket = false;
        }
        if !self.values.websocket && self.values.page {
            if !self.follow("web", "page", "websocket") {
                let needs =
                    "http = true and websocket = true as well: the page connects by WebSocket";
                self.wrong("web", "page", "true, with no WebSocket", needs.to_owned());
            }
            self.values.page = false;
        }
        if !self.values.stanzas && !self.values.websocket {
            let needs = "true, or [web] http and websocket: nobody could connect";
            self.wrong("daemon", "stanzas", "false, with no WebSocket", needs.to_owned());
        }
        match (&self.values.certificate, &self.values.key) {
            (Some(_), Some(_)) if cfg!(not(feature = "tls")) => {
                let needs = "a palabre with TLS in it: cargo build --release --features tls";
                self.wrong("tls", "certificate", "a certificate", needs.to_owned());
            }
            (Some(_), None) => {
                let needs = "[tls] key as well, the file with the certificate's private key";
                self.wrong("tls", "certificate", "a certificate without a key", needs.to_owned());
            }
            (None, Some(_)) => {
                let needs = "[tls] certificate as well, the file with the certificate of this key";
                self.wrong("tls", "key", "a key without a certificate", needs.to_owned());
            }
            (None, None) if self.values.tls_required => {
                let needs = "[tls] certificate and key as well";
                self.wrong("tls", "required", "true, without a certificate", needs.to_owned());
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// Whether a key is not in the file and may be adapted to `to`.
    fn follow(&mut self, section: &str, key: &str, to: &'static str) -> bool {
        let origin = &mut self.origins[keys::index(section, key)];
        let free = !matches!(origin, Origin::Line(_));
        if free {
            *origin = Origin::Follows(to);
        }
        free
    }

    fn origin(&self, section: &str, key: &str) -> &Origin {
        &self.origins[keys::index(section, key)]
    }

    fn wrong(&mut self, section: &str, key: &str, found: impl fmt::Display, needs: String) {
        let line = self.line_of(section, key);
        let problem = self.problem(line, section, key);
        self.problems.push(Problem { found: found.to_string(), needs, ..problem });
    }

    /// The line of a key that the file has.
    fn line_of(&self, section: &str, key: &str) -> usize {
        match self.origins[keys::index(section, key)] {
            Origin::Line(line) => line,
            Origin::Default | Origin::Argument(_) | Origin::Follows(_) => 0,
        }
    }

    /// Names what is accepted and not done.
    fn warn(&mut self) {
        let mut told = Vec::new();
        if self.values.use_database && !self.values.check_password {
            let line = self.line_of("database", "usedatabase");
            let text = "[database] usedatabase: nothing asks it while checkpassword is false";
            told.push((line, text.to_owned()));
        }
        if let Some(doubt) = doubt_about_root(&self.values.root_password.0) {
            told.push((self.line_of("admin", "password"), format!("[admin] password: {doubt}")));
        }
        // Whoever writes a request means it to be asked.
        let is_silent = |key| self.line_of("database", key) == 0;
        let line = self.line_of("database", "dbRequest");
        if line != 0
            && !self.values.db_request.is_empty()
            && is_silent("usedatabase")
            && is_silent("checkpassword")
        {
            let text = "[database] dbRequest: nothing asks it, and everybody may log in who may \
                        otherwise, without usedatabase = true and checkpassword = true";
            told.push((line, text.to_owned()));
        }
        let database = database::read(&self.values).ok().flatten();
        if let Some(request) = database.map(|database| database.request) {
            let line = self.line_of("database", "dbRequest");
            let pattern = "[database] dbRequest: [LOGIN] is compared as a pattern, so the nick % \
                           is everybody's; = compares nicks";
            let comment = "[database] dbRequest: a part of it is a comment, which the database \
                           does not read: what stands there is not asked";
            told.extend(request.nick_is_pattern.then(|| (line, pattern.to_owned())));
            told.extend(request.has_comment.then(|| (line, comment.to_owned())));
        }
        let checks = self.values.accounts_file.is_some()
            || self.values.use_database && self.values.check_password;
        if checks && self.values.limits.attributes_max == 1 {
            let line = self.line_of("limits", "attributes");
            let text = "[limits] attributes: with 1 nobody can give a nickname and a password";
            told.push((line, text.to_owned()));
        }
        let Limits { stanza_bytes_max, nick_bytes_max, room_bytes_max, .. } = self.values.limits;
        // An empty element gets an end tag, and the names of sender and room escaped.
        let relayed = 2 * stanza_bytes_max + 6 * (nick_bytes_max + room_bytes_max) + 64;
        if self.values.limits.backlog_bytes_max < relayed {
            let line = self.line_of("limits", "backlog");
            told.push((line, format!(
                "[limits] backlog: below {relayed} bytes one large stanza can close those who receive it as slow readers"
            )));
        }
        let place = |line| format!("{}:{line}: ", self.file.display());
        let lines = told.into_iter().map(|(line, text)| match line {
            0 => format!("{}: {text}", self.file.display()),
            line => place(line) + &text,
        });
        self.warnings.extend(lines);
    }
}

/// The key that a faulty line seems to set; nothing that could be a part of a password.
fn known_key_of(fault: &Fault) -> String {
    match fault {
        Fault::NoEquals(word) | Fault::CommentForValue(word)
            if KEYS.iter().any(|key| key.name.eq_ignore_ascii_case(word)) =>
        {
            word.clone()
        }
        Fault::NoEquals(_)
        | Fault::CommentForValue(_)
        | Fault::NoKey
        | Fault::Header
        | Fault::Indented
        | Fault::NotUtf8
        | Fault::Control => String::new(),
    }
}

fn unknown_key(problem: Problem) -> Problem {
    let of_section = |key: &&keys::Key| key.section.eq_ignore_ascii_case(&problem.section);
    let names: Vec<&str> = KEYS.iter().filter(of_section).map(|key| key.name).collect();
    let nearest = nearest(&problem.key, names.iter().copied())
        .map(str::to_owned)
        .or_else(|| elsewhere(&problem.key));
    Problem {
        found: "an unknown key".to_owned(),
        needs: format!("one of {}", names.join(", ")),
        nearest,
        ..problem
    }
}

/// A key of this name, or nearly, in whichever section.
fn elsewhere(name: &str) -> Option<String> {
    let same = |key: &&keys::Key| key.name.eq_ignore_ascii_case(name);
    let key = KEYS.iter().find(same).or_else(|| {
        let near = nearest(name, KEYS.iter().map(|key| key.name))?;
        KEYS.iter().find(|key| key.name == near)
    })?;
    Some(format!("[{}] {}", key.section, key.name))
}

/// What is told of the candidate that may be meant behind a message that `name` is none of them;
/// nothing when none is near.
pub(crate) fn nearest_told<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|near| format!("; the nearest is {near}")).unwrap_or_default()
}

/// The candidate that is spelled nearly as `name`, if one is.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&name, &candidate.to_ascii_lowercase());
    let near = candidates
        .map(|candidate| (distance(candidate), candidate))
        .min_by_key(|(distance, _)| *distance);
    // One letter in three may be wrong: beyond that a proposal misleads.
    near.filter(|(distance, candidate)| *distance <= (name.len().max(candidate.len()) / 3).max(1))
        .map(|(_, candidate)| candidate)
}
