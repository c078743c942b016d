//! Pops and what becomes of the messages, over a real socket with a clock that the test turns.

use protocol::codes::request;
use protocol::properties;
use protocol::record::Record;
use remoting::Reply;

use crate::testing::{Client, Fixture, NOW_MS, field, send};

mod model;
mod ordered;
mod power;
mod refused;
mod revived;
mod taken_over;
mod waiting;

/// A message as a consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) body: String,
    pub(super) topic: String,
    pub(super) queue_id: i32,
    pub(super) offset: i64,
    pub(super) times: i32,
    pub(super) handle: String,
    pub(super) first_pop: Option<String>,
}

impl Got {
    /// The topic to acknowledge it in.
    fn real_topic(&self, group: &str) -> String {
        match self.handle.split(' ').nth(4) {
            Some("1") => format!("%RETRY%{group}_{}", self.topic),
            Some("2") => format!("%RETRY%{group}+{}", self.topic),
            _ => self.topic.clone(),
        }
    }
}

/// Reads a field like `0 1 5,6;1 0 3`.
fn info(reply: &Reply, name: &str) -> Vec<(String, String, String)> {
    let text = field(reply, name).unwrap_or_default();
    let parts = text.split(';').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let mut words = part.split(' ').map(str::to_owned);
            let mut word = || words.next().expect("three words");
            (word(), word(), word())
        })
        .collect()
}

/// The messages of an answer with the handles that Apache's client makes.
pub(super) fn messages(reply: &Reply) -> Vec<Got> {
    let number = |name| field(reply, name).expect("a number");
    let starts = info(reply, "startOffsetInfo");
    let offsets = info(reply, "msgOffsetInfo");
    let mut rest = &reply.body()[..];
    let mut got = Vec::new();
    while !rest.is_empty() {
        let decoded = Record::decode(rest, true).expect("whole records");
        rest = &rest[decoded.size..];
        let record = decoded.record;
        let find = |name| properties::find(record.properties, name).map(str::to_owned);
        let handle = find(properties::POP_CK).unwrap_or_else(|| {
            let queue = record.queue_id.to_string();
            let start = starts
                .iter()
                .find(|(kind, id, _)| kind == "0" && *id == queue);
            let listed = offsets
                .iter()
                .find(|(kind, id, _)| kind == "0" && *id == queue);
            let listed = &listed.expect("the offsets of the queue").2;
            let offset = record.queue_offset.0.to_string();
            assert!(
                listed.split(',').any(|one| one == offset),
                "{offset} in {listed}"
            );
            format!(
                "{} {} {} {} 0 broker-a {queue} {offset}",
                start.expect("the start of the queue").2,
                number("popTime"),
                number("invisibleTime"),
                number("reviveQid")
            )
        });
        got.push(Got {
            body: String::from_utf8_lossy(record.body).into_owned(),
            topic: record.topic.to_owned(),
            queue_id: record.queue_id,
            offset: record.queue_offset.0,
            times: record.reconsume_times,
            handle,
            first_pop: find(properties::FIRST_POP_TIME),
        });
    }
    got
}

/// What a pop asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pop<'a> {
    pub(super) group: &'a str,
    pub(super) queue_id: i32,
    pub(super) max: i32,
    pub(super) invisible_ms: i64,
    pub(super) poll_ms: i64,
    pub(super) order: bool,
    pub(super) attempt: &'a str,
    pub(super) expression: &'a str,
    pub(super) mode: i32,
}

pub(super) const POP: Pop<'static> = Pop {
    group: "g",
    queue_id: -1,
    max: 32,
    invisible_ms: 10_000,
    poll_ms: 0,
    order: false,
    attempt: "",
    expression: "*",
    mode: 0,
};

