//! Transactions over a socket: halves, ends, questions, restarts.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::codes::request::{
    CHECK_TRANSACTION_STATE, END_TRANSACTION, HEART_BEAT, RESUME_CHECK_HALF_MESSAGE,
    SEND_MESSAGE_V2,
};
use protocol::headers::transaction::CheckTransactionState;
use protocol::message_id::MessageId;
use protocol::properties;
use protocol::record::Record;
use protocol::{LogOffset, QueueOffset};
use remoting::clock::Clock;
use remoting::{Connection, Limits, Peer, Reply, Request, Service};
use store::ReadLimits;
use store::disk::{CrashKeep, Disk, Fault, FaultError, FaultOn, SimDisk};
use tokio::sync::mpsc;

use crate::message::Message;
use crate::testing::{Fixture, Raw, config, field};
use crate::{Broker, Config, topics};

mod random;

const TIMEOUT: Duration = Duration::from_secs(20);

/// What a producer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) half: Half,
    pub(super) topic: String,
    pub(super) id: String,
    pub(super) broker: String,
    pub(super) message: Message,
}

/// A half message as its producer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) key: String,
    pub(super) at: i64,
    pub(super) log_offset: i64,
}

struct Ear(Mutex<mpsc::Sender<Asked>>);

impl Service for Ear {
    fn handle(&self, _: &Arc<Peer>, requests: Vec<Request>) {
        for request in requests {
            assert_eq!(request.code, CHECK_TRANSACTION_STATE);
            assert!(request.is_oneway());
            let header: CheckTransactionState<'_> = request.header().unwrap();
            let text = |text: Option<protocol::text::Text<'_>>| text.unwrap().to_str().into_owned();
            let record = Record::decode(request.body(), true).unwrap().record;
            assert_eq!(record.queue_offset, header.tran_state_table_offset);
            assert_eq!(record.log_offset, header.commit_log_offset);
            assert_eq!(text(header.msg_id), text(header.transaction_id));
            let asked = Asked {
                half: Half {
                    key: text(header.msg_id),
                    at: header.tran_state_table_offset.0,
                    log_offset: header.commit_log_offset.0,
                },
                topic: text(header.topic),
                id: text(header.offset_msg_id),
                broker: text(header.broker_name),
                message: Message::of(&record),
            };
            self.0.lock().try_send(asked).expect("few questions");
            request.into_reply().ignore();
        }
    }

    fn closed(&self, _: &Arc<Peer>) {}
}

/// A transactional producer of the group `producers`.
pub(super) struct Producer {
    pub(super) connection: Connection,
    pub(super) asked: mpsc::Receiver<Asked>,
}

impl Producer {
    pub(super) async fn of(fixture: &Fixture) -> Producer {
        let producer = Producer::silent(fixture).await;
        producer.beat("producers").await;
        producer
    }

    /// One whom the broker does not know as a producer.
    async fn silent(fixture: &Fixture) -> Producer {
        let (said, asked) = mpsc::channel(10_000);
        let addr = fixture.running.addrs()[0].to_string();
        let ear = Arc::new(Ear(Mutex::new(said)));
        let connection = remoting::connect(&addr, ear, &Limits::default())
            .await
            .expect("the broker listens");
        Producer { connection, asked }
    }

    async fn beat(&self, group: &str) {
        let beat = format!(
            r#"{{"clientID":"p","producerDataSet":[{{"groupName":"{group}"}}],"consumerDataSet":[]}}"#
        );
        let reply = self.call(HEART_BEAT, &[], &beat).await;
        assert_eq!(reply.code, 0);
    }

    async fn call(&self, code: i32, fields: &[(&str, &str)], body: &str) -> Reply {
        let body = body.as_bytes().to_vec();
        let call = self.connection.call(code, &Raw(fields), body, TIMEOUT);
        call.await.expect("a reply")
    }

