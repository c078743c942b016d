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
    let file = offsets.to_table();
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
