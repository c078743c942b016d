//! What reaches consumers as producers made it: compressed bodies with the flags that say so, properties with whatever in them,
//! names with a namespace; and the flags of unit mode.
#![expect(clippy::expect_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Config, Running};
use protocol::QueueOffset;
use protocol::codes::request::{HEART_BEAT, PULL_MESSAGE, SEND_MESSAGE_V2};
use protocol::command::NoHeader;
use protocol::headers::pull::{PullMessage, PullMessageResponse};
use protocol::headers::send::SendMessageV2;
use protocol::properties;
use protocol::record::Record;
use protocol::text::Text;
use remoting::clock::Clock;
use remoting::{Body, Connection, Limits, NoRequests, Reply};
use store::disk::{Disk, SimDisk};

const TIMEOUT: Duration = Duration::from_secs(10);

async fn start() -> (Running, Connection) {
    let mut config = Config::new("/store");
    config.advertised_host = Some("127.0.0.1".to_owned());
    config.listen_port = 0;
    config.store.log_file_bytes = 8 << 20;
    let running = Broker::start(config, Disk::Sim(SimDisk::new(1)), Clock::System)
        .await
        .expect("it starts");
    let addr = running.addrs()[0].to_string();
    let client = remoting::connect(&addr, Arc::new(NoRequests), &Limits::default())
        .await
        .expect("it listens");
    (running, client)
}

fn message<'a>(topic: &'a str, properties: &'a str) -> SendMessageV2<'a> {
    SendMessageV2 {
        producer_group: Text::plain("P"),
        topic: Text::plain(topic),
        default_topic: Text::plain("TBW102"),
        default_topic_queue_nums: 1,
        queue_id: 0,
        sys_flag: 0,
        born_timestamp: 1,
        flag: 0,
        properties: Some(Text::plain(properties)),
        reconsume_times: None,
        unit_mode: None,
        max_reconsume_times: None,
        batch: None,
        broker_name: None,
    }
}

async fn send(client: &Connection, header: &SendMessageV2<'_>, body: &[u8]) -> Reply {
    let sent = client.call(SEND_MESSAGE_V2, header, body.to_vec(), TIMEOUT);
    sent.await.expect("an answer")
}

/// Everything in queue 0 from an offset on.
async fn pull(client: &Connection, group: &str, topic: &str, from: i64) -> Reply {
    let header = PullMessage {
        consumer_group: Text::plain(group),
        topic: Text::plain(topic),
        queue_id: 0,
        queue_offset: QueueOffset(from),
        max_msg_nums: 32,
        sys_flag: 4,
        commit_offset: QueueOffset(0),
        suspend_timeout_millis: 0,
        subscription: Some(Text::plain("*")),
        sub_version: Some(0),
        expression_type: None,
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
    };
    let pulled = client.call(PULL_MESSAGE, &header, Body::None, TIMEOUT);
    pulled.await.expect("an answer")
}

#[tokio::test]
async fn compressed_bodies_keep_their_flags() {
    /// Compressed; and with what: LZ4, ZSTD, ZLIB, or, from clients before 5.0, nothing that says so.
    const FLAGS: [i32; 4] = [0x101, 0x201, 0x301, 0x1];
    let (running, client) = start().await;
    for (from, sys_flag) in (0..).zip(FLAGS) {
        let header = SendMessageV2 {
            sys_flag,
            ..message("Orders", "")
        };
        // Nobody looks whether it is what the flags say.
        let body = [0x78, 0x9c, 0, 0xff, sys_flag as u8];
        let sent = send(&client, &header, &body).await;
        assert_eq!(sent.code, 0, "{:?}", sent.remark);
        let pulled = pull(&client, "G", "Orders", from).await;
        let record = Record::decode(pulled.body(), true)
            .expect("a record")
            .record;
        assert_eq!((record.sys_flag, record.body), (sys_flag, &body[..]));
    }
    client.close().await;
    running.shutdown().await.expect("the store closes");
}

