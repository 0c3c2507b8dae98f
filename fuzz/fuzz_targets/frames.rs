//! Arbitrary bytes as WebSocket frames: any cut tells the same, and so does another reader.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| palabre_fuzz::frames(data));
