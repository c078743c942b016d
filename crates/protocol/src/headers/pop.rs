//! POP_MESSAGE 200050, ACK_MESSAGE 200051, CHANGE_MESSAGE_INVISIBLETIME 200053 and NOTIFICATION 200054.

use crate::QueueOffset;
use crate::text::Text;

header! {
    /// POP_MESSAGE 200050 (`PopMessageRequestHeader`).
    pub struct PopMessage<'a> {
        /// Group of the consumer.
        consumer_group: Text<'a> = "consumerGroup",
        /// Topic to take messages from.
        topic: Text<'a> = "topic",
        /// Queue of the topic; negative for all of them.
        queue_id: i32 = "queueId" or 0,
        /// At most so many messages.
        max_msg_nums: i32 = "maxMsgNums" or 0,
        /// How long nobody else shall see them, ms.
        invisible_time: i64 = "invisibleTime" or 0,
        /// How long the broker may hold the request, ms.
        poll_time: i64 = "pollTime" or 0,
        /// When the client asked, its ms since the epoch; 0 for now.
        born_time: i64 = "bornTime" or 0,
        /// Where a group begins that has no offset: 0 at the oldest message, 1 at the newest.
        init_mode: i32 = "initMode" or 0,
        /// `TAG` or `SQL92`.
        exp_type: Option<Text<'a>> = "expType",
        /// Filter expression.
        exp: Option<Text<'a>> = "exp",
        /// In order: a queue is blocked until what was taken from it is acknowledged.
        order: bool = "order" or false,
        /// Names this try: one with the same name gets the same messages again.
        attempt_id: Option<Text<'a>> = "attemptId",
    }
}

header! {
    /// Response to a pop (`PopMessageResponseHeader`).
    pub struct PopMessageResponse<'a> {
        /// When the messages were taken, ms since the epoch.
        pop_time: i64 = "popTime",
        /// How long nobody else sees them, ms.
        invisible_time: i64 = "invisibleTime",
        /// Queue of the revive topic that knows of it; 999 for ordered messages.
        revive_qid: i32 = "reviveQid",
        /// Messages left.
        rest_num: i64 = "restNum",
        /// `retry queue start` of each queue, see [`crate::receipt`].
        start_offset_info: Option<Text<'a>> = "startOffsetInfo",
        /// `retry queue offset,offset` of each queue.
        msg_offset_info: Option<Text<'a>> = "msgOffsetInfo",
        /// `retry queue tries` or `retry qo<queue>%<offset> tries`, of ordered messages.
        order_count_info: Option<Text<'a>> = "orderCountInfo",
    }
}

header! {
    /// ACK_MESSAGE 200051 (`AckMessageRequestHeader`).
    pub struct AckMessage<'a> {
        /// Group of the consumer.
        consumer_group: Text<'a> = "consumerGroup",
        /// Topic the message was taken from: that of the producer or a retry topic.
        topic: Text<'a> = "topic",
        /// Its queue.
        queue_id: i32 = "queueId",
        /// The receipt handle.
        extra_info: Text<'a> = "extraInfo",
        /// Its offset.
        offset: QueueOffset = "offset",
    }
}

header! {
    /// CHANGE_MESSAGE_INVISIBLETIME 200053 (`ChangeInvisibleTimeRequestHeader`).
    pub struct ChangeInvisibleTime<'a> {
        /// Group of the consumer.
        consumer_group: Text<'a> = "consumerGroup",
        /// Topic the message was taken from.
        topic: Text<'a> = "topic",
        /// Its queue.
        queue_id: i32 = "queueId",
        /// The receipt handle.
        extra_info: Text<'a> = "extraInfo",
        /// Its offset.
        offset: QueueOffset = "offset",
        /// How long nobody shall see it from now on, ms.
        invisible_time: i64 = "invisibleTime",
    }
}

header! {
    /// Response to a change (`ChangeInvisibleTimeResponseHeader`).
    pub struct ChangeInvisibleTimeResponse {
        /// Pop time of the new handle.
        pop_time: i64 = "popTime",
        /// Invisible time of the new handle.
        invisible_time: i64 = "invisibleTime",
        /// Queue of the revive topic, of the new handle.
        revive_qid: i32 = "reviveQid",
    }
}

header! {
    /// NOTIFICATION 200054 (`NotificationRequestHeader`).
    pub struct Notification<'a> {
        /// Group of the consumer.
        consumer_group: Text<'a> = "consumerGroup",
        /// Topic it would take messages from.
        topic: Text<'a> = "topic",
        /// Queue of the topic; negative for all of them.
        queue_id: i32 = "queueId" or 0,
        /// How long the broker may hold the request, ms.
        poll_time: i64 = "pollTime" or 0,
        /// When the client asked, its ms since the epoch; 0 for now.
        born_time: i64 = "bornTime" or 0,
        /// In order.
        order: bool = "order" or false,
        /// Names this try.
        attempt_id: Option<Text<'a>> = "attemptId",
    }
}

header! {
    /// Response to NOTIFICATION (`NotificationResponseHeader`).
    pub struct NotificationResponse {
        /// There is a message to take.
        has_msg: bool = "hasMsg",
        /// Too many wait already; this one was not held.
        polling_full: bool = "pollingFull" or false,
    }
}
