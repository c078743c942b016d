//! Heads and typed headers through both codecs.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::QueueOffset;
use crate::frame::split;
use crate::headers::pull::PullMessageResponse;
use crate::headers::send::{SendMessageResponse, SendMessageV2};

fn send() -> SendMessageV2<'static> {
    SendMessageV2 {
        producer_group: Text::plain("group"),
        topic: Text::plain("Tøpic"),
        default_topic: Text::plain("TBW102"),
        default_topic_queue_nums: 4,
        queue_id: -1,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 0,
        properties: Some(Text::plain("KEYS\u{1}a \"b\"\u{2}TAGS\u{1}t/\\\u{2}")),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        max_reconsume_times: None,
        batch: Some(false),
        broker_name: None,
    }
}

fn frame<'h>(
    codec: Codec,
    command: &CommandOut<'_>,
    header: &impl Header<'h>,
    body: &[u8],
) -> Frame {
    let mut out = BytesMut::new();
    encode_command(&mut out, codec, command, header, body.len()).unwrap();
    out.extend_from_slice(body);
    let frame = split(&mut out, 1 << 20).unwrap().unwrap();
    assert!(out.is_empty());
    frame
}

#[test]
fn typed_headers_survive_both_codecs() {
    for codec in [Codec::Json, Codec::Rocketmq] {
        let command = CommandOut {
            code: 310,
            opaque: 17,
            remark: Some("a \u{1}remark"),
            ..CommandOut::default()
        };
        let frame = frame(codec, &command, &send(), b"body");
        assert_eq!(frame.body, Bytes::from_static(b"body"));
        let head = frame.head().unwrap();
        assert_eq!((head.code, head.opaque, head.version), (310, 17, VERSION));
        assert_eq!(head.remark.unwrap(), "a \u{1}remark");
        assert_eq!(SendMessageV2::decode(head.fields).unwrap(), send());
        assert_eq!(head.fields.find("b").unwrap(), "Tøpic");

        let span = head.fields.span();
        let again = Fields::at(codec, &frame.header, span);
        assert_eq!(SendMessageV2::decode(again).unwrap(), send());
    }
}

#[test]
fn json_is_written_as_fastjson_writes_it() {
    let response = SendMessageResponse {
        msg_id: Text::plain("0A"),
        queue_id: 3,
        queue_offset: QueueOffset(7),
        transaction_id: None,
        batch_uniq_id: None,
        recall_handle: None,
        region: Some(Text::plain("DefaultRegion")),
        trace_on: Some(true),
    };
    let command = CommandOut {
        opaque: 9,
        flag: RESPONSE,
        ..CommandOut::default()
    };
    let frame = frame(Codec::Json, &command, &response, b"");
    expect_test::expect![[r#"{"code":0,"extFields":{"msgId":"0A","queueId":"3","queueOffset":"7","MSG_REGION":"DefaultRegion","TRACE_ON":"true"},"flag":1,"language":"JAVA","opaque":9,"serializeTypeCurrentRPC":"JSON","version":479}"#]]
        .assert_eq(std::str::from_utf8(&frame.header).unwrap());
}

#[test]
fn missing_and_invalid_fields_are_named() {
    let check = |fields: &str, expect: &str| {
        let header = format!(r#"{{"code":0,"opaque":1,"extFields":{fields}}}"#);
        let head = json_head(header.as_bytes()).unwrap();
        let error = PullMessageResponse::decode(head.fields).unwrap_err();
        assert_eq!(error.to_string(), expect);
    };
    check("{}", "the custom field <suggestWhichBrokerId> is null");
    check(
        r#"{"suggestWhichBrokerId":null}"#,
        "the custom field <suggestWhichBrokerId> is null",
    );
    check(
        r#"{"minOffset":"x1"}"#,
        "the custom field <minOffset> is \"x1\", expected a 64-bit integer",
    );
}
