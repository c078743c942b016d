//! Clients: HEART_BEAT 34, UNREGISTER 35, the members of a group 38, CHECK_CLIENT_CONFIG 46.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::bodies::{
    CheckClientConfig, ConsumerData, ConsumerIdList, Heartbeat, SubscriptionData,
};
use protocol::command::NoHeader;
use protocol::fastjson;
use protocol::headers::client::{ConsumerList, HeartbeatResponse, UnregisterClient};
use remoting::{Peer, Request};

use super::pull::not_enabled;
use super::{Answer, body};
use crate::broker::Broker;
use crate::clients::{Member, Mismatch};
use crate::filter::expressions::News;
use crate::filter::{self, is_tag};
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
        say_full(broker, peer, data, "topic");
    }
    if !without_subscriptions {
        register_expressions(broker, peer, data, &beat.client_id);
    }
    let mut clients = broker.clients.lock();
    let done = clients.consumer_beat(peer.id(), member, data, fingerprint, without_subscriptions);
    drop(clients);
    if let Some(mismatch) = &done.mismatch {
        note(broker, &data.group_name, &beat.client_id, mismatch);
    }
    if done.changed {
        tracing::info!(group = data.group_name, client = beat.client_id, peer = %peer.remote_addr(), "consumer group changed");
        broker.tell_members(&data.group_name);
    }
    done.send_subscriptions
}

/// Once per host, which may ask with each heartbeat.
fn say_full(broker: &Broker, peer: &Peer, data: &ConsumerData, what: &'static str) {
    let client = peer.remote_addr().ip();
    if broker.said.is_news((client, "no room", what)) {
        let group = &data.group_name;
        tracing::error!(group, %client, "no room for another {what}");
    }
}

/// Expressions are there before the subscriptions that need them: a pull in between would be refused.
fn register_expressions(broker: &Broker, peer: &Peer, data: &ConsumerData, client: &str) {
    let (group, subscriptions) = (&data.group_name, &data.subscription_data_set);
    let unknown = broker
        .expressions
        .state
        .read()
        .unknown(group, subscriptions);
    let Some(unknown) = unknown else {
        return;
    };
    let news = News::compile(unknown, &broker.compiled, |data, error| {
        let topic = &data.topic;
        let host = peer.remote_addr().ip();
        if broker
            .said
            .is_news((host, "subscribes with a broken expression"))
        {
            tracing::info!(group, topic, client, %error, "a client subscribes with a broken expression: its pulls are refused");
        }
    });
    let now_ms = broker.clock.now_ms();
    let mut expressions = broker.expressions.state.write();
    let had_room = expressions.register(group, subscriptions, &news, now_ms);
    drop(expressions);
    if !had_room {
        say_full(broker, peer, data, "expression");
    }
}

/// Counts each, and says for each topic of a group once that its members want different messages of it: queues are shared among
/// all members, so that each gets messages that only others want, and loses some that it wants.
fn note(broker: &Broker, group: &str, client: &str, mismatch: &Mismatch) {
    broker.mismatches.fetch_add(1, Ordering::Relaxed);
    let Mismatch { topic, this, other } = mismatch;
    if broker.said.is_news((group, topic)) {
        let none = "no subscription";
        let (this, other) = (
            this.as_deref().unwrap_or(none),
            other.as_deref().unwrap_or(none),
        );
        tracing::warn!(
            group,
            topic,
            client,
            this,
            other,
            "members of one group subscribe differently: messages will be missed"
        );
    }
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
        let client_id = header.client_id.to_str();
        let mut clients = broker.clients.lock();
        let left = clients.leave_consumers(id, &group);
        let is_gone = !clients
            .consumer_ids(&group)
            .iter()
            .any(|id| *id == client_id);
        drop(clients);
        if left && is_gone {
            // Apache leaves them to the client's 42. One that died keeps them until they expire: it may only be cut off, and
            // still consume what it has.
            broker.locks.lock().release_all(&group, &client_id);
        }
        if left {
            after_leaving(broker, &group);
        }
    }
    Ok(Answer::done())
}

/// The connection is gone: its groups share their queues without it.
pub(crate) fn closed(broker: &Broker, peer: &Peer) {
    let groups = broker.clients.lock().closed(peer.id());
    for group in groups {
        after_leaving(broker, &group);
    }
}

/// The others share the queues; if there are none, nobody uses the group's expressions any more.
fn after_leaving(broker: &Broker, group: &str) {
    let is_empty = broker.clients.lock().group(group).is_none();
    if is_empty {
        let now_ms = broker.clock.now_ms();
        broker.expressions.state.write().unregister(group, now_ms);
    }
    broker.tell_members(group);
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

/// 46: whether a subscription can be served.
pub(crate) fn check_config(
    broker: &Broker,
    request: &Request,
) -> Result<Answer<NoHeader>, Refusal> {
    if request.body().is_empty() {
        return Ok(Answer::done());
    }
    let config: CheckClientConfig = body(request)?;
    let SubscriptionData {
        expression_type: kind,
        sub_string: expression,
        ..
    } = &config.subscription_data;
    if is_tag(kind) {
        return Ok(Answer::done());
    }
    if !broker.config.property_filter_enabled {
        return Err(not_enabled(kind));
    }
    filter::compile(&broker.compiled, kind, expression)?;
    Ok(Answer::done())
}
