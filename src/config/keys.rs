//! The one table of sections and keys: it drives reading, `palabre check` and the manual.

use core::fmt;
use core::num::IntErrorKind;
use std::path::PathBuf;

use ipnet::IpNet;

use super::doubts::Written;
use super::hosts::KnownHost;
use super::ini;
use super::listen::Place;
use super::web;
use crate::hub::RelayNames;
use crate::limits::{FULL_ROSTER_MEMBERS, Limits};
use crate::logging::{Level, LevelError};
use crate::networks;
use crate::nick::Lookalikes;

/// What the file says, key by key.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) start_daemon: bool,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) ip: Vec<Place>,
    pub(super) port: u16,
    pub(super) stanzas: bool,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) log_level: Level,
    pub(super) log_file: Option<PathBuf>,
    pub(super) root_password: Secret,
    pub(super) accounts_file: Option<PathBuf>,
    pub(super) guests: bool,
    pub(super) domains: Vec<String>,
    pub(super) policy_port: Option<u16>,
    pub(super) use_database: bool,
    pub(super) check_password: bool,
    pub(super) db_type: String,
    pub(super) db_host: String,
    pub(super) db_user: String,
    pub(super) db_password: Secret,
    pub(super) db_database: String,
    pub(super) db_request: String,
    pub(super) modules: Vec<String>,
    pub(super) module_path: Vec<PathBuf>,
    pub(super) relay_names: RelayNames,
    pub(super) lookalikes: Lookalikes,
    pub(super) full_roster: usize,
    pub(super) http: bool,
    pub(super) websocket: bool,
    pub(super) page: bool,
    pub(super) web_hosts: Vec<KnownHost>,
    pub(super) web_origins: Vec<String>,
    pub(super) metrics: Vec<IpNet>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) tls_required: bool,
    pub(super) limits: Limits,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            start_daemon: false,
            pid_file: None,
            ip: Vec::new(),
            port: 2468,
            stanzas: true,
            trusted_proxies: Vec::new(),
            log_level: Level::Info,
            log_file: None,
            root_password: Secret::default(),
            accounts_file: None,
            guests: false,
            domains: Vec::new(),
            policy_port: None,
            use_database: false,
            // A database without this key is taken to be one that passwords are checked against.
            check_password: true,
            db_type: String::new(),
            db_host: String::new(),
            db_user: String::new(),
            db_password: Secret::default(),
            db_database: String::new(),
            db_request: String::new(),
            modules: Vec::new(),
            module_path: super::modules::PATH.map(PathBuf::from).to_vec(),
            relay_names: RelayNames::default(),
            lookalikes: Lookalikes::default(),
            full_roster: FULL_ROSTER_MEMBERS,
            http: true,
            websocket: true,
            page: true,
            web_hosts: Vec::new(),
            web_origins: Vec::new(),
            metrics: networks::loopback(),
            certificate: None,
            key: None,
            tls_required: false,
            limits: Limits::default(),
        }
    }
}

/// A value that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(empty)" } else { "Secret(not shown)" })
    }
}

/// One key of the file.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The unit, or what the value is.
    pub(super) unit: &'static str,
    /// What it does, in one line.
    pub(super) meaning: &'static str,
}

/// How a value is read, and where it goes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Flag(fn(&mut Values) -> &mut bool),
    Text(fn(&mut Values) -> &mut String),
    /// `[database] dbRequest`.
    Sql,
    Secret(fn(&mut Values) -> &mut Secret),
    /// Empty: none.
    Path(fn(&mut Values) -> &mut Option<PathBuf>),
    /// A file that closes something, so that an empty name of it would leave open what was meant to
    /// be closed; and what it is without such a line.
    ClosingPath(fn(&mut Values) -> &mut Option<PathBuf>, &'static str),
    /// `[daemon] ip`; empty: all.
    Places,
    /// `[daemon] port`; empty: the default.
    Port,
    /// `[crossdomain] policyport`; empty: none.
    PolicyPort,
    LogLevel,
    Domains,
    Modules,
    /// `[modules] path`.
    ModulePath,
    RelayNames,
    Lookalikes,
    /// Addresses and networks.
    Networks(fn(&mut Values) -> &mut Vec<IpNet>),
    /// `[web] hosts`.
    Hosts,
    /// `[web] origins`.
    Origins,
    /// A number of which 0 means what `meaning` says.
    Count(fn(&mut Values) -> &mut usize),
    /// A rate or a time; 0 lifts it.
    Rate(fn(&mut Values) -> &mut u64),
    /// `[limits] idletime`: at most [`IDLE_TIME_MAX_S`].
    IdleTime,
    /// A number of bytes, at least the one given.
    Bytes(fn(&mut Values) -> &mut usize, usize),
}

