//! Consumption by pop: assignments (400, 401), batches of acknowledgements (200151), the records of the revive topic, and
//! `consumerOrderInfo.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::heartbeat::MessageModel;
use super::lock::MessageQueue;

/// How the members of a group get the messages of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MessageRequestMode {
    /// Each has queues of its own and keeps their offsets.
    #[default]
    Pull,
    /// Queues are shared and the broker remembers who has which message.
    Pop,
}

/// Body of QUERY_ASSIGNMENT 400 (`QueryAssignmentRequestBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignment {
    /// Who asks.
    pub client_id: String,
    /// Its group.
    pub consumer_group: String,
    /// Whether the members share the queues.
    pub message_model: MessageModel,
    /// `AVG` or `AVG_BY_CIRCLE`.
    pub strategy_name: String,
    /// The topic.
    pub topic: String,
}

/// A queue for the member that asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueueAssignment {
    /// The queue; number -1 for all queues of that broker.
    pub message_queue: MessageQueue,
    /// How to get its messages.
    pub mode: MessageRequestMode,
}

/// Body of the answer to QUERY_ASSIGNMENT (`QueryAssignmentResponseBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignmentResponse {
    /// The member's queues; none at all if the broker does not know, and the member keeps those it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<MessageQueueAssignment>>,
}

/// Body of SET_MESSAGE_REQUEST_MODE 401 (`SetMessageRequestModeRequestBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetMessageRequestMode {
    /// The group.
    pub consumer_group: String,
    /// How its members get the topic's messages.
    pub mode: MessageRequestMode,
    /// With pop, how many other members' queues a member takes from beside its own; 0 or less for all.
    pub pop_share_queue_num: i32,
    /// The topic.
    pub topic: String,
}

/// `messageRequestMode.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageRequestModes {
    /// By topic, then by group.
    pub message_request_mode_map: BTreeMap<String, BTreeMap<String, SetMessageRequestMode>>,
}

/// Body of BATCH_ACK_MESSAGE 200151 (`BatchAckMessageRequestBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAckMessage {
    /// One for each pop and queue.
    pub acks: Vec<BatchAck>,
    /// Broker the messages were taken from.
    pub broker_name: String,
}

/// Messages of one queue and one pop (`BatchAck`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAck {
    /// Which of them, bit n for start offset + n: bytes in base 64, lowest first.
    #[serde(rename = "b", alias = "bitSet")]
    pub bit_set: String,
    /// Group of the consumer.
    #[serde(rename = "c", alias = "consumerGroup")]
    pub consumer_group: String,
    /// Invisible time, ms.
    #[serde(rename = "it", alias = "invisibleTime")]
    pub invisible_time: i64,
    /// Pop time, ms since the epoch.
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_time: i64,
    /// Queue.
    #[serde(rename = "q", alias = "queueId")]
    pub queue_id: i32,
    /// `0`, or `1` and `2` for the retry topic of either version.
    #[serde(rename = "r", alias = "retry")]
    pub retry: String,
    /// Queue of the revive topic.
    #[serde(rename = "rq", alias = "reviveQueueId")]
    pub revive_queue_id: i32,
    /// Start offset.
    #[serde(rename = "so", alias = "startOffset")]
    pub start_offset: i64,
    /// The producer's topic.
    #[serde(rename = "t", alias = "topic")]
    pub topic: String,
}

/// Record of the revive topic tagged `ck`: messages that a pop took from one queue (`PopCheckPoint`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckPoint {
    /// Bit n: message n is acknowledged.
    #[serde(rename = "bm")]
    pub bit_map: i32,
    /// Broker that has the messages.
    #[serde(rename = "bn")]
    pub broker_name: String,
    /// Group of the consumer.
    #[serde(rename = "c")]
    pub group: String,
    /// Distance of each message from the start offset; without it they follow each other.
    #[serde(rename = "d", skip_serializing_if = "Vec::is_empty")]
    pub distances: Vec<i32>,
    /// Invisible time, ms.
    #[serde(rename = "it")]
    pub invisible_time: i64,
    /// How many messages.
    #[serde(rename = "n")]
    pub count: i8,
    /// Pop time, ms since the epoch.
    #[serde(rename = "pt")]
    pub pop_time: i64,
    /// Queue.
    #[serde(rename = "q")]
    pub queue_id: i32,
    /// Its own offset, as far as it was known.
    #[serde(rename = "ro")]
    pub revive_offset: i64,
    /// How often it was put again, because its messages could not be.
    #[serde(rename = "rp", skip_serializing_if = "Option::is_none")]
    pub re_put_times: Option<String>,
    /// Start offset.
    #[serde(rename = "so")]
    pub start_offset: i64,
    /// Topic the messages were taken from: that of the producer or a retry topic.
    #[serde(rename = "t")]
    pub topic: String,
}

/// Record of the revive topic tagged `ack` or `bAck`: messages of a check point that were acknowledged (`AckMsg`,
/// `BatchAckMsg`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AckRecord {
    /// Tagged `ack`: the message's offset.
    #[serde(rename = "ao", alias = "ackOffset")]
    pub ack_offset: i64,
    /// Tagged `bAck`: their offsets.
    #[serde(
        rename = "aol",
        alias = "ackOffsetList",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ack_offsets: Vec<i64>,
    /// Broker that has the messages.
    #[serde(
        rename = "bn",
        alias = "brokerName",
        skip_serializing_if = "Option::is_none"
    )]
    pub broker_name: Option<String>,
    /// Group of the consumer.
    #[serde(rename = "c", alias = "consumerGroup")]
    pub group: String,
    /// Pop time.
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_time: i64,
    /// Queue.
    #[serde(rename = "q", alias = "queueId")]
    pub queue_id: i32,
    /// Start offset of the check point.
    #[serde(rename = "so", alias = "startOffset")]
    pub start_offset: i64,
    /// Topic they were taken from.
    #[serde(rename = "t", alias = "topic")]
    pub topic: String,
}

/// What a group took in order from one queue, and what of it is acknowledged (`OrderInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrderInfo {
    /// Name of the try that took it.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
    /// Bit n: message n is acknowledged.
    #[serde(rename = "cm")]
    pub acked: u64,
    /// Invisible time, ms.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub invisible_time: Option<i64>,
    /// When it was last taken, ms since the epoch.
    #[serde(rename = "l")]
    pub last_consumed: i64,
    /// Offset of the first message, then the distance of each further one from it.
    #[serde(rename = "o")]
    pub offsets: Vec<i64>,
    /// By offset, how often it was taken before.
    #[serde(rename = "oc", skip_serializing_if = "Option::is_none")]
    pub consumed_counts: Option<BTreeMap<i64, i32>>,
    /// By offset, when it may be taken again, where that was changed.
    #[serde(rename = "ot", skip_serializing_if = "Option::is_none")]
    pub visible_times: Option<BTreeMap<i64, i64>>,
    /// Pop time, ms since the epoch.
    pub pop_time: i64,
}

/// `consumerOrderInfo.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderInfos {
    /// `topic@group` to queue id.
    pub table: BTreeMap<String, BTreeMap<i32, OrderInfo>>,
}
