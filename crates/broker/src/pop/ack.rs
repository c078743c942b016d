//! Acknowledgements of popped messages, and changes of their invisible time. A handle that names nothing open has no effect.

use std::sync::Arc;

use protocol::bodies::{BatchAck, TopicConfig};
use protocol::codes::response;
use protocol::receipt::{Handle, ORDER_REVIVE_QUEUE, Retry, normal_topic};
use protocol::{LogOffset, QueueOffset};
use store::Batch;

use super::checkpoints::{Key, Taken};
use super::log::CHECK_POINT;
use super::order::{GroupQueue, OrderAck};
use super::{illegal_queue, no_topic};
use crate::broker::Broker;
use crate::limits;
use crate::message::PutError;
use crate::refusal::Refusal;

/// A message that was consumed, or whose invisible time shall change.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) group: Arc<str>,
    /// The topic it was taken from: the producer's or a retry topic.
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
    pub(crate) offset: i64,
    /// The receipt handle.
    pub(crate) handle: String,
    /// Who says so, for remarks.
    pub(crate) consumer: String,
}

/// A message that shall come back at another time.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) message: Acked,
    /// From now on.
    pub(crate) invisible_ms: i64,
}

/// What the message's new handle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) pop_ms: i64,
    pub(crate) invisible_ms: i64,
    pub(crate) revive_queue: i32,
}

/// Messages of one check point.
struct Named {
    key: Key,
    offsets: Vec<i64>,
    invisible_ms: i64,
}

impl Broker {
    /// One message was consumed.
    pub(crate) async fn ack(self: Arc<Self>, ack: Acked) -> Result<(), Refusal> {
        self.check_message(&ack, true)?;
        let handle = parse(&ack.handle)?;
        if handle.revive_queue == ORDER_REVIVE_QUEUE {
            return self.ack_in_order(&ack, handle.pop_time).await;
        }
        if handle.broker != self.identity.broker {
            return Ok(());
        }
        let named = Named {
            key: key_of(&ack, &handle),
            offsets: vec![ack.offset],
            invisible_ms: handle.invisible_time,
        };
        let end = self.ack_named(vec![named])?;
        self.durable(end).await
    }

    /// Messages of several check points were consumed.
    pub(crate) async fn ack_batch(
        self: Arc<Self>,
        acks: Vec<BatchAck>,
        broker: &str,
        consumer: &str,
    ) -> Result<(), Refusal> {
        if acks.is_empty() {
            return Err(Refusal::new(response::NO_MESSAGE, "no acks"));
        }
        if acks.len() > limits::BATCH_ACKS_MAX {
            let remark = format!("{} acks, limit {}", acks.len(), limits::BATCH_ACKS_MAX);
            return Err(Refusal::new(response::INVALID_PARAMETER, remark));
        }
        let mut named = Vec::with_capacity(acks.len());
        for ack in acks {
            let offsets = bits(&ack)?;
            let retry = Retry::parse(&ack.retry).ok_or_else(|| {
                Refusal::system(format!("retry is \"{}\", expected 0, 1 or 2", ack.retry))
            })?;
            let topic: Arc<str> = retry.topic(&ack.topic, &ack.consumer_group).into();
            let group: Arc<str> = ack.consumer_group.into();
            if ack.revive_queue_id == ORDER_REVIVE_QUEUE {
                for offset in offsets {
                    let one = Acked {
                        group: group.clone(),
                        topic: topic.clone(),
                        queue_id: ack.queue_id,
                        offset,
                        handle: String::new(),
                        consumer: consumer.to_owned(),
                    };
                    self.ack_in_order(&one, ack.pop_time).await?;
                }
            } else if broker == self.identity.broker {
                named.push(Named {
                    key: Key {
                        topic,
                        group,
                        queue_id: ack.queue_id,
                        start: ack.start_offset,
                        pop_ms: ack.pop_time,
                    },
                    offsets,
                    invisible_ms: ack.invisible_time,
                });
            }
        }
        let end = self.ack_named(named)?;
        self.durable(end).await
    }

