//! What tools ask about groups: connections 203 and 204, how far a group is 208, who reads what 300, 343 and 345,
//! settings 352.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::QueueOffset;
use protocol::bodies::{
    Connection, ConsumeStats, ConsumerConnection, GroupList, MessageModel, OffsetWrapper,
    ProducerConnection, SubscriptionByConsumer, TopicList,
};
use protocol::codes::response;
use protocol::command::NoHeader;
use protocol::fastjson;
use protocol::headers::group::{
    ConsumeStatsOf, ConsumerConnections, ProducerConnections, SubscriptionGroupOf,
    TopicConsumeByWho, TopicsByConsumer,
};
use remoting::{Peer, Request};

use super::Answer;
use crate::broker::Broker;
use crate::clients::Member;
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

type Told = Result<Answer<NoHeader>, Refusal>;

fn connection(member: &Member<Arc<Peer>>) -> Connection {
    Connection {
        client_addr: member.peer.remote_addr().to_string(),
        client_id: member.client_id.clone(),
        language: member.language.name().to_owned(),
        version: member.version,
    }
}

/// 203: a group's members and subscriptions.
pub(crate) fn consumers(broker: &Broker, request: &Request) -> Told {
    let header: ConsumerConnections<'_> = request.header()?;
    let group = header.consumer_group.to_str();
    let clients = broker.clients.lock();
    let Some(members) = clients.group(&group) else {
        let remark = format!("the consumer group[{group}] not online");
        return Err(Refusal::new(response::CONSUMER_NOT_ONLINE, remark));
    };
    let subscriptions = members.subscriptions().map(|subscription| {
        let data = subscription.to_data();
        (data.topic.clone(), data)
    });
    let body = ConsumerConnection {
        connection_set: members.members().map(connection).collect(),
        consume_from_where: members.consume_from_where,
        consume_type: members.consume_type,
        message_model: match members.broadcasting {
            true => MessageModel::Broadcasting,
            false => MessageModel::Clustering,
        },
        subscription_table: subscriptions.collect(),
    };
    drop(clients);
    Ok(Answer::body(fastjson::to_vec(&body)))
}

/// 204: the producers of a group.
pub(crate) fn producers(broker: &Broker, request: &Request) -> Told {
    let header: ProducerConnections<'_> = request.header()?;
    let group = header.producer_group.to_str();
    let clients = broker.clients.lock();
    let Some(members) = clients.producers(&group) else {
        return Err(Refusal::system(format!(
            "the producer group[{group}] not exist"
        )));
    };
    let body = ProducerConnection {
        connection_set: members.map(connection).collect(),
    };
    drop(clients);
    Ok(Answer::body(fastjson::to_vec(&body)))
}

/// 208: how far a group is in each queue.
pub(crate) fn stats(broker: &Broker, request: &Request) -> Told {
    let header: ConsumeStatsOf<'_> = request.header()?;
    let group = header.consumer_group.to_str();
    let mut stats = ConsumeStats::default();
    for topic in topics(broker, &header, &group) {
        let Some(config) = broker.topic(&topic) else {
            continue;
        };
        for queue_id in 0..config.read_queue_nums {
            let progress = progress(broker, &group, &topic, queue_id)?;
            let queue = broker.message_queue(&topic, queue_id);
            stats.offset_table.insert(queue, progress);
        }
    }
    Ok(Answer::body(fastjson::to_vec(&stats)))
}

/// The topics asked about: those listed, whether the group subscribes to them or not; else the one named, or all in which it
/// has offsets, unless its members subscribe to others.
fn topics(broker: &Broker, header: &ConsumeStatsOf<'_>, group: &str) -> BTreeSet<String> {
    let text = |text: Option<protocol::text::Text<'_>>| {
        text.map_or_else(String::new, |text| text.to_str().into_owned())
    };
    let listed = text(header.topic_list);
    if !listed.trim().is_empty() {
        let topics = listed.split(';').filter(|topic| !topic.is_empty());
        return topics.map(str::to_owned).collect();
    }
    let one = text(header.topic);
    let mut topics: BTreeSet<String> = match one.trim().is_empty() {
        true => {
            let offsets = broker.offsets.state.read();
            offsets.topics_of(group).map(str::to_owned).collect()
        }
        false => BTreeSet::from([one]),
    };
    let clients = broker.clients.lock();
    if let Some(members) = clients.group(group)
        && members.subscriptions().next().is_some()
    {
        topics.retain(|topic| members.subscription(topic).is_some());
    }
    topics
}

