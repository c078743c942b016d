//! 222 over sockets: told by the next pull, by a pull that waits, or, where so configured, by 220 to the members.

use std::time::Duration;

use protocol::bodies::ResetOffsetBody;
use protocol::codes::request::{
    HEART_BEAT, INVOKE_BROKER_TO_RESET_OFFSET, PULL_MESSAGE, QUERY_CONSUMER_OFFSET,
    RESET_CONSUMER_CLIENT_OFFSET, UPDATE_CONSUMER_OFFSET,
};
use protocol::fastjson;
use remoting::{Body, Reply};

use crate::testing::{Client, Fixture, NOW_MS, Raw, beat, field, send};

/// What the answer says of each queue.
fn table(reply: &Reply) -> Vec<(i32, i64)> {
    let body: ResetOffsetBody = fastjson::from_slice(reply.body()).expect("offsets");
    let table = body.offset_table.iter();
    table
        .map(|(queue, offset)| {
            assert_eq!((&*queue.topic, &*queue.broker_name), ("Orders", "broker-a"));
            (queue.queue_id, offset.0)
        })
        .collect()
}

/// A reset of group G in Orders.
fn fields<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("group", "G"),
        ("topic", "Orders"),
        ("timestamp", "-1"),
        ("isForce", "true"),
    ];
    for (name, value) in more {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields
}

async fn reset(client: &Client, more: &[(&str, &str)], expect: (i32, &str)) -> Reply {
    let code = INVOKE_BROKER_TO_RESET_OFFSET;
    client.check(code, &fields(more), "", expect).await
}

/// Messages in queue 0, one second after the other, and a consumer that has read three of them.
async fn orders(fixture: &Fixture) -> Client {
    let client = fixture.client().await;
    for body in ["a", "b", "c", "d", "e"] {
        send(&client, 0, "t", body).await;
        fixture.clock.advance(1_000);
    }
    client.ask(HEART_BEAT, &beat("c", "G", "*", 1)).await;
    commit(&client, "3", "").await;
    client
}

async fn commit(client: &Client, offset: &str, remark: &str) {
    let fields = [
        ("consumerGroup", "G"),
        ("topic", "Orders"),
        ("queueId", "0"),
        ("commitOffset", offset),
    ];
    client
        .check(UPDATE_CONSUMER_OFFSET, &fields, "", (0, remark))
        .await;
}

async fn committed(client: &Client) -> String {
    let fields = [
        ("consumerGroup", "G"),
        ("topic", "Orders"),
        ("queueId", "0"),
    ];
    let reply = client
        .check(QUERY_CONSUMER_OFFSET, &fields, "", (0, ""))
        .await;
    field(&reply, "offset").expect("an offset")
}

/// A pull that commits 4 by the way, and would wait.
const PULL: [(&str, &str); 9] = [
    ("consumerGroup", "G"),
    ("topic", "Orders"),
    ("queueId", "0"),
    ("queueOffset", "5"),
    ("maxMsgNums", "32"),
    ("sysFlag", "3"),
    ("commitOffset", "4"),
    ("suspendTimeoutMillis", "15000"),
    ("subVersion", "1"),
];

#[tokio::test]
async fn the_brokers_own_groups_can_not_be_reset() {
    let fixture = Fixture::start().await;
    let client = orders(&fixture).await;
    let own = [("group", "CID_RMQ_SYS_TRANS")];
    reset(&client, &own, (16, "group CID_RMQ_SYS_TRANS")).await;
    fixture.stop().await;
}

/// Commits may wait to be saved; what an operator said may not.
#[tokio::test]
async fn a_reset_is_saved_soon() {
    let by_hand = Duration::from_secs(3_600);
    let fixture = Fixture::with(|config| config.offsets_interval = by_hand).await;
    let client = orders(&fixture).await;
    reset(&client, &[("offset", "2"), ("queueId", "0")], (0, "")).await;
    let offsets = &fixture.broker().offsets;
    let changes = offsets.state.read().commits();
    let saved = tokio::time::timeout(Duration::from_secs(20), offsets.file.saved(changes));
    assert!(saved.await.expect("it is saved at once"));
    fixture.stop().await;
}

#[tokio::test]
async fn the_next_pull_is_told() {
    let fixture = Fixture::start().await;
    let client = orders(&fixture).await;
    let second = (NOW_MS + 1_000).to_string();
    let reply = reset(&client, &[("timestamp", &second)], (0, "")).await;
    assert_eq!(table(&reply), [(0, 1), (1, 0), (2, 0), (3, 0)]);
    assert_eq!(committed(&client).await, "1");
    // What the clients were at counts no more.
    commit(&client, "5", "Offset has been previously reset").await;
    assert_eq!(committed(&client).await, "1");

    let told = client
        .check(PULL_MESSAGE, &PULL, "", (21, "OFFSET_RESET"))
        .await;
    assert_eq!(field(&told, "nextBeginOffset").as_deref(), Some("1"));
    assert_eq!(field(&told, "minOffset").as_deref(), Some("0"));
    assert_eq!(field(&told, "maxOffset").as_deref(), Some("5"));
    assert_eq!(
        committed(&client).await,
        "1",
        "the pull's own offset counts no more"
    );
    commit(&client, "2", "").await;
    assert_eq!(committed(&client).await, "2");
    fixture.stop().await;
}

