//! Delivers the messages of one delay level when they are due: one task a level, driven by the arrival of a message and by
//! the clock.

use std::sync::Arc;
use std::time::Duration;

use protocol::QueueOffset;
use protocol::properties;
use protocol::record::Record;
use store::disk::Wait;
use store::{Batch, Queue, QueueEntry, Read, ReadError, ReadLimits, ReadStatus};

use super::queue_of;
use crate::background::Stopped;
use crate::broker::Broker;
use crate::handlers::send::checks;
use crate::limits;
use crate::message::{Message, PutError};
use crate::topics;

#[cfg(test)]
mod tests;

/// After a failure, of the disk or because it is full, the same is tried again.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// A wait that takes so much longer than it should is looked at again.
const CLOCK_SET: Duration = Duration::from_secs(1);

/// Delivers a level until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, level: i32, mut stopped: Stopped) {
    tokio::select! {
        () = stopped.wait() => {}
        () = deliver(&broker, level) => {}
    }
}

async fn deliver(broker: &Broker, level: i32) {
    let Some(mut waiting) = Waiting::of(broker, level) else {
        return;
    };
    loop {
        waiting.queue.arrival(waiting.next).await;
        match waiting.turn(broker) {
            Ok(None) => tokio::task::yield_now().await,
            Ok(Some(due_ms)) => {
                let left_ms = due_ms.saturating_sub(broker.clock.now_ms()).max(0);
                let left = Duration::from_millis(left_ms.unsigned_abs());
                let reached = broker.clock.reached(due_ms);
                // If that takes much longer, the clock was set back meanwhile.
                let _ = tokio::time::timeout(left + CLOCK_SET, reached).await;
            }
            Err(error) => {
                waiting.note_failure(&error);
                tokio::time::sleep(FAILED_PAUSE).await;
            }
        }
    }
}

/// The messages of a level that are not delivered yet. They are due in the order in which they were stored.
struct Waiting {
    level: i32,
    delay_ms: i64,
    queue: Arc<Queue>,
    next: QueueOffset,
    clock_set: ClockSet,
    failing: bool,
}

/// The clock was set back, or the level was made shorter: what is stored before `until` is due so much earlier than its
/// entries say. (Apache delivers it at once, however early that is.)
#[derive(Clone, Copy, Default)]
struct ClockSet {
    back_ms: i64,
    until: QueueOffset,
}

/// Why a turn came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Put(#[from] PutError),
    #[error("the queue has no message at offset {0}")]
    Gap(i64),
}

impl Waiting {
    fn of(broker: &Broker, level: i32) -> Option<Waiting> {
        let index = usize::try_from(queue_of(level)).ok()?;
        let delay_ms = *broker.config.store.delay_levels_ms.get(index)?;
        let queue = broker
            .store
            .queue_or_create(topics::SCHEDULE, queue_of(level));
        Some(Waiting {
            level,
            delay_ms,
            queue: queue.ok()?,
            next: broker.delays.state.read().next(level),
            clock_set: ClockSet::default(),
            failing: false,
        })
    }

    /// When a message has to be delivered. One that is due within its delay by its entry is due then: the clock may have been
    /// set right since, and late, by no more than the delay once more, is better than early.
    fn due_ms(&self, entry: &QueueEntry, now_ms: i64) -> i64 {
        let is_ahead = entry.tags_code > now_ms.saturating_add(self.delay_ms);
        match is_ahead && entry.queue_offset < self.clock_set.until {
            true => entry.tags_code.saturating_sub(self.clock_set.back_ms),
            false => entry.tags_code,
        }
    }

