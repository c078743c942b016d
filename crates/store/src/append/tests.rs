//! Tests of appending: offsets, rolling, failures that change nothing, wake-ups.

use std::pin::pin;

use protocol::record::{MAGIC_BLANK, Record};

use super::*;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};
use crate::testing::{
    LOG_FILE_BYTES, Message, append, bodies, config, open, open_with_report, peek, poll_once, read,
    sync_config, try_append,
};
use crate::{Batch, Disk, ReadStatus};

fn message(body: usize) -> Message {
    Message::new("T", 0, vec![b'x'; body])
}

#[test]
fn assigns_offsets_and_stamps() {
    let store = open(&SimDisk::new(1), config());
    let first = append(
        &store,
        &[
            Message::new("T", 0, "a"),
            Message::new("T", 1, "b"),
            Message::new("T", 0, "c"),
        ],
        1000,
    );
    let queue_offsets: Vec<i64> = first.entries.iter().map(|entry| entry.1.0).collect();
    assert_eq!(queue_offsets, [0, 0, 1]);
    assert_eq!(first.entries[0].0, LogOffset(0));
    assert_eq!(first.end, store.log_end());
    let read = read(&store, "T", 0, 1);
    let bytes = read.records.iter().next().unwrap();
    let record = Record::decode(&bytes, true).unwrap().record;
    assert_eq!(record.body, b"c");
    assert_eq!(record.queue_offset, QueueOffset(1));
    assert_eq!(record.log_offset, first.entries[2].0);
    assert_eq!(record.store_timestamp, 1000);
}

#[test]
fn store_time_never_goes_back() {
    let store = open(&SimDisk::new(1), config());
    append(&store, &[message(1)], 1000);
    assert_eq!(append(&store, &[message(1)], 900).store_timestamp, 1000);
    assert_eq!(append(&store, &[message(1)], 1001).store_timestamp, 1001);
}

#[test]
fn half_messages_take_no_place_in_the_queue() {
    let store = open(&SimDisk::new(1), config());
    let appended = append(
        &store,
        &[message(1), message(2).prepared(), message(3)],
        1000,
    );
    let queue_offsets: Vec<i64> = appended.entries.iter().map(|entry| entry.1.0).collect();
    assert_eq!(queue_offsets, [0, 0, 1]);
    assert_eq!(bodies(&store, "T", 0).len(), 2);
    let half = store.record_at(appended.entries[1].0).unwrap().unwrap();
    assert_eq!(Record::decode(&half, true).unwrap().record.body, b"xx");
}

/// A file ends with a blank record where the next one would not leave 8 bytes.
#[test]
fn rolls_as_apache_does() {
    for (left, rolls) in [(8, false), (7, true), (0, true)] {
        let disk = SimDisk::new(1);
        let store = open(&disk, config());
        let size = append(&store, &[message(0)], 1).end.0 as usize;
        let body = LOG_FILE_BYTES as usize - 2 * size - left;
        let second = append(&store, &[message(body)], 1);
        let at = if rolls {
            LOG_FILE_BYTES as i64
        } else {
            size as i64
        };
        assert_eq!(second.entries[0].0, LogOffset(at), "{left} bytes left");
        if rolls {
            let file = Disk::Sim(disk)
                .read(&config().commit_log_dir.join(format!("{:020}", 0)))
                .unwrap();
            assert_eq!(file.len() as u64, LOG_FILE_BYTES);
            let room = LOG_FILE_BYTES as u32 - size as u32;
            assert_eq!(file[size..size + 4], room.to_be_bytes());
            assert_eq!(file[size + 4..size + 8], MAGIC_BLANK.to_be_bytes());
        }
    }
}

#[test]
fn a_batch_may_span_files() {
    let store = open(&SimDisk::new(1), config());
    let messages: Vec<_> = (0..40).map(|size| message(size * 10)).collect();
    let appended = append(&store, &messages, 1);
    assert!(appended.end.0 > 2 * LOG_FILE_BYTES as i64);
    let expected: Vec<_> = messages
        .iter()
        .map(|message| message.body.clone())
        .collect();
    assert_eq!(bodies(&store, "T", 0), expected);
    for (offset, _) in appended.entries {
        assert!(store.record_at(offset).unwrap().is_some());
    }
}

