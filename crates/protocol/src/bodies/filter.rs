//! `consumerFilter.json`: the SQL92 expressions that groups subscribe with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole file (`ConsumerFilterManager`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerFilters {
    /// By topic.
    pub filter_data_by_topic: BTreeMap<String, TopicFilters>,
}

/// The expressions for a topic (`FilterDataMapByTopic`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicFilters {
    /// By group.
    pub group_filter_data: BTreeMap<String, ConsumerFilter>,
    /// The topic.
    pub topic: String,
}

/// A group's expression for a topic (`ConsumerFilterData`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerFilter {
    /// The group's place in the bit maps of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bloom_filter_data: Option<BloomFilterData>,
    /// When the broker learnt of it, ms since the epoch.
    pub born_time: i64,
    /// Version of the subscription that it came with.
    pub client_version: i64,
    /// The group.
    pub consumer_group: String,
    /// Whether `dead_time` is not before `born_time`. Written only.
    pub dead: bool,
    /// When nobody used it any more, ms since the epoch; 0 if it is in use.
    pub dead_time: i64,
    /// The expression.
    pub expression: String,
    /// `SQL92`.
    pub expression_type: String,
    /// The topic.
    pub topic: String,
}

/// Bits of a bloom filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BloomFilterData {
    /// Bits that the filter has.
    pub bit_num: i32,
    /// Those that are the group's.
    pub bit_pos: Vec<i32>,
}
