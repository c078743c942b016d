//! PULL 11 and 361: who may read what, the read, and the hold of those who wait for a message.

use std::sync::Arc;
use std::time::Duration;

use protocol::QueueOffset;
use protocol::bodies::{SubscriptionGroup, TopicConfig};
use protocol::codes::{request, response};
use protocol::command::HeaderError;
use protocol::headers::pull::{PullMessage, PullMessageResponse, PullRefused};
use protocol::text::Text;
use remoting::clock::{Instant, monotonic};
use remoting::{Body, Peer, ReplyTo, Request};
use store::disk::Wait;
use store::{Queue, Read, ReadError, ReadLimits, ReadStatus, Records, Store};
use tokio::sync::watch;

use crate::broker::Broker;
use crate::clients::Subscription;
use crate::filter::{self, Filter, FilterError, is_tag};
use crate::groups;
use crate::holds::Place;
use crate::limits;
use crate::refusal::{Refusal, SEE};
use crate::topics::{RETRY_PREFIX, perm};

#[cfg(test)]
mod tests;

/// Bits of a pull's sys flag (`PullSysFlag`).
mod flag {
    pub(super) const COMMIT_OFFSET: i32 = 1;
    pub(super) const SUSPEND: i32 = 2;
    pub(super) const SUBSCRIPTION: i32 = 4;
}

/// Why a pull is refused (`ForbiddenType`), for the clients that look.
mod forbidden {
    pub(super) const BROKER: i32 = 1;
    pub(super) const GROUP: i32 = 2;
    pub(super) const TOPIC: i32 = 3;
    pub(super) const BROADCASTING: i32 = 4;
}

/// A pull that passed its checks: all that is needed to read, now and again after waiting. Holds nothing of the request's frame.
struct Pull {
    queue: Arc<Queue>,
    from: QueueOffset,
    limits: ReadLimits,
    wanted: Wanted,
    topic_sys_flag: i32,
    settings: Arc<SubscriptionGroup>,
}

/// Which messages, and the group's subscription that says so, if the request itself does not.
struct Wanted {
    filter: Filter,
    subscription: Option<Arc<Subscription>>,
}

/// A refused pull says what forbids it.
struct Forbidden {
    refusal: Refusal,
    kind: Option<i32>,
}

impl From<Refusal> for Forbidden {
    fn from(refusal: Refusal) -> Forbidden {
        Forbidden {
            refusal,
            kind: None,
        }
    }
}

impl From<HeaderError> for Forbidden {
    fn from(error: HeaderError) -> Forbidden {
        Refusal::from(error).into()
    }
}

/// Answers with messages, with where to go on, or later.
pub(crate) fn pull(broker: &Arc<Broker>, request: Request) {
    let (pull, wait_ms) = match check(broker, &request) {
        Ok(checked) => checked,
        Err(forbidden) => return refuse(request.into_reply(), &forbidden),
    };
    let reply = request.into_reply();
    if let Some(offset) = pull.take_reset(broker) {
        return pull.answer_reset(broker, reply, offset);
    }
    let read = pull.read(pull.from, &broker.store, Wait::No);
    if read.as_ref().is_err_and(ReadError::would_wait) {
        return read_cold(broker, pull, reply, wait_ms, None);
    }
    answer_or_hold(broker, pull, reply, wait_ms, read);
}

/// Answers as soon as the disk has given what is not in memory, if there is still somebody to be answered. One that was on hold keeps its place
/// meanwhile.
fn read_cold(broker: &Broker, pull: Pull, reply: ReplyTo, wait_ms: i64, place: Option<Place>) {
    broker.read_cold(move |broker| {
        let _place = place;
        if reply.peer().is_gone() {
            return;
        }
        let read = pull.read(pull.from, &broker.store, Wait::ForDisk);
        answer_or_hold(broker, pull, reply, wait_ms, read);
    });
}

fn answer_or_hold(
    broker: &Arc<Broker>,
    pull: Pull,
    reply: ReplyTo,
    wait_ms: i64,
    read: Result<Read, ReadError>,
) {
    match read {
        Ok(read) if wait_ms > 0 && is_at_end(read.status, pull.from) => {
            hold(broker, pull, reply, wait_ms, read)
        }
        Ok(read) => pull.answer(broker, reply, read),
        Err(error) => refuse(reply, &pull.unreadable(&error).into()),
    }
}

