//! Records to append, encoded before the log lock is taken, with holes for what only it can give.

use std::sync::Arc;

use bytes::BytesMut;
use protocol::record::{Record, RecordError, sys_flag};

use crate::consume_queue::Queue;

/// Records that go into the log together: one write, all or nothing. Empty again after an append.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) buffer: BytesMut,
    pub(crate) records: Vec<Pending>,
}

/// A record in the buffer of a batch.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) queue: Arc<Queue>,
    pub(crate) size: usize,
    pub(crate) tag: EntryTag,
    /// Has an offset in its queue: not so half messages and roll-backs.
    pub(crate) queued: bool,
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
            records: Vec::new(),
        }
    }

    /// Adds a record for a queue. What `record` says of its offsets and store time is ignored.
    pub fn push(
        &mut self,
        queue: &Arc<Queue>,
        record: &Record<'_>,
        tag: EntryTag,
    ) -> Result<(), RecordError> {
        assert!(
            record.topic == queue.topic() && record.queue_id == queue.id(),
            "the record is another queue's"
        );
        let size = record.encode(&mut self.buffer)?;
        self.records.push(Pending {
            queue: queue.clone(),
            size,
            tag,
            queued: is_queued(record.sys_flag),
        });
        Ok(())
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
