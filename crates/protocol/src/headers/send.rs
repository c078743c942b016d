//! SEND_MESSAGE 10, its short form SEND_MESSAGE_V2 310 and SEND_BATCH_MESSAGE 320, and their response;
//! CONSUMER_SEND_MSG_BACK 36.

use crate::text::Text;
use crate::{LogOffset, QueueOffset};

header! {
    /// SEND_MESSAGE 10 (`SendMessageRequestHeader`). Clients of other languages still use it.
    pub struct SendMessage<'a> {
        /// Group of the producer.
        producer_group: Text<'a> = "producerGroup",
        /// Where the message goes.
        topic: Text<'a> = "topic",
        /// Topic to copy if `topic` has to be made: TBW102.
        default_topic: Text<'a> = "defaultTopic",
        /// Queues the client would give a new topic.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// Queue; negative leaves the choice to the broker.
        queue_id: i32 = "queueId",
        /// Bits of `MessageSysFlag`.
        sys_flag: i32 = "sysFlag",
        /// When the client made it, ms since the epoch.
        born_timestamp: i64 = "bornTimestamp",
        /// The application's own number.
        flag: i32 = "flag",
        /// Properties string: see [`crate::properties`].
        properties: Option<Text<'a>> = "properties",
        /// How often it was consumed without success.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// Unit mode.
        unit_mode: Option<bool> = "unitMode",
        /// The body holds several messages.
        batch: Option<bool> = "batch",
        /// After so many tries it goes to the dead letter queue.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
        /// Broker the client means, for proxies.
        broker_name: Option<Text<'a>> = "bname",
    }
}

header! {
    /// SEND_MESSAGE_V2 310 and SEND_BATCH_MESSAGE 320 (`SendMessageRequestHeaderV2`): one-letter names.
    pub struct SendMessageV2<'a> {
        /// Group of the producer.
        producer_group: Text<'a> = "a",
        /// Where the message goes.
        topic: Text<'a> = "b",
        /// Topic to copy if `topic` has to be made: TBW102.
        default_topic: Text<'a> = "c",
        /// Queues the client would give a new topic.
        default_topic_queue_nums: i32 = "d",
        /// Queue; negative leaves the choice to the broker.
        queue_id: i32 = "e",
        /// Bits of `MessageSysFlag`.
        sys_flag: i32 = "f",
        /// When the client made it, ms since the epoch.
        born_timestamp: i64 = "g",
        /// The application's own number.
        flag: i32 = "h",
        /// Properties string: see [`crate::properties`].
        properties: Option<Text<'a>> = "i",
        /// How often it was consumed without success.
        reconsume_times: Option<i32> = "j",
        /// Unit mode.
        unit_mode: Option<bool> = "k",
        /// After so many tries it goes to the dead letter queue.
        max_reconsume_times: Option<i32> = "l",
        /// The body holds several messages.
        batch: Option<bool> = "m",
        /// Broker the client means, for proxies.
        broker_name: Option<Text<'a>> = "n",
    }
}

impl<'a> From<SendMessage<'a>> for SendMessageV2<'a> {
    fn from(old: SendMessage<'a>) -> Self {
        SendMessageV2 {
            producer_group: old.producer_group,
            topic: old.topic,
            default_topic: old.default_topic,
            default_topic_queue_nums: old.default_topic_queue_nums,
            queue_id: old.queue_id,
            sys_flag: old.sys_flag,
            born_timestamp: old.born_timestamp,
            flag: old.flag,
            properties: old.properties,
            reconsume_times: old.reconsume_times,
            unit_mode: old.unit_mode,
            max_reconsume_times: old.max_reconsume_times,
            batch: old.batch,
            broker_name: old.broker_name,
        }
    }
}

header! {
    /// Response to all sends (`SendMessageResponseHeader`, and the two fields Apache adds to every send
    /// response: Java clients fail without them).
    pub struct SendMessageResponse<'a> {
        /// Offset message id; of a batch, the ids joined by commas.
        msg_id: Text<'a> = "msgId",
        /// Queue it went to.
        queue_id: i32 = "queueId",
        /// Its place there; of a batch, the first one's.
        queue_offset: QueueOffset = "queueOffset",
        /// The message's `UNIQ_KEY`, for ordinary sends too.
        transaction_id: Option<Text<'a>> = "transactionId",
        /// Id of an inner batch.
        batch_uniq_id: Option<Text<'a>> = "batchUniqId",
        /// Handle to recall a delayed message.
        recall_handle: Option<Text<'a>> = "recallHandle",
        /// Region of the broker: `DefaultRegion`.
        region: Option<Text<'a>> = "MSG_REGION",
        /// Whether clients should trace.
        trace_on: Option<bool> = "TRACE_ON",
    }
}

header! {
    /// Header of a send's error response: the two fields that Java clients can't do without.
    pub struct SendRefused<'a> {
        /// Region of the broker: `DefaultRegion`.
        region: Text<'a> = "MSG_REGION",
        /// Whether clients should trace.
        trace_on: bool = "TRACE_ON",
    }
}

header! {
    /// CONSUMER_SEND_MSG_BACK 36 (`ConsumerSendMsgBackRequestHeader`). Its response has no fields.
    pub struct SendBack<'a> {
        /// Where the message's record begins.
        offset: LogOffset = "offset",
        /// The group that could not consume it.
        group: Text<'a> = "group",
        /// When to try again; 0 leaves it to the broker, less means never.
        delay_level: i32 = "delayLevel",
        /// The message's unique id.
        origin_msg_id: Option<Text<'a>> = "originMsgId",
        /// The topic it was consumed from.
        origin_topic: Option<Text<'a>> = "originTopic",
        /// Unit mode.
        unit_mode: Option<bool> = "unitMode",
        /// After so many tries it goes to the dead letter queue.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }
}
