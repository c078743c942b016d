//! 307, 309 and 223 over sockets, with clients that answer, answer badly, or don't.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use protocol::bodies::{ConsumerData, ConsumerStatus, MessageQueue};
use protocol::codes::request::{
    CONSUME_MESSAGE_DIRECTLY, GET_CONSUMER_RUNNING_INFO, HEART_BEAT,
    INVOKE_BROKER_TO_GET_CONSUMER_STATUS, SEND_MESSAGE_V2,
};
use protocol::command::{CommandOut, Header, NoHeader, encode_command};
use protocol::fastjson;
use protocol::frame::{Codec, Frame, split};
use protocol::record::Record;
use remoting::{Body, Request, net};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clients::Member;
use crate::testing::{Client, Fixture, Raw, beat, field, fields_of, send, send_fields};

/// Code, fields and body of a request.
type Heard = (i32, Vec<(String, String)>, Vec<u8>);

fn note(request: &Request) -> Heard {
    (request.code, fields_of(request), request.body().to_vec())
}

/// A consumer of group G that answers each request with a field, a body and these.
async fn consumer(
    fixture: &Fixture,
    id: &str,
    code: i32,
    remark: Option<&'static str>,
) -> (Client, Receiver<Heard>) {
    let (hear, heard) = channel();
    let hear = Mutex::new(hear);
    let client = Client::acting(fixture, move |request| {
        // Heard of before this test asked.
        if request.is_oneway() {
            return request.into_reply().ignore();
        }
        hear.lock().send(note(&request)).expect("the test listens");
        request.reply(code, remark, &Raw(&[("said", "so")]), b"answer".to_vec());
    })
    .await;
    client.ask(HEART_BEAT, &beat(id, "G", "*", 1)).await;
    (client, heard)
}

