//! Messages for any time, from the send to the pull.

use std::time::Duration;

use protocol::codes::request;
use protocol::properties;
use protocol::record::Record;
use remoting::Reply;
use store::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};

use crate::Config;
use crate::message::Message;
use crate::testing::{Client, Fixture, NOW_MS, config, field, pull_all, send_fields, settle};

/// Sends a message with properties to queue 0 of `Orders`.
async fn send(client: &Client, body: &str, properties: &[(&str, &str)]) -> Reply {
    send_as(client, body, properties, (0, "")).await
}

async fn send_as(
    client: &Client,
    body: &str,
    properties: &[(&str, &str)],
    expect: (i32, &str),
) -> Reply {
    let mut text = Vec::new();
    for (name, value) in properties {
        properties::append(&mut text, name, value);
    }
    let text = String::from_utf8(text).unwrap();
    let fields = send_fields("0", &text);
    client
        .check(request::SEND_MESSAGE_V2, &fields, body, expect)
        .await
}

/// The bodies in queue 0 of `Orders`.
fn delivered(fixture: &Fixture) -> Vec<String> {
    pull_all(fixture.broker(), "Orders", 0)
        .iter()
        .map(|record| {
            let decoded = Record::decode(record, true).unwrap();
            String::from_utf8(decoded.record.body.to_vec()).unwrap()
        })
        .collect()
}

/// Waits until there are so many.
async fn await_count(fixture: &Fixture, count: usize) -> Vec<String> {
    for _ in 0..2_000 {
        let bodies = delivered(fixture);
        if bodies.len() >= count {
            return bodies;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("only {:?}", delivered(fixture));
}

#[tokio::test]
async fn a_message_comes_at_its_time_and_not_before() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let cases = [
        ("sec", properties::TIMER_DELAY_SEC, "3".to_owned(), 3_000),
        ("ms", properties::TIMER_DELAY_MS, "1500".to_owned(), 1_500),
        (
            "at",
            properties::TIMER_DELIVER_MS,
            (NOW_MS + 2_345).to_string(),
            2_345,
        ),
        (
            "full",
            properties::TIMER_DELIVER_MS,
            (NOW_MS + 2_000).to_string(),
            2_000,
        ),
        ("soon", properties::TIMER_DELAY_MS, "1".to_owned(), 1),
    ];
    for (body, name, value, _) in &cases {
        send(&client, body, &[(name, value)]).await;
    }
    settle().await;
    assert!(delivered(&fixture).is_empty());
    let mut expected: Vec<_> = cases.iter().map(|case| (case.3, case.0)).collect();
    expected.sort_unstable();
    let mut now = 0;
    for (index, (due, _)) in expected.iter().enumerate() {
        fixture.clock.advance(due - 1 - now);
        settle().await;
        assert_eq!(delivered(&fixture).len(), index, "early: {due}");
        fixture.clock.advance(1);
        now = *due;
        let bodies = await_count(&fixture, index + 1).await;
        let wanted: Vec<_> = expected[..=index].iter().map(|(_, body)| *body).collect();
        assert_eq!(bodies, wanted);
    }
    let late = fixture.broker().lateness();
    let (_, late) = late.iter().find(|(name, _)| *name == "timer").unwrap();
    assert_eq!((late.count, late.worst_ms), (5, 0));
    fixture.stop().await;
}

#[tokio::test]
async fn properties_are_those_of_apache() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let reply = send(
        &client,
        "a",
        &[
            ("TIMER_DELAY_MS", "2500"),
            ("TAGS", "t"),
            ("UNIQ_KEY", "K1"),
        ],
    )
    .await;
    let handle = field(&reply, "recallHandle").unwrap();
    let handle = protocol::recall_handle::RecallHandle::decode(&handle).unwrap();
    assert_eq!(handle.topic, "Orders");
    assert_eq!(handle.broker, "broker-a");
    assert_eq!(handle.time, (NOW_MS + 2_001).to_string());
    assert_eq!(handle.unique_key, "K1");
    settle().await;
    fixture.clock.advance(2_500);
    await_count(&fixture, 1).await;
    let record = pull_all(fixture.broker(), "Orders", 0).remove(0);
    let record = Record::decode(&record, true).unwrap().record;
    let find = |name| properties::find(record.properties, name);
    assert_eq!(find("TIMER_OUT_MS"), Some(&*(NOW_MS + 2_000).to_string()));
    assert_eq!(find("TIMER_ENQUEUE_MS"), Some(&*NOW_MS.to_string()));
    assert_eq!(
        find("TIMER_DEQUEUE_MS"),
        Some(&*(NOW_MS + 2_500).to_string())
    );
    assert_eq!(find("TIMER_DELAY_MS"), Some("2500"));
    assert_eq!(find("REAL_TOPIC"), Some("Orders"));
    assert_eq!(find("REAL_QID"), Some("0"));
    assert_eq!(find("TAGS"), Some("t"));
    fixture.stop().await;
}

