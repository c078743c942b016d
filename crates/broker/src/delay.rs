//! Delay levels: where a message waits that is to be delivered later, and how far each level has been delivered.

use std::collections::BTreeMap;

use protocol::QueueOffset;
use protocol::bodies::{DataVersion, DelayOffsets};
use protocol::properties;
use store::{EntryTag, Store};

use crate::topics;

pub(crate) mod deliver;

#[cfg(test)]
mod tests;

/// Deliveries between two steps of the data version (Apache's delayOffsetUpdateVersionStep).
const VERSION_STEP: u64 = 200;

/// Where a delayed message waits instead of in its own queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Detour {
    pub(crate) topic: &'static str,
    pub(crate) queue_id: i32,
    pub(crate) tag: EntryTag,
}

/// The detour of a message for `topic` and `queue_id`, if its properties ask for one; they then remember where it goes in
/// the end. A level above the last one is the last one. A half message has none until it is committed: Apache loses one.
pub(crate) fn divert(
    levels_ms: &[i64],
    topic: &str,
    queue_id: i32,
    properties: &mut Vec<u8>,
) -> Option<Detour> {
    // Half messages are delayed when their transaction is committed; what is put aside, never.
    if matches!(topic, topics::HALF | topics::CHECKED_TOO_OFTEN) {
        return None;
    }
    let asked = level(properties::find(properties, properties::DELAY)?)?;
    let level = asked.min(levels_ms.len());
    let delay_ms = levels_ms.get(level.checked_sub(1)?)?;
    if level < asked {
        properties::set(properties, properties::DELAY, &level.to_string());
    }
    // A level overrules what the message says of other delays.
    for other in [
        properties::TIMER_DELAY_SEC,
        properties::TIMER_DELAY_MS,
        properties::TIMER_DELIVER_MS,
    ] {
        properties::remove(properties, other);
    }
    properties::set(properties, properties::REAL_TOPIC, topic);
    properties::set(properties, properties::REAL_QID, &queue_id.to_string());
    Some(Detour {
        topic: topics::SCHEDULE,
        queue_id: level as i32 - 1,
        tag: EntryTag::DueAfterMs(*delay_ms),
    })
}

/// A delay level as a property says it; `None` where it means no delay.
fn level(text: &str) -> Option<usize> {
    text.parse::<usize>().ok().filter(|level| *level > 0)
}

/// The queue in which messages of a level wait.
fn queue_of(level: i32) -> i32 {
    level.saturating_sub(1)
}

/// How far each level has been delivered, as delayOffset.json has it.
#[derive(Default)]
pub(crate) struct Delays {
    table: BTreeMap<i32, QueueOffset>,
    version: DataVersion,
    /// Changes since the start.
    changes: u64,
}

impl Delays {
    pub(crate) fn load(file: DelayOffsets) -> Delays {
        Delays {
            table: file.offset_table,
            version: file.data_version,
            changes: 0,
        }
    }

    /// Brings what the file says within what the queues have: messages may have been lost, or deleted because of their age.
    pub(crate) fn correct(&mut self, store: &Store) {
        for (level, next) in &mut self.table {
            let queue = store.queue(topics::SCHEDULE, queue_of(*level));
            let (min, max) = queue.map_or((QueueOffset(0), QueueOffset(0)), |queue| {
                (queue.min(), queue.max_visible())
            });
            let possible = (*next).max(min).min(max);
            if possible != *next {
                let (from, to) = (next.0, possible.0);
                tracing::warn!(
                    level,
                    from,
                    to,
                    "the delay level is delivered from the nearest message there is"
                );
                *next = possible;
                self.changes += 1;
            }
        }
    }

    /// The next message of the level to deliver.
    pub(crate) fn next(&self, level: i32) -> QueueOffset {
        self.table.get(&level).copied().unwrap_or(QueueOffset(0))
    }

    /// The level has been delivered up to there.
    pub(crate) fn advance(&mut self, level: i32, next: QueueOffset, now_ms: i64) {
        self.table.insert(level, next);
        self.changes += 1;
        if self.changes.is_multiple_of(VERSION_STEP) {
            self.version = self.version.next(now_ms);
        }
    }

    /// Changes since the start.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// What delayOffset.json holds.
    pub(crate) fn to_table(&self) -> DelayOffsets {
        DelayOffsets {
            data_version: self.version,
            offset_table: self.table.clone(),
        }
    }
}
