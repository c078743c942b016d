//! `skylark store`: what is in a store directory, Apache's or ours.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use store::Disk;

use crate::config::{self, Program};

mod dump;
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
    /// Print all messages as JSON lines; opens the store as a broker does, and so recovers it if need be
    Dump(Dir),
}

#[derive(Args)]
struct Dir {
    /// The store directory (storePathRootDir)
    dir: PathBuf,
    /// The broker's properties file, if it has other paths or file sizes than the usual ones
    #[arg(short, long = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Inspect {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let out = std::io::BufWriter::new(std::io::stdout().lock());
        match self.what {
            What::Files(dir) => files::list(&dir.find_or_warn()?, out)?,
            What::Queues(dir) => queues::list(&dir.find_or_warn()?, out)?,
            What::Records(records) => records.list(out)?,
            What::Dump(dir) => dump::dump(&dir.find()?, out)?,
            What::Verify(dir) => return verify::verify(&dir.find()?, out),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Dir {
    fn find(&self) -> anyhow::Result<Layout> {
        let mut options = broker::Options::default();
        if let Some(file) = &self.config {
            config::load(file, Program::Store, &mut options)?;
        }
        options.store_root = Some(self.dir.display().to_string());
        let paths = options.config(&self.dir)?.store;
        let layout = Layout {
            disk: Disk::Os,
            paths,
        };
        if !layout.disk.exists(&layout.paths.commit_log_dir) {
            bail!(
                "{} is no store directory: it has no commitlog",
                self.dir.display()
            );
        }
        Ok(layout)
    }

    /// Finds it, and says so if a broker is at work there: what is read then may be half written.
    fn find_or_warn(&self) -> anyhow::Result<Layout> {
        let layout = self.find()?;
        if layout.is_in_use()? {
            eprintln!(
                "a broker is running on this directory: its latest messages may be missing here"
            );
        }
        Ok(layout)
    }
}

/// A store directory: the paths of its parts, and the sizes of its files.
struct Layout {
    disk: Disk,
    paths: store::Config,
}

impl Layout {
    /// Whether a broker holds the directory's lock. Asking changes nothing.
    fn is_in_use(&self) -> anyhow::Result<bool> {
        let locked = self.disk.is_locked(&self.paths.root.join("lock"));
        locked.context("can't tell whether a broker is running")
    }
}