#[tokio::test]
async fn bad_times_are_refused_by_name() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let words = "the delay time should not be bigger than the max delay 259200000ms";
    let beyond = (NOW_MS + 259_200_001).to_string();
    for (name, value) in [
        ("TIMER_DELAY_SEC", "259201"),
        ("TIMER_DELAY_MS", "259200001"),
        ("TIMER_DELIVER_MS", beyond.as_str()),
        ("TIMER_DELAY_SEC", "9223372036854775807"),
        ("TIMER_DELAY_SEC", "soon"),
        ("TIMER_DELAY_MS", "1.5"),
        ("TIMER_DELIVER_MS", "-"),
    ] {
        let reply = send_as(&client, "x", &[(name, value)], (13, words)).await;
        let remark = reply.remark.unwrap();
        assert!(remark.contains(&format!("{name}={value}.")), "{remark}");
    }
    // What is past is for now.
    for value in ["0", "-5"] {
        send(&client, value, &[("TIMER_DELAY_SEC", value)]).await;
    }
    send(&client, "past", &[("TIMER_DELIVER_MS", "1")]).await;
    assert_eq!(delivered(&fixture), ["0", "-5", "past"]);
    send_as(
        &client,
        "x",
        &[("TIMER_DELIVER_MS", "1"), ("TIMER_DEL_UNIQKEY", "k")],
        (13, words),
    )
    .await;
    fixture.stop().await;
}

#[tokio::test]
async fn the_first_way_to_say_when_counts_and_a_level_wins() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(
        &client,
        "sec",
        &[
            ("TIMER_DELIVER_MS", "7"),
            ("TIMER_DELAY_MS", "9000"),
            ("TIMER_DELAY_SEC", "1"),
        ],
    )
    .await;
    send(
        &client,
        "level",
        &[("TIMER_DELAY_SEC", "1"), ("DELAY", "2")],
    )
    .await;
    settle().await;
    fixture.clock.advance(1_000);
    assert_eq!(await_count(&fixture, 1).await, ["sec"]);
    let level = pull_all(fixture.broker(), crate::topics::SCHEDULE, 1).remove(0);
    let level = Record::decode(&level, true).unwrap().record;
    assert_eq!(properties::find(level.properties, "TIMER_DELAY_SEC"), None);
    fixture.stop().await;
}

