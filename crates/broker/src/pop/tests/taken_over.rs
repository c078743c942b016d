//! Records of the revive topic that Apache's timer brings there.

use bytes::Bytes;
use protocol::properties;

use super::{POP, advance, bodies, with_messages};
use crate::message::Message;
use crate::testing::{Fixture, NOW_MS};

/// As Apache's timer stores it when its time has come.
fn put(fixture: &Fixture, tag: &str, body: &str) {
    let broker = fixture.broker();
    let mut text = Vec::new();
    properties::append(&mut text, properties::TAGS, tag);
    properties::append(&mut text, properties::TIMER_OUT_MS, "1795348800000");
    let message = Message {
        topic: "rmq_sys_REVIVE_LOG_DefaultCluster".into(),
        queue_id: 2,
        flag: 0,
        sys_flag: 0,
        born_timestamp: NOW_MS,
        born_host: broker.identity.advertised.socket,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::copy_from_slice(body.as_bytes()),
        properties: text,
    };
    broker.put(vec![message]).expect("stored");
}

async fn open(fixture: &Fixture, count: usize) {
    while fixture.broker().pops.open() != count {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn check_points_wait_for_acknowledgements() {
    let (fixture, client) = with_messages(&["1", "2", "3"]).await;
    // The group went on; Apache said so in consumerOffset.json.
    fixture
        .broker()
        .commit_offset("g", "Orders", 0, protocol::QueueOffset(3));
    put(
        &fixture,
        "ck",
        r#"{"bm":0,"bn":"broker-a","c":"g","d":[0,1,2],"it":10000,"n":3,"pt":1795348790000,"q":0,"ro":0,"so":0,"t":"Orders"}"#,
    );
    put(
        &fixture,
        "ck",
        r#"{"bm":0,"bn":"broker-b","c":"g","d":[0],"it":10000,"n":1,"pt":1,"q":0,"ro":0,"so":0,"t":"Orders"}"#,
    );
    put(&fixture, "ck", "nonsense");
    put(&fixture, "other", "{}");
    open(&fixture, 1).await;
    advance(&fixture, 2_999).await;
    assert!(POP.now(&client).await.is_empty());
    put(
        &fixture,
        "ack",
        r#"{"ao":0,"bn":"broker-a","c":"g","pt":1795348790000,"q":0,"so":0,"t":"Orders"}"#,
    );
    put(
        &fixture,
        "bAck",
        r#"{"ao":-1,"aol":[2],"c":"g","pt":1795348790000,"q":0,"so":0,"t":"Orders"}"#,
    );
    let applied = || fixture.broker().pops.checkpoints.lock().applied(2);
    while applied() != Some(6) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    advance(&fixture, 1).await;
    let got = POP.now(&client).await;
    assert_eq!((bodies(&got), got[0].times), (vec!["2"], 1));
    fixture.stop().await;
}

/// What Apache reads of ours: the same JSON, and a time to deliver that is the time it was stored.
#[tokio::test]
async fn our_records_are_apaches() {
    let (fixture, client) = with_messages(&["1", "2"]).await;
    let got = POP.now(&client).await;
    super::ack(&client, "g", &got[1], (0, "")).await;
    let queue = fixture
        .broker()
        .store
        .queue("rmq_sys_REVIVE_LOG_DefaultCluster", 0);
    let queue = queue.expect("the first queue is used first");
    let read = fixture.broker().store.read(
        &queue,
        protocol::QueueOffset(0),
        &store::ReadLimits::default(),
        |_| true,
    );
    let read = read.expect("readable");
    let expect = [
        (
            "ck",
            r#"{"bm":0,"bn":"broker-a","c":"g","d":[0,1],"it":10000,"n":2,"pt":1795348800000,"q":0,"ro":0,"so":0,"t":"Orders"}"#,
        ),
        (
            "ack",
            r#"{"ao":1,"bn":"broker-a","c":"g","pt":1795348800000,"q":0,"so":0,"t":"Orders"}"#,
        ),
    ];
    assert_eq!(read.records.len(), expect.len());
    for (record, (tag, body)) in read.records.iter().zip(expect) {
        let record = protocol::record::Record::decode(&record, true)
            .expect("a record")
            .record;
        assert_eq!(String::from_utf8_lossy(record.body), body);
        let find = |name| properties::find(record.properties, name);
        assert_eq!(find(properties::TAGS), Some(tag));
        assert_eq!(find(properties::TIMER_DELIVER_MS), Some("1795348800000"));
    }
    // How far it is needed no more.
    super::ack(&client, "g", &got[0], (0, "")).await;
    fixture.broker().note_revive_offsets();
    let done = fixture.broker().committed(
        "CID_RMQ_SYS_REVIVE_GROUP",
        "rmq_sys_REVIVE_LOG_DefaultCluster",
        0,
    );
    assert_eq!(done, Some(protocol::QueueOffset(2)));
    fixture.stop().await;
}
