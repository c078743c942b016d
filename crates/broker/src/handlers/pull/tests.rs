//! PULL over a socket: what is found, what is held, who is refused.

use std::time::{Duration, Instant};

use protocol::codes::request::{HEART_BEAT, LITE_PULL_MESSAGE, PULL_MESSAGE};
use remoting::{Body, Call, Reply};

use crate::testing::{Client, Fixture, Raw, beat, bodies, field, send};

/// The fields of a pull of `Orders` with its own subscription to everything, some replaced or left out.
fn fields<'a>(changes: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("consumerGroup", "G"),
        ("topic", "Orders"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "15000"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.extend(value.map(|value| (*name, value)));
    }
    fields
}

async fn pull(client: &Client, changes: &[(&str, Option<&str>)], expect: (i32, &str)) -> Reply {
    client
        .check(PULL_MESSAGE, &fields(changes), "", expect)
        .await
}

/// A pull that is held: it is on its way when this returns, its answer comes later.
fn held(client: &Client, changes: &[(&str, Option<&str>)]) -> Call {
    let changes = [&[("sysFlag", Some("6"))], changes].concat();
    client.connection.call(
        PULL_MESSAGE,
        &Raw(&fields(&changes)),
        Body::None,
        Duration::from_secs(20),
    )
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn offsets(reply: &Reply) -> [i64; 3] {
    ["nextBeginOffset", "minOffset", "maxOffset"]
        .map(|name| field(reply, name).unwrap().parse().unwrap())
}

#[tokio::test]
async fn messages_come_in_order_from_the_offset_on() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for body in ["a", "b", "c", "d"] {
        send(&client, 0, "t", body).await;
    }
    let reply = pull(
        &client,
        &[("queueOffset", Some("1")), ("maxMsgNums", Some("2"))],
        (0, "FOUND"),
    )
    .await;
    assert_eq!(bodies(&reply), ["b", "c"]);
    assert_eq!(offsets(&reply), [3, 0, 4]);
    assert_eq!(field(&reply, "suggestWhichBrokerId").as_deref(), Some("0"));
    let lite = client
        .check(LITE_PULL_MESSAGE, &fields(&[]), "", (0, "FOUND"))
        .await;
    assert_eq!(bodies(&lite), ["a", "b", "c", "d"]);
    fixture.stop().await;
}

#[tokio::test]
async fn an_offset_out_of_range_is_told_where_to_go_on() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "a").await;
    for (changes, expect, next) in [
        (
            &[("queueOffset", Some("1"))][..],
            (19, "OFFSET_OVERFLOW_ONE"),
            1,
        ),
        (
            &[("queueOffset", Some("9"))],
            (21, "OFFSET_OVERFLOW_BADLY"),
            1,
        ),
        (&[("queueOffset", Some("-1"))], (21, "OFFSET_TOO_SMALL"), 0),
        (&[("queueId", Some("1"))], (19, "NO_MESSAGE_IN_QUEUE"), 0),
        (
            &[("queueId", Some("1")), ("queueOffset", Some("5"))],
            (21, "NO_MESSAGE_IN_QUEUE"),
            0,
        ),
    ] {
        let reply = pull(&client, changes, expect).await;
        assert_eq!(offsets(&reply)[0], next, "{changes:?}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn only_wanted_tags_come() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for (tags, body) in [("red", "1"), ("green", "2"), ("blue", "3"), ("red", "4")] {
        send(&client, 0, tags, body).await;
    }
    for (expression, expected) in [
        ("*", "1 2 3 4"),
        ("red", "1 4"),
        ("red || blue", "1 3 4"),
        ("", "1 2 3 4"),
    ] {
        let reply = pull(&client, &[("subscription", Some(expression))], (0, "FOUND")).await;
        assert_eq!(bodies(&reply).join(" "), expected, "{expression}");
    }
    let none = pull(
        &client,
        &[("subscription", Some("black"))],
        (20, "NO_MATCHED_MESSAGE"),
    )
    .await;
    assert_eq!(
        offsets(&none)[0],
        4,
        "messages nobody wants are stepped over"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn a_pull_waits_for_its_message() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "old").await;
    let waiting = held(&client, &[("queueOffset", Some("1"))]);
    let other = held(&client, &[("queueId", Some("1"))]);
    until("both are held", || fixture.broker().holds.count() == 2).await;
    send(&client, 0, "t", "new").await;
    let reply = waiting.await.unwrap();
    assert_eq!((reply.code, bodies(&reply)), (0, vec!["new".to_owned()]));
    assert_eq!(
        fixture.broker().holds.count(),
        1,
        "another queue's pull goes on waiting"
    );
    send(&client, 1, "t", "first").await;
    assert_eq!(bodies(&other.await.unwrap()), ["first"]);
    fixture.stop().await;
}

