//! Whatever one session makes another receive is well-formed and tells the real sender.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palabre_fuzz::checks;

fuzz_target!(|frame: &[u8]| checks::relay::check(frame));
