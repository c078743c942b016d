//! Delivery at its time, over restarts and crashes, whatever the clock does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::codes::request::SEND_MESSAGE_V2;
use protocol::properties;
use protocol::record::Record;
use protocol::{LogOffset, QueueOffset};
use remoting::Reply;
use store::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};
use store::{Batch, EntryTag};

use crate::Config;
use crate::testing::{self, Client, Fixture, NOW_MS, Stored, arrived, field, settle, stored};

const SCHEDULE: &str = "SCHEDULE_TOPIC_XXXX";

/// Sends to queue 0 of `Orders` with these properties (`;` ends a value).
async fn send(client: &Client, text: &str, body: &str) -> Reply {
    let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
    let fields = [
        ("a", "producers"),
        ("b", "Orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "7"),
        ("i", text.as_str()),
    ];
    client.check(SEND_MESSAGE_V2, &fields, body, (0, "")).await
}

#[tokio::test]
async fn is_delivered_when_it_is_due_and_not_before() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let reply = send(&client, "TAGS=a;DELAY=2;UNIQ_KEY=u1;", "later").await;
    assert_eq!(field(&reply, "queueId").as_deref(), Some("0"));
    assert_eq!(field(&reply, "transactionId").as_deref(), Some("u1"));
    let broker = fixture.broker();
    assert_eq!(stored(broker, SCHEDULE, 1).len(), 1);
    fixture.clock.advance(4_999);
    settle().await;
    assert_eq!(stored(broker, "Orders", 0), []);
    fixture.clock.advance(1);
    arrived(broker, "Orders", 0, 1).await;
    let delivered = stored(broker, "Orders", 0).remove(0);
    assert_eq!(delivered.at_ms, NOW_MS + 5_000);
    let property = |name| delivered.property(name);
    assert_eq!(
        [
            property(properties::TAGS),
            property(properties::DELAY),
            property(properties::REAL_TOPIC),
            property(properties::REAL_QID),
            property(properties::UNIQ_KEY),
        ],
        ["a", "2", "Orders", "0", "u1"],
        "Apache leaves all of them in place"
    );
    assert_eq!(
        (delivered.message.flag, delivered.message.born_timestamp),
        (7, 1_700_000_000_000)
    );
    let report = fixture.broker().lateness()[0].1;
    assert_eq!((report.count, report.worst_ms), (1, 0));
    fixture.stop().await;
}

/// What wakes a level for one message must not deliver the next one with it.
#[tokio::test]
async fn a_millisecond_later_is_later() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for body in ["a", "b", "c"] {
        send(&client, "DELAY=1;", body).await;
        fixture.clock.advance(1);
    }
    fixture.clock.advance(997);
    for count in 1..=3 {
        arrived(fixture.broker(), "Orders", 0, count).await;
        settle().await;
        let delivered = stored(fixture.broker(), "Orders", 0).len();
        assert_eq!(delivered as i64, count);
        fixture.clock.advance(1);
    }
    fixture.stop().await;
}

#[tokio::test]
async fn what_levels_mean() {
    let fixture = Fixture::with(|config| config.store.delay_levels_ms = vec![1_000, 60_000]).await;
    let client = fixture.client().await;
    for (level, queue, kept) in [
        ("1", Some(0), "1"),
        ("+1", Some(0), "+1"),
        ("01", Some(0), "01"),
        ("2", Some(1), "2"),
        ("99", Some(1), "2"),
        ("0", None, "0"),
        ("-1", None, "-1"),
        ("", None, ""),
    ] {
        let text = format!("DELAY={level};");
        let sent = format!("level {level}");
        send(&client, &text, &sent).await;
        let found = [Some(0), Some(1), None].into_iter().find_map(|place| {
            let messages = match place {
                Some(queue_id) => stored(fixture.broker(), SCHEDULE, queue_id),
                None => stored(fixture.broker(), "Orders", 0),
            };
            let found = messages.into_iter().find(|found| found.body() == sent)?;
            Some((place, found.property(properties::DELAY).to_owned()))
        });
        assert_eq!(found, Some((queue, kept.to_owned())), "level {level:?}");
    }
    send(&client, "TIMER_DELAY_SEC=9;DELAY=1;", "both").await;
    let both = stored(fixture.broker(), SCHEDULE, 0).pop().unwrap();
    assert_eq!(
        (both.body(), both.property("TIMER_DELAY_SEC")),
        ("both", "")
    );
    for level in ["abc", " 1", "1.0", "2147483648"] {
        let text = format!("DELAY\u{1}{level}\u{2}");
        let fields = [
            ("a", "producers"),
            ("b", "Orders"),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "0"),
            ("f", "0"),
            ("g", "1700000000000"),
            ("h", "7"),
            ("i", text.as_str()),
        ];
        let reply = client
            .check(SEND_MESSAGE_V2, &fields, "x", (1, level))
            .await;
        assert_eq!(field(&reply, "MSG_REGION"), None, "as Apache: no fields");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn many_due_at_once_come_in_order_and_once() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for number in 0..500 {
        send(&client, "DELAY=1;", &number.to_string()).await;
    }
    fixture.clock.advance(3_000);
    arrived(fixture.broker(), "Orders", 0, 500).await;
    settle().await;
    let messages = stored(fixture.broker(), "Orders", 0);
    let bodies: Vec<_> = messages.iter().map(Stored::body).collect();
    let expected: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    assert_eq!(bodies, expected);
    let report = fixture.broker().lateness()[0].1;
    assert_eq!((report.count, report.worst_ms), (500, 2_000));
    fixture.stop().await;
}

