//! Tests of the log's files.

use std::io;

use crate::disk::SimDisk;
use crate::testing::{Message, append, config, open};

/// What can't be read can't be written again either: to go on would call it durable.
#[test]
fn a_rewrite_of_what_is_not_there_fails() {
    let store = open(&SimDisk::new(1), config());
    append(&store, &[Message::new("T", 0, "a message")], 1);
    let end = store.log.end();
    store.log.rewrite(0, end).unwrap();
    let segment = store.log.segment(0).unwrap();
    let file = store.log.file(&segment).unwrap();
    file.set_len(end as u64 - 1).unwrap();
    let error = store.log.rewrite(0, end).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(
        error.to_string(),
        format!(
            "/store/commitlog/00000000000000000000: {} of {end} bytes could be read",
            end - 1
        )
    );
}
