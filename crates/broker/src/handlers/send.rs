//! SEND 10, 310, 320: check, rewrite, append what one read brought as one batch, answer when the flush mode allows.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use protocol::bodies::TopicConfig;
use protocol::codes::{request, response};
use protocol::headers::send::{SendMessage, SendMessageResponse, SendMessageV2, SendRefused};
use protocol::message_id::MessageId;
use protocol::properties;
use protocol::recall_handle::RecallHandle;
use protocol::record::{BatchMessage, Record, messages_of_batch, sys_flag};
use protocol::tags::tags_code;
use protocol::text::Text;
use protocol::{LogOffset, QueueOffset};
use remoting::{Body, ReplyTo, Request};
use store::{Appended, Batch, EntryTag, Store};

use crate::broker::{Broker, Identity};
use crate::limits;
use crate::refusal::{Refusal, SEE};
use crate::topics::{self, NotCreated, perm};
use crate::transactions::half;

use self::checks::{Seen, Unacceptable};
use super::send_back::SAYS_MAX_TRIES;

pub(crate) mod checks;

#[cfg(test)]
mod tests;

/// The codes whose requests go into a batch.
pub(crate) const CODES: [i32; 3] = [
    request::SEND_MESSAGE,
    request::SEND_MESSAGE_V2,
    request::SEND_BATCH_MESSAGE,
];

/// The consecutive sends of one read, on their way to one append.
#[derive(Default)]
pub(crate) struct Sends {
    batch: Batch,
    waiting: Vec<Waiting>,
    /// A topic was made on the way: nameservers are told before the client is.
    topic_made: bool,
    /// Changes of topics that must be saved before the client is answered, or after a kill its message has no topic.
    topics_since: u64,
    /// Reused for the properties of one message after the other.
    properties: Vec<u8>,
    /// The topic of the send before: mostly it is the next one's too.
    last_topic: Option<Arc<TopicConfig>>,
}

/// A send whose records are in the batch.
struct Waiting {
    reply: ReplyTo,
    /// Its records' places in the batch.
    records: std::ops::Range<usize>,
    queue_id: i32,
    unique_key: Option<String>,
    recall_handle: Option<String>,
}

/// What a producer is told of its message.
#[derive(Default)]
struct Told {
    unique_key: Option<String>,
    /// How to call it off.
    recall_handle: Option<String>,
}

/// Where a send goes, after all checks that need no body.
struct Target<'a> {
    topic: Cow<'a, str>,
    queue_id: i32,
    dead_letter: bool,
}

/// Where a record is stored: its target, or where it waits for its time.
#[derive(Clone, Copy)]
struct Place<'a> {
    topic: &'a str,
    queue_id: i32,
    sys_flag: i32,
    tag: EntryTag,
}

impl Sends {
    /// Room for the sends among `requests`, so that what is kept of them in memory is no larger than they are.
    pub(crate) fn of(requests: &[Request]) -> Sends {
        let sends = requests
            .iter()
            .filter(|request| CODES.contains(&request.code));
        let bytes: usize = sends
            .map(|send| send.body().len() + limits::SEND_EXTRA_BYTES)
            .sum();
        Sends {
            batch: Batch::with_capacity(bytes.min(limits::SEND_BATCH_BYTES)),
            ..Sends::default()
        }
    }

    /// Checks and encodes one send. A refused one is answered at once.
    pub(crate) fn add(&mut self, broker: &Broker, request: Request) {
        if self.batch.bytes() + request.body().len() > limits::SEND_BATCH_BYTES {
            self.append(broker);
        }
        let first = self.batch.len();
        match self.encode(broker, &request) {
            Ok((queue_id, told)) => {
                let records = first..self.batch.len();
                self.waiting.push(Waiting {
                    reply: request.into_reply(),
                    records,
                    queue_id,
                    unique_key: told.unique_key,
                    recall_handle: told.recall_handle,
                });
            }
            // What Apache can't even read is answered without the fields.
            Err(refusal) if refusal.code == response::SYSTEM_ERROR => {
                request.refuse(refusal.code, &refusal.remark);
            }
            Err(refusal) => refuse(&broker.identity, request.into_reply(), &refusal),
        }
    }

