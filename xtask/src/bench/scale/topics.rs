//! Topics at scale: what many queues cost that nobody uses at the moment, and how each cost grows.
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::machine::open_files;
use super::super::report::Report;
use super::super::server::{Programs, Server};
use super::super::table::{System, aligned, median};

const MANY: &str = "Many";
const ONE: &str = "One";
const LIVE: &str = "Live";
/// Messages a second of the producer that must not feel what goes on beside it.
const LIVE_RATE: &str = "500";
/// Messages a second to queues at random beside it: as many queues have something to write as that.
const BESIDE_RATE: &str = "20000";
/// A checkpoint, and offsets that are saved, lie in so many seconds.
const LIVE_SECONDS: &str = "12";
const IDLE: Duration = Duration::from_secs(12);
/// Apache is given no more time than this to make its topics.
const APACHE_LIMIT: Duration = Duration::from_secs(120);

/// Topics, and queues of each.
#[derive(Clone, Copy)]
struct Shape {
    topics: u32,
    queues: u32,
}

const fn shape(topics: u32, queues: u32) -> Shape {
    Shape { topics, queues }
}

const SHORT: [Shape; 3] = [shape(10, 4), shape(2_000, 4), shape(10_000, 1)];
const FULL: [Shape; 3] = [shape(10, 4), shape(10_000, 4), shape(100_000, 1)];

/// What is required of a figure.
#[derive(Clone, Copy)]
enum Need {
    AtMost(f64),
    /// Of the figure with ten topics.
    ShareOfTen(f64),
}

