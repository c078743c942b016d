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

#[test]
fn javas_nulls_are_absent() {
    // The binary codec can't tell an empty string from null; JSON can.
    let empty = CommandOut::default();
    let header = SendMessageV2 {
        properties: Some(Text::plain("")),
        ..send()
    };
    let read = |codec| {
        let frame = frame(codec, &empty, &header, b"");
        let head = frame.head().unwrap();
        SendMessageV2::decode(head.fields)
            .unwrap()
            .properties
            .map(|text| text.is_empty())
    };
    assert_eq!(
        (read(Codec::Json), read(Codec::Rocketmq)),
        (Some(true), None)
    );
}

#[test]
fn the_last_of_equal_fields_counts() {
    let header = br#"{"code":0,"opaque":1,"extFields":{"offset":"1","offset":"2","offset":null}}"#;
    let fields = json_head(header).unwrap().fields;
    assert_eq!(fields.find("offset").unwrap(), "2");
    let typed = crate::headers::offset::OffsetResponse::decode(fields).unwrap();
    assert_eq!(typed.offset, QueueOffset(2));
}

#[test]
fn text_that_is_not_utf8_is_refused_by_typed_headers() {
    let header = b"{\"code\":0,\"opaque\":1,\"extFields\":{\"topic\":\"\xff\",\"queueId\":\"0\"}}";
    let error = crate::headers::offset::MinOffset::decode(json_head(header).unwrap().fields);
    assert_eq!(
        error.unwrap_err().to_string(),
        "the custom field <topic> is \"\u{fffd}\", expected UTF-8 text"
    );
}

/// A binary header: the fixed part, then `rest`.
fn binary(rest: &[u8]) -> Vec<u8> {
    [&[0, 10, 0, 1, 0xdf, 0, 0, 0, 7, 0, 0, 0, 0], rest].concat()
}

#[test]
fn binary_lengths_that_do_not_fit_are_named() {
    let check = |rest: &[u8], expect: &str| {
        let bytes = binary(rest);
        assert_eq!(
            binary_head(&bytes).unwrap_err().to_string(),
            expect,
            "{rest:?}"
        );
    };
    assert_eq!(
        binary_head(&[0; 12]).unwrap_err().to_string(),
        "binary header: fixed part of 13 bytes at 0, but only 12 left"
    );
    check(
        &[],
        "binary header: remark of 4 bytes at 13, but only 0 left",
    );
    check(
        &[0, 0, 0, 2, b'r'],
        "binary header: remark of 2 bytes at 13, but only 5 left",
    );
    check(
        &[0xff; 4],
        "binary header: remark of -1 bytes at 13, but only 4 left",
    );
    check(
        &[0, 0, 0, 0, 0, 0],
        "binary header: fields of 4 bytes at 17, but only 2 left",
    );
    check(
        &[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff],
        "binary header: fields of 2147483647 bytes at 17, but only 4 left",
    );
    check(
        &[0, 0, 0, 0, 0, 0, 0, 0, 9],
        "binary header: 1 bytes behind the last field",
    );
    check(
        &[0, 0, 0, 0, 0, 0, 0, 1, 9],
        "binary header: field name of 2 bytes at 21, but only 1 left",
    );
    check(
        &[0, 0, 0, 0, 0, 0, 0, 3, 0, 1, b'k'],
        "binary header: field value of 4 bytes at 24, but only 0 left",
    );
    check(
        &[0, 0, 0, 0, 0, 0, 0, 2, 0xff, 0xfe],
        "binary header: field name of -2 bytes at 21, but only 2 left",
    );
}

#[test]
fn a_header_that_no_frame_can_hold_is_refused() {
    let remark = "\u{1}".repeat(3 << 20);
    let command = CommandOut {
        remark: Some(&remark),
        ..CommandOut::default()
    };
    let mut out = BytesMut::from(&b"before"[..]);
    let error = encode_command(&mut out, Codec::Json, &command, &NoHeader, 0).unwrap_err();
    assert!(matches!(error, EncodeError::HeaderTooLong(_)));
    assert_eq!(out, b"before"[..]);
}

#[test]
fn unknown_languages_are_other() {
    assert_eq!(Language::from_name("RUST").name(), "RUST");
    assert_eq!(Language::from_name("COBOL"), Language::Other);
    assert_eq!(Language::from_code(9), Language::Go);
    assert_eq!(Language::from_code(99), Language::Other);
}

