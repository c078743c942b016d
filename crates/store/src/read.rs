//! Reading: a queue from an offset on, or one record where it is in the log.
//!
//! Statuses, next offsets and limits are those of Apache's `getMessage`; tests pin them. What
//! comes from the memory tail is the buffer that was written; what comes from disk is checked
//! (place, queue, crc of the body) and never served if it fails.

use std::io;

use bytes::Bytes;
use protocol::record::{Outline, SIZE_MIN, crc31};
use protocol::{LogOffset, QueueOffset};

use crate::Store;
use crate::consume_queue::{ENTRY_BYTES, Queue, QueueEntry};
use crate::disk::Wait;
use crate::limits;
use crate::records::Records;
use crate::tail::Held;

mod window;

use window::Window;

#[cfg(test)]
mod tests;

/// How much one read gives. At least one message that matches is given, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Messages asked for.
    pub messages_max: usize,
    /// Bytes asked for.
    pub bytes_max: usize,
    /// A record this near the end of the log counts as in memory
    /// (`accessMessageInMemoryMaxRatio` of the memory).
    pub hot_window_bytes: i64,
    /// `maxTransferBytesOnMessageInMemory`.
    pub hot_bytes_max: usize,
    /// `maxTransferCountOnMessageInMemory`.
    pub hot_messages_max: usize,
    /// `maxTransferBytesOnMessageInDisk`.
    pub cold_bytes_max: usize,
    /// `maxTransferCountOnMessageInDisk`.
    pub cold_messages_max: usize,
    /// `maxFilterMessageSize`: bytes of consume queue looked at, if `messages_max` is not more.
    pub scan_bytes_max: usize,
    /// Whether the read may wait for the disk. If not, and it would have to, it is an error of kind `WouldBlock`.
    pub wait: Wait,
}

impl Default for ReadLimits {
    fn default() -> Self {
        ReadLimits {
            messages_max: 32,
            bytes_max: 128 << 20,
            hot_window_bytes: 1 << 30,
            hot_bytes_max: 256 << 10,
            hot_messages_max: 32,
            cold_bytes_max: 64 << 10,
            cold_messages_max: 8,
            scan_bytes_max: 16_000,
            wait: Wait::ForDisk,
        }
    }
}

/// What a read came to. The names on the wire are these in capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStatus {
    /// There are messages.
    Found,
    /// Those looked at were filtered out.
    NoMatchedMessage,
    /// The records are gone from the log (or can't be read).
    MessageWasRemoving,
    /// The queue's files do not have that offset.
    OffsetFoundNull,
    /// The offset is beyond the next message's.
    OffsetOverflowBadly,
    /// The offset is the next message's.
    OffsetOverflowOne,
    /// The offset is before the oldest message's.
    OffsetTooSmall,
    /// The queue has never had a message. Also what Apache answers for a queue that does not
    /// exist.
    NoMessageInQueue,
}

/// Messages of a queue.
#[derive(Clone, Debug)]
pub struct Read {
    /// See there.
    pub status: ReadStatus,
    /// The messages as they are stored.
    pub records: Records,
    /// Bytes of all records.
    pub bytes: usize,
    /// Where to read on.
    pub next: QueueOffset,
    /// Oldest offset of the queue.
    pub min: QueueOffset,
    /// Offset after the newest visible message.
    pub max: QueueOffset,
    /// Bytes of log behind the last entry looked at (all of it if none was).
    pub behind_bytes: i64,
}

/// A file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(#[from] pub io::Error);

impl ReadError {
    /// Nothing is wrong: it is not in memory, and the read was not to wait for the disk.
    pub fn would_wait(&self) -> bool {
        self.0.kind() == io::ErrorKind::WouldBlock
    }
}

/// Entries that are looked at together.
const BLOCK_ENTRIES: usize = 64;

impl Store {
    /// Reads messages from an offset on, those whose entry is `wanted`.
    pub fn read(
        &self,
        queue: &Queue,
        from: QueueOffset,
        limits: &ReadLimits,
        wanted: impl FnMut(&QueueEntry) -> bool,
    ) -> Result<Read, ReadError> {
        self.read_where(queue, from, limits, wanted, |_| true)
    }

