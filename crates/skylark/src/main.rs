//! The skylark binary: what to run is in the arguments, or in the name it is called by.

use std::process::ExitCode;

use clap::Parser;

use crate::serve::Started;

mod bench;
mod cli;
mod config;
mod inspect;
mod logging;
mod serve;

fn main() -> ExitCode {
    let started = Started::now();
    let (args, as_apache) = cli::arguments(std::env::args_os());
    let command = match cli::Skylark::try_parse_from(args) {
        Ok(command) => command,
        Err(usage) => {
            let _ = usage.print();
            // Apache's tools end with 1 on a wrong argument, where the custom is 2.
            return ExitCode::from(match usage.exit_code() {
                0 => 0,
                _ if as_apache => 1,
                code => u8::try_from(code).unwrap_or(2),
            });
        }
    };
    match command.run(started) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("skylark: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes on one line; a cause that its effect quotes already is not said again.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error
        .chain()
        .map(|cause| cause.to_string().replace('\n', " "))
    {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}