fn progress(
    broker: &Broker,
    group: &str,
    topic: &str,
    queue_id: i32,
) -> Result<OffsetWrapper, Refusal> {
    let offsets = broker.offsets.state.read();
    let committed = offsets.committed(group, topic, queue_id);
    drop(offsets);
    let pulled = broker.pulled.last(group, topic, queue_id);
    let consumer_offset = committed.unwrap_or_default().max(QueueOffset(0));
    let queue = broker.store.queue(topic, queue_id);
    let last = QueueOffset(consumer_offset.0 - 1);
    let stored = match queue.as_ref().filter(|_| last.0 >= 0) {
        Some(queue) => broker.store.stored_ms(queue, last).map_err(|error| {
            tracing::error!(%error, topic, queue_id, "can't read a queue");
            Refusal::system(error.to_string())
        })?,
        None => None,
    };
    Ok(OffsetWrapper {
        broker_offset: queue.map_or(QueueOffset(0), |queue| queue.max_visible()),
        consumer_offset,
        last_timestamp: stored.unwrap_or(0),
        pull_offset: pulled.unwrap_or_default().max(consumer_offset),
    })
}

/// 300: the groups that read a topic, now or before.
pub(crate) fn groups_of_topic(broker: &Broker, request: &Request) -> Told {
    let header: TopicConsumeByWho<'_> = request.header()?;
    let topic = header.topic.to_str();
    let mut groups: BTreeSet<String> = {
        let clients = broker.clients.lock();
        clients.subscribers(&topic).cloned().collect()
    };
    let offsets = broker.offsets.state.read();
    groups.extend(offsets.groups_of(&topic).map(str::to_owned));
    drop(offsets);
    let body = GroupList { group_list: groups };
    Ok(Answer::body(fastjson::to_vec(&body)))
}

/// 343: the topics a group has offsets in.
pub(crate) fn topics_of_group(broker: &Broker, request: &Request) -> Told {
    let header: TopicsByConsumer<'_> = request.header()?;
    let group = header.group.to_str();
    let offsets = broker.offsets.state.read();
    let topic_list = offsets.topics_of(&group).map(str::to_owned).collect();
    drop(offsets);
    let body = TopicList {
        topic_list,
        broker_addr: Some(broker.identity.advertised.text.clone()),
    };
    Ok(Answer::body(fastjson::to_vec(&body)))
}

/// 345: what a group wants of a topic.
pub(crate) fn subscription(broker: &Broker, request: &Request) -> Told {
    let header: protocol::headers::group::SubscriptionByConsumer<'_> = request.header()?;
    let (group, topic) = (
        header.group.to_str(),
        header.topic.map(|topic| topic.to_str()),
    );
    let clients = broker.clients.lock();
    let members = clients.group(&group);
    let subscription = members.and_then(|members| members.subscription(topic.as_deref()?));
    let body = SubscriptionByConsumer {
        group: group.as_ref().to_owned(),
        subscription_data: subscription.map(|subscription| subscription.to_data()),
        topic: topic.map(Into::into),
    };
    drop(clients);
    Ok(Answer::body(fastjson::to_vec(&body)))
}

/// 352: a group's settings; a new group gets the default ones if that is allowed, as in Apache.
pub(crate) fn config(broker: &Broker, request: &Request) -> Told {
    let header: SubscriptionGroupOf<'_> = request.header()?;
    let group = header.group.to_str();
    let Some(config) = broker.group(&group) else {
        let remark = format!("No group in this broker: {group}");
        return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    };
    Ok(Answer::body(fastjson::to_vec(&*config)))
}
