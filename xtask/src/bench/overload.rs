//! The suite `overload`: what a polite producer notices of others that send ten times as much as can be done, without
//! waiting for answers. It is compared with what it notices of others that send as much as can be done.
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Options;
use super::machine;
use super::report::{Report, count};
use super::server::{Programs, Server};
use super::table::{System, aligned, median};
use crate::shell::{root, target};

/// The polite one: one connection, so many messages a second.
const POLITE_RATE: &str = "500";
/// Of the sustainable rate.
const TIMES_OFFERED: f64 = 10.0;
/// The greedy ones, all in one thread: what is measured is the server, not how cores are shared with its load.
const GREEDY: &str = "64";
/// Required: p99 of the polite one, times the one beside what can be done.
const TIMES_MAX: f64 = 2.0;
/// Required of Skylark's peak memory, MiB above what it has when idle: `bytes_max` of its connections.
const MEMORY_MAX: f64 = 256.0;
/// Apache's own, which the other suites turn off.
const CONFIG: &str = "waitTimeMillsInSendQueue=200\n";

struct Pace {
    rounds: usize,
    seconds: u32,
    jvm_warm_up: &'static str,
}

const SHORT: Pace = Pace {
    rounds: 1,
    seconds: 3,
    jvm_warm_up: "4",
};
const FULL: Pace = Pace {
    rounds: 5,
    seconds: 8,
    jvm_warm_up: "10",
};

pub(super) fn measure(options: &Options) -> Result<()> {
    let systems = options.only.iter().copied();
    let systems: Vec<System> = systems.filter(|system| *system != System::Floor).collect();
    let programs = Programs::build(&systems)?;
    let scratch = tempfile::Builder::new()
        .prefix("overload-")
        .tempdir_in(target())?;
    let suite = Suite {
        programs,
        home: scratch.path().join("home"),
        pace: if options.short { SHORT } else { FULL },
    };
    let mut rows = Vec::new();
    for sync_flush in [false, true] {
        let mut measured: Vec<Row> = systems
            .iter()
            .map(|&system| Row::new(system, sync_flush))
            .collect();
        for round in 1..=suite.pace.rounds {
            for row in &mut measured {
                eprintln!("-- {}: round {round} of {}", row.name(), suite.pace.rounds);
                let sample = suite.sample(row).with_context(|| row.name())?;
                row.samples.push(sample);
            }
        }
        rows.append(&mut measured);
    }
    let machine = machine::describe(root());
    if options.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        println!("{:#}", json!({ "machine": machine, "rows": rows }));
        return Ok(());
    }
    println!(
        "\n{machine}; a polite producer with {POLITE_RATE}/s of 128 B beside 4 x 64 in flight, then beside {GREEDY} connections \
         that offer {TIMES_OFFERED} times what these reached; medians of {} rounds\n",
        suite.pace.rounds
    );
    print!("{}", table(&rows));
    for row in &rows {
        row.said().iter().for_each(|line| println!("- {line}"));
    }
    Ok(())
}

struct Suite {
    programs: Programs,
    home: PathBuf,
    pace: Pace,
}

struct Row {
    system: System,
    sync_flush: bool,
    samples: Vec<Sample>,
}

/// What one round gave.
struct Sample {
    sustainable: f64,
    idle_mib: f64,
    peak_mib: f64,
    /// The polite one beside what can be done and beside too much, and the greedy ones.
    beside: Report,
    overloaded: Report,
    flood: Report,
}