    fn encode(&mut self, broker: &Broker, request: &Request) -> Result<(i32, Told), Refusal> {
        let header: SendMessageV2<'_> = match request.code {
            request::SEND_MESSAGE => request.header::<SendMessage<'_>>()?.into(),
            _ => request.header()?,
        };
        let target = self.target(broker, request, &header)?;
        self.properties.clear();
        if let Some(text) = header.properties {
            text.append_to(&mut self.properties);
        }
        let told = match header.batch {
            Some(true) => self.encode_batch(broker, request, &header, &target)?,
            _ => self.encode_one(broker, request, &header, &target)?,
        };
        Ok((target.queue_id, told))
    }

    fn target<'a>(
        &mut self,
        broker: &Broker,
        request: &Request,
        header: &SendMessageV2<'a>,
    ) -> Result<Target<'a>, Refusal> {
        let topic = header.topic.to_str();
        checks::topic(&topic)?;
        let config = match self.find(broker, &topic) {
            Some(config) => config,
            None => {
                let made = broker.make_topic(&topic, header);
                let config = made.map_err(|error| topic_refusal(&topic, &error))?;
                self.topic_made = true;
                self.find(broker, &topic).unwrap_or(config)
            }
        };
        if broker.config.broker_permission & perm::WRITE == 0 && config.order {
            return Err(Unacceptable::BrokerForbidden(broker.identity.host()).into());
        }
        checks::queue_type(&config)?;
        let producer = || request.peer().remote_addr().to_string();
        let queue_id = checks::queue(header.queue_id, &config, || broker.next_turn(), producer)?;
        checks::inner_batch(header.sys_flag)?;
        match topic.strip_prefix(topics::RETRY_PREFIX) {
            Some(group) if is_dead_letter(broker, request, group, header)? => {
                let target = dead_letters(broker, group)?;
                self.find(broker, &target.topic);
                Ok(target)
            }
            _ => Ok(Target {
                topic,
                queue_id,
                dead_letter: false,
            }),
        }
    }

    /// The topic's configuration; the answer waits until the topic is saved.
    fn find(&mut self, broker: &Broker, topic: &str) -> Option<Arc<TopicConfig>> {
        if let Some(last) = self
            .last_topic
            .as_ref()
            .filter(|last| last.topic_name == topic)
        {
            return Some(last.clone());
        }
        let topics = broker.topics.state.read();
        let (config, since) = topics.find_since(topic)?;
        self.topics_since = self.topics_since.max(since);
        self.last_topic = Some(config.clone());
        Some(config.clone())
    }

    fn encode_one(
        &mut self,
        broker: &Broker,
        request: &Request,
        header: &SendMessageV2<'_>,
        target: &Target<'_>,
    ) -> Result<Told, Refusal> {
        if target.dead_letter {
            self.properties = checks::as_dead_letter(&self.properties);
        }
        let fresh_key = || broker.unique_keys.next(broker.local_time());
        let seen = checks::rewrite(
            &mut self.properties,
            &broker.identity.own(),
            Some(fresh_key),
        )?;
        let (mut topic, mut queue_id) = (&*target.topic, target.queue_id);
        let mut spare = 0;
        let mut sys_flag = header.sys_flag;
        if seen.half {
            sys_flag &= !sys_flag::TRANSACTION;
            if half::is_half(&self.properties, header.reconsume_times.unwrap_or(0)) {
                may_begin(broker)?;
                let key = seen.unique_key.as_deref();
                half::prepare(&mut self.properties, topic, queue_id, key);
                (topic, queue_id) = (topics::HALF, 0);
                spare = limits::HALF_PROPERTIES_SPARE;
            }
        } else {
            checks::visible(sys_flag)?;
        }
        let detour = match seen.delay_level.is_some() || seen.timed {
            true => broker.divert(topic, queue_id, &mut self.properties)?,
            false => None,
        };
        if detour
            .as_ref()
            .is_some_and(|detour| detour.topic == topics::TIMER)
        {
            spare = limits::TIMER_PROPERTIES_SPARE;
        }
        let (topic, queue_id, tag) = match detour {
            Some(detour) => (detour.topic, detour.queue_id, detour.tag),
            None => (topic, queue_id, EntryTag::Code(seen.tags_code)),
        };
        let message = BatchMessage {
            flag: header.flag,
            body: request.body(),
            properties: &self.properties,
        };
        checks::lengths(
            message.body.len(),
            message.properties.len() + spare,
            broker.config.message_bytes_max,
        )?;
        // It has to fit where it waits and where it is delivered.
        let longer = match topic.len() > target.topic.len() {
            true => topic,
            false => &*target.topic,
        };
        checks::record(
            longer,
            message.body.len(),
            message.properties.len() + spare,
            broker.config.record_bytes_max(),
        )?;
        let place = Place {
            topic,
            queue_id,
            sys_flag,
            tag,
        };
        push(&mut self.batch, broker, request, header, place, &message)?;
        Ok(Told {
            recall_handle: recall_handle(broker, target, &self.properties, &seen),
            unique_key: seen.unique_key,
        })
    }

    /// Apache puts the properties of the batch, its unique key among them, behind those of every message in it.
    fn encode_batch(
        &mut self,
        broker: &Broker,
        request: &Request,
        header: &SendMessageV2<'_>,
        target: &Target<'_>,
    ) -> Result<Told, Refusal> {
        checks::batch(
            &target.topic,
            request.body().len(),
            broker.config.message_bytes_max,
        )?;
        let no_key = None::<fn() -> String>;
        let seen = checks::rewrite(&mut self.properties, &broker.identity.own(), no_key)?;
        checks::batch_properties(self.properties.len(), &seen)?;
        checks::no_transaction(header.sys_flag)?;
        // All of them are checked before the first one is pushed. Joined properties may be many times what came in, so
        // they are made again rather than kept.
        let record_max = broker.config.record_bytes_max();
        let mut bytes = 0;
        for message in messages_of_batch(request.body()) {
            let message = message.map_err(|error| Unacceptable::Batch(error.to_string()))?;
            let (body, extra) = (
                message.body.len(),
                checks::joined_len(message.properties, &self.properties),
            );
            checks::batched(body, extra, broker.config.message_bytes_max)?;
            bytes += checks::record(&target.topic, body, extra, record_max)?;
            if bytes > limits::BATCH_RECORDS_BYTES_MAX {
                return Err(Unacceptable::BatchRecords(limits::BATCH_RECORDS_BYTES_MAX).into());
            }
        }
        let mut combined = Vec::new();
        // The last one counts.
        let tags_of_all = properties::find(&self.properties, properties::TAGS);
        for message in messages_of_batch(request.body()).flatten() {
            let tags =
                tags_of_all.or_else(|| properties::find(message.properties, properties::TAGS));
            let tags_code = tags.map_or(0, tags_code);
            combined.clear();
            combined.extend_from_slice(message.properties);
            checks::join(&mut combined, &self.properties);
            let message = BatchMessage {
                properties: &combined,
                ..message
            };
            let place = Place {
                topic: &target.topic,
                queue_id: target.queue_id,
                sys_flag: header.sys_flag,
                tag: EntryTag::Code(tags_code),
            };
            push(&mut self.batch, broker, request, header, place, &message)?;
        }
        Ok(Told {
            unique_key: seen.unique_key,
            ..Told::default()
        })
    }
}

