//! What tools see of topics, over a socket.

use protocol::bodies::{SubscriptionGroup, TopicConfig, TopicStats};
use protocol::codes::request::{
    GET_SUBSCRIPTIONGROUP_CONFIG, GET_TOPIC_CONFIG, GET_TOPIC_STATS_INFO,
};
use protocol::fastjson;

use crate::testing::{Fixture, NOW_MS, send};

#[tokio::test]
async fn settings_and_contents_are_told() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for body in ["a", "b"] {
        send(&client, 1, "t", body).await;
        fixture.clock.advance(1_000);
    }
    let orders = [("topic", "Orders")];
    let reply = client
        .check(GET_TOPIC_STATS_INFO, &orders, "", (0, ""))
        .await;
    let stats: TopicStats = fastjson::from_slice(reply.body()).expect("stats");
    let queues: Vec<_> = stats
        .offset_table
        .iter()
        .map(|(queue, has)| {
            let stored = has.last_update_timestamp;
            (queue.queue_id, has.min_offset.0, has.max_offset.0, stored)
        })
        .collect();
    let expect = [
        (0, 0, 0, 0),
        (1, 0, 2, NOW_MS + 1_000),
        (2, 0, 0, 0),
        (3, 0, 0, 0),
    ];
    assert_eq!(queues, expect);

    let reply = client.check(GET_TOPIC_CONFIG, &orders, "", (0, "")).await;
    let config: TopicConfig = fastjson::from_slice(reply.body()).expect("a topic");
    assert_eq!(
        (&*config.topic_name, config.write_queue_nums, config.perm),
        ("Orders", 4, 6)
    );

    let group = [("group", "TOOLS_CONSUMER")];
    let reply = client
        .check(GET_SUBSCRIPTIONGROUP_CONFIG, &group, "", (0, ""))
        .await;
    let config: SubscriptionGroup = fastjson::from_slice(reply.body()).expect("a group");
    assert_eq!(
        (&*config.group_name, config.retry_max_times),
        ("TOOLS_CONSUMER", 16)
    );

    for (code, field, expect) in [
        (GET_TOPIC_STATS_INFO, "topic", (17, "topic[No/] not exist")),
        (
            GET_TOPIC_CONFIG,
            "topic",
            (17, "No topic in this broker. topic: No/"),
        ),
        (
            GET_SUBSCRIPTIONGROUP_CONFIG,
            "group",
            (26, "No group in this broker: No/"),
        ),
    ] {
        client.check(code, &[(field, "No/")], "", expect).await;
        let missing = format!("the custom field <{field}> is null");
        client.check(code, &[], "", (1, &missing)).await;
    }
    fixture.stop().await;
}
