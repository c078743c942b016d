//! Sends on a disk that hangs, from clients that ask much and from one that asks little.

use std::time::Duration;

use store::disk::{CrashKeep, FaultOn};

use super::*;
use crate::testing::{config, pull_all};

const GREEDY: usize = 8;
const SENDS_EACH: usize = 600;
const BODY: usize = 4 << 10;

/// Lets a test that fails end.
struct Held(std::sync::Arc<store::disk::SimDisk>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Bytes that are in the log and not on the disk.
fn unsynced(fixture: &Fixture) -> i64 {
    let store = &fixture.broker().store;
    store.log_end().0 - store.durable().at()
}

async fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not come to that");
}

/// Completes when no more is appended.
async fn at_rest(fixture: &Fixture) {
    let mut seen = -1;
    while seen != unsynced(fixture) {
        seen = unsynced(fixture);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_disk_that_hangs() {
    check_a_disk_that_hangs().await;
}

/// Here a lone send waits for its sync on a worker of the runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_beside_two_workers() {
    check_a_disk_that_hangs().await;
}

async fn check_a_disk_that_hangs() {
    let sync = |config: &mut crate::Config| config.store.sync_flush = true;
    let fixture = Fixture::with(sync).await;
    let polite = fixture.client().await;
    send(&polite, &[], "first", (0, "")).await;
    fixture.sim.hold(FaultOn::Sync, "commitlog");
    let held = Held(fixture.sim.clone());
    let alone = fixture.client().await;
    let header = crate::testing::Raw(&fields(&[]));
    let patience = Duration::from_secs(20);
    let alone_waits = alone
        .connection
        .call(SEND_MESSAGE_V2, &header, b"alone".to_vec(), patience);
    eventually(|| unsynced(&fixture) > 0).await;
    let body = "x".repeat(BODY);
    let mut clients = Vec::new();
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..GREEDY {
        let client = fixture.client().await;
        for _ in 0..SENDS_EACH {
            let body = body.clone().into_bytes();
            answers.spawn(
                client
                    .connection
                    .call(SEND_MESSAGE_V2, &header, body, patience),
            );
        }
        clients.push(client);
    }

    // Of some 20 MiB that are under way, one is taken, and of each connection what it may always have and what came with
    // one read.
    eventually(|| unsynced(&fixture) >= 800 << 10).await;
    at_rest(&fixture).await;
    let taken = unsynced(&fixture);
    assert!(
        (800 << 10..(1 << 20) + GREEDY as i64 * (80 << 10)).contains(&taken),
        "{taken} bytes are taken"
    );
    // Who has little under way is let in all the same.
    let little = polite
        .connection
        .call(SEND_MESSAGE_V2, &header, b"little".to_vec(), patience);
    eventually(|| unsynced(&fixture) > taken).await;

    // Until it takes too long: then it is told why, at once.
    fixture.clock.advance(1_000);
    assert_eq!(fixture.broker().refused_busy(), 0);
    let cause = format!(
        "[FLOW_CONTROL]the message was not stored: the disk has not finished a sync for 1000 ms, limit 1000 ms; {} bytes of messages wait for it",
        unsynced(&fixture)
    );
    send(&polite, &[], "refused", (2, &cause)).await;
    assert_eq!(fixture.broker().refused_busy(), 1);

    // And all goes on by itself.
    drop(held);
    for waits in [alone_waits, little] {
        assert_eq!(waits.await.unwrap().code, 0);
    }
    while let Some(answer) = answers.join_next().await {
        let reply = answer.unwrap().unwrap();
        assert_eq!(reply.code, 0, "{:?}", reply.remark);
    }
    send(&polite, &[], "last", (0, "")).await;

    let mut config = config();
    sync(&mut config);
    let sim = fixture.sim.crash(CrashKeep::None);
    drop(clients);
    fixture.stop().await;
    let after = Fixture::on(sim, config).await;
    let kept = pull_all(after.broker(), "Orders", 0).len();
    assert_eq!(kept, GREEDY * SENDS_EACH + 4, "what was acknowledged");
    after.stop().await;
}