    async fn send(&self, key: &str, more: &str, now_ms: i64) -> Reply {
        let text = format!(
            "UNIQ_KEY\u{1}{key}\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}producers\u{2}TAGS\u{1}a\u{2}{more}"
        );
        let born = now_ms.to_string();
        let fields = [
            ("a", "producers"),
            ("b", "Orders"),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "2"),
            ("f", "4"),
            ("g", born.as_str()),
            ("h", "7"),
            ("i", text.as_str()),
        ];
        self.call(SEND_MESSAGE_V2, &fields, key).await
    }

    /// Sends a half message with a key, which is its body too.
    pub(super) async fn half(&self, key: &str, more: &str, now_ms: i64) -> Half {
        let reply = self.send(key, more, now_ms).await;
        assert_eq!(reply.code, 0, "{:?}", reply.remark);
        assert_eq!(field(&reply, "queueId").as_deref(), Some("2"));
        assert_eq!(field(&reply, "transactionId").as_deref(), Some(key));
        let id = MessageId::decode(&field(&reply, "msgId").unwrap()).unwrap();
        Half {
            key: key.to_owned(),
            at: field(&reply, "queueOffset").unwrap().parse().unwrap(),
            log_offset: id.offset.0,
        }
    }

    pub(super) async fn end(&self, half: &Half, decision: i32, checked: bool) -> Reply {
        self.end_with(half, &[], decision, checked).await
    }

    async fn end_with(
        &self,
        half: &Half,
        changes: &[(&str, &str)],
        decision: i32,
        checked: bool,
    ) -> Reply {
        let at = half.at.to_string();
        let log_offset = half.log_offset.to_string();
        let decision = decision.to_string();
        let mut fields = vec![
            ("topic", "Orders"),
            ("producerGroup", "producers"),
            ("tranStateTableOffset", at.as_str()),
            ("commitLogOffset", log_offset.as_str()),
            ("commitOrRollback", decision.as_str()),
            (
                "fromTransactionCheck",
                if checked { "true" } else { "false" },
            ),
            ("msgId", half.key.as_str()),
            ("transactionId", half.key.as_str()),
        ];
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        self.call(END_TRANSACTION, &fields, "").await
    }

    pub(super) async fn asked(&mut self) -> Asked {
        let asked = tokio::time::timeout(TIMEOUT, self.asked.recv()).await;
        asked.expect("a question").expect("a connection")
    }

    /// Nothing has been asked; `half` is one that is read after all that could have been.
    async fn is_not_asked(&mut self) {
        // A question would be on its way before the answer to this.
        self.beat("producers").await;
        assert!(self.asked.try_recv().is_err());
    }
}

/// Waits for what the broker does by itself.
async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, wait).await;
    waited.expect("the broker does it by itself");
}

pub(super) const COMMIT: i32 = 8;
pub(super) const ROLLBACK: i32 = 12;

/// The bodies of a topic's messages, with the records.
fn messages(fixture: &Fixture, topic: &str) -> Vec<Message> {
    let store = &fixture.broker().store;
    let mut found = Vec::new();
    for queue in store.queues(topic) {
        let mut next = queue.min();
        while next < queue.max_visible() {
            let read = store
                .read(&queue, next, &ReadLimits::default(), |_| true)
                .unwrap();
            next = read.next;
            let records = read.records.iter();
            found.extend(
                records.map(|record| Message::of(&Record::decode(&record, true).unwrap().record)),
            );
        }
    }
    found
}

pub(super) fn bodies(fixture: &Fixture, topic: &str) -> Vec<String> {
    let mut bodies: Vec<_> = messages(fixture, topic)
        .iter()
        .map(|message| String::from_utf8_lossy(&message.body).into_owned())
        .collect();
    bodies.sort();
    bodies
}

/// What op messages say.
fn ended(fixture: &Fixture) -> String {
    bodies(fixture, topics::HALF_DONE).concat()
}

/// The same broker on what a crash leaves of its disk.
pub(super) async fn after(fixture: Fixture, keep: CrashKeep, config: Config) -> Fixture {
    let (sim, clock) = (fixture.sim.crash(keep), fixture.clock.clone());
    fixture.stop().await;
    on(sim, config, clock).await
}

