//! `skylark bench latency`: how long messages take from the sender to a consumer that waits for them.

use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use clap::builder::RangedU64ValueParser;
use remoting::clock::{Clock, monotonic};

use super::arrivals::Arrivals;
use super::paced::{self, Pace};
use super::pull::Puller;
use super::report::{Latency, Live, Report, Run};
use super::send::STAMP_BYTES;
use super::target::TargetArgs;
use super::window::IN_FLIGHT_MAX;
use super::{Length, consume, drive, produce};

#[derive(Args)]
pub(super) struct EndToEnd {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pub(super) length: Length,
    /// Connections that send; the pulls have one of their own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Messages a second over all connections
    #[arg(long, default_value_t = 1000, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    rate: u64,
}

impl EndToEnd {
    pub(super) fn run(&self) -> anyhow::Result<Report> {
        let mut target = self.target.find()?;
        target.size = target.size.max(STAMP_BYTES);
        let (target, warm_up) = (&target, self.length.warm_up());
        let readers = consume::queues(target)?
            .into_iter()
            .map(|reader| reader.starting_at_end())
            .collect();
        let windows = produce::windows(target, 1, self.connections, IN_FLIGHT_MAX)?;
        let pulls = target.connect()?;
        let closer = pulls.share()?;
        let (run, origin) = (Clock::System.now_ms(), monotonic());
        let pace = Pace {
            origin,
            rate: self.rate,
            messages: self.length.messages_at(self.rate),
            batch: 1,
            connections: self.connections,
            counted_from: warm_up,
            run: Some(run),
        };
        let arrivals = Arrivals {
            run,
            origin,
            counted_from: warm_up,
            arrived: AtomicU64::new(0),
        };
        let puller = Puller {
            target,
            hold: true,
            sub_version: run,
        };
        let (sending, receiving) = (Live::default(), Live::default());
        let workers = windows
            .into_iter()
            .zip(0..)
            .map(|((connection, frames), number)| {
                let (pace, live) = (&pace, &sending);
                move || paced::send(connection, frames, pace, number, live)
            });
        let (sent, received, lost) = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                arrivals
                    .receive(pulls, readers, &puller, &receiving)
                    .inspect_err(|_| sending.stop())
            });
            let sent = drive(&sending, warm_up, workers.collect());
            let lost = arrivals.wait_for(sending.messages.load(Ordering::Relaxed), &receiver);
            receiving.stop();
            closer.close();
            (sent, receiver.join(), lost)
        });
        let received = received.map_err(|_| anyhow::anyhow!("the receiving thread panicked"))??;
        let sent = sent?;
        let run = Run {
            mode: "latency",
            connections: self.connections,
            in_flight: IN_FLIGHT_MAX,
            batch: 1,
            rate: self.rate,
            seconds: pace.length(&sent),
        };
        let mut report = run.report(target, received);
        report.send_latency_us = Some(Latency::of(&sent.latency));
        report
            .errors
            .extend(super::report::error_counts(sent.errors));
        report.lost = Some(lost);
        Ok(report)
    }
}
