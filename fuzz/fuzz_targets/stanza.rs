//! What the strict parser accepts, every other parser accepts and reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| palabre_fuzz::stanza(frame));
