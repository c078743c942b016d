//! One look for messages: which queues, from where on, and what is remembered of those taken.

use std::sync::Arc;

use protocol::bodies::TopicConfig;
use protocol::receipt::{ORDER_REVIVE_QUEUE, Retry};
use protocol::record::Outline;
use protocol::{LogOffset, QueueOffset};
use store::disk::Wait;
use store::{Batch, Queue, Read, ReadLimits, ReadStatus};

use super::busy::BusyGuard;
use super::checkpoints::{Key, Taken};
use super::log::CHECK_POINT;
use super::order::GroupQueue;
use super::{Claim, Look, Outcome, PopRequest, Popped};
use crate::broker::Broker;
use crate::filter::Filter;
use crate::refusal::Refusal;

/// A look that is under way. Queues that messages were found in stay ours until the check points are stored.
pub(super) struct Taking<'a> {
    broker: &'a Broker,
    request: &'a PopRequest,
    config: &'a TopicConfig,
    filter: &'a Filter,
    /// Whether reads may wait for the disk. If they may not and would have to, nothing is taken.
    wait: Wait,
    claims: Vec<Claim>,
    /// Where the group goes on in the queue of each claim.
    nexts: Vec<QueueOffset>,
    guards: Vec<BusyGuard<'a>>,
    taken: usize,
    rest: i64,
    revive_queue: i32,
    now_ms: i64,
}

/// Why a look took nothing.
pub(super) enum Stop {
    /// It would have to wait for the disk, and was not to.
    WouldWait,
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Refusal {
        match stop {
            Stop::WouldWait => Refusal::system("the disk has not given the messages"),
            Stop::Refused(refusal) => refusal,
        }
    }
}

