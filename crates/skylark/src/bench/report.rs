//! What a run counts, the line it shows each second, and what it says at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use remoting::clock::{Clock, Instant, monotonic};
use serde::Serialize;

use super::target::Target;

/// The slowest answer that is told apart from still slower ones.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// What one connection counted.
pub(super) struct Tally {
    /// Messages that went well.
    pub(super) messages: u64,
    /// Bytes of their bodies (produce, latency) or of the records (consume).
    pub(super) bytes: u64,
    /// Nanoseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) errors: BTreeMap<i32, Failures>,
    /// When the last answer came.
    pub(super) last: Option<Instant>,
    pub(super) stalls: Vec<Stall>,
}

/// Answers that came after more than [`STALL`], one soon after the other.
#[derive(Serialize)]
pub(super) struct Stall {
    /// When the first of them came, in ms since the epoch.
    at_ms: i64,
    /// From when on one of them was waited for, and when the last one came.
    from_ms: i64,
    to_ms: i64,
    /// The longest, in microseconds.
    worst_us: u64,
}

/// So much longer than a broker should take that it is worth a look.
const STALL: Duration = Duration::from_millis(20);
/// Later is another one.
const STALL_MS: i64 = 100;
const STALLS_MAX: usize = 1_000;

/// Answers with one error code.
pub(super) struct Failures {
    pub(super) count: u64,
    /// The remark of the first of them.
    pub(super) remark: String,
}

impl Tally {
    pub(super) fn new() -> Result<Tally, hdrhistogram::CreationError> {
        let nanos = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        Ok(Tally {
            messages: 0,
            bytes: 0,
            latency: Histogram::new_with_bounds(1, nanos, 3)?,
            errors: BTreeMap::new(),
            last: None,
            stalls: Vec::new(),
        })
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos);
        if latency > STALL {
            self.stall(Clock::System.now_ms(), latency);
        }
    }

    fn stall(&mut self, now_ms: i64, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let from_ms = now_ms.saturating_sub_unsigned(micros.div_ceil(1000));
        if let Some(last) = self.stalls.last_mut()
            && now_ms < last.at_ms + STALL_MS
        {
            last.worst_us = last.worst_us.max(micros);
            last.from_ms = last.from_ms.min(from_ms);
            last.to_ms = now_ms;
        } else if self.stalls.len() < STALLS_MAX {
            self.stalls.push(Stall {
                at_ms: now_ms,
                from_ms,
                to_ms: now_ms,
                worst_us: micros,
            });
        }
    }

    pub(super) fn fail(&mut self, code: i32, remark: impl FnOnce() -> String) {
        let failures = self.errors.entry(code);
        failures
            .or_insert_with(|| Failures {
                count: 0,
                remark: remark(),
            })
            .count += 1;
    }

    pub(super) fn add(&mut self, other: Tally) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        // Same bounds on both sides, so nothing can be out of range.
        let _ = self.latency.add(other.latency);
        for (code, failures) in other.errors {
            let sum = self.errors.entry(code);
            sum.or_insert_with(|| Failures {
                count: 0,
                remark: failures.remark,
            })
            .count += failures.count;
        }
        self.last = self.last.max(other.last);
        self.stalls.extend(other.stalls);
    }
}

/// What the threads of a run share.
#[derive(Default)]
pub(super) struct Live {
    pub(super) messages: AtomicU64,
    errors: AtomicU64,
    stopped: AtomicBool,
    error: Mutex<Option<anyhow::Error>>,
}

impl Live {
    pub(super) fn add(&self, messages: u64, errors: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        if errors > 0 {
            self.errors.fetch_add(errors, Ordering::Relaxed);
        }
    }

    /// Ends the run early.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends the run because of `error`; the first one counts.
    pub(super) fn fail(&self, error: anyhow::Error) {
        self.error.lock().get_or_insert(error);
        self.stop();
    }

    pub(super) fn first_error(&self) -> Option<anyhow::Error> {
        self.error.lock().take()
    }
}

/// Prints one line a second on standard error until `finished`.
pub(super) fn show_progress(live: &Live, warm_up: Duration, finished: impl Fn() -> bool) {
    const TICK: Duration = Duration::from_millis(20);
    let start = monotonic();
    let (mut second, mut shown, mut shown_at) = (1, 0, start);
    while !finished() {
        std::thread::sleep(TICK);
        let now = monotonic();
        if now < start + Duration::from_secs(second) {
            continue;
        }
        let messages = live.messages.load(Ordering::Relaxed);
        let rate = (messages - shown) as f64 / (now - shown_at).as_secs_f64();
        let errors = live.errors.load(Ordering::Relaxed);
        let phase = if now - start <= warm_up {
            "  warming up"
        } else {
            ""
        };
        eprintln!(
            "{second:>4} s  {:>11}/s  errors {errors}{phase}",
            grouped(rate as u64)
        );
        (shown, shown_at, second) = (messages, now, second + 1);
    }
}