/// How a message that waits for its time can be called off; a retry can't.
fn recall_handle(
    broker: &Broker,
    target: &Target<'_>,
    properties: &[u8],
    seen: &Seen,
) -> Option<String> {
    if !seen.timed || target.topic.starts_with(topics::RETRY_PREFIX) {
        return None;
    }
    let slot_ms = properties::find(properties, properties::TIMER_OUT_MS)?;
    properties::find(properties, properties::REAL_TOPIC)?;
    let handle = RecallHandle {
        topic: target.topic.to_string(),
        broker: broker.identity.broker.clone(),
        // Within the slot, not at its beginning: that would be in the one before.
        time: slot_ms.parse::<i64>().ok()?.checked_add(1)?.to_string(),
        unique_key: seen.unique_key.clone()?,
    };
    Some(handle.encode())
}

/// One message more in the batch.
fn push(
    batch: &mut Batch,
    broker: &Broker,
    request: &Request,
    header: &SendMessageV2<'_>,
    place: Place<'_>,
    message: &BatchMessage<'_>,
) -> Result<(), Refusal> {
    let record = Record {
        queue_id: place.queue_id,
        flag: message.flag,
        queue_offset: QueueOffset(0),
        log_offset: LogOffset(0),
        sys_flag: place.sys_flag,
        born_timestamp: header.born_timestamp,
        born_host: request.peer().remote_addr(),
        store_timestamp: 0,
        store_host: broker.identity.advertised.socket,
        reconsume_times: header.reconsume_times.unwrap_or(0),
        prepared_transaction_offset: 0,
        body: message.body,
        topic: place.topic,
        properties: message.properties,
    };
    batch
        .push(&broker.store, &record, place.tag)
        .map_err(|error| Refusal::new(response::MESSAGE_ILLEGAL, error.to_string()))
}

