//! The reviver: one task that puts messages nobody acknowledged in time into their retry topic, and frees queues whose
//! ordered messages nobody acknowledged. It sleeps until the next of these is due.

use std::collections::HashSet;
use std::future::Future;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use protocol::QueueOffset;
use protocol::properties;
use protocol::receipt::normal_topic;
use protocol::record::Record;
use store::{Batch, ReadError};

use self::failures::{Failures, Task};
use super::checkpoints::Taken;
use super::log::{CHECK_POINT, MANY, Reading};
use super::waiting::any;
use crate::background::Stopped;
use crate::broker::Broker;
use crate::limits;
use crate::message::{Message, PutError};
use crate::topics::NotCreated;

mod failures;

/// What could not be revived is tried again after this.
const AGAIN_MS: i64 = 1_000;
/// The same if it is the messages' own fault, or their topic's: only a change of the configuration helps.
const LONG_AGAIN_MS: i64 = 60_000;
/// Records that this broker stores are noted by whoever stored them; what is still missing in the table after this is
/// somebody else's.
const SETTLED: Duration = Duration::from_millis(20);
/// An acknowledgement that is just being stored holds up its check point: looked at again after this.
const HELD_UP: Duration = Duration::from_millis(2);

/// Why messages did not come back.
#[derive(Debug, thiserror::Error)]
enum ReviveError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Put(#[from] PutError),
    #[error("the retry topic was not made: {0:?}")]
    Topic(NotCreated),
    #[error("the retry topic is not saved yet")]
    Unsaved,
}

impl ReviveError {
    /// Whether it will be the same each time.
    fn is_lasting(&self) -> bool {
        match self {
            ReviveError::Put(error) => error.is_about_one(),
            ReviveError::Topic(_) => true,
            ReviveError::Read(_) | ReviveError::Unsaved => false,
        }
    }
}

/// Runs until it is stopped.
pub(crate) async fn run(broker: Arc<Broker>, mut stopped: Stopped) {
    let mut failures = Failures::default();
    loop {
        let more = broker.revive_turn(&mut failures);
        if more {
            tokio::task::yield_now().await;
        }
        let sleep = broker.pause(more);
        tokio::select! {
            () = stopped.wait() => return,
            () = sleep => {}
        }
    }
}

impl Broker {
    /// Completes when the reviver may have something to do.
    fn pause(&self, more: bool) -> impl Future<Output = ()> + Send + use<'_> {
        let due = self.pops.checkpoints.lock().next_due();
        let release = self.pops.orders.state.read().next_release();
        let next = due.into_iter().chain(release).min();
        async move {
            if more {
                return;
            }
            let reached = async {
                match next {
                    // Due, but held up.
                    Some(at_ms) if at_ms <= self.clock.now_ms() => {
                        tokio::time::sleep(HELD_UP).await;
                    }
                    Some(at_ms) => self.clock.reached(at_ms).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = reached => {}
                () = self.pops.bell.notified() => {}
                () = self.unknown_records() => {}
            }
        }
    }

    /// Completes when the revive topic has records that are not in the table, though those who store records have had the
    /// time to note them.
    async fn unknown_records(&self) {
        loop {
            let followed = self.pops.checkpoints.lock().queues();
            let arrivals = (0..followed).filter_map(|id| {
                let topic = &self.pops.revive_topic;
                let queue = self.store.queue_or_create(topic, id).ok()?;
                let applied = self.pops.checkpoints.lock().applied(id)?;
                Some((queue, QueueOffset(applied)))
            });
            let queues: Vec<_> = arrivals.collect();
            any(queues
                .iter()
                .map(|(queue, at)| queue.arrival(*at))
                .collect())
            .await;
            tokio::time::sleep(SETTLED).await;
            let unknown = queues.iter().any(|(queue, _)| {
                let applied = self.pops.checkpoints.lock().applied(queue.id());
                applied.is_some_and(|applied| queue.max_visible().0 > applied)
            });
            if unknown {
                return;
            }
        }
    }

