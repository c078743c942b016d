//! SEND over a socket: what is stored, what is answered, what is refused.

use protocol::QueueOffset;
use protocol::codes::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE, SEND_MESSAGE_V2};
use protocol::message_id::MessageId;
use protocol::properties;
use protocol::record::Record;
use remoting::Reply;
use store::ReadLimits;
use store::disk::{Fault, FaultError, FaultOn};

use crate::testing::{Client, Fixture, field};

mod overload;

/// The fields of a send in the short form, some of them replaced or (`None`) left out.
fn fields<'a>(changes: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("a", "producers"),
        ("b", "Orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "7"),
        ("i", "UNIQ_KEY\u{1}K1\u{2}TAGS\u{1}TagA\u{2}"),
        ("j", "0"),
        ("k", "false"),
        ("m", "false"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.extend(value.map(|value| (*name, value)));
    }
    fields
}

async fn send(
    client: &Client,
    changes: &[(&str, Option<&str>)],
    body: &str,
    expect: (i32, &str),
) -> Reply {
    client
        .check(SEND_MESSAGE_V2, &fields(changes), body, expect)
        .await
}

/// The records of a queue.
fn stored(fixture: &Fixture, topic: &str, queue_id: i32) -> Vec<bytes::Bytes> {
    let store = &fixture.broker().store;
    let Some(queue) = store.queue(topic, queue_id) else {
        return Vec::new();
    };
    let read = store.read(&queue, QueueOffset(0), &ReadLimits::default(), |_| true);
    read.unwrap().records.iter().collect()
}

#[tokio::test]
async fn a_message_is_stored_and_its_place_is_told() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let reply = send(&client, &[("e", Some("2"))], "hello", (0, "")).await;
    assert_eq!(field(&reply, "queueId").as_deref(), Some("2"));
    assert_eq!(field(&reply, "queueOffset").as_deref(), Some("0"));
    assert_eq!(field(&reply, "transactionId").as_deref(), Some("K1"));
    assert_eq!(
        field(&reply, "MSG_REGION").as_deref(),
        Some("DefaultRegion")
    );
    assert_eq!(field(&reply, "TRACE_ON").as_deref(), Some("true"));

    let records = stored(&fixture, "Orders", 2);
    let record = Record::decode(&records[0], true).unwrap().record;
    let id = MessageId {
        host: fixture.running.addrs()[0],
        offset: record.log_offset,
    };
    assert_eq!(field(&reply, "msgId"), Some(id.encode()));
    assert_eq!(
        (record.topic, record.body, record.queue_id, record.flag),
        ("Orders", &b"hello"[..], 2, 7)
    );
    assert_eq!(record.born_timestamp, 1_700_000_000_000);
    assert_eq!(record.born_host, client.connection.local_addr());
    assert_eq!(record.store_host, fixture.running.addrs()[0]);
    assert_eq!(properties::find(record.properties, "TAGS"), Some("TagA"));
    assert_eq!(
        properties::find(record.properties, "CLUSTER"),
        Some("DefaultCluster")
    );
    assert_eq!(
        properties::find(record.properties, "MSG_REGION"),
        Some("DefaultRegion")
    );

    let again = send(&client, &[("e", Some("2")), ("i", None)], "more", (0, "")).await;
    assert_eq!(field(&again, "queueOffset").as_deref(), Some("1"));
    assert_eq!(
        field(&again, "transactionId").map(|key| key.len()),
        Some(32),
        "a key is made"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn the_long_form_means_the_same() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let fields = [
        ("producerGroup", "producers"),
        ("topic", "Orders"),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "1"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1700000000000"),
        ("flag", "0"),
    ];
    client.check(SEND_MESSAGE, &fields, "hello", (0, "")).await;
    assert_eq!(stored(&fixture, "Orders", 1).len(), 1);
    fixture.stop().await;
}

