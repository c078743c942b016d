//! Offsets over a socket.

use protocol::codes::request::{
    GET_EARLIEST_MSG_STORETIME, GET_MAX_OFFSET, GET_MIN_OFFSET, HEART_BEAT, QUERY_CONSUMER_OFFSET,
    SEARCH_OFFSET_BY_TIMESTAMP, UPDATE_CONSUMER_OFFSET,
};

use crate::testing::{Fixture, NOW_MS, beat, field, send};

const QUEUE: [(&str, &str); 2] = [("topic", "Orders"), ("queueId", "0")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&QUEUE, more].concat()
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "a").await;
    let group = with(&[("consumerGroup", "G")]);
    let commit = [&group[..], &[("commitOffset", "42")]].concat();
    client
        .check(
            UPDATE_CONSUMER_OFFSET,
            &commit,
            "",
            (26, "Group G not exist!"),
        )
        .await;
    client.ask(HEART_BEAT, &beat("c", "G", "*", 1)).await;
    client
        .check(UPDATE_CONSUMER_OFFSET, &commit, "", (0, ""))
        .await;
    let reply = client
        .check(QUERY_CONSUMER_OFFSET, &group, "", (0, ""))
        .await;
    assert_eq!(field(&reply, "offset").as_deref(), Some("42"));

    for (fields, expect) in [
        (
            vec![
                ("consumerGroup", "G"),
                ("topic", "No"),
                ("queueId", "0"),
                ("commitOffset", "1"),
            ],
            (17, "Topic No not exist!"),
        ),
        (
            vec![
                ("consumerGroup", "G"),
                ("topic", "Orders"),
                ("queueId", "-1"),
                ("commitOffset", "1"),
            ],
            (29, "QueueId is -1"),
        ),
        (
            vec![
                ("consumerGroup", "G"),
                ("topic", "Orders"),
                ("queueId", "4"),
                ("commitOffset", "1"),
            ],
            (29, "QueueId is 4"),
        ),
        (
            vec![
                ("consumerGroup", "G"),
                ("topic", "Orders"),
                ("queueId", "0"),
            ],
            (1, "the custom field <commitOffset> is null"),
        ),
        (
            vec![
                ("consumerGroup", "CID_RMQ_SYS_TRANS"),
                ("topic", "Orders"),
                ("queueId", "0"),
                ("commitOffset", "1"),
            ],
            (
                16,
                "the offsets of group CID_RMQ_SYS_TRANS are the broker's own",
            ),
        ),
    ] {
        client
            .check(UPDATE_CONSUMER_OFFSET, &fields, "", expect)
            .await;
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_new_group_reads_a_young_queue_from_its_start() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let group = with(&[("consumerGroup", "New")]);
    let not_zero = [&group[..], &[("setZeroIfNotFound", "false")]].concat();
    client
        .check(
            QUERY_CONSUMER_OFFSET,
            &group,
            "",
            (22, "maybe this group consumer boot first"),
        )
        .await;
    send(&client, 0, "t", "a").await;
    let reply = client
        .check(QUERY_CONSUMER_OFFSET, &group, "", (0, ""))
        .await;
    assert_eq!(field(&reply, "offset").as_deref(), Some("0"));
    client
        .check(
            QUERY_CONSUMER_OFFSET,
            &not_zero,
            "",
            (22, "do not set to zero"),
        )
        .await;
    fixture.stop().await;

    let fixture = Fixture::with(|config| config.read_limits.hot_window_bytes = 200).await;
    let client = fixture.client().await;
    for body in ["a", "b"] {
        send(&client, 0, "t", &body.repeat(100)).await;
    }
    client
        .check(
            QUERY_CONSUMER_OFFSET,
            &group,
            "",
            (22, "maybe this group consumer boot first"),
        )
        .await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_queue_has_two_ends() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for (code, before, after) in [(GET_MAX_OFFSET, "0", "3"), (GET_MIN_OFFSET, "0", "0")] {
        let reply = client
            .check(
                code,
                &[("topic", "Orders"), ("queueId", &code.to_string())],
                "",
                (0, ""),
            )
            .await;
        assert_eq!(field(&reply, "offset").as_deref(), Some(before));
        for _ in 0..3 {
            send(&client, code % 4, "t", "a").await;
        }
        let reply = client
            .check(
                code,
                &[("topic", "Orders"), ("queueId", &(code % 4).to_string())],
                "",
                (0, ""),
            )
            .await;
        assert_eq!(field(&reply, "offset").as_deref(), Some(after));
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_time_leads_to_an_offset() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for _ in 0..3 {
        send(&client, 0, "t", "a").await;
        fixture.clock.advance(1_000);
    }
    for (after_ms, lower, upper) in [
        (-1, "0", "0"),
        (0, "0", "0"),
        (500, "1", "0"),
        (1_000, "1", "1"),
        (2_000, "2", "2"),
        (9_000, "3", "2"),
    ] {
        let time = (NOW_MS + after_ms).to_string();
        for (boundary, expected) in [("lower", lower), ("upper", upper)] {
            let fields = with(&[("timestamp", &time), ("boundaryType", boundary)]);
            let reply = client
                .check(SEARCH_OFFSET_BY_TIMESTAMP, &fields, "", (0, ""))
                .await;
            assert_eq!(
                field(&reply, "offset").as_deref(),
                Some(expected),
                "{after_ms} {boundary}"
            );
        }
    }
    let reply = client
        .check(GET_EARLIEST_MSG_STORETIME, &QUEUE, "", (0, ""))
        .await;
    assert_eq!(field(&reply, "timestamp"), Some(NOW_MS.to_string()));
    let empty = [("topic", "Nothing"), ("queueId", "0")];
    let reply = client
        .check(GET_EARLIEST_MSG_STORETIME, &empty, "", (0, ""))
        .await;
    assert_eq!(field(&reply, "timestamp").as_deref(), Some("-1"));
    let nowhere = [("topic", "Nothing"), ("queueId", "0"), ("timestamp", "0")];
    for code in [SEARCH_OFFSET_BY_TIMESTAMP, GET_MAX_OFFSET, GET_MIN_OFFSET] {
        let reply = client.check(code, &nowhere, "", (0, "")).await;
        assert_eq!(field(&reply, "offset").as_deref(), Some("0"), "{code}");
    }
    fixture.stop().await;
}