    /// Delivers what is due, but not more than a batch; returns when the next message is due, if that is not yet.
    fn turn(&mut self, broker: &Broker) -> Result<Option<i64>, Failure> {
        let now_ms = broker.clock.now_ms();
        let mut dues_ms: Vec<i64> = Vec::new();
        let mut later = None;
        let read = broker
            .store
            .read(&self.queue, self.next, &LIMITS, |entry| {
                let due_ms = self.due_ms(entry, now_ms);
                if later.is_none() && due_ms > now_ms {
                    later = Some((entry.queue_offset, due_ms));
                }
                if later.is_none() {
                    dues_ms.push(due_ms);
                }
                later.is_none()
            })?;
        let next = later.map_or(read.next, |(offset, _)| offset);
        if read.status == ReadStatus::OffsetTooSmall {
            let (level, from, to) = (self.level, self.next.0, next.0);
            tracing::warn!(
                level,
                from,
                to,
                "delayed messages were deleted before they were due"
            );
        }
        let gone = dues_ms.len().saturating_sub(read.records.len());
        if !read.records.is_empty() {
            self.put(broker, &read)?;
            let now_ms = broker.clock.now_ms();
            for due_ms in dues_ms {
                broker.delay_lateness.note(now_ms.saturating_sub(due_ms));
            }
        }
        if next > self.next {
            if gone > 0 {
                let (level, from) = (self.level, self.next.0);
                tracing::warn!(level, from, gone, "delayed messages can't be read any more");
            }
            self.next = next;
            let mut delays = broker.delays.state.write();
            delays.advance(self.level, next, now_ms);
            drop(delays);
            broker.delay_bell.ring();
        } else if later.is_none() {
            return Err(Failure::Gap(self.next.0));
        }
        self.failing = false;
        Ok(later.map(|(_, due_ms)| self.within_delay(due_ms, now_ms)))
    }

    /// The next message waits no longer than its delay, whatever the clock says now. Those behind it that are there already
    /// go with it; it would be too early for those to come.
    fn within_delay(&mut self, due_ms: i64, now_ms: i64) -> i64 {
        let latest_ms = now_ms.saturating_add(self.delay_ms);
        if due_ms <= latest_ms {
            return due_ms;
        }
        let set = &mut self.clock_set;
        if set.until <= self.next {
            (set.back_ms, set.until) = (0, self.queue.max_visible());
        }
        set.back_ms = set.back_ms.saturating_add(due_ms.saturating_sub(latest_ms));
        latest_ms
    }

    /// Stores the messages where they were sent to. One that can't be is left out: it would hold up all behind it.
    fn put(&self, broker: &Broker, read: &Read) -> Result<(), Failure> {
        let mut batch = Batch::with_capacity(read.bytes);
        let mut wrong: Vec<String> = Vec::new();
        for bytes in read.records.iter() {
            let pushed = Record::decode(&bytes, false)
                .map_err(|error| error.to_string())
                .and_then(|decoded| push(broker, &mut batch, &decoded.record));
            wrong.extend(pushed.err());
        }
        if let Some(cause) = wrong.first() {
            let (level, count) = (self.level, wrong.len());
            tracing::error!(level, count, cause, "delayed messages can't be delivered");
        }
        if !batch.is_empty() {
            broker.append(&mut batch)?;
        }
        Ok(())
    }

    fn note_failure(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.failing, true) {
            let level = self.level;
            tracing::error!(level, %failure, "can't deliver delayed messages; will keep trying");
        }
    }
}

/// Adds the message as it was when it was sent. Its properties keep what they say of the delay, as Apache's do.
fn push(broker: &Broker, batch: &mut Batch, record: &Record<'_>) -> Result<(), String> {
    let mut message = Message::of(record);
    let topic = message.property(properties::REAL_TOPIC).map(str::to_owned);
    message.topic = topic.ok_or("it does not say for which topic it is")?;
    if topics::is_hidden(&message.topic) {
        return Err(format!(
            "it is for {}, which is the broker's",
            message.topic
        ));
    }
    let queue_id = message.property(properties::REAL_QID);
    let queue_id = queue_id.and_then(|id| id.parse::<i32>().ok());
    message.queue_id = queue_id.ok_or("it does not say for which queue it is")?;
    message.prepared_transaction_offset = 0;
    let (body, properties) = (message.body.len(), message.properties.len());
    let record_max = broker.config.record_bytes_max();
    checks::record(&message.topic, body, properties, record_max)
        .map_err(|error| error.to_string())?;
    let pushed = broker.push_as_is(batch, &message);
    pushed.map_err(|error| error.to_string())
}

const LIMITS: ReadLimits = ReadLimits {
    messages_max: limits::DELIVERED_MAX,
    bytes_max: limits::DELIVERED_BYTES_MAX,
    hot_window_bytes: i64::MAX,
    hot_bytes_max: limits::DELIVERED_BYTES_MAX,
    hot_messages_max: limits::DELIVERED_MAX,
    cold_bytes_max: limits::DELIVERED_BYTES_MAX,
    cold_messages_max: limits::DELIVERED_MAX,
    scan_bytes_max: 0,
    wait: Wait::ForDisk,
};
