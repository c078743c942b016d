//! `skylark bench topics`: makes topics by sending to every queue of them, and how long those sends take.

use clap::Args;
use clap::builder::RangedU64ValueParser;
use remoting::clock::monotonic;

use super::report::{Live, Report, Run};
use super::send::Frames;
use super::target::TargetArgs;
use super::window::{self, IN_FLIGHT_MAX, Span};
use super::{drive, share};

#[derive(Args)]
pub(super) struct Topics {
    #[command(flatten)]
    target: TargetArgs,
    /// Messages to each queue
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Requests under way on each connection
    #[arg(long, default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=IN_FLIGHT_MAX as u64))]
    in_flight: usize,
    /// Print the result as a JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Topics {
    pub(super) fn run(&self) -> anyhow::Result<Report> {
        let target = self.target.find()?;
        let mut windows = Vec::new();
        for number in 0..self.connections {
            let frames = Frames::in_turn(&target, self.in_flight, number, self.connections)?;
            windows.push((target.connect()?, frames, number));
        }
        let live = Live::default();
        let span = Span {
            counted_from: monotonic(),
            until: None,
        };
        let workers = windows.into_iter().map(|(connection, frames, number)| {
            let topics = share(target.topics.into(), self.connections, number);
            let requests = topics * u64::from(target.queues) * u64::from(self.messages);
            let live = &live;
            move || window::send(connection, frames, 1, requests, span, None, live)
        });
        let mut tally = drive(&live, std::time::Duration::ZERO, workers.collect())?;
        tally.bytes = tally.messages * target.size as u64;
        let run = Run {
            mode: "topics",
            connections: self.connections,
            in_flight: self.in_flight,
            batch: 1,
            rate: 0,
            seconds: span.length(&tally),
        };
        Ok(run.report(&target, tally))
    }
}
