//! What it costs to write what leaves: the answers to a send and to a pull, and the record that is stored and served.
#![expect(clippy::expect_used, reason = "a bench")]

use std::net::{Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::BytesCount;
use protocol::command::{CommandOut, Header, RESPONSE, encode_command};
use protocol::frame::Codec;
use protocol::headers::pull::PullMessageResponse;
use protocol::headers::send::SendMessageResponse;
use protocol::record::Record;
use protocol::text::Text;
use protocol::{LogOffset, QueueOffset};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

/// As the Java client sends them.
const PROPERTIES: &[u8] =
    b"UNIQ_KEY\x017F00000153C05E4B2D8A5C1D0A9B3F7E\x02WAIT\x01true\x02TAGS\x01TagA\x02";

fn main() {
    divan::main();
}

#[divan::bench]
fn send_reply(bencher: Bencher<'_, '_>) {
    let header = SendMessageResponse {
        msg_id: Text::plain("7F00000100002A9F0000000012345678"),
        queue_id: 3,
        queue_offset: QueueOffset(1_234_567),
        transaction_id: Some(Text::plain("7F00000153C05E4B2D8A5C1D0A9B3F7E")),
        batch_uniq_id: None,
        recall_handle: None,
        region: Some(Text::plain("DefaultRegion")),
        trace_on: Some(true),
    };
    reply(bencher, &header, 0);
}

/// The records follow as slices of what is stored.
#[divan::bench]
fn pull_reply_head(bencher: Bencher<'_, '_>) {
    let header = PullMessageResponse {
        suggest_which_broker_id: 0,
        next_begin_offset: QueueOffset(1_234_567),
        min_offset: QueueOffset(0),
        max_offset: QueueOffset(1_234_599),
        offset_delta: None,
        topic_sys_flag: Some(0),
        group_sys_flag: Some(0),
        forbidden_type: None,
    };
    reply(bencher, &header, 32 * 280);
}

/// By the size of the body.
#[divan::bench(args = [128, 1024, 65_536])]
fn record(bencher: Bencher<'_, '_>, body: usize) {
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_911));
    let body = vec![b'.'; body];
    let record = Record {
        queue_id: 3,
        flag: 0,
        queue_offset: QueueOffset(0),
        log_offset: LogOffset(0),
        sys_flag: 0,
        born_timestamp: 1_795_348_800_000,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        topic: "Orders",
        properties: PROPERTIES,
    };
    written(bencher, |out| {
        record.encode(out).expect("it fits a record");
    });
}

fn reply<'h>(bencher: Bencher<'_, '_>, header: &impl Header<'h>, body_bytes: usize) {
    let command = CommandOut {
        opaque: 4711,
        flag: RESPONSE,
        ..CommandOut::default()
    };
    written(bencher, |out| {
        encode_command(out, Codec::Json, &command, header, body_bytes).expect("it fits a frame");
    });
}

/// Writes into a buffer that has the room, as those in use have.
fn written(bencher: Bencher<'_, '_>, write: impl Fn(&mut BytesMut)) {
    let mut out = BytesMut::new();
    write(&mut out);
    bencher.counter(BytesCount::new(out.len())).bench_local(|| {
        out.clear();
        write(&mut out);
        divan::black_box(out.len())
    });
}
