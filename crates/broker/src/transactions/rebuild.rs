//! The open half messages after a start: what the two queues say, and the log of what they did not come to say.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use protocol::properties;
use protocol::record::{Record, sys_flag};
use protocol::{LogOffset, QueueOffset};
use store::{Queue, ReadError, ReadLimits, Records};

use super::GROUP;
use super::aside::Aside;
use super::half::Facts;
use super::ops::{Ended, Written};
use super::owner::{Owner, READ_LIMITS, What, named};
use super::table::Table;
use crate::message::PutError;
use crate::topics;

/// A committed message may be in the log without its op message: a power cut may come between the two, and Apache writes the
/// one seconds after the other. So the last part of the log is searched for them.
const LOOK_BACK_BYTES: i64 = 64 << 20;

/// Why the state is not known yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum RebuildError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Put(#[from] PutError),
}

impl Owner {
    pub(super) async fn rebuild_until_it_works(&mut self) {
        let mut failed = false;
        while let Err(error) = self.rebuild().await {
            if !failed {
                tracing::error!(%error, "can't read the state of transactions; will keep trying");
            }
            failed = true;
            let later_ms = self.broker.clock.now_ms() + 1_000;
            self.broker.clock.reached(later_ms).await;
        }
    }

    pub(super) async fn rebuild(&mut self) -> Result<(), RebuildError> {
        let from = self.start_of(&self.halves);
        let to = self.halves.max_visible();
        self.table = Table::from(from.0);
        self.committed = (from.0, self.start_of(&self.ops).0);
        let ended = self.read_ops(from, to).await?;
        self.read_halves(to, &ended).await?;
        let delivered = self.delivered().await?;
        for batch in delivered.chunks(1_024) {
            self.put(Vec::new(), batch)?;
            for at in batch {
                self.table.end(*at);
            }
        }
        for (at, _) in self.table.iter() {
            self.count(at, 1);
        }
        let open = self.table.len();
        tracing::debug!(
            from = from.0,
            open,
            delivered = delivered.len(),
            "transactions are ready"
        );
        Ok(())
    }

    /// Where a queue has to be read from: as committed, if it still reaches back to there.
    fn start_of(&self, queue: &Queue) -> QueueOffset {
        let offsets = self.broker.offsets.state.read();
        let committed = offsets.committed(GROUP, queue.topic(), queue.id());
        let (min, max) = (queue.min(), queue.max_visible());
        committed.map_or(min, |committed| committed.clamp(min, max.max(min)))
    }

    /// Which half messages have ended.
    async fn read_ops(&mut self, from: QueueOffset, to: QueueOffset) -> Result<Ended, ReadError> {
        let mut ended = Ended::none(from.0, to.0);
        let start = self.start_of(&self.ops);
        self.written = Written::from(start.0);
        let mut next = start;
        let ops = self.ops.clone();
        while let Some(records) = self.some(&ops, &mut next).await? {
            for record in records.iter() {
                let Some((at, offsets)) = named(&record) else {
                    continue;
                };
                offsets.iter().for_each(|offset| ended.add(*offset));
                let highest = offsets.iter().copied().max();
                self.written.push(at, highest.unwrap_or(i64::MIN));
            }
        }
        Ok(ended)
    }

    async fn read_halves(&mut self, to: QueueOffset, ended: &Ended) -> Result<(), ReadError> {
        let not_before_ms = self.broker.clock.now_ms() + self.rules.interval_ms;
        let hasher = RandomState::new();
        let mut kin = HashMap::new();
        let mut next = QueueOffset(self.table.next());
        let halves = self.halves.clone();
        while next < to
            && let Some(records) = self.some(&halves, &mut next).await?
        {
            for bytes in records.iter() {
                let Ok(decoded) = Record::decode(&bytes, false) else {
                    continue;
                };
                let record = decoded.record;
                let at = record.queue_offset.0;
                if at >= to.0 || ended.contains(at) {
                    continue;
                }
                let facts = Facts::of(record.properties);
                // Apache's copies don't say of what.
                let key = hasher.hash_one((facts.unique_key, record.born_timestamp));
                let before = kin.insert(key, at).filter(|_| facts.checks.is_some());
                let before = before.and_then(|at| Some(self.table.get(at)?.origin));
                let origin = facts.origin.or(before);
                self.enter(&record, &facts, origin);
                // Producers have to find the broker again first.
                if self
                    .table
                    .get(at)
                    .is_some_and(|half| half.due_ms < not_before_ms)
                {
                    self.table.postpone(at, not_before_ms);
                }
            }
        }
        self.table.set_next(to.0);
        Ok(())
    }