impl Suite {
    fn sample(&self, row: &Row) -> Result<Sample> {
        let home = &self.home;
        let server = Server::start_with(&self.programs, row.system, home, row.sync_flush, CONFIG)?;
        let idle_mib = server.resident_mib()?;
        if row.system == System::Apache {
            let warm_up = ["produce", "--seconds", self.pace.jvm_warm_up];
            self.programs.load(&server, &warm_up)?;
        }
        let seconds = self.pace.seconds.to_string();
        // From before the polite one begins until after it has ended.
        let longer = (self.pace.seconds + 2).to_string();
        let full = ["produce", "--warm-up", "1", "--seconds"];
        let alone = self
            .programs
            .load(&server, &[&full[..], &[&seconds]].concat())?;
        let sustainable = alone.number("/messages_per_second")?;

        let others = self
            .programs
            .start_load(&server, &[&full[..], &[&longer]].concat())?;
        let beside = self.polite(&server, &seconds)?;
        others.report(&server)?;

        let offered = format!("{:.0}", sustainable * TIMES_OFFERED);
        let flood = [
            "flood",
            "--connections",
            GREEDY,
            "--rate",
            &offered,
            "--seconds",
            &longer,
        ];
        let others = self.programs.start_load(&server, &flood)?;
        let overloaded = self.polite(&server, &seconds)?;
        let flood = others.try_report(&server)?;
        let peak_mib = machine::peak_mib(server.broker_id())?;
        server.kill()?;
        fs::remove_dir_all(home)?;
        Ok(Sample {
            sustainable,
            idle_mib,
            peak_mib,
            beside,
            overloaded,
            flood,
        })
    }

    fn polite(&self, server: &Server, seconds: &str) -> Result<Report> {
        let load = [
            "produce",
            "--topic",
            "Polite",
            "--connections",
            "1",
            "--rate",
            POLITE_RATE,
            "--warm-up",
            "1",
            "--seconds",
            seconds,
        ];
        self.programs.try_load(server, &load)
    }
}

impl Row {
    fn new(system: System, sync_flush: bool) -> Row {
        Row {
            system,
            sync_flush,
            samples: Vec::new(),
        }
    }

    fn name(&self) -> String {
        let flush = match self.sync_flush {
            true => "SYNC_FLUSH",
            false => "ASYNC_FLUSH",
        };
        format!("{:?}, {flush}", self.system)
    }

    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of))
    }

    fn times(&self) -> f64 {
        self.median(|sample| p99(&sample.overloaded) / p99(&sample.beside))
    }

    /// Requests of the polite one that were refused beside too much.
    fn refused(&self) -> u64 {
        let samples = self.samples.iter();
        samples.map(|sample| sample.overloaded.refused()).sum()
    }

    fn growth_mib(&self) -> f64 {
        self.median(|sample| sample.peak_mib - sample.idle_mib)
    }

    /// Whether each refusal says why.
    fn says_why(&self) -> bool {
        let mut all = self.samples.iter().flat_map(Sample::refusals);
        all.all(|refusal| refusal["code"] == 2 && refusal["remark"] != "")
    }

    fn ok(&self) -> bool {
        self.times() <= TIMES_MAX
            && self.refused() == 0
            && self.growth_mib() <= MEMORY_MAX
            && self.says_why()
    }

    /// Each kind of refusal, in the words of the first.
    fn said(&self) -> Vec<String> {
        let mut said: Vec<(String, u64)> = Vec::new();
        for refusal in self.samples.iter().flat_map(Sample::refusals) {
            let remark = refusal["remark"].as_str().unwrap_or_default();
            let mut kind = remark.chars().filter(|letter| !letter.is_ascii_digit());
            let kind = kind.by_ref().collect::<String>();
            let kind = format!("code {} {kind}", refusal["code"]);
            match said.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, sum)) => *sum += count(refusal),
                None => said.push((kind, count(refusal))),
            }
        }
        let lines = said.into_iter();
        lines
            .map(|(kind, count)| format!("{}, refused {count} times: {kind}", self.name()))
            .collect()
    }

    fn json(&self) -> Value {
        let samples = self.samples.iter().map(|sample| {
            json!({
                "sustainable": sample.sustainable, "idle_mib": sample.idle_mib, "peak_mib": sample.peak_mib,
                "beside": sample.beside.0, "overloaded": sample.overloaded.0, "flood": sample.flood.0,
            })
        });
        json!({
            "name": self.name(), "samples": samples.collect::<Vec<_>>(), "p99_times": self.times(),
            "refused": self.refused(), "growth_mib": self.growth_mib(), "says_why": self.says_why(), "ok": self.ok(),
        })
    }
}

