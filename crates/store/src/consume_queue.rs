//! A consume queue: where each message of one queue is in the log, 20 bytes a message.
//!
//! | off | size | field |
//! |---|---|---|
//! | 0 | 8 | offset in the commit log |
//! | 8 | 4 | size of the record |
//! | 12 | 8 | hash of its tag (for delayed messages the time to deliver it) |
//!
//! New entries are held in memory and written behind; everything in files is read from there, so
//! that an idle queue costs a few hundred bytes and no open file.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use protocol::record::Outline;
use protocol::{LogOffset, QueueOffset};

use crate::watermark::{Ticket, Watermark};

pub(crate) mod ends;
pub(crate) mod files;
pub(crate) mod restore;
pub(crate) mod table;
#[cfg(test)]
mod tests;

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 20;

/// Size in the entries that Apache puts before the first one of a queue that does not start at
/// the beginning of a file. No record is that large.
pub(crate) const FILLER_SIZE: i32 = i32::MAX;

/// One queue of a topic. Its offsets are dense: each names one message for ever.
#[derive(Debug)]
pub struct Queue {
    topic: Arc<str>,
    id: i32,
    /// Tells queues apart where their name would be too long.
    number: u32,
    /// Offset of the next message. Changed only under the log lock.
    pub(crate) next: AtomicI64,
    /// Consumers may see what is below.
    visible: Watermark,
    min: AtomicI64,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Queue offset of the first entry in `unwritten`; those before it are in files.
    first: i64,
    unwritten: Vec<u8>,
    /// Write-behind knows of the entries in `unwritten`, or will look for more.
    listed: bool,
    /// Files on disk, by the byte position in the queue at which they start and end.
    files: Range<i64>,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Which message of the queue.
    pub queue_offset: QueueOffset,
    /// Where its record starts.
    pub log_offset: LogOffset,
    /// Bytes of its record.
    pub size: i32,
    /// See the table above.
    pub tags_code: i64,
}

impl QueueEntry {
    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.log_offset.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.size.to_be_bytes());
        bytes[12..].copy_from_slice(&self.tags_code.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(queue_offset: i64, bytes: &[u8; ENTRY_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = *bytes;
        QueueEntry {
            queue_offset: QueueOffset(queue_offset),
            log_offset: LogOffset(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            size: i32::from_be_bytes([i, j, k, l]),
            tags_code: i64::from_be_bytes([m, n, o, p, q, r, s, t]),
        }
    }

    /// Points to a record, as far as can be told without reading it.
    pub(crate) fn is_valid(&self) -> bool {
        self.log_offset.0 >= 0 && self.size > 0
    }

    pub(crate) fn is_filler(&self) -> bool {
        self.size == FILLER_SIZE
    }

    /// Whether this is the record it stands for.
    pub(crate) fn names(&self, queue: &Queue, outline: &Outline<'_>) -> bool {
        outline.size as i64 == i64::from(self.size)
            && outline.log_offset == self.log_offset
            && outline.queue_offset == self.queue_offset
            && outline.queue_id == queue.id
            && *outline.topic == *queue.topic
    }

    /// Where the record ends in the log.
    pub(crate) fn log_end(&self) -> i64 {
        self.log_offset.0 + i64::from(self.size)
    }
}

impl Queue {
    fn new(topic: Arc<str>, id: i32, number: u32) -> Self {
        Queue {
            topic,
            id,
            number,
            next: AtomicI64::new(0),
            visible: Watermark::default(),
            min: AtomicI64::new(0),
            entries: Mutex::default(),
        }
    }

    /// The topic it is a queue of.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Which of the topic's queues.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The offset after the newest message that consumers may see.
    pub fn max_visible(&self) -> QueueOffset {
        QueueOffset(self.visible.at())
    }

    /// The offset of the oldest message that is still in the log; where there is none, that of
    /// the next one to come.
    pub fn min(&self) -> QueueOffset {
        QueueOffset(self.min.load(Ordering::Acquire))
    }

    /// Completes once the message at `offset` is there and visible: the append itself (or, with
    /// sync flush, the flush) wakes it. Dropping it leaves no trace.
    pub fn arrival(self: &Arc<Self>, offset: QueueOffset) -> Arrival {
        Arrival {
            ticket: Ticket::new(offset.0.saturating_add(1)),
            queue: self.clone(),
        }
    }

    /// Whether it has got entries that the write-behind has not looked at.
    pub(crate) fn is_listed(&self) -> bool {
        self.entries.lock().listed
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The offset of the next message, visible or not.
    pub(crate) fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Records up to here have been written. Under the log lock.
    pub(crate) fn set_next(&self, next: i64) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// Adds the entries of messages whose records have been written.
    pub(crate) fn push(&self, added: impl Iterator<Item = QueueEntry>) -> Pushed {
        let mut entries = self.entries.lock();
        for (next, entry) in (entries.next()..).zip(added) {
            assert_eq!(
                entry.queue_offset.0, next,
                "queue offsets are dense: {} {}",
                self.topic, self.id
            );
            entries.unwritten.extend_from_slice(&entry.encode());
        }
        Pushed {
            to_list: !std::mem::replace(&mut entries.listed, true),
            unwritten: entries.unwritten.len(),
        }
    }

    /// Which of its bytes are in files, and the first entry that is not.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (Range<i64>, i64) {
        let entries = self.entries.lock();
        (entries.files.clone(), entries.first)
    }

    pub(crate) fn visible(&self) -> &Watermark {
        &self.visible
    }

    pub(crate) fn set_min(&self, min: i64) {
        self.min.store(min, Ordering::Release);
    }
}

impl Entries {
    fn next(&self) -> i64 {
        self.first + (self.unwritten.len() / ENTRY_BYTES) as i64
    }
}

/// What [`Queue::push`] has to say.
pub(crate) struct Pushed {
    /// Write-behind has to be told of the queue.
    pub(crate) to_list: bool,
    /// Bytes that wait to be written now.
    pub(crate) unwritten: usize,
}

/// What [`Queue::arrival`] returns. A sealed log never completes it.
#[derive(Debug)]
pub struct Arrival {
    queue: Arc<Queue>,
    ticket: Ticket,
}

impl Future for Arrival {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.ticket
            .poll(&this.queue.visible, context)
            .map(|reached| assert!(reached.is_ok(), "queues are not sealed"))
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.ticket.leave(&self.queue.visible);
    }
}
