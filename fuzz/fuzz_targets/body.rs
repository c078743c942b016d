//! Bodies in fastjson's dialect and compressed registrations: no panic, and what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::checks::body(data));
