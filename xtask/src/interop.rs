//! `cargo xtask interop`: a store directory moves between Apache's store and ours and back. Both say all that is in a
//! directory in the same words (the lines of compat.StoreRead and of `skylark store dump`), and the words are compared.
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::apache::Site;
use crate::compat;
use crate::java::Java;
use crate::shell::{output, run};
use crate::skylark::{self, Skylark};
use crate::tally::Tally;

/// Files so small that a few thousand messages roll all of them; compat.Stores has the same.
const SIZES: &str = "mappedFileSizeCommitLog=1048576\nmappedFileSizeConsumeQueue=2000\nmaxHashSlotNum=500\n\
    maxIndexNum=2000\nmaxMessageSize=524288\n";
const STEPS: &str = "4000";

/// What any of the directories must have in it at least, so that no comparison is of nothing with nothing.
const MESSAGES_MIN: usize = 1000;

pub(crate) fn execute() -> Result<()> {
    let mut tally = Tally::default();
    let outcome = run_counted(&mut tally);
    println!("\n{tally}");
    outcome
}

pub(crate) fn run_counted(tally: &mut Tally) -> Result<()> {
    let java = Java::find()?;
    java.build()?;
    let binary = skylark::build()?;
    let home = tempfile::Builder::new()
        .prefix("skylark-interop-")
        .tempdir()?;
    let interop = Interop {
        java,
        binary,
        home: home.path().to_owned(),
    };
    let cases: [(&str, Case); 5] = [
        ("written by Apache's store, shut down", Interop::java_closed),
        ("written by Apache's store, killed", Interop::java_crashed),
        ("written by Skylark, shut down", Interop::skylark_closed),
        (
            "written by Skylark, killed under load",
            Interop::skylark_killed,
        ),
        (
            "written by Apache's store, Skylark and Apache's store",
            Interop::over_and_back,
        ),
    ];
    let mut failures = 0;
    for (number, (name, case)) in cases.into_iter().enumerate() {
        let directory = interop.home.join(number.to_string());
        fs::create_dir_all(&directory)?;
        match case(&interop, &directory) {
            Ok(()) => {
                tally.passed += 1;
                println!("store {name}: ok");
            }
            Err(error) => {
                tally.failed += 1;
                failures += 1;
                println!("store {name}: FAILED: {error:#}");
            }
        }
    }
    ensure!(failures == 0, "{failures} of the stores read differently");
    Ok(())
}

/// Makes a store in a directory of its own and compares what both read from it.
type Case = fn(&Interop, &Path) -> Result<()>;

struct Interop {
    java: Java,
    binary: PathBuf,
    home: PathBuf,
}

impl Interop {
    fn java_closed(&self, directory: &Path) -> Result<()> {
        self.java_writes(&directory.join("store"), &[STEPS])?;
        self.same(&directory.join("store"))
    }

    fn java_crashed(&self, directory: &Path) -> Result<()> {
        self.java_writes(&directory.join("store"), &[STEPS, "--crash"])?;
        ensure!(
            directory.join("store/abort").exists(),
            "no abort file: it was not killed"
        );
        self.same(&directory.join("store"))
    }

    fn skylark_closed(&self, directory: &Path) -> Result<()> {
        let (skylark, site) = self.serve(directory)?;
        let every_kind_of_send = [
            "SendTest".to_owned(),
            "BatchTest#listArrivesWhole".to_owned(),
        ];
        compat::maven_test(
            &self.java,
            &site,
            compat::System::Skylark,
            &every_kind_of_send,
            &mut Tally::default(),
        )?;
        self.bench_some(&site)?;
        skylark.stop()?;
        ensure!(
            !directory.join("store/abort").exists(),
            "the abort file is still there after a shutdown"
        );
        self.same(&directory.join("store"))
    }

    fn skylark_killed(&self, directory: &Path) -> Result<()> {
        let (skylark, site) = self.serve(directory)?;
        let mut load = self.bench(&site, &["--seconds", "60", "--topic", "Killed"]);
        let load =
            crate::process::Process::start("the load", &mut load, &directory.join("load.out"), "")?;
        self.bench_some(&site)?;
        skylark.process.kill()?;
        load.kill()?;
        ensure!(
            directory.join("store/abort").exists(),
            "no abort file: it was not killed"
        );
        self.same(&directory.join("store"))
    }

