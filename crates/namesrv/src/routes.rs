//! The route table: which brokers there are, which queues of which topic each has, and when it was
//! last heard of. Ordered maps, so that equal tables give equal answers.

mod lookup;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::bodies::{BrokerData, DataVersion, QueueData, TopicConfig, TopicConfigWrapper};
use protocol::headers::nameserver::RegisterBroker;
use remoting::{LogLimit, Peer};

pub(crate) use lookup::Units;

use crate::limits::{BROKERS_MAX, LOGGED_MAX, NAME_BYTES_MAX, TOPICS_MAX};

/// Id of a master among its replicas.
const MASTER: i64 = 0;
const PERM_READ: i32 = 4;
const PERM_WRITE: i32 = 2;
/// A broker that doesn't say how often it will be heard of is forgotten after this.
const HEARTBEAT_TIMEOUT_MS: i64 = 120_000;

/// What the nameserver knows. Rebuilt from registrations after a restart; nothing of it is kept.
#[derive(Debug)]
pub(crate) struct Routes {
    topics: BTreeMap<String, Queues>,
    /// By broker name.
    brokers: BTreeMap<String, BrokerData>,
    /// Cluster to broker names.
    clusters: BTreeMap<String, BTreeSet<String>>,
    live: BTreeMap<BrokerAddr, Live>,
    log: LogLimit,
}

/// A topic's queues, one entry per broker name, in the order of these. (Most topics are on a few
/// brokers, for which a map takes ten times the memory.)
type Queues = Vec<QueueData>;

/// Where a broker's entry is, or would be.
fn find(queues: &Queues, broker_name: &str) -> Result<usize, usize> {
    queues.binary_search_by(|queue| queue.broker_name.as_str().cmp(broker_name))
}

fn remove(queues: &mut Queues, broker_name: &str) {
    if let Ok(at) = find(queues, broker_name) {
        queues.remove(at);
    }
}

/// Adds or replaces a broker's entry.
fn put(queues: &mut Queues, queue: QueueData) {
    match find(queues, &queue.broker_name) {
        Ok(at) => queues[at] = queue,
        Err(at) => {
            queues.reserve_exact(1);
            queues.insert(at, queue);
        }
    }
}

/// One broker process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BrokerAddr {
    pub(crate) cluster: String,
    pub(crate) addr: String,
}

#[derive(Debug)]
struct Live {
    heard_ms: i64,
    timeout_ms: i64,
    data_version: DataVersion,
    ha_server_addr: String,
    /// The connection it registered on; the broker goes when this does.
    peer: Arc<Peer>,
}

/// What a slave is told of its master.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Master {
    pub(crate) ha_server_addr: Option<String>,
    pub(crate) addr: Option<String>,
}

/// Why a registration is not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    /// A broker that is not registered sent a single topic. It has to send all of them first.
    #[error("register broker failed")]
    NotRegistered,
    #[error("a name or address of {0} bytes, limit {NAME_BYTES_MAX}")]
    Name(usize),
    #[error("there are {BROKERS_MAX} brokers already")]
    TooManyBrokers,
    #[error("all brokers would have {0} topics together, limit {TOPICS_MAX}")]
    TooManyTopics(usize),
}

impl Routes {
    pub(crate) fn new() -> Routes {
        Routes {
            topics: BTreeMap::new(),
            brokers: BTreeMap::new(),
            clusters: BTreeMap::new(),
            live: BTreeMap::new(),
            log: LogLimit::new(LOGGED_MAX),
        }
    }

