//! Whatever eight clients do to a hub, each pays for what it causes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| palabre_fuzz::hub(script));
