//! Headers of the binary codec: what is read can be written, and is the same when read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::checks::binary_header(data));
