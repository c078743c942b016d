//! What the tests of inspection share: a store with messages on a simulated disk, closed as a broker leaves it.

use std::net::{Ipv4Addr, SocketAddr};

use protocol::record::Record;
use protocol::{LogOffset, QueueOffset, properties, tags};
use store::checkpoint::Checkpoint;
use store::disk::{Fault, FaultError, FaultOn, SimDisk};
use store::{Batch, Config, Disk, EntryTag, LocalTime, Store};

use super::Layout;

pub(super) const LOG_FILE_BYTES: u64 = 4096;
pub(super) const NOW_MS: i64 = 1_700_000_000_000;

pub(super) fn layout() -> Layout {
    let paths = Config {
        log_file_bytes: LOG_FILE_BYTES,
        queue_file_bytes: 400,
        index_enabled: false,
        ..Config::new("/store")
    };
    Layout {
        disk: Disk::Sim(SimDisk::new(7)),
        paths,
    }
}

/// Adds `count` messages, one after the other to queues 0 and 1 of T, and closes the store. Three fill a quarter of a file.
pub(super) fn fill(layout: &Layout, count: usize) {
    let (store, _) = Store::open(layout.paths.clone(), layout.disk.clone()).unwrap();
    for number in 0..count {
        append(&store, number);
    }
    let now = LocalTime {
        epoch_ms: NOW_MS,
        utc_offset_s: 0,
    };
    while store.build_index(now).unwrap() {}
    store.close().unwrap();
    let checkpoint = Checkpoint {
        physic_ms: NOW_MS,
        logics_ms: NOW_MS,
        ..Checkpoint::default()
    };
    checkpoint
        .write(&layout.disk, &layout.paths.checkpoint_path, false)
        .unwrap();
}

fn append(store: &Store, number: usize) {
    let mut words = Vec::new();
    properties::append(&mut words, properties::KEYS, &format!("key-{number}"));
    properties::append(&mut words, properties::TAGS, "TagA");
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10911));
    let body = format!("{number:0>200}");
    let record = Record {
        queue_id: (number % 2) as i32,
        flag: 0,
        queue_offset: QueueOffset(0),
        log_offset: LogOffset(0),
        sys_flag: 0,
        born_timestamp: NOW_MS,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        topic: "T",
        properties: &words,
    };
    let mut batch = Batch::default();
    batch
        .push(store, &record, EntryTag::Code(tags::tags_code("TagA")))
        .unwrap();
    store.append(&mut batch, NOW_MS + number as i64).unwrap();
}

/// A store of `count` messages that has an index.
pub(super) fn fill_indexed(count: usize) -> Layout {
    let mut layout = layout();
    layout.paths.index_enabled = true;
    layout.paths.index_slots = 10;
    layout.paths.index_entries_max = 100;
    fill(&layout, count);
    layout
}

/// Lets each read of a file whose path contains this text fail.
pub(super) fn unreadable(layout: &Layout, path: &str) {
    let Disk::Sim(disk) = &layout.disk else {
        return;
    };
    disk.fail(Fault {
        on: FaultOn::Read,
        path: path.to_owned(),
        after: 0,
        error: FaultError::Io,
        sticky: true,
    });
}

/// Writes over bytes of a file.
pub(super) fn spoil(layout: &Layout, file: &str, at: u64, bytes: &[u8]) {
    let file = layout
        .disk
        .open_write(&layout.paths.root.join(file))
        .unwrap();
    file.write_all_at(bytes, at).unwrap();
}
