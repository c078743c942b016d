//! Command bodies and configuration files as values: JSON by way of [`crate::fastjson`]. Fields are declared in
//! the order fastjson writes them, by name. Names are those of Apache's classes in `remoting.protocol`.

pub mod calls;
pub mod connections;
pub mod filter;
pub mod group;
pub mod heartbeat;
pub mod kv;
pub mod lock;
pub mod offset;
pub mod pop;
pub mod register;
pub mod route;
pub mod stats;
pub mod topic;
pub mod transaction;

pub use calls::{ConsumerStatus, ResetOffsetBody, ResetOffsetBodyForC};
pub use connections::{
    Connection, ConsumerConnection, GroupList, ProducerConnection, SubscriptionByConsumer,
};
pub use filter::{BloomFilterData, ConsumerFilter, ConsumerFilters, TopicFilters};
pub use group::{
    CustomizedRetryPolicy, ExponentialRetryPolicy, GroupRetryPolicy, GroupRetryPolicyType,
    SimpleSubscription, SubscriptionGroup, SubscriptionGroupTable,
};
pub use heartbeat::{
    CheckClientConfig, ConsumeFromWhere, ConsumeType, ConsumerData, ConsumerIdList, Heartbeat,
    MessageModel, ProducerData, SubscriptionData,
};
pub use kv::{KvConfig, KvTable};
pub use lock::{LockBatch, LockBatchResponse, MessageQueue, UnlockBatch};
pub use offset::{ConsumerOffsets, DelayOffsets};
pub use pop::{
    AckRecord, BatchAck, BatchAckMessage, CheckPoint, MessageQueueAssignment, MessageRequestMode,
    MessageRequestModes, OrderInfo, OrderInfos, QueryAssignment, QueryAssignmentResponse,
    SetMessageRequestMode,
};
pub use register::{RegisterBrokerBody, RegisterBrokerError, TopicConfigWrapper};
pub use route::{BrokerData, ClusterInfo, QueueData, TopicList, TopicRoute};
pub use stats::{ConsumeStats, OffsetWrapper, TopicOffset, TopicStats};
pub use topic::{DataVersion, TopicConfig, TopicConfigTable, TopicFilterType};
pub use transaction::{TopicCount, TransactionCounts};

#[cfg(test)]
mod tests;
