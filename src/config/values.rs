//! What a configuration says, key by key, defaults included.

use std::path::PathBuf;

use ipnet::IpNet;

use super::hosts::KnownHost;
use super::listen::{self, Listen, ListenPlace};
use super::modules;
use crate::hub::{KeepRight, RelayNames, Succession};
use crate::limits::{FULL_ROSTER_MEMBERS, Limits};
use crate::logging::Level;
use crate::networks;
use crate::nick::Lookalikes;
use crate::secret::HiddenText;

/// What the file says, key by key.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) start_daemon: bool,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) ip: Vec<ListenPlace>,
    pub(super) port: u16,
    pub(super) stanzas: bool,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) log_level: Level,
    pub(super) log_file: Option<PathBuf>,
    pub(super) root_password: HiddenText,
    pub(super) accounts_file: Option<PathBuf>,
    pub(super) guests: bool,
    pub(super) domains: Vec<String>,
    pub(super) policy_port: Option<u16>,
    pub(super) use_database: bool,
    pub(super) check_password: bool,
    pub(super) db_type: String,
    pub(super) db_host: String,
    pub(super) db_user: String,
    pub(super) db_password: HiddenText,
    pub(super) db_database: String,
    pub(super) db_request: String,
    pub(super) modules: Vec<String>,
    pub(super) module_path: Vec<PathBuf>,
    pub(super) relay_names: RelayNames,
    pub(super) lookalikes: Lookalikes,
    pub(super) succession: Succession,
    pub(super) keep_right: KeepRight,
    pub(super) full_roster: usize,
    pub(super) store_file: Option<PathBuf>,
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
            root_password: HiddenText::default(),
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
            db_password: HiddenText::default(),
            db_database: String::new(),
            db_request: String::new(),
            modules: Vec::new(),
            module_path: modules::PATH.map(PathBuf::from).to_vec(),
            relay_names: RelayNames::default(),
            lookalikes: Lookalikes::default(),
            succession: Succession::default(),
            keep_right: KeepRight::default(),
            full_roster: FULL_ROSTER_MEMBERS,
            store_file: None,
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

impl Values {
    /// What is listened on.
    pub(super) fn listen(&self) -> Vec<Listen> {
        listen::resolve(&self.ip, self.port)
    }

    /// Bytes that may wait for one reader: a stanza fits in any case.
    pub(super) fn backlog_wanted(&self) -> usize {
        self.limits.backlog_bytes_max.max(self.limits.stanza_bytes_max)
    }

    /// Whether a WebSocket can be opened, which begins as HTTP.
    pub(super) const fn takes_websocket(&self) -> bool {
        self.http && self.websocket
    }
}
