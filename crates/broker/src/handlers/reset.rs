//! INVOKE_BROKER_TO_RESET_OFFSET 222: an operator sets where a group goes on. The group's next pull tells it, or, with
//! useServerSideResetOffset=false, RESET_CONSUMER_CLIENT_OFFSET 220 tells its members.

use std::collections::BTreeMap;

use protocol::QueueOffset;
use protocol::bodies::calls::QueueAt;
use protocol::bodies::{MessageQueue, ResetOffsetBody, ResetOffsetBodyForC, TopicConfig};
use protocol::codes::{request, response};
use protocol::command::{Language, NoHeader};
use protocol::fastjson;
use protocol::headers::calls::ResetOffset;
use remoting::Request;
use store::{Boundary, ReadError};

use super::Answer;
use super::relay::check_offsets_version;
use crate::broker::Broker;
use crate::handlers::offset::check_group;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// The offsets of a group in a topic, by queue.
type Table = BTreeMap<MessageQueue, QueueOffset>;

/// 222.
pub(crate) fn reset(broker: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    let header: ResetOffset<'_> = request.header()?;
    let (group, topic) = (header.group.to_str(), header.topic.to_str());
    check_group(&group)?;
    let table = match broker.config.server_side_reset {
        true => by_next_pull(broker, &header, &group, &topic)?,
        false => by_members(broker, &header, request.language)?,
    };
    tracing::info!(%group, %topic, timestamp = header.timestamp, peer = %request.peer().remote_addr(), "offsets were reset");
    let body = ResetOffsetBody {
        offset_table: table,
    };
    Ok(Answer::body(fastjson::to_vec(&body)))
}

/// Keeps the offsets here. Whoever of the group pulls next is told.
fn by_next_pull(
    broker: &Broker,
    header: &ResetOffset<'_>,
    group: &str,
    topic: &str,
) -> Result<Table, Refusal> {
    let config = broker.topic(topic).ok_or_else(|| {
        let remark = format!("Topic {topic} does not exist");
        Refusal::new(response::TOPIC_NOT_EXIST, remark)
    })?;
    if broker.groups.state.read().find(group).is_none() {
        let remark = format!("Group {group} does not exist");
        return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    }
    let mut table = Table::new();
    if header.queue_id >= 0 {
        let offset = one_queue(broker, header, &config)?;
        table.insert(broker.message_queue(topic, header.queue_id), offset);
    } else {
        for queue_id in 0..config.read_queue_nums {
            let offset = by_time(broker, topic, queue_id, header.timestamp)?;
            table.insert(broker.message_queue(topic, queue_id), offset);
        }
    }
    if table.is_empty() {
        return Err(Refusal::system(format!(
            "No queues to reset. topic={topic}"
        )));
    }
    let mut offsets = broker.offsets.state.write();
    for (queue, offset) in &table {
        offsets.reset(group, topic, queue.queue_id, *offset, broker.clock.now_ms());
    }
    drop(offsets);
    // An operator's word is not lost with the commits of the last seconds.
    broker.offsets_bell.ring();
    broker.holds.reset();
    Ok(table)
}

/// The offset of the one queue that the request names. Apache takes any number of a queue.
fn one_queue(
    broker: &Broker,
    header: &ResetOffset<'_>,
    config: &TopicConfig,
) -> Result<QueueOffset, Refusal> {
    const NONE: QueueOffset = QueueOffset(-1);
    let (topic, queue_id) = (&config.topic_name, header.queue_id);
    if queue_id >= config.read_queue_nums.max(config.write_queue_nums) {
        let remark = format!("QueueId is {queue_id}, topic is {topic}");
        return Err(Refusal::new(response::INVALID_PARAMETER, remark));
    }
    let Some(offset) = header.offset.filter(|offset| *offset != NONE) else {
        return by_time(broker, topic, queue_id, header.timestamp);
    };
    let queue = broker.store.queue(topic, queue_id);
    let (min, max) =
        queue.map_or_else(Default::default, |queue| (queue.min(), queue.max_visible()));
    if offset < min || offset.0 > max.0 + 1 {
        return Err(Refusal::system(format!(
            "Target offset {offset} not in consume queue range [{min}-{max}]"
        )));
    }
    Ok(offset)
}

/// The first message stored at the time or later; the end of the queue if the time is negative.
fn by_time(
    broker: &Broker,
    topic: &str,
    queue_id: i32,
    timestamp: i64,
) -> Result<QueueOffset, Refusal> {
    let Some(queue) = broker.store.queue(topic, queue_id) else {
        return Ok(QueueOffset(0));
    };
    if timestamp < 0 {
        return Ok(queue.max_visible());
    }
    let found = broker
        .store
        .offset_by_time(&queue, timestamp, Boundary::Lower);
    found.map_err(|error: ReadError| {
        tracing::error!(%error, topic, queue_id, "can't read a queue");
        Refusal::system(error.to_string())
    })
}

/// Tells every member where to go on; they commit it.
fn by_members(
    broker: &Broker,
    header: &ResetOffset<'_>,
    language: Language,
) -> Result<Table, Refusal> {
    let (group, topic) = (&*header.group.to_str(), &*header.topic.to_str());
    let table = wanted(broker, header, group, topic)?;
    let clients = broker.clients.lock();
    let members: Vec<_> = clients
        .group(group)
        .map(|group| group.members().cloned().collect())
        .unwrap_or_default();
    drop(clients);
    if members.is_empty() {
        let remark = format!(
            "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} Timestamp: {}",
            header.timestamp
        );
        return Err(Refusal::new(response::CONSUMER_NOT_ONLINE, remark));
    }
    for member in &members {
        check_offsets_version(member)?;
    }
    let told = ResetOffset {
        queue_id: -1,
        offset: None,
        is_force: false,
        ..*header
    };
    let body = match language {
        Language::Cpp => fastjson::to_vec(&ResetOffsetBodyForC {
            offset_table: table.iter().map(for_c).collect(),
        }),
        _ => fastjson::to_vec(&ResetOffsetBody {
            offset_table: table.clone(),
        }),
    };
    for member in members {
        // One whose connection is gone by now has left the group, and begins where the others are told to.
        let _ = member
            .peer
            .notify(request::RESET_CONSUMER_CLIENT_OFFSET, &told, body.clone());
    }
    Ok(table)
}

/// Where each queue of the topic goes on: forwards only if that is forced.
fn wanted(
    broker: &Broker,
    header: &ResetOffset<'_>,
    group: &str,
    topic: &str,
) -> Result<Table, Refusal> {
    let config = broker.topic(topic).ok_or_else(|| {
        let remark =
            format!("[reset-offset] reset offset failed, no topic in this broker. topic={topic}");
        Refusal::new(response::TOPIC_NOT_EXIST, remark)
    })?;
    let mut table = Table::new();
    for queue_id in 0..config.write_queue_nums {
        let committed = broker
            .offsets
            .state
            .read()
            .committed(group, topic, queue_id);
        let committed = committed
            .ok_or_else(|| Refusal::system(format!("THe consumer group <{group}> not exist")))?;
        let offset = by_time(broker, topic, queue_id, header.timestamp)?;
        let goes_on = if header.is_force {
            offset
        } else {
            offset.min(committed)
        };
        table.insert(broker.message_queue(topic, queue_id), goes_on);
    }
    Ok(table)
}

fn for_c((queue, offset): (&MessageQueue, &QueueOffset)) -> QueueAt {
    QueueAt {
        broker_name: queue.broker_name.clone(),
        offset: *offset,
        queue_id: queue.queue_id,
        topic: queue.topic.clone(),
    }
}
