//! What makes the timer's files survive a power cut, in an order that leaves no slot pointing to a unit that may be lost, and
//! no unit or mark behind a record that may be.

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;

use protocol::LogOffset;

use super::Timer;
use super::checkpoint::{Extra, Mark, TimerCheckpoint};
use super::log::Block;
use super::unit::{MAGIC_DONE, Unit};
use crate::Store;
use crate::disk::File;
use crate::limits;

/// Why a flush failed.
#[derive(Debug, thiserror::Error)]
pub enum TimerFlushError {
    /// It can be tried again.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// What was to become durable may be lost.
    #[error("sync to disk failed: {0}")]
    Sync(io::Error),
}

/// A flush under way: [`Timer::start_flush`], the commit log durable up to [`Flush::log_end`], [`Flush::run`] where blocking
/// does no harm, [`Timer::flushed`], and [`Flush::finish`] there again.
#[derive(Debug)]
pub struct Flush {
    /// The commit log must be durable up to here first.
    pub log_end: LogOffset,
    log_flushed: i64,
    queue_offset: i64,
    mark: Mark,
    log_files: Vec<Arc<File>>,
    slots: Vec<(u64, Vec<u8>)>,
    wheel: Arc<File>,
    checkpoint: Arc<File>,
}

impl Flush {
    /// Writes and syncs what was there when it was started.
    pub fn run(&self) -> Result<(), TimerFlushError> {
        for file in &self.log_files {
            file.sync_data().map_err(TimerFlushError::Sync)?;
        }
        for (at, bytes) in &self.slots {
            self.wheel.write_all_at(bytes, *at)?;
        }
        // Also for what a run wrote that died before it got here.
        self.wheel.sync_data().map_err(TimerFlushError::Sync)
    }

    /// Makes the checkpoint durable.
    pub fn finish(&self) -> Result<(), TimerFlushError> {
        self.checkpoint.sync_data().map_err(TimerFlushError::Sync)
    }
}

impl Timer {
    /// Whether there is something to flush.
    pub fn has_changed(&self) -> bool {
        self.moved || self.wheel.is_dirty() || self.durable != self.mark
    }

    /// What has changed since the last flush; `None` if nothing has.
    pub fn start_flush(&mut self, store: &Store, now_ms: i64) -> io::Result<Option<Flush>> {
        if self.sync_failed || !self.has_changed() {
            return Ok(None);
        }
        self.pass_time(now_ms);
        let (wheel, checkpoint) = (self.wheel.file()?, self.checkpoint_file()?);
        let log_files = self.log.take_unsynced()?;
        self.moved = false;
        Ok(Some(Flush {
            log_end: store.log_end(),
            log_flushed: self.log.end(),
            queue_offset: self.queue_offset,
            mark: self.mark,
            log_files,
            slots: self.wheel.take_dirty(),
            wheel,
            checkpoint,
        }))
    }

    /// The mark moves on over time in which nothing was due.
    fn pass_time(&mut self, now_ms: i64) {
        let slot_ms = self.slot_of(now_ms);
        let next = self.ready.peek();
        let pending = next.is_some_and(|Reverse(due)| due.due_ms <= slot_ms);
        if !pending && Mark::all_by(slot_ms) > self.mark && slot_ms <= self.horizon_ms {
            self.mark = Mark::all_by(slot_ms);
        }
    }

    /// The flush's first part has been done.
    pub fn flushed(&mut self, flush: &Flush, now_ms: i64) -> io::Result<()> {
        self.durable = self.durable.max(flush.mark);
        self.checkpoint.log_flushed = flush.log_flushed;
        self.checkpoint.queue_offset = flush.queue_offset;
        self.checkpoint.master_queue_offset = flush.queue_offset;
        let [_, timestamp, counter] = &mut self.checkpoint.version;
        (*timestamp, *counter) = (now_ms, *counter + 1);
        self.write_checkpoint()
    }

    /// It has not: everything has to be written again, or nothing can be trusted to be there after a power cut.
    pub fn flush_failed(&mut self, error: &TimerFlushError) {
        self.sync_failed |= matches!(error, TimerFlushError::Sync(_));
        self.wheel.all_dirty();
        self.moved = true;
    }

