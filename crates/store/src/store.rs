//! The store: one log, its queues, and what keeps them in step. No thread of its own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use protocol::LogOffset;

use crate::append::Writer;
use crate::busy::Since;
use crate::checkpoint::Checkpoint;
use crate::commit_log::CommitLog;
use crate::config::Config;
use crate::consume_queue::Queue;
use crate::consume_queue::ends::{self, Ends};
use crate::consume_queue::files::QueueFiles;
use crate::consume_queue::restore;
use crate::consume_queue::table::{QueueNameError, Table};
use crate::disk::{Disk, Lock};
use crate::flush::{Flushed, Hidden};
use crate::follow::Indexing;
use crate::index::{Index, LastExit};
use crate::recovery::{self, Ground, Recovery};
use crate::watermark::Watermark;
use crate::write_behind::Checkpoints;

#[cfg(test)]
mod tests;

/// An open store directory. Shared freely; see `docs/lock_order.md` for its locks.
#[derive(Debug)]
pub struct Store {
    pub(crate) config: Config,
    pub(crate) disk: Disk,
    pub(crate) log: CommitLog,
    pub(crate) writer: Mutex<Writer>,
    /// Somebody is in the log lock to append.
    pub(crate) appending_since: Since,
    pub(crate) durable: Watermark,
    /// Held during a flush: one at a time.
    pub(crate) flushing: Mutex<Flushed>,
    /// A sync of the log is under way.
    pub(crate) syncing_since: Since,
    pub(crate) hidden: Hidden,
    pub(crate) table: Table,
    pub(crate) queues: QueueFiles,
    /// Held during write-behind: one at a time.
    pub(crate) checkpoint: Mutex<Checkpoints>,
    pub(crate) index: Option<Indexing>,
    pub(crate) disk_full: AtomicBool,
    #[expect(dead_code, reason = "held for its Drop")]
    lock: Lock,
}

/// A part of the log that was stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRange {
    /// Where a record should start.
    pub from: LogOffset,
    /// Where the next good one does.
    pub to: LogOffset,
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, Skylark's or Apache's, has it open.
    #[error("the store is in use by another process: {0}")]
    Locked(io::Error),
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A size that no file can have.
    #[error("{name} is {value}, expected {expected}")]
    Size {
        /// Apache's key.
        name: &'static str,
        /// As configured.
        value: u64,
        /// What it must be.
        expected: &'static str,
    },
    /// The files were written with another size than configured.
    #[error("{path} has {found} bytes, but {name} is {expected}", path = path.display())]
    FileSize {
        /// The first such file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// As configured.
        expected: u64,
        /// Apache's key.
        name: &'static str,
    },
}

