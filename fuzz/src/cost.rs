//! An oracle of time and memory: what an input takes is in proportion to its length.
//!
//! A bound is ten times what the dearest seeds take or more, in a build with AddressSanitizer.
//! Time is that of the thread, and only what is over the bound again and again is a finding, so
//! that a busy host makes none.

use rustix::time::{ClockId, clock_gettime};

/// Times that something is looked at before it is a finding.
const TRIES: usize = 4;

/// What an input may take: so much in any case, and so much for each byte.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Nanoseconds in any case.
    pub nanos: u64,
    /// Nanoseconds for each byte.
    pub nanos_per_byte: u64,
    /// Bytes of memory in any case, all that was asked for counted.
    pub memory: u64,
    /// Bytes of memory for each byte.
    pub memory_per_byte: u64,
}

/// Runs a check, which tells how many bytes it was about.
///
/// # Panics
/// When it takes more than its bound, or when it panics itself.
pub fn bounded(bound: Bound, check: impl Fn() -> usize) {
    let mut nanos = u64::MAX;
    for _ in 0..TRIES {
        let mut bytes = 0;
        let start = thread_nanos();
        let memory = allocation_counter::measure(|| bytes = check()).bytes_total;
        nanos = nanos.min(thread_nanos() - start);
        let memory_max = bound.memory + bound.memory_per_byte * bytes as u64;
        assert!(
            memory <= memory_max,
            "{bytes} bytes took {memory} bytes of memory, and {memory_max} are allowed"
        );
        let nanos_max = bound.nanos + bound.nanos_per_byte * bytes as u64;
        if std::env::var_os("PALABRE_COST").is_some() {
            eprintln!("cost: {bytes} bytes {nanos} of {nanos_max} ns, {memory} of {memory_max}");
        }
        if nanos <= nanos_max {
            return;
        }
    }
    panic!("{nanos} ns of the processor for one input, {TRIES} times: {bound:?}");
}

fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
