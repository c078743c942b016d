//! What waiting pulls cost: a process of its own, so that its memory is only theirs.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Config};
use protocol::QueueOffset;
use protocol::codes::request::PULL_MESSAGE;
use protocol::headers::pull::PullMessage;
use protocol::text::Text;
use remoting::clock::Clock;
use remoting::{Body, Limits, NoRequests};
use store::disk::{Disk, SimDisk};

const HOLDS: usize = 10_000;

/// Resident memory of this process, in bytes.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

fn pull() -> PullMessage<'static> {
    PullMessage {
        consumer_group: Text::plain("G"),
        topic: Text::plain("BenchmarkTest"),
        queue_id: 0,
        queue_offset: QueueOffset(0),
        max_msg_nums: 32,
        sys_flag: 6,
        commit_offset: QueueOffset(0),
        suspend_timeout_millis: 30_000,
        subscription: Some(Text::plain("*")),
        sub_version: Some(0),
        expression_type: Some(Text::plain("TAG")),
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
    }
}

/// Both ends of the connections are in this process, so the broker's share is smaller still.
#[tokio::test]
async fn ten_thousand_waiting_pulls_take_less_than_64_mib() {
    let mut config = Config::new("/store");
    config.advertised_host = Some("127.0.0.1".into());
    config.listen_port = 0;
    config.store.log_file_bytes = 1 << 20;
    config.message_bytes_max = 1 << 16;
    let running = Broker::start(config, Disk::Sim(SimDisk::new(1)), Clock::System)
        .await
        .unwrap();
    let addr = running.addrs()[0].to_string();
    let mut connections = Vec::new();
    for _ in 0..10 {
        connections.push(
            remoting::connect(&addr, Arc::new(NoRequests), &Limits::default())
                .await
                .unwrap(),
        );
    }
    let before = resident().expect("Linux has /proc");
    let mut calls = Vec::new();
    for index in 0..HOLDS {
        let connection = &connections[index % connections.len()];
        calls.push(connection.call(PULL_MESSAGE, &pull(), Body::None, Duration::from_secs(60)));
    }
    while running.broker().holding() < HOLDS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let taken = resident().expect("Linux has /proc").saturating_sub(before);
    assert!(taken < 64 << 20, "{taken} bytes for {HOLDS} waiting pulls");
    println!("{} bytes for each waiting pull, both ends", taken / HOLDS);
    drop(calls);
    drop(connections);
    running.shutdown().await.unwrap();
}