/// More than a count, a rate or a time can mean; sums and products of it stay within 64 bits.
const COUNT_MAX: u64 = u32::MAX as u64;

/// The longest silence before TCP keep-alive that Linux takes (`MAX_TCP_KEEPIDLE`).
const IDLE_TIME_MAX_S: u64 = 32_767;
/// A terabyte: more than any host has for a queue.
const BYTES_MAX: u64 = 1 << 40;
/// What the shortest useful login takes.
const STANZA_BYTES_MIN: usize = 64;

/// What was found, and what would be right.
pub(super) struct Refused {
    pub(super) found: String,
    pub(super) needs: String,
}

pub(super) fn refused(found: &str, needs: impl Into<String>) -> Refused {
    let found = if found.is_empty() { "nothing".to_owned() } else { format!("{found:?}") };
    Refused { found, needs: needs.into() }
}

impl Kind {
    /// Reads a value, as the file has it, into its place.
    pub(super) fn read(self, values: &mut Values, text: &str) -> Result<(), Refused> {
        let secret = matches!(self, Self::Secret(_));
        let text = ini::unescape(text).map_err(|percent| Refused {
            found: percent.to_string(),
            needs: "\"%%\" for a \"%\"".to_owned(),
        })?;
        if text.contains('\n') && !self.may_go_on() {
            return Err(Refused {
                found: "a value that goes on in an indented line".to_owned(),
                needs: "the value on one line, and no white space at the start of the next"
                    .to_owned(),
            });
        }
        self.read_plain(values, &text).map_err(|refused| {
            let found = if secret { "a value".to_owned() } else { refused.found };
            Refused { found, ..refused }
        })
    }

    fn read_plain(self, values: &mut Values, text: &str) -> Result<(), Refused> {
        match self {
            Self::Flag(at) => *at(values) = flag(text)?,
            Self::Text(at) => text.clone_into(at(values)),
            Self::Sql => text.clone_into(&mut values.db_request),
            Self::Secret(at) => text.clone_into(&mut at(values).0),
            Self::Path(at) => {
                *at(values) = Some(text).filter(|text| !text.is_empty()).map(PathBuf::from)
            }
            Self::ClosingPath(_, without) if text.is_empty() => {
                return Err(refused(text, format!("a path, or no such line, {without}")));
            }
            Self::ClosingPath(at, _) => *at(values) = Some(PathBuf::from(text)),
            Self::Places => values.ip = places(text)?,
            Self::Port => values.port = port(text)?.unwrap_or(2468),
            Self::PolicyPort => values.policy_port = port(text)?,
            Self::LogLevel => {
                values.log_level =
                    text.parse().map_err(|LevelError| refused(text, LevelError.to_string()))?;
            }
            Self::Domains => values.domains = words(text).map(domain).collect::<Result<_, _>>()?,
            Self::Modules => values.modules = modules(text)?,
            Self::ModulePath => {
                let paths = text.split(|c: char| c == ',' || c == ':' || c.is_whitespace());
                values.module_path =
                    paths.filter(|path| !path.is_empty()).map(PathBuf::from).collect();
            }
            Self::RelayNames => {
                values.relay_names = match text.to_ascii_lowercase().as_str() {
                    "safe" => RelayNames::Safe,
                    "any" => RelayNames::Any,
                    _ => return Err(refused(text, "safe or any")),
                };
            }
            Self::Lookalikes => {
                values.lookalikes = match text.to_ascii_lowercase().as_str() {
                    "refuse" => Lookalikes::Refuse,
                    "allow" => Lookalikes::Allow,
                    _ => return Err(refused(text, "refuse or allow")),
                };
            }
            Self::Networks(at) => {
                *at(values) = words(text).map(network).collect::<Result<_, _>>()?;
            }
            Self::Hosts => values.web_hosts = words(text).map(host).collect::<Result<_, _>>()?,
            Self::Origins => {
                values.web_origins = words(text).map(origin).collect::<Result<_, _>>()?;
            }
            Self::Count(at) => *at(values) = count(text, 0, COUNT_MAX)?,
            Self::Rate(at) => *at(values) = count(text, 0, COUNT_MAX)?,
            Self::IdleTime => values.limits.idle_time_s = count(text, 0, IDLE_TIME_MAX_S)?,
            Self::Bytes(at, min) => *at(values) = count(text, min as u64, BYTES_MAX)?,
        }
        Ok(())
    }