/// A line of the table: its name, digits behind the point, and what is required.
struct Figure(&'static str, usize, Option<Need>);

const MADE: Figure = Figure("make them all, one message a queue [s]", 2, None);
const LIVE_MADE: Figure = Figure("live producer meanwhile, max [ms]", 1, None);
const LIVE_MADE_P99: Figure = Figure("live producer meanwhile, p99 [ms]", 1, None);
const MEMORY: Figure = Figure("memory idle after [MiB]", 1, None);
const FILES: Figure = Figure("open files", 0, None);
const THREADS: Figure = Figure("threads", 0, None);
const STOP: Figure = Figure("stop [s]", 2, None);
const CLEAN: Figure = Figure("ready after that [s]", 2, Some(Need::AtMost(1.0)));
const MEMORY_AGAIN: Figure = Figure("memory then [MiB]", 1, None);
const KILLED: Figure = Figure("ready after kill -9 [s]", 2, Some(Need::AtMost(3.0)));
const RANDOM: Figure = Figure(
    "send 128 B, 4 x 64, to all at random [1/s]",
    0,
    Some(Need::ShareOfTen(0.7)),
);
const TO_ONE: Figure = Figure("the same to one topic [1/s]", 0, None);
const PULL: Figure = Figure("pull of an idle queue [us]", 0, None);
const LIVE_ALONE: Figure = Figure("live producer alone, max [ms]", 1, None);
const LIVE_BESIDE: Figure = Figure(
    "live producer beside 20,000/s at random, max [ms]",
    1,
    Some(Need::AtMost(20.0)),
);
const LIVE_BESIDE_P99: Figure =
    Figure("live producer beside 20,000/s at random, p99 [ms]", 1, None);

const FIGURES: [&Figure; 16] = [
    &MADE,
    &LIVE_MADE,
    &LIVE_MADE_P99,
    &MEMORY,
    &FILES,
    &THREADS,
    &STOP,
    &CLEAN,
    &MEMORY_AGAIN,
    &KILLED,
    &RANDOM,
    &TO_ONE,
    &PULL,
    &LIVE_ALONE,
    &LIVE_BESIDE,
    &LIVE_BESIDE_P99,
];

/// What was measured of each shape.
pub(super) struct Topics {
    columns: Vec<Column>,
    /// What readers of the table must know.
    notes: Vec<String>,
}

struct Column {
    shape: Shape,
    values: Vec<(&'static str, f64)>,
}

pub(super) fn measure(
    programs: &Programs,
    home: &Path,
    systems: &[System],
    short: bool,
) -> Result<Topics> {
    let shapes = if short { SHORT } else { FULL };
    let mut measured = Topics {
        columns: Vec::new(),
        notes: Vec::new(),
    };
    for shape in shapes {
        eprintln!("-- {} topics of {} queues", shape.topics, shape.queues);
        let mut run = Run {
            programs,
            home: home.join("topics"),
            shape,
            seconds: if short { "2" } else { "5" },
            rounds: if short { 1 } else { 3 },
            values: Vec::new(),
        };
        run.measure()
            .with_context(|| format!("{} topics of {} queues", shape.topics, shape.queues))?;
        let values = run.values;
        measured.columns.push(Column { shape, values });
    }
    if systems.contains(&System::Apache) {
        let note = apache(programs, &home.join("apache"), shapes[1])?;
        measured.notes.push(note);
    }
    Ok(measured)
}

/// One shape, in a fresh directory.
struct Run<'a> {
    programs: &'a Programs,
    home: PathBuf,
    shape: Shape,
    seconds: &'static str,
    rounds: usize,
    values: Vec<(&'static str, f64)>,
}

impl Run<'_> {
    fn measure(&mut self) -> Result<()> {
        let server = self.start()?;
        self.make(&server)?;
        sleep(IDLE);
        self.add(&MEMORY, server.resident_mib()?);
        let broker = server.broker_id();
        self.add(&FILES, open_files(broker)? as f64);
        let threads = fs::read_dir(format!("/proc/{broker}/task"))?.count();
        self.add(&THREADS, threads as f64);
        let asked = Instant::now();
        server.stop()?;
        self.add(&STOP, asked.elapsed().as_secs_f64());

        let server = self.start()?;
        self.add(&CLEAN, server.ready_after.as_secs_f64());
        self.add(&MEMORY_AGAIN, server.resident_mib()?);
        server.kill()?;
        let server = self.start()?;
        self.add(&KILLED, server.ready_after.as_secs_f64());

        let pull = [
            "consume",
            "--topic",
            "Many-000000",
            "--queues",
            "1",
            "--messages",
            "1",
        ];
        let pull = self.programs.load(&server, &pull)?;
        self.add(&PULL, pull.number("/latency_us/p50")?);
        let alone = self.programs.load(&server, &live(LIVE_SECONDS))?;
        self.add(&LIVE_ALONE, alone.number("/latency_us/max")? / 1e3);
        let beside = [
            &self.at_random(LIVE_SECONDS)[..],
            &["--rate", BESIDE_RATE].map(str::to_owned),
        ]
        .concat();
        let beside: Vec<&str> = beside.iter().map(String::as_str).collect();
        let beside = self.programs.start_load(&server, &beside)?;
        let felt = self.programs.load(&server, &live(LIVE_SECONDS));
        beside.report(&server)?;
        let felt = felt?;
        self.add(&LIVE_BESIDE, felt.number("/latency_us/max")? / 1e3);
        self.add(&LIVE_BESIDE_P99, felt.number("/latency_us/p99")? / 1e3);
        self.rates(&server)?;
        server.kill()?;
        Ok(fs::remove_dir_all(&self.home)?)
    }

    fn start(&self) -> Result<Server> {
        Server::start(self.programs, System::Skylark, &self.home, false)
    }

    /// Sends to every queue once, beside a producer that goes on as before.
    fn make(&mut self, server: &Server) -> Result<()> {
        let made = self.shape.make();
        let made: Vec<&str> = made.iter().map(String::as_str).collect();
        let mut made = self.programs.start_load(server, &made)?;
        let mut live = Live::default();
        while !made.is_over()? {
            live.add(self.programs, server)?;
        }
        let made = made.report(server)?;
        self.add(&MADE, made.number("/seconds")?);
        self.add(&LIVE_MADE, live.max_ms);
        self.add(&LIVE_MADE_P99, live.p99_ms);
        Ok(())
    }

    /// To all at random and to one, in turn.
    fn rates(&mut self, server: &Server) -> Result<()> {
        let (mut random, mut one) = (Vec::new(), Vec::new());
        let at_random = self.at_random(self.seconds);
        let at_random: Vec<&str> = at_random.iter().map(String::as_str).collect();
        let to_one = ["produce", "--topic", ONE, "--seconds", self.seconds];
        for _ in 0..self.rounds {
            for (rates, load) in [(&mut random, &at_random[..]), (&mut one, &to_one)] {
                let report = self.programs.load(server, load)?;
                rates.push(report.number("/messages_per_second")?);
            }
        }
        self.add(&RANDOM, median(random));
        self.add(&TO_ONE, median(one));
        Ok(())
    }

    fn at_random(&self, seconds: &str) -> Vec<String> {
        let Shape { topics, queues } = self.shape;
        let (topics, queues) = (topics.to_string(), queues.to_string());
        let load = [
            "produce", "--topic", MANY, "--topics", &topics, "--queues", &queues,
        ];
        let length = ["--seconds", seconds];
        load.iter()
            .chain(&length)
            .map(|word| (*word).to_owned())
            .collect()
    }

    fn add(&mut self, figure: &Figure, value: f64) {
        eprintln!("   {}: {value:.*}", figure.0, figure.1);
        self.values.push((figure.0, value));
    }
}

/// What a live producer felt, a run of two seconds after the other.
#[derive(Default)]
struct Live {
    max_ms: f64,
    p99_ms: f64,
}

impl Live {
    fn add(&mut self, programs: &Programs, server: &Server) -> Result<()> {
        let felt = programs.load(server, &live("2"))?;
        self.max_ms = self.max_ms.max(felt.number("/latency_us/max")? / 1e3);
        self.p99_ms = self.p99_ms.max(felt.number("/latency_us/p99")? / 1e3);
        Ok(())
    }
}

/// A producer with one connection.
fn live(seconds: &str) -> [&str; 11] {
    [
        "produce",
        "--topic",
        LIVE,
        "--rate",
        LIVE_RATE,
        "--connections",
        "1",
        "--warm-up",
        "0",
        "--seconds",
        seconds,
    ]
}

impl Shape {
    fn make(&self) -> Vec<String> {
        let (topics, queues) = (self.topics.to_string(), self.queues.to_string());
        let load = [
            "topics", "--topic", MANY, "--topics", &topics, "--queues", &queues,
        ];
        load.iter().map(|word| (*word).to_owned()).collect()
    }

    fn name(&self) -> String {
        format!("{} x {}", self.topics, self.queues)
    }
}

/// How far Apache comes with the same.
fn apache(programs: &Programs, home: &Path, shape: Shape) -> Result<String> {
    eprintln!(
        "-- Apache: {} topics of {} queues",
        shape.topics, shape.queues
    );
    let server = Server::start(programs, System::Apache, home, false)?;
    let made = shape.make();
    let made: Vec<&str> = made.iter().map(String::as_str).collect();
    let mut load = programs.start_load(&server, &made)?;
    let begun = Instant::now();
    while !load.is_over()? && begun.elapsed() < APACHE_LIMIT {
        sleep(Duration::from_millis(100));
    }
    let took = begun.elapsed().as_secs_f64();
    let (memory, name) = (server.resident_mib()?, shape.name());
    let files = open_files(server.broker_id())?;
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.broker_id()))?;
    let queues = maps.matches("/consumequeue/").count();
    let ended = match load.is_over()? {
        true => Some(load.report(&server)),
        false => {
            load.kill()?;
            None
        }
    };
    let what = how_far(&name, took, ended);
    server.kill()?;
    fs::remove_dir_all(home)?;
    Ok(format!(
        "Apache {what}; it has {queues} queue files mapped then, {files} open files, {memory:.0} MiB"
    ))
}

