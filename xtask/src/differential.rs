//! `cargo xtask differential`: one script of requests to Apache's servers and to ours; the replies must say the same, times,
//! hosts and ids aside.
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::client::Clients;
use self::reply::Said;
use self::script::Line;
use crate::apache::{SMALL_HEAP, Site};
use crate::java::{Java, compat};
use crate::shell::root;
use crate::skylark::{self, Skylark};
use crate::tally::Tally;

mod client;
mod coverage;
mod reply;
mod script;

#[derive(Args)]
pub(crate) struct Options {
    /// Only sections whose title contains this; those they build on must be among them
    #[arg(last = true)]
    only: Option<String>,
    /// Print every reply
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn execute(options: &Options) -> Result<()> {
    let mut tally = Tally::default();
    let outcome = run(options, &mut tally);
    println!("\n{tally}");
    outcome
}

pub(crate) fn run_counted(tally: &mut Tally) -> Result<()> {
    let all = Options {
        only: None,
        verbose: false,
    };
    run(&all, tally)
}

fn path() -> PathBuf {
    compat().join("differential.script")
}

fn run(options: &Options, tally: &mut Tally) -> Result<()> {
    let path = path();
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut lines = script::parse(&text).with_context(|| path.display().to_string())?;
    if options.only.is_none() {
        let table = fs::read_to_string(root().join("docs/compat.md"))?;
        coverage::check(&table, &lines)?;
    }
    if let Some(only) = &options.only {
        lines.retain(|line| line.section.contains(only));
    }
    let java = Java::find()?;
    java.build()?;
    let binary = skylark::build()?;
    let theirs = {
        let home = tempfile::Builder::new().prefix("skylark-diff-").tempdir()?;
        let site = Site::new(home.path(), Ipv4Addr::LOCALHOST)?;
        let _namesrv = site.start_namesrv(&java, &[])?;
        let _broker = site.start_broker(&java, SMALL_HEAP)?;
        play(&lines, &site)?
    };
    let home = tempfile::Builder::new().prefix("skylark-diff-").tempdir()?;
    let site = Site::new(home.path(), Ipv4Addr::LOCALHOST)?;
    let skylark = Skylark::start(&binary, &site, "")?;
    let ours = play(&lines, &site)?;
    let _ = skylark.process.stop(skylark::STOP_LIMIT);
    let mut failures = 0;
    for ((line, theirs), ours) in lines.iter().zip(&theirs).zip(&ours) {
        if options.verbose {
            println!(
                "{}: {}\n  Apache:  {theirs}\n  Skylark: {ours}",
                line.number, line.text
            );
        }
        let wrong = reply::compare(theirs, ours, &line.differences);
        if wrong.is_empty() {
            tally.passed += 1;
            continue;
        }
        tally.failed += 1;
        failures += 1;
        println!(
            "{} line {}: {}\n  {}",
            path.display(),
            line.number,
            line.text,
            wrong.join("\n  ")
        );
    }
    ensure!(
        failures == 0,
        "{failures} of {} replies differ",
        lines.len()
    );
    Ok(())
}

/// Plays the script to the servers of a site; a reply for each line.
fn play(lines: &[Line], site: &Site) -> Result<Vec<Said>> {
    let broker = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, site.broker_port));
    let mut clients = Clients::new(broker, site.namesrv());
    lines
        .iter()
        .map(|line| {
            let said = clients.play(line);
            said.with_context(|| format!("line {}: {}", line.number, line.text))
        })
        .collect()
}
