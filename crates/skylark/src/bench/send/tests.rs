//! Encoded requests are read back through the protocol, before and after they were written over.

use bytes::BytesMut;
use protocol::command::Header;
use protocol::frame::{Codec, Frame, split};

use super::*;

fn target(codec: Codec) -> Target {
    let broker = "127.0.0.1:10911".to_owned();
    Target {
        broker,
        topic: "BenchTopic".to_owned(),
        topics: 1,
        queues: 4,
        size: 100,
        codec,
    }
}

fn frame(bytes: &[u8]) -> Frame {
    let mut bytes = BytesMut::from(bytes);
    let frame = split(&mut bytes, 1 << 20).unwrap().unwrap();
    assert!(bytes.is_empty());
    frame
}

fn unique_key(frame: &Frame) -> String {
    let header = SendMessageV2::decode(frame.head().unwrap().fields).unwrap();
    let properties = header.properties.unwrap().to_str().into_owned();
    properties::find(properties.as_bytes(), properties::UNIQ_KEY)
        .unwrap()
        .to_owned()
}

#[test]
fn renewed_requests_differ_in_key_and_time_only() {
    for codec in [Codec::Json, Codec::Rocketmq] {
        let mut frames = Frames::new(&target(codec), 1, 6, 0).unwrap();
        let first = frame(frames.renew(5, 1_700_000_000_123));
        let second = frame(frames.renew(5, 1_700_000_000_456));
        for (frame, born) in [(&first, 1_700_000_000_123), (&second, 1_700_000_000_456)] {
            let head = frame.head().unwrap();
            assert_eq!((head.code, head.opaque), (request::SEND_MESSAGE_V2, 5));
            let header = SendMessageV2::decode(head.fields).unwrap();
            assert_eq!(header.queue_id, 1);
            assert_eq!(header.born_timestamp, born);
            assert_eq!(header.topic, "BenchTopic");
            assert_eq!(frame.body.len(), 100);
        }
        let (first, second) = (unique_key(&first), unique_key(&second));
        assert_eq!(first.len(), UNIQ_KEY.len());
        assert_eq!(first[..16], UNIQ_KEY[..16]);
        assert_ne!(first, second);
    }
}

#[test]
fn every_message_of_a_batch_has_a_key_of_its_own() {
    let mut frames = Frames::new(&target(Codec::Json), 3, 1, 0).unwrap();
    let frame = frame(frames.renew(0, 1_700_000_000_000));
    let head = frame.head().unwrap();
    assert_eq!(head.code, request::SEND_BATCH_MESSAGE);
    assert_eq!(
        SendMessageV2::decode(head.fields).unwrap().batch,
        Some(true)
    );
    let messages = protocol::record::messages_of_batch(&frame.body);
    let mut keys: Vec<_> = messages
        .map(|message| message.unwrap())
        .inspect(|message| assert_eq!(message.body.len(), 100))
        .map(|message| {
            properties::find(message.properties, properties::UNIQ_KEY)
                .unwrap()
                .to_owned()
        })
        .collect();
    keys.push(unique_key(&frame));
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}

#[test]
fn a_stamp_is_read_back() {
    let mut frames = Frames::new(&target(Codec::Json), 1, 2, 0).unwrap();
    frames.stamp(1, 77, 123_456_789);
    let stamped = frame(frames.renew(1, 1_700_000_000_000));
    assert_eq!(read_stamp(&stamped.body), Some((77, 123_456_789)));
    assert_eq!(stamped.body.len(), 100);
    assert_eq!(read_stamp(b"short"), None);
}

#[test]
fn windows_go_on_round_the_queues() {
    let queues = (0..3).flat_map(|number| {
        let mut frames = Frames::new(&target(Codec::Json), 1, 2, number).unwrap();
        [0, 1].map(|place| {
            let frame = frame(frames.renew(place, 1_700_000_000_000));
            let header = SendMessageV2::decode(frame.head().unwrap().fields).unwrap();
            header.queue_id
        })
    });
    assert_eq!(queues.collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1]);
}

#[test]
fn every_queue_of_every_topic_has_its_turn() {
    for codec in [Codec::Json, Codec::Rocketmq] {
        let target = Target {
            topics: 5,
            ..target(codec)
        };
        let mut seen = Vec::new();
        for (number, sends) in [(0, 12), (1, 8)] {
            let mut frames = Frames::in_turn(&target, 3, number, 2).unwrap();
            for sent in 0..sends {
                // Places are used again in no order.
                let frame = frame(frames.renew(sent * 2 % 3, 1_700_000_000_123));
                let header = SendMessageV2::decode(frame.head().unwrap().fields).unwrap();
                seen.push((header.topic.to_str().into_owned(), header.queue_id));
            }
        }
        seen.sort();
        let all = (0..5).flat_map(|topic| (0..4).map(move |queue| (topic, queue)));
        let all = all.map(|(topic, queue)| (format!("BenchTopic-{topic:06}"), queue));
        assert_eq!(seen, all.collect::<Vec<_>>());
    }
}

#[test]
fn at_random_all_are_sent_to() {
    let target = Target {
        topics: 3,
        ..target(Codec::Json)
    };
    let mut frames = Frames::new(&target, 1, 1, 0).unwrap();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..1200 {
        let frame = frame(frames.renew(0, 1_700_000_000_123));
        let header = SendMessageV2::decode(frame.head().unwrap().fields).unwrap();
        let place = (header.topic.to_str().into_owned(), header.queue_id);
        *seen.entry(place).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 12);
    assert!(
        seen.values().all(|count| (50..200).contains(count)),
        "{seen:?}"
    );
}