#[tokio::test]
async fn the_file_is_apaches_and_a_stop_in_order_repeats_nothing() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for text in ["DELAY=1;", "DELAY=1;", "DELAY=2;"] {
        send(&client, text, "x").await;
    }
    fixture.clock.advance(1_000);
    arrived(fixture.broker(), "Orders", 0, 2).await;
    settle().await;
    let sim = fixture.stop().await;
    let file = store::Disk::Sim(sim.clone())
        .read("/store/config/delayOffset.json".as_ref())
        .unwrap();
    let file: String = String::from_utf8(file)
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(
        file,
        r#"{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"offsetTable":{1:2}}"#
    );

    let fixture = Fixture::on(sim, testing::config()).await;
    fixture.clock.advance(5_000);
    arrived(fixture.broker(), "Orders", 0, 3).await;
    settle().await;
    assert_eq!(stored(fixture.broker(), "Orders", 0).len(), 3);
    fixture.stop().await;
}

/// A power cut takes what was not flushed: the offsets that are saved must not be beyond it.
#[tokio::test]
async fn a_power_cut_takes_no_copy_without_bringing_the_message_back() {
    let by_hand = Duration::from_secs(3_600);
    let fixture = Fixture::with(|config| {
        config.flush_interval = by_hand;
        config.delay_offsets_interval = by_hand;
    })
    .await;
    let client = fixture.client().await;
    send(&client, "DELAY=1;", "x").await;
    fixture.broker().flush();
    fixture.clock.advance(1_000);
    arrived(fixture.broker(), "Orders", 0, 1).await;
    fixture.broker().save_delays();
    let after = fixture.sim.crash(CrashKeep::None);
    fixture.stop().await;
    let fixture = Fixture::on(after, testing::config()).await;
    fixture.clock.advance(10_000);
    arrived(fixture.broker(), "Orders", 0, 1).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_full_disk_delays_but_loses_nothing() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, "DELAY=1;", "x").await;
    fixture.sim.fail(Fault {
        on: FaultOn::Write,
        path: "commitlog".to_owned(),
        after: 0,
        error: FaultError::NoSpace,
        sticky: true,
    });
    fixture.clock.advance(1_000);
    settle().await;
    assert_eq!(stored(fixture.broker(), "Orders", 0), []);
    fixture.sim.heal();
    arrived(fixture.broker(), "Orders", 0, 1).await;
    fixture.stop().await;
}

/// What can't be delivered does not hold up the rest.
#[tokio::test]
async fn nonsense_in_the_queue_is_passed() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker();
    let mut batch = Batch::default();
    for text in [
        "",
        "REAL_TOPIC\u{1}Orders\u{2}",
        "REAL_TOPIC\u{1}Orders\u{2}REAL_QID\u{1}x\u{2}",
        "REAL_TOPIC\u{1}../x\u{2}REAL_QID\u{1}0\u{2}",
        "REAL_TOPIC\u{1}RMQ_SYS_TRANS_HALF_TOPIC\u{2}REAL_QID\u{1}0\u{2}",
        "REAL_TOPIC\u{1}Orders\u{2}REAL_QID\u{1}0\u{2}",
    ] {
        let record = Record {
            queue_id: 0,
            flag: 0,
            queue_offset: QueueOffset(0),
            log_offset: LogOffset(0),
            sys_flag: 0,
            born_timestamp: 0,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_timestamp: 0,
            store_host: "127.0.0.1:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: text.as_bytes(),
            topic: SCHEDULE,
            properties: text.as_bytes(),
        };
        batch
            .push(&broker.store, &record, EntryTag::DueAfterMs(0))
            .unwrap();
    }
    broker.append(&mut batch).unwrap();
    arrived(broker, "Orders", 0, 1).await;
    settle().await;
    assert_eq!(stored(broker, "Orders", 0).len(), 1);
    assert_eq!(stored(broker, "RMQ_SYS_TRANS_HALF_TOPIC", 0), []);
    fixture.stop().await;
}

