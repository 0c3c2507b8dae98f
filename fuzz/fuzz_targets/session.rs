//! Arbitrary frames of three sessions leave the hub in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palabre_fuzz::checks;

fuzz_target!(|script: &[u8]| checks::session::check(script));
