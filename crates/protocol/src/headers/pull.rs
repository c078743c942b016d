//! PULL_MESSAGE 11 and LITE_PULL_MESSAGE 361, and their response.

use crate::QueueOffset;
use crate::text::Text;

header! {
    /// PULL_MESSAGE 11 and LITE_PULL_MESSAGE 361 (`PullMessageRequestHeader`).
    pub struct PullMessage<'a> {
        /// Group of the consumer.
        consumer_group: Text<'a> = "consumerGroup",
        /// Topic to read.
        topic: Text<'a> = "topic",
        /// Queue of the topic.
        queue_id: i32 = "queueId",
        /// First message wanted.
        queue_offset: QueueOffset = "queueOffset",
        /// At most so many messages.
        max_msg_nums: i32 = "maxMsgNums",
        /// Bits of `PullSysFlag`: 1 commit offset, 2 suspend, 4 subscription, 8 class filter, 16 lite.
        sys_flag: i32 = "sysFlag",
        /// Offset to commit if the flag says so.
        commit_offset: QueueOffset = "commitOffset",
        /// How long the broker may hold the request, ms.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        /// Filter expression.
        subscription: Option<Text<'a>> = "subscription",
        /// Version of the subscription, the client's ms since the epoch.
        sub_version: Option<i64> = "subVersion",
        /// `TAG` (also if missing) or `SQL92`.
        expression_type: Option<Text<'a>> = "expressionType",
        /// At most so many bytes.
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        /// Who asks: `RequestSource` number of a proxy.
        request_source: Option<i32> = "requestSource",
        /// Client a proxy asks for (spelt as in Apache).
        proxy_forward_client_id: Option<Text<'a>> = "proxyFrowardClientId",
    }
}

header! {
    /// Response to a pull (`PullMessageResponseHeader`).
    pub struct PullMessageResponse {
        /// Broker id to ask next time.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// Where to go on.
        next_begin_offset: QueueOffset = "nextBeginOffset",
        /// First offset of the queue.
        min_offset: QueueOffset = "minOffset",
        /// Offset behind the last one.
        max_offset: QueueOffset = "maxOffset",
        /// Static topics: what to add to the offsets.
        offset_delta: Option<i64> = "offsetDelta",
        /// Flags of the topic.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Flags of the group.
        group_sys_flag: Option<i32> = "groupSysFlag",
        /// Why the group may not read, `ForbiddenType`.
        forbidden_type: Option<i32> = "forbiddenType",
    }
}

header! {
    /// Header of a pull's error response: what Apache has filled in by then.
    pub struct PullRefused {
        /// Why the group may not read, `ForbiddenType`.
        forbidden_type: Option<i32> = "forbiddenType",
    }
}
