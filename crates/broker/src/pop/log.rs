//! The revive topic: its records as values, written and read.

use bytes::Bytes;
use protocol::bodies::{AckRecord, CheckPoint};
use protocol::fastjson;
use protocol::properties;
use protocol::record::Record;
use protocol::{QueueOffset, receipt};
use serde::Serialize;
use store::disk::Wait;
use store::{Batch, Queue, ReadError, ReadLimits};

use super::checkpoints::{At, Checkpoints, Key, Taken};
use crate::broker::Broker;
use crate::limits;
use crate::message::{Message, PutError};

/// The group whose offsets say how far the revive topic is needed no more.
pub(super) const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";

/// The "group" whose offsets say how far the saved offsets of all groups know of the check points: those behind it lift them
/// at a restart, and no others, or what an operator reset would be undone. Apache does not know it, and leaves it alone.
const KNOWN_GROUP: &str = "CID_RMQ_SYS_REVIVE_KNOWN";

/// Tag of a check point.
pub(super) const CHECK_POINT: &str = "ck";
/// Tag of one message's acknowledgement.
pub(super) const ACK: &str = "ack";
/// Tag of an acknowledgement of several.
pub(super) const BATCH_ACK: &str = "bAck";

/// How long after its time a check point that came by way of Apache's timer waits for acknowledgements, which come the
/// same way and up to two ticks later.
const FOREIGN_MS: i64 = 3_000;

/// Whether the revive topic is read at start: then groups go on behind the messages of the check points, which may have been
/// stored after the groups' offsets were saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    AtStart,
    Following,
}

/// A record of the revive topic.
enum Entry {
    CheckPoint {
        taken: Taken,
        foreign: bool,
    },
    Ack {
        key: Key,
        offsets: Vec<i64>,
    },
    /// Something else: it changes nothing.
    Other,
}

impl Broker {
    /// Adds a record of the revive topic to a batch. Unlike Apache, whose timer brings it there when its time has come,
    /// it is there at once. The time to deliver, from which Apache tells the time of the topic, is now.
    pub(super) fn push_revive(
        &self,
        batch: &mut Batch,
        revive_queue: i32,
        tag: &str,
        record: &impl Serialize,
    ) -> Result<(), PutError> {
        let now_ms = self.clock.now_ms();
        let mut text = Vec::with_capacity(64);
        properties::append(&mut text, properties::TAGS, tag);
        properties::append(&mut text, properties::TIMER_DELIVER_MS, &now_ms.to_string());
        let message = Message {
            topic: self.pops.revive_topic.clone(),
            queue_id: revive_queue,
            flag: 0,
            sys_flag: 0,
            born_timestamp: now_ms,
            born_host: self.identity.advertised.socket,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: Bytes::from(fastjson::to_vec(record)),
            properties: text,
        };
        self.push_as_is(batch, &message)
    }

    /// The record that acknowledges messages of a check point.
    pub(super) fn push_ack(
        &self,
        batch: &mut Batch,
        revive_queue: i32,
        key: &Key,
        offsets: &[i64],
    ) -> Result<(), PutError> {
        let (tag, ack_offset, ack_offsets) = match offsets {
            [one] => (ACK, *one, Vec::new()),
            several => (BATCH_ACK, -1, several.to_vec()),
        };
        let record = AckRecord {
            ack_offset,
            ack_offsets,
            broker_name: Some(self.identity.broker.clone()),
            group: key.group.to_string(),
            pop_time: key.pop_ms,
            queue_id: key.queue_id,
            start_offset: key.start,
            topic: key.topic.to_string(),
        };
        self.push_revive(batch, revive_queue, tag, &record)
    }

    /// Reads the revive topic from where it is needed: what was taken and not acknowledged before the last stop.
    pub(crate) fn restore_pops(&self) -> Result<(), ReadError> {
        // There were more once, maybe: what is in them has to come back as well.
        let queues = self.store.queues(&self.pops.revive_topic);
        let ids = queues.iter().map(|queue| queue.id());
        let last = ids.filter(|id| *id < limits::REVIVE_QUEUES_MAX).max();
        let queues = last.map_or(0, |last| last.saturating_add(1));
        let starts = (0..queues.max(self.config.pop.revive_queues)).map(|id| {
            let done = self.committed(REVIVE_GROUP, &self.pops.revive_topic, id);
            let queue = self.store.queue(&self.pops.revive_topic, id);
            let end = queue.as_ref().map_or(0, |queue| queue.max_visible().0);
            let min = queue.map_or(0, |queue| queue.min().0);
            done.map_or(min, |done| done.0 + 1).clamp(min, end)
        });
        let checkpoints = Checkpoints::new(starts);
        *self.pops.checkpoints.lock() = checkpoints;
        while self.follow(Reading::AtStart)? {}
        let open = self.pops.open();
        if open > 0 {
            tracing::info!(
                open,
                "messages that were popped before the last stop are not acknowledged"
            );
        }
        Ok(())
    }

    /// Takes over records of the revive topic that nobody here stored, a limited number of each queue; returns whether
    /// there are more.
    pub(super) fn follow(&self, reading: Reading) -> Result<bool, ReadError> {
        let mut more = false;
        let queues = self.pops.checkpoints.lock().queues();
        for revive_queue in 0..queues {
            if let Some(queue) = self.store.queue(&self.pops.revive_topic, revive_queue) {
                more |= self.follow_queue(&queue, reading)?;
            }
        }
        Ok(more)
    }