/// Whether one more transaction may begin.
pub(super) fn may_begin(broker: &Broker) -> Result<(), Refusal> {
    if broker.config.reject_transactions {
        return Err(Unacceptable::TransactionForbidden(broker.identity.host()).into());
    }
    let open = broker.transactions.open();
    if open >= limits::OPEN_HALVES_MAX {
        let remark = format!(
            "[FLOW_CONTROL]{open} transactions without an end, limit {}",
            limits::OPEN_HALVES_MAX
        );
        return Err(Refusal::new(response::SYSTEM_BUSY, remark));
    }
    Ok(())
}

/// Whether a message to the group's retry topic has been tried too often, or belongs to an orderly group, whose retries
/// must not overtake it.
fn is_dead_letter(
    broker: &Broker,
    request: &Request,
    group: &str,
    header: &SendMessageV2<'_>,
) -> Result<bool, Refusal> {
    let Some(config) = broker.group(group) else {
        let remark = format!("subscription group not exist, {group} {SEE}");
        return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    };
    let says_max = header.max_reconsume_times;
    let says_max = says_max.filter(|_| request.version >= SAYS_MAX_TRIES);
    let tries_max = says_max.unwrap_or(config.retry_max_times);
    let too_often = header.reconsume_times.unwrap_or(0) > tries_max;
    Ok(too_often || broker.locks.lock().held(group, broker.clock.now_ms()))
}

/// The group's dead letter topic, made if it is the first one.
fn dead_letters(broker: &Broker, group: &str) -> Result<Target<'static>, Refusal> {
    let topic = format!("{}{group}", topics::DEAD_LETTER_PREFIX);
    let made = broker.own_topic(&topic, 1, false, 0);
    made.map_err(|error| topic_refusal(&topic, &error))?;
    Ok(Target {
        topic: Cow::Owned(topic),
        queue_id: 0,
        dead_letter: true,
    })
}

impl Sends {
    /// Appends what came together and sees to its answers.
    pub(crate) fn append(&mut self, broker: &Broker) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let mut batch = std::mem::take(&mut self.batch);
        let topic_made = std::mem::take(&mut self.topic_made);
        let topics_since = std::mem::take(&mut self.topics_since);
        self.last_topic = None;
        let identity = broker.identity.clone();
        let appended = broker.store.append(&mut batch, broker.clock.now_ms());
        broker.report_append(&appended);
        match appended {
            Ok(appended) => Stored {
                identity,
                waiting,
                appended,
            }
            .acknowledge(broker, topic_made, topics_since),
            Err(error) => {
                let refusal = Refusal::from(error);
                waiting
                    .into_iter()
                    .for_each(|send| refuse(&identity, send.reply, &refusal));
            }
        }
    }
}

/// Sends whose records are in the log.
struct Stored {
    identity: Arc<Identity>,
    waiting: Vec<Waiting>,
    appended: Appended,
}

impl Stored {
    /// Answers now, or when the flush mode allows it.
    fn acknowledge(self, broker: &Broker, topic_made: bool, topics_since: u64) {
        let sync_flush = broker.config.store.sync_flush;
        let topics_saved = broker.topics.file.is_saved(topics_since);
        let nothing_else = !topic_made && topics_saved;
        if nothing_else && sync_flush && self.is_alone(broker) && broker.flush_here() {
            return self.answer(response::SUCCESS);
        }
        broker.appended();
        if nothing_else && !sync_flush {
            return self.answer(response::SUCCESS);
        }
        let (store, registration) = (broker.store.clone(), broker.registration.clone());
        let saved = (!topics_saved).then(|| broker.topics.file.saved(topics_since));
        let timeout = broker.config.sync_flush_timeout;
        broker.tasks.spawn(async move {
            if topic_made {
                registration.told().await;
            }
            let durable = match saved {
                Some(saved) => tokio::time::timeout(timeout, saved).await == Ok(true),
                None => true,
            };
            match sync_flush {
                _ if !durable => self.answer(response::FLUSH_DISK_TIMEOUT),
                true => self.await_flush(&store, timeout).await,
                false => self.answer(response::SUCCESS),
            }
        });
    }

