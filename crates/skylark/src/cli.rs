//! The command line: `skylark` and its parts, and the names under which RocketMQ's users know them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::bench::Bench;
use crate::inspect::Inspect;

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
}

#[derive(Args)]
pub(crate) struct Standalone {
    /// Directory for all data, made if absent
    #[arg(long, value_name = "DIR", default_value = "skylark-data")]
    pub(crate) data: PathBuf,
    /// Properties file of the broker, as for `skylark broker`
    #[arg(short, long = "configFile", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Port of the broker; 0 takes any that is free [default: listenPort of FILE, or 10911]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Port of the nameserver; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 9876)]
    pub(crate) namesrv_port: u16,
}

#[derive(Args)]
pub(crate) struct Namesrv {
    /// Properties file
    #[arg(short, long = "configFile", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address list of nameservers; taken for the sake of Apache's flags, a nameserver needs no other
    #[arg(short, long = "namesrvAddr", value_name = "ADDR;ADDR")]
    pub(crate) namesrv: Option<String>,
    /// Print every key with its value and end
    #[arg(short, long = "printConfigItem")]
    pub(crate) print: bool,
}

#[derive(Args)]
pub(crate) struct Broker {
    /// Properties file
    #[arg(short, long = "configFile", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Addresses of the nameservers; wins over namesrvAddr in FILE, which wins over $NAMESRV_ADDR
    #[arg(short, long = "namesrvAddr", value_name = "ADDR;ADDR")]
    pub(crate) namesrv: Option<String>,
    /// Print every key with its value and end
    #[arg(short, long = "printConfigItem")]
    pub(crate) print: bool,
    /// Print the keys that matter most with their values and end
    #[arg(short = 'm', long = "printImportantConfig")]
    pub(crate) print_important: bool,
    /// Taken without effect, as Apache's mqbroker does with key=value arguments of old tutorials
    #[arg(hide = true)]
    pub(crate) ignored: Vec<String>,
}

impl Skylark {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Some(Command::Bench(bench)) => bench.run(),
            Some(Command::Store(store)) => store.run(),
            _ => anyhow::bail!("not there yet"),
        }
    }
}

/// The arguments with the command that the program's name stands for, and whether it is one of Apache's names.
pub(crate) fn arguments(args: impl IntoIterator<Item = OsString>) -> (Vec<OsString>, bool) {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_else(|| "skylark".into());
    let name = Path::new(&program)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let command = match &*name {
        "mqnamesrv" => "namesrv",
        "mqbroker" => "broker",
        _ => return (std::iter::once(program).chain(args).collect(), false),
    };
    let args = args.map(|arg| double_dash(&arg).unwrap_or(arg));
    (
        ["skylark".into(), command.into()]
            .into_iter()
            .chain(args)
            .collect(),
        true,
    )
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