impl Store {
    /// Opens a store directory, makes it if it is not there, and recovers what a crash left.
    pub fn open(mut config: Config, disk: Disk) -> Result<(Store, Recovery), OpenError> {
        check_sizes(&config)?;
        disk.create_dir_all(&config.root)?;
        let lock = disk
            .lock(&config.root.join("lock"))
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => OpenError::Locked(error),
                _ => OpenError::Io(error),
            })?;
        disk.create_dir_all(&config.commit_log_dir)?;
        disk.create_dir_all(&config.queue_dir)?;
        for file in [&config.checkpoint_path, &config.abort_path] {
            file.parent()
                .map_or(Ok(()), |dir| disk.create_dir_all(dir))?;
        }
        let crashed = disk.exists(&config.abort_path);
        let checkpoint = Checkpoint::read(&disk, &config.checkpoint_path)?.unwrap_or_default();
        let ends = match crashed {
            true => None,
            false => Ends::noted(&config, &disk, &checkpoint),
        };
        // From here on files are changed, and only a clean exit takes this back.
        if !crashed {
            let pid = std::process::id().to_string();
            disk.replace(&config.abort_path, pid.as_bytes())?;
        }
        ends::remove(&config, &disk)?;
        sync_names(&config, &disk)?;
        config.queue_file_bytes = match &ends {
            Some(ends) => ends.queue_file_bytes,
            None => restore::file_bytes(&config, &disk, crashed)?,
        };
        let segments = recovery::segments(&config, &disk)?;
        let log = CommitLog::new(&config, disk.clone(), segments);
        let queues = QueueFiles::new(&config, disk.clone());
        let table = Table::default();
        let ground = Ground {
            config: &config,
            disk: &disk,
            log: &log,
            table: &table,
            queues: &queues,
            checkpoint: &checkpoint,
            ends: ends.as_ref(),
            crashed,
            lost_power: recovery::lost_power(&disk, &checkpoint),
        };
        let recovered = ground.recover()?;
        log.set_durable(recovered.durable);
        let index = match config.index_enabled {
            true => Some(open_index(
                &config,
                &disk,
                &checkpoint,
                crashed,
                recovered.end,
            )?),
            false => None,
        };
        let checkpoints = Checkpoints::new(checkpoint, &config, &disk, &recovered)?;
        let store = Store {
            index,
            disk_full: AtomicBool::new(false),
            log,
            writer: Mutex::new(Writer {
                end: recovered.end,
                last_ms: recovered.last_ms,
                scar_end: 0,
                sealed: false,
            }),
            appending_since: Since::default(),
            durable: Watermark::new(recovered.durable),
            flushing: Mutex::new(Flushed {
                last_ms: recovered.last_ms,
            }),
            syncing_since: Since::default(),
            hidden: Hidden::default(),
            table,
            queues,
            checkpoint: Mutex::new(checkpoints),
            lock,
            config,
            disk,
        };
        Ok((store, recovered.report))
    }

    /// What it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A queue that has had a message, or has been asked for by [`Store::queue_or_create`].
    pub fn queue(&self, topic: &str, id: i32) -> Option<Arc<Queue>> {
        self.table.find(topic, id)
    }

    /// A queue, empty if there was none. It gets files with its first message.
    pub fn queue_or_create(&self, topic: &str, id: i32) -> Result<Arc<Queue>, QueueNameError> {
        self.table.find_or_create(topic, id)
    }

    /// The queues of a topic, by id.
    pub fn queues(&self, topic: &str) -> Vec<Arc<Queue>> {
        self.table.of_topic(topic)
    }

    /// The topics that have a queue, sorted.
    pub fn topics(&self) -> Vec<String> {
        self.table.topics()
    }

    /// The oldest place in the log.
    pub fn log_min(&self) -> LogOffset {
        LogOffset(self.log.min())
    }

    /// After the newest record, durable or not.
    pub fn log_end(&self) -> LogOffset {
        LogOffset(self.log.end())
    }

    /// Up to where the log is durable. [`Watermark::reached`] with [`crate::Appended::end`]
    /// waits for an append to be so.
    pub fn durable(&self) -> &Watermark {
        &self.durable
    }

    /// Up to where consumers may see the log.
    pub(crate) fn visible_end(&self) -> i64 {
        if self.config.sync_flush {
            self.durable.at()
        } else {
            self.log.end()
        }
    }
}

/// Whoever made a file or directory may have died before its name was durable.
fn sync_names(config: &Config, disk: &Disk) -> io::Result<()> {
    let mut dirs = vec![&*config.root, &config.commit_log_dir, &config.queue_dir];
    dirs.extend(config.checkpoint_path.parent());
    dirs.extend(config.abort_path.parent());
    dirs.sort_unstable();
    dirs.dedup();
    dirs.retain(|dir| !dir.as_os_str().is_empty());
    dirs.into_iter().try_for_each(|dir| disk.sync_dir(dir))
}

fn open_index(
    config: &Config,
    disk: &Disk,
    checkpoint: &Checkpoint,
    crashed: bool,
    log_end: i64,
) -> io::Result<Indexing> {
    let last_exit = match crashed {
        true => LastExit::Crash {
            index_ms: checkpoint.index_ms,
        },
        false => LastExit::Clean,
    };
    let index = Index::open(
        disk,
        config.index_dir.clone(),
        config.index_slots,
        config.index_entries_max,
        LogOffset(log_end),
        last_exit,
    )?;
    Ok(Indexing::new(index))
}

fn check_sizes(config: &Config) -> Result<(), OpenError> {
    let log = config.log_file_bytes;
    if !(1024..=i32::MAX as u64).contains(&log) {
        return Err(OpenError::Size {
            name: "mappedFileSizeCommitLog",
            value: log,
            expected: "1024 to 2147483647",
        });
    }
    let queue = config.queue_file_bytes;
    if !(20..=i32::MAX as u64).contains(&queue) || !queue.is_multiple_of(20) {
        return Err(OpenError::Size {
            name: "mappedFileSizeConsumeQueue",
            value: queue,
            expected: "a multiple of 20 up to 2147483647",
        });
    }
    Ok(())
}