pub(super) async fn on(sim: Arc<SimDisk>, config: Config, clock: Clock) -> Fixture {
    let running = Broker::start(config, Disk::Sim(sim.clone()), clock.clone())
        .await
        .expect("the broker starts");
    Fixture {
        running,
        sim,
        clock,
    }
}

fn offsets(fixture: &Fixture) -> (Option<i64>, Option<i64>) {
    let offsets = fixture.broker().offsets.state.read();
    let of = |topic| {
        offsets
            .committed(super::GROUP, topic, 0)
            .map(|offset| offset.0)
    };
    (of(topics::HALF), of(topics::HALF_DONE))
}

#[tokio::test]
async fn a_half_message_is_seen_when_it_is_committed() {
    let fixture = Fixture::start().await;
    let producer = Producer::of(&fixture).await;
    let now_ms = fixture.clock.now_ms();
    let first = producer.half("K0", "", now_ms).await;
    let second = producer.half("K1", "", now_ms).await;
    assert_eq!((first.at, second.at), (0, 1));
    assert!(bodies(&fixture, "Orders").is_empty());
    let stored = &messages(&fixture, topics::HALF)[0];
    assert_eq!((stored.sys_flag, stored.queue_id, stored.flag), (0, 0, 7));
    assert_eq!(stored.property("__transactionId__"), Some("K0"));

    assert_eq!(producer.end(&first, COMMIT, false).await.code, 0);
    let [message] = &messages(&fixture, "Orders")[..] else {
        panic!("one message");
    };
    assert_eq!(&message.body[..], b"K0");
    assert_eq!(
        (message.queue_id, message.sys_flag, message.flag),
        (2, 8, 7)
    );
    assert_eq!(message.prepared_transaction_offset, first.log_offset);
    assert_eq!(message.born_timestamp, now_ms);
    for (name, value) in [
        ("TAGS", "a"),
        ("TRAN_MSG", "true"),
        ("REAL_TOPIC", "Orders"),
        ("REAL_QID", "2"),
        ("PGROUP", "producers"),
        ("__transactionId__", "K0"),
    ] {
        assert_eq!(message.property(name), Some(value), "{name}");
    }
    assert_eq!(ended(&fixture), "0,");

    assert_eq!(producer.end(&second, ROLLBACK, false).await.code, 0);
    assert_eq!(ended(&fixture), "0,1,");
    // Whatever is said now has no effect.
    for decision in [COMMIT, ROLLBACK] {
        for half in [&first, &second] {
            let reply = producer.end(half, decision, true).await;
            assert_eq!(reply.code, 0);
            let remark = reply.remark.unwrap();
            assert!(remark.contains("ended before"), "{remark}");
        }
    }
    assert_eq!(bodies(&fixture, "Orders"), ["K0"]);
    assert_eq!(ended(&fixture), "0,1,");
    fixture.stop().await;
}

