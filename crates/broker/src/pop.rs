//! Consumption by pop: the broker hands out messages of shared queues, remembers who has which, and offers again what is
//! not acknowledged within its invisible time.
//!
//! The revive topic is the state: each pop appends a check point per queue, each acknowledgement names one, and what came
//! back is acknowledged by the same append that stores it in the retry topic. [`checkpoints::Checkpoints`] is the topic
//! folded; a restart folds it again from the oldest record that is needed.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use protocol::bodies::{SubscriptionGroup, TopicConfig};
use protocol::codes::response;
use protocol::receipt::Retry;
use protocol::{LogOffset, QueueOffset};
use remoting::clock::Clock;
use store::Queue;
use store::disk::Wait;
use tokio::sync::Notify;

use crate::broker::{Broker, Saved};
use crate::config::PopConfig;
use crate::filter::{self, Filter};
use crate::lateness::Lateness;
use crate::limits;
use crate::refusal::{Refusal, SEE};
use crate::topics::{perm, revive_topic};

use self::busy::Busy;
use self::checkpoints::Checkpoints;
use self::order::{GroupQueue, Orders};
use self::take::{Stop, Taking};
use self::waiting::{Kind, Ticket, Waits};

mod ack;
mod busy;
mod checkpoints;
mod log;
pub(crate) mod order;
pub(crate) mod revive;
mod take;
mod waiting;

#[cfg(test)]
mod tests;

pub(crate) use ack::{Acked, Change};

/// What is known of pops.
pub(crate) struct Pops {
    revive_topic: String,
    checkpoints: Mutex<Checkpoints>,
    /// Held by pops from before their check points are stored until their groups went on; by whoever wants to know
    /// that no pop is in between.
    settling: RwLock<()>,
    pub(crate) orders: Saved<Orders>,
    busy: Busy,
    waits: Waits,
    /// Check points go to each queue of the revive topic in turn.
    turn: AtomicU32,
    /// When this broker started, ms since the epoch.
    started_ms: i64,
    /// Rung when the reviver has something to do earlier than it knew.
    bell: Notify,
    pub(crate) lateness: Lateness,
}

impl Pops {
    pub(crate) fn new(cluster: &str, orders: Saved<Orders>, started_ms: i64) -> Pops {
        Pops {
            revive_topic: revive_topic(cluster),
            checkpoints: Mutex::new(Checkpoints::new([])),
            settling: RwLock::default(),
            orders,
            busy: Busy::default(),
            waits: Waits::default(),
            turn: AtomicU32::new(0),
            started_ms,
            bell: Notify::new(),
            lateness: Lateness::default(),
        }
    }

    fn next_revive_queue(&self, config: &PopConfig) -> i32 {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (turn % config.revive_queues.unsigned_abs()) as i32
    }

    /// Check points with messages that are not acknowledged.
    pub(crate) fn open(&self) -> usize {
        self.checkpoints.lock().len()
    }

    /// Pops and notifications that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waits.count()
    }
}

/// A consumer that wants messages.
#[derive(Clone, Debug)]
pub(crate) struct PopRequest {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    /// Negative for all queues.
    pub(crate) queue_id: i32,
    pub(crate) messages_max: i32,
    pub(crate) invisible_ms: i64,
    /// How long it would wait.
    pub(crate) poll_ms: i64,
    /// Since when, ms since the epoch.
    pub(crate) born_ms: i64,
    /// A group without an offset begins at the newest message.
    pub(crate) from_newest: bool,
    pub(crate) expression_type: String,
    pub(crate) expression: String,
    pub(crate) order: bool,
    pub(crate) attempt_id: Option<String>,
    /// Who asks, for remarks.
    pub(crate) consumer: String,
}

/// What a look needs to know.
struct Look {
    request: PopRequest,
    config: Arc<TopicConfig>,
    filter: Filter,
}

/// Messages taken from one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The topic they are in: the one asked for or a retry topic.
    pub(crate) topic: Arc<str>,
    pub(crate) retry: Retry,
    pub(crate) queue_id: i32,
    /// Start offset of the check point.
    pub(crate) start: i64,
    pub(crate) offsets: Vec<i64>,
    pub(crate) records: Vec<Bytes>,
    /// In order: how often each was taken before.
    pub(crate) counts: Vec<i32>,
}

/// How a pop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Found,
    /// Nothing came while it waited.
    Timeout,
    /// Nothing there, and too many wait already; or too many messages are not acknowledged.
    Full,
}

