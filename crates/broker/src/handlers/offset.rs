//! Offsets: a group's own (14, 15), a queue's ends (30, 31), and by time (29, 32).

use protocol::QueueOffset;
use protocol::codes::response;
use protocol::command::NoHeader;
use protocol::headers::offset::{
    BoundaryType, EarliestStoreTime, EarliestStoreTimeResponse, MaxOffset, MinOffset,
    OffsetResponse, QueryConsumerOffset, SearchOffset, UpdateConsumerOffset,
};
use remoting::Request;
use store::{Boundary, Queue, ReadError, ReadLimits};

use super::Answer;
use crate::broker::Broker;
use crate::groups;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

type Offset = Result<Answer<OffsetResponse>, Refusal>;

fn found(offset: QueueOffset) -> Offset {
    Ok(Answer::header(OffsetResponse { offset }))
}

/// 14: where the group goes on. A group without an offset begins at 0 while the queue's first message is young, whatever
/// the client prefers, so that a consumer started right after its first producer misses nothing.
pub(crate) fn query(broker: &Broker, request: &Request) -> Offset {
    let header: QueryConsumerOffset<'_> = request.header()?;
    let (group, topic) = (header.consumer_group.to_str(), header.topic.to_str());
    let committed = broker
        .offsets
        .state
        .read()
        .committed(&group, &topic, header.queue_id);
    if let Some(offset) = committed.filter(|offset| offset.0 >= 0) {
        return found(offset);
    }
    let not_found = |remark: &'static str| Err(Refusal::new(response::QUERY_NOT_FOUND, remark));
    if header.set_zero_if_not_found == Some(false) {
        return not_found("Not found, do not set to zero, maybe this group boot first");
    }
    match broker.store.queue(&topic, header.queue_id) {
        Some(queue) if broker.starts_young(&queue)? => found(QueueOffset(0)),
        _ => not_found("Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"),
    }
}

impl Broker {
    /// Whether the queue still has its very first message, and that one is near the end of the log (where Apache asks whether
    /// it is within 40 % of the machine's memory).
    pub(crate) fn starts_young(&self, queue: &Queue) -> Result<bool, Refusal> {
        if queue.min().0 > 0 {
            return Ok(false);
        }
        let one = ReadLimits {
            messages_max: 1,
            scan_bytes_max: 0,
            ..self.config.read_limits
        };
        let mut first = None;
        self.store
            .read(queue, QueueOffset(0), &one, |entry| {
                first = Some(entry.log_offset);
                false
            })
            .map_err(unreadable)?;
        Ok(first.is_some_and(|first| self.store.log_end().0 - first.0 <= one.hot_window_bytes))
    }
}

/// What the broker itself has consumed is not for clients to say. Apache takes it from anybody, and loses half messages by it.
pub(crate) fn check_group(group: &str) -> Result<(), Refusal> {
    match groups::is_system(group) {
        true => Err(Refusal::new(
            response::NO_PERMISSION,
            format!("the offsets of group {group} are the broker's own"),
        )),
        false => Ok(()),
    }
}

/// 15: the group consumed everything before an offset.
pub(crate) fn update(broker: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    let header: UpdateConsumerOffset<'_> = request.header()?;
    let (group, topic) = (header.consumer_group.to_str(), header.topic.to_str());
    if broker.groups.state.read().find(&group).is_none() {
        return Err(Refusal::new(
            response::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("Group {group} not exist!"),
        ));
    }
    check_group(&group)?;
    let Some(config) = broker.topic(&topic) else {
        return Err(Refusal::new(
            response::TOPIC_NOT_EXIST,
            format!("Topic {topic} not exist!"),
        ));
    };
    // Apache takes any number. A queue may be there that the topic has no more, since it was shrunk.
    let queues = config.read_queue_nums.max(config.write_queue_nums);
    let exists = |queue_id| broker.store.queue(&topic, queue_id).is_some();
    if !(0..queues).contains(&header.queue_id) && !exists(header.queue_id) {
        let remark = format!("QueueId is {}, topic is {topic}", header.queue_id);
        return Err(Refusal::new(response::INVALID_PARAMETER, remark));
    }
    let committed = broker.commit_offset(&group, &topic, header.queue_id, header.commit_offset);
    Ok(Answer {
        remark: (!committed).then_some("Offset has been previously reset"),
        ..Answer::done()
    })
}

/// 30: the offset behind the newest message. Of a queue that is not there, 0.
pub(crate) fn max(broker: &Broker, request: &Request) -> Offset {
    let header: MaxOffset<'_> = request.header()?;
    let queue = broker.store.queue(&header.topic.to_str(), header.queue_id);
    found(queue.map_or(QueueOffset(0), |queue| queue.max_visible()))
}

/// 31: the offset of the oldest message. Of a queue that is not there, 0.
pub(crate) fn min(broker: &Broker, request: &Request) -> Offset {
    let header: MinOffset<'_> = request.header()?;
    let queue = broker.store.queue(&header.topic.to_str(), header.queue_id);
    found(queue.map_or(QueueOffset(0), |queue| queue.min()))
}

/// 29: the offset of a message by the time it was stored. Of a queue that is not there, 0.
pub(crate) fn search(broker: &Broker, request: &Request) -> Offset {
    let header: SearchOffset<'_> = request.header()?;
    let Some(queue) = broker.store.queue(&header.topic.to_str(), header.queue_id) else {
        return found(QueueOffset(0));
    };
    let boundary = match header.boundary_type.unwrap_or_default() {
        BoundaryType::Lower => Boundary::Lower,
        BoundaryType::Upper => Boundary::Upper,
    };
    found(
        broker
            .store
            .offset_by_time(&queue, header.timestamp, boundary)
            .map_err(unreadable)?,
    )
}

/// 32: when the oldest message of a queue was stored; -1 if there is none.
pub(crate) fn earliest(
    broker: &Broker,
    request: &Request,
) -> Result<Answer<EarliestStoreTimeResponse>, Refusal> {
    let header: EarliestStoreTime<'_> = request.header()?;
    let stored = match broker.store.queue(&header.topic.to_str(), header.queue_id) {
        Some(queue) => broker
            .store
            .stored_ms(&queue, queue.min())
            .map_err(unreadable)?,
        None => None,
    };
    Ok(Answer::header(EarliestStoreTimeResponse {
        timestamp: stored.unwrap_or(-1),
    }))
}

fn unreadable(error: ReadError) -> Refusal {
    tracing::error!(%error, "can't read a queue");
    Refusal::system(error.to_string())
}
