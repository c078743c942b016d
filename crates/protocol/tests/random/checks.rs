//! What must hold of any input whatever, by what it is read as. Random tests and fuzz targets share these.
use bytes::BytesMut;
use protocol::bodies::{Heartbeat, RegisterBrokerBody, TopicRoute};
use protocol::command::{
    CommandOut, Head, Header, VERSION, binary_head, encode_command, json_head,
};
use protocol::fastjson::{from_slice, to_vec, to_vec_standard};
use protocol::frame::{Codec, split};
use protocol::headers::pull::PullMessage;
use protocol::headers::send::SendMessageV2;
use protocol::message_id::MessageId;
use protocol::record::{Record, messages_of_batch};
use protocol::text::Text;
use protocol::{options, properties};

/// A stream of frames: none is longer than allowed, and nothing is lost, between frames or after them.
pub fn frames(data: &[u8]) {
    const BYTES_MAX: usize = 1 << 16;
    let mut rest = BytesMut::from(data);
    let mut at = 0;
    while let Ok(Some(frame)) = split(&mut rest, BYTES_MAX) {
        let size = 8 + frame.header.len() + frame.body.len();
        assert!(size <= BYTES_MAX);
        assert_eq!(
            data[at + 8..at + size],
            [&frame.header[..], &frame.body].concat()
        );
        at += size;
        let _ = frame.head();
    }
    assert_eq!(data[at..], rest);
}

/// A header of the JSON codec: what is read can be written, and is the same when read again.
pub fn json_header(data: &[u8]) {
    if let Ok(head) = json_head(data) {
        header(Codec::Json, &head);
    }
}

/// The same of the binary codec.
pub fn binary_header(data: &[u8]) {
    if let Ok(head) = binary_head(data) {
        header(Codec::Rocketmq, &head);
    }
}

fn header(codec: Codec, head: &Head<'_>) {
    let _ = SendMessageV2::decode(head.fields);
    let _ = PullMessage::decode(head.fields);
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
    encode_command(&mut out, codec, &command, &head.fields, 0).unwrap();
    let frame = split(&mut out, usize::MAX).unwrap().unwrap();
    let again = frame.head().unwrap();
    assert_eq!(
        (again.code, again.opaque, again.flag),
        (head.code, head.opaque, head.flag)
    );
    // As text, since what is not UTF-8 is written as U+FFFD.
    let text = |(key, value): (Text<'_>, Text<'_>)| {
        (key.to_str().into_owned(), value.to_str().into_owned())
    };
    assert!(
        again
            .fields
            .iter()
            .map(text)
            .eq(head.fields.iter().map(text))
    );
}

/// A stored record, or a batch of messages: a record is written again as it was read.
pub fn record(data: &[u8]) {
    let _ = messages_of_batch(data).count();
    let Ok(decoded) = Record::decode(data, false) else {
        return;
    };
    let mut out = BytesMut::new();
    let size = decoded.record.encode(&mut out).unwrap();
    // The crc and the magic of a short topic need not be what we would write.
    let again = Record::decode(&out, true).unwrap();
    assert_eq!(again.record, decoded.record);
    assert!(size == decoded.size || size + 1 == decoded.size);
}

/// A properties string, or a properties file of a configuration, or a message id: what is listed is found.
pub fn text(data: &[u8]) {
    let _ = options::parse(data);
    let _ = MessageId::decode(&String::from_utf8_lossy(data));
    let mut again = Vec::new();
    for (name, value) in properties::iter(data) {
        assert!(properties::find(data, name).is_some());
        properties::append(&mut again, name, value);
    }
    assert!(properties::iter(&again).eq(properties::iter(data)));
}

/// A body in fastjson's dialect, or a compressed registration: what is read can be written and read again.
pub fn body(data: &[u8]) {
    if let Ok(heartbeat) = from_slice::<Heartbeat>(data) {
        assert_eq!(
            from_slice::<Heartbeat>(&to_vec(&heartbeat)).unwrap(),
            heartbeat
        );
    }
    if let Ok(route) = from_slice::<TopicRoute>(data) {
        assert_eq!(from_slice::<TopicRoute>(&to_vec(&route)).unwrap(), route);
        assert_eq!(
            from_slice::<TopicRoute>(&to_vec_standard(&route)).unwrap(),
            route
        );
    }
    let _ = RegisterBrokerBody::decode_compressed(data, VERSION);
}