/// `ended`: what the load said, if it came to its end.
fn how_far(name: &str, took: f64, ended: Option<Result<Report>>) -> String {
    match ended {
        Some(Ok(_)) => format!("makes {name} in {took:.1} s"),
        Some(Err(error)) => format!("does not make {name}, after {took:.1} s: {error:#}"),
        None => format!("has not made {name} after {took:.0} s"),
    }
}

impl Topics {
    fn value(&self, column: usize, figure: &Figure) -> Option<f64> {
        let values = &self.columns.get(column)?.values;
        values
            .iter()
            .find(|(name, _)| *name == figure.0)
            .map(|(_, value)| *value)
    }

    fn is_reached(&self, column: usize, figure: &Figure) -> Option<bool> {
        let value = self.value(column, figure)?;
        Some(match figure.2? {
            Need::AtMost(most) => value <= most,
            Need::ShareOfTen(share) => value >= share * self.value(0, figure)?,
        })
    }

    pub(super) fn json(&self) -> Value {
        let column = |(at, column): (usize, &Column)| {
            let figure = |figure: &&Figure| json!({ "name": figure.0, "value": self.value(at, figure), "ok": self.is_reached(at, figure) });
            let rows: Vec<Value> = FIGURES.iter().map(figure).collect();
            json!({ "topics": column.shape.topics, "queues": column.shape.queues, "rows": rows })
        };
        let columns: Vec<Value> = self.columns.iter().enumerate().map(column).collect();
        json!({ "shapes": columns, "notes": self.notes })
    }

    /// A table with a column for each shape, and how many times the first one each is.
    pub(super) fn text(&self) -> String {
        let mut head = vec!["topics x queues".to_owned()];
        head.extend(self.columns.iter().map(|column| column.shape.name()));
        head.extend(["required", "reached"].map(str::to_owned));
        let mut rows = vec![head];
        for figure in FIGURES {
            let mut row = vec![figure.0.to_owned()];
            for at in 0..self.columns.len() {
                row.push(self.cell(at, figure));
            }
            row.push(match figure.2 {
                None => String::new(),
                Some(Need::AtMost(most)) => format!("<= {most}"),
                Some(Need::ShareOfTen(share)) => format!(">= {share} x 10 topics"),
            });
            let reached: Vec<bool> = (0..self.columns.len())
                .filter_map(|at| self.is_reached(at, figure))
                .collect();
            row.push(
                match reached.as_slice() {
                    [] => "",
                    all if all.contains(&false) => "NO",
                    _ => "yes",
                }
                .to_owned(),
            );
            rows.push(row);
        }
        let notes: String = self
            .notes
            .iter()
            .map(|note| format!("\n- {note}\n"))
            .collect();
        aligned(&rows) + &notes
    }

    fn cell(&self, at: usize, figure: &Figure) -> String {
        let Some(value) = self.value(at, figure) else {
            return "-".to_owned();
        };
        let digits = figure.1;
        match self.value(0, figure) {
            Some(first) if at > 0 && first > 0.0 => {
                format!("{value:.digits$} (x {:.2})", value / first)
            }
            _ => format!("{value:.digits$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn topics_that_were_refused_are_not_made() {
        let words = |ended| how_far("10 x 4", 0.2, ended);
        assert_eq!(words(Some(Ok(Report(json!({}))))), "makes 10 x 4 in 0.2 s");
        assert_eq!(
            words(Some(Err(anyhow!("40 x code 2")))),
            "does not make 10 x 4, after 0.2 s: 40 x code 2"
        );
        assert_eq!(words(None), "has not made 10 x 4 after 0 s");
    }
}
