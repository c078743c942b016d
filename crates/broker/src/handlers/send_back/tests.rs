//! Retries and dead letters over a real socket; codes and properties as the running 5.3.3 has them.

use protocol::bodies::{SubscriptionGroup, SubscriptionGroupTable};
use protocol::codes::request::{
    CONSUMER_SEND_MSG_BACK, QUERY_MESSAGE, SEND_MESSAGE_V2, VIEW_MESSAGE_BY_ID,
};
use protocol::properties;
use remoting::Reply;
use store::disk::CrashKeep;

use crate::testing::{
    self, Client, Fixture, NOW_MS, Stored, arrived, bodies, field, settle, stored,
};

const SCHEDULE: &str = "SCHEDULE_TOPIC_XXXX";

/// Sends to queue 0 of `Orders`; returns where it is in the log.
async fn send(client: &Client) -> String {
    let fields = [
        ("a", "producers"),
        ("b", "Orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "1"),
        ("g", "1700000000000"),
        ("h", "7"),
        (
            "i",
            "TAGS\u{1}a\u{2}KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}u1\u{2}x\u{1}y\u{2}",
        ),
    ];
    let reply = client
        .check(SEND_MESSAGE_V2, &fields, "body", (0, ""))
        .await;
    let id = field(&reply, "msgId").unwrap();
    i64::from_str_radix(&id[16..], 16).unwrap().to_string()
}

/// 36 of group `G` with these changes to its fields (`None` leaves one out).
async fn send_back(
    client: &Client,
    offset: &str,
    changes: &[(&str, Option<&str>)],
    expect: (i32, &str),
) -> Reply {
    let mut fields = vec![
        ("offset", offset),
        ("group", "G"),
        ("delayLevel", "0"),
        ("originMsgId", "u1"),
        ("originTopic", "Orders"),
        ("unitMode", "false"),
        ("maxReconsumeTimes", "16"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.extend(value.map(|value| (*name, value)));
    }
    client
        .check(CONSUMER_SEND_MSG_BACK, &fields, "", expect)
        .await
}

fn origin(fixture: &Fixture, offset: &str) -> String {
    let id = protocol::message_id::MessageId {
        host: fixture.broker().identity.advertised.socket,
        offset: protocol::LogOffset(offset.parse().unwrap()),
    };
    id.encode()
}

#[tokio::test]
async fn comes_again_after_growing_intervals() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let mut offset = send(&client).await;
    let first = offset.clone();
    for (tries, delay_ms) in [(1, 10_000), (2, 30_000), (3, 60_000)] {
        let before = fixture.clock.now_ms();
        send_back(&client, &offset, &[], (0, "")).await;
        fixture.clock.advance(delay_ms - 1);
        settle().await;
        let broker = fixture.broker();
        assert_eq!(stored(broker, "%RETRY%G", 0).len(), tries as usize - 1);
        fixture.clock.advance(1);
        arrived(broker, "%RETRY%G", 0, i64::from(tries)).await;
        let again = stored(broker, "%RETRY%G", 0).pop().unwrap();
        assert_eq!(again.at_ms, before + delay_ms);
        let level = (2 + tries).to_string();
        let origin = origin(&fixture, &first);
        for (name, value) in [
            (properties::RETRY_TOPIC, "Orders"),
            (properties::ORIGIN_MESSAGE_ID, origin.as_str()),
            (properties::DELAY, &level),
            (properties::REAL_TOPIC, "%RETRY%G"),
            (properties::REAL_QID, "0"),
            (properties::WAIT, "false"),
            (properties::TAGS, "a"),
            (properties::KEYS, "k1 k2"),
            (properties::UNIQ_KEY, "u1"),
            (properties::CLUSTER, "DefaultCluster"),
            ("x", "y"),
        ] {
            assert_eq!(again.property(name), value, "{name}");
        }
        let message = &again.message;
        assert_eq!(
            (
                again.body(),
                message.flag,
                message.sys_flag,
                message.reconsume_times
            ),
            ("body", 7, 1, tries)
        );
        assert_eq!(message.born_timestamp, 1_700_000_000_000);
        offset = again.log_offset.to_string();
    }
    fixture.stop().await;
}

#[tokio::test]
async fn the_consumer_may_choose_the_level() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let offset = send(&client).await;
    for (level, queue_id, kept) in [("1", 0, "1"), ("5", 4, "5"), ("99", 17, "18")] {
        send_back(&client, &offset, &[("delayLevel", Some(level))], (0, "")).await;
        let waiting = stored(fixture.broker(), SCHEDULE, queue_id).remove(0);
        assert_eq!(waiting.property(properties::DELAY), kept);
    }
    fixture.stop().await;
}

