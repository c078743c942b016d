//! What tools see of groups, over a socket.

use protocol::bodies::{
    ConsumeStats, ConsumerConnection, GroupList, ProducerConnection, SubscriptionByConsumer,
    TopicList,
};
use protocol::codes::request::{
    GET_CONSUME_STATS, GET_CONSUMER_CONNECTION_LIST, GET_PRODUCER_CONNECTION_LIST, HEART_BEAT,
    PULL_MESSAGE, QUERY_SUBSCRIPTION_BY_CONSUMER, QUERY_TOPIC_CONSUME_BY_WHO,
    QUERY_TOPICS_BY_CONSUMER, UPDATE_CONSUMER_OFFSET,
};
use protocol::command::VERSION;
use protocol::fastjson;
use serde::de::DeserializeOwned;

use crate::testing::{Client, Fixture, NOW_MS, beat, send};

async fn told<T: DeserializeOwned>(client: &Client, code: i32, fields: &[(&str, &str)]) -> T {
    let reply = client.check(code, fields, "", (0, "")).await;
    fastjson::from_slice(reply.body()).expect("a body")
}

#[tokio::test]
async fn connections_and_subscriptions_are_told() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    client
        .ask(HEART_BEAT, &beat("c@1", "G", "red || blue", 7))
        .await;
    let producers = r#"{"clientID":"p@1","producerDataSet":[{"groupName":"P"}]}"#;
    client.ask(HEART_BEAT, producers).await;

    let of_group = [("consumerGroup", "G")];
    let group: ConsumerConnection = told(&client, GET_CONSUMER_CONNECTION_LIST, &of_group).await;
    assert_eq!(group.connection_set.len(), 1);
    let member = &group.connection_set[0];
    assert_eq!((&*member.client_id, &*member.language), ("c@1", "JAVA"));
    assert_eq!(member.version, VERSION);
    assert!(member.client_addr.starts_with("127.0.0.1:"));
    let wanted = &group.subscription_table["Orders"];
    assert_eq!(
        (&*wanted.sub_string, wanted.sub_version),
        ("red || blue", 7)
    );
    assert_eq!(wanted.tags_set.iter().collect::<Vec<_>>(), ["blue", "red"]);
    assert_eq!(wanted.code_set.len(), 2);
    let of_topic = [("group", "G"), ("topic", "Orders")];
    let subscription: SubscriptionByConsumer =
        told(&client, QUERY_SUBSCRIPTION_BY_CONSUMER, &of_topic).await;
    assert_eq!(subscription.subscription_data.as_ref(), Some(wanted));
    for none in [
        [("group", "G"), ("topic", "No")],
        [("group", "No"), ("topic", "Orders")],
    ] {
        let subscription: SubscriptionByConsumer =
            told(&client, QUERY_SUBSCRIPTION_BY_CONSUMER, &none).await;
        assert_eq!(subscription.subscription_data, None);
    }
    let group: ProducerConnection = told(
        &client,
        GET_PRODUCER_CONNECTION_LIST,
        &[("producerGroup", "P")],
    )
    .await;
    assert_eq!(group.connection_set[0].client_id, "p@1");

    let remark = "the consumer group[No] not online";
    let fields = [("consumerGroup", "No")];
    client
        .check(GET_CONSUMER_CONNECTION_LIST, &fields, "", (206, remark))
        .await;
    let remark = "the producer group[No] not exist";
    let fields = [("producerGroup", "No")];
    client
        .check(GET_PRODUCER_CONNECTION_LIST, &fields, "", (1, remark))
        .await;
    fixture.stop().await;
}

#[tokio::test]
async fn progress_is_told_by_queue() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for body in ["a", "b", "c"] {
        send(&client, 1, "t", body).await;
        fixture.clock.advance(1_000);
    }
    client.ask(HEART_BEAT, &beat("c", "G", "*", 1)).await;
    let of_group = [("consumerGroup", "G")];
    let nothing: ConsumeStats = told(&client, GET_CONSUME_STATS, &of_group).await;
    assert!(nothing.offset_table.is_empty());
    let fields = [
        ("consumerGroup", "G"),
        ("topic", "Orders"),
        ("queueId", "1"),
        ("commitOffset", "2"),
    ];
    client
        .check(UPDATE_CONSUMER_OFFSET, &fields, "", (0, ""))
        .await;

    let listed = [("consumerGroup", "G"), ("topicList", "Orders;No;Orders")];
    let named = [("consumerGroup", "G"), ("topic", "Orders")];
    for fields in [&of_group[..], &named, &listed] {
        let stats: ConsumeStats = told(&client, GET_CONSUME_STATS, fields).await;
        let queues: Vec<_> = stats
            .offset_table
            .iter()
            .map(|(queue, at)| {
                (
                    queue.queue_id,
                    at.broker_offset.0,
                    at.consumer_offset.0,
                    at.last_timestamp,
                )
            })
            .collect();
        let expect = [
            (0, 0, 0, 0),
            (1, 3, 2, NOW_MS + 1_000),
            (2, 0, 0, 0),
            (3, 0, 0, 0),
        ];
        assert_eq!(queues, expect, "{fields:?}");
    }
    let pull = [
        ("consumerGroup", "G"),
        ("topic", "Orders"),
        ("queueId", "1"),
        ("queueOffset", "2"),
        ("maxMsgNums", "1"),
        ("sysFlag", "0"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subVersion", "1"),
    ];
    client.check(PULL_MESSAGE, &pull, "", (0, "FOUND")).await;
    let stats: ConsumeStats = told(&client, GET_CONSUME_STATS, &of_group).await;
    let at = stats.offset_table.values().nth(1).expect("queue 1");
    assert_eq!((at.consumer_offset.0, at.pull_offset.0), (2, 3));

    let elsewhere = [("consumerGroup", "G"), ("topic", "BenchmarkTest")];
    let stats: ConsumeStats = told(&client, GET_CONSUME_STATS, &elsewhere).await;
    assert!(
        stats.offset_table.is_empty(),
        "it does not subscribe to that"
    );

    let topics: TopicList = told(&client, QUERY_TOPICS_BY_CONSUMER, &[("group", "G")]).await;
    assert_eq!(topics.topic_list, ["Orders"]);
    client.ask(HEART_BEAT, &beat("c", "H", "*", 1)).await;
    let groups: GroupList = told(&client, QUERY_TOPIC_CONSUME_BY_WHO, &[("topic", "Orders")]).await;
    assert_eq!(groups.group_list.iter().collect::<Vec<_>>(), ["G", "H"]);
    fixture.stop().await;
}
