//! `cargo xtask test`: every test of the project, cheap ones first, and a closing line that sums them up.
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;

use crate::compat::{self, System};
use crate::java::Java;
use crate::shell::{self, cargo, run_watched};
use crate::tally::Tally;
use crate::{differential, fuzz, interop, skylark, tidy};

fn all() -> Run {
    let mut run = Run::default();
    // First, so that whoever has to install something hears of it now.
    let java = run.step("JDK and Maven", |_| Java::find().map(drop));
    run.step("format", |_| {
        shell::run(cargo().args(["fmt", "--all", "--check"]))
    });
    run.step("tidy", |_| tidy::execute());
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    run.step("clippy", |_| shell::run(cargo().args(clippy)));
    run.step("fuzz targets", |_| fuzz::check());
    let tests = ["test", "--workspace", "--no-fail-fast"];
    run.step("unit and socket tests", |tally| {
        watched(cargo().args(tests), tally)
    });
    let binary = run.step("release binary", |_| skylark::build().map(drop));
    if java && binary {
        run.step("Java clients", |tally| {
            compat::run_counted(System::Skylark, &[], tally)
        });
        run.step("stores of Apache and Skylark", interop::run_counted);
        run.step(
            "the same requests to Apache and Skylark",
            differential::run_counted,
        );
    }
    run
}

/// Runs a test program whose output is counted.
fn watched(command: &mut Command, tally: &mut Tally) -> Result<()> {
    run_watched(command, |line| tally.watch(line))
}

/// What has been run so far.
#[derive(Default)]
struct Run {
    tally: Tally,
    failures: Vec<String>,
}

impl Run {
    /// Runs one step. A step that fails without a failed test counts as one, so that the closing line can't look green.
    fn step(&mut self, name: &str, body: impl FnOnce(&mut Tally) -> Result<()>) -> bool {
        println!("\n== {name}");
        let started = Instant::now();
        let mut tally = Tally::default();
        let outcome = body(&mut tally);
        let seconds = started.elapsed().as_secs_f64();
        match &outcome {
            Ok(()) => println!("== {name}: ok, {seconds:.1} s"),
            Err(error) => {
                println!("== {name}: FAILED after {seconds:.1} s: {error:#}");
                self.failures.push(name.to_owned());
                if tally.failed == 0 {
                    tally += Tally::FAILURE;
                }
            }
        }
        self.tally += tally;
        outcome.is_ok()
    }
}

/// The sum stands alone on the last line, whatever happened.
pub(crate) fn execute() -> ExitCode {
    let done = all();
    println!();
    if !done.failures.is_empty() {
        println!("failed: {}", done.failures.join(", "));
    }
    println!("{}", done.tally);
    if done.tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_step_that_fails_is_counted_once() {
        let mut run = Run::default();
        assert!(run.step("fine", |tally| {
            tally.watch(
                "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            );
            Ok(())
        }));
        assert!(!run.step("no tests", |_| bail!("does not compile")));
        assert!(!run.step("tests", |tally| {
            tally.watch(
                "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            );
            bail!("exit status 101")
        }));
        assert_eq!(
            run.tally,
            Tally {
                passed: 3,
                failed: 3,
                skipped: 0
            }
        );
        assert_eq!(run.failures, ["no tests", "tests"]);
    }
}
