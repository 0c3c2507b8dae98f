//! Any cutting of a stream gives the same frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palabre_fuzz::checks;

fuzz_target!(|data: &[u8]| checks::framer::check(data));
