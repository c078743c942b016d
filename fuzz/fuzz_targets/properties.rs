//! Properties strings, and the properties files of configurations: no panic, and what is listed is found.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::checks::text(data));
