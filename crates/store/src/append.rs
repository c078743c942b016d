//! Appending: offsets are assigned, records stamped and written, and consumers woken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::record::stamp;
use protocol::{LogOffset, QueueOffset};

use crate::Store;
use crate::batch::Batch;
use crate::commit_log::{BLANK_BYTES, Segment};
use crate::consume_queue::QueueEntry;
use crate::limits;

#[cfg(test)]
mod tests;

/// What the log lock guards.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Where the next record goes.
    pub(crate) end: i64,
    /// Store time of the last record: the next one's is not smaller.
    pub(crate) last_ms: i64,
    /// A failed write may have left bytes up to here. They are wiped before the next one, or
    /// after a crash they could come back as messages.
    pub(crate) scar_end: i64,
    /// A sync failed: nothing is ever appended again.
    pub(crate) sealed: bool,
}

/// What was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of each record in order: where it is in the log and in its queue (0 for half messages and
    /// roll-backs, which are in no queue).
    pub entries: Vec<(LogOffset, QueueOffset)>,
    /// After the last record: durable once [`Store::durable`] has reached this.
    pub end: LogOffset,
    /// Store time of all of them, ms since the epoch.
    pub store_timestamp: i64,
}

/// Why nothing was appended. No offset was used up; the batch is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No space for a new file, or for the consume queues that have to be written first.
    #[error("disk full: {0}")]
    DiskFull(io::Error),
    /// The write failed.
    #[error("{0}")]
    Io(io::Error),
    /// The disk does not keep up. It may a moment later.
    #[error(
        "the disk has not finished {what} for {for_ms} ms, limit {limit} ms; {waiting} bytes of messages wait for it",
        limit = limits::BUSY_MS
    )]
    Busy {
        /// "a write", "a sync", or "the writes before it" if they were several or one.
        what: &'static str,
        /// Since it began, or was first seen.
        for_ms: i64,
        /// Bytes of the log that are not durable.
        waiting: i64,
    },
    /// A record does not fit a file of the log, or the batch is too large.
    #[error("{bytes} bytes to append, limit {limit}")]
    TooLarge {
        /// Size of the record or the batch.
        bytes: usize,
        /// The most there can be.
        limit: usize,
    },
    /// See [`crate::Sealed`].
    #[error(transparent)]
    Sealed(#[from] crate::Sealed),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                AppendError::DiskFull(error)
            }
            _ => AppendError::Io(error),
        }
    }
}

/// Records of a batch that go into one file.
#[derive(Debug)]
struct Part {
    segment: Arc<Segment>,
    at: i64,
    bytes: usize,
    /// The file ends after it.
    last: bool,
}

