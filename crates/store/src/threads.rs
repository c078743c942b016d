//! A store under many threads at once, as the broker uses it: appends, consumers that wait for
//! arrivals, flushes, write-behind, the index and retention, on real files that roll all the time.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    AppendError, Batch, Config, Disk, EntryTag, LocalTime, ReadLimits, ReadStatus, Store, retention,
};
use protocol::record::{Outline, Record, crc31};
use protocol::{LogOffset, QueueOffset};

const QUEUES: i32 = 3;
const PRODUCERS: u32 = 3;
const MESSAGES: u32 = 4000;

fn config(root: &Path, sync_flush: bool) -> Config {
    Config {
        log_file_bytes: 64 << 10,
        queue_file_bytes: 2000,
        index_slots: 100,
        index_entries_max: 1000,
        sync_flush,
        // However full the disk is that the test runs on.
        retention: retention::Limits {
            clean_file_forcibly: false,
            ..Default::default()
        },
        ..Config::new(root)
    }
}

fn push(batch: &mut Batch, store: &Store, queue: i32, producer: u32, number: u32) {
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10911));
    let body = [producer.to_be_bytes(), number.to_be_bytes()].concat();
    let properties = format!("UNIQ_KEY\u{1}{producer}-{number}\u{2}");
    let record = Record {
        queue_id: queue,
        flag: 0,
        queue_offset: QueueOffset(0),
        log_offset: LogOffset(0),
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        topic: "T",
        properties: properties.as_bytes(),
    };
    batch
        .push(store, &record, EntryTag::Code(i64::from(producer)))
        .unwrap();
}

fn produce(store: &Store, producer: u32) {
    let mut number = 0;
    while number < MESSAGES {
        let mut batch = Batch::with_capacity(2000);
        for _ in 0..=(number * 7 + producer) % 9 {
            push(&mut batch, store, (number % 3) as i32, producer, number);
            number += 1;
        }
        // A disk that takes its time refuses some.
        while let Err(error) = store.append(&mut batch, 1000) {
            assert!(matches!(error, AppendError::Busy { .. }), "{error}");
        }
    }
}

fn number_of(record: &[u8]) -> (u32, u32) {
    let outline = Outline::decode(record).unwrap();
    assert_eq!(crc31(outline.body), outline.body_crc);
    let (pair, _) = outline.body.as_chunks::<4>();
    (u32::from_be_bytes(pair[0]), u32::from_be_bytes(pair[1]))
}

/// Reads a queue to the end of all that is sent to it; each producer's messages come in order, and
/// every offset once.
async fn consume(store: &Store, id: i32, durable: bool) -> u64 {
    let queue = store.queue_or_create("T", id).unwrap();
    let mut last = [None; PRODUCERS as usize];
    let (mut from, mut count) = (QueueOffset(0), 0);
    while count < sent_to(id) {
        queue.arrival(from).await;
        let read = store.read(&queue, from, &ReadLimits::default(), |_| true);
        let read = read.unwrap();
        assert_eq!(read.status, ReadStatus::Found);
        assert_eq!(read.next.0, from.0 + read.records.len() as i64, "no gaps");
        for record in read.records.iter() {
            let outline = Outline::decode(&record).unwrap();
            let end = outline.log_offset.0 + outline.size as i64;
            assert!(!durable || end <= store.durable().at(), "shown too early");
            let (producer, number) = number_of(&record);
            let last = &mut last[producer as usize];
            assert!(last.is_none_or(|last| last < number), "out of order");
            *last = Some(number);
        }
        count += read.records.len() as u64;
        from = read.next;
    }
    count
}

/// How many messages all producers send to a queue.
fn sent_to(id: i32) -> u64 {
    let mut sent = 0;
    for producer in 0..PRODUCERS {
        let mut number = 0;
        while number < MESSAGES {
            for _ in 0..=(number * 7 + producer) % 9 {
                sent += u64::from(number % 3 == id as u32);
                number += 1;
            }
        }
    }
    sent
}

fn all_of(store: &Store, id: i32) -> Vec<(u32, u32)> {
    let queue = store.queue("T", id).unwrap();
    let mut from = queue.min();
    let mut found = Vec::new();
    while from < queue.max_visible() {
        let read = store.read(&queue, from, &ReadLimits::default(), |_| true);
        let read = read.unwrap();
        found.extend(read.records.iter().map(|record| number_of(&record)));
        from = read.next;
    }
    found
}

fn run(sync_flush: bool) {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        Store::open(config(dir.path(), sync_flush), Disk::Os)
            .unwrap()
            .0
    };
    let store = open();
    let now = LocalTime {
        epoch_ms: 1000,
        utc_offset_s: 0,
    };
    let stop = AtomicBool::new(false);
    let running = || !stop.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            while running() {
                store.flush().unwrap();
            }
        });
        scope.spawn(move || {
            for ms in 0.. {
                store.flush_queues(ms * 2000).unwrap();
                if !running() {
                    break;
                }
            }
        });
        scope.spawn(move || {
            while running() {
                store.build_index(now).unwrap();
                let found = store.query("T", "0-0", 10, 0, i64::MAX).unwrap();
                assert!(found.records.len() <= 1);
                store.clean(now, false).unwrap();
            }
        });
        let consumers: Vec<_> = (0..QUEUES)
            .map(|id| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    runtime.unwrap().block_on(consume(store, id, sync_flush))
                })
            })
            .collect();
        for producer in 0..PRODUCERS {
            scope.spawn(move || produce(store, producer));
        }
        let consumed: Vec<_> = consumers.into_iter().map(|it| it.join()).collect();
        // Before anything fails: the scope ends when all have.
        stop.store(true, Ordering::Relaxed);
        for (id, consumed) in (0..).zip(consumed) {
            assert_eq!(consumed.unwrap(), sent_to(id));
        }
    });

    let before: Vec<_> = (0..QUEUES).map(|id| all_of(&store, id)).collect();
    // Killed, and then closed.
    drop(store);
    for clean in [false, true] {
        let (store, report) = Store::open(config(dir.path(), sync_flush), Disk::Os).unwrap();
        assert!(report.clean == clean && !report.cut && report.bad.is_empty());
        for (id, expected) in (0..).zip(&before) {
            assert_eq!(all_of(&store, id), *expected);
        }
        while store.build_index(now).unwrap() {}
        for key in ["0-0", "1-777", "2-3999"] {
            let found = store.query("T", key, 10, 0, i64::MAX).unwrap();
            assert_eq!(found.records.len(), 1, "{key}");
        }
        store.close().unwrap();
    }
    drop(open());
}

#[test]
fn async_flush() {
    run(false);
}

#[test]
fn sync_flush() {
    run(true);
}
