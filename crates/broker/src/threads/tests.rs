//! Threads: turns, the last one, the bell, and one that fails.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tokio::sync::watch;

use super::{Bell, Threads};

const FOREVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(10);

fn threads() -> (Threads, watch::Receiver<Option<String>>) {
    let (failed, failure) = watch::channel(None);
    (Threads::new(failed), failure)
}

#[test]
fn a_turn_comes_every_period_and_a_stop_does_not_wait_for_it() {
    let (mut threads, _) = threads();
    let (turned, turns) = channel();
    threads
        .every("test", Duration::from_millis(1), move || {
            turned.send(()).unwrap()
        })
        .unwrap();
    for _ in 0..3 {
        turns.recv_timeout(SOON).unwrap();
    }
    threads
        .every("lazy", FOREVER, || panic!("not its time"))
        .unwrap();
    threads.join();
}

#[test]
fn a_turn_comes_when_the_bell_rings() {
    let (mut threads, _) = threads();
    let bell = Arc::new(Bell::default());
    let (rung, turns) = channel();
    threads
        .on_bell("bell", &bell, None, move || rung.send(()).unwrap())
        .unwrap();
    for _ in 0..100 {
        bell.ring();
        turns.recv_timeout(SOON).unwrap();
    }
    threads.join();
    assert!(turns.recv_timeout(SOON).is_ok(), "once more at the end");
}

#[tokio::test]
async fn a_thread_that_fails_is_reported() {
    let (mut threads, mut failure) = threads();
    threads
        .every("doomed", Duration::from_millis(1), || panic!("on purpose"))
        .unwrap();
    let reported = tokio::time::timeout(SOON, failure.wait_for(Option::is_some)).await;
    let reported = reported
        .expect("in time")
        .expect("the sender lives")
        .clone();
    assert_eq!(reported.as_deref(), Some("\"doomed\" failed"));
    threads.join();
}

#[test]
fn threads_end_with_their_owner() {
    let (mut threads, _) = threads();
    let bell = Arc::new(Bell::default());
    threads.on_bell("bell", &bell, None, || ()).unwrap();
    threads.every("lazy", FOREVER, || ()).unwrap();
    drop(threads);
    assert_eq!(Arc::strong_count(&bell), 1);
}
