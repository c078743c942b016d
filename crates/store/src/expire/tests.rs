//! Tests of removing old files: what goes, what stays readable, and what a restart finds.

use std::sync::Arc;

use super::*;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk, Wait};
use crate::testing::{LOG_FILE_BYTES, Message, append, bodies, config, open, read, try_append};
use crate::{AppendError, Config, ReadStatus, limits};

/// A queue with a message at each of its offsets, one that has messages only in the first file,
/// and one with few.
fn filled(disk: &Arc<SimDisk>) -> Store {
    let store = open(disk, config());
    for index in 0..120 {
        let mut messages = vec![Message::new("T", 0, format!("{index:03}"))];
        if index < 3 {
            messages.push(Message::new("OLD", 0, "old"));
        }
        if index % 50 == 9 {
            messages.push(Message::new("FEW", 0, format!("{index}")));
        }
        append(&store, &messages, 1000 + index);
    }
    store.flush().unwrap();
    store.flush_queues(1).unwrap();
    store
}

#[test]
fn old_files_go_and_the_rest_stays() {
    let disk = SimDisk::new(1);
    let store = filled(&disk);
    assert_eq!(store.log_file_ages(1).len(), 1);
    assert_eq!(store.log_file_ages(9).len(), 2);
    assert!(store.log_file_ages(9).iter().all(Option::is_some));
    let expired = store.expire(1).unwrap();
    assert_eq!(expired.log_files, 1);
    let first = store.queue("T", 0).unwrap().min().0;
    // T has 20 entries a file.
    assert_eq!(expired.queue_files as i64, first / 20);
    assert_eq!(store.log_min().0, LOG_FILE_BYTES as i64);

    let check = |store: &Store| {
        let queue = store.queue("T", 0).unwrap();
        let min = queue.min().0;
        assert!(min > 20 && min < 60);
        let first = read(store, "T", 0, min);
        assert_eq!(first.status, ReadStatus::Found);
        let low = read(store, "T", 0, min - 1);
        assert_eq!((low.status, low.next.0), (ReadStatus::OffsetTooSmall, min));
        let expected = (min..120).map(|index| format!("{index:03}").into_bytes());
        assert_eq!(bodies(store, "T", 0), expected.collect::<Vec<_>>());
        assert_eq!(
            bodies(store, "FEW", 0),
            [b"59", b"109".as_slice()].map(|body| body.to_vec())
        );
        let old = store.queue("OLD", 0).unwrap();
        assert_eq!((old.min().0, old.max_visible().0), (3, 3));
        assert_eq!(
            read(store, "OLD", 0, 3).status,
            ReadStatus::OffsetOverflowOne
        );
    };
    check(&store);
    check(&open(&disk.crash(CrashKeep::All), config()));
    check(&open(&disk.crash(CrashKeep::Random), config()));
    store.close().unwrap();
    drop(store);
    let store = open(&disk, config());
    check(&store);
    let next = append(&store, &[Message::new("OLD", 0, "new")], 5000);
    assert_eq!(next.entries[0].1.0, 3, "its offsets go on");
}

#[test]
fn the_file_being_written_never_goes() {
    let store = filled(&SimDisk::new(1));
    assert_eq!(store.expire(99).unwrap().log_files, 2);
    assert_eq!(store.log_min().0, 2 * LOG_FILE_BYTES as i64);
    assert_eq!(store.expire(99).unwrap(), Expired::default());
    append(&store, &[Message::new("T", 0, "more")], 5000);
    assert_eq!(bodies(&store, "T", 0).last().unwrap(), b"more");
}

#[test]
fn after_everything_was_expired_queues_are_rebuilt_where_they_were() {
    let disk = SimDisk::new(1);
    let store = filled(&disk);
    store.expire(1).unwrap();
    let min = store.queue("T", 0).unwrap().min();
    store.close().unwrap();
    drop(store);
    crate::Disk::Sim(disk.clone())
        .remove_dir_all(&config().queue_dir)
        .unwrap();
    let store = open(&disk, config());
    assert_eq!(store.queue("T", 0).unwrap().min(), min);
    assert_eq!(bodies(&store, "T", 0).len() as i64, 120 - min.0);
}

#[test]
fn while_the_disk_is_too_full_nothing_is_appended() {
    let store = filled(&SimDisk::new(1));
    store.refuse_appends(true);
    let refused = try_append(&store, &[Message::new("T", 0, "x")], 1);
    assert!(matches!(refused, Err(AppendError::DiskFull(_))));
    assert_eq!(bodies(&store, "T", 0).len(), 120);
    store.refuse_appends(false);
    append(&store, &[Message::new("T", 0, "x")], 1);
}

