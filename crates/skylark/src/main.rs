//! The skylark binary: what to run is in the arguments, or in the name it is called by.

use std::process::ExitCode;

use clap::Parser;

mod bench;
mod cli;
mod inspect;

fn main() -> ExitCode {
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
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            // One line, whatever went wrong: causes are joined, nothing is traced.
            eprintln!("skylark: {error:#}");
            ExitCode::FAILURE
        }
    }
}
