//! A walk over a log finds each record once, whatever is between them.

use super::*;
use crate::inspect::testing::{LOG_FILE_BYTES, fill, layout, spoil};

/// Log offsets of sound records, and the ranges that are none.
fn walk(layout: &crate::inspect::Layout) -> (Vec<i64>, Vec<(i64, i64)>) {
    let log = Log::open(&layout.disk, &layout.paths.commit_log_dir).unwrap();
    let mut walk = log.walk(0);
    let (mut sound, mut bad) = (Vec::new(), Vec::new());
    while let Some(step) = walk.step().unwrap() {
        match step {
            Step::Record(found) => sound.push(found.record.log_offset.0),
            Step::Bad { at, until, .. } => bad.push((at, until)),
            Step::End { .. } => break,
        }
    }
    (sound, bad)
}

#[test]
fn records_of_several_files() {
    let layout = layout();
    fill(&layout, 40);
    let (sound, bad) = walk(&layout);
    assert_eq!((sound.len(), bad), (40, vec![]));
    assert!(sound.contains(&(LOG_FILE_BYTES as i64)));
    assert!(sound.is_sorted());
}

#[test]
fn a_gap_of_zeros_is_bad_and_what_follows_is_found() {
    let layout = layout();
    fill(&layout, 40);
    let (whole, _) = walk(&layout);
    let file = "commitlog/00000000000000000000";
    spoil(
        &layout,
        file,
        whole[2] as u64,
        &vec![0; (whole[4] - whole[2]) as usize],
    );
    let (sound, bad) = walk(&layout);
    assert_eq!(sound.len(), 38);
    assert_eq!(bad, [(whole[2], whole[4])]);
}

#[test]
fn only_zeros_at_the_end_are_the_end() {
    let layout = layout();
    fill(&layout, 2);
    let (whole, _) = walk(&layout);
    spoil(
        &layout,
        "commitlog/00000000000000000000",
        whole[1] as u64 + 4,
        b"torn",
    );
    let (sound, bad) = walk(&layout);
    assert_eq!(sound, [0]);
    assert_eq!(bad, [(whole[1], LOG_FILE_BYTES as i64)]);
}

#[test]
fn no_more_is_read_than_a_record_may_have() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("00000000000000000000");
    let len = RECORD_BYTES_MAX as u64 + 4096;
    Disk::Os.open_write(&file).unwrap().set_len(len).unwrap();
    let log = Log::open(&Disk::Os, dir.path()).unwrap();
    let claimed = i32::MAX as usize;
    assert_eq!(log.read(0, claimed).unwrap().len(), RECORD_BYTES_MAX);
}
