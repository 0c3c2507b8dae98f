//! The poll loop over a world in memory that tears, blocks, resets and jumps in time.
//!
//! `limits`, `closing` and `order` show one property each, in a world where nothing else happens.

#[path = "loop/closing.rs"]
mod closing;
#[path = "loop/house.rs"]
mod house;
#[path = "loop/limits.rs"]
mod limits;
#[path = "loop/order.rs"]
mod order;
#[path = "loop/pipe.rs"]
mod pipe;
#[path = "loop/rng.rs"]
mod rng;
#[path = "loop/world.rs"]
mod world;