/// Behind the fields, as fastjson writes it.
const TAIL: &str =
    r#","flag":0,"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":479}"#;

/// Whoever asks for the fields gets the same ones: those of Java's parser.
#[test]
fn the_fields_of_a_head_are_those_of_its_typed_header() {
    let check = |fields: &str, expect: &[(&str, &str)]| {
        let header = format!(r#"{{"code":30,"extFields":{{{fields}}}{TAIL}"#);
        let head = json_head(header.as_bytes()).unwrap();
        let at = Fields::at(Codec::Json, header.as_bytes(), head.fields.span());
        for found in [
            head.fields,
            at,
            any_json_head(header.as_bytes()).unwrap().fields,
        ] {
            let found: Vec<_> = found
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect();
            let expect: Vec<_> = expect
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(found, expect, "{fields}");
        }
    };
    check(r#""a":"1","b":"2""#, &[("a", "1"), ("b", "2")]);
    check(r#""a":"{1}","b":null"#, &[("a", "{1}")]);
    check(r#""a":"1"},"extFields":{"a":"2""#, &[("a", "2")]);
    check(r#""a":"1"},"more":{"a":"2""#, &[("a", "1")]);
    check(r#""a":"1"},"extFields":{"#, &[]);
    check(r#""a":"1"} , "code":30,"x":{"y":"z""#, &[("a", "1")]);
}

/// A null is not passed on as text, or the next one would read what this one did not.
#[test]
fn what_is_passed_on_reads_the_same() {
    let fields = [("offset", "5"), ("offset", ""), ("x", "")];
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.extend((name.len() as u16).to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend((value.len() as u32).to_be_bytes());
        bytes.extend(value.as_bytes());
    }
    let length = (bytes.len() as u32).to_be_bytes();
    let header = binary(&[&[0; 4], &length[..], &bytes].concat());
    let fields = binary_head(&header).unwrap().fields;
    let frame = frame(Codec::Json, &CommandOut::default(), &fields, b"");
    for fields in [fields, frame.head().unwrap().fields] {
        let typed = crate::headers::offset::OffsetResponse::decode(fields).unwrap();
        assert_eq!(typed.offset, QueueOffset(5));
    }
}

/// Only code, flag, opaque and version of such a header are looked at with its head.
#[test]
fn fields_in_the_place_of_fastjsons_are_checked_when_read() {
    let check = |fields: &str, expect: Result<i64, &str>| {
        let header = format!(r#"{{"code":30,"extFields":{fields}{TAIL}"#);
        let frame = Frame {
            codec: Codec::Json,
            header: header.clone().into(),
            body: bytes::Bytes::new(),
        };
        let head = frame.head().unwrap();
        assert_eq!((head.code, head.opaque, head.version), (30, 7, 479));
        let typed = frame.header::<crate::headers::offset::OffsetResponse>(head.fields.span());
        let typed = typed.map(|header| header.offset.0);
        assert_eq!(
            typed.map_err(|error| error.to_string()),
            expect.map_err(str::to_owned),
            "{fields}"
        );
        // All of them can be read, or none.
        let all = frame.header::<Fields<'_>>(head.fields.span());
        assert_eq!(
            all.is_ok(),
            !matches!(expect, Err(error) if error.starts_with("JSON"))
        );
        assert!(frame.header::<NoHeader>(head.fields.span()).is_ok());
    };
    check(r#"{"offset":"5"}"#, Ok(5));
    check(r#"{ "offset" : "5" }"#, Ok(5));
    check(r#"{"offset":"5","x":null}"#, Ok(5));
    // Somebody else's: more between the fields and the flag.
    check(r#"{"offset":"5"},"more":{"offset":"6"}"#, Ok(5));
    check(r#"{"x":"},\"flag\":0","offset":"5"}"#, Ok(5));
    check("{}", Err("the custom field <offset> is null"));
    for (fields, at, expected, found) in [
        (r#"{"offset":"5",}"#, 13, "'\"'", "the end"),
        (r#"{,"offset":"5"}"#, 0, "'\"'", "','"),
        (r#"{"offset":"5""x":"6"}"#, 12, "','", "'\"'"),
        (r#"{"offset":"\x"}"#, 11, "a JSON escape", "'x'"),
        (r#"{"offset""5"}"#, 8, "':'", "'\"'"),
    ] {
        let expect = format!("JSON fields, byte {at}: expected {expected}, found {found}");
        check(fields, Err(&expect));
    }
}
