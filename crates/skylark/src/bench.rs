//! `skylark bench`: load on any broker that speaks the protocol, Apache's or ours, and what it did to it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use clap::{Args, Subcommand};
use remoting::clock::Instant;

mod arrivals;
mod connection;
mod consume;
mod crowd;
mod delay;
mod flood;
mod latency;
mod paced;
mod produce;
mod pull;
mod report;
mod send;
mod target;
mod topics;
mod window;

use crate::say;
use report::{Live, Tally};
use window::Span;

/// Arguments of `skylark bench`.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Send messages: throughput, and latency from send to acknowledgement
    Produce(produce::Produce),
    /// Make topics by sending to each of their queues
    Topics(topics::Topics),
    /// Pull messages that are there: throughput, and latency of pulls
    Consume(consume::Consume),
    /// Send at a rate to pulls that wait: latency from send to receive
    Latency(latency::EndToEnd),
    /// Send messages for later: how late they come
    Delay(delay::Delay),
    /// Be there while something else is measured: consumers that wait, messages that are not due yet
    Crowd(crowd::Crowd),
    /// Send far more than the broker can take, and see what it says
    Flood(flood::Flood),
}

/// How long to run, and how to say what came of it.
#[derive(Args)]
struct Length {
    /// Seconds that count
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run for so many messages instead (consume: read what is there once)
    #[arg(long, conflicts_with_all = ["seconds", "warm_up"])]
    messages: Option<u64>,
    /// Seconds before, which don't count [default: 1; none with --messages]
    #[arg(long)]
    warm_up: Option<u32>,
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (report, json) = match self.mode {
            Mode::Produce(produce) => (produce.run()?, produce.length.json),
            Mode::Topics(topics) => (topics.run()?, topics.json),
            Mode::Consume(consume) => (consume.run()?, consume.length.json),
            Mode::Latency(latency) => (latency.run()?, latency.length.json),
            Mode::Delay(delay) => return delay.run().map(|()| ExitCode::SUCCESS),
            Mode::Crowd(crowd) => return crowd.run().map(|()| ExitCode::SUCCESS),
            Mode::Flood(flood) => return flood.run().map(|()| ExitCode::SUCCESS),
        };
        let text = if json {
            serde_json::to_string(&report)?
        } else {
            report.to_string()
        };
        say(&format!("{text}\n"))?;
        ensure!(report.messages > 0, "no message went through");
        Ok(ExitCode::SUCCESS)
    }
}

impl Length {
    fn warm_up(&self) -> Duration {
        let default = if self.messages.is_some() { 0 } else { 1 };
        Duration::from_secs(self.warm_up.unwrap_or(default).into())
    }

    /// From `start` on.
    fn span(&self, start: Instant) -> Span {
        let counted_from = start + self.warm_up();
        let until = counted_from + Duration::from_secs(self.seconds.into());
        Span {
            counted_from,
            until: self.messages.is_none().then_some(until),
        }
    }

    /// Messages of a run at `rate`, warm-up included.
    fn messages_at(&self, rate: u64) -> u64 {
        let seconds = self.warm_up().as_secs() + u64::from(self.seconds);
        self.messages.unwrap_or(rate * seconds)
    }
}

/// Runs each worker on a thread of its own, shows how it goes, and adds up what they counted. The first that fails stops all.
fn drive<W>(live: &Live, warm_up: Duration, workers: Vec<W>) -> anyhow::Result<Tally>
where
    W: FnOnce() -> anyhow::Result<Tally> + Send,
{
    let mut sum = Tally::new()?;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in workers {
            threads.push(scope.spawn(|| worker().map_err(|error| live.fail(error))));
        }
        report::show_progress(live, warm_up, || {
            threads.iter().all(|thread| thread.is_finished())
        });
        for thread in threads {
            if let Ok(tally) = thread
                .join()
                .map_err(|_| anyhow!("a thread of the bench panicked"))?
            {
                sum.add(tally);
            }
        }
        live.first_error().map_or(Ok(sum), Err)
    })
}

/// The part of `total` for worker `number` of `workers`.
fn share(total: u64, workers: u16, number: u16) -> u64 {
    let (workers, number) = (u64::from(workers), u64::from(number));
    total / workers + u64::from(number < total % workers)
}

#[cfg(test)]
mod tests;
