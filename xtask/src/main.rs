//! Every developer command of the project: `cargo xtask --help`.
mod shell;
mod tally;
mod test;
mod tidy;

use std::process::ExitCode;

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
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let outcome = std::env::set_current_dir(shell::root())
        .map_err(Into::into)
        .and_then(|()| match command {
            Verb::Test | Verb::Ci => test::run(),
            Verb::Tidy => tidy::run(),
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
