//! What a record becomes in its queue: the same whether it is appended or recovered.

use protocol::properties;
use protocol::record::Outline;
use protocol::tags::tags_code;

use crate::config::Config;
use crate::consume_queue::QueueEntry;

/// Where delayed messages wait. Their entries hold the time to deliver them, not a tag.
const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// The consume queue entry of a record in the log.
pub(crate) fn entry_of(config: &Config, outline: &Outline<'_>) -> QueueEntry {
    QueueEntry {
        queue_offset: outline.queue_offset,
        log_offset: outline.log_offset,
        size: outline.size as i32,
        tags_code: tags_code_of(config, outline),
    }
}

fn tags_code_of(config: &Config, outline: &Outline<'_>) -> i64 {
    if outline.topic == SCHEDULE_TOPIC
        && let Some(level) = properties::find(outline.properties, properties::DELAY)
        && let Ok(level) = level.parse::<usize>()
        && level > 0
        && let Some(last) = config.delay_levels_ms.last()
    {
        let delay = config.delay_levels_ms.get(level - 1).unwrap_or(last);
        return outline.store_timestamp + delay;
    }
    properties::find(outline.properties, properties::TAGS).map_or(0, tags_code)
}