#[tokio::test]
async fn what_is_refused_and_how() {
    let fixture = Fixture::with(|config| config.message_bytes_max = 1_000).await;
    let client = fixture.client().await;
    let body = "x".repeat(1_001);
    let properties = format!("a\u{1}{}\u{2}", "p".repeat(33_000));
    for (changes, body, expect) in [
        (
            &[("b", Some("../etc"))][..],
            "x",
            (29, "contains illegal characters"),
        ),
        (&[("b", None)], "x", (1, "the custom field <b> is null")),
        (
            &[("e", Some("many"))],
            "x",
            (1, "the custom field <e> is \"many\""),
        ),
        (
            &[("g", Some("9223372036854775808"))],
            "x",
            (1, "the custom field <g> is \"9223372036854775808\""),
        ),
        (
            &[("e", Some("4"))],
            "x",
            (
                29,
                "request queueId[4] is illegal, TopicConfig [topicName=Orders",
            ),
        ),
        (
            &[("b", Some("SCHEDULE_TOPIC_XXXX"))],
            "x",
            (
                16,
                "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.",
            ),
        ),
        (
            &[("b", Some("New")), ("c", Some("NoSuchTemplate"))],
            "x",
            (17, "topic[New] not exist, apply first please!"),
        ),
        (&[], &body, (13, "msg body length limit 1000B")),
        (&[], "", (13, "a body of 0B")),
        (&[("i", Some(&properties))], "x", (13, "properties of 33")),
        (
            &[("f", Some("4"))],
            "x",
            (13, "sysFlag says that it is part of a transaction (4)"),
        ),
    ] {
        let reply = send(&client, changes, body, expect).await;
        assert!(
            expect.0 == 1
                || field(&reply, "MSG_REGION").is_some() && field(&reply, "TRACE_ON").is_some(),
            "{changes:?}"
        );
    }
    assert!(stored(&fixture, "Orders", 0).is_empty());
    fixture.stop().await;
}

#[tokio::test]
async fn a_topic_is_made_by_sending_to_it() {
    let fixture = Fixture::with(|config| config.default_topic_queues = 6).await;
    let client = fixture.client().await;
    for (topic, queues, made) in [("Few", "4", 4), ("Many", "64", 6)] {
        send(
            &client,
            &[("b", Some(topic)), ("d", Some(queues))],
            "x",
            (0, ""),
        )
        .await;
        let config = fixture.broker().topic(topic).unwrap();
        assert_eq!(
            (config.read_queue_nums, config.write_queue_nums, config.perm),
            (made, made, 6),
            "{topic}"
        );
    }
    let none = [("b", Some("None")), ("d", Some("-3"))];
    send(&client, &none, "x", (29, "request queueId[0] is illegal")).await;
    fixture.stop().await;

    let fixture = Fixture::with(|config| config.auto_create_topics = false).await;
    let client = fixture.client().await;
    send(
        &client,
        &[("b", Some("Another"))],
        "x",
        (17, "topic[Another] not exist, apply first please!"),
    )
    .await;
    fixture.stop().await;
}

/// One message of a batch.
fn part(body: &str, properties: &str) -> Vec<u8> {
    let size = 4 + 4 + 4 + 4 + 4 + body.len() + 2 + properties.len();
    let mut part = Vec::new();
    for number in [size as i32, 0, 0, 9, body.len() as i32] {
        part.extend_from_slice(&number.to_be_bytes());
    }
    part.extend_from_slice(body.as_bytes());
    part.extend_from_slice(&(properties.len() as i16).to_be_bytes());
    part.extend_from_slice(properties.as_bytes());
    part
}

