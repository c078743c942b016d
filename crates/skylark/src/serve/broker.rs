//! `skylark broker`, also called mqbroker.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use broker::{Config, Options};
use clap::Args;

use super::{Signals, Started};
use crate::config::{self, Program, Remark};
use crate::say;

#[derive(Args)]
pub(crate) struct Broker {
    /// Properties file
    #[arg(short, long = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Addresses of the nameservers; win over namesrvAddr in FILE, which wins over $NAMESRV_ADDR
    #[arg(short, long = "namesrvAddr", value_name = "ADDR;ADDR")]
    namesrv: Option<String>,
    /// Print every key with its value and end
    #[arg(short, long = "printConfigItem")]
    print: bool,
    /// Print the keys that matter most with their values and end
    #[arg(short = 'm', long = "printImportantConfig")]
    print_important: bool,
    /// Apache's way to run its proxy in the broker's process; not there yet
    #[arg(long, hide = true)]
    enable_proxy: bool,
    /// Old tutorials write key=value here; it has never had an effect
    #[arg(hide = true)]
    ignored: Vec<String>,
}

impl Broker {
    pub(crate) fn run(&self, started: Started) -> anyhow::Result<ExitCode> {
        if self.enable_proxy {
            bail!("--enable-proxy: the proxy is not there yet; start without it");
        }
        let mut options = Options::default();
        let remarks = load(
            &mut options,
            self.config.as_deref(),
            self.namesrv.as_deref(),
        )?;
        if self.print || self.print_important {
            say(&config::print(&options, !self.print))?;
            return Ok(ExitCode::SUCCESS);
        }
        let config = with_root(&options, super::home)?;
        super::run(serve(config, remarks, self.ignored.clone(), started))
    }
}

/// The configuration with a place for the store. Home is asked for only if the options name none: a service may have no home.
fn with_root(
    options: &Options,
    home: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<Config> {
    let root = match &options.store_root {
        Some(root) => PathBuf::from(root),
        None => home()?.join("store"),
    };
    Ok(options.config(&root)?)
}

/// What file, environment and command line say, the last one winning.
pub(super) fn load(
    options: &mut Options,
    file: Option<&std::path::Path>,
    namesrv: Option<&str>,
) -> anyhow::Result<Vec<Remark>> {
    if let Ok(addrs) = std::env::var("NAMESRV_ADDR") {
        config::set(options, "namesrvAddr", &addrs, "$NAMESRV_ADDR")?;
    }
    let remarks = match file {
        Some(file) => config::load(file, Program::Broker, options)?,
        None => Vec::new(),
    };
    if let Some(addrs) = namesrv {
        config::set(options, "namesrvAddr", addrs, "-n ")?;
    }
    Ok(remarks)
}

async fn serve(
    config: Config,
    remarks: Vec<Remark>,
    ignored: Vec<String>,
    started: Started,
) -> anyhow::Result<ExitCode> {
    config::log(&remarks);
    for argument in ignored {
        tracing::warn!(
            "the argument {argument} has no effect, as with Apache's mqbroker; put it into the file given with -c"
        );
    }
    let (name, nameservers) = (config.broker_name.clone(), config.nameservers.join(";"));
    let running = super::start_broker(config).await?;
    let registered = match &*nameservers {
        "" => String::new(),
        nameservers => format!(" and name server is {nameservers}"),
    };
    let signals = Signals::listen()?;
    // Scripts wait for the first half, as Apache says it.
    super::announce(&format!(
        "The broker[{name}, {}] boot success. serializeType=JSON{registered}, {}\n",
        running.advertised(),
        started.ready()
    ));
    let code = super::stopped(signals, running.failed()).await?;
    running.shutdown().await?;
    Ok(code)
}

#[cfg(test)]
mod tests;
