//! The poll loop over a world in memory that tears, blocks, resets and jumps in time.
//!
//! `limits`, `closing`, `order`, `requests` and `transports` show one property each, in a world
//! where nothing else happens; `crowd` puts everything together by seed. A failing seed is told
//! with its turn, and `PALABRE_SEED=N cargo test --test loop` runs it alone (`N..M` runs as many as
//! one likes).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a kind of client differs from all the others in one thing at a time"
)]

#[path = "loop/bounded.rs"]
mod bounded;
#[path = "loop/client.rs"]
mod client;
#[path = "loop/closing.rs"]
mod closing;
#[path = "loop/company.rs"]
mod company;
#[path = "loop/crowd.rs"]
mod crowd;
#[path = "support/frames.rs"]
mod frames;
#[path = "loop/house.rs"]
mod house;
#[path = "loop/keeping_up.rs"]
mod keeping_up;
#[path = "loop/limits.rs"]
mod limits;
#[path = "loop/order.rs"]
mod order;
#[path = "loop/permissions.rs"]
mod permissions;
#[path = "loop/pipe.rs"]
mod pipe;
#[path = "loop/plugins.rs"]
mod plugins;
#[path = "loop/process.rs"]
mod process;
#[path = "loop/requests.rs"]
mod requests;
#[path = "loop/rng.rs"]
mod rng;
#[cfg(feature = "tls")]
#[path = "loop/secure.rs"]
mod secure;
#[cfg(not(feature = "tls"))]
#[path = "loop/insecure.rs"]
mod secure;
#[path = "loop/speech.rs"]
mod speech;
#[cfg(feature = "tls")]
#[path = "loop/tls.rs"]
mod tls;
#[path = "loop/transports.rs"]
mod transports;
#[path = "loop/worker.rs"]
mod worker;
#[path = "loop/world.rs"]
mod world;