#[tokio::test]
async fn a_batch_is_stored_message_by_message() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let batch = [
        part("one", "UNIQ_KEY\u{1}P1\u{2}TAGS\u{1}a\u{2}"),
        part("two", "UNIQ_KEY\u{1}P2"),
    ]
    .concat();
    let batch = String::from_utf8(batch).unwrap();
    let changes = [("m", Some("true")), ("i", Some("UNIQ_KEY\u{1}B\u{2}"))];
    let reply = client
        .check(SEND_BATCH_MESSAGE, &fields(&changes), &batch, (0, ""))
        .await;
    let ids = field(&reply, "msgId").unwrap();
    assert_eq!(ids.split(',').count(), 2, "{ids}");
    assert_eq!(field(&reply, "transactionId").as_deref(), Some("B"));

    let records = stored(&fixture, "Orders", 0);
    let records: Vec<_> = records
        .iter()
        .map(|record| Record::decode(record, true).unwrap().record)
        .collect();
    assert_eq!([records[0].body, records[1].body], [&b"one"[..], b"two"]);
    for record in records {
        assert_eq!(record.flag, 9);
        assert_eq!(
            properties::find(record.properties, "UNIQ_KEY"),
            Some("B"),
            "Apache's batches show their own key"
        );
        assert_eq!(
            properties::find(record.properties, "CLUSTER"),
            Some("DefaultCluster")
        );
    }

    let cut = &batch[..batch.len() - 3];
    client
        .check(SEND_BATCH_MESSAGE, &fields(&changes), cut, (1, ""))
        .await;
    let retry = [("m", Some("true")), ("b", Some("%RETRY%g"))];
    client
        .check(
            SEND_BATCH_MESSAGE,
            &fields(&retry),
            &batch,
            (13, "batch request does not support retry group %RETRY%g"),
        )
        .await;
    assert_eq!(
        stored(&fixture, "Orders", 0).len(),
        2,
        "all of a batch or nothing"
    );
    fixture.stop().await;
}

/// Codes as the running 5.3.3 answers; all of a batch or nothing.
#[tokio::test]
async fn what_is_refused_of_a_batch_and_what_is_not() {
    let fixture = Fixture::with(|config| config.message_bytes_max = 868).await;
    let client = fixture.client().await;
    let batch_of = |texts: &[(&str, &str)]| {
        let parts = texts.iter().map(|(body, text)| part(body, text));
        String::from_utf8(parts.collect::<Vec<_>>().concat()).unwrap()
    };
    let two = batch_of(&[("one", ""), ("two", "UNIQ_KEY\u{1}u2\u{2}")]);
    let much = "p".repeat(32_768);
    // A message takes 22 bytes besides its body.
    let (fits, does_not) = ("z".repeat(846), "z".repeat(847));
    let cases: &[(&str, &str, &str, (i32, &str))] = &[
        ("i", "DELAY\u{1}1\u{2}", &two, (13, "DELAY=1")),
        ("i", "DELAY\u{1}0\u{2}", &two, (0, "")),
        ("i", "DELAY\u{1}abc\u{2}", &two, (1, "abc")),
        ("i", "INNER_NUM\u{1}2\u{2}", &two, (13, "INNER_NUM=2")),
        ("i", &format!("a\u{1}{much}"), &two, (1, "Properties size")),
        ("f", "4", &two, (13, "")),
        ("f", "8", &two, (13, "")),
        ("f", "128", &two, (13, "sysFlag=128")),
        (
            "b",
            "%RETRY%g",
            &two,
            (13, "does not support retry group %RETRY%g"),
        ),
        ("b", "%DLQ%g", &two, (0, "")),
        (
            "b",
            "SCHEDULE_TOPIC_XXXX",
            &two,
            (16, "SCHEDULE_TOPIC_XXXX"),
        ),
        ("e", "99", &two, (29, "queueId[99]")),
        ("g", "5", "", (1, "")),
        ("g", "5", &two[..two.len() - 3], (1, "")),
        ("g", "5", "garbage!garbage!garbage!", (1, "")),
        ("g", "5", &format!("{two}\0\0"), (1, "")),
        ("g", "5", &batch_of(&[(&fits, "")]), (0, "")),
        (
            "g",
            "5",
            &batch_of(&[(&does_not, "")]),
            (1, "message body size exceeded"),
        ),
        ("g", "5", &batch_of(&[("", ""), ("x", "")]), (0, "")),
        // What a single message of it says of delays and transactions is kept and has no effect.
        (
            "g",
            "5",
            &batch_of(&[("x", "DELAY\u{1}1\u{2}"), ("x", "DELAY\u{1}x")]),
            (0, ""),
        ),
        (
            "g",
            "5",
            &batch_of(&[("x", "TRAN_MSG\u{1}true\u{2}")]),
            (0, ""),
        ),
    ];
    let mut expected = 0;
    for (name, value, body, expect) in cases {
        let changes = [("m", Some("true")), (*name, Some(*value))];
        let reply = client
            .check(SEND_BATCH_MESSAGE, &fields(&changes), body, *expect)
            .await;
        let ids = field(&reply, "msgId").unwrap_or_default();
        if *name != "b" {
            expected += ids.split(',').filter(|id| !id.is_empty()).count();
        }
    }
    assert_eq!(stored(&fixture, "Orders", 0).len(), expected);
    assert_eq!(expected, 8);
    fixture.stop().await;
}

