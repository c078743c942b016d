//! Locks over a socket.

use protocol::bodies::LockBatchResponse;
use protocol::codes::request::{HEART_BEAT, LOCK_BATCH_MQ, UNLOCK_BATCH_MQ, UNREGISTER_CLIENT};
use protocol::fastjson;

use crate::limits::LOCK_MS_MAX;
use crate::testing::{Client, Fixture, beat};

fn body(client_id: &str, queues: &[i32]) -> String {
    let queue =
        |id: &i32| format!(r#"{{"brokerName":"broker-a","queueId":{id},"topic":"Orders"}}"#);
    let queues = queues.iter().map(queue).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"clientId":"{client_id}","consumerGroup":"G","mqSet":[{queues}],"onlyThisBroker":false}}"#
    )
}

async fn lock(client: &Client, client_id: &str, queues: &[i32]) -> Vec<i32> {
    let reply = client.ask(LOCK_BATCH_MQ, &body(client_id, queues)).await;
    assert_eq!(reply.code, 0);
    let owned: LockBatchResponse = fastjson::from_slice(reply.body()).unwrap();
    owned
        .lock_ok_mq_set
        .iter()
        .map(|queue| queue.queue_id)
        .collect()
}

#[tokio::test]
async fn queues_are_locked_until_given_back_or_forgotten() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    assert_eq!(lock(&client, "one", &[0, 1]).await, [0, 1]);
    assert_eq!(lock(&client, "two", &[1, 2]).await, [2]);
    assert_eq!(
        client.ask(UNLOCK_BATCH_MQ, &body("one", &[1])).await.code,
        0
    );
    assert_eq!(lock(&client, "two", &[0, 1]).await, [1]);
    fixture.clock.advance(LOCK_MS_MAX + 1);
    assert_eq!(lock(&client, "two", &[0]).await, [0]);
    client
        .check(
            LOCK_BATCH_MQ,
            &[],
            "{\"mqSet\":",
            (1, "LOCK_BATCH_MQ body: JSON"),
        )
        .await;
    fixture.stop().await;
}

/// Codes as the running 5.3.3 answers.
#[tokio::test]
async fn bodies_that_are_refused_and_strangers_that_are_not() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let queue = r#"{"brokerName":"b","queueId":0,"topic":"T"}"#;
    let cases: &[(&str, i32, i32)] = &[
        ("{}", 0, 1),
        ("[]", 1, 1),
        ("", 1, 1),
        ("{nope", 1, 1),
        (
            r#"{"consumerGroup":"g","clientId":"c","mqSet":[null]}"#,
            1,
            1,
        ),
        (r#"{"consumerGroup":"g","clientId":"c","mqSet":"x"}"#, 1, 1),
        (&format!(r#"{{"clientId":"c","mqSet":[{queue}]}}"#), 1, 1),
        (
            &format!(r#"{{"consumerGroup":"g","mqSet":[{queue}]}}"#),
            1,
            0,
        ),
        (
            &format!(r#"{{"consumerGroup":"g","clientId":"c","mqSet":[{queue}]}}"#),
            0,
            0,
        ),
    ];
    for (text, lock, unlock) in cases {
        for (code, expected) in [(LOCK_BATCH_MQ, lock), (UNLOCK_BATCH_MQ, unlock)] {
            let reply = client.ask(code, text).await;
            assert_eq!(reply.code, *expected, "{code} {text}: {:?}", reply.remark);
        }
    }
    fixture.stop().await;
}

/// A clean leave hands over at once, a lost connection does not: the client may be alive and at work.
#[tokio::test]
async fn who_leaves_gives_back_its_locks_and_who_vanishes_does_not() {
    let fixture = Fixture::start().await;
    let (one, two) = (fixture.client().await, fixture.client().await);
    for (client, id) in [(&one, "one"), (&two, "two")] {
        client.ask(HEART_BEAT, &beat(id, "G", "*", 1)).await;
    }
    assert_eq!(lock(&one, "one", &[0, 1]).await, [0, 1]);
    assert_eq!(lock(&two, "two", &[2]).await, [2]);
    // Not its own group, and not itself.
    for (group, id) in [("H", "one"), ("G", "three")] {
        let fields = [("clientID", id), ("consumerGroup", group)];
        let stranger = fixture.client().await;
        stranger
            .check(UNREGISTER_CLIENT, &fields, "", (0, ""))
            .await;
    }
    assert_eq!(lock(&two, "two", &[0, 1]).await, []);
    let fields = [("clientID", "one"), ("consumerGroup", "G")];
    one.check(UNREGISTER_CLIENT, &fields, "", (0, "")).await;
    assert_eq!(lock(&two, "two", &[0, 1]).await, [0, 1]);
    drop(two);
    fixture.clock.advance(LOCK_MS_MAX);
    assert_eq!(lock(&one, "one", &[0, 1, 2]).await, []);
    fixture.clock.advance(1);
    assert_eq!(lock(&one, "one", &[0, 1, 2]).await, [0, 1, 2]);
    fixture.stop().await;
}

#[tokio::test]
async fn names_have_a_limit() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let long = body(&"c".repeat(256), &[0]);
    let reply = client.ask(LOCK_BATCH_MQ, &long).await;
    let remark = reply.remark.as_deref();
    assert_eq!(
        (reply.code, remark),
        (1, Some("a name of 256 bytes, limit 255"))
    );
    fixture.stop().await;
}
