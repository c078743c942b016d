//! What a request costs from its bytes to those of its answer: sends and pulls to a broker on the real disk, over a loopback socket,
//! one at a time and 64 in one write. The client does next to nothing: its frames are ready and it counts the answers.
#![expect(clippy::expect_used, reason = "a bench")]

use std::io::{Read, Write};
use std::time::Duration;

use broker::{Broker, Config, Running};
use bytes::{BufMut, BytesMut};
use divan::Bencher;
use divan::counter::ItemsCount;
use protocol::QueueOffset;
use protocol::codes::request;
use protocol::command::{CommandOut, Header, encode_command};
use protocol::frame::{Codec, cut};
use protocol::headers::pull::PullMessage;
use protocol::headers::send::SendMessageV2;
use protocol::text::Text;
use remoting::clock::Clock;
use remoting::net::{BlockingStream, connect_blocking};
use store::Disk;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const IN_FLIGHT: [usize; 2] = [1, 64];
const BODY: [u8; 128] = [b'.'; 128];
const PROPERTIES: &str =
    "UNIQ_KEY\u{1}7F00000153C05E4B2D8A5C1D0A9B3F7E\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}";
const FRAME_BYTES_MAX: usize = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() {
    divan::main();
}

#[divan::bench(args = IN_FLIGHT, sample_count = 1000, max_time = 1)]
fn send(bencher: Bencher<'_, '_>, in_flight: usize) {
    let mut bench = Bench::start();
    let frames = send_frame().repeat(in_flight);
    bencher
        .counter(ItemsCount::new(in_flight))
        .bench_local(|| bench.exchange(&frames, in_flight));
}

/// Each finds 32 messages.
#[divan::bench(args = IN_FLIGHT, sample_count = 1000, max_time = 1)]
fn pull(bencher: Bencher<'_, '_>, in_flight: usize) {
    let mut bench = Bench::start();
    bench.exchange(&send_frame().repeat(32), 32);
    let header = PullMessage {
        consumer_group: Text::plain("OrderConsumers"),
        topic: Text::plain("Orders"),
        queue_id: 0,
        queue_offset: QueueOffset(0),
        max_msg_nums: 32,
        sys_flag: 4,
        commit_offset: QueueOffset(0),
        suspend_timeout_millis: 0,
        subscription: Some(Text::plain("*")),
        sub_version: Some(1),
        expression_type: Some(Text::plain("TAG")),
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
    };
    let frames = frame(request::PULL_MESSAGE, &header, &[]).repeat(in_flight);
    bencher
        .counter(ItemsCount::new(in_flight))
        .bench_local(|| bench.exchange(&frames, in_flight));
}

fn send_frame() -> BytesMut {
    let header = SendMessageV2 {
        producer_group: Text::plain("OrderProducers"),
        topic: Text::plain("Orders"),
        default_topic: Text::plain("TBW102"),
        default_topic_queue_nums: 4,
        queue_id: 0,
        sys_flag: 0,
        born_timestamp: 1_795_348_800_000,
        flag: 0,
        properties: Some(Text::plain(PROPERTIES)),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        max_reconsume_times: None,
        batch: Some(false),
        broker_name: None,
    };
    frame(request::SEND_MESSAGE_V2, &header, &BODY)
}

fn frame<'h>(code: i32, header: &impl Header<'h>, body: &[u8]) -> BytesMut {
    let command = CommandOut {
        code,
        ..CommandOut::default()
    };
    let mut frame = BytesMut::new();
    encode_command(&mut frame, Codec::Json, &command, header, body.len()).expect("it fits a frame");
    frame.put_slice(body);
    frame
}

/// A broker and a connection to it.
struct Bench {
    stream: BlockingStream,
    input: Vec<u8>,
    running: Option<Running>,
    runtime: Runtime,
    _home: TempDir,
}

impl Bench {
    fn start() -> Bench {
        // Beside the build: where temporary files go by custom may be memory.
        let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut config = Config::new(home.path());
        config.advertised_host = Some("127.0.0.1".to_owned());
        config.listen_port = 0;
        config.store.log_file_bytes = 256 << 20;
        let runtime = Runtime::new().expect("a runtime");
        let running = runtime.block_on(Broker::start(config, Disk::Os, Clock::System));
        let running = running.expect("the broker starts");
        let addr = running.addrs()[0].to_string();
        let stream = connect_blocking(&addr, TIMEOUT).expect("it listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        Bench {
            stream,
            input: vec![0; 4 << 20],
            running: Some(running),
            runtime,
            _home: home,
        }
    }

    /// Writes requests at once and reads so many answers.
    fn exchange(&mut self, frames: &[u8], mut count: usize) {
        self.stream.write_all(frames).expect("it reads");
        let (mut start, mut end) = (0, 0);
        while count > 0 {
            let read = self
                .stream
                .read(&mut self.input[end..])
                .expect("it answers");
            assert!(read > 0, "the broker closed the connection");
            end += read;
            while let Some(frame) = cut(&self.input[start..end], FRAME_BYTES_MAX).expect("a frame")
            {
                start += frame.end;
                count -= 1;
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let stopped = self.runtime.block_on(running.shutdown());
            stopped.expect("the store closes");
        }
    }
}
