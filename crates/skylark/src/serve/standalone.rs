//! `skylark standalone`: a nameserver and a broker in one process, ready to be tried.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use broker::{Config, Options};
use clap::Args;

use super::{Signals, Started};
use crate::config::{self, Program, Remark};

#[derive(Args)]
pub(crate) struct Standalone {
    /// Directory for all data, made if absent; storePathRootDir in FILE wins
    #[arg(long, value_name = "DIR", default_value = "skylark-data")]
    pub(crate) data: PathBuf,
    /// Properties file of the broker, as for `skylark broker`
    #[arg(short, long = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port of the broker; 0 takes any that is free [default: listenPort in FILE, or 10911]
    #[arg(long)]
    port: Option<u16>,
    /// Port of the nameserver; 0 takes any that is free
    #[arg(long, default_value_t = 9876)]
    namesrv_port: u16,
}

impl Standalone {
    pub(crate) fn run(&self, started: Started) -> anyhow::Result<ExitCode> {
        let mut options = Options::default();
        let remarks = match &self.config {
            Some(file) => config::load(file, Program::Broker, &mut options)?,
            None => Vec::new(),
        };
        if let Some(port) = self.port {
            options.listen_port = port;
        }
        let config = options.config(&self.data)?;
        super::run(serve(config, self.namesrv_port, remarks, started))
    }
}

async fn serve(
    mut config: Config,
    namesrv_port: u16,
    remarks: Vec<Remark>,
    started: Started,
) -> anyhow::Result<ExitCode> {
    config::log(&remarks);
    let bind_address = config.bind_address.to_string();
    let namesrv = namesrv::Config {
        listen_port: namesrv_port,
        bind_address,
        ..Default::default()
    };
    let kv_path = config.store.root.join("namesrv").join("kvConfig.json");
    let nameserver = super::namesrv::start(namesrv, &kv_path).await?;
    let namesrv_addr = *nameserver
        .addrs()
        .first()
        .context("the nameserver listens nowhere")?;
    add_own(&mut config.nameservers, namesrv_addr, &interfaces());
    let screen = Screen {
        namesrv: namesrv_addr,
        data: config.store.root.clone(),
        flush: if config.store.sync_flush {
            "SYNC_FLUSH"
        } else {
            "ASYNC_FLUSH"
        },
        name: config.broker_name.clone(),
        cluster: config.cluster.clone(),
    };
    let running = super::start_broker(config).await?;
    let signals = Signals::listen()?;
    super::announce(&screen.text(running.addrs(), running.advertised(), &started.ready()));
    let code = super::stopped(signals, running.failed()).await?;
    running.shutdown().await?;
    nameserver.shutdown().await;
    Ok(code)
}

/// The broker speaks to its own nameserver first, and to the others it was told of. The own one may be among these, under
/// another of its addresses; twice in the list, it would be told everything twice.
fn add_own(nameservers: &mut Vec<String>, own: SocketAddr, interfaces: &[IpAddr]) {
    nameservers.retain(|given| !is_own(given, own, interfaces));
    nameservers.insert(0, reachable(own).to_string());
}

/// Whether `given` plainly is the address of a server that listens on `own`. Names other than localhost count as others.
fn is_own(given: &str, own: SocketAddr, interfaces: &[IpAddr]) -> bool {
    let given = given.replacen("localhost:", "127.0.0.1:", 1);
    given.parse::<SocketAddr>().is_ok_and(|given| {
        let ip = given.ip();
        let here = ip.is_loopback() || interfaces.contains(&ip);
        given.port() == own.port() && (ip == own.ip() || own.ip().is_unspecified() && here)
    })
}

fn interfaces() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

/// How to reach, from this machine, what listens on an address.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip([127, 0, 0, 1].into()),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => {
            addr.set_ip(std::net::Ipv6Addr::LOCALHOST.into())
        }
        _ => (),
    }
    addr
}

/// The first screen: what runs where, and what to do next.
struct Screen {
    namesrv: SocketAddr,
    data: PathBuf,
    flush: &'static str,
    name: String,
    cluster: String,
}

impl Screen {
    fn text(&self, broker: &[SocketAddr], advertised: &str, ready: &str) -> String {
        let Screen {
            namesrv,
            data,
            flush,
            name,
            cluster,
        } = self;
        let listens: Vec<_> = broker.iter().map(SocketAddr::to_string).collect();
        let local = reachable(*namesrv);
        let mut out = String::new();
        let version = env!("CARGO_PKG_VERSION");
        let listens = listens.join(" and ");
        let _ = write!(
            out,
            "Skylark {version}, speaks RocketMQ 5.3.3\n\
             \x20 nameserver  {namesrv}\n\
             \x20 broker      {listens}, {name} of {cluster}, clients are sent to {advertised}\n\
             \x20 data        {}, {flush}\n\
             \x20 {ready}\n\n\
             Try it from another terminal: skylark bench produce -n {local} --seconds 3\n\
             Or with any RocketMQ client:  export NAMESRV_ADDR={local}\n\
             Ctrl-C stops it.\n",
            data.display()
        );
        out
    }
}

#[cfg(test)]
mod tests;
