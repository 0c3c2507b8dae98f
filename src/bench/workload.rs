//! The workloads, one file each; `rooms` is behind all of those in which members talk.

pub(super) mod churn;
pub(super) mod filling;
pub(super) mod idle;
pub(super) mod logins;
pub(super) mod ping;
pub(super) mod private;
pub(super) mod rooms;
pub(super) mod rude;
