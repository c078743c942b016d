//! Logs go to standard error: coloured lines on a terminal, plain ones elsewhere; `SKYLARK_LOG` filters like `RUST_LOG`.

use std::io::IsTerminal;

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "SKYLARK_LOG";

/// Starts logging for the rest of the process. The default level is info.
pub(crate) fn start() -> anyhow::Result<()> {
    let filter = match std::env::var(VARIABLE) {
        Ok(filter) => EnvFilter::try_new(&filter).map_err(|_| {
            anyhow!("{VARIABLE}={filter}: expected a level, or a list like info,broker=debug")
        })?,
        Err(_) => EnvFilter::new("info"),
    };
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(!terminal);
    if terminal {
        lines.compact().init();
    } else {
        lines.init();
    }
    Ok(())
}
