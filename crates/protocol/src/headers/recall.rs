//! RECALL_MESSAGE 370: calling off a message before its time.

use crate::text::Text;

header! {
    /// RECALL_MESSAGE 370 (`RecallMessageRequestHeader`).
    pub struct RecallMessage<'a> {
        /// Group of the producer.
        producer_group: Option<Text<'a>> = "producerGroup",
        /// Topic the message is for.
        topic: Text<'a> = "topic",
        /// See [`crate::recall_handle`].
        recall_handle: Text<'a> = "recallHandle",
    }
}

header! {
    /// Answer to 370 (`RecallMessageResponseHeader`).
    pub struct RecallMessageResponse<'a> {
        /// Unique key of the message called off, if it was.
        msg_id: Option<Text<'a>> = "msgId",
        /// Region of the broker.
        region: Option<Text<'a>> = "MSG_REGION",
    }
}
