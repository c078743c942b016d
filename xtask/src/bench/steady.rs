//! The suite `steady`: minutes at half of the peak rate, with producers, consumers, and retention at work.
//!
//! Producers follow a schedule, and what leaves late counts from when it was due. Meanwhile this process notes when log files
//! come and go and when the machine itself stood still, so that a stall can be told from its cause; and the floor gets the
//! same sends: how often the machine stalls a server that hardly does anything is what ours is judged by.
mod phase;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use serde_json::{Value, json};

use self::phase::{Noted, Phase, Piece, floor, moments, table};
use self::watch::{Cause, Watch};
use super::Options;
use super::machine::{self, open_files, resident_mib};
use super::report::Report;
use super::server::{Programs, Server};
use super::table::{System, aligned};
use crate::shell::{root, target};

/// How long each phase is watched, in pieces that are reported one by one.
struct Pace {
    seconds: u64,
    pieces: usize,
    small_pieces: usize,
    peak_messages: u64,
}

const SHORT: Pace = Pace {
    seconds: 10,
    pieces: 2,
    small_pieces: 2,
    peak_messages: 500_000,
};
const FULL: Pace = Pace {
    seconds: 60,
    pieces: 10,
    small_pieces: 3,
    peak_messages: 2_000_000,
};

/// The oldest files go as soon as so much of the disk is in use, which [`ballast`] sees to: a run would fill it otherwise, and
/// deletions are to be measured.
const RETENTION: &str = "diskSpaceCleanForciblyRatio=30\ncleanFileForciblyEnable=true\ncleanResourceInterval=2000\n\
     deleteCommitLogFilesInterval=1\n";
const USED_RATIO: f64 = 0.31;
/// Files that last two seconds or so.
const SMALL: &str = "mappedFileSizeCommitLog=67108864\n";
const TOPIC: &str = "Steady";
/// What the floor gets where Skylark was not measured.
const FLOOR_RATE: u64 = 100_000;

pub(super) fn measure(options: &Options) -> Result<()> {
    let programs = Programs::build(&options.only)?;
    let scratch = tempfile::Builder::new()
        .prefix("steady-")
        .tempdir_in(target())?;
    ballast(scratch.path())?;
    let suite = Suite {
        programs,
        home: scratch.path().to_owned(),
        pace: if options.short { SHORT } else { FULL },
    };
    let mut phases = Vec::new();
    // The floor gets what Skylark gets, and so comes last.
    let mut systems = options.only.clone();
    systems.sort_by_key(|system| *system == System::Floor);
    let mut rate = None;
    for system in &systems {
        phases.extend(
            suite
                .system(*system, &mut rate)
                .with_context(|| format!("{system:?}"))?,
        );
    }
    let machine = machine::describe(root());
    if options.json {
        let floor = floor(&phases);
        let phases: Vec<Value> = phases.iter().map(|phase| phase.json(floor)).collect();
        println!("{:#}", json!({ "machine": machine, "phases": phases }));
    } else {
        println!(
            "\n{machine}; 128 B, 4 connections that send at half of the peak rate, 4 queues with a held pull each\n"
        );
        print!("{}", aligned(&table(&phases)));
        let floor = floor(&phases);
        phases.iter().for_each(|phase| phase.print_stalls(floor));
    }
    Ok(())
}

struct Suite {
    programs: Programs,
    home: PathBuf,
    pace: Pace,
}

impl Suite {
    /// `ours`: what Skylark was given, once it was measured.
    fn system(&self, system: System, ours: &mut Option<u64>) -> Result<Vec<Phase>> {
        let pace = &self.pace;
        let rate = match (system, *ours) {
            (System::Floor, Some(rate)) => rate,
            (System::Floor, None) => FLOOR_RATE,
            _ => self.peak(system)? / 2,
        };
        if system == System::Skylark {
            *ours = Some(rate);
        }
        let large = (
            format!("{system:?}, files of 1 GiB"),
            RETENTION.to_owned(),
            pace.pieces,
        );
        let small = (
            format!("{system:?}, files of 64 MiB"),
            format!("{RETENTION}{SMALL}"),
            pace.small_pieces,
        );
        let phases = match system {
            System::Skylark => vec![large, small],
            // For comparison: a piece is enough.
            System::Apache => vec![(large.0, large.1, 1)],
            // Its stalls are what ours are judged by: one piece has too few to say how many are usual.
            System::Floor | System::Disk => {
                vec![("Floor".to_owned(), String::new(), pace.small_pieces)]
            }
        };
        let phase = |(name, config, pieces): (String, String, usize)| {
            self.phase(system, name, &config, pieces, rate)
        };
        phases.into_iter().map(phase).collect()
    }

