//! Requests to nameservers: registration, routes, key-value configuration, write permission.

use crate::text::Text;

header! {
    /// REGISTER_BROKER 103 (`RegisterBrokerRequestHeader`, and the zone that brokers add).
    pub struct RegisterBroker<'a> {
        /// Name the broker shares with its replicas.
        broker_name: Text<'a> = "brokerName",
        /// Where clients reach it, `host:port`.
        broker_addr: Text<'a> = "brokerAddr",
        /// Its cluster.
        cluster_name: Text<'a> = "clusterName",
        /// Where slaves reach it.
        ha_server_addr: Text<'a> = "haServerAddr",
        /// 0: master.
        broker_id: i64 = "brokerId",
        /// It is away after so long without a heartbeat, ms.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        /// A slave may act for a master that is away.
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// The body is compressed.
        compressed: bool = "compressed" or false,
        /// [`crate::record::crc31`] of the body; 0: not given.
        body_crc32: i32 = "bodyCrc32" or 0,
        /// Zone of the broker.
        zone_name: Option<Text<'a>> = "__ZONE_NAME",
    }
}

header! {
    /// Response to REGISTER_BROKER (`RegisterBrokerResponseHeader`).
    pub struct RegisterBrokerResponse<'a> {
        /// For slaves: where the master's log is to be had.
        ha_server_addr: Option<Text<'a>> = "haServerAddr",
        /// For slaves: the master.
        master_addr: Option<Text<'a>> = "masterAddr",
    }
}

header! {
    /// UNREGISTER_BROKER 104 (`UnRegisterBrokerRequestHeader`).
    pub struct UnregisterBroker<'a> {
        /// Name the broker shares with its replicas.
        broker_name: Text<'a> = "brokerName",
        /// Where clients reached it.
        broker_addr: Text<'a> = "brokerAddr",
        /// Its cluster.
        cluster_name: Text<'a> = "clusterName",
        /// 0: master.
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// QUERY_DATA_VERSION 322 (`QueryDataVersionRequestHeader`).
    pub struct QueryDataVersion<'a> {
        /// Name the broker shares with its replicas.
        broker_name: Text<'a> = "brokerName",
        /// Where clients reach it.
        broker_addr: Text<'a> = "brokerAddr",
        /// Its cluster.
        cluster_name: Text<'a> = "clusterName",
        /// 0: master.
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// Response to QUERY_DATA_VERSION (`QueryDataVersionResponseHeader`).
    pub struct QueryDataVersionResponse {
        /// The nameserver has another version.
        changed: bool = "changed",
    }
}

header! {
    /// GET_ROUTEINFO_BY_TOPIC 105 (`GetRouteInfoRequestHeader`).
    pub struct RouteInfo<'a> {
        /// Topic to find.
        topic: Text<'a> = "topic",
        /// The body must be standard JSON.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
    }
}

header! {
    /// PUT_KV_CONFIG 100 (`PutKVConfigRequestHeader`).
    pub struct PutKvConfig<'a> {
        /// Namespace.
        namespace: Text<'a> = "namespace",
        /// Key.
        key: Text<'a> = "key",
        /// Value.
        value: Text<'a> = "value",
    }
}

header! {
    /// GET_KV_CONFIG 101 (`GetKVConfigRequestHeader`).
    pub struct GetKvConfig<'a> {
        /// Namespace.
        namespace: Text<'a> = "namespace",
        /// Key.
        key: Text<'a> = "key",
    }
}

header! {
    /// Response to GET_KV_CONFIG (`GetKVConfigResponseHeader`).
    pub struct GetKvConfigResponse<'a> {
        /// Value.
        value: Option<Text<'a>> = "value",
    }
}

header! {
    /// DELETE_KV_CONFIG 102 (`DeleteKVConfigRequestHeader`).
    pub struct DeleteKvConfig<'a> {
        /// Namespace.
        namespace: Text<'a> = "namespace",
        /// Key.
        key: Text<'a> = "key",
    }
}

header! {
    /// GET_KVLIST_BY_NAMESPACE 219 (`GetKVListByNamespaceRequestHeader`).
    pub struct KvListByNamespace<'a> {
        /// Namespace.
        namespace: Text<'a> = "namespace",
    }
}

header! {
    /// GET_TOPICS_BY_CLUSTER 224 (`GetTopicsByClusterRequestHeader`).
    pub struct TopicsByCluster<'a> {
        /// Cluster.
        cluster: Text<'a> = "cluster",
    }
}

header! {
    /// WIPE_WRITE_PERM_OF_BROKER 205 and ADD_WRITE_PERM_OF_BROKER 327 (`WipeWritePermOfBrokerRequestHeader`,
    /// `AddWritePermOfBrokerRequestHeader`).
    pub struct WritePerm<'a> {
        /// Broker whose topics are meant.
        broker_name: Text<'a> = "brokerName",
    }
}

header! {
    /// Response to 205 (`WipeWritePermOfBrokerResponseHeader`).
    pub struct WipeWritePermResponse {
        /// Topics that changed.
        wipe_topic_count: i32 = "wipeTopicCount",
    }
}

header! {
    /// Response to 327 (`AddWritePermOfBrokerResponseHeader`).
    pub struct AddWritePermResponse {
        /// Topics that changed.
        add_topic_count: i32 = "addTopicCount",
    }
}

header! {
    /// DELETE_TOPIC_IN_NAMESRV 216 (`DeleteTopicFromNamesrvRequestHeader`).
    pub struct DeleteTopic<'a> {
        /// Topic that goes.
        topic: Text<'a> = "topic",
        /// Only from the brokers of this cluster.
        cluster_name: Option<Text<'a>> = "clusterName",
    }
}

header! {
    /// REGISTER_TOPIC_IN_NAMESRV 217 (`RegisterTopicRequestHeader`); the body is a [`crate::bodies::TopicRoute`].
    pub struct RegisterTopic<'a> {
        /// Topic that comes.
        topic: Text<'a> = "topic",
    }
}