/// What a consumer gets.
#[derive(Clone, Debug)]
pub(crate) struct Popped {
    pub(crate) outcome: Outcome,
    pub(crate) pop_ms: i64,
    pub(crate) invisible_ms: i64,
    pub(crate) revive_queue: i32,
    /// Messages left.
    pub(crate) rest: i64,
    pub(crate) claims: Vec<Claim>,
    /// What has to be durable before the consumer may know of it.
    end: Option<LogOffset>,
}

/// A consumer that wants to know whether there are messages.
#[derive(Clone, Debug)]
pub(crate) struct NotificationRequest {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
    pub(crate) poll_ms: i64,
    pub(crate) born_ms: i64,
    pub(crate) order: bool,
    pub(crate) attempt_id: Option<String>,
    pub(crate) consumer: String,
}

/// Whether there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) has_message: bool,
    pub(crate) full: bool,
}

/// A client that asks for something whose wait is over this long ago is not served (Apache's `isTimeoutTooMuch`).
const TOO_LATE_MS: i64 = 500;
/// A wait ends this early, so that its answer is in time.
const ANSWER_MS: i64 = 50;

/// When a wait ends, if the client agreed to one.
fn deadline(clock: &Clock, born_ms: i64, poll_ms: i64) -> Option<i64> {
    let now_ms = clock.now_ms();
    let latest = now_ms.saturating_add(limits::HOLD_MS_MAX);
    let end = born_ms.saturating_add(poll_ms).saturating_sub(ANSWER_MS);
    (poll_ms > 0 && now_ms <= end).then_some(end.min(latest))
}

impl Broker {
    /// Takes messages for a consumer; waits for some as long as it agreed to.
    pub(crate) async fn pop(self: Arc<Self>, request: PopRequest) -> Result<Popped, Refusal> {
        let config = self.check_pop(&request)?;
        self.have_group(&request).await?;
        let filter = match request.expression.is_empty() {
            true => Filter::all(),
            false => filter::of_request(
                &self.compiled,
                &request.expression_type,
                &request.expression,
            )?,
        };
        let look = Arc::new(Look {
            request,
            config,
            filter,
        });
        let request = &look.request;
        let mut popped = self.take(&look).await?;
        if popped.outcome == Outcome::Timeout
            && let Some(end_ms) = deadline(&self.clock, request.born_ms, request.poll_ms)
        {
            let key = GroupQueue {
                topic: request.topic.clone(),
                group: request.group.clone(),
                queue_id: request.queue_id.max(-1),
            };
            match Waits::enter(&self, key, Kind::Pop) {
                Some(ticket) => {
                    let (broker, look) = (&self, &look);
                    let take = || broker.take(look);
                    let found = |popped: &Popped| !popped.claims.is_empty();
                    popped = self.wait(&ticket, end_ms, take, found).await?;
                }
                None => popped.outcome = Outcome::Full,
            }
        }
        if let Some(end) = popped.end.filter(|_| self.config.store.sync_flush) {
            let durable = self.store.durable().reached(end.0).await;
            durable.map_err(|sealed| {
                Refusal::new(response::SERVICE_NOT_AVAILABLE, sealed.to_string())
            })?;
        }
        Ok(popped)
    }

