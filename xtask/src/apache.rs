//! Apache's nameserver and broker 5.3.3, run from the jars that Maven fetched for compat/.
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::java::{Java, compat};
use crate::ports;
use crate::process::Process;
use crate::wire::wait_registered;

/// What both print on standard output when they serve.
const READY: &str = "boot success";
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(120);

/// What compat/apache/broker.conf.template calls it.
pub(crate) const BROKER_NAME: &str = "broker-a";

/// A heap for tests; what it measures means nothing.
pub(crate) const SMALL_HEAP: &[&str] = &["-Xms512m", "-Xmx1g", "-XX:+UseG1GC"];

pub(crate) struct Apache {
    pub(crate) namesrv: Process,
    pub(crate) broker: Process,
    pub(crate) namesrv_port: u16,
    pub(crate) broker_port: u16,
}

impl Apache {
    /// Starts both below `home` on free ports, as compat/apache/*.template has it, and waits until the broker is registered.
    pub(crate) fn start(java: &Java, home: &Path) -> Result<Apache> {
        let (namesrv_port, broker_port) = (ports::free()?, ports::free()?);
        let namesrv_config = config("namesrv", home, namesrv_port, broker_port)?;
        let namesrv = start_namesrv(java, home, &namesrv_config, &[])?;
        let broker_config = config("broker", home, namesrv_port, broker_port)?;
        let broker = start_broker(java, home, &broker_config, SMALL_HEAP)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, namesrv_port));
        wait_registered(address, BROKER_NAME, READY_LIMIT)?;
        Ok(Apache {
            namesrv,
            broker,
            namesrv_port,
            broker_port,
        })
    }

    /// Its last words, for a test that failed.
    pub(crate) fn tail(&self) -> String {
        format!(
            "-- nameserver\n{}\n-- broker\n{}",
            self.namesrv.tail(20),
            self.broker.tail(60)
        )
    }
}

/// What compat/apache has for this server.
pub(crate) fn config(
    name: &str,
    home: &Path,
    namesrv_port: u16,
    broker_port: u16,
) -> Result<String> {
    let path = compat().join(format!("apache/{name}.conf.template"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text
        .replace("@NAMESRV_PORT@", &namesrv_port.to_string())
        .replace("@BROKER_PORT@", &broker_port.to_string())
        .replace("@HOME@", &home.to_string_lossy()))
}

/// `options` are the JVM's.
pub(crate) fn start_namesrv(
    java: &Java,
    home: &Path,
    config: &str,
    options: &[&str],
) -> Result<Process> {
    let options = [&["-Xms128m", "-Xmx256m"], options].concat();
    let mut process = spawn(
        java,
        home,
        "namesrv",
        "org.apache.rocketmq.namesrv.NamesrvStartup",
        config,
        &options,
    )?;
    process.wait_ready(READY_LIMIT)?;
    Ok(process)
}

pub(crate) fn start_broker(
    java: &Java,
    home: &Path,
    config: &str,
    options: &[&str],
) -> Result<Process> {
    let mut process = spawn_broker(java, home, config, options)?;
    process.wait_ready(READY_LIMIT)?;
    Ok(process)
}

/// The same without waiting for it.
pub(crate) fn spawn_broker(
    java: &Java,
    home: &Path,
    config: &str,
    heap: &[&str],
) -> Result<Process> {
    spawn(
        java,
        home,
        "broker",
        "org.apache.rocketmq.broker.BrokerStartup",
        config,
        heap,
    )
}

fn spawn(
    java: &Java,
    home: &Path,
    name: &str,
    main: &str,
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
    let output = home.join(format!("{name}.out"));
    Process::start(&format!("Apache's {name}"), &mut command, &output, READY)
}