/// What a run was.
pub(super) struct Run {
    pub(super) mode: &'static str,
    pub(super) connections: u16,
    pub(super) in_flight: usize,
    pub(super) batch: u64,
    /// Messages a second that were asked for; 0: as many as go.
    pub(super) rate: u64,
    /// How long the counted part lasted.
    pub(super) seconds: Duration,
}

impl Run {
    pub(super) fn report(self, target: &Target, tally: Tally) -> Report {
        // A run that got nothing done took no time.
        let seconds = self.seconds.as_secs_f64().max(1e-9);
        Report {
            mode: self.mode,
            broker: target.broker.clone(),
            topic: target.topic.clone(),
            size: target.size,
            connections: self.connections,
            in_flight: self.in_flight,
            batch: self.batch,
            rate: self.rate,
            messages: tally.messages,
            seconds,
            messages_per_second: tally.messages as f64 / seconds,
            bytes_per_second: tally.bytes as f64 / seconds,
            latency_us: Latency::of(&tally.latency),
            received_per_second: None,
            stalls: tally.stalls,
            send_latency_us: None,
            lost: None,
            errors: error_counts(tally.errors),
        }
    }
}

/// The result of a run, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct Report {
    mode: &'static str,
    broker: String,
    topic: String,
    size: usize,
    connections: u16,
    in_flight: usize,
    batch: u64,
    rate: u64,
    pub(super) messages: u64,
    seconds: f64,
    messages_per_second: f64,
    bytes_per_second: f64,
    latency_us: Latency,
    /// Of what was sent while it counted, until the last of it had arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) received_per_second: Option<f64>,
    /// Messages that took far too long, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stalls: Vec<Stall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) send_latency_us: Option<Latency>,
    /// Messages that were acknowledged and had not arrived when the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lost: Option<u64>,
    pub(super) errors: Vec<ErrorCount>,
}

/// Quantiles in microseconds.
#[derive(Serialize)]
pub(super) struct Latency {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
    mean: f64,
}

#[derive(Serialize)]
pub(super) struct ErrorCount {
    code: i32,
    name: &'static str,
    count: u64,
    remark: String,
}

impl Latency {
    pub(super) fn of(nanos: &Histogram<u64>) -> Latency {
        let quantile = |q| nanos.value_at_quantile(q) as f64 / 1e3;
        Latency {
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: nanos.max() as f64 / 1e3,
            mean: nanos.mean() / 1e3,
        }
    }
}

pub(super) fn error_counts(errors: BTreeMap<i32, Failures>) -> Vec<ErrorCount> {
    let named = |(code, failures): (i32, Failures)| ErrorCount {
        code,
        name: protocol::codes::response::name(code).unwrap_or("unknown"),
        count: failures.count,
        remark: failures.remark,
    };
    errors.into_iter().map(named).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            mode,
            broker,
            topic,
            size,
            connections,
            in_flight,
            batch,
            ..
        } = self;
        write!(
            out,
            "{mode}: {topic} on {broker}, {size} B, {connections} connections"
        )?;
        match self.rate {
            0 => write!(out, " x {in_flight} in flight")?,
            rate => write!(out, " at {}/s", grouped(rate))?,
        }
        if *batch > 1 {
            write!(out, ", batches of {batch}")?;
        }
        writeln!(
            out,
            "\nmessages    {} in {:.1} s",
            grouped(self.messages),
            self.seconds
        )?;
        let mebibytes = self.bytes_per_second / f64::from(1 << 20);
        let rate = grouped(self.messages_per_second as u64);
        writeln!(out, "throughput  {rate}/s  {mebibytes:.1} MiB/s")?;
        if let Some(received) = self.received_per_second {
            writeln!(out, "received    {}/s", grouped(received as u64))?;
        }
        writeln!(out, "latency     {}", self.latency_us)?;
        if let Some(send) = &self.send_latency_us {
            writeln!(out, "send        {send}")?;
        }
        if let Some(lost) = self.lost {
            writeln!(out, "lost        {}", grouped(lost))?;
        }
        write!(out, "errors      ")?;
        if self.errors.is_empty() {
            write!(out, "none")?;
        }
        for (at, error) in self.errors.iter().enumerate() {
            let ErrorCount {
                code,
                name,
                count,
                remark,
            } = error;
            let indent = if at > 0 { "\n            " } else { "" };
            write!(out, "{indent}{} x {code} {name}: {remark}", grouped(*count))?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, max] = [self.p50, self.p99, self.p999, self.max].map(|us| us / 1e3);
        write!(
            out,
            "p50 {p50:.3} ms  p99 {p99:.3} ms  p99.9 {p999:.3} ms  max {max:.3} ms"
        )
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
