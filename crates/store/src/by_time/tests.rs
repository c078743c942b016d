//! Tests of searching by time, against what Apache 5.3.3 answers.

use super::*;
use crate::disk::SimDisk;
use crate::testing::{Message, append, config, open, poke, sync_config};

/// Messages at these times, in one queue; others between them in another.
fn store_with(times: &[i64]) -> Store {
    let store = open(&SimDisk::new(1), config());
    store.queue_or_create("T", 0).unwrap();
    for time in times {
        append(
            &store,
            &[Message::new("T", 0, "x"), Message::new("T", 1, "y")],
            *time,
        );
    }
    store
}

/// `getOffsetInQueueByTime`: time asked for, lower, upper.
#[test]
fn boundaries() {
    let check = |times: &[i64], expect: &[(i64, i64, i64)]| {
        for from_disk in [false, true] {
            let store = store_with(times);
            if from_disk {
                store.flush_queues(1).unwrap();
                store.log.tail.clear();
            }
            let queue = store.queue("T", 0).unwrap();
            for &(time, lower, upper) in expect {
                let found = [Boundary::Lower, Boundary::Upper]
                    .map(|boundary| store.offset_by_time(&queue, time, boundary).unwrap().0);
                assert_eq!(found, [lower, upper], "{time} in {times:?}");
            }
        }
    };
    check(&[], &[(5, 0, 0)]);
    check(&[10], &[(9, 0, 0), (10, 0, 0), (11, 1, 0)]);
    // The example in Apache's source: between two times the upper boundary is below the lower.
    check(
        &[10, 10, 10, 30, 30],
        &[(5, 0, 0), (10, 0, 2), (20, 3, 2), (30, 3, 4), (40, 5, 4)],
    );
    let many: Vec<i64> = (0..90).map(|index| index / 3 * 10).collect();
    check(
        &many,
        &[
            (0, 0, 2),
            (5, 3, 2),
            (150, 45, 47),
            (290, 87, 89),
            (291, 90, 89),
        ],
    );
}

#[test]
fn an_unreadable_record_is_passed_over() {
    let times: Vec<i64> = (0..20).map(|index| index * 10).collect();
    for broken in 0..20 {
        let store = store_with(&times);
        let queue = store.queue("T", 0).unwrap();
        let entry = store.queues.entry(&queue, broken).unwrap().unwrap();
        store.log.tail.clear();
        poke(&store, entry.log_offset.0 + 4, &[0; 4]);
        assert_eq!(store.stored_ms(&queue, QueueOffset(broken)).unwrap(), None);
        for asked in 0..20 {
            let found = store
                .offset_by_time(&queue, asked * 10, Boundary::Lower)
                .unwrap()
                .0;
            // Reading from the broken one goes on with the one behind it.
            let reads = found + i64::from(found == broken);
            let expected = asked + i64::from(asked == broken);
            assert_eq!(reads, expected, "{asked} with {broken} broken");
        }
    }
}

#[test]
fn what_is_not_visible_has_no_time() {
    let store = open(&SimDisk::new(1), sync_config());
    append(&store, &[Message::new("T", 0, "x")], 10);
    let queue = store.queue("T", 0).unwrap();
    assert_eq!(store.stored_ms(&queue, QueueOffset(0)).unwrap(), None);
    assert_eq!(
        store.offset_by_time(&queue, 99, Boundary::Lower).unwrap().0,
        0
    );
    store.flush().unwrap();
    assert_eq!(store.stored_ms(&queue, QueueOffset(0)).unwrap(), Some(10));
}
