//! Brokers that go silent, and those whose connection goes.

use super::*;

impl Client {
    async fn broker_names(&mut self) -> String {
        let info = self.ask("106", b"").await;
        let info: protocol::bodies::ClusterInfo =
            protocol::fastjson::from_slice(info.strip_prefix("0\n").unwrap().as_bytes()).unwrap();
        info.broker_addr_table
            .into_keys()
            .collect::<Vec<_>>()
            .join(" ")
    }

    async fn eventually_brokers(&mut self, expect: &str) {
        let wait = async {
            while self.broker_names().await != expect {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("did not happen");
    }
}

#[tokio::test]
async fn silent_brokers_expire() {
    let server = plain().await;
    let (mut patient, mut hasty, mut watcher) = (
        server.connect().await,
        server.connect().await,
        server.connect().await,
    );
    patient.register("c/patient/0", &["t", "u"]).await;
    let body = registration(&["t", "v"]).encode();
    let request = format!(
        "103 {} heartbeatTimeoutMillis=10000",
        broker_fields("c/hasty/0")
    );
    hasty.ask(&request, &body).await;

    // Another registration, or a question about data versions, is a sign of life.
    server.clock.advance(10_000);
    hasty.ask(&request, &body).await;
    server.clock.advance(10_000);
    hasty
        .ask(&format!("322 {}", broker_fields("c/hasty/0")), b"")
        .await;
    server.clock.advance(10_000);
    assert_eq!(watcher.broker_names().await, "hasty patient");

    server.clock.advance(1);
    watcher.eventually_brokers("patient").await;
    watcher
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":["t","u"]}"#]],
        )
        .await;
    // Its connection was closed.
    assert_eq!(hasty.stream.read_buf(&mut hasty.read).await.unwrap_or(0), 0);

    server.clock.advance(120_000);
    watcher.eventually_brokers("").await;
    watcher
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":[]}"#]],
        )
        .await;
    watcher
        .check(
            "105 topic=t",
            expect![[r#"
        17 No topic route info in name server for the topic: t
        See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."#]],
        )
        .await;
    drop((patient, watcher));
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn a_broker_may_ask_for_any_time() {
    let server = plain().await;
    let (mut eternal, mut hasty, mut watcher) = (
        server.connect().await,
        server.connect().await,
        server.connect().await,
    );
    let body = registration(&["t", "u"]).encode();
    for (client, name, timeout_ms) in [
        (&mut eternal, "eternal", i64::MAX),
        (&mut hasty, "hasty", i64::MIN),
    ] {
        let fields = broker_fields(&format!("c/{name}/0"));
        let request = format!("103 {fields} heartbeatTimeoutMillis={timeout_ms}");
        client.ask(&request, &body).await;
    }
    watcher.eventually_brokers("eternal").await;
    server.clock.advance(1_000_000_000);
    // The search for silent brokers has been there since.
    let mut late = server.connect().await;
    late.register("c/late/0", &["t", "u"]).await;
    server.clock.advance(120_001);
    watcher.eventually_brokers("eternal").await;
    drop((eternal, late, hasty, watcher));
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn brokers_go_with_their_connection() {
    let server = plain().await;
    let (mut first, mut watcher) = (server.connect().await, server.connect().await);
    first.register("c/a/0", &["t", "u"]).await;
    first.register("c/b/0", &["t", "v"]).await;
    // Registered again on another connection: the first one's end no longer matters.
    let mut second = server.connect().await;
    second.register("c/b/0", &["t", "v"]).await;
    assert_eq!(watcher.broker_names().await, "a b");
    drop(first);
    watcher.eventually_brokers("b").await;
    drop(second);
    watcher.eventually_brokers("").await;
    drop(watcher);
    server.nameserver.shutdown().await;
}
