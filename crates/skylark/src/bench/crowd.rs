//! `skylark bench crowd`: what a broker has besides the load that is measured: consumers that wait, messages that are not due yet,
//! connections that do little. Stays until it is ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use protocol::QueueOffset;
use protocol::bodies::{ConsumerData, Heartbeat, SubscriptionData};
use protocol::codes::{request, response};
use protocol::command::{Header, NoHeader};
use protocol::fastjson;
use protocol::headers::pull::PullMessage;
use protocol::headers::send::SendMessageV2;
use protocol::properties;
use protocol::text::Text;
use remoting::clock::Clock;
use remoting::{Body, Connection, Limits, NoRequests, Reply};
use tokio::task::JoinSet;

use crate::{say, serve};

mod quiet;

/// As Java clients do.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(30);
const HOLD_MS: i64 = 15_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Queues that a group's members share: as many as a new topic gets.
const QUEUES: i32 = 8;
/// Sends under way at once.
const IN_FLIGHT: u32 = 256;
/// Messages to come are due from then on, over an hour: none while something is measured.
const DUE_AFTER_MS: i64 = 600_000;
const DUE_WITHIN_MS: i64 = 3_600_000;

#[derive(Args)]
pub(super) struct Crowd {
    /// Address of the broker
    #[arg(long, value_name = "ADDR")]
    broker: String,
    /// Consumers, each with a connection, heartbeats and a pull that waits
    #[arg(long, default_value_t = 1000)]
    consumers: u32,
    /// Groups that they are shared among, each with a topic of its own
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    groups: u32,
    /// Messages that are due in ten minutes to an hour (TIMER_DELIVER_MS)
    #[arg(long, default_value_t = 100_000)]
    timers: u32,
    /// Connections besides these
    #[arg(long, default_value_t = 0)]
    connections: u32,
    /// Seconds between two messages of one of them; 0: they send none
    #[arg(long, default_value_t = 0)]
    every: u32,
}

impl Crowd {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        serve::raise_file_limit();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.gather())
    }

    async fn gather(&self) -> anyhow::Result<()> {
        let first = self.connect().await?;
        for group in 0..self.groups.min(self.consumers) {
            let topic = name("CrowdTopic", group);
            done(send(&first, &topic, QUEUES, "").await?)?;
        }
        self.send_timers(&first).await?;
        let mut consumers = JoinSet::new();
        for number in 0..self.consumers {
            let consumer = Consumer {
                connection: self.connect().await?,
                client_id: name("crowd", number),
                group: name("CrowdGroup", number % self.groups),
                topic: name("CrowdTopic", number % self.groups),
                queue_id: (number / self.groups) as i32 % QUEUES,
            };
            consumer.beat().await?;
            consumers.spawn(consumer.wait());
        }
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(self.connect().await?);
        }
        if self.every > 0 {
            quiet::make_topics(&first).await?;
        }
        say("ready\n")?;
        if self.every > 0 && self.connections > 0 {
            let period = Duration::from_secs(self.every.into());
            consumers.spawn(quiet::send_now_and_then(
                std::mem::take(&mut connections),
                period,
            ));
        }
        match consumers.join_next().await {
            Some(ended) => ended?,
            None => std::future::pending().await,
        }
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let limits = Limits::default();
        Ok(remoting::connect(&self.broker, Arc::new(NoRequests), &limits).await?)
    }

    async fn send_timers(&self, connection: &Connection) -> anyhow::Result<()> {
        let from_ms = Clock::System.now_ms() + DUE_AFTER_MS;
        let mut sent = 0;
        while sent < self.timers {
            let until = self.timers.min(sent + IN_FLIGHT);
            let calls: Vec<_> = (sent..until)
                .map(|number| {
                    let share = i64::from(number) * DUE_WITHIN_MS / i64::from(self.timers);
                    let mut text = Vec::new();
                    let due = (from_ms + share).to_string();
                    properties::append(&mut text, properties::TIMER_DELIVER_MS, &due);
                    let text = String::from_utf8(text).unwrap_or_default();
                    send(connection, &name("CrowdTopic", 0), QUEUES, &text)
                })
                .collect();
            for call in calls {
                done(call.await?)?;
            }
            sent = until;
        }
        Ok(())
    }
}