/// Whether the next message to come is the one the client asks for.
fn is_at_end(status: ReadStatus, from: QueueOffset) -> bool {
    status == ReadStatus::OffsetOverflowOne
        || (status == ReadStatus::NoMessageInQueue && from.0 == 0)
}

/// All checks in Apache's order; returns what to read and for how long the client would wait.
fn check(broker: &Broker, request: &Request) -> Result<(Pull, i64), Forbidden> {
    let header: PullMessage<'_> = request.header()?;
    let (group, topic) = (header.consumer_group.to_str(), header.topic.to_str());
    if broker.config.broker_permission & perm::READ == 0 {
        let remark = format!(
            "the broker[{}] pulling message is forbidden",
            broker.identity.host()
        );
        return Err(no_permission(remark, forbidden::BROKER));
    }
    if request.code == request::LITE_PULL_MESSAGE && !broker.config.lite_pull_enabled {
        let remark = format!(
            "the broker[{}] for lite pull consumer is forbidden",
            broker.identity.host()
        );
        return Err(no_permission(remark, forbidden::BROKER));
    }
    let settings = broker.group(&group).ok_or_else(|| {
        let remark = format!("subscription group [{group}] does not exist, {SEE}");
        Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
    })?;
    if !settings.consume_enable {
        return Err(no_permission(
            format!("subscription group no permission, {group}"),
            forbidden::GROUP,
        ));
    }
    let config = broker.topic(&topic).ok_or_else(|| {
        Refusal::new(
            response::TOPIC_NOT_EXIST,
            format!("topic[{topic}] not exist, apply first please! {SEE}"),
        )
    })?;
    if config.perm & perm::READ == 0 {
        return Err(no_permission(
            format!("the topic[{topic}] pulling message is forbidden"),
            forbidden::TOPIC,
        ));
    }
    check_queue(&header, &config, request.peer())?;
    let wanted = match header.sys_flag & flag::SUBSCRIPTION {
        0 => of_heartbeats(broker, &header, &group, &topic, &settings)?,
        _ => of_request(broker, &header, &group, &topic, request.peer())?,
    };
    let queue = broker
        .store
        .queue_or_create(&topic, header.queue_id)
        .map_err(|error| Refusal::new(response::INVALID_PARAMETER, error.to_string()))?;
    if header.sys_flag & flag::COMMIT_OFFSET != 0 && !groups::is_system(&group) {
        broker.commit_offset(&group, &topic, header.queue_id, header.commit_offset);
    }
    let pull = Pull {
        queue,
        from: header.queue_offset,
        limits: read_limits(broker, &header),
        wanted,
        topic_sys_flag: config.topic_sys_flag,
        settings,
    };
    Ok((pull, wait_ms(broker, &header)))
}

fn check_queue(header: &PullMessage<'_>, config: &TopicConfig, peer: &Peer) -> Result<(), Refusal> {
    if (0..config.read_queue_nums).contains(&header.queue_id) {
        return Ok(());
    }
    let remark = format!(
        "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{}]",
        header.queue_id,
        config.topic_name,
        config.read_queue_nums,
        peer.remote_addr(),
    );
    Err(Refusal::new(response::INVALID_PARAMETER, remark))
}

/// What the request says that it wants. One with a broken expression gets everything, as from Apache, for which nobody wrote it so.
fn of_request(
    broker: &Broker,
    header: &PullMessage<'_>,
    group: &str,
    topic: &str,
    peer: &Peer,
) -> Result<Wanted, Forbidden> {
    let text =
        |text: Option<Text<'_>>| text.map_or(String::new(), |text| text.to_str().into_owned());
    let (kind, expression) = (text(header.expression_type), text(header.subscription));
    let filter = match filter::of_request(&broker.compiled, &kind, &expression) {
        Ok(filter) => filter,
        Err(error @ (FilterError::Tags(..) | FilterError::Empty(_))) => {
            return Err(Refusal::from(error).into());
        }
        Err(error @ (FilterError::Kind(_) | FilterError::Sql { .. })) => {
            let client = peer.remote_addr().ip();
            if broker.config.property_filter_enabled
                && broker
                    .said
                    .is_news((client, "pulls with a broken expression"))
            {
                tracing::warn!(group, topic, %client, %error, "pulls with a broken expression get all messages");
            }
            Filter::all()
        }
    };
    allowed(broker, &kind)?;
    Ok(Wanted {
        filter: retried(broker, topic, &kind).unwrap_or(filter),
        subscription: None,
    })
}