    pub(super) fn checkpoint_file(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.checkpoint_file {
            return Ok(file.clone());
        }
        let file = TimerCheckpoint::create(&self.disk, &self.config.checkpoint_path)?;
        self.checkpoint_file = Some(file.clone());
        Ok(file)
    }

    /// Without sync: survives the death of the process.
    pub(super) fn write_checkpoint(&mut self) -> io::Result<()> {
        // What Java reads may not depend on records that may be lost.
        let fresh = std::mem::replace(&mut self.mark, self.durable);
        self.checkpoint.read_ms = self.read_ms();
        self.mark = fresh;
        self.checkpoint.extra = Some(Extra {
            durable: self.durable,
            fresh,
            fresh_log_end: self.mark_log_end,
            precision_ms: self.precision_ms(),
        });
        let bytes = self.checkpoint.encode();
        self.checkpoint_file()?.write_all_at(&bytes, 0)
    }

    /// All of a flush at once, the commit log's included. Blocks.
    fn flush_now(&mut self, store: &Store, now_ms: i64) -> io::Result<()> {
        store.flush().map_err(io::Error::other)?;
        let Some(flush) = self.start_flush(store, now_ms)? else {
            return Ok(());
        };
        if let Err(error) = flush.run() {
            self.flush_failed(&error);
            return Err(io::Error::other(error));
        }
        self.flushed(&flush, now_ms)?;
        flush.finish().map_err(io::Error::other)
    }

    /// The clock shows an earlier time than that of messages delivered already: what is due again from here on is new, and
    /// what has been delivered must not be there any more when its time comes a second time. Blocks.
    pub fn rewind(&mut self, store: &Store, now_ms: i64) -> io::Result<()> {
        self.flush_now(store, now_ms)?;
        self.mark_delivered()?;
        let (from_ms, read_ms) = (self.slot_of(now_ms), self.read_ms());
        self.wheel.slots.retain(|slot_ms, _| *slot_ms >= read_ms);
        let to_ms = read_ms + self.precision_ms();
        let unused = self.wheel.unused(from_ms, to_ms);
        let wheel = self.wheel.file()?;
        let zeros = vec![0; limits::TIMER_BLOCK_BYTES];
        for (at, len) in unused {
            wheel.write_all_at(&zeros[..len], at)?;
        }
        wheel.sync_data()?;
        for file in self.log.take_unsynced()? {
            file.sync_data()?;
        }
        self.mark = Mark::all_by(from_ms);
        self.durable = self.mark;
        self.horizon_ms = from_ms;
        self.loading = None;
        self.ready.clear();
        self.deletes.clear();
        self.write_checkpoint()?;
        self.checkpoint_file()?.sync_data()
    }

    /// Marks what has been delivered of the slot that is under way: Java knows no part of a slot.
    fn mark_delivered(&mut self) -> io::Result<()> {
        let slot_ms = self.read_ms();
        let mut block = Block::default();
        let mut at = self.wheel.slots.get(&slot_ms).map_or(-1, |slot| slot.last);
        let slot_end_ms = slot_ms + self.precision_ms();
        while self.log.has(at) {
            let Some(unit) = self.log.unit(at, &mut block)? else {
                break;
            };
            let mark = Mark {
                due_ms: unit.due_ms.unwrap_or(slot_end_ms),
                position: at,
            };
            if mark <= self.mark && !unit.is_delete() {
                let magic = MAGIC_DONE;
                self.log.write(at, &Unit { magic, ..unit }.encode())?;
            }
            if unit.prev >= at {
                break;
            }
            at = unit.prev;
        }
        Ok(())
    }

    /// Leaves files that Java and the next run go on with. Blocks.
    pub fn close(mut self, store: &Store, now_ms: i64) -> io::Result<()> {
        if self.log.is_empty() && !self.has_changed() {
            return Ok(());
        }
        self.pass_time(now_ms);
        self.flush_now(store, now_ms)?;
        self.mark_delivered()?;
        self.moved = true;
        self.flush_now(store, now_ms)
    }
}
