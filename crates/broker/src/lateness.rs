//! How late a background feature does what it has to do at a certain time.

use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
mod tests;

/// Upper ends of the classes that latenesses are counted in, ms; what is later is in one more class.
const CLASSES_MS: [u64; 17] = [
    0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 600_000,
];

/// Counts since the start.
#[derive(Default)]
pub(crate) struct Lateness {
    classes: [AtomicU64; CLASSES_MS.len() + 1],
    worst_ms: AtomicU64,
}

/// What a feature did, and how late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatenessReport {
    /// How often it did something that was due.
    pub count: u64,
    /// No more than one in a hundred were later than this, ms. Rounded up to the next of a few steps.
    pub p99_ms: u64,
    /// The latest one, ms.
    pub worst_ms: u64,
}

impl Lateness {
    /// Something was done so many ms after it was due.
    pub(crate) fn note(&self, late_ms: i64) {
        let late_ms = u64::try_from(late_ms).unwrap_or(0);
        let class = CLASSES_MS.partition_point(|end| *end < late_ms);
        if let Some(count) = self.classes.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.worst_ms.fetch_max(late_ms, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> LatenessReport {
        let counts = self
            .classes
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let count = counts.iter().sum::<u64>();
        let worst_ms = self.worst_ms.load(Ordering::Relaxed);
        let mut later = count;
        let class = counts.iter().position(|in_class| {
            later -= in_class;
            later * 100 <= count
        });
        let end = class.and_then(|class| CLASSES_MS.get(class));
        LatenessReport {
            count,
            p99_ms: end.map_or(worst_ms, |end| worst_ms.min(*end)),
            worst_ms,
        }
    }
}
