//! A disk that takes its time: who waits for it, and who does not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::codes::request::{
    ACK_MESSAGE, POP_MESSAGE, PULL_MESSAGE, SEND_MESSAGE_V2, VIEW_MESSAGE_BY_ID,
};
use remoting::{Body, Call};
use store::disk::{FaultOn, SimDisk};
use tokio::runtime::{Builder, Runtime};

use crate::broker::Broker;
use crate::limits;
use crate::testing::{Client, Fixture, Raw, bodies, config, field, send, send_fields};

/// What is answered without the disk comes long before, what waits for it never while it is held.
const LIMIT: Duration = Duration::from_secs(10);
const PULLS: usize = 2 * limits::COLD_READS_MAX;

/// A broker on a runtime of its own with two workers, so that a test goes on when both of them wait. Its log has messages that
/// are not in memory.
struct Slow {
    runtime: Option<Runtime>,
    fixture: Option<Fixture>,
    sim: Arc<SimDisk>,
}

impl Slow {
    async fn start() -> Slow {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut config = config();
        // Its thread reads the log too.
        config.store.index_enabled = false;
        let filled = Fixture::on(SimDisk::new(1), config.clone()).await;
        let client = filled.client().await;
        for number in 0..PULLS {
            send(&client, 0, "t", &format!("cold {number}")).await;
        }
        drop(client);
        let sim = filled.stop().await;
        let started = runtime.spawn(Fixture::on(sim.clone(), config));
        let fixture = started.await.unwrap();
        sim.hold(FaultOn::Read, "/commitlog/");
        Slow {
            runtime: Some(runtime),
            fixture: Some(fixture),
            sim,
        }
    }

    async fn client(&self) -> Client {
        self.fixture.as_ref().unwrap().client().await
    }

    /// Until as many reads wait as may.
    async fn crowded(&self) {
        self.waiting(limits::COLD_READS_MAX).await;
    }

    /// Until so many reads wait.
    async fn waiting(&self, count: usize) {
        let all_wait = async {
            while self.sim.waiting() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, all_wait).await;
        let waiting = self.sim.waiting();
        assert!(waited.is_ok(), "{waiting} reads wait for the disk");
    }

