//! The servers that are measured, each in a fresh directory of its own.
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::machine::{resident_mib, uncache};
use super::report::Report;
use super::table::System;
use crate::apache::{self, BROKER_NAME};
use crate::java::Java;
use crate::process::Process;
use crate::shell::{cargo, run, target};
use crate::wire::wait_registered;
use crate::{floor, ports, skylark};

/// The heap that Apache is measured with.
const HEAP: [&str; 7] = [
    "-Xms4g",
    "-Xmx4g",
    "-XX:+UseG1GC",
    "-XX:G1HeapRegionSize=16m",
    "-XX:G1ReservePercent=25",
    "-XX:InitiatingHeapOccupancyPercent=30",
    "-XX:+AlwaysPreTouch",
];

/// What the servers are started from.
pub(super) struct Programs {
    pub(super) java: Java,
    pub(super) skylark: PathBuf,
    pub(super) xtask: PathBuf,
}

impl Programs {
    /// Builds them; Apache's only if it is one of the systems.
    pub(super) fn build(systems: &[System]) -> Result<Programs> {
        let java = Java::find()?;
        if systems.contains(&System::Apache) {
            java.build()?;
        }
        run(cargo().args(["build", "--release", "--package", "xtask"]))?;
        Ok(Programs {
            java,
            skylark: skylark::build()?,
            xtask: target().join("release/xtask"),
        })
    }

    /// Starts `skylark bench` with these arguments on a server. Its input ends when the load is dropped or asked for its report.
    pub(super) fn start_load(&self, server: &Server, arguments: &[&str]) -> Result<RunningLoad> {
        let mut command = Command::new(&self.skylark);
        command.arg("bench").args(arguments).args([
            "--json",
            "--broker",
            &server.address.to_string(),
        ]);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("can't run skylark bench")?;
        Ok(RunningLoad {
            child,
            what: arguments.join(" "),
        })
    }

    /// Clients that are there, for as long as the process lives, while something else is measured; they may take so long to
    /// gather. What it says goes to a file below `home`.
    pub(super) fn crowd(
        &self,
        server: &Server,
        home: &Path,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Process> {
        let mut command = Command::new(&self.skylark);
        command
            .args(["bench", "crowd"])
            .args(arguments)
            .args(["--broker", &server.address.to_string()]);
        let output = home.join("crowd.out");
        let mut crowd = Process::start("the crowd", &mut command, &output, "ready")?;
        crowd.wait_ready(limit)?;
        Ok(crowd)
    }

    /// Runs `skylark bench` and returns its report. That something was refused or lost is an error.
    pub(super) fn load(&self, server: &Server, arguments: &[&str]) -> Result<Report> {
        self.start_load(server, arguments)?.report(server)
    }

    /// The same for a caller who looks at what was refused or lost.
    pub(super) fn try_load(&self, server: &Server, arguments: &[&str]) -> Result<Report> {
        self.start_load(server, arguments)?.try_report(server)
    }
}

/// A load that goes on while something else is done.
pub(super) struct RunningLoad {
    child: Child,
    what: String,
}

impl RunningLoad {
    /// Whether it has ended by itself.
    pub(super) fn is_over(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Ends it, and forgets what it did.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end; returns its report. That something was refused or lost is an error.
    pub(super) fn report(self, server: &Server) -> Result<Report> {
        let what = self.what.clone();
        let report = self.try_report(server)?;
        match report.failure() {
            None => Ok(report),
            Some(failure) => bail!("`skylark bench {what}`: {failure}"),
        }
    }

    /// The same for a caller who looks at what was refused or lost.
    pub(super) fn try_report(self, server: &Server) -> Result<Report> {
        let output = self.child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "`skylark bench {}`: {}\n{}\n-- the server's last words\n{}",
                self.what,
                output.status,
                String::from_utf8_lossy(&output.stderr),
                server.tail()
            );
        }
        Ok(Report(serde_json::from_slice(&output.stdout)?))
    }
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// From the start of the broker to its word that it's ready.
    pub(super) ready_after: Duration,
    home: PathBuf,
    /// The broker last.
    processes: Vec<Process>,
}

