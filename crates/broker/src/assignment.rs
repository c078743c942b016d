//! Who of a group consumes which queue, where the broker decides it: QUERY_ASSIGNMENT 400 and SET_MESSAGE_REQUEST_MODE 401.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::bodies::{
    MessageModel, MessageQueue, MessageQueueAssignment, MessageRequestMode, MessageRequestModes,
    QueryAssignment, SetMessageRequestMode, TopicRoute,
};
use protocol::codes::{request, response};
use protocol::fastjson;
use protocol::headers::nameserver::RouteInfo;
use protocol::text::Text;
use remoting::clock::{Instant, monotonic};
use remoting::{Body, Limits, NoRequests};

use crate::broker::Broker;
use crate::limits;
use crate::refusal::Refusal;
use crate::topics::{RETRY_PREFIX, perm};

#[cfg(test)]
mod tests;

/// How groups consume topics, where it was set (`messageRequestMode.json`).
#[derive(Debug, Default)]
pub(crate) struct RequestModes {
    table: BTreeMap<String, BTreeMap<String, SetMessageRequestMode>>,
    count: usize,
    changes: u64,
}

impl RequestModes {
    pub(crate) fn load(file: MessageRequestModes) -> RequestModes {
        let table = file.message_request_mode_map;
        RequestModes {
            count: table.values().map(BTreeMap::len).sum(),
            table,
            changes: 0,
        }
    }

    fn find(&self, topic: &str, group: &str) -> Option<&SetMessageRequestMode> {
        self.table.get(topic)?.get(group)
    }

    /// Returns the number of changes that must be saved for it to be so after a restart; `None` if there are too many.
    fn set(&mut self, mode: SetMessageRequestMode) -> Option<u64> {
        let groups = self.table.entry(mode.topic.clone()).or_default();
        let is_new = !groups.contains_key(&mode.consumer_group);
        if is_new && self.count >= limits::REQUEST_MODES_MAX {
            return None;
        }
        groups.insert(mode.consumer_group.clone(), mode);
        self.count += usize::from(is_new);
        self.changes += 1;
        Some(self.changes)
    }
}

/// Queues of topics on other brokers, as nameservers told.
#[derive(Default)]
pub(crate) struct Routes {
    known: Mutex<HashMap<String, (Instant, Vec<MessageQueue>)>>,
}

/// How long what a nameserver told is used (Apache's loadBalancePollNameServerInterval).
const ROUTE_AGE: Duration = Duration::from_secs(30);
/// How long a nameserver may take to answer.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(3);

impl Broker {
    /// The queues of a member; `None` if the broker can't tell, and the member keeps those it has.
    pub(crate) async fn assignment(
        self: Arc<Self>,
        wanted: QueryAssignment,
    ) -> Result<Option<Vec<MessageQueueAssignment>>, Refusal> {
        let mode = self.request_mode(&wanted.topic, &wanted.consumer_group);
        let Some(mut all) = self.all_queues(&wanted.topic).await else {
            return Ok(None);
        };
        all.sort();
        let whole =
            wanted.message_model == MessageModel::Broadcasting || !self.config.pop.share_queues;
        let mut queues = match whole {
            true => all,
            false => {
                let members = self.clients.lock().consumer_ids(&wanted.consumer_group);
                let share =
                    (mode.mode == MessageRequestMode::Pop).then_some(mode.pop_share_queue_num);
                let strategy = Strategy::parse(&wanted.strategy_name);
                let Some(strategy) = strategy.filter(|_| !members.is_empty()) else {
                    return Ok(None);
                };
                match strategy.share(&all, &members, &wanted.client_id, share) {
                    Some(queues) => queues,
                    None => return Ok(None),
                }
            }
        };
        queues.sort();
        queues.dedup();
        let assignment = |message_queue| MessageQueueAssignment {
            message_queue,
            mode: mode.mode,
        };
        Ok(Some(queues.into_iter().map(assignment).collect()))
    }

    /// Sets how a group consumes a topic.
    pub(crate) async fn set_request_mode(
        self: Arc<Self>,
        mode: SetMessageRequestMode,
    ) -> Result<(), Refusal> {
        if mode.topic.starts_with(RETRY_PREFIX) {
            let remark = "retry topic is not allowed to set mode";
            return Err(Refusal::new(response::NO_PERMISSION, remark));
        }
        if self.topic(&mode.topic).is_none() {
            let remark = format!("topic[{}] not exist", mode.topic);
            return Err(Refusal::new(response::TOPIC_NOT_EXIST, remark));
        }
        if self.group(&mode.consumer_group).is_none() {
            let remark = format!(
                "subscription group [{}] does not exist",
                mode.consumer_group
            );
            return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        }
        let changes = self.request_modes.state.write().set(mode);
        let changes = changes.ok_or_else(|| {
            let max = limits::REQUEST_MODES_MAX;
            Refusal::system(format!("the mode of {max} groups is set already"))
        })?;
        let saved = self.request_modes.file.saved(changes);
        self.save_bell.ring();
        match saved.await {
            true => Ok(()),
            false => Err(Refusal::system("messageRequestMode.json was not written")),
        }
    }

    fn request_mode(&self, topic: &str, group: &str) -> SetMessageRequestMode {
        if let Some(mode) = self.request_modes.state.read().find(topic, group) {
            return mode.clone();
        }
        let config = &self.config.pop;
        SetMessageRequestMode {
            mode: match topic.starts_with(RETRY_PREFIX) {
                true => MessageRequestMode::Pull,
                false => config.default_mode,
            },
            pop_share_queue_num: config.default_share_queues,
            ..SetMessageRequestMode::default()
        }
    }

