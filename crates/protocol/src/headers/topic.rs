//! Topics as tools see them: GET_TOPIC_STATS_INFO 202, GET_TOPIC_CONFIG 351.

use crate::text::Text;

header! {
    /// GET_TOPIC_STATS_INFO 202 (`GetTopicStatsInfoRequestHeader`).
    pub struct TopicStatsOf<'a> {
        /// The topic.
        topic: Text<'a> = "topic",
    }
}

header! {
    /// GET_TOPIC_CONFIG 351 (`GetTopicConfigRequestHeader`).
    pub struct TopicConfigOf<'a> {
        /// The topic.
        topic: Text<'a> = "topic",
    }
}