    fn over_and_back(&self, directory: &Path) -> Result<()> {
        let store = directory.join("store");
        self.java_writes(&store, &[STEPS])?;
        let (skylark, site) = self.serve(directory)?;
        self.bench_some(&site)?;
        skylark.stop()?;
        self.same(&store)?;
        self.java_writes(&store, &["2000", "--from", STEPS])?;
        self.same(&store)
    }

    fn java_writes(&self, store: &Path, arguments: &[&str]) -> Result<()> {
        fs::create_dir_all(store)?;
        run(self.main("compat.StoreWrite")?.arg(store).args(arguments))
    }

    fn main(&self, class: &str) -> Result<Command> {
        let mut command = self.java.program(&["-Xmx1g"])?;
        command
            .arg(format!("-Duser.home={}", self.home.display()))
            .arg(class);
        Ok(command)
    }

    /// Skylark on `directory`/store.
    fn serve(&self, directory: &Path) -> Result<(Skylark, Site)> {
        let site = Site::new(directory, Ipv4Addr::LOCALHOST)?;
        let skylark = Skylark::start(&self.binary, &site, SIZES)?;
        Ok((skylark, site))
    }

    /// Thousands of messages, some in batches.
    fn bench_some(&self, site: &Site) -> Result<()> {
        run(&mut self.bench(
            site,
            &["--messages", "3000", "--size", "700", "--in-flight", "8"],
        ))?;
        run(&mut self.bench(
            site,
            &["--messages", "1000", "--batch", "10", "--in-flight", "4"],
        ))
    }

    fn bench(&self, site: &Site, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(["bench", "produce", "--namesrv", &site.namesrv().to_string()])
            .args(arguments);
        command
    }

    /// Each reads a copy of its own, for opening a store changes it.
    fn same(&self, store: &Path) -> Result<()> {
        let (theirs, ours) = (copy(store, "apache")?, copy(store, "skylark")?);
        let expected = output(self.main("compat.StoreRead")?.arg(&theirs))?;
        let config = ours.with_extension("conf");
        fs::write(
            &config,
            format!("{SIZES}storePathRootDir={}\n", ours.display()),
        )?;
        let got = output(
            Command::new(&self.binary)
                .args(["store", "dump"])
                .arg(&ours)
                .arg("-c")
                .arg(&config),
        )?;
        fs::remove_dir_all(&theirs)?;
        fs::remove_dir_all(&ours)?;
        compare(&expected, &got, MESSAGES_MIN)
    }
}

/// A copy beside it.
fn copy(store: &Path, name: &str) -> Result<PathBuf> {
    let to = store.with_file_name(name);
    // Keeps the holes of sparse files.
    run(Command::new("cp")
        .args(["-a", "--sparse=always"])
        .arg(store)
        .arg(&to))?;
    Ok(to)
}

/// Fails with the first lines that differ, or if there is too little to compare.
fn compare(expected: &str, got: &str, messages_min: usize) -> Result<()> {
    let messages = expected
        .lines()
        .filter(|line| line.starts_with(r#"{"kind":"message""#))
        .count();
    let mut lines = got.lines();
    for (number, expected) in expected.lines().enumerate() {
        let got = lines.next().unwrap_or("(nothing)");
        if got != expected {
            bail!(
                "line {}:\n  Apache:  {}\n  Skylark: {}",
                number + 1,
                short(expected),
                short(got)
            );
        }
    }
    if let Some(got) = lines.next() {
        bail!("Apache ends, Skylark goes on: {}", short(got));
    }
    ensure!(messages >= messages_min, "only {messages} messages in it");
    println!(
        "{} equal lines, {messages} messages",
        expected.lines().count()
    );
    Ok(())
}

fn short(line: &str) -> String {
    line.chars().take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "{\"kind\":\"message\",\"topic\":\"a\"}\n{\"kind\":\"log\",\"min\":0,\"max\":1}\n";

    #[test]
    fn equal_words_pass() {
        compare(ONE, ONE, 1).unwrap();
    }

    #[test]
    fn differences_and_emptiness_do_not() {
        for got in [
            "",
            ONE.split('\n').next().unwrap(),
            &format!("{ONE}more\n"),
            &ONE.replace("\"a\"", "\"b\""),
        ] {
            assert!(compare(ONE, got, 1).is_err(), "{got}");
        }
        assert!(compare(ONE, ONE, 2).is_err());
        assert!(compare("", "", 1).is_err());
    }
}
