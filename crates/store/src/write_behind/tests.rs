//! What write-behind makes ahead, and what it leaves for later.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::{LogOffset, QueueOffset};

use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};
use crate::retention::{Cleaned, Limits};
use crate::testing::{LOG_FILE_BYTES, Message, append, bodies, config, open, read};
use crate::{Config, Disk, LocalTime, QueueEntry, Store, limits};

/// Where the log's files start.
fn there(store: &Store) -> Vec<u64> {
    let segments = store.log.segments();
    segments
        .iter()
        .map(|segment| segment.start as u64)
        .collect()
}

fn files(count: u64) -> Vec<u64> {
    (0..count).map(|at| at * LOG_FILE_BYTES).collect()
}

/// The log grows by so many halves of a file.
fn grow(store: &Store, halves: usize) {
    for _ in 0..halves {
        let body = vec![b'x'; LOG_FILE_BYTES as usize / 2 - 200];
        append(store, &[Message::new("T", 0, body)], 1);
    }
}

/// At an hour at which nothing goes for its age.
fn clean(store: &Store) -> Cleaned {
    let now = LocalTime {
        epoch_ms: 0,
        utc_offset_s: 0,
    };
    store.clean(now, false).unwrap()
}

/// A store whose log has half a file, as it has seen at 10 s.
fn begun(disk: &Arc<SimDisk>) -> Store {
    let store = open(disk, config());
    grow(&store, 1);
    store.flush_queues(10_000).unwrap();
    assert_eq!(there(&store), files(1), "half of it is left");
    store
}

#[test]
fn never_more_than_four_are_made_ahead() {
    let store = begun(&SimDisk::new(1));
    grow(&store, 19);
    store.flush_queues(11_000).unwrap();
    assert_eq!(
        there(&store),
        files(10 + 4),
        "forty would do for four seconds"
    );
}

#[test]
fn what_has_come_in_over_a_long_turn_is_no_rate() {
    let store = begun(&SimDisk::new(1));
    grow(&store, 9);
    store.flush_queues(50_000).unwrap();
    assert_eq!(there(&store), files(5 + 1), "half a file in four seconds");
    // A clock that is set back shortens no turn.
    grow(&store, 1);
    store.flush_queues(49_999).unwrap();
    assert_eq!(there(&store), files(6 + 2), "half a file in this second");
}

/// Of a disk that is nearly as full as it may be, only the next file takes what is left.
#[test]
fn a_nearly_full_disk_gets_the_next_file_only() {
    let limits = Limits::default();
    for (ratio, limits) in [
        (75, limits.clone()),
        (
            60,
            Limits {
                disk_max_used_ratio: 95,
                disk_clean_forcibly_ratio: 60,
                ..limits
            },
        ),
    ] {
        for (more, ahead) in [(0, 1), (1, 2), (2, 3), (9, 4)] {
            let disk = SimDisk::new(1);
            let config = Config {
                retention: limits.clone(),
                ..config()
            };
            let store = open(&disk, config);
            grow(&store, 20);
            store.queues.write_all_out().unwrap();
            let used = disk.used() + (1 + more) * LOG_FILE_BYTES;
            // With so many more than the next one it is just not too full.
            disk.set_capacity(Some((used + 2 * LOG_FILE_BYTES / 3) * 100 / ratio));
            store.flush_queues(10_000).unwrap();
            assert_eq!(there(&store), files(10 + ahead), "{ratio} {more}");
            let cleaned = clean(&store);
            assert_eq!(cleaned.log_files, 0);
        }
    }
}

/// A disk that is full after all: what could not be made leaves nothing behind, and what is there is used.
#[test]
fn a_file_that_cannot_be_made_ahead_is_made_later() {
    let disk = SimDisk::new(1);
    let store = begun(&disk);
    disk.fail(Fault {
        on: FaultOn::Allocate,
        path: "commitlog".into(),
        after: 1,
        error: FaultError::NoSpace,
        sticky: false,
    });
    grow(&store, 1);
    let failed = store.flush_queues(11_000).unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(there(&store), files(2));
    let dir = Disk::Sim(disk.clone())
        .list(&config().commit_log_dir)
        .unwrap();
    assert_eq!(dir.len(), 2);
    grow(&store, 1);
    store.flush_queues(12_000).unwrap();
    assert_eq!(there(&store), files(4));
}

