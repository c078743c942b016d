//! Write-behind: queue entries to their files, the checkpoint, the next log file, the clean exit.

use std::io;

use protocol::LogOffset;

use crate::Store;
use crate::checkpoint::{Checkpoint, Extra};
use crate::config::Config;
use crate::disk::{Disk, Space};
use crate::limits;
use crate::recovery::Recovered;

#[cfg(test)]
mod tests;

/// The checkpoint file, and when it was last made durable.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    content: Checkpoint,
    /// `None`: it is due.
    synced_ms: Option<i64>,
    /// The end of the log at the last turn, and when that was.
    log_end: i64,
    log_end_ms: i64,
    /// When queue entries were last written.
    written_ms: i64,
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
    /// A sync of the consume queues has failed before.
    #[error(
        "not all consume queue entries are durable, they are brought from the log by the next start"
    )]
    Queues,
}

impl Checkpoints {
    /// Notes what recovery vouches for, and that from now on another boot and mode count: a power
    /// cut before the first write-behind is judged by this.
    pub(crate) fn new(
        mut content: Checkpoint,
        config: &Config,
        disk: &Disk,
        recovered: &Recovered,
    ) -> io::Result<Self> {
        content.extra = Some(Extra {
            boot: disk.boot_id(),
            sync_flush: config.sync_flush,
            log_durable: LogOffset(recovered.durable),
            queues_durable: LogOffset(recovered.queues_durable),
            queues_written: LogOffset(recovered.queues_written),
            closed: None,
        });
        content.write(disk, &config.checkpoint_path, true)?;
        Ok(Checkpoints {
            content,
            synced_ms: None,
            log_end: recovered.end,
            log_end_ms: 0,
            written_ms: 0,
        })
    }
}

impl Store {
    /// Writes what appends have left in memory, and notes in the checkpoint what the next start
    /// need not read. Makes log files ahead of their need. To be called about every second.
    pub fn flush_queues(&self, now_ms: i64) -> io::Result<()> {
        let written_behind = self.write_behind(now_ms);
        // Last: a full disk must not keep the checkpoint back.
        written_behind.and(self.prepare_log_files(now_ms))
    }

    fn write_behind(&self, now_ms: i64) -> io::Result<()> {
        let mut checkpoints = self.checkpoint.lock();
        let (durable, physic_ms) = {
            let flushed = self.flushing.lock();
            (self.durable.at(), flushed.last_ms)
        };
        // Under the log lock no record is without its entries.
        let written = self.writer.lock().end;
        let Some(seen) = checkpoints.content.extra.clone() else {
            return self.queues.write_all_out();
        };
        if checkpoints.synced_ms.is_some()
            && now_ms.abs_diff(checkpoints.written_ms) < limits::CHECKPOINT_MS
            && written - seen.queues_written.0 < limits::QUEUES_BEHIND_BYTES_MAX
            && self.queues.may_wait()
        {
            if seen.log_durable.0 == durable {
                return Ok(());
            }
            // That does not wait: the next start takes what is bad behind it for lost in a power cut.
            checkpoints.content.extra = Some(Extra {
                log_durable: LogOffset(durable),
                ..seen
            });
            let path = &self.config.checkpoint_path;
            return checkpoints.content.write(&self.disk, path, false);
        }
        self.queues.write_all_out()?;
        checkpoints.written_ms = now_ms;
        let extra = Extra {
            log_durable: LogOffset(durable),
            queues_written: LogOffset(written),
            ..seen.clone()
        };
        if extra == seen && seen.queues_durable.0 == durable && !self.queues.is_unsynced() {
            return Ok(());
        }
        let is_due = checkpoints
            .synced_ms
            .is_none_or(|synced_ms| now_ms.abs_diff(synced_ms) >= limits::CHECKPOINT_MS)
            || durable - seen.queues_durable.0 >= limits::CHECKPOINT_BYTES;
        let content = &mut checkpoints.content;
        content.extra = Some(extra);
        let mut synced = Ok(());
        if is_due {
            synced = self.sync_queues(content, durable, physic_ms);
            synced = synced.and(self.sync_index(content));
            checkpoints.synced_ms = Some(now_ms);
        }
        if let Some(extra) = &mut checkpoints.content.extra
            && self.queues.sync_failed()
        {
            // What the system still shows of the files may not be on disk.
            extra.queues_written = extra.queues_durable;
        }
        let path = &self.config.checkpoint_path;
        checkpoints.content.write(&self.disk, path, is_due)?;
        synced
    }

