//! Checks and rewriting, by table.

use protocol::bodies::TopicConfig;

use super::{
    Own, Seen, Unacceptable, as_dead_letter, batch, inspect, lengths, queue, queue_type, rewrite,
    topic,
};
use crate::refusal::Refusal;

const OWN: Own<'_> = Own {
    region: "DefaultRegion",
    trace_on: true,
    cluster: "c",
};

fn producer() -> String {
    "1.2.3.4:5".to_owned()
}

/// Properties written as `k=v;k=v`.
fn text(properties: &str) -> Vec<u8> {
    properties
        .replace('=', "\u{1}")
        .replace(';', "\u{2}")
        .into_bytes()
}

fn readable(properties: &[u8]) -> String {
    String::from_utf8_lossy(properties)
        .replace('\u{1}', "=")
        .replace('\u{2}', ";")
}

#[test]
fn topics_that_may_not_be_sent_to() {
    let long = "t".repeat(128);
    for (name, expected) in [
        ("Orders", None),
        ("%RETRY%group", None),
        ("a|b-c_d%1", None),
        (&long[..127], None),
        ("", Some("The specified topic is blank.")),
        ("  ", Some("The specified topic is blank.")),
        (
            "../etc",
            Some(
                "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$",
            ),
        ),
        (
            "gr\u{fc}n",
            Some(
                "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$",
            ),
        ),
        (
            long.as_str(),
            Some("The specified topic is longer than topic max length."),
        ),
        (
            "SCHEDULE_TOPIC_XXXX",
            Some("Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden."),
        ),
        (
            "rmq_sys_wheel_timer",
            Some("Sending message to topic[rmq_sys_wheel_timer] is forbidden."),
        ),
        (
            "rmq_sys_REVIVE_LOG_c",
            Some("Sending message to topic[rmq_sys_REVIVE_LOG_c] is forbidden."),
        ),
        (
            "RMQ_SYS_TRANS_HALF_TOPIC",
            Some("Sending message to topic[RMQ_SYS_TRANS_HALF_TOPIC] is forbidden."),
        ),
    ] {
        assert_eq!(
            topic(name).err().map(|error| error.to_string()).as_deref(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn queues_that_exist_or_are_chosen() {
    let config = TopicConfig {
        topic_name: "Orders".into(),
        read_queue_nums: 8,
        write_queue_nums: 4,
        perm: 6,
        ..TopicConfig::default()
    };
    for (queue_id, random, expected) in [
        (0, 9, Some(0)),
        (3, 9, Some(3)),
        (7, 9, Some(7)),
        (8, 9, None),
        (i32::MAX, 0, None),
        (-1, 9, Some(1)),
        (i32::MIN, 3, Some(3)),
    ] {
        assert_eq!(
            queue(queue_id, &config, || random, producer).ok(),
            expected,
            "{queue_id}"
        );
    }
    assert_eq!(
        queue(8, &config, || 0, producer).unwrap_err().to_string(),
        "request queueId[8] is illegal, TopicConfig [topicName=Orders, readQueueNums=8, writeQueueNums=4, perm=RW-, \
         topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, attributes={}] Producer: 1.2.3.4:5"
    );
    let none = TopicConfig {
        read_queue_nums: 0,
        write_queue_nums: 0,
        ..config
    };
    assert!(queue(-1, &none, || 9, producer).is_err());
}

#[test]
fn lengths_that_fit() {
    for (body, properties, fits) in [
        (1, 0, true),
        (100, 32_767, true),
        (101, 0, false),
        (0, 0, false),
        (1, 32_768, false),
    ] {
        assert_eq!(
            lengths(body, properties, 100).is_ok(),
            fits,
            "body {body}, properties {properties}"
        );
    }
    let error = lengths(101, 5, 100).unwrap_err().to_string();
    assert!(error.starts_with("the message is illegal, maybe msg body or properties length not matched. msg body length limit 100B,"));
    assert!(
        error.contains("a body of 101B and properties of 5B"),
        "{error}"
    );
}

#[test]
fn properties_are_kept_and_the_brokers_own_are_put_behind() {
    const TAIL: &str = "MSG_REGION=DefaultRegion;TRACE_ON=true;";
    for (incoming, stored, unique_key) in [
        ("", format!("{TAIL}UNIQ_KEY=fresh;CLUSTER=c;"), "fresh"),
        ("UNIQ_KEY=k;", format!("UNIQ_KEY=k;{TAIL}CLUSTER=c;"), "k"),
        (
            "UNIQ_KEY=k;a=b",
            format!("UNIQ_KEY=k;a=b;{TAIL}CLUSTER=c;"),
            "k",
        ),
        (
            "UNIQ_KEY=;a=b;",
            format!("UNIQ_KEY=;a=b;{TAIL}UNIQ_KEY=fresh;CLUSTER=c;"),
            "fresh",
        ),
        (
            "CLUSTER=x;a=b;POP_CK=1 2;MSG_REGION=y;TRACE_ON=false;UNIQ_KEY=k;",
            format!("a=b;UNIQ_KEY=k;{TAIL}CLUSTER=c;"),
            "k",
        ),
        (
            "UNIQ_KEY=j;UNIQ_KEY=k;",
            format!("UNIQ_KEY=j;UNIQ_KEY=k;{TAIL}CLUSTER=c;"),
            "k",
        ),
    ] {
        let mut properties = text(incoming);
        let seen = rewrite(&mut properties, &OWN, Some(|| "fresh".to_owned())).unwrap();
        assert_eq!(readable(&properties), stored, "{incoming}");
        assert_eq!(seen.unique_key.as_deref(), Some(unique_key), "{incoming}");
    }
}

#[test]
fn a_batch_gets_no_key_of_its_own() {
    let mut properties = text("a=b;");
    let seen = rewrite(&mut properties, &OWN, None::<fn() -> String>).unwrap();
    assert_eq!(
        seen,
        Seen {
            unique_key: None,
            tags_code: 0,
            delay_level: None,
            timed: false,
            half: false,
        }
    );
    assert_eq!(
        readable(&properties),
        "a=b;MSG_REGION=DefaultRegion;TRACE_ON=true;CLUSTER=c;"
    );
}

#[test]
fn tags_have_javas_hash() {
    for (incoming, code) in [
        ("TAGS=TagA;", 2_598_919),
        ("TAGS=polygenelubricants;", i64::from(i32::MIN)),
        ("a=b;", 0),
    ] {
        assert_eq!(
            inspect(&text(incoming)).unwrap().0.tags_code,
            code,
            "{incoming}"
        );
    }
}

#[test]
fn what_must_not_be_stored_as_an_ordinary_message() {
    for (incoming, refused) in [
        ("INNER_NUM=2;", Some("INNER_NUM=2")),
        ("TIMER_DELIVER_MS=1;", None),
        ("TRAN_MSG=true;PGROUP=g;", None),
        ("TRAN_MSG=false;", None),
    ] {
        match (inspect(&text(incoming)), refused) {
            (Ok(_), None) => {}
            (Err(error @ Unacceptable::Unsupported { .. }), Some(named)) => {
                assert!(error.to_string().contains(named), "{incoming}: {error}");
            }
            (other, _) => panic!("{incoming}: {other:?}"),
        }
    }
}

#[test]
fn a_dead_letter_is_not_delayed() {
    assert_eq!(
        readable(&as_dead_letter(&text("DELAY=3;a=b;"))),
        "a=b;DELAY=-1;"
    );
}

#[test]
fn batches_that_are_refused() {
    for (topic, body, code) in [
        ("Orders", 100, None),
        ("Orders", 101, Some(1)),
        ("Orders", 0, Some(1)),
        ("%RETRY%g", 1, Some(13)),
    ] {
        let refusal = batch(topic, body, 100).err().map(Refusal::from);
        assert_eq!(refusal.map(|refusal| refusal.code), code, "{topic} {body}");
    }
}

#[test]
fn topics_whose_batches_are_one_record_are_refused() {
    for (kind, accepted) in [
        (None, true),
        (Some("SimpleCQ"), true),
        (Some("BatchCQ"), false),
    ] {
        let attributes = kind.map(|kind| ("queue.type".to_owned(), kind.to_owned()));
        let config = TopicConfig {
            attributes: attributes.into_iter().collect(),
            ..TopicConfig::default()
        };
        assert_eq!(queue_type(&config).is_ok(), accepted, "{kind:?}");
    }
}
