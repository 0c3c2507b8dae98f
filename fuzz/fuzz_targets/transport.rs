//! Arbitrary bytes of three clients on one port leave a whole server in order.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| palabre_fuzz::transport(script));
