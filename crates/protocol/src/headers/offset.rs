//! Offsets: consumers' 14 and 15, the queue's ends 30 and 31, by time 29, the earliest message's time 32.

use crate::QueueOffset;
use crate::command::{FieldSink, FieldValue};
use crate::text::Text;

header! {
    /// QUERY_CONSUMER_OFFSET 14 (`QueryConsumerOffsetRequestHeader`).
    pub struct QueryConsumerOffset<'a> {
        /// Group asked about.
        consumer_group: Text<'a> = "consumerGroup",
        /// Its topic.
        topic: Text<'a> = "topic",
        /// The topic's queue.
        queue_id: i32 = "queueId",
        /// False: never answer 0 for a group without an offset.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }
}

header! {
    /// UPDATE_CONSUMER_OFFSET 15 (`UpdateConsumerOffsetRequestHeader`).
    pub struct UpdateConsumerOffset<'a> {
        /// Group that commits.
        consumer_group: Text<'a> = "consumerGroup",
        /// Its topic.
        topic: Text<'a> = "topic",
        /// The topic's queue.
        queue_id: i32 = "queueId",
        /// Offset of the next message to consume.
        commit_offset: QueueOffset = "commitOffset",
    }
}

/// Which of the messages around a time is meant (`BoundaryType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoundaryType {
    /// The first one stored at or after the time.
    #[default]
    Lower,
    /// The last one stored at or before it.
    Upper,
}

/// As Apache: `upper` without regard to case, everything else is the lower one; written as the enum's name.
impl FieldValue<'_> for BoundaryType {
    const EXPECTED: &'static str = "lower or upper";

    fn read(value: Text<'_>) -> Option<Self> {
        let upper = value.to_str().eq_ignore_ascii_case("upper");
        Some(if upper {
            BoundaryType::Upper
        } else {
            BoundaryType::Lower
        })
    }

    fn write(&self, name: &'static str, out: &mut FieldSink<'_>) {
        let text = match self {
            BoundaryType::Lower => "LOWER",
            BoundaryType::Upper => "UPPER",
        };
        out.text(name, Text::plain(text));
    }
}

header! {
    /// SEARCH_OFFSET_BY_TIMESTAMP 29 (`SearchOffsetRequestHeader`).
    pub struct SearchOffset<'a> {
        /// Topic asked about.
        topic: Text<'a> = "topic",
        /// Its queue.
        queue_id: i32 = "queueId",
        /// Store time, ms since the epoch.
        timestamp: i64 = "timestamp",
        /// Which message around the time; lower if missing.
        boundary_type: Option<BoundaryType> = "boundaryType",
    }
}

header! {
    /// GET_MAX_OFFSET 30 (`GetMaxOffsetRequestHeader`).
    pub struct MaxOffset<'a> {
        /// Topic asked about.
        topic: Text<'a> = "topic",
        /// Its queue.
        queue_id: i32 = "queueId",
        /// Only what consumers may see.
        committed: bool = "committed" or true,
    }
}

header! {
    /// GET_MIN_OFFSET 31 (`GetMinOffsetRequestHeader`).
    pub struct MinOffset<'a> {
        /// Topic asked about.
        topic: Text<'a> = "topic",
        /// Its queue.
        queue_id: i32 = "queueId",
    }
}

header! {
    /// Response to 14, 29, 30 and 31 (`QueryConsumerOffsetResponseHeader`, `SearchOffsetResponseHeader`,
    /// `GetMaxOffsetResponseHeader`, `GetMinOffsetResponseHeader`).
    pub struct OffsetResponse {
        /// The offset.
        offset: QueueOffset = "offset",
    }
}

header! {
    /// GET_EARLIEST_MSG_STORETIME 32 (`GetEarliestMsgStoretimeRequestHeader`).
    pub struct EarliestStoreTime<'a> {
        /// Topic asked about.
        topic: Text<'a> = "topic",
        /// Its queue.
        queue_id: i32 = "queueId",
    }
}

header! {
    /// Response to 32 (`GetEarliestMsgStoretimeResponseHeader`).
    pub struct EarliestStoreTimeResponse {
        /// ms since the epoch; -1 if the queue is empty.
        timestamp: i64 = "timestamp",
    }
}
