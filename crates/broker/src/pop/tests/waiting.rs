//! Pops and notifications that wait.

use std::time::Duration;

use protocol::codes::request;

use super::{POP, Pop, ack, advance, bodies, messages, with_messages};
use crate::pop::order::GroupQueue;
use crate::testing::{Client, Fixture, Raw, field, send, settle};

const WAITING: Pop<'static> = Pop {
    poll_ms: 10_000,
    ..POP
};

async fn waits(fixture: &Fixture, count: usize) {
    while fixture.broker().pops.waiting() != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_message_wakes_one() {
    let (fixture, client) = with_messages(&["0"]).await;
    assert_eq!(POP.now(&client).await.len(), 1);
    let others = [fixture.client().await, fixture.client().await];
    let wakes = async {
        waits(&fixture, 2).await;
        send(&client, 2, "a", "1").await;
        waits(&fixture, 1).await;
        send(&client, 3, "a", "2").await;
    };
    let (first, second, ()) =
        tokio::join!(WAITING.call(&others[0]), WAITING.call(&others[1]), wakes);
    let mut got = [messages(&first), messages(&second)].concat();
    got.sort_by(|one, other| one.body.cmp(&other.body));
    assert_eq!(bodies(&got), ["1", "2"]);
    fixture.stop().await;
}

#[tokio::test]
async fn nothing_comes() {
    let (fixture, client) = with_messages(&["0"]).await;
    assert_eq!(POP.now(&client).await.len(), 1);
    let late = async {
        waits(&fixture, 1).await;
        fixture.clock.advance(9_950);
    };
    let (reply, ()) = tokio::join!(WAITING.call(&client), late);
    assert_eq!(
        (reply.code, reply.remark.as_deref()),
        (210, Some("NO_MESSAGE_IN_QUEUE"))
    );
    assert_eq!(field(&reply, "restNum").as_deref(), Some("0"));
    waits(&fixture, 0).await;
    fixture.stop().await;
}

#[tokio::test]
async fn what_comes_back_wakes_too() {
    let (fixture, client) = with_messages(&["0"]).await;
    let short = Pop {
        invisible_ms: 3_000,
        ..POP
    };
    assert_eq!(short.now(&client).await.len(), 1);
    let back = async {
        waits(&fixture, 1).await;
        advance(&fixture, 3_000).await;
    };
    let (reply, ()) = tokio::join!(WAITING.call(&client), back);
    assert_eq!(
        (bodies(&messages(&reply)), messages(&reply)[0].times),
        (vec!["0"], 1)
    );
    fixture.stop().await;
}

#[tokio::test]
async fn a_freed_queue_wakes() {
    let (fixture, client) = with_messages(&["1", "2"]).await;
    let order = Pop {
        order: true,
        max: 1,
        attempt: "a",
        ..WAITING
    };
    let got = order.now(&client).await;
    let other = Pop {
        attempt: "b",
        ..order
    };
    let waiting = fixture.client().await;
    let acks = async {
        waits(&fixture, 1).await;
        ack(&client, "g", &got[0], (0, "")).await;
    };
    let (reply, ()) = tokio::join!(other.call(&waiting), acks);
    assert_eq!(bodies(&messages(&reply)), ["2"]);
    let third = Pop {
        attempt: "c",
        ..order
    };
    let time = async {
        waits(&fixture, 1).await;
        advance(&fixture, 10_000).await;
    };
    // The wait ends before the queue is free, unless the client gives it longer.
    let third = Pop {
        poll_ms: 20_000,
        ..third
    };
    let (reply, ()) = tokio::join!(third.call(&waiting), time);
    assert_eq!(bodies(&messages(&reply)), ["2"]);
    fixture.stop().await;
}

#[tokio::test]
async fn too_many_are_told_so() {
    let fixture = Fixture::with(|config| config.pop.waiting_max = 1).await;
    let client = fixture.client().await;
    send(&client, 0, "a", "0").await;
    assert_eq!(POP.now(&client).await.len(), 1);
    let other = fixture.client().await;
    let too_many = async {
        waits(&fixture, 1).await;
        let reply = WAITING.call(&other).await;
        assert_eq!(reply.code, 209);
        let reply = notification(&other, "g", 10_000).await;
        assert_eq!(reply, (false, true));
        send(&other, 0, "a", "1").await;
    };
    let (reply, ()) = tokio::join!(WAITING.call(&client), too_many);
    assert_eq!(bodies(&messages(&reply)), ["1"]);
    fixture.stop().await;
}

async fn notification(client: &Client, group: &str, poll_ms: i64) -> (bool, bool) {
    let poll = poll_ms.to_string();
    let fields = [
        ("consumerGroup", group),
        ("topic", "Orders"),
        ("queueId", "-1"),
        ("pollTime", &poll),
        ("bornTime", "0"),
    ];
    let reply = client
        .call(request::NOTIFICATION, &Raw(&fields), remoting::Body::None)
        .await;
    assert_eq!(reply.code, 0);
    let flag = |name| field(&reply, name).as_deref() == Some("true");
    (flag("hasMsg"), flag("pollingFull"))
}

#[tokio::test]
async fn notifications_take_nothing() {
    let (fixture, client) = with_messages(&["0"]).await;
    assert_eq!(notification(&client, "g", 0).await, (true, false));
    assert_eq!(POP.now(&client).await.len(), 1);
    assert_eq!(notification(&client, "g", 0).await, (false, false));
    let other = fixture.client().await;
    let message = async {
        waits(&fixture, 1).await;
        send(&other, 1, "a", "1").await;
    };
    let (noticed, ()) = tokio::join!(notification(&client, "g", 10_000), message);
    assert_eq!(noticed, (true, false));
    assert_eq!(bodies(&POP.now(&client).await), ["1"]);
    // What comes back is noticed as well.
    let back = async {
        waits(&fixture, 1).await;
        advance(&fixture, 10_000).await;
    };
    let (noticed, ()) = tokio::join!(notification(&client, "g", 20_000), back);
    assert_eq!(noticed, (true, false));
    fixture.stop().await;
}

/// One who is woken while another still has the queue looks again when it is let go: it was the only one told.
#[tokio::test]
async fn one_turned_away_looks_again() {
    let (fixture, client) = with_messages(&["0"]).await;
    assert_eq!(POP.now(&client).await.len(), 1);
    let pops = &fixture.broker().pops;
    let of_topic = GroupQueue {
        topic: "Orders".into(),
        group: "g".into(),
        queue_id: -1,
    };
    let take = || {
        pops.busy
            .try_take(&pops.waits, ("g", "Orders", 0), || of_topic.clone())
    };
    let guard = take().expect("nobody has it");
    let other = fixture.client().await;
    let lets_go = async {
        waits(&fixture, 1).await;
        send(&other, 0, "a", "1").await;
        settle().await;
        assert_eq!(fixture.broker().pops.waiting(), 1);
        drop(guard);
    };
    let (reply, ()) = tokio::join!(WAITING.call(&client), lets_go);
    assert_eq!(bodies(&messages(&reply)), ["1"]);
    fixture.stop().await;
}
