//! Topics: those of the start, those made later, what the file changes.

use crate::limits;

use super::{Boot, NotCreated, RETRY_PREFIX, Topics, perm};

fn topics(auto_create: bool) -> Topics {
    Topics::boot(&Boot {
        cluster: "c",
        broker: "b",
        default_queues: 8,
        revive_queues: 8,
        auto_create,
        trace_topic: None,
    })
}

fn shape(topics: &Topics, topic: &str) -> Option<(i32, String)> {
    let config = topics.find(topic)?;
    assert_eq!(config.read_queue_nums, config.write_queue_nums);
    Some((config.write_queue_nums, perm::text(config.perm)))
}

#[test]
fn a_broker_is_born_with_apaches_topics() {
    let topics = topics(true);
    for (topic, queues, perm) in [
        ("TBW102", 8, "RWX"),
        ("SELF_TEST_TOPIC", 1, "RW-"),
        ("BenchmarkTest", 1024, "RW-"),
        ("c", 16, "RWX"),
        ("b", 1, "RWX"),
        ("OFFSET_MOVED_EVENT", 1, "RW-"),
        ("SCHEDULE_TOPIC_XXXX", 18, "RW-"),
        ("c_REPLY_TOPIC", 1, "RW-"),
        ("rmq_sys_REVIVE_LOG_c", 8, "RW-"),
        ("rmq_sys_SYNC_BROKER_MEMBER_b", 1, "--X"),
        ("RMQ_SYS_TRANS_HALF_TOPIC", 1, "RW-"),
        ("RMQ_SYS_TRANS_OP_HALF_TOPIC", 1, "RW-"),
        ("rmq_sys_wheel_timer", 1, "RW-"),
    ] {
        assert_eq!(
            shape(&topics, topic),
            Some((queues, perm.to_owned())),
            "{topic}"
        );
    }
    assert_eq!(topics.len(), 13);
}

#[test]
fn a_new_topic_is_like_its_template_with_no_more_queues_than_wanted() {
    for (template, queues, expected) in [
        ("TBW102", 4, Some(4)),
        ("TBW102", 100, Some(8)),
        ("TBW102", -1, Some(0)),
        ("c", 100, Some(16)),
        ("SELF_TEST_TOPIC", 4, None),
        ("nothing", 4, None),
    ] {
        let mut topics = topics(true);
        let made = topics.create_like("New", template, queues, 0, 7);
        assert_eq!(made.is_ok(), expected.is_some(), "{template}");
        assert_eq!(
            shape(&topics, "New"),
            expected.map(|queues| (queues, "RW-".to_owned())),
            "{template}"
        );
        assert_eq!(
            topics.snapshot().to_table().data_version.counter,
            i64::from(expected.is_some())
        );
    }
    let mut topics = topics(true);
    let first = topics.create_like("New", "TBW102", 4, 0, 7).unwrap();
    assert_eq!(
        topics.create_like("New", "TBW102", 8, 0, 8),
        Ok(first),
        "it stays as it was made"
    );
}

#[test]
fn where_topics_are_not_made_by_sending_even_an_old_template_does_not_help() {
    let with_template = topics(true).snapshot().to_table();
    let mut topics = topics(false);
    topics.load(with_template);
    assert!(topics.find("TBW102").is_some());
    assert_eq!(
        topics.create_like("New", "TBW102", 4, 0, 7),
        Err(NotCreated::NoTemplate)
    );
}

#[test]
fn the_brokers_own_topics_follow_whether_their_group_is_ordered() {
    let mut topics = topics(true);
    let retry = format!("{RETRY_PREFIX}g");
    assert!(!topics.create(&retry, 1, false, 0, 7).unwrap().order);
    assert_eq!(topics.snapshot().to_table().data_version.counter, 1);
    assert!(topics.create(&retry, 1, true, 0, 8).unwrap().order);
    assert!(topics.create(&retry, 1, true, 0, 9).unwrap().order);
    assert_eq!(topics.snapshot().to_table().data_version.counter, 2);

    assert!(topics.mark_ordered(["b", "nothing"].into_iter(), 10));
    assert!(!topics.mark_ordered(["b", "nothing"].into_iter(), 11));
    assert!(topics.find("b").unwrap().order);
}

#[test]
fn what_changed_is_known_for_a_while() {
    let names = |topics: &Topics, since| {
        let changed = topics.changed_since(since)?;
        let names = changed.iter().map(|config| config.topic_name.clone());
        Some(names.collect::<Vec<_>>())
    };
    let mut topics = topics(true);
    assert_eq!(names(&topics, 0), Some(vec![]));
    for name in ["A", "B", "C"] {
        topics.create(name, 1, false, 0, 7).unwrap();
    }
    topics.create("B", 1, true, 0, 7).unwrap();
    assert_eq!(
        names(&topics, 2),
        Some(vec!["C".to_owned(), "B".to_owned()])
    );
    assert!(topics.changed_since(2).unwrap()[1].order);
    assert_eq!(names(&topics, 4), Some(vec![]));
    assert_eq!(names(&topics, 5), None, "nobody knows what is to come");
    for number in 0..limits::TOPIC_CHANGES_KEPT {
        topics
            .create(&format!("T{number}"), 1, false, 0, 7)
            .unwrap();
    }
    assert_eq!(names(&topics, 3), None);
    assert_eq!(names(&topics, 4).unwrap().len(), limits::TOPIC_CHANGES_KEPT);
}

#[test]
fn a_snapshot_is_written_like_the_table() {
    let mut topics = topics(true);
    topics.create("A", 1, true, 0, 7).unwrap();
    let snapshot = topics.snapshot();
    let table = snapshot.to_table();
    assert_eq!(
        protocol::fastjson::to_vec_pretty(&snapshot),
        protocol::fastjson::to_vec_pretty(&table)
    );
    assert_eq!(table.topic_config_table.len(), topics.len());
    assert_eq!(table.data_version, topics.version());
}
