//! The part of the configuration that the hub lives by.

use std::fmt;

use ipnet::IpNet;

use crate::limits::{FULL_ROSTER_MEMBERS, Limits};
use crate::nick::Lookalikes;

/// What `[rooms] relaynames` allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayNames {
    /// `safe`: names that the server itself sends are refused.
    #[default]
    Safe,
    /// `any`: as the old server had it.
    Any,
}

/// The part of the configuration that the hub lives by; all of it can change at run time.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `[limits]`.
    pub limits: Limits,
    /// `[admin] password`; `None` when nobody can become root.
    pub root_password: Option<String>,
    /// Whether the root password is a hash, which the hub can't compare with what is given: it
    /// asks through `Outlet::ask`, if there is one at all.
    pub root_password_hashed: bool,
    /// Whether the configuration says that logins are checked: where nobody does it, nobody but
    /// root is let in.
    pub logins_checked: bool,
    /// `[daemon] trustedproxies`: their sessions are as many as they like, until each is told
    /// its client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// `[crossdomain] alloweddomains`, in their order.
    pub domains: Vec<String>,
    /// The `to-ports` of a policy: the ports that are served, comma-separated.
    pub policy_ports: String,
    /// `[rooms] relaynames`.
    pub relay_names: RelayNames,
    /// `[rooms] lookalikes`.
    pub lookalikes: Lookalikes,
    /// `[rooms] fullroster`: members.
    pub full_roster_members: usize,
}

/// The root password stays out of it.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("logins_checked", &self.logins_checked)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("domains", &self.domains)
            .field("policy_ports", &self.policy_ports)
            .field("relay_names", &self.relay_names)
            .field("lookalikes", &self.lookalikes)
            .field("full_roster_members", &self.full_roster_members)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            root_password: None,
            root_password_hashed: false,
            logins_checked: false,
            trusted_proxies: Vec::new(),
            domains: Vec::new(),
            policy_ports: "2468".to_owned(),
            relay_names: RelayNames::default(),
            lookalikes: Lookalikes::default(),
            full_roster_members: FULL_ROSTER_MEMBERS,
        }
    }
}
