//! 324, 325 and 326 over sockets: a client that asks, one that replies, and whatever can go wrong between them.

use std::time::Duration;

use protocol::codes::request::{
    HEART_BEAT, PUSH_REPLY_MESSAGE_TO_CLIENT, SEND_REPLY_MESSAGE, SEND_REPLY_MESSAGE_V2,
    VIEW_MESSAGE_BY_ID,
};
use protocol::command::NoHeader;
use protocol::message_id::MessageId;
use protocol::properties;
use protocol::record::Record;
use remoting::{Body, Request};
use tokio::sync::mpsc::{Receiver, channel};

use crate::testing::{Client, Fixture, NOW_MS, field, fields_of};

const TOPIC: &str = "DefaultCluster_REPLY_TOPIC";

/// A reply in the short form.
fn fields<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("a", "CLIENT_INNER_PRODUCER"),
        ("b", TOPIC),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "1"),
        ("g", "1700000000000"),
        ("h", "7"),
        ("i", TO_ASKER),
        ("j", "0"),
        ("k", "false"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields
}

const TO_ASKER: &str =
    "REPLY_TO_CLIENT\u{1}asker\u{2}CORRELATION_ID\u{1}17\u{2}MSG_TYPE\u{1}reply\u{2}";

fn beat(client_id: &str) -> String {
    format!(r#"{{"clientID":"{client_id}","producerDataSet":[{{"groupName":"askers"}}]}}"#)
}

/// Fields and body of a push.
type Heard = (Vec<(String, String)>, Vec<u8>);

/// A producer that does `act` when a reply is pushed to it, and tells what it got.
async fn asker(fixture: &Fixture, id: &str, act: fn(Request)) -> (Client, Receiver<Heard>) {
    let (hear, heard) = channel(10);
    let client = Client::acting(fixture, move |request| {
        assert_eq!(request.code, PUSH_REPLY_MESSAGE_TO_CLIENT);
        let _ = hear.try_send((fields_of(&request), request.body().to_vec()));
        act(request);
    })
    .await;
    client.ask(HEART_BEAT, &beat(id)).await;
    (client, heard)
}

fn takes(request: Request) {
    request.reply(0, None, &NoHeader, Body::None);
}

#[tokio::test]
async fn a_reply_reaches_who_asked_and_is_kept() {
    let fixture = Fixture::start().await;
    let (_asker, mut heard) = asker(&fixture, "asker", takes).await;
    let replier = fixture.client().await;
    let reply = replier
        .check(SEND_REPLY_MESSAGE_V2, &fields(&[]), "the answer", (0, ""))
        .await;
    assert_eq!(field(&reply, "queueId").as_deref(), Some("0"));
    assert_eq!(field(&reply, "queueOffset").as_deref(), Some("0"));
    assert_eq!(
        field(&reply, "MSG_REGION").as_deref(),
        Some("DefaultRegion")
    );
    assert_eq!(field(&reply, "TRACE_ON").as_deref(), Some("true"));

    let (told, body) = heard.recv().await.expect("it was pushed");
    assert_eq!(body, b"the answer");
    let pushed = format!("{TO_ASKER}PUSH_REPLY_TIME\u{1}{NOW_MS}\u{2}");
    let store_host = fixture.running.advertised().to_owned();
    let now = NOW_MS.to_string();
    for (name, value) in [
        ("producerGroup", "CLIENT_INNER_PRODUCER"),
        ("topic", TOPIC),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "0"),
        ("sysFlag", "1"),
        ("bornTimestamp", "1700000000000"),
        ("flag", "7"),
        ("properties", &pushed),
        ("reconsumeTimes", "0"),
        ("unitMode", "false"),
        ("storeHost", &store_host),
        ("storeTimestamp", &now),
    ] {
        let found = told.iter().find(|(known, _)| known == name);
        assert_eq!(found.map(|(_, value)| &**value), Some(value), "{name}");
    }
    let born = told.iter().find(|(name, _)| name == "bornHost");
    assert!(born.is_some_and(|(_, host)| host.starts_with("127.0.0.1:")));

    let id = field(&reply, "msgId").expect("an id");
    let offset = MessageId::decode(&id).expect("an id").offset.to_string();
    let stored = replier
        .check(VIEW_MESSAGE_BY_ID, &[("offset", &offset)], "", (0, ""))
        .await;
    let record = Record::decode(stored.body(), true)
        .expect("a record")
        .record;
    assert_eq!((record.topic, record.body), (TOPIC, &b"the answer"[..]));
    assert_eq!(record.properties, TO_ASKER.as_bytes());
    assert_eq!((record.sys_flag, record.flag), (1, 7));
    fixture.stop().await;
}

