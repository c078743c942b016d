//! Brings the records of a scan into their queues again.
//!
//! Nothing guards a record's header, so its queue offset may be wrong without its crc telling. A
//! number that is not the queue's next is believed only when the queue's next record follows it.

use std::io;
use std::sync::Arc;

use protocol::LogOffset;
use protocol::QueueOffset;
use protocol::record::{Outline, SIZE_MIN};
use rustc_hash::FxHashMap;

use super::Ground;
use crate::consume_queue::{Queue, QueueEntry};
use crate::dispatch::entry_of;
use crate::store::BadRange;

pub(crate) struct Redispatch<'a> {
    ground: &'a Ground<'a>,
    start: i64,
    /// Records whose queue offset was not the queue's next: the newest of each such queue.
    suspects: FxHashMap<u32, (Arc<Queue>, QueueEntry)>,
    pub(crate) bad: Vec<BadRange>,
    /// See `Scanned::deeper`.
    pub(crate) deeper: Option<i64>,
}

impl<'a> Redispatch<'a> {
    pub(crate) fn new(ground: &'a Ground<'a>, start: i64) -> Self {
        Redispatch {
            ground,
            start,
            suspects: FxHashMap::default(),
            bad: Vec::new(),
            deeper: None,
        }
    }

    /// The log has no record there.
    pub(crate) fn bad(&mut self, range: BadRange) {
        self.bad.push(range);
    }

    pub(crate) fn record(&mut self, outline: &Outline<'_>) -> io::Result<()> {
        let entry = entry_of(self.ground.config, outline);
        let table = self.ground.table;
        let Ok(queue) = table.find_or_create(outline.topic, outline.queue_id) else {
            self.reject(&entry);
            return Ok(());
        };
        if let Some((_, suspect)) = self.suspects.remove(&queue.number()) {
            self.judge(&queue, suspect, entry.queue_offset.0)?;
        }
        if self.deeper.is_some() {
            return Ok(());
        }
        if entry.queue_offset.0 == queue.next() {
            self.push(&queue, entry);
        } else {
            self.suspects.insert(queue.number(), (queue, entry));
        }
        Ok(())
    }

    /// Decides on a suspect by the queue offset of the record that follows it.
    fn judge(&mut self, queue: &Arc<Queue>, suspect: QueueEntry, following: i64) -> io::Result<()> {
        let next = queue.next();
        if following == suspect.queue_offset.0 + 1 {
            self.jump(queue, &suspect)?;
        } else if following == next + 1 {
            // Its own number is wrong. Its place is kept, so that the others have theirs.
            self.reject(&suspect);
            let queue_offset = QueueOffset(next);
            self.push(
                queue,
                QueueEntry {
                    queue_offset,
                    ..suspect
                },
            );
        } else if self.is_explained(following - suspect.queue_offset.0)
            && self.may_jump(queue, suspect.queue_offset.0, self.explained())?
        {
            // The log has lost what was before and between.
            self.jump(queue, &suspect)?;
        } else {
            self.reject(&suspect);
        }
        Ok(())
    }

    /// As many messages as may have been in what the log has lost.
    fn explained(&self) -> i64 {
        let lost: i64 = self.bad.iter().map(|bad| bad.to.0 - bad.from.0).sum();
        lost / SIZE_MIN as i64 + self.suspects.len() as i64
    }

    fn is_explained(&self, missing: i64) -> bool {
        missing > 0 && missing <= self.explained()
    }

    /// Whether a queue may go on with an offset beyond its next.
    fn may_jump(&self, queue: &Queue, found: i64, explained: i64) -> io::Result<bool> {
        let next = queue.next();
        Ok(found > next
            && (found - next <= explained
                || self.is_gone(queue)?
                || self.uncovered(queue)?.is_some()))
    }