fn name(what: &str, number: u32) -> String {
    format!("{what}-{number}")
}

fn done(reply: Reply) -> anyhow::Result<Reply> {
    let remark = reply.remark.as_deref().unwrap_or_default();
    ensure!(
        reply.code == response::SUCCESS,
        "code {}: {remark}",
        reply.code
    );
    Ok(reply)
}

/// The request has left when this returns; the answer is what is awaited.
fn send(connection: &Connection, topic: &str, queues: i32, properties: &str) -> remoting::Call {
    let header = SendMessageV2 {
        producer_group: Text::plain("crowd"),
        topic: Text::plain(topic),
        default_topic: Text::plain("TBW102"),
        default_topic_queue_nums: queues,
        queue_id: 0,
        sys_flag: 0,
        born_timestamp: Clock::System.now_ms(),
        flag: 0,
        properties: Some(Text::plain(properties)),
        reconsume_times: None,
        unit_mode: None,
        max_reconsume_times: None,
        batch: None,
        broker_name: None,
    };
    let body = Body::from(b"to come".to_vec());
    connection.call(request::SEND_MESSAGE_V2, &header, body, CALL_TIMEOUT)
}

/// One of a group: waits at the end of a queue.
struct Consumer {
    connection: Connection,
    client_id: String,
    group: String,
    topic: String,
    queue_id: i32,
}

impl Consumer {
    async fn beat(&self) -> anyhow::Result<()> {
        let heartbeat = Heartbeat {
            client_id: self.client_id.clone(),
            consumer_data_set: vec![ConsumerData {
                group_name: self.group.clone(),
                subscription_data_set: vec![SubscriptionData {
                    topic: self.topic.clone(),
                    sub_string: "*".to_owned(),
                    sub_version: 1,
                    ..SubscriptionData::default()
                }],
                ..ConsumerData::default()
            }],
            ..Heartbeat::default()
        };
        let body = Body::from(fastjson::to_vec(&heartbeat));
        done(self.call(request::HEART_BEAT, &NoHeader, body).await?)?;
        Ok(())
    }

    async fn call<'h>(
        &self,
        code: i32,
        header: &impl Header<'h>,
        body: Body,
    ) -> anyhow::Result<Reply> {
        let call = self.connection.call(code, header, body, CALL_TIMEOUT);
        call.await
            .with_context(|| format!("{} {code}", self.client_id))
    }

    async fn wait(self) -> anyhow::Result<()> {
        let mut beats = tokio::time::interval(HEARTBEAT_PERIOD);
        beats.tick().await;
        loop {
            let pull = self.pull();
            tokio::pin!(pull);
            loop {
                tokio::select! {
                    pulled = &mut pull => { pulled?; break }
                    _ = beats.tick() => self.beat().await?,
                }
            }
        }
    }

    /// A pull at the end of its queue, which nobody sends to.
    async fn pull(&self) -> anyhow::Result<()> {
        let offset = QueueOffset(i64::from(self.queue_id == 0));
        let header = PullMessage {
            consumer_group: Text::plain(&self.group),
            topic: Text::plain(&self.topic),
            queue_id: self.queue_id,
            queue_offset: offset,
            max_msg_nums: 32,
            sys_flag: 2,
            commit_offset: offset,
            suspend_timeout_millis: HOLD_MS,
            subscription: None,
            sub_version: Some(1),
            expression_type: None,
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
        };
        let reply = self
            .call(request::PULL_MESSAGE, &header, Body::None)
            .await?;
        let code = reply.code;
        ensure!(
            code == response::PULL_NOT_FOUND,
            "{}: code {code}",
            self.topic
        );
        Ok(())
    }
}
