//! Who is connected and who reads what, for tools: GET_CONSUMER_CONNECTION_LIST 203, GET_PRODUCER_CONNECTION_LIST 204,
//! QUERY_TOPIC_CONSUME_BY_WHO 300, QUERY_SUBSCRIPTION_BY_CONSUMER 345.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};

/// A client's connection (`Connection`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// `host:port` of its end.
    pub client_addr: String,
    /// What it calls itself.
    pub client_id: String,
    /// Name of a [`crate::command::Language`].
    pub language: String,
    /// `MQVersion` ordinal.
    pub version: i32,
}

/// Body of the answer to 203 (`ConsumerConnection`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
    /// Where a queue without an offset begins.
    pub consume_from_where: ConsumeFromWhere,
    /// How messages are got.
    pub consume_type: ConsumeType,
    /// Who of the group gets a message.
    pub message_model: MessageModel,
    /// By topic.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// Body of the answer to 204 (`ProducerConnection`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
}

/// Body of the answer to 300 (`GroupList`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    /// Names.
    pub group_list: BTreeSet<String>,
}

/// Body of the answer to 345 (`QuerySubscriptionResponseBody`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionByConsumer {
    /// As asked.
    pub group: String,
    /// Nothing if nobody of the group is connected, or not to this topic.
    pub subscription_data: Option<SubscriptionData>,
    /// As asked.
    pub topic: Option<String>,
}
