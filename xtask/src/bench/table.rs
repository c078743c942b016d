//! The samples of a run and the table they make.
use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::budget::{Figure, Need, Unit};
use super::report::Report;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(super) enum System {
    Apache,
    Floor,
    Skylark,
    #[value(skip)]
    /// The disk without any server: fdatasync alone.
    Disk,
}

#[derive(Default)]
pub(super) struct Samples {
    taken: HashMap<(System, &'static str), Vec<f64>>,
    /// Loads that gave no figure, since something was refused or lost.
    failed: HashMap<(System, &'static str), usize>,
    /// What readers of the table must know.
    pub(super) notes: Vec<String>,
}

impl Samples {
    pub(super) fn add(&mut self, system: System, name: &'static str, value: f64) {
        self.taken.entry((system, name)).or_default().push(value);
    }

    pub(super) fn median(&self, system: System, name: &'static str) -> Option<f64> {
        let values = self.taken.get(&(system, name))?;
        Some(median(values.iter().copied()))
    }

    /// Takes these figures from a load's report; of one in which something was refused or lost, only that.
    pub(super) fn take(
        &mut self,
        system: System,
        figures: &[Figure],
        report: &Report,
    ) -> Result<()> {
        if let Some(failure) = report.failure() {
            self.fail(system, figures, &failure);
            return Ok(());
        }
        for figure in figures {
            let value = report.number(figure.at)?;
            eprintln!("   {}: {value:.1}", figure.name);
            self.add(system, figure.name, value);
        }
        Ok(())
    }

    /// Notes that there should be a sample of each, and why there is none.
    pub(super) fn fail(&mut self, system: System, figures: &[Figure], why: &str) {
        let name = figures.first().map_or("", |figure| figure.name);
        let note = format!("{system:?}, {name}: {why}");
        eprintln!("   {note}");
        self.notes.push(note);
        for figure in figures {
            *self.failed.entry((system, figure.name)).or_default() += 1;
        }
    }

    fn failures(&self, system: System, name: &'static str) -> usize {
        self.failed.get(&(system, name)).copied().unwrap_or(0)
    }

    /// Whether Skylark reaches it; None if something to judge it by wasn't measured.
    fn reached(&self, figure: &Figure, need: Need) -> Option<bool> {
        let of = |system| self.median(system, figure.name);
        let ours = of(System::Skylark)?;
        Some(match need {
            Need::TimesApache(times) => ours >= times * of(System::Apache)?,
            Need::ShareOfFloor(share) => ours >= share * of(System::Floor)?,
            Need::FloorTimes(times) => ours <= times * of(System::Floor)?,
            Need::FdatasyncTimes(times) => ours <= times * of(System::Disk)?,
            Need::AtMost(limit) => ours <= limit,
            Need::ShareOf(name, share) => ours >= share * self.median(System::Skylark, name)?,
        })
    }

    fn verdict(&self, figure: &Figure) -> &'static str {
        let reached: Vec<_> = figure
            .needs
            .iter()
            .map(|need| self.reached(figure, *need))
            .collect();
        match () {
            () if self.failures(System::Skylark, figure.name) > 0 => "NO",
            () if reached.is_empty() => "-",
            () if reached.contains(&Some(false)) => "NO",
            () if reached.contains(&None) => "?",
            () => "yes",
        }
    }

    /// [`spread`], and how many loads failed.
    fn cell(&self, system: System, figure: &Figure) -> String {
        let values = self.taken.get(&(system, figure.name));
        let values = values.map_or(&[][..], Vec::as_slice);
        let cell = spread(values, |value| number(value, figure.unit));
        match self.failures(system, figure.name) {
            0 => cell,
            failed => format!("{cell}, {failed} FAILED"),
        }
    }

    /// How Skylark compares, larger being better: times Apache, and share of the floor or of fdatasync.
    fn ratios(&self, figure: &Figure) -> String {
        let Some(ours) = self.median(System::Skylark, figure.name) else {
            return "-".to_owned();
        };
        let mut parts = Vec::new();
        if let Some(apache) = self.median(System::Apache, figure.name) {
            let times = match figure.unit {
                Unit::PerSecond | Unit::MebibytesPerSecond => ours / apache,
                _ => apache / ours,
            };
            parts.push(format!("{times:.1}x Apache"));
        }
        for (system, name) in [(System::Floor, "floor"), (System::Disk, "fdatasync")] {
            if let Some(other) = self.median(system, figure.name) {
                parts.push(format!("{:.2} {name}", ours / other));
            }
        }
        parts.join(", ")
    }

    pub(super) fn table<'f>(&self, figures: impl Iterator<Item = &'f Figure>) -> String {
        let mut rows = vec![
            [
                "",
                "Apache 5.3.3",
                "floor",
                "Skylark",
                "Skylark is",
                "required",
                "ok",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        for figure in figures {
            let unit = match figure.unit {
                Unit::PerSecond => " [/s]",
                Unit::MebibytesPerSecond => " [MiB/s]",
                Unit::Micros => " [us]",
                Unit::Kibibytes => " [KiB]",
                Unit::Mebibytes => " [MiB]",
                Unit::Seconds => " [s]",
                Unit::Percent => " [%]",
                Unit::Count | Unit::Times => "",
            };
            rows.push(vec![
                format!("{}{unit}", figure.name),
                self.cell(System::Apache, figure),
                self.cell(System::Floor, figure),
                self.cell(System::Skylark, figure),
                self.ratios(figure),
                figure
                    .needs
                    .iter()
                    .map(|need| required(*need, figure.unit))
                    .collect::<Vec<_>>()
                    .join(", "),
                self.verdict(figure).to_owned(),
            ]);
        }
        aligned(&rows)
    }

    pub(super) fn json<'f>(&self, figures: impl Iterator<Item = &'f Figure>) -> Value {
        figures
            .map(|figure| {
                let of = |system| self.taken.get(&(system, figure.name));
                let need = figure
                    .needs
                    .iter()
                    .map(|need| required(*need, figure.unit))
                    .collect::<Vec<_>>();
                json!({
                    "name": figure.name,
                    "unit": format!("{:?}", figure.unit),
                    "apache": of(System::Apache),
                    "floor": of(System::Floor),
                    "fdatasync": of(System::Disk),
                    "skylark": of(System::Skylark),
                    "failed": self.failures(System::Skylark, figure.name),
                    "required": need,
                    "ok": self.verdict(figure),
                })
            })
            .collect()
    }
}

/// Between the two in the middle if there are two; not a number if there is none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match values.get(low..=high) {
        Some(middle) => middle.iter().sum::<f64>() / middle.len() as f64,
        None => f64::NAN,
    }
}

