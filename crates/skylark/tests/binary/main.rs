//! The binary as its users meet it: arguments in, output, exit status and signals.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod bench;
mod configuration;
mod process;
mod start;
