//! Whatever one session makes another receive is well-formed and tells the real sender.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| palabre_fuzz::relay(frame));
