//! Where delayed messages wait.

use protocol::properties;
use store::EntryTag;

use super::{Detour, divert};

const LEVELS_MS: [i64; 3] = [1_000, 5_000, 10_000];

fn check(level: &str, expect: Option<(i32, i64)>) {
    let mut text = Vec::new();
    properties::append(&mut text, properties::DELAY, level);
    let detour = divert(&LEVELS_MS, "Orders", 3, &mut text);
    let expect_detour = expect.map(|(queue_id, delay_ms)| Detour {
        topic: "SCHEDULE_TOPIC_XXXX",
        queue_id,
        tag: EntryTag::DueAfterMs(delay_ms),
    });
    assert_eq!(detour, expect_detour, "level {level}");
    let found = |name| properties::find(&text, name).map(str::to_owned);
    match expect {
        None => assert_eq!(found(properties::REAL_TOPIC), None),
        Some((queue_id, _)) => {
            assert_eq!(found(properties::REAL_TOPIC).as_deref(), Some("Orders"));
            assert_eq!(found(properties::REAL_QID).as_deref(), Some("3"));
            assert_eq!(found(properties::DELAY), Some((queue_id + 1).to_string()));
        }
    }
}

#[test]
fn waits_in_the_queue_of_its_level() {
    check("1", Some((0, 1_000)));
    check("3", Some((2, 10_000)));
}

#[test]
fn the_last_level_is_the_longest() {
    check("4", Some((2, 10_000)));
    check("4000000000", Some((2, 10_000)));
}

#[test]
fn no_level_is_no_delay() {
    for level in ["0", "-1", "x", " 1"] {
        check(level, None);
    }
}

#[test]
fn a_half_message_waits_for_its_transaction_first() {
    let mut text = Vec::new();
    properties::append(&mut text, properties::DELAY, "1");
    let before = text.clone();
    assert_eq!(
        divert(&LEVELS_MS, "RMQ_SYS_TRANS_HALF_TOPIC", 0, &mut text),
        None
    );
    assert_eq!(text, before);
}

#[test]
fn a_level_that_nothing_has_is_no_reason_to_fail() {
    assert_eq!(super::queue_of(1), 0);
    assert_eq!(super::queue_of(i32::MIN), i32::MIN);
}
