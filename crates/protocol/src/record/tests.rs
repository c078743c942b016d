//! Records: round trip, strictness, batches.

use super::*;

fn record() -> Record<'static> {
    Record {
        queue_id: 3,
        flag: 9,
        queue_offset: QueueOffset(0),
        log_offset: LogOffset(0),
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: "127.0.0.1:50000".parse().unwrap(),
        store_timestamp: 0,
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"hello",
        topic: "Topic",
        properties: b"KEYS\x01k\x02",
    }
}

#[test]
fn holes_are_stamped_whatever_the_hosts() {
    for born in ["127.0.0.1:50000", "[::1]:50000"] {
        for store in ["10.0.0.1:10911", "[fe80::1]:10911"] {
            let record = Record {
                born_host: born.parse().unwrap(),
                store_host: store.parse().unwrap(),
                ..record()
            };
            let mut out = BytesMut::new();
            let size = record.encode(&mut out).unwrap();
            assert_eq!(size, out.len());
            stamp(&mut out, QueueOffset(5), LogOffset(77), 1_700_000_000_001);
            let decoded = Record::decode(&out, true).unwrap();
            let expect = Record {
                queue_offset: QueueOffset(5),
                log_offset: LogOffset(77),
                store_timestamp: 1_700_000_000_001,
                sys_flag: decoded.record.sys_flag,
                ..record
            };
            assert_eq!(decoded.record, expect);
            assert_eq!(decoded.size, size);
        }
    }
}

fn encoded() -> Vec<u8> {
    let mut out = BytesMut::new();
    record().encode(&mut out).unwrap();
    out.to_vec()
}

#[test]
fn every_length_is_checked() {
    let check = |at: usize, bytes: &[u8], expect: &str| {
        let mut damaged = encoded();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        let error = Record::decode(&damaged, true).unwrap_err();
        assert_eq!(error.to_string(), expect);
    };
    // body at 88, topic at 94, properties at 101
    check(
        4,
        &[0; 4],
        "magic 0x00000000, expected 0xdaa320a7 or 0xdaa320ab",
    );
    check(
        4,
        &MAGIC_BLANK.to_be_bytes(),
        "filler of 108 bytes at the end of the file",
    );
    check(
        0,
        &90_u32.to_be_bytes(),
        "record has length 90 in a record of 90 bytes",
    );
    check(
        0,
        &[0xff; 4],
        "record has length -1 in a record of -1 bytes",
    );
    check(
        0,
        &200_u32.to_be_bytes(),
        "record of 200 bytes, but only 108 there",
    );
    check(
        0,
        &107_u32.to_be_bytes(),
        "properties has length 7 in a record of 107 bytes",
    );
    check(
        84,
        &[0x7f, 0xff, 0xff, 0xff],
        "body has length 2147483647 in a record of 108 bytes",
    );
    check(
        84,
        &[0xff, 0xff, 0xff, 0xff],
        "body has length -1 in a record of 108 bytes",
    );
    check(
        93,
        &[0x80],
        "topic has length -128 in a record of 108 bytes",
    );
    check(93, &[0x7f], "topic has length 127 in a record of 108 bytes");
    check(94, &[0xff], "topic is not UTF-8");
    check(
        99,
        &[0xff, 0xff],
        "properties has length -1 in a record of 108 bytes",
    );
    check(
        99,
        &[0, 6],
        "all parts has length 107 in a record of 108 bytes",
    );
    check(88, b"H", "body crc 0x77d18982, record says 0x3610a686");
    check(52, &[0, 1, 0, 0], "port 65536, expected at most 65535");
    check(
        36,
        &[0, 0, 0, 0x30],
        "fixed part has length 112 in a record of 108 bytes",
    );
}

#[test]
fn a_long_topic_makes_it_version_two() {
    let topic = "t".repeat(128);
    let mut out = BytesMut::new();
    let long = Record {
        topic: &topic,
        ..record()
    };
    let size = long.encode(&mut out).unwrap();
    assert_eq!(out[4..8], MAGIC_V2.to_be_bytes());
    assert_eq!(size, encoded().len() + 128 - 5 + 1);
    assert_eq!(Record::decode(&out, true).unwrap().record.topic, topic);
}

#[test]
fn what_no_record_can_hold_is_refused() {
    let properties = vec![b'x'; PROPERTIES_MAX + 1];
    let long = Record {
        properties: &properties,
        ..record()
    };
    let mut out = BytesMut::new();
    let error = long.encode(&mut out).unwrap_err();
    assert_eq!(error.to_string(), "properties of 32768 bytes, limit 32767");
    assert!(out.is_empty());
}

#[test]
fn an_outline_is_the_record_without_hosts() {
    let bytes = encoded();
    let outline = Outline::decode(&bytes).unwrap();
    assert_eq!(outline.size, bytes.len());
    assert_eq!((outline.topic, outline.queue_id), ("Topic", 3));
    assert_eq!(outline.properties, b"KEYS\x01k\x02");
}

#[test]
fn a_broken_batch_ends_with_its_error() {
    let message = BatchMessage {
        flag: 1,
        body: b"b",
        properties: b"",
    };
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes).unwrap();
    message.encode(&mut bytes).unwrap();
    let check = |bytes: &[u8], expect: &str| {
        let read: Vec<_> = messages_of_batch(bytes).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0], Ok(message));
        assert_eq!(read[1].unwrap_err().to_string(), expect);
    };
    check(
        &bytes[..24],
        "fixed part has length 16 in a record of 1 bytes",
    );
    check(
        &bytes[..45],
        "fixed part has length 23 in a record of 22 bytes",
    );
    bytes[23 + 16] = 1;
    check(&bytes, "body has length 16777217 in a record of 23 bytes");
}

#[test]
fn the_size_that_a_message_of_a_batch_claims_does_not_count() {
    let message = BatchMessage {
        flag: 1,
        body: b"b",
        properties: b"",
    };
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes).unwrap();
    message.encode(&mut bytes).unwrap();
    for claimed in [0, 5_000, -1_i32] {
        bytes[..4].copy_from_slice(&claimed.to_be_bytes());
        let read: Vec<_> = messages_of_batch(&bytes).collect();
        assert_eq!(read, [Ok(message), Ok(message)], "{claimed}");
    }
}