#[tokio::test]
async fn without_the_wheel_timed_messages_are_refused() {
    let fixture = Fixture::with(|config| config.timer.enabled = false).await;
    let client = fixture.client().await;
    let words = "accurate timer message is not enabled, timerWheelEnable is false";
    send_as(&client, "x", &[("TIMER_DELAY_SEC", "1")], (1, words)).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_full_slot_takes_no_more() {
    let fixture = Fixture::with(|config| config.timer.slot_messages_max = 3).await;
    let client = fixture.client().await;
    let mut refused = 0;
    for _ in 0..40 {
        let reply = client_send(&client, "TIMER_DELAY_SEC\u{1}5\u{2}").await;
        if reply.code != 0 {
            assert_eq!(reply.code, 1);
            let words = "timer message is under flow control, max num limit is 6 or the current value is greater than 3 and less than 6";
            assert!(
                reply.remark.as_deref().unwrap().starts_with(words),
                "{:?}",
                reply.remark
            );
            refused += 1;
        }
        settle().await;
    }
    assert!((30..40).contains(&refused), "{refused}");
    fixture.stop().await;
}

async fn client_send(client: &Client, properties: &str) -> Reply {
    let fields = [
        ("a", "producers"),
        ("b", "Orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties),
    ];
    client
        .call(
            request::SEND_MESSAGE_V2,
            &crate::testing::Raw(&fields),
            b"x".to_vec(),
        )
        .await
}

#[tokio::test]
async fn many_large_messages_that_are_due_together_all_come() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    // More than one append takes.
    let body = "x".repeat(4_000_000);
    for _ in 0..9 {
        send(&client, &body, &[(properties::TIMER_DELAY_MS, "1000")]).await;
    }
    fixture.clock.advance(1_000);
    assert_eq!(await_count(&fixture, 9).await.len(), 9);
    fixture.stop().await;
}

#[tokio::test]
async fn a_message_for_later_than_the_window_goes_round() {
    let fixture = Fixture::with(|config| config.timer.roll_window_slots = 6).await;
    let client = fixture.client().await;
    send(&client, "far", &[("TIMER_DELAY_SEC", "20")]).await;
    for second in 0..20 {
        settle().await;
        assert!(delivered(&fixture).is_empty(), "early: {second}");
        fixture.clock.advance(1_000);
    }
    fixture.clock.advance(1_000);
    assert_eq!(await_count(&fixture, 1).await, ["far"]);
    let record = pull_all(fixture.broker(), "Orders", 0).remove(0);
    let record = Record::decode(&record, true).unwrap().record;
    let turns = properties::find(record.properties, "TIMER_ROLL_TIMES").unwrap();
    assert!(turns.parse::<i32>().unwrap() >= 2, "{turns}");
    fixture.stop().await;
}

fn recallable(config: &mut Config) {
    config.timer.recall_enabled = true;
}

#[tokio::test]
async fn a_message_that_was_called_off_does_not_come() {
    let fixture = Fixture::with(recallable).await;
    let client = fixture.client().await;
    let mut handles = Vec::new();
    for body in ["a", "b", "c"] {
        let reply = send(&client, body, &[("TIMER_DELAY_MS", "2500")]).await;
        handles.push(field(&reply, "recallHandle").unwrap());
    }
    let fields = [
        ("producerGroup", "producers"),
        ("topic", "Orders"),
        ("recallHandle", handles[1].as_str()),
    ];
    let reply = client
        .check(request::RECALL_MESSAGE, &fields, "", (0, ""))
        .await;
    assert!(field(&reply, "msgId").is_some());
    settle().await;
    fixture.clock.advance(3_000);
    assert_eq!(await_count(&fixture, 2).await, ["a", "c"]);
    settle().await;
    assert_eq!(delivered(&fixture).len(), 2);
    fixture.stop().await;
}

#[tokio::test]
async fn a_message_is_called_off_though_all_was_late() {
    let fixture = Fixture::with(|config| {
        recallable(config);
        config.timer.stop_enqueue = true;
    })
    .await;
    let client = fixture.client().await;
    let reply = send(&client, "a", &[("TIMER_DELAY_MS", "2500")]).await;
    send(&client, "b", &[("TIMER_DELAY_MS", "2500")]).await;
    let handle = field(&reply, "recallHandle").unwrap();
    let fields = [("topic", "Orders"), ("recallHandle", handle.as_str())];
    client
        .check(request::RECALL_MESSAGE, &fields, "", (0, ""))
        .await;
    let sim = fixture.stop().await;
    let fixture = Fixture::on(sim, config()).await;
    fixture.clock.advance(60_000);
    assert_eq!(await_count(&fixture, 1).await, ["b"]);
    settle().await;
    assert_eq!(delivered(&fixture), ["b"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_message_is_called_off_though_that_could_not_be_read_at_once() {
    let fixture = Fixture::with(recallable).await;
    let client = fixture.client().await;
    let reply = send(&client, "a", &[("TIMER_DELAY_MS", "5000")]).await;
    send(&client, "b", &[("TIMER_DELAY_MS", "5000")]).await;
    let handle = field(&reply, "recallHandle").unwrap();
    let fields = [("topic", "Orders"), ("recallHandle", handle.as_str())];
    client
        .check(request::RECALL_MESSAGE, &fields, "", (0, ""))
        .await;
    settle().await;
    let sim = fixture.stop().await;
    let fixture = Fixture::on(sim, config()).await;
    settle().await;
    fixture.sim.fail(Fault {
        on: FaultOn::Read,
        path: "commitlog".to_owned(),
        after: 0,
        error: FaultError::Io,
        sticky: false,
    });
    fixture.clock.advance(60_000);
    assert_eq!(await_count(&fixture, 1).await, ["b"]);
    settle().await;
    assert_eq!(delivered(&fixture), ["b"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_restart_loses_and_repeats_nothing() {
    for crash in [None, Some(CrashKeep::All)] {
        let fixture = Fixture::start().await;
        let client = fixture.client().await;
        for ms in [500, 1_400, 1_600, 5_000] {
            send(
                &client,
                &ms.to_string(),
                &[("TIMER_DELAY_MS", &ms.to_string())],
            )
            .await;
        }
        settle().await;
        fixture.clock.advance(1_500);
        assert_eq!(await_count(&fixture, 2).await, ["500", "1400"]);
        settle().await;
        let sim = match crash {
            None => fixture.stop().await,
            // As kill -9: the kernel has all that was written.
            Some(keep) => fixture.sim.crash(keep),
        };
        let fixture = Fixture::on(sim, config()).await;
        fixture.clock.advance(1_550);
        settle().await;
        assert_eq!(delivered(&fixture), ["500", "1400"], "{crash:?}");
        fixture.clock.advance(50);
        assert_eq!(await_count(&fixture, 3).await, ["500", "1400", "1600"]);
        fixture.clock.advance(60_000);
        assert_eq!(
            await_count(&fixture, 4).await,
            ["500", "1400", "1600", "5000"]
        );
        fixture.stop().await;
    }
}

#[tokio::test]
async fn the_clock_may_be_set() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for sec in ["10", "7200"] {
        send(&client, sec, &[("TIMER_DELAY_SEC", sec)]).await;
    }
    settle().await;
    fixture.clock.advance(3_600_000);
    assert_eq!(await_count(&fixture, 1).await, ["10"]);
    settle().await;
    fixture.clock.advance(-3_600_000);
    send(&client, "new", &[("TIMER_DELAY_SEC", "20")]).await;
    // Files are blanked on a thread of its own, which counts from the time that it finds; nothing says when it has done so.
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.clock.advance(19_999);
    settle().await;
    assert_eq!(delivered(&fixture), ["10"]);
    fixture.clock.advance(1);
    assert_eq!(await_count(&fixture, 2).await, ["10", "new"]);
    fixture.clock.advance(3_600_000);
    settle().await;
    assert_eq!(delivered(&fixture), ["10", "new"]);
    fixture.clock.advance(3_600_000);
    assert_eq!(await_count(&fixture, 3).await, ["10", "new", "7200"]);
    fixture.stop().await;
}

#[tokio::test]
async fn what_is_due_comes_while_more_is_sent() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, "due", &[(properties::TIMER_DELAY_MS, "1000")]).await;
    settle().await;
    let record = pull_all(fixture.broker(), crate::topics::TIMER, 0).remove(0);
    let mut later = Message::of(&Record::decode(&record, true).unwrap().record);
    later.topic = "Orders".to_owned();
    later.properties.clear();
    later.set(properties::TIMER_DELAY_SEC, "3600");
    fixture.clock.advance(1_000);
    // Whenever the timer looks, there is one more to take.
    for _ in 0..1_000 {
        fixture.broker().put(vec![later.clone()]).unwrap();
        tokio::task::yield_now().await;
        if !delivered(&fixture).is_empty() {
            break;
        }
    }
    assert_eq!(delivered(&fixture), ["due"]);
    fixture.stop().await;
}

#[tokio::test]
async fn what_was_taken_with_full_properties_comes() {
    let fixture = Fixture::with(|config| config.timer.roll_window_slots = 6).await;
    let client = fixture.client().await;
    let mut taken = 0;
    for len in (32_400..32_767).step_by(7) {
        let value = "v".repeat(len);
        let text = format!("TIMER_DELAY_SEC\u{1}20\u{2}k\u{1}{value}\u{2}");
        let reply = client_send(&client, &text).await;
        match reply.code {
            0 => taken += 1,
            code => assert_eq!(code, 13, "{len}"),
        }
    }
    assert!((1..50).contains(&taken), "{taken}");
    for _ in 0..21 {
        settle().await;
        fixture.clock.advance(1_000);
    }
    await_count(&fixture, taken).await;
    fixture.stop().await;
}

#[tokio::test]
async fn an_idle_broker_has_no_timer_files() {
    let fixture = Fixture::start().await;
    let sim: std::sync::Arc<SimDisk> = fixture.stop().await;
    let disk = store::Disk::Sim(sim);
    for path in [
        "/store/timerwheel",
        "/store/timerlog",
        "/store/config/timercheck",
    ] {
        assert!(!disk.exists(std::path::Path::new(path)), "{path}");
    }
}