#[tokio::test]
async fn a_batch_does_not_grow_without_bound_by_its_own_properties() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let long = format!("a\u{1}{}", "p".repeat(30_000));
    let changes = [("m", Some("true")), ("i", Some(&*long))];
    let batch = String::from_utf8(part("x", "").repeat(2_000)).unwrap();
    let expect = (1, "the messages of the batch would take more than");
    client
        .check(SEND_BATCH_MESSAGE, &fields(&changes), &batch, expect)
        .await;
    assert!(stored(&fixture, "Orders", 0).is_empty());
    fixture.stop().await;
}

#[tokio::test]
async fn a_message_that_fits_no_file_is_refused_and_its_neighbours_are_not() {
    let fixture = Fixture::with(|config| config.store.log_file_bytes = 64 << 10).await;
    let client = fixture.client().await;
    let large = "x".repeat(69_900);
    let header = fields(&[]);
    let header = crate::testing::Raw(&header);
    let timeout = std::time::Duration::from_secs(20);
    let calls: Vec<_> = ["a", &large, "b"]
        .iter()
        .map(|body| body.as_bytes().to_vec())
        .map(|body| {
            client
                .connection
                .call(SEND_MESSAGE_V2, &header, body, timeout)
        })
        .collect();
    let mut codes = Vec::new();
    for call in calls {
        codes.push(call.await.unwrap().code);
    }
    assert_eq!(codes, [0, 13, 0]);
    let expect = (13, "a file of the log holds 65528B");
    send(&client, &[], &large, expect).await;
    let batch = [part("one", ""), part(&large, "")].concat();
    let batch = String::from_utf8(batch).unwrap();
    let changes = [("m", Some("true"))];
    client
        .check(SEND_BATCH_MESSAGE, &fields(&changes), &batch, expect)
        .await;
    assert_eq!(stored(&fixture, "Orders", 0).len(), 2);
    fixture.stop().await;
}

#[tokio::test]
async fn a_retry_that_failed_too_often_goes_to_the_dead_letters() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let retry = [("b", Some("%RETRY%g")), ("j", Some("3"))];
    send(&client, &retry, "x", (0, "")).await;
    assert_eq!(stored(&fixture, "%RETRY%g", 0).len(), 1);

    let dead = [
        ("b", Some("%RETRY%g")),
        ("j", Some("3")),
        ("l", Some("2")),
        ("i", Some("DELAY\u{1}6\u{2}")),
    ];
    send(&client, &dead, "y", (0, "")).await;
    assert_eq!(stored(&fixture, "%DLQ%g", 0).len(), 1);
    assert_eq!(
        fixture.broker().topic("%DLQ%g").unwrap().write_queue_nums,
        1
    );
    fixture.stop().await;
}

#[tokio::test]
async fn with_sync_flush_an_answer_means_durable() {
    let fixture = Fixture::with(|config| config.store.sync_flush = true).await;
    let client = fixture.client().await;
    for _ in 0..3 {
        send(&client, &[], "hello", (0, "")).await;
        let store = &fixture.broker().store;
        assert_eq!(store.durable().at(), store.log_end().0);
    }
    assert_eq!(stored(&fixture, "Orders", 0).len(), 3);
    fixture.stop().await;
}

#[tokio::test]
async fn many_sends_at_once_are_all_answered() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let header = fields(&[("e", Some("-1"))]);
    let header = crate::testing::Raw(&header);
    let calls: Vec<_> = (0..500)
        .map(|_| {
            client.connection.call(
                SEND_MESSAGE_V2,
                &header,
                b"x".to_vec(),
                std::time::Duration::from_secs(20),
            )
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().code, 0);
    }
    let counts: Vec<_> = (0..4)
        .map(|id| {
            fixture
                .broker()
                .store
                .queue("Orders", id)
                .unwrap()
                .max_visible()
                .0
        })
        .collect();
    assert_eq!(
        counts, [125; 4],
        "messages without a queue are spread evenly"
    );
    fixture.stop().await;
}

