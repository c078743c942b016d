//! The skylark binary: what to run is in the arguments, or in the name it is called by.

use std::io::Write;
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
    let (args, as_apache) = match cli::arguments(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => return failed(&error),
    };
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
        // Whoever reads what we print has had enough: `skylark store records DIR | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("skylark: {}", one_line(error));
    ExitCode::FAILURE
}

/// Writes to standard output at once.
fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
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
