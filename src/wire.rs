//! Bytes, frames and stanzas: everything that knows how the wire is spelled.
//!
//! No socket, clock, thread, log macro or randomness comes in here, and nothing about rooms
//! or sessions either.

pub mod framer;
pub mod stanza;
pub mod write;
