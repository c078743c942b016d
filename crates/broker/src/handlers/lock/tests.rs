//! Locks over a socket.

use protocol::bodies::LockBatchResponse;
use protocol::codes::request::{LOCK_BATCH_MQ, UNLOCK_BATCH_MQ};
use protocol::fastjson;

use crate::limits::LOCK_MS_MAX;
use crate::testing::{Client, Fixture};

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
