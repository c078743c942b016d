//! `cargo xtask dist`: what is handed out. The binary, links with the names that RocketMQ's users know, licence and README.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{cargo, output, root, run, target};

/// What the binary behaves as when called so.
const NAMES: [&str; 2] = ["mqnamesrv", "mqbroker"];

pub(crate) fn execute() -> Result<()> {
    run(cargo()
        .args(["build", "--release", "--locked", "--package", "skylark"])
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
        .args([
            "--target-dir".as_ref(),
            target().join("dist/build").as_os_str(),
        ]))?;
    let binary = target().join("dist/build/release/skylark");
    let version = output(Command::new(&binary).arg("--version"))?;
    let version = version
        .split_whitespace()
        .nth(1)
        .context("the binary doesn't say its version")?;
    let name = format!(
        "skylark-{version}-{}-{}",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let directory = target().join("dist").join(&name);
    assemble(root(), &binary, &directory)?;
    let archive = format!("{name}.tar.gz");
    run(Command::new("tar")
        .args([
            "--create",
            "--gzip",
            "--owner=0",
            "--group=0",
            "--file",
            &archive,
            &name,
        ])
        .current_dir(target().join("dist")))?;
    let bytes = |path: &Path| fs::metadata(path).map(|metadata| metadata.len() as f64 / 1e6);
    println!(
        "{}: {:.1} MB, the binary alone {:.1} MB",
        target().join("dist").join(&archive).display(),
        bytes(&target().join("dist").join(&archive))?,
        bytes(&binary)?
    );
    Ok(())
}

fn assemble(root: &Path, binary: &Path, directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory.join("bin"))?;
    fs::copy(binary, directory.join("bin/skylark"))
        .with_context(|| binary.display().to_string())?;
    for name in NAMES {
        symlink("skylark", directory.join("bin").join(name))?;
    }
    for file in ["LICENSE", "README.md"] {
        fs::copy(root.join(file), directory.join(file)).context(file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_there_and_an_old_one_is_gone() {
        let scratch = tempfile::tempdir().unwrap();
        for file in ["LICENSE", "README.md", "built"] {
            fs::write(scratch.path().join(file), file).unwrap();
        }
        let directory = scratch.path().join("skylark");
        fs::create_dir_all(directory.join("old")).unwrap();
        assemble(scratch.path(), &scratch.path().join("built"), &directory).unwrap();
        assert!(!directory.join("old").exists());
        for name in NAMES {
            assert!(
                fs::metadata(directory.join("bin").join(name))
                    .unwrap()
                    .is_file()
            );
        }
    }
}
