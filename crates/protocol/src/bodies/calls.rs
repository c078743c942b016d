//! Offsets of a group's clients: RESET_CONSUMER_CLIENT_OFFSET 220 and 222, GET_CONSUMER_STATUS_FROM_CLIENT 221 and 223.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lock::MessageQueue;
use crate::QueueOffset;

/// Body of 220, and of the answer to 222 (`ResetOffsetBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBody {
    /// Where the group goes on.
    pub offset_table: BTreeMap<MessageQueue, QueueOffset>,
}

/// Body of 220 when a C++ tool asked for it (`ResetOffsetBodyForC`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBodyForC {
    /// Where the group goes on.
    pub offset_table: Vec<QueueAt>,
}

/// A queue with its offset (`MessageQueueForC`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueAt {
    /// Broker's name.
    pub broker_name: String,
    /// Where to go on.
    pub offset: QueueOffset,
    /// Number on that broker.
    pub queue_id: i32,
    /// Topic's name.
    pub topic: String,
}

/// Body of the answers to 221, with one client's offsets, and to 223, with those of all clients (`GetConsumerStatusBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerStatus {
    /// By client id.
    pub consumer_table: BTreeMap<String, BTreeMap<MessageQueue, QueueOffset>>,
    /// Of the client that answers.
    pub message_queue_table: BTreeMap<MessageQueue, QueueOffset>,
}
