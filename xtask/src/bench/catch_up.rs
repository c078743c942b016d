//! The suite `catch-up`: a consumer reads from the beginning what is not in memory any more, beside live traffic.
//! The server is started anew and its files are put out of the page cache before each reading.
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};
use serde_json::{Value, json};

use super::Options;
use super::machine;
use super::report::Report;
use super::server::{Programs, Server};
use super::table::{System, aligned, median};
use crate::shell::{root, target};

const GIB: u64 = 1 << 30;
/// A message of 1 KiB takes so much of the log.
const RECORD_BYTES: u64 = 1264;
const SIZE: &str = "1024";
/// Live messages a second, to pulls that wait.
const LIVE_RATE: &str = "5000";
const COLD: &str = "Cold";
/// Required: live p99 beside the reading, times the one alone.
const TIMES_MAX: f64 = 2.0;
/// The cold reading takes some of this to begin.
const BEGIN: Duration = Duration::from_millis(300);

struct Pace {
    bytes: u64,
    rounds: usize,
    /// Of live traffic alone.
    seconds: u64,
    /// Of live traffic before, for the JVM's compiler.
    jvm_warm_up: u64,
}

const SHORT: Pace = Pace {
    bytes: GIB,
    rounds: 1,
    seconds: 3,
    jvm_warm_up: 4,
};
const FULL: Pace = Pace {
    bytes: 5 * GIB,
    rounds: 3,
    seconds: 10,
    jvm_warm_up: 10,
};

pub(super) fn measure(options: &Options) -> Result<()> {
    let systems: Vec<System> = options.only.clone();
    let systems = systems
        .into_iter()
        .filter(|system| *system != System::Floor);
    let systems: Vec<System> = systems.collect();
    let programs = Programs::build(&systems)?;
    let scratch = tempfile::Builder::new()
        .prefix("catch-up-")
        .tempdir_in(target())?;
    let suite = Suite {
        programs,
        home: scratch.path().to_owned(),
        pace: if options.short { SHORT } else { FULL },
    };
    let mut measured = Vec::new();
    for system in systems {
        let samples = suite
            .system(system)
            .with_context(|| format!("{system:?}"))?;
        measured.push((system, samples));
    }
    let machine = machine::describe(root());
    let gib = suite.pace.bytes / GIB;
    if options.json {
        let rows: Vec<Value> = rows(&measured).iter().map(Row::json).collect();
        println!(
            "{:#}",
            json!({ "machine": machine, "gib": gib, "live_rate": LIVE_RATE, "rows": rows })
        );
    } else {
        println!(
            "\n{machine}; {gib} GiB of {SIZE} B messages in 4 queues, read cold by 4 connections beside {LIVE_RATE}/s of 128 B; \
             medians of {} rounds\n",
            suite.pace.rounds
        );
        print!("{}", table(&rows(&measured)));
    }
    Ok(())
}

struct Suite {
    programs: Programs,
    home: PathBuf,
    pace: Pace,
}

/// What one system's rounds gave.
#[derive(Default)]
struct Samples {
    /// Live traffic with nothing beside it; the reports of `skylark bench`.
    alone: Vec<Report>,
    beside: Vec<Report>,
    /// The reading with nothing beside it, and beside live traffic.
    reading: Vec<Report>,
    reading_beside: Vec<Report>,
    /// Share of the log that really came from the disk, in percent.
    from_disk: Vec<f64>,
}

