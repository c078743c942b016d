//! One server under one load for minutes: what was seen of it, and whether that is steady.
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::table::{System, median};
use super::watch::{Cause, Seen};

/// Required: neither a new file, a flush nor a deletion costs more, oftener than the machine itself does.
const STALL_MS_MAX: f64 = 20.0;
/// Required: memory at the end, times that at the beginning; and more open files.
const GROWTH_MAX: f64 = 1.1;
const MORE_FILES_MAX: f64 = 16.0;
/// As `skylark bench` has it for a connection.
const MOMENT_MS: i64 = 100;

/// One server with one configuration.
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) system: System,
    pub(super) rate: u64,
    pub(super) pieces: Vec<Piece>,
    pub(super) stalls: Vec<Stall>,
}

/// What is reported of a minute (or less).
pub(super) struct Piece {
    pub(super) send: [f64; 3],
    /// From send to receive; the floor has no consumers.
    pub(super) received: Option<[f64; 3]>,
    pub(super) resident_mib: f64,
    pub(super) open_files: usize,
    pub(super) files_made: usize,
    pub(super) files_deleted: usize,
    /// What was refused or lost: its latencies are those of the rest.
    pub(super) failure: Option<String>,
}

/// A moment in which somebody waited too long.
#[derive(Debug, PartialEq)]
pub(super) struct Stall {
    ms: f64,
    causes: Vec<Cause>,
}

/// What one connection noted of such a moment.
pub(super) struct Noted {
    at_ms: i64,
    stall: Stall,
}

impl Noted {
    /// From a report.
    pub(super) fn read(stall: &Value, seen: &Seen) -> Result<Noted> {
        let time = |name: &str| {
            stall[name]
                .as_i64()
                .with_context(|| format!("a stall without {name}"))
        };
        let us = stall["worst_us"].as_f64().context("no length of a stall")?;
        Ok(Noted {
            at_ms: time("at_ms")?,
            stall: Stall {
                ms: us / 1e3,
                causes: seen.causes(time("from_ms")?, time("to_ms")?),
            },
        })
    }
}

/// What several connections noted within a tenth of a second is one stall. It is the machine's only if it is so for each.
pub(super) fn moments(mut noted: Vec<Noted>) -> Vec<Stall> {
    noted.sort_by_key(|noted| noted.at_ms);
    let mut stalls: Vec<(i64, Stall)> = Vec::new();
    for Noted { at_ms, stall } in noted {
        let Some((_, known)) = stalls
            .last_mut()
            .filter(|(begun, _)| at_ms < begun + MOMENT_MS)
        else {
            stalls.push((at_ms, stall));
            continue;
        };
        known.ms = known.ms.max(stall.ms);
        let both = |cause: &Cause| known.causes.contains(cause) && stall.causes.contains(cause);
        let machine = both(&Cause::Machine);
        known.causes.extend(stall.causes);
        let mut once = Vec::new();
        for cause in known.causes.drain(..) {
            if !once.contains(&cause) && (cause != Cause::Machine || machine) {
                once.push(cause);
            }
        }
        known.causes = once;
    }
    stalls.into_iter().map(|(_, stall)| stall).collect()
}

/// What ours is compared with, if it was measured and nothing went wrong with it.
pub(super) fn floor(phases: &[Phase]) -> Option<&Phase> {
    let mut floors = phases.iter().filter(|phase| phase.system == System::Floor);
    floors.find(|phase| phase.failures().next().is_none())
}

impl Phase {
    /// Stalls that the machine had no part in.
    fn own_stalls(&self) -> impl Iterator<Item = &Stall> {
        self.stalls
            .iter()
            .filter(|stall| !stall.causes.contains(&Cause::Machine))
    }

    /// Stalls in a piece, on the average: the machine's own left out, and all of them.
    fn stalls_each(&self) -> [f64; 2] {
        let counts = [self.own_stalls().count(), self.stalls.len()];
        counts.map(|count| count as f64 / self.pieces.len().max(1) as f64)
    }

    fn grows(&self) -> bool {
        let all = |of: fn(&Piece) -> f64| self.pieces.iter().map(of).collect::<Vec<_>>();
        let (memory, memory_then) = first_and_last(&all(|piece| piece.resident_mib));
        let (files, files_then) = first_and_last(&all(|piece| piece.open_files as f64));
        memory_then > memory * GROWTH_MAX || files_then > files + MORE_FILES_MAX
    }

    /// Who is to be blamed for a stall can't be told for sure: the floor has as many from the machine. None if it was not
    /// measured and there are some that may be the machine's.
    fn is_reached(&self, floor: Option<&Phase>) -> Option<bool> {
        if self.grows() || self.failures().next().is_some() {
            return Some(false);
        }
        let [own, all] = self.stalls_each();
        match floor.map(Phase::stalls_each) {
            Some([floors_own, floors_all]) => Some(own <= floors_own && all <= floors_all),
            None if own > 0.0 => Some(false),
            None => (all == 0.0).then_some(true),
        }
    }

