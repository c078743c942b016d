//! LOCK_BATCH_MQ 41 and UNLOCK_BATCH_MQ 42.

use serde::{Deserialize, Serialize};

/// A queue of a topic on a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueue {
    /// Broker's name.
    pub broker_name: String,
    /// Number on that broker.
    pub queue_id: i32,
    /// Topic's name.
    pub topic: String,
}

/// Body of LOCK_BATCH_MQ (`LockBatchRequestBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatch {
    /// Client that wants the locks.
    pub client_id: String,
    /// Its group.
    pub consumer_group: String,
    /// The queues.
    pub mq_set: Vec<MessageQueue>,
    /// Not on the other brokers of a replica group.
    pub only_this_broker: bool,
}

/// Body of UNLOCK_BATCH_MQ (`UnlockBatchRequestBody`).
pub type UnlockBatch = LockBatch;

/// Body of the answer to LOCK_BATCH_MQ (`LockBatchResponseBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockBatchResponse {
    /// The queues that the client holds now.
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: Vec<MessageQueue>,
}
