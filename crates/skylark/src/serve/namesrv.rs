//! `skylark namesrv`, also called mqnamesrv.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use namesrv::{Config, KvFile, Nameserver};
use remoting::clock::Clock;
use store::Disk;

use super::{Signals, Started};
use crate::config::{self, Program, Remark};
use crate::say;

#[derive(Args)]
pub(crate) struct Namesrv {
    /// Properties file
    #[arg(short, long = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Taken for the sake of Apache's flags: a nameserver needs no other
    #[arg(short, long = "namesrvAddr", value_name = "ADDR;ADDR")]
    namesrv: Option<String>,
    /// Print every key with its value and end
    #[arg(short, long = "printConfigItem")]
    print: bool,
}

impl Namesrv {
    pub(crate) fn run(&self, started: Started) -> anyhow::Result<ExitCode> {
        let mut config = Config::default();
        let remarks = match &self.config {
            Some(file) => config::load(file, Program::Namesrv, &mut config)?,
            None => Vec::new(),
        };
        if self.print {
            say(&config::print(&config, false))?;
            return Ok(ExitCode::SUCCESS);
        }
        super::run(serve(config, remarks, started))
    }
}

async fn serve(config: Config, remarks: Vec<Remark>, started: Started) -> anyhow::Result<ExitCode> {
    config::log(&remarks);
    let kv_path = match &config.kv_config_path {
        Some(path) => PathBuf::from(path),
        None => super::home()?.join("namesrv").join("kvConfig.json"),
    };
    let nameserver = start(config, &kv_path).await?;
    let addr = nameserver.addrs().first().context("it listens nowhere")?;
    let signals = Signals::listen()?;
    // Scripts wait for the first half, as Apache says it.
    super::announce(&format!(
        "The Name Server boot success. serializeType=JSON, address {addr}, {}\n",
        started.ready()
    ));
    let code = super::stopped(signals, std::future::pending()).await?;
    nameserver.shutdown().await;
    Ok(code)
}

/// Starts a nameserver that keeps its key-value configuration in a file.
pub(super) async fn start(config: Config, kv_path: &Path) -> anyhow::Result<Nameserver> {
    let disk = Disk::Os;
    let content = match disk.read(kv_path) {
        Ok(content) => Some(content),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context("can't read kvConfigPath"),
    };
    let path = kv_path.to_path_buf();
    let file = KvFile {
        path: path.display().to_string(),
        content,
        replace: Box::new(move |bytes| {
            if let Some(dir) = path.parent() {
                disk.create_dir_all(dir)?;
            }
            disk.replace(&path, bytes)
        }),
    };
    Nameserver::start(config, file, Clock::System)
        .await
        .context("nameserver")
}