impl<'a> Taking<'a> {
    pub(super) fn new(broker: &'a Broker, look: &'a Look, wait: Wait) -> Taking<'a> {
        let request = &look.request;
        Taking {
            broker,
            request,
            config: &look.config,
            filter: &look.filter,
            wait,
            claims: Vec::new(),
            nexts: Vec::new(),
            guards: Vec::new(),
            taken: 0,
            rest: 0,
            revive_queue: match request.order {
                true => ORDER_REVIVE_QUEUE,
                false => broker.pops.next_revive_queue(&broker.config.pop),
            },
            now_ms: broker.clock.now_ms(),
        }
    }

    /// Looks into the topic's queues and the retry topic's, mostly in this order, until there is enough.
    pub(super) fn run(mut self) -> Result<Popped, Stop> {
        let (now_ms, turn) = (self.now_ms, self.broker.next_turn());
        if !self.request.order && self.is_full() {
            return Ok(self.popped(Outcome::Full, now_ms, None));
        }
        // Every number below 100 once in 100 turns, but not one after the other.
        let number = turn.wrapping_mul(37) % 100;
        let retry_first = number < self.broker.config.pop.retry_first_percent;
        let retries = match self.request.order {
            true => Vec::new(),
            false => self
                .broker
                .retry_topics(&self.request.topic, &self.request.group),
        };
        if retry_first {
            self.look_into_retries(&retries, turn)?;
        }
        match self.request.queue_id {
            queue_id @ 0.. => self.look(&self.request.topic, Retry::No, queue_id)?,
            _ => {
                let topic = &self.request.topic;
                let queues = self.config.read_queue_nums;
                self.look_into(topic, Retry::No, queues, turn)?;
            }
        }
        if !retry_first && !self.is_enough() {
            self.look_into_retries(&retries, turn)?;
        }
        match self.claims.is_empty() {
            true => Ok(self.popped(Outcome::Timeout, now_ms, None)),
            false if self.request.order => Ok(self.settle_in_order()?),
            false => Ok(self.settle()?),
        }
    }

    fn is_full(&self) -> bool {
        let group = &self.request.group;
        let is_full = self.broker.pops.checkpoints.lock().is_full(group);
        if is_full && self.broker.said.is_news(("too many check points", group)) {
            tracing::warn!(
                group = &**group,
                "pops are refused: too many messages are not acknowledged"
            );
        }
        is_full
    }

    fn room(&self) -> usize {
        let wanted = usize::try_from(self.request.messages_max).unwrap_or(0);
        wanted.saturating_sub(self.taken)
    }

    fn is_enough(&self) -> bool {
        self.room() == 0
    }

    /// An answer can hold messages of one retry topic only: the infos tell queues apart by their number and whether it is
    /// a retry topic's. Where there are two, each has its turn.
    fn look_into_retries(
        &mut self,
        retries: &[(Arc<str>, Retry, i32)],
        turn: u32,
    ) -> Result<(), Stop> {
        let start = turn as usize / 2;
        for index in 0..retries.len() {
            let (topic, kind, queues) = &retries[(start + index) % retries.len()];
            let before = self.claims.len();
            self.look_into(topic, *kind, *queues, turn)?;
            if self.claims.len() > before {
                break;
            }
        }
        Ok(())
    }

    fn look_into(
        &mut self,
        topic: &Arc<str>,
        retry: Retry,
        queues: i32,
        turn: u32,
    ) -> Result<(), Stop> {
        let Ok(count @ 1..) = u32::try_from(queues) else {
            return Ok(());
        };
        for index in 0..count {
            let queue_id = (turn.wrapping_add(index) % count) as i32;
            self.look(topic, retry, queue_id)?;
        }
        Ok(())
    }

    fn look(&mut self, topic: &Arc<str>, retry: Retry, queue_id: i32) -> Result<(), Stop> {
        let (broker, request) = (self.broker, self.request);
        let Some(queue) = broker.store.queue(topic, queue_id) else {
            // It begins there, whatever the client prefers later.
            if broker.committed(&request.group, topic, queue_id).is_none() {
                broker.commit_offset(&request.group, topic, queue_id, QueueOffset(0));
            }
            return Ok(());
        };
        let pops = &broker.pops;
        let place = (&*request.group, &**topic, queue_id);
        let Some(guard) = pops.busy.try_take(&pops.waits, place, || wanted(request)) else {
            return Ok(());
        };
        let from = self.start(&queue, topic, retry)?;
        let key = || GroupQueue {
            topic: topic.clone(),
            group: request.group.clone(),
            queue_id,
        };
        if request.order {
            let attempt = request.attempt_id.as_deref();
            let orders = broker.pops.orders.state.read();
            if orders.is_blocked(&key(), attempt, request.invisible_ms, self.now_ms) {
                return Ok(());
            }
        }
        if self.is_enough() {
            self.rest += (queue.max_visible().0 - from.0).max(0);
            return Ok(());
        }
        let (from, read) = self.read(&queue, from)?;
        self.rest += (read.max.0 - read.next.0).max(0);
        if read.records.is_empty() {
            // Messages that nobody wants are passed; there is no offset behind the end of a queue.
            if read.status != ReadStatus::OffsetOverflowOne
                && self.committed(topic, queue_id) != Some(read.next)
            {
                broker.commit_offset(&request.group, topic, queue_id, read.next);
            }
            return Ok(());
        }
        let offsets = read.records.iter().map(|record| {
            let outline = Outline::decode(&record);
            outline.map(|outline| outline.queue_offset.0)
        });
        let offsets: Vec<i64> = offsets
            .collect::<Result<_, _>>()
            .map_err(|error| Refusal::system(format!("{topic} {queue_id}: {error}")))?;
        self.taken += offsets.len();
        self.claims.push(Claim {
            topic: topic.clone(),
            retry,
            queue_id,
            start: from.0,
            offsets,
            records: read.records.iter().collect(),
            counts: Vec::new(),
        });
        self.nexts.push(read.next);
        self.guards.push(guard);
        Ok(())
    }

    fn committed(&self, topic: &str, queue_id: i32) -> Option<QueueOffset> {
        self.broker.committed(&self.request.group, topic, queue_id)
    }

    /// Where the group goes on in a queue; one that comes for the first time begins somewhere.
    fn start(&self, queue: &Queue, topic: &str, retry: Retry) -> Result<QueueOffset, Refusal> {
        let (broker, group) = (self.broker, &self.request.group);
        if let Some(offset) = broker.take_reset(group, topic, queue.id()) {
            let key = GroupQueue {
                topic: topic.into(),
                group: group.clone(),
                queue_id: queue.id(),
            };
            broker.pops.orders.state.write().clear(&key);
            return Ok(offset);
        }
        if let Some(offset) = broker.committed(group, topic, queue.id()) {
            return Ok(offset);
        }
        let first = if !self.request.from_newest || retry != Retry::No {
            queue.min()
        } else if broker.config.pop.young_from_start && broker.starts_young(queue)? {
            QueueOffset(0)
        } else {
            // The newest message is taken too.
            QueueOffset((queue.max_visible().0 - 1).max(0))
        };
        broker.commit_offset(group, topic, queue.id(), first);
        Ok(first)
    }

    /// Reads from an offset on, or from where the queue's messages really are.
    fn read(&self, queue: &Queue, from: QueueOffset) -> Result<(QueueOffset, Read), Stop> {
        let limits = ReadLimits {
            messages_max: self.room(),
            wait: self.wait,
            ..self.broker.config.read_limits
        };
        let read = |from| {
            let read = self.broker.store.read_where(
                queue,
                from,
                &limits,
                |entry| self.filter.wants_entry(entry.tags_code),
                |record| self.filter.wants_record(record),
            );
            read.map_err(|error| {
                if error.would_wait() {
                    return Stop::WouldWait;
                }
                let (topic, queue_id) = (queue.topic(), queue.id());
                tracing::error!(topic, queue_id, from = from.0, %error, "can't read messages");
                Refusal::system(error.to_string()).into()
            })
        };
        let first = read(from)?;
        let elsewhere = matches!(
            first.status,
            ReadStatus::OffsetTooSmall
                | ReadStatus::OffsetOverflowBadly
                | ReadStatus::OffsetFoundNull
        );
        match elsewhere && first.next != from {
            true => Ok((first.next, read(first.next)?)),
            false => Ok((from, first)),
        }
    }

    /// Stores a check point for each queue; only then the group goes on behind the messages.
    fn settle(self) -> Result<Popped, Refusal> {
        let (broker, request) = (self.broker, self.request);
        let revive_queue = self.revive_queue;
        let (pop_ms, taken) = self.check_points();
        let mut batch = Batch::default();
        for taken in &taken {
            let record = taken.to_record(&broker.identity.broker);
            broker.push_revive(&mut batch, revive_queue, CHECK_POINT, &record)?;
        }
        let settling = broker.pops.settling.read();
        let appended = broker.append(&mut batch)?;
        for (claim, next) in self.claims.iter().zip(&self.nexts) {
            broker.commit_offset(&request.group, &claim.topic, claim.queue_id, *next);
        }
        drop(settling);
        let mut checkpoints = broker.pops.checkpoints.lock();
        let next_due = checkpoints.next_due();
        for (taken, (_, at)) in taken.into_iter().zip(&appended.entries) {
            let due_ms = taken.due_ms();
            checkpoints.add(taken, (revive_queue, at.0), due_ms);
        }
        let earlier = checkpoints.next_due() != next_due;
        drop(checkpoints);
        if earlier {
            broker.pops.bell.notify_one();
        }
        let popped = self.popped(Outcome::Found, pop_ms, Some(appended.end));
        wake_next(broker, request, &popped);
        Ok(popped)
    }

    /// The check points of the claims, and a pop time that makes them different from all others that are open.
    fn check_points(&self) -> (i64, Vec<Taken>) {
        let checkpoints = self.broker.pops.checkpoints.lock();
        let taken = |pop_ms| {
            let taken = |claim: &Claim| Taken {
                key: Key {
                    topic: claim.topic.clone(),
                    group: self.request.group.clone(),
                    queue_id: claim.queue_id,
                    start: claim.start,
                    pop_ms,
                },
                invisible_ms: self.request.invisible_ms,
                distances: claim
                    .offsets
                    .iter()
                    .map(|offset| (offset - claim.start) as i32)
                    .collect(),
                acked: 0,
            };
            self.claims.iter().map(taken).collect::<Vec<Taken>>()
        };
        let mut pop_ms = self.now_ms;
        loop {
            let new = taken(pop_ms);
            if new.iter().all(|taken| !checkpoints.contains(&taken.key)) {
                return (pop_ms, new);
            }
            pop_ms += 1;
        }
    }

    /// The queues are blocked until the messages are acknowledged; until then the group does not go on.
    fn settle_in_order(mut self) -> Result<Popped, Refusal> {
        let (broker, request) = (self.broker, self.request);
        for claim in &mut self.claims {
            let key = GroupQueue {
                topic: claim.topic.clone(),
                group: request.group.clone(),
                queue_id: claim.queue_id,
            };
            let mut orders = broker.pops.orders.state.write();
            claim.counts = orders.take(
                key,
                request.attempt_id.as_deref(),
                self.now_ms,
                request.invisible_ms,
                &claim.offsets,
            );
            drop(orders);
            // Where the queue's messages are may not be where the group thought.
            let start = QueueOffset(claim.start);
            broker.commit_offset(&request.group, &claim.topic, claim.queue_id, start);
        }
        broker.pops.bell.notify_one();
        let pop_ms = self.now_ms;
        let popped = self.popped(Outcome::Found, pop_ms, None);
        wake_next(broker, request, &popped);
        Ok(popped)
    }

    fn popped(self, outcome: Outcome, pop_ms: i64, end: Option<LogOffset>) -> Popped {
        Popped {
            outcome,
            pop_ms,
            invisible_ms: self.request.invisible_ms,
            revive_queue: self.revive_queue,
            rest: self.rest,
            claims: self.claims,
            end,
        }
    }
}

/// What is left is for the next one that waits.
fn wake_next(broker: &Broker, request: &PopRequest, popped: &Popped) {
    if popped.rest > 0 {
        broker.pops.waits.notify(&wanted(request));
    }
}

/// What this one waits for if it finds nothing.
fn wanted(request: &PopRequest) -> GroupQueue {
    GroupQueue {
        topic: request.topic.clone(),
        group: request.group.clone(),
        queue_id: request.queue_id.max(-1),
    }
}