#[tokio::test]
async fn a_pull_that_waits_is_told_at_once() {
    let fixture = Fixture::start().await;
    let client = orders(&fixture).await;
    let timeout = Duration::from_secs(10);
    let waiting = client
        .connection
        .call(PULL_MESSAGE, &Raw(&PULL), Body::None, timeout);
    let other_queue = [
        &PULL[..2],
        &[("queueId", "1"), ("queueOffset", "0")],
        &PULL[4..],
    ]
    .concat();
    let mut other = client
        .connection
        .call(PULL_MESSAGE, &Raw(&other_queue), Body::None, timeout);
    while fixture.broker().holding() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let one = [("queueId", "0"), ("offset", "2")];
    assert_eq!(table(&reset(&client, &one, (0, "")).await), [(0, 2)]);
    let told = waiting
        .await
        .expect("it is told long before its time is up");
    assert_eq!(
        (told.code, told.remark.as_deref()),
        (21, Some("OFFSET_RESET"))
    );
    assert_eq!(field(&told, "nextBeginOffset").as_deref(), Some("2"));
    let waits = tokio::time::timeout(Duration::from_millis(100), &mut other).await;
    waits.expect_err("the other queue was not reset");
    fixture.stop().await;
}

/// A group that is offline, and a restart before it is back.
#[tokio::test]
async fn a_reset_outlives_the_broker() {
    let fixture = Fixture::start().await;
    let client = orders(&fixture).await;
    let end = reset(&client, &[], (0, "")).await;
    assert_eq!(table(&end), [(0, 5), (1, 0), (2, 0), (3, 0)]);
    let second = (NOW_MS + 1_000).to_string();
    reset(&client, &[("timestamp", &second)], (0, "")).await;
    drop(client);
    let sim = fixture.stop().await;
    let fixture = Fixture::on(sim, crate::testing::config()).await;
    let client = fixture.client().await;
    assert_eq!(committed(&client).await, "1");
    commit(&client, "2", "").await;
    fixture.stop().await;
}

#[tokio::test]
async fn what_can_not_be_reset_is_named() {
    let fixture = Fixture::start().await;
    let client = orders(&fixture).await;
    for (more, expect) in [
        (&[("topic", "No")][..], (17, "Topic No does not exist")),
        (&[("group", "No")], (26, "Group No does not exist")),
        (&[("queueId", "4")], (29, "QueueId is 4, topic is Orders")),
        (
            &[("queueId", "0"), ("offset", "7")],
            (1, "Target offset 7 not in consume queue range [0-5]"),
        ),
        (
            &[("queueId", "0"), ("offset", "-2")],
            (1, "Target offset -2 not in consume queue range [0-5]"),
        ),
        (
            &[("timestamp", "soon")],
            (1, "the custom field <timestamp> is \"soon\""),
        ),
    ] {
        reset(&client, more, expect).await;
    }
    let code = INVOKE_BROKER_TO_RESET_OFFSET;
    for missing in ["group", "topic", "timestamp"] {
        let mut fields = fields(&[]);
        fields.retain(|(name, _)| *name != missing);
        let remark = format!("the custom field <{missing}> is null");
        client.check(code, &fields, "", (1, &remark)).await;
    }
    assert_eq!(committed(&client).await, "3");
    // An offset of -1 means that there is none.
    let reply = reset(&client, &[("queueId", "0"), ("offset", "-1")], (0, "")).await;
    assert_eq!(table(&reply), [(0, 5)]);
    fixture.stop().await;
}

#[tokio::test]
async fn members_are_told_where_that_is_configured() {
    let fixture = Fixture::with(|config| config.server_side_reset = false).await;
    let client = orders(&fixture).await;
    let second = (NOW_MS + 1_000).to_string();
    let back = [("timestamp", &*second)];
    // Apache looks at every queue, and at a group that has read only some of them as if it were not there.
    reset(&client, &back, (1, "THe consumer group <G> not exist")).await;
    for queue_id in ["1", "2", "3"] {
        let fields = [
            ("consumerGroup", "G"),
            ("topic", "Orders"),
            ("queueId", queue_id),
            ("commitOffset", "0"),
        ];
        client
            .check(UPDATE_CONSUMER_OFFSET, &fields, "", (0, ""))
            .await;
    }
    let (hear, mut heard) = tokio::sync::mpsc::channel(10);
    let member = Client::acting(&fixture, move |request| {
        if request.code == RESET_CONSUMER_CLIENT_OFFSET {
            assert!(request.is_oneway());
            let timestamp = request
                .header::<protocol::command::Fields<'_>>()
                .unwrap()
                .find("timestamp")
                .map(|text| text.to_str().into_owned());
            let _ = hear.try_send((timestamp, request.body().clone()));
        }
        request.into_reply().ignore();
    })
    .await;
    member.ask(HEART_BEAT, &beat("m", "G", "*", 1)).await;

    let reply = reset(&client, &back, (0, "")).await;
    assert_eq!(table(&reply), [(0, 1), (1, 0), (2, 0), (3, 0)]);
    let (timestamp, body) = heard.recv().await.expect("it is told");
    assert_eq!(timestamp, Some(second));
    assert_eq!(body, reply.body());
    assert_eq!(
        committed(&client).await,
        "3",
        "that is for the members to do"
    );
    // Forwards only if that is forced.
    let unforced = reset(&client, &[("isForce", "false")], (0, "")).await;
    assert_eq!(table(&unforced)[0], (0, 3));
    assert_eq!(table(&reset(&client, &[], (0, "")).await)[0], (0, 5));

    drop(member);
    drop(client);
    let tool = fixture.client().await;
    while fixture.broker().clients.lock().group("G").is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let remark =
        "Consumer not online, so can not reset offset, Group: G Topic: Orders Timestamp: -1";
    reset(&tool, &[], (206, remark)).await;
    let remark = "[reset-offset] reset offset failed, no topic in this broker. topic=No";
    reset(&tool, &[("topic", "No")], (17, remark)).await;
    fixture.stop().await;
}
