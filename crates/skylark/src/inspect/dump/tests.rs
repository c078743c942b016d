//! The lines that Apache's side prints as well.

use expect_test::expect;

use super::*;
use crate::inspect::testing::{fill, layout};

#[test]
fn a_small_store() {
    let mut layout = layout();
    layout.paths = store::Config {
        index_enabled: true,
        index_slots: 16,
        index_entries_max: 64,
        ..layout.paths
    };
    fill(&layout, 3);
    let mut out = Vec::new();
    dump(&layout, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    expect![[r#"
        {"kind":"queue","topic":"T","queueId":0,"min":0,"max":2}
        {"kind":"message","topic":"T","queueId":0,"queueOffset":0,"logOffset":0,"size":313,"tagsCode":2598919,"storeTimestamp":1700000000000,"bornTimestamp":1700000000000,"bornHost":"127.0.0.1:10911","storeHost":"127.0.0.1:10911","sysFlag":0,"flag":0,"reconsumeTimes":0,"preparedTransactionOffset":0,"bodyCrc":12616534,"body":"...30","properties":{"KEYS":"key-0","TAGS":"TagA"}}
        {"kind":"message","topic":"T","queueId":0,"queueOffset":1,"logOffset":626,"size":313,"tagsCode":2598919,"storeTimestamp":1700000000002,"bornTimestamp":1700000000000,"bornHost":"127.0.0.1:10911","storeHost":"127.0.0.1:10911","sysFlag":0,"flag":0,"reconsumeTimes":0,"preparedTransactionOffset":0,"bodyCrc":1859052154,"body":"...32","properties":{"KEYS":"key-2","TAGS":"TagA"}}
        {"kind":"queue","topic":"T","queueId":1,"min":0,"max":1}
        {"kind":"message","topic":"T","queueId":1,"queueOffset":0,"logOffset":313,"size":313,"tagsCode":2598919,"storeTimestamp":1700000000001,"bornTimestamp":1700000000000,"bornHost":"127.0.0.1:10911","storeHost":"127.0.0.1:10911","sysFlag":0,"flag":0,"reconsumeTimes":0,"preparedTransactionOffset":0,"bodyCrc":2009576384,"body":"...31","properties":{"KEYS":"key-1","TAGS":"TagA"}}
        {"kind":"key","topic":"T","key":"key-0","logOffsets":[0]}
        {"kind":"key","topic":"T","key":"key-1","logOffsets":[313]}
        {"kind":"key","topic":"T","key":"key-2","logOffsets":[626]}
        {"kind":"log","min":0,"max":939}
    "#]].assert_eq(&text.replace(&"30".repeat(199), "..."));
}

#[test]
fn strings_and_hosts_as_java_writes_them() {
    assert_eq!(
        string("a\"b\\c\u{1}é\u{7f}"),
        "\"a\\\"b\\\\c\\u0001é\u{7f}\""
    );
    assert_eq!(
        host("192.0.2.1:4000".parse().unwrap()),
        "\"192.0.2.1:4000\""
    );
    assert_eq!(
        host("[2001:db8::1]:4000".parse().unwrap()),
        "\"[2001:db8:0:0:0:0:0:1]:4000\""
    );
}
