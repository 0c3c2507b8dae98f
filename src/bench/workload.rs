//! The workloads, one file each, with what it measures and prints; `rooms` is behind all of those
//! in which members talk. The workload that attacks is `rude`, beside this.

pub(super) mod churn;
pub(super) mod idle;
pub(super) mod join;
pub(super) mod logins;
pub(super) mod noisy;
pub(super) mod ping;
pub(super) mod plugins;
pub(super) mod private;
pub(super) mod rooms;
pub(super) mod slow;

use super::comparison::Comparison;
use super::error::Fault;
use super::options::Workload;
use super::report::Figures;

/// What measures a workload.
pub(super) type Measure = fn(&Comparison<'_>) -> Result<Figures, Fault>;

/// What measures this one; none for the suite, which is several, and for the attacks, which compare
/// no servers.
pub(super) fn measure_of(workload: Workload) -> Option<Measure> {
    Some(match workload {
        Workload::Suite | Workload::Rude => return None,
        Workload::Fanout => rooms::fanout,
        Workload::Rate => rooms::rate,
        Workload::Private => private::private,
        Workload::Ping => ping::ping,
        Workload::Churn => churn::churn,
        Workload::Join => join::join,
        Workload::Idle => idle::idle,
        Workload::Slow => slow::slow,
        Workload::Noisy => noisy::noisy,
        Workload::Logins => logins::logins,
        Workload::Plugins => plugins::plugins,
    })
}
