//! Open transactions by topic: `transactionMetrics`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topic::DataVersion;

/// How many messages of a topic wait, and since when that is so (`TransactionMetrics.Metric`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicCount {
    /// Messages that wait.
    pub count: i64,
    /// When the number last changed, ms since the epoch.
    pub time_stamp: i64,
}

/// The file `transactionMetrics` (`TransactionMetricsSerializeWrapper`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransactionCounts {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Half messages not ended, by the topic they are for.
    pub transaction_count: BTreeMap<String, TopicCount>,
}
