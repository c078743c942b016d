//! Delay levels: where a message waits that is to be delivered later.

use protocol::properties;
use store::EntryTag;

use crate::topics;

#[cfg(test)]
mod tests;

/// Where a delayed message waits instead of in its own queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Detour {
    pub(crate) topic: &'static str,
    pub(crate) queue_id: i32,
    pub(crate) tag: EntryTag,
}

/// The detour of a message for `topic` and `queue_id`, if its properties ask for one; they then remember where it goes in
/// the end. A level above the last one is the last one.
pub(crate) fn divert(
    levels_ms: &[i64],
    topic: &str,
    queue_id: i32,
    properties: &mut Vec<u8>,
) -> Option<Detour> {
    let asked = level(properties::find(properties, properties::DELAY)?)?;
    let level = asked.min(levels_ms.len());
    let delay_ms = levels_ms.get(level.checked_sub(1)?)?;
    if level < asked {
        properties::set(properties, properties::DELAY, &level.to_string());
    }
    properties::set(properties, properties::REAL_TOPIC, topic);
    properties::set(properties, properties::REAL_QID, &queue_id.to_string());
    Some(Detour {
        topic: topics::SCHEDULE,
        queue_id: level as i32 - 1,
        tag: EntryTag::DueAfterMs(*delay_ms),
    })
}

/// A delay level as a property says it; `None` where it means no delay.
fn level(text: &str) -> Option<usize> {
    text.parse::<usize>().ok().filter(|level| *level > 0)
}