#[tokio::test]
async fn a_producer_is_asked_in_time_and_again() {
    let fixture = Fixture::start().await;
    let mut producer = Producer::of(&fixture).await;
    let now_ms = fixture.clock.now_ms();
    let half = producer.half("K", "", now_ms).await;
    fixture.clock.advance(5_999);
    producer.is_not_asked().await;
    fixture.clock.advance(1);
    let first = producer.asked().await;
    assert_eq!(first.topic, topics::HALF);
    assert_eq!(first.broker, "broker-a");
    assert_eq!(first.half.key, "K");
    assert_eq!(first.half.at, 1, "of the copy");
    let id = MessageId::decode(&first.id).unwrap();
    assert_eq!(id.offset, LogOffset(first.half.log_offset));
    assert_eq!(
        (&*first.message.topic, first.message.queue_id),
        ("Orders", 2)
    );
    assert_eq!(first.message.flag, 7);
    assert_eq!(first.message.property("TRANSACTION_CHECK_TIMES"), Some("1"));
    // It does not know yet: no answer, and the next question after the interval.
    let unknown = producer.connection.call(
        END_TRANSACTION,
        &Raw(&[
            ("producerGroup", "producers"),
            ("tranStateTableOffset", "1"),
            ("commitLogOffset", &first.half.log_offset.to_string()),
            ("commitOrRollback", "0"),
            ("fromTransactionCheck", "true"),
            ("msgId", "K"),
        ]),
        b"".to_vec(),
        Duration::from_millis(50),
    );
    assert!(unknown.await.is_err());
    fixture.clock.advance(29_999);
    producer.is_not_asked().await;
    fixture.clock.advance(1);
    let second = producer.asked().await;
    assert_eq!(second.half.at, 2);
    assert_eq!(
        second.message.property("TRANSACTION_CHECK_TIMES"),
        Some("2")
    );
    // The first word still counts, once.
    assert_eq!(producer.end(&half, COMMIT, false).await.code, 0);
    assert_eq!(producer.end(&second.half, COMMIT, true).await.code, 0);
    assert_eq!(producer.end(&first.half, COMMIT, true).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["K"]);
    fixture.clock.advance(600_000);
    producer.is_not_asked().await;
    let (_, lateness) = fixture
        .broker()
        .lateness()
        .into_iter()
        .find(|(name, _)| *name == "transactions")
        .unwrap();
    assert_eq!((lateness.count, lateness.worst_ms), (2, 0));
    fixture.stop().await;
}

#[tokio::test]
async fn an_answer_to_a_question_ends_it() {
    let fixture = Fixture::start().await;
    let mut producer = Producer::of(&fixture).await;
    for (key, decision, expect) in [("C", COMMIT, &["C"][..]), ("R", ROLLBACK, &["C"])] {
        producer.half(key, "", fixture.clock.now_ms()).await;
        fixture.clock.advance(6_000);
        let asked = producer.asked().await;
        assert_eq!(asked.half.key, key);
        assert_eq!(producer.end(&asked.half, decision, true).await.code, 0);
        assert_eq!(bodies(&fixture, "Orders"), expect);
    }
    let committed = &messages(&fixture, "Orders")[0];
    assert_eq!(committed.property("TRANSACTION_CHECK_TIMES"), Some("1"));
    assert_eq!(committed.property("TRAN_PREPARED_QUEUE_OFFSET"), None);
    assert_eq!(fixture.broker().transactions.open(), 0);
    fixture.stop().await;
}

#[tokio::test]
async fn questions_go_round_the_live_producers_of_the_group() {
    let fixture = Fixture::start().await;
    let mut producers = vec![Producer::of(&fixture).await, Producer::of(&fixture).await];
    let other = Producer::silent(&fixture).await;
    other.beat("others").await;
    for number in 0..6 {
        let key = format!("K{number}");
        producers[0].half(&key, "", fixture.clock.now_ms()).await;
    }
    fixture.clock.advance(6_000);
    for producer in &mut producers {
        for _ in 0..3 {
            producer.asked().await;
        }
    }
    // One that is gone is not asked.
    let gone = producers.remove(0);
    gone.connection.close().await;
    fixture.clock.advance(30_000);
    for _ in 0..6 {
        producers[0].asked().await;
    }
    fixture.stop().await;
}

/// Log offset of the first message that was put aside.
fn place_aside(fixture: &Fixture) -> i64 {
    let queue = fixture.broker().store.queue(topics::CHECKED_TOO_OFTEN, 0);
    let mut place = 0;
    let _ = fixture.broker().store.read(
        &queue.unwrap(),
        QueueOffset(0),
        &ReadLimits::default(),
        |entry| {
            place = entry.log_offset.0;
            false
        },
    );
    place
}

fn id(fixture: &Fixture, offset: i64) -> String {
    let id = MessageId {
        host: fixture.running.addrs()[0],
        offset: LogOffset(offset),
    };
    id.encode()
}

/// A half message that was asked after once, and then put aside.
async fn put_aside(fixture: &Fixture, producer: &mut Producer, key: &str) -> [Half; 2] {
    let count = messages(fixture, topics::CHECKED_TOO_OFTEN).len();
    let half = producer.half(key, "", fixture.clock.now_ms()).await;
    fixture.clock.advance(6_000);
    let asked = producer.asked().await;
    fixture.clock.advance(30_000);
    until(|| messages(fixture, topics::CHECKED_TOO_OFTEN).len() > count).await;
    [half, asked.half]
}

