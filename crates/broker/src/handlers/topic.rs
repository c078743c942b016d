//! What tools ask about topics: what its queues have 202, its settings 351.

use std::sync::Arc;

use protocol::QueueOffset;
use protocol::bodies::{TopicConfig, TopicOffset, TopicStats};
use protocol::codes::response;
use protocol::command::NoHeader;
use protocol::fastjson;
use protocol::headers::topic::{TopicConfigOf, TopicStatsOf};
use remoting::Request;
use store::Queue;

use super::Answer;
use crate::broker::Broker;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

type Told = Result<Answer<NoHeader>, Refusal>;

fn find(broker: &Broker, topic: &str, remark: &str) -> Result<Arc<TopicConfig>, Refusal> {
    broker
        .topic(topic)
        .ok_or_else(|| Refusal::new(response::TOPIC_NOT_EXIST, remark.to_owned()))
}

/// 202: the ends of each queue, and when its newest message was stored.
pub(crate) fn stats(broker: &Broker, request: &Request) -> Told {
    let header: TopicStatsOf<'_> = request.header()?;
    let topic = header.topic.to_str();
    let config = find(broker, &topic, &format!("topic[{topic}] not exist"))?;
    let mut stats = TopicStats::default();
    for queue_id in 0..config.read_queue_nums.max(config.write_queue_nums) {
        let has = match broker.store.queue(&topic, queue_id) {
            Some(queue) => has(broker, &queue)?,
            None => TopicOffset::default(),
        };
        let queue = broker.message_queue(&topic, queue_id);
        stats.offset_table.insert(queue, has);
    }
    Ok(Answer::body(fastjson::to_vec(&stats)))
}

fn has(broker: &Broker, queue: &Queue) -> Result<TopicOffset, Refusal> {
    let (min_offset, max_offset) = (queue.min(), queue.max_visible());
    let newest = QueueOffset(max_offset.0 - 1);
    let stored = match max_offset.0 > 0 {
        true => broker.store.stored_ms(queue, newest).map_err(|error| {
            tracing::error!(%error, topic = queue.topic(), "can't read a queue");
            Refusal::system(error.to_string())
        })?,
        false => None,
    };
    Ok(TopicOffset {
        last_update_timestamp: stored.unwrap_or(0),
        max_offset,
        min_offset,
    })
}

/// 351: a topic's settings.
pub(crate) fn config(broker: &Broker, request: &Request) -> Told {
    let header: TopicConfigOf<'_> = request.header()?;
    let topic = header.topic.to_str();
    let remark = format!("No topic in this broker. topic: {topic}");
    let config = find(broker, &topic, &remark)?;
    Ok(Answer::body(fastjson::to_vec(&*config)))
}