impl Server {
    pub(super) fn start(
        programs: &Programs,
        system: System,
        home: &Path,
        sync_flush: bool,
    ) -> Result<Server> {
        Server::start_with(programs, system, home, sync_flush, "")
    }

    /// With these lines of configuration besides.
    pub(super) fn start_with(
        programs: &Programs,
        system: System,
        home: &Path,
        sync_flush: bool,
        more: &str,
    ) -> Result<Server> {
        fs::create_dir_all(home)?;
        let (namesrv_port, port) = (ports::free()?, ports::free()?);
        let config = config(home, namesrv_port, port, sync_flush) + more;
        let mut processes = Vec::new();
        let mut broker = match system {
            System::Apache => {
                let namesrv = format!(
                    "listenPort={namesrv_port}\nkvConfigPath={}/kvConfig.json\n",
                    home.display()
                );
                let mut namesrv = apache::spawn_namesrv(&programs.java, home, &namesrv, &[])?;
                namesrv.wait_ready(apache::READY_LIMIT)?;
                processes.push(namesrv);
                apache::spawn_broker(&programs.java, home, &config, &HEAP)?
            }
            System::Skylark => {
                let file = home.join("broker.conf");
                fs::write(&file, config)?;
                skylark::spawn(&programs.skylark, home, &file, namesrv_port)?
            }
            System::Floor | System::Disk => {
                let frames = home.join("frames");
                fs::create_dir(&frames)?;
                let mut command = Command::new(&programs.xtask);
                command
                    .args(["floor", "--port", &port.to_string(), "--dir"])
                    .arg(frames);
                Process::start(
                    "the floor",
                    &mut command,
                    &home.join("floor.out"),
                    floor::READY,
                )?
            }
        };
        let ready_after = broker.wait_ready(apache::READY_LIMIT)?;
        processes.push(broker);
        if system != System::Floor {
            let namesrv = SocketAddr::from((Ipv4Addr::LOCALHOST, namesrv_port));
            wait_registered(namesrv, BROKER_NAME, apache::READY_LIMIT)?;
        }
        Ok(Server {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            ready_after,
            home: home.to_owned(),
            processes,
        })
    }

    pub(super) fn resident_mib(&self) -> Result<f64> {
        self.processes
            .iter()
            .map(|process| resident_mib(process.id()))
            .sum()
    }

    /// kill -9, all of it.
    pub(super) fn kill(self) -> Result<()> {
        self.processes.into_iter().rev().try_for_each(Process::kill)
    }

    /// Ends it in order, the broker first.
    pub(super) fn stop(self) -> Result<()> {
        for process in self.processes.into_iter().rev() {
            process.stop(apache::STOP_LIMIT)?;
        }
        Ok(())
    }

    /// So that a load does not pay for those before it: for the writing of what they have left, nor for memory that the
    /// system has to find since they fill what was at hand.
    pub(super) fn forget_what_was_written(&self) -> Result<()> {
        uncache(&self.home)
    }

    /// The broker's process.
    pub(super) fn broker_id(&self) -> u32 {
        self.processes.last().map_or(0, Process::id)
    }

    pub(super) fn tail(&self) -> String {
        self.processes
            .iter()
            .map(|process| process.tail(30))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Both get the same. What isn't a default: addresses and paths; no refusal for 5 s of waiting, since 200 ms on two
/// cores refuses parts of a burst; and a disk may be nearly full.
fn config(home: &Path, namesrv_port: u16, port: u16, sync_flush: bool) -> String {
    let home = home.display();
    let flush = if sync_flush {
        "SYNC_FLUSH"
    } else {
        "ASYNC_FLUSH"
    };
    format!(
        "brokerClusterName=DefaultCluster\nbrokerName={BROKER_NAME}\nbrokerId=0\nbrokerRole=ASYNC_MASTER\n\
         flushDiskType={flush}\nnamesrvAddr=127.0.0.1:{namesrv_port}\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n\
         listenPort={port}\nstorePathRootDir={home}/store\nstorePathCommitLog={home}/store/commitlog\n\
         waitTimeMillsInSendQueue=5000\ndiskMaxUsedSpaceRatio=95\n"
    )
}
