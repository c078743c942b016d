//! CONSUMER_SEND_MSG_BACK 36: a group could not consume a message. It comes again later, or is a dead letter.

use std::sync::Arc;

use protocol::LogOffset;
use protocol::bodies::SubscriptionGroup;
use protocol::codes::response;
use protocol::command::NoHeader;
use protocol::headers::send::SendBack;
use protocol::message_id::MessageId;
use protocol::properties;
use protocol::record::Record;
use remoting::{Body, ReplyTo, Request};
use store::AppendError;

use super::query::unreadable;
use super::send::checks;
use super::visible_record;
use crate::broker::Broker;
use crate::message::{Message, PutError};
use crate::refusal::{Refusal, SEE};
use crate::topics::{DEAD_LETTER_PREFIX, NotCreated, RETRY_PREFIX, perm};
use crate::{limits, topics};

#[cfg(test)]
mod tests;

/// Clients from this version (3.4.9) on say themselves how often they want to try.
pub(super) const SAYS_MAX_TRIES: i32 = 121;
/// The delay level of a first retry; each one after it waits a level longer.
const FIRST_RETRY_LEVEL: i32 = 3;

/// 36: answered when the message is as safe as one that was sent, for the consumer will not pull it again.
pub(crate) fn send_back(broker: &Arc<Broker>, request: Request) {
    let stored = match failed(broker, &request) {
        Ok(Some(failed)) => put(broker, failed),
        Ok(None) => return answer(request.into_reply(), Ok(())),
        Err(refusal) => Err(refusal),
    };
    let reply = request.into_reply();
    match stored {
        Ok(stored) if stored.is_safe(broker) => answer(reply, Ok(())),
        Ok(stored) => {
            let waiting = broker.clone();
            broker.tasks.spawn(async move {
                let safe = stored.safe(&waiting).await;
                answer(reply, safe);
            });
        }
        Err(refusal) => answer(reply, Err(refusal)),
    }
}

fn answer(reply: ReplyTo, stored: Result<(), Refusal>) {
    match stored {
        Ok(()) => reply.send(response::SUCCESS, None, &NoHeader, Body::None),
        Err(refusal) => reply.send(refusal.code, Some(&refusal.remark), &NoHeader, Body::None),
    }
}

/// A message on its way to be tried again, or not any more.
struct Failed {
    message: Message,
    /// Changes of topics that must be saved before the client is answered: after a kill the message would have no topic.
    topics_since: u64,
}