#[tokio::test]
async fn what_becomes_a_dead_letter() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let offset = send(&client).await;
    for changes in [
        [("delayLevel", Some("-1"))],
        [("maxReconsumeTimes", Some("0"))],
    ] {
        send_back(&client, &offset, &changes, (0, "")).await;
    }
    let letters = stored(fixture.broker(), "%DLQ%G", 0);
    assert_eq!(letters.len(), 2);
    let origin = origin(&fixture, &offset);
    for letter in letters {
        for (name, value) in [
            (properties::RETRY_TOPIC, "Orders"),
            (properties::ORIGIN_MESSAGE_ID, origin.as_str()),
            (properties::DELAY, "0"),
            (properties::WAIT, "false"),
            (properties::TAGS, "a"),
            (properties::UNIQ_KEY, "u1"),
            ("x", "y"),
        ] {
            assert_eq!(letter.property(name), value, "{name}");
        }
        assert_eq!(letter.message.reconsume_times, 1);
        assert_eq!(letter.at_ms, NOW_MS);
    }
    let config = fixture.broker().topic("%DLQ%G").unwrap();
    assert_eq!(
        (config.read_queue_nums, config.write_queue_nums, config.perm),
        (1, 1, 6)
    );
    fixture.stop().await;
}

/// With a group's own limit and number of queues, and with a client too old to have a say.
#[tokio::test]
async fn the_groups_settings_count_where_the_client_says_nothing() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let offset = send(&client).await;
    let group = |name: &str, retry_queue_nums, retry_max_times| {
        let group = SubscriptionGroup {
            group_name: name.to_owned(),
            retry_queue_nums,
            retry_max_times,
            ..SubscriptionGroup::default()
        };
        (name.to_owned(), group)
    };
    let groups = [
        group("Never", 0, 16),
        group("Wide", 4, 16),
        group("Once", 1, 0),
    ];
    fixture
        .broker()
        .groups
        .state
        .write()
        .load(SubscriptionGroupTable {
            subscription_group_table: groups.into_iter().collect(),
            ..SubscriptionGroupTable::default()
        });
    let of = |group| [("group", Some(group)), ("maxReconsumeTimes", None)];
    send_back(&client, &offset, &of("Never"), (0, "")).await;
    assert!(fixture.broker().topic("%RETRY%Never").is_none());
    for _ in 0..4 {
        send_back(&client, &offset, &of("Wide"), (0, "")).await;
    }
    let waiting = stored(fixture.broker(), SCHEDULE, 2);
    let mut queues: Vec<_> = waiting
        .iter()
        .map(|waiting| waiting.property(properties::REAL_QID))
        .collect();
    queues.sort_unstable();
    assert_eq!(queues, ["0", "1", "2", "3"]);
    let config = fixture.broker().topic("%RETRY%Wide").unwrap();
    assert_eq!((config.read_queue_nums, config.write_queue_nums), (4, 4));
    send_back(&client, &offset, &of("Once"), (0, "")).await;
    assert_eq!(stored(fixture.broker(), "%DLQ%Once", 0).len(), 1);
    fixture.stop().await;
}

#[tokio::test]
async fn what_is_refused_and_how() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let offset = send(&client).await;
    let middle = (offset.parse::<i64>().unwrap() + 10).to_string();
    let failed = |offset: &str| format!("look message by offset failed, {offset}");
    let long = "g".repeat(300);
    let cases: &[(&str, Option<&str>, (i32, &str))] = &[
        ("offset", Some("999999"), (1, &failed("999999"))),
        ("offset", Some(&middle), (1, &failed(&middle))),
        ("offset", Some("-1"), (1, &failed("-1"))),
        (
            "offset",
            Some("9223372036854775807"),
            (1, &failed("9223372036854775807")),
        ),
        ("offset", None, (1, "offset")),
        ("offset", Some("abc"), (1, "abc")),
        ("group", None, (1, "group")),
        ("group", Some(""), (26, "subscription group not exist, ")),
        (
            "group",
            Some("a b/c"),
            (26, "subscription group not exist, a b/c"),
        ),
        (
            "group",
            Some(&long),
            (26, "subscription group not exist, ggg"),
        ),
        ("delayLevel", None, (1, "delayLevel")),
        ("delayLevel", Some("abc"), (1, "abc")),
    ];
    for (name, value, expect) in cases {
        send_back(&client, &offset, &[(name, *value)], *expect).await;
    }
    for level in 0..18 {
        assert_eq!(stored(fixture.broker(), SCHEDULE, level), []);
    }
    // What waits for its time can't have been consumed.
    send_back(&client, &offset, &[], (0, "")).await;
    let waiting = stored(fixture.broker(), SCHEDULE, 2).remove(0);
    let waiting = waiting.log_offset.to_string();
    send_back(&client, &waiting, &[], (1, &failed(&waiting))).await;
    assert_eq!(stored(fixture.broker(), SCHEDULE, 2).len(), 1);
    // A group may be so long that its retry topic is no queue's name.
    let long = "g".repeat(250);
    let changes = [("group", Some(&*long))];
    send_back(&client, &offset, &changes, (1, "MESSAGE_ILLEGAL")).await;
    assert_eq!(stored(fixture.broker(), SCHEDULE, 2).len(), 1);
    fixture.stop().await;

    let fixture = Fixture::with(|config| config.broker_permission = 4).await;
    let client = fixture.client().await;
    let offset = send(&client).await;
    let expect = (16, "the broker[127.0.0.1] sending message is forbidden");
    send_back(&client, &offset, &[], expect).await;
    fixture.stop().await;
}

