//! The command line: `skylark` and its parts, and the names under which RocketMQ's users know them.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand, ValueEnum};

use crate::bench::Bench;
use crate::inspect::Inspect;
use crate::say;
use crate::serve::Started;
use crate::serve::broker::Broker;
use crate::serve::namesrv::Namesrv;
use crate::serve::standalone::Standalone;

#[derive(Parser)]
#[command(
    name = "skylark",
    version,
    about = "A drop-in replacement for Apache RocketMQ 5.3.3",
    after_help = "Without a command: a nameserver and a broker in one process, `skylark standalone`.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Skylark {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    standalone: Standalone,
}

#[derive(Subcommand)]
enum Command {
    /// Run a nameserver and a broker in one process
    Standalone(Standalone),
    /// Run a nameserver (also called as mqnamesrv)
    Namesrv(Namesrv),
    /// Run a broker (also called as mqbroker)
    Broker(Broker),
    /// Put load on a broker and report throughput and latency
    Bench(Bench),
    /// Look into a store directory, Apache's or ours
    Store(Inspect),
    /// Print a generated document of this build
    #[command(hide = true)]
    Docs {
        /// Which one
        document: Document,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Document {
    /// docs/config.md
    Config,
}

impl Skylark {
    pub(crate) fn run(self, started: Started) -> anyhow::Result<ExitCode> {
        match self.command.unwrap_or(Command::Standalone(self.standalone)) {
            Command::Standalone(standalone) => standalone.run(started),
            Command::Namesrv(namesrv) => namesrv.run(started),
            Command::Broker(broker) => broker.run(started),
            Command::Bench(bench) => bench.run(),
            Command::Store(store) => store.run(),
            Command::Docs {
                document: Document::Config,
            } => {
                say(&crate::config::document::document())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// The arguments with the command that the program's name stands for, and whether it is one of Apache's names.
pub(crate) fn arguments(
    args: impl IntoIterator<Item = OsString>,
) -> anyhow::Result<(Vec<OsString>, bool)> {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_else(|| "skylark".into());
    let name = Path::new(&program)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let command = match &*name {
        "mqnamesrv" => "namesrv",
        "mqbroker" => "broker",
        "mqproxy" => bail!("called as mqproxy: the proxy is not there yet, a later release has it"),
        "mqadmin" => {
            bail!("called as mqadmin: the admin tool is not there yet, a later release has it")
        }
        _ => return Ok((std::iter::once(program).chain(args).collect(), false)),
    };
    let args = args.map(|arg| double_dash(&arg).unwrap_or(arg));
    let args = ["skylark".into(), command.into()].into_iter().chain(args);
    Ok((args.collect(), true))
}

/// Apache's parser takes long options with one dash as well.
fn double_dash(arg: &OsString) -> Option<OsString> {
    const LONG: [&str; 5] = [
        "configFile",
        "namesrvAddr",
        "printConfigItem",
        "printImportantConfig",
        "help",
    ];
    let text = arg.to_str()?;
    let name = text.strip_prefix('-')?;
    let name_only = name.split('=').next()?;
    LONG.contains(&name_only)
        .then(|| format!("--{name}").into())
}

#[cfg(test)]
mod tests;
