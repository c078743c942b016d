//! 206, 216, 217, 224, 304, 311, 312, 313.

use super::*;

async fn two_clusters(config: Config) -> (Running, Client) {
    let server = start(config, "").await;
    let mut client = server.connect().await;
    client.register("c/a/0", &["t", "u:6:1"]).await;
    client.register("d/b/0", &["t", "v:6:2", "w:6:3"]).await;
    (server, client)
}

#[tokio::test]
async fn lists() {
    let (server, mut client) = two_clusters(Config::default()).await;
    for (request, expect) in [
        (
            "206",
            expect![[r#"
            0
            {"topicList":["t","u","v","w"]}"#]],
        ),
        (
            "224 cluster=c",
            expect![[r#"
            0
            {"topicList":["t","u"]}"#]],
        ),
        (
            "224 cluster=d",
            expect![[r#"
            0
            {"topicList":["t","v","w"]}"#]],
        ),
        (
            "224 cluster=nowhere",
            expect![[r#"
            0
            {"topicList":[]}"#]],
        ),
        ("224", expect!["1 the custom field <cluster> is null"]),
        (
            "304",
            expect![[r#"
            0
            {"brokerAddr":"a.0:10911","topicList":["c","a","d","b"]}"#]],
        ),
        (
            "311",
            expect![[r#"
            0
            {"topicList":["u","w"]}"#]],
        ),
        (
            "312",
            expect![[r#"
            0
            {"topicList":["v","w"]}"#]],
        ),
        (
            "313",
            expect![[r#"
            0
            {"topicList":["v"]}"#]],
        ),
    ] {
        client.check(request, expect).await;
    }
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn lists_can_be_switched_off() {
    let config = Config {
        enable_topic_list: false,
        enable_all_topic_list: false,
        ..Config::default()
    };
    let (server, mut client) = two_clusters(config).await;
    for request in ["206", "224 cluster=c", "311", "312", "313"] {
        assert_eq!(client.ask(request, b"").await, "1 disable", "{request}");
    }
    client
        .check(
            "304",
            expect![[r#"
        0
        {"brokerAddr":"a.0:10911","topicList":["c","a","d","b"]}"#]],
        )
        .await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn topics_are_deleted() {
    let (server, mut client) = two_clusters(Config::default()).await;
    for (request, expect) in [
        ("216 topic=t clusterName=c", expect!["0"]),
        ("216 topic=v clusterName=nowhere", expect!["0"]),
        ("216 topic=w clusterName=d", expect!["0"]),
        ("216 topic=u", expect!["0"]),
        ("216 topic=unknown", expect!["0"]),
        ("216", expect!["1 the custom field <topic> is null"]),
        (
            "206",
            expect![[r#"
            0
            {"topicList":["t","v"]}"#]],
        ),
        (
            "105 topic=t",
            expect![[r#"
            0
            {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"d","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]],
        ),
    ] {
        client.check(request, expect).await;
    }
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn a_topic_is_registered_by_itself() {
    let (server, mut client) = two_clusters(Config::default()).await;
    let queues = |broker: &str| {
        format!(
            r#"{{"queueDatas":[{{"brokerName":"{broker}","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}}]}}"#
        )
    };
    for (request, body, expect) in [
        ("217 topic=x", queues("a"), expect!["0"]),
        ("217 topic=t", queues("a"), expect!["0"]),
        ("217 topic=y", queues("nobody"), expect!["0"]),
        ("217 topic=y", "{}".to_owned(), expect!["0"]),
        ("217 topic=y", String::new(), expect!["0"]),
        (
            "217 topic=y",
            "{".to_owned(),
            expect!["1 body, JSON, byte 1: expected a value, found the end"],
        ),
    ] {
        expect.assert_eq(&client.ask(request, body.as_bytes()).await);
    }
    client
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":["t","u","v","w","x"]}"#]],
        )
        .await;
    client.check("105 topic=x", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"a.0:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#]]).await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"a.0:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false},{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"d","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8},{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    drop(client);
    server.nameserver.shutdown().await;
}