#[tokio::test]
async fn a_tool_hears_what_the_client_says() {
    let fixture = Fixture::start().await;
    let tool = fixture.client().await;
    for (id, code, remark) in [
        ("c1", 0, None),
        (
            "c2",
            1,
            Some("The Consumer Group <G> not exist in this consumer"),
        ),
    ] {
        let (_client, heard) = consumer(&fixture, id, code, remark).await;
        let fields = [
            ("consumerGroup", "G"),
            ("clientId", id),
            ("jstackEnable", "true"),
        ];
        let reply = tool
            .check(
                GET_CONSUMER_RUNNING_INFO,
                &fields,
                "",
                (code, remark.unwrap_or("")),
            )
            .await;
        assert_eq!(field(&reply, "said").as_deref(), Some("so"));
        assert_eq!(&reply.body()[..], b"answer");
        let asked = heard.recv().expect("it was asked");
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(asked, (GET_CONSUMER_RUNNING_INFO, fields.to_vec(), vec![]));
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_client_that_can_not_answer_is_named() {
    let fixture =
        Fixture::with(|config| config.client_call_timeout = Duration::from_millis(200)).await;
    let tool = fixture.client().await;
    let silent = Client::acting(&fixture, |request| request.into_reply().ignore()).await;
    silent.ask(HEART_BEAT, &beat("silent", "G", "*", 1)).await;
    let leaving = Client::acting(&fixture, |request| {
        if !request.is_oneway() {
            request.peer().close();
        }
        request.into_reply().ignore();
    })
    .await;
    leaving.ask(HEART_BEAT, &beat("leaving", "H", "*", 1)).await;
    let old = fixture.client().await;
    old.ask(HEART_BEAT, &beat("old", "O", "*", 1)).await;
    grow_old(&fixture, "O", "old");

    for (group, client, expect) in [
        ("No", "silent", (1, "The Consumer <No> <silent> not online")),
        ("G", "other", (1, "The Consumer <G> <other> not online")),
        (
            "G",
            "silent",
            (
                207,
                "consumer <G> <silent> Timeout: no answer within 200 ms",
            ),
        ),
        (
            "H",
            "leaving",
            (
                1,
                "invoke consumer <H> <leaving> Exception: the connection is closed",
            ),
        ),
        ("H", "leaving", (1, "The Consumer <H> <leaving> not online")),
        ("O", "old", (1, "The Consumer <old> Version <20> too low")),
    ] {
        let fields = [("consumerGroup", group), ("clientId", client)];
        tool.check(GET_CONSUMER_RUNNING_INFO, &fields, "", expect)
            .await;
    }
    for (code, fields, missing) in [
        (
            GET_CONSUMER_RUNNING_INFO,
            &[("clientId", "c")][..],
            "consumerGroup",
        ),
        (
            GET_CONSUMER_RUNNING_INFO,
            &[("consumerGroup", "G")],
            "clientId",
        ),
        (
            CONSUME_MESSAGE_DIRECTLY,
            &[("clientId", "c")],
            "consumerGroup",
        ),
        (
            INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
            &[("topic", "T")],
            "group",
        ),
        (
            INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
            &[("group", "G")],
            "topic",
        ),
    ] {
        let remark = format!("the custom field <{missing}> is null");
        tool.check(code, fields, "", (1, &remark)).await;
    }
    fixture.stop().await;
}

/// Has a client say that it is of version 3.0.3.
fn grow_old(fixture: &Fixture, group: &str, id: &str) {
    let mut clients = fixture.broker().clients.lock();
    let known = clients.consumer(group, id).expect("online").clone();
    let data = ConsumerData {
        group_name: group.to_owned(),
        ..ConsumerData::default()
    };
    let peer = known.peer.id();
    let member = Member {
        version: 20,
        ..known
    };
    clients.consumer_beat(peer, member, &data, 0, true);
}

#[tokio::test]
async fn a_client_gets_the_message_it_is_to_consume() {
    let fixture = Fixture::start().await;
    let tool = fixture.client().await;
    let sent = send(&tool, 0, "t", "consume me").await;
    let id = field(&sent, "msgId").expect("an id");
    let (_client, heard) = consumer(&fixture, "c", 0, None).await;
    let fields = [
        ("consumerGroup", "G"),
        ("clientId", "c"),
        ("msgId", &*id),
        ("topic", "Orders"),
        ("brokerName", "as the tool says"),
    ];
    let reply = tool
        .check(CONSUME_MESSAGE_DIRECTLY, &fields, "", (0, ""))
        .await;
    assert_eq!(&reply.body()[..], b"answer");
    let (code, told, body) = heard.recv().expect("it was asked");
    assert_eq!(code, CONSUME_MESSAGE_DIRECTLY);
    let record = Record::decode(&body, true).expect("a record").record;
    assert_eq!((record.body, record.topic), (&b"consume me"[..], "Orders"));
    let told: Vec<_> = told
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(told[..4], fields[..4]);
    let added = [
        ("brokerName", "broker-a"),
        ("topicSysFlag", "0"),
        ("groupSysFlag", "0"),
    ];
    assert_eq!(told[4..], added);

    let beyond = format!("{}{:016X}", &id[..16], 1_i64 << 40);
    let delayed = send_fields("0", "DELAY\u{1}3\u{2}");
    let sent = tool
        .check(SEND_MESSAGE_V2, &delayed, "not yet", (0, ""))
        .await;
    let hidden = field(&sent, "msgId").expect("an id");
    for (id, expect) in [
        (
            &*hidden,
            &*format!("can not find message by the msgId, {hidden}"),
        ),
        ("", "msgId \"\": message id of 0 characters"),
        ("zz", "msgId \"zz\": message id of 2 characters"),
        (&id.replace('7', "x"), "expected a hex digit"),
        (
            &beyond,
            &*format!("can not find message by the msgId, {beyond}"),
        ),
    ] {
        let fields = [("consumerGroup", "G"), ("clientId", "c"), ("msgId", id)];
        tool.check(CONSUME_MESSAGE_DIRECTLY, &fields, "", (1, expect))
            .await;
    }
    let fields = [("consumerGroup", "G"), ("clientId", "d"), ("msgId", &*id)];
    let expect = (1, "The Consumer <G> <d> not online");
    tool.check(CONSUME_MESSAGE_DIRECTLY, &fields, "", expect)
        .await;
    fixture.stop().await;
}

/// A connection that says what nobody else would.
struct Socket {
    stream: net::Stream,
    read: BytesMut,
}

impl Socket {
    async fn connect(fixture: &Fixture) -> Socket {
        let addr = fixture.running.addrs()[0].to_string();
        let stream = net::connect(&addr, Duration::from_secs(5)).await;
        Socket {
            stream: stream.expect("the broker listens"),
            read: BytesMut::new(),
        }
    }

    async fn send<'h>(&mut self, codec: Codec, code: i32, header: &impl Header<'h>, body: &[u8]) {
        let command = CommandOut {
            code,
            ..CommandOut::default()
        };
        let mut bytes = BytesMut::new();
        encode_command(&mut bytes, codec, &command, header, body.len()).expect("it fits");
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).await.expect("it is read");
    }

    async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = split(&mut self.read, 1 << 20).expect("frames") {
                return frame;
            }
            let read = self.stream.read_buf(&mut self.read).await;
            assert_ne!(read.expect("more"), 0);
        }
    }
}

