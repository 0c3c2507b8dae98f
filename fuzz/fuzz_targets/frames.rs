//! Arbitrary bytes as WebSocket frames: any cut tells the same, and so does another reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palabre_fuzz::checks;

fuzz_target!(|data: &[u8]| checks::frames::check(data));
