//! Stored records and batches: what is read is written again byte for byte.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use protocol::record::{Record, messages_of_batch};

fuzz_target!(|data: &[u8]| {
    for message in messages_of_batch(data) {
        let _ = message.map(|message| message.body.len());
    }
    let Ok(decoded) = Record::decode(data, false) else { return };
    let mut out = BytesMut::new();
    let size = decoded.record.encode(&mut out).unwrap();
    // The crc and the magic of a short topic need not be what we would write.
    let again = Record::decode(&out, true).unwrap();
    assert_eq!(again.record, decoded.record);
    assert!(size == decoded.size || size + 1 == decoded.size);
});
