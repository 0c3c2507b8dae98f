//! File and arguments → [`Config`].
//!
//! The old server's INI file works as it is; `keys` has the keys of the sections of our own, and
//! `modules` those of a plugin's section.
//! Whatever is wrong is an error that names file, line and key, and all of a file's errors are
//! told at once. What the old server did and this one does not yet is a warning.

use core::fmt;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::accounts;
use crate::accounts::hash::{self, PasswordHash};
use crate::files;
use crate::hub::{RootPassword, Settings};
use crate::limits::CONFIG_FILE_BYTES_MAX;
use crate::logging::Level;
use crate::secret::Secret;

mod checks;
mod closing;
mod database;
mod doubts;
mod draft;
mod hosts;
mod ini;
mod keys;
mod listen;
pub mod memory;
mod modules;
mod origins;
mod problem;
mod program;
mod readers;
mod report;
mod rooms;
mod values;
mod web;

use draft::ConfigDraft;
pub(crate) use hosts::is_own;
pub use hosts::{Authority, Host, KnownHost};
pub use listen::{Listen, ListenPlace};
pub use modules::Module;
use origins::{Origin, Origins};
pub(crate) use problem::nearest_told;
pub use problem::{Error, Misfit, Problem};
pub(crate) use program::{in_path, is_executable};
pub use report::key_tables;
use values::Values;
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
    pub listen: Vec<ListenPlace>,
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
    pub accounts: accounts::LoginSettings,
    /// `[store] file`, absolute.
    pub store: Option<PathBuf>,
    /// What the listener takes, and from whom.
    pub web: Web,
    /// What the operator should know: accepted, but not done.
    pub warnings: Vec<String>,
    /// The file as it was named, for what is told of its lines.
    file: PathBuf,
    /// What it held, for the worker: the file may have changed by the time that it is started.
    text: Secret,
    values: Values,
    origins: Origins,
    module_sections: BTreeMap<String, modules::Section>,
    room_sections: BTreeMap<String, rooms::RoomSection>,
}