impl Suite {
    fn system(&self, system: System) -> Result<Samples> {
        let home = self.home.join(format!("{system:?}"));
        let messages = (self.pace.bytes / RECORD_BYTES).to_string();
        eprintln!("-- {system:?}: filling {} GiB", self.pace.bytes / GIB);
        let server = Server::start(&self.programs, system, &home, false)?;
        let fill = [
            "--size",
            SIZE,
            "--batch",
            "32",
            "--in-flight",
            "8",
            "--messages",
            &messages,
        ];
        let fill = [&["produce", "--topic", COLD][..], &fill].concat();
        self.programs.load(&server, &fill)?;
        server.stop()?;

        let mut samples = Samples::default();
        for round in 1..=self.pace.rounds {
            eprintln!("-- {system:?}: round {round} of {}", self.pace.rounds);
            let server = self.start_cold(system, &home)?;
            samples
                .alone
                .push(self.live(&server, self.pace.seconds, "1")?);
            let before = read_bytes(server.broker_id())?;
            let reading = self.programs.load(&server, &from_beginning(&messages))?;
            let read = read_bytes(server.broker_id())? - before;
            samples
                .from_disk
                .push(read as f64 * 100.0 / self.pace.bytes as f64);
            let seconds = reading.number("/seconds")?;
            samples.reading.push(reading);
            server.stop()?;

            let server = self.start_cold(system, &home)?;
            let reading = self
                .programs
                .start_load(&server, &from_beginning(&messages))?;
            sleep(BEGIN);
            // Over before the reading is, which takes longer beside it than alone.
            let beside = self.live(&server, (seconds as u64).max(1), "0");
            samples.reading_beside.push(reading.report(&server)?);
            samples.beside.push(beside?);
            server.stop()?;
        }
        fs::remove_dir_all(&home)?;
        Ok(samples)
    }

    /// A server that has been at work, with nothing of its store in the page cache.
    fn start_cold(&self, system: System, home: &Path) -> Result<Server> {
        uncache(&home.join("store"))?;
        let server = Server::start(&self.programs, system, home, false)?;
        if system == System::Apache {
            self.live(&server, self.pace.jvm_warm_up, "1")?;
        }
        Ok(server)
    }

    fn live(&self, server: &Server, seconds: u64, warm_up: &str) -> Result<Report> {
        let seconds = seconds.to_string();
        let load = [
            "latency",
            "--topic",
            "Live",
            "--rate",
            LIVE_RATE,
            "--seconds",
            &seconds,
            "--warm-up",
            warm_up,
        ];
        self.programs.load(server, &load)
    }
}

fn from_beginning(messages: &str) -> [&str; 5] {
    ["consume", "--topic", COLD, "--messages", messages]
}

/// Writes a directory's files out and drops them from the page cache. What a process has mapped stays there: none may run.
fn uncache(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            uncache(&path)?;
            continue;
        }
        let file = fs::File::open(&path).with_context(|| path.display().to_string())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Bytes that the disk gave to a process so far.
fn read_bytes(id: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{id}/io"))?;
    let bytes = io
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(bytes.context("no read_bytes")?.parse()?)
}

/// A line of the table.
struct Row {
    name: &'static str,
    digits: usize,
    /// Times Apache's, or the most it may be.
    required: Option<f64>,
    values: Vec<(System, Vec<f64>)>,
}

fn rows(measured: &[(System, Samples)]) -> Vec<Row> {
    type Figure = fn(&Samples) -> Vec<f64>;
    let figures: [(&str, usize, Option<f64>, Figure); 11] = [
        ("live alone, p50 [ms]", 3, None, |s| micros(&s.alone, "p50")),
        ("live alone, p99 [ms]", 3, None, |s| micros(&s.alone, "p99")),
        ("live alone, p99.9 [ms]", 3, None, |s| {
            micros(&s.alone, "p999")
        }),
        ("live beside the reading, p50 [ms]", 3, None, |s| {
            micros(&s.beside, "p50")
        }),
        ("live beside the reading, p99 [ms]", 3, None, |s| {
            micros(&s.beside, "p99")
        }),
        ("live beside the reading, p99.9 [ms]", 3, None, |s| {
            micros(&s.beside, "p999")
        }),
        ("live beside the reading, max [ms]", 1, None, |s| {
            micros(&s.beside, "max")
        }),
        ("live p99, beside / alone", 2, Some(TIMES_MAX), |s| {
            let (beside, alone) = (micros(&s.beside, "p99"), micros(&s.alone, "p99"));
            beside
                .iter()
                .zip(&alone)
                .map(|(beside, alone)| beside / alone)
                .collect()
        }),
        ("reading alone [MiB/s]", 0, None, |s| mebibytes(&s.reading)),
        ("reading beside live traffic [MiB/s]", 0, None, |s| {
            mebibytes(&s.reading_beside)
        }),
        ("of it really from the disk [%]", 0, None, |s| {
            s.from_disk.clone()
        }),
    ];
    let row = |(name, digits, required, figure): (_, _, _, Figure)| Row {
        name,
        digits,
        required,
        values: measured
            .iter()
            .map(|(system, samples)| (*system, figure(samples)))
            .collect(),
    };
    figures.into_iter().map(row).collect()
}

