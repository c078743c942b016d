//! What a popped message is acknowledged by: its receipt handle, and the header fields of a pop's answer that clients
//! make handles from (Apache's `ExtraInfoUtil`).
//!
//! A handle: `start pop-time invisible-time revive-queue retry broker queue offset`, separated by blanks.
//! `startOffsetInfo`: `retry queue start` joined by `;`. `msgOffsetInfo`: `retry queue offset,offset`. `orderCountInfo`:
//! `retry queue tries` for a queue, `retry qo<queue>%<offset> tries` for a message.

use std::fmt::{Display, Write};

#[cfg(test)]
mod tests;

/// Revive queue of messages taken in order, which have no check point.
pub const ORDER_REVIVE_QUEUE: i32 = 999;

/// Prefix of every retry topic.
const RETRY_PREFIX: &str = "%RETRY%";

/// Which of a topic's own or retry topics a message was taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Retry {
    /// `0`: the topic itself.
    #[default]
    No,
    /// `1`: `%RETRY%group_topic`.
    V1,
    /// `2`: `%RETRY%group+topic`.
    V2,
}

impl Retry {
    /// As handles write it.
    pub fn mark(self) -> &'static str {
        match self {
            Retry::No => "0",
            Retry::V1 => "1",
            Retry::V2 => "2",
        }
    }

    /// Reads what [`Retry::mark`] gives.
    pub fn parse(mark: &str) -> Option<Retry> {
        match mark {
            "0" => Some(Retry::No),
            "1" => Some(Retry::V1),
            "2" => Some(Retry::V2),
            _ => None,
        }
    }

    /// The topic of this kind for a group's messages of `topic`.
    pub fn topic(self, topic: &str, group: &str) -> String {
        match self {
            Retry::No => topic.to_owned(),
            Retry::V1 => format!("{RETRY_PREFIX}{group}_{topic}"),
            Retry::V2 => format!("{RETRY_PREFIX}{group}+{topic}"),
        }
    }
}

/// The topic whose messages a group's retry topic holds; any other topic itself.
pub fn normal_topic<'a>(topic: &'a str, group: &str) -> &'a str {
    let rest = topic
        .strip_prefix(RETRY_PREFIX)
        .and_then(|rest| rest.strip_prefix(group));
    match rest.and_then(|rest| rest.strip_prefix(['+', '_'])) {
        Some(normal) => normal,
        None => topic,
    }
}

/// A receipt handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// Start offset of the check point.
    pub start_offset: i64,
    /// Pop time, ms since the epoch.
    pub pop_time: i64,
    /// Invisible time, ms.
    pub invisible_time: i64,
    /// Queue of the revive topic, or [`ORDER_REVIVE_QUEUE`].
    pub revive_queue: i32,
    /// Broker the message was taken from.
    pub broker: String,
}

/// A text that is no receipt handle; it names what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// The broker's name is the sixth part.
    #[error("receipt handle \"{text}\" has {parts} parts, expected at least 6")]
    Short {
        /// The handle, cut after 128 characters.
        text: String,
        /// Parts there are.
        parts: usize,
    },
    /// A part that is no number.
    #[error("receipt handle: {field} is \"{value}\", expected a number")]
    Number {
        /// Which part.
        field: &'static str,
        /// What was there, cut after 128 characters.
        value: String,
    },
}

fn cut(text: &str) -> String {
    text.chars().take(128).collect()
}

impl Handle {
    /// Reads a handle as far as the broker's name; what follows clients read.
    pub fn parse(text: &str) -> Result<Handle, HandleError> {
        // Java's split drops empty strings at the end.
        let mut parts = text.trim_end_matches(' ').split(' ');
        let count = parts.clone().count();
        let short = || HandleError::Short {
            text: cut(text),
            parts: count,
        };
        let mut part = || parts.next().ok_or_else(short);
        fn number<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, HandleError> {
            text.parse().map_err(|_| HandleError::Number {
                field,
                value: cut(text),
            })
        }
        if count < 6 {
            return Err(short());
        }
        let handle = Handle {
            start_offset: number("start offset", part()?)?,
            pop_time: number("pop time", part()?)?,
            invisible_time: number("invisible time", part()?)?,
            revive_queue: number("revive queue", part()?)?,
            broker: {
                part()?;
                part()?.to_owned()
            },
        };
        Ok(handle)
    }

    /// The handle of one message.
    pub fn write(&self, retry: Retry, queue_id: i32, offset: i64) -> String {
        format!(
            "{} {} {} {} {} {} {queue_id} {offset}",
            self.start_offset,
            self.pop_time,
            self.invisible_time,
            self.revive_queue,
            retry.mark(),
            self.broker,
        )
    }
}

/// One of the header fields, growing.
#[derive(Clone, Debug, Default)]
pub struct Info(String);

impl Info {
    /// Adds `retry key value`.
    pub fn add(&mut self, retry: Retry, key: impl Display, value: impl Display) {
        let separator = if self.0.is_empty() { "" } else { ";" };
        // Writing to a string does not fail.
        let _ = write!(self.0, "{separator}{} {key} {value}", retry.mark());
    }

    /// Adds `retry queue offset,offset`.
    pub fn add_offsets(&mut self, retry: Retry, queue_id: i32, offsets: &[i64]) {
        let mut list = String::new();
        for offset in offsets {
            let separator = if list.is_empty() { "" } else { "," };
            let _ = write!(list, "{separator}{offset}");
        }
        self.add(retry, queue_id, list);
    }

    /// Adds how often a message was taken before.
    pub fn add_message_count(&mut self, retry: Retry, queue_id: i32, offset: i64, count: i32) {
        self.add(retry, format_args!("qo{queue_id}%{offset}"), count);
    }

    /// The field's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
