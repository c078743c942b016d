//! Who is connected: the members of each consumer and producer group, known by their heartbeats (34).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::bodies::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
};
use protocol::command::Language;
use protocol::tags::TagFilter;

use crate::filter::is_tag;
use crate::limits;

#[cfg(test)]
mod tests;

/// A connection's number (`Peer::id`).
pub(crate) type PeerId = u64;

/// What a member said about itself. `P` is the way to reach it: the connection, or anything in a test.
#[derive(Clone)]
pub(crate) struct Member<P> {
    pub(crate) client_id: String,
    pub(crate) peer: P,
    pub(crate) language: Language,
    /// `MQVersion` ordinal: what it understands.
    pub(crate) version: i32,
    pub(crate) seen_ms: i64,
}

/// A topic a group subscribes to, with its tag expression parsed.
pub(crate) struct Subscription {
    pub(crate) data: SubscriptionData,
    /// Everything, if the expression is not of tags.
    pub(crate) tags: Arc<TagFilter>,
    /// The group has a newer one for the topic.
    replaced: AtomicBool,
}

impl Subscription {
    /// Of a heartbeat. What the expression says is kept once, not as the client took it apart too.
    fn of_heartbeat(data: &SubscriptionData) -> Subscription {
        let tags = match is_tag(&data.expression_type) {
            // What Apache's clients can't parse either matches nothing.
            true => TagFilter::parse(&data.sub_string)
                .unwrap_or_else(|_| TagFilter::Codes(HashSet::new())),
            false => TagFilter::All,
        };
        let data = SubscriptionData {
            topic: data.topic.clone(),
            sub_string: data.sub_string.clone(),
            sub_version: data.sub_version,
            expression_type: data.expression_type.clone(),
            ..SubscriptionData::default()
        };
        Subscription {
            data,
            tags: Arc::new(tags),
            replaced: AtomicBool::new(false),
        }
    }

    /// As the client sent it, with the tags that were left out.
    pub(crate) fn to_data(&self) -> SubscriptionData {
        let mut data = self.data.clone();
        if let TagFilter::Codes(codes) = &*self.tags
            && is_tag(&data.expression_type)
        {
            let tags = TagFilter::tags(&data.sub_string).map(str::to_owned);
            data.tags_set = tags.collect();
            data.code_set = codes.iter().copied().collect();
        }
        data
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }
}

/// A topic of which two members of a group want different messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) topic: String,
    /// The expression of the member that was heard of last; `None` if it does not subscribe to the topic.
    pub(crate) this: Option<String>,
    /// Another's.
    pub(crate) other: Option<String>,
}

/// What one member subscribes to, by topic: type and expression.
type Wishes = BTreeMap<String, (String, String)>;

/// A consumer group with at least one member.
pub(crate) struct ConsumerGroup<P> {
    pub(crate) broadcasting: bool,
    pub(crate) consume_type: ConsumeType,
    pub(crate) consume_from_where: ConsumeFromWhere,
    /// The newest of any member.
    subscriptions: HashMap<String, Arc<Subscription>>,
    members: HashMap<PeerId, Member<P>>,
    /// Of each member that said so; equal ones are one.
    wishes: HashMap<PeerId, Arc<Wishes>>,
    /// Of the last heartbeat: lets clients leave out subscriptions that did not change.
    fingerprint: i32,
}

