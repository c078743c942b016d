//! Stored records and batches: what is read is written again byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::checks::record(data));
