//! Calling off messages that are to come.

use protocol::codes::request;
use protocol::recall_handle::RecallHandle;
use store::disk::{Fault, FaultError, FaultOn};

use crate::testing::{Fixture, NOW_MS, field, send};

fn handle(topic: &str, broker: &str, time: &str) -> String {
    let handle = RecallHandle {
        topic: topic.into(),
        broker: broker.into(),
        time: time.into(),
        unique_key: "K".into(),
    };
    handle.encode()
}

#[tokio::test]
async fn what_can_not_be_called_off_is_refused_as_apache_refuses_it() {
    let fixture = Fixture::with(|config| config.timer.recall_enabled = true).await;
    let client = fixture.client().await;
    send(&client, 0, "t", "makes the topic").await;
    let soon = (NOW_MS + 5_000).to_string();
    let beyond = (NOW_MS + 259_200_000).to_string();
    let good = handle("Orders", "broker-a", &soon);
    for (topic, handle, expect) in [
        (
            "Nowhere",
            good.clone(),
            (17, "recall failed, the topic[Nowhere] not exist"),
        ),
        ("Orders", String::new(), (604, "recall handle is invalid")),
        ("Orders", "???".into(), (604, "recall handle is invalid")),
        (
            "Orders",
            handle("Others", "broker-a", &soon),
            (604, "recall failed, topic not match"),
        ),
        (
            "Orders",
            handle("Orders", "broker-b", &soon),
            (604, "recall failed, broker service not available"),
        ),
        (
            "Orders",
            handle("Orders", "broker-a", &NOW_MS.to_string()),
            (604, "recall failed, timestamp invalid"),
        ),
        (
            "Orders",
            handle("Orders", "broker-a", &beyond),
            (604, "recall failed, timestamp invalid"),
        ),
        (
            "Orders",
            handle("Orders", "broker-a", "soon"),
            (604, "recall failed, timestamp invalid"),
        ),
        ("Orders", good, (0, "")),
    ] {
        let fields = [("topic", topic), ("recallHandle", handle.as_str())];
        client
            .check(request::RECALL_MESSAGE, &fields, "", expect)
            .await;
    }
    client
        .check(
            request::RECALL_MESSAGE,
            &[("topic", "Orders")],
            "",
            (1, "recallHandle"),
        )
        .await;
    fixture.stop().await;
}

#[tokio::test]
async fn nothing_is_called_off_unless_that_is_switched_on() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let fields = [("topic", "Orders"), ("recallHandle", "x")];
    let words = "recall failed, operation is forbidden";
    client
        .check(request::RECALL_MESSAGE, &fields, "", (16, words))
        .await;
    fixture.stop().await;
}

#[tokio::test]
async fn what_a_power_cut_may_take_back_is_not_called_off() {
    let fixture = Fixture::with(|config| {
        config.timer.recall_enabled = true;
        config.store.sync_flush = true;
    })
    .await;
    let client = fixture.client().await;
    send(&client, 0, "t", "makes the topic").await;
    fixture.sim.fail(Fault {
        on: FaultOn::Sync,
        path: "commitlog".to_owned(),
        after: 0,
        error: FaultError::Io,
        sticky: true,
    });
    let handle = handle("Orders", "broker-a", &(NOW_MS + 5_000).to_string());
    let fields = [("topic", "Orders"), ("recallHandle", handle.as_str())];
    let reply = client
        .check(request::RECALL_MESSAGE, &fields, "", (14, ""))
        .await;
    assert_eq!(field(&reply, "msgId"), None);
}
