//! Frames that real clients and Apache's servers exchanged (`cargo xtask fixtures`): each is decoded and written again.
//!
//! A file is lines of `C hex` or `S hex`, one whole frame each: who sent it, client or server. A response stands
//! behind its request.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use protocol::bodies::{
    CheckClientConfig, ClusterInfo, ConsumerIdList, Heartbeat, KvTable, LockBatch,
    LockBatchResponse, RegisterBrokerBody, TopicList, TopicRoute,
};
use protocol::codes::{request, response};
use protocol::command::{CommandOut, Fields, Head, Header, NoHeader, encode_command};
use protocol::frame::{Codec, Frame, split};
use protocol::headers::client::{
    ConsumerList, HeartbeatResponse, NotifyConsumerIdsChanged, UnregisterClient,
};
use protocol::headers::message::{QueryMessage, QueryMessageResponse, ViewMessage};
use protocol::headers::nameserver::{
    AddWritePermResponse, DeleteKvConfig, DeleteTopic, GetKvConfig, GetKvConfigResponse,
    KvListByNamespace, PutKvConfig, RegisterBroker, RegisterBrokerResponse, RouteInfo,
    TopicsByCluster, UnregisterBroker, WipeWritePermResponse, WritePerm,
};
use protocol::headers::offset::{
    MaxOffset, MinOffset, OffsetResponse, QueryConsumerOffset, SearchOffset, UpdateConsumerOffset,
};
use protocol::headers::pull::{PullMessage, PullMessageResponse, PullRefused};
use protocol::headers::send::{SendMessage, SendMessageResponse, SendMessageV2, SendRefused};
use protocol::record::{Record, messages_of_batch};
use protocol::{fastjson, options, text::Text};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const FRAME_BYTES_MAX: usize = 16 << 20;

/// Fields of the classes that all request headers extend. Brokers don't look at them.
const INHERITED: [&str; 5] = ["bname", "lo", "ns", "nsd", "oway"];

#[test]
fn every_recorded_frame_is_decoded_and_written_again() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut frames = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        frames += check_file(&path.display().to_string(), &text);
    }
    assert!(frames > 100, "only {frames} frames");
}

fn check_file(name: &str, text: &str) -> usize {
    let mut lines = text.lines().enumerate();
    let comment = lines.next().unwrap().1;
    assert!(comment.starts_with('#'), "{name}:1: expected a comment");
    let mut asked = HashMap::new();
    let mut frames = 0;
    for (at, line) in lines {
        let (from, hex) = line.split_once(' ').unwrap();
        let client = from == "C";
        let frame = frame(hex);
        let head = frame
            .head()
            .unwrap_or_else(|error| panic!("{name}:{}: {error}", at + 1));
        println!(
            "{name}:{}: {from} code {} opaque {}",
            at + 1,
            head.code,
            head.opaque
        );
        assert_eq!(written(frame.codec, &head, &head.fields), frame.header);
        if head.is_response() {
            // Responses to requests that were not kept can only be checked this far.
            if let Some(code) = asked.remove(&(!client, head.opaque)) {
                check_response(code, &head, &frame);
            }
        } else {
            asked.insert((client, head.opaque), head.code);
            check_request(&head, &frame);
        }
        frames += 1;
    }
    frames
}

fn frame(hex: &str) -> Frame {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let mut bytes: BytesMut = (0..hex.len()).step_by(2).map(digits).collect();
    let frame = split(&mut bytes, FRAME_BYTES_MAX).unwrap().unwrap();
    assert!(bytes.is_empty());
    frame
}

/// A header's bytes when the decoded head is written again.
fn written<'h>(codec: Codec, head: &Head<'_>, header: &impl Header<'h>) -> Bytes {
    let remark = head.remark.map(|remark| remark.to_str());
    let command = CommandOut {
        code: head.code,
        language: head.language,
        version: head.version,
        opaque: head.opaque,
        flag: head.flag,
        remark: remark.as_deref(),
    };
    let mut out = BytesMut::new();
    encode_command(&mut out, codec, &command, header, 0).unwrap();
    split(&mut out, FRAME_BYTES_MAX).unwrap().unwrap().header
}

/// A request that no server knows.
const UNKNOWN: i32 = 9999;