/// `median (min..max)`.
pub(super) fn spread(values: &[f64], show: impl Fn(f64) -> String) -> String {
    let middle = show(median(values.iter().copied()));
    let min = values.iter().copied().reduce(f64::min);
    let max = values.iter().copied().reduce(f64::max);
    match (values.len(), min, max) {
        (2.., Some(min), Some(max)) => format!("{middle} ({}..{})", show(min), show(max)),
        (1, ..) => middle,
        _ => "-".to_owned(),
    }
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond if value >= 1e6 => format!("{:.2}M", value / 1e6),
        Unit::PerSecond => format!("{:.1}k", value / 1e3),
        Unit::Micros if value >= 10.0 => format!("{value:.0}"),
        Unit::Micros | Unit::Kibibytes | Unit::Mebibytes => format!("{value:.1}"),
        Unit::Count | Unit::MebibytesPerSecond | Unit::Percent => format!("{value:.0}"),
        Unit::Times => format!("{value:.2}"),
        Unit::Seconds => format!("{value:.3}"),
    }
}

fn required(need: Need, unit: Unit) -> String {
    match need {
        Need::TimesApache(times) => format!(">= {times}x Apache"),
        Need::ShareOfFloor(share) => format!(">= {share} floor"),
        Need::FloorTimes(times) => format!("<= {times} floor"),
        Need::FdatasyncTimes(times) => format!("<= {times} fdatasync"),
        Need::AtMost(limit) => format!("<= {}", number(limit, unit)),
        Need::ShareOf(name, share) => format!(">= {share} of {name}"),
    }
}

