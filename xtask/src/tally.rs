//! Sums up what the test runners report: cargo's `test result:` lines and surefire's `Tests run:` lines.
use std::fmt;
use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// One step that isn't a test and went wrong.
    pub(crate) const FAILURE: Tally = Tally {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    /// Adds what this line of a runner's output reports, if it reports anything.
    pub(crate) fn watch(&mut self, line: &str) {
        if let Some(tally) = cargo_line(line).or_else(|| surefire_line(line)) {
            *self += tally;
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
fn cargo_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        counts
            .split("; ")
            .find_map(|part| part.strip_suffix(name)?.trim().parse::<u64>().ok())
    };
    Some(Tally {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
    })
}

/// `[INFO] Tests run: 9, Failures: 0, Errors: 0, Skipped: 0`, the sum of one execution;
/// the line of a single class goes on with `, Time elapsed: …` and is not counted.
fn surefire_line(line: &str) -> Option<Tally> {
    let (level, counts) = line.split_once("Tests run: ")?;
    if !level.starts_with('[') || counts.contains("Time elapsed") {
        return None;
    }
    let mut numbers = counts.split(", ").map(|part| {
        part.rsplit_once(' ')
            .map_or(part, |(_, number)| number)
            .trim()
            .parse::<u64>()
    });
    let mut next = || numbers.next()?.ok();
    let (run, failures, errors, skipped) = (next()?, next()?, next()?, next()?);
    let failed = failures + errors;
    Some(Tally {
        passed: run.saturating_sub(failed + skipped),
        failed,
        skipped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.watch(line));
        tally
    }

    #[test]
    fn cargo_results_are_summed() {
        let text = "running 3 tests\n\
            test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.01s\n";
        assert_eq!(
            tally(text),
            Tally {
                passed: 7,
                failed: 3,
                skipped: 1
            }
        );
    }

    #[test]
    fn surefire_sums_are_counted_and_single_classes_are_not() {
        let text = "[INFO] Tests run: 4, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 3.2 s -- in compat.SendTest\n\
            [ERROR] Tests run: 9, Failures: 1, Errors: 2, Skipped: 1\n\
            [INFO] Tests run: 2, Failures: 0, Errors: 0, Skipped: 0\n";
        assert_eq!(
            tally(text),
            Tally {
                passed: 7,
                failed: 3,
                skipped: 1
            }
        );
    }

    #[test]
    fn the_closing_line() {
        assert_eq!(
            Tally {
                passed: 1,
                failed: 2,
                skipped: 3
            }
            .to_string(),
            "1 passed, 2 failed, 3 skipped"
        );
    }
}
