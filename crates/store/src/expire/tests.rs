//! Tests of removing old files: what goes, what stays readable, and what a restart finds.

use super::*;
use crate::disk::{CrashKeep, SimDisk};
use crate::testing::{LOG_FILE_BYTES, Message, append, bodies, config, open, read, try_append};
use crate::{AppendError, ReadStatus};

/// A queue with a message at each of its offsets, one that has messages only in the first file,
/// and one with few.
fn filled(disk: &std::sync::Arc<SimDisk>) -> Store {
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