    fn verdict(&self, floor: Option<&Phase>) -> &'static str {
        match self.is_reached(floor) {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "?",
        }
    }

    fn failures(&self) -> impl Iterator<Item = &String> {
        self.pieces
            .iter()
            .filter_map(|piece| piece.failure.as_ref())
    }

    fn rows(&self, floor: Option<&Phase>) -> Vec<Vec<String>> {
        let piece = |(at, piece): (usize, &Piece)| {
            let received = piece
                .received
                .map_or(["-".to_owned(), "-".to_owned()], |[_, p999, max]| {
                    [format!("{p999:.1}"), format!("{max:.1}")]
                });
            let [received_p999, received_max] = received;
            let last = at + 1 == self.pieces.len() && self.system == System::Skylark;
            vec![
                if at == 0 {
                    format!("{}, {}/s", self.name, self.rate)
                } else {
                    String::new()
                },
                (at + 1).to_string(),
                format!("{:.2}", piece.send[0]),
                format!("{:.1}", piece.send[1]),
                format!("{:.1}", piece.send[2]),
                received_p999,
                received_max,
                format!("{:.0}", piece.resident_mib),
                piece.open_files.to_string(),
                format!("{}/{}", piece.files_made, piece.files_deleted),
                if last { self.verdict(floor) } else { "" }.to_owned(),
            ]
        };
        self.pieces.iter().enumerate().map(piece).collect()
    }

    pub(super) fn print_stalls(&self, floor: Option<&Phase>) {
        for failure in self.failures() {
            println!("- {}: FAILED: {failure}", self.name);
        }
        let own: Vec<&Stall> = self.own_stalls().collect();
        let [_, each] = self.stalls_each();
        let beside = floor.map_or(String::new(), |floor| {
            let [own, all] = floor.stalls_each();
            format!("; the floor has {all:.1}, {own:.1} without the machine's")
        });
        println!(
            "- {}: {} stalls over {STALL_MS_MAX} ms, {each:.1} a minute, {} of all while the machine itself stood still{beside}",
            self.name,
            self.stalls.len(),
            self.stalls.len() - own.len()
        );
        let mut worst = own;
        worst.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        for stall in worst.iter().take(3) {
            println!("  - {:.1} ms: {}", stall.ms, words(&stall.causes));
        }
    }

    pub(super) fn json(&self, floor: Option<&Phase>) -> Value {
        let piece = |piece: &Piece| {
            json!({
                "send_ms": piece.send, "received_ms": piece.received, "resident_mib": piece.resident_mib,
                "open_files": piece.open_files, "files_made": piece.files_made, "files_deleted": piece.files_deleted,
                "failure": piece.failure,
            })
        };
        let [own, all] = self.stalls_each();
        let stall = |stall: &Stall| json!({ "ms": stall.ms, "cause": words(&stall.causes) });
        json!({
            "name": self.name,
            "rate": self.rate,
            "quantiles": ["p50", "p999", "max"],
            "pieces": self.pieces.iter().map(piece).collect::<Vec<_>>(),
            "stalls": self.stalls.iter().map(stall).collect::<Vec<_>>(),
            "required": format!("no more stalls over {STALL_MS_MAX} ms than the floor; memory at most {GROWTH_MAX} times"),
            "stalls_a_minute": { "without_the_machines": own, "all": all },
            "ok": (self.system == System::Skylark).then(|| self.is_reached(floor)).flatten(),
        })
    }
}

fn words(causes: &[Cause]) -> String {
    let words: Vec<&str> = causes.iter().map(|cause| cause.words()).collect();
    match words.is_empty() {
        true => "nothing that was seen".to_owned(),
        false => words.join(", "),
    }
}

pub(super) fn table(phases: &[Phase]) -> Vec<Vec<String>> {
    let head = [
        "",
        "minute",
        "send p50 [ms]",
        "p99.9",
        "max",
        "received p99.9 [ms]",
        "max",
        "MiB",
        "open files",
        "files made/deleted",
        "ok",
    ];
    let head = head.map(str::to_owned).to_vec();
    let floor = floor(phases);
    let rows = phases.iter().flat_map(|phase| phase.rows(floor));
    [head].into_iter().chain(rows).collect()
}

/// Of three or more the medians of the first third and of the last: one piece is not what the others are.
fn first_and_last(values: &[f64]) -> (f64, f64) {
    let count = (values.len() / 3).max(1).min(values.len());
    let of = |values: &[f64]| median(values.iter().copied());
    let last = values.len() - count;
    (of(&values[..count]), of(&values[last..]))
}

#[cfg(test)]
mod tests;
