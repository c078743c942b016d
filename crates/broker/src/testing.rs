//! A broker on a simulated disk and a real socket, and requests to it, for the tests of handlers.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::command::{FieldSink, Fields, Header, HeaderError, NoHeader};
use protocol::record::Record;
use protocol::text::Text;
use protocol::{LogOffset, QueueOffset};
use remoting::clock::Clock;
use remoting::{Body, Connection, Limits, Peer, Reply, Request, Service};
use store::ReadLimits;
use store::disk::{Disk, SimDisk};
use tokio::sync::mpsc;

use crate::message::Message;
use crate::{Broker, Config, Running};

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// 2026-11-22T12:00:00Z.
pub(crate) const NOW_MS: i64 = 1_795_348_800_000;

/// A header written as names and values, so that tests can leave fields out and get them wrong.
pub(crate) struct Raw<'a>(pub(crate) &'a [(&'a str, &'a str)]);

impl<'a> Header<'a> for Raw<'a> {
    fn decode(_: Fields<'a>) -> Result<Self, HeaderError> {
        Ok(Raw(&[]))
    }

    fn encode(&self, out: &mut FieldSink<'_>) {
        for (name, value) in self.0 {
            out.echo(Text::plain(name), Text::plain(value));
        }
    }
}

/// A running broker with its disk and clock.
pub(crate) struct Fixture {
    pub(crate) running: Running,
    pub(crate) sim: Arc<SimDisk>,
    pub(crate) clock: Clock,
}

/// A configuration with small files and a port of its own.
pub(crate) fn config() -> Config {
    let mut config = Config::new("/store");
    config.broker_name = "broker-a".into();
    config.advertised_host = Some("127.0.0.1".into());
    config.bind_address = "127.0.0.1".parse().unwrap();
    config.listen_port = 0;
    config.store.log_file_bytes = 8 << 20;
    config.store.queue_file_bytes = 20_000;
    config.store.index_slots = 100;
    config.store.index_entries_max = 400;
    config
}

impl Fixture {
    pub(crate) async fn start() -> Fixture {
        Fixture::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Fixture {
        let mut config = config();
        change(&mut config);
        Fixture::on(SimDisk::new(1), config).await
    }

    pub(crate) async fn on(sim: Arc<SimDisk>, config: Config) -> Fixture {
        Fixture::on_at(sim, config, NOW_MS).await
    }

    pub(crate) async fn on_at(sim: Arc<SimDisk>, config: Config, now_ms: i64) -> Fixture {
        let clock = Clock::manual(now_ms);
        let running = Broker::start(config, Disk::Sim(sim.clone()), clock.clone())
            .await
            .expect("the broker starts");
        Fixture {
            running,
            sim,
            clock,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.running.addrs()[0].to_string()).await
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.running.broker()
    }

    /// Stops it in order; returns what it leaves on disk.
    pub(crate) async fn stop(self) -> Arc<SimDisk> {
        self.running.shutdown().await.expect("the store closes");
        self.sim
    }
}

/// A connection to the broker, and what the broker said on it unasked.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) heard: mpsc::Receiver<(i32, String)>,
}

/// A client that does something of its own with what the broker asks.
struct Actor<F>(F);

impl<F: Fn(Request) + Send + Sync + 'static> Service for Actor<F> {
    fn handle(&self, _: &Arc<Peer>, requests: Vec<Request>) {
        requests.into_iter().for_each(&self.0);
    }

    fn closed(&self, _: &Arc<Peer>) {}
}

/// Notes each request with its code and first field.
struct Ear(Mutex<mpsc::Sender<(i32, String)>>);

impl Service for Ear {
    fn handle(&self, _: &Arc<Peer>, requests: Vec<Request>) {
        for request in requests {
            let first = request
                .header::<protocol::command::Fields<'_>>()
                .unwrap()
                .iter()
                .next()
                .map(|(_, value)| value.to_str().into_owned());
            self.0
                .lock()
                .try_send((request.code, first.unwrap_or_default()))
                .expect("few notifications");
            request.into_reply().ignore();
        }
    }

    fn closed(&self, _: &Arc<Peer>) {}
}

impl Client {
    pub(crate) async fn connect(addr: &str) -> Client {
        let (said, heard) = mpsc::channel(1_000);
        let service = Arc::new(Ear(Mutex::new(said)));
        let connection = remoting::connect(addr, service, &Limits::default())
            .await
            .expect("the broker listens");
        Client { connection, heard }
    }

    /// One that answers, or not.
    pub(crate) async fn acting(
        fixture: &Fixture,
        act: impl Fn(Request) + Send + Sync + 'static,
    ) -> Client {
        let addr = fixture.running.addrs()[0].to_string();
        let connection = remoting::connect(&addr, Arc::new(Actor(act)), &Limits::default())
            .await
            .expect("the broker listens");
        let (_, heard) = mpsc::channel(1);
        Client { connection, heard }
    }