/// An hour back: nothing is early, and nothing waits for longer than its delay again.
#[tokio::test]
async fn a_clock_set_back_makes_nothing_early_and_holds_nothing_up() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for body in ["a", "b", "c"] {
        send(&client, "DELAY=2;", body).await;
    }
    let sim = fixture.stop().await;
    let fixture = Fixture::on_at(sim, testing::config(), NOW_MS - 3_600_000).await;
    let client = fixture.client().await;
    fixture.clock.advance(3_000);
    send(&client, "DELAY=2;", "d").await;
    fixture.clock.advance(1_999);
    settle().await;
    assert_eq!(stored(fixture.broker(), "Orders", 0), [], "not before 5 s");
    fixture.clock.advance(1);
    arrived(fixture.broker(), "Orders", 0, 3).await;
    fixture.clock.advance(2_999);
    settle().await;
    assert_eq!(
        stored(fixture.broker(), "Orders", 0).len(),
        3,
        "d came 3 s later"
    );
    fixture.clock.advance(5_000);
    arrived(fixture.broker(), "Orders", 0, 4).await;
    fixture.stop().await;
}

/// Set back by mistake, and right again a minute later.
#[tokio::test]
async fn a_clock_set_right_again_makes_nothing_early() {
    let hour_ms = 3_600_000;
    let fixture = Fixture::with(|config| config.store.delay_levels_ms = vec![hour_ms]).await;
    let client = fixture.client().await;
    for body in ["a", "b"] {
        send(&client, "DELAY=1;", body).await;
    }
    let sim = fixture.stop().await;
    let config = || Config {
        store: store::Config {
            delay_levels_ms: vec![hour_ms],
            ..testing::config().store
        },
        ..testing::config()
    };
    let fixture = Fixture::on_at(sim, config(), NOW_MS - hour_ms).await;
    settle().await;
    fixture.clock.advance(60_000);
    settle().await;
    fixture.clock.advance(hour_ms);
    settle().await;
    assert_eq!(stored(fixture.broker(), "Orders", 0), [], "59 minutes left");
    fixture.clock.advance(hour_ms - 60_001);
    settle().await;
    assert_eq!(stored(fixture.broker(), "Orders", 0), []);
    fixture.clock.advance(1);
    arrived(fixture.broker(), "Orders", 0, 2).await;
    fixture.stop().await;
}

/// The same while the level waits for the time to come.
#[tokio::test]
async fn a_clock_set_back_meanwhile_is_noticed() {
    let fixture = Fixture::with(|config| config.store.delay_levels_ms = vec![100]).await;
    let client = fixture.client().await;
    send(&client, "DELAY=1;", "x").await;
    settle().await;
    fixture.clock.advance(-3_600_000);
    let set_back_ms = fixture.clock.now_ms();
    let queue = fixture.broker().store.queue_or_create("Orders", 0);
    let queue = queue.unwrap();
    let ticking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            fixture.clock.advance(10);
        }
    };
    tokio::select! {
        () = queue.arrival(QueueOffset(0)) => {}
        () = ticking => {}
    }
    let waited_ms = fixture.clock.now_ms() - set_back_ms;
    assert!((100..60_000).contains(&waited_ms), "{waited_ms}");
    fixture.stop().await;
}

