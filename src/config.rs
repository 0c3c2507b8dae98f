//! File and arguments → [`Config`].

use std::net::SocketAddr;

use crate::hub::Settings;

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// Whether it may be missing.
    pub optional: bool,
}

/// Everything the server is told before it starts.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What is listened on.
    pub listen: Vec<Listen>,
    /// For the hub.
    pub settings: Settings,
}

impl Config {
    /// The addresses of the policy port.
    #[must_use]
    pub fn policy_listen(&self) -> Vec<Listen> {
        Vec::new()
    }
}

/// The ports, comma-separated.
#[must_use]
pub fn policy_ports(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| address.port().to_string()).collect::<Vec<_>>().join(",")
}
