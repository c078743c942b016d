//! `skylark store`: what is in a store directory, Apache's or ours.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use store::Disk;

mod files;
mod log;
mod queue;
mod queues;
mod records;
#[cfg(test)]
mod testing;
mod time;
mod verify;

/// Arguments of `skylark store`.
#[derive(Args)]
pub(crate) struct Inspect {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List the files and what they hold
    Files(Dir),
    /// List the records of the commit log
    Records(records::Records),
    /// List the consume queues
    Queues(Dir),
    /// Check records, queues and index against each other; ends with status 1 if something is wrong
    Verify(Dir),
}

#[derive(Args)]
struct Dir {
    /// The store directory (storePathRootDir)
    dir: PathBuf,
}

impl Inspect {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let out = std::io::BufWriter::new(std::io::stdout().lock());
        match self.what {
            What::Files(Dir { dir }) => files::list(&Layout::find_idle_or_warn(dir)?, out)?,
            What::Queues(Dir { dir }) => queues::list(&Layout::find_idle_or_warn(dir)?, out)?,
            What::Records(records) => records.list(out)?,
            What::Verify(Dir { dir }) => return verify::verify(&Layout::find(dir)?, out),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A store directory: the paths of its parts.
struct Layout {
    disk: Disk,
    paths: store::Config,
}

impl Layout {
    fn find(dir: PathBuf) -> anyhow::Result<Layout> {
        let layout = Layout {
            disk: Disk::Os,
            paths: store::Config::new(&dir),
        };
        if !layout.disk.exists(&layout.paths.commit_log_dir) {
            bail!(
                "{} is no store directory: it has no commitlog",
                dir.display()
            );
        }
        Ok(layout)
    }

    /// Finds the layout, and says so if a broker is at work there: what is read then may be half written.
    fn find_idle_or_warn(dir: PathBuf) -> anyhow::Result<Layout> {
        let layout = Layout::find(dir)?;
        if layout.is_in_use()? {
            eprintln!(
                "a broker is running on this directory: its latest messages may be missing here"
            );
        }
        Ok(layout)
    }

    /// Whether a broker holds the directory's lock. Asking changes nothing.
    fn is_in_use(&self) -> anyhow::Result<bool> {
        let path = self.paths.root.join("lock");
        if !self.disk.exists(&path) {
            return Ok(false);
        }
        match self.disk.lock(&path) {
            Ok(_released_at_once) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error).context("can't tell whether a broker is running"),
        }
    }
}
