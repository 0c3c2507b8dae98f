//! What holds for any input; it needs the server and no other parser.
//!
//! The fuzz targets run these over what they make up, `tests/seeds.rs` over the committed seeds.

pub mod framer;
mod outlet;
pub mod relay;
pub mod session;
pub mod stanza;
