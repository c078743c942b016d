//! A sound store is called sound; each kind of damage is found and named.

use std::process::ExitCode;

use expect_test::{Expect, expect};

use super::*;
use crate::inspect::testing::{fill, fill_indexed, layout, spoil, unreadable};

fn check(layout: &Layout, expect: Expect) {
    let mut out = Vec::new();
    let code = verify(layout, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(
        code == ExitCode::SUCCESS,
        out.ends_with("all sound\n"),
        "{out}"
    );
    let index = layout
        .disk
        .list(&layout.paths.index_dir)
        .unwrap_or_default();
    let out = index
        .iter()
        .fold(out, |out, file| out.replace(&file.name, "INDEX"));
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

#[test]
fn a_wild_queue_offset() {
    let layout = layout();
    fill(&layout, 2);
    spoil(&layout, "commitlog/00000000000000000000", 20, &[0x7f; 8]);
    check(
        &layout,
        expect![[r#"
        log 0: T/0 has no entry 9187201950435737471
        T/0/0: no such record at log 0, 313 bytes
        log 0 to 626: 2 records, 2 queues with 2 entries, 0 index entries
        2 problems
    "#]],
    );
}

#[test]
fn an_index_that_counts_more_than_it_can_hold() {
    let layout = fill_indexed(2);
    let name = index_file(&layout);
    spoil(&layout, &name, 36, &[0xff; 4]);
    check(
        &layout,
        expect![[r#"
        index/INDEX: its next entry is 4294967295, it has room for 100; not checked
        log 0 to 626: 2 records, 2 queues with 2 entries, 0 index entries
        1 problem
    "#]],
    );
}

#[test]
fn an_index_that_points_elsewhere() {
    let layout = fill_indexed(2);
    let name = index_file(&layout);
    spoil(&layout, &name, 40 + 4 * 10 + 20 + 4 + 7, &[0x33]);
    check(
        &layout,
        expect![[r#"
        index/INDEX: entry 1 points to log 51, no record with such a key
        log 0 to 626: 2 records, 2 queues with 2 entries, 2 index entries
        1 problem
    "#]],
    );
}

fn index_file(layout: &Layout) -> String {
    let files = layout.disk.list(&layout.paths.index_dir).unwrap();
    format!("index/{}", files[0].name)
}

#[test]
fn a_log_file_that_can_not_be_read() {
    let layout = layout();
    fill(&layout, 40);
    unreadable(&layout, "commitlog/00000000000000004096");
    check(
        &layout,
        expect![[r#"
            log 4096 to 8192: not checked, a part can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/0/7: its record at log 4410 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/0/8: its record at log 5038 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/0/9: its record at log 5666 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/0/10: its record at log 6294 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/0/11: its record at log 6922 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/0/12: its record at log 7550 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/1/6: its record at log 4096 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/1/7: its record at log 4724 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/1/8: its record at log 5352 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/1/9: its record at log 5980 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/1/10: its record at log 6608 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/1/11: its record at log 7236 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            T/1/12: its record at log 7864 can't be read: /store/commitlog/00000000000000004096: simulated input/output error
            log 0 to 12602: 27 records, 2 queues with 40 entries, 0 index entries
            14 problems
        "#]],
    );
}

#[test]
fn a_queue_that_can_not_be_read() {
    let layout = layout();
    fill(&layout, 4);
    unreadable(&layout, "consumequeue/T/0/");
    check(
        &layout,
        expect![[r#"
        T/0: can't be read: /store/consumequeue/T/0/00000000000000000000: simulated input/output error
        log 0 to 1252: 4 records, 2 queues with 2 entries, 0 index entries
        1 problem
    "#]],
    );
}

#[test]
fn an_index_a_checkpoint_and_metadata_that_can_not_be_read() {
    let layout = fill_indexed(2);
    let dir = layout.paths.root.join("config");
    layout.disk.create_dir_all(&dir).unwrap();
    layout
        .disk
        .replace(&dir.join("topics.json"), b"{}")
        .unwrap();
    for path in ["index/", "checkpoint", "topics.json"] {
        unreadable(&layout, path);
    }
    check(
        &layout,
        expect![[r#"
            index/INDEX: can't be read: /store/index/INDEX: simulated input/output error
            checkpoint: can't be read: /store/checkpoint: simulated input/output error
            config/topics.json: can't be read: /store/config/topics.json: simulated input/output error
            log 0 to 626: 2 records, 2 queues with 2 entries, 0 index entries
            3 problems
        "#]],
    );
}
