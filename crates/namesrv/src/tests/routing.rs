//! 105 and 106.

use super::*;

#[tokio::test]
async fn routes() {
    let server = plain().await;
    let mut client = server.connect().await;
    client
        .check(
            "105 topic=t",
            expect![[r#"
        17 No topic route info in name server for the topic: t
        See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."#]],
        )
        .await;
    client.register("c/a/0", &["t", "u"]).await;
    client.register("c/a/1", &["t", "u"]).await;
    client.register("d/b/0", &["t", "v"]).await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"a.0:10911","1":"a.1:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false},{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"d","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4},{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    client.check("105 topic=v", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"d","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    client.check("106", expect![[r#"
        0
        {"brokerAddrTable":{"a":{"brokerAddrs":{0:"a.0:10911",1:"a.1:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false},"b":{"brokerAddrs":{0:"b.0:10911"},"brokerName":"b","cluster":"d","enableActingMaster":false}},"clusterAddrTable":{"c":["a"],"d":["b"]}}"#]]).await;
    // Older clients get what fastjson writes by itself, unless they ask for standard JSON.
    client.version = 400;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{0:"a.0:10911",1:"a.1:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false},{"brokerAddrs":{0:"b.0:10911"},"brokerName":"b","cluster":"d","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4},{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    client
        .check("105 topic=v acceptStandardJsonOnly=true", expect![[r#"
            0
            {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"d","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]])
        .await;
    client.version = 401;
    client.check("105 topic=v", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"d","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn ordered_topics_have_their_queues_named_if_so_configured() {
    let kv = r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"t":"b:4"}}}"#;
    for (order_message_enable, expect) in [
        (
            false,
            expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]],
        ),
        (
            true,
            expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"orderTopicConf":"b:4","queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]],
        ),
    ] {
        let server = start(
            Config {
                order_message_enable,
                ..Config::default()
            },
            kv,
        )
        .await;
        let mut client = server.connect().await;
        client.register("c/b/0", &["t", "u"]).await;
        client.check("105 topic=t", expect).await;
        drop(client);
        server.nameserver.shutdown().await;
    }
}

#[tokio::test]
async fn no_routes_until_brokers_had_time_to_register() {
    let server = start(
        Config {
            need_wait_for_service: true,
            ..Config::default()
        },
        "",
    )
    .await;
    let mut client = server.connect().await;
    client.register("c/b/0", &["t", "u"]).await;
    server.clock.advance(44_999);
    client
        .check("105 topic=t", expect!["1 name server not ready"])
        .await;
    server.clock.advance(1);
    assert!(client.ask("105 topic=t", b"").await.starts_with("0\n"));
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn a_slave_stands_in_for_its_master() {
    let config = Config {
        support_acting_master: true,
        ..Config::default()
    };
    let server = start(config, "").await;
    let mut client = server.connect().await;
    let body = registration(&["t", "u"]).encode();
    for broker in ["c/b/0", "c/b/1", "c/b/2"] {
        let request = format!("103 {} enableActingMaster=true", broker_fields(broker));
        client.ask(&request, &body).await;
    }
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911","1":"b.1:10911","2":"b.2:10911"},"brokerName":"b","cluster":"c","enableActingMaster":true}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    // The write permission goes with the master, and the least slave takes its place.
    client
        .ask(&format!("104 {}", broker_fields("c/b/0")), b"")
        .await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.1:10911","2":"b.2:10911"},"brokerName":"b","cluster":"c","enableActingMaster":true}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":4,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    client.check("106", expect![[r#"
        0
        {"brokerAddrTable":{"b":{"brokerAddrs":{1:"b.1:10911",2:"b.2:10911"},"brokerName":"b","cluster":"c","enableActingMaster":true}},"clusterAddrTable":{"c":["b"]}}"#]]).await;
    drop(client);
    server.nameserver.shutdown().await;
}
