//! Queries over a socket: by key, by unique id, by place.

use std::time::{Duration, Instant};

use protocol::codes::request::{QUERY_MESSAGE, SEND_MESSAGE_V2, VIEW_MESSAGE_BY_ID};
use protocol::message_id::MessageId;
use remoting::Reply;

use crate::testing::{Client, Fixture, NOW_MS, Raw, bodies, field};

const NOT_FOUND: i32 = 22;

/// Sends to `Orders`; returns the offset message id.
async fn send(client: &Client, properties: &str, body: &str) -> MessageId {
    let properties = properties.replace('=', "\u{1}").replace(';', "\u{2}");
    let fields = [
        ("a", "producers"),
        ("b", "Orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "0"),
        ("h", "0"),
        ("i", properties.as_str()),
    ];
    let reply = client.check(SEND_MESSAGE_V2, &fields, body, (0, "")).await;
    MessageId::decode(&field(&reply, "msgId").unwrap()).unwrap()
}

async fn query(client: &Client, key: &str, max: &str, more: &[(&str, &str)]) -> Reply {
    let (begin, end) = ((NOW_MS - 1_000).to_string(), (NOW_MS + 1_000).to_string());
    let fields = [
        ("topic", "Orders"),
        ("key", key),
        ("maxNum", max),
        ("beginTimestamp", begin.as_str()),
        ("endTimestamp", end.as_str()),
    ];
    let fields: Vec<_> = fields
        .iter()
        .filter(|(name, _)| more.iter().all(|(other, _)| name != other))
        .chain(more)
        .copied()
        .collect();
    client
        .call(QUERY_MESSAGE, &Raw(&fields), Vec::<u8>::new())
        .await
}

/// Asks until the index, which follows the log, has the message.
async fn indexed(client: &Client, key: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while query(client, key, "1", &[]).await.code == NOT_FOUND {
        assert!(Instant::now() < deadline, "{key} is indexed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn messages_are_found_by_key_and_by_unique_id() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, "UNIQ_KEY=U1;KEYS=red blue;", "one").await;
    send(&client, "UNIQ_KEY=U2;KEYS=red;", "two").await;
    send(&client, "UNIQ_KEY=U3;", "three").await;
    indexed(&client, "U3").await;
    let unique = ("_UNIQUE_KEY_QUERY", "true");
    let past = [("beginTimestamp", "0"), ("endTimestamp", "1000")];
    for (key, max, more, expected) in [
        ("red", "10", &[][..], &["one", "two"][..]),
        ("blue", "10", &[], &["one"]),
        ("red", "1", &[], &["two"]),
        ("U1", "0", &[unique], &["one"]),
        ("U1", "10", &[("topic", "Bills")], &[]),
        ("green", "10", &[], &[]),
        ("red", "10", &past, &[]),
        ("red", "-1", &[], &[]),
    ] {
        let reply = query(&client, key, max, more).await;
        assert_eq!(
            reply.code,
            if expected.is_empty() { NOT_FOUND } else { 0 },
            "{key} {max} {more:?}"
        );
        assert_eq!(bodies(&reply), expected, "{key} {max} {more:?}");
        assert!(
            field(&reply, "indexLastUpdateTimestamp").is_some(),
            "found or not"
        );
    }
    fixture.stop().await;
}

#[tokio::test]
async fn what_was_not_indexed_before_a_stop_is_after_the_start() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, "UNIQ_KEY=U1;", "one").await;
    drop(client);
    let sim = fixture.sim.crash(store::disk::CrashKeep::All);
    fixture.stop().await;
    let fixture = Fixture::on(sim, crate::testing::config()).await;
    let client = fixture.client().await;
    indexed(&client, "U1").await;
    drop(client);
    fixture.stop().await;
}

#[tokio::test]
async fn a_message_is_viewed_by_its_place() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let id = send(&client, "", "one").await;
    send(&client, "", "two").await;
    let at = id.offset.0;
    let reply = client
        .check(
            VIEW_MESSAGE_BY_ID,
            &[("offset", &at.to_string())],
            "",
            (0, ""),
        )
        .await;
    assert_eq!(bodies(&reply), ["one"]);
    for wrong in [at + 1, 1 << 40, -1] {
        let wrong = wrong.to_string();
        let words = format!("can not find message by the offset, {wrong}");
        client
            .check(VIEW_MESSAGE_BY_ID, &[("offset", &wrong)], "", (1, &words))
            .await;
    }
    fixture.stop().await;
}
