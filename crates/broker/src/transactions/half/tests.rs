//! What is read from half messages and made of them.

use std::time::Duration;

use protocol::properties;
use protocol::record::Record;
use protocol::{LogOffset, QueueOffset};

use super::{Facts, Rules, committed, copy, is_half, prepare, put_aside};

fn rules() -> Rules {
    Rules::new(Duration::from_secs(6), Duration::from_secs(30), 15, 72)
}

fn text(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in pairs {
        properties::append(&mut text, name, value);
    }
    text
}

fn record(text: &[u8]) -> Record<'_> {
    Record {
        queue_id: 0,
        flag: 7,
        queue_offset: QueueOffset(5),
        log_offset: LogOffset(1_000),
        sys_flag: 1,
        born_timestamp: 10_000,
        born_host: "127.0.0.9:1234".parse().unwrap(),
        store_timestamp: 11_000,
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 2,
        prepared_transaction_offset: 0,
        body: b"body",
        topic: "RMQ_SYS_TRANS_HALF_TOPIC",
        properties: text,
    }
}

#[test]
fn when_a_producer_is_asked() {
    for (pairs, expect) in [
        (&[][..], 11_000 + 6_000),
        (&[("CHECK_IMMUNITY_TIME_IN_SECONDS", "2")], 11_000 + 2_000),
        (&[("CHECK_IMMUNITY_TIME_IN_SECONDS", "0")], 11_000),
        (
            &[("CHECK_IMMUNITY_TIME_IN_SECONDS", "soon")],
            11_000 + 6_000,
        ),
        (&[("CHECK_IMMUNITY_TIME_IN_SECONDS", "-1")], 11_000 + 6_000),
        (
            &[("CHECK_IMMUNITY_TIME_IN_SECONDS", "9223372036854775807")],
            i64::MAX,
        ),
        (&[("TRANSACTION_CHECK_TIMES", "1")], 11_000 + 30_000),
        // Apache's copy of one that may not be asked after yet.
        (
            &[
                ("CHECK_IMMUNITY_TIME_IN_SECONDS", "60"),
                ("TRAN_PREPARED_QUEUE_OFFSET", "3"),
            ],
            10_000 + 60_000,
        ),
        (
            &[
                ("CHECK_IMMUNITY_TIME_IN_SECONDS", "0"),
                ("TRAN_PREPARED_QUEUE_OFFSET", "3"),
            ],
            11_000,
        ),
    ] {
        let text = text(pairs);
        let due_ms = Facts::of(&text).due_ms(&rules(), 10_000, 11_000);
        assert_eq!(due_ms, expect, "{pairs:?}");
    }
}

#[test]
fn until_when_it_may_be_ended_unasked() {
    for (immunity, expect) in [
        (None, None),
        (Some("60"), Some(70_000)),
        (Some("2"), Some(16_000)),
        (Some("soon"), Some(16_000)),
    ] {
        let facts = Facts {
            immunity,
            ..Facts::default()
        };
        assert_eq!(
            facts.endable_until_ms(&rules(), 10_000),
            expect,
            "{immunity:?}"
        );
    }
}

#[test]
fn what_is_a_half_message() {
    for (pairs, reconsume_times, expect) in [
        (&[][..], 0, false),
        (&[("TRAN_MSG", "TRUE")], 0, true),
        (&[("TRAN_MSG", "yes")], 0, false),
        (&[("TRAN_MSG", "true")], 1, true),
        (&[("TRAN_MSG", "true"), ("DELAY", "3")], 0, true),
        (&[("TRAN_MSG", "true"), ("DELAY", "3")], 1, false),
        (&[("TRAN_MSG", "true"), ("DELAY", "-1")], 1, true),
    ] {
        let is = is_half(&text(pairs), reconsume_times);
        assert_eq!(is, expect, "{pairs:?} {reconsume_times}");
    }
}

#[test]
fn from_send_to_delivery() {
    let mut properties = text(&[
        ("UNIQ_KEY", "K"),
        ("TAGS", "a"),
        ("REAL_TOPIC", "mine"),
        ("TRAN_PREPARED_QUEUE_OFFSET", "1"),
        ("TRANSACTION_CHECK_TIMES", "14"),
        ("PGROUP", "g"),
    ]);
    prepare(&mut properties, "Orders", 3, Some("K"));
    let facts = Facts::of(&properties);
    assert_eq!(
        facts,
        Facts {
            topic: Some("Orders"),
            queue_id: 3,
            group: Some("g"),
            unique_key: Some("K"),
            ..Facts::default()
        }
    );
    let half = record(&properties);

    let first = copy(&half, 5, true);
    let facts = Facts::of(&first.properties);
    assert_eq!((facts.checks, facts.origin), (Some(1), Some(5)));
    assert_eq!((&*first.topic, first.queue_id), (half.topic, 0));
    assert_eq!((first.flag, first.reconsume_times), (7, 2));
    let second = record(&first.properties);
    let along = copy(&second, 5, false);
    assert_eq!(Facts::of(&along.properties).checks, Some(1));
    let again = copy(&second, 5, true);
    let again = record(&again.properties);
    assert_eq!(Facts::of(again.properties).checks, Some(2));

    let message = committed(&again, 2_000).unwrap();
    assert_eq!((&*message.topic, message.queue_id), ("Orders", 3));
    assert_eq!(message.sys_flag, 1 | 8);
    assert_eq!(message.prepared_transaction_offset, 2_000);
    assert_eq!(&message.body[..], b"body");
    assert_eq!(message.property("__transactionId__"), Some("K"));
    assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some("2"));
    assert_eq!(message.property("TRAN_PREPARED_QUEUE_OFFSET"), None);

    let aside = put_aside(&again, 5);
    assert_eq!(
        (&*aside.topic, aside.queue_id),
        ("TRANS_CHECK_MAX_TIME_TOPIC", 0)
    );
    assert_eq!(committed(&record(b""), 0), None, "for no topic");
}
