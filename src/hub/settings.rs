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

/// `[rooms] succession`: what becomes of a room whose last operator leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Succession {
    /// `oldest`: the member who has been there longest is its operator.
    #[default]
    Oldest,
    /// `none`: nobody is.
    None,
}

/// `[rooms] keep`: who besides root may say that a room outlives its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepRight {
    /// `root`: nobody else.
    #[default]
    Root,
    /// `accounts`: its operators whose nick was proven by a password.
    Accounts,
    /// `operators`: its operators.
    Operators,
}

/// `[room NAME]`: a room that is there from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredRoom {
    /// Its name, which is one that a room can have.
    pub name: String,
    /// What its `title` is to be, if the section says so.
    pub title: Option<String>,
    /// The modes that the section sets, with their values as in `<mode>`. What it does not set is
    /// the operators' to choose.
    pub modes: Vec<(&'static str, String)>,
    /// The nicks of its operators. Whoever has one, proven by a password, is operator.
    pub operators: Vec<String>,
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
    /// `[rooms] succession`.
    pub succession: Succession,
    /// `[rooms] keep`.
    pub keep_right: KeepRight,
    /// `[room NAME]`, each once.
    pub declared_rooms: Vec<DeclaredRoom>,
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
            succession: Succession::default(),
            keep_right: KeepRight::default(),
            declared_rooms: Vec::new(),
        }
    }
}