    /// How much of what people write can be told from what they mean.
    pub(super) const fn written(self) -> Written {
        match self {
            Self::Secret(_) => Written::Secretly,
            Self::Sql => Written::AsSql,
            Self::Text(_) | Self::Path(_) | Self::ClosingPath(..) | Self::ModulePath => {
                Written::Freely
            }
            Self::Flag(_)
            | Self::Places
            | Self::Port
            | Self::PolicyPort
            | Self::LogLevel
            | Self::Domains
            | Self::Modules
            | Self::RelayNames
            | Self::Lookalikes
            | Self::Networks(_)
            | Self::Hosts
            | Self::Origins
            | Self::Count(_)
            | Self::Rate(_)
            | Self::IdleTime
            | Self::Bytes(..) => Written::Exactly,
        }
    }

    /// Whether an empty value is none that a file could have.
    pub(super) const fn needs_a_value(self) -> bool {
        matches!(self, Self::ClosingPath(..))
    }

    /// Whether an indented line may continue the value.
    fn may_go_on(self) -> bool {
        matches!(
            self,
            Self::Text(_)
                | Self::Sql
                | Self::Domains
                | Self::Modules
                | Self::ModulePath
                | Self::Places
                | Self::Networks(_)
                | Self::Hosts
                | Self::Origins
        )
    }

    /// The value as the file could have it; `None` for a secret that is set.
    pub(super) fn show(self, values: &Values) -> Option<String> {
        // Cloned because the places are named by functions to mutable ones.
        let mut values = values.clone();
        let shown = match self {
            Self::Flag(at) => at(&mut values).to_string(),
            Self::Text(at) => at(&mut values).clone(),
            Self::Sql => values.db_request,
            Self::Secret(at) if at(&mut values).0.is_empty() => String::new(),
            Self::Secret(_) => return None,
            Self::Path(at) | Self::ClosingPath(at, _) => {
                at(&mut values).as_ref().map_or_else(String::new, |path| path.display().to_string())
            }
            Self::Places => values.ip.iter().map(Place::to_string).collect::<Vec<_>>().join(" "),
            Self::Port => values.port.to_string(),
            Self::PolicyPort => {
                values.policy_port.map_or_else(String::new, |port| port.to_string())
            }
            Self::LogLevel => values.log_level.to_string(),
            Self::Domains => values.domains.join(" "),
            Self::Modules => values.modules.join(","),
            Self::ModulePath => {
                let paths = values.module_path.iter().map(|path| path.display().to_string());
                paths.collect::<Vec<_>>().join(" ")
            }
            Self::RelayNames => match values.relay_names {
                RelayNames::Safe => "safe".to_owned(),
                RelayNames::Any => "any".to_owned(),
            },
            Self::Lookalikes => match values.lookalikes {
                Lookalikes::Refuse => "refuse".to_owned(),
                Lookalikes::Allow => "allow".to_owned(),
            },
            Self::Networks(at) => {
                at(&mut values).iter().map(networks::show).collect::<Vec<_>>().join(" ")
            }
            Self::Hosts => {
                let hosts = values.web_hosts.iter().map(KnownHost::to_string);
                hosts.collect::<Vec<_>>().join(" ")
            }
            Self::Origins => values.web_origins.join(" "),
            Self::Count(at) | Self::Bytes(at, _) => at(&mut values).to_string(),
            Self::Rate(at) => at(&mut values).to_string(),
            Self::IdleTime => values.limits.idle_time_s.to_string(),
        };
        Some(ini::escape(&shown))
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

pub(super) fn flag(text: &str) -> Result<bool, Refused> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(refused(text, "true or false")),
    }
}

fn places(text: &str) -> Result<Vec<Place>, Refused> {
    let mut places: Vec<Place> = Vec::new();
    for word in words(text) {
        let place = word.parse().map_err(|error: String| {
            let (found, needs) = error.split_once(", needs ").unwrap_or((word, "an address"));
            Refused {
                found: found.trim_start_matches("found ").to_owned(),
                needs: needs.to_owned(),
            }
        })?;
        if places.contains(&place) {
            return Err(refused(word, "each address once"));
        }
        places.push(place);
    }
    Ok(places)
}