    /// Saves the modes if they have changed.
    pub(crate) fn save_request_modes(&self) {
        self.request_modes.file.save_changes(|saved| {
            let modes = self.request_modes.state.read();
            (modes.changes > saved).then(|| {
                let file = MessageRequestModes {
                    message_request_mode_map: modes.table.clone(),
                };
                (modes.changes, file)
            })
        });
    }

    /// All queues that consumers of a topic see: this broker's as they are, other brokers' as a nameserver told.
    async fn all_queues(&self, topic: &str) -> Option<Vec<MessageQueue>> {
        let own_name = &self.identity.broker;
        let own = self.topic(topic).map(|config| {
            let queues = if config.perm & perm::READ == 0 {
                0
            } else {
                config.read_queue_nums
            };
            queues_of(topic, own_name, queues)
        });
        let others = self.queues_elsewhere(topic).await;
        match (own, others) {
            (None, None) => None,
            (own, others) => Some(own.into_iter().chain(others).flatten().collect()),
        }
    }

    async fn queues_elsewhere(&self, topic: &str) -> Option<Vec<MessageQueue>> {
        if let Some((at, queues)) = self.routes.known.lock().get(topic)
            && at.elapsed() < ROUTE_AGE
        {
            return Some(queues.clone());
        }
        for nameserver in &self.config.nameservers {
            let route = tokio::time::timeout(ROUTE_TIMEOUT, ask_route(nameserver, topic)).await;
            let Ok(Some(route)) = route else {
                continue;
            };
            let others = route.queue_datas.iter().filter(|data| {
                data.broker_name != self.identity.broker && data.perm & perm::READ != 0
            });
            let queues: Vec<MessageQueue> = others
                .flat_map(|data| queues_of(topic, &data.broker_name, data.read_queue_nums))
                .collect();
            let mut known = self.routes.known.lock();
            if known.len() >= limits::ROUTES_MAX {
                known.clear();
            }
            known.insert(topic.to_owned(), (monotonic(), queues.clone()));
            return Some(queues);
        }
        None
    }
}

/// A nameserver's route of a topic, if it can be had.
async fn ask_route(nameserver: &str, topic: &str) -> Option<TopicRoute> {
    let limits = Limits::default();
    let connection = remoting::connect(nameserver, Arc::new(NoRequests), &limits)
        .await
        .ok()?;
    let header = RouteInfo {
        topic: Text::plain(topic),
        accept_standard_json_only: None,
    };
    let reply = connection
        .call(
            request::GET_ROUTEINFO_BY_TOPIC,
            &header,
            Body::None,
            ROUTE_TIMEOUT,
        )
        .await;
    connection.close().await;
    let reply = reply.ok().filter(|reply| reply.code == response::SUCCESS)?;
    fastjson::from_slice(reply.body()).ok()
}

fn queues_of(topic: &str, broker: &str, queues: i32) -> Vec<MessageQueue> {
    // As many as a broker may have of one topic, whatever a nameserver says.
    let queue = |queue_id| MessageQueue {
        broker_name: broker.to_owned(),
        queue_id,
        topic: topic.to_owned(),
    };
    (0..queues.min(limits::ROUTE_QUEUES_MAX))
        .map(queue)
        .collect()
}

/// How queues are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    /// Each member gets neighbours.
    Average,
    /// One after the other.
    Circle,
}

impl Strategy {
    fn parse(name: &str) -> Option<Strategy> {
        match name {
            "AVG" => Some(Strategy::Average),
            "AVG_BY_CIRCLE" => Some(Strategy::Circle),
            _ => None,
        }
    }

    /// The queues of a member; `share` with pop: those of so many members after it too, or of all. `None` where Apache fails.
    fn share(
        self,
        all: &[MessageQueue],
        members: &[String],
        member: &str,
        share: Option<i32>,
    ) -> Option<Vec<MessageQueue>> {
        let Some(share) = share else {
            return self.of(all, members, member);
        };
        let others = members.len() as i64 - 1;
        if share <= 0 || i64::from(share) >= others {
            let whole = all.iter().map(|queue| MessageQueue {
                queue_id: -1,
                ..queue.clone()
            });
            return Some(whole.collect());
        }
        if members.len() > all.len() {
            // Each has one at least.
            let index = members.iter().position(|id| id == member);
            let queue = |index: usize| all.get(index % all.len().max(1)).cloned();
            return (!all.is_empty() && !member.trim().is_empty())
                .then(|| index.and_then(queue).into_iter().collect());
        }
        let mut queues = self.of(all, members, member)?;
        if let Some(index) = members.iter().position(|id| id == member) {
            for next in (index + 1..).take(share as usize) {
                let next = &members[next % members.len()];
                queues.extend(self.of(all, members, next)?);
            }
        }
        Some(queues)
    }

    fn of(
        self,
        all: &[MessageQueue],
        members: &[String],
        member: &str,
    ) -> Option<Vec<MessageQueue>> {
        if member.is_empty() || all.is_empty() {
            return None;
        }
        let Some(index) = members.iter().position(|id| id == member) else {
            return Some(Vec::new());
        };
        let count = members.len();
        let queues = match self {
            Strategy::Circle => all.iter().skip(index).step_by(count).cloned().collect(),
            Strategy::Average => {
                let (each, over) = (all.len() / count, all.len() % count);
                let start = index * each + index.min(over);
                let size = each + usize::from(index < over);
                all.iter().skip(start).take(size).cloned().collect()
            }
        };
        Some(queues)
    }
}