    /// A message comes back at another time: a check point of its own, and an acknowledgement of the old one.
    pub(crate) async fn change_invisible(
        self: Arc<Self>,
        change: Change,
    ) -> Result<Changed, Refusal> {
        let message = &change.message;
        self.check_message(message, false)?;
        if change.invisible_ms > limits::INVISIBLE_MS_MAX {
            let remark = format!(
                "invisibleTime {} is greater than {}",
                change.invisible_ms,
                limits::INVISIBLE_MS_MAX
            );
            return Err(Refusal::new(response::INVALID_PARAMETER, remark));
        }
        let handle = parse(&message.handle)?;
        if handle.revive_queue == ORDER_REVIVE_QUEUE {
            return self.change_in_order(&change, handle.pop_time).await;
        }
        let (changed, end) = self.change(&change, &handle)?;
        self.durable(end).await?;
        Ok(changed)
    }

    fn change(
        &self,
        change: &Change,
        handle: &Handle,
    ) -> Result<(Changed, Option<LogOffset>), Refusal> {
        let message = &change.message;
        let old = key_of(message, handle);
        let now_ms = self.clock.now_ms();
        let offsets = [message.offset];
        let mut checkpoints = self.pops.checkpoints.lock();
        let is_own = handle.broker == self.identity.broker;
        let acking = match is_own {
            true => checkpoints.begin_ack(&old, &offsets),
            false => None,
        };
        let Some(acking) = acking else {
            return Err(not_open(&message.handle));
        };
        if !acking.is_last && checkpoints.is_full(&message.group) {
            checkpoints.end_ack(&old, acking.mask, None);
            let remark = format!(
                "{} has too many messages that are not acknowledged",
                message.group
            );
            return Err(Refusal::new(response::SYSTEM_BUSY, remark));
        }
        let mut key = Key {
            start: message.offset,
            pop_ms: now_ms,
            ..old.clone()
        };
        while checkpoints.contains(&key) {
            key.pop_ms += 1;
        }
        drop(checkpoints);
        let taken = Taken {
            key,
            invisible_ms: change.invisible_ms,
            distances: [0].into(),
            acked: 0,
        };
        let revive_queue = acking.revive_queue;
        let append = || -> Result<_, PutError> {
            let mut batch = Batch::default();
            let record = taken.to_record(&self.identity.broker);
            self.push_revive(&mut batch, revive_queue, CHECK_POINT, &record)?;
            self.push_ack(&mut batch, revive_queue, &old, &offsets)?;
            self.append(&mut batch)
        };
        let appended = append();
        let mut checkpoints = self.pops.checkpoints.lock();
        let changed = Changed {
            pop_ms: taken.key.pop_ms,
            invisible_ms: change.invisible_ms,
            revive_queue,
        };
        let end = match &appended {
            Ok(appended) => {
                let at = |index: usize| {
                    let entry = appended.entries.get(index);
                    entry.map(|(_, at)| (revive_queue, at.0))
                };
                if let Some(at) = at(0) {
                    let due_ms = taken.due_ms();
                    checkpoints.add(taken, at, due_ms);
                }
                checkpoints.end_ack(&old, acking.mask, at(1));
                Some(appended.end)
            }
            Err(_) => {
                checkpoints.end_ack(&old, acking.mask, None);
                None
            }
        };
        drop(checkpoints);
        self.pops.bell.notify_one();
        appended?;
        Ok((changed, end))
    }