    /// The same, of those whose record is `fit` as well: what is not comes at the cost of reading it, which is bounded
    /// ([`limits::UNFIT_BYTES_MAX`]).
    pub fn read_where(
        &self,
        queue: &Queue,
        from: QueueOffset,
        limits: &ReadLimits,
        wanted: impl FnMut(&QueueEntry) -> bool,
        fit: impl FnMut(&[u8]) -> bool,
    ) -> Result<Read, ReadError> {
        let mut sieve = Sieve {
            entry: wanted,
            record: fit,
            unfit_bytes: 0,
        };
        let min = queue.min();
        let max = queue.max_visible();
        let log_end = self.log.end();
        let mut read = Read {
            status: ReadStatus::NoMatchedMessage,
            records: Records::default(),
            bytes: 0,
            next: from,
            min,
            max,
            behind_bytes: log_end,
        };
        if max.0 == 0 {
            read.status = ReadStatus::NoMessageInQueue;
            read.next = QueueOffset(0);
        } else if from < min {
            read.status = ReadStatus::OffsetTooSmall;
            read.next = min;
        } else if from == max {
            read.status = ReadStatus::OffsetOverflowOne;
        } else if from > max {
            read.status = ReadStatus::OffsetOverflowBadly;
            read.next = max;
        } else {
            let scan = (limits.scan_bytes_max / ENTRY_BYTES).max(limits.messages_max);
            let scan_end = from.0.saturating_add(scan as i64).min(max.0);
            let mut window = Window::default();
            while read.next.0 < scan_end {
                let count = BLOCK_ENTRIES.min((scan_end - read.next.0) as usize);
                let block = self.queues.read(queue, read.next.0, count, limits.wait)?;
                if block.is_empty() {
                    read.status = ReadStatus::OffsetFoundNull;
                    read.next = self.queues.next_file(read.next);
                    break;
                }
                if self.read_block(queue, &block, limits, &mut read, &mut window, &mut sieve)? {
                    break;
                }
            }
            read.records = window.into_records();
        }
        Ok(read)
    }