    /// Takes in a broker's registration, first or repeated.
    /// `delete_missing`: topics that it no longer has are taken out of the routes.
    pub(crate) fn register(
        &mut self,
        header: &RegisterBroker<'_>,
        mut topics: TopicConfigWrapper,
        peer: &Arc<Peer>,
        now_ms: i64,
        delete_missing: bool,
    ) -> Result<Master, RegisterError> {
        let (id, name) = (header.broker_id, header.broker_name.to_str().into_owned());
        let addr = BrokerAddr {
            cluster: header.cluster_name.to_str().into_owned(),
            addr: header.broker_addr.to_str().into_owned(),
        };
        let known = self
            .brokers
            .get(&name)
            .is_some_and(|broker| broker.broker_addrs.contains_key(&id));
        if !known && topics.topic_config_table.len() == 1 {
            return Err(RegisterError::NotRegistered);
        }
        let zone = header.zone_name.map(|zone| zone.to_str().into_owned());
        let ha_server_addr = header.ha_server_addr.to_str().into_owned();
        let strings = [&name, &addr.cluster, &addr.addr, &ha_server_addr];
        check_names(strings.into_iter().chain(&zone))?;
        check_names(
            topics
                .topic_config_table
                .values()
                .map(|topic| &topic.topic_name),
        )?;
        if self.live.len() >= BROKERS_MAX && !self.live.contains_key(&addr) {
            return Err(RegisterError::TooManyBrokers);
        }
        let table = topics.topic_config_table.values();
        self.check_room(table.map(|topic| (&topic.topic_name, &name)))?;

        let names = self.clusters.entry(addr.cluster.clone()).or_default();
        names.insert(name.clone());
        let broker = self
            .brokers
            .entry(name.clone())
            .or_insert_with(|| BrokerData {
                cluster: addr.cluster.clone(),
                broker_name: name.clone(),
                ..BrokerData::default()
            });
        broker.enable_acting_master = header.enable_acting_master.unwrap_or_default();
        broker.zone_name = zone;
        // A slave that became master changes its id: an address has one id at a time.
        broker
            .broker_addrs
            .retain(|other, at| *at != addr.addr || *other == id);
        if let Some(before) = broker
            .broker_addrs
            .get(&id)
            .filter(|before| **before != addr.addr)
        {
            let before = BrokerAddr {
                cluster: addr.cluster.clone(),
                addr: before.clone(),
            };
            let term = topics.data_version.state_version;
            if self
                .live
                .get(&before)
                .is_some_and(|live| live.data_version.state_version > term)
            {
                if let Some(withheld) = self.log.allow() {
                    tracing::warn!(
                        withheld,
                        broker = name,
                        id,
                        holder = before.addr,
                        refused = addr.addr,
                        "registration ignored: the broker at this id is of a later term"
                    );
                }
                self.live.remove(&addr);
                return Ok(Master::default());
            }
        }
        let first = broker.broker_addrs.insert(id, addr.addr.clone()).is_none();

        // The slave with the least id stands in for a master that is away, for reading only.
        let least = broker.broker_addrs.keys().next() == Some(&id);
        let stands_in = header.enable_acting_master.is_some() && id != MASTER && least;
        let read_only = stands_in && broker.enable_acting_master;
        let master = (id != MASTER)
            .then(|| broker.broker_addrs.get(&MASTER).cloned())
            .flatten();
        if id == MASTER || stands_in {
            let version = self.live.get(&addr).map(|live| live.data_version);
            let changed = first || version != Some(topics.data_version);
            if delete_missing {
                self.delete_missing(&name, &topics);
            }
            for topic in topics.topic_config_table.values_mut() {
                if read_only {
                    topic.perm &= !PERM_WRITE;
                }
                self.set_queues(&name, topic, changed);
            }
        }

        let live = Live {
            heard_ms: now_ms,
            timeout_ms: header
                .heartbeat_timeout_millis
                .unwrap_or(HEARTBEAT_TIMEOUT_MS),
            data_version: topics.data_version,
            ha_server_addr,
            peer: Arc::clone(peer),
        };
        let is_new = self.live.insert(addr.clone(), live).is_none();
        if is_new && let Some(withheld) = self.log.allow() {
            tracing::info!(
                withheld,
                cluster = addr.cluster,
                broker = name,
                id,
                addr = addr.addr,
                "broker registered"
            );
        }
        Ok(self.master_at(addr.cluster, master))
    }