impl<P> ConsumerGroup<P> {
    pub(crate) fn subscription(&self, topic: &str) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(topic)
    }

    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.values().map(|known| &**known)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member<P>> {
        self.members.values()
    }

    fn client_id(&self, id: PeerId) -> Option<&str> {
        let member = self.members.get(&id);
        member.map(|member| member.client_id.as_str())
    }

    /// Remembers what a member subscribes to; returns where that is news and differs from another's.
    fn compare(&mut self, id: PeerId, subscriptions: &[SubscriptionData]) -> Option<Mismatch> {
        let subscriptions = subscriptions.iter().take(limits::SUBSCRIPTIONS_MAX);
        let wishes: BTreeMap<&str, (&str, &str)> = subscriptions
            .map(|data| (&*data.topic, (&*data.expression_type, &*data.sub_string)))
            .collect();
        let known = self.wishes.get(&id);
        // As with nearly every heartbeat.
        if known.is_some_and(|known| {
            borrowed(known).eq(wishes.iter().map(|(topic, wish)| (*topic, *wish)))
        }) {
            return None;
        }
        let owned = |(topic, (kind, text)): (&str, (&str, &str))| {
            (topic.to_owned(), (kind.to_owned(), text.to_owned()))
        };
        let wishes: Wishes = wishes.into_iter().map(owned).collect();
        self.wishes.remove(&id);
        let (mut same, mut mismatch) = (None, None);
        for (other_id, other) in &self.wishes {
            let is_itself = || self.client_id(id) == self.client_id(*other_id);
            if **other == wishes {
                same = Some(other.clone());
            // It may have come back before its old connection is gone.
            } else if mismatch.is_none() && !is_itself() {
                mismatch = difference(&wishes, other);
            }
        }
        self.wishes
            .insert(id, same.unwrap_or_else(|| Arc::new(wishes)));
        mismatch
    }

    /// Takes over the subscriptions of a heartbeat; returns whether a topic came or went.
    /// A newer expression for a known topic replaces the old one without counting as a change, as in Apache.
    fn subscribe(&mut self, subscriptions: &[SubscriptionData]) -> bool {
        let mut changed = false;
        for data in subscriptions.iter().take(limits::SUBSCRIPTIONS_MAX) {
            let known = self.subscriptions.get(&data.topic);
            changed |= known.is_none();
            if known.is_none_or(|known| data.sub_version > known.data.sub_version) {
                let subscription = Arc::new(Subscription::of_heartbeat(data));
                let before = self.subscriptions.insert(data.topic.clone(), subscription);
                if let Some(before) = before {
                    before.replaced.store(true, Ordering::Release);
                }
            }
        }
        let before = self.subscriptions.len();
        let topics: HashSet<&str> = subscriptions
            .iter()
            .map(|data| data.topic.as_str())
            .collect();
        self.subscriptions
            .retain(|topic, _| topics.contains(topic.as_str()));
        changed | (self.subscriptions.len() < before)
    }
}

fn borrowed(wishes: &Wishes) -> impl Iterator<Item = (&str, (&str, &str))> {
    let wishes = wishes.iter();
    wishes.map(|(topic, (kind, text))| (&**topic, (&**kind, &**text)))
}

/// The first topic of which two members want different messages.
fn difference(this: &Wishes, other: &Wishes) -> Option<Mismatch> {
    let mut topics = this.keys().chain(other.keys());
    let topic = topics.find(|topic| this.get(*topic) != other.get(*topic))?;
    let expression = |wishes: &Wishes| {
        let (kind, text) = wishes.get(topic)?;
        Some(if is_tag(kind) {
            text.clone()
        } else {
            format!("{kind} {text}")
        })
    };
    Some(Mismatch {
        topic: topic.clone(),
        this: expression(this),
        other: expression(other),
    })
}

/// What a consumer's heartbeat did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    /// A member or a topic came or went: the others must share the queues anew.
    pub(crate) changed: bool,
    /// The client must send its subscriptions in full next time.
    pub(crate) send_subscriptions: bool,
    /// It subscribes to something else than another member, which was not so with its last heartbeat.
    pub(crate) mismatch: Option<Mismatch>,
}

/// The groups of a connection, each with the bytes it made us remember.
#[derive(Default)]
struct Memberships {
    consumer: HashMap<String, usize>,
    producer: HashMap<String, usize>,
    bytes: usize,
}

/// What a member takes that says nothing else.
const MEMBER_BYTES: usize = 200;
/// What a subscription takes besides its texts.
const SUBSCRIPTION_BYTES: usize = 300;

/// All connected clients, by group, with the way back from a connection to its groups.
pub(crate) struct Clients<P> {
    consumers: HashMap<String, ConsumerGroup<P>>,
    producers: HashMap<String, HashMap<PeerId, Member<P>>>,
    /// The connection that a producer of this client id used last.
    replies_to: HashMap<String, (PeerId, P)>,
    memberships: HashMap<PeerId, Memberships>,
}

impl<P> Default for Clients<P> {
    fn default() -> Self {
        Clients {
            consumers: HashMap::new(),
            producers: HashMap::new(),
            replies_to: HashMap::new(),
            memberships: HashMap::new(),
        }
    }
}

