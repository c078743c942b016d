//! `cargo xtask fuzz`: runs a target of fuzz/ for a while.
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::shell::{cargo, root, run};

#[derive(Args)]
pub(crate) struct Options {
    /// The target; without one: their names
    target: Option<String>,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn execute(options: &Options) -> Result<()> {
    let targets = targets()?;
    let Some(target) = &options.target else {
        println!("{}", targets.join("\n"));
        return Ok(());
    };
    ensure!(
        targets.contains(target),
        "no target {target}; there are {}",
        targets.join(", ")
    );
    let mut probe = Command::new("cargo");
    probe
        .args(["+nightly", "fuzz", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !free_of_our_toolchain(&mut probe)
        .status()
        .is_ok_and(|status| status.success())
    {
        bail!(
            "cargo-fuzz and a nightly toolchain are needed: rustup toolchain install nightly && cargo install cargo-fuzz"
        );
    }
    let mut fuzz = Command::new("cargo");
    fuzz.args([
        "+nightly",
        "fuzz",
        "run",
        target,
        "--",
        &format!("-max_total_time={}", options.seconds),
    ]);
    run(free_of_our_toolchain(&mut fuzz).current_dir(root()))
}

/// Whether the targets are formatted and compile, without the nightly compiler and the C++ that running them takes.
pub(crate) fn check() -> Result<()> {
    let manifest = ["--manifest-path", "fuzz/Cargo.toml"];
    run(cargo().arg("fmt").args(manifest).arg("--check"))?;
    // A library that is said to be there isn't built, and checking links nothing.
    run(cargo()
        .args(["check", "--locked"])
        .args(manifest)
        .env("CUSTOM_LIBFUZZER_PATH", "/none/libnone.a"))
}

/// We run under the toolchain of rust-toolchain.toml, which cargo hands on.
fn free_of_our_toolchain(command: &mut Command) -> &mut Command {
    command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC")
}

fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_refused_with_the_known_ones() {
        let options = Options {
            target: Some("nothing".to_owned()),
            seconds: 1,
        };
        let error = execute(&options).unwrap_err().to_string();
        assert!(
            error.contains("no target nothing; there are ") && error.contains("frame"),
            "{error}"
        );
    }
}