    /// Does what is due, as much as one turn may take; returns whether there is more.
    fn revive_turn(&self, failures: &mut Failures) -> bool {
        let followed = self.follow(Reading::Following).map_err(ReviveError::from);
        let now_ms = self.clock.now_ms();
        failures.note(Task::Follow, followed.as_ref().map(|_| ()), now_ms);
        let mut more = followed.unwrap_or(false);
        let released = self.pops.orders.state.write().take_released(now_ms);
        for key in released {
            self.pops.waits.notify(&key);
        }
        let due = {
            let mut checkpoints = self.pops.checkpoints.lock();
            checkpoints.take_due(now_ms, limits::REVIVE_CHECKPOINTS)
        };
        let is_many = due.len() == limits::REVIVE_CHECKPOINTS;
        for taken in due {
            let revived = self.revive(&taken);
            more |= is_many && revived.is_ok();
            let now_ms = self.clock.now_ms();
            let retry = match &revived {
                Ok(()) => {
                    self.pops.lateness.note(now_ms - taken.due_ms());
                    failures.note(Task::Revive, Ok(()), now_ms);
                    None
                }
                // Others need not wait for that; whoever can't save it says so.
                Err(ReviveError::Unsaved) => Some(now_ms),
                Err(error) if error.is_lasting() => {
                    self.report_stuck(&taken, error);
                    Some(now_ms + LONG_AGAIN_MS)
                }
                Err(error) => {
                    failures.note(Task::Revive, Err(error), now_ms);
                    Some(now_ms + AGAIN_MS)
                }
            };
            self.pops.checkpoints.lock().postpone(&taken.key, retry);
        }
        more | self.put_old_again(failures)
    }

    /// Puts the messages of a check point that are not acknowledged into the retry topic.
    fn revive(&self, taken: &Taken) -> Result<(), ReviveError> {
        let key = &taken.key;
        let group_is_there = self.groups.state.read().find(&key.group).is_some();
        if self.topic(normal_topic(&key.topic, &key.group)).is_none() || !group_is_there {
            return Ok(());
        }
        let retry_topic = self.retry_topic(&key.topic, &key.group);
        if self.topic(&retry_topic).is_some() {
            self.is_saved(&retry_topic)?;
        }
        let open: Vec<i64> = taken.open_offsets().collect();
        let (mut done, mut stuck) = (HashSet::new(), Ok(()));
        // At most one round for each message, since each stores at least one.
        for _ in 0..open.len() {
            let wanted: HashSet<i64> = open
                .iter()
                .copied()
                .filter(|offset| !done.contains(offset))
                .collect();
            let messages = self.messages(taken, &wanted, &retry_topic)?;
            let Some((offsets, messages)) = messages else {
                // What is left is gone from the log.
                break;
            };
            self.have_retry_topic(&retry_topic, &key.topic, &key.group)?;
            match self.put_revived(taken, &offsets, &messages) {
                // The others do not wait for the one at fault.
                Err(error) if error.is_about_one() && offsets.len() > 1 => {
                    for (offset, message) in offsets.iter().zip(&messages) {
                        let (offset, message) = (slice::from_ref(offset), slice::from_ref(message));
                        match self.put_revived(taken, offset, message) {
                            Err(error) if error.is_about_one() => stuck = Err(error),
                            put => put?,
                        }
                    }
                }
                Err(error) if error.is_about_one() => stuck = Err(error),
                put => put?,
            }
            done.extend(offsets);
        }
        Ok(stuck?)
    }

    /// Messages that can't come back as things are.
    fn report_stuck(&self, taken: &Taken, error: &ReviveError) {
        let key = &taken.key;
        let cause = ("revive", &key.topic, &key.group, error.to_string());
        if self.said.is_news(cause) {
            let (topic, group, queue_id, start) =
                (&*key.topic, &*key.group, key.queue_id, key.start);
            tracing::error!(topic, group, queue_id, start, %error, "popped messages can't come back; will try again each minute");
        }
    }

    /// Some of the wanted messages, as the retry topic gets them; `None` if there are none.
    #[expect(clippy::type_complexity, reason = "offsets and messages, side by side")]
    fn messages(
        &self,
        taken: &Taken,
        wanted: &HashSet<i64>,
        retry_topic: &str,
    ) -> Result<Option<(Vec<i64>, Vec<Message>)>, ReadError> {
        let key = &taken.key;
        let (Some(first), Some(last)) = (wanted.iter().min(), wanted.iter().max()) else {
            return Ok(None);
        };
        let Some(queue) = self.store.queue(&key.topic, key.queue_id) else {
            return Ok(None);
        };
        let mut from = QueueOffset(*first);
        while from.0 <= *last {
            let is_wanted = |entry: &store::QueueEntry| wanted.contains(&entry.queue_offset.0);
            let read = self.store.read(&queue, from, &MANY, is_wanted)?;
            let mut found = (Vec::new(), Vec::new());
            for record in read.records.iter() {
                let Ok(decoded) = Record::decode(&record, false) else {
                    continue;
                };
                found.0.push(decoded.record.queue_offset.0);
                found
                    .1
                    .push(self.retried(&decoded.record, taken, retry_topic));
            }
            if !found.0.is_empty() {
                return Ok(Some(found));
            }
            if read.next <= from {
                break;
            }
            from = read.next;
        }
        Ok(None)
    }

