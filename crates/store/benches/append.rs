//! What it costs to append encoded records to the log, by how many go in one batch: stamped, written with one pwrite(2), entered
//! into their queue, kept for readers; and with SYNC_FLUSH until they are durable.
#![expect(clippy::expect_used, reason = "a bench")]

mod shared;

use divan::Bencher;
use divan::counter::ItemsCount;

use shared::Bench;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const RECORDS: [usize; 4] = [1, 32, 50, 256];

fn main() {
    divan::main();
}

#[divan::bench(args = RECORDS, sample_count = 1000, max_time = 1)]
fn body_128(bencher: Bencher<'_, '_>, records: usize) {
    append(bencher, 128, records);
}

#[divan::bench(args = RECORDS, sample_count = 1000, max_time = 1)]
fn body_1024(bencher: Bencher<'_, '_>, records: usize) {
    append(bencher, 1024, records);
}

#[divan::bench(args = RECORDS, sample_count = 1000, max_time = 1)]
fn durable_128(bencher: Bencher<'_, '_>, records: usize) {
    let bench = Bench::open(128, true);
    bencher
        .counter(ItemsCount::new(records))
        .with_inputs(|| bench.batch(records))
        .bench_local_refs(|batch| {
            bench.append(batch);
            bench.store.flush().expect("the disk syncs");
        });
}

fn append(bencher: Bencher<'_, '_>, body_bytes: usize, records: usize) {
    let bench = Bench::open(body_bytes, false);
    bencher
        .counter(ItemsCount::new(records))
        .with_inputs(|| bench.batch(records))
        .bench_local_refs(|batch| bench.append(batch));
}
