//! A disk that hangs, and appends meanwhile.

use std::sync::Arc;
use std::thread;

use super::*;
use crate::disk::{FaultOn, SimDisk};
use crate::testing::{Message, batch_of, config, open, sync_config};
use crate::{AppendError, Appended};

fn append(store: &Store, body: &str, now_ms: i64) -> Result<Appended, AppendError> {
    store.append(
        &mut batch_of(store, &[Message::new("Orders", 0, body)]),
        now_ms,
    )
}

/// Until the other thread is where the disk holds it.
fn wait_until(condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "never");
        thread::yield_now();
    }
}

#[test]
fn behind_a_sync_that_hangs_appends_wait_for_a_second_and_no_longer() {
    let disk = SimDisk::new(1);
    let store = open(&disk, sync_config());
    append(&store, "first", 5_000).unwrap();
    disk.hold(FaultOn::Sync, "commitlog");
    thread::scope(|scope| {
        let flusher = scope.spawn(|| store.flush());
        wait_until(|| disk.waiting() > 0);
        append(&store, "second", 5_000).unwrap();
        append(&store, "again", 5_999).unwrap();
        let refused = append(&store, "third", 6_000).unwrap_err();
        let waiting = store.log_end().0 - store.durable().at();
        assert_eq!(
            refused.to_string(),
            format!(
                "the disk has not finished a sync for 1000 ms, limit 1000 ms; {waiting} bytes of messages wait for it"
            )
        );
        disk.release();
        flusher.join().unwrap().unwrap();
    });
    // The next sync is one of its own, though what it makes durable is old.
    disk.hold(FaultOn::Sync, "commitlog");
    thread::scope(|scope| {
        let flusher = scope.spawn(|| store.flush());
        wait_until(|| disk.waiting() > 0);
        append(&store, "fourth", 6_001).unwrap();
        disk.release();
        flusher.join().unwrap().unwrap();
    });
    assert_eq!(store.flush().unwrap(), store.log_end());
    assert_eq!(store.queue("Orders", 0).unwrap().next(), 4);
}

/// Who tries to flush has other things to do.
#[test]
fn a_flush_that_is_only_tried_waits_for_nobody() {
    let disk = SimDisk::new(1);
    let store = open(&disk, sync_config());
    append(&store, "first", 5_000).unwrap();
    let second = || {
        let _ = append(&store, "second", 5_000);
    };
    let flush = || {
        let _ = store.flush();
    };
    let others: [(FaultOn, &(dyn Fn() + Sync)); 2] =
        [(FaultOn::Write, &second), (FaultOn::Sync, &flush)];
    for (on, other) in others {
        disk.hold(on, "commitlog");
        thread::scope(|scope| {
            scope.spawn(other);
            wait_until(|| disk.waiting() > 0);
            let tried = scope.spawn(|| store.try_flush().is_none());
            let began = std::time::Instant::now();
            while !tried.is_finished() && began.elapsed() < Duration::from_secs(5) {
                thread::yield_now();
            }
            let at_once = tried.is_finished();
            disk.release();
            assert!(at_once && tried.join().unwrap(), "{on:?}");
        });
    }
    assert_eq!(store.try_flush().unwrap().unwrap(), store.log_end());
}

#[test]
fn with_async_flush_nobody_waits_for_a_sync() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    append(&store, "first", 5_000).unwrap();
    disk.hold(FaultOn::Sync, "commitlog");
    thread::scope(|scope| {
        let flusher = scope.spawn(|| store.flush());
        wait_until(|| disk.waiting() > 0);
        append(&store, "second", 5_000).unwrap();
        append(&store, "third", 60_000).unwrap();
        disk.release();
        flusher.join().unwrap().unwrap();
    });
}

/// 0.6 s each: the second is in time, though its sender waited for the first.
#[test]
fn a_write_is_timed_from_its_turn_on() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    append(&store, "first", 5_000).unwrap();
    let first_write = store.writer.lock();
    thread::scope(|scope| {
        let second = scope.spawn(|| append(&store, "second", 5_000));
        // For it to stand in line.
        thread::sleep(Duration::from_millis(50));
        disk.hold(FaultOn::Write, "commitlog");
        drop(first_write);
        wait_until(|| disk.waiting() > 0);
        let third = scope.spawn(|| append(&store, "third", 6_000));
        thread::sleep(Duration::from_millis(200));
        disk.release();
        second.join().unwrap().unwrap();
        third.join().unwrap().unwrap();
    });
}

#[test]
fn behind_a_write_that_hangs_only_the_first_waits() {
    let disk = SimDisk::new(1);
    let store = Arc::new(open(&disk, config()));
    append(&store, "first", 5_000).unwrap();
    disk.hold(FaultOn::Write, "commitlog");
    thread::scope(|scope| {
        let writer = scope.spawn(|| append(&store, "second", 5_000));
        wait_until(|| store.writer.is_locked());
        let began = std::time::Instant::now();
        let refused = append(&store, "third", 5_000).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the disk has not finished the writes before it for 1000 ms, limit 1000 ms; 102 bytes of messages wait for it"
        );
        assert!(began.elapsed() >= Duration::from_millis(900));
        // Later ones don't wait at all; else a thread would be lost with each.
        let began = std::time::Instant::now();
        for now_ms in 6_000..6_100 {
            let refused = append(&store, "third", now_ms).unwrap_err();
            assert!(matches!(
                refused,
                AppendError::Busy {
                    what: "a write",
                    ..
                }
            ));
        }
        assert!(began.elapsed() < Duration::from_millis(900));
        disk.release();
        writer.join().unwrap().unwrap();
    });
    append(&store, "fourth", 6_001).unwrap();
    assert_eq!(store.queue("Orders", 0).unwrap().next(), 3);
}
