//! Clients and groups: HEART_BEAT 34, UNREGISTER_CLIENT 35, GET_CONSUMER_LIST_BY_GROUP 38 and
//! NOTIFY_CONSUMER_IDS_CHANGED 40.

use crate::text::Text;

header! {
    /// Response to HEART_BEAT: fields without a class of their own, which 4.x brokers don't send.
    pub struct HeartbeatResponse {
        /// The broker understands heartbeats that leave out subscriptions.
        support_heartbeat_v2: bool = "IS_SUPPORT_HEART_BEAT_V2" or false,
        /// The subscriptions differ from what the broker knew.
        sub_change: bool = "IS_SUB_CHANGE" or false,
    }
}

header! {
    /// UNREGISTER_CLIENT 35 (`UnregisterClientRequestHeader`).
    pub struct UnregisterClient<'a> {
        /// The client that goes.
        client_id: Text<'a> = "clientID",
        /// As a producer of this group.
        producer_group: Option<Text<'a>> = "producerGroup",
        /// As a consumer of this group.
        consumer_group: Option<Text<'a>> = "consumerGroup",
    }
}

header! {
    /// GET_CONSUMER_LIST_BY_GROUP 38 (`GetConsumerListByGroupRequestHeader`).
    pub struct ConsumerList<'a> {
        /// The group.
        consumer_group: Text<'a> = "consumerGroup",
    }
}

header! {
    /// NOTIFY_CONSUMER_IDS_CHANGED 40, broker to client (`NotifyConsumerIdsChangedRequestHeader`).
    pub struct NotifyConsumerIdsChanged<'a> {
        /// The group whose consumers changed.
        consumer_group: Text<'a> = "consumerGroup",
    }
}
