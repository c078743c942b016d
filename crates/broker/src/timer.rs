//! Messages for any time: where they wait, and what senders must know about that. [`owner`] moves them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;
use protocol::codes::response;
use protocol::properties;
use protocol::tags::tags_code;
use store::EntryTag;

use crate::broker::Broker;
use crate::delay::{self, Detour};
use crate::lateness::Lateness;
use crate::refusal::Refusal;
use crate::topics;

pub(crate) mod owner;

#[cfg(test)]
mod tests;

/// How messages for any time are treated. Names of keys are Apache's.
#[derive(Clone, Debug)]
pub struct TimerSettings {
    /// timerWheelEnable.
    pub enabled: bool,
    /// timerMaxDelaySec, in ms.
    pub delay_ms_max: i64,
    /// timerPrecisionMs: what slots are cut into.
    pub precision_ms: i64,
    /// timerRollWindowSlot.
    pub roll_window_slots: i64,
    /// mappedFileSizeTimerLog.
    pub log_file_bytes: u64,
    /// timerCongestNumEachSlot.
    pub slot_messages_max: i32,
    /// timerFlushIntervalMs.
    pub flush_interval: std::time::Duration,
    /// timerStopEnqueue: messages stay in the queue.
    pub stop_enqueue: bool,
    /// timerStopDequeue: messages stay in the wheel.
    pub stop_dequeue: bool,
    /// recallMessageEnable.
    pub recall_enabled: bool,
    /// allowRecallWhenBrokerNotWriteable.
    pub recall_when_not_writeable: bool,
}

impl Default for TimerSettings {
    fn default() -> TimerSettings {
        TimerSettings {
            enabled: true,
            delay_ms_max: 3 * 86_400_000,
            precision_ms: 1_000,
            roll_window_slots: 2 * 86_400,
            log_file_bytes: 100 << 20,
            slot_messages_max: i32::MAX,
            flush_interval: std::time::Duration::from_secs(1),
            stop_enqueue: false,
            stop_dequeue: false,
            recall_enabled: false,
            recall_when_not_writeable: true,
        }
    }
}

/// What senders and the owner share.
#[derive(Default)]
pub(crate) struct TimerState {
    pub(crate) lateness: Lateness,
    /// What slots are cut into, once the files were opened: they keep theirs while messages wait.
    precision_ms: OnceLock<i64>,
    /// Messages of each slot, where there is a limit to them.
    counts: Mutex<BTreeMap<i64, i32>>,
}

/// Why a message for later is not stored. The words are Apache's, and then what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTimed {
    #[error("accurate timer message is not enabled, timerWheelEnable is false")]
    Disabled,
    #[error(
        "timer message illegal, the delay time should not be bigger than the max delay {delay_ms_max}ms; or if set del msg, \
         the delay time should be bigger than the current time. This one has {property}={value}."
    )]
    Illegal {
        delay_ms_max: i64,
        property: &'static str,
        value: String,
    },
    #[error(
        "timer message is under flow control, max num limit is {twice} or the current value is greater than {limit} and less than \
         {twice}, trigger random flow control", twice = i64::from(*limit) * 2
    )]
    Congested { limit: i32 },
}

impl From<NotTimed> for Refusal {
    fn from(error: NotTimed) -> Refusal {
        match error {
            NotTimed::Illegal { .. } => Refusal::new(response::MESSAGE_ILLEGAL, error.to_string()),
            NotTimed::Disabled | NotTimed::Congested { .. } => Refusal::system(error.to_string()),
        }
    }
}

/// The ways to say when, the first one counts.
const ASKING: [&str; 3] = [
    properties::TIMER_DELAY_SEC,
    properties::TIMER_DELAY_MS,
    properties::TIMER_DELIVER_MS,
];

/// When a message is due whose sender asked for it that way.
pub(crate) fn due_ms(property: &str, value: &str, now_ms: i64) -> Option<i64> {
    let number: i64 = value.parse().ok()?;
    match property {
        properties::TIMER_DELAY_SEC => number.checked_mul(1_000)?.checked_add(now_ms),
        properties::TIMER_DELAY_MS => number.checked_add(now_ms),
        _ => Some(number),
    }
}