fn check_request(head: &Head<'_>, frame: &Frame) {
    let body = &frame.body;
    match head.code {
        request::SEND_MESSAGE => header::<SendMessage<'_>>(head, frame),
        request::SEND_MESSAGE_V2 => header::<SendMessageV2<'_>>(head, frame),
        request::SEND_BATCH_MESSAGE => {
            header::<SendMessageV2<'_>>(head, frame);
            let mut out = BytesMut::new();
            for message in messages_of_batch(body) {
                message.unwrap().encode(&mut out).unwrap();
            }
            assert_eq!(out, body);
        }
        request::PULL_MESSAGE | request::LITE_PULL_MESSAGE => {
            header::<PullMessage<'_>>(head, frame)
        }
        request::QUERY_MESSAGE => header::<QueryMessage<'_>>(head, frame),
        request::VIEW_MESSAGE_BY_ID => header::<ViewMessage<'_>>(head, frame),
        request::QUERY_CONSUMER_OFFSET => header::<QueryConsumerOffset<'_>>(head, frame),
        request::UPDATE_CONSUMER_OFFSET => header::<UpdateConsumerOffset<'_>>(head, frame),
        request::SEARCH_OFFSET_BY_TIMESTAMP => header::<SearchOffset<'_>>(head, frame),
        request::GET_MAX_OFFSET => header::<MaxOffset<'_>>(head, frame),
        request::GET_MIN_OFFSET => header::<MinOffset<'_>>(head, frame),
        request::HEART_BEAT => json::<Heartbeat>(body),
        request::CHECK_CLIENT_CONFIG => json::<CheckClientConfig>(body),
        request::UNREGISTER_CLIENT => header::<UnregisterClient<'_>>(head, frame),
        request::GET_CONSUMER_LIST_BY_GROUP => header::<ConsumerList<'_>>(head, frame),
        request::NOTIFY_CONSUMER_IDS_CHANGED => header::<NotifyConsumerIdsChanged<'_>>(head, frame),
        request::LOCK_BATCH_MQ | request::UNLOCK_BATCH_MQ => json::<LockBatch>(body),
        request::REGISTER_BROKER => {
            header::<RegisterBroker<'_>>(head, frame);
            json::<RegisterBrokerBody>(body);
        }
        request::UNREGISTER_BROKER => header::<UnregisterBroker<'_>>(head, frame),
        request::GET_ROUTEINFO_BY_TOPIC => header::<RouteInfo<'_>>(head, frame),
        request::PUT_KV_CONFIG => header::<PutKvConfig<'_>>(head, frame),
        request::GET_KV_CONFIG => header::<GetKvConfig<'_>>(head, frame),
        request::DELETE_KV_CONFIG => header::<DeleteKvConfig<'_>>(head, frame),
        request::GET_KVLIST_BY_NAMESPACE => header::<KvListByNamespace<'_>>(head, frame),
        request::GET_TOPICS_BY_CLUSTER => header::<TopicsByCluster<'_>>(head, frame),
        request::WIPE_WRITE_PERM_OF_BROKER | request::ADD_WRITE_PERM_OF_BROKER => {
            header::<WritePerm<'_>>(head, frame);
        }
        request::DELETE_TOPIC_IN_NAMESRV => header::<DeleteTopic<'_>>(head, frame),
        request::GET_BROKER_CLUSTER_INFO
        | request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER
        | request::GET_SYSTEM_TOPIC_LIST_FROM_NS
        | request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER
        | request::GET_NAMESRV_CONFIG
        | UNKNOWN => header::<NoHeader>(head, frame),
        other => panic!("request {other} has no check here: add one"),
    }
}

