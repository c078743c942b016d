//! How far a group is: GET_CONSUME_STATS 208; and what a topic has: GET_TOPIC_STATS_INFO 202.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lock::MessageQueue;
use crate::QueueOffset;

/// Body of the answer to 208 (`ConsumeStats`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Messages a second that the group gets.
    pub consume_tps: f64,
    /// By queue.
    pub offset_table: BTreeMap<MessageQueue, OffsetWrapper>,
}

/// How far a group is in a queue (`OffsetWrapper`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetWrapper {
    /// Behind the newest message.
    pub broker_offset: QueueOffset,
    /// Committed.
    pub consumer_offset: QueueOffset,
    /// When the last consumed message was stored, ms since the epoch; 0 if there is none.
    pub last_timestamp: i64,
    /// Pulled.
    pub pull_offset: QueueOffset,
}

/// Body of the answer to 202 (`TopicStatsTable`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStats {
    /// By queue.
    pub offset_table: BTreeMap<MessageQueue, TopicOffset>,
    /// Messages a second that the topic gets.
    pub topic_put_tps: f64,
}

/// What a queue has (`TopicOffset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    /// When its newest message was stored, ms since the epoch; 0 if there is none.
    pub last_update_timestamp: i64,
    /// Behind the newest message.
    pub max_offset: QueueOffset,
    /// Of the oldest one.
    pub min_offset: QueueOffset,
}
