//! `palabre-bench`: a load generator for any server that speaks the protocol, with the floor to
//! compare it with.
//!
//! `options` says what may be asked for, `plan` runs it, and `suite` is the list of comparisons
//! that the manual has. `workload` has what clients do, one file each, and `rude` the clients that
//! attack. `comparison` measures several servers by turns, `measure` runs one workload for a while,
//! `report` and `notes` print what was found.
//!
//! `host` is the server that is measured, `processes` what the system tells of it, and `cores` has
//! the generator leave it a core. `swarm` has the generator's connections, `over` says what they
//! speak and `transport` is how. `entrance` lets them in, by the `names` of the run, and `ledger`
//! sees that nothing is missing, doubled or out of order. `syscalls` counts what the server asks of
//! the system, `interrupt` ends a run early, and `error` has what it fails by.
//!
//! `relay` is the floor: a server that does nothing but find NULs and write once per receiver and
//! turn.
//!
//! Nothing of the server itself depends on this module; it is a Cargo feature.

mod comparison;
mod cores;
mod entrance;
mod error;
mod host;
mod interrupt;
mod ledger;
mod measure;
mod names;
mod notes;
mod options;
mod over;
mod plan;
mod processes;
mod relay;
mod report;
mod rude;
mod suite;
mod swarm;
mod syscalls;
mod transport;
mod workload;

use std::io;

pub use error::Fault;
#[cfg(test)]
pub(crate) use options::Setting;
pub use options::{Options, Workload};
pub use over::Mix;
pub use plan::run;
pub(crate) use rude::attack;

/// Serves as the floor on a listener, until the process is ended.
///
/// # Errors
/// When the system refuses what a relay can't do without.
pub fn serve_floor(listener: std::net::TcpListener) -> io::Result<()> {
    relay::serve(listener)
}
