//! Write-behind: queue entries to their files, the checkpoint, the next log file, the clean exit.

use std::io;

use protocol::LogOffset;

use crate::Store;
use crate::checkpoint::{Checkpoint, Extra};
use crate::limits;

/// The checkpoint file, and when it was last made durable.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    content: Checkpoint,
    /// `None`: it is due.
    synced_ms: Option<i64>,
}

/// Why a store did not close in order. The next start recovers it as after a crash.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The log could not be made durable.
    #[error(transparent)]
    Flush(#[from] crate::FlushError),
    /// Something else could not.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Checkpoints {
    pub(crate) fn new(content: Checkpoint) -> Self {
        Checkpoints {
            content,
            synced_ms: None,
        }
    }
}

impl Store {
    /// Writes what appends have left in memory, and notes in the checkpoint what the next start
    /// need not read. Makes the next log file ahead of its need. To be called about every second.
    pub fn flush_queues(&self, now_ms: i64) -> io::Result<()> {
        let mut checkpoints = self.checkpoint.lock();
        let (durable, physic_ms) = {
            let flushed = self.flushing.lock();
            (self.durable.at(), flushed.last_ms)
        };
        // Under the log lock no record is without its entries.
        let written = self.writer.lock().end;
        self.queues.write_all_out()?;
        self.prepare_log_file(written)?;
        let extra = checkpoints.content.extra.as_ref();
        let seen = extra.map(|extra| (extra.queues_written.0, extra.log_durable.0));
        if seen == Some((written, durable))
            && extra.is_some_and(|extra| extra.queues_durable.0 == durable)
        {
            return Ok(());
        }
        let synced = extra.map_or(0, |extra| extra.queues_durable.0);
        let is_due = checkpoints
            .synced_ms
            .is_none_or(|synced_ms| now_ms.abs_diff(synced_ms) >= limits::CHECKPOINT_MS)
            || durable - synced >= limits::CHECKPOINT_BYTES;
        let mut extra = Extra {
            boot: self.disk.boot_id(),
            sync_flush: self.config.sync_flush,
            log_durable: LogOffset(durable),
            queues_durable: LogOffset(synced),
            queues_written: LogOffset(written),
        };
        if is_due {
            self.queues.sync()?;
            extra.queues_durable = LogOffset(durable);
            if let Some(indexing) = &self.index {
                indexing.index.flush()?;
                checkpoints.content.index_ms = indexing.index.sealed_timestamp();
            }
            checkpoints.content.physic_ms = physic_ms;
            checkpoints.content.logics_ms = physic_ms;
            checkpoints.synced_ms = Some(now_ms);
        }
        checkpoints.content.extra = Some(extra);
        let path = &self.config.checkpoint_path;
        checkpoints.content.write(&self.disk, path, is_due)
    }

    fn prepare_log_file(&self, end: i64) -> io::Result<()> {
        let room = self.log.file_start(end) + self.log.file_bytes() - end;
        if end > 0 && room < self.log.file_bytes() / 4 {
            self.log.segment_or_create(end + room)?;
        }
        Ok(())
    }

    /// Makes everything durable and leaves the directory as Apache's clean exit does. To be
    /// called once nothing else uses the store.
    pub fn close(&self) -> Result<(), CloseError> {
        let end = self.flush()?;
        self.checkpoint.lock().synced_ms = None;
        self.flush_queues(0)?;
        if let Some(indexing) = &self.index {
            indexing.index.close()?;
        }
        self.log.remove_unused(end)?;
        self.disk.remove_file(&self.config.abort_path)?;
        if let Some(dir) = self.config.abort_path.parent() {
            self.disk.sync_dir(dir)?;
        }
        Ok(())
    }
}