    /// A message as it comes back.
    fn retried(&self, record: &Record<'_>, taken: &Taken, retry_topic: &str) -> Message {
        let mut message = Message::of(record);
        retry_topic.clone_into(&mut message.topic);
        message.queue_id = 0;
        message.born_host = self.identity.advertised.socket;
        message.prepared_transaction_offset = 0;
        message.reconsume_times = record.reconsume_times.saturating_add(1);
        let is_first =
            record.reconsume_times == 0 || message.property(properties::FIRST_POP_TIME).is_none();
        if is_first {
            let before = message.properties.clone();
            message.set(properties::FIRST_POP_TIME, &taken.key.pop_ms.to_string());
            // The producer may have left no room.
            if message.properties.len() > limits::PROPERTIES_BYTES_MAX {
                message.properties = before;
            }
        }
        message
    }

    /// One append: the messages, and behind them that they are acknowledged where they were.
    fn put_revived(
        &self,
        taken: &Taken,
        offsets: &[i64],
        messages: &[Message],
    ) -> Result<(), PutError> {
        let revive_queue = {
            let checkpoints = self.pops.checkpoints.lock();
            checkpoints.revive_queue(&taken.key).unwrap_or(0)
        };
        let mut batch = Batch::default();
        for message in messages {
            self.push_as_is(&mut batch, message)?;
        }
        self.push_ack(&mut batch, revive_queue, &taken.key, offsets)?;
        let appended = self.append(&mut batch)?;
        if let Some((_, at)) = appended.entries.last() {
            let mut checkpoints = self.pops.checkpoints.lock();
            checkpoints.acked(&taken.key, offsets, (revive_queue, at.0));
        }
        Ok(())
    }

    /// The retry topic is there, and will be after a crash, or its messages would never be popped.
    fn have_retry_topic(
        &self,
        retry_topic: &str,
        topic: &str,
        group: &str,
    ) -> Result<(), ReviveError> {
        if self.topic(retry_topic).is_none() {
            let made = self.own_topic(retry_topic, 1, false, 0);
            made.map_err(ReviveError::Topic)?;
            if self.committed(group, retry_topic, 0).is_none() {
                self.commit_offset(group, retry_topic, 0, QueueOffset(0));
            }
            self.pops.waits.refresh(normal_topic(topic, group), group);
        }
        self.is_saved(retry_topic)
    }

    fn is_saved(&self, topic: &str) -> Result<(), ReviveError> {
        let since = {
            let topics = self.topics.state.read();
            topics.find_since(topic).map_or(0, |(_, since)| since)
        };
        match self.topics.file.is_saved(since) {
            true => Ok(()),
            false => Err(ReviveError::Unsaved),
        }
    }

    /// Check points that stay open for long are put again at the end of their queue, so that a restart has less to read.
    fn put_old_again(&self, failures: &mut Failures) -> bool {
        let mut more = false;
        let followed = self.pops.checkpoints.lock().queues();
        for revive_queue in 0..followed {
            let again = self.put_again(revive_queue).map_err(ReviveError::from);
            let now_ms = self.clock.now_ms();
            failures.note(
                Task::PutAgain(revive_queue),
                again.as_ref().map(|_| ()),
                now_ms,
            );
            more |= again.unwrap_or(false);
        }
        more
    }

    /// Nobody can acknowledge anything meanwhile, so that no acknowledgement is before the record and not in it.
    fn put_again(&self, revive_queue: i32) -> Result<bool, PutError> {
        let mut checkpoints = self.pops.checkpoints.lock();
        let end = checkpoints.applied(revive_queue).unwrap_or(0);
        let before = end - limits::REVIVE_RECORDS;
        let old = checkpoints.open_before(revive_queue, before, limits::REVIVE_CHECKPOINTS);
        if old.is_empty() {
            return Ok(false);
        }
        let mut batch = Batch::default();
        for taken in &old {
            let record = taken.to_record(&self.identity.broker);
            self.push_revive(&mut batch, revive_queue, CHECK_POINT, &record)?;
        }
        let appended = self.append(&mut batch)?;
        for (taken, (_, at)) in old.into_iter().zip(appended.entries) {
            let due_ms = taken.due_ms();
            checkpoints.add(taken, (revive_queue, at.0), due_ms);
        }
        Ok(true)
    }
}

#[cfg(test)]
impl Broker {
    /// Completes when nothing is due, and what came back can be popped.
    pub(crate) async fn revived(&self) {
        loop {
            let now_ms = self.clock.now_ms();
            let due = {
                let checkpoints = self.pops.checkpoints.lock();
                checkpoints
                    .next_due()
                    .is_some_and(|due_ms| due_ms <= now_ms)
                    || checkpoints.is_reviving()
            };
            if !due {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // With sync flush what came back is not seen before it is durable.
        if self.config.store.sync_flush {
            let end = self.store.log_end();
            assert!(self.store.durable().reached(end.0).await.is_ok());
        }
    }
}