#[tokio::test]
async fn properties_may_be_anything_that_has_a_name_and_a_value() {
    let (running, client) = start().await;
    let most = "v".repeat(30_000);
    let weird = [
        ("名前", "值 \u{1F600} \u{e9}"),
        ("quotes", r#"{"a":"\"b\\"}"#),
        ("blanks", " \t\r\n "),
        ("zero", "\u{0}\u{7f}\u{2028}"),
        ("a=b;c", "d=e;f|g/h"),
        ("most", &*most),
    ];
    let mut text = Vec::new();
    for (name, value) in weird {
        properties::append(&mut text, name, value);
    }
    let text = String::from_utf8(text).expect("text");
    let sent = send(&client, &message("Orders", &text), b"x").await;
    assert_eq!(sent.code, 0, "{:?}", sent.remark);
    let pulled = pull(&client, "G", "Orders", 0).await;
    let record = Record::decode(pulled.body(), true)
        .expect("a record")
        .record;
    assert!(record.properties.starts_with(text.as_bytes()));
    for (name, value) in weird {
        assert_eq!(properties::find(record.properties, name), Some(value));
    }

    // The broker's own come behind, and must fit too.
    let added = record.properties.len() - text.len();
    for (bytes, code) in [(32_767 - added, 0), (32_768 - added, 13)] {
        let text = format!("k\u{1}{}\u{2}", "v".repeat(bytes - 3));
        let sent = send(&client, &message("Orders", &text), b"x").await;
        assert_eq!(sent.code, code, "{:?}", sent.remark);
        if let Some(remark) = sent.remark {
            assert!(remark.contains("properties of 32768B"), "{remark}");
        }
    }
    let pulled = pull(&client, "G", "Orders", 1).await;
    let record = Record::decode(pulled.body(), true)
        .expect("a record")
        .record;
    assert_eq!(record.properties.len(), 32_767);
    client.close().await;
    running.shutdown().await.expect("the store closes");
}

fn beat(group: &str, topic: &str, unit_mode: bool) -> Vec<u8> {
    format!(
        r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"{group}","unitMode":{unit_mode},
        "subscriptionDataSet":[{{"topic":"{topic}","subString":"*","subVersion":1}}]}}]}}"#
    )
    .into_bytes()
}

#[tokio::test]
async fn names_may_begin_with_a_namespace() {
    let (running, client) = start().await;
    for namespace in ["dev", "MQ_INST_123_abc"] {
        let (topic, group) = (format!("{namespace}%Orders"), format!("{namespace}%G"));
        let sent = send(&client, &message(&topic, ""), b"x").await;
        assert_eq!(sent.code, 0, "{:?}", sent.remark);
        let beat = client.call(HEART_BEAT, &NoHeader, beat(&group, &topic, false), TIMEOUT);
        assert_eq!(beat.await.expect("an answer").code, 0);
        let pulled = pull(&client, &group, &topic, 0).await;
        let record = Record::decode(pulled.body(), true)
            .expect("a record")
            .record;
        assert_eq!(record.topic, topic);
        let retries = pull(&client, &group, &format!("%RETRY%{group}"), 0).await;
        assert_eq!(retries.code, 19, "{:?}", retries.remark);
    }
    client.close().await;
    running.shutdown().await.expect("the store closes");
}

#[tokio::test]
async fn topics_made_by_clients_in_units_are_marked() {
    let (running, client) = start().await;
    let flag = |pulled: &Reply| {
        let header: PullMessageResponse = pulled.header().expect("its header");
        header.topic_sys_flag
    };
    for (topic, unit_mode, expect) in [
        ("InUnit", Some(true), 1),
        ("Not", Some(false), 0),
        ("Old", None, 0),
    ] {
        let header = SendMessageV2 {
            unit_mode,
            ..message(topic, "")
        };
        assert_eq!(send(&client, &header, b"x").await.code, 0);
        assert_eq!(
            flag(&pull(&client, "G", topic, 0).await),
            Some(expect),
            "{topic}"
        );
    }
    for (group, unit_mode, expect) in [("U", true, 2), ("V", false, 0)] {
        let beat = client.call(
            HEART_BEAT,
            &NoHeader,
            beat(group, "InUnit", unit_mode),
            TIMEOUT,
        );
        assert_eq!(beat.await.expect("an answer").code, 0);
        let retries = pull(&client, group, &format!("%RETRY%{group}"), 0).await;
        assert_eq!(flag(&retries), Some(expect), "{group}");
    }
    client.close().await;
    running.shutdown().await.expect("the store closes");
}