#[tokio::test]
async fn a_late_commit_delivers_what_was_put_aside_once() {
    let mut config = config();
    config.transaction_checks_max = 1;
    let mut fixture = Fixture::on(SimDisk::new(1), config.clone()).await;
    let mut producer = Producer::of(&fixture).await;
    let mut halves = Vec::new();
    for key in ["A", "B", "C", "R"] {
        halves.push(put_aside(&fixture, &mut producer, key).await);
    }
    // Both names of it, at the same time.
    let (first, second) = tokio::join!(
        producer.end(&halves[0][0], COMMIT, false),
        producer.end(&halves[0][1], COMMIT, true)
    );
    assert_eq!((first.code, second.code), (0, 0));
    assert_eq!(producer.end(&halves[3][1], ROLLBACK, true).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["A"]);
    let message = messages(&fixture, "Orders").remove(0);
    assert_eq!((message.queue_id, message.sys_flag), (2, 8));
    assert_eq!(message.prepared_transaction_offset, halves[0][1].log_offset);
    assert_eq!(message.property("TRAN_PREPARED_QUEUE_OFFSET"), None);

    // A full disk is no reason to forget about it.
    fixture.sim.fail(Fault {
        on: FaultOn::Write,
        path: "commitlog".to_owned(),
        after: 0,
        error: FaultError::NoSpace,
        sticky: true,
    });
    assert_ne!(producer.end(&halves[1][1], COMMIT, true).await.code, 0);
    fixture.sim.heal();
    assert_eq!(producer.end(&halves[1][1], COMMIT, true).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["A", "B"]);

    let clock = fixture.clock.clone();
    fixture = on(fixture.stop().await, config.clone(), clock).await;
    let producer = Producer::of(&fixture).await;
    for _ in 0..2 {
        for [half, copy] in &halves[..3] {
            assert_eq!(producer.end(half, COMMIT, false).await.code, 0);
            assert_eq!(producer.end(copy, COMMIT, true).await.code, 0);
        }
    }
    assert_eq!(bodies(&fixture, "Orders"), ["A", "B", "C"]);
    fixture.stop().await;
}

#[tokio::test]
async fn what_is_resumed_is_committed_once() {
    let mut config = config();
    config.store.sync_flush = true;
    config.transaction_checks_max = 1;
    let mut fixture = Fixture::on(SimDisk::new(1), config.clone()).await;
    let mut producer = Producer::of(&fixture).await;
    let [half, copy] = put_aside(&fixture, &mut producer, "K").await;
    fixture.broker().flush();
    let place = id(&fixture, place_aside(&fixture));
    let fields = [("topic", "Orders"), ("msgId", place.as_str())];
    let reply = producer.call(RESUME_CHECK_HALF_MESSAGE, &fields, "").await;
    assert_eq!(reply.code, 0, "{:?}", reply.remark);
    assert_eq!(producer.end(&half, COMMIT, false).await.code, 0);
    // What was confirmed is durable.
    fixture = after(fixture, CrashKeep::None, config).await;
    let mut producer = Producer::of(&fixture).await;
    assert_eq!(producer.end(&copy, COMMIT, true).await.code, 0);
    assert!(bodies(&fixture, "Orders").is_empty());
    fixture.clock.advance(30_000);
    let asked = producer.asked().await;
    assert_eq!(producer.end(&asked.half, COMMIT, true).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["K"]);
    fixture.stop().await;
}

