//! Tests of the index follower: from memory and from files, across restarts, and questions.

use super::*;
use crate::disk::{CrashKeep, SimDisk};
use crate::testing::{Message, append, config, open, sync_config};

const NOW: LocalTime = LocalTime {
    epoch_ms: 1_700_000_000_000,
    utc_offset_s: 0,
};

fn keyed(index: usize) -> Message {
    let keys = ["a b", "b c", "c a"][index % 3];
    Message::new("T", (index % 2) as i32, format!("{index}")).keyed(keys)
}

fn build(store: &Store) {
    while store.build_index(NOW).unwrap() {}
}

fn bodies(found: &Found) -> Vec<String> {
    let text = |record| String::from_utf8_lossy(Outline::decode(record).unwrap().body).into_owned();
    found.records.iter().map(|record| text(record)).collect()
}

#[test]
fn finds_what_was_appended() {
    let store = open(&SimDisk::new(1), config());
    for index in 0..60 {
        append(
            &store,
            &[keyed(index), Message::new("U", 0, "no keys")],
            1000 * (index as i64 + 1),
        );
        if index % 20 == 0 {
            build(&store);
        }
        if index == 40 {
            store.log.tail.clear();
        }
    }
    build(&store);
    let found = store.query("T", "c", 64, 0, i64::MAX).unwrap();
    let expected = (0..60)
        .filter(|index| index % 3 != 0)
        .map(|index| index.to_string());
    assert_eq!(bodies(&found), expected.collect::<Vec<_>>());
    assert_eq!(found.last_update_timestamp, 60_000);
    let ranged = store.query("T", "b", 64, 11_000, 13_000).unwrap();
    assert_eq!(bodies(&ranged), ["10", "12"]);
    let newest = store.query("T", "b", 2, 0, i64::MAX).unwrap();
    assert_eq!(bodies(&newest), ["57", "58"]);
    assert!(
        store
            .query("T", "d", 64, 0, i64::MAX)
            .unwrap()
            .records
            .is_empty()
    );
    assert!(
        store
            .query("U", "a", 64, 0, i64::MAX)
            .unwrap()
            .records
            .is_empty()
    );
}

#[test]
fn goes_on_after_a_restart() {
    for keep in [None, Some(CrashKeep::All), Some(CrashKeep::Random)] {
        let mut disk = SimDisk::new(7);
        for round in 0..4 {
            let store = open(&disk, config());
            for index in 0..15 {
                append(&store, &[keyed(round * 15 + index)], 1000);
                if index == 5 {
                    build(&store);
                    store.flush().unwrap();
                    store.flush_queues(round as i64 * 100_000).unwrap();
                }
            }
            // The rest is not indexed in this run.
            store.flush().unwrap();
            match keep {
                None => store.close().unwrap(),
                Some(keep) => disk = disk.crash(keep),
            }
        }
        let store = open(&disk, config());
        build(&store);
        let found = store.query("T", "a", 64, 0, i64::MAX).unwrap();
        let expected = (0..60)
            .filter(|index| index % 3 != 1)
            .map(|index| index.to_string());
        assert_eq!(bodies(&found), expected.collect::<Vec<_>>(), "{keep:?}");
    }
}

#[test]
fn shows_nothing_that_is_not_durable() {
    let store = open(&SimDisk::new(1), sync_config());
    append(&store, &[keyed(0)], 1000);
    build(&store);
    assert!(
        store
            .query("T", "a", 64, 0, i64::MAX)
            .unwrap()
            .records
            .is_empty()
    );
    store.flush().unwrap();
    assert_eq!(
        bodies(&store.query("T", "a", 64, 0, i64::MAX).unwrap()),
        ["0"]
    );
}

/// A key given twice, or a record indexed twice as by Apache after a crash, is found once.
#[test]
fn finds_each_record_once() {
    let store = open(&SimDisk::new(1), config());
    append(&store, &[Message::new("T", 0, "x").keyed("a a")], 1000);
    build(&store);
    assert_eq!(
        bodies(&store.query("T", "a", 64, 0, i64::MAX).unwrap()),
        ["x"]
    );
}