/// Whether the type of the expression is switched on.
fn allowed(broker: &Broker, kind: &str) -> Result<(), Refusal> {
    if is_tag(kind) || broker.config.property_filter_enabled {
        return Ok(());
    }
    Err(not_enabled(kind))
}

pub(crate) fn not_enabled(kind: &str) -> Refusal {
    Refusal::system(format!(
        "The broker does not support consumer to filter message by {kind}"
    ))
}

/// The filter of a retry topic that is subscribed to with an expression, if that is to be the one of the original topic.
fn retried(broker: &Broker, topic: &str, kind: &str) -> Option<Filter> {
    let name = topic.strip_prefix(RETRY_PREFIX)?;
    if !broker.config.filter_retries || is_tag(kind) {
        return None;
    }
    let group = name.split_once('+').map_or(name, |(group, _)| group);
    Some(Filter::Retried {
        group: group.to_owned(),
        expressions: broker.expressions.clone(),
    })
}

/// What the group's heartbeats said that it wants.
fn of_heartbeats(
    broker: &Broker,
    header: &PullMessage<'_>,
    group: &str,
    topic: &str,
    settings: &SubscriptionGroup,
) -> Result<Wanted, Forbidden> {
    let subscription = subscription(broker, header, group, topic, settings)?;
    let kind = &subscription.data.expression_type;
    let filter = match is_tag(kind) {
        true => Filter::Tags(subscription.tags.clone()),
        false => expression(broker, header, group, topic, &subscription)?,
    };
    allowed(broker, kind)?;
    Ok(Wanted {
        filter: retried(broker, topic, kind).unwrap_or(filter),
        subscription: Some(subscription),
    })
}

/// The expression that a group subscribes with, which outlives the group.
fn expression(
    broker: &Broker,
    header: &PullMessage<'_>,
    group: &str,
    topic: &str,
    subscription: &Subscription,
) -> Result<Filter, Refusal> {
    let known = {
        let expressions = broker.expressions.state.read();
        let known = expressions.find(group, topic);
        known.map(|known| (known.version, known.sql.clone()))
    };
    let Some((version, sql)) = known else {
        let data = &subscription.data;
        let compiled = filter::compile(&broker.compiled, &data.expression_type, &data.sub_string);
        let why = compiled
            .err()
            .map_or(String::new(), |error| format!(" {error}"));
        let remark = format!(
            "The broker's consumer filter data is not exist!Your expression may be wrong!{why}"
        );
        return Err(Refusal::new(response::FILTER_DATA_NOT_EXIST, remark));
    };
    if version < header.sub_version.unwrap_or(0) {
        return Err(Refusal::new(
            response::FILTER_DATA_NOT_LATEST,
            "the consumer's consumer filter data not latest",
        ));
    }
    Ok(sql.map_or_else(Filter::all, Filter::Sql))
}

fn subscription(
    broker: &Broker,
    header: &PullMessage<'_>,
    group: &str,
    topic: &str,
    settings: &SubscriptionGroup,
) -> Result<Arc<Subscription>, Forbidden> {
    let missing = |what: &str| {
        Refusal::new(
            response::SUBSCRIPTION_NOT_EXIST,
            format!("{what} not exist{SEE}"),
        )
    };
    let clients = broker.clients.lock();
    let members = clients
        .group(group)
        .ok_or_else(|| missing("the consumer's group info"))?;
    if members.broadcasting && !settings.consume_broadcast_enable {
        let remark = format!("the consumer group[{group}] can not consume by broadcast way");
        return Err(no_permission(remark, forbidden::BROADCASTING));
    }
    let subscription = members
        .subscription(topic)
        .ok_or_else(|| missing("the consumer's subscription"))?;
    if header
        .sub_version
        .is_some_and(|asked| asked > subscription.data.sub_version)
    {
        return Err(Refusal::new(
            response::SUBSCRIPTION_NOT_LATEST,
            "the consumer's subscription not latest",
        )
        .into());
    }
    Ok(subscription.clone())
}

