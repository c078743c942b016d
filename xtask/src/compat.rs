//! `cargo xtask compat`: the real Java clients of compat/ against Skylark, or against Apache's own servers,
//! so that every expectation is known to be RocketMQ's and not ours.
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::apache::{SMALL_HEAP, Site};
use crate::java::{self, Java};
use crate::shell::run_watched;
use crate::skylark::{self, Skylark};
use crate::tally::Tally;

#[derive(Args)]
pub(crate) struct Options {
    /// Whose servers are tested
    #[arg(long, value_enum, default_value = "skylark")]
    against: System,
    /// Only these test classes or methods, as Maven's -Dtest takes them: SendTest, SendTest#oneWayArrives
    #[arg(last = true)]
    filter: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum System {
    Skylark,
    Apache,
}

pub(crate) fn execute(options: &Options) -> Result<()> {
    let mut tally = Tally::default();
    let outcome = run_counted(options.against, &options.filter, &mut tally);
    println!("\n{tally}");
    outcome
}

pub(crate) fn run_counted(against: System, filter: &[String], tally: &mut Tally) -> Result<()> {
    let java = Java::find()?;
    java.build()?;
    let home = tempfile::Builder::new()
        .prefix("skylark-compat-")
        .tempdir()
        .context("no temporary directory")?;
    let site = Site::new(home.path(), Ipv4Addr::LOCALHOST)?;
    println!(
        "nameserver on {}, broker on {}",
        site.namesrv_port, site.broker_port
    );
    match against {
        System::Apache => {
            let namesrv = site.start_namesrv(&java, &[])?;
            let broker = site.start_broker(&java, SMALL_HEAP)?;
            let outcome = maven_test(&java, &site, against, filter, tally);
            if outcome.is_err() {
                println!(
                    "-- nameserver\n{}\n-- broker\n{}",
                    namesrv.tail(20),
                    broker.tail(60)
                );
            }
            outcome
        }
        System::Skylark => {
            let skylark = Skylark::start(&skylark::build()?, &site, "")?;
            let outcome = maven_test(&java, &site, against, filter, tally);
            if outcome.is_err() {
                println!("-- skylark\n{}", skylark.process.tail(80));
            }
            outcome.and(skylark.stop())
        }
    }
}

/// The test class of the Spring Boot application, which is a project of its own.
const SPRING_TEST: &str = "ShopTest";

/// Runs these tests, or all, against the site.
pub(crate) fn maven_test(
    java: &Java,
    site: &Site,
    against: System,
    filter: &[String],
    tally: &mut Tally,
) -> Result<()> {
    let name = match against {
        System::Skylark => "skylark",
        System::Apache => "apache",
    };
    let (spring, plain): (Vec<String>, Vec<String>) = filter
        .iter()
        .cloned()
        .partition(|test| test.starts_with(SPRING_TEST));
    let before = *tally;
    let mut outcome = Ok(());
    for (project, filter, other) in [
        (java::compat(), &plain, &spring),
        (java::spring(), &spring, &plain),
    ] {
        // A filter that names tests of the other project only leaves this one out.
        if filter.is_empty() && !other.is_empty() {
            continue;
        }
        let mut maven = java.maven_in(&project);
        maven
            .arg("test")
            .arg(format!("-DnamesrvAddr={}", site.namesrv()))
            .arg(format!("-Dagainst={name}"));
        if !filter.is_empty() {
            maven
                .arg(format!("-Dtest={}", filter.join(",")))
                .arg("-Dsurefire.failIfNoSpecifiedTests=false");
        }
        outcome = outcome.and(run_watched(&mut maven, |line| tally.watch(line)));
    }
    outcome?;
    ensure!(*tally != before, "no test of that name ran");
    Ok(())
}
