//! Single messages: by key QUERY_MESSAGE 12, by log offset VIEW_MESSAGE_BY_ID 33.

use crate::LogOffset;
use crate::text::Text;

header! {
    /// QUERY_MESSAGE 12 (`QueryMessageRequestHeader`, and the field clients add for unique ids).
    pub struct QueryMessage<'a> {
        /// Topic to search.
        topic: Text<'a> = "topic",
        /// Key or unique id.
        key: Text<'a> = "key",
        /// At most so many messages.
        max_num: i32 = "maxNum",
        /// Stored from, ms since the epoch.
        begin_timestamp: i64 = "beginTimestamp",
        /// Stored until, ms since the epoch.
        end_timestamp: i64 = "endTimestamp",
        /// The key is a unique id.
        unique_key_query: Option<bool> = "_UNIQUE_KEY_QUERY",
    }
}

header! {
    /// Response to QUERY_MESSAGE (`QueryMessageResponseHeader`).
    pub struct QueryMessageResponse {
        /// Store time of the last message indexed, ms since the epoch.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// Its place in the log.
        index_last_update_phyoffset: LogOffset = "indexLastUpdatePhyoffset",
    }
}

header! {
    /// VIEW_MESSAGE_BY_ID 33 (`ViewMessageRequestHeader`).
    pub struct ViewMessage<'a> {
        /// Its topic; clients before 5.x don't say.
        topic: Option<Text<'a>> = "topic",
        /// Where its record begins.
        offset: LogOffset = "offset",
    }
}
