//! What holds for any input; it needs the server and no other parser.
//!
//! The fuzz targets run these over what they make up, `tests/seeds.rs` over the committed seeds.

mod cost;
pub mod framer;
pub mod frames;
pub mod hub;
pub mod long;
mod outlet;
pub mod relay;
pub mod session;
pub mod stanza;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod told;
#[cfg(feature = "tls")]
pub mod transport;
#[cfg(feature = "tls")]
mod world;