    fn follow_queue(&self, queue: &Queue, reading: Reading) -> Result<bool, ReadError> {
        let Some(from) = self.pops.checkpoints.lock().applied(queue.id()) else {
            return Ok(false);
        };
        if queue.max_visible().0 <= from {
            return Ok(false);
        }
        let read = self.store.read(queue, QueueOffset(from), &MANY, |_| true)?;
        for record in read.records.iter() {
            // It was checked when it was read.
            if let Ok(decoded) = Record::decode(&record, false) {
                self.take_over(&decoded.record, reading);
            }
        }
        // What can't be read is gone.
        let mut checkpoints = self.pops.checkpoints.lock();
        checkpoints.skip_to(queue.id(), read.next.0);
        Ok(queue.max_visible() > read.next && read.next.0 > from)
    }

    fn take_over(&self, record: &Record<'_>, reading: Reading) {
        let at: At = (record.queue_id, record.queue_offset.0);
        let entry = self.entry(record);
        if let (Reading::AtStart, Entry::CheckPoint { taken, .. }) = (reading, &entry) {
            let known = self.committed(KNOWN_GROUP, &self.pops.revive_topic, at.0);
            if known.is_none_or(|known| at.1 >= known.0) {
                self.go_on_behind(taken);
            }
        }
        let mut checkpoints = self.pops.checkpoints.lock();
        match entry {
            Entry::CheckPoint { taken, foreign } => {
                let wait_ms = if foreign { FOREIGN_MS } else { 0 };
                let due_ms = taken.due_ms().saturating_add(wait_ms);
                checkpoints.add(taken, at, due_ms);
            }
            Entry::Ack { key, offsets } => checkpoints.acked(&key, &offsets, at),
            Entry::Other => checkpoints.skip(at),
        }
    }

    /// A group goes on at least behind what it took.
    fn go_on_behind(&self, taken: &Taken) {
        let key = &taken.key;
        let Some(last) = taken.distances.last() else {
            return;
        };
        let next = QueueOffset(key.start.saturating_add(i64::from(*last)).saturating_add(1));
        let end = self.store.queue(&key.topic, key.queue_id);
        let committed = self.committed(&key.group, &key.topic, key.queue_id);
        if end.is_some_and(|queue| queue.max_visible() >= next)
            && committed.is_none_or(|committed| committed < next)
        {
            self.commit_offset(&key.group, &key.topic, key.queue_id, next);
        }
    }

    fn entry(&self, record: &Record<'_>) -> Entry {
        let read = || -> Option<Entry> {
            let own = |name: &str| name.is_empty() || name == self.identity.broker;
            match properties::find(record.properties, properties::TAGS)? {
                CHECK_POINT => {
                    let body: CheckPoint = fastjson::from_slice(record.body).ok()?;
                    let taken = own(&body.broker_name).then(|| Taken::of_record(&body))??;
                    let timer = properties::find(record.properties, properties::TIMER_OUT_MS);
                    let foreign = timer.is_some();
                    Some(Entry::CheckPoint { taken, foreign })
                }
                tag @ (ACK | BATCH_ACK) => {
                    let body: AckRecord = fastjson::from_slice(record.body).ok()?;
                    let offsets = match tag {
                        ACK => vec![body.ack_offset],
                        _ => body.ack_offsets,
                    };
                    let key = Key {
                        topic: body.topic.into(),
                        group: body.group.into(),
                        queue_id: body.queue_id,
                        start: body.start_offset,
                        pop_ms: body.pop_time,
                    };
                    let is_own = body.broker_name.is_none_or(|name| own(&name));
                    is_own.then_some(Entry::Ack { key, offsets })
                }
                _ => None,
            }
        };
        read().unwrap_or(Entry::Other)
    }

    /// Notes for consumerOffset.json from where the revive topic is needed, as Apache does: the offset of the last record
    /// that is not. And how far the offsets saved with it know of the topic.
    pub(crate) fn note_revive_offsets(&self) {
        // The records in the table may be those of a pop whose group did not go on yet.
        let settling = self.pops.settling.write();
        let places: Vec<_> = {
            let checkpoints = self.pops.checkpoints.lock();
            (0..checkpoints.queues())
                .map(|id| (id, checkpoints.needed_from(id), checkpoints.applied(id)))
                .collect()
        };
        drop(settling);
        for (revive_queue, needed, known) in places {
            let done = needed.filter(|needed| *needed > 0).map(|needed| needed - 1);
            for (group, offset) in [(REVIVE_GROUP, done), (KNOWN_GROUP, known)] {
                let topic = &self.pops.revive_topic;
                let offset = offset.map(QueueOffset);
                if let Some(offset) = offset
                    && self.committed(group, topic, revive_queue) != Some(offset)
                    && (offset.0 > 0 || group == REVIVE_GROUP)
                {
                    self.commit_offset(group, topic, revive_queue, offset);
                }
            }
        }
    }

    /// The topic that messages which are not acknowledged come back in.
    pub(super) fn retry_topic(&self, topic: &str, group: &str) -> String {
        if topic.starts_with(crate::topics::RETRY_PREFIX) {
            return topic.to_owned();
        }
        match self.config.pop.retry_topic_v2 {
            true => receipt::Retry::V2.topic(topic, group),
            false => receipt::Retry::V1.topic(topic, group),
        }
    }
}

/// Enough of the revive topic for one turn.
pub(super) const MANY: ReadLimits = ReadLimits {
    messages_max: 256,
    bytes_max: limits::REVIVE_BATCH_BYTES,
    hot_window_bytes: i64::MAX,
    hot_bytes_max: limits::REVIVE_BATCH_BYTES,
    hot_messages_max: 256,
    cold_bytes_max: limits::REVIVE_BATCH_BYTES,
    cold_messages_max: 256,
    scan_bytes_max: 16_000,
    wait: Wait::ForDisk,
};
