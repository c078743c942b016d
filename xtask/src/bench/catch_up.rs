//! The suite `catch-up`: a consumer reads from the beginning what is not in memory any more, beside live traffic.
//! The server is started anew and its files are put out of the page cache before each reading. Live traffic goes on for as
//! long as the reading does, then as long on a server that nobody reads from, and then on one of an empty store while another
//! Skylark on the machine serves the reading: that one has nothing to do with it but the machine. Once more the reading has
//! a rate, at which it leaves some of the processors.
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Options;
use super::budget::{Figure, Need, P50, P99, Unit, micros};
use super::machine;
use super::report::Report;
use super::server::{Programs, RunningLoad, Server};
use super::table::{Samples, System};
use crate::shell::{root, target};

const GIB: u64 = 1 << 30;
/// A GiB a second is read in good times: it must last for [`SECONDS_MIN`].
const BYTES: u64 = 5 * GIB;
/// A message of 1 KiB takes so much of the log.
const RECORD_BYTES: u64 = 1264;
const SIZE: &str = "1024";
/// Messages a second of a reading with a rate: about what 1 Gbit/s brings.
const PACE: &str = "100000";
const NO_PACE: &str = "0";
/// Live messages a second, to pulls that wait.
const LIVE_RATE: &str = "5000";
const COLD: &str = "Cold";
/// The cold reading takes some of this to begin.
const BEGIN: Duration = Duration::from_millis(300);
/// How often we look whether it has ended: live traffic goes on for so much longer.
const LOOK: Duration = Duration::from_millis(5);
/// Less live traffic says nothing of its p99.
const SECONDS_MIN: f64 = 3.0;
/// No reading takes longer.
const SECONDS_MAX: &str = "600";

struct Pace {
    rounds: usize,
    /// Seconds of live traffic that don't count; with Apache for the JVM's compiler.
    warm_up: &'static str,
    jvm_warm_up: &'static str,
}

const SHORT: Pace = Pace {
    rounds: 1,
    warm_up: "1",
    jvm_warm_up: "4",
};
const FULL: Pace = Pace {
    rounds: 3,
    warm_up: "1",
    jvm_warm_up: "10",
};

const P999: &str = "/latency_us/p999";
const ALONE: [Figure; 3] = [
    micros("live alone, p50", P50, &[]),
    micros("live alone, p99", P99, &[]),
    micros("live alone, p99.9", P999, &[]),
];
const BESIDE: [Figure; 4] = [
    micros("live beside the reading, p50", P50, &[]),
    micros("live beside the reading, p99", P99, &[]),
    micros("live beside the reading, p99.9", P999, &[]),
    micros("live beside the reading, max", "/latency_us/max", &[]),
];
const BESIDE_PACED: [Figure; 2] = [
    micros("live beside a reading of 100,000/s, p50", P50, &[]),
    micros("live beside a reading of 100,000/s, p99", P99, &[]),
];
const OTHER: [Figure; 1] = [micros(
    "live beside another broker's reading, p99",
    P99,
    &[],
)];
const BESIDE_TIMES: [Figure; 1] = [times("live p99, beside / alone", &[Need::AtMost(2.0)])];
const BESIDE_PACED_TIMES: [Figure; 1] = [times(
    "live p99, beside a reading of 100,000/s / alone",
    &[Need::AtMost(2.0)],
)];
const OTHER_TIMES: [Figure; 1] = [times("live p99, beside another broker's / alone", &[])];
const READING: [Figure; 1] = [reading("reading alone")];
const READING_BESIDE: [Figure; 1] = [reading("reading beside live traffic")];
const READING_PACED: [Figure; 1] = [reading("reading of 100,000/s")];
const READING_OTHER: [Figure; 1] = [reading("another broker's reading")];
const FROM_DISK: Figure = from_disk("reading alone, really from the disk");
const FROM_DISK_BESIDE: Figure = from_disk("reading beside, really from the disk");
const FROM_DISK_PACED: Figure = from_disk("reading of 100,000/s, really from the disk");
const FROM_DISK_OTHER: Figure = from_disk("another broker's, really from the disk");

const fn times(name: &'static str, needs: &'static [Need]) -> Figure {
    Figure {
        name,
        at: "",
        unit: Unit::Times,
        needs,
    }
}

const fn reading(name: &'static str) -> Figure {
    Figure {
        name,
        at: "/mebibytes_per_second",
        unit: Unit::MebibytesPerSecond,
        needs: &[],
    }
}

const fn from_disk(name: &'static str) -> Figure {
    Figure {
        name,
        at: "",
        unit: Unit::Percent,
        needs: &[],
    }
}

/// Every row of the table in its order.
fn figures() -> impl Iterator<Item = &'static Figure> {
    const ALL: [&[Figure]; 15] = [
        &ALONE,
        &BESIDE,
        &BESIDE_TIMES,
        &BESIDE_PACED,
        &BESIDE_PACED_TIMES,
        &OTHER,
        &OTHER_TIMES,
        &READING,
        &READING_BESIDE,
        &READING_PACED,
        &READING_OTHER,
        &[FROM_DISK],
        &[FROM_DISK_BESIDE],
        &[FROM_DISK_PACED],
        &[FROM_DISK_OTHER],
    ];
    ALL.into_iter().flatten()
}

