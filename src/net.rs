//! Binds, owns the `Poll` and the only clock.
//!
//! [`server`] has the turn of the loop, written against the traits of [`world`]; `os` is the
//! real world, and `process` what it starts. `connection` and `outbox` are what the loop keeps of a
//! peer, `ready` says whose go it is, `deliveries` is what a turn has for each, `desk` takes what
//! the hub says, `timers` has the loop's own deadlines, `backlog` adds up what waits, `log_budget`
//! counts the lines that connections cause.
//!
//! [`transport`] stands between the bytes of some connections and their stanzas; `certificate`
//! reads the files of `[tls]` for it, `proxy` the headers of proxies, `pages` has what a browser
//! may load. [`plugins`] has what is kept of plugins and their processes, `worker` is what the
//! server makes of itself where logins are checked, `store` where something outlives it.

mod backlog;
#[cfg(feature = "tls")]
pub(crate) mod certificate;
mod connection;
mod deliveries;
mod desk;
mod log_budget;
pub(crate) mod os;
mod outbox;
mod pages;
pub mod plugins;
mod process;
mod proxy;
mod ready;
pub use os::Signals;
#[cfg(feature = "bench")]
pub(crate) use os::raise_descriptor_limit;
pub(crate) use os::{bound, is_ignored, listen};
pub(crate) use process::DescriptorLimit;
pub mod server;
mod speech;
pub(crate) mod store;
mod timers;
pub mod transport;
mod worker;
pub mod world;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{info, warn};

use crate::config::{Config, Listen, Module, policy_ports};
use crate::hub::{HashKey, ListenerKind, Settings};
use crate::limits::DESCRIPTORS_RESERVED;
use crate::logging;
use server::{Server, Turn};
use transport::Front;

/// Why serving failed.
#[derive(Debug)]
pub enum Error {
    /// A listen address could not be bound.
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something the loop can't do without.
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, source } => write!(f, "can't listen on {address}: {source}"),
            Self::System { what, source } => write!(f, "can't {what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::System { source, .. } => Some(source),
        }
    }
}

/// A server that listens but does not serve yet.
pub struct Listening {
    listeners: Vec<TcpListener>,
    kinds: Vec<ListenerKind>,
    addresses: Vec<SocketAddr>,
    policy_addresses: Vec<SocketAddr>,
    descriptors: usize,
    descriptor_limit: DescriptorLimit,
    settings: Settings,
    modules: Vec<Module>,
    worker: Option<Module>,
    /// What the worker goes by.
    judged_by: worker::JudgedBy,
    signals: Signals,
    store: Option<store::Taken>,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("addresses", &self.addresses)
            .field("policy_addresses", &self.policy_addresses)
            .finish_non_exhaustive()
    }
}

/// Binds every address of the configuration. The signals have been taken before, so that a
/// program that is told that the server listens may signal it at once.
///
/// # Errors
/// [`Error::Bind`] for the first address that can't be bound, unless it is an optional one and
/// another could be.
pub fn bind(config: &Config, signals: Signals) -> Result<Listening, Error> {
    let (descriptors, descriptor_limit) = os::raise_own_descriptor_limit();
    let mut listening = Listening {
        listeners: Vec::new(),
        kinds: Vec::new(),
        addresses: Vec::new(),
        policy_addresses: Vec::new(),
        descriptors,
        descriptor_limit,
        settings: config.settings.clone(),
        modules: config.modules.clone(),
        worker: worker::module(config)?,
        judged_by: worker::judged_by(config),
        signals,
        store: None,
    };
    listening.addresses = listening.open(&config.listen, ListenerKind::Main)?;
    listening.policy_addresses = listening.open(&config.policy_listen(), ListenerKind::Policy)?;
    Ok(listening)
}

impl Listening {
    /// The addresses that are listened on, ports resolved, the policy port not among them.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Has a store taken in before anybody is served.
    #[must_use]
    pub(crate) fn with_store(self, store: Option<store::Taken>) -> Self {
        Self { store, ..self }
    }

    /// The addresses of the policy port, ports resolved.
    #[must_use]
    pub fn policy_addresses(&self) -> &[SocketAddr] {
        &self.policy_addresses
    }