impl Pop<'_> {
    pub(super) async fn call(&self, client: &Client) -> Reply {
        let [queue, max, invisible, poll, order, mode] = [
            self.queue_id.to_string(),
            self.max.to_string(),
            self.invisible_ms.to_string(),
            self.poll_ms.to_string(),
            self.order.to_string(),
            self.mode.to_string(),
        ];
        let mut fields = vec![
            ("consumerGroup", self.group),
            ("topic", "Orders"),
            ("queueId", &queue),
            ("maxMsgNums", &max),
            ("invisibleTime", &invisible),
            ("pollTime", &poll),
            ("bornTime", "0"),
            ("initMode", &mode),
            ("expType", "TAG"),
            ("exp", self.expression),
            ("order", &order),
        ];
        if !self.attempt.is_empty() {
            fields.push(("attemptId", self.attempt));
        }
        let header = crate::testing::Raw(&fields);
        client
            .call(request::POP_MESSAGE, &header, remoting::Body::None)
            .await
    }

    /// The messages there are.
    pub(super) async fn now(&self, client: &Client) -> Vec<Got> {
        let reply = self.call(client).await;
        match reply.code {
            0 => messages(&reply),
            210 => Vec::new(),
            code => panic!("{code} {:?}", reply.remark),
        }
    }
}

pub(super) async fn ack(client: &Client, group: &str, got: &Got, expect: (i32, &str)) {
    let (queue, offset) = (got.queue_id.to_string(), got.offset.to_string());
    let topic = got.real_topic(group);
    let fields = [
        ("consumerGroup", group),
        ("topic", &topic),
        ("queueId", &queue),
        ("extraInfo", &got.handle),
        ("offset", &offset),
    ];
    client
        .check(request::ACK_MESSAGE, &fields, "", expect)
        .await;
}

/// Changes when it comes back; its new handle.
pub(super) async fn change(
    client: &Client,
    group: &str,
    got: &Got,
    invisible_ms: i64,
    expect: (i32, &str),
) -> Got {
    let (queue, offset) = (got.queue_id.to_string(), got.offset.to_string());
    let (topic, invisible) = (got.real_topic(group), invisible_ms.to_string());
    let fields = [
        ("consumerGroup", group),
        ("topic", &topic),
        ("queueId", &queue),
        ("extraInfo", &got.handle),
        ("offset", &offset),
        ("invisibleTime", &invisible),
    ];
    let reply = client
        .check(request::CHANGE_MESSAGE_INVISIBLETIME, &fields, "", expect)
        .await;
    let mark = got.handle.split(' ').nth(4).unwrap_or("0").to_owned();
    let number = |name| field(&reply, name).unwrap_or_default();
    Got {
        handle: format!(
            "{offset} {} {} {} {mark} broker-a {queue} {offset}",
            number("popTime"),
            number("invisibleTime"),
            number("reviveQid")
        ),
        ..got.clone()
    }
}

/// A broker with these messages, one after the other in queue 0 of `Orders`.
pub(super) async fn with_messages(bodies: &[&str]) -> (Fixture, Client) {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for body in bodies {
        send(&client, 0, "a", body).await;
    }
    (fixture, client)
}

pub(super) fn bodies(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| got.body.as_str()).collect()
}

/// Turns the clock and lets the reviver do what is due.
pub(super) async fn advance(fixture: &Fixture, ms: i64) {
    fixture.clock.advance(ms);
    fixture.broker().revived().await;
}

#[tokio::test]
async fn what_was_taken_is_nobody_elses() {
    let (fixture, client) = with_messages(&["1", "2", "3"]).await;
    let reply = Pop { max: 2, ..POP }.call(&client).await;
    let got = messages(&reply);
    assert_eq!(bodies(&got), ["1", "2"]);
    for (name, value) in [
        ("startOffsetInfo", "0 0 0"),
        ("msgOffsetInfo", "0 0 0,1"),
        ("invisibleTime", "10000"),
        ("restNum", "1"),
        ("popTime", &NOW_MS.to_string()),
    ] {
        assert_eq!(field(&reply, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(field(&reply, "orderCountInfo"), None);
    assert_eq!(bodies(&POP.now(&client).await), ["3"]);
    assert!(POP.now(&client).await.is_empty());
    let other = Pop { group: "h", ..POP };
    assert_eq!(bodies(&other.now(&client).await), ["1", "2", "3"]);
    fixture.stop().await;
}
