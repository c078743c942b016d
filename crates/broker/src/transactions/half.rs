//! What a half message says, and what is made of it: the message that is delivered, a copy, a message put aside.

use std::time::Duration;

use protocol::properties;
use protocol::record::{Record, sys_flag};

use crate::message::Message;
use crate::topics;

#[cfg(test)]
mod tests;

/// When half messages are asked after, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// From the send to the first question, where the message does not say.
    pub(crate) timeout_ms: i64,
    /// From one question to the next.
    pub(crate) interval_ms: i64,
    /// Questions.
    pub(crate) checks_max: i32,
    /// A message this old is not asked after any more.
    pub(crate) age_ms_max: i64,
}

impl Rules {
    pub(crate) fn new(timeout: Duration, interval: Duration, checks_max: i32, hours: u32) -> Rules {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Rules {
            timeout_ms: ms(timeout),
            interval_ms: ms(interval),
            checks_max,
            age_ms_max: i64::from(hours) * 3_600_000,
        }
    }
}

/// What a half message says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts<'a> {
    /// The topic and queue it is for.
    pub(crate) topic: Option<&'a str>,
    pub(crate) queue_id: i32,
    /// The producer group that is asked.
    pub(crate) group: Option<&'a str>,
    pub(crate) unique_key: Option<&'a str>,
    /// How often it was asked after; only a copy has been.
    pub(crate) checks: Option<i32>,
    /// Of a copy: the queue offset of the half message that was sent.
    pub(crate) origin: Option<i64>,
    /// The producer's own time before the first question, s.
    pub(crate) immunity: Option<&'a str>,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Facts<'a> {
        let mut facts = Facts::default();
        for (name, value) in properties::iter(text) {
            match name {
                properties::REAL_TOPIC => facts.topic = Some(value),
                properties::REAL_QID => facts.queue_id = value.parse().unwrap_or(0),
                properties::PGROUP => facts.group = Some(value),
                properties::UNIQ_KEY => facts.unique_key = Some(value),
                properties::TRANSACTION_CHECK_TIMES => {
                    facts.checks = Some(value.parse().unwrap_or(0));
                }
                properties::TRAN_PREPARED_QUEUE_OFFSET => facts.origin = value.parse().ok(),
                properties::CHECK_IMMUNITY_TIME_IN_SECONDS => facts.immunity = Some(value),
                _ => {}
            }
        }
        facts
    }

    /// When to ask the producer, of a half message born and stored then. Counted from when it was stored, for producers' clocks
    /// may be wrong; Apache's copies of messages that may not be asked after yet are stored later than that.
    pub(crate) fn due_ms(&self, rules: &Rules, born_ms: i64, stored_ms: i64) -> i64 {
        if self.checks.is_some() {
            return stored_ms.saturating_add(rules.interval_ms);
        }
        let immunity_ms = match self.immunity.map(str::parse::<i64>) {
            Some(Ok(seconds @ 0..)) => seconds.saturating_mul(1_000),
            _ => rules.timeout_ms,
        };
        let latest = stored_ms.saturating_add(immunity_ms);
        match self.origin {
            Some(_) => born_ms.saturating_add(immunity_ms).clamp(stored_ms, latest),
            None => latest,
        }
    }

    /// Until when the producer may end it without having been asked, if it has set a time of its own: then the question is
    /// as good as on its way.
    pub(crate) fn endable_until_ms(&self, rules: &Rules, born_ms: i64) -> Option<i64> {
        let own_ms = self
            .immunity?
            .parse()
            .map_or(0, |s: i64| s.saturating_mul(1_000));
        Some(born_ms.saturating_add(own_ms.max(rules.timeout_ms)))
    }
}

/// Whether a send's properties make it a half message. Clients before 4.6.1 leave the mark on messages that they send back.
pub(crate) fn is_half(text: &[u8], reconsume_times: i32) -> bool {
    let marked = properties::find(text, properties::TRAN_MSG);
    marked.is_some_and(|mark| mark.eq_ignore_ascii_case("true"))
        && !(reconsume_times > 0 && is_delayed(text))
}

fn is_delayed(text: &[u8]) -> bool {
    let level = properties::find(text, properties::DELAY);
    level.is_some_and(|level| level.parse::<i32>().is_ok_and(|level| level > 0))
}

/// Makes the properties of a send those of a half message for that queue. What only the broker writes there is taken out.
pub(crate) fn prepare(text: &mut Vec<u8>, topic: &str, queue_id: i32, unique_key: Option<&str>) {
    properties::remove(text, properties::TRAN_PREPARED_QUEUE_OFFSET);
    properties::remove(text, properties::TRANSACTION_CHECK_TIMES);
    if let Some(key) = unique_key {
        properties::set(text, properties::TRANSACTION_ID, key);
    }
    properties::set(text, properties::REAL_TOPIC, topic);
    properties::set(text, properties::REAL_QID, &queue_id.to_string());
}

/// The message that consumers get. Like Apache's it keeps the half message's properties, all but what we add to copies.
/// `log_offset` is where the half message is that this one ends.
pub(crate) fn committed(half: &Record<'_>, log_offset: i64) -> Option<Message> {
    let facts = Facts::of(half.properties);
    let mut message = Message {
        topic: facts.topic?.to_owned(),
        queue_id: facts.queue_id,
        sys_flag: half.sys_flag & !sys_flag::TRANSACTION | sys_flag::TRANSACTION_COMMIT,
        prepared_transaction_offset: log_offset,
        ..Message::of(half)
    };
    if facts.immunity.is_none() {
        message.remove(properties::TRAN_PREPARED_QUEUE_OFFSET);
    }
    Some(message)
}

/// A copy for the end of the half messages' queue, which takes the place of this one; `checked` if the producer is asked.
pub(crate) fn copy(half: &Record<'_>, origin: i64, checked: bool) -> Message {
    let mut message = Message::of(half);
    message.set(properties::TRAN_PREPARED_QUEUE_OFFSET, &origin.to_string());
    if checked {
        let checks = Facts::of(half.properties).checks.unwrap_or(0);
        let checks = checks.saturating_add(1).to_string();
        message.set(properties::TRANSACTION_CHECK_TIMES, &checks);
    }
    message
}

/// The same message where those are put that nobody could say anything about. It says of what it was made, for a late commit.
pub(crate) fn put_aside(half: &Record<'_>, origin: i64) -> Message {
    let mut message = Message {
        topic: topics::CHECKED_TOO_OFTEN.to_owned(),
        queue_id: 0,
        prepared_transaction_offset: half.log_offset.0,
        ..Message::of(half)
    };
    message.set(properties::TRAN_PREPARED_QUEUE_OFFSET, &origin.to_string());
    message
}