/// A table in Markdown, its columns as wide as they need to be.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if at == 0 {
            widths
                .iter()
                .for_each(|width| text.push_str(&format!("|{}", "-".repeat(width + 2))));
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::budget::{LOADS, SYNC_ONE, figures};
    use super::*;

    const SEND: &Figure = &LOADS[0].figures[0];

    fn samples(apache: &[f64], floor: f64, ours: &[f64]) -> Samples {
        let mut samples = Samples::default();
        apache
            .iter()
            .for_each(|value| samples.add(System::Apache, SEND.name, *value));
        ours.iter()
            .for_each(|value| samples.add(System::Skylark, SEND.name, *value));
        samples.add(System::Floor, SEND.name, floor);
        samples
    }

    #[test]
    fn the_median_lies_between_the_middle_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn medians_and_ranges() {
        let samples = samples(&[50e3, 70e3, 60e3], 600e3, &[400e3, 300e3]);
        assert_eq!(samples.cell(System::Apache, SEND), "60.0k (50.0k..70.0k)");
        assert_eq!(samples.median(System::Skylark, SEND.name), Some(350e3));
        assert_eq!(samples.ratios(SEND), "5.8x Apache, 0.58 floor");
    }

    #[test]
    fn each_need_is_judged() {
        assert_eq!(samples(&[50e3], 600e3, &[400e3]).verdict(SEND), "yes");
        assert_eq!(samples(&[80e3], 600e3, &[400e3]).verdict(SEND), "NO");
        assert_eq!(samples(&[50e3], 900e3, &[400e3]).verdict(SEND), "NO");
        assert_eq!(samples(&[], 600e3, &[400e3]).verdict(SEND), "?");
        assert_eq!(samples(&[50e3], 600e3, &[]).verdict(SEND), "?");

        let mut one = Samples::default();
        let name = SYNC_ONE.figures[0].name;
        one.add(System::Disk, name, 150.0);
        one.add(System::Skylark, name, 241.0);
        assert_eq!(one.verdict(&SYNC_ONE.figures[0]), "NO");
    }

    #[test]
    fn a_load_with_errors_or_losses_is_no_figure_and_not_reached() {
        let one_in_flight = &LOADS[3];
        let refused = json!([{ "code": 2, "remark": "busy", "count": 1 }]);
        // Of nothing that went well all quantiles are 0, which would be good.
        let report = |errors, lost| {
            Report(json!({ "latency_us": { "p50": 0.0 }, "errors": errors, "lost": lost }))
        };
        let figure = &one_in_flight.figures[0];
        for failed in [report(refused, 0), report(json!([]), 3)] {
            let mut samples = Samples::default();
            samples.add(System::Floor, figure.name, 50.0);
            let mut take = |report| samples.take(System::Skylark, one_in_flight.figures, report);
            take(&failed).unwrap();
            take(&report(json!([]), 0)).unwrap();
            assert_eq!(samples.cell(System::Skylark, figure), "0.0, 1 FAILED");
            assert_eq!(samples.verdict(figure), "NO");
            assert_eq!(samples.notes.len(), 1);
        }
    }

    #[test]
    fn what_failed_of_another_system_is_not_compared_with() {
        let mut samples = samples(&[], 600e3, &[400e3]);
        let failed = Report(json!({ "errors": [{ "code": 2, "remark": "busy", "count": 1 }] }));
        samples
            .take(System::Apache, LOADS[0].figures, &failed)
            .unwrap();
        assert_eq!(samples.verdict(SEND), "?");
        assert_eq!(samples.cell(System::Apache, SEND), "-, 1 FAILED");
    }

    #[test]
    fn every_row_is_in_the_table_once() {
        let table = Samples::default().table(figures());
        assert_eq!(table.lines().count(), figures().count() + 2);
        let names: std::collections::HashSet<_> = figures().map(|figure| figure.name).collect();
        assert_eq!(names.len(), figures().count());
    }
}
