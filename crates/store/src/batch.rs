//! Records to append, encoded before the log lock is taken, with holes for what only it can give.

use std::sync::Arc;

use bytes::BytesMut;
use protocol::record::{Record, RecordError, sys_flag};
use rustc_hash::FxHashMap;

use crate::Store;
use crate::consume_queue::Queue;
use crate::consume_queue::table::QueueNameError;

#[cfg(test)]
mod tests;

/// Records that go into the log together: one write, all or nothing. Empty again after an append.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) buffer: BytesMut,
    pub(crate) records: Vec<Pending>,
    /// The queues that the records go into, each once: what has to be done for a queue is done once for all its records.
    pub(crate) lanes: Vec<Lane>,
    /// Which lane is the queue's with this number; kept only once there are more than [`LANES_NEAR`].
    lane_of: FxHashMap<u32, u32>,
}

/// A record in the buffer of a batch.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) size: usize,
    pub(crate) tag: EntryTag,
    /// `None` for half messages and roll-backs, which are in no queue.
    pub(crate) place: Option<Place>,
}

/// Where a record goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its queue's number in `lanes`.
    lane: u32,
    /// How many records of the batch come before it there.
    nth: u32,
    /// The record of the batch that comes after it there.
    next: u32,
}

impl Place {
    /// The record's offset in its queue, once the lanes know where their queues go on.
    pub(crate) fn queue_offset(self, lanes: &[Lane]) -> i64 {
        lanes[self.lane as usize].start + i64::from(self.nth)
    }
}

/// A queue and the batch's records for it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) queue: Arc<Queue>,
    first: u32,
    last: u32,
    pub(crate) count: u32,
    /// Where its queue goes on. Set by the append, under the log lock.
    pub(crate) start: i64,
}

/// Records of a batch mostly go into a few queues: so many are looked through one by one.
const LANES_NEAR: usize = 16;

/// Why a record is not in the batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// No queue can have that name.
    #[error(transparent)]
    Queue(#[from] QueueNameError),
    /// No record can be like that.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What a record's consume queue entry says beside where the record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryTag {
    /// Hash of its tag; 0 if it has none.
    Code(i64),
    /// In queues of delayed messages: it is due so many ms after it was stored.
    DueAfterMs(i64),
}

impl EntryTag {
    /// The entry's last eight bytes.
    pub(crate) fn code(self, store_timestamp: i64) -> i64 {
        match self {
            EntryTag::Code(code) => code,
            EntryTag::DueAfterMs(delay) => store_timestamp.saturating_add(delay),
        }
    }
}

impl Batch {
    /// An empty batch with room for the encoded records: what it has too much stays occupied as
    /// long as a reader may need the records.
    pub fn with_capacity(bytes: usize) -> Self {
        Batch {
            buffer: BytesMut::with_capacity(bytes),
            ..Batch::default()
        }
    }

    /// Adds a record, and its queue to the store's if it is the first of it. What `record` says of its offsets and store
    /// time is ignored.
    pub fn push(
        &mut self,
        store: &Store,
        record: &Record<'_>,
        tag: EntryTag,
    ) -> Result<(), PushError> {
        let lane = self.lane(store, record.topic, record.queue_id)?;
        let size = record.encode(&mut self.buffer)?;
        let place = is_queued(record.sys_flag).then(|| self.enter(lane));
        self.records.push(Pending { size, tag, place });
        Ok(())
    }

    /// The lane of a queue.
    fn lane(&mut self, store: &Store, topic: &str, id: i32) -> Result<usize, QueueNameError> {
        let near = self.lanes.iter().enumerate().rev().take(LANES_NEAR);
        let is_it = |lane: &Lane| lane.queue.id() == id && lane.queue.topic() == topic;
        if let Some((found, _)) = near.into_iter().find(|(_, lane)| is_it(lane)) {
            return Ok(found);
        }
        let queue = store.queue_or_create(topic, id)?;
        let count = self.lanes.len();
        if count >= LANES_NEAR {
            if self.lane_of.is_empty() {
                let numbers = self.lanes.iter().map(|lane| lane.queue.number());
                self.lane_of = numbers.zip(0..).collect();
            }
            let lane = *self.lane_of.entry(queue.number()).or_insert(count as u32);
            if (lane as usize) < count {
                return Ok(lane as usize);
            }
        }
        self.lanes.push(Lane {
            queue,
            first: 0,
            last: 0,
            count: 0,
            start: 0,
        });
        Ok(count)
    }

    /// Puts the record that comes next at the end of a lane.
    fn enter(&mut self, number: usize) -> Place {
        let record = self.records.len() as u32;
        let lane = &mut self.lanes[number];
        let nth = lane.count;
        if nth == 0 {
            lane.first = record;
        } else if let Some(last) = &mut self.records[lane.last as usize].place {
            last.next = record;
        }
        lane.last = record;
        lane.count += 1;
        Place {
            lane: number as u32,
            nth,
            next: record,
        }
    }

    /// The numbers of a lane's records in order.
    pub(crate) fn records_of(&self, lane: &Lane) -> impl ExactSizeIterator<Item = usize> {
        let mut at = lane.first as usize;
        (0..lane.count).map(move |_| {
            let number = at;
            at = self.records[at]
                .place
                .map_or(at, |place| place.next as usize);
            number
        })
    }

    /// Forgets the records; the buffer has gone its way.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.lanes.clear();
        self.lane_of.clear();
    }

    /// Records in it.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Nothing to append.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Encoded bytes in it.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }
}

/// Half messages and roll-backs are in the log, but in no queue.
pub(crate) fn is_queued(flags: i32) -> bool {
    !matches!(
        flags & sys_flag::TRANSACTION,
        sys_flag::TRANSACTION_PREPARED | sys_flag::TRANSACTION_ROLLBACK
    )
}
