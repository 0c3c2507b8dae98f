//! What the fuzz targets share.
//!
//! [`checks`] needs nothing but the server and is also replayed over the seeds by `cargo test`;
//! [`oracle`] holds what is accepted against other parsers.

pub mod checks;
pub mod cost;
#[cfg(feature = "expat")]
mod expat;
#[cfg(feature = "libxml2")]
mod libxml2;
pub mod oracle;

use cost::{Bound, bounded};
use palabre::limits::Limits;
use palabre::wire::stanza::Parser;

/// What most targets may take.
const USUAL: Bound =
    Bound { nanos: 20_000_000, nanos_per_byte: 20_000, memory: 1_048_576, memory_per_byte: 1_024 };

/// The checks of the `stanza` target.
///
/// # Panics
/// When one fails.
pub fn stanza(frame: &[u8]) {
    if let Some(accepted) = checks::stanza::check(frame) {
        oracle::agree(frame, &accepted);
    }
    let limits = Limits { depth_max: 0, attributes_max: 0, ..Limits::default() };
    let long = checks::long::written_out(frame, limits.stanza_bytes_max);
    let bound =
        Bound { nanos: 500_000, nanos_per_byte: 1_000, memory: 65_536, memory_per_byte: 32 };
    for limits in [Limits::default(), limits] {
        bounded(bound, || {
            let _ = Parser::new().parse(&long, &limits);
            long.len()
        });
    }
}

/// The checks of the `hub` target.
///
/// # Panics
/// When one fails.
pub fn hub(script: &[u8]) {
    let bound =
        Bound { nanos: 500_000_000, nanos_per_byte: 50_000, memory_per_byte: 4_096, ..USUAL };
    bounded(bound, || checks::hub::check(script));
}

/// The checks of the `framer` target.
///
/// # Panics
/// When one fails.
pub fn framer(data: &[u8]) {
    usual(data, checks::framer::check);
}

/// The checks of the `frames` target.
///
/// # Panics
/// When one fails.
pub fn frames(data: &[u8]) {
    usual(data, checks::frames::check);
}

/// The checks of the `relay` target.
///
/// # Panics
/// When one fails.
pub fn relay(frame: &[u8]) {
    usual(frame, checks::relay::check);
}

/// The checks of the `session` target.
///
/// # Panics
/// When one fails.
pub fn session(script: &[u8]) {
    usual(script, checks::session::check);
}

/// The checks of the `transport` target.
///
/// # Panics
/// When one fails.
#[cfg(feature = "tls")]
pub fn transport(script: &[u8]) {
    // Handshakes take most of it.
    let bound = Bound { nanos: 500_000_000, memory: 16 * 1_048_576, ..USUAL };
    bounded(bound, || {
        checks::transport::check(script);
        script.len()
    });
}

fn usual(data: &[u8], check: impl Fn(&[u8])) {
    bounded(USUAL, || {
        check(data);
        data.len()
    });
}
