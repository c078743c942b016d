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
use super::table::{System, aligned, median, spread};
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
const RATE: &str = "/messages_per_second";
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
    let (machine, stops) = (machine::describe(root()), machine::stops());
    if options.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        println!(
            "{:#}",
            json!({ "machine": machine, "stops": stops, "rows": rows })
        );
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
    println!("- {stops}");
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
    idle_mib: f64,
    peak_mib: f64,
    /// What can be done: alone, and with the polite one beside it.
    sustainable: Report,
    others: Report,
    /// The polite one beside that and beside too much, and the greedy ones.
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
        let sustainable = self
            .programs
            .try_load(&server, &[&full[..], &[&seconds]].concat())?;

        let others = self
            .programs
            .start_load(&server, &[&full[..], &[&longer]].concat())?;
        let beside = self.polite(&server, &seconds)?;
        let others = others.try_report(&server)?;

        let offered = sustainable.number(RATE)? * TIMES_OFFERED;
        let offered = format!("{offered:.0}");
        let flood = [
            "flood",
            "--connections",
            GREEDY,
            "--rate",
            &offered,
            "--seconds",
            &longer,
        ];
        let flood = self.programs.start_load(&server, &flood)?;
        let overloaded = self.polite(&server, &seconds)?;
        let flood = flood.try_report(&server)?;
        let peak_mib = machine::peak_mib(server.broker_id())?;
        server.kill()?;
        fs::remove_dir_all(home)?;
        Ok(Sample {
            idle_mib,
            peak_mib,
            sustainable,
            others,
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

    /// Requests of the polite one that were refused beside too much: what it must not notice.
    fn refused(&self) -> u64 {
        let samples = self.samples.iter();
        samples.map(|sample| sample.overloaded.refused()).sum()
    }

    /// What was refused or lost where nobody asked for too much.
    fn failures(&self) -> Vec<String> {
        let loads = |sample: &Sample| {
            [&sample.sustainable, &sample.others, &sample.beside].map(Report::failure)
        };
        self.samples.iter().flat_map(loads).flatten().collect()
    }

    /// Requests of the greedy ones without an answer, and connections of theirs that were closed: nobody said why.
    fn unexplained(&self) -> f64 {
        let number = |sample: &Sample, at| number(&sample.flood, at);
        let samples = self.samples.iter();
        let each = samples.map(|one| number(one, "/unanswered") + number(one, "/closed"));
        each.sum()
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
            && self.failures().is_empty()
            && self.unexplained() == 0.0
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
        let name = self.name();
        let refused = said.into_iter();
        let refused = refused.map(|(kind, count)| format!("{name}, refused {count} times: {kind}"));
        let failures = self.failures().into_iter();
        let failures = failures.map(|failure| format!("{name}, FAILED without a flood: {failure}"));
        refused.chain(failures).collect()
    }

    fn json(&self) -> Value {
        let samples = self.samples.iter().map(|sample| {
            json!({
                "idle_mib": sample.idle_mib, "peak_mib": sample.peak_mib,
                "sustainable": sample.sustainable.0, "others": sample.others.0,
                "beside": sample.beside.0, "overloaded": sample.overloaded.0, "flood": sample.flood.0,
            })
        });
        json!({
            "name": self.name(), "samples": samples.collect::<Vec<_>>(), "p99_times": self.times(),
            "refused": self.refused(), "failures": self.failures(), "unexplained": self.unexplained(), "growth_mib": self.growth_mib(), "says_why": self.says_why(), "ok": self.ok(),
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
            "unanswered or closed",
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
            spread(&all, |ms| format!("{ms:.1}"))
        };
        let (required, ok) = match row.system {
            System::Skylark => (
                format!(
                    "<= {TIMES_MAX} times, none refused, <= {MEMORY_MAX} MiB more, all others answered, refusals with a cause"
                ),
                if row.ok() { "yes" } else { "NO" },
            ),
            _ => (String::new(), ""),
        };
        let taken = |sample: &Sample| number(&sample.flood, "/acknowledged_per_second");
        cells.push(vec![
            row.name(),
            format!(
                "{:.0}",
                row.median(|sample| number(&sample.sustainable, RATE))
            ),
            millis(|sample| &sample.beside),
            millis(|sample| &sample.overloaded),
            format!("{:.2}", row.times()),
            row.refused().to_string(),
            format!("{:.0}", row.median(taken)),
            format!("{:.0}", row.unexplained()),
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

/// Not a number if it isn't there, which reaches nothing.
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
        let good = || Report(json!({ "messages_per_second": 1e5, "errors": [] }));
        let polite =
            |p99, errors| Report(json!({ "latency_us": { "p99": p99 }, "errors": errors }));
        Sample {
            idle_mib: 10.0,
            peak_mib: 60.0,
            sustainable: good(),
            others: good(),
            beside: polite(beside, json!([])),
            overloaded: polite(overloaded, errors),
            flood: Report(json!({ "unanswered": 0, "closed": 0, "errors": flood })),
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
    fn whoever_floods_is_answered() {
        for (unanswered, closed, reached) in [(0, 0, true), (1, 0, false), (0, 1, false)] {
            let mut one = sample(1e3, 1e3, json!([]), json!([]));
            one.flood = Report(json!({ "unanswered": unanswered, "closed": closed, "errors": [] }));
            assert_eq!(ok(one), reached, "{unanswered} unanswered, {closed} closed");
        }
        let mut one = sample(1e3, 1e3, json!([]), json!([]));
        one.flood = Report(json!({ "errors": [] }));
        assert!(!ok(one), "a flood that does not say");
    }

    #[test]
    fn nothing_is_refused_without_a_flood() {
        let refused = || {
            Report(
                json!({ "errors": [{ "code": 2, "remark": "full", "count": 3 }], "messages_per_second": 1, "latency_us": { "p99": 1e3 } }),
            )
        };
        let loads: [fn(&mut Sample) -> &mut Report; 3] = [
            |one| &mut one.sustainable,
            |one| &mut one.others,
            |one| &mut one.beside,
        ];
        for load in loads {
            let mut one = sample(1e3, 1e3, json!([]), json!([]));
            *load(&mut one) = refused();
            let mut row = Row::new(System::Skylark, false);
            row.samples.push(one);
            assert!(!row.ok());
            assert_eq!(
                row.said(),
                ["Skylark, ASYNC_FLUSH, FAILED without a flood: 3 x code 2 \"full\""]
            );
        }
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
