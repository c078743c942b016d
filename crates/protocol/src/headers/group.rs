//! Groups as tools see them: connections 203 and 204, progress 208, who reads what 300, 343 and 345, settings 352.

use crate::text::Text;

header! {
    /// GET_CONSUMER_CONNECTION_LIST 203 (`GetConsumerConnectionListRequestHeader`).
    pub struct ConsumerConnections<'a> {
        /// The group.
        consumer_group: Text<'a> = "consumerGroup",
    }
}

header! {
    /// GET_PRODUCER_CONNECTION_LIST 204 (`GetProducerConnectionListRequestHeader`).
    pub struct ProducerConnections<'a> {
        /// The group.
        producer_group: Text<'a> = "producerGroup",
    }
}

header! {
    /// GET_CONSUME_STATS 208 (`GetConsumeStatsRequestHeader`).
    pub struct ConsumeStatsOf<'a> {
        /// The group.
        consumer_group: Text<'a> = "consumerGroup",
        /// Only in this topic, if it subscribes to it.
        topic: Option<Text<'a>> = "topic",
        /// Only in these topics, joined by `;`, whether it subscribes to them or not.
        topic_list: Option<Text<'a>> = "topicList",
    }
}

header! {
    /// QUERY_TOPIC_CONSUME_BY_WHO 300 (`QueryTopicConsumeByWhoRequestHeader`).
    pub struct TopicConsumeByWho<'a> {
        /// The topic.
        topic: Text<'a> = "topic",
    }
}

header! {
    /// QUERY_TOPICS_BY_CONSUMER 343 (`QueryTopicsByConsumerRequestHeader`).
    pub struct TopicsByConsumer<'a> {
        /// The group.
        group: Text<'a> = "group",
    }
}

header! {
    /// QUERY_SUBSCRIPTION_BY_CONSUMER 345 (`QuerySubscriptionByConsumerRequestHeader`). Apache does not insist on the topic.
    pub struct SubscriptionByConsumer<'a> {
        /// The group.
        group: Text<'a> = "group",
        /// The topic.
        topic: Option<Text<'a>> = "topic",
    }
}

header! {
    /// GET_SUBSCRIPTIONGROUP_CONFIG 352 (`GetSubscriptionGroupConfigRequestHeader`).
    pub struct SubscriptionGroupOf<'a> {
        /// The group.
        group: Text<'a> = "group",
    }
}
