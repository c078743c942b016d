//! `skylark bench latency`: how long messages take from the sender to a consumer that waits for them, at a given rate or at the one
//! that comes about when all send as much as they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use remoting::clock::{Clock, monotonic};

use super::arrivals::Arrivals;
use super::connection::Connection;
use super::paced::{self, Pace};
use super::pull::{Puller, Reader};
use super::report::{Latency, Live, Report, Run, Tally};
use super::send::{Frames, STAMP_BYTES};
use super::target::{Target, TargetArgs};
use super::window::{self, IN_FLIGHT_MAX, Stamp};
use super::{Length, consume, drive, produce};

#[derive(Args)]
pub(super) struct EndToEnd {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pub(super) length: Length,
    /// Connections that send
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Connections that share the queues and wait for what comes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    consumers: u16,
    /// Messages a second over all connections; 0: as many as go
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Requests under way on each connection that sends, with --rate 0
    #[arg(long, default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=IN_FLIGHT_MAX as u64))]
    in_flight: usize,
    /// Stop as soon as standard input ends
    #[arg(long)]
    until_input_ends: bool,
}

/// A connection that waits, and its share of the queues.
struct Consumer {
    connection: Connection,
    /// The same, to wake its thread at the end.
    closer: Connection,
    readers: Vec<Reader>,
}

impl EndToEnd {
    pub(super) fn run(&self) -> anyhow::Result<Report> {
        let mut target = self.target.find()?;
        target.size = target.size.max(STAMP_BYTES);
        let target = &target;
        let consumers = self.consumers(target)?;
        let windows = produce::windows(target, 1, self.connections, self.in_flight())?;
        let stamp = Stamp {
            run: Clock::System.now_ms(),
            origin: monotonic(),
        };
        let arrivals = Arrivals {
            run: stamp.run,
            origin: stamp.origin,
            counted_from: self.length.warm_up(),
            arrived: AtomicU64::new(0),
        };
        let puller = Puller {
            target,
            hold: true,
            sub_version: stamp.run,
        };
        let (sending, receiving) = (Arc::new(Live::default()), Live::default());
        if self.until_input_ends {
            stop_with_input(sending.clone());
        }
        let sending = &*sending;
        let (sent, received, lost) = std::thread::scope(|scope| {
            let mut closers = Vec::new();
            let mut receivers = Vec::new();
            for consumer in consumers {
                closers.push(consumer.closer);
                let (arrivals, puller, receiving) = (&arrivals, &puller, &receiving);
                receivers.push(scope.spawn(move || {
                    arrivals
                        .receive(consumer.connection, consumer.readers, puller, receiving)
                        .inspect_err(|_| sending.stop())
                }));
            }
            let sent = self.send(windows, stamp, sending);
            let count = sending.messages.load(Ordering::Relaxed);
            let lost = arrivals.wait_for(count, &receivers);
            receiving.stop();
            closers.iter().for_each(Connection::close);
            let mut received = Tally::new().map_err(anyhow::Error::from);
            for receiver in receivers {
                let tally = receiver
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a receiving thread panicked")));
                received = received.and_then(|mut sum| {
                    sum.add(tally?);
                    Ok(sum)
                });
            }
            (sent, received, lost)
        });
        let received = received?;
        let (sent, seconds) = sent?;
        let counted_from = stamp.origin + self.length.warm_up();
        let received_for = received.last.map(|last| last - counted_from);
        let received_per_second = received_for.map_or(0.0, |length| {
            received.messages as f64 / length.as_secs_f64()
        });
        let run = Run {
            mode: "latency",
            connections: self.connections,
            in_flight: self.in_flight(),
            batch: 1,
            rate: self.rate,
            seconds,
        };
        let mut report = run.report(target, received);
        report.received_per_second = Some(received_per_second);
        report.send_latency_us = Some(Latency::of(&sent.latency));
        report.stalls.extend(sent.stalls);
        report
            .errors
            .extend(super::report::error_counts(sent.errors));
        report.lost = Some(lost);
        Ok(report)
    }

    /// As many as there are queues for.
    fn consumers(&self, target: &Target) -> anyhow::Result<Vec<Consumer>> {
        let mut consumers = Vec::new();
        for _ in 0..self.consumers.min(target.queues) {
            let connection = target.connect()?;
            consumers.push(Consumer {
                closer: connection.share()?,
                connection,
                readers: Vec::new(),
            });
        }
        let count = consumers.len();
        for (at, reader) in consume::queues(target)?.into_iter().enumerate() {
            let readers = &mut consumers[at % count].readers;
            readers.push(reader.starting_at_end());
        }
        Ok(consumers)
    }

    fn in_flight(&self) -> usize {
        match self.rate {
            0 => self.in_flight,
            _ => IN_FLIGHT_MAX,
        }
    }

    /// Sends, and says how long what counts of it took.
    fn send(
        &self,
        windows: Vec<(Connection, Frames)>,
        stamp: Stamp,
        live: &Live,
    ) -> anyhow::Result<(Tally, Duration)> {
        let warm_up = self.length.warm_up();
        if self.rate == 0 {
            let span = self.length.span(stamp.origin);
            let requests = self.length.messages;
            let workers = windows
                .into_iter()
                .zip(0..)
                .map(|((connection, frames), number)| {
                    let requests = requests
                        .map_or(u64::MAX, |all| super::share(all, self.connections, number));
                    move || window::send(connection, frames, 1, requests, span, Some(stamp), live)
                });
            let tally = drive(live, warm_up, workers.collect())?;
            let length = span.length(&tally);
            return Ok((tally, length));
        }
        let pace = Pace {
            origin: stamp.origin,
            rate: self.rate,
            messages: self.length.messages_at(self.rate),
            batch: 1,
            connections: self.connections,
            counted_from: warm_up,
            run: Some(stamp.run),
        };
        let workers = windows
            .into_iter()
            .zip(0..)
            .map(|((connection, frames), number)| {
                let pace = &pace;
                move || paced::send(connection, frames, pace, number, live)
            });
        let tally = drive(live, warm_up, workers.collect())?;
        let length = pace.length(&tally);
        Ok((tally, length))
    }
}

/// Nobody joins the thread: it ends with the input or, if the run is over before, with the process.
fn stop_with_input(live: Arc<Live>) {
    std::thread::spawn(move || {
        // An input that can't be read has ended as well.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        live.stop();
    });
}