    /// Refuses topics (with the broker that has them) that would make the table too large.
    fn check_room<'a>(
        &self,
        topics: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
    ) -> Result<(), RegisterError> {
        // Nearly always enough, and nothing needs to be counted.
        if self.topics.len() * self.brokers.len() + topics.len() <= TOPICS_MAX {
            return Ok(());
        }
        let is_new = |(topic, broker): &(&String, &String)| {
            let queues = self.topics.get(*topic);
            queues.is_none_or(|queues| find(queues, broker).is_err())
        };
        let known: usize = self.topics.values().map(Vec::len).sum();
        match known + topics.filter(is_new).count() {
            all if all > TOPICS_MAX => Err(RegisterError::TooManyTopics(all)),
            _ => Ok(()),
        }
    }

    fn master_at(&self, cluster: String, addr: Option<String>) -> Master {
        let Some(addr) = addr else {
            return Master::default();
        };
        let at = BrokerAddr { cluster, addr };
        match self.live.get(&at) {
            Some(live) => Master {
                ha_server_addr: Some(live.ha_server_addr.clone()),
                addr: Some(at.addr),
            },
            None => Master::default(),
        }
    }

    /// `changed`: the broker's topics have another version than before; else only a topic that has
    /// no queues on this broker is taken in.
    fn set_queues(&mut self, broker_name: &str, topic: &TopicConfig, changed: bool) {
        let queues = self.topics.entry(topic.topic_name.clone()).or_default();
        if changed || find(queues, broker_name).is_err() {
            let data = QueueData {
                broker_name: broker_name.to_owned(),
                perm: topic.perm,
                read_queue_nums: topic.read_queue_nums,
                topic_sys_flag: topic.topic_sys_flag,
                write_queue_nums: topic.write_queue_nums,
            };
            put(queues, data);
        }
    }

    fn delete_missing(&mut self, broker_name: &str, kept: &TopicConfigWrapper) {
        self.topics.retain(|topic, queues| {
            if !kept.topic_config_table.contains_key(topic) {
                remove(queues, broker_name);
            }
            !queues.is_empty()
        });
    }

    /// Adds or replaces one topic's queues, if all of their brokers are registered.
    pub(crate) fn register_topic(
        &mut self,
        topic: String,
        queues: Vec<QueueData>,
    ) -> Result<(), RegisterError> {
        if let Some(queue) = queues
            .iter()
            .find(|queue| !self.brokers.contains_key(&queue.broker_name))
        {
            if let Some(withheld) = self.log.allow() {
                tracing::warn!(
                    withheld,
                    topic,
                    broker = queue.broker_name,
                    "topic not registered: no such broker"
                );
            }
            return Ok(());
        }
        check_names(std::iter::once(&topic))?;
        self.check_room(queues.iter().map(|queue| (&topic, &queue.broker_name)))?;
        if !queues.is_empty() {
            let known = self.topics.entry(topic).or_default();
            queues.into_iter().for_each(|queue| put(known, queue));
        }
        Ok(())
    }

    /// Forgets a topic, in one cluster or everywhere.
    pub(crate) fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(cluster) = cluster else {
            self.topics.remove(topic);
            return;
        };
        let Some(names) = self.clusters.get(cluster) else {
            return;
        };
        if let Some(queues) = self.topics.get_mut(topic) {
            queues.retain(|queue| !names.contains(&queue.broker_name));
            if queues.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// A sign of life other than a registration.
    pub(crate) fn heard(&mut self, addr: &BrokerAddr, now_ms: i64) {
        if let Some(live) = self.live.get_mut(addr) {
            live.heard_ms = now_ms;
        }
    }

    /// Version of the topics that a broker registered.
    pub(crate) fn data_version(&self, addr: &BrokerAddr) -> Option<DataVersion> {
        self.live.get(addr).map(|live| live.data_version)
    }

    /// Forgets a broker process; its queues too, if it was the last of its name.
    pub(crate) fn unregister(&mut self, addr: &BrokerAddr, broker_name: &str) {
        let was_live = self.live.remove(addr).is_some();
        if let Some(withheld) = self.log.allow() {
            tracing::info!(
                withheld,
                cluster = addr.cluster,
                broker = broker_name,
                addr = addr.addr,
                was_live,
                "broker unregistered"
            );
        }
        let Some(broker) = self.brokers.get_mut(broker_name) else {
            return;
        };
        broker.broker_addrs.retain(|_, at| *at != addr.addr);
        let masterless = !broker.broker_addrs.contains_key(&MASTER);
        if broker.broker_addrs.is_empty() {
            self.brokers.remove(broker_name);
            if let Some(names) = self.clusters.get_mut(&addr.cluster) {
                names.remove(broker_name);
                if names.is_empty() {
                    self.clusters.remove(&addr.cluster);
                }
            }
            self.topics.retain(|_, queues| {
                remove(queues, broker_name);
                !queues.is_empty()
            });
        } else if broker.enable_acting_master && masterless {
            self.set_perm(broker_name, |perm| perm & !PERM_WRITE);
        }
    }

    /// Forgets the brokers that were not heard of for longer than they said. Returns their
    /// connections.
    pub(crate) fn expire(&mut self, now_ms: i64) -> Vec<Arc<Peer>> {
        let is_late = |live: &Live| live.heard_ms.saturating_add(live.timeout_ms) < now_ms;
        let late: Vec<BrokerAddr> = self
            .live
            .iter()
            .filter(|(_, live)| is_late(live))
            .map(|(addr, _)| addr.clone())
            .collect();
        let mut peers = Vec::new();
        for addr in late {
            if let Some(live) = self.live.get(&addr) {
                if let Some(withheld) = self.log.allow() {
                    tracing::warn!(
                        withheld,
                        cluster = addr.cluster,
                        addr = addr.addr,
                        timeout_ms = live.timeout_ms,
                        "broker expired"
                    );
                }
                peers.push(Arc::clone(&live.peer));
            }
            self.forget(&addr);
        }
        peers
    }

    /// A connection is gone, and with it the brokers that registered on it last.
    pub(crate) fn closed(&mut self, peer: u64) {
        let gone = self.live.iter().filter(|(_, live)| live.peer.id() == peer);
        for addr in gone.map(|(addr, _)| addr.clone()).collect::<Vec<_>>() {
            self.forget(&addr);
        }
    }

    /// Unregisters whatever broker is at an address.
    fn forget(&mut self, addr: &BrokerAddr) {
        let is_there = |broker: &&BrokerData| {
            broker.cluster == addr.cluster
                && broker.broker_addrs.values().any(|at| *at == addr.addr)
        };
        match self
            .brokers
            .values()
            .find(is_there)
            .map(|broker| broker.broker_name.clone())
        {
            Some(name) => self.unregister(addr, &name),
            None => {
                self.live.remove(addr);
            }
        }
    }

    /// Takes the write permission off all topics of a broker; returns their number.
    pub(crate) fn wipe_write_perm(&mut self, broker_name: &str) -> i32 {
        self.set_perm(broker_name, |perm| perm & !PERM_WRITE)
    }

    /// Makes all topics of a broker readable and writable; returns their number.
    pub(crate) fn add_write_perm(&mut self, broker_name: &str) -> i32 {
        self.set_perm(broker_name, |_| PERM_READ | PERM_WRITE)
    }

    fn set_perm(&mut self, broker_name: &str, perm: impl Fn(i32) -> i32) -> i32 {
        let mut changed = 0;
        for queues in self.topics.values_mut() {
            if let Ok(at) = find(queues, broker_name) {
                queues[at].perm = perm(queues[at].perm);
                changed += 1;
            }
        }
        changed
    }
}

fn check_names<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<(), RegisterError> {
    match names.find(|name| name.len() > NAME_BYTES_MAX) {
        Some(name) => Err(RegisterError::Name(name.len())),
        None => Ok(()),
    }
}
