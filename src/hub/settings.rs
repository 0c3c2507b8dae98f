//! The part of the configuration that the hub lives by.

use std::fmt;

use ipnet::IpNet;
use zeroize::Zeroizing;

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

/// `[admin] password`.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum RootPassword {
    /// None: no session can become root.
    #[default]
    None,
    /// The password itself, never empty. It is overwritten when it is dropped.
    Clear(Zeroizing<String>),
    /// A hash, which the hub can't compare with what is given: the hub asks through
    /// `Outlet::ask`, and the worker has the hash.
    Hash,
}

impl RootPassword {
    /// A password in the clear; an empty text is none.
    #[must_use]
    pub fn clear(text: &str) -> Self {
        if text.is_empty() { Self::None } else { Self::Clear(Zeroizing::new(text.to_owned())) }
    }

    /// Whether the worker has to be asked about a root password that is given.
    #[must_use]
    pub const fn is_hash(&self) -> bool {
        matches!(self, Self::Hash)
    }
}

/// The password stays out of it.
impl fmt::Debug for RootPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Clear(_) => "Clear(not shown)",
            Self::Hash => "Hash",
        })
    }
}

/// The part of the configuration that the hub lives by; all of it can change at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `[limits]`.
    pub limits: Limits,
    /// `[admin] password`.
    pub root_password: RootPassword,
    /// Whether the configuration says that logins are checked: while no worker or plugin checks
    /// them, none but root's is allowed.
    pub logins_checked: bool,
    /// `[daemon] trustedproxies`: any number of sessions is from such an address, until
    /// each session is told its client's address.
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            root_password: RootPassword::None,
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