    /// Nobody else waits for a flush: to wake the thread that flushes, and to be woken by it, would take longer than the
    /// flush takes on a fast disk. Many at once are better off with the thread: while it flushes for all of them, the next gather.
    fn is_alone(&self, broker: &Broker) -> bool {
        let start = self.appended.entries.first().map(|(start, _)| start.0);
        self.waiting.len() == 1 && start == Some(broker.store.durable().at())
    }

    async fn await_flush(self, store: &Store, timeout: Duration) {
        let (end, sends) = (self.appended.end.0, self.waiting.len());
        let durable = store.durable().reached_for(end, sends);
        match tokio::time::timeout(timeout, durable).await {
            Ok(Ok(())) => self.answer(response::SUCCESS),
            Ok(Err(sealed)) => {
                let refusal = Refusal::new(response::SERVICE_NOT_AVAILABLE, sealed.to_string());
                self.waiting
                    .into_iter()
                    .for_each(|send| refuse(&self.identity, send.reply, &refusal));
            }
            Err(_) => self.answer(response::FLUSH_DISK_TIMEOUT),
        }
    }

    /// Tells each producer where its message is. Codes other than success say that it may not stay there.
    fn answer(self, code: i32) {
        let mut ids = String::new();
        for send in self.waiting {
            let entries = &self.appended.entries[send.records];
            ids.clear();
            for (log_offset, _) in entries {
                if !ids.is_empty() {
                    ids.push(',');
                }
                let id = MessageId {
                    host: self.identity.advertised.socket,
                    offset: *log_offset,
                };
                id.append_to(&mut ids);
            }
            let header = SendMessageResponse {
                msg_id: Text::plain(&ids),
                queue_id: send.queue_id,
                queue_offset: entries
                    .first()
                    .map_or(QueueOffset(0), |(_, queue_offset)| *queue_offset),
                transaction_id: send.unique_key.as_deref().map(Text::plain),
                batch_uniq_id: None,
                recall_handle: send.recall_handle.as_deref().map(Text::plain),
                region: Some(Text::plain(&self.identity.region)),
                trace_on: Some(self.identity.trace_on),
            };
            send.reply.send(code, None, &header, Body::None);
        }
    }
}

/// Every answer to a send carries region and trace switch: Java clients fail without them.
pub(crate) fn refuse(identity: &Identity, reply: ReplyTo, refusal: &Refusal) {
    let header = SendRefused {
        region: Text::plain(&identity.region),
        trace_on: identity.trace_on,
    };
    reply.send(refusal.code, Some(&refusal.remark), &header, Body::None);
}

impl From<Unacceptable> for Refusal {
    fn from(error: Unacceptable) -> Refusal {
        let code = match &error {
            Unacceptable::Name(_) | Unacceptable::Queue { .. } => response::INVALID_PARAMETER,
            Unacceptable::SystemTopic(_)
            | Unacceptable::BrokerForbidden(_)
            | Unacceptable::TransactionForbidden(_) => response::NO_PERMISSION,
            Unacceptable::Length { .. }
            | Unacceptable::Record { .. }
            | Unacceptable::BatchToRetry(_)
            | Unacceptable::BatchDelayed(_)
            | Unacceptable::Transaction(_)
            | Unacceptable::Unsupported { .. } => response::MESSAGE_ILLEGAL,
            Unacceptable::BatchLength { .. }
            | Unacceptable::BatchRecords(_)
            | Unacceptable::Batch(_)
            | Unacceptable::DelayLevel(_) => response::SYSTEM_ERROR,
        };
        Refusal::new(code, error.to_string())
    }
}

pub(crate) fn topic_refusal(topic: &str, error: &NotCreated) -> Refusal {
    match error {
        NotCreated::NoTemplate => Refusal::new(
            response::TOPIC_NOT_EXIST,
            format!("topic[{topic}] not exist, apply first please!{SEE}"),
        ),
        NotCreated::TooMany => Refusal::system(format!(
            "topic[{topic}] not created: this broker has {} topics already",
            limits::TOPICS_MAX
        )),
    }
}
