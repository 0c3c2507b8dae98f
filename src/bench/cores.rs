//! What the generator takes of the machine for itself: its core, and open files.

use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::error::Fault;

/// Takes the generator and the server off each other's core, when there are two: the server
/// gets the last one, the generator the first. It holds for this thread and for what it starts
/// from now on.
pub(super) fn pin(core: usize) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let wanted = ALLOWED_CORES.get_or_init(|| cores);
    if wanted.len() < 2 {
        return;
    }
    let mut set = CpuSet::new();
    set.set(wanted[core.min(wanted.len() - 1)]);
    // Without the right to do so the figures are as noisy as before.
    let _ = sched_setaffinity(None, &set);
}

/// Takes this thread to a core that neither the generator nor the server has, when there is one;
/// otherwise to the generator's.
pub(super) fn pin_aside() {
    let cores = ALLOWED_CORES.get().map_or(0, Vec::len);
    pin(usize::from(cores > 2));
}

/// The cores that the process had before it pinned itself.
static ALLOWED_CORES: OnceLock<Vec<usize>> = OnceLock::new();

/// Raises this process's limit of open files as far as it may.
///
/// # Errors
/// When `connections` and some more don't fit.
pub(super) fn need_descriptors(connections: usize) -> Result<(), Fault> {
    /// What the process needs besides: poll, pipes, files of `/proc`.
    const OTHERS: usize = 32;
    let possible = crate::net::raise_descriptor_limit();
    if connections.saturating_add(OTHERS) > possible {
        return Err(Fault::TooManyConnections { connections, possible });
    }
    Ok(())
}
