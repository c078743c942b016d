//! 103, 104, 322, 205, 327: brokers register and change.

use super::*;

#[tokio::test]
async fn a_registration_in_either_form_gives_the_same_routes() {
    let mut routes = Vec::new();
    for (compressed, said, crc) in [
        (false, false, false),
        (false, false, true),
        (true, true, true),
        (true, false, true),
    ] {
        let server = plain().await;
        let mut client = server.connect().await;
        let body = registration(&["t", "u:4"]);
        let body = if compressed {
            body.encode_compressed().unwrap()
        } else {
            body.encode()
        };
        let crc = if crc {
            protocol::record::crc31(&body)
        } else {
            0
        };
        let fields = broker_fields("c/b/0");
        let request = format!("103 {fields} compressed={said} bodyCrc32={crc}");
        assert_eq!(client.ask(&request, &body).await, "0");
        routes.push(client.ask("105 topic=u", b"").await);
        drop(client);
        server.nameserver.shutdown().await;
    }
    expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":4,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]].assert_eq(&routes[0]);
    assert!(routes.iter().all(|route| *route == routes[0]));
}

#[tokio::test]
async fn bad_registrations_are_refused() {
    let server = plain().await;
    let mut client = server.connect().await;
    let good = broker_fields("c/b/0");
    for (request, body, expect) in [
        (
            format!("103 {good} bodyCrc32=5"),
            &b"{}"[..],
            expect!["1 crc32 not match"],
        ),
        (
            format!("103 {good}"),
            b"{\"topicConfig",
            expect![
                "1 Failed to decode RegisterBrokerBody, registration, JSON, byte 13: expected a closing quote, found the end"
            ],
        ),
        (
            format!("103 {good} compressed=true"),
            b"no zlib stream",
            expect![
                "1 Failed to decode RegisterBrokerBody, compressed registration: corrupt deflate stream"
            ],
        ),
        (
            format!("103 {}", good.replace("brokerId=0", "brokerId=x")),
            b"{}",
            expect![[r#"1 the custom field <brokerId> is "x", expected a 64-bit integer"#]],
        ),
        (
            format!("103 {}", good.replace("clusterName=c ", "")),
            b"{}",
            expect!["1 the custom field <clusterName> is null"],
        ),
    ] {
        expect.assert_eq(&client.ask(&request, body).await);
    }
    // A single topic, before its broker has registered.
    let one = registration(&["t"]).encode();
    let answer = client.ask(&format!("103 {good}"), &one).await;
    expect!["1 register broker failed"].assert_eq(&answer);
    client
        .check(
            "106",
            expect![[r#"
        0
        {"brokerAddrTable":{},"clusterAddrTable":{}}"#]],
        )
        .await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn the_table_is_limited() {
    let server = plain().await;
    let mut client = server.connect().await;
    let topics: Vec<String> = (0..600).map(|n| format!("t{n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    client.register("c/a/0", &topics).await;
    let b = format!("103 {}", broker_fields("c/b/0"));
    for (request, topics, expect) in [
        (
            &b,
            &topics[..],
            expect!["1 all brokers would have 1200 topics together, limit 1000"],
        ),
        (
            &b,
            &["t", &"u".repeat(513)],
            expect!["1 a name or address of 513 bytes, limit 512"],
        ),
        (
            &b.replace("b.0:10911", &"1".repeat(600)),
            &["t", "u"],
            expect!["1 a name or address of 600 bytes, limit 512"],
        ),
        (&b, &topics[..400], expect!["0"]),
        (&b, &topics[100..400], expect!["0"]),
        (
            &b,
            &topics[399..401],
            expect!["1 all brokers would have 1001 topics together, limit 1000"],
        ),
    ] {
        let body = registration(topics).encode();
        expect.assert_eq(&client.ask(request, &body).await);
    }
    let one = br#"{"queueDatas":[{"brokerName":"a"}]}"#;
    expect!["1 all brokers would have 1001 topics together, limit 1000"]
        .assert_eq(&client.ask("217 topic=new", one).await);
    expect!["0"].assert_eq(&client.ask("217 topic=t3", one).await);
    for n in 2..10 {
        client.register(&format!("c/{n}/0"), &[]).await;
    }
    let eleventh = format!("103 {}", broker_fields("c/10/0"));
    client
        .check(&eleventh, expect!["1 there are 10 brokers already"])
        .await;
    client.register("c/9/0", &[]).await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn a_registered_broker_adds_and_changes_topics() {
    let server = plain().await;
    let mut client = server.connect().await;
    client.register("c/b/0", &["t", "u"]).await;
    // The same data version: only what was unknown is taken in.
    client.register("c/b/0", &["t:4", "u", "v"]).await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    client
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":["t","u","v"]}"#]],
        )
        .await;
    let mut body = registration(&["t:4"]);
    body.topic_config_serialize_wrapper.data_version.counter = 2;
    client
        .ask(&format!("103 {}", broker_fields("c/b/0")), &body.encode())
        .await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":4,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    // Topics that are missing stay, unless configured otherwise.
    client
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":["t","u","v"]}"#]],
        )
        .await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn missing_topics_go_if_so_configured() {
    let config = Config {
        delete_topic_with_broker_registration: true,
        ..Config::default()
    };
    let server = start(config, "").await;
    let mut client = server.connect().await;
    client.register("c/a/0", &["s", "t", "u"]).await;
    client.register("c/b/0", &["t", "u"]).await;
    client.register("c/a/0", &["u", "v"]).await;
    client
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":["t","u","v"]}"#]],
        )
        .await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn slaves_learn_their_master_and_give_no_routes() {
    let server = plain().await;
    let mut client = server.connect().await;
    let body = registration(&["t", "u"]).encode();
    for (broker, expect) in [
        ("c/b/1", expect!["0"]),
        ("c/b/0", expect!["0"]),
        (
            "c/b/1",
            expect![[r#"
            0
            haServerAddr=b.0:10912 masterAddr=b.0:10911"#]],
        ),
    ] {
        expect.assert_eq(
            &client
                .ask(&format!("103 {}", broker_fields(broker)), &body)
                .await,
        );
    }
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"b.0:10911","1":"b.1:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn an_address_has_one_id_and_a_later_term_wins() {
    let server = plain().await;
    let mut client = server.connect().await;
    client.register("c/b/0", &["t", "u"]).await;
    client.register("c/b/1", &["t", "u"]).await;
    // The slave becomes master: its old id goes.
    let promoted = broker_fields("c/b/1").replace("brokerId=1", "brokerId=0");
    let mut body = registration(&["t", "u"]);
    body.topic_config_serialize_wrapper
        .data_version
        .state_version = 2;
    client.ask(&format!("103 {promoted}"), &body.encode()).await;
    client.check("106", expect![[r#"
        0
        {"brokerAddrTable":{"b":{"brokerAddrs":{0:"b.1:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}},"clusterAddrTable":{"c":["b"]}}"#]]).await;
    // The old master is of an earlier term.
    client.register("c/b/0", &["t", "u"]).await;
    client.check("106", expect![[r#"
        0
        {"brokerAddrTable":{"b":{"brokerAddrs":{0:"b.1:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}},"clusterAddrTable":{"c":["b"]}}"#]]).await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn ordered_topics_are_told_to_brokers() {
    let kv = r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"t":"b:4"}}}"#;
    for (return_order_topic_config_to_broker, expect) in [
        (
            true,
            expect![[r#"
        0
        {"table":{"t":"b:4"}}"#]],
        ),
        (false, expect!["0"]),
    ] {
        let config = Config {
            return_order_topic_config_to_broker,
            ..Config::default()
        };
        let server = start(config, kv).await;
        let mut client = server.connect().await;
        let body = registration(&["t", "u"]).encode();
        expect.assert_eq(
            &client
                .ask(&format!("103 {}", broker_fields("c/b/0")), &body)
                .await,
        );
        drop(client);
        server.nameserver.shutdown().await;
    }
}

#[tokio::test]
async fn unregistering() {
    let server = plain().await;
    let mut client = server.connect().await;
    client.register("c/a/0", &["t", "u"]).await;
    client.register("c/a/1", &["t", "u"]).await;
    client.register("c/b/0", &["t", "v"]).await;
    client
        .check(&format!("104 {}", broker_fields("c/a/0")), expect!["0"])
        .await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"1":"a.1:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false},{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4},{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    client
        .check(&format!("104 {}", broker_fields("c/a/1")), expect!["0"])
        .await;
    client.check("106", expect![[r#"
        0
        {"brokerAddrTable":{"b":{"brokerAddrs":{0:"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}},"clusterAddrTable":{"c":["b"]}}"#]]).await;
    client
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":["t","v"]}"#]],
        )
        .await;
    client
        .check(
            &format!("104 {}", broker_fields("c/nobody/0")),
            expect!["0"],
        )
        .await;
    client
        .check(
            "104 brokerName=b",
            expect!["1 the custom field <brokerAddr> is null"],
        )
        .await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn data_versions() {
    let server = plain().await;
    let mut client = server.connect().await;
    let query = format!("322 {}", broker_fields("c/b/0"));
    let version = br#"{"counter":1,"stateVersion":0,"timestamp":0}"#;
    for (registered, body, expect) in [
        (
            false,
            &version[..],
            expect![[r#"
            0
            changed=true"#]],
        ),
        (
            true,
            version,
            expect![[r#"
            0
            changed=false
            {"counter":1,"stateVersion":0,"timestamp":0}"#]],
        ),
        (
            true,
            br#"{"counter":2,"stateVersion":0,"timestamp":0}"#,
            expect![[r#"
                0
                changed=true
                {"counter":1,"stateVersion":0,"timestamp":0}"#]],
        ),
        (
            true,
            b"",
            expect![[r#"
            0
            changed=true
            {"counter":1,"stateVersion":0,"timestamp":0}"#]],
        ),
        (
            true,
            b"[",
            expect!["1 body, JSON, byte 0: expected '{', found '['"],
        ),
    ] {
        if registered {
            client.register("c/b/0", &["t", "u"]).await;
        }
        expect.assert_eq(&client.ask(&query, body).await);
    }
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn write_permission_goes_and_comes_back() {
    let server = plain().await;
    let mut client = server.connect().await;
    client.register("c/a/0", &["t:7", "u"]).await;
    client.register("c/b/0", &["t", "v"]).await;
    client
        .check(
            "205 brokerName=a",
            expect![[r#"
        0
        wipeTopicCount=2"#]],
        )
        .await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"a.0:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false},{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":5,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4},{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    client
        .check(
            "327 brokerName=a",
            expect![[r#"
        0
        addTopicCount=2"#]],
        )
        .await;
    client.check("105 topic=t", expect![[r#"
        0
        {"brokerDatas":[{"brokerAddrs":{"0":"a.0:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false},{"brokerAddrs":{"0":"b.0:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4},{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]).await;
    client
        .check(
            "205 brokerName=nobody",
            expect![[r#"
        0
        wipeTopicCount=0"#]],
        )
        .await;
    client
        .check("327", expect!["1 the custom field <brokerName> is null"])
        .await;
    drop(client);
    server.nameserver.shutdown().await;
}