    /// Messages a second that go from producers to consumers which keep up.
    fn peak(&self, system: System) -> Result<u64> {
        eprintln!("-- {system:?}: the peak");
        let home = self.home.join("peak");
        let server = Server::start_with(&self.programs, system, &home, false, RETENTION)?;
        let mut rate = 0.0;
        // The first round compiles the JVM's hot code.
        for messages in [self.pace.peak_messages / 4, self.pace.peak_messages] {
            let messages = messages.to_string();
            let load = [
                "latency",
                "--topic",
                TOPIC,
                "--connections",
                "4",
                "--rate",
                "10000000",
                "--messages",
                &messages,
            ];
            let report = self.programs.load(&server, &load)?;
            rate = report.number("/received_per_second")?;
        }
        server.kill()?;
        fs::remove_dir_all(&home)?;
        Ok(rate as u64)
    }

    fn phase(
        &self,
        system: System,
        name: String,
        config: &str,
        pieces: usize,
        rate: u64,
    ) -> Result<Phase> {
        let home = self.home.join("steady");
        let server = Server::start_with(&self.programs, system, &home, false, config)?;
        let watch = Watch::start(&home.join("store/commitlog"));
        let mut phase = Phase {
            name,
            system,
            rate,
            pieces: Vec::new(),
            stalls: Vec::new(),
        };
        for piece in 1..=pieces {
            eprintln!(
                "-- {}: {rate}/s, {} s, piece {piece} of {pieces}",
                phase.name, self.pace.seconds
            );
            let report = self.piece(&server, system, rate)?;
            let seen = watch.take();
            phase.pieces.push(Piece {
                send: quantiles(
                    &report,
                    if system == System::Floor {
                        "latency_us"
                    } else {
                        "send_latency_us"
                    },
                )?,
                received: (system != System::Floor)
                    .then(|| quantiles(&report, "latency_us"))
                    .transpose()?,
                resident_mib: resident_mib(server.broker_id())?,
                open_files: open_files(server.broker_id())?,
                files_made: seen.count(Cause::Made),
                files_deleted: seen.count(Cause::Deleted),
                failure: report.failure(),
            });
            let stalls = report.0["stalls"].as_array().into_iter().flatten();
            let noted: Vec<Noted> = stalls
                .map(|stall| Noted::read(stall, &seen))
                .collect::<Result<_>>()?;
            phase.stalls.extend(moments(noted));
        }
        server.kill()?;
        fs::remove_dir_all(&home)?;
        Ok(phase)
    }

    fn piece(&self, server: &Server, system: System, rate: u64) -> Result<Report> {
        let (rate, seconds) = (rate.to_string(), self.pace.seconds.to_string());
        let mode = if system == System::Floor {
            "produce"
        } else {
            "latency"
        };
        let load = [
            mode,
            "--topic",
            TOPIC,
            "--connections",
            "4",
            "--rate",
            &rate,
            "--seconds",
            &seconds,
        ];
        self.programs.try_load(server, &load)
    }
}

/// A file that brings the disk to where retention deletes. It holds nothing and is made in no time.
fn ballast(dir: &Path) -> Result<()> {
    let disk = statvfs(dir)?;
    let used = (disk.f_blocks - disk.f_bfree) as f64;
    let wanted = (used + disk.f_bavail as f64) * USED_RATIO - used;
    if wanted < 1.0 {
        return Ok(());
    }
    let file = fs::File::create(dir.join("ballast"))?;
    fallocate(
        &file,
        FallocateFlags::empty(),
        0,
        wanted as u64 * disk.f_frsize,
    )
    .context("ballast")
}

/// p50, p99.9 and max in ms.
fn quantiles(report: &Report, of: &str) -> Result<[f64; 3]> {
    let one = |name: &str| report.number(&format!("/{of}/{name}"));
    Ok([one("p50")? / 1e3, one("p999")? / 1e3, one("max")? / 1e3])
}
