//! Op messages: what is written, what is read, how long they are needed.

use bytes::BytesMut;
use protocol::record::{Outline, Record};
use protocol::{LogOffset, QueueOffset};

use super::{Ended, Written, messages, offsets};
use crate::message::Message;

fn made(ended: &[i64], bytes_max: usize) -> Vec<(Message, i64)> {
    messages(ended, bytes_max, "127.0.0.1:10911".parse().unwrap(), 5)
}

fn read(body: &[u8], properties: &[u8]) -> Vec<i64> {
    let host = "127.0.0.1:10911".parse().unwrap();
    let record = Record {
        queue_id: 0,
        flag: 0,
        queue_offset: QueueOffset(0),
        log_offset: LogOffset(0),
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        properties,
    };
    let mut bytes = BytesMut::new();
    record.encode(&mut bytes).unwrap();
    offsets(&Outline::decode(&bytes).unwrap()).collect()
}

#[test]
fn are_as_apache_writes_them() {
    let [(message, highest)] = &made(&[7, 12, 9], 4_096)[..] else {
        panic!("one message");
    };
    assert_eq!(&message.body[..], b"7,12,9,");
    assert_eq!(message.topic, "RMQ_SYS_TRANS_OP_HALF_TOPIC");
    assert_eq!(message.properties, b"TAGS\x01d\x02");
    assert_eq!(*highest, 12);
    assert!(made(&[], 4_096).is_empty());
}

#[test]
fn are_no_longer_than_they_may_be() {
    let ended: Vec<i64> = (100..110).collect();
    let made = made(&ended, 10);
    let bodies: Vec<_> = made
        .iter()
        .map(|(message, _)| String::from_utf8_lossy(&message.body).into_owned())
        .collect();
    assert_eq!(
        bodies,
        ["100,101,102,", "103,104,105,", "106,107,108,", "109,"]
    );
    let highest: Vec<i64> = made.iter().map(|(_, highest)| *highest).collect();
    assert_eq!(highest, [102, 105, 108, 109]);
}

#[test]
fn are_read_whatever_they_hold() {
    for (body, expect) in [
        (&b"7,12,"[..], vec![7, 12]),
        (b"7", vec![7]),
        (b",,7,x,-3,99999999999999999999,8", vec![7, -3, 8]),
        (b"\xff\xfe", vec![]),
        (b"", vec![]),
    ] {
        assert_eq!(read(body, b"TAGS\x01d\x02"), expect, "{body:?}");
    }
    assert!(read(b"7,", b"TAGS\x01other\x02").is_empty());
    assert!(read(b"7,", b"").is_empty());
}

#[test]
fn are_needed_as_long_as_a_half_message_they_name_is_read() {
    let mut written = Written::from(3);
    assert_eq!(written.needed_from(0), 3);
    written.push(3, 10);
    written.push(4, 7);
    written.push(5, 20);
    assert_eq!(written.needed_from(10), 3);
    assert_eq!(written.needed_from(11), 5);
    assert_eq!(written.needed_from(21), 6);
    written.push(6, 30);
    assert_eq!(written.needed_from(21), 6);
}

#[test]
fn ended_half_messages_are_a_bit_each() {
    let mut ended = Ended::none(100, 300);
    for offset in [99, 100, 163, 164, 299, 300, i64::MAX, i64::MIN] {
        ended.add(offset);
    }
    let found: Vec<i64> = (0..400).filter(|offset| ended.contains(*offset)).collect();
    assert_eq!(found, [100, 163, 164, 299]);
}
