//! Questions to the route table.

use protocol::bodies::{BrokerData, ClusterInfo, QueueData, TopicList, TopicRoute};

use super::{MASTER, PERM_WRITE, Queues, Routes};

/// Bits of `topic_sys_flag`: the topic belongs to a unit; its subscriptions do.
const UNIT: i32 = 1;
const UNIT_SUB: i32 = 2;

/// Topics by which members of a broker group find each other; they want the addresses as they are.
const SYNC_BROKER_MEMBER_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// A choice of topics by their unit flags.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Units {
    Unit,
    UnitSub,
    UnitSubOfNonUnit,
}

impl Routes {
    /// Where a topic's queues are; `None` without a registered broker. `act_for_master`: a slave is
    /// given out as master where it stands in for one.
    pub(crate) fn route(&self, topic: &str, act_for_master: bool) -> Option<TopicRoute> {
        let queues = self.topics.get(topic)?;
        let broker_datas: Vec<BrokerData> = queues
            .iter()
            .filter_map(|queue| self.brokers.get(&queue.broker_name))
            .cloned()
            .collect();
        if broker_datas.is_empty() {
            return None;
        }
        let queue_datas = queues.clone();
        let mut route = TopicRoute {
            broker_datas,
            queue_datas,
            ..TopicRoute::default()
        };
        if act_for_master && !topic.starts_with(SYNC_BROKER_MEMBER_PREFIX) {
            route
                .broker_datas
                .iter_mut()
                .for_each(|broker| stand_in(broker, &route.queue_datas));
        }
        Some(route)
    }

    /// All clusters and brokers.
    pub(crate) fn cluster_info(&self) -> ClusterInfo {
        let clusters = self.clusters.iter();
        ClusterInfo {
            broker_addr_table: self.brokers.clone(),
            cluster_addr_table: clusters
                .map(|(cluster, names)| (cluster.clone(), names.iter().cloned().collect()))
                .collect(),
        }
    }

    /// All topics.
    pub(crate) fn topic_list(&self) -> TopicList {
        list(self.topics.keys())
    }

    /// Topics with queues on some broker of the cluster.
    pub(crate) fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let Some(names) = self.clusters.get(cluster) else {
            return TopicList::default();
        };
        let has_queues = |queue: &QueueData| names.contains(&queue.broker_name);
        list(
            self.topics
                .iter()
                .filter(|(_, queues)| queues.iter().any(has_queues))
                .map(|(topic, _)| topic),
        )
    }

    /// The names that are topics on every broker, clusters' and brokers', and some broker's address.
    pub(crate) fn system_topics(&self) -> TopicList {
        let names = self
            .clusters
            .iter()
            .flat_map(|(cluster, names)| std::iter::once(cluster).chain(names));
        let broker_addr = self
            .brokers
            .values()
            .flat_map(|broker| broker.broker_addrs.values())
            .next();
        TopicList {
            broker_addr: broker_addr.cloned(),
            ..list(names)
        }
    }

    /// Topics by unit flags, which are read off their first broker.
    pub(crate) fn unit_topics(&self, units: Units) -> TopicList {
        let flag_of = |queues: &Queues| queues.first().map_or(0, |queue| queue.topic_sys_flag);
        let wanted = |flag: i32| match units {
            Units::Unit => flag & UNIT != 0,
            Units::UnitSub => flag & UNIT_SUB != 0,
            Units::UnitSubOfNonUnit => flag & UNIT == 0 && flag & UNIT_SUB != 0,
        };
        list(
            self.topics
                .iter()
                .filter(|(_, queues)| wanted(flag_of(queues)))
                .map(|(topic, _)| topic),
        )
    }
}

fn list<'a>(topics: impl Iterator<Item = &'a String>) -> TopicList {
    TopicList {
        topic_list: topics.cloned().collect(),
        ..TopicList::default()
    }
}

/// Gives the slave with the least id the master's id, if there is no master, slaves may stand in,
/// and the topic is read-only already.
fn stand_in(broker: &mut BrokerData, queues: &[QueueData]) {
    if !broker.enable_acting_master || broker.broker_addrs.contains_key(&MASTER) {
        return;
    }
    let queue = queues
        .iter()
        .find(|queue| queue.broker_name == broker.broker_name);
    if queue.is_some_and(|queue| queue.perm & PERM_WRITE == 0)
        && let Some((_, addr)) = broker.broker_addrs.pop_first()
    {
        broker.broker_addrs.insert(MASTER, addr);
    }
}