#[test]
fn too_large_is_refused() {
    let store = open(&SimDisk::new(1), config());
    let error = try_append(&store, &[message(LOG_FILE_BYTES as usize)], 1).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { .. }), "{error}");
    assert_eq!(store.queue("T", 0).unwrap().next(), 0);
    assert!(append(&store, &[], 1).entries.is_empty());
}

#[test]
fn a_failed_write_changes_nothing() {
    for error in [FaultError::Io, FaultError::NoSpace] {
        for after in 0..4 {
            let disk = SimDisk::new(after);
            let store = open(&disk, config());
            append(&store, &[message(1)], 1);
            let before = (store.log_end(), store.queue("T", 0).unwrap().next());
            disk.fail(Fault {
                on: FaultOn::Write,
                path: "commitlog".into(),
                after,
                error,
                sticky: false,
            });
            // Three files: two writes for each but the last.
            let large: Vec<_> = (0..6).map(|_| message(1500)).collect();
            let mut batch = crate::testing::batch_of(&store, &large);
            let failed = store.append(&mut batch, 2).unwrap_err();
            match error {
                FaultError::Io => assert!(matches!(failed, AppendError::Io(_))),
                FaultError::NoSpace => assert!(matches!(failed, AppendError::DiskFull(_))),
            }
            assert_eq!(
                (store.log_end(), store.queue("T", 0).unwrap().next()),
                before
            );
            assert_eq!(bodies(&store, "T", 0).len(), 1);
            assert_eq!(batch.len(), 6, "it can be tried again");
            store.append(&mut batch, 2).unwrap();
            assert!(batch.is_empty());
            assert_eq!(bodies(&store, "T", 0).len(), 7);
        }
    }
}

/// A batch whose first file is written and whose second is not.
fn half_written(disk: &std::sync::Arc<SimDisk>, store: &Store, sticky: bool) {
    disk.fail(Fault {
        on: FaultOn::Write,
        path: "commitlog/".into(),
        after: 2,
        error: FaultError::Io,
        sticky,
    });
    let refused = [message(2), message(2), message(3900)];
    try_append(store, &refused, 2).unwrap_err();
}

/// What was refused must not come back as a message, whatever comes then.
#[test]
fn what_a_failed_write_left_is_wiped() {
    for sticky in [false, true] {
        let disk = SimDisk::new(3);
        let store = open(&disk, config());
        let end = append(&store, &[message(1)], 1).end.0;
        half_written(&disk, &store, sticky);
        let left = peek(&store, end, 200);
        assert_eq!(left.iter().any(|byte| *byte != 0), sticky);
        disk.heal();
        store.close().unwrap();
        drop(store);
        let (store, report) = open_with_report(&disk, config());
        assert!(report.clean && report.bad.is_empty() && !report.cut);
        assert_eq!(bodies(&store, "T", 0), [b"x"]);
    }
}

#[test]
fn a_power_cut_does_not_bring_back_what_was_refused() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let store = open(&disk, sync_config());
        append(&store, &[message(1)], 1);
        store.flush().unwrap();
        half_written(&disk, &store, false);
        append(&store, &[message(3), Message::new("T", 1, "y")], 3);
        if seed % 2 == 0 {
            store.flush().unwrap();
        }
        let store = open(&disk.crash(CrashKeep::Random), sync_config());
        let found = bodies(&store, "T", 0);
        assert!(
            found.iter().all(|body| body.len() != 2),
            "seed {seed}: {found:?}"
        );
        assert_eq!(
            found.len() + bodies(&store, "T", 1).len() >= 3,
            found.len() == 2
        );
    }
}

#[test]
fn no_space_for_a_file_is_disk_full_and_passes() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    append(&store, &[message(1)], 1);
    disk.set_capacity(Some(disk.used()));
    let changes = disk.changes();
    let error = try_append(&store, &[message(3990)], 2).unwrap_err();
    assert!(matches!(error, AppendError::DiskFull(_)), "{error}");
    assert_eq!(disk.changes(), changes, "nothing was tried");
    append(&store, &[message(2)], 2);
    disk.set_capacity(None);
    append(&store, &[message(3990)], 2);
    assert_eq!(bodies(&store, "T", 0).len(), 3);
}

