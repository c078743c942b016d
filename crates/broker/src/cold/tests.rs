//! A disk that takes its time: who waits for it, and who does not.

use std::sync::Arc;
use std::time::Duration;

use protocol::codes::request::{PULL_MESSAGE, VIEW_MESSAGE_BY_ID};
use remoting::{Body, Call};
use store::disk::{FaultOn, SimDisk};
use tokio::runtime::{Builder, Runtime};

use crate::limits;
use crate::testing::{Client, Fixture, Raw, bodies, config, field, send};

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
        let all_wait = async {
            while self.sim.waiting() < limits::COLD_READS_MAX {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, all_wait).await;
        let waiting = self.sim.waiting();
        assert!(waited.is_ok(), "{waiting} reads wait for the disk");
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        // A test that failed must not wait for ever.
        self.sim.release();
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// A pull of one message that is on its way when this returns.
fn pull(client: &Client, offset: usize) -> Call {
    let offset = offset.to_string();
    let fields = [
        ("consumerGroup", "G"),
        ("topic", "Orders"),
        ("queueId", "0"),
        ("queueOffset", offset.as_str()),
        ("maxMsgNums", "1"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "15000"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    let limit = Duration::from_secs(60);
    client
        .connection
        .call(PULL_MESSAGE, &Raw(&fields), Body::None, limit)
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

#[tokio::test]
async fn what_reads_one_message_by_its_place_holds_up_only_its_connection() {
    let slow = Slow::start().await;
    let other = slow.client().await;
    let mut cold = Vec::new();
    // More than there are workers, each on a connection of its own.
    for _ in 0..3 {
        let client = slow.client().await;
        let fields = [("offset", "0")];
        let (limit, raw) = (Duration::from_secs(60), Raw(&fields));
        let call = client
            .connection
            .call(VIEW_MESSAGE_BY_ID, &raw, Body::None, limit);
        cold.push((client, call));
    }
    let all_wait = async {
        while slow.sim.waiting() < cold.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(LIMIT, all_wait).await;
    let waiting = slow.sim.waiting();
    assert!(waited.is_ok(), "{waiting} reads wait for the disk");
    live(&other, "on another connection").await;

    slow.sim.release();
    for (_client, call) in cold {
        assert_eq!(bodies(&call.await.unwrap()), ["cold 0"]);
    }
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
