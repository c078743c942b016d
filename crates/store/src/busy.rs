//! Whether the disk keeps up: when it does not, an append is refused rather than left to wait for longer than its sender does.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::MutexGuard;

use crate::Store;
use crate::append::{AppendError, Writer};
use crate::limits;

#[cfg(test)]
mod tests;

/// Since when something is under way; 0 if nothing is, [`UNSEEN`] until somebody with a clock comes by.
#[derive(Debug, Default)]
pub(crate) struct Since(AtomicI64);

const UNSEEN: i64 = i64::MIN;

/// It is under way until this is dropped.
pub(crate) struct UnderWay<'a>(&'a Since);

impl Since {
    /// At a time that is not known: an append's own was read before it waited for its turn. It counts from when another
    /// append first sees it.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.0.store(UNSEEN, Ordering::Relaxed);
        UnderWay(self)
    }

    /// For how long already, if that is too long.
    fn too_long(&self, now_ms: i64) -> Option<i64> {
        let since_ms = self.0.load(Ordering::Relaxed);
        if since_ms == UNSEEN {
            // Fails if it has ended.
            let _ = self
                .0
                .compare_exchange(UNSEEN, now_ms, Ordering::Relaxed, Ordering::Relaxed);
            return None;
        }
        let for_ms = now_ms.saturating_sub(since_ms);
        (since_ms != 0 && for_ms >= limits::BUSY_MS).then_some(for_ms)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Relaxed);
    }
}

impl Store {
    /// The log lock, for an append: unless the disk has kept somebody else in it for too long or, with sync flush, the
    /// messages that wait for the sync under way. How long it waits itself is real time, whatever `now_ms` says.
    pub(crate) fn lock_log(&self, now_ms: i64) -> Result<MutexGuard<'_, Writer>, AppendError> {
        let busy = |what, for_ms| {
            let waiting = self.log.end() - self.durable.at();
            AppendError::Busy {
                what,
                for_ms,
                waiting,
            }
        };
        if let Some(for_ms) = self.appending_since.too_long(now_ms) {
            return Err(busy("a write", for_ms));
        }
        if self.config.sync_flush
            && let Some(for_ms) = self.syncing_since.too_long(now_ms)
        {
            return Err(busy("a sync", for_ms));
        }
        let patience = Duration::from_millis(limits::BUSY_MS.unsigned_abs());
        let writer = self.writer.try_lock_for(patience);
        writer.ok_or_else(|| busy("the writes before it", limits::BUSY_MS))
    }
}
