//! Request-reply: PUSH_REPLY_MESSAGE_TO_CLIENT 326. (324 and 325, which bring the reply, have the headers of sends.)

use crate::text::Text;

header! {
    /// PUSH_REPLY_MESSAGE_TO_CLIENT 326, broker to client (`ReplyMessageRequestHeader`).
    pub struct ReplyMessage<'a> {
        /// Group of whoever replies.
        producer_group: Text<'a> = "producerGroup",
        /// The cluster's reply topic.
        topic: Text<'a> = "topic",
        /// As sent.
        default_topic: Text<'a> = "defaultTopic",
        /// As sent.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// As sent, negative if so.
        queue_id: i32 = "queueId",
        /// Bits of `MessageSysFlag`.
        sys_flag: i32 = "sysFlag",
        /// When the reply was made, ms since the epoch.
        born_timestamp: i64 = "bornTimestamp",
        /// The application's own number.
        flag: i32 = "flag",
        /// Properties string: see [`crate::properties`].
        properties: Option<Text<'a>> = "properties",
        /// How often it was consumed without success.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// Unit mode.
        unit_mode: bool = "unitMode" or false,
        /// Who replied, `ip:port`.
        born_host: Text<'a> = "bornHost",
        /// The broker, `ip:port`.
        store_host: Text<'a> = "storeHost",
        /// When the broker got it, ms since the epoch.
        store_timestamp: i64 = "storeTimestamp",
    }
}