fn port(text: &str) -> Result<Option<u16>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| refused(text, "a port from 0 (a free one) to 65535"))
}

fn domain(word: &str) -> Result<String, Refused> {
    if word.contains("://") {
        return Err(refused(word, "a domain without a scheme, such as example.org"));
    }
    if word.chars().all(|c| c.is_alphanumeric() || "-_.*:[]".contains(c)) {
        return Ok(word.to_owned());
    }
    Err(refused(word, "domains separated by blanks, such as example.org, *.example.org or *"))
}

fn modules(text: &str) -> Result<Vec<String>, Refused> {
    let mut modules: Vec<String> = Vec::new();
    for word in words(text) {
        if word == super::modules::WORKER {
            return Err(refused(word, "another name: this one is the server's own"));
        }
        if modules.iter().any(|known| known == word) {
            return Err(refused(word, "each module once"));
        }
        modules.push(module(word)?);
    }
    Ok(modules)
}

fn module(word: &str) -> Result<String, Refused> {
    if word.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        return Ok(word.to_owned());
    }
    Err(refused(word, "names of modules separated by commas"))
}

fn network(word: &str) -> Result<IpNet, Refused> {
    networks::parse(word).map_err(|needs| refused(word, needs))
}

fn host(word: &str) -> Result<KnownHost, Refused> {
    KnownHost::parse(word).map_err(|needs| refused(word, needs))
}

fn origin(word: &str) -> Result<String, Refused> {
    web::origin(word).map_err(|needs| refused(word, needs))
}

fn count<N: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<N, Refused> {
    let needs = if min == 0 {
        format!("a number from 0 to {max}, digits only")
    } else {
        format!("a number of bytes from {min} to {max}, digits only")
    };
    let number = match text.parse::<u64>() {
        Ok(number) if !text.starts_with('+') => number,
        Ok(_) => return Err(refused(text, needs)),
        Err(error) if *error.kind() == IntErrorKind::Empty => return Err(refused("", needs)),
        Err(_) => return Err(refused(text, needs)),
    };
    if number < min || number > max {
        return Err(refused(text, needs));
    }
    N::try_from(number).map_err(|_| refused(text, needs))
}

/// Every section, in the order in which they are shown.
pub(super) const SECTIONS: [&str; 11] = [
    "daemon",
    "logging",
    "admin",
    "accounts",
    "crossdomain",
    "database",
    "modules",
    "web",
    "tls",
    "rooms",
    "limits",
];

macro_rules! keys {
    ($($section:literal $name:literal $kind:expr, $unit:literal, $meaning:literal;)*) => {
        &[$(Key { section: $section, name: $name, kind: $kind, unit: $unit, meaning: $meaning },)*]
    };
}