pub(super) fn measure(options: &Options) -> Result<()> {
    let systems = options.only.iter().copied();
    let systems: Vec<System> = systems.filter(|system| *system != System::Floor).collect();
    let programs = Programs::build(&systems)?;
    let scratch = tempfile::Builder::new()
        .prefix("catch-up-")
        .tempdir_in(target())?;
    let mut suite = Suite {
        programs,
        home: scratch.path().to_owned(),
        messages: (BYTES / RECORD_BYTES).to_string(),
        pace: if options.short { SHORT } else { FULL },
        samples: Samples::default(),
    };
    for system in systems {
        suite
            .system(system)
            .with_context(|| format!("{system:?}"))?;
    }
    suite.samples.notes.push(machine::stops());
    let machine = machine::describe(root());
    let (gib, samples) = (BYTES / GIB, &suite.samples);
    if options.json {
        let rows = samples.json(figures());
        println!(
            "{:#}",
            json!({ "machine": machine, "gib": gib, "live_rate": LIVE_RATE, "rows": rows, "notes": samples.notes })
        );
    } else {
        println!(
            "\n{machine}; {gib} GiB of {SIZE} B messages in 4 queues, read cold by 4 connections beside {LIVE_RATE}/s of 128 B; \
             medians of {} rounds\n",
            suite.pace.rounds
        );
        print!("{}", samples.table(figures()));
        samples.notes.iter().for_each(|note| println!("- {note}"));
    }
    Ok(())
}

struct Suite {
    programs: Programs,
    home: PathBuf,
    /// That are read.
    messages: String,
    pace: Pace,
    samples: Samples,
}

/// A reading that goes on.
struct Reading {
    load: RunningLoad,
    /// Who serves it, and what the disk had given to it before.
    broker: u32,
    bytes_before: u64,
}

impl Suite {
    fn system(&mut self, system: System) -> Result<()> {
        let home = self.home.join(format!("{system:?}"));
        eprintln!("-- {system:?}: filling {} GiB", BYTES / GIB);
        let server = Server::start(&self.programs, system, &home, false)?;
        let fill = [
            "--size",
            SIZE,
            "--batch",
            "32",
            "--in-flight",
            "8",
            "--messages",
            &self.messages,
        ];
        let fill = [&["produce", "--topic", COLD][..], &fill].concat();
        self.programs.load(&server, &fill)?;
        server.stop()?;
        for round in 1..=self.pace.rounds {
            eprintln!("-- {system:?}: round {round} of {}", self.pace.rounds);
            self.round(system, &home)?;
        }
        Ok(fs::remove_dir_all(&home)?)
    }

    fn round(&mut self, system: System, home: &Path) -> Result<()> {
        let server = self.start_cold(system, home)?;
        let reading = self.read(&server, NO_PACE)?;
        self.ended(system, &server, reading, &READING, &FROM_DISK)?;
        server.stop()?;

        let (took, from_disk) = (&READING_BESIDE, &FROM_DISK_BESIDE);
        let beside = self.live_beside(system, home, NO_PACE, took, from_disk)?;
        self.samples.take(system, &BESIDE, &beside)?;
        let (took, from_disk) = (&READING_PACED, &FROM_DISK_PACED);
        let paced = self.live_beside(system, home, PACE, took, from_disk)?;
        self.samples.take(system, &BESIDE_PACED, &paced)?;

        let server = self.start_cold(system, home)?;
        self.warm(system, &server)?;
        let as_long = beside.number("/seconds")?.ceil().to_string();
        let alone = self.live(&server, &["--seconds", &as_long])?;
        let alone = alone.try_report(&server)?;
        self.samples.take(system, &ALONE, &alone)?;
        for (times, live) in [(&BESIDE_TIMES, &beside), (&BESIDE_PACED_TIMES, &paced)] {
            add_ratio(&mut self.samples, system, times, live, &alone)?;
        }
        server.stop()?;
        if system == System::Skylark {
            self.beside_another(home, &alone)?;
        }
        Ok(())
    }

    /// Live traffic beside a reading from the same server.
    fn live_beside(
        &mut self,
        system: System,
        home: &Path,
        rate: &str,
        took: &[Figure],
        from_disk: &Figure,
    ) -> Result<Report> {
        let server = self.start_cold(system, home)?;
        self.warm(system, &server)?;
        let reading = self.read(&server, rate)?;
        let (live, reading) = self.beside(&server, reading)?;
        self.ended(system, &server, reading, took, from_disk)?;
        server.stop()?;
        Ok(live)
    }

