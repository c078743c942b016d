//! Tests of consume queues with several threads at work.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{CrashKeep, SimDisk, Wait};
use crate::testing::{Message, append, bodies, config, open};

/// Entries that come while others are being written are written next time: whatever the timing,
/// a write-behind after the last append leaves nothing in memory, and the next start finds all.
#[test]
fn entries_pushed_during_a_write_are_not_forgotten() {
    for round in 0..40 {
        let disk = SimDisk::new(round);
        let store = open(&disk, config());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    store.flush_queues(round as i64).unwrap();
                }
            });
            for index in 0..300 {
                let id = index % 3;
                append(&store, &[Message::new("T", id, format!("{index}"))], 1);
            }
            stop.store(true, Ordering::Relaxed);
        });
        store.flush_queues(1).unwrap();
        assert_eq!(store.queues.unwritten(), 0, "round {round}");
        let again = open(&disk.crash(CrashKeep::All), config());
        for id in 0..3 {
            assert_eq!(bodies(&again, "T", id).len(), 100, "round {round}");
        }
        store.close().unwrap();
        drop(store);
        assert_eq!(bodies(&open(&disk, config()), "T", 0).len(), 100);
    }
}

/// A reader that has looked which files there are meets a removed one: no entries, no error, and
/// the file is not made again.
#[test]
fn a_reader_may_meet_retention() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    for index in 0..60 {
        append(&store, &[Message::new("T", 0, format!("{index}"))], 1);
    }
    store.flush_queues(1).unwrap();
    store.close().unwrap();
    drop(store);
    let store = open(&disk, config());
    let queue = store.queue("T", 0).unwrap();
    let path = std::path::Path::new("/store/consumequeue/T/0/00000000000000000000");
    let files = crate::Disk::Sim(disk.clone());
    store.queues.forget(&queue, 0);
    files.remove_file(path).unwrap();
    assert_eq!(store.queues.read(&queue, 3, 5, Wait::ForDisk).unwrap(), []);
    let read = crate::testing::read(&store, "T", 0, 3);
    assert_eq!(read.status, crate::ReadStatus::OffsetFoundNull);
    store.queues.mark_unsynced(&queue, 0);
    store.queues.sync().unwrap();
    assert!(!files.exists(path));
    assert_eq!(
        store
            .queues
            .read(&queue, 20, 1, Wait::ForDisk)
            .unwrap()
            .len(),
        1
    );
}

/// While a queue can't be written, appends don't try it each time.
#[test]
fn a_failed_write_is_left_to_the_write_behind() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    let queue = store.queue_or_create("T", 0).unwrap();
    disk.fail(crate::disk::Fault {
        on: crate::disk::FaultOn::CreateDir,
        path: "consumequeue/T".into(),
        after: 0,
        error: crate::disk::FaultError::NoSpace,
        sticky: true,
    });
    let entry = crate::QueueEntry {
        queue_offset: protocol::QueueOffset(0),
        log_offset: protocol::LogOffset(0),
        size: 100,
        tags_code: 0,
    };
    let many = crate::limits::QUEUE_UNWRITTEN_BYTES_MAX as i64 / 20 + 100;
    let before = disk.changes();
    for index in 0..many {
        let queue_offset = protocol::QueueOffset(index);
        store.queues.push(
            &queue,
            std::iter::once(crate::QueueEntry {
                queue_offset,
                ..entry
            }),
        );
    }
    assert_eq!(disk.changes() - before, 1, "one try");
    store.flush_queues(1).unwrap_err();
    disk.heal();
    store.flush_queues(2).unwrap();
    assert_eq!(store.queues.unwritten(), 0);
}

/// Existing files keep their size, whatever is configured: in order closed or not, larger or
/// smaller, and new files are like them.
#[test]
fn the_size_of_existing_files_wins() {
    for configured in [100, 200, 420, 4000] {
        for crashed in [false, true] {
            let disk = SimDisk::new(1);
            let store = open(&disk, config());
            for index in 0..50 {
                append(&store, &[Message::new("T", 0, format!("{index}"))], 1);
            }
            store.flush_queues(1).unwrap();
            if !crashed {
                store.close().unwrap();
            }
            drop(store);
            let disk = disk.crash(CrashKeep::All);
            let other = crate::Config {
                queue_file_bytes: configured,
                ..config()
            };
            let store = open(&disk, other);
            assert_eq!(store.config().queue_file_bytes, 400);
            for index in 50..100 {
                append(&store, &[Message::new("T", 0, format!("{index}"))], 1);
            }
            store.close().unwrap();
            drop(store);
            let expected: Vec<_> = (0..100)
                .map(|index| format!("{index}").into_bytes())
                .collect();
            assert_eq!(
                bodies(&open(&disk, config()), "T", 0),
                expected,
                "{configured} {crashed}"
            );
        }
    }
}

/// Somebody removes files of a closed store: the messages are brought from the log, and no offset
/// is given twice.
#[test]
fn files_lost_after_a_clean_exit_are_missed() {
    for lost in ["T/0/00000000000000000400", "T/1/00000000000000000000"] {
        let disk = SimDisk::new(1);
        let store = open(&disk, config());
        for index in 0..30 {
            append(&store, &[Message::new("T", 0, format!("{index}"))], 1);
        }
        append(&store, &[Message::new("T", 1, "x")], 1);
        store.close().unwrap();
        drop(store);
        let path = std::path::Path::new("/store/consumequeue").join(lost);
        crate::Disk::Sim(disk.clone()).remove_file(&path).unwrap();
        let store = open(&disk, config());
        assert_eq!(bodies(&store, "T", 0).len(), 30, "{lost}");
        assert_eq!(bodies(&store, "T", 1).len(), 1, "{lost}");
        let next = append(&store, &[Message::new("T", 1, "y")], 1);
        assert_eq!(next.entries[0].1.0, 1, "{lost}");
    }
}

/// Whoever writes entries out may do so the moment they are there, and subtracts what was added.
#[test]
fn entries_are_counted_before_they_can_be_written() {
    let store = open(&SimDisk::new(1), config());
    let queue = store.queue_or_create("T", 0).unwrap();
    let entries = [0, 1].map(|at| crate::QueueEntry {
        queue_offset: protocol::QueueOffset(at),
        log_offset: protocol::LogOffset(at * 100),
        size: 100,
        tags_code: 0,
    });
    let counted = |_: &_| assert_eq!(store.queues.unwritten(), 40);
    store
        .queues
        .push(&queue, entries.into_iter().inspect(counted));
    store.queues.write_all_out().unwrap();
    assert_eq!(store.queues.unwritten(), 0);
}
