//! Ctrl-C and its like end a run early: whether that has happened, and a sleep that ends with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

use super::error::Fault;
use crate::net::is_ignored;

/// Set by Ctrl-C and its like: what is there is printed.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// What ends a run early: what there is is printed, and the servers are ended. Who types Ctrl-C
/// again does not want to wait for that. What was ignored from the start stays so, as under nohup.
pub(super) fn take_signals() -> Result<(), Fault> {
    let fault = |source| Fault::system("take signals", source);
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|own| !is_ignored(*own)) {
        let interrupted = || Arc::clone(&INTERRUPTED);
        if signal == SIGINT {
            flag::register_conditional_shutdown(signal, 128 + signal, interrupted())
                .map_err(fault)?;
        }
        flag::register(signal, interrupted()).map_err(fault)?;
    }
    Ok(())
}

/// Whether the measurement is to end early.
pub(super) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Sleeps so long, or until the measurement is to end early; how long it was.
pub(super) fn sleep(span: Duration) -> Duration {
    const LOOK: Duration = Duration::from_millis(50);
    let begin = Instant::now();
    while !is_interrupted() && begin.elapsed() < span {
        std::thread::sleep(LOOK.min(span.saturating_sub(begin.elapsed())));
    }
    begin.elapsed()
}
