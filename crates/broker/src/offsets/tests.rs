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
fn only_changes_are_written_and_they_come_back() {
    let mut offsets = Offsets::default();
    assert!(offsets.unsaved().is_none());
    offsets.commit("G", "Orders", 3, QueueOffset(42), 0);
    let file = offsets.unsaved().expect("one commit");
    assert_eq!(file.offset_table["Orders@G"][&3], QueueOffset(42));
    assert!(offsets.unsaved().is_none());
    offsets.commit("G", "Orders", 3, QueueOffset(42), 0);
    assert!(offsets.unsaved().is_none(), "nothing moved");

    offsets.not_saved();
    assert!(offsets.unsaved().is_some(), "a failed write is tried again");
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
