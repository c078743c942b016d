//! `skylark bench delay`: how late messages come that are sent for a later time, while many are pending.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use protocol::QueueOffset;
use protocol::codes::{request, response};
use protocol::headers::offset::{MaxOffset, OffsetResponse};
use protocol::headers::pull::{PullMessage, PullMessageResponse};
use protocol::headers::send::SendMessageV2;
use protocol::properties;
use protocol::record::Record;
use protocol::text::Text;
use remoting::clock::Clock;
use remoting::{Body, Call, Connection, Limits, NoRequests};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::say;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const HOLD_MS: i64 = 15_000;
const QUEUES: i32 = 8;
/// Sends under way at once.
const IN_FLIGHT: u64 = 256;
/// How long the last message may be waited for after it was due.
const STRAGGLE_MS: i64 = 60_000;

#[derive(Args)]
pub(super) struct Delay {
    /// Address of the broker
    #[arg(long, value_name = "ADDR")]
    broker: String,
    /// Topic to use
    #[arg(long, default_value = "SkylarkBenchDelay")]
    topic: String,
    /// Messages
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// Seconds after the start until the first one is due: all should be sent by then
    #[arg(long, default_value_t = 10)]
    after: u32,
    /// Seconds over which they come due, evenly
    #[arg(long, default_value_t = 20)]
    within: u32,
    /// Send with this delay level instead, which delays by so many ms: LEVEL:MS
    #[arg(long, value_parser = level)]
    level: Option<(u32, i64)>,
}

fn level(text: &str) -> Result<(u32, i64), String> {
    let (level, ms) = text.split_once(':').ok_or("LEVEL:MS is expected")?;
    let number = |error: std::num::ParseIntError| format!("LEVEL:MS: {error}");
    Ok((level.parse().map_err(number)?, ms.parse().map_err(number)?))
}

impl Delay {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.measure())
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let sender = self.connect().await?;
        let run = Clock::System.now_ms();
        self.finish(self.send(&sender, 0, "", run, i64::MAX))
            .await?;
        let (arrived, mut latenesses) = mpsc::channel(1024);
        let mut readers = JoinSet::new();
        for queue_id in 0..QUEUES {
            let reader = Reader {
                connection: self.connect().await?,
                topic: self.topic.clone(),
                queue_id,
                run,
                arrived: arrived.clone(),
            };
            let from = reader.end().await?;
            readers.spawn(reader.follow(from));
        }
        let began_ms = Clock::System.now_ms();
        let last_due_ms = self.send_all(&sender, run).await?;
        let sent_ms = Clock::System.now_ms() - began_ms;
        let mut late = Histogram::<u64>::new(3)?;
        let (mut early, mut got) = (0_u64, 0);
        while got < self.messages {
            let left_ms = last_due_ms + STRAGGLE_MS - Clock::System.now_ms();
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
            tokio::select! {
                Some(lateness_ms) = latenesses.recv() => {
                    got += 1;
                    early += u64::from(lateness_ms < 0);
                    late.record(u64::try_from(lateness_ms).unwrap_or(0))?;
                }
                Some(ended) = readers.join_next() => ended??,
                () = tokio::time::sleep(left) => break,
            }
        }
        let at = |quantile| late.value_at_quantile(quantile);
        let report = json!({
            "mode": "delay", "messages": self.messages, "sent_in_ms": sent_ms, "missing": self.messages - got, "early": early,
            "late_ms": { "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": late.max() },
        });
        say(&format!("{report}\n"))?;
        ensure!(
            got == self.messages,
            "{} messages did not come",
            self.messages - got
        );
        ensure!(early == 0, "{early} messages came early");
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let limits = Limits::default();
        Ok(remoting::connect(&self.broker, Arc::new(NoRequests), &limits).await?)
    }

    /// Sends them, and returns when the last one is due.
    async fn send_all(&self, sender: &Connection, run: i64) -> anyhow::Result<i64> {
        let from_ms = Clock::System.now_ms() + i64::from(self.after) * 1000;
        let mut last_due_ms = 0;
        let mut sent = 0;
        while sent < self.messages {
            let until = self.messages.min(sent + IN_FLIGHT);
            let mut calls = Vec::new();
            for number in sent..until {
                let (name, value, due_ms) = match self.level {
                    Some((level, delay_ms)) => {
                        let due_ms = Clock::System.now_ms() + delay_ms;
                        (properties::DELAY, level.to_string(), due_ms)
                    }
                    None => {
                        let share = number * u64::from(self.within) * 1000 / self.messages;
                        let due_ms = from_ms + share as i64;
                        (properties::TIMER_DELIVER_MS, due_ms.to_string(), due_ms)
                    }
                };
                let mut text = Vec::new();
                properties::append(&mut text, name, &value);
                let text = String::from_utf8(text)?;
                let queue_id = (number % QUEUES as u64) as i32;
                calls.push(self.send(sender, queue_id, &text, run, due_ms));
                last_due_ms = due_ms;
            }
            for call in calls {
                self.finish(call).await?;
            }
            sent = until;
        }
        Ok(last_due_ms)
    }

    /// A message whose body says when it is due.
    fn send(&self, sender: &Connection, queue_id: i32, text: &str, run: i64, due_ms: i64) -> Call {
        let header = SendMessageV2 {
            producer_group: Text::plain("skylark-bench"),
            topic: Text::plain(&self.topic),
            default_topic: Text::plain("TBW102"),
            default_topic_queue_nums: QUEUES,
            queue_id,
            sys_flag: 0,
            born_timestamp: Clock::System.now_ms(),
            flag: 0,
            properties: Some(Text::plain(text)),
            reconsume_times: None,
            unit_mode: None,
            max_reconsume_times: None,
            batch: None,
            broker_name: None,
        };
        let body = [run.to_be_bytes(), due_ms.to_be_bytes()].concat();
        sender.call(request::SEND_MESSAGE_V2, &header, body, CALL_TIMEOUT)
    }

    async fn finish(&self, call: Call) -> anyhow::Result<()> {
        let reply = call.await.context("no answer to a send")?;
        let remark = reply.remark.as_deref().unwrap_or_default();
        ensure!(
            reply.code == response::SUCCESS,
            "send: code {}: {remark}",
            reply.code
        );
        Ok(())
    }
}