    /// Decides on the suspects that no record of their queue followed.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let explained = self.explained();
        for (queue, suspect) in std::mem::take(&mut self.suspects).into_values() {
            let (next, found) = (queue.next(), suspect.queue_offset.0);
            // A queue that was deleted and begun again; one flipped bit can't look like it.
            let begun_again = found == 0 && !(next as u64).is_power_of_two();
            if begun_again || self.may_jump(&queue, found, explained)? {
                self.jump(&queue, &suspect)?;
            } else {
                self.reject(&suspect);
            }
        }
        Ok(())
    }

    /// The queue goes on with this entry though it is not the next.
    fn jump(&mut self, queue: &Arc<Queue>, entry: &QueueEntry) -> io::Result<()> {
        let (next, to) = (queue.next(), entry.queue_offset.0);
        if to > next {
            if let Some(from) = self.uncovered(queue)? {
                self.deeper = Some(self.deeper.map_or(from, |deeper| deeper.min(from)));
                return Ok(());
            }
            if next == 0 || self.has_expired(queue)? {
                self.ground.queues.cut(queue, 0, true)?;
                self.ground.queues.begin_at(queue, to);
            } else {
                self.fill(queue, to)?;
            }
        } else {
            tracing::warn!(
                topic = queue.topic(),
                queue_id = queue.id(),
                next,
                to,
                "queue begun again"
            );
            self.ground.queues.cut(queue, to, true)?;
        }
        self.push(queue, *entry);
        Ok(())
    }

    /// All messages of the queue are gone from the log.
    fn has_expired(&self, queue: &Queue) -> io::Result<bool> {
        let last = self.ground.queues.entry(queue, queue.next() - 1)?;
        Ok(last.is_none_or(|last| last.log_offset.0 < self.ground.log.min()))
    }

    /// Whether all the queue has, if anything, was in log files that were removed: the entries up to
    /// the oldest one of the log may never have been written.
    fn is_gone(&self, queue: &Queue) -> io::Result<bool> {
        let log_min = self.ground.log.min();
        let last = match queue.next() {
            0 => None,
            next => self.ground.queues.entry(queue, next - 1)?,
        };
        let gone = |last: QueueEntry| last.is_filler() || last.log_end() <= log_min;
        Ok(log_min > 0 && last.is_none_or(gone))
    }

    /// Where the log must be read from to know what the queue lacks; `None` if this scan has read
    /// all of it.
    fn uncovered(&self, queue: &Queue) -> io::Result<Option<i64>> {
        let from = match queue.next() {
            0 => self.ground.log.min(),
            next => match self.ground.queues.entry(queue, next - 1)? {
                Some(entry) if !entry.is_filler() => entry.log_end(),
                _ => self.ground.log.min(),
            },
        };
        // What lies before the log's oldest file can't be read again.
        let from = from.max(self.ground.log.min());
        Ok((from < self.start).then_some(from))
    }

    /// Stands in for messages whose records are lost: the entries point to where the log is bad.
    fn fill(&mut self, queue: &Arc<Queue>, to: i64) -> io::Result<()> {
        let before = match self.ground.queues.entry(queue, queue.next() - 1)? {
            Some(entry) => entry.log_end(),
            None => self.start,
        };
        let hole = self.bad.iter().rfind(|bad| bad.from.0 >= before);
        let (at, size) = match hole {
            Some(bad) => (
                bad.from.0,
                (bad.to.0 - bad.from.0).min(i64::from(i32::MAX - 1)),
            ),
            None => (before, 1),
        };
        for next in queue.next()..to {
            let stand_in = QueueEntry {
                queue_offset: QueueOffset(next),
                log_offset: LogOffset(at),
                size: size as i32,
                tags_code: 0,
            };
            self.push(queue, stand_in);
        }
        Ok(())
    }

    fn push(&self, queue: &Arc<Queue>, entry: QueueEntry) {
        assert_eq!(queue.next(), entry.queue_offset.0, "the queue's next");
        queue.set_next(entry.queue_offset.0 + 1);
        self.ground.queues.push(queue, std::iter::once(entry));
    }

    fn reject(&mut self, entry: &QueueEntry) {
        tracing::warn!(
            log_offset = entry.log_offset.0,
            queue_offset = entry.queue_offset.0,
            "record can't be its queue's"
        );
        self.bad.push(BadRange {
            from: entry.log_offset,
            to: LogOffset(entry.log_end()),
        });
    }
}