#[derive(Clone, Debug)]
enum Step {
    /// Level, from 1.
    Send(usize),
    Advance(i64),
    Save,
    Restart,
    /// `kill -9`, or with sync flush a power cut.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..=3).prop_map(Step::Send),
        3 => (1i64..2_500).prop_map(Step::Advance),
        3 => (1i64..4).prop_map(Step::Advance),
        1 => Just(Step::Save),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

const LEVELS_MS: [i64; 3] = [1_000, 2_000, 5_000];

fn small_levels(sync_flush: bool) -> Config {
    let mut config = testing::config();
    config.store.delay_levels_ms = LEVELS_MS.to_vec();
    config.store.sync_flush = sync_flush;
    config.delay_offsets_interval = Duration::from_secs(3_600);
    config
}

/// A broker that is stopped and killed, and what it has promised.
struct Model {
    fixture: Option<Fixture>,
    client: Option<Client>,
    now_ms: i64,
    sync_flush: bool,
    /// When each message was sent, and its delay.
    sent: Vec<(i64, i64)>,
    /// Messages delivered when that was saved last.
    saved: i64,
    /// Crashes may repeat so many.
    repeats_max: i64,
}

impl Model {
    async fn start(&mut self, sim: Arc<SimDisk>) {
        let fixture = Fixture::on_at(sim, small_levels(self.sync_flush), self.now_ms).await;
        self.client = Some(fixture.client().await);
        self.fixture = Some(fixture);
        self.catch_up().await;
    }

    fn fixture(&self) -> &Fixture {
        self.fixture.as_ref().unwrap()
    }

    /// Waits until all that is due is delivered.
    async fn catch_up(&self) {
        let broker = self.fixture().broker();
        let mut due = [0; 3];
        let mut queued = Vec::new();
        for level in 0..3 {
            let messages = stored(broker, SCHEDULE, level);
            let delay_ms = LEVELS_MS[level as usize];
            let is_due = |stored: &&Stored| stored.at_ms + delay_ms <= self.now_ms;
            due[level as usize] = messages.iter().filter(is_due).count() as i64;
            queued.push(messages.len());
        }
        let caught_up = async {
            loop {
                let next = |level| broker.delays.state.read().next(level).0;
                if (1..=3).all(|level| next(level) >= due[level as usize - 1]) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(20), caught_up).await;
        done.unwrap_or_else(|_| panic!("due {due:?} of {queued:?}"));
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Send(level) => {
                let (number, delay_ms) = (self.sent.len(), LEVELS_MS[level - 1]);
                let client = self.client.as_ref().unwrap();
                send(client, &format!("DELAY={level};"), &number.to_string()).await;
                self.sent.push((self.now_ms, delay_ms));
            }
            Step::Advance(ms) => {
                self.now_ms += ms;
                self.fixture().clock.advance(*ms);
                self.catch_up().await;
            }
            Step::Save => self.save(),
            Step::Restart => {
                let sim = self.fixture.take().unwrap().stop().await;
                self.start(sim).await;
                self.save();
            }
            Step::Crash => {
                self.repeats_max += self.delivered() - self.saved;
                let keep = match self.sync_flush {
                    true => CrashKeep::Random,
                    false => CrashKeep::All,
                };
                let fixture = self.fixture.take().unwrap();
                let after = fixture.sim.crash(keep);
                fixture.stop().await;
                self.start(after).await;
                self.save();
            }
        }
    }

    fn save(&mut self) {
        self.fixture().broker().save_delays();
        self.saved = self.delivered();
    }

    /// How many messages of all levels are delivered.
    fn delivered(&self) -> i64 {
        let delays = self.fixture().broker().delays.state.read();
        (1..=3).map(|level| delays.next(level).0).sum()
    }

    /// Nothing early, nothing lost, nothing twice but what a crash may have caught under way.
    async fn check(&mut self) {
        self.step(&Step::Advance(10_000)).await;
        self.fixture().broker().flush();
        let mut times: BTreeMap<usize, i64> = BTreeMap::new();
        for stored in stored(self.fixture().broker(), "Orders", 0) {
            let number: usize = stored.body().parse().unwrap();
            let (sent_ms, delay_ms) = self.sent[number];
            assert!(
                stored.at_ms >= sent_ms + delay_ms,
                "message {number} is early"
            );
            *times.entry(number).or_default() += 1;
        }
        let lost: Vec<usize> = (0..self.sent.len())
            .filter(|number| !times.contains_key(number))
            .collect();
        assert_eq!(lost, [], "of {}", self.sent.len());
        let repeated: i64 = times.values().map(|times| times - 1).sum();
        assert!(
            repeated <= self.repeats_max,
            "{repeated} repeated, at most {}",
            self.repeats_max
        );
        self.fixture.take().unwrap().stop().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_early_lost_or_twice(
        steps in proptest::collection::vec(step(), 1..60),
        sync_flush in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Model {
                fixture: None,
                client: None,
                now_ms: NOW_MS,
                sync_flush,
                sent: Vec::new(),
                saved: 0,
                repeats_max: 0,
            };
            model.start(SimDisk::new(9)).await;
            for step in &steps {
                model.step(step).await;
            }
            model.check().await;
        });
    }
}
