//! `skylark bench consume`: pulls of what is there, and how long they take.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use protocol::QueueOffset;
use remoting::clock::{Clock, monotonic};

use super::pull::{self, Puller, Reader};
use super::report::{Live, Report, Run};
use super::target::{TOPIC, Target, TargetArgs};
use super::window::{self, Span};
use super::{Length, drive, produce, share};

/// Enough for half a second of a fast broker.
const FILL: u64 = 200_000;
const FILL_BATCH: u64 = 10;
const FILL_CONNECTIONS: u16 = 2;
const FILL_IN_FLIGHT: usize = 32;
/// How long messages may take from their acknowledgement to their queue.
const FILL_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Consume {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pub(super) length: Length,
    /// Connections that share the queues
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Messages a second over all connections; 0: as many as the broker gives
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Messages to have in the topic: what is missing is sent before [default: --messages, or 200000, and nothing is sent
    /// into a topic given by --topic]
    #[arg(long, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    fill: Option<u64>,
}

impl Consume {
    pub(super) fn run(&self) -> anyhow::Result<Report> {
        let target = self.target.find()?;
        let messages = self.fill.or(self.length.messages).unwrap_or(FILL);
        // Somebody else may consume a topic that is not ours.
        let may_send = self.fill.is_some() || target.topic == TOPIC;
        let queues = fill(&target, messages, may_send)?;
        let connections = self.connections.min(target.queues);
        let mut shares: Vec<Vec<Reader>> = (0..connections).map(|_| Vec::new()).collect();
        for (at, reader) in queues
            .into_iter()
            .filter(|reader| reader.next < reader.end)
            .enumerate()
        {
            shares[at % usize::from(connections)].push(reader);
        }
        let live = Live::default();
        let puller = Puller {
            target: &target,
            hold: false,
            sub_version: Clock::System.now_ms(),
        };
        let rate_each = (self.rate > 0).then(|| self.rate as f64 / f64::from(connections));
        let mut connected = Vec::new();
        for readers in shares {
            connected.push((target.connect()?, readers));
        }
        let span = self.length.span(monotonic());
        let workers = connected.into_iter().map(|(connection, readers)| {
            let (puller, live) = (&puller, &live);
            move || pull::read(connection, readers, puller, span, rate_each, live)
        });
        let tally = drive(&live, self.length.warm_up(), workers.collect())?;
        let run = Run {
            mode: "consume",
            connections,
            in_flight: usize::from(target.queues.div_ceil(connections)),
            batch: 1,
            rate: self.rate,
            seconds: span.length(&tally),
        };
        Ok(run.report(&target, tally))
    }
}

/// The queues with at least `messages` in them together.
fn fill(target: &Target, messages: u64, may_send: bool) -> anyhow::Result<Vec<Reader>> {
    let present = |readers: &[Reader]| -> u64 {
        readers
            .iter()
            .map(|reader| (reader.end.0 - reader.first.0) as u64)
            .sum()
    };
    let readers = queues(target)?;
    let missing = messages.saturating_sub(present(&readers));
    if missing == 0 {
        return Ok(readers);
    }
    if !may_send {
        bail!(
            "{} has {} messages, {messages} are asked for: ask for fewer with --messages, or have them sent with --fill",
            target.topic,
            messages - missing
        );
    }
    eprintln!("sending {missing} messages to read");
    let live = Live::default();
    let requests = missing.div_ceil(FILL_BATCH);
    let span = Span {
        counted_from: monotonic(),
        until: None,
    };
    let windows = produce::windows(target, FILL_BATCH, FILL_CONNECTIONS, FILL_IN_FLIGHT)?;
    let workers = windows
        .into_iter()
        .zip(0..)
        .map(|((connection, frames), number)| {
            let requests = share(requests, FILL_CONNECTIONS, number);
            let live = &live;
            move || window::send(connection, frames, FILL_BATCH, requests, span, None, live)
        });
    let sent = drive(&live, Duration::ZERO, workers.collect())?.messages;
    // Apache gives messages to their queues some time after it has acknowledged them.
    let deadline = monotonic() + FILL_TIMEOUT;
    loop {
        let readers = queues(target)?;
        let there = present(&readers);
        if there >= messages {
            return Ok(readers);
        }
        if monotonic() > deadline {
            bail!("only {there} of {messages} messages are there, {sent} sends went well");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All queues as they are now.
pub(super) fn queues(target: &Target) -> anyhow::Result<Vec<Reader>> {
    let mut connection = target.connect()?;
    let reader = |queue_id| {
        let (first, end) = target.ends(&mut connection, queue_id)?;
        let first = QueueOffset(first.0.max(0));
        Ok(Reader {
            queue_id,
            first,
            end,
            next: first,
        })
    };
    (0..i32::from(target.queues)).map(reader).collect()
}