    fn broker(&self) -> &Broker {
        self.fixture.as_ref().unwrap().broker()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        // A test that failed must not wait for ever.
        self.sim.release();
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// A request that is on its way when this returns.
fn ask(client: &Client, code: i32, fields: &[(&str, &str)]) -> Call {
    let (limit, fields) = (Duration::from_secs(60), Raw(fields));
    client.connection.call(code, &fields, Body::None, limit)
}

/// A pull of one message.
fn pull(client: &Client, offset: usize) -> Call {
    pull_as(client, offset, "4")
}

/// The same with other flags.
fn pull_as(client: &Client, offset: usize, sys_flag: &str) -> Call {
    let offset = offset.to_string();
    let fields = [
        ("consumerGroup", "G"),
        ("topic", "Orders"),
        ("queueId", "0"),
        ("queueOffset", offset.as_str()),
        ("maxMsgNums", "1"),
        ("sysFlag", sys_flag),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "15000"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    ask(client, PULL_MESSAGE, &fields)
}

/// A send and a pull of what was sent.
async fn live(client: &Client, body: &str) {
    let going = async {
        let sent = send(client, 0, "t", body).await;
        let offset = field(&sent, "queueOffset").unwrap();
        let pulled = pull(client, offset.parse().unwrap()).await.unwrap();
        assert_eq!(bodies(&pulled), [body]);
    };
    let went = tokio::time::timeout(LIMIT, going).await;
    assert!(went.is_ok(), "{body} waited for somebody else's disk");
}

#[tokio::test]
async fn pulls_that_wait_for_the_disk_hold_up_nobody_else() {
    let slow = Slow::start().await;
    let (behind, other) = (slow.client().await, slow.client().await);
    let cold: Vec<Call> = (0..PULLS).map(|offset| pull(&behind, offset)).collect();
    slow.crowded().await;
    live(&other, "on another connection").await;
    live(&behind, "on the same connection").await;
    assert_eq!(slow.sim.waiting(), limits::COLD_READS_MAX);

    slow.sim.release();
    for (offset, call) in cold.into_iter().enumerate() {
        let reply = call.await.unwrap();
        assert_eq!(bodies(&reply), [format!("cold {offset}")]);
    }
}

/// A send that is on its way when this returns.
fn send_one(client: &Client) -> Call {
    let fields = send_fields("0", "TAGS\u{1}t\u{2}");
    let (limit, body) = (Duration::from_secs(60), Bytes::from_static(b"body"));
    let header = Raw(&fields);
    client
        .connection
        .call(SEND_MESSAGE_V2, &header, body, limit)
}

#[tokio::test]
async fn what_reads_one_message_by_its_place_holds_up_nobody_else() {
    let slow = Slow::start().await;
    let other = slow.client().await;
    let (mut busy, mut cold) = (Vec::new(), Vec::new());
    // As many busy connections as there are workers: each asks for more than a turn is needed for.
    for _ in 0..2 {
        let client = slow.client().await;
        for _ in 0..40 {
            cold.push(ask(&client, VIEW_MESSAGE_BY_ID, &[("offset", "0")]));
        }
        slow.crowded().await;
        live(&client, "on the same connection").await;
        busy.push(client);
    }
    let sends: Vec<Call> = (0..64).map(|_| send_one(&other)).collect();
    for sent in sends {
        let sent = tokio::time::timeout(LIMIT, sent).await;
        assert_eq!(sent.expect("in time").unwrap().code, 0);
    }

    slow.sim.release();
    for call in cold {
        assert_eq!(bodies(&call.await.unwrap()), ["cold 0"]);
    }
}

#[tokio::test]
async fn pops_that_wait_for_the_disk_hold_up_nobody_else() {
    let slow = Slow::start().await;
    let (client, other) = (slow.client().await, slow.client().await);
    let groups = ["g0", "g1", "g2"];
    let pops = groups.map(|group| {
        let fields = [
            ("consumerGroup", group),
            ("topic", "Orders"),
            ("queueId", "0"),
            ("maxMsgNums", "1"),
            ("invisibleTime", "10000"),
            ("pollTime", "0"),
            ("bornTime", "0"),
            ("initMode", "0"),
            ("order", "true"),
        ];
        ask(&client, POP_MESSAGE, &fields)
    });
    slow.waiting(groups.len()).await;
    // They wait until their queue is free again, in more groups than there are workers.
    let acks = groups.map(|group| {
        let fields = [
            ("consumerGroup", group),
            ("topic", "Orders"),
            ("queueId", "0"),
            ("extraInfo", "0 0 10000 999 0 broker-a 0 0"),
            ("offset", "0"),
        ];
        ask(&client, ACK_MESSAGE, &fields)
    });
    live(&other, "on another connection").await;
    live(&client, "on the same connection").await;

    slow.sim.release();
    for call in pops {
        assert_eq!(bodies(&call.await.unwrap()), ["cold 0"]);
    }
    for call in acks {
        assert_eq!(call.await.unwrap().code, 0);
    }
}

#[tokio::test]
async fn nothing_is_read_for_who_is_gone() {
    let slow = Slow::start().await;
    let (gone, other) = (slow.client().await, slow.client().await);
    // At the end of the queue, by a client that agrees to wait.
    let mut calls = vec![pull_as(&gone, PULLS, "6")];
    // The threads take them in this order.
    calls.extend((0..PULLS).map(|offset| pull(&gone, offset)));
    slow.crowded().await;
    let broker = slow.broker();
    assert_eq!(broker.holding(), 1);
    drop((calls, gone));
    // The hold ends with its connection.
    let ended = async {
        while broker.holding() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.unwrap();
    let fields = [("offset", "0")];
    let last = ask(&other, VIEW_MESSAGE_BY_ID, &fields);
    slow.sim.release();
    assert_eq!(bodies(&last.await.unwrap()), ["cold 0"]);
    let read = broker.pulled.last("G", "Orders", 0).unwrap();
    assert!(
        read.0 <= limits::COLD_READS_MAX as i64,
        "read up to {read:?}"
    );
}

#[tokio::test]
async fn a_shutdown_waits_for_reads_under_way() {
    let mut slow = Slow::start().await;
    let client = slow.client().await;
    let cold: Vec<Call> = (0..PULLS).map(|offset| pull(&client, offset)).collect();
    slow.crowded().await;
    let fixture = slow.fixture.take().unwrap();
    let mut stopping = slow.runtime.as_ref().unwrap().spawn(fixture.stop());
    let early = tokio::time::timeout(Duration::from_millis(100), &mut stopping).await;
    assert!(early.is_err(), "it stopped with reads under way");

    slow.sim.release();
    for (offset, call) in cold.into_iter().enumerate() {
        let reply = call.await.unwrap();
        assert_eq!(bodies(&reply), [format!("cold {offset}")]);
    }
    tokio::time::timeout(LIMIT, stopping)
        .await
        .unwrap()
        .unwrap();
}