impl Store {
    /// Appends a batch with one write (two where a file ends) and empties it. With async flush
    /// its messages are visible to consumers when this returns. On an error nothing has changed.
    /// `now_ms` is by the same clock for all callers.
    pub fn append(&self, batch: &mut Batch, now_ms: i64) -> Result<Appended, AppendError> {
        let limit = limits::BATCH_BYTES_MAX;
        if batch.bytes() > limit {
            let bytes = batch.bytes();
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let limit = (self.log.file_bytes() - BLANK_BYTES) as usize;
        if let Some(record) = batch.records.iter().find(|record| record.size > limit) {
            let bytes = record.size;
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let mut entries = Vec::with_capacity(batch.len());
        let mut writer = self.lock_log(now_ms)?;
        if writer.sealed {
            return Err(crate::Sealed.into());
        }
        let under_way = self.appending_since.begin();
        self.there_must_be_room()?;
        self.wipe_scar(&mut writer)?;
        let store_timestamp = now_ms.max(writer.last_ms);
        let parts = self.place(&writer, batch)?;
        for lane in &mut batch.lanes {
            lane.start = lane.queue.next();
        }
        assign(&parts, batch, store_timestamp, &mut entries);
        if let Err(error) = self.write(&mut writer, &parts, batch) {
            // If this fails too, the next append or the clean exit tries again.
            let _ = self.wipe_scar(&mut writer);
            return Err(error.into());
        }
        let end = parts
            .last()
            .map_or(writer.end, |part| part.at + part.bytes as i64);
        writer.end = end;
        writer.last_ms = store_timestamp;
        self.keep(parts, batch);
        self.log.set_end(end);
        self.enter_queues(batch, &entries, end, store_timestamp);
        drop(under_way);
        drop(writer);
        if !self.config.sync_flush {
            batch
                .lanes
                .iter()
                .for_each(|lane| lane.queue.visible().wake());
        }
        batch.clear();
        Ok(Appended {
            entries,
            end: LogOffset(end),
            store_timestamp,
        })
    }

    /// Retention may have found the disk too full; and if entries can't be written behind, memory
    /// must not fill up with them.
    fn there_must_be_room(&self) -> io::Result<()> {
        if self.disk_full.load(Ordering::Relaxed) {
            let full = "more of it is in use than diskSpaceWarningLevelRatio allows";
            return Err(io::Error::new(io::ErrorKind::StorageFull, full));
        }
        if self.queues.unwritten() < 2 * limits::QUEUES_UNWRITTEN_BYTES_MAX {
            return Ok(());
        }
        self.queues.write_all_out()
    }

    /// Where the records go. Makes the files they need.
    fn place(&self, writer: &Writer, batch: &Batch) -> io::Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::with_capacity(1);
        let mut at = writer.end;
        for record in &batch.records {
            let size = record.size as i64;
            let room = self.log.file_start(at) + self.log.file_bytes() - at;
            let fits = size + BLANK_BYTES <= room;
            if let Some(part) = parts.last_mut()
                && fits
            {
                part.bytes += record.size;
                at += size;
                continue;
            }
            if !fits {
                match parts.last_mut() {
                    Some(part) => part.last = true,
                    None => parts.push(Part {
                        segment: self.log.segment_or_create(at)?,
                        at,
                        bytes: 0,
                        last: true,
                    }),
                }
                at += room;
            }
            parts.push(Part {
                segment: self.log.segment_or_create(at)?,
                at,
                bytes: record.size,
                last: false,
            });
            at += size;
        }
        Ok(parts)
    }

    fn write(&self, writer: &mut Writer, parts: &[Part], batch: &Batch) -> io::Result<()> {
        let mut rest = &batch.buffer[..];
        for part in parts {
            let (bytes, after) = rest.split_at(part.bytes);
            rest = after;
            let reach = part.bytes as i64 + if part.last { BLANK_BYTES } else { 0 };
            writer.scar_end = part.at + reach;
            self.log.write(&part.segment, part.at, bytes)?;
            if part.last {
                let end = part.at + part.bytes as i64;
                self.log.write_blank(&part.segment, end)?;
            }
        }
        writer.scar_end = 0;
        Ok(())
    }

    /// Overwrites what a failed write may have left behind the end, and makes that durable before
    /// anything is written there: a power cut must not bring back what was refused.
    pub(crate) fn wipe_scar(&self, writer: &mut Writer) -> io::Result<()> {
        if writer.scar_end == 0 {
            return Ok(());
        }
        let mut at = writer.end;
        while at < writer.scar_end {
            let file_end = self.log.file_start(at) + self.log.file_bytes();
            let to = file_end.min(writer.scar_end);
            let segment = self.log.segment_or_create(at)?;
            self.log.write(&segment, at, &vec![0; (to - at) as usize])?;
            at = to;
        }
        if let Err(error) = self.log.sync(writer.end, writer.scar_end) {
            self.seal(writer);
            return Err(error);
        }
        writer.scar_end = 0;
        Ok(())
    }

    /// Keeps the written buffers in memory for those who read next.
    fn keep(&self, parts: Vec<Part>, batch: &mut Batch) {
        let spare = batch.buffer.capacity() - batch.buffer.len();
        let count = parts.len();
        for (index, part) in parts.into_iter().enumerate() {
            let bytes = batch.buffer.split_to(part.bytes).freeze();
            if !bytes.is_empty() {
                let spare = if index + 1 == count { spare } else { 0 };
                let occupied = bytes.len() + spare;
                self.log.tail.push(part.at, bytes, occupied);
            }
        }
        batch.buffer = bytes::BytesMut::new();
    }

    fn enter_queues(
        &self,
        batch: &Batch,
        entries: &[(LogOffset, QueueOffset)],
        end: i64,
        store_timestamp: i64,
    ) {
        for lane in batch.lanes.iter().filter(|lane| lane.count > 0) {
            let queue = &lane.queue;
            let entry = |number: usize| {
                let (record, (log_offset, queue_offset)) =
                    (&batch.records[number], entries[number]);
                QueueEntry {
                    queue_offset,
                    log_offset,
                    size: record.size as i32,
                    tags_code: record.tag.code(store_timestamp),
                }
            };
            let next = lane.start + i64::from(lane.count);
            queue.set_next(next);
            self.queues.push(queue, batch.records_of(lane).map(entry));
            if self.config.sync_flush {
                self.hidden.push(end, queue, next);
            } else {
                queue.visible().raise(next);
            }
        }
    }
}

/// Gives every record its offsets and stamps them into the buffer.
fn assign(
    parts: &[Part],
    batch: &mut Batch,
    store_timestamp: i64,
    entries: &mut Vec<(LogOffset, QueueOffset)>,
) {
    let mut rest = &mut batch.buffer[..];
    let mut records = batch.records.iter();
    for part in parts {
        let mut at = part.at;
        let part_end = part.at + part.bytes as i64;
        while at < part_end
            && let Some(record) = records.next()
        {
            let place = record.place;
            let queue_offset =
                QueueOffset(place.map_or(0, |place| place.queue_offset(&batch.lanes)));
            let (bytes, after) = rest.split_at_mut(record.size);
            rest = after;
            stamp(bytes, queue_offset, LogOffset(at), store_timestamp);
            entries.push((LogOffset(at), queue_offset));
            at += record.size as i64;
        }
    }
}
