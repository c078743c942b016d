//! Where the load goes: the broker, the topic and its queues, made by a first send if they don't exist.

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use protocol::QueueOffset;
use protocol::bodies::TopicRoute;
use protocol::codes::{request, response};
use protocol::command::{Head, Header};
use protocol::frame::Codec;
use protocol::headers::nameserver::RouteInfo;
use protocol::headers::offset::{MaxOffset, MinOffset, OffsetResponse};
use protocol::text::Text;
use remoting::clock::Clock;

use super::connection::{Connection, Refused};
use super::send::{Frames, TOPIC_DIGITS};

/// Its route tells where a new topic will be made.
const AUTO_CREATE_TOPIC: &str = "TBW102";
const MASTER_ID: i64 = 0;
/// The topic that is ours to write into.
pub(super) const TOPIC: &str = "SkylarkBench";

#[derive(Args)]
pub(super) struct TargetArgs {
    /// Address of a nameserver, which knows the broker [default: $NAMESRV_ADDR, or 127.0.0.1:9876]
    #[arg(short, long, value_name = "ADDR")]
    namesrv: Option<String>,
    /// Address of the broker, without asking a nameserver
    #[arg(long, value_name = "ADDR", conflicts_with = "namesrv")]
    broker: Option<String>,
    /// Topic to use; made with 4 queues if it does not exist
    #[arg(long, default_value = TOPIC)]
    topic: String,
    /// Send to so many topics at random instead, named by the one given and a number
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    topics: u32,
    /// Queues of the topic to use
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    queues: u16,
    /// Bytes of a message's body
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// How request headers are written
    #[arg(long, default_value = "json")]
    header: HeaderCodec,
}

#[derive(Clone, Copy, ValueEnum)]
enum HeaderCodec {
    /// As Java clients do unless told otherwise
    Json,
    /// The binary form
    Rocketmq,
}

/// A broker that is there and has the topic.
pub(super) struct Target {
    pub(super) broker: String,
    pub(super) topic: String,
    pub(super) topics: u32,
    pub(super) queues: u16,
    pub(super) size: usize,
    pub(super) codec: Codec,
}

impl TargetArgs {
    pub(super) fn find(&self) -> anyhow::Result<Target> {
        let target = Target {
            broker: match &self.broker {
                Some(broker) => broker.clone(),
                None => self.ask_nameservers()?,
            },
            topic: self.topic.clone(),
            topics: self.topics,
            queues: self.queues,
            size: self.size,
            codec: match self.header {
                HeaderCodec::Json => Codec::Json,
                HeaderCodec::Rocketmq => Codec::Rocketmq,
            },
        };
        ensure!(
            target.topics == 1 || target.queues <= 10,
            "of many topics, at most 10 queues each are used"
        );
        // Many are there already, or are about to be made.
        if target.topics == 1 {
            target.make_topic()?;
        }
        Ok(target)
    }

    fn ask_nameservers(&self) -> anyhow::Result<String> {
        let list = self
            .namesrv
            .clone()
            .or_else(|| std::env::var("NAMESRV_ADDR").ok());
        let list = list.unwrap_or_else(|| "127.0.0.1:9876".to_owned());
        let mut failed = None;
        for addr in list
            .split(';')
            .map(str::trim)
            .filter(|addr| !addr.is_empty())
        {
            match broker_of(addr, &self.topic) {
                Ok(broker) => return Ok(broker),
                Err(error) => failed = Some(error.context(format!("nameserver {addr}"))),
            }
        }
        Err(failed.unwrap_or_else(|| anyhow::anyhow!("no nameserver address in \"{list}\"")))
    }
}

/// The master that has the topic, or would be given it.
fn broker_of(namesrv: &str, topic: &str) -> anyhow::Result<String> {
    let mut connection = Connection::open(namesrv)?;
    for topic in [topic, AUTO_CREATE_TOPIC] {
        let header = RouteInfo {
            topic: Text::plain(topic),
            accept_standard_json_only: Some(true),
        };
        let route = connection.call(request::GET_ROUTEINFO_BY_TOPIC, &header, |_, body| {
            Ok(protocol::fastjson::from_slice::<TopicRoute>(body)?)
        });
        let route = match route {
            Ok(route) => route,
            Err(error) if is_refused(&error, response::TOPIC_NOT_EXIST) => continue,
            Err(error) => return Err(error),
        };
        let masters = route
            .broker_datas
            .iter()
            .filter_map(|broker| broker.broker_addrs.get(&MASTER_ID));
        return masters.min().cloned().context("the route names no master");
    }
    bail!("no broker that makes topics has registered")
}

fn is_refused(error: &anyhow::Error, code: i32) -> bool {
    error
        .downcast_ref::<Refused>()
        .is_some_and(|refused| refused.code == code)
}

impl Target {
    /// The topic of a number below `topics`.
    pub(super) fn topic_name(&self, number: u32) -> String {
        match self.topics {
            1 => self.topic.clone(),
            _ => format!("{}-{number:0TOPIC_DIGITS$}", self.topic),
        }
    }

    pub(super) fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(&self.broker)
    }

    /// A message to every queue makes the topic, and shows that the broker takes sends.
    fn make_topic(&self) -> anyhow::Result<()> {
        let mut connection = self.connect()?;
        let count = usize::from(self.queues);
        let mut frames = Frames::new(self, 1, count, 0)?;
        for place in 0..count {
            connection
                .send(frames.renew(place, Clock::System.now_ms()))
                .with_context(|| format!("{} refused a first message", self.broker))?;
        }
        Ok(())
    }

    /// The first offset of a queue, and the one behind its last.
    pub(super) fn ends(
        &self,
        connection: &mut Connection,
        queue_id: i32,
    ) -> anyhow::Result<(QueueOffset, QueueOffset)> {
        let topic = Text::plain(&self.topic);
        let min = MinOffset { topic, queue_id };
        let max = MaxOffset {
            topic,
            queue_id,
            committed: true,
        };
        let offset = |head: &Head<'_>, _: &[u8]| Ok(OffsetResponse::decode(head.fields)?.offset);
        let first = connection.call(request::GET_MIN_OFFSET, &min, offset)?;
        let end = connection.call(request::GET_MAX_OFFSET, &max, offset)?;
        Ok((first, end))
    }
}