#[tokio::test]
async fn properties_that_would_be_too_long_are_refused() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let text = format!("a\u{1}{}\u{2}", "p".repeat(32_600));
    let fields = [
        ("a", "producers"),
        ("b", "Orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1"),
        ("h", "0"),
        ("i", text.as_str()),
    ];
    client.check(SEND_MESSAGE_V2, &fields, "x", (0, "")).await;
    let expect = (1, "PROPERTIES_SIZE_EXCEEDED");
    send_back(&client, "0", &[], expect).await;
    fixture.stop().await;
}

#[tokio::test]
async fn is_found_by_key_by_unique_id_and_by_place() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let offset = send(&client).await;
    send_back(&client, &offset, &[("delayLevel", Some("1"))], (0, "")).await;
    send_back(&client, &offset, &[("delayLevel", Some("-1"))], (0, "")).await;
    fixture.clock.advance(1_000);
    arrived(fixture.broker(), "%RETRY%G", 0, 1).await;
    let end = (NOW_MS + 100_000).to_string();
    for topic in ["%RETRY%G", "%DLQ%G"] {
        for (key, unique) in [("k1", "false"), ("k2", "false"), ("u1", "true")] {
            let fields = [
                ("topic", topic),
                ("key", key),
                ("maxNum", "32"),
                ("beginTimestamp", "0"),
                ("endTimestamp", end.as_str()),
                ("_UNIQUE_KEY_QUERY", unique),
            ];
            // The index follows the log.
            let found = async {
                loop {
                    let reply = client
                        .call(QUERY_MESSAGE, &testing::Raw(&fields), Vec::<u8>::new())
                        .await;
                    if reply.code == 0 {
                        break bodies(&reply);
                    }
                    tokio::task::yield_now().await;
                }
            };
            let found = tokio::time::timeout(std::time::Duration::from_secs(20), found).await;
            assert_eq!(found.unwrap(), ["body"], "{topic} {key}");
        }
        let place = stored(fixture.broker(), topic, 0).remove(0).log_offset;
        let reply = client
            .check(
                VIEW_MESSAGE_BY_ID,
                &[("offset", &place.to_string())],
                "",
                (0, ""),
            )
            .await;
        assert_eq!(bodies(&reply), ["body"]);
    }
    fixture.stop().await;
}

/// Answered is stored, with its topic: after a kill it comes again, and with sync flush after a power cut too.
#[tokio::test]
async fn an_answer_is_a_promise() {
    for (sync_flush, keep) in [(false, CrashKeep::All), (true, CrashKeep::None)] {
        let config = || {
            let mut config = testing::config();
            config.store.sync_flush = sync_flush;
            config
        };
        let fixture = Fixture::on(store::disk::SimDisk::new(3), config()).await;
        let client = fixture.client().await;
        let offset = send(&client).await;
        send_back(&client, &offset, &[], (0, "")).await;
        send_back(&client, &offset, &[("delayLevel", Some("-1"))], (0, "")).await;
        let after = fixture.sim.crash(keep);
        fixture.stop().await;

        let fixture = Fixture::on(after, config()).await;
        let broker = fixture.broker();
        assert!(broker.topic("%RETRY%G").is_some());
        assert!(broker.topic("%DLQ%G").is_some());
        assert_eq!(stored(broker, "%DLQ%G", 0).len(), 1);
        fixture.clock.advance(10_000);
        arrived(broker, "%RETRY%G", 0, 1).await;
        let again: Vec<Stored> = stored(broker, "%RETRY%G", 0);
        assert_eq!(again[0].message.reconsume_times, 1);
        fixture.stop().await;
    }
}