    /// Some records of a queue; `None` at its end.
    async fn some(
        &self,
        queue: &Queue,
        next: &mut QueueOffset,
    ) -> Result<Option<Records>, ReadError> {
        tokio::task::yield_now().await;
        let read = self
            .broker
            .store
            .read(queue, *next, &READ_LIMITS, |_| true)?;
        if read.next <= *next {
            return Ok(None);
        }
        *next = read.next;
        Ok(Some(read.records))
    }

    /// Open half messages whose committed message is in the log already. What was put aside and delivered later, or resumed,
    /// is not aside any more.
    async fn delivered(&mut self) -> Result<Vec<i64>, ReadError> {
        let from = LogOffset(self.broker.store.log_end().0 - LOOK_BACK_BYTES);
        let open = self.table.iter();
        let mut halves: HashMap<i64, What> = open
            .map(|(at, half)| (half.log_offset, What::Open(at)))
            .collect();
        let real = self.table.iter().map(|(_, half)| half.topic.to_string());
        let mut topics: HashSet<String> = real.collect();
        self.read_aside(from, &mut halves, &mut topics).await?;
        if halves.is_empty() {
            return Ok(Vec::new());
        }
        topics.extend([topics::SCHEDULE, topics::TIMER, topics::HALF].map(str::to_owned));
        let mut found = Vec::new();
        for topic in topics {
            for queue in self.broker.store.queues(&topic) {
                let mut next = self.first_after(&queue, from)?;
                while let Some(records) = self.some(&queue, &mut next).await? {
                    for bytes in records.iter() {
                        let Ok(decoded) = Record::decode(&bytes, false) else {
                            continue;
                        };
                        let record = decoded.record;
                        let log_offset = record.prepared_transaction_offset;
                        let Some(what) = halves.get(&log_offset) else {
                            continue;
                        };
                        if !self.is_made_of(&record, *what, LogOffset(log_offset))? {
                            continue;
                        }
                        match what {
                            What::Open(at) => found.push(*at),
                            What::Aside(origin, _) => {
                                self.broker.transactions.aside.lock().take(*origin);
                            }
                        }
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// What was put aside from there in the log on, by the log offset of the half message, and the topics it is for.
    async fn read_aside(
        &mut self,
        from: LogOffset,
        halves: &mut HashMap<i64, What>,
        topics: &mut HashSet<String>,
    ) -> Result<(), ReadError> {
        let mut aside = Aside::default();
        if let Some(queue) = self.broker.store.queue(topics::CHECKED_TOO_OFTEN, 0) {
            let mut next = self.first_after(&queue, from)?;
            if next > queue.min() {
                aside.forget_some();
            }
            while let Some(records) = self.some(&queue, &mut next).await? {
                for bytes in records.iter() {
                    let Ok(decoded) = Record::decode(&bytes, false) else {
                        continue;
                    };
                    let record = decoded.record;
                    let facts = Facts::of(record.properties);
                    // Apache's don't say of what they were made.
                    let (Some(origin), Some(topic)) = (facts.origin, facts.topic) else {
                        aside.forget_some();
                        continue;
                    };
                    aside.insert(origin, record.log_offset);
                    let what = What::Aside(origin, record.log_offset);
                    halves.insert(record.prepared_transaction_offset, what);
                    topics.insert(topic.to_owned());
                }
            }
        }
        *self.broker.transactions.aside.lock() = aside;
        Ok(())
    }

    /// Whether a record is the committed message of the half message there, or what was put aside is a half message again
    /// with it. Ordinary messages name a half message too: that at 0.
    fn is_made_of(
        &self,
        record: &Record<'_>,
        what: What,
        log_offset: LogOffset,
    ) -> Result<bool, ReadError> {
        let committed = record.sys_flag & sys_flag::TRANSACTION == sys_flag::TRANSACTION_COMMIT;
        let resumed = record.topic == topics::HALF
            && matches!(what, What::Aside(_, place) if record.log_offset > place);
        if !committed && !resumed {
            return Ok(false);
        }
        let half = self.broker.store.record_at(log_offset)?;
        let half = half.as_ref().map(|bytes| Record::decode(bytes, false));
        let Some(Ok(half)) = half else {
            return Ok(false);
        };
        let key = |text| properties::find(text, properties::UNIQ_KEY);
        Ok(key(record.properties) == key(half.record.properties))
    }

    /// The first message of a queue whose record is at that place in the log or after it, or one before it.
    fn first_after(&self, queue: &Queue, from: LogOffset) -> Result<QueueOffset, ReadError> {
        const STEP: i64 = 1_024;
        let one = ReadLimits {
            messages_max: 1,
            scan_bytes_max: 0,
            ..READ_LIMITS
        };
        let (min, mut at) = (queue.min(), queue.max_visible());
        while at > min {
            at = QueueOffset((at.0 - STEP).max(min.0));
            let mut before = false;
            self.broker.store.read(queue, at, &one, |entry| {
                before = entry.log_offset < from;
                false
            })?;
            if before {
                break;
            }
        }
        Ok(at)
    }
}
