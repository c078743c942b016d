//! Apache's nameserver and broker 5.3.3, run from the jars that Maven fetched for compat/.
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::java::{Java, compat};
use crate::ports;
use crate::process::Process;
use crate::wire::wait_registered;

/// What both print on standard output when they serve.
const READY: &str = "boot success";
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(120);
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What compat/apache/broker.conf.template calls it.
pub(crate) const BROKER_NAME: &str = "broker-a";

/// A heap for tests; what it measures means nothing.
pub(crate) const SMALL_HEAP: &[&str] = &["-Xms512m", "-Xmx1g", "-XX:MaxDirectMemorySize=512m"];

/// Where a nameserver and a broker live: a directory, free ports, and the address by which clients find the broker.
pub(crate) struct Site {
    pub(crate) home: PathBuf,
    pub(crate) namesrv_port: u16,
    pub(crate) broker_port: u16,
    known_as: Ipv4Addr,
}

impl Site {
    pub(crate) fn new(home: &Path, known_as: Ipv4Addr) -> Result<Site> {
        Ok(Site {
            home: home.to_owned(),
            namesrv_port: ports::free()?,
            broker_port: ports::free()?,
            known_as,
        })
    }

    pub(crate) fn namesrv(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.namesrv_port))
    }

    /// What compat/apache has for this server. A broker finds the nameserver where clients do.
    pub(crate) fn config(&self, server: &str) -> Result<String> {
        let path = compat().join(format!("apache/{server}.conf.template"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let known_as = self.known_as.to_string();
        Ok(text
            .replace(
                "127.0.0.1:@NAMESRV_PORT@",
                &format!("{known_as}:{}", self.namesrv_port),
            )
            .replace("@NAMESRV_PORT@", &self.namesrv_port.to_string())
            .replace("@BROKER_PORT@", &self.broker_port.to_string())
            .replace("@BROKER_IP@", &known_as)
            .replace("@HOME@", &self.home.to_string_lossy()))
    }

    /// Starts it and waits until it is ready; `options` are the JVM's.
    pub(crate) fn start_namesrv(&self, java: &Java, options: &[&str]) -> Result<Process> {
        let mut namesrv = spawn_namesrv(java, &self.home, &self.config("namesrv")?, options)?;
        namesrv.wait_ready(READY_LIMIT)?;
        Ok(namesrv)
    }

    /// Starts it and waits until it is ready and registered.
    pub(crate) fn start_broker(&self, java: &Java, options: &[&str]) -> Result<Process> {
        let mut broker = spawn_broker(java, &self.home, &self.config("broker")?, options)?;
        broker.wait_ready(READY_LIMIT)?;
        wait_registered(self.namesrv(), BROKER_NAME, READY_LIMIT)?;
        Ok(broker)
    }
}

pub(crate) fn spawn_namesrv(
    java: &Java,
    home: &Path,
    config: &str,
    options: &[&str],
) -> Result<Process> {
    let options = [&["-Xms128m", "-Xmx256m"], options].concat();
    spawn(
        java,
        home,
        ("namesrv", "org.apache.rocketmq.namesrv.NamesrvStartup"),
        config,
        &options,
    )
}

pub(crate) fn spawn_broker(
    java: &Java,
    home: &Path,
    config: &str,
    options: &[&str],
) -> Result<Process> {
    spawn(
        java,
        home,
        ("broker", "org.apache.rocketmq.broker.BrokerStartup"),
        config,
        options,
    )
}

fn spawn(
    java: &Java,
    home: &Path,
    (name, main): (&str, &str),
    config: &str,
    options: &[&str],
) -> Result<Process> {
    let file = home.join(format!("{name}.conf"));
    fs::write(&file, config)?;
    let mut command = java.program(options)?;
    command
        .arg("-Drocketmq.log.level=warn")
        .arg(format!("-Duser.home={}", home.display()));
    command
        .arg(main)
        .arg("-c")
        .arg(&file)
        .env("ROCKETMQ_HOME", home)
        .current_dir(home);
    Process::start(
        &format!("Apache's {name}"),
        &mut command,
        &home.join(format!("{name}.out")),
        READY,
    )
}