fn check_response(code: i32, head: &Head<'_>, frame: &Frame) {
    let body = &frame.body;
    let ok = head.code == response::SUCCESS;
    match code {
        request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
            match ok {
                true => header::<SendMessageResponse<'_>>(head, frame),
                false => header::<SendRefused<'_>>(head, frame),
            }
        }
        request::PULL_MESSAGE | request::LITE_PULL_MESSAGE => {
            match head.fields.find("nextBeginOffset") {
                Some(_) => header::<PullMessageResponse>(head, frame),
                None => header::<PullRefused>(head, frame),
            }
            records(body);
        }
        request::QUERY_MESSAGE => {
            header::<QueryMessageResponse>(head, frame);
            records(body);
        }
        request::VIEW_MESSAGE_BY_ID => records(body),
        request::QUERY_CONSUMER_OFFSET
        | request::SEARCH_OFFSET_BY_TIMESTAMP
        | request::GET_MAX_OFFSET
        | request::GET_MIN_OFFSET
            if ok =>
        {
            header::<OffsetResponse>(head, frame);
        }
        request::HEART_BEAT => header::<HeartbeatResponse>(head, frame),
        request::GET_CONSUMER_LIST_BY_GROUP if ok => json::<ConsumerIdList>(body),
        request::LOCK_BATCH_MQ if ok => json::<LockBatchResponse>(body),
        request::REGISTER_BROKER => {
            header::<RegisterBrokerResponse<'_>>(head, frame);
            if !body.is_empty() {
                json::<KvTable>(body);
            }
        }
        request::GET_BROKER_CLUSTER_INFO => json::<ClusterInfo>(body),
        request::GET_ROUTEINFO_BY_TOPIC if ok => {
            // Every recorded client is new enough for standard JSON.
            let route: TopicRoute = fastjson::from_slice(body).unwrap();
            assert_eq!(fastjson::to_vec_standard(&route), **body);
        }
        request::GET_KV_CONFIG => header::<GetKvConfigResponse<'_>>(head, frame),
        request::GET_KVLIST_BY_NAMESPACE if ok => json::<KvTable>(body),
        request::WIPE_WRITE_PERM_OF_BROKER => header::<WipeWritePermResponse>(head, frame),
        request::ADD_WRITE_PERM_OF_BROKER => header::<AddWritePermResponse>(head, frame),
        request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER
        | request::GET_TOPICS_BY_CLUSTER
        | request::GET_SYSTEM_TOPIC_LIST_FROM_NS
        | request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => json::<TopicList>(body),
        request::GET_NAMESRV_CONFIG => assert!(!options::parse(body).unwrap().is_empty()),
        _ => {
            header::<NoHeader>(head, frame);
            assert!(
                body.is_empty(),
                "a response to {code} has a body and no check here: add one"
            );
        }
    }
}

/// The typed header has the fields that arrived, no more and no less.
fn header<'f, H: Header<'f>>(head: &Head<'f>, frame: &Frame) {
    let header = H::decode(head.fields).unwrap();
    let again = written(frame.codec, head, &header);
    let again = Frame {
        header: again,
        ..frame.clone()
    };
    let again = pairs(again.head().unwrap().fields);
    let mut arrived = pairs(head.fields);
    // Java reads an empty string of the binary codec as null.
    let is_null = |value: &str| frame.codec == Codec::Rocketmq && value.is_empty();
    arrived.retain(|key, value| {
        let unread = INHERITED.contains(&key.as_str()) && !again.contains_key(key);
        !unread && !is_null(value)
    });
    assert_eq!(again, arrived);
}

fn pairs(fields: Fields<'_>) -> BTreeMap<String, String> {
    let text = |text: Text<'_>| text.to_str().into_owned();
    fields
        .iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

/// The body as a value of its type is the body, but for the order of Java's hash sets and maps.
fn json<T: Serialize + DeserializeOwned>(body: &[u8]) {
    let value: T = fastjson::from_slice(body).unwrap();
    let again = fastjson::to_vec(&value);
    assert_eq!(again.len(), body.len());
    let sorted = |bytes| sort(fastjson::from_slice(bytes).unwrap());
    assert_eq!(sorted(&again), sorted(body));
}

fn sort(value: Value) -> Value {
    match value {
        Value::Array(values) => {
            let mut values: Vec<_> = values.into_iter().map(sort).collect();
            values.sort_by_key(Value::to_string);
            Value::Array(values)
        }
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields
                .into_iter()
                .map(|(key, value)| (key, sort(value)))
                .collect();
            Value::Object(fields.into_iter().collect())
        }
        other => other,
    }
}

fn records(body: &[u8]) {
    let mut out = BytesMut::new();
    while out.len() < body.len() {
        let decoded = Record::decode(&body[out.len()..], true).unwrap();
        decoded.record.encode(&mut out).unwrap();
    }
    assert_eq!(out, body);
}
