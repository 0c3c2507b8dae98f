//! The one table of sections and keys: it drives reading, `palabre check` and the manual.

use std::path::PathBuf;

use ipnet::IpNet;

use super::doubts::Written;
use super::hosts::KnownHost;
use super::ini;
use super::listen::ListenPlace;
use super::modules;
use super::problem::Misfit;
use super::readers::{count, domain, flag, host, network, origin, places, port, words};
use super::values::Values;
use crate::hub::{KeepRight, RelayNames, Succession};
use crate::logging::LevelError;
use crate::networks;
use crate::nick::Lookalikes;
use crate::secret::HiddenText;

/// One key of the file.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: KeyKind,
    /// The unit, or what the value is.
    pub(super) unit: &'static str,
    /// What it does, in one line.
    pub(super) meaning: &'static str,
}

/// How a value is read, and where it goes.
#[derive(Clone, Copy)]
pub(super) enum KeyKind {
    Flag(fn(&mut Values) -> &mut bool),
    Text(fn(&mut Values) -> &mut String),
    /// `[database] dbRequest`.
    Sql,
    Secret(fn(&mut Values) -> &mut HiddenText),
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
    Succession,
    KeepRight,
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

impl KeyKind {
    /// Reads a value, as the file has it, into its place.
    pub(super) fn read(self, values: &mut Values, text: &str) -> Result<(), Misfit> {
        let secret = matches!(self, Self::Secret(_));
        let text = ini::unescape(text)
            .map_err(|percent| Misfit::new(percent.to_string(), "\"%%\" for a \"%\""))?;
        if text.contains('\n') && !self.may_go_on() {
            return Err(Misfit::new(
                "a value that goes on in an indented line",
                "the value on one line, and no white space at the start of the next",
            ));
        }
        self.read_plain(values, &text).map_err(|misfit| {
            let found = if secret { "a value".to_owned() } else { misfit.found };
            Misfit { found, ..misfit }
        })
    }