/// What becomes of the message; nothing if the group's messages are not tried again.
fn failed(broker: &Broker, request: &Request) -> Result<Option<Failed>, Refusal> {
    let header: SendBack<'_> = request.header()?;
    let group_name = header.group.to_str();
    let Some(group) = broker.group(&group_name) else {
        let remark = format!("subscription group not exist, {group_name} {SEE}");
        return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    };
    if broker.config.broker_permission & perm::WRITE == 0 {
        let remark = format!(
            "the broker[{}] sending message is forbidden",
            broker.identity.host()
        );
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    let Ok(queues @ 1..) = u32::try_from(group.retry_queue_nums) else {
        return Ok(None);
    };
    let retry_topic = format!("{RETRY_PREFIX}{group_name}");
    let unit_subscribed = match header.unit_mode {
        Some(true) => topics::UNIT_SUBSCRIBED,
        _ => 0,
    };
    let topics_since = own_topic(
        broker,
        &retry_topic,
        group.retry_queue_nums,
        unit_subscribed,
    )?;
    let config = broker.topic(&retry_topic);
    if config.is_some_and(|config| config.perm & perm::WRITE == 0) {
        let remark = format!("the topic[{retry_topic}] sending message is forbidden");
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    let bytes = visible_record(broker, header.offset).map_err(unreadable)?;
    let decoded = bytes.as_ref().map(|bytes| Record::decode(bytes, false));
    let Some(Ok(decoded)) = decoded else {
        return Err(Refusal::system(format!(
            "look message by offset failed, {}",
            header.offset
        )));
    };
    let record = &decoded.record;
    let says_max = header.max_reconsume_times;
    let says_max = says_max.filter(|_| request.version >= SAYS_MAX_TRIES);
    let mut failed = Failed {
        message: again(record),
        topics_since,
    };
    let message = &mut failed.message;
    if is_hopeless(record.reconsume_times, header.delay_level, says_max, &group) {
        message.topic = format!("{DEAD_LETTER_PREFIX}{group_name}");
        failed.topics_since = own_topic(broker, &message.topic, 1, 0)?;
        message.queue_id = 0;
        message.set(properties::DELAY, "0");
        let (topic, tries) = (&message.topic, record.reconsume_times);
        tracing::debug!(topic, tries, offset = %header.offset, "a message became a dead letter");
    } else {
        let level = match header.delay_level {
            0 => FIRST_RETRY_LEVEL.saturating_add(record.reconsume_times),
            level => level,
        };
        message.topic = retry_topic;
        message.queue_id = (broker.next_turn() % queues) as i32;
        message.set(properties::DELAY, &level.to_string());
    }
    fits(broker, message)?;
    Ok(Some(failed))
}

/// Whether the message has been tried often enough.
fn is_hopeless(
    tries: i32,
    delay_level: i32,
    says_max: Option<i32>,
    group: &SubscriptionGroup,
) -> bool {
    tries >= says_max.unwrap_or(group.retry_max_times) || delay_level < 0
}

/// The message as it is tried once more: it says where it came from in the first place.
fn again(record: &Record<'_>) -> Message {
    let mut message = Message::of(record);
    if message.property(properties::RETRY_TOPIC).is_none() {
        message.set(properties::RETRY_TOPIC, record.topic);
    }
    let origin = message.property(properties::ORIGIN_MESSAGE_ID);
    if origin.is_none_or(|id| id.trim().is_empty()) {
        let id = MessageId {
            host: record.store_host,
            offset: record.log_offset,
        };
        message.set(properties::ORIGIN_MESSAGE_ID, &id.encode());
    }
    // Apache says so of a message that it does not wait for.
    message.set(properties::WAIT, "false");
    message.reconsume_times = record.reconsume_times.saturating_add(1);
    message.prepared_transaction_offset = 0;
    message
}

/// A topic that the broker makes if it is missing; the changes after which it is saved.
fn own_topic(broker: &Broker, topic: &str, queues: i32, sys_flag: i32) -> Result<u64, Refusal> {
    let not_there = |error: &NotCreated| match error {
        NotCreated::NoTemplate => Refusal::system(format!("topic[{topic}] not exist")),
        NotCreated::TooMany => Refusal::system(format!(
            "topic[{topic}] not exist, and this broker has {} topics already",
            limits::TOPICS_MAX
        )),
    };
    let since = |broker: &Broker| {
        let topics = broker.topics.state.read();
        topics.find_since(topic).map(|(_, since)| since)
    };
    if let Some(since) = since(broker) {
        return Ok(since);
    }
    let made = broker.own_topic(topic, queues, false, sys_flag);
    made.map_err(|error| not_there(&error))?;
    since(broker).ok_or_else(|| not_there(&NotCreated::NoTemplate))
}

/// It has got longer. What would not fit where it goes in the end must not wait for that.
fn fits(broker: &Broker, message: &Message) -> Result<(), Refusal> {
    /// What a detour adds: names, queue id and separators.
    const DETOUR_BYTES: usize = 40;
    let properties = message.properties.len() + DETOUR_BYTES + message.topic.len();
    if properties > limits::PROPERTIES_BYTES_MAX {
        let limit = limits::PROPERTIES_BYTES_MAX;
        return Err(Refusal::system(format!(
            "PROPERTIES_SIZE_EXCEEDED: {properties} bytes with those of a retry, limit {limit}"
        )));
    }
    let record_max = broker.config.record_bytes_max();
    let illegal =
        |error: &dyn std::fmt::Display| Refusal::system(format!("MESSAGE_ILLEGAL: {error}"));
    broker
        .store
        .queue_or_create(&message.topic, message.queue_id)
        .map_err(|error| illegal(&error))?;
    checks::record(&message.topic, message.body.len(), properties, record_max)
        .map_err(|error| illegal(&error))?;
    Ok(())
}

fn put(broker: &Broker, failed: Failed) -> Result<Stored, Refusal> {
    let appended = broker.put(vec![failed.message]);
    Ok(Stored {
        end: appended.map_err(|error| refusal(&error))?.end,
        topics_since: failed.topics_since,
    })
}

/// What has to be on disk before the client is answered.
struct Stored {
    end: LogOffset,
    topics_since: u64,
}

impl Stored {
    fn is_safe(&self, broker: &Broker) -> bool {
        !broker.config.store.sync_flush && broker.topics.file.is_saved(self.topics_since)
    }

    async fn safe(&self, broker: &Broker) -> Result<(), Refusal> {
        let topics_saved = broker.topics.file.saved(self.topics_since);
        let safe = async {
            if broker.config.store.sync_flush {
                let durable = broker.store.durable().reached(self.end.0).await;
                durable.map_err(|sealed| refusal(&sealed.into()))?;
            }
            Ok(topics_saved.await)
        };
        match tokio::time::timeout(broker.config.sync_flush_timeout, safe).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(refusal)) => Err(refusal),
            Ok(Ok(false)) | Err(_) => Err(Refusal::system("FLUSH_DISK_TIMEOUT")),
        }
    }
}

/// Apache answers the name of its own status, and the client then sends the message as a new one.
fn refusal(error: &PutError) -> Refusal {
    let status = match error {
        PutError::Append(AppendError::TooLarge { .. })
        | PutError::Push(_)
        | PutError::NotTimed(_) => "MESSAGE_ILLEGAL",
        PutError::Append(_) | PutError::Sealed(_) => "SERVICE_NOT_AVAILABLE",
    };
    Refusal::system(format!("{status}: {error}"))
}