#[tokio::test]
async fn the_long_form_means_the_same() {
    let fixture = Fixture::with(|config| config.store_replies = false).await;
    let (_asker, mut heard) = asker(&fixture, "asker", takes).await;
    let long = [
        ("producerGroup", "g"),
        ("topic", TOPIC),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "-1"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "0"),
        ("properties", TO_ASKER),
    ];
    let replier = fixture.client().await;
    let reply = replier.check(SEND_REPLY_MESSAGE, &long, "x", (0, "")).await;
    assert_eq!(
        field(&reply, "msgId").as_deref(),
        Some("0"),
        "it is not kept"
    );
    assert_eq!(field(&reply, "queueId").as_deref(), Some("0"));
    heard.recv().await.expect("it was pushed");
    fixture.stop().await;
}

#[tokio::test]
async fn who_replies_hears_that_nobody_took_it() {
    let fixture =
        Fixture::with(|config| config.client_call_timeout = Duration::from_millis(200)).await;
    let (_silent, _) = asker(&fixture, "silent", |request| request.into_reply().ignore()).await;
    let (_refusing, _) = asker(&fixture, "refusing", |request| request.refuse(1, "no")).await;
    let (_leaving, _) = asker(&fixture, "leaving", |request| {
        request.peer().close();
        request.into_reply().ignore();
    })
    .await;
    let replier = fixture.client().await;
    for (properties, expect) in [
        ("", "reply message properties[REPLY_TO_CLIENT] is null"),
        (
            "REPLY_TO_CLIENT\u{1}gone\u{2}",
            "push reply message fail, channel of <gone> not found.",
        ),
        (
            "REPLY_TO_CLIENT\u{1}silent\u{2}",
            "push reply message to silentfail.",
        ),
        (
            "REPLY_TO_CLIENT\u{1}refusing\u{2}",
            "push reply message to refusingfail.",
        ),
        (
            "REPLY_TO_CLIENT\u{1}leaving\u{2}",
            "push reply message to leavingfail.",
        ),
        (
            "REPLY_TO_CLIENT\u{1}leaving\u{2}",
            "push reply message fail, channel of <leaving> not found.",
        ),
    ] {
        let reply = replier
            .check(
                SEND_REPLY_MESSAGE_V2,
                &fields(&[("i", properties)]),
                "x",
                (1, expect),
            )
            .await;
        assert_ne!(field(&reply, "msgId"), None, "it is kept all the same");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn what_is_no_reply_is_refused() {
    let fixture = Fixture::start().await;
    let (_asker, mut heard) = asker(&fixture, "asker", takes).await;
    let replier = fixture.client().await;
    for (change, expect) in [
        (
            ("b", "b a d"),
            (29, "The specified topic contains illegal characters"),
        ),
        (
            ("b", "SCHEDULE_TOPIC_XXXX"),
            (
                16,
                "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.",
            ),
        ),
        (("e", "9"), (29, "request queueId[9] is illegal")),
        (("g", "then"), (1, "the custom field <g> is \"then\"")),
    ] {
        let reply = replier
            .check(SEND_REPLY_MESSAGE_V2, &fields(&[change]), "x", expect)
            .await;
        let read = expect.0 != 1;
        assert_eq!(field(&reply, "TRACE_ON").is_some(), read, "{change:?}");
    }
    heard.try_recv().expect_err("nothing was pushed");
    // Properties too long to be kept are pushed all the same, as in Apache.
    let long = format!("{TO_ASKER}k\u{1}{}\u{2}", "v".repeat(properties_max()));
    let reply = replier
        .check(
            SEND_REPLY_MESSAGE_V2,
            &fields(&[("i", &long)]),
            "x",
            (0, ""),
        )
        .await;
    assert_eq!(field(&reply, "msgId").as_deref(), Some("0"));
    let (told, _) = heard.recv().await.expect("it was pushed");
    let told = told
        .iter()
        .find(|(name, _)| name == "properties")
        .expect("properties");
    assert_eq!(
        properties::find(told.1.as_bytes(), "k").map(str::len),
        Some(properties_max())
    );
    fixture.stop().await;
}

fn properties_max() -> usize {
    crate::limits::PROPERTIES_BYTES_MAX
}
