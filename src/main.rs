//! The `palabre` binary.
fn main() {}