#[test]
fn the_append_wakes_who_waits() {
    let store = open(&SimDisk::new(1), config());
    let queue = store.queue_or_create("T", 0).unwrap();
    let mut first = pin!(queue.arrival(QueueOffset(0)));
    let mut second = pin!(queue.arrival(QueueOffset(1)));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    append(&store, &[Message::new("T", 1, "another queue")], 1);
    assert!(poll_once(first.as_mut()).is_pending());
    append(&store, &[message(1)], 1);
    assert!(poll_once(first).is_ready());
    assert!(poll_once(second.as_mut()).is_pending());
    append(&store, &[message(1)], 1);
    assert!(poll_once(second).is_ready());
}

/// A wake-up, not only a state that polling again would see.
#[test]
fn wakers_are_called() {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    for config in [config(), sync_config()] {
        let store = open(&SimDisk::new(1), config.clone());
        let queue = store.queue_or_create("T", 0).unwrap();
        let flag = std::sync::Arc::new(Flag(false.into()));
        let waker = flag.clone().into();
        let mut context = std::task::Context::from_waker(&waker);
        let mut arrival = pin!(queue.arrival(QueueOffset(0)));
        assert!(arrival.as_mut().poll(&mut context).is_pending());
        append(&store, &[Message::new("T", 1, "other"), message(1)], 1);
        assert_eq!(flag.0.load(Ordering::SeqCst), !config.sync_flush);
        store.flush().unwrap();
        assert!(flag.0.load(Ordering::SeqCst));
    }
}

#[test]
fn with_sync_flush_nothing_is_seen_before_it_is_durable() {
    let store = open(&SimDisk::new(1), sync_config());
    let queue = store.queue_or_create("T", 0).unwrap();
    let mut arrival = pin!(queue.arrival(QueueOffset(0)));
    let appended = append(&store, &[message(1), message(2)], 1);
    let mut durable = pin!(store.durable().reached(appended.end.0));
    assert!(poll_once(arrival.as_mut()).is_pending());
    assert!(poll_once(durable.as_mut()).is_pending());
    assert_eq!(queue.max_visible(), QueueOffset(0));
    assert_eq!(read(&store, "T", 0, 0).status, ReadStatus::NoMessageInQueue);
    assert_eq!(store.record_at(LogOffset(0)).unwrap(), None);
    assert_eq!(store.flush().unwrap(), appended.end);
    assert!(poll_once(arrival).is_ready());
    assert_eq!(poll_once(durable), std::task::Poll::Ready(Ok(())));
    assert_eq!(bodies(&store, "T", 0).len(), 2);
    assert!(store.record_at(LogOffset(0)).unwrap().is_some());
}

#[test]
fn a_failed_sync_seals_for_ever() {
    for config in [config(), sync_config()] {
        let disk = SimDisk::new(1);
        let store = open(&disk, config);
        let good = append(&store, &[message(1)], 1);
        store.flush().unwrap();
        disk.fail(Fault {
            on: FaultOn::Sync,
            path: "commitlog".into(),
            after: 0,
            error: FaultError::Io,
            sticky: false,
        });
        let lost = append(&store, &[message(2)], 1);
        let mut durable = pin!(store.durable().reached(lost.end.0));
        assert!(poll_once(durable.as_mut()).is_pending());
        store.flush().unwrap_err();
        assert_eq!(
            poll_once(durable),
            std::task::Poll::Ready(Err(crate::Sealed))
        );
        store.flush().unwrap_err();
        assert!(matches!(
            try_append(&store, &[message(3)], 1),
            Err(AppendError::Sealed(_))
        ));
        assert_eq!(store.durable().at(), good.end.0);
        assert_eq!(read(&store, "T", 0, 0).status, ReadStatus::Found);
    }
}

#[test]
fn an_empty_batch_is_nothing() {
    let store = open(&SimDisk::new(1), config());
    let appended = store.append(&mut Batch::default(), 5).unwrap();
    assert_eq!(appended.end, LogOffset(0));
}
