//! What is not acknowledged comes back, what is does not.

use super::{POP, Pop, ack, advance, bodies, change, with_messages};
use crate::limits;
use crate::message::Message;
use crate::testing::{NOW_MS, arrived, send, stored};
use bytes::Bytes;
use protocol::properties;

#[tokio::test]
async fn what_is_not_acknowledged_comes_back_in_time() {
    let (fixture, client) = with_messages(&["1", "2", "3"]).await;
    let got = POP.now(&client).await;
    ack(&client, "g", &got[1], (0, "")).await;
    advance(&fixture, 9_999).await;
    assert!(POP.now(&client).await.is_empty());
    advance(&fixture, 1).await;
    let again = POP.now(&client).await;
    assert_eq!(bodies(&again), ["1", "3"]);
    for got in &again {
        assert_eq!((got.times, got.topic.as_str()), (1, "Orders"));
        assert_eq!(got.first_pop, Some(NOW_MS.to_string()));
    }
    // Both are acknowledged by handles of the retry topic.
    for got in &again {
        ack(&client, "g", got, (0, "")).await;
    }
    advance(&fixture, 100_000).await;
    assert!(POP.now(&client).await.is_empty());
    assert_eq!(fixture.broker().pops.open(), 0);
    fixture.stop().await;
}

#[tokio::test]
async fn tries_are_counted() {
    let (fixture, client) = with_messages(&["1"]).await;
    for times in 0..4 {
        let got = POP.now(&client).await;
        assert_eq!((bodies(&got), got[0].times), (vec!["1"], times));
        advance(&fixture, 10_000).await;
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_changed_time_counts_from_now() {
    let (fixture, client) = with_messages(&["1", "2"]).await;
    let got = POP.now(&client).await;
    advance(&fixture, 5_000).await;
    let longer = change(&client, "g", &got[0], 20_000, (0, "")).await;
    advance(&fixture, 5_000).await;
    assert_eq!(bodies(&POP.now(&client).await), ["2"]);
    // The old handle is worth nothing any more, the new one is.
    ack(&client, "g", &got[0], (0, "")).await;
    change(
        &client,
        "g",
        &got[0],
        1_000,
        (208, "no message is taken by"),
    )
    .await;
    let at_once = change(&client, "g", &longer, 0, (0, "")).await;
    advance(&fixture, 0).await;
    let again = POP.now(&client).await;
    assert_eq!((bodies(&again), again[0].times), (vec!["1"], 1));
    ack(&client, "g", &at_once, (0, "")).await;
    ack(&client, "g", &again[0], (0, "")).await;
    fixture.stop().await;
}

/// What is noted for a consumer is left out where it does not fit, and no other message waits for such a one.
#[tokio::test]
async fn full_properties_come_back() {
    let (fixture, client) = with_messages(&["1"]).await;
    let broker = fixture.broker();
    let mut text = Vec::new();
    properties::append(&mut text, "filler", "");
    let value = "x".repeat(limits::PROPERTIES_BYTES_MAX - text.len());
    text.clear();
    properties::append(&mut text, "filler", &value);
    let full = Message {
        topic: "Orders".into(),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: NOW_MS,
        born_host: broker.identity.advertised.socket,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::from_static(b"2"),
        properties: text,
    };
    broker.put(vec![full]).expect("stored");
    send(&client, 0, "a", "3").await;
    assert_eq!(bodies(&POP.now(&client).await), ["1", "2", "3"]);
    advance(&fixture, 10_000).await;
    let again = stored(broker, "%RETRY%g_Orders", 0);
    let again = again
        .iter()
        .map(|again| (again.body(), again.property(properties::FIRST_POP_TIME)));
    let now = NOW_MS.to_string();
    assert_eq!(
        again.collect::<Vec<_>>(),
        [("1", &*now), ("2", ""), ("3", &*now)]
    );
    assert_eq!(broker.pops.open(), 0);
    fixture.stop().await;
}

/// A retry topic that can't be saved yet holds up nobody else's messages.
#[tokio::test]
async fn others_do_not_wait_for_a_new_retry_topic() {
    let (fixture, client) = with_messages(&["1"]).await;
    assert_eq!(POP.now(&client).await.len(), 1);
    advance(&fixture, 10_000).await;
    let other = Pop { group: "h", ..POP };
    assert_eq!(bodies(&other.now(&client).await), ["1"]);
    assert_eq!(bodies(&POP.now(&client).await), ["1"]);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (holding, held) = std::sync::mpsc::channel();
    let broker = fixture.running.broker().clone();
    let slow = std::thread::spawn(move || {
        let _topics = broker.topics.file.hold_up();
        holding.send(()).expect("it waits");
        released.recv().expect("it ends");
    });
    held.recv().expect("it holds");
    fixture.clock.advance(10_000);
    arrived(fixture.broker(), "%RETRY%g_Orders", 0, 2).await;
    assert!(other.now(&client).await.is_empty());
    release.send(()).expect("it waits");
    slow.join().expect("it ends");
    fixture.broker().revived().await;
    assert_eq!(bodies(&other.now(&client).await), ["1"]);
    fixture.stop().await;
}