    /// Adds the messages of a block; `true` if there is no room for more.
    fn read_block(
        &self,
        queue: &Queue,
        block: &[QueueEntry],
        limits: &ReadLimits,
        read: &mut Read,
        window: &mut Window,
        sieve: &mut Sieve<impl FnMut(&QueueEntry) -> bool, impl FnMut(&[u8]) -> bool>,
    ) -> Result<bool, ReadError> {
        let log_end = self.log.end();
        for (index, entry) in block.iter().enumerate() {
            let behind = log_end - entry.log_offset.0;
            let room = Room::new(limits, behind);
            if room.is_full(window.given(), read.bytes, entry) {
                return Ok(true);
            }
            let left = room.messages_max.saturating_sub(window.given()).max(1);
            let last = block.len().min(index + left);
            read.behind_bytes = behind;
            read.next = QueueOffset(entry.queue_offset.0 + 1);
            let status = if !(sieve.entry)(entry) {
                ReadStatus::NoMatchedMessage
            } else if let Some(record) =
                self.record_of(queue, &block[index..last], window, limits.wait)?
            {
                let size = record.len();
                if (sieve.record)(record) {
                    read.bytes += size;
                    window.give(entry.log_offset.0, size);
                    ReadStatus::Found
                } else {
                    sieve.unfit_bytes += size;
                    ReadStatus::NoMatchedMessage
                }
            } else {
                ReadStatus::MessageWasRemoving
            };
            if window.given() == 0 || status == ReadStatus::Found {
                read.status = status;
            }
            if sieve.unfit_bytes >= limits::UNFIT_BYTES_MAX {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The record of the first entry; what is read from disk takes the others' along.
    fn record_of<'w>(
        &self,
        queue: &Queue,
        entries: &[QueueEntry],
        window: &'w mut Window,
        wait: Wait,
    ) -> Result<Option<&'w [u8]>, ReadError> {
        let Some(entry) = entries.first() else {
            return Ok(None);
        };
        let size = entry.size.max(0) as usize;
        if !(SIZE_MIN..=limits::RECORD_BYTES_MAX).contains(&size)
            || entry.log_offset.0 < self.log.min()
        {
            return Ok(None);
        }
        if window.slice(entry.log_offset.0, size).is_none() {
            window.load(&self.log, entries, wait)?;
        }
        let Some(record) = window.slice(entry.log_offset.0, size) else {
            return Ok(None);
        };
        let intact = window.as_written
            || Outline::decode(record).is_ok_and(|outline| {
                entry.names(queue, &outline) && crc31(outline.body) == outline.body_crc
            });
        if !intact {
            tracing::warn!(
                topic = queue.topic(),
                queue_id = queue.id(),
                queue_offset = entry.queue_offset.0,
                log_offset = entry.log_offset.0,
                "corrupt record skipped"
            );
        }
        Ok(intact.then_some(record))
    }

    /// The record that starts at a place in the log, if one does and consumers may see it.
    pub fn record_at(&self, at: LogOffset) -> Result<Option<Bytes>, ReadError> {
        let visible_end = self.visible_end();
        if at.0 < self.log.min() || at.0 >= visible_end {
            return Ok(None);
        }
        let held = match self.log.tail.rest_of_chunk(at.0) {
            Some(held) => held,
            None => {
                let front = self.log.read_at(at.0, FRONT_BYTES, Wait::ForDisk)?;
                let Some(size) = claimed_size(&front, at) else {
                    return Ok(None);
                };
                let bytes = self.log.read_at(at.0, size, Wait::ForDisk)?;
                Held {
                    bytes,
                    occupied: size,
                }
            }
        };
        let Ok(outline) = Outline::decode(&held.bytes) else {
            return Ok(None);
        };
        let intact = outline.log_offset == at
            && at.0 + outline.size as i64 <= visible_end
            && crc31(outline.body) == outline.body_crc;
        let size = outline.size;
        Ok(intact.then(|| {
            let record = held.slice(0..size);
            record.unwrap_or_else(|| Bytes::copy_from_slice(&held.bytes[..size]))
        }))
    }
}

/// Bytes of a record up to and with its log offset.
const FRONT_BYTES: usize = 36;

/// The size that a record claims which is at the place where it says it is.
fn claimed_size(front: &[u8], at: LogOffset) -> Option<usize> {
    let size = front.first_chunk::<4>()?;
    let log_offset = front.get(28..36)?.first_chunk::<8>()?;
    let size = usize::try_from(i32::from_be_bytes(*size)).ok()?;
    (i64::from_be_bytes(*log_offset) == at.0 && size <= limits::RECORD_BYTES_MAX).then_some(size)
}

/// How much may be given of what lies so far behind the end of the log.
struct Room {
    messages_max: usize,
    bytes_max: usize,
}

impl Room {
    fn new(limits: &ReadLimits, behind: i64) -> Room {
        let (bytes_max, messages_max) = if behind <= limits.hot_window_bytes {
            (limits.hot_bytes_max, limits.hot_messages_max)
        } else {
            (limits.cold_bytes_max, limits.cold_messages_max)
        };
        Room {
            messages_max: limits.messages_max.min(messages_max),
            bytes_max: limits.bytes_max.max(100).min(bytes_max),
        }
    }

    /// `isTheBatchFull` of Apache.
    fn is_full(&self, given: usize, bytes: usize, entry: &QueueEntry) -> bool {
        let bytes = bytes + entry.size.max(0) as usize;
        given > 0 && (given >= self.messages_max || bytes > self.bytes_max)
    }
}

/// What a reader wants, by entry and then by record.
struct Sieve<E, R> {
    entry: E,
    record: R,
    /// Bytes of records that were read in vain.
    unfit_bytes: usize,
}
