//! Every developer command of the project: `cargo xtask --help`.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it is no part of the product but what builds and tests it"
)]

mod apache;
mod bench;
mod compat;
mod differential;
mod dist;
mod fixtures;
mod floor;
mod fuzz;
mod interop;
mod java;
mod ports;
mod process;
mod shell;
mod skylark;
mod tally;
mod test;
mod tidy;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Every developer command of Skylark")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run every test, cheap ones first, real Java clients last
    Test,
    /// What continuous integration runs: the same as `test`
    Ci,
    /// Check what neither the compiler nor judgement keeps: layers, seams, links, generated files
    Tidy,
    /// Run the real Java clients against Skylark or Apache's own servers
    Compat(compat::Options),
    /// Move store directories between Apache's store and ours and compare what both read
    Interop,
    /// Play one script of requests to Apache's servers and to ours and compare the replies
    Differential(differential::Options),
    /// Build what is handed out: binary, links, archive
    Dist,
    /// Run a fuzz target for a while
    Fuzz(fuzz::Options),
    /// Measure Skylark, Apache's broker and the floor in one run against the budgets
    Bench(bench::Options),
    /// Serve as the floor of `bench`
    #[command(hide = true)]
    Floor(floor::Options),
    /// Record golden frames between real clients and Apache's servers
    Fixtures,
}

fn main() -> ExitCode {
    match execute(&Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Verb) -> Result<ExitCode> {
    std::env::set_current_dir(shell::root())?;
    match command {
        Verb::Test | Verb::Ci => return Ok(test::execute()),
        Verb::Tidy => tidy::execute(),
        Verb::Compat(options) => compat::execute(options),
        Verb::Interop => interop::execute(),
        Verb::Differential(options) => differential::execute(options),
        Verb::Dist => dist::execute(),
        Verb::Fuzz(options) => fuzz::execute(options),
        Verb::Bench(options) => bench::execute(options),
        Verb::Floor(options) => floor::execute(options),
        Verb::Fixtures => fixtures::execute(),
    }?;
    Ok(ExitCode::SUCCESS)
}
