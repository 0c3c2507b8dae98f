//! palabre: a small XML socket server.
#![forbid(unsafe_code)]

pub mod limits;

pub mod wire;

pub mod hub;

pub mod config;
pub mod logging;

pub mod metrics;

pub mod net;