    fn read_plain(self, values: &mut Values, text: &str) -> Result<(), Misfit> {
        match self {
            Self::Flag(at) => *at(values) = flag(text)?,
            Self::Text(at) => text.clone_into(at(values)),
            Self::Sql => text.clone_into(&mut values.db_request),
            Self::Secret(at) => *at(values) = HiddenText::new(text),
            Self::Path(at) => {
                *at(values) = Some(text).filter(|text| !text.is_empty()).map(PathBuf::from)
            }
            Self::ClosingPath(_, without) if text.is_empty() => {
                return Err(Misfit::of(text, format!("a path, or no such line, {without}")));
            }
            Self::ClosingPath(at, _) => *at(values) = Some(PathBuf::from(text)),
            Self::Places => values.ip = places(text)?,
            Self::Port => values.port = port(text)?.unwrap_or(2468),
            Self::PolicyPort => values.policy_port = port(text)?,
            Self::LogLevel => {
                values.log_level =
                    text.parse().map_err(|LevelError| Misfit::of(text, LevelError.to_string()))?;
            }
            Self::Domains => values.domains = words(text).map(domain).collect::<Result<_, _>>()?,
            Self::Modules => values.modules = modules::names(text)?,
            Self::ModulePath => {
                let paths = text.split(|c: char| c == ',' || c == ':' || c.is_whitespace());
                values.module_path =
                    paths.filter(|path| !path.is_empty()).map(PathBuf::from).collect();
            }
            Self::RelayNames => {
                values.relay_names = match text.to_ascii_lowercase().as_str() {
                    "safe" => RelayNames::Safe,
                    "any" => RelayNames::Any,
                    _ => return Err(Misfit::of(text, "safe or any")),
                };
            }
            Self::Lookalikes => {
                values.lookalikes = match text.to_ascii_lowercase().as_str() {
                    "refuse" => Lookalikes::Refuse,
                    "allow" => Lookalikes::Allow,
                    _ => return Err(Misfit::of(text, "refuse or allow")),
                };
            }
            Self::Succession => {
                values.succession = match text.to_ascii_lowercase().as_str() {
                    "oldest" => Succession::Oldest,
                    "none" => Succession::None,
                    _ => return Err(Misfit::of(text, "oldest or none")),
                };
            }
            Self::KeepRight => {
                values.keep_right = match text.to_ascii_lowercase().as_str() {
                    "root" => KeepRight::Root,
                    "accounts" => KeepRight::Accounts,
                    "operators" => KeepRight::Operators,
                    _ => return Err(Misfit::of(text, "root, accounts or operators")),
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
            | Self::Succession
            | Self::KeepRight
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
            Self::Secret(at) if at(&mut values).text().is_empty() => String::new(),
            Self::Secret(_) => return None,
            Self::Path(at) | Self::ClosingPath(at, _) => {
                at(&mut values).as_ref().map_or_else(String::new, |path| path.display().to_string())
            }
            Self::Places => {
                values.ip.iter().map(ListenPlace::to_string).collect::<Vec<_>>().join(" ")
            }
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
            Self::Succession => match values.succession {
                Succession::Oldest => "oldest".to_owned(),
                Succession::None => "none".to_owned(),
            },
            Self::KeepRight => match values.keep_right {
                KeepRight::Root => "root".to_owned(),
                KeepRight::Accounts => "accounts".to_owned(),
                KeepRight::Operators => "operators".to_owned(),
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

/// Every section, in the order in which they are shown.
pub(super) const SECTIONS: [&str; 12] = [
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
    "store",
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
    "daemon" "startdaemon" KeyKind::Flag(|v| &mut v.start_daemon), "true, false",
        "accepted for old files; the command decides: `start` detaches, `run` stays";
    "daemon" "pidfile" KeyKind::Path(|v| &mut v.pid_file), "path",
        "the file that names and locks the running server; empty: one of its own for each configuration, see manual: operating, 'Running it'";
    "daemon" "ip" KeyKind::Places, "addresses",
        "what to listen on, separated by blanks, each with a port of its own if need be; empty or `*`: all addresses";
    "daemon" "port" KeyKind::Port, "port",
        "the port of every address that has none of its own; 0: a free one";
    "daemon" "stanzas" KeyKind::Flag(|v| &mut v.stanzas), "true, false",
        "whether stanzas are taken as they are, without HTTP around them; false: browsers only";
    "daemon" "trustedproxies" KeyKind::Networks(|v| &mut v.trusted_proxies), "networks",
        "proxies whose word about a client's address counts (PROXY protocol, X-Forwarded-For), separated by blanks";
    "logging" "loglevel" KeyKind::LogLevel, "debug, info, warning, error, critical",
        "the least that is logged";
    "logging" "logfile" KeyKind::Path(|v| &mut v.log_file), "path",
        "the log, or a FIFO; empty: the console, and for `start` /var/log/palabre.log or one of the user's own";
    "admin" "password" KeyKind::Secret(|v| &mut v.root_password), "text",
        "the `rootpass` that makes a session root, or the hash of it that `palabre passwd hash` prints; empty: nobody becomes root";
    "accounts" "file" KeyKind::ClosingPath(|v| &mut v.accounts_file, "without which everybody may log in"), "path",
        "the accounts that may log in, as `palabre passwd` writes them; such a line needs a path";
    "accounts" "guests" KeyKind::Flag(|v| &mut v.guests), "true, false",
        "whether nicks without an account in the file may log in; no needs a file, or something else that checks logins";
    "crossdomain" "alloweddomains" KeyKind::Domains, "domains",
        "the domains whose Flash movies may connect, separated by blanks; `*` for all";
    "crossdomain" "policyport" KeyKind::PolicyPort, "port",
        "a port that answers policy requests and nothing else, 843 for Flash; empty: none; 0: a free one";
    "database" "usedatabase" KeyKind::Flag(|v| &mut v.use_database), "true, false",
        "whether there is a database";
    "database" "checkpassword" KeyKind::Flag(|v| &mut v.check_password), "true, false",
        "whether logins are checked in the database; false: it is not asked at all; true, where it is written, needs something that checks logins";
    "database" "dbType" KeyKind::Text(|v| &mut v.db_type), "sqlite, postgres, mysql",
        "what kind of database it is; the last two have to be built in";
    "database" "dbHost" KeyKind::Text(|v| &mut v.db_host), "host",
        "where it is, with `:PORT` behind it if need be; `/…` is a Unix socket (for postgres its directory); empty: localhost";
    "database" "dbUser" KeyKind::Text(|v| &mut v.db_user), "text",
        "the user of the database";
    "database" "dbPassword" KeyKind::Secret(|v| &mut v.db_password), "text",
        "the password of this user";
    "database" "dbDatabase" KeyKind::Text(|v| &mut v.db_database), "text",
        "the name of the database; for sqlite the file";
    "database" "dbRequest" KeyKind::Sql, "SQL",
        "a login is allowed when this has a row; `[LOGIN]` and `[PASSWORD]` are the client's";
    "modules" "list" KeyKind::Modules, "names",
        "the plugins to run, separated by commas; each may have a section `[module NAME]`";
    "modules" "path" KeyKind::ModulePath, "directories",
        "where their programs are looked for, separated by blanks; relative to this file";
    "web" "http" KeyKind::Flag(|v| &mut v.http), "true, false",
        "whether HTTP is taken at all; false: no WebSocket and no page either";
    "web" "websocket" KeyKind::Flag(|v| &mut v.websocket), "true, false",
        "whether WebSocket is taken; false: no page either";
    "web" "page" KeyKind::Flag(|v| &mut v.page), "true, false",
        "whether the chat page is served at `/`, and its script at `/palabre.js`";
    "web" "hosts" KeyKind::Hosts, "hosts",
        "names of this server, separated by blanks, besides its addresses, `localhost` and the names of its certificate: `chat.example.org *.example.org`; HTTP for any other is refused; `*` for any";
    "web" "origins" KeyKind::Origins, "origins",
        "where pages that may connect come from, besides this server: `https://example.org http://localhost:8000`; `*` for anywhere";
    "web" "metrics" KeyKind::Networks(|v| &mut v.metrics), "networks",
        "who may read `/metrics`, separated by blanks; empty: nobody";
    "tls" "certificate" KeyKind::ClosingPath(|v| &mut v.certificate, "without which there is no TLS"), "path",
        "a PEM file: the server's certificate, then its chain; without such a line: no TLS";
    "tls" "key" KeyKind::ClosingPath(|v| &mut v.key, "without which there is no TLS"), "path",
        "a PEM file: the private key of the certificate";
    "tls" "required" KeyKind::Flag(|v| &mut v.tls_required), "true, false",
        "whether nothing is taken without TLS";
    "rooms" "relaynames" KeyKind::RelayNames, "safe, any",
        "whether stanzas with the names of the server's own can be relayed: safe refuses them, any is as it was";
    "rooms" "lookalikes" KeyKind::Lookalikes, "refuse, allow",
        "whether a new nick or room may look like one that is there and be another, such as `Bob` with a Cyrillic `о`; refuse: it may not";
    "rooms" "succession" KeyKind::Succession, "oldest, none",
        "who is operator of a room when the last one has left: the member who has been there longest, or nobody";
    "rooms" "keep" KeyKind::KeepRight, "root, accounts, operators",
        "who may set the mode `keep` of a room: root alone, its operators whose nick was proven by a password, or all of them";
    "rooms" "fullroster" KeyKind::Count(|v| &mut v.full_roster), "members",
        "in a larger room only the joiner gets the whole client list; 0: only joiners ever do";
    "store" "file" KeyKind::Path(|v| &mut v.store_file), "path",
        "where rooms that are kept and the server's bans outlive a restart: a file of SQLite, made where there is none; empty: nothing does";
    "limits" "stanzabytes" KeyKind::Bytes(|v| &mut v.limits.stanza_bytes_max, STANZA_BYTES_MIN), "bytes",
        "a stanza; at least 64";
    "limits" "depth" KeyKind::Count(|v| &mut v.limits.depth_max), "levels",
        "nesting of a stanza; 0: no limit";
    "limits" "attributes" KeyKind::Count(|v| &mut v.limits.attributes_max), "attributes",
        "of one element; 0: no limit";
    "limits" "nickbytes" KeyKind::Bytes(|v| &mut v.limits.nick_bytes_max, 1), "bytes",
        "a nick";
    "limits" "roombytes" KeyKind::Bytes(|v| &mut v.limits.room_bytes_max, 1), "bytes",
        "a room's name";
    "limits" "params" KeyKind::Count(|v| &mut v.limits.params_max), "params",
        "of a client or a room; 0: no limit";
    "limits" "parambytes" KeyKind::Bytes(|v| &mut v.limits.param_bytes_max, 1), "bytes",
        "one param's value";
    "limits" "paramstotal" KeyKind::Bytes(|v| &mut v.limits.params_total_bytes_max, 1), "bytes",
        "of all params of all rooms and clients, and 96 more for each";
    "limits" "roomsperclient" KeyKind::Count(|v| &mut v.limits.rooms_per_client_max), "rooms",
        "that one client is in; 0: no limit";
    "limits" "rooms" KeyKind::Count(|v| &mut v.limits.rooms_max), "rooms",
        "in all; 0: no limit";
    "limits" "roomdepth" KeyKind::Count(|v| &mut v.limits.room_depth_max), "levels",
        "child rooms within child rooms; 0: no limit";
    "limits" "sessions" KeyKind::Count(|v| &mut v.limits.sessions_max), "sessions",
        "open at once, closing ones too; 0: what the descriptor limit allows";
    "limits" "sessionsperaddress" KeyKind::Count(|v| &mut v.limits.sessions_per_address_max), "sessions",
        "from one address, closing ones too, IPv6 by its /64, loopback exempt; 0: no limit";
    "limits" "logintime" KeyKind::Rate(|v| &mut v.limits.login_time_s), "seconds",
        "from accept to login; 0: no limit";
    "limits" "idletime" KeyKind::IdleTime, "seconds",
        "of silence before the server checks that the peer is there, at most 32767; 0: never";
    "limits" "stanzarate" KeyKind::Rate(|v| &mut v.limits.stanza_rate_per_s), "per second",
        "stanzas of one client; 0: no limit";
    "limits" "stanzaburst" KeyKind::Rate(|v| &mut v.limits.stanza_burst), "stanzas",
        "that may come at once before the rate counts; 0: no limit";
    "limits" "byterate" KeyKind::Rate(|v| &mut v.limits.byte_rate_per_s), "bytes a second",
        "of one client, what it has others told counting where that is more; beyond it the client is read later; 0: no limit";
    "limits" "byteburst" KeyKind::Rate(|v| &mut v.limits.byte_burst), "bytes",
        "that may come at once before the rate counts; 0: no limit";
    "limits" "failedlogins" KeyKind::Rate(|v| &mut v.limits.failed_logins_per_minute), "per minute",
        "failed authentications and wrong root passwords of one address, IPv6 by its /64; 0: no limit";
    "limits" "backlog" KeyKind::Bytes(|v| &mut v.limits.backlog_bytes_max, STANZA_BYTES_MIN), "bytes",
        "waiting for one slow reader; at least stanzabytes";
    "limits" "backlogsoft" KeyKind::Bytes(|v| &mut v.limits.backlog_soft_bytes_max, 1), "bytes",
        "waiting for one slow reader for 10 s; at most backlog";
    "limits" "backlogtotal" KeyKind::Bytes(|v| &mut v.limits.backlog_total_bytes_max, STANZA_BYTES_MIN), "bytes",
        "waiting for all readers; at least backlog";
    "limits" "listbytes" KeyKind::Bytes(|v| &mut v.limits.list_bytes_max, STANZA_BYTES_MIN), "bytes",
        "of one list: clients, child rooms, rooms; a longer one goes without params, or an error in its place; at most a quarter of backlog, which is the default";
    "limits" "listrate" KeyKind::Rate(|v| &mut v.limits.list_rate_per_s), "bytes a second",
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
