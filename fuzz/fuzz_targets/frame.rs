//! Streams of frames: no panic, no frame longer than allowed, nothing lost between frames.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::checks::frames(data));
