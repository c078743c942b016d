//! What a broker asks of clients, by itself or for somebody else: RESET_CONSUMER_CLIENT_OFFSET 220,
//! GET_CONSUMER_STATUS_FROM_CLIENT 221, GET_CONSUMER_RUNNING_INFO 307, CONSUME_MESSAGE_DIRECTLY 309; and what makes it do so.

use crate::QueueOffset;
use crate::text::Text;

header! {
    /// INVOKE_BROKER_TO_RESET_OFFSET 222, and RESET_CONSUMER_CLIENT_OFFSET 220 to the clients (`ResetOffsetRequestHeader`).
    pub struct ResetOffset<'a> {
        /// Group to move.
        group: Text<'a> = "group",
        /// In this topic.
        topic: Text<'a> = "topic",
        /// In this queue only; negative: in all of them.
        queue_id: i32 = "queueId" or -1,
        /// To this offset, if there is a queue; -1 as if missing.
        offset: Option<QueueOffset> = "offset",
        /// Else to the first message stored at this time or later, ms since the epoch; negative: to the end.
        timestamp: i64 = "timestamp",
        /// Forwards too, where the clients do it.
        is_force: bool = "isForce" or false,
    }
}

header! {
    /// INVOKE_BROKER_TO_GET_CONSUMER_STATUS 223, and GET_CONSUMER_STATUS_FROM_CLIENT 221 to the clients
    /// (`GetConsumerStatusRequestHeader`).
    pub struct ConsumerStatusOf<'a> {
        /// Topic asked about.
        topic: Text<'a> = "topic",
        /// Group asked about.
        group: Text<'a> = "group",
        /// Only this client, by its id, whatever the name says.
        client_addr: Option<Text<'a>> = "clientAddr",
    }
}

header! {
    /// GET_CONSUMER_RUNNING_INFO 307 (`GetConsumerRunningInfoRequestHeader`), as far as the broker reads it.
    pub struct ConsumerRunningInfo<'a> {
        /// Group of the client.
        consumer_group: Text<'a> = "consumerGroup",
        /// The client.
        client_id: Text<'a> = "clientId",
    }
}

header! {
    /// CONSUME_MESSAGE_DIRECTLY 309 (`ConsumeMessageDirectlyResultRequestHeader`), as far as the broker reads it.
    pub struct ConsumeMessageDirectly<'a> {
        /// Group of the client.
        consumer_group: Text<'a> = "consumerGroup",
        /// The client.
        client_id: Option<Text<'a>> = "clientId",
        /// Offset message id.
        msg_id: Option<Text<'a>> = "msgId",
        /// Topic of the message.
        topic: Option<Text<'a>> = "topic",
    }
}