impl Sample {
    fn refusals(&self) -> impl Iterator<Item = &Value> {
        self.overloaded.errors().chain(self.flood.errors())
    }
}

fn table(rows: &[Row]) -> String {
    let mut cells = vec![
        [
            "",
            "sustainable [/s]",
            "polite p99 beside it [ms]",
            "beside ten times it [ms]",
            "times",
            "polite ones refused",
            "taken of the flood [/s]",
            "memory: idle, peak [MiB]",
            "required",
            "ok",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for row in rows {
        let millis = |of: fn(&Sample) -> &Report| {
            let all: Vec<f64> = row.samples.iter().map(|one| p99(of(one)) / 1e3).collect();
            let (min, max) = (
                all.iter().copied().fold(f64::MAX, f64::min),
                all.iter().copied().fold(0.0, f64::max),
            );
            let median = row.median(|sample| p99(of(sample)) / 1e3);
            format!("{median:.1} ({min:.1}..{max:.1})")
        };
        let (required, ok) = match row.system {
            System::Skylark => (
                format!(
                    "<= {TIMES_MAX} times, none refused, <= {MEMORY_MAX} MiB more, refusals of others with a cause"
                ),
                if row.ok() { "yes" } else { "NO" },
            ),
            _ => (String::new(), ""),
        };
        let taken = |sample: &Sample| number(&sample.flood, "/acknowledged_per_second");
        cells.push(vec![
            row.name(),
            format!("{:.0}", row.median(|sample| sample.sustainable)),
            millis(|sample| &sample.beside),
            millis(|sample| &sample.overloaded),
            format!("{:.2}", row.times()),
            row.refused().to_string(),
            format!("{:.0}", row.median(taken)),
            format!(
                "{:.0}, {:.0}",
                row.median(|sample| sample.idle_mib),
                row.median(|sample| sample.peak_mib)
            ),
            required,
            ok.to_owned(),
        ]);
    }
    aligned(&cells)
}

fn number(report: &Report, at: &str) -> f64 {
    report.number(at).unwrap_or(f64::NAN)
}

/// In microseconds.
fn p99(report: &Report) -> f64 {
    number(report, "/latency_us/p99")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(beside: f64, overloaded: f64, errors: Value, flood: Value) -> Sample {
        Sample {
            sustainable: 1e5,
            idle_mib: 10.0,
            peak_mib: 60.0,
            beside: Report(json!({ "latency_us": { "p99": beside }, "errors": [] })),
            overloaded: Report(json!({ "latency_us": { "p99": overloaded }, "errors": errors })),
            flood: Report(json!({ "errors": flood })),
        }
    }

    fn ok(sample: Sample) -> bool {
        let mut row = Row::new(System::Skylark, true);
        row.samples.push(sample);
        row.ok()
    }

    #[test]
    fn what_is_required() {
        let refused =
            |code: i32, remark: &str| json!([{ "code": code, "remark": remark, "count": 3 }]);
        let none = || json!([]);
        assert!(ok(sample(1e3, 2e3, none(), none())));
        assert!(!ok(sample(1e3, 2.1e3, none(), none())));
        assert!(!ok(sample(1e3, 1e3, refused(2, "full"), none())));
        assert!(ok(sample(1e3, 1e3, none(), refused(2, "full"))));
        assert!(!ok(sample(1e3, 1e3, none(), refused(2, ""))));
        assert!(!ok(sample(1e3, 1e3, none(), refused(10, "timeout"))));
        assert!(!ok(sample(f64::NAN, 1e3, none(), none())));
    }

    #[test]
    fn refusals_that_differ_in_numbers_only_are_one() {
        let mut row = Row::new(System::Apache, false);
        for ms in [201, 202] {
            let remark = format!("period in queue: {ms}ms");
            let refused = json!([{ "code": 2, "remark": remark, "count": 2 }]);
            row.samples.push(sample(1.0, 1.0, json!([]), refused));
        }
        assert_eq!(
            row.said(),
            ["Apache, ASYNC_FLUSH, refused 4 times: code 2 period in queue: ms"]
        );
        assert_eq!(table(&[row]).lines().count(), 3);
    }
}
