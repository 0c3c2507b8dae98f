//! Any cutting of a stream gives the same frames.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| palabre_fuzz::framer(data));
