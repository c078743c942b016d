//! Random input: nothing panics, and what is written is read as it was.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "random/checks.rs"]
#[expect(unreachable_pub, reason = "fuzz/ has this module too")]
mod checks;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::BytesMut;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use protocol::bodies::TopicConfig;
use protocol::command::{CommandOut, Header, Language, encode_command};
use protocol::frame::{Codec, Frame, split};
use protocol::headers::send::SendMessageV2;
use protocol::message_id::MessageId;
use protocol::record::{BatchMessage, Record, messages_of_batch, stamp};
use protocol::text::Text;
use protocol::{LogOffset, QueueOffset, fastjson, properties};

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::Json), Just(Codec::Rocketmq)]
}

/// Text with what JSON has to escape, and what it does not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_%|-]{1,20}",
        "[\u{0}-\u{a0}\u{2028}\u{2029}\"\\\\/😀]{1,20}",
        ".{1,20}"
    ]
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn frame<'h>(codec: Codec, command: &CommandOut<'_>, header: &impl Header<'h>) -> Frame {
    let mut out = BytesMut::new();
    encode_command(&mut out, codec, command, header, 0).unwrap();
    split(&mut out, usize::MAX).unwrap().unwrap()
}

/// Reads `bytes` as everything there is.
fn read(bytes: &[u8]) {
    checks::frames(bytes);
    checks::json_header(bytes);
    checks::binary_header(bytes);
    checks::record(bytes);
    checks::text(bytes);
    checks::body(bytes);
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }

    /// Closer to the real thing: whole commands with some bytes changed and the end cut off.
    #[test]
    fn damaged_commands_do_no_harm(
        codec in codec(),
        remark in text(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
    ) {
        let header = SendMessageV2 {
            producer_group: Text::plain("group"),
            topic: Text::plain("topic"),
            default_topic: Text::plain("TBW102"),
            default_topic_queue_nums: 4,
            queue_id: 1,
            sys_flag: 0,
            born_timestamp: 1,
            flag: 0,
            properties: Some(Text::plain("KEYS\u{1}a\u{2}")),
            reconsume_times: None,
            unit_mode: None,
            max_reconsume_times: None,
            batch: None,
            broker_name: None,
        };
        let command = CommandOut { remark: Some(&remark), ..CommandOut::default() };
        let mut bytes = frame(codec, &command, &header).header.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        read(&bytes);
    }

    #[test]
    fn commands_are_read_as_written(
        codec in codec(),
        (group, topic, properties, remark) in (text(), text(), text(), text()),
        (code, version) in (any::<i16>(), any::<i16>()),
        (opaque, flag, queue_id) in (any::<i32>(), any::<i32>(), any::<i32>()),
        born_timestamp in any::<i64>(),
        batch in any::<Option<bool>>(),
        language in 0_u8..14,
    ) {
        let header = SendMessageV2 {
            producer_group: Text::from(&group),
            topic: Text::from(&topic),
            default_topic: Text::plain("TBW102"),
            default_topic_queue_nums: 4,
            queue_id,
            sys_flag: 0,
            born_timestamp,
            flag: 0,
            properties: Some(Text::from(&properties)),
            reconsume_times: None,
            unit_mode: None,
            max_reconsume_times: None,
            batch,
            broker_name: None,
        };
        let command = CommandOut {
            code: i32::from(code),
            language: Language::from_code(language),
            version: i32::from(version),
            opaque,
            flag,
            remark: Some(&remark),
        };
        let written = frame(codec, &command, &header);
        let head = written.head().unwrap();
        prop_assert_eq!((head.code, head.version), (command.code, command.version));
        prop_assert_eq!((head.opaque, head.flag), (opaque, flag));
        prop_assert_eq!(head.language, command.language);
        prop_assert_eq!(head.remark.unwrap(), remark.as_str());
        prop_assert_eq!(SendMessageV2::decode(head.fields).unwrap(), header);
        // The fields as they are, through the other codec and back.
        let other = match codec {
            Codec::Json => Codec::Rocketmq,
            Codec::Rocketmq => Codec::Json,
        };
        let echoed = frame(other, &command, &head.fields);
        let echoed = frame(codec, &command, &echoed.head().unwrap().fields);
        prop_assert_eq!(echoed, written);
    }

    #[test]
    fn records_are_read_as_written(
        (born_host, store_host) in (address(), address()),
        (topic, body) in ("[a-z]{1,200}", vec(any::<u8>(), 0..300)),
        props in btree_map("[A-Z]{1,5}", "[a-z]{1,5}", 0..5),
        (queue_id, flag, reconsume_times) in (any::<i32>(), any::<i32>(), any::<i32>()),
        (queue_offset, log_offset, times) in (any::<i64>(), any::<i64>(), any::<(i64, i64, i64)>()),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut properties = Vec::new();
        for (name, value) in &props {
            properties::append(&mut properties, name, value);
        }
        let record = Record {
            queue_id,
            flag,
            queue_offset: QueueOffset(0),
            log_offset: LogOffset(0),
            sys_flag: 0,
            born_timestamp: times.0,
            born_host,
            store_timestamp: 0,
            store_host,
            reconsume_times,
            prepared_transaction_offset: times.2,
            body: &body,
            topic: &topic,
            properties: &properties,
        };
        let mut bytes = BytesMut::new();
        let size = record.encode(&mut bytes).unwrap();
        stamp(&mut bytes, QueueOffset(queue_offset), LogOffset(log_offset), times.1);
        let decoded = Record::decode(&bytes, true).unwrap();
        let expect = Record {
            queue_offset: QueueOffset(queue_offset),
            log_offset: LogOffset(log_offset),
            store_timestamp: times.1,
            sys_flag: decoded.record.sys_flag,
            ..record
        };
        prop_assert_eq!(decoded.record, expect);
        prop_assert_eq!(decoded.size, size);
        let found: BTreeMap<String, String> = properties::iter(decoded.record.properties)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(found, props);
        Record::decode(&bytes[..cut.index(size)], true).unwrap_err();
    }

    #[test]
    fn batches_are_read_as_written(
        messages in vec((any::<i32>(), vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..50)), 0..8),
    ) {
        let message = |(flag, body, properties)| BatchMessage { flag, body, properties };
        let messages: Vec<_> = messages.iter().map(|(flag, body, properties)| message((*flag, body, properties))).collect();
        let mut bytes = BytesMut::new();
        for message in &messages {
            message.encode(&mut bytes).unwrap();
        }
        let read: Vec<_> = messages_of_batch(&bytes).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn bodies_are_read_as_written(
        name in text(),
        attributes in btree_map(text(), text(), 0..4),
        (perm, order) in (any::<i32>(), any::<bool>()),
    ) {
        let topic = TopicConfig { topic_name: name, attributes, perm, order, ..TopicConfig::default() };
        for bytes in [fastjson::to_vec(&topic), fastjson::to_vec_standard(&topic), fastjson::to_vec_pretty(&topic)] {
            prop_assert_eq!(&fastjson::from_slice::<TopicConfig>(&bytes).unwrap(), &topic);
            // Without integer keys it is all standard JSON.
            let standard: TopicConfig = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&standard, &topic);
        }
    }

    #[test]
    fn message_ids_are_read_as_written(host in address(), offset in any::<i64>()) {
        let id = MessageId { host, offset: LogOffset(offset) };
        prop_assert_eq!(MessageId::decode(&id.encode()).unwrap(), id);
    }
}
