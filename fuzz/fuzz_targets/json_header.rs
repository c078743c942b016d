//! Headers of the JSON codec: what is read can be written, and is the same when read again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use protocol::command::{CommandOut, Header, json_head, encode_command};
use protocol::frame::{Codec, split};
use protocol::headers::pull::PullMessage;
use protocol::headers::send::SendMessageV2;
use protocol::text::Text;

fuzz_target!(|data: &[u8]| {
    let Ok(head) = json_head(data) else { return };
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
    encode_command(&mut out, Codec::Json, &command, &head.fields, 0).unwrap();
    let frame = split(&mut out, usize::MAX).unwrap().unwrap();
    let again = frame.head().unwrap();
    assert_eq!((again.code, again.opaque, again.flag), (head.code, head.opaque, head.flag));
    // As text, since what is not UTF-8 is written as U+FFFD.
    let text = |(key, value): (Text<'_>, Text<'_>)| (key.to_str().into_owned(), value.to_str().into_owned());
    assert!(again.fields.iter().map(text).eq(head.fields.iter().map(text)));
});