    /// Stores that messages are acknowledged, with one append; of those that are not open nothing.
    fn ack_named(&self, named: Vec<Named>) -> Result<Option<LogOffset>, Refusal> {
        let now_ms = self.clock.now_ms();
        let mut batch = Batch::default();
        let mut under_way = Vec::with_capacity(named.len());
        let mut pushed = Ok(());
        for named in &named {
            let may_be_early = self.is_still_to_come(named, now_ms);
            let mut checkpoints = self.pops.checkpoints.lock();
            let acking = checkpoints.begin_ack(&named.key, &named.offsets);
            if let Some(acking) = acking {
                drop(checkpoints);
                let revive_queue = acking.revive_queue;
                pushed = self.push_ack(&mut batch, revive_queue, &named.key, &acking.offsets);
                under_way.push((&named.key, acking));
            } else if may_be_early && !checkpoints.contains(&named.key) {
                let until_ms = named.key.pop_ms.saturating_add(named.invisible_ms);
                checkpoints.ack_early(named.key.clone(), &named.offsets, until_ms, now_ms);
            }
            if pushed.is_err() {
                break;
            }
        }
        if under_way.is_empty() {
            // Who says it again may have said it a moment ago: that is durable when everything is.
            return Ok(Some(self.store.log_end()));
        }
        let appended = pushed.and_then(|()| self.append(&mut batch));
        let mut checkpoints = self.pops.checkpoints.lock();
        for (index, (key, acking)) in under_way.iter().enumerate() {
            let entry = appended.as_ref().ok();
            let at = entry
                .and_then(|appended| appended.entries.get(index))
                .map(|(_, at)| (acking.revive_queue, at.0));
            checkpoints.end_ack(key, acking.mask, at);
        }
        drop(checkpoints);
        Ok(Some(appended?.end))
    }

    /// Whether Apache's timer may still have the check point: it was made before this broker started, and its time is
    /// not over.
    fn is_still_to_come(&self, named: &Named, now_ms: i64) -> bool {
        let key = &named.key;
        key.pop_ms < self.pops.started_ms
            && named.invisible_ms <= limits::INVISIBLE_MS_MAX
            && now_ms <= key.pop_ms.saturating_add(named.invisible_ms)
            && self
                .topic(normal_topic(&key.topic, &key.group))
                .is_some_and(|topic| (0..topic.read_queue_nums.max(1)).contains(&key.queue_id))
            && self.groups.state.read().find(&key.group).is_some()
    }

    async fn durable(&self, end: Option<LogOffset>) -> Result<(), Refusal> {
        if let Some(end) = end.filter(|_| self.config.store.sync_flush) {
            let durable = self.store.durable().reached(end.0).await;
            durable.map_err(|sealed| Refusal::from(PutError::from(sealed)))?;
        }
        Ok(())
    }

    /// Apache's checks of what the header says, in its order.
    fn check_message(&self, message: &Acked, end_too: bool) -> Result<(), Refusal> {
        let (topic, queue_id) = (&message.topic, message.queue_id);
        let config: Arc<TopicConfig> = self.topic(topic).ok_or_else(|| no_topic(topic))?;
        if !(0..config.read_queue_nums).contains(&queue_id) {
            let remark = illegal_queue(queue_id, &config, &message.consumer);
            return Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
        }
        let queue = self.store.queue(topic, queue_id);
        let (min, max) = queue.map_or((0, 0), |queue| (queue.min().0, queue.max_visible().0));
        let offset = message.offset;
        if offset < min || offset > max || offset == max && !end_too {
            let remark = format!(
                "offset is illegal, key:{topic}@{queue_id}, commit:{offset}, store:{min}~{max}"
            );
            return Err(Refusal::new(response::NO_MESSAGE, remark));
        }
        Ok(())
    }