    /// Serves until a signal or root stops it. `front` is what the listeners take. `reload` is
    /// called on SIGHUP: it reads the configuration again, reopens the log and gives the new
    /// one, or `None` when the old one stays in force.
    ///
    /// # Errors
    /// [`Error::System`] when the poll can't be set up or fails.
    pub fn serve(
        self,
        front: Front,
        reload: &mut dyn FnMut() -> Option<(Config, Front)>,
    ) -> Result<(), Error> {
        let Self { listeners, kinds, addresses, descriptors, settings, mut modules, .. } = self;
        let (sockets, mut judged_before) = (listeners.len(), self.judged_by);
        let (records, file) = match self.store {
            Some(store::Taken { records, path, module, lock }) => {
                modules.push(module);
                (Some(records), Some((path, lock)))
            }
            None => (None, None),
        };
        // The worker may be wanted later.
        let processes = modules.len() + 1;
        let world = os::Os::new(listeners, self.signals, processes, self.descriptor_limit)
            .map_err(|source| Error::System { what: "set up the poll", source })?;
        let complete =
            |settings| completed(settings, &addresses, descriptors.saturating_sub(sockets));
        let settings = complete(settings);
        info!("up to {} sessions", settings.limits.sessions_max);
        let mut server = Server::new(world, &kinds, settings, hash_key(), unix_now_us());
        let own: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        let complete_front = |front| Front { addresses: own.clone(), ..front };
        server.set_front(complete_front(front));
        if let Some(records) = records {
            server.restore(&records);
        }
        server.set_plugins(modules);
        server.set_worker(self.worker, false);
        logging::hold();
        let served = loop {
            match server.turn() {
                Err(source) => break Err(Error::System { what: "poll", source }),
                Ok(Turn::Again) => {}
                Ok(Turn::Reload) => {
                    if let Some((config, front)) = reload() {
                        server.set_front(complete_front(front));
                        server.reload(complete(config.settings.clone()));
                        let judged = worker::judged_by(&config);
                        match worker::module(&config) {
                            Ok(worker) => server.set_worker(worker, judged != judged_before),
                            // Without a worker every login that needs it is refused.
                            Err(error) => log::error!("{error}"),
                        }
                        judged_before = judged;
                    }
                }
                Ok(Turn::Stop) => break Ok(()),
            }
        };
        logging::release();
        if let Some((path, _lock)) = &file {
            store::write_the_rest(path, &server.take_unstored());
        }
        served
    }

    fn open(&mut self, wanted: &[Listen], kind: ListenerKind) -> Result<Vec<SocketAddr>, Error> {
        let mut bound: Vec<SocketAddr> = Vec::new();
        for Listen { address, optional } in wanted {
            let mut address = *address;
            // The addresses of "all" share one free port.
            if address.port() == 0
                && let Some(first) = bound.first().filter(|_| *optional)
            {
                address.set_port(first.port());
            }
            let listener =
                listen(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
            match listener {
                Ok((address, listener)) => {
                    bound.push(address);
                    self.listeners.push(listener);
                    self.kinds.push(kind);
                }
                Err(error) if *optional && !bound.is_empty() => {
                    warn!("not listening on {address}: {error}");
                }
                Err(source) => return Err(Error::Bind { address, source }),
            }
        }
        Ok(bound)
    }
}

/// The settings with what only the process knows: its ports and its descriptors.
fn completed(mut settings: Settings, addresses: &[SocketAddr], descriptors: usize) -> Settings {
    settings.policy_ports = policy_ports(addresses);
    let possible = sessions_within(descriptors);
    let wanted = settings.limits.sessions_max;
    if wanted > possible {
        warn!(
            "limits.sessions is {wanted}, but the limit of open files (ulimit -n) leaves room \
             for {possible}"
        );
    }
    if wanted == 0 || wanted > possible {
        settings.limits.sessions_max = possible;
    }
    settings
}

/// How many sessions so many descriptors are enough for.
fn sessions_within(descriptors: usize) -> usize {
    descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(1)
}

/// How many sessions a server could have that this process became, with its limit of open files.
pub(crate) fn sessions_possible() -> usize {
    sessions_within(os::raise_own_descriptor_limit().0)
}

/// A key that can't be guessed, out of std's own random state.
fn hash_key() -> HashKey {
    let random = || RandomState::new().hash_one(0_u8);
    HashKey(random(), random())
}

fn unix_now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_back_from_sessions() {
        for (descriptors, sessions) in [(0, 1), (1, 1), (2, 2), (1_000, 1_000)] {
            assert_eq!(sessions_within(DESCRIPTORS_RESERVED + descriptors), sessions);
        }
        assert_eq!(sessions_within(DESCRIPTORS_RESERVED - 1), 1, "one in any case");
        for (wanted, possible) in [(0, 9), (8, 8), (9, 9), (10, 9)] {
            let limits = crate::limits::Limits { sessions_max: wanted, ..Default::default() };
            let settings = Settings { limits, ..Settings::default() };
            let settings = completed(settings, &[], DESCRIPTORS_RESERVED + 9);
            assert_eq!(settings.limits.sessions_max, possible, "{wanted}");
        }
    }
}