    fn sync_queues(&self, content: &mut Checkpoint, durable: i64, ms: i64) -> io::Result<()> {
        if self.queues.sync()? {
            content.physic_ms = ms;
            content.logics_ms = ms;
            if let Some(extra) = &mut content.extra {
                extra.queues_durable = LogOffset(durable);
            }
        }
        Ok(())
    }

    fn sync_index(&self, content: &mut Checkpoint) -> io::Result<()> {
        if let Some(indexing) = &self.index {
            indexing.index.flush()?;
            content.index_ms = indexing.index.sealed_timestamp();
        }
        Ok(())
    }

    /// Makes the files that appends need in the next seconds at the rate of the last turn: an append that has to make a file
    /// keeps all others waiting.
    fn prepare_log_files(&self, now_ms: i64) -> io::Result<()> {
        let end = self.log.end();
        let (grown, passed_ms) = {
            let mut last = self.checkpoint.lock();
            let grown = end - std::mem::replace(&mut last.log_end, end);
            let last_ms = std::mem::replace(&mut last.log_end_ms, now_ms);
            (grown, now_ms.abs_diff(last_ms) as i64)
        };
        if end == 0 {
            return Ok(());
        }
        // Turns are a second apart or more, whatever a clock that was set meanwhile says.
        let ahead = grown.saturating_mul(limits::LOG_AHEAD_MS) / passed_ms.max(1_000);
        let file_bytes = self.log.file_bytes();
        let room = ahead.clamp(file_bytes / 4, limits::LOG_FILES_AHEAD_MAX * file_bytes);
        let next = self.log.file_start(end) + file_bytes;
        let mut start = next;
        while start < end + room && (start == next || self.may_make_ahead(start)) {
            self.log.segment_or_create(start)?;
            start += file_bytes;
        }
        Ok(())
    }

    /// Whether a file that is not the next one leaves the disk as empty as retention wants it: no message may go for a file
    /// that nobody has used.
    fn may_make_ahead(&self, start: i64) -> bool {
        let file_bytes = self.log.file_bytes() as u64;
        let used = |space: Space| {
            let with_it = Space {
                free: space.free.saturating_sub(file_bytes),
                usable: space.usable.saturating_sub(file_bytes),
                ..space
            };
            with_it.used_percent()
        };
        let space = self.disk.space(&self.config.commit_log_dir).ok();
        self.log.segment(start).is_some()
            || (space.and_then(used)).is_some_and(|used| used <= self.config.retention.least())
    }

    /// Removes the files made ahead but the next one. Gives how many.
    pub(crate) fn remove_made_ahead(&self) -> io::Result<usize> {
        let writer = self.writer.lock();
        // What a failed write has left is wiped there.
        let reached = writer.end.max(writer.scar_end);
        let from = self.log.file_start(reached) + 2 * self.log.file_bytes();
        self.log.remove_unused(from, writer)
    }

    /// Makes everything durable and leaves the directory as Apache's clean exit does. To be
    /// called once nothing else uses the store.
    pub fn close(&self) -> Result<(), CloseError> {
        self.wipe_scar(&mut self.writer.lock())?;
        let end = self.flush()?;
        self.checkpoint.lock().synced_ms = None;
        self.write_behind(0)?;
        let extra = self.checkpoint.lock().content.extra.clone();
        if extra.is_none_or(|extra| extra.queues_durable != end) {
            return Err(CloseError::Queues);
        }
        if let Some(indexing) = &self.index {
            indexing.index.close()?;
        }
        self.log.remove_unused(end.0, self.writer.lock())?;
        let mut checkpoints = self.checkpoint.lock();
        if let Some(extra) = &mut checkpoints.content.extra {
            extra.closed = Some(self.table.totals());
        }
        let path = &self.config.checkpoint_path;
        checkpoints.content.write(&self.disk, path, true)?;
        let last_ms = self.writer.lock().last_ms;
        if let Err(error) = self.note_ends(&checkpoints.content, last_ms) {
            tracing::info!(%error, "where queues end is not noted, the next start reads their files");
        }
        self.disk.remove_file(&self.config.abort_path)?;
        if let Some(dir) = self.config.abort_path.parent() {
            self.disk.sync_dir(dir)?;
        }
        Ok(())
    }
}
