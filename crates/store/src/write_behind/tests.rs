//! What write-behind makes ahead.

use crate::Store;
use crate::disk::{CrashKeep, SimDisk};
use crate::testing::{LOG_FILE_BYTES, Message, append, config, open, read};

#[test]
fn files_are_made_ahead_as_fast_as_the_log_grows() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    let files = |count: u64| (0..count).map(|at| at * LOG_FILE_BYTES).collect::<Vec<_>>();
    let there = |store: &Store| {
        let segments = store.log.segments();
        segments
            .iter()
            .map(|segment| segment.start as u64)
            .collect::<Vec<_>>()
    };
    let body = vec![b'x'; LOG_FILE_BYTES as usize / 2];
    store.flush_queues(0).unwrap();
    assert_eq!(there(&store), files(0), "nothing is stored yet");
    append(&store, &[Message::new("T", 0, body)], 1);
    store.flush_queues(1).unwrap();
    assert_eq!(
        there(&store),
        files(3),
        "half a file a turn: two more for four turns"
    );
    store.flush_queues(2).unwrap();
    assert_eq!(there(&store), files(3));

    let disk = disk.crash(CrashKeep::All);
    let store = open(&disk, config());
    append(&store, &[Message::new("T", 0, "after")], 3);
    assert_eq!(read(&store, "T", 0, 0).records.len(), 2);
    store.close().unwrap();
    assert_eq!(there(&store), files(1), "what was not used is gone");
}
