//! A sound store is called sound; each kind of damage is found and named.

use std::process::ExitCode;

use expect_test::{Expect, expect};

use super::*;
use crate::inspect::testing::{fill, layout, spoil};

fn check(layout: &Layout, expect: Expect) {
    let mut out = Vec::new();
    let code = verify(layout, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(
        code == ExitCode::SUCCESS,
        out.ends_with("all sound\n"),
        "{out}"
    );
    expect.assert_eq(&out);
}

#[test]
fn a_sound_store() {
    let layout = layout();
    fill(&layout, 40);
    check(
        &layout,
        expect![[r#"
            log 0 to 12602: 40 records, 2 queues with 40 entries, 0 index entries
            all sound
        "#]],
    );
}

#[test]
fn a_spoilt_body_is_found_and_what_follows_is_read() {
    let layout = layout();
    fill(&layout, 40);
    spoil(&layout, "commitlog/00000000000000000000", 150, b"?");
    check(
        &layout,
        expect![[r#"
            log 0 to 313: no sound record, body crc 0x2284b6fc, record says 0x00c08356
            T/0/0: no such record at log 0, 313 bytes
            log 0 to 12602: 39 records, 2 queues with 40 entries, 0 index entries
            2 problems
        "#]],
    );
}

#[test]
fn a_spoilt_length_is_stepped_over() {
    let layout = layout();
    fill(&layout, 40);
    spoil(&layout, "commitlog/00000000000000004096", 0, &[0x7f; 4]);
    check(
        &layout,
        expect![[r#"
            log 4096 to 4410: no sound record, record of 2139062143 bytes, but only 4096 there
            T/1/6: no such record at log 4096, 314 bytes
            log 0 to 12602: 39 records, 2 queues with 40 entries, 0 index entries
            2 problems
        "#]],
    );
}

#[test]
fn an_entry_that_points_elsewhere() {
    let layout = layout();
    fill(&layout, 4);
    spoil(
        &layout,
        "consumequeue/T/0/00000000000000000000",
        20 + 7,
        &[0x55],
    );
    check(
        &layout,
        expect![[r#"
            log 626: entry T/0/1 says log 597, 313 bytes, tags code 2598919
            T/0/1: no such record at log 597, 313 bytes
            log 0 to 1252: 4 records, 2 queues with 4 entries, 0 index entries
            2 problems
        "#]],
    );
}

#[test]
fn a_missing_queue() {
    let layout = layout();
    fill(&layout, 2);
    layout
        .disk
        .remove_dir_all(&layout.paths.queue_dir.join("T/1"))
        .unwrap();
    check(
        &layout,
        expect![[r#"
            log 313: its queue T/1 has no files
            log 0 to 626: 2 records, 1 queues with 1 entries, 0 index entries
            1 problem
        "#]],
    );
}

#[test]
fn metadata_that_is_no_json() {
    let layout = layout();
    fill(&layout, 1);
    let dir = layout.paths.root.join("config");
    layout.disk.create_dir_all(&dir).unwrap();
    layout
        .disk
        .replace(&dir.join("topics.json"), b"{\"a\":")
        .unwrap();
    layout
        .disk
        .replace(
            &dir.join("consumerOffset.json"),
            b"{\"offsetTable\":{\"T@G\":{0:1}}}",
        )
        .unwrap();
    check(
        &layout,
        expect![[r#"
            config/topics.json: JSON, byte 5: expected a value, found the end
            log 0 to 313: 1 records, 1 queues with 1 entries, 0 index entries
            1 problem
        "#]],
    );
}

#[test]
fn a_store_in_use_is_left_alone() {
    let layout = layout();
    fill(&layout, 1);
    let _held = layout.disk.lock(&layout.paths.root.join("lock")).unwrap();
    let error = verify(&layout, Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a broker is running on /store; stop it first"
    );
}
