//! What it costs to find a frame in a read buffer and to know what it asks: in both header codecs, up to the fields of the header.
#![expect(clippy::expect_used, reason = "a bench")]

use bytes::{BufMut, BytesMut};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use protocol::QueueOffset;
use protocol::codes::request;
use protocol::command::{CommandOut, Fields, Header, encode_command};
use protocol::frame::{Codec, split};
use protocol::headers::pull::PullMessage;
use protocol::headers::send::{SendMessage, SendMessageV2};
use protocol::text::Text;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const FRAME_BYTES_MAX: usize = 16 << 20;
const BODY: [u8; 128] = [b'.'; 128];
const CODECS: [Codec; 2] = [Codec::Json, Codec::Rocketmq];
/// As the Java client sends them.
const PROPERTIES: &str =
    "UNIQ_KEY\u{1}7F00000153C05E4B2D8A5C1D0A9B3F7E\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}";

fn main() {
    divan::main();
}

#[divan::bench(args = CODECS)]
fn send_v2(bencher: Bencher<'_, '_>, codec: Codec) {
    let header = SendMessageV2::from(send());
    let frame = frame(codec, request::SEND_MESSAGE_V2, &header, &BODY);
    decode(bencher, &frame, |fields| {
        black_box(SendMessageV2::decode(fields).expect("a header"));
    });
}

#[divan::bench(args = CODECS)]
fn send_v1(bencher: Bencher<'_, '_>, codec: Codec) {
    let frame = frame(codec, request::SEND_MESSAGE, &send(), &BODY);
    decode(bencher, &frame, |fields| {
        black_box(SendMessage::decode(fields).expect("a header"));
    });
}

#[divan::bench(args = CODECS)]
fn pull(bencher: Bencher<'_, '_>, codec: Codec) {
    let header = PullMessage {
        consumer_group: Text::plain("OrderConsumers"),
        topic: Text::plain("Orders"),
        queue_id: 3,
        queue_offset: QueueOffset(1_234_567),
        max_msg_nums: 32,
        sys_flag: 6,
        commit_offset: QueueOffset(0),
        suspend_timeout_millis: 15_000,
        subscription: Some(Text::plain("*")),
        sub_version: Some(1_795_348_800_000),
        expression_type: Some(Text::plain("TAG")),
        max_msg_bytes: Some(256 << 10),
        request_source: None,
        proxy_forward_client_id: None,
    };
    let frame = frame(codec, request::PULL_MESSAGE, &header, &[]);
    decode(bencher, &frame, |fields| {
        black_box(PullMessage::decode(fields).expect("a header"));
    });
}

fn send() -> SendMessage<'static> {
    SendMessage {
        producer_group: Text::plain("OrderProducers"),
        topic: Text::plain("Orders"),
        default_topic: Text::plain("TBW102"),
        default_topic_queue_nums: 4,
        queue_id: 3,
        sys_flag: 0,
        born_timestamp: 1_795_348_800_000,
        flag: 0,
        properties: Some(Text::plain(PROPERTIES)),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        batch: Some(false),
        max_reconsume_times: None,
        broker_name: None,
    }
}

fn frame<'h>(codec: Codec, code: i32, header: &impl Header<'h>, body: &[u8]) -> BytesMut {
    let command = CommandOut {
        code,
        opaque: 4711,
        ..CommandOut::default()
    };
    let mut frame = BytesMut::new();
    encode_command(&mut frame, codec, &command, header, body.len()).expect("it fits a frame");
    frame.put_slice(body);
    frame
}

/// Cuts one frame off a buffer and reads its head and, by `header`, its fields.
fn decode(bencher: Bencher<'_, '_>, frame: &BytesMut, header: impl Fn(Fields<'_>)) {
    bencher
        .counter(BytesCount::new(frame.len()))
        .with_inputs(|| frame.clone())
        .bench_local_refs(|buffer| {
            let frame = split(buffer, FRAME_BYTES_MAX);
            let frame = frame.expect("a frame").expect("a whole one");
            header(frame.head().expect("a head").fields);
            frame
        });
}
