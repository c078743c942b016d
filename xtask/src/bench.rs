//! `cargo xtask bench`: Apache's broker, the floor and Skylark on this machine in one run, against the budgets.
//! Each round starts every system anew in an empty directory and puts the same loads on it, so that they alternate and
//! none is measured while another runs.
mod budget;
mod catch_up;
mod machine;
mod overload;
mod report;
mod scale;
mod server;
mod steady;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::json;

use self::budget::{CROWDED, LOADS, Load, READY_EMPTY, READY_KILLED, RESIDENT, SYNC_ONE};
use self::server::{Programs, Server};
use self::table::{Samples, System};
use crate::shell::{root, target};

#[derive(Args)]
pub(crate) struct Options {
    /// What is measured
    #[arg(value_enum, default_value = "budgets")]
    suite: Suite,
    /// One round of a second a load (about 90 s) instead of three rounds (about ten minutes)
    #[arg(long)]
    short: bool,
    /// Print every sample as JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Only these systems
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "apache,floor,skylark"
    )]
    only: Vec<System>,
}

/// Each answers a question of its own.
#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// The table of budgets: Apache, the floor and Skylark
    Budgets,
    /// What many topics, queues and connections cost
    Scale,
    /// Reading what is cold beside live traffic
    CatchUp,
    /// Minutes at half of the peak rate: latencies, memory, open files
    Steady,
    /// Ten times as much as can be done
    Overload,
}

/// How long things take.
struct Pace {
    rounds: usize,
    /// A load, and before it what doesn't count.
    seconds: u32,
    warm_up: u32,
    /// What a JVM is given to compile its hot code before the first load.
    jvm_warm_up: u32,
    /// Whether to fill stores for the start after kill -9.
    restart: bool,
}

const SHORT: Pace = Pace {
    rounds: 1,
    seconds: 1,
    warm_up: 1,
    jvm_warm_up: 4,
    restart: false,
};
const FULL: Pace = Pace {
    rounds: 3,
    seconds: 4,
    warm_up: 1,
    jvm_warm_up: 10,
    restart: true,
};

/// How long a crowd may take to gather.
const CROWD_LIMIT: Duration = Duration::from_secs(60);

/// Between readiness and a look at the memory.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) fn execute(options: &Options) -> Result<()> {
    match options.suite {
        Suite::Budgets => budgets(options),
        Suite::Scale => scale::measure(options),
        Suite::CatchUp => catch_up::measure(options),
        Suite::Steady => steady::measure(options),
        Suite::Overload => overload::measure(options),
    }
}

fn budgets(options: &Options) -> Result<()> {
    let programs = Programs::build(&options.only)?;
    let scratch = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(target())?;
    let pace = if options.short { SHORT } else { FULL };
    let mut bench = Bench {
        programs,
        home: scratch.path().to_owned(),
        systems: options.only.clone(),
        pace,
        samples: Samples::default(),
    };
    let machine = machine::describe(root());
    bench.rounds()?;
    let fdatasync = bench.samples.median(System::Disk, SYNC_ONE.figures[0].name);
    if options.json {
        let rows = bench.samples.json(budget::figures());
        println!(
            "{:#}",
            json!({ "machine": machine, "fdatasync_us": fdatasync, "rows": rows, "notes": bench.samples.notes })
        );
    } else {
        let fdatasync =
            fdatasync.map_or(String::new(), |us| format!("; fdatasync alone {us:.0} us"));
        println!(
            "\n{machine}{fdatasync}; medians of {} rounds\n",
            bench.pace.rounds
        );
        print!("{}", bench.samples.table(budget::figures()));
        let notes = bench.samples.notes.iter();
        notes.for_each(|note| println!("- {note}"));
    }
    Ok(())
}

struct Bench {
    programs: Programs,
    home: PathBuf,
    systems: Vec<System>,
    pace: Pace,
    samples: Samples,
}