fn read_limits(broker: &Broker, header: &PullMessage<'_>) -> ReadLimits {
    let positive = |number: i32| usize::try_from(number).unwrap_or(0);
    let wanted = broker.config.read_limits;
    ReadLimits {
        messages_max: positive(header.max_msg_nums.min(limits::PULL_MAX)),
        bytes_max: header.max_msg_bytes.map_or(wanted.bytes_max, positive),
        ..wanted
    }
}

/// How long the client agreed to wait if there is nothing.
fn wait_ms(broker: &Broker, header: &PullMessage<'_>) -> i64 {
    if header.sys_flag & flag::SUSPEND == 0 {
        return 0;
    }
    match broker.config.long_polling_enabled {
        true => header.suspend_timeout_millis.min(limits::HOLD_MS_MAX),
        false => broker.config.short_polling_ms,
    }
}

/// Waits for a message in a task that ends with the client's connection.
fn hold(broker: &Arc<Broker>, pull: Pull, mut reply: ReplyTo, wait_ms: i64, read: Read) {
    let peer = reply.peer().id();
    let Some(place) = broker.holds.place(peer) else {
        return pull.answer(broker, reply, read);
    };
    reply.hold();
    let (stopped, resets) = (broker.holds.stopped(), broker.holds.resets());
    let deadline = monotonic() + Duration::from_millis(wait_ms.unsigned_abs());
    let holder = broker.clone();
    broker.holds.start(peer, async move {
        tokio::select! {
            biased;
            offset = pull.reset(&holder, resets) => pull.answer_reset(&holder, reply, offset),
            () = stopped => refuse(reply, &stopping().into()),
            read = pull.wait(&holder.store, deadline) => match read {
                Err(error) if error.would_wait() => {
                    read_cold(&holder, pull, reply, 0, Some(place));
                }
                read => answer_or_hold(&holder, pull, reply, 0, read),
            }
        }
    });
}

/// A client that is told so asks again after some seconds. Told that nothing came it would ask at once, and the end of the
/// connection may make Apache's client wait 30 s for an answer (it forgets what it asked on a connection it has replaced).
fn stopping() -> Refusal {
    Refusal::new(
        response::SERVICE_NOT_AVAILABLE,
        "the broker is shutting down",
    )
}

impl Pull {
    fn read(&self, from: QueueOffset, store: &Store, wait: Wait) -> Result<Read, ReadError> {
        let filter = &self.wanted.filter;
        let limits = ReadLimits {
            wait,
            ..self.limits
        };
        store.read_where(
            &self.queue,
            from,
            &limits,
            |entry| filter.wants_entry(entry.tags_code),
            |record| filter.wants_record(record),
        )
    }

    fn unreadable(&self, error: &ReadError) -> Refusal {
        let (topic, queue_id) = (self.queue.topic(), self.queue.id());
        tracing::error!(topic, queue_id, from = self.from.0, %error, "can't read messages");
        Refusal::system(error.to_string())
    }

    fn take_reset(&self, broker: &Broker) -> Option<QueueOffset> {
        broker.take_reset(
            &self.settings.group_name,
            self.queue.topic(),
            self.queue.id(),
        )
    }

    /// Completes when the group was set to another offset, of which it has to hear before anything else. Apache lets it wait
    /// until the hold ends by itself.
    async fn reset(&self, broker: &Broker, mut resets: watch::Receiver<()>) -> QueueOffset {
        while resets.changed().await.is_ok() {
            if let Some(offset) = self.take_reset(broker) {
                return offset;
            }
        }
        std::future::pending().await
    }