fn failing(on: FaultOn, path: &str, error: FaultError) -> Fault {
    Fault {
        on,
        path: path.into(),
        after: 0,
        error,
        sticky: true,
    }
}

/// Flushed by the thread that does nothing else, as there is no other worker that could go on meanwhile.
#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_any_more_and_what_was_can_be_read() {
    nothing_is_acknowledged_after_a_failed_sync().await;
}

/// The same, flushed by the worker that stored the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lone_sends_failed_sync_nothing_is_acknowledged_either() {
    nothing_is_acknowledged_after_a_failed_sync().await;
}

async fn nothing_is_acknowledged_after_a_failed_sync() {
    let fixture = Fixture::with(|config| config.store.sync_flush = true).await;
    let client = fixture.client().await;
    send(&client, &[], "kept", (0, "")).await;
    let store = &fixture.broker().store;
    assert_eq!(store.durable().at(), store.log_end().0);
    fixture
        .sim
        .fail(failing(FaultOn::Sync, "commitlog", FaultError::Io));
    let reply = send(&client, &[], "lost", (14, "sealed after a failed sync")).await;
    assert!(field(&reply, "msgId").is_none() && field(&reply, "MSG_REGION").is_some());
    fixture.sim.heal();
    send(&client, &[], "refused", (14, "sealed after a failed sync")).await;
    assert_eq!(stored(&fixture, "Orders", 0).len(), 1);
    drop(client);
    assert!(
        fixture.running.shutdown().await.is_err(),
        "a sealed store says so"
    );
}

#[tokio::test]
async fn a_failed_write_fails_that_send_only() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, &[], "one", (0, "")).await;
    fixture
        .sim
        .fail(failing(FaultOn::Write, "commitlog", FaultError::Io));
    send(&client, &[], "two", (14, "The message was not stored")).await;
    fixture.sim.heal();
    let reply = send(&client, &[], "three", (0, "")).await;
    assert_eq!(
        field(&reply, "queueOffset").as_deref(),
        Some("1"),
        "no offset is lost"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_sends_until_there_is_room() {
    let fixture = Fixture::with(|config| {
        config.store.log_file_bytes = 64 << 10;
        config.message_bytes_max = 20_000;
    })
    .await;
    let client = fixture.client().await;
    let body = "x".repeat(20_000);
    send(&client, &[], &body, (0, "")).await;
    fixture.sim.set_capacity(Some(fixture.sim.used()));
    let mut accepted = 1;
    while client
        .call(
            SEND_MESSAGE_V2,
            &crate::testing::Raw(&fields(&[])),
            body.clone().into_bytes(),
        )
        .await
        .code
        == 0
    {
        accepted += 1;
        assert!(accepted < 100, "the disk is full at some time");
    }
    send(
        &client,
        &[],
        &body,
        (14, "The message was not stored: disk full"),
    )
    .await;
    assert_eq!(
        stored(&fixture, "Orders", 0).len(),
        accepted,
        "what is there can be consumed"
    );
    fixture.sim.set_capacity(None);
    send(&client, &[], &body, (0, "")).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_slow_flush_is_told_with_the_messages_place() {
    let fixture = Fixture::with(|config| {
        config.store.sync_flush = true;
        config.sync_flush_timeout = std::time::Duration::from_millis(20);
    })
    .await;
    let client = fixture.client().await;
    // The flusher flushes once more when it stops, and lets go of its bell.
    let bell = &fixture.broker().flush_bell;
    let held = std::sync::Arc::strong_count(bell);
    bell.stop();
    while std::sync::Arc::strong_count(bell) == held {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let reply = send(&client, &[], "x", (10, "")).await;
    assert_eq!(field(&reply, "queueOffset").as_deref(), Some("0"));
    assert_eq!(field(&reply, "msgId").map(|id| id.len()), Some(32));
    assert!(
        stored(&fixture, "Orders", 0).is_empty(),
        "nobody sees it yet"
    );
    fixture.broker().flush();
    assert_eq!(stored(&fixture, "Orders", 0).len(), 1);
    fixture.stop().await;
}