    /// What the machine allows a broker that has nothing to do with the reading.
    fn beside_another(&mut self, home: &Path, alone: &Report) -> Result<()> {
        let system = System::Skylark;
        let own = self.home.join("live");
        let server = Server::start(&self.programs, system, &own, false)?;
        self.warm(system, &server)?;
        let other = self.start_cold(system, home)?;
        let reading = self.read(&other, NO_PACE)?;
        let (live, reading) = self.beside(&server, reading)?;
        self.ended(system, &other, reading, &READING_OTHER, &FROM_DISK_OTHER)?;
        self.samples.take(system, &OTHER, &live)?;
        add_ratio(&mut self.samples, system, &OTHER_TIMES, &live, alone)?;
        other.stop()?;
        server.kill()?;
        Ok(fs::remove_dir_all(own)?)
    }

    /// A server with nothing of its store in the page cache.
    fn start_cold(&self, system: System, home: &Path) -> Result<Server> {
        machine::uncache(&home.join("store"))?;
        Server::start(&self.programs, system, home, false)
    }

    /// The topic is there, and hot code is compiled.
    fn warm(&self, system: System, server: &Server) -> Result<()> {
        let seconds = match system {
            System::Apache => self.pace.jvm_warm_up,
            _ => self.pace.warm_up,
        };
        let load = self.live(server, &["--seconds", seconds])?;
        load.report(server).map(|_| ())
    }

    fn live(&self, server: &Server, length: &[&str]) -> Result<RunningLoad> {
        let load = ["latency", "--topic", "Live", "--rate", LIVE_RATE];
        let load = [&load[..], &["--warm-up", "0"], length].concat();
        self.programs.start_load(server, &load)
    }

    fn read(&self, server: &Server, rate: &str) -> Result<Reading> {
        let load = ["consume", "--topic", COLD, "--rate", rate];
        let load = [&load[..], &["--messages", &self.messages]].concat();
        let broker = server.broker_id();
        Ok(Reading {
            broker,
            bytes_before: read_bytes(broker)?,
            load: self.programs.start_load(server, &load)?,
        })
    }

    /// Live traffic for as long as a reading goes on, here or elsewhere.
    fn beside(&self, server: &Server, mut reading: Reading) -> Result<(Report, Reading)> {
        sleep(BEGIN);
        let length = ["--until-input-ends", "--seconds", SECONDS_MAX];
        let mut live = self.live(server, &length)?;
        while !reading.load.is_over()? && !live.is_over()? {
            sleep(LOOK);
        }
        let live = live.try_report(server)?;
        long_enough(&live)?;
        Ok((live, reading))
    }

    /// Takes what a reading gave.
    fn ended(
        &mut self,
        system: System,
        server: &Server,
        reading: Reading,
        rate: &[Figure],
        from_disk: &Figure,
    ) -> Result<()> {
        let mut report = reading.load.try_report(server)?;
        let mebibytes = report.number("/bytes_per_second")? / f64::from(1 << 20);
        report.0["mebibytes_per_second"] = json!(mebibytes);
        self.samples.take(system, rate, &report)?;
        let read = read_bytes(reading.broker)? - reading.bytes_before;
        let percent = read as f64 * 100.0 / BYTES as f64;
        self.samples.add(system, from_disk.name, percent);
        Ok(())
    }
}

/// One p99 to another; none if one of the loads failed.
fn add_ratio(
    samples: &mut Samples,
    system: System,
    times: &'static [Figure; 1],
    of: &Report,
    to: &Report,
) -> Result<()> {
    if let Some(failure) = of.failure().or(to.failure()) {
        samples.fail(system, times, &failure);
        return Ok(());
    }
    let ratio = of.number(P99)? / to.number(P99)?;
    samples.add(system, times[0].name, ratio);
    Ok(())
}

fn long_enough(live: &Report) -> Result<()> {
    let seconds = live.number("/seconds")?;
    ensure!(
        seconds >= SECONDS_MIN,
        "the reading was over after {seconds:.1} s of live traffic; {SECONDS_MIN} s are needed"
    );
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn live(p99: f64, lost: u64) -> Report {
        Report(json!({ "latency_us": { "p99": p99 }, "seconds": 3.0, "errors": [], "lost": lost }))
    }

    /// The verdict on a live p99 beside the reading, if the one alone is 100.
    fn verdict(beside: f64, lost: u64) -> String {
        let mut samples = Samples::default();
        let (alone, beside) = (live(100.0, 0), live(beside, lost));
        add_ratio(
            &mut samples,
            System::Skylark,
            &BESIDE_TIMES,
            &beside,
            &alone,
        )
        .unwrap();
        let row = samples.json([&BESIDE_TIMES[0]].into_iter());
        row[0]["ok"].as_str().unwrap().to_owned()
    }

    #[test]
    fn live_traffic_may_take_twice_as_long() {
        assert_eq!(verdict(199.0, 0), "yes");
        assert_eq!(verdict(201.0, 0), "NO");
        assert_eq!(verdict(100.0, 1), "NO", "one was lost");
    }

    #[test]
    fn a_reading_that_was_over_too_soon_says_nothing() {
        long_enough(&live(1.0, 0)).unwrap();
        let short = Report(json!({ "seconds": 2.9 }));
        assert!(long_enough(&short).is_err());
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: HashSet<_> = figures().map(|figure| figure.name).collect();
        assert_eq!(names.len(), figures().count());
    }
}