    /// The group will be there after a crash: a check point of a group that is not there brings nothing back. Waits for it to
    /// be saved as long as a request of this age is served.
    async fn have_group(&self, request: &PopRequest) -> Result<(), Refusal> {
        let (groups, group) = (&self.groups, &request.group);
        let since = groups.state.read().since(group);
        if groups.file.is_saved(since) {
            return Ok(());
        }
        let poll_ms = request.poll_ms.saturating_add(TOO_LATE_MS);
        let latest = self.clock.now_ms().saturating_add(limits::HOLD_MS_MAX);
        let end_ms = request.born_ms.saturating_add(poll_ms).min(latest);
        let saved = tokio::select! {
            saved = groups.file.saved(since) => saved,
            () = self.over(end_ms) => false,
        };
        match saved {
            true => Ok(()),
            false => {
                let remark = format!("subscription group [{group}] is not saved yet");
                Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark))
            }
        }
    }

    /// Completes at that time, or when nobody shall wait any longer.
    async fn over(&self, end_ms: i64) {
        tokio::select! {
            () = self.clock.reached(end_ms) => {}
            () = self.holds.stopped() => {}
        }
    }

    /// Tells a consumer whether there are messages; waits for one as long as it agreed to.
    pub(crate) async fn notification(
        self: Arc<Self>,
        request: NotificationRequest,
    ) -> Result<Notice, Refusal> {
        let config = self.check_consumer(
            &request.group,
            &request.topic,
            request.queue_id,
            &request.consumer,
            "peeking",
        )?;
        check_attempt(request.attempt_id.as_deref())?;
        let look = || {
            let has_message = self.has_message(&request, &config);
            ready(Ok(Notice {
                has_message,
                full: false,
            }))
        };
        let mut notice = look().await?;
        if !notice.has_message
            && let Some(end_ms) = deadline(&self.clock, request.born_ms, request.poll_ms)
        {
            let key = GroupQueue {
                topic: request.topic.clone(),
                group: request.group.clone(),
                queue_id: request.queue_id.max(-1),
            };
            match Waits::enter(&self, key, Kind::Notification) {
                Some(ticket) => {
                    let found = |notice: &Notice| notice.has_message;
                    notice = self.wait(&ticket, end_ms, look, found).await?;
                }
                None => notice.full = true,
            }
        }
        Ok(notice)
    }

    /// Looks until something is found, whenever there may be something, or it is too late.
    async fn wait<T, F: Future<Output = Result<T, Refusal>>>(
        &self,
        ticket: &Ticket,
        end_ms: i64,
        look: impl Fn() -> F,
        found: impl Fn(&T) -> bool,
    ) -> Result<T, Refusal> {
        let mut over = pin!(self.over(end_ms));
        loop {
            let mut notified = pin!(ticket.notified());
            notified.as_mut().enable();
            let seen = look().await?;
            if found(&seen) {
                return Ok(seen);
            }
            tokio::select! {
                () = notified => {}
                () = &mut over => return look().await,
            }
        }
    }

    /// Apache's checks, in its order; the topic's configuration.
    fn check_pop(&self, request: &PopRequest) -> Result<Arc<TopicConfig>, Refusal> {
        let host = self.identity.host();
        let waited_ms = self.clock.now_ms().saturating_sub(request.born_ms);
        if waited_ms.saturating_sub(request.poll_ms) > TOO_LATE_MS {
            let remark = format!("the broker[{host}] pop message is timeout too much");
            return Err(Refusal::new(response::POLLING_TIMEOUT, remark));
        }
        if self.config.broker_permission & perm::READ == 0 {
            let remark = format!("the broker[{host}] pop message is forbidden");
            return Err(Refusal::new(response::NO_PERMISSION, remark));
        }
        let invalid = |remark| Err(Refusal::new(response::INVALID_PARAMETER, remark));
        if request.messages_max > limits::POP_MAX {
            return invalid(format!(
                "the broker[{host}] pop message's num is greater than 32"
            ));
        }
        if request.invisible_ms > limits::INVISIBLE_MS_MAX {
            return invalid(format!(
                "the broker[{host}] pop message's invisibleTime {} is greater than {}",
                request.invisible_ms,
                limits::INVISIBLE_MS_MAX
            ));
        }
        check_attempt(request.attempt_id.as_deref())?;
        self.check_consumer(
            &request.group,
            &request.topic,
            request.queue_id,
            &request.consumer,
            "pop",
        )
    }

    /// Whether the group may take messages from the topic; the topic's configuration.
    fn check_consumer(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        consumer: &str,
        what: &str,
    ) -> Result<Arc<TopicConfig>, Refusal> {
        let no_permission = |remark| Err(Refusal::new(response::NO_PERMISSION, remark));
        if self.config.broker_permission & perm::READ == 0 {
            let host = self.identity.host();
            return no_permission(format!("the broker[{host}] {what} message is forbidden"));
        }
        let config = self.topic(topic).ok_or_else(|| no_topic(topic))?;
        if config.perm & perm::READ == 0 {
            return no_permission(format!("the topic[{topic}] peeking message is forbidden"));
        }
        if queue_id >= config.read_queue_nums {
            let remark = illegal_queue(queue_id, &config, consumer);
            return Err(Refusal::new(response::INVALID_PARAMETER, remark));
        }
        let settings: Arc<SubscriptionGroup> = self.group(group).ok_or_else(|| {
            let remark = format!("subscription group [{group}] does not exist, {SEE}");
            Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
        })?;
        if !settings.consume_enable {
            return no_permission(format!("subscription group no permission, {group}"));
        }
        Ok(config)
    }

    /// One look for messages. What would have to wait for the disk is done once more where it may.
    async fn take(&self, look: &Arc<Look>) -> Result<Popped, Refusal> {
        match Taking::new(self, look, Wait::No).run() {
            Ok(popped) => Ok(popped),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::WouldWait) => {
                let look = look.clone();
                let take = move |broker: &Arc<Broker>| {
                    let taken = Taking::new(broker, &look, Wait::ForDisk).run();
                    taken.map_err(Refusal::from)
                };
                self.cold(take).await
            }
        }
    }

    /// Whether a group could take something from the topic or its retry topics.
    fn has_message(&self, request: &NotificationRequest, config: &TopicConfig) -> bool {
        let now_ms = self.clock.now_ms();
        let has = |topic: &Arc<str>, queue_id: i32| {
            let blocked = request.order && {
                let key = GroupQueue {
                    topic: request.topic.clone(),
                    group: request.group.clone(),
                    queue_id,
                };
                let attempt = request.attempt_id.as_deref();
                let orders = self.pops.orders.state.read();
                orders.is_blocked(&key, attempt, 0, now_ms)
            };
            let Some(queue) = self.store.queue(topic, queue_id).filter(|_| !blocked) else {
                return false;
            };
            let offset = self.committed(&request.group, topic, queue_id);
            queue.max_visible() > offset.unwrap_or_else(|| queue.min())
        };
        let own = match request.queue_id {
            0.. => request.queue_id..request.queue_id + 1,
            _ => 0..config.read_queue_nums,
        };
        own.into_iter()
            .any(|queue_id| has(&request.topic, queue_id))
            || self
                .retry_topics(&request.topic, &request.group)
                .iter()
                .any(|(topic, _, queues)| (0..*queues).any(|queue_id| has(topic, queue_id)))
    }

    /// Where the group goes on.
    fn committed(&self, group: &str, topic: &str, queue_id: i32) -> Option<QueueOffset> {
        let offsets = self.offsets.state.read();
        let committed = offsets.committed(group, topic, queue_id);
        committed.filter(|offset| offset.0 >= 0)
    }

    /// The retry topics that a group may have messages of a topic in, the current kind first: name, kind, queues.
    fn retry_topics(&self, topic: &str, group: &str) -> Vec<(Arc<str>, Retry, i32)> {
        let config = &self.config.pop;
        let kinds: &[Retry] = match (config.retry_topic_v2, config.retry_topic_v1_too) {
            (false, _) => &[Retry::V1],
            (true, true) => &[Retry::V2, Retry::V1],
            (true, false) => &[Retry::V2],
        };
        let topics = kinds.iter().filter_map(|kind| {
            let name = kind.topic(topic, group);
            let queues = self.topic(&name)?.read_queue_nums;
            Some((name.into(), *kind, queues))
        });
        topics.collect()
    }

    /// The queues that one who waits for this is woken by.
    fn queues_of(&self, key: &GroupQueue) -> Vec<Arc<Queue>> {
        let own = match key.queue_id {
            0.. => key.queue_id..key.queue_id + 1,
            _ => {
                0..self
                    .topic(&key.topic)
                    .map_or(0, |topic| topic.read_queue_nums)
            }
        };
        let own = own.map(|queue_id| (key.topic.clone(), queue_id));
        let retries = self.retry_topics(&key.topic, &key.group);
        let retries = retries.into_iter().flat_map(|(topic, _, queues)| {
            (0..queues).map(move |queue_id| (topic.clone(), queue_id))
        });
        own.chain(retries)
            .filter_map(|(topic, queue_id)| self.store.queue_or_create(&topic, queue_id).ok())
            .collect()
    }
}

/// The name is remembered, and saved.
fn check_attempt(attempt_id: Option<&str>) -> Result<(), Refusal> {
    let bytes = attempt_id.map_or(0, str::len);
    if bytes > limits::ATTEMPT_BYTES_MAX {
        let remark = format!(
            "attemptId has {bytes} bytes, limit {}",
            limits::ATTEMPT_BYTES_MAX
        );
        return Err(Refusal::new(response::INVALID_PARAMETER, remark));
    }
    Ok(())
}

fn no_topic(topic: &str) -> Refusal {
    let remark = format!("topic[{topic}] not exist, apply first please! {SEE}");
    Refusal::new(response::TOPIC_NOT_EXIST, remark)
}

fn illegal_queue(queue_id: i32, config: &TopicConfig, consumer: &str) -> String {
    format!(
        "queueId[{queue_id}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{consumer}]",
        config.topic_name, config.read_queue_nums
    )
}
