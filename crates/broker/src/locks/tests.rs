//! Locks: one owner a queue, renewal, expiry, giving back.

use protocol::bodies::MessageQueue;

use super::Locks;
use crate::limits::LOCK_MS_MAX;

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue {
        topic: "Orders".into(),
        broker_name: "broker-a".into(),
        queue_id,
    }
}

fn ids(queues: &[MessageQueue]) -> Vec<i32> {
    queues.iter().map(|queue| queue.queue_id).collect()
}

#[test]
fn a_queue_has_one_owner_until_it_stops_renewing() {
    let mut locks = Locks::default();
    assert_eq!(
        ids(&locks.acquire("G", "one", vec![queue(0), queue(1)], 0)),
        [0, 1]
    );
    assert_eq!(
        ids(&locks.acquire("G", "two", vec![queue(1), queue(2)], 10)),
        [2]
    );
    assert_eq!(
        ids(&locks.acquire("other group", "two", vec![queue(1)], 10)),
        [1]
    );

    assert_eq!(
        ids(&locks.acquire("G", "one", vec![queue(1)], 30_000)),
        [1],
        "renewed"
    );
    assert_eq!(
        ids(&locks.acquire("G", "two", vec![queue(1)], 30_000 + LOCK_MS_MAX)),
        [0; 0]
    );
    assert_eq!(
        ids(&locks.acquire("G", "two", vec![queue(1)], 30_001 + LOCK_MS_MAX)),
        [1]
    );
    assert_eq!(
        ids(&locks.acquire("G", "one", vec![queue(1)], 30_002 + LOCK_MS_MAX)),
        [0; 0]
    );
}

#[test]
fn only_the_owner_gives_back() {
    let mut locks = Locks::default();
    locks.acquire("G", "one", vec![queue(0)], 0);
    locks.release("G", "two", &[queue(0)]);
    assert!(locks.held("G", 1));
    locks.release("G", "one", &[queue(0), queue(7)]);
    assert!(!locks.held("G", 1));
    assert_eq!(ids(&locks.acquire("G", "two", vec![queue(0)], 2)), [0]);
}

#[test]
fn expired_locks_are_forgotten() {
    let mut locks = Locks::default();
    locks.acquire("G", "one", vec![queue(0), queue(1)], 0);
    locks.acquire("G", "one", vec![queue(1)], 10);
    assert!(locks.held("G", LOCK_MS_MAX + 10));
    locks.forget_expired(LOCK_MS_MAX + 10);
    assert_eq!(locks.count, 1);
    assert!(!locks.held("G", LOCK_MS_MAX + 11));
    locks.forget_expired(LOCK_MS_MAX + 11);
    assert_eq!(locks.count, 0);
    assert!(locks.groups.is_empty());
}
