//! Offsets: of consumers, `consumerOffset.json`; of delay levels, `delayOffset.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topic::DataVersion;
use crate::QueueOffset;

/// `consumerOffset.json`, and the body of GET_ALL_CONSUMER_OFFSET. (The file that Apache writes also has a
/// `groupTopicMap`, derived from the table and not read again.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsets {
    /// Version of the table.
    pub data_version: DataVersion,
    /// `topic@group` to queue id to the next offset to consume.
    pub offset_table: BTreeMap<String, BTreeMap<i32, QueueOffset>>,
}

/// `delayOffset.json`, and the body of GET_ALL_DELAY_OFFSET (`DelayOffsetSerializeWrapper`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayOffsets {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Delay level, from 1, to the next message of its queue to deliver.
    pub offset_table: BTreeMap<i32, QueueOffset>,
}
