//! What the tests that run transcripts share: the format, the two drivers and the checker.
//!
//! A transcript is a conversation written down: what each client sends and every stanza each
//! client gets. `format` reads it and explains how it is spelled, `hub_driver` holds it with a
//! bare hub on a virtual clock, `socket_driver` with the built server over loopback, and
//! `checker` compares. The checker can't tell the two apart.

pub(crate) mod built;
pub(crate) mod checker;
pub(crate) mod format;
pub(crate) mod hub_driver;
pub(crate) mod orders;
pub(crate) mod sample;
pub(crate) mod socket_driver;
pub(crate) mod stored;