impl Default for Config {
    fn default() -> Self {
        let values = Values { ip: vec![ListenPlace::LOOPBACK], ..Values::default() };
        Self::assemble(None, values, Origins::default(), Vec::new(), Vec::new())
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
    /// What the file held when it was read.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.text.bytes()
    }

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
        let line = self.origins.line_of("database", "dbRequest");
        let misfit = Misfit::new(found, needs);
        Problem::at(&self.file, line, "database", "dbRequest", misfit).to_string()
    }

    /// The plugins that can't be run, each as file, line, key, what was found and what would be
    /// right. It is looked for by whoever starts them, not by the worker or at a reload.
    #[must_use]
    pub fn module_faults(&self) -> Vec<String> {
        let faults = self.modules.iter().filter_map(|module| Some((module, module.check().err()?)));
        let faults = faults.map(|(module, misfit)| {
            let command =
                self.module_sections.get(&module.name).and_then(modules::Section::command);
            let (line, section, key) = match command {
                Some(line) => (line, format!("module {}", module.name), "command"),
                None => {
                    let line = self.origins.line_of("modules", "list");
                    (line, "modules".to_owned(), "list")
                }
            };
            Problem::at(&self.file, line, &section, key, misfit).to_string()
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
        if matches!(self.settings.root_password, RootPassword::Clear(_)) {
            secrets.push("[admin] password".to_owned());
        }
        if !self.values.db_password.text().is_empty() {
            secrets.push("[database] dbPassword".to_owned());
        }
        let sections = self.module_sections.iter().filter(|(_, section)| section.has_secret());
        secrets.extend(sections.map(|(name, _)| format!("[module {name}] environment")));
        let rooms = self.room_sections.iter().filter(|(_, section)| section.has_secret());
        secrets.extend(rooms.map(|(name, _)| format!("[room {name}] password")));
        let source = self.source.as_ref().filter(|path| files::is_open_to_all(path))?;
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
        if self.store != running.store {
            names.push("[store] file");
        }
        if self.policy_port != running.policy_port {
            names.push("[crossdomain] policyport");
        }
        names
    }

    fn assemble(
        source: Option<PathBuf>,
        values: Values,
        origins: Origins,
        warnings: Vec<String>,
        modules: Vec<Module>,
    ) -> Self {
        let listen = values.listen();
        let ports: Vec<SocketAddr> = listen.iter().map(|listen| listen.address).collect();
        let accounts = accounts_of(&values);
        let root_password = match values.root_password.text() {
            hash if hash.starts_with(hash::PREFIX) => RootPassword::Hash,
            password => RootPassword::clear(password),
        };
        let settings = Settings {
            limits: values.limits.clone(),
            root_password,
            logins_checked: accounts.asks_logins()
                || closing::wants_logins_checked(&values, &origins),
            trusted_proxies: values.trusted_proxies.clone(),
            domains: values.domains.clone(),
            policy_ports: policy_ports(&ports),
            relay_names: values.relay_names,
            lookalikes: values.lookalikes,
            full_roster_members: values.full_roster,
            succession: values.succession,
            keep_right: values.keep_right,
            declared_rooms: Vec::new(),
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
            store: values.store_file.clone(),
            web: web(&values),
            modules,
            warnings,
            file: PathBuf::new(),
            text: Secret::default(),
            values,
            origins,
            module_sections: BTreeMap::new(),
            room_sections: BTreeMap::new(),
        }
    }
}

impl Default for Web {
    fn default() -> Self {
        web(&Values::default())
    }
}

/// What the cross-checks have found to be in order.
fn accounts_of(values: &Values) -> accounts::LoginSettings {
    accounts::LoginSettings {
        file: values.accounts_file.clone(),
        guests: values.guests,
        lookalikes: values.lookalikes,
        database: database::read(values).ok().flatten(),
        root: PasswordHash::parse(values.root_password.text()).ok(),
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

/// Reads the configuration: the file that `--config` names, else `palabre.conf` here, else
/// `/etc/palabre.conf`, else the built-in defaults; then the arguments over it.
///
/// # Errors
/// [`Error::Unreadable`] for a file that is there or was named and can't be read,
/// [`Error::Invalid`] with everything that is wrong in it.
pub fn load(arguments: &Arguments) -> Result<Config, Error> {
    let Some((path, text)) = find(arguments)? else {
        let mut values = Values { ip: vec![ListenPlace::LOOPBACK], ..Values::default() };
        let mut origins = Origins::default();
        override_by(arguments, &mut values, &mut origins);
        return Ok(Config::assemble(None, values, origins, Vec::new(), Vec::new()));
    };
    load_text(arguments, path, &text)
}

/// The same where the file has been read: this is its text, and by this path it was named.
///
/// # Errors
/// [`Error::Invalid`] with everything that is wrong in it.
pub fn load_text(arguments: &Arguments, path: PathBuf, text: &[u8]) -> Result<Config, Error> {
    let source = arguments.directory.join(&path);
    let mut draft = ConfigDraft::read(path, source.clone(), text);
    // Paths in a file are the file's, wherever the process stands.
    let directory = source.parent().unwrap_or(Path::new("/"));
    draft.make_absolute(directory);
    override_by(arguments, &mut draft.values, &mut draft.origins);
    draft.fill_in();
    draft.problems.extend(checks::problems(&draft));
    draft.find_modules(directory);
    draft.check_rooms();
    if !draft.problems.is_empty() {
        draft.problems.sort_by_key(|problem| problem.line);
        let (problems, pid_file) = (draft.problems, draft.values.pid_file);
        return Err(Error::Invalid { problems, source, pid_file });
    }
    draft.warnings.extend(checks::warnings(&draft));
    let ConfigDraft {
        file,
        values,
        origins,
        warnings,
        modules,
        module_sections,
        room_sections,
        ..
    } = draft;
    let directory = arguments.directory.clone();
    let mut config = Config::assemble(Some(source), values, origins, warnings, modules);
    config.settings.declared_rooms =
        room_sections.iter().map(|(name, section)| section.room(name)).collect();
    let text = Secret::written(text.len(), |buffer| buffer.extend_from_slice(text));
    let operators = room_sections.iter().find(|(_, section)| section.has_operators());
    if let Some((name, section)) = operators
        && !config.settings.logins_checked
        && config.modules.is_empty()
    {
        let line = section.line_of("operators");
        config.warnings.push(format!(
            "{}:{line}: [room {name}] operators: no nick is proven by a password ([accounts], \
             [database], a plugin), so nobody is operator by it",
            file.display()
        ));
    }
    Ok(Config { directory, file, text, module_sections, room_sections, ..config })
}

/// A file's path, as it was named or looked for, and what the file holds.
type Named = (PathBuf, Zeroizing<Vec<u8>>);

fn find(arguments: &Arguments) -> Result<Option<Named>, Error> {
    let read = |path: &Path| {
        let path = arguments.directory.join(path);
        files::read_or_pipe(&path, CONFIG_FILE_BYTES_MAX).map(Zeroizing::new)
    };
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

fn override_by(arguments: &Arguments, values: &mut Values, origins: &mut Origins) {
    if !arguments.listen.is_empty() {
        values.ip.clone_from(&arguments.listen);
        origins.set("daemon", "ip", Origin::Argument("--listen"));
    }
    if let Some(level) = arguments.log_level {
        values.log_level = level;
        origins.set("logging", "loglevel", Origin::Argument("--log-level"));
    }
}
