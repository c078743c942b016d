//! Traffic at scale: bodies from 128 B to 64 KiB, 10,000 connections, 50 producers and 50 consumers at once.
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::budget::Need::{AtMost, ShareOf, ShareOfFloor, TimesApache};
use super::super::budget::{Figure, Load, P50, P99, Unit, length, micros, rate};
use super::super::machine::{open_files, resident_mib};
use super::super::server::{Programs, Server};
use super::super::table::{Samples, System};
use crate::process::Process;

const CONNECTIONS: u32 = 10_000;
/// Seconds between two messages of one of them: 1,000 a second together.
const EVERY: &str = "10";
/// How long they may take to come.
const CROWD_LIMIT: Duration = Duration::from_secs(120);
/// Buffers of a connection that has done nothing for two seconds are given back.
const SETTLE: Duration = Duration::from_secs(3);
/// For topics of as many queues as consumers can share.
const MANY_QUEUES: &str = "defaultTopicQueueNums=100\n";

/// How long things take.
struct Pace {
    rounds: usize,
    seconds: &'static str,
    /// What a JVM is given to compile its hot code before the first load.
    jvm_warm_up: &'static str,
    /// Long enough for every connection to have had its turn.
    turns: Duration,
}

const SHORT: Pace = Pace {
    rounds: 1,
    seconds: "1",
    jvm_warm_up: "4",
    turns: Duration::from_secs(10),
};
const FULL: Pace = Pace {
    rounds: 3,
    seconds: "4",
    jvm_warm_up: "10",
    turns: Duration::from_secs(20),
};

const SENDS: [Load; 4] = [
    sends(
        &["produce", "--size", "128"],
        &[rate(
            "send 128 B, 4 connections x 64",
            &[TimesApache(6.0), ShareOfFloor(0.55)],
        )],
    ),
    sends(
        &["produce", "--size", "1024"],
        &[rate(
            "send 1 KiB, same",
            &[TimesApache(5.0), ShareOfFloor(0.5)],
        )],
    ),
    sends(
        &["produce", "--size", "4096"],
        &[rate("send 4 KiB, same", &[ShareOfFloor(0.5)])],
    ),
    sends(
        &["produce", "--size", "65536"],
        &[rate("send 64 KiB, same", &[ShareOfFloor(0.5)])],
    ),
];

const fn sends(arguments: &'static [&'static str], figures: &'static [Figure]) -> Load {
    Load {
        sync_flush: false,
        arguments,
        on_floor: true,
        figures,
    }
}

const SENT: Figure = rate(
    "50 producers x 16 and 50 consumers: sent",
    &[TimesApache(3.0)],
);
/// All of them send as much as they can, and read all of it.
const MIXED: Load = Load {
    sync_flush: false,
    arguments: &[
        "latency",
        "--connections",
        "50",
        "--consumers",
        "50",
        "--queues",
        "100",
        "--rate",
        "0",
    ],
    on_floor: false,
    figures: &[
        SENT,
        Figure {
            at: "/received_per_second",
            ..rate(
                "50 producers x 16 and 50 consumers: received",
                &[TimesApache(3.0), ShareOf(SENT.name, 0.9)],
            )
        },
        micros(
            "50 producers x 16 and 50 consumers: send to receive, p99",
            P99,
            &[AtMost(50_000.0)],
        ),
    ],
};

/// The same crowd at a rate that both systems can do.
const MIXED_PACED: Load = Load {
    arguments: &[
        "latency",
        "--connections",
        "50",
        "--consumers",
        "50",
        "--queues",
        "100",
        "--rate",
        "10000",
    ],
    figures: &[
        micros("the same at 10 k/s, p50", P50, &[AtMost(1000.0)]),
        micros("the same at 10 k/s, p99", P99, &[AtMost(5000.0)]),
    ],
    ..MIXED
};

const BUSY: &[&str] = &["produce", "--size", "128"];
const ALONE: Figure = rate("4 busy connections, alone", &[]);
const BESIDE_IDLE: Figure = rate(
    "4 busy connections beside 10,000 idle ones",
    &[ShareOf(ALONE.name, 0.9)],
);
const BESIDE_QUIET: Figure = rate(
    "4 busy connections beside 10,000 that send 1,000/s together",
    &[ShareOf(ALONE.name, 0.9)],
);
const IDLE_MEMORY: Figure = memory("memory of a connection, idle");
const QUIET_MEMORY: Figure = memory("memory of a connection that sends now and then");
const FILES: Figure = Figure {
    name: "open files besides 10,000 connections",
    at: "",
    unit: Unit::Count,
    needs: &[AtMost(200.0)],
};

const fn memory(name: &'static str) -> Figure {
    Figure {
        name,
        at: "",
        unit: Unit::Kibibytes,
        needs: &[AtMost(6.0)],
    }
}

/// Every row of the table in its order.
fn figures() -> impl Iterator<Item = &'static Figure> {
    const REST: [&[Figure]; 8] = [
        &[IDLE_MEMORY],
        &[QUIET_MEMORY],
        &[FILES],
        &[ALONE],
        &[BESIDE_IDLE],
        &[BESIDE_QUIET],
        MIXED.figures,
        MIXED_PACED.figures,
    ];
    SENDS.iter().map(|load| load.figures).chain(REST).flatten()
}