/// A quantile of latencies from send to receive, in ms.
fn micros(reports: &[Report], quantile: &str) -> Vec<f64> {
    let of = |report: &Report| report.0["latency_us"][quantile].as_f64().map(|us| us / 1e3);
    reports.iter().filter_map(of).collect()
}

fn mebibytes(reports: &[Report]) -> Vec<f64> {
    let of = |report: &Report| report.0["bytes_per_second"].as_f64();
    let rates = reports.iter().filter_map(of);
    rates.map(|bytes| bytes / f64::from(1 << 20)).collect()
}

impl Row {
    fn json(&self) -> Value {
        let of = |of| self.values.iter().find(|(system, _)| *system == of);
        json!({
            "name": self.name,
            "apache": of(System::Apache).map(|(_, values)| values),
            "skylark": of(System::Skylark).map(|(_, values)| values),
            "required": self.required.map(|most| format!("<= {most}")),
            "ok": self.is_reached(),
        })
    }

    fn is_reached(&self) -> Option<bool> {
        let ours = self
            .values
            .iter()
            .find(|(system, _)| *system == System::Skylark)?;
        Some(median(ours.1.iter().copied()) <= self.required?)
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.name.to_owned()];
        cells.extend(
            self.values
                .iter()
                .map(|(_, values)| spread(values, self.digits)),
        );
        cells.push(
            self.required
                .map_or(String::new(), |most| format!("<= {most}")),
        );
        let verdict = match self.is_reached() {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        cells.push(verdict.to_owned());
        cells
    }
}

fn table(rows: &[Row]) -> String {
    let mut head = vec![String::new()];
    let systems = rows.first().map_or(&[][..], |row| &row.values);
    head.extend(systems.iter().map(|(system, _)| format!("{system:?}")));
    head.extend(["required", "ok"].map(str::to_owned));
    let lines = rows.iter().map(Row::cells);
    aligned(&[head].into_iter().chain(lines).collect::<Vec<_>>())
}

/// `median (min..max)`.
fn spread(values: &[f64], digits: usize) -> String {
    let (min, max) = values
        .iter()
        .fold((f64::MAX, 0.0_f64), |(min, max), &value| {
            (min.min(value), max.max(value))
        });
    match values.len() {
        0 => "-".to_owned(),
        1 => format!("{max:.digits$}"),
        _ => format!(
            "{:.digits$} ({min:.digits$}..{max:.digits$})",
            median(values.iter().copied())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ratio_is_judged() {
        let latency = |p99: f64| {
            vec![Report(
                json!({ "latency_us": { "p50": 1, "p99": p99, "p999": 1, "max": 1 } }),
            )]
        };
        let of = |beside| Samples {
            alone: latency(100.0),
            beside: latency(beside),
            ..Samples::default()
        };
        let verdicts = |beside| {
            let rows = rows(&[(System::Skylark, of(beside))]);
            rows.iter().filter_map(Row::is_reached).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(199.0), [true]);
        assert_eq!(verdicts(201.0), [false]);
    }
}
