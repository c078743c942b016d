//! In order: a queue is blocked until what was taken is acknowledged, or its time is over.

use super::{POP, Pop, ack, advance, bodies, change, messages, with_messages};
use crate::testing::{Fixture, NOW_MS, config, field, send};
use store::disk::CrashKeep;

const ORDER: Pop<'static> = Pop {
    order: true,
    max: 2,
    attempt: "first",
    ..POP
};
const OTHER: Pop<'static> = Pop {
    attempt: "other",
    ..ORDER
};

#[tokio::test]
async fn a_queue_is_blocked_until_all_is_acknowledged() {
    let (fixture, client) = with_messages(&["1", "2", "3"]).await;
    send(&client, 1, "a", "x").await;
    let reply = Pop {
        queue_id: 0,
        ..ORDER
    }
    .call(&client)
    .await;
    let got = messages(&reply);
    assert_eq!(bodies(&got), ["1", "2"]);
    assert_eq!(field(&reply, "reviveQid").as_deref(), Some("999"));
    assert_eq!(field(&reply, "orderCountInfo").as_deref(), Some("0 0 0"));
    // Only the other queue is free.
    assert_eq!(bodies(&OTHER.now(&client).await), ["x"]);
    // The same try gets the same again.
    assert_eq!(bodies(&ORDER.now(&client).await), ["1", "2"]);
    ack(&client, "g", &got[1], (0, "")).await;
    let third = Pop {
        attempt: "third",
        ..ORDER
    };
    assert!(third.now(&client).await.is_empty());
    ack(&client, "g", &got[0], (0, "")).await;
    ack(&client, "g", &got[0], (0, "")).await;
    let got = third.now(&client).await;
    assert_eq!(bodies(&got), ["3"]);
    let mut wrong = got[0].clone();
    wrong.offset = 3;
    ack(
        &client,
        "g",
        &wrong,
        (13, "offset is illegal, key:Orders@g@0, old:2, commit:3"),
    )
    .await;
    fixture.stop().await;
}

#[tokio::test]
async fn it_is_free_again_when_the_time_is_over() {
    let (fixture, client) = with_messages(&["1", "2", "3"]).await;
    let got = ORDER.now(&client).await;
    advance(&fixture, 9_999).await;
    assert!(OTHER.now(&client).await.is_empty());
    advance(&fixture, 1).await;
    let reply = OTHER.call(&client).await;
    assert_eq!(bodies(&messages(&reply)), ["1", "2"]);
    let counts = field(&reply, "orderCountInfo");
    assert_eq!(counts.as_deref(), Some("0 qo0%0 1;0 qo0%1 1;0 0 1"));
    // What the first one says now has no effect.
    ack(&client, "g", &got[0], (0, "")).await;
    change(&client, "g", &got[0], 1, (208, "no message is taken by")).await;
    let third = Pop {
        attempt: "third",
        ..ORDER
    };
    assert!(third.now(&client).await.is_empty());
    fixture.stop().await;
}

#[tokio::test]
async fn a_message_can_come_back_at_another_time() {
    let (fixture, client) = with_messages(&["1", "2", "3"]).await;
    let got = ORDER.now(&client).await;
    ack(&client, "g", &got[1], (0, "")).await;
    change(&client, "g", &got[0], 1_000, (0, "")).await;
    advance(&fixture, 1_000).await;
    let reply = OTHER.call(&client).await;
    assert_eq!(bodies(&messages(&reply)), ["1", "2"]);
    let counts = field(&reply, "orderCountInfo");
    assert_eq!(counts.as_deref(), Some("0 qo0%0 1;0 qo0%1 1;0 0 1"));
    fixture.stop().await;
}

#[tokio::test]
async fn it_stays_blocked_over_a_restart() {
    let (fixture, client) = with_messages(&["1", "2", "3"]).await;
    let got = ORDER.now(&client).await;
    ack(&client, "g", &got[0], (0, "")).await;
    let sim = fixture.stop().await;
    let fixture = Fixture::on(sim, crate::testing::config()).await;
    let client = fixture.client().await;
    assert!(OTHER.now(&client).await.is_empty());
    ack(&client, "g", &got[1], (0, "")).await;
    assert_eq!(bodies(&OTHER.now(&client).await), ["3"]);
    fixture.stop().await;
}

/// What was taken shortly before a kill is not in the file: its acknowledgement counts all the same.
#[tokio::test]
async fn an_acknowledgement_after_a_kill_counts() {
    let (fixture, client) = with_messages(&["1", "2"]).await;
    let one = Pop { max: 1, ..ORDER };
    let got = one.now(&client).await;
    assert_eq!(bodies(&got), ["1"]);
    let after = fixture.sim.crash(CrashKeep::All);
    fixture.stop().await;
    let fixture = Fixture::on_at(after, config(), NOW_MS + 1_000).await;
    let client = fixture.client().await;
    // Only the next one, and only what was taken before.
    let mut wrong = got[0].clone();
    wrong.offset = 1;
    ack(&client, "g", &wrong, (0, "")).await;
    wrong = got[0].clone();
    wrong.handle = wrong.handle.replace("1795348800000", "1795348801000");
    ack(&client, "g", &wrong, (0, "")).await;
    assert_eq!(fixture.broker().committed("g", "Orders", 0), None);
    ack(&client, "g", &got[0], (0, "")).await;
    ack(&client, "g", &got[0], (0, "")).await;
    assert_eq!(bodies(&OTHER.now(&client).await), ["2"]);
    fixture.stop().await;
}
