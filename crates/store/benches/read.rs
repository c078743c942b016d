//! What it costs to read a queue, 32 messages a time: from the memory tail, and from the page cache with pread(2) and a check of
//! every record.
#![expect(clippy::expect_used, reason = "a bench")]

mod shared;

use divan::Bencher;
use divan::counter::ItemsCount;
use protocol::QueueOffset;
use store::{ReadLimits, ReadStatus};

use shared::{Bench, NOW_MS, TOPIC};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const AT_ONCE: i64 = 32;
/// Messages that are read round and round.
const MESSAGES: i64 = 4096;
/// As many as a busy connection appends at once.
const BATCH: usize = 64;
/// More than the memory tail holds.
const LATER_BYTES: usize = 16 << 20;

const BODIES: [usize; 2] = [128, 1024];

fn main() {
    divan::main();
}

#[divan::bench(args = BODIES, sample_count = 1000, max_time = 1)]
fn tail(bencher: Bencher<'_, '_>, body: usize) {
    let bench = filled(body);
    read(bencher, &bench);
}

#[divan::bench(args = BODIES, sample_count = 1000, max_time = 1)]
fn page_cache(bencher: Bencher<'_, '_>, body: usize) {
    let bench = filled(body);
    for _ in 0..LATER_BYTES / (BATCH * body) {
        bench.append(&mut bench.batch(BATCH));
    }
    let written = bench.store.flush_queues(NOW_MS);
    written.expect("entries are written");
    read(bencher, &bench);
}

fn filled(body: usize) -> Bench {
    let bench = Bench::open(body, false);
    for _ in 0..MESSAGES as usize / BATCH {
        bench.append(&mut bench.batch(BATCH));
    }
    bench
}

fn read(bencher: Bencher<'_, '_>, bench: &Bench) {
    let limits = ReadLimits::default();
    let queue = bench.store.queue(TOPIC, 0).expect("it has messages");
    let mut from = 0;
    bencher
        .counter(ItemsCount::new(AT_ONCE as usize))
        .bench_local(|| {
            let offset = QueueOffset(from);
            from = (from + AT_ONCE) % MESSAGES;
            let read = bench.store.read(&queue, offset, &limits, |_| true);
            let read = read.expect("the files can be read");
            assert_eq!(read.status, ReadStatus::Found);
            assert_eq!(read.records.len(), AT_ONCE as usize);
            read
        });
}