/// What was measured.
pub(super) struct Measured(Samples);

impl Measured {
    /// A table for a person.
    pub(super) fn text(&self) -> String {
        let notes = self.0.notes.iter();
        let notes: String = notes.map(|note| format!("- {note}\n")).collect();
        self.0.table(figures()) + &notes
    }

    pub(super) fn json(&self) -> Value {
        json!({ "rows": self.0.json(figures()), "notes": self.0.notes })
    }
}

pub(super) fn measure(
    programs: &Programs,
    home: &Path,
    systems: &[System],
    short: bool,
) -> Result<Measured> {
    let mut traffic = Traffic {
        programs,
        home: home.join("traffic"),
        pace: if short { SHORT } else { FULL },
        samples: Samples::default(),
    };
    for round in 1..=traffic.pace.rounds {
        for &system in systems {
            eprintln!(
                "-- traffic, round {round} of {}: {system:?}",
                traffic.pace.rounds
            );
            traffic
                .round(system)
                .with_context(|| format!("{system:?} in round {round}"))?;
        }
    }
    Ok(Measured(traffic.samples))
}

struct Traffic<'p> {
    programs: &'p Programs,
    home: PathBuf,
    pace: Pace,
    samples: Samples,
}

impl Traffic<'_> {
    fn round(&mut self, system: System) -> Result<()> {
        let server = self.start(system)?;
        for load in SENDS.iter().chain([&MIXED, &MIXED_PACED]) {
            if load.on_floor || system != System::Floor {
                self.load(&server, system, load.arguments, load.figures)?;
            }
        }
        server.kill()?;
        fs::remove_dir_all(&self.home)?;
        if system == System::Floor {
            return Ok(());
        }
        let server = self.start(system)?;
        self.connections(&server, system)?;
        server.kill()?;
        Ok(fs::remove_dir_all(&self.home)?)
    }

    /// A server in an empty directory that has seen some sends.
    fn start(&self, system: System) -> Result<Server> {
        let server = Server::start_with(self.programs, system, &self.home, false, MANY_QUEUES)?;
        let seconds = match system {
            System::Apache => self.pace.jvm_warm_up,
            _ => "1",
        };
        let warm_up = ["produce", "--topic", "WarmUp", "--seconds", seconds];
        self.programs.load(&server, &warm_up)?;
        Ok(server)
    }

    fn connections(&mut self, server: &Server, system: System) -> Result<()> {
        sleep(SETTLE);
        let broker = server.broker_id();
        let before = (resident_mib(broker)?, open_files(broker)?);
        let each = |resident: f64| (resident - before.0) * 1024.0 / f64::from(CONNECTIONS);

        let idle = self.crowd(server, "0")?;
        sleep(SETTLE);
        let files = open_files(broker)? as f64 - f64::from(CONNECTIONS);
        self.add(system, &IDLE_MEMORY, each(resident_mib(broker)?));
        self.add(system, &FILES, files);
        idle.kill()?;
        let quiet = self.crowd(server, EVERY)?;
        sleep(self.pace.turns);
        self.add(system, &QUIET_MEMORY, each(resident_mib(broker)?));
        quiet.kill()?;

        for (every, beside) in [("0", BESIDE_IDLE), (EVERY, BESIDE_QUIET)] {
            self.load(server, system, BUSY, &[ALONE])?;
            let crowd = self.crowd(server, every)?;
            self.load(server, system, BUSY, &[beside])?;
            crowd.kill()?;
        }
        Ok(())
    }

    /// Connections that do little, for as long as the process lives.
    fn crowd(&self, server: &Server, every: &str) -> Result<Process> {
        let connections = CONNECTIONS.to_string();
        let nobody = ["--consumers", "0", "--timers", "0"];
        let some = ["--connections", &connections, "--every", every];
        self.programs.crowd(
            server,
            &self.home,
            &[&nobody[..], &some].concat(),
            CROWD_LIMIT,
        )
    }

    fn load(
        &mut self,
        server: &Server,
        system: System,
        arguments: &[&str],
        figures: &[Figure],
    ) -> Result<()> {
        let topic = format!("Bench{}", arguments.concat().replace("--", ""));
        let length = length(arguments, "1", self.pace.seconds);
        let arguments = [arguments, &["--topic", &topic], &length].concat();
        server.forget_what_was_written()?;
        let report = self.programs.try_load(server, &arguments)?;
        self.samples.take(system, figures, &report)
    }

    fn add(&mut self, system: System, figure: &Figure, value: f64) {
        eprintln!("   {}: {value:.1}", figure.name);
        self.samples.add(system, figure.name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_compares_with_one_there_is() {
        let names: HashSet<_> = figures().map(|figure| figure.name).collect();
        assert_eq!(names.len(), figures().count());
        for need in figures().flat_map(|figure| figure.needs) {
            if let ShareOf(other, _) = need {
                assert!(names.contains(other), "{other}");
            }
        }
    }
}