/// Log files whose blocks are given back in two steps.
const LONG_FILE_BYTES: u64 = limits::REMOVED_STEP_BYTES + (2 << 20);

fn long_files() -> Config {
    Config {
        log_file_bytes: LONG_FILE_BYTES,
        ..config()
    }
}

/// A closed store of two such files with a message each.
fn long(disk: &Arc<SimDisk>) {
    let store = open(disk, long_files());
    for len in LONG {
        append(&store, &[Message::new("T", 0, vec![b'x'; len])], 1);
    }
    store.flush().unwrap();
    store.flush_queues(1).unwrap();
    assert_eq!(
        store.log.file_start(store.log_end().0),
        LONG_FILE_BYTES as i64
    );
    store.close().unwrap();
}

const LONG: [usize; 2] = [3 << 20, (32 << 20) - 1000];

/// It may all be cut off at any step: the file is gone then, or still there as a whole.
#[test]
fn a_crash_while_blocks_are_given_back() {
    let first = SimDisk::new(1);
    long(&first);
    let disk = first.crash(CrashKeep::All);
    let store = open(&disk, long_files());
    let before = disk.changes();
    store.expire(1).unwrap();
    let steps = disk.changes() - before;
    assert!(
        steps >= 4,
        "unlink, sync of the directory, two cuts: {steps}"
    );
    drop(store);
    for keep in [CrashKeep::All, CrashKeep::Random] {
        for step in 0..=steps {
            let disk = first.crash(CrashKeep::All);
            let store = open(&disk, long_files());
            disk.fail(Fault {
                on: FaultOn::AnyChange,
                path: String::new(),
                after: step,
                error: FaultError::Io,
                sticky: true,
            });
            let expired = store.expire(1);
            drop(store);
            let store = open(&disk.crash(keep), long_files());
            let found = bodies(&store, "T", 0);
            let found: Vec<_> = found.iter().map(Vec::len).collect();
            let left = if store.log_min().0 == 0 {
                &LONG[..]
            } else {
                &LONG[1..]
            };
            assert_eq!(found, left, "step {step}, {keep:?}");
            assert!(expired.is_err() || left.len() == 1, "step {step}, {keep:?}");
        }
    }
}

/// What fails goes with the last handle. Until then a reader that has one finds bytes of the file or none, never others.
#[test]
fn blocks_that_can_not_be_given_back_cost_nothing_else() {
    let first = SimDisk::new(1);
    long(&first);
    for (after, left) in [(0, LONG_FILE_BYTES), (1, 2 << 20), (2, 0)] {
        let disk = first.crash(CrashKeep::All);
        let store = open(&disk, long_files());
        let held = store.log.file(&store.log.segment(0).unwrap()).unwrap();
        let mut record = [0; 100];
        held.read_exact_at(&mut record, 0, Wait::ForDisk).unwrap();
        disk.fail(Fault {
            on: FaultOn::Allocate,
            path: "commitlog".into(),
            after,
            error: FaultError::Io,
            sticky: true,
        });
        assert_eq!(store.expire(1).unwrap().log_files, 1);
        assert_eq!(held.len().unwrap(), left);
        let mut again = [0; 100];
        let count = held.read_at(&mut again, 0, Wait::ForDisk).unwrap();
        assert_eq!(again[..count], record[..count]);
        assert_eq!(count > 0, left > 0);
        let read = read(&store, "T", 0, 0);
        assert_eq!((read.status, read.next.0), (ReadStatus::OffsetTooSmall, 1));
        assert_eq!(bodies(&store, "T", 0).len(), 1);
    }
}

/// A reader that waits for the disk while its file goes gets nothing.
#[test]
fn a_read_under_way_while_its_file_goes() {
    let disk = SimDisk::new(1);
    long(&disk);
    let store = open(&disk, long_files());
    disk.hold(FaultOn::Read, "commitlog");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| store.record_at(LogOffset(0)));
        while disk.waiting() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(
            store
                .log
                .delete_before(LogOffset(LONG_FILE_BYTES as i64))
                .unwrap(),
            1
        );
        disk.release();
        assert_eq!(reader.join().unwrap().unwrap(), None);
    });
    assert_eq!(bodies(&store, "T", 0).len(), 1);
}