/// How the sender asked.
pub(crate) fn asked(text: &[u8]) -> Option<(&'static str, &str)> {
    ASKING
        .iter()
        .find_map(|name| Some((*name, properties::find(text, name)?)))
}

impl Broker {
    /// The detour of a message whose properties ask for a later time; they then remember where it goes in the end. A delay
    /// level wins over a time. Half messages wait for their transaction first.
    pub(crate) fn divert(
        &self,
        topic: &str,
        queue_id: i32,
        text: &mut Vec<u8>,
    ) -> Result<Option<Detour>, NotTimed> {
        let levels_ms = &self.config.store.delay_levels_ms;
        if let Some(detour) = delay::divert(levels_ms, topic, queue_id, text) {
            return Ok(Some(detour));
        }
        if [topics::HALF, topics::CHECKED_TOO_OFTEN, topics::TIMER].contains(&topic) {
            return Ok(None);
        }
        // What has been in the wheel does not go there again.
        if properties::find(text, properties::TIMER_OUT_MS).is_some() {
            return Ok(None);
        }
        let Some((property, value)) = asked(text) else {
            return Ok(None);
        };
        if !self.config.timer.enabled {
            return Err(NotTimed::Disabled);
        }
        let (now_ms, delay_ms_max) = (self.clock.now_ms(), self.config.timer.delay_ms_max);
        let illegal = |value: &str| NotTimed::Illegal {
            delay_ms_max,
            property,
            value: value.to_owned(),
        };
        let due_ms = due_ms(property, value, now_ms).ok_or_else(|| illegal(value))?;
        let delete = properties::find(text, properties::TIMER_DEL_UNIQKEY).is_some();
        if due_ms <= now_ms {
            return if delete {
                Err(illegal(value))
            } else {
                Ok(None)
            };
        }
        if due_ms - now_ms > delay_ms_max {
            return Err(illegal(value));
        }
        let slot_ms = self.timer_slot(due_ms);
        self.timer.admit(
            slot_ms,
            self.config.timer.slot_messages_max,
            self.next_turn(),
        )?;
        let tags = properties::find(text, properties::TAGS);
        let tag = EntryTag::Code(tags.map_or(0, tags_code));
        properties::set(text, properties::TIMER_OUT_MS, &slot_ms.to_string());
        properties::set(text, properties::REAL_TOPIC, topic);
        properties::set(text, properties::REAL_QID, &queue_id.to_string());
        Ok(Some(Detour {
            topic: topics::TIMER,
            queue_id: 0,
            tag,
        }))
    }

    /// The slot of what is due at a time: it ends then, or up to a precision later.
    fn timer_slot(&self, due_ms: i64) -> i64 {
        let opened_ms = self.timer.precision_ms.get();
        let precision_ms = *opened_ms.unwrap_or(&self.config.timer.precision_ms);
        (due_ms - 1).div_euclid(precision_ms) * precision_ms
    }
}

impl TimerState {
    /// Apache's flow control: from the limit on some are refused, from twice the limit all.
    fn admit(&self, slot_ms: i64, limit: i32, turn: u32) -> Result<(), NotTimed> {
        if limit == i32::MAX {
            return Ok(());
        }
        let count = self.counts.lock().get(&slot_ms).copied().unwrap_or(0);
        let (count, bound) = (i64::from(count), i64::from(limit));
        let beyond = 1_000 * (count - bound) / bound.max(1);
        if count <= bound || count < bound * 2 && i64::from(turn % 1_000) >= beyond {
            return Ok(());
        }
        Err(NotTimed::Congested { limit })
    }

    /// How many messages slots have now.
    fn count(&self, slots: impl IntoIterator<Item = (i64, i32)>) {
        self.counts.lock().extend(slots);
    }

    fn cut_into(&self, precision_ms: i64) {
        let _ = self.precision_ms.set(precision_ms);
    }

    fn forget_before(&self, slot_ms: i64) {
        let mut counts = self.counts.lock();
        *counts = counts.split_off(&slot_ms);
    }
}
