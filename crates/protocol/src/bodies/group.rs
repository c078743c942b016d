//! Subscription groups: `subscriptionGroup.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topic::DataVersion;

/// What a broker knows of a consumer group (`SubscriptionGroupConfig`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroup {
    /// Further settings.
    pub attributes: BTreeMap<String, String>,
    /// Broker to consume from.
    pub broker_id: i64,
    /// Its consumers may broadcast.
    pub consume_broadcast_enable: bool,
    /// It may consume at all.
    pub consume_enable: bool,
    /// It may start from the first message.
    pub consume_from_min_enable: bool,
    /// It consumes in order.
    pub consume_message_orderly: bool,
    /// How long a consumer may work on a message, minutes.
    pub consume_timeout_minute: i32,
    /// Its name.
    pub group_name: String,
    /// When failed messages come again.
    pub group_retry_policy: GroupRetryPolicy,
    /// Flags.
    pub group_sys_flag: i32,
    /// Consumers are told when one comes or goes.
    pub notify_consumer_ids_changed_enable: bool,
    /// Tries before the dead letter queue.
    pub retry_max_times: i32,
    /// Queues of its retry topic; 0: no retries.
    pub retry_queue_nums: i32,
    /// What it must subscribe to, if that is fixed.
    pub subscription_data_set: Option<Vec<SimpleSubscription>>,
    /// Broker suggested to those who lag behind.
    pub which_broker_when_consume_slowly: i64,
}

impl Default for SubscriptionGroup {
    fn default() -> Self {
        SubscriptionGroup {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: None,
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// When failed messages come again (`GroupRetryPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupRetryPolicy {
    /// Delays given one by one.
    pub customized_retry_policy: Option<CustomizedRetryPolicy>,
    /// Delays that grow.
    pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
    /// Which of the two holds.
    #[serde(rename = "type")]
    pub kind: GroupRetryPolicyType,
}

/// See [`GroupRetryPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GroupRetryPolicyType {
    /// [`ExponentialRetryPolicy`].
    Exponential,
    /// [`CustomizedRetryPolicy`].
    #[default]
    Customized,
}

/// See [`GroupRetryPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomizedRetryPolicy {
    /// Delays, ms.
    pub next: Vec<i64>,
}

/// See [`GroupRetryPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExponentialRetryPolicy {
    /// First delay, ms.
    pub initial: i64,
    /// Longest delay, ms.
    pub max: i64,
    /// Each delay is so many times the one before.
    pub multiplier: i64,
}

impl Default for ExponentialRetryPolicy {
    fn default() -> Self {
        ExponentialRetryPolicy {
            initial: 5_000,
            max: 7_200_000,
            multiplier: 2,
        }
    }
}

/// A fixed subscription of a group (`SimpleSubscriptionData`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SimpleSubscription {
    /// What it lets through.
    pub expression: String,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// The topic.
    pub topic: String,
    /// Its version.
    pub version: i64,
}

/// `subscriptionGroup.json`, and the body of GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupTable {
    /// Version of the table.
    pub data_version: DataVersion,
    /// What groups may not do, by group and topic: bits.
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    /// The groups by name.
    pub subscription_group_table: BTreeMap<String, SubscriptionGroup>,
}
