//! Routes: which broker has which queues of a topic, and what a cluster consists of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Body of the answer to GET_ROUTEINFO_BY_TOPIC (`TopicRouteData`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRoute {
    /// The brokers that have queues.
    pub broker_datas: Vec<BrokerData>,
    /// Always empty.
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// Queues of an ordered topic, `broker:count;…`.
    pub order_topic_conf: Option<String>,
    /// Queues by broker.
    pub queue_datas: Vec<QueueData>,
}

/// A broker and its replicas (`BrokerData`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// Broker id (0: master) to `host:port`.
    pub broker_addrs: BTreeMap<i64, String>,
    /// Name they share.
    pub broker_name: String,
    /// Their cluster.
    pub cluster: String,
    /// A slave may act for a master that is away.
    pub enable_acting_master: bool,
    /// Their zone.
    pub zone_name: Option<String>,
}

/// A topic's queues on one broker (`QueueData`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    /// Broker's name.
    pub broker_name: String,
    /// 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Queues that consumers see.
    pub read_queue_nums: i32,
    /// Flags of the topic.
    pub topic_sys_flag: i32,
    /// Queues that producers see.
    pub write_queue_nums: i32,
}

/// Body of the answer to GET_BROKER_CLUSTER_INFO (`ClusterInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// Brokers by name.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Names of the brokers by cluster.
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}

/// A list of topics (`TopicList`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// Some broker, in the answer to GET_SYSTEM_TOPIC_LIST_FROM_NS.
    pub broker_addr: Option<String>,
    /// The topics.
    pub topic_list: Vec<String>,
}