#[tokio::test]
async fn with_sync_flush_a_held_pull_sees_only_what_is_durable() {
    let fixture = Fixture::with(|config| config.store.sync_flush = true).await;
    let client = fixture.client().await;
    send(&client, 0, "t", "old").await;
    let waiting = held(&client, &[("queueOffset", Some("1"))]);
    until("it is held", || fixture.broker().holds.count() == 1).await;
    send(&client, 0, "t", "new").await;
    let reply = waiting.await.unwrap();
    assert_eq!(bodies(&reply), ["new"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_wait_ends_at_its_time() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "old").await;
    let reply = held(
        &client,
        &[
            ("queueOffset", Some("1")),
            ("suspendTimeoutMillis", Some("30")),
        ],
    )
    .await
    .unwrap();
    assert_eq!(
        (reply.code, reply.remark.as_deref()),
        (19, Some("OFFSET_OVERFLOW_ONE"))
    );
    assert_eq!(offsets(&reply), [1, 0, 1]);
    assert_eq!(fixture.broker().holds.count(), 0);
    fixture.stop().await;
}

#[tokio::test]
async fn messages_that_nobody_wants_do_not_end_a_wait_but_move_it_on() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "old").await;
    let changes = [
        ("queueOffset", Some("1")),
        ("subscription", Some("red")),
        ("suspendTimeoutMillis", Some("300")),
    ];
    let waiting = held(&client, &changes);
    until("it is held", || fixture.broker().holds.count() == 1).await;
    send(&client, 0, "green", "unwanted").await;
    let reply = waiting.await.unwrap();
    assert_eq!((reply.code, offsets(&reply)[0]), (20, 2));

    let waiting = held(
        &client,
        &[("queueOffset", Some("2")), ("subscription", Some("red"))],
    );
    until("it is held", || fixture.broker().holds.count() == 1).await;
    send(&client, 0, "green", "unwanted").await;
    send(&client, 0, "red", "wanted").await;
    assert_eq!(bodies(&waiting.await.unwrap()), ["wanted"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_wait_skips_nothing_that_a_newer_subscription_wants() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "old").await;
    client.ask(HEART_BEAT, &beat("c1", "G", "red", 100)).await;
    let asked = [("queueOffset", Some("1")), ("sysFlag", Some("2"))];
    let old = [&asked[..], &[("subVersion", Some("100"))]].concat();
    let waiting = held(&client, &old);
    until("it is held", || fixture.broker().holds.count() == 1).await;
    client
        .ask(HEART_BEAT, &beat("c1", "G", "red || green", 101))
        .await;
    send(&client, 0, "green", "new").await;
    send(&client, 0, "red", "wanted by both").await;
    let reply = waiting.await.unwrap();
    assert_eq!((reply.code, offsets(&reply)[0]), (20, 1));
    let new = [&asked[..], &[("subVersion", Some("101"))]].concat();
    let reply = pull(&client, &new, (0, "FOUND")).await;
    assert_eq!(bodies(&reply), ["new", "wanted by both"]);
    fixture.stop().await;
}