/// Follows a queue and says of each message of this run how late it came, ms.
struct Reader {
    connection: Connection,
    topic: String,
    queue_id: i32,
    run: i64,
    arrived: mpsc::Sender<i64>,
}

impl Reader {
    async fn end(&self) -> anyhow::Result<QueueOffset> {
        let header = MaxOffset {
            topic: Text::plain(&self.topic),
            queue_id: self.queue_id,
            committed: true,
        };
        let call = self
            .connection
            .call(request::GET_MAX_OFFSET, &header, Body::None, CALL_TIMEOUT);
        let reply = call.await?;
        Ok(reply.header::<OffsetResponse>()?.offset)
    }

    async fn follow(self, mut from: QueueOffset) -> anyhow::Result<()> {
        loop {
            let header = PullMessage {
                consumer_group: Text::plain("skylark-bench"),
                topic: Text::plain(&self.topic),
                queue_id: self.queue_id,
                queue_offset: from,
                max_msg_nums: 64,
                sys_flag: 6,
                commit_offset: QueueOffset(0),
                suspend_timeout_millis: HOLD_MS,
                subscription: Some(Text::plain("*")),
                sub_version: None,
                expression_type: None,
                max_msg_bytes: None,
                request_source: None,
                proxy_forward_client_id: None,
            };
            let call =
                self.connection
                    .call(request::PULL_MESSAGE, &header, Body::None, CALL_TIMEOUT);
            let reply = call.await?;
            let now_ms = Clock::System.now_ms();
            let mut rest = &reply.body()[..];
            while !rest.is_empty() {
                let decoded = Record::decode(rest, true)?;
                if let Some((run, due_ms)) = super::send::read_stamp(decoded.record.body)
                    && run == self.run
                {
                    self.arrived.send(now_ms - due_ms).await?;
                }
                rest = &rest[decoded.size..];
            }
            from = reply.header::<PullMessageResponse>()?.next_begin_offset;
        }
    }
}