#[tokio::test]
async fn what_nobody_ends_is_put_aside_and_may_be_resumed() {
    let fixture = Fixture::with(|config| config.transaction_checks_max = 2).await;
    let mut producer = Producer::of(&fixture).await;
    producer.half("K", "", fixture.clock.now_ms()).await;
    fixture.clock.advance(6_000);
    producer.asked().await;
    fixture.clock.advance(30_000);
    producer.asked().await;
    fixture.clock.advance(30_000);
    until(|| !bodies(&fixture, topics::CHECKED_TOO_OFTEN).is_empty()).await;
    let aside = messages(&fixture, topics::CHECKED_TOO_OFTEN).remove(0);
    assert_eq!(aside.property("TRANSACTION_CHECK_TIMES"), Some("2"));
    assert_eq!(aside.property("REAL_TOPIC"), Some("Orders"));
    let topic = fixture.broker().topic(topics::CHECKED_TOO_OFTEN).unwrap();
    assert_eq!((topic.read_queue_nums, topic.perm), (1, 6));
    fixture.clock.advance(300_000);
    producer.is_not_asked().await;
    assert!(bodies(&fixture, "Orders").is_empty());

    let place = place_aside(&fixture);
    let id = |offset| id(&fixture, offset);
    for wrong in [id(place + 1), id(0), "?".to_owned()] {
        let fields = [("topic", "Orders"), ("msgId", wrong.as_str())];
        let reply = producer.call(RESUME_CHECK_HALF_MESSAGE, &fields, "").await;
        assert_eq!(reply.code, 1);
        assert!(reply.remark.unwrap().contains(&wrong));
    }
    let right = id(place);
    let fields = [("topic", "Orders"), ("msgId", right.as_str())];
    let reply = producer.call(RESUME_CHECK_HALF_MESSAGE, &fields, "").await;
    assert_eq!(reply.code, 0, "{:?}", reply.remark);
    fixture.clock.advance(30_000);
    let asked = producer.asked().await;
    assert_eq!(producer.end(&asked.half, COMMIT, true).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["K"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_question_nobody_hears_counts_too() {
    let fixture = Fixture::with(|config| config.transaction_checks_max = 1).await;
    let mut producer = Producer::silent(&fixture).await;
    producer.half("K", "", fixture.clock.now_ms()).await;
    fixture.clock.advance(6_000);
    until(|| messages(&fixture, topics::HALF).len() >= 2).await;
    producer.beat("producers").await;
    fixture.clock.advance(30_000);
    until(|| !bodies(&fixture, topics::CHECKED_TOO_OFTEN).is_empty()).await;
    producer.is_not_asked().await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_time_of_its_own_is_kept_and_then_only_answers_count() {
    let fixture = Fixture::start().await;
    let mut producer = Producer::of(&fixture).await;
    let own = "CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}20\u{2}";
    let half = producer.half("K", own, fixture.clock.now_ms()).await;
    fixture.clock.advance(19_999);
    producer.is_not_asked().await;
    fixture.clock.advance(1);
    let asked = producer.asked().await;
    assert_eq!(asked.message.property("TRANSACTION_CHECK_TIMES"), Some("1"));
    fixture.clock.advance(1);
    let late = producer.end(&half, COMMIT, false).await;
    assert_eq!(late.code, 604);
    assert!(bodies(&fixture, "Orders").is_empty());
    assert_eq!(producer.end(&asked.half, COMMIT, true).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["K"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_delay_begins_with_the_commit() {
    let fixture = Fixture::start().await;
    let mut producer = Producer::of(&fixture).await;
    let half = producer
        .half("K", "DELAY\u{1}3\u{2}", fixture.clock.now_ms())
        .await;
    fixture.clock.advance(6_000);
    producer.asked().await;
    assert!(bodies(&fixture, topics::SCHEDULE).is_empty());
    assert_eq!(producer.end(&half, COMMIT, false).await.code, 0);
    assert!(bodies(&fixture, "Orders").is_empty());
    assert_eq!(bodies(&fixture, topics::SCHEDULE), ["K"]);
    fixture.clock.advance(10_000);
    until(|| !bodies(&fixture, "Orders").is_empty()).await;
    fixture.stop().await;
}

#[tokio::test]
async fn what_is_not_taken() {
    let fixture = Fixture::with(|config| config.reject_transactions = true).await;
    let producer = Producer::of(&fixture).await;
    let reply = producer.send("K", "", fixture.clock.now_ms()).await;
    assert_eq!(reply.code, 16);
    let remark = reply.remark.unwrap();
    assert_eq!(
        remark,
        "the broker[127.0.0.1] sending transaction message is forbidden"
    );
    fixture.stop().await;
}

/// Every step, and a stop or a crash after it.
#[tokio::test]
async fn a_restart_at_any_step_changes_nothing() {
    for keep in [None, Some(CrashKeep::All), Some(CrashKeep::None)] {
        for step in 0..5 {
            let mut config = config();
            config.store.sync_flush = true;
            let mut fixture = Fixture::on(SimDisk::new(step), config.clone()).await;
            let mut producer = Producer::of(&fixture).await;
            let half = producer.half("C", "", fixture.clock.now_ms()).await;
            let back = producer.half("R", "", fixture.clock.now_ms()).await;
            let mut named = half.clone();
            if step >= 1 {
                fixture.clock.advance(6_000);
                let mut asked = [producer.asked().await, producer.asked().await];
                asked.sort_by_key(|asked| asked.half.key.clone());
                if step >= 2 {
                    named = asked[0].half.clone();
                }
            }
            if step >= 3 {
                assert_eq!(producer.end(&named, COMMIT, true).await.code, 0);
            }
            if step >= 4 {
                assert_eq!(producer.end(&back, ROLLBACK, false).await.code, 0);
                fixture.broker().save_metadata();
            }
            fixture = match keep {
                Some(keep) => after(fixture, keep, config).await,
                None => {
                    let clock = fixture.clock.clone();
                    on(fixture.stop().await, config, clock).await
                }
            };
            let producer = Producer::of(&fixture).await;
            for _ in 0..2 {
                assert_eq!(producer.end(&named, COMMIT, true).await.code, 0);
                assert_eq!(producer.end(&half, COMMIT, false).await.code, 0);
                assert_eq!(producer.end(&back, ROLLBACK, false).await.code, 0);
            }
            assert_eq!(bodies(&fixture, "Orders"), ["C"], "{keep:?} {step}");
            assert_eq!(fixture.broker().transactions.open(), 0);
            fixture.stop().await;
        }
    }
}

#[tokio::test]
async fn a_restart_goes_on_asking() {
    let fixture = Fixture::start().await;
    let mut producer = Producer::of(&fixture).await;
    for key in ["A", "B", "C"] {
        producer.half(key, "", fixture.clock.now_ms()).await;
    }
    fixture.clock.advance(6_000);
    let first = producer.asked().await;
    for _ in 0..2 {
        producer.asked().await;
    }
    assert_eq!(producer.end(&first.half, ROLLBACK, true).await.code, 0);
    let clock = fixture.clock.clone();
    clock.advance(1_000_000);
    let fixture = on(fixture.stop().await, config(), clock).await;
    let mut producer = Producer::of(&fixture).await;
    fixture.clock.advance(29_999);
    producer.is_not_asked().await;
    fixture.clock.advance(1);
    let mut keys = Vec::new();
    for _ in 0..2 {
        let asked = producer.asked().await;
        let checks = asked.message.property(properties::TRANSACTION_CHECK_TIMES);
        assert_eq!(checks, Some("2"));
        keys.push(asked.half.key);
    }
    keys.sort();
    assert_eq!(keys, ["B", "C"]);
    fixture.stop().await;
}

#[tokio::test]
async fn offsets_and_counts_are_saved() {
    let fixture = Fixture::start().await;
    let producer = Producer::of(&fixture).await;
    let mut halves = Vec::new();
    for number in 0..4 {
        let key = format!("K{number}");
        halves.push(producer.half(&key, "", fixture.clock.now_ms()).await);
    }
    for number in [0, 1, 3] {
        producer.end(&halves[number], COMMIT, false).await;
    }
    fixture.broker().flush();
    let wanted = (Some(2), Some(2));
    until(|| offsets(&fixture) == wanted).await;
    let now_ms = fixture.clock.now_ms();
    fixture.broker().save_metadata();
    let file = Disk::Sim(fixture.sim.clone())
        .read("/store/config/transactionMetrics".as_ref())
        .unwrap();
    let counts: protocol::bodies::TransactionCounts =
        protocol::fastjson::from_slice(&file).unwrap();
    let count = counts.transaction_count["Orders"];
    assert_eq!((count.count, count.time_stamp), (1, now_ms));
    fixture.stop().await;
}

/// A power cut may come between a committed message and its op message, and Apache writes the second one seconds later.
#[tokio::test]
async fn a_message_without_its_op_message_is_not_delivered_again() {
    let fixture = Fixture::start().await;
    let producer = Producer::of(&fixture).await;
    let now_ms = fixture.clock.now_ms();
    let mut halves = Vec::new();
    for (key, more) in [("A", ""), ("B", "DELAY\u{1}18\u{2}"), ("C", "")] {
        halves.push(producer.half(key, more, now_ms).await);
    }
    for half in &halves[..2] {
        let broker = fixture.broker();
        let record = broker.store.record_at(LogOffset(half.log_offset));
        let record = record.unwrap().unwrap();
        let record = Record::decode(&record, true).unwrap().record;
        let message = super::half::committed(&record, half.log_offset).unwrap();
        broker.put(vec![message]).unwrap();
    }
    let clock = fixture.clock.clone();
    let fixture = on(fixture.stop().await, config(), clock).await;
    let producer = Producer::of(&fixture).await;
    for half in &halves {
        assert_eq!(producer.end(half, COMMIT, true).await.code, 0);
    }
    assert_eq!(bodies(&fixture, "Orders"), ["A", "C"]);
    assert_eq!(bodies(&fixture, topics::SCHEDULE), ["B"]);
    assert_eq!(ended(&fixture), "0,1,2,");
    fixture.stop().await;
}

/// Ordinary messages say that they were made of what is at log offset 0.
#[tokio::test]
async fn a_half_message_at_the_beginning_of_the_log_is_not_taken_for_delivered() {
    let fixture = Fixture::start().await;
    let producer = Producer::of(&fixture).await;
    let half = producer.half("K", "", fixture.clock.now_ms()).await;
    assert_eq!(half.log_offset, 0);
    let plain = |sys_flag| Message {
        topic: "Orders".to_owned(),
        queue_id: 0,
        sys_flag,
        prepared_transaction_offset: 0,
        properties: b"UNIQ_KEY\x01other\x02".to_vec(),
        body: bytes::Bytes::from_static(b"plain"),
        ..messages(&fixture, topics::HALF).remove(0)
    };
    // A client may set the flag of a committed message itself.
    fixture.broker().put(vec![plain(0), plain(8)]).unwrap();
    let clock = fixture.clock.clone();
    let fixture = on(fixture.stop().await, config(), clock).await;
    let producer = Producer::of(&fixture).await;
    assert_eq!(producer.end(&half, COMMIT, true).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["K", "plain", "plain"]);
    fixture.stop().await;
}

/// With async flush a power cut takes the end of the log: then nothing may have been saved that relies on it.
#[tokio::test]
async fn what_a_power_cut_takes_is_asked_after() {
    let mut config = config();
    config.flush_interval = Duration::from_secs(3_600);
    let fixture = Fixture::on(SimDisk::new(1), config.clone()).await;
    let producer = Producer::of(&fixture).await;
    let half = producer.half("K", "", fixture.clock.now_ms()).await;
    fixture.broker().flush();
    assert_eq!(producer.end(&half, COMMIT, false).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["K"]);
    fixture.broker().save_metadata();
    let fixture = after(fixture, CrashKeep::None, config).await;
    assert!(bodies(&fixture, "Orders").is_empty());
    let mut producer = Producer::of(&fixture).await;
    fixture.clock.advance(30_000);
    let asked = producer.asked().await;
    assert_eq!(producer.end(&asked.half, COMMIT, true).await.code, 0);
    assert_eq!(bodies(&fixture, "Orders"), ["K"]);
    fixture.stop().await;
}
