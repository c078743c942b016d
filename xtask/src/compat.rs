//! `cargo xtask compat`: the real Java clients of compat/ against Skylark, or against Apache's own servers,
//! so that every expectation is known to be RocketMQ's and not ours.
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::apache::Apache;
use crate::java::Java;
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

pub(crate) fn run(options: &Options) -> Result<()> {
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
    match against {
        System::Apache => {
            let apache = Apache::start(&java, home.path())?;
            println!(
                "Apache's nameserver on {}, broker on {}",
                apache.namesrv_port, apache.broker_port
            );
            let outcome = maven_test(&java, apache.namesrv_port, filter, tally);
            if outcome.is_err() {
                println!("{}", apache.tail());
            }
            outcome
        }
        System::Skylark => {
            let skylark = Skylark::start(&skylark::build()?, home.path())?;
            println!(
                "Skylark's nameserver on {}, broker on {}",
                skylark.namesrv_port, skylark.broker_port
            );
            let outcome = maven_test(&java, skylark.namesrv_port, filter, tally);
            if outcome.is_err() {
                println!("{}", skylark.process.tail(80));
            }
            let stopped = skylark.stop();
            outcome.and(stopped)
        }
    }
}

fn maven_test(java: &Java, namesrv_port: u16, filter: &[String], tally: &mut Tally) -> Result<()> {
    let mut maven = java.maven();
    maven
        .arg("test")
        .arg(format!("-DnamesrvAddr=127.0.0.1:{namesrv_port}"));
    if !filter.is_empty() {
        maven
            .arg(format!("-Dtest={}", filter.join(",")))
            .arg("-Dsurefire.failIfNoSpecifiedTests=false");
    }
    run_watched(&mut maven, |line| tally.watch(line))
}