/// A disk that others fill up: files that nobody has used go first, but the next one. Messages go only if that is not enough.
#[test]
fn a_full_disk_takes_back_what_was_made_ahead() {
    let room = |store: &Store, disk: &SimDisk, percent| {
        disk.set_capacity(Some(disk.used() * 100 / percent));
        clean(store)
    };
    let disk = SimDisk::new(1);
    let store = begun(&disk);
    grow(&store, 19);
    store.flush_queues(11_000).unwrap();
    assert_eq!(there(&store), files(14));
    assert_eq!(room(&store, &disk, 80).log_files, 0);
    assert_eq!(there(&store), files(14), "full enough for what has expired");
    let cleaned = room(&store, &disk, 92);
    assert_eq!((cleaned.log_files, cleaned.full), (0, false));
    assert_eq!(there(&store), files(11));
    assert!(
        room(&store, &disk, 86).log_files > 0,
        "nothing else is left to go"
    );
    assert_eq!(there(&store).last(), files(11).last());
    grow(&store, 4);
    assert_eq!(there(&store).last(), files(12).last());
    store.close().unwrap();
}

/// Files are made and removed under the appends that come to use them.
#[test]
fn no_append_writes_into_a_file_that_goes() {
    for seed in 0..10 {
        let disk = SimDisk::new(seed);
        let store = open(&disk, config());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0.. {
                    store.flush_queues(turn * 1_000).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    store.remove_made_ahead().unwrap();
                }
            });
            for _ in 0..100 {
                grow(&store, 1);
                // Over three files.
                let body = vec![b'y'; LOG_FILE_BYTES as usize - 200];
                append(
                    &store,
                    &[
                        Message::new("T", 1, body.clone()),
                        Message::new("T", 1, body),
                    ],
                    1,
                );
            }
            stop.store(true, Ordering::Relaxed);
        });
        let store = open(&disk.crash(CrashKeep::All), config());
        assert_eq!(bodies(&store, "T", 0).len(), 100, "seed {seed}");
        assert_eq!(bodies(&store, "T", 1).len(), 200, "seed {seed}");
    }
}

#[test]
fn files_are_made_ahead_as_fast_as_the_log_grows() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    let body = vec![b'x'; LOG_FILE_BYTES as usize / 2];
    store.flush_queues(0).unwrap();
    assert_eq!(there(&store), files(0), "nothing is stored yet");
    append(&store, &[Message::new("T", 0, body)], 1);
    store.flush_queues(1).unwrap();
    assert_eq!(
        there(&store),
        files(3),
        "half a file a turn: two more for four turns"
    );
    store.flush_queues(2).unwrap();
    assert_eq!(there(&store), files(3));

    let disk = disk.crash(CrashKeep::All);
    let store = open(&disk, config());
    append(&store, &[Message::new("T", 0, "after")], 3);
    assert_eq!(read(&store, "T", 0, 0).records.len(), 2);
    store.close().unwrap();
    assert_eq!(there(&store), files(1), "what was not used is gone");
}

/// Entries of very many queues that wait for more, a few from each.
fn waiting(disk: &Arc<SimDisk>) -> Store {
    let config = Config {
        queue_file_bytes: 20 * MOST,
        ..config()
    };
    let store = open(disk, config);
    append(&store, &[Message::new("U", 0, "x")], 1);
    store.flush_queues(100_000).unwrap();
    push(&store, 0..1);
    store.flush_queues(101_000).unwrap();
    assert!(store.queues.unwritten() > 0, "they wait");
    store
}

const QUEUES: i32 = limits::QUEUES_DIRTY_MANY as i32 + 1;

/// As many entries of each queue as may wait.
const MOST: u64 = (limits::QUEUES_WAITING_BYTES_MAX / 20) as u64 / QUEUES as u64;

fn push(store: &Store, offsets: Range<i32>) {
    for id in 0..QUEUES {
        let queue = store.queue_or_create("T", id).unwrap();
        let entry = |at: i32| QueueEntry {
            queue_offset: QueueOffset(i64::from(at)),
            log_offset: LogOffset(i64::from(at) * 100),
            size: 100,
            tags_code: 0,
        };
        store.queues.push(&queue, offsets.clone().map(entry));
    }
}

#[test]
fn many_entries_do_not_wait() {
    let store = waiting(&SimDisk::new(1));
    push(&store, 1..MOST as i32);
    store.flush_queues(102_000).unwrap();
    assert!(store.queues.unwritten() > 0, "just not too many");
    push(&store, MOST as i32..MOST as i32 + 1);
    store.flush_queues(103_000).unwrap();
    assert_eq!(store.queues.unwritten(), 0);
}

#[test]
fn entries_do_not_wait_for_much_log() {
    let store = waiting(&SimDisk::new(1));
    let written = |store: &Store| store.checkpoint.lock().content.extra.clone().unwrap();
    // As if records had been appended: to write so many takes long.
    let most = written(&store).queues_written.0 + limits::QUEUES_BEHIND_BYTES_MAX;
    store.writer.lock().end = most - 1;
    store.flush_queues(102_000).unwrap();
    assert!(store.queues.unwritten() > 0, "just not too much");
    store.writer.lock().end = most;
    store.flush_queues(103_000).unwrap();
    assert_eq!(store.queues.unwritten(), 0);
    assert_eq!(written(&store).queues_written.0, most);
}