#[tokio::test]
async fn waits_end_with_their_connection() {
    let fixture = Fixture::start().await;
    let producer = fixture.client().await;
    send(&producer, 0, "t", "old").await;
    let client = fixture.client().await;
    let calls: Vec<_> = (0..100)
        .map(|_| held(&client, &[("queueOffset", Some("1"))]))
        .collect();
    until("all are held", || fixture.broker().holds.count() == 100).await;
    drop(calls);
    drop(client);
    until("none is left", || fixture.broker().holds.count() == 0).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_stop_answers_those_who_wait() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "old").await;
    let waiting = held(&client, &[("queueOffset", Some("1"))]);
    until("it is held", || fixture.broker().holds.count() == 1).await;
    let stopping = tokio::spawn(fixture.stop());
    let answer = waiting.await.unwrap();
    assert_eq!(answer.code, 14);
    assert_eq!(
        answer.remark.as_deref(),
        Some("the broker is shutting down")
    );
    drop(client);
    stopping.await.unwrap();
}

#[tokio::test]
async fn an_offset_is_committed_on_the_way() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "a").await;
    let committed = || {
        let offsets = fixture.broker().offsets.state.read();
        offsets.committed("G", "Orders", 0).map(|offset| offset.0)
    };
    pull(&client, &[("commitOffset", Some("7"))], (0, "")).await;
    assert_eq!(committed(), None, "the flag says whether to");
    pull(
        &client,
        &[("commitOffset", Some("7")), ("sysFlag", Some("5"))],
        (0, ""),
    )
    .await;
    assert_eq!(committed(), Some(7));
    fixture.stop().await;
}

#[tokio::test]
async fn heartbeats_say_what_a_group_subscribes_to() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for tags in ["red", "green"] {
        send(&client, 0, tags, tags).await;
    }
    let plain = [("sysFlag", Some("0")), ("subscription", None)];
    pull(&client, &plain, (24, "the consumer's group info not exist")).await;
    client.ask(HEART_BEAT, &beat("c1", "G", "green", 100)).await;
    let reply = pull(
        &client,
        &[&plain[..], &[("subVersion", Some("100"))]].concat(),
        (0, "FOUND"),
    )
    .await;
    assert_eq!(bodies(&reply), ["green"]);
    pull(
        &client,
        &[&plain[..], &[("subVersion", Some("101"))]].concat(),
        (25, "subscription not latest"),
    )
    .await;
    let other = [&plain[..], &[("topic", Some("BenchmarkTest"))]].concat();
    pull(
        &client,
        &other,
        (24, "the consumer's subscription not exist"),
    )
    .await;
    fixture.stop().await;
}

#[tokio::test]
async fn who_is_refused_and_how() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "a").await;
    for (changes, expect) in [
        (
            &[("consumerGroup", None)][..],
            (1, "the custom field <consumerGroup> is null"),
        ),
        (
            &[("queueOffset", Some("first"))],
            (1, "the custom field <queueOffset> is \"first\""),
        ),
        (
            &[("consumerGroup", Some("../G"))],
            (26, "subscription group [../G] does not exist"),
        ),
        (
            &[("topic", Some("Nothing"))],
            (17, "topic[Nothing] not exist, apply first please!"),
        ),
        (
            &[("queueId", Some("4"))],
            (
                29,
                "queueId[4] is illegal, topic:[Orders] topicConfig.readQueueNums:[4] consumer:[127",
            ),
        ),
        (&[("queueId", Some("-1"))], (29, "queueId[-1] is illegal")),
        (
            &[("subscription", Some("||"))],
            (23, "parse the consumer's subscription failed"),
        ),
        (
            &[("expressionType", Some("SQL92"))],
            (1, "does not support consumer to filter message by SQL92"),
        ),
    ] {
        pull(&client, changes, expect).await;
    }
    let sync_topic = [("topic", Some("rmq_sys_SYNC_BROKER_MEMBER_broker-a"))];
    let reply = pull(&client, &sync_topic, (16, "pulling message is forbidden")).await;
    assert_eq!(field(&reply, "forbiddenType").as_deref(), Some("3"));
    fixture.stop().await;

    let fixture = Fixture::with(|config| config.broker_permission = 2).await;
    let reply = pull(
        &fixture.client().await,
        &[],
        (16, "the broker[127.0.0.1] pulling message is forbidden"),
    )
    .await;
    assert_eq!(field(&reply, "forbiddenType").as_deref(), Some("1"));
    fixture.stop().await;
}
