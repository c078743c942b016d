//! The samples of a run and the table they make.
use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::budget::{Figure, Need, Unit};

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
}

impl Samples {
    pub(super) fn add(&mut self, system: System, name: &'static str, value: f64) {
        self.taken.entry((system, name)).or_default().push(value);
    }

    pub(super) fn median(&self, system: System, name: &'static str) -> Option<f64> {
        let values = self.taken.get(&(system, name))?;
        Some(median(values.iter().copied()))
    }

    /// Takes these figures from a load's report; returns what readers of the table must know of it.
    pub(super) fn take(
        &mut self,
        system: System,
        figures: &[Figure],
        report: &Value,
    ) -> Result<Option<String>> {
        for figure in figures {
            let value = number_at(report, figure.at)?;
            eprintln!("   {}: {value:.1}", figure.name);
            self.add(system, figure.name, value);
        }
        let (errors, lost) = (&report["errors"], &report["lost"]);
        let failed = errors.as_array().is_some_and(|errors| !errors.is_empty());
        Ok((failed || lost.as_u64().unwrap_or(0) > 0).then(|| {
            let name = figures[0].name;
            format!("{system:?}, {name}: errors {errors}, lost {lost}")
        }))
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
            () if reached.is_empty() => "-",
            () if reached.contains(&Some(false)) => "NO",
            () if reached.contains(&None) => "?",
            () => "yes",
        }
    }

    /// `median (min..max)`.
    fn cell(&self, system: System, figure: &Figure) -> String {
        let Some(median) = self.median(system, figure.name) else {
            return "-".to_owned();
        };
        let values = &self.taken[&(system, figure.name)];
        if values.len() == 1 {
            return number(median, figure.unit);
        }
        let (min, max) = (
            values.iter().copied().fold(f64::MAX, f64::min),
            values.iter().copied().fold(0.0, f64::max),
        );
        let [median, min, max] = [median, min, max].map(|value| number(value, figure.unit));
        format!("{median} ({min}..{max})")
    }

    /// How Skylark compares, larger being better: times Apache, and share of the floor or of fdatasync.
    fn ratios(&self, figure: &Figure) -> String {
        let Some(ours) = self.median(System::Skylark, figure.name) else {
            return "-".to_owned();
        };
        let mut parts = Vec::new();
        if let Some(apache) = self.median(System::Apache, figure.name) {
            let times = if figure.unit == Unit::PerSecond {
                ours / apache
            } else {
                apache / ours
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
                Unit::Micros => " [us]",
                Unit::Kibibytes => " [KiB]",
                Unit::Mebibytes => " [MiB]",
                Unit::Seconds => " [s]",
                Unit::Count => "",
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
                    "required": need,
                    "ok": self.verdict(figure),
                })
            })
            .collect()
    }
}

/// A number in a load's report, by a JSON pointer.
pub(super) fn number_at(report: &Value, at: &str) -> Result<f64> {
    let value = report.pointer(at).and_then(Value::as_f64);
    value.with_context(|| format!("no {at} in {report}"))
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

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond if value >= 1e6 => format!("{:.2}M", value / 1e6),
        Unit::PerSecond => format!("{:.1}k", value / 1e3),
        Unit::Micros if value >= 10.0 => format!("{value:.0}"),
        Unit::Micros | Unit::Kibibytes | Unit::Mebibytes => format!("{value:.1}"),
        Unit::Count => format!("{value:.0}"),
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
    fn every_row_is_in_the_table_once() {
        let table = Samples::default().table(figures());
        assert_eq!(table.lines().count(), figures().count() + 2);
        let names: std::collections::HashSet<_> = figures().map(|figure| figure.name).collect();
        assert_eq!(names.len(), figures().count());
    }
}
