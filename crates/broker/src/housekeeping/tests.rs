//! What is saved, and when not.

use std::path::Path;

use protocol::codes::request;
use store::Disk;
use store::disk::{Fault, FaultError, FaultOn};

use crate::testing::{Fixture, beat, send};

#[tokio::test]
async fn offsets_are_not_ahead_of_a_log_that_can_not_be_flushed() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    client
        .ask(request::HEART_BEAT, &beat("c", "G", "*", 1))
        .await;
    fixture.sim.fail(Fault {
        on: FaultOn::Sync,
        path: "commitlog".to_owned(),
        after: 0,
        error: FaultError::Io,
        sticky: true,
    });
    send(&client, 0, "t", "may be lost").await;
    let fields = [
        ("consumerGroup", "G"),
        ("topic", "Orders"),
        ("queueId", "0"),
        ("commitOffset", "1"),
    ];
    client
        .check(request::UPDATE_CONSUMER_OFFSET, &fields, "", (0, ""))
        .await;
    fixture.broker().save_metadata();
    let disk = Disk::Sim(fixture.sim.clone());
    let saved = disk.read(Path::new("/store/config/consumerOffset.json"));
    let saved = String::from_utf8(saved.unwrap_or_default()).unwrap();
    assert!(!saved.contains("Orders@G"), "{saved}");
}
