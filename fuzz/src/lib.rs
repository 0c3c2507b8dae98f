//! What the fuzz targets share.
//!
//! [`checks`] needs nothing but the server and is also replayed over the seeds by `cargo test`;
//! [`oracle`] holds what is accepted against other parsers.

pub mod checks;
#[cfg(feature = "expat")]
mod expat;
#[cfg(feature = "libxml2")]
mod libxml2;
pub mod oracle;

/// The checks of the `stanza` target.
///
/// # Panics
/// When one fails.
pub fn stanza(frame: &[u8]) {
    if let Some(accepted) = checks::stanza::check(frame) {
        oracle::agree(frame, &accepted);
    }
}
