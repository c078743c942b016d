//! Removing what is old: the mechanics. [`crate::retention`] decides what.

use std::io;
use std::sync::atomic::Ordering;

use protocol::LogOffset;

use crate::Store;

#[cfg(test)]
mod tests;

/// Files that were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) log_files: usize,
    pub(crate) queue_files: usize,
    pub(crate) index_files: usize,
}

impl Store {
    /// Store time (ms) of the last record of the oldest log files, at most `count` and not the one
    /// being written, oldest first; `None` where it can't be read.
    pub(crate) fn log_file_ages(&self, count: usize) -> Vec<Option<i64>> {
        let newest = self.log.file_start(self.log.end());
        let files = self.log.segments();
        let following = files.iter().skip(1).filter(|file| file.start <= newest);
        // That of the next file's first record is near enough, and not too early.
        following
            .take(count)
            .map(|file| self.record_stored_ms(LogOffset(file.start)).ok().flatten())
            .collect()
    }

    /// Removes the oldest log files, but never the one being written, and what queues and index
    /// have on them.
    pub(crate) fn expire(&self, log_files: usize) -> io::Result<Expired> {
        let expired = self.try_expire(log_files);
        if expired.is_err() {
            self.queues.expire_failed.store(true, Ordering::Relaxed);
        }
        expired
    }

    fn try_expire(&self, log_files: usize) -> io::Result<Expired> {
        let files = self.log.segments();
        let newest = self.log.file_start(self.log.end());
        let place = files.get(log_files).map_or(newest, |file| file.start);
        let log_files = self.log.delete_before(LogOffset(place.min(newest)))?;
        let mut expired = Expired {
            log_files,
            ..Expired::default()
        };
        let log_min = self.log.min();
        let mut failed = Ok(());
        for queue in self.table.all() {
            // One that fails must not keep the others.
            match self.queues.expire(&queue, log_min) {
                Ok(files) => expired.queue_files += files,
                Err(error) => failed = Err(error),
            }
        }
        if let Some(indexing) = &self.index {
            expired.index_files = indexing.index.delete_before(LogOffset(log_min))?;
        }
        failed.map(|()| expired)
    }

    /// While set, appends are refused: the disk is fuller than allowed.
    pub(crate) fn refuse_appends(&self, full: bool) {
        self.disk_full.store(full, Ordering::Relaxed);
    }
}
