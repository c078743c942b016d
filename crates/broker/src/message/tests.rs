//! Messages of the broker's own making.

use bytes::Bytes;
use protocol::QueueOffset;
use protocol::properties;
use protocol::record::Record;
use store::ReadLimits;

use super::Message;
use crate::testing::{Fixture, NOW_MS};

fn message(topic: &str, tags: &str) -> Message {
    let mut properties = Vec::new();
    properties::append(&mut properties, properties::TAGS, tags);
    Message {
        topic: topic.to_owned(),
        queue_id: 2,
        flag: 7,
        sys_flag: 0,
        born_timestamp: 5,
        born_host: "127.0.0.9:1234".parse().unwrap(),
        reconsume_times: 3,
        prepared_transaction_offset: 11,
        body: Bytes::from_static(b"body"),
        properties,
    }
}

#[tokio::test]
async fn is_stored_as_it_is() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker();
    let appended = broker.put(vec![message("Orders", "a")]).unwrap();
    let record = broker.store.record_at(appended.entries[0].0).unwrap();
    let record = record.unwrap();
    let stored = Record::decode(&record, true).unwrap().record;
    assert_eq!(Message::of(&stored), message("Orders", "a"));
    assert_eq!(stored.store_timestamp, NOW_MS);
    fixture.stop().await;
}

#[tokio::test]
async fn waits_for_its_time_if_it_says_so() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker();
    let mut delayed = message("Orders", "a");
    delayed.set(properties::DELAY, "2");
    broker.put_durably(vec![delayed]).await.unwrap();
    assert_eq!(
        broker
            .store
            .queue("Orders", 2)
            .map(|queue| queue.max_visible()),
        None
    );
    let queue = broker.store.queue("SCHEDULE_TOPIC_XXXX", 1).unwrap();
    let mut due = Vec::new();
    let read = broker
        .store
        .read(&queue, QueueOffset(0), &ReadLimits::default(), |entry| {
            due.push(entry.tags_code);
            true
        });
    let record = read.unwrap().records.iter().next().unwrap();
    let stored = Message::of(&Record::decode(&record, true).unwrap().record);
    assert_eq!(due, [NOW_MS + 5_000]);
    assert_eq!(stored.property(properties::REAL_TOPIC), Some("Orders"));
    assert_eq!(stored.property(properties::REAL_QID), Some("2"));
    fixture.stop().await;
}