impl<P: Clone> Clients<P> {
    /// A consumer's heartbeat for one group. `fingerprint` 0 is the first version of the heartbeat,
    /// which always carries subscriptions; `without_subscriptions` keeps those the group has.
    pub(crate) fn consumer_beat(
        &mut self,
        id: PeerId,
        member: Member<P>,
        data: &ConsumerData,
        fingerprint: i32,
        without_subscriptions: bool,
    ) -> Beat {
        let subscribed = data.subscription_data_set.iter();
        let bytes: usize = subscribed
            .map(|data| {
                SUBSCRIPTION_BYTES
                    + data.topic.len()
                    + data.sub_string.len()
                    + data.expression_type.len()
            })
            .sum();
        let bytes = (!without_subscriptions).then_some(bytes + member.client_id.len());
        if !self.remember(id, &data.group_name, bytes, |memberships| {
            &mut memberships.consumer
        }) {
            return Beat {
                changed: false,
                send_subscriptions: true,
                mismatch: None,
            };
        }
        let group = self
            .consumers
            .entry(data.group_name.clone())
            .or_insert_with(|| ConsumerGroup {
                broadcasting: false,
                consume_type: data.consume_type,
                consume_from_where: data.consume_from_where,
                subscriptions: HashMap::new(),
                members: HashMap::new(),
                wishes: HashMap::new(),
                fingerprint,
            });
        group.broadcasting = data.message_model == MessageModel::Broadcasting;
        group.consume_type = data.consume_type;
        group.consume_from_where = data.consume_from_where;
        let other_fingerprint = group.fingerprint != fingerprint;
        group.fingerprint = fingerprint;
        let mut changed = group.members.insert(id, member).is_none();
        let mut mismatch = None;
        if !without_subscriptions {
            changed |= group.subscribe(&data.subscription_data_set);
            mismatch = group.compare(id, &data.subscription_data_set);
        }
        // After a restart of the broker nobody knows what a client of the second version leaves out. Apache does not ask for it.
        let unknown = without_subscriptions && group.subscriptions.is_empty();
        Beat {
            changed,
            send_subscriptions: fingerprint == 0 || other_fingerprint || unknown,
            mismatch,
        }
    }

    pub(crate) fn producer_beat(&mut self, id: PeerId, member: Member<P>, group: &str) {
        let bytes = Some(2 * member.client_id.len());
        if !self.remember(id, group, bytes, |memberships| &mut memberships.producer) {
            return;
        }
        let (client_id, peer) = (member.client_id.clone(), member.peer.clone());
        let members = self.producers.entry(group.to_owned()).or_default();
        let before = members.insert(id, member);
        if let Some(before) = before.filter(|before| before.client_id != client_id) {
            self.no_reply_to(id, &before.client_id);
        }
        self.replies_to.insert(client_id, (id, peer));
    }

    /// The connection is no producer of this client id any more, if none of its groups says so.
    fn no_reply_to(&mut self, id: PeerId, client_id: &str) {
        if !matches!(self.replies_to.get(client_id), Some((known, _)) if *known == id) {
            return;
        }
        let memberships = self.memberships.get(&id);
        let mut groups = memberships.iter().flat_map(|all| all.producer.keys());
        let still = groups.any(|group| {
            let member = self.producers.get(group).and_then(|group| group.get(&id));
            member.is_some_and(|member| member.client_id == client_id)
        });
        if !still {
            self.replies_to.remove(client_id);
        }
    }

    /// Where a producer of this client id is connected; of several connections the one that said so last.
    pub(crate) fn producer(&self, client_id: &str) -> Option<&P> {
        self.replies_to.get(client_id).map(|(_, peer)| peer)
    }

    /// The producers of a group.
    pub(crate) fn producers(&self, group: &str) -> Option<impl Iterator<Item = &Member<P>>> {
        self.producers.get(group).map(HashMap::values)
    }

    /// The consumer of a group with this client id; of several connections the one heard of last.
    pub(crate) fn consumer(&self, group: &str, client_id: &str) -> Option<&Member<P>> {
        let members = self.consumers.get(group)?.members();
        members
            .filter(|member| member.client_id == client_id)
            .max_by_key(|member| member.seen_ms)
    }

    /// The groups that subscribe to a topic and have a member.
    pub(crate) fn subscribers(&self, topic: &str) -> impl Iterator<Item = &String> {
        let subscribing = self
            .consumers
            .iter()
            .filter(move |(_, group)| group.subscriptions.contains_key(topic));
        subscribing.map(|(name, _)| name)
    }

    /// Notes that the connection belongs to the group, and with how many `bytes` (`None`: as before); false if that would be
    /// too many groups or bytes.
    fn remember(
        &mut self,
        id: PeerId,
        group: &str,
        bytes: Option<usize>,
        role: impl Fn(&mut Memberships) -> &mut HashMap<String, usize>,
    ) -> bool {
        let memberships = self.memberships.entry(id).or_default();
        let groups = role(memberships);
        let (count, before) = (groups.len(), groups.get(group).copied());
        let bytes = match (bytes, before) {
            (None, Some(before)) => before,
            (bytes, _) => MEMBER_BYTES + group.len() + bytes.unwrap_or(0),
        };
        let total = memberships.bytes - before.unwrap_or(0) + bytes;
        let is_known = before.is_some();
        if total > limits::CLIENT_BYTES_MAX || !is_known && count >= limits::GROUPS_PER_CLIENT_MAX {
            return false;
        }
        memberships.bytes = total;
        match role(memberships).get_mut(group) {
            Some(known) => *known = bytes,
            None => {
                role(memberships).insert(group.to_owned(), bytes);
            }
        }
        true
    }

