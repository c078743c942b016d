//! From a time to a queue's offset, and back.

use protocol::record::{MAGIC_V1, MAGIC_V2, sys_flag};
use protocol::{LogOffset, QueueOffset};

use crate::Store;
use crate::consume_queue::Queue;
use crate::disk::Wait;
use crate::read::ReadError;

#[cfg(test)]
mod tests;

/// Bytes of a record up to and with its store time, with an IPv6 born host.
const FRONT_BYTES: usize = 76;

/// Which of the messages around a time is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The first one not older.
    Lower,
    /// The last one not newer.
    Upper,
}

impl Store {
    /// The offset of the message at a store time (ms). `Lower`: that of the next message to come
    /// if all are older. `Upper`: that of the oldest message if all are newer. As Apache's
    /// `getOffsetInQueueByTime`, but an unreadable record in between does no harm.
    pub fn offset_by_time(
        &self,
        queue: &Queue,
        time_ms: i64,
        boundary: Boundary,
    ) -> Result<QueueOffset, ReadError> {
        let (min, max) = (queue.min().0, queue.max_visible().0);
        let (mut low, mut high) = (min, max.max(min));
        while low < high {
            let middle = low + (high - low) / 2;
            let (at, stored_ms) = self.readable_from(queue, middle, high)?;
            let is_before = stored_ms.is_some_and(|stored_ms| match boundary {
                Boundary::Lower => stored_ms < time_ms,
                Boundary::Upper => stored_ms <= time_ms,
            });
            if is_before {
                low = at + 1;
            } else {
                high = middle;
            }
        }
        Ok(QueueOffset(match boundary {
            Boundary::Lower => low,
            Boundary::Upper => (low - 1).max(min),
        }))
    }

    /// The first message from `from` on whose store time can be read.
    fn readable_from(
        &self,
        queue: &Queue,
        from: i64,
        end: i64,
    ) -> Result<(i64, Option<i64>), ReadError> {
        for at in from..end {
            if let Some(stored_ms) = self.stored_ms(queue, QueueOffset(at))? {
                return Ok((at, Some(stored_ms)));
            }
        }
        Ok((from, None))
    }

    /// When a visible message was stored, ms; `None` if it is not there.
    pub fn stored_ms(&self, queue: &Queue, at: QueueOffset) -> Result<Option<i64>, ReadError> {
        if at < queue.min() || at >= queue.max_visible() {
            return Ok(None);
        }
        match self.queues.entry(queue, at.0)? {
            Some(entry) if entry.is_valid() && !entry.is_filler() => {
                self.record_stored_ms(entry.log_offset)
            }
            _ => Ok(None),
        }
    }

    /// When the record at a place in the log was stored, ms; `None` if none starts there.
    pub(crate) fn record_stored_ms(&self, at: LogOffset) -> Result<Option<i64>, ReadError> {
        if at.0 < self.log.min() || at.0 >= self.log.end() {
            return Ok(None);
        }
        let front = match self.log.tail.slice(at.0, FRONT_BYTES) {
            Some(front) => front,
            None => self.log.read_at(at.0, FRONT_BYTES, Wait::ForDisk)?,
        };
        let long = |from: usize| {
            let bytes = front.get(from..).and_then(<[u8]>::first_chunk::<8>);
            bytes.map(|bytes| i64::from_be_bytes(*bytes))
        };
        let magic = front.get(4..).and_then(<[u8]>::first_chunk::<4>);
        let magic = magic.map(|bytes| u32::from_be_bytes(*bytes));
        if !matches!(magic, Some(MAGIC_V1 | MAGIC_V2)) || long(28) != Some(at.0) {
            return Ok(None);
        }
        let v6 = i32::from(front[39]) & sys_flag::BORN_HOST_V6 != 0;
        Ok(long(if v6 { 68 } else { 56 }))
    }
}
