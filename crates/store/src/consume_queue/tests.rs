//! Tests of consume queues with several threads at work.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{CrashKeep, SimDisk};
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
