//! Waiting for a time of day.

use std::time::Duration;

use super::Clock;

#[tokio::test]
async fn a_time_that_has_come_is_not_waited_for() {
    Clock::System.reached(0).await;
    Clock::manual(5).reached(5).await;
}

#[tokio::test]
async fn is_never_early() {
    let clock = Clock::System;
    let due = clock.now_ms() + 30;
    clock.reached(due).await;
    assert!(clock.now_ms() >= due);
}

#[tokio::test]
async fn a_manual_clock_wakes_who_waits_when_it_is_turned() {
    let clock = Clock::manual(5);
    let waiting = tokio::spawn({
        let clock = clock.clone();
        async move { clock.reached(7).await }
    });
    clock.advance(1);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!waiting.is_finished());
    clock.advance(1);
    waiting.await.unwrap();
}
