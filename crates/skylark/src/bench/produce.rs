//! `skylark bench produce`: sends, and how long their acknowledgements take.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use remoting::clock::monotonic;

use super::connection::Connection;
use super::paced::{self, Pace};
use super::report::{Live, Report, Run, Tally};
use super::send::Frames;
use super::target::{Target, TargetArgs};
use super::window::{self, IN_FLIGHT_MAX};
use super::{Length, drive, share};

const IN_FLIGHT: u64 = 64;

#[derive(Args)]
pub(super) struct Produce {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pub(super) length: Length,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Requests under way on each connection [default: 64; with --rate as many as it takes, up to 4096]
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..=IN_FLIGHT_MAX as u64))]
    in_flight: Option<usize>,
    /// Messages in one request
    #[arg(long, default_value_t = 1, value_parser = RangedU64ValueParser::<u64>::new().range(1..=10_000))]
    batch: u64,
    /// Messages a second over all connections; 0: as many as go
    #[arg(long, default_value_t = 0)]
    rate: u64,
}

impl Produce {
    pub(super) fn run(&self) -> anyhow::Result<Report> {
        let target = self.target.find()?;
        let tally = if self.rate == 0 {
            self.full_speed(&target)
        } else {
            self.paced(&target)
        };
        let (mut tally, seconds) = tally?;
        tally.bytes = tally.messages * target.size as u64;
        let run = Run {
            mode: "produce",
            connections: self.connections,
            in_flight: self.in_flight(),
            batch: self.batch,
            rate: self.rate,
            seconds,
        };
        Ok(run.report(&target, tally))
    }

    fn in_flight(&self) -> usize {
        let default = if self.rate == 0 {
            IN_FLIGHT as usize
        } else {
            IN_FLIGHT_MAX
        };
        self.in_flight.unwrap_or(default)
    }

    fn full_speed(&self, target: &Target) -> anyhow::Result<(Tally, Duration)> {
        let live = Live::default();
        let requests = self
            .length
            .messages
            .map(|messages| messages.div_ceil(self.batch));
        let windows = windows(target, self.batch, self.connections, self.in_flight())?;
        let span = self.length.span(monotonic());
        let workers = windows
            .into_iter()
            .zip(0..)
            .map(|((connection, frames), number)| {
                let requests =
                    requests.map_or(u64::MAX, |all| share(all, self.connections, number));
                let live = &live;
                move || window::send(connection, frames, self.batch, requests, span, None, live)
            });
        let tally = drive(&live, self.length.warm_up(), workers.collect())?;
        let seconds = span.length(&tally);
        Ok((tally, seconds))
    }

    fn paced(&self, target: &Target) -> anyhow::Result<(Tally, Duration)> {
        let live = Live::default();
        let windows = windows(target, self.batch, self.connections, self.in_flight())?;
        let pace = Pace {
            origin: monotonic(),
            rate: self.rate,
            messages: self.length.messages_at(self.rate),
            batch: self.batch,
            connections: self.connections,
            counted_from: self.length.warm_up(),
            run: None,
        };
        let workers = windows
            .into_iter()
            .zip(0..)
            .map(|((connection, frames), number)| {
                let (pace, live) = (&pace, &live);
                move || paced::send(connection, frames, pace, number, live)
            });
        let tally = drive(&live, self.length.warm_up(), workers.collect())?;
        let seconds = pace.length(&tally);
        Ok((tally, seconds))
    }
}

/// A connection and a window of requests for each worker.
pub(super) fn windows(
    target: &Target,
    batch: u64,
    connections: u16,
    in_flight: usize,
) -> anyhow::Result<Vec<(Connection, Frames)>> {
    let window = |number| {
        Ok((
            target.connect()?,
            Frames::new(target, batch as usize, in_flight, usize::from(number))?,
        ))
    };
    (0..connections).map(window).collect()
}
