//! Offsets: commit, look up, what is written and read back.

use protocol::QueueOffset;

use super::Offsets;

#[test]
fn a_commit_is_seen_by_its_group_topic_and_queue_only() {
    let mut offsets = Offsets::default();
    offsets.commit("G", "Orders", 3, QueueOffset(42), 0);
    assert_eq!(offsets.committed("G", "Orders", 3), Some(QueueOffset(42)));
    assert_eq!(offsets.committed("G", "Orders", 2), None);
    assert_eq!(offsets.committed("H", "Orders", 3), None);
    assert_eq!(offsets.committed("G", "Bills", 3), None);
    offsets.commit("G", "Orders", 3, QueueOffset(7), 0);
    assert_eq!(
        offsets.committed("G", "Orders", 3),
        Some(QueueOffset(7)),
        "a client may reset its offset"
    );
}

#[test]
fn only_changes_count_and_what_is_written_comes_back() {
    let mut offsets = Offsets::default();
    offsets.commit("G", "Orders", 3, QueueOffset(42), 0);
    assert_eq!(offsets.commits(), 1);
    let file = offsets.snapshot().to_table();
    assert_eq!(file.offset_table["Orders@G"][&3], QueueOffset(42));
    offsets.commit("G", "Orders", 3, QueueOffset(42), 0);
    assert_eq!(offsets.commits(), 1, "nothing moved");
    assert_eq!(
        Offsets::load(file).committed("G", "Orders", 3),
        Some(QueueOffset(42))
    );
}

#[test]
fn the_version_moves_once_in_500_commits() {
    let mut offsets = Offsets::default();
    for offset in 1..=499 {
        offsets.commit("G", "Orders", 0, QueueOffset(offset), 77);
    }
    assert_eq!(offsets.version.counter, 0);
    offsets.commit("G", "Orders", 0, QueueOffset(500), 77);
    assert_eq!(
        (offsets.version.counter, offsets.version.timestamp),
        (1, 77)
    );
}

#[test]
fn a_reset_holds_until_a_pull_has_taken_it() {
    let mut offsets = Offsets::default();
    assert!(offsets.commit("G", "T", 0, QueueOffset(9), 0));
    offsets.reset("G", "T", 0, QueueOffset(4), 0);
    offsets.reset("G", "T", 1, QueueOffset(5), 0);
    assert!(!offsets.commit("G", "T", 0, QueueOffset(10), 0));
    assert_eq!(offsets.committed("G", "T", 0), Some(QueueOffset(4)));
    assert!(offsets.commit("H", "T", 0, QueueOffset(10), 0));
    assert!(offsets.commit("G", "T", 2, QueueOffset(10), 0));
    assert_eq!(offsets.take_reset("G", "T", 2), None);
    assert_eq!(offsets.take_reset("G", "T", 0), Some(QueueOffset(4)));
    assert_eq!(offsets.take_reset("G", "T", 0), None);
    assert!(offsets.commit("G", "T", 0, QueueOffset(6), 0));
    assert!(offsets.has_resets());
    assert_eq!(offsets.take_reset("G", "T", 1), Some(QueueOffset(5)));
    assert!(!offsets.has_resets());
    // What is saved is where the group goes on, told or not.
    let saved = offsets.snapshot().to_table();
    let queues = saved.offset_table["T@G"].values();
    assert_eq!(
        queues.map(|offset| offset.0).collect::<Vec<_>>(),
        [6, 5, 10]
    );
}
