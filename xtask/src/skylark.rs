//! Our own server: the release binary, started as a user would.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::apache::{BROKER_NAME, Site};
use crate::process::Process;
use crate::shell::{cargo, run, target};
use crate::wire::wait_registered;

/// In the line on standard output that says that it serves.
const READY: &str = "ready";
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(20);
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Log lines of level WARN or ERROR that tests may cause, each with the reason.
const LISTED: [&str; 5] = [
    // FilterTest pulls with one.
    "pulls with a broken expression get all messages",
    // Consumers of one group that change what they subscribe to do it one after the other.
    "members of one group subscribe differently",
    // TransactionTest ends transactions that it must not, and leaves one open for good.
    "a transaction is not ended; said once per client and cause",
    "nobody ended a half message: put aside",
    // On a slow machine a producer's heir is there only after the broker would have asked.
    "half messages wait for an end, and no producer of the group is there to be asked",
];

/// A binary to be tested instead of the release build.
const BINARY: &str = "SKYLARK_BINARY";

/// Builds the release binary and returns where it is.
pub(crate) fn build() -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os(BINARY) {
        return std::path::absolute(&binary)
            .with_context(|| format!("{BINARY}={}", binary.display()));
    }
    run(cargo().args(["build", "--release", "--package", "skylark"]))?;
    Ok(target().join("release/skylark"))
}

pub(crate) struct Skylark {
    pub(crate) process: Process,
}

/// Starts a standalone below `home` with a configuration of Apache's broker.
pub(crate) fn spawn(
    binary: &Path,
    home: &Path,
    config: &Path,
    namesrv_port: u16,
) -> Result<Process> {
    let mut command = Command::new(binary);
    command
        .arg("standalone")
        .arg("--data")
        .arg(home.join("store"));
    command
        .arg("--namesrv-port")
        .arg(namesrv_port.to_string())
        .arg("-c")
        .arg(config);
    Process::start(
        "skylark",
        command.current_dir(home),
        &home.join("skylark.out"),
        READY,
    )
}

impl Skylark {
    /// Starts it with the configuration that compat/ has for Apache's broker, `more` winning over it, and waits until it serves.
    pub(crate) fn start(binary: &Path, site: &Site, more: &str) -> Result<Skylark> {
        let file = site.home.join("skylark.conf");
        fs::write(&file, overridden(&site.config("broker")?, more))?;
        let mut process = spawn(binary, &site.home, &file, site.namesrv_port)?;
        process.wait_ready(READY_LIMIT)?;
        wait_registered(site.namesrv(), BROKER_NAME, READY_LIMIT)?;
        Ok(Skylark { process })
    }

    /// Ends it as an operator would and complains of anything it had to warn of.
    pub(crate) fn stop(self) -> Result<()> {
        let output = self.process.output.clone();
        let status = self.process.stop(STOP_LIMIT)?;
        let text = fs::read(&output).context("skylark's output")?;
        let text = String::from_utf8_lossy(&text);
        if !status.success() {
            bail!("skylark ended with {status}:\n{}", tail(&text));
        }
        let lines = unlisted(&text, &LISTED);
        if !lines.is_empty() {
            bail!(
                "skylark logged what is not expected of it:\n{}",
                lines.join("\n")
            );
        }
        Ok(())
    }
}

/// The configuration with these lines instead of those with the same keys.
fn overridden(config: &str, more: &str) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let keys: Vec<String> = more.lines().map(key).collect();
    let kept = config.lines().filter(|line| !keys.contains(&key(line)));
    kept.chain(more.lines())
        .map(|line| format!("{line}\n"))
        .collect()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// The lines of level WARN or ERROR, and panics, without those that are listed.
fn unlisted<'a>(log: &'a str, listed: &[&str]) -> Vec<&'a str> {
    let bad = |line: &&str| {
        line.contains(" WARN ") || line.contains("ERROR ") || line.contains("panicked at")
    };
    log.lines()
        .filter(bad)
        .filter(|line| !listed.iter().any(|listed| line.contains(listed)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_given_once() {
        assert_eq!(
            overridden("# sizes\na=1\nb=2\n", "b=3\nc=4\n"),
            "# sizes\na=1\nb=3\nc=4\n"
        );
        assert_eq!(overridden("a=1\n", ""), "a=1\n");
    }

    #[test]
    fn warnings_and_panics_are_seen_and_listed_ones_are_not() {
        let log = "12:00:00  INFO broker: WARNING signs\n12:00:01  WARN store: slow flush\n12:00:01 ERROR store: no space\n\
            12:00:02  WARN broker: refused topic a/b\nthread 'main' panicked at src/a.rs:1:1:\n";
        assert_eq!(unlisted(log, &["refused topic"]).len(), 3);
        assert_eq!(unlisted("12:00:00  INFO broker: fine\n", &[]).len(), 0);
    }
}
