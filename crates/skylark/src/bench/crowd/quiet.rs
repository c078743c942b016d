//! Connections that do nothing, or next to nothing: each sends a message from time to time.

use std::time::Duration;

use remoting::Connection;
use remoting::clock::monotonic;
use tokio::task::JoinSet;
use tokio::time::Interval;

use super::{QUEUES, done, name, send};

/// Topics that they send to.
const TOPICS: u32 = 100;

/// Topics must be there before many connections send to them at once.
pub(super) async fn make_topics(first: &Connection) -> anyhow::Result<()> {
    for number in 0..TOPICS {
        done(send(first, &topic(number), QUEUES, "").await?)?;
    }
    Ok(())
}

fn topic(number: u32) -> String {
    name("QuietTopic", number % TOPICS)
}

/// Each of `connections` sends once every `period`, all of them evenly over it. Ends with the first error.
pub(super) async fn send_now_and_then(
    connections: Vec<Connection>,
    period: Duration,
) -> anyhow::Result<()> {
    let (start, count) = (monotonic(), connections.len() as u32);
    let mut senders = JoinSet::new();
    for (connection, number) in connections.into_iter().zip(0..) {
        let turns = tokio::time::interval_at(start + period * number / count, period);
        senders.spawn(send_each(connection, topic(number), turns));
    }
    match senders.join_next().await {
        Some(ended) => ended?,
        None => std::future::pending().await,
    }
}

async fn send_each(
    connection: Connection,
    topic: String,
    mut turns: Interval,
) -> anyhow::Result<()> {
    loop {
        turns.tick().await;
        done(send(&connection, &topic, QUEUES, "").await?)?;
    }
}
