//! Arbitrary frames of three sessions leave the hub in order.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| palabre_fuzz::session(script));