    async fn ack_in_order(&self, ack: &Acked, pop_ms: i64) -> Result<(), Refusal> {
        let place = (&*ack.group, &*ack.topic, ack.queue_id);
        let _busy = self.pops.busy.take(&self.pops.waits, place).await;
        let committed = self.committed(&ack.group, &ack.topic, ack.queue_id);
        if committed.is_some_and(|committed| ack.offset < committed.0) {
            return Ok(());
        }
        let key = order_key(ack);
        let now_ms = self.clock.now_ms();
        let (acked, blocked) = {
            let mut orders = self.pops.orders.state.write();
            let acked = orders.ack(&key, ack.offset, pop_ms, now_ms);
            (acked, orders.is_blocked(&key, None, 0, now_ms))
        };
        match acked {
            OrderAck::Next(next) => {
                let next = QueueOffset(next);
                self.commit_offset(&ack.group, &ack.topic, ack.queue_id, next);
                if !blocked {
                    self.pops.waits.notify(&key);
                }
                Ok(())
            }
            OrderAck::Unknown => {
                let min = || {
                    let queue = self.store.queue(&ack.topic, ack.queue_id);
                    queue.map(|queue| queue.min())
                };
                // The message the group waits for, taken before a start that forgot it.
                let is_next = committed.or_else(min) == Some(QueueOffset(ack.offset));
                if is_next && pop_ms < self.pops.started_ms {
                    self.pops.orders.state.write().clear(&key);
                    let next = QueueOffset(ack.offset.saturating_add(1));
                    self.commit_offset(&ack.group, &ack.topic, ack.queue_id, next);
                    self.pops.waits.notify(&key);
                }
                Ok(())
            }
            OrderAck::Stale => Ok(()),
            OrderAck::Illegal => {
                let remark = format!(
                    "offset is illegal, key:{}@{}@{}, old:{}, commit:{}, next:-1, {}",
                    ack.topic,
                    ack.group,
                    ack.queue_id,
                    committed.map_or(-1, |committed| committed.0),
                    ack.offset,
                    ack.consumer
                );
                Err(Refusal::new(response::MESSAGE_ILLEGAL, remark))
            }
        }
    }

    async fn change_in_order(&self, change: &Change, pop_ms: i64) -> Result<Changed, Refusal> {
        let message = &change.message;
        let place = (&*message.group, &*message.topic, message.queue_id);
        let _busy = self.pops.busy.take(&self.pops.waits, place).await;
        let committed = self.committed(&message.group, &message.topic, message.queue_id);
        let consumed = committed.is_some_and(|committed| message.offset < committed.0);
        let now_ms = self.clock.now_ms();
        let visible_ms = now_ms.saturating_add(change.invisible_ms);
        let changed = !consumed && {
            let mut orders = self.pops.orders.state.write();
            let key = order_key(message);
            orders.change(&key, message.offset, pop_ms, visible_ms, now_ms)
        };
        if !changed {
            return Err(not_open(&message.handle));
        }
        self.pops.bell.notify_one();
        Ok(Changed {
            pop_ms,
            invisible_ms: visible_ms.saturating_sub(pop_ms),
            revive_queue: ORDER_REVIVE_QUEUE,
        })
    }
}

fn order_key(message: &Acked) -> GroupQueue {
    GroupQueue {
        topic: message.topic.clone(),
        group: message.group.clone(),
        queue_id: message.queue_id,
    }
}

fn key_of(message: &Acked, handle: &Handle) -> Key {
    Key {
        topic: message.topic.clone(),
        group: message.group.clone(),
        queue_id: message.queue_id,
        start: handle.start_offset,
        pop_ms: handle.pop_time,
    }
}

fn parse(handle: &str) -> Result<Handle, Refusal> {
    Handle::parse(handle).map_err(|error| Refusal::system(error.to_string()))
}

/// Apache promises a new invisible time for any handle, and puts the message into the retry topic once more when it is over.
fn not_open(handle: &str) -> Refusal {
    let handle: String = handle.chars().take(128).collect();
    let remark =
        format!("no message is taken by \"{handle}\": acknowledged, back already, or never taken");
    Refusal::new(response::NO_MESSAGE, remark)
}

/// The offsets that a batch names, at most as many as a check point holds.
fn bits(ack: &BatchAck) -> Result<Vec<i64>, Refusal> {
    let bytes = base64(&ack.bit_set).ok_or_else(|| {
        let set: String = ack.bit_set.chars().take(128).collect();
        Refusal::system(format!("bit set \"{set}\", expected base 64"))
    })?;
    let bits = bytes.iter().enumerate().flat_map(|(index, byte)| {
        (0..8)
            .filter(move |bit| byte & 1 << bit != 0)
            .map(move |bit| index * 8 + bit)
    });
    Ok(bits
        .map(|bit| ack.start_offset.saturating_add(bit as i64))
        .take(64)
        .collect())
}

/// Decodes base 64 with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut value, mut bits) = (0_u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        value = value << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((value >> bits) as u8);
        }
    }
    Some(bytes)
}