/// Names off the wire are written as names: they add no fields, and make no other request of this one.
#[tokio::test]
async fn a_field_is_passed_on_whatever_its_name() {
    let fixture = Fixture::start().await;
    let tool = fixture.client().await;
    let sent = send(&tool, 0, "t", "consume me").await;
    let id = field(&sent, "msgId").expect("an id");
    let (_client, heard) = consumer(&fixture, "c", 0, None).await;
    let fields = [
        ("consumerGroup", "G"),
        ("clientId", "c"),
        ("msgId", &*id),
        (r#"a":"b"},"code":220,"x":{"c"#, "quotes"),
        (r"back\", r"slash\"),
        ("line\n\u{1}", "control\t"),
    ];
    for codec in [Codec::Json, Codec::Rocketmq] {
        let mut tool = Socket::connect(&fixture).await;
        tool.send(codec, CONSUME_MESSAGE_DIRECTLY, &Raw(&fields), b"")
            .await;
        let reply = tool.next().await;
        assert_eq!(reply.head().expect("a head").code, 0);
        let (code, told, _) = heard.recv().expect("it was asked");
        let told: Vec<_> = told
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(code, CONSUME_MESSAGE_DIRECTLY);
        assert_eq!(told[..6], fields, "{codec:?}");
        assert_eq!(
            told[6..],
            [("brokerName", "broker-a"), ("groupSysFlag", "0")]
        );
    }
    fixture.stop().await;
}

/// What can be read of its fields is not passed on as if it were all.
#[tokio::test]
async fn an_answer_that_can_not_be_read_is_none() {
    let fixture = Fixture::start().await;
    let mut client = Socket::connect(&fixture).await;
    let body = beat("c", "G", "*", 1);
    client
        .send(Codec::Json, HEART_BEAT, &NoHeader, body.as_bytes())
        .await;
    while !client.next().await.head().expect("a head").is_response() {}
    let tool = fixture.client().await;
    let asking = tokio::spawn(async move {
        let fields = [("consumerGroup", "G"), ("clientId", "c")];
        let expect = (
            1,
            "invoke consumer <G> <c> Exception: JSON fields, byte 12: expected",
        );
        tool.check(GET_CONSUMER_RUNNING_INFO, &fields, "", expect)
            .await
    });
    let opaque = loop {
        let asked = client.next().await;
        let head = asked.head().expect("a head");
        if head.code == GET_CONSUMER_RUNNING_INFO {
            break head.opaque;
        }
    };
    let header = format!(
        r#"{{"code":0,"extFields":{{"said":"so",?}},"flag":1,"language":"JAVA","opaque":{opaque},"serializeTypeCurrentRPC":"JSON","version":479}}"#
    );
    let length = header.len() as u32;
    let lengths = [(length + 4).to_be_bytes(), length.to_be_bytes()].concat();
    let answer = [&lengths, header.as_bytes()].concat();
    client.stream.write_all(&answer).await.expect("it is read");
    asking.await.expect("it is told");
    fixture.stop().await;
}

#[tokio::test]
async fn the_offsets_that_clients_know_are_gathered() {
    let fixture =
        Fixture::with(|config| config.client_call_timeout = Duration::from_millis(200)).await;
    let tool = fixture.client().await;
    let queue = |queue_id| MessageQueue {
        broker_name: "broker-a".to_owned(),
        queue_id,
        topic: "Orders".to_owned(),
    };
    let mut clients = Vec::new();
    for (id, known) in [("c1", Some(7)), ("c2", Some(9)), ("refuses", None)] {
        let status = ConsumerStatus {
            message_queue_table: known
                .map(|at| (queue(at as i32), protocol::QueueOffset(at)))
                .into_iter()
                .collect(),
            ..ConsumerStatus::default()
        };
        let body = fastjson::to_vec(&status);
        let client = Client::acting(&fixture, move |request| {
            if request.is_oneway() {
                return request.into_reply().ignore();
            }
            assert_eq!(
                note(&request).1,
                [("topic", "Orders"), ("group", "G")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
            );
            match known {
                Some(_) => request.reply(0, None, &NoHeader, body.clone()),
                None => request.reply(1, Some("no"), &NoHeader, Body::None),
            }
        })
        .await;
        client.ask(HEART_BEAT, &beat(id, "G", "*", 1)).await;
        clients.push(client);
    }
    let silent = Client::acting(&fixture, |request| request.into_reply().ignore()).await;
    silent.ask(HEART_BEAT, &beat("silent", "G", "*", 1)).await;
    let garbled = Client::acting(&fixture, |request| {
        if request.is_oneway() {
            return request.into_reply().ignore();
        }
        request.reply(0, None, &NoHeader, b"{".to_vec());
    })
    .await;
    garbled.ask(HEART_BEAT, &beat("garbled", "G", "*", 1)).await;

    for (client, expect) in [
        ("", &["c1", "c2"][..]),
        ("c2", &["c2"]),
        ("silent", &[]),
        ("who", &[]),
    ] {
        let fields = [("topic", "Orders"), ("group", "G"), ("clientAddr", client)];
        let reply = tool
            .check(INVOKE_BROKER_TO_GET_CONSUMER_STATUS, &fields, "", (0, ""))
            .await;
        let status: ConsumerStatus = fastjson::from_slice(reply.body()).expect("offsets");
        assert_eq!(status.consumer_table.keys().collect::<Vec<_>>(), expect);
        if let Some(table) = status.consumer_table.get("c2") {
            assert_eq!(table[&queue(9)].0, 9);
        }
    }
    let nobody = (1, "No Any Consumer online in the consumer group: [Nobody]");
    let fields = [("topic", "Orders"), ("group", "Nobody")];
    tool.check(INVOKE_BROKER_TO_GET_CONSUMER_STATUS, &fields, "", nobody)
        .await;
    grow_old(&fixture, "G", "c1");
    let fields = [("topic", "Orders"), ("group", "G")];
    let old = (
        1,
        "the client does not support this feature. version=20, client=c1",
    );
    tool.check(INVOKE_BROKER_TO_GET_CONSUMER_STATUS, &fields, "", old)
        .await;
    fixture.stop().await;
}

/// Stopping does not wait for a client that does not answer.
#[tokio::test]
async fn stopping_ends_what_waits_for_a_client() {
    let fixture = Fixture::start().await;
    let tool = Arc::new(fixture.client().await);
    let (hear, mut heard) = tokio::sync::mpsc::channel(1);
    let silent = Client::acting(&fixture, move |request| {
        if !request.is_oneway() {
            let _ = hear.try_send(());
        }
        request.into_reply().ignore();
    })
    .await;
    silent.ask(HEART_BEAT, &beat("silent", "G", "*", 1)).await;
    let asking = {
        let tool = tool.clone();
        tokio::spawn(async move {
            let fields = [("consumerGroup", "G"), ("clientId", "silent")];
            tool.call(GET_CONSUMER_RUNNING_INFO, &Raw(&fields), Body::None)
                .await
        })
    };
    heard.recv().await.expect("it was asked");
    let stopping = fixture.stop();
    tokio::time::timeout(Duration::from_secs(5), stopping)
        .await
        .expect("it stops at once");
    let reply = asking.await.expect("an answer");
    assert_eq!(reply.code, 1);
}