    /// Reads once there is something to read, or at the deadline. Messages the filter leaves out are stepped over while
    /// waiting; the client hears of them soon, so that its offset moves on.
    async fn wait(&self, store: &Store, mut deadline: Instant) -> Result<Read, ReadError> {
        let mut from = self.from;
        let mut skipped = None;
        loop {
            let arrived = tokio::select! {
                () = self.queue.arrival(from) => true,
                () = tokio::time::sleep_until(deadline) => false,
            };
            if let (false, Some(read)) = (arrived, skipped.take()) {
                return Ok(read);
            }
            let read = self.read(from, store, Wait::No)?;
            let subscription = self.wanted.subscription.as_ref();
            if subscription.is_some_and(|subscription| subscription.is_replaced()) {
                // What the old expression leaves out the new one may want: the client asks again from where it was.
                return Ok(Read {
                    status: ReadStatus::NoMatchedMessage,
                    records: Records::default(),
                    next: from,
                    ..read
                });
            }
            if !arrived || read.status != ReadStatus::NoMatchedMessage {
                return Ok(read);
            }
            from = read.next;
            deadline = deadline.min(monotonic() + limits::HOLD_SKIPPED_MAX);
            skipped = Some(read);
        }
    }

    fn answer(&self, broker: &Broker, reply: ReplyTo, read: Read) {
        let header = self.response(broker, read.next, read.min, read.max);
        let code = code_of(read.status, self.from);
        reply.send(
            code,
            Some(name_of(read.status)),
            &header,
            read.records.into_pieces(),
        );
    }

    /// Tells the client to go on elsewhere, because an operator said so.
    fn answer_reset(&self, broker: &Broker, reply: ReplyTo, offset: QueueOffset) {
        let header = self.response(broker, offset, self.queue.min(), self.queue.max_visible());
        let (code, remark) = (response::PULL_OFFSET_MOVED, Some("OFFSET_RESET"));
        reply.send(code, remark, &header, Body::None);
    }

    /// Where to go on, which is noted for tools.
    fn response(
        &self,
        broker: &Broker,
        next: QueueOffset,
        min_offset: QueueOffset,
        max_offset: QueueOffset,
    ) -> PullMessageResponse {
        let (group, topic) = (&self.settings.group_name, self.queue.topic());
        broker.pulled.note(group, topic, self.queue.id(), next);
        PullMessageResponse {
            suggest_which_broker_id: MASTER_ID,
            next_begin_offset: next,
            min_offset,
            max_offset,
            offset_delta: None,
            topic_sys_flag: Some(self.topic_sys_flag),
            group_sys_flag: Some(self.settings.group_sys_flag),
            forbidden_type: None,
        }
    }
}

/// There are no slaves to read from yet.
const MASTER_ID: i64 = 0;

/// What a read means to the client that asked for messages from `from` on.
fn code_of(status: ReadStatus, from: QueueOffset) -> i32 {
    match status {
        ReadStatus::Found => response::SUCCESS,
        ReadStatus::NoMatchedMessage | ReadStatus::MessageWasRemoving => {
            response::PULL_RETRY_IMMEDIATELY
        }
        ReadStatus::NoMessageInQueue if from.0 != 0 => response::PULL_OFFSET_MOVED,
        ReadStatus::NoMessageInQueue
        | ReadStatus::OffsetFoundNull
        | ReadStatus::OffsetOverflowOne => response::PULL_NOT_FOUND,
        ReadStatus::OffsetOverflowBadly | ReadStatus::OffsetTooSmall => response::PULL_OFFSET_MOVED,
    }
}

/// The remark of every answer to a pull.
fn name_of(status: ReadStatus) -> &'static str {
    match status {
        ReadStatus::Found => "FOUND",
        ReadStatus::NoMatchedMessage => "NO_MATCHED_MESSAGE",
        ReadStatus::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
        ReadStatus::OffsetFoundNull => "OFFSET_FOUND_NULL",
        ReadStatus::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
        ReadStatus::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
        ReadStatus::OffsetTooSmall => "OFFSET_TOO_SMALL",
        ReadStatus::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
    }
}

fn no_permission(remark: String, kind: i32) -> Forbidden {
    Forbidden {
        refusal: Refusal::new(response::NO_PERMISSION, remark),
        kind: Some(kind),
    }
}

fn refuse(reply: ReplyTo, forbidden: &Forbidden) {
    let header = PullRefused {
        forbidden_type: forbidden.kind,
    };
    reply.send(
        forbidden.refusal.code,
        Some(&forbidden.refusal.remark),
        &header,
        Body::None,
    );
}