    pub(crate) fn group(&self, group: &str) -> Option<&ConsumerGroup<P>> {
        self.consumers.get(group)
    }

    /// Everyone to tell that the group's membership changed; nobody when every member gets every message anyway.
    pub(crate) fn sharing(&self, group: &str) -> Vec<P> {
        match self.consumers.get(group) {
            Some(group) if !group.broadcasting => group
                .members
                .values()
                .map(|member| member.peer.clone())
                .collect(),
            _ => Vec::new(),
        }
    }

    /// A member of a producer group to ask, another one each `turn`; `None` if none is there.
    pub(crate) fn producing(
        &self,
        group: &str,
        turn: usize,
        is_open: impl Fn(&P) -> bool,
    ) -> Option<P> {
        let members = self.producers.get(group)?;
        let from = turn.checked_rem(members.len())?;
        let in_turn = members.values().cycle().skip(from).take(members.len());
        let mut peers = in_turn.map(|member| &member.peer);
        peers.find(|peer| is_open(peer)).cloned()
    }

    /// The ids among which a group's queues are shared. Sorted, and each once: a client that reconnected
    /// before its old connection was gone would otherwise get two shares and consume one.
    pub(crate) fn consumer_ids(&self, group: &str) -> Vec<String> {
        let mut ids: Vec<String> = match self.consumers.get(group) {
            Some(group) => group
                .members
                .values()
                .map(|member| member.client_id.clone())
                .collect(),
            None => Vec::new(),
        };
        ids.sort();
        ids.dedup();
        ids
    }

    /// The connection leaves a consumer group; returns whether it was a member.
    pub(crate) fn leave_consumers(&mut self, id: PeerId, group: &str) -> bool {
        self.forget(id, group, |memberships| &mut memberships.consumer);
        let Some(members) = self.consumers.get_mut(group) else {
            return false;
        };
        let left = members.members.remove(&id).is_some();
        members.wishes.remove(&id);
        if members.members.is_empty() {
            self.consumers.remove(group);
        }
        left
    }

    pub(crate) fn leave_producers(&mut self, id: PeerId, group: &str) {
        self.forget(id, group, |memberships| &mut memberships.producer);
        let Some(members) = self.producers.get_mut(group) else {
            return;
        };
        let left = members.remove(&id);
        if members.is_empty() {
            self.producers.remove(group);
        }
        if let Some(left) = left {
            self.no_reply_to(id, &left.client_id);
        }
    }

    fn forget(
        &mut self,
        id: PeerId,
        group: &str,
        role: impl Fn(&mut Memberships) -> &mut HashMap<String, usize>,
    ) {
        let Some(memberships) = self.memberships.get_mut(&id) else {
            return;
        };
        memberships.bytes -= role(memberships).remove(group).unwrap_or(0);
        if memberships.consumer.is_empty() && memberships.producer.is_empty() {
            self.memberships.remove(&id);
        }
    }

    /// The connection is gone; returns the consumer groups it leaves behind.
    pub(crate) fn closed(&mut self, id: PeerId) -> Vec<String> {
        let Some(groups) = self.memberships.remove(&id) else {
            return Vec::new();
        };
        for group in groups.producer.keys() {
            self.leave_producers(id, group);
        }
        let consumed: Vec<String> = groups.consumer.into_keys().collect();
        for group in &consumed {
            self.leave_consumers(id, group);
        }
        consumed
    }

    /// Connections of which no group heard within [`limits::CLIENT_MS_MAX`]. Closing them makes them leave.
    pub(crate) fn expired(&self, now_ms: i64) -> Vec<P> {
        let mut newest: HashMap<PeerId, &Member<P>> = HashMap::new();
        let consumers = self.consumers.values().flat_map(|group| &group.members);
        for (id, member) in consumers.chain(self.producers.values().flatten()) {
            let known = newest.entry(*id).or_insert(member);
            if member.seen_ms > known.seen_ms {
                *known = member;
            }
        }
        let expired = newest
            .into_values()
            .filter(|member| now_ms - member.seen_ms > limits::CLIENT_MS_MAX);
        expired.map(|member| member.peer.clone()).collect()
    }
}