    pub(crate) async fn call<'h>(
        &self,
        code: i32,
        header: &impl Header<'h>,
        body: impl Into<Body>,
    ) -> Reply {
        self.connection
            .call(code, header, body, CALL_TIMEOUT)
            .await
            .expect("a reply")
    }

    /// Asks with a JSON body.
    pub(crate) async fn ask(&self, code: i32, body: &str) -> Reply {
        self.call(code, &NoHeader, body.as_bytes().to_vec()).await
    }

    /// Asks with raw fields; expects this code and these words in the remark.
    pub(crate) async fn check(
        &self,
        code: i32,
        fields: &[(&str, &str)],
        body: &str,
        expect: (i32, &str),
    ) -> Reply {
        let reply = self
            .call(code, &Raw(fields), body.as_bytes().to_vec())
            .await;
        let remark = reply.remark.as_deref().unwrap_or_default();
        assert_eq!(reply.code, expect.0, "{code} {fields:?}: {remark}");
        assert!(
            remark.contains(expect.1),
            "{code} {fields:?}: remark {remark:?}, expected {:?}",
            expect.1
        );
        reply
    }
}

/// All fields of a request, as they came.
pub(crate) fn fields_of(request: &Request) -> Vec<(String, String)> {
    let text = |text: Text<'_>| text.to_str().into_owned();
    let fields = request.header::<Fields<'_>>().unwrap();
    fields
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// The value of a field of a reply.
pub(crate) fn field(reply: &Reply, name: &str) -> Option<String> {
    reply
        .header::<protocol::command::Fields<'_>>()
        .unwrap()
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_str().into_owned())
}

/// The fields of a send to a queue of `Orders`, in the short form.
pub(crate) fn send_fields<'a>(queue_id: &'a str, properties: &'a str) -> [(&'a str, &'a str); 9] {
    [
        ("a", "producers"),
        ("b", "Orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", queue_id),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties),
    ]
}

/// Sends one message to a queue of `Orders`.
pub(crate) async fn send(client: &Client, queue_id: i32, tags: &str, body: &str) -> Reply {
    let (queue_id, properties) = (queue_id.to_string(), format!("TAGS\u{1}{tags}\u{2}"));
    let fields = send_fields(&queue_id, &properties);
    client
        .check(
            protocol::codes::request::SEND_MESSAGE_V2,
            &fields,
            body,
            (0, ""),
        )
        .await
}

/// A heartbeat of one consumer group for `Orders`.
pub(crate) fn beat(client_id: &str, group: &str, expression: &str, version: i64) -> String {
    format!(
        r#"{{"clientID":"{client_id}","consumerDataSet":[{{"groupName":"{group}","consumeType":"CONSUME_PASSIVELY",
        "messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","unitMode":false,
        "subscriptionDataSet":[{{"topic":"Orders","subString":"{expression}","expressionType":"TAG","subVersion":{version}}}]}}],
        "producerDataSet":[],"heartbeatFingerprint":0,"withoutSub":false}}"#
    )
}

/// Everything in a queue: when it was stored, where in the log, and what.
pub(crate) fn stored(broker: &Broker, topic: &str, queue_id: i32) -> Vec<Stored> {
    let Some(queue) = broker.store.queue(topic, queue_id) else {
        return Vec::new();
    };
    let limits = ReadLimits {
        messages_max: 100_000,
        hot_messages_max: 100_000,
        hot_bytes_max: 100 << 20,
        hot_window_bytes: i64::MAX,
        ..ReadLimits::default()
    };
    let read = broker.store.read(&queue, queue.min(), &limits, |_| true);
    let records = read.expect("the queue can be read").records;
    let decoded = records.iter().map(|bytes| {
        let record = Record::decode(&bytes, true).expect("a record").record;
        Stored {
            at_ms: record.store_timestamp,
            log_offset: record.log_offset,
            message: Message::of(&record),
        }
    });
    decoded.collect()
}

/// A message in a queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) at_ms: i64,
    pub(crate) log_offset: LogOffset,
    pub(crate) message: Message,
}

impl Stored {
    pub(crate) fn body(&self) -> &str {
        std::str::from_utf8(&self.message.body).expect("text")
    }

    /// A property; empty if it is not there.
    pub(crate) fn property(&self, name: &str) -> &str {
        self.message.property(name).unwrap_or_default()
    }
}

/// Completes when the queue has that many messages.
pub(crate) async fn arrived(broker: &Broker, topic: &str, queue_id: i32, count: i64) {
    let queue = broker.store.queue_or_create(topic, queue_id);
    let arrival = queue.expect("a name").arrival(QueueOffset(count - 1));
    tokio::time::timeout(CALL_TIMEOUT, arrival)
        .await
        .expect("messages arrive");
}

/// Lets every task do what it can do now.
pub(crate) async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

/// The bodies of the records in an answer.
pub(crate) fn bodies(reply: &Reply) -> Vec<String> {
    let mut rest = &reply.body()[..];
    let mut bodies = Vec::new();
    while !rest.is_empty() {
        let decoded = Record::decode(rest, true).expect("whole records");
        bodies.push(String::from_utf8_lossy(decoded.record.body).into_owned());
        rest = &rest[decoded.size..];
    }
    bodies
}

/// All records of a queue.
pub(crate) fn pull_all(broker: &Broker, topic: &str, queue_id: i32) -> Vec<bytes::Bytes> {
    let mut records = Vec::new();
    let Some(queue) = broker.store.queue(topic, queue_id) else {
        return records;
    };
    let mut from = queue.min();
    while from < queue.max_visible() {
        let limits = store::ReadLimits::default();
        let read = broker.store.read(&queue, from, &limits, |_| true);
        let read = read.expect("the queue can be read");
        records.extend(read.records.iter());
        from = read.next;
    }
    records
}
