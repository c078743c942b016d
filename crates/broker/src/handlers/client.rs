//! Clients: HEART_BEAT 34, UNREGISTER 35, the members of a group 38, CHECK_CLIENT_CONFIG 46.

use std::sync::Arc;

use protocol::bodies::{CheckClientConfig, ConsumerData, ConsumerIdList, Heartbeat};
use protocol::command::NoHeader;
use protocol::fastjson;
use protocol::headers::client::{ConsumerList, HeartbeatResponse, UnregisterClient};
use remoting::{Peer, Request};

use super::pull::is_tag;
use super::{Answer, body};
use crate::broker::Broker;
use crate::clients::Member;
use crate::refusal::Refusal;
use crate::topics::RETRY_PREFIX;

#[cfg(test)]
mod tests;

/// 34: a client is alive, and this is what it produces and consumes.
pub(crate) fn heartbeat(
    broker: &Broker,
    request: &Request,
) -> Result<Answer<HeartbeatResponse>, Refusal> {
    let beat: Heartbeat = body(request)?;
    let peer = request.peer();
    let member = || Member {
        client_id: beat.client_id.clone(),
        peer: peer.clone(),
        language: request.language,
        version: request.version,
        seen_ms: broker.clock.now_ms(),
    };
    let mut send_subscriptions = beat.heartbeat_fingerprint == 0;
    for data in &beat.consumer_data_set {
        send_subscriptions |= consumer_beat(broker, peer, member(), data, &beat);
    }
    let mut clients = broker.clients.lock();
    for data in &beat.producer_data_set {
        clients.producer_beat(peer.id(), member(), &data.group_name);
    }
    Ok(Answer::header(HeartbeatResponse {
        support_heartbeat_v2: true,
        sub_change: send_subscriptions,
    }))
}

/// One consumer group of a heartbeat; returns whether the client must send its subscriptions in full next time.
/// A group that may not be made is left out without a word, as in Apache: the client learns it from its first pull.
fn consumer_beat(
    broker: &Broker,
    peer: &Peer,
    member: Member<Arc<Peer>>,
    data: &ConsumerData,
    beat: &Heartbeat,
) -> bool {
    let Some(group) = broker.group(&data.group_name) else {
        return false;
    };
    let (fingerprint, without_subscriptions) = match beat.heartbeat_fingerprint {
        0 => (0, false),
        fingerprint => (fingerprint, beat.without_sub),
    };
    let is_ordered = |topic: &str| broker.topic(topic).is_some_and(|config| config.order);
    let unit_subscribed = if data.unit_mode { 2 } else { 0 };
    let retry_topic = format!("{RETRY_PREFIX}{}", data.group_name);
    let ordered = match without_subscriptions {
        // It does not say: as it is, or the topic would change to and fro.
        true => is_ordered(&retry_topic),
        false => {
            let mut subscribed = data.subscription_data_set.iter();
            subscribed.any(|data| is_ordered(&data.topic))
        }
    };
    if broker
        .own_topic(
            &retry_topic,
            group.retry_queue_nums,
            ordered,
            unit_subscribed,
        )
        .is_err()
    {
        tracing::error!(topic = retry_topic, "no room for another topic");
    }
    let mut clients = broker.clients.lock();
    let done = clients.consumer_beat(peer.id(), member, data, fingerprint, without_subscriptions);
    drop(clients);
    if done.changed {
        tracing::info!(group = data.group_name, client = beat.client_id, peer = %peer.remote_addr(), "consumer group changed");
        broker.tell_members(&data.group_name);
    }
    done.send_subscriptions
}

/// 35: a client leaves a group before it closes its connection.
pub(crate) fn unregister(broker: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    let header: UnregisterClient<'_> = request.header()?;
    let id = request.peer().id();
    if let Some(group) = header.producer_group {
        broker.clients.lock().leave_producers(id, &group.to_str());
    }
    if let Some(group) = header.consumer_group {
        let group = group.to_str();
        let left = broker.clients.lock().leave_consumers(id, &group);
        if left {
            broker.tell_members(&group);
        }
    }
    Ok(Answer::done())
}

/// The connection is gone: its groups share their queues without it.
pub(crate) fn closed(broker: &Broker, peer: &Peer) {
    let groups = broker.clients.lock().closed(peer.id());
    for group in groups {
        broker.tell_members(&group);
    }
}

/// 38: the ids of a group's members, among which each of them shares the queues.
pub(crate) fn list(broker: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    let header: ConsumerList<'_> = request.header()?;
    let group = header.consumer_group.to_str();
    let consumer_id_list = broker.clients.lock().consumer_ids(&group);
    if consumer_id_list.is_empty() {
        return Err(Refusal::system(format!(
            "no consumer for this group, {group}"
        )));
    }
    let response = ConsumerIdList { consumer_id_list };
    Ok(Answer::body(fastjson::to_vec(&response)))
}

/// 46: whether a subscription can be served. Tags can; SQL92 comes with enablePropertyFilter.
pub(crate) fn check_config(_: &Broker, request: &Request) -> Result<Answer<NoHeader>, Refusal> {
    if request.body().is_empty() {
        return Ok(Answer::done());
    }
    let config: CheckClientConfig = body(request)?;
    let kind = config.subscription_data.expression_type;
    if is_tag(&kind) {
        return Ok(Answer::done());
    }
    Err(Refusal::system(format!(
        "The broker does not support consumer to filter message by {kind}"
    )))
}