impl Bench {
    fn rounds(&mut self) -> Result<()> {
        for round in 1..=self.pace.rounds {
            for system in self.systems.clone() {
                eprintln!("-- round {round} of {}: {system:?}", self.pace.rounds);
                self.round(system)
                    .with_context(|| format!("{system:?} in round {round}"))?;
            }
        }
        if self.pace.restart {
            for system in self.systems.clone() {
                if system == System::Floor {
                    continue;
                }
                eprintln!("-- start after kill -9: {system:?}");
                self.restart(system)?;
            }
        }
        Ok(())
    }

    fn round(&mut self, system: System) -> Result<()> {
        let home = self.home.join("async");
        let server = Server::start(&self.programs, system, &home, false)?;
        if system != System::Floor {
            self.samples
                .add(system, READY_EMPTY.name, server.ready_after.as_secs_f64());
            std::thread::sleep(SETTLE);
            self.samples
                .add(system, RESIDENT.name, server.resident_mib()?);
        }
        self.warm_up(&server, system)?;
        for load in LOADS
            .iter()
            .filter(|load| !load.sync_flush && (load.on_floor || system != System::Floor))
        {
            self.measure(&server, system, load)?;
        }
        server.kill()?;
        fs::remove_dir_all(&home)?;
        if system == System::Floor {
            return Ok(());
        }
        if system == System::Skylark {
            self.crowded(&home)?;
        }
        let server = Server::start(&self.programs, system, &home, true)?;
        self.warm_up(&server, system)?;
        for load in LOADS.iter().filter(|load| load.sync_flush) {
            self.measure(&server, system, load)?;
        }
        // Before and after: on a busy disk it changes within seconds.
        self.fdatasync()?;
        self.measure(&server, system, &SYNC_ONE)?;
        self.fdatasync()?;
        server.kill()?;
        fs::remove_dir_all(&home)?;
        Ok(())
    }

    fn fdatasync(&mut self) -> Result<()> {
        let micros = machine::fdatasync_us(&self.home)?;
        self.samples
            .add(System::Disk, SYNC_ONE.figures[0].name, micros);
        Ok(())
    }

    fn warm_up(&self, server: &Server, system: System) -> Result<()> {
        if system == System::Apache {
            let seconds = self.pace.jvm_warm_up.to_string();
            self.programs.load(
                server,
                &["produce", "--topic", "WarmUp", "--seconds", &seconds],
            )?;
        }
        Ok(())
    }

    fn measure(&mut self, server: &Server, system: System, load: &Load) -> Result<()> {
        let (seconds, warm_up) = (self.pace.seconds.to_string(), self.pace.warm_up.to_string());
        let topic = format!("Bench{}", load.arguments.concat().replace("--", ""));
        let length = budget::length(load.arguments, &warm_up, &seconds);
        let arguments = [load.arguments, &["--topic", &topic], &length].concat();
        server.forget_what_was_written()?;
        let report = self.programs.try_load(server, &arguments)?;
        self.samples.take(system, load.figures, &report)
    }

    /// Sends alone and beside a crowd, one right after the other and on a server that has done nothing else.
    fn crowded(&mut self, home: &Path) -> Result<()> {
        let server = Server::start(&self.programs, System::Skylark, home, false)?;
        self.measure(&server, System::Skylark, &LOADS[0])?;
        let crowd = self.programs.crowd(&server, &self.home, &[], CROWD_LIMIT)?;
        self.measure(&server, System::Skylark, &CROWDED)?;
        crowd.kill()?;
        server.kill()?;
        Ok(fs::remove_dir_all(home)?)
    }

    /// Fills a store of two GiB, kills the server and starts it again.
    fn restart(&mut self, system: System) -> Result<()> {
        let home = self.home.join("restart");
        let server = Server::start(&self.programs, system, &home, false)?;
        // Some 240 B of a record aren't body.
        self.programs.load(
            &server,
            &[
                "produce",
                "--size",
                "1024",
                "--batch",
                "32",
                "--in-flight",
                "8",
                "--messages",
                "1700000",
            ],
        )?;
        server.kill()?;
        let server = Server::start(&self.programs, system, &home, false)?;
        self.samples
            .add(system, READY_KILLED.name, server.ready_after.as_secs_f64());
        server.kill()?;
        fs::remove_dir_all(&home)?;
        Ok(())
    }
}