/// Every key.
#[rustfmt::skip]
pub(super) static KEYS: &[Key] = keys![
    "daemon" "startdaemon" Kind::Flag(|v| &mut v.start_daemon), "true, false",
        "accepted for old files; the command decides: `start` detaches, `run` stays";
    "daemon" "pidfile" Kind::Path(|v| &mut v.pid_file), "path",
        "the file that names and locks the running server; empty: one of its own for each configuration, see manual: operating, 'Running it'";
    "daemon" "ip" Kind::Places, "addresses",
        "what to listen on, separated by blanks, each with a port of its own if need be; empty or `*`: all addresses";
    "daemon" "port" Kind::Port, "port",
        "the port of every address that has none of its own; 0: a free one";
    "daemon" "stanzas" Kind::Flag(|v| &mut v.stanzas), "true, false",
        "whether stanzas are taken as they are, without HTTP around them; false: browsers only";
    "daemon" "trustedproxies" Kind::Networks(|v| &mut v.trusted_proxies), "networks",
        "proxies whose word about a client's address counts (PROXY protocol, X-Forwarded-For), separated by blanks";
    "logging" "loglevel" Kind::LogLevel, "debug, info, warning, error, critical",
        "the least that is logged";
    "logging" "logfile" Kind::Path(|v| &mut v.log_file), "path",
        "the log, or a FIFO; empty: the console, and for `start` /var/log/palabre.log or one of the user's own";
    "admin" "password" Kind::Secret(|v| &mut v.root_password), "text",
        "the `rootpass` that makes a session root, or the hash of it that `palabre passwd hash` prints; empty: nobody becomes root";
    "accounts" "file" Kind::ClosingPath(|v| &mut v.accounts_file, "without which everybody may log in"), "path",
        "the accounts that may log in, as `palabre passwd` writes them; such a line needs a path";
    "accounts" "guests" Kind::Flag(|v| &mut v.guests), "true, false",
        "whether nicks without an account in the file may log in; no needs a file, or something else that checks logins";
    "crossdomain" "alloweddomains" Kind::Domains, "domains",
        "the domains whose Flash movies may connect, separated by blanks; `*` for all";
    "crossdomain" "policyport" Kind::PolicyPort, "port",
        "a port that answers policy requests and nothing else, 843 for Flash; empty: none; 0: a free one";
    "database" "usedatabase" Kind::Flag(|v| &mut v.use_database), "true, false",
        "whether there is a database";
    "database" "checkpassword" Kind::Flag(|v| &mut v.check_password), "true, false",
        "whether logins are checked in the database; false: it is not asked at all; true, where it is written, needs something that checks logins";
    "database" "dbType" Kind::Text(|v| &mut v.db_type), "sqlite, postgres, mysql",
        "what kind of database it is; the last two have to be built in";
    "database" "dbHost" Kind::Text(|v| &mut v.db_host), "host",
        "where it is, with `:PORT` behind it if need be; `/…` is a Unix socket (for postgres its directory); empty: localhost";
    "database" "dbUser" Kind::Text(|v| &mut v.db_user), "text",
        "the user of the database";
    "database" "dbPassword" Kind::Secret(|v| &mut v.db_password), "text",
        "the password of this user";
    "database" "dbDatabase" Kind::Text(|v| &mut v.db_database), "text",
        "the name of the database; for sqlite the file";
    "database" "dbRequest" Kind::Sql, "SQL",
        "a login is allowed when this has a row; `[LOGIN]` and `[PASSWORD]` are the client's";
    "modules" "list" Kind::Modules, "names",
        "the plugins to run, separated by commas; each may have a section `[module NAME]`";
    "modules" "path" Kind::ModulePath, "directories",
        "where their programs are looked for, separated by blanks; relative to this file";
    "web" "http" Kind::Flag(|v| &mut v.http), "true, false",
        "whether HTTP is taken at all; false: no WebSocket and no page either";
    "web" "websocket" Kind::Flag(|v| &mut v.websocket), "true, false",
        "whether WebSocket is taken; false: no page either";
    "web" "page" Kind::Flag(|v| &mut v.page), "true, false",
        "whether the chat page is served at `/`, and its script at `/palabre.js`";
    "web" "hosts" Kind::Hosts, "hosts",
        "names of this server, separated by blanks, besides its addresses, `localhost` and the names of its certificate: `chat.example.org *.example.org`; HTTP for any other is refused; `*` for any";
    "web" "origins" Kind::Origins, "origins",
        "where pages that may connect come from, besides this server: `https://example.org http://localhost:8000`; `*` for anywhere";
    "web" "metrics" Kind::Networks(|v| &mut v.metrics), "networks",
        "who may read `/metrics`, separated by blanks; empty: nobody";
    "tls" "certificate" Kind::ClosingPath(|v| &mut v.certificate, "without which there is no TLS"), "path",
        "a PEM file: the server's certificate, then its chain; without such a line: no TLS";
    "tls" "key" Kind::ClosingPath(|v| &mut v.key, "without which there is no TLS"), "path",
        "a PEM file: the private key of the certificate";
    "tls" "required" Kind::Flag(|v| &mut v.tls_required), "true, false",
        "whether nothing is taken without TLS";
    "rooms" "relaynames" Kind::RelayNames, "safe, any",
        "whether stanzas with the names of the server's own can be relayed: safe refuses them, any is as it was";
    "rooms" "lookalikes" Kind::Lookalikes, "refuse, allow",
        "whether a new nick or room may look like one that is there and be another, such as `Bob` with a Cyrillic `о`; refuse: it may not";
    "rooms" "fullroster" Kind::Count(|v| &mut v.full_roster), "members",
        "in a larger room only the joiner gets the whole client list; 0: only joiners ever do";
    "limits" "stanzabytes" Kind::Bytes(|v| &mut v.limits.stanza_bytes_max, STANZA_BYTES_MIN), "bytes",
        "a stanza; at least 64";
    "limits" "depth" Kind::Count(|v| &mut v.limits.depth_max), "levels",
        "nesting of a stanza; 0: no limit";
    "limits" "attributes" Kind::Count(|v| &mut v.limits.attributes_max), "attributes",
        "of one element; 0: no limit";
    "limits" "nickbytes" Kind::Bytes(|v| &mut v.limits.nick_bytes_max, 1), "bytes",
        "a nick";
    "limits" "roombytes" Kind::Bytes(|v| &mut v.limits.room_bytes_max, 1), "bytes",
        "a room's name";
    "limits" "params" Kind::Count(|v| &mut v.limits.params_max), "params",
        "of a client or a room; 0: no limit";
    "limits" "parambytes" Kind::Bytes(|v| &mut v.limits.param_bytes_max, 1), "bytes",
        "one param's value";
    "limits" "paramstotal" Kind::Bytes(|v| &mut v.limits.params_total_bytes_max, 1), "bytes",
        "of all params of all rooms and clients, and 96 more for each";
    "limits" "roomsperclient" Kind::Count(|v| &mut v.limits.rooms_per_client_max), "rooms",
        "that one client is in; 0: no limit";
    "limits" "rooms" Kind::Count(|v| &mut v.limits.rooms_max), "rooms",
        "in all; 0: no limit";
    "limits" "roomdepth" Kind::Count(|v| &mut v.limits.room_depth_max), "levels",
        "child rooms within child rooms; 0: no limit";
    "limits" "sessions" Kind::Count(|v| &mut v.limits.sessions_max), "sessions",
        "open at once, closing ones too; 0: what the descriptor limit allows";
    "limits" "sessionsperaddress" Kind::Count(|v| &mut v.limits.sessions_per_address_max), "sessions",
        "from one address, closing ones too, IPv6 by its /64, loopback exempt; 0: no limit";
    "limits" "logintime" Kind::Rate(|v| &mut v.limits.login_time_s), "seconds",
        "from accept to login; 0: no limit";
    "limits" "idletime" Kind::IdleTime, "seconds",
        "of silence before the server checks that the peer is there, at most 32767; 0: never";
    "limits" "stanzarate" Kind::Rate(|v| &mut v.limits.stanza_rate_per_s), "per second",
        "stanzas of one client; 0: no limit";
    "limits" "stanzaburst" Kind::Rate(|v| &mut v.limits.stanza_burst), "stanzas",
        "that may come at once before the rate counts; 0: no limit";
    "limits" "byterate" Kind::Rate(|v| &mut v.limits.byte_rate_per_s), "bytes a second",
        "of one client, what it has others told counting where that is more; beyond it the client is read later; 0: no limit";
    "limits" "byteburst" Kind::Rate(|v| &mut v.limits.byte_burst), "bytes",
        "that may come at once before the rate counts; 0: no limit";
    "limits" "failedlogins" Kind::Rate(|v| &mut v.limits.failed_logins_per_minute), "per minute",
        "failed authentications and wrong root passwords of one address, IPv6 by its /64; 0: no limit";
    "limits" "backlog" Kind::Bytes(|v| &mut v.limits.backlog_bytes_max, STANZA_BYTES_MIN), "bytes",
        "waiting for one slow reader; at least stanzabytes";
    "limits" "backlogsoft" Kind::Bytes(|v| &mut v.limits.backlog_soft_bytes_max, 1), "bytes",
        "waiting for one slow reader for 10 s; at most backlog";
    "limits" "backlogtotal" Kind::Bytes(|v| &mut v.limits.backlog_total_bytes_max, STANZA_BYTES_MIN), "bytes",
        "waiting for all readers; at least backlog";
    "limits" "listbytes" Kind::Bytes(|v| &mut v.limits.list_bytes_max, STANZA_BYTES_MIN), "bytes",
        "of one list: clients, child rooms, rooms; a longer one goes without params, or an error in its place; at most a quarter of backlog, which is the default";
    "limits" "listrate" Kind::Rate(|v| &mut v.limits.list_rate_per_s), "bytes a second",
        "of lists that one room has its members told, once for each, or that one client asks for; beyond it they come later; 0: no limit";
];

/// The index of a key, whatever its case.
pub(super) fn find(section: &str, name: &str) -> Option<usize> {
    let same = |key: &Key| {
        key.section.eq_ignore_ascii_case(section) && key.name.eq_ignore_ascii_case(name)
    };
    KEYS.iter().position(same)
}

/// The index of a key that exists.
///
/// # Panics
/// When it does not: the names in the source and the table disagree.
pub(super) fn index(section: &str, name: &str) -> usize {
    find(section, name).unwrap_or_else(|| unreachable!("[{section}] {name} stands in the table"))
}
