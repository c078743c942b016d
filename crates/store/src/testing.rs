//! What the tests of this crate share: a small store on a simulated disk, and records for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use protocol::record::{Outline, Record, crc31, sys_flag};
use protocol::tags::tags_code;
use protocol::{LogOffset, QueueOffset};

use crate::disk::SimDisk;
use crate::{
    AppendError, Appended, Batch, Config, Disk, EntryTag, Queue, QueueEntry, Read, ReadLimits,
    Recovery, Store,
};

pub(crate) const LOG_FILE_BYTES: u64 = 4096;
pub(crate) const QUEUE_FILE_BYTES: u64 = 400;

pub(crate) fn config() -> Config {
    Config {
        log_file_bytes: LOG_FILE_BYTES,
        queue_file_bytes: QUEUE_FILE_BYTES,
        index_slots: 16,
        index_entries_max: 64,
        ..Config::new("/store")
    }
}

pub(crate) fn sync_config() -> Config {
    Config {
        sync_flush: true,
        ..config()
    }
}

pub(crate) fn open(disk: &Arc<SimDisk>, config: Config) -> Store {
    open_with_report(disk, config).0
}

pub(crate) fn open_with_report(disk: &Arc<SimDisk>, config: Config) -> (Store, Recovery) {
    Store::open(config, Disk::Sim(disk.clone())).unwrap()
}

/// All entries of a queue from its oldest message on.
pub(crate) fn queue_entries(store: &Store, queue: &Queue) -> Vec<QueueEntry> {
    let (from, next) = (queue.min().0, queue.next());
    let found = store.queues.read(
        queue,
        from,
        (next - from) as usize,
        crate::disk::Wait::ForDisk,
    );
    let found = found.unwrap();
    assert_eq!(found.len() as i64, next - from);
    found
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: &'static str,
    pub(crate) queue_id: i32,
    pub(crate) body: Vec<u8>,
    pub(crate) tag: &'static str,
    pub(crate) keys: &'static str,
    pub(crate) flags: i32,
}

impl Message {
    pub(crate) fn new(topic: &'static str, queue_id: i32, body: impl Into<Vec<u8>>) -> Self {
        Message {
            topic,
            queue_id,
            body: body.into(),
            tag: "",
            keys: "",
            flags: 0,
        }
    }

    pub(crate) fn tagged(self, tag: &'static str) -> Self {
        Message { tag, ..self }
    }

    pub(crate) fn keyed(self, keys: &'static str) -> Self {
        Message { keys, ..self }
    }

    /// A half message.
    pub(crate) fn prepared(self) -> Self {
        let flags = sys_flag::TRANSACTION_PREPARED;
        Message { flags, ..self }
    }
}

pub(crate) fn batch_of(store: &Store, messages: &[Message]) -> Batch {
    let mut batch = Batch::default();
    for message in messages {
        let mut properties = Vec::new();
        if !message.tag.is_empty() {
            protocol::properties::append(&mut properties, "TAGS", message.tag);
        }
        if !message.keys.is_empty() {
            protocol::properties::append(&mut properties, "KEYS", message.keys);
        }
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10911));
        let record = Record {
            queue_id: message.queue_id,
            flag: 7,
            queue_offset: QueueOffset(-1),
            log_offset: LogOffset(-1),
            sys_flag: message.flags,
            born_timestamp: 1,
            born_host: host,
            store_timestamp: -1,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &message.body,
            topic: message.topic,
            properties: &properties,
        };
        let code = match message.tag {
            "" => 0,
            tag => tags_code(tag),
        };
        batch.push(store, &record, EntryTag::Code(code)).unwrap();
    }
    batch
}

pub(crate) fn try_append(
    store: &Store,
    messages: &[Message],
    now_ms: i64,
) -> Result<Appended, AppendError> {
    store.append(&mut batch_of(store, messages), now_ms)
}

pub(crate) fn append(store: &Store, messages: &[Message], now_ms: i64) -> Appended {
    try_append(store, messages, now_ms).unwrap()
}

/// Everything a read gives from an offset on.
pub(crate) fn read(store: &Store, topic: &str, queue_id: i32, from: i64) -> Read {
    let queue = store.queue(topic, queue_id).unwrap();
    store
        .read(&queue, QueueOffset(from), &ReadLimits::default(), |_| true)
        .unwrap()
}

/// The bodies of a queue's messages, read to the end.
pub(crate) fn bodies(store: &Store, topic: &str, queue_id: i32) -> Vec<Vec<u8>> {
    let Some(queue) = store.queue(topic, queue_id) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut from = queue.min();
    while from < queue.max_visible() {
        let read = store
            .read(&queue, from, &ReadLimits::default(), |_| true)
            .unwrap();
        assert!(read.next > from, "a read makes progress: {read:?}");
        from = read.next;
        found.extend(read.records.iter().map(|record| {
            let outline = Outline::decode(&record).unwrap();
            assert_eq!(crc31(outline.body), outline.body_crc);
            outline.body.to_vec()
        }));
    }
    found
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What a log file has at a place in the log, whatever memory says.
pub(crate) fn peek(store: &Store, at: i64, len: usize) -> Vec<u8> {
    store
        .log
        .read_at(at, len, crate::disk::Wait::ForDisk)
        .unwrap()
        .to_vec()
}

/// Overwrites a log file.
pub(crate) fn poke(store: &Store, at: i64, bytes: &[u8]) {
    let segment = store.log.segment(at).unwrap();
    store.log.write(&segment, at, bytes).unwrap();
}

/// What a start has found, all that a later one might see differently.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// By topic and id. Those that have had no message are left out: only directories tell of them.
    pub(crate) queues: Vec<QueueSnapshot>,
    log: [i64; 4],
    last_ms: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueSnapshot {
    name: (String, i32),
    next: i64,
    min: i64,
    visible: i64,
    /// Bytes of the queue that are in files, and entries that are not.
    held: (std::ops::Range<i64>, i64),
    entries: Vec<QueueEntry>,
}

impl QueueSnapshot {
    /// What consumers know of it.
    pub(crate) fn ends(&self) -> (&(String, i32), [i64; 2]) {
        (&self.name, [self.min, self.next])
    }
}

pub(crate) fn snapshot(store: &Store) -> Snapshot {
    let topics = store.topics().into_iter();
    let queues = topics.flat_map(|topic| store.queues(&topic));
    let queues = queues.filter(|queue| queue.next() > 0);
    let writer = store.writer.lock();
    Snapshot {
        queues: queues
            .map(|queue| QueueSnapshot {
                name: (queue.topic().to_owned(), queue.id()),
                next: queue.next(),
                min: queue.min().0,
                visible: queue.max_visible().0,
                held: queue.held(),
                entries: queue_entries(store, &queue),
            })
            .collect(),
        log: [
            store.log.min(),
            store.log.end(),
            writer.end,
            store.durable.at(),
        ],
        last_ms: writer.last_ms,
    }
}
